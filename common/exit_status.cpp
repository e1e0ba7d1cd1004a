#include "common/exit_status.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>

namespace mtd {

bool ExitStatus::exited() const {
  return WIFEXITED(status_);
}

bool ExitStatus::signalled() const {
  return WIFSIGNALED(status_);
}

std::optional<int> ExitStatus::code() const {
  if (!exited()) return std::nullopt;
  return WEXITSTATUS(status_);
}

std::optional<SignalNumber> ExitStatus::signal() const {
  if (!signalled()) return std::nullopt;
  return SignalNumber{WTERMSIG(status_)};
}

bool ExitStatus::core_dumped() const {
  return signalled() && WCOREDUMP(status_);
}

std::string ExitStatus::text() const {
  if (exited()) return "exit " + std::to_string(WEXITSTATUS(status_));
  if (signalled()) {
    const SignalNumber number{WTERMSIG(status_)};
    return "signal " + std::to_string(number.value) + " (" + signal_name(number) + ")" +
           (core_dumped() ? ", core dumped" : "");
  }
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "wait status 0x%x", static_cast<unsigned>(status_));
  return buffer.data();
}

}  // namespace mtd
