// worker: becomes mtd-worker, which adapts a command to the worker's protocol.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "ctl/commands.h"
#include "ctl/private_daemon.h"

namespace mtd::ctl {

Outcome<CtlExit> run_worker(Context& context) {
  const Invocation& invocation = context.invocation;
  const std::string program = find_program("mtd-worker");
  if (program.empty()) {
    return Failure{CtlExit::failed, "the program mtd-worker is neither beside mtctl nor installed"};
  }
  const bool is_filter = invocation.has("--filter");
  if (!is_filter && (invocation.has("--probe") || invocation.has("--no-probe"))) {
    return Failure{CtlExit::usage, "--probe and --no-probe go with --filter"};
  }
  std::vector<std::string> words{program, is_filter ? "filter" : "exec"};
  if (invocation.has("--probe")) {
    words.insert(words.end(), {"--probe", invocation.value("--probe")});
  }
  if (invocation.has("--no-probe")) words.emplace_back("--no-probe");
  words.emplace_back("--");
  words.insert(words.end(), invocation.rest.begin(), invocation.rest.end());
  std::vector<char*> pointers;
  for (std::string& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  return Failure{CtlExit::failed, program + ": " + std::strerror(errno)};
}

}  // namespace mtd::ctl
