// The keeper short of everything: descriptors, memory, a kernel that refuses. Whatever is refused
// is refused to one request; mtd, its own state, and the other processes stay as they are.
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

TEST_CASE("a descriptor that did not arrive is EMFILE, never a process with a part") {
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

TEST_CASE("any call that the kernel refuses once, early or late, does no lasting harm") {
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

TEST_CASE("what the keeper ends because it cannot watch it has not started, however far it came") {
  if (!has_strace() || kSanitized) {
    MESSAGE("skipped: strace is not installed, or the keeper is built with sanitizers");
    return;
  }
  // The refusal comes late: meanwhile the program has long been executed.
  Start start;
  start.prefix = {"strace",
                  "-D",
                  "-qq",
                  "-o",
                  "/dev/null",
                  "-e",
                  "trace=epoll_ctl",
                  "-e",
                  "inject=epoll_ctl:error=ENOSPC:delay_exit=300000:when=3"};
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 60'000, -1);
  const keeper::Entry unwatched = run.exited(key(1));
  CHECK(unwatched.outcome == Outcome::setup_failed);
  CHECK(unwatched.error == ENOSPC);
  CHECK(unwatched.executed == 0);
  run.link().spawn(key(2), 1, "", 60'000, -1);
  CHECK(run.running(key(2)).state == EntryState::running);
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
