"""How each supervisor is set up, started, asked and stopped. One class each; `PEERS` names them.

Every one runs the same worker, may restart it at once and without end, and captures no output.
"""
import json
import os
import shutil
import socket
import signal
import subprocess


class Tools:
    """Where the programs under test are."""

    def __init__(self, mtd_bin, helper_dir):
        self.mtd_bin = mtd_bin
        self.worker = os.path.join(helper_dir, "bench-worker")
        self.bare = os.path.join(helper_dir, "bench-bare")


class Peer:
    name = ""
    most_workers = 10000
    kills = 200          # fewer where a restart takes a second by design
    answers = True       # has a command that tells the state

    def __init__(self, tools, directory, count, leaves_grandchild=False):
        self.tools, self.dir, self.count = tools, directory, count
        self.flags = ["-g"] if leaves_grandchild else []
        self.log = os.path.join(directory, "starts")
        self.process = None

    @classmethod
    def missing(cls, tools):
        """Why it cannot run here, or None."""
        return None

    def command(self, ident):
        return [self.tools.worker, *self.flags, self.log, str(ident)]

    def launch(self, argv, **options):
        with open(os.path.join(self.dir, "output"), "ab") as output:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            cwd=self.dir, start_new_session=True, **options)

    def set_up(self):
        pass

    def start(self):
        raise NotImplementedError

    def stop(self):
        self.process.send_signal(signal.SIGTERM)

    def ask_all(self):
        return None

    def ask_one(self):
        return None


class Bare(Peer):
    name, answers = "bare", False

    def start(self):
        self.launch([self.tools.bare, str(self.count), self.tools.worker, self.log])


class Supervisord(Peer):
    name, most_workers, kills = "supervisord", 1000, 40

    @classmethod
    def missing(cls, tools):
        return None if shutil.which("supervisord") else "package supervisor"

    def set_up(self):
        self.conf = os.path.join(self.dir, "supervisord.conf")
        command = " ".join([self.tools.worker, *self.flags, self.log, "%(process_num)d"])
        with open(self.conf, "w") as conf:
            conf.write(f"""[unix_http_server]
file={self.dir}/socket
[supervisord]
nodaemon=true
logfile={self.dir}/log
pidfile={self.dir}/pid
minfds={3 * self.count + 200}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{self.dir}/socket
[program:w]
command={command}
process_name=w%(process_num)d
numprocs={self.count}
autorestart=true
startsecs=0
startretries=1000000
redirect_stderr=true
stdout_logfile=NONE
""")

    def start(self):
        self.launch(["supervisord", "-c", self.conf])

    def ask_all(self):
        return ["supervisorctl", "-c", self.conf, "status"]

    def ask_one(self):
        return ["supervisorctl", "-c", self.conf, "status", "w:w0"]


class ServiceDirectories(Peer):
    """s6, runit, daemontools: a directory and a supervising process for every worker."""
    most_workers = 1000
    programs = ()

    @classmethod
    def missing(cls, tools):
        absent = [p for p in cls.programs if not shutil.which(p)]
        return f"program {absent[0]}" if absent else None

    def set_up(self):
        self.services = os.path.join(self.dir, "services")
        for ident in range(self.count):
            directory = os.path.join(self.services, f"w{ident}")
            os.makedirs(directory)
            run = os.path.join(directory, "run")
            with open(run, "w") as script:
                if self.flags:
                    script.write("#!/bin/sh\nexec " + " ".join(self.command(ident)) + "\n")
                else:  # the worker itself is the interpreter: no shell is measured
                    script.write(f"#!{self.tools.worker} {self.log}\n")
            os.chmod(run, 0o755)

    def each(self, command):
        return ["/bin/sh", "-c", f"cd {self.services} && {command}"]


class Runit(ServiceDirectories):
    name, programs = "runit", ("runsvdir", "sv")

    def start(self):
        self.launch(["runsvdir", self.services])

    def stop(self):
        self.process.send_signal(signal.SIGHUP)

    def ask_all(self):
        return self.each('exec sv status "$PWD"/*')

    def ask_one(self):
        return ["sv", "status", self.services + "/w0"]


class S6(ServiceDirectories):
    name, programs, kills = "s6", ("s6-svscan", "s6-svstat", "s6-svscanctl"), 40

    def start(self):
        self.launch(["s6-svscan", "-c", str(max(500, self.count + 10)), self.services])

    def stop(self):
        subprocess.run(["s6-svscanctl", "-t", self.services], check=False)

    def ask_all(self):
        return self.each("for w in *; do s6-svstat $w; done")

    def ask_one(self):
        return ["s6-svstat", self.services + "/w0"]


class Daemontools(ServiceDirectories):
    name, programs = "daemontools", ("svscan", "svc", "svstat")

    def start(self):
        self.launch(["svscan", self.services])

    def stop(self):  # svscan knows no orderly stop of its own
        self.process.send_signal(signal.SIGTERM)
        subprocess.run(self.each("svc -dx *"), check=False)

    def ask_all(self):
        return self.each("svstat *")

    def ask_one(self):
        return ["svstat", self.services + "/w0"]


class Dinit(Peer):
    """Not in Debian 12: the environment variable DINIT names the folder of a build."""
    name = "dinit"

    @classmethod
    def missing(cls, tools):
        if not os.environ.get("DINIT"):
            return "DINIT names no build"
        return None if os.access(os.environ["DINIT"] + "/dinit", os.X_OK) else "no dinit in $DINIT"

    def set_up(self):
        self.services, self.socket = os.path.join(self.dir, "services"), os.path.join(self.dir, "ctl")
        os.makedirs(self.services + "/boot.d")
        for ident in range(self.count):
            with open(f"{self.services}/w{ident}", "w") as service:
                service.write("type = process\ncommand = " + " ".join(self.command(ident)) +
                              "\nrestart = yes\nsmooth-recovery = yes\nrestart-delay = 0\n"
                              "restart-limit-count = 0\n")
            os.symlink(f"../w{ident}", f"{self.services}/boot.d/w{ident}")
        with open(self.services + "/boot", "w") as boot:
            boot.write("type = internal\nwaits-for.d = boot.d\n")

    def program(self, name):
        return os.path.join(os.environ["DINIT"], name)

    def start(self):
        self.launch([self.program("dinit"), "-u", "-q", "-d", self.services, "-p", self.socket, "boot"])

    def ask_all(self):
        return [self.program("dinitctl"), "-p", self.socket, "list"]

    def ask_one(self):
        return [self.program("dinitctl"), "-p", self.socket, "status", "w0"]


class Mtd(Peer):
    name = "mtd"

    @classmethod
    def missing(cls, tools):
        return None if os.access(tools.mtd_bin + "/mtd", os.X_OK) else f"no mtd in {tools.mtd_bin}"

    def set_up(self, clients=1024):
        self.socket = os.path.join(self.dir, "run", "io.mtd.Manager")
        self.conf = os.path.join(self.dir, "mtd.json")
        with open(self.conf, "w") as conf:
            json.dump({
                "limits": {"clients": clients},
                "pools": {"w": {
                    "command": self.command("${MTD_WORKER_ID}"),
                    "workers": self.count,
                    # as its peers do it: at once, and for ever
                    "backoff": {"initial": 0},
                    "crash_limit": {"count": 1000000},
                    "log": {"to": "null"},
                }},
            }, conf)
        os.chmod(self.conf, 0o600)

    def start(self):
        self.launch([self.tools.mtd_bin + "/mtd", "--config", self.conf, "--runtime-dir", self.dir + "/run",
                     "--state-dir", self.dir + "/state"])

    def mtctl(self, *words):
        return [self.tools.mtd_bin + "/mtctl", "-s", self.socket, *words]

    def ask_daemon(self):
        """What a status call says of the daemon itself, by the socket: no program is started for it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(self.socket)
            client.sendall(b'{"method":"io.mtd.Manager.Status"}\0')
            answer = b""
            while not answer.endswith(b"\0"):
                block = client.recv(1 << 20)
                if not block:
                    raise ConnectionError("closed")
                answer += block
        return json.loads(answer[:-1])["parameters"]["daemon"]

    def ask_all(self):
        return self.mtctl("-o", "json", "status", "w")

    def ask_one(self):
        return self.mtctl("-o", "json", "status", "w/0")


PEERS = {peer.name: peer for peer in (Bare, Supervisord, Runit, S6, Daemontools, Dinit, Mtd)}
