#include "ctl/migrate/text.h"

#include <algorithm>
#include <charconv>

#include "common/names.h"
#include "ctl/migrate/notes.h"

namespace mtd::ctl {
namespace {

// A reference stands between these two; the reader of files lets no control character through.
constexpr char kOpen = '\x01';
constexpr char kClose = '\x02';

std::string reference(std::string_view name) {
  return kOpen + std::string(name) + kClose;
}

std::string padded(std::uint32_t number, std::uint32_t width) {
  std::string digits = std::to_string(number);
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return digits;
}

std::string numbers_as_text(const Expansions& expansions, std::uint32_t width) {
  std::string first = padded(expansions.numbers.first, width);
  if (expansions.numbers.count == 1) return first;
  if (!expansions.exact) return reference("MTD_WORKER_ID");
  first.pop_back();  // a 0: see blocks_of
  return first + reference("MTD_WORKER_ID");
}

// %(name)02d
struct Expression {
  std::string_view name;
  bool zero = false;
  std::uint32_t width = 0;
  char type = 's';
  std::size_t length = 0;
};

constexpr std::uint32_t kMaxWidth = 20;

Result<Expression> parse_expression(std::string_view text) {
  const Error malformed{"is no expression that is known here: " + cited(text.substr(0, 24)) +
                        "; a % alone is written %%"};
  const std::size_t close = text.find(')');
  if (!text.starts_with("%(") || close == std::string_view::npos) return malformed;
  Expression read;
  read.name = text.substr(2, close - 2);
  std::size_t at = close + 1;
  if (at < text.size() && text[at] == '0') read.zero = true;
  const char* const end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data() + at, end, read.width);
  if (error == std::errc{}) at = static_cast<std::size_t>(after - text.data());
  if (error == std::errc::result_out_of_range || read.width > kMaxWidth || at >= text.size())
    return malformed;
  read.type = text[at];
  if (std::string_view("sdi").find(read.type) == std::string_view::npos) return malformed;
  read.length = at + 1;
  return read;
}

Result<std::string> number_text(const Expression& read, const Expansions& expansions,
                                Expanded& out) {
  if (read.width > 1 && (!read.zero || read.type == 's'))
    return Error{"pads a number with blanks, which mtd cannot: " + cited(read.name)};
  const std::uint32_t width = read.zero ? read.width : 0;
  out.numbered = true;
  out.width = std::max(out.width, width);
  return numbers_as_text(expansions, width);
}

Result<std::string> value_of(const Expression& read, const Expansions& expansions, Expanded& out) {
  if (read.name == "process_num") return number_text(read, expansions, out);
  if (read.name.starts_with("ENV_") && read.name.size() > 4) {
    const std::string name(read.name.substr(4));
    out.variables.push_back(name);
    return reference(name);
  }
  const auto found = expansions.names.find(read.name);
  if (found != expansions.names.end()) return found->second;
  std::vector<std::string_view> known{"process_num"};
  for (const auto& [name, value] : expansions.names)
    known.push_back(name);
  const std::string_view close = closest_name(read.name, known);
  return Error{"%(" + std::string(read.name.substr(0, 64)) + ") is unknown" +
               (close.empty() ? std::string() : ", did you mean " + std::string(close) + "?")};
}

constexpr std::string_view kSpace = " \t\r\n";

bool is_pair_letter(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         byte >= 0x80 || c == kOpen || c == kClose ||
         std::string_view("_/.+-():").find(c) != std::string_view::npos;
}

// One word, its quotes and backslashes taken away, from the front of `rest`.
class WordReader {
 public:
  explicit WordReader(std::string_view& rest) : rest_(rest) {}

  // Up to a blank, or in a list of pairs up to a character that needs quotes.
  Result<std::string> word(bool pairs) {
    std::string word;
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (kSpace.find(c) != std::string_view::npos) break;
      if (c == '\'' || c == '"') {
        rest_.remove_prefix(1);
        if (auto taken = quoted(c, word); !taken) return taken.error();
      } else if (c == '\\') {
        if (rest_.size() == 1) return Error{"ends with a lone backslash"};
        word += rest_[1];
        rest_.remove_prefix(2);
      } else if (pairs && !is_pair_letter(c)) {
        break;
      } else {
        word += c;
        rest_.remove_prefix(1);
      }
    }
    return word;
  }

 private:
  Result<void> quoted(char quote, std::string& word) {
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == quote) return {};
      const bool escape = c == '\\' && quote == '"' && !rest_.empty() &&
                          (rest_.front() == '"' || rest_.front() == '\\');
      word += escape ? rest_.front() : c;
      if (escape) rest_.remove_prefix(1);
    }
    return Error{std::string("a ") + quote + " is not closed"};
  }

  std::string_view& rest_;
};

void skip_space(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
}

Result<std::pair<std::string, std::string>> take_pair(std::string_view& rest) {
  auto key = WordReader(rest).word(true);
  if (!key) return key.error();
  skip_space(rest);
  if (key->empty() || !rest.starts_with("=")) {
    return Error{"is no list like KEY=\"value\",KEY2=\"value2\"; near " +
                 cited(*key + std::string(rest.substr(0, 24)))};
  }
  rest.remove_prefix(1);
  skip_space(rest);
  auto value = WordReader(rest).word(true);
  if (!value) return value.error();
  skip_space(rest);
  if (!rest.empty() && rest.front() != ',') {
    return Error{"the value of " + cited(*key) + " needs quotes because of " +
                 cited(rest.substr(0, 1))};
  }
  if (!rest.empty()) rest.remove_prefix(1);
  return std::pair(std::move(*key), std::move(*value));
}

}  // namespace

std::vector<Block> blocks_of(std::uint32_t start, std::uint32_t count, std::uint32_t width) {
  constexpr std::uint32_t kDigits = 10;
  if (count == 0 || (start == 0 && width <= 1)) return {{start, count}};
  std::vector<Block> blocks;
  const std::uint32_t end = start + count;
  for (std::uint32_t number = start; number < end; number += blocks.back().count) {
    const std::uint32_t left = end - number;
    blocks.push_back({number, number % kDigits == 0 ? std::min(kDigits, left) : 1});
  }
  return blocks;
}

Result<Expanded> expand_expressions(std::string_view value, const Expansions& expansions) {
  Expanded out;
  while (!value.empty()) {
    const std::size_t percent = std::min(value.find('%'), value.size());
    out.text += value.substr(0, percent);
    value.remove_prefix(percent);
    if (value.empty()) break;
    if (value.starts_with("%%")) {
      out.text += '%';
      value.remove_prefix(2);
      continue;
    }
    const auto read = parse_expression(value);
    if (!read) return read.error();
    const auto text = value_of(*read, expansions, out);
    if (!text) return text.error();
    out.text += *text;
    value.remove_prefix(read->length);
  }
  return out;
}

Result<std::vector<std::string>> split_words(std::string_view text) {
  std::vector<std::string> words;
  for (skip_space(text); !text.empty(); skip_space(text)) {
    auto word = WordReader(text).word(false);
    if (!word) return word.error();
    words.push_back(std::move(*word));
  }
  return words;
}

Result<std::vector<std::pair<std::string, std::string>>> split_pairs(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (skip_space(text); !text.empty(); skip_space(text)) {
    auto pair = take_pair(text);
    if (!pair) return pair.error();
    const auto same = std::find_if(pairs.begin(), pairs.end(),
                                   [&](const auto& one) { return one.first == pair->first; });
    if (same != pairs.end()) pairs.erase(same);
    pairs.push_back(std::move(*pair));
  }
  return pairs;
}

std::string to_mtd(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == kOpen) {
      result += "${";
    } else if (c == kClose) {
      result += '}';
    } else if (c == '$') {
      result += "$$";
    } else {
      result += c;
    }
  }
  return result;
}

bool has_reference(std::string_view text) {
  return text.find(kOpen) != std::string_view::npos;
}

}  // namespace mtd::ctl
