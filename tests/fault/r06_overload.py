#!/usr/bin/env python3
"""R6: 1000 connections ask at once for a function of which no service time is
known, with `max 8` and `queue 64`.

With one nginx worker exactly 72 are admitted, with several never more; the
others are refused at once, with Retry-After, and each who was admitted is
answered."""

import fault

MAX, QUEUE, CLIENTS = 8, 64, 1000


def flood(x, workers):
    """A host of its own: only a fresh one has measured nothing."""

    host = x.host({"echo": "max %d; queue %d timeout=30s; timeout 20s;"
                   % (MAX, QUEUE)}, workers=workers, warm=False,
                  server="location = /plain { return 503; }")
    what = "%d nginx worker%s" % (workers, "s" if workers > 1 else "")
    at_once = dict(connections=CLIENTS, count=CLIENTS, burst=True,
                   bound=35000, methods={"GET": 1, "POST": 1})
    spent = [processor_ms(x, host)]
    plain = x.load(host, "/plain", **at_once).result()
    spent.append(processor_ms(x, host))

    # nobody is answered, and so nothing is measured, before all have come
    ledger = x.ledgers["echo"]
    ledger.harm(1, 0)
    load = x.load(host, "/fn/echo?gate=1&ms=0", **at_once)

    def arrived():
        f = host.function("echo")
        refused = sum(f["totals"]["outcomes"][name]
                      for name in ("queue_full", "shed"))
        return refused + f["queue"]["admitted"] == CLIENTS and f

    # to ask for the status takes time of those that are measured

    f = fault.wait_until(arrived, "all to come", timeout=18, interval=0.5)
    spent.append(processor_ms(x, host))
    ledger.harm(0, 0)
    records = load.result()
    x.summary(records, what)

    x.check_executions(records, ledger)
    admitted, refused = records.count("ok"), records.of(503)
    x.check("status says how many were admitted",
            admitted == f["queue"]["admitted"], f["queue"])
    if workers == 1:
        x.check("exactly %d admitted" % (MAX + QUEUE),
                admitted == MAX + QUEUE, admitted)
    x.check("no more than %d admitted" % (MAX + QUEUE),
            admitted <= MAX + QUEUE, admitted)
    check_refusals(x, records)
    x.check("eight at once", x.ledgers["echo"].most == MAX,
            x.ledgers["echo"].most)
    x.at_rest(host)
    compare(x, what, refused, plain)
    took = [after - before for before, after in zip(spent, spent[1:])]
    x.figure("nginx's processor time, %s" % what, "%.1f ms; `return 503`: %.1f"
             % (took[1], took[0]))
    if not x.quick:
        x.check("refusing takes nginx at most 20 ms more than `return 503`",
                took[1] - took[0] <= 20, took)

    # once more, with all slots there and a service time known
    x.warm(host, ["echo"])
    again = x.load(host, "/fn/echo?ms=20", **at_once).result()
    x.summary(again, "%s, service time known" % what)
    x.check_executions(records + again, x.ledgers["echo"])
    check_refusals(x, again)
    x.figure("Retry-After", "%s unknown, %s known" % tuple(
        "/".join(sorted({r.retry_after for r in rs.of(503)}, key=int))
        for rs in (records, again)))


def check_refusals(x, records):
    refused = records.of(503)
    x.check("every other one is refused: 503",
            records.count("ok") + len(refused) == CLIENTS, records.kinds())
    x.check("each with Retry-After", all(r.retry_after.isdigit()
                                         and int(r.retry_after) >= 1
                                         for r in refused))
    x.check("each not started",
            {r.started for r in refused} <= {"0"}
            and {r.outcome for r in refused} <= {"queue_full", "shed"},
            {(r.outcome, r.started) for r in refused})


def processor_ms(x, host):
    """Of all nginx workers, since they began."""

    total = 0
    for pid, role in x.ours(host).items():
        if role == "nginx worker":
            with open("/proc/%d/schedstat" % pid) as stat:
                total += int(stat.read().split()[0])
    return total / 1e6


def compare(x, what, refused, plain):
    """Beside what nginx itself needs to say 503 to so many at once.  It is
    said only: instances start meanwhile, and who has two processors for them,
    for nginx and for the load waits for one."""

    x.figure("refused, %s" % what, "p50 %.1f p99 %.1f ms; `return 503`:"
             " p50 %.1f p99 %.1f" % (refused.percentile(50),
                                     refused.percentile(99),
                                     plain.percentile(50),
                                     plain.percentile(99)))


def run(x):
    for workers in (1, 2) if x.quick else (1, 2, 4, 1, 2, 4):
        flood(x, workers)


fault.main(run, "R6", "a flood is admitted up to the limit and refused beyond")
