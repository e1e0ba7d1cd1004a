"""The worker of mtd.Pool: becomes like the process that made the pool, then calls what it is told to.

It runs one call at a time. Whatever goes wrong before the first call, such as an initializer that raises, is the answer
to every call: nobody waits for ever, and nothing is started over and over again.
"""
import gc
import os
import pickle
import traceback
from multiprocessing import process, spawn, util
from multiprocessing.pool import ExceptionWithTraceback, MaybeEncodingError
from multiprocessing.reduction import ForkingPickler

from . import _payload
from .worker import Connection, Worker


class PoolWorker(Worker):
    """A Worker whose tasks are pickled calls."""

    def __init__(self, spool, failure):
        super().__init__()
        self._spool = spool
        self._failure = failure

    def _answer(self, task):
        success, value = self._call(task.body)
        body = self._encode(success, value)
        return {"t": "done", "id": task.id, "attempt": task.attempt}, body

    def _call(self, body):
        if self._failure is not None:
            return False, self._failure
        try:
            function, args, kwds = pickle.loads(_payload.unpack(body))
            return True, function(*args, **kwds)
        except Exception as error:
            return False, _with_trace(error)

    def _encode(self, success, value):
        try:
            data = bytes(ForkingPickler.dumps((success, value)))
        except Exception as error:
            wrapped = MaybeEncodingError(error, value)
            data = pickle.dumps((False, wrapped))
        return _payload.pack(data, self._spool, 1 << 40)


def _with_trace(error):
    # multiprocessing's own, whose unpickling makes the trace the cause of the error. Not for errors of the iterable.
    return ExceptionWithTraceback(error, error.__traceback__)


def prepare(path):
    """Becomes like the process that wrote `path`. Returns the spool directory, and what went wrong or None."""
    with open(path, "rb") as file:
        data = pickle.load(file)
        own = {name: value for name, value in os.environb.items() if name.startswith(b"MTD_") or name == b"NOTIFY_SOCKET"}
        os.environb.clear()
        os.environb.update(data["environment"])
        os.environb.update(own)
        # A main module that makes a pool when it is imported is told so, instead of starting pools for ever.
        process.current_process()._inheriting = True
        try:
            spawn.prepare(data["spawn"])
            initializer, initargs = pickle.load(file)
            del process.current_process()._inheriting
            if initializer is not None:
                initializer(*initargs)
        except Exception as error:
            traceback.print_exc()
            return data["spool"], _with_trace(error)
    return data["spool"], None


def main(preparation=None):
    connection = Connection.from_environment()  # first: what is started later must not inherit it
    spool, failure = prepare(preparation) if preparation else (None, None)
    gc.collect()
    worker = PoolWorker(spool, failure)
    try:
        worker.run(connection=connection)
    finally:
        util._exit_function()
