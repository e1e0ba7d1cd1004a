"""A real systemd, booted in half a second: process 1 of its own namespaces, with its own root.

The root is an overlay: what this machine has installed below, a tmpfs above, so that packages can be
installed and removed there and nothing of it stays. Services that are enabled here are not there.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile

from harness import BIN, cgroup2_mount, eventually, stat_of

SYSTEMD = "/lib/systemd/systemd"
BOOT_PATIENCE = 60  # seconds
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "USER": "root",
               "LANG": "C.UTF-8", "TERM": "dumb", "SYSTEMD_PAGER": "", "DEBIAN_FRONTEND": "noninteractive"}
# Reach beyond the namespaces, into the machine itself.
WITHHELD = "-sys_module,-sys_rawio,-sys_time,-wake_alarm,-mac_admin,-mac_override,-syslog"
# Need devices, or a network, that are not there.
MASKED = ("getty.target", "console-getty.service", "dev-hugepages.mount", "sys-fs-fuse-connections.mount",
          "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-timesyncd.service", "systemd-networkd.service",
          "systemd-resolved.service", "systemd-binfmt.service", "systemd-pstore.service", "systemd-random-seed.service",
          "apparmor.service", "e2scrub_reap.service", "systemd-hwdb-update.service")

# As process 1 of fresh namespaces, its cgroup being the root of what it sees.
BOOT = r"""
set -eu
base={base} r={base}/root
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs {base}/layers
mkdir {base}/layers/upper {base}/layers/work
mount -t overlay overlay -o "lowerdir=/,upperdir={base}/layers/upper,workdir={base}/layers/work" "$r"
mount -t proc proc "$r/proc" -o nosuid,nodev,noexec
mount -t sysfs sysfs "$r/sys" -o nosuid,nodev,noexec,ro
mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup" -o nosuid,nodev,noexec
for part in sys sysrq-trigger; do
  [ -e "$r/proc/$part" ] || continue
  mount --bind "$r/proc/$part" "$r/proc/$part"; mount -o remount,bind,ro "$r/proc/$part"
done
mount -t tmpfs tmpfs "$r/dev" -o mode=755,nosuid
for node in null zero full random urandom tty; do : >"$r/dev/$node"; mount --bind "/dev/$node" "$r/dev/$node"; done
mkdir "$r/dev/pts" "$r/dev/shm"
mount -t devpts devpts "$r/dev/pts" -o newinstance,ptmxmode=0666,mode=620,gid=5
mount -t tmpfs tmpfs "$r/dev/shm" -o mode=1777,nosuid,nodev
ln -s pts/ptmx "$r/dev/ptmx"; ln -s /proc/self/fd "$r/dev/fd"
ln -s /proc/self/fd/0 "$r/dev/stdin"; ln -s /proc/self/fd/1 "$r/dev/stdout"; ln -s /proc/self/fd/2 "$r/dev/stderr"
mount -t tmpfs tmpfs "$r/run" -o mode=755,nosuid,nodev
mount -t tmpfs tmpfs "$r/tmp" -o mode=1777,nosuid,nodev
mount -t tmpfs tmpfs "$r/etc/systemd/system" -o mode=755
mkdir -p "$r/etc/systemd/journald.conf.d" "$r/mnt"
for unit in {masked}; do ln -s /dev/null "$r/etc/systemd/system/$unit"; done
ln -s /lib/systemd/system/multi-user.target "$r/etc/systemd/system/default.target"
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nReadKMsg=no\n' >"$r/etc/systemd/journald.conf.d/test.conf"
: >"$r/etc/fstab"
rm -f "$r/usr/sbin/policy-rc.d"
[ -s "$r/etc/machine-id" ] || echo 0123456789abcdef0123456789abcdef >"$r/etc/machine-id"
rm -rf "$r/etc/mtd" "$r/var/lib/mtd" "$r/var/log/mtd" "$r/var/log/journal"
{binds}
hostname mtd-test
cd "$r"; mkdir -p .old; pivot_root . .old; cd /
umount -l /.old; rmdir /.old
mount --make-rshared /
exec </dev/null
exec setpriv --bounding-set {withheld} --inh-caps {withheld} \
  env -i container=mtd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  {systemd} --show-status=false --log-target=journal
"""


def is_sanitized():
    cache = os.path.join(os.path.dirname(BIN), "CMakeCache.txt")
    return os.path.exists(cache) and "MTD_SANITIZE:BOOL=ON" in open(cache).read()


def missing():
    """Why no such machine can be booted here, or shows nothing; None: it can."""
    if is_sanitized():
        return "programs with sanitizers need what a unit takes away"
    if os.geteuid() != 0:
        return "needs root"
    for program in (SYSTEMD, "/usr/bin/dbus-daemon"):
        if not os.access(program, os.X_OK):
            return f"needs {program}"
    for program in ("unshare", "nsenter", "setpriv", "systemctl"):
        if not shutil.which(program):
            return f"needs {program}"
    if cgroup2_mount() is None or not os.access(cgroup2_mount(), os.W_OK):
        return "needs a writable cgroup2 hierarchy"
    with open("/proc/filesystems") as file:
        if "\toverlay\n" not in file.read():
            return "needs overlayfs"
    return None


class Machine:
    """Booted by `with`; at its end all of it is gone. `binds`: directories of ours → where they are there."""

    def __init__(self, binds=None):
        self.base = tempfile.mkdtemp(prefix="mtd-machine-")
        self.cgroup = os.path.join(cgroup2_mount(), "mtd." + os.path.basename(self.base))
        self._binds = binds or {}
        self._process = None
        self.leader = None

    def __enter__(self):
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)  # process 1: all the others end with it
        if self._process:
            self._process.wait(BOOT_PATIENCE)
        if os.path.isdir(self.cgroup):
            with contextlib.suppress(OSError), open(os.path.join(self.cgroup, "cgroup.kill"), "w") as file:
                file.write("1")
            for directory, _, _ in os.walk(self.cgroup, topdown=False):
                eventually(lambda directory=directory: self._remove(directory), BOOT_PATIENCE, f"{directory} is no longer used")
        shutil.rmtree(self.base, ignore_errors=True)

    @staticmethod
    def _remove(directory):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        return not os.path.isdir(directory)

    def _console(self):
        with open(os.path.join(self.base, "console"), errors="replace") as file:
            return file.read()

    def _boot(self):
        for name in ("layers", "root"):
            os.mkdir(os.path.join(self.base, name))
        binds = "\n".join(f'mkdir -p "$r{there}"; mount --bind {ours} "$r{there}"' for ours, there in self._binds.items())
        inner = os.path.join(self.base, "inner.sh")
        with open(inner, "w") as file:
            file.write(BOOT.format(base=self.base, masked=" ".join(MASKED), binds=binds, withheld=WITHHELD, systemd=SYSTEMD))
        os.mkdir(self.cgroup)
        outer = f"echo 0 >{self.cgroup}/cgroup.procs && exec unshare --cgroup -- sh -eu {inner}"
        with open(os.path.join(self.base, "console"), "w") as console:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--net", "--kill-child=SIGKILL", "--",
                 "sh", "-eu", "-c", outer], stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        eventually(lambda: self._ended() or open(children).read().split(), BOOT_PATIENCE, "unshare makes a process")
        self.leader = int(open(children).read().split()[0])
        eventually(self._is_systemd, BOOT_PATIENCE, "systemd is executed")
        eventually(self._is_up, BOOT_PATIENCE, "systemd is up")

    def _ended(self):
        if self._process.poll() is not None:
            raise AssertionError("the machine did not boot:\n" + self._console())
        return False

    def _is_systemd(self):
        self._ended()
        if stat_of(self.leader) is None:
            return False
        with open(f"/proc/{self.leader}/comm") as file:
            return file.read().strip() == "systemd"

    def _is_up(self):
        self._ended()
        return self.run("systemctl is-system-running --wait").stdout.strip() in ("running", "degraded")

    def run(self, script, timeout=120):
        """A script of sh there, as root; the finished process."""
        enter = (f"mkdir -p {self.cgroup}/test.exec && echo 0 >{self.cgroup}/test.exec/cgroup.procs && "
                 f"exec nsenter -t {self.leader} -m -u -i -n -p -C -r -w -- sh -c \"$1\"")
        return subprocess.run(["sh", "-c", enter, "sh", script], env=ENVIRONMENT, text=True, capture_output=True,
                              timeout=timeout, stdin=subprocess.DEVNULL, check=False)

    def sh(self, script, timeout=120):
        """The same; it must succeed. Its standard output."""
        done = self.run(script, timeout)
        assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path, text, mode=0o644):
        """A file there."""
        where = f"/proc/{self.leader}/root{path}"
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "w") as file:
            file.write(text)
        os.chmod(where, mode)

    def show(self, unit, name):
        return self.sh(f"systemctl show -P {name} {unit}").strip()

    def journal(self, *arguments):
        return self.sh("journalctl --no-pager -o cat " + " ".join(arguments))
