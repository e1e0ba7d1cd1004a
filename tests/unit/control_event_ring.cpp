// The event ring: order, gaps, cursors, selectors, waking. Calls are stood in for by a plain
// object.
#include <doctest/doctest.h>

#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "daemon/supervisor/event_ring.h"

using namespace mtd::supervisor;
using nlohmann::json;

namespace {

class FakeCall final : public Call {
 public:
  explicit FakeCall(json parameters) : parameters_(std::move(parameters)) {}
  const mtd::control::Method& method() const override {
    return *mtd::control::find_method("Events");
  }
  const json& parameters() const override { return parameters_; }
  const Peer& peer() const override { return peer_; }
  bool wants_more() const override { return true; }
  bool connected() const override { return true; }
  void reply(const json&) override {}
  void error(std::string_view name, const json& parameters) override {
    error_name = name;
    error_parameters = parameters;
  }
  bool reply_part(const json&) override { return false; }
  void stream(std::function<Piece()> next) override { next_ = std::move(next); }
  void hand_over(const json&, Taker) override {}
  void wake() override { ++woken; }
  void on_disconnect(std::function<void()>) override {}

  Piece next() { return next_(); }
  json events(Piece::Kind kind) {
    const Piece piece = next();
    CHECK(piece.kind == kind);
    if (piece.kind == Piece::Kind::wait) return nullptr;
    CHECK(piece.parameters.size() <= kMaxPieceBytes);
    return json::parse(piece.parameters)["events"];
  }

  int woken = 0;
  std::string error_name;
  json error_parameters;

 private:
  json parameters_;
  Peer peer_;
  std::function<Piece()> next_;
};

std::shared_ptr<FakeCall> ask(EventRing& ring, json parameters = json::object()) {
  auto call = std::make_shared<FakeCall>(std::move(parameters));
  ring.serve(call);
  return call;
}

void push(EventRing& ring, int n, const std::string& worker = "web/0") {
  ring.push(worker.substr(0, worker.find('/')), worker.find('/') == std::string::npos ? "" : worker,
            json{{"event", "started"}, {"n", n}});
}

constexpr auto kPart = Piece::Kind::part;
constexpr auto kLast = Piece::Kind::last;
constexpr auto kWait = Piece::Kind::wait;

}  // namespace

TEST_CASE("all that is kept, then the end") {
  EventRing ring("e1");
  CHECK(ring.cursor() == "e1:0");
  CHECK(ask(ring)->events(kLast) == json::array());
  for (int i = 1; i <= 3; ++i)
    push(ring, i);
  CHECK(ring.cursor() == "e1:3");
  const json events = ask(ring)->events(kLast);
  REQUIRE(events.size() == 3);
  CHECK(events[0] == json{{"event", "started"}, {"n", 1}, {"cursor", "e1:1"}});
  CHECK(ask(ring, {{"since", "0"}})->events(kLast).size() == 3);
  CHECK(ask(ring, {{"since", "e1:2"}})->events(kLast)[0]["n"] == 3);
  CHECK(ask(ring, {{"since", "e1:3"}})->events(kLast) == json::array());
  CHECK(ask(ring, {{"since", "e1:0"}})->events(kLast).size() == 3);
}

TEST_CASE("a follower is told that it is subscribed, then every event once") {
  EventRing ring("e1");
  std::vector<std::weak_ptr<Call>> woken;
  ring.set_wake_all([&](std::vector<std::weak_ptr<Call>>&& calls) { woken = std::move(calls); });
  push(ring, 1);
  const auto call = ask(ring, {{"follow", true}});
  CHECK(call->events(kPart) == json::array());
  call->events(kWait);
  push(ring, 2);
  CHECK(woken.size() == 1);
  woken.clear();
  push(ring, 3);
  CHECK(woken.empty());  // it is awake already
  CHECK(call->events(kPart).size() == 2);
  call->events(kWait);
  ring.close();
  CHECK(woken.size() == 1);
  CHECK(call->events(kLast) == json::array());
}

TEST_CASE("a follower with a cursor gets what was since") {
  EventRing ring("e1");
  for (int i = 1; i <= 3; ++i)
    push(ring, i);
  const auto call = ask(ring, {{"follow", true}, {"since", "e1:1"}});
  CHECK(call->events(kPart).size() == 2);
  call->events(kWait);
}

TEST_CASE("the ring wraps; who was too slow is told how much was missed") {
  EventRing ring("e1", 10);
  const auto slow = ask(ring, {{"follow", true}});
  CHECK(slow->events(kPart) == json::array());
  for (int i = 1; i <= 25; ++i)
    push(ring, i);
  CHECK(ring.size() == 10);
  const json events = slow->events(kPart);
  REQUIRE(events.size() == 11);
  CHECK(events[0] == json{{"event", "lagged"}, {"missed", 15}, {"cursor", "e1:15"}});
  CHECK(events[1]["cursor"] == "e1:16");
  CHECK(events[10]["cursor"] == "e1:25");
  // Going on from the cursor of the gap gives the same.
  CHECK(ask(ring, {{"since", "e1:15"}})->events(kLast).size() == 10);
  CHECK(ask(ring, {{"since", "e1:14"}})->events(kLast)[0]["missed"] == 1);
  CHECK(ask(ring, {{"since", "0"}})->events(kLast).size() == 10);
}

TEST_CASE("the default ring keeps 4 096") {
  EventRing ring("e");
  for (int i = 0; i < 5'000; ++i)
    push(ring, i);
  CHECK(ring.size() == kEventRingCapacity);
  const auto call = ask(ring);
  std::size_t count = 0;
  while (true) {
    const Piece piece = call->next();
    CHECK(piece.parameters.size() <= kMaxPieceBytes);
    count += json::parse(piece.parameters)["events"].size();
    if (piece.kind == kLast) break;
    REQUIRE(piece.kind == kPart);
  }
  CHECK(count == kEventRingCapacity);
}

TEST_CASE("a cursor of another epoch: lagged, then all that is kept") {
  EventRing ring("e2", 10);
  push(ring, 1);
  const json events = ask(ring, {{"since", "e1:77"}})->events(kLast);
  REQUIRE(events.size() == 2);
  CHECK(events[0]["event"] == "lagged");
  CHECK(events[0]["missed"] == 0);
  CHECK(events[1]["n"] == 1);
  for (int i = 2; i <= 13; ++i)
    push(ring, i);
  CHECK(ask(ring, {{"since", "e1:77"}})->events(kLast)[0]["missed"] == 3);
  const auto follower = ask(ring, {{"since", "e1:77"}, {"follow", true}});
  CHECK(follower->events(kPart).size() == 11);
  follower->events(kWait);
}

TEST_CASE("what is no cursor is refused") {
  EventRing ring("e1");
  push(ring, 1);
  for (const char* since : {"", "1", "e1", "e1:", ":1", "e1:x", "e1:-1", "e1:1x", "e1:2",
                            "e1:18446744073709551615", "e1:99999999999999999999999"}) {
    CAPTURE(since);
    const auto call = ask(ring, {{"since", since}});
    CHECK(call->error_name == "org.varlink.service.InvalidParameter");
    CHECK(call->error_parameters["parameter"] == "since");
  }
}

TEST_CASE("selectors") {
  EventRing ring("e1");
  push(ring, 1, "web/0");
  push(ring, 2, "web/10");
  push(ring, 3, "web-2/1");
  push(ring, 4, "web");
  push(ring, 5, "mail/0");
  ring.push("", "", json{{"event", "reloaded"}, {"n", 6}});
  const auto selected = [&](json select) {
    std::string numbers;
    for (const json& event : ask(ring, {{"select", std::move(select)}})->events(kLast)) {
      numbers += std::to_string(event["n"].get<int>());
    }
    return numbers;
  };
  CHECK(selected(json::array()) == "123456");
  CHECK(selected({"web"}) == "124");
  CHECK(selected({"web*"}) == "1234");
  CHECK(selected({"web/10"}) == "2");
  CHECK(selected({"web/1"}) == "");
  CHECK(selected({"*/0"}) == "15");
  CHECK(selected({"web/?"}) == "1");
  CHECK(selected({"mail", "web-2"}) == "35");
  CHECK(selected({"*"}) == "12345");
  CHECK(selector_matches("a*b*c", "axxbyyc", ""));
  CHECK_FALSE(selector_matches("a*b*c", "axxbyy", ""));
  // No exponential patterns.
  CHECK_FALSE(selector_matches("*a*a*a*a*a*a*a*a*a*a*a*a*b", std::string(64, 'a'), ""));
}

TEST_CASE("a huge event is cut down to its core") {
  EventRing ring("e1");
  ring.push("web", "", json{{"event", "x"}, {"pid", 7}, {"detail", std::string(100'000, 'x')}});
  ring.push("web", "", json{{"event", "x"}, {"pid", 7}, {"other", std::string(100'000, 'x')}});
  for (const json& event : ask(ring)->events(kLast)) {
    CHECK(event["event"] == "x");
    CHECK(event["pid"] == 7);
    CHECK(event.dump().size() < 8'192);
  }
}

TEST_CASE("followers that go leave nothing behind") {
  EventRing ring("e1");
  std::size_t woken = 0;
  ring.set_wake_all([&](std::vector<std::weak_ptr<Call>>&& calls) { woken = calls.size(); });
  for (int i = 0; i < 10'000; ++i) {
    const auto call = ask(ring, {{"follow", true}});
    (void)call->next();
    (void)call->next();
  }
  push(ring, 1);
  CHECK(woken <= 128);
}
