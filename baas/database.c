
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "database_inner.h"
#include "process_mark.h"


static uint32_t database_hash(const char *sql, size_t size);
static database_cached_t *database_cached(database_t *d, const char *sql,
    size_t size, uint32_t hash);
static database_cached_t *database_place(database_t *d);
static database_cached_t *database_evict(database_t *d);
static void database_drop(database_cached_t *c);
static void database_set_back(database_t *d);
static int database_errno(const database_t *d, int rc);
static int database_code_errno(int error);


/* what one of the platform's tables is made of; a key's rows are found and
   written in one b-tree, and values come last so that versions and times are
   read without them */

static const struct {
    const char  *name;
    const char  *sql;
} database_tables[] = {
    [DATABASE_KV] = {
        "faas_kv",
        "CREATE TABLE IF NOT EXISTS faas_kv ("
            "key BLOB PRIMARY KEY NOT NULL, version INTEGER NOT NULL, "
            "expires_ms INTEGER, value BLOB NOT NULL) WITHOUT ROWID;"
        "CREATE INDEX IF NOT EXISTS faas_kv_expires ON faas_kv (expires_ms) "
            "WHERE expires_ms IS NOT NULL"
    },
    [DATABASE_ONCE] = {
        "faas_once",
        "CREATE TABLE IF NOT EXISTS faas_once ("
            "key TEXT PRIMARY KEY NOT NULL, expires_ms INTEGER NOT NULL, "
            "hash BLOB NOT NULL, response BLOB NOT NULL) WITHOUT ROWID;"
        "CREATE INDEX IF NOT EXISTS faas_once_expires "
            "ON faas_once (expires_ms)"
    },
    [DATABASE_OUTBOX] = {
        "faas_outbox",

        /* an id never comes again: who sent a message removes it by its id,
           maybe after another has, and a new one was put */

        "CREATE TABLE IF NOT EXISTS faas_outbox ("
            "id INTEGER PRIMARY KEY AUTOINCREMENT, put_ms INTEGER NOT NULL, "
            "operation INTEGER NOT NULL, payload BLOB NOT NULL)"
    },
    [DATABASE_MIGRATIONS] = {
        "faas_migrations",
        "CREATE TABLE IF NOT EXISTS faas_migrations ("
            "number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "sha256 TEXT NOT NULL, applied_ms INTEGER NOT NULL)"
    },
};

_Static_assert(sizeof(database_tables) / sizeof(database_tables[0])
               == DATABASE_TABLES, "each table is described");


int
database_is_ours(const database_t *d)
{
    return d->mark == process_mark();
}


int
database_enter(database_t *d)
{
    if (!database_is_ours(d)) {
        return FAAS_EUNSUPPORTED;
    }

    if (d->stuck) {
        database_rollback(d);
    }

    return d->stuck ? FAAS_EFULL : FAAS_OK;
}


int64_t
database_monotonic_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


void
database_begin(database_t *d, const baas_scope_t *scope)
{
    if (!database_is_ours(d)) {
        return;
    }

    if (d->stuck) {
        database_rollback(d);
    }

    d->deadline_ms = scope->deadline_ms;
    d->request++;
    d->refused[0] = '\0';

    database_guard(d);
}


void
database_end(database_t *d)
{
    sqlite3_stmt       *stmt;
    database_cached_t  *c;

    if (!database_is_ours(d)) {
        return;
    }

    for (stmt = sqlite3_next_stmt(d->db, NULL);
         stmt != NULL;
         stmt = sqlite3_next_stmt(d->db, stmt))
    {
        if (sqlite3_stmt_busy(stmt)) {
            sqlite3_reset(stmt);
        }
    }

    /* bindings may be large, and what they point to ends with the request */

    for (c = d->cache; c < d->cache + DATABASE_CACHE; c++) {
        if (c->stmt != NULL && c->used == d->request) {
            sqlite3_clear_bindings(c->stmt);
        }
    }

    while (d->evicted_count) {
        sqlite3_finalize(d->evicted[--d->evicted_count]);
    }

    database_rollback(d);
    database_once_forget(d);

    if (d->unset && !d->stuck) {
        database_set_back(d);
    }
}


/*
 * What the next request, of another client, was promised, and what our own
 * writes need.  Both do nothing in a transaction.
 */

static void
database_set_back(database_t *d)
{
    int  rc;

    d->own++;
    rc = sqlite3_exec(d->db, "PRAGMA foreign_keys = ON; "
                      "PRAGMA query_only = OFF", NULL, NULL, NULL);
    d->own--;

    d->unset = rc != SQLITE_OK;
}


sqlite3 *
database_handle(database_t *d)
{
    return database_enter(d) == FAAS_OK ? d->db : NULL;
}


int
database_is_moved(const database_t *d)
{
    int  moved;

    moved = 0;

    (void) sqlite3_file_control(d->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);

    return moved;
}


int
database_is(const database_t *d, const sqlite3 *db)
{
    return d->db == db;
}


kv_t *
database_kv(database_t *d)
{
    return &d->kv;
}


/* -- statements ------------------------------------------------------------ */

sqlite3_stmt *
database_prepare(database_t *d, const char *sql)
{
    int                 rc;
    size_t              size;
    uint32_t            hash;
    sqlite3_stmt       *stmt;
    database_cached_t  *c;

    if (database_enter(d) != FAAS_OK || sql == NULL) {
        return NULL;
    }

    size = strlen(sql);
    hash = database_hash(sql, size);

    c = database_cached(d, sql, size, hash);

    if (c != NULL) {
        c->used = d->request;
        sqlite3_reset(c->stmt);
        sqlite3_clear_bindings(c->stmt);

        return c->stmt;
    }

    rc = size >= INT32_MAX ? SQLITE_TOOBIG
                          : sqlite3_prepare_v3(d->db, sql, (int) size + 1,
                                               SQLITE_PREPARE_PERSISTENT,
                                               &stmt, NULL);

    if (rc != SQLITE_OK || stmt == NULL) {
        return NULL;
    }

    c = database_place(d);

    if (c != NULL) {
        c->sql = sqlite3_malloc64(size + 1);
    }

    if (c == NULL || c->sql == NULL) {
        sqlite3_finalize(stmt);
        return NULL;
    }

    memcpy(c->sql, sql, size + 1);
    c->stmt = stmt;
    c->size = size;
    c->hash = hash;
    c->used = d->request;

    return stmt;
}


static uint32_t
database_hash(const char *sql, size_t size)
{
    size_t    i;
    uint32_t  hash;

    hash = 2166136261u;

    for (i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char) sql[i]) * 16777619;
    }

    return hash;
}


static database_cached_t *
database_cached(database_t *d, const char *sql, size_t size, uint32_t hash)
{
    database_cached_t  *c;

    for (c = d->cache; c < d->cache + DATABASE_CACHE; c++) {

        if (c->stmt != NULL && c->hash == hash && c->size == size
            && memcmp(c->sql, sql, size) == 0
            && !sqlite3_stmt_busy(c->stmt))
        {
            return c;
        }
    }

    return NULL;
}


/*
 * An empty place, or that of the statement that was not used for longest; NULL
 * when there is no memory.  One that this request was given may still be in
 * its hands; when all are, the one that it asked for first goes out of the
 * cache.
 */

static database_cached_t *
database_place(database_t *d)
{
    database_cached_t  *c, *oldest;

    oldest = d->cache;

    for (c = d->cache; c < d->cache + DATABASE_CACHE; c++) {

        if (c->stmt == NULL) {
            return c;
        }

        if (c->used < oldest->used) {
            oldest = c;
        }
    }

    if (oldest->used == d->request) {
        return database_evict(d);
    }

    database_drop(oldest);

    return oldest;
}


static database_cached_t *
database_evict(database_t *d)
{
    size_t               room;
    sqlite3_stmt       **evicted;
    database_cached_t   *c;

    if (d->evicted_count == d->evicted_room) {
        room = d->evicted_room ? d->evicted_room * 2 : DATABASE_CACHE;

        evicted = reallocarray(d->evicted, room, sizeof(sqlite3_stmt *));
        if (evicted == NULL) {
            return NULL;
        }

        d->evicted = evicted;
        d->evicted_room = room;
    }

    c = &d->cache[d->evicted_count % DATABASE_CACHE];

    d->evicted[d->evicted_count++] = c->stmt;
    sqlite3_free(c->sql);
    memset(c, 0, sizeof(database_cached_t));

    return c;
}


static void
database_drop(database_cached_t *c)
{
    sqlite3_finalize(c->stmt);
    sqlite3_free(c->sql);
    memset(c, 0, sizeof(database_cached_t));
}


sqlite3_stmt *
database_statement(database_t *d, database_statement_e which, const char *sql,
    int *rc)
{
    if (d->statement[which] != NULL) {
        *rc = SQLITE_OK;
        return d->statement[which];
    }

    d->own++;
    *rc = sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                             &d->statement[which], NULL);
    d->own--;

    return d->statement[which];
}


int
database_step(database_t *d, sqlite3_stmt *stmt)
{
    int  rc;

    d->own++;
    rc = sqlite3_step(stmt);
    d->own--;

    return rc;
}


int
database_finish(sqlite3_stmt *stmt, int rc)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);

    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}


/* -- transactions ---------------------------------------------------------- */

int
database_prepare_transactions(database_t *d)
{
    int  rc;

    (void) database_statement(d, DATABASE_BEGIN, "BEGIN IMMEDIATE", &rc);

    if (rc == SQLITE_OK) {
        (void) database_statement(d, DATABASE_COMMIT, "COMMIT", &rc);
    }

    if (rc == SQLITE_OK) {
        (void) database_statement(d, DATABASE_ROLLBACK, "ROLLBACK", &rc);
    }

    return rc;
}


int
database_begin_write(database_t *d)
{
    sqlite3_stmt  *stmt;

    stmt = d->statement[DATABASE_BEGIN];

    return database_finish(stmt, database_step(d, stmt));
}


int
database_commit(database_t *d)
{
    sqlite3_stmt  *stmt;

    stmt = d->statement[DATABASE_COMMIT];

    return database_finish(stmt, database_step(d, stmt));
}


void
database_rollback(database_t *d)
{
    sqlite3_stmt  *stmt;

    if (!sqlite3_get_autocommit(d->db)) {
        stmt = d->statement[DATABASE_ROLLBACK];
        (void) database_finish(stmt, database_step(d, stmt));
    }

    /* what came now would be part of it, and be lost */

    d->stuck = !sqlite3_get_autocommit(d->db);
}


/* -- tables ---------------------------------------------------------------- */

int
database_lacks(database_t *d, database_table_e table)
{
    return sqlite3_table_column_metadata(d->db, "main",
                                         database_tables[table].name, NULL,
                                         NULL, NULL, NULL, NULL, NULL)
           == SQLITE_ERROR;
}


int
database_make(database_t *d, database_table_e table)
{
    int  rc, begun;

    begun = sqlite3_get_autocommit(d->db);

    if (begun) {
        rc = database_begin_write(d);
        if (rc != SQLITE_OK) {
            return rc;
        }
    }

    d->own++;
    rc = sqlite3_exec(d->db, database_tables[table].sql, NULL, NULL, NULL);
    d->own--;

    if (!begun) {
        return rc;
    }

    if (rc == SQLITE_OK) {
        rc = database_commit(d);
    }

    database_rollback(d);

    return rc;
}


/* -- codes ----------------------------------------------------------------- */

int
database_code(int rc)
{
    switch (rc) {

    case SQLITE_IOERR_NOMEM:
        return FAAS_EFULL;

    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_CORRUPTFS:
        return FAAS_ECORRUPT;

    case SQLITE_READONLY_DBMOVED:
        return FAAS_EUNAVAILABLE;
    }

    switch (rc & 0xff) {

    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return FAAS_OK;

    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return FAAS_EBUSY;

    case SQLITE_FULL:
    case SQLITE_NOMEM:
        return FAAS_EFULL;

    case SQLITE_READONLY:
        return FAAS_EREADONLY;

    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return FAAS_EUNAVAILABLE;

    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return FAAS_ECORRUPT;

    case SQLITE_PERM:
    case SQLITE_AUTH:
        return FAAS_EDENIED;

    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
        return FAAS_ETIMEDOUT;

    case SQLITE_TOOBIG:
        return FAAS_ETOOLARGE;

    case SQLITE_CONSTRAINT:
        return FAAS_ECONFLICT;

    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_MISUSE:
        return FAAS_EINVAL;

    default:
        return FAAS_ERROR;
    }
}


int
database_error(const database_t *d, int rc)
{
    int  code;

    code = database_code(rc);

    if (code == FAAS_EUNAVAILABLE) {
        return database_code_errno(database_errno(d, rc));
    }

    return code;
}


/*
 * The handle knows the errno of what failed while a statement ran, but not of
 * what failed in its commit; that is known to the files, the log's first.
 */

static int
database_errno(const database_t *d, int rc)
{
    int            error;
    sqlite3_file  *log;

    switch (rc) {

    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
    case SQLITE_IOERR_TRUNCATE:
        break;

    default:
        return sqlite3_system_errno(d->db);
    }

    log = NULL;
    error = 0;

    if (sqlite3_file_control(d->db, "main", SQLITE_FCNTL_JOURNAL_POINTER,
                             &log) == SQLITE_OK
        && log != NULL && log->pMethods != NULL)
    {
        (void) log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO,
                                           &error);
    }

    if (error == 0) {
        (void) sqlite3_file_control(d->db, "main", SQLITE_FCNTL_LAST_ERRNO,
                                    &error);
    }

    return error;
}


static int
database_code_errno(int error)
{
    switch (error) {

    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
        return FAAS_EFULL;

    case EROFS:
        return FAAS_EREADONLY;

    case EACCES:
    case EPERM:
        return FAAS_EDENIED;

    default:
        return FAAS_EUNAVAILABLE;
    }
}
