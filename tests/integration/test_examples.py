"""config/examples with the programs they name: nginx, redis-server, python3 -m http.server, and scripts of ours."""
import os
import shutil
import socket
import tempfile
import urllib.request

import pytest
import real_servers
from harness import PATIENCE, ROOT, Mtd, is_alive

EXAMPLES = os.path.join(ROOT, "config", "examples")


def example(path, directory):
    """mtd with one of the files, as it is."""
    with open(os.path.join(EXAMPLES, path)) as file:
        return Mtd(config_text=file.read(), env={"EXAMPLES": EXAMPLES, "EXAMPLE_DIR": str(directory)})


def need(program):
    if not os.access(program, os.X_OK):
        pytest.skip(f"{program} is not installed")


def need_port(port):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            pytest.skip(f"something else listens on port {port}")


def fetch(port, path="/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as page:
        return page.read().decode()


def fetch_when_listening(port, mtd):
    def answered():
        try:
            return fetch(port)
        except OSError:
            return None
    return mtd.until(answered, what=f"port {port} answers")


def test_web_servers_each_on_its_port(tmp_path):
    for port in (28050, 28051, 28052):
        need_port(port)
    with example("pools.d/web.json", tmp_path) as mtd:
        mtd.wait_ready("web")
        for port in (28050, 28051, 28052):
            assert "mtd.json" in fetch_when_listening(port, mtd)


def test_nginx_ends_with_its_own_processes(tmp_path):
    need("/usr/sbin/nginx")
    need_port(28060)
    with example("more/nginx.json", tmp_path) as mtd:
        mtd.wait_ready("nginx")
        assert fetch_when_listening(28060, mtd) == "nginx under mtd\n"
        master = mtd.pids("nginx")[0]
        workers = [int(pid) for pid in open(f"/proc/{master}/task/{master}/children").read().split()]
        assert len(workers) == 2
        mtd.ctl("stop", "nginx")
        assert not any(is_alive(pid) for pid in [master, *workers])


def test_consumers_of_a_redis_queue_are_recycled(tmp_path):
    need("/usr/bin/redis-server")
    directory = tmp_path / "config"
    shutil.copytree(os.path.join(EXAMPLES, "pools.d"), directory / "pools.d")
    for name in ("web.json", "flaky.json"):
        os.unlink(directory / "pools.d" / name)
    (directory / "mtd.json").write_text("{}")
    os.chmod(directory / "mtd.json", 0o644)
    mtd = Mtd(env={"EXAMPLES": EXAMPLES, "EXAMPLE_DIR": str(tmp_path)})
    mtd.config = str(directory)
    with mtd:
        mtd.wait_ready("cache", "consumer")
        with socket.socket(socket.AF_UNIX) as redis:
            redis.connect(str(tmp_path / "redis.sock"))
            redis.sendall(b"".join(b"RPUSH jobs %d\r\n" % number for number in range(600)))
            replies = redis.makefile("rb")
            assert all(replies.readline().startswith(b":") for _ in range(600))
        ended = mtd.events.expect(lambda event: event.get("last_exit", {}).get("cause") == "recycle:max_tasks", pool="consumer")
        assert ended["last_exit"]["planned"] is True
        mtd.until(lambda: mtd.pool("consumer")["recycled"] >= 2, what="a second one was recycled")
        assert mtd.pool("consumer")["restarts"] == 0


def test_a_script_that_crashes_at_random_is_started_again(tmp_path):
    with example("pools.d/flaky.json", tmp_path) as mtd:
        mtd.wait_ready("flaky")
        crash = mtd.events.expect(event="exited", pool="flaky", seconds=60)
        mtd.events.expect(lambda event: event["incarnation"] > crash["incarnation"], event="ready",
                          worker=crash["worker"], seconds=60)


def test_servers_share_a_socket_that_outlives_them(tmp_path):
    need_port(28070)
    with example("more/shared.json", tmp_path) as mtd:
        mtd.wait_ready("shared")
        asked = [fetch(28070) for _ in range(3)]
        for pid in mtd.pids("shared"):
            mtd.kill(pid)
        asked.append(fetch(28070))  # waits for a successor
        assert all(text.startswith("worker shared/") for text in asked)
        mtd.wait_ready("shared")


def test_hardened_worker_serves_with_nothing_to_spare(root, tmp_path, monkeypatch):
    need("/usr/bin/python3")
    need_port(28071)
    if not os.access("/run", os.W_OK):
        pytest.skip("needs a runtime directory outside of /tmp, which the worker does not see")
    monkeypatch.setattr(tempfile, "tempdir", "/run")
    with example("more/hardened.json", tmp_path) as mtd:
        mtd.wait_ready("hardened")
        assert "href" in fetch_when_listening(28071, mtd)
        with open(f"/proc/{mtd.pids('hardened')[0]}/status") as file:
            status = dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)
        assert (status["CapBnd"], status["CapEff"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "0" * 16, "1", "2")


def test_gunicorn_follows_its_load(tmp_path):
    need("/usr/bin/gunicorn")
    need_port(28072)
    with example("more/gunicorn.json", tmp_path) as mtd:
        mtd.wait_ready("gunicorn")
        assert fetch_when_listening(28072, mtd).startswith("worker gunicorn/")
        mtd.until(lambda: mtd.pool("gunicorn")["busy"] == 0, what="its workers tell that they are idle")
        assert mtd.pool("gunicorn")["scaling"]["max"] == 8


def test_php_fpm_serves_on_the_socket_it_was_given(root, tmp_path):
    fpm = real_servers.php_fpm()
    if not fpm:
        pytest.skip("php-fpm is not installed")
    need_port(28073)
    with open(os.path.join(EXAMPLES, "more", "php-fpm.json")) as file:
        text = file.read()
    with Mtd(config_text=text, env={"EXAMPLES": EXAMPLES, "PHP_FPM": fpm}) as mtd:
        mtd.wait_ready("php")
        answer = real_servers.ask_fastcgi(28073, os.path.join(EXAMPLES, "programs", "hello.php"))
        assert b"worker php/" in answer, answer
