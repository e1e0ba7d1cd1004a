"""Programs that know nothing of mtd: run once for each task, or as a filter of lines; and those that only report."""
import os

import pytest
from harness import BIN, Mtd, pool
from tasks import Tasks, call

NO_PAUSE = {"retry_delay": 0, "retry_max": 0}


@pytest.fixture(autouse=True)
def adapter():
    if not os.access(os.path.join(BIN, "mtd-worker"), os.X_OK):
        pytest.skip("mtd-worker was not built")


def of_mode(mode, command, **tasks):
    return pool(command, workers=1, tasks={"mode": mode, **NO_PAUSE, **tasks})


def test_a_command_is_run_once_for_each_task():
    with Mtd({"e": of_mode("exec", ["/bin/echo", "hello"]), "x": of_mode("exec", ["/bin/sh", "-c", "exit $0"]),
              "k": of_mode("exec", ["/bin/sh", "-c", "kill -9 $$$$"], max_crashes=2)}) as mtd, Tasks(mtd) as tasks:
        done = tasks.run("e", "big", "world")
        assert done["state"] == "done" and done["data"] == b"hello big world\n"
        for code, state, reason, attempts in (("0", "done", None, 1), ("65", "dead", "no_retry", 1), ("75", "dead", "failure", 3)):
            end = tasks.run("x", code)
            assert (end["state"], end.get("reason"), end["attempts"]) == (state, reason, attempts), code
        killed = tasks.run("k")
        assert (killed["state"], killed["reason"], killed["attempts"]) == ("dead", "crash", 2)
        assert call(mtd, "Stats", pool="e")["pools"][0]["mode"] == "exec"
        assert mtd.pool("k")["restarts"] == 0, "the program died, not the worker"


def test_a_filter_answers_a_line_with_a_line():
    with Mtd({"f": of_mode("filter", ["/usr/bin/tr", "a-z", "A-Z"])}) as mtd, Tasks(mtd) as tasks:
        assert [tasks.run("f", text)["result"] for text in ("abc", "d e", "f")] == ["ABC", "D E", "F"]
        assert len(mtd.pids("f")) == 1


def test_workers_that_only_report_have_no_queue():
    with Mtd({"n": pool(["/bin/sleep", "infinity"], tasks={"mode": "notify"})}) as mtd:
        assert mtd.pool("n")["queue"] is None
        assert not os.path.exists(os.path.join(mtd.runtime, "io.mtd.Tasks"))
