#include "config/node.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/escape.h"

namespace mtd::config {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Node& node) {
  struct Visitor {
    Json operator()(Null) const { return nullptr; }
    Json operator()(bool value) const { return value; }
    Json operator()(std::int64_t value) const { return value; }
    Json operator()(std::uint64_t value) const { return value; }
    Json operator()(double value) const { return value; }
    Json operator()(const std::string& value) const { return value; }
    Json operator()(const Array& array) const {
      Json json = Json::array();
      for (const Node& item : array.items)
        json.push_back(to_json(item));
      return json;
    }
    Json operator()(const Object& object) const {
      Json json = Json::object();
      for (const Node& member : object.members)
        json[member.name] = to_json(member);
      return json;
    }
  };
  return std::visit(Visitor{}, node.value);
}

void merge_into(Node& target, Node patch, std::vector<Place>& idle_deletions) {
  auto* changes = std::get_if<Object>(&patch.value);
  if (changes == nullptr) {
    target = std::move(patch);
    return;
  }
  if (target.as<Object>() == nullptr) {
    target.place = patch.place;
    target.value = Object{};
  }
  auto& members = std::get<Object>(target.value).members;
  for (Node& change : changes->members) {
    const auto found = std::find_if(members.begin(), members.end(),
                                    [&](const Node& member) { return member.name == change.name; });
    if (change.as<Null>() != nullptr) {
      if (found == members.end()) {
        idle_deletions.push_back(change.name_place);
      } else {
        members.erase(found);
      }
    } else if (found != members.end()) {
      merge_into(*found, std::move(change), idle_deletions);
    } else {
      Node added;
      added.name = change.name;
      added.name_place = change.name_place;
      merge_into(added, std::move(change), idle_deletions);
      members.push_back(std::move(added));
    }
  }
}

}  // namespace

const Node* Node::member(std::string_view key) const {
  const auto* object = as<Object>();
  if (object == nullptr) return nullptr;
  for (const Node& node : object->members) {
    if (node.name == key) return &node;
  }
  return nullptr;
}

std::vector<Place> merge(Node& target, Node patch) {
  std::vector<Place> idle_deletions;
  merge_into(target, std::move(patch), idle_deletions);
  return idle_deletions;
}

std::string to_json_text(const Node& node) {
  return to_json(node).dump();
}

std::string brief(const Node& node, std::size_t limit) {
  std::string text = to_json_text(node);
  if (text.size() > limit) {
    std::size_t cut = limit;  // not inside a character
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U)
      --cut;
    text = text.substr(0, cut) + "…";
  }
  return escape_for_terminal(text);
}

}  // namespace mtd::config
