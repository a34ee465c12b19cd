"""Calls of nginx's workers, the supervisor and what it starts fail for lack of
memory, descriptors, processes or room on the disk: nothing ends, what was
asked for is said to have failed, and done when there is enough again."""

import errno
import os
import signal
import sys

import pytest

from harness import ROOT, process_stat, wait_until

sys.path.insert(0, str(ROOT / "tests/fault"))

from inject import Injector                             # noqa: E402


@pytest.fixture
def starved(faas, tmp_path_factory):
    """A host with an injector: host.fault("alloc", role="supervisor", n=3)."""

    def make(**options):
        directory = tmp_path_factory.mktemp("inject")
        # mapped by functions, too
        for path in (directory, directory.parent, directory.parent.parent):
            path.chmod(0o755)
        injector = Injector(directory)
        host = faas(start=False, **options)
        plain = host.environment
        host.environment = lambda: injector.environment(plain())
        host.fault = injector.fault
        host.allowed += ["Cannot allocate memory", "no memory",
                         "Too many open files", "exited on signal 9"]
        return host.start()

    return make


def is_idle(host, name="probe"):
    function = host.function(name)
    counts = function["instances"]
    return (function["queue"] == {"waiting": 0, "admitted": 0}
            and not any(counts[state] for state in counts if state != "idle"))


def version(host, name):
    return host.get("/fn/" + name).json["version"]


def source(number):
    return ("probe.c", '-DPROBE_VERSION="%d"' % number)


# -- nginx's workers ----------------------------------------------------------

@pytest.mark.parametrize("method,options", [
    ("GET", {}), ("HEAD", {}), ("POST", {"body": b"x" * 20000})])
def test_worker_without_memory_for_a_request_keeps_no_slot(starved, method,
                                                           options):
    """Pools so small that nearly each piece is an allocation of its own."""

    host = starved(workers=1, deploy=["probe"],
                   http="request_pool_size 112; connection_pool_size 112;"
                        "faas_function probe { max 1; }")
    worker = host.workers()
    statuses = set()
    n = 0
    failed = True
    while failed:
        n += 1
        with host.fault("alloc", role="worker", n=n) as rule:
            try:
                statuses.add(host.get("/fn/probe", method, **options).status)
            except OSError:
                statuses.add(None)      # before there was a request
            failed = rule.failed
        # the only slot there is
        assert host.get("/fn/probe").status == 200, n
    assert n > 30
    # 502: while a POST was sent, which may have run then and is not tried again
    assert statuses - ({502} if method == "POST" else set()) == {
        200, 500, None}
    assert host.workers() == worker
    wait_until(lambda: is_idle(host), "idle")


@pytest.mark.parametrize("call", ["read", "open"])
def test_worker_that_lacked_something_at_its_start_serves_soon(starved, call):
    host = starved(workers=1, deploy=["probe"])
    n = 1
    failed = True
    while failed:
        worker = host.workers()[0]
        with host.fault(call, role="worker", n=n, error=errno.EMFILE) as rule:
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: host.workers() not in ([], [worker]), "another")
            wait_until(lambda: host.get("/fn/probe").status == 200, "200")
            failed = rule.failed
        n += 1
    assert n > 2


# -- the supervisor -----------------------------------------------------------

def test_supervisor_without_memory_for_a_moment_deploys(starved):
    host = starved(deploy=["probe"])
    failed = 0
    for n in (2, 3, 5, 8, 13, 21, 23, 27, 30):
        with host.fault("alloc", role="supervisor", n=n) as rule:
            host.deploy("probe", *source(n))
            failed += rule.failed
        assert version(host, "probe") == str(n)
    assert failed > 5


@pytest.mark.parametrize("call,error", [
    ("write_file", errno.ENOSPC), ("fsync", errno.EIO), ("renameat", errno.EROFS),
    ("openat", errno.EMFILE)])
def test_store_that_takes_nothing_is_told_once_and_tried_again(starved, call,
                                                               error):
    host = starved(deploy={"probe": source(1)})
    assert version(host, "probe") == "1"
    with host.fault(call, role="supervisor", error=error, every=True) as rule:
        host.deploy("probe", *source(2), wait=False)
        wait_until(lambda: rule.failed > 2, "some attempts")
        assert version(host, "probe") == "1"
    wait_until(lambda: version(host, "probe") == "2", "version 2")
    told = [line for line in host.error_log().splitlines()
            if ", trying again" in line]
    # where there is no room for a file there was none for the log
    assert len(told) == (0 if call == "write_file" else 1), told
    assert all(os.strerror(error) in line for line in told)
    assert host.function("probe")["last_error"] == ""


def test_restarted_supervisor_that_cannot_look_removes_nothing(starved):
    host = starved(deploy={"probe": source(1)})
    assert version(host, "probe") == "1"
    supervisor = host.status()["supervisor"]["pid"]
    host.allowed.append("killed by signal 9")
    with host.fault("fstatat", role="supervisor", error=errno.EIO,
                    every=True) as rule:
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: host.log_has("could not look through"), "a look")
        assert rule.failed
        assert version(host, "probe") == "1"
    assert host.function("probe")["state"] == "ready"


@pytest.mark.parametrize("role", ["zygote", "init"])
def test_machine_without_a_process_to_spare_refuses_no_version(starved, role):
    host = starved(deploy={"probe": source(1)})
    with host.fault("fork", role=role, error=errno.EAGAIN, n=1):
        host.deploy("probe", *source(2))
    assert version(host, "probe") == "2"
    line = host.log_has("could not be started, trying again")
    assert line and "Resource temporarily unavailable" in line


@pytest.mark.parametrize("call,error", [
    ("clone", errno.EAGAIN), ("clone", errno.ENOMEM)])
def test_template_without_a_process_to_spare_is_asked_again(starved, call,
                                                            error):
    host = starved(deploy=["probe"], http="faas_function probe { max 2; }")
    assert host.get("/fn/probe").status == 200
    os.kill(host.get("/fn/probe").json["pid"], signal.SIGKILL)
    with host.fault(call, role="template", error=error, n=1) as rule:
        assert host.get("/fn/probe").status == 200
        assert rule.failed == 1


# -- descriptors of the supervisor --------------------------------------------

def processor_time(pid):
    """Ticks that a process has used."""

    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_supervisor_that_cannot_accept_does_not_spin(starved):
    host = starved(workers=1, deploy=["probe"])
    assert host.get("/fn/probe").status == 200
    supervisor = host.status()["supervisor"]["pid"]
    host.allowed.append("exited on signal 9")
    with host.fault("accept4", role="supervisor", error=errno.EMFILE,
                    every=True) as rule:
        os.kill(host.workers()[0], signal.SIGKILL)
        wait_until(lambda: rule.failed >= 2, "attempts")
        before, failed = processor_time(supervisor), rule.failed
        wait_until(lambda: rule.failed >= failed + 3, "more attempts")
        # one each half second: nearly nothing
        assert processor_time(supervisor) - before < 20
        assert host.get("/fn/probe").status == 200
    assert host.log_has("accept failed")
    wait_until(lambda: host.get("/fn/probe").status == 200, "200")


def test_instance_that_cannot_be_waited_for_keeps_its_slot(starved):
    host = starved(deploy=["probe"], http="faas_function probe { max 1; }")
    held = host.hold("a")[0]
    first = host.entered("a")[0]
    init = process_stat(first)[1]
    host.allowed.append("killed by signal 9")
    with host.fault("pidfd_open", role="supervisor", error=errno.EMFILE,
                    every=True) as rule:
        os.kill(first, signal.SIGSTOP)
        os.kill(init, signal.SIGKILL)
        wait_until(lambda: rule.failed > 2, "attempts")
        counts = host.function("probe")["instances"]
        assert sum(counts.values()) == 1, counts
    host.open("a")
    assert held.result().status == 200      # of another, since it was a GET
    wait_until(lambda: host.get("/fn/probe").status == 200, "another")


def test_async_call_without_memory_is_no_413(starved):
    """500; or the end of the instance, by libfcgi, and 502."""

    host = starved(workers=1, deploy=["probe"], http="server { faas_internal;"
                   " location / { faas_invoke; } }")
    wait_until(lambda: host.function("_calls").get("state") == "ready")
    headers = {"Prefer": "respond-async", **{
        "X-Long-%d" % i: "v" * 700 for i in range(6)}}

    def submitted():
        return host.post("/fn/probe", b"b" * 3000, headers=headers).status

    statuses = set()
    for n in range(1, 60):
        wait_until(lambda: submitted() == 202, "it to be taken")
        with host.fault("alloc", role="instance", n=n) as rule:
            statuses.add(submitted())
            if not rule.failed:
                break
    assert 500 in statuses
    assert statuses <= {202, 500, 502, 503}
