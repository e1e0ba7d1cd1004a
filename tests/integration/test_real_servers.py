"""nginx, gunicorn and php-fpm behind sockets of mtd: nobody is refused by a reload or by another number of workers."""
import os
import tempfile

import pytest
import real_servers
from harness import Mtd, pool
from test_listen import LOCAL, free_port


@pytest.mark.parametrize("name", ["nginx", pytest.param("gunicorn", marks=pytest.mark.slow), "php-fpm"])
def test_reloads_and_scaling_lose_no_request(name, full, root):
    absent = real_servers.missing(name)
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    with tempfile.TemporaryDirectory(prefix="mtd-s-") as directory:
        os.chmod(directory, 0o755)  # php-fpm reads it as another user
        lost, answered, text = real_servers.change_under_load(real_servers.Server(name, directory), 20 if full else 3)
    print(f"{name} under mtd: {answered} requests, {lost} failed")
    assert lost == 0 and answered > 50, text


SLOW_START = """
import time
with open({conf!r}) as file:
    exec(file.read())
graceful_timeout = 3600


def post_fork(server, worker):
    time.sleep(1)  # as on a busy machine: the worker does not listen to signals yet
"""


def test_gunicorn_is_ready_when_its_worker_can_be_asked_to_end(tmp_path):
    """A TERM before that is lost: the worker goes on, until gunicorn kills it in the middle of a request."""
    absent = [program for program in (real_servers.GUNICORN,) if not os.access(program, os.X_OK)]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    os.chmod(tmp_path, 0o755)
    (tmp_path / "solo.py").write_text(real_servers.APPLICATION)
    (tmp_path / "slow.py").write_text(SLOW_START.format(conf=os.path.join(real_servers.PROGRAMS, "gunicorn.conf.py")))
    spec = pool([real_servers.GUNICORN, "--chdir", str(tmp_path), "-c", str(tmp_path / "slow.py"), "--log-level", "error", "solo:app"],
                listen=f"tcp:{LOCAL}:{free_port(29000)}", ready="notify", stop={"timeout": "45s", "scope": "process"})
    with Mtd({"server": spec}) as mtd:
        mtd.events.expect(event="ready", pool="server")
        mtd.ctl("stop", "server")
        event = mtd.events.expect(event="exited", pool="server")
        assert (event["last_exit"]["cause"], event["last_exit"]["code"]) == ("stop", 0)
