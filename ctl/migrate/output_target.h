// Where the output of a program goes: two streams of supervisord, each with a file of its own, as
// the one target that mtd has for both.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "ctl/migrate/ini.h"
#include "ctl/migrate/notes.h"

namespace mtd::ctl {

struct OutputTarget {
  std::string to;        // of "log"; empty: mtd's own choice
  std::string path;      // of "direct"
  bool rotated = false;  // by supervisord, which mtd does not do
};

// An option's value with its expressions put in; empty when that cannot be, which was said then.
using ExpandOption = std::function<std::optional<std::string>(const IniOption&)>;

[[nodiscard]] OutputTarget output_target(const IniSection& program, const ExpandOption& expand,
                                         Notes& notes);

}  // namespace mtd::ctl
