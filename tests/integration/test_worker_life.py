"""What a worker has to do so that it counts as well, and how long it may live: readiness by a descriptor
and by probes, live probes, the watchdog, EXTEND_TIMEOUT_USEC, limits of memory, age and idleness."""
import contextlib
import http.server
import os
import re
import signal
import socket
import socketserver
import stat
import tempfile
import threading

import pytest
from harness import SLEEPER, Mtd, children_map, command_of, eventually, is_alive, pool, wait_gone

ONCE = {"initial": "1h", "max": "1h", "reset_after": "1h"}  # the second process waits


class Server:
    """One that a probe asks: accepts, and answers HTTP with `status`; closed, nobody answers."""

    def __init__(self, unix=None):
        self.status, self.asked = 200, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                self.asked += 1
                handler.send_response(self.status)
                handler.end_headers()
                handler.wfile.write(b"x" * 10000)

            def log_message(handler, *_):
                pass

            def address_string(handler):
                return "local"

        class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.path = unix
        if unix:
            self.server = Unix(unix, Handler)
            os.chmod(unix, 0o777)
        else:
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = None if unix else self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
            if self.path:
                os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def probe(**keys):
    return {"period": "100ms", "timeout": "5s", "threshold": 2, **keys}


@contextlib.contextmanager
def served(kind, directory):
    """A probe of this kind, and how to make it fail and pass."""
    flag = str(directory / "well")
    with contextlib.ExitStack() as stack:
        if kind == "exec":
            open(flag, "w").close()
            yield {"exec": ["/usr/bin/test", "-e", flag]}, lambda: os.unlink(flag), lambda: open(flag, "w").close()
        elif kind == "http":
            server = stack.enter_context(Server())
            yield ({"http": f"http://127.0.0.1:{server.port}/health"}, lambda: setattr(server, "status", 503),
                   lambda: setattr(server, "status", 302))
        elif kind == "http-unix":
            server = stack.enter_context(Server(str(directory / "web.0")))
            yield ({"http": f"http://unix:{directory}/web.${{MTD_WORKER_ID}}:/health"}, lambda: setattr(server, "status", 404),
                   lambda: setattr(server, "status", 204))
        elif kind == "tcp":
            server = stack.enter_context(Server())
            port = server.port

            def again():
                listener = socket.create_server(("127.0.0.1", port))
                stack.callback(listener.close)
            yield {"tcp": f"localhost:{port}"}, server.close, again
        else:
            server = stack.enter_context(Server(str(directory / "web.sock")))
            yield ({"unix": str(directory / "web.sock")}, server.close,
                   lambda: stack.enter_context(Server(str(directory / "web.sock"))))


KINDS = ["exec", "http", "http-unix", "tcp", "unix"]


@pytest.mark.parametrize("kind", KINDS)
def test_ready_probe_decides_who_is_ready_and_kills_nobody(tmp_path, kind):
    os.chmod(tmp_path, 0o755)
    with served(kind, tmp_path) as (keys, fail, heal):
        with Mtd({"web": pool(SLEEPER, probes={"ready": probe(**keys)})}) as mtd:
            mtd.wait_pool("web", state="running", ready=1)
            pid = mtd.pids("web")[0]
            fail()
            event = mtd.events.expect(event="unready", pool="web")
            assert event["pid"] == pid and event["state"] == "unready" and event["detail"]
            status = mtd.pool("web")
            assert (status["ready"], status["state"], mtd.workers("web")[0]["state"]) == (0, "degraded", "unready")
            mtd.ctl("is-ready", "web", "-q", code=3)
            assert "ready probe" in mtd.ctl("why", "web").stdout
            seen = len(mtd.events.seen)
            heal()
            mtd.events.expect(event="ready", pool="web", start=seen)
            assert mtd.pids("web") == [pid] and mtd.pool("web")["restarts"] == 0
            mtd.ctl("is-ready", "web", "-q")


@pytest.mark.parametrize("kind", KINDS)
def test_failed_live_probe_is_a_crash(tmp_path, kind):
    os.chmod(tmp_path, 0o755)
    with served(kind, tmp_path) as (keys, fail, _):
        with Mtd({"web": pool(SLEEPER, probes={"live": probe(**keys)}, backoff=ONCE)}) as mtd:
            mtd.wait_ready("web")
            pid = mtd.pids("web")[0]
            fail()
            event = mtd.events.expect(event="exited", pool="web", pid=pid)
            assert event["last_exit"]["cause"] == "probe" and event["last_exit"]["planned"] is False
            mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["breaker"]["crashes_in_window"] == 1)
            assert "live probe" in mtd.ctl("why", "web").stdout


def test_a_worker_starts_as_soon_as_its_ready_probe_passes(tmp_path):
    os.chmod(tmp_path, 0o755)
    path = str(tmp_path / "web.0")
    with Mtd({"web": pool(SLEEPER, probes={"ready": probe(unix=f"{tmp_path}/web.${{MTD_WORKER_ID}}", period="1h")})}) as mtd:
        mtd.events.expect(event="executed", pool="web")
        assert mtd.workers("web")[0]["state"] == "starting"
        with Server(path):
            mtd.events.expect(event="ready", pool="web")  # long before an hour has passed


def test_a_probe_that_is_never_answered_holds_up_nobody(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with Mtd({"web": pool(SLEEPER, workers=3, probes={"ready": probe(http=url, timeout="300ms", threshold=1)}, ready="exec")}) as mtd:
            mtd.events.expect(event="unready", pool="web")
            assert "no answer in time" in mtd.events.find(None, event="unready")["detail"]
            assert len(mtd.pids("web")) == 3 and mtd.pool("web")["restarts"] == 0


def test_exec_probe_that_hangs_is_killed_with_all_it_started(tmp_path):
    os.chmod(tmp_path, 0o777)
    script = ["/bin/sh", "-c", f"sleep 1000 & setsid sleep 1000 & echo $$MTD_PID $$MTD_WORKER $$! > {tmp_path}/said; wait"]
    with Mtd({"web": pool(SLEEPER, probes={"live": probe(exec=script, timeout="1s", threshold=1)}, backoff=ONCE)}) as mtd:
        mtd.wait_ready("web")
        pid = mtd.pids("web")[0]
        event = mtd.events.expect(event="exited", pool="web", pid=pid)
        assert event["last_exit"]["cause"] == "probe"
        with open(tmp_path / "said") as file:
            told, worker, child = file.read().split()
        assert (int(told), worker) == (pid, "web/0")
        assert wait_gone(int(child))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as another user")
def test_exec_probe_runs_as_the_workers_do():
    with tempfile.TemporaryDirectory(prefix="mtd-t-") as place:
        os.chmod(place, 0o777)
        script = ["/bin/sh", "-c", "(id -u; pwd; echo $$COLOUR) > who"]
        with Mtd({"web": pool(SLEEPER, user="nobody", cwd=place, env={"COLOUR": "red ${MTD_WORKER_ID}"},
                              probes={"ready": probe(exec=script, period="1h")})}) as mtd:
            mtd.wait_ready("web")
            with open(place + "/who") as file:
                assert file.read().split("\n")[:3] == ["65534", place, "red 0"]


def test_a_command_that_cannot_be_run_is_a_failed_probe(tmp_path):
    script = tmp_path / "check"
    script.write_text("#!/no/such/interpreter\n")
    os.chmod(script, 0o755)
    os.chmod(tmp_path, 0o755)
    with Mtd({"web": pool(SLEEPER, ready="exec", probes={"ready": probe(exec=[str(script)])})}) as mtd:
        event = mtd.events.expect(event="unready", pool="web")
        assert "could not be run" in event["detail"] and "No such file" in event["detail"]


def test_supervisor_dies_while_probes_are_under_way(tmp_path):
    os.chmod(tmp_path, 0o777)
    script = ["/bin/sh", "-c", f"echo $$$$ >> {tmp_path}/pids; exec sleep 1000"]
    with Mtd({"web": pool(SLEEPER, workers=2, ready="exec", probes={"ready": probe(exec=script, timeout="1h")})}) as mtd:
        mtd.wait_ready("web")
        pids = mtd.pids("web")

        def asked():
            with contextlib.suppress(FileNotFoundError), open(tmp_path / "pids") as file:
                return [int(line) for line in file]
            return []
        mtd.until(lambda: len(asked()) == 2)
        first = asked()
        mtd.kill_supervisor()
        assert all(wait_gone(pid) for pid in first), "what nobody waits for any more is ended"
        mtd.until(lambda: len(asked()) == 4)
        assert mtd.pids("web") == pids and all(is_alive(pid) for pid in pids)


def test_probes_change_in_place(tmp_path):
    os.chmod(tmp_path, 0o755)
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        mtd.wait_ready("web")
        pids = mtd.pids("web")
        mtd.pools["web"]["probes"] = {"ready": probe(unix=str(tmp_path / "nobody"))}
        mtd.pools["web"]["ready"] = "exec"
        mtd.write_config()
        assert re.search(r"^web +hot ", mtd.ctl("config", "diff").stdout, re.M)
        mtd.ctl("reload", "--no-wait")
        mtd.events.expect(event="unready", pool="web")
        del mtd.pools["web"]["probes"]
        mtd.write_config()
        mtd.ctl("reload")
        mtd.wait_pool("web", ready=1)
        assert mtd.pids("web") == pids


# ---- ready: fd, EXTEND_TIMEOUT_USEC ---------------------------------------------------------------

def test_ready_by_a_newline(actor, tmp_path):
    with Mtd({"web": pool([actor, "wait"], ready="fd", listen=[f"unix:{tmp_path}/a.sock", f"unix:{tmp_path}/b.sock"])}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        assert mtd.workers("web")[0]["state"] == "starting"
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert b"MTD_READY_FD=5" in file.read().split(b"\0"), "after the listening sockets"
        assert stat.S_ISSOCK(os.stat(f"/proc/{pid}/fd/5").st_mode)
        mtd.kill(pid, signal.SIGUSR2)
        mtd.events.expect(event="ready", pool="web", pid=pid)


def test_the_newline_outlives_the_supervisor(actor):
    with Mtd({"web": pool([actor, "wait"], ready="fd", workers=2)}) as mtd:
        mtd.reports.expect("waiting", count=2)
        pids = mtd.pids("web")
        old = mtd.supervisor()
        os.kill(old, signal.SIGKILL)
        for pid in pids:
            os.kill(pid, signal.SIGUSR2)
        mtd.reconnect(old)
        mtd.wait_pool("web", ready=2)
        assert mtd.pids("web") == pids


def test_ready_from_a_shell():
    with Mtd({"web": pool(["/bin/sh", "-c", 'echo up >&"$$MTD_READY_FD"; exec sleep 1000'], ready="fd")}) as mtd:
        mtd.events.expect(event="ready", pool="web")


def test_a_start_that_asks_for_more_time_gets_it(actor):
    with Mtd({"web": pool([actor, "notify=EXTEND_TIMEOUT_USEC=3600000000", "wait"], ready="notify", start_timeout="15s")}) as mtd:
        mtd.reports.expect("waiting")
        deadline = mtd.until(lambda: re.search(r"deadline in (\d+)m", mtd.ctl("why", "web").stdout))
        assert int(deadline.group(1)) >= 50
        mtd.kill(mtd.pids("web")[0], signal.SIGUSR2)
        mtd.events.expect(event="ready", pool="web")


# ---- Watchdog -------------------------------------------------------------------------------------

def test_watchdog_that_is_fed(actor):
    with Mtd({"web": pool([actor, "feed=200"], watchdog="5s")}) as mtd:
        mtd.reports.expect("fed", count=40, seconds=60)
        with open(f"/proc/{mtd.pids('web')[0]}/environ", "rb") as file:
            variables = file.read().split(b"\0")
        assert b"WATCHDOG_USEC=5000000" in variables and b"WATCHDOG_PID=%d" % mtd.pids("web")[0] in variables
        assert mtd.pool("web")["restarts"] == 0


def test_watchdog_that_is_not_fed(actor):
    with Mtd({"web": pool([actor, "on-abrt=3", "wait"], watchdog="500ms", backoff=ONCE)}) as mtd:
        mtd.reports.expect("abrt")
        event = mtd.events.expect(event="exited", pool="web")
        assert event["last_exit"]["cause"] == "watchdog" and event["last_exit"]["code"] == 3
        assert event["last_exit"]["planned"] is False
        mtd.until(lambda: mtd.pool("web")["breaker"]["crashes_in_window"] == 1)
        assert "WATCHDOG=1" in mtd.ctl("why", "web").stdout


def test_a_worker_changes_its_watchdog(actor):
    # "short" has none and asks for one; "long" has one, never says WATCHDOG=1, and asks for an hour.
    pools = {"short": pool([actor, "notify=WATCHDOG_USEC=100000", "wait"]),
             "long": pool([actor, "notify=WATCHDOG_USEC=3600000000", "wait"], watchdog="2s"),
             "none": pool([actor, "notify=WATCHDOG_USEC=0", "wait"], watchdog="2s"),
             "same": pool([actor, "wait"], watchdog="2s")}
    with Mtd(pools) as mtd:
        calm = mtd.pids("long") + mtd.pids("none")
        for name in ("short", "same"):
            assert mtd.events.expect(event="exited", pool=name)["last_exit"]["cause"] == "watchdog"
        restarts = mtd.pool("short")["restarts"]
        mtd.until(lambda: mtd.pool("short")["restarts"] >= restarts + 3, what="their two seconds are over, too")
        assert mtd.pids("long") + mtd.pids("none") == calm
        assert re.search(r"WATCHDOG=1 is due in 59m", mtd.ctl("why", "long/0").stdout)


def test_watchdog_kills_what_ignores_abrt(actor):
    with Mtd({"web": pool([actor, "ignore=6", "child", "wait"], watchdog="500ms", stop={"timeout": "300ms"}, backoff=ONCE)}) as mtd:
        event = mtd.events.expect(event="exited", pool="web")
        assert (event["last_exit"]["cause"], event["last_exit"]["signal"]) == ("watchdog", 9)


def test_core_dump_is_mentioned(actor, tmp_path):
    with open("/proc/sys/kernel/core_pattern") as file:
        if file.read().strip() != "core":
            pytest.skip("core dumps go elsewhere here (kernel.core_pattern)")
    os.chmod(tmp_path, 0o777)
    with Mtd({"web": pool([actor, "wait"], watchdog="500ms", cwd=str(tmp_path), rlimits={"core": "100M"}, backoff=ONCE)}) as mtd:
        event = mtd.events.expect(event="exited", pool="web")
        if not event["last_exit"]["core"]:
            pytest.skip("the kernel writes no core dump here")
        assert "core" in mtd.ctl("why", "web").stdout


def test_worker_that_gives_itself_up(actor):
    with Mtd({"web": pool([actor, "notify=WATCHDOG=trigger", "wait"], backoff=ONCE)}) as mtd:
        event = mtd.events.expect(event="exited", pool="web")
        assert (event["last_exit"]["cause"], event["last_exit"]["signal"]) == ("watchdog", 6)


def test_supervisor_that_slept_blames_nobody(actor):
    """Its own silence is not the workers': what they said meanwhile, and what they could not say, counts for them."""
    with Mtd({"web": pool([actor, "feed=100"], workers=4, watchdog="2s")}) as mtd:
        mtd.reports.expect("fed", count=8)
        pids, supervisor = mtd.pids("web"), mtd.supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        mtd.reports.forget()
        threading.Event().wait(5)  # what is tried is the passing of time: two periods without a listener
        os.kill(supervisor, signal.SIGCONT)
        mtd.reports.expect("fed", count=80, seconds=60)
        assert mtd.pids("web") == pids and mtd.pool("web")["restarts"] == 0


def test_watchdog_goes_on_after_a_supervisors_death(actor):
    with Mtd({"web": pool([actor, "notify=WATCHDOG=1", "wait"], watchdog="4s", backoff=ONCE)}) as mtd:
        mtd.reports.expect("waiting")
        pid = mtd.pids("web")[0]
        mtd.kill_supervisor()
        assert is_alive(pid)
        event = mtd.events.expect(event="exited", pool="web", pid=pid)
        assert event["last_exit"]["cause"] == "watchdog"


# ---- Limits ---------------------------------------------------------------------------------------

def recycled(mtd, name, pid, cause):
    event = mtd.events.expect(event="exited", pool=name, pid=pid)
    assert (event["last_exit"]["cause"], event["last_exit"]["planned"]) == (cause, True)
    ready = mtd.events.expect(event="ready", pool=name, test=lambda e: e["pid"] != pid)
    assert mtd.events.seen.index(ready) < mtd.events.seen.index(event), "the replacement was ready first"
    assert mtd.events.find(None, event="recycling", pool=name, pid=pid)["detail"] == cause
    assert mtd.pool(name)["restarts"] == 0


def test_memory(actor):
    with Mtd({"web": pool([actor, "memory=64", "wait"], overlap=True, recycle={"max_rss": "48M"})}) as mtd:
        mtd.reports.expect("waiting")
        recycled(mtd, "web", mtd.pids("web")[0], "recycle:max_rss")


def test_memory_of_the_whole_tree_and_not_of_those_below_the_limit(actor):
    big = ["/bin/sh", "-c", f"{actor} memory=64 wait & wait"]
    with Mtd({"big": pool(big, overlap=True, recycle={"max_rss": "48M"}),
              "small": pool([actor, "memory=8", "wait"], overlap=True, recycle={"max_rss": "48M"})}) as mtd:
        mtd.wait_ready()
        small = mtd.pids("small")
        recycled(mtd, "big", mtd.pids("big")[0], "recycle:max_rss")
        assert mtd.pids("small") == small


def test_age(actor):
    with Mtd({"web": pool([actor, "wait"], workers=4, overlap=True, recycle={"max_lifetime": "3s", "concurrency": 1})}) as mtd:
        mtd.wait_ready("web")
        pids = mtd.pids("web")
        recycled(mtd, "web", pids[0], "recycle:max_lifetime")
        mtd.until(lambda: mtd.pool("web")["recycled"] >= 4)


def test_idleness_ends_who_has_no_task(actor):
    with Mtd({"web": pool([actor, "wait"], overlap=True, recycle={"idle_timeout": "1s"})}) as mtd:
        mtd.wait_ready("web")
        recycled(mtd, "web", mtd.pids("web")[0], "recycle:idle")


def test_unused_helpers_are_gone(actor):
    """Nothing that probes start stays: neither processes nor cgroups."""
    with Mtd({"web": pool([actor, "wait"], probes={"live": probe(exec=["/bin/true"], period="50ms")})}) as mtd:
        mtd.wait_ready("web")
        keeper = mtd.main_pid()
        mtd.reports.expect("waiting")

        def only_worker_and_supervisor():
            return sorted(command_of(pid).split()[0].rsplit("/", 1)[-1] for pid in children_map().get(keeper, []))
        eventually(lambda: only_worker_and_supervisor() == ["actor", "mtd-supervisor"])
