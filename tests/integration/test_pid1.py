"""mtd as the first process of a PID namespace."""
import json
import os
import signal
import subprocess

import pytest
from harness import SLEEPER, Mtd, StartFailed, descendants, eventually, is_alive, pool, stat_of, wait_gone
from test_stop import HIDE_CGROUPS

FIRST = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
STRANGER = 54321  # a uid that no passwd knows


def shell(script):
    return ["sh", "-c", script + ' && exec "$@"', "sh"]


def test_starts_answers_and_restarts_workers(unshare, actor):
    with Mtd({"web": pool([actor, "wait"], workers=3)}, prefix=FIRST, inside=False) as mtd:
        mtd.wait_ready()
        assert mtd.status()["daemon"]["pid"] == 1
        first = mtd.pids("web")
        mtd.ctl("signal", "KILL", "web/1")
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 3)
        assert first[1] not in mtd.pids("web")


def test_reaps_strangers(unshare, actor):
    with Mtd({"web": pool([actor, "storm=500", "wait"])}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("storm over")
        eventually(lambda: not [p for p in descendants(mtd.process.pid) if (stat_of(p) or "?")[0] == "Z"], 5)
        assert mtd.pool("web")["restarts"] == 0


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_term_stops_everything(unshare, actor, name):
    with Mtd({"web": pool([actor, "daemon", "wait"], workers=2)}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("waiting", count=2)
        everything = descendants(mtd.process.pid)
        os.kill(mtd.main_pid(), getattr(signal, "SIG" + name))
        assert wait_gone(mtd.process.pid, 20)
        assert mtd.process.wait(5) == 0
        assert not any(map(is_alive, everything))


def test_stop_of_a_pool_leaves_nothing(unshare, actor):
    with Mtd({"web": pool([actor, "ignore=15", "daemon", "wait"], stop={"timeout": "300ms"})}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("stop", "web")
        names = [open(f"/proc/{p}/comm").read().strip() for p in descendants(mtd.process.pid) if is_alive(p)]
        assert "actor" not in names, names


def test_supervisor_death_as_pid_1(unshare, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=FIRST, inside=False) as mtd:
        mtd.wait_ready()
        before, old = mtd.pids("web"), mtd.supervisor()
        real = [p for p in descendants(mtd.process.pid) if "mtd-supervisor" in os.readlink(f"/proc/{p}/exe")]
        os.kill(real[0], signal.SIGKILL)
        mtd.reconnect(old)
        assert mtd.pids("web") == before


def test_without_proc(unshare, actor):
    script = 'umount -l /proc && exec "$@"'
    with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=["unshare", "--pid", "--fork", "--mount", "--kill-child", "sh", "-c", script, "sh"],
             inside=False) as mtd:
        mtd.wait_ready()
        mtd.ctl("signal", "KILL", "web/0")
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)


def test_a_second_term_stops_at_once(unshare, actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], workers=2, stop={"timeout": "10m"})}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("waiting", count=2)
        everything, keeper = descendants(mtd.process.pid), mtd.main_pid()
        os.kill(keeper, signal.SIGTERM)
        mtd.events.expect(event="signalled", pool="web")
        os.kill(keeper, signal.SIGTERM)
        assert wait_gone(mtd.process.pid, 20) and mtd.process.wait(5) == 0
        assert not any(map(is_alive, everything))


def test_int_twice_stops_at_once(unshare, actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "10m"})}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("waiting")
        keeper = mtd.main_pid()
        os.kill(keeper, signal.SIGINT)
        mtd.events.expect(event="signalled", pool="web")
        os.kill(keeper, signal.SIGINT)
        assert wait_gone(mtd.process.pid, 20) and mtd.process.wait(5) == 0


def test_strangers_of_a_container_exec_are_reaped(unshare, actor):
    """`docker exec` in the background leaves a process whose parent is process 1."""
    with Mtd({"web": pool([actor, "wait"])}, prefix=FIRST, inside=False) as mtd:
        enter = ["nsenter", "-t", str(mtd.main_pid()), "-p", "-m", "sh", "-c"]
        for _ in range(20):
            subprocess.run([*enter, "(sleep 0.05; exit 3) & (sleep 0.01; kill -9 $$) &"], check=False)
        # unshare, keeper, supervisor and worker are all that is left, not even as zombies
        eventually(lambda: len(descendants(mtd.process.pid)) == 3, what="all strangers are reaped")
        assert mtd.pool("web")["restarts"] == 0


def test_signals_from_inside_that_would_end_it(unshare, actor):
    """The kernel lets nobody inside kill process 1."""
    script = "for s in KILL STOP SEGV ABRT PIPE USR1 ALRM; do kill -$$s 1; done; exec sleep infinity"
    with Mtd({"evil": pool(["/bin/sh", "-c", script])}, prefix=FIRST, inside=False) as mtd:
        mtd.until(lambda: any("sleep" in open(f"/proc/{p}/comm").read() for p in descendants(mtd.process.pid) if is_alive(p)))
        before, old = mtd.pids("evil"), mtd.supervisor()
        assert mtd.status()["daemon"]["pid"] == 1 and (stat_of(mtd.main_pid()) or "?")[0] == "S"
        assert (mtd.pids("evil"), mtd.supervisor()) == (before, old)


def test_exit_codes(unshare, actor):
    """It goes on when nothing is left to run: whether that is the end is the operator's business. A stop is 0."""
    pools = {"done": pool(["/bin/true"], restart="never"),
             "bad": pool(["/bin/false"], restart="never"),
             "broken": pool(["/bin/false"], crash_limit={"count": 2, "window": "1m"}, backoff={"initial": "10ms", "max": "10ms"})}
    with Mtd(pools, prefix=FIRST, inside=False) as mtd:
        mtd.wait_pool("done", state="completed")
        mtd.wait_pool("bad", state="failed")
        mtd.until(lambda: mtd.pool("broken")["breaker"]["open"])
        assert mtd.process.poll() is None
        os.kill(mtd.main_pid(), signal.SIGTERM)
        assert mtd.process.wait(20) == 0
    with pytest.raises(StartFailed) as failed:
        with Mtd(config_text="{ broken", prefix=FIRST, inside=False):
            pass
    assert failed.value.code == 8


SURROUNDINGS = {
    "closed stdin": shell("exec <&-"),
    "no descriptors at all": shell("exec <&- >&- 2>&-"),
    "no capabilities, no new privileges": ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"],
    "no cgroup mount": HIDE_CGROUPS,
    "cgroups read-only": shell("for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/self/mounts); do mount -o remount,bind,ro $m || exit 9; done"),
    "no /proc, no /sys": shell("umount -l /sys && while umount -l /proc 2>/dev/null; do :; done"),
    "the /proc of another PID namespace, no cgroups": shell("umount -l /sys && umount -l /proc"),
}


@pytest.mark.parametrize("name", sorted(SURROUNDINGS))
def test_fault_94_surroundings_of_containers(unshare, actor, name):
    with Mtd({"web": pool([actor, "daemon", "wait"], workers=2)}, prefix=[*FIRST, "--mount", *SURROUNDINGS[name]], inside=False) as mtd:
        mtd.wait_ready()
        mtd.ctl("signal", "KILL", "web/0")
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)
        mtd.ctl("scale", "web", "3")
        mtd.ctl("stop", "web")
        mtd.ctl("start", "web")


def test_uid_without_a_passwd_entry(unshare, actor):
    drop = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    mtd = Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=[*FIRST, *drop], inside=False)
    for path in (mtd.runtime, mtd.state):
        os.mkdir(path, 0o700)
        os.chown(path, STRANGER, STRANGER)
    os.chmod(mtd.config, 0o644)
    with mtd:
        mtd.wait_ready()
        mtd.ctl("scale", "web", "3")
        eventually(lambda: os.path.exists(mtd.state + "/run-time.json"), what="written by the nameless user")


def test_read_only_root(unshare, actor):
    """Only the runtime directory can be written, as with --read-only --tmpfs /run."""
    mtd = Mtd({"web": pool([actor, "wait"], workers=2)}, inside=False)
    os.mkdir(mtd.runtime, 0o755)
    mtd.prefix = [*FIRST, "--mount", *shell(f"mount --bind {mtd.runtime} {mtd.runtime} && mount -o remount,bind,ro /"
                                            " && ! touch /read-only-no-more 2>/dev/null")]
    with mtd:
        mtd.wait_ready()
        mtd.ctl("scale", "web", "3")
        eventually(lambda: "scale and stop do not outlive mtd" in mtd.log(), what="said in one line")
        assert mtd.pool("web")["ready"] == 3
        assert json.loads(mtd.ctl("-o", "json", "status").stdout)["daemon"]["pid"] == 1


def refused(**options):
    mtd = Mtd({"web": pool(SLEEPER)}, inside=False, **{"prefix": FIRST, **options})
    with pytest.raises(StartFailed) as failed:
        with mtd:
            pass
    return failed.value


def test_fault_99_no_runtime_directory_and_no_place_for_it(unshare):
    mtd = Mtd({"web": pool(SLEEPER)}, inside=False, prefix=FIRST)
    mtd.runtime = os.path.join(mtd.directory, "missing", "run")
    with pytest.raises(StartFailed) as failed:
        with mtd:
            pass
    assert failed.value.code == 1
    lines = [line for line in failed.value.log.splitlines() if "make the runtime directory" in line]
    assert len(lines) == 1 and lines[0].endswith("missing/run: No such file or directory"), failed.value.log


def test_fault_99_no_dev_null(unshare):
    failed = refused(prefix=[*FIRST, "--mount", *shell("mount -t tmpfs none /dev")])
    assert failed.code == 1
    assert failed.log == "mtd: cannot open /dev/null: No such file or directory\n"
