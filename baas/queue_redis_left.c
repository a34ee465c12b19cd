
/*
 * What a receive finds besides what is new: delayed messages that are due, and
 * entries whose lease ran out.
 */


#include <stdlib.h>
#include <string.h>

#include "queue_redis_receive.h"


static int qr_receive_choose(qr_receive_t *r, qr_entries_t *left);
static int qr_receive_take(qr_receive_t *r, const qr_entries_t *left);


/* -- what is due ----------------------------------------------------------- */

/*
 * Watched one by one: another node that moves one of them has us begin again
 * with the next look, and nothing is lost meanwhile.
 */

int
qr_receive_move(qr_receive_t *r, char due[QR_MOVE][FAAS_MESSAGE_ID_SIZE],
    size_t n)
{
    int                 rc;
    char                buf[QR_KEY_SIZE], numbers[3][REDIS_NUMBER];
    void               *copy[QR_MOVE];
    size_t              i, argc, size;
    const char         *bytes;
    faas_bytes_t        key, argv[16];
    queue_redis_t      *e;
    queue_message_t     m[QR_MOVE];
    const redisReply   *reply;

    e = r->e;

    qr_begin(e);

    for (i = 0; i < n; i++) {
        key = qr_key(e, buf, r->queue->name, "d", due[i]);
        qr_add(e, faas_text("WATCH"), key);
        qr_add(e, faas_text("HGETALL"), key);
    }

    rc = qr_run(e, qr_key(e, buf, r->queue->name, "s", NULL), REDIS_WATCH,
                r->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        copy[i] = NULL;
        reply = redis_answer(e->redis, 2 * i + 1);

        /* an id without a message is one that another node has moved */

        if (qr_message(reply, "", &m[i], 0, NULL, NULL) != FAAS_OK) {
            m[i].id[0] = '\0';
            continue;
        }

        copy[i] = malloc(m[i].size + 1);

        if (copy[i] == NULL) {
            rc = FAAS_ERROR;
            n = i;
            goto done;
        }

        bytes = redis_reply_text(qr_field(reply, "d"), &size);

        if (bytes) {
            memcpy(copy[i], bytes, size);
        }

        m[i].data = copy[i];
    }

    qr_multi(e);

    for (i = 0; i < n; i++) {

        if (m[i].id[0]) {
            argc = 0;
            argv[argc++] = faas_text("XADD");
            argv[argc++] = qr_key(e, buf, r->queue->name, "s", NULL);
            argv[argc++] = faas_text("*");
            argc = qr_fields(argv, argc, &m[i], m[i].attempt, m[i].fence,
                             numbers);
            qr_command(e, argv, argc);
        }

        qr_add(e, faas_text("DEL"),
               qr_key(e, buf, r->queue->name, "d", due[i]));
        qr_add(e, faas_text("ZREM"),
               qr_key(e, buf, r->queue->name, "z", NULL), faas_text(due[i]));
    }

    rc = qr_exec(e, qr_key(e, buf, r->queue->name, "s", NULL), NULL, 0,
                 r->deadline_ms);

    if (rc == FAAS_ECONFLICT) {
        rc = FAAS_OK;
    }

done:

    for (i = 0; i < n; i++) {
        free(copy[i]);
    }

    return rc;
}


/* -- what was left --------------------------------------------------------- */

int
qr_receive_claim(qr_receive_t *r, qr_entries_t *left)
{
    int  rc;

    rc = qr_receive_choose(r, left);

    if (rc != FAAS_OK || left->n == 0) {
        return rc;
    }

    rc = qr_receive_take(r, left);

    /* another node was at one of them: the next look will tell */

    return rc == FAAS_ECONFLICT ? FAAS_OK : rc;
}


/* leaves those in left that nobody has a lease of, and watches their leases */

static int
qr_receive_choose(qr_receive_t *r, qr_entries_t *left)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    size_t             i, n;
    int64_t            end_ms;
    faas_bytes_t       key;
    queue_redis_t     *e;
    const redisReply  *reply;

    e = r->e;

    qr_begin(e);

    for (i = 0; i < left->n; i++) {
        key = qr_key(e, buf, r->queue->name, "l", left->id[i]);
        qr_add(e, faas_text("WATCH"), key);
        qr_add(e, faas_text("HGET"), key, faas_text("e"));
    }

    rc = qr_run(e, qr_key(e, buf, r->queue->name, "s", NULL), REDIS_WATCH,
                r->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    n = 0;

    for (i = 0; i < left->n && n < r->n; i++) {
        reply = redis_answer(e->redis, 2 * i + 1);

        if (reply->type == REDIS_REPLY_NIL) {

            if (left->idle_ms[i] < QR_ORPHAN_MS) {
                continue;
            }

        } else if (qr_number(reply, &end_ms) == FAAS_OK
                   && end_ms > r->server_ms)
        {
            continue;
        }

        memmove(left->id[n++], left->id[i], QR_ENTRY_SIZE);
    }

    left->n = n;

    return FAAS_OK;
}


static int
qr_receive_take(qr_receive_t *r, const qr_entries_t *left)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    size_t             i, gone;
    int64_t            fence;
    faas_bytes_t       key;
    queue_redis_t     *e;
    const redisReply  *claimed;
    uint8_t            is_gone[QR_CLAIM];

    e = r->e;
    gone = 0;
    memset(is_gone, 0, sizeof(is_gone));

    qr_multi(e);

    for (i = 0; i < left->n; i++) {
        qr_receive_lease(r, left->id[i], 1);
        qr_add(e, faas_text("XCLAIM"),
               qr_key(e, buf, r->queue->name, "s", NULL), faas_text(QR_GROUP),
               faas_text(e->node), faas_text("0"), faas_text(left->id[i]));
    }

    key = qr_key(e, buf, r->queue->name, "s", NULL);

    rc = qr_exec(e, key, NULL, 0, r->deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    for (i = 0; i < left->n; i++) {

        /* HINCRBY, HSET, PEXPIRE, XCLAIM */

        claimed = qr_executed(e, 4 * i + 3);
        is_gone[i] = claimed == NULL || claimed->type != REDIS_REPLY_ARRAY
                     || claimed->elements == 0
                     || claimed->element[0]->type != REDIS_REPLY_ARRAY;

        if (is_gone[i]) {
            gone++;
            continue;
        }

        if (qr_number(qr_executed(e, 4 * i), &fence) != FAAS_OK) {
            return FAAS_ECORRUPT;
        }

        if (qr_receive_keep(r, claimed->element[0]) == FAAS_OK) {
            r->m[r->got - 1].fence = (uint64_t) fence;
        }
    }

    if (gone == 0) {
        return r->dropped.n ? FAAS_ERROR : FAAS_OK;
    }

    /* acknowledged meanwhile, or deleted by somebody's hand: no lease, and
       nothing pending for what is not there */

    qr_begin(e);

    for (i = 0; i < left->n; i++) {

        if (is_gone[i]) {
            qr_add(e, faas_text("DEL"),
                   qr_key(e, buf, r->queue->name, "l", left->id[i]));
            qr_add(e, faas_text("XACK"),
                   qr_key(e, buf, r->queue->name, "s", NULL),
                   faas_text(QR_GROUP), faas_text(left->id[i]));
        }
    }

    return qr_run(e, qr_key(e, buf, r->queue->name, "s", NULL), REDIS_REPEAT,
                  r->deadline_ms);
}
