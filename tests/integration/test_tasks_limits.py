"""Tasks at their limits: large results, sockets that are closed, memory."""
import os

import pytest
from harness import Mtd, eventually, is_alive
from tasks import Tasks, call, kill_broker, task_pool

PART = 60 * 1024


def history(mtd, number):
    return call(mtd, "Show", id=number)["task"]["history"]


def test_an_answer_in_parts_survives_a_kill_of_the_broker(tmp_path):
    """At the worst moment: half of it was taken out of the socket, the rest is not there yet; and again after all of it."""
    gate, size = tmp_path / "gate", 20 * PART
    with Mtd({"p": task_pool(1, tasks={"max_result": "2M"})}) as mtd:
        spool = os.path.join(mtd.state, "tasks", "parts")
        with Tasks(mtd) as tasks:
            number = tasks.expect(tasks.put("p", "parts", size, str(gate)), "ok")["id"]
            pid = mtd.reports.expect("half", id=number)["pid"]
            file = os.path.join(spool, f"{number}.1")
            eventually(lambda: os.path.exists(file) and os.path.getsize(file) > 10 * PART, what="half of the parts are taken")
            kill_broker(mtd.keeper)
            gate.write_text("")
        with Tasks(mtd) as tasks:
            end = tasks.expect(tasks.wait(id=number), "end")
            assert end["state"] == "done" and end["attempts"] == 1
            assert end["data"] == bytes(i % 251 for i in range(size))
            assert tasks.run("p", "echo", 1)["state"] == "done"
            assert mtd.pids("p") == [pid], "the worker was not blamed"
        assert os.listdir(spool) == []


def test_parts_of_a_worker_that_died_are_not_kept(tmp_path):
    with Mtd({"p": task_pool(1, tasks={"max_crashes": 1})}) as mtd, Tasks(mtd) as tasks:
        seq = tasks.put("p", "parts", 4 * PART, str(tmp_path / "never"))
        number = tasks.expect(seq, "ok")["id"]
        pid = mtd.reports.expect("half", id=number)["pid"]
        spool = os.path.join(mtd.state, "tasks", "parts")
        eventually(lambda: os.path.exists(spool) and os.listdir(spool), what="the parts are kept")
        mtd.kill(pid)
        assert tasks.expect(seq, "end")["state"] == "dead"
        eventually(lambda: os.listdir(spool) == [], what="the parts are gone")


def test_a_worker_that_closes_its_socket_and_lives_is_replaced():
    """At work: its task has crashed. At rest: the next task is another worker's."""
    with Mtd({"busy": task_pool(1, tasks={"max_crashes": 1}), "idle": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        lost = tasks.put("busy", "deaf")
        assert tasks.run("idle", "leave")["state"] == "done"
        before = mtd.reports.expect("begin", count=2)
        later = tasks.put("idle", "echo", "later")
        end = tasks.expect(lost, "end")
        assert (end["state"], end["reason"]) == ("dead", "crash")
        assert history(mtd, end["id"])[0]["detail"] == "protocol"
        assert tasks.expect(later, "end")["result"] == ["later"]
        assert not [report["pid"] for report in before if is_alive(report["pid"])]
        for name in ("busy", "idle"):
            assert mtd.until(lambda: mtd.workers(name)[0]["last_exit"], what="its end is known")["cause"] == "task_protocol"


def test_a_result_that_is_too_big_says_how_big():
    with Mtd({"p": task_pool(1, tasks={"max_result": "100K"})}) as mtd, Tasks(mtd) as tasks:
        end = tasks.run("p", "size", 200_000)
        assert (end["state"], end["reason"]) == ("dead", "too_big")
        assert end["error"] == {"type": "ResultTooBig",
                                "message": "the result has 200000 bytes, tasks.max_result of pool p allows 102400"}
        assert call(mtd, "Show", id=end["id"])["task"]["error"] == end["error"]


def test_a_kill_for_want_of_memory_is_told_of_its_task(cgroups):
    with Mtd({"p": task_pool(1, tasks={"max_crashes": 1})}) as mtd, Tasks(mtd) as tasks:
        path = mtd.workers("p")[0].get("cgroup") or ""
        if not os.path.exists(os.path.join(path, "memory.max")):
            pytest.skip("no memory controller for mtd on this machine")
        mtd.pools["p"]["cgroup"] = {"memory_max": "64M"}
        mtd.write_config()
        mtd.ctl("reload")
        end = tasks.run("p", "eat", 400)
        assert (end["state"], end["reason"]) == ("dead", "crash")
        assert "want of memory" in end["error"]["message"]
        assert history(mtd, end["id"])[0]["detail"] == "oom"
