
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <faas.h>

#include "redis_reply.h"


/* does it begin with that, and end a word there?  Words of Redis's sentences
   (ERR ...) go on as they like. */
static int
redis_error_begins(const char *text, size_t size, const char *with)
{
    size_t  n;

    n = strlen(with);

    return size >= n && memcmp(text, with, n) == 0
           && (size == n || text[n] == ' ' || strchr(with, ' ') != NULL);
}


/*
 * By their first word; what Redis says with no word of its own ("ERR") by
 * what it says.  Those it has for single commands only (BUSYGROUP, NOGROUP)
 * are here for the queues.
 */

static const struct {
    const char               *text;
    int                       code;
} redis_errors[] = {
    { "LOADING",                              FAAS_EUNAVAILABLE },
    { "MASTERDOWN",                           FAAS_EUNAVAILABLE },
    { "CLUSTERDOWN",                          FAAS_EUNAVAILABLE },
    { "MOVED",                                FAAS_EUNAVAILABLE },
    { "ASK",                                  FAAS_EUNAVAILABLE },
    { "UNBLOCKED",                            FAAS_EUNAVAILABLE },
    { "ERR max number of clients reached",    FAAS_EUNAVAILABLE },
    { "TRYAGAIN",                             FAAS_EBUSY },
    { "BUSY",                                 FAAS_EBUSY },
    { "INPROG",                               FAAS_EBUSY },
    { "READONLY",                             FAAS_EREADONLY },
    { "MISCONF",                              FAAS_EREADONLY },
    { "NOREPLICAS",                           FAAS_EREADONLY },
    { "OOM",                                  FAAS_EFULL },
    { "NOAUTH",                               FAAS_EDENIED },
    { "WRONGPASS",                            FAAS_EDENIED },
    { "NOPERM",                               FAAS_EDENIED },
    { "DENIED",                               FAAS_EDENIED },
    { "ERR invalid password",                 FAAS_EDENIED },
    { "ERR AUTH ",                            FAAS_EDENIED },
    { "ERR Client sent AUTH",                 FAAS_EDENIED },
    { "WRONGTYPE",                            FAAS_ECORRUPT },
    { "CROSSSLOT",                            FAAS_EINVAL },
    { "ERR value is not an integer",          FAAS_EINVAL },
    { "ERR hash value is not an integer",     FAAS_EINVAL },
    { "ERR increment or decrement would overflow", FAAS_EINVAL },
    { "ERR invalid expire time",              FAAS_EINVAL },
    { "ERR unknown command",                  FAAS_EUNSUPPORTED },
    { "ERR unknown subcommand",               FAAS_EUNSUPPORTED },
    { "ERR DB index is out of range",         FAAS_EUNSUPPORTED },
    { "ERR SELECT is not allowed",            FAAS_EUNSUPPORTED },
    { "ERR This instance has cluster support disabled", FAAS_EUNSUPPORTED },
    { "BUSYGROUP",                            FAAS_ECONFLICT },
    { "BUSYKEY",                              FAAS_ECONFLICT },
    { "NOGROUP",                              FAAS_ENOTFOUND }
};


int
redis_error_code(const char *text, size_t size)
{
    size_t  i;

    for (i = 0; i < sizeof(redis_errors) / sizeof(redis_errors[0]); i++) {
        if (redis_error_begins(text, size, redis_errors[i].text)) {
            return redis_errors[i].code;
        }
    }

    return FAAS_ERROR;
}


int
redis_code(const redisReply *reply)
{
    size_t             i;
    const redisReply  *one;

    if (reply == NULL) {
        return FAAS_ETIMEDOUT;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        return redis_error_code(reply->str, reply->len);
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        return FAAS_OK;
    }

    for (i = 0; i < reply->elements; i++) {
        one = reply->element[i];

        if (one->type == REDIS_REPLY_ERROR) {
            return redis_error_code(one->str, one->len);
        }
    }

    return FAAS_OK;
}


/* what is no list of results says nothing of them */

int
redis_exec_code(const redisReply *reply)
{
    int  code;

    if (reply != NULL && reply->type == REDIS_REPLY_NIL) {
        return FAAS_ECONFLICT;
    }

    code = redis_code(reply);

    return code == FAAS_OK && reply->type != REDIS_REPLY_ARRAY ? FAAS_ERROR
                                                               : code;
}


int
redis_is_error(const redisReply *reply, const char *word)
{
    return reply != NULL && reply->type == REDIS_REPLY_ERROR
           && redis_error_begins(reply->str, reply->len, word);
}


/*
 * "MOVED 3999 127.0.0.1:6381", "ASK 3999 ::1:6381" (the port is behind the
 * last colon), and with a host that the node does not know: "MOVED 3999 :6381"
 */

int
redis_redirect(const redisReply *reply, redis_redirect_t *r)
{
    char        *end;
    size_t       n;
    const char  *p, *colon;
    long         slot, port;

    if (redis_is_error(reply, "MOVED")) {
        r->ask = 0;
        p = reply->str + sizeof("MOVED") - 1;

    } else if (redis_is_error(reply, "ASK")) {
        r->ask = 1;
        p = reply->str + sizeof("ASK") - 1;

    } else {
        return 0;
    }

    slot = strtol(p, &end, 10);

    if (end == p || *end != ' ' || slot < 0 || slot > 16383) {
        return 0;
    }

    p = end + 1;
    colon = strrchr(p, ':');

    if (colon == NULL) {
        return 0;
    }

    n = (size_t) (colon - p);
    port = strtol(colon + 1, &end, 10);

    if (end == colon + 1 || *end != '\0' || port < 1 || port > 65535
        || n >= sizeof(r->address.host))
    {
        return 0;
    }

    r->slot = (uint32_t) slot;
    r->address.port = (uint16_t) port;
    memcpy(r->address.host, p, n);
    r->address.host[n] = '\0';

    return 1;
}


int
redis_reply_number(const redisReply *reply, int64_t *number)
{
    char       *end;
    long long   n;

    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        *number = reply->integer;
        return FAAS_OK;
    }

    if (reply == NULL || reply->type != REDIS_REPLY_STRING || reply->len == 0
        || reply->len > 20 || strspn(reply->str, "-0123456789") != reply->len)
    {
        return FAAS_ECORRUPT;
    }

    errno = 0;
    n = strtoll(reply->str, &end, 10);

    if (*end != '\0' || errno != 0) {
        return FAAS_ECORRUPT;
    }

    *number = n;

    return FAAS_OK;
}


const char *
redis_reply_text(const redisReply *reply, size_t *size)
{
    if (reply == NULL
        || (reply->type != REDIS_REPLY_STRING
            && reply->type != REDIS_REPLY_STATUS))
    {
        *size = 0;
        return NULL;
    }

    *size = reply->len;

    return reply->str;
}
