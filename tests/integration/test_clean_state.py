"""Every worker starts from the same clean state, whatever started mtd."""
import os
import resource
import signal

import pytest
from harness import NOBODY, Mtd, descriptor_count, is_alive, pool

NORMAL = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "NOTIFY_SOCKET", "REPORT",
          "MTD_POOL", "MTD_WORKER_ID", "MTD_WORKER", "MTD_INCARNATION", "MTD_TAG"}


def dirty():
    """As bad a parent as there is; runs in the child just before mtd."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    for number in set(range(1, 65)) - {9, 19, 32, 33}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    os.umask(0)
    os.dup2(os.open("/etc/passwd", os.O_RDONLY), 77)
    os.set_inheritable(77, True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.nice(3)
    with open("/proc/self/timerslack_ns", "w") as slack:
        slack.write("123456")


def check(report):
    assert set(report["descriptors"]) == {"0", "1", "2"}, report["descriptors"]
    assert report["descriptors"]["0"] == "/dev/null"
    assert int(report["SigBlk"], 16) == 0 and int(report["SigIgn"], 16) == 0 and int(report["SigCgt"], 16) == 0
    assert report["sid"] == report["pid"] == report["pgid"]
    assert report["cwd"] == "/" and report["Umask"] == "0022"
    environment = dict(v.partition("=")[::2] for v in report["environment"])
    assert set(environment) <= NORMAL, set(environment) - NORMAL
    assert environment["LANG"] == "C.UTF-8" and environment["MTD_POOL"] == "web" and environment["MTD_WORKER"] == "web/0"
    assert environment["MTD_WORKER_ID"] == "0" and environment["MTD_INCARNATION"] == "1"
    assert environment["MTD_TAG"].split("/")[1:] == ["web", "0", "1"] and len(environment["MTD_TAG"].split("/")[0]) == 16
    assert report["NoNewPrivs"] == "0"
    return environment


@pytest.mark.parametrize("parent", ["clean", "dirty"])
def test_fault_14_worker_sees_the_same_whatever_started_mtd(probe, parent):
    env = {"SECRET": "hunter2", "LD_SOMETHING": "x", "MTD_POOL": "forged"} if parent == "dirty" else {}
    popen = {"preexec_fn": dirty} if parent == "dirty" else {}
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Mtd({"web": pool([probe, "x\x01y"])}, env=env, popen=popen) as mtd:
        report = mtd.reports.expect("probe")
        check(report)
        assert report["arguments"][1] == "x\x01y"
        assert report["limits"][7] == list(nofile), "the original descriptor limit, not mtd's own"
        assert report["timer_slack"] == 50000 or parent == "clean"
        assert report["ppid"] == mtd.keeper


def test_fault_14_declared_state_is_what_the_worker_gets(root, probe):
    keys = {"user": "nobody", "group": "nogroup", "groups": ["daemon"], "umask": "0027", "cwd": "/tmp", "nice": 5, "oom_score_adj": 300,
            "env": {"A": "b c"}, "rlimits": {"core": 0, "nofile": "100:200"}}
    with Mtd({"web": pool([probe, "--id", "${MTD_WORKER_ID}"], **keys)}) as mtd:
        report = mtd.reports.expect("probe")
        assert report["Uid"].split() == [str(NOBODY)] * 4 and report["Gid"].split() == [str(NOBODY)] * 4
        assert report["Groups"].split() == ["1"]
        assert report["CapPrm"] == report["CapEff"] == report["CapInh"] == report["CapAmb"] == "0" * 16
        assert (report["Umask"], report["cwd"], report["nice"], report["oom_score_adj"]) == ("0027", "/tmp", 5, "300")
        assert report["limits"][4] == [0, 0] and report["limits"][7] == [100, 200]
        assert report["arguments"][1:] == ["--id", "0"]
        environment = dict(v.partition("=")[::2] for v in report["environment"])
        assert environment["A"] == "b c" and environment["USER"] == "nobody" and environment["LOGNAME"] == "nobody"
        assert set(report["descriptors"]) == {"0", "1", "2"}


def test_env_clear_and_env_pass(probe):
    with Mtd({"web": pool([probe], env_clear=True, env_pass=["WANTED"])}, env={"WANTED": "yes", "UNWANTED": "no"}) as mtd:
        environment = dict(v.partition("=")[::2] for v in mtd.reports.expect("probe")["environment"])
        assert environment["WANTED"] == "yes" and "UNWANTED" not in environment and "HOME" not in environment and "PATH" not in environment


def test_log_null_and_direct(probe, actor, tmp_path):
    os.chmod(tmp_path, 0o777)
    path = tmp_path / "out-${MTD_WORKER_ID}.log"
    with Mtd({"null": pool([probe], log={"to": "null"}),
              "direct": pool(["/bin/sh", "-c", "echo hello; echo oops >&2; exec sleep infinity"], log={"to": "direct", "path": str(path)})}) as mtd:
        report = mtd.reports.expect("probe")
        assert report["descriptors"] == {"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"}
        written = tmp_path / "out-0.log"
        from harness import eventually
        eventually(lambda: written.exists() and written.read_text() == "hello\noops\n")
        assert written.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("what", ["symlink", "fifo", "directory"])
def test_fault_12_direct_output_is_opened_with_care(tmp_path, what):
    os.chmod(tmp_path, 0o777)
    target, path = tmp_path / "victim", tmp_path / "log"
    target.write_text("precious")
    {"symlink": lambda: path.symlink_to(target), "fifo": lambda: os.mkfifo(path), "directory": path.mkdir}[what]()
    with Mtd({"web": pool(["/bin/echo", "hello"], log={"to": "direct", "path": str(path)}, backoff={"initial": "1h", "max": "1h"}),
              "ok": pool(["/bin/sleep", "infinity"])}) as mtd:
        event = mtd.events.expect(event="spawn_failed", pool="web")
        assert event["last_exit"]["stage"] == "output"
        assert target.read_text() == "precious"
        mtd.wait_pool("ok", ready=1)


def test_fault_15_stdio_closed_at_the_start(probe):
    def close_all():
        for fd in (0, 1, 2):
            os.close(fd)
    mtd = Mtd({"web": pool([probe])}, popen={"preexec_fn": close_all})
    with mtd:
        report = mtd.reports.expect("probe")
        assert set(report["descriptors"]) == {"0", "1", "2"}
        for pid in (mtd.keeper, mtd.supervisor()):
            for fd in (0, 1, 2):
                assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"


def test_fault_16_sigchld_ignored_at_the_start(actor):
    with Mtd({"web": pool([actor, "exit=7"], restart="never")},
             popen={"preexec_fn": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)}) as mtd:
        event = mtd.events.expect(event="exited", pool="web")
        assert event["last_exit"]["code"] == 7


def test_fault_17_huge_arguments(tmp_path, actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        before = mtd.pids("web")
        mtd.pools["big"] = pool(["/bin/true", "x" * (2 << 20)])
        mtd.write_config()
        done = mtd.run_ctl("--timeout", "10s", "reload")
        assert done.returncode in (1, 8), done
        assert mtd.pids("web") == before
        mtd.pools["big"] = pool(["/bin/true"], env={f"VARIABLE_{i}": "x" * 100 for i in range(10000)})
        mtd.write_config()
        done = mtd.run_ctl("--timeout", "10s", "reload")
        assert done.returncode in (1, 8), done
        assert mtd.pids("web") == before
        del mtd.pools["big"]
        mtd.write_config()
        mtd.ctl("reload")


def test_output_of_workers_does_not_stop_at_a_dead_reader(actor):
    """stdout of mtd is a pipe whose reader goes away."""
    reader, writer = os.pipe()
    with Mtd({"web": pool([actor, "wait"])}, popen={"stdout": writer, "stderr": writer}) as mtd:
        os.close(writer)
        os.close(reader)
        for _ in range(3):
            victim = mtd.pids("web")[0]
            os.kill(victim, signal.SIGKILL)
            mtd.until(lambda v=victim: mtd.pids("web") not in ([], [v]))
        assert mtd.process.poll() is None


def test_stderr_that_nobody_reads_blocks_nothing(actor):
    """A full pipe as stderr: log lines are lost, not time."""
    reader, writer = os.pipe()
    with Mtd({"web": pool([actor, "exit=1"], backoff={"initial": 0, "max": 0, "jitter": 0}, crash_limit={"count": 1000000}),
              "ok": pool([actor, "wait"])}, args=["--log-level", "debug"], popen={"stdout": writer, "stderr": writer}) as mtd:
        os.close(writer)
        mtd.until(lambda: mtd.pool("web")["restarts"] > 600, 30)
        mtd.ctl("status", seconds=5)
        os.close(reader)


def test_supervisor_holds_no_worker_descriptors(actor):
    with Mtd({"web": pool([actor, "wait"], workers=50)}) as mtd:
        mtd.wait_ready()
        assert descriptor_count(mtd.keeper) < 50 * 3 + 100
        assert all(is_alive(p) for p in mtd.pids("web"))


def test_no_secret_in_the_workers_of_an_unprivileged_mtd(root, probe):
    with Mtd({"web": pool([probe])}, user=NOBODY, env={"TOKEN": "x"}) as mtd:
        environment = dict(v.partition("=")[::2] for v in mtd.reports.expect("probe")["environment"])
        assert "TOKEN" not in environment
