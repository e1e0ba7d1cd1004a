"""Promise P1, checked against the truth: workers keep a journal of their own, and what mtd says must agree.

The supervisor is killed at random moments, and by strace at the first, second, … call of each kind; calls of
its are refused by the kernel. No long-lived worker may notice; no exit may be lost, invented or counted twice.
"""
import collections
import contextlib
import os
import random
import shutil
import signal
import time

import pytest
import harness
from harness import BIN, Mtd, Varlink, compile_worker, eventually, is_alive, pool, wait_gone

LONG, SHORT = 8, 4
DEATHS_A_DAEMON = 50  # more than 60 a minute are slowed down by the keeper

# What the supervisor calls, and which refusals of the kernel are plausible there.
CALLS = {
    "accept4": ["EMFILE", "ENOMEM"], "bind": ["ENOMEM"], "brk": ["ENOMEM"], "clone": ["EAGAIN", "ENOMEM"],
    "close": [], "epoll_create1": ["EMFILE"], "epoll_ctl": ["ENOMEM"], "epoll_wait": [],
    "execve": [], "fcntl": [], "fstat": [], "ftruncate": ["EIO"], "getdents64": ["EIO"], "getpid": [],
    "getsockopt": [], "inotify_add_watch": ["ENOSPC"], "inotify_init1": ["EMFILE"], "lstat": [],
    "memfd_create": ["EMFILE", "ENOMEM"], "mkdirat": ["ENOMEM"], "mmap": ["ENOMEM"], "mprotect": [], "munmap": [],
    "newfstatat": ["EIO"], "openat": ["EMFILE", "ENOMEM", "EIO"], "pipe2": ["EMFILE"], "pread64": ["EIO"],
    "pwrite64": ["EIO"], "read": ["EIO"], "readlink": ["EIO"], "recvmsg": ["ENOMEM"], "recvfrom": ["ENOMEM"],
    "sendmsg": ["ENOBUFS"], "sendto": ["ENOBUFS"], "setsockopt": ["ENOMEM"], "socket": ["EMFILE"],
    "timerfd_create": ["EMFILE"], "timerfd_settime": [], "unlinkat": ["EBUSY"], "wait4": [], "write": ["EIO"],
}
# The keeper's calls at which a kill can leave something behind.
KEEPER_CALLS = ["clone3", "close", "epoll_wait", "fcntl", "kill", "openat", "read", "recvmsg", "sendmsg", "sendto",
                "wait4", "waitid", "write"]


@pytest.fixture(scope="module")
def recorder(tools):
    return compile_worker("recorder.cpp", tools)


def pools_of(recorder, journal):
    short = pool([recorder, journal, "short"], workers=SHORT, backoff={"initial": "10ms", "max": "20ms", "jitter": 0})
    return {"long": pool([recorder, journal, "long"], workers=LONG), "short": short}


class Truth:
    """What the workers wrote."""

    def __init__(self, journal):
        self.starts, self.ends, self.parked = collections.defaultdict(dict), {}, {}
        with open(journal) as file:
            for line in file:
                what, worker, incarnation, pid, *how = line.split()
                key = worker, int(incarnation)
                if what == "start":
                    assert int(incarnation) not in self.starts[worker], f"{key} was started twice"
                    self.starts[worker][int(incarnation)] = int(pid)
                elif what == "end":
                    self.ends[key] = (int(pid), how[0], int(how[1]))
                else:
                    self.parked[worker] = int(incarnation)


def exit_of(record):
    kind = "signal" if record["signal"] is not None else "exit"
    return record["pid"], kind, record["signal"] if kind == "signal" else record["code"]


class Follower:
    """All events, over the deaths of supervisors: each new connection goes on at the last cursor."""

    def __init__(self, path):
        self.path, self.seen, self.cursor, self.client, self.lost = path, [], "0", None, 0

    def take_in(self):
        for _ in range(1000):
            try:
                if self.client is None:
                    self.client = Varlink(self.path)
                    self.client.send("Events", {"since": self.cursor, "follow": True}, more=True)
                self.client.socket.settimeout(0.002)
                reply = self.client.receive()
            except TimeoutError:
                return
            except OSError:
                reply = None
            if reply is None:
                if self.client is not None:
                    self.client.close()
                self.client = None
                return
            assert "error" not in reply, reply
            for event in reply["parameters"].get("events", []):
                self.cursor = event.get("cursor", self.cursor)
                self.lost += event["event"] == "lagged"
                self.seen.append(event)

    def close(self):
        if self.client is not None:
            self.client.close()


class Chaos:
    """A daemon over recorders, and the checker."""

    def __init__(self, mtd, journal):
        self.mtd, self.journal = mtd, journal
        self.follower = Follower(mtd.socket)

    def supervisor(self):
        """By /proc: it may not answer yet."""
        with contextlib.suppress(OSError), open(f"/proc/{self.mtd.keeper}/task/{self.mtd.keeper}/children") as file:
            for pid in map(int, file.read().split()):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm:
                    if comm.read().startswith("mtd-superv"):
                        return pid
        return None

    def wait_answer(self, unlike=None):
        def answers():
            with contextlib.suppress(OSError, EOFError, ConnectionError, TimeoutError):
                with Varlink(self.mtd.socket, 5) as client:
                    found = client.call("Status")["daemon"]["supervisor_pid"]
                    return found if found != unlike else None
            return None
        return eventually(answers, 30, "a supervisor answers")

    def check(self):
        """No more exits are to come; then everything has to agree."""
        with open(self.journal + ".park", "w"):
            pass
        self.wait_answer()
        eventually(lambda: len(Truth(self.journal).parked) == SHORT, 30, "the short-lived ones are parked")
        truth = Truth(self.journal)
        self._check_events(truth)
        # A successor that goes on with the numbers of its predecessor's events owes every one of them.
        exact = self.follower.lost == 0
        print("exact" if exact else "events were lost with their supervisor")
        status = eventually(lambda: self._settled(truth), 20, "mtd knows of the last start")
        for slot in range(LONG):
            worker = status["long"]["workers"][slot]
            name = f"long/{slot}"
            assert list(truth.starts[name].values()) == [worker["pid"]], f"{name} was started again: {truth.starts[name]}"
            assert is_alive(worker["pid"]) and worker["restarts"] == 0 and worker["incarnation"] in truth.starts[name]
            self._check_lines(name, worker["pid"])
        total = 0
        for slot in range(SHORT):
            worker, name = status["short"]["workers"][slot], f"short/{slot}"
            incarnations = sorted(truth.starts[name])
            ends = [i for i in incarnations if (name, i) in truth.ends]
            assert incarnations[-1] == worker["incarnation"] and ends == incarnations[:-1], (name, incarnations, ends)
            assert worker["restarts"] == len(ends) or not exact, (
                f"{name}: {len(ends)} exits, mtd counts {worker['restarts']}, and {status['short']['spawn_failures']} failed"
                f" starts; told: {sorted(set(i for n, i in self._told() if n == name) ^ set(ends))}")
            missing = set(range(1, incarnations[-1] + 1)) - set(incarnations)
            assert len(missing) <= status["short"]["spawn_failures"] + self.lives(), (name, missing)
            if ends and worker["last_exit"] and worker["last_exit"]["cause"] != "spawn_failed":
                assert exit_of(worker["last_exit"]) == truth.ends[name, ends[-1]], (name, worker["last_exit"])
            total += len(ends)
        assert status["short"]["restarts"] == total or not exact
        assert not exact or set(self._told()) == set(truth.ends), "each exit is told, and only those"
        os.unlink(self.journal + ".park")
        return total

    def lives(self):
        return self.mtd.status()["daemon"].get("supervisor_epoch", 1000)

    def _settled(self, truth):
        with contextlib.suppress(OSError, EOFError, ConnectionError):
            status = {p["name"]: p for p in self.mtd.status("*")["pools"]}
            if all(status["short"]["workers"][slot]["incarnation"] == truth.parked[f"short/{slot}"] for slot in range(SHORT)):
                return status
        return None

    def _check_lines(self, name, pid):
        with open(f"{self.journal}.lines.{name.replace('/', '-')}") as file:
            text = file.read()
        for number, line in enumerate(text[:text.rfind("\n")].split("\n")):
            assert line == f"{pid} {number}", f"{name}: line {number} is {line}"

    def _check_events(self, truth):
        def all_told():
            self.follower.take_in()
            return self.follower.lost or set(self._told()) >= set(truth.ends)
        with contextlib.suppress(AssertionError):  # what is missing is named below
            eventually(all_told, 20)
        for key, records in self._told().items():
            assert len(records) == 1, f"told twice: {key} {records}"
            assert truth.ends[key] == exit_of(records[0]), (key, records, truth.ends.get(key))

    def _told(self):
        told = collections.defaultdict(list)
        for event in self.follower.seen:
            if event["event"] == "exited" and event["pool"] == "short":
                told[event["worker"], event["last_exit"]["incarnation"]].append(event["last_exit"])
        return told


@contextlib.contextmanager
def chaos_over(recorder, **options):
    mtd = Mtd({}, checks_descriptors=False, **options)
    journal = os.path.join(mtd.directory, "journal")
    mtd.pools = pools_of(recorder, journal)
    mtd.write_config()
    with mtd:
        chaos = Chaos(mtd, journal)
        try:
            yield chaos
        finally:
            chaos.follower.close()


def test_killed_at_random_moments(recorder, full):
    kills, seed = (200 if full else 30), random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    with chaos_over(recorder) as chaos:
        recent = collections.deque(maxlen=DEATHS_A_DAEMON)
        for _ in range(kills):
            if len(recent) == DEATHS_A_DAEMON:
                time.sleep(max(0.0, recent[0] + 61 - time.monotonic()))
            if chance.random() < 0.7:
                chaos.wait_answer()
            end = time.monotonic() + chance.uniform(0, 0.2)
            while time.monotonic() < end:
                chaos.follower.take_in()
            victim = eventually(chaos.supervisor, what="the keeper has started another supervisor")
            os.kill(victim, signal.SIGKILL)
            recent.append(time.monotonic())
            assert wait_gone(victim)
        chaos.wait_answer()
        assert chaos.check() > kills
        chaos.mtd.reconnect(None)


# ---- by strace -----------------------------------------------------------------------------------

WRAPPER = """#!/bin/sh
# Each life of the supervisor takes the next rule, if there is one.
if read -r call rule 2>/dev/null <{directory}/rule && rm {directory}/rule; then
  exec strace -D -qq -o /dev/null -e "trace=$call" -e "inject=$call:$rule" {program} "$@"
fi
exec {program} "$@"
"""


@contextlib.contextmanager
def wrapped_programs(directory):
    """A copy of mtd next to a supervisor that is started through strace."""
    os.makedirs(directory, exist_ok=True)
    shutil.copy(os.path.join(BIN, "mtd"), directory)
    shutil.copy(os.path.join(BIN, "mtctl"), directory)
    path = os.path.join(directory, "mtd-supervisor")
    with open(path, "w") as file:
        file.write(WRAPPER.format(directory=directory, program=os.path.join(BIN, "mtd-supervisor")))
    os.chmod(path, 0o755)
    before = harness.BIN
    harness.BIN = directory
    try:
        yield os.path.join(directory, "rule")
    finally:
        harness.BIN = before


def run_rules(recorder, tmp_path, rules):
    """Each rule is tried by one life of a supervisor; it dies of it, or is killed after some work."""
    rules = list(rules)
    while rules:
        batch, rules = rules[:DEATHS_A_DAEMON // 2], rules[DEATHS_A_DAEMON // 2:]
        with wrapped_programs(str(tmp_path / "bin")) as place, chaos_over(recorder) as chaos:
            for call, rule in batch:
                with open(place + ".new", "w") as file:
                    file.write(f"{call} {rule}\n")
                os.rename(place + ".new", place)
                old = eventually(chaos.supervisor)
                os.kill(old, signal.SIGKILL)
                assert wait_gone(old)
                eventually(lambda: not os.path.exists(place), what="a successor has taken the rule")
                try:
                    for _ in range(3):  # some work, so that later calls come, too
                        chaos.wait_answer(unlike=old)
                        with contextlib.suppress(OSError, EOFError, ConnectionError, harness.VarlinkError):
                            chaos.mtd.status("*")
                        chaos.follower.take_in()
                        time.sleep(0.01)
                except AssertionError as error:
                    raise AssertionError(f"after {call}:{rule}: {error}\n{chaos.mtd.log()[-3000:]}") from error
                for slot in range(LONG):
                    starts = Truth(chaos.journal).starts[f"long/{slot}"]
                    assert len(starts) == 1, f"{call}:{rule} restarted long/{slot}: {starts}"
            last = eventually(chaos.supervisor)  # its rule may still be to come
            os.kill(last, signal.SIGKILL)
            assert wait_gone(last)
            try:
                chaos.check()
            except AssertionError as error:
                raise AssertionError(f"after one of {batch}: {error}") from error
            chaos.mtd.reconnect(None)


def sample(rules, full, count, seed=None):
    rules = list(rules)
    if full:
        return rules
    seed = random.randrange(1 << 32) if seed is None else seed
    print("seed", seed)
    return random.Random(seed).sample(rules, min(count, len(rules)))


def test_fault_82_killed_at_the_nth_call(recorder, strace, tmp_path, full):
    run_rules(recorder, tmp_path, sample(((call, f"signal=KILL:when={n}") for call in CALLS for n in range(1, 41)), full, 25))


def test_refused_at_the_nth_call(recorder, strace, tmp_path, full):
    run_rules(recorder, tmp_path, sample(((call, f"error={error}:when={n}") for call, errors in CALLS.items()
                                          for error in errors for n in range(1, 41)), full, 25))


def test_a_descriptor_that_cannot_be_watched_is_watched_later(recorder, strace, tmp_path):
    """The first of these calls are for what a supervisor cannot do without: keeper, clock, reports, control socket."""
    run_rules(recorder, tmp_path, [("epoll_ctl", f"error=ENOMEM:when={n}") for n in range(1, 7)])


def test_keeper_killed_at_the_nth_call(recorder, strace, full):
    """Not survived; but the next start finds nothing of it alive, and nothing in its way."""
    for call, n in sample(((c, n) for c in KEEPER_CALLS for n in range(1, 41)), full, 8):
        rule = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}"]
        mtd = Mtd({}, checks_descriptors=False, prefix=rule, exit_code=None)
        journal = os.path.join(mtd.directory, "journal")
        mtd.pools = {"long": pool([recorder, journal, "long"], workers=LONG)}
        mtd.write_config()
        try:
            ready = mtd.launch()
            eventually(lambda: mtd.process.poll() is not None or os.path.exists(mtd.socket), what=f"{call} {n}")
            with contextlib.suppress(OSError, EOFError, ConnectionError, ProcessLookupError):
                mtd.run_ctl("--timeout", "2s", "scale", "long", "4")
                os.kill(mtd.process.pid, signal.SIGTERM)
            assert wait_gone(mtd.process.pid), (call, n)
            mtd.process.wait()
            os.close(ready)
            mtd.prefix = []
            mtd.start()
            mtd.wait_pool("long", state="running")

            def living():
                with open(journal) as file:  # of both lives
                    return sorted(pid for pid in (int(line.split()[3]) for line in file) if is_alive(pid))
            # Ready is said at exec; a worker writes its line a little later.
            eventually(lambda: len(living()) >= len(mtd.pids("long")), 20)
            assert living() == sorted(mtd.pids("long")), (call, n, mtd.log())
            mtd.exit_code = 0
            mtd.finish()
        finally:
            mtd._end_hard()
            mtd._clean()
