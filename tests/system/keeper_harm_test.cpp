// The keeper short of everything: descriptors, memory, a kernel that refuses. Whatever is refused
// is refused to one request; mtd, its own state, and the other processes stay as they are.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "common/spec_marker.h"
#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::EntryState;
using keeper::Outcome;
using keeper::Scope;
using keeper::Stage;

bool has_strace() {
  return access("/usr/bin/strace", X_OK) == 0;
}

std::string read_file(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file ? read_all(file.get()) : std::string();
}

bool write_file(const std::string& path, const std::string& text) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string proc(pid_t pid, const char* file) {
  return read_file("/proc/" + std::to_string(pid) + "/" + file);
}

TEST_CASE("rule 12: a descriptor that did not arrive is EMFILE, never a process with a part") {
  Start start;
  start.prefix = {"prlimit", "--nofile=330:330"};
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  const pid_t worker = run.running(key(1)).pid;
  const Pipe pipe = make_pipe();
  int held = 0;
  std::int32_t error = 0;
  while (error == 0)
    error = run.ack(run.link().hold("name" + std::to_string(held++), pipe.read.get()));
  CHECK(error == EMFILE);
  CHECK(held > 250);  // the reserve, and more
  const UniqueFd directory(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  run.link().spawn(key(2), 1, "", 10'000, directory.get());
  const keeper::Entry lost = run.exited(key(2));
  CHECK(lost.state == EntryState::failed);
  CHECK(lost.stage == Stage::descriptors);
  CHECK(lost.error == EMFILE);
  run.link().spawn(key(3), 1, "", 10'000, -1);  // no pipe, no pidfd
  const keeper::Entry refused = run.exited(key(3));
  CHECK(refused.state == EntryState::failed);
  CHECK(refused.error == EMFILE);
  auto memory = sys::encode(run.worker({"sleep"}));
  const auto bytes = static_cast<std::uint32_t>(lseek(memory->get(), 0, SEEK_END));
  CHECK(run.ack(run.link().revision(2, memory->get(), bytes, {pipe.read.get()})) == EMFILE);
  run.kill_role();
  run.accept_role();  // even now there is a next one
  CHECK(run.list().size() == 3);
  CHECK(kill(worker, 0) == 0);
  for (int i = 0; i < 100; ++i)
    CHECK(run.ack(run.link().drop("name" + std::to_string(i))) == 0);
  run.link().spawn(key(4), 1, "", 10'000, -1);
  CHECK(run.running(key(4)).state == EntryState::running);
}

TEST_CASE("rule 8: any call that the kernel refuses once, early or late, does no lasting harm") {
  if (!has_strace()) {
    MESSAGE("skipped: strace is not installed");
    return;
  }
  if (kSanitized) {
    MESSAGE("skipped: the refusals would meet the loader of the shared libraries");
    return;
  }
  // Without -f: the keeper alone is hit.
  const char* const refusals[] = {
      "pipe2:error=EMFILE",      "pipe2:error=ENFILE",     "clone3:error=EAGAIN",
      "clone3:error=ENOMEM",     "epoll_ctl:error=ENOMEM", "epoll_ctl:error=ENOSPC",
      "socketpair:error=EMFILE", "sendmsg:error=ENOMEM",   "sendmsg:error=ENOBUFS",
      "recvmsg:error=ENOMEM",    "epoll_wait:error=EINTR", "wait4:error=EINTR",
      "waitid:error=EINTR",      "fcntl:error=EMFILE",     "read:error=EIO",
      "pread64:error=EIO",       "madvise:error=ENOMEM",   "kill:error=EPERM",
  };
  for (const char* refusal : refusals) {
    for (const char* when : {"3", "5..6", "9..12"}) {
      const std::string how = std::string(refusal) + ":when=" + when;
      CAPTURE(how);
      const std::string call = how.substr(0, how.find(':'));
      Start start;
      start.prefix = {"strace",        "-D", "-qq",          "-o", "/dev/null", "-e",
                      "trace=" + call, "-e", "inject=" + how};
      start.quick = true;
      KeeperRun run(std::move(start));
      const auto exists = [&run](std::uint64_t id, const sys::SpawnSpec& spec) {
        auto memory = sys::encode(spec);
        const auto bytes = static_cast<std::uint32_t>(lseek(memory->get(), 0, SEEK_END));
        for (int i = 0; i < 10; ++i) {
          if (run.ack(run.link().revision(id, memory->get(), bytes, {0})) == 0) return true;
        }
        return false;
      };
      CHECK(exists(1, run.worker({"sleep"})));
      CHECK(exists(2, run.worker({"exit", "7"})));
      run.link().spawn(key(1000), 1, "", 60'000, -1);
      for (std::uint64_t i = 1; i <= 10; ++i) {
        run.link().spawn(key(i), 2, "", 60'000, -1);
        const keeper::Entry entry = run.exited(key(i));
        if (entry.outcome == Outcome::program) {
          CHECK(WEXITSTATUS(entry.wait_status) == 7);
        } else {
          CHECK(entry.error != 0);
          CHECK((entry.state == EntryState::failed || entry.outcome == Outcome::setup_failed));
        }
        run.link().release(key(i));
      }
      CHECK(run.entries.count(1000) == 1);
      CHECK(run.list().size() == 1);
      for (int i = 0; i < 5; ++i) {  // and through the supervisor's deaths
        run.kill_role();
        run.accept_role();
        CHECK(run.list().size() == 1);
      }
      bool healed = false;
      for (std::uint64_t i = 2000; i < 2010 && !healed; ++i) {
        run.link().spawn(key(i), 2, "", 60'000, -1);
        const keeper::Entry entry = run.exited(key(i));
        healed = entry.outcome == Outcome::program && WEXITSTATUS(entry.wait_status) == 7;
      }
      CHECK(healed);
    }
  }
}

TEST_CASE(
    "rule 2: after a thousand spawns the keeper's own score, limits and rights are as before") {
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

TEST_CASE("rule 2: after a thousand spawns the keeper is as dumpable as before") {
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

TEST_CASE(
    "rule 2: a worker that the kernel kills for memory before its exec takes no one with it") {
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
      run.link().spawn(key(7), 1, "", 30'000, -1);
      CHECK(WEXITSTATUS(run.exited(key(7)).wait_status) == 3);
      CHECK(run.hello().epoch == 1);
      CHECK(read_file(path + "/memory.oom_control").find("oom_kill 0") == std::string::npos);
    }
  }
  for (int turn = 0; turn < 2000 && rmdir(path.c_str()) != 0; ++turn)
    usleep(5000);
}

TEST_CASE("a role whose keeper does not read is told that it is gone, and keeps no more") {
  int ends[2] = {-1, -1};
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd keeper_end(ends[1]);
  sys::KeeperLink link{UniqueFd(ends[0])};
  for (std::size_t i = 0; i < sys::kMaxOutbox; ++i)
    link.release(key(i));
  CHECK(link.wants_write());
  CHECK(link.flush());
  CHECK(link.receive());
  for (int i = 0; i < 10'000; ++i)
    link.release(key(1));
  const auto flushed = link.flush();
  REQUIRE_FALSE(flushed);
  CHECK(flushed.error().errno_value == ECONNRESET);
  CHECK_FALSE(link.receive());
  link.release(key(1));
  CHECK_FALSE(link.flush());
}

}  // namespace
}  // namespace mtd::test
