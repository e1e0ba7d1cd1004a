// The command line: from argv to an Invocation, or to what is wrong with it. Options that all verbs
// share may stand before or after the verb. Nothing is printed here and nothing is done.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/time.h"
#include "ctl/outcome.h"
#include "ctl/verbs.h"

namespace mtd::ctl {

enum class Format { table, wide, json, jsonl, name };

struct Options {
  std::string socket;  // empty: search
  std::string host;    // empty: this one
  Format format = Format::table;
  bool quiet = false;
  bool no_color = false;
  bool wait = true;
  bool watch = false;
  bool help = false;
  bool all = false;
  Duration timeout = Duration::infinite();

  [[nodiscard]] bool wants_json() const {
    return format == Format::json || format == Format::jsonl;
  }
};

struct Invocation {
  std::string verb;  // empty: mtctl alone
  Options options;
  std::vector<std::string> words;  // positional arguments, in order
  std::vector<std::string> rest;   // what stands after "--", for verbs that take a command
  std::map<std::string, std::string>
      values;  // of the verb's own options: "--since" → "0"; flags: ""

  [[nodiscard]] bool has(const std::string& option) const { return values.count(option) != 0; }
  // Empty when the option was not given.
  [[nodiscard]] std::string value(const std::string& option) const;
};

// `arguments` without the program's name.
[[nodiscard]] Outcome<Invocation> parse_command_line(const std::vector<Verb>& verbs,
                                                     const std::vector<std::string>& arguments);
// "--since" of "-f,--since" and the like.
[[nodiscard]] std::string_view long_name(std::string_view names);

}  // namespace mtd::ctl
