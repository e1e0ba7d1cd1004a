"""gunicorn as a worker of mtd: one process a slot, on the socket that mtd opened (LISTEN_FDS).

Its master would say READY=1 before its worker is there. Here the worker says so, once it can be asked to end as well: a
worker that is asked before that goes on, and is killed in the middle of a request when graceful_timeout is over. It also
tells whether it is busy, which dynamic pools live by.
"""
import os
import socket

workers = 1
graceful_timeout = 30
NOTIFY_SOCKET = os.environ.pop("NOTIFY_SOCKET", None)


def tell(text):
    if NOTIFY_SOCKET is None:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(text.encode(), NOTIFY_SOCKET)


def post_worker_init(worker):
    tell("READY=1\nX_MTD_BUSY=0")


def pre_request(worker, request):
    tell("X_MTD_BUSY=1")


def post_request(worker, request, environ, response):
    tell("X_MTD_BUSY=0")
