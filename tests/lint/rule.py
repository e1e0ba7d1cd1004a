"""A rule: a name, which files it looks at, and a function from (path, text) to violations."""
import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Rule:
    name: str
    # path relative to the root (str), text of the file -> list of violations ("line: what is wrong")
    check: typing.Callable
    # (path, text, is it a violation): what --self-test tries
    samples: tuple

    def violations(self, root, files):
        found = []
        for path in files:
            try:
                text = (root / path).read_text(encoding="utf-8")
            except (UnicodeDecodeError, FileNotFoundError):
                continue
            found += [f"{path}:{violation}" for violation in self.check(path, text)]
        return found


def lines(text):
    return enumerate(text.splitlines(), start=1)
