// The kernel seam of the supervisor against the real kernel: loop, helper processes, runtime
// directory.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "daemon/sys/cgroup_paths.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/helper_process.h"
#include "daemon/sys/journal_stream.h"
#include "daemon/sys/memfd.h"
#include "daemon/sys/memory_pressure.h"
#include "daemon/sys/proc.h"
#include "daemon/sys/proc_scan.h"
#include "daemon/sys/runtime_dir.h"
#include "tests/support/temporary_directory.h"

using namespace mtd;
using namespace mtd::sys;

namespace {

EventLoop make_loop() {
  auto loop = EventLoop::create();
  REQUIRE(loop);
  return std::move(*loop);
}

Result<std::string> run_helper(Duration deadline, HelperProcess::Work work) {
  EventLoop loop = make_loop();
  Result<std::string> answer = Error{"no answer"};
  auto helper =
      HelperProcess::start(loop, deadline, std::move(work), [&](Result<std::string> result) {
        answer = std::move(result);
        loop.stop(0);
      });
  REQUIRE(helper);
  REQUIRE(loop.run());
  return answer;
}

}  // namespace

TEST_CASE("the more urgent of two ready descriptors goes first") {
  EventLoop loop = make_loop();
  std::array<int, 2> late{}, early{};
  REQUIRE(::pipe2(late.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(early.data(), O_CLOEXEC) == 0);
  std::string order;
  auto client = loop.watch(late[0], EPOLLIN, Priority::client, [&](std::uint32_t) {
    order += 'c';
    loop.stop(7);
  });
  EventLoop::Watch keeper;
  auto made = loop.watch(early[0], EPOLLIN, Priority::keeper, [&](std::uint32_t) {
    order += 'k';
    keeper = {};  // a handler may destroy its own handle
  });
  REQUIRE(client);
  REQUIRE(made);
  keeper = std::move(*made);
  REQUIRE(::write(late[1], "x", 1) == 1);
  REQUIRE(::write(early[1], "x", 1) == 1);
  const auto code = loop.run();
  REQUIRE(code);
  CHECK(*code == 7);
  CHECK(order == "kc");
  for (const int fd : {late[0], late[1], early[0], early[1]})
    ::close(fd);
}

TEST_CASE("a timer fires once, not before its time, and at once when that is past") {
  EventLoop loop = make_loop();
  int fired = 0;
  auto timer = loop.timer(Priority::normal, [&] { ++fired; });
  REQUIRE(timer);
  const Instant due = now() + Duration::milliseconds(5);
  timer->arm(due);
  CHECK(timer->deadline() == due);
  while (fired == 0)
    REQUIRE(loop.turn(Duration::seconds(5)));
  CHECK(now() >= due);
  CHECK(timer->deadline().is_never());
  timer->arm(Instant::at_ns(1));
  while (fired == 1)
    REQUIRE(loop.turn(Duration::seconds(5)));
  timer->arm(now() + Duration::seconds(100));
  timer->disarm();
  const auto idle = loop.turn(Duration());
  REQUIRE(idle);
  CHECK_FALSE(*idle);
  CHECK(fired == 2);
}

TEST_CASE(
    "a timer that the kernel refuses for want of a descriptor is made later, and keeps its time") {
  EventLoop loop = make_loop();
  int fired = 0, dropped = 0;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto timer = loop.timer(Priority::normal, [&] { ++fired; });
  auto other = loop.timer(Priority::normal, [&] { ++dropped; });
  const auto turned = loop.turn(Duration());
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE(timer);
  REQUIRE(other);
  REQUIRE(turned);
  timer->arm(Instant::at_ns(1));
  other->arm(Instant::at_ns(1));
  *other = {};
  for (int turn = 0; turn < 100 && fired == 0; ++turn)
    REQUIRE(loop.turn(Duration::seconds(5)));
  CHECK(fired == 1);
  CHECK(dropped == 0);
  const auto idle = loop.turn(Duration());
  REQUIRE(idle);
  CHECK_FALSE(*idle);
}

TEST_CASE("posted functions run once, in order, and may post") {
  EventLoop loop = make_loop();
  std::string order;
  loop.post(Priority::idle, [&] { loop.stop(0); });
  loop.post(Priority::normal, [&] {
    order += 'a';
    loop.post(Priority::normal, [&] { order += 'c'; });
  });
  loop.post(Priority::normal, [&] { order += 'b'; });
  int turns = 0;
  loop.after_turn([&] { ++turns; });
  REQUIRE(loop.run());
  CHECK(order == "abc");
  CHECK(turns == 4);
}

TEST_CASE("a helper's text comes back; a death, an exit code and a deadline are told") {
  const auto text = run_helper(Duration::seconds(20), [] { return std::string(300'000, 'x'); });
  REQUIRE(text);
  CHECK(text->size() == 300'000);
  const auto killed = run_helper(Duration::seconds(20), []() -> std::string {
    ::raise(SIGKILL);
    return {};
  });
  REQUIRE_FALSE(killed);
  CHECK(killed.error().message.find("signal 9") != std::string::npos);
  const auto stuck = run_helper(Duration::milliseconds(50), []() -> std::string {
    for (;;)
      ::pause();
  });
  REQUIRE_FALSE(stuck);
  CHECK(stuck.error().message.find("within 50ms") != std::string::npos);
}

TEST_CASE("a helper that is dropped is killed and tells nothing") {
  EventLoop loop = make_loop();
  bool told = false;
  {
    auto helper = HelperProcess::start(
        loop, Duration::seconds(20),
        []() -> std::string {
          for (;;)
            ::pause();
        },
        [&](const Result<std::string>&) { told = true; });
    REQUIRE(helper);
  }
  REQUIRE(loop.turn(Duration()));
  CHECK_FALSE(told);
}

TEST_CASE("a sealed memory file cannot be changed") {
  const auto file = make_sealed_memfd("test", "content");
  REQUIRE(file);
  CHECK(*read_memfd(file->get(), 100) == "content");
  CHECK_FALSE(read_memfd(file->get(), 3));
  CHECK_FALSE(write_at(file->get(), 0, "x"));
}

TEST_CASE("the runtime directory: made, checked, locked once") {
  const test::TemporaryDirectory temporary;
  const std::string run = temporary.path + "/run";
  const auto directory = open_runtime_dir(run);
  REQUIRE(directory);
  CHECK(path_of(directory->get(), "?") == run);
  auto first = take_lock(directory->get(), ::getpid(), 0xabc);
  REQUIRE(first);
  REQUIRE(std::holds_alternative<OwnerLock>(*first));
  CHECK(std::get<OwnerLock>(*first).former.empty());
  const auto second = take_lock(directory->get(), 1, 0xdef);
  REQUIRE(second);
  REQUIRE(std::holds_alternative<LockHeld>(*second));
  CHECK(std::get<LockHeld>(*second).owner == ::getpid());
  CHECK(std::get<LockHeld>(*second).alive);
  struct stat info {};
  REQUIRE(::stat((run + "/lock").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777U) == 0600);
  ::unlink((run + "/lock").c_str());
  REQUIRE(::chmod(run.c_str(), 0777) == 0);
  CHECK_FALSE(open_runtime_dir(run));
  REQUIRE(::symlink(run.c_str(), (temporary.path + "/link").c_str()) == 0);
  CHECK_FALSE(open_runtime_dir(temporary.path + "/link"));
}

TEST_CASE("the lock names former owners until nothing is left of them") {
  const test::TemporaryDirectory temporary;
  const auto directory = open_runtime_dir(temporary.path + "/run");
  REQUIRE(directory);
  const auto take = [&](std::uint64_t instance) {
    auto lock = take_lock(directory->get(), ::getpid(), instance);
    REQUIRE(lock);
    REQUIRE(std::holds_alternative<OwnerLock>(*lock));
    return std::move(std::get<OwnerLock>(*lock));
  };
  CHECK(take(1).former.empty());
  CHECK(take(2).former == std::vector<std::uint64_t>{1});
  for (std::uint64_t instance = 3; instance < 40; ++instance)
    CHECK(take(instance).former.size() == std::min<std::uint64_t>(instance - 1, 16));
  {
    const auto lock = take(40);
    CHECK(lock.former.front() == 39);
    CHECK(lock.former.back() == 24);
    CHECK(former_owners(lock.fd.get(), 40) == lock.former);
    forget_former_owners(lock.fd.get(), ::getpid(), 40);
  }
  {
    const auto lock = take(41);
    CHECK(lock.former == std::vector<std::uint64_t>{40});
    forget_owner(lock.fd.get());
  }
  {
    const auto lock = take(42);
    CHECK(lock.former.empty());
    const std::string odd = "pid\n00000000000000a1\nxyz\n\n00000000000000a\n00000000000000A2\n" +
                            std::string(2000, '0');
    REQUIRE(::pwrite(lock.fd.get(), odd.data(), odd.size(), 0) > 0);
  }
  CHECK(take(43).former == std::vector<std::uint64_t>{0xa1, 0xa2});
  ::unlink((temporary.path + "/run/lock").c_str());
}

TEST_CASE(
    "sockets: modes by umask, stale ones replaced, other files left alone, long paths explained") {
  const test::TemporaryDirectory temporary;
  const mode_t before = ::umask(077);
  {
    const auto notify = bind_socket(temporary.path + "/notify", SocketKind::datagram, 0666);
    const auto control =
        bind_socket(temporary.path + "/control", SocketKind::stream_listener, 0600);
    REQUIRE(notify);
    REQUIRE(control);
    for (const char* name : {"/notify", "/control"}) {
      const auto kind = name[1] == 'n' ? SocketKind::datagram : SocketKind::stream_listener;
      const auto rival = bind_socket(temporary.path + name, kind, 0600);
      REQUIRE_FALSE(rival);
      CHECK(rival.error().errno_value == EADDRINUSE);
    }
  }
  CHECK(::umask(before) == 077);
  struct stat info {};
  REQUIRE(::stat((temporary.path + "/notify").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777U) == 0666);
  REQUIRE(::stat((temporary.path + "/control").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777U) == 0600);
  CHECK(bind_socket(temporary.path + "/control", SocketKind::stream_listener, 0600));

  const UniqueFd file(
      ::open((temporary.path + "/file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  const auto refused = bind_socket(temporary.path + "/file", SocketKind::datagram, 0600);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("not a socket") != std::string::npos);
  REQUIRE(::symlink("/etc/passwd", (temporary.path + "/link").c_str()) == 0);
  CHECK_FALSE(bind_socket(temporary.path + "/link", SocketKind::datagram, 0600));
  const auto long_path = bind_socket("/tmp/" + std::string(120, 'x'), SocketKind::datagram, 0600);
  REQUIRE_FALSE(long_path);
  CHECK(long_path.error().message.find("107") != std::string::npos);
}

TEST_CASE("the own place in the cgroup hierarchy") {
  const char* hybrid =
      "24 1 0:20 / /sys rw - sysfs sysfs rw\n"
      "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "31 24 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
  auto place = find_cgroup_place(hybrid, "4:memory:/x\n0::/a/b\n");
  REQUIRE(place);
  CHECK(place->directory == "/sys/fs/cgroup/unified/a/b");
  CHECK(place->hierarchy == "/a/b");
  place = find_cgroup_place(hybrid, "0::/\n");
  REQUIRE(place);
  CHECK(place->directory == "/sys/fs/cgroup/unified");
  CHECK(place->hierarchy.empty());
  // A container's mount shows only the part below its root; blanks are escaped.
  place = find_cgroup_place("40 1 0:27 /box /mnt/c\\040g rw - cgroup2 none rw\n", "0::/box/in\n");
  REQUIRE(place);
  CHECK(place->directory == "/mnt/c g/in");
  CHECK_FALSE(find_cgroup_place("40 1 0:27 /box /c rw - cgroup2 none rw\n", "0::/boxer\n"));
  CHECK_FALSE(find_cgroup_place("", "0::/\n"));
  CHECK_FALSE(find_cgroup_place(hybrid, "4:memory:/\n"));
  CHECK_FALSE(find_cgroup_place(hybrid, "0::/../other\n"));

  const auto worker = parse_worker_cgroup("/own", "/own/pools/web/3.17/sub");
  REQUIRE(worker);
  CHECK(worker->pool == "web");
  CHECK(worker->slot == 3);
  CHECK(worker->incarnation == 17);
  CHECK(parse_worker_cgroup("", "/pools/_cgroup.x/0.1")->pool == "cgroup.x");
  for (const char* other :
       {"/own/mtd", "/own/pools", "/own/pools/web", "/own/pools/web/3", "/own/pools/web/3.x",
        "/own/pools/web/3.1x", "/other/pools/web/3.1", "", "/own/pools//"}) {
    CHECK_FALSE(parse_worker_cgroup("/own", other));
  }
}

TEST_CASE("processes are found by tag and killed, and only those") {
  const std::string tag = "sys-test-" + std::to_string(::getpid());
  const auto start = [&](const std::string& mine) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execle("/bin/sleep", "sleep", "600", nullptr,
               std::array<const char*, 2>{mine.c_str(), nullptr}.data());
      ::_exit(127);
    }
    return child;
  };
  const std::string wanted = "MTD_TAG=" + tag + "/web/0/1", other = "MTD_TAG=" + tag + "/web/0/2";
  const pid_t first = start(wanted), second = start(other);
  std::vector<TaggedProcess> found;
  while (found.size() < 2)
    found = decode_tagged(encode(scan_tagged(tag + "/")));
  CHECK(found.size() == 2);
  CHECK(found[0].comm == "sleep");
  const auto killed = kill_tagged({tag + "/web/0/1"});
  REQUIRE(killed.size() == 1);
  CHECK(killed[0].pid == first);
  int status = 0;
  REQUIRE(::waitpid(first, &status, 0) == first);
  CHECK(WIFSIGNALED(status));
  CHECK(scan_tagged(tag + "/").size() == 1);
  CHECK(parent_of(second) == ::getpid());
  REQUIRE(::kill(second, SIGKILL) == 0);
  REQUIRE(::waitpid(second, &status, 0) == second);
}

TEST_CASE("all of a life are ended, whatever their slot; others and the caller's line live") {
  const std::string life = "sys-life-" + std::to_string(::getpid());
  const auto start = [](const std::string& tag) {
    const pid_t child = ::fork();
    if (child == 0) {
      const std::string entry = "MTD_TAG=" + tag;
      ::execle("/bin/sleep", "sleep", "600", nullptr,
               std::array<const char*, 2>{entry.c_str(), nullptr}.data());
      ::_exit(127);
    }
    return child;
  };
  const std::array<pid_t, 3> ours{start(life + "/web/0/1"), start(life + "/web/1/1"),
                                  start(life + "/job/0/9")};
  const std::array<pid_t, 2> others{start(life + "0/web/0/1"), start("x" + life + "/web/0/1")};
  while (scan_tagged(life).size() < 4 || scan_tagged("x" + life).empty()) {
  }
  const EndedTagged ended = end_tagged({life + "/"}, Duration::seconds(20));
  CHECK(ended.killed.size() == 3);
  CHECK(ended.living.empty());
  for (const pid_t pid : ours) {
    int status = 0;
    CHECK(::waitpid(pid, &status, WNOHANG) == pid);  // ended before the answer
    CHECK(WIFSIGNALED(status));
  }
  for (const pid_t pid : others) {
    CHECK(::waitpid(pid, nullptr, WNOHANG) == 0);
    CHECK(::kill(pid, SIGKILL) == 0);
    CHECK(::waitpid(pid, nullptr, 0) == pid);
  }
}

TEST_CASE("a journal that hangs holds up nobody") {
  test::TemporaryDirectory directory;
  const std::string path = directory.path + "/control";
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  CHECK(!open_journal_stream("web", path.c_str()));
  REQUIRE(::bind(listener.get(), name, sizeof address) == 0);
  REQUIRE(::listen(listener.get(), 0) == 0);

  const auto first = open_journal_stream("web", path.c_str());
  REQUIRE(first);
  CHECK((::fcntl(first->get(), F_GETFL) & O_NONBLOCK) == 0);
  REQUIRE(::write(first->get(), "line\n", 5) == 5);
  const auto second = open_journal_stream("web", path.c_str());  // nobody has accepted the first
  REQUIRE(!second);
  CHECK(second.error().message.find("takes no more streams") != std::string::npos);

  const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::array<char, 64> got{};
  const ssize_t size = ::recv(accepted.get(), got.data(), got.size(), 0);
  REQUIRE(size > 0);
  CHECK(std::string(got.data(), static_cast<std::size_t>(size)) == "web\n\n6\n1\n0\n0\n0\nline\n");
  CHECK(open_journal_stream("web", path.c_str()));
}

TEST_CASE("pressure: of some processes, over ten seconds") {
  const auto told = sys::parse_pressure(
      "some avg10=12.50 avg60=3.00 avg300=0.04 total=1334489\nfull avg10=0.00 avg60=0.00\n");
  REQUIRE(told.has_value());
  CHECK(*told == 12.5);
  CHECK_FALSE(sys::parse_pressure("").has_value());
  CHECK_FALSE(sys::parse_pressure("full avg10=1.00").has_value());
  CHECK_FALSE(sys::parse_pressure("some avg10=").has_value());
}
