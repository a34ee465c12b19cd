
#include <string.h>

#include "database_inner.h"


#define ONCE_KEPT_MS  (24ll * 3600 * 1000)
#define ONCE_KEY_MAX  512


static int database_once_look(database_t *d, const char *key,
    const uint8_t hash[32], const baas_scope_t *scope,
    faas_bytes_t *response);
static int database_once_read(sqlite3_stmt *stmt, const uint8_t hash[32],
    const baas_scope_t *scope, faas_bytes_t *response);
static int database_once_put(database_t *d, faas_bytes_t response);
static int database_once_hook(void *data);


int
database_once_begin(database_t *d, const char *key, const uint8_t hash[32],
    const baas_scope_t *scope, faas_bytes_t *response)
{
    int  rc;

    rc = database_enter(d);
    if (rc != FAAS_OK) {
        return rc;
    }

    if (key[0] == '\0' || d->mode != DATABASE_FREE
        || !sqlite3_get_autocommit(d->db))
    {
        return FAAS_EINVAL;
    }

    if (strlen(key) > ONCE_KEY_MAX) {
        return FAAS_ETOOLARGE;
    }

    d->deadline_ms = scope->deadline_ms;

    /* outside the transaction, so that it does not go with a handler's
       failure */

    if (database_lacks(d, DATABASE_ONCE)) {
        rc = database_make(d, DATABASE_ONCE);
        if (rc != SQLITE_OK) {
            return database_error(d, rc);
        }
    }

    rc = database_begin_write(d);
    if (rc != SQLITE_OK) {
        return database_error(d, rc);
    }

    rc = database_once_look(d, key, hash, scope, response);

    if (rc == FAAS_OK) {
        d->once_key = sqlite3_mprintf("%s", key);

        if (d->once_key == NULL) {
            rc = FAAS_EFULL;
        }
    }

    if (rc != FAAS_OK) {
        database_rollback(d);
        return rc;
    }

    memcpy(d->once_hash, hash, 32);
    d->mode = DATABASE_IN_ONCE;
    d->committing = 0;

    sqlite3_commit_hook(d->db, database_once_hook, d);

    return FAAS_OK;
}


/* FAAS_OK: not answered yet */

static int
database_once_look(database_t *d, const char *key, const uint8_t hash[32],
    const baas_scope_t *scope, faas_bytes_t *response)
{
    int            rc, code;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_ONCE_GET,
        "SELECT hash, response FROM main.faas_once "
        "WHERE key = ?1 AND expires_ms > ?2", &rc);

    if (stmt == NULL) {
        return database_error(d, rc);
    }

    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, kv_now_ms());

    rc = database_step(d, stmt);

    switch (rc) {

    case SQLITE_ROW:
        code = database_once_read(stmt, hash, scope, response);
        break;

    case SQLITE_DONE:
        code = FAAS_OK;
        break;

    default:
        code = database_error(d, rc);
    }

    (void) database_finish(stmt, SQLITE_OK);

    return code;
}


/* 1: *response is the answer; it is zero-terminated behind its end */

static int
database_once_read(sqlite3_stmt *stmt, const uint8_t hash[32],
    const baas_scope_t *scope, faas_bytes_t *response)
{
    char        *copy;
    size_t       size;
    const void  *data;

    data = sqlite3_column_blob(stmt, 0);

    if (data == NULL || sqlite3_column_bytes(stmt, 0) != 32
        || memcmp(data, hash, 32) != 0)
    {
        return FAAS_ECONFLICT;
    }

    data = sqlite3_column_blob(stmt, 1);
    size = (size_t) sqlite3_column_bytes(stmt, 1);

    copy = scope->alloc(scope->data, size + 1);

    if (copy == NULL || (data == NULL && size != 0)) {
        return FAAS_EFULL;
    }

    if (size != 0) {
        memcpy(copy, data, size);
    }

    copy[size] = '\0';

    response->data = copy;
    response->size = size;

    return 1;
}


int
database_once_commit(database_t *d, faas_bytes_t response)
{
    int  rc, code;

    rc = database_enter(d);
    if (rc != FAAS_OK) {
        return rc;
    }

    if (d->mode != DATABASE_IN_ONCE) {
        return FAAS_EINVAL;
    }

    /* rolled back by the function in a way that the authorizer does not see,
       or by SQLite (a full disk, the deadline): nothing is there to commit */

    if (sqlite3_get_autocommit(d->db)) {
        database_once_abort(d);
        return FAAS_ERROR;
    }

    rc = database_once_put(d, response);

    if (rc == SQLITE_OK) {
        d->committing = 1;
        rc = database_commit(d);
    }

    code = rc == SQLITE_OK ? FAAS_OK : database_error(d, rc);

    database_once_abort(d);

    return code;
}


static int
database_once_put(database_t *d, faas_bytes_t response)
{
    int            rc;
    sqlite3_stmt  *stmt;

    /* what is there with the same key has expired */

    stmt = database_statement(d, DATABASE_ONCE_PUT,
        "INSERT OR REPLACE INTO main.faas_once "
        "(key, expires_ms, hash, response) VALUES (?1, ?2, ?3, ?4)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    sqlite3_bind_text(stmt, 1, d->once_key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, kv_now_ms() + ONCE_KEPT_MS);
    sqlite3_bind_blob(stmt, 3, d->once_hash, 32, SQLITE_STATIC);

    if (response.size != 0) {
        rc = sqlite3_bind_blob64(stmt, 4, response.data, response.size,
                                 SQLITE_STATIC);

    } else {
        rc = sqlite3_bind_zeroblob(stmt, 4, 0);
    }

    if (rc == SQLITE_OK) {
        rc = database_step(d, stmt);
    }

    return database_finish(stmt, rc);
}


/* also after a commit: what is left then is nothing */

void
database_once_abort(database_t *d)
{
    if (!database_is_ours(d) || d->mode != DATABASE_IN_ONCE) {
        return;
    }

    database_rollback(d);
    database_once_forget(d);
}


void
database_once_forget(database_t *d)
{
    if (d->mode != DATABASE_IN_ONCE) {
        return;
    }

    sqlite3_commit_hook(d->db, NULL, NULL);
    sqlite3_free(d->once_key);

    d->once_key = NULL;
    d->mode = DATABASE_FREE;
}


/*
 * A COMMIT that the function compiled before, or a write after a ROLLBACK of
 * that kind, which would be a transaction of its own, becomes a rollback.
 */

static int
database_once_hook(void *data)
{
    database_t  *d = data;

    return !d->committing;
}
