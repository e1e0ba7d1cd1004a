"""Rules about the text of files: unfinished work, names that mean nothing elsewhere, tests nobody runs."""
import re
import subprocess

from rule import Rule, lines


def tracked_files(root):
    """Files of the repository; without git, everything but build directories and hidden folders."""
    answer = subprocess.run(["git", "-C", str(root), "-c", f"safe.directory={root}", "ls-files", "-z"],
                            capture_output=True, check=False)
    if answer.returncode == 0 and answer.stdout:
        names = answer.stdout.decode().split("\0")
        return sorted(name for name in names if name and (root / name).is_file())
    found = []
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(("build", ".git/")) and "__pycache__" not in name:
            found.append(name)
    return sorted(found)


# Put together, so that this file does not break its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")


def check_unfinished(path, text):
    if path.startswith("LICENSE"):
        return []
    return [f"{number}: unfinished work" for number, line in lines(text) if UNFINISHED.search(line)]


FOREIGN_PATHS = re.compile("(?:^|[\\s\"'`(=])(?:/wor" + "k/|\\.\\./sha" + "red|/tmp/b-|/tmp/contra" + "ct)")


def check_foreign_paths(path, text):
    return [f"{number}: a path of somebody's machine" for number, line in lines(text) if FOREIGN_PATHS.search(line)]


def check_white_space(path, text):
    if path.endswith((".md", ".patch")) or path.startswith("LICENSE"):
        return []
    found = [f"{number}: white space at the end" for number, line in lines(text) if line != line.rstrip()]
    if text and not text.endswith("\n"):
        found.append(f"{len(text.splitlines())}: no newline at the end")
    return found


def check_long_lines(path, text):
    limit = 125
    if not path.endswith((".md", ".sh", ".cmake", "CMakeLists.txt")):  # C++: clang-format
        return []
    return [f"{number}: {len(line)} columns, more than {limit}" for number, line in lines(text)
            if len(line) > limit and "://" not in line and not line.startswith("|")]


def check_headers(path, text):
    if not path.endswith(".h"):
        return []
    found = [] if "#pragma once" in text else ["1: no #pragma once"]
    if not text.startswith("//"):
        found.append("1: does not begin with a comment that says what this is")
    return found


RULES = [
    Rule("unfinished", check_unfinished, (
        ("a.cpp", "// TO" + "DO: later\n", True), ("a.cpp", "// todos los dias\n", False))),
    Rule("foreign paths", check_foreign_paths, (
        ("a.md", "see /wor" + "k/x\n", True), ("a.md", "see ../sha" + "red/x\n", True),
        ("a.md", "tests/work/x, framework/\n", False))),
    Rule("white space", check_white_space, (
        ("a.cpp", "x \n", True), ("a.cpp", "x", True), ("a.cpp", "x\n", False))),
    Rule("line length", check_long_lines, (
        ("a.sh", "x" * 126 + "\n", True), ("a.sh", "x" * 125 + "\n", False))),
    Rule("headers", check_headers, (
        ("a.h", "#pragma once\n", True), ("a.h", "// a\n", True), ("a.h", "// a\n#pragma once\n", False))),
]
