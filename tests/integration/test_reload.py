"""A new configuration: hot keys in place, a new command worker by worker, a bad file changes nothing."""
import os
import signal
import tempfile
import time

import pytest
from harness import NOBODY, SLEEPER, Mtd, descriptor_count, eventually, is_alive, pool


def test_hot_key_keeps_processes(actor):
    with Mtd({"web": pool([actor, "wait"], workers=3)}) as mtd:
        before = mtd.pids("web")
        mtd.pools["web"]["stop"] = {"timeout": "7s"}
        mtd.write_config()
        plan = mtd.ctl_json("reload")["plan"]
        assert {p["pool"]: p["apply"] for p in plan["pools"]} == {"web": "hot"}
        assert mtd.pids("web") == before


def test_workers_change_in_place(actor):
    with Mtd({"web": pool([actor, "wait"], workers=3)}) as mtd:
        before = mtd.pids("web")
        mtd.pools["web"]["workers"] = 5
        mtd.write_config()
        mtd.ctl("reload")
        assert set(before) < set(mtd.pids("web")) and len(mtd.pids("web")) == 5
        mtd.pools["web"]["workers"] = 1
        mtd.write_config()
        mtd.ctl("reload")
        assert len(mtd.pids("web")) == 1 and mtd.pool("web")["want_file"] == 1


def test_unchanged_file_changes_nothing(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        before = mtd.pids("web")
        plan = mtd.ctl_json("reload")["plan"]
        assert {p["apply"] for p in plan["pools"]} == {"unchanged"}
        assert mtd.pids("web") == before


@pytest.mark.parametrize("overlap", [True, False])
def test_new_command_is_rolled_out_worker_by_worker(actor, overlap):
    with Mtd({"web": pool([actor, "wait"], workers=4, overlap=overlap)}) as mtd:
        mtd.wait_ready()
        before = mtd.workers("web")
        mtd.pools["web"]["command"] = [actor, "report=new", "wait"]
        mtd.write_config()
        answer = mtd.ctl_json("reload")
        assert answer["plan"]["pools"][0]["apply"] in ("rolling", "restart")
        assert "command" in answer["plan"]["pools"][0]["keys"]
        mtd.reports.expect("new", count=4)
        web = mtd.pool("web")
        assert web["state"] == "running" and web["ready"] == 4 and web["outdated"] == 0
        assert not {w["pid"] for w in before} & {w["pid"] for w in web["workers"]}
        assert web["restarts"] == 0 and web["recycled"] == 0, "a reload is neither"
        mtd.events.drain()
        alive, fewest, most = 4, 4, 4
        for event in mtd.events.seen[mtd.events.seen.index(next(e for e in mtd.events.seen if e["event"] == "reloaded")):]:
            if event["event"] == "spawned":
                alive += 1
            elif event["event"] == "exited":
                alive -= 1
            fewest, most = min(fewest, alive), max(most, alive)
        assert fewest >= (4 if overlap else 3) and most <= 5, "one at a time"


def test_new_revision_that_fails_leaves_the_old_one_running(actor):
    keys = {"overlap": True, "ready": "notify", "start_timeout": "2s"}
    with Mtd({"web": pool([actor, "notify=READY=1", "wait"], workers=3, **keys)}) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web")
        mtd.pools["web"]["command"] = [actor, "exit=1"]
        mtd.write_config()
        mtd.ctl("--timeout", "25s", "reload", code=1, seconds=40)
        assert sorted(mtd.pids("web")) == sorted(before), "the old revision goes on, complete"
        mtd.pools["web"]["command"] = [actor, "notify=READY=1", "report=good", "wait"]
        mtd.write_config()
        mtd.ctl("reload", seconds=40)
        mtd.wait_pool("web", state="running", ready=3, outdated=0)


def test_pool_added_and_removed(actor):
    with Mtd({"a": pool([actor, "wait"])}) as mtd:
        kept = mtd.pids("a")
        mtd.pools["b"] = pool([actor, "wait"], workers=2)
        mtd.write_config()
        mtd.ctl("reload")
        added = mtd.pids("b")
        assert len(added) == 2 and mtd.pids("a") == kept
        del mtd.pools["b"]
        mtd.write_config()
        mtd.ctl("reload")
        assert not any(map(is_alive, added))
        assert [p["name"] for p in mtd.status()["pools"]] == ["a"]
        mtd.ctl("status", "b", code=4)


def test_no_leak_over_many_reloads(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        counts = []
        for turn in range(12):
            mtd.pools["web"]["env"]["TURN"] = str(turn)
            mtd.pools[f"p{turn}"] = pool([actor, "wait"])
            mtd.write_config()
            mtd.ctl("reload")
            del mtd.pools[f"p{turn}"]
            mtd.write_config()
            mtd.ctl("reload")
            counts.append((descriptor_count(mtd.keeper), descriptor_count(mtd.supervisor())))
        assert counts[-1][0] <= counts[1][0] + 2 and counts[-1][1] <= counts[1][1] + 2, counts


def test_scale_survives_a_reload(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        mtd.ctl("scale", "web", "3")
        mtd.pools["web"]["stop"] = {"timeout": "3s"}
        mtd.write_config()
        mtd.ctl("reload")
        assert mtd.pool("web")["want"] == 3 and mtd.pool("web")["want_file"] == 2


def test_hup_reloads(actor):
    with Mtd({"web": pool([actor, "wait"], workers=1)}) as mtd:
        mtd.pools["web"]["workers"] = 2
        mtd.write_config()
        os.kill(mtd.keeper, signal.SIGHUP)
        mtd.wait_pool("web", ready=2)


def spoil(mtd, kind):
    path = mtd.config
    if kind == "half-written":
        mtd.write_config(open(path).read()[:60])
    elif kind == "unknown key":
        mtd.write_config('{"pools": {"web": {"command": "x", "max_task": 3}}}')
    elif kind == "garbage":
        mtd.write_config("\x00\xff{{{")
    elif kind == "empty":
        mtd.write_config("")
    elif kind == "deep":
        mtd.write_config("[" * 100000)
    elif kind == "no such program":
        mtd.write_config('{"pools": {"web": {"command": "/no/such/program"}}}')
    elif kind == "missing":
        os.unlink(path)
    elif kind == "fifo":
        os.unlink(path)
        os.mkfifo(path, 0o600)
    elif kind == "directory":
        os.unlink(path)
        os.mkdir(path)
    elif kind == "symlink loop":
        os.unlink(path)
        os.symlink(path, path)
    elif kind == "1 GB sparse":
        os.truncate(path, 1 << 30)
    elif kind == "group-writable":
        os.chmod(path, 0o660)
    elif kind == "unreadable":
        os.chmod(path, 0)
    if mtd.user is not None and os.path.lexists(path):
        os.chown(path, mtd.user, mtd.user, follow_symlinks=False)


@pytest.mark.parametrize("kind", ["half-written", "unknown key", "garbage", "empty", "deep", "no such program", "missing", "fifo",
                                  "directory", "symlink loop", "1 GB sparse", "group-writable", "unreadable"])
def test_fault_89_bad_configuration_changes_nothing(actor, kind):
    user = NOBODY if kind == "unreadable" else None
    if user and os.geteuid() != 0:
        user = None
    with Mtd({"web": pool([actor, "wait"], workers=2)}, user=user) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web")
        good = open(mtd.config).read()
        spoil(mtd, kind)
        begin = time.monotonic()
        done = mtd.ctl("reload", code=8)
        assert time.monotonic() - begin < 10
        assert "mtd.json" in done.stderr, done.stderr
        assert mtd.pids("web") == before
        daemon = mtd.status()["daemon"]
        assert daemon["config_error"] and daemon["config_in_sync"] is not True
        mtd.kill(before[0])
        mtd.until(lambda: mtd.pool("web")["ready"] == 2 and mtd.pool("web")["restarts"] == 1, what="the old configuration works on")
        if os.path.isdir(mtd.config) and not os.path.islink(mtd.config):
            os.rmdir(mtd.config)
        mtd.write_config(good)
        mtd.ctl("reload")
        assert mtd.status()["daemon"]["config_error"] is None
        assert before[1] in mtd.pids("web")


def test_fault_88_hup_storm_is_coalesced(actor):
    with Mtd({"web": pool([actor, "wait"], workers=3)}) as mtd:
        before = mtd.pids("web")
        end = time.monotonic() + 2
        sent = 0
        while time.monotonic() < end:
            os.kill(mtd.keeper, signal.SIGHUP)
            sent += 1
        assert sent > 1000
        mtd.ctl("reload")
        assert mtd.pids("web") == before and mtd.pool("web")["restarts"] == 0
        mtd.events.drain()
        assert len(mtd.log().splitlines()) < 60, "coalesced in the log too"


def test_fault_90_reload_while_the_kernel_refuses_forks(root, actor):
    """All-or-nothing is about the configuration; a refused spawn of a new pool heals by retry."""
    base = "/sys/fs/cgroup/pids"
    if not os.access(base + "/cgroup.procs", os.W_OK):
        pytest.skip("needs a writable pids controller (v1)")
    group = f"{base}/mtd-t-{os.getpid()}"
    os.mkdir(group)
    try:
        prefix = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        with Mtd({"a": pool([actor, "wait"])}, prefix=prefix) as mtd:
            mtd.wait_ready()
            used = int(open(group + "/pids.current").read())
            mtd.pools["b"] = pool([actor, "wait"], workers=4)
            mtd.write_config()
            with open(group + "/pids.max", "w") as limit:
                limit.write(str(used + 2))  # the loader and a worker or two
            mtd.ctl("--no-wait", "reload")
            mtd.events.expect(event="spawn_failed", pool="b")
            assert mtd.pool("b")["restarts"] == 0
            with open(group + "/pids.max", "w") as limit:
                limit.write("max")
            mtd.wait_pool("b", 20, state="running", ready=4)
            assert mtd.pool("a")["restarts"] == 0
    finally:
        eventually(lambda: not open(group + "/cgroup.procs").read().split(), 5)
        os.rmdir(group)


def test_config_directory_with_drop_ins(actor, tmp_path):
    directory = tmp_path / "conf"
    (directory / "pools.d").mkdir(parents=True)
    (directory / "mtd.json").write_text("{}")
    (directory / "pools.d" / "web.json").write_text('{"pools": {"web": {"command": ["%s", "wait"], "workers": 1}}} // comment' % actor)
    for path in [tmp_path, directory, directory / "pools.d"]:
        os.chmod(path, 0o755)
    for path in directory.rglob("*.json"):
        os.chmod(path, 0o644)
    mtd = Mtd({})
    mtd.config = str(directory)
    with mtd:
        assert mtd.pool("web")["want"] == 1
        drop = directory / "pools.d" / "web.json.d"
        drop.mkdir()
        (drop / "10-more.json").write_text('{"pools": {"web": {"workers": 3,}}}')
        os.chmod(drop, 0o755)
        os.chmod(drop / "10-more.json", 0o644)
        mtd.ctl("reload")
        assert mtd.pool("web")["want"] == 3


def test_ttin_and_ttou_scale_the_only_pool():
    with Mtd({"web": pool(SLEEPER, workers=2)}) as mtd:
        os.kill(mtd.keeper, signal.SIGTTIN)
        mtd.wait_pool("web", want=3, ready=3)
        os.kill(mtd.keeper, signal.SIGTTOU)
        mtd.wait_pool("web", want=2, ready=2)


def test_status_says_whether_the_files_differ(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        mtd.wait_ready()
        good = open(mtd.config).read()
        in_sync = lambda: mtd.status()["daemon"]["config_in_sync"]
        assert in_sync() is True
        mtd.pools["web"]["workers"] = 2
        mtd.write_config()
        mtd.until(lambda: in_sync() is False, what="the change is noticed")
        assert "(files differ)" in mtd.ctl("status").stdout
        mtd.write_config(good)
        mtd.until(lambda: in_sync() is True, what="so is its end")
        mtd.write_config()
        mtd.ctl("reload")
        assert in_sync() is True and "(in sync)" in mtd.ctl("status").stdout


def test_a_changed_env_file_is_a_difference(actor):
    with tempfile.TemporaryDirectory() as elsewhere:
        path = os.path.join(elsewhere, "web.env")

        def write(text):
            with open(path, "w") as file:
                file.write(text)

        write("A=1\n")
        with Mtd({"web": pool([actor, "wait"], env_file=path)}) as mtd:
            mtd.wait_ready()
            in_sync = lambda: mtd.status()["daemon"]["config_in_sync"]
            assert in_sync() is True
            write("A=2\n")
            mtd.until(lambda: in_sync() is False, what="the change is noticed")
            write("A=1\n")
            mtd.until(lambda: in_sync() is True, what="so is its end")
            os.unlink(path)
            mtd.until(lambda: in_sync() is False, what="the removal is noticed")
            write("A=2\n")
            mtd.ctl("reload")
            assert in_sync() is True
            write("A=3\n")
            mtd.until(lambda: in_sync() is False, what="so is a change after a reload")
