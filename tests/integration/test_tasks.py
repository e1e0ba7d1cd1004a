"""Tasks through the broker: every row of what can happen to one, and what a kill -9 leaves."""
import os
import signal

import pytest
from harness import Mtd, VarlinkError, eventually, is_alive, wait_gone
from tasks import Tasks, broker_pid, call, queue, task_pool, tasks_socket


def begun(mtd, seq_id):
    """Waits until a worker has the task; its pid."""
    return mtd.reports.expect("begin", id=seq_id)["pid"]


# ---- what a task may do


def test_a_task_is_done_and_its_result_comes_back():
    with Mtd({"p": task_pool(2)}) as mtd, Tasks(mtd) as tasks:
        assert tasks.opened["pools"] == ["p"] and tasks.opened["proto"] == 1
        end = tasks.run("p", "echo", 1, {"a": [None, True]}, name="greet")
        assert end["state"] == "done" and end["result"] == [1, {"a": [None, True]}]
        assert queue(mtd)["done"] == 1


def test_many_tasks_over_many_workers():
    with Mtd({"p": task_pool(4)}) as mtd, Tasks(mtd) as tasks:
        seqs = [tasks.put("p", "echo", i) for i in range(500)]
        assert [end["result"] for end in tasks.ends(seqs)] == [[i] for i in range(500)]


def test_several_tasks_at_once_in_one_worker(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(1, credit=3)}) as mtd, Tasks(mtd) as tasks:
        seqs = [tasks.put("p", "hold", str(gate)) for _ in range(4)]
        begun(mtd, tasks.expect(seqs[0], "ok")["id"])
        mtd.until(lambda: queue(mtd)["running"] == 3, what="three run")
        assert queue(mtd)["waiting"] == 1
        gate.write_text("")
        assert all(end["state"] == "done" for end in tasks.ends(seqs))


def test_bodies_of_every_size():
    with Mtd({"p": task_pool(1, tasks={"max_body": "2M", "max_result": "2M"})}) as mtd, Tasks(mtd) as tasks:
        for size in (0, 1, 60 * 1024, 65536, 300_000, 2 << 20):
            body = os.urandom(size)
            end = tasks.run("p", "body", body=body)
            assert end["state"] == "done" and end.get("data", b"") == body, size
        assert tasks.expect(tasks.put("p", "body", body=b"x" * 100, watch=False), "ok")
        with pytest.raises((AssertionError, ConnectionError)):
            tasks.run("p", "body", body=b"x" * ((2 << 20) + 1))


def test_failures_are_repeated_until_they_are_dead():
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        once = tasks.run("p", "fail", "no way")
        assert once["state"] == "dead" and once["error"]["message"] == "no way" and once["error"]["type"] == "Test"
        thrice = tasks.run("p", "fail", "again", "retry")
        assert thrice["state"] == "dead"
        shown = call(mtd, "Show", id=thrice["id"])["task"]
        assert shown["failures"] == 3 and [a["outcome"] for a in shown["history"]] == ["failed"] * 3
        assert mtd.pool("p")["restarts"] == 0


@pytest.mark.parametrize("deed, reason", [(("exit", 3), "exit 3"), (("signal", 9), "signal 9"), (("signal", 11), "signal 11"),
                                          (("exit", 0), "exit 0"), (("half",), "exit 0")])
def test_a_worker_that_dies_costs_its_task_an_attempt(deed, reason):
    with Mtd({"p": task_pool(1, tasks={"max_crashes": 2})}) as mtd, Tasks(mtd) as tasks:
        end = tasks.run("p", *deed)
        assert end["state"] == "dead" and end["reason"] == "crash"
        shown = call(mtd, "Show", id=end["id"])["task"]
        assert shown["crashes"] == 2 and shown["history"][0]["detail"] == reason
        assert tasks.run("p", "echo", "next")["state"] == "done"
        assert mtd.pool("p")["restarts"] == 2


def test_the_task_of_a_killed_worker_waits_for_no_clock_and_no_replacement(tmp_path):
    keys = {"backoff": {"initial": "1h", "max": "1h"}, "tasks": {"max_crashes": 2}}
    with Mtd({"p": task_pool(2, **keys)}) as mtd, Tasks(mtd) as tasks:
        seq = tasks.put("p", "hold", str(tmp_path / "never"))
        number = tasks.expect(seq, "ok")["id"]
        first = mtd.reports.expect("begin", id=number, attempt=1)["pid"]
        os.kill(first, signal.SIGKILL)
        second = mtd.reports.expect("begin", id=number, attempt=2)["pid"]  # at the other worker, at once
        assert second != first and mtd.pids("p") == [second]
        os.kill(second, signal.SIGKILL)
        end = tasks.expect(seq, "end")  # told, though nobody is left
        assert (end["state"], end["reason"], end["signal"], end["attempts"]) == ("dead", "crash", 9, 2)
        assert mtd.until(lambda: [w["state"] for w in mtd.workers("p")] == ["backoff"] * 2, what="nobody was replaced")
        assert queue(mtd)["crashed_attempts"] == 2 and queue(mtd)["dead"] == 1


def test_nonsense_ends_the_worker_and_costs_an_attempt():
    with Mtd({"p": task_pool(1, tasks={"max_crashes": 1})}) as mtd, Tasks(mtd) as tasks:
        end = tasks.run("p", "nonsense")
        assert end["state"] == "dead"
        assert call(mtd, "Show", id=end["id"])["task"]["history"][0]["detail"] == "protocol"
        assert tasks.run("p", "echo", "next")["state"] == "done"
        assert "speaks no mtd-task/1" in mtd.log()


def test_a_late_answer_is_refused():
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        first = tasks.run("p", "echo", 1)
        end = tasks.run("p", "twice", 2)
        assert end["result"] == [2]
        assert first["state"] == tasks.run("p", "echo")["state"] == "done"
        mtd.until(lambda: queue(mtd)["stale_answers"] == 1, what="the second answer is counted")


# ---- time


def test_a_task_that_takes_too_long_is_told_then_killed(tmp_path):
    keys = {"tasks": {"timeout": "300ms", "grace": "300ms", "max_attempts": 1}}
    with Mtd({"p": task_pool(1, **keys)}) as mtd, Tasks(mtd) as tasks:
        gives_up = tasks.run("p", "hold", str(tmp_path / "never"))
        assert gives_up["state"] == "dead" and gives_up["reason"] == "timeout"
        assert mtd.pool("p")["restarts"] == 0
        pid = mtd.pids("p")[0]
        stays = tasks.run("p", "hold", str(tmp_path / "never"), "stubborn")
        assert stays["state"] == "dead" and stays["reason"] == "timeout"
        assert wait_gone(pid)
        exits = mtd.until(lambda: mtd.workers("p")[0]["last_exit"], what="the worker's end is known")
        assert exits["cause"] == "task_timeout" and exits["planned"]


# ---- cancelling


def test_waiting_and_running_tasks_are_cancelled(tmp_path):
    gate = str(tmp_path / "gate")
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        running, waiting = tasks.put("p", "hold", gate), tasks.put("p", "echo")
        running_id, waiting_id = tasks.expect(running, "ok")["id"], tasks.expect(waiting, "ok")["id"]
        begun(mtd, running_id)
        done = call(mtd, "Cancel", ids=[running_id, waiting_id, 12345])
        assert done == {"cancelled": 1, "asked": 1, "finished": 1}
        for seq in (running, waiting):
            end = tasks.expect(seq, "end")
            assert end["state"] == "cancelled" and end["reason"] == "user"
        assert tasks.run("p", "echo")["state"] == "done"


def test_attached_tasks_go_with_their_client(tmp_path):
    gate = str(tmp_path / "gate")
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            ids = [tasks.expect(tasks.put("p", "hold", gate, attached=True), "ok")["id"] for _ in range(3)]
            kept = tasks.expect(tasks.put("p", "echo", "kept"), "ok")["id"]
            begun(mtd, ids[0])
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=kept), "end")["result"] == ["kept"]
            for each in ids:
                end = tasks.expect(tasks.wait(id=each), "end")
                assert end["state"] == "cancelled" and end["reason"] == "detached"


# ---- the queue


def test_the_same_uid_is_the_same_task():
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        first = tasks.put("p", "echo", 1, uid="mine")
        assert tasks.expect(first, "end")["result"] == [1]
        number = tasks.expect(first, "ok")["id"]
        again = tasks.put("p", "echo", 2, uid="mine")
        assert tasks.expect(again, "ok") == {"t": "ok", "seq": again, "id": number, "existed": True}
        assert tasks.expect(again, "end")["result"] == [1]
        assert tasks.expect(tasks.wait(uid="mine"), "end")["id"] == number
        assert tasks.expect(tasks.wait(uid="nobody's"), "no")["error"] == "NoSuchTask"


def test_a_full_queue_refuses_or_makes_wait(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(1, tasks={"max_queue": 2})}) as mtd, Tasks(mtd) as tasks:
        running = tasks.put("p", "hold", str(gate))
        begun(mtd, tasks.expect(running, "ok")["id"])
        waiting = [tasks.put("p", "echo", i) for i in range(2)]
        for seq in waiting:
            tasks.expect(seq, "ok")
        refused = tasks.expect(tasks.put("p", "echo"), "no")
        assert refused["error"] == "QueueFull" and refused["retry_ms"] > 0
        assert tasks.expect(tasks.put("p", "echo", block_ms=50), "no")["error"] == "QueueFull"
        patient = tasks.put("p", "echo", "patient", block_ms=-1)
        gate.write_text("")
        assert tasks.expect(patient, "end")["result"] == ["patient"]
        assert queue(mtd)["rejected"] == 2


def test_pause_resume_drain_and_close():
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        call(mtd, "Pause", pool="p")
        seqs = [tasks.put("p", "echo", i) for i in range(3)]
        for seq in seqs:
            tasks.expect(seq, "ok")
        assert queue(mtd)["waiting"] == 3 and queue(mtd)["paused"]
        assert mtd.pool("p")["queue"]["waiting"] == 3
        assert call(mtd, "Drain", pool="p", close=True, wait=False) == {"remaining": 3}
        assert tasks.expect(tasks.put("p", "echo"), "no")["error"] == "NotAccepting"
        call(mtd, "Resume", pool="p")
        assert [e["result"] for e in tasks.ends(seqs)] == [[0], [1], [2]]
        assert call(mtd, "Drain", pool="p") == {"remaining": 0}
        assert tasks.run("p", "echo")["state"] == "done"


def test_dead_tasks_are_listed_repeated_and_removed(tmp_path):
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        ends = [tasks.run("p", "fail", str(i)) for i in range(3)]
        dead = call(mtd, "List", pool="p", states=["dead"])["tasks"]
        assert [t["id"] for t in dead] == [e["id"] for e in ends] and dead[0]["error"]["message"] == "0"
        again = tasks.put("p", "echo")
        tasks.expect(again, "end")
        assert call(mtd, "Retry", ids=[ends[0]["id"]]) == {"count": 1}
        assert tasks.expect(tasks.wait(id=ends[0]["id"]), "end")["state"] == "dead"
        assert call(mtd, "Remove", ids=[ends[0]["id"]]) == {"count": 1}
        assert call(mtd, "Remove", pool="p") == {"count": 2}
        assert call(mtd, "List", pool="p", states=["dead"])["tasks"] == []


def test_wrong_input_is_told():
    with Mtd({"p": task_pool(1), "q": {"command": ["/bin/sleep", "infinity"]}}) as mtd, Tasks(mtd) as tasks:
        assert tasks.expect(tasks.put("none", "echo"), "no")["error"] == "NoSuchPool"
        assert tasks.expect(tasks.put("q", "echo"), "no")["error"] == "NoSuchPool"
        wrong = tasks.expect(tasks.put("p", "echo", prority=3), "no")
        assert wrong["error"] == "BadRequest" and "prority" in wrong["message"]
        assert "priority" in tasks.expect(tasks.put("p", "echo", priority=1000), "no")["message"]
        for method, parameters, error in (("Pause", {"pool": "q"}, "NoSuchPool"), ("Show", {"id": 99}, "NoSuchTask"),
                                          ("List", {"states": ["dood"]}, "InvalidParameter"), ("Cancel", {}, "InvalidParameter")):
            with pytest.raises(VarlinkError) as raised:
                call(mtd, method, **parameters)
            assert raised.value.error.endswith(error), method
        tasks.sock.sendall(b"no json\n")
        assert tasks.expect(None, "no")["error"] == "BadRequest"
        with pytest.raises(ConnectionError):
            tasks.run("p", "echo")


# ---- workers that are replaced


def test_max_tasks_is_exact_and_a_replacement_comes_first():
    with Mtd({"p": task_pool(1, recycle={"max_tasks": 5, "jitter": 0})}) as mtd, Tasks(mtd) as tasks:
        ends = [tasks.run("p", "echo", i) for i in range(17)]
        assert all(end["state"] == "done" for end in ends)
        by_pid = {}
        for report in mtd.reports.expect("begin", count=17):
            by_pid.setdefault(report["pid"], []).append(report)
        assert sorted(len(each) for each in by_pid.values()) == [2, 5, 5, 5]
        mtd.wait_pool("p", recycled=3, restarts=0)


@pytest.mark.parametrize("change", ["stop", "restart", "scale"])
def test_a_task_comes_to_its_end_before_its_worker_is_stopped(change, tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(1, stop={"timeout": "20s"})}) as mtd, Tasks(mtd) as tasks:
        running = tasks.put("p", "hold", str(gate))
        pid = begun(mtd, tasks.expect(running, "ok")["id"])
        words = {"stop": ("stop", "p"), "restart": ("restart", "p"), "scale": ("scale", "p", "0")}[change]
        mtd.ctl(*words, "--no-wait")
        mtd.reports.expect("drain")
        assert is_alive(pid)
        waiting = tasks.put("p", "echo", "later")
        tasks.expect(waiting, "ok")
        gate.write_text("")
        assert tasks.expect(running, "end")["state"] == "done"
        assert wait_gone(pid)
        if change != "restart":
            assert queue(mtd)["waiting"] == 1
            mtd.ctl(*{"stop": ("start", "p"), "scale": ("scale", "p", "1")}[change])
        assert tasks.expect(waiting, "end")["result"] == ["later"]
        assert call(mtd, "Show", id=1)["task"]["attempt"] == 1


def test_a_stop_that_cannot_wait_gives_the_task_back(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(1, tasks={"max_crashes": 1})}) as mtd, Tasks(mtd) as tasks:
        running = tasks.put("p", "hold", str(gate))
        number = tasks.expect(running, "ok")["id"]
        begun(mtd, number)
        mtd.ctl("stop", "--now", "p")
        mtd.until(lambda: queue(mtd)["waiting"] == 1, what="the task waits again")
        gate.write_text("")
        mtd.ctl("start", "p")
        assert tasks.expect(running, "end")["state"] == "done"
        shown = call(mtd, "Show", id=number)["task"]
        assert (shown["crashes"], shown["recoveries"], shown["attempt"]) == (0, 1, 2)


def test_status_shows_who_works(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(2)}) as mtd, Tasks(mtd) as tasks:
        mtd.wait_ready("p")
        seq = tasks.put("p", "hold", str(gate))
        number = tasks.expect(seq, "ok")["id"]
        begun(mtd, number)
        pool = mtd.pool("p")
        assert (pool["busy"], pool["idle"], pool["queue"]["running"]) == (1, 1, 1)
        assert sorted(w["state"] for w in pool["workers"]) == ["busy", "idle"]
        assert [w["current_task"] for w in pool["workers"] if w["state"] == "busy"] == [str(number)]
        gate.write_text("")
        tasks.expect(seq, "end")
        assert sum(w["tasks"] for w in mtd.workers("p")) == 1


# ---- kill -9


def test_kill_of_the_broker_loses_nothing(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(2)}) as mtd:
        mtd.wait_ready("p")
        pids = mtd.pids("p")
        with Tasks(mtd) as tasks:
            running = [tasks.expect(tasks.put("p", "hold", str(gate), uid=f"r{i}"), "ok")["id"] for i in range(2)]
            for each in running:
                begun(mtd, each)
            waiting = [tasks.expect(tasks.put("p", "echo", i, uid=f"w{i}"), "ok")["id"] for i in range(20)]
        broker = broker_pid(mtd.keeper)
        os.kill(broker, signal.SIGKILL)
        assert wait_gone(broker)
        gate.write_text("")  # the answers come while nobody reads them
        with Tasks(mtd) as tasks:
            for i, each in enumerate(waiting):
                assert tasks.expect(tasks.wait(id=each), "end")["result"] == [i]
            for each in running:
                assert tasks.expect(tasks.wait(id=each), "end")["state"] == "done"
                assert call(mtd, "Show", id=each)["task"]["attempt"] == 1
        assert mtd.pids("p") == pids, "no worker was touched"


def test_kill_of_the_supervisor_is_not_noticed_by_tasks(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(2)}) as mtd, Tasks(mtd) as tasks:
        seq = tasks.put("p", "hold", str(gate))
        begun(mtd, tasks.expect(seq, "ok")["id"])
        broker, pids = broker_pid(mtd.keeper), mtd.pids("p")
        mtd.kill_supervisor()
        assert tasks.run("p", "echo", "meanwhile")["state"] == "done"
        gate.write_text("")
        assert tasks.expect(seq, "end")["state"] == "done"
        assert broker_pid(mtd.keeper) == broker and mtd.pids("p") == pids
        mtd.kill(pids[0])
        assert tasks.run("p", "echo", "after")["state"] == "done"


def test_kill_of_both_loses_nothing(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(2)}) as mtd:
        with Tasks(mtd) as tasks:
            held = tasks.expect(tasks.put("p", "hold", str(gate)), "ok")["id"]
            begun(mtd, held)
            waiting = [tasks.expect(tasks.put("p", "echo", i), "ok")["id"] for i in range(10)]
        broker, supervisor = broker_pid(mtd.keeper), mtd.supervisor()
        os.kill(supervisor, signal.SIGKILL)
        os.kill(broker, signal.SIGKILL)
        assert wait_gone(broker) and wait_gone(supervisor)
        mtd.reconnect(supervisor)
        gate.write_text("")
        eventually(lambda: os.path.exists(tasks_socket(mtd)), what="the socket")
        with Tasks(mtd) as tasks:
            for each in [held, *waiting]:
                assert tasks.expect(tasks.wait(id=each), "end")["state"] == "done"


def test_a_worker_killed_while_nobody_looks(tmp_path):
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            held = tasks.expect(tasks.put("p", "hold", str(tmp_path / "gate")), "ok")["id"]
            worker = begun(mtd, held)
        broker, supervisor = broker_pid(mtd.keeper), mtd.supervisor()
        for pid in (supervisor, broker, worker):
            os.kill(pid, signal.SIGKILL)
        assert wait_gone(worker)
        (tmp_path / "gate").write_text("")
        mtd.reconnect(supervisor)
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=held), "end")["state"] == "done"
        assert call(mtd, "Show", id=held)["task"]["attempt"] == 2
