
/*
 * Queues and their figures.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_redis.h"


/* so many pending entries are looked at, whether their lease is over; beyond
   it is taken for granted that it is not */
#define QR_LEASES  256


static int qr_stats_read(queue_redis_t *e, queue_stats_t *stats,
    char undelivered[QR_ENTRY_SIZE + 1]);
static void qr_stats_place(const redisReply *groups,
    char undelivered[QR_ENTRY_SIZE + 1]);
static int64_t qr_stats_score(const redisReply *reply);
static int qr_stats_entries(queue_redis_t *e, const char *queue,
    const char *undelivered, queue_stats_t *stats, int64_t deadline_ms);
static int64_t qr_stats_first(const redisReply *reply);
static int qr_stats_leases(queue_redis_t *e, const char *queue,
    char (*entry)[QR_ENTRY_SIZE], const int64_t *idle_ms, size_t n,
    queue_stats_t *stats, int64_t deadline_ms);
static void qr_stats_earlier(int64_t *at_ms, int64_t ms);
static uint64_t qr_stats_number(const redisReply *reply);


int
qr_stats(queue_t *q, const char *queue, queue_stats_t *stats, int64_t now_ms,
    int64_t deadline_ms)
{
    int             rc;
    char            buf[QR_KEY_SIZE], undelivered[QR_ENTRY_SIZE + 1];
    char            number[REDIS_NUMBER], after[REDIS_NUMBER + 1];
    faas_bytes_t    key, now;
    queue_redis_t  *e;

    e = (queue_redis_t *) q;
    memset(stats, 0, sizeof(queue_stats_t));

    if (!queue_name_is_valid(queue)) {
        return FAAS_EINVAL;
    }

    now = redis_number(number, now_ms);

    qr_begin(e);
    key = qr_key(e, buf, queue, "x", NULL);
    qr_add(e, faas_text("ZCARD"), key);
    key = qr_key(e, buf, queue, "z", NULL);
    qr_add(e, faas_text("ZCARD"), key);
    qr_add(e, faas_text("ZCOUNT"), key, faas_text("-inf"), now);
    qr_add(e, faas_text("ZRANGE"), key, faas_text("0"), faas_text("0"),
           faas_text("WITHSCORES"));

    /* the first that is not due: behind '(' */

    (void) snprintf(after, sizeof(after), "(%.*s", (int) now.size,
                    (const char *) now.data);
    qr_add(e, faas_text("ZRANGEBYSCORE"), key, faas_text(after),
           faas_text("+inf"), faas_text("WITHSCORES"), faas_text("LIMIT"),
           faas_text("0"), faas_text("1"));

    key = qr_key(e, buf, queue, "s", NULL);
    qr_add(e, faas_text("XLEN"), key);
    qr_add(e, faas_text("XPENDING"), key, faas_text(QR_GROUP));
    qr_add(e, faas_text("XINFO"), faas_text("GROUPS"), key);

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = qr_stats_read(e, stats, undelivered);
    }

    if (rc != FAAS_OK || stats->ready + stats->leased == 0) {
        return rc;
    }

    return qr_stats_entries(e, queue, undelivered, stats, deadline_ms);
}


static int
qr_stats_read(queue_redis_t *e, queue_stats_t *stats,
    char undelivered[QR_ENTRY_SIZE + 1])
{
    int                rc;
    size_t             i;
    uint64_t           due, entries;
    const redisReply  *reply;

    /* there may be no stream or group yet, which is an error of the last */

    for (i = 0; i < 6; i++) {
        rc = redis_code(redis_answer(e->redis, i));

        if (rc != FAAS_OK) {
            return rc;
        }
    }

    due = qr_stats_number(redis_answer(e->redis, 2));

    stats->dead = qr_stats_number(redis_answer(e->redis, 0));
    stats->delayed = qr_stats_number(redis_answer(e->redis, 1)) - due;

    if (due) {
        stats->oldest_ms = qr_stats_score(redis_answer(e->redis, 3));
    }

    stats->next_ms = qr_stats_score(redis_answer(e->redis, 4));

    entries = qr_stats_number(redis_answer(e->redis, 5));
    reply = redis_answer(e->redis, 6);

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
        stats->leased = qr_stats_number(reply->element[0]);
    }

    stats->ready = due;

    if (entries > stats->leased) {
        stats->ready += entries - stats->leased;
    }

    qr_stats_place(redis_answer(e->redis, 7), undelivered);

    return FAAS_OK;
}


/* the first entry that was not delivered comes after the last that was */

static void
qr_stats_place(const redisReply *groups, char undelivered[QR_ENTRY_SIZE + 1])
{
    size_t       i, size;
    const char  *text;

    strcpy(undelivered, "-");

    if (groups->type != REDIS_REPLY_ARRAY) {
        return;
    }

    for (i = 0; i < groups->elements; i++) {
        text = redis_reply_text(qr_field(groups->element[i], "name"), &size);

        if (text == NULL || size != strlen(QR_GROUP)
            || memcmp(text, QR_GROUP, size) != 0)
        {
            continue;
        }

        text = redis_reply_text(qr_field(groups->element[i],
                                         "last-delivered-id"), &size);

        if (text && size < QR_ENTRY_SIZE) {
            undelivered[0] = '(';
            memcpy(undelivered + 1, text, size);
            undelivered[size + 1] = '\0';
        }
    }
}


/* of [member, score]; 0: empty */

static int64_t
qr_stats_score(const redisReply *reply)
{
    size_t       size;
    const char  *text;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return 0;
    }

    text = redis_reply_text(reply->element[1], &size);

    /* scores are doubles, ours are whole milliseconds */

    return text ? (int64_t) strtod(text, NULL) : 0;
}


/* the time of the next one that is new, and the leases */

static int
qr_stats_entries(queue_redis_t *e, const char *queue, const char *undelivered,
    queue_stats_t *stats, int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE], number[REDIS_NUMBER];
    char               entry[QR_LEASES][QR_ENTRY_SIZE];
    size_t             i, n, size;
    int64_t            idle_ms[QR_LEASES];
    const char        *text;
    faas_bytes_t       key;
    const redisReply  *reply, *pending;

    key = qr_key(e, buf, queue, "s", NULL);

    qr_begin(e);
    qr_add(e, faas_text("XRANGE"), key, faas_text(undelivered), faas_text("+"),
           faas_text("COUNT"), faas_text("1"));
    qr_add(e, faas_text("XPENDING"), key, faas_text(QR_GROUP), faas_text("-"),
           faas_text("+"), redis_number(number, QR_LEASES));

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    qr_stats_earlier(&stats->oldest_ms,
                     qr_stats_first(redis_answer(e->redis, 0)));

    pending = redis_answer(e->redis, 1);
    n = 0;

    if (pending->type == REDIS_REPLY_ARRAY) {

        for (i = 0; i < pending->elements && n < QR_LEASES; i++) {
            reply = pending->element[i];

            if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4) {
                continue;
            }

            text = redis_reply_text(reply->element[0], &size);

            if (text && size < QR_ENTRY_SIZE) {
                memcpy(entry[n], text, size);
                entry[n][size] = '\0';
                (void) qr_number(reply->element[2], &idle_ms[n]);
                n++;
            }
        }
    }

    if (n == 0) {
        return FAAS_OK;
    }

    return qr_stats_leases(e, queue, entry, idle_ms, n, stats, deadline_ms);
}


/* the time in the id of the one entry of a range; 0: none */

static int64_t
qr_stats_first(const redisReply *reply)
{
    size_t       size;
    const char  *text;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1
        || reply->element[0]->type != REDIS_REPLY_ARRAY
        || reply->element[0]->elements == 0)
    {
        return 0;
    }

    text = redis_reply_text(reply->element[0]->element[0], &size);

    return text ? strtoll(text, NULL, 10) : 0;
}


/* a message whose lease is over is a ready one */

static int
qr_stats_leases(queue_redis_t *e, const char *queue,
    char (*entry)[QR_ENTRY_SIZE], const int64_t *idle_ms, size_t n,
    queue_stats_t *stats, int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    size_t             i;
    int64_t            end_ms, server_ms;
    faas_bytes_t       key;
    const redisReply  *reply;

    qr_begin(e);
    qr_add(e, faas_text("TIME"));

    for (i = 0; i < n; i++) {
        key = qr_key(e, buf, queue, "l", entry[i]);
        qr_add(e, faas_text("HGET"), key, faas_text("e"));
    }

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    server_ms = qr_time(redis_answer(e->redis, 0));

    for (i = 0; i < n; i++) {
        reply = redis_answer(e->redis, i + 1);

        if (reply->type == REDIS_REPLY_NIL) {
            end_ms = server_ms - idle_ms[i] + QR_ORPHAN_MS;

        } else if (qr_number(reply, &end_ms) != FAAS_OK) {
            return FAAS_ECORRUPT;
        }

        if (end_ms > server_ms) {
            qr_stats_earlier(&stats->next_ms, end_ms);
            continue;
        }

        stats->ready++;
        stats->leased -= stats->leased > 0;
        qr_stats_earlier(&stats->oldest_ms, end_ms ? end_ms : server_ms);
    }

    return FAAS_OK;
}


static void
qr_stats_earlier(int64_t *at_ms, int64_t ms)
{
    if (ms && (*at_ms == 0 || ms < *at_ms)) {
        *at_ms = ms;
    }
}


static uint64_t
qr_stats_number(const redisReply *reply)
{
    int64_t  n;

    return qr_number(reply, &n) == FAAS_OK && n > 0 ? (uint64_t) n : 0;
}


int
qr_list(queue_t *q, int (*each)(const char *queue, void *data), void *data,
    int64_t deadline_ms)
{
    int                rc;
    char               buf[QR_KEY_SIZE];
    char             (*name)[QUEUE_NAME_SIZE];
    size_t             i, n, size;
    const char        *text;
    faas_bytes_t       key;
    queue_redis_t     *e;
    const redisReply  *reply;

    e = (queue_redis_t *) q;
    key = qr_global(e, buf, "queues");

    qr_begin(e);
    qr_add(e, faas_text("SMEMBERS"), key);

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    /* `each` may use the engine: the answer does not outlive that */

    reply = redis_answer(e->redis, 0);

    name = calloc(reply->elements + 1, QUEUE_NAME_SIZE);
    if (name == NULL) {
        return FAAS_ERROR;
    }

    n = 0;

    for (i = 0; i < reply->elements; i++) {
        text = redis_reply_text(reply->element[i], &size);

        if (text && size < QUEUE_NAME_SIZE) {
            memcpy(name[n], text, size);
            name[n][size] = '\0';
            n += queue_name_is_valid(name[n]) ? 1 : 0;
        }
    }

    for (i = 0; rc == FAAS_OK && i < n; i++) {
        rc = each(name[i], data);
    }

    free(name);

    return rc;
}
