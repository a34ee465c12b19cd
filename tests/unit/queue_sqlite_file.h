
/*
 * Where the queue databases of tests are, and what holds for each of them
 * whenever nobody has it open.
 */


#ifndef QUEUE_SQLITE_FILE_H_INCLUDED
#define QUEUE_SQLITE_FILE_H_INCLUDED


#include <ftw.h>

#include "queue_sqlite.h"


#ifndef TEST_ROOT
#define TEST_ROOT  "/tmp"
#endif


static char  test_root[64];             /* of this program */
static char  test_state[96];            /* of this test: faas_state */
static char  test_path[160];            /* its queue.db */


static void
queue_fresh(void)
{
    static unsigned  n;

    snprintf(test_state, sizeof(test_state), "%s/%u", test_root, n++);
    snprintf(test_path, sizeof(test_path), "%s/queue/queue.db", test_state);
    assert_int_equal(mkdir(test_state, 0700), 0);
}


static queue_t *
queue_node(const char *name)
{
    char  why[128];

    return queue_sqlite.open("sqlite", test_state, name, why, sizeof(why));
}


/* the number that an SQL statement comes to; -1: no row */

static int64_t
sql_number(sqlite3 *db, const char *sql)
{
    int64_t        n;
    sqlite3_stmt  *st;

    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }

    n = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_finalize(st);

    return n;
}


/* as a reader that leaves no trace: no checkpoint */

static sqlite3 *
sql_open(void)
{
    sqlite3  *db;

    assert_int_equal(sqlite3_open_v2(test_path, &db, SQLITE_OPEN_READWRITE,
                                     NULL),
                     SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_busy_timeout(db, TEST_PATIENCE);

    return db;
}


static const char *const  test_invariants[] = {
    /* the figures are right */
    "SELECT count(*) FROM queues q WHERE"
    " ready <> (SELECT count(*) FROM messages m"
    "           WHERE m.queue = q.queue AND state = 0)"
    " OR delayed <> (SELECT count(*) FROM messages m"
    "                WHERE m.queue = q.queue AND state = 1)"
    " OR leased <> (SELECT count(*) FROM messages m"
    "               WHERE m.queue = q.queue AND state = 2)"
    " OR dead <> (SELECT count(*) FROM messages m"
    "             WHERE m.queue = q.queue AND state = 3)",

    /* each message is in a queue, and has its data; there are no others */
    "SELECT count(*) FROM messages"
    " WHERE queue NOT IN (SELECT queue FROM queues)",
    "SELECT count(*) FROM messages m WHERE state <> 4 AND size > 1024"
    " AND size <> (SELECT length(data) FROM bodies b WHERE b.seq = m.seq)",
    "SELECT count(*) FROM messages"
    " WHERE state <> 4 AND size <= 1024 AND size <> length(data)",
    "SELECT count(*) FROM bodies WHERE seq NOT IN"
    " (SELECT seq FROM messages WHERE state <> 4 AND size > 1024)",

    /* places and fences */
    "SELECT count(*) FROM messages WHERE state = 0 AND place <> 0",
    "SELECT count(*) FROM messages WHERE state = 4 AND place <> forget",
    "SELECT count(*) FROM messages WHERE fence >"
    " (SELECT value FROM counters)",
    "SELECT count(*) FROM timers WHERE running <> 0 AND running > fence",
};


static void
queue_gone(void)
{
    size_t         i;
    sqlite3       *db;
    struct stat    st;
    sqlite3_stmt  *check;

    if (stat(test_path, &st) == -1) {
        return;
    }

    db = sql_open();

    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &check, NULL)
        != SQLITE_OK
        || sqlite3_step(check) != SQLITE_ROW)
    {
        fail_msg("\"%s\": %s", test_path, sqlite3_errmsg(db));
    }

    assert_string_equal((const char *) sqlite3_column_text(check, 0), "ok");
    sqlite3_finalize(check);

    for (i = 0; i < sizeof(test_invariants) / sizeof(char *); i++) {
        if (sql_number(db, test_invariants[i]) != 0) {
            fail_msg("does not hold: %s", test_invariants[i]);
        }
    }

    sqlite3_close(db);
}


static int
queue_sqlite_remove(const char *path, const struct stat *st, int flag,
    struct FTW *ftw)
{
    (void) st;
    (void) flag;
    (void) ftw;

    return remove(path);
}


/* in a directory that is gone afterwards, below TEST_ROOT if that is there */

#define queue_sqlite_tests(tests)                                             \
    queue_sqlite_run_tests(#tests, tests, sizeof(tests) / sizeof(tests[0]))

static int
queue_sqlite_run_tests(const char *name, const struct CMUnitTest *tests,
    size_t n)
{
    int  failed;

    snprintf(test_root, sizeof(test_root), "%s/queue.XXXXXX",
             access(TEST_ROOT, W_OK) == 0 ? TEST_ROOT : "/tmp");

    if (mkdtemp(test_root) == NULL) {
        return 1;
    }

    failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);

    (void) nftw(test_root, queue_sqlite_remove, 16, FTW_DEPTH|FTW_PHYS);

    return failed;
}


#endif /* QUEUE_SQLITE_FILE_H_INCLUDED */
