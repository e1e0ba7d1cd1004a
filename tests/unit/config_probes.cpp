// Watchdog, probes and limits of a worker's life: values, every error text, what a reload makes of
// a change, and the way through the encoded form.
#include <doctest/doctest.h>

#include "config/expand.h"
#include "config/loader.h"
#include "config/plan.h"
#include "config/probe_target.h"
#include "tests/unit/config_support.h"

using namespace mtd::config;
using mtd::Duration;
using mtd::test::load_pool;
using mtd::test::pool_of;

namespace {

std::string refusal(const std::string& members) {
  const auto loaded = load_pool(members);
  REQUIRE_MESSAGE(loaded.errors.size() == 1, members);
  const std::string text = loaded.errors.front().text();
  return text.substr(text.find("pools.web."));
}

std::string live(const std::string& members) {
  return "\"probes\":{\"live\":{" + members + "}}";
}

}  // namespace

TEST_CASE("values, and their defaults") {
  const PoolSpec spec = pool_of(load_pool(
      "\"watchdog\":\"30s\",\"recycle\":{\"max_rss\":\"600M\",\"max_lifetime\":\"6h\","
      "\"idle_timeout\":\"5m\"},\"probes\":{\"live\":{\"http\":\"http://[::1]:80/up?x=1\","
      "\"period\":\"3s\",\"timeout\":\"2s\",\"threshold\":5},"
      "\"ready\":{\"exec\":[\"/bin/test\",\"-e\",\"/x/${MTD_WORKER_ID}\"]}}"));
  CHECK(spec.watchdog == Duration::seconds(30));
  CHECK(spec.recycle.max_rss == 600U << 20);
  CHECK(spec.recycle.max_lifetime == Duration::seconds(6 * 3600));
  CHECK(spec.recycle.idle_timeout == Duration::seconds(300));
  CHECK(spec.probes.live.http == "http://[::1]:80/up?x=1");
  CHECK(spec.probes.live.period == Duration::seconds(3));
  CHECK(spec.probes.live.timeout == Duration::seconds(2));
  CHECK(spec.probes.live.threshold == 5);
  CHECK(spec.probes.ready.executable == "/bin/test");
  CHECK(for_worker(spec.probes.ready.exec.at(2), 7, 1) == "/x/7");
  CHECK(spec.probes.ready.period == Duration::seconds(10));
  CHECK(spec.probes.ready.threshold == 3);
  CHECK(spec.ready == ReadyMode::probe);

  const PoolSpec plain = pool_of(load_pool(""));
  CHECK(plain.watchdog.is_zero());
  CHECK_FALSE(plain.probes.live.is_set());
  CHECK_FALSE(plain.probes.ready.is_set());
  CHECK(plain.ready == ReadyMode::exec);
  CHECK(plain.recycle.max_rss == 0);
  CHECK(plain.recycle.max_lifetime.is_zero());
}

TEST_CASE("a given `ready` is kept beside probes.ready") {
  const PoolSpec spec =
      pool_of(load_pool("\"ready\":\"fd\",\"probes\":{\"ready\":{\"tcp\":\"localhost:1\"}}"));
  CHECK(spec.ready == ReadyMode::fd);
}

TEST_CASE("every error of probes and watchdog") {
  CHECK(refusal("\"watchdog\":0") ==
        "pools.web.watchdog: must be a duration from 10ms to 365d, like \"10s\" or \"1m30s\", not "
        "0");
  CHECK(refusal("\"ready\":\"probe\"") ==
        "pools.web.ready: is \"probe\", and there is no probes.ready");
  CHECK(refusal(live("\"period\":\"1s\"")) ==
        "pools.web.probes.live: says how often and not what; give exec, http, tcp or unix");
  CHECK(refusal(live("\"tcp\":\"127.0.0.1:1\",\"unix\":\"/x\"")) ==
        "pools.web.probes.live: has \"tcp\" and \"unix\"; a probe is of one kind");
  CHECK(refusal(live("\"tcp\":\"127.0.0.1\"")) ==
        "pools.web.probes.live.tcp: the port is missing, like 127.0.0.1:8080");
  CHECK(refusal(live("\"tcp\":\"db.example:5432\"")) ==
        "pools.web.probes.live.tcp: \"db.example\" is no address; write it in numbers, or "
        "localhost: a name would have to be looked up for each probe");
  CHECK(refusal(live("\"tcp\":\"127.0.0.1:70000\"")) ==
        "pools.web.probes.live.tcp: \"70000\" is no port, a number from 1 to 65535");
  CHECK(refusal(live("\"tcp\":\"::1:80\"")) ==
        "pools.web.probes.live.tcp: an IPv6 address stands in brackets, like [::1]:80");
  CHECK(refusal(live("\"tcp\":\"[::1\"")) ==
        "pools.web.probes.live.tcp: the ] after the IPv6 address is missing");
  CHECK(refusal(live("\"http\":\"https://127.0.0.1/\"")) ==
        "pools.web.probes.live.http: \"https://127.0.0.1/\" does not begin with http://; TLS is "
        "not supported");
  CHECK(refusal(live("\"http\":\"http://127.0.0.1/a b\"")) ==
        "pools.web.probes.live.http: \"/a b\" is no path of a URL; it begins with / and has no "
        "spaces");
  CHECK(refusal(live("\"http\":\"http://unix:web.sock:/\"")) ==
        "pools.web.probes.live.http: \"web.sock\" is no absolute path of a socket");
  CHECK(refusal(live("\"unix\":\"/" + std::string(108, 'x') + "\""))
            .find("is longer than the 107 bytes a socket's path may have") != std::string::npos);
  CHECK(refusal(live("\"exec\":\"/no/such/program\"")).starts_with("pools.web.probes.live.exec: "));
  CHECK(
      refusal(live("\"exec\":[\"/bin/${MTD_WORKER_ID}\"]"))
          .starts_with("pools.web.probes.live.exec: the program must be the same for all workers"));
  CHECK(refusal(live("\"tcp\":\"127.0.0.1:${NOWHERE_TO_BE_FOUND}\""))
            .starts_with("pools.web.probes.live.tcp: ${NOWHERE_TO_BE_FOUND} is not defined"));
  CHECK(refusal(live("\"tcp\":\"127.0.0.1:1\",\"threshold\":0")) ==
        "pools.web.probes.live.threshold: must be a whole number from 1 to 100, not 0");
  CHECK(
      refusal("\"probes\":{\"alive\":{}}").starts_with("pools.web.probes: unknown key \"alive\""));
}

TEST_CASE("where a probe goes") {
  const auto web = parse_http_target("http://127.0.0.1:8080/health?full=1");
  REQUIRE(web);
  CHECK(*web == ProbeTarget{"127.0.0.1", 8080, "", "127.0.0.1:8080", "/health?full=1"});
  const auto plain = parse_http_target("http://localhost");
  REQUIRE(plain);
  CHECK(*plain == ProbeTarget{"127.0.0.1", 80, "", "localhost", "/"});
  const auto unix_web = parse_http_target("http://unix:/run/web.sock:/up");
  REQUIRE(unix_web);
  CHECK(*unix_web == ProbeTarget{"", 0, "/run/web.sock", "localhost", "/up"});
  const auto tcp = parse_tcp_target("[::1]:5432");
  REQUIRE(tcp);
  CHECK(*tcp == ProbeTarget{"::1", 5432, "", "", ""});
}

TEST_CASE("slot and incarnation are filled in, bytes that look like marks are not") {
  const std::string marked = with_markers("a\x01s") + "\x01s-\x01i";
  CHECK(unmarked(for_worker(marked, 3, 42)) == "a\x01s3-42");
}

TEST_CASE("probes and limits change in place, the watchdog does not") {
  const PoolSpec before = pool_of(load_pool(""));
  const PoolSpec probed =
      pool_of(load_pool("\"ready\":\"exec\",\"probes\":{\"live\":{\"tcp\":\"127.0.0.1:1\"},"
                        "\"ready\":{\"exec\":\"/bin/true\"}},\"recycle\":{\"max_rss\":1000}"));
  CHECK(before.spawn_fingerprint == probed.spawn_fingerprint);
  const PoolSpec watched = pool_of(load_pool("\"watchdog\":\"10s\""));
  CHECK(before.spawn_fingerprint != watched.spawn_fingerprint);
}

TEST_CASE("the encoded form keeps all of it") {
  const auto loaded = load_pool(
      "\"watchdog\":\"30s\",\"recycle\":{\"max_rss\":\"600M\",\"max_lifetime\":\"6h\"},"
      "\"probes\":{\"live\":{\"http\":\"http://127.0.0.1:80${MTD_WORKER_ID}/$$\"},"
      "\"ready\":{\"exec\":[\"/bin/true\",\"${MTD_WORKER}\"],\"period\":\"1s\"}}");
  const PoolSpec spec = pool_of(loaded);
  const auto again = decode(encode(loaded.configuration));
  REQUIRE(again);
  const PoolSpec& decoded = again->pools.front();
  CHECK(decoded.probes.live == spec.probes.live);
  CHECK(decoded.probes.ready == spec.probes.ready);
  CHECK(decoded.watchdog == spec.watchdog);
  CHECK(decoded.recycle.max_rss == spec.recycle.max_rss);
  CHECK(decoded.recycle.max_lifetime == spec.recycle.max_lifetime);
  CHECK(decoded.spawn_fingerprint == spec.spawn_fingerprint);
}
