#!/usr/bin/env python3
"""A stand-in for mtd with task queues, for tests of clients and of mtctl without the daemon.

    fake_mtd.py --config FILE --runtime-dir DIR [--state-dir DIR] [--ready-fd N] [--log-level L]

It speaks io.mtd.Tasks with its frames, mtd-task/1 to its workers, and as much of io.mtd.Manager as clients use (Status,
Events). One thread, everything in memory; a worker's end is answered as mtd answers it. SIGUSR1 drops all client
connections, and SIGUSR2 also forgets every task: a broker that dies, with and without its store.
"""
import argparse
import collections
import heapq
import itertools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time

STATES = ("scheduled", "waiting", "running", "done", "dead", "cancelled", "expired")
MAX_BODY = 8 << 20
LINE = 65536


def now_ms():
    return int(time.time() * 1000)


class Task:
    def __init__(self, number, pool, put):
        self.id, self.pool, self.put = number, pool, put
        self.body = put.pop("_body", None)
        self.state, self.attempt, self.failures, self.crashes = "waiting", 0, 0, 0
        self.created, self.finished = now_ms(), None
        self.reason, self.error, self.result, self.result_body = "", None, None, None
        self.extra, self.worker, self.watchers, self.cancel, self.history = {}, None, [], None, []
        self.deadline = None

    @property
    def is_over(self):
        return self.state in STATES[3:]

    def as_json(self, history=False):
        found = {"id": self.id, "uid": self.put.get("uid"), "pool": self.pool.name, "name": self.put.get("name"),
                 "group": self.put.get("group"), "state": self.state, "attempt": self.attempt,
                 "failures": self.failures, "crashes": self.crashes, "recoveries": 0,
                 "priority": self.put.get("priority", 0), "created_ms": self.created, "finished_ms": self.finished,
                 "reason": self.reason or None, "error": self.error,
                 "worker": self.worker.name if self.worker else None, "history": self.history if history else None}
        return {key: value for key, value in found.items() if value is not None}

    def end_frame(self, seq):
        frame = {"t": "end", "seq": seq, "id": self.id, "state": self.state, "reason": self.reason,
                 "attempts": self.attempt, **self.extra}
        if self.error is not None:
            frame["error"] = self.error
        if self.state == "done" and self.result_body is None:
            frame["result"] = self.result
        return frame, self.result_body


class Stream:
    """Frames or Varlink messages over a non-blocking socket."""

    def __init__(self, mtd, sock, take, lost):
        self.mtd, self.sock, self.take, self.lost = mtd, sock, take, lost
        self.buffer, self.out, self.is_framed, self.message = bytearray(), bytearray(), False, None
        self.parts = {}
        sock.setblocking(False)
        mtd.watch(sock, self.ready)

    def send(self, message, body=None):
        if self.is_framed:
            line = json.dumps({**message, "body": len(body)} if body is not None else message,
                              separators=(",", ":")).encode() + b"\n"
            self.out += line + (body or b"")
        else:
            self.out += json.dumps(message).encode() + b"\0"
        self.flush()

    def send_to_worker(self, message, body):
        if body is not None and len(body) > 60000:
            pieces = [body[at:at + 60000] for at in range(0, len(body), 60000)]
            for number, piece in enumerate(pieces):
                self.send({"t": "part", "id": message["id"], "attempt": message["attempt"], "part": number,
                           "of": len(pieces)}, piece)
            self.send({**message, "parts": len(pieces)})
        else:
            self.send(message, body)

    def flush(self):
        try:
            while self.out:
                del self.out[:self.sock.send(self.out[:1 << 18])]
        except BlockingIOError:
            pass
        except OSError:
            self.out.clear()
        self.mtd.watch(self.sock, self.ready, bool(self.out))

    def ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.flush()
        if events & selectors.EVENT_READ:
            self.read()

    def read(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self.lost(self)
            return
        self.buffer += data
        while self.sock.fileno() >= 0 and self.next():
            pass

    def next(self):
        if not self.is_framed:
            end = self.buffer.find(b"\0")
            if end < 0:
                return False
            message = json.loads(self.buffer[:end])
            del self.buffer[:end + 1]
            self.take(self, message, None)
            return True
        if self.message is None:
            end = self.buffer.find(b"\n")
            if end < 0:
                return False
            self.message = json.loads(self.buffer[:end])
            del self.buffer[:end + 1]
        size = self.message.get("body", 0)
        if len(self.buffer) < size:
            return False
        message, self.message = self.message, None
        body = bytes(self.buffer[:size]) if "body" in message else None
        del self.buffer[:size]
        key = (message.get("id"), message.get("attempt"))
        if message["t"] == "part":
            self.parts.setdefault(key, {})[message["part"]] = body
            return True
        if "parts" in message:
            pieces = self.parts.pop(key)
            body = b"".join(pieces[number] for number in range(message["parts"]))
        self.take(self, message, body)
        return True

    def close(self):
        if self.sock.fileno() >= 0:
            self.mtd.unwatch(self.sock)
            self.sock.close()


class Worker:
    def __init__(self, mtd, pool, slot, incarnation):
        self.mtd, self.pool, self.slot, self.name = mtd, pool, slot, f"{pool.name}/{slot}"
        self.tasks, self.credit, self.is_ready, self.is_leaving, self.given = {}, 0, False, False, 0
        self.planned = False
        ours, theirs = socket.socketpair()
        keep = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
        keep.update({name: os.environ[name] for name in pool.spec.get("env_pass", []) if name in os.environ})
        keep.update(pool.spec.get("env", {}))
        keep.update({"MTD_TASK_FD": str(theirs.fileno()), "MTD_TASK_PROTO": "1", "MTD_POOL": pool.name,
                     "MTD_WORKER": self.name, "MTD_WORKER_ID": str(slot), "MTD_INCARNATION": str(incarnation)})
        self.process = subprocess.Popen(pool.command, env=keep, cwd=pool.spec.get("cwd"), stdin=subprocess.DEVNULL,
                                        pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self.stream = Stream(mtd, ours, self.take, lambda stream: None)
        self.stream.is_framed = True
        self.pidfd = os.pidfd_open(self.process.pid)
        mtd.watch(self.pidfd, self.ended)
        mtd.tell(pool, self, "started")

    def take(self, _stream, message, body):
        kind = message["t"]
        if kind == "ready":
            self.is_ready, self.credit = True, message.get("credit", 1)
            self.mtd.tell(self.pool, self, "ready")
        elif kind in ("done", "fail"):
            task = self.tasks.pop(message["id"], None)
            if task is not None and task.attempt == message["attempt"]:
                self.pool.answered(task, message, body)
        elif kind == "progress":
            task = self.tasks.get(message["id"])
            for client, seq in task.watchers if task else ():
                client.stream.send({**message, "seq": seq})
        elif kind == "recycle":
            self.leave()
        self.pool.dispatch()

    def give(self, task):
        self.given += 1
        task.state, task.worker, task.attempt = "running", self, task.attempt + 1
        self.tasks[task.id] = task
        message = {"t": "task", "id": task.id, "attempt": task.attempt, "args": task.put.get("args", [])}
        if task.put.get("name"):
            message["name"] = task.put["name"]
        limit = task.put.get("timeout_ms") or self.pool.timeout_ms
        if limit:
            message["timeout_ms"] = limit
            task.deadline = time.monotonic() + limit / 1000
            self.mtd.later(task.deadline, lambda task=task, attempt=task.attempt: self.pool.timed_out(task, attempt))
        self.stream.send_to_worker(message, task.body)
        if self.pool.max_tasks and self.given >= self.pool.max_tasks:
            self.leave()

    def leave(self):
        if not self.is_leaving:
            self.is_leaving = self.planned = True
            self.stream.send({"t": "drain"})

    def kill(self, number=signal.SIGKILL):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def ended(self, _events):
        while self.stream.sock.fileno() >= 0 and self.readable():
            self.stream.read()
        self.stream.close()
        self.mtd.unwatch(self.pidfd)
        os.close(self.pidfd)
        code = self.process.wait()
        self.kill()
        self.pool.lost(self, code)

    def readable(self):
        poller = selectors.PollSelector()
        poller.register(self.stream.sock, selectors.EVENT_READ)
        return bool(poller.select(0))


class Pool:
    def __init__(self, mtd, name, spec):
        self.mtd, self.name, self.spec, self.tasks_spec = mtd, name, spec, spec.get("tasks", {})
        self.want = spec.get("workers", 1)
        self.command = [word.replace("$$", "$") for word in spec["command"]]
        mode = self.tasks_spec.get("mode", "task")
        if mode in ("exec", "filter"):
            self.command = [os.environ["MTD_WORKER_PROGRAM"], mode, "--", *self.command]
        recycle = spec.get("recycle", {})
        self.max_tasks = recycle.get("maxtasksperchild") or recycle.get("max_tasks")
        self.timeout_ms = milliseconds(self.tasks_spec.get("timeout"))
        self.max_queue = self.tasks_spec.get("max_queue", 100000)
        self.workers, self.waiting, self.blocked, self.incarnations = [], collections.deque(), collections.deque(), 0
        self.is_paused = self.is_closed = False
        self.counts = collections.Counter()
        self.starts_in_a_row = 0

    def start(self):
        while len([worker for worker in self.workers if not worker.is_leaving]) < self.want:
            self.incarnations += 1
            taken = {worker.slot for worker in self.workers if not worker.is_leaving}
            slot = next(number for number in itertools.count() if number not in taken)
            self.workers.append(Worker(self.mtd, self, slot, self.incarnations))

    def put(self, client, put):
        tasks = self.mtd.tasks
        old = tasks.get(self.mtd.uids.get(put.get("uid")))
        if old is not None:
            client.accept(old, put, existed=True)
            return
        if self.is_closed:
            client.refuse(put["seq"], "NotAccepting", f"pool {self.name} takes no tasks now")
            return
        if len(self.waiting) >= self.max_queue:
            block = put.get("block_ms", -1 if self.tasks_spec.get("on_full") == "block" else 0)
            if block == 0:
                client.refuse(put["seq"], "QueueFull", f"the queue of {self.name} is full ({self.max_queue})")
                return
            self.blocked.append((client, put))
            if block > 0:
                self.mtd.later(time.monotonic() + block / 1000, lambda: self.give_up(client, put))
            return
        task = Task(next(self.mtd.numbers), self, put)
        tasks[task.id] = task
        if put.get("uid"):
            self.mtd.uids[put["uid"]] = task.id
        client.accept(task, put)
        if put.get("delay_ms"):
            task.state = "scheduled"
            self.mtd.later(time.monotonic() + put["delay_ms"] / 1000, lambda: self.wake(task))
        else:
            self.waiting.append(task)
        self.dispatch()

    def give_up(self, client, put):
        if (client, put) in self.blocked:
            self.blocked.remove((client, put))
            client.refuse(put["seq"], "QueueFull", f"the queue of {self.name} is full ({self.max_queue})")

    def wake(self, task):
        if task.state == "scheduled":
            task.state = "waiting"
            self.waiting.append(task)
            self.dispatch()

    def dispatch(self):
        self.start()
        for worker in self.workers:
            while not self.is_paused and self.waiting and worker.is_ready and not worker.is_leaving and \
                    len(worker.tasks) < worker.credit:
                best = min(self.waiting, key=lambda task: task.put.get("priority", 0)) if any(
                    task.put.get("priority") for task in self.waiting) else self.waiting[0]
                self.waiting.remove(best)
                worker.give(best)
        while self.blocked and len(self.waiting) < self.max_queue:
            self.put(*self.blocked.popleft())
        self.start()

    def answered(self, task, message, body):
        task.history.append({"attempt": task.attempt, "worker": task.worker.name, "outcome": message["t"]})
        if message["t"] == "done":
            task.result, task.result_body = message.get("result"), body
            self.finish(task, "done")
            return
        error = message.get("error", {})
        task.extra = {key: message[key] for key in ("signal", "exit") if key in message}
        if task.cancel:
            task.error = error
            self.finish(task, "cancelled" if task.cancel == "user" else "dead", task.cancel)
        elif message.get("crash"):
            self.crashed(task, error)
        else:
            task.failures += 1
            task.error = error
            most = task.put.get("max_attempts") or self.tasks_spec.get("max_attempts", 3)
            if not message.get("retry", True):
                self.finish(task, "dead", "no_retry")
            elif task.failures >= most:
                self.finish(task, "dead", "failure")
            else:
                delay = message.get("delay_ms", milliseconds(self.tasks_spec.get("retry_delay")) or 20)
                task.state = "scheduled"
                self.mtd.later(time.monotonic() + delay / 1000, lambda: self.wake(task))

    def crashed(self, task, error):
        task.crashes += 1
        task.error = error
        if task.crashes >= self.tasks_spec.get("max_crashes", 3):
            self.finish(task, "dead", "crash")
        else:
            task.state = "waiting"
            self.waiting.appendleft(task)

    def timed_out(self, task, attempt):
        if task.state == "running" and task.attempt == attempt:
            self.stop_running(task, "timeout")

    def stop_running(self, task, reason):
        task.cancel = reason
        grace = milliseconds(self.tasks_spec.get("grace")) or 300
        task.worker.stream.send({"t": "cancel", "id": task.id, "reason": reason, "grace_ms": grace})
        worker, attempt = task.worker, task.attempt
        self.mtd.later(time.monotonic() + grace / 1000,
                       lambda: task.state == "running" and task.attempt == attempt and worker.kill())

    def lost(self, worker, code):
        self.workers.remove(worker)
        end = {"signal": -code} if code < 0 else {"exit": code}
        self.mtd.tell(self, worker, "exited", last_exit={
            "cause": "signal" if code < 0 else "exit", "signal": -code if code < 0 else None,
            "code": None if code < 0 else code, "planned": worker.planned})
        for task in worker.tasks.values():
            task.history.append({"attempt": task.attempt, "worker": worker.name, "outcome": "crash"})
            task.extra = end
            if task.cancel == "user":
                self.finish(task, "cancelled", "user")
            elif task.cancel == "timeout":
                task.failures += 1
                self.finish(task, "dead", "timeout")
            else:
                self.crashed(task, None)
        if self.mtd.is_ending:
            return
        if worker.is_ready:
            self.dispatch()
        else:
            self.mtd.later(time.monotonic() + 0.02, self.dispatch)

    def finish(self, task, state, reason=""):
        task.state, task.reason, task.finished = state, reason, now_ms()
        self.counts[state] += 1
        for client, seq in task.watchers:
            client.stream.send(*task.end_frame(seq))
        task.watchers = []
        self.mtd.check_drains()

    def cancel(self, task):
        if task.state in ("scheduled", "waiting"):
            if task in self.waiting:
                self.waiting.remove(task)
            self.finish(task, "cancelled", "user")
            self.dispatch()
            return "cancelled"
        if task.state == "running":
            self.stop_running(task, "user")
            return "asked"
        return "finished"

    def stats(self):
        mine = [task for task in self.mtd.tasks.values() if task.pool is self]
        found = {state: sum(task.state == state for task in mine) for state in STATES}
        return {"pool": self.name, "mode": self.tasks_spec.get("mode", "task"), "paused": self.is_paused,
                "closed": self.is_closed, **found, "done": self.counts["done"], "failed": 0,
                "crashed_attempts": sum(task.crashes for task in mine), "stale_answers": 0, "rejected": 0, "bytes": 0,
                "max": self.max_queue, "max_bytes": 1 << 28, "workers": len(self.workers),
                "busy": sum(bool(worker.tasks) for worker in self.workers)}


class Client:
    """A connection to io.mtd.Tasks."""

    def __init__(self, mtd, sock):
        self.mtd, self.attached = mtd, set()
        self.stream = Stream(mtd, sock, self.take, self.lost)

    def accept(self, task, put, existed=False):
        seq = put["seq"]
        self.stream.send({"t": "ok", "seq": seq, "id": task.id, **({"existed": True} if existed else {})})
        if put.get("attached"):
            self.attached.add(task)
        if put.get("watch"):
            self.watch(task, seq)

    def watch(self, task, seq):
        if task.is_over:
            self.stream.send(*task.end_frame(seq))
        else:
            task.watchers.append((self, seq))

    def refuse(self, seq, code, message):
        self.stream.send({"t": "no", "seq": seq, "error": code, "message": message})

    def lost(self, _stream):
        self.mtd.clients.discard(self)
        for task in self.mtd.tasks.values():
            task.watchers = [one for one in task.watchers if one[0] is not self]
        for task in self.attached:
            if not task.is_over:
                task.pool.cancel(task)

    def take(self, _stream, message, body):
        if not self.stream.is_framed:
            self.call(message["method"].rpartition(".")[2], message.get("parameters", {}))
        elif message["t"] == "put":
            pool = self.mtd.pools.get(message["pool"])
            if pool is None:
                self.refuse(message["seq"], "NoSuchPool", f"no pool {message['pool']}")
            else:
                pool.put(self, {**message, "_body": body})
        elif message["t"] == "forget":
            task = self.mtd.tasks.pop(message["id"], None)
            if task is not None:
                self.mtd.uids.pop(task.put.get("uid"), None)
                self.attached.discard(task)
        else:
            task = self.mtd.tasks.get(message.get("id") or self.mtd.uids.get(message.get("uid")))
            if task is None:
                self.refuse(message["seq"], "NoSuchTask", "no such task")
            elif message["t"] == "wait":
                self.watch(task, message["seq"])
            elif message["t"] == "cancel":
                task.pool.cancel(task)
                self.stream.send({"t": "ok", "seq": message["seq"], "id": task.id})

    def reply(self, **parameters):
        self.stream.send({"parameters": parameters})

    def error(self, name, **parameters):
        self.stream.send({"error": f"io.mtd.Tasks.{name}", "parameters": parameters})

    def call(self, method, parameters):
        mtd = self.mtd
        name = parameters.get("pool")
        if name is not None and name not in mtd.pools:
            self.error("NoSuchPool", pool=name)
            return
        pool = mtd.pools.get(name)
        chosen = [task for task in mtd.tasks.values()
                  if (pool is None or task.pool is pool)
                  and (parameters.get("group") is None or task.put.get("group") == parameters["group"])
                  and (parameters.get("ids") is None or task.id in parameters["ids"])
                  and (parameters.get("states") is None or task.state in parameters["states"])]
        if method == "Open":
            self.reply(proto=1, max_body=MAX_BODY, pools=sorted(mtd.pools))
            self.stream.is_framed = True
        elif method == "Stats":
            self.reply(pools=[one.stats() for one in mtd.pools.values() if pool in (None, one)],
                       store={"state": "ok", "path": ":memory:", "bytes": 0})
        elif method == "List":
            after = parameters.get("after", 0)
            rows = [task.as_json() for task in chosen if task.id > after][:parameters.get("limit", 1000)]
            self.reply(tasks=rows)
        elif method == "Show":
            task = mtd.tasks.get(parameters.get("id") or mtd.uids.get(parameters.get("uid")))
            if task is None:
                self.error("NoSuchTask", id=parameters.get("id"))
            else:
                self.reply(task=task.as_json(history=True))
        elif method == "Cancel":
            missing = [number for number in parameters.get("ids") or () if number not in mtd.tasks]
            if missing:
                self.error("NoSuchTask", id=missing[0])
                return
            counts = collections.Counter(task.pool.cancel(task) for task in chosen)
            self.reply(cancelled=counts["cancelled"], asked=counts["asked"], finished=counts["finished"])
        elif method == "Retry":
            again = [task for task in chosen if task.state == "dead"
                     or (parameters.get("ids") and task.state in ("cancelled", "expired"))]
            for task in again:
                task.state, task.failures, task.crashes, task.cancel = "waiting", 0, 0, None
                task.pool.waiting.append(task)
            for one in mtd.pools.values():
                one.dispatch()
            self.reply(count=len(again))
        elif method == "Remove":
            gone = [task for task in chosen if task.is_over and (parameters.get("ids") or task.state == "dead"
                                                                 or parameters.get("group"))]
            for task in gone:
                del mtd.tasks[task.id]
            self.reply(count=len(gone))
        elif method in ("Pause", "Resume"):
            pool.is_paused = method == "Pause"
            pool.is_closed = False if method == "Resume" else pool.is_closed
            self.reply()
            pool.dispatch()
        elif method == "Drain":
            pool.is_closed = pool.is_closed or bool(parameters.get("close"))
            mtd.drains.append((self, pool))
            mtd.check_drains()
        else:
            self.stream.send({"error": "org.varlink.service.MethodNotFound", "parameters": {"method": method}})


class Manager:
    """A connection to io.mtd.Manager."""

    def __init__(self, mtd, sock):
        self.mtd, self.follows = mtd, False
        self.stream = Stream(mtd, sock, self.take, lambda stream: mtd.managers.discard(self))

    def take(self, _stream, message, _body):
        method = message["method"].rpartition(".")[2]
        if method == "Status":
            pools = [{"name": pool.name, "state": "running", "want": pool.want,
                      "ready": sum(worker.is_ready for worker in pool.workers),
                      "workers": [{"name": worker.name, "pid": worker.process.pid, "state": "ready"}
                                  for worker in pool.workers]} for pool in self.mtd.pools.values()]
            self.stream.send({"parameters": {"pools": pools}})
        elif method == "Events":
            self.follows = True
            self.stream.send({"parameters": {"events": self.mtd.events, "cursor": "0"}, "continues": True})
        else:
            self.stream.send({"error": "org.varlink.service.MethodNotFound", "parameters": {"method": method}})


class FakeMtd:
    def __init__(self, arguments):
        self.selector = selectors.DefaultSelector()
        self.timers, self.order = [], itertools.count()
        self.numbers, self.tasks, self.uids = itertools.count(1), {}, {}
        self.events, self.managers, self.clients, self.drains = [], set(), set(), []
        self.is_ending = False
        os.makedirs(arguments.runtime_dir, exist_ok=True)
        self.pools = {name: Pool(self, name, spec)
                      for name, spec in json.load(open(arguments.config, encoding="utf-8"))["pools"].items()}
        self.listen(os.path.join(arguments.runtime_dir, "io.mtd.Tasks"), lambda sock: self.clients.add(Client(self, sock)))
        self.listen(os.path.join(arguments.runtime_dir, "io.mtd.Manager"),
                    lambda sock: self.managers.add(Manager(self, sock)))
        self.signals()
        for pool in self.pools.values():
            pool.start()
        if arguments.ready_fd is not None:
            os.write(arguments.ready_fd, b"\n")
            os.close(arguments.ready_fd)

    def listen(self, path, accepted):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(64)
        self.watch(listener, lambda events: accepted(listener.accept()[0]))

    def signals(self):
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda *_: None)
        self.watch(read, lambda events: [self.signalled(number) for number in os.read(read, 64)])

    def signalled(self, number):
        if number in (signal.SIGTERM, signal.SIGINT):
            self.is_ending = True
        else:
            if number == signal.SIGUSR2:
                self.tasks.clear()
                self.uids.clear()
                for pool in self.pools.values():
                    pool.waiting.clear()
            for client in list(self.clients):
                client.attached.clear()
                client.stream.close()
                client.lost(None)

    def watch(self, file, ready, writes=False):
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)
        try:
            self.selector.modify(file, events, ready)
        except KeyError:
            self.selector.register(file, events, ready)
        except ValueError:
            pass

    def unwatch(self, file):
        try:
            self.selector.unregister(file)
        except (KeyError, ValueError):
            pass

    def is_watched(self, file):
        """Still: what came before it in the same turn may have closed it."""
        try:
            return self.selector.get_key(file).fileobj is file
        except (KeyError, ValueError):
            return False

    def later(self, moment, action):
        heapq.heappush(self.timers, (moment, next(self.order), action))

    def tell(self, pool, worker, event, **members):
        record = {"cursor": str(len(self.events)), "pool": pool.name, "worker": worker.name, "pid": worker.process.pid,
                  "event": event, **members}
        self.events.append(record)
        for manager in self.managers:
            if manager.follows:
                manager.stream.send({"parameters": {"events": [record], "cursor": record["cursor"]}, "continues": True})

    def check_drains(self):
        for client, pool in list(self.drains):
            if not any(task.pool is pool and not task.is_over for task in self.tasks.values()):
                self.drains.remove((client, pool))
                client.reply(remaining=0)

    def run(self):
        while not self.is_ending:
            wait = max(0, self.timers[0][0] - time.monotonic()) if self.timers else None
            for key, events in self.selector.select(wait):
                if self.is_watched(key.fileobj):
                    key.data(events)
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()
        for pool in self.pools.values():
            for worker in list(pool.workers):
                worker.kill()
                worker.process.wait()


def milliseconds(text):
    if text is None:
        return None
    for unit, factor in (("ms", 1), ("s", 1000), ("m", 60000)):
        if text.endswith(unit) and text[:-len(unit)].replace(".", "").isdigit():
            return int(float(text[:-len(unit)]) * factor)
    raise SystemExit(f"fake mtd: what time is {text!r}?")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--runtime-dir", required=True)
    parser.add_argument("--state-dir")
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--log-level")
    FakeMtd(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
