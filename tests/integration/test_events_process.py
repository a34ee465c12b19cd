"""The life of faas-events: settings, the end, kill -9, nginx or the engine
being away."""

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

import harness
from events import Ended, OK, PROGRAM, SEND, events
from harness import wait_until


# -- start and settings -------------------------------------------------------

def test_it_says_why_it_does_not_start(events):
    done = subprocess.run([str(PROGRAM)], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=20, close_fds=True)
    assert done.returncode == 1
    assert b"is started by faas-supervisor" in done.stderr


@pytest.mark.parametrize("line, why", [
    ("nonsense 1", "nonsense"),
    ("queue", "queue"),
    ("queue ftp://x", "ftp://x"),
    (" timeout 1", "function"),
    ("function Work", "Work"),
    ("function a\n token zz", "zz"),
    ("function a", "token"),
    ("function a\n token 00\nfunction a\n token 00", "twice"),
    ("function a\n token 00\n consume UPPER", "consume"),
    ("function a\n token 00\n schedule x", "schedule"),
    ("function a\n token 00\n timeout 99999999999", "99999999999"),
    ("state relative", "relative"),
    ("callback http://x", "callback"),
])
def test_bad_settings_are_refused_and_the_old_ones_stay(events, line, why):
    e = events({"work": {"consume": ["orders"]}})
    first = line if line.startswith(" ") else ""
    e.configure(first + "\n" * bool(first) + e.settings() + line + "\n")
    said = e.said()
    assert said.startswith("error "), said
    if why not in ("consume", "schedule"):
        assert why in said
    e.client().send("orders")
    e.nginx.wait(1)


def test_settings_of_no_size_and_with_zeros_are_refused(events):
    e = events({"work": {}})
    for text in ("", "node 00\0\n", "\xff" * 1000):
        e.configure(text)
        assert e.said().startswith("error ")


def test_a_consumer_that_is_added_gets_what_was_there(events):
    e = events({"work": {}})
    c = e.client()
    id = c.send("orders", b"x")
    e.configure(work={"consume": ["orders"]})
    assert e.said() == "ready"
    assert e.nginx.wait(1)[0].faas_id == id


def test_a_consumer_that_is_removed_loses_nothing_in_flight(events):
    e = events({"work": {"consume": ["orders"], "max": 2}, "new": {}})
    held = threading.Event()
    e.nginx.answer = lambda r: held.wait(60) and 200
    c = e.client()
    ids = [c.send("orders") for _ in range(4)]
    e.nginx.wait(2)
    e.configure(work=None)
    assert e.said() == "ready"
    held.set()
    wait_until(lambda: c.queues()["orders"]["leased"] == 0)
    assert c.queues()["orders"]["ready"] == 2
    assert len(e.nginx.requests) == 2
    e.configure(new={"consume": ["orders"]})
    assert e.said() == "ready"
    got = e.nginx.wait(4)
    assert sorted(r.faas_id for r in got) == sorted(ids)
    assert len(e.nginx.of("new")) == 2


def test_settings_change_under_load(events):
    """A hundred changes while messages flow: each is delivered once."""

    e = events({"work": {"consume": ["orders"], "max": 4}})
    c = e.client()
    ids = []
    for i in range(100):
        ids += [c.send("orders") for _ in range(5)]
        e.configure(work={"consume": ["orders parallel=%d" % (1 + i % 5)]
                          if i % 3 else [], "max": 4})
        assert e.said() == "ready"
    e.configure(work={"consume": ["orders"], "max": 4})
    assert e.said() == "ready"
    wait_until(lambda: c.queues()["orders"]["ready"] == 0
               and c.queues()["orders"]["leased"] == 0)
    assert sorted(r.faas_id for r in e.nginx.requests) == sorted(ids)


def test_another_engine_takes_over(events):
    e = events({"work": {"consume": ["orders"]}})
    c = e.client()
    c.send("orders", b"one")
    e.nginx.wait(1)
    e.queue = "sqlite:%s/queue/other.db" % e.directory
    e.configure()
    assert e.said() == "ready"
    wait_until(lambda: c.code(SEND, "orders", "id", b"two", 0, 0) == OK)
    assert e.nginx.wait(2)[1].body == b"two"
    assert (e.directory / "queue/other.db").exists()


# -- the end ------------------------------------------------------------------

def test_the_end_waits_for_what_is_under_way(events):
    e = events({"work": {"consume": ["orders"]}})
    e.nginx.answer = lambda r: time.sleep(0.4) or 200
    c = e.client()
    c.send("orders")
    e.nginx.wait(1)
    assert e.end() == 0
    e.start()
    c = e.client()
    assert c.queues().get("orders", {}).get("leased", 0) == 0
    assert c.queues().get("orders", {}).get("ready", 0) == 0
    assert len(e.nginx.requests) == 1


def test_the_end_gives_back_what_takes_too_long(events):
    e = events({"work": {"consume": ["orders lease=1h"]}})
    held = threading.Event()
    e.nginx.answer = lambda r: held.wait(60) and 200
    c = e.client()
    id = c.send("orders")
    e.nginx.wait(1)
    began = time.monotonic()
    assert e.end() == 0
    assert time.monotonic() - began < 10
    held.set()
    e.start()
    again = e.nginx.wait(2)[1]         # not in an hour
    assert (again.faas_id, again.faas_attempt) == (id, "1")


def test_sigterm_is_the_end(events):
    e = events({"work": {}})
    e.client().send("orders")
    e.process.send_signal(signal.SIGTERM)
    assert e.process.wait(20) == 0


# -- kill -9 ------------------------------------------------------------------

class Sender(threading.Thread):
    """Sends until n messages are acknowledged, again with the same id after a
    connection that broke."""

    def __init__(self, e, name, n):
        super().__init__(daemon=True)
        self.e, self.name_, self.n = e, name, n
        self.acknowledged = set()
        self.failure = None

    def run(self):
        try:
            self.send()
        except Exception as error:               # told by the test
            self.failure = error

    def send(self):
        client, left = None, ["%s.%d" % (self.name_, i)
                              for i in range(self.n)]
        while left:
            try:
                client = client or self.e.client()
                some = left[:20]
                asked = [(id, client.ask(SEND, "orders", id, id, 0, 0))
                         for id in some]
                for id, serial in asked:
                    if client.answer(serial)[0] == OK:
                        self.acknowledged.add(id)
            except (Ended, OSError):
                client = None
                time.sleep(0.01)
            left = [id for id in left if id not in self.acknowledged]


def progress(senders, part):
    """Waits until they have done this part of it all, so that who starts
    slowly is killed no sooner."""

    def done():
        failed = [s.failure for s in senders if s.failure]
        return failed or sum(len(s.acknowledged) for s in senders
                             ) >= part * sum(s.n for s in senders)

    wait_until(done, "%.2f of the sends" % part)


def test_kill_9_loses_no_acknowledged_message(events):
    """10 000 sends while faas-events is killed forty times."""

    n = 10000
    e = events({"work": {"consume": ["orders lease=2s batch=10"], "max": 8}})
    seen, lock = {}, threading.Lock()

    def answer(r):
        with lock:
            for id, _, _, data in r.messages():
                assert data == id.encode()
                seen[id] = seen.get(id, 0) + 1
        return 200

    e.nginx.answer = answer
    senders = [Sender(e, "s%d" % i, n // 4) for i in range(4)]
    for s in senders:
        s.start()
    rng = random.Random(1)
    for kills in range(40):
        progress(senders, (kills + rng.random()) / 40)
        e.kill()
        e.start()
    for s in senders:
        s.join()
        assert s.failure is None, s.failure
        assert len(s.acknowledged) == s.n
    expected = {id for s in senders for id in s.acknowledged}
    wait_until(lambda: len(seen) >= n, "all messages", timeout=60)
    assert set(seen) == expected
    c = e.client()
    wait_until(lambda: c.queues()["orders"]["leased"] == 0
               and c.queues()["orders"]["ready"] == 0)
    assert c.dead() == []
    file = e.directory / "queue/queue.db"
    assert e.end() == 0
    db = sqlite3.connect(str(file))
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


def test_poison_is_called_exactly_attempts_times_also_with_kills(events):
    """What is counted is a call that failed and was settled: kill -9 adds
    calls, and never takes an attempt away."""

    e = events({"work": {"consume": [
        "orders attempts=4 retry=1ms..5ms lease=1s"]}})
    e.nginx.answer = lambda r: 500
    c = e.client()
    id = c.send("orders")
    for _ in range(3):
        time.sleep(random.Random(7).uniform(0, 0.02))
        e.kill()
        e.start()
    c = e.client()
    wait_until(lambda: c.dead("orders"))
    dead, = c.dead("orders")
    assert (dead["id"], dead["attempts"]) == (id, 4)
    attempts = [int(r.faas_attempt) for r in e.nginx.requests]
    assert sorted(set(attempts)) == [1, 2, 3, 4]
    assert attempts == sorted(attempts)


# -- others are away ----------------------------------------------------------

def test_without_nginx_messages_wait_and_no_attempt_counts(events):
    e = events({"work": {"consume": ["orders attempts=1"]}}, nginx=False)
    c = e.client()
    ids = [c.send("orders") for _ in range(20)]
    wait_until(lambda: 'function "work" cannot be called' in e.text())
    e.nginx.start()
    wait_until(lambda: c.queues()["orders"]["ready"] == 0
               and c.queues()["orders"]["leased"] == 0)
    assert c.dead() == []
    assert sorted(r.faas_id for r in e.nginx.requests) == sorted(ids)
    assert {r.faas_attempt for r in e.nginx.requests} == {"1"}


def test_kept_connections_that_nginx_closes_cost_nothing(events):
    """A reload closes them: the next call goes over a new one, at once."""

    e = events({"work": {"consume": ["orders attempts=1"]}})
    c = e.client()
    for i in range(30):
        c.send("orders")
        e.nginx.wait(i + 1)
        wait_until(lambda: c.queues()["orders"]["leased"] == 0)
        if i % 3 == 0:
            e.nginx.drop()
    assert c.dead() == []
    assert len(e.nginx.requests) == 30
    assert len({r.connection for r in e.nginx.requests}) < 25


def test_nginx_comes_and_goes(events):
    e = events({"work": {"consume": ["orders attempts=50 retry=1ms..9ms"]}})
    c = e.client()
    ids = []
    for i in range(10):
        ids += [c.send("orders") for _ in range(20)]
        e.nginx.stop()
        ids += [c.send("orders") for _ in range(20)]
        e.nginx.start()
    wait_until(lambda: c.queues()["orders"]["ready"] == 0
               and c.queues()["orders"]["leased"] == 0
               and c.queues()["orders"]["delayed"] == 0, timeout=60)
    assert c.dead() == []
    assert {r.faas_id for r in e.nginx.requests} == set(ids)


def test_a_locked_database_is_an_error_in_time_and_recovers(events):
    """Another process holds the file's lock: sends are answered, consumers
    wait, and both go on when it lets go."""

    e = events({"work": {"consume": ["orders"]}})
    c = e.client()
    c.send("orders")
    e.nginx.wait(1)
    wait_until(lambda: c.queues()["orders"]["leased"] == 0)
    db = sqlite3.connect(str(e.directory / "queue/queue.db"), timeout=30,
                         isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    code = c.code(SEND, "orders", "locked", b"", 0, 0)
    took = time.monotonic() - began
    assert code != OK and took < 5, (code, took)
    db.execute("ROLLBACK")
    db.close()
    began = time.monotonic()
    wait_until(lambda: c.code(SEND, "orders", "locked", b"", 0, 0) == OK)
    e.nginx.wait(2)
    assert time.monotonic() - began < 5


def test_an_engine_that_cannot_be_opened_yet(events):
    """The directory of the database is not there: sends are refused in time,
    and when it is there all goes on."""

    e = events({"work": {"consume": ["orders"]}},
               queue="sqlite:/nonexistent/q.db", start=False)
    e.queue = "sqlite:%s/later/q.db" % e.directory
    e.start()
    c = e.client()
    began = time.monotonic()
    assert c.code(SEND, "orders", "x", b"", 0, 0) < 0
    assert time.monotonic() - began < 5
    (e.directory / "later").mkdir(mode=0o700)
    if e.uid is not None:
        os.chown(e.directory / "later", e.uid, e.uid)
    wait_until(lambda: c.code(SEND, "orders", "x", b"", 0, 0) == OK)
    assert e.nginx.wait(1)[0].faas_id == "x"


def test_it_needs_no_right_of_its_own(events):
    e = events({"work": {"consume": ["orders"]}})
    e.client().send("orders")
    e.nginx.wait(1)
    if not harness.IS_ROOT:
        return
    with open("/proc/%d/status" % e.process.pid) as f:
        status = dict(line.split(":", 1) for line in f.read().splitlines())
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Uid"].split() == [str(e.uid)] * 4
    for path in ("queue", "queue/queue.db"):
        assert (e.directory / path).stat().st_mode & 0o077 == 0
