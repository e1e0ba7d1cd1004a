"""What a call and a map of mtd.Pool give at once: results that come later."""
import threading
from multiprocessing import TimeoutError

from . import _payload
from .errors import Error

WINDOW = 1024            # tasks that are with mtd at a time


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
