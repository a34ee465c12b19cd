"""The events process alone: the real faas-events, a socket that answers like
nginx's internal.sock, and a client of baas.sock (baas/wire.h).

    def test_x(events):
        e = events(functions={"work": {"consume": ["orders"]}})
        e.client().send("orders", b"data")
        assert e.nginx.wait(1)[0].body == b"data"
"""

import collections
import http.server
import itertools
import os
import pathlib
import secrets
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

import pytest

import harness

PROGRAM = harness.BUILD / "faas-events"

# as whom it runs when we are root: without any right of its own
SERVICE_UID = 65534
STRANGER_UID = 65533

MAGIC = 0x57414146
HEAD = struct.Struct("=IIQIi")
(HELLO, SEND, DEFER, CALL_SUBMIT, CALL_GET, CALL_CANCEL, DEAD_LIST, DEAD_GET,
 DEAD_RETRY, DEAD_PURGE, QUEUE_LIST, TIMER_LIST) = range(1, 13)

OK, ERROR = 0, -1
(ENOTFOUND, ECONFLICT, EINVAL, ETOOLARGE, EDENIED, EBUSY, EFULL, EREADONLY,
 EUNAVAILABLE, ETIMEDOUT) = range(-20, -30, -1)


# -- baas.sock ----------------------------------------------------------------

def fields(*values):
    """A payload: strings, bytes, and numbers of 8 bytes."""

    out = b""
    for value in values:
        if isinstance(value, int):
            value = struct.pack("=q", value)
        elif isinstance(value, str):
            value = value.encode()
        out += struct.pack("=I", len(value)) + value
    return out


def unpack(payload):
    out = []
    while payload:
        n, = struct.unpack_from("=I", payload)
        assert len(payload) >= 4 + n
        out.append(payload[4:4 + n])
        payload = payload[4 + n:]
    return out


def number(field):
    return struct.unpack("=q", field)[0]


def frame(operation, payload, serial=0, length=None, magic=MAGIC, code=0):
    return HEAD.pack(magic, len(payload) if length is None else length,
                     serial, operation, code) + payload


class Ended(Exception):
    """The other end closed the connection."""


class Client:
    """One connection.  Questions may be under way together: ask() and
    answer()."""

    def __init__(self, path, timeout=harness.PATIENCE):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))     # waits while the backlog is full
        self.socket.settimeout(timeout)
        self.serial = itertools.count(1)
        self.answers = {}

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Ended(error) from error

    def _bytes(self, n):
        out = b""
        while len(out) < n:
            try:
                some = self.socket.recv(n - len(out))
            except ConnectionResetError as error:
                raise Ended(error) from error
            if not some:
                raise Ended()
            out += some
        return out

    def ask(self, operation, *values):
        serial = next(self.serial)
        self.raw(frame(operation, fields(*values), serial))
        return serial

    def read(self):
        """The next answer: serial, operation, code, fields."""

        magic, n, serial, operation, code = HEAD.unpack(
            self._bytes(HEAD.size))
        assert magic == MAGIC
        return serial, operation, code, unpack(self._bytes(n))

    def answer(self, serial):
        while serial not in self.answers:
            got, _, code, values = self.read()
            self.answers[got] = (code, values)
        return self.answers.pop(serial)

    def call(self, operation, *values):
        return self.answer(self.ask(operation, *values))

    def code(self, operation, *values):
        return self.call(operation, *values)[0]

    def hello(self, name, token):
        return self.code(HELLO, name, token)

    def send(self, queue, data=b"", id=None, delay_ms=0):
        """Returns the id of a message that is durable now."""

        id = id or secrets.token_hex(16)
        code = self.code(SEND, queue, id, data, delay_ms, 0)
        assert code == OK, "send: %d" % code
        return id

    def queues(self):
        code, values = self.call(QUEUE_LIST)
        assert code == OK
        out = {}
        for i in range(0, len(values), 6):
            out[values[i].decode()] = dict(zip(
                ("ready", "delayed", "leased", "dead", "oldest_ms"),
                map(number, values[i + 1:i + 6])))
        return out

    def dead(self, queue="", after="", limit=0):
        code, values = self.call(DEAD_LIST, queue, after, limit)
        assert code == OK
        return [dict(queue=values[i].decode(), id=values[i + 1].decode(),
                     attempts=number(values[i + 2]),
                     died_ms=number(values[i + 3]),
                     size=number(values[i + 4]),
                     reason=values[i + 5].decode())
                for i in range(0, len(values), 6)]


# -- internal.sock ------------------------------------------------------------

class Request:
    """One call, as it came."""

    def __init__(self, handler, body):
        self.at = time.monotonic()
        self.method = handler.command
        self.path = handler.path
        self.headers = handler.headers
        self.body = body
        self.connection = id(handler)

    def __getattr__(self, name):
        """r.faas_id is the header Faas-Id, "" when it is not there."""

        if not name.startswith("faas_"):
            raise AttributeError(name)
        return self.headers.get(name.replace("_", "-"), "")

    def messages(self):
        """[(id, attempt, sent_ms, data)] of a queue's call."""

        if self.headers["Content-Type"] != "application/vnd.faas.batch":
            return [(self.faas_id, int(self.faas_attempt),
                     int(self.faas_sent), self.body)]
        out, rest = [], self.body
        while rest:
            line, rest = rest.split(b"\n", 1)
            id, attempt, sent_ms, size = line.split()
            size = int(size)
            assert rest[size:size + 1] == b"\n"
            out.append((id.decode(), int(attempt), int(sent_ms),
                        rest[:size]))
            rest = rest[size + 1:]
        return out


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass


class Nginx:
    """Answers on internal.sock with what answer(request) returns: a status,
    (status, headers) or (status, headers, body); None cuts the
    connection."""

    def __init__(self, path, uid=None):
        self.path = path
        self.uid = uid
        self.answer = lambda request: 200
        self.requests = []
        self.running = collections.Counter()
        self.most = collections.Counter()
        self.lock = threading.Condition()
        self.server = None
        self.connections = set()

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def address_string(self):
                return "unix"

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                n = int(self.headers.get("Content-Length") or 0)
                outer._serve(self, Request(self, self.rfile.read(n)))
                self.wfile.flush()

            def setup(self):
                super().setup()
                outer.connections.add(self.connection)

            def finish(self):
                outer.connections.discard(self.connection)
                super().finish()

        if self.path.exists():
            self.path.unlink()
        self.server = _Server(str(self.path), Handler)
        if self.uid is not None:
            os.chown(self.path, self.uid, -1)
        threading.Thread(target=self.server.serve_forever,
                         kwargs=dict(poll_interval=0.05),
                         daemon=True).start()

    def stop(self):
        """As nginx is stopped: the socket goes, connections end."""

        if self.server is None:
            return
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        if self.path.exists():
            self.path.unlink()
        self.drop()

    def drop(self):
        """Ends the connections that are kept."""

        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _serve(self, handler, request):
        name = request.faas_function
        with self.lock:
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
            self.requests.append(request)
            self.lock.notify_all()
        try:
            answer = self.answer(request)
        finally:
            with self.lock:
                self.running[name] -= 1
        if answer is None:
            handler.close_connection = True
            return
        status, headers, body = answer, {}, b""
        if isinstance(answer, tuple):
            status, headers, body = (answer + (b"",))[:3]
        out = "HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (status, len(body))
        for name, value in headers.items():
            out += "%s: %s\r\n" % (name, value)
        handler.wfile.write(out.encode() + b"\r\n" + body)

    def wait(self, n, timeout=harness.PATIENCE):
        """The first n requests or more."""

        with self.lock:
            assert self.lock.wait_for(lambda: len(self.requests) >= n,
                                      timeout), \
                "%d of %d calls" % (len(self.requests), n)
            return list(self.requests)

    def of(self, function):
        with self.lock:
            return [r for r in self.requests if r.faas_function == function]


REFUSED = (503, {"Proxy-Status": "nginx-faas; error=connection_limit_reached",
                 "Retry-After": "1"})
NOT_THERE = (404, {"Proxy-Status":
                   "nginx-faas; error=destination_not_found"})


# -- the process --------------------------------------------------------------

def encode(value):
    return urllib.parse.quote(str(value), safe="!\"#$&'()*+,-./:;<=>?@[\\]^_`"
                              "{|}~")


class Events:
    def __init__(self, functions=None, queue="sqlite", wrapper=(), **host):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="faas-ev-"))
        self.uid = SERVICE_UID if harness.IS_ROOT else None
        self.directory.chmod(0o755)
        (self.directory / "queue").mkdir(mode=0o700)
        if self.uid is not None:
            os.chown(self.directory, self.uid, self.uid)
            os.chown(self.directory / "queue", self.uid, self.uid)
        self.log = self.directory / "error.log"
        self.functions = functions or {}
        self.queue = queue
        self.host = host
        self.tokens = collections.defaultdict(lambda: secrets.token_hex(16))
        self.token = secrets.token_hex(16)
        self.node = secrets.token_hex(8)
        self.wrapper = list(wrapper)
        self.nginx = Nginx(self.directory / "internal.sock", self.uid)
        self.process = self.channel = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.path = self.directory / "baas.sock"
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen(512)
        self.clients = []

    def settings(self):
        out = ["node " + self.node, "token " + self.token,
               "state " + encode(self.directory),
               "error_log " + encode(self.log), "log_level 8",
               "queue " + encode(self.queue)]
        for name, value in self.host.items():
            for one in value if isinstance(value, list) else [value]:
                out.append("%s %s" % (name, encode(one)))
        for name, options in self.functions.items():
            out += ["function " + name, " token " + self.tokens[name]]
            for key, value in options.items():
                for one in value if isinstance(value, list) else [value]:
                    out.append(" %s %s" % (key, encode(one)))
        return "\n".join(out) + "\n"

    def start(self, ready=True):
        ours, theirs = socket.socketpair(socket.AF_UNIX,
                                         socket.SOCK_SEQPACKET)
        ours.settimeout(harness.PATIENCE)
        self.channel = ours
        options = {} if self.uid is None else dict(
            user=self.uid, group=self.uid, extra_groups=[])

        with open(self.log, "ab") as log:
            if self.uid is not None:
                os.chown(self.log, self.uid, self.uid)
            self.process = harness.popen(
                self.wrapper + [PROGRAM],
                [theirs.fileno(), self.listener.fileno()],
                stdout=log, stderr=log, cwd="/", **options)
        theirs.close()
        self.configure()
        if ready:
            assert self.said() == "ready"
        return self

    def configure(self, text=None, **functions):
        """Sends settings; functions: what is to be another now, None: no such
        function any more."""

        for name, options in functions.items():
            if options is None:
                self.functions.pop(name, None)
            else:
                self.functions[name] = options
        text = self.settings() if text is None else text
        fd = os.memfd_create("settings", os.MFD_ALLOW_SEALING)
        os.write(fd, text.encode() if isinstance(text, str) else text)
        socket.send_fds(self.channel, [b"settings"], [fd])
        os.close(fd)

    def said(self):
        """What it says on the channel."""

        return self.channel.recv(4096).decode()

    def client(self, **options):
        client = Client(self.path, **options)
        self.clients.append(client)
        return client

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.channel.close()

    def end(self):
        """The supervisor lets go of the channel; its exit status."""

        self.channel.close()
        return self.process.wait(harness.PATIENCE)

    def text(self):
        return self.log.read_text(errors="replace")

    def cleanup(self):
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.end()
        self.nginx.stop()
        self.listener.close()
        text = self.text() if self.log.exists() else ""
        shutil.rmtree(self.directory, ignore_errors=True)
        harness.check_reports(text)
        for line in text.splitlines():
            assert "[alert]" not in line and "[emerg]" not in line, line


@pytest.fixture
def events():
    made = []

    def make(functions=None, start=True, nginx=True, **options):
        e = Events(functions, **options)
        made.append(e)
        if nginx:
            e.nginx.start()
        if start:
            e.start()
        return e

    yield make
    failure = None
    for e in made:
        try:
            e.cleanup()
            assert e.process is None or e.process.returncode in (
                0, -signal.SIGKILL), "exit status %d" % e.process.returncode
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            failure = failure or error
            if e.process is not None and e.process.poll() is None:
                e.process.kill()
                e.process.wait()
    if failure:
        raise failure
