// The keeper's protocol, spoken with the real mtd: answers, levels, epochs, refusals.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::EntryState;
using keeper::Outcome;
using keeper::Scope;

void spawn(KeeperRun& run, std::uint64_t number, std::uint64_t revision = 1) {
  run.link().spawn(key(number), revision, "pool", 10'000, -1);
}

TEST_CASE("a process is started, seen to execute, ended and told exactly") {
  KeeperRun run;
  CHECK(run.hello().epoch == 1);
  CHECK(run.hello().keeper_pid == run.pid());
  CHECK(run.hello().capacity > 0);
  run.add_revision(1, run.worker({"sleep"}));
  spawn(run, 7);
  const keeper::Entry started = run.running(key(7));
  CHECK(started.state == EntryState::running);
  CHECK(started.executed == 1);
  CHECK(started.pid > 0);
  CHECK(std::string(started.label) == "pool");
  CHECK(run.ack(run.link().signal(key(7), SIGTERM, Scope::process)) == 0);
  const keeper::Entry ended = run.exited(key(7));
  CHECK(ended.state == EntryState::exited);
  CHECK(ended.outcome == Outcome::program);
  CHECK(WIFSIGNALED(ended.wait_status));
  CHECK(WTERMSIG(ended.wait_status) == SIGTERM);
  CHECK(ended.last_sent.signal == SIGTERM);
  CHECK(ended.last_sent.times == 1);
  CHECK(ended.first_sent.signal == SIGTERM);
  CHECK(ended.exited_ns >= ended.executed_ns);
  CHECK(ended.change > started.change);
  CHECK(run.ack(run.link().signal(key(7), SIGTERM, Scope::process)) == ESRCH);
  CHECK(run.list().size() == 1);
  run.link().release(key(7));
  run.link().release(key(7));     // unknown by now: a no-op
  run.link().release(key(4711));  // never known
  CHECK(run.list().empty());
}

}  // namespace
}  // namespace mtd::test
