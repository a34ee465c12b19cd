"""Clients that are slow and functions that are rude: what they cost is theirs.

The function of these tests, rude.c, writes FastCGI records to nginx by
itself, so what is checked is what nginx and the scheduler make of them: 502
or the answer, no connection kept behind anything odd, and the next request
gets its own answer.
"""

import os
import random

import pytest

import h2
from fcgi_client import END_REQUEST, STDERR, STDOUT, record
from harness import Background, ROOT, free_port, wait_until

RUDE = ("rude.c", "-pthread", "-D_GNU_SOURCE",
        "-I%s" % (ROOT / "worker"),
        "-I%s" % (ROOT / "scoreboard"))

END = record(END_REQUEST, bytes(8))


def answer(body, *headers, status="200 OK", end=END):
    """A whole FastCGI answer."""

    head = "".join("%s\r\n" % line for line in ("Status: " + status,)
                   + headers)
    return record(STDOUT, head.encode("latin-1") + b"\r\n"
                  + body) + record(STDOUT) + end


@pytest.fixture(scope="module")
def host(faas_module):
    """One nginx worker and one instance: all share one connection."""

    return faas_module(deploy={"rude": RUDE}, workers=1, http="""
        faas_function rude { max 1; timeout 10s; queue 500 timeout=60s; }""",
        server="""location /stream/ { faas_pass; fastcgi_buffering off; }
                  location /direct/ {
                      faas_pass; fastcgi_request_buffering off; }""")


def rude(host, data, query="", where="fn", **options):
    return host.post("/%s/rude?%s" % (where, query), data, **options)


def is_in_order(host, where="fn"):
    """The next ones get their own answers, each its own."""

    for i in range(3):
        text = "next-%d" % i
        r = host.get("/%s/rude?text=%s" % (where, text))
        assert (r.status, r.text) == (200, text)
    return True


# -- what a function writes by itself -----------------------------------------

@pytest.mark.parametrize("where", ["fn", "stream"])
def test_answer_that_a_function_writes_itself(host, where):
    r = rude(host, answer(b"raw", "X-A: b"), "then=quiet", where)
    assert (r.status, r.text, r.headers["X-A"]) == (200, "raw", "b")
    assert is_in_order(host, where)


@pytest.mark.parametrize("where", ["fn", "stream"])
def test_two_answers_are_one_and_the_other_is_nobodys(host, where):
    """The runtime's own follows the one that the function wrote."""

    for i in range(20):
        r = rude(host, answer(b"first"), "text=second", where)
        assert (r.status, r.text) == (200, "first")
        assert is_in_order(host, where)


@pytest.mark.parametrize("where", ["fn", "stream"])
def test_answer_glued_to_an_answer_is_nobodys(host, where):
    for i in range(20):
        r = rude(host, answer(b"first") + answer(b"smuggled"), "then=quiet",
                 where)
        assert (r.status, r.text) == (200, "first")
        assert is_in_order(host, where)


@pytest.mark.parametrize("where", ["fn", "stream"])
def test_answer_that_comes_late_is_nobodys(host, where):
    """A thread writes it to the connection that nginx keeps."""

    for turn in range(5):
        gate, note = (host.gates / ("%s-%s-%d" % (name, where, turn))
                      for name in ("gate", "note"))
        r = rude(host, answer(b"smuggled"),
                 "text=mine&late=0&gate=%s&note=%s" % (gate, note), where)
        assert (r.status, r.text) == (200, "mine")
        gate.touch()
        wait_until(note.exists, interval=0.001)
        assert is_in_order(host, where)


@pytest.mark.parametrize("where", ["fn", "stream"])
def test_answer_behind_an_answer_that_is_held_up_is_nobodys(host, where):
    """The handler sent END_REQUEST itself and has returned, so the page says;
    but its instance does not run until the next request is on its way."""

    for turn in range(5):
        gate = host.gates / ("stall-%s-%d" % (where, turn))
        r = rude(host, answer(b"first"), "text=second&stall=0&gate=%s" % gate,
                 where)
        assert (r.status, r.text) == (200, "first")
        after = Background(lambda: rude(host, b"x", "text=mine&read=0", where))
        wait_until(lambda: host.function("rude")["queue"]["admitted"] == 1)
        gate.touch()
        r = after.result()
        assert (r.status, r.text) == (200, "mine")


@pytest.mark.parametrize("where", ["fn", "stream", "direct"])
def test_connection_is_kept_behind_whole_answers(faas, where):
    """Over one connection of a client: who closes it with the last byte of an
    answer may do so before its END_REQUEST was there."""

    host = faas(deploy=["probe"], workers=1,
                http="faas_function probe { max 1; }", server="""
        location /stream/ { faas_pass; fastcgi_buffering off; }
        location /direct/ { faas_pass; fastcgi_request_buffering off; }""")
    pid = host.get("/%s/probe" % where).json["pid"]
    before = sockets(pid)
    queries = ["text=x", "flush=1&text=x", "flush=1&size=0", "status=404",
               "status=500", "fail=1", "read=0"]
    queries += ["size=%d" % n for n in (
        0, *range(4000, 4100, 17), *range(7900, 8100, 19), 65536, 5000000)]
    with host.wire() as wire:
        for query in queries:
            for body in (b"", b"b" * 100):
                wire.send(b"POST /%s/probe?%s HTTP/1.1\r\nHost: x\r\n"
                          b"Content-Length: %d\r\n\r\n%s" % (
                              where.encode(), query.encode(), len(body), body))
                assert wire.response().status in (200, 404, 500)
                assert sockets(pid) == before, query


def sockets(pid):
    """Of a process; one that is closed and made again has another number."""

    links = [os.readlink("/proc/%d/fd/%s" % (pid, fd))
             for fd in os.listdir("/proc/%d/fd" % pid)]
    return sorted(link for link in links if link.startswith("socket:"))


@pytest.mark.parametrize("page", ["ended", "begun", "unbegun"])
def test_forged_page_mixes_up_nothing(faas, page):
    """At worst the slot drains until its deadline."""

    host = faas(deploy={"rude": RUDE}, workers=1,
                http="faas_function rude { max 1; timeout 300ms; }")
    for i in range(3):
        r = rude(host, answer(b"first"), "text=second&page=" + page)
        assert r.status in (200, 502) and r.text != "second"
        assert is_in_order(host)


def exchange(host, data, query="then=quiet", path="/fn/rude"):
    """The answer to a rude function's, and on the same client's connection,
    if it is still there, the next one's: it must be in step.  None: it was cut
    before its end, and the client can tell."""

    with host.wire() as wire:
        wire.send(b"POST %s?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                  b"\r\n" % (path.encode(), query.encode(), len(data)) + data)
        try:
            r = wire.response()
        except AssertionError:
            return None
        try:
            wire.send("GET /fn/rude?text=in-step HTTP/1.1\r\nHost: x\r\n\r\n")
            after = wire.response()
        except (AssertionError, ConnectionError, ValueError) as error:
            assert wire.buffer == b"", (wire.buffer, error)
            return r
        assert (after.status, after.text) == (200, "in-step")
        return r


@pytest.mark.parametrize("line", [
    b"X-A: b\0c", b"X\0A: b", b"X-A: b\rX-B: c", b"X\rA: b", b"\0",
    b": b", b"X A: b", b"X-A : b", b"\xc3\xa4: b", b"X-A: \x01\x02\x7f",
    b"\rX-B: c", b" X-B: folded", b"no colon", b"X-A: " + b"v" * 65000,
    b"Content-Length: -1", b"Content-Length: 1, 2", b"Content-Length: 0x5",
    b"Content-Length: 18446744073709551616", b"Content-Length: ",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 6\r\nContent-Length: 5",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity",
    b"Connection: close", b"Connection: upgrade\r\nUpgrade: websocket",
    b"Connection: keep-alive, X-A", b"Keep-Alive: timeout=999",
    b"Trailer: X-B", b"HTTP/1.1 200 OK", b"Status: 404",
    b"Content-Encoding: gzip", b"Date: never", b"Server: mine"],
    ids=lambda line: repr(line[:40]))
def test_headers_that_are_none_inject_nothing(host, line):
    """502, or one answer that is whole: with the body that was written, in
    step, and with no header that no line of the function's is."""

    r = exchange(host, record(STDOUT, b"X-First: 1\r\n" + line
                              + b"\r\nX-Last: 1\r\n\r\nhello")
                 + record(STDOUT) + END)
    assert is_in_order(host)
    if r is None:
        return
    assert r.status in (200, 404, 502), r
    names = {name.lower() for name in r.headers}
    assert "x-b" not in names
    assert len(r.headers.get_all("Content-Length", [])) <= 1
    if r.status != 502:
        assert r.body == b"hello"[:int(r.headers.get("Content-Length", 5))]
        assert {"x-first", "x-last"} <= names
        assert r.headers.get("Upgrade") is None or "upgrade" not in str(
            r.headers.get("Connection")).lower()


@pytest.mark.parametrize("lies", [0, 4, 6, 5000])
@pytest.mark.parametrize("path", ["/fn/rude", "/stream/rude"])
def test_content_length_that_lies_is_never_filled_by_another(host, path,
                                                             lies):
    with host.wire() as wire:
        data = answer(b"hello", "Content-Length: %d" % lies)
        wire.send(b"POST %s?then=quiet HTTP/1.1\r\nHost: x\r\n"
                  b"Content-Length: %d\r\n\r\n" % (path.encode(), len(data))
                  + data)
        status, headers = wire.head()
        if "502" in status:
            wire.exactly(int(dict(headers)["content-length"]))
        elif lies > 5:
            # the client can tell: less than announced, and the end
            assert wire.rest() == b"hello"
        else:
            assert dict(headers)["content-length"] == str(lies)
            assert wire.exactly(lies) == b"hello"[:lies]
            wire.send("GET /fn/rude?text=in-step HTTP/1.1\r\nHost: x\r\n"
                      "Connection: close\r\n\r\n")
            assert wire.rest().endswith(b"\r\n\r\nin-step")
    assert is_in_order(host)


@pytest.mark.parametrize("status", [
    "100 Continue", "101 Switching Protocols", "103 Early Hints", "000 None",
    "099 Early", "600 Late", "999 Last", "20", "abc", "", "-20", "2000",
    "200\x01", "0x200"])
def test_status_that_ends_no_request_is_502(host, status):
    """A client would take an interim answer's body for the answer, and what
    follows it for the next one's."""

    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    r = exchange(host, answer(smuggled, status=status))
    assert r.status in ((502,) if not status.startswith("200") else (200, 502))
    assert is_in_order(host)


def test_statuses_that_nobody_knows_are_let_through(host):
    for status in (200, 299, 418, 599):
        r = exchange(host, answer(b"x", status="%d Whatever" % status))
        assert (r.status, r.text) == (status, "x")


@pytest.mark.parametrize("status", [204, 304])
def test_body_where_none_may_be_is_dropped(host, status):
    r = exchange(host, answer(b"HTTP/1.1 200 OK\r\n\r\n", "Content-Length: 19",
                              status="%d None" % status))
    assert r.status in (status, 502)


def test_what_only_the_platform_says_is_taken_away(host):
    r = exchange(host, answer(
        b"x", 'Proxy-Status: nginx-faas; error=connection_timeout',
        "X-Accel-Redirect: /faas/", "X-Accel-Limit-Rate: 1000000",
        "X-Accel-Expires: 1", "X-Accel-Buffering: no",
        "X-Accel-Charset: utf-8", "Proxy-Status: other; received-status=200"))
    assert (r.status, r.text) == (200, "x")
    assert r.headers.get_all("Proxy-Status") == ["other; received-status=200"]
    assert not [name for name in r.headers if name.startswith("X-Accel")]


@pytest.mark.parametrize("path", ["/fn/rude", "/stream/rude"])
def test_one_byte_at_a_time(host, path):
    r = exchange(host, answer(b"one by one", "X-A: b"), "then=quiet&pieces=1",
                 path)
    assert (r.status, r.text, r.headers["X-A"]) == (200, "one by one", "b")
    assert is_in_order(host)


@pytest.mark.parametrize("then", ["exit", "shut"])
@pytest.mark.parametrize("data", [
    b"", b"\1", answer(b"x")[:7], answer(b"x")[:20],
    record(STDOUT, b"Status: 200"), record(STDOUT), END,
    record(STDERR, b"only this")],
    ids=lambda data: "%d-%s" % (len(data), data[1:2].hex()))
def test_closed_before_the_headers_is_502(host, then, data):
    r = exchange(host, data or b"\0", "then=%s" % then)
    assert r.status == 502
    assert is_in_order(host)


@pytest.mark.parametrize("data", [
    b"\0" * 100, random.Random(7).randbytes(1000),
    b"HTTP/1.1 200 OK\r\n\r\nhello",
    b"\1\6\0\2\0\5\0\0hello", b"\1\x0b\0\1\0\0\0\0", b"\2" + answer(b"x")[1:],
    record(STDERR, b"e" * 65000) * 20, b"\1\6\0\1\xff\xff\xff\0"],
    ids=lambda data: "%d-%s" % (len(data), data[:4].hex()))
def test_garbage_is_502(host, data):
    r = exchange(host, data, "then=shut")
    assert r.status == 502
    assert is_in_order(host)


def test_stderr_around_an_answer_changes_nothing(host):
    noise = record(STDERR, b"n" * 60000)
    r = exchange(host, noise * 10 + record(STDOUT, b"Status: 200 OK\r\n\r\nx")
                 + noise * 10 + record(STDOUT, b"y") + record(STDOUT) + END)
    assert (r.status, r.text) == (200, "xy")
    assert is_in_order(host)


def test_function_that_never_answers_is_504(faas):
    host = faas(deploy={"rude": RUDE}, workers=1,
                http="faas_function rude { max 1; timeout 300ms; }")
    for query in ("then=hang", "pieces=1&then=hang"):
        part = answer(b"x")[:12]
        assert rude(host, part, query).status == 504
        assert is_in_order(host)


def test_reports_that_are_forged_are_believed_for_nothing(host):
    for i in range(3):
        assert rude(host, b"x", "reports=20&then=return").status in (200, 502)
        assert is_in_order(host)
    lines = [line for line in host.error_log().splitlines()
             if "could not start" in line]
    assert not lines, lines[:3]


@pytest.mark.parametrize("child", ["hold", "answer"])
def test_child_that_accepts_beside_its_parent_is_killed_with_it(faas, child):
    host = faas(deploy={"rude": RUDE}, workers=1,
                http="faas_function rude { max 1; timeout 500ms; }")
    for i in range(3):
        assert rude(host, answer(b"stolen"), "text=x&child=" + child)
        # without a kept connection, the child may be the one to accept
        host.get("/fn/rude?text=y", method="HEAD")
        for _ in range(4):
            r = host.get("/fn/rude?text=mine")
            assert r.status in (200, 502, 504)
            assert r.status != 200 or r.text in ("mine", "stolen")
    host.deploy("rude", *RUDE, "-DRUDE_SECOND")
    wait_until(lambda: is_in_order(host))


def test_ready_is_believed_of_the_instance_itself_only(faas):
    """A child of one instance says it of another that starts."""

    host = faas(deploy={"rude": RUDE}, workers=1, start=False)
    start, first = host.gates / "start", host.gates / "first"
    start.touch()
    host.configure(http="faas_function rude { max 2; env START=%s;"
                        " timeout 20s; init_timeout 30s; }" % start)
    host.start()
    assert host.get("/fn/rude?text=x").status == 200
    start.unlink()
    liar = Background(lambda: rude(host, b"x", "then=quiet&ready=9&first=%s"
                                   % first))
    wait_until(lambda: host.function("rude")["instances"]["busy"] == 1)
    other = Background(lambda: host.get("/fn/rude?text=mine"))
    wait_until(lambda: host.function("rude")["instances"]["starting"] == 1)
    first.touch()
    assert liar.result().status == 502
    counts = host.function("rude")["instances"]
    assert counts["starting"] == 1, counts
    start.touch()
    assert other.result().text == "mine"


# -- what the platform holds meanwhile ----------------------------------------

@pytest.fixture(scope="module")
def plain(faas_module):
    port = free_port()
    plain = faas_module(deploy=["probe"], http="""
        faas_function probe { max 2; queue 500 timeout=60s; }
        server {
            listen 127.0.0.1:%d http2;
            http2_max_concurrent_streams 300;
            location /fn/ { faas_pass; }
            location /direct/ { faas_pass; fastcgi_request_buffering off; }
        }""" % port, server="""
        location /stream/ { faas_pass; fastcgi_buffering off; }
        location /direct/ { faas_pass; fastcgi_request_buffering off; }
        location /small/ { faas_pass; fastcgi_max_temp_file_size 2m; }
        location /anyway/ { faas_pass; fastcgi_ignore_client_abort on; }""")
    plain.h2_port = port
    return plain


def busy(host):
    return host.function("probe")["instances"]["busy"]


def is_at_rest(host):
    function = host.function("probe")
    return (function["queue"] == {"waiting": 0, "admitted": 0}
            and not function["instances"]["busy"]
            and not function["instances"]["draining"])


def test_upload_without_buffering_holds_an_instance(plain):
    with plain.wire() as wire:
        wire.send("POST /direct/probe HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 100000\r\n\r\n" + "x" * 50000)
        wait_until(lambda: busy(plain) == 1)
        wire.send("x" * 50000)
        assert wire.response().json["bytes"] == 100000
    wait_until(lambda: is_at_rest(plain))


def test_reader_without_buffering_holds_an_instance(plain):
    with plain.wire() as wire:
        wire.send("GET /stream/probe?size=30000000 HTTP/1.1\r\nHost: x\r\n"
                  "\r\n")
        wait_until(lambda: busy(plain) == 1)
        wire.head()
        while wire.chunk():
            pass
    wait_until(lambda: is_at_rest(plain))


def spooled(host):
    """Bytes in temporary files that nginx workers have open."""

    total = 0
    for pid in host.workers():
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                path = "/proc/%d/fd/%s" % (pid, fd)
                if "/tmp/fastcgi/" in os.readlink(path):
                    total += os.stat(path).st_size
            except FileNotFoundError:
                pass
    return total


def test_temporary_file_is_bounded_and_a_slow_reader_gets_all(plain):
    """Beyond it the function waits for the reader."""

    with plain.wire() as wire:
        wire.send("GET /small/probe?size=40000000 HTTP/1.0\r\n\r\n")
        wait_until(lambda: spooled(plain) > 1 << 20)
        assert busy(plain) == 1
        assert spooled(plain) <= (2 << 20) + (1 << 16)
        wire.head()
        assert len(wire.rest()) == 40000000
    wait_until(lambda: is_at_rest(plain))


def test_client_that_closes_its_half_is_one_that_went_away(plain):
    """As with stock nginx: unless fastcgi_ignore_client_abort is on."""

    gate = plain.gates / "half"
    for path, status in (("fn", b""), ("anyway", b"HTTP/1.1 200 OK")):
        with plain.wire() as wire:
            wire.send("GET /%s/probe?text=x&gate=%s HTTP/1.1\r\nHost: x\r\n"
                      "Connection: close\r\n\r\n" % (path, gate))
            wait_until(lambda: plain.entered("half"))
            wire.socket.shutdown(1)
            if path == "fn":
                wait_until(wire.is_closed)
            plain.open("half")
            assert wire.rest()[:15] == status
        wait_until(lambda: is_at_rest(plain))
        gate.unlink()


def test_next_request_of_a_client_that_goes_away_is_its_own_affair(plain):
    """It is sent while the former is answered: then the client is gone."""

    for turn in range(10):
        gate = "away%d" % turn
        with plain.wire() as wire:
            wire.send("GET /fn/probe?gate=%s/%s HTTP/1.1\r\nHost: x\r\n\r\n"
                      "GET /fn/probe?text=second HTTP/1.1\r\nHost: x\r\n\r\n"
                      % (plain.gates, gate))
            wait_until(lambda: plain.entered(gate))
        plain.open(gate)
        assert plain.get("/fn/probe?text=t%d" % turn).text == "t%d" % turn
    wait_until(lambda: is_at_rest(plain))


def test_pipelined_requests_of_all_kinds_stay_in_order(plain):
    """HEAD, bodies, chunked bodies, and a function's own 204."""

    with plain.wire() as wire:
        text, methods = "", []
        for i in range(40):
            method = ("GET", "HEAD", "POST", "PUT")[i % 4]
            methods.append(method)
            text += "%s /fn/probe?text=%d%s HTTP/1.1\r\nHost: x\r\n" % (
                method, i, "&status=204" if i % 7 == 0 else "")
            if method == "POST":
                text += "Content-Length: %d\r\n\r\n%s" % (i, "p" * i)
            elif method == "PUT":
                text += "Transfer-Encoding: chunked\r\n\r\n"
                text += "%x\r\n%s\r\n0\r\n\r\n" % (i, "c" * i)
            else:
                text += "\r\n"
        wire.send(text)
        for i, method in enumerate(methods):
            r = wire.response(method)
            assert r.status == (204 if i % 7 == 0 else 200)
            if r.status == 200 and method != "HEAD":
                assert r.text == str(i)


def test_expect_continue_without_a_body_costs_nothing(plain):
    """A client that waits for the 100, gets it, and goes away."""

    for _ in range(10):
        with plain.wire() as wire:
            wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\n"
                      "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            assert wire.response().status == 100
    assert plain.get("/fn/probe?text=x").text == "x"
    wait_until(lambda: is_at_rest(plain))


# -- HTTP/2 -------------------------------------------------------------------

def test_200_streams_on_one_connection_get_their_own_answers(plain):
    with h2.Connection(plain.h2_port) as c:
        streams = [c.request("/fn/probe?text=stream-%d" % i)
                   for i in range(200)]
        c.run()
        for i, stream in enumerate(streams):
            assert (stream.status, stream.body) == (200, b"stream-%d" % i)


@pytest.mark.parametrize("where", ["fn", "direct"])
def test_200_uploads_on_one_connection(plain, where):
    """They come in pieces, a frame of each in turn."""

    with h2.Connection(plain.h2_port) as c:
        streams = [c.request("/%s/probe" % where, "POST", b"u" * (1000 * i))
                   for i in range(1, 201)]
        c.run()
        for i, stream in enumerate(streams, 1):
            assert stream.status == 200
            assert b'"bytes":%d,' % (1000 * i) in stream.body
    wait_until(lambda: is_at_rest(plain))


def test_streams_reset_while_queued_and_while_running(plain):
    gate = plain.gates / "streams"
    with h2.Connection(plain.h2_port) as c:
        held = [c.request("/fn/probe?text=held&gate=%s" % gate)
                for _ in range(2)]
        c.run(lambda: len(plain.entered("streams")) == 2)
        queued = [c.request("/fn/probe?text=queued-%d" % i)
                  for i in range(100)]
        c.run(lambda: plain.function("probe")["queue"]["waiting"] == 100)
        for stream in queued[::2] + held[:1]:
            c.cancel(stream)
        c.run(lambda: plain.function("probe")["queue"]["waiting"] == 50)
        plain.open("streams")
        c.run()
        assert (held[1].status, held[1].body) == (200, b"held")
        for i, stream in enumerate(queued):
            if i % 2:
                assert (stream.status, stream.body) == (200, b"queued-%d" % i)
            else:
                assert stream.body == b""
    wait_until(lambda: is_at_rest(plain))


def test_stream_with_a_closed_window_holds_no_instance(plain):
    with h2.Connection(plain.h2_port, window=0) as c:
        slow = [c.request("/fn/probe?size=1000000") for _ in range(20)]
        c.run(lambda: all(s.status for s in slow))
        wait_until(lambda: is_at_rest(plain))
        assert not any(s.body for s in slow)
        for stream in slow:
            c.give(stream, 1 << 20)
        c.run()
        assert {len(s.body) for s in slow} == {1000000}


def test_connection_that_ends_with_200_streams_leaves_nothing(plain):
    for _ in range(3):
        with h2.Connection(plain.h2_port) as c:
            for i in range(200):
                c.request("/fn/probe?size=100000")
            c.run(lambda: any(s.status for s in c.streams.values()))
        wait_until(lambda: is_at_rest(plain))
    assert plain.get("/fn/probe?text=x").text == "x"
