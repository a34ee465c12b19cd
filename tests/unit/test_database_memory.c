
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c */
/* objects: baas/database_open.c baas/database_once.c baas/database_outbox.c baas/database_purge.c */
/* objects: baas/database_migrate.c base/sha256.c */
/* libs: -lsqlite3 -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc */

/*
 * The n-th allocation fails, SQLite's and ours, for every n: nothing crashes,
 * each call says so or succeeds, what succeeded is there, and the handle goes
 * on when there is memory again.
 */

#include "database_fixture.h"
#include "memory_faults.h"


/* SQLite counts what it asks for through these, we through the linker's */

static sqlite3_mem_methods  test_memory;


static void *
test_sqlite_malloc(int n)
{
    return memory_fails() ? NULL : test_memory.xMalloc(n);
}


static void *
test_sqlite_realloc(void *p, int n)
{
    return memory_fails() ? NULL : test_memory.xRealloc(p, n);
}


/* the scope's own memory is there: what is tried is what is below it */

static char    test_arena[65536];
static size_t  test_used;


static void *
test_arena_alloc(void *data, size_t n)
{
    void  *p;

    (void) data;

    n = (n + 15) & ~(size_t) 15;

    if (test_used + n > sizeof(test_arena)) {
        test_used = 0;
    }

    p = test_arena + test_used;
    test_used += n;
    memset(p, 0, n);

    return p;
}


static const baas_scope_t *
test_scope_here(void)
{
    (void) test_scope_of(60000);
    test_scope.alloc = test_arena_alloc;

    return &test_scope;
}


static void
test_may(const char *what, long n, int rc)
{
    /* an error that cannot say what it is, for lack of memory, is one too */

    if (rc != FAAS_OK && rc != FAAS_EFULL && rc != FAAS_ERROR
        && rc != FAAS_EUNAVAILABLE)
    {
        memory_fails_at(-1, 0);
        fail_msg("%s, n = %ld: %d", what, n, rc);
    }
}


static int
test_count(const faas_kv_entry_t *entry, void *data)
{
    (void) entry;
    ++*(int *) data;

    return 0;
}


static int
test_sent(uint32_t operation, faas_bytes_t payload, void *data)
{
    (void) operation;
    (void) payload;
    ++*(int *) data;

    return 0;
}


/* what was done, as the calls said */

typedef struct {
    int  set;
    int  sum;
    int  once;
    int  put;
    int  sent;
    int  migrated;
} test_done_t;


static void
test_run(database_t *d, long n, int turn, test_done_t *done)
{
    int              rc, count;
    char             key[32], why[128];
    int64_t          sum, next_ms;
    uint8_t          hash[32] = { 0 };
    uint32_t         purged;
    faas_bytes_t     response;
    sqlite3_stmt    *stmt;
    faas_kv_entry_t  entry;

    static const database_migration_t  m = {
        1, "1.sql", "CREATE TABLE t (x); INSERT INTO t VALUES (1)", 44
    };

    database_begin(d, test_scope_here());
    snprintf(key, sizeof(key), "key %d", turn);

    rc = kv_set(database_kv(d), &test_scope, faas_text(key), B("v"), 0, KV_ANY,
                NULL);
    test_may("set", n, rc);
    done->set += rc == FAAS_OK;

    rc = kv_get(database_kv(d), &test_scope, faas_text(key), &entry);

    if (rc != FAAS_ENOTFOUND || done->set == turn + 1) {
        test_may("get", n, rc);
    }

    rc = kv_incr(database_kv(d), &test_scope, B("n"), 1, &sum);
    test_may("incr", n, rc);
    done->sum += rc == FAAS_OK;

    count = 0;
    rc = kv_scan(database_kv(d), &test_scope, NONE, NONE, 100, test_count,
                 &count);
    test_may("scan", n, rc);

    rc = database_migrate(d, &m, 1, why, sizeof(why));
    test_may("migrate", n, rc);
    done->migrated |= rc == FAAS_OK;

    rc = database_once_begin(d, key, hash, &test_scope, &response);
    test_may("once", n, rc);

    if (rc == FAAS_OK) {
        rc = database_outbox_put(d, 2, B("message"));
        test_may("put", n, rc);

        if (rc == FAAS_OK) {
            rc = database_once_commit(d, B("response"));
            done->once += rc == FAAS_OK;
            done->put += rc == FAAS_OK;

        } else {
            database_once_abort(d);
        }
    }

    stmt = database_prepare(d, "SELECT count(*) FROM sqlite_master");

    if (stmt != NULL) {
        (void) sqlite3_step(stmt);
    }

    rc = database_outbox(d, 0, test_sent, &done->sent);
    test_may("outbox", n, rc);

    rc = database_purge(d, kv_now_ms(), 10, &purged, &next_ms);
    test_may("purge", n, rc);

    database_end(d);
}


static void
test_check(database_t *d, const test_done_t *done)
{
    int      n;
    int64_t  sum;

    database_begin(d, test_scope_here());

    assert_string_equal(test_value(d, "PRAGMA integrity_check"), "ok");

    n = atoi(test_value(d, "SELECT count(*) FROM faas_kv WHERE key != "
                           "CAST('n' AS BLOB)"));
    assert_true(n >= done->set);
    assert_int_equal(kv_incr(database_kv(d), &test_scope, B("n"), 0, &sum),
                     FAAS_OK);
    assert_int_equal(sum, done->sum);
    assert_int_equal(atoi(test_value(d, "SELECT count(*) FROM faas_once")),
                     done->once);
    assert_true(done->sent >= done->put);
    assert_int_equal(database_outbox_has(d), 0);

    if (done->migrated) {
        assert_string_equal(test_value(d, "SELECT x FROM t"), "1");
    }

    database_end(d);
}


static void
test_nth_allocation_fails(int forever)
{
    int           code, failed;
    long          n;
    char          why[256], name[32];
    database_t   *d;
    test_done_t   done;

    for (n = 0, failed = 1; failed; n++) {
        assert_true(n < 20000);

        memset(&done, 0, sizeof(done));
        snprintf(name, sizeof(name), "d%ld", n % 4);
        (void) unlink(test_path(n % 4 == 0 ? "d0.db" : n % 4 == 1 ? "d1.db"
                                : n % 4 == 2 ? "d2.db" : "d3.db"));
        snprintf(why, sizeof(why), "%s/%s.db-wal", test_directory, name);
        (void) unlink(why);
        snprintf(why, sizeof(why), "%s/%s.db-shm", test_directory, name);
        (void) unlink(why);

        memory_fails_at(n, forever);

        d = database_open(test_directory, name, DATABASE_CREATE
                          |DATABASE_NORMAL, test_scope_here()->deadline_ms,
                          &code, why, sizeof(why));

        if (d == NULL) {
            test_may("open", n, code);
            assert_true(why[0] != '\0');
            memory_faults.left = -1;
            d = database_open(test_directory, name, DATABASE_CREATE
                              |DATABASE_NORMAL,
                              test_scope_here()->deadline_ms, &code, why,
                              sizeof(why));
            assert_non_null(d);
        }

        test_run(d, n, 0, &done);
        failed = memory_faults.failed;

        /* there is memory again */

        memory_fails_at(-1, 0);
        test_run(d, n, 1, &done);
        assert_true(done.set >= 1 && done.sum >= 1 && done.once >= 1
                    && done.migrated);
        test_check(d, &done);
        database_close(d);
    }

    /* the last one went through all without a failure */

    assert_true(n > 200);
}


static void
test_one_allocation_fails(void **state)
{
    (void) state;

    test_nth_allocation_fails(0);
}


static void
test_all_allocations_fail_from_one_on(void **state)
{
    (void) state;

    test_nth_allocation_fails(1);
}


int
main(void)
{
    sqlite3_mem_methods  methods;

    const struct CMUnitTest tests[] = {
        DATABASE_TEST(test_one_allocation_fails),
        DATABASE_TEST(test_all_allocations_fail_from_one_on),
    };

    /* no lookaside: each allocation is one that may fail */

    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &test_memory) != SQLITE_OK) {
        return 1;
    }

    methods = test_memory;
    methods.xMalloc = test_sqlite_malloc;
    methods.xRealloc = test_sqlite_realloc;

    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK
        || sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK)
    {
        return 1;
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}
