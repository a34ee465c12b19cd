"""Async calls as the events process keeps and makes them: the real
faas-events, asked over baas.sock."""

import hashlib
import hmac
import http.server
import json
import secrets
import sqlite3
import threading
import time

import pytest

from events import (CALL_CANCEL, CALL_GET, CALL_SUBMIT, DEAD_RETRY, ECONFLICT,
                    EDENIED, EINVAL, ENOTFOUND, ETOOLARGE, OK, NOT_THERE,
                    REFUSED, events, number)
from harness import wait_until

QUEUED, RUNNING, DONE, FAILED, CANCELLED = range(1, 6)
WORK = {"work": {}}


def submit(c, function="work", method="POST", path="/work/x?a=b", headers="",
           body=b"", key="", hash=None, callback="", request_id="r1",
           id=None):
    id = id or "%s.%s" % (function, secrets.token_hex(16))
    if hash is None:
        hash = hashlib.sha256(path.encode() + body).digest()
    code, values = c.call(CALL_SUBMIT, id, function, method, path, headers,
                          body, key, hash, callback, request_id)
    return code, values[0].decode() if values else None


def submitted(c, *args, **options):
    code, id = submit(c, *args, **options)
    assert code == OK
    return id


def get(c, id):
    code, values = c.call(CALL_GET, id)
    if code == ENOTFOUND:
        return None
    assert code == OK, "get: %d" % code
    return dict(state=number(values[0]), status=number(values[1]),
                headers=values[2].decode(), body=values[3],
                attempts=number(values[4]), created_ms=number(values[5]),
                updated_ms=number(values[6]), text=values[7].decode())


def becomes(c, id, state):
    wait_until(lambda: get(c, id)["state"] == state, "state %d" % state)
    return get(c, id)


def cancel(c, id):
    code, values = c.call(CALL_CANCEL, id)
    return code, number(values[0]) if values else None


def soon(e):
    """Retries wait for at least a second; these do not."""

    with sqlite3.connect(str(e.directory / "queue" / "queue.db"),
                         timeout=10) as db:
        db.execute("UPDATE messages SET place = 1 WHERE state = 1")
    db.close()


# -- the way of a call --------------------------------------------------------

def test_a_call_is_made_as_it_was_asked_and_its_answer_kept(events):
    e = events(WORK)
    e.nginx.answer = lambda r: (201, {"X-A": "b", "Set-Cookie": "c=d"},
                                b"\0\xffdone")
    c = e.client()
    before = time.time() * 1000
    id = submitted(c, method="PUT", path="/work/a%20b?c=d",
                   headers="X-One: 1\nContent-Type: text/x\nFaas-Due: 7\n"
                           "Connection: close\n", body=b"\0body\n")
    call = becomes(c, id, DONE)
    r, = e.nginx.requests
    assert (r.method, r.path, r.body) == ("PUT", "/work/a%20b?c=d",
                                          b"\0body\n")
    assert (r.headers["X-One"], r.headers["Content-Type"]) == ("1", "text/x")
    assert r.headers["X-Request-ID"] == "r1"
    assert (r.faas_token, r.faas_function, r.faas_event) == (
        "@events:" + e.token, "work", "async")
    assert (r.faas_id, r.faas_attempt, r.faas_due) == (id, "1", "")
    assert (call["status"], call["body"]) == (201, b"\0\xffdone")
    assert "X-A: b\n" in call["headers"]
    assert "Set-Cookie: c=d\n" in call["headers"]
    assert (call["attempts"], call["text"]) == (1, "")
    assert before - 1000 <= call["created_ms"] <= call["updated_ms"]
    wait_until(lambda: c.queues().get("@work", {}).get("leased", 0) == 0,
               "settled")


def test_states_while_it_waits_and_runs(events):
    held = threading.Event()
    e = events({"work": {"max": "1"}})
    e.nginx.answer = lambda r: held.wait(30) and 200
    c = e.client()
    one = submitted(c)
    becomes(c, one, RUNNING)
    two = submitted(c)
    assert get(c, two)["state"] == QUEUED
    assert get(c, two)["attempts"] == 0
    assert get(c, one)["attempts"] == 1
    held.set()
    becomes(c, two, DONE)


@pytest.mark.parametrize("status", [200, 204, 302, 404, 422])
def test_an_answer_is_an_answer_whatever_its_status(events, status):
    e = events(WORK)
    e.nginx.answer = lambda r: status
    c = e.client()
    assert becomes(c, submitted(c), DONE)["status"] == status
    assert len(e.nginx.requests) == 1


def test_eight_mebibytes_each_way_and_not_one_byte_more(events):
    e = events(WORK)
    big = secrets.token_bytes(1024) * 8192
    e.nginx.answer = lambda r: (200, {}, r.body)
    c = e.client()
    id = submitted(c, body=big)
    assert becomes(c, id, DONE)["body"] == big
    assert submit(c, body=big + b"x")[0] == ETOOLARGE
    e.nginx.answer = lambda r: (200, {}, big + b"x")
    call = becomes(c, submitted(c), FAILED)
    assert call["text"] == "the answer is longer than 8 MiB"
    assert len(e.nginx.requests) == 2


def test_what_is_submitted_is_checked(events):
    e = events(WORK)
    c = e.client()
    hex = secrets.token_hex(16)
    for options, code in (
            (dict(function="no.body"), ENOTFOUND),
            (dict(id="other." + hex), EINVAL),
            (dict(id="work." + hex[1:]), EINVAL),
            (dict(id="work." + hex.upper() + "G"), EINVAL),
            (dict(id="work"), EINVAL),
            (dict(method=""), EINVAL),
            (dict(method="PO ST"), EINVAL),
            (dict(method="X" * 40), EINVAL),
            (dict(path="work"), EINVAL),
            (dict(path=""), EINVAL),
            (dict(path="/a b"), EINVAL),
            (dict(path="/a\r\nX: y"), EINVAL),
            (dict(path="/" + "a" * 20000), ETOOLARGE),
            (dict(headers="X: " + "a" * 70000), ETOOLARGE),
            (dict(headers="X: a\0b\n"), EINVAL),
            (dict(hash=b"short"), EINVAL),
            (dict(key="k" * 300), EINVAL),
            (dict(request_id="a b"), EINVAL),
            (dict(callback="http://127.0.0.1/"), EDENIED)):
        assert submit(c, **options)[0] == code, options
    assert c.code(CALL_SUBMIT, "work." + hex, "work") == EINVAL
    assert c.code(CALL_GET) == EINVAL
    assert c.code(CALL_GET, "work." + hex) == ENOTFOUND
    assert c.code(CALL_CANCEL, "work." + hex) == ENOTFOUND
    assert c.queues().get("@work", {}).get("ready", 0) == 0
    assert e.nginx.requests == []


def test_a_function_that_nginx_knows_already_is_waited_for(events):
    e = events(WORK)
    c = e.client()
    id = submitted(c, function="new", path="/new?q=\u00e9")
    assert get(c, id)["state"] == QUEUED
    assert e.nginx.requests == []
    e.configure(new={})
    becomes(c, id, DONE)
    assert e.nginx.requests[0].path == "/new?q=\u00c3\u00a9"


def test_only_calls_and_admins_may_ask(events):
    e = events({"work": {}, "_calls": {}}, start=False)
    e.start()
    c = e.client()
    assert c.hello("work", e.tokens["work"]) == OK
    assert submit(c)[0] == EDENIED
    c = e.client()
    assert c.hello("_calls", e.tokens["_calls"]) == OK
    becomes(c, submitted(c), DONE)
    assert submit(c, function="_calls")[0] == ENOTFOUND


# -- idempotency --------------------------------------------------------------

def test_the_same_key_is_the_same_call(events):
    e = events({"work": {}, "other": {}})
    c = e.client()
    id = submitted(c, body=b"1", key="k")
    assert submitted(c, body=b"1", key="k") == id
    assert submit(c, body=b"2", key="k")[0] == ECONFLICT
    assert submitted(c, body=b"1") != id
    assert submitted(c, function="other", body=b"2", key="k") != id
    becomes(c, id, DONE)
    assert submitted(c, body=b"1", key="k") == id
    wait_until(lambda: len(e.nginx.requests) == 3, "three calls")


def test_the_same_id_is_not_called_twice(events):
    """A submission that is repeated because its answer was lost."""

    e = events(WORK)
    c = e.client()
    id = "work." + secrets.token_hex(16)
    assert submitted(c, id=id) == submitted(c, id=id) == id
    becomes(c, id, DONE)
    assert submitted(c, id=id) == id
    assert len(e.nginx.requests) == 1


# -- failures -----------------------------------------------------------------

def test_a_failure_is_tried_again_and_the_answer_is_the_last(events):
    e = events(WORK)
    answers = [(500, {}, b"first"), (504, {}, b"second")]
    e.nginx.answer = lambda r: answers.pop(0) if answers else (200, {}, b"ok")
    c = e.client()
    id = submitted(c)
    wait_until(lambda: get(c, id)["text"] == "status 500: first", "why")
    assert get(c, id)["state"] == QUEUED
    soon(e)
    e.nginx.wait(2)
    wait_until(lambda: get(c, id)["text"] == "status 504: second", "why")
    soon(e)
    call = becomes(c, id, DONE)
    assert (call["body"], call["attempts"], call["text"]) == (b"ok", 3, "")
    assert [r.faas_attempt for r in e.nginx.requests] == ["1", "2", "3"]
    assert c.dead() == []


def test_after_attempts_it_is_failed_and_in_the_dead_letters(events):
    e = events({"work": {"async": "attempts=2"}})
    e.nginx.answer = lambda r: (500, {}, b"no")
    c = e.client()
    id = submitted(c)
    wait_until(lambda: get(c, id)["attempts"] == 1
               and get(c, id)["state"] == QUEUED, "one failure")
    soon(e)
    call = becomes(c, id, FAILED)
    assert (call["attempts"], call["text"]) == (2, "status 500: no")
    wait_until(lambda: c.dead("@work"), "a letter")
    letter, = c.dead("@work")
    assert (letter["id"], letter["reason"]) == (id.split(".")[1],
                                                "status 500: no")

    # sent again, it goes on from there

    e.nginx.answer = lambda r: (200, {}, b"yes")
    assert c.code(DEAD_RETRY, "@work", letter["id"]) == OK
    call = becomes(c, id, DONE)
    assert (call["body"], call["attempts"], call["text"]) == (b"yes", 3, "")
    assert c.dead("@work") == []


def test_a_refusal_is_no_attempt(events):
    e = events({"work": {"async": "attempts=1"}})
    answers = [REFUSED, NOT_THERE]
    e.nginx.answer = lambda r: answers.pop(0) if answers else 200
    c = e.client()
    call = becomes(c, submitted(c), DONE)
    assert call["attempts"] == 1
    assert [r.faas_attempt for r in e.nginx.requests] == ["1", "1", "1"]


def test_what_is_older_than_age_is_given_up(events):
    e = events({"work": {"async": "age=1s"}})
    e.nginx.answer = lambda r: NOT_THERE
    c = e.client()
    id = submitted(c)
    call = becomes(c, id, FAILED)
    assert "status 404: nginx-faas" in call["text"]
    assert call["attempts"] == 0
    wait_until(lambda: len(c.dead("@work")) == 1, "a letter")


def test_what_waited_in_the_queue_for_longer_than_age_is_not_called(events):
    e = events(WORK, nginx=False)
    id = submitted(e.client())
    e.kill()
    with sqlite3.connect(str(e.directory / "queue" / "queue.db"),
                         timeout=10) as db:
        db.execute("UPDATE messages SET sent = sent - 6 * 3600000 - 1,"
                   " state = 0, place = 0")
        db.execute("UPDATE queues SET ready = 1, delayed = 0, leased = 0")
    db.close()
    e.nginx.start()
    e.start()
    c = e.client()
    call = becomes(c, id, FAILED)
    assert call["text"] == "nobody could run it in time"
    assert call["created_ms"] > 0
    assert e.nginx.requests == []


def test_an_answer_is_forgotten_after_keep(events):
    e = events({"work": {"async": "keep=1s"}})
    c = e.client()
    id = submitted(c, key="k")
    becomes(c, id, DONE)
    wait_until(lambda: get(c, id) is None, "forgotten")
    assert cancel(c, id) == (ENOTFOUND, None)
    assert submitted(c, body=b"other", key="k") != id


# -- cancellation -------------------------------------------------------------

def test_one_that_waits_is_cancelled_and_never_called(events):
    held = threading.Event()
    e = events({"work": {"max": "1"}})
    e.nginx.answer = lambda r: held.wait(30) and 200
    c = e.client()
    one, two = submitted(c), submitted(c, body=b"two")
    becomes(c, one, RUNNING)
    assert cancel(c, two) == (OK, CANCELLED)
    assert cancel(c, two) == (OK, CANCELLED)
    held.set()
    becomes(c, one, DONE)
    wait_until(lambda: sum(c.queues()["@work"][k] for k in
                           ("ready", "leased", "delayed")) == 0, "empty")
    assert [r.body for r in e.nginx.requests] == [b""]
    assert get(c, two)["state"] == CANCELLED


def test_one_that_runs_is_cut_short(events):
    held = threading.Event()
    e = events(WORK)
    e.nginx.answer = lambda r: held.wait(30) and (200, {}, b"late")
    c = e.client()
    id = submitted(c)
    becomes(c, id, RUNNING)
    e.nginx.wait(1)
    assert cancel(c, id) == (OK, CANCELLED)
    wait_until(lambda: c.queues().get("@work", {}).get("leased", 0) == 0,
               "settled")
    held.set()
    assert get(c, id)["state"] == CANCELLED
    assert get(c, id)["body"] == b""


def test_one_that_runs_elsewhere_is_cut_short_at_a_look(events):
    held = threading.Event()
    one = events(WORK)
    one.nginx.answer = lambda r: held.wait(60) and 200
    two = events({}, start=False)
    two.queue = "sqlite:%s" % (one.directory / "queue" / "queue.db")
    two.start()
    c = one.client()
    id = submitted(c)
    becomes(c, id, RUNNING)
    assert cancel(two.client(), id) == (OK, CANCELLED)
    wait_until(lambda: c.queues().get("@work", {}).get("leased", 0) == 0,
               "settled")
    held.set()
    assert get(c, id)["state"] == CANCELLED
    assert len(one.nginx.requests) == 1


def test_one_that_has_ended_is_not_cancelled(events):
    e = events({"work": {"async": "attempts=1"}})
    c = e.client()
    id = submitted(c)
    becomes(c, id, DONE)
    assert cancel(c, id) == (OK, DONE)
    e.nginx.answer = lambda r: 500
    id = submitted(c)
    becomes(c, id, FAILED)
    assert cancel(c, id) == (OK, FAILED)


# -- callbacks ----------------------------------------------------------------

class Receiver:
    def __init__(self):
        self.got = []
        self.answers = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                n = int(self.headers["Content-Length"])
                outer.got.append((self.path, self.headers,
                                  self.rfile.read(n)))
                self.send_response(outer.answers.pop(0) if outer.answers
                                   else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                      Handler)
        self.url = "http://127.0.0.1:%d/hook" % self.server.server_port
        threading.Thread(target=self.server.serve_forever,
                         kwargs=dict(poll_interval=0.05),
                         daemon=True).start()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def test_a_callback_is_told_with_a_signature(events, receiver):
    e = events(WORK, callback=receiver.url + " s3cret")
    e.nginx.answer = lambda r: (200, {"X-A": "b"}, b"done \xc3\xa4")
    c = e.client()
    id = submitted(c, callback=receiver.url + "/a?b=c")
    call = becomes(c, id, DONE)
    wait_until(lambda: receiver.got, "a callback")
    path, headers, body = receiver.got[0]
    assert path == "/hook/a?b=c"
    assert headers["Content-Type"] == "application/json"
    t, v1 = headers["Faas-Signature"].split(",")
    assert t.startswith("t=") and abs(int(t[2:]) - time.time()) < 60
    assert v1 == "v1=" + hmac.new(b"s3cret", t[2:].encode() + b"." + body,
                                  hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert told["id"] == id and told["state"] == "done"
    assert told["status"] == 200 and told["body"] == "done ä"
    assert ["X-A", "b"] in told["headers"]
    assert told["attempts"] == call["attempts"] == 1
    assert "Faas-Token" not in headers and "Faas-Event" not in headers
    wait_until(lambda: sum(c.queues()["@work"][k] for k in
                           ("ready", "leased", "delayed")) == 0, "empty")
    assert len(receiver.got) == 1


def test_a_callback_is_tried_again_and_then_dead(events, receiver):
    receiver.answers = [500, 302, 500]
    e = events(WORK, callback=receiver.url + " k")
    c = e.client()
    id = submitted(c, callback=receiver.url)
    for n in (1, 2, 3):
        wait_until(lambda: len(receiver.got) == n, "try %d" % n)
        if n < 3:
            wait_until(lambda: c.queues()["@work"]["delayed"] == 1, "again")
            soon(e)
    wait_until(lambda: c.dead("@work"), "a letter")
    letter, = c.dead("@work")
    assert letter["id"] == "cb.%s.1" % id.split(".")[1]
    assert letter["reason"] == "callback %s: status 500" % receiver.url
    assert get(c, id)["state"] == DONE


def test_a_failed_call_is_told_too(events, receiver):
    e = events({"work": {"async": "attempts=1"}},
               callback=receiver.url + " k")
    e.nginx.answer = lambda r: (503, {}, b"tired")
    c = e.client()
    submitted(c, callback=receiver.url)
    wait_until(lambda: receiver.got, "a callback")
    told = json.loads(receiver.got[0][2])
    assert (told["state"], told["error"]) == ("failed", "status 503: tired")
    assert "status" not in told and "body" not in told


def test_a_callback_that_is_not_allowed_any_more_is_not_told(events,
                                                             receiver):
    held = threading.Event()
    e = events(WORK, callback=receiver.url + " k")
    e.nginx.answer = lambda r: held.wait(30) and 200
    c = e.client()
    submitted(c, callback=receiver.url)
    e.nginx.wait(1)
    del e.host["callback"]
    e.configure()
    assert e.said() == "ready"
    held.set()
    wait_until(lambda: c.dead("@work"), "a letter")
    assert "not allowed any more" in c.dead("@work")[0]["reason"]
    assert receiver.got == []


# -- the end of processes -----------------------------------------------------

def test_nothing_that_was_taken_in_is_lost_by_kills(events, receiver):
    """Each call is answered, and told, whatever dies when."""

    e = events({"work": {"timeout": "100", "queue_timeout": "100",
                         "max": "16"}}, callback=receiver.url + " k")
    e.nginx.answer = lambda r: time.sleep(0.02) or (200, {}, r.body)
    ids = {}
    for round in range(6):
        c = e.client()
        n = len(e.nginx.requests)
        for i in range(20):
            body = b"%d.%d" % (round, i)
            ids[submitted(c, body=body, callback=receiver.url)] = body
        e.nginx.wait(n + 3 * round)
        e.kill()
        e.start()
    c = e.client()
    for id, body in ids.items():
        wait_until(lambda: get(c, id)["state"] == DONE, "done", timeout=90)
        assert get(c, id)["body"] == body
    wait_until(lambda: {json.loads(b)["id"] for _, _, b in receiver.got}
               == set(ids), "all are told", timeout=90)


def test_the_end_gives_back_what_runs(events):
    held = threading.Event()
    e = events(WORK)
    e.nginx.answer = lambda r: held.wait(30) and 200
    id = submitted(e.client())
    e.nginx.wait(1)
    assert e.end() == 0
    held.set()
    e.start()
    assert becomes(e.client(), id, DONE)["attempts"] == 2


def test_another_engine_forgets_what_runs_in_the_old_one(events):
    held = threading.Event()
    e = events(WORK)
    e.nginx.answer = lambda r: held.wait(30) and 200
    c = e.client()
    id = submitted(c)
    e.nginx.wait(1)
    e.queue = "sqlite:%s" % (e.directory / "queue" / "other.db")
    e.configure()
    assert e.said() == "ready"
    held.set()
    assert get(c, id) is None
    becomes(c, submitted(c), DONE)
