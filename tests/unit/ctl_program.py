#!/usr/bin/python3
"""mtctl as a program, against a scripted control socket: exit codes, streams, pipes, terminals."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from fake_manager import CLOSE, HANG, FakeManager  # noqa: E402
from sample_status import DAEMON, POOLS, pool, status, worker  # noqa: E402

MTCTL = os.environ.get("MTCTL", "mtctl")
LIMIT = 60  # seconds that no single run of mtctl needs
HOSTILE = "".join(map(chr, range(1, 256))) + "\x1b]0;t\x07\x1b]8;;http://x\x1b\\\x1b]52;c;AA==\x07\u202eevil\u2066"
EVENTS = [{"cursor": f"ab:{n}", "time": "2026-11-21T18:04:06.123Z", "pool": "web", "worker": f"web/{n}",
           "pid": 100 + n, "incarnation": 1, "event": "exited", "state": "backoff", "next_attempt_ms": 500,
           "last_exit": {"cause": "signal", "signal": 9, "signal_name": "KILL", "planned": False}}
          for n in range(3)]


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="mtctl-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.socket = os.path.join(self.directory, "io.mtd.Manager")
        self.environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "MTD_SOCKET": self.socket,
                            "LANG": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def fake(self, **answers):
        manager = FakeManager(self.socket, answers)
        self.addCleanup(manager.close)
        return manager

    def run_ctl(self, *arguments, environment=None):
        return subprocess.run([MTCTL, *arguments], env=environment or self.environment, text=True,
                              capture_output=True, timeout=LIMIT, check=False)

    def expect(self, code, *arguments):
        done = self.run_ctl(*arguments)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def on_terminal(self, *arguments, width=100, until=None, environment=None):
        """Runs mtctl on a terminal; returns what it wrote and its exit status. `until`: interrupted as
        soon as this has been written."""
        pid, fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
            os.execve(shutil.which(MTCTL), [MTCTL, *arguments], environment or self.environment)
        output = b""
        sent = False
        while select.select([fd], [], [], LIMIT)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            output += data
            if until is not None and until in output and not sent:
                sent = True
                os.kill(pid, signal.SIGINT)
        os.close(fd)
        return output, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class ExitCodes(Case):
    def test_no_daemon(self):
        done = self.expect(5, "status")
        self.assertIn(self.socket, done.stderr)
        self.assertIn("No such file or directory", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_usage(self):
        self.assertIn("did you mean 'status'?", self.expect(2, "statsu").stderr)
        self.assertIn("Usage: mtctl", self.expect(2).stderr)
        self.assertIn("Exit codes", self.expect(0, "help").stdout)
        self.assertIn("Usage: mtctl stop", self.expect(0, "stop", "--help").stdout)
        self.expect(2, "help", "nothing")

    def test_errors_of_the_daemon(self):
        for name, parameters, code in [
                ("io.mtd.Manager.NoSuchPool", {"selector": "wbe"}, 4),
                ("io.mtd.Manager.NoSuchWorker", {"selector": "web/9"}, 4),
                ("io.mtd.Manager.Failed", {"message": "did not work"}, 1),
                ("io.mtd.Manager.PermissionDenied", {"message": "not yours"}, 7),
                ("io.mtd.Manager.InvalidConfiguration", {"errors": ["a.json:1:2: wrong"]}, 8),
                ("io.mtd.Manager.Busy", {"message": "later"}, 75),
                ("io.mtd.Manager.NotReady", {"message": "not yet", "pools": []}, 3),
                ("org.varlink.service.MethodNotFound", {"method": "x"}, 2)]:
            with self.subTest(name), FakeManager(self.socket, {"Restart": [(name, parameters)]}):
                done = self.expect(code, "restart", "web")
                self.assertTrue(done.stderr.startswith("mtctl: "), done.stderr)

    def test_a_configuration_of_another_version(self):
        config = {"daemon": {"resolved": {}}, "pools": [{"name": "web", "command": ["/bin/true"], "later_key": 1}]}
        own = json.loads(self.expect(0, "version", "-o", "json").stdout)["mtctl"]
        for version, advice in (("999.0.0", "The daemon is the newer one; use the mtctl that was installed with it."),
                                ("0.0.1", "mtctl is the newer one; 'mtctl upgrade' lets the daemon follow."),
                                (own, "They are builds of one version that differ; use mtctl and mtd of one build.")):
            answers = {"GetConfig": [({"config": config, "config_path": "/etc/mtd"},)], "Status": [({"daemon": {"version": version}, "pools": []},)]}
            with self.subTest(version), FakeManager(self.socket, answers):
                done = self.expect(1, "config", "diff")
                self.assertTrue(done.stderr.startswith(
                    f"mtctl: this is mtctl {own} and the daemon is mtd {version}, whose configuration it cannot compare with the files. "
                    + advice), done.stderr)
                self.assertIn('unknown key "later_key"', done.stderr)

    def test_timeout(self):
        self.fake(Wait=[HANG])
        self.expect(6, "wait", "web", "--timeout", "100ms")

    def test_daemon_goes_away(self):
        def gone(_):
            os.unlink(self.socket)
            return [CLOSE]
        self.fake(Start=gone)
        self.expect(5, "start", "web")
        self.fake(Shutdown=gone)
        self.expect(0, "shutdown")

    def test_a_supervisor_that_dies_again_and_again(self):
        manager = self.fake(Start=[CLOSE])
        done = self.run_ctl("start", "web", "--timeout", "500ms")
        self.assertIn(done.returncode, (5, 6), done)  # 6: the time was over in the middle of a life
        self.assertGreater(len(manager.calls), 1)

    def test_nonsense_from_the_daemon(self):
        self.fake(Limits=[b"this is no JSON\0"])
        self.expect(1, "limits")

    def test_status_is_3_only_for_what_was_asked(self):
        def answer(parameters):
            wanted = parameters.get("select")
            pools = [p for p in POOLS if not wanted or p["name"] in wanted]
            return [(status(pools),), ({"pools": [{"name": p["name"], "workers": []} for p in pools]},)]
        self.fake(Status=answer)
        self.expect(0, "status")
        self.expect(0, "status", "web")
        self.expect(3, "status", "thumbs")

    def test_is_ready(self):
        self.fake(IsReady=[({"ready": False, "pools": POOLS},)])
        self.assertIn("thumbs: not ready", self.expect(3, "is-ready").stdout)
        self.assertEqual(self.expect(3, "is-ready", "-q").stdout, "")

    def test_socket_without_permission(self):
        manager = self.fake()
        os.chmod(self.directory, 0o755)
        os.chmod(manager.path, 0)
        stranger = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        try:
            done = subprocess.run([MTCTL, "status"], env=self.environment, text=True, capture_output=True,
                                  timeout=LIMIT, check=False, **stranger)
        except PermissionError:
            self.skipTest("another user may not run this mtctl")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("Permission denied", done.stderr)


class Calls(Case):
    def test_what_is_sent(self):
        done = {"pools": [{"name": "web", "state": "stopped", "ok": True, "message": "stopped in 1.3s (6 exited)"}]}
        manager = self.fake(Stop=[(done,)], Scale=[({"pool": "web", "before": 4, "want": 3, "want_file": 4},)],
                            Signal=[({"sent": 2},)], Reload=[({"plan": {}, "config_rev": 3, "pools": []},)])
        self.assertEqual(self.expect(0, "stop", "web").stdout, "web: stopped in 1.3s (6 exited)\n")
        self.expect(0, "stop", "--now", "--no-wait", "--all")
        self.assertIn("4 → 3", self.expect(0, "scale", "web", "-1").stdout)
        self.assertEqual(self.expect(0, "signal", "sighup", "web").stdout, "sent HUP to 2 processes\n")
        self.expect(0, "reload", "web")
        self.assertEqual(manager.calls, [
            ("Stop", {"select": ["web"]}), ("Stop", {"select": ["*"], "now": True, "wait": False}),
            ("Scale", {"pool": "web", "delta": -1}), ("Signal", {"signal": "HUP", "select": ["web"]}),
            ("Reload", {"pool": "web"})])

    def test_json_and_names(self):
        workers = [worker(f"web/{n}", "ready", 10 + n) for n in range(4)]
        self.fake(Status=lambda parameters: [
            (status(POOLS[:1]),), ({"pools": [{"name": "web", "workers": workers[:2]}]},),
            ({"pools": [{"name": "web", "workers": workers[2:]}]},)])
        report = json.loads(self.expect(0, "-o", "json", "status").stdout)
        self.assertEqual(list(report), ["api", "daemon", "pools"])
        self.assertEqual(report["daemon"], DAEMON)
        self.assertEqual([w["id"] for w in report["pools"][0]["workers"]], [0, 1, 2, 3])
        self.assertEqual(self.expect(0, "status", "-o", "name").stdout, "web\n")
        self.assertEqual(self.expect(0, "status", "-q").stdout, "")

    def test_events(self):
        self.fake(Events=[({"events": EVENTS[:2]},), ({"events": EVENTS[2:]},)])
        lines = self.expect(0, "events", "-o", "jsonl").stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], EVENTS)
        self.assertEqual(len(self.expect(0, "events").stdout.splitlines()), 3)

    def test_version_without_daemon(self):
        self.assertIn("not running", self.expect(0, "version").stdout)
        self.assertIsNone(json.loads(self.expect(0, "version", "-o", "json").stdout)["daemon"])


class Streams(Case):
    def start(self, *arguments):
        process = subprocess.Popen([MTCTL, *arguments], env=self.environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def test_each_event_is_there_at_once_and_interrupt_ends_with_0(self):
        self.fake(Events=[({"events": EVENTS},), HANG])
        process = self.start("events", "-f", "-o", "jsonl")
        for event in EVENTS:
            self.assertEqual(json.loads(process.stdout.readline()), event)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(LIMIT), 0)
        self.assertEqual(process.stderr.read(), "")

    def test_the_stream_goes_on_with_a_replaced_supervisor(self):
        def answer(parameters):
            return [({"events": EVENTS[1:]},), HANG] if "since" in parameters else [({"events": EVENTS[:1]},), CLOSE]
        manager = self.fake(Events=lambda parameters: iter(answer(parameters)))
        process = self.start("events", "-f", "-o", "jsonl")
        for event in EVENTS:
            self.assertEqual(json.loads(process.stdout.readline()), event)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(LIMIT), 0)
        self.assertEqual(manager.calls[1][1]["since"], EVENTS[0]["cursor"])

    def test_a_reader_that_goes_away_ends_the_stream_silently(self):
        self.fake(Events=[({"events": EVENTS},), HANG])
        process = self.start("events", "-f")
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(LIMIT), 0)
        self.assertEqual(process.stderr.read(), "")

    def test_head(self):
        self.fake(Status=[(status(),)])
        done = subprocess.run(["/bin/sh", "-c", '"$0" status | true', MTCTL], env=self.environment,
                              capture_output=True, timeout=LIMIT, check=False)
        self.assertEqual(done.stderr, b"")

    def test_a_full_disk_is_an_error(self):
        self.fake(Status=[(status(),)])
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([MTCTL, "status"], env=self.environment, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No space left", done.stderr)


class Terminals(Case):
    def test_colour_and_width(self):
        self.fake(Status=[(status(),)])
        output, code = self.on_terminal("status", width=60)
        self.assertEqual(code, 0)
        self.assertIn(b"\x1b[33mdegraded\x1b[0m", output)
        for arguments, extra in ((["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})):
            output, _ = self.on_terminal(*arguments, "status", width=60, environment={**self.environment, **extra})
            self.assertNotIn(b"\x1b", output)
            self.assertLessEqual(max(len(line.decode()) for line in output.split(b"\r\n")), 60)
        self.assertNotIn("\x1b", self.run_ctl("status").stdout)

    def test_nothing_from_a_worker_reaches_the_terminal_raw(self):
        hostile = pool(HOSTILE, "degraded", 1, 1, note=HOSTILE)
        hostile["workers"] = [worker("web/0", "ready", 1, status_text=HOSTILE, ending=HOSTILE)]
        event = {"cursor": "a:1", "time": HOSTILE, "worker": HOSTILE, "event": HOSTILE, "detail": HOSTILE}
        result = {"pools": [{"name": HOSTILE, "ok": True, "message": HOSTILE}]}
        why = {"pools": [{**hostile, "lines": [HOSTILE]}]}
        limits = {"limits": [{"name": HOSTILE, "unit": HOSTILE, "note": HOSTILE}], "host": {"cannot": [HOSTILE]}}
        self.fake(Status=[(status([hostile], warnings=[HOSTILE]),)], Events=[({"events": [event]},)],
                  Freeze=[(result,)], Why=[(why,)], Limits=[(limits,)],
                  Thaw=[("io.mtd.Manager.Failed", {"message": HOSTILE, "pools": result["pools"]})],
                  Tree=[({"workers": [{"name": HOSTILE, "pid": None, "pids": None}]},)])
        for words in (["status"], ["status", "web"], ["status", "-o", "json"], ["status", "-o", "name"],
                      ["events"], ["events", "-o", "jsonl"], ["freeze", "web"], ["why", "web"], ["limits"],
                      ["thaw", "web"], ["tree"], ["why", "web", "-o", "json"]):
            with self.subTest(words):
                output, _ = self.on_terminal("--no-color", *words, width=2000)
                self.assertTrue(output)
                text = output.decode().replace("\r\x1b[K", "")  # valid UTF-8; mtctl's own progress line
                bad = [c for c in text if (ord(c) < 32 and c not in "\r\n") or 127 <= ord(c) < 160
                       or c in "\u202e\u2066"]
                self.assertEqual(bad, [])

    def test_watch_draws_again_on_events_and_gives_the_terminal_back(self):
        shown = []
        asked = threading.Event()

        def answer(unused):
            shown.append(1)
            asked.set()
            return [(status(POOLS[:1], config_rev=len(shown)),)]

        def stream(unused):
            yield ({"events": []},)
            asked.wait(LIMIT)
            yield ({"events": EVENTS[:1]},)
        self.fake(Status=answer, Events=stream)
        output, code = self.on_terminal("status", "-w", until=b"config rev 2")
        self.assertEqual(code, 0)
        self.assertTrue(output.startswith(b"\x1b[?1049h\x1b[?25l"))
        self.assertTrue(output.endswith(b"\x1b[?25h\x1b[?1049l"), output[-40:])

    def test_progress_of_a_wait(self):
        self.fake(Wait=[HANG], Status=[(status(POOLS[1:2]),)], Events=[({"events": []},), HANG])
        output, code = self.on_terminal("wait", "thumbs", until=b"6/8")
        self.assertEqual(code, -signal.SIGINT)
        self.assertIn(b"waiting until ready", output)
        self.assertIn(b"\r\x1b[K", output)

    def test_a_dumb_terminal_gets_no_sequences(self):
        dumb = {**self.environment, "TERM": "dumb"}
        self.fake(Wait=[({"pools": []},)], Status=[(status(POOLS[1:2]),)], Events=[({"events": []},), HANG])
        for words, until in ((["wait", "thumbs"], None), (["status", "-w"], b"attention")):
            output, _ = self.on_terminal(*words, environment=dumb, until=until)
            self.assertNotIn(b"\x1b", output)


class Completion(Case):
    def script(self, shell):
        return self.expect(0, "completion", shell).stdout

    def check_syntax(self, shell):
        if shutil.which(shell) is None:
            self.skipTest(f"{shell} is not installed")
        path = os.path.join(self.directory, "script")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.script(shell))
        done = subprocess.run([shell, "-n", path], capture_output=True, timeout=LIMIT, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_bash_syntax(self):
        self.check_syntax("bash")

    def test_zsh_syntax(self):
        self.check_syntax("zsh")

    def test_fish_syntax(self):
        self.check_syntax("fish")

    def test_unknown_shell(self):
        self.expect(2, "completion", "tcsh")

    def complete(self, *words):
        code = (f'mtctl() {{ "{MTCTL}" "$@"; }}\neval "$(mtctl completion bash)"\n'
                'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mtctl; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", code, "bash", *words], env=self.environment, text=True,
                              capture_output=True, timeout=LIMIT, check=False)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_bash_completes(self):
        self.fake(Status=[(status(),)])
        self.assertEqual(self.complete("mtctl", "sta"), ["status", "start"])
        self.assertEqual(self.complete("mtctl", "stop", "w"), ["web"])
        self.assertEqual(self.complete("mtctl", "-o", "js"), ["json", "jsonl"])
        self.assertEqual(self.complete("mtctl", "wait", "web", "--for", "s"), ["stopped"])
        self.assertEqual(self.complete("mtctl", "signal", "HU"), ["HUP"])
        self.assertEqual(self.complete("mtctl", "signal", "HUP", "thu"), ["thumbs"])
        self.assertEqual(self.complete("mtctl", "config", "d"), ["diff"])
        self.assertIn("--now", self.complete("mtctl", "stop", "--n"))

    def test_fish_completes(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        self.fake(Status=[(status(),)])
        code = f'function mtctl; {MTCTL} $argv; end; mtctl completion fish | source; complete -C "$argv"'

        def complete(line):
            done = subprocess.run(["fish", "--no-config", "-c", code, line], text=True, capture_output=True, timeout=LIMIT,
                                  env={**self.environment, "HOME": self.directory}, cwd=self.directory, check=False)
            self.assertEqual(done.stderr, "")
            return [found.split("\t")[0] for found in done.stdout.splitlines()]
        self.assertEqual(sorted(complete("mtctl sta")), ["start", "status"])
        self.assertEqual(complete("mtctl stop w"), ["web"])
        self.assertEqual(sorted(complete("mtctl -o js")), ["json", "jsonl"])
        self.assertEqual(complete("mtctl signal HU"), ["HUP"])
        self.assertEqual(complete("mtctl config d"), ["diff"])
        self.assertIn("--now", complete("mtctl stop --n"))

    def test_zsh_completes(self):
        """On a terminal, with the key Tab: zsh completes nowhere else."""
        if shutil.which("zsh") is None:
            self.skipTest("zsh is not installed")
        self.fake(Status=[(status(),)])
        with open(os.path.join(self.directory, "_mtctl"), "w", encoding="utf-8") as file:
            file.write(self.script("zsh"))
        os.mkfifo(os.path.join(self.directory, "line"))
        line = os.open(os.path.join(self.directory, "line"), os.O_RDWR)
        self.addCleanup(os.close, line)
        os.symlink(os.path.abspath(MTCTL), os.path.join(self.directory, "mtctl"))
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.directory)
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**self.environment, "HOME": self.directory, "TERM": "dumb",
                                                    "PATH": f"{self.directory}:{os.environ['PATH']}"})
        # What zsh shows is read away; what stands in its line comes through the pipe, when Ctrl-G asks.
        reader = threading.Thread(target=self.read_away, args=(fd,))
        reader.start()
        os.write(fd, b"fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; tell() { print -r -- $BUFFER >line; }\n"
                     b"zle -N tell; zle -N zle-line-init tell; bindkey -e; bindkey '^G' tell\n")

        def told(what):
            self.assertTrue(select.select([line], [], [], LIMIT)[0], what)
            return os.read(line, 4096).decode().rstrip("\n")

        def complete(words):
            os.write(fd, words.encode() + b"\t\x07\x15")
            return told(words)
        try:
            self.assertEqual(told("its first line of its own"), "")
            self.assertEqual(complete("mtctl statu"), "mtctl status ")
            self.assertEqual(complete("mtctl stop w"), "mtctl stop web ")
            self.assertEqual(complete("mtctl -o ta"), "mtctl -o table ")
            self.assertEqual(complete("mtctl signal HU"), "mtctl signal HUP ")
            self.assertEqual(complete("mtctl config d"), "mtctl config diff ")
            self.assertEqual(complete("mtctl status --wat"), "mtctl status --watch ")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            reader.join()
            os.close(fd)

    @staticmethod
    def read_away(fd):
        try:
            while os.read(fd, 65536):
                pass
        except OSError:
            pass  # the other side is gone


class ConfigurationFiles(Case):
    def write(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def loads(self, text):
        return self.expect(0, "config", "check", self.write("loads.json", text))

    def test_migrated_files_load(self):
        self.write("conf.d/web.conf", "[program:web]\ncommand=/bin/cat %(here)s\n[program:x]\ncommand=sh -c 'echo $HOME'\n")
        main = self.write("supervisord.conf", """
[supervisord]
nodaemon=true
minfds=2048
environment=ZONE="UTC"
[include]
files = conf.d/*.conf nothing/*.conf
[group:jobs]
programs=mail,thumbs
[program:mail]
command=/bin/sh -c "exec sleep %(ENV_SECONDS)s" %(process_num)02d
process_name=%(program_name)s_%(process_num)02d
numprocs=12
autorestart=unexpected
exitcodes=0,2
startsecs=0
startretries=5
stopsignal=QUIT
stopwaitsecs=30
stopasgroup=true
killasgroup=true
environment=LEVEL="debug,all",TEMPLATE='100%% $x'
[fcgi-program:thumbs]
command=/bin/cat
socket=unix://%(here)s/thumbs.sock
socket_mode=0660
redirect_stderr=true
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
[eventlistener:memmon]
command=memmon
""")
        self.environment["SECONDS"] = "60"
        done = self.expect(0, "config", "migrate", main)
        pools = json.loads(done.stdout)["pools"]
        self.assertEqual(sorted(pools), ["jobs.mail-0", "jobs.mail-10", "jobs.thumbs", "web", "x"])
        self.assertEqual(pools["web"]["command"], ["/bin/cat", self.directory + "/conf.d"])
        self.assertIn("nothing/*.conf", done.stderr)
        self.assertIn(f"{main}:30: [eventlistener:memmon]", done.stderr)
        self.assertIn("must have SECONDS", done.stderr)
        self.assertIn("5 pools, 15 workers", self.loads(done.stdout).stdout)
        self.assertEqual(self.expect(0, "-q", "config", "migrate", main).stderr, "")
        self.assertEqual(len(self.expect(0, "-o", "jsonl", "config", "migrate", main).stdout.splitlines()), 1)

    def test_what_cannot_be_migrated(self):
        self.assertIn("needs the path of a supervisord.conf", self.expect(2, "config", "migrate").stderr)
        for text, message in [("x=1\n", ":1: stands before the first [section]"), ("[program:p]\n", ":1: [program:p] has no command"),
                              ("[include]\n", ":1: [include] has no files"), ("\0", "control character")]:
            path = self.write("bad.conf", text)
            done = self.expect(8, "config", "migrate", path)
            self.assertIn(path + message if message[0] == ":" else message, done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertIn("No such file or directory", self.expect(8, "config", "migrate", "/nonexistent/x").stderr)
        self.assertIn("no regular file", self.expect(8, "config", "migrate", self.directory).stderr)

    def test_the_starter_loads_with_and_without_its_comments(self):
        starter = self.expect(0, "config", "new").stdout
        self.assertIn("1 pool, 2 workers", self.loads(starter).stdout)
        uncommented = re.sub(r'^( +)// (?="[a-z_]+": )', r"\1", starter, flags=re.M)
        self.assertGreater(len(uncommented.splitlines()), 30)
        self.assertNotEqual(uncommented, starter)
        self.assertIn("1 pool, 2 workers", self.loads(uncommented).stdout)
        self.assertLess(max(map(len, starter.splitlines())), 101)


class Metrics(Case):
    SAMPLE = re.compile(r'([a-z_]+)((?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) ([-+0-9.e]+)')

    def metrics(self, *words):
        """As a strict reader of OpenMetrics: {sample with labels: value}."""
        text = self.expect(0, "metrics", *words).stdout
        self.assertTrue(text.endswith("# EOF\n"))
        families, samples, family = {}, {}, None
        for line in text.splitlines()[:-1]:
            if line.startswith("# "):
                kind, name, value = line[2:].split(" ", 2)
                if name != family:
                    self.assertEqual(kind, "TYPE")
                    self.assertNotIn(name, families)
                    family = name
                    families[name] = {}
                self.assertNotIn(kind, families[name])
                families[name][kind] = value
                continue
            match = self.SAMPLE.fullmatch(line)
            self.assertIsNotNone(match, line)
            suffix = {"counter": "_total", "gauge": ""}[families[family]["TYPE"]]
            self.assertEqual(match[1], family + suffix)
            self.assertNotIn(match[1] + match[2], samples)
            samples[match[1] + match[2]] = float(match[3])
        for name, family in families.items():
            self.assertTrue(family["HELP"].endswith("."), name)
            self.assertTrue(name.endswith("_" + family["UNIT"]) if "UNIT" in family else True, name)
        return samples

    def test_pools(self):
        self.fake(Status=[(status(),)])
        samples = self.metrics()
        self.assertEqual(samples['mtd_info{version="1.0.0"}'], 1)
        self.assertEqual(samples["mtd_uptime_seconds"], 273600)
        self.assertEqual(samples["mtd_config_in_sync"], 1)
        self.assertEqual(samples['mtd_pool_workers_ready{pool="thumbs"}'], 6)
        self.assertEqual(samples['mtd_pool_tasks_waiting{pool="thumbs"}'], 118)
        self.assertNotIn('mtd_pool_tasks_waiting{pool="legacy"}', samples)
        self.assertEqual(samples['mtd_pool_recycled_total{pool="web"}'], 212)
        self.assertEqual(samples['mtd_pool_state{pool="mailer",state="rolling"}'], 1)
        self.assertEqual(samples['mtd_pool_breaker_open{pool="web"}'], 0)
        self.assertFalse([name for name in samples if name.startswith("mtd_worker_")])

    def test_workers_and_hostile_names(self):
        hostile = 'a"b\\c\nd'
        busy = worker("web/0", "busy", os.getpid(), tasks=7)
        self.fake(Status=[(status([pool("web", "running", 1, 1, workers=[busy]), pool(hostile, "failed", 0, 1)]),)])
        samples = self.metrics("--all")
        self.assertEqual(samples['mtd_worker_tasks{pool="web",worker="web/0"}'], 7)
        self.assertEqual(samples['mtd_pool_workers_wanted{pool="a\\"b\\\\c\\nd"}'], 1)

    def test_promtool(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed")
        self.fake(Status=[(status(),)])
        text = self.expect(0, "metrics").stdout
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
        # It reads the format before OpenMetrics, in which a counter's family has _total, too; all else must please it.
        complaints = [line for line in done.stderr.splitlines() if not line.endswith("_total no help text")]
        self.assertEqual((complaints, done.stdout), ([], ""))
        self.assertIn(done.returncode, (0, 3))


if __name__ == "__main__":
    unittest.main()
