
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c */
/* objects: baas/database_open.c baas/database_once.c baas/database_outbox.c baas/database_purge.c */
/* libs: -lsqlite3 */

/*
 * Effects once, the outbox, and what is removed when its time is over.
 */

#include "database_fixture.h"


static const uint8_t  test_hash[32] = { 1, 2, 3 };
static const uint8_t  test_other_hash[32] = { 1, 2, 4 };


static int
test_begin(database_t *d, const char *key, const uint8_t *hash)
{
    faas_bytes_t  response;

    return database_once_begin(d, key, hash, SCOPE, &response);
}


/* writes through SQL, key-value and outbox */

static void
test_effects(database_t *d)
{
    assert_int_equal(test_sql(d, "INSERT INTO t VALUES (1)"), SQLITE_OK);
    assert_int_equal(kv_incr(database_kv(d), SCOPE, B("n"), 1, NULL), FAAS_OK);
    assert_int_equal(database_outbox_put(d, 2, B("message")), FAAS_OK);
}


static void
test_effects_are(database_t *d, const char *n)
{
    faas_kv_entry_t  entry;

    assert_string_equal(test_value(d, "SELECT count(*) FROM t"), n);

    if (strcmp(n, "0") == 0) {
        assert_int_equal(test_kv_code(d, B("n")), FAAS_ENOTFOUND);
        assert_int_equal(database_outbox_has(d), 0);
        return;
    }

    assert_int_equal(kv_get(database_kv(d), SCOPE, B("n"), &entry), FAAS_OK);
    assert_string_equal(entry.value.data, n);
    assert_string_equal(test_value(d, "SELECT count(*) FROM faas_outbox"), n);
}


static database_t *
test_once_database(void)
{
    database_t  *d;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);

    return d;
}


static void
test_effects_and_response_are_recorded_together(void **state)
{
    database_t    *d, *e;
    faas_bytes_t   response;

    (void) state;

    d = test_once_database();
    e = test_database("a", 0);

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    test_effects(d);

    /* nothing is seen before the commit */

    test_effects_are(e, "0");
    assert_int_equal(database_once_commit(d, B("the\0answer")), FAAS_OK);
    test_effects_are(e, "1");

    /* the same request again, by anybody */

    memset(&response, 0, sizeof(response));
    assert_int_equal(database_once_begin(e, "key", test_hash, SCOPE,
                                         &response), 1);
    assert_int_equal(response.size, 10);
    assert_memory_equal(response.data, "the\0answer", 11);
    assert_int_equal(sqlite3_get_autocommit(database_handle(e)), 1);

    /* nothing is open after that: this is a transaction of its own */

    assert_int_equal(database_once_commit(e, B("x")), FAAS_EINVAL);
    assert_int_equal(test_kv_put(e, B("k"), B("v")), FAAS_OK);
    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);

    /* another request with that key, and another key */

    assert_int_equal(test_begin(e, "key", test_other_hash), FAAS_ECONFLICT);
    assert_int_equal(sqlite3_get_autocommit(database_handle(e)), 1);
    assert_int_equal(test_begin(e, "KEY", test_hash), FAAS_OK);
    test_effects(e);
    assert_int_equal(database_once_commit(e, NONE), FAAS_OK);
    test_effects_are(d, "2");

    assert_int_equal(database_once_begin(d, "KEY", test_hash, SCOPE,
                                         &response), 1);
    assert_int_equal(response.size, 0);

    database_close(e);
    database_close(d);
}


static void
test_abort_leaves_nothing(void **state)
{
    database_t  *d;

    (void) state;

    d = test_once_database();

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    test_effects(d);
    database_once_abort(d);
    test_effects_are(d, "0");

    /* nor does the end of the request, or the end of the handle */

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    test_effects(d);
    database_end(d);
    database_begin(d, SCOPE);
    test_effects_are(d, "0");
    assert_int_equal(database_once_commit(d, B("x")), FAAS_EINVAL);

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    test_effects(d);
    database_close(d);

    d = test_database("a", 0);
    test_effects_are(d, "0");
    assert_int_equal(test_begin(d, "key", test_other_hash), FAAS_OK);
    database_once_abort(d);
    database_once_abort(d);

    database_close(d);
}


/* neither by SQL that is compiled now, nor by what was compiled before */

static void
test_function_cannot_end_the_transaction(void **state)
{
    size_t         i;
    database_t    *d;
    sqlite3_stmt  *stmt;

    static const char *const  ends[] = {
        "COMMIT", "END", "ROLLBACK", "COMMIT; BEGIN", "BEGIN",
    };

    (void) state;

    d = test_once_database();

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    test_effects(d);

    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        assert_int_equal(test_sql(d, ends[i]), SQLITE_AUTH);
        assert_int_equal(sqlite3_get_autocommit(database_handle(d)), 0);
    }

    assert_int_equal(test_sql(d, "SAVEPOINT s; INSERT INTO t VALUES (2); "
                                 "ROLLBACK TO s; RELEASE s"), SQLITE_OK);
    assert_int_equal(database_once_commit(d, B("x")), FAAS_OK);
    test_effects_are(d, "1");

    stmt = database_prepare(d, "COMMIT");
    assert_int_equal(test_begin(d, "key 2", test_hash), FAAS_OK);
    test_effects(d);
    assert_int_not_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_reset(stmt);

    /* it is lost, and what comes behind it is too */

    assert_int_not_equal(test_sql(d, "INSERT INTO t VALUES (3)"), SQLITE_OK);
    assert_int_not_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    assert_int_equal(database_once_commit(d, B("x")), FAAS_ERROR);
    test_effects_are(d, "1");

    stmt = database_prepare(d, "ROLLBACK");
    assert_int_equal(test_begin(d, "key 2", test_hash), FAAS_OK);
    test_effects(d);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_reset(stmt);
    assert_int_not_equal(test_sql(d, "INSERT INTO t VALUES (3)"), SQLITE_OK);
    assert_int_equal(database_once_commit(d, B("x")), FAAS_ERROR);
    test_effects_are(d, "1");

    /* and afterwards all is as ever */

    assert_int_equal(test_begin(d, "key 2", test_hash), FAAS_OK);
    test_effects(d);
    assert_int_equal(database_once_commit(d, B("x")), FAAS_OK);
    test_effects_are(d, "2");
    assert_int_equal(test_sql(d, "BEGIN; INSERT INTO t VALUES (9); COMMIT"),
                     SQLITE_OK);

    database_close(d);
}


static void
test_commit_that_fails_leaves_nothing(void **state)
{
    database_t  *d;

    (void) state;

    d = test_once_database();
    assert_int_equal(test_sql(d,
        "CREATE TABLE p (x PRIMARY KEY); "
        "CREATE TABLE c (x REFERENCES p DEFERRABLE INITIALLY DEFERRED)"),
        SQLITE_OK);

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    test_effects(d);
    assert_int_equal(test_sql(d, "INSERT INTO c VALUES (1)"), SQLITE_OK);
    assert_int_equal(database_once_commit(d, B("x")), FAAS_ECONFLICT);
    test_effects_are(d, "0");
    assert_int_equal(test_begin(d, "key", test_other_hash), FAAS_OK);
    database_once_abort(d);

    /* a response that is too large for a value */

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    test_effects(d);
    assert_int_equal(database_once_commit(d, test_bytes(test_hash,
                                                        100000000)),
                     FAAS_ETOOLARGE);
    test_effects_are(d, "0");

    database_close(d);
}


static void
test_once_that_cannot_begin(void **state)
{
    char          key[600];
    database_t   *d, *e;

    (void) state;

    d = test_once_database();
    e = test_database("a", 0);

    assert_int_equal(test_begin(d, "", test_hash), FAAS_EINVAL);
    memset(key, 'k', sizeof(key));
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(test_begin(d, key, test_hash), FAAS_ETOOLARGE);

    assert_int_equal(test_sql(d, "BEGIN"), SQLITE_OK);
    assert_int_equal(test_begin(d, "key", test_hash), FAAS_EINVAL);
    assert_int_equal(test_sql(d, "COMMIT"), SQLITE_OK);

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    assert_int_equal(test_begin(d, "key", test_hash), FAAS_EINVAL);

    /* the same key, elsewhere: waits for the first one, not for ever */

    {
        faas_bytes_t  response;

        assert_int_equal(database_once_begin(e, "key", test_hash,
                                             test_scope_of(30), &response),
                         FAAS_EBUSY);
        assert_int_equal(database_once_commit(d, B("r")), FAAS_OK);
        assert_int_equal(database_once_begin(e, "key", test_hash, SCOPE,
                                             &response), 1);
    }

    /* no memory for the answer */

    {
        faas_bytes_t  response;

        test_allocs = 0;
        assert_int_equal(database_once_begin(e, "key", test_hash, SCOPE,
                                             &response), FAAS_EFULL);
        test_allocs = -1;
        assert_int_equal(sqlite3_get_autocommit(database_handle(e)), 1);
    }

    database_close(e);
    database_close(d);
}


/* -- outbox ---------------------------------------------------------------- */

typedef struct {
    database_t  *d;
    int          stop;         /* at this message, from 0; -1: never */
    int          count;
    char         said[512];
} test_outbox_t;


static int
test_outbox_each(uint32_t operation, faas_bytes_t payload, void *data)
{
    test_outbox_t  *o = data;

    assert_int_equal(sqlite3_get_autocommit(database_handle(o->d)), 1);

    if (o->count == o->stop) {
        return -28;
    }

    o->count++;

    if (payload.size < 16) {
        snprintf(o->said + strlen(o->said),
                 sizeof(o->said) - strlen(o->said), "%u:%.*s ", operation,
                 (int) payload.size, (const char *) payload.data);
    }

    return 0;
}


static int
test_outbox(test_outbox_t *o, database_t *d, int64_t age_ms, int stop)
{
    memset(o, 0, sizeof(test_outbox_t));

    o->d = d;
    o->stop = stop;

    return database_outbox(d, age_ms, test_outbox_each, o);
}


static void
test_outbox_in_order(void **state)
{
    database_t     *d;
    test_outbox_t   o;

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    assert_int_equal(database_outbox_has(d), 0);
    assert_int_equal(test_outbox(&o, d, 0, -1), FAAS_OK);
    assert_int_equal(o.count, 0);

    assert_int_equal(database_outbox_put(d, 2, B("a")), FAAS_OK);
    assert_int_equal(database_outbox_put(d, 3, B("b")), FAAS_OK);
    assert_int_equal(database_outbox_put(d, 2, NONE), FAAS_OK);
    assert_int_equal(database_outbox_has(d), 1);

    /* not those that are too young */

    assert_int_equal(test_outbox(&o, d, 100000, -1), FAAS_OK);
    assert_int_equal(o.count, 0);

    /* what was sent is gone, what failed and what is behind it stays */

    assert_int_equal(test_outbox(&o, d, 0, 1), -28);
    assert_string_equal(o.said, "2:a ");
    assert_int_equal(test_outbox(&o, d, 0, 0), -28);
    assert_int_equal(test_outbox(&o, d, 0, -1), FAAS_OK);
    assert_string_equal(o.said, "3:b 2: ");
    assert_int_equal(database_outbox_has(d), 0);

    /* not before the commit */

    assert_int_equal(test_sql(d, "BEGIN"), SQLITE_OK);
    assert_int_equal(database_outbox_put(d, 2, B("c")), FAAS_OK);
    assert_int_equal(test_outbox(&o, d, 0, -1), FAAS_EINVAL);
    assert_int_equal(test_sql(d, "ROLLBACK"), SQLITE_OK);
    assert_int_equal(database_outbox_has(d), 0);

    database_close(d);
}


static void
test_large_outbox(void **state)
{
    int             i;
    char           *value;
    database_t     *d;
    test_outbox_t   o;

    (void) state;

    d = test_database("a", DATABASE_CREATE|DATABASE_NORMAL);
    value = test_alloc(NULL, 500000);
    memset(value, ' ', 500000);

    for (i = 0; i < 100; i++) {
        assert_int_equal(database_outbox_put(d, 2, test_bytes(value,
                                                 i % 10 ? 1000 : 500000)),
                         FAAS_OK);
    }

    assert_int_equal(test_outbox(&o, d, 0, 70), -28);
    assert_int_equal(o.count, 70);
    assert_string_equal(test_value(d, "SELECT count(*) FROM faas_outbox"),
                        "30");
    assert_int_equal(test_outbox(&o, d, 0, -1), FAAS_OK);
    assert_int_equal(o.count, 30);
    assert_int_equal(database_outbox_has(d), 0);

    database_close(d);
}


/*
 * One who sent a message that another has sent and removed meanwhile must not
 * remove a new one in its place.
 */

static int
test_outbox_other(uint32_t operation, faas_bytes_t payload, void *data)
{
    database_t     *e = data;
    test_outbox_t   o;

    (void) operation;

    if (payload.size == 3 && memcmp(payload.data, "old", 3) == 0) {
        assert_int_equal(test_outbox(&o, e, 0, -1), FAAS_OK);
        assert_string_equal(o.said, "2:old ");
        assert_int_equal(database_outbox_put(e, 2, B("new")), FAAS_OK);

        return 0;
    }

    return FAAS_EUNAVAILABLE;
}


static void
test_outbox_ids_never_come_again(void **state)
{
    database_t     *d, *e;
    test_outbox_t   o;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);

    assert_int_equal(database_outbox_put(d, 2, B("old")), FAAS_OK);
    assert_int_equal(database_outbox(d, 0, test_outbox_other, e),
                     FAAS_EUNAVAILABLE);

    assert_int_equal(test_outbox(&o, e, 0, -1), FAAS_OK);
    assert_string_equal(o.said, "2:new ");

    database_close(e);
    database_close(d);
}


/* -- what has expired ------------------------------------------------------ */

static void
test_purge(void **state)
{
    int          i;
    char         key[16];
    int64_t      now_ms, next_ms;
    uint32_t     n;
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE|DATABASE_NORMAL);
    now_ms = kv_now_ms();

    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 0);
    assert_true(next_ms == INT64_MAX);

    assert_int_equal(test_kv_put(d, B("ever"), B("1")), FAAS_OK);
    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 0);
    assert_true(next_ms == INT64_MAX);

    for (i = 0; i < 25; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(kv_set(database_kv(d), SCOPE, faas_text(key), B("v"),
                                1000000 + i, KV_ANY, NULL), FAAS_OK);
    }

    assert_int_equal(test_begin(d, "key", test_hash), FAAS_OK);
    assert_int_equal(database_once_commit(d, B("x")), FAAS_OK);

    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 0);
    assert_true(next_ms >= now_ms + 1000000
                && next_ms <= kv_now_ms() + 1000024);

    /* small steps, oldest first */

    now_ms = kv_now_ms() + 1000100;
    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 10);
    assert_int_equal(test_kv_code(d, B("0")), FAAS_ENOTFOUND);
    assert_int_equal(test_kv_code(d, B("24")), FAAS_OK);
    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 10);
    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 5);
    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 0);
    assert_true(next_ms > now_ms);

    /* a day later the response is forgotten, what is for ever stays */

    assert_int_equal(test_begin(d, "key", test_other_hash), FAAS_ECONFLICT);
    now_ms = kv_now_ms() + 24 * 3600 * 1000 + 1;
    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms), FAAS_OK);
    assert_int_equal(n, 1);
    assert_int_equal(test_begin(d, "key", test_other_hash), FAAS_OK);
    database_once_abort(d);
    assert_int_equal(test_kv_code(d, B("ever")), FAAS_OK);

    assert_int_equal(test_sql(d, "BEGIN"), SQLITE_OK);
    assert_int_equal(database_purge(d, now_ms, 10, &n, &next_ms),
                     FAAS_EINVAL);

    database_close(d);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(test_effects_and_response_are_recorded_together),
        DATABASE_TEST(test_abort_leaves_nothing),
        DATABASE_TEST(test_function_cannot_end_the_transaction),
        DATABASE_TEST(test_commit_that_fails_leaves_nothing),
        DATABASE_TEST(test_once_that_cannot_begin),
        DATABASE_TEST(test_outbox_in_order),
        DATABASE_TEST(test_large_outbox),
        DATABASE_TEST(test_outbox_ids_never_come_again),
        DATABASE_TEST(test_purge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
