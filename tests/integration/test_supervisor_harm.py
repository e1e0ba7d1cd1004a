"""Whatever ends the supervisor: workers run on, and its end is told once, in words."""
import contextlib
import json
import os
import resource
import shutil
import signal

import pytest
from harness import BIN, NOBODY, Mtd, StartFailed, Varlink, eventually, pool, rss_kib


def deaths(mtd):
    return [line for line in mtd.log().splitlines() if line.startswith("mtd: the supervisor")]


@pytest.mark.parametrize("number,words", [(signal.SIGKILL, "was killed (signal 9"), (signal.SIGSEGV, "crashed (signal 11"),
                                          (signal.SIGABRT, "crashed (signal 6"), (signal.SIGBUS, "crashed (signal 7")])
def test_fault_81_83_a_death_is_one_line_one_event_and_a_warning(actor, number, words):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        mtd.reports.expect("waiting", count=2)
        before, old = mtd.pids("web"), mtd.supervisor()
        assert not [w for w in mtd.status()["daemon"]["warnings"] if "supervisor" in w]
        os.kill(old, number)
        mtd.reconnect(old)
        event = mtd.events.expect(event="supervisor_died")
        assert event["pid"] == old and words in event["detail"], event
        assert len(deaths(mtd)) == 1 and f"(pid {old})" in deaths(mtd)[0]
        warning = [w for w in mtd.status()["daemon"]["warnings"] if "supervisor" in w]
        assert len(warning) == 1 and words in warning[0], warning
        assert "supervisor" in mtd.ctl("status").stdout
        assert mtd.pids("web") == before
        second = mtd.kill_supervisor()
        assert mtd.events.expect(event="supervisor_died", pid=second)
        assert len(deaths(mtd)) == 2
        warning = [w for w in mtd.status()["daemon"]["warnings"] if "supervisor" in w]
        assert "2 times" in warning[0], warning


def test_the_supervisor_has_its_own_name(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        for pid, name in ((mtd.keeper, "mtd"), (mtd.supervisor(), "mtd-supervisor")):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                assert os.path.basename(file.read().split(b"\0")[0].decode()) == name
            with open(f"/proc/{pid}/comm") as file:
                assert file.read().strip() == name


def test_fault_84_who_dies_first_when_memory_runs_out(root, actor):
    with Mtd({"web": pool([actor, "wait"]), "first": pool([actor, "wait"], oom_score_adj=700)}) as mtd:
        mtd.reports.expect("waiting", count=2)
        mine = int(open("/proc/self/oom_score_adj").read())
        scores = [int(open(f"/proc/{p}/oom_score_adj").read())
                  for p in (mtd.keeper, mtd.supervisor(), *mtd.pids("web"), *mtd.pids("first"))]
        if scores[0] == mine:
            pytest.skip("the kernel does not permit a lower oom_score_adj here")
        assert scores == [-900, -800, mine, 700]
        assert not [c for c in mtd.ctl_json("limits")["host"]["cannot"] if "oom_score_adj" in c]


def test_fault_84_where_it_may_not_protect_itself_it_says_so(root, actor):
    with Mtd({"web": pool([actor, "wait"])}, user=NOBODY) as mtd:
        mtd.reports.expect("waiting")
        if int(open(f"/proc/{mtd.keeper}/oom_score_adj").read()) == -900:
            pytest.skip("this kernel lets anybody lower oom_score_adj")
        assert [c for c in mtd.ctl_json("limits")["host"]["cannot"] if "oom_score_adj" in c]
        assert [w for w in mtd.status()["daemon"]["warnings"] if "oom_score_adj" in w]


@pytest.mark.parametrize("room", [0, 64, 1024, 4096])
def test_fault_85_a_supervisor_that_gets_no_more_memory(actor, room):
    """What is asked of it is refused, or it ends and its successor goes on. Nobody else notices."""
    with Mtd({"web": pool([actor, "wait"], workers=3)}, checks_descriptors=False) as mtd:
        mtd.foreseen = ("terminate called after throwing an instance of 'std::bad_alloc'",)
        mtd.reports.expect("waiting", count=3)
        before, first = mtd.pids("web"), mtd.supervisor()
        resource.prlimit(first, resource.RLIMIT_AS, ((rss_kib(first, "VmSize") + room) * 1024, resource.RLIM_INFINITY))
        large = json.dumps({"method": "io.mtd.Manager.Status", "parameters": {"select": ["x" * 40_000] * 20}}).encode() + b"\0"
        clients = []
        for _ in range(20):
            with contextlib.suppress(OSError):
                clients.append(Varlink(mtd.socket))
                clients[-1].send_raw(large)
        for client in clients:
            with contextlib.suppress(OSError):
                reply = client.receive()
                assert reply is None or "error" in reply
            client.close()

        def answers():
            with contextlib.suppress(OSError, EOFError):
                return mtd.status()["daemon"]["supervisor_pid"]
        now = eventually(answers, what="a supervisor answers")
        assert mtd.pids("web") == before and mtd.pool("web")["restarts"] == 0
        if now != first:
            mtd.reconnect(first)
            assert mtd.events.expect(event="supervisor_died")["pid"] == first
        os.kill(before[0], signal.SIGKILL)
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 3)
        assert mtd.pids("web")[1:] == before[1:]


def test_a_supervisor_that_cannot_be_loaded_is_the_end_of_the_first_start(tmp_path):
    """As where a library is missing: nothing runs yet, so there is nobody to try on for."""
    shutil.copy(os.path.join(BIN, "mtd"), tmp_path)
    program = tmp_path / "mtd-supervisor"
    program.write_text("#!/bin/sh\necho 'mtd-supervisor: error while loading shared libraries: libx.so: no such file' >&2\nexit 127\n")
    program.chmod(0o755)
    tmp_path.chmod(0o755)
    with pytest.raises(StartFailed) as refused, Mtd({"web": pool(["/bin/sleep", "1"])}, programs=str(tmp_path)):
        pass
    assert refused.value.code == 1 and refused.value.log.count("error while loading") == 1, refused.value.log
    assert "mtd: mtd-supervisor cannot be loaded" in refused.value.log
