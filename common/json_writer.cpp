#include "common/json_writer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <nlohmann/json.hpp>

namespace mtd {
namespace {

template <class Integer>
std::string_view digits(Integer value, std::array<char, 24>& buffer) {
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), static_cast<std::size_t>(end - buffer.data())};
}

bool is_plain(char c) {
  return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

}  // namespace

void append_json_string(std::string& out, std::string_view text, bool ascii) {
  if (!std::all_of(text.begin(), text.end(), is_plain)) {
    using nlohmann::json;
    out += json(text).dump(-1, ' ', ascii, json::error_handler_t::replace);
    return;
  }
  out += '"';
  out += text;
  out += '"';
}

void JsonWriter::add_signed(std::int64_t value) {
  std::array<char, 24> buffer;
  add(digits(value, buffer));
}

void JsonWriter::add_unsigned(std::uint64_t value) {
  std::array<char, 24> buffer;
  add(digits(value, buffer));
}

}  // namespace mtd
