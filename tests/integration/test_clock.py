"""Fault 48: the wall clock jumps; no deadline moves, nothing is killed."""
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
    with Mtd({"web": pool([actor, "notify=READY=1", "wait"], workers=3, ready="notify", start_timeout="500ms")}) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web")
        for pid in (mtd.supervisor(), mtd.keeper):
            os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        eventually(lambda: time.monotonic() - begin > 1.5, 3)
        for pid in (mtd.keeper, mtd.first_supervisor):
            os.kill(pid, signal.SIGCONT)
        mtd.ctl("status")
        assert mtd.pids("web") == before and mtd.pool("web")["restarts"] == 0
