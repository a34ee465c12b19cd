
#include <stdlib.h>
#include <string.h>

#include "redis_inner.h"


struct redis_sub_s {
    redis_t                  *r;
    redis_node_t             *node;
    redis_link_t              link;        /* apart from the node's own */
    int                       pinged;      /* and nothing came since */
    size_t                    count;
    faas_bytes_t             *channels;    /* then their bytes, in one piece */
};


static int redis_sub_say(redis_sub_t *s, int64_t deadline_ms);
static int redis_sub_one(redis_sub_t *s, const redisReply *reply,
    void (*each)(faas_bytes_t channel, faas_bytes_t payload, void *data),
    void *data);
static int redis_sub_lost(redis_sub_t *s);


redis_sub_t *
redis_sub_create(redis_t *r, const faas_bytes_t *channels, size_t n)
{
    char         *p;
    size_t        i, size;
    redis_sub_t  *s;

    size = sizeof(redis_sub_t) + n * sizeof(faas_bytes_t);

    for (i = 0; i < n; i++) {
        size += channels[i].size;
    }

    s = calloc(1, size);
    if (s == NULL) {
        return NULL;
    }

    s->r = r;
    s->link.fd = -1;
    s->count = n;
    s->channels = (faas_bytes_t *) (s + 1);
    p = (char *) (s->channels + n);

    for (i = 0; i < n; i++) {
        s->channels[i].data = p;
        s->channels[i].size = channels[i].size;
        p = mempcpy(p, channels[i].data, channels[i].size);
    }

    return s;
}


void
redis_sub_destroy(redis_sub_t *s)
{
    if (s == NULL || !redis_is_ours(s->r)) {
        return;
    }

    redis_link_close(&s->link);
    free(s);
}


int
redis_sub_fd(const redis_sub_t *s)
{
    return s->link.fd;
}


int
redis_sub_connect(redis_sub_t *s, int64_t deadline_ms)
{
    int            rc;
    size_t         i;
    redisReply    *reply;
    redis_node_t  *node;

    if (!redis_is_ours(s->r)) {
        return FAAS_EUNSUPPORTED;
    }

    if (s->link.fd != -1) {
        return FAAS_OK;
    }

    /* in a cluster each node tells of all that is published */

    rc = redis_locate(s->r, s->channels[0], deadline_ms, &node);

    if (rc == FAAS_OK) {
        rc = redis_node_connect(s->r, node, &s->link, deadline_ms);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    rc = redis_sub_say(s, deadline_ms);

    for (i = 0; i < s->count && rc == FAAS_OK; i++) {
        rc = redis_link_read(&s->link, &reply, deadline_ms);

        if (rc == FAAS_OK) {
            rc = redis_code(reply);

            if (rc != FAAS_OK) {
                redis_say_error(s->r, node, reply);
            }

            freeReplyObject(reply);
        }
    }

    if (rc != FAAS_OK) {
        (void) redis_sub_lost(s);
        return rc == FAAS_EDENIED ? rc : FAAS_EUNAVAILABLE;
    }

    s->pinged = 0;
    redis_node_answered(node);

    return FAAS_OK;
}


static int
redis_sub_say(redis_sub_t *s, int64_t deadline_ms)
{
    int           rc, n;
    char         *command;
    size_t        i, sent, *sizes;
    const char  **argv;

    rc = FAAS_ERROR;
    argv = calloc(s->count + 1, sizeof(char *));
    sizes = calloc(s->count + 1, sizeof(size_t));

    if (argv == NULL || sizes == NULL) {
        goto done;
    }

    argv[0] = "SUBSCRIBE";
    sizes[0] = sizeof("SUBSCRIBE") - 1;

    for (i = 0; i < s->count; i++) {
        argv[i + 1] = s->channels[i].data;
        sizes[i + 1] = s->channels[i].size;
    }

    n = redisFormatCommandArgv(&command, (int) s->count + 1, argv, sizes);

    if (n != -1) {
        rc = redis_link_write(&s->link, command, (size_t) n, &sent,
                              deadline_ms);
        redisFreeCommand(command);
    }

done:

    free(argv);
    free(sizes);

    return rc;
}


int
redis_sub_read(redis_sub_t *s,
    void (*each)(faas_bytes_t channel, faas_bytes_t payload, void *data),
    void *data)
{
    int          rc;
    redisReply  *reply;

    if (!redis_is_ours(s->r)) {
        return FAAS_EUNSUPPORTED;
    }

    if (s->link.fd == -1) {
        return FAAS_EUNAVAILABLE;
    }

    for ( ;; ) {
        rc = redis_link_read(&s->link, &reply, 0);

        if (rc == FAAS_ETIMEDOUT) {
            return FAAS_OK;
        }

        if (rc != FAAS_OK) {
            return redis_sub_lost(s);
        }

        s->pinged = 0;
        rc = redis_sub_one(s, reply, each, data);
        freeReplyObject(reply);

        if (rc != FAAS_OK) {
            return redis_sub_lost(s);
        }
    }
}


/* ["message", channel, payload]; ["pong", ""] and others are signs of life */
static int
redis_sub_one(redis_sub_t *s, const redisReply *reply,
    void (*each)(faas_bytes_t channel, faas_bytes_t payload, void *data),
    void *data)
{
    size_t        n;
    const char   *kind;
    faas_bytes_t  channel, payload;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2) {
        return reply->type == REDIS_REPLY_ARRAY ? FAAS_ERROR
                                                : redis_code(reply);
    }

    kind = redis_reply_text(reply->element[0], &n);

    if (kind == NULL) {
        return FAAS_ERROR;
    }

    if (strcmp(kind, "message") != 0) {
        return FAAS_OK;
    }

    channel.data = redis_reply_text(reply->element[1], &channel.size);
    payload.data = reply->elements == 3
                   ? redis_reply_text(reply->element[2], &payload.size)
                   : NULL;

    if (channel.data == NULL || payload.data == NULL) {
        return FAAS_ERROR;
    }

    each(channel, payload, data);

    return s->link.fd == -1 ? FAAS_ERROR : FAAS_OK;
}


int
redis_sub_ping(redis_sub_t *s)
{
    size_t  sent;

    if (!redis_is_ours(s->r)) {
        return FAAS_EUNSUPPORTED;
    }

    if (s->link.fd == -1) {
        return FAAS_EUNAVAILABLE;
    }

    if (s->pinged) {
        redis_say(s->r, "redis: a subscription gives no sign of life");
        return redis_sub_lost(s);
    }

    s->pinged = 1;

    /* the socket's buffer is empty but for such */

    if (redis_link_write(&s->link, "*1\r\n$4\r\nPING\r\n", 14, &sent,
                         redis_now_ms() + 1)
        != FAAS_OK)
    {
        return redis_sub_lost(s);
    }

    return FAAS_OK;
}


static int
redis_sub_lost(redis_sub_t *s)
{
    redis_link_close(&s->link);
    s->r->stale = 1;

    return FAAS_EUNAVAILABLE;
}
