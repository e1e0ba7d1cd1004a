"""Stop means: nothing of it is left. With cgroups, without, and without root."""
import contextlib
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from harness import NOBODY, PATIENCE, SLEEPER, Mtd, Varlink, eventually, is_alive, pool, stat_of

HIDE_CGROUPS = ["unshare", "-m", "sh", "-c", 'for m in $(awk \'$3 == "cgroup2" {print $2}\' /proc/self/mounts); do umount -l "$m" || exit 9; done; exec "$@"', "sh"]


@pytest.fixture(params=["cgroup", "no cgroup", "no root"])
def where(request):
    """How mtd is run: with a cgroup hierarchy of its own, with none in sight, as an ordinary user."""
    if request.param == "cgroup":
        request.getfixturevalue("cgroups")
        return {}
    request.getfixturevalue("root")
    return {"prefix": HIDE_CGROUPS} if request.param == "no cgroup" else {"user": NOBODY}


def test_fault_34_nothing_survives_a_stop(where, actor):
    command = [actor, "ignore=15", "daemon", "daemon", "child", "wait"]
    with Mtd({"web": pool(command, workers=2, stop={"timeout": "400ms"})}, **where) as mtd:
        strays = [r["pid"] for r in mtd.reports.expect("daemon", count=4)]
        mtd.reports.expect("waiting", count=2)
        pids = mtd.pids("web")
        done = mtd.ctl("stop", "web")
        text = done.stdout + done.stderr
        assert not [p for p in strays + pids if is_alive(p)]
        assert "killed" in text
        assert re.search(r"leftover", text) and any(str(p) in text for p in strays), text
        assert mtd.pool("web")["state"] == "stopped"


def test_fault_34_nothing_survives_the_daemon(where, actor):
    with Mtd({"web": pool([actor, "ignore=15", "daemon", "wait"], workers=3, stop={"timeout": "300ms"})}, checks_descriptors=False,
             **where) as mtd:
        strays = [r["pid"] for r in mtd.reports.expect("daemon", count=3)]
        pids = mtd.pids("web")
        mtd.stop()
        assert not [p for p in strays + pids if is_alive(p)]


def test_daemon_forked_during_the_stop_is_found(where, actor):
    with Mtd({"web": pool([actor, "fork-on-term", "wait"])}, **where) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("stop", "web")
        assert not is_alive(mtd.reports.expect("daemon")["pid"])


def test_left_over_of_a_crashed_worker_is_ended(where, actor):
    with Mtd({"web": pool([actor, "daemon", "wait"])}, **where) as mtd:
        stray = mtd.reports.expect("daemon")["pid"]
        mtd.kill(mtd.pids("web")[0])
        mtd.reports.expect("daemon")
        eventually(lambda: not is_alive(stray), what="the dead incarnation's daemon is ended")


def test_fault_31_ignored_term_is_killed_at_the_deadline(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "1s"})}) as mtd:
        mtd.reports.expect("waiting")
        begin, watch = time.monotonic(), mtd.stopwatch()
        mtd.ctl("--no-wait", "stop", "web")
        ended = mtd.events.expect(event="exited", pool="web")
        assert time.monotonic() - begin >= 1.0 and watch.seconds() <= 1.5
        assert ended["last_exit"]["cause"] == "stop_timeout"


def test_stop_signal_and_scope_are_as_configured(actor):
    with Mtd({"web": pool([actor, "wait"], stop={"signal": "USR1", "timeout": "300ms"})}) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("stop", "web")
        mtd.reports.expect("task")  # USR1 came; then the deadline, then KILL


def test_fault_32_stopped_worker_gets_cont(actor):
    with Mtd({"web": pool([actor, "wait"], stop={"timeout": "1h"})}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: stat_of(pid)[0] == "T")
        mtd.ctl("stop", "web")
        mtd.reports.expect("term")


def test_frozen_pool_can_be_stopped(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2, stop={"timeout": "1s"})}) as mtd:
        mtd.wait_ready()
        mtd.ctl("freeze", "web")
        pids = mtd.pids("web")
        mtd.ctl("stop", "web")
        assert not any(map(is_alive, pids))


def test_fault_33_stuck_worker_is_named_not_waited_for(root, tmp_path):
    image, place = tmp_path / "image", tmp_path / "mount"
    place.mkdir()
    os.chmod(tmp_path, 0o755)
    image.write_bytes(b"")
    os.truncate(image, 16 << 20)
    made = subprocess.run(f"mkfs.ext4 -q {image} && mount -o loop {image} {place}", shell=True, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"needs a loop mount: {made.stderr.strip()}")
    frozen = False
    try:
        if subprocess.run(["fsfreeze", "-f", place], check=False).returncode != 0:
            pytest.skip("needs fsfreeze")
        frozen = True
        script = f"exec dd if=/dev/zero of={place}/file bs=4k count=10"
        with Mtd({"stuck": pool(["/bin/sh", "-c", script], stop={"timeout": "300ms"}), "web": pool(SLEEPER)},
                 checks_descriptors=False) as mtd:
            pid = mtd.pids("stuck")[0]
            eventually(lambda: stat_of(pid)[0] == "D")
            done = mtd.ctl("stop", "stuck", code=1, seconds=40)
            assert str(pid) in done.stdout + done.stderr
            assert mtd.workers("stuck")[0]["state"] == "stuck"
            assert mtd.pids("stuck") == [pid], "no replacement"
            mtd.ctl("restart", "web")
            subprocess.run(["fsfreeze", "-u", place], check=True)
            frozen = False
            mtd.wait_pool("stuck", state="stopped")
    finally:
        if frozen:
            subprocess.run(["fsfreeze", "-u", place], check=False)
        subprocess.run(["umount", "-l", place], check=False)


def test_fault_37_stop_during_back_off(actor):
    with Mtd({"bad": pool([actor, "exit=1"], backoff={"initial": "1h", "max": "1h"}, min_uptime="1h")}) as mtd:
        mtd.until(lambda: mtd.workers("bad")[0]["state"] == "backoff")
        mtd.ctl("stop", "bad")
        assert mtd.pool("bad")["state"] == "stopped"
        mtd.events.drain()
        spawned = [e for e in mtd.events.seen if e["event"] == "spawned"]
        exited = [e for e in mtd.events.seen if e["event"] == "exited"]
        assert len(exited) == len(spawned), "one record for each"


def test_fault_37_stop_while_not_ready_yet(actor):
    with Mtd({"slow": pool([actor, "wait"], ready="notify")}) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("stop", "slow")
        assert mtd.pool("slow")["state"] == "stopped"
        mtd.events.drain()
        assert len([e for e in mtd.events.seen if e["event"] == "exited"]) == 1


def test_fault_37_stop_right_after_start(actor):
    with Mtd({"web": pool([actor, "wait"], workers=5, enabled=False)}) as mtd:
        for _ in range(10):
            mtd.ctl("--no-wait", "start", "web")
            mtd.ctl("stop", "web")
            assert mtd.pool("web")["state"] == "stopped" and mtd.pids("web") == []
        mtd.events.drain()
        spawned = {(e["worker"], e["incarnation"]) for e in mtd.events.seen if e["event"] == "spawned"}
        exited = [(e["worker"], e["incarnation"]) for e in mtd.events.seen if e["event"] == "exited"]
        assert len(exited) == len(set(exited)) and set(exited) == spawned


def test_fault_37_stop_during_a_stop_and_a_reload(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], workers=3, stop={"timeout": "700ms"})}) as mtd:
        mtd.reports.expect("waiting", count=3)
        mtd.pools["web"]["env"]["CHANGED"] = "1"
        mtd.write_config()
        mtd.ctl("--no-wait", "reload")
        mtd.ctl("--no-wait", "stop", "web")
        mtd.ctl("stop", "web")
        assert mtd.pool("web")["state"] == "stopped" and mtd.pids("web") == []


def test_fault_38_stop_is_idempotent_and_hup_does_not_cancel_it(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "1s"})}, checks_descriptors=False) as mtd:
        mtd.reports.expect("waiting")
        os.kill(mtd.keeper, signal.SIGTERM)
        mtd.events.expect(event="stopping", pool="web")
        os.kill(mtd.keeper, signal.SIGHUP)
        os.kill(mtd.keeper, signal.SIGUSR1)
        os.kill(mtd.keeper, signal.SIGHUP)
        assert mtd.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("first,second", [("INT", "INT"), ("TERM", "QUIT")])
def test_fault_38_a_second_interrupt_is_now(actor, first, second):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "1h"})}, checks_descriptors=False) as mtd:
        mtd.reports.expect("waiting")
        os.kill(mtd.keeper, getattr(signal, "SIG" + first))
        mtd.events.expect(event="stopping", pool="web")
        os.kill(mtd.keeper, getattr(signal, "SIG" + second))
        mtd.process.wait(PATIENCE)


def test_fault_39_hung_clients_do_not_hold_a_stop(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        clients = [Varlink(mtd.socket) for _ in range(20)]
        for client in clients[:10]:
            client.send("Events", {"since": "0", "follow": True}, more=True)
        for client in clients[10:]:
            client.send_raw(b'{"method":"io.mtd.Man')
        mtd.stop(PATIENCE)
        for client in clients[10:]:
            with contextlib.suppress(ConnectionResetError):
                assert client.receive() is None, "nobody waited for the end of its request"
        for client in clients:
            client.close()


def test_client_that_leaves_does_not_cancel_a_stop(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "800ms"})}) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("--timeout", "100ms", "stop", "web", code=6)
        mtd.wait_pool("web", state="stopped")


def test_many_stops_at_once(actor):
    with Mtd({f"p{i}": pool([actor, "daemon", "wait"], workers=2) for i in range(6)}) as mtd:
        mtd.reports.expect("waiting", count=12)
        threads = [threading.Thread(target=mtd.ctl, args=("stop", f"p{i}")) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(p["state"] == "stopped" for p in mtd.status()["pools"])


def test_steps_come_one_after_the_other(actor):
    steps = [["HUP", "300ms"], ["TERM", "300ms"], ["KILL"]]
    with Mtd({"web": {**pool([actor, "ignore=15", "wait"]), "stop": {"steps": steps}}}) as mtd:
        mtd.reports.expect("waiting")
        done = mtd.ctl("stop", "web").stdout
        mtd.reports.expect("hup")
        assert "1 killed" in done, done
        sent = [e["detail"] for e in mtd.events.drain() if e["event"] == "signalled"]
        assert len(sent) == 3 and "HUP" in sent[0] and "TERM" in sent[1] and "KILL" in sent[2], sent


def test_the_supervisor_dies_between_two_steps(actor):
    """The successor goes on with the step, its deadline included, and sends nothing twice."""
    steps = [["HUP", "1s"], ["TERM", "infinity"]]
    with Mtd({"web": {**pool([actor, "ignore=15", "wait"]), "stop": {"steps": steps}}}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        mtd.ctl("--no-wait", "stop", "web")
        mtd.reports.expect("hup")
        mtd.kill_supervisor()
        mtd.events.expect(lambda e: "TERM" in e.get("detail", ""), event="signalled")
        assert not [r for r in mtd.reports.seen if r["what"] == "hup"] and is_alive(pid)
        mtd.ctl("stop", "--now", "web")
        assert not is_alive(pid)


def test_drain_waits_as_long_as_it_takes(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], workers=2, stop={"timeout": "100ms"})}) as mtd:
        mtd.reports.expect("waiting", count=2)
        pids = mtd.pids("web")
        mtd.ctl("--timeout", "1s", "stop", "--drain", "web", code=6)
        assert mtd.pool("web")["state"] == "draining" and all(map(is_alive, pids)), "ten times the usual time"
        assert {w["state"] for w in mtd.workers("web")} == {"draining"}
        mtd.kill_supervisor()
        assert mtd.pool("web")["state"] == "draining"
        os.kill(pids[0], signal.SIGKILL)  # this one has ended by itself
        mtd.until(lambda: len(mtd.pids("web")) == 1)
        assert all(map(is_alive, pids[1:]))
        mtd.ctl("stop", "web")  # the patience is over
        assert not any(map(is_alive, pids)) and mtd.pool("web")["state"] == "stopped"


def test_drain_and_now_exclude_each_other(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        assert "exclude each other" in mtd.ctl("stop", "--now", "--drain", "web", code=2).stderr


# Each process forks as often as it may, and ignores TERM.
BOMB = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.5)  # the processors are the tests', too
"""


def test_fault_35_a_fork_bomb_is_ended_by_a_stop(root, cgroups, actor):
    bomb = pool(["/usr/bin/python3", "-S", "-c", BOMB], user="games", rlimits={"nproc": 150}, stop={"timeout": "300ms"})
    with Mtd({"bomb": bomb, "web": pool([actor, "wait"])}) as mtd:
        group = mtd.workers("bomb")[0]["cgroup"]

        def count():
            with open(group + "/cgroup.procs") as file:
                return len(file.read().split())
        eventually(lambda: count() >= 140, what="the bomb has gone off")
        mtd.reports.expect("waiting")
        mtd.kill(mtd.pids("web")[0])
        mtd.reports.expect("waiting")  # its limit is not mtd's
        mtd.ctl("stop", "bomb")
        assert not os.path.exists(group), "nothing of it lives"
        assert mtd.pool("bomb")["state"] == "stopped" and mtd.pool("web")["ready"] == 1


def test_fault_36_a_frozen_cgroup_is_ended_by_a_stop(root, cgroups, actor):
    with Mtd({"web": pool([actor, "child", "wait"], stop={"timeout": "300ms"})}) as mtd:
        mtd.reports.expect("waiting")
        worker = mtd.workers("web")[0]
        with open(worker["cgroup"] + "/cgroup.freeze", "w") as file:  # by somebody else
            file.write("1")

        def frozen():
            with open(worker["cgroup"] + "/cgroup.events") as file:
                return "frozen 1" in file.read()
        eventually(frozen)
        mtd.ctl("stop", "web")
        event = mtd.events.expect(event="exited", pool="web")
        assert (event["last_exit"]["cause"], event["last_exit"]["signal"]) == ("stop_timeout", 9)
        assert not is_alive(worker["pid"])
