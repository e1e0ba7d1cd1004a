"""Signals to mtd itself: TERM INT QUIT HUP USR1 TTIN TTOU, early ones, and all the others."""
import os
import signal
import time

import pytest
from harness import PATIENCE, SLEEPER, Mtd, eventually, is_alive, pool, wait_gone


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_stop_signals(actor, name):
    with Mtd({"web": pool([actor, "wait"], workers=3)}, checks_descriptors=False) as mtd:
        pids = mtd.pids("web")
        mtd.reports.expect("waiting", count=3)
        os.kill(mtd.keeper, getattr(signal, "SIG" + name))
        assert mtd.process.wait(15) == 0
        assert not any(map(is_alive, pids))
        if name != "QUIT":
            mtd.reports.expect("term", count=3)


def test_quit_is_fast(actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "1h"})}, checks_descriptors=False) as mtd:
        mtd.reports.expect("waiting")
        os.kill(mtd.keeper, signal.SIGQUIT)
        mtd.process.wait(PATIENCE)


def test_usr1_changes_nothing(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        before = mtd.pids("web")
        os.kill(mtd.keeper, signal.SIGUSR1)
        mtd.ctl("status")
        assert mtd.pids("web") == before


def pending(pid, number):
    """Sent, not blocked, and not yet taken."""
    with open(f"/proc/{pid}/status") as status:
        masks = {line.split(":")[0]: int(line.split()[1], 16) for line in status if line.startswith(("SigPnd", "ShdPnd", "SigBlk"))}
    return bool((masks["SigPnd"] | masks["ShdPnd"]) & ~masks["SigBlk"] & 1 << number - 1)


# PIPE ALRM STKFLT TTOU-like job control, XCPU XFSZ VTALRM PROF WINCH IO PWR, and some real-time ones
@pytest.mark.parametrize("number", [13, 14, 16, 18, 20, 23, 24, 25, 26, 27, 28, 29, 30, 34, 35, 50, 64])
def test_fault_93_other_signals_are_survived(actor, number):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        before = mtd.pids("web")
        for pid in (mtd.keeper, mtd.first_supervisor):
            os.kill(pid, number)
            eventually(lambda p=pid: not pending(p, number) or number in (18, 20), 2)
            assert is_alive(pid)
            os.kill(pid, signal.SIGCONT)
        mtd.ctl("status")
        assert mtd.process.poll() is None and mtd.supervisor() == mtd.first_supervisor
        assert mtd.pids("web") == before, f"signal {number}"


def test_signals_sent_to_the_supervisor_are_not_its_business(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        supervisor, before = mtd.supervisor(), mtd.pids("web")
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(supervisor, number)
        mtd.ctl("status")
        assert mtd.supervisor() == supervisor and mtd.pids("web") == before


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "CHLD", "USR1"])
def test_fault_91_signal_that_was_pending_before_main(actor, name):
    """Blocked and pending from birth: it is neither lost nor deadly."""
    number = getattr(signal, "SIG" + name)

    def pend():
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        os.kill(os.getpid(), number)

    mtd = Mtd({"web": pool([actor, "wait"])}, popen={"preexec_fn": pend}, checks_descriptors=False)
    if name in ("TERM", "INT"):
        ready = mtd.launch()
        try:
            assert mtd.process.wait(20) == 0
            mtd.check_nothing_left()
        finally:
            os.close(ready)
            mtd._end_hard()
            mtd._clean()
    else:
        with mtd:
            mtd.ctl("status")


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT"])
def test_fault_91_signals_in_the_first_100_ms(actor, name):
    number = getattr(signal, "SIG" + name)
    for delay in range(0, 100, 9):
        mtd = Mtd({"web": pool([actor, "wait"], workers=2)}, checks_descriptors=False)
        ready = mtd.launch()
        try:
            begin = time.monotonic()
            while time.monotonic() - begin < delay / 1000:
                pass
            os.kill(mtd.process.pid, number)
            if name == "HUP" and os.read(ready, 1) == b"\n":
                os.kill(mtd.process.pid, signal.SIGTERM)
            code = mtd.process.wait(20)
            # before its first instruction only the kernel decides
            assert code == 0 or code == -number and delay < 30, (delay, code, mtd.log())
            mtd.check_nothing_left()
        finally:
            os.close(ready)
            mtd._end_hard()
            mtd._clean()


def test_term_during_a_reload(actor):
    with Mtd({"web": pool([actor, "wait"], workers=4)}, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        mtd.pools["web"]["env"]["X"] = "1"
        mtd.write_config()
        os.kill(mtd.keeper, signal.SIGHUP)
        os.kill(mtd.keeper, signal.SIGTERM)
        assert mtd.process.wait(20) == 0


def test_file_size_limit_is_no_death(actor):
    import resource
    with Mtd({"web": pool([actor, "wait"])}, args=["--log-level", "debug"],
             popen={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))}) as mtd:
        for _ in range(5):
            victim = mtd.pids("web")[0]
            os.kill(victim, signal.SIGKILL)
            mtd.until(lambda v=victim: mtd.pids("web") not in ([], [v]))
        assert mtd.process.poll() is None


def test_hang_up_of_the_terminal_is_a_stop():
    import pty
    lead, follow = pty.openpty()

    def take_terminal():
        import fcntl
        import termios
        os.setsid()
        fcntl.ioctl(follow, termios.TIOCSCTTY, 0)

    mtd = Mtd({"web": pool(SLEEPER)}, popen={"preexec_fn": take_terminal, "start_new_session": False}, checks_descriptors=False)
    with mtd:
        os.close(follow)
        os.close(lead)
        assert wait_gone(mtd.process.pid, 15)
