// Exit statuses against what the kernel really reports.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/exit_codes.h"
#include "common/exit_status.h"

using mtd::ExitStatus;
using mtd::SignalNumber;

namespace {

ExitStatus status_of_child(int exit_code, int signal) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    if (signal != 0) {
      ::signal(signal, SIG_DFL);
      ::raise(signal);
    }
    ::_exit(exit_code);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return ExitStatus::from_wait(status);
}

}  // namespace

TEST_CASE("an exit code") {
  for (const int code : {0, 1, 3, 255}) {
    const ExitStatus status = status_of_child(code, 0);
    CHECK(status == ExitStatus::of_code(code));
    CHECK(status.exited());
    CHECK(!status.signalled());
    CHECK(status.code() == code);
    CHECK(!status.signal());
    CHECK(!status.core_dumped());
    CHECK(status.text() == "exit " + std::to_string(code));
  }
}

TEST_CASE("a signal") {
  const ExitStatus status = status_of_child(0, SIGKILL);
  CHECK(status == ExitStatus::of_signal(SignalNumber{SIGKILL}));
  CHECK(!status.exited());
  CHECK(status.signalled());
  CHECK(!status.code());
  CHECK(status.signal() == SignalNumber{SIGKILL});
  CHECK(status.text() == "signal 9 (KILL)");
  CHECK(ExitStatus::of_signal(SignalNumber{11}, true).text() == "signal 11 (SEGV), core dumped");
  CHECK(ExitStatus::of_signal(SignalNumber{36}).text() == "signal 36 (RTMIN+2)");
  CHECK(ExitStatus::from_wait(0x137f).text() == "wait status 0x137f");
}

TEST_CASE("exit codes of the programs are what the manual says") {
  CHECK(code(mtd::CtlExit::refused_for_now) == 75);
  CHECK(code(mtd::CtlExit::invalid_configuration) == 8);
  CHECK(code(mtd::DaemonExit::another_owner) == 9);
}
