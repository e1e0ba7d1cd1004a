"""The status of the daemon that the documentation shows, for tests of mtctl."""
import copy

DAEMON = {"version": "1.0.0", "pid": 812, "supervisor_pid": 813, "uptime_ms": 273600000, "config_rev": 10,
          "config_in_sync": True, "config_error": None, "config_path": "/etc/mtd", "workers_ready": 14,
          "workers_want": 16, "stray": 0, "stale_facts": 0, "warnings": []}


def pool(name, state, ready, want, **more):
    base = {"name": name, "state": state, "want": want, "want_file": want, "ready": ready, "busy": None,
            "idle": None, "queue": None, "restarts": 0, "recycled": 0, "spawn_failures": 0, "revision": 10,
            "outdated": 0, "since": "2026-11-21T18:04:06.000Z", "since_ms": 273600000, "note": "",
            "stopped_by": None,
            "breaker": {"open": False, "retry_ms": None, "crashes_in_window": 0, "limit": 20,
                        "window_ms": 60000}}
    base.update(more)
    return base


def worker(name, state, pid, **more):
    base = {"id": int(name.rsplit("/", 1)[1]), "name": name, "pid": pid, "state": state, "revision": 10,
            "incarnation": 1, "started": "2026-11-21T18:04:06.000Z" if pid else None,
            "uptime_ms": 273600000 if pid else 0, "tasks": 0, "task_limit": None, "current_task": None,
            "rss_bytes": None, "cpu_pct": None, "restarts": 0, "recycled": 0, "next_attempt_ms": None,
            "status_text": None, "cgroup": None, "ending": None, "retiring": [], "last_exit": None}
    base.update(more)
    return base


POOLS = [
    pool("web", "running", 4, 4, busy=3, queue={"waiting": 0}, recycled=212),
    pool("thumbs", "degraded", 6, 8, busy=6, queue={"waiting": 118}, restarts=3, recycled=512, since_ms=12000,
         note="thumbs/5 oom-killed, retry in 8s"),
    pool("mailer", "rolling", 4, 4, want_file=2, busy=1, queue={"waiting": 4}, since_ms=11000,
         note="rev 9→10: 2 of 4 updated"),
    pool("legacy", "stopped", 0, 0, queue={"waiting": None}, since_ms=172800000, note="by uid 1000"),
]


def status(pools=None, **daemon):
    return {"daemon": {**DAEMON, **daemon}, "pools": copy.deepcopy(POOLS if pools is None else pools)}
