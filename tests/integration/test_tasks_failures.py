"""What can go wrong for a task, row by row; the table that names each row's tests stands in tests/README.md."""
import contextlib
import os
import signal
import subprocess

import pytest
from harness import SLEEPER, Mtd, is_alive, pool, wait_gone
from tasks import Tasks, broker_pid, call, kill_broker, queue, task_pool


def shown(mtd, number):
    return call(mtd, "Show", id=number)["task"]


# ---- workers


def test_an_answer_counts_although_its_worker_dies_with_it():
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        for turn in range(5):
            end = tasks.run("p", "last", signal.SIGKILL)
            assert (end["state"], end["attempts"]) == ("done", 1)
            # Else the next one may be given to a worker that is about to die.
            mtd.until(lambda died=turn + 1: mtd.pool("p")["restarts"] == died, what="it was replaced")


def test_a_poison_task_is_a_dead_letter_and_the_others_are_done():
    keys = {"tasks": {"max_crashes": 3}, "backoff": {"initial": 0, "max": 0}, "min_uptime": 0}
    with Mtd({"p": task_pool(2, **keys)}) as mtd, Tasks(mtd) as tasks:
        poison = tasks.put("p", "signal", signal.SIGSEGV)
        good = [tasks.put("p", "echo", n) for n in range(20)]
        assert [end["result"] for end in tasks.ends(good)] == [[n] for n in range(20)]
        end = tasks.expect(poison, "end")
        assert (end["state"], end["reason"], end["attempts"], end["signal"]) == ("dead", "crash", 3, 11)
        assert [entry["detail"] for entry in shown(mtd, end["id"])["history"]] == ["signal 11"] * 3
        dead = call(mtd, "List", pool="p", states=["dead"])["tasks"]
        assert [task["id"] for task in dead] == [end["id"]]


@pytest.mark.parametrize("deed", ["nonsense", "long"])
def test_what_is_no_frame_costs_an_attempt_and_the_line_is_in_the_log(deed):
    with Mtd({"p": task_pool(1, tasks={"max_crashes": 1})}) as mtd, Tasks(mtd) as tasks:
        end = tasks.run("p", deed)
        assert (end["state"], end["reason"]) == ("dead", "crash")
        assert shown(mtd, end["id"])["history"][0]["detail"] == "protocol"
        assert "speaks no mtd-task/1" in mtd.log() and "x" * 1000 not in mtd.log()
        assert tasks.run("p", "echo")["state"] == "done"


def test_an_answer_for_somebody_elses_task_is_refused():
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        assert tasks.run("p", "stranger", 7)["result"] == [7]
        mtd.until(lambda: queue(mtd)["stale_answers"] == 1, what="it is counted")


def test_a_worker_that_is_suspended_with_a_task_is_killed_in_time():
    """No lease and no clock of the worker: the time-out of the attempt, then the kill, then another worker."""
    with Mtd({"p": task_pool(1, tasks={"timeout": "300ms", "grace": "100ms", "max_attempts": 2})}) as mtd, Tasks(mtd) as tasks:
        seq = tasks.put("p", "stop")
        number = tasks.expect(seq, "ok")["id"]
        end = tasks.expect(seq, "end")
        assert (end["state"], end["reason"], end["attempts"]) == ("dead", "timeout", 2)
        assert [entry["outcome"] for entry in shown(mtd, number)["history"]] == ["timeout", "timeout"]
        assert not [report["pid"] for report in mtd.reports.seen if report["what"] == "begin" and not wait_gone(report["pid"])]
        assert mtd.until(lambda: mtd.workers("p")[0]["last_exit"], what="its end is known")["cause"] == "task_timeout"


def test_a_worker_without_a_heartbeat_loses_its_task_to_another():
    keys = {"watchdog": "1s", "tasks": {"max_crashes": 1}}
    with Mtd({"p": task_pool(1, **keys)}) as mtd, Tasks(mtd) as tasks:
        end = tasks.run("p", "stop")
        assert (end["state"], end["reason"]) == ("dead", "crash")
        assert mtd.until(lambda: mtd.workers("p")[0]["last_exit"], what="its end is known")["cause"] == "watchdog"


def test_a_worker_that_reads_nothing_holds_up_nobody_else():
    """Suspended at rest, it gets one task, as its credit says; the others are done by its neighbour."""
    with Mtd({"p": task_pool(2)}) as mtd, Tasks(mtd) as tasks:
        mtd.wait_ready("p")
        silent = mtd.pids("p")[0]
        os.kill(silent, signal.SIGSTOP)
        body = os.urandom(400_000)
        seqs = [tasks.put("p", "echo", n, body=body) for n in range(20)]
        ends = {}
        while len(ends) < 19:
            end = tasks.any_end()
            ends[end["seq"]] = end["result"]
        left = [seq for seq in seqs if seq not in ends]
        assert len(left) == 1 and queue(mtd)["running"] == 1
        os.kill(silent, signal.SIGCONT)
        assert tasks.expect(left[0], "end")["state"] == "done"


# ---- cancelling


def test_a_cancel_that_the_worker_ignores_ends_with_its_kill(tmp_path):
    with Mtd({"p": task_pool(1, tasks={"grace": "100ms"})}) as mtd, Tasks(mtd) as tasks:
        for at_once in (False, True):
            seq = tasks.put("p", "hold", str(tmp_path / "never"), "stubborn")
            number = tasks.expect(seq, "ok")["id"]
            pid = mtd.reports.expect("begin", id=number)["pid"]
            assert call(mtd, "Cancel", ids=[number], now=at_once)["asked"] == 1
            end = tasks.expect(seq, "end")
            assert (end["state"], end["reason"]) == ("cancelled", "user")
            assert wait_gone(pid)
        assert tasks.run("p", "echo")["state"] == "done"


# ---- clients


def test_a_client_that_went_before_its_answer_puts_the_same_task_again(tmp_path):
    ledger = tmp_path / "ledger"
    spec = task_pool(1)
    spec["env"]["LEDGER"] = str(ledger)
    with Mtd({"p": spec}) as mtd:
        for _ in range(20):
            with Tasks(mtd) as tasks:
                tasks.put("p", "chaos", 1, uid="once")  # and is gone
        with Tasks(mtd) as tasks:
            seq = tasks.put("p", "chaos", 1, uid="once")
            assert tasks.expect(seq, "end")["result"] == 1
            number = tasks.expect(seq, "ok")["id"]
        assert [line.split()[1] for line in ledger.read_text().splitlines()] == [str(number)]
        assert len(call(mtd, "List", pool="p")["tasks"]) == 1


# ---- mtd


def test_a_queue_stays_paused_or_closed_whatever_dies():
    with Mtd({"p": task_pool(1), "q": task_pool(1)}) as mtd:
        mtd.wait_ready()
        call(mtd, "Pause", pool="p")
        assert call(mtd, "Drain", pool="q", close=True, wait=False)["remaining"] == 0
        for _ in range(2):
            kill_broker(mtd.keeper)
            mtd.kill_supervisor()
            with Tasks(mtd) as tasks:
                waiting = tasks.put("p", "echo", 1)
                tasks.expect(waiting, "ok")
                assert queue(mtd, "p")["paused"] and tasks.refused("q", "echo", 2)["error"] == "NotAccepting"
                assert queue(mtd, "p")["waiting"] > 0
        call(mtd, "Resume", pool="q")
        call(mtd, "Resume", pool="p")
        kill_broker(mtd.keeper)
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 3)["state"] == "done" and tasks.run("q", "echo", 4)["state"] == "done"


def test_kill_of_all_of_mtd_loses_nothing(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            running = tasks.expect(tasks.put("p", "hold", str(gate), uid="r"), "ok")["id"]
            worker = mtd.reports.expect("begin", id=running)["pid"]
            waiting = [tasks.expect(tasks.put("p", "echo", n, uid=f"w{n}"), "ok")["id"] for n in range(5)]
        mtd.kill_whole()
        kill_broker(os.getpid())
        mtd.start()
        assert not is_alive(worker), "what was left has been ended first"
        gate.write_text("")
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=running), "end")["state"] == "done"
            for n, number in enumerate(waiting):
                assert tasks.expect(tasks.wait(id=number), "end")["result"] == [n]
            again = tasks.put("p", "echo", 0, uid="w0")
            assert tasks.expect(again, "ok")["existed"]
        task = shown(mtd, running)
        assert (task["attempt"], task["recoveries"], task["crashes"], task["failures"]) == (2, 1, 0, 0)
        assert task["history"][0]["outcome"] == "interrupted"


def test_a_task_that_is_revived_runs_again_even_if_the_broker_is_killed_then(tmp_path):
    """Its attempts are counted on: a worker that has had attempt 1 is not told to do attempt 1 again."""
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            end = tasks.run("p", "fail", "no")
            assert end["state"] == "dead"
        for attempt in (2, 3):
            assert call(mtd, "Retry", ids=[end["id"]])["count"] == 1
            kill_broker(mtd.keeper)
            with Tasks(mtd) as tasks:
                again = tasks.expect(tasks.wait(id=end["id"]), "end")
            assert (again["state"], again["attempts"]) == ("dead", attempt)
            assert shown(mtd, end["id"])["failures"] == 1


def test_an_upgrade_moves_no_task(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        running = tasks.put("p", "hold", str(gate))
        number = tasks.expect(running, "ok")["id"]
        worker = mtd.reports.expect("begin", id=number)["pid"]
        waiting = tasks.put("p", "echo", "after")
        supervisor = mtd.supervisor()
        mtd.ctl("upgrade")
        mtd.reconnect(supervisor)
        gate.write_text("")
        assert tasks.expect(running, "end")["attempts"] == 1
        assert tasks.expect(waiting, "end")["result"] == ["after"]
        assert mtd.pids("p") == [worker]


# ---- starts


def test_tasks_wait_for_workers_that_do_not_become_ready():
    silent = pool(SLEEPER, tasks={}, start_timeout="200ms")
    crashing = pool(["/bin/false"], tasks={})
    with Mtd({"silent": silent, "crashing": crashing}) as mtd, Tasks(mtd) as tasks:
        for name in ("silent", "crashing"):
            tasks.expect(tasks.put(name, "echo"), "ok")
        mtd.until(lambda: mtd.pool("silent")["workers"][0]["last_exit"], what="its start took too long")
        mtd.until(lambda: mtd.pool("crashing")["restarts"] >= 3, what="it has crashed")
        for name in ("silent", "crashing"):
            assert (queue(mtd, name)["waiting"], queue(mtd, name)["running"]) == (1, 0)
            assert call(mtd, "List", pool=name)["tasks"][0]["attempt"] == 0
        assert "timeout" in mtd.ctl("why", "silent").stdout


# ---- the disk


@contextlib.contextmanager
def failing_syncs(mtd):
    """Of the broker, which is killed at the end."""
    tracer = subprocess.Popen(["strace", "-f", "-p", str(broker_pid(mtd.keeper)), "-e", "trace=fsync,fdatasync", "-e",
                               "inject=fsync,fdatasync:error=EIO"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        line = tracer.stderr.readline()
        if "attached" not in line:
            pytest.skip(f"strace cannot attach here: {line.strip()}")
        yield
    finally:
        kill_broker(mtd.keeper)
        tracer.kill()
        tracer.communicate()


def test_an_fsync_that_fails_is_never_acknowledged(root, strace):
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            kept = tasks.run("p", "echo", "kept")["id"]
            with failing_syncs(mtd):
                assert tasks.refused("p", "echo", "lost?", uid="u")["error"] == "StoreFailed"
                assert tasks.refused("p", "echo", "more")["error"] == "StoreFailed"
                assert call(mtd, "Stats")["store"]["state"] == "failed"
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=kept), "end")["result"] == ["kept"]
            assert tasks.run("p", "echo", 1, uid="u")["state"] == "done"


def test_a_damaged_database_is_set_aside_and_told():
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo")["state"] == "done"
        directory = os.path.join(mtd.state, "tasks")
        mtd.kill_whole()
        kill_broker(os.getpid())
        with open(directory + "/tasks.db", "r+b") as file:
            file.write(b"x" * 4096)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(directory + "/tasks.db-wal")
        mtd.start()
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", "new")["result"] == ["new"]
        assert [name for name in os.listdir(directory) if name.startswith("tasks.db.bad.")]
        assert "is damaged" in mtd.log() and "an empty one was begun" in mtd.log()
