// mtd-worker: adapts a command that knows nothing of mtd to mtd-task/1. mtd puts it in front of the
// command of a pool whose tasks.mode is exec or filter; 'mtctl worker' starts it too.
#include <charconv>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "client/adapter/modes.h"
#include "common/exit_codes.h"
#include "common/size.h"

namespace mtd::adapter {
namespace {

constexpr std::string_view kUsage =
    "usage: mtd-worker exec [--max-result SIZE] -- COMMAND [ARGUMENT…]\n"
    "       mtd-worker filter [--max-result SIZE] [--probe LINE | --no-probe] -- COMMAND "
    "[ARGUMENT…]";

int usage(const std::string& problem) {
  complain(problem);
  complain(std::string(kUsage));
  return code(CtlExit::usage);
}

int run(const std::vector<std::string>& words) {
  if (words.empty()) return usage("a mode is missing");
  const bool is_filter = words[0] == "filter";
  if (!is_filter && words[0] != "exec") return usage("there is no mode '" + words[0] + "'");
  Settings settings;
  std::size_t at = 1;
  for (; at < words.size() && words[at] != "--"; ++at) {
    const bool has_value = at + 1 < words.size() && words[at + 1] != "--";
    if (words[at] == "--max-result" && has_value) {
      const Result<Size> size = parse_size(words[++at]);
      if (!size) return usage("--max-result: " + size.error().message);
      settings.max_result = static_cast<std::size_t>(size->bytes);
    } else if (words[at] == "--probe" && is_filter && has_value) {
      settings.probe_line = words[++at];
    } else if (words[at] == "--no-probe" && is_filter) {
      settings.probe = false;
    } else {
      return usage("'" + words[at] + "' is no option of " + words[0] + ", or its value is missing");
    }
  }
  if (at + 1 >= words.size()) return usage("the command is missing: it stands after --");
  settings.command.assign(words.begin() + static_cast<std::ptrdiff_t>(at) + 1, words.end());
  return is_filter ? run_filter(settings) : run_exec(settings);
}

}  // namespace
}  // namespace mtd::adapter

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a command that does not read is seen as EPIPE
  return mtd::adapter::run(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
