#!/usr/bin/env python3
"""The narrated session of quickstart.sh: starts mtd with the examples, does to it what an operator and a bad
day do, and checks each claim. Waits for events only. Whatever happens, it ends what it started.

    quickstart_session.py BIN_DIRECTORY EXAMPLES_DIRECTORY
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TIMEOUT = 60  # seconds; for each thing that is waited for
SHOWN_POOLS = ("web", "cache", "consumer")  # these must be ready; "flaky" crashes all the time


class Failure(Exception):
    """Something that was claimed did not happen."""


def claim(truth, words):
    if not truth:
        raise Failure(words)


def say(text):
    print(f"\n# {text}", flush=True)


class Session:
    def __init__(self, programs, examples):
        self.programs = programs
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mtd-quickstart-"))
        self.runtime = self.directory / "run"
        self.config = self.directory / "config"
        shutil.copytree(examples, self.config)
        for path in [self.config, *self.config.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        self.environment = {**os.environ, "EXAMPLES": str(self.config), "EXAMPLE_DIR": str(self.directory),
                            "MTD_SOCKET": str(self.runtime / "io.mtd.Manager"),
                            "PATH": f"{self.programs}:{os.environ.get('PATH', '/usr/bin:/bin')}"}
        self.daemon = None
        self.seen = {}  # pid -> start time of every process that mtd was seen to own
        self.cgroups = set()  # directories of its workers

    # -- the daemon ---------------------------------------------------------------------------------
    def start(self):
        command = ["mtd", "--config", "config", "--runtime-dir", "run", "--state-dir", "state"]
        print(f"$ {' '.join(command)} &")
        ready, ready_end = os.pipe()
        with open(self.directory / "mtd.log", "wb") as log:
            self.daemon = subprocess.Popen(
                [str(self.programs / "mtd"), "--config", str(self.config), "--runtime-dir", str(self.runtime),
                 "--state-dir", str(self.directory / "state"), "--ready-fd", str(ready_end)],
                cwd=self.directory, env=self.environment, pass_fds=[ready_end], stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        os.close(ready_end)
        with os.fdopen(ready, "rb") as pipe:
            claim(pipe.read(1) == b"\n", "mtd did not get ready")

    def log(self):
        path = self.directory / "mtd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- mtctl --------------------------------------------------------------------------------------
    def mtctl(self, *words, expect=(0,), show=True):
        command = ["mtctl", *words]
        if show:
            print(f"$ {' '.join(command)}", flush=True)
        answer = subprocess.run([str(self.programs / "mtctl"), *words], env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT if show else None,
                                timeout=TIMEOUT, check=False)
        if show:
            print(answer.stdout, end="", flush=True)
        claim(answer.returncode in expect, f"{' '.join(command)} ended with {answer.returncode}, not {expect}")
        return answer.stdout

    def status(self):
        document = json.loads(self.mtctl("status", "-o", "json", show=False))
        for pool in document["pools"]:
            for worker in pool.get("workers", []):
                self.note(worker["pid"])
                if worker["cgroup"]:
                    self.cgroups.add(pathlib.Path(worker["cgroup"]))
        self.note(document["daemon"]["supervisor_pid"])
        return document

    def note(self, pid):
        if pid and start_time(pid):
            self.seen[pid] = start_time(pid)

    def pool(self, name):
        return next(pool for pool in self.status()["pools"] if pool["name"] == name)

    def pids(self):
        return {worker["name"]: worker["pid"] for pool in self.status()["pools"] if pool["name"] in SHOWN_POOLS
                for worker in pool["workers"]}

    def pid_of(self, worker):
        return self.pids()[worker]

    def cursor(self):
        lines = self.mtctl("events", "-o", "jsonl", show=False).splitlines()
        return json.loads(lines[-1])["cursor"] if lines else "0"

    def wait_for_event(self, since, wanted, words):
        """Reads events from a cursor on until one fits; nothing is missed and nothing is polled."""
        follow = subprocess.Popen([str(self.programs / "mtctl"), "events", "-f", "--since", since, "-o", "jsonl"],
                                  env=self.environment, text=True, stdout=subprocess.PIPE)
        limit = threading.Timer(TIMEOUT, follow.terminate)
        limit.start()
        try:
            for line in follow.stdout:
                event = json.loads(line)
                if wanted(event):
                    return event
        finally:
            limit.cancel()
            follow.terminate()
            follow.wait()
            follow.stdout.close()
        raise Failure(words)

    # -- the end ------------------------------------------------------------------------------------
    def end(self):
        """Ends mtd if it still runs; its own stop ends everything it started."""
        if self.daemon and self.daemon.poll() is None:
            for stop in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
                self.daemon.send_signal(stop)
                try:
                    self.daemon.wait(30)
                    break
                except subprocess.TimeoutExpired:
                    continue

    def check_nothing_is_left(self):
        left = [pid for pid, started in self.seen.items() if start_time(pid) == started]
        claim(not left, f"processes are left: {left}")
        left = [path for path in self.cgroups if path.exists() or path.parent.exists()]  # of a worker, of its pool
        claim(not left, f"cgroups are left: {left}")
        left = [path.name for path in self.runtime.iterdir() if path.is_socket()] if self.runtime.exists() else []
        claim(not left, f"sockets are left: {left}")

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def start_time(pid):
    """Of a process, in ticks since boot; None if there is none, or only its exit status is left."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def fetch(port):
    """The status of an answer. http.server tells nobody when it listens: asks again until it does."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/mtd.json", timeout=TIMEOUT) as page:
                return page.status
        except OSError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)


def push_jobs(path, count):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as redis:
        redis.connect(str(path))
        redis.sendall(b"".join(b"RPUSH jobs job%d\r\n" % number for number in range(count)))
        replies = redis.makefile("rb")
        for _ in range(count):
            claim(replies.readline().startswith(b":"), "redis-server did not take a job")


def tell(session):
    version = subprocess.run([str(session.programs / "mtctl"), "version"], env=session.environment, text=True,
                             capture_output=True, check=False).stdout.split("\n")[0]
    say(f"{version.strip()}: three web servers, a redis-server, four queue consumers, two programs that crash at random")
    session.start()
    session.mtctl("wait", *SHOWN_POOLS, "--for", "ready", "--timeout", "30s")
    session.mtctl("status")
    claim(fetch(28050) == 200, "web/0 does not answer")

    say("Kill two workers. Each is back at once, under the same name and on the same port.")
    before = session.pids()
    for worker in ("web/1", "consumer/2"):
        since = session.cursor()
        print(f"$ kill -9 {before[worker]}      # {worker}", flush=True)
        os.kill(before[worker], signal.SIGKILL)
        back = session.wait_for_event(
            since, lambda event, worker=worker: event.get("worker") == worker and event["event"] == "ready",
            f"{worker} did not come back")
        claim(back["pid"] != before[worker], f"{worker} was not replaced")
    session.mtctl("status", "web")
    session.mtctl("why", "web/1")

    say("Kill the supervisor. Its successor goes on with the same workers: no pid changes.")
    before = session.pids()
    supervisor = session.status()["daemon"]["supervisor_pid"]
    print(f"$ kill -9 {supervisor}      # mtd-supervisor", flush=True)
    os.kill(supervisor, signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT
    while session.status()["daemon"]["supervisor_pid"] == supervisor:  # an answer of the old one, at most
        claim(time.monotonic() < deadline, "the supervisor was not replaced")
    claim(session.pids() == before, f"workers changed: {before} became {session.pids()}")
    claim(fetch(28052) == 200, "web/2 does not answer")
    session.mtctl("status")
    print(f"all {len(before)} workers have the pids they had before")

    say("Give the consumers 1000 jobs. Each is replaced after about 100, its successor ready first.")
    since = session.cursor()
    push_jobs(session.directory / "redis.sock", 1000)
    recycled = []
    session.wait_for_event(
        since, lambda event: (event.get("pool") == "consumer" and event["event"] == "exited"
                              and event["last_exit"]["cause"] == "recycle:max_tasks"
                              and (recycled.append(event) or len(recycled) >= 4)),
        "no consumer was recycled")
    session.mtctl("wait", "consumer", "--for", "ready", "--timeout", "30s", show=False)
    session.mtctl("status", "consumer", expect=(0, 3))  # 3: one may be on its way again
    claim(session.pool("consumer")["restarts"] == 1, "recycling was counted as a crash")

    say("Scale.")
    session.mtctl("scale", "web", "5")
    session.mtctl("wait", "web", "--for", "ready", "--timeout", "30s", show=False)
    claim(session.pool("web")["ready"] == 5, "web does not have five ready workers")
    claim(fetch(28054) == 200, "web/4 does not answer")
    session.mtctl("scale", "web", "--reset")

    say("Change a file: see what it would do, then do it.")
    web = session.config / "pools.d/web.json"
    web.write_text(web.read_text().replace('"--bind"', '"--protocol", "HTTP/1.1", "--bind"'))
    session.mtctl("config", "diff")
    before = session.pids()
    session.mtctl("reload")
    after = session.pids()
    claim(all(before[name] != after[name] for name in ("web/0", "web/1", "web/2")), "web was not replaced")
    claim(before["cache/0"] == after["cache/0"], "cache was restarted without need")
    claim(fetch(28051) == 200, "web/1 does not answer")

    say("A program that crashes at random: what happened, and what happens next.")
    session.mtctl("why", "flaky")

    say("Stop everything.")
    session.mtctl("status")
    session.mtctl("shutdown")
    claim(session.daemon.wait(TIMEOUT) == 0, "mtd did not end with 0")
    session.check_nothing_is_left()
    print("mtd has ended with 0; no process, socket or cgroup is left")


def main():
    programs, examples = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    session = Session(programs, examples)

    def stopped(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stopped)
    try:
        tell(session)
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (Failure, subprocess.TimeoutExpired, OSError, KeyError, ValueError) as error:
        print(f"\nquick start FAILED: {type(error).__name__}: {error}\n--- log of mtd:\n{session.log()[-4000:]}",
              file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the clean-up runs to its end
        session.end()
        session.remove()


if __name__ == "__main__":
    sys.exit(main())
