// The command line of mtd. The keeper passes its own on unchanged, so this is the only place that
// reads it.
#pragma once

#include <optional>
#include <string>
#include <variant>

namespace mtd::supervisor {

struct Options {
  std::string config;           // FILE or DIR; empty: the default place
  std::string runtime_dir;      // empty: the default place
  std::string state_dir;        // empty: the default place
  std::optional<int> ready_fd;  // the keeper's business; accepted here
  std::string log_level;        // empty: what the configuration says
  bool check = false;
  bool self_test = false;
};

struct ExitNow {
  int code = 0;  // --help, --version: 0; a wrong command line: 2. The text has been printed.
};

[[nodiscard]] std::variant<Options, ExitNow> parse_options(int argc, const char* const* argv);

}  // namespace mtd::supervisor
