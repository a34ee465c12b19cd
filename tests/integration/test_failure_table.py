"""The failure table (docs/failures.md), a test for each row, named after it:
status, headers, Proxy-Status, $faas_outcome, $faas_started and the line in the
log; and what is tried again."""

import itertools
import os
import re
import signal

import pytest

import h2
import test_internal
import test_slow_and_rude
from harness import Background, cmdline, free_port, wait_until

# RFC 9209, 2.3: those that are registered
REGISTERED = """dns_timeout dns_error destination_not_found
    destination_unavailable destination_ip_prohibited
    destination_ip_unroutable connection_refused connection_terminated
    connection_timeout connection_read_timeout connection_write_timeout
    connection_limit_reached tls_protocol_error tls_certificate_error
    tls_alert_received http_request_error http_request_denied
    http_response_incomplete http_response_header_section_size
    http_response_header_size http_response_body_size
    http_response_trailer_section_size http_response_trailer_size
    http_response_transfer_coding http_response_content_coding
    http_response_timeout http_upgrade_failed http_protocol_error
    proxy_internal_response proxy_internal_error proxy_configuration_error
    proxy_loop_detected""".split()

# RFC 8941: a list of one member, a token with two parameters
PROXY_STATUS = re.compile(r'nginx-faas; error=([a-z_]+)'
                          r'; details="((?:[ !#-\[\]-~]|\\["\\])+)"')

DIES = """
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


@pytest.fixture
def table(faas):
    """A host whose access log has what the variables say."""

    def make(http="", start=True, **options):
        host = faas(start=False, **options)
        host.configure(http="""
            log_format table "$request_uri $status $faas_outcome "
                             "$faas_started"; """ + http,
                       server="access_log %s/table.log table;" % host.dir)
        return host.start() if start else host

    return make


def logged(host, path):
    """(status, outcome, started) of the one request for path."""

    def found():
        lines = [line.rsplit(" ", 3)[1:]
                 for line in (host.dir / "table.log").read_text().splitlines()
                 if line.startswith(path + " ")]
        return lines[-1] if lines else None
    return tuple(wait_until(found, "a line of " + path))


def answer_that_says(host, path, text, **options):
    """Asks until it does; (path, answer).  Each request has a path of its own,
    since the line of one may come after the answer of the next."""

    numbers = itertools.count()

    def answer():
        asked = "%s?%d" % (path, next(numbers))
        r = host.get(asked, **options)
        return text in r.text and (asked, r)

    return wait_until(answer, text)


def check(host, r, path, status, error, details, outcome, started,
          retry=False, line=None):
    assert r.status == status, r
    proxy = r.headers.get_all("Proxy-Status") or []
    if error:
        assert error in REGISTERED
        assert [PROXY_STATUS.fullmatch(p).groups() for p in proxy] == [
            (error, details)]
        assert r.text.startswith("%d " % status) and details in r.text
    else:
        assert proxy == []
    if retry:
        assert 1 <= int(r.headers["Retry-After"]) <= 3600
    else:
        assert "Retry-After" not in r.headers
    assert logged(host, path) == (str(status), outcome, started)
    if line:
        wait_until(lambda: host.log_has(line), "a line with " + line)


# -- not started ----------------------------------------------------------------

def test_row_no_such_function(table):
    host = table()
    r = host.get("/fn/nothing")
    check(host, r, "/fn/nothing", 404, "destination_not_found",
          "no such function or route", "not_found", "0",
          line="refused: no such function or route")


def test_row_wrong_method(table):
    host = table(deploy={"probe": (
        "probe.c", "-DPROBE_DESCRIPTOR=, .routes = \"GET /only/get\"")})
    r = host.post("/fn/only/get")
    check(host, r, "/fn/only/get", 405, "http_request_error",
          "method is not allowed", "not_found", "0",
          line="refused: method is not allowed")
    assert {m.strip() for m in r.headers["Allow"].split(",")} == {
        "GET", "HEAD"}


@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_row_body_over_the_limit(table, how):
    """nginx's own answer, which names its cause like the others."""

    host = table(deploy=["probe"], location="client_max_body_size 1k;")
    with host.wire() as wire:
        if how == "announced":
            wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\n"
                      "Content-Length: 2000\r\n\r\n")
        else:
            wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n"
                      "7d0\r\n" + "x" * 2000 + "\r\n0\r\n\r\n")
        r = wire.response()
    check(host, r, "/fn/probe", 413, "http_request_error",
          "body is over the limit", "-", "0", line="client intended to send "
          "too large")
    assert host.function("probe")["totals"]["attempts"] == 0


def test_row_queue_full(table):
    host = table(deploy=["probe"], workers=1, http="""
        faas_function probe { max 1; queue 1 timeout=60s; }""")
    held = host.hold("g") + [host.held("g")]
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 1)
    r = host.post("/fn/probe?full", b"x")
    check(host, r, "/fn/probe?full", 503, "connection_limit_reached",
          "queue is full", "queue_full", "0", retry=True,
          line='function "probe" refused a request: queue is full')
    host.open("g")
    assert {h.result().status for h in held} == {200}
    assert host.function("probe")["totals"]["attempts"] == 2


def test_row_wait_over_budget(table):
    host = table(deploy=["probe"], http="""
        faas_function probe { max 1; queue 10 timeout=100ms; }""")
    held = host.hold("g")
    r = host.post("/fn/probe?late")
    check(host, r, "/fn/probe?late", 503, "connection_timeout",
          "waited too long for an instance", "queue_timeout", "0", retry=True,
          line="refused a request: waited too long for an instance")
    host.open("g")
    assert held[0].result().status == 200
    assert host.function("probe")["totals"]["attempts"] == 1


def test_row_deadline_passed_in_the_queue(table):
    host = table(deploy=["probe"], http="faas_function probe { max 1; }")
    held = host.hold("g")
    r = host.post("/fn/probe?late", headers={"Faas-Timeout": "0.1"})
    check(host, r, "/fn/probe?late", 503, "connection_timeout",
          "client's deadline passed", "queue_timeout", "0", retry=True,
          line="refused a request: client's deadline passed")
    host.open("g")
    held[0].result()


def test_row_shed(table):
    host = table(deploy={"nap": "nap.c"}, http="faas_function nap { max 1; }")
    assert host.get("/fn/nap?ms=1000").status == 200
    running = Background(lambda: host.get("/fn/nap?ms=1500"))
    wait_until(lambda: host.function("nap")["instances"]["busy"] == 1)
    patient = Background(lambda: host.get("/fn/nap"))
    wait_until(lambda: host.function("nap")["queue"]["waiting"] == 1)
    r = host.post("/fn/nap?shed", headers={"Faas-Timeout": "0.5"})
    check(host, r, "/fn/nap?shed", 503, "destination_unavailable",
          "wait would be too long", "shed", "0", retry=True,
          line="refused a request: wait would be too long")
    assert (running.result().status, patient.result().status) == (200, 200)


def test_row_breaker_open(table):
    host = table()
    host.deploy("dies", DIES, wait=False)
    wait_until(lambda: host.function("dies"))
    path, r = answer_that_says(host, "/fn/dies", "keeps dying")
    check(host, r, path, 503, "destination_unavailable",
          "function keeps dying", "shed", "0", retry=True,
          line='function "dies" refused a request: function keeps dying')


def test_row_host_is_ending(table):
    host = table(deploy=["probe"], http="""
        faas_function probe { max 1; timeout 1h; }""")
    host.allowed += ["the keeper is gone", "the host is gone"]
    held = host.hold("g")
    host.send(signal.SIGKILL, [pid for pid in host.processes()
                               if "--keeper" in cmdline(pid)][0])
    path, r = answer_that_says(host, "/fn/probe", "host is ending",
                               headers={"Faas-Timeout": "1"})
    check(host, r, path, 503, "destination_unavailable",
          "host is ending", "shed", "0", retry=True,
          line="host is ending")
    host.open("g")
    assert held[0].result().status == 200


def test_row_busy_status_is_that_of_every_busy_row(table):
    host = table(deploy=["probe"], workers=1, http="""
        faas_busy_status 429;
        faas_function probe { max 1; queue 1 timeout=200ms; }""")
    held = host.hold("g")
    late = Background(lambda: host.get("/fn/probe?late"))
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 1)
    r = host.get("/fn/probe?full")
    check(host, r, "/fn/probe?full", 429, "connection_limit_reached",
          "queue is full", "queue_full", "0", retry=True)
    check(host, late.result(), "/fn/probe?late", 429, "connection_timeout",
          "waited too long for an instance", "queue_timeout", "0", retry=True)
    r = host.get("/fn/probe?none", headers={"Faas-Timeout": "0"})
    check(host, r, "/fn/probe?none", 429, "connection_timeout",
          "client's deadline passed", "queue_timeout", "0", retry=True)
    host.deploy("dies", DIES, wait=False)
    wait_until(lambda: host.function("dies"))
    path, r = answer_that_says(host, "/fn/dies", "keeps dying")
    check(host, r, path, 429, "destination_unavailable",
          "function keeps dying", "shed", "0", retry=True)
    host.open("g")
    held[0].result()


def test_row_cannot_start(table):
    host = table()
    (host.functions / "text.so").write_text("no shared object")
    wait_until(lambda: host.function("text"))
    r = host.get("/fn/text")
    check(host, r, "/fn/text", 502, "destination_unavailable",
          "function cannot start", "init_error", "0",
          line='function "text" refused a request: function cannot start')


def internal(table):
    host = table(deploy=["probe"], start=False)
    return host.configure(http=host.options["http"] + """
        server { faas_internal; location / { faas_invoke; }
                 access_log %s/table.log table; }""" % host.dir).start()


def test_row_call_too_deep(table):
    host = internal(table)
    r = test_internal.invoke(host, "/probe", Faas_Depth="17")
    check(host, r, "/probe", 508, "proxy_loop_detected",
          "functions call each other too deeply", "loop", "0",
          line="refused a request: functions call each other too deeply")


def test_row_token_is_wrong(table):
    host = internal(table)
    r = test_internal.call(host, "/probe", "probe:wrong")
    check(host, r, "/probe", 403, "http_request_denied",
          "the caller's token is not known", "not_found", "0",
          line="refused: the caller's token is not known")


def test_row_instance_lost_before_it_took_the_request(table):
    """Any method, on another instance, and nobody notices."""

    host = table(deploy=["probe"], workers=1,
                 http="faas_function probe { max 1; }")
    pid = host.get("/fn/probe").json["pid"]
    os.kill(pid, signal.SIGKILL)
    r = host.post("/fn/probe?again", b"x" * 1000)
    assert r.json["pid"] != pid and r.json["bytes"] == 1000
    check(host, r, "/fn/probe?again", 200, None, None, "ok", "1")


def test_row_client_went_away_while_it_waited(table):
    host = table(deploy=["probe"], http="""
        faas_function probe { max 1; queue 10 timeout=60s; }""")
    held = host.hold("g")
    with host.wire() as wire:
        wire.send("GET /fn/probe?gone HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: host.function("probe")["queue"]["waiting"] == 1)
    assert logged(host, "/fn/probe?gone") == ("499", "cancelled", "0")
    host.open("g")
    held[0].result()
    assert host.function("probe")["totals"]["attempts"] == 1


# -- may have run -----------------------------------------------------------------

def test_row_client_went_away_before_the_instance_looked(table):
    """It has the request and lives: whether it begins it nobody can know."""

    host = table(deploy=["probe"], http="faas_function probe { max 1; }")
    pid = host.get("/fn/probe").json["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with host.wire() as wire:
            wire.send("POST /fn/probe?gone HTTP/1.1\r\nHost: x\r\n"
                      "Content-Length: 0\r\n\r\n")
            wait_until(
                lambda: host.function("probe")["totals"]["attempts"] == 2)
        assert logged(host, "/fn/probe?gone") == ("499", "cancelled", "1")
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["exit=0", "exit=3", "die=11", "die=9"])
def test_row_crash_before_headers(table, how):
    host = table(deploy=["probe"])
    path = "/fn/probe?log=ran&" + how
    r = host.post(path)
    check(host, r, path, 502, "connection_terminated", "instance was lost",
          "crash", "1", line="upstream prematurely closed connection"
          if how.startswith("exit") else "signal " + how[4:])
    wait_until(lambda: "ran" in host.function_log("probe"))
    assert host.function_log("probe").count("ran") == 1
    assert host.function("probe")["totals"]["retries"] == 0


def test_row_killed_from_outside(table):
    host = table(deploy=["probe"])
    posted = Background(lambda: host.post("/fn/probe?gate=%s/g" % host.gates))
    wait_until(lambda: host.entered("g"))
    os.kill(host.entered("g")[0], signal.SIGKILL)
    check(host, posted.result(), "/fn/probe?gate=%s/g" % host.gates, 502,
          "connection_terminated", "instance was lost", "crash", "1",
          line="signal 9")


@pytest.mark.parametrize("garbage", [
    b"\x7fELF and so on", b"HTTP/1.1 200 OK\r\n\r\n", b"\1\7\0\1\0\0\0\0x"])
def test_row_garbage_before_headers(table, garbage):
    host = table(deploy={"rude": test_slow_and_rude.RUDE})
    r = host.post("/fn/rude?then=hang", garbage)
    check(host, r, "/fn/rude?then=hang", 502, "http_protocol_error",
          "instance sent no valid answer", "crash", "1",
          line="upstream sent")


def test_row_over_timeout(table):
    host = table(deploy=["probe"],
                 http="faas_function probe { max 1; timeout 200ms; }")
    path = "/fn/probe?gate=%s/g" % host.gates
    r = host.get(path)
    check(host, r, path, 504, "http_response_timeout",
          "function ran over its budget", "timeout", "1",
          line="ran over its budget of 200 ms")
    assert host.function("probe")["totals"]["retries"] == 0
    assert host.function("probe")["totals"]["attempts"] == 1


def test_row_over_the_clients_deadline(table):
    host = table(deploy=["probe"], http="faas_function probe { max 1; }")
    path = "/fn/probe?gate=%s/g" % host.gates
    r = host.get(path, headers={"Faas-Timeout": "0.2"})
    check(host, r, path, 504, "http_response_timeout",
          "client's deadline passed", "timeout", "1",
          line="client's deadline passed while function")
    host.open("g")


def test_row_handler_returned_an_error(table):
    host = table(deploy=["probe"])
    r = host.get("/fn/probe?fail=1")
    check(host, r, "/fn/probe?fail=1", 500, None, None, "function_error", "1")
    assert r.headers["Faas-Error"] == "handled"


def test_row_status_of_the_function_itself(table):
    host = table(deploy=["probe"])
    r = host.get("/fn/probe?status=503")
    check(host, r, "/fn/probe?status=503", 503, None, None, "function_error",
          "1")
    r = host.get("/fn/probe?status=413")
    check(host, r, "/fn/probe?status=413", 413, None, None, "ok", "1")


def test_row_client_went_away_while_it_ran(table):
    host = table(deploy=["probe"], http="faas_function probe { max 1; }")
    path = "/fn/probe?gate=%s/g" % host.gates
    with host.wire() as wire:
        wire.send("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        wait_until(lambda: host.entered("g"))
    assert logged(host, path) == ("499", "cancelled", "1")
    host.open("g")


def test_client_gone_mid_call_leaves_the_slot_until_the_deadline(table):
    """An instance that does not come back is killed; nobody got its slot."""

    host = table(deploy=["probe"], http="""
        faas_function probe { max 1; timeout 700ms; queue 9 timeout=60s; }""")
    path = "/fn/probe?gate=%s/g" % host.gates
    with host.wire() as wire:
        wire.send("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        wait_until(lambda: host.entered("g"))
    pid = host.entered("g")[0]
    assert logged(host, path) == ("499", "cancelled", "1")
    assert host.get("/fn/probe").json["pid"] != pid
    assert not os.path.exists("/proc/%d" % pid)
    assert host.function("probe")["totals"]["kills"] == 1


def test_client_gone_is_ignored_if_that_is_said(table):
    """What runs and what waits go on to their ends."""

    host = table(deploy=["probe"], workers=1,
                 location="faas_ignore_client_abort on;",
                 http="faas_function probe { max 1; }")
    paths = ["/fn/probe?log=ran-%s&gate=%s/g" % (name, host.gates)
             for name in "ab"]
    wires = []
    for path in paths:
        wires.append(host.wire())
        wires[-1].send("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        wait_until(lambda: host.entered("g"))
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 1)
    for wire in wires:
        wire.close()
    # the worker has seen what came before this
    assert host.answers()
    host.open("g")
    for path in paths:
        assert logged(host, path) == ("200", "ok", "1")
    wait_until(lambda: "ran-b" in host.function_log("probe"))
    assert host.function("probe")["totals"]["outcomes"]["ok"] == 2
    assert host.function("probe")["totals"]["outcomes"]["cancelled"] == 0


HOWS = {"exit=1": ("crash", "upstream prematurely closed"),
        "die=9": ("crash", "signal 9"),
        "fail=1": ("crash", "faas: function"),
        "hang=1": ("timeout", "ran over its budget")}


@pytest.mark.parametrize("length", ["chunked", "length"])
@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("how", sorted(HOWS))
def test_row_failure_after_headers(table, how, buffering, length):
    """The client can tell: the answer is short, and the connection ends."""

    host = table(deploy={"late": "late.c"}, http="""
        faas_function late { max 1; timeout 700ms; }""",
                 location="fastcgi_buffering %s;" % buffering)
    path = "/fn/late?%s&%s=1" % (how, length)
    with host.wire() as wire:
        wire.send("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        status, headers = wire.head()
        assert " 200" in status
        assert dict(headers).get("content-length") == (
            "400000" if length == "length" else None)
        rest = wire.rest()
        assert len(rest) < 400000 and not rest.endswith(b"0\r\n\r\n")
    outcome, line = HOWS[how]
    assert logged(host, path) == ("200", outcome, "1")
    assert host.get("/fn/late").status == 200
    assert host.function("late")["totals"]["retries"] == 0


@pytest.mark.parametrize("how", sorted(HOWS))
def test_row_failure_after_headers_in_memory_is_no_answer(faas, how):
    """There is no connection to cut: what includes it is told a status."""

    host = faas(deploy={"late": "late.c"}, http="""
        subrequest_output_buffer_size 512k;
        faas_function late { max 1; timeout 700ms; }""", server="""
        location = /page { ssi on; ssi_types *; return 200 '[<!--#include
            virtual="/fn/late?$args" set="late" --><!--#echo var="late" -->]';
        }""")
    assert host.get("/page?" + how).text == "[]"
    outcomes = host.function("late")["totals"]["outcomes"]
    assert outcomes[HOWS[how][0]] == 1
    assert host.get("/fn/late").status == 200


@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("how", sorted(HOWS))
def test_row_failure_after_headers_resets_the_stream(table, how, buffering):
    """Over HTTP/2 that stream alone."""

    port = free_port()
    table(deploy={"late": "late.c"}, http="""
        faas_function late { timeout 700ms; }
        server { listen 127.0.0.1:%d http2;
                 location /fn/ { faas_pass; fastcgi_buffering %s; } }"""
                 % (port, buffering))
    with h2.Connection(port) as c:
        cut = [c.request("/fn/late?%s&%s=1" % (how, length))
               for length in ("chunked", "length")]
        whole = c.request("/fn/late")
        c.run()
        assert [s.status for s in cut] == [200, 200]
        assert all(s.reset is not None and not s.ended for s in cut)
        assert whole.ended and whole.reset is None
        assert len(whole.body) == 300000
        again = c.request("/fn/late")
        c.run()
        assert again.ended and len(again.body) == 300000


def test_started_is_told_also_when_an_error_page_asked_in_vain(table):
    """A client that goes by it would have the first function run twice."""

    host = table(deploy=["probe"], location="error_page 502 = /fn/nothing;")
    path = "/fn/probe?exit=1"
    r = host.post(path, headers={"Accept": "application/problem+json"})
    assert (r.status, r.json["started"]) == (404, True)
    assert logged(host, path) == ("404", "not_found", "1")


# -- what is tried again ----------------------------------------------------------

@pytest.mark.parametrize("method,descriptor,times", [
    ("GET", "", 2), ("HEAD", "", 2), ("POST", "", 1), ("PUT", "", 1),
    ("DELETE", "", 1), ("PATCH", "", 1), ("OPTIONS", "", 1),
    ("POST", ", .idempotent = 1", 2), ("PATCH", ", .idempotent = 1", 2)])
def test_crash_is_tried_again_once_on_another_instance(table, method,
                                                       descriptor, times):
    host = table(deploy={"probe": ("probe.c",
                                   "-DPROBE_DESCRIPTOR=" + descriptor)})
    r = host.get("/fn/probe?log=ran&exit=1", method=method)
    assert r.status == 502
    wait_until(lambda: host.function_log("probe").count("ran") == times)
    ran = [line for line in host.function_log("probe").splitlines()
           if "ran" in line]
    assert len(ran) == times
    assert logged(host, "/fn/probe?log=ran&exit=1") == ("502", "crash", "1")
    totals = host.function("probe")["totals"]
    assert (totals["attempts"], totals["retries"]) == (times, times - 1)
    assert totals["outcomes"]["crash"] == 1
    # instances died: each attempt had its own
    wait_until(lambda: host.function("probe")["totals"]["deaths"] == times)


def test_answer_of_the_second_attempt_is_the_answer(table):
    """The first instance dies, the next one answers."""

    host = table(deploy=["probe"], http="faas_function probe { max 1; }")
    got = Background(lambda: host.get("/fn/probe?gate=%s/g" % host.gates))
    wait_until(lambda: host.entered("g"))
    first = host.entered("g")[0]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: host.entered("g") and host.entered("g")[-1] != first
               or len(host.entered("g")) > 1)
    host.open("g")
    r = got.result()
    assert r.status == 200 and r.json["pid"] != first
    assert host.function("probe")["totals"]["retries"] == 1


def test_timeout_is_not_tried_again(table):
    host = table(deploy={"probe": (
        "probe.c", "-DPROBE_DESCRIPTOR=, .idempotent = 1")},
        http="faas_function probe { timeout 150ms; }")
    for method in ("GET", "POST"):
        r = host.get("/fn/probe?gate=%s/g" % host.gates, method=method)
        assert r.status == 504
    assert host.function("probe")["totals"]["attempts"] == 2
    assert host.function("probe")["totals"]["retries"] == 0


def test_streamed_body_is_not_sent_again(table):
    """Not even if the function is idempotent: nginx does not have it."""

    host = table(deploy={"probe": (
        "probe.c", "-DPROBE_DESCRIPTOR=, .idempotent = 1")},
        location="fastcgi_request_buffering off;")
    with host.wire() as wire:
        wire.send("POST /fn/probe?exit=1 HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 10\r\n\r\n12345")
        r = wire.response()
    assert r.status == 502
    assert logged(host, "/fn/probe?exit=1") == ("502", "crash", "1")
    assert host.function("probe")["totals"]["attempts"] == 1


@pytest.mark.parametrize("how", ["waits", "runs"])
def test_piece_of_a_streamed_body_is_no_body_for_another_function(faas, how):
    """An error_page brings the request there when the first one has begun to
    stream it, be it only into its queue."""

    host = faas(deploy=["probe", "other"], http="""
        faas_function probe { max 1; queue 10 timeout=200ms; }""", server="""
        error_page 502 503 = @other;
        location = /streamed { fastcgi_request_buffering off;
                               faas_pass probe; }
        location = /whole { faas_pass probe; }
        location @other { faas_pass other; }""")
    query = "exit=1" if how == "runs" else ""
    held = host.hold("g") if how == "waits" else []

    def post(path):
        with host.wire() as wire:
            wire.send("POST %s?%s HTTP/1.1\r\nHost: x\r\nContent-Length: "
                      "100000\r\n\r\n" % (path, query))
            wire.send(b"x" * 50000)
            if path == "/streamed":
                wait_until(lambda: host.log_has("faas: function \"other\""))
            wire.send(b"x" * 50000)
            return wire.response()

    r = post("/streamed")
    assert r.status == 503
    assert "streamed body cannot be sent again" in r.headers["Proxy-Status"]
    totals = host.function("other")["totals"]
    assert (totals["arrivals"], totals["outcomes"]["shed"]) == (0, 1)

    # one that nginx has goes on to it

    r = post("/whole")
    assert r.status == (200 if how == "waits" else 502)
    totals = host.function("other")["totals"]
    assert (totals["attempts"], totals["bytes_in"]) == (1, 100000)

    host.open("g")
    assert [r.result().status for r in held] == [200] * len(held)


def test_started_is_told_also_when_the_second_attempt_was_refused(table):
    """It ran, its instance was lost, and there is no other any more."""

    host = table(deploy=["probe"])
    path = "/fn/probe?gate=%s/g" % host.gates
    running = Background(lambda: host.get(path))
    wait_until(lambda: host.entered("g"))
    host.remove("probe")
    wait_until(lambda: host.function("probe").get("state") != "ready")
    os.kill(host.entered("g")[0], signal.SIGKILL)
    check(host, running.result(), path, 404, "destination_not_found",
          "function was removed", "not_found", "1")
