"""The events process with its queues in a real Redis: it goes away, hangs, and
comes back; and so does the events process."""

import random
import threading
import time

import pytest

from events import DEFER, OK, SEND, events
from harness import wait_until
from redis_server import Redis
from test_events_process import Sender, progress
from test_events_queue import empty


@pytest.fixture
def redis():
    server = Redis().start()
    yield server
    server.cleanup()


def test_messages_and_deferred_calls_go_through_redis(events, redis):
    e = events({"work": {"consume": ["orders batch=5 attempts=2 "
                                     "retry=1ms..2ms"]}}, queue=redis.url)
    c = e.client()
    e.nginx.answer = lambda r: (200 if r.faas_event == "defer"
                                else (200, {"Faas-Retry": "0;1"}))
    ids = [c.send("orders", b"%d" % i) for i in range(20)]
    assert c.code(DEFER, "work", "d1", b"x", 300, 0) == OK
    wait_until(lambda: [r for r in e.nginx.requests
                        if r.faas_event == "defer"])
    empty(c, "orders")
    seen = [m[0] for r in e.nginx.requests if r.faas_event == "queue"
            for m in r.messages()]
    assert set(seen) == set(ids)
    assert {d["id"] for d in c.dead("orders")} < set(ids)
    assert all(d["attempts"] == 2 for d in c.dead("orders"))


def test_another_node_is_told_at_once(events, redis):
    """What is sent through one node wakes the consumers of another: looking
    once a second would take twice the time allowed."""

    sender = events({"other": {}}, queue=redis.url)
    e = events({"work": {"consume": ["orders"]}}, queue=redis.url)
    c = sender.client()
    c.send("orders")
    e.nginx.wait(1)
    began = time.monotonic()
    for i in range(60):
        empty(c, "orders")
        c.send("orders", b"%d" % i)
        assert e.nginx.wait(i + 2)[i + 1].body == b"%d" % i
    assert time.monotonic() - began < 15
    assert sender.nginx.requests == []


def test_redis_away_is_an_error_in_time_and_recovers(events, redis):
    e = events({"work": {"consume": ["orders"]}}, queue=redis.url)
    c = e.client()
    c.send("orders")
    e.nginx.wait(1)
    redis.kill()
    for i in range(20):
        began = time.monotonic()
        assert c.code(SEND, "orders", "x%d" % i, b"", 0, 0) != OK
        assert time.monotonic() - began < 5
    redis.start()
    back = time.monotonic()
    wait_until(lambda: c.code(SEND, "orders", "back", b"", 0, 0) == OK)
    wait_until(lambda: [r for r in e.nginx.requests
                        if r.faas_id == "back"])
    assert time.monotonic() - back < 5
    assert e.process.poll() is None


def test_redis_that_hangs_is_an_error_in_time_and_recovers(events, redis):
    e = events({"work": {"consume": ["orders"]}}, queue=redis.url)
    c = e.client()
    c.send("orders")
    e.nginx.wait(1)
    redis.pause()
    began = time.monotonic()
    assert c.code(SEND, "orders", "hung", b"", 0, 0) != OK
    assert time.monotonic() - began < 8
    redis.resume()
    wait_until(lambda: c.code(SEND, "orders", "back", b"", 0, 0) == OK)
    wait_until(lambda: [r for r in e.nginx.requests
                        if r.faas_id == "back"])


def test_redis_and_events_killed_during_sends(events, redis):
    """5000 sends, both killed again and again: nothing acknowledged is
    lost."""

    n = 5000
    e = events({"work": {"consume": ["orders lease=2s batch=10"], "max": 8}},
               queue=redis.url)
    seen, lock = {}, threading.Lock()

    def answer(r):
        with lock:
            for id, _, _, data in r.messages():
                assert data == id.encode()
                seen[id] = seen.get(id, 0) + 1
        return 200

    e.nginx.answer = answer
    senders = [Sender(e, "r%d" % i, n // 4) for i in range(4)]
    for s in senders:
        s.start()
    rng = random.Random(3)
    for kills in range(30):
        progress(senders, (kills + rng.random()) / 30)
        if kills % 3 == 0:
            redis.kill()
            redis.start()
        else:
            e.kill()
            e.start()
    for s in senders:
        s.join()
        assert s.failure is None, s.failure
    expected = {id for s in senders for id in s.acknowledged}
    assert len(expected) == n
    wait_until(lambda: len(seen) >= n, "all messages", timeout=60)
    assert set(seen) == expected
    c = e.client()
    assert c.dead() == []
