#!/usr/bin/python3
"""A web server on a socket that mtd opened and all workers of the pool share.

The socket is descriptor 3, as sd_listen_fds(3) says. Each worker takes one connection at a time; on TERM it
finishes what it has begun and leaves the rest to the others.
"""
import http.server
import os
import selectors
import signal
import socket


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 10  # seconds for a client that does not go on

    def do_GET(self):
        body = f"worker {os.environ['MTD_WORKER']}, pid {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])


def main():
    assert os.environ.get("LISTEN_PID") == str(os.getpid()), "started by something that passes no sockets"
    listener = socket.socket(fileno=3)
    listener.setblocking(False)  # several workers wait for the same connection, and one gets it
    wake, stop = socket.socketpair()
    stop.setblocking(False)
    signal.set_wakeup_fd(stop.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)  # the byte in `wake` says it
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(wake, selectors.EVENT_READ)
    tell("READY=1")
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        if wake in ready:
            return
        try:
            client, address = listener.accept()
        except BlockingIOError:
            continue
        client.setblocking(True)
        with client:
            Handler(client, address, None)


main()
