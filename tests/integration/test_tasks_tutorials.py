"""The programs of the tutorials on pools and queues, on mtd: producer and consumer, a bounded queue, the copy of a directory."""
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading

from harness import BIN, Mtd, eventually, pool
from tasks import kill_broker, queue

MTCTL = os.path.join(BIN or "", "mtctl")
NO_PAUSE = {"retry_delay": 0, "retry_max": 0}


def of_commands(script, workers=1, **tasks):
    """A pool that runs a shell script once for each task; its arguments are $1, $2…"""
    return pool(["/bin/sh", "-c", script.replace("$", "$$"), "sh"], workers=workers, tasks={"mode": "exec", **NO_PAUSE, **tasks},
                backoff={"initial": 0, "max": 0}, min_uptime=0)


def test_producer_and_consumer(tmp_path):
    """Two pools: each task of the first makes four for the second, whose queue has room for three; nobody loses one."""
    out = tmp_path / "consumed"
    mtd = Mtd()
    mtd.pools = {"produce": of_commands(f'for n in 1 2 3 4; do {MTCTL} -s {mtd.socket} put consume "$1-$n" || exit 75; done', workers=2),
                 "consume": of_commands(f'echo "$1" >> {out}', max_queue=3, on_full="block")}
    mtd.write_config()
    with mtd:
        ids = [mtd.ctl("put", "produce", str(item)).stdout.strip() for item in range(5)]
        mtd.ctl("wait", *ids)
        mtd.ctl("drain", "consume")
        assert sorted(out.read_text().split()) == sorted(f"{item}-{n}" for item in range(5) for n in range(1, 5))
        assert (queue(mtd, "produce")["done"], queue(mtd, "consume")["done"]) == (5, 20)


def test_a_bounded_queue_blocks_times_out_and_refuses(tmp_path):
    gate = tmp_path / "gate"
    script = f"echo > {tmp_path}/begun; while [ ! -e {gate} ]; do sleep 0.02; done; echo $1"
    with Mtd({"p": of_commands(script, max_queue=2)}) as mtd:
        first = mtd.ctl("put", "p", "first").stdout.strip()
        eventually((tmp_path / "begun").exists, what="the worker has it")
        for name in ("second", "third"):
            mtd.ctl("put", "p", name)
        assert "is full" in mtd.ctl("put", "p", "no", code=75).stderr
        assert "is full" in mtd.ctl("put", "--block", "100ms", "p", "no", code=75).stderr
        assert queue(mtd)["rejected"] == 2
        patient = subprocess.Popen([MTCTL, "-s", mtd.socket, "put", "--block", "infinity", "p", "patient"], stdout=subprocess.PIPE, text=True)
        try:
            gate.write_text("")
            number = patient.communicate(timeout=120)[0].strip()
            assert patient.returncode == 0
        finally:
            patient.kill()
            patient.wait()
        mtd.ctl("wait", first, number)
        assert mtd.ctl("result", number).stdout == "patient\n"


class Terminal:
    """A program with a terminal as its standard error; what it writes there is taken in by a thread."""

    def __init__(self, *command, stdin, stdout):
        leader, follower = pty.openpty()
        fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.text, self._leader = b"", leader
        self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=follower)
        os.close(follower)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            while block := os.read(self._leader, 65536):
                self.text += block
        except OSError:  # nobody has the other end any more
            pass

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._leader)


def test_a_directory_is_copied_by_eight_workers_while_every_part_of_mtd_is_killed(full, tmp_path):
    source, target, done = tmp_path / "source", tmp_path / "target", tmp_path / "done"
    names = []
    for number in range(400):
        name = f"{number % 7}/{number}.bin"
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(os.urandom(number * 53))
        names.append(name)
    done.mkdir()
    (tmp_path / "names").write_text("".join(name + "\n" for name in names))
    copy = (f'mkdir -p "{target}/$(dirname "$1")" && cp "{source}/$1" "{target}/$1.new.$$" && '
            f'mv "{target}/$1.new.$$" "{target}/$1" && touch "{done}/$(basename "$1")" && echo "$1"')
    mtd = Mtd({"copy": of_commands(copy, workers=8, max_crashes=100, durability="process")})
    with mtd, open(tmp_path / "names") as lines, open(tmp_path / "out", "w") as out:
        job = Terminal(MTCTL, "-s", mtd.socket, "map", "copy", stdin=lines, stdout=out)
        try:
            def kill_workers():
                for pid in mtd.pids("copy"):
                    os.kill(pid, signal.SIGKILL)

            def kill_all():
                mtd.kill_whole()
                kill_broker(os.getpid())
                mtd.start()
            kills = [kill_workers, lambda: kill_broker(mtd.keeper), mtd.kill_supervisor, kill_all]
            for number, kill in enumerate(kills * (2 if full else 1)):
                eventually(lambda: len(os.listdir(done)) >= 40 * (number + 1), 300, "it goes on")
                kill()
            assert job.process.wait(600) == 0, job.text
        finally:
            job.close()
        text = job.text.decode()
        assert "/400" in text and "#" in text, "there was a progress bar"
    for left in target.rglob("*.new.*"):  # of copies that were killed
        left.unlink()
    subprocess.run(["diff", "-r", source, target], check=True)
    assert (tmp_path / "out").read_text() == (tmp_path / "names").read_text(), "in the order of the lines"
