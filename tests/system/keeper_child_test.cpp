// What the keeper's children are born with, how each stage of their set-up fails, and how they end.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
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

keeper::Entry run_once(KeeperRun& run, const sys::SpawnSpec& spec, std::uint64_t number,
                       const std::vector<int>& fds = {}, std::uint32_t timeout_ms = 10'000) {
  run.add_revision(number, spec, fds);
  run.link().spawn(key(number), number, "pool", timeout_ms, -1);
  return run.exited(key(number));
}

TEST_CASE("rule 10: exit codes 0 to 255 are exact") {
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

TEST_CASE("rule 3: each stage of the set-up fails with its name and its errno, and is no crash") {
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

TEST_CASE("rule 16: workers get the limit of descriptors back that mtd raised for itself") {
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

TEST_CASE("rule 4: an unusable cgroup directory fails at the cgroup") {
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

TEST_CASE("rule 4: a process is born in its cgroup; a removed one is a failure of the cgroup") {
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

TEST_CASE("rule 10: ten thousand processes come and go, each told exactly once it is released") {
  KeeperRun run;
  run.add_revision(1, run.worker({"exit", "9"}));
  constexpr std::uint64_t kMany = 10'000, kInFlight = 50;
  std::uint64_t started = 0;
  for (std::uint64_t ended = 0; ended < kMany; ++ended) {
    while (started < kMany && started < ended + kInFlight) {
      run.link().spawn(key(++started), 1, "", 60'000, -1);
    }
    const keeper::Entry entry = run.exited(key(ended + 1));
    REQUIRE(entry.outcome == Outcome::program);
    REQUIRE(WEXITSTATUS(entry.wait_status) == 9);
    run.link().release(key(ended + 1));
    run.entries.erase(ended + 1);
  }
  CHECK(run.list().empty());
}

}  // namespace
}  // namespace mtd::test
