"""What only a machine with all controllers of cgroup v2, or one whose clock may jump, can show; with --full."""
import json
import os
import subprocess

import pytest
import virtual_machine
from harness import BIN, eventually

pytestmark = pytest.mark.slow
CONFIG = "/etc/mtd/mtd.json"
SLEEPER = ["/bin/sleep", "infinity"]
PATIENCE = 240  # seconds; every instruction is translated
QUICK = {"crash_limit": {"count": 1000000}, "backoff": {"initial": "50ms", "max": "200ms"}}


@pytest.fixture(scope="module")
def booted(tmp_path_factory, tools):
    reason = virtual_machine.missing()
    place = None
    if not reason:
        place, reason = virtual_machine.kernel()
    if reason:
        pytest.skip("no virtual machine: " + reason)
    tree = tmp_path_factory.mktemp("install")
    done = subprocess.run(["cmake", "--install", os.path.dirname(BIN), "--prefix", "/usr"], text=True, capture_output=True,
                          env={**os.environ, "DESTDIR": str(tree)}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with virtual_machine.VirtualMachine(place, {str(tree): "/mnt/tree", tools: "/mnt/tools"}) as machine:
        machine.sh("cp -a /mnt/tree/usr/. /usr/ && systemctl daemon-reload")
        yield machine


@pytest.fixture
def machine(booted):
    yield booted
    booted.sh("systemctl stop mtd.service; systemctl reset-failed; rm -rf /var/lib/mtd")


def start(machine, **pools):
    machine.write(CONFIG, json.dumps({"pools": {name: {**QUICK, **spec} for name, spec in pools.items()}}))
    machine.sh("systemctl start mtd")


# Forks until the kernel refuses; says how often it could.
FORKS = """
import os, signal
count = 0
try:
    while count < 100:
        if os.fork() == 0:
            signal.pause()
        count += 1
except BlockingIOError:
    pass
with open("/run/forks.new", "w") as file:
    file.write(str(count))
os.rename("/run/forks.new", "/run/forks")
signal.pause()
"""


def pool(machine, name):
    done = machine.run(f"mtctl status {name} -o json")  # exit code 3 where one is not ready
    return json.loads(done.stdout)["pools"][0]


def workers(machine, name):
    return pool(machine, name)["workers"]


def pids(machine, selector):
    return [worker["pid"] for worker in workers(machine, selector)]


def end_of(machine, name, cause):
    """Waits for an end of that cause; the whole exit."""
    found = []

    def look():
        lines = machine.sh("mtctl events -o jsonl").splitlines()
        found[:] = [event["last_exit"] for event in map(json.loads, lines)
                    if event.get("pool") == name and event["event"] in ("exited", "spawn_failed") and event["last_exit"]
                    and event["last_exit"]["cause"] == cause]
        return found
    eventually(look, PATIENCE, f"{name} ends with cause {cause}")
    return found[0]


def cgroup_file(machine, worker, name):
    return machine.sh(f"cat {worker['cgroup']}/{name}").strip()


def untouched(machine, keeper, other):
    """The service, its main process and the other pool are what they were."""
    return (machine.show("mtd.service", "ActiveState") == "active" and machine.show("mtd.service", "NRestarts") == "0"
            and machine.show("mtd.service", "MainPID") == keeper and pids(machine, "other") == other)


def test_the_kernel_holds_workers_to_their_limits(machine):
    spin = ["/bin/sh", "-c", "while :; do :; done"]
    start(machine, other={"command": SLEEPER}, spin={"command": spin, "cgroup": {"cpu_max": "10%"}},
          forks={"command": ["/usr/bin/python3", "-c", FORKS], "cgroup": {"pids_max": 4}})
    spinning = workers(machine, "spin")[0]
    assert cgroup_file(machine, spinning, "cpu.max") == "10000 100000"
    eventually(lambda: "nr_throttled 0\n" not in cgroup_file(machine, spinning, "cpu.stat") + "\n", PATIENCE, "it is throttled")

    eventually(lambda: machine.run("cat /run/forks").stdout, PATIENCE, "the kernel refuses a fork beyond pids_max")
    assert machine.sh("cat /run/forks") == "3"
    assert cgroup_file(machine, workers(machine, "forks")[0], "pids.events") == "max 1"
    told = "The kernel refused its workers 1 process beyond cgroup.pids_max (4, threads included)."
    assert told in machine.sh("mtctl why forks")
    machine.sh("kill -9 " + str(pids(machine, "forks")[0]))
    end_of(machine, "forks", "signal")
    eventually(lambda: "refused its workers 2 process" in machine.sh("mtctl why forks"), PATIENCE, "it is remembered of the one that ended")
    machine.sh("mtctl is-ready other -q")
    assert json.loads(machine.sh("mtctl status -o json"))["daemon"]["warnings"] == []


def test_a_limit_of_processes_of_the_unit_is_named(machine):
    """fault 18, fault 19: what TasksMax= permits."""
    machine.sh("mkdir -p /run/systemd/system/mtd.service.d && printf '[Service]\\nTasksMax=20\\n' >/run/systemd/system/mtd.service.d/few.conf && "
               "systemctl daemon-reload")
    try:
        machine.write(CONFIG, json.dumps({"pools": {"many": {"command": SLEEPER, "workers": 50}}}))
        assert machine.run("systemctl start mtd").returncode != 0
        said = "the pools have 50 workers, but pids.max of /sys/fs/cgroup/system.slice/mtd.service (TasksMax= of its unit) allows 20 processes"
        assert said in machine.journal("-u mtd")
        start(machine, many={"command": SLEEPER, "workers": 20})
        eventually(lambda: "pids.max of /sys/fs/cgroup/system.slice/mtd.service (TasksMax= of its unit) is 20, and " in
                   machine.run("mtctl why many").stdout, PATIENCE, "why names the limit")
        assert "TasksMax= of the unit" in machine.run("mtctl why many").stdout
        assert "pids.max" in machine.sh("mtctl limits")
    finally:
        machine.sh("rm -r /run/systemd/system/mtd.service.d && systemctl stop mtd; systemctl daemon-reload")


def test_a_worker_killed_for_want_of_memory_is_told_as_such_and_the_service_goes_on(machine):
    start(machine, other={"command": SLEEPER}, eater={"command": ["/mnt/tools/actor", "memory=200", "wait"],
                                                     "cgroup": {"memory_max": "20M"}})
    keeper, other = machine.show("mtd.service", "MainPID"), pids(machine, "other")
    assert end_of(machine, "eater", "oom")["planned"] is False
    assert "want of memory" in machine.sh("mtctl why eater")
    assert pool(machine, "eater")["restarts"] >= 1
    assert untouched(machine, keeper, other)
    # More memory, in place: it comes up.
    machine.write(CONFIG, json.dumps({"pools": {"other": {**QUICK, "command": SLEEPER}, "eater": {
        **QUICK, "command": ["/mnt/tools/actor", "memory=200", "wait"], "cgroup": {"memory_max": "300M"}}}}))
    machine.sh(f"mtctl reload && mtctl wait eater --timeout {PATIENCE}s")
    assert untouched(machine, keeper, other)


def test_the_keeper_survives_the_kill_of_a_child_that_cannot_even_be_executed(machine):
    start(machine, other={"command": SLEEPER}, tiny={"command": SLEEPER, "cgroup": {"memory_max": "64K"}})
    keeper, other = machine.show("mtd.service", "MainPID"), pids(machine, "other")

    def tried():
        tiny = pool(machine, "tiny")
        return tiny["restarts"] + tiny["spawn_failures"] >= 5
    eventually(tried, PATIENCE, "it is tried again and again")
    assert untouched(machine, keeper, other)
    machine.write(CONFIG, json.dumps({"pools": {"other": {**QUICK, "command": SLEEPER},
                                                "tiny": {**QUICK, "command": SLEEPER}}}))
    machine.sh(f"mtctl reload && mtctl wait tiny --timeout {PATIENCE}s")
    assert untouched(machine, keeper, other)


def test_memory_that_recycles_is_what_the_cgroup_counts(machine):
    start(machine, other={"command": SLEEPER}, big={"command": ["/mnt/tools/actor", "memory=96", "wait"],
                                                    "recycle": {"max_rss": "64M"}, "overlap": True})
    end = end_of(machine, "big", "recycle:max_rss")
    assert end["planned"] is True
    assert pool(machine, "big")["restarts"] == 0
    current = workers(machine, "big")[0]
    assert current["cgroup"] and int(cgroup_file(machine, current, "memory.current")) > 0


def test_a_clock_that_jumps_changes_nothing(machine):
    start(machine, other={"command": SLEEPER}, web={"command": SLEEPER, "workers": 2, "recycle": {"max_lifetime": "12h"}})
    keeper, other, web = machine.show("mtd.service", "MainPID"), pids(machine, "other"), pids(machine, "web")
    for jump in ("+2 days", "-4 days", "1971-01-01", "2037-01-01"):
        machine.sh(f"date -s '{jump}' >/dev/null")
        machine.sh(f"kill -9 {web[0]} && mtctl wait web --timeout {PATIENCE}s")  # its back-off is no two days
        now = pids(machine, "web")
        assert now[1] == web[1] and now[0] not in (0, web[0])
        web = now
        assert pool(machine, "web")["since_ms"] < 3600 * 1000
        assert untouched(machine, keeper, other)
    machine.sh("mtctl restart web --timeout 120s")
    assert untouched(machine, keeper, other)
