#!/usr/bin/env python3
"""R9: 100 reloads, one a second, then 25 within half a second, every tenth
with an invalid file; each changes the limits of one function, adds another or
takes it away.

No request fails; the function that nothing was changed of keeps its processes;
what is valid is in force within a moment, what is not is refused by name."""

import signal
import time

import fault

STEADY = "min 4; max 4; max_requests 0; queue 1000 timeout=20s; timeout 5s;"
FUNCTIONS = {
    "echo": STEADY,
    "id": "min 0; max 4; queue 1000 timeout=20s; timeout 5s;",
}


class Reloads:
    def __init__(self, x, host):
        self.x = x
        self.host = host
        self.http = host.options["http"]
        self.n = x.pick(6, 0)
        self.valid = self.invalid = 0
        self.spans = []             # until the new limits are in force

    def one(self, is_awaited):
        self.n += 1
        limit = 1 + self.n % 4
        text = self.http.replace("min 0; max 4;", "min 0; max %d;" % limit)
        if self.n % 2:
            text += "faas_function other { max %d; }\n" % limit
        if self.n % 10 == 0:
            text += "faas_function echo%d { max none; }\n" % self.n
        refusals = self.refusals()
        self.host.configure(http=text)
        begin = fault.now_us()
        self.host.send(signal.SIGHUP)
        if self.n % 10 == 0:
            self.invalid += 1
            if is_awaited:
                fault.wait_until(lambda: self.refusals() > refusals,
                                 "the refusal")
            return
        self.valid += 1
        if is_awaited:
            self.in_force(limit)
            self.spans.append((begin, fault.now_us()))

    def refusals(self):
        return self.host.error_log().count("invalid value \"none\"")

    def in_force(self, limit):
        fault.wait_until(lambda: self.host.function("id")["limits"]["max"]
                         == limit, "the new limit", interval=0.005)


def steady(host):
    return sorted(fault.instances(host, "echo").values())


def run(x):
    host = x.host(FUNCTIONS)
    host.allowed.append("nginx.conf:")
    # those that stay may come to be used by both workers
    x.baseline[host]["instance"]["socket"] += 1
    reloads = Reloads(x, host)
    fault.wait_until(lambda: len(steady(host)) == 4, "all of echo")
    before = steady(host)

    spaced = x.times(6, 100, 110)
    load = x.load(host, ["/fn/echo?ms=5", "/fn/id?ms=2"],
                  connections=x.pick(20, 200), seconds=x.seconds(9, 110),
                  methods={"GET": 1, "POST": 1}, body="0-20000", bound=26000)
    for _ in range(spaced):
        began = time.monotonic()
        reloads.one(True)
        time.sleep(max(0, began + x.pick(0.5, 1) - time.monotonic()))
    for _ in range(25):
        reloads.one(False)
        time.sleep(x.random.random() * 0.025)
    if reloads.n % 10 == 9:
        reloads.n += 1
    reloads.one(True)
    records = load.stop().result()

    x.summary(records)
    x.figure("reloads", "%d, %d of them invalid" % (
        reloads.valid + reloads.invalid, reloads.invalid))
    x.bound("a reload was in force", reloads.spans, 1000)
    x.check("no request failed", not records.failed(), records.failed()[:3])
    x.check("what did not change kept its processes", steady(host) == before,
            "%s -> %s" % (before, steady(host)))
    x.check("the function still answers", host.get("/fn/echo").status == 200)
    x.check_executions(records, *x.ledgers.values())
    fault.wait_until(lambda: len(host.workers()) == 2, "the old workers' end")


fault.main(run, "R9", "reloads under load fail nothing")
