"""The other ends a test plays: client of the control socket, hearer of events and of workers' reports, service manager."""
import contextlib
import json
import os
import socket
import threading
import time

from processes import PATIENCE


class VarlinkError(Exception):
    def __init__(self, error, parameters):
        super().__init__(f"{error} {json.dumps(parameters)}")
        self.error, self.parameters = error, parameters


class Varlink:
    """A plain client of the control socket: JSON objects that end with a NUL."""

    def __init__(self, path, seconds=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE if seconds is None else seconds)
        self.socket.connect(path)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, method, parameters=None, **flags):
        if "." not in method:
            method = "io.mtd.Manager." + method
        self.send_raw(json.dumps({"method": method, "parameters": parameters or {}, **flags}).encode() + b"\0")

    def receive(self):
        """The next reply, whole; None at the end of the stream."""
        while b"\0" not in self._buffer:
            block = self.socket.recv(262144)
            if not block:
                return None
            self._buffer += block
        frame, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(frame)

    def call(self, method, **parameters):
        self.send(method, parameters)
        reply = self.receive()
        if reply is None:
            raise ConnectionError("closed instead of an answer")
        if "error" in reply:
            raise VarlinkError(reply["error"], reply.get("parameters", {}))
        return reply.get("parameters", {})


class Events:
    """All events since the daemon's start, in order; `expect` finds one, waiting for it if need be."""

    def __init__(self, path, since="0"):
        self.seen = []
        self._path, self._since = path, since
        self._connect(since)

    def _connect(self, since):
        self._client = Varlink(self._path)
        self._client.send("Events", {"since": since, "follow": True}, more=True)

    def close(self):
        self._client.close()

    def read(self, seconds):
        """Takes in what has come; waits up to `seconds` for something new. True if something came."""
        self._client.socket.settimeout(max(0.001, seconds))
        try:
            reply = self._client.receive()
        except (TimeoutError, socket.timeout):
            return False
        except OSError:
            reply = None
        if reply is None:
            raise EOFError("the event stream ended")
        if "error" in reply:
            raise VarlinkError(reply["error"], reply.get("parameters", {}))
        self.seen += reply["parameters"].get("events", [])
        return True

    def drain(self):
        while self.read(0.05):
            pass
        return self.seen

    def find(self, test, start=0, **members):
        for event in self.seen[start:]:
            if all(event.get(k) == v for k, v in members.items()) and (test is None or test(event)):
                return event
        return None

    def expect(self, test=None, seconds=None, start=0, **members):
        end = time.monotonic() + (PATIENCE if seconds is None else seconds)
        while True:
            found = self.find(test, start, **members)
            if found is not None:
                return found
            left = end - time.monotonic()
            assert left > 0, f"no event {members}; the last ones: {self.seen[-12:]}"
            self.read(left)


class Reports:
    """What workers tell the test itself: datagrams to the socket named by REPORT.

    A thread takes them in: the kernel queues only a few, and a worker whose report finds no room waits.
    """

    def __init__(self, path):
        self.path, self.seen = path, []
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(path)
        os.chmod(path, 0o666)
        self._reader = threading.Thread(target=self._take_in, daemon=True)
        self._reader.start()

    def _take_in(self):
        while True:
            data = self._socket.recv(262144)
            if not data:
                return
            with self._news:
                self.seen.append(json.loads(data))
                self._news.notify_all()

    def close(self):
        with contextlib.suppress(OSError):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
                own.sendto(b"", self.path)
            self._reader.join(5)
        self._socket.close()

    def forget(self):
        with self._news:
            self.seen.clear()

    def expect(self, what, seconds=None, count=1, **members):
        """The next report(s) of this kind that no earlier expect has returned."""
        end, found = time.monotonic() + (PATIENCE if seconds is None else seconds), []
        with self._news:
            while True:
                for report in list(self.seen):
                    if len(found) < count and report["what"] == what and all(report.get(k) == v for k, v in members.items()):
                        self.seen.remove(report)
                        found.append(report)
                if len(found) == count:
                    return found[0] if count == 1 else found
                left = end - time.monotonic()
                assert left > 0, f"no report {what} {members} (have {len(found)} of {count}; others: {self.seen[-5:]})"
                self._news.wait(left)


class ServiceManager:
    """Stands in for systemd: a NOTIFY_SOCKET and what was sent to it, with the sender's pid."""

    def __init__(self, path):
        self.path, self.messages = path, []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(path)
        os.chmod(path, 0o666)

    def close(self):
        self._socket.close()

    def expect(self, test, seconds=None):
        """The first message not yet returned in which a NAME=VALUE line passes `test`."""
        end = time.monotonic() + (PATIENCE if seconds is None else seconds)
        while True:
            left = end - time.monotonic()
            assert left > 0, f"the service manager was not told; got {self.messages}"
            self._socket.settimeout(left)
            try:
                data, ancillary, _, _ = self._socket.recvmsg(65536, 256)
            except (TimeoutError, socket.timeout):
                continue
            pid = next((int.from_bytes(d[:4], "little") for lv, ty, d in ancillary
                        if lv == socket.SOL_SOCKET and ty == socket.SCM_CREDENTIALS), 0)
            lines = data.decode().split("\n")
            self.messages.append((pid, lines))
            if any(test(line) for line in lines):
                return pid, lines
