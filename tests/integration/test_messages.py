"""Every way to be refused by mtctl, by the control socket, by the queue of tasks and at the start of mtd, with the exact
words. Each names what is wrong and where, and what would be right. tests/lint/messages.py finds messages that no test has.
"""
import difflib
import json
import os
import shlex
import subprocess

import pytest
from harness import BIN, SLEEPER, Mtd, Varlink, pool
from tasks import task_pool, tasks_socket

TRY = "\nTry 'mtctl help {}'."
DURATION = ('"{}" is not a duration: {}; write it like "500ms", "10s", "1m30s", "2h", "1d", "infinity", or a number of seconds')
SIGNAL = '"{}" is not a signal; write a name like "TERM" or "SIGUSR1", "RTMIN+3", or a number from 1 to 64'
HOST = "-H '{}': {}; a host is written ssh://[USER@]HOST[:PORT]"
NO_POOL = "no such pool: {}; 'mtctl status' lists them"
NO_WORKER = "no such worker: {}; a worker is POOL/NUMBER, as 'mtctl status POOL' lists them"
NO_QUEUE = ("no pool '{}' has a queue of tasks; 'mtctl pool ls' lists those that have, and \"tasks\" in the configuration gives "
            "it one")
NO_TASK = "there is no task {}, or no more; 'mtctl task ls' lists those that are kept"
NO_NUMBER = "'{}' is no task's number, such as 'mtctl put' prints"
LIMIT = "is no number of workers up to 1000000; write it like 4, +2 or -1"
PAST = "the time of --timeout is over and the answer has not come; what was asked for goes on"

# (the words after mtctl, exit code, what it says on its standard error after "mtctl: ")
MTCTL = [
    # verbs and options
    ("bogus", 2, "unknown verb 'bogus'\nTry 'mtctl help'."),
    ("statsu", 2, "unknown verb 'statsu', did you mean 'status'?\nTry 'mtctl help'."),
    ("help nope", 2, "there is no verb 'nope'; 'mtctl help' lists them"),
    ("status --bogus", 2, "unknown option '--bogus'" + TRY.format("status")),
    ("status --quite", 2, "unknown option '--quite', did you mean '--quiet'?" + TRY.format("status")),
    ("status -o yaml", 2, "there is no output format 'yaml', did you mean 'name'? It is one of: table, wide, json, jsonl, name\nTry 'mtctl help'."),
    ("status --timeout x", 2, "--timeout: " + DURATION.format("x", "a digit is missing") + TRY.format("status")),
    ("status --timeout ''", 0, ""),
    ("status --timeout 5q", 2, "--timeout: " + DURATION.format("5q", 'unknown unit "q"') + TRY.format("status")),
    ("status --timeout 1s2h", 2, "--timeout: " + DURATION.format("1s2h", "larger units come first") + TRY.format("status")),
    ("status --timeout 1m30", 2, "--timeout: " + DURATION.format("1m30", "the last number has no unit") + TRY.format("status")),
    ("status --timeout", 2, "--timeout needs a value" + TRY.format("status")),
    ("start web --watch", 2, "only 'mtctl status' can --watch" + TRY.format("start")),
    ("scale --all 3", 2, "'scale' does not take --all" + TRY.format("scale")),
    ("status --all web", 2, "give selectors or --all, not both" + TRY.format("status")),
    ("limits x", 2, "'limits' takes no further argument: 'x'" + TRY.format("limits")),
    ("reload web web", 2, "'reload' takes no further argument: 'web'" + TRY.format("reload")),
    ("completion", 2, "'completion' needs the name of a shell: bash, zsh or fish" + TRY.format("completion")),
    ("completion tcsh", 2, "there is no completion for 'tcsh'; there is for bash, zsh and fish"),
    # the daemon, and where it is
    ("-s /nonexistent status", 5, "no mtd answers\n  /nonexistent: No such file or directory\n"
                                  "Is it running? 'mtctl -s SOCKET' names another socket."),
    ("-s /etc/passwd status", 5, "no mtd answers\n  /etc/passwd: Connection refused\n"
                                 "Is it running? 'mtctl -s SOCKET' names another socket."),
    ("-s /" + "x" * 120 + " status", 5, "no mtd answers\n  /" + "x" * 120 + ": a socket's path has at most 107 bytes, this one has 121\n"
                                        "Is it running? 'mtctl -s SOCKET' names another socket."),
    ("-H", 2, "--host needs a value\nTry 'mtctl help'."),
    ("-H '' status", 2, "--host: the name of the host is empty" + TRY.format("status")),
    ("-H http://x status", 2, HOST.format("http://x", "only ssh is known")),
    ("-H ssh://a/b status", 2, HOST.format("ssh://a/b", "it has a path; the socket there is named with -s")),
    ("-H ssh://a:x status", 2, HOST.format("ssh://a:x", "there is no port 'x'")),
    ("-H ssh:// status", 2, HOST.format("ssh://", "a name is missing")),
    ("-H ssh://-x status", 2, HOST.format("ssh://-x", "no name begins with '-'")),
    ("-H 'ssh://a b' status", 2, HOST.format("ssh://a b", "a blank or a control character is in it")),
    ("-qH host status", 2, "-H stands alone: not in one word with other options"),
    # pools and workers
    ("start", 2, "'start' needs a pool or worker, or --all" + TRY.format("start")),
    ("start nope", 4, NO_POOL.format("nope")),
    ("start web/9", 4, NO_WORKER.format("web/9")),
    ("why web/x", 4, NO_WORKER.format("web/x")),
    ("is-ready stopped", 3, None),
    ("stop web --now --drain", 2, "--now and --drain exclude each other; give one of them"),
    ("enable web/0", 2, "the daemon does not accept 'select': only whole pools can be enabled and disabled, not single workers of web"),
    ("freeze web/0", 2, "the daemon does not accept 'select': only whole pools can be frozen, not single workers of web"),
    ("wait", 2, "'wait' needs a pool or worker, --all, or the number of a task" + TRY.format("wait")),
    ("wait --any web", 2, "--any goes with numbers of tasks or with --group, not with pools"),
    ("wait --for nice web", 2, "--for cannot be 'nice'; it is one of: ready, stopped" + TRY.format("wait")),
    ("wait --for stopped web --timeout 50ms", 6, PAST),
    ("events nope", 4, NO_POOL.format("nope")),
    ("events web nope", 0, NO_POOL.format("nope")),
    ("events --since x", 2, "the daemon does not accept 'since': must be 0 or the cursor of an event, EPOCH:NUMBER"),
    ("signal", 2, "'signal' needs a signal and a pool or worker" + TRY.format("signal")),
    ("signal HUP", 2, "'signal' needs a pool or worker, or --all" + TRY.format("signal")),
    ("signal NOPE web", 2, SIGNAL.format("NOPE") + TRY.format("signal")),
    ("signal 99 web", 2, SIGNAL.format("99") + TRY.format("signal")),
    ("signal HUP web --whom all", 2, "--whom cannot be 'all'; it is one of: main, group, tree" + TRY.format("signal")),
    # numbers of workers
    ("scale", 2, "'scale' needs a pool and a number" + TRY.format("scale")),
    ("scale web", 2, "how many workers? For example: mtctl scale web 4" + TRY.format("scale")),
    ("scale web x", 2, "'x' " + LIMIT + TRY.format("scale")),
    ("scale web 99999999", 2, "'99999999' " + LIMIT + TRY.format("scale")),
    ("scale web -5", 2, "the daemon does not accept 'delta': the number of workers cannot be -3; the least is 0"),
    ("scale web 1 2", 2, "several pools are written with =, like: mtctl scale web=4 mail=2" + TRY.format("scale")),
    ("scale web=1 mail", 2, "'mail' is not of the form POOL=N, like web=4" + TRY.format("scale")),
    ("scale --reset web=3", 2, "--reset takes pools and no numbers, like: mtctl scale --reset web" + TRY.format("scale")),
    ("scale web 2 --current", 2, "--current needs a value" + TRY.format("scale")),
    ("scale web 2 --current x", 2, "--current needs a number of workers, like --current 4" + TRY.format("scale")),
    ("scale web=2 mail=3 --current 1", 2, "--current goes with one pool only" + TRY.format("scale")),
    ("scale web 1 --current 9", 1, "web has 2 workers, not 9"),
    ("scale web 1000000", 1, None),
    # roll-outs and the configuration
    ("rollout", 2, "'rollout' needs one of: status, pause, resume, undo, and a pool" + TRY.format("rollout")),
    ("rollout status", 2, "'rollout' needs a pool" + TRY.format("rollout")),
    ("rollout dance web", 2, "'rollout' knows status, pause, resume and undo, not 'dance'" + TRY.format("rollout")),
    ("rollout pause web", 1, "web: no roll-out is under way"),
    ("rollout resume web", 1, "web: no roll-out is paused"),
    ("rollout undo web", 1, "web: there is no earlier revision to go back to"),
    ("reload nope", 8, "the configuration is invalid, nothing was changed:\n"
                       "neither the files nor the configuration in force have a pool nope"),
    ("config", 2, "'config' needs one of: check, show, diff, schema, new, migrate" + TRY.format("config")),
    ("config nope", 2, "'config nope' is not one of: check, show, diff, schema, new, migrate" + TRY.format("config")),
    ("config schema x", 2, "'config schema' takes no 'x'" + TRY.format("config")),
    ("config migrate", 2, "'config migrate' needs the path of a supervisord.conf" + TRY.format("config")),
    ("config migrate /nonexistent", 8, "/nonexistent: cannot be read: No such file or directory\n"
                                       "mtctl: 1 problem in /nonexistent; nothing was migrated"),
    ("config check /nonexistent.json", 8, "/nonexistent.json: cannot be read: No such file or directory\n"
                                          "mtctl: 1 problem in the configuration"),
    ("config show nope --config {config}", 4, "there is no pool \"nope\""),
    # tasks
    ("put", 2, "'put' needs a pool" + TRY.format("put")),
    ("put web a", 4, NO_QUEUE.format("web")),
    ("put nope a", 4, NO_QUEUE.format("nope")),
    ("put q @/nonexistent", 1, "/nonexistent: No such file or directory"),
    ("put --at never q a", 2, "--at: 'never' is no time such as 2026-11-27T18:00:00Z, or @ and Unix seconds"),
    ("put --delay x q a", 2, "--delay: " + DURATION.format("x", "a digit is missing") + TRY.format("put")),
    ("put --expires -1s q a", 2, "--expires: " + DURATION.format("-1s", "it is negative") + TRY.format("put")),
    ("put --priority 200 q a", 2, "--priority: '200' is no number from -100 to 100" + TRY.format("put")),
    ("put --patience x q a", 2, "--patience: " + DURATION.format("x", "a digit is missing") + TRY.format("put")),
    ("pool ls --patience 1ms", 2, "--patience: must be from 100ms to 1d" + TRY.format("pool")),
    ("run web a", 125, "no pool 'web' has a queue of tasks; \"tasks\" in the configuration gives it one"),
    ("map", 2, "'map' needs a pool, or -j and a command after --" + TRY.format("map")),
    ("map -j 2", 2, "'map -j' needs a command after --, such as: mtctl map -j 4 -- gzip < names" + TRY.format("map")),
    ("map q -j 2 -- cat", 2, "give a pool, or -j with a command after --, not both" + TRY.format("map")),
    ("map q -- cat", 2, "'map POOL' takes its arguments from the lines of its input" + TRY.format("map")),
    ("map -j 0 -- cat", 2, "--jobs: '0' is no number from 1 to 4096" + TRY.format("map")),
    ("map --ordered --unordered q", 2, "--ordered and --unordered exclude each other; give one of them" + TRY.format("map")),
    ("map --keep-going --fail-fast q", 2, "--keep-going and --fail-fast exclude each other; give one of them" + TRY.format("map")),
    ("map --max-tasks 3 q", 2, "--max-tasks goes with -j; a pool's configuration has its own" + TRY.format("map")),
    ("map web", 4, NO_QUEUE.format("web")),
    ("result", 2, "'result' needs the number of a task" + TRY.format("result")),
    ("result x", 2, NO_NUMBER.format("x")),
    ("result 99", 4, NO_TASK.format(99)),
    ("cancel", 2, "which tasks? Give their numbers" + TRY.format("cancel")),
    ("cancel --group nope", 4, "no task is in group nope"),
    ("cancel 1 --group g", 2, "give numbers of tasks or --group, not both" + TRY.format("cancel")),
    ("wait 1 --group g", 2, "give numbers of tasks or --group, not both" + TRY.format("wait")),
    ("wait --group nope", 4, "no task is in group nope"),
    ("task", 2, "'task' needs one of: ls, show, retry, rm" + TRY.format("task")),
    ("task nope", 2, "'task' knows ls, show, retry and rm, not 'nope'" + TRY.format("task")),
    ("task ls q q", 2, "name one pool, or none for the tasks of all" + TRY.format("task")),
    ("task ls --state odd", 2, "--state cannot be 'odd'; it is one of: scheduled, waiting, running, done, dead, cancelled, expired"
                               + TRY.format("task")),
    ("task ls nope", 4, NO_QUEUE.format("nope")),
    ("dead ls web", 4, NO_QUEUE.format("web")),
    ("task show 99", 4, NO_TASK.format(99)),
    ("dead nope", 2, "'dead' knows ls, retry and purge, not 'nope'" + TRY.format("dead")),
    ("dead retry", 2, "which tasks? Give their numbers, or a pool" + TRY.format("dead")),
    ("pool nope", 2, "'pool' knows ls, pause and resume, not 'nope'" + TRY.format("pool")),
    ("pool pause", 2, "'pool pause' needs one pool; 'mtctl pool ls' lists them" + TRY.format("pool")),
    ("pool pause web", 4, NO_QUEUE.format("web")),
    ("drain", 2, "'drain' needs a pool" + TRY.format("drain")),
    ("worker", 2, "'worker' needs a command after --" + TRY.format("worker")),
    ("worker --probe x -- cat", 2, "--probe and --no-probe go with --filter"),
]

# The same of mtd itself.
MTD = [
    ("--bogus", 2, "mtd: there is no option '--bogus'\nTry 'mtd --help'."),
    ("stray", 2, "mtd: mtd takes options only, not 'stray'\nTry 'mtd --help'."),
    ("--config", 2, "mtd: --config needs a value\nTry 'mtd --help'."),
    ("--log-level loud", 2, "mtd: --log-level is one of: debug, info, warning, error\nTry 'mtd --help'."),
    ("--ready-fd x", 2, "mtd: --ready-fd names no open descriptor; a shell opens one: mtd --ready-fd 3 3>FILE"),
    ("--check --ready-fd x", 2, "mtd: --ready-fd is the number of an open descriptor, like: mtd --ready-fd 3 3>FILE\nTry 'mtd --help'."),
    ("--check --config /nonexistent", 8, "/nonexistent: cannot be read: No such file or directory"),
]

WRONG = "org.varlink.service.InvalidParameter"
# (method, parameters, error, what it says)
CALLS = [
    ("Stop", {"select": ["web"], "now": True, "drain": True}, WRONG, "now and drain exclude each other"),
    ("Stop", {}, WRONG, "select is missing; it must be a list of strings"),
    ("Stop", {"select": "web"}, WRONG, "select must be a list of strings"),
    ("Stop", {"select": ["web"], "bogus": 1}, WRONG, "no such parameter: bogus; known are select now drain wait"),
    ("Scale", {"pool": "web"}, WRONG, "exactly one of want, delta and reset has to be given"),
    ("Scale", {"pool": "web", "want": 1, "current": 9}, "io.mtd.Manager.Conflict", "web has 2 workers, not 9"),
    ("Rollout", {"pool": "web", "action": "dance"}, WRONG, "pause, resume or undo, not dance"),
    ("Signal", {"select": ["web"], "signal": "HUP", "whom": "all"}, WRONG, "main, group or tree, not all"),
    ("Wait", {"select": ["web"], "for": "x"}, WRONG, "ready or stopped, not x"),
    ("io.mtd.Tasks.List", {"limit": 0}, WRONG, "limit is from 1 to 10000"),
    ("io.mtd.Tasks.List", {"states": ["odd"]}, WRONG,
     "there is no state \"odd\"; there are scheduled, waiting, running, done, dead, cancelled and expired"),
    ("io.mtd.Tasks.Show", {}, WRONG, "a task is named by id, which is above 0, or by uid"),
    ("io.mtd.Tasks.Show", {"id": 77}, "io.mtd.Tasks.NoSuchTask", "there is no such task, or no more"),
    ("io.mtd.Tasks.Cancel", {}, WRONG, "tasks are named by ids, group or pool"),
    ("io.mtd.Tasks.Open", {}, WRONG, "Open upgrades the connection: upgrade must be true"),
]

# (what is sent, what the answer says)
REQUESTS = [
    (b"[1]", "a call is a JSON object"),
    (b'{"parameters":{}}', "method is missing"),
    (b'{"method":7}', "method must be a string"),
    (b'{"method":"io.mtd.Manager.Status","more":true,"oneway":true}', "a call cannot be both more and oneway"),
    (b'{"method":"io.mtd.Manager.Status","more":true,"upgrade":true}', "a call that upgrades has one answer: neither more nor oneway"),
    (b'{"method":"io.mtd.Manager.Status","upgrade":true}', "Status does not upgrade the connection"),
    (b'{"method":"io.mtd.Manager.Status","parameters":7}', "parameters must be an object"),
    (b'{"method":"io.mtd.Manager.Status","extra":1}', "a call has the members method, parameters, more, oneway and upgrade only"),
    (b"{nope", "not JSON at byte 3"),
    (b'{"method":"io.mtd.Manager.Status","parameters":{"a":1e999}}', "a number is out of range at byte 57"),
    (b"[" * 100, "nested deeper than 32 levels"),
    (b'"' + b"x" * (1 << 20), "the request is longer than 1048576 bytes"),
]

# (a frame of mtd-task/1 of a client, error, what the answer says)
FRAMES = [
    ({"t": "put"}, '"seq" must be a whole number, and is missing'),
    ({"t": "put", "seq": 1}, '"pool" must be a text, and is missing'),
    ({"t": "put", "seq": 1, "pool": "nope"}, "no pool 'nope' has a queue of tasks; \"tasks\" in the configuration gives it one"),
    ({"t": "put", "seq": 1, "pool": "q", "uid": "a b"}, '"uid" must be printable ASCII without blanks'),
    ({"t": "put", "seq": 1, "pool": "q", "args": 1}, '"args" must be a list'),
    ({"t": "put", "seq": 1, "pool": "q", "bogus": 1}, '"bogus" must be left out: it is not known'),
    ({"t": "put", "seq": 1, "pool": "q", "at_ms": 1, "delay_ms": 1}, '"at_ms" must be left out beside delay_ms'),
    ({"t": "put", "seq": 1, "pool": "q", "priority": 1000}, '"priority" must be a whole number from -100 to 100'),
    ({"t": "put", "seq": 1, "pool": "q", "watch": 7}, '"watch" must be true or false'),
    ({"t": "put", "seq": 1, "pool": "q", "body": "x"}, '"body" is no number of bytes: "x"'),
    ({"t": "put", "seq": 1, "pool": "q", "body": 99999999999}, "a body of 99999999999 bytes, at most 8388608 are allowed"),
    ({"t": "put", "seq": 1, "pool": "closed"}, "pool closed takes no tasks since it was drained; `mtctl pool resume closed` lets it"),
    ({"t": "put", "seq": 1, "pool": "q", "args": ["x" * 70000]}, "a line is longer than 65536 bytes"),
    ({"t": "dance", "seq": 1}, '"t" must be put, wait, cancel or forget'),
    ({"t": "wait", "seq": 1}, '"id" must be given, or else uid'),
    ({"t": "wait", "seq": 1, "id": 77}, "there is no such task, or no more"),
    ({"t": "cancel", "seq": 1, "id": 77}, "there is no such task, or it has ended"),
    ([1], "a frame begins with a JSON object"),
]

# (members of the pool web, the column of what is wrong, what is said of it after "pools.web.")
POOL = [
    ('"stop": {"steps": ["TERM"]}', 94, 'stop.steps: each step is a signal and a time, like ["TERM", "10s"]'),
    ('"stop": {"steps": [["KILL", "3s"]]}', 94, 'stop.steps: ["KILL"] has no time: nothing comes after it'),
    ('"stop": {"steps": [["KILL"], ["TERM", "3s"]]}', 94, 'stop.steps: ["KILL"] is the last step: nothing comes after it'),
    ('"stop": {"steps": [["TERM"]]}', 94, 'stop.steps: SIGTERM needs a time, like ["TERM", "10s"]'),
    ('"stop": {"steps": [["TERM", "x"]]}', 94,
     'stop.steps: "x" is not a duration: a digit is missing; write it like "500ms", "10s", "1m30s", "2h", "1d", "infinity", or a '
     "number of seconds"),
    ('"stop": {"steps": [["TERM", 0], ["KILL"]]}', 94, 'stop.steps: the time after SIGTERM must be a duration like "10s"'),
    ('"stop": {"steps": [["TERM", "0s"], ["KILL"]]}', 94, 'stop.steps: the time after SIGTERM is zero; leave the step out'),
    ('"stop": {"steps": [["TERM", "infinity"], ["QUIT", "3s"]]}', 94, "stop.steps: a step that waits for ever is the last but KILL"),
    ('"stop": {"steps": [["KILL"]]}', 94, 'stop.steps: ["KILL"] alone is stop.signal "KILL"'),
    ('"stop": {"steps": [["TERM", "1s"]], "timeout": "3s"}', 123, 'stop.timeout: is part of "steps" already; give either of them'),
    ('"depends_on": {"db": {"until": "completed", "if_lost": "stop"}}', 90,
     'depends_on: "db": what has completed cannot be lost; leave "if_lost" out'),
    ('"depends_on": {"db": "up"}', 90,
     'depends_on: "db" must be "started", "ready" or "completed", or {"until": one of these, "if_lost": "keep" or "stop"}'),
    ('"depends_on": {"web": "ready"}', 90, "depends_on: is a cycle: web → web; none of these pools could ever start"),
    ('"depends_on": {"nope": "ready"}', 90, 'depends_on: there is no pool "nope"'),
    ('"listen": "tcp:127.0.0.1:80?backlog=x"', 86,
     'listen: "tcp:127.0.0.1:80?backlog=x": backlog must be a number from 1 to 65535, not "x"'),
    ('"listen": "tcp:127.0.0.1:8080?reuse_port=yes", "workers": {"min": 1, "max": 3}', 86,
     "listen: reuse_port is for a fixed number of workers: connections at the socket of a worker that is not needed any more would "
     "be lost"),
    ('"probes": {"live": {"tcp": "[::1]80"}}', 103, "probes.live.tcp: after ] comes :PORT"),
    ('"probes": {"live": {"tcp": "nohost:80"}}', 103,
     'probes.live.tcp: "nohost" is no address; write it in numbers, or localhost: a name would have to be looked up for each probe'),
    ('"rlimits": {"nosuch": 1}', 88, 'rlimits: unknown limit "nosuch"; getrlimit(2) lists them'),
    ('"rlimits": {"nofile": "9:3"}', 98, 'rlimits.nofile: the soft limit is above the hard limit in "9:3"'),
    ('"rlimits": {"nofile": "lots"}', 98,
     'rlimits.nofile: must be a whole number, "infinity", "soft:hard" or {"soft": …, "hard": …}, not "lots"'),
    ('"command": "/tmp"', 63, 'command: "/tmp" is a directory; name a program in it'),
    ('"command": ["./x"], "cwd": "/srv/${MTD_WORKER_ID}"', 64,
     'command: "./x" is relative to a cwd that differs from worker to worker; write an absolute path'),
    ('"command": "/dev/null"', 63, 'command: "/dev/null" is no regular file'),
    ('"overlap": true, "reload": {"max_unavailable": 0, "max_surge": 0}', 139,
     "reload.max_surge: is 0, and so is reload.max_unavailable: no worker could be replaced"),
    ('"tasks": {}, "ready": "exec"', 98,
     'ready: must be "notify" in a pool with tasks: a worker is ready when it says so on its task socket'),
    ('"tasks": {"retry_delay": "10s", "retry_max": "1s"}', 121, "tasks.retry_max: is 1s, less than tasks.retry_delay (10s)"),
    ('"tasks": {"max_result": "1Q"}', 100,
     'tasks.max_result: "1Q" is not a size: unknown unit "Q"; write it like "64K", "512M", "1.5G", "2T" (1024-based), or a number '
     "of bytes"),
    ('"tasks": {"max_result": ""}', 100,
     'tasks.max_result: "" is not a size: it is empty; write it like "64K", "512M", "1.5G", "2T" (1024-based), or a number of bytes'),
    ('"tasks": {"max_result": "99999999999G"}', 100,
     'tasks.max_result: "99999999999G" is not a size: it is too large (less than 16E); write it like "64K", "512M", "1.5G", "2T" '
     "(1024-based), or a number of bytes"),
    ('"tasks": {"max_result": "0.5"}', 100,
     'tasks.max_result: "0.5" is not a size: there are no parts of a byte; write it like "64K", "512M", "1.5G", "2T" (1024-based), '
     "or a number of bytes"),
    ('"tasks": {"max_result": "1.1234567890K"}', 100,
     'tasks.max_result: "1.1234567890K" is not a size: it has more than 9 decimals; write it like "64K", "512M", "1.5G", "2T" '
     "(1024-based), or a number of bytes"),
    ('"tasks": {"max_result": "1T"}', 100, 'tasks.max_result: must be a size from 1K to 64M, like "512M", not "1T"'),
    ('"sandbox": {"seccomp": ["nosuchcall"]}', 99, 'sandbox.seccomp: "nosuchcall" is no system call; syscalls(2) lists them'),
    ('"sandbox": {"seccomp": ["@nosuch"]}', 99,
     'sandbox.seccomp: "@nosuch" is no group of system calls; there are @default, @clock, @debug, @kernel, @keyring, @module, '
     "@mount, @namespaces"),
    ('"sandbox": {"seccomp": ["execve"]}', 99, 'sandbox.seccomp: "execve" cannot be refused: it is what starts the worker'),
    ('"sandbox": {"capabilities": ["nosuch"]}', 104, 'sandbox.capabilities: "nosuch" is no capability; capabilities(7) lists them'),
    ('"env_file": "/etc"', 88, 'env_file: "/etc" is a directory; it must be a regular file'),
    ('"env_file": "/dev/null"', 88, 'env_file: "/dev/null" is a device; it must be a regular file'),
    ('"env_file": "/nonexistent"', 88, 'env_file: "/nonexistent" cannot be read: No such file or directory'),
    ('"start_timeout": ""', 93,
     'start_timeout: "" is not a duration: it is empty; write it like "500ms", "10s", "1m30s", "2h", "1d", "infinity", or a number '
     "of seconds"),
    ('"user": "nosuchuser"', 84, 'user: unknown user "nosuchuser"; name one of the users of this system, or a number'),
    ('"user": 4294967295', 84, "user: must be a text that is not empty, not 4294967295"),
    ('"group": "nosuchgroup"', 85, 'group: unknown group "nosuchgroup"; name one of the groups of this system, or a number'),
    ('"env": {"A=B": "x"}', 84, 'env: "A=B" is no name of a variable; names are made of letters, digits and _'),
    ('"env": {"A": "${NOPE}"}', 89, "env.A: ${NOPE} is not defined; define it in env, or write ${NOPE:-default}"),
    ('"env": {"A": "${MTD_WHAT}"}', 89,
     "env.A: ${MTD_WHAT} is unknown; of the variables of mtd itself there are MTD_POOL, MTD_WORKER, MTD_WORKER_ID and MTD_INCARNATION"),
    ('"env": {"A": "${"}', 89, "env.A: ${ is not closed; } is missing, or write $$ for a $"),
    ('"umask": "99"', 85, 'umask: must be an octal mode in quotes from "0" to "0777", like "022", not "99"'),
    ('"nice": 99', 84, "nice: must be a whole number from -20 to 19, not 99"),
    ('"oom_score_adj": 9999', 93, "oom_score_adj: must be a whole number from -1000 to 1000, not 9999"),
    ('"cwd": "relative"', 83, 'cwd: must be an absolute path, not "relative"'),
    ('"log": {"to": "direct"}', 90, 'log.to: "direct" needs "path", an absolute path'),
    ('"log": {"to": "journal", "path": "/x"}', 109, 'log.path: is only for "to": "direct"'),
    ('"recycle": {"max_tasks": 3, "maxtasksperchild": 4}', 124,
     'recycle.maxtasksperchild: is another name of "max_tasks"; give one of them'),
    ('"workers": {"min": 5, "max": 2}', 95, "workers.min: is 5, more than workers.max (2)"),
    ('"workers": {"min": 1}', 87, 'workers: as an object it needs "max", the most workers, like {"min": 1, "max": 8}'),
    ('"workers": -1', 87, 'workers: must be a whole number from 0 to 10000, "auto", or an object, like {"min": 1, "max": 8}, not -1'),
    ('"cgroup": {"memory_max": "1G", "memory_high": "2G"}', 122, "cgroup.memory_high: is 2G, more than cgroup.memory_max (1G)"),
    ('"cgroup": {"cpu_max": "x"}', 98, 'cgroup.cpu_max: must be a percentage in quotes from 1% to 1000000%, like "150%", not "x"'),
    ('"ready": "probe"', 85, 'ready: is "probe", and there is no probes.ready'),
    ('"cpu_affinity": "99999"', 92, 'cpu_affinity: must be numbers of processors, like "0-3,8" or [0, 1], or "per-worker", not "99999"'),
    ('"ionice": "x"', 86, 'ionice: must be "idle", "best-effort:LEVEL" or "realtime:LEVEL" with a level from 0 (first) to 7, not "x"'),
    ('"hooks": {"on_start": []}', 98,
     'hooks.on_start: must be a program with its arguments, like ["/opt/worker", "--fast"] or "/opt/worker --fast", not []'),
]


def differences(rows):
    """Of (name, expected, got): what is not as expected, for people."""
    text = ""
    for name, expected, got in rows:
        if expected != got:
            text += f"\n{name}\n" + "\n".join(difflib.ndiff(expected.splitlines(), got.splitlines()))
    return text


@pytest.fixture(scope="module")
def mtd():
    pools = {"web": pool(SLEEPER, workers=2), "mail": pool(SLEEPER), "stopped": pool(SLEEPER, enabled=False), "q": task_pool(1),
             "closed": task_pool(1)}
    with Mtd(pools) as running:
        running.ctl("drain", "--close", "closed")
        yield running


def test_mtctl(mtd):
    rows = []
    for words, code, expected in MTCTL:
        arguments = shlex.split(words.replace("{config}", mtd.config))
        done = subprocess.run([os.path.join(BIN, "mtctl"), *arguments], stdin=subprocess.DEVNULL, text=True, capture_output=True,
                              env={**os.environ, "MTD_SOCKET": mtd.socket}, timeout=60, check=False)
        said = done.stderr.strip().removeprefix("mtctl: ")
        rows.append((f"mtctl {words}", f"exit {code}\n{said if expected is None else expected}", f"exit {done.returncode}\n{said}"))
    assert not differences(rows), differences(rows)


def test_mtd_itself():
    rows = []
    for words, code, expected in MTD:
        done = subprocess.run([os.path.join(BIN, "mtd"), *shlex.split(words)], stdin=subprocess.DEVNULL, text=True, capture_output=True,
                              timeout=60, check=False)
        rows.append((f"mtd {words}", f"exit {code}\n{expected}", f"exit {done.returncode}\n{(done.stdout + done.stderr).strip()}"))
    assert not differences(rows), differences(rows)


def test_a_pool_that_is_not_there_says_nothing_of_the_files(mtd):
    mtd.ctl("reload", "nope", code=8)
    daemon = json.loads(mtd.ctl("status", "-o", "json").stdout)["daemon"]
    assert daemon["config_in_sync"] is True and not daemon["config_error"], daemon


def test_calls(mtd):
    rows = []
    for method, parameters, error, expected in CALLS:
        with Varlink(tasks_socket(mtd) if "Tasks" in method else mtd.socket) as client:
            client.send(method, parameters)
            reply = client.receive()
        rows.append((f"{method} {parameters}", f"{error}: {expected}", f"{reply.get('error')}: {reply['parameters'].get('message')}"))
    for raw, expected in REQUESTS:
        with Varlink(mtd.socket) as client:
            try:
                client.send_raw(raw + b"\0")
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has been answered already
            reply = client.receive()
        rows.append((str(raw[:80]), f"{WRONG}: {expected}", f"{reply.get('error')}: {reply['parameters'].get('message')}"))
    assert not differences(rows), differences(rows)


def test_configurations(tmp_path):
    rows, path = [], tmp_path / "mtd.json"
    for members, column, expected in POOL:
        command = "" if '"command"' in members else '"command": "/bin/true", '
        path.write_text('{"pools": {"db": {"command": "/bin/true"}, "web": {' + command + members + "}}}")
        path.chmod(0o600)
        done = subprocess.run([os.path.join(BIN, "mtd"), "--check", "--config", path], text=True, capture_output=True, timeout=60, check=False)
        said = (done.stdout + done.stderr).strip().removeprefix(str(tmp_path) + "/")
        rows.append((members, f"8 mtd.json:1:{column}: pools.web.{expected}", f"{done.returncode} {said}"))
    assert not differences(rows), differences(rows)


def test_frames_of_clients(mtd):
    rows = []
    for frame, expected in FRAMES:
        with Varlink(tasks_socket(mtd)) as client:
            client.send("io.mtd.Tasks.Open", {}, upgrade=True)
            assert "error" not in client.receive()
            client.send_raw(json.dumps(frame).encode() + b"\n")
            answer = b""
            while b"\n" not in answer:
                block = client.socket.recv(65536)
                assert block, frame
                answer += block
        rows.append((str(frame)[:200], expected, json.loads(answer.split(b"\n")[0]).get("message", answer.decode())))
    assert not differences(rows), differences(rows)
