"""mtd.Pool: multiprocessing.Pool's interface on workers that mtd keeps.

    with mtd.Pool(8) as pool:
        print(pool.map(function, things))

What differs from multiprocessing.Pool:

* A worker that is killed, exits or crashes in the middle of a task costs that task one attempt; it is tried again in
  another worker, and after `max_crashes` (3) attempts its caller gets WorkerLost. 1 means: never twice.
* An initializer that fails is an exception of every task, not an endless loop of starts.
* A callback that raises is reported to threading.excepthook and harms nothing else.
* terminate() ends workers with everything they started. So does the death of this process, also by SIGKILL.
* get(timeout) leaves the task running, as there; cancel() of a result, and the pool's `timeout` for each task, end it.
* map(..., keep_going=True) returns exceptions in the places of their items instead of raising the first.

Workers are started fresh, never forked from this process: they import the main module as multiprocessing's "spawn"
does, so a script that makes a pool does so under `if __name__ == "__main__":`. Functions travel by name. Arguments
travel by pickle; locks and queues of multiprocessing do not travel, those of a multiprocessing.Manager do.
"""
import collections
import itertools
import os
import pickle
import queue
import sys
import threading
import time
import warnings
from multiprocessing import TimeoutError, util
from multiprocessing import spawn
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE, mapstar, starmapstar
from multiprocessing.reduction import ForkingPickler

from . import _payload, varlink
from .errors import ConnectionLost, Error, WorkerLost
from .private import PrivateMtd
from .session import Session

PRIVATE_POOL = "pool"
WINDOW = 1024            # tasks that are with mtd at a time
BROKEN_STARTS = 5        # so many starts of each worker, none of them ready: the pool is broken
_WORKER = ("import sys; sys.path.insert(0, sys.argv[1]); from mtd._pool_worker import main; main(sys.argv[2])")


def _chunks(iterable, size):
    iterator = iter(iterable)
    while True:
        chunk = tuple(itertools.islice(iterator, size))
        if not chunk:
            return
        yield chunk


class ApplyResult:
    """Of one call."""

    def __init__(self, pool, callback, error_callback):
        self._pool = pool
        self._event = threading.Event()
        self._callback = callback
        self._error_callback = error_callback
        self._entry = None
        self._success = None
        self._value = None
        pool._add(self)

    def ready(self):
        return self._event.is_set()

    def successful(self):
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._success

    def wait(self, timeout=None):
        self._event.wait(timeout)

    def get(self, timeout=None):
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        if self._success:
            return self._value
        raise self._value

    def cancel(self):
        """Asks mtd to end the task, also when it is running; get() then raises TaskCancelled."""
        if self._entry is not None and not self.ready():
            self._pool._session.cancel(self._entry)

    def _start(self, call):
        """Called once the result is known to the pool: `call` is (function, args, kwds)."""
        try:
            self._entry = self._pool._put(call, self._end)
        except Exception as error:
            self._finish(False, error)

    def _end(self, error, _end, body):
        success, value = (False, error) if error is not None else _payload.result(body)
        self._finish(success, value)

    def _finish(self, success, value):
        self._success, self._value = success, value
        callback = self._callback if success else self._error_callback
        self._callback = self._error_callback = None
        if callback is None:
            self._tell()
        else:
            self._pool._call_back(callback, value, self._tell)

    def _stop_feeding(self):
        """Nothing here waits for its reader."""

    def _tell(self):
        self._event.set()
        self._pool._remove(self)

    def __class_getitem__(cls, _):
        return cls


AsyncResult = ApplyResult


class MapResult(ApplyResult):
    """Of a map: all the results in order, or the first error once all chunks have ended."""

    def __init__(self, pool, chunk_size, length, keep_going, callback, error_callback):
        super().__init__(pool, callback, error_callback)
        self._chunk_size = chunk_size
        self._keep_going = keep_going
        self._value = [None] * length
        self._length = length
        self._left = -(-length // chunk_size) if length else 0
        self._failure = None
        self._entries = {}
        if not length:
            self._finish(True, [])

    def cancel(self):
        for entry in list(self._entries.values()):
            self._pool._session.cancel(entry)

    def _feed(self, function, mapper, chunks):
        """In the pool's feeding thread."""
        number, count = 0, -(-self._length // self._chunk_size)
        try:
            for chunk in chunks:
                if not self._put_chunk(number, (mapper, ((function, chunk),), {})):
                    return
                number += 1
        except Exception as error:  # the iterable's
            self._end_chunk(number, self._length, False, error)
            number += 1
        for missing in range(number, count):
            self._end_chunk(missing, 0, True, None)

    def _put_chunk(self, number, call):
        if not self._pool._session.wait_for_room(WINDOW):
            self._abandon(number)
            return False
        size = len(call[1][0][1])
        try:
            self._entries[number] = self._pool._put(
                call, lambda error, _, body, number=number: self._take(number, size, error, body))
        except Error:
            self._abandon(number)
            return False
        except Exception as error:  # it cannot be pickled
            self._end_chunk(number, size, False, error)
        return True

    def _abandon(self, number):
        reason = self._pool._reason()
        for missing in range(number, -(-self._length // self._chunk_size)):
            self._end_chunk(missing, 0, False, reason)

    def _take(self, number, size, error, body):
        success, value = (False, error) if error is not None else _payload.result(body)
        self._end_chunk(number, size, success, value)

    def _end_chunk(self, number, size, success, value):
        with self._pool._lock:
            self._entries.pop(number, None)
            begin = number * self._chunk_size
            if success and value is not None:
                self._value[begin:begin + len(value)] = value
            elif not success:
                if self._failure is None:
                    self._failure = value
                if self._keep_going:
                    end = min(self._length, begin + size)
                    self._value[begin:end] = [value] * max(0, end - begin)
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            failure, self._failure = self._failure, None
            if failure is not None and not self._keep_going:
                self._finish(False, failure)
            else:
                self._finish(True, self._value)


class IMapIterator:
    """Results in order, as soon as it is their turn."""

    def __init__(self, pool, chunk_size, buffer_size):
        self._pool = pool
        self._chunk_size = chunk_size
        self._condition = threading.Condition()
        self._items = collections.deque()   # (success, value) that can be taken
        self._later = {}                    # number → items whose turn has not come
        self._next_number = 0
        self._length = None                 # of chunks, once it is known
        self._ended = 0
        self._room = threading.Semaphore(max(1, buffer_size // chunk_size)) if buffer_size else None
        self._taken = 0
        self._is_closed = False
        pool._add(self)

    def __iter__(self):
        return self

    def next(self, timeout=None):
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._is_over(), timeout)
            if not self._items:
                if self._is_over():
                    raise StopIteration
                raise TimeoutError
            success, value = self._items.popleft()
        self._make_room()
        if success:
            return value
        raise value

    __next__ = next

    def _is_over(self):
        return self._length is not None and self._ended >= self._length

    def _make_room(self):
        if self._room is not None:
            self._taken += 1
            if self._taken % self._chunk_size == 0:
                self._room.release()

    def _feed(self, function, mapper, chunks):
        number = 0
        try:
            for chunk in chunks:
                if self._room is not None:
                    self._room.acquire()
                if not self._put_chunk(number, function, mapper, chunk):
                    return
                number += 1
        except Exception as error:  # the iterable's
            self._end_chunk(number, [(False, error)])
            number += 1
        self._set_length(number)

    def _put_chunk(self, number, function, mapper, chunk):
        if self._is_closed or not self._pool._session.wait_for_room(WINDOW):
            self._abandon(number)
            return False
        try:
            self._pool._put((mapper, ((function, chunk),), {}),
                            lambda error, _, body: self._take(number, error, body))
        except Error:
            self._abandon(number)
            return False
        except Exception as error:
            self._end_chunk(number, [(False, error)])
        return True

    def _abandon(self, number):
        self._end_chunk(number, [(False, self._pool._reason())])
        self._set_length(number + 1)

    def _take(self, number, error, body):
        if error is not None:
            success, value = False, error
        else:
            success, value = _payload.result(body)
        self._end_chunk(number, [(True, item) for item in value] if success else [(False, value)])

    def _set_length(self, length):
        with self._condition:
            self._length = length
            self._condition.notify_all()
        self._leave_if_over()

    def _end_chunk(self, number, items):
        with self._condition:
            self._accept(number, items)
            self._condition.notify_all()
        self._leave_if_over()

    def _accept(self, number, items):
        self._later[number] = items
        while self._next_number in self._later:
            self._items.extend(self._later.pop(self._next_number))
            self._next_number += 1
            self._ended += 1

    def _leave_if_over(self):
        if self._is_over():
            self._pool._remove(self)

    def _stop_feeding(self):
        self._is_closed = True
        if self._room is not None:
            self._room.release()


class IMapUnorderedIterator(IMapIterator):
    """Results as they come."""

    def _accept(self, number, items):
        self._items.extend(items)
        self._ended += 1


class _WorkerHandle:
    """What `_pool` has for each worker, as far as multiprocessing's users look at it."""

    def __init__(self, pid):
        self.pid = pid

    def is_alive(self):
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
                return file.read().rpartition(") ")[2][:1] not in ("Z", "X")
        except OSError:
            return False

    @property
    def exitcode(self):
        """None while it lives; how it ended mtd tells ('mtctl why')."""
        return None if self.is_alive() else 0


class Pool:
    """`processes`, `initializer`, `initargs`, `maxtasksperchild` and `context` are multiprocessing.Pool's.

    `timeout`: seconds that a task may take (TaskTimeout); `max_crashes`: see above; `program`: the mtd to start.
    `socket` and `pool`: use this pool of a running mtd, whose workers are `python3 -m mtd.pool_worker`, instead of a
    private one; its configuration then has the say in everything else.
    """

    def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None, *,
                 timeout=None, max_crashes=3, socket=None, pool=None):
        # First, for __del__ of one that could not be made.
        self._state = INIT
        spawn._check_not_importing_main()
        self._private = None
        self._session = None
        if processes is None:
            processes = len(os.sched_getaffinity(0))
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if (socket is None) != (pool is None):
            raise ValueError("socket and pool are given together: a pool of an mtd that runs")
        if socket is not None and (initializer is not None or maxtasksperchild is not None):
            raise ValueError("initializer and maxtasksperchild belong to the configuration of the pool of that mtd")
        self._ctx = context
        self._processes = processes
        self._name = pool or PRIVATE_POOL
        self._timeout = timeout
        self._lock = threading.Lock()
        self._results = set()       # that have not ended
        self._nothing_left = threading.Condition(self._lock)
        self._jobs = queue.SimpleQueue()
        self._callbacks = queue.SimpleQueue()
        self._threads = []
        self._where = socket
        self._spool = None
        if socket is None:
            self._start_private(initializer, initargs, maxtasksperchild, max_crashes)
        try:
            self._session = Session(self._where, window=WINDOW, attached=True)
        except BaseException:
            self._stop_private()
            raise
        for target in (_feed_jobs, _call_callbacks):
            source = self._jobs if target is _feed_jobs else self._callbacks
            thread = threading.Thread(target=target, args=(source,), name=f"mtd-pool{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._watch = _StartWatch(self._where, self._session, processes) if self._private is not None else None
        # As multiprocessing does it, so that a pool which nobody ended ends before its interpreter does.
        self._terminate = util.Finalize(self, _terminate, args=(self._session, self._private, self._watch, self._jobs,
                                                                self._callbacks, self._results, self._lock),
                                        exitpriority=15)
        self._state = RUN

    def _start_private(self, initializer, initargs, maxtasksperchild, max_crashes):
        self._private = PrivateMtd()
        try:
            preparation = os.path.join(self._private.directory, "start")
            self._spool = os.path.join(self._private.directory, "spool")
            os.mkdir(self._spool, 0o700)
            # It holds the environment and the authentication key: nobody else's business.
            with open(os.open(preparation, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                pickle.dump(_preparation(self._spool), file)
                file.write(ForkingPickler.dumps((initializer, tuple(initargs))))
            self._private.start(_configuration(self._processes, preparation, maxtasksperchild, max_crashes))
        except BaseException:
            self._stop_private()
            raise
        self._where = self._private.runtime_directory

    def _stop_private(self):
        if self._private is not None:
            self._private.stop()

    def __del__(self, _warn=warnings.warn, RUN=RUN):
        if self._state == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __repr__(self):
        return f"<{type(self).__module__}.{type(self).__qualname__} state={self._state} processes={self._processes}>"

    def __reduce__(self):
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, *_):
        self.terminate()

    # ---- multiprocessing.Pool's interface -------------------------------------------------------

    def apply(self, func, args=(), kwds={}):
        return self.apply_async(func, args, kwds).get()

    def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):
        self._check_running()
        result = ApplyResult(self, callback, error_callback)
        result._start((func, args, kwds))
        return result

    def map(self, func, iterable, chunksize=None, *, keep_going=False):
        return self._map_async(func, iterable, mapstar, chunksize, None, None, keep_going).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None, *, keep_going=False):
        return self._map_async(func, iterable, mapstar, chunksize, callback, error_callback, keep_going)

    def starmap(self, func, iterable, chunksize=None, *, keep_going=False):
        return self._map_async(func, iterable, starmapstar, chunksize, None, None, keep_going).get()

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None, *, keep_going=False):
        return self._map_async(func, iterable, starmapstar, chunksize, callback, error_callback, keep_going)

    def imap(self, func, iterable, chunksize=1, *, buffersize=None):
        """`buffersize`: so many items at most are taken from `iterable` ahead of what was taken from the result."""
        return self._imap(IMapIterator, func, iterable, chunksize, buffersize)

    def imap_unordered(self, func, iterable, chunksize=1, *, buffersize=None):
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize, buffersize)

    def close(self):
        if self._state == RUN:
            self._state = CLOSE
            # Which may be called from a callback, and must not wait.
            ending = threading.Thread(target=self._end_when_done, name="mtd-pool-end", daemon=True)
            self._threads.append(ending)
            ending.start()

    def terminate(self):
        self._state = TERMINATE
        self._terminate()

    def join(self):
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        with self._nothing_left:
            self._nothing_left.wait_for(lambda: not self._results)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    # ---- inside ---------------------------------------------------------------------------------

    def _end_when_done(self):
        """As there: every worker of a closed pool has at least run its initializer."""
        with self._nothing_left:
            self._nothing_left.wait_for(lambda: not self._results)
        if self._watch is not None:
            self._watch.all_were_ready.wait()
        self._terminate()

    def _check_running(self):
        if self._state != RUN:
            raise ValueError("Pool not running")

    def _map_async(self, func, iterable, mapper, chunksize, callback, error_callback, keep_going):
        self._check_running()
        if not hasattr(iterable, "__len__"):
            iterable = list(iterable)
        length = len(iterable)
        if keep_going:
            func, mapper = _payload.Keeping(func, mapper), _payload.keep_going
        if chunksize is None:
            chunksize = max(1, -(-length // (self._processes * 4)))
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        result = MapResult(self, chunksize, length, keep_going, callback, error_callback)
        if length:
            self._jobs.put((result, func, mapper, _chunks(iterable, chunksize)))
        return result

    def _imap(self, kind, func, iterable, chunksize, buffersize):
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        result = kind(self, chunksize, buffersize)
        job = (result, func, mapstar, _chunks(iterable, chunksize))
        if buffersize is None:
            self._jobs.put(job)
        else:  # it may wait for its reader, which must hold up no other job
            threading.Thread(target=_feed_one, args=(job,), name="mtd-pool_feed", daemon=True).start()
        return result

    def _put(self, call, on_end):
        fields = {"pool": self._name, "name": "call", "block_ms": -1}
        if self._timeout is not None:
            fields["timeout_ms"] = max(1, round(self._timeout * 1000))
        body = _payload.pack(ForkingPickler.dumps(call), self._spool, self._session.max_body)
        if not _payload.is_file(body):
            return self._session.put(fields, body, on_end)

        def ended(*end):
            _payload.remove(body)
            on_end(*end)

        return self._session.put(fields, body, ended)

    def _add(self, result):
        with self._lock:
            self._results.add(result)

    def _remove(self, result):
        with self._nothing_left:
            self._results.discard(result)
            if not self._results:
                self._nothing_left.notify_all()

    def _call_back(self, callback, value, then):
        self._callbacks.put((callback, value, then))

    def _reason(self):
        return self._session._aborted or ConnectionLost("the pool was terminated before the task was handed in")

    @property
    def _pool(self):
        """Handles of the workers, once each has a process."""
        deadline = time.monotonic() + 30
        while True:
            pids = self._pids()
            if (len(pids) >= self._processes and None not in pids) or time.monotonic() > deadline:
                return [_WorkerHandle(pid) for pid in pids]
            self._wait_for_an_event()

    def _pids(self):
        with varlink.Calls(varlink.MANAGER, self._where, timeout=30) as calls:
            pids = []
            for part in calls.call_more("Status", select=[self._name]):
                for one in part.get("pools", []):
                    pids += [worker.get("pid") for worker in one.get("workers", [])]
            return pids

    def _wait_for_an_event(self):
        with varlink.Calls(varlink.MANAGER, self._where, timeout=1) as calls:
            try:
                for part in calls.call_more("Events", follow=True):
                    if part.get("events"):
                        return
            except OSError:
                return

    def _repopulate_pool(self):
        """mtd does it by itself."""


def _preparation(spool):
    """What a worker needs to become like this process; as multiprocessing's spawn has it."""
    data = spawn.get_preparation_data("mtd.Pool worker")
    data["authkey"] = bytes(data["authkey"])
    return {"spawn": data, "environment": dict(os.environb), "spool": spool}


def _configuration(processes, preparation, maxtasksperchild, max_crashes):
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [spawn.get_executable() or sys.executable, *util._args_from_interpreter_flags(), "-c", _WORKER, package,
               preparation]
    command = [os.fsdecode(word).replace("$", "$$") for word in command]
    pool = {
        "command": command,
        "workers": processes,
        "cwd": os.getcwd().replace("$", "$$"),
        "env_pass": _names_that_matter_at_start(),
        "overlap": True,
        "stop": {"timeout": "2s"},
        "log": {"to": "inherit"},
        "backoff": {"initial": "10ms", "max": "1s"},
        "crash_limit": {"count": 1000000, "window": "1s"},
        "tasks": {"mode": "task", "durability": "process", "max_attempts": 1, "max_crashes": max_crashes,
                  "retry_delay": "10ms", "max_queue": 4 * WINDOW, "max_result": "8M"},
    }
    if maxtasksperchild is not None:
        pool["recycle"] = {"maxtasksperchild": maxtasksperchild, "concurrency": processes}
    return {"pools": {PRIVATE_POOL: pool}}


def _names_that_matter_at_start():
    """Of the environment: what the interpreter and the loader read before a worker can set the rest."""
    return sorted(name for name in os.environ
                  if name.startswith(("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_")) or name in ("LANG", "PATH"))


def _feed_jobs(jobs):
    while True:
        job = jobs.get()
        if job is None:
            return
        _feed_one(job)
        del job


def _feed_one(job):
    result, *rest = job
    result._feed(*rest)


def _call_callbacks(callbacks):
    while True:
        item = callbacks.get()
        if item is None:
            return
        callback, value, then = item
        try:
            callback(value)
        except BaseException:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        then()
        del item, callback, value, then


class _StartWatch:
    """Follows mtd's events: a pool whose workers never become ready is told to whoever waits for it."""

    def __init__(self, where, session, processes):
        self._where = where
        self._session = session
        self._processes = processes
        self._failures = 0    # since one was ready
        self._were_ready = set()
        self.all_were_ready = threading.Event()
        self._calls = varlink.Calls(varlink.MANAGER, where)
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="mtd-pool-starts", daemon=True)
        self._thread.start()

    def stop(self):
        self._is_over = True
        self.all_were_ready.set()
        self._calls.shut()
        self._thread.join()

    def _run(self):
        try:
            self._follow()
        finally:
            self._calls.close()

    def _follow(self):
        cursor = "0"
        while not self._is_over:
            try:
                for part in self._calls.call_more("Events", since=cursor, follow=True):
                    cursor = part.get("cursor") or cursor
                    for event in part.get("events", []):
                        self._take(event)
            except (OSError, Error):
                if not self._connect_again():
                    return

    def _take(self, event):
        if event.get("event") == "ready":
            self._failures = 0
            self._were_ready.add(event.get("worker"))
            if len(self._were_ready) >= self._processes:
                self.all_were_ready.set()
        elif event.get("event") == "exited" and not (event.get("last_exit") or {}).get("planned"):
            self._failures += 1
            if self._failures >= BROKEN_STARTS * self._processes:
                self._session.abort(WorkerLost(_how_they_end(event), reason="start"))
                self.all_were_ready.set()

    def _connect_again(self):
        """The supervisor died; its successor is there in a moment."""
        deadline = time.monotonic() + 30
        self._calls.close()
        while not self._is_over and time.monotonic() < deadline:
            try:
                self._calls = varlink.Calls(varlink.MANAGER, self._where)
                return True
            except Error:
                time.sleep(0.05)
        return False


def _how_they_end(event):
    end = event.get("last_exit") or {}
    how = f"signal {end['signal']}" if end.get("signal") else f"exit status {end.get('code')}"
    return f"no worker of the pool becomes ready; the last one ended with {how}"


def _terminate(session, private, watch, jobs, callbacks, results, lock):
    """Ends everything; what has not ended is told so first, so that no get() waits on."""
    with lock:
        under_way = list(results)
    for result in under_way:
        result._stop_feeding()
    del under_way
    if watch is not None:
        watch.stop()
    jobs.put(None)
    session.close()
    callbacks.put(None)
    if private is not None:
        private.stop()
