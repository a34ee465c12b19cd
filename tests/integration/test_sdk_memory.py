"""Memory that runs out at the n-th allocation of a request: an answer, maybe a
failure, and the same process serves on; nothing is half written."""

import os
import sqlite3
import subprocess

import pytest

import fcgi_client
import harness
import runtime
from services import Function, state                            # noqa: F401

PRELOADED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include "allocate.h"

static long from, to, count;

/* 0, 0: all is well */
void malloc_fail(long first, long last)
{
    from = first;
    to = last;
    count = 0;
}

static int fails(void)
{
    if (from == 0 || ++count < from || count > to) {
        return 0;
    }
    errno = ENOMEM;
    return 1;
}

/* the answer is complete: from here on it would be libfcgi's own test */
void FCGX_Free(void *request, int close)
{
    from = 0;
    ((void (*)(void *, int)) dlsym(RTLD_NEXT, "FCGX_Free"))(request, close);
}

void *malloc(size_t n)
{
    return fails() ? NULL : ALLOCATE_NEXT(malloc)(n);
}
void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : ALLOCATE_NEXT(calloc)(n, size);
}
void *realloc(void *p, size_t n)
{
    return fails() ? NULL : ALLOCATE_NEXT(realloc)(p, n);
}
"""


@pytest.fixture
def zygote(tmp_path_factory):
    path = tmp_path_factory.mktemp("zygote")
    for directory in [path, *path.parents]:
        if directory.stat().st_uid == os.getuid() and str(directory) != "/":
            directory.chmod(directory.stat().st_mode | 0o711)
    (path / "fail.c").write_text(PRELOADED)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I",
                    str(harness.ROOT / "tests/fault"), "-o",
                    str(path / "fail.so"), str(path / "fail.c")], check=True)
    harness.become_subreaper()
    zygote = runtime.Zygote(path, environment={
        **os.environ, "LD_PRELOAD": str(path / "fail.so")})
    yield zygote
    zygote.finish()


OPERATIONS = {
    "kv_set": {"key": "k", "value": "v"},
    "kv_get": {"key": "k"},
    "kv_scan": {"prefix": "", "limit": 10},
    "sql": {"body": b"INSERT INTO t VALUES(1); SELECT count(*) FROM t"},
    "prepare": {},
    "send": {"queue": "q", "data": "x"},
    "call": {"function": "other", "data": "x"},
    "work": {"body": b"one", "queue": "q"},
    "once": {"body": b"one", "queue": "q",
             "params": {"HTTP_IDEMPOTENCY_KEY": "k"}},
}


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_memory_is_an_answer_and_not_the_end(zygote, state, name, lasting):
    function = Function(zygote, state, exactly_once=1)
    function.sql("CREATE TABLE t(x); CREATE TABLE w(x)")
    function.say("kv_set", key="k", value="v")
    failed = 0

    for n in range(1, 90):
        function.fork(n % 5 + 1)              # with nothing open yet
        pid = function.slot.pid
        arguments = dict(OPERATIONS[name])
        op = "work" if name == "once" else name
        arguments["from"] = n
        arguments["to"] = 1000000 if lasting else n
        params = dict(arguments.pop("params", {}))
        if params:
            params["HTTP_IDEMPOTENCY_KEY"] = "k%d" % n
        body = arguments.pop("body", b"")
        try:
            response = function.ask(op, body, params, **arguments)
            failed += not response.body.startswith(b"0") \
                or response.status != 200
        except fcgi_client.Lost:
            # no room for the answer itself: the connection ends, not we
            failed += 1
            function.connection.close()
            function.connection = function.slot.connect()
        assert function.say("plain") == "plain %d" % pid
        assert function.say("kv_get", key="k").endswith("v")
        function.version.kill(pid, 9)
        function.version.exited(pid)
        function.connection.close()

    assert failed > 3
    with sqlite3.connect(state.data / "test.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        if name == "once":
            count = db.execute("SELECT value FROM faas_kv WHERE "
                               "key = x'636f756e74'").fetchone()
            rows = db.execute("SELECT count(*) FROM w").fetchone()[0]
            records = db.execute(
                "SELECT count(*) FROM faas_once").fetchone()[0]
            assert rows == records == int(count[0] if count else 0)
    function.connection = None
