
/*
 * Outside a transaction each write is one statement, which takes the write
 * lock first thing (SQLite waits for it through the busy handler and reads
 * afterwards), or BEGIN IMMEDIATE where it takes several.  Inside one that the
 * function has open, it is part of that.
 *
 * An expired key is not there; its row is replaced by whoever writes the key,
 * or removed by the tender.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database_inner.h"
#include "kv_sqlite.h"
#include "kv_sqlite_inner.h"


/* one write, tried twice where the table has to be made first */

typedef struct kv_write_s  kv_write_t;

struct kv_write_s {
    faas_bytes_t              key;
    faas_bytes_t              value;
    int64_t                   now_ms;
    int64_t                   expires_ms;  /* 0: never */
    uint64_t                  expected;
    uint64_t                  version;
    int64_t                   number;      /* by, then the sum */
    int                       code;        /* when SQLite says SQLITE_OK */
};


static int kv_sqlite_get(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, faas_kv_entry_t *entry);
static int kv_sqlite_read(const baas_scope_t *scope, sqlite3_stmt *stmt,
    int64_t now_ms, faas_kv_entry_t *entry);
static int kv_sqlite_set(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, faas_bytes_t value, int64_t ttl_ms, uint64_t expected,
    uint64_t *version);
static int kv_sqlite_remove(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key);
static int kv_sqlite_incr(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, int64_t by, int64_t *sum);
static int kv_sqlite_expire(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, int64_t ttl_ms);
static int kv_sqlite_write(database_t *d, kv_write_t *w,
    int (*run)(database_t *d, kv_write_t *w));
static int kv_sqlite_run_set(database_t *d, kv_write_t *w);
static int kv_sqlite_run_create(database_t *d, kv_write_t *w);
static int kv_sqlite_run_replace(database_t *d, kv_write_t *w);
static int kv_sqlite_run_remove(database_t *d, kv_write_t *w);
static int kv_sqlite_run_expire(database_t *d, kv_write_t *w);
static int kv_sqlite_run_incr(database_t *d, kv_write_t *w);
static int kv_sqlite_add(database_t *d, kv_write_t *w);
static int kv_sqlite_read_number(database_t *d, kv_write_t *w);
static void kv_sqlite_bind(sqlite3_stmt *stmt, const kv_write_t *w);
static int kv_sqlite_changed(database_t *d, sqlite3_stmt *stmt,
    kv_write_t *w, int otherwise);


const kv_engine_t  kv_sqlite = {
    .name = "sqlite",
    .get = kv_sqlite_get,
    .set = kv_sqlite_set,
    .remove = kv_sqlite_remove,
    .incr = kv_sqlite_incr,
    .expire = kv_sqlite_expire,
    .scan = kv_sqlite_scan,
};


void
kv_sqlite_init(kv_t *kv, database_t *d, int readonly)
{
    kv->engine = &kv_sqlite;
    kv->data = d;
    kv->readonly = readonly != 0;
}


int
kv_sqlite_enter(kv_t *kv, const baas_scope_t *scope, database_t **d)
{
    *d = kv->data;

    if (database_is_ours(*d)) {
        (*d)->deadline_ms = scope->deadline_ms;
    }

    return database_enter(*d);
}


/* -- one key --------------------------------------------------------------- */

static int
kv_sqlite_get(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_kv_entry_t *entry)
{
    int            rc, code;
    int64_t        now_ms;
    database_t    *d;
    sqlite3_stmt  *stmt;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    now_ms = kv_now_ms();

    stmt = database_statement(d, DATABASE_KV_GET,
        "SELECT version, expires_ms, value FROM main.faas_kv "
        "WHERE key = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt != NULL) {
        kv_sqlite_bind_bytes(stmt, 1, key);
        sqlite3_bind_int64(stmt, 2, now_ms);
        rc = database_step(d, stmt);
    }

    if (rc == SQLITE_ROW) {
        code = kv_sqlite_read(scope, stmt, now_ms, entry);

    } else if (rc == SQLITE_DONE
               || (rc == SQLITE_ERROR && database_lacks(d, DATABASE_KV)))
    {
        code = FAAS_ENOTFOUND;

    } else {
        code = database_error(d, rc);
    }

    if (stmt != NULL) {
        (void) database_finish(stmt, SQLITE_OK);
    }

    return code;
}


static int
kv_sqlite_read(const baas_scope_t *scope, sqlite3_stmt *stmt, int64_t now_ms,
    faas_kv_entry_t *entry)
{
    char        *copy;
    size_t       size;
    const void  *value;

    value = sqlite3_column_blob(stmt, 2);
    size = (size_t) sqlite3_column_bytes(stmt, 2);

    copy = scope->alloc(scope->data, size + 1);

    if (copy == NULL || (value == NULL && size != 0)) {
        return FAAS_EFULL;
    }

    if (size != 0) {
        memcpy(copy, value, size);
    }

    copy[size] = '\0';

    entry->version = (uint64_t) sqlite3_column_int64(stmt, 0);
    entry->ttl_ms = kv_sqlite_ttl(stmt, 1, now_ms);
    entry->value.data = copy;
    entry->value.size = size;

    return FAAS_OK;
}


static int
kv_sqlite_set(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.value = value;
    w.now_ms = kv_now_ms();
    w.expires_ms = ttl_ms ? w.now_ms + ttl_ms : 0;
    w.expected = expected;
    w.version = kv_version();

    rc = kv_sqlite_write(d, &w,
                         expected == KV_ANY ? kv_sqlite_run_set
                         : expected == 0 ? kv_sqlite_run_create
                         : kv_sqlite_run_replace);

    if (rc == FAAS_OK) {
        *version = w.version;
    }

    return rc;
}


static int
kv_sqlite_remove(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.now_ms = kv_now_ms();

    return kv_sqlite_write(d, &w, kv_sqlite_run_remove);
}


static int
kv_sqlite_incr(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t by, int64_t *sum)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.now_ms = kv_now_ms();
    w.version = kv_version();
    w.number = by;

    rc = kv_sqlite_write(d, &w, kv_sqlite_run_incr);

    if (rc == FAAS_OK) {
        *sum = w.number;
    }

    return rc;
}


static int
kv_sqlite_expire(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t ttl_ms)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.now_ms = kv_now_ms();
    w.expires_ms = ttl_ms ? w.now_ms + ttl_ms : 0;

    return kv_sqlite_write(d, &w, kv_sqlite_run_expire);
}


/* -- writes ---------------------------------------------------------------- */

static int
kv_sqlite_write(database_t *d, kv_write_t *w,
    int (*run)(database_t *d, kv_write_t *w))
{
    int      rc;
    int64_t  by;

    by = w->number;
    w->code = FAAS_OK;

    rc = run(d, w);

    if (rc == SQLITE_ERROR && database_lacks(d, DATABASE_KV)) {

        rc = database_make(d, DATABASE_KV);

        if (rc == SQLITE_OK) {
            w->number = by;
            rc = run(d, w);
        }
    }

    return rc == SQLITE_OK ? w->code : database_error(d, rc);
}


static int
kv_sqlite_run_set(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_SET,
        "INSERT INTO main.faas_kv (key, version, expires_ms, value) "
        "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET "
        "version = ?2, expires_ms = ?3, value = ?4", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind(stmt, w);

    return database_finish(stmt, database_step(d, stmt));
}


/* an expired row counts as none */

static int
kv_sqlite_run_create(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_CREATE,
        "INSERT INTO main.faas_kv (key, version, expires_ms, value) "
        "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET "
        "version = ?2, expires_ms = ?3, value = ?4 "
        "WHERE faas_kv.expires_ms <= ?5", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind(stmt, w);
    sqlite3_bind_int64(stmt, 5, w->now_ms);

    return kv_sqlite_changed(d, stmt, w, FAAS_ECONFLICT);
}


static int
kv_sqlite_run_replace(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_REPLACE,
        "UPDATE main.faas_kv SET version = ?2, expires_ms = ?3, value = ?4 "
        "WHERE key = ?1 AND version = ?6 "
        "AND (expires_ms IS NULL OR expires_ms > ?5)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind(stmt, w);
    sqlite3_bind_int64(stmt, 5, w->now_ms);
    sqlite3_bind_int64(stmt, 6, (sqlite3_int64) w->expected);

    return kv_sqlite_changed(d, stmt, w, FAAS_ECONFLICT);
}


static int
kv_sqlite_run_remove(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_REMOVE,
        "DELETE FROM main.faas_kv WHERE key = ?1 "
        "AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, w->now_ms);

    return kv_sqlite_changed(d, stmt, w, FAAS_ENOTFOUND);
}


static int
kv_sqlite_run_expire(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_EXPIRE,
        "UPDATE main.faas_kv SET expires_ms = ?3 WHERE key = ?1 "
        "AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, w->now_ms);

    if (w->expires_ms) {
        sqlite3_bind_int64(stmt, 3, w->expires_ms);
    }

    return kv_sqlite_changed(d, stmt, w, FAAS_ENOTFOUND);
}


static int
kv_sqlite_run_incr(database_t *d, kv_write_t *w)
{
    int  rc, begun;

    begun = sqlite3_get_autocommit(d->db);

    if (begun) {
        rc = database_begin_write(d);
        if (rc != SQLITE_OK) {
            return rc;
        }
    }

    rc = kv_sqlite_add(d, w);

    if (!begun) {
        return rc;
    }

    if (rc == SQLITE_OK && w->code == FAAS_OK) {
        rc = database_commit(d);
    }

    database_rollback(d);

    return rc;
}


static int
kv_sqlite_add(database_t *d, kv_write_t *w)
{
    int   rc;
    char  text[24];

    rc = kv_sqlite_read_number(d, w);

    if (rc != SQLITE_OK || w->code != FAAS_OK) {
        return rc;
    }

    w->value.data = text;
    w->value.size = (size_t) snprintf(text, sizeof(text), "%lld",
                                      (long long) w->number);

    rc = kv_sqlite_run_set(d, w);

    w->value.data = NULL;
    w->value.size = 0;

    return rc;
}


/* adds what is stored, and finds out until when it lives */

static int
kv_sqlite_read_number(database_t *d, kv_write_t *w)
{
    int            rc, size;
    int64_t        number;
    const void    *data;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_NUMBER,
        "SELECT expires_ms, value FROM main.faas_kv "
        "WHERE key = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, w->now_ms);

    rc = database_step(d, stmt);

    if (rc == SQLITE_ROW) {
        w->expires_ms = sqlite3_column_int64(stmt, 0);    /* NULL is 0 */

        data = sqlite3_column_blob(stmt, 1);
        size = sqlite3_column_bytes(stmt, 1);

        w->code = data == NULL ? FAAS_EINVAL
                               : kv_number(data, (size_t) size, &number);

        if (w->code == FAAS_OK) {
            w->code = kv_add(number, w->number, &w->number);
        }
    }

    return database_finish(stmt, rc);
}


/* key, version, expiry and value are 1 to 4 */

static void
kv_sqlite_bind(sqlite3_stmt *stmt, const kv_write_t *w)
{
    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64) w->version);

    if (w->expires_ms) {
        sqlite3_bind_int64(stmt, 3, w->expires_ms);
    }

    kv_sqlite_bind_bytes(stmt, 4, w->value);
}


/* none is an empty blob, not NULL; the bytes outlive the statement's run */

void
kv_sqlite_bind_bytes(sqlite3_stmt *stmt, int i, faas_bytes_t b)
{
    if (b.size == 0) {
        sqlite3_bind_zeroblob(stmt, i, 0);
        return;
    }

    sqlite3_bind_blob(stmt, i, b.data, (int) b.size, SQLITE_STATIC);
}


/* runs a write that may change nothing, which means `otherwise` */

static int
kv_sqlite_changed(database_t *d, sqlite3_stmt *stmt, kv_write_t *w,
    int otherwise)
{
    int  rc;

    rc = database_finish(stmt, database_step(d, stmt));

    if (rc == SQLITE_OK && sqlite3_changes(d->db) == 0) {
        w->code = otherwise;
    }

    return rc;
}


int64_t
kv_sqlite_ttl(sqlite3_stmt *stmt, int column, int64_t now_ms)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL) {
        return 0;
    }

    return sqlite3_column_int64(stmt, column) - now_ms;
}
