// The keeper and the service manager: who speaks, and a watchdog that never costs a worker.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <ctime>

#include "tests/system/keeper_harness.h"

namespace mtd::test {
namespace {

// A service manager's end of NOTIFY_SOCKET.
class Manager {
 public:
  explicit Manager(std::string name) : name_(std::move(name)) {
    socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name_.data(), name_.size());
    if (name_[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
    const int on = 1;
    setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    setsockopt(socket_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    REQUIRE(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  }
  ~Manager() {
    if (name_[0] != '@') unlink(name_.c_str());
  }
  std::string next() {
    pollfd one{socket_.get(), POLLIN, 0};
    if (poll(&one, 1, 20'000) <= 0) return "nothing came";
    char text[2048] = {};
    iovec part{text, sizeof text};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(timespec))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t size = recvmsg(socket_.get(), &message, 0);
    for (cmsghdr* one_of = CMSG_FIRSTHDR(&message); one_of != nullptr;
         one_of = CMSG_NXTHDR(&message, one_of)) {
      if (one_of->cmsg_level != SOL_SOCKET) continue;
      if (one_of->cmsg_type == SCM_CREDENTIALS) {
        ucred sender{};
        std::memcpy(&sender, CMSG_DATA(one_of), sizeof sender);
        sender_ = sender.pid;
      } else if (one_of->cmsg_type == SCM_TIMESTAMPNS) {
        timespec sent{};
        std::memcpy(&sent, CMSG_DATA(one_of), sizeof sent);
        sent_ms_ = std::int64_t{sent.tv_sec} * 1000 + sent.tv_nsec / 1'000'000;
      }
    }
    return std::string(text, static_cast<std::size_t>(size > 0 ? size : 0));
  }
  // The next message that is no sign of life.
  std::string next_word() {
    std::string text = next();
    while (text == "WATCHDOG=1")
      text = next();
    return text;
  }
  [[nodiscard]] pid_t sender() const { return sender_; }
  [[nodiscard]] std::int64_t sent_ms() const { return sent_ms_; }  // of the last one, by the kernel

 private:
  std::string name_;
  UniqueFd socket_;
  pid_t sender_ = 0;
  std::int64_t sent_ms_ = 0;
};

std::string own_name() {
  return "@mtd-keeper-notify-" + std::to_string(getpid());
}

TEST_CASE("the service manager hears of READY, texts and the watchdog from the keeper itself") {
  const std::string file = "/tmp/mtd-keeper-notify-" + std::to_string(getpid());
  for (const std::string& name : {file, own_name()}) {
    Manager manager(name);
    Start start;
    start.environment = {"NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=400000"};
    KeeperRun run(std::move(start));
    CHECK(run.hello().under_service_manager == 1);
    CHECK(run.hello().watchdog_usec == 400'000);
    run.link().notify("STATUS=Starting");
    CHECK(manager.next_word() == "STATUS=Starting");
    CHECK(manager.sender() == run.pid());
    run.link().ready();
    CHECK(manager.next_word() == "READY=1");
    for (;;) {  // half-time: the keeper asks whether the supervisor answers
      auto message = run.next();
      REQUIRE(message);
      if (std::holds_alternative<keeper::Ping>(*message)) break;
    }
    run.kill_role();
    run.accept_role();
    const std::string text = manager.next_word();
    CHECK(text.find("was killed by SIGKILL") != std::string::npos);
    CHECK(text.find("all workers run on") != std::string::npos);
    CHECK(manager.next() == "WATCHDOG=1");  // fed although the new one is not ready yet
    CHECK(manager.sender() == run.pid());
  }
}

TEST_CASE("the watchdog is fed in time while the supervisor hangs, is ended and is replaced") {
  constexpr std::int64_t kWatchdogMs = 2'000;
  Manager manager(own_name());
  Start start;
  start.quick = true;
  start.environment = {"NOTIFY_SOCKET=" + own_name(),
                       "WATCHDOG_USEC=" + std::to_string(kWatchdogMs * 1000)};
  KeeperRun run(std::move(start));
  run.add_revision(1, run.worker({"sleep"}));
  run.link().spawn(key(1), 1, "", 10'000, -1);
  const pid_t worker = run.running(key(1)).pid;
  run.link().ready();
  CHECK(manager.next_word() == "READY=1");
  kill(run.role().pid, SIGSTOP);
  std::int64_t last = manager.sent_ms(), longest = 0;
  bool told = false, ended = false;
  while (!ended) {
    const std::string text = manager.next();
    REQUIRE(text != "nothing came");
    told = told || text.rfind("STATUS=The supervisor does not answer", 0) == 0;
    ended = text.find("did not answer and was ended by SIGKILL") != std::string::npos;
    if (text != "WATCHDOG=1") continue;
    longest = std::max(longest, manager.sent_ms() - last);
    last = manager.sent_ms();
  }
  CHECK(told);
  CHECK(longest < kWatchdogMs);
  run.accept_role();
  CHECK(run.hello().epoch == 2);
  CHECK(kill(worker, 0) == 0);
}

TEST_CASE("the watchdog is fed in time though the supervisor dies again and again") {
  constexpr std::int64_t kWatchdogMs = 1'000;
  Manager manager(own_name());
  Start start;
  start.environment = {"NOTIFY_SOCKET=" + own_name(),
                       "WATCHDOG_USEC=" + std::to_string(kWatchdogMs * 1000)};
  KeeperRun run(std::move(start));
  run.link().ready();
  CHECK(manager.next_word() == "READY=1");
  // From now on each ends at once: the pauses grow.
  REQUIRE(unlink((run.directory() + "/test.sock").c_str()) == 0);  // it ends with 98 then
  std::int64_t last = manager.sent_ms(), longest = 0;
  run.kill_role();
  int deaths = 0;
  std::string words;
  for (int fed = 0; fed < 8;) {
    const std::string text = manager.next();
    REQUIRE(text != "nothing came");
    deaths += text.rfind("STATUS=the supervisor", 0) == 0 ? 1 : 0;
    if (text != "WATCHDOG=1") words = text;
    if (text != "WATCHDOG=1") continue;
    ++fed;
    longest = std::max(longest, manager.sent_ms() - last);
    last = manager.sent_ms();
  }
  CHECK(deaths > 60);
  CHECK(words.find("code 98") != std::string::npos);
  CHECK(longest < kWatchdogMs);
  CHECK_FALSE(gone(run.pid()));
}

}  // namespace
}  // namespace mtd::test
