// The supervisor's lives: hangs, deaths, and the next one.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "tests/system/keeper_freezer.h"
#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::EntryState;
using keeper::Outcome;
using keeper::Scope;
using Clock = std::chrono::steady_clock;

TEST_CASE("a stopped supervisor does not hold up reaping; it is told the end when it goes on") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  for (std::uint64_t i = 1; i <= 50; ++i)
    run.link().spawn(key(i), 1, "", 10'000, -1);
  for (std::uint64_t i = 1; i <= 50; ++i)
    run.running(key(i));
  kill(run.role().pid, SIGSTOP);
  for (std::uint64_t i = 1; i <= 50; ++i)
    kill(run.entries[i].pid, SIGKILL);
  for (std::uint64_t i = 1; i <= 50; ++i) {  // reaped: the pid is no one's, not even a zombie's
    for (int turn = 0; turn < 2000 && kill(run.entries[i].pid, 0) == 0; ++turn)
      usleep(1000);
    CHECK(kill(run.entries[i].pid, 0) != 0);
  }
  kill(run.role().pid, SIGCONT);
  for (std::uint64_t i = 1; i <= 50; ++i)
    CHECK(WTERMSIG(run.exited(key(i)).wait_status) == SIGKILL);
}

TEST_CASE("sixty deaths of the supervisor are mended at once, the next ones with pauses") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  const pid_t worker = run.running(key(1)).pid;
  for (int i = 0; i < 60; ++i) {
    run.kill_role();
    run.accept_role();
  }
  for (const int pause : {100, 200, 400}) {
    const auto before = Clock::now();
    run.kill_role();
    run.accept_role();
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - before);
    CHECK(took.count() >= pause - 20);
  }
  CHECK(run.hello().epoch == 64);
  CHECK(kill(worker, 0) == 0);
}

TEST_CASE("a supervisor that closes its socket but lives is ended and replaced") {
  KeeperRun run;
  const pid_t first = run.role().pid;
  const UniqueFd control = std::move(run.role().control);  // keeps it alive
  run.role().link = sys::KeeperLink(UniqueFd());           // the last copy of its end
  run.accept_role();
  CHECK(run.hello().epoch == 2);
  CHECK(kill(first, 0) != 0);
}

TEST_CASE("a supervisor that reads nothing is aborted, killed and replaced; workers stay") {
  Start start;
  start.quick = true;
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.link().spawn(key(2), 1, "", 10'000, -1);
  const pid_t worker = run.running(key(1)).pid;
  const pid_t first = run.role().pid;
  run.running(key(2));
  CHECK(run.list().size() == 2);
  kill(first, SIGSTOP);               // ABRT waits for a CONT that does not come: KILL it is
  kill(run.entries[2].pid, SIGKILL);  // what it does not read
  run.accept_role();
  CHECK(run.hello().epoch == 2);
  CHECK(gone(first));
  CHECK(kill(worker, 0) == 0);
  run.entries.clear();
  CHECK(run.list().size() == 2);
  CHECK(WTERMSIG(run.exited(key(2)).wait_status) == SIGKILL);
}

TEST_CASE("one that reads late, but reads, is left alone") {
  Start start;
  start.quick = true;
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.running(key(1));
  CHECK(run.list().size() == 1);
  kill(run.entries[1].pid, SIGKILL);
  pollfd arrival{run.link().fd(), POLLIN, 0};
  REQUIRE(poll(&arrival, 1, 20'000) == 1);
  usleep(600'000);  // past the look at what is unread, before the pong is due
  CHECK(WTERMSIG(run.exited(key(1)).wait_status) == SIGKILL);
  for (bool pinged = false; !pinged;) {
    auto message = run.next();
    REQUIRE(message);
    pinged = std::holds_alternative<keeper::Ping>(*message);  // answered by the harness
  }
  CHECK_FALSE(run.next(std::chrono::milliseconds(2500)).has_value());
  CHECK(run.list().size() == 1);
  CHECK(run.hello().epoch == 1);
}

TEST_CASE("a supervisor stuck in the kernel is fenced and replaced, and reaped when it ends") {
  Freezer freezer;
  if (!freezer.usable()) {
    MESSAGE("skipped: no writable v1 freezer hierarchy at /sys/fs/cgroup/freezer");
    return;
  }
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.running(key(1));
  const pid_t first = run.role().pid;
  freezer.freeze(first);
  const UniqueFd control = std::move(run.role().control);
  run.role().link = sys::KeeperLink(UniqueFd());
  kill(first, SIGKILL);
  // The frozen process still holds nothing of the conversation: the keeper sees its end and acts.
  run.accept_role();
  CHECK(run.hello().epoch == 2);
  CHECK_FALSE(gone(first));
  CHECK(run.list().size() == 1);
  freezer.thaw();
  for (int turn = 0; turn < 4000 && !gone(first); ++turn)
    usleep(5000);
  CHECK(gone(first));  // reaped by the keeper, as a stranger
  CHECK(run.list().size() == 1);
  CHECK(run.hello().epoch == 2);
}

TEST_CASE("one that lives but does not answer is asked, then told to abort before it is killed") {
  Start start;
  start.quick = true;
  KeeperRun run(std::move(start));
  CHECK(run.list().empty());
  run.add_revision(1, run.worker({"exit", "0"}));
  const pid_t first = run.role().pid;
  run.link().spawn(key(1), 1, "", 10'000, -1);  // what it does not read; the process itself runs
  for (int turn = 0; turn < 4000 && !gone(first); ++turn)
    usleep(5000);
  run.accept_role();
  CHECK(run.list().size() == 1);
  REQUIRE(run.deaths.total == 1);
  CHECK(run.deaths.last[0].reason == keeper::DeathReason::hung);
  CHECK(WTERMSIG(run.deaths.last[0].wait_status) == SIGABRT);
}

TEST_CASE("at rest the keeper sleeps: no ping, no wake-up") {
  Start start;
  start.quick = true;
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.running(key(1));
  run.link().ready();
  CHECK(run.list().size() == 1);
  CHECK_FALSE(
      run.next(std::chrono::milliseconds(1500)).has_value());  // past the look at the unread
  const auto woken = [&run] {
    const std::string status = proc(run.pid(), "status");
    return status.substr(status.find("voluntary_ctxt_switches:"));
  };
  const std::string before = woken();
  CHECK_FALSE(run.next(std::chrono::milliseconds(2500)).has_value());
  CHECK(woken() == before);
}

TEST_CASE(
    "the pauses between a supervisor's lives have a longest one, and a stable life ends them") {
  Start start;
  start.quick = true;
  KeeperRun run(std::move(start));
  for (int i = 0; i < 60; ++i) {
    run.kill_role();
    run.accept_role();
  }
  const auto next_life = [&run] {
    const auto before = Clock::now();
    run.kill_role();
    run.accept_role();
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - before).count();
  };
  for (int i = 0; i < 2; ++i)
    (void)next_life();
  for (int i = 0; i < 3; ++i) {  // 400 ms each, not 800 and 1600 and 3200
    const auto pause = next_life();
    CHECK(pause >= 380);
    CHECK(pause < 3200);
  }
  usleep(1'600'000);  // longer than what counts as stable
  CHECK(next_life() < 380);
}

TEST_CASE("each death of the supervisor is one record, for its successor, and one line") {
  char name[] = "/tmp/mtd-keeper-said-XXXXXX";
  const UniqueFd file(mkstemp(name));
  Start start;
  start.quick = true;
  start.in_child = [&file] { dup2(file.get(), 2); };
  KeeperRun run(std::move(start));
  const auto next_life = [&run] {
    run.accept_role();
    CHECK(run.list().empty());
    return run.deaths;
  };
  CHECK(run.list().empty());
  CHECK(run.deaths.total == 0);
  const pid_t first = run.role().pid;
  run.kill_role();
  keeper::Deaths deaths = next_life();
  CHECK(deaths.total == 1);
  CHECK(deaths.kept == 1);
  CHECK(deaths.untold == 1);
  CHECK(deaths.last[0].epoch == 1);
  CHECK(deaths.last[0].pid == first);
  CHECK(deaths.last[0].reason == keeper::DeathReason::killed);
  CHECK(WTERMSIG(deaths.last[0].wait_status) == SIGKILL);
  CHECK(deaths.last[0].lived_ns > 0);
  CHECK(deaths.last[0].realtime_ns > 0);
  kill(run.role().pid, SIGSEGV);
  deaths = next_life();
  CHECK(deaths.untold == 2);  // the second did not live to tell of the first
  CHECK(deaths.last[0].reason == keeper::DeathReason::crashed);
  CHECK(WTERMSIG(deaths.last[0].wait_status) == SIGSEGV);
  CHECK(deaths.last[1].epoch == 1);
  run.link().ready();
  CHECK(run.list().empty());
  run.end_role(3);
  deaths = next_life();
  CHECK(deaths.total == 3);
  CHECK(deaths.kept == 3);
  CHECK(deaths.untold == 1);
  CHECK(deaths.last[0].reason == keeper::DeathReason::crashed);
  CHECK(WEXITSTATUS(deaths.last[0].wait_status) == 3);
  kill(run.role().pid, SIGSTOP);
  run.add_revision(1, run.worker({"exit", "0"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);  // what it does not read
  run.accept_role();
  CHECK(run.list().size() == 1);
  CHECK(run.deaths.last[0].reason == keeper::DeathReason::hung);
  CHECK(WTERMSIG(run.deaths.last[0].wait_status) == SIGKILL);
  for (int i = 0; i < 6; ++i) {
    run.kill_role();
    run.accept_role();
  }
  CHECK(run.list().size() == 1);
  CHECK(run.deaths.total == 10);
  CHECK(run.deaths.kept == keeper::kMaxDeaths);
  CHECK(run.deaths.untold == 8);
  CHECK(run.deaths.last[7].epoch == 3);
  const std::string lines = read_file(name);
  unlink(name);
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 10);
  CHECK(lines.find("mtd: the supervisor (pid " + std::to_string(first) +
                   ") was killed by SIGKILL after ") == 0);
  CHECK(lines.find("crashed by SIGSEGV") != std::string::npos);
  CHECK(lines.find("ended with code 3") != std::string::npos);
  CHECK(lines.find("did not answer and was ended by SIGKILL") != std::string::npos);
}

TEST_CASE("a log that nobody reads does not hold the keeper up") {
  Pipe log = make_pipe();
  const int flags = fcntl(log.write.get(), F_GETFL);
  REQUIRE(fcntl(log.write.get(), F_SETFL, flags | O_NONBLOCK) == 0);
  const std::string block(4096, 'x');
  while (write(log.write.get(), block.data(), block.size()) > 0) {
  }
  REQUIRE(fcntl(log.write.get(), F_SETFL, flags) == 0);
  Start start;
  start.in_child = [&log] { dup2(log.write.get(), 2); };
  KeeperRun run(std::move(start));
  for (int i = 0; i < 3; ++i) {
    run.kill_role();
    run.accept_role();
    CHECK(run.list().empty());
  }
  CHECK(run.deaths.total == 3);
}

}  // namespace
}  // namespace mtd::test
