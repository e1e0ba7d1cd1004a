"""Where tasks stand, when there is no room."""
import os
import subprocess
import tempfile

import pytest
from harness import Mtd, eventually
from tasks import Tasks, call, kill_broker, task_pool


@pytest.fixture
def small_disk(root):
    directory = tempfile.mkdtemp(prefix="mtd-d-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0755", "tmpfs", directory], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        os.rmdir(directory)
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)
    os.rmdir(directory)


def on_disk(directory):
    mtd = Mtd({"p": task_pool(1)})
    mtd.state = os.path.join(directory, "state")
    return mtd


def fill(directory):
    """Until there is no room for one byte more."""
    path = os.path.join(directory, "filler")
    size, block = 0, 1 << 20
    with open(path, "ab", buffering=0) as file:
        while block:
            try:
                size += file.write(b"x" * block)
            except OSError:
                block //= 2
    return path


def test_a_full_disk_refuses_puts_lets_answers_in_and_goes_on_when_there_is_room(small_disk, tmp_path):
    gate = tmp_path / "gate"
    with on_disk(small_disk) as mtd, Tasks(mtd) as tasks:
        running = tasks.put("p", "hold", str(gate))
        mtd.reports.expect("begin", id=tasks.expect(running, "ok")["id"])
        waiting = tasks.put("p", "echo", "waiting")
        tasks.expect(waiting, "ok")
        filler = fill(small_disk)
        accepted = []
        while True:
            seq = tasks.put("p", "echo", "more", body=b"b" * 2000)
            tasks.wait_for(seq, "ok", "no")
            refused = tasks.frames.pop((seq, "no"), None)
            if refused:
                break
            accepted.append(seq)
            assert len(accepted) < 10_000
        assert refused[0]["error"] == "StoreFull" and refused[0]["retry_ms"] > 0
        assert call(mtd, "Stats")["store"]["state"] == "full"
        gate.write_text("")
        assert tasks.expect(running, "end")["state"] == "done", "what mtd had held back is room for answers"
        os.unlink(filler)
        assert tasks.expect(waiting, "end")["result"] == ["waiting"]
        assert all(end["state"] == "done" for end in tasks.ends(accepted))
        assert tasks.run("p", "echo", "room")["state"] == "done"
        assert call(mtd, "Stats")["store"]["state"] == "good"


def test_a_disk_that_is_full_at_the_start_refuses_puts_only(small_disk):
    with on_disk(small_disk) as mtd:
        with Tasks(mtd) as tasks:
            end = tasks.run("p", "echo", "kept")
            call(mtd, "Pause", pool="p")
            waiting = tasks.expect(tasks.put("p", "echo", "waiting"), "ok")["id"]
        filler = fill(small_disk)
        os.unlink(os.path.join(mtd.state, "tasks", "tasks.db.ballast"))
        fill(small_disk)
        kill_broker(mtd.keeper)
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=end["id"]), "end")["result"] == ["kept"]
            assert tasks.refused("p", "echo", "no")["error"] == "StoreFull"
            os.unlink(filler)
            assert tasks.expect(tasks.wait(id=waiting), "end")["result"] == ["waiting"]
            eventually(lambda: not tasks.refused("p", "echo"), what="puts are taken again")
