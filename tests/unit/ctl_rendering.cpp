// What people see: tables at several widths, in colour and in a pipe, against golden texts.
#include <doctest/doctest.h>

#include <string>

#include <nlohmann/json.hpp>

#include "ctl/display_width.h"
#include "ctl/json_output.h"
#include "ctl/phrases.h"
#include "ctl/process_facts.h"
#include "ctl/process_tree.h"
#include "ctl/render_event.h"
#include "ctl/render_status.h"
#include "ctl/status_report.h"

using namespace mtd::ctl;

namespace {

const Screen kPipe{};

Screen terminal(std::size_t width, bool colour = false) {
  return Screen{true, true, colour, width};
}

Json pool(const char* name, const char* state, int ready, int want, Json more) {
  Json result{{"name", name},          {"state", state}, {"ready", ready}, {"want", want},
              {"want_file", want},     {"restarts", 0},  {"recycled", 0},  {"revision", 10},
              {"since_ms", 273600000}, {"note", ""}};
  result.update(more);
  return result;
}

// The example of the documentation.
Json sample() {
  Json pools = Json::array();
  pools.push_back(
      pool("web", "running", 4, 4, {{"busy", 3}, {"queue", {{"waiting", 0}}}, {"recycled", 212}}));
  pools.push_back(pool("thumbs", "degraded", 6, 8,
                       {{"busy", 6},
                        {"queue", {{"waiting", 118}}},
                        {"restarts", 3},
                        {"recycled", 512},
                        {"since_ms", 12000},
                        {"note", "thumbs/5 oom-killed, retry in 8s"}}));
  pools.push_back(pool("mailer", "rolling", 4, 4,
                       {{"busy", 1},
                        {"queue", {{"waiting", 4}}},
                        {"want_file", 2},
                        {"since_ms", 11000},
                        {"note", "rev 9→10: 2 of 4 updated"}}));
  pools.push_back(pool(
      "legacy", "stopped", 0, 0,
      {{"busy", nullptr}, {"queue", nullptr}, {"since_ms", 172800000}, {"note", "by uid 1000"}}));
  return {{"daemon",
           {{"version", "1.0.0"},
            {"pid", 812},
            {"uptime_ms", 273600000},
            {"config_rev", 10},
            {"config_in_sync", true},
            {"workers_ready", 14},
            {"workers_want", 16}}},
          {"pools", pools}};
}

std::size_t widest_line(const std::string& text) {
  std::size_t widest = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    widest = std::max(widest, display_width(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return widest;
}

}  // namespace

TEST_CASE("the overview in a pipe is what the documentation shows") {
  CHECK(render_overview(sample(), false, kPipe) ==
        "mtd 1.0.0  pid 812  up 3d4h  config rev 10 (in sync)"
        "                              14/16 workers ready\n"
        "POOL     STATE      READY  WANT  BUSY  QUEUE  RESTARTS  RECYCLED  SINCE  NOTE\n"
        "web      running      4/4     4     3      0         0       212   3d4h\n"
        "thumbs   degraded     6/8     8     6    118         3       512    12s  thumbs/5 "
        "oom-killed, retry in 8s\n"
        "mailer   rolling      4/4  4(2)     1      4         0         0    11s  rev 9→10: 2 of 4 "
        "updated\n"
        "legacy   stopped      0/0     0     -      -         0         0     2d  by uid 1000\n"
        "1 pool needs attention: thumbs          (mtctl why thumbs)\n");
}

TEST_CASE("at 80 columns the columns that matter least go") {
  CHECK(render_overview(sample(), false, terminal(80)) ==
        "mtd 1.0.0  pid 812  up 3d4h  config rev 10 (in sync)         14/16 workers ready\n"
        "POOL     STATE      READY  WANT  RESTARTS  SINCE  NOTE\n"
        "web      running      4/4     4         0   3d4h\n"
        "thumbs   degraded     6/8     8         3    12s  thumbs/5 oom-killed, retry in…\n"
        "mailer   rolling      4/4  4(2)         0    11s  rev 9→10: 2 of 4 updated\n"
        "legacy   stopped      0/0     0         0     2d  by uid 1000\n"
        "1 pool needs attention: thumbs          (mtctl why thumbs)\n");
}

TEST_CASE("no line is wider than the terminal, from 40 columns on") {
  for (std::size_t width = 40; width <= 130; ++width) {
    CAPTURE(width);
    CHECK(widest_line(render_overview(sample(), false, terminal(width))) <= width);
    CHECK(widest_line(render_overview(sample(), true, terminal(width))) <= width);
  }
}

TEST_CASE("at 40 columns there are pool, state, ready and note") {
  const std::string text = render_overview(sample(), false, terminal(40));
  CHECK(text.find("POOL     STATE      READY  NOTE\n") != std::string::npos);
  CHECK(text.find("thumbs   degraded     6/8  thumbs/5 oom…\n") != std::string::npos);
}

TEST_CASE("colour adds nothing but colour") {
  std::string coloured = render_overview(sample(), false, terminal(120, true));
  CHECK(coloured.find("\033[33mdegraded\033[0m") != std::string::npos);
  CHECK(coloured.find("\033[32mrunning\033[0m") != std::string::npos);
  for (std::size_t at = coloured.find('\033'); at != std::string::npos;
       at = coloured.find('\033')) {
    coloured.erase(at, coloured.find('m', at) - at + 1);
  }
  CHECK(coloured == render_overview(sample(), false, terminal(120)));
}

TEST_CASE("an unknown member is a dash, an empty daemon says so") {
  const Json report{{"daemon", {{"version", "1.0.0"}}}, {"pools", Json::array()}};
  CHECK(render_overview(report, false, kPipe).find("no pools are configured\n") !=
        std::string::npos);
  const Json odd = Json::parse(R"({"daemon":null,"pools":[{"name":7,"workers":"x"},3,null]})");
  CHECK_FALSE(render_overview(odd, true, kPipe).empty());
  CHECK_FALSE(render_detail(odd, true, kPipe).empty());
}

TEST_CASE("the detail view shows workers, old processes and what happens next") {
  Json report = sample();
  report["pools"] = Json::array({report["pools"][1]});
  report["pools"][0]["workers"] = Json::array(
      {{{"name", "thumbs/0"},
        {"pid", 4000},
        {"state", "ready"},
        {"uptime_ms", 5000},
        {"tasks", 12},
        {"task_limit", 1003},
        {"restarts", 0},
        {"recycled", 1},
        {"cpu_pct", 4.72},
        {"rss_bytes", 14680064},
        {"status_text", "idle"},
        {"retiring", Json::array({{{"pid", 77}, {"state", "draining"}, {"ending", "reload"}}})}},
       {{"name", "thumbs/5"},
        {"pid", nullptr},
        {"state", "backoff"},
        {"tasks", 0},
        {"restarts", 3},
        {"recycled", 0},
        {"next_attempt_ms", 8000},
        {"last_exit", {{"cause", "oom"}, {"signal", 9}, {"signal_name", "KILL"}}}}});
  CHECK(render_detail(report, false, kPipe) ==
        "thumbs  degraded  6/8 ready  6 busy  rev 10  since 12s\n"
        "  thumbs/5 oom-killed, retry in 8s\n"
        "WORKER    STATE       PID     UP    TASKS  RESTARTS  RECYCLED    CPU    RSS  NOTE\n"
        "thumbs/0  ready      4000     5s  12/1003         0         1   4.7%    14M  idle\n"
        "  (old)   draining     77                                                    reload\n"
        "thumbs/5  backoff       -      -        0         3         0      -      -  retry in 8s, "
        "oom-killed\n");
}

TEST_CASE("an event is one line") {
  const Json event{
      {"time", "2026-11-21T18:04:06.123Z"},
      {"pool", "web"},
      {"worker", "web/3"},
      {"pid", 100},
      {"event", "exited"},
      {"state", "backoff"},
      {"next_attempt_ms", 500},
      {"last_exit",
       {{"cause", "signal"}, {"signal", 9}, {"signal_name", "KILL"}, {"planned", false}}}};
  CHECK(
      render_event(event, kPipe) ==
      "2026-11-21T18:04:06.123Z  web/3         exited          pid 100, signal 9 (KILL), backoff, "
      "retry in 500ms\n");
  CHECK(render_event({{"event", "lagged"}, {"missed", 7}}, kPipe) ==
        "… 7 events missed: too many at once for this reader\n");
}

TEST_CASE("exits in words") {
  CHECK(exit_phrase({{"cause", "exit"}, {"code", 3}}) == "exit 3");
  CHECK(exit_phrase({{"cause", "core"}, {"signal", 11}, {"signal_name", "SEGV"}, {"core", true}}) ==
        "signal 11 (SEGV), core dumped");
  CHECK(exit_phrase({{"cause", "stop_timeout"}, {"signal", 9}, {"signal_name", "KILL"}}) ==
        "stop timeout: signal 9 (KILL)");
  CHECK(exit_phrase({{"cause", "spawn_failed"}, {"stage", "exec"}, {"errno_name", "ENOENT"}}) ==
        "not started: exec: ENOENT");
  CHECK(exit_phrase(nullptr).empty());
}

TEST_CASE("width of text counts columns, not bytes") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("9→10") == 4);
  CHECK(display_width("日本") == 4);
  CHECK(display_width("e\u0301") == 1);
  CHECK(display_width("\xff\xfe") == 2);
  CHECK(cut_to_width("日本語", 5) == "日本…");
  CHECK(cut_to_width("日本語", 4) == "日…");
  CHECK(cut_to_width("abc", 3) == "abc");
  CHECK(cut_to_width("abcdef", 5, "...") == "ab...");
  CHECK(cut_to_width("abcdef", 2, "...") == "..");
  CHECK(wrap_to_width("one two three", 2, 9) == "  one two\n  three\n");
  CHECK(wrap_to_width("one much-too-long b", 2, 9) == "  one\n  much-too-long\n  b\n");
  CHECK(wrap_to_width("one two three", 2, 0) == "  one two three\n");
  CHECK(cut_to_width("abc", 0).empty());
  CHECK(pad("é", 3, Align::right) == "  é");
}

TEST_CASE("nothing from outside reaches a terminal raw") {
  std::string hostile;
  for (int byte = 0; byte < 256; ++byte)
    hostile += static_cast<char>(byte);
  hostile +=
      "\033]0;title\007\033]8;;http://x\033\\\033]52;c;AA==\007\u202Eevil\u2066\xC2\x9B"
      "2J";
  Json report = sample();
  Json& first = report["pools"][0];
  for (const char* name : {"name", "state", "note"})
    first[name] = hostile;
  first["workers"] = Json::array();
  first["workers"].push_back({{"name", hostile},
                              {"state", hostile},
                              {"status_text", hostile},
                              {"ending", hostile},
                              {"cgroup", hostile}});
  report["daemon"]["warnings"] = Json::array({hostile});
  report["daemon"]["config_error"] = hostile;
  const Json event{{"event", hostile}, {"worker", hostile}, {"time", hostile}, {"detail", hostile}};
  for (const std::string& text : {render_overview(report, true, kPipe),
                                  render_detail(report, true, kPipe), render_event(event, kPipe)}) {
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      CHECK((byte >= 0x20 || byte == '\n'));
      CHECK(byte != 0x7F);
    }
    CHECK(text.find("\u202E") == std::string::npos);
    CHECK(text.find("\xC2\x9B") == std::string::npos);
  }
  const std::string json = print_json(report, {true, true});
  for (const char c : json)
    CHECK(((c >= 0x20 && c < 0x7F) || c == '\n'));
}

TEST_CASE("JSON keeps the order of the documentation") {
  const Json report{
      {"api", 1},
      {"daemon", {{"pid", 1}, {"version", "1"}}},
      {"pools",
       Json::array({{{"state", "running"},
                     {"name", "web"},
                     {"workers", Json::array({{{"pid", 3}, {"id", 0}, {"name", "web/0"}}})}}})}};
  CHECK(print_json(report, {}) ==
        "{\"api\":1,\"daemon\":{\"version\":\"1\",\"pid\":1},\"pools\":[{\"name\":\"web\","
        "\"state\":\"running\","
        "\"workers\":[{\"id\":0,\"name\":\"web/0\",\"pid\":3}]}]}\n");
}

TEST_CASE("pieces of a long answer are put together by pool") {
  StatusReport pieces;
  for (
      const char* piece :
      {R"({"daemon":{"pid":1},"pools":[{"name":"a","state":"running"},{"name":"b"},{"name":"c"}]})",
       R"({"pools":[{"name":"a","workers":[{"id":0}]}]})",
       R"({"pools":[{"name":"a","workers":[{"id":1}]},{"name":"b","workers":[]}]})"}) {
    pieces.add(Json::parse(piece));
  }
  const Json report = std::move(pieces).take(true);
  CHECK(report["daemon"]["pid"] == 1);
  CHECK(report["pools"].size() == 3);
  CHECK(report["pools"][0]["workers"] == Json::parse(R"([{"id":0},{"id":1}])"));
  CHECK(report["pools"][0]["state"] == "running");
  CHECK(report["pools"][2]["workers"] == Json::array());
}

TEST_CASE("a piece of another shape does not end mtctl") {
  StatusReport pieces;
  for (const char* piece : {"null", "[]", R"({"pools":7,"daemon":[]})", R"({"pools":[7,null]})",
                            R"({"pools":[{"workers":{"a":1}},{"workers":[null,{"pid":"x"}]}]})"}) {
    pieces.add(Json::parse(piece));
  }
  const Json report = std::move(pieces).take(true);
  CHECK(report["daemon"].is_null());
  CHECK(report["pools"].size() == 1);
}

TEST_CASE("asked-for pools that are not ready give exit code 3") {
  const Json report = sample();
  CHECK(readiness(report, {}) == mtd::CtlExit::ok);
  CHECK(readiness(report, {"*"}) == mtd::CtlExit::not_ready);
  const Json web{{"pools", Json::array({report["pools"][0]})}};
  CHECK(readiness(web, {"web"}) == mtd::CtlExit::ok);
  const Json worker =
      Json::parse(R"({"pools":[{"name":"web","state":"degraded","workers":[{"state":"ready"}]}]})");
  CHECK(readiness(worker, {"web/1"}) == mtd::CtlExit::ok);
  CHECK(readiness(worker, {"web"}) == mtd::CtlExit::not_ready);
}

TEST_CASE("the line of /proc/PID/stat, whatever the name of the process") {
  const auto facts = parse_stat(
      "42 (a) (b c) S 7 42 42 0 -1 4194560 1 2 3 4 50 25 0 0 20 0 1 0 9000 1000 300 184467 1 1 0 0 "
      "0 0 0 0 0\n");
  REQUIRE(facts.has_value());
  CHECK(facts->pid == 42);
  CHECK(facts->name == "a) (b c");
  CHECK(facts->parent == 7);
  CHECK(facts->cpu_ticks == 75);
  CHECK(facts->start_ticks == 9000);
  CHECK(facts->rss_pages == 300);
  CHECK_FALSE(parse_stat("").has_value());
  CHECK_FALSE(parse_stat("42 (x").has_value());
  CHECK_FALSE(parse_stat("42 (x) S 1 2").has_value());
}

TEST_CASE("a process tree marks what left it") {
  const auto process = [](int pid, int parent) {
    ProcessFacts facts;
    facts.pid = pid;
    facts.parent = parent;
    facts.name = "p" + std::to_string(pid);
    return facts;
  };
  const std::map<int, ProcessFacts> processes{{10, process(10, 1)},
                                              {11, process(11, 10)},
                                              {12, process(12, 11)},
                                              {20, process(20, 1)},
                                              {21, process(21, 20)}};
  const auto lines = worker_tree(10, {10, 11, 12, 20, 21, 99}, processes, [](int pid) {
    return pid == 21 ? std::string("evil\033[2J") : std::string();
  });
  CHECK(render_tree("web/0", lines, kPipe) ==
        "web/0\n  10  [p10]\n    11  [p11]\n      12  [p12]\n    20  stray  [p20]\n      21  "
        "evil\\x1B[2J\n");
}
