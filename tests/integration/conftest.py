"""Fixtures.  A test asks for `faas` and starts a host with it:

    def test_x(faas):
        host = faas(http="faas_function probe { max 1; }", deploy=["probe"])
        assert host.get("/fn/probe").status == 200

When the test is over the host is stopped, and the test fails if a process, a
socket, an [alert] or [emerg] line or a sanitizer's report is left.
"""

import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness                                          # noqa: E402

PROGRAMS = ["ngx_http_faas_module.so", "faas-supervisor", "faas-zygote"]
PROGRAMS += [name for name in ("faas-events", "faas-tender", "faas-calls.so")
             if (harness.BUILD / name).exists()]

# the longest take half a minute on a machine that has nothing else to do
TEST_SECONDS = 300


def pytest_configure():
    harness.become_subreaper()


@pytest.fixture(autouse=True)
def time_limit():
    """No test can hang the suite."""

    def expired(number, frame):
        raise TimeoutError("the test took over %d s" % TEST_SECONDS)

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def session_directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="faas-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def programs(session_directory):
    """What was built, where every user can reach it."""

    path = session_directory / "bin"
    path.mkdir()
    for name in PROGRAMS:
        assert (harness.BUILD / name).exists(), "not built: %s" % name
        shutil.copy(harness.BUILD / name, path / name)
        (path / name).chmod(0o755)
    return path


@pytest.fixture(scope="session")
def compiler(session_directory):
    path = session_directory / "functions"
    path.mkdir()
    return harness.Compiler(path)


def _factory(programs, compiler, hosts):
    def make(deploy=(), start=True, ready=True, **options):
        """A host; deploy: {name: source} or names of probes, in place before
        the start."""

        host = harness.Host(programs, compiler, **options)
        hosts.append(host)
        if not isinstance(deploy, dict):
            deploy = {name: "probe.c" for name in deploy}
        for name, source in deploy.items():
            if isinstance(source, tuple):
                host.deploy(name, *source)
            else:
                host.deploy(name, source)
        if start:
            host.start(ready)
        return host

    return make


def _finish(hosts):
    failures = []
    for host in reversed(hosts):
        try:
            host.finish()
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]


@pytest.fixture
def faas(programs, compiler):
    hosts = []
    yield _factory(programs, compiler, hosts)
    _finish(hosts)


@pytest.fixture(scope="module")
def faas_module(programs, compiler):
    """The same for a host that all tests of a file share."""

    hosts = []
    yield _factory(programs, compiler, hosts)
    _finish(hosts)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """The logs of a failed test's hosts go into its report."""

    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, harness.Host):
            report.sections.append(("error log", value.error_log()[-6000:]))
        for host in getattr(value, "hosts", ()):
            if host.error_log.exists():
                report.sections.append(("error log", host.log()[-6000:]))
