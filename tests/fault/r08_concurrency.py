#!/usr/bin/env python3
"""R8: functions count how many of them run at once, and how many instances
there are, over 100 000 requests on four nginx workers, while instances and
nginx workers are killed and nginx is reloaded.

Never more than `max`, of neither."""

import signal
import time

import fault

FUNCTIONS = {
    "echo": "max 6; queue 2000 timeout=30s; timeout 5s;",
    "once": "mode oneshot; max 4; spare 2; queue 2000 timeout=30s;"
            " timeout 5s;",
    "few": "max 4; queue 2000 timeout=30s; timeout 5s; max_requests 20;",
}


def run(x):
    host = x.host(FUNCTIONS, workers=4, sources={"once": "id", "few": "echo"})
    host.allowed.append("exited on signal 9")
    ledgers = list(x.ledgers.values())
    before = sum(ledger.taken for ledger in ledgers)
    load = x.load(host, ["/fn/echo?ms=2", "/fn/once", "/fn/few?ms=1",
                         "/fn/echo?ms=1", "/fn/few"],
                  connections=60, seconds=x.seconds(5, 600),
                  count=x.times(1 << 40, 100_000, 120),
                  methods={"GET": 2, "POST": 1, "HEAD": 1}, bound=36000)
    done = {"instances killed": 0, "workers killed": 0, "reloads": 0}
    turn = 0
    while load.is_running():
        turn += 1
        time.sleep(0.05)
        if turn % 3 == 0:
            pids = list(fault.instances(host).values())
            if pids:
                done["instances killed"] += fault.kill(x.random.choice(pids))
        if turn % 8 == 0:
            pids = host.workers()
            if pids:
                done["workers killed"] += fault.kill(x.random.choice(pids))
        if turn % 20 == 0:
            host.send(signal.SIGHUP)
            done["reloads"] += 1
    records = load.result()

    x.summary(records)
    for what, n in done.items():
        x.figure(what, n)
    x.figure("executions", sum(ledger.taken for ledger in ledgers) - before)
    for name, ledger in x.ledgers.items():
        x.figure("%s: at once, of %d" % (name, x.limits[name]), ledger.most)
        x.check("%s: up to max at once" % name,
                ledger.most == x.limits[name], ledger.most)
    x.check_executions(records, *ledgers, raced=True)
    x.check("what fails is a cut connection, or a 502 of a killed instance",
            all(r.kind in ("cut", "aborted") or r.status == 502
                for r in records.failed()), records.kinds())
    x.check("no GET got a 502", not records.methods("GET", "HEAD").count(502),
            records.methods("GET", "HEAD").of(502)[:3])


fault.main(run, "R8", "never more than max run at once, whatever is killed")
