// What workers get beside their revision: descriptors of their own, their pid in the environment;
// and what the service manager passed to mtd.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "common/spec_marker.h"
#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

using keeper::Outcome;

std::int32_t revision(KeeperRun& run, std::uint64_t id, const sys::SpawnSpec& spec,
                      const std::vector<int>& fds, std::uint32_t own) {
  const auto memory = sys::encode(spec);
  REQUIRE(memory);
  const auto size = static_cast<std::uint32_t>(lseek(memory->get(), 0, SEEK_END));
  return run.ack(run.link().revision(id, memory->get(), size, fds, own));
}

// The answer to a fetch: the descriptor, or none.
UniqueFd fetch(KeeperRun& run, const char* name) {
  const std::uint64_t serial = run.link().fetch(name);
  for (;;) {
    auto message = run.next();
    REQUIRE(message);
    auto* held = std::get_if<sys::HeldDescriptor>(&*message);
    if (held != nullptr && held->message.header.serial == serial) return std::move(held->fd);
  }
}

// mtd started as systemd would start it, with one socket; `pid` is a word of the shell.
Start activated(const Pipe& pipe, const std::string& pid) {
  Start start;
  start.prefix = {"/bin/sh", "-c",
                  "LISTEN_PID=" + pid + " LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" \"$@\""};
  start.in_child = [fd = pipe.write.get()] { dup2(fd, 3); };
  return start;
}

}  // namespace

TEST_CASE("descriptors that come with a spawn are that process's, beside those of its revision") {
  KeeperRun run;
  Pipe shared = make_pipe(), first = make_pipe(), second = make_pipe();
  sys::SpawnSpec spec = run.worker({"say", "4", "mine"});
  spec.descriptors = {{3, 0}, {4, 1}};
  REQUIRE(revision(run, 1, spec, {shared.write.get()}, 1) == 0);
  run.link().spawn(key(1), 1, "", 10'000, -1, {first.write.get()});
  run.link().spawn(key(2), 1, "", 10'000, -1, {second.write.get()});
  CHECK(WEXITSTATUS(run.exited(key(1)).wait_status) == 0);
  CHECK(WEXITSTATUS(run.exited(key(2)).wait_status) == 0);
  first.write.reset();
  second.write.reset();
  CHECK(read_all(first.read.get()) == "mine");  // and the keeper has kept none of them
  CHECK(read_all(second.read.get()) == "mine");
  run.link().forget(1);
  shared.write.reset();
  CHECK(read_all(shared.read.get()).empty());
}

TEST_CASE("a spawn with more or fewer descriptors than its revision asks for is refused") {
  KeeperRun run;
  const Pipe pipe = make_pipe();
  sys::SpawnSpec spec = run.worker({"exit", "0"});
  spec.descriptors = {{3, 0}};
  CHECK(revision(run, 1, spec, {}, 0) == EINVAL);
  CHECK(revision(run, 1, spec, {}, keeper::kMaxDescriptors + 1) == EINVAL);
  REQUIRE(revision(run, 1, spec, {}, 1) == 0);
  const int fd = pipe.write.get();
  CHECK(run.ack(run.link().spawn(key(1), 1, "", 10'000, -1)) == EINVAL);
  CHECK(run.ack(run.link().spawn(key(1), 1, "", 10'000, -1, {fd, fd})) == EINVAL);
  run.link().spawn(key(1), 1, "", 10'000, -1, {fd});
  CHECK(run.exited(key(1)).outcome == Outcome::program);
}

TEST_CASE("a worker finds its own pid in its environment") {
  KeeperRun run;
  Pipe pipe = make_pipe();
  sys::SpawnSpec spec = run.worker({"probe"});
  spec.descriptors = {{1, 0}};
  spec.environment = {std::string("LISTEN_PID=") + SpecMarker::kEscape + SpecMarker::kPid};
  REQUIRE(revision(run, 1, spec, {pipe.write.get()}, 0) == 0);
  run.link().spawn(key(1), 1, "", 10'000, -1);
  const keeper::Entry entry = run.exited(key(1));
  run.link().forget(1);
  pipe.write.reset();
  const std::string told = read_all(pipe.read.get());
  CHECK(told.find("env LISTEN_PID=" + std::to_string(entry.pid) + "\n") != std::string::npos);
}

TEST_CASE("sockets of the service manager are held for every life of the role") {
  Pipe pipe = make_pipe();
  KeeperRun run(activated(pipe, "$$"));
  for (int life = 0; life < 2; ++life) {
    const UniqueFd fd = fetch(run, "systemd:0");
    REQUIRE(fd);
    CHECK(write(fd.get(), "x", 1) == 1);
    CHECK_FALSE(fetch(run, "systemd:1"));
    if (life == 0) run.kill_role(), run.accept_role();
  }
  char bytes[4] = {};
  CHECK(read(pipe.read.get(), bytes, sizeof bytes) == 2);
}

TEST_CASE("sockets that were meant for another process are closed") {
  Pipe pipe = make_pipe();
  KeeperRun run(activated(pipe, "1"));
  CHECK_FALSE(fetch(run, "systemd:0"));
  pipe.write.reset();
  CHECK(read_all(pipe.read.get()).empty());
}

}  // namespace mtd::test
