"""Upgrade in place: no worker is touched, and a bad program never replaces a good one.

"Another release" is a copy of the same programs in which the version is another one; a bad program is
impostor.cpp, which does what the file next to it says.
"""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading

import pytest
from harness import (BIN, NOBODY, Events, Mtd, ServiceManager, Varlink, VarlinkError, compile_worker, descendants,
                     descriptor_count, eventually, is_alive, pool, wait_gone)

VERSION = subprocess.run([os.path.join(BIN, "mtd"), "--version"], capture_output=True, text=True, check=True).stdout.split()[-1] if BIN else ""
BOTH = ("mtd", "mtd-supervisor")


def other_version(number):
    """As long as the real one."""
    return (VERSION[:-1] + "abcdefghijklmnopqrstuvwxyz"[number % 26])


class Programs:
    """A directory with mtd and mtd-supervisor, whose files are replaced as a package manager does it."""

    def __init__(self, impostor):
        self.directory = tempfile.mkdtemp(prefix="mtd-p-")
        os.chmod(self.directory, 0o755)
        self.impostor = impostor
        for name in BOTH:
            self.put(name, self.real(name))

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def real(name, version=None):
        with open(os.path.join(BIN, name), "rb") as file:
            data = file.read()
        return data if version is None else data.replace(VERSION.encode(), version.encode())

    def path(self, name):
        return os.path.join(self.directory, name)

    def put(self, name, data, mode=0o755):
        fresh = self.path(name) + ".dpkg-new"
        with open(fresh, "wb") as file:
            file.write(data)
        os.chmod(fresh, mode)
        os.rename(fresh, self.path(name))
        return self.path(name)

    def install(self, version, names=BOTH):
        for name in names:
            self.put(name, self.real(name, version))

    def fake(self, name, **how):
        """The impostor in the place of one, and the real one of that name as NAME.real for it."""
        self.put(name + ".real", self.real(name))
        with open(self.path(name) + ".how", "w") as file:
            for occasion, what in how.items():
                file.write(f"{occasion.replace('_', '-')} {what.replace('REAL', self.path(name) + '.real')}\n")
        with open(self.impostor, "rb") as file:
            self.put(name, file.read())


@pytest.fixture(scope="session")
def impostor():
    directory = tempfile.mkdtemp(prefix="mtd-i-")
    os.chmod(directory, 0o755)
    yield compile_worker("impostor.cpp", directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def programs(impostor):
    one = Programs(impostor)
    yield one
    one.close()


def versions(mtd):
    daemon = mtd.status()["daemon"]
    return daemon["version"], daemon["keeper_version"] or daemon["version"]


def refused(mtd, *words):
    """mtctl upgrade fails, says `words`, and the same supervisor goes on."""
    before, supervisor = mtd.pids("web"), mtd.supervisor()
    done = mtd.ctl("upgrade", code=1)
    for word in words:
        assert word in done.stderr, done.stderr
    assert mtd.supervisor() == supervisor and mtd.pids("web") == before
    mtd.events.expect(event="upgrade_failed")
    return done.stderr


def rolled_back(mtd, *words):
    """It fails once the supervisor was replaced: an old one is back, and no worker noticed."""
    before = mtd.pids("web")
    done = mtd.ctl("upgrade", code=1)
    for word in words:
        assert word in done.stderr, done.stderr
    daemon = mtd.status()["daemon"]
    assert versions(mtd) == (VERSION, VERSION) and daemon["upgrade"]["state"] == "failed"
    assert daemon["pid"] == mtd.keeper and mtd.pids("web") == before
    mtd.events.close()
    mtd.events = Events(mtd.socket)
    mtd.events.expect(event="upgrade_failed")


def test_both_programs_are_replaced_and_no_worker_notices(programs, actor):
    with Mtd({"web": pool([actor, "wait"], workers=4), "slow": pool([actor, "wait"], ready="notify")}, programs=programs.directory) as mtd:
        mtd.reports.expect("waiting", count=5)
        before, old, keeper_fds = mtd.pids("web") + mtd.pids("slow"), mtd.supervisor(), descriptor_count(mtd.keeper)
        programs.install(other_version(0))
        reply = mtd.ctl_json("upgrade")
        assert reply["state"] == "done" and (reply["from"], reply["to"]) == (VERSION, other_version(0))
        assert wait_gone(old)
        mtd.reconnect(old)
        daemon = mtd.status()["daemon"]
        assert versions(mtd) == (other_version(0), other_version(0)) and daemon["pid"] == mtd.keeper
        assert daemon["upgrade"]["state"] == "done" and daemon["upgrade"]["number"] == 1
        assert mtd.pids("web") + mtd.pids("slow") == before
        assert mtd.pool("web")["restarts"] == 0 and mtd.workers("slow")[0]["state"] == "starting"
        mtd.events.expect(event="upgrade_done")
        # the notification socket, the keeper's signals, exits and spawns all go on
        mtd.kill(mtd.pids("slow")[0], signal.SIGUSR2)
        mtd.wait_pool("slow", state="running")
        mtd.kill(before[0])
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 4)
        assert mtd.workers("web")[0]["last_exit"]["signal"] == signal.SIGKILL
        for pid in (daemon["supervisor_pid"], mtd.pids("web")[0]):
            with open(f"/proc/{pid}/environ", "rb") as file:
                assert b"MTD_HANDOVER" not in file.read()
        with open(f"/proc/{mtd.keeper}/comm") as file:
            assert file.read() == "mtd\n"
        assert descriptor_count(mtd.keeper) <= keeper_fds + 1
        assert os.path.realpath(f"/proc/{mtd.keeper}/exe") == os.path.realpath(programs.path("mtd"))


def test_fault_86_upgrades_in_a_row_under_load(programs, actor, request):
    times = 100 if request.config.getoption("--full") else 5
    with tempfile.TemporaryDirectory(prefix="mtd-j-") as directory:
        journal = os.path.join(directory, "journal")
        pools = {"web": pool([actor, "wait"], workers=8),
                 "flap": pool(["/bin/sh", "-c", f"echo >>{journal}; exit 3"], workers=4, log={"to": "inherit"}),
                 "q": pool([actor, "notify=READY=1", "wait"], ready="notify", recycle={"maxtasksperchild": 1000000})}
        with Mtd(pools, programs=programs.directory, checks_descriptors=False) as mtd:
            mtd.wait_ready("web", "q")
            before, keeper_fds = mtd.pids("web") + mtd.pids("q"), descriptor_count(mtd.keeper)
            over, trouble, calls = threading.Event(), [], [0]

            def ask():
                while not over.is_set():
                    try:
                        with Varlink(mtd.socket) as client:
                            client.call("Status")
                            calls[0] += 1
                    except ConnectionRefusedError as error:
                        trouble.append(error)
                    except (OSError, EOFError):
                        pass  # cut in the middle of a call: the supervisor made way
            asker = threading.Thread(target=ask)
            asker.start()
            try:
                for number in range(times):
                    programs.install(other_version(number))
                    os.kill(mtd.pids("q")[0], signal.SIGUSR1)
                    mtd.ctl("upgrade")
                    mtd.reports.expect("task")
                    assert versions(mtd) == (other_version(number),) * 2
                    assert mtd.pids("web") + mtd.pids("q") == before
            finally:
                over.set()
                asker.join()
            assert not trouble and calls[0] > times
            assert mtd.status()["daemon"]["upgrade"]["number"] == times
            assert mtd.pool("web")["restarts"] == 0 and mtd.pool("q")["restarts"] == 0
            assert mtd.workers("q")[0]["tasks"] == times
            mtd.ctl("stop", "flap")
            flap = mtd.pool("flap")
            with open(journal) as file:
                started = len(file.readlines())
            assert sum(w["incarnation"] for w in flap["workers"]) >= started >= times
            for worker in flap["workers"]:
                last = worker["last_exit"]
                assert last["code"] == 3 or last["planned"], last
            # one more of each may be on its way: a program that mtd's stop ended before its first line
            assert started - 4 <= flap["restarts"] <= started, (started, flap["restarts"])
            assert descriptor_count(mtd.keeper) <= keeper_fds + 4
            mtd.events.close()
            mtd.events = Events(mtd.socket)


def wrong_architecture(name):
    data = bytearray(Programs.real(name))
    data[18:20] = (0xF3 if data[18:20] != b"\xf3\0" else 0x3E).to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("kind, words", [
    ("missing", []),
    ("directory", ["is a directory"]),
    ("empty", ["is an empty file"]),
    ("not executable", ["is not executable: its mode is 0644"]),
    ("wrong architecture", ["is a program for", "the running mtd is one for"]),
    ("32 bits", ["is a 32-bit program for i386"]),
    ("half", ["is cut short: it has 100000 bytes of"]),
    ("text", ["is no program"]),
    ("script", ["is a script"]),
    ("foreign", []),
    ("exits", ["self-test failed: exit 1"]),
    ("crashes", ["self-test failed", "ABRT"]),
    ("another program", ["is no mtd"]),
    ("far protocol", ["too far"]),
    ("another release", ["install both of one release"]),
])
def test_fault_86_a_bad_program_is_refused(programs, actor, name, kind, words):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory) as mtd:
        mtd.wait_ready()
        path = programs.path(name)
        if kind == "missing":
            os.unlink(path)
        elif kind == "directory":
            os.unlink(path)
            os.mkdir(path)
        elif kind == "empty":
            programs.put(name, b"")
        elif kind == "not executable":
            programs.put(name, programs.real(name), 0o644)
        elif kind == "wrong architecture":
            programs.put(name, wrong_architecture(name))
        elif kind == "32 bits":
            programs.put(name, programs.real(name)[:4] + b"\1" + programs.real(name)[5:18] + b"\3\0" + programs.real(name)[20:])
        elif kind == "half":
            programs.put(name, programs.real(name)[:100000])
        elif kind == "text":
            programs.put(name, b"404: not found\n")
        elif kind == "script":
            programs.put(name, b"#!/bin/sh\nexit 0\n")
        elif kind == "foreign":
            with open("/bin/true", "rb") as file:
                programs.put(name, file.read())
        elif kind == "exits":
            programs.fake(name, self_test="exit 1")
        elif kind == "crashes":
            programs.fake(name, self_test="crash")
        elif kind == "another program":
            programs.fake(name, self_test=f"says something {VERSION} protocol 2")
        elif kind == "far protocol":
            for each in BOTH:
                programs.fake(each, self_test=f"says {each} {VERSION} protocol 99")
        else:
            programs.install(other_version(1), [name])
        refused(mtd, "nothing was changed", *([] if kind == "far protocol" else [path]), *words)
        # what is repaired can be upgraded to
        if kind == "directory":
            os.rmdir(path)
        programs.install(other_version(2))
        old = mtd.supervisor()
        mtd.ctl("upgrade")
        mtd.reconnect(old)
        assert versions(mtd) == (other_version(2),) * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_a_self_test_that_hangs_is_ended(programs, actor, name):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory) as mtd:
        mtd.wait_ready()
        programs.fake(name, self_test="hang")
        refused(mtd, programs.path(name), "did not end within 10s")


@pytest.mark.parametrize("how, words", [("exit 3", ["exit 3"]), ("crash", ["ABRT"]),
                                        pytest.param("hang", ["not ready within 10 s"], marks=pytest.mark.slow)])
def test_a_supervisor_that_never_is_ready_gives_way_to_the_old_one(programs, actor, how, words):
    with Mtd({"web": pool([actor, "wait"], workers=3)}, programs=programs.directory) as mtd:
        mtd.wait_ready()
        programs.fake("mtd-supervisor", self_test="real REAL", run=how)
        rolled_back(mtd, *words)
        # the files are still the bad ones: what ran before is started again, not what stands there
        mtd.kill_supervisor()
        assert mtd.status()["daemon"]["version"] == VERSION
        programs.install(other_version(3))
        old = mtd.supervisor()
        mtd.ctl("upgrade")
        mtd.reconnect(old)
        assert versions(mtd) == (other_version(3),) * 2


@pytest.mark.parametrize("kind, words", [("refuses", ["refused the process table"]), ("reads another format", ["refused the process table"]),
                                         ("cannot be executed", ["could not be executed", "Permission denied"])])
def test_a_keeper_that_cannot_take_over_executes_the_old_one_back(programs, actor, kind, words):
    with Mtd({"web": pool([actor, "wait"], workers=3)}, programs=programs.directory) as mtd:
        mtd.wait_ready()
        programs.install(other_version(4))
        if kind == "refuses":
            programs.fake("mtd", self_test="real REAL", handover="refuse")
        elif kind == "reads another format":
            programs.fake("mtd", self_test="real REAL", handover=f"real {programs.path('mtd')}.strange")
            strange = programs.real("mtd").replace(b"mtdtable", b"mtdtaste")
            assert strange != programs.real("mtd")
            programs.put("mtd.strange", strange)
        else:
            programs.fake("mtd", self_test="unfit REAL")
        programs.put("mtd-supervisor", programs.real("mtd-supervisor"))
        rolled_back(mtd, *words)
        mtd.kill(mtd.pids("web")[0])  # the keeper that came back does its work
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 3)
        if kind == "reads another format":
            assert "not a process table" in mtd.log()
        programs.install(other_version(5))
        old = mtd.supervisor()
        mtd.ctl("upgrade")
        mtd.reconnect(old)
        assert versions(mtd) == (other_version(5),) * 2


def test_sigusr2_upgrades(programs, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory) as mtd:
        before, old = mtd.pids("web"), mtd.supervisor()
        programs.install(other_version(6))
        os.kill(mtd.keeper, signal.SIGUSR2)
        mtd.reconnect(old)
        mtd.until(lambda: (mtd.status()["daemon"]["upgrade"] or {}).get("state") == "done")
        assert versions(mtd) == (other_version(6),) * 2 and mtd.pids("web") == before
        assert "SIGUSR2 from pid" in mtd.log()
        os.unlink(programs.path("mtd"))
        os.kill(mtd.keeper, signal.SIGUSR2)
        mtd.events.expect(event="upgrade_failed")
        assert mtd.pids("web") == before


def test_only_one_at_a_time_and_not_beside_a_reload(programs, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory) as mtd:
        go = os.path.join(programs.directory, "go")
        programs.fake("mtd", self_test=f"await {go} REAL", handover="real REAL")
        with Varlink(mtd.socket) as first, Varlink(mtd.socket) as second:
            first.send("Upgrade")
            eventually(lambda: [p for p in descendants(mtd.keeper) if is_fake(p, programs)], what="the self-test runs")
            with pytest.raises(VarlinkError, match="Conflict.*an upgrade is under way"):
                second.call("Upgrade")
            assert mtd.ctl("upgrade", code=1).stderr
            # a reload goes first, and wins
            mtd.pools["web"]["env"]["CHANGED"] = "1"
            mtd.write_config()
            mtd.ctl("reload")
            old = mtd.supervisor()
            open(go, "w").close()
            number = first.receive()["parameters"]["number"]
        mtd.reconnect(old)
        assert mtd.call("Upgrade", follow=number)["state"] == "done"
        with pytest.raises(VarlinkError, match="the last upgrade of this daemon is number 1, not 7"):
            mtd.call("Upgrade", follow=7)


def is_fake(pid, programs):
    try:
        return os.readlink(f"/proc/{pid}/exe").startswith(programs.directory) and "--self-test" in open(f"/proc/{pid}/cmdline").read()
    except OSError:
        return False


def test_a_supervisor_killed_during_the_self_tests_changes_nothing(programs, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory) as mtd:
        before = mtd.pids("web")
        programs.fake("mtd", self_test="hang")
        with Varlink(mtd.socket) as client:
            client.send("Upgrade")
            fake = eventually(lambda: [p for p in descendants(mtd.keeper) if is_fake(p, programs)], what="the self-test runs")
            mtd.kill_supervisor()
            assert all(wait_gone(p) for p in fake)
        assert mtd.pids("web") == before and mtd.status()["daemon"]["upgrade"] is None
        assert versions(mtd) == (VERSION, VERSION)


def test_refused_while_stopping(programs, actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "3s"})}, programs=programs.directory, checks_descriptors=False) as mtd:
        mtd.reports.expect("waiting")
        os.kill(mtd.keeper, signal.SIGTERM)
        mtd.events.expect(event="stopping", pool="web")
        assert "stopping" in mtd.ctl("upgrade", code=1).stderr
        assert mtd.process.wait(20) == 0


def test_a_stop_during_the_self_tests_goes_first(programs, actor):
    with Mtd({"web": pool([actor, "wait"])}, programs=programs.directory, checks_descriptors=False) as mtd:
        programs.fake("mtd", self_test="hang")
        with Varlink(mtd.socket) as client:
            client.send("Upgrade")
            fake = eventually(lambda: [p for p in descendants(mtd.keeper) if is_fake(p, programs)], what="the self-test runs")
            os.kill(mtd.keeper, signal.SIGTERM)
            assert mtd.process.wait(20) == 0
            assert all(wait_gone(p) for p in fake)


def test_a_stop_while_the_new_supervisor_is_not_ready(programs, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory, checks_descriptors=False, exit_code=None) as mtd:
        pids = mtd.pids("web")
        programs.fake("mtd-supervisor", self_test="real REAL", run="hang")
        old = mtd.supervisor()
        mtd.ctl("--no-wait", "upgrade")
        assert wait_gone(old)
        os.kill(mtd.keeper, signal.SIGTERM)
        assert wait_gone(mtd.process.pid, 45)
        assert not any(map(is_alive, pids))


def test_as_an_ordinary_user(root, programs, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory, user=NOBODY) as mtd:
        before, old = mtd.pids("web"), mtd.supervisor()
        programs.install(other_version(7))
        mtd.ctl("upgrade")
        mtd.reconnect(old)
        assert versions(mtd) == (other_version(7),) * 2 and mtd.pids("web") == before
        programs.fake("mtd", self_test="exit 1")
        refused(mtd, "exit 1")


def test_as_pid_1(unshare, programs, actor):
    first = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with Mtd({"web": pool([actor, "wait"], workers=2)}, programs=programs.directory, prefix=first, inside=False) as mtd:
        mtd.wait_ready()
        before, old = mtd.pids("web"), mtd.supervisor()
        programs.install(other_version(8))
        mtd.ctl("upgrade")
        mtd.reconnect(old)
        daemon = mtd.status()["daemon"]
        assert daemon["pid"] == 1 and versions(mtd) == (other_version(8),) * 2 and mtd.pids("web") == before
        mtd.ctl("signal", "KILL", "web/1")
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)


def test_the_service_manager_notices_nothing(programs, actor):
    with tempfile.TemporaryDirectory(prefix="mtd-sm-") as directory:
        manager = ServiceManager(os.path.join(directory, "notify"))
        env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "600000"}
        try:
            with Mtd({"web": pool([actor, "wait"])}, programs=programs.directory, env=env, checks_descriptors=False) as mtd:
                manager.expect(lambda line: line == "READY=1")
                for number in range(3):
                    programs.install(other_version(number))
                    old = mtd.supervisor()
                    mtd.ctl("upgrade")
                    mtd.reconnect(old)
                    for _ in range(2):
                        manager.expect(lambda line: line == "WATCHDOG=1", 5)
                manager.expect(lambda line: line.startswith("STATUS=1/1"), 10)
                lines = [line for _, each in manager.messages for line in each]
                assert {pid for pid, _ in manager.messages} == {mtd.keeper}
                assert lines.count("READY=1") == 1
                assert not [x for x in lines if x.startswith(("MAINPID=", "RELOADING=", "STOPPING=", "ERRNO="))], lines
        finally:
            manager.close()


def test_a_link_that_leads_to_another_release(programs, impostor, actor):
    other = Programs(impostor)
    other.install(other_version(9))
    link = programs.directory + ".current"
    os.symlink(programs.directory, link)
    try:
        with Mtd({"web": pool([actor, "wait"])}, programs=link) as mtd:
            before, old = mtd.pids("web"), mtd.supervisor()
            os.symlink(other.directory, link + ".new")
            os.rename(link + ".new", link)
            mtd.ctl("upgrade")
            mtd.reconnect(old)
            assert versions(mtd) == (other_version(9),) * 2 and mtd.pids("web") == before
    finally:
        os.unlink(link)
        other.close()


def test_followers_go_on(programs, actor):
    with Mtd({"web": pool([actor, "wait"])}, programs=programs.directory) as mtd:
        stream = subprocess.Popen([os.path.join(BIN, "mtctl"), "-s", mtd.socket, "-o", "jsonl", "events", "-f", "--since", "0"],
                                  stdout=subprocess.PIPE, text=True)
        try:
            assert json.loads(stream.stdout.readline())
            old = mtd.supervisor()
            programs.install(other_version(10))
            mtd.ctl("upgrade")
            mtd.reconnect(old)
            victim = mtd.pids("web")[0]
            mtd.kill(victim)
            for line in stream.stdout:
                event = json.loads(line)
                if event["event"] == "exited" and event.get("pid") == victim:
                    break
        finally:
            stream.terminate()
            stream.wait()
            stream.stdout.close()


def test_a_replaced_file_alone_changes_nothing(programs, actor):
    with Mtd({"web": pool([actor, "wait"])}, programs=programs.directory) as mtd:
        programs.install(other_version(11))
        mtd.kill_supervisor()
        assert versions(mtd) == (VERSION, VERSION)
        os.unlink(programs.path("mtd-supervisor"))
        mtd.kill_supervisor()
        assert versions(mtd) == (VERSION, VERSION)


# ---- versions of the keeper's protocol -----------------------------------------------------------

def hello(version, extra=b""):
    size = 16 + 88 + len(extra)
    body = struct.pack("=QQqqIiIIQQqIIiI", 1, 2, 3, 4, 100, os.getpid(), 0, 0, 0, 1024, 0, 0, 1, 0, 0) + extra
    assert 16 + len(body) == size, len(body)
    return struct.pack("=HHIQ", 64, version, size, 0) + body


def greeted_by(data):
    """What mtd-supervisor does with this hello: (exit code, its log); None: it goes on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryDirectory(prefix="mtd-h-") as directory, ours:
        def place():
            os.dup2(theirs.fileno(), 3)
        process = subprocess.Popen([os.path.join(BIN, "mtd-supervisor"), "--runtime-dir", directory, "--config", directory],
                                   preexec_fn=place, close_fds=False, stderr=subprocess.PIPE, text=True)
        theirs.close()
        try:
            ours.send(data)
            ours.settimeout(20)
            asked = ours.recv(4096) if process.poll() is None else b""
            if asked:
                return None
            return process.wait(20), process.stderr.read()
        except ConnectionResetError:
            return process.wait(20), process.stderr.read()
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def test_a_neighbouring_protocol_is_understood():
    """Protocol 2 is this one's."""
    assert greeted_by(hello(2)) is None
    assert greeted_by(hello(1)) is None
    assert greeted_by(hello(3)) is None
    assert greeted_by(hello(3, b"\xff" * 64)) is None, "a newer hello may have grown"


def test_a_far_protocol_is_refused_in_words():
    for version in (0, 4, 9):
        code, log = greeted_by(hello(version))
        assert code == 11 and f"protocol {version}" in log and "different releases" in log
    code, log = greeted_by(hello(2, b"\0" * 8))
    assert code == 11 and "wrong size" in log


def test_programs_that_do_not_fit_do_not_restart_for_ever(programs):
    programs.fake("mtd-supervisor", run="exit 11")
    mtd = Mtd({}, programs=programs.directory)
    try:
        os.close(mtd.launch())
        assert mtd.process.wait(20) == 11
    finally:
        mtd._end_hard()
        mtd._clean()
