"""A worker with one task of each kind, for tests of clients."""
import os
import signal
import sys
import time

import mtd


@mtd.task
def add(a, b):
    return a + b


@mtd.task
def reverse():
    return mtd.current().body[::-1]


@mtd.task
def fail(message, retry=True):
    raise mtd.Fail(message, type="Wanted", retry=retry, delay=0)


@mtd.task
def third_time(path):
    """Fails twice."""
    with open(path, "a+", encoding="utf-8") as file:
        file.write("x")
        file.seek(0)
        if len(file.read()) < 3:
            raise ValueError("not yet")
    return mtd.current().attempt


@mtd.task
def die(how):
    if how == "exit":
        sys.exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


@mtd.task
def hold(path):
    """Until it is cancelled; says so in a file, and how far it is."""
    mtd.current().progress(1, 2, "holding")
    with open(path, "w", encoding="utf-8"):
        pass
    while not mtd.current().cancelled:
        time.sleep(0.005)  # as a task does that looks between its steps
    raise mtd.Fail(mtd.current().cancelled)


@mtd.task
def unprintable():
    return object()


@mtd.task
def large():
    return "x" * 70000


@mtd.task
def pid():
    return os.getpid()


if __name__ == "__main__":
    mtd.run(threads=int(sys.argv[1]) if len(sys.argv) > 1 else 1)
