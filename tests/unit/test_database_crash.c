
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c */
/* objects: baas/database_open.c baas/database_once.c baas/database_outbox.c baas/database_purge.c */
/* objects: baas/tender_place.c baas/tender_file.c baas/tender_policy.c baas/tender_send.c baas/client.c */
/* objects: baas/wire.c base/loop.c base/log.c */
/* libs: -lsqlite3 */

/*
 * kill -9 of those who write and of the tender, at any instant: what was
 * acknowledged is there, what was to happen together did or did not, and the
 * file is whole.
 */

#include "database_fixture.h"

#include "tender_place.h"


#define TEST_ROUNDS   40
#define TEST_WRITERS  3


static unsigned  test_seed = 20261123;
static int       test_round;
static int       test_writer;
static int       test_pipe[2];


static int
test_chance(int n)
{
    return (int) (rand_r(&test_seed) % (unsigned) n);
}


static void
test_acknowledge(int number)
{
    if (write(test_pipe[1], &number, sizeof(number)) != sizeof(number)) {
        _exit(3);
    }
}


/* numbers rise from round to round, and each writer has its own */

static int
test_number(int i)
{
    return (test_round * TEST_WRITERS + test_writer) * 100000 + i;
}


static database_t *
test_writers_database(unsigned flags)
{
    int          code;
    char         why[256];
    database_t  *d;

    d = database_open(test_directory, "a", DATABASE_CREATE|flags,
                      test_scope_of(60000)->deadline_ms, &code, why,
                      sizeof(why));

    if (d == NULL) {
        fprintf(stderr, "open: %d %s\n", code, why);
        _exit(4);
    }

    return d;
}


/* one key, one row: a transaction of each kind in turn */

static int
test_write(void)
{
    int          i, rc;
    char         key[32], sql[128], value[3000];
    database_t  *d;

    d = test_writers_database(test_writer % 2 ? DATABASE_NORMAL : 0);
    memset(value, 'v', sizeof(value));

    for (i = 0; i < 100000; i++) {
        database_begin(d, test_scope_of(60000));
        snprintf(key, sizeof(key), "k%d", test_number(i));

        if (i % 3 == 0) {
            rc = kv_set(database_kv(d), test_scope_of(60000), faas_text(key),
                        test_bytes(value, (size_t) (i * 37 % 3000)), 0,
                        KV_ANY, NULL);

        } else {
            snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE; INSERT INTO t "
                     "VALUES (%d)", test_number(i));

            rc = test_sql(d, sql);

            if (rc == SQLITE_OK) {
                rc = kv_set(database_kv(d), test_scope_of(60000),
                            faas_text(key), B("v"), 0, KV_ANY, NULL);
            }

            if (rc == SQLITE_OK) {
                rc = test_sql(d, "COMMIT");
            }
        }

        if (rc != FAAS_OK) {
            fprintf(stderr, "write: %d %s\n", rc,
                    sqlite3_errmsg(database_handle(d)));
            return 2;
        }

        database_end(d);
        test_acknowledge(test_number(i));
        test_teardown(NULL);
    }

    return 0;
}


/* effects once */

static int
test_write_once(void)
{
    int           i, rc;
    char          key[32], sql[128];
    uint8_t       hash[32] = { 0 };
    database_t   *d;
    faas_bytes_t  response;

    d = test_writers_database(0);

    for (i = 0; i < 100000; i++) {
        database_begin(d, test_scope_of(60000));
        snprintf(key, sizeof(key), "k%d", test_number(i));
        snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (%d)",
                 test_number(i));

        rc = database_once_begin(d, key, hash, test_scope_of(60000),
                                 &response);

        if (rc == FAAS_OK
            && (test_sql(d, sql) != SQLITE_OK
                || kv_incr(database_kv(d), test_scope_of(60000), B("n"), 1,
                           NULL) != FAAS_OK
                || database_outbox_put(d, 2, faas_text(key)) != FAAS_OK))
        {
            rc = -99;
        }

        if (rc == FAAS_OK) {
            rc = database_once_commit(d, faas_text(key));
        }

        if (rc != FAAS_OK) {
            fprintf(stderr, "once: %d %s\n", rc,
                    sqlite3_errmsg(database_handle(d)));
            return 2;
        }

        database_end(d);
        test_acknowledge(test_number(i));
        test_teardown(NULL);
    }

    return 0;
}


/* checkpoints as fast as it can: its clock runs a thousand times too fast */

static int
test_tend(void)
{
    int64_t          now_ms;
    tender_place_t  *p;

    p = tender_place_create("/nowhere", "a", test_directory, "token");

    if (p == NULL) {
        return 1;
    }

    for (now_ms = 1000000; /* void */ ; now_ms += 1000) {
        (void) tender_place_tick(p, now_ms);
    }
}


static pid_t
test_start(int (*run)(void), int writer)
{
    pid_t  pid;

    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        test_writer = writer;
        close(test_pipe[0]);

        if (writer == TEST_WRITERS) {
            close(test_pipe[1]);    /* the tender acknowledges nothing */
        }

        _exit(run());
    }

    return pid;
}


/* nobody else moves what is written into the file */

static void
test_tender_has_worked(void)
{
    struct stat  st;

    assert_int_equal(stat(test_path("a.db"), &st), 0);
    assert_true(st.st_size >= 6 * 4096);
}


/* all writers and a tender, each killed at some time; what was acknowledged
   in acks[*n] */

static void
test_kill_round(int (*run)(void), int *acks, int *n, int max)
{
    int             i, k, killed;
    pid_t           pid[TEST_WRITERS + 1];
    ssize_t         got;
    struct timespec  pause;

    assert_int_equal(pipe(test_pipe), 0);

    for (i = 0; i < TEST_WRITERS; i++) {
        pid[i] = test_start(run, i);
    }

    pid[i] = test_start(test_tend, i);
    close(test_pipe[1]);

    /* they are under way, then one after the other goes */

    k = 0;
    killed = 0;

    while ((got = read(test_pipe[0], &acks[*n], sizeof(int)))
           == sizeof(int))
    {
        assert_true(++*n < max);

        if (++k > 20 && killed <= TEST_WRITERS && test_chance(8) == 0) {
            pause.tv_sec = 0;
            pause.tv_nsec = test_chance(1000) * 1000;
            nanosleep(&pause, NULL);

            i = (killed++ + test_round) % (TEST_WRITERS + 1);
            assert_int_equal(kill(pid[i], SIGKILL), 0);
        }
    }

    assert_int_equal(got, 0);
    close(test_pipe[0]);

    /* the tender may be left */

    for (i = 0; i <= TEST_WRITERS; i++) {
        (void) kill(pid[i], SIGKILL);
    }

    for (i = 0; i <= TEST_WRITERS; i++) {
        assert_int_equal(test_wait(pid[i]), 1000 + SIGKILL);
    }
}


static void
test_all_acknowledged(database_t *d, const char *sql, int *acks, int n)
{
    int            i;
    sqlite3_stmt  *stmt;

    assert_int_equal(sqlite3_prepare_v2(database_handle(d), sql, -1, &stmt,
                                        NULL), SQLITE_OK);

    for (i = 0; i < n; i++) {
        sqlite3_bind_int(stmt, 1, acks[i]);

        if (sqlite3_step(stmt) != SQLITE_ROW
            || sqlite3_column_int(stmt, 0) != 1)
        {
            fail_msg("%d was acknowledged, and is lost (round %d)", acks[i],
                     test_round);
        }

        sqlite3_reset(stmt);
    }

    sqlite3_finalize(stmt);
}


static void
test_killed_writers_lose_nothing(void **state)
{
    int          n, *acks;
    database_t  *d;

    (void) state;

    acks = calloc(1000000, sizeof(int));
    assert_non_null(acks);
    n = 0;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_sql(d, "CREATE TABLE t (x INTEGER PRIMARY KEY)"),
                     SQLITE_OK);
    database_close(d);

    for (test_round = 0; test_round < TEST_ROUNDS; test_round++) {
        test_kill_round(test_write, acks, &n, 1000000);

        d = test_database("a", 0);

        assert_string_equal(test_value(d, "PRAGMA integrity_check"), "ok");
        test_all_acknowledged(d, "SELECT count(*) FROM faas_kv WHERE key = "
                              "CAST('k' || ?1 AS BLOB)", acks, n);

        /* a row has its key: both or neither (and no row for each third) */

        assert_string_equal(test_value(d,
            "SELECT count(*) FROM t WHERE NOT EXISTS (SELECT 1 FROM faas_kv "
            "WHERE key = CAST('k' || x AS BLOB))"), "0");
        assert_string_equal(test_value(d,
            "SELECT count(*) FROM faas_kv WHERE CAST(substr(key, 2) AS TEXT) "
            "% 100000 % 3 != 0 AND CAST(CAST(substr(key, 2) AS TEXT) "
            "AS INTEGER) NOT IN (SELECT x FROM t)"), "0");

        database_close(d);
    }

    assert_true(n > TEST_ROUNDS * 20);
    test_tender_has_worked();
    free(acks);
}


static void
test_killed_effects_happen_once_and_together(void **state)
{
    int          n, *acks;
    char         count[64];
    int64_t      sum;
    database_t  *d;

    (void) state;

    acks = calloc(1000000, sizeof(int));
    assert_non_null(acks);
    n = 0;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_sql(d, "CREATE TABLE t (x INTEGER PRIMARY KEY)"),
                     SQLITE_OK);
    database_close(d);

    for (test_round = 0; test_round < TEST_ROUNDS; test_round++) {
        test_kill_round(test_write_once, acks, &n, 1000000);

        d = test_database("a", 0);

        assert_string_equal(test_value(d, "PRAGMA integrity_check"), "ok");
        test_all_acknowledged(d, "SELECT count(*) FROM faas_once "
                              "WHERE key = 'k' || ?1", acks, n);

        /* rows, responses, messages and the counter agree */

        assert_string_equal(test_value(d,
            "SELECT count(*) FROM (SELECT 'k' || x AS key FROM t EXCEPT "
            "SELECT key FROM faas_once)"), "0");
        assert_string_equal(test_value(d,
            "SELECT count(*) FROM (SELECT key FROM faas_once EXCEPT "
            "SELECT CAST(payload AS TEXT) FROM faas_outbox)"), "0");

        snprintf(count, sizeof(count), "%s",
                 test_value(d, "SELECT count(*) FROM t"));
        assert_string_equal(count, test_value(d,
            "SELECT count(*) FROM faas_once WHERE key = "
            "CAST(response AS TEXT)"));
        assert_string_equal(count, test_value(d,
            "SELECT count(*) FROM faas_outbox"));
        assert_int_equal(kv_incr(database_kv(d), SCOPE, B("n"), 0, &sum),
                         FAAS_OK);
        assert_int_equal(sum, atoll(count));
        assert_true(sum >= n);

        database_close(d);
    }

    assert_true(n > TEST_ROUNDS * 20);
    test_tender_has_worked();
    free(acks);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(test_killed_writers_lose_nothing),
        DATABASE_TEST(test_killed_effects_happen_once_and_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
