"""Fault 92: two daemons in one directory; exactly one wins, the loser harms nothing."""
import contextlib
import os
import signal

from harness import Mtd, is_alive, pool


def start_rival(mtd):
    """A second daemon over the same directories; its exit code."""
    import subprocess
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
            from harness import eventually
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


def test_fault_92_two_at_once(actor):
    race(actor, 50)


def test_lock_file_is_private(actor):
    with Mtd({"web": pool([actor, "wait"])}, popen={"preexec_fn": lambda: os.umask(0)}) as mtd:
        assert os.stat(mtd.runtime + "/lock").st_mode & 0o077 == 0
        assert os.stat(mtd.runtime).st_mode & 0o022 == 0


def test_keeper_kill_9_leaves_nothing_for_long(actor):
    """Not promised to survive; but the supervisor notices, ends all workers, and a new start works."""
    with Mtd({"web": pool([actor, "wait"], workers=3)}, exit_code=-9, checks_descriptors=False) as mtd:
        from harness import wait_gone
        mtd.wait_ready()
        pids, supervisor = mtd.pids("web"), mtd.supervisor()
        os.kill(mtd.keeper, signal.SIGKILL)
        mtd.process.wait(5)
        assert wait_gone(supervisor, 20)
        for pid in pids:
            assert wait_gone(pid, 20)
        for name in ("io.mtd.Manager", "notify"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(mtd.runtime, name))


def test_workers_of_a_daemon_killed_at_once_are_ended_by_the_next(actor):
    from harness import cgroup2_mount, eventually, wait_gone
    with Mtd({"web": pool([actor, "wait"], workers=3)}, exit_code=-9, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        pids, supervisor = mtd.pids("web"), mtd.supervisor()
        if not cgroup2_mount() or "no cgroups" in mtd.log():
            import pytest
            pytest.skip("left-overs are found by their cgroup only")
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(mtd.keeper, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        mtd.process.wait(5)
        assert wait_gone(supervisor) and all(map(is_alive, pids))
        second = start_rival(mtd)
        try:
            for pid in pids:
                assert wait_gone(pid), "left over"
            eventually(lambda: "left by an mtd that is gone: 3 processes killed, removed" in mtd.log())
            eventually(lambda: os.path.exists(mtd.socket))
        finally:
            second.terminate()
            assert second.wait(20) == 0
