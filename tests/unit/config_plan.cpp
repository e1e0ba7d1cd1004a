// The plan of a reload: every key alone, pools that come and go, keys of the daemon.
#include <doctest/doctest.h>
#include <grp.h>

#include <algorithm>
#include <map>

#include "config/keys.h"
#include "config/plan.h"
#include "config/tools.h"
#include "tests/unit/config_support.h"

using mtd::config::Apply;
using mtd::config::Configuration;
using mtd::config::make_plan;
using mtd::test::ConfigTree;
using mtd::test::load_pool;

namespace {

// For every key of a pool, members that set it to something else than the default and nothing more.
const std::map<std::string_view, std::string>& changes() {
  static const std::map<std::string_view, std::string> kChanges{
      {"command", "\"command\":[\"/bin/false\"]"},
      {"workers", "\"workers\":0"},  // not 2: that would change the default of overlap
      {"workers.min", "\"overlap\":false,\"workers\":{\"min\":2,\"max\":4}"},
      {"workers.max", "\"overlap\":false,\"workers\":{\"max\":4}"},
      {"workers.spare", "\"overlap\":false,\"workers\":{\"max\":4,\"spare\":2}"},
      {"workers.quiet", "\"overlap\":false,\"workers\":{\"max\":4,\"quiet\":5}"},
      {"enabled", "\"enabled\":false"},
      {"cwd", "\"cwd\":\"/tmp\""},
      {"user", "\"user\":\"daemon\""},
      {"group", "\"group\":\"daemon\""},
      {"groups", "\"groups\":[\"daemon\"]"},
      {"umask", "\"umask\":\"077\""},
      {"env", "\"env\":{\"A\":\"b\"}"},
      {"env_file", "\"env_file\":\"ENV_FILE\""},
      {"env_clear", "\"env_clear\":true"},
      {"env_pass", "\"env_pass\":[\"CONFIG_TEST_PASS\"]"},
      {"restart", "\"restart\":\"never\""},
      {"success_codes", "\"success_codes\":[0,1]"},
      {"no_restart_codes", "\"no_restart_codes\":[1]"},
      {"backoff.initial", "\"backoff\":{\"initial\":1}"},
      {"backoff.factor", "\"backoff\":{\"factor\":3}"},
      {"backoff.max", "\"backoff\":{\"max\":31}"},
      {"backoff.jitter", "\"backoff\":{\"jitter\":0}"},
      {"backoff.reset_after", "\"backoff\":{\"reset_after\":1}"},
      {"crash_limit.count", "\"crash_limit\":{\"count\":1}"},
      {"crash_limit.window", "\"crash_limit\":{\"window\":1}"},
      {"crash_limit.action", "\"crash_limit\":{\"action\":\"fail\"}"},
      {"crash_limit.retry_after", "\"crash_limit\":{\"retry_after\":1}"},
      {"ready", "\"ready\":\"notify\""},
      {"start_timeout", "\"start_timeout\":1"},
      {"min_uptime", "\"min_uptime\":2"},
      {"stop.signal", "\"stop\":{\"signal\":\"INT\"}"},
      {"stop.timeout", "\"stop\":{\"timeout\":1}"},
      {"stop.scope", "\"stop\":{\"scope\":\"group\"}"},
      {"overlap", "\"overlap\":true"},
      {"recycle.max_tasks", "\"recycle\":{\"max_tasks\":5}"},
      {"recycle.maxtasksperchild", "\"recycle\":{\"maxtasksperchild\":5}"},
      {"recycle.jitter", "\"recycle\":{\"jitter\":0}"},
      {"recycle.concurrency", "\"recycle\":{\"concurrency\":2}"},
      {"watchdog", "\"watchdog\":\"10s\""},
      {"recycle.max_rss", "\"recycle\":{\"max_rss\":\"1G\"}"},
      {"recycle.max_lifetime", "\"recycle\":{\"max_lifetime\":\"1h\"}"},
      {"recycle.idle_timeout", "\"recycle\":{\"idle_timeout\":\"1h\"}"},
      {"stop.command", "\"command\":[\"/bin/true\"],\"stop\":{\"command\":\"/bin/true\"}"},
      {"hooks.on_start", "\"hooks\":{\"on_start\":\"/bin/true\"}"},
      {"hooks.on_exit", "\"hooks\":{\"on_exit\":\"/bin/true\"}"},
      {"hooks.on_failed", "\"hooks\":{\"on_failed\":\"/bin/true\"}"},
      {"hooks.timeout", "\"hooks\":{\"timeout\":\"9s\"}"},
      {"probes.live.exec", "\"probes\":{\"live\":{\"exec\":\"/bin/true\"}}"},
      {"probes.live.http", "\"probes\":{\"live\":{\"http\":\"http://[::1]/\"}}"},
      {"probes.live.tcp", "\"probes\":{\"live\":{\"tcp\":\"[::1]:1\"}}"},
      {"probes.live.unix", "\"probes\":{\"live\":{\"unix\":\"/x\"}}"},
      {"probes.live.period", "\"probes\":{\"live\":{\"unix\":\"/x\",\"period\":1}}"},
      {"probes.live.timeout", "\"probes\":{\"live\":{\"unix\":\"/x\",\"timeout\":2}}"},
      {"probes.live.threshold", "\"probes\":{\"live\":{\"unix\":\"/x\",\"threshold\":1}}"},
      {"probes.ready.exec", "\"ready\":\"exec\",\"probes\":{\"ready\":{\"exec\":\"/bin/true\"}}"},
      {"probes.ready.http",
       "\"ready\":\"exec\",\"probes\":{\"ready\":{\"http\":\"http://[::1]/\"}}"},
      {"probes.ready.tcp", "\"ready\":\"exec\",\"probes\":{\"ready\":{\"tcp\":\"[::1]:1\"}}"},
      {"probes.ready.unix", "\"ready\":\"exec\",\"probes\":{\"ready\":{\"unix\":\"/x\"}}"},
      {"probes.ready.period",
       "\"ready\":\"exec\",\"probes\":{\"ready\":{\"unix\":\"/x\",\"period\":1}}"},
      {"probes.ready.timeout",
       "\"ready\":\"exec\",\"probes\":{\"ready\":{\"unix\":\"/x\",\"timeout\":2}}"},
      {"probes.ready.threshold",
       "\"ready\":\"exec\",\"probes\":{\"ready\":{\"unix\":\"/x\",\"threshold\":1}}"},
      {"reload.mode", "\"reload\":{\"mode\":\"signal\"}"},
      {"reload.signal", "\"reload\":{\"mode\":\"signal\",\"signal\":\"USR1\"}"},
      {"reload.max_surge", "\"reload\":{\"max_surge\":2}"},
      {"reload.max_unavailable", "\"reload\":{\"max_unavailable\":1}"},
      {"orphans", "\"orphans\":\"keep\""},
      {"log.to", "\"log\":{\"to\":\"null\"}"},
      {"log.path", "\"log\":{\"to\":\"direct\",\"path\":\"/tmp/x\"}"},
      {"listen", "\"overlap\":false,\"listen\":\"tcp:*:1\""},
      {"rlimits", "\"rlimits\":{\"core\":0}"},
      {"nice", "\"nice\":1"},
      {"oom_score_adj", "\"oom_score_adj\":1"},
      {"ionice", "\"ionice\":\"idle\""},
      {"cpu_affinity", "\"cpu_affinity\":\"0\""},
      {"cgroup.memory_max", "\"cgroup\":{\"memory_max\":\"1G\"}"},
      {"cgroup.memory_high", "\"cgroup\":{\"memory_high\":1000}"},
      {"cgroup.cpu_max", "\"cgroup\":{\"cpu_max\":\"150%\"}"},
      {"cgroup.cpu_weight", "\"cgroup\":{\"cpu_weight\":10}"},
      {"cgroup.io_weight", "\"cgroup\":{\"io_weight\":10}"},
      {"cgroup.pids_max", "\"cgroup\":{\"pids_max\":10}"},
      {"cgroup.required", "\"cgroup\":{\"required\":true}"},
      {"sandbox.no_new_privs", "\"sandbox\":{\"no_new_privs\":true}"},
      {"sandbox.capabilities", "\"sandbox\":{\"capabilities\":[]}"},
      {"sandbox.ambient_capabilities", "\"sandbox\":{\"ambient_capabilities\":[\"kill\"]}"},
      {"sandbox.seccomp", "\"sandbox\":{\"seccomp\":[\"@mount\"]}"},
      {"sandbox.private_tmp", "\"sandbox\":{\"private_tmp\":true}"},
      {"sandbox.read_only_paths", "\"sandbox\":{\"read_only_paths\":\"/etc\"}"},
      {"stop.steps", "\"stop\":{\"steps\":[[\"TERM\",1],[\"KILL\"]]}"},
      {"depends_on", ""},
      {"essential", "\"essential\":true"},
      {"tasks.mode", "\"tasks\":{\"mode\":\"notify\"}"},
      {"tasks.timeout", "\"tasks\":{\"timeout\":1}"},
      {"tasks.grace", "\"tasks\":{\"grace\":1}"},
      {"tasks.max_attempts", "\"tasks\":{\"max_attempts\":1}"},
      {"tasks.retry_delay", "\"tasks\":{\"retry_delay\":1}"},
      {"tasks.retry_max", "\"tasks\":{\"retry_max\":\"11m\"}"},
      {"tasks.max_crashes", "\"tasks\":{\"max_crashes\":1}"},
      {"tasks.max_queue", "\"tasks\":{\"max_queue\":1}"},
      {"tasks.max_queue_bytes", "\"tasks\":{\"max_queue_bytes\":\"1M\"}"},
      {"tasks.on_full", "\"tasks\":{\"on_full\":\"block\"}"},
      {"tasks.queue_timeout", "\"tasks\":{\"queue_timeout\":1}"},
      {"tasks.max_body", "\"tasks\":{\"max_body\":\"1M\"}"},
      {"tasks.credit", "\"tasks\":{\"credit\":2}"},
      {"tasks.durability", "\"tasks\":{\"durability\":\"memory\"}"},
      {"tasks.max_result", "\"tasks\":{\"max_result\":\"2M\"}"},
      {"tasks.result_ttl", "\"tasks\":{\"result_ttl\":1}"},
      {"tasks.dead_ttl", "\"tasks\":{\"dead_ttl\":1}"},
      {"tasks.on_lost", "\"tasks\":{\"on_lost\":\"dead\"}"}};
  return kChanges;
}

Configuration configuration(const std::string& members) {
  const ConfigTree tree;
  tree.write("x.env", "FROM_FILE=1\n");
  std::string text = members;
  if (const auto at = text.find("ENV_FILE"); at != std::string::npos)
    text.replace(at, 8, tree.path("x.env"));
  const auto loaded = load_pool(text);
  for (const auto& error : loaded.errors)
    FAIL(error.text());
  return loaded.configuration;
}

}  // namespace

TEST_CASE("each key of the table, changed alone, is applied as its row says") {
  ::setenv("CONFIG_TEST_PASS", "1", 1);
  const Configuration plain = configuration(""), queue = configuration("\"tasks\":{}");
  for (const auto& key : mtd::config::pool_keys()) {
    CAPTURE(key.info.path);
    const bool of_queue = key.info.path.starts_with("tasks.") && key.info.path != "tasks.mode";
    const Configuration& before = of_queue ? queue : plain;
    const auto change = changes().find(key.info.path);
    REQUIRE(change != changes().end());
    Configuration after = configuration(change->second);
    if (key.info.path == "depends_on")  // a second pool would be a change of its own
      after.pools[0].depends_on.push_back({"db", mtd::config::DependencyState::ready});
    const auto plan = make_plan(before, after);
    REQUIRE(plan.pools.size() == 1);
    CHECK(plan.pools[0].apply == key.info.apply);
    REQUIRE(!plan.pools[0].keys.empty());
    if (key.get != nullptr) {
      CHECK(std::find(plan.pools[0].keys.begin(), plan.pools[0].keys.end(), key.info.path) !=
            plan.pools[0].keys.end());
    }
    const bool same_process = before.pools[0].spawn_fingerprint == after.pools[0].spawn_fingerprint;
    CHECK(same_process == (key.info.apply == Apply::hot));
    CHECK(make_plan(after, after).pools[0].apply == Apply::unchanged);
  }
  ::unsetenv("CONFIG_TEST_PASS");
  CHECK(changes().size() == mtd::config::pool_keys().size());
}

TEST_CASE("the strongest key comes first and decides") {
  const auto plan =
      make_plan(configuration(""),
                configuration("\"enabled\":false,\"command\":[\"/bin/false\"],\"nice\":3"));
  CHECK(plan.pools[0].apply == Apply::rolling);
  CHECK(plan.pools[0].keys == std::vector<std::string>{"command", "nice", "enabled"});
  CHECK(mtd::config::describe_plan(plan) == "web: rolling: command, nice, enabled\n");
  CHECK(mtd::config::describe_plan(make_plan({}, {})) == "nothing changes\n");
}

TEST_CASE("pools come, go and stay, sorted by name") {
  Configuration before;
  Configuration after;
  before.pools.resize(2);
  before.pools[0].name = "b";
  before.pools[1].name = "c";
  after.pools.resize(2);
  after.pools[0].name = "a";
  after.pools[1].name = "b";
  const auto plan = make_plan(before, after);
  REQUIRE(plan.pools.size() == 3);
  CHECK(plan.pools[0].apply == Apply::add);
  CHECK(plan.pools[1].apply == Apply::unchanged);
  CHECK(plan.pools[2].apply == Apply::remove);
  CHECK(mtd::config::describe_plan(plan) == "a: add\nc: remove\n");
}

TEST_CASE("keys of the daemon apply in place or need a restart") {
  Configuration before;
  Configuration after;
  after.daemon.control_socket = "/x";
  after.daemon.operate_gid = 0;
  after.daemon.readonly_gid = 1;
  after.daemon.log_level = "debug";
  after.daemon.max_processes = 1;
  after.daemon.start_concurrency = 1;
  after.daemon.max_clients = 5;
  after.daemon.memory_pressure = 0;
  after.daemon.task_user = "x";
  after.daemon.task_directory = "/y";
  after.daemon.task_quota = 1U << 30;
  const auto plan = make_plan(before, after);
  CHECK(plan.daemon_keys == std::vector<std::string>{"log.level", "limits.processes",
                                                     "limits.start_concurrency", "limits.clients",
                                                     "limits.memory_pressure"});
  CHECK(plan.daemon_restart_keys == std::vector<std::string>{"control.socket", "control.group",
                                                             "control.readonly_group", "tasks.user",
                                                             "tasks.directory", "tasks.quota"});
  CHECK(plan.daemon_keys.size() + plan.daemon_restart_keys.size() ==
        mtd::config::daemon_keys().size());
}

TEST_CASE("the fingerprint is the same in every build") {
  const auto decoded =
      mtd::config::decode(mtd::config::encode(configuration("\"env_clear\":true")));
  REQUIRE(decoded.has_value());
  CHECK(decoded->pools[0].spawn_fingerprint == 6691076040203689363ULL);
}
