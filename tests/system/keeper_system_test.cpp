// The keeper against the rest of the machine: kernels that refuse, hung file systems, strangers,
// cgroups.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>

#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::EntryState;
using keeper::Outcome;
using keeper::Scope;
using keeper::Stage;
using Clock = std::chrono::steady_clock;

// strace as a detached grandchild (-D), so that mtd stays the test's child.
std::vector<std::string> under_strace(std::vector<std::string> options, const std::string& output) {
  std::vector<std::string> all{"strace", "-D", "-f", "-qq", "-o", output};
  all.insert(all.end(), options.begin(), options.end());
  return all;
}

TEST_CASE("kernels and filters that refuse clone3, clone or close_range change nothing") {
  if (!has_strace()) {
    MESSAGE("skipped: strace is not installed");
    return;
  }
  const std::vector<std::vector<std::string>> refusals{
      {"-e", "trace=clone3", "-e", "inject=clone3:error=ENOSYS"},
      {"-e", "trace=clone3", "-e", "inject=clone3:error=EPERM"},
      {"-e", "trace=close_range", "-e", "inject=close_range:error=ENOSYS"},
      {"-e", "trace=prctl", "-e", "inject=prctl:error=EINVAL"},
      {"-e", "trace=clone3,clone", "-e", "inject=clone3:error=ENOSYS", "-e",
       "inject=clone:error=EINVAL:when=1"},
  };
  for (const auto& options : refusals) {
    CAPTURE(options[3]);
    Start start;
    start.prefix = under_strace(options, "/dev/null");
    if (options[3].find("close_range") != std::string::npos) {
      start.prefix.insert(start.prefix.begin(), {"prlimit", "--nofile=2048:2048"});
    }
    KeeperRun run(std::move(start));
    run.add_revision(1, run.worker({"exit", "5"}));
    run.add_revision(2, run.worker({"sleep"}));
    for (std::uint64_t i = 1; i <= 5; ++i)
      run.link().spawn(key(i), 1, "", 30'000, -1);
    run.link().spawn(key(6), 2, "", 30'000, -1);
    for (std::uint64_t i = 1; i <= 5; ++i) {
      const keeper::Entry entry = run.exited(key(i));
      CHECK(entry.outcome == Outcome::program);
      CHECK(WEXITSTATUS(entry.wait_status) == 5);
    }
    CHECK(run.running(key(6)).executed == 1);
    CHECK(run.ack(run.link().signal(key(6), SIGKILL, Scope::group)) == 0);
    CHECK(WTERMSIG(run.exited(key(6)).wait_status) == SIGKILL);
  }
}

TEST_CASE("a refused clone is a failed entry with its errno, leaves nothing, and heals") {
  if (!has_strace()) {
    MESSAGE("skipped: strace is not installed");
    return;
  }
  for (const char* error : {"EAGAIN", "ENOMEM"}) {
    Start start;
    start.prefix = under_strace(
        {"-e", "trace=clone3", "-e", std::string("inject=clone3:error=") + error + ":when=2..4"},
        "/dev/null");
    KeeperRun run(std::move(start));
    run.add_revision(1, run.worker({"exit", "1"}));
    const std::size_t before = open_descriptors(run.pid());
    for (std::uint64_t i = 1; i <= 3; ++i) {
      run.link().spawn(key(i), 1, "", 30'000, -1);
      const keeper::Entry entry = run.exited(key(i));
      CHECK(entry.state == EntryState::failed);
      CHECK(entry.stage == Stage::clone);
      CHECK(entry.error == (std::strcmp(error, "EAGAIN") == 0 ? EAGAIN : ENOMEM));
      CHECK(entry.pid == 0);
    }
    CHECK(run.list().size() == 3);
    CHECK(open_descriptors(run.pid()) == before);
    run.link().spawn(key(4), 1, "", 30'000, -1);
    CHECK(run.exited(key(4)).outcome == Outcome::program);
  }
}

TEST_CASE("credential calls that fail, or lie, never let the program run") {
  if (!has_strace() || geteuid() != 0) {
    MESSAGE("skipped: needs strace and root");
    return;
  }
  struct Case {
    const char* call;
    const char* how;
    Stage stage;
    int error;
  };
  const Case cases[] = {
      {"setgroups", "error=ENOMEM", Stage::groups, ENOMEM},
      {"setresgid", "error=EAGAIN", Stage::group, EAGAIN},
      {"setresuid", "error=EAGAIN", Stage::user, EAGAIN},
      {"setresuid", "retval=0", Stage::verify, EPERM},
      {"setresgid", "retval=0", Stage::verify, EPERM},
      {"setgroups", "retval=0", Stage::verify, EPERM},
      {"setsid", "error=EPERM:when=1", Stage::session, EPERM},
  };
  for (const Case& one : cases) {
    CAPTURE(one.call);
    if (std::strcmp(one.call, "setsid") == 0)
      continue;  // the role's own comes first: not separable
    Start start;
    start.prefix = under_strace({"-e", std::string("trace=") + one.call, "-e",
                                 std::string("inject=") + one.call + ":" + one.how},
                                "/dev/null");
    KeeperRun run(std::move(start));
    sys::SpawnSpec spec = run.worker({"exit", "0"});
    spec.uid = 1234;
    spec.gid = 1234;
    spec.groups = {1234};
    run.add_revision(1, spec);
    run.link().spawn(key(1), 1, "", 30'000, -1);
    const keeper::Entry entry = run.exited(key(1));
    CHECK(entry.outcome == Outcome::setup_failed);
    CHECK(entry.stage == one.stage);
    CHECK(entry.error == one.error);
  }
}

TEST_CASE("a program on a hung file system holds nobody") {
  const UniqueFd server(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  char directory[] = "/tmp/mtd-keeper-fuse-XXXXXX";
  REQUIRE(mkdtemp(directory) != nullptr);
  const std::string options =
      "fd=" + std::to_string(server.get()) + ",rootmode=40000,user_id=0,group_id=0";
  if (!server || mount("mtd-test", directory, "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    MESSAGE("skipped: no FUSE file system can be mounted here");
    rmdir(directory);
    return;
  }
  {
    KeeperRun run;  // no one answers on `server`, ever
    sys::SpawnSpec hung = run.worker({"exit", "0"});
    hung.executable = std::string(directory) + "/program";
    run.add_revision(1, hung);
    hung.directory = directory;
    run.add_revision(2, hung);
    run.add_revision(3, run.worker({"exit", "4"}));
    run.link().spawn(key(1), 1, "", 600'000, -1);
    run.link().spawn(key(2), 2, "", 300, -1);
    for (std::uint64_t i = 10; i < 60; ++i)
      run.link().spawn(key(i), 3, "", 10'000, -1);
    for (std::uint64_t i = 10; i < 60; ++i)
      CHECK(WEXITSTATUS(run.exited(key(i)).wait_status) == 4);
    const keeper::Entry late = run.exited(key(2));
    CHECK(late.outcome == Outcome::setup_failed);
    CHECK(late.error == ETIMEDOUT);
    CHECK(late.stage == Stage::directory);
    CHECK(run.entries[1].state == EntryState::starting);
    CHECK(run.ack(run.link().signal(key(1), SIGKILL, Scope::group)) == 0);
    const keeper::Entry killed = run.exited(key(1));
    CHECK(killed.outcome == Outcome::unknown);
    CHECK(killed.stage == Stage::exec);
  }
  umount2(directory, MNT_DETACH);
  rmdir(directory);
}

TEST_CASE("exits whose signals came as one are all found; no process costs a descriptor") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  const std::size_t before = open_descriptors(run.pid());
  for (std::uint64_t i = 1; i <= 300; ++i)
    run.link().spawn(key(i), 1, "", 60'000, -1);
  for (std::uint64_t i = 1; i <= 300; ++i)
    run.running(key(i));
  CHECK(open_descriptors(run.pid()) == before);
  for (int wave = 0; wave < 3; ++wave) {
    kill(run.pid(), SIGSTOP);
    for (std::uint64_t i = 1; i <= 100; ++i)
      kill(run.entries[static_cast<std::uint64_t>(wave) * 100 + i].pid, SIGKILL);
    usleep(20'000);  // a signal for each, of which the stopped keeper gets one
    kill(run.pid(), SIGCONT);
    for (std::uint64_t i = 1; i <= 100; ++i) {
      const keeper::Entry entry = run.exited(key(static_cast<std::uint64_t>(wave) * 100 + i));
      CHECK(WTERMSIG(entry.wait_status) == SIGKILL);
    }
  }
}

TEST_CASE("five thousand strangers are reaped and counted, and no one else waits") {
  KeeperRun run;
  run.add_revision(1, run.worker({"storm", "5000"}));
  run.add_revision(2, run.worker({"exit", "2"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.running(key(1));
  std::uint64_t number = 2;
  for (; run.entries[1].state == EntryState::running; ++number) {
    run.link().spawn(key(number), 2, "", 10'000, -1);
    CHECK(WEXITSTATUS(run.exited(key(number)).wait_status) == 2);
  }
  while (run.strangers < 5000)
    REQUIRE(run.next());
  CHECK(run.strangers == 5000);
}

TEST_CASE("without clone3 the child joins its cgroup itself") {
  const std::string path = "/sys/fs/cgroup/unified/mtd-keeper-join-" + std::to_string(getpid());
  if (!has_strace() || mkdir(path.c_str(), 0755) != 0) {
    MESSAGE("skipped: needs strace and a writable cgroup v2 hierarchy at /sys/fs/cgroup/unified");
    return;
  }
  {
    Start start;
    start.prefix =
        under_strace({"-e", "trace=clone3", "-e", "inject=clone3:error=ENOSYS"}, "/dev/null");
    KeeperRun run(std::move(start));
    run.add_revision(1, run.worker({"sleep"}));
    const UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    run.link().spawn(key(1), 1, "", 30'000, directory.get());
    const keeper::Entry entry = run.running(key(1));
    CHECK(entry.in_cgroup == 1);
    CHECK(read_file(path + "/cgroup.procs") == std::to_string(entry.pid) + "\n");
    CHECK(run.ack(run.link().signal(key(1), SIGKILL, Scope::group)) == 0);
    run.exited(key(1));
    CHECK(rmdir(path.c_str()) == 0);
    run.link().spawn(key(2), 1, "", 30'000, directory.get());
    const keeper::Entry late = run.exited(key(2));
    CHECK(late.outcome == Outcome::setup_failed);
    CHECK(late.stage == Stage::cgroup);
  }
  rmdir(path.c_str());
}

TEST_CASE("a table of descriptors that is full refuses one process, not the daemon") {
  Start start;
  start.prefix = {"prlimit", "--nofile=400:400"};
  KeeperRun run(std::move(start));
  CHECK(run.hello().capacity == 400 - 64 - 253);
  run.add_revision(1, run.worker({"sleep"}));
  for (std::uint64_t i = 1; i <= run.hello().capacity; ++i) {
    run.link().spawn(key(i), 1, "", 10'000, -1);
    REQUIRE(run.running(key(i)).state == EntryState::running);
  }
  CHECK(run.ack(run.link().spawn(key(1000), 1, "", 10'000, -1)) == ENOSPC);
  CHECK(run.list().size() == run.hello().capacity);
}

}  // namespace
}  // namespace mtd::test
