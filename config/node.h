// Node: a JSON value that knows where it was written. Objects keep the order of the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mtd::config {

// Where something was written; file is an index into the list of files of a load. Columns count
// characters, not bytes. Line 0: the file as a whole.
struct Place {
  std::uint32_t file = 0;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

struct Node;

struct Null {};
struct Array {
  std::vector<Node> items;
};
struct Object {
  std::vector<Node> members;
};

struct Node {
  std::string name;  // of a member of an object; empty in arrays and at the top
  Place name_place;
  Place place;
  std::variant<Null, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> value;

  template <class T>
  [[nodiscard]] const T* as() const {
    return std::get_if<T>(&value);
  }
  [[nodiscard]] const Node* member(std::string_view key) const;  // nullptr when absent
};

// `patch` into `target` as RFC 7396 says: objects deep, null deletes, everything else replaces.
// Nodes keep the places of the text they come from. Deletions of what is not there are returned.
[[nodiscard]] std::vector<Place> merge(Node& target, Node patch);

// Compact JSON of a node as it was written, escaped for people, cut to `limit` bytes.
[[nodiscard]] std::string brief(const Node& node, std::size_t limit = 60);
// The same, complete and as JSON.
[[nodiscard]] std::string to_json_text(const Node& node);

}  // namespace mtd::config
