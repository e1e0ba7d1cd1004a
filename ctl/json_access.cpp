#include "ctl/json_access.h"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "common/escape.h"

namespace mtd::ctl {

const Json& member(const Json& object, std::string_view name) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

const Json& array(const Json& object, std::string_view name) {
  static const Json empty = Json::array();
  const Json& found = member(object, name);
  return found.is_array() ? found : empty;
}

std::optional<std::int64_t> integer(const Json& object, std::string_view name) {
  const Json& found = member(object, name);
  if (found.is_number_unsigned()) {
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return static_cast<std::int64_t>(std::min(found.get<std::uint64_t>(), kMax));
  }
  if (found.is_number_integer()) return found.get<std::int64_t>();
  return std::nullopt;
}

std::string text(const Json& object, std::string_view name) {
  const Json& found = member(object, name);
  return found.is_string() ? found.get<std::string>() : std::string();
}

std::string safe_text(const Json& object, std::string_view name) {
  return escape_for_terminal(text(object, name));
}

bool is_true(const Json& object, std::string_view name) {
  const Json& found = member(object, name);
  return found.is_boolean() && found.get<bool>();
}

std::vector<std::string> strings(const Json& object, std::string_view name) {
  std::vector<std::string> result;
  for (const Json& item : array(object, name)) {
    if (item.is_string()) result.push_back(item.get<std::string>());
  }
  return result;
}

}  // namespace mtd::ctl
