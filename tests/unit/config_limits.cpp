// Processors, cgroup limits and sandbox: values, every error text, and warnings about missing
// rights.
#include <doctest/doctest.h>

#include <algorithm>

#include "config/capabilities.h"
#include "config/privileges.h"
#include "config/scheduling.h"
#include "config/system_calls.h"
#include "tests/unit/config_support.h"

using mtd::config::PoolSpec;
using mtd::test::ConfigTree;
using mtd::test::load_pool;
using mtd::test::pool_of;

namespace {

std::string refusal(const std::string& members) {
  const auto loaded = load_pool(members);
  REQUIRE_MESSAGE(loaded.errors.size() == 1, members);
  const std::string text = loaded.errors.front().text();
  return text.substr(text.find("pools.web."));
}

// False, with a message, where this build has none.
bool has_seccomp() {
  const bool has = mtd::config::check_system_call("mount").has_value();
  if (!has) MESSAGE("skipped: built without libseccomp");
  return has;
}

}  // namespace

TEST_CASE("values of processors, limits and sandbox") {
  const PoolSpec spec = pool_of(
      load_pool("\"ionice\":\"best-effort:7\",\"cpu_affinity\":\"3,0-1\","
                "\"cgroup\":{\"memory_max\":\"512M\",\"memory_high\":1048576,\"cpu_max\":\"150%\","
                "\"cpu_weight\":10000,\"io_weight\":1,\"pids_max\":64,\"required\":true},"
                "\"sandbox\":{\"capabilities\":[\"CAP_CHOWN\",\"Net_Bind_Service\"],"
                "\"private_tmp\":true,\"read_only_paths\":[\"/etc\",\"/x/${MTD_WORKER_ID}\"]}"));
  CHECK(spec.ionice == (2 << 13 | 7));
  CHECK(spec.cpu_affinity.cpus == std::vector<int>{0, 1, 3});
  CHECK(spec.cgroup.memory_max == 512U << 20);
  CHECK(spec.cgroup.memory_high == 1048576);
  CHECK(spec.cgroup.cpu_max == 150);
  CHECK(spec.cgroup.cpu_weight == 10000);
  CHECK(spec.cgroup.io_weight == 1);
  CHECK(spec.cgroup.pids_max == 64);
  CHECK(spec.cgroup.required);
  CHECK(spec.sandbox.capabilities == (std::uint64_t{1} | 1U << 10));
  CHECK(spec.sandbox.ambient_capabilities == spec.sandbox.capabilities);
  CHECK(spec.sandbox.private_tmp);
  CHECK(spec.sandbox.read_only_paths.size() == 2);
  CHECK_FALSE(spec.sandbox.no_new_privs);
}

TEST_CASE("one processor for each worker; the bounding set alone") {
  CHECK(pool_of(load_pool("\"cpu_affinity\":\"per-worker\"")).cpu_affinity.per_worker);
  CHECK(pool_of(load_pool("\"cpu_affinity\":[2,0,2]")).cpu_affinity.cpus == std::vector<int>{0, 2});
  const PoolSpec spec =
      pool_of(load_pool("\"sandbox\":{\"capabilities\":[\"kill\"],\"ambient_capabilities\":[]}"));
  CHECK(spec.sandbox.capabilities == 32);
  CHECK(spec.sandbox.ambient_capabilities == 0);
}

TEST_CASE("seccomp brings no_new_privs") {
  if (!has_seccomp()) return;
  const PoolSpec spec = pool_of(load_pool("\"sandbox\":{\"seccomp\":[\"@mount\",\"ptrace\"]}"));
  CHECK(spec.sandbox.no_new_privs);
  CHECK(spec.sandbox.seccomp == std::vector<std::string>{"@mount", "ptrace"});
  const auto calls = mtd::config::expand_system_calls({"@default", "ptrace", "socket"});
  CHECK(std::count(calls.begin(), calls.end(), "ptrace") == 1);
  CHECK(std::count(calls.begin(), calls.end(), "mount") == 1);
  CHECK(calls.back() == "socket");
}

TEST_CASE("every error text") {
  const std::string io =
      "pools.web.ionice: must be \"idle\", \"best-effort:LEVEL\" or \"realtime:LEVEL\" with a "
      "level from 0 (first) to 7, not ";
  for (const char* value : {"\"idle:0\"", "\"best-effort:8\"", "\"besteffort\"", "\"\"", "\":1\"",
                            "\"realtime:\"", "4"}) {
    CHECK(refusal("\"ionice\":" + std::string(value)) == io + value);
  }
  const std::string cpus =
      "pools.web.cpu_affinity: must be numbers of processors, like \"0-3,8\" or [0, 1], or "
      "\"per-worker\", not ";
  for (const char* value : {"\"\"", "\"1-0\"", "\"0,\"", "\"1024\"", "\"0-\"", "\"-1\"", "[]",
                            "[1024]", "[\"0\"]", "3", "\"all\""}) {
    CHECK(refusal("\"cpu_affinity\":" + std::string(value)) == cpus + value);
  }
  const std::string percent =
      "pools.web.cgroup.cpu_max: must be a percentage in quotes from 1% to 1000000%, like "
      "\"150%\", not ";
  for (const char* value : {"50", "\"0%\"", "\"1.5%\"", "\"%\"", "\"-5%\"", "\"50\""})
    CHECK(refusal("\"cgroup\":{\"cpu_max\":" + std::string(value) + "}") == percent + value);
  CHECK(refusal("\"cgroup\":{\"memory_max\":0}").find("must be a size from 1B to ") !=
        std::string::npos);
  CHECK(refusal("\"cgroup\":{\"memory_max\":\"80%\"}").find("\"80%\" is not a size") !=
        std::string::npos);
  CHECK(refusal("\"cgroup\":{\"memory_max\":\"1M\",\"memory_high\":\"2M\"}") ==
        "pools.web.cgroup.memory_high: is 2M, more than cgroup.memory_max (1M)");
  CHECK(refusal("\"cgroup\":{\"cpu_weight\":0}") ==
        "pools.web.cgroup.cpu_weight: must be a whole number from 1 to 10000, not 0");
  CHECK(refusal("\"sandbox\":{\"capabilities\":[\"net_bind_servic\"]}") ==
        "pools.web.sandbox.capabilities: \"net_bind_servic\" is no capability, did you mean "
        "\"net_bind_service\"?");
  CHECK(refusal("\"sandbox\":{\"capabilities\":\"all\"}") ==
        "pools.web.sandbox.capabilities: must be a list of capabilities, like "
        "[\"net_bind_service\"], not \"all\"");
  CHECK(refusal("\"sandbox\":{\"capabilities\":[\"qqqqqqqqqqqqqqqq\"]}") ==
        "pools.web.sandbox.capabilities: \"qqqqqqqqqqqqqqqq\" is no capability; capabilities(7) "
        "lists them");
  CHECK(refusal("\"sandbox\":{\"capabilities\":[\"kill\"],\"ambient_capabilities\":[\"chown\"]}") ==
        "pools.web.sandbox.ambient_capabilities: \"chown\" is not in sandbox.capabilities");
  CHECK(refusal("\"sandbox\":{\"read_only_paths\":\"etc\"}") ==
        "pools.web.sandbox.read_only_paths: must be an absolute path, not \"etc\"");
  CHECK(refusal("\"cwd\":\"/var/tmp/x\",\"sandbox\":{\"private_tmp\":true}") ==
        "pools.web.cwd: \"/var/tmp/x\" is hidden from the worker by sandbox.private_tmp");
}

TEST_CASE("error texts about system calls") {
  if (!has_seccomp()) return;
  const std::string key = "pools.web.sandbox.seccomp: ";
  const auto refused = [](const std::string& name) {
    return refusal("\"sandbox\":{\"seccomp\":[\"" + name + "\"]}");
  };
  CHECK(refused("mounts") == key + "\"mounts\" is no system call, did you mean \"mount\"?");
  CHECK(refused("execve") == key + "\"execve\" cannot be refused: it is what starts the worker");
  CHECK(refused("@mounts") ==
        key +
            "\"@mounts\" is no group of system calls; there are @default, "
            "@clock, @debug, @kernel, @keyring, @module, @mount, @namespaces");
  CHECK(refused("clone:namespaces").find("is no system call") != std::string::npos);
  CHECK(refusal("\"sandbox\":{\"seccomp\":[\"@mount\"],\"no_new_privs\":false}") ==
        "pools.web.sandbox.no_new_privs: must be true with sandbox.seccomp: a setuid program could "
        "be misled by refused system calls");
}

TEST_CASE("what the user may not do is a warning with the key and the capability") {
  PoolSpec spec;
  spec.nice = -1;
  spec.ionice = 1 << 13;
  spec.cpu_affinity.cpus = {0, 900};
  spec.sandbox.capabilities = 1;
  spec.sandbox.ambient_capabilities = 1;
  spec.sandbox.private_tmp = true;
  spec.sandbox.read_only_paths = {"/etc"};
  const auto problems = mtd::config::privilege_problems(spec, {0, {0, 1}});
  std::vector<std::string> texts;
  for (const auto& problem : problems)
    texts.push_back(std::string(problem.path) + ": " + problem.message);
  const auto needs = [](const std::string& key, const std::string& capability) {
    return key + ": needs " + capability + ", which this user has not; no worker will start";
  };
  CHECK(texts == std::vector<std::string>{
                     needs("nice", "CAP_SYS_NICE"), needs("ionice", "CAP_SYS_NICE"),
                     needs("sandbox.capabilities", "CAP_SETPCAP"),
                     needs("sandbox.private_tmp", "CAP_SYS_ADMIN"),
                     needs("sandbox.read_only_paths", "CAP_SYS_ADMIN"),
                     needs("sandbox.capabilities", "CAP_CHOWN"),
                     "cpu_affinity: 900 cannot be used, mtd may run on 0-1; the others will be"});
  CHECK(mtd::config::privilege_problems(spec, {~std::uint64_t{0}, {}}).empty());
  const auto own = mtd::config::own_privileges();
  CHECK_FALSE(own.cpus.empty());
  CHECK((::geteuid() != 0 || own.capabilities != 0));
}

TEST_CASE("lists of processors are written as they are read") {
  for (const char* text : {"0", "0-3", "0-3,8", "1,3,5-7,1023"}) {
    const auto cpus = mtd::config::parse_cpu_list(text);
    REQUIRE(cpus);
    CHECK(mtd::config::cpu_affinity_text({*cpus, false}) == text);
  }
}
