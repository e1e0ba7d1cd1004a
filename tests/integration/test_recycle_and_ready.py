"""What workers say on NOTIFY_SOCKET: ready, status, tasks done; recycling after so many tasks."""
import os
import re
import signal
import socket

import pytest
from harness import SLEEPER, Mtd, eventually, is_alive, pool


def do_tasks(mtd, pid, count):
    """The worker counts and reports `count` tasks; returns when it has sent them all."""
    for _ in range(count):
        os.kill(pid, signal.SIGUSR1)
        mtd.reports.expect("task", pid=pid)


def test_recycled_after_exactly_so_many_tasks(actor):
    with Mtd({"q": pool([actor, "wait"], workers=2, overlap=True, recycle={"maxtasksperchild": 10})}) as mtd:
        mtd.reports.expect("waiting", count=2)
        first = mtd.workers("q")[0]
        assert first["task_limit"] == 10
        do_tasks(mtd, first["pid"], 9)
        mtd.until(lambda: mtd.workers("q")[0]["tasks"] == 9)
        assert is_alive(first["pid"])
        do_tasks(mtd, first["pid"], 1)
        mtd.events.expect(event="exited", pid=first["pid"])
        event = mtd.events.expect(event="exited", pid=first["pid"])
        assert event["last_exit"]["cause"] == "recycle:max_tasks" and event["last_exit"]["planned"] is True
        new = mtd.until(lambda: (lambda w: w if w["pid"] not in (None, first["pid"]) and w["state"] == "ready" else None)(mtd.workers("q")[0]))
        assert new["tasks"] == 0 and new["incarnation"] > first["incarnation"]
        p = mtd.pool("q")
        assert (p["restarts"], p["recycled"]) == (0, 1), "planned is not a crash"
        assert p["breaker"]["crashes_in_window"] == 0


def test_replacement_is_ready_first(actor):
    with Mtd({"q": pool([actor, "notify=READY=1", "wait"], workers=1, overlap=True, ready="notify", recycle={"maxtasksperchild": 1})}) as mtd:
        mtd.reports.expect("waiting")
        old = mtd.workers("q")[0]
        do_tasks(mtd, old["pid"], 1)
        mtd.events.expect(event="exited", pid=old["pid"])
        ready = mtd.events.expect(event="ready", pool="q", test=lambda e: e["incarnation"] > old["incarnation"])
        order = [e for e in mtd.events.seen if e in (ready,) or (e["event"] == "exited" and e.get("pid") == old["pid"])]
        assert order[0] is ready, "ready before the old one went"


def test_jitter_only_shortens(actor):
    with Mtd({"q": pool([actor, "wait"], workers=20, recycle={"max_tasks": 1000, "jitter": 0.1})}) as mtd:
        limits = [w["task_limit"] for w in mtd.workers("q")]
        assert all(900 <= limit <= 1000 for limit in limits) and len(set(limits)) > 3


def test_fault_44_all_reach_the_limit_together(actor):
    with Mtd({"q": pool([actor, "wait"], workers=10, overlap=True, recycle={"maxtasksperchild": 3, "concurrency": 2})}) as mtd:
        mtd.reports.expect("waiting", count=10)
        old = mtd.pids("q")
        for pid in old:
            for _ in range(3):
                os.kill(pid, signal.SIGUSR1)
                mtd.reports.expect("task", pid=pid)
        mtd.until(lambda: mtd.pool("q")["recycled"] == 10 and mtd.pool("q")["ready"] == 10, 30)
        mtd.events.drain()
        alive, fewest, most = 0, 99, 0
        for event in mtd.events.seen:
            alive += {"ready": 1, "exited": -1}.get(event["event"], 0)
            if event["event"] == "exited":
                fewest = min(fewest, alive)
            most = max(most, alive)
        assert fewest >= 10 and most <= 12, (fewest, most)


def test_many_tasks_in_one_report_and_one_datagram(actor):
    with Mtd({"q": pool([actor, "notify=X_MTD_TASKS=+7", "notify=STATUS=busy;X_MTD_TASKS=+3", "wait"], recycle={"maxtasksperchild": 100})}) as mtd:
        mtd.reports.expect("waiting")
        mtd.until(lambda: mtd.workers("q")[0]["tasks"] == 10)
        assert mtd.workers("q")[0]["status_text"] == "busy"


@pytest.mark.parametrize("text", ["X_MTD_TASKS=-5", "X_MTD_TASKS=+99999999999999999999999", "X_MTD_TASKS=x", "X_MTD_TASKS=", "=", ";;;", "READY"])
def test_nonsense_on_the_notify_socket_is_ignored(actor, text):
    with Mtd({"q": pool([actor, f"notify={text}", "notify=X_MTD_TASKS=+1", "wait"], recycle={"maxtasksperchild": 100})}) as mtd:
        mtd.until(lambda: mtd.workers("q")[0]["tasks"] == 1)
        assert mtd.pool("q")["restarts"] == 0


def test_strangers_on_the_notify_socket_count_for_nobody(actor):
    with Mtd({"q": pool([actor, "wait"], ready="notify", recycle={"maxtasksperchild": 10})}) as mtd:
        mtd.reports.expect("waiting")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            for _ in range(100):
                stranger.sendto(b"READY=1\nX_MTD_TASKS=+50", mtd.runtime + "/notify")
        mtd.kill(mtd.pids("q")[0], signal.SIGUSR1)
        mtd.until(lambda: mtd.workers("q")[0]["tasks"] == 1)
        assert mtd.workers("q")[0]["state"] == "starting"
        mtd.kill(mtd.pids("q")[0], signal.SIGUSR2)
        mtd.wait_pool("q", state="running")


def test_large_and_many_datagrams(actor):
    with Mtd({"q": pool([actor, "wait"])}) as mtd:
        mtd.wait_ready()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            for size in (0, 1, 4096, 65536, 100000):
                for _ in range(50):
                    try:
                        stranger.sendto(b"A" * size, mtd.runtime + "/notify")
                    except OSError:
                        pass
        victim = mtd.pids("q")[0]
        mtd.kill(victim)
        mtd.events.expect(event="ready", pool="q", test=lambda e: e["pid"] != victim)


def test_worker_may_send_descriptors_and_they_are_closed(actor):
    with Mtd({"q": pool([actor, "wait"])}) as mtd:
        before = len(os.listdir(f"/proc/{mtd.supervisor()}/fd"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.connect(mtd.runtime + "/notify")
            for _ in range(100):
                socket.send_fds(stranger, [b"FDSTORE=1"], [0] * 200)
        mtd.ctl("status")
        eventually(lambda: len(os.listdir(f"/proc/{mtd.supervisor()}/fd")) <= before + 1, 3)


def test_ready_notify(actor):
    with Mtd({"web": pool([actor, "wait"], ready="notify")}) as mtd:
        mtd.reports.expect("waiting")
        assert mtd.workers("web")[0]["state"] == "starting"
        mtd.ctl("is-ready", "web", "-q", code=3)
        mtd.kill(mtd.pids("web")[0], signal.SIGUSR2)
        mtd.ctl("wait", "web", "--for", "ready")
        assert mtd.workers("web")[0]["state"] == "ready"


def test_start_timeout_kills_and_says_so(actor):
    with Mtd({"web": pool([actor, "wait"], ready="notify", start_timeout="300ms", backoff={"initial": "1h", "max": "1h"})}) as mtd:
        event = mtd.events.expect(event="exited", pool="web")
        assert event["last_exit"]["cause"] == "start_timeout" and event["last_exit"]["planned"] is False
        assert "start_timeout" in mtd.ctl("why", "web").stdout or "start" in mtd.ctl("why", "web").stdout


def test_status_text_is_shown_and_escaped(actor):
    with Mtd({"web": pool([actor, "notify=STATUS=\x1b]0,evil\x07 42 % \u202e", "wait"])}) as mtd:
        mtd.until(lambda: mtd.workers("web")[0]["status_text"])
        for words in (("status", "web"), ("why", "web"), ("-o", "json", "status", "web"), ("-o", "wide", "status", "web")):
            out = mtd.ctl(*words).stdout
            assert "\x1b" not in out and "\x07" not in out and (words[0] == "-o" or "\u202e" not in out), words
        assert re.search("42", mtd.ctl("status", "web").stdout)


def test_worker_that_retires_itself(actor):
    with Mtd({"web": pool([actor, "notify=STOPPING=1", "sleep=200", "exit=0"], restart="always", backoff={"initial": "1h", "max": "1h"},
                          min_uptime="0s")}) as mtd:
        event = mtd.events.expect(event="exited", pool="web")
        assert event["last_exit"]["cause"] == "recycle:self" and event["last_exit"]["planned"] is True
        mtd.events.expect(event="spawned", pool="web", incarnation=2)
        assert mtd.pool("web")["restarts"] == 0


def test_plain_sleeper_has_no_task_limit():
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        assert mtd.workers("web")[0]["task_limit"] is None
