// An object of the file against the key table: every member is a known key of the right type, or an
// error with its place and, where one is close, the key that was probably meant.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/keys.h"
#include "config/node.h"
#include "config/problems.h"
#include "config/scalar.h"

namespace mtd::config {

// The keys that were given, by their path in the table, and the nodes they have in the file.
using Given = std::map<std::string_view, const Node*>;

// Keys that people may use for notes and for editors: "$schema", "x-owner".
[[nodiscard]] bool is_ignored_key(std::string_view name);

class KeyWalk {
 public:
  // `context`: what stands before every message, "pools.web"; may be empty. `foreign`: members of
  // the topmost object that are somebody else's.
  KeyWalk(std::vector<const KeyInfo*> keys, std::string context, Problems& problems,
          std::vector<std::string_view> foreign = {})
      : keys_(std::move(keys)),
        context_(std::move(context)),
        problems_(problems),
        foreign_(std::move(foreign)) {}

  // Collects all known keys below `node`, which must be an object.
  [[nodiscard]] Given walk(const Node& node);
  // Reports a problem of a key: "pools.web: key: message".
  void report(Place place, std::string_view path, std::string_view message);

 private:
  void walk_level(const Object& object, const std::string& prefix, Given& given);
  void unknown(const Node& member, const std::string& prefix);
  [[nodiscard]] std::string context(std::string_view path) const;

  std::vector<const KeyInfo*> keys_;
  std::string context_;
  Problems& problems_;
  std::vector<std::string_view> foreign_;
};

// Walks, checks and puts all scalars of `node` into `spec`.
template <class Spec>
Given read_keys(const std::vector<Key<Spec>>& keys, const Node& node, std::string context,
                Problems& problems, Spec& spec, std::vector<std::string_view> foreign = {}) {
  std::vector<const KeyInfo*> infos;
  for (const auto& key : keys)
    infos.push_back(&key.info);
  KeyWalk walk(std::move(infos), std::move(context), problems, std::move(foreign));
  Given given = walk.walk(node);
  for (const auto& key : keys) {
    const auto found = given.find(key.info.path);
    if (found == given.end()) continue;
    const auto value = check_value(key.info, *found->second);
    if (!value) {
      walk.report(found->second->place, key.info.path, value.error().message);
      given.erase(found);
    } else if (key.set != nullptr) {
      key.set(spec, *value, key.info);
    }
  }
  return given;
}

}  // namespace mtd::config
