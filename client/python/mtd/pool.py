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
import itertools
import operator
import os
import pickle
import queue
import threading
import time
import warnings
from multiprocessing import spawn, util
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE, mapstar, starmapstar
from multiprocessing.reduction import ForkingPickler

from . import _payload, varlink
from ._pool_handles import WorkerHandle
from ._pool_iterators import IMapIterator, IMapUnorderedIterator
from ._pool_private import PRIVATE_POOL, configuration, preparation
from ._pool_results import WINDOW, ApplyResult, AsyncResult, MapResult  # noqa: F401  (AsyncResult: as there)
from ._pool_start import StartWatch
from ._pool_threads import call_callbacks, feed_jobs, feed_one
from .errors import ConnectionLost
from .private import PrivateMtd
from .session import Session

MOST_PROCESSES = 10000   # of one pool of mtd


def _chunks(iterable, size):
    iterator = iter(iterable)
    while True:
        chunk = tuple(itertools.islice(iterator, size))
        if not chunk:
            return
        yield chunk


class Pool:
    """`processes`, `initializer`, `initargs`, `maxtasksperchild` and `context` are multiprocessing.Pool's.

    `timeout`: seconds that a task may take (TaskTimeout); `max_crashes`: see above; `program`: the mtd to start.
    `socket` and `pool`: use this pool of a running mtd, whose workers are `python3 -m mtd.pool_worker`, instead of a
    private one; its configuration then has the say in everything else.
    `patience`: seconds that mtd may be away or silent before what is waited for ends with ConnectionLost.
    """

    def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None, *,
                 timeout=None, max_crashes=3, socket=None, pool=None, patience=30.0):
        # First, for __del__ of one that could not be made.
        self._state = INIT
        spawn._check_not_importing_main()
        self._private = None
        self._session = None
        if processes is None:
            processes = len(os.sched_getaffinity(0))
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        processes = operator.index(processes)
        if processes > MOST_PROCESSES and socket is None:
            raise ValueError(f"Number of processes must be at most {MOST_PROCESSES}")
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
            self._session = Session(self._where, window=WINDOW, attached=True, patience=patience)
        except BaseException:
            self._stop_private()
            raise
        for target in (feed_jobs, call_callbacks):
            source = self._jobs if target is feed_jobs else self._callbacks
            thread = threading.Thread(target=target, args=(source,), name=f"mtd-pool_{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._watch = StartWatch(self._private, self._session, processes) if self._private is not None else None
        # As multiprocessing does it, so that a pool which nobody ended ends before its interpreter does.
        self._terminate = util.Finalize(self, _terminate, args=(self._session, self._private, self._watch, self._jobs,
                                                                self._callbacks, self._results, self._lock),
                                        exitpriority=15)
        self._state = RUN

    def _start_private(self, initializer, initargs, maxtasksperchild, max_crashes):
        self._private = PrivateMtd()
        try:
            path = os.path.join(self._private.directory, "start")
            self._spool = os.path.join(self._private.directory, "spool")
            os.mkdir(self._spool, 0o700)
            # It holds the environment and the authentication key: nobody else's business.
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                pickle.dump(preparation(self._spool), file)
                file.write(ForkingPickler.dumps((initializer, tuple(initargs))))
            self._private.start(configuration(self._processes, path, maxtasksperchild, max_crashes))
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
        if self._private is not None:
            self._private.takes_its_time = True  # workers end as their programs do
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
            threading.Thread(target=feed_one, args=(job,), name="mtd-pool_feed", daemon=True).start()
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
                return [WorkerHandle(pid) for pid in pids]
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
            except (OSError, ConnectionLost):
                return

    def _repopulate_pool(self):
        """mtd does it by itself."""


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
