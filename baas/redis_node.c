
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "redis_inner.h"


/* back-off: half of it is sure, half is chance; so a server that is back is
   found within a second */
#define REDIS_BACKOFF_FIRST_MS  50
#define REDIS_BACKOFF_LAST_MS   1000


static int redis_node_place(redis_t *r, redis_node_t *node,
    int64_t deadline_ms);
static void redis_node_failed(redis_node_t *node, int code);
static int redis_trust(redis_t *r);


redis_node_t *
redis_node(redis_t *r, const redis_address_t *a)
{
    size_t          i, room;
    redis_node_t   *node, **nodes;

    for (i = 0; i < r->count; i++) {
        node = r->nodes[i];

        if (node->address.port == a->port
            && strcasecmp(node->address.host, a->host) == 0)
        {
            return node;
        }
    }

    if (r->count == r->room) {
        room = r->room ? r->room * 2 : 4;

        nodes = reallocarray(r->nodes, room, sizeof(redis_node_t *));
        if (nodes == NULL) {
            return NULL;
        }

        r->nodes = nodes;
        r->room = room;
    }

    node = calloc(1, sizeof(redis_node_t));
    if (node == NULL) {
        return NULL;
    }

    node->address = *a;
    node->link.fd = -1;
    r->nodes[r->count++] = node;

    return node;
}


void
redis_node_free(redis_node_t *node)
{
    redis_link_close(&node->link);
    free(node);
}


int
redis_locate(redis_t *r, faas_bytes_t key, int64_t deadline_ms,
    redis_node_t **node)
{
    if (r->url.kind == REDIS_CLUSTER) {
        return redis_cluster_locate(r, redis_slot(key), deadline_ms, node);
    }

    *node = r->nodes[0];

    return FAAS_OK;
}


int
redis_node_open(redis_t *r, redis_node_t *node, int64_t deadline_ms)
{
    if (node->link.fd != -1) {

        /* an answer that nobody waits for any more, or the end: a server that
           was restarted, or closes idle connections, is found out before
           something is sent that may then have been done or not */

        if (redis_link_is_quiet(&node->link)) {
            return FAAS_OK;
        }

        redis_node_close(r, node);
    }

    return redis_node_connect(r, node, &node->link, deadline_ms);
}


int
redis_node_connect(redis_t *r, redis_node_t *node, redis_link_t *link,
    int64_t deadline_ms)
{
    int            rc;
    redis_login_t  login;

    if (redis_node_held_ms(node) > 0) {
        return node->code;
    }

    rc = redis_node_place(r, node, deadline_ms);

    if (rc == FAAS_OK) {
        memset(&login, 0, sizeof(redis_login_t));
        login.user = r->url.user;
        login.password = r->url.password;
        login.db = r->url.db;
        login.master = r->url.kind == REDIS_SENTINEL;
        login.proof = node->failures > 0;
        login.trust = r->trust;
        login.resolver = &r->resolver;

        rc = redis_link_open(link, &node->address, &login, deadline_ms,
                             r->why, sizeof(r->why));
    }

    if (rc != FAAS_OK) {
        if (rc == FAAS_EREADONLY) {
            rc = FAAS_EUNAVAILABLE;
        }

        redis_node_failed(node, rc);
        r->stale = 1;
    }

    return rc;
}


/* its address, if sentinels know it, and what TLS needs */
static int
redis_node_place(redis_t *r, redis_node_t *node, int64_t deadline_ms)
{
    if (r->url.tls && redis_trust(r) != FAAS_OK) {
        return FAAS_EUNAVAILABLE;
    }

    if (r->url.kind == REDIS_SENTINEL) {
        return redis_sentinel_ask(r, deadline_ms, &node->address);
    }

    return FAAS_OK;
}


static int
redis_trust(redis_t *r)
{
    if (r->trust == NULL) {
        r->trust = redis_trust_create(&r->url, r->why, sizeof(r->why));
    }

    return r->trust ? FAAS_OK : FAAS_EUNAVAILABLE;
}


/* -- back-off -------------------------------------------------------------- */

static void
redis_node_failed(redis_node_t *node, int code)
{
    int64_t   delay;
    uint32_t  chance;

    chance = 0;
    delay = REDIS_BACKOFF_FIRST_MS;

    (void) !getrandom(&chance, sizeof(chance), GRND_NONBLOCK);

    if (node->failures < 16) {
        delay <<= node->failures;
        node->failures++;
    }

    if (delay > REDIS_BACKOFF_LAST_MS || node->failures == 16) {
        delay = REDIS_BACKOFF_LAST_MS;
    }

    node->until_ms = redis_now_ms() + delay / 2 + chance % (delay / 2 + 1);
    node->code = code == FAAS_EDENIED || code == FAAS_EUNSUPPORTED
                 ? code : FAAS_EUNAVAILABLE;
}


void
redis_node_close(redis_t *r, redis_node_t *node)
{
    redis_link_close(&node->link);

    if (r->watched == node) {
        r->watched = NULL;
    }
}


/*
 * A connection that had worked may be made anew at once: somebody killed it.
 * The next has to prove itself (PING), and fails as one that cannot be made.
 */

void
redis_node_lost(redis_t *r, redis_node_t *node)
{
    int  answered;

    answered = node->link.answered;

    redis_node_close(r, node);
    r->stale = 1;

    if (answered && node->failures == 0) {
        node->failures = 1;
        return;
    }

    redis_node_failed(node, FAAS_EUNAVAILABLE);
}


void
redis_node_answered(redis_node_t *node)
{
    node->failures = 0;
    node->until_ms = 0;
}


int64_t
redis_node_held_ms(const redis_node_t *node)
{
    int64_t  left;

    if (node->until_ms == 0) {
        return 0;
    }

    left = node->until_ms - redis_now_ms();

    return left > 0 ? left : 0;
}


int64_t
redis_held_ms(const redis_t *r, faas_bytes_t key)
{
    redis_node_t  *node;

    if (r->url.kind != REDIS_CLUSTER) {
        return redis_node_held_ms(r->nodes[0]);
    }

    node = r->slots ? r->slots[redis_slot(key)] : NULL;

    return node ? redis_node_held_ms(node) : 0;
}
