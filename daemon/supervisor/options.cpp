#include "daemon/supervisor/options.h"

#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/escape.h"
#include "common/exit_codes.h"
#include "common/log_levels.h"

namespace mtd::supervisor {
namespace {

// CLI11's own words name its tables, not what would be right.
std::string what_is_wrong(const CLI::App& app, const CLI::ParseError& error) {
  const std::string said = error.what();
  if (const auto rest = app.remaining(); !rest.empty()) {
    const std::string word = "'" + escape_for_terminal(rest.front()) + "'";
    return rest.front().starts_with("-") ? "there is no option " + word
                                         : "mtd takes options only, not " + word;
  }
  if (error.get_name() == "ArgumentMismatch")
    return escape_for_terminal(said.substr(0, said.find(':'))) + " needs a value";
  if (said.find("--log-level") != std::string::npos) {
    std::string words;
    for (const auto word : kLogLevels)
      words += (words.empty() ? "" : ", ") + std::string(word);
    return "--log-level is one of: " + words;
  }
  if (said.find("--ready-fd") != std::string::npos)
    return "--ready-fd is the number of an open descriptor, like: mtd --ready-fd 3 3>FILE";
  return escape_for_terminal(said);
}

}  // namespace

std::variant<Options, ExitNow> parse_options(int argc, const char* const* argv) {
  Options options;
  CLI::App app("mtd keeps pools of worker processes running. It stays in the foreground.", "mtd");
  app.set_version_flag("--version", "mtd " MTD_VERSION);
  app.add_option("--config", options.config, "Configuration file or directory")
      ->type_name("FILE|DIR");
  app.add_option("--runtime-dir", options.runtime_dir, "Place of sockets and lock")
      ->type_name("DIR");
  app.add_option("--state-dir", options.state_dir, "Place of what outlives the machine")
      ->type_name("DIR");
  app.add_option("--ready-fd", options.ready_fd,
                 "Descriptor that gets a newline when the control socket answers")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--log-level", options.log_level, "Of mtd's own log")
      ->type_name("LEVEL")
      ->check(CLI::IsMember(std::vector<std::string>(kLogLevels.begin(), kLogLevels.end())));
  app.add_flag("--check", options.check, "Check the configuration and exit: 0 valid, 8 not");
  app.add_flag("--self-test", options.self_test,
               "Check that this program can take over from another release, and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return ExitNow{app.exit(error)};
    std::fprintf(stderr, "mtd: %s\nTry 'mtd --help'.\n", what_is_wrong(app, error).c_str());
    return ExitNow{code(DaemonExit::usage)};
  }
  return options;
}

}  // namespace mtd::supervisor
