#include "config/resolved_json.h"

#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "config/expand.h"
#include "config/listen.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kHexDigits = "0123456789abcdef";

Result<std::string> from_hex(std::string_view hex) {
  std::string text;
  if (hex.size() % 2 != 0) return Error{"an odd number of hexadecimal digits"};
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const std::size_t high = kHexDigits.find(hex[i]);
    const std::size_t low = kHexDigits.find(hex[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) {
      return Error{"no hexadecimal digit"};
    }
    text += static_cast<char>(high * 16 + low);
  }
  return text;
}

Json limit(std::uint64_t value) {
  return value == ~std::uint64_t{0} ? Json("infinity") : Json(value);
}

}  // namespace

Json json_raw(std::string_view raw) {
  if (is_valid_utf8(raw)) return raw;
  std::string hex;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kHexDigits[byte / 16];
    hex += kHexDigits[byte % 16];
  }
  return {{"hex", hex}};
}

Result<std::string> raw_from_json(const Json& json) {
  Result<std::string> text = Error{"a text is missing"};
  if (json.is_string()) {
    text = json.get<std::string>();
  } else if (json.is_object() && json.size() == 1 && json.contains("hex") &&
             json["hex"].is_string()) {
    text = from_hex(json["hex"].get<std::string>());
  }
  if (text && text->find('\0') != std::string::npos) return Error{"a text holds NUL"};
  return text;
}

Json json_marked(std::string_view marked) {
  return json_raw(readable(marked));
}

Result<std::string> marked_from_json(const Json& json) {
  const auto text = raw_from_json(json);
  if (!text) return text.error();
  return from_readable(*text);
}

Json json_marked_list(const std::vector<std::string>& marked) {
  Json json = Json::array();
  for (const std::string& text : marked)
    json.push_back(json_marked(text));
  return json;
}

Json json_command(const PoolSpec& spec, const KeyInfo&) {
  return json_marked_list(spec.command);
}

Json json_directory(const PoolSpec& spec, const KeyInfo&) {
  return json_marked(spec.directory);
}

Json json_user(const PoolSpec& spec, const KeyInfo&) {
  if (!spec.identity) return {};
  const Identity& identity = *spec.identity;
  return {{"name", json_raw(identity.user_name)},
          {"uid", identity.uid},
          {"home", json_raw(identity.home)},
          {"shell", json_raw(identity.shell)}};
}

Json json_group(const PoolSpec& spec, const KeyInfo&) {
  if (!spec.identity) return {};
  return {{"name", json_raw(spec.identity->group_name)}, {"gid", spec.identity->gid}};
}

Json json_groups(const PoolSpec& spec, const KeyInfo&) {
  return spec.identity ? Json(spec.identity->groups) : Json();
}

Json json_umask(const PoolSpec& spec, const KeyInfo&) {
  std::array<char, 16> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%03o", spec.umask);
  return buffer.data();
}

Json json_environment(const PoolSpec& spec, const KeyInfo&) {
  Json json = Json::array();
  for (const std::string& variable : spec.environment)
    json.push_back(json_marked(variable));
  return json;
}

Json json_listen(const PoolSpec& spec, const KeyInfo&) {
  Json json;
  for (const ListenSpec& socket : spec.listen)
    json.push_back(json_raw(listen_text(socket)));
  return json;
}

Json json_log_path(const PoolSpec& spec, const KeyInfo&) {
  return spec.log.path.empty() ? Json() : json_marked(spec.log.path);
}

Json json_read_only_paths(const PoolSpec& spec, const KeyInfo&) {
  return json_marked_list(spec.sandbox.read_only_paths);
}

Json json_rlimits(const PoolSpec& spec, const KeyInfo&) {
  Json json = Json::object();
  for (const Rlimit& entry : spec.rlimits) {
    json[entry.name] = {{"soft", limit(entry.soft)}, {"hard", limit(entry.hard)}};
  }
  return json;
}

}  // namespace mtd::config
