"""faas-tender, the one checkpointer of a user's databases, as its supervisor
starts it: channel, settings, leftovers of outboxes, kill -9 (baas/tender.h)."""

import contextlib
import os
import pathlib
import signal
import socket
import sqlite3
import struct
import tempfile
import threading
import time
import urllib.parse

import pytest

import harness
from harness import wait_until

PROGRAM = harness.BUILD / "faas-tender"

HEAD = struct.Struct("=IIQIi")
MAGIC = 0x57414146
HELLO, SEND, DEFER = 1, 2, 3
OK, ENOTFOUND, EUNAVAILABLE = 0, -20, -28

pytestmark = pytest.mark.skipif(not PROGRAM.exists(),
                                reason="faas-tender is not built")


def fields(payload):
    out = []
    while payload:
        n, = struct.unpack_from("=I", payload)
        out.append(payload[4:4 + n])
        payload = payload[4 + n:]
    return out


def field(data):
    return struct.pack("=I", len(data)) + data


class Events:
    """The other end of baas.sock: takes what it is sent, or does not."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(64)
        self.hellos, self.got, self.codes = [], [], {}
        self.lock = threading.Lock()
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(s)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with contextlib.suppress(OSError), s, s.makefile("rb") as f:
            while True:
                head = f.read(HEAD.size)
                if len(head) < HEAD.size:
                    return
                magic, length, serial, operation, _ = HEAD.unpack(head)
                assert magic == MAGIC
                payload = f.read(length)
                code = OK
                with self.lock:
                    if operation == HELLO:
                        self.hellos.append(tuple(fields(payload)))
                    else:
                        values = fields(payload)
                        code = self.codes.get(values[2], OK)
                        if code == OK:
                            self.got.append((operation, values[2]))
                s.sendall(HEAD.pack(MAGIC, 0, serial, operation, code))

    def taken(self):
        with self.lock:
            return list(self.got)

    def close(self):
        # a listener in accept() is only ended by shutdown
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for s in self.connections:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


class Tender:
    def __init__(self, directory):
        self.directory = directory
        self.state = directory / "state"
        self.log = directory / "tender.log"
        (self.state / "data").mkdir(parents=True)
        self.process = self.channel = None

    def place(self, name):
        path = self.state / "data" / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def start(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(harness.PATIENCE)

        with open(self.log, "ab") as log:
            self.process = harness.popen([PROGRAM], [theirs.fileno()],
                                         stdout=log, stderr=log)
        theirs.close()
        self.channel = ours
        return self

    def tell(self, text):
        fd = os.memfd_create("settings", os.MFD_CLOEXEC)
        try:
            os.write(fd, text.encode())
            socket.send_fds(self.channel, [b"settings"], [fd])
        finally:
            os.close(fd)
        return self.channel.recv(1024).decode()

    def settings(self, *names):
        quote = urllib.parse.quote
        lines = ["state %s" % quote(str(self.state)), "log_level 7"]
        lines += ["data %s %s token-of-%s" % (name, quote(str(
            self.place(name))), name) for name in names]
        assert self.tell("\n".join(lines) + "\n") == "ready"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.channel.close()

    def stop(self):
        if self.channel is not None:
            self.channel.close()
        if self.process is not None:
            assert self.process.wait(harness.PATIENCE) in (0, -signal.SIGKILL)

    def said(self):
        return self.log.read_text()


def database(path):
    """A function's database, written without the SDK."""

    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    os.chmod(path, 0o660)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA busy_timeout = 10000")
    db.execute("CREATE TABLE IF NOT EXISTS faas_outbox ("
               "id INTEGER PRIMARY KEY AUTOINCREMENT, put_ms INTEGER NOT NULL,"
               " operation INTEGER NOT NULL, payload BLOB NOT NULL)")
    return db


def put(db, *texts, operation=SEND, age=10):
    """Messages that an instance committed and did not live to send."""

    for text in texts:
        db.execute("INSERT INTO faas_outbox (put_ms, operation, payload)"
                   " VALUES (?, ?, ?)",
                   (int((time.time() - age) * 1000), operation,
                    field(b"orders") + field(b"id-" + text) + field(text)
                    + field(struct.pack("=q", 0))
                    + field(struct.pack("=q", 0))))


def left(db):
    return db.execute("SELECT count(*) FROM faas_outbox").fetchone()[0]


@pytest.fixture
def tender():
    with tempfile.TemporaryDirectory(prefix="faas-tender-") as directory:
        t = Tender(pathlib.Path(directory)).start()
        yield t
        t.stop()
        said = t.said()
        harness.check_reports(said)
        assert "[alert]" not in said and "[emerg]" not in said, said


def test_bad_settings_leave_the_old_ones(tender):
    tender.settings("a")
    for bad, why in [("", "state"), ("state x\n", "state"),
                     ("state /s\nwhat x\n", "what"), ("state /s", "end")]:
        answer = tender.tell(bad)
        assert answer.startswith("error ") and why in answer
    db = database(tender.place("a") / "a.db")
    db.execute("CREATE TABLE t (x)")
    db.execute("INSERT INTO t VALUES (zeroblob(6000000))")
    wait_until(lambda: (tender.place("a") / "a.db").stat().st_size > 6000000,
               "a checkpoint")
    db.close()


def test_end_of_the_channel_ends_it(tender):
    tender.settings("a")
    tender.channel.close()
    assert tender.process.wait(harness.PATIENCE) == 0


def test_what_is_no_message_is_logged_and_survived(tender):
    tender.channel.send(b"nonsense")
    wait_until(lambda: "not a message" in tender.said(), "a line")
    tender.log.write_text(tender.said().replace("[alert]", "[seen]"))
    tender.settings("a")


def test_leftovers_of_outboxes_are_sent_in_order(tender):
    events = Events(tender.state / "baas.sock")
    a = database(tender.place("a") / "a.db")
    other = database(tender.place("a") / "other.db")
    put(a, b"one", b"two")
    put(a, b"three", operation=DEFER)
    put(other, b"never: only a function's own database has an outbox")
    tender.settings("a")
    wait_until(lambda: left(a) == 0, "an empty outbox")
    assert events.taken() == [(SEND, b"one"), (SEND, b"two"),
                              (DEFER, b"three")]
    assert events.hellos == [(b"a", b"token-of-a")]
    # later ones too
    put(a, b"four")
    wait_until(lambda: left(a) == 0, "an empty outbox")
    assert events.taken()[3:] == [(SEND, b"four")]
    assert left(other) == 1
    events.close()
    a.close()
    other.close()


def test_young_messages_are_their_instances(tender):
    events = Events(tender.state / "baas.sock")
    a = database(tender.place("a") / "a.db")
    put(a, b"old")
    put(a, b"young", age=-3)
    tender.settings("a")
    wait_until(lambda: left(a) == 1, "the old one to go")
    assert events.taken() == [(SEND, b"old")]
    wait_until(lambda: left(a) == 0, "the young one, now old, to go")
    events.close()
    a.close()


def test_events_process_comes_later(tender):
    a = database(tender.place("a") / "a.db")
    put(a, b"one")
    tender.settings("a")
    wait_until(lambda: "does not answer" in tender.said(), "a line")
    assert left(a) == 1
    events = Events(tender.state / "baas.sock")
    wait_until(lambda: left(a) == 0, "an empty outbox")
    assert events.taken() == [(SEND, b"one")]
    assert tender.said().count("does not answer") == 1
    events.close()
    a.close()


def test_message_that_is_refused_holds_nobody_up(tender):
    events = Events(tender.state / "baas.sock")
    events.codes = {b"bad": ENOTFOUND}
    a = database(tender.place("a") / "a.db")
    put(a, b"one", b"bad", b"two")
    tender.settings("a")
    wait_until(lambda: left(a) == 0, "an empty outbox")
    assert events.taken() == [(SEND, b"one"), (SEND, b"two")]
    assert tender.said().count("is refused") == 1
    events.close()
    a.close()


def test_message_that_cannot_be_taken_now_stays(tender):
    events = Events(tender.state / "baas.sock")
    events.codes = {b"two": EUNAVAILABLE}
    a = database(tender.place("a") / "a.db")
    put(a, b"one", b"two", b"three")
    tender.settings("a")
    wait_until(lambda: left(a) == 2, "the first to go")
    assert events.taken() == [(SEND, b"one")]
    events.codes = {}
    wait_until(lambda: left(a) == 0, "an empty outbox")
    assert events.taken() == [(SEND, b"one"), (SEND, b"two"),
                              (SEND, b"three")]
    events.close()
    a.close()


def test_killed_tender_loses_no_message(tender):
    """Killed at random instants while messages come in: each arrives, in
    order when seen for the first time; some twice."""

    events = Events(tender.state / "baas.sock")
    a = database(tender.place("a") / "a.db")
    names = [b"m%04d" % i for i in range(300)]
    sent = iter(names)
    tender.settings("a")

    for _ in range(15):
        for _ in range(20):
            put(a, next(sent))
        before = len(events.taken())
        wait_until(lambda: len(events.taken()) > before, "some to go")
        tender.kill()
        tender.start()
        tender.settings("a")

    wait_until(lambda: left(a) == 0, "an empty outbox")
    first = list(dict.fromkeys(text for _, text in events.taken()))
    assert first == names
    assert a.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    events.close()
    a.close()


def test_functions_that_come_and_go(tender):
    tender.settings("a")
    db = {}
    for name in ("a", "b"):
        path = tender.place(name)
        db[name] = database(path / (name + ".db"))
        db[name].execute("CREATE TABLE t (x)")
    tender.settings("a", "b")
    for name in ("a", "b"):
        db[name].execute("INSERT INTO t VALUES (zeroblob(6000000))")
        path = tender.place(name) / (name + ".db")
        wait_until(lambda: path.stat().st_size > 6000000, "a checkpoint")
    # who is left is not looked after, and can be another tender's
    tender.settings("b")
    second = Tender.__new__(Tender)
    second.directory, second.state = tender.directory, tender.state
    second.log = tender.log
    second.start()
    second.settings("a")
    db["a"].execute("INSERT INTO t VALUES (zeroblob(9000000))")
    path = tender.place("a") / "a.db"
    wait_until(lambda: path.stat().st_size > 15000000, "a checkpoint")
    second.stop()
    for each in db.values():
        each.close()


def test_successor_takes_over(tender):
    """Two at once: the second waits for the lock, and has it as soon as the
    first one is killed."""

    tender.settings("a")
    db = database(tender.place("a") / "a.db")
    db.execute("CREATE TABLE t (x)")
    path = tender.place("a") / "a.db"
    db.execute("INSERT INTO t VALUES (zeroblob(5000000))")
    wait_until(lambda: path.stat().st_size > 5000000, "a checkpoint")
    second = Tender.__new__(Tender)
    second.directory, second.state = tender.directory, tender.state
    second.log = tender.log
    second.start()
    second.settings("a")
    tender.kill()
    tender.channel = None
    db.execute("INSERT INTO t VALUES (zeroblob(5000000))")
    wait_until(lambda: path.stat().st_size > 10000000, "a checkpoint")
    second.stop()
    db.close()
