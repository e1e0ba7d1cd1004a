"""Where tasks stand, and when there is no room: directory and quota, full disks, a broker that is not there."""
import contextlib
import os
import pwd
import shutil
import sqlite3
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from harness import BIN, ROOT, Mtd, eventually, pool, wait_gone
from tasks import Tasks, broker_pid, call, kill_broker, queue, task_pool, tasks_socket


def test_the_store_stands_where_the_file_says_and_has_a_quota():
    mtd = Mtd({"p": task_pool(1, tasks={"max_queue_bytes": "1G", "durability": "process"})})
    place = os.path.join(mtd.directory, "store")
    mtd.daemon = {"tasks": {"directory": place, "quota": "16M"}}
    mtd.write_config()
    with mtd, Tasks(mtd) as tasks:
        assert tasks.run("p", "echo", 1)["state"] == "done"
        assert not os.path.exists(os.path.join(mtd.state, "tasks"))
        call(mtd, "Pause", pool="p")
        accepted, body = [], os.urandom(1 << 20)
        refused = None
        while not refused:
            seq = tasks.put("p", "echo", "x", body=body, watch=False)
            tasks.wait_for(seq, "ok", "no")
            refused = tasks.frames.pop((seq, "no"), [None])[0]
            if not refused:
                accepted.append(tasks.expect(seq, "ok")["id"])
            assert len(accepted) < 32
        assert refused["error"] == "StoreFull" and refused["retry_ms"] > 0
        assert 8 <= len(accepted) < 16
        assert os.path.getsize(place + "/tasks.db") <= 16 << 20
        store = call(mtd, "Stats")["store"]
        assert store["path"] == place + "/tasks.db" and store["bytes"] <= 16 << 20
        # What ends tasks goes on; and there is room again.
        assert call(mtd, "Cancel", ids=accepted)["cancelled"] == len(accepted)
        assert call(mtd, "Remove", ids=accepted)["count"] == len(accepted)
        call(mtd, "Resume", pool="p")
        eventually(lambda: not tasks.refused("p", "echo", "again"), what="there is room again")
        assert tasks.run("p", "echo", 2)["state"] == "done"


def test_a_queue_that_has_filled_the_quota_is_worked_off():
    keys = {"max_queue_bytes": "1G", "durability": "process", "result_ttl": "1s"}
    with Mtd({"p": task_pool(2, tasks=keys)}, daemon={"tasks": {"quota": "32M"}}) as mtd, Tasks(mtd) as tasks:
        mtd.wait_pool("p", ready=2)
        call(mtd, "Pause", pool="p")
        accepted, body = 0, os.urandom(1 << 20)  # more of them than the broker keeps in memory
        while not tasks.refused("p", "echo", "x", body=body):
            accepted += 1
            assert accepted < 32
        assert accepted > 20 and call(mtd, "Stats")["store"]["state"] == "full"
        call(mtd, "Resume", pool="p")
        mtd.until(lambda: queue(mtd)["done"] == accepted, what="all of them are done")
        eventually(lambda: not tasks.refused("p", "echo", "again"), what="there is room again")


def test_wrong_places_and_quotas_are_told(tmp_path):
    config = tmp_path / "mtd.json"
    for tasks, wrong in (('{"directory": "tasks"}', 'tasks.directory: must be an absolute path, not "tasks"'),
                         ('{"directory": "/' + "x" * 500 + '"}', "tasks.directory: has 501 bytes; at most 400"),
                         ('{"quota": "1M"}', "tasks.quota"), ('{"quotas": "1M"}', 'did you mean "quota"')):
        config.write_text('{"tasks": %s, "pools": {}}' % tasks)
        config.chmod(0o600)
        checked = subprocess.run([os.path.join(BIN, "mtd"), "--check", "--config", str(config)], capture_output=True, text=True, check=False)
        assert checked.returncode != 0 and wrong in checked.stdout + checked.stderr and "mtd.json:1:" in checked.stdout + checked.stderr, wrong


def test_a_directory_that_cannot_be_made_is_told_everywhere():
    """By `config check` before, by status and why while mtd runs, until it can be made."""
    mtd = Mtd({"p": task_pool(1), "other": pool(["/bin/sleep", "inf"])}, checks_descriptors=False)  # of the broker that comes later
    above = os.path.join(mtd.directory, "above")
    with open(above, "w"):
        pass
    mtd.daemon = {"tasks": {"directory": above + "/store"}}
    mtd.write_config()
    checked = mtd.ctl("config", "check", mtd.config)
    assert f'tasks.directory: "{above}" is no directory' in checked.stdout + checked.stderr
    with mtd:
        told = f"open {above}: Not a directory"
        mtd.until(lambda: told in mtd.ctl("status").stdout, what="status says it")
        assert told in mtd.ctl("why", "p").stdout and "cannot be served now" in mtd.ctl("why", "p").stdout
        assert "cannot be served" not in mtd.ctl("why", "other").stdout
        assert mtd.pool("other")["ready"] == 1
        os.unlink(above)
        mtd.until(lambda: told not in mtd.ctl("status").stdout, what="it goes on by itself")
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"
        assert os.path.exists(above + "/store/tasks.db") and "cannot be served" not in mtd.ctl("why", "p").stdout


def stranger():
    """The uid that keeps tasks for a root without a say in it; None: not root."""
    if os.getuid() != 0:
        return None
    for name in ("mtd-tasks", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return None


@pytest.fixture
def closed_directory():
    """One that only root may pass through."""
    if stranger() is None:
        pytest.skip("who keeps the tasks is another user only where mtd runs as root")
    directory = tempfile.mkdtemp(prefix="mtd-d-")
    yield directory
    shutil.rmtree(directory)


PLAIN_VERBS = (["pool", "ls"], ["task", "ls"], ["task", "show", "1"], ["task", "retry", "1"], ["task", "rm", "1"], ["dead", "ls"],
               ["cancel", "1"], ["pool", "pause", "p"], ["drain", "p"], ["put", "p", "x"], ["run", "p", "x"], ["map", "p"], ["result", "1"],
               ["wait", "1"])


def test_callers_are_told_why_no_broker_can_work(closed_directory):
    """At once, whatever they ask for and by whatever client; and once in the log, while it is tried less and less often."""
    mtd = Mtd({"p": task_pool(1)}, checks_descriptors=False)  # of the broker that comes later
    mtd.daemon = {"tasks": {"directory": closed_directory + "/a/store"}}
    mtd.write_config()
    barrier = f"uid {stranger()}, which keeps the tasks, may not pass through "
    assert f'tasks.directory: {barrier}"{closed_directory}"' in mtd.ctl("config", "check", mtd.config).stderr
    os.mkdir(closed_directory + "/a", 0o755)
    told = f"{barrier}{closed_directory} to {closed_directory}/a/store"
    with mtd:
        mtd.until(lambda: told in mtd.ctl("status").stdout, what="status says it")
        for words in PLAIN_VERBS:
            tried = mtd.ctl(*words, code=None)
            assert told in tried.stderr and "mtd goes on trying" in tried.stderr, words
            assert tried.returncode == (125 if words[0] == "run" else 5), words
        script = "import mtd, sys\ntry: mtd.Client(sys.argv[1])\nexcept mtd.Refused as error: print(error)"
        tried = subprocess.run([sys.executable, "-c", script, mtd.runtime], capture_output=True, text=True, check=True,
                               env={**os.environ, "PYTHONPATH": os.path.join(ROOT, "client", "python")})
        assert told in tried.stdout
        assert "exit 1" not in mtd.log(), "why, not how it ended"
        os.chmod(closed_directory, 0o711)
        mtd.ctl("reload")
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"
        assert mtd.log().count(told) == 1 and "tried again in 1s, then less and less often" in mtd.log()


def test_a_broker_that_cannot_read_the_claims_does_no_task_twice_but_waits(tmp_path):
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(2)}, checks_descriptors=False) as mtd:  # of the broker that comes later
        with Tasks(mtd) as tasks:
            mtd.wait_pool("p", ready=2)
            number = tasks.expect(tasks.put("p", "hold", str(gate)), "ok")["id"]
            mtd.reports.expect("begin", id=number)
        claims = os.path.join(mtd.state, "tasks", "claims")
        os.rename(claims, claims + ".kept")
        os.mkdir(claims)
        kill_broker(mtd.keeper)
        told = (f"nobody knows who works on which task: open {claims}: Is a directory; "
                "none is done twice for that. If it stays so, stop mtd and remove that file")
        mtd.until(lambda: told in mtd.ctl("status").stdout, what="status says it")
        assert told in mtd.ctl("why", "p").stdout
        os.rmdir(claims)
        os.rename(claims + ".kept", claims)
        mtd.ctl("reload")  # it would be tried again by itself
        with Tasks(mtd) as tasks:
            waiting = tasks.wait(id=number)
            assert tasks.run("p", "echo", "the other worker")["state"] == "done"
            gate.write_text("")
            end = tasks.expect(waiting, "end")
        assert (end["state"], end["attempts"]) == ("done", 1)
        assert not [report for report in mtd.reports.seen if (report["what"], report.get("id")) == ("begin", number)], "it began once"


def test_pools_come_and_go_by_more_names_than_there_are_places():
    def some(life):
        return {f"p{life}-{number}": pool(["/bin/true"], workers=0, tasks={}) for number in range(500)}

    with Mtd({**some(0), "kept": task_pool(1)}) as mtd:
        call(mtd, "Pause", pool="kept")
        for life in range(1, 4):
            if life == 2:  # its successor knows nothing of the pools that were
                kill_broker(mtd.keeper)
            mtd.pools = {**some(life), "kept": mtd.pools["kept"]}
            mtd.write_config()
            mtd.ctl("reload")
            last = f"p{life}-499"
            with Tasks(mtd) as tasks:
                tasks.expect(tasks.put(last, "x", watch=False), "ok")
            mtd.until(lambda: mtd.pool(last)["queue"]["waiting"] == 1, what="status says what waits")
            call(mtd, "Pause", pool=last)
        kill_broker(mtd.keeper)
        for name, waiting in ((last, 1), ("kept", 0)):
            mtd.until(lambda: queue(mtd, name)["waiting"] == waiting and queue(mtd, name)["paused"], what="it is known to the next broker")


def test_what_has_ended_in_a_pool_that_is_gone_is_not_kept_for_ever():
    with Mtd({"old": task_pool(1), "p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            old, other = (tasks.run(name, "echo", 1)["id"] for name in ("old", "p"))
        mtd.pools = {"p": mtd.pools["p"]}
        mtd.write_config()
        mtd.ctl("reload")
        mtd.kill_whole()
        kill_broker(os.getpid())
        with contextlib.closing(sqlite3.connect(os.path.join(mtd.state, "tasks", "tasks.db"))) as database, database:
            database.execute("UPDATE task SET finished=finished-3600*1000000000 WHERE id=?", (old,))
        mtd.start()
        mtd.wait_pool("p", ready=1)
        eventually(lambda: [task["id"] for task in call(mtd, "List")["tasks"]] == [other], what="it was kept long enough")


@pytest.fixture
def programs():
    """A directory with mtd and its supervisor, and nothing else."""
    directory = tempfile.mkdtemp(prefix="mtd-p-")
    os.chmod(directory, 0o755)
    for name in ("mtd", "mtd-supervisor"):
        shutil.copy(os.path.join(BIN, name), directory)
    yield directory
    shutil.rmtree(directory)


def test_the_broker_is_looked_for_at_each_start(programs):
    with Mtd({"p": task_pool(1)}, programs=programs, checks_descriptors=False) as mtd:  # its broker comes later
        if broker_pid(mtd.keeper):
            pytest.skip("another mtd-broker is installed on this machine")
        eventually(lambda: "mtd-broker is not beside mtd" in mtd.log(), what="it is missed")
        assert "mtd-broker is not beside mtd" in mtd.ctl("pool", "ls", code=5).stderr
        shutil.copy(os.path.join(BIN, "mtd-broker"), programs + "/new")
        os.rename(programs + "/new", programs + "/mtd-broker")
        eventually(lambda: broker_pid(mtd.keeper) and os.path.exists(tasks_socket(mtd)), what="the broker runs")
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"


def test_a_broker_that_dies_at_its_start_makes_nobody_wait(programs):
    shutil.copy("/bin/false", programs + "/mtd-broker")
    with Mtd({"p": task_pool(1)}, programs=programs, checks_descriptors=False) as mtd:
        assert "the broker has ended: exit 1" in mtd.ctl("put", "p", "x", code=5).stderr
        mtd.until(lambda: "less and less often" in mtd.log(), what="it is said")
        assert mtd.log().count("less and less often") == 1
        shutil.copy(os.path.join(BIN, "mtd-broker"), programs + "/new")
        os.rename(programs + "/new", programs + "/mtd-broker")
        mtd.ctl("reload")  # now, instead of after the pause
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"


@pytest.mark.slow
def test_a_broker_that_hangs_is_replaced_and_holds_up_no_stop(tmp_path):
    """In the middle of work: another one goes on with it. While mtd stops: mtd ends all the same."""
    gate = tmp_path / "gate"
    with Mtd({"p": task_pool(1)}, checks_descriptors=False) as mtd:
        with Tasks(mtd) as tasks:
            number = tasks.expect(tasks.put("p", "parts", 10, str(gate)), "ok")["id"]
            mtd.reports.expect("half", id=number)
            pid = broker_pid(mtd.keeper)
            os.kill(pid, signal.SIGSTOP)
            gate.write_text("")
            assert wait_gone(pid, 300)
        assert "the broker has not answered for 30s: it is killed" in mtd.log()
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=number), "end")["state"] == "done"
        os.kill(broker_pid(mtd.keeper), signal.SIGSTOP)
        mtd.stop(300)


def times_it_waited(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


@pytest.mark.slow
@pytest.mark.parametrize("words", [["status"], ["put", "--patience", "1s", "p", "x"], ["pool", "ls", "--patience", "1s"]])
def test_a_broker_that_hangs_without_work_is_replaced_once_somebody_asks_how_mtd_is(words):
    with Mtd({"p": task_pool(1)}, checks_descriptors=False) as mtd:
        mtd.ctl("run", "p", "echo", "1")
        pid, looks = broker_pid(mtd.keeper), [(-1, 0.0)]

        def rests():
            times, now = times_it_waited(pid), time.monotonic()
            if times != looks[-1][0]:
                looks.append((times, now))
            return now - looks[-1][1] > 3

        eventually(rests, 60, "it has nothing to do")
        eventually(lambda: times_it_waited(pid) > looks[-1][0], 60, "it is asked a last time")
        os.kill(pid, signal.SIGSTOP)
        mtd.ctl(*words, code=0 if words == ["status"] else 5)
        assert wait_gone(pid, 300)
        mtd.ctl("run", "p", "echo", "2")


@pytest.fixture
def disk(root):
    """A file system of its own, which fsfreeze(8) makes hang."""
    directory = tempfile.mkdtemp(prefix="mtd-d-")
    os.chmod(directory, 0o755)
    image, place = directory + "/image", directory + "/disk"
    os.mkdir(place)
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    made = subprocess.run(f"mkfs.ext4 -q {image} && mount -o loop {image} {place}", shell=True, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(directory)
        pytest.skip(f"no file system can be mounted from a file here: {made.stderr.strip()}")
    yield place
    subprocess.run(["fsfreeze", "-u", place], capture_output=True, check=False)
    subprocess.run(["umount", "-l", place], check=True)
    shutil.rmtree(directory)


@pytest.mark.slow
def test_a_disk_that_hangs_is_told_and_holds_up_no_stop(disk):
    """Under the store's threads, while the broker goes on; and under the broker itself, which is killed."""
    mtd = Mtd({"p": task_pool(1)}, checks_descriptors=False, exit_code=1)  # something is left to the kernel
    mtd.daemon = {"tasks": {"directory": disk + "/store"}}
    mtd.write_config()
    with mtd:
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"
            call(mtd, "Pause", pool="p")
            number = tasks.expect(tasks.put("p", "echo", 2), "ok")["id"]
            subprocess.run(["fsfreeze", "-f", disk], check=True)
            tasks.send(t="cancel", seq=100, id=number)
            mtd.until(lambda: "their store has not answered for" in mtd.ctl("status").stdout, 120, "status says it")
            subprocess.run(["fsfreeze", "-u", disk], check=True)
            eventually(lambda: "their store answers again" in mtd.log(), 120, "its end is told, too")
            assert "tasks:" not in mtd.ctl("status").stdout and call(mtd, "Show", id=number)["task"]["state"] == "cancelled"
            call(mtd, "Resume", pool="p")
            broker = broker_pid(mtd.keeper)
            subprocess.run(["fsfreeze", "-f", disk], check=True)
            tasks.put("p", "echo", 3)
            mtd.until(lambda: "as where the disk of its store hangs" in mtd.ctl("status").stdout, 240, "status says it")
            assert "as where the disk of its store hangs" in mtd.ctl("pool", "ls", code=5).stderr
            mtd.stop(300)
        subprocess.run(["fsfreeze", "-u", disk], check=True)
        assert wait_gone(broker)


def test_without_a_queue_callers_are_told_so_with_and_without_a_broker():
    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"
        queues = mtd.pools
        mtd.pools = {"other": pool(["/bin/sleep", "inf"])}
        mtd.write_config()
        mtd.ctl("reload")
        assert "has a queue" in mtd.ctl("put", "p", "x", code=4).stderr
        kill_broker(mtd.keeper)
        assert 'no pool of the configuration has "tasks"' in mtd.ctl("put", "p", "x", code=5).stderr
        mtd.pools = queues
        mtd.write_config()
        mtd.ctl("reload")
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"


def test_the_socket_of_tasks_removed_by_a_cleaner_is_made_again_and_served():
    def remove_it(mtd):
        os.unlink(tasks_socket(mtd))
        eventually(lambda: os.path.exists(tasks_socket(mtd)), what="it is made again")

    with Mtd({"p": task_pool(1)}) as mtd:
        with Tasks(mtd) as tasks:
            assert tasks.run("p", "echo", 1)["state"] == "done"
            broker = broker_pid(mtd.keeper)
            remove_it(mtd)
            mtd.ctl("run", "p", "echo", "2")
            assert tasks.run("p", "echo", 3)["state"] == "done"
            assert broker_pid(mtd.keeper) == broker
            kill_broker(mtd.keeper)
            mtd.ctl("run", "p", "echo", "4")
        queues = mtd.pools
        mtd.pools = {"other": pool(["/bin/sleep", "inf"])}
        mtd.write_config()
        mtd.ctl("reload")
        kill_broker(mtd.keeper)
        for _ in range(2):
            assert 'no pool of the configuration has "tasks"' in mtd.ctl("put", "p", "x", code=5).stderr
            remove_it(mtd)
        mtd.pools = queues
        mtd.write_config()
        mtd.ctl("reload")
        mtd.ctl("run", "p", "echo", "5")


@contextlib.contextmanager
def disk_of(size):
    """A file system of its own."""
    directory = tempfile.mkdtemp(prefix="mtd-d-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", directory], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        os.rmdir(directory)
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
        os.rmdir(directory)


@pytest.fixture
def small_disk(root):
    with disk_of("12m") as directory:
        yield directory


def on_disk(directory, **keys):
    mtd = Mtd({"p": task_pool(1, tasks=keys)})
    mtd.state = os.path.join(directory, "state")
    return mtd


def fill(directory):
    """Until there is no room for one byte more."""
    path = os.path.join(directory, "filler")
    size, block = 0, 1 << 20
    with open(path, "ab", buffering=0) as file:
        while block:
            try:
                size += file.write(b"x" * block)
            except OSError:
                block //= 2
    return path


def test_a_full_disk_refuses_puts_lets_answers_in_and_goes_on_when_there_is_room(small_disk, tmp_path):
    gate = tmp_path / "gate"
    with on_disk(small_disk) as mtd, Tasks(mtd) as tasks:
        running = tasks.put("p", "hold", str(gate))
        mtd.reports.expect("begin", id=tasks.expect(running, "ok")["id"])
        waiting = tasks.put("p", "echo", "waiting")
        tasks.expect(waiting, "ok")
        filler = fill(small_disk)
        accepted = []
        while True:
            seq = tasks.put("p", "echo", "more", body=b"b" * 2000)
            tasks.wait_for(seq, "ok", "no")
            refused = tasks.frames.pop((seq, "no"), None)
            if refused:
                break
            accepted.append(seq)
            assert len(accepted) < 10_000
        assert refused[0]["error"] == "StoreFull" and refused[0]["retry_ms"] > 0
        assert call(mtd, "Stats")["store"]["state"] == "full"
        gate.write_text("")
        assert tasks.expect(running, "end")["state"] == "done", "what mtd had held back is room for answers"
        os.unlink(filler)
        assert tasks.expect(waiting, "end")["result"] == ["waiting"]
        assert all(end["state"] == "done" for end in tasks.ends(accepted))
        eventually(lambda: not tasks.refused("p", "echo", "room"), what="puts are taken again")
        assert call(mtd, "Stats")["store"]["state"] == "good"


def test_a_disk_that_tasks_have_filled_themselves_is_worked_off(small_disk):
    with on_disk(small_disk, result_ttl="1s") as mtd, Tasks(mtd) as tasks:
        mtd.wait_pool("p", ready=1)
        call(mtd, "Pause", pool="p")
        accepted, body = 0, os.urandom(100_000)
        while not tasks.refused("p", "echo", "x", body=body):
            accepted += 1
            assert accepted < 120
        kill_broker(mtd.keeper)  # so the bodies are on the disk alone
        call(mtd, "Resume", pool="p")
        mtd.until(lambda: queue(mtd)["done"] == accepted, what="all of them are done")
        with Tasks(mtd) as again:
            eventually(lambda: not again.refused("p", "echo", "again"), what="there is room again")


def test_a_disk_that_is_full_at_the_start_refuses_puts_only(small_disk):
    with on_disk(small_disk) as mtd:
        with Tasks(mtd) as tasks:
            end = tasks.run("p", "echo", "kept")
            call(mtd, "Pause", pool="p")
            waiting = tasks.expect(tasks.put("p", "echo", "waiting"), "ok")["id"]
        filler = fill(small_disk)
        os.unlink(os.path.join(mtd.state, "tasks", "tasks.db.ballast"))
        fill(small_disk)
        kill_broker(mtd.keeper)
        with Tasks(mtd) as tasks:
            assert tasks.expect(tasks.wait(id=end["id"]), "end")["result"] == ["kept"]
            assert tasks.refused("p", "echo", "no")["error"] == "StoreFull"
            os.unlink(filler)
            call(mtd, "Resume", pool="p")
            assert tasks.expect(tasks.wait(id=waiting), "end")["result"] == ["waiting"]
            eventually(lambda: not tasks.refused("p", "echo"), what="puts are taken again")
