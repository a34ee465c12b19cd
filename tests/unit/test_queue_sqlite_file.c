/* objects: $(BAAS_QUEUE) $(SCOREBOARD) base/log.c */
/* libs: -lsqlite3 */

/*
 * The file of the queue engine in SQLite: what it is called and who may read
 * it, who checkpoints it, what is forgotten, and how questions are answered
 * (by seeks).  Time is the caller's here, and passes as the test wants.
 */


#include <fcntl.h>
#include <sqlite3.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "queue_node.h"
#include "queue_sqlite_file.h"


#define DAY  QUEUE_MEMORY_MS


static unsigned  test_looks;


static off_t
size_of(const char *suffix)
{
    char         path[256];
    struct stat  st;

    snprintf(path, sizeof(path), "%s%s", test_path, suffix);

    return stat(path, &st) == 0 ? st.st_size : -1;
}


static int
send_at(queue_t *q, const char *id, int64_t due_ms, int64_t now_ms)
{
    int              code;
    queue_message_t  m;

    m = message("q", id, "x", 1);
    m.due_ms = due_ms;

    assert_int_equal(q->engine->send(q, &m, &code, 1, now_ms, DEADLINE),
                     FAAS_OK);

    return code;
}


static size_t
receive_at(queue_t *q, queue_message_t *m, size_t n, int64_t lease_ms,
    int64_t now_ms)
{
    assert_int_equal(q->engine->receive(q, "q", lease_ms, m, &n, test_alloc,
                                        NULL, now_ms, DEADLINE),
                     FAAS_OK);

    return n;
}


static int
settle_at(queue_t *q, const queue_message_t *m, queue_verdict_e verdict,
    int64_t due_ms, int64_t now_ms)
{
    queue_settlement_t  s;

    memset(&s, 0, sizeof(s));
    s.message = m;
    s.verdict = verdict;
    s.due_ms = due_ms;

    assert_int_equal(q->engine->settle(q, &s, 1, now_ms, DEADLINE), FAAS_OK);

    return s.code;
}


/* -- names ----------------------------------------------------------------- */

static void
test_urls(void **state)
{
    char      url[5000], why[128];
    size_t    i;
    queue_t  *q;

    static const char *const  bad[] = {
        "sqlite:", "sqlite:queue.db", "sqlite:/", "sqlite:../queue.db",
        "sqlite2", "sqlite/x", "", "redis://127.0.0.1",
    };

    (void) state;

    assert_ptr_equal(queue_engine("sqlite"), &queue_sqlite);
    assert_ptr_equal(queue_engine("sqlite:/x/y"), &queue_sqlite);
    assert_null(queue_engine("sqlit"));
    assert_null(queue_engine("sqlite3:/x"));
    assert_null(queue_engine(""));

    /* this program is linked without it */
    assert_null(queue_engine("redis://127.0.0.1:6379/0"));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why[0] = '\0';
        assert_null(queue_sqlite.open(bad[i], test_state, "n", why,
                                      sizeof(why)));
        assert_int_not_equal(why[0], '\0');
    }

    memset(url, 'x', sizeof(url));
    memcpy(url, "sqlite:/", 8);
    url[sizeof(url) - 1] = '\0';
    assert_null(queue_sqlite.open(url, test_state, "n", why, sizeof(why)));

    snprintf(url, sizeof(url), "sqlite:%s/other.db", test_state);
    q = queue_sqlite.open(url, "/nowhere", "n", why, sizeof(why));
    assert_non_null(q);
    send_text(q, "q", "1", "x");
    queue_sqlite.close(q);

    snprintf(url, sizeof(url), "%s/other.db", test_state);
    assert_int_equal(access(url, F_OK), 0);

    queue_sqlite.close(NULL);
}


static void
test_the_files_are_ours_alone(void **state)
{
    size_t       i;
    char         path[256];
    mode_t       mask;
    queue_t     *q;
    struct stat  st;

    static const char *const  names[] = {
        "", "-wal", "-shm", "-checkpointer",
    };

    (void) state;

    mask = umask(0);
    q = node("a");
    send_text(q, "q", "1", "x");
    tick(q);
    umask(mask);

    snprintf(path, sizeof(path), "%s/queue", test_state);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", test_path, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}


/*
 * Another node makes the database while the first one is between two looks at
 * it.  It may have to wait until the first one has seen all it wants to.
 */

static int
test_between_looks(unsigned type, void *data, void *statement, void *text)
{
    queue_t     *q;
    static int   is_inside;
    const char  *sql = text;

    (void) type;
    (void) data;
    (void) statement;

    if (!is_inside && strcmp(sql, "PRAGMA application_id") == 0) {
        is_inside = 1;
        q = queue_node("b");
        q->engine->tick(q, NOW, test_clock(CLOCK_MONOTONIC) + 50);
        q->engine->close(q);
        is_inside = 0;
        test_looks++;
    }

    return 0;
}


static int
test_trace(sqlite3 *db, const char **error, const void *api)
{
    (void) error;
    (void) api;

    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, test_between_looks, NULL);
}


static void
test_a_database_that_another_node_makes_meanwhile(void **state)
{
    queue_t  *q;

    (void) state;

    test_looks = 0;
    assert_int_equal(sqlite3_auto_extension((void (*)(void)) test_trace),
                     SQLITE_OK);
    q = node("a");
    tick(q);
    sqlite3_reset_auto_extension();

    assert_true(test_looks > 0);
    send_text(q, "q", "1", "x");
    expect_stats(q, "q", 1, 0, 0, 0);
}


static void
test_settings_of_the_file(void **state)
{
    queue_t         *q;
    queue_sqlite_t  *s;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    s = (queue_sqlite_t *) q;

    assert_int_equal(sql_number(s->db, "PRAGMA synchronous"), 2);
    assert_int_equal(sql_number(s->db, "PRAGMA wal_autocheckpoint"), 0);
    assert_int_equal(sql_number(s->db, "PRAGMA mmap_size"), 0);
    assert_int_equal(sql_number(s->db, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(sql_number(s->db, "PRAGMA user_version"), QS_VERSION);
    assert_int_equal(sql_number(s->db, "PRAGMA application_id"),
                     QS_APPLICATION);
    assert_int_equal(sql_number(s->db, "SELECT journal_mode = 'wal' FROM"
                                       " pragma_journal_mode"), 1);
}


/* whatever is asked about messages is found by an index */

static void
test_nothing_is_searched_for(void **state)
{
    int              i;
    char             sql[2048];
    queue_t         *q;
    const char      *detail;
    sqlite3_stmt    *st;
    queue_sqlite_t  *s;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    s = (queue_sqlite_t *) q;

    for (i = QS_FENCE; i < QS_FREE_PAGES; i++) {
        snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s",
                 queue_sqlite_sql[i]);
        assert_int_equal(sqlite3_prepare_v2(s->db, sql, -1, &st, NULL),
                         SQLITE_OK);

        while (sqlite3_step(st) == SQLITE_ROW) {
            detail = (const char *) sqlite3_column_text(st, 3);

            if ((strstr(detail, "SCAN") != NULL && i != QS_QUEUE_LIST
                 && i != QS_TIMER_LIST
                 && strcmp(detail, "SCAN CONSTANT ROW") != 0)
                || strstr(detail, "TEMP B-TREE") != NULL)
            {
                fail_msg("%s: %s", queue_sqlite_sql[i], detail);
            }
        }

        sqlite3_finalize(st);
    }
}


/* -- time ------------------------------------------------------------------ */

static void
test_an_id_is_forgotten_after_a_day(void **state)
{
    int              swept;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    for (swept = 0; swept < 2; swept++) {
        q = node("a");

        send_at(q, "1", 0, 1000);
        assert_int_equal(receive_at(q, &m, 1, 1000, 1000), 1);
        assert_int_equal(settle_at(q, &m, QUEUE_DONE, 0, 1000), FAAS_OK);

        if (swept) {
            q->engine->tick(q, DAY + 999, DEADLINE);
        }

        send_at(q, "1", 0, DAY + 999);
        assert_int_equal(receive_at(q, &m, 1, 1000, DAY + 999), 0);

        if (swept) {
            q->engine->tick(q, DAY + 1000, DEADLINE);
        }

        send_at(q, "1", 0, DAY + 1000);
        assert_int_equal(receive_at(q, &m, 1, 1000, DAY + 1000), 1);

        leave(q);
        queue_fresh();
    }
}


/* but not while the message is there */

static void
test_an_id_is_not_forgotten_while_it_waits(void **state)
{
    size_t           n;
    queue_t         *q;
    queue_message_t  m[2];

    (void) state;

    q = node("a");
    send_at(q, "1", 10 * DAY, 1000);
    q->engine->tick(q, 5 * DAY, DEADLINE);
    send_at(q, "1", 0, 5 * DAY);

    n = receive_at(q, m, 2, 1000, 10 * DAY);
    assert_int_equal(n, 1);
    assert_int_equal(settle_at(q, m, QUEUE_DEAD, 0, 10 * DAY), FAAS_OK);
    q->engine->tick(q, 15 * DAY, DEADLINE);
    send_at(q, "1", 0, 15 * DAY);
    assert_int_equal(receive_at(q, m, 2, 1000, 15 * DAY), 0);
    expect_stats(q, "q", 0, 0, 0, 1);
}


static int
test_count_queues(const char *queue, void *data)
{
    (void) queue;
    (*(int *) data)++;

    return 0;
}


static void
test_an_empty_queue_goes(void **state)
{
    int              i, n;
    char             name[32];
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");

    for (i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "q%d", i);
        send_text(q, name, "1", "x");

        if (i != 77) {
            receive_one(q, name, &m, TEST_LEASE);
            assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_OK);
        }
    }

    for (i = 0; i < 10; i++) {
        q->engine->tick(q, NOW + DAY / 2, DEADLINE);
    }

    n = 0;
    q->engine->list(q, test_count_queues, &n, DEADLINE);
    assert_int_equal(n, 200);

    for (i = 0; i < 10; i++) {
        q->engine->tick(q, NOW + DAY, DEADLINE);
    }

    n = 0;
    q->engine->list(q, test_count_queues, &n, DEADLINE);
    assert_int_equal(n, 1);
    expect_stats(q, "q77", 1, 0, 0, 0);
}


/* leases and delays wait for it; what is ready does not */

static void
test_a_clock_that_is_set_back(void **state)
{
    queue_t         *q;
    queue_message_t  m[3];

    (void) state;

    q = node("a");
    send_at(q, "1", 0, 1000000);
    send_at(q, "2", 0, 1000);
    send_at(q, "3", 0, 999);

    assert_int_equal(receive_at(q, m, 3, 1000, 1000), 3);
    assert_string_equal(m[0].id, "1");
    assert_string_equal(m[1].id, "2");
    assert_string_equal(m[2].id, "3");
}


/* the older of the two is first, whether it was delayed or not */

static void
test_delayed_and_ready_take_turns(void **state)
{
    size_t           i;
    queue_t         *q;
    queue_message_t  m[6];

    static const char *const  order[] = { "1", "2", "3", "4", "5", "6" };

    (void) state;

    q = node("a");
    send_at(q, "4", 40, 10);
    send_at(q, "6", 60, 10);
    send_at(q, "1", 0, 10);
    send_at(q, "2", 0, 20);
    send_at(q, "3", 0, 30);
    send_at(q, "5", 0, 50);

    assert_int_equal(receive_at(q, m, 6, 1000, 100), 6);

    for (i = 0; i < 6; i++) {
        assert_string_equal(m[i].id, order[i]);
    }

    /* leases that are over are first of all, then in their order */

    assert_int_equal(settle_at(q, &m[1], QUEUE_RELEASE, 0, 110), FAAS_OK);
    assert_int_equal(receive_at(q, m, 6, 1000, 1100), 6);
    assert_string_equal(m[5].id, "2");
}


/* a message of another file is nobody's here */

static void
test_a_lease_of_another_file_is_refused(void **state)
{
    queue_t         *q;
    queue_message_t  m, other;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    receive_one(q, "q", &m, TEST_LEASE);
    leave(q);

    queue_fresh();
    q = node("a");
    send_text(q, "q", "2", "x");
    receive_one(q, "q", &other, TEST_LEASE);

    assert_int_equal(m.fence, other.fence);
    assert_string_equal(m.handle, other.handle);
    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_ECONFLICT);
    assert_int_equal(q->engine->extend(q, &m, TEST_LEASE, NOW, DEADLINE),
                     FAAS_ECONFLICT);
    assert_int_equal(settle(q, &other, QUEUE_DONE, 0), FAAS_OK);

    strcpy(other.handle, "1x");
    assert_int_equal(settle(q, &other, QUEUE_DONE, 0), FAAS_EINVAL);
    other.handle[0] = '\0';
    assert_int_equal(q->engine->extend(q, &other, 1, NOW, DEADLINE),
                     FAAS_EINVAL);
}


/* -- the log and its checkpointer ------------------------------------------ */

static void
send_large(queue_t *q, unsigned from, unsigned n)
{
    int               code;
    unsigned          i;
    queue_message_t   m;
    static char       data[64 * 1024];

    for (i = from; i < from + n; i++) {
        m = message("large", "", data, sizeof(data));
        snprintf(m.id, sizeof(m.id), "l-%u", i);
        assert_int_equal(q->engine->send(q, &m, &code, 1, NOW, DEADLINE),
                         FAAS_OK);
    }
}


/* is the lock held by somebody? */

static int
is_locked(void)
{
    int   fd, rc;
    char  path[256];

    snprintf(path, sizeof(path), "%s-checkpointer", test_path);

    fd = open(path, O_RDWR|O_CLOEXEC);
    assert_true(fd != -1);
    rc = flock(fd, LOCK_EX|LOCK_NB);
    close(fd);

    return rc == -1;
}


static void
test_the_log_is_bounded_by_ticks(void **state)
{
    unsigned  i;
    queue_t  *a, *b;

    (void) state;

    a = node("a");
    b = node("b");
    tick(a);
    tick(b);

    for (i = 0; i < 400; i += 10) {
        send_large(i % 20 ? a : b, i, 10);
        tick(a);
        tick(b);
    }

    assert_true(size_of("") > 20 * 1024 * 1024);
    assert_true(size_of("-wal") < 12 * 1024 * 1024);
}


static void
test_without_ticks_nobody_checkpoints(void **state)
{
    off_t     before;
    queue_t  *q;

    (void) state;

    q = node("a");
    tick(q);
    before = size_of("");

    send_large(q, 0, 200);
    assert_int_equal(size_of(""), before);
    assert_true(size_of("-wal") > 12 * 1024 * 1024);

    /* nor at close */
    leave(q);
    assert_int_equal(size_of(""), before);
    assert_true(size_of("-wal") > 12 * 1024 * 1024);

    q = node("a");
    expect_stats(q, "large", 200, 0, 0, 0);
}


static void
test_there_is_one_checkpointer(void **state)
{
    queue_t         *a, *b;
    queue_sqlite_t  *sa, *sb;

    (void) state;

    a = node("a");
    b = node("b");
    sa = (queue_sqlite_t *) a;
    sb = (queue_sqlite_t *) b;

    tick(a);
    tick(b);
    assert_true(sa->lock != -1 && sb->lock == -1);
    assert_true(is_locked());

    leave(a);
    assert_false(is_locked());
    tick(b);
    assert_true(sb->lock != -1 && is_locked());

    /* a lock on a file that nobody finds is none */

    a = node("a");
    sa = (queue_sqlite_t *) a;
    send_text(a, "q", "1", "x");

    {
        char  path[256];

        snprintf(path, sizeof(path), "%s-checkpointer", test_path);
        assert_int_equal(unlink(path), 0);
    }

    tick(a);
    assert_true(sa->lock != -1);
    tick(b);
    assert_true(sb->lock == -1);
}


static void
test_the_lock_of_a_killed_node_is_taken(void **state)
{
    int       status, ready[2];
    char      byte;
    pid_t     pid;
    queue_t  *q;

    (void) state;

    assert_int_equal(pipe(ready), 0);
    pid = fork_child();

    if (pid == 0) {
        q = queue_node("a");
        tick(q);
        CHILD_CHECK(((queue_sqlite_t *) q)->lock != -1);
        CHILD_CHECK(write(ready[1], "x", 1) == 1);
        pause();
        _exit(1);
    }

    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);

    q = node("b");
    tick(q);
    assert_true(((queue_sqlite_t *) q)->lock == -1);

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);

    tick(q);
    assert_true(((queue_sqlite_t *) q)->lock != -1);
}


static void
test_space_is_given_back(void **state)
{
    int       i;
    off_t     before;
    uint64_t  n;
    queue_t  *q;
    sqlite3  *db;

    (void) state;

    q = node("a");
    send_large(q, 0, 800);

    {
        size_t           got;
        queue_message_t  m[100];

        while ((got = look(q, "large", m, 100, TEST_LEASE)) != 0) {
            for (i = 0; i < (int) got; i++) {
                assert_int_equal(settle(q, &m[i], QUEUE_DEAD, 0), FAAS_OK);
            }
        }
    }

    tick(q);
    before = size_of("");
    assert_true(before > 48 * 1024 * 1024);

    assert_int_equal(q->engine->dead_purge(q, "large", NULL, &n, DEADLINE),
                     FAAS_OK);
    assert_int_equal(n, 800);

    for (i = 0; i < 60; i++) {
        tick(q);
        ((queue_sqlite_t *) q)->checkpoint_ms = 0;    /* time has passed */
    }

    tick(q);
    leave(q);

    db = sql_open();
    assert_true(sql_number(db, "PRAGMA page_count") * 4096
                < before - (1 << 24));
    sqlite3_close(db);
    assert_true(size_of("") < before - (1 << 24));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        QUEUE_TEST(test_urls),
        QUEUE_TEST(test_the_files_are_ours_alone),
        QUEUE_TEST(test_a_database_that_another_node_makes_meanwhile),
        QUEUE_TEST(test_settings_of_the_file),
        QUEUE_TEST(test_nothing_is_searched_for),
        QUEUE_TEST(test_an_id_is_forgotten_after_a_day),
        QUEUE_TEST(test_an_id_is_not_forgotten_while_it_waits),
        QUEUE_TEST(test_an_empty_queue_goes),
        QUEUE_TEST(test_a_clock_that_is_set_back),
        QUEUE_TEST(test_delayed_and_ready_take_turns),
        QUEUE_TEST(test_a_lease_of_another_file_is_refused),
        QUEUE_TEST(test_the_log_is_bounded_by_ticks),
        QUEUE_TEST(test_without_ticks_nobody_checkpoints),
        QUEUE_TEST(test_there_is_one_checkpointer),
        QUEUE_TEST(test_the_lock_of_a_killed_node_is_taken),
        QUEUE_TEST(test_space_is_given_back),
    };

    return queue_sqlite_tests(tests);
}
