"""Functions that keep dying, starts that fail, and who is told of it."""

import json
import os
import re
import subprocess

import pytest

import harness
import master

from harness import wait_until
from master import host
from test_faasctl import run
from test_supervisor import BAD_INIT, hello

DIES = """
#include <faas.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef LATER
#include <pthread.h>
static void *later(void *d) { usleep(1000 * 1000); abort(); return d; }
static int fork_(void) { pthread_t  t; return pthread_create(&t, NULL, later, NULL); }
#elif defined(FORK)
static int fork_(void) { abort(); return 0; }
#else
#define fork_  NULL
#endif
static int dies(faas_request_t *r) {
#ifdef REQUEST
    abort();
#endif
    return faas_printf(r, "alive");
}
#ifdef CONSTRUCTOR
__attribute__((constructor)) static void first(void) { abort(); }
#endif
FAAS_FUNCTION(.handler = dies, .after_fork = fork_)
"""


def document(h, *args):
    status, out, err = run("-o", "json", *args, state=h.state)
    assert (status, err) == (0, "")
    return json.loads(out)


def crash(h, w, name):
    """One request that its instance dies at; False when none is to be had."""

    w.wait(name)
    try:
        got = wait_until(lambda: w.take(name) or h.function(name).backoff,
                         "an instance, or to be held back")
    finally:
        w.stop_waiting(name)
    if not isinstance(got, tuple):
        return False
    slot, word = got
    with h.connect(slot) as c:
        try:
            c.request()
        except Exception:
            pass
    wait_until(lambda: h.slot(slot).word != word, "its end")
    return True


def held(h, w, name):
    wait_until(lambda: not crash(h, w, name) or h.function(name).backoff,
               "to be held back")


# -- the loop


def test_back_off_doubles_and_the_tally_counts(host):
    h = host(put={"dies": "#define REQUEST\n" + DIES})
    w = master.Worker(h)
    held(h, w, "dies")
    f = h.function("dies")
    assert f.backoff_row == 3
    delays = [int(x) for x in re.findall(r"is held back for (\d+) ms",
                                         h.log())]
    wait_until(lambda: f.backoff == 0, "another chance")
    held(h, w, "dies")
    delays = [int(x) for x in re.findall(r"is held back for (\d+) ms",
                                         h.log())]
    assert delays == [100, 200]
    assert f.tally.counts() == {"signal": 4}
    assert f.tally.kinds() == [("signal", 6)] * 4


def test_the_longest_back_off_is_30_seconds(host):
    h = host(put={"dies": "#define REQUEST\n" + DIES})
    w = master.Worker(h)
    held(h, w, "dies")
    f = h.function("dies")
    f.backoff_row = 20
    h.kill_supervisor()
    wait_until(lambda: f.backoff == 0, "another chance")
    held(h, w, "dies")
    assert "is held back for 30000 ms: it died 21 times" in h.log()


def test_back_off_survives_the_supervisor(host):
    h = host(put={"dies": "#define REQUEST\n" + DIES})
    w = master.Worker(h)
    held(h, w, "dies")
    h.kill_supervisor()
    f = h.function("dies")
    wait_until(lambda: f.backoff == 0, "another chance")
    held(h, w, "dies")
    assert f.backoff_row == 4
    assert "is held back for 200 ms: it died 4 times" in h.log()


@pytest.mark.parametrize("how", ["FORK", "REQUEST", "LATER"])
def test_each_kind_of_loop_is_held_back_and_recovers(faas, how):
    host = faas(deploy={"dies": "#define %s\n" % how + DIES,
                        "probe": "probe.c"},
                http="faas_function dies { min 1; }")
    # "later" is left alone: what does good work between is not held back
    wait_until(lambda: (how == "LATER" or host.post("/fn/dies"),
                        host.function("dies"))[1]["backoff"]["held"],
               "to be held back")

    def refused():
        if not host.function("dies")["backoff"]["held"]:
            return None
        r = host.post("/fn/dies")
        return r.status == 503 and r

    r = wait_until(refused, "a refusal")
    assert int(r.headers["Retry-After"]) >= 1
    f = host.function("dies")
    assert f["deaths"]["total"] >= 3
    kind = "start" if how == "FORK" else "signal"
    assert f["deaths"]["kinds"][kind] == f["deaths"]["total"]
    assert f["deaths"]["last"][0]["kind"] == kind
    assert f["deaths"]["last"][0]["code"] == 6
    assert host.get("/fn/probe").status == 200
    host.deploy("dies", DIES)
    assert host.post("/fn/dies").body == b"alive"
    f = host.function("dies")
    assert f["backoff"] == {"held": False, "left_ms": 0,
                            "deaths_in_a_row": 0}
    assert f["failure"] == {"at": 0, "text": ""}


def test_a_constructor_that_dies_is_502_and_the_next_good_version_serves(faas):
    host = faas(deploy={"probe": "probe.c"})
    host.deploy("dies", "#define CONSTRUCTOR\n" + DIES, wait=False)
    wait_until(lambda: host.function("dies").get("state") == "failed", "it")
    assert host.get("/fn/dies").status == 502
    assert "was killed by signal 6" in host.function("dies")["failure"]["text"]
    host.deploy("dies", DIES)
    assert host.get("/fn/dies").body == b"alive"
    assert host.function("dies")["failure"]["text"] == ""


# -- a version that cannot start


def test_a_version_whose_instances_never_get_ready_is_rolled_back(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    good = h.current("hello").sha256
    h.deploy("hello", "#define FORK\n" + DIES)
    bad = h.current("hello").sha256
    w.wait("hello", 3)
    taken = wait_until(lambda: w.take("hello"), "an instance")
    w.stop_waiting("hello", 3)
    with h.connect(taken[0]) as c:
        assert c.request().body.startswith(b"one ")
    w.release(*taken)
    assert h.current("hello").sha256 == good
    assert h.state_of("hello") == "ready"
    text = h.function("hello").failure.data.decode()
    assert re.sub(r"\d+ of its", "3 of its", text) == (
                    "version %s is refused: 3 of its instances died before "
                    "they were ready; version %s is to serve again"
                    % (bad[:8].decode(), good[:8].decode()))
    assert text in h.log()
    wait_until(lambda: sorted(master.VERSION[v.state] for v in
                              h.versions("hello")) == ["failed", "ready"],
               "the bad one to be remembered")
    # and a restarted supervisor, which finds the bad file, does not begin anew
    h.kill_supervisor()
    assert w.call("hello").body.startswith(b"one ")
    assert h.current("hello").sha256 == good
    assert h.function("hello").failure.data.decode() == text
    h.deploy("hello", hello("three"))
    assert w.call("hello").body.startswith(b"three ")
    assert h.function("hello").failure.data == b""


def test_a_version_that_dies_at_requests_is_held_back_not_rolled_back(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    h.deploy("hello", "#define REQUEST\n" + DIES)
    bad = h.current("hello").sha256
    held(h, w, "hello")
    assert h.current("hello").sha256 == bad
    assert h.function("hello").failure.data == b""


def test_an_environment_that_breaks_a_version_does_not_bring_an_older(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    h.deploy("hello", """
#include <faas.h>
#include <stdlib.h>
static int fork_(void) { return getenv("BAD") ? -1 : 0; }
static int hello(faas_request_t *r) { return faas_printf(r, "two"); }
FAAS_FUNCTION(.handler = hello, .after_fork = fork_)
""")
    two = h.current("hello").sha256
    assert w.call("hello").body == b"two"
    h.blocks = {"hello": {"env": "BAD=1"}}
    assert h.reload()[0] == master.ACCEPTED
    w.wait("hello")
    wait_until(lambda: h.function("hello").backoff, "to be held back")
    w.stop_waiting("hello")
    assert h.current("hello").sha256 == two


# -- what was seen


def test_a_failed_start_stays_until_it_is_acknowledged(host):
    h = host(put={"bad": BAD_INIT, "hello": hello()})
    shown = document(h, "describe", "bad")
    assert "init() returned -1" in shown["failure"]
    assert shown["failed_at"].startswith("20")
    assert shown["state"] == "failed"
    h.kill_supervisor()
    assert document(h, "describe", "bad")["failure"] == shown["failure"]

    status, out, err = run("ack", "bad", state=h.state)
    assert (status, err) == (0, "")
    assert out.startswith(b'function "bad": acknowledged: version ')
    assert b"cannot be undone" in out
    assert document(h, "describe", "bad")["failure"] == ""
    assert document(h, "describe", "bad")["failed_at"] is None
    assert "its failed start is acknowledged by uid %d" % os.getuid() in h.log()

    status, out, err = run("ack", "bad", state=h.state)
    assert (status, out) == (1, b"") and "it has no failed start" in err
    status, out, err = run("ack", "nothing", state=h.state)
    assert (status, out) == (1, b"") and "there is no such function" in err


def test_ack_as_json(host):
    h = host(put={"bad": BAD_INIT})
    done = document(h, "ack", "bad")
    assert done["function"] == "bad"
    assert "init() returned -1" in done["acknowledged"]
    assert "cannot be undone" in done["undo"]


def test_a_refused_file_of_a_good_function_is_a_failed_start(host):
    h = host(put={"hello": hello()})
    good = (h.functions / "hello.so").read_bytes()
    (h.functions / "hello.so").write_bytes(b"no ELF at all\n")
    wait_until(lambda: h.function("hello").failure.length, "the refusal")
    h.blocks = {"hello": {"env": "A=1"}}
    assert h.reload()[0] == master.ACCEPTED
    master.Worker(h).call("hello")
    wait_until(lambda: h.function("hello").deploys == 2, "a new template")
    assert "is refused" in document(h, "describe", "hello")["failure"]
    (h.functions / "hello.so").write_bytes(good)
    wait_until(lambda: not h.function("hello").failure.length, "it is fixed")


def test_functions_are_listed(host):
    h = host(put={"hello": hello(), "bad": BAD_INIT,
                  "dies": "#define REQUEST\n" + DIES})
    w = master.Worker(h)
    w.call("hello")
    held(h, w, "dies")
    rows = {r["function"]: r for r in document(h, "list")}
    assert set(rows) == {"hello", "bad", "dies", "_calls"}
    assert rows["hello"]["instances"] == 1
    assert rows["hello"]["version"] == h.current("hello").id.decode()
    assert rows["dies"]["deaths"] == 3
    assert rows["dies"]["deaths_by_kind"]["signal"] == 3
    assert [d["kind"] for d in rows["dies"]["last_deaths"]] == ["signal"] * 3
    status, out, _ = run("list", state=h.state)
    lines = out.decode().splitlines()
    assert status == 0
    assert lines[0].split() == ["FUNCTION", "STATE", "VERSION", "INSTANCES",
                                "DEATHS", "HELD", "FAILED", "START"]
    assert any(re.match(r"bad +failed +- +0 +0 +- +version \w+ is refused: ",
                        x) for x in lines)
    status, out, _ = run("describe", "dies", state=h.state)
    assert status == 0
    assert b"deaths      3: signal 3\n" in out
    assert out.count(b"signal 6 (Aborted), version ") == 3
    status, out, err = run("describe", "nothing", state=h.state)
    assert (status, out) == (1, b"") and "there is no such function" in err


@pytest.mark.parametrize("args", [("list",), ("describe", "x"), ("ack", "x")])
def test_without_a_host_it_says_where_it_looked(tmp_path, args):
    status, out, err = run(*args, state=tmp_path)
    assert (status, out) == (1, b"")
    assert 'there is no host: "%s/control"' % tmp_path in err


@pytest.mark.parametrize("args, words", [
    (("list", "x"), 'usage: "list"'), (("ack",), 'usage: "ack FUNCTION"'),
    (("describe",), 'usage: "describe FUNCTION"')])
def test_what_is_called_wrongly_exits_with_2(args, words):
    status, out, err = run(*args)
    assert (status, out) == (2, b"") and words in err


@pytest.mark.skipif(not harness.IS_ROOT, reason="needs another user")
@pytest.mark.parametrize("kind", [9, 10])
def test_nginx_workers_may_neither_look_nor_acknowledge(host, kind):
    h = host(put={"bad": BAD_INIT}, worker_uid=65533)
    os.chmod(h.state, 0o755)
    os.chmod(h.state / "control", 0o666)
    done = subprocess.run(
        ["setpriv", "--reuid", "65533", "--clear-groups", "/usr/bin/python3",
         "-c", """
import socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
s.send(struct.pack("=IIII", 0x43414146, %d, %d, 3) + b"bad")
print(s.recv(8192)[16:].decode())
""" % (master.LAYOUT, kind), str(h.state / "control")],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, text=True)
    assert "only root and who started nginx may" in done.stdout, done.stderr
    assert h.function("bad").failure.length
