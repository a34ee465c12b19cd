#!/usr/bin/env python3
"""R1: kill -9 of a random instance every 200 ms, under a load of GETs and
POSTs on three functions.

A killed instance costs the POST that it was running, and nothing else: GETs
are run again elsewhere, what waits goes on waiting, and another instance takes
its place."""

import time

import fault

FUNCTIONS = {
    "echo": "max 8; queue 1000 timeout=10s; timeout 5s;",
    "body": "max 4; queue 1000 timeout=10s; timeout 5s;",
    "id": "max 4; queue 1000 timeout=10s; timeout 5s;",
}


def kill_one(x, host, kills):
    """(function, pid as it sees itself) -> when it was killed; how long it
    took until another was there, as (begin, end)."""

    names = {pid: name for name in FUNCTIONS
             for pid in fault.instances(host, name).values()}
    pid = x.random.choice(list(names))
    name, ledger = names[pid], x.ledgers[names[pid]]
    before = ledger.processes
    try:
        victim = name, fault.inner_pid(pid)
    except OSError:
        return None
    when = fault.now_us()
    if not fault.kill(pid):
        return None
    kills[victim] = when
    try:
        fault.wait_until(lambda: ledger.processes > before, timeout=2,
                         interval=0.002)
    except AssertionError:
        return None         # the load needs no other at the moment
    return when, fault.now_us()


def run(x):
    host = x.host(FUNCTIONS)
    before = {name: x.ledgers[name].processes for name in FUNCTIONS}
    load = x.load(host, ["/fn/echo", "/fn/body?ms=10", "/fn/id?ms=5"],
                  connections=x.pick(60, 200), seconds=x.seconds(5, 60),
                  methods={"GET": 1, "POST": 1}, body="0-100000", bound=16000)
    kills, replaced, count = {}, [], x.times(20, 300)
    x.ledgers["echo"].wait_for(100)
    while load.is_running() and len(kills) < count:
        began = time.monotonic()
        span = kill_one(x, host, kills)
        if span:
            replaced.append(span)
        time.sleep(max(0, began + 0.2 - time.monotonic()))
    records = load.stop().result()
    x.summary(records)
    x.figure("kills", len(kills))

    x.check_executions(records, *x.ledgers.values())
    check_failures(x, records, kills)
    x.bound("a killed instance was replaced", replaced, 250)
    x.figure("instances started", sum(
        x.ledgers[name].processes - before[name] for name in FUNCTIONS))


def check_failures(x, records, kills):
    """Each failure is a POST that a kill hit."""

    function_of, last = {}, {}
    for name in FUNCTIONS:
        for e in x.ledgers[name].executions():
            function_of[e.id] = name
            last[name, e.pid] = e
    failed = records.failed()
    x.check("no GET failed", not failed.methods("GET"),
            failed.methods("GET")[:3])
    x.check("every failure is a 502", len(failed) == failed.count(502),
            failed.kinds())

    spans, hit = [], set()
    for r in failed.methods("POST"):
        if not x.check("no request failed that was not run",
                       r.id in function_of, r):
            continue
        name = function_of[r.id]
        victim = [(n, pid) for (n, pid), e in last.items()
                  if n == name and e.id == r.id and (n, pid) in kills]
        if x.check("who failed was the last of a killed instance", victim, r):
            hit.update(victim)
            spans.append((kills[victim[0]], r.end))
    x.figure("failed POSTs", "%d, of %d kills that hit an execution" % (
        len(failed), len([1 for v, e in last.items()
                          if v in kills and e.end == 0])))
    x.check("no more failures than kills",
            len(failed.methods("POST")) == len(hit))
    x.bound("a 502 after its kill", spans, 100)


fault.main(run, "R1", "killed instances fail only what they ran")
