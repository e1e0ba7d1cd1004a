"""Session: puts tasks and hears how they end, whatever happens to the other side.

One thread of its own holds one connection to mtd's broker. If the broker dies, the connection is made again, and every
task whose end is not known is put again under the same name, which mtd knows: nothing runs twice for that, nothing is
lost.

At most `window` tasks are with mtd at a time; what is put beyond that waits here. Whoever is told an end is called in
the session's thread and must be quick. Every entry is told exactly one end, also when the session is closed.
"""
import collections
import errno
import itertools
import json
import math
import os
import secrets
import select
import socket
import threading
import time

from . import varlink
from .errors import (ConnectionLost, Error, ProtocolError, QueueFull, Refused, TaskCancelled, TaskExpired, TaskFailed,
                     TaskTimeout, WorkerLost)
from .frames import MAX_FRAME, Reader

BLOCK = 1 << 18
PAUSE = 0.02             # seconds between attempts to connect, × their number
LONGEST_PAUSE = 0.5


class Entry:
    """One task. `on_end(error, end, body)`: error is None when it is done; `end` is what mtd told."""

    __slots__ = ("head", "body", "uid", "on_end", "on_progress", "id", "cancel", "ended", "seq")

    def __init__(self, head, body, uid, on_end, on_progress):
        self.head = head          # JSON text of the frame's members, without its braces, seq and body
        self.body = body
        self.uid = uid
        self.on_end = on_end
        self.on_progress = on_progress
        self.id = None
        self.cancel = False
        self.ended = False
        self.seq = None           # None: not with mtd


def end_of(end):
    """The error that the end of a task stands for; None: it is done."""
    state = end.get("state")
    if state == "done":
        return None
    reason = end.get("reason") or state
    error = end.get("error") or {}
    if state == "cancelled":
        kind = TaskCancelled
    elif state == "expired":
        kind = TaskExpired
    else:
        kind = {"crash": WorkerLost, "timeout": TaskTimeout}.get(reason, TaskFailed)
    message = error.get("message") or _explain(kind, end, reason)
    return kind(message, type=error.get("type") or "", trace=error.get("trace") or "", reason=reason,
                attempts=end.get("attempts", 0), details=end)


def _explain(kind, end, reason):
    if kind is not WorkerLost:
        return reason
    if end.get("signal"):
        return f"the worker was killed by signal {end['signal']} in the middle of the task"
    if end.get("exit") is not None:
        return f"the worker exited with {end['exit']} in the middle of the task"
    return "the worker died in the middle of the task"


class _Opening:
    """A connection on its way to a _Stream: never blocks."""

    def __init__(self, where):
        self.stream = varlink.begin(varlink.TASKS, where)
        self._replies = varlink.Replies()
        if self.stream is not None:
            try:
                self.stream.send(varlink.call_bytes(varlink.TASKS, "Open", {}, upgrade=True))
            except OSError:
                pass  # what prevents it is seen when the answer is read

    def advance(self):
        """The _Stream, or None: mtd has not answered yet. Raises what mtd says instead."""
        while True:
            try:
                data = self.stream.recv(BLOCK)
            except BlockingIOError:
                return None
            except ConnectionResetError:
                data = b""
            if not data:
                raise ConnectionLost("mtd closed the connection")
            replies = self._replies.feed(data)
            if replies:
                return _Stream(self.stream, varlink.checked(replies[0]), self._replies.rest())

    def close(self):
        if self.stream is not None:
            self.stream.close()


def _open(where, patience):
    """A _Stream, waited for."""
    deadline = time.monotonic() + patience
    while True:
        opening = _Opening(where)
        try:
            while opening.stream is not None:
                stream = opening.advance()
                if stream is not None:
                    return stream
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                _poll({opening.stream: False}, left)
        except BaseException:
            opening.close()
            raise
        opening.close()
        if time.monotonic() >= deadline:
            raise varlink.unanswered(patience)
        _poll({}, PAUSE)


class _Stream:
    """The connection after Open: never blocks; bytes out as there is room, whole messages in."""

    def __init__(self, stream, hello, rest):
        self.hello = hello
        self.stream = stream
        self._reader = Reader()
        self._early = self._reader.feed(rest)
        self._out = bytearray()
        self.lost = False

    def send(self, data):
        self._out += data

    def flush(self):
        while self._out:
            try:
                sent = self.stream.send(memoryview(self._out)[:BLOCK])
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                    raise
                self._out.clear()  # what the other side had still said is read all the same
                return
            del self._out[:sent]

    @property
    def wants_to_write(self):
        return bool(self._out)

    @property
    def backlog(self):
        return len(self._out)

    def receive(self):
        """What has come; sets `lost` at the end of the stream."""
        messages, self._early = self._early, []
        while True:
            try:
                data = self.stream.recv(BLOCK)
            except BlockingIOError:
                return messages
            except ConnectionResetError:
                data = b""
            if not data:
                self.lost = True
                return messages
            messages += self._reader.feed(data)
            if len(data) < BLOCK:
                return messages

    def close(self):
        self.stream.close()


def _poll(streams, seconds=None):
    """stream → whether it is to be written too. Returns stream → events, of those where something is."""
    poller = select.poll()
    for stream, writes in streams.items():
        poller.register(stream, select.POLLIN | (select.POLLOUT if writes else 0))
    numbers = {stream.fileno(): stream for stream in streams}
    limit = None if seconds is None else max(0, math.ceil(min(seconds, varlink.LONGEST_WAIT) * 1000))
    return {numbers[number]: events for number, events in poller.poll(limit)}


class Session:
    """See above. An mtd that has been away for `patience` seconds has gone for good; one that has said nothing for so
    long while tasks are with it is asked whether it is still there."""

    def __init__(self, where=None, *, window=1024, attached=False, keep=False, patience=30.0):
        self._where = where
        self._window = window
        self._attached = attached
        self._keep = keep
        self._patience = patience     # seconds that mtd may be away
        self._name = f"py-{os.getpid()}-{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._sequence = itertools.count(1)
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._pending = collections.deque()   # not put yet
        self._entries = {}                    # seq → Entry: with mtd, end unknown
        self._cancels = collections.deque()
        self._closing = False
        self._aborted = None                  # an exception: no task can end any more
        self._stream = _open(where, patience)   # an mtd that is not there is told at once; None: it is away
        self.max_body = self._stream.hello.get("max_body", 8 << 20)   # bytes that a task's body may have
        self._opening = None                  # while it is away, or in answer to the question
        self._try_again = None                # when, or not at all
        self._pause = 0.0
        self._away_since = None
        self._heard = time.monotonic()
        self._asked = None                    # whether it is still there
        self._owner = os.getpid()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._is_awake = False
        self._thread = threading.Thread(target=self._run, name="mtd-session", daemon=True)
        self._thread.start()

    # ---- for any thread -------------------------------------------------------------------------

    def is_own_thread(self):
        """Whoever is called by this session must not wait for it."""
        return threading.current_thread() is self._thread

    def put(self, fields, body, on_end, *, uid=None, on_progress=None):
        """Hands in a task; never blocks. `fields`: members of a put frame. Returns its Entry."""
        uid = uid or f"{self._name}-{next(self._numbers)}"
        head = json.dumps({**fields, "watch": True, "attached": self._attached}, separators=(",", ":"),
                          allow_nan=False)[1:-1]
        if len(head) > MAX_FRAME - 512:
            raise ProtocolError(f"{len(head)} bytes of arguments are more than fit; pass large data as body")
        entry = Entry(head, body, uid, on_end, on_progress)
        self._check_owner()
        with self._lock:
            refusal = self._aborted or (Error("the client is closed") if self._closing else None)
            if refusal is None:
                self._pending.append(entry)
        if refusal is not None:
            raise refusal
        self._wake()
        return entry

    def wait_for_room(self, most=0):
        """Until no more than `most` tasks wait here to be put. False: the session has ended."""
        self._check_owner()
        with self._room:
            self._room.wait_for(lambda: len(self._pending) <= most or self._closing or self._aborted)
            return not (self._closing or self._aborted)

    def cancel(self, entry):
        """Asks for its end; which one it is, on_end tells. A running task may still be done."""
        entry.cancel = True
        with self._lock:
            self._cancels.append(entry)
        self._wake()

    def abort(self, error):
        """Nothing can come any more, and this is why."""
        with self._lock:
            self._aborted = self._aborted or error
            self._room.notify_all()
        self._wake()

    def close(self):
        """Ends the session; what has not ended by now is told so. Attached tasks are cancelled by mtd."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closing = True
            self._room.notify_all()
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _check_owner(self):
        """Its thread has not come along into a forked process, which would wait for it for ever."""
        if os.getpid() != self._owner:
            raise Error(f"this client or pool belongs to process {self._owner}, of which this one was forked; "
                        "make one of its own")

    def _wake(self):
        if self._is_awake:
            return
        self._is_awake = True
        try:
            self._wake_out.send(b"w")
        except (BlockingIOError, OSError):
            pass  # it is awake already, or has ended

    def _awoke(self):
        """Empties the socket, then lets it be written to again, and then the caller looks what there is: the other way
        round a byte could be taken out that was written for the next look, and no other one would ever be written."""
        try:
            self._wake_in.recv(4096)
        except BlockingIOError:
            pass
        self._is_awake = False

    # ---- the session's thread -------------------------------------------------------------------

    def _run(self):
        try:
            while not (self._closing or self._aborted):
                self._turn()
        except Exception as error:  # never silently: whoever waits must hear of it
            self._aborted = self._aborted or error
        reason = self._aborted or ConnectionLost("the client was closed before the task ended")
        for one in (self._stream, self._opening):
            if one is not None:
                one.close()
        with self._lock:
            self._closing = True
            self._room.notify_all()
        for entry in [*self._pending, *self._entries.values()]:
            self._end(entry, reason, None, None)
        self._pending.clear()
        self._entries.clear()
        self._wake_in.close()
        self._wake_out.close()

    def _turn(self):
        watched = {self._wake_in: False}
        self._send_cancels()
        if self._stream is not None:
            self._send_puts()
            self._stream.flush()
            watched[self._stream.stream] = self._stream.wants_to_write
        if self._opening is not None:
            watched[self._opening.stream] = False
        ready = _poll(watched, self._seconds_to_look())
        if self._wake_in in ready:
            self._awoke()
        if self._stream is not None and ready.get(self._stream.stream, 0) & ~select.POLLOUT:
            self._heard, self._asked = time.monotonic(), None
            for message, body in self._stream.receive():
                self._take(message, body)
            if self._stream.lost:
                self._lose()
        self._look_after_connection()

    def _take(self, message, body):
        kind = message.get("t")
        entry = self._entries.get(message.get("seq"))
        if entry is None:
            if kind == "no" and message.get("error") == "BadRequest" and "seq" not in message:
                raise ProtocolError(message.get("message") or "mtd did not understand a message")
        elif kind == "ok":
            entry.id = message.get("id")
            if entry.cancel:
                self._send_cancel(entry)
        elif kind == "end":
            self._take_end(entry, message, body)
        elif kind == "no":
            del self._entries[entry.seq]
            code = message.get("error") or "Refused"
            self._end(entry, (QueueFull if code == "QueueFull" else Refused)(code, message.get("message") or ""),
                      message, None)
        elif kind == "progress" and entry.on_progress is not None:
            entry.on_progress(message)

    def _take_end(self, entry, end, body):
        del self._entries[entry.seq]
        if end.get("state") == "cancelled" and end.get("reason") == "detached" and not entry.cancel:
            # It was cancelled because our connection broke; here we are again.
            entry.uid = f"{self._name}-{next(self._numbers)}"
            entry.seq = entry.id = None
            self._pending.appendleft(entry)
            return
        if not self._keep:
            self._stream.send(b'{"t":"forget","id":%d}\n' % end["id"])
        self._end(entry, end_of(end), end, body)

    @staticmethod
    def _end(entry, error, end, body):
        if entry.ended:
            return
        entry.ended = True
        on_end = entry.on_end
        entry.on_end = entry.on_progress = entry.head = entry.body = None
        on_end(error, end, body)

    def _send_cancels(self):
        while self._cancels:
            entry = self._cancels.popleft()
            if entry.ended:
                continue
            if entry.seq is None:
                with self._lock:
                    self._pending.remove(entry)
                self._end(entry, TaskCancelled("cancelled before it was handed in", reason="user"), None, None)
            elif entry.id is not None:   # else it is asked for when mtd has accepted it
                self._send_cancel(entry)

    def _send_cancel(self, entry):
        self._stream.send(b'{"t":"cancel","seq":%d,"id":%d}\n' % (next(self._sequence), entry.id))

    def _send_puts(self):
        while self._pending and len(self._entries) < self._window and self._stream.backlog < 4 * BLOCK:
            with self._lock:
                entry = self._pending.popleft()
                self._room.notify_all()
            entry.seq = next(self._sequence)
            self._entries[entry.seq] = entry
            size = "" if entry.body is None else f',"body":{len(entry.body)}'
            self._stream.send(f'{{"t":"put","seq":{entry.seq},"uid":{json.dumps(entry.uid)},{entry.head}{size}}}\n'
                              .encode())
            if entry.body is not None:
                self._stream.send(entry.body)

    def _lose(self):
        """The broker died, or mtd did. Everything whose end is unknown is put again, in the old order."""
        self._stream.close()
        self._stream = None
        self._drop_opening()
        self._asked = None
        self._pause = 0.0
        self._away_since = self._try_again = time.monotonic()
        with self._lock:
            again = list(self._entries.values())
            self._entries.clear()
            for entry in again:
                entry.seq = entry.id = None
            self._pending.extendleft(reversed(again))

    def _drop_opening(self):
        if self._opening is not None:
            self._opening.close()
            self._opening = None

    def _seconds_to_look(self):
        """Until _look_after_connection() has something to do although nothing has come."""
        if self._try_again is not None:
            look = self._try_again
        elif self._away_since is not None:
            look = self._away_since + self._patience
        elif self._entries:
            look = (self._heard if self._asked is None else self._asked) + self._patience
        else:
            return None
        return max(0.0, look - time.monotonic())

    def _look_after_connection(self):
        """Never waits. At our own stream mtd may be waiting for room in a queue, so whether it is still there is asked at
        another one."""
        now = time.monotonic()
        if self._opening is not None:
            self._advance(now)
        if self._away_since is not None:
            if self._opening is not None and now >= self._away_since + self._patience:
                self._aborted = varlink.unanswered(self._patience)
        elif not self._entries:
            self._heard, self._asked, self._try_again = now, None, None
            self._drop_opening()
        elif self._asked is None:
            if now >= self._heard + self._patience:
                self._asked = self._try_again = now
                self._pause = 0.0
        elif now >= self._asked + self._patience:
            self._lose()
        if self._try_again is not None and now >= self._try_again:
            self._open_another(now)

    def _advance(self, now):
        try:
            stream = self._opening.advance()
        except (OSError, Error) as error:
            self._drop_opening()
            self._not_opened(error, now)
            return
        if stream is None:
            return
        self._opening = None
        if self._away_since is not None:
            self._stream = stream
        else:
            stream.close()
        self._heard, self._asked, self._away_since, self._try_again = now, None, None, None

    def _open_another(self, now):
        self._try_again = None
        try:
            self._opening = _Opening(self._where)
        except (OSError, Error) as error:
            self._not_opened(error, now)
            return
        if self._opening.stream is None:
            self._opening = None
            self._not_opened(varlink.unanswered(self._patience), now)

    def _not_opened(self, error, now):
        if self._away_since is not None and now >= self._away_since + self._patience:
            self._aborted = error if isinstance(error, Error) else ConnectionLost(str(error))
            return
        self._pause = min(self._pause + PAUSE, LONGEST_PAUSE)
        self._try_again = now + self._pause
