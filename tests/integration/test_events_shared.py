"""Timers and async calls on nodes that share a real Redis, which is killed as
they are."""

import secrets

import pytest

import harness
from events import (DEAD_RETRY, ECONFLICT, ENOTFOUND, NOT_THERE,
                    OK, events)
from harness import wait_until
from redis_server import Redis
from test_events_calls import (CANCELLED, DONE, FAILED, QUEUED, RUNNING,
                               becomes, cancel, get, submit, submitted)
from test_events_timers import once_each, timers

TIMER = {"work": {"schedule": ["@every 1s overlap=allow name=t"],
                  "timeout": "1000", "queue_timeout": "1000"}}


@pytest.fixture
def redis():
    server = Redis().start()
    yield server
    server.cleanup()


def test_two_nodes_fire_each_due_time_once_also_when_one_is_killed(events,
                                                                   redis):
    one = events(dict(TIMER), queue=redis.url)
    two = events(dict(TIMER), queue=redis.url, node="fedcba9876543210",
                 start=False)
    two.start()

    def requests():
        return one.nginx.requests + two.nginx.requests

    for victim in (one, two, one):
        n = len(requests())
        wait_until(lambda: len(requests()) >= n + 2, "two more ticks")
        victim.kill()
        n = len(requests())
        wait_until(lambda: len(requests()) >= n + 2, "the other goes on")
        victim.start()
    wait_until(lambda: len(requests()) >= 14, "ticks")
    once_each(requests(), 1000)


def test_timers_go_on_where_they_were_when_redis_is_back(events, redis):
    """What came meanwhile is late, and fires."""

    e = events(dict(TIMER), queue=redis.url)
    e.nginx.wait(2)
    redis.kill()
    due = max(int(r.faas_due) for r in e.nginx.requests)
    redis.start()
    wait_until(lambda: max(int(r.faas_due) for r in e.nginx.requests)
               >= due + 3000, "ticks", timeout=60)
    once_each(e.nginx.requests, 1000)


def test_a_run_ends_with_its_verdict(events, redis):
    e = events({"work": {"schedule": ["@every 1s name=t attempts=1"]}},
               queue=redis.url, start=False)
    answers = [500]
    e.nginx.answer = lambda r: answers.pop() if answers else 200
    e.start()
    e.nginx.wait(4)
    c = e.client()
    assert len(c.dead("@work")) == 1
    assert "work/t" in timers(c)


def test_the_life_of_a_call(events, redis):
    size = 1024 if harness.ASAN else 8192
    e = events({"work": {"async": "attempts=1 keep=10s"}}, queue=redis.url)
    big = secrets.token_bytes(1024) * size
    e.nginx.answer = lambda r: (200, {"X-A": "b"}, r.body)
    c = e.client()
    # a loaded machine may need longer for it than there is time: the key makes
    # it safe to ask again
    wait_until(lambda: submit(c, body=big, key="k")[0] == OK, "room for it")
    id = submitted(c, body=big, key="k")
    call = becomes(c, id, DONE)
    assert call["body"] == big and "X-A: b\n" in call["headers"]
    assert submitted(c, body=big, key="k") == id
    assert submit(c, body=b"other", key="k")[0] == ECONFLICT
    assert cancel(c, id) == (OK, DONE)
    wait_until(lambda: get(c, id) is None, "forgotten")
    assert cancel(c, id) == (ENOTFOUND, None)

    e.nginx.answer = lambda r: (500, {}, b"no")
    id = submitted(c)
    assert becomes(c, id, FAILED)["text"] == "status 500: no"
    wait_until(lambda: c.dead("@work"), "a letter")
    e.nginx.answer = lambda r: 200
    assert c.code(DEAD_RETRY, "@work", id.split(".")[1]) == OK
    assert becomes(c, id, DONE)["attempts"] == 2

    e.nginx.answer = lambda r: NOT_THERE
    id = submitted(c)
    wait_until(lambda: get(c, id)["text"], "why")
    assert get(c, id)["state"] in (QUEUED, RUNNING)
    assert cancel(c, id) == (OK, CANCELLED)


def test_no_call_is_lost_when_redis_and_the_process_are_killed(events, redis):
    e = events({"work": {"timeout": "100", "queue_timeout": "100",
                         "max": "16"}}, queue=redis.url)
    e.nginx.answer = lambda r: (200, {}, r.body)
    taken = {}
    for round in range(4):
        c = e.client()
        for i in range(25):
            body = b"%d.%d" % (round, i)
            code, id = submit(c, body=body)
            if code == OK:
                taken[id] = body
            if i == 12 and round % 2:
                redis.kill()
                redis.start()
        if round % 2 == 0:
            e.kill()
            e.start()
    assert len(taken) > 50
    c = e.client()
    for id, body in taken.items():
        wait_until(lambda: get(c, id)["state"] == DONE, "done", timeout=90)
        assert get(c, id)["body"] == body
