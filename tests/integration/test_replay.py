"""faasctl core and faasctl replay."""

import base64
import json
import os
import pathlib
import re
import subprocess

import pytest

import harness
import master

from harness import wait_until
from master import host
from test_core import dumps, dump, function_frames, info, send, source
from test_faasctl import PROGRAM, run
from test_supervisor import hello

FIXED = """
#include <faas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int started;
static int init(void) { started |= 1; return 0; }
static int after_fork(void) { started |= 2; return 0; }
static int handle(faas_request_t *r) {
    size_t       n;
    int          code;
    const char  *body = faas_body(r, 0, &n);
    FILE        *marker;
    if (access("%(marker)s", F_OK) != 0) {
        marker = fopen("%(marker)s", "w");
        fclose(marker);
        abort();
    }
    printf("printed\\n");
    faas_log(r, "logged");
    faas_status(r, 201);
    faas_header_set(r, "X-Seen", faas_header(r, "X-A"));
    code = faas_kv_set(r, NULL, faas_text("k"), faas_text("v"), 0, NULL);
    return faas_printf(r, "%%s %%s %%s %%d %%zu %%.3s %%s %%d %%d",
                       faas_method(r), faas_uri(r), faas_request_id(r),
                       started, n, body, faas_config(r, "KEY"),
                       (int) getuid(), code);
}
FAAS_FUNCTION(.handler = handle, .init = init, .after_fork = after_fork)
"""


def crashed(host, query="how=segv&body=1", body=b"the body", **options):
    """A host with one dump; (host, its path)."""

    h = host(put={"crash": source()}, core=1, **options)
    send(h, master.Worker(h), query, body)
    return h, dump(h)


def document(h, *args, expect=0):
    status, out, err = run("-o", "json", *args, state=h.state)
    assert status == expect, err
    return json.loads(out)


# -- core


def test_dumps_are_listed_shown_and_deleted(host):
    h, d = crashed(host)
    row, = document(h, "core", "list")
    version = h.current("crash").sha256.decode()
    assert (row["id"], row["function"], row["version"]) == (d.name, "crash",
                                                            version)
    assert (row["kind"], row["code"], row["signal"]) == ("signal", 11, 11)
    assert row["line"] == "POST /crash?how=segv&body=1"
    status, out, _ = run("core", "list", state=h.state)
    lines = out.decode().splitlines()
    assert lines[0].split() == ["ID", "DIED", "FUNCTION", "VERSION", "KIND",
                                "REQUEST"]
    assert lines[1].startswith(d.name) and version[:8] in lines[1]
    assert lines[1].endswith("signal  POST /crash?how=segv&body=1")

    shown = document(h, "core", "show", d.name)
    assert shown["params"]["HTTP_X_A"] == "b\n"
    assert shown["body"] == "the body"
    thread, = shown["threads"]
    assert "crash_here" in function_frames(thread["frames"])[0]
    status, out, _ = run("core", "show", d.name, state=h.state)
    assert status == 0
    assert b"HTTP_X_A=b\\x0A\n" in out and b"\nthe body\n" in out
    assert b" crash_here+0x" in out

    h.let_go()
    wait_until(h.is_gone, "the host's end")
    assert [r["id"] for r in document(h, "core", "list")] == [d.name]
    status, out, err = run("core", "rm", d.name, state=h.state)
    assert (status, err) == (0, "")
    assert out == b"1 dump deleted\nThis cannot be undone.\n"
    assert run("core", "list", state=h.state)[1] == b"there are no dumps\n"
    assert not d.exists()


def test_all_dumps_are_deleted(host):
    h, d = crashed(host)
    assert document(h, "core", "rm", "--all")["deleted"] == 1
    assert dumps(h) == []


def test_a_body_that_is_no_text_is_base64(host):
    h, d = crashed(host, body=b"\0\xff")
    shown = document(h, "core", "show", d.name)
    assert base64.b64decode(shown["body"]) == b"\0\xff"
    assert shown["encoding"] == "base64"


@pytest.mark.parametrize("id", ["nothing", "../state", "..", ".new", "",
                                "x" * 300])
def test_what_is_no_dump_is_not_found(host, id):
    h, _ = crashed(host)
    for command in (("core", "show"), ("replay",)):
        status, out, err = run(*command, "--", id, state=h.state)
        assert (status, out) == (1, b"")
        assert "there is no such dump" in err
    assert len(dumps(h)) == 1


@pytest.mark.parametrize("args", [("core", "show"), ("core", "rm"),
                                  ("core", "rm", "x", "--all"), ("replay",),
                                  ("replay", "a", "b")])
def test_what_is_called_wrongly_exits_with_2(tmp_path, args):
    status, out, err = run(*args, state=tmp_path)
    assert (status, out) == (2, b"") and err.count("\n") == 1


@pytest.mark.skipif(not harness.IS_ROOT, reason="needs another user")
def test_a_function_cannot_read_dumps(host):
    h, d = crashed(host)
    for path in (d.parent, d, d / "info", d / "params"):
        done = subprocess.run(["setpriv", "--reuid", "65534",
                               "--clear-groups", "cat", str(path)],
                              capture_output=True, stdin=subprocess.DEVNULL)
        assert done.returncode != 0


# -- replay


def test_a_crash_is_replayed_without_a_host(host):
    h, d = crashed(host)
    h.let_go()
    wait_until(h.is_gone, "the host's end")
    status, out, err = run("replay", d.name, state=h.state)
    assert (status, out) == (1, b"")
    assert err == ("%s: it was killed by signal 11 (Segmentation fault), the "
                   "answer is missing\n" % d.name)
    told = document(h, "replay", d.name, expect=1)
    assert (told["signal"], told["answer"]) == (11, "missing")
    assert len(dumps(h)) == 1


def test_the_request_is_the_same_and_services_are_none(host):
    h = host(core=1, blocks={"crash": {"env": "KEY=value"}})
    marker = pathlib.Path("/tmp/faas-replay-%d" % os.getpid())
    try:
        h.put("crash", FIXED % {"marker": marker})
        wait_until(lambda: h.state_of("crash") == "ready", "it")
        send(h, master.Worker(h), "", b"x" * 100000, HTTP_X_A="seen",
             REQUEST_URI="/crash?a=b")
        d = dump(h)
        told = document(h, "replay", d.name)
        status, out, err = run("replay", d.name, state=h.state)
    finally:
        marker.unlink(missing_ok=True)
    uid = h.function("crash") and int(info(d)[0]["uid"])
    assert (told["status"], told["exit"], told["answer"]) == (201, 0, "whole")
    assert "X-Seen: seen" in told["headers"]
    words = told["body"].split()
    assert words[:-1] == ["POST", "/crash?a=b", "id-1", "3", "100000", "xxx",
                          "value", str(uid if os.geteuid() == 0
                                       else os.getuid())]
    assert int(words[-1]) < 0
    assert status == 0
    assert out.endswith(told["body"].encode())
    assert "printed\n" in err and "logged" in err
    assert err.endswith("%s: it exited with code 0, the answer is whole\n"
                        % d.name)
    assert b"printed" not in out


def test_a_hang_is_ended_at_its_timeout(host):
    h, d = crashed(host, "how=hang", blocks={"crash": {"timeout": 200}})
    status, out, err = run("replay", d.name, state=h.state)
    assert status == 1
    assert "it was killed: it took longer than its timeout" in err


def test_the_version_is_the_one_that_crashed(host):
    h, d = crashed(host)
    h.deploy("crash", hello())
    status, _, err = run("replay", d.name, state=h.state)
    assert status == 1 and "signal 11" in err


def test_another_content_in_the_store_is_refused(host):
    h, d = crashed(host)
    stored = h.state / "store" / info(d)[0]["version"]
    stored.chmod(0o600)
    with open(stored, "ab") as f:
        f.write(b"x")
    status, out, err = run("replay", d.name, state=h.state)
    assert (status, out) == (1, b"")
    assert "has not the content that its name says" in err
    stored.unlink()
    status, _, err = run("replay", d.name, state=h.state)
    assert status == 1 and "No such file" in err


def test_a_dump_without_a_request_is_said(host):
    h = host(put={"crash": source()}, core=1)
    w = master.Worker(h)
    os.kill(int(w.call("crash", QUERY_STRING="how=none").body), 11)
    d = dump(h)
    status, out, err = run("replay", d.name, state=h.state)
    assert (status, out) == (1, b"") and "it was at no request" in err


@pytest.mark.skipif(not os.path.exists("/usr/bin/gdb"), reason="no gdb")
def test_under_gdb_it_stops_before_the_handler(host):
    h, d = crashed(host)
    done = subprocess.run([str(PROGRAM), "-s", str(h.state), "replay", d.name,
                           "--gdb"], input=b"run\ncontinue\nbt\nkill\nquit\n",
                          capture_output=True, timeout=120,
                          env=dict(os.environ, DEBUGINFOD_URLS=""))
    out = done.stdout.decode(errors="replace")
    assert re.search(r"Breakpoint 1, .*faas_replay_begins", out), (
        out, done.stderr)
    assert "SIGSEGV" in out
    assert "crash_here" in out.split("SIGSEGV", 1)[1]
    assert b"gdb has ended" in done.stderr


def test_the_zygotes_replay_is_for_faasctl_only():
    done = subprocess.run([str(harness.BUILD / "faas-zygote"), "--replay"],
                          capture_output=True)
    assert done.returncode == 2
    assert b"is for faasctl" in done.stderr
