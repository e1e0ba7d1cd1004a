"""Every message of an error stands in a test, or among the reviewed ones that no test can provoke (messages.txt).

So a new message is read by somebody once more: does it name what is wrong (key, argument, file), where, and what would be
right? The tables are tests/integration/test_messages.py and tests/unit/config_errors.cpp; any other test will do, too.
"""
import ast
import functools
import pathlib
import re

from rule import Rule

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACES = re.compile(r"^(common|config|ctl|client|daemon)/.*\.(cpp|h)$")
PYTHON = re.compile(r"^client/python/mtd/.*\.py$")
# What makes an error of the texts in its parentheses or braces. What the kernel refused (from_errno) says which call it was.
MAKERS = {"Error", "Failure", "IdentityError", "CallFault", "ParameterFault", "ClientFault", "usage", "fail", "error", "wrong", "invalid",
          "refuse", "refuse_and_close", "no", "failed_because", "fail_start", "not_a_duration", "not_a_size", "bad_host", "malformed",
          "in_line", "refusal", "complain", "errors.push_back", "problems_.push_back", "report"}
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\((?:.|\n)*?\)\1"|"((?:\\.|[^"\\\n])*)"|\'(?:\\.|[^\'\\\n])\'', re.S)
CALLEE = re.compile(r"([\w:.>-]+)\s*$")
ESCAPE = re.compile(r"\\(.)")
LETTERS = {"n": "\n", "t": "\t", "0": "\0", "r": "\r"}


def plain(text):
    return ESCAPE.sub(lambda found: LETTERS.get(found[1], found[1]), text)


def joined_literals(text):
    """(offset, text, callees around it) of each literal of C++; neighbours are one."""
    found, around, last, at = [], [], None, 0
    while at < len(text):
        token = TOKEN.match(text, at)
        if token:
            if token[2] is not None:
                if last is not None and not text[last:at].strip():
                    found[-1][1] += plain(token[2])
                else:
                    found.append([at, plain(token[2]), list(around)])
                last = token.end()
            at = token.end()
            continue
        letter = text[at]
        if letter in "([{":
            callee = CALLEE.search(text, max(0, at - 80), at)
            around.append(callee[1] if callee else "")
        elif letter in ")]}" and around:
            around.pop()
        at += 1
    return found


def makes_error(callee):
    if callee.startswith("spdlog::") or callee.endswith("from_errno"):
        return False
    parts = re.split(r"::|\.|->", callee)
    return parts[-1] in MAKERS or ".".join(parts[-2:]) in MAKERS


def raised(text):
    """The same of Python: what stands in the exceptions that are raised."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Raise) or node.exc is None:
            continue
        for part in ast.walk(node.exc):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                words = part.value.strip(" :;,.\"'\n(")
                if " " in words and re.search("[a-z]{2}", words):
                    yield part.lineno, words


def messages(text):
    """(line, words) of what errors are made of, without what is put in between."""
    for offset, literal, around in joined_literals(text):
        if not any(makes_error(callee) for callee in around):
            continue
        for part in literal.split("\n"):
            words = part.strip(" :;,.\"'")
            if " " in words and re.search("[a-z]{2}", words) and not words.startswith("Try 'mtctl help"):
                yield text.count("\n", 0, offset) + 1, words


@functools.lru_cache(maxsize=1)
def tested():
    """All texts of tests, as if each were written in one piece."""
    pieces = [(ROOT / "tests/lint/messages.txt").read_text()]
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix == ".cpp" and path.is_file():
            pieces += [literal for _, literal, _ in joined_literals(path.read_text())]
        elif path.suffix == ".py" and "lint" not in path.parts:
            pieces.append(plain(re.sub(r"[\"']\s*\n\s*f?[\"']", "", path.read_text())))
    return "\0".join(pieces)


def check(path, text):
    if not PLACES.match(path) and not PYTHON.match(path):
        return []
    return [f"{line}: no test has the message {words!r}; put it into tests/integration/test_messages.py, or into "
            "tests/lint/messages.txt where nothing can provoke it"
            for line, words in (messages(text) if PLACES.match(path) else raised(text)) if words not in tested()]


SAMPLES = (
    ("config/a.cpp", 'return Error{"a sentence that " "nobody has tested"};', True),
    ("ctl/a.cpp", 'if (x) return usage("nobody has tested " + name + " either");', True),
    ("daemon/a.cpp", 'call->error("Failed", {{"message", "something that nobody has tested"}});', True),
    ("daemon/a.cpp", 'spdlog::error("a line of the log that is no message");', False),
    ("daemon/a.cpp", 'return Error::from_errno("open the thing that is", errno);', False),
    ("config/a.cpp", 'problems.error({file, 1, 1}, "the file is empty; write at least " + x);', False),
    ("client/python/mtd/a.py", 'raise Error(f"{x} is what nobody has tested")', True),
    ("client/python/mtd/a.py", 'log("what nobody has tested")', False),
    ("tests/unit/a.cpp", 'return Error{"a sentence that nobody has tested"};', False),
)
RULES = [Rule("messages are tested", check, SAMPLES)]
