"""How calls and results of mtd.Pool travel: as pickles in the bodies of tasks, large ones through a file."""
import os
import pickle
import tempfile

from .errors import Error, TaskFailed

LARGE = 256 * 1024   # bytes; a private pool writes more than that to its spool directory


def pack(data, spool, limit):
    """The body for pickled `data`."""
    if spool is None or len(data) <= LARGE:
        if len(data) + 1 > limit:
            raise Error(f"a pickle of {len(data)} bytes is more than the pool takes ({limit}: max_body)")
        return b"P" + data
    fd, path = tempfile.mkstemp(dir=spool)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    return b"F" + os.fsencode(path)


def is_file(body):
    return body[:1] == b"F"


def remove(body):
    """The file of a body is no longer needed."""
    try:
        os.unlink(body[1:])
    except OSError:
        pass  # the whole directory may be gone


def unpack(body):
    """The pickle of a body."""
    if not is_file(body):
        return memoryview(body)[1:]
    with open(body[1:], "rb") as file:
        return file.read()


def result(body):
    """(success, value) of what a worker answered. Never raises: what cannot be read is a failure."""
    try:
        data = unpack(body)
        if is_file(body):
            remove(body)
        return pickle.loads(data)
    except Exception as error:
        return False, TaskFailed(f"the answer of the worker cannot be unpickled: {type(error).__name__}: {error}",
                                 type=type(error).__name__, reason="failure")


class Keeping:
    """A function with its mapper, for keep_going()."""

    def __init__(self, function, mapper):
        self.function = function
        self.mapper = mapper


def keep_going(call):
    """In the worker: results of a chunk, exceptions in the places of the items that raised them."""
    keeping, items = call
    results = []
    for item in items:
        try:
            results += keeping.mapper((keeping.function, (item,)))
        except Exception as error:
            error.__traceback__ = None
            results.append(error)
    return results
