
/*
 * Housekeeping: checkpoints, and forgetting what has had its time.
 *
 * One checkpointer.  SQLite before 3.51.3 can corrupt a file when two
 * connections write and checkpoint at once.  Of the nodes that share a file
 * one holds an exclusive flock() on PATH-checkpointer and checkpoints; the
 * kernel releases it when that node is gone, and the next tick of another
 * takes it.  Nobody checkpoints by himself: wal_autocheckpoint is 0, and so
 * is the checkpoint at close.  A lock file that is not the one found under
 * its name any more is given up, since another node may hold that one.
 *
 * A checkpoint is passive: it takes no lock that a writer waits for.  It is
 * made when the log has QS_WAL_PAGES pages, and every QS_CHECKPOINT_MS at
 * the latest, also when the disk is full: what is in the database makes room
 * in the log.
 *
 * All of it is done in bounded steps, so that a tick is short.
 */


#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "queue_sqlite.h"


#define QS_WAL_PAGES      1024          /* 4 MiB */
#define QS_CHECKPOINT_MS  10000
#define QS_SWEEP_QUEUES   64            /* in one tick */
#define QS_SWEEP_ROWS     1024
#define QS_SWEEP_CALLS    64
#define QS_SPARE_PAGES    4096          /* free ones that are kept: 16 MiB */


static int queue_sqlite_lock(queue_sqlite_t *s);
static int queue_sqlite_lock_is_ours(int fd, const char *path);
static void queue_sqlite_checkpoint(queue_sqlite_t *s);
static int queue_sqlite_sweep(queue_sqlite_t *s, int64_t now_ms);
static int queue_sqlite_sweep_queue(queue_sqlite_t *s, int64_t queue,
    int64_t now_ms, int *left);
static int queue_sqlite_shrink(queue_sqlite_t *s);


void
queue_sqlite_keep(queue_sqlite_t *s, int64_t now_ms, int64_t deadline_ms)
{
    int  code;

    code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_run(s, QS_CALL_EXPIRE, "ii", now_ms,
                                (int64_t) QS_SWEEP_CALLS);

        if (code == FAAS_OK) {
            code = queue_sqlite_sweep(s, now_ms);
        }

        if (code == FAAS_OK) {
            code = queue_sqlite_shrink(s);
        }

        (void) queue_sqlite_end(s, code);
    }

    if (s->db != NULL && queue_sqlite_lock(s)) {
        queue_sqlite_checkpoint(s);
    }
}


/* -- the checkpointer ------------------------------------------------------ */

/* is it us? */

static int
queue_sqlite_lock(queue_sqlite_t *s)
{
    int   fd;
    char  path[QS_PATH_SIZE];

    (void) snprintf(path, sizeof(path), "%s-checkpointer", s->path);

    if (s->lock != -1) {
        if (queue_sqlite_lock_is_ours(s->lock, path)) {
            return 1;
        }

        queue_sqlite_unlock(s);
    }

    fd = open(path, O_RDWR|O_CREAT|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (fd == -1) {
        if (!s->lock_said) {
            log_line(LOG_ERROR, errno, "\"%s\" cannot be opened, the queue"
                     " database's log will grow", path);
            s->lock_said = 1;
        }

        return 0;
    }

    s->lock_said = 0;

    if (flock(fd, LOCK_EX|LOCK_NB) == -1
        || !queue_sqlite_lock_is_ours(fd, path))
    {
        (void) close(fd);
        return 0;
    }

    log_line(LOG_INFO, 0, "queue database \"%s\": this node checkpoints it",
             s->path);

    s->lock = fd;

    return 1;
}


static int
queue_sqlite_lock_is_ours(int fd, const char *path)
{
    struct stat  held, found;

    return fstat(fd, &held) == 0 && stat(path, &found) == 0
           && held.st_dev == found.st_dev && held.st_ino == found.st_ino;
}


void
queue_sqlite_unlock(queue_sqlite_t *s)
{
    if (s->lock != -1) {
        (void) close(s->lock);
        s->lock = -1;
    }
}


/* commits of other nodes are not counted in wal_pages, but by time */

static void
queue_sqlite_checkpoint(queue_sqlite_t *s)
{
    int      rc, pages, done;
    int64_t  now;

    now = queue_sqlite_clock();

    if (s->wal_pages < QS_WAL_PAGES
        && now < s->checkpoint_ms + QS_CHECKPOINT_MS)
    {
        return;
    }

    s->checkpoint_ms = now;
    s->deadline_ms = INT64_MAX;

    rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                   &pages, &done);

    if (rc == SQLITE_OK) {
        /* the next commit says how many there are then */
        s->wal_pages = pages - done;
    }

    if (rc != s->checkpoint_said && rc != SQLITE_BUSY) {
        s->checkpoint_said = rc;

        log_line(rc == SQLITE_OK ? LOG_NOTICE : LOG_ERROR, 0,
                 "queue database \"%s\": checkpoint: %s (SQLite %d)",
                 s->path, rc == SQLITE_OK ? "works again"
                                          : sqlite3_errmsg(s->db), rc);
    }
}


/* -- forgetting ------------------------------------------------------------ */

/* some queues after those of the last tick, and what is forgotten of them */

static int
queue_sqlite_sweep(queue_sqlite_t *s, int64_t now_ms)
{
    int            code, i, n, left;
    int64_t        queues[QS_SWEEP_QUEUES];
    sqlite3_stmt  *st;

    n = 0;

    code = queue_sqlite_row(s, &st, QS_QUEUE_AFTER, "ii", s->swept,
                            (int64_t) QS_SWEEP_QUEUES);

    for ( /* void */ ; code == FAAS_OK; code = queue_sqlite_next(s, st)) {
        queues[n++] = sqlite3_column_int64(st, 0);
    }

    if (code != FAAS_ENOTFOUND) {
        return code;
    }

    left = QS_SWEEP_ROWS;

    for (i = 0; i < n && left > 0; i++) {
        code = queue_sqlite_sweep_queue(s, queues[i], now_ms, &left);
        if (code != FAAS_OK) {
            return code;
        }

        s->swept = queues[i];
    }

    if (n < QS_SWEEP_QUEUES && i == n) {
        s->swept = 0;    /* from the first again */
    }

    return FAAS_OK;
}


/* one of which nothing is left goes, too */

static int
queue_sqlite_sweep_queue(queue_sqlite_t *s, int64_t queue, int64_t now_ms,
    int *left)
{
    int  code;

    code = queue_sqlite_run(s, QS_MESSAGE_FORGET, "iii", queue, now_ms,
                            (int64_t) *left);
    if (code != FAAS_OK) {
        return code;
    }

    *left -= queue_sqlite_changes(s);

    return queue_sqlite_run(s, QS_QUEUE_REMOVE, "i", queue);
}


/* pages that a great queue has left go back to the file system, by steps;
   some are kept for the next messages */

static int
queue_sqlite_shrink(queue_sqlite_t *s)
{
    int            code;
    int64_t        free_pages;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_FREE_PAGES, "");

    if (code != FAAS_OK) {
        return code == FAAS_ENOTFOUND ? FAAS_OK : code;
    }

    free_pages = sqlite3_column_int64(st, 0);
    queue_sqlite_done(st);

    if (free_pages < 2 * QS_SPARE_PAGES) {
        return FAAS_OK;
    }

    return queue_sqlite_run(s, QS_VACUUM, "");
}
