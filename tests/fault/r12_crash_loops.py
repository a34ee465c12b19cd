#!/usr/bin/env python3
"""R12: functions that crash in a constructor (from the first, or one day when
they were loaded already), at each request, and a second after their start.

Each is held back, longer each time, up to 30 s, and answered with 503 at once
meanwhile; one that never was good answers 502; others do not notice, the
supervisor has little to do, and a good deploy mends it."""

import os
import time

import fault

FUNCTIONS = {
    "echo": "max 4; queue 1000 timeout=20s; timeout 5s;",
    "id": "max 4; queue 1000 timeout=20s; timeout 5s;",
}
LIMITS = "max 2; timeout 10s; idle_timeout 100ms; template_timeout 200ms;"
PATHS = {"never": "/fn/never", "fallen": "/fn/fallen", "first": "/fn/first",
         "late": "/fn/late?ms=5000"}


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def others(x, host, seconds):
    return x.load(host, ["/fn/echo?ms=5", "/fn/id?ms=2"], connections=4,
                  seconds=seconds, methods={"GET": 1, "POST": 1},
                  body="0-5000", bound=26000)


def crash(x, host):
    """All of them are deployed, and are as they are."""

    flag = host.gates / "crash"
    flag_is = "-DFLAG=\"%s\"" % flag
    x.deploy(host, "fallen", "crash", flag_is)
    assert host.get("/fn/fallen").status == 200
    flag.touch()
    x.deploy(host, "never", "crash", flag_is, "-DNEVER", wait=False)
    x.deploy(host, "first", "crash", "-DCRASH_FIRST")
    x.deploy(host, "late", "crash", "-DCRASH_LATE")
    fault.wait_until(lambda: host.function("never")["state"] == "failed"
                     and not host.function("fallen")["template"],
                     "who fell and who never was")


def mend(x, host):
    for name in PATHS:
        x.deploy(host, name, "crash", "-DGOOD_%s" % name)
        x.check("%s: is mended by a good deploy" % name,
                host.get("/fn/" + name).status == 200)
        host.remove(name)
    (host.gates / "crash").unlink()
    fault.wait_until(lambda: not set(PATHS) & {
        f["name"] for f in host.status()["functions"]}, "them to be gone")


def rehearse(x, host):
    """So that every slot that they need has been used, and what is open then
    can be the measure."""

    crash(x, host)
    for path in PATHS.values():
        x.load(host, path, connections=2, count=4).result()
    mend(x, host)
    x.at_rest(host)
    x.baseline[host] = x.open_descriptors(host)
    x.allow_slots(host, 4 * len(PATHS))


def held_longest(host, longest):
    for f in host.status()["functions"]:
        if f["name"] in PATHS and f["backoff"]["held"]:
            longest[f["name"]] = max(longest.get(f["name"], 0),
                                     f["backoff"]["left_ms"])


def spans(records):
    return [(r.start, r.end) for r in records]


def verdict(x, name, records):
    x.summary(records, "requests to \"%s\"" % name)
    if name == "never":
        x.check("never: 502, not started", all(
            (r.status, r.started) == (502, "0") for r in records),
            records[:3])
        x.bound("never: its 502", spans(records), 50)
        return
    refused = records.of(503)
    x.check("%s: only 502 and 503" % name,
            len(refused) + records.count(502) == len(records),
            records.kinds())
    x.check("%s: is held back" % name, len(refused) > len(records) / 2)
    x.check("%s: 503 was not started, and says when to come again" % name,
            all(r.started == "0" and r.retry_after.isdigit()
                for r in refused), refused[:3])
    x.bound("%s: its 503" % name, spans(refused), 50)


def run(x):
    seconds = x.seconds(6, 300)
    host = x.host(FUNCTIONS, http="".join(
        "faas_function %s { %s }\n" % (name, LIMITS) for name in PATHS))
    rehearse(x, host)
    before = others(x, host, x.seconds(2, 20)).result()

    crash(x, host)
    supervisor = host.status()["supervisor"]["pid"]
    load = others(x, host, seconds)
    loads = {name: x.load(host, path, connections=2, seconds=seconds,
                          methods={"POST": 1}, think="10-30", bound=26000)
             for name, path in PATHS.items()}
    began, used, longest = time.monotonic(), cpu_seconds(supervisor), {}
    while load.is_running():
        held_longest(host, longest)
        time.sleep(0.1)
    used = (cpu_seconds(supervisor) - used) / (time.monotonic() - began)
    records = load.result()

    x.summary(records, "requests to others")
    x.check("no request to others failed", not records.failed(),
            records.failed()[:3])
    x.check_executions(fault.Records(before + records),
                       *x.ledgers.values())
    for name, load in loads.items():
        verdict(x, name, load.result())
    x.figure("held back, at most", ", ".join(
        "%s %.1f s" % (name, ms / 1000)
        for name, ms in sorted(longest.items())))
    quiet = x.ticker.undisturbed(spans(before))
    noisy = x.ticker.undisturbed(spans(records))
    p99 = [fault.percentile([(end - begin) / 1000 for begin, end in kept],
                            99) for kept in (quiet, noisy)]
    x.figure("p99 of others, before and meanwhile", "%.1f, %.1f ms"
             % tuple(p99))
    x.figure("supervisor", "%.1f %% of a CPU" % (100 * used))
    if not x.quick:
        x.check("others' p99 grows by no more than a fifth",
                p99[1] <= 1.2 * p99[0] + 1, p99)
        x.check("the supervisor takes 5 % of a CPU at most", used <= 0.05)
    if seconds >= 120:
        x.check("back-off comes to 30 s", max(longest.values(), default=0)
                > 15000, longest)

    mend(x, host)


fault.main(run, "R12", "functions that keep dying are nobody's matter")
