#!/usr/bin/python3
"""rolling.py [--workers N]: how long a rolling reload of N workers (100) takes, and what of it is mtd's.

    MTD_BIN=build/release/bin tests/bench/rolling.py

The workers are ready as soon as they run (exec), or when they say so (notify), and end at TERM at once. Each row is
the median of five reloads; processor time is that of mtd's own processes, from /proc.
"""
import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
from harness import Mtd, become_subreaper, compile_worker, cpu_seconds, pool  # noqa: E402

ROUNDS = 5


def reloads(command, workers, ready, surge):
    """(seconds, processor seconds of mtd) of each reload."""
    spec = pool(command, workers=workers, overlap=True, ready=ready, min_uptime="0s", reload={"max_surge": surge})
    measured = []
    with Mtd({"web": spec}) as mtd:
        mtd.until(lambda: mtd.pool("web")["ready"] == workers, 120)
        for number in range(ROUNDS):
            before = set(mtd.pids("web"))
            mtd.pools["web"].setdefault("env", {})["ROUND"] = str(number)
            mtd.write_config()
            cpu, begin = cpu_seconds(mtd.main_pid()) + cpu_seconds(mtd.supervisor()), time.monotonic()
            mtd.ctl("reload")
            measured.append((time.monotonic() - begin, cpu_seconds(mtd.main_pid()) + cpu_seconds(mtd.supervisor()) - cpu))
            assert not before & set(mtd.pids("web")) and mtd.pool("web")["ready"] == workers
    return measured


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--workers", type=int, default=100)
    options = arguments.parse_args()
    become_subreaper()
    directory = tempfile.mkdtemp(prefix="mtd-b-")
    os.chmod(directory, 0o755)
    try:
        actor = compile_worker("actor.cpp", directory)
        print(f"{'ready':8} {'max_surge':>9} {'seconds':>9} {'a worker, ms':>13} {'of mtd, ms':>11}")
        for ready, words in (("exec", ["wait"]), ("notify", ["notify=READY=1", "wait"])):
            for surge in (1, 10):
                rounds = reloads([actor, *words], options.workers, ready, surge)
                seconds, cpu = (statistics.median(column) for column in zip(*rounds))
                print(f"{ready:8} {surge:9} {seconds:9.2f} {1000 * seconds / options.workers:13.1f} "
                      f"{1000 * cpu / options.workers:11.2f}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
