"""The worker's side: a loop that takes tasks from mtd and answers each exactly once.

    import mtd

    @mtd.task
    def resize(path, width):
        return ...

    mtd.run()

A pool with "tasks": {"mode": "task"} starts this program; its descriptor to mtd is in MTD_TASK_FD, so whatever is
printed is a log line and breaks nothing. What a function returns is the result (JSON, or bytes), what it raises is a
failure that mtd tries again, `raise mtd.Fail("…", retry=False)` one that it does not. A task that ends the process
(os._exit, sys.exit, a signal) costs itself one attempt and is tried in another worker.
"""
import collections
import os
import select
import socket
import sys
import threading
import traceback

from .errors import Error, Fail, ProtocolError
from .frames import Reader, encode

CAPABILITIES = ["body", "cancel", "progress"]
MAX_TEXT = 16 * 1024        # of an error's trace; its end is kept


class Task:
    """The task at hand: what it was given, and what can be told about it meanwhile."""

    def __init__(self, worker, message, body):
        self._worker = worker
        self.id = message["id"]
        self.attempt = message["attempt"]
        self.name = message.get("name") or ""
        self.args = message.get("args") or []
        self.body = body
        self.timeout = message["timeout_ms"] / 1000 if message.get("timeout_ms") else None
        self.message = message
        self._cancel = None

    @property
    def cancelled(self):
        """Why mtd asks to give up ("user", "timeout", "drain"), or None. Still answer: return, or raise."""
        self._worker.look()
        return self._cancel

    def progress(self, done, total=None, text=None):
        """Shown to whoever waits."""
        message = {"t": "progress", "id": self.id, "done": done}
        if total is not None:
            message["total"] = total
        if text is not None:
            message["text"] = str(text)
        self._worker.send(message)

    def extend(self, seconds):
        """So much longer than its time-out it may take."""
        self._worker.send({"t": "extend", "id": self.id, "ms": int(seconds * 1000)})


class Connection:
    """The stream to mtd: whole messages in both directions. Safe to send from several threads."""

    def __init__(self, stream):
        self._stream = stream
        self._reader = Reader()
        self._waiting = collections.deque()
        self._lock = threading.Lock()
        self.ended = False

    @classmethod
    def from_environment(cls):
        number = os.environ.get("MTD_TASK_FD")
        if number is None:
            raise Error("MTD_TASK_FD is not set: this program is a worker, which mtd starts in a pool with \"tasks\"")
        try:
            stream = socket.socket(fileno=int(number))
            stream.set_inheritable(False)
            stream.setblocking(True)
        except (ValueError, OSError) as error:
            raise Error(f"MTD_TASK_FD={number} is no socket: {error}") from None
        return cls(stream)

    def send(self, message, body=None):
        data = encode(message, body)
        with self._lock:
            try:
                self._stream.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                self.ended = True

    def _has_input(self):
        poller = select.poll()
        poller.register(self._stream, select.POLLIN)
        return bool(poller.poll(0))

    def receive(self, wait=True):
        """The next message and its body. None: nothing there (without `wait`), or mtd has gone (`ended`)."""
        while not self._waiting:
            if self.ended or not (wait or self._has_input()):
                return None
            try:
                data = self._stream.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = True
                return None
            self._waiting.extend(self._reader.feed(data))
        return self._waiting.popleft()


class Worker:
    """Functions by name, and the loop that calls them."""

    def __init__(self):
        self.functions = {}
        self._tasks = {}        # id → Task, those at work
        self._later = collections.deque()
        self._had = collections.deque(maxlen=1024)  # (id, attempt) of the last ones, see _is_again()
        self._connection = None
        self._local = threading.local()
        self._drained = False

    def task(self, function=None, *, name=None):
        """Decorator: tasks of this name (the function's own by default) call it."""
        def add(function):
            self.functions[name or function.__name__] = function
            return function
        return add if function is None else add(function)

    @property
    def current(self):
        """The Task that this thread works at, or None."""
        return getattr(self._local, "task", None)

    def send(self, message, body=None):
        self._connection.send(message, body)

    def recycle(self):
        """Asks to be replaced once the tasks at hand are done."""
        self.send({"t": "recycle"})

    def run(self, threads=1, connection=None):
        """Takes tasks until mtd says enough. `threads`: so many tasks at once inside this process."""
        self._connection = connection or Connection.from_environment()
        self.send({"t": "ready", "proto": 1, "credit": threads, "capabilities": CAPABILITIES})
        if threads == 1:
            self._run_here()
        else:
            self._run_threads(threads)

    def look(self):
        """Takes in what mtd has sent meanwhile, so that a cancelled task can know. Only where tasks run in the
        thread that reads; with threads the reading goes on by itself."""
        if threading.get_ident() != getattr(self, "_reading_thread", None):
            return
        while True:
            received = self._connection.receive(wait=False)
            if received is None:
                return
            if not self._attend(*received):
                self._later.append(received)

    def _next(self):
        while True:
            received = self._later.popleft() if self._later else self._connection.receive()
            if received is None:
                return None
            if self._attend(*received):
                if self._drained and not self._tasks:
                    return None
                continue
            return received

    def _attend(self, message, _body):
        """True for a message that is no task. Unknown ones are ignored."""
        kind = message.get("t")
        if kind == "task":
            return self._is_again(message)
        if kind == "cancel":
            task = self._tasks.get(message.get("id"))
            if task is not None:
                task._cancel = message.get("reason") or "user"
        elif kind == "ping":
            self.send({"t": "beat"})
        elif kind == "drain":
            self._drained = True
        return True

    def _is_again(self, message):
        """mtd asks again when it does not know whether its question arrived; it is answered once."""
        key = (message["id"], message["attempt"])
        if message.get("again") and key in self._had:
            return True
        self._had.append(key)
        return False

    def _run_here(self):
        self._reading_thread = threading.get_ident()
        while not (self._drained and not self._later):
            received = self._next()
            if received is None:
                return
            self._work(Task(self, *received))

    def _run_threads(self, threads):
        """This thread reads; the others work."""
        from concurrent.futures import ThreadPoolExecutor
        executor = ThreadPoolExecutor(threads, thread_name_prefix="mtd-task")
        while not self._drained:
            received = self._next()
            if received is None:
                break
            task = Task(self, *received)
            self._tasks[task.id] = task
            executor.submit(self._work_or_die, task)
        executor.shutdown(wait=not self._connection.ended)

    def _work_or_die(self, task):
        """An exit inside a thread is an exit of the worker, as it is without threads."""
        try:
            self._work(task)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _work(self, task):
        self._tasks[task.id] = self._local.task = task
        try:
            answer = self._answer(task)
        finally:
            self._tasks.pop(task.id, None)
            self._local.task = None
        self.send(*answer)

    def _answer(self, task):
        head = {"id": task.id, "attempt": task.attempt}
        try:
            function = self.functions.get(task.name)
            if function is None and len(self.functions) == 1 and not task.name:
                function = next(iter(self.functions.values()))
            if function is None:
                raise Fail(f"this worker has no task named {task.name!r}; it has: {', '.join(sorted(self.functions))}",
                           type="NoSuchTask", retry=False)
            result = function(*task.args)
            done = {"t": "done", **head}
            if isinstance(result, (bytes, bytearray, memoryview)):
                return done, result
            return self._with_result(done, result), None
        except Fail as failure:
            fail = {"t": "fail", **head, "retry": failure.retry,
                    "error": {"type": failure.type, "message": str(failure.message)}}
            if failure.delay is not None:
                fail["delay_ms"] = int(failure.delay * 1000)
            return fail, None
        except Exception as error:
            return {"t": "fail", **head, "retry": True, "error": describe(error)}, None

    @staticmethod
    def _with_result(done, result):
        message = {**done, "result": result}
        try:
            encode(message)
        except (TypeError, ValueError, ProtocolError) as error:
            raise Fail(f"the result cannot be sent: {error}", type=type(error).__name__, retry=False) from None
        return message


def describe(error):
    """An exception as the text that travels."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"type": type(error).__name__, "message": str(error)[-MAX_TEXT:], "trace": trace[-MAX_TEXT:]}


_default = Worker()
task = _default.task
run = _default.run


def current():
    """The Task that this thread works at, or None: for its id, attempt, body, progress() and cancelled."""
    return _default.current


if __name__ == "__main__":
    sys.exit("this module is imported by workers; see mtd-worker(7)")
