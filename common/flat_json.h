// FlatObject: a JSON object that is as plain as most frames are, read in one pass and without
// building anything. Its texts are printable ASCII without escapes, its numbers whole and short,
// its lists hold such values and lists; there are no objects in it, no blanks, no name twice.
//
// Of such an object it says exactly what varlink::parse_json() does, and a value's text is what
// varlink::to_text() prints of it. Of any other text it says nothing: the parser is to be asked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mtd {

struct FlatValue {
  enum class Kind : std::uint8_t { text, integer, boolean, null, list };
  Kind kind = Kind::null;
  std::string_view json;     // as it stands there
  std::int64_t integer = 0;  // boolean: 0 or 1

  // Of a text: what is between its quotes.
  [[nodiscard]] std::string_view text() const { return json.substr(1, json.size() - 2); }
};

class FlatObject {
 public:
  struct Member {
    std::string_view name;
    FlatValue value;
  };

  // `json` is to outlive it.
  [[nodiscard]] static std::optional<FlatObject> parse(std::string_view json);

  // Most names differ in length or in the first letter, which needs no call.
  [[nodiscard]] const FlatValue* find(std::string_view name) const {
    for (const Member& member : *this) {
      if (member.name.size() != name.size()) continue;
      if (!name.empty() && member.name.front() != name.front()) continue;
      if (member.name == name) return &member.value;
    }
    return nullptr;
  }
  [[nodiscard]] const Member* begin() const { return members_.data(); }
  [[nodiscard]] const Member* end() const { return members_.data() + count_; }

 private:
  static constexpr std::size_t kMostMembers = 24;

  // False: it is not as plain as that.
  [[nodiscard]] bool read(std::string_view json);

  std::array<Member, kMostMembers> members_;
  std::size_t count_ = 0;
};

namespace flat_json {

// Takes a value off the front of `rest`; false: it is none of the plain ones.
[[nodiscard]] bool take_value(std::string_view& rest, FlatValue& value, int depth = 0);

}  // namespace flat_json

// Calls `each` with every element of a list.
template <class Each>
void for_each_element(const FlatValue& list, Each each) {
  std::string_view rest = list.json.substr(1);
  while (rest.front() != ']') {
    FlatValue value;
    if (!flat_json::take_value(rest, value)) return;  // cannot be: it was taken once
    each(value);
    if (rest.front() == ',') rest.remove_prefix(1);
  }
}

}  // namespace mtd
