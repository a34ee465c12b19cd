#!/usr/bin/env python3
"""R15: calls fail while requests, deploys and starts go on: the n-th
allocation of an nginx worker, for n = 1 to 2000, and of the supervisor and
what it starts; each accept(), socket(), fork() and clone() for a while, for
lack of descriptors or processes; each write to a file, for lack of room.

Nothing crashes but an instance that gets no memory for a request, which then
did not run; what fails is one request for one failed call of a worker, with
500, 502 or 503 or a connection that is cut; 5 s after the shortage all is
right again, and what was deployed meanwhile serves."""

import errno
import itertools
import time

import fault
from inject import Injector

MAX = 4
BLOCK = "max %d; queue 200 timeout=10s; timeout 10s;" % MAX

# so small that nearly each piece that a request needs is an allocation
POOLS = """
    request_pool_size 112;
    connection_pool_size 112;
    client_body_buffer_size 1k;
"""

# roles and calls: errno, how long all of them fail; what is tried meanwhile
SHORTAGES = [
    ("supervisor", "accept4", errno.EMFILE, "workers"),
    ("supervisor", "pidfd_open", errno.EMFILE, "workers"),
    ("supervisor", "openat", errno.EMFILE, "deploy"),
    ("supervisor", "socketpair", errno.ENFILE, "deploy"),
    ("supervisor", "memfd_create", errno.ENOMEM, "deploy"),
    ("supervisor", "epoll_ctl", errno.ENOSPC, "deploy"),
    ("supervisor", "write_file", errno.ENOSPC, "deploy"),
    ("supervisor", "fsync", errno.EIO, "deploy"),
    ("supervisor", "renameat", errno.EROFS, "deploy"),
    ("zygote", "fork", errno.EAGAIN, "deploy"),
    ("init", "fork", errno.EAGAIN, "deploy"),
    ("template", "clone", errno.EAGAIN, "instances"),
    ("worker", "socket", errno.EMFILE, "instances"),
    ("worker", "accept4", errno.EMFILE, "requests"),
    ("worker", "write_file", errno.ENOSPC, "bodies"),
    ("instance", "accept4", errno.EMFILE, "workers"),
]


class Starved:
    def __init__(self, x):
        self.x = x
        self.injector = Injector(x.directory)
        self.host = host = x.host({"echo": BLOCK}, http=POOLS, start=False)
        plain = host.environment
        host.environment = lambda: self.injector.environment(plain())
        host.allowed += ["failed (12:", "exited on signal 9",
                         "no memory", "failed (24:", "failed (28:",
                         "killed by signal", "supervisor exited"]
        host.start()
        x.warm(host, ["echo"])
        self.number = itertools.count(1)
        self.recovered = []

    def ask(self, **options):
        """The status of one request, or None."""

        self.asked = fault.Load.first_id
        fault.Load.first_id += 1 << 32
        self.x.warmed.add(self.asked >> 32)
        try:
            return self.host.get("/fn/echo?ms=0", timeout=15, headers={
                "X-Id": "%016x" % self.asked}, **options).status
        except (OSError, fault.harness.http.client.HTTPException):
            return None

    def deploy(self):
        """Another version: what is behind an ELF file's end is nobody's."""

        path = self.x.directory / "another.so"
        path.write_bytes(self.x.source("echo").read_bytes()
                         + b"%08d" % next(self.number))
        return path

    def recover(self, what, shared=None):
        """All is right again: how long that took."""

        began = fault.now_us()
        if shared:
            self.host.wait_version("echo", shared)
        fault.wait_until(lambda: self.ask() == 200, what)
        self.recovered.append((began, fault.now_us()))

    def failed(self, records, most, what, statuses=(500, 502, 503)):
        wrong = records.failed()
        self.x.summary(records, what)
        self.x.check("%s: no more fail than calls did" % what,
                     len(wrong) <= most, "%d > %d" % (len(wrong), most))
        self.x.check("%s: with what is said of it" % what,
                     not [r for r in wrong if r.kind == "status"
                          and r.status not in statuses],
                     wrong.kinds())


def memory_of_workers(s):
    """Each once, one after the other, under load; a request or connection for
    each."""

    x = s.x
    workers = s.host.workers()
    load = x.load(s.host, ["/fn/echo?ms=0", "/fn/echo?ms=0&size=20000"],
                  connections=8, seconds=3600, methods={"GET": 3, "POST": 2},
                  body=5000)
    numbers = list(range(1, 2001))
    if x.quick:
        numbers = sorted(x.random.sample(numbers[:100], 20)
                         + x.random.sample(numbers, 20))
    else:
        numbers = numbers[:x.times(0, 2000, seconds=60)]
    done = 0
    for n in numbers:
        with s.injector.fault("alloc", role="worker", n=n) as rule:
            fault.wait_until(lambda: rule.failed, "allocation %d" % n,
                             interval=0.001)
            done += rule.failed
    records = load.stop().result()
    # GETs are asked twice, and one that fails takes its connection along
    s.failed(records, done, "n-th allocation of a worker")
    x.check("no worker died", s.host.workers() == workers)
    x.check_executions(records, x.ledgers["echo"], raced=True)
    s.recover("requests")
    x.at_rest(s.host)
    x.figure("allocations of workers failed", done)


def memory_of_others(s):
    """While a version is deployed, its template started and a request made;
    for an instance without memory libfcgi aborts, before it ran."""

    x = s.x
    for role, numbers in (
            ("supervisor", range(1, x.pick(40, 200), x.pick(13, 1))),
            ("init", range(1, 20, x.pick(7, 1))),
            ("template", range(1, 40, x.pick(13, 1))),
            ("instance", range(1, x.pick(60, 200), x.pick(15, 1)))):
        done, records = 0, []
        load = x.load(s.host, "/fn/echo?ms=1", connections=2, seconds=3600,
                      think=5)
        for n in numbers:
            if role != "instance":
                shared = s.deploy()
            with s.injector.fault("alloc", role=role, n=n) as rule:
                if role != "instance":
                    s.host.put(shared, "echo.so")
                    s.recover("a version while %s lacks memory" % role,
                              shared)
                else:
                    fault.wait_until(lambda: rule.failed, "allocation %d" % n)
                    s.recover("requests")
                done += rule.failed
            if not rule.failed:
                break
        records = load.stop().result()
        s.failed(records, 0, "memory of %s" % role)
        x.figure("allocations of %s failed" % role, done)


def shortage(s, role, call, error, what):
    x = s.x
    shared = s.deploy() if what == "deploy" else None
    with s.injector.fault(call, role=role, error=error, every=True) as rule:
        until = time.monotonic() + x.pick(0.4, 2)
        load = None
        if what == "deploy":
            s.host.put(shared, "echo.so")
        if role == "template":
            load = x.load(s.host, "/fn/echo?ms=1", count=1)
        statuses = set()
        while time.monotonic() < until or (
                not rule.failed and time.monotonic() < until + 5):
            if what == "instances":
                for pid in fault.instances(s.host, "echo").values():
                    fault.kill(pid)
            elif what == "workers":
                fault.kill(s.host.workers()[0])
                fault.wait_until(lambda: len(s.host.workers()) == 2,
                                 "workers")
            if what == "bodies":
                statuses.add(s.ask(method="POST", body=b"x" * 5000))
            elif load is None:
                statuses.add(s.ask())
            time.sleep(0.05)
    name = "%s: %s %s" % (role, call, errno.errorcode[error])
    x.check("%s: it failed" % name, rule.failed)
    x.check("%s: answers" % name, statuses <= {200, 500, 502, 503, None},
            statuses)
    s.recover(name, shared)
    if load:
        wrong = load.result().failed()
        x.check("%s: refused without being started" % name,
                all((r.status, r.started) == (503, "0") for r in wrong),
                wrong)


def run(x):
    s = Starved(x)
    memory_of_workers(s)
    memory_of_others(s)
    for which in (x.random.sample(SHORTAGES, 4) if x.quick else SHORTAGES):
        shortage(s, *which)
    x.bound("all is right again after", s.recovered, 5000)
    s.host.allowed.append("worker process")
    del x.baseline[s.host]      # what restarted has other descriptors


fault.main(run, "R15", "a shortage costs what was asked for in it, no more")
