
/*
 * What the files redis*.c share, and nobody else sees.
 *
 *   redis.c           a redis_t, its batches and answers
 *   redis_run.c       a batch: where to, once more, or not
 *   redis_node.c      servers: connected when needed, and back-off
 *   redis_sentinel.c  who is the master
 *   redis_cluster.c   who has a slot
 *   redis_link.c      a connection: connect, log in, bytes and deadlines
 *   redis_tls.c       TLS for it
 *   redis_resolve.c   names
 *   redis_sub.c       subscriptions
 *   redis_context.c   hiredis' contexts, for functions
 *   redis_tunnel.c    TLS for those
 */


#ifndef REDIS_INNER_H_INCLUDED
#define REDIS_INNER_H_INCLUDED


#include "redis.h"
#include "redis_link.h"


#define REDIS_SLOTS     16384

/* room in front of a batch for "*1\r\n$7\r\nUNWATCH\r\n" */
#define REDIS_HEADROOM  17


/* a server: made when it is first heard of, freed with the redis_t, or when a
   cluster does not list it any more */

typedef struct {
    redis_address_t           address;     /* SENTINEL: as last told, "" */
    redis_link_t              link;

    /* back-off */
    uint32_t                  failures;    /* in a row */
    int64_t                   until_ms;    /* not tried before; 0: now */
    int                       code;        /* what calls get meanwhile */

    int                       listed;      /* redis_cluster_refresh() */
} redis_node_t;


typedef enum {
    REDIS_PLAIN = 0,
    REDIS_CONTROL,             /* MULTI, WATCH, UNWATCH, DISCARD: does nothing
                                  to data */
    REDIS_EXECUTE              /* EXEC */
} redis_role_e;

/* one command of the batch */

typedef struct {
    size_t                    offset;      /* in out; it ends at the next */
    redis_role_e              role;
    int                       inside;      /* between MULTI and EXEC, or EXEC */
} redis_command_t;


typedef struct redis_tunnel_s  redis_tunnel_t;


struct redis_s {
    uint64_t                  mark;        /* of the process that made it */
    redis_url_t               url;
    redis_trust_t            *trust;       /* made with the first TLS */
    redis_resolver_t          resolver;
    char                      why[REDIS_WHY];

    /* nodes[0] is the only one unless CLUSTER; there they come and go */
    redis_node_t            **nodes;
    size_t                    count;
    size_t                    room;

    /* SENTINEL: the one to be asked first */
    uint32_t                  sentinel;

    /* CLUSTER: node of each slot, NULL before it is known */
    redis_node_t            **slots;
    int                       stale;       /* 1: it should be asked for anew */
    int64_t                   asked_ms;    /* when that was last done */

    /* the batch: bytes from REDIS_HEADROOM on */
    char                     *out;
    size_t                    out_size;
    size_t                    out_room;
    redis_command_t          *commands;
    size_t                    commands_count;
    size_t                    commands_room;
    int                       inside;      /* MULTI was added, and no EXEC */
    int                       failed;      /* out of memory */

    /* its answers; NULL before they were read */
    redisReply              **answers;
    size_t                    answers_count;

    /* where a REDIS_WATCH went, NULL: none */
    redis_node_t             *watched;
    int                       watched_ask; /* it was asked with ASKING */

    /* redis_context() */
    redisContext             *context;
    redis_tunnel_t           *tunnel;
    redis_node_t             *context_node;
    int                       context_used;  /* 1: by an earlier request */
};


/* -- redis.c --------------------------------------------------------------- */

int redis_is_ours(const redis_t *r);

/* the deadline, or the URL's timeout from now on, whichever is first */
int64_t redis_deadline(const redis_t *r, int64_t deadline_ms);

void redis_forget_answers(redis_t *r);
void redis_say(redis_t *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* what an error of a server says, as the reason */
void redis_say_error(redis_t *r, const redis_node_t *node,
    const redisReply *reply);


/* -- redis_node.c ---------------------------------------------------------- */

/* the node of that address, made if there is none; NULL: out of memory */
redis_node_t *redis_node(redis_t *r, const redis_address_t *a);
void redis_node_free(redis_node_t *node);

/* where the key is: FAAS_OK, or a code with a reason */
int redis_locate(redis_t *r, faas_bytes_t key, int64_t deadline_ms,
    redis_node_t **node);

/* connected, and nothing to be read: FAAS_OK, or a code with a reason; at once
   in a back-off */
int redis_node_open(redis_t *r, redis_node_t *node, int64_t deadline_ms);

/* one more connection to it, as the caller's */
int redis_node_connect(redis_t *r, redis_node_t *node, redis_link_t *link,
    int64_t deadline_ms);

/* the connection failed: closed, and counted */
void redis_node_lost(redis_t *r, redis_node_t *node);

/* closed, and nothing said against it */
void redis_node_close(redis_t *r, redis_node_t *node);

/* it did what was asked: the row of failures ends */
void redis_node_answered(redis_node_t *node);
int64_t redis_node_held_ms(const redis_node_t *node);


/* -- redis_sentinel.c, redis_cluster.c ------------------------------------- */

/* asks one after the other: FAAS_OK and *master, or FAAS_EUNAVAILABLE */
int redis_sentinel_ask(redis_t *r, int64_t deadline_ms,
    redis_address_t *master);

uint32_t redis_slot(faas_bytes_t key);

/* the node of the slot, as far as is known; asks if need be */
int redis_cluster_locate(redis_t *r, uint32_t slot, int64_t deadline_ms,
    redis_node_t **node);

/* MOVED said so */
void redis_cluster_moved(redis_t *r, uint32_t slot, redis_node_t *node);


/* -- redis_context.c, redis_tunnel.c --------------------------------------- */

void redis_context_drop(redis_t *r);

/*
 * A thread that carries bytes between a TLS connection and a socket pair.
 * Takes the link over (also when it fails) and gives the other end in *fd,
 * the caller's, and closed by the caller before redis_tunnel_destroy().
 */
redis_tunnel_t *redis_tunnel_create(redis_link_t *link, int *fd);
void redis_tunnel_destroy(redis_tunnel_t *t);


#endif /* REDIS_INNER_H_INCLUDED */
