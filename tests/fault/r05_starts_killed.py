#!/usr/bin/env python3
"""R5: instances are killed between fork and ready, by us at any moment and by
themselves; they exit, abort, hang; all of them, or some; and so does `init` of
a new version.

Who waits for them is served by another, or is told in time, and what fails
leaves nothing behind."""

import time

import fault

KILL, EXIT, ABORT, HANG, FAIL = 1, 2, 4, 8, 16
WAYS = {"kill": KILL, "exit": EXIT, "abort": ABORT, "hang": HANG,
        "fail": FAIL}
INIT_MS = 400
FUNCTIONS = {
    "once": "mode oneshot; max 8; spare 2; queue 500 timeout=20s; timeout 5s;"
            " init_timeout %dms;" % INIT_MS,
    "kept": "max 4; queue 500 timeout=20s; timeout 5s; max_requests 3;"
            " init_timeout %dms;" % INIT_MS,
    "echo": "max 2; queue 100 timeout=10s; timeout 5s;"
            " init_timeout %dms;" % INIT_MS,
}
SOURCES = {"once": "fragile", "kept": "fragile"}


def some(x, host):
    """Of ten starts one or two do not get ready."""

    for name in SOURCES:
        x.ledgers[name].harm(KILL | EXIT | ABORT | FAIL, 70)
    before = {name: x.ledgers[name].processes for name in SOURCES}
    load = x.load(host, ["/fn/once?ms=2", "/fn/kept?ms=2"],
                  connections=x.pick(12, 24), seconds=1000,
                  methods={"GET": 1, "POST": 1}, bound=26000)
    count, ours = x.times(60, 1000, 100), 0
    inits = [pid for pid in fault.harness.descendants()
             if fault.role(pid) == "init"
             and fault.harness.cmdline(pid).split()[1] in SOURCES]
    known = {pid: fault.children(pid) for pid in inits}
    deadline = time.monotonic() + x.pick(4, 240)
    while harmed(x) + ours < count and time.monotonic() < deadline:
        for pid in inits:
            there = fault.children(pid)
            for new in sorted(there - known[pid]):
                if x.random.random() < 0.1:
                    # at any moment before it is ready, and some after
                    time.sleep(x.random.random() * 0.003)
                    ours += fault.kill(new)
            known[pid] = there
        time.sleep(0.001)
    records = load.stop().result()
    x.summary(records, "some starts fail")
    x.figure("instances", "%d, of which %d harmed themselves, %d killed" % (
        sum(x.ledgers[name].processes - before[name] for name in SOURCES),
        harmed(x), ours))
    for name in SOURCES:
        x.ledgers[name].harm(0, 0)
    return records, ours


def harmed(x):
    return sum(x.ledgers[name].harmed for name in SOURCES)


def all_of(x, host, way):
    """No start gets ready, whichever request waits for it; then all do."""

    ledger = x.ledgers["once"]
    fault.wait_until(lambda: not fault.instances(host, "once"), "no spare")
    ledger.harm(WAYS[way], 1000)
    records = x.load(host, "/fn/once?ms=2", connections=20, count=20,
                     burst=True, bound=26000).result()
    ledger.harm(0, 0)
    x.summary(records, "every start: %s" % way)
    x.check("no start: 503 or 502, not started, when to come again",
            all(r.status in (502, 503) and r.started == "0"
                and (r.status == 502 or r.retry_after.isdigit())
                for r in records), records.kinds())
    longest = max(r.end - r.start for r in records) / 1000
    x.figure("answered within", "%.0f ms" % longest)
    # the waiting budget is 20 s: it is not that which ended it
    x.check("whoever waited is told when it is known", longest < 10_000,
            "%.0f ms" % longest)
    x.bound("no start: %s" % way, [(r.start, r.end) for r in records],
            1000 + 3 * INIT_MS * (way == "hang"))
    return records + recovered(x, host)


def recovered(x, host):
    """The first that is served, and as many as make up for all deaths."""

    begun = time.monotonic()
    records = fault.Records()

    def served():
        some = x.load(host, "/fn/once?ms=2", count=1, bound=26000).result()
        records.extend(some)
        return some.count("ok")

    fault.wait_until(served, "a good start", interval=0.1)
    x.figure("served again after", "%.1f s" % (time.monotonic() - begun))
    return records + x.load(host, "/fn/once?ms=2", connections=2, count=24,
                            bound=26000).result()


def unborn(x, host):
    """Versions whose `init` fails: the one before serves on."""

    # the last version starts while the one before drains
    x.allow_slots(host, x.limits["echo"])
    load = x.load(host, "/fn/echo?ms=5", connections=4, seconds=1000,
                  methods={"GET": 1, "POST": 1}, bound=16000)
    good = host.function("echo")["version"]
    for way in x.pick([1, 3], [0, 1, 2, 3]):
        x.deploy(host, "echo", "unborn", "-DUNBORN=%d" % way, wait=False)
        fault.wait_until(lambda: host.function("echo")["last_error"],
                         "why it cannot start")
        f = host.function("echo")
        x.check("the version before serves on",
                (f["version"], f["state"]) == (good, "ready"), f)
        x.deploy(host, "echo")
    # with a good one nothing is kept of those that failed
    x.deploy(host, "echo", "echo", "-DRECORD_VERSION=2")
    records = load.stop().result()
    x.summary(records, "while new versions fail in init")
    x.check("none failed", records.count("ok") == len(records),
            records.kinds())
    return records


def run(x):
    host = x.host(FUNCTIONS, sources=SOURCES)
    records, ours = some(x, host)

    # some kills come after an instance was ready, and hit what it runs
    hit = [r for r in records.failed()
           if (r.status, r.method, r.started) == (502, "POST", "1")]
    refused = [r for r in records.failed() if r not in hit]
    x.figure("POSTs that a late kill hit", "%d of %d kills" % (len(hit), ours))
    x.check("no more of them than kills", len(hit) <= ours)
    x.check("what else fails is refused: 503, not started",
            all(r.status == 503 and r.started == "0"
                and r.retry_after.isdigit() for r in refused), refused[:3])
    x.check("most are served", records.count("ok") > len(records) / 2,
            records.kinds())
    for way in x.pick(["kill", "hang"], WAYS):
        records += all_of(x, host, way)
    records += unborn(x, host)
    x.check_executions(records, *x.ledgers.values())


fault.main(run, "R5", "what dies before it is ready costs nobody a request")
