"""What the threads of a mtd.Pool run: one hands in tasks, one calls back. Neither holds the pool, which may be collected."""
import sys
import threading


def feed_jobs(jobs):
    while True:
        job = jobs.get()
        if job is None:
            return
        feed_one(job)
        del job


def feed_one(job):
    result, *rest = job
    result._feed(*rest)


def call_callbacks(callbacks):
    while True:
        item = callbacks.get()
        if item is None:
            return
        callback, value, then = item
        try:
            callback(value)
        except BaseException:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        then()
        del item, callback, value, then
