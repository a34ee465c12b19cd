"""Async calls and timers in a whole host: nginx hands over, _calls takes in,
events calls, nginx runs the function, _calls shows."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import signal
import subprocess
import threading

import harness
from harness import wait_until

ASYNC = {"Prefer": "respond-async"}
INTERNAL = "server { faas_internal; location / { faas_invoke; } }"

WORK = r"""
#include <faas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
each(const char *name, const char *value, void *data)
{
    if (strncmp(name, "HTTP_", 5) == 0 || strcmp(name, "CONTENT_TYPE") == 0) {
        faas_printf(data, "%s=%s\n", name, value);
    }
    return 0;
}

static int
work(faas_request_t *r)
{
    size_t               n;
    const char          *body, *gate;
    const faas_event_t  *e;

    gate = faas_query(r, "gate", NULL);
    while (gate && access(gate, F_OK) != 0) {
        usleep(10000);
    }
    if (faas_query(r, "status", NULL)) {
        faas_status(r, atoi(faas_query(r, "status", NULL)));
    }
    if (faas_query(r, "binary", NULL)) {
        faas_header_set(r, "Content-Type", "application/octet-stream");
        return faas_write(r, "\0\377\1", 3);
    }
    if (faas_query(r, "fail", NULL)) {
        return -1;
    }
    body = faas_body(r, 0, &n);
    if (faas_query(r, "echo", NULL)) {
        return faas_write(r, body, n);
    }
    faas_header_add(r, "Set-Cookie", "a=1");
    faas_header_add(r, "Set-Cookie", "b=2");
    faas_header_set(r, "Content-Type", "text/plain");
    e = faas_event(r);
    faas_printf(r, "method=%s\npath=%s\ninfo=%s\nquery=%s\nid=%s\nbody=%.*s\n"
                "event=%d %s %u\nevent_id=%s\nrequest=%s\n", faas_method(r),
                faas_path(r), faas_path_info(r), faas_query_string(r),
                faas_param(r, "id") ? faas_param(r, "id") : "", (int) n, body,
                e ? (int) e->type : 0, e ? e->name : "",
                e ? e->attempt : 0, e ? e->id : "", faas_request_id(r));
    return faas_variables(r, each, r);
}

FAAS_FUNCTION(.handler = work, .routes = "/users/(?<id>[^/]+)")
"""

TICK = r"""
#include <faas.h>
#include <time.h>

static int
tick(faas_request_t *r)
{
    struct timespec      ts;
    const faas_event_t  *e = faas_event(r);

    if (e == NULL || e->type != FAAS_EVENT_TIMER) {
        return -1;
    }
    clock_gettime(CLOCK_REALTIME, &ts);
    faas_log(r, "tick %%s %%lld %%llu %%lld", e->name, (long long) e->due_ms,
             (unsigned long long) e->fence,
             (long long) ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
    return 0;
}
FAAS_FUNCTION(.handler = tick, .schedule = "%s")
"""


def host_of(faas, http="", ready=("_calls", "work"),
            **options):
    host = faas(deploy={"work": WORK},
                start=False)
    host.configure(http=INTERNAL + http, **options)
    host.start()
    for name in ready:
        wait_until(lambda: host.function(name).get("state") == "ready", name)
    return host


def submitted(host, path="/fn/work", method="POST", headers=(), **options):
    r = host.get(path, method, headers=dict(ASYNC, **dict(headers)),
                 **options)
    assert r.status == 202, r
    return r.headers["Location"]


def becomes(host, location, state):
    wait_until(lambda: host.get(location).json["state"] == state, state,
               timeout=40)
    return host.get(location).json


def lines(text):
    return dict(line.split("=", 1) for line in text.splitlines()
                if "=" in line)


def events_pid(host):
    for pid, name in host.processes().items():
        if "faas-events" in name:
            return pid
    return None


# -- async calls --------------------------------------------------------------

def test_a_request_is_answered_later(faas):
    host = host_of(faas)
    r = host.get("/fn/users/a%20b?x=%31", "POST", body=b"hello", headers=dict(
        ASYNC, **{"Content-Type": "text/x", "X-Api-Key": "k", "Cookie": "c=d",
                  "X-Request-ID": "abc", "Faas-Due": "7"}))
    assert r.status == 202
    assert r.headers["Preference-Applied"] == "respond-async"
    assert r.headers["Cache-Control"] == "no-store"
    location = r.headers["Location"]
    assert re.fullmatch(r"/fn/_calls/work\.[0-9a-f]{32}", location)
    assert r.json == {"id": location.rsplit("/", 1)[1], "location": location}

    call = becomes(host, location, "done")
    assert call["id"] == r.json["id"] and call["status"] == 200
    assert call["attempts"] == 1 and "error" not in call
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
                        call["created"])
    said = lines(call["body"])
    assert said["method"] == "POST" and said["body"] == "hello"
    assert said["path"] == "/users/a b" and said["id"] == "a b"
    assert said["query"] == "x=%31"
    assert said["event"] == "4  1" and said["event_id"] == call["id"]
    assert said["request"] == "abc"
    assert said["CONTENT_TYPE"] == "text/x"
    assert said["HTTP_X_API_KEY"] == "k" and said["HTTP_COOKIE"] == "c=d"
    assert said["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert said["HTTP_X_FORWARDED_PROTO"] == "http"
    assert "HTTP_PREFER" not in said and "HTTP_FAAS_DUE" not in said
    assert [h[1] for h in call["headers"] if h[0] == "Set-Cookie"] == [
        "a=1", "b=2"]


def test_result_replays_status_headers_and_body(faas):
    host = host_of(faas)
    location = submitted(host, "/fn/work?status=418&binary=1")
    call = becomes(host, location, "done")
    assert base64.b64decode(call["body"]) == b"\0\xff\x01"
    assert call["encoding"] == "base64" and call["status"] == 418
    r = host.get(location + "/result")
    assert (r.status, r.body) == (418, b"\0\xff\x01")
    assert r.headers["Content-Type"] == "application/octet-stream"
    r = host.get(location + "/result", "HEAD")
    assert (r.status, r.body) == (418, b"")

    location = submitted(host, "/fn/work")
    becomes(host, location, "done")
    r = host.get(location + "/result")
    assert r.status == 200 and b"method=POST" in r.body
    assert r.headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_eight_mebibytes_are_taken_and_one_more_is_413(faas):
    host = host_of(faas)
    body = os.urandom(1024) * 8192
    location = submitted(host, "/fn/work?echo=1", body=body)
    wait_until(lambda: host.get(location + "/result").status == 200, "done",
               timeout=40)
    assert host.get(location + "/result").body == body
    r = host.get("/fn/work?echo=1", "POST", headers=ASYNC, body=body + b"x")
    assert r.status == 413
    assert r.headers["Content-Type"] == "application/problem+json"


def test_a_body_over_the_limit_that_announces_no_length_is_413(faas):
    host = host_of(faas, location="fastcgi_request_buffering off;")
    with host.wire() as w:
        w.send("POST /fn/work HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
               "chunked\r\nPrefer: respond-async\r\n\r\n")
        w.send("%x\r\n" % (8 * 1024 * 1024 + 1))
        w.send(b"x" * (8 * 1024 * 1024 + 1) + b"\r\n0\r\n\r\n")
        assert w.response().status == 413


HOP = r"""
#include <faas.h>

static int
hop(faas_request_t *r)
{
    faas_header_set(r, "Connection", "X-Kept, close");
    faas_header_set(r, "Date", "Mon, 01 Jan 1990 00:00:00 GMT");
    faas_header_set(r, "Keep-Alive", "timeout=3");
    faas_header_set(r, "Proxy-Connection", "close");
    faas_header_set(r, "Server", "mine");
    faas_header_set(r, "TE", "trailers");
    faas_header_set(r, "Trailer", "X");
    faas_header_set(r, "Transfer-Encoding", "chunked");
    faas_header_set(r, "Upgrade", "h2c");
    faas_header_set(r, "X-Accel-Redirect", "/faas/");
    faas_header_set(r, "X-Kept", "1");
    faas_header_set(r, "ETag", "\"e\"");
    return faas_printf(r, "body");
}
FAAS_FUNCTION(.handler = hop)
"""


def test_headers_of_a_connection_are_not_kept(faas):
    host = host_of(faas)
    host.deploy("hop", HOP)
    location = submitted(host, "/fn/hop")
    names = {name.lower() for name, _ in
             becomes(host, location, "done")["headers"]}
    assert names <= {"content-type", "content-length", "etag", "x-kept"}
    assert {"etag", "x-kept"} <= names
    r = host.get(location + "/result")
    assert {name.lower() for name in r.headers} == {
        "content-type", "content-length", "etag", "x-kept", "server", "date",
        "connection"}
    assert r.headers["Server"].startswith("nginx") and r.body == b"body"
    assert r.headers["Connection"] == "keep-alive"


def test_states_and_cancellation(faas):
    host = host_of(faas, "faas_function work { max 1; timeout 60s; }")
    gate = host.gates / "open"
    one = submitted(host, "/fn/work?gate=%s" % gate)
    becomes(host, one, "running")
    r = host.get(one)
    assert r.headers["Retry-After"] == "1" and "status" not in r.json
    r = host.get(one + "/result")
    assert r.status == 202 and r.json["state"] == "running"

    two = submitted(host, "/fn/work?gate=%s" % gate)
    r = host.get(two, "DELETE")
    assert (r.status, r.json["state"]) == (200, "cancelled")
    assert host.get(two, "DELETE").status == 200
    r = host.get(two + "/result")
    assert r.status == 410 and r.json["state"] == "cancelled"

    gate.touch()
    becomes(host, one, "done")
    r = host.get(one, "DELETE")
    assert r.status == 409 and r.json["detail"] == "the call is done"


def test_what_is_unknown_or_not_allowed(faas):
    host = host_of(faas)
    r = host.get("/fn/_calls/work.%s" % ("0" * 32))
    assert r.status == 404 and "no such call" in r.json["detail"]
    assert host.get("/fn/_calls/work.%s" % ("0" * 32), "DELETE").status == 404
    location = submitted(host)
    r = host.get(location, "PUT")
    assert (r.status, r.headers["Allow"]) == (405, "GET, HEAD, DELETE")
    r = host.get(location + "/result", "DELETE")
    assert (r.status, r.headers["Allow"]) == (405, "GET, HEAD")
    r = host.get("/fn/work", "POST", headers=dict(
        ASYNC, **{"Faas-Callback": "http://127.0.0.1:1/"}))
    assert r.status == 403 and "faas_callback" in r.json["detail"]
    r = host.get("/fn/work", "POST", headers=dict(
        ASYNC, **{"Idempotency-Key": "k" * 256}))
    assert r.status == 400


def test_idempotency_key(faas):
    host = host_of(faas)
    key = {"Idempotency-Key": "order-1"}
    one = submitted(host, body=b"1", headers=key)
    assert submitted(host, body=b"1", headers=key) == one
    r = host.get("/fn/work", "POST", body=b"2", headers=dict(ASYNC, **key))
    assert r.status == 422 and "another request" in r.json["detail"]
    assert submitted(host, body=b"1") != one
    becomes(host, one, "done")
    assert submitted(host, body=b"1", headers=key) == one


def test_a_call_that_fails_says_why(faas):
    host = host_of(faas,
                   "faas_function work { async attempts=1; }")
    location = submitted(host, "/fn/work?fail=1")
    call = becomes(host, location, "failed")
    assert "status 500" in call["error"] and "status" not in call
    assert host.get(location + "/result").status == 502
    faasctl = [str(harness.BUILD / "faasctl"), "-s", str(host.state), "-o",
               "json"]
    letters = json.loads(subprocess.check_output(
        faasctl + ["dlq", "list", "@work"]))
    assert call["id"] == "work." + letters[0]["id"]
    shown = json.loads(subprocess.check_output(
        faasctl + ["dlq", "show", "@work", letters[0]["id"]]))
    assert shown["call"]["path"] == "/work?fail=1"


def test_faas_async_on_needs_no_preference(faas):
    host = host_of(faas, location="faas_async on;")
    r = host.get("/fn/work")
    assert r.status == 202 and "Preference-Applied" not in r.headers
    assert lines(becomes(host, r.headers["Location"], "done")["body"])[
        "method"] == "GET"


def test_a_callback_is_told_and_signed(faas):
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.headers, self.rfile.read(
                int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = "http://127.0.0.1:%d/hook" % server.server_port
        host = host_of(faas, "faas_callback %s secret=s3;" % url)
        location = submitted(host, headers={"Faas-Callback": url + "/x"})
        wait_until(lambda: got, "a callback")
        headers, body = got[0]
        t, v1 = headers["Faas-Signature"].split(",")
        assert v1 == "v1=" + hmac.new(b"s3", t[2:].encode() + b"." + body,
                                      hashlib.sha256).hexdigest()
        assert json.loads(body) == host.get(location).json
    finally:
        server.shutdown()
        server.server_close()


def test_without_events_it_is_503_and_serves_again_when_they_are_back(
        faas):
    host = host_of(faas)
    pid = events_pid(host)
    os.kill(pid, signal.SIGSTOP)
    held = harness.Background(lambda: host.get("/fn/work", "POST",
                                               headers=ASYNC))
    os.kill(pid, signal.SIGKILL)
    r = held.result()
    assert r.status == 202 or (r.status, r.headers["Retry-After"]) == (
        503, "1"), r
    wait_until(lambda: host.get("/fn/work", "POST", headers=ASYNC).status
               == 202, "events again")
    assert events_pid(host) != pid


def test_no_call_is_lost_while_events_are_killed(faas):
    host = host_of(faas)
    taken = {}
    for i in range(60):
        r = host.get("/fn/work?echo=1", "POST", headers=ASYNC,
                     body=b"%d" % i)
        if r.status == 202:
            taken[r.headers["Location"]] = b"%d" % i
        if i % 12 == 11:
            os.kill(wait_until(lambda: events_pid(host)), signal.SIGKILL)
    assert len(taken) > 30
    for location, body in taken.items():
        wait_until(lambda: host.get(location + "/result").status == 200,
                   "an answer", timeout=90)
        assert host.get(location + "/result").body == body


# -- timers -------------------------------------------------------------------

def ticks(host, name="tick"):
    return [(line[0], int(line[1]), int(line[2]), int(line[3])) for line in
            (text.split("tick ", 1)[1].split() for text in
             host.function_log(name).splitlines() if "tick " in text)]


def test_a_timer_of_the_descriptor_wakes_a_function_at_zero(faas):
    host = faas(deploy={"tick": TICK % "@every 1s"},
                start=False)
    host.configure(http=INTERNAL)
    host.start()
    wait_until(lambda: len(ticks(host)) >= 4, "four ticks", timeout=40)
    seen = ticks(host)
    assert all(due % 1000 == 0 for _, due, _, _ in seen)
    assert len({due for _, due, _, _ in seen}) == len(seen)
    assert re.fullmatch("timer[0-9a-f]{8}", seen[0][0])


def test_nginx_conf_has_the_last_word_on_timers(faas):
    host = faas(deploy={"tick": TICK % "@every 1s"},
                start=False)
    host.configure(http=INTERNAL + 'faas_function tick '
                   '{ schedule "@every 2s" name=mine overlap=allow; }')
    host.start()
    wait_until(lambda: len(ticks(host)) >= 2, "two ticks", timeout=40)
    assert {(name, due % 2000) for name, due, _, _ in ticks(host)} == {
        ("mine", 0)}


def test_timers_go_on_when_events_and_supervisor_are_killed(faas):
    host = faas(deploy={"tick": TICK % "@every 1s overlap=allow"}, start=False)
    host.configure(http=INTERNAL)
    host.start()
    wait_until(lambda: ticks(host), "a tick", timeout=40)
    host.allowed.append("supervisor was killed by signal 9")
    for find in (events_pid, lambda h: h.status()["supervisor"]["pid"]):
        os.kill(find(host), signal.SIGKILL)
        n = len(ticks(host))
        wait_until(lambda: len(ticks(host)) >= n + 3, "ticks", timeout=60)
    claims = {}
    for _, due, fence, _ in ticks(host):
        claims.setdefault(due, set()).add(fence)
    assert all(len(fences) == 1 for fences in claims.values())
    order = sorted(claims)
    assert order == list(range(order[0], order[-1] + 1000, 1000))
