#!/usr/bin/python3
"""task_pools.py POOL WORKERS CHUNK SECONDS WORK_US [--latency]: Python's own pools and mtd.Pool, one JSON object.

POOL: multiprocessing, executor (concurrent.futures.ProcessPoolExecutor) or mtd. Tasks come from a generator until the
time is over: by imap_unordered, or map of the executor; with --latency one at a time, each waited for.
"""
import concurrent.futures
import json
import multiprocessing
import sys
import time


def nothing(number):
    return number


class Nap:
    def __init__(self, microseconds):
        self.seconds = microseconds / 1e6

    def __call__(self, number):
        time.sleep(self.seconds)  # this is the task
        return number


def numbers(end):
    number = 0
    while time.monotonic() < end:
        yield number
        number += 1


def executor_rate(pool, task, chunk, end):
    """map() of an executor takes all of its input first: in rounds of so many."""
    done, size = 0, 64 * chunk
    while time.monotonic() < end:
        done += len(list(pool.map(task, range(size), chunksize=chunk)))
    return done


def rate(pool, is_executor, task, chunk, seconds):
    begin = time.monotonic()
    if is_executor:
        done = executor_rate(pool, task, chunk, begin + seconds)
    else:
        results = pool.imap_unordered(task, numbers(begin + seconds), chunksize=chunk)
        done = sum(1 for _ in results)
    return {"tasks": done, "per_second": round(done / (time.monotonic() - begin))}


def latency(pool, is_executor, task, seconds):
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.perf_counter_ns()
        if is_executor:
            pool.submit(task, 0).result()
        else:
            pool.apply(task, (0,))
        took.append((time.perf_counter_ns() - before) / 1000)
    took.sort()
    return {"tasks": len(took), "per_second": round(len(took) / seconds), "p50_us": took[len(took) // 2],
            "p99_us": took[int(len(took) * 0.99)]}


def main():
    name, workers, chunk, seconds, work_us = (sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]),
                                              int(sys.argv[5]))
    if name == "mtd":
        import mtd
        pool = mtd.Pool(workers)
    elif name == "executor":
        pool = concurrent.futures.ProcessPoolExecutor(workers)
    else:
        pool = multiprocessing.Pool(workers)
    task = Nap(work_us) if work_us else nothing
    with pool:
        list(pool.map(nothing, range(200)))
        if "--latency" in sys.argv:
            found = latency(pool, name == "executor", task, seconds)
        else:
            found = rate(pool, name == "executor", task, chunk, seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
