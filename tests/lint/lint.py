#!/usr/bin/env python3
"""Rules about the source tree that no compiler checks.

    tests/lint/lint.py [--build DIR]     check the tree; DIR: also what was built there
    tests/lint/lint.py --self-test       prove that each rule catches a file that breaks it

Prints one line for each violation, then "lint: N passed, M failed[, K skipped]", counted in rules.
A rule that cannot run here is skipped, and says why.
"""
import argparse
import pathlib
import sys

sys.dont_write_bytecode = True  # before the rules are imported

import built
import layers
import messages
import source
import tools
import vocabulary

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, help="build directory with programs and manual pages")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    rules = layers.RULES + source.RULES + messages.RULES + vocabulary.RULES
    if arguments.self_test:
        return self_test(rules)
    files = source.tracked_files(ROOT)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for rule in rules:
        report(rule.name, rule.violations(ROOT, files), counts)
    for name, check in tools.checks(ROOT, files) + built.checks(ROOT, arguments.build):
        report(name, check(), counts)
    line = f"lint: {counts['passed']} passed, {counts['failed']} failed"
    print(line + (f", {counts['skipped']} skipped" if counts["skipped"] else ""))
    return 1 if counts["failed"] else 0


def report(name, outcome, counts):
    """outcome: a list of violations, or a string: why the rule was skipped."""
    if isinstance(outcome, str):
        counts["skipped"] += 1
        print(f"lint: skipped {name}: {outcome}")
        return
    counts["failed" if outcome else "passed"] += 1
    for violation in outcome:
        print(f"{name}: {violation}")


def self_test(rules):
    failed = 0
    total = 0
    for rule in rules:
        for path, text, caught in rule.samples:
            total += 1
            if bool(rule.check(path, text)) != caught:
                failed += 1
                print(f"{rule.name}: sample {path}: should {'' if caught else 'not '}be caught: {text!r}")
        if not any(caught for _, _, caught in rule.samples):
            failed += 1
            print(f"{rule.name}: no sample that breaks it")
    print(f"lint self-test: {total - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
