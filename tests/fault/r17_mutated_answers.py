#!/usr/bin/env python3
"""R17: 10 000 answers that a hostile instance writes to nginx by itself:
FastCGI records with other versions, kinds, ids, lengths and padding, cut off,
doubled, in other orders, with headers that are none, two answers in one, and
its own answer behind them, some held up until the next request may be there;
and some that come when nginx keeps the connection.

nginx's workers live; each is a 502, a cut connection, or what the bytes say and
nothing more; no byte of it is ever in the answer to another request; and the
next request to that instance has its own right answer."""

import http.client
import re
import struct
import time

import fault
from fcgi_client import END_REQUEST, STDERR, STDOUT, record
from harness import ROOT, Wire

RUDE = ("rude.c", "-pthread", "-D_GNU_SOURCE", "-I%s" % (ROOT / "worker"),
        "-I%s" % (ROOT / "scoreboard"))

# by nginx, to any answer of a function
OURS = {"server", "date", "content-type", "content-length", "connection",
        "transfer-encoding", "last-modified", "proxy-status", "retry-after",
        "x-outcome", "x-started", "x-worker", "location"}

# what tells whose an answer is
TOKEN = re.compile(rb"[0-9a-f]{16}")

END = record(END_REQUEST, bytes(8))

HEADERS = [b"X-A: b", b"X-A: b\0c", b"X-A: b\rX-B: c", b"X\nX-B: c", b": x",
           b"Content-Length: 3", b"Content-Length: 99999",
           b"Content-Length: -1", b"Transfer-Encoding: chunked",
           b"Connection: upgrade", b"Status: 100 Continue", b"Status: 204 x",
           b"Status: 999 x", b"Location: /faas/", b"X-Accel-Redirect: /faas/",
           b"X-Accel-Limit-Rate: 1000000", b"X-A: " + b"v" * 5000,
           b"HTTP/1.1 200 OK", b"no colon", b"\xff\xfe: \x80"]


def raw(kind, content, padding=0, version=1, number=1, length=None):
    return struct.pack(">BBHHBB", version, kind, number,
                       len(content) if length is None else length, padding,
                       0) + content + bytes(padding)


def answer(rng, body):
    """An answer as a list of records, cut up as it happens."""

    head = b"Status: 200 OK\r\n"
    for _ in range(rng.choice((0, 0, 1, 2))):
        head += rng.choice(HEADERS) + b"\r\n"
    text = head + b"\r\n" + body
    records = []
    while text:
        n = rng.choice((1, 7, len(text), len(text), rng.randrange(
            1, len(text) + 1)))
        records.append(raw(STDOUT, text[:n], rng.choice((0, 0, 3, 255))))
        text = text[n:]
        if rng.random() < 0.1:
            records.append(raw(STDERR, b"e" * rng.choice((0, 1, 3000)),
                               rng.choice((0, 5))))
    return records + [raw(STDOUT, b""), END]


def mutate(rng, records, body):
    """Bytes, and which of the mutations they are."""

    kind = rng.choice((
        "none", "bit", "bytes", "version", "kind", "number", "length",
        "padding", "cut", "drop", "double", "swap", "early end", "two ends",
        "short end", "glued", "stdin", "garbage", "no end", "flood"))
    i = rng.randrange(len(records))
    one = bytearray(records[i])
    if kind == "version":
        one[0] = rng.randrange(256)
    elif kind == "kind":
        one[1] = rng.choice((0, 1, 2, 4, 5, 8, 9, 10, 11, 255))
    elif kind == "number":
        one[2 + rng.randrange(2)] ^= 1 << rng.randrange(8)
    elif kind == "length":
        one[4 + rng.randrange(2)] ^= 1 << rng.randrange(8)
    elif kind == "padding":
        one[6] ^= 1 << rng.randrange(8)
    records[i] = bytes(one)
    if kind == "drop":
        del records[i]
    elif kind == "double":
        records.insert(i, records[i])
    elif kind == "swap":
        records[i], records[-1] = records[-1], records[i]
    elif kind == "early end":
        records.insert(i, END)
    elif kind == "two ends":
        records += [END] * rng.randrange(1, 4)
    elif kind == "short end":
        records[-1] = raw(END_REQUEST, bytes(rng.randrange(8)))
    elif kind == "glued":
        records += answer(rng, b"glued " + body)
    elif kind == "stdin":
        records.insert(i, raw(5, b"x" * 100))
    elif kind == "no end":
        del records[-rng.randrange(1, 3):]
    elif kind == "flood":
        records[:0] = [raw(STDERR, b"f" * 60000)] * rng.randrange(1, 10)
    data = bytearray(b"".join(records))
    if kind == "bit" and data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        for _ in range(rng.randrange(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "cut":
        del data[rng.randrange(len(data)):]
    elif kind == "garbage":
        data[:] = rng.randbytes(rng.randrange(1, 2000))
    return bytes(data) or b"\0", kind


def said(data):
    """What nginx can have read of it: the contents of STDOUT up to the first
    record that is none, all together."""

    text = b""
    while len(data) >= 8:
        version, kind, _, length, padding, _ = struct.unpack(">BBHHBB",
                                                             data[:8])
        if kind == STDOUT:
            text += data[8:8 + length]
        data = data[8 + length + padding:]
        if version != 1 or kind not in (STDOUT, STDERR):
            break
    return text


class Client:
    """A connection that is kept as long as nginx keeps it."""

    def __init__(self, port):
        self.port = port
        self.wire = None

    def ask(self, method, path, body=b""):
        """The answer; None when the connection was cut."""

        for _ in range(2):
            fresh = self.wire is None
            try:
                if fresh:
                    self.wire = Wire(self.port, timeout=20)
                self.wire.send(b"%s %s HTTP/1.1\r\nHost: x\r\n"
                               b"Content-Length: %d\r\n\r\n"
                               % (method.encode(), path.encode(), len(body))
                               + body)
                r = self.wire.response()
                if "close" in str(r.headers.get("Connection")):
                    self.close()
                return r
            except (AssertionError, ConnectionError):
                left = self.wire.buffer if self.wire else b""
                self.close()
                if fresh or left:
                    return None
            except (ValueError, http.client.HTTPException) as error:
                self.close()
                return error
        return None

    def close(self):
        if self.wire:
            self.wire.close()
        self.wire = None


class Trial:
    """One hostile answer and the request after it."""

    issued = set()

    def __init__(self, x, host, client, n):
        self.client = client
        self.note = host.gates / ("late-%d" % n)
        self.token = b"%016x" % x.random.getrandbits(64)
        Trial.issued.add(self.token)
        self.rng = x.random
        self.n = n
        self.kind = self.query = self.data = self.r = None
        self.wrong = None

    def run(self):
        mine = b"id " + self.token
        records = answer(self.rng, mine)
        self.data, self.kind = mutate(self.rng, records, mine)
        self.query = self.rng.choice((
            "then=return", "then=return", "then=quiet", "then=shut",
            "then=exit", "pieces=%d&then=return" % self.rng.choice(
                (1, 2, 7, 100)),
            "then=return&stall=%d" % self.rng.choice((0, 1, 3, 10)),
            "late=%d&note=%s" % (self.rng.randrange(4), self.note)))
        if len(self.data) > 20000 and "pieces" in self.query:
            self.query = "then=return"
        if self.n % 300 == 0:
            self.query = "then=hang"
        self.r = self.client.ask("POST", "/fn/rude?%s&text=own-%s" % (
            self.query, self.token.decode()), self.data)
        self.wrong = self.judge()
        if "late" in self.query and getattr(self.r, "status", 0) == 200:
            # it is written before the next request, not into its answer
            fault.wait_until(self.note.exists, "what comes late")
        text = "next-" + self.token.decode()
        after = self.client.ask("GET", "/fn/rude?text=" + text)
        if not self.wrong and (
                after is None or isinstance(after, Exception)
                or (after.status, after.body) != (200, text.encode())):
            self.wrong = "the next one's answer was %r" % (after,)
        return self

    def judge(self):
        r = self.r
        if r is None:
            return None
        if isinstance(r, Exception):
            return "not HTTP: %r" % r
        if r.status in (502, 504):
            return None
        if not 200 <= r.status <= 599:
            return "status %d" % r.status
        text = b"%s\n%s" % (str(r.headers).encode("latin-1", "replace"),
                            r.body)
        others = set(TOKEN.findall(text)) & self.issued - {self.token}
        if others:
            return "it holds another's answer: %r" % others
        if r.body.startswith((b"own-" + self.token, b"the function failed")):
            return None
        told = said(self.data).decode("latin-1").lower()
        for name in r.headers:
            if name.lower() not in OURS and name.lower() not in told:
                return "a header of nobody's: %r" % name
        return None


def hostile(x, host, client):
    """Forged pages and reports, and a child that accepts beside it."""

    n = x.pick(1, 20)
    for i in range(n):
        for query in ("page=ended", "page=begun", "page=unbegun",
                      "reports=%d" % x.pick(20, 200), "child=hold",
                      "child=answer"):
            text = "own-%d" % i
            data = b"".join(answer(x.random, b"id"))
            client.ask("POST", "/fn/rude?%s&text=%s" % (query, text), data)
            x.check("another function answers during %s" % query,
                    client.ask("GET", "/fn/echo?ms=1").status == 200)

            def works():
                r = client.ask("GET", "/fn/rude?text=" + text)
                assert r is not None and r.status == 200, r
                return r.body == text.encode()

            fault.wait_until(works, "rude to work after %s" % query)


def run(x):
    host = x.host({"echo": "max 2; queue 100; timeout 5s;"}, workers=1,
                  http="faas_function rude { max 1; queue 100;"
                  " timeout 1s; %s }" % fault.AT_REST)
    host.deploy("rude", *RUDE)
    client = Client(host.port)
    assert client.ask("GET", "/fn/rude?text=warm").text == "warm"
    x.at_rest(host)
    x.baseline[host] = x.open_descriptors(host)
    workers = host.workers()
    count = x.times(1500, 10_000, 120)
    ends = {}
    kinds = {}
    end = time.monotonic() + x.seconds(5, 600)
    n = 0
    while n < count and time.monotonic() < end:
        n += 1
        trial = Trial(x, host, client, n).run()
        r = trial.r
        status = "cut" if r is None else str(getattr(r, "status", "none"))
        ends[status] = ends.get(status, 0) + 1
        kinds[trial.kind] = kinds.get(trial.kind, 0) + 1
        if not x.check("answers are whose they should be", not trial.wrong,
                       "%d %s %s: %s %r" % (n, trial.kind, trial.query,
                                            trial.wrong, trial.data[:300])):
            break
    x.figure("mutated answers", "%d: %s" % (n, ", ".join(
        "%s %d" % item for item in sorted(ends.items()))))
    x.figure("mutations", ", ".join("%s %d" % item
                                    for item in sorted(kinds.items())))
    hostile(x, host, client)
    client.close()
    x.check("nginx's workers live", host.workers() == workers)
    forged = [line for line in host.error_log().splitlines()
              if "could not start" in line]
    x.check("forged reports are believed for nothing", not forged, forged[:3])


fault.main(run, "R17", "no answer of a hostile instance is another's")
