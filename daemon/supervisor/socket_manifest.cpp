#include "daemon/supervisor/socket_manifest.h"

#include <charconv>
#include <optional>

#include <nlohmann/json.hpp>

namespace mtd::supervisor {
namespace {

using nlohmann::json;

// Paths may hold any byte but NUL; JSON may not.
std::string hex(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte / 16];
    out += kDigits[byte % 16];
  }
  return out;
}

template <class Number>
std::optional<Number> number(std::string_view text, int base) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::string> text_of(const json& value) {
  if (!value.is_string()) return std::nullopt;
  const auto digits = value.get<std::string>();
  std::string text;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    const auto byte = number<unsigned>(std::string_view(digits).substr(i, 2), 16);
    if (!byte || *byte == 0) return std::nullopt;
    text += static_cast<char>(*byte);
  }
  if (text.empty() || digits.size() % 2 != 0) return std::nullopt;
  return text;
}

bool take_socket(const json& value, SocketManifest& manifest) {
  if (!value.is_array() || value.size() != 4 || !value[1].is_string() ||
      !value[2].is_number_unsigned() || !value[3].is_number_unsigned()) {
    return false;
  }
  const auto key = text_of(value[0]);
  if (!key || manifest.sockets.size() == kMaxSockets) return false;
  manifest.sockets.push_back({*key, value[1].get<std::string>(), value[2].get<std::uint64_t>(),
                              value[3].get<std::uint64_t>()});
  return true;
}

bool take_use(const std::string& revision, const json& addresses, SocketManifest& manifest) {
  const auto id = number<std::uint64_t>(revision, 10);
  if (!id || !addresses.is_array()) return false;
  for (const json& each : addresses) {
    const auto address = text_of(each);
    if (!address) return false;
    manifest.uses[*id].insert(*address);
  }
  return true;
}

}  // namespace

std::string encode(const SocketManifest& manifest) {
  json value = {{"sockets", json::array()}, {"uses", json::object()}};
  for (const auto& entry : manifest.sockets)
    value["sockets"].push_back({hex(entry.key), entry.held, entry.device, entry.inode});
  for (const auto& [revision, addresses] : manifest.uses) {
    auto& list = value["uses"][std::to_string(revision)] = json::array();
    for (const auto& address : addresses)
      list.push_back(hex(address));
  }
  return value.dump();
}

Result<SocketManifest> decode_sockets(std::string_view text) {
  const Error wrong{"the list of sockets is damaged"};
  const json value = json::parse(text, nullptr, false);
  if (!value.is_object() || !value.contains("sockets") || !value["sockets"].is_array() ||
      !value.contains("uses") || !value["uses"].is_object()) {
    return wrong;
  }
  SocketManifest manifest;
  for (const json& each : value["sockets"]) {
    if (!take_socket(each, manifest)) return wrong;
  }
  for (const auto& [revision, addresses] : value["uses"].items()) {
    if (!take_use(revision, addresses, manifest)) return wrong;
  }
  return manifest;
}

}  // namespace mtd::supervisor
