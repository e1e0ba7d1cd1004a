#include "config/document.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "config/blank.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;

// Offsets to lines and columns, asked for in rising order.
class Locator {
 public:
  Locator(std::string_view text, std::uint32_t file) : text_(text), place_{file, 1, 1} {}

  Place at(std::size_t offset) {
    for (; offset_ < std::min(offset, text_.size()); ++offset_) {
      const char c = text_[offset_];
      if (c == '\n') {
        ++place_.line;
        place_.column = 1;
      } else if ((static_cast<unsigned char>(text_[offset_]) & 0xC0U) != 0x80U) {
        ++place_.column;
      }
    }
    return place_;
  }

 private:
  std::string_view text_;
  std::size_t offset_ = 0;
  Place place_;
};

// Follows the parser through the same text to know where each token begins; the parser's own
// position is that of its look-ahead.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) {}

  [[nodiscard]] std::size_t begin_of_next() {
    offset_ = std::min(text_.find_first_not_of(" \t\r\n,:", offset_), text_.size());
    return offset_;
  }
  void skip_token() {
    const std::size_t begin = begin_of_next();
    if (begin == text_.size()) return;
    const char c = text_[begin];
    if (c == '"') {
      for (++offset_; offset_ < text_.size() && text_[offset_] != '"'; ++offset_) {
        if (text_[offset_] == '\\') ++offset_;
      }
      offset_ = std::min(offset_ + 1, text_.size());
    } else if (c == '{' || c == '}' || c == '[' || c == ']') {
      ++offset_;
    } else {
      offset_ = std::min(text_.find_first_of(" \t\r\n,:{}[]\"", begin), text_.size());
    }
  }

 private:
  std::string_view text_;
  std::size_t offset_ = 0;
};

class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  Builder(std::string_view original, std::string_view blanked, std::uint32_t file,
          Problems& problems)
      : tokens_(blanked), locator_(original, file), problems_(problems) {}

  bool null() { return leaf(Null{}); }
  bool boolean(bool value) { return leaf(value); }
  bool number_integer(number_integer_t value) { return leaf(value); }
  bool number_unsigned(number_unsigned_t value) {
    if (value <= static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return leaf(static_cast<std::int64_t>(value));
    }
    return leaf(static_cast<std::uint64_t>(value));
  }
  bool number_float(number_float_t value, const string_t& text) {
    if (text.find_first_of(".eE") == string_t::npos) {
      return refuse("the integer " + text.substr(0, 40) + " does not fit 64 bits");
    }
    return leaf(value);
  }
  bool string(string_t& value) {
    if (value.find('\0') != string_t::npos) return refuse("a string must not contain \\u0000");
    return leaf(std::move(value));
  }
  bool binary(binary_t&) { return refuse("binary values are no JSON"); }

  bool start_object(std::size_t) { return open(Object{}); }
  bool start_array(std::size_t) { return open(Array{}); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(string_t& name) {
    const Place place = here();
    if (name.find('\0') != string_t::npos) return refuse("a key must not contain \\u0000");
    if (!open_.back().names.insert(name).second) {
      problems_.error(place, "duplicate key \"" + escape_for_terminal(name.substr(0, 64)) +
                                 "\"; each key may stand once in an object");
      failed_ = true;  // goes on: more may be wrong
    }
    tokens_.skip_token();
    key_ = name;
    key_place_ = place;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) {
    const std::size_t begin = tokens_.begin_of_next();
    const std::size_t offset = position == 0 ? begin : std::min(begin, position - 1);
    problems_.error(locator_.at(offset), explain(error.what()));
    return false;
  }

  [[nodiscard]] std::optional<Node> take() {
    if (failed_ || !done_) return std::nullopt;
    return std::move(root_);
  }

 private:
  struct Open {
    Node node;
    std::set<std::string> names;
  };

  Place here() { return locator_.at(tokens_.begin_of_next()); }

  bool refuse(std::string message) {
    problems_.error(here(), std::move(message));
    return false;
  }

  // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing
  // value - invalid literal; last read: '…'" without the parts that this module says better.
  static std::string explain(std::string_view what) {
    if (what.find("out_of_range") != std::string_view::npos) {
      return "a number is too large; the largest is about 1.8e308";
    }
    if (const auto start = what.find("syntax error"); start != std::string_view::npos) {
      what.remove_prefix(start);
    }
    return escape_for_terminal(what.substr(0, 200));
  }

  Node made(Place place) {
    Node node;
    node.name = std::exchange(key_, {});
    node.name_place = key_place_;
    node.place = place;
    return node;
  }

  template <class T>
  bool leaf(T value) {
    Node node = made(here());
    tokens_.skip_token();
    node.value = std::move(value);
    return put(std::move(node));
  }

  template <class T>
  bool open(T value) {
    if (open_.size() >= kMaxDepth) {
      return refuse("more than " + std::to_string(kMaxDepth) + " levels of nesting");
    }
    Open level;
    level.node = made(here());
    tokens_.skip_token();
    level.node.value = std::move(value);
    open_.push_back(std::move(level));
    return true;
  }

  bool close() {
    tokens_.skip_token();
    Node node = std::move(open_.back().node);
    open_.pop_back();
    return put(std::move(node));
  }

  bool put(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      done_ = true;
    } else if (auto* object = std::get_if<Object>(&open_.back().node.value)) {
      object->members.push_back(std::move(node));
    } else {
      std::get<Array>(open_.back().node.value).items.push_back(std::move(node));
    }
    return true;
  }

  Tokens tokens_;
  Locator locator_;
  Problems& problems_;
  std::vector<Open> open_;
  std::string key_;
  Place key_place_;
  Node root_;
  bool done_ = false;
  bool failed_ = false;
};

// The offset of the first byte that is no UTF-8; the text is known to have one.
std::size_t first_invalid(std::string_view text) {
  std::size_t low = 0;
  while (low < text.size()) {
    std::size_t length = 1;
    while (length < 4 && low + length < text.size() &&
           (static_cast<unsigned char>(text[low + length]) & 0xC0U) == 0x80U) {
      ++length;
    }
    if (!is_valid_utf8(text.substr(low, length))) break;
    low += length;
  }
  return low;
}

}  // namespace

std::optional<Node> parse_document(std::string_view text, std::uint32_t file, Problems& problems) {
  if (text.starts_with("\xEF\xBB\xBF")) {
    problems.error({file, 1, 1}, "the file begins with a byte order mark; save it as plain UTF-8");
    return std::nullopt;
  }
  if (!is_valid_utf8(text)) {
    problems.error(Locator(text, file).at(first_invalid(text)),
                   "invalid UTF-8; save the file as UTF-8");
    return std::nullopt;
  }
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    problems.error(Locator(text, file).at(nul), "a NUL byte; this is no text file");
    return std::nullopt;
  }
  std::string blanked(text);
  if (const auto comment = blank_extensions(blanked)) {
    problems.error(Locator(text, file).at(*comment), "a comment that never ends; */ is missing");
    return std::nullopt;
  }
  if (blanked.find_first_not_of(" \t\r\n") == std::string::npos) {
    problems.error({file, 1, 1}, "the file is empty; write at least {\"pools\": {}}");
    return std::nullopt;
  }
  Builder builder(text, blanked, file, problems);
  const bool parsed = Json::sax_parse(blanked, &builder);
  return parsed ? builder.take() : std::nullopt;
}

}  // namespace mtd::config
