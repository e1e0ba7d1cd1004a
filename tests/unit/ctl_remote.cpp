// mtctl -H: what is asked of ssh, and which hosts are refused with which words.
#include <doctest/doctest.h>

#include "ctl/remote.h"

using namespace mtd::ctl;
using mtd::CtlExit;
using Words = std::vector<std::string>;

namespace {

Host host_of(std::string_view text) {
  const auto host = parse_host(text);
  REQUIRE(host.has_value());
  return *host;
}

std::string refusal(std::string_view text) {
  const auto host = parse_host(text);
  REQUIRE_FALSE(host.has_value());
  CHECK(host.failure().code == CtlExit::usage);
  return host.failure().message;
}

Words words_of(const Words& arguments, bool terminal = false) {
  const auto words = remote_words({"web1", ""}, arguments, terminal);
  REQUIRE(words.has_value());
  return *words;
}

}  // namespace

TEST_CASE("a host is a URL, or what ssh takes for one") {
  const auto check = [](std::string_view text, const char* destination, const char* port) {
    CAPTURE(text);
    CHECK(host_of(text).destination == destination);
    CHECK(host_of(text).port == port);
  };
  check("ssh://web1", "web1", "");
  check("ssh://web1/", "web1", "");
  check("ssh://deploy@web1:2222", "deploy@web1", "2222");
  check("ssh://[fe80::1]:22", "fe80::1", "22");
  check("ssh://root@[::1]", "root@::1", "");
  check("web1", "web1", "");
  check("deploy@web1", "deploy@web1", "");
}

TEST_CASE("what is no host is refused and says what one looks like") {
  for (const char* text : {"", "ssh://", "ssh://@web1", "ssh://web1:0", "ssh://web1:65536",
                           "ssh://web1:x", "-oProxyCommand=x", "ssh://-oProxyCommand=x",
                           "http://web1", "ssh://web1/run/mtd", "we b", "web\n1"}) {
    CAPTURE(text);
    CHECK(refusal(text).find("ssh://[USER@]HOST[:PORT]") != std::string::npos);
  }
}

TEST_CASE("the command is ours without the host, quoted for the shell there") {
  CHECK(words_of({"-H", "ssh://web1", "status", "-w"}) ==
        Words{"ssh", "--", "web1", "mtctl status -w"});
  CHECK(words_of({"status", "--host=web1", "web*"}) ==
        Words{"ssh", "--", "web1", "mtctl status 'web*'"});
  CHECK(words_of({"-Hweb1", "status"}, true) == Words{"ssh", "-t", "--", "web1", "mtctl status"});
  CHECK(words_of({"put", "--host", "web1", "p", "it's", "", "$(x)"}).back() ==
        "mtctl put p 'it'\\''s' '' '$(x)'");
  CHECK(remote_words({"web1", "22"}, {"-H", "x", "status"}, false).has_value());
  CHECK((*remote_words({"web1", "22"}, {"-H", "x", "status"}, false))[2] == "22");
}

TEST_CASE("what stands after -- is a command's") {
  CHECK(words_of({"-H", "web1", "map", "-j", "2", "--", "curl", "-H", "A: b"}).back() ==
        "mtctl map -j 2 -- curl -H 'A: b'");
}

TEST_CASE("a host within a cluster of options is not taken apart") {
  const auto words = remote_words({"web1", ""}, {"-qH", "web1", "status"}, false);
  REQUIRE_FALSE(words.has_value());
  CHECK(words.failure().code == CtlExit::usage);
}
