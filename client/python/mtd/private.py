"""A private mtd: in a temporary directory, for this process, ended with it.

A guard, a process of a few lines, starts mtd and watches a pipe whose other end is here, and this process. When that end
is closed, by stop(), or this process has gone, however it went, the guard ends mtd. mtd itself belongs to nobody by design.
"""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from .errors import Error

# The guard: standard input is the pipe, the words are mtd's. It ends when mtd has ended. After the first TERM mtd has half a
# second to end by itself, ten if it was told to take its time, after the second it kills what is left, and without mtd its
# supervisor does. Where the owner is gone it removes the directory, too. An interrupt from the keyboard is for the owner, so
# all this has a session of its own.
_GUARD = """
import os, select, signal, sys
owner = os.pidfd_open(int(sys.argv.pop(1)))
pid = os.fork()
if pid == 0:
    null = os.open('/dev/null', os.O_RDWR)
    os.dup2(null, 0)
    os.execv(sys.argv[1], sys.argv[1:])
os.close(int(sys.argv[sys.argv.index('--ready-fd') + 1]))
def look(*_):
    if not os.waitpid(pid, os.WNOHANG)[0]:
        return
    if select.select([owner], [], [], 0)[0]:
        import shutil
        shutil.rmtree(os.path.dirname(sys.argv[sys.argv.index('--config') + 1]), ignore_errors=True)
    os._exit(0)
signal.signal(signal.SIGCHLD, look)
look()
poller = select.poll()
for number in (0, owner):
    poller.register(number, select.POLLIN)
happened = dict(poller.poll())
seconds = 10 if 0 in happened and os.read(0, 1) else 0.5
for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
    os.kill(pid, number)
    signal.sigtimedwait([], seconds)
    seconds = 10
"""
START_SECONDS = 60
STOP_SECONDS = 45        # more than the guard takes


def find_program():
    """The mtd to start: $MTD_PROGRAM, the one in PATH, or where packages put it."""
    given = os.environ.get("MTD_PROGRAM")
    found = given or shutil.which("mtd") or next(
        (path for path in ("/usr/local/bin/mtd", "/usr/bin/mtd") if os.access(path, os.X_OK)), None)
    if found is None:
        raise Error("the program mtd is not in PATH: install it, or name it in MTD_PROGRAM")
    if not os.access(found, os.X_OK):
        raise Error(f"cannot start {found}: it cannot be executed")
    return found


class PrivateMtd:
    """Runs mtd with `pools` until stop(). `directory` holds its sockets, and what the owner puts there."""

    def __init__(self):
        # Short, because a socket's path has at most 107 bytes.
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        if len(base) > 60 or not os.access(base, os.W_OK):
            base = tempfile.gettempdir()
        self.directory = tempfile.mkdtemp(prefix="mtd-", dir=base)
        if os.geteuid() == 0:
            # The broker of a root's mtd is another user, and passes through on the way to its own directory.
            os.chmod(self.directory, 0o711)
        self.takes_its_time = False    # stop() lets workers end what they do
        self.pid = None    # of the guard, which ends after mtd
        self._process = None
        self._lock = threading.Lock()
        self._is_stopped = False

    def start(self, configuration):
        """Returns when its sockets answer; raises Error with what mtd said if it does not start."""
        path = os.path.join(self.directory, "mtd.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(configuration, file)
        os.chmod(path, 0o600)
        program = find_program()
        ready_read, ready_write = os.pipe()
        try:
            command = [program, "--config", path, "--runtime-dir", self.runtime_directory, "--state-dir",
                       os.path.join(self.directory, "state"), "--ready-fd", str(ready_write), "--log-level", "error"]
            # Nothing is buffered: what a guard that is gone did not take must not be tried again.
            self._process = subprocess.Popen([sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command],
                                             bufsize=0, stdin=subprocess.PIPE, pass_fds=[ready_write],
                                             start_new_session=True)
            self.pid = self._process.pid
            os.close(ready_write)
            poller = select.poll()
            poller.register(ready_read, select.POLLIN)
            ready = poller.poll(START_SECONDS * 1000) and os.read(ready_read, 1)
        finally:
            os.close(ready_read)
        if not ready:
            raise Error("mtd did not start; it has said why on the standard error output")

    @property
    def runtime_directory(self):
        return os.path.join(self.directory, "run")

    def _tell(self, what):
        try:
            self._process.stdin.write(what)
        except OSError:
            pass  # it has ended already

    def wait_for_end(self, seconds):
        """Whether mtd has ended by then, however it was."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self):
        """Ends mtd with its workers and removes the directory. Again: nothing more."""
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            if self._process is not None:
                if self.takes_its_time:
                    self._tell(b"t")
                self._process.stdin.close()
                if not self.wait_for_end(STOP_SECONDS):  # the guard itself is stuck: its group is mtd's, too
                    os.killpg(self._process.pid, signal.SIGKILL)
                    self._process.wait()
            shutil.rmtree(self.directory, ignore_errors=True)
