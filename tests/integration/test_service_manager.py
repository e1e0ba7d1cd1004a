"""The protocol of systemd, spoken to a stand-in: READY, STATUS, RELOADING, STOPPING, WATCHDOG."""
import os
import signal
import tempfile

import pytest
from harness import Mtd, ServiceManager, eventually, pool, wait_gone


@pytest.fixture
def manager():
    with tempfile.TemporaryDirectory(prefix="mtd-sm-") as directory:
        os.chmod(directory, 0o755)
        one = ServiceManager(os.path.join(directory, "notify"))
        yield one
        one.close()


def test_ready_status_reloading_stopping(manager, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, env={"NOTIFY_SOCKET": manager.path}, checks_descriptors=False) as mtd:
        pid, _ = manager.expect(lambda line: line == "READY=1")
        assert pid == mtd.keeper, "the main process sends everything"
        manager.expect(lambda line: line.startswith("STATUS=") and "2" in line)
        mtd.pools["web"]["workers"] = 3
        mtd.write_config()
        os.kill(mtd.keeper, signal.SIGHUP)
        _, lines = manager.expect(lambda line: line == "RELOADING=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in lines)
        manager.expect(lambda line: line == "READY=1")
        mtd.wait_pool("web", ready=3)
        os.kill(mtd.keeper, signal.SIGTERM)
        manager.expect(lambda line: line == "STOPPING=1")
        assert mtd.process.wait(20) == 0
        assert {pid for pid, _ in manager.messages} == {mtd.keeper}


def test_a_failed_reload_says_ready_again(manager, actor):
    with Mtd({"web": pool([actor, "wait"])}, env={"NOTIFY_SOCKET": manager.path}) as mtd:
        manager.expect(lambda line: line == "READY=1")
        good = open(mtd.config).read()
        mtd.write_config("{")
        os.kill(mtd.keeper, signal.SIGHUP)
        manager.expect(lambda line: line == "RELOADING=1")
        manager.expect(lambda line: line == "READY=1")
        mtd.write_config(good)


def test_not_ready_with_a_bad_configuration(manager):
    mtd = Mtd({}, config_text="{", env={"NOTIFY_SOCKET": manager.path})
    try:
        ready = mtd.launch()
        assert mtd.process.wait(20) == 8
        os.close(ready)
        manager._socket.setblocking(False)
        try:
            assert b"READY=1" not in manager._socket.recv(4096)
        except BlockingIOError:
            pass
    finally:
        mtd._end_hard()
        mtd._clean()


def test_watchdog_is_fed_also_while_the_supervisor_restarts(manager, actor):
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"}
    with Mtd({"web": pool([actor, "wait"])}, env=env) as mtd:
        for _ in range(3):
            pid, _ = manager.expect(lambda line: line == "WATCHDOG=1", 2)
            assert pid == mtd.keeper
        mtd.kill_supervisor()
        for _ in range(3):
            manager.expect(lambda line: line == "WATCHDOG=1", 2)


@pytest.mark.slow
def test_fault_98_a_hung_supervisor_is_replaced_because_of_the_watchdog(manager, actor):
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000000"}
    with Mtd({"web": pool([actor, "wait"])}, env=env) as mtd:
        before, old = mtd.pids("web"), mtd.supervisor()
        os.kill(old, signal.SIGSTOP)
        assert wait_gone(old, 40)
        mtd.reconnect(old)
        assert mtd.pids("web") == before


def test_workers_do_not_get_the_managers_variables(manager, probe):
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1", "LISTEN_FDS": "0", "LISTEN_PID": "1",
           "INVOCATION_ID": "abc", "JOURNAL_STREAM": "1:1"}
    with Mtd({"web": pool([probe], log={"to": "inherit"})}, env=env) as mtd:
        environment = dict(v.partition("=")[::2] for v in mtd.reports.expect("probe")["environment"])
        assert environment["NOTIFY_SOCKET"] == mtd.runtime + "/notify"
        assert not {"WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM", "INVOCATION_ID"} & set(environment)


def test_a_notify_socket_that_is_gone_hurts_nobody(actor):
    with Mtd({"web": pool([actor, "wait"])}, env={"NOTIFY_SOCKET": "/nonexistent/notify"}) as mtd:
        mtd.wait_ready()
        eventually(lambda: mtd.pool("web")["ready"] == 1)


def test_a_stop_extends_the_managers_time_out(manager, actor):
    with Mtd({"web": pool([actor, "ignore=15", "wait"], stop={"timeout": "700ms"})}, env={"NOTIFY_SOCKET": manager.path},
             checks_descriptors=False) as mtd:
        mtd.reports.expect("waiting")
        os.kill(mtd.keeper, signal.SIGTERM)
        manager.expect(lambda line: line.startswith("EXTEND_TIMEOUT_USEC="))
        assert mtd.process.wait(20) == 0
