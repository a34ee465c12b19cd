"""faas_call from inside a function; nginx is played here (services.Nginx),
byte for byte."""

import os
import time

import pytest

from services import CODES, Function, function, state, zygote  # noqa: F401


def code(text):
    return int(text.split()[0])


def test_request_is_exactly_this(function, state):
    answer = function.say("call", function="other", path="/a/b?c=d",
                          headers="X-One: 1\nContent-Type: text/x\n",
                          data="body", header="content-length",
                          params={"HTTP_TRACEPARENT": "00-ab-cd-01",
                                  "HTTP_TRACESTATE": "a=b"})
    assert answer == "0 200 2 0 '2'\nok"
    line, headers, body = state.nginx.requests[0]
    assert line == "POST /other/a/b?c=d HTTP/1.1"
    timeout = float(headers.pop("faas-timeout"))
    assert 15 < timeout <= 20
    assert headers == {
        "host": "faas", "x-one": "1", "content-type": "text/x",
        "content-length": "4", "faas-token": "test:0123456789abcdef",
        "faas-function": "other", "faas-depth": "1",
        "x-request-id": "0123456789abcdef0123456789abcdef",
        "traceparent": "00-ab-cd-01", "tracestate": "a=b"}
    assert body == b"body"


def test_without_a_body_it_is_a_get(function, state):
    assert function.say("call", function="other").startswith("0 200")
    line, headers, _ = state.nginx.requests[0]
    assert line == "GET /other HTTP/1.1"
    assert "content-length" not in headers and "traceparent" not in headers


def test_ids_that_the_function_gives_are_not_doubled(function, state):
    function.say("call", function="other",
                 headers="x-request-id: mine\nTraceparent: theirs\n")
    _, headers, _ = state.nginx.requests[0]
    assert headers["x-request-id"] == "mine"
    assert headers["traceparent"] == "theirs"


def test_one_connection_is_kept(function, state):
    for _ in range(5):
        assert function.say("call", function="other").startswith("0 200")
    assert len(state.nginx.accepted) == 1


@pytest.mark.parametrize("arguments", [
    {"function": "Other"}, {"function": "a/b"}, {"function": ".."},
    {"function": "other", "path": "x"},
    {"function": "other", "path": "/a b"},
    {"function": "other", "path": "/a\r\nX: y"},
    {"function": "other", "path": "/a#b"},
    {"function": "other", "method": "GET /x HTTP/1.1\r\nX:"},
    {"function": "other", "method": ""},
    {"function": "other", "headers": "X-One: 1"},
    {"function": "other", "headers": "X-One 1\n"},
    {"function": "other", "headers": "X One: 1\n"},
    {"function": "other", "headers": ": 1\n"},
    {"function": "other", "headers": "X: 1\r\nY: 2\n"},
    {"function": "other", "headers": "\n"},
    {"function": "other", "headers": "Host: x\n"},
    {"function": "other", "headers": "content-length: 5\n"},
    {"function": "other", "headers": "Transfer-Encoding: chunked\n"},
    {"function": "other", "headers": "Connection: close\n"},
    {"function": "other", "headers": "faas-token: x\n"},
    {"function": "other", "headers": "Faas-Depth: 0\n"},
    {"function": "other", "timeout": -1},
])
def test_what_would_be_another_request_is_refused(function, state, arguments):
    assert function.say("call", **arguments) == str(CODES["INVAL"])
    assert not state.nginx.accepted


def test_head_that_is_too_large_is_refused(function, state):
    assert function.say("call", function="other",
                        path="/" + "a" * 65536) == str(CODES["TOOLARGE"])


@pytest.mark.parametrize("depth, expected", [
    ("0", "1"), ("1", "2"), ("15", "16"), ("16", None), ("99999999999", None),
    ("x", None), ("-1", None)])
def test_depth_rises_and_ends_at_16(function, state, depth, expected):
    answer = function.say("call", function="other",
                          params={"HTTP_FAAS_DEPTH": depth})
    if expected is None:
        assert answer == str(CODES["LOOP"])
        assert not state.nginx.requests
    else:
        assert state.nginx.requests[0][1]["faas-depth"] == expected


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("answer, expected", [
    (HEAD + b"Content-Length: 0\r\n\r\n", "0 200 0 0 'none'"),
    (HEAD + b"content-length:5\r\nX:  y \r\n\r\nhello",
     "0 200 5 0 'y'\nhello"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
     "0 404 2 0 'none'\nno"),
    (b"HTTP/1.1 204 No Content\r\nX: \r\n\r\n", "0 204 0 0 ''"),
    (b"HTTP/1.1 304\r\n\r\n", "0 304 0 0 'none'"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n"
     + HEAD + b"Content-Length: 1\r\nX: 2\r\n\r\nz", "0 200 1 0 '2'\nz"),
    (CHUNKED + b"5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n",
     "0 200 15 0 'none'\nhello0123456789"),
    (CHUNKED + b"0\r\n\r\n", "0 200 0 0 'none'"),
    (CHUNKED + b"1\r\nx\r\n0\r\nTrailer: y\r\nOther: z\r\n\r\n",
     "0 200 1 0 'none'\nx"),
])
@pytest.mark.parametrize("piecemeal", [False, True])
def test_answer_is_read_however_it_comes(function, state, answer, expected,
                                         piecemeal):
    state.nginx.answer = lambda *request: (
        [answer[i:i + 1] for i in range(len(answer))] if piecemeal
        else answer)
    for _ in range(2):
        assert function.say("call", function="other", header="x") == expected
    assert len(state.nginx.accepted) == 1


def test_head_has_a_length_and_no_body(function, state):
    state.nginx.answer = lambda *request: HEAD + b"Content-Length: 99\r\n\r\n"
    for _ in range(2):
        assert function.say("call", function="other", method="HEAD") \
            == "0 200 0 0 'none'"
    assert len(state.nginx.accepted) == 1


@pytest.mark.parametrize("answer", [
    b"nonsense\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 700 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    HEAD + b"\r\n",
    HEAD + b"Content-Length: -1\r\n\r\n",
    HEAD + b"Content-Length: 0x5\r\n\r\n",
    HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    HEAD + b"No colon\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"A b: c\r\nContent-Length: 0\r\n\r\n",
    HEAD + b" folded: c\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"X: a\nY: b\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"X: " + b"a" * 70000 + b"\r\n\r\n",
    CHUNKED + b"\r\n", CHUNKED + b"g\r\n", CHUNKED + b"5;x\r\nhello\r\n",
    CHUNKED + b"5\nhello\r\n", CHUNKED + b"5\r\nhelloX\r\n",
    CHUNKED + b"5\r\nhello\rX", CHUNKED + b"1234567890abcdef1\r\n",
    CHUNKED + b"0\r\n" + b"T: x\r\n" * 20000,
], ids=lambda answer: repr(answer[:60]))
def test_doubtful_answer_is_none(function, state, answer):
    state.nginx.answer = lambda *request: answer
    assert function.say("call", function="other") \
        == str(CODES["UNAVAILABLE"])
    state.nginx.answer = lambda *request: \
        HEAD + b"Content-Length: 2\r\n\r\nok"
    assert function.say("call", function="other").endswith("ok")


def test_what_follows_an_answer_is_not_the_next_one(function, state):
    state.nginx.answer = lambda *request: \
        HEAD + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 FORGED\r\n\r\n"
    for _ in range(2):
        assert function.say("call", function="other").endswith("ok")
    assert len(state.nginx.accepted) == 2


def test_close_is_honoured(function, state):
    state.nginx.answer = lambda *request: \
        HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nok"
    for _ in range(2):
        assert function.say("call", function="other").endswith("ok")
    assert len(state.nginx.accepted) == 2


def test_answer_too_large_is_refused(function, state):
    state.nginx.answer = lambda *request: \
        HEAD + b"Content-Length: 67108865\r\n\r\n"
    assert function.say("call", function="other") == str(CODES["TOOLARGE"])


def test_large_bodies_go_both_ways(function, state):
    echo = os.urandom(3 * 1024 * 1024)

    def answer(line, headers, body):
        parts = [CHUNKED]
        for at in range(0, len(echo), 100000):
            part = echo[at:at + 100000]
            parts.append(b"%x\r\n%s\r\n" % (len(part), part))
        return parts + [b"0\r\n\r\n"]

    state.nginx.answer = answer
    response = function.ask("call", function="other")
    assert response.body.partition(b"\n")[2] == echo


def test_answer_before_the_body_is_sent_is_taken(function, state):
    class Impatient(type(state.nginx)):
        def serve(self, connection):
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close"
                               b"\r\nContent-Length: 2\r\n\r\nno")

    state.nginx.close()
    state.nginx = Impatient(state.path / "internal.sock")
    assert function.say("call", function="other", data="x" * 30000) \
        == "0 413 2 0 'none'\nno"


# -- lost and late ------------------------------------------------------------

def test_nobody_there_is_unavailable(function, state):
    state.nginx.close()
    assert function.say("call", function="other") \
        == str(CODES["UNAVAILABLE"])
    state.nginx = type(state.nginx)(state.path / "internal.sock")
    assert function.say("call", function="other").endswith("ok")


def test_kept_connection_that_was_closed_is_not_noticed(function, state):
    for body in (None, "body", "body"):
        assert function.say("call", function="other", data=body) \
            .endswith("ok")
        state.nginx.drop()
    assert len(state.nginx.requests) == 3


def test_get_whose_kept_connection_ends_is_sent_once_more(function, state):
    ok = HEAD + b"Content-Length: 2\r\n\r\nok"
    answers = [ok, "close", ok]
    state.nginx.answer = lambda *request: answers.pop(0)
    for _ in range(2):
        assert function.say("call", function="other").endswith("ok")
    assert len(state.nginx.requests) == 3


def test_post_that_was_read_is_never_sent_again(function, state):
    ok = HEAD + b"Content-Length: 2\r\n\r\nok"
    answers = [ok, "close", ok]
    state.nginx.answer = lambda *request: answers.pop(0)
    assert function.say("call", function="other", data="1").endswith("ok")
    assert function.say("call", function="other", data="2") \
        == str(CODES["UNAVAILABLE"])
    assert [body for _, _, body in state.nginx.requests] == [b"1", b"2"]


@pytest.mark.parametrize("part", [1, 20, 39])
def test_get_is_not_sent_again_when_anything_was_received(function, state,
                                                          part):
    ok = HEAD + b"Content-Length: 2\r\n\r\nok"
    def answer(*request):
        if len(state.nginx.requests) == 2:
            state.nginx.accepted[-1].sendall(ok[:part])
            return "close"
        return ok

    state.nginx.answer = answer
    assert function.say("call", function="other").endswith("ok")
    assert function.say("call", function="other") \
        == str(CODES["UNAVAILABLE"])
    assert len(state.nginx.requests) == 2


def test_fresh_connection_that_ends_is_not_tried_again(function, state):
    state.nginx.answer = lambda *request: "close"
    assert function.say("call", function="other") \
        == str(CODES["UNAVAILABLE"])
    assert len(state.nginx.requests) == 1


def test_deadline_ends_the_call_and_is_handed_down(zygote, state):
    function = Function(zygote, state, limits={"timeout_ms": 500})
    state.nginx.answer = lambda *request: None
    started = time.monotonic()
    assert function.say("call", function="other") == str(CODES["TIMEDOUT"])
    assert time.monotonic() - started < 15
    assert float(state.nginx.requests[0][1]["faas-timeout"]) <= 0.5
    function.close()


def test_own_timeout_of_a_call_is_shorter(function, state):
    state.nginx.answer = lambda *request: None
    assert function.say("call", function="other", timeout=100) \
        == str(CODES["TIMEDOUT"])
    assert float(state.nginx.requests[0][1]["faas-timeout"]) <= 0.1
    state.nginx.answer = lambda *request: \
        HEAD + b"Content-Length: 2\r\n\r\nok"
    # the late answer to that one would have come on a closed connection
    assert function.say("call", function="other").endswith("ok")
    assert len(state.nginx.accepted) == 2
