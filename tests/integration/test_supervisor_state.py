"""kill -9 of the supervisor: back-off, breaker, stops, ends and events go on where they were."""
import json
import os
import signal
import subprocess
import threading
import time

from harness import BIN, SLEEPER, Events, Mtd, Varlink, eventually, is_alive, pool, wait_gone


HEADER, RECORD = 64, 512  # bytes of the state file: daemon/supervisor/state_records.h


def why(mtd, name):
    with Varlink(mtd.socket) as client:
        return client.call("Why", select=[name])["pools"][0]


def test_ends_and_counters_are_told_as_before(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        mtd.wait_ready()
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL):
            pid = mtd.pids("web")[0]
            mtd.kill(pid, number)
            mtd.events.expect(event="exited", pid=pid)
            mtd.wait_pool("web", state="running", ready=2)
        before = why(mtd, "web")
        mtd.kill_supervisor()
        after = why(mtd, "web")
        for of in (before, after):
            for worker in of["workers"]:
                worker.pop("uptime_ms")
            of.pop("since_ms")
        assert len(after["workers"][0]["exits"]) == 3
        assert after["workers"][0]["exits"][0]["max_rss_bytes"] is not None
        for key in ("restarts", "recycled", "spawn_failures", "since", "note", "state"):
            assert before[key] == after[key], key
        for old, new in zip(before["workers"], after["workers"]):
            for key in ("pid", "incarnation", "restarts", "started", "exits", "last_exit", "state"):
                assert old[key] == new[key], key


def test_back_off_goes_on_and_is_not_begun_anew(actor):
    keys = {"backoff": {"initial": "1h", "max": "2h", "jitter": 0}}
    with Mtd({"bad": pool(["/bin/false"], **keys)}) as mtd:
        mtd.wait_pool("bad", state="backoff")
        incarnation = mtd.workers("bad")[0]["incarnation"]
        before = mtd.workers("bad")[0]["next_attempt_ms"]
        for _ in range(3):
            mtd.kill_supervisor()
        worker = mtd.workers("bad")[0]
        assert worker["state"] == "backoff" and worker["incarnation"] == incarnation
        assert 3_000_000 < worker["next_attempt_ms"] <= before
        assert mtd.pool("bad")["restarts"] == 1


def test_breaker_stays_open(actor):
    keys = {"crash_limit": {"count": 3, "window": "1h", "retry_after": "1h"},
            "backoff": {"initial": "1ms", "max": "1ms", "jitter": 0}}
    with Mtd({"bad": pool(["/bin/false"], **keys)}) as mtd:
        mtd.events.expect(event="breaker_opened")
        mtd.wait_pool("bad", state="backoff")
        before = mtd.pool("bad")["breaker"]
        mtd.kill_supervisor()
        after = mtd.pool("bad")["breaker"]
        assert before["open"] and after["open"] and after["crashes_in_window"] == before["crashes_in_window"] == 3
        assert 3_000_000 < after["retry_ms"] <= before["retry_ms"]
        assert mtd.pool("bad")["restarts"] == 3
        mtd.ctl("reset-failed", "bad")
        mtd.events.expect(event="breaker_closed")


def test_a_stop_in_progress_keeps_its_deadline_and_its_cause(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "4s"})}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        begin = time.monotonic()
        mtd.ctl("--no-wait", "stop", "web")
        mtd.events.expect(event="signalled", pid=pid)
        for _ in range(3):
            mtd.kill_supervisor()
            worker = mtd.workers("web")[0]
            assert worker["state"] == "stopping" and worker["ending"] == "stop" and worker["pid"] == pid
        assert wait_gone(pid)
        assert time.monotonic() - begin > 3.5
        ended = mtd.events.expect(event="exited", pid=pid)["last_exit"]
        assert ended["planned"] and ended["cause"] == "stop_timeout" and ended["signal"] == signal.SIGKILL
        mtd.wait_pool("web", state="stopped")
        assert mtd.pool("web")["restarts"] == 0
        signals = [e["detail"] for e in mtd.events.drain() if e["event"] == "signalled" and e.get("pid") == pid]
        assert signals == ["SIGTERM", "SIGKILL"]


def test_events_are_neither_lost_nor_doubled(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        mtd.wait_ready()
        killed = []
        for _ in range(8):
            victim = mtd.pids("web")[0]
            mtd.kill(victim)
            killed.append(victim)
            mtd.kill_supervisor()
            mtd.events.expect(event="exited", pid=victim)
            mtd.wait_pool("web", state="running", ready=2)
        mtd.events.drain()
        whole = Events(mtd.socket)
        whole.read(5)
        whole.drain()
        numbers = [int(e["cursor"].partition(":")[2]) for e in whole.seen]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len({e["cursor"].partition(":")[0] for e in whole.seen}) == 1
        assert [e["pid"] for e in whole.seen if e["event"] == "exited"] == killed
        seen = [e["cursor"] for e in mtd.events.seen]
        assert len(seen) == len(set(seen)) and not [e for e in mtd.events.seen if e["event"] == "lagged"]
        assert mtd.pool("web")["restarts"] == 8
        whole.close()


def test_mtctl_follows_through_a_restart(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        mtd.wait_ready()
        follower = subprocess.Popen([os.path.join(BIN, "mtctl"), "-s", mtd.socket, "-o", "jsonl", "events", "-f", "--since", "0"],
                                    stdout=subprocess.PIPE, text=True)
        try:
            seen = []
            def until(test):
                for line in follower.stdout:
                    seen.append(line)
                    if test(line):
                        return
                raise AssertionError(f"the stream ended: {seen[-3:]}")
            until(lambda line: '"ready"' in line)
            for _ in range(3):
                mtd.kill_supervisor()
                mtd.wait_pool("web", state="running", ready=1)
                victim = mtd.pids("web")[0]
                mtd.kill(victim)
                until(lambda line: '"exited"' in line and str(victim) in line)
            assert not [line for line in seen if "lagged" in line]
        finally:
            follower.kill()
            follower.wait()
            follower.stdout.close()


def test_mtctl_waits_on_through_a_restart(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "3s"}),
              "slow": pool([actor, "wait"], ready="notify")}) as mtd:
        mtd.reports.expect("waiting", count=2)
        said = {}
        def call(name, *words):
            said[name] = mtd.ctl(*words, code=None, seconds=60)
        threads = [threading.Thread(target=call, args=("stop", "stop", "web")),
                   threading.Thread(target=call, args=("wait", "wait", "slow", "--for", "ready"))]
        for thread in threads:
            thread.start()
        mtd.events.expect(event="signalled", pool="web")
        mtd.kill_supervisor()
        mtd.kill_supervisor()
        mtd.kill(mtd.pids("slow")[0], signal.SIGUSR2)
        for thread in threads:
            thread.join(60)
        assert mtd.pool("web")["state"] == "stopped" and mtd.pool("slow")["state"] == "running"
        assert set(said) == {"stop", "wait"}


def test_a_pool_that_is_being_removed_is_removed(actor):
    with Mtd({"web": pool(SLEEPER), "old": pool([actor, "ignore=15", "wait"], stop={"timeout": "2s"})}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("old")[0]
        spec = mtd.pools.pop("old")
        mtd.write_config()
        mtd.ctl("--no-wait", "reload")
        mtd.events.expect(event="signalled", pid=pid)
        mtd.kill_supervisor()
        assert "left the configuration" in mtd.pool("old")["note"]
        mtd.pools["old"] = spec
        mtd.write_config()
        mtd.ctl("--no-wait", "reload")
        mtd.kill_supervisor()
        assert wait_gone(pid)
        mtd.wait_pool("old", state="running", ready=1)
        assert mtd.pids("old") != [pid]


def state_of(mtd, name="mtd-state"):
    """The memory file that the keeper holds under this name."""
    for fd in os.listdir(f"/proc/{mtd.keeper}/fd"):
        path = f"/proc/{mtd.keeper}/fd/{fd}"
        if os.readlink(path).startswith(f"/memfd:{name}"):
            return path
    raise AssertionError(f"the keeper holds no {name}")


def test_a_takeover_writes_only_what_it_changes(actor):
    """Else it would cost two writes for each worker that has lived on."""
    with Mtd({"web": pool(SLEEPER, workers=40)}) as mtd:
        mtd.wait_ready()

        def records():
            with open(state_of(mtd), "rb") as file:
                content = file.read()
            return [content[at:at + RECORD] for at in range(HEADER, len(content), RECORD)]
        before = records()
        mtd.kill_supervisor()
        after = records()
        assert len(before) == len(after) > 80
        assert sum(a != b for a, b in zip(before, after)) <= 4, "the daemon's, the pool's, what it changes"
        mtd.kill(mtd.pids("web")[7])
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 40)
        mtd.kill_supervisor()
        assert [w["restarts"] for w in mtd.workers("web")].count(1) == 1, "what changed after it is known to the next one"


def test_a_process_that_only_the_keeper_knows_is_named_and_ended(actor):
    stubborn = pool([actor, "ignore=10", "wait"], stop={"signal": "USR1", "timeout": "60s"})
    with Mtd({"web": pool([actor, "wait"]), "gone": stubborn}) as mtd:
        for _ in range(2):
            mtd.reports.expect("waiting")
        (web,), (gone,) = mtd.pids("web"), mtd.pids("gone")
        del mtd.pools["gone"]
        mtd.write_config()
        mtd.ctl("--no-wait", "reload")
        mtd.events.expect(event="signalled", pid=gone)
        supervisor = mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        with open(state_of(mtd), "r+b") as file:
            file.truncate(0)
        os.kill(supervisor, signal.SIGKILL)
        mtd.reconnect(supervisor)
        mtd.events.expect(event="stray_ended", pid=gone)
        assert wait_gone(gone), "nobody knows its USR1 any more: TERM"
        assert mtd.pids("web") == [web]


def test_fault_87_p16_damaged_state_is_set_aside_and_no_worker_is_lost(actor):
    with Mtd({"web": pool([actor, "wait"], workers=3),
              "n": pool([actor, "notify=READY=1", "wait"], ready="notify", start_timeout="2s")}) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web") + mtd.pids("n")

        def cut(size):
            return lambda file: file.truncate(size)

        def garble(at, data):
            def change(file):
                file.seek(at)
                file.write(data)
            return change

        harm = [cut(0), cut(10), cut(700), garble(0, b"\xff" * 64), garble(64, b"\xff" * 512), garble(600, os.urandom(4096)),
                cut(64)]
        for turn, change in enumerate(harm):
            supervisor = mtd.supervisor()
            os.kill(supervisor, signal.SIGSTOP)
            with open(state_of(mtd), "r+b") as file:
                change(file)
            os.kill(supervisor, signal.SIGKILL)
            mtd.reconnect(supervisor)
            assert mtd.pids("web") + mtd.pids("n") == before, turn
            assert mtd.pool("n")["state"] == "running"
            eventually(lambda: any("is damaged" in w for w in mtd.status()["daemon"]["warnings"]))
            mtd.events.expect(event="state_damaged")
        eventually(lambda: 1 <= len([f for f in os.listdir(mtd.state) if f.startswith("state.bad.")]) <= 4)
        # The next life begins with a state that is whole.
        mtd.kill_supervisor()
        assert not any("is damaged" in w for w in mtd.status()["daemon"]["warnings"])
        time.sleep(2.2)  # start_timeout: the worker that said READY=1 long ago is not asked again
        assert mtd.pids("web") + mtd.pids("n") == before and all(map(is_alive, before))


def test_fault_87_p16_scale_and_stop_do_not_depend_on_the_state():
    """Else the numbers of the configuration would end workers, and start what somebody has stopped."""
    with Mtd({"web": pool(SLEEPER, workers=2), "halt": pool(SLEEPER), "late": pool(SLEEPER, enabled=False)}) as mtd:
        mtd.ctl("--no-wait", "scale", "web=4")
        mtd.ctl("stop", "halt")
        mtd.ctl("--no-wait", "enable", "--now", "late")
        mtd.wait_pool("web", ready=4)
        mtd.wait_ready("late")
        before = mtd.pids("web") + mtd.pids("late")

        def kept():
            try:
                with open(state_of(mtd, "mtd-changes")) as file:
                    return json.load(file)
            except (AssertionError, OSError):
                return {}
        eventually(lambda: all(name in json.dumps(kept()) for name in ("web", "halt", "late")), what="the keeper has all three")
        for size in (0, 700):
            supervisor = mtd.supervisor()
            os.kill(supervisor, signal.SIGSTOP)
            with open(state_of(mtd), "r+b") as file:
                file.truncate(size)
            os.kill(supervisor, signal.SIGKILL)
            mtd.reconnect(supervisor)
            mtd.events.expect(event="state_damaged")
            assert mtd.pool("web")["want"] == 4 and mtd.pool("halt")["state"] == "stopped"
            assert mtd.pids("web") + mtd.pids("late") == before and all(map(is_alive, before))


def test_p16_damaged_events_cost_events_only(actor):
    with Mtd({"web": pool(SLEEPER, workers=2)}) as mtd:
        mtd.wait_ready()
        before, last = mtd.pids("web"), mtd.events.drain()[-1]["cursor"]
        supervisor = mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        with open(state_of(mtd, "mtd-events"), "r+b") as file:
            file.write(b"\xff" * 4096)
        os.kill(supervisor, signal.SIGKILL)
        mtd.reconnect(supervisor)
        assert mtd.pids("web") == before
        mtd.kill(before[0])
        exited = mtd.events.expect(event="exited", pid=before[0])
        assert int(exited["cursor"].partition(":")[2]) > int(last.partition(":")[2])


def test_shutdown_is_carried_out_by_the_next_life(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "3s"})}, exit_code=0) as mtd:
        mtd.reports.expect("waiting")
        pid, supervisor = mtd.pids("web")[0], mtd.supervisor()
        mtd.ctl("--no-wait", "shutdown")
        mtd.events.expect(event="signalled", pid=pid)
        os.kill(supervisor, signal.SIGKILL)
        assert wait_gone(mtd.process.pid, 40)
        assert not is_alive(pid)
