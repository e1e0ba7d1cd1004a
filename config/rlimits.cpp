#include "config/rlimits.h"

#include <sys/resource.h>

#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "common/names.h"

namespace mtd::config {
namespace {

constexpr std::array kNames{
    RlimitName{"as", RLIMIT_AS, true},
    RlimitName{"core", RLIMIT_CORE, true},
    RlimitName{"cpu", RLIMIT_CPU, false},
    RlimitName{"data", RLIMIT_DATA, true},
    RlimitName{"fsize", RLIMIT_FSIZE, true},
    RlimitName{"locks", RLIMIT_LOCKS, false},
    RlimitName{"memlock", RLIMIT_MEMLOCK, true},
    RlimitName{"msgqueue", RLIMIT_MSGQUEUE, true},
    RlimitName{"nice", RLIMIT_NICE, false},
    RlimitName{"nofile", RLIMIT_NOFILE, false},
    RlimitName{"nproc", RLIMIT_NPROC, false},
    RlimitName{"rss", RLIMIT_RSS, true},
    RlimitName{"rtprio", RLIMIT_RTPRIO, false},
    RlimitName{"rttime", RLIMIT_RTTIME, false},
    RlimitName{"sigpending", RLIMIT_SIGPENDING, false},
    RlimitName{"stack", RLIMIT_STACK, true},
};

constexpr std::uint64_t kInfinite = ~std::uint64_t{0};

Error wrong(const Node& node) {
  return {
      "must be a whole number, \"infinity\", \"soft:hard\" or {\"soft\": …, \"hard\": …}, not " +
      brief(node)};
}

std::optional<std::uint64_t> value_of(std::string_view text, bool bytes) {
  if (text == "infinity") return kInfinite;
  if (bytes) {
    const auto size = parse_size(text);
    return size ? std::optional(size->bytes) : std::nullopt;
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> value_of(const Node* node, bool bytes) {
  if (node == nullptr) return std::nullopt;
  if (const auto* text = node->as<std::string>()) return value_of(*text, bytes);
  if (const auto* value = node->as<std::uint64_t>()) return *value;
  if (const auto* value = node->as<std::int64_t>(); value != nullptr && *value >= 0) {
    return static_cast<std::uint64_t>(*value);
  }
  return std::nullopt;
}

}  // namespace

const RlimitName* find_rlimit(std::string_view name) {
  for (const RlimitName& known : kNames) {
    if (known.name == name) return &known;
  }
  return nullptr;
}

std::string_view closest_rlimit(std::string_view name) {
  std::vector<std::string_view> names;
  for (const RlimitName& known : kNames)
    names.push_back(known.name);
  return closest_name(name, names);
}

Result<Rlimit> parse_rlimit(const Node& node) {
  const RlimitName* known = find_rlimit(node.name);
  if (known == nullptr) return Error{"there is no such resource limit"};
  std::optional<std::uint64_t> soft = value_of(&node, known->bytes);
  std::optional<std::uint64_t> hard = soft;
  if (const auto* object = node.as<Object>()) {
    if (object->members.size() != 2) return wrong(node);
    soft = value_of(node.member("soft"), known->bytes);
    hard = value_of(node.member("hard"), known->bytes);
  } else if (const auto* text = node.as<std::string>(); text != nullptr) {
    if (const std::size_t colon = text->find(':'); colon != std::string::npos) {
      soft = value_of(std::string_view(*text).substr(0, colon), known->bytes);
      hard = value_of(std::string_view(*text).substr(colon + 1), known->bytes);
    }
  }
  if (!soft || !hard) return wrong(node);
  if (*soft > *hard) return Error{"the soft limit is above the hard limit in " + brief(node)};
  return Rlimit{node.name, *soft, *hard};
}

std::uint64_t hard_limit(const RlimitName& name) {
  struct rlimit limit {};
  if (::getrlimit(static_cast<__rlimit_resource>(name.resource), &limit) != 0) return kInfinite;
  return limit.rlim_max == RLIM_INFINITY ? kInfinite : limit.rlim_max;
}

}  // namespace mtd::config
