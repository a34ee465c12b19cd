
/*
 * The queue engine in Redis: what its parts share.
 *
 *   queue_redis.c           the table of operations, open, close, tick, keys
 *   queue_redis_send.c      sends: group commits, ids that are remembered
 *   queue_redis_receive.c   what is new: leases
 *   queue_redis_left.c      what is due, what a lease that ran out has left
 *   queue_redis_settle.c    verdicts; longer leases
 *   queue_redis_queues.c    queues and their figures
 *   queue_redis_dead.c      dead letters
 *   queue_redis_timers.c    timers
 *   queue_redis_calls.c     records of async calls
 *
 * No Lua: what is read and then written is watched (WATCH, MULTI, EXEC), on
 * keys so small that only a real conflict makes it begin again.
 *
 * Keys, behind the prefix.  All of one queue have one tag, so that they are in
 * one slot of a cluster: {q:NAME}, and {f:NAME} for "@NAME", where timers and
 * calls of the function NAME are too.
 *
 *   TAG:s        stream, one entry for each ready or leased message; its group
 *                is "faas", its consumers are the nodes' names, which are
 *                stable and never deleted (pending entries would go with them)
 *   TAG:l:ENTRY  hash, the lease of a delivered entry: f fence, e its end (ms,
 *                Redis's clock), n node
 *   TAG:z        sorted set of delayed messages' ids by when they are due
 *   TAG:d:ID     hash, such a message
 *   TAG:x        sorted set of dead messages' ids by when they died
 *   TAG:x:ID     hash, such a message
 *   TAG:m:ID     an id that is remembered; expires a day after the message
 *                was sent, but not while it is in the queue
 *   TAG:t:KEY    hash, a timer; without `spec` it was deleted, and the rest
 *                is its fence
 *   TAG:c:ID     hash, the record of an async call
 *   TAG:k:KEY    hash, an idempotency key: h hash of the request, i call,
 *                e its end (ms)
 *   queues       set of names of queues
 *   timers       set of keys of timers
 *   wake         channel: a queue that something was sent to
 *
 * A message's fields, in stream and hashes: i id, t sent, a attempts, f its
 * last fence, d data; of a dead one also w when it died, r reason.
 *
 * An acknowledged entry is deleted from the stream in the transaction that
 * acknowledges it, so nothing is ever trimmed that was not, and the stream is
 * as long as there is work.
 *
 * Leases.  XREADGROUP makes an entry pending, which alone is no lease: who
 * may have it is said by TAG:l:ENTRY, and every change of that is a
 * transaction that watches it.  XAUTOCLAIM cannot be in such a one, since it
 * chooses the entries itself; so those that were left are found by XPENDING,
 * and taken by XCLAIM with a new fence, in one step.  An entry without lease
 * is taken when it has been pending for QR_ORPHAN_MS: its node died between
 * reading and leasing it, or is about to lease it, and then both do, and the
 * later has the higher fence: the other's verdict is refused, as after any
 * lease that ran out.
 */


#ifndef QUEUE_REDIS_H_INCLUDED
#define QUEUE_REDIS_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "queue.h"
#include "redis.h"


#define QR_GROUP        "faas"
#define QR_KEY_SIZE     768
#define QR_STEP         256               /* messages in one transaction */
#define QR_STEP_BYTES   (8 * 1024 * 1024)
#define QR_MOVE         16                /* due messages moved in one step */
#define QR_CLAIM        64                /* pending entries looked at */
#define QR_CLAIM_MS     100               /* how often, for each queue */
#define QR_ORPHAN_MS    1000
#define QR_NODE_SIZE    64
#define QR_ENTRY_SIZE   64                /* "1700000000000-0" */

/* how long a lease that is over is remembered beyond its end: until then its
   holder may still settle, if nobody else got it */
#define QR_LEASE_KEEP_MS  (24ll * 3600 * 1000)


/* what this node knows of a queue; made when it is first used, never freed
   before the engine is closed */

typedef struct qr_queue_s  qr_queue_t;

struct qr_queue_s {
    qr_queue_t               *next;
    char                      name[QUEUE_NAME_SIZE];
    int                       listed;      /* 1: is in the set of queues */
    char                      cursor[QR_ENTRY_SIZE];    /* pending entries
                                              beyond it are looked at next,
                                              "" from the first */
    int64_t                   claim_ms;    /* CLOCK_MONOTONIC: when */
    uint64_t                  mean_bytes;  /* of received messages, EWMA */
};


typedef struct {
    queue_t                   queue;       /* first */
    redis_t                  *redis;
    redis_sub_t              *sub;
    char                      node[QR_NODE_SIZE];
    qr_queue_t               *queues;
    size_t                    commands;    /* in the batch */
    int                       watching;    /* 1: the last batch watched */
    int                       down;        /* the code that was logged last,
                                              FAAS_OK: it is up */
    int64_t                   ping_ms;     /* CLOCK_MONOTONIC: the next */
} queue_redis_t;


/* a key of a queue: TAG:KIND or TAG:KIND:ID, id may be NULL; in buf */
faas_bytes_t qr_key(const queue_redis_t *e, char buf[QR_KEY_SIZE],
    const char *queue, const char *kind, const char *id);

/* a key that is not of a queue */
faas_bytes_t qr_global(const queue_redis_t *e, char buf[QR_KEY_SIZE],
    const char *kind);

/* may both be in one transaction? */
int qr_is_together(const queue_redis_t *e, const char *a, const char *b);

/* NULL: out of memory */
qr_queue_t *qr_queue(queue_redis_t *e, const char *name);


/* puts it into the set of queues, before its first message: a queue there may
   be empty, but none with messages is missing.  FAAS_OK or a code */
int qr_listed(queue_redis_t *e, const char *name, int64_t deadline_ms);


/* a batch: begin, add (or qr_command), run, and read the answers */
void qr_begin(queue_redis_t *e);
void qr_command(queue_redis_t *e, const faas_bytes_t *argv, size_t argc);

#define qr_add(e, ...)                                                        \
    qr_command(e, (const faas_bytes_t []) { __VA_ARGS__ },                    \
               sizeof((const faas_bytes_t []) { __VA_ARGS__ })                \
               / sizeof(faas_bytes_t))

/* as redis_run(); logs when Redis is lost and found again */
int qr_run(queue_redis_t *e, faas_bytes_t key, unsigned flags,
    int64_t deadline_ms);

/*
 * Ends a transaction that began with qr_multi() in an empty batch, and runs
 * it.  FAAS_ECONFLICT: begin again from WATCH; other codes of the
 * transaction.  When `wake` is not NULL, all nodes are told that this queue
 * has something; when `durable`, replicas are waited for as the URL says
 * (FAAS_EUNAVAILABLE: too few have it by now).
 */
void qr_multi(queue_redis_t *e);
int qr_exec(queue_redis_t *e, faas_bytes_t key, const char *wake, int durable,
    int64_t deadline_ms);

/* the answer to EXEC: element i, the transaction's command i; NULL beyond */
const redisReply *qr_executed(const queue_redis_t *e, size_t i);

/* FAAS_OK, or FAAS_ECORRUPT when the answers are not of the form expected */
int qr_number(const redisReply *reply, int64_t *number);

/* is it past the deadline?  For loops over conflicts. */
int qr_is_late(int64_t deadline_ms);

/* server's time out of the answer to TIME, ms */
int64_t qr_time(const redisReply *reply);

/* a field of a flat list NAME VALUE ..., or NULL */
const redisReply *qr_field(const redisReply *fields, const char *name);


/*
 * Writes a message into the batch: as ready if it is due, else as delayed.
 * fence: its last one.  The id is not remembered by this.
 */
void qr_put(queue_redis_t *e, const queue_message_t *m, uint32_t attempt,
    uint64_t fence, int64_t due_ms, int64_t now_ms);

/* its fields as arguments, from argv[n] on, 10 of them; numbers[3] keeps the
   digits; returns the count afterwards */
size_t qr_fields(faas_bytes_t *argv, size_t n, const queue_message_t *m,
    uint32_t attempt, uint64_t fence, char numbers[3][REDIS_NUMBER]);

/*
 * A message out of its fields: id, times, attempt, fence (its last), data
 * (with `copy`: from alloc, zero-terminated; else NULL, but size is said).
 * queue is not set.  What others have put into the stream may have a `d` only:
 * its id and time are those of `entry` then, which is "" where every message
 * is ours.  FAAS_OK; FAAS_ENOTFOUND: no fields; FAAS_ERROR.
 */
int qr_message(const redisReply *fields, const char *entry, queue_message_t *m,
    int copy, queue_alloc_pt alloc, void *data);


int qr_send(queue_t *q, const queue_message_t *m, int *code, size_t n,
    int64_t now_ms, int64_t deadline_ms);
int qr_receive(queue_t *q, const char *queue, int64_t lease_ms,
    queue_message_t *m, size_t *n, queue_alloc_pt alloc, void *data,
    int64_t now_ms, int64_t deadline_ms);
int qr_settle(queue_t *q, queue_settlement_t *s, size_t n, int64_t now_ms,
    int64_t deadline_ms);
int qr_extend(queue_t *q, const queue_message_t *m, int64_t lease_ms,
    int64_t now_ms, int64_t deadline_ms);

int qr_stats(queue_t *q, const char *queue, queue_stats_t *stats,
    int64_t now_ms, int64_t deadline_ms);
int qr_list(queue_t *q, int (*each)(const char *queue, void *data),
    void *data, int64_t deadline_ms);

int qr_dead(queue_t *q, const char *queue, const char *after, uint32_t limit,
    int (*each)(const queue_message_t *m, const char *reason, void *data),
    void *data, int64_t deadline_ms);
int qr_dead_get(queue_t *q, const char *queue, const char *id,
    queue_message_t *m, const char **reason, queue_alloc_pt alloc, void *data,
    int64_t deadline_ms);
int qr_dead_retry(queue_t *q, const char *queue, const char *id, uint64_t *n,
    int64_t now_ms, int64_t deadline_ms);
int qr_dead_purge(queue_t *q, const char *queue, const char *id, uint64_t *n,
    int64_t deadline_ms);

int qr_timer_set(queue_t *q, const queue_timer_t *t, int64_t deadline_ms);
int qr_timer_get(queue_t *q, const char *key, queue_timer_t *t,
    int64_t deadline_ms);
int qr_timer_delete(queue_t *q, const char *key, int64_t deadline_ms);
int qr_timer_list(queue_t *q, int (*each)(const queue_timer_t *t, void *data),
    void *data, int64_t deadline_ms);
int qr_timer_fire(queue_t *q, const queue_timer_t *t, int64_t next_ms,
    queue_message_t *m,
    int (*build)(queue_message_t *m, uint64_t fence, void *data), void *data,
    uint64_t *fence, int64_t now_ms, int64_t deadline_ms);

/* the key of a timer's hash */
faas_bytes_t qr_timer_key(const queue_redis_t *e, char buf[QR_KEY_SIZE],
    const char *key);

int qr_call_submit(queue_t *q, const queue_call_t *c,
    const queue_message_t *m, char *id, int64_t now_ms, int64_t deadline_ms);
int qr_call_get(queue_t *q, const char *id, queue_call_t *c,
    queue_alloc_pt alloc, void *data, int64_t now_ms, int64_t deadline_ms);
int qr_call_put(queue_t *q, const queue_call_t *c, uint32_t from,
    int64_t now_ms, int64_t deadline_ms);


#endif /* QUEUE_REDIS_H_INCLUDED */
