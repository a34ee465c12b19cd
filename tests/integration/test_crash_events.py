"""Timers, deferred calls and async calls in a whole host while all that takes
part is killed, again and again."""

import collections
import math
import time

from crash import (Killer, Producer, Sender, end, engine,       # noqa: F401
                   faasctl, journal, rows, start)
from harness import PATIENCE, wait_until

# a call whose events process was killed is made again when its lease is over:
# after timeout, queue's timeout and 10 seconds
QUICK = "timeout 1s; queue 100 timeout=1s;"

BLOCKS = {
    "producer": "max 4; timeout 20s;",
    "ticks": QUICK + ' schedule "@every 1s" name=all overlap=allow'
             ' attempts=50; schedule "@every 1s" name=skip attempts=50;',
    "tally": QUICK + " exactly_once on;"
             ' schedule "@every 1s" name=once overlap=allow attempts=50;',
    "later": QUICK + " async attempts=50;",
    "echo": QUICK + " async attempts=50;",
}


def when_due(killer):
    """Kills the events process while it makes calls of a due time."""

    now = time.time()
    time.sleep(math.ceil(now) - now + killer.random.random() * 0.02)
    killer.kill("events")


VICTIMS = ["events", "engine", "later", "echo", "tender", when_due,
           "ticks", "_calls", "worker", "engine", "supervisor", "tally",
           "producer", when_due]


class Caller(Sender):
    """Makes async calls, each with a key, until it is told where; and once
    more with that key, to be told the same."""

    EXCUSES = {(502, ""), (503, "async calls are not available now"),
               (0, "lost")}

    def __init__(self, host, name, n):
        super().__init__(host, n)
        self.name = name
        self.locations = []

    def work(self):
        for i in range(self.n):
            self.pace(i)
            first = self.submit(i)
            assert self.submit(i) == first
            self.locations.append(first)

    def submit(self, i):
        while True:
            response = self.ask("/fn/echo", self.EXCUSES, body=self.body(i),
                                headers={"Prefer": "respond-async",
                                         "Idempotency-Key": self.body(i)})
            if response:
                assert response.status == 202
                return response.headers["Location"]

    def body(self, i):
        return "%s-%d" % (self.name, i)

    def done(self):
        return len(self.locations)


class Clock(Sender):
    """Lets n due times pass."""

    def work(self):
        wait_until(lambda: self.done() >= self.n, "due times", 3 * PATIENCE)

    def done(self):
        return len({due for due, *_ in journal(self.host, "all")})


def test_due_times_and_calls_survive_kills(faas, engine):
    host = start(faas, engine, BLOCKS, ["tally"])
    deferred = [Producer(host, "d%d" % i, "function=later&delay=3000", 150, 10)
                for i in range(2)]
    callers = [Caller(host, "c%d" % i, 100) for i in range(3)]
    killer = Killer(host, engine, VICTIMS)
    killer.follow([*deferred, *callers, Clock(host, 8)], 28)
    assert all(killer.killed[victim] >= 2 for victim in killer.victims)
    ended_ms = int(time.time() * 1000)

    locations = {location: caller.body(i) for caller in callers
                 for i, location in enumerate(caller.locations)}
    assert len(locations) == 300
    for location, body in locations.items():
        wait_until(lambda: host.get(location).json["state"] == "done",
                   location, 3 * PATIENCE)
        result = host.get(location + "/result")
        assert (result.status, result.text) == (200, "answer to " + body)

    ids = set().union(*[producer.ids() for producer in deferred])
    wait_until(lambda: set(arrived(host)) == ids, "deferred calls",
               3 * PATIENCE)

    for name in ("all", "once"):
        wait_until(lambda: max(claims(host, name)) > ended_ms
                   and is_whole(claims(host, name)), "all due times of "
                   + name, 3 * PATIENCE)
    assert claims(host, "skip")
    # the row is there when the call has ended, the claim when it began
    wait_until(lambda: {int(id.split(".")[1]) for id, in
                        rows(host, "tally", "SELECT id FROM effects")}
               >= {due for due in claims(host, "once") if due <= ended_ms},
               "effects")
    effects = rows(host, "tally")
    assert len(set(effects)) == len(effects)
    assert faasctl(host, "dlq", "list") == []
    end(host, engine)


def arrived(host):
    """How often each deferred call was made; never before its time."""

    times = collections.Counter()
    for id, at_ms, due_ms, _, _, name in journal(host, "deferred"):
        assert id == name
        assert int(at_ms) >= int(due_ms)
        times[id] += 1
    return times


def claims(host, timer):
    """{due time: fence}.  Who has claimed one got a fence of its own, so two
    claims would be two fences."""

    found = {}
    for due, fence, id, _ in journal(host, timer):
        assert id == "%s.%s" % (timer, due)
        found.setdefault(int(due), set()).add(int(fence))
    assert all(len(fences) == 1 for fences in found.values()), found
    fences = [fence for _, (fence,) in sorted(found.items())]
    assert fences == sorted(set(fences)), found
    return found


def is_whole(due):
    """No second is left out."""

    return sorted(due) == list(range(min(due), max(due) + 1, 1000))
