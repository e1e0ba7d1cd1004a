// What the keeper's children are born with, how each stage of their set-up fails, and how they end.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "common/spec_marker.h"
#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::EntryState;
using keeper::Outcome;
using keeper::Stage;

TEST_CASE("exit codes 0 to 255 are exact") {
  KeeperRun run;
  for (std::uint64_t code = 0; code <= 255; ++code) {
    const keeper::Entry entry =
        run_once(run, run.worker({"exit", std::to_string(code)}), 1000 + code);
    REQUIRE(entry.outcome == Outcome::program);
    REQUIRE(WIFEXITED(entry.wait_status));
    REQUIRE(WEXITSTATUS(entry.wait_status) == static_cast<int>(code));
  }
}

TEST_CASE("signals 1 to 64 are exact, with the core flag") {
  KeeperRun run;
  std::uint64_t number = 1;
  for (int signal = 1; signal <= 64; ++signal) {
    if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU ||
        signal == SIGCONT || signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH) {
      continue;
    }
    Pipe gate = make_pipe();
    sys::SpawnSpec spec = run.worker({"kill", std::to_string(signal), "5"});
    spec.descriptors = {{5, 0}};
    spec.limits = {{RLIMIT_CORE, 0, 0}};
    run.add_revision(number, spec, {gate.read.get()});
    run.link().spawn(key(number), number, "", 10'000, -1);
    REQUIRE(run.running(key(number)).executed == 1);
    REQUIRE(write(gate.write.get(), "x", 1) == 1);
    const keeper::Entry entry = run.exited(key(number));
    CHECK(entry.outcome == Outcome::program);
    REQUIRE(WIFSIGNALED(entry.wait_status));
    CHECK(WTERMSIG(entry.wait_status) == signal);
    CHECK_FALSE(WCOREDUMP(entry.wait_status));
    ++number;
  }
}

TEST_CASE("a program that a signal ends before anybody saw it execute has run all the same") {
  if (!has_strace()) {
    MESSAGE("skipped: strace is not installed");
    return;
  }
  Start start;  // without -f: only the keeper, which looks up late
  start.prefix = {"strace",
                  "-D",
                  "-qq",
                  "-o",
                  "/dev/null",
                  "-e",
                  "trace=epoll_wait",
                  "-e",
                  "inject=epoll_wait:delay_exit=20000"};
  KeeperRun run(std::move(start));
  std::uint64_t number = 1;
  for (const int signal : {SIGSEGV, SIGTERM, SIGKILL, SIGABRT}) {
    sys::SpawnSpec spec = run.worker({"kill", std::to_string(signal)});
    spec.limits = {{RLIMIT_CORE, 0, 0}};
    const keeper::Entry entry = run_once(run, spec, number++);
    CHECK(entry.outcome == Outcome::program);
    CHECK(entry.executed == 1);
    REQUIRE(WIFSIGNALED(entry.wait_status));
    CHECK(WTERMSIG(entry.wait_status) == signal);
  }
}

TEST_CASE("the core flag is told when there is a core") {
  const UniqueFd pattern(open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC));
  const std::string text = pattern ? read_all(pattern.get()) : "|";
  rlimit core{};
  getrlimit(RLIMIT_CORE, &core);
  if (text.size() < 2 || text[0] == '|' || text[0] == '/' || core.rlim_max < (1U << 24)) {
    MESSAGE("skipped: cores do not go to the directory of the process here: " << text);
    return;
  }
  KeeperRun run;
  Pipe gate = make_pipe();
  sys::SpawnSpec spec = run.worker({"kill", std::to_string(SIGABRT), "5"});
  spec.descriptors = {{5, 0}};
  spec.directory = run.directory();
  spec.limits = {{RLIMIT_CORE, core.rlim_max, core.rlim_max}};
  run.add_revision(1, spec, {gate.read.get()});
  run.link().spawn(key(1), 1, "", 10'000, -1);
  run.running(key(1));
  REQUIRE(write(gate.write.get(), "x", 1) == 1);
  const keeper::Entry entry = run.exited(key(1));
  CHECK(WTERMSIG(entry.wait_status) == SIGABRT);
  CHECK(WCOREDUMP(entry.wait_status));
}

TEST_CASE("a stopped and continued process has not ended") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  const pid_t pid = run.running(key(1)).pid;
  kill(pid, SIGSTOP);
  CHECK(run.list().front().state == EntryState::running);
  kill(pid, SIGCONT);
  CHECK(run.list().front().state == EntryState::running);
}

struct Failure {
  const char* what;
  Stage stage;
  int error;
  void (*change)(sys::SpawnSpec& spec, const std::string& directory);
};

const Failure kFailures[] = {
    {"no such directory", Stage::directory, ENOENT,
     [](sys::SpawnSpec& spec, const std::string&) { spec.directory = "/does/not/exist"; }},
    {"directory is a file", Stage::directory, ENOTDIR,
     [](sys::SpawnSpec& spec, const std::string&) { spec.directory = "/etc/passwd"; }},
    {"no such program", Stage::exec, ENOENT,
     [](sys::SpawnSpec& spec, const std::string&) { spec.executable = "/does/not/exist"; }},
    {"program is a directory", Stage::exec, EACCES,
     [](sys::SpawnSpec& spec, const std::string&) { spec.executable = "/etc"; }},
    {"program is not executable", Stage::exec, EACCES,
     [](sys::SpawnSpec& spec, const std::string&) { spec.executable = "/etc/passwd"; }},
    {"program is no program", Stage::exec, ENOEXEC,
     [](sys::SpawnSpec& spec, const std::string& directory) {
       spec.executable = directory + "/text";
       const int fd = open(spec.executable.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
       CHECK(write(fd, "text", 4) == 4);
       close(fd);
     }},
    {"interpreter is missing", Stage::exec, ENOENT,
     [](sys::SpawnSpec& spec, const std::string& directory) {
       spec.executable = directory + "/script";
       const int fd = open(spec.executable.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
       CHECK(write(fd, "#!/does/not/exist\n", 18) == 18);
       close(fd);
     }},
    {"arguments too long", Stage::exec, E2BIG,
     [](sys::SpawnSpec& spec, const std::string&) {
       // Markers make a long argument of a short one: more than the kernel's 128 KiB for one
       // string.
       std::string marker(60'000, SpecMarker::kEscape);
       for (std::size_t i = 1; i < marker.size(); i += 2)
         marker[i] = SpecMarker::kIncarnation;
       spec.command.push_back(marker);
     }},
    {"output is a directory", Stage::output, EISDIR,
     [](sys::SpawnSpec& spec, const std::string& directory) { spec.output_path = directory; }},
    {"output is a FIFO without a reader", Stage::output, ENXIO,
     [](sys::SpawnSpec& spec, const std::string& directory) {
       spec.output_path = directory + "/fifo";
       CHECK(mkfifo(spec.output_path.c_str(), 0666) == 0);
     }},
    {"output is a symbolic link", Stage::output, ELOOP,
     [](sys::SpawnSpec& spec, const std::string& directory) {
       spec.output_path = directory + "/link";
       CHECK(symlink("/etc/passwd", spec.output_path.c_str()) == 0);
     }},
    {"output is a device", Stage::output, EINVAL,
     [](sys::SpawnSpec& spec, const std::string&) { spec.output_path = "/dev/null"; }},
    {"no such resource", Stage::limits, EINVAL,
     [](sys::SpawnSpec& spec, const std::string&) {
       spec.limits = {{99, 1, 1}};
     }},
    {"soft limit above the hard one", Stage::limits, EINVAL,
     [](sys::SpawnSpec& spec, const std::string&) {
       spec.limits = {{RLIMIT_CORE, 2, 1}};
     }},
};

TEST_CASE("each stage of the set-up fails with its name and its errno, and is no crash") {
  KeeperRun run;
  std::uint64_t number = 1'000'000'000'001;
  for (const Failure& failure : kFailures) {
    CAPTURE(failure.what);
    sys::SpawnSpec spec = run.worker({"exit", "0"});
    failure.change(spec, run.directory());
    const keeper::Entry entry = run_once(run, spec, number++);
    CHECK(entry.state == EntryState::exited);
    CHECK(entry.outcome == Outcome::setup_failed);
    CHECK(entry.stage == failure.stage);
    CHECK(entry.error == failure.error);
    CHECK(entry.executed == 0);
  }
}

TEST_CASE("without privileges: user, groups, priority and raised limits fail at their stages") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root to become another user");
    return;
  }
  Start start;
  start.in_child = [] {
    const rlimit limit{100, 100};
    setrlimit(RLIMIT_CORE, &limit);
    if (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0) _exit(125);
  };
  KeeperRun run(std::move(start));
  std::uint64_t number = 1;
  const auto fails = [&](auto change, Stage stage, int error) {
    sys::SpawnSpec spec = run.worker({"exit", "0"});
    change(spec);
    const keeper::Entry entry = run_once(run, spec, number++);
    CHECK(entry.outcome == Outcome::setup_failed);
    CHECK(entry.stage == stage);
    CHECK(entry.error == error);
  };
  fails(
      [](sys::SpawnSpec& spec) {
        spec.uid = 0;
        spec.gid = 0;
        spec.groups = {0};
      },
      Stage::groups, EPERM);
  fails(
      [](sys::SpawnSpec& spec) {
        spec.uid = 0;
        spec.gid = 0;
      },
      Stage::group, EPERM);
  fails(
      [](sys::SpawnSpec& spec) {
        spec.uid = 0;
        spec.gid = 65534;
      },
      Stage::user, EPERM);
  fails([](sys::SpawnSpec& spec) { spec.nice = -5; }, Stage::priority, EACCES);
  fails([](sys::SpawnSpec& spec) { spec.oom_score_adj = -900; }, Stage::oom_score, EACCES);
  fails(
      [](sys::SpawnSpec& spec) {
        spec.limits = {{RLIMIT_CORE, 200, 200}};
      },
      Stage::limits, EPERM);
  fails([](sys::SpawnSpec& spec) { spec.directory = "/root"; }, Stage::directory, EACCES);
  sys::SpawnSpec same = run.worker({"exit", "6"});  // what one already is, one may become
  same.uid = 65534;
  same.gid = 65534;
  CHECK(WEXITSTATUS(run_once(run, same, number).wait_status) == 6);
}

TEST_CASE("workers get the limit of descriptors back that mtd raised for itself") {
  Start start;
  start.prefix = {"prlimit", "--nofile=500:2000"};
  KeeperRun run(std::move(start));
  CHECK(run.hello().capacity == 2000 - 64 - 253);
  CHECK(run.hello().original_nofile_soft == 500);
  Pipe pipe = make_pipe();
  sys::SpawnSpec spec = run.worker({"probe"});
  spec.descriptors = {{1, 0}};
  CHECK(run_once(run, spec, 1, {pipe.write.get()}).outcome == Outcome::program);
  run.link().forget(1);
  pipe.write.reset();
  CHECK(read_all(pipe.read.get()).find("nofile 500\n") != std::string::npos);
}

TEST_CASE("an unusable cgroup directory fails at the cgroup") {
  KeeperRun run;
  run.add_revision(1, run.worker({"exit", "0"}));
  const UniqueFd directory(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  run.link().spawn(key(1), 1, "", 10'000, directory.get());
  const keeper::Entry entry = run.exited(key(1));
  CHECK(entry.state == EntryState::failed);
  CHECK(entry.stage == Stage::cgroup);
  CHECK(entry.error == EBADF);
  CHECK(entry.pid == 0);
}

TEST_CASE("a process is born in its cgroup; a removed one is a failure of the cgroup") {
  const std::string path = "/sys/fs/cgroup/unified/mtd-keeper-test-" + std::to_string(getpid());
  if (mkdir(path.c_str(), 0755) != 0) {
    MESSAGE("skipped: no writable cgroup v2 hierarchy at /sys/fs/cgroup/unified");
    return;
  }
  {
    KeeperRun run;
    run.add_revision(1, run.worker({"sleep"}));
    const UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    run.link().spawn(key(1), 1, "", 10'000, directory.get());
    const keeper::Entry entry = run.running(key(1));
    CHECK(entry.in_cgroup == 1);
    const UniqueFd procs(open((path + "/cgroup.procs").c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(read_all(procs.get()) == std::to_string(entry.pid) + "\n");
    // Frozen: clone works, and the child does nothing; the deadline ends it.
    const UniqueFd freeze(open((path + "/cgroup.freeze").c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(write(freeze.get(), "1", 1) == 1);
    run.link().spawn(key(2), 1, "", 200, directory.get());
    const keeper::Entry frozen = run.exited(key(2));
    CHECK(frozen.outcome == Outcome::setup_failed);
    CHECK(frozen.error == ETIMEDOUT);
    CHECK(frozen.stage == Stage::clone);
    CHECK(lseek(freeze.get(), 0, SEEK_SET) == 0);
    CHECK(write(freeze.get(), "0", 1) == 1);
    CHECK(run.ack(run.link().signal(key(1), SIGKILL, keeper::Scope::group)) == 0);
    run.exited(key(1));
    CHECK(rmdir(path.c_str()) == 0);
    run.link().spawn(key(3), 1, "", 10'000, directory.get());
    const keeper::Entry late = run.exited(key(3));
    CHECK(late.state == EntryState::failed);
    CHECK(late.stage == Stage::cgroup);
    CHECK((late.error == ENODEV || late.error == ENOENT));
  }
  rmdir(path.c_str());
}

}  // namespace
}  // namespace mtd::test
