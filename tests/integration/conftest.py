"""Options and fixtures of the integration tests; harness.py is the part that matters."""
import os
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the slow tests too")


def pytest_configure(config):
    # Started in the background by a shell we ignore it, and so would, for a moment, all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what is running before it ends
    config.addinivalue_line("markers", "slow: takes long; only with --full")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="slow: --full runs it"))
        if harness.BIN is None:
            item.add_marker(pytest.mark.skip(reason="no mtd: build it, or name its directory in MTD_BIN"))


@pytest.fixture(scope="session", autouse=True)
def subreaper():
    harness.become_subreaper()


@pytest.fixture(scope="session")
def full(request):
    """Were the long forms asked for?"""
    return request.config.getoption("--full")


@pytest.fixture(scope="session")
def tools():
    """Directory of the compiled test workers; all users can run them."""
    directory = tempfile.mkdtemp(prefix="mtd-w-")
    os.chmod(directory, 0o755)
    for name in ("actor.cpp", "http.cpp", "probe.cpp"):
        harness.compile_worker(name, directory)
    harness.compile_worker("clock_shim.cpp", directory, "-shared", "-fPIC")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def actor(tools):
    return os.path.join(tools, "actor")


@pytest.fixture(scope="session")
def crowd(tools):
    """A small worker for very many tasks; of slow tests only, so it is not among the tools."""
    return harness.compile_worker("crowd.cpp", tools)


@pytest.fixture(scope="session")
def http(tools):
    return os.path.join(tools, "http")


@pytest.fixture(scope="session")
def probe(tools):
    return os.path.join(tools, "probe")


def _have(condition, reason):
    if not condition:
        pytest.skip(reason)


@pytest.fixture
def root():
    _have(os.geteuid() == 0, "needs root")


@pytest.fixture
def cgroups():
    mount = harness.cgroup2_mount()
    _have(mount is not None and os.access(mount, os.W_OK), "needs a writable cgroup2 hierarchy")
    return mount


@pytest.fixture
def strace():
    _have(shutil.which("strace"), "needs strace")


@pytest.fixture
def unshare(root):
    _have(shutil.which("unshare"), "needs unshare")
