"""What the private mtd of a mtd.Pool and its workers are told: the configuration, and how to become like this process."""
import os
import sys
from multiprocessing import spawn, util

from ._pool_results import WINDOW

PRIVATE_POOL = "pool"
_WORKER = ("import sys; sys.path.insert(0, sys.argv[1]); from mtd._pool_worker import main; main(sys.argv[2])")


def preparation(spool):
    """What a worker needs to become like this process; as multiprocessing's spawn has it."""
    data = spawn.get_preparation_data("mtd.Pool worker")
    data["authkey"] = bytes(data["authkey"])
    if not os.path.exists(data.get("init_main_from_path") or os.devnull):
        del data["init_main_from_path"]  # a script that came over the standard input: nobody can read it again
    return {"spawn": data, "environment": dict(os.environb), "spool": spool}


def configuration(processes, prepared, maxtasksperchild, max_crashes):
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [spawn.get_executable() or sys.executable, *util._args_from_interpreter_flags(), "-c", _WORKER, package,
               prepared]
    command = [os.fsdecode(word).replace("$", "$$") for word in command]
    pool = {
        "command": command,
        "workers": processes,
        "cwd": os.getcwd().replace("$", "$$"),
        "env_pass": _names_that_matter_at_start(),
        "overlap": True,
        "stop": {"timeout": "2s"},
        "log": {"to": "inherit"},
        "backoff": {"initial": "10ms", "max": "1s"},
        "crash_limit": {"count": 1000000, "window": "1s"},
        "tasks": {"mode": "task", "durability": "process", "max_attempts": 1, "max_crashes": max_crashes,
                  "retry_delay": "10ms", "max_queue": 4 * WINDOW, "max_result": "8M"},
    }
    if maxtasksperchild is not None:
        pool["recycle"] = {"maxtasksperchild": maxtasksperchild, "concurrency": processes}
    return {"pools": {PRIVATE_POOL: pool}}


def _names_that_matter_at_start():
    """Of the environment: what the interpreter and the loader read before a worker can set the rest."""
    return sorted(name for name in os.environ
                  if name.startswith(("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_")) or name in ("LANG", "PATH"))
