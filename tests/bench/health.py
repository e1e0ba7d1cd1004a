#!/usr/bin/python3
"""health.py [--workers N] [--seconds S]: what probes and watchdogs cost.

N workers (1 000) run under mtd, once without anything, then with a probe of each kind and with a watchdog that
each worker feeds. The processor time that mtd's own processes take is read from /proc, that of the same time
without is taken off, and what is left is shared among the probes that were made. The last columns say what it
comes to with a period of 10 s, and how it compares with the cheapest: a connection to a unix socket.
MTD_BIN names a bin/ that is built already.
"""
import argparse
import os
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
from harness import Mtd, become_subreaper, compile_worker, cpu_seconds, pool  # noqa: E402

PERIOD_S = 10


class Acceptor:
    """Accepts whoever comes, counts, and answers HTTP without looking."""

    def __init__(self, listener, answers):
        self.listener, self.answers, self.count = listener, answers, 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            with peer:
                if self.answers:
                    peer.recv(4096)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def own_cpu(mtd):
    return cpu_seconds(mtd.main_pid()) + cpu_seconds(mtd.supervisor())


def run(keys, workers, command, seconds, counted):
    """Processor seconds of mtd, and what was counted, in so many seconds."""
    with Mtd({"web": pool(command, workers=workers, **keys)}) as mtd:
        mtd.until(lambda: mtd.pool("web")["ready"] == workers, 120)
        time.sleep(2)
        before, cpu = counted(), own_cpu(mtd)
        time.sleep(seconds)
        return own_cpu(mtd) - cpu, counted() - before


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--workers", type=int, default=1000)
    arguments.add_argument("--seconds", type=int, default=10)
    options = arguments.parse_args()
    become_subreaper()
    directory = tempfile.mkdtemp(prefix="mtd-health-")
    os.chmod(directory, 0o755)
    actor = compile_worker("actor.cpp", directory)
    sleeper = ["/bin/sleep", "infinity"]
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(directory + "/s")
    os.chmod(directory + "/s", 0o777)
    tcp, web = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    acceptors = []
    for listener, answers in ((unix, False), (tcp, False), (web, True)):
        listener.listen(4096)
        acceptors.append(Acceptor(listener, answers))

    def live(**kind):
        return {"probes": {"live": {"period": "1s", "timeout": "20s", "threshold": 100, **kind}}}
    at = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in (tcp, web)]
    made = os.path.join(directory, "made")
    rows = [("nothing", {}, sleeper, lambda: 0),
            ("unix", live(unix=directory + "/s"), sleeper, lambda: acceptors[0].count),
            ("tcp", live(tcp=at[0]), sleeper, lambda: acceptors[1].count),
            ("http", live(http=f"http://{at[1]}/"), sleeper, lambda: acceptors[2].count),
            ("exec", live(exec=["/bin/sh", "-c", f"echo >> {made}"], period="20s"), sleeper,
             lambda: os.path.getsize(made) if os.path.exists(made) else 0),
            ("watchdog", {"watchdog": "60s"}, [actor, "feed=1000"], None)]
    idle, cheapest = 0.0, None
    print(f"{options.workers} workers, {options.seconds} s each; processor time of keeper and supervisor")
    print(f"{'':10} {'made':>7} {'µs each':>8} {'% at 10 s':>10} {'× unix':>7}")
    for name, keys, command, counted in rows:
        def fed():
            return int(time.monotonic() * options.workers)
        used, count = run(keys, options.workers, command, options.seconds, counted or fed)
        if name == "nothing":
            idle = used
            print(f"{name:10} {'-':>7} {'-':>8} {used / options.seconds * 100:9.2f}%")
            continue
        each = max(0.0, used - idle) / max(1, count)
        cheapest = cheapest or each
        print(f"{name:10} {count:7d} {each * 1e6:8.1f} {each * options.workers / PERIOD_S * 100:9.2f}%"
              f" {each / cheapest if cheapest else 0:7.2f}")
    for listener in (unix, tcp, web):
        listener.close()
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
