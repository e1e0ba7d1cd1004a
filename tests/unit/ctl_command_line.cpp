// The command line of mtctl: what is understood, what is refused with which words, and that every
// control method with a verb has a command and the other way round.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "common/control_methods.h"
#include "ctl/command_line.h"
#include "ctl/commands.h"
#include "ctl/completion.h"
#include "ctl/help.h"
#include "ctl/outcome.h"
#include "ctl/scale_request.h"
#include "ctl/session.h"
#include "ctl/socket_search.h"
#include "ctl/verb_details.h"
#include "ctl/verbs.h"

using namespace mtd::ctl;
using mtd::CtlExit;
using Words = std::vector<std::string>;

namespace {

Outcome<Invocation> parse(const Words& words) {
  static const std::vector<Verb> verbs = all_verbs();
  return parse_command_line(verbs, words);
}

std::string refusal(const Words& words) {
  const auto invocation = parse(words);
  REQUIRE_FALSE(invocation.has_value());
  CHECK(invocation.failure().code == CtlExit::usage);
  return invocation.failure().message;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("every method with a verb has a command and a description, and the other way round") {
  const std::vector<Verb> verbs = all_verbs();
  for (const mtd::control::Method& method : mtd::control::kMethods) {
    if (method.verb.empty()) continue;
    CAPTURE(std::string(method.verb));
    CHECK(find_verb(verbs, method.verb) != nullptr);
  }
  for (const Verb& verb : verbs) {
    CAPTURE(std::string(verb.name));
    CHECK((find_command(verb.name) != nullptr));
    CHECK_FALSE(verb.summary.empty());
    CHECK_FALSE(verb.detail.examples.empty());
    CHECK(contains(verb_help(verb), "Usage: mtctl " + std::string(verb.name)));
    for (const Example& example : verb.detail.examples) {
      CHECK(contains(std::string(example.command), std::string(verb.name)));
    }
  }
  for (const VerbDetail& detail : verb_details())
    CHECK(find_verb(verbs, detail.name) != nullptr);
  CHECK((find_command("logs") == nullptr));
}

TEST_CASE("every verb is in every completion and in the help") {
  const std::vector<Verb> verbs = all_verbs();
  for (const std::string& script : {bash_completion(verbs), zsh_completion(verbs),
                                    fish_completion(verbs), short_help(verbs), long_help(verbs)}) {
    for (const Verb& verb : verbs)
      CHECK(contains(script, std::string(verb.name)));
  }
}

TEST_CASE("shared options stand before or after the verb") {
  for (const Words& words :
       {Words{"-o", "json", "-s", "/x", "--timeout", "1m30s", "-q", "status", "web"},
        Words{"status", "web", "-o", "json", "-s", "/x", "--timeout=1m30s", "-q"},
        Words{"status", "-ojson", "--socket=/x", "web", "-q", "--timeout", "90"}}) {
    const auto invocation = parse(words);
    REQUIRE(invocation.has_value());
    CHECK(invocation->verb == "status");
    CHECK(invocation->words == Words{"web"});
    CHECK(invocation->options.format == Format::json);
    CHECK(invocation->options.socket == "/x");
    CHECK(invocation->options.quiet);
    CHECK(invocation->options.timeout == mtd::Duration::seconds(90));
  }
  CHECK(parse({"-w", "status"})->options.watch);
  CHECK_FALSE(parse({"--no-wait", "stop", "--all"})->options.wait);
  CHECK(parse({"status", "-o", "json", "-o", "name"})->options.format == Format::name);
}

TEST_CASE("a pool may be called like a verb") {
  const auto invocation = parse({"stop", "status", "stop"});
  REQUIRE(invocation.has_value());
  CHECK(invocation->verb == "stop");
  CHECK(invocation->words == Words{"status", "stop"});
}

TEST_CASE("options of one verb") {
  const auto events = parse({"events", "-f", "--since", "ab:12", "web"});
  REQUIRE(events.has_value());
  CHECK(events->has("--follow"));
  CHECK(events->value("--since") == "ab:12");
  CHECK(parse({"signal", "HUP", "web", "--whom", "tree"})->value("--whom") == "tree");
  CHECK(parse({"stop", "--now", "web"})->has("--now"));
  CHECK(parse({"help", "stop"})->words == Words{"stop"});
  CHECK(parse({"stop", "-h"})->options.help);
  CHECK(parse({"--version"})->verb == "version");
  CHECK(parse({})->verb.empty());
}

TEST_CASE("what is wrong is said with a suggestion") {
  CHECK(contains(refusal({"statsu"}), "unknown verb 'statsu', did you mean 'status'?"));
  CHECK(contains(refusal({"-s", "/x", "strat", "web"}), "did you mean 'start'?"));
  CHECK(contains(refusal({"zzzzzzzz"}), "Try 'mtctl help'"));
  CHECK(contains(refusal({"status", "--outptu", "json"}), "did you mean '--output'?"));
  CHECK(contains(refusal({"events", "--folow"}), "did you mean '--follow'?"));
  CHECK(contains(refusal({"status", "-o", "jsn"}), "did you mean 'json'?"));
  CHECK(contains(refusal({"status", "--timeout", "soon"}), "--timeout"));
  CHECK(contains(refusal({"stop"}), "needs a pool or worker, or --all"));
  CHECK(contains(refusal({"stop", "web", "--all"}), "not both"));
  CHECK(contains(refusal({"signal"}), "needs a signal"));
  CHECK(contains(refusal({"signal", "HUP"}), "needs a pool"));
  CHECK(contains(refusal({"wait", "web", "--for", "redy"}), "ready, stopped"));
  CHECK(contains(refusal({"limits", "web"}), "'limits' takes no further argument: 'web'"));
  CHECK(contains(refusal({"events", "--since"}), "Try 'mtctl help events'"));
  CHECK(contains(refusal({"stop", "-w", "web"}), "--watch"));
  CHECK(contains(refusal({"\033[31mx"}), "\\x1B[31mx"));
}

TEST_CASE("scale in all its forms") {
  const auto scale = [](const Words& words) {
    const auto invocation = parse(words);
    REQUIRE(invocation.has_value());
    return parse_scale(*invocation);
  };
  CHECK(scale({"scale", "web", "4"})->front().want == 4);
  CHECK(scale({"scale", "web", "+2"})->front().delta == 2);
  CHECK(scale({"scale", "web", "-1"})->front().delta == -1);
  CHECK(scale({"scale", "web", "-12", "--current", "20"})->front().current == 20);
  const auto two = scale({"scale", "web=4", "mail=-2"});
  REQUIRE(two->size() == 2);
  CHECK((*two)[1].pool == "mail");
  CHECK((*two)[1].delta == -2);
  CHECK(scale({"scale", "--reset", "web"})->front().reset);
  for (const Words& wrong :
       {Words{"scale", "web"}, Words{"scale", "web", "many"}, Words{"scale", "web", "4", "5"},
        Words{"scale", "web=4", "mail"}, Words{"scale", "web", "1.5"}, Words{"scale", "=4"},
        Words{"scale", "web", "99999999999999999999"}, Words{"scale", "web", "+"},
        Words{"scale", "--reset", "web=4"}, Words{"scale", "a=1", "b=2", "--current", "1"}}) {
    const auto refused = scale(wrong);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.failure().code == CtlExit::usage);
  }
}

TEST_CASE("errors of the daemon have their exit codes and words") {
  const auto code = [](const char* name) { return exit_code_of_error(name); };
  CHECK(code("io.mtd.Manager.NoSuchPool") == CtlExit::no_such);
  CHECK(code("io.mtd.Manager.NoSuchWorker") == CtlExit::no_such);
  CHECK(code("io.mtd.Manager.Failed") == CtlExit::failed);
  CHECK(code("io.mtd.Manager.Conflict") == CtlExit::failed);
  CHECK(code("io.mtd.Manager.PermissionDenied") == CtlExit::permission_denied);
  CHECK(code("io.mtd.Manager.InvalidConfiguration") == CtlExit::invalid_configuration);
  CHECK(code("io.mtd.Manager.Busy") == CtlExit::refused_for_now);
  CHECK(code("io.mtd.Manager.NotReady") == CtlExit::not_ready);
  CHECK(code("io.mtd.Manager.Unheard") == CtlExit::failed);
  CHECK(code("org.varlink.service.InvalidParameter") == CtlExit::usage);
  CHECK(failure_of_error("io.mtd.Manager.NoSuchPool", {{"selector", "w\033b"}}).message ==
        "no such pool: w\\x1Bb; 'mtctl status' lists them");
  CHECK(failure_of_error(
            "io.mtd.Manager.Failed",
            {{"message", "cannot start"},
             {"pools", Json::array({{{"name", "web"}, {"ok", false}, {"message", "exit 1"}}})}})
            .message == "cannot start\n  web: exit 1");
  CHECK(failure_of_error("io.mtd.Manager.Unheard", Json(nullptr)).message ==
        "io.mtd.Manager.Unheard");
}

TEST_CASE("where the socket is looked for") {
  Surroundings user;
  user.uid = 1000;
  user.xdg_runtime_dir = "/run/user/1000";
  CHECK(socket_candidates("", user) ==
        Words{"/run/user/1000/mtd/io.mtd.Manager", "/run/mtd/io.mtd.Manager"});
  CHECK(socket_candidates("/a", user) == Words{"/a"});
  user.mtd_socket = "/b";
  CHECK(socket_candidates("", user) == Words{"/b"});
  CHECK(socket_candidates("/a", user) == Words{"/a"});
  CHECK(socket_candidates("/tmp/", user) == Words{"/tmp/io.mtd.Manager"});
  user = Surroundings{};
  user.uid = 1000;
  user.temporary_dir = "/nonexistent";
  CHECK(socket_candidates("", user) ==
        Words{"/nonexistent/mtd-1000/io.mtd.Manager", "/run/mtd/io.mtd.Manager"});
  user.uid = 0;
  CHECK(socket_candidates("", user) == Words{"/run/mtd/io.mtd.Manager"});
}

TEST_CASE("when nothing answers, every path is named with its reason") {
  const auto none = connect_first({"/nonexistent/a", "/nonexistent/b", "/" + std::string(200, 'x')},
                                  mtd::Duration::seconds(5));
  REQUIRE_FALSE(none.has_value());
  CHECK(none.failure().code == CtlExit::unreachable);
  CHECK(contains(none.failure().message, "/nonexistent/a"));
  CHECK(contains(none.failure().message, "/nonexistent/b"));
  CHECK(contains(none.failure().message, "No such file or directory"));
  CHECK(contains(none.failure().message, "107"));
}
