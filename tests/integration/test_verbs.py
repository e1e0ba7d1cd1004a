"""Every verb of mtctl and every exit code, against one running daemon."""
import json
import os
import re
import signal
import subprocess

import pytest
from harness import BIN, SLEEPER, Mtd, Varlink, is_alive, pool, wait_gone


@pytest.fixture(scope="module")
def mtd(tools):
    actor = tools + "/actor"
    pools = {
        "web": pool([actor, "wait"], workers=3),
        "job": pool(SLEEPER, workers=1),
        "off": pool(SLEEPER, workers=2, enabled=False),
        "broken": pool(["/bin/false"], enabled=False, backoff={"initial": "1h", "max": "1h"}),
    }
    with Mtd(pools) as daemon:
        daemon.wait_ready("web", "job")
        yield daemon


def columns_of(text):
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("POOL"))
    return lines[head].split(), {line.split()[0]: line.split() for line in lines[head + 1:] if line.strip()}


def test_status_prints_one_line_a_pool(mtd):
    out = mtd.ctl("status").stdout
    assert re.match(r"mtd \d+\.\d+\.\d+ +pid \d+ ", out)
    head, rows = columns_of(out)
    assert head[:3] == ["POOL", "STATE", "READY"]
    assert rows["web"][1:3] == ["running", "3/3"]
    assert rows["off"][1] == "stopped"
    assert "\x1b" not in out, "plain when piped"


def test_status_json_has_the_documented_members(mtd):
    answer = mtd.ctl_json("status", "web")
    assert answer["api"] == 1
    daemon = answer["daemon"]
    assert daemon["pid"] == mtd.keeper and daemon["config_in_sync"] is True and daemon["uptime_ms"] >= 0
    (web,) = answer["pools"]
    assert {"name": "web", "state": "running", "want": 3, "want_file": 3, "ready": 3, "busy": None, "queue": None}.items() <= web.items()
    assert [w["name"] for w in web["workers"]] == ["web/0", "web/1", "web/2"]
    for worker in web["workers"]:
        assert worker["state"] == "ready" and is_alive(worker["pid"]) and worker["incarnation"] >= 1
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", worker["started"])


@pytest.mark.parametrize("form", ["table", "wide", "json", "jsonl", "name"])
def test_status_in_every_format(mtd, form):
    out = mtd.ctl("-o", form, "status").stdout
    assert "web" in out
    if form == "name":
        assert sorted(out.split()) == ["broken", "job", "off", "web"]
    if form == "json":
        assert len(json.loads(out)["pools"]) == 4
    if form == "jsonl":
        assert all(isinstance(json.loads(line), dict) for line in out.splitlines())


def test_status_of_one_worker(mtd):
    answer = mtd.ctl_json("status", "web/1")
    assert [w["name"] for p in answer["pools"] for w in p.get("workers", [])] == ["web/1"]
    assert str(answer["pools"][0]["workers"][0]["pid"]) in mtd.ctl("status", "web/1").stdout


def test_status_of_a_glob(mtd):
    assert {p["name"] for p in mtd.ctl_json("status", "*o*", code=3)["pools"]} == {"broken", "job", "off"}


def test_quiet_prints_nothing(mtd):
    assert mtd.ctl("-q", "is-ready", "web").stdout == ""


def test_exit_0_status_without_selector_whatever_the_pools_do(mtd):
    mtd.ctl("status", code=0)


def test_exit_2_usage(mtd):
    mtd.ctl("no-such-verb", code=2)
    mtd.ctl("scale", "web", "x", code=2)
    mtd.ctl("--no-such-option", "status", code=2)
    mtd.ctl("signal", "NOSUCHSIG", "web", code=2)
    mtd.ctl("stop", code=2)


def test_exit_3_not_ready(mtd):
    mtd.ctl("is-ready", "off", "-q", code=3)
    mtd.ctl("is-ready", "web", code=0)


def test_exit_4_no_such_pool_or_worker(mtd):
    done = mtd.ctl("status", "wbe", code=4)
    assert "wbe" in done.stderr and done.stdout == ""
    mtd.ctl("stop", "web/99", code=4)
    mtd.ctl("scale", "nope", "3", code=4)


def test_exit_5_unreachable(mtd):
    done = subprocess.run([BIN + "/mtctl", "-s", mtd.directory + "/nowhere", "status"], capture_output=True, text=True, check=False)
    assert done.returncode == 5 and "nowhere" in done.stderr


def test_exit_6_timed_out_waiting(mtd):
    mtd.ctl("--timeout", "200ms", "wait", "off", "--for", "ready", code=6)


def test_exit_7_permission_denied(mtd, root):
    assert mtd.run_ctl("status", user=65534).returncode in (5, 7), "the socket's directory or mode keeps others out"


def test_exit_8_invalid_configuration(mtd):
    good = open(mtd.config).read()
    mtd.write_config('{"pools": {"web": {"comand": "x"}}}')
    try:
        done = mtd.ctl("config", "check", mtd.config, code=8)
        assert "did you mean" in done.stdout + done.stderr
        assert mtd.ctl("reload", code=8).stderr != ""
    finally:
        mtd.write_config(good)
    mtd.ctl("reload", code=0)


def test_start_and_stop_say_what_happened(mtd):
    mtd.ctl("start", "off")
    pids = mtd.pids("off")
    assert len(pids) == 2 and all(map(is_alive, pids))
    done = mtd.ctl("stop", "off")
    assert re.search(r"stopped in .*2 exited", done.stdout + done.stderr), done.stdout + done.stderr
    assert not any(map(is_alive, pids))
    assert mtd.pool("off")["state"] == "stopped"
    mtd.ctl("stop", "off")  # once more: already so


def test_stop_now_kills_at_once(mtd):
    mtd.ctl("start", "off")
    pids = mtd.pids("off")
    done = mtd.ctl("stop", "--now", "off")
    assert "killed" in done.stdout + done.stderr
    assert not any(map(is_alive, pids))


def test_stop_and_start_of_one_worker(mtd):
    before = mtd.pids("web")
    mtd.ctl("stop", "web/1")
    states = {w["name"]: w["state"] for w in mtd.workers("web")}
    assert states["web/1"] == "stopped" and states["web/0"] == "ready"
    mtd.ctl("start", "web/1")
    after = mtd.pids("web")
    assert len(set(before) & set(after)) == 2 and len(after) == 3


def test_start_of_what_cannot_start_is_exit_1(mtd):
    mtd.ctl("--timeout", "15s", "start", "broken", code=1)
    mtd.ctl("stop", "broken")
    mtd.ctl("reset-failed", "broken")


def test_start_waits_only_for_programs_that_are_ready_by_being_executed(tools):
    """Started is what lives for min_uptime, at most a second; what tells that it is ready need not prove it."""
    told = [tools + "/actor", "notify=READY=1", "wait"]
    # 9 s: far above what it takes, and what it would take if min_uptime were waited for.
    pools = {"told": pool(told, enabled=False, ready="notify", min_uptime="1h"),
             "quick": pool(SLEEPER, enabled=False, min_uptime="0s"),
             "plain": pool(SLEEPER, enabled=False, min_uptime="1h"),
             "fails": pool([tools + "/actor", "sleep=300", "exit=3"], enabled=False, min_uptime="1h",
                           backoff={"initial": "1h", "max": "1h"})}
    with Mtd(pools) as mtd:
        for name in ("told", "quick", "plain"):
            mtd.ctl("--timeout", "9s", "start", name)
        elapsed = {p["name"]: p["elapsed_ms"] for name in ("quick", "plain")
                   for p in mtd.call("Restart", select=[name])["pools"]}
        assert elapsed["plain"] >= 1000, elapsed
        assert mtd.ctl("start", "fails", code=1).stderr
        assert mtd.ctl("restart", "fails", code=1).stderr


def test_restart_replaces_every_process(mtd):
    before = mtd.pids("web")
    restarts = mtd.pool("web")["restarts"]
    mtd.ctl("restart", "web")
    after = mtd.pids("web")
    assert len(after) == 3 and not set(before) & set(after)
    assert mtd.pool("web")["restarts"] == restarts, "a manual restart is not counted"


def test_restart_of_one_worker(mtd):
    before = mtd.pids("web")
    mtd.ctl("restart", "web/2")
    assert len(set(before) & set(mtd.pids("web"))) == 2


def test_no_wait_returns_at_once(mtd):
    mtd.ctl("--no-wait", "restart", "web")
    mtd.ctl("wait", "web", "--for", "ready")


def test_scale_up_down_relative_and_reset(mtd):
    mtd.ctl("scale", "web", "5")
    assert mtd.pool("web")["want"] == 5 and len(mtd.pids("web")) == 5
    mtd.ctl("scale", "web", "+1")
    mtd.ctl("scale", "web", "-3")
    assert mtd.pool("web")["want"] == 3 and mtd.wait_pool("web", ready=3)
    mtd.ctl("scale", "web=4", "job=2")
    assert mtd.pool("web")["want"] == 4 and mtd.pool("job")["want"] == 2
    assert "4(3)" in mtd.ctl("status").stdout, "WANT shows what the file says"
    mtd.ctl("scale", "web", "--reset")
    mtd.ctl("scale", "job", "--reset")
    assert mtd.pool("web")["want"] == 3 and mtd.pool("job")["want"] == 1


def test_scale_current_is_a_precondition(mtd):
    mtd.ctl("scale", "web", "4", "--current", "7", code=1)
    assert mtd.pool("web")["want"] == 3
    mtd.ctl("scale", "web", "4", "--current", "3")
    mtd.ctl("scale", "web", "--reset")


def test_scale_to_zero_and_back(mtd):
    pids = mtd.pids("web")
    mtd.ctl("scale", "web", "0")
    assert all(wait_gone(p) for p in pids)
    mtd.ctl("scale", "web", "--reset")
    mtd.wait_ready("web")


def test_signal_reaches_workers(mtd):
    mtd.reports.forget()
    mtd.ctl("restart", "web")
    for pid in mtd.pids("web"):
        mtd.reports.expect("waiting", pid=pid)
    mtd.ctl("signal", "HUP", "web")
    got = {mtd.reports.expect("hup")["pid"] for _ in range(3)}
    assert got == set(mtd.pids("web"))
    mtd.ctl("signal", "SIGHUP", "web/1", "--whom", "main")
    assert mtd.reports.expect("hup")["worker"] == "web/1"
    mtd.ctl("signal", str(int(signal.SIGHUP)), "web/0", "--whom", "tree")
    assert mtd.reports.expect("hup")["worker"] == "web/0"


def test_events_since_the_start(mtd):
    lines = [json.loads(line) for line in mtd.ctl("-o", "jsonl", "events", "--since", "0").stdout.splitlines()]
    assert any(e["event"] == "executed" and e.get("pool") == "web" for e in lines)
    assert all(re.match(r"\S+:\d+$", e["cursor"]) for e in lines)


def test_wait_for_ready_and_stopped(mtd):
    mtd.ctl("wait", "web", "--for", "ready")
    mtd.ctl("wait", "off", "--for", "stopped")


def test_why_tells_exits_and_next(mtd):
    (pid, *_) = mtd.pids("job")
    os.kill(pid, signal.SIGSEGV)
    mtd.events.expect(event="ready", test=lambda e: e.get("worker") == "job/0" and e.get("pid") != pid)
    out = mtd.ctl("why", "job").stdout
    assert "SEGV" in out and "job" in out
    answer = mtd.ctl_json("why", "job")
    exits = answer["pools"][0]["workers"][0]["exits"]
    assert exits[0]["signal"] == int(signal.SIGSEGV) and exits[0]["planned"] is False


def test_config_show_schema_check_diff(mtd):
    schema = json.loads(mtd.ctl("config", "schema").stdout)
    assert "2020-12" in schema["$schema"]
    assert "web" in mtd.ctl("config", "show", "--config", mtd.config).stdout
    mtd.ctl("config", "check", mtd.config)
    mtd.ctl("config", "diff")


def test_freeze_and_thaw(mtd):
    mtd.ctl("freeze", "web")
    assert mtd.wait_pool("web", state="frozen")
    mtd.ctl("signal", "HUP", "web/0")
    mtd.ctl("thaw", "web")
    mtd.wait_pool("web", state="running")
    assert mtd.reports.expect("hup")["worker"] == "web/0"


def test_tree_shows_every_worker(mtd):
    out = mtd.ctl("tree").stdout
    for pid in mtd.pids("web"):
        assert str(pid) in out


def test_limits_shows_numbers(mtd):
    out = mtd.ctl("limits").stdout
    assert re.search(r"clients.*1024", out), out
    host = mtd.ctl_json("limits")["host"]
    assert host["capacity_workers"] > 10


def test_version_and_help(mtd):
    assert re.search(r"\d+\.\d+", mtd.ctl("version").stdout)
    assert "status" in mtd.ctl("--help").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(mtd, shell):
    out = mtd.ctl("completion", shell).stdout
    assert "reset-failed" in out


def test_socket_from_the_environment(mtd):
    done = subprocess.run([BIN + "/mtctl", "status"], capture_output=True, text=True, check=False,
                          env={**os.environ, "MTD_SOCKET": mtd.socket})
    assert done.returncode == 0 and "web" in done.stdout


def test_colour_only_on_a_terminal(mtd):
    import pty
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        lead, follow = pty.openpty()
        process = subprocess.Popen([BIN + "/mtctl", "-s", mtd.socket, "status"], stdin=subprocess.DEVNULL, stdout=follow,
                                   stderr=follow, env={**os.environ, "TERM": "xterm-256color", **extra})
        os.close(follow)
        data = b""
        while True:
            try:
                block = os.read(lead, 65536)
            except OSError:
                break
            if not block:
                break
            data += block
        os.close(lead)
        assert process.wait(10) == 0
        assert (b"\x1b[" in data) == coloured, (extra, data)


def test_introspection(mtd):
    with Varlink(mtd.socket) as client:
        info = client.call("org.varlink.service.GetInfo")
        assert "io.mtd.Manager" in info["interfaces"]
        text = client.call("org.varlink.service.GetInterfaceDescription", interface="io.mtd.Manager")["description"]
        assert "method Status" in text and text.startswith("#") or "interface io.mtd.Manager" in text


def test_shutdown_ends_the_daemon(tools):
    with Mtd({"web": pool(SLEEPER, workers=2)}) as own:
        pids = own.pids("web")
        own.ctl("shutdown")
        assert own.process.wait(20) == 0
        assert not any(map(is_alive, pids))
        own.ctl("status", code=5)


def test_status_of_many_pools_is_put_together_whole():
    """Names that sort differently by byte, by word and by locale; more than fits into one reply."""
    odd = ["a", "a.b", "a-b", "a_b", "A", "a0", "A.b", "0", "z" * 64, "z" * 63, "Z" * 64, "z" * 63 + "0"]
    names = odd + [f"pool{number}" for number in range(200 - len(odd))]
    with Mtd({name: pool(SLEEPER, workers=2, enabled=False) for name in names}) as mtd:
        with Varlink(mtd.socket) as client:
            client.send("Status", {"select": names}, more=True)
            replies = 1
            while client.receive().get("continues"):
                replies += 1
        assert replies > 1, "the answer comes in pieces"
        for select in (["*"], names):
            pools = json.loads(mtd.ctl("-o", "json", "status", *select, code=3).stdout)["pools"]  # none runs
            assert sorted(p["name"] for p in pools) == sorted(names)
            for one in pools:
                assert [w["name"] for w in one["workers"]] == [one["name"] + "/0", one["name"] + "/1"]
                assert one["want"] == 2 and one["state"] == "stopped"
