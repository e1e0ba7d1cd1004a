"""Sockets that mtd opens for its workers: whatever happens to workers, supervisor or configuration, nobody is refused."""
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest
from harness import NOBODY, PATIENCE, SLEEPER, Mtd, StartFailed, eventually, pool, wait_gone

LOCAL = "127.0.0.1"


def free_port(first=28100):
    for port in range(first, first + 300):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOCAL, port))
            return port
    pytest.skip("no free port")


def ask(address, family=socket.AF_INET):
    """One request on a fresh connection; the pid of the worker that answered."""
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        client.connect(address)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        text = client.recv(4096)
    assert text.startswith(b"HTTP/1.1 200 "), text
    return int(text.rpartition(b"\r\n\r\n")[2])


def answers(address):
    """Who answers eight connections; nobody, if one was lost."""
    try:
        return sorted({ask(address) for _ in range(8)})
    except ConnectionResetError:  # it waited at the socket of a slot that went away
        return []


def refuses(address, family=socket.AF_INET):
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
    return False


class Clients:
    """Threads that ask over fresh connections, one after the other, until the end; whatever fails is kept."""

    def __init__(self, address, family=socket.AF_INET, count=4):
        self.failures, self.answered, self.done = [], 0, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(address, family)) for _ in range(count)]

    def _ask(self, address, family):
        while not self.done.is_set():
            try:
                ask(address, family)
                self.answered += 1
            except (OSError, AssertionError, ValueError) as error:
                self.failures.append(repr(error))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.some()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def some(self, count=50):
        """Waits until so many more have been answered."""
        goal = self.answered + count
        eventually(lambda: self.answered >= goal or self.failures, what="requests are answered")


class Wrk:
    """wrk, kept running until the end; `lost` is what it counts as failed."""

    def __init__(self, url, *options):
        self.process = subprocess.Popen(["wrk", "-t1", "-c16", "-d3600s", *options, url], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)

    def end(self):
        os.kill(self.process.pid, signal.SIGINT)
        text = self.process.communicate(timeout=PATIENCE)[0]
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        lost = sum(map(int, errors.groups())) if errors else 0
        return lost + (int(wrong.group(1)) if wrong else 0), int(re.search(r"(\d+) requests in", text).group(1)), text


def inode_of(pid, fd=3):
    return os.readlink(f"/proc/{pid}/fd/{fd}")


def environment_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)


def shared(http, *listen, **keys):
    keys.setdefault("workers", 2)
    keys.setdefault("overlap", True)
    return pool([http], listen=list(listen), **keys)


def test_workers_get_the_sockets_as_systemd_would_give_them(http):
    port = free_port()
    with Mtd({}) as mtd:
        path = os.path.join(mtd.directory, "web.sock")
        mtd.pools["web"] = shared(http, f"tcp:{LOCAL}:{port}?name=front&backlog=17", f"unix:{path}?mode=0666")
        mtd.write_config()
        mtd.ctl("reload")
        mtd.wait_ready("web")
        pids = mtd.pids("web")
        for pid in pids:
            facts = environment_of(pid)
            assert facts[b"LISTEN_PID"] == str(pid).encode()
            assert facts[b"LISTEN_FDS"] == b"2" and facts[b"LISTEN_FDNAMES"] == b"front:web"
            assert inode_of(pid, 3) == inode_of(pids[0], 3) != inode_of(pid, 4)
            assert sorted(map(int, os.listdir(f"/proc/{pid}/fd")))[:5] == [0, 1, 2, 3, 4]
        assert ask((LOCAL, port)) in pids and ask(path, socket.AF_UNIX) in pids
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
        shown = mtd.ctl("status", "web").stdout
        assert f"listens on tcp:{LOCAL}:{port}\n" in shown and f"listens on unix:{path}\n" in shown
        assert f"It listens on tcp:{LOCAL}:{port}." in mtd.ctl("why", "web").stdout
        assert [entry["name"] for entry in mtd.pool("web")["listen"]] == ["front", "web"]
        used = {limit["name"]: limit["used"] for limit in mtd.ctl_json("limits")["limits"]}
        assert used["sockets"] == 2
    assert not os.path.exists(path) and refuses((LOCAL, port))


def test_nobody_is_refused_whatever_happens(http):
    port = free_port()
    address = (LOCAL, port)
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{port}", workers=3)}) as mtd:
        mtd.wait_ready()
        with Clients(address) as clients:
            for round_ in range(3):
                mtd.ctl("restart", "web")
                clients.some()
                mtd.kill_supervisor()
                clients.some()
                mtd.pools["web"]["env"]["ROUND"] = str(round_)
                mtd.write_config()
                mtd.ctl("reload")
                clients.some()
                mtd.ctl("scale", "web=6")
                clients.some()
                mtd.ctl("scale", "web=2")
                clients.some()
        assert not clients.failures, (clients.answered, clients.failures[:5])
        assert inode_of(mtd.pids("web")[0]) == inode_of(mtd.pids("web")[1])


def test_killed_workers_leave_no_refused_connection(http):
    """What a killed worker had accepted is lost with it; what it had not is answered by another."""
    port = free_port()
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{port}", workers=2, backoff={"initial": "0ms", "max": "0ms"})}) as mtd:
        mtd.wait_ready()
        with Clients((LOCAL, port)) as clients:
            for _ in range(10):
                for pid in mtd.pids("web"):  # both: for a moment nobody is there
                    with contextlib.suppress(ProcessLookupError):
                        mtd.kill(pid)
                clients.some(20)
                clients.failures = [f for f in clients.failures if "Refused" in f]
                assert not clients.failures
        mtd.until(lambda: mtd.pool("web")["ready"] == 2)


def test_connections_wait_while_nobody_is_there(http):
    port = free_port()
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{port}")}) as mtd:
        mtd.wait_ready()
        mtd.ctl("stop", "web")
        with socket.create_connection((LOCAL, port), timeout=PATIENCE) as client:
            assert "1 connection not accepted yet" in mtd.ctl("why", "web").stdout
            assert mtd.pool("web")["listen"][0]["waiting"] == 1
            mtd.kill_supervisor()
            assert mtd.pool("web")["listen"][0]["waiting"] == 1
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            mtd.ctl("start", "web")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_changed_address_is_opened_before_the_old_one_closes(http):
    old, new = free_port(28100), free_port(28400)
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{old}")}) as mtd:
        mtd.wait_ready()
        with socket.create_connection((LOCAL, old), timeout=PATIENCE) as client:  # keeps one old worker alive
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            slow = int(client.recv(4096).rpartition(b"\r\n\r\n")[2])
            mtd.pools["web"].update(listen=[f"tcp:{LOCAL}:{new}"], stop={"timeout": "30s"})
            mtd.write_config()
            assert "listen" in mtd.ctl("config", "diff").stdout
            with reload_meanwhile(mtd):
                eventually(lambda: not refuses((LOCAL, new)), what="the new address answers")
                assert os.path.exists(f"/proc/{slow}") and ask((LOCAL, new)) != slow
                client.close()  # the roll-out waits for this worker
        mtd.wait_ready("web")
        eventually(lambda: refuses((LOCAL, old)), what="the old address is closed with its last user")
        mtd.kill_supervisor()
        assert refuses((LOCAL, old)) and ask((LOCAL, new)) in mtd.pids("web")


@contextlib.contextmanager
def reload_meanwhile(mtd):
    """A reload that runs while the body does."""
    running = threading.Thread(target=lambda: mtd.ctl("reload", code=None))
    running.start()
    try:
        yield
    finally:
        running.join(PATIENCE * 3)


def test_an_old_address_closes_even_if_the_supervisor_died_meanwhile(http):
    old, new = free_port(28100), free_port(28400)
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{old}", workers=1, stop={"timeout": "30s"})}) as mtd:
        mtd.wait_ready()
        with socket.create_connection((LOCAL, old), timeout=PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            slow = int(client.recv(4096).rpartition(b"\r\n\r\n")[2])
            mtd.pools["web"]["listen"] = [f"tcp:{LOCAL}:{new}"]
            mtd.write_config()
            with reload_meanwhile(mtd):
                eventually(lambda: not refuses((LOCAL, new)))
                mtd.kill_supervisor()
            assert not refuses((LOCAL, new))
        assert wait_gone(slow)
        eventually(lambda: refuses((LOCAL, old)), what="closed with the worker an earlier life knew")


def test_an_address_in_use_changes_nothing(http):
    port, other = free_port(28100), free_port(28400)
    with socket.socket() as taken, Mtd({"web": shared(http, f"tcp:{LOCAL}:{port}"), "idle": pool(SLEEPER)}) as mtd:
        taken.bind((LOCAL, other))
        taken.listen()
        mtd.wait_ready()
        before = mtd.pids("web") + mtd.pids("idle")
        third = free_port(28700)
        mtd.pools["web"]["listen"] = [f"tcp:{LOCAL}:{third}", f"tcp:{LOCAL}:{other}"]
        mtd.pools["idle"]["env"]["X"] = "1"
        mtd.write_config()
        failed = mtd.ctl("reload", code=None)
        assert failed.returncode != 0
        said = failed.stdout + failed.stderr
        assert f"pool web: listen tcp:{LOCAL}:{other}: bind: Address already in use (EADDRINUSE); pid {os.getpid()} (" in said
        assert mtd.pids("web") + mtd.pids("idle") == before
        assert ask((LOCAL, port)) in before and refuses((LOCAL, third))
        mtd.pools["web"]["listen"] = [f"tcp:*:{port}"]
        mtd.write_config()
        failed = mtd.ctl("reload", code=None)
        assert f"mtd itself has tcp:{LOCAL}:{port} open: leave that out first" in failed.stdout + failed.stderr
    with socket.socket() as taken:
        taken.bind((LOCAL, other))
        taken.listen()
        with pytest.raises(StartFailed, match="EADDRINUSE"):
            with Mtd({"web": shared(http, f"tcp:{LOCAL}:{other}")}):
                pass


def test_an_address_moves_from_one_pool_to_another(http):
    port = free_port()
    with Mtd({"a": shared(http, f"tcp:{LOCAL}:{port}"), "b": pool(SLEEPER, workers=0)}) as mtd:
        mtd.wait_ready("a")
        with Clients((LOCAL, port)) as clients:
            mtd.pools = {"b": shared(http, f"tcp:{LOCAL}:{port}")}
            mtd.write_config()
            mtd.ctl("reload")
            mtd.wait_ready("b")
            clients.some()
        assert not clients.failures
        assert ask((LOCAL, port)) in mtd.pids("b")


def test_unix_socket_belongs_to_the_workers_user(http, root):
    with Mtd({}) as mtd:
        path = os.path.join(mtd.directory, "x.sock")
        mtd.pools["web"] = shared(http, f"unix:{path}", user=str(NOBODY), group=str(NOBODY))
        mtd.write_config()
        mtd.ctl("reload")
        mtd.wait_ready("web")
        facts = os.stat(path)
        assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (NOBODY, NOBODY, 0o660)
        assert ask(path, socket.AF_UNIX) in mtd.pids("web")
        mtd.pools["web"]["listen"] = [f"unix:{path}?mode=0600&user=0"]
        mtd.write_config()
        mtd.ctl("reload")
        facts = os.stat(path)
        assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (0, 0o600)
        os.unlink(path)
        assert "its file was removed or replaced" in mtd.ctl("why", "web").stdout
        with open(path, "w") as file:
            file.write("not ours")
    # what took its place is not mtd's to remove


def test_what_took_the_place_of_a_socket_stays(http, tmp_path):
    path = str(tmp_path / "x.sock")
    with Mtd({"web": shared(http, f"unix:{path}")}) as mtd:
        mtd.wait_ready()
        os.unlink(path)
        with open(path, "w") as file:
            file.write("not ours")
    assert open(path).read() == "not ours"


def test_a_stale_socket_file_is_replaced(http, tmp_path):
    path = str(tmp_path / "x.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with Mtd({"web": shared(http, f"unix:{path}")}) as mtd:
        mtd.wait_ready()
        assert ask(path, socket.AF_UNIX) in mtd.pids("web")


def test_reuse_port_gives_each_slot_its_own_socket(http):
    port = free_port()
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{port}?reuse_port=yes", workers=3)}) as mtd:
        mtd.wait_ready()
        inodes = [inode_of(pid) for pid in mtd.pids("web")]
        assert len(set(inodes)) == 3
        assert mtd.pool("web")["listen"][0]["sockets"] == 3
        with Clients((LOCAL, port)) as clients:
            mtd.ctl("restart", "web")
            clients.some()
            mtd.kill_supervisor()
            clients.some()
            mtd.kill(mtd.pids("web")[1], signal.SIGTERM)
            clients.some()
        assert not clients.failures, clients.failures[:5]
        mtd.wait_ready()
        assert [inode_of(pid) for pid in mtd.pids("web")] == inodes  # the queue goes on with the slot
        mtd.ctl("scale", "web=1")
        mtd.until(lambda: mtd.pool("web")["listen"][0]["sockets"] == 1)
        eventually(lambda: answers((LOCAL, port)) == mtd.pids("web"), what="only the slot that stayed is asked")
        mtd.ctl("scale", "web=2")
        mtd.wait_ready()
        assert inode_of(mtd.pids("web")[1]) != inodes[1]


def test_ports_of_root_serve_workers_of_another_user(http, root):
    port = free_port(700)
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{port}", user=str(NOBODY), group=str(NOBODY))}) as mtd:
        mtd.wait_ready()
        pid = ask((LOCAL, port))
        assert pid in mtd.pids("web") and os.stat(f"/proc/{pid}").st_uid == NOBODY


def test_dual_stack_is_one_socket(http):
    port = free_port()
    with Mtd({"web": shared(http, f"tcp:*:{port}")}) as mtd:
        mtd.wait_ready()
        assert ask((LOCAL, port)) in mtd.pids("web")
        try:
            assert ask(("::1", port), socket.AF_INET6) in mtd.pids("web")
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")


SYSTEMD = """
import os, socket, sys
kept = []
for i, port in enumerate(sys.argv[1].split(",")):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", int(port)))
    s.listen()
    kept.append(os.dup(s.fileno()) if s.fileno() < 10 else s.fileno())
    kept[-1] = __import__("fcntl").fcntl(kept[-1], 0, 100 + i)
for i, fd in enumerate(kept):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kept)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


def activated(ports, names):
    return [sys.executable, "-c", SYSTEMD, ",".join(map(str, ports)), names]


def high_descriptors():
    """Descriptors 3 to 9 in use, so that the pipe of --ready-fd stands above what systemd would pass."""
    return [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]


def test_sockets_of_the_service_manager_go_to_the_pool_that_names_them(http):
    web, admin = free_port(28100), free_port(28400)
    busy = high_descriptors()
    try:
        pools = {"web": shared(http, "systemd:web", stop={"timeout": "5s"})}
        with Mtd(pools, prefix=activated([web, admin], "web:admin")) as mtd:
            mtd.wait_ready()
            pid = ask((LOCAL, web))
            assert pid in mtd.pids("web")
            facts = environment_of(pid)
            assert facts[b"LISTEN_FDS"] == b"1" and facts[b"LISTEN_FDNAMES"] == b"web"
            assert b"MTD_FDS" not in facts and b"MTD_FDNAMES" not in facts
            assert f"the socket admin (tcp {LOCAL}:{admin}), and no pool listens on it" in mtd.log()
            assert f"systemd:web (tcp {LOCAL}:{web})" in mtd.ctl("why", "web").stdout
            with Clients((LOCAL, web)) as clients:
                mtd.kill_supervisor()
                mtd.ctl("restart", "web")
                clients.some()
            assert not clients.failures
            mtd.pools["admin"] = shared(http, "systemd:admin")
            mtd.write_config()
            mtd.ctl("reload")
            mtd.wait_ready("admin")
            assert ask((LOCAL, admin)) in mtd.pids("admin")
            mtd.pools["web"]["listen"] = ["systemd:wbe"]
            mtd.write_config()
            failed = mtd.ctl("reload", code=None)
            assert "passed no socket of that name, but web, admin" in failed.stdout + failed.stderr
    finally:
        for fd in busy:
            os.close(fd)


def test_without_socket_activation_its_names_are_an_error(http):
    with pytest.raises(StartFailed, match="systemd:web: the service manager passed no sockets"):
        with Mtd({"web": shared(http, "systemd:web")}):
            pass


def wrk_or_skip():
    if not shutil.which("wrk"):
        pytest.skip("needs wrk")


def rounds(request):
    return 20 if request.config.getoption("--full") else 4


def test_target_14_rolling_reloads_under_wrk(http, request):
    wrk_or_skip()
    port = free_port()
    with Mtd({"web": shared(http, f"tcp:{LOCAL}:{port}", workers=4, stop={"timeout": "30s"})}) as mtd:
        mtd.wait_ready()
        load = Wrk(f"http://{LOCAL}:{port}/")
        for number in range(rounds(request)):
            mtd.pools["web"]["env"]["ROUND"] = str(number)
            mtd.write_config()
            mtd.ctl("reload")
        for size in (8, 2):
            mtd.ctl("scale", f"web={size}")
        lost, answered, text = load.end()
        print(f"rolling reloads under wrk: {answered} requests, {lost} failed")
        assert lost == 0 and answered > 100, text


NGINX = """
daemon off;
worker_processes 1;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "1\\n"; }}
  }}
}}
"""


def test_nginx_takes_the_socket_by_its_own_variable(request, tmp_path):
    wrk_or_skip()
    nginx = "/usr/sbin/nginx"
    if not os.access(nginx, os.X_OK):
        pytest.skip("needs nginx")
    port = free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(directory=tmp_path, port=port))
    command = [nginx, "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf"),
               "-g", "pid nginx-${MTD_WORKER_ID}-${MTD_INCARNATION}.pid;"]
    spec = pool(command, workers=2, listen=f"tcp:{LOCAL}:{port}", env={"NGINX": "3;"}, overlap=True,
                stop={"signal": "QUIT", "timeout": "20s", "scope": "process"})
    with Mtd({"nginx": spec}) as mtd:
        mtd.wait_ready()
        eventually(lambda: ask((LOCAL, port)) == 1)
        load = Wrk(f"http://{LOCAL}:{port}/", "-H", "Connection: close")
        for number in range(rounds(request)):
            mtd.pools["nginx"]["env"]["ROUND"] = str(number)
            mtd.write_config()
            mtd.ctl("reload")
        lost, answered, text = load.end()
        print(f"rolling reloads of nginx under wrk: {answered} requests, {lost} failed")
        assert lost == 0 and answered > 100, text
