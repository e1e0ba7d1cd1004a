"""What /proc says of processes, and waiting for what the kernel tells nobody."""
import collections
import contextlib
import ctypes
import os
import re
import select
import time

PATIENCE = float(os.environ.get("MTD_TEST_PATIENCE", "20"))  # seconds for one thing to happen
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    """What a daemon loses becomes our child, and is found."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def stat_of(pid):
    """(state, ppid) or None."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(") ")[2].split()
        return fields[0], int(fields[1])
    except (OSError, IndexError):
        return None


def is_alive(pid):
    found = stat_of(pid)
    return found is not None and found[0] not in "ZX"


def children_map():
    tree = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            found = stat_of(name)
            if found:
                tree.setdefault(found[1], []).append(int(name))
    return tree


def descendants(root=None):
    tree, found, todo = children_map(), [], [root or os.getpid()]
    while todo:
        for child in tree.get(todo.pop(), ()):
            found.append(child)
            todo.append(child)
    return found


def wait_gone(pid, seconds=None):
    """True when the process has ended (reaped or not) within the time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll((PATIENCE if seconds is None else seconds) * 1000))
    finally:
        os.close(fd)


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


def descriptor_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def descriptors(pid):
    """What a process has open, as a Counter of names. A pool's directory, kept from its first start on, is left out."""
    found = collections.Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            name = os.readlink(f"/proc/{pid}/fd/{number}")
            if not re.search(r"/pools/[^/]+$|^/memfd:mtd-older ", name):
                found[re.sub(r":\[\d+\]$", "", name)] += 1
    return found


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what))


def cgroup2_mount():
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    return None


class Stopwatch:
    """How long something takes, less what these processes waited for a processor meanwhile.

    So a bound of it holds on a busy machine, too; what a process does itself, or waits for, counts in full.
    """

    def __init__(self, *pids):
        self._pids = {os.getpid(), *pids}
        self._before = {pid: self._waited(pid) for pid in self._pids}
        self._begin = time.monotonic()

    @staticmethod
    def _waited(pid):
        """Seconds in a run queue, over all threads; 0 where the kernel does not count them."""
        total = 0
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                    total += int(file.read().split()[1])
        return total / 1e9

    def seconds(self, *born):
        """`born`: processes that were started since, and count like the others."""
        wall = time.monotonic() - self._begin
        waited = sum(self._waited(pid) - self._before[pid] for pid in self._pids) + sum(map(self._waited, born))
        return wall - max(0.0, waited)


def eventually(condition, seconds=None, what=""):
    """For what the kernel tells nobody: asks again until it is so. Returns the first true value."""
    end = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within the time: {what or condition}"
        time.sleep(0.01)
