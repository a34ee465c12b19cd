/* objects: $(BAAS_QUEUE) $(SCOREBOARD) base/log.c */
/* libs: -lsqlite3 -Wl,--wrap=calloc,--wrap=realloc */

/*
 * The queue engine in SQLite when things go wrong: the disk is full, the file
 * read-only, locked, corrupt, somebody else's, replaced or gone, memory
 * short.  Each has its code, in time; nothing is half done; what was
 * acknowledged is there when it is over.
 */


#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "log.h"
#include "queue_node.h"

#define TEST_ROOT  "/dev/shm"           /* there are some thousand commits */

#include "queue_sqlite_file.h"


#define NOBODY  65534


/* -- memory that runs out: ours, and SQLite's ------------------------------ */

void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);


static sqlite3_mem_methods  memory;
static long                 memory_left = -1;  /* allocations, -1: all work */
static int                  memory_failed;


static int
memory_is_short(void)
{
    if (memory_left == 0) {
        memory_failed = 1;
        return 1;
    }

    if (memory_left > 0) {
        memory_left--;
    }

    return 0;
}


void *
__wrap_calloc(size_t n, size_t size)
{
    return memory_is_short() ? NULL : __real_calloc(n, size);
}


void *
__wrap_realloc(void *p, size_t size)
{
    return memory_is_short() ? NULL : __real_realloc(p, size);
}


static void *
memory_malloc(int n)
{
    return memory_is_short() ? NULL : memory.xMalloc(n);
}


static void *
memory_realloc(void *p, int n)
{
    return memory_is_short() ? NULL : memory.xRealloc(p, n);
}


static void
memory_setup(void)
{
    sqlite3_mem_methods  ours;

    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    ours = memory;
    ours.xMalloc = memory_malloc;
    ours.xRealloc = memory_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
}


/* -- writes and syncs that fail: SQLite's, which finds these first --------- */

__attribute__((visibility("default"))) ssize_t
    pwrite64(int fd, const void *data, size_t n, off_t at);
__attribute__((visibility("default"))) int fdatasync(int fd);


static long      writes_left = -1;      /* -1: all work */
static long      syncs_left = -1;
static int       disk_error;            /* how they fail */
static int       disk_failed;
static unsigned  writes;
static unsigned  syncs;


static int
disk_fails(long *left)
{
    if (*left == 0) {
        disk_failed = 1;
        errno = disk_error;
        return 1;
    }

    if (*left > 0) {
        (*left)--;
    }

    return 0;
}


ssize_t
pwrite64(int fd, const void *data, size_t n, off_t at)
{
    if (disk_fails(&writes_left)) {
        return -1;
    }

    writes++;

    return syscall(SYS_pwrite64, fd, data, n, at);
}


int
fdatasync(int fd)
{
    if (disk_fails(&syncs_left)) {
        return -1;
    }

    syncs++;

    return (int) syscall(SYS_fdatasync, fd);
}


/* -- short forms ----------------------------------------------------------- */

static char  log_path[128];


/* lines of the log that have these words */

static unsigned
log_lines(const char *words)
{
    char      line[4096];
    FILE     *f;
    unsigned  n;

    f = fopen(log_path, "r");
    assert_non_null(f);

    n = 0;

    while (fgets(line, sizeof(line), f) != NULL) {
        n += strstr(line, words) != NULL;
    }

    fclose(f);

    return n;
}


static int
setup(void **state)
{
    (void) test_setup(state);

    snprintf(log_path, sizeof(log_path), "%s/log", test_state);
    log_open(log_path, LOG_NOTICE);

    return 0;
}


static int
teardown(void **state)
{
    return test_teardown(state);
}


static void
write_file(const char *path, const void *data, size_t n, off_t at)
{
    int  fd;

    fd = open(path, O_WRONLY|O_CREAT|O_CLOEXEC, 0600);
    assert_true(fd != -1);
    assert_int_equal(pwrite(fd, data, n, at), n);
    close(fd);
}


/* after the engine's back-off */

static int
works(queue_t *q, const char *id)
{
    tick(q);

    return try_send(q, "q", id, "x", 0) == FAAS_OK;
}


/* large messages until one is refused; how many were not */

static int
fill(queue_t *q, unsigned *sent)
{
    int               code;
    unsigned          i;
    queue_message_t   m;
    static char       data[48 * 1024];

    code = FAAS_OK;

    for (i = 0; i < 1000 && code == FAAS_OK; i++) {
        m = message("large", "", data, sizeof(data));
        snprintf(m.id, sizeof(m.id), "l-%u", *sent);

        (void) q->engine->send(q, &m, &code, 1, NOW, DEADLINE);

        *sent += code == FAAS_OK;
    }

    return code;
}


/* -- full ------------------------------------------------------------------ */

static void
test_a_full_disk(void **state)
{
    unsigned         i, sent;
    queue_t         *q;
    struct rlimit    limit, small;
    queue_message_t  m;

    (void) state;

    signal(SIGXFSZ, SIG_IGN);

    q = node("a");
    send_text(q, "q", "before", "x");
    receive_one(q, "q", &m, TEST_LEASE);

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 3 * 1024 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);

    sent = 0;
    assert_int_equal(fill(q, &sent), FAAS_EFULL);
    assert_true(sent > 10 && sent < 100);

    for (i = 0; i < 20; i++) {
        assert_int_equal(fill(q, &sent), FAAS_EFULL);
    }

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);

    EVENTUALLY(works(q, "after"));
    expect_stats(q, "large", sent, 0, 0, 0);
    expect_stats(q, "q", 1, 0, 1, 0);
    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_OK);

    assert_int_equal(log_lines("[error]"), 1);
    assert_int_equal(log_lines("works again"), 1);
}


/* in a file system of its own: what is acknowledged until it is full is there
   when somebody has made room */

static void
full_file_system(void)
{
    char      filler[128];
    unsigned  i, sent;
    queue_t  *q;

    static char  zeros[2 * 1024 * 1024];

    if (unshare(CLONE_NEWNS) == -1
        || mount("none", "/", "none", MS_REC|MS_PRIVATE, "") == -1
        || mount("none", test_state, "tmpfs", 0, "size=6m") == -1)
    {
        _exit(77);
    }

    log_open("/dev/null", LOG_NOTICE);
    snprintf(filler, sizeof(filler), "%s/filler", test_state);
    write_file(filler, zeros, sizeof(zeros), 0);

    q = queue_node("a");
    tick(q);

    sent = 0;

    for (i = 0; i < 10; i++) {
        CHILD_CHECK(fill(q, &sent) == FAAS_EFULL);
        CHILD_CHECK(sent > 10);
        tick(q);
        ((queue_sqlite_t *) q)->checkpoint_ms = 0;
    }

    CHILD_CHECK(unlink(filler) == 0);

    for (i = 0; i < 1000 && !works(q, "room"); i++) {
        test_nap();
    }

    CHILD_CHECK(stats(q, "large").ready == sent);
    CHILD_CHECK(stats(q, "q").ready == 1);

    q->engine->close(q);
    queue_gone();
    _exit(0);
}


static void
test_a_full_file_system(void **state)
{
    int    status;
    pid_t  pid;

    (void) state;

    pid = fork_child();

    if (pid == 0) {
        full_file_system();
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));

    if (WEXITSTATUS(status) == 77) {
        skip();    /* who is not root cannot mount one */
    }

    assert_int_equal(WEXITSTATUS(status), 0);
}


/* -- read-only ------------------------------------------------------------- */

/* what an unprivileged process may not write */

static void
test_a_read_only_file(void **state)
{
    int           code, status;
    char          url[256], why[128], path[256];
    pid_t         pid;
    size_t        i;
    queue_t      *q;

    static const char *const  names[] = { "", "-wal", "-shm" };

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    leave(q);

    snprintf(path, sizeof(path), "%s/queue", test_state);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(test_state, 0755), 0);
    assert_int_equal(chmod(test_root, 0755), 0);

    for (i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", test_path, names[i]);
        (void) chmod(path, 0444);
    }

    pid = fork_child();

    if (pid == 0) {
        CHILD_CHECK(geteuid() != 0
                    || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0));

        snprintf(url, sizeof(url), "sqlite:%s", test_path);
        q = queue_sqlite.open(url, "/", "n", why, sizeof(why));
        CHILD_CHECK(q != NULL);

        tick(q);
        code = try_send(q, "q", "2", "x", 0);
        CHILD_CHECK(code == FAAS_EREADONLY);

        /* one that cannot be made */

        snprintf(url, sizeof(url), "sqlite:%s/new.db", test_state);
        q = queue_sqlite.open(url, "/", "n", why, sizeof(why));
        CHILD_CHECK(q != NULL);
        code = try_send(q, "q", "2", "x", 0);
        CHILD_CHECK(code == FAAS_EUNAVAILABLE);
        code = try_send(q, "q", "2", "x", 0);
        CHILD_CHECK(code == FAAS_EUNAVAILABLE);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    q = node("a");
    expect_stats(q, "q", 1, 0, 0, 0);
}


static void
test_a_directory_that_is_not_there(void **state)
{
    char      url[256], why[128], path[128];
    queue_t  *q;

    (void) state;

    snprintf(path, sizeof(path), "%s/later", test_state);
    snprintf(url, sizeof(url), "sqlite:%s/q.db", path);

    q = queue_sqlite.open(url, "/", "n", why, sizeof(why));
    assert_non_null(q);

    assert_int_equal(try_send(q, "q", "1", "x", 0), FAAS_EUNAVAILABLE);
    assert_int_equal(try_send(q, "q", "1", "x", 0), FAAS_EUNAVAILABLE);
    assert_int_equal(log_lines("cannot be created"), 1);

    assert_int_equal(mkdir(path, 0700), 0);
    EVENTUALLY(works(q, "1"));
    expect_stats(q, "q", 1, 0, 0, 0);
    assert_int_equal(log_lines("works again"), 1);

    q->engine->close(q);
}


/* -- locked ---------------------------------------------------------------- */

static void
test_another_process_has_the_lock(void **state)
{
    int              code;
    size_t           n;
    int64_t          deadline;
    queue_t         *q;
    sqlite3         *db;
    queue_message_t  m;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");

    db = sql_open();
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL),
                     SQLITE_OK);

    m = message("q", "2", "x", 1);
    deadline = test_clock(CLOCK_MONOTONIC) + 100;
    assert_int_equal(q->engine->send(q, &m, &code, 1, NOW, deadline),
                     FAAS_EBUSY);
    assert_int_equal(code, FAAS_EBUSY);

    n = 1;
    deadline = test_clock(CLOCK_MONOTONIC) + 20;
    assert_int_equal(q->engine->receive(q, "q", 1000, &m, &n, test_alloc,
                                        NULL, NOW, deadline),
                     FAAS_EBUSY);
    assert_int_equal(n, 0);

    /* who only looks need not wait */
    expect_stats(q, "q", 1, 0, 0, 0);

    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);

    send_text(q, "q", "2", "x");
    expect_stats(q, "q", 2, 0, 0, 0);
}


static void
test_a_file_that_another_holds_alone(void **state)
{
    queue_t          *q;
    int64_t           deadline;
    sqlite3          *db;
    queue_stats_t     s;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    leave(q);

    db = sql_open();
    assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE;"
                                      "BEGIN IMMEDIATE;"
                                      "UPDATE counters SET value = value;",
                                  NULL, NULL, NULL),
                     SQLITE_OK);

    q = node("a");
    deadline = test_clock(CLOCK_MONOTONIC) + 100;
    assert_int_equal(q->engine->stats(q, "q", &s, NOW, deadline),
                     FAAS_EBUSY);

    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(db);

    EVENTUALLY(works(q, "2"));
    expect_stats(q, "q", 2, 0, 0, 0);
}


/* -- not what it should be ------------------------------------------------- */

static void
test_a_file_that_is_no_database(void **state)
{
    char          text[8192], found[8192], path[128];
    int           fd;
    queue_t      *q;

    (void) state;

    memset(text, 'x', sizeof(text));
    snprintf(path, sizeof(path), "%s/queue", test_state);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(test_path, text, sizeof(text), 0);

    q = node("a");
    assert_int_equal(try_send(q, "q", "1", "x", 0), FAAS_ECORRUPT);
    assert_int_equal(try_send(q, "q", "1", "x", 0), FAAS_ECORRUPT);
    tick(q);
    assert_int_equal(log_lines("[alert]"), 1);

    fd = open(test_path, O_RDONLY);
    assert_int_equal(read(fd, found, sizeof(found)), sizeof(found));
    close(fd);
    assert_memory_equal(found, text, sizeof(text));

    assert_int_equal(unlink(test_path), 0);
    EVENTUALLY(works(q, "1"));
    expect_stats(q, "q", 1, 0, 0, 0);
}


static void
test_a_database_of_somebody_else(void **state)
{
    char      path[128];
    queue_t  *q;
    sqlite3  *db;

    (void) state;

    snprintf(path, sizeof(path), "%s/queue", test_state);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(sqlite3_open(test_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA auto_vacuum = FULL;"
                                      "CREATE TABLE accounts (a);", NULL,
                                  NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);

    q = node("a");
    assert_int_equal(try_send(q, "q", "1", "x", 0), FAAS_ECORRUPT);
    tick(q);
    assert_int_equal(log_lines("is a database, but not of queues"), 1);

    /* nothing was changed in it */

    db = sql_open();
    assert_int_equal(sql_number(db, "SELECT count(*) FROM sqlite_schema"), 1);
    assert_int_equal(sql_number(db, "PRAGMA auto_vacuum"), 1);
    assert_int_equal(sql_number(db, "SELECT journal_mode = 'delete' FROM"
                                    " pragma_journal_mode"), 1);
    sqlite3_close(db);

    assert_int_equal(unlink(test_path), 0);
}


static void
test_a_database_of_a_later_release(void **state)
{
    queue_t  *q;
    sqlite3  *db;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    leave(q);

    db = sql_open();
    sqlite3_exec(db, "PRAGMA user_version = 7", NULL, NULL, NULL);
    sqlite3_close(db);

    q = node("a");
    assert_int_equal(try_send(q, "q", "2", "x", 0), FAAS_ECORRUPT);
    assert_int_equal(log_lines("has version 7, this program knows 1"), 1);
    leave(q);

    db = sql_open();
    sqlite3_exec(db, "PRAGMA user_version = 1", NULL, NULL, NULL);
    sqlite3_close(db);

    q = node("a");
    expect_stats(q, "q", 1, 0, 0, 0);
}


/* garbage behind the first page, under a node that has it open: no crash, one
   alert, and a good file is taken when it is there */

static void
test_a_corrupt_file(void **state)
{
    int       code;
    char      garbage[4096], good[256], *sql;
    off_t     at;
    queue_t  *q;
    sqlite3  *db;
    unsigned  i;

    (void) state;

    q = node("a");
    send_numbered(q, "q", 0, 200);
    leave(q);

    db = sql_open();
    assert_int_equal(sql_number(db, "SELECT count(*) FROM messages"), 200);
    assert_int_equal(sqlite3_wal_checkpoint_v2(db, NULL,
                                               SQLITE_CHECKPOINT_TRUNCATE,
                                               NULL, NULL),
                     SQLITE_OK);
    snprintf(good, sizeof(good), "%s.good", test_path);
    sql = sqlite3_mprintf("VACUUM INTO %Q", good);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_free(sql);
    sqlite3_close(db);

    memset(garbage, 0xa5, sizeof(garbage));

    for (at = 4096; at < 4096 * 20; at += 4096) {
        write_file(test_path, garbage, sizeof(garbage), at);
    }

    q = node("a");
    code = FAAS_OK;

    for (i = 0; i < 5; i++) {
        code = try_send(q, "q", "new", "x", 0);
        assert_int_equal(code, FAAS_ECORRUPT);
        tick(q);
    }

    assert_int_equal(log_lines("[alert]"), 1);
    leave(q);

    {
        char  path[256];

        assert_int_equal(rename(good, test_path), 0);
        snprintf(path, sizeof(path), "%s-wal", test_path);
        (void) unlink(path);
        snprintf(path, sizeof(path), "%s-shm", test_path);
        (void) unlink(path);
    }

    q = node("a");
    expect_stats(q, "q", 200, 0, 0, 0);
}


/* -- another file ---------------------------------------------------------- */

static void
test_a_file_that_is_removed(void **state)
{
    char             path[256];
    queue_t         *a, *b;
    queue_message_t  m;

    (void) state;

    a = node("a");
    b = node("b");
    send_text(a, "q", "1", "x");
    send_text(b, "q", "2", "x");
    receive_one(a, "q", &m, TEST_LEASE);

    assert_int_equal(unlink(test_path), 0);

    send_text(a, "q", "3", "x");
    send_text(b, "q", "4", "x");
    expect_stats(a, "q", 2, 0, 0, 0);
    expect_stats(b, "q", 2, 0, 0, 0);
    assert_int_equal(settle(a, &m, QUEUE_DONE, 0), FAAS_ECONFLICT);

    assert_int_equal(log_lines("was removed or replaced"), 2);
    snprintf(path, sizeof(path), "%s-wal.lost", test_path);
    assert_int_equal(access(path, F_OK), 0);
}


/* by a backup, while its log still is there: that belongs to the other */

static void
test_a_file_that_is_replaced(void **state)
{
    char      backup[256], *sql;
    queue_t  *q;
    sqlite3  *db;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");

    snprintf(backup, sizeof(backup), "%s.backup", test_path);
    sql = sqlite3_mprintf("VACUUM INTO %Q", backup);
    db = sql_open();
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    sqlite3_free(sql);

    send_numbered(q, "q", 0, 200);
    tick(q);
    send_numbered(q, "q", 200, 50);
    expect_stats(q, "q", 251, 0, 0, 0);

    assert_int_equal(rename(backup, test_path), 0);

    expect_stats(q, "q", 1, 0, 0, 0);
    send_text(q, "q", "2", "x");
    expect_stats(q, "q", 2, 0, 0, 0);
}


/* -- memory ---------------------------------------------------------------- */

static int
ignore_queue(const char *queue, void *data)
{
    (void) queue;
    (void) data;

    return 0;
}


static int
ignore_letter(const queue_message_t *m, const char *reason, void *data)
{
    (void) m;
    (void) reason;
    (void) data;

    return 0;
}


static int
ignore_timer(const queue_timer_t *t, void *data)
{
    (void) t;
    (void) data;

    return 0;
}


static int
build(queue_message_t *m, uint64_t fence, void *data)
{
    (void) fence;
    m->data = data;
    m->size = 4;

    return FAAS_OK;
}


static void
plausible(int code)
{
    if (code == FAAS_OK || code == FAAS_ECONFLICT || code == FAAS_ENOTFOUND) {
        return;
    }

    if (disk_error == 0 ? code == FAAS_ERROR
                        : code == FAAS_EUNAVAILABLE || code == FAAS_EFULL)
    {
        return;
    }

    fail_msg("code %d when memory is short or the disk fails", code);
}


/* every operation once; what was acknowledged */

typedef struct {
    int                       sent[3];
    int                       done;
    int                       dead;
    int                       fired;
    int                       submitted;
} outcome_t;


static void
everything(queue_t *q, outcome_t *o)
{
    int                 code[3];
    char                id[QUEUE_CALL_ID_SIZE];
    char                data[3000];
    size_t              n;
    uint64_t            fence, count;
    const char         *reason;
    queue_call_t        c;
    queue_stats_t       s;
    queue_timer_t       t;
    queue_message_t     m[3], one;
    queue_settlement_t  v[3];

    static const uint8_t  hash[32];

    memset(o, 0, sizeof(*o));
    memset(data, 'd', sizeof(data));

    for (n = 0; n < 3; n++) {
        m[n] = message("q", "", data, n == 1 ? sizeof(data) : 4);
        snprintf(m[n].id, sizeof(m[n].id), "m%zu", n);
    }

    plausible(q->engine->send(q, m, code, 3, NOW, DEADLINE));

    for (n = 0; n < 3; n++) {
        o->sent[n] = code[n] == FAAS_OK;
    }

    n = 3;
    plausible(q->engine->receive(q, "q", TEST_LEASE, m, &n, test_alloc, NULL,
                                 NOW, DEADLINE));

    memset(v, 0, sizeof(v));
    v[0].message = &m[0];
    v[0].verdict = QUEUE_DONE;
    v[1].message = &m[1];
    v[1].verdict = QUEUE_DEAD;
    v[2].message = &m[2];
    v[2].verdict = QUEUE_RETRY;
    v[2].due_ms = NOW + 3600000;

    if (n == 3) {
        plausible(q->engine->extend(q, &m[1], TEST_LEASE, NOW, DEADLINE));
        plausible(q->engine->settle(q, v, 3, NOW, DEADLINE));
        o->done = v[0].code == FAAS_OK;
        o->dead = v[1].code == FAAS_OK;
    }

    plausible(q->engine->stats(q, "q", &s, NOW, DEADLINE));
    plausible(q->engine->list(q, ignore_queue, NULL, DEADLINE));
    plausible(q->engine->dead(q, "q", NULL, 10, ignore_letter, NULL,
                              DEADLINE));
    plausible(q->engine->dead_get(q, "q", "m1", &one, &reason, test_alloc,
                                  NULL, DEADLINE));

    memset(&t, 0, sizeof(t));
    strcpy(t.key, "fn/t");
    strcpy(t.spec, "spec");
    t.due_ms = 1000;
    plausible(q->engine->timer_set(q, &t, DEADLINE));
    one = message("@fn", "t:1000", NULL, 0);
    code[0] = q->engine->timer_fire(q, &t, 2000, &one, build, data, &fence,
                                    NOW, DEADLINE);
    plausible(code[0]);
    o->fired = code[0] == FAAS_OK;
    plausible(q->engine->timer_get(q, "fn/t", &t, DEADLINE));
    plausible(q->engine->timer_list(q, ignore_timer, NULL, DEADLINE));

    memset(&c, 0, sizeof(c));
    c.id = "fn.1";
    c.idempotency = "key";
    c.hash = hash;
    c.state = WIRE_CALL_QUEUED;
    c.data = data;
    c.size = sizeof(data);
    c.expires_ms = NOW + 3600000;
    one = message("@fn", "1", "call", 4);
    code[0] = q->engine->call_submit(q, &c, &one, id, NOW, DEADLINE);
    plausible(code[0]);
    o->submitted = code[0] == FAAS_OK;
    plausible(q->engine->call_put(q, &c, ~0u, NOW, DEADLINE));
    plausible(q->engine->call_get(q, "fn.1", &c, test_alloc, NULL, NOW,
                                  DEADLINE));

    tick(q);

    plausible(q->engine->dead_retry(q, "q", "none", &count, NOW, DEADLINE));
    plausible(q->engine->dead_purge(q, "q", "none", &count, DEADLINE));
}


/* what was acknowledged is there, and nothing else */

static void
expect_outcome(queue_t *q, const outcome_t *o)
{
    queue_stats_t  s;

    s = stats(q, "q");
    assert_int_equal(s.ready + s.delayed + s.leased + s.dead + o->done,
                     o->sent[0] + o->sent[1] + o->sent[2]);
    assert_int_equal(s.dead, o->dead);

    s = stats(q, "@fn");
    assert_int_equal(s.ready, o->fired + o->submitted);
}


static void
test_memory_that_runs_out(void **state)
{
    long       n, step;
    char       why[128];
    queue_t   *q, *checked;
    outcome_t  o;

    (void) state;

    step = 1;

    for (n = 0; ; n += step) {
        memory_failed = 0;
        memory_left = n;
        q = queue_sqlite.open("sqlite", test_state, "a", why, sizeof(why));

        if (q != NULL) {
            everything(q, &o);
        }

        memory_left = -1;

        if (q != NULL) {
            checked = node("b");
            expect_outcome(checked, &o);
            leave(checked);

            q->engine->close(q);
            queue_gone();
        }

        if (!memory_failed) {
            break;
        }

        if (n > 300) {
            step = 13;
        }

        queue_fresh();
    }

    assert_true(n > 500);
    assert_true(o.sent[1] && o.done && o.dead && o.fired && o.submitted);
}


/* with a handle that is open already, from then on until it is over */

static void
test_memory_that_runs_out_for_a_while(void **state)
{
    long       n;
    queue_t   *q;
    outcome_t  o;

    (void) state;

    for (n = 0; ; n++) {
        queue_fresh();
        q = node("a");
        tick(q);

        memory_failed = 0;
        memory_left = n;
        everything(q, &o);
        memory_left = -1;

        expect_outcome(q, &o);
        EVENTUALLY(works(q, "afterwards"));
        leave(q);
        queue_gone();

        if (!memory_failed) {
            break;
        }
    }

    assert_true(n > 5);
    assert_true(o.sent[1] && o.done && o.dead && o.fired && o.submitted);
}


/* -- the disk -------------------------------------------------------------- */

/* from the n-th write on nothing can be written; what was refused as full is
   not there, what failed otherwise may be */

static void
disk_that_fails(long *left, int error)
{
    long       n;
    queue_t   *q;
    outcome_t  o;

    for (n = 0; ; n++) {
        queue_fresh();
        q = node("a");
        tick(q);

        disk_failed = 0;
        disk_error = error;
        *left = n;
        everything(q, &o);
        *left = -1;
        disk_error = 0;

        /* another node need not wait until this one tries again */
        leave(q);
        q = node("b");
        assert_true(works(q, "afterwards"));

        if (error == ENOSPC) {
            assert_int_equal(stats(q, "q").dead, o.dead);
            assert_true(stats(q, "@fn").ready
                        == (uint64_t) (o.fired + o.submitted));

        } else {
            assert_true(stats(q, "q").dead >= (uint64_t) o.dead);
            assert_true(stats(q, "@fn").ready
                        >= (uint64_t) (o.fired + o.submitted));
        }

        leave(q);
        queue_gone();

        if (!disk_failed) {
            break;
        }
    }

    assert_true(n > 5);
    assert_true(o.sent[1] && o.done && o.dead && o.fired && o.submitted);
}


static void
test_a_write_that_fails(void **state)
{
    (void) state;

    disk_that_fails(&writes_left, EIO);
}


static void
test_a_write_without_room(void **state)
{
    (void) state;

    disk_that_fails(&writes_left, ENOSPC);
}


static void
test_a_sync_that_fails(void **state)
{
    (void) state;

    disk_that_fails(&syncs_left, EIO);
}


/* leases need not be */

static void
test_what_is_acknowledged_is_synced(void **state)
{
    char             id[QUEUE_CALL_ID_SIZE];
    queue_t         *q;
    uint64_t         fence, n;
    unsigned         before, written;
    queue_call_t     c;
    queue_timer_t    t;
    queue_message_t  m, one;

    static char           text[] = "data";
    static const uint8_t  hash[32];

#define SYNCED(count, what)                                                   \
    do {                                                                      \
        before = syncs;                                                       \
        what;                                                                 \
        assert_int_equal(syncs - before, count);                              \
    } while (0)

    (void) state;

    q = node("a");
    tick(q);
    tick(q);
    send_text(q, "q", "0", "x");

    SYNCED(1, send_text(q, "q", "1", "x"));
    SYNCED(0, assert_int_equal(receive(q, "q", &m, 1, TEST_LEASE), 1));
    SYNCED(0, assert_int_equal(q->engine->extend(q, &m, TEST_LEASE, NOW,
                                                 DEADLINE),
                               FAAS_OK));
    SYNCED(1, assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_OK));
    SYNCED(0, assert_int_equal(receive(q, "q", &m, 1, TEST_LEASE), 1));
    SYNCED(1, send_numbered(q, "q", 0, 200));
    SYNCED(1, assert_int_equal(settle(q, &m, QUEUE_DEAD, 0), FAAS_OK));
    SYNCED(1, assert_int_equal(q->engine->dead_retry(q, "q", NULL, &n, NOW,
                                                     DEADLINE),
                               FAAS_OK));

    t = (queue_timer_t) { .key = "fn/t", .spec = "s", .due_ms = 1000 };
    SYNCED(1, assert_int_equal(q->engine->timer_set(q, &t, DEADLINE),
                               FAAS_OK));
    one = message("@fn", "t:1000", NULL, 0);
    SYNCED(1, assert_int_equal(q->engine->timer_fire(q, &t, 2000, &one, build,
                                                     text, &fence, NOW,
                                                     DEADLINE),
                               FAAS_OK));

    memset(&c, 0, sizeof(c));
    c.id = "fn.1";
    c.idempotency = "";
    c.hash = hash;
    c.expires_ms = NOW + TEST_LEASE;
    one = message("@fn", "1", "call", 4);
    SYNCED(1, assert_int_equal(q->engine->call_submit(q, &c, &one, id, NOW,
                                                      DEADLINE),
                               FAAS_OK));
    SYNCED(1, assert_int_equal(q->engine->call_put(q, &c, ~0u, NOW, DEADLINE),
                               FAAS_OK));

    /* and looking for nothing writes nothing */

    written = writes;
    SYNCED(0, assert_int_equal(receive(q, "none", &m, 1, TEST_LEASE), 0));
    SYNCED(0, (void) stats(q, "q"));
    assert_int_equal(writes, written);
}


#define FAULT_TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        FAULT_TEST(test_a_full_disk),
        FAULT_TEST(test_a_full_file_system),
        FAULT_TEST(test_a_read_only_file),
        FAULT_TEST(test_a_directory_that_is_not_there),
        FAULT_TEST(test_another_process_has_the_lock),
        FAULT_TEST(test_a_file_that_another_holds_alone),
        FAULT_TEST(test_a_file_that_is_no_database),
        FAULT_TEST(test_a_database_of_somebody_else),
        FAULT_TEST(test_a_database_of_a_later_release),
        FAULT_TEST(test_a_corrupt_file),
        FAULT_TEST(test_a_file_that_is_removed),
        FAULT_TEST(test_a_file_that_is_replaced),
        FAULT_TEST(test_memory_that_runs_out),
        FAULT_TEST(test_memory_that_runs_out_for_a_while),
        FAULT_TEST(test_a_write_that_fails),
        FAULT_TEST(test_a_write_without_room),
        FAULT_TEST(test_a_sync_that_fails),
        FAULT_TEST(test_what_is_acknowledged_is_synced),
    };

    memory_setup();

    return queue_sqlite_tests(tests);
}
