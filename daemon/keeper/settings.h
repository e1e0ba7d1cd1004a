// What mtd was started with: its command line, environment and descriptors, each read once at the
// start, and what mtd makes of itself before it starts anything.
#pragma once

#include <cstdint>

namespace mtd::keeper {

struct Settings;

// All signals back to their default, and those of `mask` blocked.
void reset_signals(std::uint64_t mask);

// Where mtd-supervisor may be, in the order in which it is looked for.
void find_roles(Settings& settings);

// The value of the variable by which a former keeper hands over, taken out of the environment;
// null: nobody does.
[[nodiscard]] const char* take_handover(char** environment);

// Reads everything else, takes what is meant for mtd alone out of the environment, closes what was
// inherited, and settles: directory, score, subreaper, umask. Ends the process if that cannot be.
void read_settings(Settings& settings, char** argv, char** environment);

}  // namespace mtd::keeper
