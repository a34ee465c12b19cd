"""Disks that are full and limits of descriptors that are reached, the kernel's
own and not injected: what cannot be done is said, all else goes on, and it is
done when there is room again."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess

import pytest

from harness import IS_ROOT, Background, process_stat, wait_until
from services import CODES
from test_core import dumps, info
from test_shortage import processor_time

root = pytest.mark.skipif(not IS_ROOT, reason="mounts a disk")

FULL = "No space left on device"

CLONE_NEWNS = 0x00020000

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Disk:
    """A tmpfs, which can be filled to its last byte."""

    def __init__(self, path, size):
        self.path, self.size = path, size
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o",
                        "size=%s,mode=755" % size, "tmpfs", str(path)],
                       check=True, capture_output=True)

    def fill(self):
        with open(self.path / "ballast", "ab", buffering=0) as ballast:
            try:
                while ballast.write(bytes(65536)) == 65536:
                    pass
                while ballast.write(bytes(4096)):
                    pass
            except OSError as error:
                assert error.strerror == FULL

    def clear(self):
        (self.path / "ballast").unlink()


@pytest.fixture
def namespace():
    """The mounts below are of this process and its children alone, and gone
    with it, whatever happens."""

    before, where = os.open("/proc/self/ns/mnt", os.O_RDONLY), os.getcwd()
    try:
        call(libc.unshare, CLONE_NEWNS)
    except OSError as error:
        os.close(before)
        pytest.skip("no mounts here: %s" % error)
    try:
        done = subprocess.run("mount --make-rprivate / && mount -t tmpfs tmpfs"
                              " /mnt && umount /mnt", shell=True, text=True,
                              capture_output=True)
        if done.returncode:
            pytest.skip("no mounts here: " + done.stderr)
        yield
    finally:
        call(libc.setns, before, CLONE_NEWNS)
        os.close(before)
        os.chdir(where)


@pytest.fixture
def small(namespace, faas):
    """A host with a small disk in its directory: host.disk."""

    def make(where, size="24m", deploy=(), **options):
        host = faas(start=False, **options)
        host.disk = Disk(host.dir / where, size)
        for name, source in dict(deploy).items():
            host.deploy(name, *source)
        cleanup = host.cleanup

        def unmount():
            subprocess.run(["umount", "-l", str(host.disk.path)], check=True)
            cleanup()

        host.cleanup = unmount
        host.start()
        # what is made at the start and removed again would be room
        wait_until(lambda: host.log_has("queues in sqlite"), "events")
        return host

    return make


def source(number):
    return ("probe.c", '-DPROBE_VERSION="%d"' % number)


def version(host, name="probe"):
    return host.get("/fn/" + name).json["version"]


def is_idle(host, name="probe"):
    function = host.function(name)
    counts = function["instances"]
    return (function["queue"] == {"waiting": 0, "admitted": 0}
            and not any(counts[state] for state in counts if state != "idle"))


def zombies(host):
    return [pid for pid in host.processes() if process_stat(pid)[0] == "Z"]


def settle(host, name="probe"):
    """What each of these ends with."""

    wait_until(lambda: is_idle(host, name), "idle")
    assert zombies(host) == []


def told(host, text):
    return [line for line in host.error_log().splitlines() if text in line]


# -- the host's own state -----------------------------------------------------

@root
def test_deploy_on_a_full_disk_is_told_and_done_when_there_is_room(small):
    host = small("state", deploy={"probe": source(1)})
    assert version(host) == "1"
    host.disk.fill()

    shared = host.deploy("probe", *source(2), wait=False)
    wait_until(lambda: FULL in host.function("probe")["last_error"], "status")
    assert "trying again" in host.function("probe")["last_error"]
    assert len(told(host, ", trying again")) == 1
    assert version(host) == "1"
    # nothing of the attempts is left in the way
    assert [p.name for p in (host.state / "store").iterdir()
            if p.name.startswith(".")] == []

    host.disk.clear()
    host.wait_version("probe", shared)
    assert version(host) == "2"
    assert host.function("probe")["last_error"] == ""
    settle(host)


@root
def test_supervisor_restarted_on_a_full_disk_serves_on(small):
    host = small("state", deploy={"probe": source(1)})
    first = host.get("/fn/probe").json["pid"]
    host.disk.fill()
    supervisor = host.status()["supervisor"]["pid"]
    host.allowed.append("killed by signal 9")
    os.kill(supervisor, 9)
    wait_until(lambda: host.status()["supervisor"]["pid"]
               not in (0, supervisor), "another supervisor")
    assert host.get("/fn/probe").json["pid"] == first
    os.kill(first, 9)
    wait_until(lambda: host.get("/fn/probe").status == 200, "another instance")
    host.disk.clear()
    host.deploy("probe", *source(2))
    assert version(host) == "2"
    settle(host)


# -- logs of functions --------------------------------------------------------

@root
def test_log_on_a_full_disk_loses_lines_and_no_request(small):
    host = small("state", deploy={"probe": source(1)},
                 http="faas_function probe { max 1; }")
    pid = host.get("/fn/probe?log=before").json["pid"]
    wait_until(lambda: "before" in host.function_log("probe"), "a line")
    host.disk.fill()

    # the last block has room for some, and others on the disk may give some
    answers = []

    def log():
        host.disk.fill()
        for _ in range(50):
            answers.append(host.get("/fn/probe?log=line%d.%s" % (
                len(answers), "x" * 100)))
        return told(host, FULL)

    wait_until(log, "a word")
    for _ in range(4):
        log()
    count = len(answers)
    assert [(r.status, r.json["calls"]) for r in answers] == [
        (200, n + 2) for n in range(count)]

    host.disk.clear()
    assert host.get("/fn/probe?log=after").json["pid"] == pid
    wait_until(lambda: "after" in host.function_log("probe"), "a line")
    assert len(told(host, FULL)) == 1, told(host, FULL)
    assert 'log "probe.log"' in told(host, FULL)[0]

    # each line stands alone, and the number is the one of those missing
    lines = host.function_log("probe").splitlines()
    note, = [n for n, line in enumerate(lines) if "were lost" in line]
    lost = int(re.search(r": faas: (\d+) lines of this log were lost$",
                         lines[note])[1])
    whole = [int(found[1]) for found in (
        re.search(r" line(\d+)\.x{100}$", line) for line in lines) if found]
    # a line of which only the newline did not fit is lost and yet there
    assert len(whole) + lost - count in (0, 1)
    assert whole == sorted(whole)
    # the last ones may have been read when there was room again
    assert all(re.search(r" line\d+\.x{100}$| after$", line)
               for line in lines[note + 1:])
    assert lines[-1].endswith(" after")
    settle(host)


# -- dumps --------------------------------------------------------------------

@root
def test_crash_on_a_full_disk_is_502_without_a_dump(small):
    host = small("state", deploy={"probe": source(1)},
                 http="faas_core on body=64k;")
    host.allowed.append("killed by signal 11")
    assert version(host) == "1"
    host.disk.fill()

    r = host.post("/fn/probe?die=11", b"x" * 20000)
    assert r.status == 502
    wait_until(lambda: host.log_has("there is no dump"), "a word")
    assert FULL in host.log_has("there is no dump")
    assert host.log_has("was killed by signal 11")
    assert dumps(host) == []
    assert [p.name for p in (host.state / "core").iterdir()] == []
    assert version(host) == "1"

    host.disk.clear()

    # a function has one dump a second
    def dump():
        assert host.post("/fn/probe?die=11", b"x" * 20000).status == 502
        return dumps(host)

    wait_until(dump, "a dump", interval=0.3)
    path = wait_until(lambda: dumps(host))[0]
    assert info(path)[0]["code"] == "11"
    wait_until(lambda: host.get("/fn/probe").status == 200, "200")
    settle(host)


# -- nginx's temporary files --------------------------------------------------

@root
def test_body_that_does_not_fit_on_the_disk_is_500_and_starts_nothing(small):
    host = small("tmp", deploy={"probe": source(1)}, workers=1,
                 http="faas_function probe { max 1; }")
    host.allowed.append(FULL)
    calls = host.get("/fn/probe").json["calls"]
    worker = host.workers()
    host.disk.fill()

    body = b"x" * 1000000
    for n in range(5):
        with host.wire() as wire:
            wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\nContent-Length: "
                      "%d\r\n\r\n" % len(body))
            try:
                wire.send(body)
            except OSError:
                pass                    # nginx has its answer already
            assert wire.response().status == 500
        r = host.post("/fn/probe", b"small")
        assert (r.status, r.json["bytes"]) == (200, 5)
        assert r.json["calls"] == calls + n + 1
    assert told(host, FULL)

    host.disk.clear()
    r = host.post("/fn/probe", body)
    assert (r.status, r.json["bytes"]) == (200, len(body))
    assert host.workers() == worker
    settle(host)


@root
@pytest.mark.parametrize("framing", ["HTTP/1.0", "HTTP/1.1"])
def test_answer_that_does_not_fit_on_the_disk_ends_cut_and_holds_no_slot(
        small, framing):
    host = small("tmp", deploy={"probe": source(1)}, workers=1,
                 http="faas_function probe { max 1; }")
    host.allowed.append(FULL)
    size = 30000000
    assert host.get("/fn/probe").status == 200
    worker = host.workers()
    host.disk.fill()

    with host.wire() as slow:
        slow.send("GET /fn/probe?size=%d %s\r\nHost: x\r\n\r\n"
                  % (size, framing))
        wait_until(lambda: told(host, FULL), "a word")
        # nobody has read a byte: the instance is free all the same
        assert host.get("/fn/probe?text=next").text == "next"
        head = slow.head()[0]
        assert head.split()[1] == "200"
        try:
            rest = slow.rest()
        except ConnectionResetError:
            rest = b""
        assert len(rest) < size
        assert not rest.endswith(b"0\r\n\r\n")

    # what fits there, should this reader be slow
    host.disk.clear()
    size = 10000000
    assert len(host.get("/fn/probe?size=%d" % size).body) == size
    assert host.workers() == worker
    settle(host)


# -- data of functions --------------------------------------------------------

KEEP = r"""
#include <faas.h>
#include <stdlib.h>
#include <string.h>
static int keep(faas_request_t *r) {
    int              rc;
    size_t           n;
    const char      *key = faas_query(r, "key", NULL);
    faas_bytes_t     k, v;
    faas_kv_entry_t  entry;
    if (key == NULL) { key = "k"; }
    k.data = key; k.size = strlen(key);
    if (strcmp(faas_method(r), "POST") == 0) {
        v.data = faas_body(r, 0, &n); v.size = n;
        rc = faas_kv_set(r, NULL, k, v, 0, NULL);
        return faas_printf(r, "%d", rc);
    }
    rc = faas_kv_get(r, NULL, k, &entry);
    if (rc) { return faas_printf(r, "%d", rc); }
    return faas_write(r, entry.value.data, entry.value.size);
}
FAAS_FUNCTION(.handler = keep)
"""


@root
def test_kv_on_a_full_disk_says_full_and_reads_what_it_has(small):
    host = small("state", deploy={"keep": (KEEP,)},
                 http="faas_function keep { max 1; }")
    assert host.post("/fn/keep", b"first").text == "0"
    pids = {pid for pid in host.processes()}
    host.disk.fill()

    def store(n):
        return host.post("/fn/keep?key=%d" % n, b"v" * 20000).text

    said = [store(n) for n in range(20)]
    assert set(said) == {str(CODES["FULL"])}
    assert host.get("/fn/keep").text == "first"
    assert host.get("/fn/keep?key=0").text == str(CODES["NOTFOUND"])

    host.disk.clear()
    assert store(0) == "0"
    assert host.get("/fn/keep?key=0").body == b"v" * 20000
    assert host.get("/fn/keep").text == "first"
    assert pids <= set(host.processes())
    settle(host, "keep")


# -- async calls --------------------------------------------------------------

RECORD = r"""
#include <faas.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
static int record(faas_request_t *r) {
    int   fd = open(faas_query(r, "path", NULL), O_WRONLY|O_APPEND|O_CREAT,
                    0666);
    char  line[64];
    int   n = snprintf(line, sizeof(line), "%s\n", faas_query(r, "n", NULL));
    if (fd == -1 || write(fd, line, (size_t) n) != n) { return -1; }
    close(fd);
    return faas_printf(r, "done");
}
FAAS_FUNCTION(.handler = record)
"""


@root
def test_async_call_on_a_full_disk_is_503_and_never_run_or_202_and_run(small):
    host = small("state", deploy={"record": (RECORD,)})
    record = host.gates / "record"
    answers = []

    def ask():
        n = len(answers)
        r = host.post("/fn/record?n=%d&path=%s" % (n, record), b"x" * 50000,
                      headers={"Prefer": "respond-async"})
        assert r.status == 202 or int(r.headers["Retry-After"]) >= 1
        answers.append(r.status)
        return r.status

    def ran():
        return {int(n) for n in record.read_text().split()}

    wait_until(lambda: ask() == 202, "the first")
    wait_until(ran, "its call")
    host.disk.fill()
    wait_until(lambda: ask() == 503, "503")
    for _ in range(10):
        ask()
    assert host.get("/fn/record?n=-1&path=%s" % record).text == "done"

    host.disk.clear()
    wait_until(lambda: ask() == 202, "202")
    taken = {n for n, status in enumerate(answers) if status == 202}
    wait_until(lambda: taken <= ran(), "all that were taken")
    assert ran() == taken | {-1}
    assert set(answers) == {202, 503}
    settle(host, "record")


# -- descriptors --------------------------------------------------------------

def test_worker_that_may_not_open_what_it_needs_says_so_and_refuses(faas):
    host = faas(workers=1, deploy=["probe"],
                main="daemon off; worker_rlimit_nofile 64;")
    # stock nginx's own, of eventfd() and socketpair(); and of a channel from
    # the master on which a descriptor came for which there was no room
    host.allowed += ["Too many open files", "ancillary data"]
    worker = host.workers()
    for _ in range(20):
        assert host.get("/fn/probe").status == 503
    assert host.log_has("worker is not ready")
    assert any("faas: " in line for line in told(host, "Too many open files"))
    assert host.workers() == worker

    host.configure(main="daemon off; worker_rlimit_nofile 1024;")
    host.send(signal.SIGHUP)
    wait_until(lambda: set(host.workers()) - set(worker), "a new worker")
    # stock nginx takes what was on its stack for what recvmsg() gave: it may
    # have lost the channel, and does not hear then that it is to go
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker[0], signal.SIGQUIT)
    wait_until(lambda: not set(host.workers()) & set(worker), "the old one")
    wait_until(lambda: host.get("/fn/probe").status == 200, "200")
    settle(host)


def short(faas, instances):
    """A host whose only worker has 320 descriptors."""

    host = faas(workers=1, deploy=["probe"], http="""
        faas_function probe { max %d; queue 200 timeout=60s; }""" % instances,
                main="daemon off; worker_rlimit_nofile 320;")
    # [alert] socket() failed is stock nginx's
    host.allowed.append("Too many open files")
    assert host.get("/fn/probe").status == 200
    return host


def test_worker_out_of_descriptors_answers_or_refuses_and_recovers(faas):
    host = short(faas, instances=4)
    worker, = host.workers()

    # clients that are connected and say nothing, until one is not accepted
    idle = []
    try:
        while not told(host, "Too many open files"):
            idle.append(socket.create_connection(("127.0.0.1", host.port)))
            assert len(idle) < 300
        answers = [Background(lambda: host.get("/fn/probe").status)
                   for _ in range(20)]
        before = processor_time(worker)
        lines = len(told(host, "Too many open files"))
        wait_until(lambda: len(told(host, "Too many open files"))
                   >= lines + 3, "more attempts")
        # one each half second: nearly nothing
        assert processor_time(worker) - before < 20
    finally:
        for client in idle:
            client.close()
    assert {a.result() for a in answers} <= {200, 500, 503}
    wait_until(lambda: host.get("/fn/probe").status == 200, "200")
    assert host.workers() == [worker]
    settle(host)


def test_clients_beyond_the_descriptors_are_all_answered(faas):
    """Each takes two, the client's and the instance's."""

    host = short(faas, instances=40)
    worker, = host.workers()
    held = [host.held("g") for _ in range(100)]
    wait_until(lambda: told(host, "Too many open files"), "the limit")
    host.open("g")
    statuses = [h.result().status for h in held]
    assert set(statuses) <= {200, 500, 503}, statuses
    assert 200 in statuses
    wait_until(lambda: host.get("/fn/probe").status == 200, "200")
    assert host.workers() == [worker]
    settle(host)


HOARD = r"""
#include <faas.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
static int hoard(faas_request_t *r) {
    int            n = 0, error;
    struct rlimit  limit = { 256, 256 };
    if (faas_query(r, "all", NULL)) {
        setrlimit(RLIMIT_NOFILE, &limit);
        while (open("/dev/null", O_RDONLY) != -1) { n++; }
        error = errno;
        /* what the connection to nginx leaves when it is closed is no gain */
        limit.rlim_cur = limit.rlim_max = 3;
        setrlimit(RLIMIT_NOFILE, &limit);
        return faas_printf(r, "%d %d %s", (int) getpid(), n, strerror(error));
    }
    return faas_printf(r, "%d", (int) getpid());
}
FAAS_FUNCTION(.handler = hoard)
"""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_instance_out_of_descriptors_is_replaced_and_no_request_fails(
        faas, method):
    host = faas(workers=1, deploy={"hoard": HOARD, "probe": "probe.c"},
                http="faas_function hoard { max 1; }")
    for _ in range(3):
        pid, count, why = host.get("/fn/hoard?all=1").text.split(" ", 2)
        assert why == "Too many open files" and int(count) > 100
        assert host.get("/fn/hoard", method).text == pid
        # the connection was kept: the next worker's is another
        host.reload()
        r = host.get("/fn/hoard", method)
        assert r.status == 200 and r.text != pid
        assert host.get("/fn/probe").status == 200
    assert "accept4() failed" in host.function_log("hoard")
    settle(host, "hoard")
