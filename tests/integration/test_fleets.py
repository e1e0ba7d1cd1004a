"""The Kubernetes Deployment and the Nomad job: well-formed, and what they have mtd and mtctl do is tried."""
import os
import re
import signal
import subprocess

import pytest
from harness import BIN, PATIENCE, ROOT, Mtd

KUBERNETES = os.path.join(ROOT, "packaging", "kubernetes", "mtd.yaml")
NOMAD = os.path.join(ROOT, "packaging", "nomad", "mtd.nomad.hcl")


def seconds(text):
    return float(re.fullmatch(r"(\d+)s", text).group(1))


def parse_hcl(text):
    """The part of HCL that our file uses: blocks as {"name label": {…}}, attributes. Anything else is an error."""
    token = re.compile(r'\s+|#[^\n]*|(<<(\w+)\n(.*?)\n\2\n)|("(?:[^"\\]|\\.)*")|([A-Za-z_][\w-]*)|(\d+)|([{}\[\],=])', re.S)
    tokens, at = [], 0
    while at < len(text):
        match = token.match(text, at)
        assert match, f"line {text.count(chr(10), 0, at) + 1}: {text[at:at + 20]!r}"
        at = match.end()
        if match.group(1):
            tokens.append(("text", match.group(3)))
        elif match.group(4):
            tokens.append(("text", match.group(4)[1:-1]))
        elif match.group(5):
            tokens.append(("name", match.group(5)))
        elif match.group(6):
            tokens.append(("number", int(match.group(6))))
        elif match.group(7):
            tokens.append((match.group(7), None))

    def take(kind):
        found, value = tokens.pop(0)
        assert found == kind, (found, value, kind)
        return value

    def value():
        kind, found = tokens.pop(0)
        if kind == "[":
            items = []
            while tokens[0][0] != "]":
                items.append(value())
                if tokens[0][0] == ",":
                    take(",")
            take("]")
            return items
        if kind == "name":
            return {"true": True, "false": False}[found]
        assert kind in ("text", "number"), kind
        return found

    def body():
        content = {}
        while tokens and tokens[0][0] != "}":
            name = take("name")
            if tokens[0][0] == "=":
                take("=")
                content[name] = value()
                continue
            while tokens[0][0] == "text":
                name += " " + take("text")
            take("{")
            content.setdefault(name, []).append(body())
            take("}")
        return content
    return body()


def grace_of(specification):
    """What all pools may take to stop."""
    return max(seconds(stop) for stop in re.findall(r'"stop": \{"timeout": "(\w+)"\}', specification))


def mtctl(mtd, words):
    return subprocess.run([os.path.join(BIN, words[0]), *words[1:]], env={**os.environ, "MTD_SOCKET": mtd.runtime}, text=True,
                          capture_output=True, timeout=PATIENCE * 4, check=False)


@pytest.fixture
def manifests():
    yaml = pytest.importorskip("yaml", reason="needs python3-yaml")
    with open(KUBERNETES) as file:
        return {document["kind"]: document for document in yaml.safe_load_all(file)}


def test_the_deployment_does_what_it_says(manifests):
    text = manifests["ConfigMap"]["data"]["mtd.json"]
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    drain = container["lifecycle"]["preStop"]["exec"]["command"]
    assert seconds(drain[drain.index("--timeout") + 1]) + grace_of(text) < pod["terminationGracePeriodSeconds"]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    selector = manifests["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()

    with Mtd(config_text=text, user=pod["securityContext"]["runAsUser"]) as mtd:
        mtd.wait_pool("hello", ready=2)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            command = container[probe]["exec"]["command"]
            done = mtctl(mtd, command)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (probe, done)
            assert seconds(command[command.index("--timeout") + 1]) < container[probe]["timeoutSeconds"]
        assert mtctl(mtd, drain).returncode == 0
        assert mtctl(mtd, container["readinessProbe"]["exec"]["command"]).returncode == 3
        assert mtctl(mtd, container["livenessProbe"]["exec"]["command"]).returncode == 0, "alive, though nothing is ready"


def test_the_nomad_job_does_what_it_says():
    with open(NOMAD) as file:
        (job,) = parse_hcl(file.read())["job mtd"]
    (group,) = job["group mtd"]
    (task,) = group["task mtd"]
    (template,), (service,), (container,) = task["template"], task["service"], task["config"]
    assert task["kill_signal"] == signal.Signals.SIGTERM.name
    assert grace_of(template["data"]) < seconds(task["kill_timeout"])
    assert f"{template['destination']}:/etc/mtd/mtd.json:ro" in container["volumes"]
    (check,) = service["check"]
    assert seconds(check["args"][check["args"].index("--timeout") + 1]) < seconds(check["timeout"])

    with Mtd(config_text=template["data"]) as mtd:
        mtd.wait_pool("hello", ready=2)
        done = mtctl(mtd, [check["command"], *check["args"]])
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_both_start_mtd_as_the_image_does(manifests):
    """Their arguments are mtd's, and the directories those that are writable."""
    with open(NOMAD) as file:
        task = parse_hcl(file.read())["job mtd"][0]["group mtd"][0]["task mtd"][0]
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert task["config"][0]["args"] == container["args"] == ["--runtime-dir", "/run/mtd", "--state-dir", "/var/lib/mtd"]
    assert task["env"] == [{"MTD_SOCKET": "/run/mtd"}] and container["env"] == [{"name": "MTD_SOCKET", "value": "/run/mtd"}]
    tmpfs = {mount["target"] for mount in task["config"][0]["mount"]}
    assert tmpfs == {"/run", "/var/lib/mtd"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    with open(os.path.join(ROOT, "packaging", "Containerfile")) as file:
        assert '\nENTRYPOINT ["mtd"]' in file.read()
