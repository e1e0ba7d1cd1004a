#!/usr/bin/env python3
"""Takes jobs from a redis list and reports each finished one to mtd. Standard library only."""
import os
import signal
import socket
import sys
import time


def notify(text):
    """sd_notify(3): one datagram to the socket that the supervisor named."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), address.replace("@", "\0", 1))


def connect(path):
    for _ in range(100):  # redis-server may be starting just now
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
            return connection
        except OSError:
            time.sleep(0.1)
    sys.exit(f"no redis-server at {path}")


def main():
    state = {"waiting": False, "stop": False}

    def on_stop(_number, _frame):
        state["stop"] = True
        if state["waiting"]:
            sys.exit(0)

    signal.signal(signal.SIGTERM, on_stop)
    connection = connect("redis.sock")
    replies = connection.makefile("rb")
    notify("READY=1")
    while not state["stop"]:
        state["waiting"] = True
        connection.sendall(b"BLPOP %s 0\r\n" % os.environ["QUEUE"].encode())
        first = replies.readline()  # "*2", then two strings: the list and the job
        state["waiting"] = False
        if not first:
            sys.exit("redis-server has gone")
        job = [replies.read(int(replies.readline()[1:]) + 2) for _ in range(2)][1].strip()
        time.sleep(0.001 * (1 + job[-1] % 3))  # the work
        notify("X_MTD_TASKS=+1")
    sys.exit(0)


main()
