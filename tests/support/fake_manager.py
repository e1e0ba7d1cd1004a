"""A control socket that answers as a test tells it to, for tests of mtctl without a daemon.

FakeManager(path, answers) serves until close(). `answers` maps a method ("Status") to a list of
replies, or to a function of the parameters that gives one. A reply is (parameters,), an error is
(name, parameters); HANG never answers, CLOSE closes the connection. A generator of replies is a stream
whose end never comes. Calls are kept in `calls`.
"""
import json
import os
import socket
import threading

HANG = object()
CLOSE = object()


class FakeManager:
    def __init__(self, path, answers):
        self.path = path
        self.answers = answers
        self.calls = []
        self._connections = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        for connection in self._connections:
            connection.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection):
        pending = b""
        try:
            while True:
                data = connection.recv(65536)
                if not data:
                    return
                pending += data
                while b"\0" in pending:
                    message, pending = pending.split(b"\0", 1)
                    self._answer(connection, json.loads(message))
        except OSError:
            return

    def _answer(self, connection, call):
        method = call["method"].rsplit(".", 1)[1]
        parameters = call.get("parameters", {})
        self.calls.append((method, parameters))
        replies = self.answers.get(method, [("org.varlink.service.MethodNotFound", {"method": method})])
        if callable(replies):
            replies = replies(parameters)
        for number, reply in enumerate(replies):
            if reply is HANG:
                return
            if reply is CLOSE:
                connection.shutdown(socket.SHUT_RDWR)
                return
            if isinstance(reply, bytes):
                connection.sendall(reply)
                continue
            message = {"parameters": reply[-1]}
            if len(reply) == 2:
                message["error"] = reply[0]
            elif call.get("more") and (not isinstance(replies, list) or number + 1 < len(replies)):
                message["continues"] = True
            connection.sendall(json.dumps(message).encode() + b"\0")
