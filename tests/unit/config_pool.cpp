// Pools that are right: what comes out of the file.
#include <doctest/doctest.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "tests/unit/config_support.h"

using mtd::Duration;
using mtd::config::PoolSpec;
using mtd::test::ConfigTree;
using mtd::test::joined;
using mtd::test::load_pool;
using mtd::test::pool_of;

namespace {

std::string variable(const PoolSpec& spec, const std::string& name) {
  for (const std::string& entry : spec.environment) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "(not set)";
}

struct StartVariable {
  StartVariable(const char* variable, const char* value) : name(variable) {
    ::setenv(variable, value, 1);
  }
  StartVariable(const StartVariable&) = delete;
  StartVariable& operator=(const StartVariable&) = delete;
  ~StartVariable() { ::unsetenv(name); }
  const char* name;
};

}  // namespace

TEST_CASE("a pool with a command only has the defaults of the specification") {
  const PoolSpec spec = pool_of(load_pool(""));
  const PoolSpec defaults;
  CHECK(spec.executable == "/bin/true");
  CHECK(spec.workers == 1);
  CHECK(spec.enabled);
  CHECK(spec.directory == "/");
  CHECK(!spec.identity);
  CHECK(spec.umask == 022);
  CHECK(spec.crash_limit.count == 0);
  CHECK(spec.stop.timeout == defaults.stop.timeout);
  CHECK(spec.log.to == mtd::config::LogTarget::automatic);
  CHECK(!spec.nice);
  CHECK(spec.spawn_fingerprint != 0);
}

TEST_CASE("every key has its effect") {
  const PoolSpec spec =
      pool_of(load_pool("\"command\":\"sh -c 'exit "
                        "0'\",\"workers\":4,\"enabled\":false,\"cwd\":\"/"
                        "tmp\",\"umask\":\"0077\",\"restart\":\"on-failure\","
                        "\"success_codes\":[2,0],\"no_restart_codes\":[9],\"backoff\":{\"initial\":"
                        "1,\"factor\":3,\"max\":\"1m\",\"jitter\":0,"
                        "\"reset_after\":\"infinity\"},\"crash_limit\":{\"count\":7,\"window\":"
                        "\"10s\",\"action\":\"fail\",\"retry_after\":1.5},"
                        "\"ready\":\"notify\",\"start_timeout\":\"5s\",\"min_uptime\":0,\"stop\":{"
                        "\"signal\":\"SIGUSR1\",\"timeout\":\"infinity\","
                        "\"scope\":\"group\"},\"overlap\":false,\"recycle\":{\"max_tasks\":1000,"
                        "\"jitter\":0.5,\"concurrency\":2},"
                        "\"orphans\":\"keep\",\"log\":{\"to\":\"direct\",\"path\":\"/tmp/"
                        "${MTD_POOL}-${MTD_WORKER_ID}.log\"},"
                        "\"rlimits\":{\"nofile\":\"64:128\",\"core\":0,\"stack\":{\"soft\":\"8M\","
                        "\"hard\":\"8M\"}},\"nice\":5,\"oom_score_adj\":100"));
  CHECK(joined(spec.command) == "sh\n-c\nexit 0\n");
  CHECK(spec.executable.ends_with("bin/sh"));
  CHECK(spec.workers == 4);
  CHECK(!spec.enabled);
  CHECK(spec.directory == "/tmp");
  CHECK(spec.umask == 077);
  CHECK(spec.restart == mtd::config::RestartPolicy::on_failure);
  CHECK(spec.success_codes == std::vector<int>{0, 2});
  CHECK(spec.no_restart_codes == std::vector<int>{9});
  CHECK(spec.backoff.initial == Duration::seconds(1));
  CHECK(spec.backoff.factor == 3);
  CHECK(spec.backoff.max == Duration::seconds(60));
  CHECK(spec.backoff.jitter == 0);
  CHECK(spec.backoff.reset_after.is_infinite());
  CHECK(spec.crash_limit.count == 7);
  CHECK(spec.crash_limit.window == Duration::seconds(10));
  CHECK(spec.crash_limit.action == mtd::config::BreakerAction::fail);
  CHECK(spec.crash_limit.retry_after == Duration::milliseconds(1'500));
  CHECK(spec.ready == mtd::config::ReadyMode::notify);
  CHECK(spec.start_timeout == Duration::seconds(5));
  CHECK(spec.min_uptime.is_zero());
  CHECK(spec.stop.signal.value == 10);
  CHECK(spec.stop.timeout.is_infinite());
  CHECK(spec.stop.scope == mtd::config::StopScope::group);
  CHECK(!spec.overlap);
  CHECK(spec.recycle.max_tasks == 1000);
  CHECK(spec.recycle.jitter == 0.5);
  CHECK(spec.recycle.concurrency == 2);
  CHECK(spec.orphans == mtd::config::OrphanPolicy::keep);
  CHECK(spec.log.to == mtd::config::LogTarget::direct);
  CHECK(spec.log.path == "/tmp/web-\x01s.log");
  REQUIRE(spec.rlimits.size() == 3);
  CHECK(spec.rlimits[0].name == "core");
  CHECK(spec.rlimits[0].hard == 0);
  CHECK(spec.rlimits[1].soft == 64);
  CHECK(spec.rlimits[1].hard == 128);
  CHECK(spec.rlimits[2].soft == 8 * 1024 * 1024);
  CHECK(spec.nice == 5);
  CHECK(spec.oom_score_adj == 100);
}

TEST_CASE("workers auto is one per CPU, and none is a number too") {
  CHECK(pool_of(load_pool("\"workers\":\"auto\"")).workers ==
        std::max(1U, std::thread::hardware_concurrency()));
  CHECK(pool_of(load_pool("\"workers\":0")).workers == 0);
  CHECK(pool_of(load_pool("\"workers\":10000")).workers == 10'000);
}

TEST_CASE("maxtasksperchild is max_tasks without jitter") {
  PoolSpec spec = pool_of(load_pool("\"recycle\":{\"maxtasksperchild\":50}"));
  CHECK(spec.recycle.max_tasks == 50);
  CHECK(spec.recycle.jitter == 0);
  spec = pool_of(load_pool("\"recycle\":{\"maxtasksperchild\":50,\"jitter\":0.2}"));
  CHECK(spec.recycle.jitter == 0.2);
}

TEST_CASE("old and new overlap where nothing says that there may be only one") {
  CHECK(!pool_of(load_pool("\"workers\":1")).overlap);
  CHECK(pool_of(load_pool("\"workers\":2")).overlap);
  CHECK(!pool_of(load_pool("\"workers\":2,\"command\":[\"/bin/true\",\"${MTD_WORKER_ID}\"]"))
             .overlap);
  CHECK(
      !pool_of(load_pool("\"workers\":2,\"command\":\"/bin/sh -c 'run ${MTD_WORKER}'\"")).overlap);
  CHECK(!pool_of(load_pool("\"workers\":2,\"env\":{\"A\":\"${MTD_WORKER}\"}")).overlap);
  CHECK(!pool_of(load_pool("\"workers\":2,\"env\":{\"A\":\"${B}\",\"B\":\"${MTD_WORKER}\"}"))
             .overlap);
  CHECK(!pool_of(load_pool("\"workers\":2,\"cwd\":\"/srv/${MTD_WORKER_ID}\"")).overlap);
  CHECK(pool_of(load_pool("\"workers\":2,\"env\":{\"A\":\"${MTD_INCARNATION}\"}")).overlap);
  CHECK(pool_of(load_pool("\"workers\":1,\"overlap\":true")).overlap);
}

TEST_CASE("the environment is made, not inherited") {
  const StartVariable secret("MTD_TEST_SECRET", "s3cret");
  const StartVariable other("CONFIG_TEST_OTHER", "other");
  const PoolSpec spec = pool_of(load_pool("\"env\":{\"A\":\"x\",\"N\":7}"));
  const struct passwd* self = ::getpwuid(::geteuid());
  REQUIRE(self != nullptr);
  CHECK(variable(spec, "PATH") == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  CHECK(variable(spec, "HOME") == self->pw_dir);
  CHECK(variable(spec, "USER") == self->pw_name);
  CHECK(variable(spec, "LOGNAME") == self->pw_name);
  CHECK(variable(spec, "SHELL") == self->pw_shell);
  CHECK(variable(spec, "LANG") == "C.UTF-8");
  CHECK(variable(spec, "A") == "x");
  CHECK(variable(spec, "N") == "7");
  CHECK(variable(spec, "MTD_POOL") == "web");
  CHECK(variable(spec, "MTD_WORKER_ID") == "\x01s");
  CHECK(variable(spec, "MTD_WORKER") == "web/\x01s");
  CHECK(variable(spec, "MTD_INCARNATION") == "\x01i");
  CHECK(spec.environment.size() == 12);
}

TEST_CASE("env_clear leaves out the first six") {
  const PoolSpec spec = pool_of(load_pool("\"env_clear\":true,\"env\":{\"A\":\"x\"}"));
  CHECK(spec.environment.size() == 5);
  CHECK(variable(spec, "PATH") == "(not set)");
}

TEST_CASE(
    "env is stronger than env_file, env_file than env_pass, env_pass than what every worker gets") {
  const StartVariable a("CONFIG_TEST_A", "passed");
  const StartVariable lang("LANG", "de_DE.UTF-8");
  const ConfigTree tree;
  tree.write("1.env", "CONFIG_TEST_A=file1\nB=file1\nC=file1\nCONFIG_TEST_Z='${A}'\n");
  tree.write("2.env", "C=file2\n");
  tree.write(
      "mtd.json",
      "{\"pools\":{\"web\":{\"command\":\"/bin/true\",\"env\":{\"B\":\"own\"},\"env_file\":[\"" +
          tree.path("1.env") + "\",\"" + tree.path("2.env") +
          "\"],\"env_pass\":[\"CONFIG_TEST_A\",\"LANG\",\"NOT_SET_ANYWHERE\"]}}}");
  const PoolSpec spec = pool_of(tree.load());
  CHECK(variable(spec, "CONFIG_TEST_A") == "file1");
  CHECK(variable(spec, "B") == "own");
  CHECK(variable(spec, "C") == "file2");
  CHECK(variable(spec, "CONFIG_TEST_Z") == "${A}");
  CHECK(variable(spec, "LANG") == "de_DE.UTF-8");
  CHECK(variable(spec, "NOT_SET_ANYWHERE") == "(not set)");
  tree.write("1.env", "=");
  CHECK(tree.errors().front().find("1.env\" line 1: must be NAME=VALUE, not \"=\"") !=
        std::string::npos);
  REQUIRE(::chmod(tree.path("2.env").c_str(), 0666) == 0);
  tree.write("1.env", "");
  CHECK(tree.errors().front().find("may be changed by others") != std::string::npos);
}

TEST_CASE("variables refer to each other and to what was there before") {
  const StartVariable start("CONFIG_TEST_START", "start");
  const PoolSpec spec = pool_of(load_pool(
      "\"command\":[\"/bin/true\",\"${A}\",\"${HOME}\",\"${CONFIG_TEST_START}\",\"$${A}\"],"
      "\"env\":{\"A\":\"<${B}>\",\"B\":\"b\",\"PATH\":\"/opt/bin:${PATH}\"}"));
  CHECK(spec.command.at(1) == "<b>");
  CHECK(spec.command.at(3) == "start");
  CHECK(spec.command.at(4) == "${A}");
  CHECK(variable(spec, "PATH").starts_with("/opt/bin:/usr/local/sbin:"));
  CHECK(variable(spec, "CONFIG_TEST_START") == "(not set)");
}

TEST_CASE("circles and explosions of variables are refused") {
  const auto circle = load_pool("\"env\":{\"A\":\"${B}\",\"B\":\"${C}\",\"C\":\"${A}\"}");
  REQUIRE(circle.errors.size() == 3);
  CHECK(circle.errors[0].message == "pools.web.env.A: ${A} leads back to itself");
  std::string bomb = "\"env\":{\"V0\":\"" + std::string(1000, 'x') + "\"";
  for (int i = 1; i < 30; ++i) {
    const std::string before = "${V" + std::to_string(i - 1) + "}";
    bomb += ",\"V" + std::to_string(i) + "\":\"" + before + before + "\"";
  }
  const auto loaded = load_pool(bomb + "}");
  REQUIRE(!loaded.errors.empty());
  CHECK(loaded.errors[0].message.ends_with("is longer than 131072 bytes after expansion"));
  std::string chain = "\"env\":{\"V0\":\"x\"";
  for (int i = 1; i < 60; ++i)
    chain += ",\"V" + std::to_string(i) + "\":\"${V" + std::to_string(i - 1) + "}\"";
  for (const auto& error : load_pool(chain + "}").errors) {
    CHECK(error.message.ends_with("more than 32 variables refer to each other in a row"));
  }
}

TEST_CASE("the program is found through the worker's PATH and cwd") {
  const ConfigTree tree;
  tree.write("bin/tool", "#!/bin/sh\n");
  const std::string pool = "{\"pools\":{\"web\":{\"env\":{\"PATH\":\"" + tree.path("bin") +
                           "\"},\"cwd\":\"" + tree.path() + "\",\"command\":";
  tree.write("mtd.json", pool + "\"tool\"}}}");
  CHECK(tree.errors().front().find(
            "bin/tool\" is not executable (mode 0644); run chmod +x on it") != std::string::npos);
  REQUIRE(::chmod(tree.path("bin/tool").c_str(), 0755) == 0);
  CHECK(pool_of(tree.load()).executable == tree.path("bin/tool"));
  tree.write("mtd.json", pool + "\"bin/tool\"}}}");
  CHECK(pool_of(tree.load()).executable == tree.path("bin/tool"));
  tree.write("mtd.json", pool + "\"sh\"}}}");
  CHECK(tree.errors().front().find("is not in the worker's PATH") != std::string::npos);
}

TEST_CASE("users and groups are resolved, by name and by number") {
  const struct passwd* nobody = ::getpwnam("nobody");
  REQUIRE(nobody != nullptr);
  const auto uid = nobody->pw_uid;
  const auto gid = nobody->pw_gid;
  PoolSpec spec = pool_of(load_pool("\"user\":\"nobody\""));
  REQUIRE(spec.identity);
  CHECK(spec.identity->uid == uid);
  CHECK(spec.identity->gid == gid);
  CHECK(spec.identity->groups == std::vector<std::uint32_t>{gid});
  CHECK(variable(spec, "USER") == "nobody");
  CHECK(variable(spec, "HOME") == spec.identity->home);
  spec = pool_of(load_pool("\"user\":\"" + std::to_string(uid) + "\""));
  CHECK(spec.identity->user_name == "nobody");
  spec = pool_of(
      load_pool("\"user\":\"3999999999\",\"group\":\"daemon\",\"groups\":[\"adm\",\"7\",\"adm\"]"));
  CHECK(spec.identity->uid == 3'999'999'999);
  CHECK(spec.identity->gid == ::getgrnam("daemon")->gr_gid);
  CHECK(spec.identity->groups == std::vector<std::uint32_t>{::getgrnam("adm")->gr_gid, 7});
  CHECK(spec.identity->home == "/");
  spec = pool_of(load_pool("\"group\":\"daemon\""));
  CHECK(spec.identity->uid == ::geteuid());
  CHECK(spec.identity->gid == ::getgrnam("daemon")->gr_gid);
  spec = pool_of(load_pool("\"user\":\"nobody\",\"groups\":[]"));
  CHECK(spec.identity->groups.empty());
}

TEST_CASE("a resource limit above mtd's own is refused with the number") {
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_MSGQUEUE, &before) == 0);
  REQUIRE(before.rlim_max != RLIM_INFINITY);
  const std::string most = std::to_string(before.rlim_max);
  const auto loaded = load_pool("\"rlimits\":{\"msgqueue\":\"infinity\"}");
  REQUIRE(loaded.errors.size() == 1);
  CHECK(loaded.errors[0].message ==
        "pools.web.rlimits.msgqueue: \"infinity\" is above mtd's own hard limit of " + most);
  CHECK(pool_of(load_pool("\"rlimits\":{\"msgqueue\":" + most + "}")).rlimits.at(0).hard ==
        before.rlim_max);
}
