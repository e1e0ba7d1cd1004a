// Members of a frame's object, taken out one by one; the first one of a wrong type is remembered.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "common/time.h"
#include "common/varlink_json.h"

namespace mtd::broker {

class FrameMembers {
 public:
  explicit FrameMembers(const nlohmann::json& object) : object_(object) {}

  [[nodiscard]] bool has(const char* name) const { return find(name) != nullptr; }
  std::optional<std::int64_t> integer(const char* name, std::int64_t min, std::int64_t max) {
    const auto* value = find(name);
    if (value == nullptr) return std::nullopt;
    const bool fits = value->is_number_integer() &&
                      (!value->is_number_unsigned() ||
                       value->get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits || value->get<std::int64_t>() < min || value->get<std::int64_t>() > max) {
      wrong(name, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
      return std::nullopt;
    }
    return value->get<std::int64_t>();
  }
  std::int64_t needed_integer(const char* name, std::int64_t min, std::int64_t max) {
    if (!has(name)) wrong(name, "a whole number, and is missing");
    return integer(name, min, max).value_or(min);
  }
  std::string text(const char* name, std::size_t longest) {
    const auto* value = find(name);
    if (value == nullptr) return {};
    const auto* text = value->get_ptr<const std::string*>();
    if (text == nullptr || text->size() > longest) {
      wrong(name, "a text of at most " + std::to_string(longest) + " bytes");
      return {};
    }
    return *text;
  }
  std::string needed_text(const char* name, std::size_t longest) {
    if (!has(name)) wrong(name, "a text, and is missing");
    return text(name, longest);
  }
  bool boolean(const char* name, bool otherwise) {
    const auto* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) {
      wrong(name, "true or false");
      return otherwise;
    }
    return value->get<bool>();
  }
  std::optional<Duration> milliseconds(const char* name) {
    constexpr std::int64_t kLongest = 366LL * 86'400'000 * 100;  // a hundred years
    const auto ms = integer(name, 0, kLongest);
    if (!ms) return std::nullopt;
    return Duration::milliseconds(*ms);
  }
  [[nodiscard]] const nlohmann::json* find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  void wrong(const char* name, const std::string& expected) {
    if (fault_.empty()) fault_ = "\"" + std::string(name) + "\" must be " + expected;
  }
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  const nlohmann::json& object_;
  std::string fault_;
};

}  // namespace mtd::broker
