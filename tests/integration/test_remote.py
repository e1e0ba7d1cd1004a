"""mtctl -H against a real sshd, on loopback, with a key of its own."""
import json
import os
import pty
import shutil
import socket
import subprocess
import tempfile

import pytest
from harness import BIN, PATIENCE, SLEEPER, Mtd, eventually, pool

SSHD = "/usr/sbin/sshd"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
            one.settimeout(PATIENCE)
            return one.recv(16).startswith(b"SSH-")
    except OSError:
        return False


class Sshd:
    def __init__(self, directory):
        self.directory, self.process, self.port = directory, None, None

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, environment):
        for name in ("host", "user"):
            if not os.path.exists(self.path(name)):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path(name)], check=True)
        shutil.copy(self.path("user.pub"), self.path("authorized"))
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # where it gives up its privileges
        self.port = free_port()
        with open(self.path("sshd_config"), "w") as file:
            file.write(f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.path('host')}\nUsePAM no\nStrictModes no\n"
                       f"AuthorizedKeysFile {self.path('authorized')}\nPidFile none\nPasswordAuthentication no\n"
                       f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\n"
                       f"SetEnv PATH={BIN}:/usr/bin:/bin {environment}\n")
        with open(self.path("ssh"), "w") as file:
            file.write(f"#!/bin/sh\nexec ssh -F none -i {self.path('user')} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR "
                       f"-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null \"$@\"\n")
        os.chmod(self.path("ssh"), 0o755)
        with open(self.path("log"), "w") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.path("sshd_config")], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: self.ended() or answers(self.port), what="sshd answers")
        return self

    def ended(self):
        if self.process.poll() is not None:
            with open(self.path("log")) as log:
                pytest.skip("no sshd can be run here: " + log.read().strip()[-300:])
        return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)

    def ctl(self, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, **options}
        return subprocess.run([os.path.join(BIN, "mtctl"), *arguments], text=True, timeout=PATIENCE * 4, check=False,
                              env={**os.environ, "MTD_SSH": self.path("ssh")}, **options)

    @property
    def url(self):
        return f"ssh://127.0.0.1:{self.port}"


@pytest.fixture
def sshd(root):
    for program in (SSHD, "ssh", "ssh-keygen"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    directory = tempfile.mkdtemp(prefix="mtd-ssh-")
    server = Sshd(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


def test_a_command_runs_on_the_other_host_as_it_would_here(sshd):
    with Mtd({"web": pool(SLEEPER, workers=2)}) as mtd:
        sshd.start(f"MTD_SOCKET={mtd.runtime}")
        document = json.loads(sshd.ctl("-H", sshd.url, "status", "-o", "json", "web").stdout)
        assert [worker["pid"] for worker in document["pools"][0]["workers"]] == mtd.pids("web")
        wide = sshd.ctl("status", "web", "-o", "wide", "--host", sshd.url)
        assert wide.returncode == 0 and "web/1" in wide.stdout, wide
        # Exit codes and messages are those of the command.
        missing = sshd.ctl("-H", sshd.url, "why", "nosuch")
        assert (missing.returncode, missing.stdout) == (4, "") and "no such pool: nosuch" in missing.stderr
        assert sshd.ctl("-H", sshd.url, "scale", "web", "3").returncode == 0
        assert len(mtd.pids("web")) == 3
        # And of its words nothing is the shell's.
        odd = sshd.ctl("-H", sshd.url, "why", "$(touch /tmp/mtd-never-made)")
        assert odd.returncode == 4 and not os.path.exists("/tmp/mtd-never-made")
        sshd.stop()  # its sessions have ended with their commands


def test_input_and_output_are_this_commands_own(sshd):
    sshd.start("")
    done = sshd.ctl("-H", sshd.url, "map", "-j", "2", "--", "/bin/echo", "got", input="one\ntwo\n", stdin=None)
    assert (done.returncode, done.stdout) == (0, "got one\ngot two\n"), done


def test_a_terminal_here_is_one_there(sshd):
    sshd.start("")
    master, slave = pty.openpty()
    try:
        done = sshd.ctl("-H", sshd.url, "completion", stdin=slave, stdout=slave, stderr=slave, capture_output=False)
        assert done.returncode == 2
        text = os.read(master, 65536).decode()
        assert "needs the name of a shell" in text, text
    finally:
        os.close(master)
        os.close(slave)


def test_what_ssh_cannot_do_is_told_as_unreachable(sshd):
    sshd.start("")
    nobody = sshd.ctl("-H", f"ssh://127.0.0.1:{free_port()}", "status")
    assert nobody.returncode == 5 and "127.0.0.1 is not to be reached by ssh" in nobody.stderr
    os.unlink(sshd.path("ssh"))
    assert sshd.ctl("-H", sshd.url, "status").returncode == 5
    refused = sshd.ctl("-H", "ssh://h/run/mtd", "status")
    assert refused.returncode == 2 and "named with -s" in refused.stderr
    assert sshd.ctl("-H", "", "stop", "--all").returncode == 2
