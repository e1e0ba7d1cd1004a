#include "common/flat_json.h"

namespace mtd {
namespace flat_json {
namespace {

constexpr int kMostDepth = 8;
constexpr std::size_t kMostDigits = 18;  // that surely fit 64 bits

bool take(std::string_view& rest, char c) {
  if (rest.empty() || rest.front() != c) return false;
  rest.remove_prefix(1);
  return true;
}

bool take_word(std::string_view& rest, std::string_view word) {
  if (rest.substr(0, word.size()) != word) return false;
  rest.remove_prefix(word.size());
  return true;
}

// With its quotes.
bool take_text(std::string_view& rest, std::string_view& text) {
  if (rest.empty() || rest.front() != '"') return false;
  std::size_t at = 1;
  while (at < rest.size() && rest[at] != '"') {
    const char c = rest[at];
    if (c < ' ' || c > '~' || c == '\\') return false;  // a char may be signed: so is UTF-8 here
    ++at;
  }
  if (at == rest.size()) return false;
  text = rest.substr(0, at + 1);
  rest.remove_prefix(at + 1);
  return true;
}

// -?(0|[1-9][0-9]*), and nothing that makes it another number behind it.
bool take_integer(std::string_view& rest, FlatValue& value) {
  const std::string_view begin = rest;
  const bool negative = take(rest, '-');
  const std::string_view digits = rest;
  std::int64_t number = 0;
  while (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
    if (digits.size() - rest.size() == kMostDigits) return false;
    number = number * 10 + (rest.front() - '0');
    rest.remove_prefix(1);
  }
  const std::size_t count = digits.size() - rest.size();
  if (count == 0 || (digits.front() == '0' && (count > 1 || negative))) return false;
  if (!rest.empty() && (rest.front() == '.' || rest.front() == 'e' || rest.front() == 'E'))
    return false;
  value = {FlatValue::Kind::integer, begin.substr(0, begin.size() - rest.size()),
           negative ? -number : number};
  return true;
}

bool take_list(std::string_view& rest, FlatValue& value, int depth) {
  const std::string_view begin = rest;
  rest.remove_prefix(1);
  if (!take(rest, ']')) {
    for (FlatValue element;;) {
      if (!take_value(rest, element, depth + 1)) return false;
      if (take(rest, ']')) break;
      if (!take(rest, ',')) return false;
    }
  }
  value = {FlatValue::Kind::list, begin.substr(0, begin.size() - rest.size()), 0};
  return true;
}

}  // namespace

bool take_value(std::string_view& rest, FlatValue& value, int depth) {
  if (rest.empty() || depth > kMostDepth) return false;
  const std::string_view begin = rest;
  switch (rest.front()) {
    case '"': {
      std::string_view text;
      if (!take_text(rest, text)) return false;
      value = {FlatValue::Kind::text, text, 0};
      return true;
    }
    case '[':
      return take_list(rest, value, depth);
    case 't':
      value = {FlatValue::Kind::boolean, begin.substr(0, 4), 1};
      return take_word(rest, "true");
    case 'f':
      value = {FlatValue::Kind::boolean, begin.substr(0, 5), 0};
      return take_word(rest, "false");
    case 'n':
      value = {FlatValue::Kind::null, begin.substr(0, 4), 0};
      return take_word(rest, "null");
    default:
      return take_integer(rest, value);
  }
}

}  // namespace flat_json

// One place to return from: the object is large, and must not be copied.
std::optional<FlatObject> FlatObject::parse(std::string_view json) {
  std::optional<FlatObject> object(std::in_place);
  if (!object->read(json)) object.reset();
  return object;
}

bool FlatObject::read(std::string_view json) {
  using namespace flat_json;
  if (!take(json, '{')) return false;
  if (take(json, '}')) return json.empty();
  for (;;) {
    std::string_view name;
    if (count_ == kMostMembers || !take_text(json, name) || !take(json, ':')) return false;
    name = name.substr(1, name.size() - 2);
    if (find(name) != nullptr) return false;
    Member& member = members_[count_];
    member.name = name;
    if (!take_value(json, member.value)) return false;
    ++count_;
    if (take(json, '}')) return json.empty();
    if (!take(json, ',')) return false;
  }
}

}  // namespace mtd
