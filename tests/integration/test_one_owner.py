"""Fault 92: two daemons in one directory; exactly one wins, the loser harms nothing."""
import contextlib
import os
import select
import signal
import subprocess
import tempfile

import pytest
from harness import NOBODY, Events, Mtd, StartFailed, descendants, eventually, is_alive, pool, wait_gone


def start_rival(mtd):
    """A second daemon over the same directories."""
    with open(mtd.log_path, "ab") as log:
        return subprocess.Popen(mtd.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")


def test_the_second_is_refused_with_9_and_the_owners_pid(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        before = mtd.pids("web")
        rival = start_rival(mtd)
        assert rival.wait(20) == 9
        assert str(mtd.keeper) in mtd.log()
        mtd.ctl("status")
        assert mtd.pids("web") == before and all(map(is_alive, before))


def race(actor, rounds):
    for _ in range(rounds):
        mtd = Mtd({"web": pool([actor, "wait"])}, exit_code=None)
        rivals = []
        try:
            rivals = [start_rival(mtd), start_rival(mtd)]
            pid, status = os.waitpid(-1, 0)
            while pid not in [r.pid for r in rivals]:
                pid, status = os.waitpid(-1, 0)
            loser = next(r for r in rivals if r.pid == pid)
            loser.returncode = os.waitstatus_to_exitcode(status)
            (winner,) = [r for r in rivals if r.pid != pid]
            assert loser.returncode == 9, mtd.log()
            eventually(lambda: mtd.run_ctl("is-ready", "-q").returncode == 0, 20, "the winner serves")
            assert mtd.status()["daemon"]["pid"] == winner.pid
            os.kill(winner.pid, signal.SIGTERM)
            assert winner.wait(20) == 0, mtd.log()
            mtd.process = winner
            mtd.check_nothing_left()
        finally:
            for rival in rivals:
                with contextlib.suppress(ProcessLookupError):
                    if rival.poll() is None:
                        rival.kill()
                        rival.wait()
            mtd.process = mtd.process or (rivals[0] if rivals else None)
            mtd._end_hard()
            mtd._clean()


def test_fault_92_two_at_once(actor, full):
    race(actor, 200 if full else 20)


def test_lock_file_is_private(actor):
    with Mtd({"web": pool([actor, "wait"])}, popen={"preexec_fn": lambda: os.umask(0)}) as mtd:
        assert os.stat(mtd.runtime + "/lock").st_mode & 0o077 == 0
        assert os.stat(mtd.runtime).st_mode & 0o022 == 0


def test_keeper_kill_9_leaves_nothing_for_long(actor):
    """Not promised to survive; but the supervisor notices, ends all workers, and a new start works."""
    with Mtd({"web": pool([actor, "wait"], workers=3)}, exit_code=-9, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        pids, supervisor = mtd.pids("web"), mtd.supervisor()
        os.kill(mtd.keeper, signal.SIGKILL)
        mtd.process.wait(5)
        assert wait_gone(supervisor, 20)
        for pid in pids:
            assert wait_gone(pid, 20)


def test_a_start_waits_for_the_supervisor_of_a_killed_keeper(actor):
    """A restart without a pause: the supervisor, still ending its workers, holds the lock."""
    with Mtd({"web": pool([actor, "wait"], workers=2)}, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        pids, supervisor = mtd.pids("web"), mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(mtd.keeper, signal.SIGKILL)
        mtd.process.wait(5)
        mtd.events.close()
        ready = mtd.launch()
        eventually(lambda: len(descendants(mtd.process.pid)) == 1, what="the new supervisor runs")
        poller = select.poll()
        poller.register(ready, select.POLLIN)
        assert not poller.poll(500), "it waits"
        os.kill(supervisor, signal.SIGCONT)
        assert os.read(ready, 1) == b"\n", mtd.log()
        os.close(ready)
        assert not any(map(is_alive, pids))
        mtd.events = Events(mtd.socket)
        mtd.keeper = mtd.process.pid
        mtd.wait_ready()


def test_a_hung_supervisor_of_a_killed_keeper_is_named(actor):
    with Mtd({"web": pool([actor, "wait"])}, exit_code=-9, checks_descriptors=False) as mtd:
        supervisor = mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(mtd.keeper, signal.SIGKILL)
        mtd.process.wait(5)
        rival = start_rival(mtd)
        assert rival.wait(20) == 9
        assert f"still held by what is left of an mtd (pid {mtd.keeper}) that is gone" in mtd.log()
        os.kill(supervisor, signal.SIGCONT)
        assert wait_gone(supervisor, 20)


def test_one_control_socket_for_two_directories(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        before = mtd.pids("web")
        with pytest.raises(StartFailed) as failed:
            with Mtd({"web": pool([actor, "wait"])}, daemon={"control": {"socket": mtd.socket}}):
                pass
        assert failed.value.code == 9 and "is it another mtd with the same control.socket?" in failed.value.log
        mtd.ctl("status")
        assert mtd.pids("web") == before


def test_the_lock_removed_under_the_owner(actor):
    """A rival that comes before it is made again is refused all the same."""
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        before, supervisor = mtd.pids("web"), mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        os.unlink(mtd.runtime + "/lock")
        rival = start_rival(mtd)
        assert rival.wait(20) == 9
        os.kill(supervisor, signal.SIGCONT)
        eventually(lambda: "lock was removed: made again" in mtd.log())
        assert mtd.pids("web") == before and mtd.supervisor() == supervisor
        assert open(mtd.runtime + "/lock").readline().strip() == str(mtd.keeper)
        assert start_rival(mtd).wait(20) == 9


def test_the_lock_replaced_under_the_owner(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        with open(mtd.runtime + "/other", "w") as file:
            file.write("4711\nnot a number\n" + "f" * 3000)
        os.rename(mtd.runtime + "/other", mtd.runtime + "/lock")
        eventually(lambda: "lock was removed: made again" in mtd.log())
        assert start_rival(mtd).wait(20) == 9
        mtd.ctl("status")


def test_directory_of_another_user(root, actor):
    with tempfile.TemporaryDirectory(prefix="mtd-t-") as theirs:
        os.chmod(theirs, 0o777)
        mtd = Mtd({"web": pool([actor, "wait"])}, user=NOBODY)
        mtd.runtime = theirs
        with pytest.raises(StartFailed) as failed:
            with mtd:
                pass
        assert failed.value.code == 1
        assert f"the runtime directory {theirs} belongs to uid 0, not to mtd's uid {NOBODY}" in failed.value.log
        assert os.listdir(theirs) == []


def test_a_lock_file_of_another_user_is_refused(root, actor):
    """A directory that was theirs once: what lies in it is not trusted."""
    mtd = Mtd({"web": pool([actor, "wait"])}, user=NOBODY, exit_code=1)
    os.mkdir(mtd.runtime, 0o700)
    with open(mtd.runtime + "/lock", "w") as file:
        file.write("1\n")
    os.chmod(mtd.runtime + "/lock", 0o600)
    os.chown(mtd.runtime, NOBODY, NOBODY)
    with pytest.raises(StartFailed) as failed:
        with mtd:
            pass
    assert failed.value.code == 1 and "open the lock file: Permission denied" in failed.value.log
