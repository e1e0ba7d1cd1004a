#!/usr/bin/env python3
"""CPython's own tests of multiprocessing.Pool, run with mtd.Pool in its place. Needs the package `test` of this Python.

Exits 77, with the reason, if that is not installed. Arguments are passed to unittest (names of tests, -v).
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "client", "python"))
try:
    from test import _test_multiprocessing as suite
except ImportError as error:
    print(f"SKIP: the tests of CPython are not installed (Debian: libpython3-testsuite): {error}")
    sys.exit(77)
import multiprocessing
import multiprocessing.pool
import unittest

import mtd

# What is looked at is Pool, so everything about processes, managers and shared memory is left to CPython.
CLASSES = ("_TestPool", "_TestPoolWorkerErrors", "_TestPoolWorkerLifetime", "TestInitializers")
# With its reason: what stands in the manual as different.
EXCEPTIONS = {}


def pool(*arguments, **options):
    return mtd.Pool(*arguments, **options)


suite.ProcessesMixin.Pool = staticmethod(pool)
multiprocessing.Pool = pool


def test_cases():
    """Workers import this module, and look for the classes in it."""
    found = {}
    for name in CLASSES:
        base = getattr(suite, name)
        if name.startswith("_"):
            name = "With" + name[1:]
            base = type(name, (base, suite.ProcessesMixin, unittest.TestCase), {"__module__": __name__})
        found[name] = base
    return found


globals().update(test_cases())


def main():
    names = [name for name in globals() if name.startswith(("WithTest", "TestInit"))]
    suites = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(globals()[name]) for name in names)
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    chosen = unittest.TestSuite(test for case in suites for test in case
                                if test._testMethodName not in EXCEPTIONS
                                and (not wanted or test._testMethodName in wanted))
    result = unittest.TextTestRunner(verbosity=2).run(chosen)
    print(f"cpython pool tests: {result.testsRun} run, {len(result.failures) + len(result.errors)} failed, "
          f"{len(result.skipped)} skipped")
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
