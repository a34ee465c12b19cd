
/*
 * Effects once: all that a handler did in its own database commits together
 * with its response.  What it sent commits with them into the outbox, and is
 * said to the events process afterwards: here for a moment, and by the
 * database's tender what is left then.
 */


#include <string.h>

#include "baas_inner.h"


/* the response is not held up for longer than this */
#define BAAS_OUTBOX_MS  250


static int baas_once_open(baas_t *b, database_t **d);
static void baas_outbox_flush(baas_t *b, database_t *d);
static int baas_outbox_say(uint32_t operation, faas_bytes_t payload,
    void *data);


/* of one flush */

typedef struct {
    baas_t                   *b;
    client_t                 *client;
    baas_scope_t              scope;       /* with a deadline of its own */
} baas_flush_t;


int
baas_once_begin(baas_t *b, const char *key, const uint8_t hash[32],
    faas_bytes_t *response)
{
    int          rc;
    database_t  *d;

    rc = baas_check(b);

    if (rc != FAAS_OK) {
        return rc;
    }

    if (b->once) {
        return FAAS_EINVAL;
    }

    d = baas_own(b, &rc);

    if (d == NULL) {
        return rc;
    }

    rc = database_once_begin(d, key, hash, b->scope, response);

    b->once = rc == FAAS_OK;
    b->outbox = 0;

    return rc;
}


int
baas_once_commit(baas_t *b, faas_bytes_t response)
{
    int          rc;
    database_t  *d;

    rc = baas_once_open(b, &d);

    if (rc != FAAS_OK) {
        return rc;
    }

    b->once = 0;

    rc = database_once_commit(d, response);

    if (rc == FAAS_OK && b->outbox) {
        baas_outbox_flush(b, d);
    }

    return rc;
}


void
baas_once_abort(baas_t *b)
{
    database_t  *d;

    if (baas_once_open(b, &d) == FAAS_OK) {
        b->once = 0;
        database_once_abort(d);
    }
}


static int
baas_once_open(baas_t *b, database_t **d)
{
    int  rc;

    rc = baas_check(b);

    if (rc != FAAS_OK) {
        return rc;
    }

    if (!b->once) {
        return FAAS_EINVAL;
    }

    *d = baas_own(b, &rc);

    return rc;
}


static void
baas_outbox_flush(baas_t *b, database_t *d)
{
    int           rc;
    int64_t       limit_ms;
    baas_flush_t  flush;

    flush.b = b;
    flush.client = baas_client(b, &rc);

    if (flush.client == NULL) {
        return;
    }

    flush.scope = *b->scope;

    limit_ms = baas_now_ms() + BAAS_OUTBOX_MS;

    if (limit_ms < flush.scope.deadline_ms) {
        flush.scope.deadline_ms = limit_ms;
    }

    (void) database_outbox(d, 0, baas_outbox_say, &flush);
}


/* 0: it can be forgotten */

static int
baas_outbox_say(uint32_t operation, faas_bytes_t payload, void *data)
{
    baas_flush_t       *flush;
    client_question_t   q;

    flush = data;

    q.operation = operation;
    q.payload = payload;

    client_ask(flush->client, &q, 1, &flush->scope);

    switch (q.code) {

    case FAAS_OK:
        return 0;

    case FAAS_EINVAL:
    case FAAS_ETOOLARGE:
    case FAAS_ENOTFOUND:
        /* it will never be taken, and what is behind it shall be */
        baas_log(flush->b, "faas: a message that was committed is refused: %s",
                 faas_error(q.code));
        return 0;

    default:
        return q.code;
    }
}
