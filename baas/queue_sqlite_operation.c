
/*
 * Operations: transactions, statements, and what SQLite's codes mean.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "queue_sqlite.h"


static int queue_sqlite_relax(queue_sqlite_t *s, int is_relaxed);
static void queue_sqlite_rollback(queue_sqlite_t *s);
static int queue_sqlite_errno(queue_sqlite_t *s, int rc);
static int queue_sqlite_is_fatal(int rc);
static int queue_sqlite_bind(sqlite3_stmt *st, const char *types,
    va_list args);


int64_t
queue_sqlite_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int
queue_sqlite_begin(queue_sqlite_t *s, queue_sqlite_sql_e how,
    int64_t deadline_ms)
{
    int  code;

    s->deadline_ms = deadline_ms;
    s->rc = SQLITE_OK;
    s->ndeltas = 0;

    if (queue_sqlite_clock() >= deadline_ms) {
        return FAAS_ETIMEDOUT;
    }

    code = queue_sqlite_ready(s);
    if (code != FAAS_OK) {
        return code;
    }

    code = how != QS_BEGIN ? queue_sqlite_relax(s, how == QS_BEGIN_LEASE)
                           : FAAS_OK;

    if (code == FAAS_OK) {
        code = queue_sqlite_run(s, how, "");
    }

    return code == FAAS_OK ? FAAS_OK : queue_sqlite_end(s, code);
}


/* SQLite looks at this when it prepares the statement, not when it runs it */

static int
queue_sqlite_relax(queue_sqlite_t *s, int is_relaxed)
{
    int  rc;

    if (s->is_relaxed == is_relaxed) {
        return FAAS_OK;
    }

    rc = sqlite3_exec(s->db, is_relaxed ? "PRAGMA synchronous = NORMAL"
                                        : "PRAGMA synchronous = FULL",
                      NULL, NULL, NULL);

    if (rc != SQLITE_OK) {
        return queue_sqlite_failed(s, rc);
    }

    s->is_relaxed = is_relaxed;

    return FAAS_OK;
}


int
queue_sqlite_end(queue_sqlite_t *s, int code)
{
    if (code == FAAS_OK) {
        code = queue_sqlite_count_write(s);
    }

    if (code == FAAS_OK) {
        s->deadline_ms = INT64_MAX;    /* what came as far is not broken off */
        code = queue_sqlite_run(s, QS_COMMIT, "");
    }

    if (code != FAAS_OK) {
        queue_sqlite_rollback(s);
    }

    if (s->rc == SQLITE_OK) {
        if (code == FAAS_OK) {
            queue_sqlite_say(s, FAAS_OK);
        }

        return code;
    }

    queue_sqlite_say(s, code);

    if (queue_sqlite_is_fatal(s->rc)) {
        queue_sqlite_give_up(s, code);
    }

    return code;
}


/* the deadline is no reason to leave a transaction open */

static void
queue_sqlite_rollback(queue_sqlite_t *s)
{
    sqlite3_stmt  *st;

    s->deadline_ms = INT64_MAX;

    if (!sqlite3_get_autocommit(s->db)) {
        st = s->statements[QS_ROLLBACK];
        (void) sqlite3_step(st);
        (void) sqlite3_reset(st);

        if (!sqlite3_get_autocommit(s->db)) {
            queue_sqlite_close_file(s);    /* rolls back */
        }
    }
}


int
queue_sqlite_failed(queue_sqlite_t *s, int rc)
{
    if (s->rc == SQLITE_OK) {
        s->rc = rc;
        s->error = s->db != NULL ? queue_sqlite_errno(s, rc) : 0;
        (void) snprintf(s->text, sizeof(s->text), "%s",
                        s->db != NULL
                        && sqlite3_extended_errcode(s->db) == rc
                        ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
    }

    return queue_sqlite_code(s->rc, s->error);
}


/* SQLite tells the errno of a commit that failed to nobody, but the file that
   it wrote, most likely the log, knows it */

static int
queue_sqlite_errno(queue_sqlite_t *s, int rc)
{
    int            error;
    sqlite3_file  *log;

    error = sqlite3_system_errno(s->db);

    if ((rc & 0xff) != SQLITE_IOERR || error != 0) {
        return error;
    }

    log = NULL;

    if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER,
                             &log)
        == SQLITE_OK && log != NULL && log->pMethods != NULL)
    {
        (void) log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO,
                                           &error);
    }

    if (error == 0) {
        (void) sqlite3_file_control(s->db, "main", SQLITE_FCNTL_LAST_ERRNO,
                                    &error);
    }

    return error;
}


/* one line when a trouble begins, or becomes another, and one when it is
   over */

void
queue_sqlite_say(queue_sqlite_t *s, int code)
{
    if (code == s->said) {
        return;
    }

    s->said = code;

    if (code == FAAS_OK) {
        log_line(LOG_NOTICE, 0, "queue database \"%s\": works again",
                 s->path);
        return;
    }

    log_line(code == FAAS_ECORRUPT ? LOG_ALERT : LOG_ERROR,
             s->rc == SQLITE_OK || (s->rc & 0xff) == SQLITE_BUSY ? 0
                                                                 : s->error,
             "queue database \"%s\": %s (SQLite %d)", s->path, s->text,
             s->rc);
}


int
queue_sqlite_code(int rc, int error)
{
    switch (rc & 0xff) {

    case SQLITE_OK:
        return FAAS_OK;

    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return FAAS_EBUSY;

    case SQLITE_FULL:
        return FAAS_EFULL;

    case SQLITE_READONLY:
        return FAAS_EREADONLY;

    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return FAAS_ECORRUPT;

    case SQLITE_INTERRUPT:
        return FAAS_ETIMEDOUT;

    case SQLITE_TOOBIG:
        return FAAS_ETOOLARGE;

    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM) {
            return FAAS_ERROR;
        }

        /* fall through */

    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
        if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
            return FAAS_EFULL;
        }

        return error == EROFS ? FAAS_EREADONLY : FAAS_EUNAVAILABLE;

    default:
        return FAAS_ERROR;
    }
}


/* after these the handle is not trusted any more */

static int
queue_sqlite_is_fatal(int rc)
{
    if (rc == SQLITE_IOERR_NOMEM) {
        return 0;
    }

    switch (rc & 0xff) {

    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PROTOCOL:
        return 1;

    default:
        return 0;
    }
}


/* -- statements ------------------------------------------------------------ */

int
queue_sqlite_run(queue_sqlite_t *s, queue_sqlite_sql_e sql,
    const char *types, ...)
{
    int            rc;
    va_list        args;
    sqlite3_stmt  *st;

    st = s->statements[sql];

    va_start(args, types);
    rc = queue_sqlite_bind(st, types, args);
    va_end(args);

    if (rc == SQLITE_OK) {
        do {
            rc = sqlite3_step(st);
        } while (rc == SQLITE_ROW);
    }

    rc = rc == SQLITE_DONE ? FAAS_OK : queue_sqlite_failed(s, rc);

    (void) sqlite3_reset(st);

    return rc;
}


int
queue_sqlite_row(queue_sqlite_t *s, sqlite3_stmt **st,
    queue_sqlite_sql_e sql, const char *types, ...)
{
    int      rc;
    va_list  args;

    *st = s->statements[sql];

    va_start(args, types);
    rc = queue_sqlite_bind(*st, types, args);
    va_end(args);

    if (rc != SQLITE_OK) {
        rc = queue_sqlite_failed(s, rc);
        (void) sqlite3_reset(*st);
        return rc;
    }

    return queue_sqlite_next(s, *st);
}


int
queue_sqlite_next(queue_sqlite_t *s, sqlite3_stmt *st)
{
    int  rc;

    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        return FAAS_OK;
    }

    rc = rc == SQLITE_DONE ? FAAS_ENOTFOUND : queue_sqlite_failed(s, rc);

    (void) sqlite3_reset(st);

    return rc;
}


void
queue_sqlite_done(sqlite3_stmt *st)
{
    (void) sqlite3_reset(st);
}


static int
queue_sqlite_bind(sqlite3_stmt *st, const char *types, va_list args)
{
    int          i, rc;
    size_t       n;
    const void  *p;

    rc = SQLITE_OK;

    for (i = 1; *types != '\0' && rc == SQLITE_OK; i++, types++) {

        switch (*types) {

        case 'i':
            rc = sqlite3_bind_int64(st, i, va_arg(args, int64_t));
            break;

        case 't':
            rc = sqlite3_bind_text(st, i, va_arg(args, const char *), -1,
                                   SQLITE_STATIC);
            break;

        case 'n':
            rc = sqlite3_bind_null(st, i);
            break;

        default:    /* b */
            p = va_arg(args, const void *);
            n = va_arg(args, size_t);

            rc = n ? sqlite3_bind_blob64(st, i, p, n, SQLITE_STATIC)
                   : sqlite3_bind_zeroblob(st, i, 0);
            break;
        }
    }

    return rc;
}


int
queue_sqlite_changes(queue_sqlite_t *s)
{
    return sqlite3_changes(s->db);
}


void *
queue_sqlite_copy(sqlite3_stmt *st, int column, queue_alloc_pt alloc,
    void *data)
{
    char        *p;
    size_t       n;
    const void  *from;

    from = sqlite3_column_blob(st, column);
    n = (size_t) sqlite3_column_bytes(st, column);

    if (from == NULL && n) {
        return NULL;
    }

    p = alloc(data, n + 1);

    if (p != NULL) {
        if (n) {
            memcpy(p, from, n);
        }

        p[n] = '\0';
    }

    return p;
}


int
queue_sqlite_fence(queue_sqlite_t *s, unsigned n, int64_t *last)
{
    int            code;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_FENCE, "i", (int64_t) n);

    if (code == FAAS_ENOTFOUND) {
        return queue_sqlite_failed(s, SQLITE_CORRUPT);
    }

    if (code == FAAS_OK) {
        *last = sqlite3_column_int64(st, 0);
        queue_sqlite_done(st);
    }

    return code;
}
