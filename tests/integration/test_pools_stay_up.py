"""Crashes, back-off, the breaker, exit statuses: what a pool does when its workers end."""
import os
import re
import signal
import time

import pytest
from harness import SLEEPER, Mtd, Stopwatch, cpu_seconds, descendants, descriptor_count, eventually, is_alive, pool, stat_of


def test_killed_worker_comes_back():
    with Mtd({"web": pool(SLEEPER, workers=2)}) as mtd:
        victim = mtd.workers("web")[1]
        mtd.kill(victim["pid"])
        mtd.events.expect(event="ready", worker="web/1", test=lambda e: e["incarnation"] > victim["incarnation"])
        worker = mtd.workers("web")[1]
        assert worker["pid"] != victim["pid"] and is_alive(worker["pid"])
        assert worker["restarts"] == 1 and worker["last_exit"]["signal"] == 9 and not worker["last_exit"]["planned"]
        assert mtd.pool("web")["restarts"] == 1


def test_fault_26_every_exit_code_is_exact(actor):
    with Mtd({f"c{code}": pool([actor, f"exit={code}"], restart="never") for code in range(256)}) as mtd:
        for code in range(256):
            event = mtd.events.expect(event="exited", pool=f"c{code}")
            assert event["last_exit"]["code"] == code and event["last_exit"]["signal"] is None


def test_fault_26_every_signal_is_exact(actor):
    fatal = [s for s in range(1, 65) if s not in (17, 18, 19, 20, 21, 22, 23, 28, 32, 33)]
    with Mtd({f"s{s}": pool([actor, f"raise={s}"], restart="never", rlimits={"core": 0}) for s in fatal}) as mtd:
        for number in fatal:
            event = mtd.events.expect(event="exited", pool=f"s{number}")
            assert event["last_exit"]["signal"] == number and event["last_exit"]["code"] is None


@pytest.mark.parametrize("policy,code,again", [("always", 0, True), ("on-failure", 0, False), ("on-failure", 1, True),
                                               ("never", 1, False), ("never", 0, False)])
def test_restart_policy(actor, policy, code, again):
    with Mtd({"job": pool([actor, f"exit={code}"], restart=policy, min_uptime="0s")}) as mtd:
        first = mtd.events.expect(event="exited", pool="job")
        if again:
            mtd.events.expect(event="exited", pool="job", test=lambda e: e["incarnation"] > first["incarnation"])
        else:
            state = mtd.until(lambda: mtd.pool("job")["state"] in ("completed", "failed") and mtd.pool("job")["state"])
            assert state == ("completed" if code == 0 else "failed")
            assert mtd.pool("job")["workers"][0]["incarnation"] == first["incarnation"]


def test_success_and_no_restart_codes(actor):
    with Mtd({"ok": pool([actor, "exit=7"], restart="on-failure", success_codes=[0, 7], min_uptime="0s"),
              "no": pool([actor, "exit=8"], restart="always", no_restart_codes=[8])}) as mtd:
        mtd.wait_pool("ok", state="completed")
        mtd.until(lambda: mtd.pool("no")["state"] in ("failed", "completed", "stopped"))
        assert mtd.pool("no")["workers"][0]["incarnation"] == 1


def test_fault_41_back_off_grows_and_is_capped(actor):
    with Mtd({"bad": pool([actor, "exit=3"], backoff={"initial": "100ms", "factor": 2, "max": "400ms", "jitter": 0})}) as mtd:
        waits = []
        for number in range(1, 7):
            event = mtd.events.expect(event="exited", pool="bad", incarnation=number)
            if number > 1:  # the first restart is immediate
                waits.append(mtd.events.expect(pool="bad", start=mtd.events.seen.index(event), test=lambda e: "next_attempt_ms" in e)["next_attempt_ms"])
        assert waits[-1] >= 380 and max(waits) <= 400, waits
        assert waits == sorted(waits), waits
        assert mtd.pool("bad")["state"] in ("backoff", "starting", "degraded")


def test_fault_41_back_off_is_reset_by_a_stable_run(actor):
    keys = {"backoff": {"initial": "300ms", "max": "10s", "factor": 10, "jitter": 0, "reset_after": "500ms"}, "min_uptime": "0s"}
    with Mtd({"bad": pool([actor, "sleep=700", "exit=3"], **keys)}) as mtd:
        for number in (1, 2, 3, 4):
            event = mtd.events.expect(event="exited", pool="bad", incarnation=number)
            waiting = mtd.events.find(lambda e: "next_attempt_ms" in e, start=mtd.events.seen.index(event), pool="bad")
            assert waiting is None or waiting["next_attempt_ms"] <= 300, "each run was stable: no growing delay"


def test_fault_42_hundred_crash_loops_cost_little(actor):
    pools = {"bad": pool(["/bin/false"], workers=100, backoff={"initial": "5s", "max": "30s"}, crash_limit={"count": 1000000}),
             "good": pool([actor, "wait"])}
    with Mtd(pools) as mtd:
        mtd.wait_ready("good")
        mtd.until(lambda: len([e for e in mtd.events.seen if e["event"] == "exited" and e["pool"] == "bad"]) >= 100)
        pids = (mtd.keeper, mtd.supervisor())
        before = sum(map(cpu_seconds, pids))
        begin, watch = time.monotonic(), Stopwatch(*pids)
        victim = mtd.pids("good")[0]
        mtd.kill(victim)
        ready = mtd.events.expect(event="ready", pool="good", test=lambda e: e["pid"] != victim)
        assert watch.seconds(ready["pid"]) < 1
        mtd.events.drain()
        eventually(lambda: time.monotonic() - begin > 3, 5)
        assert sum(map(cpu_seconds, pids)) - before < 0.3, "back-off, not a spin"


def test_fault_43_exit_0_at_once_does_not_spin(actor):
    with Mtd({"job": pool([actor, "exit=0"], restart="always", backoff={"initial": "300ms", "max": "300ms", "jitter": 0})}) as mtd:
        begin = time.monotonic()
        mtd.events.expect(event="exited", pool="job", incarnation=5)
        assert time.monotonic() - begin > 0.7


def test_breaker_opens_half_opens_and_closes(actor, tmp_path):
    flag = tmp_path / "broken"
    flag.write_text("")
    os.chmod(tmp_path, 0o755)
    script = f"if [ -e {flag} ]; then exit 1; fi; exec sleep infinity"
    keys = {"crash_limit": {"count": 3, "window": "30s", "retry_after": "700ms"}, "min_uptime": "100ms",
            "backoff": {"initial": "10ms", "max": "20ms", "jitter": 0}}
    with Mtd({"web": pool(["/bin/sh", "-c", script], workers=2, **keys)}) as mtd:
        mtd.events.expect(event="breaker_opened", pool="web")
        broken = mtd.pool("web")
        assert broken["breaker"]["open"] is True and broken["breaker"]["limit"] == 3
        assert broken["note"]
        opened = len([e for e in mtd.events.seen if e["event"] == "spawned"])
        mtd.events.expect(event="breaker_half_open", pool="web")
        mtd.events.expect(event="breaker_opened", pool="web", start=len(mtd.events.seen) - 1)
        trial = len([e for e in mtd.events.seen if e["event"] == "spawned"]) - opened
        assert trial <= 2, "a half-open breaker lets one through"
        flag.unlink()
        mtd.events.expect(event="breaker_closed", pool="web")
        mtd.wait_pool("web", state="running", ready=2)


def test_breaker_action_fail_and_reset_failed(actor):
    keys = {"crash_limit": {"count": 3, "window": "30s", "action": "fail"}, "backoff": {"initial": "10ms", "max": "20ms"}}
    with Mtd({"bad": pool([actor, "exit=1"], **keys)}) as mtd:
        mtd.wait_pool("bad", state="failed")
        count = mtd.pool("bad")["workers"][0]["incarnation"]
        mtd.ctl("is-ready", "bad", "-q", code=3)
        mtd.ctl("reset-failed", "bad")
        mtd.until(lambda: mtd.pool("bad")["workers"][0]["incarnation"] > count)


def test_fault_19_five_hundred_die_at_once():
    with Mtd({"web": pool(SLEEPER, workers=500)}) as mtd:
        mtd.wait_ready()
        old = mtd.pids("web")
        assert len(old) == 500
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        mtd.until(lambda: mtd.pool("web")["restarts"] == 500 and mtd.pool("web")["ready"] == 500, 30)
        new = mtd.pids("web")
        assert len(set(new)) == 500 and not set(new) & set(old)
        mtd.events.drain()
        exits = {e["pid"]: e["last_exit"]["signal"] for e in mtd.events.seen if e["event"] == "exited"}
        assert exits == {pid: 9 for pid in old}, "500 exact records"


def test_fault_20_orphan_storm_is_reaped_and_not_taken_for_workers(actor):
    with Mtd({"storm": pool([actor, "storm=3000", "wait"]), "web": pool(SLEEPER)}) as mtd:
        mtd.wait_ready("web")
        slowest = 0.0
        while not any(r["what"] == "storm over" for r in mtd.reports.seen):
            watch = mtd.stopwatch()
            mtd.status()
            slowest = max(slowest, watch.seconds())
            assert mtd.process.poll() is None
        assert slowest < 0.5, slowest
        eventually(lambda: not [p for p in descendants(mtd.keeper) if (stat_of(p) or "?")[0] == "Z"], 5)
        assert mtd.pool("storm")["restarts"] == 0 and mtd.pool("web")["restarts"] == 0
        assert len(mtd.log().splitlines()) < 200, "strangers are counted, not all logged"


def test_fault_21_a_recycled_pid_gets_no_signal(root):
    if not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK):
        pytest.skip("needs /proc/sys/kernel/ns_last_pid")
    keys = {"backoff": {"initial": "1h", "max": "1h"}, "min_uptime": "1h"}
    with Mtd({"web": pool(SLEEPER, **keys)}) as mtd:
        mtd.wait_ready()
        for _ in range(2):  # the first restart is immediate, the second waits
            incarnation, pid = (lambda w: (w["incarnation"], w["pid"]))(mtd.workers("web")[0])
            mtd.kill(pid)
            mtd.events.expect(event="exited", pid=pid)
            if mtd.until(lambda: mtd.workers("web")[0]["state"] in ("backoff", "ready") and mtd.workers("web")[0]["state"]) == "backoff":
                break
        decoy = 0
        for _ in range(200):
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(pid - 1))
            decoy = os.fork()
            if decoy == 0:
                signal.pause()
                os._exit(0)
            if decoy == pid:
                break
            os.kill(decoy, signal.SIGKILL)
            os.waitpid(decoy, 0)
        try:
            if decoy != pid:
                pytest.skip("the pid could not be taken again")
            mtd.run_ctl("signal", "KILL", "web/0")
            mtd.ctl("stop", "--now", "web")
            assert os.waitpid(decoy, os.WNOHANG) == (0, 0), "the stranger was hit"
        finally:
            if decoy == pid:
                os.kill(decoy, signal.SIGKILL)
                os.waitpid(decoy, 0)


def test_fault_22_worker_exits_while_it_is_told_to_stop(actor):
    with Mtd({"web": pool([actor, "wait"], workers=4, min_uptime="0s")}) as mtd:
        mtd.wait_ready()
        for _ in range(15):
            for pid in mtd.pids("web"):
                os.kill(pid, signal.SIGKILL)
            mtd.ctl("restart", "web")
        mtd.wait_pool("web", state="running", ready=4)


def test_fault_23_grandchild_that_keeps_stdout_open(actor):
    with Mtd({"web": pool(["/bin/sh", "-c", "sleep 999 & exit 5"], backoff={"initial": "20ms", "max": "20ms", "jitter": 0},
                          crash_limit={"count": 1000000})}) as mtd:
        mtd.events.expect(event="exited", pool="web", incarnation=10)
        before = descriptor_count(mtd.keeper), descriptor_count(mtd.supervisor())
        exits = mtd.events.expect(event="exited", pool="web", incarnation=40)
        assert exits["last_exit"]["code"] == 5, "taken from the wait, not from an EOF"
        after = descriptor_count(mtd.keeper), descriptor_count(mtd.supervisor())
        assert after[0] <= before[0] + 4 and after[1] <= before[1] + 4
        assert len([p for p in descendants(mtd.keeper) if is_alive(p)]) < 15, "left-overs of a dead worker are ended"


def test_orphans_keep_leaves_them_until_the_stop(actor):
    with Mtd({"web": pool([actor, "daemon", "exit=1"], orphans="keep", backoff={"initial": "1h", "max": "1h"})}) as mtd:
        left = mtd.reports.expect("daemon")["pid"]
        mtd.events.expect(event="exited", pool="web", incarnation=1)
        mtd.until(lambda: mtd.pool("web")["workers"][0]["state"] in ("backoff", "ready", "starting"))
        assert is_alive(left)
        mtd.ctl("stop", "web")
        assert not is_alive(left), "a stop ends them"


def test_fault_24_worker_that_closes_its_output(actor):
    with Mtd({"web": pool([actor, "close-output", "wait"])}) as mtd:
        mtd.reports.expect("waiting")
        pids = (mtd.keeper, mtd.supervisor())
        before = sum(map(cpu_seconds, pids))
        begin = time.monotonic()
        eventually(lambda: time.monotonic() - begin > 1, 2)
        assert sum(map(cpu_seconds, pids)) - before <= 0.05


def test_fault_25_stopped_is_not_exited(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        mtd.wait_ready()
        pid = mtd.pids("web")[0]
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: stat_of(pid)[0] == "T")
        assert mtd.pids("web") == [pid] and mtd.pool("web")["restarts"] == 0
        os.kill(pid, signal.SIGCONT)
        assert mtd.pids("web") == [pid]


def test_fault_27_worker_that_becomes_a_daemon(actor):
    with Mtd({"web": pool([actor, "daemon", "wait"])}) as mtd:
        stray = mtd.reports.expect("daemon")["pid"]
        assert str(stray) in mtd.ctl("tree", "web").stdout
        done = mtd.ctl("stop", "web")
        assert not is_alive(stray)
        assert re.search(rf"leftover.*{stray}", done.stdout + done.stderr), done.stdout + done.stderr


@pytest.mark.parametrize("what", [pytest.param("cwd", id="fault_13"), pytest.param("log", id="fault_12")])
def test_fault_13_a_hung_file_system_holds_nobody(root, actor, what):
    """A FUSE mount nobody serves: the worker hangs in chdir, or where it opens its output; everything else goes on."""
    import ctypes
    import subprocess
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")
    libc = ctypes.CDLL(None, use_errno=True)
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        place = mtd.directory + "/mount"
        os.mkdir(place)
        keys = {"cwd": {"cwd": place}, "log": {"log": {"to": "direct", "path": place + "/log"}}}[what]
        mtd.pools["hung"] = pool(SLEEPER, enabled=False, stop={"timeout": "300ms"}, **keys)
        mtd.write_config()
        mtd.ctl("reload")
        fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"none", place.encode(), b"fuse", 0, options) != 0:
            os.close(fuse)
            pytest.skip(f"cannot mount fuse: {os.strerror(ctypes.get_errno())}")
        try:
            mtd.ctl("--no-wait", "start", "hung")
            mtd.events.expect(event="spawned", pool="hung")
            assert mtd.pool("hung")["workers"][0]["state"] == "starting"
            victim = mtd.pids("web")[0]
            mtd.kill(victim)
            mtd.events.expect(event="ready", pool="web", test=lambda e: e["pid"] != victim)
            mtd.ctl("status")
            assert mtd.pool("hung")["workers"][0]["state"] == "starting", "nobody waited for it"
            mtd.ctl("stop", "hung", seconds=20)
        finally:
            os.close(fuse)  # aborts the connection: whoever hangs gets ENOTCONN
            subprocess.run(["umount", "-l", place], check=False)


@pytest.mark.parametrize("what,error", [("missing", "ENOENT"), ("mode", "EACCES"), ("directory", "EACCES"), ("format", "ENOEXEC"),
                                        ("interpreter", "ENOENT")])
def test_fault_6_exec_errors_name_stage_and_errno(tmp_path, what, error):
    """Spoiled after the load: at the load it would be a configuration error."""
    os.chmod(tmp_path, 0o755)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep infinity\n")
    program.chmod(0o755)
    with Mtd({"web": pool([str(program)], enabled=False), "good": pool(SLEEPER)}) as mtd:
        content = program.read_text()
        program.unlink()
        if what == "mode":
            program.write_text(content)
            program.chmod(0o644)
        elif what == "directory":
            program.mkdir()
        elif what == "format":
            program.write_bytes(b"\x7fno program at all\0\0\0")
            program.chmod(0o755)
        elif what == "interpreter":
            program.write_text("#!/no/such/interpreter\n")
            program.chmod(0o755)
        mtd.ctl("--no-wait", "start", "web")
        event = mtd.events.expect(event="spawn_failed", pool="web")
        last = event["last_exit"]
        assert (last["stage"], last["errno_name"]) == ("exec", error), last
        assert last["cause"] in ("spawn_failed", "start_failed")
        assert error in mtd.ctl("why", "web").stdout
        assert mtd.pool("web")["restarts"] == 0 and mtd.pool("web")["breaker"]["crashes_in_window"] == 0
        if what == "directory":
            program.rmdir()
        elif what != "missing":
            program.unlink()
        program.write_text(content)
        program.chmod(0o755)
        mtd.wait_pool("web", 30, state="running")  # heals by itself


def test_fault_9_missing_working_directory(tmp_path):
    os.chmod(tmp_path, 0o755)
    place = tmp_path / "work"
    place.mkdir()
    with Mtd({"web": pool(SLEEPER, cwd=str(place), enabled=False)}) as mtd:
        place.rmdir()
        mtd.ctl("--no-wait", "start", "web")
        event = mtd.events.expect(event="spawn_failed", pool="web")
        assert (event["last_exit"]["stage"], event["last_exit"]["errno_name"]) == ("directory", "ENOENT")
        place.mkdir()
        mtd.wait_pool("web", 30, state="running")


def test_fault_9_own_start_directory_removed(tmp_path):
    place = tmp_path / "start"
    place.mkdir()
    with Mtd({"web": pool(SLEEPER)}, popen={"cwd": str(place)}) as mtd:
        place.rmdir()
        mtd.kill(mtd.pids("web")[0])
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 1)


def test_no_leak_over_many_restarts(actor):
    with Mtd({"web": pool([actor, "exit=1"], workers=8, backoff={"initial": 0, "max": 0, "jitter": 0},
                          crash_limit={"count": 1000000})}) as mtd:
        mtd.until(lambda: mtd.pool("web")["restarts"] > 200)
        before = descriptor_count(mtd.keeper), descriptor_count(mtd.supervisor())
        mtd.until(lambda: mtd.pool("web")["restarts"] > 1200, 40)
        after = descriptor_count(mtd.keeper), descriptor_count(mtd.supervisor())
        assert after[0] <= before[0] + 12 and after[1] <= before[1] + 12
        mtd.ctl("stop", "--now", "web")
