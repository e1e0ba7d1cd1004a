"""What imap and imap_unordered of mtd.Pool give at once: iterators over results that come later."""
import collections
import threading
from multiprocessing import TimeoutError

from . import _payload
from ._pool_results import WINDOW
from .errors import Error


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
