"""What failure looks like from outside (the README's table)."""

import os
import signal
import time

import pytest

from harness import Background, wait_until

FOUND = "faas_function probe { max 1; }"


def test_unknown_function_is_404(faas):
    host = faas()
    r = host.get("/fn/nothing")
    assert r.status == 404
    assert "Proxy-Status" in r.headers


def test_wrong_method_of_a_route_is_405_with_allow(faas):
    host = faas(deploy={"probe": (
        "probe.c", "-DPROBE_DESCRIPTOR=, .routes = \"GET /only/get\\n"
        "PUT|POST /only/put\"")})
    assert host.get("/fn/only/get").status == 200
    assert host.get("/fn/only/get", method="HEAD").status == 200
    r = host.post("/fn/only/get")
    assert r.status == 405
    assert {m.strip() for m in r.headers["Allow"].split(",")} == {
        "GET", "HEAD"}
    r = host.get("/fn/only/put")
    assert {m.strip() for m in r.headers["Allow"].split(",")} == {
        "PUT", "POST"}


def test_body_over_the_limit_is_413_and_does_not_run(faas):
    host = faas(deploy=["probe"], location="client_max_body_size 1k;")
    assert host.post("/fn/probe", b"x" * 2000).status == 413
    assert host.get("/fn/probe").json["calls"] == 1


def test_handler_error_is_500_marked_handled(faas):
    host = faas(deploy=["probe"], http=FOUND)
    r = host.get("/fn/probe?fail=1")
    assert r.status == 500
    assert r.headers["Faas-Error"] == "handled"
    assert host.get("/fn/probe").json["calls"] == 2


@pytest.mark.parametrize("how", ["die=%d" % signal.SIGKILL,
                                 "die=%d" % signal.SIGSEGV, "exit=0",
                                 "exit=3"])
def test_crash_before_headers_is_502_once_and_the_next_request_works(faas,
                                                                     how):
    host = faas(deploy=["probe"], http=FOUND)
    r = host.post("/fn/probe?log=ran&" + how)
    assert r.status == 502
    assert "Proxy-Status" in r.headers
    assert host.get("/fn/probe").status == 200
    wait_until(lambda: "ran" in host.function_log("probe"))
    assert host.function_log("probe").count("ran") == 1


def test_crash_is_retried_once_for_get_only(faas):
    host = faas(deploy=["probe"], http=FOUND)
    assert host.get("/fn/probe?log=got&exit=1").status == 502
    wait_until(lambda: host.function_log("probe").count("got") == 2)
    # a request that ends well: else the function would be held back
    assert host.get("/fn/probe").status == 200
    assert host.post("/fn/probe?log=posted&exit=1").status == 502
    assert host.get("/fn/probe").status == 200
    assert host.function_log("probe").count("got") == 2
    assert host.function_log("probe").count("posted") == 1


def test_crash_of_an_idempotent_function_is_retried_for_post(faas):
    host = faas(deploy={"probe": (
        "probe.c", "-DPROBE_DESCRIPTOR=, .idempotent = 1")}, http=FOUND)
    assert host.post("/fn/probe?log=posted&exit=1", b"body").status == 502
    wait_until(lambda: host.function_log("probe").count("posted") == 2)


def test_instance_lost_before_it_took_the_request_is_retried_for_post(faas):
    """A kept connection to an instance that was killed while idle."""

    host = faas(deploy=["probe"], workers=1, http=FOUND)
    for _ in range(10):
        pid = host.get("/fn/probe").json["pid"]
        os.kill(pid, signal.SIGKILL)
        r = host.post("/fn/probe", b"x" * 100)
        assert r.status == 200
        assert r.json["bytes"] == 100
        assert r.json["pid"] != pid


STILLBORN = """
#include <faas.h>
static int fork_(void) { return -1; }
static int x(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = x, .after_fork = fork_)
"""


def test_who_waits_is_answered_when_the_function_is_held_back(faas):
    """As those are that come later; not when the queue's budget is over."""

    host = faas(deploy={"x": STILLBORN}, http="faas_function x {"
                " max 2; queue 100 timeout=12h; }")
    waiting = [Background(lambda: host.post("/fn/x")) for _ in range(10)]
    for answer in [w.result() for w in waiting]:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert "function keeps dying" in answer.headers["Proxy-Status"]
    f = host.function("x")
    assert f["queue"] == {"waiting": 0, "admitted": 0}
    assert f["totals"]["outcomes"]["shed"] == 10


def test_over_timeout_is_504_and_the_instance_is_killed(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { max 1; timeout 200ms; }")
    held = host.held("g")
    wait_until(lambda: host.entered("g"))
    pid = host.entered("g")[0]
    r = held.result()
    assert r.status == 504
    assert "Proxy-Status" in r.headers
    wait_until(lambda: not os.path.exists("/proc/%d" % pid))
    assert host.get("/fn/probe").json["pid"] != pid


def test_timeout_is_not_retried(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { timeout 100ms; }")
    assert host.get("/fn/probe?log=late&gate=%s/g"
                    % host.gates).status == 504
    assert host.get("/fn/probe").status == 200
    assert host.function_log("probe").count("late") == 1


def test_instance_that_ignores_sigterm_is_killed_with_all_it_started(faas):
    host = faas(http="faas_function stubborn { max 1; timeout 100ms; }",
                deploy={"stubborn": """
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <faas.h>

static int
stubborn(faas_request_t *r)
{
    FILE  *f;

    signal(SIGTERM, SIG_IGN);

    if (faas_query(r, "note", NULL) != NULL) {
        if (fork() == 0) {
            f = fopen(faas_query(r, "note", NULL), "w");
            fprintf(f, "%d\\n%d\\n", (int) getppid(), (int) getpid());
            fclose(f);
        }

        for ( ;; ) {
            pause();
        }
    }

    return 0;
}

FAAS_FUNCTION(.handler = stubborn)
"""})
    note = host.gates / "note"
    assert host.get("/fn/stubborn?note=%s" % note).status == 504
    wait_until(lambda: note.exists() and note.read_text().count("\n") == 2)
    pids = note.read_text().split()
    wait_until(lambda: not any(os.path.exists("/proc/" + pid)
                               for pid in pids))
    assert host.get("/fn/stubborn").status == 200


@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("how", ["exit=1", "die=9", "fail=1"])
def test_failure_after_headers_cuts_the_connection(faas, buffering, how):
    """The client can tell: no last chunk, and the end of the connection."""

    host = faas(deploy={"late": "late.c"}, location="fastcgi_buffering %s;"
                % buffering)
    for method in ("GET", "POST"):
        with host.wire() as wire:
            wire.send("%s /fn/late?%s HTTP/1.1\r\nHost: x\r\n"
                      "Content-Length: 0\r\n\r\n" % (method, how))
            status, headers = wire.head()
            assert " 200 " in status + " "
            assert not wire.rest().endswith(b"0\r\n\r\n")
        assert host.get("/fn/late").status == 200


def test_timeout_after_headers_cuts_the_connection(faas):
    host = faas(deploy=["probe"], location="fastcgi_buffering off;",
                http="faas_function probe { max 1; timeout 200ms; }")
    with host.wire() as wire:
        wire.send("GET /fn/probe?flush=1&gate=%s/g HTTP/1.1\r\n"
                  "Host: x\r\n\r\n" % host.gates)
        wire.head()
        assert not wire.rest().endswith(b"0\r\n\r\n")
    assert host.get("/fn/probe").status == 200


def test_client_may_only_shorten_the_deadline(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { timeout 20s; }")
    usual = host.get("/fn/probe").json["time_left"]
    assert 0 < usual <= 20000
    shorter = host.get("/fn/probe",
                       headers={"Faas-Timeout": "5"}).json["time_left"]
    assert 0 < shorter <= 5000
    longer = host.get("/fn/probe",
                      headers={"Faas-Timeout": "500"}).json["time_left"]
    assert longer <= 20000


def test_function_that_keeps_dying_is_held_back_and_recovers(faas):
    host = faas(deploy=["good"])
    dies = """
#include <unistd.h>
#include <faas.h>

static int
dies(void)
{
    _exit(7);
}

static int
never(faas_request_t *r)
{
    return faas_printf(r, "never");
}

FAAS_FUNCTION(.handler = never, .after_fork = dies)
"""
    host.deploy("dies", dies, wait=False)
    wait_until(lambda: host.function("dies"))
    wait_until(lambda: host.get("/fn/dies").status == 503)
    r = host.get("/fn/dies")
    assert r.status in (502, 503)
    if r.status == 503:
        assert int(r.headers["Retry-After"]) >= 1
    assert host.get("/fn/good").status == 200

    host.deploy("dies", dies.replace("_exit(7);", "return 0;"))
    wait_until(lambda: host.get("/fn/dies").text == "never")


def test_error_page_applies_to_the_platforms_answers(faas):
    host = faas(deploy=["probe"], server="""
        error_page 404 /e404; error_page 502 = /e502; error_page 504 /e504;
        location = /e404 { return 200 "no such thing"; }
        location = /e502 { return 200 "it broke"; }
        location = /e504 { return 200 "it is slow"; }
        location = /named { faas_pass nothing; error_page 404 = @other; }
        location @other { faas_pass probe; }
        """, http="faas_function probe { timeout 200ms; }")
    r = host.get("/fn/nothing")
    assert (r.status, r.text) == (404, "no such thing")
    r = host.post("/fn/probe?exit=1")
    assert (r.status, r.text) == (200, "it broke")
    r = host.get("/fn/probe?gate=%s/g" % host.gates)
    assert (r.status, r.text) == (504, "it is slow")
    assert host.get("/named?text=abc").text == "abc"


def test_error_page_of_a_functions_own_status_needs_intercept(faas):
    host = faas(deploy=["probe"], server="""
        error_page 500 501 /oops;
        location = /oops { return 200 "oops"; }
        location = /on { faas_pass probe; fastcgi_intercept_errors on; }
        location = /off { faas_pass probe; }""")
    assert host.get("/on?status=501&text=mine").text == "oops"
    assert host.get("/off?status=501&text=mine").text == "mine"
    assert host.get("/on?fail=1").text == "oops"


def test_one_line_in_the_log_for_a_crash(faas):
    host = faas(deploy=["probe"], http=FOUND)
    host.post("/fn/probe?die=%d" % signal.SIGSEGV)
    line = wait_until(lambda: next(
        (line for line in host.error_log().splitlines()
         if "probe" in line and "signal" in line), None))
    assert "11" in line or "SEGV" in line


def test_aborting_client_does_not_cost_an_instance(faas):
    """Aborted while the handler runs: the slot drains, and is used again."""

    host = faas(deploy=["probe"], http=FOUND)
    pid = host.get("/fn/probe").json["pid"]
    for turn in range(5):
        gate = "g%d" % turn
        with host.wire() as wire:
            wire.send("GET /fn/probe?gate=%s/%s HTTP/1.1\r\nHost: x\r\n\r\n"
                      % (host.gates, gate))
            wait_until(lambda: host.entered(gate))
        host.open(gate)
        assert host.get("/fn/probe").json["pid"] == pid


def test_answers_never_go_to_another_request(faas):
    """Aborts, HEADs and reads left undone, mixed with requests whose answers
    are told apart."""

    host = faas(deploy=["probe"], workers=2,
                http="faas_function probe { max 2; queue 1000 timeout=60s; }")
    end = time.monotonic() + 3

    def honest(i):
        n = 0
        while time.monotonic() < end:
            n += 1
            text = "id-%d-%d" % (i, n)
            r = host.get("/fn/probe?text=" + text)
            assert (r.status, r.text) == (200, text)
        return n

    def rude(i):
        while time.monotonic() < end:
            with host.wire() as wire:
                wire.send([
                    "GET /fn/probe?size=300000 HTTP/1.1\r\nHost: x\r\n\r\n",
                    "HEAD /fn/probe?size=300000 HTTP/1.1\r\nHost: x\r\n\r\n",
                    "POST /fn/probe?read=0 HTTP/1.1\r\nHost: x\r\n"
                    "Content-Length: 100000\r\n\r\n" + "x" * 100000,
                ][i % 3])
                if i % 2:
                    wire.fill()

    everybody = [Background(lambda i=i: honest(i)) for i in range(6)] + [
        Background(lambda i=i: rude(i)) for i in range(6)]
    for one in everybody:
        one.result()
