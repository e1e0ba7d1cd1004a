// The keeper's memory and standing: the same after any number of processes; and who dies when
// memory runs out.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
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

// "Rss" or "Pss" of /proc/PID/smaps_rollup, in KiB.
long resident(pid_t pid, const std::string& what) {
  const std::string all = proc(pid, "smaps_rollup");
  const std::size_t at = all.find("\n" + what + ":");
  return at == std::string::npos ? 0 : std::stol(all.substr(at + what.size() + 2));
}

TEST_CASE("after its start the keeper asks the kernel for no memory and gives none back") {
  if (!has_strace()) {
    MESSAGE("skipped: strace is not installed");
    return;
  }
  if (kSanitized) {
    MESSAGE("skipped: the sanitizer's own allocations would be seen");
    return;
  }
  char name[] = "/tmp/mtd-keeper-trace-XXXXXX";
  const UniqueFd file(mkstemp(name));
  constexpr std::uint64_t kSpawns = 100;
  {
    Start start;  // without -f: only the keeper itself
    start.prefix = {"strace", "-D", "-qq", "-e", "trace=brk,mmap,mremap,munmap,clone3", "-o", name};
    KeeperRun run(std::move(start));
    const Pipe pipe = make_pipe();
    run.add_revision(1, run.worker({"exit", "0"}));
    run.add_revision(2, run.worker({"sleep"}));
    for (std::uint64_t i = 1; i <= kSpawns; ++i)
      run.link().spawn(key(i), 1, "", 10'000, -1);
    for (std::uint64_t i = 1; i <= kSpawns; ++i) {
      run.exited(key(i));
      run.link().release(key(i));
    }
    run.link().spawn(key(1000), 2, "", 10'000, -1);
    run.running(key(1000));
    CHECK(run.ack(run.link().signal(key(1000), SIGCONT, Scope::group)) == 0);
    kill(run.pid(), SIGHUP);
    CHECK(next_signal(run).signal == SIGHUP);
    for (int life = 0; life < 3; ++life) {
      run.kill_role();
      run.accept_role();
      CHECK(run.list().size() == 1);
      run.add_revision(2, run.worker({"sleep", "again"}));  // as a reload does
      CHECK(run.ack(run.link().hold("control", pipe.read.get())) == 0);
    }
    CHECK(run.ack(run.link().drop("control")) == 0);
    kill(run.pid(), SIGTERM);
    CHECK(next_signal(run).signal == SIGTERM);
    run.link().finish(0);  // ends the sleeper
    run.end_role(0);
    CHECK(run.wait_exit().value_or(1) == 0);
  }
  const std::string trace = read_file(name);
  unlink(name);
  const std::size_t first_child = trace.find("clone3");
  REQUIRE(first_child != std::string::npos);
  const std::string after = trace.substr(first_child);
  for (const char* call : {"mmap", "munmap", "mremap", "brk"})
    CHECK(after.find(call) == std::string::npos);
  std::size_t clones = 0;
  for (std::size_t at = after.find("clone3("); at != std::string::npos;
       at = after.find("clone3(", at + 1)) {
    ++clones;
  }
  CHECK(clones == kSpawns + 1 + 4);  // and four supervisors
}

TEST_CASE(
    "ten thousand processes come and go, each told exactly once; the memory stays as it was") {
  KeeperRun run;
  run.add_revision(1, run.worker({"exit", "9"}));
  constexpr std::uint64_t kMany = 10'000, kInFlight = 50, kWarm = 500;
  std::uint64_t started = 0;
  long rss = 0, pss = 0;
  for (std::uint64_t ended = 0; ended < kMany; ++ended) {
    while (started < kMany && started < ended + kInFlight) {
      run.link().spawn(key(++started), 1, "", 60'000, -1);
    }
    const keeper::Entry entry = run.exited(key(ended + 1));
    REQUIRE(entry.outcome == Outcome::program);
    REQUIRE(WEXITSTATUS(entry.wait_status) == 9);
    run.link().release(key(ended + 1));
    run.entries.erase(ended + 1);
    if (ended == kWarm) {
      rss = resident(run.pid(), "Rss");
      pss = resident(run.pid(), "Pss");
    }
  }
  CHECK(run.list().empty());
  if (kSanitized || rss == 0) {
    MESSAGE("skipped: the memory is the sanitizer's, or the kernel does not tell it");
    return;
  }
  const long rss_after = resident(run.pid(), "Rss"), pss_after = resident(run.pid(), "Pss");
  MESSAGE("resident after 500 processes " << rss << " KiB, after 10 000 " << rss_after
                                          << "; proportional " << pss << " and " << pss_after);
  // Its code is read in by and by, and shared pages count by who else has them; a page for each
  // hundredth process would be 380 KiB.
  CHECK(rss_after <= rss + 64);
}

TEST_CASE("after a thousand spawns the keeper's own score, limits and rights are as before") {
  KeeperRun run;
  const auto own = [&run] {
    return proc(run.pid(), "oom_score_adj") + proc(run.pid(), "limits") +
           proc(run.pid(), "coredump_filter") + proc(run.pid(), "timerslack_ns");
  };
  const std::string before = own();
  const std::string status = proc(run.pid(), "status");
  sys::SpawnSpec spec = run.worker({"exit", "1"});
  spec.oom_score_adj = 300;
  spec.limits = {{RLIMIT_CORE, 1, 1}, {RLIMIT_NOFILE, 30, 30}};
  if (geteuid() == 0) {
    spec.uid = spec.gid = 1234;
    spec.nice = 4;
  }
  run.add_revision(1, spec);
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    run.link().spawn(key(i), 1, "", 60'000, -1);
    if (i < 20) continue;
    REQUIRE(run.exited(key(i - 19)).outcome == Outcome::program);
    run.link().release(key(i - 19));
  }
  CHECK(own() == before);
  const auto line = [](const std::string& all, const char* name) {
    const std::size_t at = all.find(name);
    return at == std::string::npos ? "" : all.substr(at, all.find('\n', at) - at);
  };
  const std::string after = proc(run.pid(), "status");
  for (const char* name : {"Uid:", "Gid:", "Groups:", "SigBlk:", "SigIgn:", "CapEff:", "FDSize:",
                           "VmSize:", "VmData:", "NoNewPrivs:", "Umask:"}) {
    CHECK(line(after, name) == line(status, name));
  }
}

TEST_CASE("after a thousand spawns the keeper is as dumpable as before") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root to start mtd as another user");
    return;
  }
  Start start;  // what the kernel shows below /proc/PID belongs to root once it is not dumpable
  start.in_child = [] {
    if (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0) _exit(125);
  };
  KeeperRun run(std::move(start));
  const std::string path = "/proc/" + std::to_string(run.pid()) + "/limits";
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  REQUIRE(status.st_uid == 65534);
  run.add_revision(1, run.worker({"exit", "1"}));
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    run.link().spawn(key(i), 1, "", 60'000, -1);
    if (i < 20) continue;
    REQUIRE(run.exited(key(i - 19)).outcome == Outcome::program);
    run.link().release(key(i - 19));
  }
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK(status.st_uid == 65534);
  CHECK(run.hello().oom_score_adj == run.hello().original_oom_score_adj);  // it had no right to
}

TEST_CASE("the keeper dies last when memory runs out, the supervisor before it, workers first") {
  KeeperRun run;
  if (run.hello().oom_score_adj == run.hello().original_oom_score_adj) {
    MESSAGE("skipped: the kernel does not permit a lower oom_score_adj here");
    return;
  }
  CHECK(run.hello().original_oom_score_adj == std::stoi(proc(getpid(), "oom_score_adj")));
  CHECK(run.hello().oom_score_adj == -900);
  CHECK(proc(run.pid(), "oom_score_adj") == "-900\n");
  CHECK(proc(run.role().pid, "oom_score_adj") == "-800\n");
  sys::SpawnSpec spec = run.worker({"sleep"});
  run.add_revision(1, spec);
  spec.oom_score_adj = -850;
  run.add_revision(2, spec);
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.link().spawn(key(2), 2, "", 10'000, -1);
  CHECK(proc(run.running(key(1)).pid, "oom_score_adj") == proc(getpid(), "oom_score_adj"));
  CHECK(proc(run.running(key(2)).pid, "oom_score_adj") == "-850\n");
}

TEST_CASE("a worker that the kernel kills for memory before its exec takes no one with it") {
  const std::string path = "/sys/fs/cgroup/memory/mtd-keeper-" + std::to_string(getpid());
  if (mkdir(path.c_str(), 0755) != 0) {
    MESSAGE("skipped: no writable v1 memory hierarchy at /sys/fs/cgroup/memory");
    return;
  }
  {
    Start start;
    start.prefix = {"prlimit", "--nofile=600:600"};  // a small table
    start.in_child = [&path] {
      if (!write_file(path + "/cgroup.procs", std::to_string(getpid()))) _exit(122);
    };
    KeeperRun run(std::move(start));
    run.add_revision(1, run.worker({"exit", "3"}));
    sys::SpawnSpec large = run.worker({"exit", "4"});
    std::string text;  // 120 kB for each of these, and 120 more in exec
    for (int i = 0; i < 6'000; ++i)
      text += {SpecMarker::kEscape, SpecMarker::kIncarnation};
    for (int i = 0; i < 10; ++i)
      large.command.push_back(text);
    large.oom_score_adj =
        500;  // where mtd may not lower its own, whom it hits is else a matter of size
    run.add_revision(2, large);
    const keeper::Key first = {1, 1, UINT64_MAX - 1}, second = {1, 2, UINT64_MAX - 2};
    run.link().spawn(first, 2, "", 30'000, -1);
    REQUIRE(WEXITSTATUS(run.exited(first).wait_status) == 4);  // so it is only the limit
    const std::string usage = read_file(path + "/memory.usage_in_bytes");
    REQUIRE_FALSE(usage.empty());
    const std::string limit = std::to_string(std::stoull(usage) + 1'700'000);
    if (!write_file(path + "/memory.limit_in_bytes", limit)) {
      MESSAGE("skipped: the kernel takes no memory limit of " << limit);
    } else {
      const pid_t role = run.role().pid;
      for (int i = 0; i < 3; ++i) {
        run.link().spawn(second, 2, "", 30'000, -1);
        const keeper::Entry killed = run.exited(second);
        CHECK(WIFSIGNALED(killed.wait_status));
        CHECK(WTERMSIG(killed.wait_status) == SIGKILL);
        CHECK((killed.outcome == Outcome::unknown || killed.outcome == Outcome::setup_failed));
        run.link().release(second);
        run.entries.clear();
      }
      CHECK(run.list().size() == 1);
      CHECK(kill(role, 0) == 0);
      sys::SpawnSpec greedy = run.worker({"eat", "64"});  // and one right after its exec
      greedy.oom_score_adj = 500;
      run.add_revision(3, greedy);
      run.link().spawn(key(6), 3, "", 30'000, -1);
      CHECK(WTERMSIG(run.exited(key(6)).wait_status) == SIGKILL);
      run.link().release(key(6));
      run.link().spawn(key(7), 1, "", 30'000, -1);
      CHECK(WEXITSTATUS(run.exited(key(7)).wait_status) == 3);
      CHECK(run.hello().epoch == 1);
      CHECK(read_file(path + "/memory.oom_control").find("oom_kill 0") == std::string::npos);
    }
  }
  for (int turn = 0; turn < 2000 && rmdir(path.c_str()) != 0; ++turn)
    usleep(5000);
}
}  // namespace
}  // namespace mtd::test
