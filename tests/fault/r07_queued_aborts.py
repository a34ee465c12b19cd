#!/usr/bin/env python3
"""R7: 10 000 clients go away while they are queued.

None of them reaches an instance after nginx has seen that it went, the queue
is empty afterwards, and those who stayed are served in the order in which they
came."""

import collections

import fault

FORMAT = """
    log_format fault "$arg_id $status $pid $msec $request_time"
                     " $faas_started $faas_outcome";
"""

Line = collections.namedtuple(
    "Line", "id status worker arrived started outcome")


def access_log(host, ids):
    lines = []
    for line in (host.dir / "access.log").read_text().splitlines():
        f = line.split()
        if int(f[0], 16) in ids:
            # both in milliseconds, and of the clock that a worker reads once
            # in each turn of its loop: different means read in other turns
            arrived = round(float(f[3]) * 1000) - round(float(f[4]) * 1000)
            lines.append(Line(int(f[0], 16), int(f[1]), int(f[2]), arrived,
                              f[5], f[6]))
    return lines


def run(x):
    host = x.host({"one": "max 1; queue 5000 timeout=60s; timeout 20s;",
                   "four": "max 4; queue 5000 timeout=60s; timeout 20s;"},
                  sources={"one": "echo", "four": "echo"}, http=FORMAT,
                  location="access_log DIR/access.log fault;")
    before = {name: host.function(name)["totals"]["outcomes"]["cancelled"]
              for name in x.ledgers}
    records = x.load(host, ["/fn/one?ms=10", "/fn/four?ms=10"],
                     connections=x.pick(300, 500),
                     count=x.times(2000, 10_500, 30),
                     aborts=["queued:950:0-300"], bound=81000).result()
    x.summary(records)
    runs = x.check_executions(records, *x.ledgers.values())
    x.check("who stayed was answered",
            records.count("ok", "aborted") == len(records), records.kinds())
    x.at_rest(host)

    log = access_log(host, records.ids())
    x.check("nginx knows each request once",
            len(log) == len({line.id for line in log})
            and {line.id for line in log} == records.ids(),
            "%d lines" % len(log))
    queued = [line for line in log
              if line.status == 499 and line.started == "0"]
    ran = [line for line in queued if line.id in runs]
    x.check("none ran that had gone before", not ran, ran[:3])
    x.figure("went while queued", "%d; while running %d" % (
        len(queued), len([line for line in log if line.status == 499])
        - len(queued)))
    x.check("each is counted as cancelled",
            {line.outcome for line in queued} == {"cancelled"})
    cancelled = sum(host.function(name)["totals"]["outcomes"]["cancelled"]
                    - before[name] for name in x.ledgers)
    x.check("the counters say so",
            cancelled == len([li for li in log if li.outcome == "cancelled"]),
            "%d, log %d" % (cancelled, len(log)))

    ends = {r.id: r.end for r in records.of("aborted")}
    x.figure("ran after the client had gone, unseen", "%d" % len(
        [1 for i, es in runs.items() if i in ends
         and es[0].begin > ends[i]]))
    check_order(x, log)


def check_order(x, log):
    """`one` runs one at a time, so its ledger is the order of service."""

    begun = {e.id: e.begin for e in x.ledgers["one"].executions()}
    wrong = []
    for worker in {line.worker for line in log}:
        served = sorted((begun[line.id], line.arrived, line.id)
                        for line in log
                        if line.worker == worker and line.id in begun)
        wrong += [(a, b) for a, b in zip(served, served[1:]) if a[1] > b[1]]
    x.check("served in order of arrival", not wrong, wrong[:3])
    x.figure("served", len(begun))


fault.main(run, "R7", "who goes while queued is never run")
