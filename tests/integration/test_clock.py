"""The wall clock jumps, mtd or the machine sleeps: no deadline moves, nothing is killed."""
import datetime
import os
import time

import pytest
from harness import Mtd, eventually, is_alive, pool

HOUR, YEAR = 3600, 365 * 86400


@pytest.fixture
def shifted(tools, tmp_path):
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "shift"
    path.write_text("0")
    from harness import BIN
    with open(BIN + "/mtd-supervisor", "rb") as program:
        if b"__asan_init" in program.read():
            pytest.skip("a preloaded clock and a sanitizer do not go together")
    return path, {"LD_PRELOAD": tools + "/clock_shim.so", "CLOCK_SHIFT": str(path)}


def shift_is_seen(mtd, seconds):
    """The shim works: the supervisor's own time stamps follow."""
    mtd.ctl("restart", "probe")
    mtd.events.drain()
    year = int(mtd.events.seen[-1]["time"][:4])
    return abs(year - time.gmtime(time.time() + seconds).tm_year) <= 1


@pytest.mark.parametrize("seconds", [-HOUR, HOUR, -10 * YEAR, 10 * YEAR])
def test_fault_48_stop_and_back_off_keep_their_deadlines(shifted, actor, seconds):
    path, env = shifted
    pools = {"stop": pool([actor, "ignore=15", "wait"], stop={"timeout": "1200ms"}), "probe": pool([actor, "wait"]),
             "wait": pool([actor, "exit=1"], backoff={"initial": "1500ms", "max": "1500ms", "jitter": 0}, min_uptime="1h")}
    with Mtd(pools, env=env) as mtd:
        mtd.events.expect(event="exited", pool="wait", incarnation=1)
        second = mtd.events.expect(event="exited", pool="wait", incarnation=2)
        begin_wait = time.monotonic()
        begin = time.monotonic()
        mtd.ctl("--no-wait", "stop", "stop")
        mtd.events.expect(event="signalled", pool="stop")
        path.write_text(str(seconds))
        victim = mtd.workers("stop")[0]["pid"]
        mtd.events.expect(event="exited", pool="stop")
        assert time.monotonic() - begin > 1.1
        mtd.events.expect(event="spawned", pool="wait", incarnation=second["incarnation"] + 1)
        assert time.monotonic() - begin_wait > 0.9
        assert victim is None or not is_alive(victim)
        assert shift_is_seen(mtd, seconds)
        status = mtd.status()["daemon"]
        assert 0 <= status["uptime_ms"] < 60_000, "uptime is not wall time"
        assert mtd.pool("probe")["restarts"] == 0


def test_fault_49_daemon_stopped_for_a_while_kills_nobody(actor):
    import signal
    spec = pool([actor, "notify=READY=1", "feed=50"], workers=3, ready="notify", start_timeout="30s", watchdog="1s")
    with Mtd({"web": spec}) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web")
        for pid in (mtd.supervisor(), mtd.keeper):
            os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        eventually(lambda: time.monotonic() - begin > 3, 5)
        for pid in (mtd.keeper, mtd.first_supervisor):
            os.kill(pid, signal.SIGCONT)
        mtd.ctl("status")
        assert mtd.pids("web") == before and mtd.pool("web")["restarts"] == 0


def test_fault_50_ages_go_on_while_the_machine_sleeps_and_deadlines_do_not(shifted, actor):
    path, env = shifted
    env = {**env, "BOOT_SHIFT": str(path.parent / "boot")}
    spec = pool([actor, "wait"], recycle={"max_lifetime": "30m", "jitter": 0}, watchdog="10m")
    with Mtd({"web": spec}, env=env) as mtd:
        mtd.wait_ready()
        before = mtd.workers("web")[0]
        (path.parent / "boot").write_text(str(HOUR))  # as if it had slept so long
        path.write_text(str(HOUR))
        after = mtd.workers("web")[0]
        hour = HOUR * 1000
        assert hour <= after["uptime_ms"] - before["uptime_ms"] < hour + 600_000
        assert hour <= mtd.status()["daemon"]["uptime_ms"] < hour + 600_000
        began = [datetime.datetime.fromisoformat(w["started"].replace("Z", "+00:00")) for w in (before, after)]
        assert abs((began[1] - began[0]).total_seconds()) < 600, "when it began is not moved by a sleep"
        assert (after["pid"], after["state"]) == (before["pid"], "ready") and mtd.pool("web")["recycled"] == 0
        mtd.kill(after["pid"])
        mtd.events.expect(event="spawned", pool="web", incarnation=after["incarnation"] + 1)
        assert mtd.workers("web")[0]["uptime_ms"] < 600_000, "what began after it is young"
