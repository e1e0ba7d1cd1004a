#!/usr/bin/python3
"""mtctl's verbs about tasks, as a program, against a stand-in for mtd: queues, results, exit codes, pipes, terminals."""
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from private_mtd import FAKE, PYTHON, Daemon  # noqa: E402

MTCTL = os.path.abspath(os.environ["MTCTL"])
WORKER = os.path.join(HERE, "..", "support", "workers", "client_worker.py")
LIMIT = 60
ENVIRONMENT = {**os.environ, "MTD_PROGRAM": FAKE, "TERM": "xterm",
               "MTD_WORKER_PROGRAM": os.path.join(os.path.dirname(MTCTL), "mtd-worker")}


def python_pool(workers=2, **tasks):
    return {"command": [sys.executable, WORKER], "workers": workers, "env": {"PYTHONPATH": PYTHON},
            "tasks": {"mode": "task", "retry_delay": "5ms", **tasks}}


def exec_pool(*command, workers=2, **tasks):
    return {"command": list(command), "workers": workers, "tasks": {"mode": "exec", "retry_delay": "5ms", **tasks}}


class Case(unittest.TestCase):
    pools = {}

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(cls.pools, environment=ENVIRONMENT)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def run_ctl(self, *words, stdin=""):
        data = stdin.encode() if isinstance(stdin, str) else stdin
        return subprocess.run([MTCTL, *words], input=data, capture_output=True, timeout=LIMIT, check=False,
                              env={**ENVIRONMENT, "MTD_SOCKET": self.daemon.runtime})

    def expect(self, code, *words, stdin="", out=None, err=None):
        done = self.run_ctl(*words, stdin=stdin)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        if out is not None:
            self.assertEqual(done.stdout.decode(), out, words)
        if err is not None:
            self.assertIn(err, done.stderr.decode(), words)
        return done.stdout.decode(errors="surrogateescape")

    def start(self, *words, **options):
        process = subprocess.Popen([MTCTL, *words], env={**ENVIRONMENT, "MTD_SOCKET": self.daemon.runtime},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, **options)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        return process

    def wait_for_file(self, name):
        poller = select.poll()
        deadline = time.monotonic() + LIMIT
        while not os.path.exists(self.path(name)):
            self.assertLess(time.monotonic(), deadline, f"no file {name}")
            poller.poll(5)

    def put(self, *words):
        return self.expect(0, "put", *words).strip()


class OneTask(Case):
    pools = {"python": python_pool(), "sh": exec_pool("sh", "-c"), "cat": exec_pool("cat"),
             "small": python_pool(workers=1, max_queue=1), "impatient": exec_pool("sleep", max_attempts=1)}

    def test_run_prints_the_result(self):
        self.expect(0, "run", "--name", "pid", "python")
        self.expect(0, "run", "sh", "printf 'two\\nlines'", out="two\nlines")
        self.expect(0, "run", "cat", "-", stdin=bytes(range(256)))
        self.assertEqual(self.run_ctl("run", "cat", "-", stdin=bytes(range(256)) * 1000).stdout, bytes(range(256)) * 1000)
        with open(self.path("file"), "w", encoding="utf-8") as file:
            file.write("from a file")
        self.expect(0, "run", "cat", "@" + self.path("file"), out="from a file")
        self.expect(0, "run", "cat", "@" + self.path("file"), "-o", "json")
        self.expect(0, "run", "sh", "--", "echo $0 $1", "-x", "--y", out="-x --y\n")

    def test_run_exits_as_the_task_did(self):
        self.expect(3, "run", "sh", "echo why >&2; exit 3", err="exit 3: why, 3 attempts")
        self.expect(65, "run", "sh", "exit 65", err="exit 65")
        self.expect(128 + 9, "run", "sh", "kill -9 $$", err="signal 9 (KILL)")
        self.expect(124, "run", "impatient", "--timeout", "50ms", "1000", err="timed out")
        self.expect(1, "run", "--name", "unprintable", "python", err="cannot be sent")
        self.expect(125, "run", "nothing", "x", err="nothing")
        self.expect(2, "run", err="needs")
        done = subprocess.run([MTCTL, "-s", self.path("none"), "run", "sh", "x"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"io.mtd.Tasks: No such file", done.stderr)

    def test_an_interrupted_run_cancels_its_task(self):
        run = self.start("run", "--name", "hold", "python", self.path("held"))
        self.wait_for_file("held")
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=LIMIT)
        self.assertEqual(run.returncode, 130, err)
        self.assertEqual(json.loads(self.expect(0, "task", "ls", "python", "--state", "running", "-o", "json")),
                         {"tasks": []})

    def test_put_wait_result(self):
        first = self.put("--id", "my-own", "sh", "echo one")
        self.assertEqual(self.put("--id", "my-own", "sh", "echo one"), first)
        bad = self.put("sh", "exit 65")
        self.expect(0, "wait", first, out=f"{first} done\n")
        self.expect(1, "wait", first, bad, "--timeout", "60s")
        self.expect(0, "result", first, out="one\n")
        self.expect(0, "result", first, out="one\n")
        self.expect(1, "result", bad, err="exit 65")
        self.expect(4, "result", "999999", err="there is no task 999999, or no more; 'mtctl task ls' lists those that are kept")
        self.expect(4, "wait", "999999")
        self.expect(2, "result", "x", err="no task's number")
        self.assertEqual(json.loads(self.expect(0, "result", first, "-o", "json"))["output"], "one\n")
        self.expect(4, "put", "nothing", "x", err="no pool 'nothing' has a queue of tasks")
        self.expect(2, "put", "--priority", "1000", "sh", err="from -100 to 100")
        self.expect(2, "put", "--at", "tomorrow", "sh", err="no time such as")
        self.expect(2, "put", "--delay", "soon", "sh", err="--delay")

    def test_groups_and_cancel(self):
        held = self.put("--name", "hold", "--group", "g", "small", self.path("held"))
        self.wait_for_file("held")
        waiting = self.put("--name", "add", "--group", "g", "small", "1")
        self.expect(75, "put", "--name", "add", "small", "1", err="full")
        self.expect(75, "run", "--name", "add", "small", "1", err="full")
        self.expect(75, "put", "--block", "20ms", "--name", "add", "small", "1")
        self.expect(6, "wait", "--group", "g", "--timeout", "20ms", err="2 tasks did not end")
        self.expect(3, "result", held, err="running")
        table = self.expect(0, "task", "ls", "small")
        self.assertRegex(table, rf"(?m)^ *{held} +small +running")
        self.assertRegex(table, rf"(?m)^ *{waiting} +small +waiting")
        self.expect(0, "cancel", waiting, held, out="1 task cancelled, 1 running told to stop\n")
        self.expect(1, "wait", "--group", "g", "--timeout", "60s")
        self.expect(0, "task", "rm", held, waiting, out="2 tasks removed\n")
        self.expect(4, "wait", "--group", "g", err="no task is in group g")
        self.expect(2, "cancel", err="which tasks?")

    def test_dead_letters(self):
        bad = self.put("--name", "fail", "python", "no", "x")
        self.expect(1, "wait", bad)
        self.assertIn(bad, self.expect(0, "dead", "ls", "python", "-o", "name").split())
        shown = self.expect(0, "task", "show", bad)
        self.assertIn(f"task {bad} of python: dead", shown)
        self.assertIn("attempt 3 by python/", shown)
        self.expect(0, "dead", "retry", bad, out="1 task will be tried again\n")
        self.expect(1, "wait", bad)
        self.expect(0, "dead", "purge", bad, out="1 task removed\n")
        self.expect(4, "task", "show", bad, err=f"there is no task {bad}")
        self.expect(2, "dead", "bury", "x", err="ls, retry and purge")
        self.expect(2, "task", "dance", err="ls, show, retry and rm")

    def test_pause_and_drain(self):
        self.expect(0, "pool", "pause", "cat", out="cat: paused; puts go on\n")
        waiting = self.put("cat", "/dev/null")
        self.assertRegex(self.expect(0, "pool", "ls"), r"(?m)^cat +exec +paused +0/2 +1")
        self.expect(0, "pool", "resume", "cat")
        self.expect(0, "drain", "--close", "cat", out="nothing waits or runs\n")
        self.expect(1, "put", "cat", "/dev/null", err="takes no tasks")
        self.expect(0, "pool", "resume", "cat")
        self.expect(0, "wait", waiting)
        self.expect(4, "drain", "nothing", err="no pool 'nothing' has a queue of tasks")
        self.expect(2, "pool", "swim", err="ls, pause and resume")


class Maps(Case):
    pools = {"sh": exec_pool("sh", "-c", "echo got $0; [ $0 != 3 ]", max_attempts=1), "python": python_pool(),
             "rot": {"command": ["tr", "a-z", "n-za-m"], "workers": 2, "tasks": {"mode": "filter"}},
             "same": exec_pool("echo")}

    def test_results_in_order(self):
        lines = "".join(f"{number}\n" for number in range(300))
        self.expect(0, "map", "same", stdin=lines, out=lines)
        out = self.expect(0, "map", "--unordered", "same", stdin=lines)
        self.assertEqual(sorted(out.split(), key=int), lines.split())
        self.expect(0, "map", "--window", "1", "same", stdin="a\nb", out="a\nb\n")
        self.expect(0, "map", "--chunk", "2", "same", stdin="a\nb\nc\n", out="a b\nc\n")
        self.expect(0, "map", "-0", "same", stdin="a\nb\0c\0", out="a\nb\nc\n")
        self.expect(0, "map", "same", stdin="", out="")
        self.expect(0, "map", "rot", stdin="hello\nworld\n", out="uryyb\njbeyq\n")

    def test_failures_are_reported_at_the_end(self):
        lines = "".join(f"{number}\n" for number in range(6))
        done = self.run_ctl("map", "sh", stdin=lines)
        self.assertEqual((done.returncode, done.stdout.decode()),
                         (1, "".join(f"got {number}\n" for number in range(6) if number != 3)))
        self.assertEqual(done.stderr.decode(), "mtctl: line 4 '3': exit 1\nmtctl: 1 of 6 tasks failed\n")
        self.expect(1, "map", "--fail-fast", "--window", "1", "sh", stdin="3\n" * 50, err="1 of 1 task failed")
        self.assertEqual(self.run_ctl("map", "-q", "sh", stdin="3\n").stderr, b"")
        records = [json.loads(line) for line in self.expect(1, "map", "-o", "jsonl", "sh", stdin=lines).splitlines()]
        self.assertEqual([record["index"] for record in records], list(range(6)))
        self.assertEqual((records[3]["state"], records[3]["exit"]), ("dead", 1))
        self.expect(4, "map", "nothing", stdin="x\n", err="no pool 'nothing' has a queue of tasks")
        self.expect(2, "map", "--ordered", "--unordered", "sh", err="exclude each other")
        self.expect(2, "map", "--max-tasks", "3", "sh", err="goes with -j")

    def test_without_a_daemon(self):
        lines = "".join(f"{number}\n" for number in range(50))
        self.expect(0, "map", "-j", "3", "--max-tasks", "5", "--", "echo", "a", stdin=lines,
                    out="".join(f"a {number}\n" for number in range(50)))
        self.expect(0, "map", "-j", "2", "--", "sh", "-c", "echo [%{arg}] $HOME '$$'", stdin="x\n",
                    out=f"[x] {os.environ['HOME']} $$\n")
        self.expect(1, "map", "-j", "2", "--", "/no/such/program", stdin="x\n", err="cannot execute /no/such/program")
        with open(self.path("count"), "w", encoding="utf-8"):
            pass
        self.expect(0, "map", "-j", "1", "--retries", "2", "--", "sh", "-c",
                    f"echo x >> {self.path('count')}; [ $(wc -l < {self.path('count')}) = 3 ]", stdin="x\n")
        self.expect(2, "map", "-j", "0", "--", "true", err="from 1 to 4096")
        self.expect(2, "map", "-j", "2", err="needs a command")

    def test_an_interrupt_cancels_what_is_under_way(self):
        jobs = self.start("map", "-j", "2", "--", "sh", "-c", f"touch {self.path('')}$0; exec sleep 1000",
                          start_new_session=True)
        jobs.stdin.write(b"a\nb\nc\n" + b"x\n" * 100)
        jobs.stdin.flush()
        self.wait_for_file("a")
        self.wait_for_file("b")
        jobs.send_signal(signal.SIGINT)
        _, err = jobs.communicate(timeout=LIMIT)
        self.assertEqual(jobs.returncode, 130, err)
        self.assertIn(b"interrupted; cancelling 16 tasks", err)
        self.assertFalse(os.path.exists(self.path("c")))

    def test_a_reader_that_goes_away_ends_it(self):
        jobs = self.start("map", "same")
        jobs.stdin.write(b"x\n" * 1000)
        jobs.stdin.flush()
        self.assertEqual(jobs.stdout.readline(), b"x\n")
        jobs.stdout.close()
        jobs.wait(LIMIT)

    def test_the_broker_dies_and_no_line_is_lost(self):
        jobs = self.start("map", "same")
        lines = [b"%d\n" % number for number in range(400)]
        jobs.stdin.write(b"".join(lines[:200]))
        jobs.stdin.flush()
        self.assertEqual(jobs.stdout.readline(), b"0\n")
        self.daemon.fail()
        jobs.stdin.write(b"".join(lines[200:]))
        jobs.stdin.close()
        jobs.stdin = None
        rest = jobs.stdout.read()
        self.assertEqual((rest, jobs.wait(LIMIT)), (b"".join(lines[1:]), 0))

    def on_terminal(self, width, *words, data):
        """mtctl with a terminal as its standard error; what came there."""
        leader, follower = pty.openpty()
        fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        with open(self.path("input"), "w", encoding="utf-8") as file:
            file.write(data)
        with open(self.path("input"), encoding="utf-8") as file:
            process = subprocess.Popen([MTCTL, *words], stdin=file, stdout=subprocess.PIPE, stderr=follower,
                                       env={**ENVIRONMENT, "MTD_SOCKET": self.daemon.runtime})
        os.close(follower)
        text = b""
        while True:
            try:
                block = os.read(leader, 65536)
            except OSError:
                break
            if not block:
                break
            text += block
        os.close(leader)
        out = process.stdout.read()
        process.stdout.close()
        return process.wait(LIMIT), out, text.decode()

    def test_a_progress_bar_on_a_terminal(self):
        for width in (20, 40, 100):
            code, out, text = self.on_terminal(width, "map", "same", data="x\n" * 2000)
            self.assertEqual((code, out), (0, b"x\n" * 2000))
            shown = [line.rpartition("\x1b[K")[2] for line in text.split("\r") if "/2000" in line]
            self.assertTrue(shown, text)
            self.assertTrue(all(len(line) < width for line in shown), shown)
            self.assertTrue(text.endswith("\r\x1b[K"), text[-40:])  # nothing of it stays
            if width == 100:
                self.assertRegex(shown[-1], r"^\[#*\.*\]  \d+/2000  \d+%  [\d.]+/s")
        code, out, text = self.on_terminal(100, "map", "-q", "same", data="x\n" * 100)
        self.assertEqual((code, text), (0, ""))


class Adapters(Case):
    def test_worker_alone_says_what_it_is(self):
        done = subprocess.run([MTCTL, "worker", "--", "cat"], capture_output=True, check=False)
        self.assertIn(b"MTD_TASK_FD is not set", done.stderr)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(subprocess.run([MTCTL, "worker"], capture_output=True, check=False).returncode, 2)
        done = subprocess.run([MTCTL, "worker", "--probe", "x", "--", "cat"], capture_output=True, check=False)
        self.assertIn(b"go with --filter", done.stderr)

    def with_pool(self, *command):
        daemon = Daemon({"p": {"command": [MTCTL, *command], "workers": 1, "tasks": {"mode": "task"}}},
                        environment=ENVIRONMENT)
        self.addCleanup(daemon.close)
        return lambda *words, stdin="": subprocess.run(
            [MTCTL, "-s", daemon.runtime, *words], input=stdin.encode(), capture_output=True, timeout=LIMIT, check=False)

    def test_mtctl_worker_as_the_command_of_a_pool(self):
        ctl = self.with_pool("worker", "--", "sh", "-c", "echo $MTD_TASK_ATTEMPT ${MTD_TASK_FD-gone} $0 %{arg}; cat")
        self.assertEqual(ctl("run", "p", "a", "b").stdout, b"1 gone sh a b\n")
        self.assertEqual(ctl("run", "p", "-", stdin="body").stdout, b"1 gone sh\nbody")

    def test_a_filter(self):
        ctl = self.with_pool("worker", "--filter", "--", "sed", "-u", "s/^/> /")
        self.assertEqual(ctl("map", "p", stdin="a\nb\n").stdout, b"> a\n> b\n")
        self.assertIn(b"one line", ctl("run", "p", "-", stdin="a\nb\n").stderr)

    def test_a_filter_that_dies_costs_its_line(self):
        ctl = self.with_pool("worker", "--filter", "--no-probe", "--", "sh", "-c",
                             "while read -r l; do [ $l != bad ] || exit 4; echo ok; done")
        done = ctl("run", "p", "bad")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn(b"the filter ended with exit 4", done.stderr)
        self.assertEqual(ctl("run", "p", "good").stdout, b"ok\n")


if __name__ == "__main__":
    unittest.main()
