// Every error text with its exact place.
#include <doctest/doctest.h>

#include <vector>

#include "tests/unit/config_support.h"

using mtd::test::ConfigTree;
using mtd::test::joined;

namespace {

struct Case {
  const char* file;
  std::vector<std::string> errors;  // all of them, in order
};

void check(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    const ConfigTree tree;
    tree.write("mtd.json", one.file);
    CAPTURE(one.file);
    CHECK(joined(tree.errors()) == joined(one.errors));
  }
}

// One member of pools.web, at column 37.
std::string refusal(const std::string& member) {
  const ConfigTree tree;
  tree.write("mtd.json", "{\"pools\":{\"web\":{\"command\":\"/bin/true\",\n" + member + "}}}");
  const auto errors = tree.errors();
  REQUIRE_MESSAGE(errors.size() == 1, member << "\n" << joined(errors));
  return errors.front();
}

}  // namespace

TEST_CASE("text that is no JSON") {
  check({
      {"", {"mtd.json:1:1: the file is empty; write at least {\"pools\": {}}"}},
      {" // nothing\n", {"mtd.json:1:1: the file is empty; write at least {\"pools\": {}}"}},
      {"{",
       {"mtd.json:1:2: syntax error while parsing object key - unexpected end of input; expected "
        "string literal"}},
      {"{\"pools\" 1}",
       {"mtd.json:1:10: syntax error while parsing object separator - unexpected number literal; "
        "expected ':'"}},
      {"{\"pools\":\n  {,}}",
       {"mtd.json:2:4: syntax error while parsing object key - unexpected ','; expected string "
        "literal"}},
      {"{} {}",
       {"mtd.json:1:4: syntax error while parsing value - unexpected '{'; expected end of input"}},
      {"{\"pools\":{}} /* x", {"mtd.json:1:14: a comment that never ends; */ is missing"}},
      {"[1]", {"mtd.json:1:1: must hold an object, like {\"pools\": {…}}, not [1]"}},
      {"\xEF\xBB\xBF{}",
       {"mtd.json:1:1: the file begins with a byte order mark; save it as plain UTF-8"}},
      {"{\"pools\":\n{} } // \xC3\xA4\xFF",
       {"mtd.json:2:10: invalid UTF-8; save the file as UTF-8"}},
      {"{\"a\\u0000b\":1}", {"mtd.json:1:2: a key must not contain \\u0000"}},
      {"{\"pools\":{\"web\":{\"command\":\"a\\u0000\"}}}",
       {"mtd.json:1:28: a string must not contain \\u0000"}},
      {"{\"pools\":{}, \"pools\":{}}",
       {"mtd.json:1:14: duplicate key \"pools\"; each key may stand once in an object"}},
      {"{\"limits\":{\"clients\":18446744073709551616}}",
       {"mtd.json:1:22: the integer 18446744073709551616 does not fit 64 bits"}},
      {"{\"limits\":{\"clients\":-9223372036854775809}}",
       {"mtd.json:1:22: the integer -9223372036854775809 does not fit 64 bits"}},
      {"{\"limits\":{\"clients\":1e999}}",
       {"mtd.json:1:22: a number is too large; the largest is about 1.8e308"}},
      {"{\"limits\":{\"clients\":1E400}}",
       {"mtd.json:1:22: a number is too large; the largest is about 1.8e308"}},
  });
}

TEST_CASE("numbers and strings that JSON does not know, with their line") {
  for (const char* value : {"01", "NaN", "Infinity", "+1", ".5", "1.", "0x10", "'a'", "\"\\ud800\"",
                            "\"\\x41\"", "\"\t\"", "tru", "[1,,2]", "[,]", "[1,2,,]"}) {
    const ConfigTree tree;
    tree.write("mtd.json", "{\"limits\":\n{\"clients\": " + std::string(value) + "}}");
    const auto errors = tree.errors();
    CAPTURE(value);
    REQUIRE(errors.size() == 1);
    CHECK(errors.front().starts_with("mtd.json:2:"));
    CHECK(errors.front().find(": syntax error while parsing ") != std::string::npos);
  }
}

TEST_CASE("nesting has a limit, and no depth harms") {
  const ConfigTree tree;
  tree.write("mtd.json", "{\"x-deep\":" + std::string(31, '[') + std::string(31, ']') + "}");
  CHECK(tree.errors().empty());
  tree.write("mtd.json", "{\"x-deep\":" + std::string(32, '[') + std::string(32, ']') + "}");
  CHECK(joined(tree.errors()) == "mtd.json:1:42: more than 32 levels of nesting\n");
  tree.write("mtd.json", std::string(200'000, '['));
  CHECK(joined(tree.errors()) == "mtd.json:1:33: more than 32 levels of nesting\n");
}

TEST_CASE("unknown keys, with what was probably meant") {
  check({
      {"{\n  \"pools\": {\n    \"web\": {\"command\": \"/bin/true\",\n      \"workerz\": 3}}}",
       {"mtd.json:4:7: pools.web: unknown key \"workerz\", did you mean \"workers\"?"}},
      {"{\"pools\":{\"web\":{\"command\":\"/bin/true\",\"max_task\":3}}}",
       {"mtd.json:1:40: pools.web: unknown key \"max_task\", did you mean \"recycle.max_tasks\"?"}},
      {"{\"pools\":{\"web\":{\"command\":\"/bin/true\",\"recycle\":{\"max_task\":3}}}}",
       {"mtd.json:1:51: pools.web.recycle: unknown key \"max_task\", did you mean \"max_tasks\"?"}},
      {"{\"pools\":{\"web\":{\"command\":\"/bin/true\",\"stop\":{\"zzzzzzzzzz\":3}}}}",
       {"mtd.json:1:48: pools.web.stop: unknown key \"zzzzzzzzzz\"; there are \"signal\", "
        "\"timeout\", \"scope\", \"command\", \"steps\""}},
      {"{\"pools\":{\"web\":{\"command\":\"/bin/true\",\"zzzzzzzzzzzzzzz\":3}}}",
       {"mtd.json:1:40: pools.web: unknown key \"zzzzzzzzzzzzzzz\"; mtd.json(5) lists all keys"}},
      {"{\"pool\":{}}", {"mtd.json:1:2: unknown key \"pool\", did you mean \"pools\"?"}},
      {"{\"limits\":{\"client\":1}}",
       {"mtd.json:1:12: limits: unknown key \"client\", did you mean \"clients\"?"}},
      {"{\"backoff.max\":1}",
       {"mtd.json:1:2: unknown key \"backoff.max\"; there are \"control\", \"log\", \"limits\", "
        "\"tasks\", \"pools\""}},
      {"{\"\\u001b[2J\":1}",
       {"mtd.json:1:2: unknown key \"\\x1B[2J\"; there are \"control\", \"log\", \"limits\", "
        "\"tasks\", \"pools\""}},
  });
}

TEST_CASE("names of pools follow the one rule") {
  const std::string rule =
      " is no name for a pool; up to 64 letters, digits, \"_\", \".\" and \"-\", the first a "
      "letter or digit";
  const std::vector<std::pair<std::string, std::string>> names = {
      {"../../etc/cron.d/x", "../../etc/cron.d/x"},
      {"a/b", "a/b"},
      {".", "."},
      {"..", ".."},
      {"", ""},
      {"-rf", "-rf"},
      {"a\\u0007", "a\\x07"},
      {"a\\u0085", "a\\u{0085}"},
      {"a\\u2028", "a\\u{2028}"},
      {"\\ufeffa", "\\u{FEFF}a"},
      {"a b", "a b"},
      {std::string(300, 'a'), std::string(80, 'a')}};
  for (const auto& [name, shown] : names) {
    const ConfigTree tree;
    tree.write("mtd.json", "{\"pools\":{\"" + name + "\":{\"command\":\"/bin/true\"}}}");
    CHECK(joined(tree.errors()) == "mtd.json:1:11: pools: \"" + shown + "\"" + rule + "\n");
  }
}

TEST_CASE("wrong types and values") {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"\"workers\":-1",
       "11: pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or "
       "an object, like {\"min\": 1, \"max\": 8}, not -1"},
      {"\"workers\":10001",
       "11: pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or "
       "an object, like {\"min\": 1, \"max\": 8}, not 10001"},
      {"\"workers\":1.5",
       "11: pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or "
       "an object, like {\"min\": 1, \"max\": 8}, not 1.5"},
      {"\"workers\":0.1",
       "11: pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or "
       "an object, like {\"min\": 1, \"max\": 8}, not 0.1"},
      {"\"workers\":\"4\"",
       "11: pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or "
       "an object, like {\"min\": 1, \"max\": 8}, not \"4\""},
      {"\"workers\":18446744073709551615",
       "11: pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or "
       "an object, like {\"min\": 1, \"max\": 8}, not "
       "18446744073709551615"},
      {"\"workers\":null",
       "11: pools.web.workers: must be a whole number from 0 to 10000, \"auto\", or "
       "an object, like {\"min\": 1, \"max\": 8}, not null"},
      {"\"enabled\":1", "11: pools.web.enabled: must be true or false, not 1"},
      {"\"enabled\":\"yes\"", "11: pools.web.enabled: must be true or false, not \"yes\""},
      {"\"restart\":\"sometimes\"",
       "11: pools.web.restart: must be \"always\", \"on-failure\" or \"never\", not \"sometimes\""},
      {"\"restart\":\"\"",
       "11: pools.web.restart: must be \"always\", \"on-failure\" or \"never\", not \"\""},
      {"\"umask\":22",
       "9: pools.web.umask: must be an octal mode in quotes from \"0\" to \"0777\", like \"022\", "
       "not 22"},
      {"\"umask\":\"1777\"",
       "9: pools.web.umask: must be an octal mode in quotes from \"0\" to \"0777\", like \"022\", "
       "not \"1777\""},
      {"\"umask\":\"8\"",
       "9: pools.web.umask: must be an octal mode in quotes from \"0\" to \"0777\", like \"022\", "
       "not \"8\""},
      {"\"nice\":20", "8: pools.web.nice: must be a whole number from -20 to 19, not 20"},
      {"\"oom_score_adj\":-1001",
       "17: pools.web.oom_score_adj: must be a whole number from -1000 to 1000, not -1001"},
      {"\"success_codes\":[0,256]",
       "17: pools.web.success_codes: must be a list of exit codes from 0 to 255, like [0, 3], not "
       "[0,256]"},
      {"\"success_codes\":[3,3]", "17: pools.web.success_codes: names an exit code twice in [3,3]"},
      {"\"stop\":{\"signal\":\"TERMM\"}",
       "18: pools.web.stop.signal: \"TERMM\" is not a signal; write a name like \"TERM\" or "
       "\"SIGUSR1\", \"RTMIN+3\", "
       "or a number from 1 to 64"},
      {"\"stop\":{\"signal\":true}",
       "18: pools.web.stop.signal: must be a signal like \"TERM\" or 15, not true"},
      {"\"stop\":3", "8: pools.web.stop: must be an object, like {…}, not 3"},
      {"\"stop\":{\"timeout\":\"-1s\"}",
       "19: pools.web.stop.timeout: \"-1s\" is not a duration: it is negative; write it like "
       "\"500ms\", \"10s\", "
       "\"1m30s\", \"2h\", \"1d\", \"infinity\", or a number of seconds"},
      {"\"stop\":{\"timeout\":-1}",
       "19: pools.web.stop.timeout: must be a duration from 0s to 365d, or \"infinity\", like "
       "\"10s\" or \"1m30s\", not -1"},
      {"\"stop\":{\"timeout\":1e308}",
       "19: pools.web.stop.timeout: must be a duration from 0s to 365d, or \"infinity\", like "
       "\"10s\" or \"1m30s\", not 1e+308"},
      {"\"stop\":{\"timeout\":9223372036854775808}",
       "19: pools.web.stop.timeout: must be a duration from 0s to 365d, or \"infinity\", like "
       "\"10s\" or \"1m30s\", "
       "not 9223372036854775808"},
      {"\"start_timeout\":0",
       "17: pools.web.start_timeout: must be a duration from 1ms to 365d, or \"infinity\", like "
       "\"10s\" or \"1m30s\", not 0"},
      {"\"min_uptime\":\"infinity\"",
       "14: pools.web.min_uptime: must be a duration from 0s to 365d, like \"10s\" or \"1m30s\", "
       "not \"infinity\""},
      {"\"backoff\":{\"factor\":0.5}",
       "21: pools.web.backoff.factor: must be a number from 1 to 100, not 0.5"},
      {"\"backoff\":{\"jitter\":\"10%\"}",
       "21: pools.web.backoff.jitter: must be a number from 0 to 1, not \"10%\""},
      {"\"backoff\":{\"max\":\"100ms\"}",
       "18: pools.web.backoff.max: is 100ms, less than backoff.initial (500ms)"},
      {"\"crash_limit\":{\"count\":0}",
       "24: pools.web.crash_limit.count: must be a whole number from 1 to 1000000, not 0"},
      {"\"ready\":\"maybe\"",
       "9: pools.web.ready: must be \"exec\", \"notify\", \"fd\" or \"probe\", not \"maybe\""},
      {"\"recycle\":{\"max_tasks\":5,\"maxtasksperchild\":5}",
       "45: pools.web.recycle.maxtasksperchild: is another name of \"max_tasks\"; give one of "
       "them"},
      {"\"recycle\":{\"maxtasksperchild\":0}",
       "31: pools.web.recycle.maxtasksperchild: must be a whole number from 1 to 1000000000000000, "
       "not 0"},
      {"\"groups\":\"www-data\"",
       "10: pools.web.groups: must be a list of names, like [\"a\", \"b\"], not \"www-data\""},
      {"\"user\":33", "8: pools.web.user: must be a text that is not empty, not 33"},
      {"\"user\":\"0day\"",
       "8: pools.web.user: unknown user \"0day\"; name one of the users of this system, or a "
       "number"},
      {"\"user\":\"4294967295\"",
       "8: pools.web.user: \"4294967295\" is not an id; the largest is 4294967294"},
      {"\"user\":\"99999999999\"",
       "8: pools.web.user: \"99999999999\" is not an id; the largest is 4294967294"},
      {"\"user\":\"-1\"",
       "8: pools.web.user: unknown user \"-1\"; name one of the users of this system, or a number"},
      {"\"user\":\"3999999999\"",
       "8: pools.web.user: uid 3999999999 has no entry in the user database; give \"group\" too"},
      {"\"group\":\"nogroup-here\"",
       "9: pools.web.group: unknown group \"nogroup-here\"; name one of the groups of this system, "
       "or a number"},
      {"\"groups\":[\"nogroup-here\"]",
       "10: pools.web.groups: unknown group \"nogroup-here\"; name one of the groups of this "
       "system, or a number"},
      {"\"env\":[\"A=b\"]",
       "7: pools.web.env: must be an object of texts, like {\"NAME\": \"value\"}, not [\"A=b\"]"},
      {"\"env\":{\"A\":true}",
       "7: pools.web.env: must be an object of texts, like {\"NAME\": \"value\"}, not "
       "{\"A\":true}"},
      {"\"env\":{\"A B\":\"\"}",
       "8: pools.web.env: \"A B\" is no name of a variable; names are made of letters, digits and "
       "_"},
      {"\"env\":{\"MTD_POOL\":\"\"}",
       "8: pools.web.env: \"MTD_POOL\" is set by mtd itself; leave it out"},
      {"\"env\":{\"NOTIFY_SOCKET\":\"\"}",
       "8: pools.web.env: \"NOTIFY_SOCKET\" is set by mtd itself; leave it out"},
      {"\"env_pass\":[\"MTD_X\"]",
       "12: pools.web.env_pass: \"MTD_X\" cannot be passed on; mtd sets it itself"},
      {"\"env_file\":\"rel\"",
       "12: pools.web.env_file: must be an absolute path that is the same for all workers, not "
       "\"rel\""},
      {"\"cwd\":\"rel\"", "7: pools.web.cwd: must be an absolute path, not \"rel\""},
      {"\"log\":{\"to\":\"direct\"}",
       "13: pools.web.log.to: \"direct\" needs \"path\", an absolute path"},
      {"\"log\":{\"to\":\"direct\",\"path\":\"x.log\"}",
       "29: pools.web.log.path: must be an absolute path, not \"x.log\""},
      {"\"log\":{\"path\":\"/x.log\"}", "15: pools.web.log.path: is only for \"to\": \"direct\""},
      {"\"log\":{\"to\":\"file\"}",
       "13: pools.web.log.to: must be \"inherit\", \"null\", \"journal\" or \"direct\", not "
       "\"file\""},
      {"\"rlimits\":{\"nofiles\":1}",
       "12: pools.web.rlimits: unknown limit \"nofiles\", did you mean \"nofile\"?"},
      {"\"rlimits\":{\"nofile\":-1}",
       "21: pools.web.rlimits.nofile: must be a whole number, \"infinity\", \"soft:hard\" or "
       "{\"soft\": …, \"hard\": …}, not -1"},
      {"\"rlimits\":{\"nofile\":\"9:8\"}",
       "21: pools.web.rlimits.nofile: the soft limit is above the hard limit in \"9:8\""},
      {"\"rlimits\":{\"nofile\":{\"soft\":9}}",
       "21: pools.web.rlimits.nofile: must be a whole number, \"infinity\", \"soft:hard\" or "
       "{\"soft\": …, \"hard\": …}, not "
       "{\"soft\":9}"},
  };
  for (const auto& [member, expected] : cases) {
    CHECK(refusal(member) == "mtd.json:2:" + std::string(expected));
  }
}

TEST_CASE("commands that cannot be run") {
  const auto of = [](const std::string& command) {
    const ConfigTree tree;
    tree.write("mtd.json", "{\"pools\":{\"web\":{\"command\":" + command + "}}}");
    tree.write("script", "#!/bin/sh\n");
    return joined(tree.errors());
  };
  CHECK(of("[]").starts_with(
      "mtd.json:1:28: pools.web.command: must be a program with its arguments"));
  CHECK(of("\"  \"") == "mtd.json:1:28: pools.web.command: names no program\n");
  CHECK(of("\"a 'b\"") == "mtd.json:1:28: pools.web.command: a ' is not closed in \"a 'b\"\n");
  CHECK(of("\"a \\\"b\"") ==
        "mtd.json:1:28: pools.web.command: a \" is not closed in \"a \\\"b\"\n");
  CHECK(of("\"a \\\\\"") ==
        "mtd.json:1:28: pools.web.command: ends with a lone backslash; write \\\\ for one in \"a "
        "\\\\\"\n");
  CHECK(of("[\"/no/such\"]") ==
        "mtd.json:1:29: pools.web.command: \"/no/such\": No such file or directory\n");
  CHECK(of("[\"/etc\"]") ==
        "mtd.json:1:29: pools.web.command: \"/etc\" is a directory; name a program in it\n");
  CHECK(of("[\"/etc/passwd\"]") ==
        "mtd.json:1:29: pools.web.command: \"/etc/passwd\" is not executable (mode 0644); run "
        "chmod +x on it\n");
  CHECK(of("[\"no-such-program\"]") ==
        "mtd.json:1:29: pools.web.command: \"no-such-program\" is not in the worker's PATH "
        "\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n");
  CHECK(of("[\"\"]") ==
        "mtd.json:1:29: pools.web.command: the program is an empty text; name one\n");
  CHECK(of("[\"./x\"]") ==
        "mtd.json:1:29: pools.web.command: \"/./x\": No such file or directory\n");
  CHECK(of("[\"/bin/x${MTD_WORKER_ID}\"]") ==
        "mtd.json:1:29: pools.web.command: the program must be the same for all workers; use "
        "${MTD_WORKER_ID} in its "
        "arguments\n");
  CHECK(of("[\"/bin/true\",\"${NO_SUCH_VARIABLE}\"]") ==
        "mtd.json:1:41: pools.web.command: ${NO_SUCH_VARIABLE} is not defined; define it in env, "
        "or write "
        "${NO_SUCH_VARIABLE:-default}\n");
}

TEST_CASE("a pool without a command, a pool that is none, a pool in two files") {
  check({{"{\"pools\":{\"web\":{}}}",
          {"mtd.json:1:11: pools.web: \"command\" is missing; it names the program to run"}},
         {"{\"pools\":{\"web\":3}}",
          {"mtd.json:1:17: pools.web: must be an object, like {\"command\": …}, not 3"}},
         {"{\"pools\":[]}",
          {"mtd.json:1:10: pools: must be an object, like {\"web\": {\"command\": …}}, not []"}}});
  const ConfigTree tree;
  tree.write("pools.d/a.json", "{\"pools\":{\"web\":{\"command\":\"/bin/true\"}}}");
  tree.write("pools.d/b.json", "{\n\"pools\":{\"web\":{\"command\":\"/bin/true\"}}}");
  CHECK(joined(tree.errors()) ==
        "pools.d/b.json:2:10: pools.web: is in pools.d/a.json:1:11 too; a pool stands in one file, "
        "and drop-ins change it\n");
}

TEST_CASE("keys of the daemon") {
  check({{"{\"limits\":{\"processes\":5},\"pools\":{\"web\":{\"command\":\"/bin/"
          "true\",\"workers\":6}}}",
          {"mtd.json:1:24: limits.processes: is 5, but the pools ask for 6 workers together"}},
         {"{\"limits\":{\"clients\":3}}",
          {"mtd.json:1:22: limits.clients: must be a whole number from 4 to 100000, not 3"}},
         {"{\"control\":{\"socket\":\"x\"}}",
          {"mtd.json:1:22: control.socket: must be an absolute path, not \"x\""}},
         {"{\"control\":{\"group\":\"nogroup-here\"}}",
          {"mtd.json:1:21: control.group: unknown group \"nogroup-here\"; name one of the groups "
           "of this system, or a "
           "number"}},
         {"{\"log\":{\"level\":\"loud\"}}",
          {"mtd.json:1:17: log.level: must be \"debug\", \"info\", \"warning\" or \"error\", not "
           "\"loud\""}}});
  const ConfigTree tree;
  tree.write("mtd.json", "{\"control\":{\"socket\":\"/" + std::string(107, 'x') + "\"}}");
  CHECK(joined(tree.errors()) ==
        "mtd.json:1:22: control.socket: has 108 bytes; the path of a socket has at most 107\n");
  tree.write("mtd.json", "{}");
  tree.write("pools.d/a.json", "{\"limits\":{}, \"zzz\":1}");
  CHECK(joined(tree.errors()) ==
        "pools.d/a.json:1:2: \"limits\" belongs in mtd.json; files in pools.d hold \"pools\" only\n"
        "pools.d/a.json:1:15: unknown key \"zzz\"; files in pools.d hold \"pools\" only\n");
}

TEST_CASE("all errors come at once, in the order of the text, up to a limit") {
  check({{"{\"pools\":{\n\"b\":{\"workers\":-1,\"command\":7},\n\"a\":{\"enabled\":0}}}",
          {"mtd.json:2:16: pools.b.workers: must be a whole number from 0 to 10000, \"auto\", or "
           "an object, like {\"min\": 1, \"max\": 8}, "
           "not -1",
           "mtd.json:2:29: pools.b.command: must be a program with its arguments, like "
           "[\"/opt/worker\", \"--fast\"] or "
           "\"/opt/worker --fast\", not 7",
           "mtd.json:3:1: pools.a: \"command\" is missing; it names the program to run",
           "mtd.json:3:16: pools.a.enabled: must be true or false, not 0"}}});
  std::string keys = "{";
  for (int i = 0; i < 1000; ++i)
    keys += "\"unknown" + std::to_string(i) + "\":1,";
  const ConfigTree tree;
  tree.write("mtd.json", keys + "}");
  const auto errors = tree.errors();
  REQUIRE(errors.size() == 257);
  CHECK(errors.back() == "and 744 more errors");
}
