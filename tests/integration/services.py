"""What functions find around them: a faas_state with their data, and stands-in
for nginx (internal.sock) and the events process (baas.sock), so that the SDK
is tested against what it really receives, byte for byte."""

import os
import pathlib
import shutil
import socket
import struct
import tempfile
import threading
import urllib.parse

import pytest

import harness
import runtime

SOURCE = (pathlib.Path(__file__).parent / "functions" / "sdk.c").read_text()

CODES = dict(OK=0, ERROR=-1, NOTFOUND=-20, CONFLICT=-21, INVAL=-22,
             TOOLARGE=-23, DENIED=-24, BUSY=-25, FULL=-26, READONLY=-27,
             UNAVAILABLE=-28, TIMEDOUT=-29, CORRUPT=-30, LOOP=-31,
             UNSUPPORTED=-32)

OPERATIONS = ["", "HELLO", "SEND", "DEFER", "CALL_SUBMIT", "CALL_GET",
              "CALL_CANCEL", "DEAD_LIST", "DEAD_GET", "DEAD_RETRY",
              "DEAD_PURGE", "QUEUE_LIST", "TIMER_LIST"]

HEAD = struct.Struct("=IIQIi")
WIRE_MAGIC = 0x57414146


def fields(payload):
    found = []
    while payload:
        size, = struct.unpack_from("=I", payload)
        found.append(payload[4:4 + size])
        assert len(found[-1]) == size
        payload = payload[4 + size:]
    return found


def number(field):
    return struct.unpack("=q", field)[0]


class Server:
    """A unix socket, a thread for each connection."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(64)
        path.chmod(0o666)
        self.accepted = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self._serve, args=(connection,),
                             daemon=True).start()

    def _serve(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def drop(self):
        """Ends all connections; the socket stays, as the keeper's does."""

        accepted, self.accepted = self.accepted, []
        for connection in accepted:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.drop()
        self.thread.join()
        self.path.unlink(missing_ok=True)


class Events(Server):
    """baas.sock: keeps what is asked in .asked, answers with what .answer,
    a function of operation and fields, returns: a code, or a code and a
    payload, or None: nothing, or bytes: these."""

    def __init__(self, path):
        self.asked = []
        self.answer = lambda operation, values: 0
        super().__init__(path)

    def serve(self, connection):
        stream = connection.makefile("rb")
        while True:
            head = stream.read(HEAD.size)
            if len(head) < HEAD.size:
                return
            magic, length, serial, operation, code = HEAD.unpack(head)
            assert (magic, code) == (WIRE_MAGIC, 0)
            values = fields(stream.read(length))
            name = OPERATIONS[operation]
            self.asked.append((name, values))
            answer = self.answer(name, values)
            if answer is None:
                continue
            if answer == "close":
                return
            if isinstance(answer, bytes):
                connection.sendall(answer)
                continue
            code, payload = (answer if isinstance(answer, tuple)
                             else (answer, b""))
            connection.sendall(HEAD.pack(WIRE_MAGIC, len(payload), serial,
                                         operation, code) + payload)

    def sent(self):
        """The values of all that was sent or deferred."""

        return [values for name, values in self.asked
                if name in ("SEND", "DEFER")]


class Nginx(Server):
    """internal.sock: keeps requests as (line, headers, body), answers with the
    bytes that .answer, a function of these three, returns; None: nothing;
    "close": it ends the connection."""

    def __init__(self, path):
        self.requests = []
        self.answer = lambda *request: (b"HTTP/1.1 200 OK\r\n"
                                        b"Content-Length: 2\r\n\r\nok")
        super().__init__(path)

    def serve(self, connection):
        stream = connection.makefile("rb")
        while True:
            line = stream.readline().decode("latin-1")
            if not line:
                return
            headers = {}
            while True:
                header = stream.readline().decode("latin-1")
                assert header.endswith("\r\n")
                if header == "\r\n":
                    break
                name, _, value = header[:-2].partition(": ")
                assert name.lower() not in headers, name
                headers[name.lower()] = value
            body = stream.read(int(headers.get("content-length", 0)))
            self.requests.append((line[:-2], headers, body))
            answer = self.answer(*self.requests[-1])
            if answer == "close":
                return
            if isinstance(answer, list):
                for part in answer:
                    connection.sendall(part)
            elif answer is not None:
                connection.sendall(answer)


class State:
    """A faas_state, short enough for sockets, with one function's data."""

    def __init__(self, name="test"):
        self.name = name
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="faas-sdk-"))
        self.path.chmod(0o755)
        self.data = self.path / "data" / name
        self.data.parent.mkdir()
        self.directory(self.data, 0o700)
        self.events = Events(self.path / "baas.sock")
        self.nginx = Nginx(self.path / "internal.sock")

    @staticmethod
    def directory(path, mode):
        path.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(path, runtime.UID, runtime.GID)
        path.chmod(mode)
        return path

    def share(self, name, mode=0o770):
        return self.directory(self.path / "share" / name, mode)

    def conf(self, **settings):
        """Lines of baas.h; share=["name w", ...]."""

        lines = ["function %s" % self.name, "token 0123456789abcdef",
                 "state %s" % self.path, "data %s" % self.data]
        for share in settings.pop("share", ()):
            name, rights = share.split()
            lines.append("share %s %s %s" % (name, rights,
                                             self.path / "share" / name))
        lines += ["%s %s" % (name, urllib.parse.quote(str(value), safe="/:"))
                  for name, value in settings.items()]
        return "".join(line + "\n" for line in lines)

    def close(self):
        self.events.close()
        self.nginx.close()
        shutil.rmtree(self.path)


class Function:
    """An instance of functions/sdk.c, and what it has around it."""

    def __init__(self, zygote, state, source=SOURCE, migrations=None,
                 fork=True, limits=None, **settings):
        self.state = state
        self.version = zygote.version(source, name=state.name,
                                      conf=state.conf(**settings),
                                      migrations=migrations)
        self.limits = limits or {}
        self.connection = None
        if fork:
            self.version.loaded()
            self.fork(self.version.index * 10)

    def fork(self, number, **limits):
        if self.connection:
            self.connection.close()
        self.slot = self.version.fork(number, **{**self.limits, **limits})
        self.connection = self.slot.connect()
        return self

    def ask(self, op, body=b"", params=(), verb=None, **arguments):
        """The response to op with these arguments."""

        arguments = {"op": op, **arguments}
        query = urllib.parse.urlencode(
            {name: value for name, value in arguments.items()
             if value is not None})
        head = {"method": verb} if verb else {}
        return self.connection.request(params, body, query=query, **head)

    def say(self, op, body=b"", params=(), **arguments):
        """The text of the answer, which has to be a 200."""

        response = self.ask(op, body, params, **arguments)
        assert response.status == 200, response.stdout
        return response.body.decode("latin-1").rstrip("\n")

    def sql(self, text, **arguments):
        return self.say("sql", text.encode(), **arguments)

    def close(self):
        if self.connection:
            self.connection.close()


# -- fixtures: imported by the tests that want them ---------------------------

@pytest.fixture
def zygote(tmp_path_factory):
    # functions' uid needs a way to it
    path = tmp_path_factory.mktemp("zygote")
    for directory in [path, *path.parents]:
        if directory.stat().st_uid == os.getuid() \
                and directory != pathlib.Path("/"):
            directory.chmod(directory.stat().st_mode | 0o711)
    harness.become_subreaper()
    zygote = runtime.Zygote(path)
    yield zygote
    zygote.finish()


@pytest.fixture
def state():
    state = State()
    yield state
    state.close()


@pytest.fixture
def function(zygote, state):
    function = Function(zygote, state)
    yield function
    function.close()
