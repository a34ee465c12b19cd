
/*
 * The file: opened, given up, opened again.
 *
 * What cannot be used (unreadable, corrupt, not ours) is closed and tried
 * again after QS_AGAIN_MS; meanwhile each operation gets the same code at
 * once.  A file that was removed or replaced by another is noticed before
 * each operation, so that nothing is acknowledged into a file that nobody
 * will find again; its write-ahead log, which belongs to the lost one and
 * would spoil the new one, is put aside.
 */


#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "queue_sqlite.h"


#define QS_STEPS        10000           /* of a statement, between looks at the
                                           clock */
#define QS_NAP_US       2000            /* while another node has the lock */


static int queue_sqlite_open_file(queue_sqlite_t *s);
static int queue_sqlite_create(queue_sqlite_t *s);
static int queue_sqlite_settings(queue_sqlite_t *s);
static int queue_sqlite_tables_of(queue_sqlite_t *s, char *why, size_t size);
static int queue_sqlite_wal(queue_sqlite_t *s);
static int queue_sqlite_prepare(queue_sqlite_t *s);
static void queue_sqlite_know_wal(queue_sqlite_t *s);
static int queue_sqlite_moved(queue_sqlite_t *s);
static void queue_sqlite_put_aside(queue_sqlite_t *s);
static int queue_sqlite_busy(void *data, int count);
static int queue_sqlite_progress(void *data);
static int queue_sqlite_committed(void *data, sqlite3 *db, const char *name,
    int pages);


int
queue_sqlite_ready(queue_sqlite_t *s)
{
    int  code;

    if (s->db != NULL && !queue_sqlite_moved(s)) {
        return FAAS_OK;
    }

    if (queue_sqlite_clock() < s->again_ms) {
        return s->code;
    }

    code = queue_sqlite_open_file(s);

    if (code != FAAS_OK) {
        queue_sqlite_say(s, code);
        queue_sqlite_give_up(s, code);
    }

    return code;
}


void
queue_sqlite_give_up(queue_sqlite_t *s, int code)
{
    queue_sqlite_close_file(s);

    s->again_ms = queue_sqlite_clock() + QS_AGAIN_MS;
    s->code = code;
}


static int
queue_sqlite_open_file(queue_sqlite_t *s)
{
    int   rc, code;
    char  why[160];

    code = queue_sqlite_create(s);
    if (code != FAAS_OK) {
        return code;
    }

    rc = sqlite3_open_v2(s->path, &s->db,
                         SQLITE_OPEN_READWRITE|SQLITE_OPEN_NOMUTEX, NULL);

    if (rc == SQLITE_OK && sqlite3_db_readonly(s->db, "main") == 1) {
        rc = SQLITE_READONLY;
    }

    if (rc == SQLITE_OK) {
        rc = queue_sqlite_settings(s);
    }

    why[0] = '\0';

    if (rc == SQLITE_OK) {
        rc = queue_sqlite_tables_of(s, why, sizeof(why));
    }

    if (rc == SQLITE_OK) {
        rc = queue_sqlite_prepare(s);
    }

    if (rc != SQLITE_OK) {
        code = queue_sqlite_failed(s, rc);

        if (why[0] != '\0') {
            (void) snprintf(s->text, sizeof(s->text), "%s", why);
        }

        return code;
    }

    queue_sqlite_know_wal(s);

    return FAAS_OK;
}


/* Looks first: a database that is not ours stays as it is.  Looks once: what
   another node makes meanwhile is seen whole, or not at all. */

static int
queue_sqlite_tables_of(queue_sqlite_t *s, char *why, size_t size)
{
    int  rc, version;

    rc = sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL);

    if (rc == SQLITE_OK) {
        rc = queue_sqlite_known(s->db, &version, why, size);
    }

    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
    }

    if (rc == SQLITE_OK && version == 0) {
        rc = sqlite3_exec(s->db, "PRAGMA auto_vacuum = INCREMENTAL", NULL,
                          NULL, NULL);
    }

    if (rc == SQLITE_OK) {
        rc = queue_sqlite_wal(s);
    }

    if (rc == SQLITE_OK && version == 0) {
        rc = queue_sqlite_make(s->db, why, size);
    }

    return rc;
}


/*
 * SQLite would make a file that others can read.  An existing one is not
 * opened here: to close it would release the locks of another handle of this
 * process.
 */

static int
queue_sqlite_create(queue_sqlite_t *s)
{
    int   fd, dir;
    char  path[QS_PATH_SIZE];

    (void) snprintf(path, sizeof(path), "%s", s->path);
    *(strrchr(path, '/') + 1) = '\0';

    if (s->is_default && mkdir(path, 0700) == -1 && errno != EEXIST) {
        goto failed;
    }

    fd = open(s->path, O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (fd == -1) {
        if (errno == EEXIST) {
            return FAAS_OK;
        }

        goto failed;
    }

    (void) close(fd);

    dir = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (dir != -1) {
        (void) fsync(dir);
        (void) close(dir);
    }

    return FAAS_OK;

failed:

    s->rc = SQLITE_CANTOPEN;
    s->error = errno;
    (void) snprintf(s->text, sizeof(s->text), "cannot be created");

    return queue_sqlite_code(s->rc, s->error);
}


static int
queue_sqlite_settings(queue_sqlite_t *s)
{
    int  rc;

    (void) sqlite3_extended_result_codes(s->db, 1);
    (void) sqlite3_busy_handler(s->db, queue_sqlite_busy, s);
    sqlite3_progress_handler(s->db, QS_STEPS, queue_sqlite_progress, s);

    rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(s->db,
                          "PRAGMA wal_autocheckpoint = 0;"
                          "PRAGMA synchronous = FULL;"
                          "PRAGMA journal_size_limit = 67108864;"
                          "PRAGMA cache_size = -16384;"
                          "PRAGMA mmap_size = 0;"
                          "PRAGMA trusted_schema = OFF;",
                          NULL, NULL, NULL);
    }

    /* in place of the one that wal_autocheckpoint has set */
    (void) sqlite3_wal_hook(s->db, queue_sqlite_committed, s);

    return rc;
}


/*
 * To WAL mode, unless it is.  SQLite does not ask the busy handler here in
 * every case when two nodes do this at once.
 */

static int
queue_sqlite_wal(queue_sqlite_t *s)
{
    int                   rc;
    sqlite3_stmt         *st;
    const unsigned char  *mode;

    for ( ;; ) {
        rc = sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &st,
                                NULL);
        if (rc != SQLITE_OK) {
            return rc;
        }

        rc = sqlite3_step(st);

        if (rc == SQLITE_ROW) {
            mode = sqlite3_column_text(st, 0);
            rc = mode != NULL && strcmp((const char *) mode, "wal") == 0
                 ? SQLITE_OK : SQLITE_CANTOPEN;

        } else if (rc == SQLITE_DONE) {
            rc = SQLITE_CANTOPEN;
        }

        (void) sqlite3_finalize(st);

        if ((rc & 0xff) != SQLITE_BUSY || !queue_sqlite_busy(s, 0)) {
            return rc;
        }
    }
}


/* all at once: what an operation needs when memory is short is there */

static int
queue_sqlite_prepare(queue_sqlite_t *s)
{
    int       rc;
    unsigned  i;

    for (i = 0; i < QS_STATEMENTS; i++) {
        rc = sqlite3_prepare_v3(s->db, queue_sqlite_sql[i], -1,
                                SQLITE_PREPARE_PERSISTENT, &s->statements[i],
                                NULL);
        if (rc != SQLITE_OK) {
            return rc;
        }
    }

    return SQLITE_OK;
}


/* SQLite has it open, since the tables were looked at, until the file is
   closed */

static void
queue_sqlite_know_wal(queue_sqlite_t *s)
{
    char         path[QS_PATH_SIZE];
    struct stat  st;

    (void) snprintf(path, sizeof(path), "%s-wal", s->path);

    if (stat(path, &st) == 0) {
        s->wal_device = st.st_dev;
        s->wal_inode = st.st_ino;
    }
}


void
queue_sqlite_close_file(queue_sqlite_t *s)
{
    unsigned  i;

    for (i = 0; i < QS_STATEMENTS; i++) {
        (void) sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }

    (void) sqlite3_close(s->db);
    s->db = NULL;
    s->wal_pages = 0;
    s->wal_inode = 0;
    s->is_relaxed = 0;
}


static int
queue_sqlite_moved(queue_sqlite_t *s)
{
    int  moved;

    moved = 0;
    (void) sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED,
                                &moved);
    if (!moved) {
        return 0;
    }

    log_line(LOG_ALERT, 0,
             "queue database \"%s\" was removed or replaced, it is opened"
             " anew", s->path);

    queue_sqlite_put_aside(s);
    queue_sqlite_close_file(s);

    return 1;
}


/* the log, and its index, of a database that is gone; not those that came
   with the new one */

static void
queue_sqlite_put_aside(queue_sqlite_t *s)
{
    char         from[QS_PATH_SIZE], to[QS_PATH_SIZE];
    struct stat  st;

    (void) snprintf(from, sizeof(from), "%s-wal", s->path);

    if (stat(from, &st) == -1 || st.st_dev != s->wal_device
        || st.st_ino != s->wal_inode)
    {
        return;
    }

    (void) snprintf(to, sizeof(to), "%s-wal.lost", s->path);

    if (rename(from, to) == -1) {
        log_line(LOG_ALERT, errno, "\"%s\" cannot be put aside", from);
        return;
    }

    log_line(LOG_NOTICE, 0, "\"%s\", the log of the lost one, is \"%s\" now",
             from, to);

    (void) snprintf(from, sizeof(from), "%s-shm", s->path);
    (void) unlink(from);
}


/* -- what SQLite asks ------------------------------------------------------ */

static int
queue_sqlite_busy(void *data, int count)
{
    int64_t          left;
    struct timespec  ts;
    queue_sqlite_t  *s = data;

    left = s->deadline_ms - queue_sqlite_clock();
    if (left <= 0) {
        return 0;
    }

    ts.tv_sec = 0;
    ts.tv_nsec = (count < 4 ? QS_NAP_US / 8 : QS_NAP_US) * 1000;

    (void) nanosleep(&ts, NULL);

    return 1;
}


static int
queue_sqlite_progress(void *data)
{
    queue_sqlite_t  *s = data;

    return queue_sqlite_clock() >= s->deadline_ms;
}


static int
queue_sqlite_committed(void *data, sqlite3 *db, const char *name, int pages)
{
    queue_sqlite_t  *s = data;

    (void) db;
    (void) name;

    s->wal_pages = pages;

    return SQLITE_OK;
}
