#!/usr/bin/env python3
"""R13: requests that come just when their instance is ended for having been
idle, 10 000 times; and 1000 at once on a function without an instance.

Nothing fails, never more run than may, and no instance is ended with a request
in its socket."""

import fault

IDLE_MS = 60
CLIENTS = 1000


def at_the_end(x, host, names):
    """Requests in batches, each batch a little earlier than the one before if
    most of that met an instance that had ended, else a little later: so about
    half of all come just before the end, and half just after."""

    pause, spread = IDLE_MS + 10, 5
    count = x.times(400, 10_000, 150)
    batch = x.pick(80, 200)
    records, ended, pauses = fault.Records(), 0, []
    while len(records) < count:
        before = started(x, names)
        some = x.load(host, ["/fn/%s?ms=0" % name for name in names],
                      connections=len(names), count=batch,
                      think="%.1f-%.1f" % (pause - spread, pause + spread),
                      methods={"GET": 1, "POST": 1}, bound=16000).result()
        met = started(x, names) - before
        pauses.append(pause)
        pause += 3 if met * 2 < len(some) else -3
        ended += met
        records += some
    x.summary(records, "at the end of an instance")
    x.figure("which had just ended for", "%d; pauses %d to %d ms, of %d idle"
             % (ended, min(pauses) - spread, max(pauses) + spread, IDLE_MS))
    return records


def started(x, names):
    return sum(x.ledgers[name].processes for name in names)


def run(x):
    names = ["idle%d" % i for i in range(x.pick(4, 12))]
    functions = {name: "max 2; queue 50 timeout=10s; timeout 5s;"
                       " idle_timeout %dms;" % IDLE_MS for name in names}
    functions["echo"] = "max 8; queue 1000 timeout=20s; timeout 5s;" \
                        " idle_timeout 300ms;"
    host = x.host(functions, sources={name: "echo" for name in names})

    records = at_the_end(x, host, names)
    check(x, records)
    for name in names:
        check_ends(x, host, name)

    for i in range(x.pick(2, 10)):
        fault.wait_until(lambda: not fault.instances(host, "echo"), "none")
        before = x.ledgers["echo"].processes
        flood = x.load(host, "/fn/echo?ms=4", connections=CLIENTS,
                       count=CLIENTS, burst=True, bound=26000,
                       methods={"GET": 1, "POST": 1}).result()
        x.summary(flood, "at once on a cold function")
        x.figure("instances, p99", "%d, %.0f ms" % (
            x.ledgers["echo"].processes - before, flood.percentile(99)))
        check(x, flood)
        records += flood
    check_ends(x, host, "echo")
    x.check_executions(records, *x.ledgers.values())


def check(x, records):
    x.check("none failed", records.count("ok") == len(records),
            records.kinds())


def check_ends(x, host, name):
    totals = host.function(name)["totals"]
    x.check("no instance was killed or died",
            totals["deaths"] == totals["kills"] == 0, totals)
    x.check("nothing had to be asked again", totals["retries"] == 0, totals)


fault.main(run, "R13", "who comes when an instance ends is served")
