// Members of a frame's object, taken out one by one; the first one of a wrong type is remembered.
// The object is a parsed one, or a plain one that needs no parser; what is said of it is the same.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "common/flat_json.h"
#include "common/time.h"
#include "common/varlink_json.h"

namespace mtd::broker {

class FrameMembers {
 public:
  explicit FrameMembers(const nlohmann::json& object) : parsed_(&object) {}
  explicit FrameMembers(const FlatObject& object) : flat_(&object) {}

  // Whether it is there, and not null.
  [[nodiscard]] bool has(std::string_view name) const {
    return flat_ != nullptr ? flat_value(name) != nullptr : parsed_value(name) != nullptr;
  }
  std::optional<std::int64_t> integer(const char* name, std::int64_t min, std::int64_t max) {
    if (!has(name)) return std::nullopt;
    const auto value = whole_number(name);
    if (!value || *value < min || *value > max) {
      wrong(name, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
      return std::nullopt;
    }
    return value;
  }
  std::int64_t needed_integer(const char* name, std::int64_t min, std::int64_t max) {
    if (!has(name)) wrong(name, "a whole number, and is missing");
    return integer(name, min, max).value_or(min);
  }
  std::string text(const char* name, std::size_t longest) {
    if (!has(name)) return {};
    const auto text = text_value(name);
    if (!text || text->size() > longest) {
      wrong(name, "a text of at most " + std::to_string(longest) + " bytes");
      return {};
    }
    return std::string(*text);
  }
  std::string needed_text(const char* name, std::size_t longest) {
    if (!has(name)) wrong(name, "a text, and is missing");
    return text(name, longest);
  }
  bool boolean(const char* name, bool otherwise) {
    if (!has(name)) return otherwise;
    if (flat_ != nullptr) {
      const FlatValue& value = *flat_value(name);
      if (value.kind == FlatValue::Kind::boolean) return value.integer != 0;
    } else if (const nlohmann::json& value = *parsed_value(name); value.is_boolean()) {
      return value.get<bool>();
    }
    wrong(name, "true or false");
    return otherwise;
  }
  std::optional<Duration> milliseconds(const char* name) {
    constexpr std::int64_t kLongest = 366LL * 86'400'000 * 100;  // a hundred years
    const auto ms = integer(name, 0, kLongest);
    if (!ms) return std::nullopt;
    return Duration::milliseconds(*ms);
  }
  [[nodiscard]] bool is_list(std::string_view name) const {
    if (!has(name)) return false;
    return flat_ != nullptr ? flat_value(name)->kind == FlatValue::Kind::list
                            : parsed_value(name)->is_array();
  }
  // JSON text, whatever it is.
  [[nodiscard]] std::string json_text(std::string_view name) const {
    if (!has(name)) return {};
    return flat_ != nullptr ? std::string(flat_value(name)->json)
                            : varlink::to_text(*parsed_value(name));
  }
  // Calls `each` with those elements of a list that are texts.
  template <class Each>
  void for_each_text(std::string_view name, Each each) const {
    if (!is_list(name)) return;
    if (flat_ != nullptr) {
      for_each_element(*flat_value(name), [&](const FlatValue& value) {
        if (value.kind == FlatValue::Kind::text) each(value.text());
      });
      return;
    }
    for (const nlohmann::json& value : *parsed_value(name)) {
      if (const auto* text = value.get_ptr<const std::string*>()) each(std::string_view(*text));
    }
  }
  template <class Each>
  void for_each_name(Each each) const {
    if (flat_ != nullptr) {
      for (const FlatObject::Member& member : *flat_)
        each(member.name);
      return;
    }
    for (auto member = parsed_->begin(); member != parsed_->end(); ++member)
      each(std::string_view(member.key()));
  }
  // An object among the members: none of a plain one's is one.
  [[nodiscard]] const nlohmann::json* object(std::string_view name) const {
    const auto* value = flat_ != nullptr ? nullptr : parsed_value(name);
    return value != nullptr && value->is_object() ? value : nullptr;
  }
  void wrong(const char* name, const std::string& expected) {
    if (fault_.empty()) fault_ = "\"" + std::string(name) + "\" must be " + expected;
  }
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  [[nodiscard]] const FlatValue* flat_value(std::string_view name) const {
    const FlatValue* found = flat_->find(name);
    return found == nullptr || found->kind == FlatValue::Kind::null ? nullptr : found;
  }
  [[nodiscard]] const nlohmann::json* parsed_value(std::string_view name) const {
    const auto found = parsed_->find(name);
    return found == parsed_->end() || found->is_null() ? nullptr : &*found;
  }
  // Of a member that is there; none: it is something else, or beyond 64 bits with a sign.
  [[nodiscard]] std::optional<std::int64_t> whole_number(std::string_view name) const {
    if (flat_ != nullptr) {
      const FlatValue& value = *flat_value(name);
      if (value.kind == FlatValue::Kind::integer) return value.integer;
      return std::nullopt;
    }
    const nlohmann::json& value = *parsed_value(name);
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() ||
                       value.get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits) return std::nullopt;
    return value.get<std::int64_t>();
  }
  [[nodiscard]] std::optional<std::string_view> text_value(std::string_view name) const {
    if (flat_ != nullptr) {
      const FlatValue& value = *flat_value(name);
      if (value.kind == FlatValue::Kind::text) return value.text();
      return std::nullopt;
    }
    const auto* text = parsed_value(name)->get_ptr<const std::string*>();
    if (text == nullptr) return std::nullopt;
    return std::string_view(*text);
  }

  const nlohmann::json* parsed_ = nullptr;
  const FlatObject* flat_ = nullptr;
  std::string fault_;
};

}  // namespace mtd::broker
