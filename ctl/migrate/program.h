// One [program:x] or [fcgi-program:x] of supervisord as one pool of mtd, or as several where its
// processes differ in a way that a pool's workers cannot.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "ctl/json.h"
#include "ctl/migrate/ini.h"
#include "ctl/migrate/notes.h"

namespace mtd::ctl {

// What [supervisord] says for all programs, and where the files stand.
struct ProgramSurroundings {
  const IniDocument* document = nullptr;
  const IniSection* daemon = nullptr;  // [supervisord]; null: there is none
  std::string host;                    // the machine's name
};

// What is said once, however many programs it is about.
struct ProgramTally {
  std::map<std::string, std::string, std::less<>> variables;  // of the environment → the first pool
  std::set<std::string> rotated;                              // pools whose files were rotated
};

struct ProgramName {
  std::string program;  // of the section
  std::string group;    // that it is in; its own name without one
  std::string pool;     // of the pool, or the beginning of it
};

struct Pool {
  std::string name;
  OrderedJson keys;
};

[[nodiscard]] std::vector<Pool> pools_of_program(const IniSection& section, const ProgramName& name,
                                                 const ProgramSurroundings& around,
                                                 ProgramTally& tally, Notes& notes);

}  // namespace mtd::ctl
