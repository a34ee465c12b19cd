
/*
 * Records of async calls.  They expire by themselves, and so does what an
 * idempotency key stands for, at the same time.
 */


#include <stdlib.h>
#include <string.h>

#include "queue_redis.h"
#include "wire.h"


#define QR_HASH  32


static int qr_call_try(queue_redis_t *e, const queue_call_t *c,
    const queue_message_t *m, const char *queue, char *id, int64_t now_ms,
    int64_t deadline_ms);
static int qr_call_known(queue_redis_t *e, const queue_call_t *c, char *id,
    int64_t now_ms);
static int qr_call_same(const redisReply *hash, const queue_call_t *c);
static void qr_call_queue(const char *id, char queue[QUEUE_NAME_SIZE]);


int
qr_call_submit(queue_t *q, const queue_call_t *c, const queue_message_t *m,
    char *id, int64_t now_ms, int64_t deadline_ms)
{
    int             rc;
    char            queue[QUEUE_NAME_SIZE];
    queue_redis_t  *e;

    e = (queue_redis_t *) q;

    queue[0] = '@';
    rc = queue_call_check(c, queue + 1);

    if (rc == FAAS_OK) {
        rc = queue_message_check(m);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    if (strcmp(queue, m->queue) != 0) {
        return FAAS_EINVAL;
    }

    rc = qr_listed(e, queue, deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    do {
        rc = qr_call_try(e, c, m, queue, id, now_ms, deadline_ms);
    } while (rc == FAAS_EBUSY && !qr_is_late(deadline_ms));

    return rc;
}


static int
qr_call_try(queue_redis_t *e, const queue_call_t *c, const queue_message_t *m,
    const char *queue, char *id, int64_t now_ms, int64_t deadline_ms)
{
    int              rc;
    char             record_buf[QR_KEY_SIZE], key_buf[QR_KEY_SIZE];
    char             buf[QR_KEY_SIZE], number[2][REDIS_NUMBER];
    faas_bytes_t     record, key, hash, data, expires;
    queue_message_t  sent;

    record = qr_key(e, record_buf, queue, "c", c->id);
    key = qr_key(e, key_buf, queue, "k",
                 *c->idempotency ? c->idempotency : c->id);

    qr_begin(e);
    qr_add(e, faas_text("WATCH"), record, key);
    qr_add(e, faas_text("HMGET"), record, faas_text("h"), faas_text("e"));
    qr_add(e, faas_text("HMGET"), key, faas_text("h"), faas_text("e"),
           faas_text("i"));

    rc = qr_run(e, record, REDIS_WATCH, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc == FAAS_OK) {
        rc = qr_call_known(e, c, id, now_ms);
    }

    if (rc != FAAS_ENOTFOUND) {
        return rc;
    }

    expires = redis_number(number[1], c->expires_ms);
    hash.data = c->hash;
    hash.size = QR_HASH;
    data.data = c->data;
    data.size = c->size;

    sent = *m;

    if (sent.sent_ms == 0) {
        sent.sent_ms = now_ms;
    }

    qr_multi(e);
    qr_add(e, faas_text("HSET"), record, faas_text("s"),
           redis_number(number[0], c->state), faas_text("h"), hash,
           faas_text("k"), faas_text(c->idempotency), faas_text("d"), data,
           faas_text("e"), expires);
    qr_add(e, faas_text("PEXPIREAT"), record, expires);

    if (*c->idempotency) {
        qr_add(e, faas_text("HSET"), key, faas_text("h"), hash,
               faas_text("i"), faas_text(c->id), faas_text("e"), expires);
        qr_add(e, faas_text("PEXPIREAT"), key, expires);
    }

    qr_put(e, &sent, 0, 0, sent.due_ms, now_ms);
    qr_add(e, faas_text("SET"), qr_key(e, buf, queue, "m", sent.id),
           faas_text("1"));

    rc = qr_exec(e, record, queue, 1, deadline_ms);

    if (rc == FAAS_OK) {
        strcpy(id, c->id);
    }

    /* another one with that key was faster: its record tells */

    return rc == FAAS_ECONFLICT ? FAAS_EBUSY : rc;
}


/*
 * FAAS_OK with the earlier id, FAAS_ECONFLICT, or FAAS_ENOTFOUND.  What has
 * expired by the caller's clock is not there, though Redis may still have it
 * for a moment.
 */

static int
qr_call_known(queue_redis_t *e, const queue_call_t *c, char *id,
    int64_t now_ms)
{
    size_t             size;
    int64_t            expires_ms;
    const char        *earlier;
    const redisReply  *reply;

    reply = redis_answer(e->redis, 1);

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return FAAS_ECORRUPT;
    }

    if (qr_number(reply->element[1], &expires_ms) == FAAS_OK
        && expires_ms > now_ms)
    {
        strcpy(id, c->id);

        return qr_call_same(reply->element[0], c);
    }

    reply = redis_answer(e->redis, 2);

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        return FAAS_ECORRUPT;
    }

    earlier = redis_reply_text(reply->element[2], &size);

    if (earlier == NULL
        || qr_number(reply->element[1], &expires_ms) != FAAS_OK
        || expires_ms <= now_ms)
    {
        return FAAS_ENOTFOUND;
    }

    if (size >= QUEUE_CALL_ID_SIZE) {
        return FAAS_ECORRUPT;
    }

    memcpy(id, earlier, size);
    id[size] = '\0';

    return qr_call_same(reply->element[0], c);
}


static int
qr_call_same(const redisReply *hash, const queue_call_t *c)
{
    size_t       size;
    const char  *text;

    text = redis_reply_text(hash, &size);

    return text && size == QR_HASH && memcmp(text, c->hash, QR_HASH) == 0
           ? FAAS_OK : FAAS_ECONFLICT;
}


int
qr_call_get(queue_t *q, const char *id, queue_call_t *c, queue_alloc_pt alloc,
    void *data, int64_t now_ms, int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE], queue[QUEUE_NAME_SIZE], *p;
    size_t             i, size[3];
    int64_t            state;
    const char        *text[3];
    faas_bytes_t       key;
    queue_redis_t     *e;
    const redisReply  *reply;

    /* k, h, d */
    static const char *const  fields[] = { "k", "h", "d" };

    e = (queue_redis_t *) q;
    memset(c, 0, sizeof(queue_call_t));

    qr_call_queue(id, queue);
    key = qr_key(e, buf, queue, "c", id);

    qr_begin(e);
    qr_add(e, faas_text("HGETALL"), key);

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    reply = redis_answer(e->redis, 0);

    if (reply->elements == 0) {
        return FAAS_ENOTFOUND;
    }

    for (i = 0; i < 3; i++) {
        text[i] = redis_reply_text(qr_field(reply, fields[i]), &size[i]);
    }

    if (text[0] == NULL || text[1] == NULL || size[1] != QR_HASH
        || text[2] == NULL
        || qr_number(qr_field(reply, "s"), &state) != FAAS_OK
        || qr_number(qr_field(reply, "e"), &c->expires_ms) != FAAS_OK)
    {
        return FAAS_ECORRUPT;
    }

    if (c->expires_ms <= now_ms) {
        return FAAS_ENOTFOUND;
    }

    p = alloc(data, strlen(id) + 1 + size[0] + 1 + size[1] + size[2] + 1);
    if (p == NULL) {
        return FAAS_ERROR;
    }

    c->state = (uint32_t) state;

    c->id = p;
    strcpy(p, id);
    p += strlen(id) + 1;

    c->idempotency = p;
    memcpy(p, text[0], size[0]);
    p[size[0]] = '\0';
    p += size[0] + 1;

    c->hash = (uint8_t *) p;
    memcpy(p, text[1], size[1]);
    p += size[1];

    c->data = p;
    c->size = size[2];
    memcpy(p, text[2], size[2]);
    p[size[2]] = '\0';

    return FAAS_OK;
}


int
qr_call_put(queue_t *q, const queue_call_t *c, uint32_t from, int64_t now_ms,
    int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE], key_buf[QR_KEY_SIZE];
    char               queue[QUEUE_NAME_SIZE], number[2][REDIS_NUMBER];
    char               idempotency[QUEUE_IDEMPOTENCY_MAX + 1];
    size_t             size;
    int64_t            state, expires_ms;
    const char        *text;
    faas_bytes_t       key, idem, data, expires;
    queue_redis_t     *e;
    const redisReply  *reply;

    e = (queue_redis_t *) q;

    if (c->size > QUEUE_DATA_MAX) {
        return FAAS_ETOOLARGE;
    }

    qr_call_queue(c->id, queue);
    key = qr_key(e, buf, queue, "c", c->id);

    do {
        qr_begin(e);
        qr_add(e, faas_text("WATCH"), key);
        qr_add(e, faas_text("HMGET"), key, faas_text("s"), faas_text("k"),
               faas_text("e"));

        rc = qr_run(e, key, REDIS_WATCH, deadline_ms);

        if (rc == FAAS_OK) {
            rc = redis_result(e->redis);
        }

        if (rc != FAAS_OK) {
            return rc;
        }

        reply = redis_answer(e->redis, 1);

        if (reply->elements != 3
            || reply->element[0]->type == REDIS_REPLY_NIL
            || qr_number(reply->element[0], &state) != FAAS_OK
            || qr_number(reply->element[2], &expires_ms) != FAAS_OK
            || expires_ms <= now_ms)
        {
            return FAAS_ENOTFOUND;
        }

        if (state < 0 || state > 31 || !(from & 1u << state)) {
            return FAAS_ECONFLICT;
        }

        text = redis_reply_text(reply->element[1], &size);

        if (text == NULL || size > QUEUE_IDEMPOTENCY_MAX) {
            return FAAS_ECORRUPT;
        }

        memcpy(idempotency, text, size);
        idempotency[size] = '\0';

        data.data = c->data;
        data.size = c->size;
        expires = redis_number(number[1], c->expires_ms);

        qr_multi(e);
        qr_add(e, faas_text("HSET"), key, faas_text("s"),
               redis_number(number[0], c->state), faas_text("d"), data,
               faas_text("e"), expires);
        qr_add(e, faas_text("PEXPIREAT"), key, expires);

        if (*idempotency) {
            idem = qr_key(e, key_buf, queue, "k", idempotency);
            qr_add(e, faas_text("HSET"), idem, faas_text("e"), expires);
            qr_add(e, faas_text("PEXPIREAT"), idem, expires);
        }

        rc = qr_exec(e, key, NULL, 1, deadline_ms);

    } while (rc == FAAS_ECONFLICT && !qr_is_late(deadline_ms));

    return rc == FAAS_ECONFLICT ? FAAS_EBUSY : rc;
}


/* the queue of the function that the id begins with */

static void
qr_call_queue(const char *id, char queue[QUEUE_NAME_SIZE])
{
    size_t  n;

    n = strcspn(id, ".");
    n = n < QUEUE_NAME_SIZE - 2 ? n : QUEUE_NAME_SIZE - 2;

    queue[0] = '@';
    memcpy(queue + 1, id, n);
    queue[n + 1] = '\0';
}
