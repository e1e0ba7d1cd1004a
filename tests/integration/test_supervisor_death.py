"""kill -9 of the supervisor: its workers never notice, no exit is lost, the socket answers again."""
import os
import signal

import pytest
from harness import SLEEPER, Mtd, Stopwatch, Varlink, eventually, is_alive, pool, wait_gone


def test_twenty_kills_touch_no_worker(actor):
    with Mtd({"web": pool([actor, "wait"], workers=4), "slow": pool([actor, "wait"], ready="notify")}) as mtd:
        mtd.reports.expect("waiting", count=5)
        before = mtd.pids("web") + mtd.pids("slow")
        incarnations = [w["incarnation"] for w in mtd.workers("web")]
        for _ in range(20):
            mtd.kill_supervisor()
            assert mtd.pids("web") + mtd.pids("slow") == before
        assert [w["incarnation"] for w in mtd.workers("web")] == incarnations
        assert mtd.pool("web")["restarts"] == 0 and mtd.pool("web")["state"] == "running"
        assert mtd.workers("slow")[0]["state"] == "starting"
        mtd.kill(mtd.pids("slow")[0], signal.SIGUSR2)
        mtd.wait_pool("slow", state="running")
        assert all(map(is_alive, before))


def test_socket_answers_soon(actor):
    with Mtd({"web": pool(SLEEPER, workers=100)}) as mtd:
        mtd.wait_ready()
        took = []
        for _ in range(5):
            old = mtd.supervisor()
            watch = Stopwatch(mtd.keeper)
            os.kill(old, signal.SIGKILL)
            while True:
                try:
                    with Varlink(mtd.socket) as client:
                        new = client.call("Status")["daemon"]["supervisor_pid"]
                        if new != old:
                            break
                except (OSError, EOFError):
                    pass
            took.append(watch.seconds(new))
        assert sorted(took)[2] < 1.0, took
        mtd.reconnect(old)


def test_fault_29_exits_of_the_meantime_are_exact(actor):
    keys = {"restart": "never"}
    pools = {f"c{c}": pool([actor, "wait"], **keys) for c in range(6)}
    with Mtd(pools) as mtd:
        mtd.reports.expect("waiting", count=6)
        pids = [mtd.pids(f"c{c}")[0] for c in range(6)]
        supervisor = mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)  # nobody is there to see it
        fatal = [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGALRM, signal.SIGQUIT]
        for pid, number in zip(pids, fatal):
            os.kill(pid, number)
            assert wait_gone(pid)
        os.kill(supervisor, signal.SIGKILL)
        mtd.reconnect(supervisor)
        for c, number in enumerate(fatal):
            last = mtd.until(lambda c=c: mtd.pool(f"c{c}")["workers"][0]["last_exit"])
            if number == signal.SIGTERM:
                assert last["code"] == 0 and last["signal"] is None  # the actor obeys TERM
            else:
                assert last["signal"] == number, (c, last)


def test_worker_that_died_meanwhile_is_replaced_once(actor):
    with Mtd({"web": pool([actor, "wait"], workers=3)}) as mtd:
        mtd.wait_ready()
        pids, supervisor = mtd.pids("web"), mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(pids[1], signal.SIGKILL)
        assert wait_gone(pids[1])
        os.kill(supervisor, signal.SIGKILL)
        mtd.reconnect(supervisor)
        mtd.wait_pool("web", state="running", ready=3)
        after = mtd.pids("web")
        assert set(after) > {pids[0], pids[2]} and len(after) == 3


def test_scale_and_stopped_are_kept(actor):
    with Mtd({"web": pool(SLEEPER, workers=2), "off": pool(SLEEPER)}) as mtd:
        mtd.ctl("scale", "web", "4")
        mtd.ctl("stop", "off")
        before = mtd.pids("web")
        mtd.kill_supervisor()
        assert mtd.pool("web")["want"] == 4 and mtd.pids("web") == before
        assert mtd.pool("off")["state"] == "stopped" and mtd.pids("off") == []


def test_incarnations_never_repeat(actor):
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        seen = set()
        for _ in range(4):
            worker = mtd.workers("web")[0]
            assert worker["incarnation"] not in seen
            seen.add(worker["incarnation"])
            mtd.kill(worker["pid"])
            mtd.until(lambda w=worker: mtd.workers("web")[0]["pid"] not in (None, w["pid"]))
            mtd.kill_supervisor()


def test_killed_in_the_middle_of_a_stop(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], workers=2, stop={"timeout": "1s"})}) as mtd:
        mtd.reports.expect("waiting", count=2)
        pids = mtd.pids("web")
        mtd.ctl("--no-wait", "stop", "web")
        mtd.events.expect(event="signalled", pool="web")
        mtd.kill_supervisor()
        mtd.ctl("stop", "web")
        assert not any(map(is_alive, pids)) and mtd.pool("web")["state"] == "stopped"


def test_killed_in_the_middle_of_a_rolling_reload(actor):
    with Mtd({"web": pool([actor, "wait"], workers=6)}) as mtd:
        mtd.wait_ready()
        mtd.pools["web"]["env"]["CHANGED"] = "1"
        mtd.write_config()
        mtd.ctl("--no-wait", "reload")
        mtd.kill_supervisor()
        mtd.wait_pool("web", 30, state="running", ready=6, outdated=0)
        assert len(mtd.pids("web")) == 6


def test_killed_while_it_starts_many(actor):
    with Mtd({"web": pool(SLEEPER, workers=1)}) as mtd:
        for want in (50, 10, 60):
            mtd.ctl("--no-wait", "scale", "web", str(want))
            mtd.kill_supervisor()
            mtd.ctl("scale", "web", str(want))
            mtd.until(lambda want=want: len(mtd.pids("web")) == want and mtd.pool("web")["ready"] == want)
        mtd.events.drain()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_other_deaths_of_the_supervisor(actor, number):
    with Mtd({"web": pool(SLEEPER, workers=2)}) as mtd:
        before, old = mtd.pids("web"), mtd.supervisor()
        os.kill(old, number)
        mtd.reconnect(old)
        assert mtd.pids("web") == before


def test_configuration_in_force_is_kept_though_the_file_is_bad_now(actor):
    with Mtd({"web": pool(SLEEPER, workers=2)}) as mtd:
        before, good = mtd.pids("web"), open(mtd.config).read()
        mtd.write_config("{ broken")
        mtd.kill_supervisor()
        assert mtd.pids("web") == before and mtd.pool("web")["want"] == 2
        mtd.write_config(good)


def test_event_stream_goes_on_with_its_numbers(actor):
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        mtd.wait_ready()
        mtd.events.drain()
        last = mtd.events.seen[-1]["cursor"]
        mtd.kill_supervisor()
        victim = mtd.pids("web")[0]
        mtd.kill(victim)
        mtd.events.expect(event="exited", pid=victim)
        cursors = [e["cursor"] for e in mtd.events.seen if "cursor" in e]
        assert len(cursors) == len(set(cursors))
        assert last not in cursors or cursors.index(last) >= 0


def test_term_while_the_supervisor_is_dead(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, checks_descriptors=False, exit_code=None) as mtd:
        pids, old = mtd.pids("web"), mtd.supervisor()
        os.kill(old, signal.SIGSTOP)
        os.kill(mtd.keeper, signal.SIGTERM)
        os.kill(old, signal.SIGKILL)
        assert wait_gone(mtd.process.pid, 45)
        assert not any(map(is_alive, pids))


def test_a_reload_asked_for_by_signal_outlives_the_supervisor():
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        mtd.wait_ready()
        old = mtd.supervisor()
        os.kill(old, signal.SIGSTOP)
        mtd.pools["web"]["workers"] = 2
        mtd.write_config()
        os.kill(mtd.keeper, signal.SIGHUP)
        eventually(lambda: not has_pending(mtd.keeper, signal.SIGHUP), what="the keeper has taken the signal")
        os.kill(old, signal.SIGKILL)
        mtd.reconnect(old)
        mtd.until(lambda: mtd.pool("web")["want"] == 2)


def has_pending(pid, number):
    with open(f"/proc/{pid}/status") as file:
        line = next(x for x in file if x.startswith("ShdPnd:"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_leftovers_of_a_worker_adopted_are_found(actor):
    with Mtd({"web": pool([actor, "ignore=15", "daemon", "wait"], stop={"timeout": "300ms"})}) as mtd:
        stray = mtd.reports.expect("daemon")["pid"]
        mtd.kill_supervisor()
        mtd.ctl("stop", "web")
        assert eventually(lambda: not is_alive(stray), 2)


def test_tasks_and_ready_are_kept(actor):
    with Mtd({"q": pool([actor, "notify=READY=1", "wait"], ready="notify", recycle={"maxtasksperchild": 50})}) as mtd:
        mtd.wait_ready()
        pid = mtd.pids("q")[0]
        for _ in range(5):
            os.kill(pid, signal.SIGUSR1)
            mtd.reports.expect("task")
        mtd.until(lambda: mtd.workers("q")[0]["tasks"] == 5)
        mtd.kill_supervisor()
        worker = mtd.workers("q")[0]
        assert worker["pid"] == pid and worker["state"] == "ready" and worker["tasks"] == 5 and worker["task_limit"] == 50
