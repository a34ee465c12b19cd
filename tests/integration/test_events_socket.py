"""baas.sock: who may ask what, and what strangers and broken clients cannot
do."""

import os
import random
import socket
import struct
import subprocess
import sys
import threading

import pytest

import harness
from events import (CALL_GET, DEAD_GET, DEAD_LIST, DEAD_PURGE, DEAD_RETRY,
                    DEFER, EDENIED, EINVAL, Ended, HELLO, MAGIC, OK,
                    QUEUE_LIST, SEND, STRANGER_UID, TIMER_LIST,
                    events, fields, frame)
from harness import wait_until

# a sanitizer keeps what was freed for a while
SANITIZED = 16 if harness.ASAN else 1

as_root = pytest.mark.skipif(not harness.IS_ROOT,
                             reason="needs other users to be")

# run as another user: says HELLO or not, sends, prints codes
STRANGER = """
import sys
sys.path.insert(0, %r)
from events import *
import os
os.setgroups([]); os.setgid(%d); os.setuid(%d)
c = Client(%r)
try:
    %s
except Ended:
    print("ended")
"""


def stranger(e, code, uid=STRANGER_UID):
    text = STRANGER % (os.path.dirname(__file__), uid, uid, str(e.path), code)
    return subprocess.run([sys.executable, "-B", "-c", text],
                          stdout=subprocess.PIPE, check=True,
                          timeout=60).stdout.decode().split()


def rss_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith("VmRSS"))


def serves(e):
    with e.client() as c:
        c.send("orders")
    return True


@as_root
def test_a_stranger_must_say_hello_first(events):
    e = events({"work": {}})
    assert stranger(e, "print(c.code(SEND, 'orders', 'x', b'', 0, 0))") == [
        "ended"]
    assert stranger(e, "print(c.code(QUEUE_LIST))") == ["ended"]
    assert e.client().queues() == {}


@as_root
def test_where_root_owns_the_host_the_service_user_is_a_stranger(events):
    e = events({"work": {}})
    os.chown(e.directory, 0, 0)
    assert stranger(e, "print(c.code(QUEUE_LIST))", e.uid) == ["ended"]
    assert stranger(e, "print(c.hello('work', %r)); print(c.code(QUEUE_LIST))"
                    % e.tokens["work"], e.uid) == [str(OK), str(EDENIED)]


@as_root
def test_a_wrong_token_is_denied_and_the_connection_ends(events):
    e = events({"work": {}, "other": {}})
    right = e.tokens["work"]
    for name, token in (("work", "0" * 32), ("work", ""),
                        ("work", right + "0"), ("work", right[:-1]),
                        ("other", right), ("nobody", right),
                        ("nobody", e.token), ("", "")):
        assert stranger(e, "print(c.hello(%r, %r)); c.queues()" % (
            name, token)) == [str(EDENIED), "ended"], (name, token)


@as_root
def test_a_function_may_send_and_nothing_else(events):
    e = events({"work": {}})
    got = stranger(e, "print(c.hello('work', %r));"
                   "print(c.code(SEND, 'orders', 'x', b'', 0, 0));"
                   "print(*[c.code(n, b'') for n in range(4, 13)])"
                   % e.tokens["work"])
    assert got[:2] == ["0", "0"]
    assert got[2:] == [str(EDENIED)] * 9
    assert e.client().queues()["orders"]["ready"] == 1


def test_hello_takes_the_rights_of_an_admin_away(events):
    e = events({"work": {}})
    c = e.client()
    assert c.queues() == {}
    assert c.hello("work", e.tokens["work"]) == OK
    for operation in (CALL_GET, DEAD_LIST, DEAD_GET, DEAD_RETRY, DEAD_PURGE,
                      QUEUE_LIST, TIMER_LIST):
        assert c.code(operation, b"", b"", 0) == EDENIED
    c.send("orders")
    with pytest.raises(Ended):
        c.hello("work", e.tokens["work"])


def test_a_function_that_is_gone_may_nothing(events):
    e = events({"work": {}, "gone": {}})
    c = e.client()
    assert c.hello("gone", e.tokens["gone"]) == OK
    c.send("orders")
    e.configure(gone=None)
    assert e.said() == "ready"
    assert c.code(SEND, "orders", "y", b"", 0, 0) == EDENIED
    assert c.code(DEFER, "work", "y", b"", 0, 0) == EDENIED


def test_a_function_may_come_before_the_host_has_told_of_it(events):
    """Its first request may be sent while the settings are on their way."""

    e = events({"work": {}})
    c = e.client()
    hello = c.ask(HELLO, "fresh", e.tokens["fresh"])
    send = c.ask(SEND, "orders", "early", b"", 0, 0)
    e.client().send("orders", b"other")    # by now that was read
    e.configure(fresh={})
    assert e.said() == "ready"
    assert c.answer(hello) == (OK, [])
    assert c.answer(send)[0] == OK
    assert e.client().queues()["orders"]["ready"] == 2


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.0\r\n\r\n" + b"x" * 32,
    frame(SEND, b"", magic=MAGIC + 1),
    frame(0, b""),
    frame(13, b""),
    frame(2 ** 32 - 1, b""),
    frame(SEND, b"", length=2 ** 32 - 1),
    frame(SEND, b"", length=16 * 1024 * 1024 + 1),
    frame(HELLO, b"\xff\xff\xff\xff"),
    frame(HELLO, fields("x" * 64, "y")),
    frame(HELLO, fields("a\0b", "y")),
    frame(HELLO, fields("work")),
    b"\0" * 4096,
], ids=lambda data: data[:12].hex())
def test_a_malformed_frame_ends_the_connection(events, data):
    e = events({"work": {}})
    c = e.client()
    c.raw(data)
    with pytest.raises(Ended):
        c.read()
    assert serves(e)


@pytest.mark.parametrize("payload", [
    b"", b"\x01", b"\xff\xff\xff\xff", struct.pack("=I", 2 ** 31) + b"x",
    fields("orders"), fields("orders", "id", b"", b"1234", 0),
    fields("orders\0", "id", b"", 0, 0), fields("x" * 300, "id", b"", 0, 0),
], ids=lambda payload: payload[:12].hex() or "empty")
def test_a_malformed_question_is_answered_so(events, payload):
    e = events({"work": {}})
    c = e.client()
    for operation in (SEND, DEFER, DEAD_LIST, DEAD_GET, DEAD_RETRY,
                      DEAD_PURGE):
        c.raw(frame(operation, payload, 7))
        serial, got, code, values = c.read()
        assert (serial, got, values) == (7, operation, [])
        assert code == EINVAL or (operation, payload[4:10]) in (
            (DEAD_RETRY, b"orders"), (DEAD_PURGE, b"orders"),
            (DEAD_LIST, b"orders"), (DEAD_GET, b"orders")), operation
    assert serves(e)


def test_noise_ends_connections_and_nothing_else(events):
    e = events({"work": {"consume": ["orders"]}})
    rng = random.Random(4)
    good = frame(SEND, fields("orders", "id", b"data", 0, 0), 1)
    for i in range(400):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        c = e.client()
        try:
            c.raw(bytes(data[:rng.randrange(1, len(data) + 1)]))
            c.socket.shutdown(socket.SHUT_WR)
            while True:
                c.read()
        except (Ended, OSError):
            pass
        c.close()
    assert serves(e)


def test_a_frame_may_come_byte_by_byte_and_many_at_once(events):
    e = events({"work": {"consume": ["orders batch=100"]}})
    c = e.client()
    for byte in frame(SEND, fields("orders", "slow", b"data", 0, 0), 5):
        c.raw(bytes([byte]))
    assert c.read()[:3] == (5, SEND, OK)
    c.raw(b"".join(frame(SEND, fields("orders", "m%d" % i, b"x" * 100, 0, 0),
                         i) for i in range(3000)))
    assert sorted(c.read()[0] for _ in range(3000)) == list(range(3000))
    wait_until(lambda: len({id for r in e.nginx.of("work")
                            for id, *_ in r.messages()}) == 3001,
               "all messages")


def test_who_reads_no_answers_is_not_read(events):
    """Questions whose answers nobody takes cost a bounded memory, and others
    are served meanwhile."""

    e = events({"work": {}})
    c = e.client()
    for i in range(300):
        c.send("q%d" % i)
    before = rss_kib(e.process.pid)
    question = frame(QUEUE_LIST, b"", 1)
    c.socket.settimeout(1)
    sent = 0
    try:
        while sent < 64 * 1024 * 1024:
            sent += c.socket.send(question * 2000)
    except socket.timeout:
        pass
    assert sent < 8 * 1024 * 1024
    assert serves(e)
    assert rss_kib(e.process.pid) - before < 32 * 1024 * SANITIZED


def test_a_thousand_connections_and_half_frames(events):
    e = events({"work": {"consume": ["orders"]}})
    before = rss_kib(e.process.pid)
    clients = []
    for i in range(1000):
        c = e.client()
        c.raw(frame(SEND, b"", length=16 * 1024 * 1024)
              + b"x" * random.Random(i).randrange(4096))
        clients.append(c)
    assert serves(e)
    assert rss_kib(e.process.pid) - before < 64 * 1024 * SANITIZED
    for c in clients:
        c.close()
    assert serves(e)
    # what they took is given back: nothing of theirs is polled any more
    wait_until(lambda: len(os.listdir("/proc/%d/fd" % e.process.pid)) < 40
               if harness.IS_ROOT else True)


@as_root
def test_silent_strangers_make_room_for_others(events):
    """1200 connections that never say HELLO: a function still gets in."""

    e = events({"work": {}})
    got = stranger(e, "many = [Client(%r) for _ in range(1200)];"
                   "c = Client(%r);"
                   "print(c.hello('work', %r));"
                   "print(c.code(SEND, 'orders', 'x', b'', 0, 0))"
                   % (str(e.path), str(e.path), e.tokens["work"]))
    assert got == ["0", "0"]


def test_half_closed_connections_get_their_answers(events):
    e = events({"work": {}})
    c = e.client()
    c.raw(frame(SEND, fields("orders", "x", b"", 0, 0), 3))
    c.socket.shutdown(socket.SHUT_WR)
    assert c.read()[:3] == (3, SEND, OK)
    with pytest.raises(Ended):
        c.read()


def test_clients_that_go_before_their_answer(events):
    e = events({"work": {"consume": ["orders"]}})
    for i in range(300):
        with e.client() as c:
            c.raw(frame(SEND, fields("orders", "g%d" % i, b"", 0, 0), 3))
    assert serves(e)
    got = e.nginx.wait(301)
    assert len({r.faas_id for r in got}) == 301


def test_many_clients_send_at_once(events):
    e = events({"work": {"consume": ["orders batch=100"]}})
    failed = []

    def one(k):
        try:
            with e.client() as c:
                for i in range(100):
                    c.send("orders", b"x", id="%d.%d" % (k, i))
        except Exception as error:               # told below
            failed.append(error)

    threads = [threading.Thread(target=one, args=(k,)) for k in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed[0]
    wait_until(lambda: sum(int(r.faas_messages) for r in
                           list(e.nginx.requests)) >= 3200)
    ids = [m[0] for r in e.nginx.requests for m in r.messages()]
    assert sorted(ids) == sorted("%d.%d" % (k, i) for k in range(32)
                                 for i in range(100))
