#include "config/split.h"

namespace mtd::config {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

class Splitter {
 public:
  explicit Splitter(std::string_view rest) : rest_(rest) {}

  Result<std::vector<std::string>> run() {
    while (!rest_.empty()) {
      const char c = take();
      if (kBlanks.find(c) != std::string_view::npos) {
        finish_word();
        continue;
      }
      in_word_ = true;
      const Result<void> taken = c == '\'' ? single() : c == '"' ? quoted() : plain(c);
      if (!taken) return taken.error();
    }
    finish_word();
    return std::move(words_);
  }

 private:
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  void literal(char c) { word_ += c == '$' ? "$$" : std::string(1, c); }

  void finish_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }

  Result<void> plain(char c) {
    if (c != '\\') {
      word_ += c;
      return {};
    }
    if (rest_.empty()) return Error{"ends with a lone backslash; write \\\\ for one"};
    literal(take());
    return {};
  }

  Result<void> single() {
    while (!rest_.empty()) {
      const char c = take();
      if (c == '\'') return {};
      literal(c);
    }
    return Error{"a ' is not closed"};
  }

  // A backslash is special before \ " $ and ` only (POSIX sh, 2.2.3).
  Result<void> quoted() {
    while (!rest_.empty()) {
      const char c = take();
      if (c == '"') return {};
      if (c == '\\' && !rest_.empty() &&
          std::string_view("\\\"$`").find(rest_.front()) != std::string_view::npos) {
        literal(take());
      } else {
        word_ += c;
      }
    }
    return Error{"a \" is not closed"};
  }

  std::string_view rest_;
  std::vector<std::string> words_;
  std::string word_;
  bool in_word_ = false;
};

}  // namespace

Result<std::vector<std::string>> split_command(std::string_view text) {
  return Splitter(text).run();
}

}  // namespace mtd::config
