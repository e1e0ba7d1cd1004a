"""Tasks at their limits: large results, sockets that are closed, memory."""
import os
import subprocess
import sys

import pytest
from harness import BIN, ROOT, Mtd, eventually, is_alive, pool
from tasks import Tasks, broker_pid, call, kill_broker, task_pool

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


def test_a_result_for_which_there_is_no_room_says_why_and_leaves_nothing():
    mtd = Mtd({"p": task_pool(1, tasks={"max_result": "100K"})}, daemon={"tasks": {"quota": "16M"}})
    with mtd, Tasks(mtd) as tasks:
        pid = mtd.wait_pool("p", ready=1) and mtd.pids("p")
        end = tasks.run("p", "size", 20 << 20)
        assert (end["state"], end["reason"]) == ("dead", "too_big")
        assert end["error"] == {"type": "ResultTooBig",
                                "message": f"the result has {20 << 20} bytes and cannot be kept: tasks.quota allows 16M for all tasks"}
        assert call(mtd, "Show", id=end["id"])["task"]["error"] == end["error"]
        assert os.listdir(os.path.join(mtd.state, "tasks", "parts")) == []
        end = tasks.run("p", "size", 8 << 20)  # there is room again
        assert end["state"] == "done" and end["data"] == b"x" * (8 << 20)
        assert mtd.pids("p") == pid, "nobody is to blame"


def test_a_result_for_which_there_was_no_room_blames_nobody_though_the_broker_is_killed_in_its_middle(tmp_path):
    gate = tmp_path / "gate"
    mtd = Mtd({"p": task_pool(1, tasks={"max_result": "100K", "max_crashes": 1})}, daemon={"tasks": {"quota": "16M"}})
    with mtd:
        pid = mtd.wait_pool("p", ready=1) and mtd.pids("p")
        with Tasks(mtd) as tasks:
            number = tasks.expect(tasks.put("p", "parts", 40 << 20, str(gate)), "ok")["id"]
            mtd.reports.expect("half", id=number)
            later = tasks.wait(id=tasks.expect(tasks.put("p", "echo", "later"), "ok")["id"])
            eventually(lambda: files(mtd) == [], what="there was no room, and what was there is gone")
            kill_broker(mtd.keeper)
            gate.write_text("")
        with Tasks(mtd) as tasks:
            end = tasks.expect(tasks.wait(id=number), "end")
            assert (end["state"], end["reason"], end["attempts"]) == ("dead", "too_big", 1)
            assert end["error"] == {"type": "ResultTooBig", "message": "the result cannot be kept: an earlier broker could not keep parts of it"}
            assert tasks.run("p", "echo", "next")["state"] == "done"
            assert mtd.pids("p") == pid, "nobody is to blame"


def bytes_of(count):
    return bytes(i % 251 for i in range(count))


def files(mtd):
    try:
        return sorted(os.listdir(os.path.join(mtd.state, "tasks", "parts")))
    except FileNotFoundError:
        return []


LARGE = 20 << 20


def test_a_large_result_goes_to_a_file_and_comes_whole_whatever_dies(tmp_path):
    """The broker in the middle of its parts, and again before it is asked for; then all of mtd. It goes with its task."""
    gate, whole = tmp_path / "gate", bytes_of(LARGE)
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            number = tasks.expect(tasks.put("p", "parts", LARGE, str(gate)), "ok")["id"]
            mtd.reports.expect("half", id=number)
            file = os.path.join(mtd.state, "tasks", "parts", f"{number}.1")
            eventually(lambda: os.path.exists(file) and os.path.getsize(file) >= (LARGE // PART // 2) * PART, what="half of it is taken")
            memory = broker_memory(mtd)
            kill_broker(mtd.keeper)
            gate.write_text("")
        with Tasks(mtd) as tasks:
            end = tasks.expect(tasks.wait(id=number), "end")
            assert (end["state"], end["attempts"]) == ("done", 1) and end["data"] == whole
            assert broker_memory(mtd) < memory + (LARGE >> 11), "it is never in memory as a whole"
            assert files(mtd) == [f"{number}.1"]
            kill_broker(mtd.keeper)
        with Tasks(mtd) as tasks:
            waits = [tasks.wait(id=number) for _ in range(3)]
            assert all(end["data"] == whole for end in tasks.ends(waits))
        shown = subprocess.run([os.path.join(BIN, "mtctl"), "-s", mtd.socket, "result", str(number)], capture_output=True, check=True)
        assert shown.stdout == whole
        mtd.kill_whole()
        kill_broker(os.getpid())
        mtd.start()
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=number), "end")["data"] == whole
            assert call(mtd, "Remove", ids=[number])["count"] == 1
            eventually(lambda: files(mtd) == [], what="its file is gone")


@pytest.mark.parametrize("durability", ["fsync", "memory"])
def test_files_of_results_go_with_their_tasks(durability):
    tasks_keys = {"durability": durability, "result_ttl": "1s"}
    with Mtd({"p": task_pool(2, tasks=tasks_keys), "kept": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        kept = tasks.run("kept", "size", 2 << 20)
        for _ in range(3):
            assert len(tasks.run("p", "size", 3 << 20)["data"]) == 3 << 20
        eventually(lambda: files(mtd) == [f"{kept['id']}.1"], what="they have been kept long enough")
        forgotten = tasks.run("p", "size", 3 << 20)
        tasks.send(t="forget", id=forgotten["id"])
        eventually(lambda: files(mtd) == [f"{kept['id']}.1"], what="it is forgotten")
        with open(os.path.join(mtd.state, "tasks", "parts", "12345.1"), "w") as stray:
            stray.write("of a broker that died before it could remove it")
        kill_broker(mtd.keeper)
        eventually(lambda: files(mtd) == [f"{kept['id']}.1"], what="what nobody needs is removed")


def test_a_large_result_that_is_lost_is_told():
    with Mtd({"p": task_pool(1)}) as mtd, Tasks(mtd) as tasks:
        number = tasks.run("p", "size", 2 << 20)["id"]
        os.truncate(os.path.join(mtd.state, "tasks", "parts", f"{number}.1"), 1 << 20)
        end = tasks.expect(tasks.wait(id=number), "end")
        assert end["state"] == "dead" and end["error"]["type"] == "ResultLost" and "result is lost" in end["error"]["message"]


def test_large_results_of_commands_and_of_pool(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(f"""
import mtd

def large(n):
    return bytes(n)

if __name__ == "__main__":
    with mtd.Pool(2) as pool:
        assert [len(data) for data in pool.map(large, [{LARGE}, {LARGE}])] == [{LARGE}] * 2
    with mtd.Client() as client:
        future = client.submit("command", str({LARGE}))
        assert future.result(timeout=600) == bytes({LARGE}), "of mtd.Client"
""")
    pools = {"command": pool(["/bin/sh", "-c", "head -c $$1 /dev/zero", "sh"], workers=1, tasks={"mode": "exec"})}
    with Mtd(pools) as mtd:
        mtd.wait_ready()
        done = subprocess.run([os.path.join(BIN, "mtctl"), "-s", mtd.socket, "run", "command", str(LARGE)], capture_output=True, check=True)
        assert done.stdout == bytes(LARGE)
        environment = {**os.environ, "MTD_PROGRAM": os.path.join(BIN, "mtd"), "MTD_SOCKET": mtd.runtime,
                       "PYTHONPATH": os.path.join(ROOT, "client", "python")}
        done = subprocess.run([sys.executable, "-B", str(script)], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        eventually(lambda: files(mtd) == [], what="what was told is forgotten")


def broker_memory(mtd):
    """KiB of its own that are in memory."""
    with open(f"/proc/{broker_pid(mtd.keeper)}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


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
