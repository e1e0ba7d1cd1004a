"""Very many workers with tasks: 2 000 (MTD_CROWD says another number), and what dies among them."""
import os
import time

import pytest
from harness import Mtd, eventually, pool
from tasks import Tasks, kill_broker

CROWD = int(os.environ.get("MTD_CROWD", "2000"))
PATIENCE = 300


def memory_kib(pid):
    """What is the process's own: no file that others map, too."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def crowd_pools(program, number):
    tasks = {"durability": "process", "max_queue": 100_000}
    pools, left = {}, number
    while left > 0:
        pools[f"p{len(pools)}"] = pool([program], workers=min(left, 10_000), tasks=tasks)
        left -= 10_000
    return pools


def told(name):
    print(f"{name}: {time.monotonic() - told.since:.2f} s")
    told.since = time.monotonic()


@pytest.mark.slow
def test_tasks_of_a_crowd_survive_what_dies(crowd):
    told.since = time.monotonic()
    with Mtd(crowd_pools(crowd, CROWD)) as mtd:
        def ready():
            mtd.wait_ready()
            assert sum(mtd.pool(name)["ready"] for name in mtd.pools) == CROWD

        def each_answers(tasks, rounds):
            """So many tasks as there are workers, and each time again; who did them."""
            who, left = set(), min(CROWD, 10_000) * rounds
            while left > 0:  # as many as a client may be told of before it reads
                seqs = [tasks.put("p0", "x") for _ in range(min(left, 2000))]
                ends = tasks.ends(seqs, seconds=PATIENCE)
                assert all(end["state"] == "done" for end in ends)
                who |= {end["result"] for end in ends}
                left -= len(seqs)
            return who

        ready()
        told(f"{CROWD} workers ready")
        keeper = memory_kib(mtd.keeper)
        before = {name: set(mtd.pids(name)) for name in mtd.pools}
        with Tasks(mtd) as tasks:
            who = each_answers(tasks, 2)
            assert who <= before["p0"] and len(who) > CROWD / 20, "first in, first out among workers"
            told("two tasks for each")
            kill_broker(mtd.keeper)
        with Tasks(mtd) as tasks:
            assert each_answers(tasks, 1) <= before["p0"]
            told("another broker, and a task for each")
            mtd.kill_supervisor()
            ready()
            told("another supervisor")
            assert each_answers(tasks, 1) <= before["p0"]
            assert {name: set(mtd.pids(name)) for name in mtd.pools} == before, "no worker was touched"
            workers = mtd.workers("p0")
            assert sum(worker["tasks"] for worker in workers) >= 4 * len(workers)
            told("status of each")
            for pid in sorted(before["p0"])[:100]:
                mtd.kill(pid)
            eventually(lambda: mtd.pool("p0")["restarts"] == 100, seconds=PATIENCE, what="their deaths are known")
            ready()
            assert len(each_answers(tasks, 1)) > CROWD / 20
            told("a hundred were killed and replaced")
        assert memory_kib(mtd.keeper) <= keeper + 64, "the keeper asks for no memory"
        print(f"keeper {memory_kib(mtd.keeper)} KiB, supervisor {memory_kib(mtd.supervisor())} KiB")
    told("stopped")
