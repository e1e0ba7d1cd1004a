// mtd-supervisor: started by the keeper (mtd) with the keeper's own command line and its socket as
// descriptor 3. Without that socket it only checks the configuration or tells its version.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/escape.h"
#include "common/exit_codes.h"
#include "daemon/role/log.h"
#include "daemon/supervisor/loader.h"
#include "daemon/supervisor/options.h"
#include "daemon/supervisor/self_test.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/role_socket.h"

namespace {

int check(const mtd::supervisor::Options& options) {
  const auto answer = mtd::supervisor::load_here(options.config);
  for (const auto& error : answer.errors) {
    std::fprintf(stderr, "%s\n", mtd::escape_for_terminal(error).c_str());
  }
  for (const auto& warning : answer.configuration.warnings) {
    std::fprintf(stderr, "warning: %s\n", mtd::escape_for_terminal(warning).c_str());
  }
  if (!answer.errors.empty()) return mtd::code(mtd::DaemonExit::configuration);
  std::printf("the configuration is valid: %zu pools\n", answer.configuration.pools.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace mtd::supervisor;
  auto parsed = parse_options(argc, argv);
  if (const auto* exit = std::get_if<ExitNow>(&parsed)) return exit->code;
  auto& options = std::get<Options>(parsed);
  if (options.self_test) return self_test();
  if (options.check) return check(options);

  auto socket = mtd::sys::take_role_socket();
  if (!socket) {
    std::fprintf(stderr, "mtd-supervisor: %s; start mtd instead\n", socket.error().message.c_str());
    return mtd::code(mtd::DaemonExit::usage);
  }
  mtd::role::set_up_log(options.log_level);
  auto loop = mtd::sys::EventLoop::create();
  if (!loop) {
    std::fprintf(stderr, "mtd-supervisor: %s\n", loop.error().message.c_str());
    return mtd::code(mtd::DaemonExit::failed);
  }
  std::vector<std::string> arguments(argv + 1, argv + argc);
  Supervisor supervisor(std::move(options), std::move(arguments), std::move(*loop),
                        std::move(*socket));
  const int code = supervisor.run();
  // What it holds is its successor's now: nothing is to be taken back or answered.
  if (supervisor.leaving()) std::_Exit(code);
  return code;
}
