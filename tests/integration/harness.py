"""A real mtd in directories of its own, and what a test needs to drive and check it.

Waiting is by events, pidfds and reports of workers; nothing sleeps and hopes. `Mtd` is a context
manager: at its end it stops the daemon and asserts that nothing is left: no process, zombie, socket
or cgroup directory, no descriptor more than at the start, no sanitizer or "alert" line in the log.
"""
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

from clients import Events, Reports, ServiceManager, Varlink, VarlinkError  # noqa: F401  for tests, too
from processes import (PATIENCE, Stopwatch, become_subreaper, cgroup2_mount, children_map, command_of, # noqa: F401
                       cpu_seconds, descendants, descriptor_count, descriptors, eventually, is_alive, rss_kib, stat_of, wait_gone)

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
WORKERS = os.path.join(ROOT, "tests", "support", "workers")
NOBODY = 65534
BAD_LINES = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|\balert\b|"
                       r"terminate called|Assertion|stack smashing")


def find_bin():
    given = os.environ.get("MTD_BIN")
    for place in [given] if given else [os.path.join(ROOT, "build", "release", "bin"), os.path.join(ROOT, "build", "bin")]:
        if os.access(os.path.join(place, "mtd"), os.X_OK):
            return os.path.abspath(place)
    return None


BIN = find_bin()


def compile_worker(name, directory, *flags):
    out = os.path.join(directory, name.replace(".cpp", ".so" if "-shared" in flags else ""))
    subprocess.run(["g++", "-std=c++20", "-O1", *(flags or ["-static"]), os.path.join(WORKERS, name), "-o", out], check=True)
    os.chmod(out, 0o755)
    return out


class StartFailed(Exception):
    def __init__(self, code, log):
        super().__init__(f"mtd ended with {code}:\n{log}")
        self.code, self.log = code, log


def pool(command, **keys):
    """A pool that is quick to test with: short waits, no jitter, a breaker that only opens where asked for."""
    spec = {"command": command, "stop": {"timeout": "2s"}, "crash_limit": {"count": 1000000},
            "backoff": {"initial": "50ms", "max": "200ms", "jitter": 0}}
    spec.update(keys)
    return spec


SLEEPER = ["/bin/sleep", "infinity"]


class Mtd:
    """mtd over `pools` (name → keys). Start by `with Mtd({...}) as mtd:`.

    user      run as this uid          prefix    words before mtd's own (strace, unshare, prlimit)
    env       added to its environment  daemon    daemon keys of the file
    inside    False where the daemon's pids are not ours (a PID namespace) or it has a parent of its own
    programs  directory of mtd and mtd-supervisor, if not MTD_BIN
    exit_code what it ends with when asked to stop; None: do not check
    """

    def __init__(self, pools=None, *, user=None, prefix=(), env=None, daemon=None, args=(), exit_code=0,
                 inside=True, checks_descriptors=True, config_text=None, popen=None, ends_with="TERM", programs=None):
        self.directory = tempfile.mkdtemp(prefix="mtd-t-")
        os.chmod(self.directory, 0o755)
        self.user = user if user is not None and os.geteuid() == 0 else None
        self.config = os.path.join(self.directory, "mtd.json")
        self.runtime = os.path.join(self.directory, "run")
        self.state = os.path.join(self.directory, "state")
        self.socket = os.path.join(self.runtime, "io.mtd.Manager")
        self.log_path = os.path.join(self.directory, "log")
        self.prefix, self.args, self.inside, self.exit_code = list(prefix), list(args), inside, exit_code
        self.env, self.popen, self.ends_with = dict(env or {}), dict(popen or {}), ends_with
        self.checks_descriptors = checks_descriptors
        self.reports = Reports(os.path.join(self.directory, "report"))
        self.pools, self.daemon = dict(pools or {}), dict(daemon or {})
        self.bin = programs or BIN  # directory of mtd and mtd-supervisor
        self.process, self.events, self.own_cgroup, self.configurations = None, None, None, 0
        self.strangers_before = set(descendants())
        self.foreseen = ()  # lines of the log that would else be alarming
        if self.user is not None:
            os.chown(self.directory, self.user, self.user)
        self.write_config(config_text)

    # configuration

    def write_config(self, text=None):
        if text is None:
            for spec in self.pools.values():
                if isinstance(spec.get("env", {}), dict):
                    spec.setdefault("env", {}).setdefault("REPORT", self.reports.path)
            text = json.dumps({**self.daemon, "pools": self.pools}, indent=1)
        fresh = self.config + ".new"
        with open(fresh, "w") as file:
            file.write(text)
        os.chmod(fresh, 0o600)
        if self.user is not None:
            os.chown(fresh, self.user, self.user)
        os.rename(fresh, self.config)
        self.configurations += 1

    # life

    def argv(self, *more):
        own = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"] if self.user is not None else []
        return [*own, *self.prefix, os.path.join(self.bin, "mtd"), "--config", self.config, "--runtime-dir", self.runtime,
                "--state-dir", self.state, *self.args, *more]

    def launch(self):
        """Starts the process and returns the read end of its ready pipe."""
        ready, theirs = os.pipe()
        environment = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "MTD_SOCKET")}
        environment.update(self.env)
        options = {"stdin": subprocess.DEVNULL, "start_new_session": True, "cwd": "/", **self.popen}
        with open(self.log_path, "ab") as log:
            options.setdefault("stdout", log)
            options.setdefault("stderr", log)
            self.process = subprocess.Popen(self.argv("--ready-fd", str(theirs)), env=environment, pass_fds=(theirs,), **options)
        os.close(theirs)
        return ready

    def start(self, seconds=None):
        ready = self.launch()
        try:
            poller = select.poll()
            poller.register(ready, select.POLLIN)
            assert poller.poll((PATIENCE if seconds is None else seconds) * 1000), f"not ready: {self.log()}"
            if os.read(ready, 1) != b"\n":
                raise StartFailed(self.process.wait(PATIENCE), self.log())
        finally:
            os.close(ready)
        self.events = Events(self.socket)
        self._let_start()
        with Varlink(self.socket) as client:  # open in both counts: no client comes or goes meanwhile
            status = client.call("Status")
            facts, self.pools_at_start = status["daemon"], len(status["pools"])
            self.keeper = facts["pid"] if self.inside else None
            self.first_supervisor = facts["supervisor_pid"] if self.inside else None
            if self.inside:
                self.own_cgroup = self._find_cgroup(self.keeper)
                self.descriptors_at_start = (descriptors(self.keeper), descriptors(facts["supervisor_pid"]))
        return self

    def _let_start(self):
        """Ready is the daemon, not its workers: their programs are to run, too, where that is all they need."""
        patient = {name for name, spec in self.pools.items()
                   if spec.get("ready", "exec") == "exec" and "ready" not in spec.get("probes", {})}
        end = time.monotonic() + 3
        while time.monotonic() < end:
            pools = self.status("*")["pools"] if self.pools else []
            if not any(w["state"] == "starting" for p in pools if p["name"] in patient for w in p.get("workers", [])):
                return
            self.events.read(0.05)

    @staticmethod
    def _find_cgroup(pid):
        mount = cgroup2_mount()
        with open(f"/proc/{pid}/cgroup") as file:
            line = next((x.strip() for x in file if x.startswith("0::")), "0::/")
        path = line[3:]
        return os.path.dirname(mount + path) if mount and path.endswith("/mtd") else None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self._end_hard()
            self._clean()
            raise

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.finish()
            else:
                print(f"--- mtd's log ---\n{self.log()[-6000:]}")
        finally:
            self._end_hard()
            self._clean()

    def finish(self):
        """The end every test has: orderly stop, and nothing left."""
        if self.process.poll() is None:
            if self.inside:
                self._check_alive()
            self.stop()
        code = self.process.wait(PATIENCE * 2)
        if self.exit_code is not None:
            assert code == self.exit_code, f"exit code {code}: {self.log()[-3000:]}"
        self.check_nothing_left()

    def stop(self, seconds=40):
        os.kill(self.main_pid(), getattr(signal, "SIG" + self.ends_with))
        assert wait_gone(self.process.pid, seconds), f"still there after {self.ends_with}: {self.log()[-3000:]}"

    def main_pid(self):
        """The keeper's pid as we see it, whatever it was started through."""
        if self.inside:
            return getattr(self, "keeper", None) or self.process.pid
        program = os.path.realpath(os.path.join(self.bin, "mtd"))
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(OSError):
                if os.path.realpath(f"/proc/{pid}/exe") == program:
                    return pid
        return self.process.pid

    def _check_alive(self):
        keeper = self.keeper
        eventually(lambda: not [p for p in children_map().get(keeper, []) if (stat_of(p) or "?")[0] == "Z"], 3,
                   "no zombie below the keeper")
        if not self.checks_descriptors:
            return
        self.ctl("stop", "--all", code=None, seconds=60)
        with Varlink(self.socket) as client:
            facts = client.call("Status")
            # each pool's revision holds the output of its workers
            added = 2 * max(0, len(facts["pools"]) - self.pools_at_start)
            # a socket is held, and in a revision; the supervisor has it, too
            sockets = sum(entry["sockets"] for p in facts["pools"] for entry in p["listen"])
            added += 2 * sockets + min(1, sockets)
            self._check_descriptors("keeper", keeper, self.descriptors_at_start[0], added)
            self._check_descriptors("supervisor", facts["daemon"]["supervisor_pid"], self.descriptors_at_start[1], sockets)

    @staticmethod
    def _check_descriptors(name, pid, before, added=0):
        end, more = time.monotonic() + 5, None
        while time.monotonic() < end:  # a helper may be at work
            now = descriptors(pid)
            if sum(now.values()) <= sum(before.values()) + added:
                return
            more = now - before
            time.sleep(0.01)
        raise AssertionError(f"the {name} has more descriptors than at its start: {dict(more)}")

    def check_nothing_left(self):
        left = eventually(lambda: self._reap_and_list() or [None], 2)
        strays = [p for p in left if p is not None]
        assert not strays, "left behind: " + ", ".join(f"{p} {command_of(p)}" for p in strays)
        for name in ("io.mtd.Manager", "notify"):
            assert not os.path.lexists(os.path.join(self.runtime, name)), f"{name} was left in the runtime directory"
        if self.own_cgroup:
            eventually(lambda: not os.path.isdir(os.path.join(self.own_cgroup, "pools")), 3, f"{self.own_cgroup}/pools is gone")
            if os.path.basename(self.own_cgroup).startswith("mtd."):
                eventually(lambda: not os.path.isdir(self.own_cgroup), 3, f"{self.own_cgroup} is gone")
        bad = [line for line in self.log().splitlines() if BAD_LINES.search(line) and line not in self.foreseen]
        assert not bad, "\n".join(bad[:20])

    def _reap_and_list(self):
        """Descendants of ours that the daemon has lost."""
        self.process.poll()
        left = []
        for pid in descendants():
            if pid in self.strangers_before:
                continue
            found = stat_of(pid)
            if found and found[0] == "Z" and found[1] == os.getpid() and pid != self.process.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            elif found and found[0] != "Z":
                left.append(pid)
        return left

    def _end_hard(self):
        for _ in range(100):
            left = self._reap_and_list() if self.process else []
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _clean(self):
        if self.events:
            self.events.close()
        self.reports.close()
        if self.own_cgroup and os.path.basename(self.own_cgroup).startswith("mtd."):
            for path, directories, _ in os.walk(self.own_cgroup, topdown=False):
                for name in directories:
                    with contextlib.suppress(OSError):
                        os.rmdir(os.path.join(path, name))
            with contextlib.suppress(OSError):
                os.rmdir(self.own_cgroup)
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    # asking and telling

    def run_ctl(self, *words, seconds=60, env=None, user=None, **options):
        prefix = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return subprocess.run([*prefix, os.path.join(BIN, "mtctl"), "-s", self.socket, *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=seconds,
                              env={**os.environ, **(env or {})}, check=False, **options)

    def ctl(self, *words, code=0, **options):
        """Runs mtctl and checks its exit code (None: any)."""
        done = self.run_ctl(*words, **options)
        assert code is None or done.returncode == code, (
            f"mtctl {' '.join(words)}: exit {done.returncode} instead of {code}\n{done.stdout}{done.stderr}")
        return done

    def ctl_json(self, *words, code=0, **options):
        return json.loads(self.ctl("-o", "json", *words, code=code, **options).stdout)

    def call(self, method, **parameters):
        with Varlink(self.socket) as client:
            return client.call(method, **parameters)

    def status(self, *selectors):
        """As `mtctl -o json status`, but without exec: {daemon, pools}, workers where selectors are given."""
        with Varlink(self.socket) as client:
            flags = {"more": True} if selectors else {}
            client.send("Status", {"select": list(selectors)} if selectors else {}, **flags)
            merged = None
            while True:
                reply = client.receive()
                if reply is None:
                    raise ConnectionError("closed instead of an answer")
                if "error" in reply:
                    raise VarlinkError(reply["error"], reply.get("parameters", {}))
                parameters = reply["parameters"]
                if merged is None:
                    merged = parameters
                else:
                    by_name = {p["name"]: p for p in merged["pools"]}
                    for part in parameters.get("pools", []):
                        if part["name"] in by_name:
                            by_name[part["name"]].setdefault("workers", []).extend(part.get("workers", []))
                        else:
                            merged["pools"].append(part)
                if not reply.get("continues"):
                    return merged

    def pool(self, name):
        return next(p for p in self.status(name)["pools"] if p["name"] == name)

    def workers(self, name):
        return self.pool(name).get("workers", [])

    def pids(self, name):
        return [w["pid"] for w in self.workers(name) if w["pid"]]

    def supervisor(self):
        return self.status()["daemon"]["supervisor_pid"]

    def until(self, condition, seconds=None, what=""):
        """Asks again after every event, until it is so."""
        end = time.monotonic() + (PATIENCE if seconds is None else seconds)
        while True:
            value = condition()
            if value:
                return value
            left = end - time.monotonic()
            assert left > 0, f"not within the time: {what or condition}; {json.dumps(self.status())[:2000]}"
            self.events.read(min(left, 0.25))

    def wait_ready(self, *selectors):
        self.ctl("wait", *(selectors or ("--all",)), "--for", "ready")

    def wait_pool(self, name, seconds=None, **members):
        return self.until(lambda: (lambda p: p if all(p[k] == v for k, v in members.items()) else None)(self.pool(name)),
                          seconds, f"{name} {members}")

    def stopwatch(self):
        return Stopwatch(self.keeper, self.supervisor())

    def kill(self, pid, number=signal.SIGKILL):
        os.kill(pid, number)

    def kill_supervisor(self):
        """kill -9 of the supervisor; returns once its successor answers, on a fresh event stream."""
        pid = self.supervisor()
        os.kill(pid, signal.SIGKILL)
        assert wait_gone(pid)
        self.reconnect(pid)
        return pid

    def kill_whole(self):
        """kill -9 of keeper and supervisor at once: nobody ends the workers."""
        supervisor = self.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(self.keeper, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        self.process.wait(PATIENCE)
        assert wait_gone(supervisor)
        self.events.close()

    def reconnect(self, old_supervisor):
        def successor():
            try:
                found = self.supervisor()
            except (OSError, EOFError):
                return None
            return found if found != old_supervisor else None
        eventually(successor, what="the successor of the supervisor answers")
        self.events.close()
        self.events = Events(self.socket)
