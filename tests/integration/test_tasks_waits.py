"""Nothing that deals with tasks waits without end, and whoever waits is told why: pools that cannot work, an mtd that says
nothing, one that is gone, readers that do not read."""
import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from harness import BIN, PATIENCE, ROOT, Mtd, eventually, pool, wait_gone
from tasks import broker_pid, kill_broker, task_pool

sys.path.insert(0, os.path.join(ROOT, "client", "python"))
import mtd as client_package  # noqa: E402

MTCTL = os.path.join(BIN or "", "mtctl")
PATIENT = ["--patience", "6s"]   # a note after a third of it
SHORT = ["--patience", "300ms"]


class Ctl:
    """mtctl at work, its standard error read line by line."""

    def __init__(self, mtd, *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        self.words = words
        self.process = subprocess.Popen([MTCTL, "-s", mtd.runtime, *words], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                                        text=True)
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def hear(self, text):
        """Until it has said so."""
        while text not in self.said:
            line = self.process.stderr.readline()
            assert line, f"{self.words}: ended without '{text}': {self.said}"
            self.said += line

    def end(self, code, *texts):
        out, err = self.process.communicate(timeout=PATIENCE * 2)
        self.said += err
        assert self.process.returncode == code, (self.words, self.process.returncode, out, self.said)
        for text in texts:
            assert text in self.said, (self.words, self.said)
        return out


def test_why_a_wait_goes_on_is_told(tmp_path):
    pools = {"off": task_pool(enabled=False), "paused": task_pool(), "none": task_pool(),
             "bad": pool(["/bin/false"], workers=1, tasks={"mode": "task"}), "fine": task_pool()}
    with Mtd(pools) as mtd, contextlib.ExitStack() as stack:
        mtd.wait_ready("fine")
        mtd.ctl("pool", "pause", "paused")
        mtd.ctl("scale", "none", "0")
        number = mtd.ctl("put", "off", "echo").stdout.strip()
        released = str(tmp_path / "released")
        begin = lambda *words, **options: stack.enter_context(Ctl(mtd, *words, *PATIENT, **options))
        busy = begin("run", "fine", "hold", released)
        off = [begin("run", "off", "echo"), begin("wait", number), begin("drain", "off"),
               begin("map", "off", stdin=subprocess.PIPE)]
        off[-1].process.stdin.write("echo\n")
        off[-1].process.stdin.close()
        off[-1].process.stdin = None
        others = {"paused": (begin("run", "paused", "echo"), "pool paused is paused; 'mtctl pool resume paused' lets it hand out tasks"),
                  "none": (begin("run", "none", "echo"), "pool none has no workers; 'mtctl scale none N' gives it some"),
                  "bad": (begin("run", "bad", "echo"), "no worker of pool bad is ready; 'mtctl why bad' says why")}
        for one in off:
            one.hear("mtctl: waiting: pool off is stopped; 'mtctl start off' starts it\n")
        for one, reason in others.values():
            one.hear(f"mtctl: waiting: {reason}\n")
        mtd.ctl("start", "off")
        mtd.ctl("pool", "resume", "paused")
        mtd.ctl("scale", "none", "1")
        others["bad"][0].process.send_signal(signal.SIGINT)
        others["bad"][0].end(130, "interrupted; the task is being cancelled", "mtctl: cancelled\n")
        assert off[1].end(0) == f"{number} done\n"
        for one in (off[0], off[2], off[3], others["paused"][0], others["none"][0]):
            one.end(0)
        with open(released, "w", encoding="utf-8"):
            pass
        busy.end(0)
        assert busy.said == "", "a task that runs may take its time"


def test_a_timeout_of_run_is_all_the_time_it_has():
    with Mtd({"off": task_pool(enabled=False)}) as mtd:
        done = mtd.ctl("--timeout", "100ms", "run", "off", "echo", code=124)
        assert done.stderr == "mtctl: timed out: the task has not ended within --timeout; it is cancelled\n"
        assert mtd.ctl_json("task", "ls", "off") == {"tasks": []}, "it is cancelled"
        number = mtd.ctl("put", "off", "echo").stdout.strip()
        mtd.ctl("--timeout", "100ms", "wait", number, code=6)
        mtd.ctl("--timeout", "100ms", "drain", "off", code=6)


def test_an_mtd_that_says_nothing_is_given_up(tmp_path):
    never = str(tmp_path / "never")
    pools = {"p": task_pool(workers=3), "full": task_pool(enabled=False, tasks={"max_queue": 1})}
    with Mtd(pools, checks_descriptors=False) as mtd, contextlib.ExitStack() as stack:
        mtd.wait_ready("p")
        mtd.ctl("put", "full", "echo")
        blocked = stack.enter_context(Ctl(mtd, "put", "full", "echo", "--block", "1h", "--patience", "1500ms"))
        blocked.hear("mtctl: waiting: pool full is stopped; 'mtctl start full' starts it\n")
        number = mtd.ctl("put", "p", "hold", never).stdout.strip()
        mtd.reports.expect("begin")
        under_way = [(stack.enter_context(Ctl(mtd, *words, "--patience", "1500ms")), code) for words, code in (
            (("run", "p", "hold", never), 125), (("wait", number), 5))]
        mtd.reports.expect("begin")
        client = stack.enter_context(client_package.Client(mtd.runtime, patience=1.5))
        future = client.submit("p", "hold", never)
        mtd.reports.expect("begin")
        broker = broker_pid(mtd.keeper)
        os.kill(broker, signal.SIGSTOP)
        stack.callback(os.kill, broker, signal.SIGCONT)
        plain = [stack.enter_context(Ctl(mtd, *words, *SHORT)) for words in (
            ("pool", "ls"), ("task", "ls"), ("task", "rm", "1"), ("dead", "retry", "p"), ("cancel", "1"), ("result", "1"),
            ("put", "p", "echo"), ("drain", "p"), ("wait", "1"), ("map", "p"))]
        for one in plain:
            one.end(5, "answer")
        for words in (("pool", "ls"), ("wait", "1"), ("drain", "p"), ("cancel", "1")):
            mtd.ctl("--timeout", "200ms", *words, code=6)
        done = mtd.ctl("--timeout", "200ms", "run", "p", "echo", code=124)
        assert done.stderr == "mtctl: timed out: mtd has not answered within --timeout\n"
        with pytest.raises(client_package.ConnectionLost, match="has not answered for 0.2 seconds"):
            client.call("Stats", timeout=0.2)
        with pytest.raises(client_package.ConnectionLost, match="has not answered for 0.2 seconds"):
            client_package.Client(mtd.runtime, patience=0.2)
        blocked.end(5, "mtd does not answer for its tasks, and may have accepted this one or not; with --id a second put of it "
                       "is the same task")
        for one, code in under_way:
            one.end(code, "mtctl: waiting: mtd does not answer for its tasks", "mtd is there, but has not answered for 1.5s")
        with pytest.raises(client_package.ConnectionLost, match="has not answered for 1.5 seconds"):
            future.result(PATIENCE)


def test_a_broker_that_says_nothing_for_a_while_loses_nothing(tmp_path):
    """It is asked, it answers late, and what was under way ends as it would have."""
    path = str(tmp_path / "released")
    with Mtd({"p": task_pool()}, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        with client_package.Client(mtd.runtime, patience=PATIENCE) as client, \
                Ctl(mtd, "run", "p", "echo", "x", "--patience", f"{PATIENCE}s") as run:
            held = client.submit("p", "hold", path)
            broker = broker_pid(mtd.keeper)
            os.kill(broker, signal.SIGSTOP)
            late = client.submit("p", "echo", "late")
            os.kill(broker, signal.SIGCONT)
            with open(path, "w", encoding="utf-8"):
                pass
            assert (held.result(PATIENCE), late.result(PATIENCE)) == ([path], ["late"])
            assert run.end(0) == '["x"]\n'


def test_calls_go_on_when_the_broker_dies_of_them(tmp_path):
    path = str(tmp_path / "released")
    with Mtd({"p": task_pool()}) as mtd:
        mtd.wait_ready()
        mtd.ctl("put", "p", "hold", path)
        mtd.reports.expect("begin")
        with Ctl(mtd, "drain", "p") as drain:
            for _ in range(3):
                kill_broker(mtd.keeper)
                mtd.ctl("pool", "ls", "p")
            assert drain.process.poll() is None
            with open(path, "w", encoding="utf-8"):
                pass
            assert drain.end(0) == "nothing waits or runs\n"


def test_output_that_nobody_reads_does_not_keep_an_interrupt_out():
    with Mtd({"p": task_pool()}) as mtd:
        mtd.wait_ready()
        reading, writing = os.pipe()
        try:
            with Ctl(mtd, "map", "--chunk", "2", "p", stdin=subprocess.PIPE, stdout=writing) as job:
                job.process.stdin.write("size\n20000\n" * 20)
                job.process.stdin.close()
                job.process.stdin = None
                full = lambda: struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"\0" * 4))[0] > 60000
                eventually(full, PATIENCE, "the pipe is full")
                job.process.send_signal(signal.SIGINT)
                assert wait_gone(job.process.pid, PATIENCE) or job.process.poll() is not None
                assert job.process.wait(PATIENCE) in (0, 130)
        finally:
            os.close(reading)
            os.close(writing)


def test_a_change_of_the_window_while_nobody_reads_loses_no_output():
    with Mtd({"p": task_pool()}) as mtd:
        mtd.wait_ready()
        reading, writing = os.pipe()
        with open(reading, encoding="utf-8") as output, Ctl(mtd, "map", "--chunk", "2", "p", stdin=subprocess.PIPE, stdout=writing) as job:
            os.close(writing)
            job.process.stdin.write("size\n20000\n" * 20)
            job.process.stdin.close()
            job.process.stdin = None
            there = [0]

            def full():
                there.append(struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"\0" * 4))[0])
                return there[-1] > 50000 and there[-1] == there[-2]

            eventually(full, PATIENCE, "the pipe is full, and nothing more comes")
            job.process.send_signal(signal.SIGWINCH)
            assert len(output.read()) >= 20 * 20000
            job.end(0)


def test_more_input_than_a_task_may_have_is_refused():
    with Mtd({"p": task_pool()}) as mtd, open("/dev/zero", "rb") as endless, Ctl(mtd, "put", "p", "-", stdin=endless) as put:
        put.end(1, "mtctl: standard input: more than a task's body may have (64M); tasks name large files instead of carrying them")


def test_events_of_a_name_that_is_mistyped():
    with Mtd({"web": task_pool()}) as mtd:
        mtd.wait_ready()
        done = mtd.ctl("events", "wbe", code=4)
        assert (done.stdout, done.stderr) == ("", "mtctl: no such pool: wbe; 'mtctl status' lists them\n")
        with Ctl(mtd, "events", "-f", "new") as follow:
            follow.hear("mtctl: no such pool: new; 'mtctl status' lists them; events of it are shown once there are any\n")
            mtd.pools["new"] = pool(["/bin/sleep", "infinity"])
            mtd.write_config()
            mtd.ctl("reload")
            assert "new" in follow.process.stdout.readline()
            follow.process.send_signal(signal.SIGINT)
            follow.end(0)
        assert "web" in mtd.ctl("events", "web").stdout


def test_a_queue_that_comes_with_a_reload_is_served_at_once(tmp_path):
    """Its first worker's socket must not be there before the broker knows the queue: nobody would ever be ready."""
    with Mtd({"plain": pool(["/bin/sleep", "infinity"]), "q": task_pool()}) as mtd:
        mtd.wait_ready()
        mtd.pools["new"] = task_pool()
        mtd.pools["plain"] = task_pool()
        held = mtd.ctl("put", "q", "hold", str(tmp_path / "never")).stdout.strip()
        mtd.reports.expect("begin")
        leaving = mtd.pools.pop("q")
        mtd.write_config()
        mtd.ctl("--no-wait", "reload")
        mtd.pools["q"] = leaving  # while its last worker still has a task
        mtd.write_config()
        mtd.ctl("reload")
        mtd.ctl("cancel", "--now", held)
        for name in ("new", "plain", "q"):
            mtd.ctl("run", name, "echo")
        assert all(mtd.pool(name)["restarts"] == 0 for name in ("new", "plain"))


@pytest.mark.slow
def test_a_supervisor_that_says_nothing_is_given_up():
    with Mtd({"p": task_pool()}, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        supervisor = mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            done = mtd.ctl("status", code=5)
            assert "mtd has not answered for 30s: it is there, and its supervisor may be stopped or busy" in done.stderr
            assert time.monotonic() - begun >= 29
            mtd.ctl("run", "p", "echo")
        finally:
            os.kill(supervisor, signal.SIGCONT)
