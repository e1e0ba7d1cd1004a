#!/usr/bin/env python3
"""Counts test cases in the reports that ctest and pytest write.

    count_results.py ctest|pytest FILE [FILE]

FILE is JUnit XML; the second, if it is there, is of the failed cases run once more. Prints "PASSED FAILED SKIPPED",
then one line for each case that failed, was skipped, or passed at the second try only. A ctest program that prints
a doctest summary counts as that many cases, any other as one.
"""
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

SUMMARY = re.compile(r"\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A test that cannot do its work here prints this, with the reason, and returns 77 (SKIP_RETURN_CODE).
SKIPPED = re.compile(r"^\s*(?:SKIP(?:PED)?|skipped)[:\s]+(.*)$", re.M)


def reason_of(element):
    return " ".join((element.get("message") or element.text or "").split())[:200]


def ctest(case):
    output = COLOUR.sub("", case.findtext("system-out") or "")
    name = case.get("name")
    summaries = SUMMARY.findall(output)
    notes = [f"skipped {name}: {reason}" for reason in SKIPPED.findall(output)]
    passed = sum(int(summary[1]) for summary in summaries)
    failed = sum(int(summary[2]) for summary in summaries)
    status = case.get("status")
    if status in ("notrun", "disabled") or case.find("skipped") is not None:
        skipped = case.find("skipped")
        return 0, 0, 1, notes or [f"skipped {name}: {status if skipped is None else reason_of(skipped)}"]
    if status == "fail" or case.find("failure") is not None:
        return passed, max(failed, 1), 0, notes + [f"failed {name}"]
    return (passed or 1), 0, len(notes), notes


def pytest(case):
    name = f"{case.get('classname')}::{case.get('name')}"
    for kind in ("failure", "error"):
        if case.find(kind) is not None:
            return 0, 1, 0, [f"failed {name}"]
    if case.find("skipped") is not None:
        return 0, 0, 1, [f"skipped {name}: {reason_of(case.find('skipped'))}"]
    return 1, 0, 0, []


def main():
    kind, *paths = sys.argv[1:]
    count = {"ctest": ctest, "pytest": pytest}[kind]
    results = {}
    for path in paths:
        if not os.path.exists(path):
            continue
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            name = (case.get("classname"), case.get("name"))
            before, result = results.get(name), count(case)
            if before and before[1] and not result[1]:
                result[3].append(f"unsteady {'::'.join(dict.fromkeys(filter(None, name)))}: passed at the second try only")
            results[name] = result
    totals = [0, 0, 0]
    notes = []
    for *counts, more in results.values():
        totals = [total + one for total, one in zip(totals, counts)]
        notes += more
    print(*totals)
    print("\n".join(notes))


if __name__ == "__main__":
    main()
