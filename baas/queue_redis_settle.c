
/*
 * Verdicts.  The leases are watched and compared, then the verdicts that
 * stand are carried out in one transaction: an entry is acknowledged and
 * deleted in the same step in which its message is put elsewhere, or
 * forgotten.
 */


#include <string.h>

#include "queue_redis.h"


/* not decided yet */
#define QR_PENDING  1


typedef struct {
    queue_settlement_t       *s;
    size_t                    index[QR_STEP];
    size_t                    n;
    uint64_t                  running[QR_STEP];   /* fence of the timer's run,
                                                     0: none */
    int64_t                   now_ms;
    int64_t                   deadline_ms;
} qr_part_t;


static int qr_settle_part(queue_redis_t *e, qr_part_t *part);
static int qr_settle_watch(queue_redis_t *e, qr_part_t *part);
static size_t qr_settle_judge(queue_redis_t *e, qr_part_t *part);
static void qr_settle_add(queue_redis_t *e, const qr_part_t *part, size_t i);
static void qr_settle_dead(queue_redis_t *e, const queue_settlement_t *s,
    int64_t now_ms);
static void qr_settle_all(qr_part_t *part, int code);


int
qr_settle(queue_t *q, queue_settlement_t *s, size_t n, int64_t now_ms,
    int64_t deadline_ms)
{
    int             rc, failed;
    size_t          i, k;
    qr_part_t       part;
    queue_redis_t  *e;

    e = (queue_redis_t *) q;
    failed = FAAS_OK;

    part.s = s;
    part.now_ms = now_ms;
    part.deadline_ms = deadline_ms;

    for (i = 0; i < n; i++) {
        s[i].code = QR_PENDING;
    }

    for (i = 0; i < n; i++) {

        if (s[i].code != QR_PENDING) {
            continue;
        }

        part.index[0] = i;
        part.n = 1;

        for (k = i + 1; k < n && part.n < QR_STEP; k++) {

            if (s[k].code == QR_PENDING
                && qr_is_together(e, s[i].message->queue, s[k].message->queue))
            {
                part.index[part.n++] = k;
            }
        }

        do {
            rc = qr_settle_part(e, &part);
        } while (rc == FAAS_ECONFLICT && !qr_is_late(deadline_ms));

        if (rc != FAAS_OK) {
            failed = rc == FAAS_ECONFLICT ? FAAS_EBUSY : rc;
            qr_settle_all(&part, failed);
        }
    }

    return failed;
}


static int
qr_settle_part(queue_redis_t *e, qr_part_t *part)
{
    int           rc;
    char          buf[QR_KEY_SIZE];
    size_t        i;
    faas_bytes_t  key;

    rc = qr_settle_watch(e, part);

    if (rc != FAAS_OK) {
        return rc;
    }

    if (qr_settle_judge(e, part) == 0) {
        return FAAS_OK;
    }

    qr_multi(e);

    for (i = 0; i < part->n; i++) {

        if (part->s[part->index[i]].code == FAAS_OK) {
            qr_settle_add(e, part, i);
        }
    }

    key = qr_key(e, buf, part->s[part->index[0]].message->queue, "s", NULL);

    return qr_exec(e, key, NULL, 0, part->deadline_ms);
}


/* four answers for each */

static int
qr_settle_watch(queue_redis_t *e, qr_part_t *part)
{
    int                     rc;
    char                    buf[QR_KEY_SIZE];
    size_t                  i;
    faas_bytes_t            key;
    const queue_message_t  *m;

    qr_begin(e);

    for (i = 0; i < part->n; i++) {
        m = part->s[part->index[i]].message;

        key = qr_key(e, buf, m->queue, "l", m->handle);
        qr_add(e, faas_text("WATCH"), key);
        qr_add(e, faas_text("HGET"), key, faas_text("f"));

        if (part->s[part->index[i]].timer) {
            key = qr_timer_key(e, buf, part->s[part->index[i]].timer);
        }

        /* without a timer these are for nothing, and cost nothing */

        qr_add(e, faas_text("WATCH"), key);
        qr_add(e, faas_text("HGET"), key, faas_text("running"));
    }

    key = qr_key(e, buf, part->s[part->index[0]].message->queue, "s", NULL);

    rc = qr_run(e, key, REDIS_WATCH, part->deadline_ms);

    return rc == FAAS_OK ? redis_result(e->redis) : rc;
}


/* FAAS_OK into the code of those whose lease is the current one; how many */

static size_t
qr_settle_judge(queue_redis_t *e, qr_part_t *part)
{
    size_t               i, n;
    int64_t              fence, running;
    const redisReply    *reply;
    queue_settlement_t  *s;

    n = 0;

    for (i = 0; i < part->n; i++) {
        s = &part->s[part->index[i]];
        reply = redis_answer(e->redis, 4 * i + 1);

        s->code = FAAS_ECONFLICT;
        part->running[i] = 0;

        if (reply->type == REDIS_REPLY_NIL
            || qr_number(reply, &fence) != FAAS_OK
            || (uint64_t) fence != s->message->fence)
        {
            continue;
        }

        s->code = FAAS_OK;
        n++;

        if (s->timer
            && qr_number(redis_answer(e->redis, 4 * i + 3), &running)
               == FAAS_OK)
        {
            part->running[i] = (uint64_t) running;
        }
    }

    return n;
}


static void
qr_settle_add(queue_redis_t *e, const qr_part_t *part, size_t i)
{
    char                       buf[QR_KEY_SIZE], number[REDIS_NUMBER];
    faas_bytes_t               key;
    const queue_message_t     *m;
    const queue_settlement_t  *s;

    s = &part->s[part->index[i]];
    m = s->message;

    key = qr_key(e, buf, m->queue, "s", NULL);

    qr_add(e, faas_text("XACK"), key, faas_text(QR_GROUP),
           faas_text(m->handle));
    qr_add(e, faas_text("XDEL"), key, faas_text(m->handle));
    qr_add(e, faas_text("DEL"), qr_key(e, buf, m->queue, "l", m->handle));

    switch (s->verdict) {

    case QUEUE_DONE:
        qr_add(e, faas_text("PEXPIREAT"), qr_key(e, buf, m->queue, "m", m->id),
               redis_number(number, m->sent_ms + QUEUE_MEMORY_MS));
        break;

    case QUEUE_RETRY:
        qr_put(e, m, m->attempt + 1, m->fence, s->due_ms, part->now_ms);
        break;

    case QUEUE_RELEASE:
        qr_put(e, m, m->attempt, m->fence, s->due_ms, part->now_ms);
        break;

    case QUEUE_DEAD:
        qr_settle_dead(e, s, part->now_ms);
        break;
    }

    if (s->timer && part->running[i] == s->timer_fence
        && (s->verdict == QUEUE_DONE || s->verdict == QUEUE_DEAD))
    {
        qr_add(e, faas_text("HSET"), qr_timer_key(e, buf, s->timer),
               faas_text("running"), faas_text("0"));
    }
}


static void
qr_settle_dead(queue_redis_t *e, const queue_settlement_t *s, int64_t now_ms)
{
    char                    buf[QR_KEY_SIZE], numbers[3][REDIS_NUMBER];
    char                    number[REDIS_NUMBER];
    size_t                  n;
    faas_bytes_t            argv[20], reason, died;
    const queue_message_t  *m;

    m = s->message;

    reason = faas_text(s->reason ? s->reason : "");

    if (reason.size >= QUEUE_REASON_SIZE) {
        reason.size = QUEUE_REASON_SIZE - 1;
    }

    died = redis_number(number, now_ms);

    n = 0;
    argv[n++] = faas_text("HSET");
    argv[n++] = qr_key(e, buf, m->queue, "x", m->id);
    n = qr_fields(argv, n, m, m->attempt + 1, m->fence, numbers);
    argv[n++] = faas_text("w");
    argv[n++] = died;
    argv[n++] = faas_text("r");
    argv[n++] = reason;
    qr_command(e, argv, n);

    qr_add(e, faas_text("ZADD"), qr_key(e, buf, m->queue, "x", NULL),
           died, faas_text(m->id));
}


static void
qr_settle_all(qr_part_t *part, int code)
{
    size_t  i;

    for (i = 0; i < part->n; i++) {
        part->s[part->index[i]].code = code;
    }
}


int
qr_extend(queue_t *q, const queue_message_t *m, int64_t lease_ms,
    int64_t now_ms, int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE], number[2][REDIS_NUMBER];
    int64_t            fence, server_ms;
    faas_bytes_t       key;
    queue_redis_t     *e;
    const redisReply  *reply;

    (void) now_ms;

    e = (queue_redis_t *) q;
    key = qr_key(e, buf, m->queue, "l", m->handle);

    do {
        qr_begin(e);
        qr_add(e, faas_text("WATCH"), key);
        qr_add(e, faas_text("HGET"), key, faas_text("f"));
        qr_add(e, faas_text("TIME"));

        rc = qr_run(e, key, REDIS_WATCH, deadline_ms);

        if (rc == FAAS_OK) {
            rc = redis_result(e->redis);
        }

        if (rc != FAAS_OK) {
            return rc;
        }

        reply = redis_answer(e->redis, 1);
        server_ms = qr_time(redis_answer(e->redis, 2));

        if (reply->type == REDIS_REPLY_NIL
            || qr_number(reply, &fence) != FAAS_OK
            || (uint64_t) fence != m->fence)
        {
            return FAAS_ECONFLICT;
        }

        qr_multi(e);
        qr_add(e, faas_text("HSET"), key, faas_text("e"),
               redis_number(number[0], server_ms + lease_ms));
        qr_add(e, faas_text("PEXPIRE"), key,
               redis_number(number[1], lease_ms + QR_LEASE_KEEP_MS));

        rc = qr_exec(e, key, NULL, 0, deadline_ms);

    } while (rc == FAAS_ECONFLICT && !qr_is_late(deadline_ms));

    return rc == FAAS_ECONFLICT ? FAAS_EBUSY : rc;
}
