"""A whole machine: qemu without hardware's help, a stock kernel of Debian's with all controllers of cgroup v2, and
systemd as process 1 over what is installed here.

The root is an overlay: this machine's files, read only over 9P, and a tmpfs above. Kernel and modules come from
Debian's package, which is fetched once into build/vm. What happens inside (want of memory, a clock that jumps) stays
inside, and at the end everything is gone.
"""
import contextlib
import glob
import gzip
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

from harness import ROOT
from systemd_machine import MASKED, is_sanitized

CACHE = os.path.join(ROOT, "build", "vm")
BOOT_PATIENCE = 600  # seconds; every instruction is translated
MEMORY = 1024  # MiB
MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")

INIT = r"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /bin /proc /sys /dev /host /top /root
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module" || echo "no $module"; done </modules/list
mount -t 9p host /host -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 || exec poweroff -f
mount -t tmpfs top /top -o mode=755
mkdir /top/upper /top/work
mount -t overlay root /root -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work || exec poweroff -f
sh /prepare /root
umount /sys /proc
mount --move /dev /root/dev
exec switch_root /root /lib/systemd/systemd
"""

# In the overlay, before systemd: nothing of this machine's services, and the agent.
PREPARE = r"""
r=$1
mount -t tmpfs tmpfs "$r/etc/systemd/system" -o mode=755
mount -t tmpfs tmpfs "$r/tmp" -o mode=1777
mkdir -p "$r/etc/systemd/journald.conf.d" "$r/mnt" "$r/sys" "$r/proc"
for unit in {masked}; do ln -s /dev/null "$r/etc/systemd/system/$unit"; done
ln -s /lib/systemd/system/multi-user.target "$r/etc/systemd/system/default.target"
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' >"$r/etc/systemd/journald.conf.d/test.conf"
: >"$r/etc/fstab"
rm -f "$r/usr/sbin/policy-rc.d"
rm -rf "$r/etc/mtd" "$r/var/lib/mtd" "$r/var/log/mtd" "$r/var/log/journal"
[ -s "$r/etc/machine-id" ] || echo 0123456789abcdef0123456789abcdef >"$r/etc/machine-id"
mkdir -p "$r/etc/systemd/system/multi-user.target.wants"
cp /agent.py "$r/etc/systemd/system/agent.py"
printf '[Service]\nExecStart=/usr/bin/python3 -S -E -u /etc/systemd/system/agent.py\nOOMScoreAdjust=-1000\n' \
  >"$r/etc/systemd/system/agent.service"
ln -s ../agent.service "$r/etc/systemd/system/multi-user.target.wants/agent.service"
{binds}
"""

# Runs scripts for the test, one at a time: a JSON object a line, each way.
AGENT = r"""
import glob, json, subprocess
with open(glob.glob("/dev/vport*p*")[0], "r+b", buffering=0) as port:
    port.write(b'{"ready": true}\n')
    rest = b""
    while True:
        piece = port.read(65536)
        if not piece:
            continue
        rest += piece
        while b"\n" in rest:
            line, rest = rest.split(b"\n", 1)
            order = json.loads(line)
            try:
                done = subprocess.run(["sh", "-c", order["script"]], input=order.get("input", ""), text=True, errors="replace",
                                      capture_output=True, timeout=order["timeout"])
                answer = {"code": done.returncode, "out": done.stdout, "err": done.stderr}
            except subprocess.TimeoutExpired:
                answer = {"code": -1, "out": "", "err": "timed out"}
            port.write(json.dumps(answer).encode() + b"\n")
"""


def missing():
    """Why no such machine can be made here; None: it can."""
    if is_sanitized():
        return "programs with sanitizers need more memory than it has"
    if os.geteuid() != 0:
        return "needs root, as the owner of the files it sees"
    for program in ("qemu-system-x86_64", "depmod", "dpkg-deb", "apt-get", "/bin/busybox", "/lib/systemd/systemd"):
        if not shutil.which(program):
            return f"needs {program}"
    if "dynamic" in subprocess.run(["ldd", "/bin/busybox"], text=True, capture_output=True, check=False).stdout:
        return "needs busybox-static"
    return None


def kernel():
    """The directory of Debian's kernel package, opened; a text: why there is none."""
    place = os.path.join(CACHE, "kernel")
    if glob.glob(place + "/boot/vmlinuz-*"):
        return place, None
    os.makedirs(CACHE, exist_ok=True)
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], text=True, capture_output=True, check=False).stdout
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        return None, "apt knows no linux-image-amd64"
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        done = subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", names[0]], cwd=work, text=True,
                              capture_output=True, check=False)
        packages = glob.glob(work + "/*.deb")
        if not packages:
            return None, f"{names[0]} cannot be fetched: " + (done.stderr.strip().splitlines() or ["apt-get is silent"])[-1]
        subprocess.run(["dpkg-deb", "-x", packages[0], work + "/open"], check=True)
        version = os.listdir(work + "/open/lib/modules")[0]
        subprocess.run(["depmod", "-b", work + "/open", version], check=True)
        os.rename(work + "/open", place)
    return place, None


def modules(place):
    """The files of MODULES and of what they need, in the order in which they are loaded."""
    base = glob.glob(place + "/lib/modules/*")[0]
    needs = {}
    with open(base + "/modules.dep") as file:
        for line in file:
            name, _, others = line.partition(":")
            needs[name] = others.split()
    by_name = {os.path.basename(path).split(".ko")[0].replace("-", "_"): path for path in needs}
    ordered = []
    for module in MODULES:
        if module not in by_name:
            continue  # built in
        for path in [*reversed(needs[by_name[module]]), by_name[module]]:
            if path not in ordered:
                ordered.append(path)
    return [os.path.join(base, path) for path in ordered]


class Archive:
    """An initial RAM disk: cpio in its "newc" format."""

    def __init__(self):
        self.data = bytearray()
        self.count = 0

    def add(self, name, content=b"", mode=0o100644):
        self.count += 1
        fields = (self.count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self.data += bytes(-len(self.data) % 4) + content
        self.data += bytes(-len(self.data) % 4)

    def directory(self, name):
        self.add(name, b"", 0o040755)

    def write(self, path):
        self.add("TRAILER!!!")
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(bytes(self.data))


class VirtualMachine:
    """Booted by `with`; at its end all of it is gone. `binds`: directories of ours → where they are there."""

    def __init__(self, place, binds=None):
        self._place, self._binds = place, binds or {}
        self.base = tempfile.mkdtemp(prefix="mtd-vm-")
        self._process, self._port, self._rest = None, None, b""

    def __enter__(self):
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._port:
            self._port.close()
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # the disk is memory
            self._process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def _initrd(self):
        archive = Archive()
        for name in ("bin", "modules"):
            archive.directory(name)
        with open("/bin/busybox", "rb") as file:
            archive.add("bin/busybox", file.read(), 0o100755)
        names = []
        for path in modules(self._place):
            with open(path, "rb") as file:
                archive.add("modules/" + os.path.basename(path), file.read())
            names.append(os.path.basename(path))
        binds = "\n".join(f'mkdir -p "$r{there}"; mount --bind /host{shlex.quote(os.path.realpath(ours))} "$r{there}"'
                          for ours, there in self._binds.items())
        archive.add("modules/list", "".join(name + "\n" for name in names).encode())
        archive.add("init", INIT.encode(), 0o100755)
        archive.add("prepare", PREPARE.format(masked=" ".join(MASKED), binds=binds).encode())
        archive.add("agent.py", AGENT.encode())
        path = os.path.join(self.base, "initrd")
        archive.write(path)
        return path

    def _console(self):
        with contextlib.suppress(OSError), open(os.path.join(self.base, "console"), errors="replace") as file:
            return file.read()[-6000:]
        return ""

    def _boot(self):
        path = os.path.join(self.base, "agent")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(1)
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35",
                   "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY),
                   "-kernel", glob.glob(self._place + "/boot/vmlinuz-*")[0], "-initrd", self._initrd(),
                   "-append", "console=ttyS0 loglevel=4 panic=-1 systemd.show_status=no systemd.unified_cgroup_hierarchy=1",
                   "-serial", "file:" + os.path.join(self.base, "console"),
                   "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
                   "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={path}",
                   "-device", "virtserialport,chardev=agent,name=agent"]
        with open(os.path.join(self.base, "qemu"), "w") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            listener.settimeout(60)
            self._port = listener.accept()[0]
        except TimeoutError:
            with open(os.path.join(self.base, "qemu")) as log:
                raise AssertionError("qemu did not start: " + log.read()) from None
        finally:
            listener.close()
        assert self._read(BOOT_PATIENCE) == {"ready": True}
        self.sh(f"date -s @{int(time.time())} >/dev/null")

    def _read(self, patience):
        self._port.settimeout(patience)
        while b"\n" not in self._rest:
            try:
                piece = self._port.recv(1 << 20)
            except TimeoutError:
                raise AssertionError(f"the machine is silent:\n{self._console()}") from None
            assert piece, f"the machine ended:\n{self._console()}"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def run(self, script, timeout=300, text=""):
        """A script of sh there, as root; the finished process."""
        order = {"script": script, "timeout": timeout, "input": text}
        self._port.settimeout(60)
        self._port.sendall(json.dumps(order).encode() + b"\n")
        answer = self._read(timeout + 60)
        return subprocess.CompletedProcess(script, answer["code"], answer["out"], answer["err"])

    def sh(self, script, timeout=300, text=""):
        """The same; it must succeed. Its standard output."""
        done = self.run(script, timeout, text)
        assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path, text):
        """A file there."""
        self.sh(f"mkdir -p {shlex.quote(os.path.dirname(path))} && cat >{shlex.quote(path)}", text=text)

    def show(self, unit, name):
        return self.sh(f"systemctl show -P {name} {unit}").strip()

    def journal(self, *arguments):
        return self.sh("journalctl --no-pager -o cat " + " ".join(arguments))
