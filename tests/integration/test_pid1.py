"""mtd as the first process of a PID namespace."""
import os
import signal

import pytest
from harness import Mtd, descendants, eventually, is_alive, pool, stat_of, wait_gone

FIRST = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def test_starts_answers_and_restarts_workers(unshare, actor):
    with Mtd({"web": pool([actor, "wait"], workers=3)}, prefix=FIRST, inside=False) as mtd:
        mtd.wait_ready()
        assert mtd.status()["daemon"]["pid"] == 1
        first = mtd.pids("web")
        mtd.ctl("signal", "KILL", "web/1")
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 3)
        assert first[1] not in mtd.pids("web")


def test_reaps_strangers(unshare, actor):
    with Mtd({"web": pool([actor, "storm=500", "wait"])}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("storm over")
        eventually(lambda: not [p for p in descendants(mtd.process.pid) if (stat_of(p) or "?")[0] == "Z"], 5)
        assert mtd.pool("web")["restarts"] == 0


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_term_stops_everything(unshare, actor, name):
    with Mtd({"web": pool([actor, "daemon", "wait"], workers=2)}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("waiting", count=2)
        everything = descendants(mtd.process.pid)
        os.kill(mtd.main_pid(), getattr(signal, "SIG" + name))
        assert wait_gone(mtd.process.pid, 20)
        assert mtd.process.wait(5) == 0
        assert not any(map(is_alive, everything))


def test_stop_of_a_pool_leaves_nothing(unshare, actor):
    with Mtd({"web": pool([actor, "ignore=15", "daemon", "wait"], stop={"timeout": "300ms"})}, prefix=FIRST, inside=False) as mtd:
        mtd.reports.expect("waiting")
        mtd.ctl("stop", "web")
        names = [open(f"/proc/{p}/comm").read().strip() for p in descendants(mtd.process.pid) if is_alive(p)]
        assert "actor" not in names, names


def test_supervisor_death_as_pid_1(unshare, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=FIRST, inside=False) as mtd:
        mtd.wait_ready()
        before, old = mtd.pids("web"), mtd.supervisor()
        real = [p for p in descendants(mtd.process.pid) if "mtd-supervisor" in os.readlink(f"/proc/{p}/exe")]
        os.kill(real[0], signal.SIGKILL)
        mtd.reconnect(old)
        assert mtd.pids("web") == before


def test_without_proc(unshare, actor):
    script = 'umount -l /proc && exec "$@"'
    with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=["unshare", "--pid", "--fork", "--mount", "--kill-child", "sh", "-c", script, "sh"],
             inside=False) as mtd:
        mtd.wait_ready()
        mtd.ctl("signal", "KILL", "web/0")
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 2)
