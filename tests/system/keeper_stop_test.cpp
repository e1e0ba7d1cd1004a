// mtd's own life: stops, signals, PID 1.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "tests/system/keeper_freezer.h"
#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::EntryState;
using keeper::Outcome;

TEST_CASE(
    "no supervisor answers a TERM or QUIT: restarted once, then mtd ends the workers itself") {
  for (const int number : {SIGTERM, SIGQUIT}) {
    Start start;
    start.quick = true;
    KeeperRun run(std::move(start));
    run.add_revision(1, run.worker({"sleep"}));
    run.link().spawn(key(1), 1, "", 10'000, -1);
    const pid_t worker = run.running(key(1)).pid;
    kill(run.pid(), number);
    run.accept_role();  // the first one, which did not answer, was killed for it
    CHECK(next_signal(run).signal == number);  // the second is told again
    CHECK(kill(worker, 0) == 0);
    run.kill_role();  // and dies: the keeper's own stop
    const auto status = run.wait_exit();
    REQUIRE(status);
    CHECK(WIFEXITED(*status));
    CHECK(WEXITSTATUS(*status) == 1);
    CHECK(kill(worker, 0) != 0);
  }
}

TEST_CASE("what hides in a session of its own is ended with the rest") {
  KeeperRun run;
  sys::SpawnSpec spec = run.worker({});
  spec.executable = "/bin/sh";
  spec.command = {"sh", "-c", "setsid sh -c 'trap \"\" TERM; sleep 4321' & echo; exit 0"};
  spec.environment = {"PATH=/usr/bin:/bin"};
  Pipe pipe = make_pipe();
  spec.descriptors = {{1, 0}};
  run.add_revision(1, spec, {pipe.write.get()});
  run.link().spawn(key(1), 1, "", 10'000, -1);
  CHECK(run.exited(key(1)).outcome == Outcome::program);
  run.link().forget(1);
  pipe.write.reset();
  run.link().finish(0);
  run.end_role(0);
  CHECK(WEXITSTATUS(run.wait_exit().value_or(1)) == 0);
  CHECK(read_all(pipe.read.get()) == "\n");  // ends only when the last writer is gone
}

TEST_CASE("as PID 1 it starts, reaps strangers, takes TERM, and ends all") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root for a PID namespace");
    return;
  }
  Start start;
  start.prefix = {"unshare", "--pid", "--fork", "--kill-child"};
  KeeperRun run(std::move(start));
  CHECK(run.hello().is_pid1 == 1);
  CHECK(run.hello().keeper_pid == 1);
  run.add_revision(1, run.worker({"storm", "20"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  while (run.strangers < 20)
    REQUIRE(run.next());
  // TERM from within the namespace: a PID 1 without handlers would not even see it.
  sys::SpawnSpec spec = run.worker({});
  spec.executable = "/bin/sh";
  spec.command = {"sh", "-c", "kill -TERM 1"};
  run.add_revision(2, spec);
  run.link().spawn(key(2), 2, "", 10'000, -1);
  for (;;) {
    auto message = run.next();
    REQUIRE(message);
    const auto* signal = std::get_if<keeper::DaemonSignal>(&*message);
    if (signal == nullptr) continue;
    CHECK(signal->signal == SIGTERM);
    break;
  }
  run.link().finish(3);
  run.end_role(0);
  CHECK(WEXITSTATUS(run.wait_exit().value_or(0)) == 3);
}

TEST_CASE("a process stuck in the kernel does not keep mtd for ever") {
  Freezer freezer;
  if (!freezer.usable()) {
    MESSAGE("skipped: no writable v1 freezer hierarchy at /sys/fs/cgroup/freezer");
    return;
  }
  Start start;
  start.quick = true;
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  freezer.freeze(run.running(key(1)).pid);
  run.link().finish(0);
  run.end_role(0);
  CHECK(WEXITSTATUS(run.wait_exit().value_or(0)) == 1);
}

TEST_CASE("a second TERM or INT without a supervisor ends all at once") {
  for (const int second : {SIGTERM, SIGINT}) {
    Start start;
    start.quick = true;
    KeeperRun run(std::move(start));
    Pipe ignoring = make_pipe();
    sys::SpawnSpec spec = run.worker({"ignore", "5"});
    spec.descriptors = {{5, 0}};
    run.add_revision(2, spec, {ignoring.write.get()});
    run.link().spawn(key(1), 2, "", 10'000, -1);
    const pid_t worker = run.running(key(1)).pid;
    char byte = 0;
    REQUIRE(read(ignoring.read.get(), &byte, 1) == 1);
    // From now on every supervisor ends at once.
    REQUIRE(unlink((run.directory() + "/test.sock").c_str()) == 0);  // it ends with 98 then
    run.kill_role();
    for (int turn = 0; turn < 4000 && !gone(run.role().pid); ++turn)
      usleep(1000);
    kill(run.pid(), SIGTERM);
    kill(run.pid(), second);
    const auto status = run.wait_exit();
    REQUIRE(status);
    CHECK(WIFEXITED(*status));
    CHECK(WEXITSTATUS(*status) == 1);
    CHECK(gone(worker));
  }
}

// As often as it is asked: the keeper has taken one signal before the next is sent.
void send_and_wait(pid_t pid, int number) {
  kill(pid, number);
  for (int turn = 0; turn < 20'000; ++turn) {
    const std::string status = proc(pid, "status");
    const auto at = status.find("ShdPnd:");
    REQUIRE(at != std::string::npos);
    if ((std::stoull(status.substr(at + 7), nullptr, 16) >> (number - 1) & 1) == 0) return;
    usleep(1000);  // the kernel tells nobody that a signal has been taken
  }
  FAIL("the signal stays pending");
}

TEST_CASE("a TERM is told although more signals wait than the keeper keeps") {
  KeeperRun run;
  bool full = false;  // both ways, so the keeper sleeps and reads no more
  for (int turn = 0; turn < 20'000 && !full; ++turn) {
    if (!run.link().wants_write()) run.link().list();
    (void)run.link().flush();
    if (!run.link().wants_write()) continue;
    const bool asleep = proc(run.pid(), "stat").find(") S ") != std::string::npos;
    (void)run.link().flush();
    full = asleep && run.link().wants_write();
  }
  REQUIRE(full);
  constexpr int kMoreThanKept = 17;
  for (int i = 0; i < kMoreThanKept; ++i)
    send_and_wait(run.pid(), SIGUSR1);
  send_and_wait(run.pid(), SIGTERM);
  while (next_signal(run).signal != SIGTERM) {
  }
}

TEST_CASE("a HUP that a supervisor did not live to hear is told to the next one, and only to it") {
  KeeperRun run;
  send_and_wait(run.pid(), SIGHUP);
  run.kill_role();
  run.accept_role();
  CHECK(next_signal(run).signal == SIGHUP);
  run.kill_role();  // it was never ready: whether it has done anything nobody knows
  run.accept_role();
  CHECK(next_signal(run).signal == SIGHUP);
  run.link().ready();
  for (;;) {
    const auto message = run.next();  // answers the ping
    REQUIRE(message);
    if (std::holds_alternative<keeper::Ping>(*message)) break;
  }
  CHECK(run.list().empty());  // the pong was read before this request
  run.kill_role();
  run.accept_role();
  send_and_wait(run.pid(), SIGUSR1);
  CHECK(next_signal(run).signal == SIGUSR1);
}

TEST_CASE("a pong to an older ping does not acknowledge a TERM") {
  Start start;
  start.quick = true;
  KeeperRun run(std::move(start));
  kill(run.pid(), SIGTERM);
  std::uint64_t serial = 0;
  while (serial == 0) {
    pollfd one{run.link().fd(), POLLIN, 0};
    REQUIRE(poll(&one, 1, 20'000) == 1);
    auto message = run.link().receive();
    REQUIRE(message);
    if (!message->has_value()) continue;
    if (const auto* ping = std::get_if<keeper::Ping>(&**message)) serial = ping->header.serial;
  }
  keeper::Pong pong;
  pong.header.type = keeper::Type::pong;
  pong.header.size = sizeof pong;
  pong.header.serial = serial - 1;
  const pid_t silent = run.role().pid;
  REQUIRE(send(run.link().fd(), &pong, sizeof pong, MSG_NOSIGNAL) == sizeof pong);
  run.accept_role();  // so it is restarted
  CHECK(gone(silent));
  CHECK(next_signal(run).signal == SIGTERM);
  (void)run.next();  // its ping, answered: the stop is in good hands
  CHECK_FALSE(run.next(std::chrono::milliseconds(3000)).has_value());
  CHECK(run.hello().epoch == 2);
}

TEST_CASE("the terminal's end is told as a HUP from the kernel, another's as its sender's") {
  UniqueFd terminal(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal || grantpt(terminal.get()) != 0 || unlockpt(terminal.get()) != 0) {
    MESSAGE("skipped: no pseudo terminal here");
    return;
  }
  const std::string name = ptsname(terminal.get());
  Start start;
  start.in_child = [&name] {
    setsid();
    const int side = open(name.c_str(), O_RDWR);
    if (side < 0 || ioctl(side, TIOCSCTTY, 0) != 0) _exit(123);
  };
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.running(key(1));
  kill(run.pid(), SIGHUP);
  const keeper::DaemonSignal sent = next_signal(run);
  CHECK(sent.signal == SIGHUP);
  CHECK(sent.from_kernel == 0);
  CHECK(sent.sender_pid == getpid());
  terminal.reset();
  const keeper::DaemonSignal hangup = next_signal(run);
  CHECK(hangup.signal == SIGHUP);
  CHECK(hangup.from_kernel == 1);
  CHECK(run.running(key(1)).state == EntryState::running);
  auto ping = run.next();  // as with TERM: to be acknowledged
  REQUIRE(ping);
  CHECK(std::holds_alternative<keeper::Ping>(*ping));
}

}  // namespace
}  // namespace mtd::test
