"""The commands and examples of README.md, docs and manual pages: each is one that mtctl knows, and each example is run."""
import glob
import json
import os
import re
import shlex
import shutil
import subprocess

import pytest
from harness import BIN, PATIENCE, ROOT, SLEEPER, Mtd, pool
from tasks import task_pool

MTCTL = os.path.join(BIN, "mtctl") if BIN else None
# In documents a word stands for another one.
STAND_INS = {"POOL": "web", "SEL": "web", "[SEL…]": "web", "N": "2", "CMD": "true", "COMMAND": "true", "FILE": "mtd.json", "…": "status"}
FOLLOWED = {"mtctl status -w", "mtctl events -f", "mtctl events -f web -o jsonl"}  # until they are interrupted
# What they say of tasks and roll-outs that are not there, and of a worker that nobody gave a task.
CODES = {"mtctl result 17": 4, "mtctl task show 17": 4, "mtctl wait 17 18": 4, "mtctl rollout pause web": 1, "mtctl rollout undo web": 1,
         "mtctl worker -- convert %{arg} -resize 200 out/%{arg}": 2, "mtctl worker --filter -- tr a-z A-Z": 2}
PREPARED = {"mtctl wait --all --for stopped": "mtctl stop --all", "mtctl thaw web": "mtctl freeze web"}


def source(name):
    with open(os.path.join(ROOT, name)) as file:
        return file.read()


def documents():
    return ["README.md", "SECURITY.md", "NEWS.md", *(os.path.relpath(path, ROOT) for path in glob.glob(ROOT + "/docs/*.md")),
            *(os.path.relpath(path, ROOT) for path in glob.glob(ROOT + "/man/*.in"))]


def mentioned():
    """(document, command) of each command line of mtctl that a document shows or names."""
    found = set()
    for name in documents():
        text = source(name)
        for words in re.findall(r"`(mtctl [^`\n]+)`", text) + re.findall(r"^\.(?:Cm|Ql|Dl \$|Pq Ql) (mtctl [^\n]+?)(?: [.,:;])?$", text, re.M):
            found.add((name, words))
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S):
            for line in block.splitlines():
                found |= {(name, part.strip()) for part in re.split(r"&&|\||;| # ", line) if part.strip().startswith("mtctl ")}
    return sorted(found)


def test_every_command_that_a_document_names_is_one():
    commands = mentioned()
    assert len(commands) > 80
    wrong = []
    for name, command in commands:
        words = [STAND_INS.get(word, word) for word in shlex.split(re.split(r" [<>] ?", command)[0].rstrip("\\"))[1:]]
        words = ["/nonexistent" if word.startswith("ssh://") else word for word in words if word != "-H"]
        done = subprocess.run([MTCTL, "-s", "/nonexistent", *words], stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=60, check=False)
        # A verb may be named without what it needs.
        if done.returncode == 2 and not re.search(r"' needs |which tasks|give selectors|MTD_TASK_FD", done.stderr) and words[0] != "/nonexistent":
            wrong.append(f"{name}: {command}: {done.stderr}")
    assert not wrong, "\n".join(wrong)


def test_every_metric_that_a_document_names_is_one():
    made = source("ctl/metrics.cpp")
    for name in documents():
        for metric in re.findall(r"\bmtd_(?:pool|worker|config|stray|uptime|info)\w*", source(name)):
            assert f'"{metric.removesuffix("_total")}' in made, f"{name}: {metric}"


def test_every_warning_of_status_that_the_guide_explains_is_one():
    table = source("docs/operations.md").split("| warning | |")[1].split("\n\n")[0]
    told = re.findall(r"^\| `([^`]+)`", table, re.M)
    printed = "".join(source(os.path.relpath(path, ROOT)) for path in glob.glob(ROOT + "/daemon/supervisor/*.cpp") + glob.glob(ROOT + "/ctl/*.cpp"))
    assert len(told) >= 8 and [words for words in told if words not in printed] == []


def literals(page):
    """The blocks of a manual page that stand as they are."""
    return [block.replace("\\e", "\\") for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", source("man/" + page), re.M | re.S)]


def test_the_configurations_of_the_manual_are_valid(tmp_path):
    first, drop_in, members = (block for block in literals("mtd.json.5.in") if "{" in block)
    where = tmp_path / "mtd.json"
    where.write_text(first.replace("/opt/thumb/worker", "/bin/true"))
    more = tmp_path / "pools.d/thumbs.json.d/more.json"
    more.parent.mkdir(parents=True)
    (tmp_path / "pools.d/thumbs.json").write_text(where.read_text())
    more.write_text(drop_in)
    where.unlink()
    (tmp_path / "pools.d/port.json").write_text('{"pools": {"port": {"command": "/bin/true",\n' + members + "}}}")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    done = subprocess.run([MTCTL, "config", "show", "thumbs", "-o", "json", "--config", str(tmp_path)], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)["pools"]["thumbs"]
    assert (shown["workers"]["value"], shown["stop.timeout"]["value"]) == (8, "10s"), shown


def examples():
    """Of mtctl's manual, in its order; and those of README.md about tasks."""
    text = subprocess.run([MTCTL, "help"], text=True, capture_output=True, check=True).stdout
    verbs = re.findall(r"^  ([a-z][a-z-]+)\s{2,}", text, re.M) + ["help"]
    found = []
    for verb in dict.fromkeys(verbs):
        shown = subprocess.run([MTCTL, "help", verb], text=True, capture_output=True, check=False).stdout
        for line in shown.partition("Examples:\n")[2].splitlines():
            if line.startswith("  "):
                found.append(re.split(r"\s{3,}", line.strip())[0])
    readme = re.search(r"^```sh\n(mtctl map -j 8 .*?)^```$", source("README.md"), re.M | re.S)[1]
    found += [line.partition("#")[0].strip() for line in readme.splitlines()]
    return [line for line in found if line != "mtctl shutdown"]


@pytest.mark.slow
def test_every_example_runs(tmp_path):
    """In one place, with the pools and files that they speak of."""
    commands = examples()
    assert len(commands) > 75
    os.makedirs(tmp_path / "home/.zfunc")
    os.makedirs(tmp_path / "home/.config/fish/completions")
    files = {"a.jpg": "a", "b.jpg": "b", "photo.raw": "raw", "names": "a.jpg\nb.jpg\n", "a.wav": "a",
             "supervisord.conf": "[program:cat]\ncommand=/bin/cat\n", "mtd.json": '{"pools": {"web": {"command": "/bin/true"}}}'}
    os.makedirs(tmp_path / "bin")
    os.symlink("/bin/echo", tmp_path / "bin/lame")
    patient = ["/bin/sh", "-c", "trap '' USR1 HUP; exec sleep infinity"]
    echo = pool(["/bin/echo", "%{arg}"], tasks={"mode": "exec"})
    pools = {"web": pool(patient, workers=4), "mail": pool(SLEEPER), "mailer": pool(SLEEPER), "thumbs": echo, "images": task_pool(1),
             "report": task_pool(1), "convert": echo}
    failed = []
    with Mtd(pools) as mtd:
        environment = {**os.environ, "MTD_SOCKET": mtd.socket, "PATH": f"{BIN}:{tmp_path}/bin:" + os.environ["PATH"], "HOME": str(tmp_path / "home")}

        def run(line):
            return subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True, timeout=120, check=False)
        for line in commands:
            if line in FOLLOWED or (" jq " in line and not shutil.which("jq")):
                continue
            for name, text in files.items():
                (tmp_path / name).write_text(text)
                (tmp_path / name).chmod(0o600)
            for made in tmp_path.glob("*.gz"):
                made.unlink()
            shown = line.replace("/etc/supervisor/", "")
            if line in ("mtctl config check", "mtctl config show web"):  # the usual place
                shown += " --config mtd.json"
            if line in PREPARED:
                assert run(PREPARED[line]).returncode == 0
            done = run(shown)
            if done.returncode != CODES.get(line, 0):
                failed.append(f"{line}: exit {done.returncode}\n{done.stdout[-300:]}{done.stderr[-300:]}")
            again = run("mtctl thaw web; mtctl start --all --timeout 60s && mtctl pool resume thumbs && mtctl scale --reset web && mtctl wait web")
            assert again.returncode == 0, (line, again.stderr)
        assert run("mtctl shutdown").stdout == "mtd has stopped\n"
        assert mtd.process.wait(PATIENCE) == 0
    assert not failed, "\n".join(failed)
