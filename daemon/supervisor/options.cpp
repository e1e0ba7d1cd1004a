#include "daemon/supervisor/options.h"

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/exit_codes.h"
#include "common/log_levels.h"

namespace mtd::supervisor {

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
    return ExitNow{app.exit(error) == 0 ? 0 : code(DaemonExit::usage)};
  }
  return options;
}

}  // namespace mtd::supervisor
