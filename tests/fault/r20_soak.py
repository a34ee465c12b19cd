#!/usr/bin/env python3
"""R20: 1 000 000 requests, 1000 starts of instances for bursts that come and
go, 100 deploys and 100 reloads, in ten parts that are alike.

Nothing fails, and nothing grows: memory of the processes that last,
descriptors, zombies, and the time that the slowest of a hundred takes."""

import signal
import time

import fault

FUNCTIONS = {
    "id": "max 4; queue 1000 timeout=20s; timeout 5s;",
    "echo": "max 8; queue 1000 timeout=20s; timeout 5s; idle_timeout 200ms;"
            " template_timeout 10m;",
}
LASTING = ("nginx master", "keeper", "supervisor", "zygote", "events",
           "tender")


def memory(x, host):
    """role -> KiB that are resident and of the process alone."""

    found = {}
    for pid, role in x.ours(host).items():
        if role in LASTING:
            with open("/proc/%d/status" % pid) as status:
                for line in status:
                    if line.startswith("RssAnon:"):
                        found[role] = found.get(role, 0) \
                            + int(line.split()[1])
    return found


class Soak:
    def __init__(self, x, host):
        self.x = x
        self.host = host
        self.parts = x.pick(4, 10)
        self.requests = x.times(8000, 1000000, 600)
        self.scalings = x.times(16, 1000, 600)
        self.changes = x.times(4, 100, 600)
        self.versions = [x.source("id", "-DRECORD_VERSION=%d" % i)
                         for i in (2, 3)]
        self.http = host.options["http"]
        self.deployed = self.reloaded = self.started = 0
        self.failed, self.p99 = [], []

    def starts(self):
        return self.host.function("echo")["totals"]["starts"]

    def change(self):
        """A deploy and a reload."""

        path = self.versions[self.deployed % 2]
        self.host.put(path, "id.so")
        self.host.wait_version("id", path)
        self.deployed += 1
        self.host.configure(http=self.http.replace(
            "queue 1000", "queue %d" % (1000 + self.reloaded % 2)))
        self.host.send(signal.SIGHUP)
        self.reloaded += 1

    def part(self, number):
        """One of them; all are alike."""

        x = self.x
        load = x.load(self.host, "/fn/id", connections=x.pick(10, 50),
                      count=self.requests // self.parts,
                      methods={"GET": 1, "POST": 1}, body="0-2000",
                      bound=26000)
        load.limit += 1800
        bursts, due, began = [], self.changes // self.parts, self.starts()
        wanted = self.scalings * (number + 1) // self.parts - self.started
        while load.is_running() or self.starts() - began < wanted:
            if due:
                self.change()
                due -= 1
            burst = x.load(self.host, "/fn/echo?ms=20", connections=8,
                           count=16, bound=26000)
            bursts.append((burst, burst.result()))
            # longer than its instances stay for nothing
            time.sleep(0.3)
        self.started += self.starts() - began
        self.account(load, bursts)

    def account(self, load, bursts):
        x, records = self.x, load.result()
        together = fault.Records(records)
        for _, more in bursts:
            together += more
        self.failed += together.failed()[:10]
        x.check_executions(together, *x.ledgers.values())
        # of the parts that follow they are none of the business
        x.warmed |= {r.id >> 32 for r in together}
        kept = x.ticker.undisturbed([(r.start, r.end) for r in records])
        self.p99.append(fault.percentile(
            [(end - begin) / 1000 for begin, end in kept], 99))


def run(x):
    host = x.host(FUNCTIONS)
    soak = Soak(x, host)
    x.allow_slots(host, 2 * x.limits["id"])
    soak.change()
    x.at_rest(host)
    before = None
    for number in range(soak.parts):
        soak.part(number)
        if number == 0:
            # what is kept once it was needed, is there
            x.at_rest(host)
            before = memory(x, host)
    x.at_rest(host)
    after = memory(x, host)

    x.figure("requests", "%d, and bursts with %d starts of instances; %d"
             " deploys, %d reloads" % (soak.requests, soak.started,
                                       soak.deployed, soak.reloaded))
    x.check("no request failed", not soak.failed, soak.failed[:3])
    x.figure("p99 of each part", ", ".join("%.1f" % ms for ms in soak.p99)
             + " ms")
    for role in LASTING:
        drift = after.get(role, 0) - before.get(role, 0)
        x.figure("memory of %s" % role, "%d KiB, %+d KiB since the first part"
                 % (after.get(role, 0), drift))
        x.check("memory of %s grows by less than 1 MiB" % role, drift < 1024,
                drift)
    x.check("it was one supervisor all the time",
            host.status()["supervisor"]["restarts"] == 0)
    if not x.quick:
        # of ten parts without a trend the last is above the first by more
        # than that half of the time, so it is the halves that are compared
        half = len(soak.p99) // 2
        first, last = (fault.percentile(part, 50) for part in
                       (soak.p99[:half], soak.p99[half:]))
        x.figure("median p99 of the halves", "%.1f, %.1f ms" % (first, last))
        x.check("p99 of the last half at most 1.1 of the first",
                last <= 1.1 * first + 0.2, soak.p99)


fault.main(run, "R20", "a million requests leave no trace",
           full_limit=7200)
