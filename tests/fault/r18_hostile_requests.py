#!/usr/bin/env python3
"""R18: 2000 hostile HTTP requests, each sent to a function and, in the same
nginx, to a stock fastcgi_pass location with a responder of our own.

The verdict is the same: the status, whether the connection is kept, and what
the parameters of the request are, byte for byte.  A route that would take a
backtracking matcher for ever costs next to nothing."""

import json
import socket
import struct
import threading
import time

import fault
from fcgi_client import BEGIN_REQUEST, PARAMS, STDIN, END_REQUEST, STDOUT
from fcgi_client import record
from harness import Wire, free_port

SERVERS = """
    server {
        listen 127.0.0.1:%(ours)d;
        client_header_timeout 300ms; client_body_timeout 300ms;
        client_max_body_size 100k;
        location / { faas_pass probe; }
    }
    server {
        listen 127.0.0.1:%(stock)d;
        client_header_timeout 300ms; client_body_timeout 300ms;
        client_max_body_size 100k;
        location / {
            fastcgi_pass 127.0.0.1:%(responder)d;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param DOCUMENT_URI $document_uri;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
        }
    }
    server {
        listen 127.0.0.1:%(routes)d;
        location / { faas_pass; }
    }
    faas_function probe { max 4; queue 100; timeout 10s; %(rest)s }
    faas_function bomb { max 1; queue 100; timeout 10s; %(rest)s }
"""

COMPARED = ("QUERY_STRING", "REQUEST_METHOD", "CONTENT_TYPE",
            "CONTENT_LENGTH", "REQUEST_URI", "DOCUMENT_URI",
            "SERVER_PROTOCOL")

# these are ours, or different on purpose (docs/directives.md): HTTP_HOST is
# what the request was for, and HTTP_PROXY is never there
OURS = ("HTTP_HOST", "HTTP_PROXY", "HTTP_FAAS_")


class Responder:
    """A plain FastCGI responder: answers with what it was told, as JSON."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,),
                             daemon=True).start()

    def serve(self, s):
        with s, s.makefile("rb") as stream:
            params, n = b"", 0
            while True:
                head = stream.read(8)
                if len(head) < 8:
                    return
                _, kind, _, length, padding, _ = struct.unpack(">BBHHBB",
                                                               head)
                data = stream.read(length)
                stream.read(padding)
                if kind == PARAMS:
                    params += data
                elif kind == STDIN and length:
                    n += length
                elif kind == STDIN:
                    break
                else:
                    assert kind == BEGIN_REQUEST
            body = json.dumps({"bytes": n,
                               "variables": self.pairs(params)}).encode()
            text = b"Content-Type: application/json\r\n\r\n" + body
            out = b"".join(record(STDOUT, text[i:i + 32768])
                           for i in range(0, len(text), 32768))
            s.sendall(out + record(STDOUT) + record(END_REQUEST, bytes(8)))

    @staticmethod
    def pairs(data):
        def number(i):
            if data[i] < 128:
                return data[i], i + 1
            return struct.unpack(">I", data[i:i + 4])[0] & 0x7fffffff, i + 4

        found, i = {}, 0
        while i < len(data):
            a, i = number(i)
            b, i = number(i)
            # the last of a name counts, as it does in JSON
            found[data[i:i + a].decode("latin-1")] = data[
                i + a:i + a + b].decode("latin-1")
            i += a + b
        return found


# -- the requests -------------------------------------------------------------

PIECES = ["/", "//", "/.", "/..", "/a", "/%2e", "/%2e%2e", "/%2f", "%0a",
          "%0d", "%00", "%09", "%20", "%25", "%c3%a4", "%ff", "%zz", "%4",
          "%", "/a/../b", "/./", "/b/..", "/../", "\\", ";x", "+", "~", "\xff",
          "\x01", "\t", "#f", "&", "*", "%u0041", "/" + "x" * 300]

QUERIES = ["", "?", "??", "?a=b", "?a=%0a%0d%00", "?a=%zz", "?\xff", "?a b",
           "?#", "?a=1&a=2", "?" + "q" * 4000, "?%", "?a=\x01"]

NAMES = ["X-A", "x_a", "X_A", "X-a", "Proxy", "PROXY", "Content_Length",
         "Content-Type", "Script-Name", "REMOTE_ADDR", "Host ", " Host", "X A",
         "X:A", "X\x00A", "X\xffA", "", "Transfer_Encoding", "X.A", "Cookie",
         "Range", "If-None-Match", "Expect", "TE", "Upgrade", "Connection",
         "Faas-Token", "Faas-Event", "FAAS_ID", "X-Forwarded-For", "Depth"]

VALUES = ["b", "", " ", "\t", "a\tb", "a\x00b", "a\x01b", "\xff", "a\rb",
          "x" * 1000, "x" * 9000, "http://evil/", "100-continue", "close",
          "keep-alive", "upgrade", "bytes=0-0", "\"", "a: b", "0"]

METHODS = ["GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE",
           "PATCH", "TRACE", "CONNECT", "get", "G@T", "", "FOO", "FOO_BAR",
           "PROPFIND", "X" * 40, "GET\x00"]

VERSIONS = [" HTTP/1.1"] * 12 + [" HTTP/1.0", "", " HTTP/1.2", " HTTP/2.0",
                                 " HTTP/0.9", " http/1.1", " HTTP/1.",
                                 "  HTTP/1.1", " HTTP/1.1 ", " HTTP/11.1",
                                 " HTTP/1.1x", " JUNK/1.1"]

LENGTHS = ["5", "0", "6", "-1", "+5", "5 ", "0x5", "5, 5", "05", "",
           "99999999999999999999", "5\r\nContent-Length: 5",
           "5\r\nContent-Length: 6", "200000",
           "5\r\nTransfer-Encoding: chunked"]

CODINGS = ["chunked", "Chunked", "identity", "gzip, chunked", "chunked, gzip",
           "xchunked", " chunked", "chunked\r\nTransfer-Encoding: chunked",
           "\x0bchunked"]

CHUNKS = ["5\r\nhello\r\n0\r\n\r\n", "05\r\nhello\r\n0\r\n\r\n",
          "5;x=y\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n",
          "5\r\nhello\r\n0\r\nX: y\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",
          "5 \r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
          "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "5\r\nhel", "g\r\n",
          "5\r\nhello0\r\n\r\n", "0\r\n\r\n", "\r\n",
          "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"]


def odd(rng, usual, hostile, part=0.2):
    return rng.choice(hostile) if rng.random() < part else usual


def target(rng):
    path = "/" + "".join(rng.choice(PIECES[:15] if rng.random() < 0.8
                                    else PIECES)
                         for _ in range(rng.randrange(5)))
    path += odd(rng, "?a=b", QUERIES, 0.4)
    form = rng.random()
    if form < 0.08:
        return rng.choice(["http://x", "http://other:81", "HTTP://X",
                           "https://x", "http://", "ftp://x", "http://a@x",
                           "http://[::1]", "http://x\x00y"]) + path
    if form < 0.12:
        return rng.choice(["*", "", "a", "x:80", "?", "//x/y", "/" + "u" * 7000,
                           "/" + "u" * 9000])
    return path


def request(rng):
    """Bytes: odd in one way or in several."""

    text = odd(rng, "", ["\r\n", "\n", " "], 0.05)
    end = odd(rng, "\r\n", ["\n", "\r\r\n", "\r"], 0.05)
    text += odd(rng, rng.choice(["GET", "GET", "HEAD", "POST"]), METHODS)
    text += " " + target(rng) + odd(rng, " HTTP/1.1", VERSIONS, 0.1) + end
    host = odd(rng, "x", ["x:80", "", "a b", "x/y", "X\r\nHost: y", "..",
                          "x\x00", "[::1]", "[::", "x" * 300], 0.1)
    if rng.random() < 0.95:
        text += "Host: " + host + end
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5, 60))):
        text += odd(rng, "X-A%d" % rng.randrange(9), NAMES, 0.4)
        text += odd(rng, ": ", [":", " : ", "", ":\t"], 0.05)
        text += odd(rng, "b", VALUES, 0.2) + end
    body = ""
    kind = rng.random()
    if kind < 0.25:
        text += "Content-Length: " + odd(rng, "5", LENGTHS, 0.5) + end
        body = odd(rng, "hello", ["hel", "", "hello world"], 0.2)
    elif kind < 0.45:
        text += "Transfer-Encoding: " + odd(rng, "chunked", CODINGS, 0.3) + end
        body = rng.choice(CHUNKS)
    return (text + end + body).encode("latin-1")


# -- verdicts -----------------------------------------------------------------

def verdict(port, data):
    """(status of each answer, parameters of the first, "closed" or "kept")
    of a connection on which this was sent, and nothing more."""

    statuses, told = [], None
    with Wire(port, timeout=8) as wire:
        wire.send(data)
        try:
            while True:
                if not wire.buffer and not statuses:
                    wire.fill()
                if not wire.buffer.startswith(b"HTTP/"):
                    # to HTTP/0.9 there is a body only
                    statuses.append("none" if not wire.buffer else "0.9")
                    break
                r = wire.response(data.lstrip().split(b" ")[0].decode(
                    "latin-1"))
                statuses.append(r.status)
                if r.status == 200 and told is None and r.body[:1] == b"{":
                    told = r.json
                if r.status != 100 or len(statuses) > 4:
                    break
        except (AssertionError, ConnectionError, ValueError) as error:
            statuses.append(type(error).__name__)
        except TimeoutError:
            statuses.append("waits")
    return statuses, told


def differences(ours, stock):
    """What of two answers' parameters is not the same."""

    if ours is None or stock is None:
        return [] if ours is stock else ["%r and %r" % (ours, stock)]
    a, b = ours["variables"], stock["variables"]
    found = [name for name in COMPARED if a.get(name, "") != b.get(name, "")]
    found += [name for name in set(a) | set(b) if name.startswith("HTTP_")
              and not name.startswith(OURS) and a.get(name) != b.get(name)]
    if "HTTP_PROXY" in a or any(name.startswith("HTTP_FAAS_TOKEN")
                                or name.startswith("HTTP_FAAS_EVENT")
                                for name in a):
        found.append("a header that is hidden")
    if ours["bytes"] != stock["bytes"]:
        found.append("%d and %d bytes" % (ours["bytes"], stock["bytes"]))
    return ["%s: %r and %r" % (name, a.get(name), b.get(name))
            for name in found]


# -- a route that explodes ----------------------------------------------------

BOMB = """
#include <faas.h>

static int
bomb(faas_request_t *r)
{
    return faas_printf(r, "bomb");
}

FAAS_FUNCTION(.handler = bomb, .routes =
    "GET /(a+)+\\n"
    "GET /b/(?<x>(x+x+)+y)\\n"
    "GET /c/((.*),){1,25}z")
"""


BOMBS = ["/bomb/plain", "/" + "a" * 25 + "!", "/" + "a" * 3000 + "!",
         "/b/" + "x" * 30, "/b/" + "x" * 2000, "/c/" + "," * 60,
         "/c/" + "a," * 500, "/c/" + "," * 3000]


def bombs(x, host, port):
    """What each costs nginx's worker: time on a processor, whatever else the
    machine does meanwhile."""

    def spent():
        with open("/proc/%d/schedstat" % host.workers()[0]) as file:
            return int(file.read().split()[0]) / 1e6

    wire = Wire(port)
    costs = []
    times = x.pick(20, 300)
    for path in BOMBS:
        begun = spent()
        for _ in range(times):
            wire.send("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            r = wire.response()
            x.check("a bomb is answered", r.status in (200, 404, 500), r)
            if r.headers.get("Connection") == "close":
                wire.close()
                wire = Wire(port)
        costs.append((spent() - begun) / times)
    wire.close()
    x.figure("ms of processor time of a plain request", "%.2f" % costs[0])
    x.figure("of routes that explode", " ".join("%.2f" % c
                                                for c in costs[1:]))
    x.check("a regex bomb costs at most 2 ms", max(costs) <= 2, costs)


def run(x):
    responder = Responder()
    ports = {name: free_port() for name in ("ours", "stock", "routes")}
    host = x.host({"echo": "max 1; queue 100;"}, workers=1, http=SERVERS % dict(
        ports, responder=responder.port, rest=fault.AT_REST))
    host.deploy("probe", "probe.c")
    host.deploy("bomb", BOMB)
    fault.wait_until(lambda: verdict(
        ports["ours"], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0] == [200])
    count = x.times(200, 2000, 60)
    statuses = {}
    end = time.monotonic() + x.seconds(7, 900)
    n = 0
    while n < count and time.monotonic() < end:
        n += 1
        data = request(x.random)
        ours, told = verdict(ports["ours"], data)
        stock, stock_told = verdict(ports["stock"], data)
        statuses[str(stock)] = statuses.get(str(stock), 0) + 1
        wrong = [] if ours == stock else ["%r and %r" % (ours, stock)]
        wrong = wrong or differences(told, stock_told)
        if not x.check("the verdict is stock nginx's", not wrong,
                       "%r: %s" % (data, wrong)):
            break
    x.figure("requests", "%d: %s" % (n, ", ".join(
        "%s %d" % item for item in sorted(statuses.items()))))
    bombs(x, host, ports["routes"])
    responder.socket.close()
    x.at_rest(host)
    x.baseline[host] = x.open_descriptors(host)


fault.main(run, "R18", "hostile requests get stock nginx's verdict")
