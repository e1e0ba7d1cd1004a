// What the keeper's children are born with: the same whatever started mtd.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "common/spec_marker.h"
#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::EntryState;
using keeper::Outcome;
using keeper::Scope;
using keeper::Stage;

TEST_CASE(
    "command, environment, directory and output have slot and incarnation in the markers' place") {
  KeeperRun run;
  const std::string e(1, SpecMarker::kEscape);
  sys::SpawnSpec spec = run.worker(
      {"say", "1",
       std::string("s").append(e).append("s i").append(e).append("i l").append(e).append("l.")});
  spec.output_path = run.directory() + "/out-" + e + "s";
  const keeper::Entry entry = run_once(run, spec, 12);
  CHECK(entry.outcome == Outcome::program);
  const UniqueFd file(open((run.directory() + "/out-12").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(read_all(file.get()) == "s12 i12 l\x01.");
  struct stat status {};
  CHECK(fstat(file.get(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
}

std::string probe(KeeperRun& run, std::uint64_t number, sys::SpawnSpec spec) {
  Pipe pipe = make_pipe();
  spec.descriptors = {{1, 0}};
  const keeper::Entry entry = run_once(run, spec, number, {pipe.write.get()});
  CHECK(WIFEXITED(entry.wait_status));
  CHECK(WEXITSTATUS(entry.wait_status) == 0);
  run.link().forget(number);
  pipe.write.reset();
  return read_all(pipe.read.get());
}

void make_dirty() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  for (int number = 1; number < 65; ++number)
    ::signal(number, SIG_IGN);
  umask(0);
  for (int fd = 100; fd < 120; ++fd)
    dup2(1, fd);
  fcntl(120, F_DUPFD, 0);
  setenv("SECRET", "token", 1);
  setenv("NOTIFY_SOCKET", "/does/not/exist", 1);
  setenv("WATCHDOG_USEC", "100000000", 1);
  setenv("LISTEN_FDS", "3", 1);
  prctl(PR_SET_TIMERSLACK, 123'456'789UL, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
  if (chdir("/usr") != 0) _exit(124);
  close(0);
}

TEST_CASE("every process is born clean, whatever started mtd") {
  std::string expected =
      "blocked 0\nignored 0\nsession 1\ngroup 1\numask 27\ncwd /\nids 0 0 0 0\ngroups 4 20\n"
      "nofile " +
      std::to_string([] {
        rlimit limit{};
        getrlimit(RLIMIT_NOFILE, &limit);
        return limit.rlim_cur;
      }()) +
      "\ncore 5\nnice 3\nslack 50000\npdeathsig 0\nsubreaper 0\noom 200\nfds 0:n 1:o 2:n\nenv "
      "A=1\n";
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root to set groups");
    return;
  }
  for (const bool dirty : {false, true}) {
    CAPTURE(dirty);
    Start start;
    if (dirty) start.in_child = [] { make_dirty(); };
    KeeperRun run(std::move(start));
    sys::SpawnSpec spec = run.worker({"probe"});
    spec.umask = 027;
    spec.uid = 0;
    spec.gid = 0;
    spec.groups = {20, 4};
    spec.nice = 3;
    spec.oom_score_adj = 200;
    spec.limits = {{RLIMIT_CORE, 5, 5}};
    spec.environment = {"A=1"};
    const std::string first = probe(run, 1, spec);
    CHECK(first == expected);
    CHECK(probe(run, 2, spec) == expected);
  }
}

TEST_CASE("another user: all of uid, gid and groups change; unset ones stay") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root to become another user");
    return;
  }
  KeeperRun run;
  sys::SpawnSpec spec = run.worker({"probe"});
  spec.uid = 1234;
  spec.gid = 2345;
  CHECK(probe(run, 1, spec).find("ids 1234 1234 2345 2345\ngroups\n") != std::string::npos);
  spec.groups = {7, 3, 7};
  CHECK(probe(run, 2, spec).find("ids 1234 1234 2345 2345\ngroups 3 7\n") != std::string::npos);
}

TEST_CASE("descriptors are mapped exactly, whatever numbers they come from") {
  KeeperRun run;
  std::vector<Pipe> pipes;
  std::vector<int> fds;
  sys::SpawnSpec spec = run.worker({"probe"});
  for (std::uint32_t i = 0; i < 20; ++i) {
    pipes.push_back(make_pipe());
    fds.push_back(pipes.back().write.get());
    if (i > 0) spec.descriptors.emplace_back(3 + (i * 7) % 20, i);
  }
  spec.descriptors.emplace_back(1, 0);
  std::string expected = "fds 0:n 1:o 2:n";
  std::vector<int> numbers;
  for (const auto& one : spec.descriptors)
    numbers.push_back(one.first);
  for (int fd = 3; fd < 30; ++fd) {
    for (const int number : numbers) {
      if (number == fd) expected += " " + std::to_string(fd) + ":o";
    }
  }
  const keeper::Entry entry = run_once(run, spec, 1, fds);
  CHECK(entry.outcome == Outcome::program);
  run.link().forget(1);
  for (Pipe& pipe : pipes)
    pipe.write.reset();
  CHECK(read_all(pipes[0].read.get()).find(expected + "\n") != std::string::npos);
  for (std::size_t i = 1; i < pipes.size(); ++i)
    CHECK(read_all(pipes[i].read.get()).empty());
}

}  // namespace
}  // namespace mtd::test
