"""mtd as a service of a real systemd: what the unit file promises."""
import json
import os
import re
import subprocess

import pytest
import systemd_machine
from harness import BIN, ROOT, eventually

SHIPPED, HARDENED = 6.7, 2.6  # the most that `systemd-analyze security` may say
CONFIG = "/etc/mtd/mtd.json"
# Says who it is; ends what it started only when it is killed.
POOLS = {"web": {"command": ["/bin/sh", "-c", "echo \"hello from $$MTD_WORKER\"; exec sleep infinity"], "workers": 2}}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """What `cmake --install` makes, for the place where packages go."""
    directory = tmp_path_factory.mktemp("install")
    done = subprocess.run(["cmake", "--install", os.path.dirname(BIN), "--prefix", "/usr"], text=True, capture_output=True,
                          env={**os.environ, "DESTDIR": str(directory)}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(directory)


@pytest.fixture(scope="module")
def booted(tree):
    reason = systemd_machine.missing()
    if reason:
        pytest.skip("no systemd can be booted: " + reason)
    with systemd_machine.Machine({tree: "/mnt/tree"}) as machine:
        machine.sh("cp -a /mnt/tree/usr/. /usr/ && systemctl daemon-reload")
        yield machine


@pytest.fixture
def machine(booted):
    """With a configuration, without drop-ins, and nothing running."""
    booted.write(CONFIG, json.dumps({"pools": POOLS}))
    yield booted
    booted.sh("systemctl stop mtd.service web.socket 2>/dev/null; systemctl reset-failed; "
              "rm -rf /etc/systemd/system/mtd.service.d /etc/systemd/system/web.socket /var/lib/mtd; systemctl daemon-reload")


def drop_in(machine, name, text):
    machine.write(f"/etc/systemd/system/mtd.service.d/{name}.conf", text)
    machine.sh("systemctl daemon-reload")


def workers(machine, selector="web"):
    """pid of each worker by name."""
    status = json.loads(machine.sh(f"mtctl status {selector} -o json"))
    return {worker["name"]: worker["pid"] for pool in status["pools"] for worker in pool["workers"]}


def warnings_of(machine):
    """What status says of the unit."""
    daemon = json.loads(machine.sh("mtctl status -o json"))["daemon"]
    return [warning for warning in daemon["warnings"] if warning.startswith("KillMode=")]


def main_pid(machine):
    return int(machine.show("mtd.service", "MainPID"))


def wait_restarted(machine):
    eventually(lambda: machine.show("mtd.service", "NRestarts") == "1" and machine.show("mtd.service", "ActiveState") == "active")
    machine.sh("mtctl wait web --timeout 30s")


def test_the_unit_is_sound_and_no_more_exposed_than_it_says(machine):
    for scope, unit in (("", "/usr/lib/systemd/system/mtd.service"), ("--user", "/usr/lib/systemd/user/mtd.service")):
        done = machine.run(f"XDG_RUNTIME_DIR=/tmp systemd-analyze verify {scope} --man=no {unit}")
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), unit

    def exposure():
        text = machine.sh("systemd-analyze security --offline=no --no-pager mtd.service")
        return float(re.search(r"Overall exposure level for mtd.service: ([\d.]+)", text)[1])
    assert exposure() <= SHIPPED
    with open(os.path.join(ROOT, "packaging/hardened.conf")) as file:
        drop_in(machine, "hardened", file.read())
    assert exposure() <= HARDENED


def test_start_is_over_when_the_pools_run(machine):
    machine.sh("systemctl start mtd")
    assert machine.show("mtd.service", "ActiveState") == "active"
    machine.sh("mtctl is-ready -q")
    eventually(lambda: "2" in machine.show("mtd.service", "StatusText"))
    assert machine.sh(f"cat /proc/{main_pid(machine)}/comm").strip() == "mtd"
    processes = set(machine.sh("cat /sys/fs/cgroup$(systemctl show -P ControlGroup mtd.service)/pools/web/*/cgroup.procs").split())
    assert set(map(str, workers(machine).values())) <= processes


def test_a_bad_configuration_is_no_start(machine):
    machine.write(CONFIG, '{"pools": {"web": {"comand": "x"}}}')
    assert machine.run("systemctl start mtd").returncode != 0
    assert machine.show("mtd.service", "ActiveState") == "failed"
    assert machine.show("mtd.service", "NRestarts") == "0", "starting again would not help"
    assert f'{CONFIG}:1:20: pools.web: unknown key "comand", did you mean "command"?' in machine.journal("-u mtd")


def test_reload_fails_with_a_bad_configuration_and_the_old_one_runs_on(machine):
    machine.sh("systemctl start mtd")
    before = workers(machine)
    machine.write(CONFIG, "{")
    assert machine.run("systemctl reload mtd").returncode != 0
    assert machine.show("mtd.service", "ActiveState") == "active"
    assert workers(machine) == before
    assert f"{CONFIG}:1:" in machine.journal("-u mtd")
    pools = json.loads(json.dumps(POOLS))
    pools["web"]["workers"] = 3
    machine.write(CONFIG, json.dumps({"pools": pools}))
    machine.sh("systemctl reload mtd && mtctl wait web --timeout 30s")
    assert len(workers(machine)) == 3
    assert machine.show("mtd.service", "ActiveState") == "active"


def test_stop_leaves_nothing(machine):
    pools = {"web": {"command": ["/bin/sh", "-c", "trap '' TERM; setsid sleep 4711 & while :; do sleep 4711; done"],
                     "stop": {"timeout": "200ms"}}}
    machine.write(CONFIG, json.dumps({"pools": pools}))
    machine.sh("systemctl start mtd && systemctl stop mtd")
    assert machine.show("mtd.service", "ActiveState") == "inactive"
    assert machine.show("mtd.service", "Result") == "success"
    assert machine.run("pgrep -x sleep").stdout == ""
    assert machine.run("ls /run/mtd /sys/fs/cgroup/system.slice/mtd.service 2>/dev/null").stdout == ""


def test_restart_replaces_everything_once(machine):
    machine.sh("systemctl start mtd")
    before = workers(machine)
    machine.sh("systemctl restart mtd && mtctl wait web")
    after = workers(machine)
    assert not set(before.values()) & set(after.values())
    assert len(machine.sh("pgrep -x sleep").split()) == 2


def test_a_killed_supervisor_is_no_matter_of_systemds(machine):
    machine.sh("systemctl start mtd")
    before, keeper = workers(machine), main_pid(machine)
    machine.sh("kill -9 $(pgrep -x mtd-supervisor) && mtctl wait web")
    assert (workers(machine), main_pid(machine)) == (before, keeper)
    assert machine.show("mtd.service", "NRestarts") == "0"


def test_a_killed_keeper_is_started_again_without_a_double(machine):
    machine.sh("systemctl start mtd")
    keeper = main_pid(machine)
    machine.sh(f"kill -9 {keeper}")
    wait_restarted(machine)
    assert main_pid(machine) != keeper
    assert len(machine.sh("pgrep -x sleep").split()) == 2
    assert machine.sh("pgrep -x mtd-supervisor").count("\n") == 1


@pytest.mark.parametrize("mode", ["mixed", "process"])
def test_fault_95_live_cgroups_with_controllers_hinder_no_restart(machine, mode):
    """systemd cannot put a process into a cgroup whose children have controllers: nothing of mtd's is left when it tries."""
    pools = {"web": {**POOLS["web"], "cgroup": {"pids_max": 50}}}
    machine.write(CONFIG, json.dumps({"pools": pools}))
    drop_in(machine, "kill", f"[Service]\nKillMode={mode}\n")
    machine.sh("systemctl start mtd")
    own = "/sys/fs/cgroup" + machine.show("mtd.service", "ControlGroup")
    if "pids" in machine.sh(f"cat {own}/cgroup.controllers").split():
        assert "pids" in machine.sh(f"cat {own}/cgroup.subtree_control").split()
        assert machine.sh(f"cat {own}/pools/web/0.1/pids.max").strip() == "50"
    machine.sh("systemctl restart mtd && mtctl wait web")
    before = workers(machine)
    machine.sh("kill -9 $(pgrep -x mtd-supervisor) && mtctl wait web")
    assert workers(machine) == before, "a supervisor's death is no restart of the service"
    machine.sh(f"kill -9 {main_pid(machine)}")
    wait_restarted(machine)
    assert machine.show("mtd.service", "Result") == "success"
    assert not set(before.values()) & set(workers(machine).values())
    assert len(machine.sh("pgrep -x sleep").split()) == 2
    assert not warnings_of(machine), "both modes leave the workers' end to mtd"


@pytest.mark.parametrize("mode, words", [("control-group", "signals all workers at once"), ("none", "ends nothing, not even mtd")])
def test_fault_96_another_kill_mode_is_warned_of(machine, mode, words):
    drop_in(machine, "kill", f"[Service]\nKillMode={mode}\n")
    machine.sh("systemctl start mtd")
    (warning,) = eventually(lambda: warnings_of(machine))
    assert warning.startswith(f"KillMode={mode} in mtd.service: ") and words in warning and "KillMode=mixed" in warning
    assert warning in machine.journal("-u mtd")
    machine.sh("kill -9 $(pgrep -x mtd-supervisor) && mtctl wait web")
    eventually(lambda: warning in warnings_of(machine), what="the next supervisor knows it, too")
    drop_in(machine, "kill", "[Service]\nKillMode=mixed\n")
    machine.sh("mtctl reload")
    eventually(lambda: warning not in warnings_of(machine), what="a reload looks again")


# Lets systemd keep a descriptor of the service's that mtd knows nothing of, as another program of that service might.
STORE = r"""
import array, os, socket
fd = os.memfd_create("stale")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("/run/systemd/notify")
s.sendmsg([b"FDSTORE=1\nFDNAME=stale"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
os.execvp("sleep", ["sleep", "infinity"])
"""


def test_fault_97_descriptors_of_systemds_store_that_nobody_knows(machine):
    """mtd's own are held by the keeper, never by systemd; foreign ones are named and reach no worker."""
    machine.write("/opt/test/store.py", STORE)
    machine.write(CONFIG, json.dumps({"pools": {"web": {"command": ["/usr/bin/python3", "/opt/test/store.py"]}}}))
    drop_in(machine, "store", "[Service]\nFileDescriptorStoreMax=1\nNotifyAccess=all\n")
    machine.sh("systemctl start mtd")
    eventually(lambda: machine.show("mtd.service", "NFileDescriptorStore") == "1", what="the store is full")
    machine.sh("kill -9 $(pgrep -x mtd-supervisor) && mtctl wait web")
    machine.sh(f"kill -9 {main_pid(machine)}")
    wait_restarted(machine)
    assert "passed the socket stale" in machine.journal("-u mtd")
    machine.sh("mtctl reload")
    (pid,) = workers(machine).values()
    held = machine.sh(f"ls -l /proc/{main_pid(machine)}/fd /proc/{pid}/fd")
    mine, of_worker = held.split(f"/proc/{pid}/fd:")
    assert "memfd:stale" in mine and "memfd:stale" not in of_worker
    assert machine.show("mtd.service", "NFileDescriptorStore") == "1", "mtd stores nothing there"


def test_a_keeper_that_hangs_is_ended_by_the_watchdog(machine):
    drop_in(machine, "watchdog", "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\n")
    machine.sh("systemctl start mtd")
    keeper = main_pid(machine)
    machine.sh(f"kill -STOP {keeper}")
    wait_restarted(machine)
    assert main_pid(machine) != keeper
    assert "watchdog" in machine.journal("_PID=1 -u mtd").lower()
    assert len(machine.sh("pgrep -x sleep").split()) == 2


def test_the_journal_has_each_workers_output_under_its_pool(machine):
    machine.sh("systemctl start mtd")
    eventually(lambda: "hello from web/1" in machine.journal("-t web"))
    entry = json.loads(machine.sh("journalctl -t web --no-pager -o json -n 1 -g 'hello from web/1'"))
    assert entry["_SYSTEMD_UNIT"] == "mtd.service"
    assert entry["SYSLOG_IDENTIFIER"] == "web"
    own = [json.loads(line) for line in machine.sh("journalctl -u mtd -t mtd-supervisor -t mtd --no-pager -o json").splitlines()]
    assert own and all(entry["_SYSTEMD_UNIT"] == "mtd.service" for entry in own)


def test_a_socket_of_systemds_starts_mtd_and_is_its_pools(machine, http):
    machine.sh("mkdir -p /opt/test")
    with open(http, "rb") as file:
        binary = file.read()
    with open(f"/proc/{machine.leader}/root/opt/test/http", "wb") as file:
        file.write(binary)
    machine.sh("chmod 755 /opt/test/http")
    machine.write(CONFIG, json.dumps({"pools": {"web": {"command": ["/opt/test/http"], "listen": "systemd:web"}}}))
    machine.write("/etc/systemd/system/web.socket", "[Socket]\nListenStream=127.0.0.1:8080\nFileDescriptorName=web\nService=mtd.service\n")
    machine.sh("systemctl daemon-reload && systemctl start web.socket")
    assert machine.show("mtd.service", "ActiveState") == "inactive"
    request = "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3"
    assert "200" in machine.sh(f"bash -c \"{request}\"")
    assert machine.show("mtd.service", "ActiveState") == "active"


def test_the_hardened_unit_runs_workers_of_other_users(machine):
    with open(os.path.join(ROOT, "packaging/hardened.conf")) as file:
        drop_in(machine, "hardened", file.read())
    pools = {"web": {**POOLS["web"], "user": "nobody", "cwd": "/tmp"}}
    machine.write(CONFIG, json.dumps({"pools": pools}))
    machine.sh("systemctl start mtd")
    pid = workers(machine)["web/0"]
    status = dict(line.split(":\t", 1) for line in machine.sh(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert status["Uid"].split()[0] == "65534"
    assert status["CapEff"] == "0" * 16
    assert status["NoNewPrivs"] == "1"
    assert machine.sh(f"cat /proc/{pid}/cgroup").strip().endswith("/mtd.service/pools/web/0.1")
    machine.sh("systemctl stop mtd")
    assert machine.run("pgrep -x sleep").stdout == ""


def test_a_user_has_a_service_of_their_own(machine):
    if not os.access("/lib/x86_64-linux-gnu/security/pam_systemd.so", os.F_OK):
        pytest.skip("needs libpam-systemd")
    machine.sh("id tester >/dev/null 2>&1 || useradd -m tester; loginctl enable-linger tester")
    eventually(lambda: machine.run("test -S /run/user/$(id -u tester)/systemd/private").returncode == 0)
    machine.write("/home/tester/.config/mtd/mtd.json", json.dumps({"pools": POOLS}))
    machine.sh("chown -R tester: /home/tester/.config")
    user = "setpriv --reuid=tester --regid=tester --init-groups env HOME=/home/tester XDG_RUNTIME_DIR=/run/user/$(id -u tester) "
    own = "/home/tester/.config/systemd/user/mtd.service.d/kill.conf"
    machine.write(own, "[Service]\nKillMode=control-group\n")
    machine.sh("chown -R tester: /home/tester/.config")
    machine.sh(user + "systemctl --user daemon-reload && " + user + "systemctl --user start mtd")
    assert "2/2" in machine.sh(user + "mtctl status")

    def warnings():
        told = json.loads(machine.sh(user + "mtctl status -o json"))["daemon"]["warnings"]
        return [warning for warning in told if warning.startswith("KillMode=")]
    (warning,) = eventually(warnings, what="the user's own systemd is asked")
    assert warning.startswith("KillMode=control-group in mtd.service: ") and "KillMode=mixed" in warning
    machine.sh(f"rm {own}")
    machine.sh(user + "systemctl --user daemon-reload && " + user + "mtctl reload")
    eventually(lambda: not warnings(), what="the unit as it is shipped is right")
    machine.sh(user + "systemctl --user stop mtd")
    machine.sh("loginctl disable-linger tester")
    assert machine.run("pgrep -u tester -x sleep").stdout == ""


@pytest.mark.parametrize("capability,keys,says", [
    ("SETUID", {"user": "nobody"}, "user: Operation not permitted"),
    ("SETGID", {"user": "nobody"}, "groups: Operation not permitted"),
    ("SETPCAP", {"sandbox": {"capabilities": ["net_bind_service"]}}, "Operation not permitted"),
    ("SYS_ADMIN", {"sandbox": {"private_tmp": True}}, "Operation not permitted"),
])
def test_without_a_capability_a_worker_that_needs_it_is_not_started(machine, capability, keys, says):
    drop_in(machine, "less", f"[Service]\nCapabilityBoundingSet=~CAP_{capability}\n")
    machine.write(CONFIG, json.dumps({"pools": {"web": {**POOLS["web"], **keys, "workers": 1}, "plain": POOLS["web"]}}))
    machine.sh("systemctl start mtd && mtctl wait plain")
    eventually(lambda: says in machine.sh("mtctl why web"))
    assert machine.run("mtctl is-ready web").returncode == 3


def test_without_cap_kill_workers_of_others_are_not_asked_but_killed(machine):
    drop_in(machine, "less", "[Service]\nCapabilityBoundingSet=~CAP_KILL\n")
    machine.write(CONFIG, json.dumps({"pools": {"web": {**POOLS["web"], "user": "nobody", "stop": {"timeout": "300ms"}}}}))
    machine.sh("systemctl start mtd && mtctl wait web")
    assert "2 killed" in machine.sh("mtctl stop web")
    assert machine.run("pgrep -x sleep").stdout == ""


def test_without_cap_chown_a_socket_of_somebody_else_is_an_error(machine):
    drop_in(machine, "less", "[Service]\nCapabilityBoundingSet=~CAP_CHOWN\n")
    machine.write(CONFIG, json.dumps({"pools": {"web": {**POOLS["web"], "listen": "unix:/run/web.sock?user=nobody"}}}))
    machine.run("systemctl start mtd")
    assert "/run/web.sock" in machine.journal("-u mtd")
    assert "Operation not permitted" in machine.journal("-u mtd")


def test_a_worker_of_another_user_reaches_nothing_of_mtds(machine):
    tries = ("kill -0 $KEEPER && echo signal", "echo $$$$ >/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.procs && echo cgroup",
             "mtctl status && echo status", "ls /var/lib/mtd && echo state", "cat /proc/$KEEPER/environ && echo environment")
    script = f"KEEPER=$(pgrep -x mtd); for try in {' '.join(repr(one) for one in tries)}; do " \
             "eval \"$try\" 2>/dev/null; done; echo tried; exec sleep infinity"
    script = script.replace("$$$$", "$PPID").replace("$", "$$")
    machine.write(CONFIG, json.dumps({"pools": {"web": {"command": ["/bin/sh", "-c", script], "user": "nobody"}}}))
    machine.sh("journalctl --rotate --vacuum-time=1s >/dev/null 2>&1; systemctl start mtd")
    eventually(lambda: "tried" in machine.journal("-t web -b"))
    last = machine.journal("-t web -b").rpartition("tried")[0].splitlines()[-5:]
    assert not {"signal", "cgroup", "status", "state", "environment"} & set(last), last


def test_mtd_has_no_abstract_socket(machine):
    machine.sh("systemctl start mtd")
    own = machine.sh("readlink /proc/$(pgrep -x mtd)/fd/* /proc/$(pgrep -x mtd-supervisor)/fd/* | grep ^socket: || true")
    inodes = set(re.findall(r"socket:\[(\d+)\]", own))
    assert inodes
    for line in machine.sh("cat /proc/net/unix").splitlines()[1:]:
        fields = line.split()
        assert not (fields[6] in inodes and len(fields) > 7 and fields[7].startswith("@")), line
