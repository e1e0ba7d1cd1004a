"""gunicorn as a worker of mtd: one process a slot, on the socket that mtd opened (LISTEN_FDS).

It says READY=1 by itself. Here it also tells whether it is busy, which dynamic pools live by.
"""
import os
import socket

workers = 1
graceful_timeout = 30


def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])


def post_worker_init(worker):
    tell("X_MTD_BUSY=0")


def pre_request(worker, request):
    tell("X_MTD_BUSY=1")


def post_request(worker, request, environ, response):
    tell("X_MTD_BUSY=0")
