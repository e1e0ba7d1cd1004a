#include "common/task_frames.h"

#include <charconv>

namespace mtd::task_frames {
namespace {

// Walks over the tokens of one object, as far as finding a member at its top level needs it. What
// is no JSON is found out by whoever parses the line.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // The text of the value of member `name` at depth 1.
  std::optional<std::string_view> member(std::string_view name) {
    int depth = 0;
    bool is_name = false;  // the next text in quotes is a member's name
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        const std::string_view word = quoted();
        if (depth == 1 && is_name && word == name) return value();
        is_name = false;
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      if (c != ' ' && c != '\t') is_name = depth == 1 && (c == '{' || c == ',');
      ++at_;
    }
    return std::nullopt;
  }

 private:
  std::string_view quoted() {
    const std::size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != '"')
      at_ += text_[at_] == '\\' ? 2 : 1;
    const std::size_t end = at_ < text_.size() ? at_ : text_.size();
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }

  std::string_view value() {
    const auto is_around = [](char c) { return c == ' ' || c == '\t' || c == ':' || c == '\r'; };
    while (at_ < text_.size() && is_around(text_[at_]))
      ++at_;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '}' && !is_around(text_[at_]))
      ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string with_member(std::string_view object, std::string_view name, std::size_t value) {
  std::string text(object.substr(0, object.rfind('}')));
  if (text.back() != '{') text += ',';
  text += '"';
  text += name;
  text += "\":" + std::to_string(value) + "}\n";
  return text;
}

}  // namespace

Result<std::optional<std::uint64_t>> announced_body(std::string_view line) {
  // Most lines have none, and that is seen at once.
  if (line.find("\"body\"") == std::string_view::npos) return std::optional<std::uint64_t>();
  const std::optional<std::string_view> text = Scanner(line).member("body");
  if (!text) return std::optional<std::uint64_t>();
  std::uint64_t size = 0;
  const char* const end = text->data() + text->size();
  const auto [stopped, failure] = std::from_chars(text->data(), end, size);
  if (failure != std::errc() || stopped != end || text->empty()) {
    return Error{"\"body\" is no number of bytes: " + std::string(text->substr(0, 40))};
  }
  return std::optional(size);
}

Result<std::optional<Frame>> first_frame(std::string_view buffer, std::size_t max_body) {
  const std::size_t end = buffer.substr(0, kMaxLine).find('\n');
  if (end == std::string_view::npos) {
    if (buffer.size() < kMaxLine) return std::optional<Frame>();
    return Error{"a line is longer than " + std::to_string(kMaxLine) + " bytes"};
  }
  const std::string_view line = buffer.substr(0, end);
  const Result<std::optional<std::uint64_t>> body = announced_body(line);
  if (!body) return body.error();
  if (!*body) return std::optional(Frame{line, std::nullopt, end + 1});
  if (**body > max_body) {
    return Error{"a body of " + std::to_string(**body) + " bytes, at most " +
                 std::to_string(max_body) + " are allowed"};
  }
  const auto size = static_cast<std::size_t>(**body);
  if (buffer.size() - end - 1 < size) return std::optional<Frame>();
  return std::optional(Frame{line, buffer.substr(end + 1, size), end + 1 + size});
}

std::string frame(std::string_view object, std::optional<std::string_view> body) {
  if (!body) return std::string(object) + "\n";
  return with_member(object, "body", body->size()).append(*body);
}

std::string worker_message(std::string_view object, std::int64_t id, std::int64_t attempt,
                           std::optional<std::string_view> body) {
  std::string whole = frame(object, body);
  if (whole.size() <= kMaxWire || !body) return whole;
  std::string result;
  const std::size_t count = (body->size() + kPartBytes - 1) / kPartBytes;
  for (std::size_t part = 0; part < count; ++part) {
    result += frame(
        "{\"t\":\"part\",\"id\":" + std::to_string(id) + ",\"attempt\":" + std::to_string(attempt) +
            ",\"part\":" + std::to_string(part) + ",\"of\":" + std::to_string(count) + "}",
        body->substr(part * kPartBytes, kPartBytes));
  }
  return result + with_member(object, "parts", count);
}

}  // namespace mtd::task_frames
