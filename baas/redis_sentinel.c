
#include <stdlib.h>
#include <string.h>

#include "redis_inner.h"


static int redis_sentinel_ask_one(redis_t *r, const redis_address_t *a,
    int64_t deadline_ms, redis_address_t *master);
static int redis_sentinel_address(const redisReply *reply,
    redis_address_t *master);


/* the one that answered last comes first; each has its share of the time */
int
redis_sentinel_ask(redis_t *r, int64_t deadline_ms, redis_address_t *master)
{
    int64_t   now;
    uint32_t  i, one, n;

    n = r->url.addresses;

    for (i = 0; i < n; i++) {
        one = (r->sentinel + i) % n;
        now = redis_now_ms();

        if (redis_sentinel_ask_one(r, &r->url.address[one],
                                   now + (deadline_ms - now) / (n - i), master)
            == FAAS_OK)
        {
            r->sentinel = one;
            return FAAS_OK;
        }
    }

    return FAAS_EUNAVAILABLE;
}


static int
redis_sentinel_ask_one(redis_t *r, const redis_address_t *a,
    int64_t deadline_ms, redis_address_t *master)
{
    int            rc;
    char           address[REDIS_URL_HOST + 16];
    redisReply    *reply;
    redis_link_t   link;
    redis_login_t  login;
    const char    *argv[3];

    memset(&login, 0, sizeof(redis_login_t));
    login.user = r->url.sentinel_user;
    login.password = r->url.sentinel_password;
    login.trust = r->trust;
    login.resolver = &r->resolver;

    rc = redis_link_open(&link, a, &login, deadline_ms, r->why,
                         sizeof(r->why));
    if (rc != FAAS_OK) {
        return rc;
    }

    argv[0] = "SENTINEL";
    argv[1] = "get-master-addr-by-name";
    argv[2] = r->url.master;

    rc = redis_link_ask(&link, 3, argv, &reply, deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_sentinel_address(reply, master);

        if (rc != FAAS_OK) {
            redis_say(r, "redis %s: knows no master \"%s\"",
                      redis_address_text(a, address, sizeof(address)),
                      r->url.master);
        }

        freeReplyObject(reply);

    } else {
        redis_say(r, "redis %s: no answer",
                  redis_address_text(a, address, sizeof(address)));
    }

    redis_link_close(&link);

    return rc;
}


static int
redis_sentinel_address(const redisReply *reply, redis_address_t *master)
{
    size_t       n;
    int64_t      port;
    const char  *host;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return FAAS_EUNAVAILABLE;
    }

    host = redis_reply_text(reply->element[0], &n);

    if (host == NULL || n == 0 || n >= sizeof(master->host)
        || redis_reply_number(reply->element[1], &port) != FAAS_OK
        || port < 1 || port > 65535)
    {
        return FAAS_EUNAVAILABLE;
    }

    memcpy(master->host, host, n + 1);
    master->port = (uint16_t) port;

    return FAAS_OK;
}
