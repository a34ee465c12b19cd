
#include <stdlib.h>
#include <string.h>

#include "redis_inner.h"


/* the map is not asked for more often, whatever happens */
#define REDIS_CLUSTER_PAUSE_MS  100


static int redis_cluster_refresh(redis_t *r, int64_t deadline_ms);
static int redis_cluster_ask(redis_t *r, redis_node_t *node,
    int64_t deadline_ms);
static int redis_cluster_install(redis_t *r, const redis_node_t *teller,
    const redisReply *reply);
static int redis_cluster_range(redis_t *r, const redis_node_t *teller,
    const redisReply *range, redis_node_t **slots);
static void redis_cluster_sweep(redis_t *r);


/* -- the slot of a key (CRC16 of XMODEM: polynomial 0x1021) ---------------- */

static uint16_t
redis_crc16(const unsigned char *p, size_t n)
{
    int       i;
    uint16_t  crc;

    for (crc = 0; n > 0; n--) {
        crc ^= (uint16_t) (*p++ << 8);

        for (i = 0; i < 8; i++) {
            crc = (uint16_t) (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
        }
    }

    return crc;
}


/* what is between the first { and the first } behind it, unless that is
   nothing; else all of it */
uint32_t
redis_slot(faas_bytes_t key)
{
    const char  *p, *end, *open, *close;

    p = key.data;
    end = p + key.size;
    open = key.size ? memchr(p, '{', key.size) : NULL;

    if (open != NULL) {
        close = memchr(open + 1, '}', (size_t) (end - open - 1));

        if (close != NULL && close != open + 1) {
            p = open + 1;
            end = close;
        }
    }

    return redis_crc16((const unsigned char *) p, (size_t) (end - p))
           & (REDIS_SLOTS - 1);
}


/* -- who has it ------------------------------------------------------------ */

int
redis_cluster_locate(redis_t *r, uint32_t slot, int64_t deadline_ms,
    redis_node_t **node)
{
    int  rc;

    if (r->slots == NULL
        || (r->stale
            && redis_now_ms() - r->asked_ms >= REDIS_CLUSTER_PAUSE_MS))
    {
        rc = redis_cluster_refresh(r, deadline_ms);

        /* an old map is better than none */

        if (rc != FAAS_OK && r->slots == NULL) {
            return rc;
        }
    }

    *node = r->slots[slot];

    if (*node == NULL) {
        redis_say(r, "redis: no node of the cluster has slot %u", slot);
        r->stale = 1;
        return FAAS_EUNAVAILABLE;
    }

    return FAAS_OK;
}


void
redis_cluster_moved(redis_t *r, uint32_t slot, redis_node_t *node)
{
    if (r->slots != NULL) {
        r->slots[slot] = node;
    }

    r->stale = 1;
}


/* asks those that there is a connection to, then those that are known, then
   those of the URL */
static int
redis_cluster_refresh(redis_t *r, int64_t deadline_ms)
{
    int             rc;
    size_t          i, n;
    int64_t         now;
    redis_node_t   *node, **others;

    for (i = 0; i < r->url.addresses; i++) {
        if (redis_node(r, &r->url.address[i]) == NULL) {
            return FAAS_ERROR;
        }
    }

    n = r->count;

    others = malloc(n * sizeof(redis_node_t *));
    if (others == NULL) {
        return FAAS_ERROR;
    }

    memcpy(others, r->nodes, n * sizeof(redis_node_t *));

    for (i = 1; i < n; i++) {
        if (others[i]->link.fd != -1) {
            node = others[0];
            others[0] = others[i];
            others[i] = node;
            break;
        }
    }

    rc = FAAS_EUNAVAILABLE;

    for (i = 0; i < n && rc != FAAS_OK; i++) {
        now = redis_now_ms();
        rc = redis_cluster_ask(r, others[i],
                               now + (deadline_ms - now) / (int64_t) (n - i));
    }

    free(others);
    r->asked_ms = redis_now_ms();

    return rc;
}


static int
redis_cluster_ask(redis_t *r, redis_node_t *node, int64_t deadline_ms)
{
    int          rc;
    redisReply  *reply;

    static const char  *argv[] = { "CLUSTER", "SLOTS" };

    rc = redis_node_open(r, node, deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    rc = redis_link_ask(&node->link, 2, argv, &reply, deadline_ms);

    if (rc != FAAS_OK) {
        redis_say(r, "redis: no answer to CLUSTER SLOTS");
        redis_node_lost(r, node);
        return FAAS_EUNAVAILABLE;
    }

    rc = redis_code(reply);

    if (rc != FAAS_OK) {
        redis_say_error(r, node, reply);

    } else {
        rc = redis_cluster_install(r, node, reply);
    }

    freeReplyObject(reply);

    return rc;
}


/* [[first, last, [host, port, id ...], replicas ...], ...] */
static int
redis_cluster_install(redis_t *r, const redis_node_t *teller,
    const redisReply *reply)
{
    size_t          i;
    redis_node_t  **slots;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        redis_say(r, "redis: a cluster without slots");
        return FAAS_EUNAVAILABLE;
    }

    slots = calloc(REDIS_SLOTS, sizeof(redis_node_t *));
    if (slots == NULL) {
        return FAAS_ERROR;
    }

    for (i = 0; i < r->count; i++) {
        r->nodes[i]->listed = 0;
    }

    for (i = 0; i < reply->elements; i++) {
        if (redis_cluster_range(r, teller, reply->element[i], slots)
            != FAAS_OK)
        {
            free(slots);
            redis_say(r, "redis: CLUSTER SLOTS cannot be read");
            return FAAS_EUNAVAILABLE;
        }
    }

    free(r->slots);
    r->slots = slots;
    r->stale = 0;

    redis_cluster_sweep(r);

    return FAAS_OK;
}


static int
redis_cluster_range(redis_t *r, const redis_node_t *teller,
    const redisReply *range, redis_node_t **slots)
{
    size_t             n;
    int64_t            first, last, port;
    const char        *host;
    redis_node_t      *node;
    redis_address_t    a;
    const redisReply  *master;

    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3
        || redis_reply_number(range->element[0], &first) != FAAS_OK
        || redis_reply_number(range->element[1], &last) != FAAS_OK
        || first < 0 || last >= REDIS_SLOTS || first > last)
    {
        return FAAS_ERROR;
    }

    master = range->element[2];

    if (master->type != REDIS_REPLY_ARRAY || master->elements < 2
        || redis_reply_number(master->element[1], &port) != FAAS_OK
        || port < 1 || port > 65535)
    {
        return FAAS_ERROR;
    }

    memset(&a, 0, sizeof(redis_address_t));
    a.port = (uint16_t) port;
    host = redis_reply_text(master->element[0], &n);

    /* a node that does not know its own address */

    if (host == NULL || n == 0 || strcmp(host, "?") == 0) {
        host = teller->address.host;
        n = strlen(host);
    }

    if (n >= sizeof(a.host)) {
        return FAAS_ERROR;
    }

    memcpy(a.host, host, n);
    node = redis_node(r, &a);

    if (node == NULL) {
        return FAAS_ERROR;
    }

    for (node->listed = 1; first <= last; first++) {
        slots[first] = node;
    }

    return FAAS_OK;
}


/* nodes that have no slot any more, and no connection */
static void
redis_cluster_sweep(redis_t *r)
{
    size_t         i, n;
    redis_node_t  *node;

    n = 0;

    for (i = 0; i < r->count; i++) {
        node = r->nodes[i];

        if (!node->listed && node->link.fd == -1 && node != r->watched
            && node != r->context_node)
        {
            redis_node_free(node);
            continue;
        }

        r->nodes[n++] = node;
    }

    r->count = n;
}
