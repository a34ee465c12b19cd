
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c */
/* objects: baas/database_open.c baas/database_once.c baas/database_outbox.c baas/database_purge.c */
/* objects: baas/tender_place.c baas/tender_file.c baas/tender_policy.c baas/tender_send.c baas/client.c */
/* objects: baas/wire.c base/loop.c base/log.c */
/* libs: -lsqlite3 */

/*
 * A tender's turns over one directory, at times of the test's choosing.
 */

#include "database_fixture.h"

#include "log.h"
#include "tender.h"
#include "tender_place.h"


static int64_t          test_now = 1000000;
static tender_place_t  *test_place;


static int
test_tick(int64_t later_ms)
{
    test_now += later_ms;

    return tender_place_tick(test_place, test_now);
}


static void
test_tender(const char *token)
{
    char  path[128];

    /* what is said is read by test_said() */

    snprintf(path, sizeof(path), "%s.log", test_directory);
    log_open(path, LOG_DEBUG);

    test_place = tender_place_create("/nowhere", "a", test_directory, token);
    assert_non_null(test_place);
}


static void
test_tender_end(void)
{
    char  path[128];

    tender_place_destroy(test_place);
    test_place = NULL;

    snprintf(path, sizeof(path), "%s.log", test_directory);
    unlink(path);
    log_open(NULL, LOG_NOTICE);
}


/* how many lines of the log have that in them */

static int
test_said(const char *text)
{
    int    n;
    char   path[128], line[1024];
    FILE  *f;

    snprintf(path, sizeof(path), "%s.log", test_directory);
    f = fopen(path, "r");
    assert_non_null(f);

    for (n = 0; fgets(line, sizeof(line), f) != NULL; /* void */ ) {
        n += strstr(line, text) != NULL;
    }

    fclose(f);

    return n;
}


static off_t
test_size(const char *name)
{
    struct stat  st;

    return stat(test_path(name), &st) == 0 ? st.st_size : -1;
}


static tender_file_t *
test_file(const char *name)
{
    tender_file_t  *f;

    for (f = test_place->files; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }

    return NULL;
}


static void
test_fill(database_t *d, int n)
{
    int         i;
    char        key[32];
    char       *value;
    static int  turn;

    value = test_alloc(NULL, 100000);
    memset(value, ++turn, 100000);    /* pages that stay the same are not
                                         written */

    for (i = 0; i < n; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        assert_int_equal(test_kv_put(d, faas_text(key),
                                     test_bytes(value, 100000)), FAAS_OK);
    }
}


static void
test_checkpoint_when_it_is_old(void **state)
{
    off_t        size;
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    test_tender("token");

    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    size = test_size("a.db");

    (void) test_tick(0);
    (void) test_tick(1000);
    assert_int_equal(test_size("a.db"), size);
    (void) test_tick(5000);
    assert_true(test_size("a.db") > size);

    /* nobody writes: the log's space is given back, the file is let go */

    assert_true(test_size("a.db-wal") > 0);
    (void) test_tick(60000);
    (void) test_tick(1000);
    assert_int_equal(test_size("a.db-wal"), 0);
    (void) test_tick(60000);
    assert_non_null(test_file("a"));
    assert_null(test_file("a")->database);

    /* and looked after again when somebody does */

    size = test_size("a.db");
    test_fill(d, 2);
    (void) test_tick(1000);
    assert_non_null(test_file("a")->database);
    (void) test_tick(5000);
    assert_true(test_size("a.db") > size);
    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);

    database_close(d);
    test_tender_end();
}


/* while it was looked after: from then on the new one is */

static void
test_file_that_is_replaced(void **state)
{
    off_t        size;
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    test_tender("token");

    test_fill(d, 2);
    (void) test_tick(1000);
    assert_non_null(test_file("a")->database);

    assert_int_equal(unlink(test_path("a.db")), 0);
    assert_int_equal(unlink(test_path("a.db-wal")), 0);
    assert_int_equal(unlink(test_path("a.db-shm")), 0);
    database_close(d);

    d = test_database("a", DATABASE_CREATE);
    test_fill(d, 2);
    size = test_size("a.db");

    (void) test_tick(1000);
    (void) test_tick(5000);
    (void) test_tick(5000);
    assert_true(test_size("a.db") > size);

    database_close(d);
    test_tender_end();
}


static void
test_checkpoint_when_it_is_much(void **state)
{
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE|DATABASE_NORMAL);
    test_tender("token");

    (void) test_tick(0);
    test_fill(d, 60);
    assert_int_equal(test_tick(100), 1);    /* and looks again soon */
    assert_true(test_size("a.db") > 5000000);
    assert_int_equal(test_tick(100), 0);

    database_close(d);
    test_tender_end();
}


/* a reader that stays keeps the log, not the tender: writers and others go
   on, and when it has gone the log becomes small */

static void
test_long_reader(void **state)
{
    int            i;
    int64_t        before;
    database_t    *d, *r, *other;
    sqlite3_stmt  *stmt;

    (void) state;

    d = test_database("a", DATABASE_CREATE|DATABASE_NORMAL);
    r = test_database("a", 0);
    other = test_database("b", DATABASE_CREATE|DATABASE_NORMAL);
    test_tender("token");

    test_fill(d, 1);
    assert_int_equal(sqlite3_prepare_v2(database_handle(r),
                                        "SELECT key FROM faas_kv", -1, &stmt,
                                        NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);

    for (i = 0; i < 15; i++) {
        test_fill(d, 60);
        before = test_monotonic_ms();
        (void) test_tick(1000);
        assert_true(test_monotonic_ms() - before < 60000);
    }

    assert_true(test_size("a.db-wal") > 64 * 1024 * 1024);
    assert_true(test_file("a")->failures > 0);

    test_fill(other, 60);
    (void) test_tick(1000);
    assert_true(test_size("b.db") > 5000000);

    sqlite3_finalize(stmt);

    for (i = 0; i < 100 && test_size("a.db-wal") > 0; i++) {
        (void) test_tick(1000);
    }

    assert_int_equal(test_size("a.db-wal"), 0);
    assert_string_equal(test_value(d, "PRAGMA integrity_check"), "ok");

    database_close(other);
    database_close(r);
    database_close(d);
    test_tender_end();
}


static void
test_new_and_removed_databases(void **state)
{
    database_t  *d;

    (void) state;

    test_tender("token");
    (void) test_tick(0);
    assert_null(test_place->files);

    d = test_database("later", DATABASE_CREATE);
    (void) test_tick(1000);
    assert_non_null(test_file("later"));
    assert_null(test_file("later")->send);

    database_close(d);
    assert_int_equal(unlink(test_path("later.db")), 0);
    assert_int_equal(unlink(test_path("later.db-wal")), 0);
    assert_int_equal(unlink(test_path("later.db-shm")), 0);
    (void) test_tick(1000);
    (void) test_tick(1000);
    assert_null(test_file("later"));
    assert_int_equal(test_said("[error]"), 0);

    test_tender_end();
}


/* of a log whose writers are all gone */

static void
test_log_that_was_left(void **state)
{
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    test_fill(d, 3);
    database_close(d);

    test_tender("token");
    (void) test_tick(0);
    (void) test_tick(1000);
    (void) test_tick(5000);
    assert_true(test_size("a.db") > 300000);

    test_tender_end();
}


static void
test_bad_files_cost_a_line_each(void **state)
{
    int          i, fd;
    char         noise[200];
    database_t  *d;

    (void) state;

    d = test_database("good", DATABASE_CREATE);

    fd = open(test_path("noise.db"), O_WRONLY|O_CREAT, 0600);
    memset(noise, 'x', sizeof(noise));
    assert_int_equal(write(fd, noise, sizeof(noise)), sizeof(noise));
    close(fd);
    assert_int_equal(symlink("good.db", test_path("link.db")), 0);
    assert_int_equal(mkdir(test_path("dir.db"), 0700), 0);
    assert_int_equal(mkfifo(test_path("fifo.db"), 0600), 0);
    fd = open(test_path("BAD.db"), O_WRONLY|O_CREAT, 0600);
    close(fd);

    test_tender("token");

    for (i = 0; i < 200; i++) {
        (void) test_tick(1000);
    }

    assert_int_equal(test_said("noise.db"), 1);
    assert_int_equal(test_said("link.db"), 1);
    assert_int_equal(test_said("dir.db"), 1);
    assert_int_equal(test_said("fifo.db"), 1);
    assert_int_equal(test_said("BAD.db"), 1);
    assert_int_equal(test_said("[error]"), 5);

    /* the good one is looked after all the same */

    test_fill(d, 2);
    (void) test_tick(1000);
    (void) test_tick(6000);
    assert_true(test_size("good.db") > 200000);

    /* one that becomes good is too */

    assert_int_equal(unlink(test_path("link.db")), 0);
    database_close(test_database("link", DATABASE_CREATE));
    (void) test_tick(61000);
    assert_int_equal(test_said("link.db\" is looked after again"), 1);

    database_close(d);
    test_tender_end();
}


static void
test_bad_directories_cost_a_line_each(void **state)
{
    int  i;

    (void) state;

    test_tender("token");
    assert_int_equal(chmod(test_directory, 0777), 0);

    for (i = 0; i < 50; i++) {
        (void) test_tick(1000);
    }

    assert_int_equal(test_said("[error]"), 1);
    assert_int_equal(test_said("can be written by others"), 1);

    assert_int_equal(rmdir(test_directory), 0);

    for (i = 0; i < 50; i++) {
        (void) test_tick(1000);
    }

    assert_int_equal(test_said("[error]"), 2);

    assert_int_equal(mkdir(test_directory, 0700), 0);
    (void) test_tick(6000);
    assert_int_equal(test_said("is looked after again"), 1);

    /* one that is replaced is left, and the new one taken */

    database_close(test_database("a", DATABASE_CREATE));
    (void) test_tick(1000);
    assert_non_null(test_file("a"));
    (void) nftw(test_directory, test_unlink, 16, FTW_DEPTH|FTW_PHYS);
    assert_int_equal(mkdir(test_directory, 0700), 0);
    database_close(test_database("b", DATABASE_CREATE));
    (void) test_tick(1000);
    (void) test_tick(1000);
    assert_null(test_file("a"));
    assert_non_null(test_file("b"));

    test_tender_end();
}


static void
test_one_tender_for_each_directory(void **state)
{
    tender_place_t  *second;

    (void) state;

    database_close(test_database("a", DATABASE_CREATE));
    test_tender("token");
    (void) test_tick(0);
    assert_non_null(test_file("a"));

    second = tender_place_create("/nowhere", "a", test_directory, "token");
    assert_non_null(second);
    (void) tender_place_tick(second, test_now);
    (void) tender_place_tick(second, test_now + 1000);
    assert_null(second->files);

    /* the successor takes over when the first has gone */

    tender_place_destroy(test_place);
    test_place = second;
    (void) test_tick(2000);
    assert_non_null(test_file("a"));

    test_tender_end();
}


static void
test_expired_rows_are_removed(void **state)
{
    int          i;
    char         key[16];
    database_t  *d;

    (void) state;

    d = test_database("a", DATABASE_CREATE|DATABASE_NORMAL);

    for (i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(kv_set(database_kv(d), SCOPE, faas_text(key), B("v"),
                                1, KV_ANY, NULL), FAAS_OK);
    }

    assert_int_equal(test_kv_put(d, B("ever"), B("v")), FAAS_OK);

    test_tender("token");

    /* when the last one's millisecond is over; the wall clock is its own */

    for (i = 0; i < 10000
                && strcmp(test_value(d, "SELECT count(*) FROM faas_kv"), "1");
         i++)
    {
        (void) test_tick(100);

        if (test_file("a") != NULL && test_file("a")->purge_ms != INT64_MAX) {
            test_file("a")->purge_ms = 0;
        }
    }

    assert_string_equal(test_value(d, "SELECT count(*) FROM faas_kv"), "1");
    assert_int_equal(test_kv_code(d, B("ever")), FAAS_OK);

    /* nothing is left that would expire */

    (void) test_tick(1000);
    assert_true(test_file("a")->purge_ms == INT64_MAX
                || test_file("a")->purge_ms > kv_now_ms());

    database_close(d);
    test_tender_end();
}


static void
test_shared_store(void **state)
{
    database_t  *d;

    (void) state;

    assert_int_equal(chmod(test_directory, 02770), 0);
    d = test_database("a", DATABASE_CREATE|DATABASE_SHARED);

    if (geteuid() == 0) {
        assert_int_equal(chown(test_path("a.db"), 65534, -1), 0);
    }

    test_fill(d, 2);
    test_tender(NULL);
    (void) test_tick(0);
    (void) test_tick(1000);
    (void) test_tick(5000);
    assert_true(test_size("a.db") > 200000);
    assert_int_equal(test_said("[error]"), 0);

    database_close(d);
    test_tender_end();
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(test_checkpoint_when_it_is_old),
        DATABASE_TEST(test_checkpoint_when_it_is_much),
        DATABASE_TEST(test_long_reader),
        DATABASE_TEST(test_new_and_removed_databases),
        DATABASE_TEST(test_file_that_is_replaced),
        DATABASE_TEST(test_log_that_was_left),
        DATABASE_TEST(test_bad_files_cost_a_line_each),
        DATABASE_TEST(test_bad_directories_cost_a_line_each),
        DATABASE_TEST(test_one_tender_for_each_directory),
        DATABASE_TEST(test_expired_rows_are_removed),
        DATABASE_TEST(test_shared_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
