#!/usr/bin/env python3
"""R4: kill -9 of the supervisor, again and again under load; then of the
supervisor and nginx's master together.

Nothing that runs or waits fails: instances and nginx's workers go on without
either, and the next supervisor adopts what it finds.  After both were killed
the workers serve on as orphans; when they have been told to end, a plain start
works, whatever lies about."""

import os
import signal
import time

import fault

FUNCTIONS = {
    "echo": "max 6; queue 1000 timeout=20s; timeout 5s;",
    "body": "max 3; queue 1000 timeout=20s; timeout 5s;",
    "id": "max 3; queue 1000 timeout=20s; timeout 5s;",
}
PATHS = ["/fn/echo?ms=5", "/fn/body?ms=5", "/fn/id?ms=2"]


def find(host, role):
    return [pid for pid in host.processes() if fault.role(pid) == role]


def adoption(host, restarts):
    """Waits until another supervisor has adopted all that there is."""

    def adopted():
        s = host.status()["supervisor"]
        return s["restarts"] > restarts and s["alive"] and s["pid"]

    fault.wait_until(adopted, "another supervisor", interval=0.005)


def kill_supervisor(host, spans):
    restarts = host.status()["supervisor"]["restarts"]
    begin = fault.now_us()
    fault.kill(find(host, "supervisor")[0])
    adoption(host, restarts)
    spans.append((begin, fault.now_us()))


def alone(x, host):
    count = x.times(3, 100, 150)
    spans = []
    load = x.load(host, PATHS, connections=x.pick(40, 200),
                  seconds=x.seconds(5, 150), methods={"GET": 2, "POST": 2},
                  body="0-50000", bound=26000)
    x.ledgers["echo"].wait_for(100)
    while load.is_running() and len(spans) < count:
        kill_supervisor(host, spans)
        time.sleep(x.random.random() * 0.4)
    records = load.stop().result()
    x.summary(records, "requests, supervisor killed %d times" % len(spans))
    x.check("no request failed", not records.failed(), records.failed()[:3])
    x.bound("adopted", spans, 2000)
    return records


def with_master(x, host, spans):
    """One round; the records of its load."""

    workers = host.workers()
    restarts = host.status()["supervisor"]["restarts"]
    load = x.load(host, PATHS, connections=20, seconds=x.pick(1.5, 3),
                  methods={"GET": 1, "POST": 1}, body="0-5000", bound=26000)
    x.ledgers["echo"].wait_for(100)
    begin = fault.now_us()
    supervisor = find(host, "supervisor")[0]
    os.kill(host.process.pid, signal.SIGKILL)
    fault.kill(supervisor)
    host.process.wait(10)
    adoption(host, restarts)
    spans.append((begin, fault.now_us()))
    records = load.result()
    x.check("no request failed without master and supervisor",
            not records.failed(), records.failed()[:3])

    # the operator's part, gentle or not; the host may be ending still, or be
    # killed as well, when nginx is started
    rude = x.random.random() < 0.5
    victims = workers + (find(host, "keeper") if rude
                         and x.random.random() < 0.5 else [])
    for pid in victims:
        fault.kill(pid, signal.SIGKILL if rude else signal.SIGQUIT)
    fault.wait_until(lambda: not any(map(fault.harness.is_alive, workers)),
                     "the orphans' end")
    begin = time.monotonic()
    host.start()
    x.check("a plain start serves", host.get("/fn/id").status == 200)
    return records, time.monotonic() - begin


def run(x):
    host = x.host(FUNCTIONS)
    host.allowed += ["supervisor was killed by signal 9",
                     "the keeper is gone"]
    records = alone(x, host)
    x.at_rest(host)
    x.check_descriptors(host)

    spans, starts = [], []
    for _ in range(x.times(2, 20, 150)):
        more, seconds = with_master(x, host, spans)
        records += more
        starts.append(seconds)
    x.bound("adopted, master killed as well", spans, 2000)
    x.figure("plain starts took", "%.1f s at most of %d" % (max(starts),
                                                            len(starts)))
    x.warmed.update(range(1 << 16))
    x.check_executions(records, *x.ledgers.values())


fault.main(run, "R4", "a killed supervisor fails nothing")
