#include "common/varlink_json.h"

#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace mtd::varlink {
namespace {

using nlohmann::json;

// Receives the parser's events and builds the value; returning false stops the parser.
class StrictBuilder {
 public:
  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(json::number_integer_t value) { return add(value); }
  bool number_unsigned(json::number_unsigned_t value) { return add(value); }
  bool number_float(json::number_float_t value, const std::string& text) {
    // The lexer falls back to a double when an integer does not fit.
    if (text.find_first_of(".eE") == std::string::npos) {
      return fail("the integer " + text.substr(0, 40) + " does not fit 64 bits");
    }
    return add(value);
  }
  bool string(std::string& value) {
    if (value.find('\0') != std::string::npos) return fail("a string contains \\u0000");
    return add(std::move(value));
  }
  bool binary(json::binary_t&) { return fail("binary data"); }
  bool start_object(std::size_t) { return open(json::object()); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (name.find('\0') != std::string::npos) return fail("a member name contains \\u0000");
    auto& members = open_.back()->get_ref<json::object_t&>();
    const auto [place, is_new] = members.try_emplace(std::move(name));
    if (!is_new) return fail("the member \"" + place->first + "\" is given twice");
    member_ = &place->second;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const json::exception& error) {
    // 406: a number that no double holds.
    return fail((error.id == 406 ? "a number is out of range at byte " : "not JSON at byte ") +
                std::to_string(position));
  }

  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] json take() { return std::move(root_); }

 private:
  bool fail(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  json* place(json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    return &(*member_ = std::move(value));
  }
  bool add(json value) {
    place(std::move(value));
    return true;
  }
  bool open(json container) {
    if (open_.size() == kMaxDepth) {
      return fail("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    }
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  json root_;
  std::vector<json*> open_;  // a container's address is stable while it is the innermost open one's
  json* member_ = nullptr;   // ancestor, because only the innermost one grows
  std::string error_;
};

}  // namespace

Result<json> parse_json(std::string_view text) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") return Error{"begins with a byte order mark"};
  StrictBuilder builder;
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return Error{builder.error().empty() ? "not JSON" : builder.error()};
  }
  return builder.take();
}

std::string to_text(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace mtd::varlink
