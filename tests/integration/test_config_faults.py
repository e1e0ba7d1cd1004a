"""What is refused before anything starts, with a place and a reason. (mtd --check)"""
import json
import os
import subprocess

import pytest
from harness import BIN, SLEEPER, Mtd, StartFailed, pool


def check(tmp_path, text, code):
    path = tmp_path / "mtd.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.chmod(path, 0o600)
    done = subprocess.run([BIN + "/mtd", "--check", "--config", str(path)], capture_output=True, text=True, errors="replace",
                          timeout=30, check=False)
    assert done.returncode == code, (text[:200], done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def with_key(key, value):
    return json.dumps({"pools": {"web": {"command": "/bin/true", key: value}}})


def test_good_one(tmp_path):
    check(tmp_path, with_key("workers", 2), 0)


def test_error_has_file_line_column_and_suggestion(tmp_path):
    out = check(tmp_path, '{\n "pools": {"web": {"command": "/bin/true",\n    "workrs": 1}}}', 8)
    assert "mtd.json:3:5:" in out and 'did you mean "workers"' in out


def test_all_errors_at_once(tmp_path):
    out = check(tmp_path, '{"pools": {"a": {"command": "/bin/true", "x1y": 1}, "b": {"command": 3, "umask": "9"}}}', 8)
    assert out.count("mtd.json:") >= 3, out


@pytest.mark.parametrize("value", [-1, "-1s", 1e308, "1e308", 9223372036854775808, "9223372036854775807d", "99999999999999999999s", "s", "", "5 parsecs",
                                   "0x10", None, [], {}, True, "1s1", "nan", "inf"])
def test_fault_51_durations_out_of_range(tmp_path, value):
    check(tmp_path, with_key("start_timeout", value), 8)


@pytest.mark.parametrize("value", ["infinity", "1d", "1m30s", 5, "500ms", 0.25])
def test_fault_51_good_durations(tmp_path, value):
    check(tmp_path, with_key("start_timeout", value), 0)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "a/b", ".", "..", "x" * 65, "-rf", "a b", "a\u0007b", "", "ü", "a\u0000b"])
def test_fault_70_names_that_are_no_names(tmp_path, name):
    check(tmp_path, json.dumps({"pools": {name: {"command": "/bin/true"}}}), 8)


@pytest.mark.parametrize("name", ["x" * 64, "a.service", "A-1_b.c", "0day"])
def test_fault_70_names_that_are(tmp_path, name):
    check(tmp_path, json.dumps({"pools": {name: {"command": "/bin/true"}}}), 0)


@pytest.mark.parametrize("user", ["no-such-user-here", "0day", "99999999999", "-1", "", " root"])
def test_fault_10_unknown_user_is_an_error_never_root(tmp_path, user):
    out = check(tmp_path, with_key("user", user), 8)
    assert "user" in out


@pytest.mark.parametrize("text", [
    '{"pools": {"a": {"command": "/bin/true"}, "a": {"command": "/bin/true"}}}',
    '{"pools": {"a": {"command": "/bin/true", "workers": 1, "workers": 2}}}'])
def test_fault_60_duplicate_keys(tmp_path, text):
    assert "duplicate" in check(tmp_path, text, 8).lower()


@pytest.mark.parametrize("text", [b"\xff\xfe{}", b'{"pools": {"a\xc3\x28": {}}}', b'{"pools":{"\\ud800":{"command":"/bin/true"}}}', b"", b" ", b"nul", b"[]",
                                  b'{"pools": 3}', b'{"pools": {"a": {"command": []}}}', b'{"pools": {"a": {"command": "/bin/true", "workers": 1e999}}}',
                                  b'{"pools": {"a": {"command": "/bin/true", "workers": 18446744073709551616}}}',
                                  b'{"pools": {"a": {"command": "/bin/true", "workers": 1.5}}}', b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 200000,
                                  b'{"pools": {"a": {"command": "/bin/true\\u0000x"}}}', b'{"pools": {}} trailing'],
                         ids=lambda text: text[:30].decode(errors="backslashreplace"))
def test_bad_json_and_types(tmp_path, text):
    check(tmp_path, text, 8)


@pytest.mark.parametrize("key,value", [("workers", -1), ("workers", 100000000), ("command", "'unclosed"), ("command", ["/no/such/file"]),
                                       ("umask", "08"), ("ready", "maybe"), ("restart", 1), ("backoff", {"factor": 0.5}), ("nice", 20),
                                       ("oom_score_adj", 1001), ("rlimits", {"nosuch": 1}), ("env", {"A=B": "x"}), ("env", {"A": "${NOT_SET_ANYWHERE}"}),
                                       ("env", {"A": "${MTD_WHAT}"}), ("stop", {"signal": "NOPE"}), ("recycle", {"max_tasks": -1}),
                                       ("success_codes", [256]), ("log", {"to": "direct"}), ("cwd", "relative")])
def test_values_out_of_bounds(tmp_path, key, value):
    check(tmp_path, with_key(key, value), 8)


def test_comments_trailing_commas_and_private_keys(tmp_path):
    check(tmp_path, '{ // one\n "$schema": "x", "x-mine": {"a": 1}, /* two */ "pools": {"a": {"command": "/bin/true",},},}', 0)


def test_exit_8_at_the_start():
    with pytest.raises(StartFailed) as refused:
        with Mtd({}, config_text='{"pools": {"web": {"comand": "x"}}}'):
            pass
    assert refused.value.code == 8 and "did you mean" in refused.value.log


def test_exit_2_usage():
    for words in (["--no-such"], ["--ready-fd", "x"], ["--log-level", "loud"], ["stray"]):
        assert subprocess.run([BIN + "/mtd", *words], capture_output=True, timeout=20, check=False).returncode == 2, words


def test_fault_67_socket_path_too_long():
    mtd = Mtd({"web": pool(SLEEPER)})
    mtd.runtime = os.path.join(mtd.directory, "r" * 100)
    with pytest.raises(StartFailed) as refused:
        with mtd:
            pass
    assert "107" in refused.value.log, refused.value.log


def test_config_of_another_user_is_refused(root):
    mtd = Mtd({"web": pool(SLEEPER)})
    os.chown(mtd.config, 12345, 12345)
    with pytest.raises(StartFailed) as refused:
        with mtd:
            pass
    assert refused.value.code == 8


def test_fault_18_more_workers_than_descriptors_allow(tmp_path):
    mtd = Mtd({"web": pool(SLEEPER, workers=500)}, prefix=["prlimit", "--nofile=400:400"])
    with pytest.raises(StartFailed) as refused:
        with mtd:
            pass
    assert refused.value.code == 8 and "500" in refused.value.log, refused.value.log


def test_check_version_help_do_not_need_a_runtime_directory(tmp_path):
    for words in (["--version"], ["--help"]):
        done = subprocess.run([BIN + "/mtd", *words], capture_output=True, text=True, timeout=20, check=False, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout
