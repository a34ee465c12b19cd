
/*
 * Receiving: what is due is put into the stream, what was left by a lease that
 * ran out is taken over (queue_redis_left.c), what is new is read; in this
 * order, so that the older comes first.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_redis_receive.h"


static int qr_receive_look(qr_receive_t *r,
    char due[QR_MOVE][FAAS_MESSAGE_ID_SIZE], size_t *ndue,
    qr_entries_t *left);
static int qr_receive_due(const redisReply *reply,
    char due[QR_MOVE][FAAS_MESSAGE_ID_SIZE], size_t *ndue);
static void qr_receive_left(qr_receive_t *r, const redisReply *reply,
    qr_entries_t *left);
static int qr_receive_new(qr_receive_t *r);
static int qr_receive_read(qr_receive_t *r, size_t count, size_t *found);
static int qr_receive_group(qr_receive_t *r);
static int qr_receive_leases(qr_receive_t *r, size_t from);
static void qr_receive_drop(qr_receive_t *r);


int
qr_receive(queue_t *q, const char *queue, int64_t lease_ms,
    queue_message_t *m, size_t *n, queue_alloc_pt alloc, void *data,
    int64_t now_ms, int64_t deadline_ms)
{
    int           rc;
    char          due[QR_MOVE][FAAS_MESSAGE_ID_SIZE];
    size_t        ndue;
    qr_receive_t  r;
    qr_entries_t  left;

    memset(&r, 0, sizeof(qr_receive_t));

    r.e = (queue_redis_t *) q;
    r.lease_ms = lease_ms;
    r.m = m;
    r.n = *n;
    r.alloc = alloc;
    r.data = data;
    r.now_ms = now_ms;
    r.deadline_ms = deadline_ms;

    *n = 0;

    if (!queue_name_is_valid(queue)) {
        return FAAS_EINVAL;
    }

    r.queue = qr_queue(r.e, queue);
    if (r.queue == NULL) {
        return FAAS_ERROR;
    }

    rc = qr_receive_look(&r, due, &ndue, &left);

    if (rc == FAAS_OK) {
        r.name = alloc(data, sizeof(r.queue->name));

        if (r.name == NULL) {
            return FAAS_ERROR;
        }

        memcpy(r.name, queue, strlen(queue) + 1);
    }

    if (rc == FAAS_OK && ndue) {
        rc = qr_receive_move(&r, due, ndue);
    }

    if (rc == FAAS_OK && left.n) {
        rc = qr_receive_claim(&r, &left);
    }

    if (rc == FAAS_OK && r.got < r.n && r.bytes < QUEUE_RECEIVE_BYTES) {
        rc = qr_receive_new(&r);
    }

    if (r.dropped.n) {
        qr_receive_drop(&r);
    }

    /* what is leased by now is the caller's, whatever came then */

    *n = r.got;

    return r.got ? FAAS_OK : rc;
}


static int
qr_receive_look(qr_receive_t *r, char due[QR_MOVE][FAAS_MESSAGE_ID_SIZE],
    size_t *ndue, qr_entries_t *left)
{
    int             rc, claim;
    char            buf[QR_KEY_SIZE], from[QR_ENTRY_SIZE + 1];
    char            number[3][REDIS_NUMBER];
    int64_t         now;
    faas_bytes_t    key;
    queue_redis_t  *e;

    e = r->e;
    now = redis_now_ms();
    left->n = 0;

    claim = now >= r->queue->claim_ms;

    qr_begin(e);
    qr_add(e, faas_text("TIME"));
    qr_add(e, faas_text("ZRANGEBYSCORE"),
           qr_key(e, buf, r->queue->name, "z", NULL), faas_text("-inf"),
           redis_number(number[0], r->now_ms), faas_text("LIMIT"),
           faas_text("0"), redis_number(number[1], QR_MOVE));

    key = qr_key(e, buf, r->queue->name, "s", NULL);

    if (claim) {
        (void) snprintf(from, sizeof(from), "%s%s",
                        *r->queue->cursor ? "(" : "-", r->queue->cursor);

        qr_add(e, faas_text("XPENDING"), key, faas_text(QR_GROUP),
               faas_text(from), faas_text("+"),
               redis_number(number[2], QR_CLAIM));
    }

    rc = qr_run(e, key, REDIS_REPEAT, r->deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    r->server_ms = qr_time(redis_answer(e->redis, 0));

    if (r->server_ms == 0) {
        rc = redis_code(redis_answer(e->redis, 0));
        return rc != FAAS_OK ? rc : FAAS_ECORRUPT;
    }

    rc = qr_receive_due(redis_answer(e->redis, 1), due, ndue);

    if (rc != FAAS_OK || !claim) {
        return rc;
    }

    qr_receive_left(r, redis_answer(e->redis, 2), left);

    return FAAS_OK;
}


static int
qr_receive_due(const redisReply *reply,
    char due[QR_MOVE][FAAS_MESSAGE_ID_SIZE], size_t *ndue)
{
    size_t       i, size;
    const char  *id;

    *ndue = 0;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return redis_code(reply);
    }

    for (i = 0; i < reply->elements && *ndue < QR_MOVE; i++) {
        id = redis_reply_text(reply->element[i], &size);

        if (id == NULL || size >= FAAS_MESSAGE_ID_SIZE) {
            return FAAS_ECORRUPT;
        }

        memcpy(due[*ndue], id, size);
        due[*ndue][size] = '\0';
        (*ndue)++;
    }

    return FAAS_OK;
}


/* pending entries, a page of them: [entry, consumer, idle, deliveries] */

static void
qr_receive_left(qr_receive_t *r, const redisReply *reply, qr_entries_t *left)
{
    size_t             i, size;
    const char        *id;
    const redisReply  *entry;

    /* no group yet: nothing is pending */

    if (reply->type != REDIS_REPLY_ARRAY) {
        r->queue->claim_ms = redis_now_ms() + QR_CLAIM_MS;
        return;
    }

    for (i = 0; i < reply->elements && left->n < QR_CLAIM; i++) {
        entry = reply->element[i];

        if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 4) {
            continue;
        }

        id = redis_reply_text(entry->element[0], &size);

        if (id == NULL || size >= QR_ENTRY_SIZE
            || qr_number(entry->element[2], &left->idle_ms[left->n])
               != FAAS_OK)
        {
            continue;
        }

        memcpy(left->id[left->n], id, size);
        left->id[left->n][size] = '\0';
        left->n++;
    }

    /* the next page is for the next call; after the last one, from the first
       again, in a while */

    if (left->n == QR_CLAIM) {
        memcpy(r->queue->cursor, left->id[left->n - 1], QR_ENTRY_SIZE);

    } else {
        r->queue->cursor[0] = '\0';
        r->queue->claim_ms = redis_now_ms() + QR_CLAIM_MS;
    }
}


/* -- what is new ----------------------------------------------------------- */

static int
qr_receive_new(qr_receive_t *r)
{
    int     rc;
    size_t  count, from, found, room;

    from = r->got;

    do {
        /* as many as the room for bytes may take, going by earlier ones */

        count = r->n - r->got;
        room = QUEUE_RECEIVE_BYTES - r->bytes;

        if (r->queue->mean_bytes && room / r->queue->mean_bytes < count) {
            count = room / r->queue->mean_bytes;
        }

        if (r->queue->mean_bytes == 0 && count > 8) {
            count = 8;
        }

        count = count ? count : 1;

        rc = qr_receive_read(r, count, &found);

    } while (rc == FAAS_OK && found == count && r->got < r->n
             && r->bytes < QUEUE_RECEIVE_BYTES);

    if (r->got == from) {
        return rc;
    }

    if (qr_receive_leases(r, from) != FAAS_OK) {
        /* pending without a lease, or with one: found again when it is over */
        r->got = from;
    }

    return rc;
}


static int
qr_receive_read(qr_receive_t *r, size_t count, size_t *found)
{
    int                rc, again;
    char               buf[QR_KEY_SIZE], number[REDIS_NUMBER];
    size_t             i;
    faas_bytes_t       key;
    queue_redis_t     *e;
    const redisReply  *reply;

    e = r->e;
    *found = 0;

    for (again = 0; ; again++) {
        key = qr_key(e, buf, r->queue->name, "s", NULL);

        qr_begin(e);
        qr_add(e, faas_text("XREADGROUP"), faas_text("GROUP"),
               faas_text(QR_GROUP), faas_text(e->node), faas_text("COUNT"),
               redis_number(number, (int64_t) count), faas_text("STREAMS"),
               key, faas_text(">"));

        rc = qr_run(e, key, 0, r->deadline_ms);

        if (rc != FAAS_OK) {
            return rc;
        }

        reply = redis_answer(e->redis, 0);

        if (again || !redis_is_error(reply, "NOGROUP")) {
            break;
        }

        rc = qr_receive_group(r);

        if (rc != FAAS_OK) {
            return rc;
        }
    }

    /* [[stream, [[entry, fields], ...]]], or nothing */

    if (reply->type != REDIS_REPLY_ARRAY) {
        return redis_code(reply);
    }

    if (reply->elements != 1 || reply->element[0]->elements != 2) {
        return FAAS_ECORRUPT;
    }

    reply = reply->element[0]->element[1];

    for (i = 0; i < reply->elements; i++) {
        (void) qr_receive_keep(r, reply->element[i]);
    }

    *found = reply->elements;

    return r->dropped.n ? FAAS_ERROR : FAAS_OK;
}


/* the group begins with the first entry, so what was sent before it was made
   is not missed */

static int
qr_receive_group(qr_receive_t *r)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    faas_bytes_t       key;
    const redisReply  *reply;

    key = qr_key(r->e, buf, r->queue->name, "s", NULL);

    qr_begin(r->e);
    qr_add(r->e, faas_text("XGROUP"), faas_text("CREATE"), key,
           faas_text(QR_GROUP), faas_text("0"), faas_text("MKSTREAM"));

    rc = qr_run(r->e, key, REDIS_REPEAT, r->deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    reply = redis_answer(r->e->redis, 0);

    return redis_is_error(reply, "BUSYGROUP") ? FAAS_OK : redis_code(reply);
}


/* the fence goes on from the message's last one */

static int
qr_receive_leases(qr_receive_t *r, size_t from)
{
    int              rc;
    char             buf[QR_KEY_SIZE];
    size_t           i;
    int64_t          fence;
    queue_message_t *m;

    qr_multi(r->e);

    for (i = from; i < r->got; i++) {
        qr_receive_lease(r, r->m[i].handle, r->m[i].fence + 1);
    }

    rc = qr_exec(r->e, qr_key(r->e, buf, r->queue->name, "s", NULL), NULL, 0,
                 r->deadline_ms);

    for (i = from; rc == FAAS_OK && i < r->got; i++) {
        m = &r->m[i];

        rc = qr_number(qr_executed(r->e, 3 * (i - from)), &fence);
        m->fence = (uint64_t) fence;
    }

    return rc;
}


/* an [entry, fields] of a stream becomes the next message */

int
qr_receive_keep(qr_receive_t *r, const redisReply *entry)
{
    int               rc;
    size_t            size;
    const char       *id;
    queue_message_t  *m;

    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2) {
        return FAAS_ECORRUPT;
    }

    id = redis_reply_text(entry->element[0], &size);
    m = &r->m[r->got];

    if (id == NULL || size >= QR_ENTRY_SIZE) {
        return FAAS_ECORRUPT;
    }

    memcpy(m->handle, id, size);
    m->handle[size] = '\0';

    rc = qr_message(entry->element[1], m->handle, m, 1, r->alloc, r->data);

    if (rc != FAAS_OK) {

        if (r->dropped.n < QR_CLAIM) {
            memcpy(r->dropped.id[r->dropped.n++], m->handle, size + 1);
        }

        return rc;
    }

    m->queue = r->name;

    r->got++;
    r->bytes += m->size;
    r->queue->mean_bytes = (r->queue->mean_bytes * 7 + m->size + 7) / 8;

    return FAAS_OK;
}


/* leases that are over, so that they are found with the next look */

static void
qr_receive_drop(qr_receive_t *r)
{
    char          buf[QR_KEY_SIZE], number[REDIS_NUMBER];
    size_t        i;
    faas_bytes_t  key;

    qr_begin(r->e);

    for (i = 0; i < r->dropped.n; i++) {
        key = qr_key(r->e, buf, r->queue->name, "l", r->dropped.id[i]);
        qr_add(r->e, faas_text("HSET"), key, faas_text("e"), faas_text("0"));
        qr_add(r->e, faas_text("PEXPIRE"), key,
               redis_number(number, QR_LEASE_KEEP_MS));
    }

    (void) qr_run(r->e, key, REDIS_REPEAT, r->deadline_ms);

    r->queue->cursor[0] = '\0';
    r->queue->claim_ms = 0;
}


void
qr_receive_lease(qr_receive_t *r, const char *entry, uint64_t by)
{
    char          buf[QR_KEY_SIZE], number[3][REDIS_NUMBER];
    faas_bytes_t  key;

    key = qr_key(r->e, buf, r->queue->name, "l", entry);

    qr_add(r->e, faas_text("HINCRBY"), key, faas_text("f"),
           redis_number(number[0], (int64_t) by));
    qr_add(r->e, faas_text("HSET"), key, faas_text("n"),
           faas_text(r->e->node), faas_text("e"),
           redis_number(number[1], r->server_ms + r->lease_ms));
    qr_add(r->e, faas_text("PEXPIRE"), key,
           redis_number(number[2], r->lease_ms + QR_LEASE_KEEP_MS));
}
