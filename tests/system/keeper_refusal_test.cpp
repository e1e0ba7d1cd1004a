// Requests that are none, come in pieces, or find no room: refused, each with its errno, and
// without harm.
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

TEST_CASE("what cannot be is refused, with a reason") {
  KeeperRun run;
  CHECK(run.ack(run.link().spawn(key(1), 99, "", 1000, -1)) == ENOENT);
  run.add_revision(1, run.worker({"sleep"}));
  CHECK(run.ack(run.link().spawn(key(1), 1, "", 0, -1)) == EINVAL);
  CHECK(run.ack(run.link().spawn(key(1), 1, "", 600'001, -1)) == EINVAL);
  CHECK(run.ack(run.link().signal(key(1), SIGTERM, Scope::process)) == ESRCH);
  run.link().spawn(key(1), 1, "pool", 10'000, -1);
  run.running(key(1));
  CHECK(run.ack(run.link().signal(key(1), 0, Scope::process)) == EINVAL);
  CHECK(run.ack(run.link().signal(key(1), 65, Scope::process)) == EINVAL);
  CHECK(run.ack(run.link().signal(key(1), 9, static_cast<Scope>(7))) == EINVAL);
  CHECK(run.ack(run.link().forget(2)) == ENOENT);
  CHECK(run.ack(run.link().forget(1)) == 0);
  CHECK(run.ack(run.link().spawn(key(2), 1, "", 1000, -1)) == ENOENT);
  CHECK(run.list().size() == 1);
}

// How many there may be: keeper_table_test, for so many need more descriptors than a test may have.
TEST_CASE("descriptors are held, dropped and held again, and revisions have a limit") {
  KeeperRun run;
  const Pipe pipe = make_pipe();
  constexpr int kHeld = 500;
  const auto name = [](int i) { return "name" + std::to_string(i); };
  for (const int step : {1, 7, 3}) {
    for (int i = 0; i < kHeld; i += step)
      REQUIRE(run.ack(run.link().hold(name(i), pipe.read.get())) == 0);
    CHECK(run.ack(run.link().hold(name(0), pipe.read.get())) == 0);
    for (int i = 0; i < kHeld; i += step)
      REQUIRE(run.ack(run.link().drop(name(i))) == 0);
    for (int i = 0; i < kHeld; i += 50)
      CHECK(run.ack(run.link().drop(name(i))) == ENOENT);
  }
  auto memory = sys::encode(run.worker({"sleep"}));
  const auto bytes = static_cast<std::uint32_t>(lseek(memory->get(), 0, SEEK_END));
  for (std::uint64_t id = 1; id <= keeper::kMaxRevisions; ++id) {
    REQUIRE(run.ack(run.link().revision(id, memory->get(), bytes, {})) == 0);
  }
  CHECK(run.ack(run.link().revision(5000, memory->get(), bytes, {})) == ENOSPC);
  CHECK(run.ack(run.link().revision(3, memory->get(), bytes, {})) == 0);  // the same one again
  run.kill_role();
  run.accept_role();  // the next life takes the place of what the earlier one left
  CHECK(run.ack(run.link().revision(5000, memory->get(), bytes, {})) == 0);
}

// Sends raw bytes, with descriptors, past KeeperLink.
void send_raw(KeeperRun& run, const void* bytes, std::size_t size,
              const std::vector<int>& fds = {}) {
  iovec part{const_cast<void*>(bytes), size};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)) + CMSG_SPACE(0));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
  }
  REQUIRE(sendmsg(run.link().fd(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(size));
}

TEST_CASE("garbled, short and oversize requests are refused and harm nothing") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "pool", 10'000, -1);
  const pid_t worker = run.running(key(1)).pid;
  CHECK(run.list().size() == 1);
  const std::size_t before = open_descriptors(run.pid());
  const auto refused = [&run] {
    for (;;) {
      auto message = run.next();
      REQUIRE(message);
      if (const auto* ack = std::get_if<keeper::Ack>(&*message)) return ack->error;
    }
  };
  char zeros[100'000] = {};
  send_raw(run, zeros, 1);
  CHECK(refused() == EINVAL);
  send_raw(run, zeros, sizeof(keeper::Header));
  CHECK(refused() == EPROTO);
  send_raw(run, zeros, sizeof zeros);
  CHECK(refused() == EMSGSIZE);
  for (int type = 0; type < 130; ++type) {
    keeper::Header header;
    header.type = static_cast<keeper::Type>(type);
    header.size = sizeof header;
    header.serial = 5;
    if (header.type == keeper::Type::list || header.type == keeper::Type::ready ||
        header.type == keeper::Type::pong || header.type == keeper::Type::snapshot) {
      continue;
    }
    send_raw(run, &header, sizeof header);
    const int error = refused();
    CHECK((error == EINVAL || error == ENOSYS));
  }
  keeper::Hold hold;
  hold.header.type = keeper::Type::hold;
  hold.header.size = sizeof hold;
  std::memset(hold.name, 'a', sizeof hold.name);  // without an end
  send_raw(run, &hold, sizeof hold, {0});
  CHECK(refused() == EINVAL);
  hold.name[1] = '\0';
  send_raw(run, &hold, sizeof hold);  // without its descriptor
  CHECK(refused() == EINVAL);
  send_raw(run, &hold, sizeof hold, std::vector<int>(253, 0));
  CHECK(refused() == EINVAL);
  keeper::Revision revision;
  revision.header.type = keeper::Type::revision;
  revision.header.size = sizeof revision;
  revision.id = 2;
  revision.spec_bytes = 100;
  send_raw(run, &revision, sizeof revision, {0});  // not a sealed memfd
  CHECK(refused() == EINVAL);
  revision.spec_bytes = keeper::kMaxSpecBytes + 1;
  send_raw(run, &revision, sizeof revision, {0});
  CHECK(refused() == EMSGSIZE);
  auto memory = sys::encode(run.worker({"sleep"}));
  revision.spec_bytes = static_cast<std::uint32_t>(lseek(memory->get(), 0, SEEK_END));
  revision.descriptors = 3;
  send_raw(run, &revision, sizeof revision, {memory->get()});  // three are said to come, none comes
  CHECK(refused() == EINVAL);
  revision.descriptors = 0;
  revision.spec_bytes -= 1;
  send_raw(run, &revision, sizeof revision, {memory->get()});
  CHECK(refused() == EINVAL);
  CHECK(run.list().size() == 1);
  CHECK(open_descriptors(run.pid()) == before);
  CHECK(kill(worker, 0) == 0);
}

TEST_CASE("a full table refuses the next process, and takes it again once there is room") {
  Start start;
  start.prefix = {"prlimit", "--nofile=349:349"};  // the reserve, and 32
  KeeperRun run(std::move(start));
  const std::uint64_t room = run.hello().capacity;
  REQUIRE(room == 32);
  run.add_revision(1, run.worker({"exit", "0"}));
  for (std::uint64_t i = 1; i <= room; ++i)
    CHECK(WEXITSTATUS(
              (run.link().spawn(key(i), 1, "", 30'000, -1), run.exited(key(i))).wait_status) == 0);
  for (std::uint64_t i = 1; i <= 3; ++i)
    CHECK(run.ack(run.link().spawn(key(room + i), 1, "", 30'000, -1)) == ENOSPC);
  CHECK(run.list().size() == room);
  run.link().release(key(7));
  run.link().spawn(key(room + 1), 1, "", 30'000, -1);
  CHECK(WEXITSTATUS(run.exited(key(room + 1)).wait_status) == 0);
  CHECK(run.list().size() == room);
}

TEST_CASE("what a dead role still wanted is done whole or not at all, and the list says which") {
  KeeperRun run;
  run.add_revision(1, run.worker({"sleep"}));
  CHECK(run.list().empty());
  const pid_t role = run.role().pid;
  kill(run.pid(), SIGSTOP);
  for (std::uint64_t i = 1; i <= 20; ++i)
    run.link().spawn(key(i), 1, "", 10'000, -1);
  kill(role, SIGKILL);
  while (proc(role, "stat").find(") Z ") == std::string::npos)
    usleep(1000);
  kill(run.pid(), SIGCONT);
  run.accept_role();
  CHECK(run.hello().epoch == 2);
  const std::size_t done = run.hello().entries;
  CHECK(run.list().size() == done);
  for (std::uint64_t i = 1; i <= 20; ++i) {
    const bool listed = run.entries.count(i) == 1;
    run.link().spawn(key(i), 1, "", 10'000, -1);
    const pid_t before = listed ? run.entries[i].pid : 0;
    CHECK(run.running(key(i)).executed == 1);
    if (listed) CHECK(run.entries[i].pid == before);
  }
  CHECK(run.list().size() == 20);
}

TEST_CASE("a message without bytes is the end of a conversation, never a request") {
  KeeperRun run;
  REQUIRE(send(run.link().fd(), "", 0, MSG_NOSIGNAL) == 0);
  run.accept_role();
  CHECK(run.hello().epoch == 2);
  CHECK(run.list().empty());
}

TEST_CASE("a link whose keeper is gone says so when it is flushed, with the errno") {
  int ends[2] = {-1, -1};
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  UniqueFd keeper_end(ends[1]);
  sys::KeeperLink link{UniqueFd(ends[0])};
  while (!link.wants_write())
    link.release(key(1));
  CHECK(link.flush());  // full, but there
  keeper_end.reset();
  const auto flushed = link.flush();
  REQUIRE_FALSE(flushed);
  CHECK((flushed.error().errno_value == EPIPE || flushed.error().errno_value == ECONNRESET));
  CHECK_FALSE(link.receive());
}

}  // namespace
}  // namespace mtd::test
