"""What `mtctl scale` and `mtctl stop` changed outlives mtd itself; a damaged or refused file harms nothing."""
import errno
import json
import os
import subprocess

import pytest
from harness import SLEEPER, Mtd, eventually, pool


def changes_of(mtd):
    try:
        with open(os.path.join(mtd.state, "run-time.json")) as file:
            return json.load(file)["pools"]
    except FileNotFoundError:
        return {}


def again(mtd):
    """Ends the daemon with TERM, whatever it runs, and starts it on the same directories."""
    mtd.checks_descriptors = False
    mtd.finish()
    mtd.start()


def test_scale_and_stop_outlive_the_daemon():
    with Mtd({"web": pool(SLEEPER, workers=2), "mail": pool(SLEEPER), "other": pool(SLEEPER)}) as mtd:
        mtd.ctl("scale", "web", "4")
        mtd.ctl("stop", "mail")
        eventually(lambda: set(changes_of(mtd)) == {"web", "mail"}, 10, "both changes are in the file")
        again(mtd)
        web, mail, other = mtd.pool("web"), mtd.pool("mail"), mtd.pool("other")
        assert (web["want"], web["want_file"]) == (4, 2)
        assert mail["state"] == "stopped" and mail["stopped_by"] == os.geteuid()
        assert other["state"] == "running", "ending mtd is no stop of a pool"
        mtd.ctl("scale", "--reset", "web")
        mtd.ctl("start", "mail")
        eventually(lambda: changes_of(mtd) == {}, 10, "nothing is left to remember")
        again(mtd)
        assert mtd.pool("web")["want"] == 2 and mtd.pool("mail")["state"] == "running"


def test_a_change_right_before_the_end_is_kept():
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        mtd.ctl("scale", "web", "3")
        again(mtd)
        assert mtd.pool("web")["want"] == 3


def test_without_a_change_nothing_is_written():
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        assert mtd.pool("web")["want"] == 1
        mtd.checks_descriptors = False
        mtd.finish()
        assert not os.path.exists(mtd.state)
        mtd.start()


def test_a_damaged_file_is_set_aside():
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        mtd.ctl("scale", "web", "3")
        again(mtd)
        mtd.checks_descriptors = False
        mtd.finish()
        with open(os.path.join(mtd.state, "run-time.json"), "w") as file:
            file.write('{"version":1,"pools":{"web":{"want":-1}}}')
        mtd.start()
        assert mtd.pool("web")["want"] == 1
        assert "run-time.json: want is not a number from 0 to 10000" in mtd.log()
        eventually(lambda: any(".bad." in name for name in os.listdir(mtd.state)), 10, "the file was set aside")


def test_a_directory_that_cannot_be_written_harms_nothing():
    with Mtd({"web": pool(SLEEPER)}) as mtd:
        with open(mtd.state, "w"):
            pass  # a file stands where the directory should be
        mtd.ctl("scale", "web", "3")
        eventually(lambda: "scale and stop do not outlive mtd" in mtd.log(), 10, "it is said")
        assert mtd.pool("web")["ready"] == 3


def test_the_file_is_synced_before_it_is_renamed_and_the_directory_after(strace):
    with Mtd({"web": pool(SLEEPER)}, checks_descriptors=False) as mtd:
        mtd.finish()
        calls = os.path.join(mtd.directory, "calls")
        mtd.prefix = ["strace", "-f", "-qq", "-y", "-o", calls, "-e", "trace=fsync,write,renameat,renameat2,rename,openat"]
        mtd.inside = False
        mtd.start()
        mtd.ctl("scale", "web", "3")
        eventually(lambda: set(changes_of(mtd)) == {"web"}, 20)
        mtd.finish()
        with open(calls) as file:
            steps = [line.split(maxsplit=1) for line in file if mtd.state in line or "run-time" in line]
        helper = next(pid for pid, call in steps if call.startswith("rename"))
        names = [call for pid, call in steps if pid == helper]
        order = [next(i for i, call in enumerate(names) if test(call)) for test in (
            lambda call: call.startswith("openat") and "run-time.json.new" in call and "O_EXCL" in call,
            lambda call: call.startswith("write") and "run-time.json.new" in call,
            lambda call: call.startswith("fsync") and "run-time.json.new" in call,
            lambda call: call.startswith("rename"),
            lambda call: call.startswith("fsync") and f"<{mtd.state}>" in call)]
        assert order == sorted(order), names
        mtd.prefix, mtd.inside = [], True
        mtd.start()
        assert mtd.pool("web")["want"] == 3


@pytest.mark.parametrize("call, error", [("openat", "ENOSPC"), ("openat", "EROFS"), ("write", "ENOSPC"), ("write", "EIO"), ("fsync", "EIO"),
                                         ("renameat", "EIO"), ("unlinkat", "EIO")])
def test_a_refused_step_is_said_and_leaves_the_old_file(strace, call, error):
    with Mtd({"web": pool(SLEEPER)}, checks_descriptors=False) as mtd:
        mtd.ctl("scale", "web", "2")
        eventually(lambda: changes_of(mtd) == {"web": {"want": 2}}, 20)
        mtd.finish()
        # Only the draft is meant; the state directory's own fsync is another one.
        draft = os.path.join(mtd.state, "run-time.json.new")
        mtd.prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", draft, "-P", os.path.basename(draft),
                      "-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
        if call == "unlinkat":
            with open(draft, "w"):
                pass  # of an earlier attempt
        mtd.inside = False
        mtd.start()
        mtd.ctl("scale", "web", "3")
        eventually(lambda: "scale and stop do not outlive mtd" in mtd.log(), 20, "it is said")
        assert changes_of(mtd) == {"web": {"want": 2}}, "the old file is whole"
        assert mtd.pool("web")["ready"] == 3
        mtd.finish()
        mtd.prefix, mtd.inside = [], True
        mtd.start()
        assert mtd.pool("web")["want"] == 2
        mtd.ctl("scale", "web", "4")
        eventually(lambda: changes_of(mtd) == {"web": {"want": 4}}, 20, "it heals")


def test_a_full_disk_harms_nothing(unshare):
    with Mtd({"web": pool(SLEEPER)}, checks_descriptors=False) as mtd:
        os.mkdir(mtd.state, 0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "none", mtd.state], check=True)
        try:
            mtd.ctl("scale", "web", "2")
            eventually(lambda: changes_of(mtd) == {"web": {"want": 2}}, 20)
            with open(os.path.join(mtd.state, "ballast"), "wb", buffering=0) as ballast:
                try:
                    while ballast.write(b"x" * 4096):
                        pass
                except OSError as full:
                    assert full.errno == errno.ENOSPC
            mtd.ctl("scale", "web", "3")
            eventually(lambda: "No space left on device; scale and stop do not outlive mtd" in mtd.log(), 20)
            assert changes_of(mtd) == {"web": {"want": 2}} and mtd.pool("web")["ready"] == 3
            os.unlink(os.path.join(mtd.state, "ballast"))
            mtd.ctl("scale", "web", "4")
            eventually(lambda: changes_of(mtd) == {"web": {"want": 4}}, 20)
        finally:
            subprocess.run(["umount", "-l", mtd.state], check=True)
