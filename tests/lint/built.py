"""Checks of what a build made: hardening of the programs, manual pages, the unit file, the examples."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

FORBIDDEN = {"system", "popen", "wordexp", "gets"}


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def checks(root, build):
    if build is None:
        return [("what was built", lambda: "no --build directory was given")]
    return [
        ("hardening", lambda: hardening(build / "bin")),
        ("no shell", lambda: no_shell(build / "bin")),
        ("manual pages", lambda: manual(build / "man")),
        ("unit file", lambda: unit(root, build)),
        ("examples", lambda: examples(root, build / "bin")),
        ("installation", lambda: installation(build)),
    ]


def programs(bin_directory):
    return [bin_directory / name for name in ("mtd", "mtd-supervisor", "mtctl") if (bin_directory / name).exists()]


def hardening(bin_directory):
    if not shutil.which("readelf"):
        return "readelf is not installed"
    found = []
    for program in programs(bin_directory):
        elf = run(["readelf", "-hldW", str(program)]).stdout
        # The keeper is static at a fixed address: it has no secrets, and no relocations to do at each start.
        if program.name != "mtd" and not re.search(r"Type:\s+DYN", elf):
            found.append(f"{program.name} is not position independent")
        if "GNU_RELRO" not in elf:
            found.append(f"{program.name} has no RELRO")
        if "NEEDED" in elf and not re.search(r"BIND_NOW|Flags:.*NOW", elf):
            found.append(f"{program.name} is not bound at start")
        # The keeper has no text to overflow, and forks cheaply: see ARCHITECTURE.md.
        symbols = run(["nm", "-D", str(program)]).stdout if program.name != "mtd" and is_release(bin_directory) else None
        if symbols is not None and "__stack_chk_fail" not in symbols:
            found.append(f"{program.name} has no stack protector")
        if symbols is not None and not re.search(r" U __\w+_chk\b", symbols):
            found.append(f"{program.name} calls no fortified function")
        if is_release(bin_directory) and os.uname().machine == "x86_64" and not marks_branches(program):
            found.append(f"{program.name}: main has no mark for indirect branches (-fcf-protection)")
        if re.search(r"GNU_STACK.*E", elf.split("Section to Segment")[0].split("GNU_STACK")[-1].splitlines()[0]):
            found.append(f"{program.name} has an executable stack")
    # What leaves nothing in a program that could be told from the code around it.
    commands = bin_directory.parent / "compile_commands.json"
    if is_release(bin_directory) and commands.exists():
        for entry in json.loads(commands.read_text()):
            where = pathlib.Path(entry["file"]).parts
            if not {"daemon", "ctl", "common", "config", "client"} & set(where) or "tests" in where:
                continue
            missing = [flag for flag in ("-fstack-clash-protection", "-D_FORTIFY_SOURCE=", "-D_GLIBCXX_ASSERTIONS",
                                         "-ffile-prefix-map=") if flag not in entry["command"]]
            if missing:
                found.append(f"{entry['file']} is compiled without {' '.join(missing)}")
    keeper = bin_directory / "mtd"
    if keeper.exists() and "NEEDED" in run(["readelf", "-dW", str(keeper)]).stdout:
        found.append("mtd, the keeper, is not static")
    return found if programs(bin_directory) else ["no program was built"]


def marks_branches(program):
    """The first instruction of main is endbr64."""
    code = run(["objdump", "-d", "--no-show-raw-insn", "--disassemble=main", str(program)]).stdout
    first = re.search(r"<main>:\n\s*[0-9a-f]+:\s*(\w+)", code)
    return first is not None and first.group(1) == "endbr64"


def is_release(bin_directory):
    cache = bin_directory.parent / "CMakeCache.txt"
    return cache.exists() and "CMAKE_BUILD_TYPE:STRING=Release" in cache.read_text()


def no_shell(bin_directory):
    if not shutil.which("nm"):
        return "nm is not installed"
    found = []
    for program in programs(bin_directory):
        names = {line.split()[-1].split("@")[0] for line in run(["nm", "-D", str(program)]).stdout.splitlines() if line}
        found += [f"{program.name} uses {name}()" for name in sorted(names & FORBIDDEN)]
    return found


def manual(directory):
    if not shutil.which("mandoc"):
        return "mandoc is not installed"
    pages = sorted(directory.glob("*.[1-8]"))
    answer = run(["mandoc", "-Tlint", "-W", "warning", *map(str, pages)])
    found = [line for line in (answer.stdout + answer.stderr).splitlines() if "outdated mandoc.db" not in line]
    for page in pages if shutil.which("groff") else []:  # as man(1) of Debian shows them
        found += run(["groff", "-k", "-ww", "-mdoc", "-Tutf8", "-z", str(page)]).stderr.splitlines()
    expected = {"mtd.8", "mtctl.1", "mtd.json.5", "mtd-control.7", "mtd-worker.7"}
    found += [f"{name} was not built" for name in sorted(expected - {page.name for page in pages})]
    return found


def unit(root, build):
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        return "systemd-analyze is not installed"
    text = (build / "packaging/mtd.service").read_text()
    # The programs are not installed yet: what stands in for them only has to exist.
    text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", text, flags=re.M)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("Documentation="))
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "mtd.service"
        path.write_text(text + "\n")
        drop_in = pathlib.Path(directory) / "mtd.service.d"
        drop_in.mkdir()
        shutil.copy(root / "packaging/hardened.conf", drop_in)
        answer = run([analyze, "verify", "--man=no", "--recursive-errors=no", str(path)])
    return [line for line in (answer.stdout + answer.stderr).splitlines() if "mtd.service" in line]


def examples(root, bin_directory):
    """`mtd --check` accepts the examples (as a copy: the checkout may belong to somebody else)."""
    mtd = bin_directory / "mtd"
    if not mtd.exists():
        return ["mtd was not built"]
    missing = [name for name in ("/usr/bin/redis-server", "/usr/bin/python3") if not os.access(name, os.X_OK)]
    if missing:
        return f"{missing[0]} is not installed"
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        copy = pathlib.Path(directory) / "examples"
        shutil.copytree(root / "config/examples", copy)
        for path in copy.rglob("*"):
            os.chmod(path, 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "EXAMPLES": str(copy), "EXAMPLE_DIR": directory}
        answer = run([str(mtd), "--config", str(copy), "--check"], env=environment)
    return [] if answer.returncode == 0 else (answer.stdout + answer.stderr).splitlines() or ["mtd --check failed"]


def installation(build):
    with tempfile.TemporaryDirectory() as directory:
        answer = run(["cmake", "--install", str(build), "--prefix", "/usr"], env={**os.environ, "DESTDIR": directory})
        if answer.returncode:
            return (answer.stdout + answer.stderr).splitlines()[-5:]
        expected = ("bin/mtd", "bin/mtctl", "libexec/mtd/mtd-supervisor", "share/man/man8/mtd.8",
                    "share/man/man1/mtctl.1", "share/bash-completion/completions/mtctl",
                    "share/zsh/vendor-completions/_mtctl", "share/fish/vendor_completions.d/mtctl.fish",
                    "share/mtd/mtd.schema.json", "share/varlink/io.mtd.Manager.varlink",
                    "lib/systemd/system/mtd.service", "lib/systemd/user/mtd.service",
                    "share/doc/mtd/examples/mtd.json", "share/doc/mtd/examples/systemd/hardened.conf")
        usr = pathlib.Path(directory) / "usr"
        return [f"{name} was not installed, or is empty" for name in expected
                if not (usr / name).exists() or (usr / name).stat().st_size == 0]
