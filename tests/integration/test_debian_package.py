"""The Debian package in a real systemd: installed, upgraded, removed, purged, installed again."""
import json
import os
import re
import shutil
import subprocess

import pytest
import systemd_machine
from harness import BIN, ROOT

POOLS = {"pools": {"web": {"command": ["/bin/sleep", "infinity"], "workers": 3}}}


def missing_tool():
    return next((name for name in ("dpkg-buildpackage", "dh", "dpkg-deb") if not shutil.which(name)), None)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The package of this build, and the same with a later version."""
    if missing_tool():
        pytest.skip(f"needs {missing_tool()}")
    directory = tmp_path_factory.mktemp("packages")
    done = subprocess.run([os.path.join(ROOT, "packaging/build-deb.sh"), "--build", os.path.dirname(BIN), str(directory)],
                          text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"^[EW]: ", done.stdout + done.stderr, re.M), done.stdout + done.stderr
    first = done.stdout.splitlines()[-1]
    for path in directory.glob("*_*_*.deb"):
        if not path.name.startswith("mtd_"):
            path.rename(directory / (path.name.partition("_")[0] + ".deb"))
    opened = directory / "opened"
    subprocess.run(["dpkg-deb", "-R", first, str(opened)], check=True)
    control = opened / "DEBIAN/control"
    version = re.search(r"^Version: (.*)$", control.read_text(), re.M)[1]
    control.write_text(control.read_text().replace(f"Version: {version}", f"Version: {version}+1"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(opened), str(directory / "next.deb")], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(opened)
    os.rename(first, directory / "mtd.deb")
    return directory


@pytest.fixture
def machine(packages):
    reason = systemd_machine.missing()
    if reason:
        pytest.skip("no systemd can be booted: " + reason)
    with systemd_machine.Machine({str(packages): "/mnt/packages"}) as machine:
        yield machine


def workers(machine):
    status = json.loads(machine.sh("mtctl status web -o json"))
    return {worker["name"]: worker["pid"] for worker in status["pools"][0]["workers"]}


def test_what_the_package_says_of_itself(packages):
    listing = subprocess.run(["dpkg-deb", "-c", str(packages / "mtd.deb")], text=True, capture_output=True, check=True).stdout
    for path in ("/etc/mtd/mtd.json", "/etc/mtd/pools.d/", "/lib/systemd/system/mtd.service", "/usr/lib/systemd/user/mtd.service",
                 "/usr/lib/sysusers.d/mtd.conf", "/usr/lib/tmpfiles.d/mtd.conf", "/usr/share/varlink/io.mtd.Manager.varlink",
                 "/usr/share/mtd/mtd.schema.json", "/usr/share/man/man5/mtd.json.5.gz", "/usr/share/man/man7/mtd-control.7.gz",
                 "/usr/share/bash-completion/completions/mtctl", "/usr/share/doc/mtd/examples/systemd/hardened.conf"):
        assert f" .{path}\n" in listing, path
    assert not re.search(r"^\S+ (?!root/root)", listing, re.M), "every file is root's"
    document = json.loads(next(packages.glob("*.spdx.json")).read_text())
    related = {relation["relatedSpdxElement"]: relation["relationshipType"] for relation in document["relationships"]}
    assert related["SPDXRef-libsystemd0"] == "DEPENDS_ON"
    assert related["SPDXRef-nlohmann-json3-dev"] == "STATIC_LINK"


def test_what_authors_of_workers_need_has_packages_of_its_own(packages, machine):
    machine.sh("dpkg -i /mnt/packages/libmtd0.deb /mnt/packages/libmtd-dev.deb /mnt/packages/python3-mtd.deb")
    machine.write("/tmp/a.cpp", "#include <mtd/worker.h>\n#include <mtd/client.h>\nint main() {}\n")
    machine.sh("cd /tmp && g++ -Wl,--no-as-needed a.cpp $(pkg-config --cflags --libs mtd) -o a && ldd a | grep -q libmtd.so.0 && ./a")
    machine.sh("cd / && /usr/bin/python3 -c 'import mtd; print(mtd.Pool)'")
    machine.sh("dpkg -P python3-mtd libmtd-dev libmtd0")


def test_install_upgrade_remove_purge_install(machine):
    machine.sh("dpkg -i /mnt/packages/mtd.deb")
    assert machine.show("mtd.service", "ActiveState") == "active"
    assert machine.show("mtd.service", "UnitFileState") == "enabled"
    assert machine.run("systemctl --global is-enabled mtd").stdout.strip() == "disabled", "not for every user"
    machine.sh("mtctl is-ready -q && mtctl config check && getent group mtd")

    # An upgrade touches no worker, and keeps what the administrator wrote.
    machine.write("/etc/mtd/pools.d/web.json", json.dumps(POOLS))
    machine.sh("echo '// mine' >>/etc/mtd/mtd.json; systemctl reload mtd && mtctl wait web && mtctl scale web +1")
    before, keeper = workers(machine), machine.show("mtd.service", "MainPID")
    assert len(before) == 4
    machine.sh("dpkg -i --force-confold /mnt/packages/next.deb")
    assert (workers(machine), machine.show("mtd.service", "MainPID")) == (before, keeper)
    upgrade = json.loads(machine.sh("mtctl status -o json"))["daemon"]["upgrade"]
    assert (upgrade["number"], upgrade["state"]) == (1, "done")
    assert machine.sh(f"readlink /proc/{keeper}/exe").strip() == "/usr/bin/mtd"
    assert "// mine" in machine.sh("cat /etc/mtd/mtd.json")

    # Removed, nothing runs, and what was set by hand is remembered.
    machine.sh("dpkg -r mtd")
    assert machine.run("pgrep -x 'mtd|mtd-supervisor|sleep'").stdout == ""
    assert machine.run("ls /usr/bin/mtd /lib/systemd/system/mtd.service /run/mtd 2>/dev/null").stdout == ""
    machine.sh("dpkg -i /mnt/packages/next.deb && mtctl wait web")
    assert len(workers(machine)) == 4

    # Purged, only the administrator's own file is left.
    machine.sh("dpkg -P mtd")
    assert machine.run("pgrep -x 'mtd|mtd-supervisor|sleep'").stdout == ""
    left = machine.run("find /etc/mtd /var/lib/mtd /var/log/mtd /etc/systemd/system/*/mtd.service 2>/dev/null").stdout.split()
    assert left == ["/etc/mtd", "/etc/mtd/pools.d", "/etc/mtd/pools.d/web.json"]
    machine.sh("dpkg -i /mnt/packages/mtd.deb && mtctl wait web")
    assert len(workers(machine)) == 3


@pytest.mark.slow
def test_two_packages_of_one_build_are_the_same(packages, tmp_path):
    again = subprocess.run([os.path.join(ROOT, "packaging/build-deb.sh"), "--build", os.path.dirname(BIN), str(tmp_path)],
                           text=True, capture_output=True, check=True).stdout.splitlines()[-1]
    with open(again, "rb") as one, open(packages / "mtd.deb", "rb") as other:
        assert one.read() == other.read()


def test_an_upgrade_that_cannot_be_leaves_the_old_version_running(machine):
    machine.sh("dpkg -i /mnt/packages/mtd.deb")
    machine.write("/etc/mtd/pools.d/web.json", json.dumps(POOLS))
    machine.sh("mtctl reload && mtctl wait web")
    before = workers(machine)
    # A package whose supervisor is no program of this machine.
    machine.sh("cd /tmp && dpkg-deb -R /mnt/packages/next.deb broken && echo text >broken/usr/libexec/mtd/mtd-supervisor && "
               "dpkg-deb -b broken broken.deb >/dev/null")
    done = machine.run("dpkg -i /tmp/broken.deb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the old version runs on" in done.stderr
    assert workers(machine) == before


@pytest.mark.slow
def test_two_builds_in_two_places_are_the_same_package(tmp_path):
    if missing_tool():
        pytest.skip(f"needs {missing_tool()}")
    made = []
    for name in ("one", "another"):
        place = tmp_path / name
        place.mkdir()
        done = subprocess.run([os.path.join(ROOT, "packaging/build-deb.sh"), str(place / "out")], text=True, capture_output=True,
                              env={**os.environ, "TMPDIR": str(place)}, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with open(done.stdout.splitlines()[-1], "rb") as file:
            made.append(file.read())
    assert made[0] == made[1]


@pytest.mark.slow
def test_the_package_needs_nothing_but_debian(packages, tmp_path):
    """In a Debian with nothing installed: the package's dependencies are all it takes."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("needs root and mmdebstrap")
    root = tmp_path / "root"
    made = subprocess.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "bookworm", str(root)],
                          text=True, capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("no Debian can be fetched: " + made.stderr.strip().splitlines()[-1])
    shutil.copy(packages / "mtd.deb", root / "mtd.deb")
    # How this machine reaches its mirror.
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copytree("/etc/apt/apt.conf.d", root / "etc/apt/apt.conf.d", dirs_exist_ok=True)
    script = """
set -eu
apt-get -qq update >/dev/null
apt-get -qq install -y --no-install-recommends /mtd.deb >/dev/null
mtctl config check
mtctl config new >/etc/mtd/mtd.json
mkfifo /tmp/ready
mtd --ready-fd 3 3>/tmp/ready >/tmp/log 2>&1 &
read -r _ </tmp/ready || true
mtctl wait --all --timeout 30s
mtctl status
mtctl shutdown
wait
"""
    done = subprocess.run(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--root", str(root), "--mount-proc",
                           "sh", "-c", script], text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2/2" in done.stdout


def test_what_is_installed_under_any_prefix_can_be_built_against(tmp_path):
    """cmake --install --prefix: mtd.pc and the CMake package, from there and after the tree was moved."""
    first, moved = tmp_path / "first place", tmp_path / "moved"
    done = subprocess.run(["cmake", "--install", os.path.dirname(BIN), "--prefix", str(first)], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    os.rename(first, moved)
    (tmp_path / "a.cpp").write_text("#include <mtd/worker.h>\n#include <mtd/client.h>\nint main() { mtd::Client::connect({}); }\n")
    library = next(moved.rglob("libmtd.so")).parent
    environment = {**os.environ, "PKG_CONFIG_PATH": str(next(moved.rglob("mtd.pc")).parent), "LD_LIBRARY_PATH": str(library)}
    done = subprocess.run(["sh", "-c", "g++ a.cpp $(pkg-config --cflags --libs mtd) -o a && ldd a"], cwd=tmp_path, env=environment, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0 and f"{library}/libmtd.so.0" in done.stdout, done.stdout + done.stderr
    (tmp_path / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(a CXX)\nfind_package(mtd REQUIRED)\n"
                                             "add_executable(b a.cpp)\ntarget_link_libraries(b mtd::mtd)\n")
    done = subprocess.run(["sh", "-c", f"cmake -S . -B build -DCMAKE_PREFIX_PATH={moved} && cmake --build build"], cwd=tmp_path, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
