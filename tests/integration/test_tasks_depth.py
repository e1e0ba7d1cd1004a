"""A queue with very many tasks in it (MTD_DEPTH, 1 000 000): what a put and a task cost there, start, kill -9, dead letters.

What must hold is that nothing is lost and nothing costs more because others wait; the figures are printed (-s).
"""
import json
import os
import select
import time

import pytest
from harness import Mtd, Varlink, eventually, pool
from tasks import Tasks, broker_pid, call, kill_broker, queue, tasks_socket

DEPTH = int(os.environ.get("MTD_DEPTH", "1000000"))
PATIENCE = 900


def fill(tasks, count):
    """Puts tasks as quickly as they are taken, and waits until all are accepted."""
    first, accepted, waiting = tasks.seq + 1, 0, b""
    tasks.seq += count
    numbers = iter(range(first, first + count))
    tasks.sock.setblocking(False)
    while accepted < count:
        if not waiting:
            waiting = b"".join(b'{"t":"put","seq":%d,"pool":"p","args":["x"]}\n' % number
                               for _, number in zip(range(1000), numbers))
        ready = select.select([tasks.sock], [tasks.sock] if waiting else [], [], PATIENCE)
        assert ready[0] or ready[1], f"nothing is taken any more, after {accepted}"
        if ready[1]:
            waiting = waiting[tasks.sock.send(waiting):]
        if ready[0]:
            lines = (tasks.buffer + tasks.sock.recv(1 << 20)).split(b"\n")
            tasks.buffer = lines.pop()
            accepted += len(lines)
            refused = [line for line in lines if b'"ok"' not in line]
            assert not refused, refused[0]
    tasks.sock.setblocking(True)


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
