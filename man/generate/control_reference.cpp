// mtd-man-control [tasks]: prints the part of mtd-control(7) that lists methods, objects and
// errors, or that of mtd-worker(7), in mdoc(7), from the tables that the servers themselves use.
// With the argument "interface": the description of io.mtd.Manager in Varlink's own language.
#include <cstdio>
#include <string>
#include <string_view>

#include "common/control_methods.h"
#include "common/control_types.h"
#include "common/task_methods.h"

namespace {

using namespace mtd::control;

// Text of lines of its own: each sentence begins one.
std::string line(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == ' ' && i > 0 && text[i - 1] == '.') {
      out += '\n';
    } else {
      out += text[i];
    }
  }
  if (!out.empty() && (out.front() == '.' || out.front() == '\'')) out.insert(0, "\\&");
  return out + '\n';
}

// One argument of a macro.
std::string argument(std::string_view text) {
  std::string out = "\"";
  for (const char c : text)
    out += c == '"' ? std::string("\\(dq") : std::string(1, c);
  return out + '"';
}

std::string_view tier_name(Tier tier) {
  switch (tier) {
    case Tier::read:
      return "read";
    case Tier::operate:
      return "operate";
    case Tier::admin:
      return "admin";
  }
  return {};
}

std::string_view streaming_text(Streaming streaming) {
  switch (streaming) {
    case Streaming::no:
      return "";
    case Streaming::optional:
      return "With more: several replies.";
    case Streaming::required:
      return "Only with more.";
    case Streaming::upgrade:
      return "Only with upgrade.";
  }
  return {};
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_method(const Method& method) {
  print(".It Sy " + argument(method.name) + "\n");
  print(line(std::string(method.summary) + "."));
  print("Access: " + std::string(tier_name(method.tier)) + ".\n");
  if (method.streaming != Streaming::no) print(line(streaming_text(method.streaming)));
  if (!method.verb.empty()) print(".Nm mtctl\n.Cm " + argument(method.verb) + ".\n");
  print(".Bd -literal -compact\n");
  print(line(method.parameters) + line("-> " + std::string(method.reply)));
  print(".Ed\n");
}

void print_object(const ObjectType& type) {
  print(".Ss " + std::string(type.name) + "\n" + line(std::string(type.meaning) + "."));
  print(".Bl -tag -width Ds -compact\n");
  for (const Member& member : type.members) {
    print(".It Sy " + argument(std::string(member.name) + ": " + std::string(member.type)) + "\n");
    print(line(member.meaning));
  }
  print(".El\n");
}

void print_error(std::string_view interface, const ErrorType& error) {
  print(".It Sy " + argument(std::string(interface) + std::string(error.name)) + " " +
        argument(error.parameters) + "\n");
  print(line(std::string(error.meaning) + "."));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "interface") {
    print(interface_description());
    return 0;
  }
  const Interface& interface =
      argc > 1 && std::string_view(argv[1]) == "tasks" ? task_interface() : manager_interface();
  const std::string name(interface.name);
  print(".Sh METHODS\nOf the interface\n.Sy " + name + ":\n");
  print(".Bl -tag -width Ds\n");
  for (const Method& method : interface.methods)
    print_method(method);
  print(".El\n.Sh OBJECTS\n");
  print("A member whose type begins with\n.Sq \\&?\nmay be null or absent.\n");
  for (const ObjectType& type : interface.types)
    print_object(type);
  print(".Sh ERROR ANSWERS\nErrors of\n.Sy " + name + "\nand of Varlink itself:\n");
  print(".Bl -tag -width Ds\n");
  for (const ErrorType& error : interface.errors)
    print_error("", error);
  for (const ErrorType& error : service_errors())
    print_error("org.varlink.service.", error);
  print(".El\n");
}
