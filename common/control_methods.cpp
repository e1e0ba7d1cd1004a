#include "common/control_methods.h"

#include <algorithm>

#include "common/control_types.h"

namespace mtd::control {
namespace {

constexpr std::size_t kWidth = 78;

// "# …" lines of at most kWidth columns.
void add_comment(std::string& out, std::string_view indent, std::string_view text) {
  std::string line = std::string(indent) + "#";
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, space);
    if (line.size() + 1 + word.size() > kWidth && line.size() > indent.size() + 1) {
      out += line + '\n';
      line = std::string(indent) + "#";
    }
    line += ' ';
    line += word;
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  out += line + '\n';
}

std::string_view tier_sentence(Tier tier) {
  switch (tier) {
    case Tier::read:
      return "Access: read.";
    case Tier::operate:
      return "Access: operate.";
    case Tier::admin:
      return "Access: admin.";
  }
  return {};
}

std::string_view streaming_sentence(Streaming streaming) {
  switch (streaming) {
    case Streaming::no:
      return "";
    case Streaming::optional:
      return " With more: several replies.";
    case Streaming::required:
      return " Only with more.";
    case Streaming::upgrade:
      return " Only with upgrade.";
  }
  return {};
}

void add_type(std::string& out, const ObjectType& type) {
  out += '\n';
  add_comment(out, "", std::string(type.meaning) + ".");
  out += "type " + std::string(type.name) + " (\n";
  for (std::size_t i = 0; i < type.members.size(); ++i) {
    const Member& member = type.members[i];
    add_comment(out, "  ", member.meaning);
    out += "  " + std::string(member.name) + ": " + std::string(member.type);
    out += i + 1 < type.members.size() ? ",\n" : "\n";
  }
  out += ")\n";
}

void add_method(std::string& out, const Method& method) {
  out += '\n';
  add_comment(out, "",
              std::string(method.summary) + ". " + std::string(tier_sentence(method.tier)) +
                  std::string(streaming_sentence(method.streaming)));
  out += "method " + std::string(method.name) + std::string(method.parameters) + " -> " +
         std::string(method.reply) + "\n";
}

void add_error(std::string& out, const ErrorType& error) {
  out += '\n';
  add_comment(out, "", std::string(error.meaning) + ".");
  out += "error " + std::string(error.name) + " " + std::string(error.parameters) + "\n";
}

}  // namespace

const Interface& manager_interface() {
  static const Interface kManager{
      kInterface,
      "Pools of worker processes, supervised by mtd. Selectors: \"web\" (a pool), "
      "\"web/3\" (a worker), \"web*\"; none: all pools. Members named _ms are "
      "milliseconds, _bytes bytes. Replies may gain members; unknown members of a call "
      "are refused.",
      kMethods, object_types(), errors()};
  return kManager;
}

const Method* find_method(const Interface& interface, std::string_view name) {
  const auto at = std::find_if(interface.methods.begin(), interface.methods.end(),
                               [&](const Method& method) { return method.name == name; });
  return at == interface.methods.end() ? nullptr : &*at;
}

const Method* find_method(std::string_view name) {
  return find_method(manager_interface(), name);
}

std::string interface_description(const Interface& interface) {
  std::string out;
  add_comment(out, "", interface.about);
  out += "interface " + std::string(interface.name) + "\n";
  for (const ObjectType& type : interface.types)
    add_type(out, type);
  for (const Method& method : interface.methods)
    add_method(out, method);
  for (const ErrorType& error : interface.errors)
    add_error(out, error);
  return out;
}

std::string interface_description() {
  return interface_description(manager_interface());
}

std::string service_interface_description() {
  std::string out =
      "# What every Varlink service answers: what it is and which interfaces it has.\n"
      "interface org.varlink.service\n\n"
      "# About the service.\n"
      "method GetInfo() -> (\n  vendor: string,\n  product: string,\n  version: string,\n"
      "  url: string,\n  interfaces: []string\n)\n\n"
      "# The text of an interface in this language.\n"
      "method GetInterfaceDescription(interface: string) -> (description: string)\n";
  for (const ErrorType& error : service_errors())
    add_error(out, error);
  return out;
}

}  // namespace mtd::control
