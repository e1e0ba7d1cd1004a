"""A Varlink client nobody here wrote (Debian's golang-github-varlink-go-dev)."""
import os
import shutil
import subprocess

import pytest
from harness import ROOT, Mtd, pool

SOURCE = os.path.join(ROOT, "tests", "system", "varlink_go")


def test_go_client_introspects_asks_and_streams(tmp_path, actor):
    if not shutil.which("go") or not os.path.isdir("/usr/share/gocode/src/github.com/varlink"):
        pytest.skip("needs go and golang-github-varlink-go-dev")
    if not os.path.isdir(SOURCE):
        pytest.skip(f"no {SOURCE}")
    program = str(tmp_path / "client")
    build = subprocess.run(["go", "build", "-o", program, "."], cwd=SOURCE, capture_output=True, text=True, check=False,
                           env={**os.environ, "GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "GOFLAGS": "",
                                "GOCACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)})
    assert build.returncode == 0, build.stderr
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        mtd.wait_ready()
        done = subprocess.run([program, mtd.socket], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "web" in done.stdout
