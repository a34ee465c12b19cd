
/*
 * Timers.  The hash of a timer is watched while it fires, so of all nodes
 * that find it due one succeeds.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_redis.h"


#define QR_TIMERS  64        /* asked for at once */


static int qr_timer_watch(queue_redis_t *e, const char *key, queue_timer_t *t,
    const queue_message_t *m, int *known, int64_t deadline_ms);
static int qr_timer_read(const redisReply *reply, queue_timer_t *t);
static void qr_timer_function(const char *key, char queue[QUEUE_NAME_SIZE]);
static int qr_timer_keys(queue_redis_t *e, char (**keys)[160], size_t *n,
    int64_t deadline_ms);
static int qr_timer_note(queue_redis_t *e, const char *command,
    const char *key, int64_t deadline_ms);

static const char *const  qr_timer_fields[] = {
    "spec", "due", "last", "fence", "running"
};

#define QR_TIMER_FIELDS                                                       \
    (sizeof(qr_timer_fields) / sizeof(qr_timer_fields[0]))


int
qr_timer_set(queue_t *q, const queue_timer_t *t, int64_t deadline_ms)
{
    int             rc;
    char            buf[QR_KEY_SIZE], number[2][REDIS_NUMBER];
    faas_bytes_t    key;
    queue_timer_t   stored;
    queue_redis_t  *e;

    e = (queue_redis_t *) q;

    /* first, so that no timer is missing in the set */

    rc = qr_timer_note(e, "SADD", t->key, deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    do {
        rc = qr_timer_watch(e, t->key, &stored, NULL, NULL, deadline_ms);

        if (rc != FAAS_OK && rc != FAAS_ENOTFOUND) {
            return rc;
        }

        /* an array is never NULL, whatever faas_text() looks for */
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
        if (rc == FAAS_OK && strcmp(stored.spec, t->spec) == 0) {
            return FAAS_OK;
        }

        key = qr_timer_key(e, buf, t->key);

        qr_multi(e);
        qr_add(e, faas_text("HSET"), key, faas_text("spec"),
               faas_text(t->spec), faas_text("due"),
               redis_number(number[0], t->due_ms), faas_text("last"),
               redis_number(number[1], t->last_ms));

        rc = qr_exec(e, key, NULL, 0, deadline_ms);

    } while (rc == FAAS_ECONFLICT && !qr_is_late(deadline_ms));

    return rc == FAAS_ECONFLICT ? FAAS_EBUSY : rc;
}


int
qr_timer_get(queue_t *q, const char *key, queue_timer_t *t,
    int64_t deadline_ms)
{
    /* what is watched is not any more with the next batch */

    return qr_timer_watch((queue_redis_t *) q, key, t, NULL, NULL,
                          deadline_ms);
}


int
qr_timer_delete(queue_t *q, const char *key, int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    int64_t            n;
    faas_bytes_t       name;
    queue_redis_t     *e;

    e = (queue_redis_t *) q;
    name = qr_timer_key(e, buf, key);

    /* the fence stays, since it must rise when there is such a timer again */

    qr_begin(e);
    qr_add(e, faas_text("HDEL"), name, faas_text("spec"), faas_text("due"),
           faas_text("last"), faas_text("running"));

    rc = qr_run(e, name, 0, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc == FAAS_OK) {
        rc = qr_number(redis_answer(e->redis, 0), &n);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    if (n == 0) {
        return FAAS_ENOTFOUND;
    }

    return qr_timer_note(e, "SREM", key, deadline_ms);
}


int
qr_timer_list(queue_t *q, int (*each)(const queue_timer_t *t, void *data),
    void *data, int64_t deadline_ms)
{
    int              rc;
    char           (*keys)[160];
    size_t           i, n;
    queue_timer_t    t;
    queue_redis_t   *e;

    e = (queue_redis_t *) q;

    rc = qr_timer_keys(e, &keys, &n, deadline_ms);

    for (i = 0; rc == FAAS_OK && i < n; i++) {
        rc = qr_timer_watch(e, keys[i], &t, NULL, NULL, deadline_ms);

        if (rc == FAAS_ENOTFOUND) {
            rc = FAAS_OK;
            continue;
        }

        if (rc == FAAS_OK) {
            rc = each(&t, data);
        }
    }

    free(keys);

    return rc;
}


int
qr_timer_fire(queue_t *q, const queue_timer_t *t, int64_t next_ms,
    queue_message_t *m,
    int (*build)(queue_message_t *m, uint64_t fence, void *data), void *data,
    uint64_t *fence, int64_t now_ms, int64_t deadline_ms)
{
    int             rc, known;
    char            buf[QR_KEY_SIZE], number[4][REDIS_NUMBER];
    faas_bytes_t    key;
    queue_timer_t   stored;
    queue_redis_t  *e;

    e = (queue_redis_t *) q;
    known = 0;

    if (m) {
        rc = qr_listed(e, m->queue, deadline_ms);

        if (rc != FAAS_OK) {
            return rc;
        }
    }

    rc = qr_timer_watch(e, t->key, &stored, m, &known, deadline_ms);

    if (rc == FAAS_ENOTFOUND
        || (rc == FAAS_OK
            && (stored.due_ms != t->due_ms
                || strcmp(stored.spec, t->spec) != 0)))
    {
        return FAAS_ECONFLICT;
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    *fence = stored.fence + 1;

    if (m && !known) {

        if (m->sent_ms == 0) {
            m->sent_ms = now_ms;
        }

        rc = build(m, *fence, data);

        if (rc != FAAS_OK) {
            return rc;
        }

        rc = queue_message_check(m);

        if (rc != FAAS_OK) {
            return rc;
        }

    }

    key = qr_timer_key(e, buf, t->key);

    qr_multi(e);
    qr_add(e, faas_text("HSET"), key, faas_text("due"),
           redis_number(number[0], next_ms), faas_text("last"),
           redis_number(number[1], t->due_ms), faas_text("fence"),
           redis_number(number[2], (int64_t) *fence));

    if (m && !known) {
        qr_add(e, faas_text("HSET"), key, faas_text("running"),
               redis_number(number[3], (int64_t) *fence));
        qr_put(e, m, 0, 0, m->due_ms, now_ms);
        qr_add(e, faas_text("SET"), qr_key(e, buf, m->queue, "m", m->id),
               faas_text("1"));
    }

    /* a conflict: another node was first, or its run has just ended, and the
       next look tells which */

    return qr_exec(e, qr_timer_key(e, buf, t->key),
                   m && !known ? m->queue : NULL, 1, deadline_ms);
}


/*
 * Reads a timer and watches it; with m also asks whether its id is known.
 * FAAS_ENOTFOUND, with fence and running set, when there is none.
 */

static int
qr_timer_watch(queue_redis_t *e, const char *key, queue_timer_t *t,
    const queue_message_t *m, int *known, int64_t deadline_ms)
{
    int           rc;
    char          buf[QR_KEY_SIZE];
    size_t        i;
    faas_bytes_t  name, argv[2 + QR_TIMER_FIELDS];

    memset(t, 0, sizeof(queue_timer_t));
    (void) snprintf(t->key, sizeof(t->key), "%s", key);

    name = qr_timer_key(e, buf, key);

    argv[0] = faas_text("HMGET");
    argv[1] = name;

    for (i = 0; i < QR_TIMER_FIELDS; i++) {
        argv[2 + i] = faas_text(qr_timer_fields[i]);
    }

    qr_begin(e);
    qr_add(e, faas_text("WATCH"), name);
    qr_command(e, argv, 2 + QR_TIMER_FIELDS);

    if (m) {
        name = qr_key(e, buf, m->queue, "m", m->id);
        qr_add(e, faas_text("WATCH"), name);
        qr_add(e, faas_text("EXISTS"), name);
    }

    rc = qr_run(e, name, REDIS_WATCH, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    if (m) {
        *known = redis_answer(e->redis, 3)->integer != 0;
    }

    return qr_timer_read(redis_answer(e->redis, 1), t);
}


static int
qr_timer_read(const redisReply *reply, queue_timer_t *t)
{
    size_t       size;
    int64_t      fence, running;
    const char  *spec;

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements != QR_TIMER_FIELDS)
    {
        return FAAS_ECORRUPT;
    }

    (void) qr_number(reply->element[1], &t->due_ms);
    (void) qr_number(reply->element[2], &t->last_ms);
    (void) qr_number(reply->element[3], &fence);
    (void) qr_number(reply->element[4], &running);

    t->fence = (uint64_t) fence;
    t->running = running != 0;

    spec = redis_reply_text(reply->element[0], &size);

    if (spec == NULL) {
        return FAAS_ENOTFOUND;
    }

    if (size >= sizeof(t->spec)) {
        return FAAS_ECORRUPT;
    }

    memcpy(t->spec, spec, size);
    t->spec[size] = '\0';

    return FAAS_OK;
}


/* the key of a timer is FUNCTION/NAME, and it is where its messages are */

faas_bytes_t
qr_timer_key(const queue_redis_t *e, char buf[QR_KEY_SIZE], const char *key)
{
    char  queue[QUEUE_NAME_SIZE];

    qr_timer_function(key, queue);

    return qr_key(e, buf, queue, "t", key);
}


static void
qr_timer_function(const char *key, char queue[QUEUE_NAME_SIZE])
{
    size_t  n;

    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
    n = strcspn(key, "/");

    (void) snprintf(queue, QUEUE_NAME_SIZE, "@%.*s",
                    (int) (n < QUEUE_NAME_SIZE - 2 ? n : QUEUE_NAME_SIZE - 2),
                    key);
}


static int
qr_timer_keys(queue_redis_t *e, char (**keys)[160], size_t *n,
    int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    size_t             i, size;
    const char        *text;
    faas_bytes_t       set;
    const redisReply  *reply;

    *keys = NULL;
    *n = 0;

    set = qr_global(e, buf, "timers");

    qr_begin(e);
    qr_add(e, faas_text("SMEMBERS"), set);

    rc = qr_run(e, set, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    reply = redis_answer(e->redis, 0);

    *keys = calloc(reply->elements + 1, sizeof(**keys));
    if (*keys == NULL) {
        return FAAS_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {
        text = redis_reply_text(reply->element[i], &size);

        if (text && size < sizeof(**keys)) {
            memcpy((*keys)[*n], text, size);
            (*n)++;
        }
    }

    return FAAS_OK;
}


static int
qr_timer_note(queue_redis_t *e, const char *command, const char *key,
    int64_t deadline_ms)
{
    int           rc;
    char          buf[QR_KEY_SIZE];
    faas_bytes_t  set;

    set = qr_global(e, buf, "timers");

    qr_begin(e);
    qr_add(e, faas_text(command), set, faas_text(key));

    rc = qr_run(e, set, REDIS_REPEAT, deadline_ms);

    return rc == FAAS_OK ? redis_result(e->redis) : rc;
}
