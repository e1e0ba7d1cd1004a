// How mtctl prints JSON: members in the order that the documentation shows, one document (indented)
// or one object a line, and on a terminal nothing but ASCII.
#pragma once

#include <string>

#include "ctl/json.h"

namespace mtd::ctl {

struct JsonStyle {
  bool indented = false;
  bool ascii = false;  // beyond ASCII all is \uXXXX: nothing in a string can act on a terminal
};
// With a newline at the end.
[[nodiscard]] std::string print_json(const Json& document, JsonStyle style);

}  // namespace mtd::ctl
