#!/usr/bin/python3
"""tasks.py [--quick] [--bin DIR] [--helpers DIR] [--systems a,b] [--rounds R] [--json FILE]

Tasks, measured beside other ways to hand them to workers: how many a second, how long one takes, and how soon it is
known that a worker died with one. All take turns within every round, and medians are compared: a machine's speed
drifts between minutes, ratios hold. README.md tells what each row means.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import measure
from measure import median, now_ns, quantile
from supervision import Failed, columns, number

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
PATIENCE_S = 60
COMMAND = "/bin/true"

Case = collections.namedtuple("Case", "kind workers window work_us")  # kind: memory, durable, chunks, commands


class Run:
    """One measurement: a directory, the servers in it, and their end."""

    def __init__(self, options, base):
        self.options = options
        self.directory = tempfile.mkdtemp(prefix="run-", dir=base)
        os.chmod(self.directory, 0o711)  # root's mtd lets its broker be somebody else

    def __enter__(self):
        return self

    def __exit__(self, *_):
        measure.end_all()
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def serve(self, argv, **options):
        with open(self.path("output"), "ab") as output:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)

    def wait_for_socket(self, name):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    return client.connect(self.path(name))
                except OSError:
                    time.sleep(0.01)  # nobody tells that a peer's server listens
        raise Failed(f"no server answers: {self.output()}")

    def output(self):
        """What the servers have said."""
        with open(self.path("output"), "a+", errors="replace") as output:
            output.seek(0)
            return output.read()[-600:]

    def mtd(self, workers, work_us=0, durability="memory", credit=1, **tasks):
        worker = [os.path.join(self.options.helpers, "bench-task-worker"), str(work_us), str(credit)]
        with open(self.path("mtd.json"), "w") as conf:
            json.dump({"pools": {"w": {
                "command": worker, "workers": workers, "log": {"to": "null"},
                "backoff": {"initial": 0}, "crash_limit": {"count": 1000000},
                "tasks": {"durability": durability, **tasks}}}}, conf)
        os.chmod(self.path("mtd.json"), 0o600)
        ready, says_ready = os.pipe()
        self.serve([self.options.bin + "/mtd", "--config", self.path("mtd.json"), "--runtime-dir", self.path("run"),
                    "--state-dir", self.path("state"), "--log-level", "error", "--ready-fd", str(says_ready)],
                   pass_fds=[says_ready])
        os.close(says_ready)
        if not select.select([ready], [], [], PATIENCE_S)[0] or not os.read(ready, 1):
            raise Failed(f"mtd did not start: {self.output()}")
        os.close(ready)
        return self.path("run/io.mtd.Tasks")

    def load(self, queue, case, *where):
        return self.json([os.path.join(self.options.helpers, "bench-tasks"), queue, case.workers, case.window,
                          self.options.seconds, case.work_us, *where])

    def json(self, argv, **environment):
        done = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=HERE,
                              timeout=PATIENCE_S + 10 * self.options.seconds, check=False,
                              env={**os.environ, **environment})
        if done.returncode:
            raise Failed(f"{os.path.basename(str(argv[0]))}: {done.stderr[-400:]} {self.output()}")
        return json.loads(done.stdout)


# ---- the systems: each a function of (run, case), and what it needs ------------------------------

def bare(run, case):
    return run.load("bare", case)


def mtd(run, case):
    durability = {"memory": "memory", "durable": "fsync"}[case.kind]
    return run.load("mtd", case, run.mtd(case.workers, case.work_us, durability), "w")


def mtd_killed_only(run, case):
    return run.load("mtd", case, run.mtd(case.workers, case.work_us, "process"), "w")


def mtd_credit(run, case):
    return run.load("mtd", case, run.mtd(case.workers, case.work_us, "memory", credit=64), "w")


def beanstalkd(run, case):
    keeps = ["-b", run.path("log"), "-f", "0"] if case.kind == "durable" else []
    os.mkdir(run.path("log"))
    run.serve(["beanstalkd", "-l", "unix:" + run.path("socket"), *keeps])
    run.wait_for_socket("socket")
    return run.load("beanstalk", case, run.path("socket"))


def redis(kind):
    def measured(run, case):
        keeps = ["--appendonly", "yes", "--appendfsync", "always"] if case.kind == "durable" else ["--appendonly", "no"]
        run.serve(["redis-server", "--port", "0", "--unixsocket", run.path("socket"), "--dir", run.directory,
                   "--save", "", *keeps])
        run.wait_for_socket("socket")
        return run.load(kind, case, run.path("socket"))
    return measured


def python_pool(kind):
    def measured(run, case):
        chunk = case.window if case.kind == "chunks" else 1
        one = ["--latency"] if case.window == 1 else []
        return run.json([PYTHON, os.path.join(HERE, "task_pools.py"), kind, case.workers, chunk, run.options.seconds,
                         case.work_us, *one], MTD_PROGRAM=run.options.bin + "/mtd",
                        PYTHONPATH=os.path.join(HERE, "..", "..", "client", "python"))
    return measured


def timed(run, argv, lines):
    with open(run.path("lines"), "w") as out:
        out.writelines(f"{i}\n" for i in range(lines))
    with open(run.path("lines")) as given:
        before = now_ns()
        done = subprocess.run(argv, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=PATIENCE_S)
        seconds = (now_ns() - before) / 1e9
    if done.returncode:
        raise Failed(f"{argv[0]}: {done.stderr[-400:]}")
    return {"tasks": lines, "per_second": lines / seconds}


def mtctl_chunks(run, case):
    where = run.mtd(case.workers)
    return timed(run, [run.options.bin + "/mtctl", "-s", where.replace("Tasks", "Manager"), "map", "w", "--unordered",
                       "--chunk", str(case.window), "--window", "64"], round(400000 * run.options.seconds))


def commands(*argv):
    def measured(run, case):
        words = [str(case.workers) if word == "N" else word.replace("BIN", run.options.bin) for word in argv]
        return timed(run, words, round((400 if argv[0] == "parallel" else 1500) * run.options.seconds))
    return measured


System = collections.namedtuple("System", "kinds measure needs")
SYSTEMS = {
    "bare": System("memory", bare, None),
    "mtd": System("memory durable", mtd, None),
    "mtd process": System("durable", mtd_killed_only, None),
    "mtd credit 64": System("many", mtd_credit, None),
    "mtd.Pool": System("memory chunks", python_pool("mtd"), None),
    "mtctl map": System("chunks", mtctl_chunks, None),
    "mtctl map -j": System("commands", commands("BIN/mtctl", "map", "--unordered", "-j", "N", "--", COMMAND), None),
    "multiprocessing.Pool": System("memory chunks", python_pool("multiprocessing"), None),
    "ProcessPoolExecutor": System("memory chunks", python_pool("executor"), None),
    "beanstalkd": System("memory durable", beanstalkd, "beanstalkd"),
    "redis list": System("memory durable", redis("redis-list"), "redis-server"),
    "redis stream": System("memory durable", redis("redis-stream"), "redis-server"),
    "xargs -P": System("commands", commands("xargs", "-P", "N", "-n", "1", COMMAND), "xargs"),
    "parallel": System("commands", commands("parallel", "--will-cite", "-j", "N", COMMAND), "parallel"),
}
OWN = ("bare", "mtd", "mtd process", "mtd credit 64", "mtd.Pool", "mtctl map", "mtctl map -j")


def cases(quick):
    for workers in (2,) if quick else (1, 2, 4):
        yield Case("memory", workers, 64, 0)
        yield Case("memory", workers, 1, 0)
        yield Case("memory", workers, 64, 1000)
        yield Case("durable", workers, 64, 0)
        yield Case("durable", workers, 1, 0)
        yield Case("many", workers, 1024, 0)
        yield Case("chunks", workers, 64, 0)
        yield Case("commands", workers, workers, 0)


# ---- a worker that dies --------------------------------------------------------------------------

class Client:
    """io.mtd.Tasks after Open, as far as it is needed here."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.sock.sendall(b'{"method":"io.mtd.Tasks.Open","upgrade":true}\0')
        self.buffer = b""
        while b"\0" not in self.buffer:
            self.buffer += self.sock.recv(1 << 16)
        self.buffer = self.buffer.partition(b"\0")[2]

    def put(self, number):
        self.sock.sendall(b'{"t":"put","seq":%d,"pool":"w","args":["hold"],"watch":true}\n' % number)

    def expect(self, kind):
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if found:
                self.buffer = rest
                frame = json.loads(line)
                if frame["t"] == kind:
                    return frame
            else:
                self.buffer += self.sock.recv(1 << 16)


def mtd_deaths(run, kills):
    """SIGKILL of a worker until the client has the end of its task, which one death is the end of."""
    client = Client(run.mtd(2, durability="fsync", max_crashes=1))
    took = []
    for turn in range(kills):
        client.put(turn + 1)
        pid = client.expect("progress")["done"]
        before = now_ns()
        os.kill(pid, signal.SIGKILL)
        end = client.expect("end")
        took.append((now_ns() - before) / 1e3)
        if end["state"] != "dead" or end.get("reason") != "crash" or end.get("signal") != signal.SIGKILL:
            raise Failed(f"a task of a killed worker ended as {end}")
    return took


def executor_deaths(_run, kills):
    """The same of an executor, to which it is the end: of the pool, and of all its tasks."""
    took = []
    for _ in range(min(kills, 20)):
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            pid = pool.submit(os.getpid).result()
            future = pool.submit(time.sleep, PATIENCE_S)
            while not future.running():
                time.sleep(0.01)  # an executor tells of ends, never of beginnings
            before = now_ns()
            os.kill(pid, signal.SIGKILL)
            future.exception()
            took.append((now_ns() - before) / 1e3)
    return took


# ---- what was found ------------------------------------------------------------------------------

KINDS = {"memory": "in memory", "durable": "on disk before they are told", "many": "1 024 in flight",
         "chunks": "64 to a chunk, counted one by one", "commands": "a process for each"}


def title(case):
    work = "1 ms" if case.work_us else "no-op"
    flight = {"memory": f", {case.window} in flight", "durable": f", {case.window} in flight"}.get(case.kind, "")
    return f"{work}, {KINDS[case.kind]}, {case.workers} worker{'s' if case.workers > 1 else ''}{flight}"


class Report:
    def __init__(self, samples, systems):
        self.samples = samples
        self.systems = systems

    def value(self, system, case, what="per_second"):
        return median(self.samples.get((system, case, what), []))

    def tables(self):
        for case in sorted({key[1] for key in self.samples if isinstance(key[1], Case)}, key=list(CASE_ORDER).index):
            rows = []
            for system in self.systems:
                rate = self.value(system, case)
                if rate is None:
                    continue
                ratio = [self.over(rate, self.value(other, case)) for other in ("bare",)]
                rows.append([system, number(rate), *(number(self.value(system, case, q)) for q in ("p50_us", "p99_us")),
                             *("-" if r is None else f"{r:.2f}" for r in ratio)])
            if rows:
                yield title(case) + "\n" + columns(["", "tasks/s", "p50 us", "p99 us", "/bare"], rows)
        rows = [[system, number(median(took)), number(quantile(took, .99)), str(len(took))]
                for (system, case, _), took in self.samples.items() if case == "deaths"]
        if rows:
            yield "SIGKILL of a worker until the end of its task is told\n" + columns(["", "p50 us", "p99 us", "kills"], rows)

    @staticmethod
    def over(a, b):
        return a / b if a is not None and b else None

    def best(self, case, what="per_second"):
        values = [self.value(s, case, what) for s in self.systems if s not in OWN]
        values = [v for v in values if v is not None]
        return (max if what == "per_second" else min)(values, default=None)

    def targets(self):
        """(number, what, found, bound, is it at least): """
        memory, one = Case("memory", 2, 64, 0), Case("memory", 2, 1, 0)
        disk, one_disk = Case("durable", 2, 64, 0), Case("durable", 2, 1, 0)
        chunks, many = Case("chunks", 2, 64, 0), Case("many", 2, 1024, 0)
        v, over = self.value, self.over
        yield 9, "no-op tasks/s in memory / bare", over(v("mtd", memory), v("bare", memory)), 0.7, True
        yield 9, "  the same / best peer", over(v("mtd", memory), self.best(memory)), 2, True
        yield 9, "one in flight, p50 / bare", over(v("mtd", one, "p50_us"), v("bare", one, "p50_us")), 1.5, False
        yield 9, "  the same / beanstalkd", over(v("mtd", one, "p50_us"), v("beanstalkd", one, "p50_us")), 0.6, False
        yield 10, "mtctl map, 64 to a chunk, M/s", over(v("mtctl map", chunks), 1e6), 0.3, True
        yield 10, "mtd.Pool.imap_unordered, 64 to a chunk, M/s", over(v("mtd.Pool", chunks), 1e6), 0.3, True
        yield 10, "each task acknowledged, 1 024 in flight, M/s", over(v("mtd credit 64", many), 1e6), 0.3, True
        yield 11, "durable tasks/s / best peer", over(v("mtd", disk), self.best(disk)), 4, True
        yield 11, "durable, one in flight, p50 / best peer", over(
            v("mtd", one_disk, "p50_us"), self.best(one_disk, "p50_us")), 1.0, False
        deaths = self.samples.get(("mtd", "deaths", "us"), [])
        yield 12, "worker killed until its task's end is told, p50 ms", over(median(deaths), 1000), 2, False
        yield 12, "  the same, p99 ms", over(quantile(deaths, .99), 1000), 10, False

    def target_table(self):
        rows = []
        for target, what, found, bound, at_least in self.targets():
            if found is not None:
                met = found >= bound if at_least else found <= bound
                rows.append([str(target), what, f"{found:.2f}", f"{'>=' if at_least else '<='} {bound:g}",
                             "met" if met else "MISSED"])
        return columns(["target", "what", "found", "aim", ""], rows)


CASE_ORDER = tuple(cases(False))


# ---- the run -------------------------------------------------------------------------------------

def attempt(what, action):
    """A peer that fails loses this row, not the run."""
    try:
        return action()
    except (Failed, OSError, subprocess.TimeoutExpired, ValueError) as error:
        print(f"{what}: {error}", file=sys.stderr, flush=True)
        return None


def run_all(options, base, samples):
    good = True
    for turn in range(options.rounds):
        for case in options.cases:
            for name in options.systems:
                system = SYSTEMS[name]
                if case.kind not in system.kinds.split():
                    continue
                print(f"round {turn + 1}/{options.rounds}: {title(case)}: {name}", file=sys.stderr, flush=True)
                with Run(options, base) as run:
                    found = attempt(name, lambda: system.measure(run, case))
                if found is None:
                    good &= name not in OWN
                    continue
                for what in ("per_second", "p50_us", "p99_us"):
                    if what in found:
                        samples[name, case, what].append(found[what])
        for name, deaths in (("mtd", mtd_deaths), ("ProcessPoolExecutor", executor_deaths)):
            if name in options.systems and options.kills:
                with Run(options, base) as run:
                    took = attempt(name + ", deaths", lambda: deaths(run, options.kills))
                samples[name, "deaths", "us"] += took or []
                good &= took is not None or name not in OWN
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, 2 workers: about 2 minutes")
    parser.add_argument("--bin", default=os.environ.get("MTD_BIN", "build/release/bin"), help="where mtd is")
    parser.add_argument("--helpers", help="where bench-tasks and bench-task-worker are (BIN/../bench)")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="default: all: %(default)s")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of rows; default: %(default)s")
    parser.add_argument("--workers", help="only the rows with so many, such as 2,4")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--kills", type=int, help="0: leave out")
    parser.add_argument("--state", default="/var/tmp", help="a folder on the disk that is to be measured")
    parser.add_argument("--json", help="write all samples there")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    options.helpers = os.path.abspath(options.helpers or os.path.join(options.bin, "..", "bench"))
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.5 if options.quick else 1.5)
    options.kills = (50 if options.quick else 200) if options.kills is None else options.kills
    try:
        workers = [int(w) for w in options.workers.split(",")] if options.workers else None
    except ValueError:
        parser.error(f"--workers takes numbers such as 2,4, not {options.workers}")
    for kind in options.kinds.split(","):
        if kind not in KINDS:
            parser.error(f"unknown kind {kind}; there are {', '.join(KINDS)}")
    if not os.path.isdir(options.state):
        parser.error(f"--state: there is no folder {options.state}")
    options.cases = [case for case in cases(options.quick and not workers)
                     if case.kind in options.kinds.split(",") and (workers is None or case.workers in workers)]
    if not options.cases:
        parser.error("no row is left; with --workers there are those with 1, 2 and 4")
    names, options.systems = options.systems.split(","), []
    for name in names:
        if name not in SYSTEMS:
            parser.error(f"unknown system {name}; there are {', '.join(SYSTEMS)}")
        needs = SYSTEMS[name].needs
        if needs and not shutil.which(needs):
            print(f"left out: {name} (package {needs})", flush=True)
        else:
            options.systems.append(name)
    for helper in ("bench-tasks", "bench-task-worker"):
        if not os.access(os.path.join(options.helpers, helper), os.X_OK):
            parser.error(f"no {helper} in {options.helpers}: build the targets bench-tasks and bench-task-worker, or name"
                         " their folder with --helpers")
    measure.become_subreaper()
    for number_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_, lambda *_: sys.exit(143))
    base = tempfile.mkdtemp(prefix="mtd-bench-", dir=options.state)
    os.chmod(base, 0o711)
    samples = collections.defaultdict(list)
    good = False
    try:
        good = run_all(options, base, samples)
    finally:
        measure.end_all()
        shutil.rmtree(base, ignore_errors=True)
        report = Report(samples, options.systems)
        print("\n\n".join([*report.tables(), report.target_table()]))
        if options.json:
            with open(options.json, "w") as out:
                json.dump([{"system": s, "case": c, "what": w, "values": v} for (s, c, w), v in samples.items()], out)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
