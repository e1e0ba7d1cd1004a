"""A start after kill -9 of keeper and supervisor ends what they left, completely, before it starts anything."""
import contextlib
import os
import signal
import subprocess

import pytest
from harness import NOBODY, Mtd, cgroup2_mount, eventually, is_alive, pool, wait_gone
from test_stop import HIDE_CGROUPS

FREEZER = "/sys/fs/cgroup/freezer"


@pytest.fixture(params=["cgroup", "no cgroup", "no root"])
def surroundings(request):
    if request.param == "cgroup":
        request.getfixturevalue("cgroups")
        return {}
    request.getfixturevalue("unshare")
    return {"prefix": HIDE_CGROUPS} if request.param == "no cgroup" else {"user": NOBODY}


@contextlib.contextmanager
def sleeper(tag):
    """A process that is not ours to end, however much its tag looks like it."""
    process = subprocess.Popen(["/bin/sleep", "infinity"], env={"MTD_TAG": tag})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def instance_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        entry = next(x for x in file.read().split(b"\0") if x.startswith(b"MTD_TAG="))
    return entry.decode().partition("=")[2].partition("/")[0]


def test_ended_before_anything_is_started(surroundings, actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}, **surroundings) as neighbour, \
            Mtd({"web": pool([actor, "daemon", "wait"], workers=3)}, checks_descriptors=False, **surroundings) as mtd:
        neighbour.wait_ready()
        theirs = neighbour.pids("web")
        mtd.reports.expect("waiting", count=3)
        pids = mtd.pids("web") + [r["pid"] for r in mtd.reports.expect("daemon", count=3)]
        former = instance_of(pids[0])
        met = os.path.join(mtd.directory, "met")
        os.mkdir(met)
        os.chmod(met, 0o777)
        # None of the new ones may meet one of the old ones.
        check = f"for p in {' '.join(map(str, pids))}; do [ ! -e /proc/$$p/exe ] || touch {met}/$$p; done; exec sleep infinity"
        mtd.kill_whole()
        assert all(map(is_alive, pids))
        with sleeper("f" * 16 + "/web/0/1") as foreign, sleeper(former + "0/web/0/1") as alike:
            mtd.pools["web"]["command"] = ["/bin/sh", "-c", check]
            mtd.write_config()
            mtd.start()
            mtd.wait_ready()
            assert not any(map(is_alive, pids))
            assert os.listdir(met) == []
            assert "an mtd that is gone left 6 processes: killed" in mtd.log() and f"{pids[5]} actor" in mtd.log()
            assert foreign.poll() is None and alike.poll() is None
            assert neighbour.pids("web") == theirs and neighbour.pool("web")["restarts"] == 0


def test_after_an_orderly_end_nothing_is_looked_for(actor):
    """The tag of a life that ended in order means nothing any more."""
    with Mtd({"web": pool([actor, "wait"])}, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        former = instance_of(mtd.pids("web")[0])
        mtd.finish()
        with sleeper(former + "/web/0/1") as alike:
            mtd.start()
            assert alike.poll() is None


def test_several_lives_killed_before_they_cleaned_up(unshare, actor):
    """A start that is killed itself keeps what it had to end on the list."""
    with Mtd({"web": pool([actor, "wait"], workers=2)}, prefix=HIDE_CGROUPS, checks_descriptors=False) as mtd:
        mtd.wait_ready()
        pids = mtd.pids("web")
        mtd.kill_whole()
        with open(mtd.runtime + "/lock") as file:
            first = file.read()
        mtd.write_config("{ broken")
        mtd.launch()
        assert mtd.process.wait(20) == 8  # it ended them, though it does not start
        assert not any(map(is_alive, pids))
        with open(mtd.runtime + "/lock") as file:
            assert first.split()[1] not in file.read()
        mtd.write_config()
        mtd.start()


def test_in_the_services_own_cgroup(cgroups, root, actor):
    """systemd starts each life of a service in the same cgroup."""
    service = os.path.join(cgroups, f"mtd-test-{os.getpid()}.service")
    os.mkdir(service)

    def enter():
        with open(service + "/cgroup.procs", "w") as procs:
            procs.write("0")

    try:
        with Mtd({"web": pool([actor, "daemon", "wait"], workers=2)}, checks_descriptors=False,
                 popen={"preexec_fn": enter}) as mtd:
            assert mtd.own_cgroup == service
            mtd.reports.expect("waiting", count=2)
            pids = mtd.pids("web") + [r["pid"] for r in mtd.reports.expect("daemon", count=2)]
            mtd.kill_whole()
            # One that hides its tag is found by its place.
            hidden = subprocess.Popen(["/bin/sleep", "infinity"], env={})
            os.mkdir(service + "/pools/web/77.1")
            with open(service + "/pools/web/77.1/cgroup.procs", "w") as procs:
                procs.write(str(hidden.pid))
            mtd.start()
            assert hidden.wait(20) == -signal.SIGKILL
            assert not any(map(is_alive, pids))
            assert mtd.own_cgroup == service
            mtd.reports.expect("waiting", count=2)
            assert len(os.listdir(service + "/pools/web")) >= 2 and not os.path.exists(service + "/pools/web/77.1")
    finally:
        for path, directories, _ in os.walk(service, topdown=False):
            for name in directories:
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(path, name))
        os.rmdir(service)


def test_two_in_one_service_cgroup_keep_apart(cgroups, root, actor):
    """The first has moved out of the way: the second one is alone there, and must not take its trees."""
    service = os.path.join(cgroups, f"mtd-test-{os.getpid()}.service")
    os.mkdir(service)

    def enter():
        with open(service + "/cgroup.procs", "w") as procs:
            procs.write("0")

    try:
        with Mtd({"web": pool([actor, "wait"])}, popen={"preexec_fn": enter}) as first:
            before = first.pids("web")
            with Mtd({"web": pool([actor, "wait"])}, popen={"preexec_fn": enter}) as second:
                assert first.own_cgroup == service and os.path.dirname(second.own_cgroup) == service
                second.wait_ready()
            assert first.pids("web") == before
    finally:
        os.rmdir(service)


@pytest.mark.parametrize("way", ["cgroup", "tag"])
def test_a_hung_one_is_named_and_not_waited_for(root, actor, way, request):
    """Frozen in the old freezer, a process does not even end by SIGKILL."""
    if not os.access(FREEZER + "/cgroup.procs", os.W_OK):
        pytest.skip("needs the cgroup v1 freezer to make a process that cannot be killed")
    if way == "cgroup" and cgroup2_mount() is None:
        pytest.skip("needs a cgroup2 hierarchy")
    if way == "tag":
        request.getfixturevalue("unshare")
    ice = os.path.join(FREEZER, f"mtd-test-{os.getpid()}")
    os.mkdir(ice)
    try:
        with Mtd({"web": pool([actor, "wait"], workers=2)}, checks_descriptors=False,
                 prefix=HIDE_CGROUPS if way == "tag" else ()) as mtd:
            mtd.wait_ready()
            hung, other = mtd.pids("web")
            tree = mtd.own_cgroup
            with open(ice + "/cgroup.procs", "w") as procs:
                procs.write(str(hung))
            with open(ice + "/freezer.state", "w") as state:
                state.write("FROZEN")
            eventually(lambda: open(ice + "/freezer.state").read() == "FROZEN\n")
            try:
                mtd.kill_whole()
                mtd.start()
                assert not is_alive(other) and is_alive(hung)
                mtd.wait_pool("web", state="running", ready=2)
                assert f"SIGKILL does not end it: {hung} actor; mtd starts without waiting" in mtd.log()
                assert way == "tag" or mtd.own_cgroup != tree
                # A restart of the supervisor does not wait once more.
                mtd.kill_supervisor()
                assert mtd.pool("web")["ready"] == 2
            finally:
                with open(ice + "/freezer.state", "w") as state:
                    state.write("THAWED")
            assert wait_gone(hung)
            mtd.finish()
            mtd.start()  # whose start clears the rest away
            assert tree is None or not os.path.exists(tree)
    finally:
        os.rmdir(ice)
