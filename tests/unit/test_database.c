
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c */
/* objects: baas/database_open.c baas/database_once.c */
/* libs: -lsqlite3 */

/*
 * Statements, time, what may be done, transactions, forks, and what happens
 * when there is no room.
 */

#include <sched.h>

#include "database_fixture.h"


#define TEST_FOREVER                                                          \
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "       \
    "SELECT count(*) FROM n"


/* -- statements ------------------------------------------------------------ */

static void
test_statement_of_the_same_text_is_the_same(void **state)
{
    char           text[64];
    database_t    *d;
    sqlite3_stmt  *a, *b;

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    a = database_prepare(d, "SELECT ?1");
    assert_non_null(a);

    assert_int_equal(sqlite3_bind_int(a, 1, 7), SQLITE_OK);
    assert_int_equal(sqlite3_step(a), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(a, 0), 7);
    assert_int_equal(sqlite3_step(a), SQLITE_DONE);

    snprintf(text, sizeof(text), "SELECT %s", "?1");
    b = database_prepare(d, text);
    assert_ptr_equal(b, a);

    /* without bindings */

    assert_int_equal(sqlite3_step(b), SQLITE_ROW);
    assert_int_equal(sqlite3_column_type(b, 0), SQLITE_NULL);

    /* while it is stepped there is another one, and it is not disturbed */

    a = database_prepare(d, text);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    assert_int_equal(sqlite3_stmt_busy(b), 1);

    database_end(d);
    assert_int_equal(sqlite3_stmt_busy(b), 0);

    database_close(d);
}


static int
value_of(database_t *d, const char *sql)
{
    int            value;
    sqlite3_stmt  *stmt;

    stmt = database_prepare(d, sql);
    assert_non_null(stmt);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = sqlite3_column_int(stmt, 0);
    sqlite3_reset(stmt);

    return value;
}


static void
test_settings_are_those_of_a_request(void **state)
{
    sqlite3     *db;
    uint64_t     version;
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    db = database_handle(d);

    assert_int_equal(sqlite3_exec(db, "PRAGMA foreign_keys = OFF; "
                                  "PRAGMA query_only = ON; BEGIN", NULL,
                                  NULL, NULL), SQLITE_OK);
    assert_int_equal(value_of(d, "PRAGMA foreign_keys"), 0);

    database_end(d);
    database_begin(d, SCOPE);

    assert_int_equal(value_of(d, "PRAGMA foreign_keys"), 1);
    assert_int_equal(kv_set(database_kv(d), SCOPE, faas_text("k"),
                            faas_text("v"), 0, KV_ANY, &version), FAAS_OK);

    database_close(d);
}


static void
test_statement_that_cannot_be(void **state)
{
    char         *large;
    database_t   *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    assert_null(database_prepare(d, "SELEKT"));
    assert_non_null(strstr(sqlite3_errmsg(database_handle(d)), "SELEKT"));
    assert_null(database_prepare(d, "SELECT * FROM nothing"));
    assert_null(database_prepare(d, ""));
    assert_null(database_prepare(d, "-- a comment"));
    assert_null(database_prepare(d, NULL));

    large = test_alloc(NULL, 2000000);
    memset(large, ' ', 1999999);
    memcpy(large, "SELECT 1", 8);
    assert_null(database_prepare(d, large));
    assert_int_equal(sqlite3_errcode(database_handle(d)), SQLITE_TOOBIG);

    assert_non_null(database_prepare(d, "SELECT 1"));

    database_close(d);
}


static int
test_statements(database_t *d)
{
    int            n;
    sqlite3_stmt  *stmt;

    n = 0;

    for (stmt = sqlite3_next_stmt(database_handle(d), NULL);
         stmt != NULL;
         stmt = sqlite3_next_stmt(database_handle(d), stmt))
    {
        n++;
    }

    return n;
}


static void
test_more_statements_than_are_kept(void **state)
{
    int            i, k, kept;
    char           sql[32];
    database_t    *d;
    sqlite3_stmt  *stmt[200];

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    /* what one request was given stays good for it, however many they are,
       and no longer */

    kept = 0;

    for (k = 0; k < 3; k++) {

        for (i = 0; i < 200; i++) {
            snprintf(sql, sizeof(sql), "SELECT %d", i);
            stmt[i] = database_prepare(d, sql);
            assert_non_null(stmt[i]);
        }

        for (i = 0; i < 200; i++) {
            assert_int_equal(sqlite3_step(stmt[i]), SQLITE_ROW);
            assert_int_equal(sqlite3_column_int(stmt[i], 0), i);
        }

        database_end(d);

        assert_in_range(test_statements(d), 1, 100);
        assert_true(k == 0 || test_statements(d) == kept);
        kept = test_statements(d);

        database_begin(d, SCOPE);
    }

    database_close(d);
}


static void
test_statement_survives_another_schema(void **state)
{
    database_t    *d, *e;
    sqlite3_stmt  *stmt;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);

    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);
    stmt = database_prepare(d, "SELECT count(*) FROM t");
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    sqlite3_reset(stmt);

    assert_int_equal(test_sql(e, "ALTER TABLE t ADD COLUMN y; "
                                 "INSERT INTO t VALUES (1, 2)"), SQLITE_OK);

    stmt = database_prepare(d, "SELECT count(*) FROM t");
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), 1);

    database_close(e);
    database_close(d);
}


static void
test_end_of_a_request_leaves_nothing_open(void **state)
{
    database_t    *d, *e;
    sqlite3_stmt  *own, *cached;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);

    assert_int_equal(test_sql(d, "CREATE TABLE t (x); "
                                 "INSERT INTO t VALUES (1), (2)"), SQLITE_OK);

    /* a transaction, and two reads that are not at their end */

    assert_int_equal(test_sql(d, "BEGIN; INSERT INTO t VALUES (3)"),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database_handle(d), "SELECT x FROM t",
                                        -1, &own, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(own), SQLITE_ROW);
    cached = database_prepare(d, "SELECT x FROM t WHERE x > 0");
    assert_int_equal(sqlite3_step(cached), SQLITE_ROW);

    database_end(d);

    assert_int_equal(sqlite3_get_autocommit(database_handle(d)), 1);
    assert_int_equal(sqlite3_stmt_busy(own), 0);
    assert_int_equal(sqlite3_stmt_busy(cached), 0);
    assert_string_equal(test_value(e, "SELECT count(*) FROM t"), "2");

    /* no read is left that would keep a checkpoint waiting */

    assert_int_equal(test_sql(e, "INSERT INTO t VALUES (4)"), SQLITE_OK);
    assert_int_equal(sqlite3_wal_checkpoint_v2(database_handle(e), NULL,
                                               SQLITE_CHECKPOINT_TRUNCATE,
                                               NULL, NULL), SQLITE_OK);

    /* statements that the function compiled for itself stay its own */

    database_begin(d, SCOPE);
    assert_int_equal(sqlite3_step(own), SQLITE_ROW);
    database_end(d);

    database_close(e);
    database_close(d);
}


/* -- time ------------------------------------------------------------------ */

static void
test_statement_ends_at_the_deadline(void **state)
{
    int          rc;
    int64_t      before;
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    before = test_monotonic_ms();
    database_begin(d, test_scope_of(50));
    rc = test_sql(d, TEST_FOREVER);

    assert_int_equal(rc, SQLITE_INTERRUPT);
    assert_true(test_monotonic_ms() >= before + 50);
    assert_int_equal(database_error(d, rc), FAAS_ETIMEDOUT);
    database_end(d);

    database_begin(d, SCOPE);
    assert_int_equal(test_sql(d, "SELECT 1"), SQLITE_OK);

    database_close(d);
}


static int
test_deadline_holds_child(void)
{
    int          code;
    database_t  *d;

    /* a function takes our handlers away; the next request has them again */

    d = test_database_open("a", DATABASE_CREATE, &code);
    CHECK(d != NULL);
    CHECK(sqlite3_busy_timeout(database_handle(d), 1000000) == SQLITE_OK);
    sqlite3_progress_handler(database_handle(d), 0, NULL, NULL);
    database_end(d);

    database_begin(d, test_scope_of(50));
    CHECK(test_sql(d, TEST_FOREVER) == SQLITE_INTERRUPT);
    database_end(d);

    return 0;
}


static void
test_deadline_holds_in_the_next_request(void **state)
{
    (void) state;

    assert_int_equal(test_in_child(test_deadline_holds_child), 0);
}


static void
test_locked_database_is_waited_for_until_the_deadline(void **state)
{
    int64_t      before;
    database_t  *d, *e;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);

    assert_int_equal(test_kv_put(d, B("k"), B("1")), FAAS_OK);
    assert_int_equal(test_sql(e, "BEGIN IMMEDIATE"), SQLITE_OK);

    before = test_monotonic_ms();
    assert_int_equal(kv_set(database_kv(d), test_scope_of(50), B("k"), B("2"),
                            0, KV_ANY, NULL), FAAS_EBUSY);
    assert_true(test_monotonic_ms() >= before + 50);
    assert_int_equal(kv_incr(database_kv(d), test_scope_of(20), B("k"), 1,
                             NULL), FAAS_EBUSY);
    assert_int_equal(kv_remove(database_kv(d), test_scope_of(0), B("k")),
                     FAAS_EBUSY);
    assert_int_equal(kv_expire(database_kv(d), test_scope_of(-5), B("k"), 1),
                     FAAS_EBUSY);

    /* reads go on */

    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);

    assert_int_equal(test_sql(e, "COMMIT"), SQLITE_OK);
    assert_int_equal(test_kv_put(d, B("k"), B("2")), FAAS_OK);

    database_close(e);
    database_close(d);
}


/* -- what may be done ------------------------------------------------------ */

static void
test_what_is_refused(void **state)
{
    size_t       i;
    database_t  *d;

    static const char *const  bad[] = {
        "ATTACH '/tmp/other.db' AS x", "ATTACH ':memory:' AS x",
        "ATTACH '' AS x", "DETACH main", "VACUUM", "VACUUM INTO '/tmp/x.db'",
        "PRAGMA wal_checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA main.wal_checkpoint", "pragma WAL_CHECKPOINT",
        "PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = OFF",
        "PRAGMA journal_mode(MEMORY)", "PRAGMA wal_autocheckpoint = 1",
        "PRAGMA synchronous = OFF", "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA mmap_size = 1000000", "PRAGMA writable_schema = 1",
        "PRAGMA busy_timeout = 0", "PRAGMA journal_size_limit = -1",
        "PRAGMA page_size = 512", "PRAGMA auto_vacuum = 1",
        "PRAGMA trusted_schema = 1", "PRAGMA ignore_check_constraints = 1",
        "PRAGMA schema_version = 1", "PRAGMA temp_store_directory = '/tmp'",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT FTS3_Tokenizer('simple', ?1)",
        "INSERT INTO faas_kv (key, version, value) VALUES (x'00', 1, x'00')",
        "UPDATE faas_kv SET version = 1", "DELETE FROM faas_kv",
        "DROP TABLE faas_kv", "DROP INDEX faas_kv_expires",
        "ALTER TABLE faas_kv ADD COLUMN x", "ALTER TABLE faas_kv RENAME TO x",
        "CREATE INDEX i ON faas_kv (version)", "CREATE TABLE faas_x (x)",
        "CREATE TEMP TABLE faas_kv (x)", "CREATE VIEW FAAS_v AS SELECT 1",
        "CREATE TRIGGER tr AFTER INSERT ON faas_kv BEGIN SELECT 1; END",
        "CREATE TRIGGER tr AFTER INSERT ON t "
            "BEGIN DELETE FROM faas_kv; END; INSERT INTO t VALUES (1)",
        "UPDATE sqlite_master SET sql = ''",
        "WITH x AS (SELECT 1) DELETE FROM faas_kv",
        "REPLACE INTO faas_kv (key, version, value) VALUES (x'00', 1, x'00')",
    };

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("1")), FAAS_OK);
    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (test_sql(d, bad[i]) == SQLITE_OK) {
            fail_msg("not refused: %s", bad[i]);
        }
    }

    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);
    assert_string_equal(test_value(d, "PRAGMA journal_mode"), "wal");
    assert_string_equal(test_value(d, "PRAGMA synchronous"), "2");
    assert_string_equal(test_value(d, "PRAGMA locking_mode"), "normal");
    assert_string_equal(test_value(d, "PRAGMA wal_autocheckpoint"), "0");

    database_close(d);
}


static void
test_what_is_allowed(void **state)
{
    size_t       i;
    database_t  *d;

    static const char *const  good[] = {
        "SELECT count(*) FROM faas_kv", "PRAGMA journal_mode",
        "PRAGMA user_version = 3", "PRAGMA table_info(t)",
        "PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON",
        "PRAGMA integrity_check", "PRAGMA optimize", "PRAGMA cache_size = 99",
        "CREATE TEMP TABLE x (y); INSERT INTO x VALUES (1)",
        "BEGIN; INSERT INTO t VALUES (2); COMMIT", "BEGIN EXCLUSIVE; ROLLBACK",
        "SAVEPOINT s; INSERT INTO t VALUES (3); ROLLBACK TO s; RELEASE s",
        "CREATE TABLE u (x REFERENCES t (x)); CREATE INDEX i ON u (x); "
            "ALTER TABLE u ADD COLUMN y; DROP INDEX i; DROP TABLE u",
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE VIEW v AS SELECT x FROM t; SELECT * FROM v; DROP VIEW v",
        "SELECT * FROM pragma_table_info('t')", "REINDEX", "ANALYZE",
        "SELECT json_extract('{\"a\":1}', '$.a')", "EXPLAIN SELECT 1",
        "CREATE TABLE faas (x); DROP TABLE faas",
    };

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("1")), FAAS_OK);
    assert_int_equal(test_sql(d, "CREATE TABLE t (x PRIMARY KEY)"), SQLITE_OK);

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (test_sql(d, good[i]) != SQLITE_OK) {
            fail_msg("refused: %s: %s", good[i],
                     sqlite3_errmsg(database_handle(d)));
        }
    }

    database_close(d);
}


static void
test_sizes_are_limited(void **state)
{
    database_t    *d;
    sqlite3_stmt  *stmt;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);
    assert_int_equal(test_sql(d, "INSERT INTO t VALUES (zeroblob(70000000))"),
                     SQLITE_TOOBIG);
    assert_int_equal(database_code(SQLITE_TOOBIG), FAAS_ETOOLARGE);

    stmt = database_prepare(d, "INSERT INTO t VALUES (?1)");
    assert_int_equal(sqlite3_bind_zeroblob(stmt, 1, 1000), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);

    database_close(d);
}


/* -- transactions ---------------------------------------------------------- */

static void
test_key_value_is_part_of_a_transaction(void **state)
{
    int64_t      sum;
    database_t  *d, *e;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);

    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);
    assert_int_equal(test_kv_put(d, B("n"), B("1")), FAAS_OK);

    assert_int_equal(test_sql(d, "BEGIN IMMEDIATE; INSERT INTO t VALUES (1)"),
                     SQLITE_OK);
    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    assert_int_equal(kv_incr(database_kv(d), SCOPE, B("n"), 1, &sum), FAAS_OK);
    assert_int_equal(sum, 2);
    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);
    assert_int_equal(test_kv_code(e, B("k")), FAAS_ENOTFOUND);
    assert_int_equal(sqlite3_get_autocommit(database_handle(d)), 0);

    assert_int_equal(test_sql(d, "ROLLBACK"), SQLITE_OK);
    assert_int_equal(test_kv_code(d, B("k")), FAAS_ENOTFOUND);
    assert_int_equal(kv_incr(database_kv(d), SCOPE, B("n"), 0, &sum), FAAS_OK);
    assert_int_equal(sum, 1);

    assert_int_equal(test_sql(d, "BEGIN; INSERT INTO t VALUES (1)"),
                     SQLITE_OK);
    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    assert_int_equal(test_sql(d, "COMMIT"), SQLITE_OK);
    assert_int_equal(test_kv_code(e, B("k")), FAAS_OK);

    /* down to a savepoint */

    assert_int_equal(test_sql(d, "BEGIN; SAVEPOINT s"), SQLITE_OK);
    assert_int_equal(kv_remove(database_kv(d), SCOPE, B("k")), FAAS_OK);
    assert_int_equal(test_sql(d, "ROLLBACK TO s; COMMIT"), SQLITE_OK);
    assert_int_equal(test_kv_code(e, B("k")), FAAS_OK);

    database_close(e);
    database_close(d);
}


static void
test_failure_of_incr_leaves_the_transaction_open(void **state)
{
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("no number")), FAAS_OK);

    assert_int_equal(test_sql(d, "BEGIN"), SQLITE_OK);
    assert_int_equal(test_kv_put(d, B("l"), B("1")), FAAS_OK);
    assert_int_equal(kv_incr(database_kv(d), SCOPE, B("k"), 1, NULL),
                     FAAS_EINVAL);
    assert_int_equal(test_sql(d, "COMMIT"), SQLITE_OK);
    assert_int_equal(test_kv_code(d, B("l")), FAAS_OK);

    /* and there is none where there was none */

    assert_int_equal(kv_incr(database_kv(d), SCOPE, B("k"), 1, NULL),
                     FAAS_EINVAL);
    assert_int_equal(sqlite3_get_autocommit(database_handle(d)), 1);

    database_close(d);
}


static void
test_tables_that_went_with_a_rollback_are_made_again(void **state)
{
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    assert_int_equal(test_sql(d, "BEGIN"), SQLITE_OK);
    assert_int_equal(test_kv_put(d, B("k"), B("1")), FAAS_OK);
    assert_int_equal(test_sql(d, "ROLLBACK"), SQLITE_OK);

    assert_int_equal(test_kv_code(d, B("k")), FAAS_ENOTFOUND);
    assert_int_equal(test_kv_put(d, B("k"), B("1")), FAAS_OK);
    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);

    database_close(d);
}


static void
test_stale_read_is_busy_at_once(void **state)
{
    int64_t      before;
    database_t  *d, *e;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);

    assert_int_equal(test_kv_put(d, B("k"), B("1")), FAAS_OK);
    assert_int_equal(test_sql(d, "BEGIN; SELECT * FROM faas_kv"), SQLITE_OK);
    assert_int_equal(test_kv_put(e, B("k"), B("2")), FAAS_OK);

    before = test_monotonic_ms();
    assert_int_equal(kv_set(database_kv(d), test_scope_of(600000), B("k"),
                            B("3"), 0, KV_ANY, NULL), FAAS_EBUSY);
    assert_true(test_monotonic_ms() < before + 300000);

    database_close(e);
    database_close(d);
}


/* -- forks ----------------------------------------------------------------- */

static database_t  *test_parents;


static int
test_fork_child(void)
{
    database_t       *d;
    faas_kv_entry_t   entry;

    d = test_parents;

    CHECK(database_handle(d) == NULL);
    CHECK(database_prepare(d, "SELECT 1") == NULL);
    CHECK(kv_get(database_kv(d), SCOPE, B("k"), &entry) == FAAS_EUNSUPPORTED);
    CHECK(test_kv_put(d, B("k"), B("child")) == FAAS_EUNSUPPORTED);
    CHECK(kv_remove(database_kv(d), SCOPE, B("k")) == FAAS_EUNSUPPORTED);
    CHECK(kv_incr(database_kv(d), SCOPE, B("k"), 1, NULL)
          == FAAS_EUNSUPPORTED);
    CHECK(kv_expire(database_kv(d), SCOPE, B("k"), 1) == FAAS_EUNSUPPORTED);
    CHECK(kv_scan(database_kv(d), SCOPE, NONE, NONE, 1,
                  (int (*)(const faas_kv_entry_t *, void *)) abort, NULL)
          == FAAS_EUNSUPPORTED);

    database_begin(d, SCOPE);
    database_end(d);
    database_close(d);

    return 0;
}


/* what a child does with it must not touch the parent's transaction */

static void
test_handle_does_not_cross_a_fork(void **state)
{
    database_t  *d, *e;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);
    test_parents = d;

    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    assert_int_equal(test_sql(d, "BEGIN IMMEDIATE; CREATE TABLE t (x)"),
                     SQLITE_OK);

    assert_int_equal(test_in_child(test_fork_child), 0);

    assert_int_equal(kv_set(database_kv(e), test_scope_of(0), B("k"), B("w"),
                            0, KV_ANY, NULL), FAAS_EBUSY);
    database_begin(d, SCOPE);
    assert_int_equal(test_sql(d, "COMMIT"), SQLITE_OK);
    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);

    database_close(e);
    database_close(d);
}


static int  test_pipe[2];


static int
test_version_child(void)
{
    uint64_t  version;

    version = kv_version();

    return write(test_pipe[1], &version, sizeof(version)) == sizeof(version)
           ? 0 : 1;
}


static void
test_versions_of_forks_differ(void **state)
{
    int       i, k;
    uint64_t  version[32];

    (void) state;

    (void) kv_version();

    assert_int_equal(pipe(test_pipe), 0);

    for (i = 0; i < 32; i++) {
        assert_int_equal(test_in_child(test_version_child), 0);
        assert_int_equal(read(test_pipe[0], &version[i], sizeof(uint64_t)),
                         sizeof(uint64_t));

        for (k = 0; k < i; k++) {
            assert_true(version[k] != version[i]);
        }
    }

    close(test_pipe[0]);
    close(test_pipe[1]);
}


/* -- no room --------------------------------------------------------------- */

static void
test_full(database_t *d)
{
    int              rc;
    char            *value;
    faas_kv_entry_t  entry;

    value = test_alloc(NULL, FAAS_KV_VALUE_MAX);

    rc = kv_set(database_kv(d), SCOPE, B("large"),
                test_bytes(value, FAAS_KV_VALUE_MAX), 0, KV_ANY, NULL);
    assert_int_equal(rc, FAAS_EFULL);

    /* nothing half-written, and what was there is there */

    assert_int_equal(test_kv_code(d, B("large")), FAAS_ENOTFOUND);
    assert_int_equal(kv_get(database_kv(d), SCOPE, B("k"), &entry), FAAS_OK);
    assert_int_equal(entry.value.size, 3);
    assert_memory_equal(entry.value.data, "old", 3);

    rc = kv_set(database_kv(d), SCOPE, B("k"),
                test_bytes(value, FAAS_KV_VALUE_MAX), 0, KV_ANY, NULL);
    assert_int_equal(rc, FAAS_EFULL);
    assert_int_equal(kv_get(database_kv(d), SCOPE, B("k"), &entry), FAAS_OK);
    assert_int_equal(entry.value.size, 3);
    assert_int_equal(sqlite3_get_autocommit(database_handle(d)), 1);
    assert_string_equal(test_value(d, "PRAGMA integrity_check"), "ok");
}


static void
test_full_database(void **state)
{
    database_t  *d;

    (void) state;

    /* set before the authorizer would refuse it */

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("old")), FAAS_OK);

    sqlite3_set_authorizer(database_handle(d), NULL, NULL);
    assert_int_equal(test_sql(d, "PRAGMA max_page_count = 20"), SQLITE_OK);
    test_full(d);

    assert_int_equal(test_sql(d, "PRAGMA max_page_count = 2000"), SQLITE_OK);
    assert_int_equal(test_kv_put(d, B("k"), B("new")), FAAS_OK);

    database_close(d);
}


static void
test_file_size_limit(void **state)
{
    database_t     *d;
    struct rlimit   old, limit;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("old")), FAAS_OK);

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 200000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);

    test_full(d);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(test_kv_put(d, B("k"), B("new")), FAAS_OK);

    database_close(d);
}


/* a file system of its own, which ends with the process */

static int
test_full_disk_child(void)
{
    int          code, rc, i;
    char        *value;
    char         key[16];
    database_t  *d;

    if (unshare(CLONE_NEWNS) == -1
        || mount("none", "/", "none", MS_REC|MS_PRIVATE, NULL) == -1
        || mount("none", test_directory, "tmpfs", 0, "size=2m,mode=0700")
           == -1)
    {
        return 77;
    }

    d = test_database_open("a", DATABASE_CREATE, &code);
    CHECK(d != NULL);
    value = calloc(1, 100000);
    CHECK(value != NULL);

    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "%d", i);
        rc = test_kv_put(d, faas_text(key), test_bytes(value, 100000));

        if (rc != FAAS_OK) {
            break;
        }
    }

    CHECK(i > 5 && i < 100);
    CHECK(rc == FAAS_EFULL);
    CHECK(test_kv_code(d, faas_text(key)) == FAAS_ENOTFOUND);
    CHECK(test_kv_code(d, B("0")) == FAAS_OK);
    CHECK(strcmp(test_value(d, "PRAGMA integrity_check"), "ok") == 0);
    database_close(d);

    /* a new database does not fit either */

    while (i-- > 0) {
        rc = open(test_path("fill"), O_WRONLY|O_CREAT|O_APPEND, 0600);
        while (write(rc, value, 4096) == 4096) { /* void */ }
        close(rc);
    }

    CHECK(test_database_open("b", DATABASE_CREATE, &code) == NULL);
    CHECK(code == FAAS_EFULL);

    /* there is room again: all goes on */

    CHECK(unlink(test_path("fill")) == 0);
    CHECK(mount("none", test_directory, "tmpfs", MS_REMOUNT, "size=8m") == 0);
    d = test_database_open("a", 0, &code);
    CHECK(d != NULL);
    CHECK(sqlite3_wal_checkpoint_v2(database_handle(d), NULL,
                                    SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL)
          == SQLITE_OK);
    CHECK(kv_remove(database_kv(d), SCOPE, B("0")) == FAAS_OK);
    database_close(d);

    /* and a file system that is read-only */

    CHECK(mount("none", test_directory, "tmpfs", MS_REMOUNT|MS_RDONLY, "")
          == 0);
    CHECK(test_database_open("c", DATABASE_CREATE, &code) == NULL);
    CHECK(code == FAAS_EREADONLY);

    d = test_database_open("a", 0, &code);

    if (d != NULL) {
        CHECK(test_kv_put(d, B("k"), B("v")) == FAAS_EREADONLY);
        database_close(d);

    } else {
        CHECK(code == FAAS_EREADONLY);
    }

    free(value);

    return 0;
}


static void
test_full_and_readonly_disk(void **state)
{
    int  rc;

    (void) state;

    rc = test_in_child(test_full_disk_child);

    if (rc == 77) {
        skip();    /* this user may not mount */
    }

    assert_int_equal(rc, 0);
}


/* -- codes ----------------------------------------------------------------- */

static void
test_codes(void **state)
{
    size_t  i;

    static const struct {
        int  rc;
        int  code;
    } codes[] = {
        { SQLITE_OK, FAAS_OK }, { SQLITE_ROW, FAAS_OK },
        { SQLITE_DONE, FAAS_OK }, { SQLITE_ERROR, FAAS_ERROR },
        { SQLITE_BUSY, FAAS_EBUSY }, { SQLITE_BUSY_SNAPSHOT, FAAS_EBUSY },
        { SQLITE_BUSY_RECOVERY, FAAS_EBUSY }, { SQLITE_LOCKED, FAAS_EBUSY },
        { SQLITE_PROTOCOL, FAAS_EBUSY }, { SQLITE_FULL, FAAS_EFULL },
        { SQLITE_NOMEM, FAAS_EFULL }, { SQLITE_IOERR_NOMEM, FAAS_EFULL },
        { SQLITE_READONLY, FAAS_EREADONLY },
        { SQLITE_READONLY_DBMOVED, FAAS_EUNAVAILABLE },
        { SQLITE_IOERR, FAAS_EUNAVAILABLE },
        { SQLITE_IOERR_READ, FAAS_EUNAVAILABLE },
        { SQLITE_IOERR_SHORT_READ, FAAS_ECORRUPT },
        { SQLITE_CANTOPEN, FAAS_EUNAVAILABLE },
        { SQLITE_CORRUPT, FAAS_ECORRUPT },
        { SQLITE_CORRUPT_INDEX, FAAS_ECORRUPT },
        { SQLITE_NOTADB, FAAS_ECORRUPT }, { SQLITE_PERM, FAAS_EDENIED },
        { SQLITE_AUTH, FAAS_EDENIED }, { SQLITE_INTERRUPT, FAAS_ETIMEDOUT },
        { SQLITE_TOOBIG, FAAS_ETOOLARGE },
        { SQLITE_CONSTRAINT_UNIQUE, FAAS_ECONFLICT },
        { SQLITE_MISMATCH, FAAS_EINVAL }, { SQLITE_MISUSE, FAAS_EINVAL },
        { SQLITE_SCHEMA, FAAS_ERROR }, { 250, FAAS_ERROR },
    };

    (void) state;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        assert_int_equal(database_code(codes[i].rc), codes[i].code);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(test_statement_of_the_same_text_is_the_same),
        DATABASE_TEST(test_settings_are_those_of_a_request),
        DATABASE_TEST(test_statement_that_cannot_be),
        DATABASE_TEST(test_more_statements_than_are_kept),
        DATABASE_TEST(test_statement_survives_another_schema),
        DATABASE_TEST(test_end_of_a_request_leaves_nothing_open),
        DATABASE_TEST(test_statement_ends_at_the_deadline),
        DATABASE_TEST(test_deadline_holds_in_the_next_request),
        DATABASE_TEST(test_locked_database_is_waited_for_until_the_deadline),
        DATABASE_TEST(test_what_is_refused),
        DATABASE_TEST(test_what_is_allowed),
        DATABASE_TEST(test_sizes_are_limited),
        DATABASE_TEST(test_key_value_is_part_of_a_transaction),
        DATABASE_TEST(test_failure_of_incr_leaves_the_transaction_open),
        DATABASE_TEST(test_tables_that_went_with_a_rollback_are_made_again),
        DATABASE_TEST(test_stale_read_is_busy_at_once),
        DATABASE_TEST(test_handle_does_not_cross_a_fork),
        DATABASE_TEST(test_versions_of_forks_differ),
        DATABASE_TEST(test_full_database),
        DATABASE_TEST(test_file_size_limit),
        DATABASE_TEST(test_full_and_readonly_disk),
        DATABASE_TEST(test_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
