// CgroupTree against the real kernel. The test moves itself into a tree of its own and back.
// Skipped with the reason where no cgroup v2 can be used.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "daemon/sys/cgroup.h"
#include "daemon/sys/cgroup_limits.h"
#include "daemon/sys/cgroup_paths.h"
#include "daemon/sys/pids_limit.h"
#include "daemon/sys/proc.h"

using namespace mtd;
using namespace mtd::sys;

namespace {

const CgroupName kName{"web", 3, 17};

// Forks into the cgroup; the child forks once more and both wait for ever.
pid_t start_tree(const UniqueFd& directory) {
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int procs = ::openat(directory.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (::write(procs, "0", 1) != 1) ::_exit(1);
    if (::fork() == 0) ::setsid();
    (void)!::write(ready[1], "x", 1);
    for (;;)
      ::pause();
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  ::close(ready[0]);
  ::close(ready[1]);
  return child;
}

void wait_until_empty(const UniqueFd& events) {
  const int poll = ::epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLPRI;
  REQUIRE(::epoll_ctl(poll, EPOLL_CTL_ADD, events.get(), &event) == 0);
  while (CgroupTree::populated_fd(events.get()))
    REQUIRE(::epoll_wait(poll, &event, 1, 10'000) == 1);
  ::close(poll);
}

}  // namespace

TEST_CASE("the tree of an mtd that is gone is ended, that of a living one is not") {
  const auto place = find_cgroup_place();
  REQUIRE(place);
  const std::string pid = std::to_string(::getpid());
  const auto tree_of = [&](const std::string& first) {
    return place->directory + "/mtd." + first + std::string(15 - pid.size(), '0') + pid;
  };
  const std::string gone = tree_of("a"), living = tree_of("b");
  for (const auto& tree : {gone, living}) {
    for (const char* below : {"", "/mtd", "/pools", "/pools/web", "/pools/web/0.1"})
      REQUIRE(::mkdir((tree + below).c_str(), 0755) == 0);
  }
  const auto directory = [](const std::string& path) {
    return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  };
  const pid_t left = start_tree(directory(gone + "/pools/web/0.1"));
  const pid_t keeper = start_tree(directory(living + "/mtd"));
  const pid_t worker = start_tree(directory(living + "/pools/web/0.1"));
  {
    auto tree = CgroupTree::open(static_cast<std::uint64_t>(::getpid()), ::getpid());
    REQUIRE(tree);
    bool told = false;
    for (const auto& each : tree->left_overs()) {
      CHECK(each.path != living);
      if (each.path != gone) continue;
      told = true;
      CHECK(each.processes == 2);
      CHECK(each.removed);
    }
    CHECK(told);
    int status = 0;
    CHECK(::waitpid(left, &status, 0) == left);
    CHECK(WTERMSIG(status) == SIGKILL);
    CHECK(::waitpid(keeper, &status, WNOHANG) == 0);
    CHECK(::waitpid(worker, &status, WNOHANG) == 0);
    CHECK(::access(gone.c_str(), F_OK) != 0);
    tree->dissolve(::getpid());
  }
  // Their keeper ends: now it is a left-over too.
  const UniqueFd events(::open((living + "/mtd/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd kill(::open((living + "/mtd/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(::write(kill.get(), "1", 1) == 1);
  CHECK(::waitpid(keeper, nullptr, 0) == keeper);
  wait_until_empty(events);
  auto tree = CgroupTree::open(static_cast<std::uint64_t>(::getpid()), ::getpid());
  REQUIRE(tree);
  CHECK(::waitpid(worker, nullptr, 0) == worker);
  CHECK(::access(living.c_str(), F_OK) != 0);
  tree->dissolve(::getpid());
}

TEST_CASE("a tree: made, watched, frozen, signalled, killed, removed, dissolved") {
  auto tree =
      CgroupTree::open(0x1234567890abcdefULL ^ static_cast<std::uint64_t>(::getpid()), ::getpid());
  REQUIRE(tree);
  CHECK(unified_cgroup_of(::getpid()).find("/mtd") != std::string::npos);
  {
    const auto directory = tree->make(kName);
    REQUIRE(directory);
    CHECK(tree->make(kName));  // again: the same
    CHECK(tree->populated(kName) == false);
    const pid_t child = start_tree(*directory);
    CHECK(tree->populated(kName) == true);
    CHECK(tree->pids(kName).size() == 2);
    const auto owner = tree->owner_of(child);
    REQUIRE(owner);
    CHECK(owner->pool == "web");
    CHECK(owner->incarnation == 17);
    CHECK_FALSE(tree->owner_of(::getpid()));
    CHECK(tree->remove(kName).error().errno_value == EBUSY);
    CHECK(tree->signal(kName, {SIGWINCH}) == 2);
    CHECK(tree->signal(kName, {SIGWINCH}, child) == 1);
    CHECK(tree->freeze(kName, true));
    const UniqueFd events = tree->watch(kName);
    REQUIRE(events);
    CHECK(CgroupTree::populated_fd(events.get()));
    CHECK(tree->kill(kName));
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WTERMSIG(status) == SIGKILL);
    wait_until_empty(events);
    CHECK(tree->remove(kName));
    CHECK(tree->remove(kName));  // gone already
    CHECK(tree->populated(kName) == false);
    CHECK_FALSE(tree->watch(kName));
  }
  SUBCASE("a pool named like a file of the hierarchy") {
    const CgroupName odd{"cgroup.procs", 0, 1};
    CHECK(tree->make(odd));
    CHECK(tree->remove(odd));
    tree->remove_pool("cgroup.procs");
  }
  SUBCASE("the tree is found again by its descriptor") {
    auto again = CgroupTree::reopen(UniqueFd(::dup(tree->pools_fd())),
                                    0x1234567890abcdefULL ^ static_cast<std::uint64_t>(::getpid()));
    REQUIRE(again);
    CHECK(again->own_path() == tree->own_path());
    CHECK(again->path(kName) == tree->path(kName));
  }
  tree->remove_pool("web");
  const std::string own = tree->own_path();
  tree->dissolve(::getpid());
  CHECK(::access((own + "/pools").c_str(), F_OK) != 0);
  CHECK(unified_cgroup_of(::getpid()).find("/mtd.") == std::string::npos);
}

TEST_CASE("a helper that still runs does not keep the directory when mtd ends") {
  auto tree =
      CgroupTree::open(0x4e1fULL << 32U | static_cast<std::uint64_t>(::getpid()), ::getpid());
  REQUIRE(tree);
  const std::string own = tree->own_path();
  const UniqueFd roles(::open((own + "/mtd").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const pid_t helper = start_tree(roles);
  tree->dissolve(::getpid());
  CHECK(::access((own + "/mtd").c_str(), F_OK) != 0);
  int status = 0;
  CHECK(::waitpid(helper, &status, 0) == helper);
  CHECK(WTERMSIG(status) == SIGKILL);
}

TEST_CASE("controllers and limits, in a directory that stands for a cgroup") {
  char name[] = "/tmp/mtd-cgroup-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  const std::filesystem::path path = name;
  const auto put = [&](const char* file, const char* text) { std::ofstream(path / file) << text; };
  const auto get = [&](const char* file) {
    std::ifstream stream(path / file);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  const UniqueFd directory(::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  put("cgroup.controllers", "cpu memory pids\n");
  put("cgroup.subtree_control", "pids\n");
  CHECK(enable_controller(directory.get(), "pids"));  // is already, and not written again
  CHECK(get("cgroup.subtree_control") == "pids\n");
  const auto missing = enable_controller(directory.get(), "io");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().errno_value == ENODEV);
  CHECK(missing.error().message ==
        "the controller \"io\" is not there (there are cpu, memory, pids)");
  put("cgroup.subtree_control", "");
  CHECK(enable_controller(directory.get(), "memory"));
  CHECK(get("cgroup.subtree_control") == "+memory");
  put("cgroup.subtree_control", "cpu");
  disable_controllers(directory.get());
  CHECK(get("cgroup.subtree_control") == "-cpu");
  put("cgroup.controllers", "");
  CHECK(enable_controller(directory.get(), "io").error().message ==
        "the controller \"io\" is not there (mtd's cgroup has none)");

  put("memory.max", "");
  put("pids.max", "");
  const auto refusals =
      write_limits(directory.get(), {{"cgroup.memory_max", "memory", "memory.max", "4096"},
                                     {"cgroup.cpu_max", "cpu", "cpu.max", "1 2"},
                                     {"cgroup.pids_max", "pids", "pids.max", "max"}});
  CHECK(get("memory.max") == "4096");
  CHECK(get("pids.max") == "max");
  REQUIRE(refusals.size() == 1);
  CHECK(refusals[0].key == "cgroup.cpu_max");
  CHECK(refusals[0].reason.errno_value == ENOENT);
  std::filesystem::remove_all(path);
}

TEST_CASE(
    "the limit of processes with the least room left, in directories that stand for cgroups") {
  char made[] = "/tmp/mtd-pids-XXXXXX";
  REQUIRE(::mkdtemp(made) != nullptr);
  const std::string top = made, unit = top + "/unit", leaf = unit + "/leaf";
  std::filesystem::create_directories(leaf);
  const auto write = [](const std::string& file, const char* text) { std::ofstream(file) << text; };
  CHECK_FALSE(least_pids_limit(leaf));
  CHECK_FALSE(least_pids_limit(std::string()));
  CHECK_FALSE(least_pids_limit(std::string("leaf")));
  write(leaf + "/pids.max", "max\n");
  CHECK_FALSE(least_pids_limit(leaf));
  write(top + "/pids.max", "1000\n");
  write(top + "/pids.current", "990\n");
  write(unit + "/pids.max", "40\n");
  write(unit + "/pids.current", "20\n");
  const auto least = least_pids_limit(leaf);
  REQUIRE(least);
  CHECK(least->directory == top);
  CHECK(least->most == 1000);
  CHECK(least->left() == 10);
  write(unit + "/pids.current", "41\n");  // moved in, which no limit forbids
  CHECK(least_pids_limit(leaf)->directory == unit);
  CHECK(least_pids_limit(leaf)->left() == 0);

  CHECK_FALSE(refused_forks(leaf));
  write(leaf + "/pids.events", "max 7\n");
  CHECK(refused_forks(leaf) == 7);
  write(leaf + "/pids.events", "else 7\n");
  CHECK_FALSE(refused_forks(leaf));
  std::filesystem::remove_all(top);
}

TEST_CASE("a controller of the real hierarchy reaches the workers, and is gone at the end") {
  auto tree = CgroupTree::open(static_cast<std::uint64_t>(::getpid()), ::getpid());
  REQUIRE(tree);
  // Of the root, where the tree lies right below it: there mtd may enable one for itself.
  const std::string above = tree->own_path() + "/..";
  const bool below_root = ::access((above + "/cgroup.type").c_str(), F_OK) != 0;
  const std::string source = below_root ? above : tree->own_path();
  const auto there = read_small_file(source + "/cgroup.controllers");
  const auto enabled = read_small_file(source + "/cgroup.subtree_control");
  REQUIRE(there);
  REQUIRE(enabled);
  const std::string controller = there->substr(0, there->find_first_of(" \n"));
  if (controller.empty()) {
    MESSAGE("skipped: no controller in " << source);
  } else {
    REQUIRE(tree->enable("web", controller));
    CHECK(tree->controllers().find(controller) != std::string::npos);
    REQUIRE(tree->make(kName));
    const auto inner = read_small_file(tree->path(kName) + "/cgroup.controllers");
    REQUIRE(inner);
    CHECK(inner->find(controller) != std::string::npos);
    const auto missing = tree->limit(kName, {{"cgroup.x", controller, "no.such.file", "1"}});
    REQUIRE(missing.size() == 1);
    CHECK(missing[0].reason.errno_value == ENOENT);
    CHECK(tree->remove(kName));
    tree->remove_pool("web");
  }
  const auto refused = tree->enable("web", "no-such-controller");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().errno_value == ENODEV);
  const std::string own = tree->own_path();
  tree->dissolve(::getpid());
  CHECK(::access((own + "/pools").c_str(), F_OK) != 0);
  if (below_root && !controller.empty() && enabled->find(controller) == std::string::npos)
    std::ofstream(own.substr(0, own.rfind('/')) + "/cgroup.subtree_control") << "-" << controller;
}

int main(int argc, char** argv) {
  // Tried once outside doctest, to tell "cannot here" from "fails".
  auto trial =
      CgroupTree::open(0x7e57ULL << 32U | static_cast<std::uint64_t>(::getpid()), ::getpid());
  if (!trial) {
    std::printf("SKIP: %s\n", trial.error().message.c_str());
    return 77;
  }
  trial->dissolve(::getpid());
  return doctest::Context(argc, argv).run();
}
