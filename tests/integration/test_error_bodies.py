"""Bodies of the answers that the platform makes itself: plain text, JSON or
nginx's page, by Accept; and that all else is as for any error of nginx."""

import gzip
import json
import subprocess

import pytest

import h2
from harness import free_port, wait_until

BROWSER = ("text/html,application/xhtml+xml,application/xml;q=0.9,"
           "image/avif,image/webp,*/*;q=0.8")


@pytest.fixture(scope="module")
def host(faas_module):
    """probe has one instance, which is held, and a queue of none."""

    port = free_port()
    host = faas_module(deploy=["probe"], workers=1, http="""
        faas_function probe { max 1; queue 0; min 1; }
        server { listen 127.0.0.1:%d http2; location /fn/ { faas_pass; } }
        """ % port, server="""
        location = /page { return 200 "[<!--#include virtual='/fn/no' -->]";
                           ssi on; default_type text/html; }
        location = /asked { auth_request /auth; empty_gif; }
        location = /auth { internal; faas_pass nothing; }
        location /gzip/ { gzip on; gzip_types *; gzip_min_length 1; faas_pass;
                          gzip_proxied any; }
        location /charset/ { charset koi8-r; faas_pass; }
        location /text/ { faas_pass; error_page 404 =503 @own; }
        location @own { default_type text/x-own; return 503 "own page"; }
        location /static/ { faas_pass; error_page 404 /sorry.html; }
        location = /sorry.html { internal; root /nowhere; }
        location /other/ { faas_pass; error_page 404 http://example.org/; }
        location /deep/ { faas_pass; error_page 404 = /fn/nothing2;
                          recursive_error_pages on; }
        """)
    host.h2_port = port
    wait_until(lambda: host.function("probe")["instances"]["idle"] == 1)
    host.held_request = host.hold("g")
    yield host
    host.open("g")
    host.held_request[0].result()


def busy(host, accept=None, **options):
    headers = options.pop("headers", {})
    if accept:
        headers["Accept"] = accept
    r = host.get("/fn/probe", headers=headers, **options)
    assert r.status == 503, r
    assert r.headers["Vary"] == "Accept"
    assert "Proxy-Status" in r.headers and "Retry-After" in r.headers
    return r


def test_plain_text_unless_something_else_is_asked_for(host):
    for accept in (None, "*/*", "text/plain", "image/png"):
        r = busy(host, accept, headers={"X-Request-ID": "abc-1"})
        assert r.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert r.text == ("503 Service Unavailable: queue is full\n"
                          "request abc-1\n")


def test_request_has_an_id_also_when_the_client_gave_none(host):
    lines = {busy(host).text.splitlines()[1] for _ in range(3)}
    assert len(lines) == 3
    assert all(len(line.split("request ")[1]) == 32 for line in lines)


def test_problem_json_for_who_reads_json(host):
    for accept in ("application/json", "application/problem+json",
                   "application/json, text/plain, */*"):
        r = busy(host, accept, headers={"X-Request-ID": "abc-1"})
        assert r.headers["Content-Type"] == "application/problem+json"
        assert json.loads(r.text) == {
            "type": "about:blank", "title": "Service Unavailable",
            "status": 503, "detail": "queue is full",
            "outcome": "queue_full", "started": False,
            "retry_after": int(r.headers["Retry-After"]),
            "request_id": "abc-1"}


def test_nginx_page_for_browsers(host):
    r = busy(host, BROWSER)
    assert r.headers["Content-Type"] == "text/html"
    assert "<h1>503 Service Temporarily Unavailable</h1>" in r.text


def test_status_that_nginx_has_no_page_for_has_a_body_too(faas):
    host = faas(deploy=["probe"], workers=1, http="""
        faas_busy_status 425; faas_function probe { max 1; queue 0; }""")
    held = host.hold("g")
    r = host.get("/fn/probe")
    assert r.status == 425
    assert r.text.startswith("425 Too Early: queue is full\n")
    r = host.get("/fn/probe", headers={"Accept": "application/json"})
    assert (r.status, r.json["title"]) == (425, "Too Early")
    # nginx has no page for it
    r = host.get("/fn/probe", headers={"Accept": BROWSER})
    assert (r.status, r.text) == (425, "")
    host.open("g")
    held[0].result()


def test_head_has_headers_and_no_body(host):
    with host.wire() as wire:
        for accept in ("*/*", "application/json"):
            wire.send("HEAD /fn/nothing HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n"
                      "X-Request-ID: a\r\n\r\n" % accept)
            head = wire.response("HEAD")
            wire.send("GET /fn/nothing HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n"
                      "X-Request-ID: a\r\n\r\n" % accept)
            got = wire.response()
            assert (head.status, got.status) == (404, 404)
            assert int(head.headers["Content-Length"]) == len(got.body) > 0
            assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_connection_is_kept_and_an_unread_body_is_discarded(host):
    with host.wire() as wire:
        for n in (0, 10, 100000):
            for path in ("/fn/nothing", "/fn/probe"):
                wire.send("POST %s HTTP/1.1\r\nHost: x\r\n"
                          "Content-Length: %d\r\n\r\n" % (path, n))
                wire.send(b"x" * n)
                assert wire.response().status in (404, 503)
        wire.send("POST /fn/nothing HTTP/1.1\r\nHost: x\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        assert wire.response().status == 404
        wire.send("GET /fn/nothing HTTP/1.0\r\n\r\n")
        assert wire.response().status == 404
        assert wire.is_closed()


def test_pipelined_errors_come_in_order(host):
    with host.wire() as wire:
        wire.send("".join("GET /fn/nothing HTTP/1.1\r\nHost: x\r\n"
                          "X-Request-ID: r%d\r\n\r\n" % i for i in range(20)))
        for i in range(20):
            assert wire.response().text.endswith("request r%d\n" % i)


def test_over_http2(host):
    with h2.Connection(host.h2_port) as c:
        streams = [c.request(path, headers=[("accept", accept)], body=body)
                   for path in ("/fn/nothing", "/fn/probe")
                   for accept in ("*/*", "application/json")
                   for body in (b"", b"x" * 100000)]
        c.run()
        for s in streams:
            assert s.status in (404, 503) and s.body
        assert json.loads(streams[2].body)["status"] == 404
    done = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", "-i",
         "http://127.0.0.1:%d/fn/nothing" % host.h2_port],
        capture_output=True, text=True)
    assert "404 Not Found: no such function or route" in done.stdout
    assert "proxy-status: nginx-faas; error=destination_not_found" \
        in done.stdout


def test_error_page_has_the_say(host):
    r = host.get("/text/nothing")
    assert (r.status, r.text) == (503, "own page")
    assert r.headers["Content-Type"] == "text/x-own"
    r = host.get("/other/nothing")
    assert (r.status, r.headers["Location"]) == (302, "http://example.org/")
    assert "nginx" in r.text and "Proxy-Status" not in r.headers


def test_error_page_that_is_not_there_is_nginx_own_page(host):
    r = host.get("/static/nothing")
    assert r.status == 404 and "<h1>404 Not Found</h1>" in r.text


def test_error_page_that_is_a_function_which_is_not_there(host):
    r = host.get("/deep/nothing")
    assert r.status == 404
    assert r.text.startswith("404 Not Found: no such function or route\n")


def test_subrequests_are_as_they_were(host):
    r = host.get("/page")
    assert r.status == 200
    assert r.text.startswith("[<html>") and r.text.endswith("]")
    assert "404 Not Found" in r.text
    assert host.get("/asked").status == 500


def test_filters_after_it_see_the_body(host):
    r = host.get("/gzip/nothing", headers={"Accept-Encoding": "gzip",
                                           "X-Request-ID": "a"})
    assert r.status == 404 and r.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(r.body) == (
        b"404 Not Found: no such function or route\nrequest a\n")
    r = host.get("/charset/nothing", headers={"X-Request-ID": "a"})
    assert r.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert r.text.startswith("404 Not Found:")


def test_range_of_an_error_is_the_whole_error(host):
    r = host.get("/fn/nothing", headers={"Range": "bytes=0-2"})
    assert r.status == 404 and "Content-Range" not in r.headers
    assert r.text.startswith("404 Not Found:")


def test_no_secret_is_told(host):
    """Neither paths, nor pids, nor versions."""

    for accept in ("*/*", "application/json"):
        text = busy(host, accept).text + str(busy(host, accept).headers)
        assert str(host.dir) not in text and "sock" not in text
        assert host.function("probe")["version"] not in text
        assert str(host.entered("g")[0]) not in text
