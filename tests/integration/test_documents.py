"""Every configuration that a document shows is started, in a machine of its own."""
import json
import os
import re
import shutil

import pytest
import systemd_machine
from harness import BIN, ROOT

DOCUMENTS = ("README.md", "docs/coming-from.md")
# Instead of a program that is not installed here: says that it is ready, and runs until it is stopped.
STAND_IN = """#!/usr/bin/python3
import os, signal, socket
if "NOTIFY_SOCKET" in os.environ:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.sigwait({signal.SIGTERM, signal.SIGINT})
"""
WSGI = """def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\\n"]
"""


def blocks(kind):
    """(document, line, text) of each block of this kind."""
    found = []
    for name in DOCUMENTS:
        with open(os.path.join(ROOT, name)) as file:
            text = file.read()
        for match in re.finditer(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S):
            found.append((name, text[: match.start()].count("\n") + 1, match[1]))
    return found


CONFIGURATIONS = blocks("json")


@pytest.fixture(scope="module")
def machine():
    reason = systemd_machine.missing()
    if reason:
        pytest.skip("no systemd can be booted: " + reason)
    with systemd_machine.Machine({BIN: "/mnt/bin", os.path.join(ROOT, "config/examples"): "/mnt/examples"}) as machine:
        machine.sh("mkdir -p /usr/share/doc/mtd /srv/site /srv/app /srv/api && cp -r /mnt/examples /usr/share/doc/mtd/examples && "
                   "chmod -R a+rX /usr/share/doc/mtd /srv")
        machine.write("/srv/site/wsgi.py", WSGI)
        machine.write("/srv/api/server.js", 'require("http").createServer((_, r) => r.end("hello\\n")).listen({fd: 3});\n')
        yield machine


def test_there_are_configurations():
    assert len(CONFIGURATIONS) >= 7


@pytest.mark.parametrize("document,line,text", CONFIGURATIONS, ids=[f"{name}:{line}" for name, line, _ in CONFIGURATIONS])
def test_a_configuration_runs(machine, document, line, text):
    for pool in json.loads(text)["pools"].values():
        program = pool["command"][0]
        if machine.run(f"command -v {program}").returncode != 0:
            path = program if program.startswith("/") else f"/usr/local/bin/{program}"
            machine.write(path, STAND_IN, 0o755)
            machine.sh(f"chmod a+rx $(dirname {path})")
    machine.write("/etc/mtd/mtd.json", text)
    machine.sh("/mnt/bin/mtctl config check")
    machine.sh("systemd-run --quiet --unit=document --property=Type=notify --property=Delegate=yes --property=RuntimeDirectory=mtd "
               "--property=StateDirectory=mtd /mnt/bin/mtd")
    try:
        machine.sh("/mnt/bin/mtctl is-ready -q || /mnt/bin/mtctl wait --all --timeout 60s")
        for program, port in (("gunicorn", 18091), ("node", 18090)):
            if f'"{program}"' in text and shutil.which(program):
                assert "hello" in machine.sh(f"python3 -c 'import urllib.request as r; print(r.urlopen(\"http://127.0.0.1:{port}\").read())'")
        # One after the other: who loses its server by that may crash, and is back before the next one's turn.
        for name in machine.sh("/mnt/bin/mtctl status -o name").split():
            machine.sh(f"/mnt/bin/mtctl restart {name} --timeout 60s")
            machine.sh("timeout 60 sh -c 'until /mnt/bin/mtctl is-ready -q; do sleep 0.1; done'")
    finally:
        machine.run("systemctl stop document; systemctl reset-failed; rm -rf /var/lib/mtd /tmp/redis.sock")


def test_what_is_migrated_is_what_the_document_says(machine):
    (_, line, ini), = blocks("ini")
    machine.write("/tmp/supervisord.conf", ini)
    made = json.loads(machine.sh("/mnt/bin/mtctl config migrate /tmp/supervisord.conf 2>/dev/null"))
    for pool in made["pools"].values():
        del pool["x-from"]
    shown = next(json.loads(text) for name, at, text in CONFIGURATIONS if name == "docs/coming-from.md" and at > line)
    assert made == shown
