"""What docs/operations.md says of backup, restore and moving: the state directory, copied while mtd does not run."""
import os
import shutil
import subprocess

from harness import SLEEPER, Mtd, pool
from tasks import queue, task_pool


def test_a_restored_state_directory_has_everything(tmp_path):
    backup = str(tmp_path / "backup")
    pools = {"p": task_pool(workers=1, enabled=False), "web": pool(SLEEPER), "off": pool(SLEEPER)}
    with Mtd(pools) as mtd:
        mtd.ctl("scale", "web", "3")
        mtd.ctl("stop", "off")
        for number in range(5):
            mtd.ctl("put", "p", "echo", str(number))
        assert queue(mtd)["waiting"] == 5
        mtd.ctl("shutdown")
        mtd.process.wait()
        subprocess.run(["cp", "-a", mtd.state, backup], check=True)  # the command of the page
    with Mtd(pools) as other:
        # Elsewhere, where it has been running already with a state of its own.
        assert other.pool("web")["want"] == 1 and queue(other)["waiting"] == 0
        other.ctl("shutdown")
        other.process.wait()
        shutil.rmtree(other.state)
        subprocess.run(["cp", "-a", backup, other.state], check=True)
        other.start()
        assert other.pool("web")["want"] == 3
        assert other.pool("off")["state"] == "stopped"
        assert queue(other)["waiting"] == 5
        other.ctl("start", "p")
        other.ctl("drain", "p")
        assert queue(other)["waiting"] == 0


def test_without_it_everything_is_as_the_file_says():
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        mtd.ctl("scale", "web", "3")
        mtd.ctl("shutdown")
        mtd.process.wait()
        shutil.rmtree(mtd.state)
        mtd.start()
        assert mtd.pool("web")["want"] == 1
        assert not os.path.exists(os.path.join(mtd.state, "run-time.json"))
