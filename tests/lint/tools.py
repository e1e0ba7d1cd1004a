"""Checks that need the whole tree or a program of the machine. Each returns violations, or why it was skipped."""
import json
import re
import shutil
import subprocess


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def complaints(answer):
    if answer.returncode == 0:
        return []
    return (answer.stdout + answer.stderr).strip().splitlines() or [f"exit code {answer.returncode}"]


def checks(root, files):
    return [
        ("test files in CMake", lambda: unlisted_tests(root, files)),
        ("shellcheck", lambda: shellcheck(root, files)),
        ("JSON files", lambda: json_files(root, files)),
        ("clang-format", lambda: clang_format(root, files)),
        ("python syntax", lambda: python_syntax(root, files)),
        ("packages to build with", lambda: build_packages(root)),
        ("lint self-test", lambda: complaints(run(["/usr/bin/python3", "tests/lint/lint.py", "--self-test"], cwd=root))),
    ]


def unlisted_tests(root, files):
    """Every C++ file below tests/ stands in a CMake file, or an integration test compiles it; else nobody does."""
    builders = (".cmake", "CMakeLists.txt", ".py", ".sh")
    cmake = "\n".join((root / name).read_text() for name in files
                      if name.startswith("tests/") and name.endswith(builders))
    found = []
    for name in files:
        if name.startswith("tests/") and name.endswith((".cpp", ".c", ".cc")):
            inside = name[len("tests/"):]
            stem = inside.rsplit("/", 1)[-1].rsplit(".", 1)[0]
            if inside not in cmake and not re.search(rf"(?<![\w]){re.escape(stem)}(?![\w])", cmake):
                found.append(f"{name} is in no CMake file")
    for name in files:
        if re.match(r"tests/integration/.*\.py$", name):
            base = name.rsplit("/", 1)[-1]
            text = (root / name).read_text()
            if re.search(r"^def test_", text, re.M) and not base.startswith("test_"):
                found.append(f"{name} holds tests, but pytest looks for test_*.py only")
    return found


def is_shell(root, name):
    if name.endswith(".sh"):
        return True
    with open(root / name, "rb") as file:
        first = file.readline(64)
    return bool(re.match(rb"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", first))


def shellcheck(root, files):
    if not shutil.which("shellcheck"):
        return "shellcheck is not installed"
    scripts = [name for name in files if is_shell(root, name)]
    return complaints(run(["shellcheck", "-x", "-f", "gcc", *scripts], cwd=root))


def json_files(root, files):
    found = []
    for name in files:
        if name.endswith(".json") and not name.startswith("tests/fuzz/"):
            try:
                json.loads((root / name).read_text())
            except ValueError as error:
                # Configuration files may hold comments; `mtd --check` reads those.
                if not name.startswith(("config/examples/", "packaging/debian/", "tests/")):
                    found.append(f"{name}: {error}")
    return found


def clang_format(root, files):
    program = shutil.which("clang-format-14")
    if not program:
        return "clang-format-14 is not installed"
    sources = [name for name in files if name.endswith((".cpp", ".h"))]
    answer = run([program, "--dry-run", "-Werror", "--ferror-limit=1", *sources], cwd=root)
    lines = [line for line in complaints(answer) if "clang-format-violations" in line]
    return lines if answer.returncode else []


# Of those to build mtd: needed by its tests only.
FOR_TESTS = {"doctest-dev", "librapidcheck-dev"}


def build_packages(root):
    """Whatever builds mtd names the libraries that packaging/dependencies.sh names."""
    text = (root / "packaging/dependencies.sh").read_text()
    needed = set(re.search(r"^BUILD_PACKAGES=\((.*?)\)", text, re.M | re.S)[1].split())
    libraries = {name for name in needed if name.endswith("-dev")} - FOR_TESTS
    return [f"{place} does not name {name}" for place in ("packaging/debian/control", "packaging/Containerfile")
            for name in sorted(libraries) if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", (root / place).read_text())]


def python_syntax(root, files):
    found = []
    for name in files:
        if name.endswith(".py"):
            try:
                compile((root / name).read_text(), name, "exec")
            except SyntaxError as error:
                found.append(f"{name}: {error}")
    return found
