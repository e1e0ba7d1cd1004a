#include "config/scheduling.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace mtd::config {
namespace {

constexpr std::array<std::string_view, 4> kIoClasses{"", "realtime", "best-effort", "idle"};
constexpr int kIoIdle = 3;
constexpr int kIoLevels = 8;
constexpr int kIoDefaultLevel = 4;

std::optional<int> number(std::string_view text, int most) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value >= 0 && value <= most ? std::optional(value) : std::nullopt;
}

void sort_unique(std::vector<int>& cpus) {
  std::sort(cpus.begin(), cpus.end());
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
}

}  // namespace

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::size_t dash = part.find('-');
    const auto first = number(part.substr(0, dash), kMaxCpu);
    const auto last =
        dash == std::string_view::npos ? first : number(part.substr(dash + 1), kMaxCpu);
    if (!first || !last || *first > *last) return std::nullopt;
    for (int cpu = *first; cpu <= *last; ++cpu)
      cpus.push_back(cpu);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (cpus.size() > 100'000) return std::nullopt;
  }
  sort_unique(cpus);
  return cpus;
}

std::optional<std::vector<int>> parse_cpu_affinity(const Node& node) {
  if (const auto* text = node.as<std::string>()) {
    if (*text == "per-worker") return std::vector<int>();
    return parse_cpu_list(*text);
  }
  const auto* list = node.as<Array>();
  if (list == nullptr || list->items.empty()) return std::nullopt;
  std::vector<int> cpus;
  for (const Node& item : list->items) {
    const auto* value = item.as<std::int64_t>();
    if (value == nullptr || *value < 0 || *value > kMaxCpu) return std::nullopt;
    cpus.push_back(static_cast<int>(*value));
  }
  sort_unique(cpus);
  return cpus;
}

std::string cpu_affinity_text(const CpuAffinity& affinity) {
  if (affinity.per_worker) return "per-worker";
  std::string text;
  const auto& cpus = affinity.cpus;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1)
      ++last;
    text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
    if (last > i) text += "-" + std::to_string(cpus[last]);
    i = last + 1;
  }
  return text;
}

std::optional<int> parse_io_priority(std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto found = std::find(kIoClasses.begin() + 1, kIoClasses.end(), text.substr(0, colon));
  if (found == kIoClasses.end()) return std::nullopt;
  const auto io_class = static_cast<int>(found - kIoClasses.begin());
  if (io_class == kIoIdle) {
    return colon == std::string_view::npos ? std::optional(io_class << kIoClassShift)
                                           : std::nullopt;
  }
  const auto level = colon == std::string_view::npos
                         ? std::optional(kIoDefaultLevel)
                         : number(text.substr(colon + 1), kIoLevels - 1);
  if (!level) return std::nullopt;
  return io_class << kIoClassShift | *level;
}

std::string io_priority_text(int priority) {
  const int io_class = priority >> kIoClassShift;
  const std::string name(kIoClasses.at(static_cast<std::size_t>(io_class)));
  return io_class == kIoIdle ? name : name + ":" + std::to_string(priority & (kIoLevels - 1));
}

}  // namespace mtd::config
