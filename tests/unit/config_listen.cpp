// Sockets of `listen`: what is understood, the text form it becomes, and what each mistake is told.
#include <sys/socket.h>

#include <nlohmann/json.hpp>

#include "config/listen.h"
#include "config/plan.h"
#include "tests/unit/config_support.h"

using mtd::config::listen_address;
using mtd::config::listen_text;
using mtd::config::ListenKind;
using mtd::config::ListenNames;
using mtd::config::ListenSpec;
using mtd::config::parse_listen;

namespace {

ListenNames names() {
  ListenNames names;
  names.host = [](const std::string& host) -> mtd::Result<std::vector<std::string>> {
    if (host == "one") return std::vector<std::string>{"192.0.2.1"};
    if (host == "two") return std::vector<std::string>{"::1", "127.0.0.1"};
    return mtd::Error{"no host " + host};
  };
  names.user = names.group = [](const std::string& name) -> mtd::Result<std::uint32_t> {
    if (name == "www") return 33U;
    return mtd::Error{"unknown name " + name};
  };
  return names;
}

std::string text_of(const std::string& written) {
  const auto spec = parse_listen(written, names());
  return spec ? listen_text(*spec) : "ERROR " + spec.error().message;
}

std::string error_of(const std::string& written) {
  const auto spec = parse_listen(written, names());
  return spec ? "no error: " + listen_text(*spec) : spec.error().message;
}

}  // namespace

TEST_CASE("addresses have one text form, which is read back as the same") {
  const std::pair<const char*, const char*> samples[] = {
      {"tcp:127.0.0.1:8080", "tcp:127.0.0.1:8080"},
      {"tcp:0.0.0.0:1", "tcp:0.0.0.0:1"},
      {"tcp:*:65535", "tcp:*:65535"},
      {"tcp:[0:0::1]:80", "tcp:[::1]:80"},
      {"udp:[::]:53?reuse_port=yes", "udp:[::]:53?reuse_port=yes"},
      {"tcp:one:80", "tcp:192.0.2.1:80"},
      {"tcp:127.0.0.1:80?backlog=4096&reuse_port=no", "tcp:127.0.0.1:80"},
      {"tcp:127.0.0.1:80?backlog=5&name=http", "tcp:127.0.0.1:80?name=http&backlog=5"},
      {"unix:/run/x.sock", "unix:/run/x.sock"},
      {"unix:/run/x.sock?mode=600&user=www&group=7", "unix:/run/x.sock?mode=0600&user=33&group=7"},
      {"systemd:web?name=http", "systemd:web?name=http"}};
  for (const auto& sample : samples) {
    const char* const written = sample.first;
    const char* const expected = sample.second;
    CAPTURE(written);
    CHECK(text_of(written) == expected);
    const auto again = parse_listen(expected, {});
    REQUIRE(again);
    CHECK(*again == *parse_listen(written, names()));
  }
  CHECK(listen_address(*parse_listen("unix:/run/x?mode=0600", {})) == "unix:/run/x");
}

TEST_CASE("every mistake says what would be right") {
  const char* const forms =
      "must be like tcp:127.0.0.1:8080, tcp:[::1]:8080, tcp:*:8080 (IPv4 and IPv6), udp:…, "
      "unix:/run/web.sock or systemd:NAME";
  const char* const needs =
      "needs an address and a port, like tcp:127.0.0.1:8080, tcp:[::1]:8080 or tcp:*:8080 (IPv4 "
      "and IPv6)";
  CHECK(error_of("127.0.0.1:80") == forms);
  CHECK(error_of("http:127.0.0.1:80") == forms);
  CHECK(error_of("") == forms);
  CHECK(error_of("tcp:8080") == needs);
  CHECK(error_of("tcp::8080") == needs);
  CHECK(error_of("tcp:127.0.0.1") == needs);
  CHECK(error_of("tcp:127.0.0.1:") == needs);
  CHECK(error_of("tcp:[::1]") == needs);
  CHECK(error_of("tcp:127.0.0.1:0") == "the port must be a number from 1 to 65535, not \"0\"");
  CHECK(error_of("tcp:127.0.0.1:65536") ==
        "the port must be a number from 1 to 65535, not \"65536\"");
  CHECK(error_of("tcp:127.0.0.1:http") ==
        "the port must be a number from 1 to 65535, not \"http\"");
  CHECK(error_of("tcp:::1:80") == "an IPv6 address stands in brackets, like tcp:[::1]:8080");
  CHECK(error_of("tcp:[127.0.0.1]:80") == "\"[127.0.0.1]\" is no IPv6 address");
  CHECK(error_of("tcp:two:80") ==
        "\"two\" has 2 addresses, ::1 and 127.0.0.1; give the one that is meant");
  CHECK(error_of("tcp:none:80") == "no host none");
  CHECK(error_of("unix:run/x") == "needs the absolute path of a socket, like unix:/run/web.sock");
  CHECK(error_of("unix:/run/") == "needs the absolute path of a socket, like unix:/run/web.sock");
  CHECK(error_of("unix:/" + std::string(107, 'x')) ==
        "the path has 108 bytes; the path of a socket has at most 107");
  CHECK(error_of("systemd:a b") ==
        "needs the name of a socket as FileDescriptorName= of the socket unit gives it, like "
        "systemd:web");
  CHECK(error_of("tcp:*:80?mode=0660") ==
        "there is no option \"mode\" of a tcp socket; there are name, backlog, reuse_port");
  CHECK(error_of("tcp:*:80?reuseport=yes") ==
        "there is no option \"reuseport\" of a tcp socket, did you mean \"reuse_port\"?");
  CHECK(error_of("tcp:*:80?zzzzzz=1") ==
        "there is no option \"zzzzzz\" of a tcp socket; there are name, backlog, reuse_port");
  CHECK(error_of("tcp:*:80?backlog=0") == "backlog must be a number from 1 to 65535, not \"0\"");
  CHECK(error_of("tcp:*:80?reuse_port=1") == "reuse_port must be yes or no, not \"1\"");
  CHECK(error_of("tcp:*:80?reuse_port") ==
        "an option is NAME=VALUE, like mode=0660, not \"reuse_port\"");
  CHECK(error_of("tcp:*:80?backlog=1&backlog=2") == "option \"backlog\" is given twice");
  CHECK(error_of("unix:/x?mode=0888") ==
        "mode must be octal, from 0 to 0777, like 0660, not \"0888\"");
  CHECK(error_of("unix:/x?user=nobody-here") == "unknown name nobody-here");
  CHECK(error_of("tcp:*:80?name=a:b") ==
        "name: up to 64 letters, digits, \"_\", \".\" and \"-\", not \"a:b\"");
}

TEST_CASE("a pool: variables are expanded, defaults filled in, mistakes told with their place") {
  const auto pool = mtd::test::pool_of(mtd::test::load_pool(
      R"("env": {"PORT": "8080"}, "listen": ["tcp:127.0.0.1:${PORT}", "systemd:www"])"));
  REQUIRE(pool.listen.size() == 2);
  CHECK(listen_text(pool.listen[0]) == "tcp:127.0.0.1:8080?name=web");
  CHECK(listen_text(pool.listen[1]) == "systemd:www?name=www");
  CHECK(pool.overlap);  // one worker, but a successor can serve the same socket beside it
  CHECK(mtd::test::pool_of(mtd::test::load_pool(R"("listen": "unix:/run/x")")).listen.size() == 1);

  const auto errors = [](const std::string& members) {
    std::vector<std::string> texts;
    for (const auto& problem : mtd::test::load_pool(members).errors)
      texts.push_back(problem.message);
    return texts;
  };
  using Texts = std::vector<std::string>;
  CHECK(errors(R"("listen": ["tcp:127.0.0.1:80${MTD_WORKER_ID}"])") ==
        Texts{"pools.web.listen: \"tcp:127.0.0.1:80${MTD_WORKER_ID}\": must be the same for all "
              "workers; reuse_port=yes gives each a socket of its own"});
  CHECK(errors(R"("listen": ["tcp:*:80", "tcp:*:80?backlog=3"])") ==
        Texts{"pools.web.listen: names tcp:*:80 twice"});
  CHECK(errors(R"("listen": 8080)") ==
        Texts{"pools.web.listen: must be a socket or a list of them, like "
              "\"tcp:127.0.0.1:8080\", not 8080"});
  CHECK(errors(R"("listen": "tcp:no.such.host.invalid:80")").size() == 1);
}

TEST_CASE("two pools cannot listen on one address, and a changed address replaces the workers") {
  const mtd::test::ConfigTree tree;
  const auto write = [&](const std::string& b) {
    tree.write("mtd.json", R"({"pools": {"a": {"command": "/bin/true", "listen": "tcp:*:80"},
 "b": {"command": "/bin/true", "listen": ")" +
                               b + R"("}}})");
  };
  write("tcp:*:80?backlog=7");
  CHECK(mtd::test::joined(tree.errors()) ==
        "mtd.json:2:42: pools.b.listen: tcp:*:80 is pool a's already\n");
  write("tcp:*:81");
  const auto before = tree.load();
  REQUIRE(before.errors.empty());
  write("tcp:*:82");
  const auto plan = mtd::config::make_plan(before.configuration, tree.load().configuration);
  CHECK(plan.pools[0].apply == mtd::config::Apply::unchanged);
  CHECK(plan.pools[1].apply == mtd::config::Apply::rolling);
  CHECK(plan.pools[1].keys == std::vector<std::string>{"listen"});
  CHECK(mtd::config::encode(*mtd::config::decode(mtd::config::encode(before.configuration))) ==
        mtd::config::encode(before.configuration));
}
