#!/usr/bin/python3
"""clients.py SOCKET COUNT: that many control clients, each streaming events, until TERM.

Prints one line "connected N" when all streams are open, and reads and drops what comes.
"""
import json
import resource
import select
import signal
import socket
import sys

CALL = json.dumps({"method": "io.mtd.Manager.Events", "parameters": {"follow": True}, "more": True}).encode() + b"\0"


def main():
    path, count = sys.argv[1], int(sys.argv[2])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    epoll, clients = select.epoll(), {}
    for _ in range(count):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(path)
            client.sendall(CALL)
        except OSError as error:
            print(f"client {len(clients)}: {error}", file=sys.stderr)
            break
        client.setblocking(False)
        clients[client.fileno()] = client
        epoll.register(client, select.EPOLLIN)
    print(f"connected {len(clients)}", flush=True)
    while clients:
        for fd, _ in epoll.poll(-1, 1024):
            try:
                alive = clients[fd].recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                alive = b""
            if not alive:
                epoll.unregister(fd)
                clients.pop(fd).close()
    sys.exit("the daemon closed every client")


main()
