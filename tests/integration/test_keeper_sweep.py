"""Each system call of the keeper fails once, at its 1st, 2nd, … call: never fatal, and nothing of it stays.

Only the keeper is traced; its children are not. By default a run lets one call of every kind fail; with --full each
kind, error and moment is a run of its own, too.
"""
import os
import signal

import pytest
from harness import SLEEPER, Mtd, StartFailed, eventually, is_alive, pool, wait_gone

# What the kernel may answer there, on a machine short of something.
ERRORS = {
    "clone3": ("EAGAIN", "ENOMEM", "ENOSYS"),
    "clone": ("EAGAIN", "ENOMEM"),
    "socketpair": ("EMFILE", "ENFILE", "ENOMEM"),
    "pipe2": ("EMFILE", "ENFILE"),
    "sendmsg": ("ENOMEM", "ENOBUFS", "EAGAIN"),
    "recvmsg": ("ENOMEM", "EAGAIN", "EINTR"),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "epoll_wait": ("EINTR",),
    "read": ("EIO", "EAGAIN", "EINTR"),
    "openat": ("EMFILE", "ENFILE", "ENOMEM"),
    "fcntl": ("EMFILE",),
    "pread64": ("EIO", "EINTR"),
    "madvise": ("ENOMEM", "EAGAIN"),
    "wait4": ("EINTR",),
    "waitid": ("EINTR",),
    "kill": ("EPERM",),
    "prctl": ("EINVAL",),
    "getrandom": ("EAGAIN",),
    "setsockopt": ("EPERM", "ENOBUFS"),
}
LAST = 40


def busy_life(rules, seconds=30):
    """Starts, a crash, scaling, a dead supervisor, a reload, a stop: all that the keeper can be asked for."""
    words = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=" + ",".join({r.split(":")[0] for r in rules})]
    for rule in rules:
        words += ["-e", "inject=" + rule]
    pools = {"web": pool(SLEEPER, workers=3), "short": pool(["/bin/sh", "-c", "exit 3"], restart="never")}
    try:
        with Mtd(pools, prefix=words, checks_descriptors=False) as mtd:
            mtd.wait_pool("web", seconds, state="running", ready=3)
            exits = mtd.until(lambda: mtd.pool("short")["workers"][0]["last_exit"], seconds)
            assert exits["code"] == 3 or exits["errno"], exits
            untouched, victim = mtd.pids("web")[1:], mtd.pids("web")[0]
            os.kill(victim, signal.SIGKILL)
            assert wait_gone(victim)
            mtd.until(lambda: victim not in mtd.pids("web") and mtd.pool("web")["ready"] == 3, seconds)
            mtd.run_ctl("--no-wait", "scale", "web", "5")
            mtd.wait_pool("web", seconds, ready=5)
            mtd.kill_supervisor()
            assert set(untouched) < set(mtd.pids("web")) and all(map(is_alive, untouched))
            mtd.pools["web"]["env"]["CHANGED"] = "1"
            mtd.write_config()
            mtd.ctl("--no-wait", "reload")
            mtd.wait_pool("web", seconds, state="running", ready=5, outdated=0)
            mtd.ctl("stop", "web")
            assert mtd.pool("web")["state"] == "stopped"
            eventually(lambda: not any(map(is_alive, untouched)), 5)
            mtd.ctl("start", "web", seconds=seconds)
            assert mtd.status()["daemon"]["pid"] == mtd.keeper
    except StartFailed as refused:
        # Before it runs anything it may give up, saying why.
        assert refused.code in (1, 2) and "mtd: " in refused.log, refused
        return False
    return True


@pytest.mark.parametrize("nth", [2, 5, 13, 21, 34])
def test_one_call_of_every_kind_fails(strace, nth):
    # What it needs to begin with is a case of its own; and so is a kill that would mend another failure.
    kinds = set(ERRORS) - {"kill"} - (set() if nth > 7 else {"openat", "epoll_ctl", "prctl", "fcntl"})
    busy_life([f"{call}:error={ERRORS[call][(nth + i) % len(ERRORS[call])]}:when={nth}" for i, call in enumerate(sorted(kinds))])


@pytest.mark.parametrize("call", ["kill", "epoll_ctl"])
def test_one_call_fails(strace, call):
    assert busy_life([f"{call}:error={ERRORS[call][0]}:when=7"])


@pytest.mark.slow
@pytest.mark.parametrize("call,error", [(call, error) for call in ERRORS for error in ERRORS[call]])
def test_each_call_fails_with_each_error(strace, call, error):
    survived = 0
    for nth in range(1, LAST + 1):
        rules = [f"{call}:error={error}:when={nth}"]
        if call == "clone":
            rules.append("clone3:error=ENOSYS")
        survived += busy_life(rules)
    assert survived >= LAST - 8, "only what start-up needs may end it"
