"""A private mtd: in a temporary directory, for this process, ended with it.

mtd gets a TERM when the thread that started it ends, so the one who starts it must live as long as it is needed; here
that is a thread of its own. It therefore ends also when this process is killed.
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

# Runs first in the child: asks for the signal at the parent's death, then becomes mtd, unless the parent is dead
# already. An interrupt from the keyboard is for the parent, which then ends mtd.
_BIRTH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
START_SECONDS = 60


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
        self.pid = None
        self._process = None
        self._started = threading.Event()
        self._failure = None
        self._stop_read, self._stop_write = os.pipe()
        self._lock = threading.Lock()
        self._thread = None

    def start(self, configuration):
        """Returns when its sockets answer; raises Error with what mtd said if it does not start."""
        path = os.path.join(self.directory, "mtd.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(configuration, file)
        os.chmod(path, 0o600)
        self._thread = threading.Thread(target=self._run, args=(find_program(), path), name="mtd-private", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.stop()
            raise Error(self._failure)

    def _run(self, program, path):
        try:
            ready_read, ready_write = os.pipe()
            runtime = os.path.join(self.directory, "run")
            command = [program, "--config", path, "--runtime-dir", runtime, "--state-dir",
                       os.path.join(self.directory, "state"), "--ready-fd", str(ready_write), "--log-level", "error"]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BIRTH, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL, pass_fds=[ready_write], start_new_session=True)
            self.pid = self._process.pid
            os.close(ready_write)
            self._wait_until_ready(ready_read)
        except OSError as error:
            self._failure = f"cannot start {program}: {error}"
        finally:
            self._started.set()
        if self._process is not None:
            self._wait_for_the_end()

    def _wait_until_ready(self, fd):
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        ready = poller.poll(START_SECONDS * 1000) and os.read(fd, 1)
        os.close(fd)
        if not ready:
            self._failure = "mtd did not start; it has said why on the standard error output"

    def _wait_for_the_end(self):
        """This thread is what mtd's life hangs on."""
        os.read(self._stop_read, 1)
        process = self._process
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # the second one kills what is left
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def runtime_directory(self):
        return os.path.join(self.directory, "run")

    def stop(self):
        """Ends mtd with its workers and removes the directory. Again: nothing more."""
        with self._lock:
            if self._stop_write is None:
                return
            os.write(self._stop_write, b"s")
            if self._thread is not None:
                self._thread.join()
            os.close(self._stop_write)
            os.close(self._stop_read)
            self._stop_write = None
            shutil.rmtree(self.directory, ignore_errors=True)
