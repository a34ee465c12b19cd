#!/usr/bin/env python3
"""R3: kill -9 of a random nginx worker, half of the times at an instruction
inside of the scheduler (strike.c), and sometimes of one that has just been
forked.

Only requests on its own connections fail; the supervisor takes back what it
held within a second; no instance stays busy or idle for ever; never more run
than may."""

import collections
import time

import fault

CRITICAL = (r"faas_slot_(change|acquire|take_handed|hint)|"
            r"ngx_http_faas_(scheduler|queue)_(?!init).*|"
            r"ngx_http_faas_worker_wake_handler")
FUNCTIONS = {
    "echo": "max 4; queue 1000 timeout=20s; timeout 5s;",
    "id": "max 2; queue 1000 timeout=20s; timeout 5s;",
}


class Kills:
    def __init__(self, x, host):
        self.x = x
        self.host = host
        self.striker = fault.Striker(
            x, x.programs() / "ngx_http_faas_module.so", CRITICAL)
        self.when = {}              # pid -> when its connections ended
        self.taken_back = []        # (begin, end)
        self.age = collections.Counter()

    def one(self):
        """A worker at any moment, or at a critical one."""

        pid = self.x.random.choice(self.host.workers())
        known = fault.children(self.host.pid())
        begin = fault.now_us()
        if self.x.random.random() < 0.5:
            if self.striker.kill(pid) is None:
                return
        elif not fault.kill(pid):
            return
        end = fault.now_us()
        if self.x.random.random() < 0.3:
            self.young(known)
        self.see(pid, begin, end)

    def young(self, known):
        """The one that takes its place, while it sets itself up."""

        def born():
            return fault.children(self.host.pid()) - known

        pid = fault.wait_until(born, "another worker", interval=0.0005).pop()
        time.sleep(self.x.random.random() * 0.02)
        begin = fault.now_us()
        if fault.kill(pid):
            self.age["young"] += 1
            self.see(pid, begin, fault.now_us())

    def see(self, pid, begin, end):
        # a process that was killed has sockets until the kernel has come to it
        fault.wait_until(lambda: not fault.harness.is_alive(pid), "its end")
        self.when[pid] = begin, fault.now_us()
        # the record is freed when all that it held has been taken back
        fault.wait_until(lambda: pid not in {
            w["pid"] for w in self.host.status()["workers"]},
            "the record of a dead worker", timeout=10)
        self.taken_back.append((end, fault.now_us()))


def run(x):
    workers = 3
    host = x.host(FUNCTIONS, workers=workers)
    host.allowed.append("exited on signal 9")
    load = x.load(host, ["/fn/echo?ms=5", "/fn/id?ms=2"],
                  connections=x.pick(60, 200), seconds=1000,
                  methods={"GET": 3, "POST": 2, "HEAD": 1}, bound=26000)
    kills, count = Kills(x, host), x.times(40, 500, 150)
    while load.seconds() < x.pick(6, 400) and len(kills.when) < count:
        fault.wait_until(lambda: len(host.workers()) == workers, "workers")
        time.sleep(x.random.random() * 0.1)
        kills.one()
    fault.wait_until(lambda: not load.stop().is_running(), "the end",
                     interval=0.001)
    quiet = until_quiet(host)
    records = load.result()

    x.summary(records)
    x.figure("kills", "%d, %d just forked, inside of the scheduler %d: %s" % (
        len(kills.when), kills.age["young"],
        sum(kills.striker.hits.values()), ", ".join(
            "%s %d" % (name.replace("ngx_http_faas_", ""), n)
            for name, n in kills.striker.hits.most_common(8))))
    x.check_executions(records, *x.ledgers.values(), raced=True)
    check_failures(x, records, kills)
    x.bound("what it held was taken back", kills.taken_back, 1000)

    x.bound("counters are the truth after the last answer", [quiet], 1000)


def until_quiet(host):
    """From now until the counters say that nothing runs or waits."""

    def quiet():
        for name in FUNCTIONS:
            f = host.function(name)
            states = {k: n for k, n in f["instances"].items()
                      if k != "idle" and n}
            assert not states and not any(f["queue"].values()), f
        return True

    begin = fault.now_us()
    fault.wait_until(quiet, "no instance busy")
    return begin, fault.now_us()


def check_failures(x, records, kills):
    """Each is a connection that ended when its worker was killed."""

    failed = fault.Records(r for r in records if r.kind != "ok")
    x.check("no answer but 200 or a cut connection",
            not failed.count("status", "refused"),
            failed.of("status", "refused")[:3])
    strangers = []
    for r in failed.of("cut", "raced"):
        if r.worker == "-":
            spans = list(kills.when.values())
        else:
            spans = [kills.when[int(r.worker)]] \
                if int(r.worker) in kills.when else []
        if not any(r.start <= end and begin <= r.end for begin, end in spans):
            strangers.append(r)
    x.check("only connections of killed workers were cut", not strangers,
            strangers[:3])


fault.main(run, "R3", "a killed nginx worker takes only its connections along")
