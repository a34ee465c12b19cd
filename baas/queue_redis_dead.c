
/*
 * Dead letters.
 */


#include <stdlib.h>
#include <string.h>

#include "queue_redis.h"


#define QR_PAGE  64


typedef char  qr_id_t[FAAS_MESSAGE_ID_SIZE];

typedef struct {
    queue_message_t           message;
    char                      reason[QUEUE_REASON_SIZE];
} qr_letter_t;


/* what becomes of one letter, in the transaction that takes it away; m has
   its data */
typedef void (*qr_fate_pt)(queue_redis_t *e, const queue_message_t *m,
    int64_t now_ms);


static int qr_dead_ids(queue_redis_t *e, const char *queue, int64_t from,
    int64_t to, qr_id_t *ids, size_t *n, int64_t deadline_ms);
static int qr_dead_place(queue_redis_t *e, const char *queue,
    const char *after, int64_t *place, int64_t deadline_ms);
static int qr_dead_page(queue_redis_t *e, const char *queue, qr_id_t *ids,
    size_t n, qr_letter_t *letters, size_t *found, int64_t deadline_ms);
static void qr_dead_letter(const redisReply *fields, qr_letter_t *letter);
static void qr_dead_text(const redisReply *reply, char *buf, size_t size);
static int qr_dead_end(queue_redis_t *e, const char *queue, const char *id,
    qr_fate_pt fate, const char *wake, uint64_t *n, int64_t now_ms,
    int64_t deadline_ms);
static int qr_dead_take(queue_redis_t *e, const char *queue, const char *id,
    qr_fate_pt fate, const char *wake, int64_t now_ms, int64_t deadline_ms);
static void qr_dead_again(queue_redis_t *e, const queue_message_t *m,
    int64_t now_ms);
static void qr_dead_forget(queue_redis_t *e, const queue_message_t *m,
    int64_t now_ms);
static void *qr_dead_alloc(void *data, size_t n);


int
qr_dead(queue_t *q, const char *queue, const char *after, uint32_t limit,
    int (*each)(const queue_message_t *m, const char *reason, void *data),
    void *data, int64_t deadline_ms)
{
    int             rc;
    size_t          i, n, found;
    int64_t         place;
    qr_id_t         ids[QR_PAGE];
    qr_letter_t    *letters;
    queue_redis_t  *e;

    e = (queue_redis_t *) q;

    if (!queue_name_is_valid(queue)) {
        return FAAS_EINVAL;
    }

    place = 0;

    if (after) {
        rc = qr_dead_place(e, queue, after, &place, deadline_ms);

        if (rc != FAAS_OK) {
            return rc;
        }
    }

    letters = calloc(QR_PAGE, sizeof(qr_letter_t));
    if (letters == NULL) {
        return FAAS_ERROR;
    }

    rc = FAAS_OK;

    while (limit > 0 && rc == FAAS_OK) {
        n = limit < QR_PAGE ? limit : QR_PAGE;

        rc = qr_dead_ids(e, queue, place, place + (int64_t) n - 1, ids, &n,
                         deadline_ms);

        if (rc != FAAS_OK || n == 0) {
            break;
        }

        rc = qr_dead_page(e, queue, ids, n, letters, &found, deadline_ms);

        for (i = 0; rc == FAAS_OK && i < found; i++) {
            letters[i].message.queue = queue;
            rc = each(&letters[i].message, letters[i].reason, data);
        }

        place += (int64_t) n;
        limit -= (uint32_t) n;
    }

    free(letters);

    return rc;
}


/* ids of that range, in order; how many in *n */

static int
qr_dead_ids(queue_redis_t *e, const char *queue, int64_t from, int64_t to,
    qr_id_t *ids, size_t *n, int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE], number[2][REDIS_NUMBER];
    size_t             i, size;
    const char        *text;
    faas_bytes_t       key;
    const redisReply  *reply;

    *n = 0;
    key = qr_key(e, buf, queue, "x", NULL);

    qr_begin(e);
    qr_add(e, faas_text("ZRANGE"), key, redis_number(number[0], from),
           redis_number(number[1], to));

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    reply = redis_answer(e->redis, 0);

    for (i = 0; i < reply->elements && i < QR_PAGE; i++) {
        text = redis_reply_text(reply->element[i], &size);

        if (text == NULL || size >= sizeof(qr_id_t)) {
            return FAAS_ECORRUPT;
        }

        memcpy(ids[*n], text, size);
        ids[*n][size] = '\0';
        (*n)++;
    }

    return FAAS_OK;
}


static int
qr_dead_place(queue_redis_t *e, const char *queue, const char *after,
    int64_t *place, int64_t deadline_ms)
{
    int           rc;
    char          buf[QR_KEY_SIZE];
    faas_bytes_t  key;

    key = qr_key(e, buf, queue, "x", NULL);

    qr_begin(e);
    qr_add(e, faas_text("ZRANK"), key, faas_text(after));

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    if (redis_answer(e->redis, 0)->type == REDIS_REPLY_NIL) {
        return FAAS_ENOTFOUND;
    }

    rc = qr_number(redis_answer(e->redis, 0), place);
    (*place)++;

    return rc;
}


/* their letters without the data; those that are gone by now are left out */

static int
qr_dead_page(queue_redis_t *e, const char *queue, qr_id_t *ids, size_t n,
    qr_letter_t *letters, size_t *found, int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    size_t             i;
    int64_t            size;
    faas_bytes_t       key;
    const redisReply  *reply;

    *found = 0;

    qr_begin(e);

    for (i = 0; i < n; i++) {
        key = qr_key(e, buf, queue, "x", ids[i]);
        qr_add(e, faas_text("HMGET"), key, faas_text("t"), faas_text("a"),
               faas_text("w"), faas_text("r"));
        qr_add(e, faas_text("HSTRLEN"), key, faas_text("d"));
    }

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        reply = redis_answer(e->redis, 2 * i);

        if (reply->elements != 4
            || reply->element[2]->type == REDIS_REPLY_NIL)
        {
            continue;
        }

        memset(&letters[*found], 0, sizeof(qr_letter_t));
        memcpy(letters[*found].message.id, ids[i], sizeof(qr_id_t));
        qr_dead_letter(reply, &letters[*found]);

        (void) qr_number(redis_answer(e->redis, 2 * i + 1), &size);
        letters[*found].message.size = size > 0 ? (size_t) size : 0;

        (*found)++;
    }

    return FAAS_OK;
}


/* [t, a, w, r] */

static void
qr_dead_letter(const redisReply *fields, qr_letter_t *letter)
{
    int64_t  attempt;

    (void) qr_number(fields->element[0], &letter->message.sent_ms);
    (void) qr_number(fields->element[1], &attempt);
    (void) qr_number(fields->element[2], &letter->message.due_ms);

    letter->message.attempt = attempt > 0 ? (uint32_t) attempt : 0;

    qr_dead_text(fields->element[3], letter->reason, sizeof(letter->reason));
}


static void
qr_dead_text(const redisReply *reply, char *buf, size_t size)
{
    size_t       n;
    const char  *text;

    text = reply ? redis_reply_text(reply, &n) : NULL;

    if (text == NULL) {
        n = 0;
    }

    n = n < size ? n : size - 1;

    if (n) {
        memcpy(buf, text, n);
    }

    buf[n] = '\0';
}


int
qr_dead_get(queue_t *q, const char *queue, const char *id,
    queue_message_t *m, const char **reason, queue_alloc_pt alloc, void *data,
    int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE], *text;
    faas_bytes_t       key;
    queue_redis_t     *e;
    const redisReply  *reply;

    e = (queue_redis_t *) q;
    memset(m, 0, sizeof(queue_message_t));

    if (!queue_name_is_valid(queue) || !queue_id_is_valid(id)) {
        return FAAS_EINVAL;
    }

    key = qr_key(e, buf, queue, "x", id);

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

    rc = qr_message(reply, "", m, 1, alloc, data);

    if (rc != FAAS_OK) {
        return rc;
    }

    text = alloc(data, QUEUE_REASON_SIZE);
    if (text == NULL) {
        return FAAS_ERROR;
    }

    qr_dead_text(qr_field(reply, "r"), text, QUEUE_REASON_SIZE);

    m->queue = queue;
    *reason = text;

    return qr_number(qr_field(reply, "w"), &m->due_ms);
}


int
qr_dead_retry(queue_t *q, const char *queue, const char *id, uint64_t *n,
    int64_t now_ms, int64_t deadline_ms)
{
    return qr_dead_end((queue_redis_t *) q, queue, id, qr_dead_again, queue,
                       n, now_ms, deadline_ms);
}


int
qr_dead_purge(queue_t *q, const char *queue, const char *id, uint64_t *n,
    int64_t deadline_ms)
{
    return qr_dead_end((queue_redis_t *) q, queue, id, qr_dead_forget, NULL,
                       n, 0, deadline_ms);
}


/* one, or all that there are when it begins: a retried one that dies again
   meanwhile would keep it busy for ever */

static int
qr_dead_end(queue_redis_t *e, const char *queue, const char *id,
    qr_fate_pt fate, const char *wake, uint64_t *n, int64_t now_ms,
    int64_t deadline_ms)
{
    int            rc;
    size_t         i, found;
    qr_id_t        ids[QR_PAGE];
    uint64_t       left;
    queue_stats_t  stats;

    *n = 0;

    if (!queue_name_is_valid(queue) || (id && !queue_id_is_valid(id))) {
        return FAAS_EINVAL;
    }

    if (id) {
        rc = qr_dead_take(e, queue, id, fate, wake, now_ms, deadline_ms);
        *n = rc == FAAS_OK;

        return rc;
    }

    rc = qr_stats(&e->queue, queue, &stats, now_ms, deadline_ms);

    for (left = stats.dead; rc == FAAS_OK && left > 0; ) {

        if (qr_is_late(deadline_ms)) {
            return FAAS_ETIMEDOUT;
        }

        rc = qr_dead_ids(e, queue, 0, QR_PAGE - 1, ids, &found, deadline_ms);

        if (found == 0) {
            break;
        }

        for (i = 0; rc == FAAS_OK && i < found && left > 0; i++, left--) {
            rc = qr_dead_take(e, queue, ids[i], fate, wake, now_ms,
                              deadline_ms);

            if (rc == FAAS_ENOTFOUND) {
                /* somebody else's */
                rc = FAAS_OK;
                continue;
            }

            *n += rc == FAAS_OK;
        }
    }

    return rc;
}


static int
qr_dead_take(queue_redis_t *e, const char *queue, const char *id,
    qr_fate_pt fate, const char *wake, int64_t now_ms, int64_t deadline_ms)
{
    int              rc;
    char             buf[QR_KEY_SIZE], letter_buf[QR_KEY_SIZE];
    void            *copy;
    faas_bytes_t     key, letter;
    queue_message_t  m;

    letter = qr_key(e, letter_buf, queue, "x", id);

    do {
        copy = NULL;

        qr_begin(e);
        qr_add(e, faas_text("WATCH"), letter);
        qr_add(e, faas_text("HGETALL"), letter);

        rc = qr_run(e, letter, REDIS_WATCH, deadline_ms);

        if (rc == FAAS_OK) {
            rc = redis_result(e->redis);
        }

        if (rc != FAAS_OK) {
            return rc;
        }

        rc = qr_message(redis_answer(e->redis, 1), "", &m, 1, qr_dead_alloc,
                        &copy);

        if (rc != FAAS_OK) {
            return rc;
        }

        m.queue = queue;
        key = qr_key(e, buf, queue, "x", NULL);

        qr_multi(e);
        qr_add(e, faas_text("DEL"), letter);
        qr_add(e, faas_text("ZREM"), key, faas_text(id));
        fate(e, &m, now_ms);

        rc = qr_exec(e, key, wake, 0, deadline_ms);

        free(copy);

    } while (rc == FAAS_ECONFLICT && !qr_is_late(deadline_ms));

    return rc == FAAS_ECONFLICT ? FAAS_EBUSY : rc;
}


static void
qr_dead_again(queue_redis_t *e, const queue_message_t *m, int64_t now_ms)
{
    queue_message_t  again;

    again = *m;
    again.sent_ms = now_ms;

    qr_put(e, &again, 0, m->fence, 0, now_ms);
}


static void
qr_dead_forget(queue_redis_t *e, const queue_message_t *m, int64_t now_ms)
{
    char  buf[QR_KEY_SIZE], number[REDIS_NUMBER];

    (void) now_ms;

    qr_add(e, faas_text("PEXPIREAT"), qr_key(e, buf, m->queue, "m", m->id),
           redis_number(number, m->sent_ms + QUEUE_MEMORY_MS));
}


static void *
qr_dead_alloc(void *data, size_t n)
{
    void  **copy;

    copy = data;
    *copy = malloc(n);

    return *copy;
}
