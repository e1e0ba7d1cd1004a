"""Varlink: JSON objects that end with a NUL byte, over a Unix socket. Finding mtd's sockets, and plain calls."""
import errno
import json
import os
import select
import socket
import time

from .errors import ConnectionLost, Error, QueueFull, Refused

MANAGER = "io.mtd.Manager"
TASKS = "io.mtd.Tasks"
MAX_REPLY = 64 << 20
ACCEPT_PAUSE_MS = 10
LONGEST_WAIT = 1e6       # seconds; the kernel takes no more at a time, and who waits for longer looks again


def directories(given=None):
    """Where mtd's sockets may be, in the order of trying; as mtctl does it."""
    given = os.fspath(given) if given else os.environ.get("MTD_SOCKET")
    if given:
        return [given if os.path.isdir(given) else os.path.dirname(os.path.abspath(given))]
    found = []
    if os.geteuid() != 0:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        own = os.path.join(runtime, "mtd") if runtime else f"/tmp/mtd-{os.geteuid()}"
        if runtime or _is_ours(own):
            found.append(own)
    return [*found, "/run/mtd"]


def _is_ours(directory):
    """Anyone may write to /tmp: only an own directory is believed."""
    try:
        return os.lstat(directory).st_uid == os.geteuid()
    except OSError:
        return False


def begin(interface, given=None):
    """A connected socket to `interface` of the first mtd that is there; it does not wait, nor does this. None: there is
    one, and nobody accepts at it just now."""
    reasons = []
    for directory in directories(given):
        path = os.path.join(directory, interface)
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            stream.setblocking(False)
            stream.connect(path)
            return stream
        except BlockingIOError:
            stream.close()
            return None
        except OSError as error:
            stream.close()
            reasons.append(f"{path}: {os.strerror(error.errno) if error.errno else error}")
    raise ConnectionLost("no mtd answers:\n  " + "\n  ".join(reasons))


def connect(interface, given=None, timeout=None):
    """The same, waited for, at most `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        stream = begin(interface, given)
        if stream is not None:
            stream.settimeout(None if timeout is None else min(timeout, LONGEST_WAIT))
            return stream
        if deadline is not None and time.monotonic() >= deadline:
            raise unanswered(timeout)
        select.poll().poll(ACCEPT_PAUSE_MS)  # for room in a listener's queue there is nothing to wait at


def unanswered(seconds):
    return ConnectionLost(f"mtd is there, but has not answered for {seconds:g} seconds: it may be stopped, or stuck at a "
                          "disk; 'mtctl status' and its log say more")


def call_bytes(interface, method, parameters, **flags):
    """A call as it goes over the wire. `flags`: more, upgrade."""
    return json.dumps({"method": f"{interface}.{method}", "parameters": parameters, **flags},
                      separators=(",", ":")).encode() + b"\0"


def exception_of(reply):
    """What an error reply means, as an exception."""
    name = reply["error"].rpartition(".")[2]
    parameters = reply.get("parameters") or {}
    message = parameters.get("message") or ", ".join(f"{key}: {value}" for key, value in parameters.items())
    return (QueueFull if name == "QueueFull" else Refused)(name, message)


class Replies:
    """Bytes in, whole replies out."""

    def __init__(self):
        self._pieces = []
        self._size = 0

    def feed(self, data):
        first, *rest = data.split(b"\0")
        self._pieces.append(first)
        self._size += len(first)
        if self._size > MAX_REPLY:
            raise Error("mtd's answer is longer than it may be")
        found = []
        for piece in rest:
            found.append(json.loads(b"".join(self._pieces)))
            self._pieces = [piece]
            self._size = len(piece)
        return found

    def rest(self):
        """What came after the last whole reply."""
        return b"".join(self._pieces)


class Calls:
    """A connection for one call after the other; blocks, at most `timeout` seconds for each piece of an answer."""

    def __init__(self, interface, given=None, timeout=None):
        self._interface = interface
        self._timeout = timeout
        self._stream = connect(interface, given, timeout)
        self._replies = Replies()
        self._waiting = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stream.close()

    def shut(self):
        """Whoever waits for an answer gets ConnectionLost. For another thread."""
        try:
            self._stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def call(self, method, **parameters):
        self._stream.sendall(call_bytes(self._interface, method, parameters))
        return self.receive()

    def call_more(self, method, **parameters):
        """The parameters of each reply, until the last."""
        self._stream.sendall(call_bytes(self._interface, method, parameters, more=True))
        while True:
            reply = self._reply()
            yield checked(reply)
            if not reply.get("continues"):
                return

    def receive(self):
        return checked(self._reply())

    def _reply(self):
        while not self._waiting:
            try:
                data = self._stream.recv(1 << 18)
            except socket.timeout:
                raise unanswered(self._timeout) from None
            except OSError as error:
                if error.errno != errno.ECONNRESET:
                    raise
                data = b""
            if not data:
                raise ConnectionLost("mtd closed the connection")
            self._waiting = self._replies.feed(data)
        return self._waiting.pop(0)


def checked(reply):
    """Its parameters; what it says of an error is raised."""
    if "error" in reply:
        raise exception_of(reply)
    return reply.get("parameters") or {}
