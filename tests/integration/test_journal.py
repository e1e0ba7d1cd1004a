"""Under a service manager with a journal: mtd's own lines have priorities, workers' lines are the journal's, by pool."""
import contextlib
import os
import socket
import threading

import pytest
from harness import Mtd, eventually, pool


class Journal:
    """Stands in for journald's socket of streams: takes connections in, and keeps what each wrote."""

    def __init__(self, path):
        self.streams = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        os.chmod(path, 0o666)
        self._listener.listen(32)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                kept = bytearray()
                self.streams.append(kept)
                threading.Thread(target=self._take_in, args=(connection, kept), daemon=True).start()

    @staticmethod
    def _take_in(connection, kept):
        with connection, contextlib.suppress(OSError):
            while True:
                block = connection.recv(65536)
                if not block:
                    return
                kept += block

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def of(self, identifier):
        """(header, lines) of each stream under this name."""
        found = [bytes(kept).decode().split("\n") for kept in self.streams]
        return [(lines[:7], lines[7:]) for lines in found if lines[0] == identifier]


@pytest.fixture
def journal(unshare, tmp_path):
    """A mount namespace in which /run/systemd/journal is ours."""
    os.chmod(tmp_path, 0o755)
    one = Journal(str(tmp_path / "stdout"))
    script = ('mount -t tmpfs -o mode=755 none /run && mkdir -p /run/systemd/journal &&'
              f' mount --bind {tmp_path} /run/systemd/journal && exec "$@"')
    one.prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    yield one
    one.close()


def stream_name(path):
    found = os.stat(path)
    return f"{found.st_dev}:{found.st_ino}"


def test_lines_of_mtd_have_priorities_where_stderr_is_the_journals(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        assert not [line for line in mtd.log().splitlines() if line.startswith("<")], "a file has time stamps instead"
    mtd = Mtd({"web": pool([actor, "wait"])})
    with open(mtd.log_path, "ab"):
        mtd.env["JOURNAL_STREAM"] = stream_name(mtd.log_path)
    mtd.pools["web"]["log"] = {"to": "inherit"}
    mtd.write_config()
    with mtd:
        mtd.reports.expect("waiting")
        assert [line for line in mtd.log().splitlines() if line.startswith("<6>mtd ") and " started: " in line], mtd.log()
        mtd.kill_supervisor()
        assert [line for line in mtd.log().splitlines() if line.startswith("<4>")], mtd.log()


def test_workers_of_a_pool_share_a_stream_under_its_name(journal, actor):
    pools = {name: pool(["/bin/sh", "-c", f"echo line of $$MTD_WORKER; exec sleep infinity"], workers=2, log={"to": "journal"})
             for name in ("web", "api")}
    with Mtd(pools, prefix=journal.prefix, checks_descriptors=False) as mtd:
        mtd.wait_ready()

        def lines(name):
            return sorted(line for _, rest in journal.of(name) for line in rest if line)
        for name in ("web", "api"):
            eventually(lambda name=name: len(lines(name)) == 2, what=f"{name} has written: {journal.streams}")
            assert lines(name) == [f"line of {name}/0", f"line of {name}/1"]
            (header, _), = journal.of(name)
            assert header == [name, "", "6", "1", "0", "0", "0"], "one stream a pool: name, no unit, priority info"
        before = mtd.pids("web")
        mtd.kill_supervisor()
        mtd.kill(before[0])
        eventually(lambda: lines("web").count("line of web/0") == 2, what="a worker of the next supervisor writes there, too")
        assert mtd.pids("web")[1] == before[1]


def test_without_a_journal_the_output_goes_to_mtds_own_and_status_says_so(actor):
    if os.path.exists("/run/systemd/journal/stdout"):
        pytest.skip("there is a journal")
    with Mtd({"web": pool([actor, "wait"], log={"to": "journal"})}) as mtd:
        mtd.reports.expect("waiting")
        assert "journal" in mtd.ctl("why", "web").stdout + mtd.ctl("status").stdout + mtd.log()
