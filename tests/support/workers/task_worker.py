"""A worker of mtd-task/1 for tests, in nothing but the protocol. args[0] of a task says what it does:

echo X…      its args are the result                  fail T [retry]  error message T
exit N       the process ends                         signal N        it kills itself
hold PATH    says so in REPORT, then waits until the file is there (or a cancel comes), then echoes
body         its body is the result's body            size N          a body of N bytes
nonsense     writes what is no frame                  half            half of an answer, then its end
parts N PATH N bytes in parts; says so in REPORT after half of them, and goes on when the file is there
deaf         closes its socket, and lives on          leave          the same after its answer
eat N        takes N MiB of memory                     last N         answers, and then kills itself with N
stop         it suspends itself
long         a line that is too long                   stranger       answers for a task of somebody else, then its own
twice        answers twice                            chaos N         a line in LEDGER; one in fifty attempts kills the worker

REPORT gets a datagram for each event: begin {id, attempt}, cancel {id}, drain.
"""
import json
import os
import select
import signal
import socket
import sys
import time

sock = socket.socket(fileno=int(os.environ["MTD_TASK_FD"]))
CREDIT = int(os.environ.get("CREDIT", "1"))
PART = 60 * 1024
had = []
later = []  # frames that came while a task was being held
buffer = b""


def report(what, **members):
    path = os.environ.get("REPORT")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(json.dumps({"what": what, "pid": os.getpid(), **members}).encode(), path)


def send(message, body=None, halfway=None):
    if body is not None and (len(body) > PART or halfway):
        parts = [body[i:i + PART] for i in range(0, len(body), PART)]
        for number, part in enumerate(parts):
            if halfway and number == len(parts) // 2:
                halfway()
            send({"t": "part", "id": message["id"], "attempt": message["attempt"], "part": number, "of": len(parts)}, part)
        return send({**message, "parts": len(parts)})
    if body is not None:
        message = {**message, "body": len(body)}
    sock.sendall(json.dumps(message).encode() + b"\n" + (body or b""))


def frames(timeout=None):
    """The frames that have come; waits for the first one."""
    global buffer
    while True:
        while b"\n" in buffer:
            line, rest = buffer.split(b"\n", 1)
            message = json.loads(line)
            size = message.get("body", 0)
            if len(rest) < size:
                break
            buffer = rest[size:]
            yield message, rest[:size]
        if timeout is not None and not select.select([sock], [], [], timeout)[0]:
            return
        more = sock.recv(1 << 16)
        if not more:
            sys.exit(0)
        buffer += more


def answer(task, body):
    head = {"id": task["id"], "attempt": task["attempt"]}
    args = task["args"] or ["echo"]
    what = args[0]
    if what == "exit":
        os._exit(int(args[1]))
    if what == "signal":
        os.kill(os.getpid(), int(args[1]))
    if what == "fail":
        return send({"t": "fail", **head, "error": {"type": "Test", "message": args[1]}, "retry": len(args) > 2, "delay_ms": 1})
    if what == "nonsense":
        return sock.sendall(b"this is no frame\n")
    if what == "half":
        sock.sendall(b'{"t":"done","id":%d,"att' % task["id"])
        os._exit(0)
    if what == "body":
        return send({"t": "done", **head}, body)
    if what == "size":
        return send({"t": "done", **head}, b"x" * int(args[1]))
    if what == "parts":
        def halfway():
            report("half", id=task["id"])
            while not os.path.exists(args[2]):
                time.sleep(0.01)  # the test says by a file that it may go on
        return send({"t": "done", **head}, bytes(i % 251 for i in range(args[1])), halfway)
    if what == "eat":
        eaten = bytearray(args[1] << 20)
        return send({"t": "done", **head, "result": len(eaten)})
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "last":
        send({"t": "done", **head, "result": args[1:]})
        os.kill(os.getpid(), args[1])
    if what == "long":
        return sock.sendall(b'{"t":"done","result":"' + b"x" * (70 << 10) + b'"}\n')
    if what == "stranger":
        send({"t": "done", "id": head["id"] + 1000, "attempt": 1, "result": "mine"})
    if what in ("deaf", "leave"):
        if what == "leave":
            send({"t": "done", **head, "result": args[1:]})
        sock.close()
        while True:
            signal.pause()
    if what == "hold":
        while not os.path.exists(args[1]):
            for message, body in frames(0.02):
                if message["t"] == "cancel":
                    report("cancel", id=message["id"])
                    if len(args) < 3:
                        return send({"t": "fail", **head, "error": {"message": "cancelled"}, "cancelled": True})
                elif message["t"] == "drain":
                    report("drain")
                else:
                    later.append((message, body))
    if what == "chaos":
        ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(ledger, b"%d %d %d\n" % (args[1], task["id"], task["attempt"]))
        os.close(ledger)
        if hash((args[1], task["attempt"])) % 50 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return send({"t": "done", **head, "result": args[1] * args[1]})
    send({"t": "done", **head, "result": args[1:]})
    if what == "twice":
        send({"t": "done", **head, "result": args[1:]})


def main():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    send({"t": "ready", "proto": 1, "credit": CREDIT, "capabilities": ["body", "cancel", "progress"]})
    parts = {}
    while True:
        message, body = later.pop(0) if later else next(frames())
        kind = message["t"]
        if kind == "part":
            parts.setdefault((message["id"], message["attempt"]), {})[message["part"]] = body
        elif kind == "task":
            key = (message["id"], message["attempt"])
            if message.get("again") and key in had:
                continue
            had.append(key)
            del had[:-64]
            if "parts" in message:
                came = parts.pop(key)
                body = b"".join(came[i] for i in range(message["parts"]))
            report("begin", id=key[0], attempt=key[1])
            answer(message, body)
        elif kind == "drain":
            report("drain")
        elif kind == "ping":
            send({"t": "beat"})


main()
