"""What a worker may use and do: seen by the worker, refused by the kernel, missing on this machine."""
import errno
import json
import os
import shutil
import tempfile

import pytest
from harness import NOBODY, SLEEPER, Mtd, pool

NEVER = {"initial": "1h", "max": "1h"}


@pytest.fixture
def away(monkeypatch, probe):
    """Directories of the test, and the probe, outside of /tmp, which a private one hides."""
    place = next((d for d in ("/run", "/dev/shm") if os.access(d, os.W_OK)
                  and not os.statvfs(d).f_flag & os.ST_NOEXEC), None)
    if place is None:
        pytest.skip("needs a place outside of /tmp to write and execute in")
    monkeypatch.setattr(tempfile, "tempdir", place)
    directory = tempfile.mkdtemp(prefix="mtd-l-")
    os.chmod(directory, 0o755)
    yield shutil.copy(probe, directory)
    shutil.rmtree(directory)


def bits(report, name):
    return int(report[name], 16)


def test_fault_14_everything_at_once_is_what_the_worker_sees(root, away):
    own = f"/tmp/mtd-own-{os.getpid()}"
    keys = {"user": "nobody", "group": "nogroup", "nice": 5, "ionice": "idle", "cpu_affinity": "per-worker",
            "env": {"ATTEMPTS": f"/etc/mtd-never-made:{own}"},
            "sandbox": {"no_new_privs": True, "capabilities": ["CAP_NET_BIND_SERVICE"], "private_tmp": True,
                        "read_only_paths": ["/etc", "/usr"], "seccomp": ["@default", "socketpair"]}}
    with Mtd({"web": pool([away], workers=2, **keys)}) as mtd:
        for report in mtd.reports.expect("probe", count=2):
            assert report["Uid"].split() == [str(NOBODY)] * 4
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert bits(report, name) == 1 << 10, name
            assert (report["NoNewPrivs"], report["Seccomp"]) == ("1", "2")
            assert report["nice"] == 5 and report["io_priority"] == 3 << 13
            mine = sorted(os.sched_getaffinity(0))
            slot = int(next(v for v in report["environment"] if v.startswith("MTD_WORKER_ID="))[14:])
            assert report["Cpus_allowed_list"] == str(mine[slot % len(mine)])
            assert report["attempts"] == {"/etc/mtd-never-made": errno.EROFS, own: 0, "mount": errno.EPERM,
                                          "clone3": errno.ENOSYS, "setns": errno.EPERM, "socket": 0}
            assert set(report["descriptors"]) == {"0", "1", "2"}
        assert not os.path.exists(own)


def test_a_change_of_the_sandbox_rolls_and_one_of_the_cgroup_applies_in_place(root, probe):
    with Mtd({"web": pool([probe], workers=2)}) as mtd:
        before = mtd.pids("web")
        mtd.reports.expect("probe", count=2)
        mtd.pools["web"]["cgroup"] = {"cpu_weight": 50}
        mtd.write_config()
        said = mtd.run_ctl("config", "diff").stdout
        assert "cgroup.cpu_weight" in said and "hot" in said, said
        mtd.ctl("reload")
        assert mtd.pids("web") == before
        mtd.pools["web"]["sandbox"] = {"no_new_privs": True}
        mtd.write_config()
        mtd.ctl("reload")
        assert not set(mtd.pids("web")) & set(before)
        assert [r["NoNewPrivs"] for r in mtd.reports.expect("probe", count=2)] == ["1", "1"]
        mtd.kill_supervisor()
        assert [w["state"] for w in mtd.workers("web")] == ["ready", "ready"]


@pytest.mark.parametrize("keys,stage,error", [
    ({"sandbox": {"read_only_paths": ["/does/not/exist"]}}, "read_only_paths", "ENOENT"),
    ({"cpu_affinity": [1023]}, "cpu_affinity", "EINVAL"),
])
def test_what_the_kernel_refuses_is_a_failed_start_with_its_stage(root, keys, stage, error):
    with Mtd({"web": pool(SLEEPER, backoff=NEVER, **keys), "ok": pool(SLEEPER)}) as mtd:
        last = mtd.events.expect(event="spawn_failed", pool="web")["last_exit"]
        assert (last["stage"], last["errno_name"], last["cause"]) == (stage, error, "spawn_failed")
        web = mtd.pool("web")
        assert web["restarts"] == 0 and web["breaker"]["crashes_in_window"] == 0 and web["spawn_failures"] >= 1
        assert stage in mtd.ctl("why", "web").stdout
        mtd.wait_pool("ok", ready=1)


@pytest.mark.parametrize("keys,stage", [
    ({"sandbox": {"private_tmp": True}}, "mount_namespace"),
    ({"sandbox": {"capabilities": []}}, "capabilities"),
    ({"sandbox": {"ambient_capabilities": ["kill"]}}, "capabilities"),
    ({"ionice": "realtime"}, "io_priority"),
    ({"nice": -5}, "priority"),
])
def test_an_ordinary_user_is_warned_and_then_refused(root, away, keys, stage):
    with Mtd({"web": pool(SLEEPER, backoff=NEVER, **keys)}, user=NOBODY) as mtd:
        last = mtd.events.expect(event="spawn_failed", pool="web")["last_exit"]
        assert (last["stage"], mtd.pool("web")["restarts"]) == (stage, 0)
        assert any("needs CAP_" in w for w in mtd.status()["daemon"]["warnings"])
        said = mtd.run_ctl("config", "check", "--config", mtd.config, user=NOBODY)
        assert said.returncode == 0 and "needs CAP_" in said.stderr, said


def test_an_ordinary_user_can_lock_its_workers_down(root, away):
    keys = {"env": {"ATTEMPTS": "/dev/null"}, "sandbox": {"seccomp": ["@namespaces"]}, "ionice": "best-effort:7", "nice": 3}
    with Mtd({"web": pool([away], **keys)}, user=NOBODY) as mtd:
        report = mtd.reports.expect("probe")
        assert (report["NoNewPrivs"], report["Seccomp"], report["nice"]) == ("1", "2", 3)
        assert report["io_priority"] == (2 << 13 | 7)
        assert report["attempts"]["setns"] == errno.EPERM and report["attempts"]["clone3"] == errno.ENOSYS


def test_a_private_tmp_cannot_hide_what_the_worker_needs(root):
    """The harness has its runtime directory in /tmp."""
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        before = mtd.pids("web")
        mtd.pools["web"]["sandbox"] = {"private_tmp": True}
        mtd.write_config()
        refused = mtd.run_ctl("reload")
        assert refused.returncode != 0 and "sandbox.private_tmp hides" in refused.stdout + refused.stderr
        assert mtd.pids("web") == before


def test_limits_without_their_controller_are_told_and_required_ones_start_nothing(cgroups):
    with Mtd({"web": pool(SLEEPER, cgroup={"memory_max": "100M", "pids_max": 50}),
              "must": pool(SLEEPER, backoff=NEVER, cgroup={"memory_max": "100M", "required": True})}) as mtd:
        path = mtd.workers("web")[0].get("cgroup") or ""
        if os.path.exists(os.path.join(path, "memory.max")):
            pytest.skip("the memory controller is there: nothing is missing")
        mtd.wait_pool("web", ready=1)
        warnings = mtd.status()["daemon"]["warnings"]
        assert any(w.startswith("pool web: cgroup.memory_max has no effect: ") for w in warnings), warnings
        assert any(w.startswith("pool web: cgroup.pids_max has no effect: ") for w in warnings), warnings
        assert any(w.startswith("pool must: cgroup.memory_max cannot be set") for w in warnings), warnings
        last = mtd.events.expect(event="spawn_failed", pool="must")["last_exit"]
        assert (last["stage"], last["errno_name"]) == ("cgroup_limits", "ENODEV")
        assert mtd.pool("must")["restarts"] == 0
        cannot = json.dumps(mtd.ctl_json("limits")["host"]["cannot"])
        assert "cgroup.memory_max" in cannot and "memory controller" in cannot
        mtd.kill_supervisor()
        assert any(w.startswith("pool web: cgroup.memory_max") for w in mtd.status()["daemon"]["warnings"])
        del mtd.pools["web"]["cgroup"], mtd.pools["must"]
        mtd.write_config()
        mtd.ctl("reload")
        assert not any("cgroup." in w for w in mtd.status()["daemon"]["warnings"])


def test_limits_are_set_where_the_controllers_are(cgroups):
    """Needs a hierarchy with controllers: a machine with cgroup v2 alone."""
    with Mtd({"web": pool(SLEEPER, cgroup={"memory_max": "100M", "memory_high": "90M", "pids_max": 50, "cpu_max": "50%",
                                           "cpu_weight": 10})}) as mtd:
        mtd.wait_pool("web", ready=1)
        path = mtd.workers("web")[0].get("cgroup") or ""
        if not os.path.exists(os.path.join(path, "memory.max")):
            pytest.skip("no memory controller for mtd on this machine")

        def read(name):
            with open(os.path.join(path, name)) as file:
                return file.read().strip()
        assert (read("memory.max"), read("memory.high"), read("pids.max")) == (str(100 << 20), str(90 << 20), "50")
        assert (read("cpu.max"), read("cpu.weight")) == ("50000 100000", "10")
        before = mtd.pids("web")
        mtd.pools["web"]["cgroup"] = {"memory_max": "200M"}
        mtd.write_config()
        mtd.ctl("reload")
        assert mtd.pids("web") == before
        assert (read("memory.max"), read("memory.high"), read("pids.max"), read("cpu.max")) == (
            str(200 << 20), "max", "max", "max 100000")
        assert not any("cgroup." in w for w in mtd.status()["daemon"]["warnings"])


def test_a_kill_for_want_of_memory_is_told_as_such(cgroups):
    """Needs the memory controller; the worker takes more than it may."""
    eater = ["/usr/bin/python3", "-c", "x = bytearray(300 << 20)"]
    with Mtd({"ok": pool(SLEEPER)}) as mtd:
        path = mtd.workers("ok")[0].get("cgroup") or ""
        if not os.path.exists(os.path.join(path, "memory.max")):
            pytest.skip("no memory controller for mtd on this machine")
        mtd.pools["web"] = pool(eater, restart="never", cgroup={"memory_max": "20M"})
        mtd.write_config()
        mtd.run_ctl("reload")
        assert mtd.events.expect(event="exited", pool="web")["last_exit"]["cause"] == "oom"
