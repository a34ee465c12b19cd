"""faas_core: what a dump has."""

import os
import re
import signal
import subprocess

import pytest

import fcgi_client
import harness
import master

from harness import wait_until
from master import host

CRASH = """
#define _GNU_SOURCE
#include <faas.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int  depth;

static __attribute__((noinline)) void crash_here(void) {
    *(volatile int *) 8 = 1;
}
static __attribute__((noinline)) int overflow_here(int n) {
    volatile char  big[4096];
    big[0] = (char) n;
    return n == depth - 1 ? 0 : overflow_here(n + 1) + big[0];
}
static __attribute__((noinline)) void hang_here(void) {
    for ( ;; ) { depth++; }
}
static __attribute__((noinline)) void *wait_over_there(void *data) {
    for ( ;; ) { pause(); }
    return data;
}
static void *deaf_over_there(void *data) {
    sigset_t  set;
    sigfillset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    for ( ;; ) { pause(); }
    return data;
}
static int after_fork(void) {
    pthread_t  t;
    int        i;
    for (i = 0; i < THREADS; i++) {
        if (pthread_create(&t, NULL, i == 1 ? deaf_over_there
                                            : wait_over_there, NULL)) {
            return -1;
        }
        pthread_setname_np(t, i == 1 ? "deaf" : "waiter");
    }
    if (getenv("CRASH_EARLY")) { crash_here(); }
    return 0;
}
static int handle(faas_request_t *r) {
    const char  *how = faas_query(r, "how", NULL);
    char         buf[10];
    size_t       n;
    pthread_t    t;
    if (faas_query(r, "read", NULL)) { (void) faas_read(r, buf, 5); }
    if (faas_query(r, "body", NULL)) { (void) faas_body(r, 0, &n); }
    if (strcmp(how, "segv") == 0) { crash_here(); }
    if (strcmp(how, "abort") == 0) { abort(); }
    if (strcmp(how, "heap") == 0) { void *volatile p = malloc(10); void *volatile q = p; free(p); free(q); }
    if (strcmp(how, "overflow") == 0) { return overflow_here(1); }
    if (strcmp(how, "hang") == 0) { hang_here(); }
    if (strcmp(how, "grow") == 0) { n = 300u << 20; memset(malloc(n), 1, n); pause(); }
    if (strcmp(how, "exit") == 0) { _exit(3); }
    if (strcmp(how, "thread") == 0) {
        pthread_create(&t, NULL, (void *(*)(void *)) crash_here, NULL);
        pthread_join(t, NULL);
    }
    if (strcmp(how, "own") == 0) { signal(SIGSEGV, SIG_DFL); crash_here(); }
    if (strcmp(how, "fork") == 0 && fork() == 0) { abort(); }
    return faas_printf(r, "%d", (int) getpid());
}
FAAS_FUNCTION(.handler = handle, .after_fork = after_fork)
"""


def source(threads=0):
    return "#define THREADS  %d\n" % threads + CRASH


def dumps(h):
    core = h.state / "core"
    return sorted(p for p in core.iterdir() if p.name[0] != "."
                  ) if core.exists() else []


def dump(h, n=1):
    wait_until(lambda: len(dumps(h)) >= n, "a dump")
    assert len(dumps(h)) == n
    return dumps(h)[-1]


def info(path):
    """{name: value} and {"TID NAME": [frames]}."""

    values, threads, frames = {}, {}, None
    for line in (path / "info").read_text().splitlines():
        if line.startswith("  "):
            frames.append(line.strip())
        elif line.startswith("thread "):
            frames = threads[line[7:]] = []
        else:
            name, _, value = line.partition(" ")
            values[name] = value
    return values, {thread: function_frames(frames)
                    for thread, frames in threads.items()}


def function_frames(frames):
    """Without our own: a sanitizer stands between backtrace() and us, so that
    we are among them, up to where a handler returns to the C library."""

    own = [" faas: " in frame for frame in frames + [""]].index(False)
    return frames[own + 1:] if harness.ASAN and own else frames


def named(frames):
    """Names of functions in them."""

    return [f.split()[-1].split("+")[0] for f in frames]


def send(h, w, query, body=b"", announced=None, **params):
    """A request that is its instance's last; the pid."""

    slot, word = w.acquire("crash")
    pid = h.slot(slot).pid
    params = dict({"QUERY_STRING": query, "REQUEST_URI": "/crash?" + query,
                   "REQUEST_ID": "id-1", "REQUEST_METHOD": "POST",
                   "FAAS_PATH": "/", "HTTP_X_A": "b\n",
                   "CONTENT_LENGTH": str(len(body) if announced is None
                                         else announced)}, **params)
    with h.connect(slot) as c:
        try:
            c.send(c.head(params=params)
                   + fcgi_client.stream(fcgi_client.STDIN, body,
                                        end=announced is None))
        except OSError:
            pass
        wait_until(lambda: h.slot(slot).word != word, "its end")
    return pid


def test_a_crash_leaves_request_and_backtrace(host):
    h = host(put={"crash": source()}, core=1, blocks={"crash": {
        "env": "SECRET=x"}})
    w = master.Worker(h)
    pid = send(h, w, "how=segv&body=1", b"the body")
    d = dump(h)
    values, threads = info(d)
    version = h.current("crash")
    assert re.fullmatch(r"\d{8}T\d{6}-crash-1", d.name)
    assert values["function"] == "crash"
    assert values["version"] == version.sha256.decode()
    assert int(values["pid"]) == pid
    assert (values["kind"], values["code"]) == ("signal", "11")
    assert "was killed by signal 11 (Segmentation fault)" in values["how"]
    assert (values["signal"], values["address"]) == ("11", "0x8")
    assert values["request"] == "running"
    assert values["body_whole"] == "1"
    params = (d / "params").read_bytes().split(b"\0")
    assert b"REQUEST_URI=/crash?how=segv&body=1" in params
    assert b"HTTP_X_A=b\n" in params
    assert (d / "body").read_bytes() == b"the body"
    assert (d / "environment").read_bytes() == b"SECRET=x\0"
    (thread, frames), = threads.items()
    assert thread.split()[0] == str(pid)
    assert named(frames)[:2] == ["crash_here", "handle"], frames
    assert " crash.so+0x" in frames[0]
    assert "dump %s\n" % d.name in h.log()
    assert (d.stat().st_mode & 0o777, d.parent.stat().st_mode & 0o777) == (
        0o700, 0o700)
    assert {p.stat().st_mode & 0o777 for p in d.iterdir()} == {0o600}
    assert d.stat().st_uid == os.geteuid()


def test_a_dump_is_kept_beside_those_of_a_clock_that_was_ahead(host):
    h = host(put={"crash": source()}, core=1, core_keep=2)
    for n in 1, 2:
        d = h.state / "core" / ("20991231T235959-crash-%d" % n)
        d.mkdir(mode=0o700, parents=True)
        (d / "info").write_text("function crash\n")
    send(h, master.Worker(h), "how=segv")
    name = wait_until(lambda: re.findall(r"dump (\S+-crash-1)\n", h.log()),
                      "its line")[0]
    assert name in [d.name for d in dumps(h)]
    assert len(dumps(h)) == 2


@pytest.mark.parametrize("how, number, function", [
    ("abort", signal.SIGABRT, "abort"),
    pytest.param("heap", signal.SIGABRT, "abort", marks=pytest.mark.skipif(
        harness.ASAN, reason="a sanitizer sees it first, and exits")),
    ("overflow", signal.SIGSEGV, "overflow_here"),
    ("thread", signal.SIGSEGV, "crash_here")])
def test_each_crash_has_its_backtrace_and_its_status(host, how, number,
                                                     function):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    send(h, w, "how=" + how)
    values, threads = info(dump(h))
    assert values["code"] == str(int(number))
    assert function in named(list(threads.values())[0]), threads
    assert h.function("crash").tally.kinds() == [("signal", number)]
    if how == "thread":
        assert "handle" in named(list(threads.values())[1]), threads


def test_every_thread_is_in_it_but_for_its_name_one_that_is_deaf(host):
    h = host(put={"crash": source(3)}, core=1)
    w = master.Worker(h)
    send(h, w, "how=segv")
    _, threads = info(dump(h))
    assert len(threads) == 4
    assert "crash_here" in named(list(threads.values())[0])
    for thread, frames in list(threads.items())[1:]:
        if thread.endswith(" deaf"):
            assert frames == ["did not answer"]
        else:
            assert thread.endswith(" waiter")
            assert "wait_over_there" in named(frames), frames


def test_a_handler_that_hangs_says_where(host):
    h = host(put={"crash": source(1)}, core=1,
             blocks={"crash": {"timeout": 200}})
    w = master.Worker(h)
    send(h, w, "how=hang")
    values, threads = info(dump(h))
    assert values["kind"] == "timeout" and values["request"] == "running"
    assert "signal" not in values
    found = sum((named(f) for f in threads.values()), [])
    assert "hang_here" in found and "wait_over_there" in found, threads


def test_over_its_memory_leaves_the_request(host):
    h = host(put={"crash": source()}, core=1,
             blocks={"crash": {"memory": 200 << 20}})
    w = master.Worker(h)
    send(h, w, "how=grow&body=1", b"large")
    d = dump(h)
    values, _ = info(d)
    assert values["kind"] == "oom"
    assert (d / "body").read_bytes() == b"large"


def test_what_was_not_read_of_the_body_is_there_too(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    body = bytes(range(256)) * 400
    send(h, w, "how=segv&read=1", body)
    d = dump(h)
    values, _ = info(d)
    assert (values["body_taken"], values["body_whole"]) == ("5", "1")
    assert (d / "body").read_bytes() == body


def test_a_body_that_did_not_come_is_not_waited_for(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    send(h, w, "how=segv&read=1", b"123456", announced=1000)
    d = dump(h)
    values, _ = info(d)
    assert values["body_whole"] == "0"
    assert (d / "body").read_bytes() == b"123456"


def test_a_body_is_cut_at_the_size(host):
    h = host(put={"crash": source()}, core=1, core_body=10)
    w = master.Worker(h)
    send(h, w, "how=segv&body=1", b"x" * 100)
    d = dump(h)
    assert (d / "body").read_bytes() == b"x" * 10
    assert info(d)[0]["body_taken"] == "100"


def test_while_idle_there_is_no_request_in_it(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    pid = int(w.call("crash", QUERY_STRING="how=none").body)
    os.kill(pid, signal.SIGSEGV)
    values, threads = info(dump(h))
    assert values["request"] == "none"
    assert len(threads) == 1


def test_exits_and_kills_from_elsewhere_are_no_dump(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    send(h, w, "how=exit")
    os.kill(int(w.call("crash", QUERY_STRING="how=none").body),
            signal.SIGKILL)
    wait_until(lambda: h.function("crash").tally.total == 2, "both")
    assert dumps(h) == []


def test_off_is_the_default(host):
    h = host(put={"crash": source()})
    w = master.Worker(h)
    send(h, w, "how=segv")
    wait_until(lambda: h.function("crash").tally.total == 1, "its end")
    assert not (h.state / "core").exists()


def test_a_signal_that_the_function_took_is_its_own(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    send(h, w, "how=own")
    values, threads = info(dump(h))
    assert values["code"] == "11" and threads == {}


def test_a_child_of_the_function_leaves_nothing(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    pid = int(w.call("crash", QUERY_STRING="how=fork").body)
    assert harness.is_alive(pid)
    send(h, w, "how=segv")
    values, threads = info(dump(h))
    assert int(values["pid"]) == pid and values["code"] == "11"


def test_a_crash_before_it_is_ready(host):
    h = host(put={"crash": source()}, core=1,
             blocks={"crash": {"env": "CRASH_EARLY=1"}})
    w = master.Worker(h)
    w.wait("crash")
    d = wait_until(lambda: dumps(h), "a dump")[0]
    w.stop_waiting("crash")
    values, threads = info(d)
    assert (values["kind"], values["request"]) == ("start", "none")
    assert "crash_here" in named(list(threads.values())[0])


def test_the_oldest_go_and_the_memory_is_empty_again(host):
    h = host(put={"crash": source()}, core=1, core_keep=2)
    w = master.Worker(h)
    seen = []
    for i in range(4):
        wait_until(lambda: not h.function("crash").backoff, "a chance")
        send(h, w, "how=segv&body=1", b"%d" % i)
        wait_until(lambda: dumps(h) and dumps(h)[-1].name not in seen,
                   "a dump")
        seen.append(dumps(h)[-1].name)
        assert (dumps(h)[-1] / "body").read_bytes() == b"%d" % i
        harness.time.sleep(1)
    assert [d.name for d in dumps(h)] == seen[-2:]
    slot, _ = w.acquire("crash")
    pid = h.slot(slot).pid
    os.kill(pid, signal.SIGSEGV)
    wait_until(lambda: dumps(h)[-1].name not in seen, "a dump")
    assert (dumps(h)[-1] / "params").read_bytes() == b""


def test_a_directory_that_cannot_be_had_is_a_line(host):
    h = host(put={"crash": source()}, core=1)
    (h.state / "core").write_text("no directory")
    w = master.Worker(h)
    send(h, w, "how=segv")
    wait_until(lambda: "there is no dump of slot" in h.log(), "the line")
    assert h.header.restarts == 0


@pytest.mark.skipif(not harness.IS_ROOT, reason="mounts")
def test_no_space_is_a_line_and_leaves_nothing_half(host):
    h = host(put={"crash": source()}, core=1)
    core = h.state / "core"
    core.mkdir(mode=0o700)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none",
                       str(core)], capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        w = master.Worker(h)
        send(h, w, "how=segv&body=1", b"x" * 200000)
        wait_until(lambda: "there is no dump of slot 0 (28: No space left on "
                   "device)" in h.log(), "the line")
        assert list(core.iterdir()) == []
        harness.time.sleep(1)
        send(h, w, "how=segv&body=1", b"small")
        assert (dump(h) / "body").read_bytes() == b"small"
        assert h.header.restarts == 0
    finally:
        subprocess.run(["umount", str(core)], check=True)


def test_a_restarted_supervisor_makes_dumps_of_what_it_adopted(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    assert w.call("crash", QUERY_STRING="how=none").status == 200
    h.kill_supervisor()
    send(h, w, "how=segv")
    _, threads = info(dump(h))
    assert "crash_here" in named(list(threads.values())[0])


def test_garbage_in_its_memory_hurts_nobody(host):
    h = host(put={"crash": """
#include <faas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int crash(faas_request_t *r) {
    FILE  *maps = fopen("/proc/self/maps", "r");
    char   text[512], *first = NULL, *last = NULL;
    while (fgets(text, sizeof(text), maps)) {
        if (strstr(text, "faas-core")) {
            first = strtoul(text, &last, 16) ? (char *) strtoul(text, NULL, 16) : NULL;
            last = (char *) strtoul(last + 1, NULL, 16);
        }
    }
    (void) r;
    memset(first + 4, 0xfe, (size_t) (last - first) - 4);
    raise(9 - 3);
    return 0;
}
#include <signal.h>
#include <unistd.h>
static int fork_(void) { signal(SIGABRT, SIG_DFL); return 0; }
FAAS_FUNCTION(.handler = crash, .after_fork = fork_)
""".replace("raise(9 - 3)", "abort()")}, core=1, core_body=100)
    w = master.Worker(h)
    send(h, w, "")
    d = dump(h)
    values, threads = info(d)
    assert values["kind"] == "signal"
    assert h.header.restarts == 0
    assert len((d / "body").read_bytes()) == 100
    assert "\xfe" not in (d / "info").read_text(errors="replace")


def test_the_content_of_a_dump_stays_in_the_store(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    send(h, w, "how=segv")
    content = info(dump(h))[0]["version"]
    h.deploy("crash", source(1))
    wait_until(lambda: len(h.versions("crash")) == 1, "the old one's end")
    h.kill_supervisor()
    wait_until(lambda: h.header.supervisor_pid, "it")
    assert [p for p in (h.state / "store").iterdir() if content in p.name]


def test_faas_core_in_nginx(faas):
    host = faas(deploy={"crash": source()},
                http="faas_core on keep=5 body=64k;")
    r = host.post("/fn/crash?how=segv&body=1", b"over http")
    assert r.status == 502
    core = host.state / "core"
    d = wait_until(lambda: core.exists() and sorted(
        p for p in core.iterdir() if p.name[0] != "."), "a dump")[0]
    assert (d / "body").read_bytes() == b"over http"
    values, threads = info(d)
    assert "crash_here" in named(list(threads.values())[0])
