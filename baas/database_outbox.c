
#include <stdlib.h>
#include <string.h>

#include "database_inner.h"


#define OUTBOX_BATCH   32
#define OUTBOX_BYTES   (1024 * 1024)

/* what was put that far in the future was put before the clock was set back */
#define OUTBOX_FUTURE  (60 * 1000)


typedef struct {
    int64_t                   id;
    uint32_t                  operation;
    size_t                    at;          /* of the payload, in bytes */
    size_t                    size;
} database_outbox_message_t;


typedef struct {
    database_outbox_message_t  message[OUTBOX_BATCH];
    uint32_t                   n;
    char                      *bytes;
    size_t                     size;
    size_t                     room;
} database_outbox_batch_t;


static int database_outbox_read(database_t *d, int64_t after, int64_t age_ms,
    database_outbox_batch_t *b);
static int database_outbox_add(database_outbox_batch_t *b,
    sqlite3_stmt *stmt);
static int database_outbox_remove(database_t *d,
    const database_outbox_batch_t *b, uint32_t n);


int
database_outbox_put(database_t *d, uint32_t operation, faas_bytes_t payload)
{
    int            rc;
    sqlite3_stmt  *stmt;

    rc = database_enter(d);
    if (rc != FAAS_OK) {
        return rc;
    }

    if (database_lacks(d, DATABASE_OUTBOX)) {
        rc = database_make(d, DATABASE_OUTBOX);
        if (rc != SQLITE_OK) {
            return database_error(d, rc);
        }
    }

    stmt = database_statement(d, DATABASE_OUTBOX_PUT,
        "INSERT INTO main.faas_outbox (put_ms, operation, payload) "
        "VALUES (?1, ?2, ?3)", &rc);

    if (stmt == NULL) {
        return database_error(d, rc);
    }

    sqlite3_bind_int64(stmt, 1, kv_now_ms());
    sqlite3_bind_int64(stmt, 2, operation);

    if (payload.size != 0) {
        rc = sqlite3_bind_blob64(stmt, 3, payload.data, payload.size,
                                 SQLITE_STATIC);

    } else {
        rc = sqlite3_bind_zeroblob(stmt, 3, 0);
    }

    if (rc == SQLITE_OK) {
        rc = database_step(d, stmt);
    }

    rc = database_finish(stmt, rc);

    return rc == SQLITE_OK ? FAAS_OK : database_error(d, rc);
}


int
database_outbox_has(database_t *d)
{
    int            rc;
    sqlite3_stmt  *stmt;

    rc = database_enter(d);
    if (rc != FAAS_OK) {
        return rc;
    }

    stmt = database_statement(d, DATABASE_OUTBOX_HAS,
                              "SELECT 1 FROM main.faas_outbox LIMIT 1", &rc);

    if (stmt != NULL) {
        rc = database_step(d, stmt);
        (void) database_finish(stmt, SQLITE_OK);
    }

    if (rc == SQLITE_ROW) {
        return 1;
    }

    if (rc == SQLITE_DONE
        || (rc == SQLITE_ERROR && database_lacks(d, DATABASE_OUTBOX)))
    {
        return 0;
    }

    return database_error(d, rc);
}


int
database_outbox(database_t *d, int64_t age_ms,
    int (*each)(uint32_t operation, faas_bytes_t payload, void *data),
    void *data)
{
    int                      rc, removed;
    int64_t                  after;
    uint32_t                 i;
    faas_bytes_t             payload;
    database_outbox_batch_t  b;

    rc = database_outbox_has(d);

    if (rc != 1) {
        return rc;
    }

    if (!sqlite3_get_autocommit(d->db)) {
        return FAAS_EINVAL;
    }

    memset(&b, 0, sizeof(b));

    after = 0;

    do {
        rc = database_outbox_read(d, after, age_ms, &b);
        if (rc != FAAS_OK || b.n == 0) {
            break;
        }

        for (i = 0; i < b.n && rc == FAAS_OK; i++) {
            payload.data = b.bytes + b.message[i].at;
            payload.size = b.message[i].size;

            rc = each(b.message[i].operation, payload, data);
        }

        after = b.message[b.n - 1].id;

        /* all but the one that was not sent */

        removed = database_outbox_remove(d, &b, rc == FAAS_OK ? i : i - 1);

        if (removed != SQLITE_OK && rc == FAAS_OK) {
            rc = database_error(d, removed);
        }

    } while (rc == FAAS_OK);

    free(b.bytes);

    return rc;
}


static int
database_outbox_read(database_t *d, int64_t after, int64_t age_ms,
    database_outbox_batch_t *b)
{
    int            rc, code;
    int64_t        now_ms;
    sqlite3_stmt  *stmt;

    b->n = 0;
    b->size = 0;

    stmt = database_statement(d, DATABASE_OUTBOX_GET,
        "SELECT id, operation, payload FROM main.faas_outbox "
        "WHERE id > ?1 AND (put_ms <= ?2 OR put_ms > ?3) ORDER BY id", &rc);

    if (stmt == NULL) {
        return database_error(d, rc);
    }

    now_ms = kv_now_ms();
    code = FAAS_OK;

    sqlite3_bind_int64(stmt, 1, after);
    sqlite3_bind_int64(stmt, 2, now_ms - age_ms);
    sqlite3_bind_int64(stmt, 3, now_ms + OUTBOX_FUTURE);

    do {
        rc = database_step(d, stmt);

        if (rc == SQLITE_ROW) {
            code = database_outbox_add(b, stmt);

        } else if (rc != SQLITE_DONE) {
            code = database_error(d, rc);
        }

    } while (rc == SQLITE_ROW && code == FAAS_OK && b->n < OUTBOX_BATCH
             && b->size < OUTBOX_BYTES);

    (void) database_finish(stmt, SQLITE_OK);

    return code;
}


static int
database_outbox_add(database_outbox_batch_t *b, sqlite3_stmt *stmt)
{
    char                       *bytes;
    size_t                      size, room;
    const void                 *payload;
    database_outbox_message_t  *m;

    payload = sqlite3_column_blob(stmt, 2);
    size = (size_t) sqlite3_column_bytes(stmt, 2);

    if (payload == NULL && size != 0) {
        return FAAS_EFULL;
    }

    room = b->size + size + 1;

    if (b->bytes == NULL || room > b->room) {
        bytes = realloc(b->bytes, room + room / 2);
        if (bytes == NULL) {
            return FAAS_EFULL;
        }

        b->bytes = bytes;
        b->room = room + room / 2;
    }

    m = &b->message[b->n++];

    m->id = sqlite3_column_int64(stmt, 0);
    m->operation = (uint32_t) sqlite3_column_int64(stmt, 1);
    m->at = b->size;
    m->size = size;

    if (size != 0) {
        memcpy(b->bytes + b->size, payload, size);
    }

    b->size += size;

    return FAAS_OK;
}


/* the first n, all or none; what is not removed is sent once more */

static int
database_outbox_remove(database_t *d, const database_outbox_batch_t *b,
    uint32_t n)
{
    int            rc;
    uint32_t       i;
    sqlite3_stmt  *stmt;

    if (n == 0) {
        return SQLITE_OK;
    }

    stmt = database_statement(d, DATABASE_OUTBOX_REMOVE,
                              "DELETE FROM main.faas_outbox WHERE id = ?1",
                              &rc);

    if (stmt == NULL) {
        return rc;
    }

    rc = database_begin_write(d);

    for (i = 0; i < n && rc == SQLITE_OK; i++) {
        sqlite3_bind_int64(stmt, 1, b->message[i].id);
        rc = database_finish(stmt, database_step(d, stmt));
    }

    if (rc == SQLITE_OK) {
        rc = database_commit(d);
    }

    database_rollback(d);

    return rc;
}
