"""What the kernel refuses slows mtd, never ends it, and is never counted as the program's crash."""
import contextlib
import os
import resource
import signal
import subprocess

import pytest
from harness import NOBODY, SLEEPER, Mtd, eventually, pool


def inject(*rules, path=None):
    calls = ",".join(sorted({c for rule in rules for c in rule.split(":")[0].split(",")}))
    words = ["strace", "-f", "-qq", "-o", "/dev/null"]
    if path:
        words += ["-P", path]
    words += ["-e", f"trace={calls}"]
    for rule in rules:
        words += ["-e", f"inject={rule}"]
    return words


def not_a_crash(pool_):
    assert pool_["restarts"] == 0, "a refusal is not a restart"
    assert pool_["breaker"]["crashes_in_window"] == 0


@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_fault_1_and_4_fork_fails_four_times_then_heals(strace, error):
    rule = f"clone3,clone,fork,vfork:error={error}:when=3..6"  # the first ones are the roles
    with Mtd({"web": pool(SLEEPER, workers=4)}, prefix=inject(rule)) as mtd:
        mtd.wait_pool("web", 30, state="running", ready=4)
        not_a_crash(mtd.pool("web"))


def test_fault_2_lasting_eagain_of_a_pids_limit(root, actor):
    base = "/sys/fs/cgroup/pids"
    if not os.access(base + "/cgroup.procs", os.W_OK):
        pytest.skip("needs a writable pids controller (v1)")
    group = f"{base}/mtd-t2-{os.getpid()}"
    os.mkdir(group)
    try:
        prefix = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=prefix) as mtd:
            mtd.wait_ready()
            before = mtd.pids("web")
            with open(group + "/pids.max", "w") as limit:
                limit.write(open(group + "/pids.current").read())
            mtd.ctl("--no-wait", "scale", "web", "5")
            event = mtd.events.expect(event="spawn_failed", pool="web")
            assert event["last_exit"]["errno_name"] == "EAGAIN" and event["last_exit"]["stage"] in ("clone", "cgroup")
            web = mtd.pool("web")
            assert "EAGAIN" in web["note"] and web["spawn_failures"] >= 1
            not_a_crash(web)
            assert mtd.pids("web") == before
            with open(group + "/pids.max", "w") as limit:
                limit.write("max")
            mtd.wait_pool("web", 20, state="running", ready=5)
            not_a_crash(mtd.pool("web"))
    finally:
        eventually(lambda: not open(group + "/cgroup.procs").read().split(), 5)
        os.rmdir(group)


def test_fault_3_execve_eagain_of_the_users_process_limit(root, actor):
    keys = {"user": "nobody", "rlimits": {"nproc": 1}, "workers": 3}
    with Mtd({"web": pool([actor, "wait"], **keys)}) as mtd:
        event = mtd.events.expect(event="spawn_failed", pool="web")
        assert (event["last_exit"]["stage"], event["last_exit"]["errno_name"]) == ("exec", "EAGAIN"), event
        not_a_crash(mtd.pool("web"))


def test_fault_5_descriptors_run_out_and_come_back():
    with Mtd({"web": pool(SLEEPER, workers=3)}) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web")
        hard = resource.prlimit(mtd.keeper, resource.RLIMIT_NOFILE)[1]
        old = {}
        for pid in (mtd.keeper, mtd.supervisor()):
            old[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            highest = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 2, hard))
        try:
            try:
                mtd.run_ctl("--no-wait", "--timeout", "2s", "scale", "web", "20")
            except OSError:
                pass
        finally:
            count = len(os.listdir(f"/proc/{mtd.keeper}/fd"))
            for pid, limits in old.items():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert count < 200
        mtd.ctl("scale", "web", "20", seconds=30)
        mtd.wait_pool("web", 20, state="running", ready=20)
        assert set(before) < set(mtd.pids("web")), "the others were untouched"
        not_a_crash(mtd.pool("web"))


def test_fault_5_keeper_alone_is_short():
    with Mtd({"web": pool(SLEEPER, workers=3)}) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web")
        limits = resource.prlimit(mtd.keeper, resource.RLIMIT_NOFILE)
        highest = max(int(fd) for fd in os.listdir(f"/proc/{mtd.keeper}/fd"))
        resource.prlimit(mtd.keeper, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        mtd.ctl("--no-wait", "scale", "web", "20")
        mtd.until(lambda: mtd.pool("web")["spawn_failures"] > 0 or mtd.pool("web")["ready"] == 20)
        assert set(before) <= set(mtd.pids("web"))
        mtd.ctl("status")
        resource.prlimit(mtd.keeper, resource.RLIMIT_NOFILE, limits)
        mtd.wait_pool("web", 20, state="running", ready=20)
        not_a_crash(mtd.pool("web"))


def test_fault_7_killed_between_fork_and_exec(strace):
    """A SIGKILL at execve: nobody can know whether the program ran; it is said so."""
    program = os.path.realpath("/bin/sleep")
    with Mtd({"web": pool([program, "infinity"], backoff={"initial": "1h", "max": "1h"})},
             prefix=inject("execve:signal=SIGKILL:when=1", path=program)) as mtd:
        event = mtd.events.expect(pool="web", test=lambda e: e["event"] in ("exited", "spawn_failed"))
        assert event["last_exit"]["cause"] in ("start_failed", "spawn_failed"), event
        assert mtd.pool("web")["breaker"]["crashes_in_window"] == 0 or event["last_exit"]["cause"] == "start_failed"


@pytest.mark.parametrize("call", ["clone3", "pidfd_open", "close_range", "pidfd_send_signal", "openat2", "prlimit64"])
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_fault_8_newer_calls_refused(strace, actor, call, error):
    if call == "prlimit64" and error == "ENOSYS":
        pytest.skip("every supported kernel has it")
    with Mtd({"web": pool([actor, "daemon", "wait"], workers=2)}, prefix=inject(f"{call}:error={error}")) as mtd:
        mtd.reports.expect("waiting", count=2)
        victim = mtd.pids("web")[0]
        os.kill(victim, signal.SIGKILL)
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)
        mtd.ctl("stop", "web")
        assert mtd.pool("web")["state"] == "stopped"


@pytest.mark.parametrize("calls,stage", [("setuid,setresuid,setreuid", "user"), ("setgid,setresgid,setregid", "group"), ("setgroups", "groups")])
def test_fault_11_credentials_refused_means_no_exec(root, strace, actor, calls, stage):
    keys = {"user": "nobody", "backoff": {"initial": "1h", "max": "1h"}}
    with Mtd({"web": pool([actor, "report=ran", "wait"], **keys)}, prefix=inject(f"{calls}:error=EAGAIN")) as mtd:
        event = mtd.events.expect(event="spawn_failed", pool="web")
        assert (event["last_exit"]["stage"], event["last_exit"]["errno_name"]) == (stage, "EAGAIN")
        not_a_crash(mtd.pool("web"))
        assert not [r for r in mtd.reports.seen if r["what"] == "ran"], "never as root instead"


def test_fault_28_sub_reaper_refused(strace, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=inject("prctl:error=EINVAL")) as mtd:
        mtd.wait_ready()
        victim = mtd.pids("web")[0]
        os.kill(victim, signal.SIGKILL)
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)
        assert mtd.ctl_json("limits")["host"]["subreaper"] is False
        assert mtd.status()["daemon"]["warnings"] or mtd.ctl_json("limits")["host"]["cannot"]


def test_fault_30_under_a_tracer(strace, actor):
    with Mtd({"web": pool([actor, "wait"], workers=3)}, prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=ptrace"]) as mtd:
        mtd.wait_ready()
        for _ in range(5):
            victim = mtd.pids("web")[0]
            os.kill(victim, signal.SIGKILL)
            mtd.events.expect(event="exited", pid=victim)
            mtd.wait_pool("web", state="running", ready=3)


def test_a_worker_that_is_ready_before_its_start_is_told_is_heard(strace, actor):
    """The keeper's message about a start may come after the worker's first words, and nothing after them."""
    spec = pool([actor, "notify=READY=1", "wait"], workers=1, ready="notify", start_timeout="10m")
    # Of the keeper alone: the worker is quick.
    late = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=sendmsg", "-e", "inject=sendmsg:delay_enter=200000"]
    with Mtd({"web": spec}, prefix=late) as mtd:
        mtd.wait_ready()
        assert mtd.pool("web")["restarts"] == 0


@pytest.mark.parametrize("call", ["write", "sendmsg", "openat", "epoll_wait", "fcntl", "mmap", "accept4", "mkdirat,mkdir"])
@pytest.mark.slow
def test_any_call_fails_once(strace, actor, call):
    """P3: refuse the Nth call of a kind; mtd lives or refuses to start, and leaves nothing."""
    from harness import StartFailed
    for nth in (1, 2, 3, 5, 8, 13, 21, 34):
        error = "EINTR" if call in ("epoll_wait", "write") else "ENOMEM"
        try:
            with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=inject(f"{call}:error={error}:when={nth}"), exit_code=None,
                     checks_descriptors=False) as mtd:
                mtd.wait_pool("web", 30, state="running")
        except StartFailed as refused:
            assert refused.code in (1, 2, 8), refused


def test_read_only_cgroup_hierarchy(unshare, actor):
    script = 'for m in $(awk \'$3 == "cgroup2" {print $2}\' /proc/self/mounts); do mount -o remount,bind,ro "$m" || exit 9; done; exec "$@"'
    with Mtd({"web": pool([actor, "ignore=15", "daemon", "wait"], stop={"timeout": "300ms"})},
             prefix=["unshare", "-m", "sh", "-c", script, "sh"]) as mtd:
        stray = mtd.reports.expect("daemon")["pid"]
        mtd.ctl("stop", "web")
        assert not os.path.exists(f"/proc/{stray}") or open(f"/proc/{stray}/stat").read().split()[2] == "Z"


def test_unprivileged_daemon_works(root, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, user=NOBODY) as mtd:
        mtd.wait_ready()
        victim = mtd.pids("web")[0]
        assert os.stat(f"/proc/{victim}").st_uid == NOBODY
        os.kill(victim, signal.SIGKILL)
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)
        assert mtd.run_ctl("status", user=NOBODY).returncode == 0
        assert mtd.run_ctl("stop", "web", user=NOBODY).returncode == 0
        assert mtd.run_ctl("status", user=1).returncode in (5, 7), "another user is kept out"


def test_unprivileged_daemon_cannot_take_another_user(root, actor):
    from harness import StartFailed
    try:
        with Mtd({"web": pool([actor, "wait"], user="daemon", backoff={"initial": "1h", "max": "1h"})}, user=NOBODY, exit_code=None) as mtd:
            event = mtd.events.expect(event="spawn_failed", pool="web")
            assert event["last_exit"]["stage"] in ("user", "group", "groups")
    except StartFailed as refused:
        assert refused.code == 8


@pytest.mark.parametrize("rule", ["recvmsg:error=ENOMEM:when=2", "sendmsg:error=ENOBUFS:when=2", "recvmsg:retval=0:when=2"])
def test_a_refused_word_with_the_keeper_costs_no_worker(strace, actor, rule):
    """Only the keeper's death ends workers. For anything else another supervisor takes over."""
    with Mtd({"web": pool([actor, "wait"], workers=3)}, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        before, old = mtd.pids("web"), mtd.supervisor()
        with subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-e", f"trace={rule.split(':')[0]}", "-e", f"inject={rule}",
                               "-p", str(old)]) as tracer:
            eventually(lambda: "TracerPid:\t0" not in open(f"/proc/{old}/status").read(), what="traced")
            for _ in range(4):
                with contextlib.suppress(OSError, EOFError, ConnectionError, subprocess.TimeoutExpired):
                    mtd.run_ctl("--timeout", "3s", "scale", "web", "4", seconds=10)
                    mtd.run_ctl("--timeout", "3s", "scale", "web", "3", seconds=10)
            tracer.terminate()
        mtd.reconnect(None)
        mtd.ctl("scale", "web", "3")
        assert mtd.pids("web") == before, mtd.log()
