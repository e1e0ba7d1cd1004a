// mtctl: the command line of mtd. main() wires the pieces and turns the outcome into an exit
// status.
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "ctl/command_line.h"
#include "ctl/commands.h"
#include "ctl/help.h"
#include "ctl/output.h"
#include "ctl/remote.h"
#include "ctl/screen.h"
#include "ctl/socket_search.h"
#include "ctl/verbs.h"

namespace mtd::ctl {
namespace {

int finish(Output& out, Output& err, CtlExit code) {
  if (out.error() != 0) {
    err.line(std::string("mtctl: cannot write the answer: ") + std::strerror(out.error()));
    return static_cast<int>(CtlExit::failed);
  }
  return static_cast<int>(code);
}

int report(Output& err, const Failure& failure) {
  if (!failure.message.empty()) err.line("mtctl: " + failure.message);
  return static_cast<int>(failure.code);
}

int run(const std::vector<std::string>& arguments) {
  Output out(STDOUT_FILENO);
  Output err(STDERR_FILENO);
  const std::vector<Verb> verbs = all_verbs();
  const Outcome<Invocation> invocation = parse_command_line(verbs, arguments);
  if (!invocation) return report(err, invocation.failure());
  const Options& options = invocation->options;
  if (options.help) {
    const Verb* verb = find_verb(verbs, invocation->verb);
    out.write(verb == nullptr ? long_help(verbs) : verb_help(*verb));
    return finish(out, err, CtlExit::ok);
  }
  if (invocation->verb.empty()) {
    err.write(short_help(verbs));
    return static_cast<int>(CtlExit::usage);
  }
  if (!options.host.empty()) {
    const Outcome<int> code = run_remotely(*invocation, arguments);
    return code ? *code : report(err, code.failure());
  }
  const Surroundings surroundings = surroundings_of_process();
  Context context{*invocation,
                  surroundings,
                  out,
                  err,
                  detect_screen(STDOUT_FILENO, options.no_color),
                  detect_screen(STDERR_FILENO, options.no_color)};
  const Outcome<CtlExit> outcome = find_command(invocation->verb)(context);
  if (outcome) return finish(out, err, *outcome);
  return out.reader_gone() ? static_cast<int>(CtlExit::ok) : report(err, outcome.failure());
}

}  // namespace
}  // namespace mtd::ctl

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is seen as EPIPE
  return mtd::ctl::run(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
