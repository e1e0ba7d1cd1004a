"""The mtd that tests of clients start: the real one where it is built with task queues, or the stand-in fake_mtd.py.

Daemon(pools) runs it in a directory of its own until close(); `program` says which. For the stand-in, fail() acts like
the death of the broker.
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FAKE = os.path.join(HERE, "fake_mtd.py")
PYTHON = os.path.join(HERE, "..", "..", "client", "python")


class Daemon:
    def __init__(self, pools, program=FAKE, environment=None):
        self.directory = tempfile.mkdtemp(prefix="mtd-t-")
        self.runtime = os.path.join(self.directory, "run")
        path = os.path.join(self.directory, "mtd.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"pools": pools}, file)
        os.chmod(path, 0o600)
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [program, "--config", path, "--runtime-dir", self.runtime, "--state-dir",
             os.path.join(self.directory, "state"), "--ready-fd", str(write)],
            pass_fds=[write], stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        os.close(write)
        answered = os.read(read, 1)
        os.close(read)
        if not answered:
            self.close()
            raise RuntimeError(f"{program} did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)

    def fail(self, forget=False):
        """Only the stand-in: all clients are cut off, and with `forget` every task is gone."""
        self.process.send_signal(signal.SIGUSR2 if forget else signal.SIGUSR1)
