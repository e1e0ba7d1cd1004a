// Selectors, notifications and their senders, and the words of the control interface.
#include <doctest/doctest.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <set>

#include "common/control_methods.h"
#include "config/system_calls.h"
#include "daemon/supervisor/handler_set.h"
#include "daemon/supervisor/notifications.h"
#include "daemon/supervisor/pool_limits.h"
#include "daemon/supervisor/selection.h"
#include "daemon/supervisor/spawn_gate.h"
#include "daemon/supervisor/stage_names.h"
#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/proc.h"
#include "daemon/sys/seccomp_filter.h"

using namespace mtd;
using namespace mtd::supervisor;

namespace {

Selection choose(const std::vector<std::string>& selectors) {
  return select(selectors, {"api", "web", "web-canary", "worker"},
                [](std::string_view, std::uint32_t slot) { return slot < 4; });
}

std::string shown(const Selection& selection) {
  if (const auto* none = std::get_if<NoMatch>(&selection)) {
    return (none->worker ? "no worker " : "no pool ") + none->selector;
  }
  std::string text;
  for (const auto& pool : std::get<std::vector<SelectedPool>>(selection)) {
    text += (text.empty() ? "" : " ") + pool.pool;
    for (const auto slot : pool.slots)
      text += "/" + std::to_string(slot);
  }
  return text;
}

}  // namespace

TEST_CASE("selectors") {
  CHECK(shown(choose({})) == "api web web-canary worker");
  CHECK(shown(choose({"web"})) == "web");
  CHECK(shown(choose({"web*"})) == "web web-canary");
  CHECK(shown(choose({"w*r"})) == "worker");
  CHECK(shown(choose({"?pi"})) == "api");
  CHECK(shown(choose({"*"})) == "api web web-canary worker");
  CHECK(shown(choose({"web/3", "web/1", "web/3"})) == "web/1/3");
  CHECK(shown(choose({"web/1", "web"})) == "web");
  CHECK(shown(choose({"web*/0"})) == "web/0 web-canary/0");
  CHECK(shown(choose({"nope"})) == "no pool nope");
  CHECK(shown(choose({"web", "nope*"})) == "no pool nope*");
  CHECK(shown(choose({"web/9"})) == "no worker web/9");
  CHECK(shown(choose({"nope/1"})) == "no pool nope/1");
  for (const char* bad : {"web/", "web/x", "web/-1", "web/1/2", "web/99999999999", "web/ 1"}) {
    CHECK(shown(choose({bad})) == std::string("no worker ") + bad);
  }
  CHECK(shown(choose({""})) == "no pool ");
  // A pattern made to explode a naive matcher.
  CHECK(shown(choose({"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"})).substr(0, 7) == "no pool");
}

TEST_CASE("every method of the table has a handler") {
  for (const auto& method : control::kMethods)
    CHECK(HandlerSet::handles(method.name));
  CHECK_FALSE(HandlerSet::handles("Nope"));
}

TEST_CASE("notifications are read as sd_notify(3) writes them") {
  const auto all = sys::parse_notification(
      "READY=1\nSTATUS=two words=and "
      "more\nX_MTD_TASKS=+3\nX_MTD_TASKS=2\nSTOPPING=1\nWHATEVER=1\nnonsense\n");
  CHECK(all.ready);
  CHECK(all.stopping);
  CHECK(all.tasks == 5);
  CHECK(all.status == "two words=and more");
  CHECK_FALSE(sys::parse_notification("READY=0").ready);
  CHECK_FALSE(sys::parse_notification("READY=10").ready);
  CHECK_FALSE(sys::parse_notification("").status);
  for (const char* bad : {"X_MTD_TASKS=-1", "X_MTD_TASKS=", "X_MTD_TASKS=1x",
                          "X_MTD_TASKS=99999999999999999999999"}) {
    CHECK(sys::parse_notification(bad).tasks == 0);
  }
  CHECK(sys::parse_notification("X_MTD_TASKS=4000000000").tasks == 1'000'000);
  CHECK(sys::parse_notification("X_MTD_BUSY=1").busy == true);
  CHECK(sys::parse_notification("X_MTD_BUSY=1\nX_MTD_BUSY=0").busy == false);
  for (const char* bad : {"X_MTD_BUSY=", "X_MTD_BUSY=2", "X_MTD_BUSY=yes", "X_MTD_BUSY"})
    CHECK_FALSE(sys::parse_notification(bad).busy);
  CHECK(sys::parse_notification("STATUS=" + std::string(3000, 's')).status->size() == 256);
}

TEST_CASE("signs of life, extensions, and newlines of MTD_READY_FD") {
  const auto alive = sys::parse_notification("WATCHDOG=1\n");
  CHECK(alive.alive);
  CHECK_FALSE(alive.trigger);
  CHECK_FALSE(alive.newline);  // an assignment, from NOTIFY_SOCKET
  CHECK(sys::parse_notification("WATCHDOG=trigger").trigger);
  CHECK_FALSE(sys::parse_notification("WATCHDOG=0").alive);
  CHECK(sys::parse_notification("WATCHDOG_USEC=2000000").watchdog == 2'000'000U);
  CHECK(sys::parse_notification("WATCHDOG_USEC=1").watchdog == 10'000U);
  for (const char* none : {"WATCHDOG_USEC=0", "WATCHDOG_USEC=18446744073709551615"})
    CHECK(sys::parse_notification(none).watchdog == 0U);
  for (const char* bad : {"WATCHDOG_USEC=", "WATCHDOG_USEC=-1", "WATCHDOG_USEC=1s"})
    CHECK_FALSE(sys::parse_notification(bad).watchdog);
  CHECK(sys::parse_notification("EXTEND_TIMEOUT_USEC=5000000").extend == 5'000'000U);
  for (const char* bad :
       {"EXTEND_TIMEOUT_USEC=", "EXTEND_TIMEOUT_USEC=-1", "EXTEND_TIMEOUT_USEC=5s",
        "EXTEND_TIMEOUT_USEC=99999999999999999999999"}) {
    CHECK_FALSE(sys::parse_notification(bad).extend);
  }
  CHECK(sys::parse_notification("EXTEND_TIMEOUT_USEC=18446744073709551615").extend ==
        std::uint64_t{365} * 24 * 3600 * 1'000'000);
  CHECK(sys::parse_notification("\n").newline);
  CHECK(sys::parse_notification("up and running\n").newline);
  CHECK_FALSE(sys::parse_notification("up").newline);
  CHECK_FALSE(sys::parse_notification("").newline);
}

namespace {

// A socket pair whose far end sends as this process.
struct Wire {
  int ends[2] = {-1, -1};
  Wire() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  }
  ~Wire() { ::close(ends[1]); }
  void send(const std::string& text) const {
    REQUIRE(::send(ends[1], text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
};

struct World {
  Wire wire;
  std::map<int, keeper::Key> mains, grouped;
  std::map<int, int> parents;
  bool started = true, under_way = false;
  std::vector<std::pair<keeper::Key, sys::Notification>> delivered;
  Notifications notifications = make();

  Notifications make() {
    auto socket = sys::NotifySocket::prepare(UniqueFd(wire.ends[0]));
    REQUIRE(socket);
    Notifications::Hooks hooks;
    const auto look = [](const std::map<int, keeper::Key>& in,
                         int pid) -> std::optional<keeper::Key> {
      const auto found = in.find(pid);
      if (found == in.end()) return std::nullopt;
      return found->second;
    };
    hooks.main_process = [this, look](int pid) { return look(mains, pid); };
    hooks.by_cgroup = [this, look](int pid) { return look(grouped, pid); };
    hooks.parent = [this](int pid) -> std::optional<int> {
      const auto found = parents.find(pid);
      if (found == parents.end()) return std::nullopt;
      return found->second;
    };
    hooks.is_started = [this](const keeper::Key&) { return started; };
    hooks.spawns_under_way = [this] { return under_way; };
    hooks.deliver = [this](const keeper::Key& key, const sys::Notification& notification) {
      delivered.emplace_back(key, notification);
    };
    return Notifications(std::move(*socket), std::move(hooks));
  }
};

}  // namespace

TEST_CASE("a notification belongs to the main process, its cgroup, or its ancestor") {
  World world;
  world.mains[10] = {1, 2, 3};
  world.grouped[20] = {4, 5, 6};
  world.parents = {{30, 31}, {31, 10}, {40, 41}, {41, 1}, {50, 51}, {51, 50}};
  CHECK(world.notifications.attribute(10) == keeper::Key{1, 2, 3});
  CHECK(world.notifications.attribute(20) == keeper::Key{4, 5, 6});
  CHECK(world.notifications.attribute(30) == keeper::Key{1, 2, 3});
  CHECK_FALSE(world.notifications.attribute(40));
  CHECK_FALSE(world.notifications.attribute(50));  // a circle, as pids that are reused could form
  CHECK_FALSE(world.notifications.attribute(0));
  CHECK_FALSE(world.notifications.attribute(-1));
}

TEST_CASE("what nobody sent is counted; what comes before the start is known waits") {
  World world;
  world.wire.send("READY=1");
  world.notifications.drain();
  CHECK(world.delivered.empty());
  CHECK(world.notifications.unattributed().count == 1);
  CHECK(world.notifications.unattributed().last_pid == ::getpid());

  world.under_way = true;
  world.wire.send("X_MTD_TASKS=+2");
  world.notifications.drain();
  CHECK(world.delivered.empty());
  CHECK(world.notifications.unattributed().count == 1);
  world.mains[::getpid()] = {1, 0, 1};
  world.started = false;
  world.notifications.drain();
  CHECK(world.delivered.empty());
  world.started = true;
  world.wire.send("READY=1");
  world.notifications.drain();
  REQUIRE(world.delivered.size() == 2);
  CHECK(world.delivered[0].second.tasks == 2);
  CHECK(world.delivered[1].second.ready);
}

TEST_CASE("the gate lets in as many as its limit and keeps the order") {
  SpawnGate gate;
  gate.set_limit(2);
  std::vector<int> spawned;
  for (int i = 0; i < 5; ++i) {
    gate.enter({1, static_cast<std::uint32_t>(i), 1}, [&spawned, i] { spawned.push_back(i); });
  }
  CHECK(spawned == std::vector<int>{0, 1});
  CHECK(gate.cancel({1, 2, 1}));
  CHECK_FALSE(gate.cancel({1, 0, 1}));
  gate.leave();
  CHECK(spawned == std::vector<int>{0, 1, 3});
  gate.leave();
  gate.leave();
  gate.leave();
  CHECK(spawned == std::vector<int>{0, 1, 3, 4});
  CHECK(gate.in_set_up() == 0);
}

TEST_CASE("stages and errors have names") {
  CHECK(stage_name(static_cast<int>(keeper::Stage::exec)) == "exec");
  CHECK(stage_name(999) == "unknown");
  CHECK(errno_name(ENOENT) == "ENOENT");
  CHECK_FALSE(advice(static_cast<int>(keeper::Stage::exec), ENOENT).empty());
  CHECK(advice(0, 0).empty());
}

TEST_CASE("every stage has a name of its own, and those of a sandbox advice") {
  std::set<std::string_view> names;
  const int last = static_cast<int>(keeper::Stage::cgroup_limits);
  for (int stage = 0; stage <= last; ++stage)
    names.insert(stage_name(stage));
  CHECK(names.size() == static_cast<std::size_t>(last) + 1);
  CHECK(names.count("unknown") == 0);
  for (int stage = static_cast<int>(keeper::Stage::cpu_affinity); stage <= last; ++stage) {
    if (stage == static_cast<int>(keeper::Stage::no_new_privs)) continue;  // nothing refuses it
    CAPTURE(stage);
    CHECK_FALSE(advice(stage, EINVAL).empty());
  }
}

TEST_CASE("limits of a cgroup as the kernel's files want them; what was set is taken back") {
  const auto text = [](const std::vector<sys::CgroupSetting>& settings) {
    std::string lines;
    for (const auto& setting : settings)
      lines += setting.controller + " " + setting.file + "=" + setting.value + "\n";
    return lines;
  };
  config::CgroupSpec spec;
  CHECK(cgroup_settings(spec).empty());
  spec = {1 << 20, 1 << 19, 150, 200, 50, 64, false};
  CHECK(text(cgroup_settings(spec)) ==
        "memory memory.high=524288\nmemory memory.max=1048576\ncpu cpu.max=150000 100000\n"
        "cpu cpu.weight=200\nio io.weight=default 50\npids pids.max=64\n");
  CHECK(text(cgroup_settings({}, spec)) ==
        "memory memory.high=max\nmemory memory.max=max\ncpu cpu.max=max\n"
        "cpu cpu.weight=100\nio io.weight=default 100\npids pids.max=max\n");
}

TEST_CASE("without cgroups each limit is a warning, and required ones start nothing") {
  config::PoolSpec spec;
  spec.name = "web";
  spec.cgroup.memory_max = 1 << 20;
  std::optional<sys::CgroupTree> none;
  PoolLimits limits;
  limits.prepare(spec, none, "no cgroup2 mount");
  CHECK(limits.warnings() ==
        std::vector<std::string>{"pool web: cgroup.memory_max has no effect: no cgroup2 mount"});
  CHECK(limits.refuse_without_cgroups() == 0);
  spec.cgroup.required = true;
  limits.prepare(spec, none, "no cgroup2 mount");
  CHECK(limits.refuse_without_cgroups() == ENODEV);
  CHECK(limits.warnings() ==
        std::vector<std::string>{"pool web: cgroup.memory_max cannot be set, and no worker is "
                                 "started without it: no cgroup2 mount"});
  spec.cgroup = {};
  limits.prepare(spec, none, "no cgroup2 mount");
  CHECK(limits.warnings().empty());
}

TEST_CASE("a filter refuses what it names, and nothing else") {
  const auto filter = sys::compile_seccomp(config::expand_system_calls({"@default", "chmod"}));
  if (!filter) {
    CHECK(filter.error().errno_value == ENOSYS);
    MESSAGE("skipped: " << filter.error().message);
    return;
  }
  CHECK(filter->size() > 20);
  CHECK(filter->size() < sys::kMaxFilterLength);
  const pid_t child = ::fork();
  if (child == 0) {
    const struct {
      unsigned short length;
      const sys::SpecInstruction* instructions;
    } program{static_cast<unsigned short>(filter->size()), filter->data()};
    const auto refused = [](long result, int error) { return result == -1 && errno == error; };
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(1);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) ::_exit(2);
    if (!refused(::syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr), EPERM)) ::_exit(3);
    if (!refused(::syscall(SYS_clone3, nullptr, 0), ENOSYS)) ::_exit(4);
    if (!refused(::syscall(SYS_unshare, 0), EPERM)) ::_exit(5);
    if (!refused(::syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0), EPERM)) ::_exit(6);
    if (!refused(::syscall(SYS_chmod, "/nowhere", 0), EPERM)) ::_exit(7);
    const pid_t grandchild = ::fork();
    if (grandchild == 0) ::_exit(0);
    if (grandchild < 0 || ::waitpid(grandchild, nullptr, 0) != grandchild) ::_exit(8);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}
