#!/usr/bin/env python3
"""R16: 1000 connections that send their head, or their body, or read their
answer, a byte at a time; 100 000 clients that go away in the middle of a
request or an answer; pipelines; 1 000 000 requests in all.

None of the slow ones holds an instance, the others are served meanwhile, and
no answer is ever to another request."""

import selectors
import socket
import time

import fault

FUNCTIONS = {
    "echo": "max 4; queue 4000 timeout=60s; timeout 20s;",
    "body": "max 4; queue 4000 timeout=60s; timeout 20s;",
    "id": "max 4; queue 4000 timeout=60s; timeout 20s;",
}

BODY = 20000


class Slow:
    """Connections that do everything a byte at a time: a third of them each
    of the three kinds."""

    def __init__(self, host, count):
        self.selector = selectors.DefaultSelector()
        self.answered = self.ended = 0
        self.sockets = []
        self.left = {}              # socket -> bytes that are still to be sent
        self.readers = set()
        for i in range(count):
            s = socket.create_connection(("127.0.0.1", host.port))
            s.setblocking(False)
            self.sockets.append(s)
            self.start(s, i % 3)

    def start(self, s, kind):
        if kind == 0:               # its head, for ever
            s.send(b"GET /fn/echo?ms=1 HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            self.left[s] = b"x" * 7000
        elif kind == 1:             # its body
            s.send(b"POST /fn/body?ms=1 HTTP/1.1\r\nHost: x\r\n"
                   b"Content-Length: %d\r\n\r\n" % BODY)
            self.left[s] = b"x" * BODY
        else:                       # its answer
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.send(b"GET /fn/echo?ms=1&size=1000000 HTTP/1.1\r\n"
                   b"Host: x\r\n\r\n")
            self.readers.add(s)

    def step(self):
        """A byte more of each."""

        for s in list(self.left):
            try:
                s.send(self.left[s][:1])
                self.left[s] = self.left[s][1:]
                if not self.left[s]:
                    del self.left[s]
            except OSError:
                self.ended += 1
                del self.left[s]
        for s in list(self.readers):
            try:
                if s.recv(1):
                    self.answered += 1
                else:
                    self.readers.remove(s)
            except BlockingIOError:
                pass
            except OSError:
                self.ended += 1
                self.readers.remove(s)

    def close(self):
        for s in self.sockets:
            s.close()


def slow_clients(x, host):
    slow = Slow(host, x.pick(300, 1000))
    # the readers' requests run once; from then on nothing of theirs does
    busiest = 0
    x.at_rest(host)
    load = x.load(host, ["/fn/echo?ms=2", "/fn/body?ms=2", "/fn/id?ms=2"],
                  connections=x.pick(10, 40), seconds=x.seconds(2, 60),
                  methods={"GET": 1, "POST": 1}, body="0-2000")
    while load.is_running():
        slow.step()
        time.sleep(0.2)
    records = load.result()
    x.summary(records, "requests beside slow clients")
    x.check("all were served beside slow clients", not records.failed(),
            records.failed()[:3])
    x.at_rest(host)
    for _ in range(5):
        slow.step()
        for name in FUNCTIONS:
            n = host.function(name)["instances"]
            busiest = max(busiest, n["busy"] + n["draining"])
    x.figure("slow clients", "%d, bytes of answers %d, given up by nginx %d"
             % (len(slow.sockets), slow.answered, slow.ended))
    x.check("no slow client holds an instance", busiest == 0, busiest)
    slow.close()
    return records


def judge(x, records, what, totals):
    x.summary(records, what)
    x.check("no answer to another request", not records.count("wrong"),
            records.of("wrong")[:3])
    x.check("no garbled answer", not records.count("garbled"),
            records.of("garbled")[:3])
    x.check("none hung", not records.count("hung"), records.of("hung")[:3])
    for kind in ("ok", "aborted"):
        totals[kind] += records.count(kind)


def run(x):
    host = x.host(FUNCTIONS, workers=2)
    totals = {"ok": 0, "aborted": 0}
    judge(x, slow_clients(x, host), "of those", totals)
    x.at_rest(host)

    aborts = x.times(800, 100_000, 900)
    total = x.times(8000, 1_000_000, 900)
    paths = ["/fn/echo?ms=0&size=3000", "/fn/body", "/fn/id",
             "/fn/echo?ms=0&flush=1&size=100000", "/fn/echo?ms=1"]
    while totals["aborted"] < aborts:
        judge(x, x.load(host, paths, connections=x.pick(40, 100),
                        count=min(50_000, 2 * aborts + 500),
                        methods={"GET": 3, "POST": 2, "HEAD": 1},
                        body="0-70000",
                        aborts=["request:250:0-0", "answer:250:0-2",
                                "queued:200:0-20"]).result(),
              "requests with aborts", totals)
        if x.failures:
            return
    x.at_rest(host)
    while True:
        n = min(100_000, total - totals["ok"] - totals["aborted"])
        records = x.load(host, paths[:3] + paths[4:],
                         connections=x.pick(8, 32), pipeline=8,
                         count=max(n, 1000)).result()
        judge(x, records, "pipelined requests", totals)
        # nginx ends a connection after 1000 requests, wherever it is then
        lost = [r for r in records.failed()
                if r.kind != "behind" or r.reused < 900]
        x.check("all of a pipeline were answered", not lost, lost[:3])
        if x.failures or totals["ok"] + totals["aborted"] >= total:
            break
    x.figure("in all", "%(ok)d right, %(aborted)d aborted" % totals)


fault.main(run, "R16", "slow and rude clients hold and mix up nothing",
           full_limit=3000)
