"""What clients can do to the control socket, on purpose or not: mtd never grows, spins or goes silent."""
import array
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest
from harness import BIN, NOBODY, PATIENCE, SLEEPER, Mtd, StartFailed, Varlink, VarlinkError, cpu_seconds, descriptor_count, eventually, pool, rss_kib

STATUS = b'{"method":"io.mtd.Manager.Status","parameters":{}}\0'


@pytest.fixture(scope="module")
def mtd(tools):
    with Mtd({"web": pool([tools + "/actor", "wait"], workers=3)}) as daemon:
        daemon.wait_ready()
        yield daemon


@pytest.fixture(autouse=True)
def still_well(request):
    """After whatever a test did: it answers at once, and its workers are the ones it had."""
    yield
    if "mtd" in request.fixturenames:
        daemon = request.getfixturevalue("mtd")
        watch = daemon.stopwatch()
        assert daemon.pool("web")["ready"] == 3
        assert watch.seconds() < 1
        assert daemon.supervisor() == daemon.first_supervisor, "the supervisor died"


def raw(mtd, data, seconds=10):
    """Everything the daemon says to these bytes, and whether it closed the connection."""
    client = Varlink(mtd.socket, seconds)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send_raw(data)
    client.socket.shutdown(socket.SHUT_WR)
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while True:
            block = client.socket.recv(1 << 20)
            if not block:
                break
            out += block
    client.close()
    return [json.loads(frame) for frame in out.split(b"\0") if frame]


def test_fault_54_half_a_request_is_cut_off_after_5_s(mtd):
    with Varlink(mtd.socket) as client:
        client.send_raw(b'{"method":"io.mtd')
        begin = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while True:
                reply = client.receive()
                if reply is None:
                    break
                assert "error" in reply
        assert time.monotonic() - begin > 3.5


def test_fault_54_slow_loris_does_not_extend_it(mtd):
    with Varlink(mtd.socket, 0.25) as client:
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begin < PATIENCE:
                client.send_raw(b" ")
                with contextlib.suppress(TimeoutError, socket.timeout):
                    if client.socket.recv(10) == b"":
                        break
        assert time.monotonic() - begin < PATIENCE


def test_idle_connection_is_kept(mtd):
    with Varlink(mtd.socket) as client:
        assert client.call("Status")["pools"]
        assert client.call("Status")["pools"]


def test_fault_56_clients_that_vanish_mid_answer(mtd):
    for _ in range(300):
        client = Varlink(mtd.socket)
        client.send("Status", {"select": ["web"]}, more=True)
        client.close()
    for _ in range(100):
        client = Varlink(mtd.socket)
        client.send("Events", {"since": "0", "follow": True}, more=True)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()


@pytest.mark.parametrize("data", [b"x" * (1024 * 1024 + 1), b"\0", b"\0\0\0\0", b"   \0", b"x" * 10_000_000, b"{" + b" " * (1 << 20) + b"}\0",
                                  b"\xff" * 1000 + b"\0", b"GET / HTTP/1.1\r\n\r\n\0", b'"text"\0', b"[]\0", b"{}\0", b"null\0"],
                         ids=["1 MiB + 1", "zero length", "zero lengths", "spaces", "10 MB", "padded", "not text", "http", "string", "array", "empty", "null"])
def test_fault_57_frames_that_are_none(mtd, data):
    before = rss_kib(mtd.supervisor())
    for reply in raw(mtd, data):
        assert "error" in reply, reply
    assert rss_kib(mtd.supervisor()) < before + 4096


@pytest.mark.parametrize("text", ["[" * 200000, '{"a":' * 200000, '{"method":"io.mtd.Manager.Status","parameters":' + '{"a":' * 60 + "1" + "}" * 61],
                         ids=["arrays", "objects", "sixty"])
def test_fault_58_depth(mtd, text):
    for reply in raw(mtd, text.encode() + b"\0"):
        assert "error" in reply


@pytest.mark.parametrize("number", ["1e999", "1E400", "18446744073709551616", "9223372036854775808", "0.1", "01", "NaN", "-1", "Infinity", "1e3", '"5"', "true", "[]"])
def test_fault_59_numbers(mtd, number):
    replies = raw(mtd, b'{"method":"io.mtd.Manager.Scale","parameters":{"pool":"web","want":%s}}\0' % number.encode())
    assert all("error" in r for r in replies), replies
    assert mtd.pool("web")["want"] == 3


def test_fault_60_duplicate_members(mtd):
    replies = raw(mtd, b'{"method":"io.mtd.Manager.Scale","parameters":{"pool":"web","want":3,"want":9}}\0')
    assert all("error" in r for r in replies) and mtd.pool("web")["want"] == 3


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\\ud800", b"web\\u0000", b"\xef\xbb\xbfweb", b"w\xc2\x85b", b"\\u2028", b"../../etc", b"web/-1",
                                  b"web/99999999999999999999", b"web/1/2", b"[", b"-rf", b"x" * 5000])
def test_fault_61_names(mtd, name):
    replies = raw(mtd, b'{"method":"io.mtd.Manager.Stop","parameters":{"select":["' + name + b'"]}}\0')
    assert all("error" in r for r in replies), replies


@pytest.mark.parametrize("call,error", [
    ({"method": "io.mtd.Manager.Nope"}, "MethodNotFound"), ({"method": "io.mtd.Other.Status"}, "InterfaceNotFound"), ({"method": "Status"}, None),
    ({"method": 3}, None), ({"parameters": {}}, None), ({"method": "io.mtd.Manager.Status", "parameters": []}, None),
    ({"method": "io.mtd.Manager.Status", "parameters": {"select": "web"}}, "InvalidParameter"),
    ({"method": "io.mtd.Manager.Status", "parameters": {"nope": 1}}, "InvalidParameter"),
    ({"method": "io.mtd.Manager.Stop", "parameters": {}}, "InvalidParameter"),
    ({"method": "io.mtd.Manager.Signal", "parameters": {"signal": "NOPE", "select": ["web"]}}, "InvalidParameter"),
    ({"method": "io.mtd.Manager.Signal", "parameters": {"signal": "USR1", "select": ["web"], "whom": "everyone"}}, "InvalidParameter"),
    ({"method": "io.mtd.Manager.Wait", "parameters": {"select": ["web"], "for": "godot"}}, "InvalidParameter"),
    ({"method": "io.mtd.Manager.Events", "parameters": {}}, "ExpectedMore"),
    ({"method": "io.mtd.Manager.Events", "parameters": {"since": "yesterday"}, "more": True}, "InvalidParameter"),
    ({"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": "no.such"}}, "InterfaceNotFound")])
def test_fault_62_wrong_calls_get_typed_errors(mtd, call, error):
    with Varlink(mtd.socket) as client:
        client.send_raw(json.dumps(call).encode() + b"\0")
        reply = client.receive()
        assert reply is None and error is None or "error" in reply, reply
        if error:
            assert reply["error"].endswith("." + error), reply
            assert client.call("Status")["pools"], "the connection lives"


def test_fault_63_ten_thousand_pipelined_requests(mtd):
    # in one write, while they are read; another client is served all the time
    client = Varlink(mtd.socket, 60)
    sender = threading.Thread(target=client.send_raw, args=(b'{"method":"org.varlink.service.GetInfo"}\0' * 10000,))
    sender.start()
    slowest, answers = 0.0, 0
    while answers < 10000:
        assert client.receive()["parameters"]["interfaces"]
        answers += 1
        if answers % 1000 == 0:
            watch = mtd.stopwatch()
            mtd.status()
            slowest = max(slowest, watch.seconds())
    sender.join()
    client.close()
    assert slowest < 1


def test_fault_63_a_request_split_at_every_byte(mtd):
    for cut in range(1, len(STATUS)):
        with Varlink(mtd.socket) as client:
            client.send_raw(STATUS[:cut])
            client.send_raw(STATUS[cut:])
            assert client.receive()["parameters"]["pools"]


def test_fault_66_descriptors_sent_to_us_are_closed(mtd):
    supervisor = mtd.supervisor()  # asked over a connection of its own, which may close only now
    before = descriptor_count(supervisor)
    with Varlink(mtd.socket) as client:
        null = os.open("/dev/null", os.O_RDONLY)
        rights = array.array("i", [null] * 250)
        for _ in range(200):
            client.socket.sendmsg([STATUS], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            with contextlib.suppress(TypeError):
                assert client.receive()["parameters"]["pools"]
        os.close(null)
        eventually(lambda: descriptor_count(supervisor) <= before + 1, 3)
    eventually(lambda: descriptor_count(supervisor) <= before, 3)


def test_fault_72_api_storm_does_not_delay_a_restart(mtd):
    def restart():
        victim = mtd.pids("web")[0]
        mtd.events.drain()
        watch = mtd.stopwatch()
        os.kill(victim, signal.SIGKILL)
        ready = mtd.events.expect(event="ready", worker="web/0", test=lambda e: e["pid"] != victim,
                                  start=max(0, len(mtd.events.seen) - 1))
        return watch.seconds(ready["pid"])

    over = threading.Event()

    def storm():
        with Varlink(mtd.socket, 60) as client:
            while not over.is_set():
                client.send_raw(STATUS * 50)
                for _ in range(50):
                    client.receive()

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        took = sorted(restart() for _ in range(5))
    finally:
        over.set()
        thread.join()
    assert took[2] < 0.5, took
    mtd.ctl("reset-failed", "web")


def test_fault_55_a_client_that_never_reads(actor):
    with Mtd({"bad": pool([actor, "exit=1"], workers=4, backoff={"initial": 0, "max": 0, "jitter": 0}, crash_limit={"count": 1000000}),
              "web": pool([actor, "wait"])}) as mtd:
        clients = []
        for _ in range(20):
            client = Varlink(mtd.socket)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.send("Events", {"since": "0", "follow": True}, more=True)
            assert client.receive()["parameters"]["events"]  # it has begun; and now it stops reading
            clients.append(client)
        before, seen = rss_kib(mtd.supervisor()), mtd.pool("bad")["restarts"]
        # more than the ring of 4 096 and the socket's buffer hold, at four events a restart
        mtd.until(lambda: mtd.pool("bad")["restarts"] > seen + 2500, 60)
        assert rss_kib(mtd.supervisor()) < before + 20 * 1024
        mtd.ctl("stop", "--now", "bad")
        lagged = 0
        for client in clients:
            client.socket.settimeout(2)
            with contextlib.suppress(OSError):
                while True:
                    reply = client.receive()
                    if reply is None:
                        lagged += 1  # dropped: also a clear sign
                        break
                    if any(e["event"] == "lagged" and e["missed"] > 0 for e in reply["parameters"].get("events", [])):
                        lagged += 1
                        break
            client.close()
        assert lagged == 20, "each one is told what it missed"


def hold_connections(path, count, uid):
    """A process of another user with so many idle connections; its stdout says how many it got."""
    code = ("import socket,sys,signal\nheld=[]\n"
            "for _ in range(int(sys.argv[2])):\n"
            "    s=socket.socket(socket.AF_UNIX,socket.SOCK_STREAM); s.settimeout(1)\n"
            "    try: s.connect(sys.argv[1]); held.append(s)\n"
            "    except OSError: break\n"
            "print(len(held),flush=True)\nsignal.pause()")
    process = subprocess.Popen(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-c", code, path, str(count)],
                               stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def test_fault_53_idle_clients_of_another_user(root, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, daemon={"control": {"readonly_group": "nogroup"}, "limits": {"clients": 20}}) as mtd:
        mtd.wait_ready()
        holder = hold_connections(mtd.socket, 200, NOBODY)
        try:
            pids = (mtd.keeper, mtd.supervisor())
            before, begin = sum(map(cpu_seconds, pids)), time.monotonic()
            watch = mtd.stopwatch()
            mtd.status()
            assert watch.seconds() < 1.5, "slots are kept for root"
            victim = mtd.pids("web")[0]
            os.kill(victim, signal.SIGKILL)
            mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)
            eventually(lambda: time.monotonic() - begin > 2, 4)
            assert sum(map(cpu_seconds, pids)) - before < 0.5, "no spin"
        finally:
            holder.kill()
            holder.wait()
            holder.stdout.close()


def test_fault_53_descriptors_run_out(root, actor):
    import resource
    with Mtd({"web": pool([actor, "wait"], workers=2)}, daemon={"control": {"readonly_group": "nogroup"}}) as mtd:
        mtd.wait_ready()
        supervisor = mtd.supervisor()
        limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (descriptor_count(supervisor) + 12, limits[1]))
        holder = hold_connections(mtd.socket, 60, NOBODY)
        try:
            before, begin = cpu_seconds(supervisor), time.monotonic()
            mtd.ctl("status", seconds=5)
            os.kill(mtd.pids("web")[0], signal.SIGKILL)
            mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)
            eventually(lambda: time.monotonic() - begin > 1.5, 3)
            assert cpu_seconds(supervisor) - before < 0.6, "no spin at a full table"
        finally:
            holder.kill()
            holder.wait()
            holder.stdout.close()
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
        mtd.ctl("status")


def test_fault_64_another_user_is_refused_by_mode(root, actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        assert stat.S_IMODE(os.stat(mtd.socket).st_mode) == 0o600
        assert mtd.run_ctl("stop", "web", user=NOBODY).returncode in (5, 7)
        assert mtd.pool("web")["ready"] == 1


def test_fault_64_and_65_tiers_by_peer_credentials(root, actor):
    with Mtd({"web": pool([actor, "wait"])}, daemon={"control": {"group": "daemon", "readonly_group": "nogroup"}}) as mtd:
        mtd.wait_ready()
        assert stat.S_IMODE(os.stat(mtd.socket).st_mode) == 0o666

        def as_group(group, *words):
            return subprocess.run(["setpriv", "--reuid=65534", f"--regid={group}", "--clear-groups", BIN + "/mtctl", "-s", mtd.socket, *words],
                                  capture_output=True, text=True, timeout=30, check=False).returncode

        assert as_group("nogroup", "status") == 0
        for words in (["stop", "web"], ["scale", "web", "3"], ["signal", "HUP", "web"], ["restart", "web"], ["freeze", "web"], ["reload"], ["shutdown"]):
            assert as_group("nogroup", *words) == 7, words
        assert mtd.pool("web")["want"] == 1 and mtd.pool("web")["ready"] == 1
        assert re.search(r"65534", mtd.log()), "a refused call is logged with its uid"
        assert as_group("daemon", "scale", "web", "2") == 0
        for words in (["reload"], ["shutdown"]):
            assert as_group("daemon", *words) == 7, words
        assert as_group("games", "status") in (5, 7)


def test_fault_67_stale_socket_is_taken_over(actor):
    mtd = Mtd({"web": pool([actor, "wait"])})
    os.mkdir(mtd.runtime, 0o755)
    for name in ("io.mtd.Manager", "notify"):
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(os.path.join(mtd.runtime, name))
        stale.close()
    with mtd:
        mtd.ctl("status")


@pytest.mark.parametrize("what", ["file", "symlink", "directory"])
def test_fault_67_what_is_no_socket_is_not_removed(actor, what):
    mtd = Mtd({"web": pool([actor, "wait"])}, exit_code=None)
    os.mkdir(mtd.runtime, 0o755)
    if what == "file":
        open(mtd.socket, "w").write("precious")
    elif what == "symlink":
        open(mtd.directory + "/victim", "w").write("precious")
        os.symlink(mtd.directory + "/victim", mtd.socket)
    else:
        os.mkdir(mtd.socket)
    with pytest.raises(StartFailed) as refused:
        with mtd:
            pass
    assert refused.value.code in (1, 8, 9) and "io.mtd.Manager" in refused.value.log


def test_fault_68_no_moment_in_which_others_may_connect(root, actor):
    code = ("import socket,sys,os\n"
            "while os.getppid()!=1:\n"
            "    s=socket.socket(socket.AF_UNIX,socket.SOCK_STREAM)\n"
            "    try:\n        s.connect(sys.argv[1]); print('in',flush=True); break\n"
            "    except OSError: pass\n"
            "    s.close()")
    mtd = Mtd({"web": pool([actor, "wait"])}, popen={"preexec_fn": lambda: os.umask(0)})
    prober = subprocess.Popen(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code, mtd.socket],
                              stdout=subprocess.PIPE, text=True)
    mtd.strangers_before.add(prober.pid)
    try:
        with mtd:
            mtd.ctl("restart", "web")
    finally:
        prober.kill()
        out = prober.stdout.read()
        prober.wait()
        prober.stdout.close()
    assert out == ""


@pytest.mark.parametrize("what", ["socket", "directory"])
def test_fault_69_removed_by_a_cleaner_is_made_again(actor, what):
    with Mtd({"web": pool([actor, "notify=READY=1", "wait"], ready="notify")}) as mtd:
        mtd.wait_ready()
        if what == "socket":
            os.unlink(mtd.socket)
        else:
            for name in os.listdir(mtd.runtime):
                os.unlink(os.path.join(mtd.runtime, name))
            os.rmdir(mtd.runtime)
        eventually(lambda: os.path.exists(mtd.socket), 2 * PATIENCE if what == "directory" else PATIENCE, "the socket is made again")
        mtd.ctl("status")
        victim = mtd.pids("web")[0]
        os.kill(victim, signal.SIGKILL)
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 1, what="its NOTIFY_SOCKET works again too")


def test_fault_70_names_are_not_paths(mtd):
    for name in ("../../etc/passwd", "a/b/c", ".", "..", "x" * 300, "web\x07"):
        assert mtd.run_ctl("status", name).returncode in (2, 4), name
    assert mtd.run_ctl("status", "--", "-rf").returncode in (2, 4)


def test_fault_71_nothing_a_worker_says_reaches_a_terminal_raw(tmp_path):
    import pty
    os.chmod(tmp_path, 0o755)
    evil = tmp_path / "e\x1b]0;x\x07\x1b[2Jvil\u202e"
    evil.write_text("#!/bin/sh\nexec sleep infinity\n")
    evil.chmod(0o755)
    with Mtd({"web": pool([str(evil), "\x1b]52;c;aGk=\x07", "\x9b31m"])}) as mtd:
        for words in (("status", "web"), ("why", "web"), ("tree",), ("config", "show"), ("events", "--since", "0"), ("-o", "wide", "status", "web")):
            lead, follow = pty.openpty()
            process = subprocess.Popen([BIN + "/mtctl", "-s", mtd.socket, *words], stdin=subprocess.DEVNULL, stdout=follow, stderr=follow,
                                       env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"})
            os.close(follow)
            data = b""
            with contextlib.suppress(OSError):
                while True:
                    block = os.read(lead, 65536)
                    if not block:
                        break
                    data += block
            os.close(lead)
            process.wait(10)
            assert b"\x1b]" not in data and b"\x07" not in data and b"\x1b[2J" not in data and "\u202e".encode() not in data, (words, data)


def test_permission_denied_is_told_to_a_varlink_client(root, actor):
    with Mtd({"web": pool([actor, "wait"])}, daemon={"control": {"readonly_group": "nogroup"}}) as mtd:
        code = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                "s.sendall(b'{\"method\":\"io.mtd.Manager.Shutdown\",\"parameters\":{}}\\0')\nprint(s.recv(4096).decode())")
        out = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code, mtd.socket],
                             capture_output=True, text=True, timeout=20, check=False).stdout
        assert "io.mtd.Manager.PermissionDenied" in out


def test_errors_have_the_documented_names(mtd):
    for method, parameters, error in (("Stop", {"select": ["nope"]}, "NoSuchPool"), ("Stop", {"select": ["web/77"]}, "NoSuchWorker"),
                                      ("Scale", {"pool": "web", "want": 4, "current": 9}, "Conflict")):
        with pytest.raises(VarlinkError) as refused:
            mtd.call(method, **parameters)
        assert refused.value.error == "io.mtd.Manager." + error


def test_reply_pieces_are_at_most_64_kib():
    with Mtd({"web": pool(SLEEPER, workers=400)}) as mtd:
        mtd.wait_ready()
        with Varlink(mtd.socket) as client:
            client.send("Status", {"select": ["web"]}, more=True)
            data, frames = b"", []
            while not frames or json.loads(frames[-1]).get("continues"):
                data += client.socket.recv(1 << 20)
                *done, data = data.split(b"\0")
                frames += done
            assert max(map(len, frames)) <= 64 * 1024 and len(frames) > 1
        assert len(mtd.workers("web")) == 400
