"""What the benchmark reads from the outside: start records, the process tree, memory, wake-ups.

Nothing here knows which supervisor runs. Everything that was started is a descendant of this process
(it is a child subreaper), and `end_all` ends exactly those, by pid.
"""
import ctypes
import os
import select
import signal
import struct
import time

RECORD = struct.Struct("<QII")
PR_SET_CHILD_SUBREAPER = 36


def now_ns():
    return time.monotonic_ns()


def become_subreaper():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def quantile(values, fraction):
    ordered = sorted(v for v in values if v is not None)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else None


def median(values):
    return quantile(values, 0.5)


class StartLog:
    """The file every worker appends one record to when it runs: when, which pid, which id."""

    def __init__(self, path):
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.chmod(path, 0o666)
        self.pid_of = {}
        self.records = 0

    def close(self):
        os.close(self._fd)

    def poll(self):
        fresh = []
        while True:
            block = os.read(self._fd, RECORD.size * 4096)
            if not block:
                break
            fresh += RECORD.iter_unpack(block)
        for _, pid, ident in fresh:
            self.pid_of[ident] = pid
        self.records += len(fresh)
        return fresh

    def wait_for(self, count, seconds, step=0.002):
        """The next `count` records, or fewer when the time is over."""
        found, end = [], time.monotonic() + seconds
        while len(found) < count and time.monotonic() < end:
            fresh = self.poll()
            found += fresh
            if not fresh:
                reap()
                time.sleep(step)
        return found

    def wait_for_id(self, ident, seconds, step=0.0004):
        """When worker `ident` next says that it runs (ns), or None."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for started, _, who in self.poll():
                if who == ident:
                    return started
            reap()
            time.sleep(step)
        return None


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def descendants():
    """Every living process below this one."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as stat:
                fields = stat.read().rpartition(") ")[2].split()
        except OSError:
            continue
        if fields and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [os.getpid()]
    while todo:
        for child in children.get(todo.pop(), ()):
            found.append(child)
            todo.append(child)
    return found


def runs(pid, program):
    try:
        return os.path.samefile(f"/proc/{pid}/exe", program)
    except OSError:
        return False


def supervisors(worker, besides=()):
    return [pid for pid in descendants() if pid not in besides and not runs(pid, worker)]


def end_all(keep=()):
    """Ends every descendant, however often it forks; returns how many there were at first."""
    first = None
    for _ in range(100):
        left = [pid for pid in descendants() if pid not in keep]
        first = len(left) if first is None else first
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        time.sleep(0.02)
    reap()
    return first


def pss_kib(pids):
    """Proportional set size of these processes together; shared pages count once."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def activity(pids):
    """(voluntary context switches, CPU ns) of all threads: what a sleeper that wakes up shows."""
    switches = cpu_ns = 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                base = f"/proc/{pid}/task/{task}"
                with open(base + "/schedstat") as stat:
                    cpu_ns += int(stat.read().split()[0])
                with open(base + "/status") as status:
                    switches += sum(int(line.split()[1]) for line in status
                                    if line.startswith("voluntary_ctxt_switches"))
        except OSError:
            pass
    return switches, cpu_ns


class Departures:
    """Watches processes by pidfd: when did the last one go, and who is still here."""

    def __init__(self, pids):
        self._epoll = select.epoll()
        self._pids = {}
        for pid in pids:
            try:
                fd = os.pidfd_open(pid)
            except OSError:
                continue
            self._pids[fd] = pid
            self._epoll.register(fd, select.EPOLLIN)

    def wait(self, seconds):
        end, last = time.monotonic() + seconds, None
        while self._pids and time.monotonic() < end:
            for fd, _ in self._epoll.poll(0.1, 512):
                last = now_ns()
                self._epoll.unregister(fd)
                os.close(fd)
                del self._pids[fd]
            reap()
        left = sorted(self._pids.values())
        for fd in self._pids:
            os.close(fd)
        self._epoll.close()
        return last, left
