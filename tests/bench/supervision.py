#!/usr/bin/python3
"""supervision.py [--quick] [--bin DIR] [--helpers DIR] [--peers a,b] [--rounds R] [--json FILE]

Supervision, measured beside other supervisors: start, restart, storm, memory, idle, status, stop, and
many control clients. Peers and mtd take turns within every round, and medians are compared: a
machine's speed drifts between minutes, ratios hold. README.md tells what each row means.
"""
import argparse
import collections
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import measure
import peers as peer_module
from measure import median, now_ns, quantile

HERE = os.path.dirname(os.path.abspath(__file__))
SETTLED_S = 1.5      # a worker that ran for so long has started for good, to every peer
IDLE_AFTER_S = 6     # what follows up a start is done by then: mtd's keeper looks once, after 5 s, whether it was read
PATIENCE_S = 180


class Failed(Exception):
    pass


class Life:
    """One life of one supervisor over `count` workers, and what is measured in it."""

    def __init__(self, peer_class, tools, base, count, samples, leaves_grandchild=False, **set_up):
        self.directory = tempfile.mkdtemp(prefix=peer_class.name + "-", dir=base)
        os.chmod(self.directory, 0o755)
        self.peer = peer_class(tools, self.directory, count, leaves_grandchild)
        self.count, self.samples, self.tools = count, samples, tools
        self.starts = measure.StartLog(self.peer.log)
        self.peer.set_up(**set_up)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        measure.end_all()
        self.starts.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def note(self, metric, value):
        self.samples[self.peer.name, metric, self.count].append(value)

    def output(self):
        with open(os.path.join(self.directory, "output"), errors="replace") as output:
            return output.read()[-600:]

    def start(self):
        before = now_ns()
        self.peer.start()
        records = self.starts.wait_for(self.count, PATIENCE_S)
        if len(records) < self.count:
            raise Failed(f"{len(records)} of {self.count} workers after {PATIENCE_S} s: {self.output()}")
        self.note("start", (max(r[0] for r in records) - before) / 1e6)
        time.sleep(SETTLED_S if self.count < 5000 else 3 * SETTLED_S)
        self.starts.poll()
        if self.starts.records != self.count:
            raise Failed(f"{self.starts.records - self.count} restarts nobody asked for: {self.output()}")

    def memory(self):
        self.note("memory", measure.pss_kib(measure.supervisors(self.tools.worker)))

    def idle(self, seconds):
        time.sleep(IDLE_AFTER_S)
        pids = measure.supervisors(self.tools.worker)
        before = measure.activity(pids)
        time.sleep(seconds)
        after = measure.activity(pids)
        self.note("idle wake-ups", after[0] - before[0])
        self.note("idle CPU", (after[1] - before[1]) / 1e6)

    def status(self):
        for metric, argv in (("status all", self.peer.ask_all()), ("status one", self.peer.ask_one())):
            if argv is None:
                return
            for _ in range(9 if self.count <= 1000 else 3):
                before = now_ns()
                done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, cwd=self.directory, timeout=60, check=False)
                took = (now_ns() - before) / 1e6
                if not done.stdout:
                    raise Failed(f"no answer from {' '.join(argv)}")
                self.note(metric, took)

    def kill_once(self, ident):
        pid = self.starts.pid_of[ident]
        before = now_ns()
        os.kill(pid, signal.SIGKILL)
        started = self.starts.wait_for_id(ident, 30)
        if started is None:
            raise Failed(f"worker {ident} did not come back: {self.output()}")
        return (started - before) / 1e3

    def restart(self, kills, metric="restart"):
        """Kills one after the other, round robin, each long enough after its own last start."""
        pause = max(0.02, SETTLED_S / self.count)
        for turn in range(kills):
            self.note(metric, self.kill_once(turn * 7919 % self.count))
            time.sleep(pause)

    def rapid(self):
        """The same worker again and again: what a supervisor waits before a repeated restart."""
        for turn in range(6):
            took = self.kill_once(0)
            if turn:
                self.note("rapid", took)

    def storm(self):
        time.sleep(SETTLED_S)
        self.starts.poll()
        pids = list(self.starts.pid_of.values())
        before = now_ns()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        records = self.starts.wait_for(self.count, PATIENCE_S)
        if len(records) < self.count:
            raise Failed(f"{len(records)} of {self.count} came back: {self.output()}")
        self.note("storm", (max(r[0] for r in records) - before) / 1e6)
        time.sleep(SETTLED_S)

    def takeover(self, kills):
        """SIGKILL of mtd's supervisor until its successor has answered a status call; workers touched meanwhile."""
        pids = dict(self.starts.pid_of)
        for _ in range(kills):
            old = self.peer.ask_daemon()["supervisor_pid"]
            before = now_ns()
            os.kill(old, signal.SIGKILL)
            while True:
                try:
                    if self.peer.ask_daemon()["supervisor_pid"] != old:
                        break
                except (OSError, ValueError):
                    pass
            self.note("takeover", (now_ns() - before) / 1e6)
            time.sleep(0.5)
        self.starts.poll()
        touched = sum(self.starts.pid_of[i] != pid or not measure.runs(pid, self.tools.worker) for i, pid in pids.items())
        self.note("takeover, touched", touched)

    def stop(self):
        measure.reap()
        self.starts.poll()
        workers = measure.Departures(self.starts.pid_of.values())
        supervisors = measure.Departures(measure.supervisors(self.tools.worker))
        before = now_ns()
        self.peer.stop()
        last, left = workers.wait(60)
        supervisors.wait(15)
        time.sleep(0.1)
        measure.reap()
        if last and not left:
            self.note("stop", (last - before) / 1e6)
        self.note("survivors", sum(measure.runs(pid, self.tools.worker) for pid in measure.descendants()))


def suite(life, options, first_round):
    """What is measured at this number of workers."""
    life.start()
    life.memory()
    if life.count == 10:
        life.restart(min(life.peer.kills, options.kills))
        life.rapid()
    if life.count == 1000:
        if first_round:
            life.idle(options.idle)
        life.status()
        life.restart(min(life.peer.kills, options.kills))
        if life.peer.name == "mtd":
            restart_under_status(life, min(life.peer.kills, options.kills))
            life.takeover(9)
        life.storm()
    if life.count > 1000:
        life.restart(min(life.peer.kills, options.kills))
        life.status()
        if life.peer.name == "mtd":
            life.takeover(5)
    life.stop()


def restart_under_status(life, kills):
    over = threading.Event()

    def ask():
        while not over.is_set():
            subprocess.run(life.peer.ask_all(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        life.restart(kills, "restart, status asked")
    finally:
        over.set()
        asker.join()


def many_clients(tools, base, samples, wanted):
    """10 workers under mtd, first alone, then with `wanted` clients that stream its events."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(wanted, limit - 1000)
    if count < wanted:
        print(f"clients: {count} instead of {wanted}, descriptors end at {limit}", flush=True)
    with Life(peer_module.Mtd, tools, base, 10, samples, clients=count + 100) as life:
        life.start()
        life.note("clients: memory before", measure.pss_kib(measure.supervisors(tools.worker)))
        life.restart(40, "clients: restart before")
        clients = subprocess.Popen([sys.executable, os.path.join(HERE, "clients.py"), life.peer.socket, str(count)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = clients.stdout.readline().split()
        if line[:1] != ["connected"] or int(line[1]) < count:
            raise Failed(f"clients.py: {line}")
        life.note("clients", int(line[1]))
        time.sleep(2 * SETTLED_S)
        for turn in range(40):  # the events of a restart go to all before the next kill
            life.note("clients: restart with", life.kill_once(turn % 10))
            time.sleep(0.5)
        pids = measure.supervisors(tools.worker, besides=(clients.pid,))
        life.note("clients: memory with", measure.pss_kib(pids))
        if clients.poll() is not None:
            raise Failed("clients were dropped")
        clients.send_signal(signal.SIGTERM)
        clients.wait()
        life.peer.stop()
        life.peer.process.wait(30)


# ---- what was found ------------------------------------------------------------------------------

ROWS = (  # metric, workers, quantile, unit, title
    ("start", 1, .5, "ms", "start of 1"),
    ("start", 10, .5, "ms", "start of 10"),
    ("start", 100, .5, "ms", "start of 100"),
    ("start", 1000, .5, "ms", "start of 1 000"),
    ("start", 10000, .5, "ms", "start of 10 000"),
    ("restart", 10, .5, "us", "restart at 10, p50"),
    ("restart", 10, .99, "us", "restart at 10, p99"),
    ("restart", 1000, .5, "us", "restart at 1 000, p50"),
    ("restart", 1000, .99, "us", "restart at 1 000, p99"),
    ("restart, status asked", 1000, .5, "us", "  the same while status is asked, p50"),
    ("restart", 10000, .5, "us", "restart at 10 000, p50"),
    ("restart", 10000, .99, "us", "restart at 10 000, p99"),
    ("rapid", 10, .5, "us", "the same worker again at once"),
    ("storm", 1000, .5, "ms", "storm: 1 000 killed, all back"),
    ("idle wake-ups", 1000, .5, "", "wake-ups at idle, 1 000"),
    ("idle CPU", 1000, .5, "ms", "CPU at idle, 1 000"),
    ("memory", 10, .5, "KiB", "memory (PSS) at 10"),
    ("memory", 1000, .5, "KiB", "memory (PSS) at 1 000"),
    ("memory", 10000, .5, "KiB", "memory (PSS) at 10 000"),
    ("status all", 1000, .5, "ms", "status of 1 000"),
    ("status one", 1000, .5, "ms", "status of one of 1 000"),
    ("takeover", 1000, .5, "ms", "supervisor killed → status answers, 1 000"),
    ("takeover", 10000, .5, "ms", "supervisor killed → status answers, 10 000"),
    ("stop", 1000, .5, "ms", "stop of 1 000"),
    ("stop", 10000, .5, "ms", "stop of 10 000"),
    ("survivors, grandchildren", 10, 1, "", "left after stop, 10 with setsid grandchildren"),
    ("survivors", 1000, 1, "", "left after stop, 1 000"),
)


class Report:
    def __init__(self, samples, names):
        self.samples = samples
        self.names = [n for n in names if any(key[0] == n for key in samples)]

    def value(self, name, metric, count, fraction=.5):
        return quantile(self.samples.get((name, metric, count), []), fraction)

    def best_peer(self, metric, count, fraction=.5):
        values = [self.value(n, metric, count, fraction) for n in self.names if n not in ("mtd", "bare")]
        return min((v for v in values if v is not None), default=None)

    def ratio(self, metric, count, fraction=.5, to="bare"):
        mine = self.value("mtd", metric, count, fraction)
        other = self.best_peer(metric, count, fraction) if to == "best" else self.value(to, metric, count, fraction)
        return mine / other if mine is not None and other else None

    def table(self):
        head = ["", *self.names, "mtd/bare", "mtd/best peer"]
        rows = []
        for metric, count, fraction, unit, title in ROWS:
            values = [self.value(n, metric, count, fraction) for n in self.names]
            if all(v is None for v in values):
                continue
            ratios = [self.ratio(metric, count, fraction), self.ratio(metric, count, fraction, "best")]
            rows.append([f"{title}{', ' + unit if unit else ''}", *map(number, values),
                         *("-" if r is None else f"{r:.2f}" for r in ratios)])
        return columns(head, rows)

    def per_worker_kib(self, name):
        few, many = self.value(name, "memory", 10), self.value(name, "memory", 1000)
        return None if few is None or many is None else (many - few) / 990

    def targets(self):
        """(number, what, found, bound): a bound of None only reports."""
        def growth(name):
            low, high = self.value(name, "start", 1000), self.value(name, "start", 10000)
            return high / low if low and high else None

        def over(a, b):
            return a / b if a is not None and b else None

        r, v = self.ratio, self.value
        yield 1, "start of 1 000 / bare", r("start", 1000), 1.4
        yield 1, "start of 1 000 / dinit", r("start", 1000, to="dinit"), 0.6
        yield 1, "start of 10 000 / start of 1 000", growth("mtd"), 11
        yield 2, "restart p50 at 1 000 / bare", r("restart", 1000), 1.8
        yield 2, "restart p50 at 1 000 / best peer", r("restart", 1000, to="best"), 1.0
        yield 2, "restart p99 at 1 000 / best peer", r("restart", 1000, .99, "best"), 0.5
        yield 2, "restart at once again / bare", r("rapid", 10), 2.0
        yield 2, "restart p50, 10 000 workers / 1 000", over(v("mtd", "restart", 10000), v("mtd", "restart", 1000)), 1.2
        yield 2, "restart p50, 10 workers / 1 000", over(v("mtd", "restart", 10), v("mtd", "restart", 1000)), 1.2
        yield 3, "storm of 1 000 / bare", r("storm", 1000), 2.0
        yield 3, "storm of 1 000 / daemontools", r("storm", 1000, to="daemontools"), 0.9
        yield 4, "memory at 1 000, MiB", over(v("mtd", "memory", 1000), 1024), 8
        yield 4, "each further worker, KiB", self.per_worker_kib("mtd"), 1.5
        yield 5, "wake-ups at idle", v("mtd", "idle wake-ups", 1000), 0
        yield 6, "status of 1 000 / dinit", r("status all", 1000, to="dinit"), 1.0
        yield 6, "status of 1 000, ms (dinit measured elsewhere: 5.5)", v("mtd", "status all", 1000), None
        yield 6, "status of one / dinit", r("status one", 1000, to="dinit"), 1.0
        yield 6, "status of one, ms (dinit measured elsewhere: 1.9)", v("mtd", "status one", 1000), None
        yield 6, "restart p50 while status is asked / without", over(v("mtd", "restart, status asked", 1000),
                                                                    v("mtd", "restart", 1000)), 1.2
        yield 7, "stop of 1 000 / bare", r("stop", 1000), 1.3
        yield 7, "survivors, setsid grandchildren", v("mtd", "survivors, grandchildren", 10, 1), 0
        yield 7, "survivors of 1 000", v("mtd", "survivors", 1000, 1), 0
        yield 13, "supervisor killed → status answers, ms", v("mtd", "takeover", 1000), 100
        yield 13, "the same with 10 000 workers, ms", v("mtd", "takeover", 10000), None
        yield 13, "workers touched by it", v("mtd", "takeover, touched", 1000, 1), 0
        yield 13, "workers touched by it, of 10 000", v("mtd", "takeover, touched", 10000, 1), 0
        clients = v("mtd", "clients", 10)
        yield 15, f"restart p50 with {clients or 0:.0f} clients / without", over(
            v("mtd", "clients: restart with", 10), v("mtd", "clients: restart before", 10)), 1.2
        yield 15, "memory with the clients, MiB", over(v("mtd", "clients: memory with", 10), 1024), 300

    def target_table(self):
        rows = []
        for target, what, found, bound in self.targets():
            if found is not None:
                verdict = "" if bound is None else "met" if found <= bound else "MISSED"
                rows.append([str(target), what, f"{found:.2f}", "-" if bound is None else f"<= {bound:g}", verdict])
        return columns(["target", "what", "found", "aim", ""], rows)


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}".replace(",", " ") if value >= 100 or value == int(value) else f"{value:.1f}"


def columns(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [cell.ljust(width) if i == 0 or not cell[:1].isdigit() and row is not head and len(head) == 5
                 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


# ---- the run -------------------------------------------------------------------------------------

def attempt(what, action):
    """A peer that fails loses this row, not the run."""
    try:
        action()
        return True
    except (Failed, OSError, subprocess.TimeoutExpired, AssertionError) as error:
        print(f"{what}: {error}", file=sys.stderr, flush=True)
        return False


def run(options, base, samples):
    tools = peer_module.Tools(os.path.abspath(options.bin), os.path.abspath(options.helpers))
    chosen = []
    for name in options.peers:
        reason = peer_module.PEERS[name].missing(tools)
        if reason:
            print(f"left out: {name} ({reason})", flush=True)
        else:
            chosen.append(peer_module.PEERS[name])
    good = True
    for turn in range(options.rounds):
        for count in options.sizes:
            if count > 1000 and turn >= options.large_rounds:
                continue
            for peer in chosen:
                if count > peer.most_workers:
                    continue
                print(f"round {turn + 1}/{options.rounds}: {count} workers, {peer.name}", file=sys.stderr, flush=True)

                def life():
                    with Life(peer, tools, base, count, samples) as one:
                        suite(one, options, turn == 0)
                good &= attempt(f"{peer.name}, {count} workers", life) or peer.name != "mtd"
    for peer in chosen:
        if peer is peer_module.Bare:
            continue  # it starts only the plain worker

        def with_grandchildren():
            with Life(peer, tools, base, 10, collections.defaultdict(list), leaves_grandchild=True) as one:
                one.start()
                one.stop()
                samples[peer.name, "survivors, grandchildren", 10] = one.samples[peer.name, "survivors", 10]
        good &= attempt(f"{peer.name}, grandchildren", with_grandchildren) or peer.name != "mtd"
    if peer_module.Mtd in chosen and options.clients:
        good &= attempt("clients", lambda: many_clients(tools, base, samples, options.clients))
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, up to 1 000 workers, 5 s of idle")
    parser.add_argument("--bin", default=os.environ.get("MTD_BIN", "build/release/bin"), help="where mtd is")
    parser.add_argument("--helpers", help="where bench-bare and bench-worker are (BIN/../bench)")
    parser.add_argument("--peers", default=",".join(peer_module.PEERS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--large-rounds", type=int, default=2, help="rounds with more than 1 000 workers")
    parser.add_argument("--sizes")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--idle", type=float, help="seconds")
    parser.add_argument("--clients", type=int, default=None, help="0: leave out")
    parser.add_argument("--json", help="write all samples there")
    options = parser.parse_args()
    quick = options.quick
    options.helpers = options.helpers or os.path.join(options.bin, "..", "bench")
    options.peers = options.peers.split(",")
    options.rounds = options.rounds or (1 if quick else 3)
    options.sizes = [int(s) for s in (options.sizes or ("1,10,100,1000" if quick else "1,10,100,1000,10000")).split(",")]
    options.kills = options.kills or (40 if quick else 200)
    options.idle = options.idle or (5 if quick else 60)
    options.clients = (1000 if quick else 10000) if options.clients is None else options.clients
    unknown = [p for p in options.peers if p not in peer_module.PEERS]
    if unknown:
        parser.error(f"unknown peer {unknown[0]}; there are {', '.join(peer_module.PEERS)}")

    for helper in ("bench-bare", "bench-worker"):
        if not os.access(os.path.join(options.helpers, helper), os.X_OK):
            parser.error(f"no {helper} in {options.helpers}: build the targets bench-bare and bench-worker, or name their"
                         " folder with --helpers")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    measure.become_subreaper()
    for number_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_, lambda *_: sys.exit(143))
    base = tempfile.mkdtemp(prefix="mtd-bench-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    os.chmod(base, 0o755)
    samples = collections.defaultdict(list)
    good = False
    try:
        good = run(options, base, samples)
    finally:
        measure.end_all()
        shutil.rmtree(base, ignore_errors=True)
        report = Report(samples, options.peers)
        print(report.table())
        print()
        print(report.target_table())
        if options.json:
            with open(options.json, "w") as out:
                json.dump([{"peer": p, "metric": m, "workers": n, "values": v} for (p, m, n), v in samples.items()], out)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
