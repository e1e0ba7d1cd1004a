// A supervisord.conf as a configuration of mtd: what each option becomes, and what is said about
// the rest. That the result loads is tested with the program (ctl_program.py).
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "ctl/migrate/migrate.h"
#include "ctl/migrate/text.h"

using namespace mtd::ctl;

namespace {

struct Migrated {
  Notes notes;
  Migration migration;
  [[nodiscard]] const OrderedJson& pool(const char* name) const {
    return migration.configuration.at("pools").at(name);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& pool : migration.configuration.at("pools").items())
      names.push_back(pool.key());
    return names;
  }
};

Migrated of(std::string_view text) {
  Migrated result;
  IniDocument document;
  add_ini(document, "/etc/supervisor/supervisord.conf", text, result.notes);
  result.migration = migrate(document, "host1", result.notes);
  return result;
}

// One program "p" with these options.
Migrated program(const std::string& options) {
  return of("[program:p]\n" + options);
}

bool says(const std::vector<Note>& notes, std::uint32_t line, std::string_view part) {
  for (const Note& note : notes) {
    if (note.place.line == line && note.text.find(part) != std::string::npos) return true;
  }
  return false;
}

std::string without_from(OrderedJson pool) {
  pool.erase("x-from");
  return pool.dump();
}

}  // namespace

TEST_CASE("a file is read as supervisord reads it") {
  Notes notes;
  IniDocument document;
  add_ini(document, "/a",
          "\xEF\xBB\xBF; comment\n[program:a]\nCommand = x ; comment\n  y;no comment\n\n"
          "# comment\n  z\nuser: me\nuser = you\n[program:b]\n[program:a]\numask=1\n",
          notes);
  REQUIRE(document.sections.size() == 2);
  const IniSection& a = document.sections.front();
  CHECK(a.find("command")->value == "x\ny;no comment\nz");
  CHECK(a.find("command")->place.line == 3);
  CHECK(a.find("user")->value == "you");
  CHECK(a.find("umask")->value == "1");
  CHECK(notes.errors.empty());
}

TEST_CASE("what is no INI is an error with its line") {
  Notes notes;
  IniDocument document;
  add_ini(document, "/a", "x=1\n[s]\nword\n=2\nk=\x01\nk=\xff\n[open\n", notes);
  CHECK(notes.errors.size() == 6);
  CHECK(says(notes.errors, 1, "before the first [section]"));
  CHECK(says(notes.errors, 3, "neither [section] nor NAME=VALUE: \"word\""));
  CHECK(says(notes.errors, 4, "neither"));
  CHECK(says(notes.errors, 5, "control character"));
  CHECK(says(notes.errors, 6, "not UTF-8"));
  CHECK(says(notes.errors, 7, "neither"));
}

TEST_CASE("a program with nothing but a command keeps supervisord's ways") {
  const Migrated result = program("command=/bin/cat -u 'a b' \"c\\\"d\" e\\ f $X\n");
  CHECK(result.notes.errors.empty());
  CHECK(result.notes.left_out.empty());
  CHECK(without_from(result.pool("p")) ==
        R"({"command":["/bin/cat","-u","a b","c\"d","e f","$$X"],)"
        R"("restart":"on-failure","stop":{"scope":"process"}})");
  CHECK(result.pool("p").at("x-from") == "/etc/supervisor/supervisord.conf:1");
}

TEST_CASE("each option has its key") {
  const Migrated result = program(
      "command=x\nautostart=false\nautorestart=unexpected\nexitcodes=0, 2\nstartsecs=5\n"
      "startretries=4\nstopsignal=SIGQUIT\nstopwaitsecs=3600\nstopasgroup=true\nuser=www-data\n"
      "umask=027\ndirectory=%(here)s/run\nredirect_stderr=true\n"
      "stdout_logfile=/var/log/%(program_name)s.log\nenvironment=A=\"1,2\",B='x y',PORT=80\n");
  CHECK(result.notes.errors.empty());
  CHECK(result.notes.left_out.empty());
  const OrderedJson& pool = result.pool("p");
  CHECK(pool.at("enabled") == false);
  CHECK(pool.at("restart") == "on-failure");
  CHECK(pool.at("success_codes").dump() == "[0,2]");
  CHECK(pool.at("min_uptime") == "5s");
  CHECK(pool.at("crash_limit").dump() == R"({"count":5,"window":"150s","action":"fail"})");
  CHECK(pool.at("stop").dump() == R"({"signal":"QUIT","timeout":"3600s","scope":"group"})");
  CHECK(pool.at("user") == "www-data");
  CHECK(pool.at("umask") == "027");
  CHECK(pool.at("cwd") == "/etc/supervisor/run");
  CHECK(pool.at("log").dump() == R"({"to":"direct","path":"/var/log/p.log"})");
  CHECK(pool.at("env").dump() == R"({"A":"1,2","B":"x y","PORT":"80"})");
  REQUIRE(result.migration.remarks.size() == 1);
  CHECK(result.migration.remarks.front().find("rotated the logs of p;") != std::string::npos);
  CHECK(of("").migration.remarks == std::vector<std::string>{"there is no program in it"});
}

TEST_CASE("a program by a relative path needs a directory") {
  CHECK(says(program("command=bin/x\n").notes.left_out, 2, "write an absolute path"));
  CHECK(program("command=bin/x\ndirectory=/srv\n").notes.left_out.empty());
  CHECK(program("command=x/../y\ndirectory=/srv\n").notes.left_out.empty());
}

TEST_CASE("autorestart and startretries") {
  CHECK(!program("command=x\nautorestart=true\n").pool("p").contains("restart"));
  CHECK(program("command=x\nautorestart=no\n").pool("p").at("restart") == "never");
  CHECK(!program("command=x\nstartretries=1000\n").pool("p").contains("crash_limit"));
  const Migrated several =
      program("command=x\nnumprocs=4\nprocess_name=x_%(process_num)d\nstartretries=1\n");
  CHECK(several.pool("p").at("crash_limit").at("count") == 8);
  CHECK(says(several.notes.left_out, 5, "counts the crashes of the pool"));
}

TEST_CASE("a process's number is the worker's where it can be, else there are several pools") {
  CHECK(blocks_of(0, 300, 1) == std::vector<Block>{{0, 300}});
  CHECK(blocks_of(0, 13, 2) == std::vector<Block>{{0, 10}, {10, 3}});
  CHECK(blocks_of(8, 4, 0) == std::vector<Block>{{8, 1}, {9, 1}, {10, 2}});
  CHECK(blocks_of(9300, 2, 0) == std::vector<Block>{{9300, 2}});

  const Migrated plain = program("command=x %(process_num)d\nnumprocs=30\n");
  CHECK(plain.names() == std::vector<std::string>{"p"});
  CHECK(plain.pool("p").at("command").at(1) == "${MTD_WORKER_ID}");
  CHECK(plain.pool("p").at("workers") == 30);

  const Migrated padded = program("command=x --port=80%(process_num)02d\nnumprocs=12\n");
  CHECK(padded.names() == std::vector<std::string>{"p-0", "p-10"});
  CHECK(padded.pool("p-0").at("command").at(1) == "--port=800${MTD_WORKER_ID}");
  CHECK(padded.pool("p-10").at("command").at(1) == "--port=801${MTD_WORKER_ID}");
  CHECK(padded.pool("p-10").at("workers") == 2);
  CHECK(says(padded.notes.left_out, 3, "becomes 2 pools"));

  const Migrated from_one = program("command=x %(process_num)s\nnumprocs=2\nnumprocs_start=1\n");
  CHECK(from_one.names() == std::vector<std::string>{"p-1", "p-2"});
  CHECK(from_one.pool("p-2").at("command").at(1) == "2");

  const Migrated log = program("command=x\nnumprocs=12\nstdout_logfile=/l/%(process_num)02d\n");
  CHECK(log.names() == std::vector<std::string>{"p"});
  CHECK(log.pool("p").at("log").at("path") == "/l/${MTD_WORKER_ID}");
  const Migrated both =
      program("command=x %(process_num)02d\nnumprocs=12\nstdout_logfile=/l/%(process_num)02d\n");
  CHECK(both.pool("p-10").at("log").at("path") == "/l/1${MTD_WORKER_ID}");
  CHECK(both.notes.left_out.size() == 2);
  const Migrated variable = program("command=x\nnumprocs=%(ENV_N)s\n");
  CHECK(says(variable.notes.left_out, 3, "1 is assumed"));
  CHECK(variable.migration.remarks.empty());
}

TEST_CASE("variables of supervisord's environment") {
  const Migrated result = program(
      "command=/usr/bin/x %(ENV_WHO)s %(ENV_OWN)s 100%% %(host_node_name)s\n"
      "environment=OWN=\"1\",PATH=\"/opt/bin:%(ENV_PATH)s\",MTD_X=\"1\",a.b=\"2\"\n");
  CHECK(result.pool("p").at("command").dump() ==
        R"(["/usr/bin/x","${WHO}","${OWN}","100%","host1"])");
  CHECK(result.pool("p").at("env").dump() == R"({"OWN":"1","PATH":"/opt/bin:${PATH}"})");
  CHECK(says(result.notes.left_out, 3, "${PATH} is that of the worker's user"));
  CHECK(says(result.notes.left_out, 3, "MTD_X is set by mtd itself"));
  CHECK(says(result.notes.left_out, 3, "\"a.b\" is no name of a variable"));
  REQUIRE(result.migration.remarks.size() == 1);
  CHECK(result.migration.remarks.front().find("must have WHO,") != std::string::npos);
}

TEST_CASE("what [supervisord] says for all programs") {
  const Migrated result =
      of("[supervisord]\nuser=app\numask=077\ndirectory=/srv\nminfds=65536\nminprocs=200\n"
         "loglevel=warn\nenvironment=A=1,B=2\nnodaemon=true\n[program:p]\ncommand=x\n"
         "environment=B=3\n");
  CHECK(result.notes.left_out.empty());
  CHECK(without_from(result.pool("p")) ==
        R"({"command":["x"],"cwd":"/srv","user":"app","umask":"077","env":{"A":"1","B":"3"},)"
        R"("restart":"on-failure","stop":{"scope":"process"},"rlimits":{"nofile":65536}})");
  CHECK(result.migration.configuration.at("log").dump() == R"({"level":"warning"})");
}

TEST_CASE("a group is the beginning of its pools' names") {
  const Migrated result =
      of("[group:web]\nprograms=a, b\npriority=1\n[program:a]\ncommand=%(group_name)s\n"
         "[fcgi-program:b]\ncommand=y\nsocket=tcp://localhost:9000\n[program:c]\ncommand=z\n");
  CHECK(result.names() == std::vector<std::string>{"web.a", "web.b", "c"});
  CHECK(result.pool("web.a").at("command").at(0) == "web");
  CHECK(says(result.notes.left_out, 3, "pools start together"));
  CHECK(says(of("[group:g]\nprograms=x\n").notes.errors, 2, "there is no program \"x\""));
  CHECK(says(of("[group:g]\n").notes.errors, 1, "has no programs"));
}

TEST_CASE("the socket of a fcgi-program is descriptor 0, as it was") {
  const Migrated result =
      of("[fcgi-program:f]\ncommand=/bin/f \"a b\"\nsocket=unix:///run/%(program_name)s.sock\n"
         "socket_owner=me:us\nsocket_mode=0660\nsocket_backlog=7\n"
         "[fcgi-program:t]\ncommand=x\nuser=me\nsocket=tcp://localhost:9000\n"
         "[fcgi-program:d]\ncommand=x\nuser=me\nsocket=unix:///d\n"
         "[fcgi-program:w]\ncommand=x\nsocket=udp://x\n");
  const OrderedJson& pool = result.pool("f");
  CHECK(pool.at("listen") == "unix:/run/f.sock?mode=0660&user=me&group=us&backlog=7");
  CHECK(pool.at("command").at(2).get<std::string>().find("<&3 3<&-") != std::string::npos);
  CHECK(pool.at("command").at(4) == "a b");
  CHECK(result.pool("t").at("listen") == "tcp:127.0.0.1:9000");
  CHECK(result.pool("d").at("listen") == "unix:/d?mode=0700&user=me");
  CHECK(says(result.notes.errors, 17, "tcp:// or unix://"));
}

TEST_CASE("two streams become one target") {
  const auto log = [](const std::string& options) {
    const Migrated result = program("command=x\n" + options);
    const OrderedJson& pool = result.pool("p");
    return (pool.contains("log") ? pool.at("log").dump() : "none") + " " +
           std::to_string(result.notes.left_out.size()) + " " +
           std::to_string(result.migration.remarks.size());
  };
  CHECK(log("stdout_logfile=AUTO\n") == "none 0 0");
  CHECK(log("stdout_logfile=NONE\nstderr_logfile=none\n") == R"({"to":"null"} 0 0)");
  CHECK(log("stdout_logfile=/dev/stdout\nstderr_logfile=/dev/stderr\n") ==
        R"({"to":"inherit"} 0 0)");
  CHECK(log("stdout_logfile=/a\nstdout_logfile_maxbytes=0\nstderr_logfile=/a\n") ==
        R"({"to":"direct","path":"/a"} 0 0)");
  CHECK(log("stdout_logfile=/a\nstderr_logfile=/b\n") == R"({"to":"direct","path":"/a"} 1 1)");
  CHECK(log("stdout_logfile=NONE\nstderr_logfile=/b\n") == R"({"to":"direct","path":"/b"} 1 1)");
  CHECK(log("stdout_logfile=/a\n") == R"({"to":"direct","path":"/a"} 1 1)");
  CHECK(log("stderr_logfile=/b\n") == R"({"to":"direct","path":"/b"} 1 1)");
  CHECK(log("stdout_logfile=rel.log\nredirect_stderr=true\n") == "none 1 0");
  CHECK(log("stdout_syslog=true\nredirect_stderr=true\n") == "none 1 0");
  CHECK(log("stdout_logfile=syslog\nredirect_stderr=true\n") == "none 1 0");
}

TEST_CASE("nothing is left out in silence") {
  const Migrated result = of(
      "[inet_http_server]\nport=*:9001\n[rpcinterface:twiddler]\nx=y\n[eventlistener:e]\n"
      "command=x\n[ctlplugin:c]\n[strange]\n[program:a b]\ncommand=x\npriority=5\n"
      "stdout_events_enabled=true\nstderr_capture_maxbytes=1MB\nserverurl=AUTO\nstopasgrup=true\n"
      "stopsignal=NOPE\numask=9\ndirectory=rel\n[supervisord]\nidentifer=x\n"
      "[program:a/b]\ncommand=x\n");
  const auto& notes = result.notes.left_out;
  CHECK(says(notes, 1, "no network"));
  CHECK(says(notes, 3, "XML-RPC"));
  CHECK(says(notes, 5, "event protocol"));
  CHECK(says(notes, 7, "no plug-ins"));
  CHECK(says(notes, 8, "no section of supervisord"));
  CHECK(says(notes, 9, "becomes pool a-b"));
  CHECK(says(notes, 11, "pools start together"));
  CHECK(says(notes, 12, "mtctl events -f"));
  CHECK(says(notes, 13, "capture mode"));
  CHECK(says(program("command=x\nprocess_name=me\n").notes.left_out, 3, "POOL/0"));
  CHECK(program("command=x\nprocess_name=%(program_name)s_%(process_num)02d\n"
                "stdout_events_enabled=off\npriority=999\n")
            .notes.left_out.empty());
  CHECK(says(notes, 15, "did you mean \"stopasgroup\"?"));
  CHECK(says(notes, 16, "NOPE"));
  CHECK(says(notes, 17, "must be octal"));
  CHECK(says(program("command=x\numask=1777\n").notes.left_out, 3, "at most 0777"));
  CHECK(says(notes, 18, "absolute path"));
  CHECK(says(notes, 20, "no option \"identifer\""));
  CHECK(says(notes, 21, "becomes pool a-b-2"));
  CHECK(notes.size() == 16);
}

TEST_CASE("what supervisord refuses is an error") {
  const auto refused = [](const std::string& options, std::string_view part) {
    const Migrated result = program(options);
    for (const Note& note : result.notes.errors) {
      if (note.text.find(part) != std::string::npos) return true;
    }
    return false;
  };
  CHECK(refused("user=x\n", "has no command"));
  CHECK(refused("command=\n", "command is empty"));
  CHECK(refused("command=x 'y\n", "a ' is not closed"));
  CHECK(refused("command=x\\\n", "lone backslash"));
  CHECK(refused("command=x %d\n", "a % alone is written %%"));
  CHECK(refused("command=x %(progam_name)s\n", "did you mean program_name?"));
  CHECK(refused("command=x\nnumprocs=many\n", "must be a whole number from 0 to"));
  CHECK(refused("command=x\nautostart=maybe\n", "must be true or false"));
  CHECK(refused("command=x\nexitcodes=256\n", "from 0 to 255"));
  CHECK(!split_pairs("A=1 B=2").has_value());
  CHECK(!split_pairs("A").has_value());
  CHECK(!split_pairs("A=a*").has_value());
  CHECK(split_pairs("A=1, A = 2,").value().size() == 1);
}
