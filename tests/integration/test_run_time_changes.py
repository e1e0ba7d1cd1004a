"""What `mtctl scale` and `mtctl stop` changed outlives mtd itself; a damaged or refused file harms nothing."""
import json
import os

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
