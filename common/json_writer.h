// JsonWriter: writes JSON text member by member, for answers that are long or asked for often,
// where building values first would cost more than what they say. Commas and quotes are its
// business; that objects and arrays are closed, and members named once, is the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mtd {

// `text` in quotes. What is not UTF-8 becomes U+FFFD. `ascii`: beyond ASCII all is \uXXXX.
void append_json_string(std::string& out, std::string_view text, bool ascii = false);

class JsonWriter {
 public:
  void begin_object() { begin('{'); }
  void end_object() { text_ += '}'; }
  void begin_array() { begin('['); }
  void end_array() { text_ += ']'; }
  // The next value is this member's.
  void key(std::string_view name) {
    separate();
    append_json_string(text_, name);
    text_ += ':';
  }

  void value(std::nullptr_t) { add("null"); }
  void value(bool value) { add(value ? "true" : "false"); }
  void value(std::string_view value) {
    separate();
    append_json_string(text_, value);
  }
  void value(const char* value) { this->value(std::string_view(value)); }
  template <class Integer>
  std::enable_if_t<std::is_integral_v<Integer>> value(Integer value) {
    if constexpr (std::is_signed_v<Integer>) {
      add_signed(value);
    } else {
      add_unsigned(value);
    }
  }
  // null for none.
  template <class Value>
  void value(const std::optional<Value>& value) {
    value ? this->value(*value) : this->value(nullptr);
  }
  template <class Value>
  void member(std::string_view name, const Value& value) {
    key(name);
    this->value(value);
  }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void begin(char bracket) {
    separate();
    text_ += bracket;
  }
  // Before a value or a name. A text in quotes never ends with what begins a list.
  void separate() {
    if (text_.empty()) return;
    const char last = text_.back();
    if (last != '{' && last != '[' && last != ':') text_ += ',';
  }
  void add(std::string_view word) {
    separate();
    text_ += word;
  }
  void add_signed(std::int64_t value);
  void add_unsigned(std::uint64_t value);

  std::string text_;
};

}  // namespace mtd
