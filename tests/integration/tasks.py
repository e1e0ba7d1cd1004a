"""A client of io.mtd.Tasks in nothing but the protocol, and a pool of test workers."""
import json
import os
import select
import signal
import socket
import time

from harness import PATIENCE, ROOT, Varlink, descendants, pool, wait_gone

WORKER = ["/usr/bin/python3", "-S", os.path.join(ROOT, "tests", "support", "workers", "task_worker.py")]


def task_pool(workers=1, *, credit=1, **keys):
    """A pool with a queue; keys of `tasks` in tasks={…}."""
    tasks = {"retry_delay": 0, "retry_max": 0, **keys.pop("tasks", {})}
    return pool(WORKER, workers=workers, tasks=tasks, env={"CREDIT": str(credit), "PYTHONUNBUFFERED": "1"}, **keys)


def tasks_socket(mtd):
    return os.path.join(mtd.runtime, "io.mtd.Tasks")


def call(mtd, method, **parameters):
    """One Varlink call of io.mtd.Tasks."""
    with Varlink(tasks_socket(mtd)) as client:
        return client.call("io.mtd.Tasks." + method, **parameters)


def queue(mtd, name="p"):
    return call(mtd, "Stats", pool=name)["pools"][0]


def broker_pid(keeper):
    """Of the broker below this process; None: there is none just now."""
    for pid in descendants(keeper):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == "mtd-broker":
                    return pid
        except OSError:
            continue
    return None


def kill_broker(keeper):
    """kill -9 of it, wherever it is just now, if it is there."""
    pid = broker_pid(keeper)
    if pid is None:
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    assert wait_gone(pid)


class Tasks:
    """A connection after Open: put, and wait for ends."""

    def __init__(self, mtd):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(tasks_socket(mtd))
        self.sock.sendall(json.dumps({"method": "io.mtd.Tasks.Open", "upgrade": True}).encode() + b"\0")
        self.buffer, self.seq, self.frames, self.waiting, self.parts = b"", 0, {}, {}, {}
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            self._read(end)
        text, self.buffer = self.buffer.split(b"\0", 1)
        self.opened = json.loads(text)["parameters"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _read(self, end):
        assert select.select([self.sock], [], [], max(0, end - time.monotonic()))[0], f"nothing came; so far {self.frames}"
        more = self.sock.recv(1 << 16)
        if not more:
            raise ConnectionError("the broker closed the connection")
        self.buffer += more

    def send(self, **message):
        body = message.pop("body", None)
        if body is not None:
            message["body"] = len(body)
        self.sock.sendall(json.dumps(message).encode() + b"\n" + (body or b""))

    def put(self, pool_name, *args, **members):
        """Sends a put and returns its seq; members like uid, watch=False, body."""
        self.seq += 1
        self.send(t="put", seq=self.seq, pool=pool_name, args=list(args), **{"watch": True, **members})
        return self.seq

    def wait(self, **which):
        self.seq += 1
        self.send(t="wait", seq=self.seq, **which)
        return self.seq

    def _take(self):
        while b"\n" in self.buffer:
            line, rest = self.buffer.split(b"\n", 1)
            message = json.loads(line)
            size = message.get("body", 0)
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            if "body" in message:
                message["data"] = rest[:size]
            if message["t"] == "part":
                parts = self.parts.setdefault(message["seq"], [])
                assert message["part"] == len(parts), "a part is missing"
                parts.append(message["data"])
                continue
            if "parts" in message:
                parts = self.parts.pop(message["seq"])
                assert message["parts"] == len(parts), "a part is missing"
                message["data"] = b"".join(parts)
            self.frames.setdefault((message.get("seq"), message["t"]), []).append(message)

    def expect(self, seq, kind, seconds=PATIENCE):
        """The next frame of this kind for this call."""
        end = time.monotonic() + seconds
        while True:
            self._take()
            found = self.frames.get((seq, kind))
            if found:
                return found.pop(0)
            wrong = self.frames.get((seq, "no"))
            assert kind == "no" or not wrong, wrong
            self._read(end)

    def wait_for(self, seq, *kinds, seconds=PATIENCE):
        """Until one of these frames has come for this call; it stays in `frames`."""
        end = time.monotonic() + seconds
        while not any(self.frames.get((seq, kind)) for kind in kinds):
            self._read(end)
            self._take()

    def refused(self, pool_name, *args, **members):
        """The refusal of a put, or None."""
        seq = self.put(pool_name, *args, **{"watch": False, **members})
        self.wait_for(seq, "ok", "no")
        refusal = self.frames.pop((seq, "no"), None)
        return refusal[0] if refusal else None

    def any_end(self, seconds=PATIENCE * 4):
        """The next end of any call; `waiting` is the caller's own."""
        end = time.monotonic() + seconds
        while True:
            self._take()
            for seq, kind in list(self.frames):
                if kind == "end" and self.frames[seq, kind]:
                    found = self.frames[seq, kind].pop()
                    del self.frames[seq, kind]
                    self.frames.pop((seq, "ok"), None)
                    return found
                assert kind != "no", self.frames[seq, kind]
            self._read(end)

    def run(self, pool_name, *args, **members):
        """Put, accepted, end."""
        seq = self.put(pool_name, *args, **members)
        self.expect(seq, "ok")
        return self.expect(seq, "end")

    def ends(self, seqs, seconds=PATIENCE * 4):
        return [self.expect(seq, "end", seconds) for seq in seqs]
