"""packaging/Containerfile, step by step in a root directory of our own: no container engine is needed.

By default the final stage gets the files that its packages own on this machine, and mtd comes from the build that is
tested; --full makes both stages with mmdebstrap from Debian's packages, and builds.
"""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from harness import BIN, PATIENCE, ROOT, become_subreaper, eventually

SHELL_TOOLS = ["/bin/sh", "/bin/sleep", "/bin/cat"]


def parse():
    """The stages, each a list of (instruction, rest)."""
    with open(os.path.join(ROOT, "packaging", "Containerfile")) as file:
        text = re.sub(r"\\\n\s*", " ", file.read())
    stages = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            stages.append([])
        stages[-1].append((instruction, rest.strip()))
    return stages


def packages_of(stage):
    words = next(rest for instruction, rest in stage if instruction == "RUN" and "apt-get install" in rest)
    return set(re.search(r"--no-install-recommends ([^&]+)", words).group(1).split())


def one(stage, instruction):
    (rest,) = [rest for name, rest in stage if name == instruction]
    return rest


def libraries_of(program):
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", out)


def copy_with_libraries(program, root):
    for path in [program, *libraries_of(program)]:
        target = root + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            shutil.copy(path, target)


class Root:
    """A root directory in which the steps of a stage are done."""

    def __init__(self, full):
        self.full, self.path, self.directory = full, tempfile.mkdtemp(prefix="mtd-root-"), "/"
        os.chmod(self.path, 0o755)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def run(self, command, seconds=1800):
        inside = f"cd {shlex.quote(self.directory)} && {command}"
        script = f"mount -t proc proc {self.path}/proc && exec chroot {self.path} /bin/sh -c {shlex.quote(inside)}"
        subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script], check=True, timeout=seconds,
                       env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}, stdin=subprocess.DEVNULL)

    def make_base(self, release):
        suite = {"debian:12-slim": "bookworm"}[release]
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", suite, self.path], check=True, timeout=1800)

    def make_small_base(self):
        for name in ("proc", "dev", "tmp", "run", "etc", "var/lib", "usr/bin"):
            os.makedirs(os.path.join(self.path, name), exist_ok=True)
        os.symlink("usr/bin", os.path.join(self.path, "bin"))
        with open(self.path + "/dev/null", "w"):
            pass
        for program in SHELL_TOOLS:
            copy_with_libraries(program, self.path)

    def copy(self, rest, context, stages):
        words = rest.split()
        source = context
        if words[0].startswith("--from="):
            source = stages[words.pop(0).partition("=")[2]].path
        what, where = words
        source = os.path.normpath(source + "/" + what)
        target = os.path.normpath(self.path + "/" + where)
        if what == ".":  # what is not built
            os.makedirs(target, exist_ok=True)
            files = subprocess.run(["git", "-C", source, "ls-files", "-z"], capture_output=True, check=True).stdout
            archive = subprocess.run(["tar", "-C", source, "-c", "--null", "-T", "-"], input=files, capture_output=True, check=True)
            subprocess.run(["tar", "-C", target, "-x"], input=archive.stdout, check=True)
        else:
            shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)


@pytest.fixture
def roots(full, unshare):
    made = []

    def make():
        made.append(Root(full))
        return made[-1]

    yield make
    for root in made:
        root.remove()


def build_image(roots, full):
    build, final = parse()
    stages = {"build": roots()}
    if full:
        if not shutil.which("mmdebstrap"):
            pytest.skip("needs mmdebstrap")
        stages["build"].make_base(one(build, "FROM").split()[0])
        for instruction, rest in build[1:]:
            if instruction == "RUN":
                stages["build"].run(rest, 3600)
            elif instruction == "WORKDIR":
                stages["build"].directory = rest
            else:
                assert instruction == "COPY", instruction
                stages["build"].copy(rest, ROOT, stages)
    else:
        install = [rest for name, rest in build if name == "RUN"][-1]
        assert install.startswith("DESTDIR=/out cmake --install build/release "), install
        here = os.path.dirname(BIN)
        if not os.path.exists(os.path.join(here, "cmake_install.cmake")):
            pytest.skip("MTD_BIN is not in a build directory: nothing to install from")
        command = install.replace("/out", stages["build"].path + "/out").replace("build/release", shlex.quote(here))
        subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    image = roots()
    if full:
        image.make_base(one(final, "FROM").split()[0])
    else:
        image.make_small_base()
    for instruction, rest in final[1:]:
        if instruction == "RUN":
            if full:
                image.run(rest)
        elif instruction == "COPY":
            image.copy(rest, ROOT, stages)
        else:
            assert instruction in ("HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"), instruction
    if not full:
        for name in ("bin/mtd", "bin/mtctl", "libexec/mtd/mtd-supervisor"):
            for library in libraries_of(f"{image.path}/usr/{name}"):
                if not os.path.exists(image.path + library):
                    os.makedirs(os.path.dirname(image.path + library), exist_ok=True)
                    shutil.copy(library, image.path + library)
    return image, final


def test_packages_of_the_build_are_those_we_document():
    build, _ = parse()
    with open(os.path.join(ROOT, "packaging", "dependencies.sh")) as file:
        wanted = re.search(r"BUILD_PACKAGES=\(([^)]*)\)", file.read()).group(1).split()
    assert packages_of(build) == set(wanted)


def with_dependencies(packages):
    known, new = set(), set(packages)
    while new:
        known |= new
        text = subprocess.run(["dpkg-query", "-W", "-f", "${Depends},${Pre-Depends},", *sorted(new)], capture_output=True,
                              text=True, check=False).stdout
        new = set(re.findall(r"(?:^|[,|])\s*([a-z0-9.+-]+)", text)) - known
    return known


def test_packages_of_the_image_hold_every_library():
    if not shutil.which("dpkg-query"):
        pytest.skip("needs dpkg")
    _, final = parse()
    allowed = with_dependencies(packages_of(final))
    for program in ("mtctl", "mtd-supervisor"):
        for library in libraries_of(os.path.join(BIN, program)):
            if "asan" in library or "ubsan" in library:
                pytest.skip("a sanitized build needs more")
            real = os.path.realpath(library)
            # What was installed below /lib is known by that name still.
            owners = subprocess.run(["dpkg-query", "-S", real, real.replace("/usr/lib/", "/lib/", 1)], capture_output=True,
                                    text=True, check=False).stdout.splitlines()
            assert owners, f"no package owns {real}"
            assert owners[0].split(":")[0] in allowed, f"{program} needs {library} of {owners[0]}, which the image does not install"


def test_the_image_runs(roots, full):
    become_subreaper()
    image, final = build_image(roots, full)
    entry = json.loads(one(final, "ENTRYPOINT"))
    health = json.loads(one(final, "HEALTHCHECK").partition("CMD ")[2])
    stop = getattr(signal, one(final, "STOPSIGNAL"))
    # As --read-only --tmpfs /run --tmpfs /var/lib/mtd does it.
    mounts = (f"mount --bind {image.path} {image.path} && mount -t proc proc {image.path}/proc && "
              f"mount --bind /dev/null {image.path}/dev/null && mount -o remount,bind,ro {image.path} && "
              f"mount -t tmpfs run {image.path}/run && exec chroot {image.path} \"$@\"")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    log = tempfile.TemporaryFile()
    container = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", mounts, "sh", *entry],
                                 env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def text():
        log.seek(0)
        return log.read().decode()

    def first():
        with open(f"/proc/{container.pid}/task/{container.pid}/children") as file:
            return int(file.read())

    def is_healthy():
        try:
            return inside(*health).returncode == 0
        except (OSError, ValueError):  # nothing runs in it yet
            return False

    def inside(*command):
        return subprocess.run(["nsenter", "-t", str(first()), "--mount", "--pid", f"--root=/proc/{first()}/root", *command],
                              env=environment, capture_output=True, text=True, check=False)

    try:
        eventually(lambda: container.poll() is not None or is_healthy(), PATIENCE, "the health check passes")
        assert container.poll() is None, text()
        assert text().count("hello from worker hello/") == 2, text()
        shown = json.loads(inside("mtctl", "-o", "json", "status").stdout)
        assert shown["daemon"]["pid"] == 1 and shown["pools"][0]["ready"] == 2
        os.kill(first(), stop)
        begin = time.monotonic()
        assert container.wait(PATIENCE) == 0, text()
        assert time.monotonic() - begin < 15
    finally:
        if container.poll() is None:
            container.kill()
            container.wait()
        log.close()
