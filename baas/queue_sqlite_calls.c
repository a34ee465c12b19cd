
/*
 * Records of async calls.
 */


#include <string.h>

#include "queue_sqlite.h"


#define QS_HASH_SIZE  32


static int queue_sqlite_call_known(queue_sqlite_t *s, const queue_call_t *c,
    const char *function, const char *key, char *id);
static int queue_sqlite_call_read(queue_sqlite_t *s, sqlite3_stmt *st,
    queue_call_t *c, queue_alloc_pt alloc, void *data);


int
queue_sqlite_call_submit(queue_t *q, const queue_call_t *c,
    const queue_message_t *m, char *id, int64_t now_ms, int64_t deadline_ms)
{
    int              code;
    char             function[QUEUE_NAME_SIZE];
    const char      *key;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    code = queue_call_check(c, function);

    if (code == FAAS_OK) {
        code = queue_message_check(m);
    }

    if (code == FAAS_OK) {
        code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);
    }

    if (code != FAAS_OK) {
        return code;
    }

    key = c->idempotency[0] != '\0' ? c->idempotency : NULL;

    code = queue_sqlite_run(s, QS_CALL_EXPIRE_KEY, "ttti", c->id, function,
                            key, now_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_call_known(s, c, function, key, id);
    }

    if (code == FAAS_ENOTFOUND) {
        strcpy(id, c->id);

        code = queue_sqlite_run(s, QS_CALL_ADD, "tttbiib", c->id, function,
                                key, c->hash, (size_t) QS_HASH_SIZE,
                                (int64_t) c->state, c->expires_ms, c->data,
                                c->size);
        if (code == FAAS_OK) {
            code = queue_sqlite_put(s, m, now_ms, NULL);
        }
    }

    return queue_sqlite_end(s, code);
}


/* FAAS_OK: there is one of the same hash, its id in id */

static int
queue_sqlite_call_known(queue_sqlite_t *s, const queue_call_t *c,
    const char *function, const char *key, char *id)
{
    int            code;
    const char    *known;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_CALL_FIND, "ttt", c->id, function,
                            key);
    if (code != FAAS_OK) {
        return code;
    }

    known = (const char *) sqlite3_column_text(st, 0);

    if (known == NULL) {
        code = queue_sqlite_failed(s, SQLITE_NOMEM);

    } else if (sqlite3_column_bytes(st, 1) != QS_HASH_SIZE
               || memcmp(sqlite3_column_blob(st, 1), c->hash, QS_HASH_SIZE)
                  != 0)
    {
        code = FAAS_ECONFLICT;

    } else {
        (void) sqlite3_snprintf(QUEUE_CALL_ID_SIZE, id, "%s", known);
    }

    queue_sqlite_done(st);

    return code;
}


int
queue_sqlite_call_get(queue_t *q, const char *id, queue_call_t *c,
    queue_alloc_pt alloc, void *data, int64_t now_ms, int64_t deadline_ms)
{
    int              code;
    sqlite3_stmt    *st;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    code = queue_sqlite_begin(s, QS_BEGIN, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_row(s, &st, QS_CALL_GET, "ti", id, now_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_call_read(s, st, c, alloc, data);
        queue_sqlite_done(st);
    }

    return queue_sqlite_end(s, code);
}


static int
queue_sqlite_call_read(queue_sqlite_t *s, sqlite3_stmt *st, queue_call_t *c,
    queue_alloc_pt alloc, void *data)
{
    memset(c, 0, sizeof(*c));

    if (sqlite3_column_bytes(st, 2) != QS_HASH_SIZE) {
        return queue_sqlite_failed(s, SQLITE_CORRUPT);
    }

    c->id = queue_sqlite_copy(st, 0, alloc, data);
    c->idempotency = queue_sqlite_copy(st, 1, alloc, data);
    c->hash = queue_sqlite_copy(st, 2, alloc, data);
    c->state = (uint32_t) sqlite3_column_int64(st, 3);
    c->expires_ms = sqlite3_column_int64(st, 4);
    c->data = queue_sqlite_copy(st, 5, alloc, data);
    c->size = (size_t) sqlite3_column_bytes(st, 5);

    if (c->id == NULL || c->idempotency == NULL || c->hash == NULL
        || c->data == NULL)
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


int
queue_sqlite_call_put(queue_t *q, const queue_call_t *c, uint32_t from,
    int64_t now_ms, int64_t deadline_ms)
{
    int              code;
    sqlite3_stmt    *st;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    if (c->size > QUEUE_DATA_MAX) {
        return FAAS_ETOOLARGE;
    }

    code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_run(s, QS_CALL_PUT, "tibiii", c->id,
                            (int64_t) c->state, c->data, c->size,
                            c->expires_ms, now_ms, (int64_t) from);

    if (code == FAAS_OK && queue_sqlite_changes(s) == 0) {
        code = queue_sqlite_row(s, &st, QS_CALL_IS, "ti", c->id, now_ms);

        if (code == FAAS_OK) {
            queue_sqlite_done(st);
            code = FAAS_ECONFLICT;
        }
    }

    return queue_sqlite_end(s, code);
}
