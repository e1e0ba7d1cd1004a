// THE table of what becomes of each option of a program.
#pragma once

#include <string_view>

namespace mtd::ctl {

enum class Fate {
  carried,   // program.cpp puts it into the pool
  needless,  // mtd does so anyway, or has no use for it
  lost,      // said to the user, with `why`
};

struct ProgramOption {
  std::string_view name;
  Fate fate;
  std::string_view why;  // of lost: the sentence after "NAME: "
  // Of lost: the value that means what mtd does; nothing is said about it.
  std::string_view harmless;

  [[nodiscard]] bool is_harmless(std::string_view value) const;
};

// Null: supervisord has no such option.
[[nodiscard]] const ProgramOption* find_program_option(std::string_view name);
// The option that a misspelt name may stand for; empty: none.
[[nodiscard]] std::string_view close_program_option(std::string_view name);

}  // namespace mtd::ctl
