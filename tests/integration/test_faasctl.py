"""faasctl, against the real faas-events."""

import base64
import json
import os
import subprocess
import threading

import pytest

import harness
from events import CALL_SUBMIT, OK, events
from harness import wait_until

PROGRAM = harness.BUILD / "faasctl"
DEAD = {"work": {"consume": ["orders attempts=1"], "async": "attempts=1"}}


def run(*args, state=None, env=None, user=None):
    environment = dict(os.environ, TZ="UTC")
    environment.pop("FAAS_STATE", None)
    environment.update(env or {})
    # a crash that is run again is the function's, and not what it looks for
    environment["ASAN_OPTIONS"] = ":".join(
        filter(None, [environment.get("ASAN_OPTIONS"), "handle_segv=0"]))
    argv = [str(PROGRAM)] + (["-s", str(state)] if state else []) + list(args)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True,
                          env=environment, user=user, timeout=60)
    harness.check_reports(done.stderr.decode(errors="replace"))
    return done.returncode, done.stdout, done.stderr.decode()


def document(e, *args):
    status, out, err = run("-o", "json", *args, state=e.directory)
    assert (status, err) == (0, "")
    return json.loads(out)


def dead(e, *bodies):
    """Messages that were given up; their ids."""

    e.nginx.answer = lambda r: (500, {}, b"no")
    c = e.client()
    ids = [c.send("orders", body) for body in bodies]
    wait_until(lambda: len(c.dead("orders")) == len(bodies), "dead letters")
    return ids


def test_help_and_version():
    status, out, err = run("help")
    assert (status, err) == (0, "")
    for command in (b"queue list", b"timer list", b"dlq list", b"dlq show",
                    b"dlq retry", b"dlq purge"):
        assert command in out
    assert run("-h")[0] == run("dlq", "--help")[0] == 0
    assert run("-V")[1].startswith(b"faasctl ")


@pytest.mark.parametrize("args, words", [
    ((), "no command is given"),
    (("nonsense",), 'unknown command "nonsense"'),
    (("dlq",), 'a word is missing behind "dlq"'),
    (("dlq", "burn"), 'unknown command "burn"'),
    (("dlq", "show", "q"), 'usage: "dlq show QUEUE ID"'),
    (("queue", "list", "x"), 'usage: "queue list"'),
    (("dlq", "list", "a", "b"), "usage:"),
    (("a", "b", "c", "d", "e", "f"), 'too many words, from "f"'),
    (("-o", "xml", "queue", "list"), '-o is json or text, not "xml"'),
    (("-x",), 'unknown option "-x"'),
    (("--limit", "0", "dlq", "list"), "--limit is a number from 1 to 1000"),
    (("--limit=many", "dlq", "list"), "--limit is a number"),
    (("queue", "list", "-s"), 'a value is missing behind "-s"'),
    (("dlq", "list", "--after", "x"), "--after needs a queue"),
    (("dlq", "retry", "q"), "either one letter's ID, or --all"),
    (("dlq", "purge", "q", "id", "--all"), "either one letter's ID"),
])
def test_what_is_called_wrongly_exits_with_2(args, words):
    status, out, err = run(*args)
    assert (status, out) == (2, b"")
    assert words in err and err.count("\n") == 1


def test_without_a_host_it_says_where_it_looked(tmp_path):
    status, out, err = run("queue", "list", state=tmp_path)
    assert (status, out) == (1, b"")
    assert "there is no host: \"%s/baas.sock\"" % tmp_path in err
    status, _, err = run("queue", "list", env={"FAAS_STATE": str(tmp_path)})
    assert status == 1 and str(tmp_path) in err
    status, _, err = run("queue", "list", state="/" + "x" * 200)
    assert status == 1 and "too long" in err


@pytest.mark.skipif(not harness.IS_ROOT, reason="needs another user")
def test_a_stranger_is_told_that_he_may_not(events):
    e = events(DEAD)
    program = str(PROGRAM)
    os.stat(program)
    done = subprocess.run(
        ["setpriv", "--reuid", "65533", "--clear-groups", program, "-s",
         str(e.directory), "queue", "list"], stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60)
    if b"failed to execute" in done.stderr:
        pytest.skip("the tree is not to be read by others")
    assert done.returncode == 1
    assert b"only root and the service's user are answered" in done.stderr


def test_queues(events):
    e = events(DEAD)
    assert document(e, "queue", "list") == []
    assert run("queue", "list", state=e.directory)[:2] == (
        0, b"there are no queues\n")
    dead(e, b"x")
    e.nginx.stop()
    e.client().send("later", b"x", delay_ms=100000)
    queues = {q["queue"]: q for q in document(e, "queue", "list")}
    assert queues["orders"]["dead"] == 1
    assert queues["later"]["delayed"] == 1
    status, out, _ = run("queue", "list", state=e.directory)
    lines = [line.split() for line in out.decode().splitlines()]
    assert lines[0] == ["QUEUE", "READY", "DELAYED", "LEASED", "DEAD",
                        "OLDEST"]
    assert ["later", "0", "1", "0", "0", "-"] in lines
    assert ["orders", "0", "0", "0", "1", "-"] in lines


def test_timers(events):
    held = threading.Event()
    e = events({"work": {"schedule": ["0 3 * * * name=night",
                                      "@every 1s name=tick"]}}, start=False)
    e.nginx.answer = lambda r: held.wait(30) and 200
    e.start()
    e.nginx.wait(1)
    wait_until(lambda: len(document(e, "timer", "list")) == 2, "two timers")
    timers = {t["timer"]: t for t in document(e, "timer", "list")}
    assert timers["night"]["function"] == "work"
    assert timers["night"]["due"].endswith("T03:00:00.000Z")
    assert timers["night"]["last"] is None
    assert timers["night"]["running"] is False
    assert timers["tick"]["running"] is True
    status, out, _ = run("timer", "list", state=e.directory)
    rows = {line.split()[1]: line.split() for line in
            out.decode().splitlines()}
    assert rows["night"][3:] == ["03:00:00", "+0000", "-", "no"]
    assert rows["tick"][-1] == "yes"
    held.set()


def test_dead_letters_are_listed_and_shown(events):
    e = events(DEAD)
    assert run("dlq", "list", state=e.directory)[:2] == (
        0, b"there are no dead letters\n")
    text, binary = dead(e, b'{"a": "\xc3\xa4"}', b"\0\xff")
    letters = document(e, "dlq", "list")
    assert {x["id"] for x in letters} == {text, binary}
    assert {x["reason"] for x in letters} == {"status 500: no"}
    assert {x["attempts"] for x in letters} == {1}
    assert letters == document(e, "dlq", "list", "orders")
    assert document(e, "dlq", "list", "others") == []

    shown = document(e, "dlq", "show", "orders", text)
    assert shown["data"] == '{"a": "ä"}' and "encoding" not in shown
    assert shown["reason"] == "status 500: no"
    shown = document(e, "dlq", "show", "orders", binary)
    assert base64.b64decode(shown["data"]) == b"\0\xff"
    assert shown["encoding"] == "base64"

    status, out, _ = run("dlq", "show", "orders", binary, state=e.directory)
    assert status == 0 and out.endswith(b"\n\n\0\xff\n")
    status, out, err = run("dlq", "show", "orders", "none",
                           state=e.directory)
    assert (status, out) == (1, b"") and "none" in err


def test_a_long_list_goes_on_after_its_last(events):
    e = events(DEAD)
    dead(e, *(b"%d" % i for i in range(5)))
    whole = [x["id"] for x in document(e, "dlq", "list", "orders")]
    first = document(e, "dlq", "list", "orders", "--limit", "2")
    assert [x["id"] for x in first] == whole[:2]
    rest = document(e, "dlq", "list", "orders", "--after=" + whole[1])
    assert [x["id"] for x in rest] == whole[2:]
    status, out, _ = run("dlq", "list", "orders", "--limit=2",
                         state=e.directory)
    assert ("faasctl dlq list orders --after " + whole[1]).encode() in out


def test_a_call_that_was_given_up_is_shown_as_a_call(events):
    e = events(DEAD)
    e.nginx.answer = lambda r: 500
    c = e.client()
    hex = "0123456789abcdef" * 2
    code, _ = c.call(CALL_SUBMIT, "work." + hex, "work", "PUT", "/work/x?y",
                     "X-A: b\n", b"body", "", b"h" * 32, "", "")
    assert code == OK
    wait_until(lambda: c.dead("@work"), "a letter")
    call = document(e, "dlq", "show", "@work", hex)["call"]
    assert (call["kind"], call["method"], call["path"]) == (
        "async call", "PUT", "/work/x?y")
    assert (call["headers"], call["body"]) == ("X-A: b\n", "body")
    assert call["id"] == "work." + hex
    status, out, _ = run("dlq", "show", "@work", hex, state=e.directory)
    assert b"request   PUT /work/x?y\nX-A: b\n\nbody\n" in out


def test_retry_sends_again_and_says_so(events):
    e = events(DEAD)
    one, two, three = dead(e, b"1", b"2", b"3")
    c = e.client()
    e.nginx.answer = lambda r: 200
    status, out, err = run("dlq", "retry", "orders", one, state=e.directory)
    assert (status, err) == (0, "")
    assert out.startswith(b'queue "orders": 1 dead letter sent again')
    assert b"cannot be undone" in out
    e.nginx.wait(4)
    assert e.nginx.requests[3].body == b"1"
    assert e.nginx.requests[3].faas_attempt == "1"
    done = document(e, "dlq", "retry", "orders", "--all")
    assert (done["queue"], done["retried"]) == ("orders", 2)
    e.nginx.wait(6)
    assert document(e, "dlq", "list") == []
    status, out, err = run("dlq", "retry", "orders", one, state=e.directory)
    assert (status, out) == (1, b"") and one in err
    assert document(e, "dlq", "retry", "orders", "--all")["retried"] == 0
    c.close()


def test_purge_deletes_and_says_so(events):
    e = events(DEAD)
    one, two, three = dead(e, b"1", b"2", b"3")
    status, out, err = run("dlq", "purge", "orders", two, state=e.directory)
    assert (status, err) == (0, "")
    assert out.startswith(b'queue "orders": 1 dead letter deleted')
    assert b"cannot be undone" in out
    assert {x["id"] for x in document(e, "dlq", "list")} == {one, three}
    assert document(e, "dlq", "purge", "orders", "--all")["purged"] == 2
    assert document(e, "dlq", "list") == []
    assert len(e.nginx.requests) == 3
    assert run("dlq", "purge", "orders", two, state=e.directory)[0] == 1


def test_output_that_cannot_be_written_is_a_failure(events):
    e = events(DEAD)
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(PROGRAM), "-s", str(e.directory), "queue",
                               "list"], stdout=full, stderr=subprocess.PIPE,
                              timeout=60)
    assert done.returncode == 1 and b"stdout" in done.stderr
