#!/usr/bin/env python3
"""R2: one of eight instances is stopped (SIGSTOP), loops for ever, waits for
its own lock, or blocks all signals, having forked children that left its
session and ignore SIGTERM; under load, over and over.

The request gets a 504 at its budget; the instance gets SIGTERM, then SIGKILL
with all that it forked; its slot is free again soon; other requests of the
function and other functions do not notice."""

import signal
import time

import fault

BUDGET_MS = 1000
GRACE_MS = 500              # from SIGTERM to SIGKILL: worker/instance_end.c
FUNCTIONS = {
    "stuck": "max 8; queue 500 timeout=10s; timeout %dms;" % BUDGET_MS,
    "echo": "max 4; queue 500 timeout=10s; timeout 5s;",
}
FORMAT = """
    log_format fault "$arg_id $status $faas_exec_time";
"""
HOW = ["stop", "loop", "deadlock", "ignore"]


class Injection:
    def __init__(self, x, host):
        self.x = x
        self.host = host
        self.ids = {}               # id -> how
        self.gone = []              # (begin, end): from the 504 to the end

    def stop(self):
        """SIGSTOP; a request of the load finds out."""

        pids = list(fault.instances(self.host, "stuck").values())
        if not pids:
            return
        pid = self.x.random.choice(pids)
        family = self.family(pid)
        if not fault.kill(pid, signal.SIGSTOP):
            return
        fault.wait_until(lambda: self.host.log_has("pid %d " % pid)
                         or not self.alive(family), "somebody to find pid %d"
                         % pid)
        self.await_end(family, None)

    def stick(self, how):
        """A request that never ends."""

        self.x.ids += 1
        number = self.x.ids
        self.ids[number] = how
        asked = fault.harness.Background(lambda: self.host.post(
            "/fn/stuck?id=%016x&how=%s&children=2" % (number, how)))
        executions = fault.wait_until(
            lambda: self.x.ledgers["stuck"].by_id().get(number),
            "the stuck request to begin")
        family = self.family(self.outer(executions[0].pid))
        self.x.check("it has its children", len(family) == 3, family)
        answer = asked.result()
        self.x.check("a stuck request is a 504, started", answer.status == 504
                     and answer.headers["X-Started"] == "1", answer)
        self.await_end(family, fault.now_us())

    def outer(self, inner):
        return next(pid for pid in fault.instances(self.host, "stuck").values()
                    if fault.inner_pid(pid) == inner)

    @staticmethod
    def family(pid):
        return [pid] + list(fault.harness.descendants(pid))

    @staticmethod
    def alive(family):
        return [pid for pid in family if fault.harness.is_alive(pid)]

    def await_end(self, family, since):
        fault.wait_until(lambda: not self.alive(family),
                         "the end of %s" % family, interval=0.002)
        if since:
            self.gone.append((since, fault.now_us()))


def run(x):
    host = x.host(FUNCTIONS, http=FORMAT,
                  location="access_log DIR/access.log fault;")
    x.ids = 1 << 60                 # of requests that are not a load's
    rounds = x.times(4, 50, 100)
    options = dict(connections=4, bound=17000, seconds=1000)

    quiet = x.load(host, "/fn/echo", connections=4, bound=17000,
                   seconds=x.pick(2, 20))
    stuck = x.load(host, "/fn/stuck", methods={"GET": 1, "POST": 1}, **options)
    before = quiet.result()

    other = x.load(host, "/fn/echo", **options)
    injection = Injection(x, host)
    for i in range(rounds):
        how = HOW[i % len(HOW)]
        if how == "stop":
            injection.stop()
        else:
            injection.stick(how)
        time.sleep(0.1)
    during = other.stop().result()
    records = stuck.stop().result()

    x.summary(records, "requests to the function")
    x.summary(during, "requests to another")
    x.figure("stuck", "%d stopped, %d that never end" % (
        rounds - len(injection.ids), len(injection.ids)))
    x.check_executions(before + during + records, *x.ledgers.values(),
                       others=injection.ids)
    x.check("the other function does not fail",
            (before + during).count("ok") == len(before + during),
            (before + during).kinds())
    stopped = rounds - len(injection.ids)
    x.check("its own fail only where one was stopped: 504",
            len(records.failed()) == records.count(504) <= stopped,
            records.kinds())
    check_budget(x, host, injection, records)
    x.bound("after the 504, instance and children are gone", injection.gone,
            GRACE_MS + 100)
    compare(x, before, during)


def check_budget(x, host, injection, records):
    """By nginx's own clock, from hand-over to the end."""

    late = []
    for line in (host.dir / "access.log").read_text().splitlines():
        number, status, seconds = line.split()
        if status == "504":
            late.append(abs(float(seconds) * 1000 - BUDGET_MS))
    x.check("each 504 is logged",
            len(late) == records.count(504) + len(injection.ids), len(late))
    x.figure("504 off its budget", "p50 %.1f max %.1f ms of %d" % (
        fault.percentile(late, 50), max(late, default=0), len(late)))
    if not x.quick:
        x.check("504 at the budget, 50 ms more or less",
                fault.percentile(late, 90) <= 50, late)


def compare(x, before, during):
    """p99 of the other function, of requests that the machine let be."""

    p99 = []
    for records in (before, during):
        spans = x.ticker.undisturbed([(r.start, r.end) for r in records])
        p99.append(fault.percentile([(b - a) / 1000 for a, b in spans], 99))
    x.figure("p99 of another function", "%.1f ms before, %.1f ms during"
             % tuple(p99))
    if not x.quick:
        x.check("p99 of another function at most 1.2 times",
                p99[1] <= 1.2 * p99[0], p99)


fault.main(run, "R2", "a stuck instance ends at its budget with its children")
