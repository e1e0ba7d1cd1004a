// The interface description: complete, and in Varlink's grammar.
#include <doctest/doctest.h>

#include <regex>
#include <set>
#include <string>

#include "common/control_methods.h"
#include "common/control_types.h"
#include "common/varlink_signature.h"

using namespace mtd::control;

namespace {

std::string without_comments(const std::string& text) {
  return std::regex_replace(text, std::regex("#[^\n]*"), "");
}

// Type names used but not defined in `text`.
std::set<std::string> undefined_types(const std::string& text) {
  std::set<std::string> defined;
  std::set<std::string> used;
  const std::regex definition("type ([A-Z][A-Za-z0-9]*)");
  const std::regex use(": [?]?(?:\\[\\])?([A-Z][A-Za-z0-9]*)");
  for (std::sregex_iterator at(text.begin(), text.end(), definition), end; at != end; ++at) {
    defined.insert((*at)[1]);
  }
  for (std::sregex_iterator at(text.begin(), text.end(), use), end; at != end; ++at) {
    if (defined.count((*at)[1]) == 0) used.insert((*at)[1]);
  }
  return used;
}

}  // namespace

TEST_CASE("every method, type and error is described") {
  const std::string text = interface_description();
  CHECK(text.find("interface io.mtd.Manager\n") != std::string::npos);
  for (const Method& method : kMethods) {
    CHECK(text.find("method " + std::string(method.name) + "(") != std::string::npos);
    CHECK(find_method(method.name) == &method);
  }
  for (const ObjectType& type : object_types()) {
    CHECK(text.find("type " + std::string(type.name) + " (") != std::string::npos);
  }
  for (const ErrorType& error : errors()) {
    CHECK(text.find("error " + std::string(error.name) + " (") != std::string::npos);
  }
  CHECK(find_method("status") == nullptr);
  CHECK(find_method("") == nullptr);
}

TEST_CASE("the grammar of Varlink") {
  const std::string type = "[?]?(\\[\\])?(bool|int|float|string|object|[A-Z][A-Za-z0-9]*)";
  const std::string field = "\\s*[A-Za-z](_?[A-Za-z0-9])*\\s*:\\s*" + type + "\\s*";
  const std::string fields = "\\((" + field + "(," + field + ")*)?\\)";
  const std::string member = "\\s*(type [A-Z][A-Za-z0-9]* " + fields + "|method [A-Z][A-Za-z0-9]*" +
                             fields + "\\s*->\\s*" + fields + "|error [A-Z][A-Za-z0-9]* " + fields +
                             ")\\s*";
  const std::regex head("^\\s*interface [A-Za-z]([A-Za-z0-9.]*)\\n");
  for (const std::string& description :
       {interface_description(), service_interface_description()}) {
    std::string text = without_comments(description);
    std::smatch match;
    REQUIRE(std::regex_search(text, match, head));
    text = match.suffix();
    const std::regex one("^" + member);
    while (!text.empty()) {
      CAPTURE(text.substr(0, 200));
      REQUIRE(std::regex_search(text, match, one, std::regex_constants::match_continuous));
      text = match.suffix();
    }
    CHECK(undefined_types(without_comments(description)).empty());
  }
}

TEST_CASE("comment lines stay narrow") {
  const std::string text = interface_description();
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    if (text[text.find_first_not_of(' ', begin)] == '#') CHECK(end - begin <= 80);
    begin = end + 1;
  }
}
