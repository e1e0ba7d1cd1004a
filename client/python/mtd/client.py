"""The submit side: hand tasks to a pool of a running mtd, get futures.

    with mtd.Client() as client:
        future = client.submit("thumbs", "a.jpg", 200)
        print(future.result(timeout=60))
        for result in client.map("thumbs", [("a.jpg", 200), ("b.jpg", 100)]):
            ...

A future is a concurrent.futures.Future: add_done_callback, as_completed, wait and exception work as they do there. What is
called at its end or progress is called in the client's own thread, and must not wait for other tasks.
"""
import collections
import concurrent.futures
import math

from . import varlink
from .errors import Error, TaskCancelled
from .session import Session


class Future(concurrent.futures.Future):
    """Of one task. cancel() asks mtd to cancel it, also when it is running."""

    def __init__(self, client):
        super().__init__()
        self._client = client
        self._entry = None
        self.task = None    # what mtd told at the end: id, attempt, reason, worker, …

    @property
    def id(self):
        """mtd's number of the task; None until it has accepted it."""
        return (self.task or {}).get("id") or self._entry.id

    def result(self, timeout=None):
        self._check_may_wait()
        return super().result(timeout)

    def exception(self, timeout=None):
        self._check_may_wait()
        return super().exception(timeout)

    def _check_may_wait(self):
        if not self.done() and self._client._session.is_own_thread():
            raise Error("a done-callback or progress function waits for another task, in the thread that would hear of its "
                        "end; wait in a thread of your own")

    def cancel(self):
        """True: mtd was asked. The future then ends as cancelled, or with its result if that was quicker."""
        if self.done():
            return self.cancelled()
        self._client._session.cancel(self._entry)
        return True

    def _end(self, error, task, body):
        self.task = task
        if isinstance(error, TaskCancelled):
            super().cancel()
            self.set_running_or_notify_cancel()
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(task.get("result") if body is None else body)


class Client:
    """A connection to mtd that survives the death of its parts.

    `socket`: mtd's runtime directory or a socket in it; by default it is looked for as mtctl does.
    `window`: so many tasks are with mtd at a time, more wait in this process.
    `attached`: what has not ended when this process goes away is cancelled.
    `keep`: results stay with mtd (for `result_ttl`) after they have been told here.
    `patience`: so many seconds mtd may be away, or silent, before futures end with ConnectionLost.
    """

    def __init__(self, socket=None, *, window=1024, attached=False, keep=False, patience=30.0):
        self._where = socket
        self._patience = patience
        self._session = Session(socket, window=window, attached=attached, keep=keep, patience=patience)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Futures that are not done end with ConnectionLost; their tasks go on unless `attached`."""
        self._session.close()

    def submit(self, pool, *args, name=None, body=None, uid=None, timeout=None, delay=None, priority=None,
               expires=None, unique=None, group=None, max_attempts=None, block=None, progress=None):
        """Puts a task. `args`: JSON values; `body`: bytes. Times in seconds. `uid`: the same one is the same task.
        `block`: so long it waits for room in a full queue, math.inf: for ever; without it the pool's `on_full` says
        whether it waits or the future fails with QueueFull. `progress`: called with done, total and text."""
        fields = {"pool": pool, "name": name, "args": list(args), "priority": priority, "unique": unique,
                  "group": group, "max_attempts": max_attempts, "timeout_ms": _ms(timeout), "delay_ms": _ms(delay),
                  "expires_ms": _ms(expires), "block_ms": -1 if block == math.inf else _ms(block)}
        fields = {key: value for key, value in fields.items() if value is not None}
        future = Future(self)
        told = progress and (lambda frame: progress(frame.get("done"), frame.get("total"), frame.get("text")))
        future._entry = self._session.put(fields, body, future._end, uid=uid, on_progress=told)
        return future

    def map(self, pool, tasks, *, ordered=True, window=64, **options):
        """Results as they come, or in the order of `tasks`; at most `window` of them are under way. Each of `tasks`
        is a tuple of arguments, or one argument. The first failure is raised and what is under way is cancelled."""
        under_way = collections.deque()
        tasks = iter(tasks)
        try:
            for arguments in tasks:
                arguments = arguments if isinstance(arguments, tuple) else (arguments,)
                under_way.append(self.submit(pool, *arguments, **options))
                if len(under_way) >= window:
                    yield self._take(under_way, ordered)
            while under_way:
                yield self._take(under_way, ordered)
        finally:
            for future in under_way:
                future.cancel()

    @staticmethod
    def _take(under_way, ordered):
        future = under_way[0]
        if not ordered:
            done, _ = concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED)
            future = next(one for one in under_way if one in done)
        under_way.remove(future)
        return future.result()

    def call(self, method, *, timeout=-1, **parameters):
        """Any method of io.mtd.Tasks, see mtd-control(7): Stats, List, Cancel, Pause, … Raises ConnectionLost when the
        answer takes longer than `timeout` seconds, the client's patience if it is not given; None: it may take for ever,
        as that of Drain does."""
        timeout = self._patience if timeout == -1 else timeout
        with varlink.Calls(varlink.TASKS, self._where, timeout=timeout) as calls:
            return calls.call(method, **parameters)


def _ms(seconds):
    return None if seconds is None else max(0, round(seconds * 1000))
