"""faas_kv_*, faas_db and faas_redis from inside a function, with SQLite."""

import os
import pathlib
import signal
import sqlite3

import pytest

import harness
import runtime
import services
from services import CODES, Function, function, state, zygote   # noqa: F401


def code(text):
    return int(text.split()[0])


# -- key-value ----------------------------------------------------------------

def test_kv_value_is_bytes_and_has_version_and_zero_behind_it(function):
    value = bytes(range(256))
    set_code, version = function.say("kv_set", key=b"a\0b", value=value).split()
    assert (set_code, int(version) > 0) == ("0", True)
    response = function.ask("kv_get", key=b"a\0b")
    head, _, body = response.body.partition(b"\n")
    assert head.decode() == "0 %s 0 256 0" % version
    assert body == value


def test_kv_calls_do_what_faas_h_says(function):
    say = function.say
    assert code(say("kv_get", key="k")) == CODES["NOTFOUND"]
    assert code(say("kv_cas", key="k", value="1", expected=0)) == 0
    assert code(say("kv_cas", key="k", value="2", expected=0)) \
        == CODES["CONFLICT"]
    version = say("kv_get", key="k").split()[1]
    assert code(say("kv_cas", key="k", value="2", expected=version)) == 0
    assert code(say("kv_cas", key="k", value="3", expected=version)) \
        == CODES["CONFLICT"]
    assert code(say("kv_cas", key="k", value="3", expected=2 ** 64 - 1)) \
        == CODES["CONFLICT"]
    assert say("kv_incr", key="k", by=40) == "0 42"
    assert say("kv_incr", key="n", by=-7) == "0 -7"
    assert code(say("kv_incr", key="k", by=2 ** 63 - 1)) == CODES["INVAL"]
    assert code(say("kv_expire", key="k", ttl=100000)) == 0
    assert 0 < int(say("kv_get", key="k").split()[2]) <= 100000
    assert code(say("kv_delete", key="k")) == 0
    assert code(say("kv_delete", key="k")) == CODES["NOTFOUND"]


def test_kv_scan_goes_through_a_prefix_in_order(function):
    for key in ("b/2", "b/1", "a", "b/3", "c"):
        function.say("kv_set", key=key, value="v" + key)
    assert function.say("kv_scan", prefix="b/", limit=10) \
        == "b/1=vb/1\nb/2=vb/2\nb/3=vb/3\n0"
    assert function.say("kv_scan", prefix="b/", after="b/1", limit=1) \
        == "b/2=vb/2\n0"
    assert code(function.say("kv_scan", prefix="b/", limit=0)) \
        == CODES["INVAL"]


def test_kv_limits(function):
    assert code(function.say("kv_set", key="", value="x")) == CODES["INVAL"]
    assert code(function.say("kv_set", key="k" * 513, value="x")) \
        == CODES["TOOLARGE"]
    assert code(function.say("kv_set", key="k" * 512, value="x")) == 0


def test_kv_survives_instance_and_is_the_functions_own(zygote, state,
                                                       function):
    function.say("kv_set", key="k", value="kept")
    os.kill(function.slot.pid, signal.SIGKILL)
    function.version.exited(function.slot.pid)
    function.fork(1)
    assert function.say("kv_get", key="k").endswith("kept")
    assert (state.data / "test.db").exists()


def test_space_that_is_not_shared_is_denied_and_bad_name_refused(function):
    assert code(function.say("kv_get", space="other", key="k")) \
        == CODES["DENIED"]
    for name in ("../test", "A", "a/b", "", "x" * 64):
        assert code(function.say("kv_get", space=name, key="k")) \
            == CODES["INVAL"], name


def test_shared_space_may_be_written_or_only_read(zygote, state):
    state.share("common")
    writer = Function(zygote, state, share=["common w"])
    assert code(writer.say("kv_set", space="common", key="k", value="v")) == 0
    assert code(writer.say("kv_get", key="k")) == CODES["NOTFOUND"]
    reader = Function(zygote, state, share=["common r"])
    assert reader.say("kv_get", space="common", key="k").endswith("v")
    assert code(reader.say("kv_set", space="common", key="k", value="w")) \
        == CODES["READONLY"]
    assert code(reader.say("kv_delete", space="common", key="k")) \
        == CODES["READONLY"]
    assert reader.sql("SELECT count(*) FROM faas_kv", db="common") \
        == "1\nrc 0"
    assert "rc 8" in reader.sql("CREATE TABLE t(x)", db="common")
    writer.close()
    reader.close()


# -- SQL ----------------------------------------------------------------------

def test_function_links_with_sqlite_of_the_process_and_uses_it(function):
    assert function.sql("CREATE TABLE t(x); INSERT INTO t VALUES(1), (NULL);"
                        "SELECT x FROM t; PRAGMA journal_mode;"
                        "PRAGMA foreign_keys") == "1\nNULL\nwal\n1\nrc 0"
    maps = pathlib.Path("/proc/%d/maps" % function.slot.pid).read_text()
    libraries = {line.split("/")[-1] for line in maps.splitlines()
                 if "libsqlite3" in line or "libhiredis" in line}
    assert len(libraries) == 2, libraries


def test_further_database_is_a_file_beside_the_own(function, state):
    function.sql("CREATE TABLE t(x)", db="orders")
    function.sql("CREATE TABLE u(x)", db="test")
    assert {p.name for p in state.data.glob("*.db")} >= {"orders.db",
                                                         "test.db"}
    assert "no such table" in function.sql("SELECT * FROM u", db="orders")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "A", "a.db", "-x",
                                  "", "x" * 64, "a/b", ".."])
def test_database_name_that_would_leave_the_directory_is_refused(function,
                                                                 name):
    assert function.sql("SELECT 1", db=name) == "code %d" % CODES["INVAL"]


def test_what_is_open_at_the_end_of_a_request_is_undone(function):
    assert function.say("leave_open") == "0 100"
    assert function.sql("SELECT count(*) FROM t") == "0\nrc 0"
    # and nobody else is locked out by what was left
    with sqlite3.connect(function.state.data / "test.db", timeout=0) as other:
        other.execute("CREATE TABLE mine(x)")
    log = function.slot.read_log().decode()
    assert "a transaction was left open" in log, log


def test_prepared_statement_is_cached_and_reset(function):
    assert function.say("prepare") == "6 1 no such table: nowhere"


ENDLESS = ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
           "SELECT count(*) FROM c")


def test_endless_statement_is_interrupted_at_the_deadline(zygote, state):
    function = Function(zygote, state, limits={"timeout_ms": 300})
    assert function.sql(ENDLESS) == "rc 9 interrupted"
    assert function.sql("SELECT 1") == "1\nrc 0"
    function.close()


def test_shorter_time_of_the_caller_bounds_statements_too(function):
    response = function.ask("sql", ENDLESS.encode(),
                            params={"HTTP_FAAS_TIMEOUT": "0.2"})
    assert response.body == b"rc 9 interrupted\n"


def test_lock_of_another_is_waited_for_until_the_deadline(zygote, state):
    function = Function(zygote, state, limits={"timeout_ms": 400})
    assert function.sql("CREATE TABLE t(x)") == "rc 0"
    other = sqlite3.connect(state.data / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "rc 5" in function.sql("INSERT INTO t VALUES(1)")
    assert code(function.say("kv_set", key="k", value="v")) == CODES["BUSY"]
    other.execute("COMMIT")
    other.close()
    assert function.sql("INSERT INTO t VALUES(1)") == "rc 0"
    assert code(function.say("kv_set", key="k", value="v")) == 0
    function.close()


@pytest.mark.parametrize("backup", [False, True])
def test_file_that_is_another_one_is_opened_again(function, state, backup):
    """An acknowledged write is in the file that is there."""

    def files():
        return sorted(state.data.glob("test.db*"))

    function.sql("CREATE TABLE t(x); INSERT INTO t VALUES(1)")
    function.say("kv_set", key="old", value="v")
    if backup:
        with sqlite3.connect(state.data / "test.db") as db:
            with sqlite3.connect(state.path / "backup") as copy:
                db.backup(copy)
        if os.geteuid() == 0:
            os.chown(state.path / "backup", runtime.UID, runtime.GID)
    for path in files():
        path.unlink()
    if backup:
        (state.path / "backup").rename(state.data / "test.db")
    assert code(function.say("kv_set", key="new", value="v")) == 0
    assert code(function.say("kv_get", key="old")) == (
        0 if backup else CODES["NOTFOUND"])
    assert function.sql("CREATE TABLE IF NOT EXISTS t(x);"
                        "INSERT INTO t VALUES(2); SELECT sum(x) FROM t") \
        == "%d\nrc 0" % (3 if backup else 2)
    with sqlite3.connect(state.data / "test.db") as db:
        assert db.execute("SELECT count(*) FROM faas_kv WHERE key = ?",
                          (b"new",)).fetchone() == (1,)


def test_who_is_told_that_it_was_too_late_can_still_answer(zygote, state):
    source = """
    #include <faas.h>
    static int handler(faas_request_t *r)
    {
        int code = faas_kv_set(r, NULL, faas_text("k"), faas_text("v"), 0,
                               NULL);
        return faas_printf(r, "%d %d", code, faas_time_left(r) > 0);
    }
    FAAS_FUNCTION(.handler = handler)
    """
    function = Function(zygote, state, source=source,
                        limits={"timeout_ms": 1000})
    assert function.connection.request().body == b"0 1"
    other = sqlite3.connect(state.data / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    # once may be late on a machine that has too much to do
    answers = [function.connection.request().body for _ in range(4)]
    assert b"%d 1" % CODES["BUSY"] in answers, answers
    other.close()
    function.close()


def test_directory_that_is_not_there_is_a_code_and_a_line(zygote, state):
    state.data.rmdir()
    function = Function(zygote, state)
    assert code(function.say("kv_get", key="k")) in (
        CODES["NOTFOUND"], CODES["UNAVAILABLE"])
    assert b'database "test"' in function.slot.read_log()
    function.close()


def test_file_that_is_no_database_is_corrupt(function, state):
    path = state.data / "bad.db"
    path.write_bytes(b"this is not a database at all\n" * 200)
    os.chown(path, runtime.UID, runtime.GID) if os.geteuid() == 0 else None
    path.chmod(0o660)
    assert "file is not a database" in function.sql("SELECT 1 FROM x",
                                                    db="bad") \
        or function.sql("SELECT 1", db="bad") == "code %d" % CODES["CORRUPT"]


# -- Redis, when there is none -------------------------------------------------

def test_redis_where_no_engine_is_redis_is_unsupported(function):
    assert function.say("redis", command="PING") \
        == "code %d" % CODES["UNSUPPORTED"]


def test_redis_that_is_not_there_is_told_in_time_and_harms_nobody(zygote,
                                                                  state):
    function = Function(zygote, state, kv="redis://127.0.0.1:1/0",
                        limits={"timeout_ms": 2000})
    assert code(function.say("kv_get", key="k")) in (CODES["UNAVAILABLE"],
                                                     CODES["TIMEDOUT"])
    assert code(function.say("redis", command="PING").split()[1]) \
        == CODES["UNAVAILABLE"]
    assert function.sql("SELECT 1") == "1\nrc 0"
    assert function.say("plain").startswith("plain")
    function.close()


# -- processes ----------------------------------------------------------------

def test_without_a_request_every_call_is_refused(function):
    codes = function.say("init_codes").split()
    assert set(map(int, codes)) == {CODES["INVAL"]}, codes


@pytest.mark.parametrize("first", [None, "1"])
def test_child_that_a_function_forks_is_refused_and_parent_goes_on(function,
                                                                   first):
    status, codes = function.say("fork", first=first).split(": ")
    unsupported = CODES["UNSUPPORTED"]
    assert status == "0"
    assert list(map(int, codes.split())) == [
        unsupported, unsupported, unsupported, 0, unsupported, unsupported,
        0, unsupported]
    assert function.say("kv_get", key="k").endswith(
        "parent" if first else str(CODES["NOTFOUND"]))
    assert not function.state.events.asked
    assert not function.state.nginx.requests


def test_no_handle_is_open_before_a_function_asks_for_one(function):
    def opened():
        directory = pathlib.Path("/proc/%d/fd" % function.slot.pid)
        return sorted(os.readlink(path) for path in directory.iterdir())

    function.say("plain")
    before = opened()
    assert not [path for path in before if str(function.state.path) in path]
    function.say("plain")
    assert opened() == before
    function.say("kv_set", key="k", value="v")
    assert [path for path in opened() if path.endswith("test.db")]
    # what the template has is what its forks would have
    template = pathlib.Path("/proc/%d/fd"
                            % template_of(function.version)).iterdir()
    assert not [path for path in template if ".db" in os.readlink(path)]


def template_of(version):
    """Its pid as we see it: it has the title."""

    for pid in runtime.children(version.pid):
        if "template" in harness.cmdline(pid):
            return pid
    raise AssertionError("no template")


def test_without_services_calls_are_unsupported(zygote, state):
    version = zygote.version(services.SOURCE, name="test")
    version.loaded()
    with version.fork().connect() as connection:
        for op in ("kv_get", "send", "call"):
            response = connection.request(
                query="op=%s&key=k&queue=q&data=x&function=f" % op)
            assert code(response.body.decode()) == CODES["UNSUPPORTED"], op


@pytest.mark.parametrize("conf, why", [
    ("function f\nnonsense 1\n", 'unknown setting "nonsense"'),
    ("function f\n", 'no "token"'),
    ("function\n", '"function" without a value'),
    ("exactly_once 2\n", 'bad value of "exactly_once"'),
    ("share a x /p\n", 'bad value of "share"'),
])
def test_bad_configuration_of_services_refuses_the_version(zygote, conf, why):
    version = zygote.version(services.SOURCE, name="test", conf=conf)
    assert why in version.failed()


def test_errors_have_words(function):
    words = {function.say("error", code=value) for value in CODES.values()}
    assert len(words) == len(CODES)
