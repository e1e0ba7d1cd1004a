// What a spec's sandbox makes of a process, seen by the process itself; and how each step fails
// when the kernel refuses it: at a stage of its own, before the program ran.
#include <doctest/doctest.h>
#include <grp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::Outcome;
using keeper::Stage;

constexpr std::uint64_t kChown = 1, kKill = 1 << 5, kNetBindService = 1 << 10;
constexpr std::uint32_t kAllow = 0x7fff0000U, kRefuse = 0x00050000U | EPERM;  // linux/seccomp.h
// Refuses system call `number`: load it, compare, answer.
std::vector<sys::SpecInstruction> refuse(std::uint32_t number) {
  return {{0x20, 0, 0, 0}, {0x15, 0, 1, number}, {0x06, 0, 0, kRefuse}, {0x06, 0, 0, kAllow}};
}

// What a shell script says that runs in the sandbox.
std::string say(KeeperRun& run, std::uint64_t number, sys::SpawnSpec spec,
                const std::string& script) {
  Pipe pipe = make_pipe();
  spec.executable = "/bin/sh";
  spec.command = {"sh", "-c", script};
  spec.environment = {"PATH=/usr/bin:/bin"};
  spec.descriptors = {{1, 0}, {2, 0}};
  const keeper::Entry entry = run_once(run, spec, number, {pipe.write.get()});
  CAPTURE(static_cast<int>(entry.stage));
  CHECK(entry.outcome == Outcome::program);
  run.link().forget(number);
  pipe.write.reset();
  return read_all(pipe.read.get());
}

std::string field(const std::string& status, const std::string& name) {
  const std::size_t at = status.find(name + ":\t");
  if (at == std::string::npos) return "?";
  const std::size_t begin = at + name.size() + 2;
  return status.substr(begin, status.find('\n', begin) - begin);
}

std::string hexadecimal(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

bool is_root() {
  if (geteuid() == 0) return true;
  MESSAGE("skipped: needs root");
  return false;
}

const std::string kStatus = "cat /proc/self/status";

TEST_CASE("without a sandbox nothing of it is there") {
  KeeperRun run;
  const std::string status = say(run, 1, run.worker({}), kStatus);
  CHECK(field(status, "NoNewPrivs") == "0");
  CHECK(field(status, "Seccomp") == field(read_file("/proc/self/status"), "Seccomp"));
}

TEST_CASE("another user keeps exactly the capabilities it is given, and can get no others") {
  if (!is_root()) return;
  KeeperRun run;
  sys::SpawnSpec spec = run.worker({});
  spec.uid = spec.gid = 1234;
  spec.sandbox.capabilities = kChown | kNetBindService;
  spec.sandbox.ambient = kNetBindService;
  const std::string status = say(run, 1, spec, kStatus);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
    CHECK(field(status, set) == hexadecimal(kNetBindService));
  CHECK(field(status, "CapBnd") == hexadecimal(kChown | kNetBindService));
  CHECK(field(status, "Uid") == "1234\t1234\t1234\t1234");
  spec.sandbox.capabilities = spec.sandbox.ambient = 0;
  const std::string none = say(run, 2, spec, kStatus);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"})
    CHECK(field(none, set) == hexadecimal(0));
}

TEST_CASE("root has no more than it is given either") {
  if (!is_root()) return;
  KeeperRun run;
  sys::SpawnSpec spec = run.worker({});
  spec.sandbox.capabilities = spec.sandbox.ambient = kKill;
  const std::string status = say(run, 1, spec, kStatus);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd"})
    CHECK(field(status, set) == hexadecimal(kKill));
}

TEST_CASE("no_new_privs and a filter, also without privileges") {
  Start start;
  start.in_child = [] {
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
      _exit(125);
  };
  KeeperRun run(std::move(start));
  sys::SpawnSpec spec = run.worker({});
  spec.sandbox.no_new_privs = true;
  CHECK(field(say(run, 1, spec, kStatus), "NoNewPrivs") == "1");
#ifdef __x86_64__
  spec.sandbox.filter = refuse(83);  // mkdir, which a shell's mkdir uses there
  CHECK(field(say(run, 2, spec, kStatus), "Seccomp") == "2");
  CHECK(say(run, 3, spec, "mkdir /tmp/mtd-never-made; test -e /tmp/mtd-never-made || echo no")
            .find("no\n") != std::string::npos);
#endif
}

TEST_CASE("processors: a set of them, and one for each slot in turn") {
  cpu_set_t mine;
  REQUIRE(sched_getaffinity(0, sizeof mine, &mine) == 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mine)) cpus.push_back(cpu);
  }
  KeeperRun run;
  sys::SpawnSpec spec = run.worker({});
  spec.sandbox.cpus = {cpus.back()};
  CHECK(field(say(run, 1, spec, kStatus), "Cpus_allowed_list") == std::to_string(cpus.back()));
  spec.sandbox.cpus.clear();
  spec.sandbox.cpu_per_worker = true;
  for (std::uint64_t number = 2; number < 7; ++number) {
    const std::string expected = std::to_string(cpus[key(number).slot % cpus.size()]);
    CHECK(field(say(run, number, spec, kStatus), "Cpus_allowed_list") == expected);
  }
}

TEST_CASE("read-only paths with what is mounted below, and a /tmp of its own") {
  if (!is_root()) return;
  KeeperRun run;
  sys::SpawnSpec spec = run.worker({});
  const std::string directory = run.directory() + "/kept";
  REQUIRE(mkdir(directory.c_str(), 0755) == 0);
  spec.sandbox.read_only_paths = {directory};
  const std::string write = "echo x > " + directory + "/file && echo written; ";
  std::string said = say(run, 1, spec, write + "echo x > " + directory + "/../other && echo free");
  CHECK(said.find("written") == std::string::npos);
  CHECK(said.find("free") != std::string::npos);
  spec.sandbox.read_only_paths = {"/"};
  spec.sandbox.private_tmp = true;
  const std::string own = "/tmp/mtd-own-" + std::to_string(getpid());
  said =
      say(run, 2, spec,
          "ls -A /tmp; echo x > /etc/mtd-never-made && echo etc; echo x > /dev/shm/mtd-never-made "
          "&& echo shm; echo x > " +
              own + " && cat " + own + "; stat -c %a /tmp");
  CHECK(said.find("x\n1777\n") != std::string::npos);
  CHECK(said.find("etc\n") == std::string::npos);
  CHECK(said.find("shm\n") == std::string::npos);
  CHECK(access(own.c_str(), F_OK) != 0);
  CHECK(say(run, 3, run.worker({}), "test -w /etc && echo yes") == "yes\n");
}

struct Failure {
  const char* what;
  Stage stage;
  int error;
  bool as_root;
  void (*change)(sys::Sandbox& sandbox);
};

const Failure kFailures[] = {
    {"no such processor", Stage::cpu_affinity, EINVAL, true,
     [](sys::Sandbox& sandbox) { sandbox.cpus = {1023}; }},
    {"no such class of priority", Stage::io_priority, EINVAL, true,
     [](sys::Sandbox& sandbox) { sandbox.io_priority = 6 << 13; }},
    {"realtime without rights", Stage::io_priority, EPERM, false,
     [](sys::Sandbox& sandbox) { sandbox.io_priority = 1 << 13; }},
    {"no such path", Stage::read_only_paths, ENOENT, true,
     [](sys::Sandbox& sandbox) { sandbox.read_only_paths = {"/does/not/exist"}; }},
    {"mounts without rights", Stage::mount_namespace, EPERM, false,
     [](sys::Sandbox& sandbox) { sandbox.private_tmp = true; }},
    {"bounding set without rights", Stage::capabilities, EPERM, false,
     [](sys::Sandbox& sandbox) { sandbox.capabilities = 0; }},
    {"capabilities the keeper has not", Stage::capabilities, EPERM, false,
     [](sys::Sandbox& sandbox) { sandbox.ambient = kKill; }},
    {"capabilities the kernel does not know", Stage::capabilities, EPERM, true,
     [](sys::Sandbox& sandbox) { sandbox.ambient = std::uint64_t{1} << 63; }},
    {"a filter that is none", Stage::seccomp, EINVAL, true,
     [](sys::Sandbox& sandbox) {
       sandbox.no_new_privs = true;
       sandbox.filter = {{0xffff, 0, 0, 0}};
     }},
};

TEST_CASE("what the kernel refuses is a failed start at its stage, never the program's end") {
  if (!is_root()) return;
  Start start;
  start.in_child = [] {
    if (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0) _exit(125);
  };
  KeeperRun root;
  KeeperRun other(std::move(start));
  std::uint64_t number = 1;
  for (const Failure& failure : kFailures) {
    CAPTURE(failure.what);
    KeeperRun& run = failure.as_root ? root : other;
    sys::SpawnSpec spec = run.worker({"exit", "0"});
    failure.change(spec.sandbox);
    const keeper::Entry entry = run_once(run, spec, number++);
    CHECK(entry.outcome == Outcome::setup_failed);
    CHECK(static_cast<int>(entry.stage) == static_cast<int>(failure.stage));
    CHECK(entry.error == failure.error);
    CHECK(entry.executed == 0);
  }
}

}  // namespace
}  // namespace mtd::test
