
/*
 * What all engines have in common: which one a URL means, and what may be
 * sent at all.
 */


#include <string.h>

#include "faas_event.h"
#include "queue.h"


/*
 * A program has the engines that it is linked with: one that is not there is
 * a null pointer here, and its URLs are refused.
 */

#pragma weak queue_sqlite
#pragma weak queue_redis


static const struct {
    const char            *scheme;
    const queue_engine_t  *engine;
} queue_schemes[] = {
    { "sqlite", &queue_sqlite },
    { "redis", &queue_redis },
    { "rediss", &queue_redis },
    { "redis+unix", &queue_redis },
    { "unix", &queue_redis },
    { "redis-sentinel", &queue_redis },
    { "redis-cluster", &queue_redis },
    { "rediss-sentinel", &queue_redis },
    { "rediss-cluster", &queue_redis },
};


const queue_engine_t *
queue_engine(const char *url)
{
    size_t  i, n;

    n = strcspn(url, ":");

    for (i = 0; i < sizeof(queue_schemes) / sizeof(queue_schemes[0]); i++) {
        if (strlen(queue_schemes[i].scheme) == n
            && memcmp(url, queue_schemes[i].scheme, n) == 0)
        {
            return queue_schemes[i].engine;
        }
    }

    return NULL;
}


int
queue_name_is_valid(const char *name)
{
    if (name == NULL) {
        return 0;
    }

    if (*name == '@') {
        name++;
    }

    /* longer than any name is as good as its length */
    return faas_name_is_valid(name, strnlen(name, QUEUE_NAME_SIZE));
}


int
queue_id_is_valid(const char *id)
{
    size_t  n;

    if (id == NULL) {
        return 0;
    }

    n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                   "0123456789._:-");

    return n > 0 && n < FAAS_MESSAGE_ID_SIZE && id[n] == '\0';
}


int
queue_message_check(const queue_message_t *m)
{
    if (!queue_name_is_valid(m->queue)
        || memchr(m->id, '\0', sizeof(m->id)) == NULL
        || !queue_id_is_valid(m->id)
        || m->sent_ms < 0 || m->due_ms < 0)
    {
        return FAAS_EINVAL;
    }

    return m->size <= QUEUE_DATA_MAX ? FAAS_OK : FAAS_ETOOLARGE;
}


int
queue_call_check(const queue_call_t *c, char *function)
{
    size_t       n;
    const char  *dot;

    dot = c->id != NULL ? strchr(c->id, '.') : NULL;

    if (dot == NULL || strlen(c->id) >= QUEUE_CALL_ID_SIZE
        || !faas_name_is_valid(c->id, (size_t) (dot - c->id))
        || !queue_id_is_valid(dot + 1)
        || strlen(c->idempotency) > QUEUE_IDEMPOTENCY_MAX)
    {
        return FAAS_EINVAL;
    }

    if (c->size > QUEUE_DATA_MAX) {
        return FAAS_ETOOLARGE;
    }

    n = (size_t) (dot - c->id);
    memcpy(function, c->id, n);
    function[n] = '\0';

    return FAAS_OK;
}
