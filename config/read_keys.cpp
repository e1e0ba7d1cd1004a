#include "config/read_keys.h"

#include "common/escape.h"
#include "common/names.h"

namespace mtd::config {
namespace {

std::string quoted(std::string_view text) {
  std::string shown = escape_for_terminal(text.substr(0, 64));
  return "\"" + shown + (text.size() > 64 ? "…" : "") + "\"";
}

// The next part of `path` below `prefix`; empty when the path is not below it.
std::string_view part_below(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  return path.substr(0, path.find('.'));
}

}  // namespace

bool is_ignored_key(std::string_view name) {
  return name.starts_with("$") || name.starts_with("x-");
}

Given KeyWalk::walk(const Node& node) {
  Given given;
  if (const auto* object = node.as<Object>()) walk_level(*object, "", given);
  return given;
}

void KeyWalk::report(Place place, std::string_view path, std::string_view message) {
  problems_.error(
      place, context(path) + (path.empty() && context_.empty() ? "" : ": ") + std::string(message));
}

std::string KeyWalk::context(std::string_view path) const {
  std::string text = context_;
  if (!text.empty() && !path.empty()) text += ".";
  return text + std::string(path);
}

void KeyWalk::walk_level(const Object& object, const std::string& prefix, Given& given) {
  for (const Node& member : object.members) {
    if (is_ignored_key(member.name)) continue;
    if (prefix.empty() &&
        std::find(foreign_.begin(), foreign_.end(), member.name) != foreign_.end())
      continue;
    const std::string path = prefix + member.name;
    const auto row = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const KeyInfo* key) { return key->path == path; });
    const bool group = std::any_of(keys_.begin(), keys_.end(), [&](const KeyInfo* key) {
      return key->path.starts_with(path + ".");
    });
    if (row != keys_.end() && !(group && member.as<Object>() != nullptr)) {
      given.emplace((*row)->path, &member);
      continue;
    }
    if (!group || member.name.find('.') != std::string::npos) {
      unknown(member, prefix);
    } else if (const auto* inner = member.as<Object>()) {
      walk_level(*inner, path + ".", given);
    } else {
      report(member.place, path, "must be an object, like {…}, not " + brief(member));
    }
  }
}

void KeyWalk::unknown(const Node& member, const std::string& prefix) {
  std::vector<std::string_view> here;
  std::vector<std::string_view> everywhere;
  for (const KeyInfo* key : keys_) {
    everywhere.push_back(key->name());
    const std::string_view part = part_below(key->path, prefix);
    if (!part.empty() && std::find(here.begin(), here.end(), part) == here.end())
      here.push_back(part);
  }
  if (prefix.empty()) here.insert(here.end(), foreign_.begin(), foreign_.end());
  std::string message = "unknown key " + quoted(member.name);
  if (const auto close = closest_name(member.name, here); !close.empty()) {
    message += ", did you mean " + quoted(close) + "?";
  } else if (const auto far = closest_name(member.name, everywhere); !far.empty()) {
    const auto row = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const KeyInfo* key) { return key->name() == far; });
    message += ", did you mean " + quoted((*row)->path) + "?";
  } else if (here.size() <= 8) {
    message += "; there are";
    for (const std::string_view name : here)
      message += (name == here.front() ? " " : ", ") + quoted(name);
  } else {
    message += "; mtd.json(5) lists all keys";
  }
  std::string_view below = prefix;
  if (!below.empty()) below.remove_suffix(1);
  report(member.name_place, below, message);
}

}  // namespace mtd::config
