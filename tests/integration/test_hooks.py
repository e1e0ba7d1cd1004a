"""Hooks: commands that tell others what has happened, in order, one at a time, and nothing waits for them."""
import os

from harness import SLEEPER, Mtd, eventually, is_alive, pool, wait_gone

TELL = ["/bin/sh", "-c", 'env | grep "^MTD_[EWIPC]" | sort | tr "\\n" " " >> "$$OUT"; echo >> "$$OUT"']
# Its first run hangs with a child and writes that child's pid down.
HANG = ["/bin/sh", "-c", 'sleep 1000 & echo $! > "$$OUT.new"; mv "$$OUT.new" "$$OUT"; wait']


def told(path):
    """The facts of each hook that has run, in order; a line that is being written is none yet."""
    if not os.path.exists(path):
        return []
    with open(path) as file:
        lines = file.read().split("\n")[:-1]
    return [dict(word.split("=", 1) for word in line.split()) for line in lines if "MTD_POOL" in line]


def whole(facts, count):
    return facts if len(facts) >= count else None


def pid_in(path):
    def read():
        if not os.path.exists(path):
            return None
        with open(path) as file:
            text = file.read()
        return int(text) if text.endswith("\n") else None
    return eventually(read, what=f"a pid in {path}")


def test_hooks_tell_what_has_happened_in_its_order(actor, tmp_path):
    out = str(tmp_path / "out")
    spec = pool([actor, "wait"], env={"OUT": out}, hooks={"on_start": TELL, "on_exit": TELL})
    with Mtd({"web": spec}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        mtd.kill(pid)
        facts = eventually(lambda: whole(told(out), 3))
        assert [f["MTD_EVENT"] for f in facts] == ["ready", "exited", "ready"]
        assert facts[1] == {"MTD_EVENT": "exited", "MTD_POOL": "web", "MTD_WORKER": "web/0", "MTD_WORKER_ID": "0",
                            "MTD_INCARNATION": "1", "MTD_PID": str(pid), "MTD_CAUSE": "signal", "MTD_PLANNED": "0",
                            "MTD_EXIT_SIGNAL": "KILL"}
        mtd.until(lambda: "3 hooks run, 0 failed." in mtd.ctl("why", "web").stdout)
    assert [(f["MTD_EVENT"], f.get("MTD_PLANNED")) for f in told(out)[3:]] == [("exited", "1")], "also at the end"


def test_a_pool_that_failed_tells_so(tmp_path):
    out = str(tmp_path / "out")
    spec = pool(["/bin/false"], env={"OUT": out}, hooks={"on_failed": TELL}, crash_limit={"count": 2, "action": "fail"})
    with Mtd({"web": spec}) as mtd:
        events = {f["MTD_EVENT"]: f for f in eventually(lambda: whole(told(out), 2))}
        assert set(events) == {"breaker_opened", "failed"}
        assert "MTD_WORKER" not in events["breaker_opened"] and events["breaker_opened"]["MTD_POOL"] == "web"
        mtd.wait_pool("web", state="failed")


def test_a_roll_out_that_failed_tells_so(actor, tmp_path):
    out = str(tmp_path / "out")
    spec = pool([actor, "wait"], env={"OUT": out}, hooks={"on_failed": TELL}, min_uptime="1h", overlap=True)
    with Mtd({"web": spec}) as mtd:
        mtd.reports.expect("waiting")
        mtd.pools["web"]["command"] = [actor, "exit=1"]
        mtd.write_config()
        mtd.ctl("reload", code=1)
        assert "rollout_failed" in [f["MTD_EVENT"] for f in eventually(lambda: whole(told(out), 1))]


def test_fault_40_a_hook_that_never_ends_is_killed_with_its_tree_and_holds_up_nothing(actor, tmp_path):
    out = str(tmp_path / "pid")
    spec = pool([actor, "wait"], env={"OUT": out}, hooks={"on_exit": HANG, "timeout": "300ms"})
    with Mtd({"web": spec}) as mtd:
        mtd.reports.expect("waiting")
        mtd.kill(mtd.pids("web")[0])
        mtd.reports.expect("waiting")  # its successor does not wait
        failed = mtd.events.expect(event="hook_failed", pool="web")
        assert failed["detail"] == "on_exit for exited of web/0 did not end within 300ms and was killed"
        assert wait_gone(pid_in(out))
        assert "The last failure: on_exit" in mtd.ctl("why", "web").stdout
        os.unlink(out)
    assert not is_alive(pid_in(out)), "the one at the end has its time, then it is killed, too"


def test_a_storm_of_exits_is_a_queue_not_a_fork_bomb(actor, tmp_path):
    out = str(tmp_path / "running")
    slow = ["/bin/sh", "-c", 'echo + >> "$$OUT"; sleep 1; echo - >> "$$OUT"']
    spec = pool([actor, "wait"], workers=70, env={"OUT": out}, hooks={"on_exit": slow}, restart="never")
    with Mtd({"web": spec}, exit_code=None) as mtd:
        mtd.reports.expect("waiting", count=70)
        for pid in mtd.pids("web"):
            os.kill(pid, 9)
        mtd.events.expect(event="hook_dropped", pool="web")
        eventually(lambda: os.path.exists(out) and open(out).read().count("-") >= 1)
        mtd.ctl("shutdown", "--now")
        assert wait_gone(mtd.process.pid)
        with open(out) as file:
            assert "+ +" not in " ".join(file.read().split()), "one at a time"


def test_a_hook_that_fails_is_told():
    with Mtd({"web": pool(SLEEPER, hooks={"on_start": ["/bin/false"]})}) as mtd:
        failed = mtd.events.expect(event="hook_failed", pool="web")
        assert failed["detail"] == "on_start for ready of web/0 ended with exit 1"


def test_hooks_change_in_place_and_a_missing_program_is_an_error(actor, tmp_path):
    out = str(tmp_path / "out")
    with Mtd({"web": pool([actor, "wait"], env={"OUT": out})}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        mtd.pools["web"]["hooks"] = {"on_exit": "/no/such/program"}
        mtd.write_config()
        refused = mtd.ctl("reload", code=8)
        assert "pools.web.hooks.on_exit" in refused.stderr + refused.stdout
        mtd.pools["web"]["hooks"] = {"on_exit": TELL}
        mtd.write_config()
        mtd.ctl("reload")
        assert mtd.pids("web") == [pid]
        mtd.kill(pid)
        assert eventually(lambda: told(out))[0]["MTD_PID"] == str(pid)


# ---- stop.command ---------------------------------------------------------------------------------

def test_the_stop_command_asks_in_place_of_the_signal(actor, tmp_path):
    out = str(tmp_path / "out")
    ask = ["/bin/sh", "-c", 'echo "$$MTD_PID ${MTD_WORKER_ID}" > "$$OUT"; kill -TERM "$$MTD_PID"']
    with Mtd({"web": pool([actor, "wait"], env={"OUT": out}, stop={"command": ask, "timeout": "1h"})}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        mtd.ctl("stop", "web")
        with open(out) as file:
            assert file.read().split() == [str(pid), "0"]
        mtd.events.drain()
        told_of = [e["event"] for e in mtd.events.seen if e.get("pool") == "web"]
        assert "stop_command" in told_of and "signalled" not in told_of
        exits = [e["last_exit"] for e in mtd.events.seen if e["event"] == "exited"]
        assert [(e["cause"], e["planned"], e["code"]) for e in exits] == [("stop", True, 0)]


def test_a_stop_command_that_fails_leaves_it_to_the_signal(actor):
    with Mtd({"web": pool([actor, "wait"], workers=40, stop={"command": ["/bin/false"], "timeout": "1h"})}) as mtd:
        mtd.reports.expect("waiting", count=40)
        mtd.ctl("stop", "web")
        mtd.events.expect(event="stop_command_failed", pool="web",
                          detail="stop.command for web/7 ended with exit 1; the stop signal is sent")
        mtd.events.expect(event="signalled", pool="web", detail="SIGTERM")
        assert mtd.pids("web") == [] and mtd.pool("web")["state"] == "stopped"


def test_fault_40_a_stop_command_that_never_ends_is_killed_with_its_tree(actor, tmp_path):
    out = str(tmp_path / "pid")
    with Mtd({"web": pool([actor, "wait"], env={"OUT": out}, stop={"command": HANG, "timeout": "1500ms"})}) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("stop", "web")
        event = mtd.events.expect(event="exited", pool="web")
        assert (event["last_exit"]["cause"], event["last_exit"]["signal"]) in (("stop_timeout", 9), ("stop", None))
        assert wait_gone(pid_in(out))


def test_a_stop_command_is_run_again_by_the_next_supervisor(actor, tmp_path):
    out = str(tmp_path / "out")
    ask = ["/bin/sh", "-c", 'echo $$$$ >> "$$OUT"; test "$(wc -l < "$$OUT")" -gt 1 || exec sleep 1000; kill -TERM "$$MTD_PID"']
    with Mtd({"web": pool([actor, "wait"], env={"OUT": out}, stop={"command": ask, "timeout": "1h"})}) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("--no-wait", "stop", "web")
        first = pid_in(out)
        mtd.kill_supervisor()
        mtd.wait_pool("web", state="stopped")
        assert wait_gone(first)
        with open(out) as file:
            assert len(file.read().split()) == 2
