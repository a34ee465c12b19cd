"""Queues to calls: what a function is called with, and what becomes of the
messages.  The real faas-events, with queues in SQLite."""

import random
import threading
import time

from events import (EINVAL, ENOTFOUND, ETOOLARGE, NOT_THERE, OK, REFUSED,
                    DEAD_GET, DEAD_PURGE, DEAD_RETRY, DEFER, SEND, events,
                    number)
from harness import wait_until

QUICK = "orders attempts=3 retry=1ms..2ms"


def empty(client, queue):
    """Nothing is left of a queue, or of what was under way.  1000 calls of one
    message take half a minute on a machine that does a lot besides."""

    wait_until(lambda: all(client.queues().get(queue, {}).get(key, 0) == 0
                           for key in ("ready", "delayed", "leased")),
               "an empty queue: %s" % queue, timeout=120)


def test_a_message_is_a_call_with_its_headers(events):
    e = events({"work": {"consume": ["orders"]}})
    c = e.client()
    before = time.time() * 1000
    id = c.send("orders", b"a\0b")
    r = e.nginx.wait(1)[0]
    assert (r.method, r.path, r.body) == ("POST", "/work", b"a\0b")
    assert r.faas_token == "@events:" + e.token
    assert (r.faas_function, r.faas_event, r.faas_name, r.faas_id) == (
        "work", "queue", "orders", id)
    assert (r.faas_attempt, r.faas_messages) == ("1", "1")
    assert before - 1000 <= int(r.faas_sent) <= time.time() * 1000 + 1000
    assert r.headers["Content-Type"] == "application/octet-stream"
    for absent in ("faas_due", "faas_fence", "faas_depth"):
        assert getattr(r, absent) == ""
    empty(c, "orders")
    assert len(e.nginx.requests) == 1


def test_an_empty_message_and_one_of_a_mebibyte(events):
    e = events({"work": {"consume": ["orders"]}})
    c = e.client()
    big = bytes(range(256)) * 4096
    c.send("orders", b"")
    c.send("orders", big)
    got = sorted(e.nginx.wait(2), key=lambda r: len(r.body))
    assert [r.body for r in got] == [b"", big]
    assert c.code(SEND, "orders", "x", big + b"x", 0, 0) == ETOOLARGE
    empty(c, "orders")


def test_a_batch_has_its_form_also_with_one_message(events):
    e = events({"work": {"consume": ["orders batch=10 parallel=1"]}})
    held = threading.Event()
    e.nginx.answer = lambda r: held.wait(20) and 200
    c = e.client()
    first = c.send("orders", b"one\n2 1 2 3\n")
    assert e.nginx.wait(1)[0].messages()[0][0] == first
    ids = [c.send("orders", b"%d" % i) for i in range(7)]
    held.set()
    one, more = e.nginx.wait(2)[:2]
    assert one.messages()[0][3] == b"one\n2 1 2 3\n"
    assert (one.faas_messages, one.faas_id, one.faas_attempt) == ("1", "", "")
    assert [m[0] for m in more.messages()] == ids
    assert [m[3] for m in more.messages()] == [b"%d" % i for i in range(7)]
    assert more.faas_messages == "7"
    empty(c, "orders")


def test_wait_lets_a_batch_fill(events):
    e = events({"work": {"consume": ["orders batch=4 wait=1h",
                                     "soon batch=4 wait=300ms"]}})
    c = e.client()
    for i in range(6):
        c.send("orders", b"%d" % i)
    assert [m[3] for m in e.nginx.wait(1)[0].messages()] == [
        b"0", b"1", b"2", b"3"]
    began = time.monotonic()
    c.send("soon", b"x")
    r = e.nginx.wait(2)[1]
    assert (r.faas_name, r.faas_messages) == ("soon", "1")
    assert r.at - began >= 0.29
    assert c.queues()["orders"]["ready"] == 2
    c.send("orders", b"6")
    c.send("orders", b"7")
    assert [m[3] for m in e.nginx.wait(3)[2].messages()] == [
        b"4", b"5", b"6", b"7"]


def test_a_failure_is_tried_again_and_then_dead(events):
    e = events({"work": {"consume": [QUICK]}})
    e.nginx.answer = lambda r: (500, {}, b"no such order\nmore")
    c = e.client()
    id = c.send("orders", b"x")
    wait_until(lambda: c.dead("orders"))
    assert [r.faas_attempt for r in e.nginx.requests] == ["1", "2", "3"]
    dead, = c.dead()
    assert (dead["queue"], dead["id"], dead["attempts"]) == ("orders", id, 3)
    assert dead["reason"] == "status 500: no such order"
    assert dead["size"] == 1
    code, values = c.call(DEAD_GET, "orders", id)
    assert code == OK
    assert (number(values[0]), values[4]) == (3, b"x")
    assert 'message "%s" is dead after 3 attempts' % id in e.text()

    # what was dead is tried again from the start, or thrown away
    e.nginx.answer = lambda r: 200
    code, values = c.call(DEAD_RETRY, "orders", "")
    assert (code, number(values[0])) == (OK, 1)
    assert e.nginx.wait(4)[3].faas_attempt == "1"
    empty(c, "orders")
    assert c.dead() == []
    assert c.code(DEAD_RETRY, "orders", id) == ENOTFOUND
    assert c.code(DEAD_GET, "orders", id) == ENOTFOUND


def test_dead_letters_are_purged(events):
    e = events({"work": {"consume": [QUICK]}})
    e.nginx.answer = lambda r: 500
    c = e.client()
    ids = [c.send("orders") for _ in range(5)]
    wait_until(lambda: len(c.dead("orders")) == 5)
    page = c.dead("orders", limit=2)
    rest = c.dead("orders", after=page[1]["id"])
    assert sorted(d["id"] for d in page + rest) == sorted(ids)
    assert number(c.call(DEAD_PURGE, "orders", ids[0])[1][0]) == 1
    assert number(c.call(DEAD_PURGE, "orders", "")[1][0]) == 4
    assert c.dead() == []


def test_statuses_below_200_and_above_300_are_failures_of_a_queue(events):
    e = events({"work": {"consume": ["orders attempts=1"]}})
    c = e.client()
    for status in (300, 302, 400, 404, 409, 500, 503, 504):
        e.nginx.answer = lambda r, status=status: status
        id = c.send("orders")
        dead = wait_until(lambda id=id: [d for d in c.dead("orders")
                                         if d["id"] == id])
        assert dead[0]["reason"] == "status %d" % status
    for status in (200, 201, 204):
        e.nginx.answer = lambda r, status=status: status
        c.send("orders")
    empty(c, "orders")
    assert len(c.dead("orders")) == 8


def test_messages_of_a_batch_are_retried_one_by_one(events):
    e = events({"work": {"consume": [
        "orders batch=4 wait=1h attempts=5 retry=1ms..2ms"]}})

    def answer(r):
        if len(e.nginx.requests) == 1:
            return 200, {"Faas-Retry": "1;1, 3;0"}
        return 500, {"Faas-Done": "0, 1"}

    e.nginx.answer = answer
    c = e.client()
    for i in range(6):
        c.send("orders", b"%d" % i)
    first, second = e.nginx.wait(2)[:2]
    assert [m[3] for m in first.messages()] == [b"0", b"1", b"2", b"3"]
    again = {m[3]: m[1] for m in second.messages()}
    assert again == {b"1": 2, b"3": 2, b"4": 1, b"5": 1}
    # two of four were done, though the status was a 500
    wait_until(lambda: c.queues()["orders"]["ready"] == 2
               and c.queues()["orders"]["leased"] == 0)


def test_a_refusal_of_the_platform_is_no_attempt(events):
    e = events({"work": {"consume": ["orders attempts=1"]}})
    refusals = [REFUSED, NOT_THERE,
                (429, REFUSED[1]),
                (503, {"Proxy-Status":
                       "nginx-faas; error=destination_unavailable"}),
                (503, {"Proxy-Status":
                       'nginx-faas; error=connection_timeout; '
                       'details="waited"'})]

    def answer(r):
        n = len(e.nginx.requests)
        return refusals[n - 1] if n <= len(refusals) else 200

    e.nginx.answer = answer
    c = e.client()
    c.send("orders", b"x")
    got = e.nginx.wait(6)
    assert [r.faas_attempt for r in got] == ["1"] * 6
    # it was asked less and less often
    pauses = [b.at - a.at for a, b in zip(got, got[1:])]
    assert all(p >= 0.099 for p in pauses), pauses
    empty(c, "orders")


def test_what_is_refused_after_a_while_is_tried_again(events):
    """Who waits for the end of its back-off is looked at before, too."""

    names = ["f%d" % i for i in range(60)]
    e = events({name: {"consume": [name]} for name in names})
    pauses, refused = random.Random(1), set()

    def answer(r):
        if r.faas_function in refused:
            return 200
        refused.add(r.faas_function)
        time.sleep(pauses.uniform(0.5, 2.5))
        return REFUSED

    e.nginx.answer = answer
    c = e.client()
    for name in names:
        c.send(name, b"x")
    e.nginx.wait(2 * len(names))
    for name in names:
        empty(c, name)
    assert c.dead() == []


def test_a_function_that_cannot_be_called_is_asked_by_one_message(events):
    """1000 messages do not make 1000 calls of a function that is away."""

    e = events({"work": {"consume": ["orders"], "max": 50}})
    e.nginx.answer = lambda r: NOT_THERE
    c = e.client()
    asked = [c.ask(SEND, "orders", "m%d" % i, b"", 0, 0)
             for i in range(1000)]
    assert all(c.answer(serial)[0] == OK for serial in asked)

    def pauses():
        seen = list(e.nginx.requests)
        return len([1 for a, b in zip(seen, seen[1:]) if b.at - a.at > 0.05])

    # behind those that were begun before the first refusal
    wait_until(lambda: pauses() >= 4, "pauses")
    assert len(e.nginx.requests) < 200
    # it is there again
    e.nginx.answer = lambda r: 200
    empty(c, "orders")
    done = [r.faas_id for r in e.nginx.requests[-1000:]]
    assert sorted(done) == sorted("m%d" % i for i in range(1000))


def test_a_delayed_message_comes_when_it_is_due(events):
    e = events({"work": {"consume": ["orders"]}})
    c = e.client()
    at = time.monotonic()
    c.send("orders", b"later", delay_ms=700)
    c.send("orders", b"now")
    now, later = e.nginx.wait(2)[:2]
    assert (now.body, later.body) == (b"now", b"later")
    assert later.at - at >= 0.69


def test_the_same_id_is_sent_once(events):
    e = events({"work": {"consume": ["orders"]}})
    c = e.client()
    c.send("orders", b"first", id="a.b:c-d_1")
    e.nginx.wait(1)
    empty(c, "orders")
    assert c.code(SEND, "orders", "a.b:c-d_1", b"second", 0, 0) == OK
    c.send("orders", b"last")
    assert [r.body for r in e.nginx.wait(2)] == [b"first", b"last"]
    # twice in one commit
    asked = [c.ask(SEND, "orders", "twice", b"%d" % i, 0, 0)
             for i in range(2)]
    assert [c.answer(s)[0] for s in asked] == [OK, OK]
    c.send("orders", b"end")
    assert [r.body for r in e.nginx.wait(4)][2:] == [b"0", b"end"]


def test_names_ids_and_delays_are_checked(events):
    e = events({"work": {}})
    c = e.client()
    for queue in ("", "@work", "Orders", "a/b", "x" * 64, "a b", "_calls"):
        assert c.code(SEND, queue, "id", b"", 0, 0) == EINVAL, queue
    for id in ("", "a b", "x" * 65, "a\n", "a/b", "\xe4"):
        assert c.code(SEND, "orders", id, b"", 0, 0) == EINVAL, id
    for delay in (-1, 400 * 24 * 3600 * 1000, 2 ** 62):
        assert c.code(SEND, "orders", "id", b"", delay, 0) == EINVAL, delay
    assert c.code(SEND, "orders", "id", b"") == EINVAL          # fields lack
    assert c.code(SEND, "orders", "id", b"", 0, 0, 0) == EINVAL     # one more
    assert c.code(DEFER, "nobody", "id", b"", 0, 0) == ENOTFOUND
    assert c.code(DEFER, "@work", "id", b"", 0, 0) == EINVAL
    assert c.queues() == {}


def test_parallel_bounds_calls_and_so_does_max(events):
    e = events({"one": {"consume": ["a parallel=3"], "max": 50},
                "two": {"consume": ["b"], "max": 5}})
    held = threading.Event()
    e.nginx.answer = lambda r: held.wait(60) and 200
    c = e.client()
    for i in range(60):
        c.send("a")
        c.send("b")
    wait_until(lambda: (e.nginx.running["one"], e.nginx.running["two"])
               == (3, 5))
    held.set()
    empty(c, "a")
    empty(c, "b")
    assert (e.nginx.most["one"], e.nginx.most["two"]) == (3, 5)


def test_a_long_queue_does_not_starve_a_short_one(events):
    """20 000 messages before 10: those wait for a few looks, not for all."""

    e = events({"busy": {"consume": ["many"], "max": 4},
                "calm": {"consume": ["few"], "max": 4}}, nginx=False)
    c = e.client()
    for first in range(0, 20000, 1000):
        asked = [c.ask(SEND, "many", "m%d" % i, b"", 0, 0)
                 for i in range(first, first + 1000)]
        assert all(c.answer(serial)[0] == OK for serial in asked)
    for i in range(10):
        c.send("few")
    e.nginx.start()
    wait_until(lambda: len(e.nginx.of("calm")) == 10)
    with e.nginx.lock:
        order = [r.faas_function for r in e.nginx.requests]
    last = max(i for i, name in enumerate(order) if name == "calm")
    first = min(i for i, name in enumerate(order) if name == "calm")
    assert last - first < 200, (first, last)
    assert e.client().queues()["many"]["ready"] > 10000


def test_long_queues_share_the_calls_that_there_are(events):
    """Three functions that could each take all calls get as many each."""

    names = ("a", "b", "c")
    e = events()
    c = e.client()
    for name in names:
        asked = [c.ask(SEND, "q" + name, "m%d" % i, b"", 0, 0)
                 for i in range(2000)]
        assert all(c.answer(serial)[0] == OK for serial in asked)
    e.nginx.answer = lambda r: time.sleep(0.02) or 200
    e.configure(**{n: {"consume": ["q" + n], "max": 500} for n in names})
    first = [r.faas_function for r in e.nginx.wait(2400)[:2400]]
    assert all(first.count(n) > 350 for n in names), [
        first.count(n) for n in names]


def test_a_slow_function_leaves_calls_for_others(events):
    """Hundreds of slow calls that could be made are not all made: some calls
    are kept for bindings that have few."""

    held = threading.Event()
    e = events({"s%d" % i: {"consume": ["slow%d" % i], "max": 100}
                for i in range(3)} | {"quick": {"consume": ["quick"]}})
    e.nginx.answer = lambda r: (r.faas_function == "quick" or held.wait(60)
                                ) and 200
    c = e.client()
    for i in range(3):
        for _ in range(100):
            c.send("slow%d" % i)
    wait_until(lambda: sum(e.nginx.running.values()) >= 90)
    c.send("quick")
    wait_until(lambda: e.nginx.of("quick"))
    held.set()
    for i in range(3):
        empty(c, "slow%d" % i)


def test_two_functions_share_a_queue(events):
    e = events({"one": {"consume": ["orders"], "max": 2},
                "two": {"consume": ["orders"], "max": 2}})
    e.nginx.answer = lambda r: time.sleep(0.005) or 200
    c = e.client()
    ids = [c.send("orders") for _ in range(100)]
    empty(c, "orders")
    assert sorted(r.faas_id for r in e.nginx.requests) == sorted(ids)
    assert e.nginx.of("one") and e.nginx.of("two")


def test_a_call_that_outlasts_its_lease_is_made_once(events):
    e = events({"work": {"consume": ["orders lease=1s"]}})
    e.nginx.answer = lambda r: time.sleep(3.5) or 200
    c = e.client()
    c.send("orders")
    e.nginx.wait(1)
    empty(c, "orders")
    assert len(e.nginx.requests) == 1


def test_a_call_over_its_time_is_a_failed_attempt(events):
    e = events({"work": {"consume": ["orders attempts=1"], "timeout": 100,
                         "queue_timeout": 100}})
    held = threading.Event()
    e.nginx.answer = lambda r: held.wait(60) and 200
    c = e.client()
    c.send("orders")
    dead = wait_until(lambda: c.dead("orders"), timeout=30)
    held.set()
    assert "time" in dead[0]["reason"].lower()


def test_a_cut_connection_is_a_failed_attempt(events):
    e = events({"work": {"consume": [QUICK]}})
    e.nginx.answer = lambda r: None
    c = e.client()
    c.send("orders")
    wait_until(lambda: c.dead("orders"))
    assert {r.faas_attempt for r in e.nginx.requests} == {"1", "2", "3"}


def test_deferred_calls_are_made_when_due(events):
    e = events({"work": {}})
    c = e.client()
    at = time.monotonic()
    assert c.code(DEFER, "work", "d1", b"data", 500, 0) == OK
    r = e.nginx.wait(1)[0]
    assert r.at - at >= 0.49
    assert (r.method, r.path, r.body) == ("POST", "/work", b"data")
    assert (r.faas_event, r.faas_function) == ("defer", "work")
    assert r.faas_id == "d1"
    empty(c, "@work")


def test_queue_list_counts(events):
    e = events({"work": {}})
    c = e.client()
    c.send("a")
    c.send("a")
    c.send("a", delay_ms=10 ** 8)
    c.send("b")
    queues = c.queues()
    assert set(queues) == {"a", "b"}
    assert (queues["a"]["ready"], queues["a"]["delayed"]) == (2, 1)
    wait_until(lambda: c.queues()["a"]["oldest_ms"] >= 20)
