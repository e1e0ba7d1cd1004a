"""Dynamic pools: as many workers as are busy and some spare ones, from none on demand, within what all pools may have."""
import os
import signal
import socket

from harness import PATIENCE, Mtd, cpu_seconds, is_alive, pool
from tasks import Tasks, call, kill_broker, task_pool
from test_listen import LOCAL, ask, free_port

BUSY, IDLE = signal.SIGRTMIN, signal.SIGRTMIN + 1


def dynamic(actor, minimum, maximum, spare=1, quiet="300ms", **keys):
    return pool([actor, "notify=X_MTD_BUSY=0", "wait"], overlap=True,
                workers={"min": minimum, "max": maximum, "spare": spare, "quiet": quiet}, **keys)


def make_busy(mtd, name, count):
    """So many of its workers say that they are busy, the others that they are idle."""
    for number, pid in enumerate(sorted(mtd.pids(name))):
        os.kill(pid, BUSY if number < count else IDLE)


def want(mtd, name="web"):
    return mtd.pool(name)["want"]


def test_grows_at_once_and_shrinks_to_what_is_needed(actor):
    with Mtd({"web": dynamic(actor, 1, 4)}) as mtd:
        mtd.reports.expect("waiting")
        first = mtd.pids("web")[0]
        os.kill(first, BUSY)
        mtd.events.expect(event="grown", detail="want 2")
        mtd.reports.expect("waiting")
        assert mtd.until(lambda: mtd.pool("web")["busy"] == 1)
        second = next(pid for pid in mtd.pids("web") if pid != first)
        os.kill(second, BUSY)
        mtd.reports.expect("waiting")
        mtd.until(lambda: mtd.pool("web")["ready"] == 3)
        shown = mtd.ctl("status").stdout
        assert "3[1-4]" in shown and mtd.pool("web")["scaling"]["need"] == 3
        assert {w["state"] for w in mtd.workers("web")} == {"busy", "idle"}
        os.kill(first, IDLE)
        mtd.events.expect(event="shrunk", detail="want 2")
        mtd.until(lambda: mtd.pool("web")["ready"] == 2 and len(mtd.pids("web")) == 2)
        assert is_alive(second), "a busy one is never ended for that"
        os.kill(second, IDLE)
        mtd.events.expect(event="shrunk", detail="want 1")
        mtd.until(lambda: len(mtd.pids("web")) == 1)
        exits = [e["last_exit"]["cause"] for e in mtd.events.drain() if e["event"] == "exited"]
        assert exits == ["scale_down", "scale_down"] and mtd.pool("web")["restarts"] == 0


def test_need_that_comes_and_goes_starts_and_ends_nothing(actor):
    with Mtd({"web": dynamic(actor, 1, 4, quiet="1h")}) as mtd:
        mtd.reports.expect("waiting")
        first = mtd.pids("web")[0]
        os.kill(first, BUSY)
        mtd.reports.expect("waiting")
        for _ in range(50):
            os.kill(first, IDLE)
            mtd.until(lambda: mtd.pool("web")["busy"] == 0)
            os.kill(first, BUSY)
            mtd.until(lambda: mtd.pool("web")["busy"] == 1)
        assert want(mtd) == 2
        assert len([e for e in mtd.events.drain() if e["event"] == "spawned"]) == 2
        assert "It is dynamic: from 1 to 4 workers, 1 spare; 1 is busy" in mtd.ctl("why", "web").stdout


def test_tasks_from_mtd_make_workers_busy(tmp_path):
    path = str(tmp_path / "go")
    spec = task_pool({"min": 1, "max": 4, "spare": 1, "quiet": "300ms"})
    with Mtd({"web": spec}) as mtd:
        mtd.wait_pool("web", ready=1)
        mtd.until(lambda: [w["state"] for w in mtd.workers("web")] == ["idle"], what="idle before it has had any")
        with Tasks(mtd) as tasks:
            seqs = [tasks.put("web", "hold", path) for _ in range(8)]
            mtd.reports.expect("begin", count=4)
            assert want(mtd) == 4 and mtd.pool("web")["busy"] == 4
            mtd.kill_supervisor()
            mtd.until(lambda: [w["state"] for w in mtd.workers("web")] == ["busy"] * 4)
            with open(path, "w"):
                pass
            assert all(end["state"] == "done" for end in tasks.ends(seqs)), "nothing is lost by growing and shrinking"
        mtd.events.expect(event="shrunk", pool="web", detail="want 1")
        mtd.until(lambda: len(mtd.pids("web")) == 1)
        assert mtd.pool("web")["restarts"] == 0


def test_the_first_task_starts_the_first_worker(tmp_path):
    """From none, whatever of mtd dies meanwhile; a pool that a person stopped stays so."""
    gate = tmp_path / "gate"
    with Mtd({"web": task_pool({"min": 0, "max": 3, "quiet": "300ms"})}) as mtd:
        tasks = Tasks(mtd)
        assert mtd.pids("web") == [] and "starts with the next task" in mtd.ctl("status").stdout
        assert "one is started with the next task" in mtd.ctl("why", "web").stdout
        assert tasks.run("web", "echo", 1)["state"] == "done"
        mtd.events.expect(event="demanded", pool="web")
        mtd.until(lambda: mtd.pids("web") == [], what="none is needed")
        mtd.kill_supervisor()
        assert tasks.run("web", "echo", 2)["state"] == "done"
        mtd.until(lambda: mtd.pids("web") == [], what="none is needed again")
        mtd.ctl("stop", "web")
        seqs = [tasks.put("web", "hold", str(gate)) for _ in range(5)]
        for seq in seqs:
            tasks.expect(seq, "ok")
        assert mtd.pids("web") == []
        tasks.sock.close()
        kill_broker(mtd.keeper)
        mtd.ctl("start", "web")
        mtd.until(lambda: mtd.pool("web")["busy"] == 3, what="it grows with the work")
        gate.write_text("")
        mtd.until(lambda: call(mtd, "Stats", pool="web")["pools"][0]["done"] >= 5, what="all are done")
        mtd.until(lambda: mtd.pids("web") == [], what="and ends with it")
        assert mtd.pool("web")["restarts"] == 0


def test_who_works_is_not_idle(actor):
    work = f'test "$$MTD_WORKER_ID" = 0 && exec {actor} notify=X_MTD_BUSY=1 wait; exec {actor} notify=X_MTD_BUSY=0 wait'
    spec = pool(["/bin/sh", "-c", work], workers=2, overlap=True, recycle={"idle_timeout": "500ms", "jitter": 0})
    with Mtd({"web": spec}) as mtd:
        def working():
            return next(w for w in mtd.workers("web") if w["id"] == 0)
        pid = mtd.until(lambda: working()["pid"] if working()["state"] == "busy" else None)
        recycled = mtd.pool("web")["recycled"]
        mtd.until(lambda: mtd.pool("web")["recycled"] >= recycled + 3, what="so long does it work")
        assert working()["pid"] == pid
        os.kill(pid, IDLE)
        mtd.events.expect(event="exited", worker="web/0", pid=pid, test=lambda e: e["last_exit"]["cause"] == "recycle:idle")


def test_workers_that_tell_nothing_are_never_ended_for_it(actor):
    spec = pool([actor, "wait"], workers={"min": 1, "max": 4, "spare": 2, "quiet": "1ms"})
    with Mtd({"web": spec}) as mtd:
        mtd.reports.expect("waiting", count=2)
        assert mtd.pool("web")["busy"] is None and want(mtd) == 2
        assert "no worker has told whether it is busy" in mtd.ctl("why", "web").stdout
        mtd.ctl("scale", "web=4")
        assert "4(1-4)" in mtd.ctl("status").stdout
        mtd.ctl("scale", "web", "--reset")
        assert want(mtd) == 4


def test_what_was_told_survives_the_supervisor(actor):
    with Mtd({"web": dynamic(actor, 1, 4, quiet="1h")}) as mtd:
        mtd.reports.expect("waiting")
        os.kill(mtd.pids("web")[0], BUSY)
        mtd.reports.expect("waiting")
        mtd.until(lambda: mtd.pool("web")["ready"] == 2)
        before = mtd.pids("web")
        mtd.kill_supervisor()
        assert mtd.pids("web") == before
        assert (want(mtd), mtd.pool("web")["busy"], mtd.pool("web")["idle"]) == (2, 1, 1)


def test_from_none_with_the_first_connection_and_back(http):
    port = free_port()
    spec = pool([http], listen=f"tcp:{LOCAL}:{port}", overlap=True, workers={"min": 0, "max": 2, "quiet": "1h"})
    with Mtd({"web": spec}) as mtd:
        assert mtd.pids("web") == [] and mtd.pool("web")["state"] == "running"
        assert "starts with the next connection" in mtd.ctl("status").stdout
        mtd.kill_supervisor()
        assert ask((LOCAL, port)) == mtd.pids("web")[0]
        mtd.events.expect(event="demanded")
        mtd.kill(mtd.pids("web")[0])
        mtd.events.expect(event="exited")
        assert ask((LOCAL, port)) in mtd.until(lambda: mtd.pids("web"))
        mtd.ctl("stop", "web")
        with socket.create_connection((LOCAL, port), timeout=PATIENCE) as client:
            assert mtd.pids("web") == []  # a stopped pool stays so
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            mtd.ctl("start", "web")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_no_spinning_when_the_first_worker_does_not_come_up():
    port = free_port()
    spec = pool(["/bin/false"], listen=f"tcp:{LOCAL}:{port}", workers={"min": 0, "max": 2},
                backoff={"initial": "1h", "max": "1h"})
    with Mtd({"web": spec}) as mtd:
        with socket.create_connection((LOCAL, port), timeout=PATIENCE):
            mtd.until(lambda: mtd.pool("web")["restarts"] >= 1)
            mtd.until(lambda: mtd.pool("web")["state"] == "backoff")
            told = len(mtd.events.drain())
            before = cpu_seconds(mtd.supervisor())
            for _ in range(20):
                assert mtd.pool("web")["scaling"]["min"] == 0
            assert len(mtd.events.drain()) == told and cpu_seconds(mtd.supervisor()) - before < 0.5


def test_pools_share_what_all_may_have_and_say_what_holds_them_back(actor):
    pools = {name: dynamic(actor, 1, 6) for name in ("a", "b")}
    with Mtd(pools, daemon={"limits": {"processes": 5}}) as mtd:
        mtd.reports.expect("waiting", count=2)
        for round_ in (1, 2):
            make_busy(mtd, "a", round_)
            mtd.reports.expect("waiting")
        make_busy(mtd, "b", 1)
        mtd.reports.expect("waiting")
        make_busy(mtd, "b", 2)
        held = mtd.events.expect(event="held_back", pool="b")
        assert "3 workers are needed, 2 are there" in held["detail"] and "limits.processes" in held["detail"]
        assert "limits.processes" in mtd.ctl("why", "b").stdout and "needs 3 workers" in mtd.ctl("status").stdout
        assert mtd.pool("b")["scaling"]["held_back"] == "processes"
        make_busy(mtd, "a", 0)  # what it gives back goes to the one that waits
        mtd.until(lambda: mtd.pool("b")["ready"] == 3)
        assert mtd.pool("b")["scaling"]["held_back"] is None


def test_reload_changes_the_bounds_in_place(actor):
    with Mtd({"web": dynamic(actor, 1, 4, quiet="1h")}) as mtd:
        mtd.reports.expect("waiting")
        first = mtd.pids("web")
        mtd.pools["web"]["workers"]["min"] = 3
        mtd.write_config()
        assert "hot" in mtd.ctl("config", "diff").stdout
        mtd.ctl("reload")
        mtd.reports.expect("waiting", count=2)
        assert want(mtd) == 3 and first[0] in mtd.pids("web")
        mtd.pools["web"]["workers"] = 2
        mtd.write_config()
        mtd.ctl("reload")
        mtd.until(lambda: len(mtd.pids("web")) == 2)
        assert mtd.pool("web")["scaling"] is None and "2/2" in mtd.ctl("status").stdout


def test_limits_show_the_pressure_of_memory_or_that_nobody_tells(actor):
    with Mtd({"web": dynamic(actor, 1, 2)}) as mtd:
        limits = mtd.ctl_json("limits")
        row = next(limit for limit in limits["limits"] if limit["name"] == "limits.memory_pressure")
        told = row["used"] is not None
        assert row["limit"] == 20
        assert told or any("pressure" in line for line in limits["host"]["cannot"])
