"""Migrations: applied in order, in a transaction, before the code is loaded;
the pack is what the supervisor sends with START."""

import os
import signal
import sqlite3

import pytest

import harness
import runtime
import services
from services import Function, function, state, zygote          # noqa: F401


def pack(*files):
    return b"".join(b"%s %d %s %d\n%s\n" % (
        database.encode(), number, name.encode(), len(sql), sql.encode())
        for database, number, name, sql in files)


FIRST = ("test", 1, "test.1-make.sql", "CREATE TABLE t(x); "
         "INSERT INTO t VALUES(1);")
SECOND = ("test", 2, "test.2.sql", "INSERT INTO t VALUES(2)")
OTHER = ("more", 1, "test.more.1.sql", "CREATE TABLE m(x)")


def version(zygote, state, *files, source=services.SOURCE,      # noqa: F811
            **start):
    return zygote.version(source, name="test", conf=state.conf(),
                          migrations=pack(*files), **start)


def rows(state, sql="SELECT x FROM t ORDER BY x", name="test"):  # noqa: F811
    with sqlite3.connect(state.data / (name + ".db")) as db:
        return [row[0] for row in db.execute(sql)]


def test_they_are_applied_before_the_code_is_loaded(zygote, state):
    source = """
    #include <faas.h>
    #include <sqlite3.h>
    #include <stdio.h>
    #include <stdlib.h>
    static int seen = -1;
    __attribute__((constructor)) static void look(void)
    {
        sqlite3 *db;
        sqlite3_stmt *stmt;
        if (sqlite3_open("%s", &db) == SQLITE_OK
            && sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &stmt,
                                  NULL) == SQLITE_OK
            && sqlite3_step(stmt) == SQLITE_ROW)
        {
            seen = sqlite3_column_int(stmt, 0);
            sqlite3_finalize(stmt);
        }
        sqlite3_close(db);
    }
    static int handler(faas_request_t *r)
    {
        return faas_printf(r, "%%d", seen);
    }
    FAAS_FUNCTION(.handler = handler)
    """ % (state.data / "test.db")
    v = version(zygote, state, FIRST, SECOND, OTHER, source=source)
    v.loaded()
    with v.fork().connect() as connection:
        assert connection.request().body == b"2"
    assert rows(state, "SELECT count(*) FROM m", "more") == [0]


def test_each_is_applied_once(zygote, state):
    version(zygote, state, FIRST).loaded()
    version(zygote, state, FIRST).loaded()
    version(zygote, state, FIRST, SECOND).loaded()
    version(zygote, state, FIRST, SECOND).loaded()
    assert rows(state) == [1, 2]


@pytest.mark.parametrize("sql", [
    "INSERT INTO t VALUES(3); INSERT INTO nowhere VALUES(1)", "nonsense",
    "INSERT INTO t VALUES(3); COMMIT; nonsense", "BEGIN", "VACUUM",
    "ATTACH 'x' AS y", "PRAGMA journal_mode=DELETE"])
def test_failure_changes_nothing_and_names_the_file(zygote, state, sql):
    version(zygote, state, FIRST).loaded()
    failing = ("test", 3, "test.3-bad.sql", sql)
    why = version(zygote, state, FIRST, SECOND, failing).failed()
    assert why.startswith("migration ") and "test.3-bad.sql" in why, why
    assert rows(state) == [1]
    version(zygote, state, FIRST, SECOND).loaded()
    assert rows(state) == [1, 2]


def test_applied_one_that_was_changed_is_refused(zygote, state):
    version(zygote, state, FIRST).loaded()
    changed = FIRST[:3] + (FIRST[3] + " -- changed",)
    assert "test.1-make.sql" in version(zygote, state, changed).failed()


# -- a shared database --------------------------------------------------------

SHARED = ("common", 1, "test.common.1.sql", "CREATE TABLE t(x); "
          "INSERT INTO t VALUES(1);")


def sharing(zygote, state, rights, *files):                     # noqa: F811
    return zygote.version(services.SOURCE, name="test",
                          conf=state.conf(share=["common " + rights]),
                          migrations=pack(*files))


def shared_rows(state):                                         # noqa: F811
    with sqlite3.connect(state.path / "share/common/common.db") as db:
        return [row[0] for row in db.execute("SELECT x FROM t")]


def test_shared_database_is_the_one_that_is_migrated(zygote, state):
    state.share("common")
    sharing(zygote, state, "w", SHARED).loaded()
    assert shared_rows(state) == [1]
    assert not (state.data / "common.db").exists()
    function = Function(zygote, state, share=["common w"])
    assert function.sql("SELECT x FROM t", db="common") == "1\nrc 0"
    function.close()


def test_shared_database_has_one_sequence_for_all(zygote, state):
    state.share("common")
    sharing(zygote, state, "w", SHARED).loaded()
    # another function, that brings the same and more, and a third
    sharing(zygote, state, "w", SHARED,
            ("common", 2, "other.common.2.sql", "INSERT INTO t VALUES(2)")
            ).loaded()
    why = sharing(zygote, state, "w", (
        "common", 2, "third.common.2.sql",
        "INSERT INTO t VALUES(3)")).failed()
    assert "third.common.2.sql" in why and "changed" in why
    assert shared_rows(state) == [1, 2]


def test_shared_database_that_is_read_only_is_not_migrated(zygote, state):
    state.share("common")
    why = sharing(zygote, state, "r", SHARED).failed()
    assert '"test.common.1.sql"' in why and "may only read" in why
    assert not (state.data / "common.db").exists()
    assert not (state.path / "share/common/common.db").exists()


def test_file_may_be_empty_or_large(zygote, state):
    large = ("test", 2, "test.2.sql", "INSERT INTO t VALUES('%s');"
             % ("x" * 2000000))
    version(zygote, state, FIRST, large, ("test", 3, "test.3.sql",
                                          "")).loaded()
    assert rows(state, "SELECT max(length(x)) FROM t") == [2000000]


GOOD = pack(FIRST)


@pytest.mark.parametrize("data", [
    GOOD[:-1], GOOD + b"x", b"test 1 f\n", b"test x f 1\nx\n",
    b"test 1 f 2\nx\n", b"test 1 f 99999999999999\nx\n", b" 1 f 1\nx\n",
    b"te\0st 1 f 1\nx\n", b"test 4294967296 f 1\nx\n", b"\n"])
def test_malformed_pack_is_refused(zygote, state, data):
    v = zygote.version(services.SOURCE, name="test", conf=state.conf(),
                       migrations=data)
    assert v.failed() == "migrations: they cannot be read"


def test_empty_pack_is_nothing_to_do(zygote, state):
    version(zygote, state).loaded()
    assert not list(state.data.glob("*.db"))


def test_database_name_cannot_leave_the_directory(zygote, state):
    why = version(zygote, state, ("../test", 1, "f.sql",
                                  "CREATE TABLE t(x)")).failed()
    assert why.startswith('migrations: database "../test"')


def test_without_services_they_are_refused(zygote):
    v = zygote.version(services.SOURCE, name="test", migrations=GOOD)
    assert v.failed() == "has migrations, but no backend services"


def test_endless_migration_ends_with_init_timeout(zygote, state):
    endless = ("test", 2, "test.2.sql",
               "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
               "SELECT x + 1 FROM c) SELECT x FROM c WHERE x < 0")
    v = version(zygote, state, FIRST, endless, init_timeout_ms=500)
    why = v.failed()
    assert "init_timeout" in why or "test.2.sql" in why, why
    # nothing of it is left: not the first one either, not a process, no lock
    version(zygote, state, FIRST).loaded()
    assert rows(state) == [1]


def test_killed_template_leaves_database_as_it_was(zygote, state):
    endless = ("test", 2, "test.2.sql",
               "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
               "SELECT x + 1 FROM c) SELECT x FROM c")
    version(zygote, state, FIRST).loaded()
    v = version(zygote, state, FIRST, endless)
    template = v.init.receive("TEMPLATE").pid
    harness.wait_until(lambda: runtime.children(template),
                       "the child that migrates")
    child, = runtime.children(template)
    os.kill(template, signal.SIGKILL)
    v.exited(template)
    harness.wait_until(lambda: runtime.is_gone(child), "the child's end")
    assert rows(state) == [1]
    version(zygote, state, FIRST, SECOND).loaded()
    assert rows(state) == [1, 2]
