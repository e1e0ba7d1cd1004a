// The keeper's memory and standing: the same after any number of processes; and who dies when
// memory runs out.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

// A memory cgroup (v1), as long as this lives. What is not any process's memory lies in it, so that
// oom_score_adj, which counts in thousandths of the limit, outweighs the size of any process.
class MemoryCgroup {
 public:
  MemoryCgroup() : path_("/sys/fs/cgroup/memory/mtd-keeper-" + std::to_string(getpid())) {
    made_ = mkdir(path_.c_str(), 0755) == 0;
    ballast_ = UniqueFd(static_cast<int>(syscall(SYS_memfd_create, "ballast", MFD_CLOEXEC)));
  }
  ~MemoryCgroup() {
    for (int turn = 0; made_ && turn < 2000 && rmdir(path_.c_str()) != 0; ++turn)
      usleep(5000);
  }
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  [[nodiscard]] bool made() const { return made_; }
  [[nodiscard]] std::string path(const char* file) const { return path_ + "/" + file; }
  // Of the calling process; it pays for the ballast.
  [[nodiscard]] bool join() const {
    return write_file(path("cgroup.procs"), std::to_string(getpid())) &&
           fallocate(ballast_.get(), 0, 0, kBallast) == 0;
  }
  // What is used now may be used, and `more` bytes. Read pages and charges that wait on some
  // processor for their use do not count: they would be given back before anybody is killed.
  [[nodiscard]] bool limit_to_present_and(std::uint64_t more) const {
    if (!write_file(path("memory.force_empty"), "0")) return false;
    const std::string used = read_file(path("memory.usage_in_bytes"));
    REQUIRE_FALSE(used.empty());
    REQUIRE(std::stoull(used) >= kBallast);
    return write_file(path("memory.limit_in_bytes"), std::to_string(std::stoull(used) + more));
  }

 private:
  static constexpr off_t kBallast = 64 << 20;
  std::string path_;
  UniqueFd ballast_;
  bool made_ = false;
};

TEST_CASE("a worker that the kernel kills for memory before its exec takes no one with it") {
  const MemoryCgroup memory;
  if (!memory.made()) {
    MESSAGE("skipped: no writable v1 memory hierarchy at /sys/fs/cgroup/memory");
    return;
  }
  Start start;
  start.prefix = {"prlimit", "--nofile=600:600"};  // a small table
  start.in_child = [&memory] {
    if (!memory.join()) _exit(122);
  };
  KeeperRun run(std::move(start));
  const auto upload = [&run](std::uint64_t revision, sys::SpawnSpec spec) {
    spec.oom_score_adj = 1000;  // mtd may be unable to lower its own
    run.add_revision(revision, spec);
  };
  upload(1, run.worker({"exit", "3"}));
  sys::SpawnSpec large = run.worker({"exit", "4"});
  std::string text;  // 120 kB for each of these, and 120 more in exec
  for (int i = 0; i < 6'000; ++i)
    text += {SpecMarker::kEscape, SpecMarker::kIncarnation};
  for (int i = 0; i < 10; ++i)
    large.command.push_back(text);
  upload(2, large);
  upload(3, run.worker({"eat", "64"}));
  std::uint64_t last = UINT64_MAX;  // long numbers make long arguments
  const auto end_of = [&run, &last](std::uint64_t revision) {
    const keeper::Key key = {1, 1, --last};
    run.link().spawn(key, revision, "", 30'000, -1);
    const keeper::Entry end = run.exited(key);
    run.link().release(key);
    run.entries.clear();
    return end;
  };
  REQUIRE(WEXITSTATUS(end_of(1).wait_status) == 3);
  REQUIRE(WEXITSTATUS(end_of(2).wait_status) == 4);  // so it is only the limit
  // More than any fork of mtd takes (under 0.5 MB, with the sanitizers too), less than the 2.4 MB
  // of the large arguments.
  if (!memory.limit_to_present_and(1'500'000)) {
    MESSAGE("skipped: the kernel takes no memory limit");
    return;
  }
  const pid_t role = run.role().pid;
  CHECK(WEXITSTATUS(end_of(1).wait_status) == 3);
  for (int i = 0; i < 3; ++i) {
    const keeper::Entry killed = end_of(2);
    CHECK(WIFSIGNALED(killed.wait_status));
    CHECK(WTERMSIG(killed.wait_status) == SIGKILL);
    CHECK((killed.outcome == Outcome::unknown || killed.outcome == Outcome::setup_failed));
  }
  const keeper::Entry greedy = end_of(3);  // and one right after its exec
  CHECK(WIFSIGNALED(greedy.wait_status));
  CHECK(WTERMSIG(greedy.wait_status) == SIGKILL);
  CHECK(WEXITSTATUS(end_of(1).wait_status) == 3);
  CHECK(run.list().empty());
  CHECK(kill(role, 0) == 0);
  CHECK(run.hello().epoch == 1);
  CHECK(read_file(memory.path("memory.oom_control")).find("oom_kill 0") == std::string::npos);
}
}  // namespace
}  // namespace mtd::test
