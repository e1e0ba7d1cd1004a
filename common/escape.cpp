#include "common/escape.h"

#include <array>
#include <cstdint>
#include <cstdio>

namespace mtd {
namespace {

struct Character {
  char32_t code = 0;
  std::size_t length = 0;  // 0: the first byte begins no valid sequence
};

// RFC 3629: shortest form only, no surrogates, at most U+10FFFF.
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return {};
  char32_t code = lead & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    code = (code << 6U) | (byte(i) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
  return {code, length};
}

bool is_hidden(char32_t code) {
  return (code >= 0x80 && code <= 0x9F) ||      // C1 controls: an 8-bit CSI
         code == 0x061C ||                      // Arabic letter mark
         code == 0x200E || code == 0x200F ||    // directional marks
         (code >= 0x2028 && code <= 0x202E) ||  // line separators, bidi embeddings and overrides
         (code >= 0x2066 && code <= 0x2069) ||  // bidi isolates
         code == 0xFEFF ||                      // byte order mark
         (code >= 0xE0000 && code <= 0xE007F);  // tags
}

void append_hex(std::string& out, const char* format, std::uint32_t value) {
  std::array<char, 16> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, value);
  out += buffer.data();
}

}  // namespace

std::string escape_for_terminal(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_character(text);
    const std::size_t length = character.length == 0 ? 1 : character.length;
    if (character.length == 0 || character.code < 0x20 || character.code == 0x7F) {
      append_hex(out, "\\x%02X", static_cast<unsigned char>(text.front()));
    } else if (is_hidden(character.code)) {
      append_hex(out, "\\u{%04X}", static_cast<std::uint32_t>(character.code));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const Character character = first_character(text);
    if (character.length == 0) return false;
    text.remove_prefix(character.length);
  }
  return true;
}

}  // namespace mtd
