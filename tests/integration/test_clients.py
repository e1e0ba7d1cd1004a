"""What clients do, against the real mtd: the scripts that are run against a stand-in elsewhere, and map without a daemon."""
import os
import subprocess
import sys

import pytest

import harness

UNIT = os.path.join(harness.ROOT, "tests", "unit")
MTD = os.path.join(harness.BIN or "", "mtd")
MTCTL = os.path.join(harness.BIN or "", "mtctl")
LIMIT = 900


@pytest.fixture(scope="module", autouse=True)
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks") / "mtd.json"
    path.write_text('{"pools": {"p": {"command": ["/bin/true"], "tasks": {"mode": "task"}}}}')
    path.chmod(0o600)
    checked = subprocess.run([MTD, "--check", "--config", str(path)], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        pytest.skip(f"this mtd has no task queues: {checked.stdout + checked.stderr}")
    if not os.access(os.path.join(harness.BIN, "mtd-broker"), os.X_OK):
        pytest.skip("mtd-broker is not built")


def run(*command, stdin=""):
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=LIMIT, check=False,
                          env={**os.environ, "MTD_PROGRAM": MTD})


@pytest.mark.parametrize("words", [["client_pool_answers.py", "Defects"], ["client_pool_answers.py", "Tutorials"],
                                   ["client_python.py", "Pools"]])
def test_scripts_of_pool(words):
    done = run(sys.executable, "-B", os.path.join(UNIT, words[0]), *words[1:])
    assert done.returncode == 0, done.stderr[-6000:]


def test_cpythons_own_tests_of_pool():
    done = run(sys.executable, "-B", os.path.join(harness.ROOT, "tests", "support", "cpython_pool_tests.py"))
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr[-6000:]


def test_map_without_a_daemon():
    lines = "".join(f"{number}\n" for number in range(200))
    done = run(MTCTL, "map", "-j", "3", "--max-tasks", "20", "--", "echo", "a", stdin=lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"a {number}\n" for number in range(200))


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_mtctl_is_killed_and_its_private_mtd_ends(tmp_path):
    job = subprocess.Popen([MTCTL, "map", "-j", "1", "--", "sh", "-c", f"echo $$ > {tmp_path}/pid.new; "
                            f"mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 1000"], stdin=subprocess.PIPE)
    job.stdin.write(b"x\n")
    job.stdin.flush()
    pid = harness.eventually(lambda: (tmp_path / "pid").exists() and int((tmp_path / "pid").read_text()))
    with open(f"/proc/{parent(parent(pid))}/cmdline") as file:
        directory = os.path.dirname(file.read().split("\0")[2])
    assert os.path.basename(directory).startswith("mtd-map-")
    job.kill()
    job.communicate()
    assert harness.wait_gone(pid)
    harness.eventually(lambda: not os.path.exists(directory), what="its directory is gone, too")


def test_a_directory_is_copied_while_parts_of_mtd_are_killed(tmp_path):
    """The job itself kills, now and then, the adapter that runs it, the broker and the supervisor of its private mtd."""
    source, target = tmp_path / "source", tmp_path / "target"
    for number in range(150):
        path = source / str(number % 5) / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 53))
        (target / str(number % 5)).mkdir(parents=True, exist_ok=True)
    names = [str(path.relative_to(source)) for path in sorted(source.rglob("*.bin"))]
    job = tmp_path / "job.sh"
    job.write_text(f"""#!/bin/bash
number=$(basename "$1" .bin)
keeper=$(ps -o ppid= -p $PPID | tr -d ' ')
if mkdir "{tmp_path}/once-$number" 2>/dev/null; then
  case $((number % 30)) in
    7) kill -9 $PPID ;;
    17) pkill -9 -P "$keeper" -x mtd-broker ;;
    27) pkill -9 -P "$keeper" -x mtd-supervisor ;;
  esac
fi
cp "{source}/$1" "{target}/$1"
""")
    job.chmod(0o755)
    done = run(MTCTL, "map", "-j", "8", "--", str(job), stdin="".join(name + "\n" for name in names))
    assert done.returncode == 0, done.stderr[-3000:]
    subprocess.run(["diff", "-r", source, target], check=True)
