#!/usr/bin/python3
"""The Python package against a stand-in for mtd: frames, worker, client, Pool."""
import concurrent.futures
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from private_mtd import FAKE, PYTHON, Daemon  # noqa: E402

os.environ["MTD_PROGRAM"] = FAKE
sys.path.insert(0, PYTHON)
import mtd  # noqa: E402
from mtd.frames import MAX_FRAME, Reader, encode  # noqa: E402

WORKER = os.path.join(HERE, "..", "support", "workers", "client_worker.py")
LIMIT = 60


def pool(threads=1, workers=2, **tasks):
    return {"command": [sys.executable, WORKER, str(threads)], "workers": workers, "env": {"PYTHONPATH": PYTHON},
            "tasks": {"mode": "task", **tasks}}


class Frames(unittest.TestCase):
    def test_arrive_whole_however_they_are_cut(self):
        bodies = [None, b"", b"a\nb\0", bytes(MAX_FRAME * 3)]
        data = b"".join(encode({"t": "done", "id": number, "attempt": 1}, body) for number, body in enumerate(bodies))
        for size in (1, 7, 60000, len(data)):
            reader, found = Reader(), []
            for at in range(0, len(data), size):
                found += reader.feed(data[at:at + size])
            self.assertEqual([body for _, body in found], bodies)
            self.assertEqual([message["id"] for message, _ in found], [0, 1, 2, 3])

    def test_that_make_no_sense_are_refused(self):
        for data in (b"x\n", b"[]\n", b'{"body":-1}\n', b'{"body":"x"}\n', b"x" * (MAX_FRAME + 1),
                     b'{"t":"part","id":1}\n', b'{"t":"task","id":1,"attempt":1,"parts":2}\n'):
            with self.assertRaises(mtd.ProtocolError, msg=data[:40]):
                Reader().feed(data)
        with self.assertRaises(mtd.ProtocolError):
            encode({"args": ["x" * MAX_FRAME]})


class WorkerSide(unittest.TestCase):
    """mtd's side of the stream is played by the test."""

    def setUp(self):
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": PYTHON, "MTD_TASK_FD": str(theirs.fileno())}
        self.process = subprocess.Popen([sys.executable, WORKER], pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        ours.settimeout(LIMIT)
        self.stream, self.reader, self.waiting = ours, Reader(), []
        self.addCleanup(self.end)

    def end(self):
        self.stream.close()
        self.process.wait(LIMIT)

    def send(self, text):
        self.stream.sendall(text.encode() + b"\n")

    def receive(self):
        while not self.waiting:
            data = self.stream.recv(1 << 16)
            self.assertTrue(data, "the worker has gone")
            self.waiting += self.reader.feed(data)
        return self.waiting.pop(0)[0]

    def test_answers_each_task_once(self):
        self.assertEqual(self.receive()["t"], "ready")
        self.send('{"t":"task","id":7,"attempt":1,"name":"add","args":[1,2],"new":{"member":1}}')
        self.assertEqual(self.receive(), {"t": "done", "id": 7, "attempt": 1, "result": 3})
        self.send('{"t":"task","id":7,"attempt":1,"name":"add","args":[1,2],"again":true}')
        self.send('{"t":"unknown"}')
        self.send('{"t":"ping"}')
        self.assertEqual(self.receive(), {"t": "beat"})
        self.send('{"t":"task","id":8,"attempt":3,"name":"nothing","args":[]}')
        failure = self.receive()
        self.assertEqual((failure["t"], failure["id"], failure["retry"]), ("fail", 8, False))
        self.assertIn("add, die", failure["error"]["message"])

    def test_ends_after_drain_with_its_task_answered(self):
        self.receive()
        self.send('{"t":"task","id":1,"attempt":1,"name":"add","args":[1,2]}\n{"t":"drain"}')
        self.assertEqual(self.receive()["result"], 3)
        self.assertEqual(self.process.wait(LIMIT), 0)

    def test_ends_when_mtd_has_gone(self):
        self.receive()
        self.stream.shutdown(socket.SHUT_RDWR)
        self.assertEqual(self.process.wait(LIMIT), 0)

    def test_started_by_hand_it_says_what_it_is(self):
        done = subprocess.run([sys.executable, WORKER], env={"PYTHONPATH": PYTHON}, capture_output=True, text=True,
                              check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("MTD_TASK_FD is not set", done.stderr)


class ClientSide(unittest.TestCase):
    def start(self, **pools):
        daemon = Daemon(pools)
        self.addCleanup(daemon.close)
        client = mtd.Client(daemon.runtime)
        self.addCleanup(client.close)
        return daemon, client

    def test_results_failures_and_deaths(self):
        _, client = self.start(p=pool(retry_delay="5ms"))
        self.assertEqual(client.submit("p", 1, 2, name="add").result(LIMIT), 3)
        large = os.urandom(300000)
        self.assertEqual(client.submit("p", name="reverse", body=large).result(LIMIT), large[::-1])
        with self.assertRaises(mtd.TaskFailed) as caught:
            client.submit("p", "no", False, name="fail").result(LIMIT)
        self.assertEqual((caught.exception.type, caught.exception.message, caught.exception.attempts), ("Wanted", "no", 1))
        with self.assertRaises(mtd.WorkerLost) as caught:
            client.submit("p", "kill", name="die").result(LIMIT)
        self.assertEqual((caught.exception.attempts, caught.exception.details["signal"]), (3, 9))
        with self.assertRaises(mtd.WorkerLost) as caught:
            client.submit("p", "exit", name="die").result(LIMIT)
        self.assertIn("exited with 7", str(caught.exception))
        for name in ("unprintable", "large"):
            with self.assertRaisesRegex(mtd.TaskFailed, "cannot be sent"):
                client.submit("p", name=name).result(LIMIT)

    def test_a_task_that_fails_is_tried_again(self):
        _, client = self.start(p=pool(retry_delay="5ms"))
        with tempfile.NamedTemporaryFile() as file:
            self.assertEqual(client.submit("p", file.name, name="third_time").result(LIMIT), 3)

    def test_refusals(self):
        _, client = self.start(p=pool(workers=1, max_queue=1))
        with self.assertRaises(mtd.Refused) as caught:
            client.submit("nothing", name="add").result(LIMIT)
        self.assertEqual(caught.exception.code, "NoSuchPool")
        with tempfile.TemporaryDirectory() as directory:
            told = threading.Event()
            holds = client.submit("p", os.path.join(directory, "x"), name="hold", progress=lambda *facts: told.set())
            self.assertTrue(told.wait(LIMIT))
            client.submit("p", 1, 2, name="add")  # the one that may wait
            with self.assertRaises(mtd.QueueFull):
                client.submit("p", 1, 2, name="add").result(LIMIT)
            with self.assertRaises(mtd.QueueFull):
                client.submit("p", 1, 1, name="add", block=0.05).result(LIMIT)
            blocked = client.submit("p", 5, 6, name="add", block=LIMIT)
            holds.cancel()
            self.assertEqual(blocked.result(LIMIT), 11)
        with self.assertRaises(mtd.ProtocolError):
            client.submit("p", "x" * 70000, name="add")
        with self.assertRaises((TypeError, ValueError)):
            client.submit("p", float("nan"), name="add")

    def test_cancel_of_a_running_and_of_a_waiting_task(self):
        _, client = self.start(p=pool(workers=1))
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "holds")
            told = threading.Event()
            running = client.submit("p", path, name="hold", progress=lambda *facts: told.set())
            self.assertTrue(told.wait(LIMIT))
            waiting = client.submit("p", 1, 2, name="add")
            self.assertTrue(waiting.cancel())
            self.assertTrue(running.cancel())
            for future in (running, waiting):
                with self.assertRaises(concurrent.futures.CancelledError):
                    future.result(LIMIT)
            self.assertEqual(client.submit("p", 1, 2, name="add").result(LIMIT), 3)

    def test_the_broker_dies_and_nothing_is_lost(self):
        for forget in (False, True):
            with self.subTest(forget=forget):
                daemon, client = self.start(p=pool())
                futures = [client.submit("p", number, number, name="add") for number in range(500)]
                futures[0].result(LIMIT)
                daemon.fail(forget)
                self.assertEqual([future.result(LIMIT) for future in futures], [2 * number for number in range(500)])

    def test_woken_while_it_wakes_it_is_woken_again(self):
        class Between:
            """Somebody wakes the session when it has been woken and has not emptied the socket yet."""

            def __init__(self, session):
                self.socket, self.wake = session._wake_in, session._wake
                self.fileno, self.close = self.socket.fileno, self.socket.close

            def recv(self, size):
                self.wake()
                return self.socket.recv(size)

        _, client = self.start(p=pool())
        session = client._session
        session._wake_in = Between(session)
        self.addCleanup(lambda: session._wake_out.send(b"w"))  # it should not hang at the end, too
        for number in range(3):
            self.assertEqual(client.submit("p", number, number, name="add").result(LIMIT), 2 * number)

    def test_the_same_name_is_the_same_task(self):
        daemon, client = self.start(p=pool())
        other = mtd.Client(daemon.runtime, keep=True)
        self.addCleanup(other.close)
        first = other.submit("p", name="pid", uid="only-once")
        again = other.submit("p", name="pid", uid="only-once")
        self.assertEqual(first.result(LIMIT), again.result(LIMIT))
        self.assertEqual(first.id, again.id)

    def test_map_ordered_and_not(self):
        _, client = self.start(p=pool())
        pairs = [(number, 1) for number in range(200)]
        self.assertEqual(list(client.map("p", pairs, name="add", window=8)), [number + 1 for number in range(200)])
        self.assertEqual(sorted(client.map("p", pairs, name="add", window=8, ordered=False)),
                         [number + 1 for number in range(200)])

    def test_several_tasks_at_once_in_one_worker(self):
        _, client = self.start(p=pool(threads=4, workers=1))
        with tempfile.TemporaryDirectory() as directory:
            held = [client.submit("p", os.path.join(directory, str(number)), name="hold") for number in range(3)]
            self.assertEqual(client.submit("p", 1, 2, name="add").result(LIMIT), 3)
            for future in held:
                future.cancel()
                with self.assertRaises(concurrent.futures.CancelledError):
                    future.result(LIMIT)

    def test_no_mtd_is_told_at_once(self):
        with tempfile.TemporaryDirectory() as directory:
            with self.assertRaisesRegex(mtd.ConnectionLost, "io.mtd.Tasks: No such file"):
                mtd.Client(directory)

    def test_mtd_goes_away_for_good(self):
        daemon = Daemon({"p": pool()})
        client = mtd.Client(daemon.runtime, patience=0.2)
        with tempfile.TemporaryDirectory() as directory:
            future = client.submit("p", os.path.join(directory, "x"), name="hold")
            daemon.close()
            with self.assertRaises(mtd.ConnectionLost):
                future.result(LIMIT)
        with self.assertRaises(mtd.ConnectionLost):
            client.submit("p", 1, 2, name="add")
        client.close()

    def test_a_listener_that_accepts_nobody_is_given_up(self):
        with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.join(directory, "io.mtd.Tasks"))
            listener.listen(0)
            waiting = []
            try:
                while True:  # until there is no room for another one
                    waiting.append(socket.socket(socket.AF_UNIX))
                    waiting[-1].setblocking(False)
                    waiting[-1].connect(listener.getsockname())
            except BlockingIOError:
                pass
            for call in (lambda: mtd.Client(directory, patience=0.1),
                         lambda: mtd.varlink.connect("io.mtd.Tasks", directory, 0.1)):
                with self.assertRaisesRegex(mtd.ConnectionLost, "has not answered for 0.1 seconds"):
                    call()
            for one in waiting:
                one.close()

    def test_an_mtd_that_says_nothing_any_more_is_given_up(self):
        daemon, _ = self.start(p=pool())
        with tempfile.TemporaryDirectory() as directory, mtd.Client(daemon.runtime, patience=LIMIT) as client:
            told = threading.Event()
            future = client.submit("p", os.path.join(directory, "x"), name="hold", progress=lambda *facts: told.set())
            self.assertTrue(told.wait(LIMIT))
            os.kill(daemon.process.pid, signal.SIGSTOP)
            client._session._patience = 0.5  # only now: before, what was slow would have been given up, too
            client._session._wake()
            try:
                with self.assertRaisesRegex(mtd.ConnectionLost, "has not answered for 0.5 seconds"):
                    future.result(LIMIT)
                with self.assertRaisesRegex(mtd.ConnectionLost, "has not answered for 0.1 seconds"):
                    client.call("Stats", timeout=0.1)
            finally:
                os.kill(daemon.process.pid, signal.SIGCONT)

    def test_patience_has_no_end_if_it_is_wanted(self):
        daemon, _ = self.start(p=pool())
        for patience in (math.inf, 1e9):
            with mtd.Client(daemon.runtime, patience=patience) as client:
                self.assertEqual(client.submit("p", 1, 2, name="add").result(LIMIT), 3)
                client.call("Stats")

    def test_a_task_that_takes_longer_than_the_patience_is_asked_after(self):
        daemon, _ = self.start(p=pool())
        asked, opening = threading.Semaphore(0), mtd.session._Opening

        class Counted(opening):
            def __init__(self, where):
                asked.release()
                super().__init__(where)

        with tempfile.TemporaryDirectory() as directory, mtd.Client(daemon.runtime, patience=1) as client:
            mtd.session._Opening = Counted
            self.addCleanup(setattr, mtd.session, "_Opening", opening)
            future = client.submit("p", os.path.join(directory, "x"), name="hold")
            for _ in range(2):
                self.assertTrue(asked.acquire(timeout=LIMIT))
            self.assertFalse(future.done())
            future.cancel()
            with self.assertRaises(concurrent.futures.CancelledError):
                future.result(LIMIT)

    def test_a_done_callback_that_waits_for_another_task_is_told(self):
        _, client = self.start(p=pool(workers=1))
        heard = concurrent.futures.Future()

        def wait_for_another(_):
            try:
                heard.set_result(client.submit("p", 1, 2, name="add").result())
            except mtd.Error as error:
                heard.set_result(str(error))

        with tempfile.TemporaryDirectory() as directory:
            future = client.submit("p", os.path.join(directory, "x"), name="hold")
            future.add_done_callback(wait_for_another)  # before it has ended, or this thread would call it
            future.cancel()
            heard.exception(LIMIT)
        self.assertEqual(heard.result(LIMIT), "a done-callback or progress function waits for another task, in the thread that "
                                              "would hear of its end; wait in a thread of your own")
        self.assertEqual(client.submit("p", 1, 2, name="add").result(LIMIT), 3)

    def test_a_forked_process_is_told_that_it_has_none(self):
        _, client = self.start(p=pool())
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                client.submit("p", 1, 2, name="add")
            except mtd.Error as error:
                os.write(writing, str(error).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as file:
            self.assertEqual(file.read(), f"this client or pool belongs to process {os.getpid()}, of which this one was "
                                          "forked; make one of its own")
        os.waitpid(pid, 0)
        self.assertEqual(client.submit("p", 1, 2, name="add").result(LIMIT), 3)


def square(number):
    return number * number


class Pools(unittest.TestCase):
    def script(self, text, *arguments, **options):
        """Runs `text` as a main module."""
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write("import os, signal, sys, threading, time\n"
                       f"sys.path.insert(0, {PYTHON!r})\nimport mtd\n" + text)
            file.flush()
            return subprocess.run([sys.executable, file.name, *arguments], capture_output=True, text=True,
                                  timeout=LIMIT, check=False, **options)

    def expect(self, text, output):
        done = self.script(text)
        self.assertEqual((done.returncode, done.stdout), (0, output), done.stderr)

    def test_functions_of_the_main_module(self):
        self.expect("def f(x): return x + 1\n"
                    "if __name__ == '__main__':\n"
                    "    with mtd.Pool(2) as pool: print(pool.map(f, range(5)))\n", "[1, 2, 3, 4, 5]\n")

    def test_a_script_from_the_standard_input(self):
        """There is no file to read its functions from; those of modules are there all the same."""
        done = subprocess.run([sys.executable], input=f"import sys; sys.path.insert(0, {PYTHON!r})\nimport mtd\n"
                              "def f(x): return x\n"
                              "with mtd.Pool(1) as pool:\n"
                              "    print(pool.map(abs, [-1]))\n"
                              "    try: pool.map(f, [1])\n"
                              "    except AttributeError as error: print('f' in str(error))\n",
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "[1]\nTrue\n"), done.stderr)

    def test_terminate_does_not_wait_for_what_runs(self):
        self.expect("def late(): signal.pause()\n"
                    "if __name__ == '__main__':\n"
                    "    pool = mtd.Pool(1)\n"
                    "    result = pool.apply_async(late)\n"
                    "    worker = pool._pool[0]\n"
                    "    pool.terminate()\n"
                    "    pool.join()\n"
                    "    print(worker.is_alive())\n"
                    "    try: result.get()\n"
                    "    except mtd.ConnectionLost: print('lost')\n", "False\nlost\n")

    def test_without_main_guard_it_is_told_and_ends(self):
        done = self.script("def f(x): return x\npool = mtd.Pool(1)\nprint(pool.apply(f, (1,)))\n")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("if __name__ == '__main__'", done.stderr)

    def test_what_workers_print_is_seen(self):
        self.expect("def f(x): print('from the worker', flush=True)\n"
                    "if __name__ == '__main__':\n"
                    "    with mtd.Pool(1) as pool: pool.map(f, [1])\n", "from the worker\n")

    def test_large_arguments_and_results(self):
        with mtd.Pool(1) as some:
            data = os.urandom(5 << 20)
            self.assertEqual(some.apply(bytes.upper, (data,)), data.upper())
            self.assertEqual(os.listdir(some._spool), [])

    def test_keep_going(self):
        with mtd.Pool(2) as some:
            results = some.map(int, ["1", "x", "3"], keep_going=True)
            self.assertEqual((results[0], results[2]), (1, 3))
            self.assertIsInstance(results[1], ValueError)

    def test_bounded_imap(self):
        taken = []

        def numbers():
            for number in range(100):
                taken.append(number)
                yield number

        with mtd.Pool(2) as some:
            results = some.imap(square, numbers(), buffersize=5)
            self.assertEqual(next(results), 0)
            self.assertLessEqual(len(taken), 7)
            self.assertEqual(list(results), [number * number for number in range(1, 100)])
            some.imap(square, numbers(), buffersize=5)  # nobody reads it: terminate() must not wait for that

    def test_cancel(self):
        with mtd.Pool(1) as some:
            result = some.apply_async(signal.pause)
            result.cancel()
            with self.assertRaises(mtd.TaskCancelled):
                result.get(LIMIT)
            self.assertEqual(some.apply(square, (3,)), 9)

    def test_a_timeout_for_each_task(self):
        with mtd.Pool(1, timeout=0.05) as some:
            with self.assertRaises(mtd.TaskTimeout):
                some.apply(signal.pause)
            self.assertEqual(some.apply(square, (3,)), 9)

    def test_its_directory_is_gone_afterwards(self):
        with mtd.Pool(1) as some:
            directory = some._private.directory
            self.assertEqual(some.apply(square, (3,)), 9)
        self.assertFalse(os.path.exists(directory))

    def test_no_program_is_told(self):
        done = self.script("mtd.Pool(1)\n", env={"PATH": "/nowhere"})
        self.assertIn("the program mtd is not in PATH", done.stderr)
        done = self.script("mtd.Pool(1)\n", env={"MTD_PROGRAM": "/nowhere/mtd"})
        self.assertIn("cannot start /nowhere/mtd: it cannot be executed", done.stderr)

    def test_all_of_its_mtd_is_killed(self):
        """Nobody starts it again: whoever waits for anything of the pool hears of it, and its end takes no time."""
        done = self.script("""
import subprocess
def children(pid):
    found = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(pid)], capture_output=True, text=True).stdout.split()
    return [int(one) for one in found]
def hold(x): signal.pause()
if __name__ == '__main__':
    pool = mtd.Pool(2)
    results = [pool.apply_async(hold, (1,)), pool.map_async(hold, range(5)), pool.imap(hold, range(5))]
    len(pool._pool)
    everybody, more = [], [pool._private.pid]
    while more:
        more = [child for one in more for child in children(one)]
        everybody += more
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in everybody:
            os.kill(pid, number)
    for result in results:
        try: print('wrong', result.get() if hasattr(result, 'get') else next(result))
        except mtd.ConnectionLost as error: print(error)
    try: pool.map(hold, range(5))
    except mtd.Error as error: print('then', type(error).__name__)
    pool.close()
    pool.join()
    print('joined', os.path.exists(pool._private.directory))
""")
        reason = ("the private mtd of this pool has ended: it was killed, or what it said stands on the standard error "
                  "output\n")
        self.assertEqual((done.returncode, done.stdout), (0, reason * 3 + "then ConnectionLost\njoined False\n"), done.stderr)
        self.assertEqual(done.stderr, "")

    def test_it_ends_with_its_owner_though_a_forked_process_lives(self):
        """Which holds the pipe that the guard reads."""
        owner = subprocess.Popen([sys.executable, "-c", f"import os, signal, sys; sys.path.insert(0, {PYTHON!r}); import mtd\n"
                                  "pool = mtd.Pool(1)\nchild = os.fork()\nif child == 0: signal.pause()\n"
                                  "print(pool._private.directory, child, flush=True)\nsignal.pause()"],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(owner.stdout.close)
        self.addCleanup(owner.wait)
        self.addCleanup(owner.kill)
        directory, child = owner.stdout.readline().split()
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.addCleanup(os.kill, int(child), signal.SIGKILL)
        guard = next(int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self.is_guard(pid, directory))
        watch = os.pidfd_open(guard)
        owner.kill()
        owner.wait(LIMIT)
        ended = select.select([watch], [], [], LIMIT)[0]
        os.close(watch)
        self.assertTrue(ended, "the guard lives on")
        self.assertFalse(os.path.exists(directory), "nobody else could remove it")

    @staticmethod
    def is_guard(pid, directory):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            return False
        return b"-c" in words and any(word.startswith(os.fsencode(directory)) for word in words)

    def test_wrong_arguments(self):
        for arguments, kind in (({"processes": 0}, ValueError), ({"processes": 1.5}, TypeError), ({"maxtasksperchild": 0.5}, ValueError),
                                ({"initializer": 3}, TypeError), ({"socket": "/x"}, ValueError)):
            with self.assertRaises(kind, msg=arguments):
                mtd.Pool(**arguments)
        with self.assertRaisesRegex(ValueError, "Number of processes must be at most 10000"):
            mtd.Pool(10001)
        with mtd.Pool(1) as some:
            with self.assertRaises(ValueError):
                some.map(square, [1], chunksize=0)
            with self.assertRaises(ValueError):
                some.imap(square, [1], buffersize=0)
            with self.assertRaises(ValueError):
                some.join()


if __name__ == "__main__":
    unittest.main()
