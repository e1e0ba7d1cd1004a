"""One word for each concept in all that a user reads: documents, manual pages, and what the programs print.

The words themselves are tables (daemon/supervisor/model/vocabulary.cpp and its like), of which JSON, mtctl and manual pages
are made; here are the words that somebody might write in their stead.
"""
import re

from messages import joined_literals
from rule import Rule

DOCUMENTS = re.compile(r"^(README\.md|SECURITY\.md|NEWS\.md|docs/.*\.md|man/.*\.in)$")
SOURCES = re.compile(r"^(common|config|ctl|client/(cpp|adapter)|daemon)/.*\.(cpp|h)$")
# (what is not to be said, what mtd calls it)
WORDS = (
    (r"re-?spawn\w*", "started again, restart"),
    (r"child process(es)?", "worker, or process"),
    (r"(worker|pool) instances?", "worker, pool"),
    (r"replicas?", "workers"),
    (r"generations?", "revision (of a configuration), incarnation (of a worker)"),
    (r"out[- ]of[- ]memory killed|OOM[- ]killed", "oom, killed for want of memory"),
    (r"start[- ]?up (fail|time)\w*", "start"),
    (r"back off|back-?offs?[- ]time", "back-off"),
    (r"roll outs?|rolling upgrades?", "roll-out"),
    (r"dead[- ]letter queue", "dead tasks"),
    (r"circuit[- ]breakers?", "breaker"),
    (r"crash[- ]?loops?", "crash limit, breaker"),
    (r"hot[- ]reload\w*|live[- ]reload\w*", "applies in place"),
    (r"graceful(ly)? (restart|reload|shutdown|stop)\w*", "restart, reload, stop"),
    (r"config[- ]files?", "configuration, file"),
    (r"enqueue\w*|dequeue\w*", "put, hand out"),
    (r"task (IDs?|identifiers?)", "number of a task"),
    (r"master process(es)?", "keeper, supervisor"),
    (r"white-?list\w*|black-?list\w*", "what is permitted, refused"),
)
PATTERN = re.compile("|".join(rf"\b(?P<w{at}>{pattern})\b" for at, (pattern, _) in enumerate(WORDS)), re.I)


def texts(path, text):
    """(line, text) of what a user reads."""
    if DOCUMENTS.match(path):
        plain = re.sub(r"`[^`\n]*`|^\s*\.\\\".*$", " ", text, flags=re.M)  # code, and comments of roff
        yield from enumerate(plain.splitlines(), start=1)
    elif SOURCES.match(path):
        for offset, literal, _ in joined_literals(text):
            if " " in literal.strip():
                yield text.count("\n", 0, offset) + 1, literal


def check(path, text):
    found = []
    for line, words in texts(path, text):
        for match in PATTERN.finditer(words):
            at = next(int(name[1:]) for name, value in match.groupdict().items() if value is not None and name.startswith("w"))
            found.append(f"{line}: {match[0]!r}: mtd says {WORDS[at][1]}")
    return found


SAMPLES = (
    ("docs/operations.md", "A crashed worker is respawned.", True),
    ("docs/operations.md", "A crashed worker is started again.", False),
    ("man/mtd.8.in", ".It the config file", True),
    ("docs/operations.md", "`config file` is what others call it", False),
    ("ctl/a.cpp", 'line("a child process of it");', True),
    ("ctl/a.cpp", "// a child process\n", False),
)
RULES = [Rule("vocabulary", check, SAMPLES)]
