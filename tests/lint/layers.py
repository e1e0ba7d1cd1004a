"""Which folder may include which, and who may speak with the kernel (see ARCHITECTURE.md)."""
import re

from rule import Rule, lines

# Folder → folders it may include from, besides itself. The longest prefix that fits a file decides.
MAY_INCLUDE = {
    "common": (),
    "config": ("common",),
    "daemon/sys": ("common",),
    "daemon/keeper": ("daemon/sys",),
    "daemon/control": ("common", "daemon/sys"),
    "daemon/role": ("common", "daemon/sys"),
    "daemon/broker": ("common", "daemon/sys", "daemon/control", "daemon/role", "daemon/broker/model",
                      "daemon/broker/store"),
    "daemon/broker/model": ("common",),
    "daemon/broker/store": ("common", "daemon/sys", "daemon/broker/model"),
    "daemon/supervisor/model": ("common", "config"),
    "daemon/supervisor": ("common", "config", "daemon/sys", "daemon/control", "daemon/role", "daemon/supervisor/model"),
    "ctl": ("common", "config", "client"),
    "client": ("common",),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
# The keeper shares no heap-using code, but it may use what is plain data or header-only.
KEEPER_COMMON = {"common/unique_fd.h", "common/exit_codes.h", "common/spec_marker.h"}


def folder_of(path):
    fitting = [folder for folder in MAY_INCLUDE if path.startswith(folder + "/")]
    return max(fitting, key=len, default=None)


def check_includes(path, text):
    own = folder_of(path)
    if own is None or not path.endswith((".h", ".cpp")):
        return []
    found = []
    for number, line in lines(text):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        other = folder_of(target)
        if other is None:
            if "/" in target and not target.startswith("generated/"):
                found.append(f"{number}: includes {target}, which belongs to no folder of the map")
        elif other != own and other not in MAY_INCLUDE[own]:
            if not (own == "daemon/keeper" and target in KEEPER_COMMON):
                found.append(f"{number}: {own} may not include {target}")
    return found


# System calls that read a clock, or make, signal or wait for a process.
CALLS = re.compile(
    r"(?<![\w.>:\"])(?:::)?(syscall|clock_gettime|gettimeofday|time|getrandom|fork|vfork|clone3?|execve|execv|execvp|"
    r"posix_spawnp?|kill|killpg|tgkill|waitpid|waitid|wait4|pidfd_open|pidfd_send_signal|prctl|setrlimit|"
    r"epoll_wait|epoll_ctl|setsid|setuid|setgid|setgroups|setresuid|setresgid|mount|memfd_create|"
    r"system|popen|wordexp)\s*\(")
CLOCKS = re.compile(r"std::chrono::\w+_clock::now|std::this_thread|sleep_for|std::thread\b(?!::hardware_concurrency)")
COMMENT = re.compile(r"//.*$")
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
# Folders that are the kernel seam, or whose business is the machine they run on.
FREE = ("daemon/sys/", "daemon/keeper/", "tests/")
# Single uses that are right where they stand, each with its reason.
ALLOWED = {
    ("ctl/", "clock_gettime"): "mtctl shows ages",
    ("ctl/", "time"): "mtctl shows ages",
    ("daemon/supervisor/model/", "kill"): "the model's own function; it includes no signal.h",
    ("common/varlink_client.cpp", "clock_gettime"): "the deadline of a client; mtctl and tests link it",
    ("client/cpp/open_stream.cpp", "clock_gettime"): "the deadline of a client",
    ("client/adapter/", "clock_gettime"): "the grace of a cancelled command",
    ("client/adapter/child.cpp", "fork"): "the adapter's business is to run a command",
    ("client/adapter/child.cpp", "prctl"): "the command dies with the adapter",
    ("client/adapter/child.cpp", "waitpid"): "and is waited for",
    ("client/adapter/child.cpp", "kill"): "and ended",
    ("ctl/private_daemon.cpp", "fork"): "map -j starts an mtd of its own",
    ("ctl/private_daemon.cpp", "prctl"): "which ends with mtctl",
    ("ctl/private_daemon.cpp", "execv"): "an mtd of its own",
    ("ctl/private_daemon.cpp", "setsid"): "an interrupt from the keyboard is mtctl's",
    ("ctl/private_daemon.cpp", "waitpid"): "its end is waited for",
    ("ctl/private_daemon.cpp", "kill"): "and asked for",
    ("ctl/command_worker.cpp", "execv"): "mtctl worker becomes mtd-worker",
    ("ctl/remote.cpp", "fork"): "-H runs ssh",
    ("ctl/remote.cpp", "execvp"): "which is in PATH",
    ("ctl/remote.cpp", "waitpid"): "and ends with its status",
}


def is_allowed(path, name):
    return any(path.startswith(prefix) and name == allowed for prefix, allowed in ALLOWED)


def check_kernel_seam(path, text):
    if not path.endswith((".h", ".cpp")) or path.startswith(FREE):
        return []
    if not path.startswith(("common/", "config/", "daemon/", "ctl/", "client/")):
        return []
    found = []
    for number, line in lines(text):
        code = COMMENT.sub("", STRINGS.sub('""', line))
        for match in CALLS.finditer(code):
            name = match.group(1)
            before = code[: match.start()].rstrip()
            if re.search(r"[A-Za-z_>&*]$", before) and not before.endswith(("return", "case")):
                continue  # a declaration: "Duration time(…)"
            if not is_allowed(path, name):
                found.append(f"{number}: {name}() outside daemon/sys")
        if not path.startswith("ctl/"):
            for match in CLOCKS.finditer(code):
                found.append(f"{number}: {match.group(0)} outside daemon/sys")
    return found


# Signals are blocked and read from a descriptor, or ignored: no code of ours runs in a handler.
HANDLERS = re.compile(r"\bsigaction\s*\(|\bsa_(handler|sigaction)\b|(?<![\w.>])(?:std)?::signal\s*\((?!.*\bSIG_(IGN|DFL)\b)")


def check_no_handlers(path, text):
    if not path.endswith((".h", ".cpp")) or path.startswith("tests/"):
        return []
    return [f"{number}: a signal handler" for number, line in lines(text)
            if HANDLERS.search(COMMENT.sub("", STRINGS.sub('""', line)))
            and not re.search(r"\w+::signal\(", line.replace("std::signal(", ""))]


# The model is pure: no logging, no JSON, no descriptors.
IMPURE = re.compile(r"#\s*include\s*[<\"](spdlog|fmt|nlohmann|systemd|unistd\.h|sys/|fcntl\.h|signal\.h|chrono|random|"
                    r"iostream|fstream|thread|mutex)")


def check_model_is_pure(path, text):
    if not path.startswith(("daemon/supervisor/model/", "daemon/broker/model/")):
        return []
    return [f"{number}: the model includes {line.split('include')[1].strip()}"
            for number, line in lines(text) if IMPURE.search(line)]


# Only shells and the programs' mains log.
LOGGING = re.compile(r"\bspdlog::")


def check_logging(path, text):
    if not path.startswith(("common/", "config/", "daemon/sys/", "daemon/keeper/", "daemon/supervisor/model/", "daemon/broker/model/",
                            "daemon/broker/store/")):
        return []
    return [f"{number}: logs, which only a shell may do"
            for number, line in lines(text) if LOGGING.search(COMMENT.sub("", line))]


RULES = [
    Rule("includes", check_includes, (
        ("common/a.cpp", '#include "config/loader.h"\n', True),
        ("config/a.cpp", '#include "daemon/sys/clock.h"\n', True),
        ("daemon/supervisor/model/a.cpp", '#include "daemon/sys/clock.h"\n', True),
        ("daemon/sys/a.cpp", '#include "daemon/supervisor/model/pool.h"\n', True),
        ("daemon/sys/a.h", '#include "config/pool_spec.h"\n', True),
        ("daemon/keeper/a.cpp", '#include "daemon/supervisor/shell.h"\n', True),
        ("daemon/keeper/a.cpp", '#include "common/result.h"\n', True),
        ("daemon/broker/model/a.h", '#include "daemon/supervisor/model/pool.h"\n', True),
        ("daemon/broker/store/a.h", '#include "config/plan.h"\n', True),
        ("daemon/broker/store/a.h", '#include "daemon/broker/model/values.h"\n', False),
        ("daemon/supervisor/a.cpp", '#include "daemon/keeper/table.h"\n', True),
        ("ctl/a.cpp", '#include "daemon/sys/clock.h"\n', True),
        ("ctl/a.cpp", '#include "elsewhere/x.h"\n', True),
        ("config/a.cpp", '#include "common/result.h"\n', False),
        ("daemon/supervisor/a.cpp", '#include "daemon/sys/clock.h"\n#include "config/plan.h"\n', False),
        ("daemon/keeper/a.cpp", '#include "daemon/sys/keeper_protocol.h"\n', False),
    )),
    Rule("kernel seam", check_kernel_seam, (
        ("daemon/supervisor/a.cpp", "  ::kill(pid, SIGTERM);\n", True),
        ("daemon/supervisor/a.cpp", "  return fork();\n", True),
        ("daemon/supervisor/model/a.cpp", "auto now = std::chrono::steady_clock::now();\n", True),
        ("config/a.cpp", "  if (system(text) != 0) return;\n", True),
        ("common/a.cpp", "const auto t = time(nullptr);\n", True),
        ("daemon/sys/a.cpp", "  ::kill(pid, SIGTERM);\n", False),
        ("daemon/supervisor/a.cpp", "  // kill(pid) is not for us\n", False),
        ("daemon/supervisor/a.cpp", '  log("kill (9)");\n  pool.kill(worker);\n', False),
        ("common/time.h", "  Duration time(int x);\n", False),
    )),
    Rule("signal handlers", check_no_handlers, (
        ("daemon/sys/a.cpp", "  std::signal(SIGTERM, on_term);\n", True),
        ("ctl/a.cpp", "  ::sigaction(SIGINT, &action, nullptr);\n", True),
        ("daemon/keeper/a.cpp", "  action.sa_handler = handler;\n", True),
        ("ctl/a.cpp", "  std::signal(SIGPIPE, SIG_IGN);\n", False),
        ("daemon/sys/a.cpp", "void WakeFd::signal() const {\n", False),
        ("daemon/sys/a.cpp", "std::size_t CgroupTree::signal(const CgroupName& name, int signal) {\n", False),
    )),
    Rule("pure model", check_model_is_pure, (
        ("daemon/supervisor/model/a.h", "#include <spdlog/spdlog.h>\n", True),
        ("daemon/supervisor/model/a.h", "#include <sys/types.h>\n", True),
        ("daemon/broker/model/a.h", "#include <random>\n", True),
        ("daemon/supervisor/model/a.h", "#include <vector>\n", False),
        ("daemon/supervisor/shell.cpp", "#include <spdlog/spdlog.h>\n", False),
    )),
    Rule("who logs", check_logging, (
        ("daemon/sys/a.cpp", '  spdlog::info("x");\n', True),
        ("daemon/supervisor/a.cpp", '  spdlog::info("x");\n', False),
    )),
]
