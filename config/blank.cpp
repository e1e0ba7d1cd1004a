#include "config/blank.h"

#include <algorithm>
#include <string_view>

namespace mtd::config {
namespace {

// The offset behind the string that begins at `quote`, or the end of the text.
std::size_t after_string(std::string_view text, std::size_t quote) {
  for (std::size_t i = quote + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

void blank(std::string& text, std::size_t from, std::size_t to) {
  for (std::size_t i = from; i < to; ++i) {
    if (text[i] != '\n' && text[i] != '\r') text[i] = ' ';
  }
}

std::optional<std::size_t> blank_comments(std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = std::string_view(text).substr(i, 2);
    if (rest.front() == '"') {
      i = after_string(text, i);
    } else if (rest == "//") {
      const std::size_t end = std::min(text.find('\n', i), text.size());
      blank(text, i, end);
      i = end;
    } else if (rest == "/*") {
      const std::size_t end = text.find("*/", i + 2);
      if (end == std::string::npos) return i;
      blank(text, i, end + 2);
      i = end + 2;
    } else {
      ++i;
    }
  }
  return std::nullopt;
}

constexpr bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// A comma goes when a value stands before it and a closing bracket after it.
void blank_trailing_commas(std::string& text) {
  std::size_t comma = std::string::npos;  // seen last, with nothing but spaces since
  char before = 0;                        // the last character that is not a space
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (is_space(c)) {
      ++i;
      continue;
    }
    if ((c == '}' || c == ']') && comma != std::string::npos) text[comma] = ' ';
    comma =
        c == ',' && before != 0 && before != ',' && before != '{' && before != '[' && before != ':'
            ? i
            : std::string::npos;
    before = c;
    i = c == '"' ? after_string(text, i) : i + 1;
  }
}

}  // namespace

std::optional<std::size_t> blank_extensions(std::string& text) {
  if (const auto open_comment = blank_comments(text)) return open_comment;
  blank_trailing_commas(text);
  return std::nullopt;
}

}  // namespace mtd::config
