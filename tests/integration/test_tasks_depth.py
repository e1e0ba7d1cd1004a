"""A queue with very many tasks in it (MTD_DEPTH, 1 000 000): what a put and a task cost there, start, kill -9, dead letters.

What must hold is that nothing is lost and nothing costs more because others wait; the figures are printed (-s).
"""
import json
import os
import select
import sqlite3
import subprocess
import time

import pytest
from harness import Mtd, Varlink, eventually, pool
from tasks import Tasks, broker_pid, call, kill_broker, queue, tasks_socket
from test_tasks_failures import failing_syncs
from test_tasks_store import disk_of
from test_tasks_store import fill as fill_disk

DEPTH = int(os.environ.get("MTD_DEPTH", "1000000"))
PATIENCE = 900


def fill(tasks, count, may_refuse=b"?"):
    """Puts tasks as quickly as they are taken, and waits until all are answered. How many were accepted."""
    first, answered, refused, waiting = tasks.seq + 1, 0, 0, b""
    tasks.seq += count
    numbers = iter(range(first, first + count))
    tasks.sock.setblocking(False)
    while answered < count:
        if not waiting:
            waiting = b"".join(b'{"t":"put","seq":%d,"pool":"p","args":["x"]}\n' % number
                               for _, number in zip(range(1000), numbers))
        ready = select.select([tasks.sock], [tasks.sock] if waiting else [], [], PATIENCE)
        assert ready[0] or ready[1], f"nothing is taken any more, after {answered}"
        if ready[1]:
            waiting = waiting[tasks.sock.send(waiting):]
        if ready[0]:
            lines = (tasks.buffer + tasks.sock.recv(1 << 20)).split(b"\n")
            tasks.buffer = lines.pop()
            answered += len(lines)
            refusals = [line for line in lines if b'"ok"' not in line]
            assert all(may_refuse in line for line in refusals), refusals[0]
            refused += len(refusals)
    tasks.sock.setblocking(True)
    return answered - refused


def memory_mib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_")) // 1024


def timed_run(tasks):
    begin = time.monotonic()
    assert tasks.run("empty", "x")["state"] == "done"
    return time.monotonic() - begin


def median_ms(what, times=100):
    taken = []
    for _ in range(times):
        begin = time.monotonic()
        what()
        taken.append(time.monotonic() - begin)
    return 1000 * sorted(taken)[len(taken) // 2]


@pytest.mark.slow
def test_a_million_tasks_wait_and_cost_the_others_nothing(crowd):
    tasks_keys = {"max_queue": DEPTH + 100_000, "max_queue_bytes": "1G", "durability": "process", "max_crashes": 1,
                  "max_attempts": 1, "result_ttl": "1h"}
    pools = {"p": pool([crowd], workers=2, tasks=tasks_keys), "empty": pool([crowd], workers=2, tasks=tasks_keys)}
    figures = {}

    def timed(name, what):
        begin = time.monotonic()
        result = what()
        figures[name] = round(time.monotonic() - begin, 3)
        print(f"{name}: {figures[name]}", flush=True)
        return result

    def answers(mtd):
        """It serves again: a task is done in the pool beside."""
        with Tasks(mtd) as tasks:
            assert tasks.run("empty", "x")["state"] == "done"

    with Mtd(pools, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        with Tasks(mtd) as tasks:
            answers(mtd)
            bare = {"put": median_ms(lambda: tasks.expect(tasks.put("p", "x", watch=False), "ok")),
                    "task": median_ms(lambda: tasks.run("empty", "x"))}
            call(mtd, "Drain", pool="p")
            call(mtd, "Pause", pool="p")
            timed(f"put {DEPTH}", lambda: fill(tasks, DEPTH))
            assert queue(mtd)["waiting"] == DEPTH
            deep = {"put": median_ms(lambda: tasks.expect(tasks.put("p", "x", watch=False), "ok")),
                    "task": median_ms(lambda: tasks.run("empty", "x"))}
            print(f"ms: without {bare}, with {DEPTH} waiting {deep}; broker {memory_mib(broker_pid(mtd.keeper))} MiB", flush=True)
            timed("stats", lambda: call(mtd, "Stats", pool="p"))
            timed("status", lambda: mtd.ctl("status"))
            timed("list 1000", lambda: call(mtd, "List", pool="p", limit=1000))
            timed("dead ls", lambda: call(mtd, "List", pool="p", states=["dead"]))
        waiting = queue(mtd)["waiting"]
        assert waiting == DEPTH + 100
        kill_broker(mtd.keeper)
        timed("kill -9 of the broker until it serves", lambda: answers(mtd))
        assert queue(mtd)["waiting"] == waiting and queue(mtd)["paused"], "nothing is lost"
        print(f"broker {memory_mib(broker_pid(mtd.keeper))} MiB", flush=True)
        with Tasks(mtd) as tasks:
            first = queue(mtd)["done"]
            begin = time.monotonic()
            call(mtd, "Resume", pool="p")
            seq = tasks.put("p", "x", priority=-1)  # before the others
            tasks.expect(seq, "end", seconds=PATIENCE)
            figures["a task that goes first"] = time.monotonic() - begin
            eventually(lambda: queue(mtd)["done"] - first >= 20_000, PATIENCE, what="20 000 tasks are done")
            print(f"tasks/s from the depth: {(queue(mtd)['done'] - first) / (time.monotonic() - begin):.0f}", flush=True)
            call(mtd, "Pause", pool="p")
        for pid in mtd.pids("p"):
            mtd.kill(pid)
        mtd.kill_whole()
        kill_broker(os.getpid())
        timed("start on them", mtd.start)
        timed("until it serves", lambda: answers(mtd))
        call(mtd, "Pause", pool="p")
        left = queue(mtd)
        print(json.dumps(left), flush=True)
        with Tasks(mtd) as tasks, Varlink(tasks_socket(mtd)) as client:
            client.socket.settimeout(PATIENCE)
            client.send("io.mtd.Tasks.Cancel", {"pool": "p"})
            slowest = max(timed_run(tasks) for _ in range(50))
            done = timed("cancel all that wait", client.receive)["parameters"]
            assert done["cancelled"] >= left["waiting"]  # and what came back from the workers
            print(f"a task meanwhile: at most {slowest:.3f} s", flush=True)
        assert queue(mtd)["waiting"] == 0 and left["waiting"] > 0


def crowd_pools(crowd, workers, **keys):
    tasks_keys = {"max_queue": DEPTH + 100_000, "max_queue_bytes": "1G", "durability": "process", **keys}
    return {"p": pool([crowd], workers=workers, tasks=tasks_keys), "empty": pool([crowd], workers=2, tasks={})}


class Faults:
    """One fault after the other comes over a store with very many tasks."""

    def __init__(self, mtd, disk):
        self.mtd, self.disk = mtd, disk
        self.database = os.path.join(mtd.state, "tasks", "tasks.db")
        self.waiting = 0

    def timed(self, name, what):
        begin = time.monotonic()
        what()
        print(f"{name}: {time.monotonic() - begin:.3f}", flush=True)

    def serves(self):
        with Tasks(self.mtd) as tasks:
            assert tasks.run("empty", "x")["state"] == "done"
        assert queue(self.mtd)["waiting"] == self.waiting, "nothing is lost"

    def end_all(self):
        self.mtd.kill_whole()
        kill_broker(os.getpid())

    def start(self):
        self.mtd.start()
        self.serves()

    def is_told(self, words):
        self.mtd.until(lambda: words in self.mtd.ctl("status").stdout, what=f"status says: {words}")

    def no_room(self):
        with Tasks(self.mtd) as tasks:
            filler = fill_disk(self.disk)
            while not (refusal := tasks.refused("p", "x")):
                self.waiting += 1
            assert refusal["error"] == "StoreFull"
            self.timed("Stats meanwhile", lambda: call(self.mtd, "Stats"))
            os.unlink(filler)
            eventually(lambda: not tasks.refused("p", "x"), what="puts are taken again")
            self.waiting += 1
        self.serves()

    def no_syncs(self):
        with Tasks(self.mtd) as tasks, failing_syncs(self.mtd):
            assert tasks.refused("empty", "x")["error"] == "StoreFailed"

    def newer(self, version):
        """The database says that it is of this version; the one before."""
        with sqlite3.connect(self.database) as database:
            before = database.execute("PRAGMA user_version").fetchone()[0]
            database.execute(f"PRAGMA user_version={version}")
        database.close()
        return before

    def remount(self, how):
        """As soon as those that were killed have no file open there any more."""
        command = ["mount", "-o", f"remount,{how}", self.disk]
        eventually(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0, what=f"the disk is {how}")

    def damage(self):
        size = os.path.getsize(self.database)
        with open(self.database, "r+b") as file:
            file.seek(size // 2 // 4096 * 4096)
            file.write(os.urandom(4096))


@pytest.mark.slow
def test_faults_of_a_store_with_a_million_tasks(crowd, root, strace):
    """Kill, full disk, an fsync that fails, a newer version, a disk that may be read only, a damaged page."""
    with disk_of(f"{DEPTH * 200 // (1 << 20) + 64}m") as disk:
        mtd = Mtd(crowd_pools(crowd, workers=0), checks_descriptors=False)
        mtd.state = os.path.join(disk, "state")
        with mtd:
            mtd.wait_ready()
            faults = Faults(mtd, disk)
            with Tasks(mtd) as tasks:
                faults.timed(f"put {DEPTH}", lambda: fill(tasks, DEPTH))
            faults.waiting = DEPTH
            kill_broker(mtd.keeper)
            faults.timed("killed, until it serves", faults.serves)
            faults.timed("no room, and room again", faults.no_room)
            faults.no_syncs()
            faults.timed("an fsync that failed, until it serves", faults.serves)
            faults.end_all()
            version = faults.newer(99)
            mtd.start()
            faults.is_told("was written by a newer mtd (version 99")
            faults.end_all()
            assert faults.newer(version) == 99
            faults.timed("of this version again, until it serves", faults.start)
            faults.end_all()
            faults.remount("ro")
            mtd.start()
            faults.is_told("Read-only file system")
            faults.remount("rw")
            faults.end_all()
            faults.timed("no more read only, until it serves", faults.start)
            faults.end_all()
            faults.damage()
            faults.waiting = 0
            faults.timed("damaged, until it serves", faults.start)
            assert [name for name in os.listdir(os.path.dirname(faults.database)) if name.startswith("tasks.db.bad.")]


@pytest.mark.slow
def test_a_quota_that_hundreds_of_thousands_of_tasks_have_filled_is_worked_off(crowd):
    quota = max(16, DEPTH * 50 >> 20)
    with Mtd(crowd_pools(crowd, workers=2, result_ttl="1s"), daemon={"tasks": {"quota": f"{quota}M"}}) as mtd, Tasks(mtd) as tasks:
        mtd.wait_ready()
        call(mtd, "Pause", pool="p")
        accepted = fill(tasks, DEPTH, may_refuse=b"StoreFull")
        assert DEPTH // 10 < accepted < DEPTH and queue(mtd)["waiting"] == accepted
        begin = time.monotonic()
        call(mtd, "Resume", pool="p")
        mtd.until(lambda: queue(mtd)["done"] == accepted, PATIENCE, what="all of them are done")
        print(f"{accepted} in {quota} MiB, {accepted / (time.monotonic() - begin):.0f} tasks/s", flush=True)
        eventually(lambda: not tasks.refused("p", "x"), PATIENCE, what="there is room again")
