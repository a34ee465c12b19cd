"""10 000 sends in a whole host while all that takes part is killed, again and
again: functions, the events process, the tender, the supervisor, nginx's
workers, and Redis."""

import collections
import os
import signal

from crash import (Killer, Producer, drain, end, engine,        # noqa: F401
                   faasctl, journal, rows, start)
from harness import wait_until

# a poisoned message fails ATTEMPTS times
ATTEMPTS = 4

BLOCKS = {
    "producer": "max 8; queue 16 timeout=60s; timeout 20s;",
    "orders": "max 3; consume orders batch=20 lease=2s attempts=50"
              " retry=10ms..100ms;",
    "bills": "max 3; exactly_once on;"
             " consume bills lease=2s attempts=50 retry=10ms..100ms;",
    "receipts": "max 2; consume receipts batch=20 lease=2s attempts=50"
                " retry=10ms..100ms;",
    "poison": "max 2; consume poison lease=2s attempts=%d retry=1ms..10ms;"
              % ATTEMPTS,
}



def with_receipts(killer):
    """Kills those that have done a bill and cannot send its receipt, and the
    events process that does not take it."""

    host = killer.host

    def is_unsent_or_idle():
        return host.function("bills")["instances"]["busy"] == 0 \
            or rows(host, "bills", "SELECT 1 FROM faas_outbox")

    wait_until(lambda: killer.signal("events", signal.SIGSTOP), "events")
    wait_until(is_unsent_or_idle, "an outbox")
    for pid in killer.find("bills"):
        os.kill(pid, signal.SIGKILL)
    killer.kill("events")


VICTIMS = ["events", "orders", "engine", "bills", "tender", with_receipts,
           "producer", "worker", "engine", "supervisor", "receipts"]


def test_nothing_acknowledged_is_lost_and_effects_are_once(faas, engine):
    host = start(faas, engine, BLOCKS, ["orders", "bills", "receipts",
                                        "poison"])
    orders = [Producer(host, "o%d" % i, "queue=orders", 1500)
              for i in range(6)]
    bills = [Producer(host, "b%d" % i, "queue=bills", 500) for i in range(2)]
    poison = Producer(host, "p", "queue=poison", 20, chunk=5)
    killer = Killer(host, engine, VICTIMS)
    killer.follow([*orders, *bills, poison], 33)
    assert all(killer.killed[victim] >= 2 for victim in killer.victims)

    # what an instance of bills was killed with comes by the tender
    wait_until(lambda: rows(host, "bills", "SELECT 1 FROM faas_outbox") == [],
               "empty outbox")
    drain(host)

    ids = set().union(*[producer.ids() for producer in orders])
    assert len(ids) == 9000
    assert set(delivered(host, "orders")) == ids
    assert happened(host, "orders") == ids

    # functions/crash.c dies of every fiftieth bill, once, having done all
    ids = set().union(*[producer.ids() for producer in bills])
    times = delivered(host, "bills")
    assert set(times) == ids
    assert all(times["b%d-%d" % (i, n)] >= 2 for i in range(2)
               for n in range(0, 500, 50))
    assert happened(host, "bills") == ids
    assert sorted(data for _, data in rows(host, "receipts")) == sorted(
        "0 receipt of %s" % id for id in ids)
    if engine.url == "sqlite":
        assert rows(host, "bills", "SELECT CAST(value AS TEXT) FROM faas_kv"
                    ) == [("1000",)]

    # who is killed beside it makes a poisoned message no older
    tried = [(id, int(attempt)) for id, attempt in journal(host, "poison")]
    assert {id for id, _ in tried} == poison.ids()
    assert {attempt for _, attempt in tried} <= set(range(1, ATTEMPTS + 1))
    letters = dead(host)
    assert {letter["id"] for letter in letters} == poison.ids()
    assert len(letters) == 20
    assert {letter["queue"] for letter in letters} == {"poison"}
    assert {letter["attempts"] for letter in letters} == {ATTEMPTS}
    end(host, engine)


def delivered(host, queue):
    """How often each message was handed over, under its own id."""

    times = collections.Counter()
    for id, *_, name in journal(host, queue):
        assert id == name
        times[id] += 1
    return times


def dead(host):
    return faasctl(host, "dlq", "list")


def happened(host, function):
    """Ids of the effects, each of which is there once."""

    effects = rows(host, function)
    assert len({id for id, _ in effects}) == len(effects)
    assert all(data.split()[-1] == id for id, data in effects)
    return {id for id, _ in effects}


def test_poisoned_message_is_called_so_often_listed_and_retried(faas, engine):
    host = start(faas, engine, {name: BLOCKS[name]
                                for name in ("producer", "poison")},
                 ["poison"])
    host.post("/fn/producer?op=send&prefix=p&queue=poison", body="1 2 3")
    wait_until(lambda: len(dead(host)) == 3, "dead letters")
    calls = [["p-%d" % i, str(n)] for i in (1, 2, 3)
             for n in range(1, ATTEMPTS + 1)]
    assert sorted(journal(host, "poison")) == calls
    shown = faasctl(host, "dlq", "show", "poison", "p-2")
    assert shown["attempts"] == ATTEMPTS
    assert shown["data"].endswith("data of p-2")
    assert "status 500" in shown["reason"]

    (host.gates / "mended").touch()
    Killer(host, engine, ["events"]).kill()
    engine.crash()
    wait_until(lambda: len(dead(host)) == 3, "the engine, and dead letters")
    assert faasctl(host, "dlq", "retry", "poison", "p-2")["retried"] == 1
    drain(host)
    assert [id for id, _ in rows(host, "poison")] == ["p-2"]
    assert sorted(journal(host, "poison")) == sorted(calls + [["p-2", "1"]])
    faasctl(host, "dlq", "retry", "poison", "--all")
    drain(host)
    assert happened(host, "poison") == {"p-1", "p-2", "p-3"}
    assert dead(host) == []
