#!/usr/bin/python3
"""What makes multiprocessing.Pool hang or lose work, each as a script; with mtd.Pool every one of them answers.

MTD_PROGRAM names the mtd; without it a stand-in is used. A script that does not end within its time has hung.
"""
import os
import select
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from private_mtd import FAKE, PYTHON  # noqa: E402

LIMIT = 120
START = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {PYTHON!r})
import mtd
def square(x): return x * x
def kill(number): os.kill(os.getpid(), number)
def leave(code): sys.exit(code)
def interrupt(): raise KeyboardInterrupt
def words(*args): return args
"""


class Case(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def start(self, functions, main):
        path = os.path.join(self.directory, "script.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(START + functions + "\nif __name__ == '__main__':\n")
            file.write("".join("    " + line + "\n" for line in main.strip().splitlines()))
        return subprocess.Popen([sys.executable, path, self.directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env={"MTD_PROGRAM": FAKE, **os.environ})

    def answer(self, main, functions=""):
        process = self.start(functions, main)
        out, err = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0, err)
        return out.splitlines(), err


class Defects(Case):
    def test_01_a_worker_is_killed_inside_a_task(self):
        out, _ = self.answer("""
with mtd.Pool(2) as pool:
    try: pool.apply(kill, (signal.SIGKILL,))
    except mtd.WorkerLost as error: print('killed' in str(error))
    print(pool.map(square, range(5)))
""")
        self.assertEqual(out, ["True", "[0, 1, 4, 9, 16]"])

    def test_02_workers_are_killed_while_idle(self):
        out, _ = self.answer("""
with mtd.Pool(2) as pool:
    pool.map(square, range(4))
    for worker in pool._pool: os.kill(worker.pid, signal.SIGKILL)
    print(pool.map(square, range(5)))
""")
        self.assertEqual(out, ["[0, 1, 4, 9, 16]"])

    def test_03_a_task_exits_or_is_interrupted(self):
        out, _ = self.answer("""
with mtd.Pool(1) as pool:
    for function, args in ((leave, (3,)), (os._exit, (4,)), (interrupt, ())):
        try: pool.apply(function, args)
        except mtd.WorkerLost as error: print(error.details.get('exit') or error.details.get('signal'))
    print(pool.apply(square, (3,)))
""")
        self.assertEqual(out[:2] + out[3:], ["3", "4", "9"])

    def test_04_a_callback_raises(self):
        out, err = self.answer("""
with mtd.Pool(1) as pool:
    first = pool.apply_async(square, (2,), callback=lambda value: 1 / 0)
    print(first.get(), pool.apply(square, (3,)))
""")
        self.assertEqual(out, ["4 9"])
        self.assertIn("ZeroDivisionError", err)

    def test_05_an_exception_cannot_be_unpickled(self):
        out, _ = self.answer("""
with mtd.Pool(1) as pool:
    try: pool.apply(strange)
    except mtd.TaskFailed as error: print('cannot be unpickled' in str(error))
    print(pool.apply(square, (3,)))
""", """
class Strange(Exception):
    def __init__(self, one, two): super().__init__(one)
def strange(): raise Strange(1, 2)
""")
        self.assertEqual(out, ["True", "9"])

    def test_06_a_worker_for_each_task(self):
        out, _ = self.answer("""
pool = mtd.Pool(2, maxtasksperchild=1)
results = [pool.apply_async(os.getpid) for _ in range(20)]
pool.close()
pool.join()
print(len({result.get() for result in results}))
""")
        self.assertEqual(out, ["20"])

    def test_07_terminate_in_the_middle(self):
        out, _ = self.answer("""
for _ in range(3):
    pool = mtd.Pool(2)
    result = pool.map_async(time.sleep, [1000] * 2000, chunksize=1)
    pool.terminate()
    pool.join()
    try: result.get()
    except mtd.Error as error: print(type(error).__name__)
""")
        self.assertEqual(out, ["ConnectionLost"] * 3)

    def test_08_an_initializer_fails(self):
        out, _ = self.answer("""
with mtd.Pool(2, initializer=wrong, initargs=(sys.argv[1],)) as pool:
    for _ in range(2):
        try: pool.map(square, range(3))
        except ValueError as error: print(error)
print(len(open(sys.argv[1] + '/starts').read()) <= 3)
""", """
def wrong(directory):
    open(directory + '/starts', 'a').write('x')
    raise ValueError('wrong')
""")
        self.assertEqual(out, ["wrong", "wrong", "True"])

    def test_08_an_initializer_kills(self):
        out, _ = self.answer("""
with mtd.Pool(2, initializer=kill, initargs=(signal.SIGKILL,)) as pool:
    try: pool.map(square, range(3))
    except mtd.WorkerLost as error: print(error)
    try: pool.apply(square, (3,))
    except mtd.WorkerLost as error: print('again')
""")
        self.assertEqual(out, ["no worker of the pool becomes ready; the last one ended with signal 9", "again"])

    def test_09_the_parent_is_killed(self):
        process = self.start("", """
pool = mtd.Pool(2)
pool.map(square, range(4))
print(*(worker.pid for worker in pool._pool), pool._private.pid, flush=True)
pool.apply(time.sleep, (1000,))
""")
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        line = process.stdout.readline()
        self.assertTrue(line, "it wrote nothing")
        pidfds = [os.pidfd_open(int(pid)) for pid in line.split()]
        process.kill()
        for pidfd in pidfds:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            self.assertTrue(poller.poll(LIMIT * 1000), "it lives on")
            os.close(pidfd)

    def test_10_a_task_that_takes_too_long(self):
        out, _ = self.answer("""
with mtd.Pool(1, timeout=0.1) as pool:
    try: pool.apply(time.sleep, (1000,))
    except mtd.TaskTimeout: print('timeout')
    print(pool.apply(square, (3,)))
with mtd.Pool(1) as pool:
    result = pool.apply_async(time.sleep, (1000,))
    result.cancel()
    try: result.get()
    except mtd.TaskCancelled: print('cancelled')
    print(pool.apply(square, (3,)))
""")
        self.assertEqual(out, ["timeout", "9", "cancelled", "9"])

    def test_11_one_bad_item_of_a_map(self):
        out, _ = self.answer("""
with mtd.Pool(2) as pool:
    results = pool.map(int, ['0', '1', 'x', '3', '4'], keep_going=True)
    print([value if isinstance(value, int) else type(value).__name__ for value in results])
""")
        self.assertEqual(out, ["[0, 1, 'ValueError', 3, 4]"])

    def test_12_threads_that_hold_locks(self):
        out, _ = self.answer("""
held = threading.Event()
def hold():
    with lock:
        held.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
with mtd.Pool(1) as pool: print(pool.apply(use, (3,)))
os._exit(0) if sys.stdout.flush() is None else None
""", """
lock = threading.Lock()
def use(x):
    with lock: return x
""")
        self.assertEqual(out, ["3"])

    def test_13_what_a_dying_worker_had_taken_is_given_to_another(self):
        out, _ = self.answer("""
with mtd.Pool(2) as pool: print(pool.map(once, [(sys.argv[1], n) for n in range(6)], chunksize=1))
""", """
def once(item):
    directory, number = item
    try: os.mkdir(f'{directory}/{number}')
    except FileExistsError: return number
    if number % 2: kill(signal.SIGKILL)
    return number
""")
        self.assertEqual(out, ["[0, 1, 2, 3, 4, 5]"])


class Tutorials(Case):
    def test_a_pool_of_three_with_five_tasks(self):
        out, _ = self.answer("""
with mtd.Pool(3) as pool:
    results = [pool.apply_async(square, (number,)) for number in range(5)]
    pool.close()
    pool.join()
    print([result.get() for result in results], all(result.successful() for result in results))
""")
        self.assertEqual(out, ["[0, 1, 4, 9, 16] True"])

    def test_a_callback_collects_the_results(self):
        out, _ = self.answer("""
results, errors = [], []
pool = mtd.Pool(3)
for number in range(5): pool.apply_async(square, (number,), callback=results.append)
pool.apply_async(int, ('x',), callback=results.append, error_callback=errors.append)
pool.close()
pool.join()
print(sorted(results), errors)
""")
        self.assertEqual(out, ["[0, 1, 4, 9, 16] [ValueError(\"invalid literal for int() with base 10: 'x'\")]"])

    def test_imap_keeps_the_order_imap_unordered_does_not(self):
        out, _ = self.answer("""
with mtd.Pool(2) as pool:
    print(list(pool.imap(first_waits, [(sys.argv[1], 0, 'a'), (sys.argv[1], 1, 'a')])))
    print(list(pool.imap_unordered(first_waits, [(sys.argv[1], 0, 'b'), (sys.argv[1], 1, 'b')])))
""", """
def first_waits(item):
    directory, number, name = item
    path = f'{directory}/{name}'
    if number: os.mkdir(path + '.made') or os.rename(path + '.made', path)
    while not os.path.exists(path): time.sleep(0.002)
    if not number: time.sleep(0.2)
    return number
""")
        self.assertEqual(out, ["[0, 1]", "[1, 0]"])

    def test_work_for_all_processors(self):
        out, _ = self.answer("""
with mtd.Pool(2) as pool:
    pairs = pool.map(primes, range(2000, 12000, 1000), chunksize=1)
print([count for _, count in pairs])
print(len({pid for pid, _ in pairs}))
""", """
def primes(limit):
    return os.getpid(), sum(all(n % d for d in range(2, int(n ** .5) + 1)) for n in range(2, limit))
""")
        self.assertEqual(out[0], "[303, 430, 550, 669, 783, 900, 1007, 1117, 1229, 1335]")
        self.assertEqual(out[1], "2")

    def test_a_directory_is_copied_while_workers_are_killed(self):
        source, target = os.path.join(self.directory, "source"), os.path.join(self.directory, "target")
        for number in range(120):
            directory = os.path.join(source, str(number % 7))
            os.makedirs(directory, exist_ok=True)
            with open(os.path.join(directory, f"{number}.bin"), "wb") as file:
                file.write(os.urandom(number * 97))
        out, _ = self.answer("""
source, target = sys.argv[1] + '/source', sys.argv[1] + '/target'
names = [os.path.relpath(os.path.join(at, name), source) for at, _, found in os.walk(source) for name in found]
with mtd.Pool(8, max_crashes=50) as pool:
    done = 0
    for _ in pool.imap_unordered(copy, [(source, target, name) for name in names]):
        done += 1
        victims = [pid for pid in pool._pids() if pid] if done % 20 == 0 else []
        if victims: os.kill(victims[done % len(victims)], signal.SIGKILL)
print(done)
""", """
def copy(item):
    source, target, name = item
    os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
    with open(os.path.join(source, name), 'rb') as file: data = file.read()
    with open(os.path.join(target, name), 'wb') as file: file.write(data)
""")
        self.assertEqual(out, ["120"])
        subprocess.run(["diff", "-r", source, target], check=True)


if __name__ == "__main__":
    unittest.main()
