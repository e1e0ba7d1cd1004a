// Requests over a real socket: introspection, splits, pipelining, faults in calls, limits of
// frames.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <string>

#include "tests/support/control_fixture.h"

using namespace mtd::test;
using namespace mtd::control;
using mtd::Duration;
using nlohmann::json;

namespace {

const std::string kInvalidParameter = "org.varlink.service.InvalidParameter";

std::string service_request(const std::string& rest) {
  return "{\"method\":\"org.varlink.service." + rest + "}" + std::string(1, '\0');
}

}  // namespace

TEST_CASE("introspection") {
  ControlFixture fixture;
  RawClient client = fixture.connect();
  const json info = fixture.call(client, service_request("GetInfo\""));
  CHECK(info["parameters"]["product"] == "mtd");
  CHECK(info["parameters"]["version"] == "1.2.3");
  CHECK(info["parameters"]["interfaces"] == json{"org.varlink.service", "io.mtd.Manager"});
  for (const char* name : {"io.mtd.Manager", "org.varlink.service"}) {
    const json reply = fixture.call(
        client, service_request("GetInterfaceDescription\",\"parameters\":{\"interface\":\"" +
                                std::string(name) + "\"}"));
    CHECK(reply["parameters"]["description"].get<std::string>().find(
              "interface " + std::string(name)) != std::string::npos);
  }
  CHECK(fixture.call(client,
                     service_request("GetInterfaceDescription\""))["parameters"]["parameter"] ==
        "interface");
  CHECK(fixture.call(client, service_request("GetInterfaceDescription\",\"parameters\":"
                                             "{\"interface\":\"a.b\"}"))["error"] ==
        "org.varlink.service.InterfaceNotFound");
  CHECK(fixture.call(client, service_request("Nothing\""))["error"] ==
        "org.varlink.service.MethodNotFound");
}

TEST_CASE("a request split at every byte gets the same answer") {
  ControlFixture fixture;
  fixture.handler = [](const std::shared_ptr<Call>& call) { call->reply(call->parameters()); };
  const std::string text = request("Status", R"({"select":["web","m\u00fc*"]})");
  RawClient client = fixture.connect();
  for (std::size_t split = 1; split < text.size(); ++split) {
    client.write(text.substr(0, split));
    fixture.reactor.settle();
    CHECK_FALSE(client.read());
    CHECK(client.bytes().empty());
    const json reply = fixture.call(client, text.substr(split));
    CHECK(reply["parameters"]["select"][1] == "m\xc3\xbc*");
  }
}

TEST_CASE("wrong calls get typed errors, and the connection lives") {
  ControlFixture fixture;
  RawClient client = fixture.connect();
  const auto check = [&](const std::string& text, const std::string& error,
                         const std::string& member, const std::string& value) {
    CAPTURE(text);
    const json reply = fixture.call(client, text);
    CHECK(reply["error"] == error);
    CHECK(reply["parameters"][member] == value);
  };
  check(request("Nothing"), "org.varlink.service.MethodNotFound", "method",
        "io.mtd.Manager.Nothing");
  check(std::string("{\"method\":\"a.b.C\"}\0", 19), "org.varlink.service.InterfaceNotFound",
        "interface", "a.b");
  check(std::string("{\"method\":\"C\"}\0", 15), "org.varlink.service.MethodNotFound", "method",
        "C");
  check(request("Start"), kInvalidParameter, "parameter", "select");
  check(request("Start", R"({"select":"web"})"), kInvalidParameter, "parameter", "select");
  check(request("Start", R"({"select":["web"],"wait":1})"), kInvalidParameter, "parameter", "wait");
  check(request("Start", R"({"select":["web"],"force":true})"), kInvalidParameter, "parameter",
        "force");
  check(request("Scale", R"({"pool":"web","want":0.1})"), kInvalidParameter, "parameter", "want");
  check(request("Scale", R"({"pool":"web","want":18446744073709551615})"), kInvalidParameter,
        "parameter", "want");
  check(request("Status", "{}", ",\"extra\":1"), kInvalidParameter, "parameter", "extra");
  check(request("Status", "[]"), kInvalidParameter, "parameter", "parameters");
  CHECK(fixture.call(client, request("Events"))["error"] == "org.varlink.service.ExpectedMore");
  // `more` where there is one reply only: an ordinary reply.
  CHECK(fixture.call(client, request("Limits", "{}", ",\"more\":true")).count("continues") == 0);
  CHECK(fixture.call(client, request("Status"))["parameters"]["pools"] == json::array());
}

TEST_CASE("a connection is handed over after the answer, with what was read beyond the call") {
  ControlFixture fixture;
  mtd::UniqueFd socket;
  std::string unread;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    call->hand_over(json{{"proto", 1}}, [&](mtd::UniqueFd given, std::string rest) {
      socket = std::move(given);
      unread = std::move(rest);
    });
  };
  RawClient client = fixture.connect();
  client.write(request("Limits") + "{\"t\":\"put\"}\n");
  fixture.reactor.run_until([&] { return static_cast<bool>(socket); });
  CHECK(unread == "{\"t\":\"put\"}\n");
  CHECK(fixture.answers(client, 1)[0]["parameters"]["proto"] == 1);
  CHECK(fixture.server->use().clients == 0);
  CHECK(::send(socket.get(), "x", 1, 0) == 1);
  CHECK_FALSE(client.read());
  CHECK(client.bytes() == "x");
}

TEST_CASE("a method that does not upgrade says so") {
  ControlFixture fixture;
  RawClient client = fixture.connect();
  const json reply = fixture.call(client, request("Status", "{}", ",\"upgrade\":true"));
  CHECK(reply["error"] == kInvalidParameter);
  CHECK(reply["parameters"]["parameter"] == "upgrade");
  const json info = fixture.call(
      client, std::string("{\"method\":\"org.varlink.service.GetInfo\",\"upgrade\":true}\0", 56));
  CHECK(info["error"] == kInvalidParameter);
}

TEST_CASE("what is no call at all is told so and closed") {
  ControlFixture fixture;
  std::string deep = "{\"method\":";
  deep.append(200'000, '[');
  for (const std::string& text :
       {std::string(1, '\0'), std::string("   \0", 4), std::string("[]\0", 3),
        std::string("{\0", 2), deep + '\0',
        std::string("{\"method\":\"a.B\",\"method\":\"a.B\"}\0", 33),
        request("Scale", R"({"pool":"web","want":18446744073709551616})"),
        request("Scale", R"({"pool":"web","want":1e999})"),
        request("Start", "{\"select\":[\"\xff\"]}"), request("Start", R"({"select":["\ud800"]})"),
        request("Start", R"({"select":["a\u0000b"]})"), "\xEF\xBB\xBF" + request("Status")}) {
    RawClient client = fixture.connect();
    client.write(text);
    const auto all = fixture.until_closed(client);
    CAPTURE(text.substr(0, 60));
    REQUIRE(all.size() == 1);
    CHECK(all[0]["error"] == kInvalidParameter);
    CHECK(all[0]["parameters"]["parameter"] == "call");
  }
  CHECK(fixture.server->use().clients == 0);
}

TEST_CASE("a request has at most 1 MiB") {
  ControlFixture fixture;
  const auto sized = [](std::size_t size) {
    std::string text = request("Status");
    text.insert(text.size() - 1, size - (text.size() - 1), ' ');
    return text;
  };
  const auto send_all = [&](RawClient& client, const std::string& text) {
    std::size_t written = 0;
    fixture.reactor.run_until([&] {
      const std::size_t now = client.write(std::string_view(text).substr(written, 65536));
      written += now;
      return written == text.size() || (now == 0 && client.read());
    });
  };
  RawClient fits = fixture.connect();
  send_all(fits, sized(1 << 20));
  CHECK(fixture.answers(fits, 1)[0].contains("parameters"));
  CHECK(fixture.server->use().unparsed_bytes == 0);

  RawClient beyond = fixture.connect();
  send_all(beyond, sized((1 << 20) + 1));
  CHECK(fixture.until_closed(beyond)[0]["error"] == kInvalidParameter);

  RawClient endless = fixture.connect();
  send_all(endless, std::string(10'000'000, 'x'));
  CHECK(fixture.until_closed(endless)[0]["error"] == kInvalidParameter);
  CHECK(fixture.server->use().unparsed_bytes == 0);
}

TEST_CASE("10 000 requests in one write are answered in order") {
  ControlFixture fixture;
  fixture.handler = [](const std::shared_ptr<Call>& call) { call->reply(call->parameters()); };
  std::string burst;
  for (int i = 0; i < 10'000; ++i) {
    burst += request("Status", "{\"select\":[\"" + std::to_string(i) + "\"]}");
  }
  RawClient client = fixture.connect();
  // Written whole before anything is read, as a simple client would.
  std::size_t written = 0;
  fixture.reactor.run_until([&] {
    written += client.write(std::string_view(burst).substr(written));
    return written == burst.size();
  });
  const auto all = fixture.answers(client, 10'000);
  REQUIRE(all.size() == 10'000);
  bool in_order = true;
  for (std::size_t i = 0; i < all.size(); ++i) {
    in_order = in_order && all[i]["parameters"]["select"][0] == std::to_string(i);
  }
  CHECK(in_order);
}

TEST_CASE("a pipelining client does not keep others waiting") {
  ControlFixture fixture;
  int served = 0;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    // Each call takes longer than a turn may last.
    fixture.reactor.advance_clock(Duration::milliseconds(1));
    ++served;
    call->reply(nlohmann::json::object());
  };
  std::string burst;
  for (int i = 0; i < 1'000; ++i)
    burst += request("Status");
  RawClient greedy = fixture.connect();
  REQUIRE(greedy.write(burst) == burst.size());
  while (served < 3)
    fixture.reactor.turn();
  RawClient polite = fixture.connect();
  polite.write(request("Limits"));
  const int before = served;
  while (!polite.read() && polite.bytes().empty())
    fixture.reactor.turn();
  CHECK(served - before < 10);
  CHECK(fixture.answers(greedy, 1'000).size() == 1'000);
}

TEST_CASE("oneway calls are done and not answered") {
  ControlFixture fixture;
  int done = 0;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    ++done;
    call->reply({{"n", done}});
  };
  RawClient client = fixture.connect();
  client.write(request("Restart", R"({"select":["a"]})", ",\"oneway\":true"));
  client.write(request("Restart", R"({"select":"a"})", ",\"oneway\":true"));
  const json reply = fixture.call(client, request("Status"));
  CHECK(done == 2);
  CHECK(reply["parameters"]["n"] == 2);
}

TEST_CASE("a client that sends and leaves: what it asked for is done") {
  ControlFixture fixture;
  std::vector<std::string> seen;
  fixture.handler = [&](const std::shared_ptr<Call>& call) {
    seen.emplace_back(call->method().name);
    call->reply(json::object());
  };
  RawClient client = fixture.connect();
  client.write(request("Status") + request("Stop", R"({"select":["a"]})") +
               request("Start", R"({"select":["a"]})", ",\"oneway\":true"));
  client.close();
  fixture.reactor.settle();
  CHECK(seen == std::vector<std::string>{"Stop", "Start"});
  CHECK(fixture.server->use().clients == 0);
}

TEST_CASE("a client that ends its side still gets its answers") {
  ControlFixture fixture;
  std::shared_ptr<Call> kept;
  fixture.handler = [&](std::shared_ptr<Call> call) { kept = std::move(call); };
  RawClient client = fixture.connect();
  client.write(request("Status"));
  REQUIRE(::shutdown(client.fd(), SHUT_WR) == 0);
  fixture.reactor.settle();
  REQUIRE(kept != nullptr);
  CHECK(kept->connected());
  kept->reply({{"pools", json::array()}});
  CHECK(fixture.until_closed(client).size() == 1);
  CHECK(fixture.server->use().clients == 0);
}

TEST_CASE("answers later, in order, once") {
  ControlFixture fixture;
  std::vector<std::shared_ptr<Call>> calls;
  fixture.handler = [&](std::shared_ptr<Call> call) { calls.push_back(std::move(call)); };
  RawClient client = fixture.connect();
  client.write(request("Status") + request("Limits"));
  fixture.reactor.settle();
  REQUIRE(calls.size() == 1);
  calls[0]->reply({{"n", 1}});
  calls[0]->reply({{"n", 2}});
  calls[0]->error("Failed", {{"message", "x"}});
  fixture.reactor.settle();
  REQUIRE(calls.size() == 2);
  CHECK(calls[1]->method().name == "Limits");
  calls[1]->error("NoSuchPool", {{"selector", "x"}});
  const auto all = fixture.answers(client, 2);
  CHECK(all[0] == json{{"parameters", {{"n", 1}}}});
  CHECK(all[1] ==
        json{{"error", "io.mtd.Manager.NoSuchPool"}, {"parameters", {{"selector", "x"}}}});
}

TEST_CASE("a call that is forgotten, or whose handler throws, is answered all the same") {
  ControlFixture fixture;
  fixture.handler = [](const std::shared_ptr<Call>&) {};
  RawClient client = fixture.connect();
  CHECK(fixture.call(client, request("Status"))["error"] == "io.mtd.Manager.Failed");
  fixture.handler = [](const std::shared_ptr<Call>& call) {
    (void)call->parameters().at("missing");
  };
  CHECK(fixture.call(client, request("Status"))["error"] == "io.mtd.Manager.Failed");
  fixture.handler = [](const std::shared_ptr<Call>& call) {
    call->stream([]() -> Piece { throw std::runtime_error("broken"); });
  };
  CHECK(fixture.call(client, request("Status"))["parameters"]["message"] ==
        "internal error: broken");
}
