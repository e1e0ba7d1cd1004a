"""Tasks while everything is killed: none is lost, none is done wrong, none runs twice but where an attempt died.

With --full 100 000 tasks; CHAOS_TASKS and CHAOS_SEED say another number, and which kills.
"""
import collections
import os
import random
import time

from harness import Mtd
from tasks import Tasks, call, kill_broker, task_pool

WINDOW = 200
VICTIMS = ("broker", "supervisor", "all")


def kill(mtd, victim):
    """kill -9, wherever it is just now; mtd goes on when this returns. all: of the keeper too, and then mtd is started again."""
    if victim == "broker":
        kill_broker(mtd.keeper)
    elif victim == "supervisor":
        mtd.kill_supervisor()
    else:
        mtd.kill_whole()
        kill_broker(os.getpid())  # unless it has ended itself: everybody it works for is gone
        mtd.start()


def run(mtd, total, between, dice):
    """All tasks, by clients that come and go; kills someone now and then. number → (state, result, id), victim → how often."""
    ends, kills = {}, collections.Counter()
    due = dice.randint(1, 2 * between)
    while len(ends) < total:
        try:
            with Tasks(mtd) as tasks:
                todo = collections.deque(n for n in range(total) if n not in ends)
                while todo or tasks.waiting:
                    while todo and len(tasks.waiting) < WINDOW:
                        number = todo.popleft()
                        tasks.waiting[tasks.put("p", "chaos", number, uid=f"n{number}")] = number
                    end = tasks.any_end()
                    number = tasks.waiting.pop(end["seq"])
                    assert number not in ends, "two ends of one task"
                    ends[number] = (end["state"], end.get("result"), end["id"])
                    if len(ends) >= due and len(ends) < total:
                        due += dice.randint(1, 2 * between)
                        victim = VICTIMS[sum(kills.values()) % 3] if sum(kills.values()) < 3 else dice.choice(VICTIMS)
                        kills[victim] += 1
                        kill(mtd, victim)
        except (ConnectionError, FileNotFoundError):
            continue
    return ends, kills


def executions(ledger):
    """number → [(task, attempt)…] as the workers wrote it down."""
    runs = collections.defaultdict(list)
    with open(ledger) as file:
        for line in file:
            number, task, attempt = map(int, line.split())
            runs[number].append((task, attempt))
    return runs


def test_nothing_is_lost_and_nothing_done_twice(full, tmp_path):
    total = int(os.environ.get("CHAOS_TASKS", 100_000 if full else 1_000))
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
    print(f"CHAOS_SEED={seed} CHAOS_TASKS={total}")
    ledger = tmp_path / "ledger"
    keys = {"tasks": {"max_crashes": 1000, "durability": "process", "result_ttl": "1d"},
            "backoff": {"initial": 0, "max": 0}, "min_uptime": 0}
    pool = task_pool(4, **keys)
    pool["env"].update(LEDGER=str(ledger), REPORT="")
    begin = time.monotonic()
    with Mtd({"p": pool}) as mtd:
        ends, kills = run(mtd, total, max(total // 100, 100), random.Random(seed))
        lost = total - len(ends)
        wrong = [n for n in range(total) if ends[n][:2] != ("done", n * n)]
        assert (lost, wrong) == (0, [])
        assert set(kills) == set(VICTIMS)
        assert len({end[2] for end in ends.values()}) == total, "one task for each uid"
        runs = executions(ledger)
        assert set(runs) == set(range(total))
        twice = [n for n in runs if len(runs[n]) > 1]
        assert all(len(set(runs[n])) == len(runs[n]) for n in twice), "no attempt ran twice"
        died = 0  # attempts that died, with or without a trace of theirs in the ledger
        for number in twice:
            shown = call(mtd, "Show", id=ends[number][2])["task"]
            died += shown["crashes"] + shown["recoveries"]
            assert shown["failures"] == 0 and shown["attempt"] >= len(runs[number])
            assert shown["crashes"] + shown["recoveries"] >= len(runs[number]) - 1, "it ran again although no attempt of it had died"
        queue = call(mtd, "Stats", pool="p")["pools"][0]
        assert (queue["waiting"], queue["running"], queue["scheduled"], queue["dead"]) == (0, 0, 0, 0)
        print(f"{total} tasks in {time.monotonic() - begin:.0f} s: {lost} lost, {len(wrong)} wrong; kills: {dict(kills)}; "
              f"{sum(map(len, runs.values()))} executions, {len(twice)} tasks ran more than once, of which {died} attempts had died")
