"""nginx, gunicorn and php-fpm as workers behind sockets that mtd opens, and as they run by themselves."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import urllib.request

from harness import PATIENCE, ROOT, Mtd, descendants, eventually, pool
from test_listen import LOCAL, NGINX, Wrk, free_port

PROGRAMS = os.path.join(ROOT, "config", "examples", "programs")
NGINX_PROGRAM = "/usr/sbin/nginx"
GUNICORN = "/usr/bin/gunicorn"


def php_fpm():
    directory = "/usr/sbin"
    found = sorted(name for name in os.listdir(directory) if name.startswith("php-fpm"))
    return os.path.join(directory, found[0]) if found else None


def missing(server):
    """What is not installed of what a server needs; empty: all of it is."""
    needs = {"nginx": [NGINX_PROGRAM], "gunicorn": [GUNICORN], "php-fpm": [php_fpm(), NGINX_PROGRAM]}[server]
    absent = [str(program or server) for program in needs if not program or not os.access(program, os.X_OK)]
    return absent + ([] if shutil.which("wrk") else ["wrk"])


FPM = """[global]
daemonize = no
error_log = {directory}/fpm.log
pid = {directory}/fpm.pid
{extra}
[www]
listen = {address}
listen.backlog = 511
user = nobody
group = nogroup
pm = static
pm.max_children = {children}
clear_env = no
"""

FASTCGI = """location / {{
      fastcgi_pass {address};
      fastcgi_param SCRIPT_FILENAME {directory}/app.php;
      fastcgi_param REQUEST_METHOD $request_method;
    }}"""


# A request takes some milliseconds: a reload meets some of them in the middle.
APPLICATION = """
import time

def app(environ, start_response):
    time.sleep(0.005)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"1\\n"]
"""


class Server:
    """A server of `name` under mtd (`pool`) or alone (`command`, reloaded by `own_signal`); clients ask `port`."""

    def __init__(self, name, directory, workers=2):
        self.name, self.directory, self.workers = name, str(directory), workers
        self.port = free_port(29000)
        self.own_signal = signal.SIGUSR2 if name == "php-fpm" else signal.SIGHUP
        self.front = []  # what stands before it, to be started alone
        getattr(self, "_" + name.replace("-", "_"))()

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def _nginx_command(self, conf, pid):
        return [NGINX_PROGRAM, "-p", self.directory, "-e", "stderr", "-c", conf, "-g", f"pid {pid};"]

    def _nginx(self):
        conf = self.file("nginx.conf", NGINX.format(directory=self.directory, port=self.port))
        self.command = self._nginx_command(conf, "nginx.pid")
        self.pool = pool(self._nginx_command(conf, "nginx-${MTD_WORKER_ID}-${MTD_INCARNATION}.pid"),
                         listen=f"tcp:{LOCAL}:{self.port}", env={"NGINX": "3;"},
                         stop={"signal": "QUIT", "timeout": "60s", "scope": "process"})

    def _gunicorn(self):
        self.command = [GUNICORN, "--chdir", self.directory, "-w", str(self.workers), "-b", f"{LOCAL}:{self.port}",
                        "--log-level", "error", "solo:app"]
        self.file("solo.py", APPLICATION)
        self.pool = pool([GUNICORN, "--chdir", self.directory, "-c", os.path.join(PROGRAMS, "gunicorn.conf.py"),
                          "--log-level", "error", "solo:app"],
                         listen=f"tcp:{LOCAL}:{self.port}", ready="notify",
                         stop={"timeout": "60s", "scope": "process"})

    def _php_fpm(self):
        behind = free_port(self.port + 1)
        self.file("app.php", '<?php usleep(5000); echo "1\n";')
        address = f"{LOCAL}:{behind}"
        front = NGINX.format(directory=self.directory, port=self.port).replace(
            'location / { return 200 "1\\n"; }', FASTCGI.format(address=address, directory=self.directory))
        self.front = self._nginx_command(self.file("front.conf", front), "front.pid; master_process off")
        alone = self.file("alone.conf", FPM.format(directory=self.directory, address=address, extra="",
                                                   children=2 * self.workers))
        self.command = [php_fpm(), "--fpm-config", alone]
        conf = self.file("fpm.conf", FPM.format(directory=self.directory, address=address, children=2,
                                                extra="process_control_timeout = 60s").replace("pid = ", ";pid = "))
        self.pool = pool([php_fpm(), "--fpm-config", conf], listen=f"tcp:{address}",
                         env={"FPM_SOCKETS": f"{address}=3"},
                         stop={"signal": "QUIT", "timeout": "60s", "scope": "process"})

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://{LOCAL}:{self.port}/", timeout=10) as page:
                return bool(page.read())
        except OSError:
            return False


class Running:
    """A program that a test starts beside mtd, ended by its pid."""

    def __init__(self, command, directory):
        self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL) if command else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.send_signal(signal.SIGQUIT if "nginx" in self.process.args[0] else signal.SIGTERM)
            self.process.wait(30)


def load(server):
    return Wrk(f"http://{LOCAL}:{server.port}/", "-H", "Connection: close", "--timeout", "60s")


def change_under_load(server, reloads):
    """Rolling reloads and 2 → 8 → 2 workers under load: (failed, answered, wrk's text)."""
    spec = {**server.pool, "workers": server.workers, "overlap": True}
    with Running(server.front, server.directory), Mtd({"server": spec}) as mtd:
        mtd.wait_ready()
        eventually(server.answers, what=f"{server.name} answers")
        wrk = load(server)
        for number in range(reloads):
            mtd.pools["server"]["env"]["ROUND"] = str(number)
            mtd.write_config()
            mtd.ctl("reload")
            if number == reloads // 2:
                mtd.ctl("scale", "server=8")
                mtd.ctl("scale", "server=2")
        return wrk.end()


def processes_below(pid):
    return set(descendants(pid))


def reload_alone_under_load(server, reloads):
    """The server's own reload so often under the same load, each when the processes of the one before are gone."""
    with Running(server.front, server.directory), Running(server.command, server.directory) as alone:
        eventually(server.answers, what=f"{server.name} answers")
        wrk = load(server)
        for _ in range(reloads):
            before = processes_below(alone.process.pid)
            alone.process.send_signal(server.own_signal)
            eventually(lambda: processes_below(alone.process.pid) and not before & processes_below(alone.process.pid),
                       what=f"{server.name} has reloaded")
            eventually(server.answers, what=f"{server.name} answers")
        return wrk.end()


def ask_fastcgi(port, script):
    """What a script answers, asked as a web server asks (FastCGI 1.0)."""
    def pair(name, value):
        return bytes([len(name), len(value)]) + name + value
    facts = {b"SCRIPT_FILENAME": script.encode(), b"REQUEST_METHOD": b"GET"}
    text = b"".join(pair(name, value) for name, value in facts.items())
    begin, parameters, stdin = 1, 4, 5
    with socket.create_connection((LOCAL, port), timeout=PATIENCE) as client:
        for kind, content in ((begin, struct.pack("!HB5x", 1, 0)), (parameters, text), (parameters, b""), (stdin, b"")):
            client.sendall(struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content)
        return b"".join(iter(lambda: client.recv(65536), b""))
