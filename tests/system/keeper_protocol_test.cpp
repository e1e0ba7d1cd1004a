// The keeper's protocol, spoken with the real mtd: answers, levels, epochs, refusals.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>

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

TEST_CASE("a key names one process for ever, however often it is asked for") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  for (int i = 0; i < 5; ++i)
    spawn(run, 1);
  const keeper::Entry first = run.running(key(1));
  const std::uint64_t serial = run.link().spawn(key(1), 1, "other label", 10'000, -1);
  keeper::Entry again;
  while (again.header.serial != serial)
    again = std::get<keeper::Entry>(*run.next());
  CHECK(again.pid == first.pid);
  CHECK(std::string(again.label) == "pool");
  CHECK(run.list().size() == 1);
  run.link().release(key(1));  // it lives: not released
  CHECK(run.list().size() == 1);
}

TEST_CASE("a spec of up to 128 KiB is sent once; a label of 128 bytes comes back whole") {
  KeeperRun run;
  sys::SpawnSpec spec = run.worker({"sleep"});
  std::size_t fill = 100'000;
  const auto size = [&spec](std::size_t bytes) {
    spec.environment = {"A=" + std::string(bytes, 'x')};
    auto memory = sys::encode(spec);
    return memory ? lseek(memory->get(), 0, SEEK_END) : off_t{0};
  };
  fill += keeper::kMaxSpecBytes - static_cast<std::size_t>(size(fill));
  REQUIRE(size(fill) == keeper::kMaxSpecBytes);
  run.add_revision(1, spec);
  const std::string label(keeper::kLabelBytes, '\xfe');
  run.link().spawn(key(1), 1, label, 10'000, -1);
  run.link().spawn(key(2), 1, "", 10'000, -1);
  const keeper::Entry first = run.running(key(1));
  CHECK(std::string(first.label, sizeof first.label) == label);
  CHECK(run.running(key(2)).state == EntryState::running);
  CHECK(size(fill + 1) == 0);
}

TEST_CASE("a list is a walk to its end; what changes on the way is told again, higher") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  for (std::uint64_t i = 1; i <= 600; ++i)  // more than the socket takes at once
    spawn(run, i);
  for (std::uint64_t i = 1; i <= 600; ++i)
    run.running(key(i));
  std::map<std::uint64_t, std::uint64_t> change;
  const std::uint64_t serial = run.link().list();
  run.link().signal(key(1), SIGKILL, Scope::process);
  for (;;) {
    auto message = run.next();
    REQUIRE(message);
    if (const auto* entry = std::get_if<keeper::Entry>(&*message)) {
      CHECK(entry->change >= change[entry->key.incarnation]);
      change[entry->key.incarnation] = entry->change;
    }
    const auto* end = std::get_if<keeper::ListEnd>(&*message);
    if (end == nullptr) continue;
    CHECK(end->header.serial == serial);
    for (const auto& one : change)
      CHECK(one.second <= end->sequence);
    break;
  }
  CHECK(change.size() == 600);
  CHECK(run.exited(key(1)).change >= change[1]);
}

TEST_CASE("a signal names a key; group and count are exact, and survive the supervisor") {
  KeeperRun run;
  Pipe ready = make_pipe();
  sys::SpawnSpec spec = run.worker({"ignore", "5"});
  spec.descriptors = {{5, 0}};
  run.add_revision(1, spec, {ready.write.get()});
  sys::SpawnSpec family = run.worker({});
  family.executable = "/bin/sh";
  family.command = {"sh", "-c", "sleep 4321 & echo; wait"};
  family.environment = {"PATH=/usr/bin:/bin"};
  family.descriptors = {{1, 0}};
  Pipe alive = make_pipe();
  run.add_revision(2, family, {alive.write.get()});
  spawn(run, 1);
  spawn(run, 2, 2);
  run.running(key(1));
  run.running(key(2));
  char byte = 0;
  REQUIRE(read(ready.read.get(), &byte, 1) == 1);
  REQUIRE(read(alive.read.get(), &byte, 1) == 1);
  for (int i = 0; i < 3; ++i)
    CHECK(run.ack(run.link().signal(key(1), SIGTERM, Scope::process)) == 0);
  run.kill_role();
  run.accept_role();
  run.entries.clear();
  CHECK(run.list().size() == 2);
  CHECK(run.entries[1].first_sent.signal == SIGTERM);
  CHECK(run.entries[1].first_sent.times == 3);
  CHECK(run.entries[1].last_sent.times == 3);
  CHECK(run.ack(run.link().signal(key(1), SIGCONT, Scope::group)) == 0);
  CHECK(run.ack(run.link().signal(key(1), SIGKILL, Scope::group)) == 0);
  const keeper::Entry ended = run.exited(key(1));
  CHECK(ended.first_sent.times == 3);
  CHECK(ended.last_sent.signal == SIGKILL);
  CHECK(ended.last_sent.times == 1);
  CHECK(run.ack(run.link().forget(2)) == 0);
  alive.write.reset();
  CHECK(run.ack(run.link().signal(key(2), SIGKILL, Scope::group)) == 0);
  CHECK(read_all(alive.read.get()).empty());  // its child, too
  run.exited(key(2));
  CHECK(run.ack(run.link().signal(key(2), SIGKILL, Scope::group)) == ESRCH);
}

TEST_CASE("descriptors are held, replaced, handed out and dropped by name") {
  KeeperRun run;
  Pipe one = make_pipe(), two = make_pipe();
  CHECK(run.ack(run.link().hold("control", one.write.get())) == 0);
  CHECK(run.ack(run.link().hold("control", two.write.get())) == 0);
  CHECK(run.ack(run.link().hold("", two.write.get())) == EINVAL);
  one.write.reset();
  two.write.reset();
  CHECK(read_all(one.read.get()).empty());  // replaced, so closed by the keeper: EOF
  const std::uint64_t serial = run.link().fetch("control");
  auto message = run.next();
  REQUIRE(message);
  auto& held = std::get<sys::HeldDescriptor>(*message);
  CHECK(held.message.header.serial == serial);
  CHECK(held.message.error == 0);
  CHECK(std::string(held.message.name) == "control");
  REQUIRE(held.fd);
  CHECK(write(held.fd.get(), "x", 1) == 1);
  held.fd.reset();
  CHECK(run.ack(run.link().drop("control")) == 0);
  CHECK(run.ack(run.link().drop("control")) == ENOENT);
  CHECK(read_all(two.read.get()) == "x");
  run.link().fetch("control");
  message = run.next();
  CHECK(std::get<sys::HeldDescriptor>(*message).message.error == ENOENT);
}

TEST_CASE("a role's death starts the next epoch; processes, exits and held descriptors stay") {
  KeeperRun run;
  const Pipe pipe = make_pipe();
  CHECK(run.ack(run.link().hold("state", pipe.write.get())) == 0);
  run.add_revision(1, run.worker({"sleep"}));
  run.add_revision(2, run.worker({"exit", "42"}));
  spawn(run, 1);
  spawn(run, 2);
  const pid_t alive = run.running(key(1)).pid;
  spawn(run, 3, 2);
  run.exited(key(3));
  run.running(key(2));
  CHECK(run.ack(run.link().signal(key(2), SIGTERM, Scope::process)) == 0);
  run.exited(key(2));
  for (std::uint64_t epoch = 2; epoch <= 6; ++epoch) {
    run.kill_role();
    run.accept_role();
    run.entries.clear();
    CHECK(run.hello().epoch == epoch);
    CHECK(run.hello().entries == 3);
    CHECK(run.ack(run.link().spawn(key(9), 1, "", 1000, -1)) == EPROTO);  // before the list
    CHECK(run.ack(run.link().signal(key(1), SIGKILL, Scope::process)) == EPROTO);
    CHECK(run.list().size() == 3);
    CHECK(run.entries[1].state == EntryState::running);
    CHECK(run.entries[1].pid == alive);
    CHECK(WTERMSIG(run.entries[2].wait_status) == SIGTERM);
    CHECK(run.entries[2].last_sent.signal == SIGTERM);
    CHECK(WEXITSTATUS(run.entries[3].wait_status) == 42);
    run.link().fetch("state");
    auto held = run.next();
    CHECK(std::get<sys::HeldDescriptor>(*held).fd);
  }
}

TEST_CASE("exits of a time without supervisor are exact") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  for (std::uint64_t i = 1; i <= 20; ++i)
    spawn(run, i);
  for (std::uint64_t i = 1; i <= 20; ++i)
    run.running(key(i));
  run.kill_role();
  for (std::uint64_t i = 1; i <= 20; ++i)
    kill(run.entries[i].pid, static_cast<int>(40 + i));
  run.accept_role();
  run.entries.clear();
  run.list();
  for (std::uint64_t i = 1; i <= 20; ++i) {
    const keeper::Entry entry = run.exited(key(i));
    CHECK(entry.outcome == Outcome::program);
    CHECK(WTERMSIG(entry.wait_status) == static_cast<int>(40 + i));
  }
}

TEST_CASE("a role that does not read holds up nothing, and reads the last truth at the end") {
  KeeperRun run;
  run.add_revision(1, run.worker({"exit", "3"}));
  constexpr std::uint64_t kMany = 2500;  // their entries are more than the socket takes
  for (std::uint64_t i = 1; i <= kMany; ++i)
    spawn(run, i);
  (void)run.link().flush();
  // Not a message is read here until every process must long be gone.
  for (int i = 0; i < 200 && run.link().wants_write(); ++i) {
    usleep(10'000);
    (void)run.link().flush();
  }
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    const keeper::Entry entry = run.exited(key(i));
    REQUIRE(WEXITSTATUS(entry.wait_status) == 3);
    run.link().release(key(i));
  }
  CHECK(run.list().empty());
}

TEST_CASE("a refusal of the first supervisor is mtd's own exit code") {
  for (const int code : {2, 8, 9}) {
    Start start;
    start.accept = false;
    start.environment = {"KEEPER_TEST_EXIT=" + std::to_string(code)};
    KeeperRun run(std::move(start));
    const auto status = run.wait_exit();
    REQUIRE(status);
    CHECK(WIFEXITED(*status));
    CHECK(WEXITSTATUS(*status) == code);
  }
}

TEST_CASE("--version and its like are the supervisor's, executed in mtd's place") {
  for (const char* option : {"--version", "--check", "--help", "-h", "-V"}) {
    Start start;
    start.accept = false;
    start.arguments = {"config.json", option};
    start.environment = {"KEEPER_TEST_EXIT=55"};
    KeeperRun run(std::move(start));
    CHECK(WEXITSTATUS(run.wait_exit().value_or(0)) == 55);
  }
}

TEST_CASE("finish ends everything and gives the exit code") {
  KeeperRun run;
  run.add_revision(1, run.worker({"ignore"}));
  for (std::uint64_t i = 1; i <= 10; ++i)
    spawn(run, i);
  for (std::uint64_t i = 1; i <= 10; ++i)
    run.running(key(i));
  run.link().finish(17);
  run.end_role(0);
  const auto status = run.wait_exit();
  REQUIRE(status);
  CHECK(WIFEXITED(*status));
  CHECK(WEXITSTATUS(*status) == 17);
  for (std::uint64_t i = 1; i <= 10; ++i)
    CHECK(kill(run.entries[i].pid, 0) != 0);
}

TEST_CASE("the socket's last words count even when the role is dead before they are read") {
  KeeperRun run;
  kill(run.pid(), SIGSTOP);
  run.link().finish(5);
  run.kill_role();
  kill(run.pid(), SIGCONT);
  CHECK(WEXITSTATUS(run.wait_exit().value_or(0)) == 5);
}

TEST_CASE("signals to mtd reach the role with their sender, and do nothing else") {
  KeeperRun run;
  for (const int number : {SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGTTIN, SIGTTOU, SIGTERM, SIGINT}) {
    REQUIRE(kill(run.pid(), number) == 0);
    for (;;) {
      auto message = run.next();
      REQUIRE(message);
      if (std::holds_alternative<keeper::Ping>(*message)) continue;
      const auto& signal = std::get<keeper::DaemonSignal>(*message);
      CHECK(signal.signal == number);
      CHECK(signal.sender_pid == getpid());
      CHECK(signal.sender_uid == getuid());
      CHECK(signal.from_kernel == 0);
      break;
    }
  }
  for (const int number : {SIGPIPE, SIGALRM, SIGTSTP, SIGIO, SIGXFSZ, 34, 50, 64})
    kill(run.pid(), number);
  CHECK(run.list().empty());  // it is there, and answers
}

TEST_CASE("--ready-fd gets one newline, once in the keeper's life") {
  Pipe pipe = make_pipe();
  Start start;
  start.arguments = {"--ready-fd", "7", "config.json"};
  start.in_child = [&pipe] { dup2(pipe.write.get(), 7); };
  KeeperRun run(std::move(start));
  pipe.write.reset();
  run.link().ready();
  CHECK(read_all(pipe.read.get()) == "\n");
  run.link().ready();
  CHECK(run.list().empty());
}

TEST_CASE("a standard descriptor that was --ready-fd becomes nothing else afterwards") {
  for (const int number : {1, 2}) {
    Pipe pipe = make_pipe();
    Start start;
    start.arguments = {"--ready-fd", std::to_string(number), "config.json"};
    start.in_child = [&pipe, number] { dup2(pipe.write.get(), number); };
    KeeperRun run(std::move(start));
    run.link().ready();
    char byte = 0;
    CHECK(read(pipe.read.get(), &byte, 1) == 1);
    CHECK(byte == '\n');
    run.kill_role();
    run.accept_role();  // its socket would have taken the free number
    const std::string path = "/proc/" + std::to_string(run.pid()) + "/fd/" + std::to_string(number);
    char target[64] = {};
    CHECK(readlink(path.c_str(), target, sizeof target - 1) > 0);
    CHECK(std::string(target) == "/dev/null");
  }
}

}  // namespace
}  // namespace mtd::test
