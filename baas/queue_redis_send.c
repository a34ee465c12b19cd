
/*
 * Sends.  First the ids are watched and asked for, then what is not known is
 * written in one transaction together with its id.  So whoever repeats a send
 * whose answer was lost finds the id there with the message, or neither; and
 * two who send the same id at once conflict on that id alone.
 *
 * Messages of several queues are one transaction where they may be (not in a
 * cluster), so that Redis syncs once for all of them.
 */


#include <string.h>

#include "queue_redis.h"


/* not decided yet */
#define QR_PENDING  1


/* a part of a send: what goes into one transaction */

typedef struct {
    const queue_message_t    *m;
    int                      *code;
    size_t                    index[QR_STEP];
    size_t                    n;
    int64_t                   now_ms;
    int64_t                   deadline_ms;
} qr_part_t;


static int qr_send_part(queue_redis_t *e, qr_part_t *part);
static int qr_send_try(queue_redis_t *e, qr_part_t *part);
static int qr_send_watch(queue_redis_t *e, qr_part_t *part);
static int qr_send_is_double(const qr_part_t *part, size_t i);
static void qr_send_all(qr_part_t *part, int code);


int
qr_send(queue_t *q, const queue_message_t *m, int *code, size_t n,
    int64_t now_ms, int64_t deadline_ms)
{
    int             rc, failed;
    size_t          i, k, bytes;
    qr_part_t       part;
    queue_redis_t  *e;

    e = (queue_redis_t *) q;
    failed = FAAS_OK;

    part.m = m;
    part.code = code;
    part.now_ms = now_ms;
    part.deadline_ms = deadline_ms;

    for (i = 0; i < n; i++) {
        rc = queue_message_check(&m[i]);
        code[i] = rc == FAAS_OK ? QR_PENDING : rc;
    }

    for (i = 0; i < n; i++) {

        if (code[i] != QR_PENDING) {
            continue;
        }

        part.index[0] = i;
        part.n = 1;
        bytes = m[i].size;

        for (k = i + 1; k < n && part.n < QR_STEP; k++) {

            if (code[k] != QR_PENDING
                || !qr_is_together(e, m[i].queue, m[k].queue))
            {
                continue;
            }

            bytes += m[k].size;

            if (bytes > QR_STEP_BYTES) {
                break;
            }

            part.index[part.n++] = k;
        }

        rc = qr_send_part(e, &part);

        if (rc != FAAS_OK) {
            failed = rc;
        }
    }

    return failed;
}


static int
qr_send_part(queue_redis_t *e, qr_part_t *part)
{
    int     rc;
    size_t  i;

    for (i = 0; i < part->n; i++) {
        rc = qr_listed(e, part->m[part->index[i]].queue, part->deadline_ms);

        if (rc != FAAS_OK) {
            qr_send_all(part, rc);
            return rc;
        }
    }

    do {
        rc = qr_send_try(e, part);
    } while (rc == FAAS_ECONFLICT && !qr_is_late(part->deadline_ms));

    rc = rc == FAAS_ECONFLICT ? FAAS_EBUSY : rc;

    qr_send_all(part, rc);

    return rc;
}


static int
qr_send_try(queue_redis_t *e, qr_part_t *part)
{
    int                     rc;
    char                    buf[QR_KEY_SIZE];
    size_t                  i;
    uint8_t                 known[QR_STEP];
    queue_message_t         m;
    const char             *wake;
    const redisReply       *reply;

    rc = qr_send_watch(e, part);

    if (rc != FAAS_OK) {
        return rc;
    }

    /* the answers go with the next batch */

    for (i = 0; i < part->n; i++) {
        reply = redis_answer(e->redis, i * 2 + 1);
        known[i] = reply->type != REDIS_REPLY_NIL
                   || qr_send_is_double(part, i);
    }

    wake = NULL;
    qr_multi(e);

    for (i = 0; i < part->n; i++) {

        if (known[i]) {
            continue;
        }

        m = part->m[part->index[i]];

        if (m.sent_ms == 0) {
            m.sent_ms = part->now_ms;
        }

        qr_put(e, &m, 0, 0, m.due_ms, part->now_ms);
        qr_add(e, faas_text("SET"), qr_key(e, buf, m.queue, "m", m.id),
               faas_text("1"));

        if (m.due_ms <= part->now_ms) {
            wake = m.queue;
        }
    }

    if (e->commands == 1) {
        /* all are known; the next batch ends the watching */
        return FAAS_OK;
    }

    return qr_exec(e, qr_key(e, buf, part->m[part->index[0]].queue, "s", NULL),
                   wake, 1, part->deadline_ms);
}


static int
qr_send_watch(queue_redis_t *e, qr_part_t *part)
{
    int                     rc;
    char                    buf[QR_KEY_SIZE];
    size_t                  i;
    faas_bytes_t            key;
    const queue_message_t  *m;

    qr_begin(e);

    for (i = 0; i < part->n; i++) {
        m = &part->m[part->index[i]];
        key = qr_key(e, buf, m->queue, "m", m->id);

        qr_add(e, faas_text("WATCH"), key);
        qr_add(e, faas_text("GET"), key);
    }

    m = &part->m[part->index[0]];

    rc = qr_run(e, qr_key(e, buf, m->queue, "m", m->id), REDIS_WATCH,
                part->deadline_ms);

    return rc == FAAS_OK ? redis_result(e->redis) : rc;
}


/* the same message earlier in the same part */

static int
qr_send_is_double(const qr_part_t *part, size_t i)
{
    size_t                  k;
    const queue_message_t  *m, *other;

    m = &part->m[part->index[i]];

    for (k = 0; k < i; k++) {
        other = &part->m[part->index[k]];

        if (strcmp(m->id, other->id) == 0
            && strcmp(m->queue, other->queue) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void
qr_send_all(qr_part_t *part, int code)
{
    size_t  i;

    for (i = 0; i < part->n; i++) {
        part->code[part->index[i]] = code;
    }
}
