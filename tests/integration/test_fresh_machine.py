"""The two commands of README.md on a Debian in which nothing is installed."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from harness import ROOT

# Needed by nobody who tests: what benchmarks compare with, how a user becomes root, and mtd itself, found in PATH.
OPTIONAL_TOOLS = {"supervisord", "musl-gcc", "sudo", "mtd"}
OPTIONAL_HEADERS = set()


def run(command, **options):
    return subprocess.run(command, text=True, capture_output=True, check=False, **options)


def tree():
    """What a clone of the repository holds."""
    listing = run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    return [name for name in listing.stdout.split("\0") if name and os.path.isfile(os.path.join(ROOT, name))]


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """A function that runs a script of sh as root in a bare Debian, in a copy of these sources."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for tool in ("mmdebstrap", "unshare", "git"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    if not tree():
        pytest.skip("needs a checkout of git")
    root = tmp_path_factory.mktemp("fresh") / "root"
    made = run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "bookworm", str(root)])
    if made.returncode != 0:
        pytest.skip("no Debian can be fetched: " + made.stderr.strip().splitlines()[-1])
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")  # how this machine reaches its mirror
    shutil.copytree("/etc/apt/apt.conf.d", root / "etc/apt/apt.conf.d", dirs_exist_ok=True)
    for name in tree():
        target = root / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.join(ROOT, name), target, follow_symlinks=False)

    def in_it(script, patience):
        mounts = ("mount -t proc proc /proc; mount -t tmpfs tmpfs /dev; "
                  "for n in null zero full random urandom tty; do mknod -m 666 /dev/$n c $(cat /dev-numbers/$n); done; "
                  "mkdir /dev/shm /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t devpts devpts /dev/pts; "
                  "ln -s /proc/self/fd /dev/fd; cd /src; ")
        return run(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--ipc", "--uts", "--root", str(root), "--",
                    "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
                    "sh", "-euc", mounts + script], timeout=patience)
    numbers = root / "dev-numbers"
    numbers.mkdir()
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        device = os.stat("/dev/" + name).st_rdev
        (numbers / name).write_text(f"{os.major(device)} {os.minor(device)}\n")
    return in_it


@pytest.mark.slow
def test_the_quick_start_needs_nothing(debian):
    done = debian("packaging/quickstart.sh", 3600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "no process, socket or cgroup is left" in done.stdout


def tools_of_tests():
    """What tests, scripts and CMake look for by name."""
    found = set()
    for name in tree():
        if not name.startswith(("tests/", "packaging/", "client/")) and "CMake" not in name:
            continue
        text = pathlib.Path(ROOT, name).read_text(errors="replace")
        if name.endswith(".py"):
            found |= set(re.findall(r"which\(\"([\w.+-]+)\"\)", text))
            for names in re.findall(r"for \w+ in \(([^)]*)\):\n\s+if not shutil\.which", text):
                found |= set(re.findall(r"\"([\w.+-]+)\"", names))
        elif name.endswith(".sh"):
            found |= set(re.findall(r"command -v ([\w.+-]+)", text))
    return sorted(found - OPTIONAL_TOOLS)


def headers():
    """Of the system, which any file of the tree includes."""
    found = set()
    for name in tree():
        if name.endswith((".cpp", ".h")):
            found |= set(re.findall(r"^#include <([\w./+-]+)>", pathlib.Path(ROOT, name).read_text(errors="replace"), re.M))
    return sorted(header for header in found - OPTIONAL_HEADERS if not header.startswith("mtd/"))


@pytest.mark.slow
def test_the_test_suite_installs_all_it_needs(debian):
    installed = debian("tests/run.sh --packages", 1800)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "skipped" not in installed.stdout

    wanted = tools_of_tests()
    assert "strace" in wanted and "nm" in wanted
    missing = debian("for tool in " + " ".join(wanted) + "; do command -v $tool >/dev/null || echo $tool; done", 60).stdout
    assert missing.split() == []

    wanted = headers()
    assert "doctest/doctest.h" in wanted and "sqlite3.h" in wanted
    probe = "".join(f'#if !__has_include(<{header}>)\\n#warning missing {header}\\n#endif\\n' for header in wanted)
    done = debian(f"printf '%b' '{probe}' | g++ -std=c++20 -E -x c++ - $(pkg-config --cflags libsystemd libseccomp) >/dev/null", 60)
    assert done.returncode == 0 and re.findall(r"missing (\S+)", done.stderr) == [], done.stderr

    for preset in ("release", "sanitize", "fuzz"):
        done = debian(f"cmake --preset {preset}", 300)
        assert done.returncode == 0, done.stdout + done.stderr
    modules = debian("/usr/bin/python3 -m pytest tests/integration --collect-only -q --full 2>&1 | tail -n 3", 300)
    assert "error" not in modules.stdout and "tests collected" in modules.stdout, modules.stdout
