"""Rolling change: a new revision replaces the old one worker by worker, or the old one stays complete."""
import json
import os
import signal

import pytest
from harness import Mtd, eventually, is_alive, pool, wait_gone


def change(mtd, name, command, **keys):
    mtd.pools[name].update(command=command, **keys)
    mtd.write_config()


def rollout(mtd, name="web"):
    return mtd.pool(name)["rollout"]


def expect_event(mtd, name, pool="web"):
    return mtd.events.expect(event=name, pool=pool)


def test_a_revision_that_crashes_is_taken_back_and_the_old_one_is_complete(actor):
    with Mtd({"web": pool([actor, "report=old", "wait"], workers=3, overlap=True, min_uptime="100ms")}) as mtd:
        mtd.reports.expect("old", count=3)
        before = mtd.pids("web")
        change(mtd, "web", [actor, "exit=3"])
        done = mtd.ctl("reload", code=1)
        assert "revision 2 did not come up" in done.stderr and "exit 3" in done.stderr, done.stderr
        assert "revision 1 is in force" in done.stderr
        web = mtd.pool("web")
        assert (web["state"], web["ready"], web["outdated"], web["revision"]) == ("running", 3, 0, 1)
        assert sorted(mtd.pids("web")) == sorted(before), "no worker of the old revision was ended"
        assert web["rollout"]["failed_revision"] == 2 and web["rollout"]["state"] == "none"
        why = mtd.ctl("why", "web").stdout
        assert "Revision 2 did not come up" in why and "exit 3" in why
        status = mtd.ctl("status").stdout
        assert "1 pool needs attention: web" in status and "(files differ)" in status
        assert "revision 2 did not come up" in mtd.ctl("rollout", "status", "web", code=1).stdout
        assert "rolling" in mtd.ctl("config", "diff", "--config", mtd.config).stdout, "the files still ask for it"
        # The files say again what is in force: nothing is left to be told.
        change(mtd, "web", [actor, "report=old", "wait"])
        mtd.ctl("reload")
        assert rollout(mtd)["failed_revision"] is None and sorted(mtd.pids("web")) == sorted(before)
        mtd.ctl("rollout", "status", "web")


@pytest.mark.parametrize("overlap", [True, False])
def test_workers_that_run_the_failed_revision_go_back_too(actor, overlap):
    """The second worker of the new revision fails: the first is replaced by the old revision again."""
    keys = {"overlap": overlap, "ready": "notify", "start_timeout": "1s", "min_uptime": "0s"}
    with Mtd({"web": pool([actor, "notify=READY=1", "report=old", "wait"], workers=2, **keys)}) as mtd:
        mtd.reports.expect("old", count=2)
        new = 'case ${MTD_WORKER_ID} in 0) exec "$$0" notify=READY=1 report=new wait;; *) exec "$$0" report=mute wait;; esac'
        change(mtd, "web", ["/bin/sh", "-c", new, actor])
        done = mtd.ctl("reload", code=1)
        assert "start_timeout" in done.stderr and "web/1" in done.stderr, done.stderr
        mtd.reports.expect("new")
        web = mtd.pool("web")
        assert (web["state"], web["ready"], web["outdated"], web["revision"]) == ("running", 2, 0, 1)
        mtd.reports.expect("old", count=1 if overlap else 2)
        expect_event(mtd, "rollout_failed")
        expect_event(mtd, "rolled_back")


def test_undo_and_undo_of_it(actor):
    with Mtd({"web": pool([actor, "report=one", "wait"], workers=2, min_uptime="0s")}) as mtd:
        mtd.reports.expect("one", count=2)
        mtd.ctl("rollout", "undo", "web", code=1)
        change(mtd, "web", [actor, "report=two", "wait"])
        mtd.ctl("reload")
        mtd.reports.expect("two", count=2)
        assert rollout(mtd)["previous"] == 1
        assert "revision 1 in force" in mtd.ctl("rollout", "undo", "web").stdout
        mtd.reports.expect("one", count=2)
        assert mtd.pool("web")["revision"] == 1 and rollout(mtd)["failed_revision"] is None
        mtd.until(lambda: mtd.status()["daemon"]["config_in_sync"] is False, what="the files say something else")
        mtd.ctl("rollout", "undo", "web")
        mtd.reports.expect("two", count=2)
        mtd.until(lambda: mtd.status()["daemon"]["config_in_sync"] is True)


def test_pause_resume_and_a_newer_revision(actor):
    with Mtd({"web": pool([actor, "notify=READY=1", "wait"], workers=3, ready="notify", min_uptime="0s")}) as mtd:
        mtd.wait_ready()
        mtd.ctl("rollout", "pause", "web", code=1)
        change(mtd, "web", [actor, "report=slow", "wait"])  # USR2 makes it ready
        mtd.ctl("--no-wait", "reload")
        first = mtd.reports.expect("slow")["pid"]
        mtd.ctl("rollout", "pause", "web")
        mtd.reports.expect("waiting", pid=first)  # it takes signals
        os.kill(first, signal.SIGUSR2)
        mtd.until(lambda: rollout(mtd)["remaining"] == 2, what="the one that was begun comes to its end")
        assert rollout(mtd)["state"] == "paused" and "paused, 1 of 3 updated" in mtd.ctl("status").stdout
        assert "paused" in mtd.ctl("reload", code=None).stderr + mtd.ctl("rollout", "status", "web").stdout
        mtd.ctl("--no-wait", "rollout", "resume", "web")
        for _ in range(2):
            pid = mtd.reports.expect("slow")["pid"]
            mtd.reports.expect("waiting", pid=pid)
            os.kill(pid, signal.SIGUSR2)
        mtd.wait_pool("web", state="running", ready=3, outdated=0)


def test_max_surge_and_max_unavailable_bound_the_pool(actor):
    keys = {"ready": "notify", "min_uptime": "0s", "reload": {"max_surge": 2, "max_unavailable": 1}}
    with Mtd({"web": pool([actor, "notify=READY=1", "wait"], workers=6, **keys)}) as mtd:
        mtd.wait_ready()
        change(mtd, "web", [actor, "notify=READY=1", "report=new", "wait"])
        mtd.ctl("reload")
        mtd.reports.expect("new", count=6)
        mtd.events.drain()
        seen = mtd.events.seen
        start = seen.index(mtd.events.find(None, event="restarting", pool="web"))
        alive = fewest = most = 6
        for event in seen[start:]:
            alive += {"spawned": 1, "exited": -1}.get(event["event"], 0)
            fewest, most = min(fewest, alive), max(most, alive)
        assert most <= 8 and fewest >= 5, (fewest, most)


def test_no_second_process_with_max_surge_0(actor):
    keys = {"overlap": True, "min_uptime": "0s", "reload": {"max_surge": 0, "max_unavailable": 2}}
    with Mtd({"web": pool([actor, "wait"], workers=4, **keys)}) as mtd:
        mtd.wait_ready()
        change(mtd, "web", [actor, "report=new", "wait"])
        mtd.ctl("reload")
        mtd.reports.expect("new", count=4)
        mtd.events.drain()
        seen = mtd.events.seen
        alive = most = 4
        for event in seen[seen.index(mtd.events.find(None, event="restarting", pool="web")):]:
            alive += {"spawned": 1, "exited": -1}.get(event["event"], 0)
            most = max(most, alive)
        assert most == 4


def test_one_older_revision_drains_at_most(actor):
    """A worker that takes its time holds back the next roll-out, and status says so."""
    with Mtd({"web": pool([actor, "ignore=15", "report=one", "wait"], workers=2, overlap=True, min_uptime="0s",
                          stop={"timeout": "infinity"})}) as mtd:
        mtd.reports.expect("one", count=2)
        first = mtd.pids("web")
        change(mtd, "web", [actor, "report=two", "wait"])
        mtd.ctl("--no-wait", "reload")
        mtd.reports.expect("two")
        change(mtd, "web", [actor, "report=three", "wait"])
        mtd.ctl("--no-wait", "reload")
        mtd.until(lambda: rollout(mtd)["state"] == "waiting")
        assert "waits for the workers that the roll-out before replaced" in mtd.ctl("status").stdout
        assert len(mtd.events.drain()) and not [r for r in mtd.reports.seen if r["what"] == "three"]
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        mtd.reports.expect("three", count=2, seconds=30)
        mtd.wait_pool("web", outdated=0, ready=2)


def test_signal_mode_tells_workers_and_replaces_them_only_for_a_key_that_needs_it(actor):
    keys = {"reload": {"mode": "signal", "signal": "HUP"}}
    with Mtd({"web": pool([actor, "report=up", "wait"], workers=2, **keys), "other": pool([actor, "wait"])}) as mtd:
        mtd.reports.expect("up", count=2)
        before = mtd.pids("web")
        assert "SIGHUP sent to 2 workers" in mtd.ctl("reload").stdout
        assert sorted(r["pid"] for r in mtd.reports.expect("hup", count=2)) == sorted(before)
        mtd.ctl("reload", "other")
        change(mtd, "web", [actor, "report=new", "wait"])
        mtd.ctl("reload", "web")
        mtd.reports.expect("new", count=2)
        assert not [r for r in mtd.reports.seen if r["what"] == "hup"], "new processes read their files anyway"


@pytest.mark.parametrize("keys, error", [
    ({"max_surge": 0, "max_unavailable": 0}, "max_surge"),
    ({"signal": "HUP"}, 'is only for "mode": "signal"'),
    ({"mode": "rollin"}, '"rolling" or "signal"'),
    ({"max_surge": -1}, "a whole number from 0"),
    ({"max_surg": 1}, 'did you mean "max_surge"'),
])
def test_wrong_values_are_named(actor, keys, error):
    with Mtd({"web": pool([actor, "wait"], workers=2, overlap=True)}) as mtd:
        mtd.pools["web"]["reload"] = keys
        mtd.write_config()
        done = mtd.ctl("reload", code=8)
        assert error in done.stderr and "mtd.json:" in done.stderr, done.stderr


def test_wrong_words_on_the_command_line(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        assert "knows status, pause, resume and undo" in mtd.ctl("rollout", "stop", "web", code=2).stderr
        mtd.ctl("rollout", "pause", code=2)
        mtd.ctl("rollout", "status", "nope", code=4)
        mtd.ctl("rollout", "undo", "nope", code=4)
        document = json.loads(mtd.ctl("-o", "json", "rollout", "status", "web").stdout)
        assert document["pools"][0]["rollout"]["state"] == "none"


@pytest.mark.parametrize("when", ["rolling", "going back", "after"])
def test_the_supervisor_dies_in_a_roll_out(actor, when):
    """Its successor goes on with the same roll-out, on the way back too, and remembers what failed."""
    keys = {"overlap": True, "ready": "notify", "start_timeout": "2s", "min_uptime": "0s"}
    with Mtd({"web": pool([actor, "notify=READY=1", "report=old", "wait"], workers=2, **keys)}) as mtd:
        old = [r["pid"] for r in mtd.reports.expect("old", count=2)]
        change(mtd, "web", [actor, "report=mute", "wait"])  # never ready but by USR2
        mtd.ctl("--no-wait", "reload")
        new = mtd.reports.expect("mute")["pid"]
        if when == "rolling":
            mtd.kill_supervisor()
            assert rollout(mtd)["previous"] == 1 and is_alive(new) and all(map(is_alive, old))
        if when == "going back":
            os.kill(new, signal.SIGUSR2)  # the first is ready, the second will not be
            second = mtd.reports.expect("mute")["pid"]
            assert wait_gone(second)
            expect_event(mtd, "rollout_failed")
            mtd.kill_supervisor()
        mtd.until(lambda: rollout(mtd)["failed_revision"] == 2 and rollout(mtd)["state"] == "none", 30)
        if when == "after":
            mtd.kill_supervisor()
        web = mtd.wait_pool("web", state="running", ready=2, outdated=0, revision=1)
        assert web["rollout"]["failed_revision"] == 2
        assert "start_timeout" in mtd.ctl("why", "web").stdout
        mtd.until(lambda: mtd.status()["daemon"]["config_in_sync"] is False)
        # What is in force is the old revision: a worker that dies comes back as one of it.
        mtd.reports.forget()
        mtd.kill(mtd.pids("web")[0])
        mtd.reports.expect("old")


def test_a_listening_socket_of_the_old_revision_is_there_on_the_way_back(actor, tmp_path):
    path = str(tmp_path / "s")
    os.chmod(tmp_path, 0o755)
    with Mtd({"web": pool([actor, "wait"], workers=2, overlap=False, min_uptime="300ms", listen=f"unix:{path}")}) as mtd:
        mtd.wait_ready()
        other = str(tmp_path / "t")
        change(mtd, "web", [actor, "exit=1"], listen=f"unix:{other}")
        mtd.ctl("reload", code=1)
        assert mtd.pool("web")["ready"] == 2
        assert os.path.exists(path)
        eventually(lambda: not os.path.exists(other), what="the socket of the failed revision is closed")
