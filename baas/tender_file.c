
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"
#include "loop.h"
#include "tender_file.h"
#include "tender_policy.h"


#define TENDER_RETRY_MS      5000
#define TENDER_BAD_MS        60000    /* what is no database */
#define TENDER_STEP_MS       1000     /* for one small transaction */
#define TENDER_OUTBOX_MS     2000     /* age of what its instance left */
#define TENDER_PURGE_MS      30000    /* between two looks for the expired */
#define TENDER_PURGE_MAX_MS  3600000
#define TENDER_PURGE_ROWS    256      /* in one transaction */
#define TENDER_PURGE_TIMES   16       /* transactions in one turn */

/* https://sqlite.org/walformat.html, the WAL index */
#define TENDER_INDEX_SIZE      32768
#define TENDER_INDEX_CHANGE    8
#define TENDER_INDEX_PAGE      14
#define TENDER_INDEX_FRAMES    16
#define TENDER_INDEX_BACKFILL  96


static int tender_file_look(tender_file_t *f, int directory, int64_t now_ms);
static int tender_file_open(tender_file_t *f, const char *path,
    int64_t now_ms);
static void tender_file_close(tender_file_t *f);
static void tender_file_index(tender_file_t *f, uint64_t *pending,
    uint64_t *change);
static void tender_file_changed(tender_file_t *f, int64_t now_ms);
static int tender_file_checkpoint(tender_file_t *f, tender_checkpoint_e how,
    int64_t now_ms);
static void tender_file_outbox(tender_file_t *f, int64_t now_ms);
static int tender_file_purge(tender_file_t *f, int64_t now_ms);
static void tender_file_bound(tender_file_t *f, int64_t ms);
static void tender_file_trouble(tender_file_t *f, int code, const char *what,
    const char *why, int64_t now_ms);


tender_file_t *
tender_file_create(const char *name, unsigned flags, tender_send_t *send)
{
    tender_file_t  *f;

    f = calloc(1, sizeof(tender_file_t));
    if (f == NULL) {
        return NULL;
    }

    snprintf(f->name, sizeof(f->name), "%s", name);

    f->flags = flags;
    f->send = send;
    f->fresh = 1;
    f->dirty_ms = -1;
    f->outbox_ms = -1;
    f->tried_ms = -TENDER_QUIET_MS;
    f->purge_ms = INT64_MAX;

    return f;
}


void
tender_file_destroy(tender_file_t *f)
{
    if (f == NULL) {
        return;
    }

    database_close(f->database);
    free(f);
}


int
tender_file_tick(tender_file_t *f, int directory, const char *path,
    int64_t now_ms)
{
    int                  more;
    uint64_t             change;
    tender_log_t         log;
    tender_checkpoint_e  how;

    if (now_ms < f->retry_ms) {
        return 0;
    }

    /* one that was put in its place has a log of its own */

    if (f->database != NULL && database_is_moved(f->database)) {
        tender_file_close(f);
        f->fresh = 1;
    }

    if (!tender_file_look(f, directory, now_ms) && f->database == NULL
        && kv_now_ms() < f->purge_ms)
    {
        return 0;
    }

    if (f->database == NULL && tender_file_open(f, path, now_ms) != FAAS_OK) {
        return 0;
    }

    if (database_handle(f->database) == NULL) {
        tender_file_trouble(f, FAAS_EFULL, path, "out of memory", now_ms);
        return 0;
    }

    log.size = f->size;
    tender_file_index(f, &log.pending, &change);

    if (change != f->change) {
        f->change = change;
        tender_file_changed(f, now_ms);
    }

    if (log.pending == 0) {
        f->dirty_ms = -1;

    } else if (f->dirty_ms == -1) {
        f->dirty_ms = now_ms;
    }

    log.age_ms = f->dirty_ms == -1 ? -1 : now_ms - f->dirty_ms;
    log.quiet_ms = now_ms - f->written_ms;
    log.tried_ms = now_ms - f->tried_ms;
    log.failures = f->failures;

    how = tender_policy(&log);

    if (how != TENDER_NOTHING
        && tender_file_checkpoint(f, how, now_ms) != FAAS_OK)
    {
        return 0;
    }

    if (f->outbox_ms != -1 && now_ms >= f->outbox_ms) {
        tender_file_outbox(f, now_ms);
    }

    more = 0;

    if (f->database != NULL && kv_now_ms() >= f->purge_ms) {
        more = tender_file_purge(f, now_ms);
    }

    if (f->database != NULL && log.size == 0 && log.pending == 0
        && f->outbox_ms == -1 && !more && log.quiet_ms >= TENDER_QUIET_MS)
    {
        tender_file_close(f);
    }

    return more || log.pending >= TENDER_LOG_FULL;
}


/* 1: the log's file is another than it was */

static int
tender_file_look(tender_file_t *f, int directory, int64_t now_ms)
{
    char         name[sizeof(f->name) + 8];
    int64_t      mtime_ns;
    uint64_t     size;
    struct stat  st;

    snprintf(name, sizeof(name), "%s.db-wal", f->name);

    size = 0;
    mtime_ns = 0;

    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        size = (uint64_t) st.st_size;
        mtime_ns = (int64_t) st.st_mtim.tv_sec * 1000000000
                   + st.st_mtim.tv_nsec;
    }

    if (size == f->size && mtime_ns == f->mtime_ns && !f->fresh) {
        return 0;
    }

    f->size = size;
    f->mtime_ns = mtime_ns;
    f->written_ms = now_ms;

    return 1;
}


static int
tender_file_open(tender_file_t *f, const char *path, int64_t now_ms)
{
    int   code;
    char  why[sizeof(f->why)];

    f->database = database_open(path, f->name, f->flags|DATABASE_NORMAL,
                                now_ms + TENDER_STEP_MS, &code, why,
                                sizeof(why));

    if (f->database == NULL) {
        tender_file_trouble(f, code, path, why, now_ms);
        return code;
    }

    if (f->why[0] != '\0') {
        log_line(LOG_NOTICE, 0, "database \"%s/%s.db\" is looked after again",
                 path, f->name);
        f->why[0] = '\0';
    }

    /* all is to be looked at */

    f->fresh = 0;
    f->change = 0;
    f->purge_ms = 0;
    f->outbox_ms = f->send ? now_ms : -1;
    f->written_ms = now_ms;

    return FAAS_OK;
}


static void
tender_file_close(tender_file_t *f)
{
    database_close(f->database);

    f->database = NULL;
    f->dirty_ms = -1;
    f->outbox_ms = -1;
    f->failures = 0;
}


/*
 * How much there is to be moved, and a number that each transaction changes,
 * as the WAL index says, which SQLite has mapped anyway.  Nothing is locked,
 * so both may be a moment old.
 */

static void
tender_file_index(tender_file_t *f, uint64_t *pending, uint64_t *change)
{
    uint16_t                   page;
    uint32_t                   frames, moved, counter;
    sqlite3_file              *file;
    const volatile char       *index;
    void volatile             *map;

    *pending = f->size;
    *change = f->size ^ (uint64_t) f->mtime_ns;

    file = NULL;
    map = NULL;

    if (sqlite3_file_control(database_handle(f->database), "main",
                             SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK
        || file == NULL || file->pMethods == NULL
        || file->pMethods->iVersion < 2 || file->pMethods->xShmMap == NULL
        || file->pMethods->xShmMap(file, 0, TENDER_INDEX_SIZE, 0, &map)
           != SQLITE_OK
        || map == NULL)
    {
        return;
    }

    index = map;

    counter = *(const volatile uint32_t *) (index + TENDER_INDEX_CHANGE);
    page = *(const volatile uint16_t *) (index + TENDER_INDEX_PAGE);
    frames = *(const volatile uint32_t *) (index + TENDER_INDEX_FRAMES);
    moved = *(const volatile uint32_t *) (index + TENDER_INDEX_BACKFILL);

    *pending = frames > moved
               ? (uint64_t) (frames - moved) * (page == 1 ? 65536u : page) : 0;
    *change = (uint64_t) counter << 32 | (frames ^ 0x80000000u);
}


static void
tender_file_changed(tender_file_t *f, int64_t now_ms)
{
    int64_t  purge_ms;

    f->written_ms = now_ms;

    if (f->send != NULL && f->outbox_ms == -1) {
        f->outbox_ms = now_ms + TENDER_OUTBOX_MS / 2;
    }

    purge_ms = kv_now_ms() + TENDER_PURGE_MS;

    if (f->purge_ms > purge_ms) {
        f->purge_ms = purge_ms;
    }
}


/* -- what is due ----------------------------------------------------------- */

static int
tender_file_checkpoint(tender_file_t *f, tender_checkpoint_e how,
    int64_t now_ms)
{
    int       rc, code;
    sqlite3  *db;

    db = database_handle(f->database);
    tender_file_bound(f, TENDER_WAIT_MS);

    rc = sqlite3_wal_checkpoint_v2(db, "main",
                                   how == TENDER_PASSIVE
                                   ? SQLITE_CHECKPOINT_PASSIVE
                                   : SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

    if (how == TENDER_TRUNCATE) {
        f->tried_ms = now_ms;
        f->failures = rc == SQLITE_OK ? 0 : f->failures + 1;
    }

    if (how == TENDER_PASSIVE) {
        f->dirty_ms = now_ms;    /* for what readers still held */
    }

    code = database_error(f->database, rc);

    if (code == FAAS_OK || code == FAAS_EBUSY || code == FAAS_ETIMEDOUT) {
        return FAAS_OK;
    }

    tender_file_trouble(f, code, "a checkpoint failed", sqlite3_errmsg(db),
                        now_ms);

    return code;
}


static void
tender_file_outbox(tender_file_t *f, int64_t now_ms)
{
    int  rc;

    /* an instance that lives sends its own: looked at again until it is
       empty, and after each change */

    tender_file_bound(f, TENDER_STEP_MS);

    rc = database_outbox_has(f->database);

    if (rc == 1) {
        (void) tender_send(f->send, f->database, TENDER_OUTBOX_MS, now_ms);

        tender_file_bound(f, TENDER_STEP_MS);
        rc = database_outbox_has(f->database);
    }

    f->outbox_ms = rc == 0 ? -1 : now_ms + TENDER_OUTBOX_MS / 2;
}


/* 1: there is more of it */

static int
tender_file_purge(tender_file_t *f, int64_t now_ms)
{
    int       i, code;
    int64_t   wall_ms, next_ms;
    uint32_t  n;

    wall_ms = kv_now_ms();
    next_ms = 0;
    code = FAAS_OK;

    for (i = 0; i < TENDER_PURGE_TIMES && next_ms <= wall_ms; i++) {
        tender_file_bound(f, TENDER_WAIT_MS);

        code = database_purge(f->database, wall_ms, TENDER_PURGE_ROWS, &n,
                              &next_ms);

        if (code != FAAS_OK) {
            break;
        }
    }

    if (code == FAAS_OK && next_ms <= wall_ms) {
        return 1;
    }

    if (code == FAAS_OK) {

        /* what is written later may expire earlier: tender_file_changed() */

        f->purge_ms = next_ms < wall_ms + TENDER_PURGE_MAX_MS
                      ? next_ms : wall_ms + TENDER_PURGE_MAX_MS;

        if (f->purge_ms < wall_ms + TENDER_PURGE_MS) {
            f->purge_ms = wall_ms + TENDER_PURGE_MS;
        }

        if (next_ms == INT64_MAX) {
            f->purge_ms = INT64_MAX;
        }

        return 0;
    }

    f->purge_ms = wall_ms + TENDER_RETRY_MS;

    if (code != FAAS_EBUSY && code != FAAS_ETIMEDOUT
        && code != FAAS_EREADONLY)
    {
        tender_file_trouble(f, code, "what has expired cannot be removed",
                            sqlite3_errmsg(database_handle(f->database)),
                            now_ms);
    }

    return 0;
}


static void
tender_file_bound(tender_file_t *f, int64_t ms)
{
    baas_scope_t  scope;

    memset(&scope, 0, sizeof(scope));
    scope.deadline_ms = (int64_t) (loop_clock_us() / 1000) + ms;

    database_begin(f->database, &scope);
}


/* one line for one trouble; the file is left alone for a while */

static void
tender_file_trouble(tender_file_t *f, int code, const char *what,
    const char *why, int64_t now_ms)
{
    f->fresh = 1;
    f->retry_ms = now_ms + (code == FAAS_ECORRUPT || code == FAAS_EDENIED
                            ? TENDER_BAD_MS : TENDER_RETRY_MS);

    if (code != FAAS_EBUSY && code != FAAS_ENOTFOUND
        && strcmp(f->why, why) != 0)
    {
        log_line(LOG_ERROR, 0, "database \"%s.db\": %s: %s", f->name, what,
                 why);
        snprintf(f->why, sizeof(f->why), "%s", why);
    }

    if (f->database != NULL) {
        tender_file_close(f);
    }
}
