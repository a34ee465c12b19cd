"""Timers: the real faas-events, one or two of them on one engine.  What a
clock does is tested in tests/unit/test_events_due.c; here due times are moved
in the database instead."""

import signal
import sqlite3
import threading
import time

import pytest

from events import NOT_THERE, OK, TIMER_LIST, events, number
from harness import wait_until


def timers(client):
    code, values = client.call(TIMER_LIST)
    assert code == OK
    return {"%s/%s" % (values[i].decode(), values[i + 1].decode()):
            dict(zip(("due_ms", "last_ms", "running"),
                     map(number, values[i + 2:i + 5])))
            for i in range(0, len(values), 5)}


def database(e):
    return sqlite3.connect(str(e.directory / "queue" / "queue.db"),
                           timeout=10)


def move(e, ms):
    """The due time of all timers, by so much; nobody may be there."""

    with database(e) as db:
        db.execute("UPDATE timers SET due = due + ?, last = CASE last"
                   " WHEN 0 THEN 0 ELSE last + ? END", (ms, ms))
    db.close()


def dues(requests):
    return [int(r.faas_due) for r in requests]


def once_each(requests, period):
    """Each due time has one fence, they rise together, none is missing; the
    due times."""

    claims = {}
    for r in requests:
        claims.setdefault(int(r.faas_due), set()).add(
            (int(r.faas_fence), r.faas_id))
    assert all(len(claim) == 1 for claim in claims.values()), claims
    order = sorted(claims)
    assert order == list(range(order[0], order[-1] + period, period))
    fences = [min(claims[due])[0] for due in order]
    assert fences == sorted(set(fences))
    return order


def test_a_timer_calls_its_function_when_it_is_due(events):
    e = events({"work": {"schedule": ["@every 1s name=tick"]}})
    seen = e.nginx.wait(3)
    for r in seen:
        due = int(r.faas_due)
        assert due % 1000 == 0
        assert (r.method, r.path, r.body) == ("POST", "/work", b"")
        assert r.faas_token == "@events:" + e.token
        assert (r.faas_function, r.faas_event, r.faas_name) == (
            "work", "timer", "tick")
        assert (r.faas_id, r.faas_attempt) == ("tick.%d" % due, "1")
        assert due <= int(r.faas_sent) < due + 30000
    once_each(seen, 1000)
    listed = timers(e.client())
    assert list(listed) == ["work/tick"]
    assert listed["work/tick"]["due_ms"] > int(seen[-1].faas_due)
    assert listed["work/tick"]["last_ms"] >= int(seen[-1].faas_due)


def test_the_default_name_depends_on_the_due_time_alone(events):
    e = events({"work": {"schedule": ["0 3 * * *"]}})
    c = e.client()
    wait_until(lambda: timers(c), "a timer")
    before = timers(c)
    e.configure(work={"schedule": ["0  3 * * * attempts=9 overlap=allow"]})
    assert e.said() == "ready"
    assert timers(c) == before


def test_two_nodes_fire_each_due_time_once_also_when_one_is_killed(events):
    one = events({"work": {"schedule": ["@every 1s overlap=allow name=t"],
                           "timeout": "1000", "queue_timeout": "1000"}})
    two = events({"work": {"schedule": ["@every 1s overlap=allow name=t"],
                           "timeout": "1000", "queue_timeout": "1000"}},
                 start=False)
    two.queue = "sqlite:%s" % (one.directory / "queue" / "queue.db")
    one.functions, two.functions = dict(one.functions), dict(two.functions)
    two.start()

    def requests():
        return one.nginx.requests + two.nginx.requests

    for victim in (one, two, one, two):
        n = len(requests())
        wait_until(lambda: len(requests()) >= n + 2, "two more ticks")
        victim.kill()
        n = len(requests())
        wait_until(lambda: len(requests()) >= n + 2, "the other goes on")
        victim.start()

    assert len(once_each(requests(), 1000)) >= 16


def test_a_node_that_was_stopped_is_too_late(events):
    one = events({"work": {"schedule": ["@every 1s overlap=allow name=t"]}})
    two = events({"work": {"schedule": ["@every 1s overlap=allow name=t"]}},
                 start=False)
    two.queue = "sqlite:%s" % (one.directory / "queue" / "queue.db")
    two.start()
    wait_until(lambda: one.nginx.requests or two.nginx.requests, "a tick")
    # not in a commit: it would keep the lock of the file that they share
    c = two.client()
    wait_until(lambda: c.queues()["@work"]["leased"] == 0
               and c.queues()["@work"]["ready"] == 0)
    one.process.send_signal(signal.SIGSTOP)
    try:
        two.nginx.wait(len(two.nginx.requests) + 4)
    finally:
        one.process.send_signal(signal.SIGCONT)
    two.nginx.wait(len(two.nginx.requests) + 2)
    once_each(one.nginx.requests + two.nginx.requests, 1000)


def test_overlap_skip_leaves_out_what_comes_while_the_last_run_goes_on(events):
    held = threading.Event()
    e = events({"work": {"schedule": ["@every 1s name=t"]}}, start=False)
    e.nginx.answer = lambda r: held.wait(30) and 200
    e.start()
    e.nginx.wait(1)
    c = e.client()
    first = timers(c)["work/t"]["last_ms"]
    wait_until(lambda: timers(c)["work/t"]["last_ms"] >= first + 3000,
               "due times pass")
    assert timers(c)["work/t"]["running"] == 1
    assert len(e.nginx.requests) == 1
    held.set()
    second = e.nginx.wait(2)[1]
    assert int(second.faas_due) > int(e.nginx.requests[0].faas_due) + 3000
    assert "the last run goes on" in e.text()


def test_overlap_queue_runs_each_one_after_the_other(events):
    held = threading.Event()
    e = events({"work": {"schedule": ["@every 1s overlap=queue name=t"]}},
               start=False)
    e.nginx.answer = lambda r: held.wait(30) and 200
    e.start()
    first = int(e.nginx.wait(1)[0].faas_due)
    wait_until(lambda: time.time() * 1000 > first + 3000, "due times pass")
    assert len(e.nginx.requests) == 1
    held.set()
    assert dues(e.nginx.wait(4)[:4]) == [first + 1000 * i for i in range(4)]
    assert e.nginx.most["work"] == 1


def test_overlap_allow_runs_side_by_side(events):
    held = threading.Event()
    e = events({"work": {"schedule": ["@every 1s overlap=allow name=t"],
                         "max": "8"}}, start=False)
    e.nginx.answer = lambda r: held.wait(30) and 200
    e.start()
    e.nginx.wait(3)
    assert e.nginx.running["work"] >= 3
    held.set()


@pytest.mark.parametrize("catchup, ran", [("none", 0), ("one", 1),
                                          ("all", 20)])
def test_what_was_missed_is_caught_up_as_asked(events, catchup, ran):
    """Twenty due times passed while nobody was there."""

    line = "0 * * * * name=t overlap=allow catchup=" + catchup
    e = events({"work": {"schedule": [line]}})
    c = e.client()
    wait_until(lambda: timers(c), "a timer")
    due = timers(c)["work/t"]["due_ms"]
    assert e.end() == 0
    move(e, -20 * 3600000)
    e.start()
    c = e.client()
    wait_until(lambda: timers(c)["work/t"]["due_ms"] == due, "caught up",
               timeout=30)
    requests = e.nginx.wait(ran)
    assert dues(requests) == [due - 3600000 * i for i in range(ran, 0, -1)]
    assert ("was missed" in e.text()) == (catchup != "all")


@pytest.mark.parametrize("overlap", ["queue", "skip"])
def test_what_is_caught_up_in_order_overtakes_the_clock(events, overlap):
    """A due time that waited for the last run fires when that has ended: at
    one look a second, what is due each second would stay behind for ever."""

    e = events({"work": {"schedule": ["@every 1s name=t catchup=all overlap="
                                      + overlap]}})
    e.nginx.wait(1)
    assert e.end() == 0
    known = len(e.nginx.requests)
    before = set(dues(e.nginx.requests))
    move(e, -120000)
    e.start()
    c = e.client()
    wait_until(lambda: timers(c)["work/t"]["due_ms"] > time.time() * 1000
               - 2000, "all of it", timeout=30)
    ran = dues(e.nginx.requests[known:])

    # those that ran before the clock was moved need not run again
    assert ran == sorted(set(ran))
    assert set(range(ran[0], ran[-1], 1000)) - before <= set(ran)
    assert len(ran) + len(before) >= 118 and e.nginx.most["work"] == 1


def test_a_failed_run_is_tried_again_and_then_dead(events):
    e = events({"work": {"schedule": ["@every 1h name=t attempts=2"]}})
    c = e.client()
    e.nginx.answer = lambda r: (500, {}, b"no\nmore")
    wait_until(lambda: timers(c), "a timer")
    assert e.end() == 0
    with database(e) as db:
        db.execute("UPDATE timers SET due = ?", (int(time.time() * 1000),))
    db.close()
    e.start()
    c = e.client()
    wait_until(lambda: c.dead("@work"), "a dead letter", timeout=60)
    assert [r.faas_attempt for r in e.nginx.requests] == ["1", "2"]
    assert len({(r.faas_due, r.faas_fence, r.faas_id)
                for r in e.nginx.requests}) == 1
    letter, = c.dead("@work")
    assert letter["reason"] == "status 500: no"
    assert letter["attempts"] == 2
    assert timers(c)["work/t"]["running"] == 0


def test_a_function_that_is_not_there_is_waited_for(events):
    e = events({"work": {"schedule": ["@every 1s name=t"]}}, start=False)
    answers = [NOT_THERE, NOT_THERE, 200]
    e.nginx.answer = lambda r: answers.pop(0) if answers else 200
    e.start()
    seen = e.nginx.wait(3)[:3]
    assert {r.faas_attempt for r in seen} == {"1"}
    assert {r.faas_id for r in seen} == {seen[0].faas_id}
    assert e.client().dead() == []


def test_a_run_that_was_cut_short_by_a_kill_is_run_again(events):
    held = threading.Event()
    e = events({"work": {"schedule": ["@every 1s name=t"],
                         "timeout": "100", "queue_timeout": "100"}},
               start=False)
    e.nginx.answer = lambda r: 200 if held.is_set() else held.wait(5) and None
    e.start()
    first = e.nginx.wait(1)[0]
    e.kill()
    held.set()
    e.start()
    wait_until(lambda: [r for r in e.nginx.requests[1:]
                        if r.faas_id == first.faas_id], "the run again",
               timeout=60)
    again = [r for r in e.nginx.requests if r.faas_id == first.faas_id]
    assert {r.faas_fence for r in again} == {first.faas_fence}


def test_another_schedule_is_another_timer_and_one_that_went_stays_a_minute(
        events):
    e = events({"work": {"schedule": ["0 3 * * * name=t", "@daily name=d"]}})
    c = e.client()
    wait_until(lambda: len(timers(c)) == 2, "two timers")
    before = timers(c)
    e.configure(work={"schedule": ["0 4 * * * name=t"]})
    assert e.said() == "ready"
    wait_until(lambda: timers(c)["work/t"] != before["work/t"], "another one")
    assert (timers(c)["work/t"]["due_ms"]
            - before["work/t"]["due_ms"]) % 86400000 == 3600000
    assert timers(c)["work/d"] == before["work/d"]


def test_a_name_that_is_given_twice_is_one_timer(events):
    e = events({"work": {"schedule": ["0 3 * * * name=t",
                                      "0 4 * * * name=t"]}})
    c = e.client()
    wait_until(lambda: timers(c), "a timer")
    assert list(timers(c)) == ["work/t"]
    assert '"work/t" is given twice' in e.text()


def test_another_engine_begins_with_timers_of_its_own(events):
    e = events({"work": {"schedule": ["@every 1s name=t"]}})
    e.nginx.wait(1)
    e.queue = "sqlite:%s" % (e.directory / "queue" / "other.db")
    e.configure()
    assert e.said() == "ready"
    n = len(e.nginx.requests)
    e.nginx.wait(n + 2)
    db = sqlite3.connect(str(e.directory / "queue" / "other.db"))
    assert db.execute("SELECT key FROM timers").fetchall() == [("work/t",)]
    db.close()


def test_500_timers_that_are_due_at_once_all_fire(events):
    e = events({"work": {"schedule": ["@every 2s overlap=allow name=t%d" % i
                                      for i in range(500)], "max": "64"}})
    wait_until(lambda: len({r.faas_name for r in e.nginx.requests}) == 500,
               "all of them", timeout=60)
    requests = list(e.nginx.requests)      # more come meanwhile
    claims = {(r.faas_name, r.faas_due) for r in requests}
    assert len(claims) == len({r.faas_id for r in requests})
