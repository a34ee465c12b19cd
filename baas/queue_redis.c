
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_scoreboard.h"
#include "log.h"
#include "queue_redis.h"


#define QR_PING_MS      10000
#define QR_CONNECT_MS   500


/* whom to tell of queues that others have sent to */

typedef struct {
    queue_redis_t            *engine;
    void                    (*woken)(const char *queue, void *data);
    void                     *data;
} qr_wake_t;


static queue_t *qr_open(const char *url, const char *state, const char *node,
    char *why, size_t size);
static void qr_close(queue_t *q);
static int qr_descriptor(queue_t *q);
static void qr_readable(queue_t *q,
    void (*woken)(const char *queue, void *data), void *data);
static void qr_woken(faas_bytes_t channel, faas_bytes_t payload, void *data);
static void qr_tick(queue_t *q, int64_t now_ms, int64_t deadline_ms);
static void qr_said(queue_redis_t *e, int rc);
static int qr_is_outage(int rc);


const queue_engine_t  queue_redis = {
    .name = "redis",
    .open = qr_open,
    .close = qr_close,
    .descriptor = qr_descriptor,
    .readable = qr_readable,
    .tick = qr_tick,
    .send = qr_send,
    .receive = qr_receive,
    .settle = qr_settle,
    .extend = qr_extend,
    .stats = qr_stats,
    .list = qr_list,
    .dead = qr_dead,
    .dead_get = qr_dead_get,
    .dead_retry = qr_dead_retry,
    .dead_purge = qr_dead_purge,
    .timer_set = qr_timer_set,
    .timer_get = qr_timer_get,
    .timer_delete = qr_timer_delete,
    .timer_list = qr_timer_list,
    .timer_fire = qr_timer_fire,
    .call_submit = qr_call_submit,
    .call_get = qr_call_get,
    .call_put = qr_call_put,
};


/* the state directory is for engines that keep something there */

static queue_t *
qr_open(const char *url, const char *state, const char *node, char *why,
    size_t size)
{
    char            buf[QR_KEY_SIZE];
    faas_bytes_t    channel;
    queue_redis_t  *e;

    (void) state;

    e = calloc(1, sizeof(queue_redis_t));
    if (e == NULL) {
        (void) snprintf(why, size, "out of memory");
        return NULL;
    }

    e->queue.engine = &queue_redis;
    (void) snprintf(e->node, sizeof(e->node), "%s", node);

    e->redis = redis_create(url, why, size);
    if (e->redis == NULL) {
        qr_close(&e->queue);
        return NULL;
    }

    channel = qr_global(e, buf, "wake");

    e->sub = redis_sub_create(e->redis, &channel, 1);
    if (e->sub == NULL) {
        (void) snprintf(why, size, "out of memory");
        qr_close(&e->queue);
        return NULL;
    }

    return &e->queue;
}


static void
qr_close(queue_t *q)
{
    qr_queue_t     *queue;
    queue_redis_t  *e;

    e = (queue_redis_t *) q;

    if (e == NULL) {
        return;
    }

    redis_sub_destroy(e->sub);
    redis_destroy(e->redis);

    while (e->queues) {
        queue = e->queues;
        e->queues = queue->next;
        free(queue);
    }

    free(e);
}


static int
qr_descriptor(queue_t *q)
{
    return redis_sub_fd(((queue_redis_t *) q)->sub);
}


static void
qr_readable(queue_t *q, void (*woken)(const char *queue, void *data),
    void *data)
{
    qr_wake_t  wake;

    wake.engine = (queue_redis_t *) q;
    wake.woken = woken;
    wake.data = data;

    (void) redis_sub_read(wake.engine->sub, qr_woken, &wake);
}


/* "NODE QUEUE"; what this node has sent it knows of */

static void
qr_woken(faas_bytes_t channel, faas_bytes_t payload, void *data)
{
    char        text[QR_NODE_SIZE + QUEUE_NAME_SIZE + 1], *queue;
    qr_wake_t  *wake = data;

    (void) channel;

    if (payload.size >= sizeof(text)) {
        return;
    }

    memcpy(text, payload.data, payload.size);
    text[payload.size] = '\0';
    queue = strchr(text, ' ');

    if (queue == NULL) {
        return;
    }

    *queue++ = '\0';

    if (strcmp(text, wake->engine->node) != 0) {
        wake->woken(queue, wake->data);
    }
}


/*
 * Leases, what is due and what was left are looked after where a queue is
 * received from, keys expire by themselves; what remains is the channel.
 */

static void
qr_tick(queue_t *q, int64_t now_ms, int64_t deadline_ms)
{
    int64_t         now, limit;
    queue_redis_t  *e;

    (void) now_ms;

    e = (queue_redis_t *) q;
    now = redis_now_ms();
    limit = now + QR_CONNECT_MS;

    /* without it, what others send is found by looking once a second */

    if (redis_sub_connect(e->sub, limit < deadline_ms ? limit : deadline_ms)
        != FAAS_OK)
    {
        return;
    }

    if (now >= e->ping_ms) {
        e->ping_ms = now + QR_PING_MS;
        (void) redis_sub_ping(e->sub);
    }
}


/* -- keys ------------------------------------------------------------------ */

faas_bytes_t
qr_key(const queue_redis_t *e, char buf[QR_KEY_SIZE], const char *queue,
    const char *kind, const char *id)
{
    int           n;
    char          type;
    faas_bytes_t  key;

    type = 'q';

    if (*queue == '@') {
        type = 'f';
        queue++;
    }

    n = snprintf(buf, QR_KEY_SIZE, "%s{%c:%.64s}:%s%s%s",
                 redis_options(e->redis)->prefix, type, queue, kind,
                 id ? ":" : "", id ? id : "");

    /* parts are checked before: the longest is an idempotency key */

    key.data = buf;
    key.size = n < QR_KEY_SIZE ? (size_t) n : QR_KEY_SIZE - 1;

    return key;
}


faas_bytes_t
qr_global(const queue_redis_t *e, char buf[QR_KEY_SIZE], const char *kind)
{
    (void) snprintf(buf, QR_KEY_SIZE, "%s%s", redis_options(e->redis)->prefix,
                    kind);

    return faas_text(buf);
}


int
qr_is_together(const queue_redis_t *e, const char *a, const char *b)
{
    return redis_options(e->redis)->kind != REDIS_CLUSTER
           || strcmp(a, b) == 0;
}


qr_queue_t *
qr_queue(queue_redis_t *e, const char *name)
{
    qr_queue_t  *queue;

    for (queue = e->queues; queue; queue = queue->next) {

        if (strcmp(queue->name, name) == 0) {
            return queue;
        }
    }

    queue = calloc(1, sizeof(qr_queue_t));
    if (queue == NULL) {
        return NULL;
    }

    (void) snprintf(queue->name, sizeof(queue->name), "%s", name);

    queue->next = e->queues;
    e->queues = queue;

    return queue;
}


int
qr_listed(queue_redis_t *e, const char *name, int64_t deadline_ms)
{
    int           rc;
    char          buf[QR_KEY_SIZE];
    qr_queue_t   *queue;
    faas_bytes_t  key;

    queue = qr_queue(e, name);
    if (queue == NULL) {
        return FAAS_ERROR;
    }

    if (queue->listed) {
        return FAAS_OK;
    }

    key = qr_global(e, buf, "queues");

    qr_begin(e);
    qr_add(e, faas_text("SADD"), key, faas_text(name));

    rc = qr_run(e, key, REDIS_REPEAT, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(e->redis);
    }

    queue->listed = rc == FAAS_OK;

    return rc;
}


/* -- batches --------------------------------------------------------------- */

void
qr_begin(queue_redis_t *e)
{
    redis_batch(e->redis);

    e->commands = 0;
}


void
qr_command(queue_redis_t *e, const faas_bytes_t *argv, size_t argc)
{
    redis_command(e->redis, argv, argc);

    e->commands++;
}


int
qr_run(queue_redis_t *e, faas_bytes_t key, unsigned flags,
    int64_t deadline_ms)
{
    int  rc;

    if (qr_is_late(deadline_ms)) {
        return FAAS_ETIMEDOUT;
    }

    rc = redis_run(e->redis, key, flags, deadline_ms);

    e->watching = (flags & REDIS_WATCH) != 0;

    /* an outage is also what the answers say: LOADING, READONLY, OOM, ... */

    qr_said(e, rc == FAAS_OK ? redis_result(e->redis) : rc);

    return rc;
}


void
qr_multi(queue_redis_t *e)
{
    qr_begin(e);
    qr_add(e, faas_text("MULTI"));
}


int
qr_exec(queue_redis_t *e, faas_bytes_t key, const char *wake, int durable,
    int64_t deadline_ms)
{
    int                 rc;
    char                buf[QR_KEY_SIZE], number[2][REDIS_NUMBER];
    char                said[QR_NODE_SIZE + QUEUE_NAME_SIZE + 1];
    size_t              i, exec;
    int64_t             replicas;
    const redis_url_t  *url;

    url = redis_options(e->redis);
    durable = durable && url->wait;

    exec = e->commands;
    qr_add(e, faas_text("EXEC"));

    if (durable) {
        qr_add(e, faas_text("WAIT"), redis_number(number[0], url->wait),
               redis_number(number[1], url->wait_timeout_ms));
    }

    if (wake) {
        (void) snprintf(said, sizeof(said), "%s %s", e->node, wake);
        qr_add(e, faas_text("PUBLISH"), qr_global(e, buf, "wake"),
               faas_text(said));
    }

    rc = qr_run(e, key, e->watching ? REDIS_EXEC : 0, deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    /* what could not be queued says why, EXEC only that */

    for (i = 0; i < exec; i++) {
        rc = redis_code(redis_answer(e->redis, i));

        if (rc != FAAS_OK) {
            qr_said(e, rc);
            return rc;
        }
    }

    rc = redis_exec_code(redis_answer(e->redis, exec));
    qr_said(e, rc);

    if (rc != FAAS_OK || !durable) {
        return rc;
    }

    if (qr_number(redis_answer(e->redis, exec + 1), &replicas) != FAAS_OK
        || replicas < url->wait)
    {
        return FAAS_EUNAVAILABLE;
    }

    return FAAS_OK;
}


const redisReply *
qr_executed(const queue_redis_t *e, size_t i)
{
    size_t             n;
    const redisReply  *reply;

    for (n = 0; ; n++) {
        reply = redis_answer(e->redis, n);

        if (reply == NULL) {
            return NULL;
        }

        if (reply->type == REDIS_REPLY_ARRAY) {
            return i < reply->elements ? reply->element[i] : NULL;
        }
    }
}


int
qr_number(const redisReply *reply, int64_t *number)
{
    *number = 0;

    return reply ? redis_reply_number(reply, number) : FAAS_ECORRUPT;
}


int
qr_is_late(int64_t deadline_ms)
{
    return redis_now_ms() >= deadline_ms;
}


int64_t
qr_time(const redisReply *reply)
{
    int64_t  s, us;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 2
        || qr_number(reply->element[0], &s) != FAAS_OK
        || qr_number(reply->element[1], &us) != FAAS_OK)
    {
        return 0;
    }

    return s * 1000 + us / 1000;
}


const redisReply *
qr_field(const redisReply *fields, const char *name)
{
    size_t       i, n, size;
    const char  *text;

    if (fields == NULL || fields->type != REDIS_REPLY_ARRAY) {
        return NULL;
    }

    n = strlen(name);

    for (i = 0; i + 1 < fields->elements; i += 2) {
        text = redis_reply_text(fields->element[i], &size);

        if (text && size == n && memcmp(text, name, n) == 0) {
            return fields->element[i + 1];
        }
    }

    return NULL;
}


/* -- what is wrong, told once ---------------------------------------------- */

static void
qr_said(queue_redis_t *e, int rc)
{
    if (rc == FAAS_OK) {

        if (e->down != FAAS_OK) {
            log_line(LOG_NOTICE, 0, "queues in Redis are back");
            e->down = FAAS_OK;
        }

        return;
    }

    if (!qr_is_outage(rc) || rc == e->down) {
        return;
    }

    log_line(LOG_ERROR, 0, "queues in Redis: %s: %s", faas_error(rc),
             redis_why(e->redis));

    e->down = rc;
}


static int
qr_is_outage(int rc)
{
    return rc == FAAS_EUNAVAILABLE || rc == FAAS_ETIMEDOUT
           || rc == FAAS_EDENIED || rc == FAAS_EFULL
           || rc == FAAS_EREADONLY;
}


/* -- messages -------------------------------------------------------------- */

size_t
qr_fields(faas_bytes_t *argv, size_t n, const queue_message_t *m,
    uint32_t attempt, uint64_t fence, char numbers[3][REDIS_NUMBER])
{
    argv[n++] = faas_text("i");
    argv[n++] = faas_text(m->id);
    argv[n++] = faas_text("t");
    argv[n++] = redis_number(numbers[0], m->sent_ms);
    argv[n++] = faas_text("a");
    argv[n++] = redis_number(numbers[1], attempt);
    argv[n++] = faas_text("f");
    argv[n++] = redis_number(numbers[2], (int64_t) fence);
    argv[n++] = faas_text("d");
    argv[n].data = m->data;
    argv[n++].size = m->size;

    return n;
}


void
qr_put(queue_redis_t *e, const queue_message_t *m, uint32_t attempt,
    uint64_t fence, int64_t due_ms, int64_t now_ms)
{
    char          buf[QR_KEY_SIZE], numbers[3][REDIS_NUMBER];
    size_t        n;
    faas_bytes_t  argv[16];

    n = 0;

    if (due_ms <= now_ms) {
        argv[n++] = faas_text("XADD");
        argv[n++] = qr_key(e, buf, m->queue, "s", NULL);
        argv[n++] = faas_text("*");
        n = qr_fields(argv, n, m, attempt, fence, numbers);
        qr_command(e, argv, n);

        return;
    }

    argv[n++] = faas_text("HSET");
    argv[n++] = qr_key(e, buf, m->queue, "d", m->id);
    n = qr_fields(argv, n, m, attempt, fence, numbers);
    qr_command(e, argv, n);

    qr_add(e, faas_text("ZADD"), qr_key(e, buf, m->queue, "z", NULL),
           redis_number(numbers[0], due_ms), faas_text(m->id));
}


int
qr_message(const redisReply *fields, const char *entry, queue_message_t *m,
    int copy, queue_alloc_pt alloc, void *data)
{
    char        *p;
    size_t       size;
    int64_t      attempt, fence;
    const char  *id, *bytes;

    if (fields == NULL || fields->type != REDIS_REPLY_ARRAY
        || fields->elements == 0)
    {
        return FAAS_ENOTFOUND;
    }

    id = redis_reply_text(qr_field(fields, "i"), &size);

    if (id && size < sizeof(m->id)) {
        memcpy(m->id, id, size);
        m->id[size] = '\0';

    } else {
        (void) snprintf(m->id, sizeof(m->id), "%.63s", entry);
    }

    /* numbers are 0 where there is none */

    (void) qr_number(qr_field(fields, "t"), &m->sent_ms);
    (void) qr_number(qr_field(fields, "a"), &attempt);
    (void) qr_number(qr_field(fields, "f"), &fence);

    if (m->sent_ms <= 0) {
        m->sent_ms = strtoll(entry, NULL, 10);
    }

    m->attempt = attempt > 0 && attempt <= UINT32_MAX ? (uint32_t) attempt : 0;
    m->fence = fence > 0 ? (uint64_t) fence : 0;
    m->due_ms = 0;
    m->data = NULL;
    m->size = 0;

    bytes = redis_reply_text(qr_field(fields, "d"), &size);

    if (bytes) {
        m->size = size;
    }

    if (!copy) {
        return FAAS_OK;
    }

    p = alloc(data, m->size + 1);
    if (p == NULL) {
        return FAAS_ERROR;
    }

    if (m->size) {
        memcpy(p, bytes, m->size);
    }

    p[m->size] = '\0';
    m->data = p;

    return FAAS_OK;
}
