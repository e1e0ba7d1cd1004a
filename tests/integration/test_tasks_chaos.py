"""Tasks while everything is killed: none is lost, none is done wrong, none runs twice but where an attempt died."""
import os
import random
import signal

from harness import Mtd, descendants, wait_gone
from tasks import Tasks, call, task_pool

WINDOW = 200


def killed(mtd, name):
    """kill -9 of the broker or the supervisor, wherever it is just now; mtd goes on when this returns."""
    if name == "supervisor":
        mtd.kill_supervisor()
        return
    for pid in descendants(mtd.keeper):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == "mtd-broker":
                    os.kill(pid, signal.SIGKILL)
                    wait_gone(pid)
        except OSError:
            continue


def run(mtd, total, between, dice):
    """All tasks, by clients that come and go; kills someone after every `between` ends. number → (state, result, id)."""
    ends, kills = {}, 0
    while len(ends) < total:
        try:
            with Tasks(mtd) as tasks:
                todo = [n for n in range(total) if n not in ends]
                while todo or tasks.waiting:
                    while todo and len(tasks.waiting) < WINDOW:
                        number = todo.pop(0)
                        tasks.waiting[tasks.put("p", "chaos", number, uid=f"n{number}")] = number
                    end = tasks.any_end()
                    number = tasks.waiting.pop(end["seq"])
                    assert number not in ends or ends[number] == (end["state"], end.get("result"), end["id"]), "two ends of one task"
                    ends[number] = (end["state"], end.get("result"), end["id"])
                    if len(ends) // between > kills:
                        kills += 1
                        killed(mtd, dice.choice(["broker", "broker", "supervisor"]))
        except (ConnectionError, BrokenPipeError, FileNotFoundError):
            continue
    return ends, kills


def test_nothing_is_lost_and_nothing_done_twice(full, tmp_path):
    total = 100_000 if full else 1_000
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
    print(f"CHAOS_SEED={seed}")
    ledger = tmp_path / "ledger"
    keys = {"tasks": {"max_crashes": 1000, "durability": "process"}, "backoff": {"initial": 0, "max": 0}, "min_uptime": 0}
    pool = task_pool(4, **keys)
    pool["env"].update(LEDGER=str(ledger), PYTHONHASHSEED="0", REPORT="")
    with Mtd({"p": pool}) as mtd:
        ends, kills = run(mtd, total, max(total // 10, 100), random.Random(seed))
        assert kills >= 9
        assert [n for n in range(total) if ends[n][:2] != ("done", n * n)] == []
        assert len({end[2] for end in ends.values()}) == total, "one task for each uid"
        runs = {}
        for line in ledger.read_text().splitlines():
            number, task, attempt = map(int, line.split())
            runs.setdefault(number, []).append((task, attempt))
        twice = [n for n in runs if len(runs[n]) > 1]
        assert all(len(set(runs[n])) == len(runs[n]) for n in twice), "no attempt ran twice"
        for number in twice[:200]:
            shown = call(mtd, "Show", id=ends[number][2])["task"]
            assert shown["attempt"] >= len(runs[number]) and shown["crashes"] + shown["recoveries"] >= len(runs[number]) - 1
        assert set(runs) == set(range(total))
        print(f"{total} tasks, {kills} kills, {len(twice)} ran more than once")
