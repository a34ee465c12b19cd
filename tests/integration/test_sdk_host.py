"""The SDK in a whole host: nginx, supervisor, events process and tender as
they are, and functions that use each other and what lasts."""

import os
import pathlib
import signal
import sqlite3
import threading
import urllib.parse

import pytest

import services
from harness import wait_until

SDK = (pathlib.Path(__file__).parent / "functions" / "sdk.c")


@pytest.fixture(scope="module")
def host(faas_module):
    return faas_module(
        http="faas_function once { exactly_once on; max 2; }"
             "faas_function left { share common; }"
             "faas_function right { share common read; }"
             "faas_function a { timeout 2s; max 20; }"
             "faas_function b { max 20; }",
        deploy={name: "sdk.c" for name in ("a", "b", "once", "left",
                                           "right")})


def ask(host, name, op, body=None, headers=None, **arguments):
    query = urllib.parse.urlencode({"op": op, **arguments})
    return host.get("/fn/%s?%s" % (name, query), body=body,
                    method="POST" if body is not None else "GET",
                    headers=headers)


def say(host, name, op, body=None, **arguments):
    response = ask(host, name, op, body, **arguments)
    assert response.status == 200, (response.status, response.text)
    return response.text.rstrip("\n")


# -- functions that call functions ---------------------------------------------

def test_function_calls_another(host):
    answer = say(host, "a", "call", function="b",
                 path="?op=plain", header="content-type")
    head, body = answer.split("\n")
    assert head.startswith("0 200 ") and "text/plain" in head
    assert body.startswith("plain ")


def test_call_has_the_callers_request_id_and_time(host, faas):
    source = """
    #include <faas.h>
    static int handler(faas_request_t *r)
    {
        const char *depth = faas_header(r, "Faas-Depth");
        return faas_printf(r, "%s %s %lld %s %s", faas_request_id(r),
                           depth ? depth : "none",
                           (long long) faas_time_left(r),
                           faas_header(r, "traceparent"),
                           faas_header(r, "Faas-Token") ? "token" : "none");
    }
    FAAS_FUNCTION(.handler = handler)
    """
    host.deploy("tell", source)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = ask(host, "a", "call", function="tell",
                 headers={"X-Request-ID": "abcdef0123456789",
                          "traceparent": trace})
    id, depth, left, parent, token = answer.text.split("\n")[1].split(" ")
    assert (id, depth, token) == ("abcdef0123456789", "1", "none")
    assert 0 < int(left) <= 2000
    assert parent.split("-")[1] == trace.split("-")[1]


def nested(depth):
    """A call of a by b by a ... and at the end op=plain."""

    path = "?op=plain"
    for level in range(depth):
        name = "ab"[level % 2]
        path = "?" + urllib.parse.urlencode(
            {"op": "call", "function": name, "path": path})
    return path


def test_calls_in_calls_end_at_sixteen(host):
    assert "plain" in host.get("/fn/b" + nested(3)).text
    # a function that calls itself: the 17th call is refused with a code
    source = """
    #include <faas.h>
    static int handler(faas_request_t *r)
    {
        int rc;
        faas_answer_t answer;
        rc = faas_call(r, "self", NULL, &answer);
        if (rc != FAAS_OK) {
            return faas_printf(r, "0 %d", rc);
        }
        return faas_printf(r, "%d%s", 1 + atoi(answer.body.data),
                           strchr(answer.body.data, ' '));
    }
    FAAS_FUNCTION(.handler = handler, .max = 20)
    """
    host.deploy("self", "#include <stdlib.h>\n#include <string.h>\n" + source)
    assert host.get("/fn/self").text == "16 %d" % services.CODES["LOOP"]


def test_client_cannot_pretend_to_be_deep_or_an_event(host):
    answer = ask(host, "a", "call", function="b", path="?op=plain",
                 headers={"Faas-Depth": "16", "Faas-Token": "a:x"})
    assert "plain" in answer.text
    answer = ask(host, "a", "event", headers={
        "Faas-Event": "timer", "Faas-Name": "x", "Faas-Id": "1"})
    assert answer.text == "none\n"


def test_call_of_a_function_that_is_not_there_is_its_404(host):
    assert say(host, "a", "call", function="nobody").startswith("0 404 ")


def test_call_of_a_function_that_takes_too_long_ends_in_time(host):
    source = """
    #include <faas.h>
    #include <unistd.h>
    static int handler(faas_request_t *r)
    {
        while (faas_time_left(r) >= 0) { pause(); }
        return 0;
    }
    FAAS_FUNCTION(.handler = handler)
    """
    host.deploy("hang", source)
    answer = say(host, "b", "call", function="hang", timeout=300)
    assert answer.split()[0] == str(services.CODES["TIMEDOUT"]) \
        or answer.startswith("0 504")


# -- what lasts ------------------------------------------------------------------

def test_spaces_are_apart_and_shared_as_configured(host):
    for name in ("left", "right"):
        assert say(host, name, "kv_set", key="k", value=name)[0] == "0"
    assert say(host, "left", "kv_get", key="k").endswith("left")
    assert say(host, "right", "kv_get", key="k").endswith("right")
    assert say(host, "left", "kv_set", space="common", key="k",
               value="both")[0] == "0"
    assert say(host, "right", "kv_get", space="common",
               key="k").endswith("both")
    assert say(host, "right", "kv_set", space="common", key="k",
               value="no").split()[0] == str(services.CODES["READONLY"])
    assert say(host, "a", "kv_get", space="common", key="k") \
        == str(services.CODES["DENIED"])


def test_data_of_a_function_is_its_users_alone(host):
    path = host.state / "data" / "left"
    say(host, "left", "kv_set", key="k", value="left")
    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / "left.db").stat().st_uid == path.stat().st_uid


def test_values_outlive_reload_and_new_versions(host):
    assert say(host, "b", "kv_set", key="kept", value="yes")[0] == "0"
    host.reload()
    assert say(host, "b", "kv_get", key="kept").endswith("yes")
    host.deploy("b", SDK.read_text() + "\nint another;\n")
    assert say(host, "b", "kv_get", key="kept").endswith("yes")


# -- effects once ----------------------------------------------------------------

def test_key_is_honoured_through_nginx(host):
    key = {"Idempotency-Key": "through-nginx"}
    first = ask(host, "once", "work", b"one", headers=key)
    again = ask(host, "once", "work", b"one", headers=key)
    assert (first.status, again.body) == (200, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert ask(host, "once", "work", b"two", headers=key).status == 422


def test_instance_killed_in_the_middle_changes_nothing_and_retry_works(host):
    key = {"Idempotency-Key": "killed"}
    before = say(host, "once", "sql", b"SELECT count(*) FROM w")
    response = ask(host, "once", "work", b"one", headers=key, die=1)
    assert response.status == 502
    assert say(host, "once", "sql", b"SELECT count(*) FROM w") == before
    # the same key and request, now without dying, is another query: refused
    # only if the first had left a trace
    response = ask(host, "once", "work", b"one", headers=key)
    assert response.status == 200
    assert "Idempotent-Replayed" not in response.headers


def test_many_at_once_with_one_key_run_once(host):
    key = {"Idempotency-Key": "at once"}
    answers = []

    def run():
        answers.append(ask(host, "once", "work", b"many", headers=key))

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert say(host, "once", "sql",
               b"SELECT count(*) FROM w WHERE x = 'many'") == "1\nrc 0"


OUTBOX = """
#include <faas.h>
#include <signal.h>
static int handler(faas_request_t *r)
{
    size_t n;
    const char *body;
    faas_send_t options = { .id = "the-one" };
    if (faas_event(r)) {
        body = faas_body(r, 0, &n);
        return faas_kv_incr(r, NULL, faas_text(faas_event(r)->id), n == 7
                            && body[0] == 'p', NULL);
    }
    return faas_queue_send(r, "later", "payload", 7, &options, NULL);
}
FAAS_FUNCTION(.handler = handler, .consumes = "later")
"""


def events_process(host):
    pid, = (pid for pid, name in host.processes().items()
            if "faas-events" in name)
    return pid


def test_message_that_could_not_be_said_after_the_commit_is_not_lost(host):
    """The events process stands still while the instance would say it; the
    instance is killed then, and the tender says it."""

    host.configure(http=host.options["http"]
                   + "faas_function outbox { exactly_once on; }").reload()
    host.deploy("outbox", OUTBOX)
    path = host.state / "data" / "outbox" / "outbox.db"

    def count(sql):
        with sqlite3.connect(path) as db:
            try:
                return db.execute(sql).fetchone()[0]
            except sqlite3.OperationalError as error:
                assert "no such table" in str(error)
                return 0

    events = events_process(host)
    os.kill(events, signal.SIGSTOP)
    try:
        response = host.get("/fn/outbox", headers={"Idempotency-Key": "k"})
        assert response.status == 200
        assert count("SELECT count(*) FROM faas_outbox") == 1
        instances = [pid for pid, name in host.processes().items()
                     if name.startswith("faas: outbox #")]
        assert instances
        for pid in instances:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.kill(events, signal.SIGCONT)

    wait_until(lambda: count("SELECT count(*) FROM faas_kv "
                             "WHERE key = CAST('the-one' AS BLOB)"),
               "the message", 90)
    wait_until(lambda: count("SELECT count(*) FROM faas_outbox") == 0,
               "the empty outbox")
    assert count("SELECT value FROM faas_kv "
                 "WHERE key = CAST('the-one' AS BLOB)") == b"1"
