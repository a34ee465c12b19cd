"""faas_queue_send, faas_defer, faas_event and faas_message* from inside a
function; the events process is played here (services.Events)."""

import time

import pytest

from services import (CODES, HEAD, Function, function, number,  # noqa: F401
                      state, zygote)


def code(text):
    return int(text.split()[0])


# -- sends --------------------------------------------------------------------

def test_send_says_hello_then_all_of_the_message(function, state):
    before = time.time() * 1000
    answer, id = function.say("send", queue="orders", data="hello\0",
                              delay=1500).split()
    assert answer == "0"
    (hello, who), (operation, values) = state.events.asked
    assert (hello, who) == ("HELLO", [b"test", b"0123456789abcdef"])
    assert operation == "SEND"
    queue, sent_id, data, delay, sent = values
    assert (queue, sent_id.decode(), data) == (b"orders", id, b"hello\0")
    assert number(delay) == 1500
    assert before - 1 <= number(sent) <= time.time() * 1000 + 1


def test_connection_is_kept_and_ids_are_new_and_rise(function, state):
    ids = [function.say("send", queue="q", data="x").split()[1]
           for _ in range(20)]
    assert len(set(ids)) == 20
    assert [id[:12] for id in ids] == sorted(id[:12] for id in ids)
    assert len(state.events.accepted) == 1
    assert [name for name, _ in state.events.asked].count("HELLO") == 1


def test_own_id_is_used(function, state):
    assert function.say("send", queue="q", data="x", id="order:1.a_b-c") \
        == "0 order:1.a_b-c"
    assert state.events.sent()[0][1] == b"order:1.a_b-c"


@pytest.mark.parametrize("arguments, expected", [
    ({"queue": "Q"}, "INVAL"), ({"queue": "../q"}, "INVAL"),
    ({"queue": ""}, "INVAL"), ({"queue": "@test"}, "INVAL"),
    ({"queue": "q", "id": "a b"}, "INVAL"),
    ({"queue": "q", "id": "a" * 65}, "INVAL"),
    ({"queue": "q", "id": ""}, "INVAL"),
    ({"queue": "q", "delay": -1}, "INVAL"),
    ({"queue": "q", "delay": 367 * 86400000}, "INVAL"),
])
def test_what_cannot_be_sent_is_refused_here(function, state, arguments,
                                             expected):
    assert code(function.say("send", data="x", **arguments)) \
        == CODES[expected]
    assert not state.events.asked


def test_message_may_be_a_mebibyte_and_no_byte_more(function, state):
    assert function.say("send_large", size=1024 * 1024) == "0"
    assert len(state.events.sent()[0][2]) == 1024 * 1024
    assert function.say("send_large", size=1024 * 1024 + 1) \
        == str(CODES["TOOLARGE"])


def test_defer_names_function_and_delay(function, state):
    answer, id = function.say("defer", function="mail", delay=60000,
                              data="now").split()
    assert answer == "0"
    operation, values = state.events.asked[-1]
    assert operation == "DEFER"
    assert values[:3] == [b"mail", id.encode(), b"now"]
    assert number(values[3]) == 60000


@pytest.mark.parametrize("name", ["DENIED", "FULL", "NOTFOUND", "BUSY"])
def test_code_of_the_events_process_is_the_calls_code(function, state, name):
    state.events.answer = lambda operation, values: \
        0 if operation == "HELLO" else CODES[name]
    assert code(function.say("send", queue="q", data="x")) == CODES[name]


def test_hello_that_is_refused_is_denied(function, state):
    state.events.answer = lambda operation, values: \
        CODES["DENIED"] if operation == "HELLO" else 0
    assert code(function.say("send", queue="q", data="x")) == CODES["DENIED"]
    state.events.answer = lambda operation, values: 0
    assert code(function.say("send", queue="q", data="x")) == 0


@pytest.mark.parametrize("times", [1, 3])
def test_send_is_repeated_with_its_id_when_the_connection_is_lost(
        function, state, times):
    left = [times]

    def answer(operation, values):
        if operation == "SEND" and left[0]:
            left[0] -= 1
            return "close"
        return 0

    state.events.answer = answer
    result, id = function.say("send", queue="q", data="x").split()
    assert result == "0"
    sent = state.events.sent()
    assert len(sent) == times + 1
    assert all(values == sent[0] for values in sent)
    assert sent[0][1].decode() == id


def test_restart_between_two_sends_is_not_noticed(function, state):
    assert code(function.say("send", queue="q", data="1")) == 0
    state.events.drop()
    assert code(function.say("send", queue="q", data="2")) == 0
    assert [values[2] for values in state.events.sent()] == [b"1", b"2"]


def test_no_answer_by_the_deadline_is_timed_out_and_not_mixed_up(zygote,
                                                                 state):
    function = Function(zygote, state, limits={"timeout_ms": 300})
    state.events.answer = lambda operation, values: \
        0 if operation == "HELLO" else None
    result, id = function.say("send", queue="q", data="x").split()
    assert (int(result), len(id)) == (CODES["TIMEDOUT"], 32)
    # an answer that comes late is nobody's; the next one has its own
    head = HEAD.pack(0x57414146, 0, 2, 2, CODES["FULL"])
    state.events.answer = lambda operation, values: head + HEAD.pack(
        0x57414146, 0, 3, 2, 0)
    assert code(function.say("send", queue="q", data="y")) == 0
    function.close()


@pytest.mark.parametrize("garbage", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    HEAD.pack(0x57414146, 0xffffffff, 2, 2, 0),
    HEAD.pack(0x57414147, 0, 2, 2, 0),
    HEAD.pack(0x57414146, 0, 2, 99, 0),
])
def test_garbage_ends_the_connection_and_is_unavailable(function, state,
                                                        garbage):
    state.events.answer = lambda operation, values: \
        0 if operation == "HELLO" else garbage
    assert code(function.say("send", queue="q", data="x")) \
        == CODES["UNAVAILABLE"]
    assert len(state.events.accepted) == 1


def test_socket_that_is_not_there_is_unavailable_within_a_second(function,
                                                                 state):
    state.events.close()
    for _ in range(3):
        assert code(function.say("send", queue="q", data="x")) \
            == CODES["UNAVAILABLE"]
    state.events = type(state.events)(state.path / "baas.sock")
    assert code(function.say("send", queue="q", data="x")) == 0


# -- events -------------------------------------------------------------------

def event(kind, **values):
    return {"HTTP_FAAS_EVENT": kind,
            **{"HTTP_FAAS_" + name: str(value)
               for name, value in values.items()}}


def test_ordinary_request_is_no_event(function):
    assert function.say("event") == "none"
    assert function.say("event", params=event("nonsense")) == "none"


@pytest.mark.parametrize("params, expected", [
    (event("queue", NAME="orders", ID="a", ATTEMPT=2, SENT=5),
     "1 'orders' 'a' 2 1 0 0"),
    (event("timer", NAME="nightly", ID="n@1", ATTEMPT=1, DUE=1700000000000,
           FENCE=2 ** 64 - 1),
     "2 'nightly' 'n@1' 1 0 1700000000000 18446744073709551615"),
    (event("defer", ID="d", ATTEMPT=1), "3 '' 'd' 1 0 0 0"),
    (event("async", ID="f.1", ATTEMPT=3), "4 '' 'f.1' 3 0 0 0"),
    (event("queue", NAME="q", ID="a", ATTEMPT="x", MESSAGES=7),
     "1 'q' 'a' 0 1 0 0"),
])
def test_event_is_what_the_headers_say(function, params, expected):
    assert function.say("event", params=params) == expected


def test_one_message_is_the_body(function):
    response = function.say("messages", b"pay\0load", params=event(
        "queue", NAME="q", ID="m1", ATTEMPT=3, SENT=1700000000001))
    assert response == "m1 3 1700000000001 8 0 pay\0load"


BATCH = {**event("queue", NAME="q"),
         "CONTENT_TYPE": "application/vnd.faas.batch"}


def batch(*messages):
    return b"".join(b"%s %d %d %d\n%s\n" % (id, attempt, sent, len(data), data)
                    for id, attempt, sent, data in messages)


def test_batch_is_taken_apart(function):
    body = batch((b"a", 1, 10, b"one"), (b"b", 2, 20, b""),
                 (b"c", 1, 30, b"three\n\0x"))
    assert function.say("event", params={**BATCH, "HTTP_FAAS_MESSAGES": "3"}) \
        == "1 'q' '' 0 3 0 0"
    text = function.say("messages", body,
                        params={**BATCH, "HTTP_FAAS_MESSAGES": "3"})
    assert text == "a 1 10 3 0 one\nb 2 20 0 0 \nc 1 30 8 0 three\n\0x"


GOOD = batch((b"a", 1, 10, b"one"))


@pytest.mark.parametrize("body, count", [
    (GOOD[:-1], 1), (GOOD + b"x", 1), (GOOD, 2), (GOOD + GOOD, 1),
    (b"a 1 10 4\none\n", 1), (b"a 1 10 2\none\n", 1), (b"a 1 10 -1\n\n", 1),
    (b"a 1 10 99999999999999999999\none\n", 1), (b" 1 10 3\none\n", 1),
    (b"a  10 3\none\n", 1), (b"a 1 10 3 \none\n", 1), (b"\n", 1),
    (b"a" * 65 + b" 1 10 3\none\n", 1), (b"a 4294967296 10 3\none\n", 1),
    (GOOD, 101), (GOOD, 0),
] + [(GOOD[:n], 1) for n in range(1, len(GOOD))])
def test_malformed_batch_gives_no_message(function, body, count):
    assert function.say("messages", body, params={
        **BATCH, "HTTP_FAAS_MESSAGES": str(count)}) == ""


def fates(function, params=None, body=None, count=3, **arguments):
    body = body or batch(*[(b"m%d" % i, 1, 1, b"x") for i in range(count)])
    response = function.ask("messages", body, params=params or {
        **BATCH, "HTTP_FAAS_MESSAGES": str(count)}, **arguments)
    return response.status, response["Faas-Done"], response["Faas-Retry"]


def test_fates_are_told_in_headers(function):
    assert fates(function) == (200, None, None)
    assert fates(function, m0="done", m1="-1", m2="5000") \
        == (200, "0", "1, 2;5000")
    assert fates(function, m1="done", m2="done", status=503) \
        == (503, "1, 2", None)
    assert fates(function, m1="0", m0="0") == (200, None, "0;0, 1;0")


def test_fates_outlive_a_handler_that_fails(function):
    assert fates(function, m0="done", m1="7", fail="1") == (500, "0", "1;7")


def test_fate_of_what_is_no_message_is_refused(function):
    assert "said %d" % CODES["INVAL"] in function.say(
        "messages", batch((b"a", 1, 1, b"x")), m1="done",
        params={**BATCH, "HTTP_FAAS_MESSAGES": "1"})
    for delay in (-2, 367 * 86400000):
        assert "said %d" % CODES["INVAL"] in function.say(
            "messages", b"x", params=event("queue", ID="a"), m0=delay)
    for kind in ("timer", "async", "defer"):
        assert "said %d" % CODES["INVAL"] in function.say(
            "messages", b"x", params=event(kind, ID="a"), m0="done")
    assert "said %d" % CODES["INVAL"] in function.say("messages", m0="done")


def test_longest_list_of_fates_fits(function):
    body = batch(*[(b"%d" % i, 1, 1, b"") for i in range(100)])
    status, done, retry = fates(function, body=body, m0="done", params={
        **BATCH, "HTTP_FAAS_MESSAGES": "100"}, m1=str(366 * 86400000))
    assert (status, done, retry) == (200, "0", "1;31622400000")
