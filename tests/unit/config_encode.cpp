// encode and decode: nothing is lost, and nothing wrong comes in.
#include <doctest/doctest.h>

#include <limits>
#include <random>

#include "config/system_calls.h"
#include "tests/unit/config_support.h"

using mtd::Duration;
using mtd::config::Configuration;
using mtd::config::decode;
using mtd::config::encode;
using mtd::config::PoolSpec;

namespace {

std::string any_text(std::mt19937& random) {
  std::string text;
  for (auto length = random() % 12; length > 0; --length) {
    const char c = static_cast<char>(random() % 255 + 1);
    text += c;
    if (c == '\x01') text += "sil"[random() % 3];
  }
  return text;
}

// Specs that the loader could have made, with strings of any bytes.
PoolSpec any_pool(std::mt19937& random, const std::string& name) {
  const auto ms = [&](std::uint32_t most) {
    return Duration::nanoseconds(static_cast<std::int64_t>(random() % most + 1) * 1'000'003);
  };
  PoolSpec spec;
  spec.name = name;
  spec.command = {"/bin/x", any_text(random), any_text(random)};
  spec.executable = "/bin/x";
  spec.workers = static_cast<std::uint32_t>(random() % 10'001);
  if (random() % 4 == 0) {
    spec.scaling = {3, 3 + static_cast<std::uint32_t>(random() % 9), 2, ms(9'000)};
    spec.workers = spec.scaling.min;
  }
  spec.enabled = random() % 2 == 0;
  spec.directory = "/" + any_text(random);
  if (random() % 2 == 0) {
    spec.identity.emplace();
    spec.identity->user_name =
        "u\xFF"
        "v";
    spec.identity->group_name = "g";
    spec.identity->home = "/h";
    spec.identity->uid = static_cast<std::uint32_t>(random());
    if (spec.identity->uid == 0xFFFFFFFFU) spec.identity->uid = 1;
    spec.identity->groups = {1, 7};
  }
  spec.umask = static_cast<std::uint32_t>(random() % 512);
  spec.environment = {"A=" + any_text(random), "B=\xFF\xFE", "C=$x ${y}"};
  spec.restart = static_cast<mtd::config::RestartPolicy>(random() % 3);
  spec.success_codes = {};
  spec.no_restart_codes = {1, 255};
  spec.backoff = {ms(10), 1 + static_cast<double>(random() % 1000) / 7, Duration::seconds(40),
                  1.0 / 3, Duration::infinite()};
  if (spec.backoff.factor > 100) spec.backoff.factor = 100;
  spec.crash_limit = {static_cast<std::uint32_t>(random() % 3), ms(1000),
                      mtd::config::BreakerAction::fail, ms(500)};
  spec.ready = static_cast<mtd::config::ReadyMode>(random() % 2);
  spec.start_timeout = ms(90'000);
  spec.min_uptime = ms(9);
  spec.stop = {mtd::SignalNumber{static_cast<int>(random() % 64 + 1)},
               Duration::infinite(),
               mtd::config::StopScope::process,
               {},
               {}};
  if (random() % 2 == 0)
    spec.stop.steps = {{mtd::SignalNumber{3}, ms(50)},
                       {mtd::SignalNumber{34}, Duration::infinite()}};
  spec.reload = {mtd::config::ReloadMode::signal, mtd::SignalNumber{10},
                 static_cast<std::uint32_t>(random() % 4), 1};
  spec.essential = random() % 2 == 0;
  if (random() % 2 == 0) {
    spec.depends_on = {
        {"db", mtd::config::DependencyState::completed},
        {"x.y-z", mtd::config::DependencyState::ready, mtd::config::LossPolicy::stop}};
  }
  spec.overlap = random() % 2 == 0;
  spec.recycle = {
      random() % 3 * 1'000'000'007ULL,         random() % 3 * 1'000'000'009ULL, ms(3), ms(3), 0.25,
      static_cast<std::uint32_t>(random() % 3)};
  spec.watchdog = Duration::seconds(static_cast<std::int64_t>(random() % 2) * 5);
  for (mtd::config::CommandSpec* one :
       {&spec.stop.command, &spec.hooks.on_start, &spec.hooks.on_exit}) {
    if (random() % 2 == 0) *one = {{"ask", any_text(random), "\x01i"}, "/bin/ask"};
  }
  spec.hooks.timeout = Duration::seconds(1 + static_cast<std::int64_t>(random() % 100));
  if (random() % 2 == 0) spec.probes.live.unix_path = "/run/\x01s" + any_text(random);
  if (random() % 2 == 0) {
    spec.probes.ready.exec = {"check", any_text(random), "\x01i"};
    spec.probes.ready.executable = "/bin/check";
    spec.probes.ready.threshold = 7;
  }
  spec.orphans = mtd::config::OrphanPolicy::keep;
  spec.log = {static_cast<mtd::config::LogTarget>(random() % 5),
              random() % 2 == 0 ? "" : "/l\x01s" + any_text(random)};
  spec.rlimits = {{"core", 0, std::numeric_limits<std::uint64_t>::max()}, {"nofile", 5, 6}};
  if (random() % 2 == 0) spec.nice = static_cast<int>(random() % 40) - 20;
  if (random() % 2 == 0) spec.oom_score_adj = -1000;
  if (random() % 2 == 0) spec.ionice = random() % 2 == 0 ? 3 << 13 : 2 << 13 | 7;
  if (random() % 2 == 0) spec.cpu_affinity = {{0, 2, 3, 1023}, false};
  if (random() % 8 == 0) spec.cpu_affinity = {{}, true};
  spec.cgroup = {random() % 2 * 1'000'000'000'000'000ULL, 5, 1'000'000, 10'000, 0, 7, true};
  if (random() % 2 == 0) spec.cgroup = {};
  if (random() % 2 == 0) spec.sandbox.capabilities = (std::uint64_t{1} << 41) - 1;
  if (random() % 2 == 0) spec.sandbox.ambient_capabilities = std::uint64_t{1} << 40 | 1U;
  spec.sandbox.no_new_privs = true;
  if (mtd::config::check_system_call("@default")) spec.sandbox.seccomp = {"@default", "socket"};
  spec.sandbox.private_tmp = random() % 2 == 0;
  if (random() % 2 == 0) spec.sandbox.read_only_paths = {"/", "/a" + any_text(random)};
  return spec;
}

Configuration loaded() {
  const auto result = mtd::test::load_pool(
      "\"workers\":3,\"user\":\"nobody\",\"env\":{\"A\":\"\xC3\xA4 ${MTD_WORKER_ID}\"}");
  REQUIRE(result.errors.empty());
  return result.configuration;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("what the loader made comes back equal") {
  const Configuration before = loaded();
  const auto after = decode(encode(before));
  REQUIRE_MESSAGE(after.has_value(), after.error().message);
  REQUIRE(after->pools.size() == 1);
  const PoolSpec& a = before.pools[0];
  const PoolSpec& b = after->pools[0];
  CHECK(a.command == b.command);
  CHECK(a.environment == b.environment);
  CHECK(a.executable == b.executable);
  CHECK(a.identity->groups == b.identity->groups);
  CHECK(a.spawn_fingerprint == b.spawn_fingerprint);
  CHECK(before.files == after->files);
  CHECK(encode(before) == encode(*after));
}

TEST_CASE("any configuration comes back equal") {
  for (std::uint32_t seed = 0; seed < 500; ++seed) {
    std::mt19937 random(seed);
    CAPTURE(seed);
    Configuration before;
    before.daemon.control_socket = random() % 2 == 0 ? "" : "/run/x";
    if (random() % 2 == 0) before.daemon.operate_gid = 0;
    before.daemon.log_level = "debug";
    before.daemon.max_processes = static_cast<std::uint32_t>(random() % 2);
    before.warnings = {"w\xFF", any_text(random)};
    for (const char* name : {"a", "b"})
      before.pools.push_back(any_pool(random, name));
    const auto after = decode(encode(before));
    REQUIRE_MESSAGE(after.has_value(), after.error().message);
    REQUIRE(encode(*after) == encode(before));
    for (std::size_t i = 0; i < 2; ++i) {
      REQUIRE(after->pools[i].command == before.pools[i].command);
      REQUIRE(after->pools[i].environment == before.pools[i].environment);
      REQUIRE(after->pools[i].directory == before.pools[i].directory);
      REQUIRE(after->pools[i].log.path == before.pools[i].log.path);
      REQUIRE(after->pools[i].log.to == before.pools[i].log.to);
      REQUIRE(after->pools[i].backoff.factor == before.pools[i].backoff.factor);
      REQUIRE(after->pools[i].backoff.initial == before.pools[i].backoff.initial);
      REQUIRE(after->pools[i].start_timeout == before.pools[i].start_timeout);
      REQUIRE(after->pools[i].recycle.max_tasks == before.pools[i].recycle.max_tasks);
      REQUIRE(after->pools[i].stop.signal == before.pools[i].stop.signal);
      REQUIRE(after->pools[i].rlimits[0].hard == before.pools[i].rlimits[0].hard);
      REQUIRE(after->pools[i].nice == before.pools[i].nice);
      REQUIRE(after->pools[i].cpu_affinity.cpus == before.pools[i].cpu_affinity.cpus);
      REQUIRE(after->pools[i].cgroup.memory_max == before.pools[i].cgroup.memory_max);
      REQUIRE(after->pools[i].sandbox.capabilities == before.pools[i].sandbox.capabilities);
      REQUIRE(after->pools[i].sandbox.seccomp == before.pools[i].sandbox.seccomp);
      REQUIRE(after->pools[i].sandbox.read_only_paths == before.pools[i].sandbox.read_only_paths);
      REQUIRE(after->warnings == before.warnings);
    }
  }
}

TEST_CASE("an encoded configuration is checked like a file") {
  const std::string good = encode(loaded());
  CHECK(decode(good).has_value());
  for (const std::string& bad :
       {std::string(),
        std::string("null"),
        std::string("[]"),
        std::string("{}"),
        std::string("{\"daemon\":{},\"pools\":{}}"),
        replaced(good, "\"workers\":3", "\"workers\":-3"),
        replaced(good, "\"workers\":3", "\"workerz\":3"),
        replaced(good, "\"name\":\"web\"", "\"name\":\"../web\""),
        replaced(good, "\"name\":\"web\"", "\"name\":7"),
        replaced(good, "\"command\":[\"/bin/true\"]", "\"command\":[]"),
        replaced(good, "\"command\":[\"/bin/true\"]", "\"command\":[{\"hex\":\"0\"}]"),
        replaced(good, "\"command\":[\"/bin/true\"]", "\"command\":[{\"hex\":\"00\"}]"),
        replaced(good, "\"command\":[\"/bin/true\"]", "\"command\":[\"${X}\"]"),
        replaced(good, "\"executable\":\"/bin/true\"", "\"executable\":\"true\""),
        replaced(good, "\"uid\":65534", "\"uid\":-1"),
        replaced(good, "\"uid\":65534", "\"uid\":4294967295"),
        replaced(good, "\"uid\":65534", "\"uid\":1.0"),
        replaced(good, "\"overlap\":", "\"overlap\":0,\"x\":"),
        replaced(good, "\"umask\":\"022\"", "\"umask\":\"1000\""),
        replaced(good, "\"rlimits\":{}", "\"rlimits\":{\"zzz\":1}"),
        replaced(good, "\"read_only_paths\":[]", "\"read_only_paths\":[\"etc\"]"),
        replaced(good, "\"max\":\"30s\"", "\"max\":\"1ms\""),
        good.substr(0, good.size() / 2)}) {
    CAPTURE(bad);
    CHECK(!decode(bad).has_value());
  }
  for (std::size_t length = 0; length < good.size(); ++length) {
    REQUIRE(!decode(std::string_view(good).substr(0, length)).has_value());
  }
}
