#include "ctl/process_facts.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <system_error>

#include <nlohmann/json.hpp>

#include "common/unique_fd.h"
#include "ctl/json_access.h"

namespace mtd::ctl {
namespace {

constexpr std::size_t kReadBytes = 4096;

// The first 4 096 bytes, which holds all of `stat`: the kernel gives them in one piece.
std::string_view read_start(int pid, const char* file, std::array<char, kReadBytes>& buffer) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const UniqueFd opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = opened ? ::read(opened.get(), buffer.data(), buffer.size()) : 0;
  return {buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

// What the kernel counts in, and when it is now.
struct Scale {
  double ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::uint64_t page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  double seconds_since_boot = 0;
};

Scale scale_now() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  Scale scale;
  scale.seconds_since_boot =
      static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
  return scale;
}

double cpu_percent(const ProcessFacts& facts, const Scale& scale) {
  const double age =
      scale.seconds_since_boot - static_cast<double>(facts.start_ticks) / scale.ticks_per_second;
  const double used = static_cast<double>(facts.cpu_ticks) / scale.ticks_per_second;
  return std::round(used / std::max(age, 0.01) * 1000) / 10;
}

void fill_worker(Json& worker, int keeper_pid, const Scale& scale) {
  const auto pid = integer(worker, "pid");
  if (!pid) return;
  const auto facts = read_process(static_cast<int>(*pid));
  if (!facts || facts->parent != keeper_pid) return;
  worker["rss_bytes"] = facts->rss_pages * scale.page_bytes;
  worker["cpu_pct"] = cpu_percent(*facts, scale);
}

}  // namespace

std::optional<ProcessFacts> parse_stat(std::string_view text) {
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return {};
  ProcessFacts facts;
  (void)std::from_chars(text.data(), text.data() + open, facts.pid);
  facts.name = std::string(text.substr(open + 1, close - open - 1));
  if (text.size() < close + 4) return {};
  facts.state = text[close + 2];
  // What follows is numbers, from field 4 of proc(5) on; some are negative.
  constexpr std::size_t kFirst = 4, kLast = 24;
  std::array<std::int64_t, kLast + 1> fields{};
  const char* at = text.data() + close + 3;
  const char* const end = text.data() + text.size();
  for (std::size_t field = kFirst; field <= kLast; ++field) {
    if (at == end || *at != ' ') return {};
    const auto parsed = std::from_chars(at + 1, end, fields[field]);
    if (parsed.ec != std::errc()) return {};
    at = parsed.ptr;
  }
  facts.parent = static_cast<int>(fields[4]);
  facts.cpu_ticks = static_cast<std::uint64_t>(fields[14] + fields[15]);
  facts.start_ticks = static_cast<std::uint64_t>(fields[22]);
  facts.rss_pages = static_cast<std::uint64_t>(fields[24]);
  return facts;
}

std::optional<ProcessFacts> read_process(int pid) {
  std::array<char, kReadBytes> buffer;
  return parse_stat(read_start(pid, "stat", buffer));
}

std::string read_arguments(int pid) {
  std::array<char, kReadBytes> buffer;
  std::string text(read_start(pid, "cmdline", buffer));
  while (!text.empty() && text.back() == '\0')
    text.pop_back();
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::map<int, ProcessFacts> all_processes() {
  std::map<int, ProcessFacts> result;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), ::closedir);
  if (!directory) return result;
  while (const dirent* entry = ::readdir(directory.get())) {
    const int pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    if (auto facts = read_process(pid)) result[pid] = std::move(*facts);
  }
  return result;
}

void fill_resource_use(Json& pools, int keeper_pid) {
  const Scale scale = scale_now();
  for (Json& pool : pools) {
    if (!member(pool, "workers").is_array()) continue;
    for (Json& worker : pool["workers"]) {
      if (worker.is_object()) fill_worker(worker, keeper_pid, scale);
    }
  }
}

}  // namespace mtd::ctl
