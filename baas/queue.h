
/*
 * The engine below queues, async calls and timers, behind one table of
 * operations.  The events process is its only user, on one thread; several
 * nodes may share one engine (Redis, or one SQLite file on one machine), so
 * each operation is atomic among them.  The conformance suite
 * (tests/unit/queue_conformance.h) is run against each engine.
 *
 * A message is ready, delayed (ready at due_ms), leased (given to a node
 * until lease_ms is over) or dead.  A lease has a fence: a number that rises
 * with each lease of that message; who settles a message with a fence that is
 * not the current one is too late: FAAS_ECONFLICT, and nothing is changed.
 * The fence stays the current one until somebody else gets a lease, also when
 * the time is over.  A lease that runs out makes the message ready again with
 * the same attempt: attempts are counted by verdicts (QUEUE_RETRY,
 * QUEUE_DEAD), that is by calls that failed.
 *
 * A queue is read in the order in which its messages became ready (those of
 * one send in their order); one that comes back, because its lease ran out or
 * because it was released, need not find its old place.
 *
 * A queue remembers ids of messages while they are in it, and for
 * QUEUE_MEMORY_MS after they were sent: one of the same id is then not sent
 * again, and that is FAAS_OK.
 *
 * Codes are those of faas.h; FAAS_ERROR: out of memory, or a fault of ours,
 * which was logged.  After FAAS_EUNAVAILABLE and FAAS_ETIMEDOUT a change may
 * have been made, after all others none was.  An operation takes at most until
 * deadline_ms (CLOCK_MONOTONIC); an engine that is not there answers
 * FAAS_EUNAVAILABLE, or with the code that says why it is not, at once while
 * its back-off lasts.  Each is logged when it begins and when it is over.
 * Names and ids are checked (FAAS_EINVAL), and data of a message or record is
 * at most QUEUE_DATA_MAX (FAAS_ETOOLARGE); what users may send is less.
 *
 * Times of messages are wall clock, milliseconds since the epoch; `now_ms` of
 * the caller is what counts as now, except that Redis leases and times to
 * live end by its own clock.  `each` of a listing is called when the engine is
 * done with it, and may call the engine.
 */


#ifndef QUEUE_H_INCLUDED
#define QUEUE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <faas.h>


#define QUEUE_NAME_SIZE      66         /* "@", a function's name, a zero */
#define QUEUE_CALL_ID_SIZE   128        /* its name, ".", 32 digits, a zero */
#define QUEUE_IDEMPOTENCY_MAX  256      /* bytes of such a key */
#define QUEUE_REASON_SIZE    256        /* a longer one is cut */
#define QUEUE_DATA_MAX       (32 * 1024 * 1024)
#define QUEUE_MEMORY_MS      (24ll * 3600 * 1000)

/* in one receive, unless the first message alone is larger */
#define QUEUE_RECEIVE_BYTES  (8 * 1024 * 1024)


typedef struct queue_s  queue_t;


/* one message; strings and data are the caller's when sent, from the `alloc`
   of receive when received (data with a zero behind its end) */

typedef struct {
    const char               *queue;
    char                      id[FAAS_MESSAGE_ID_SIZE];
    const void               *data;
    size_t                    size;
    int64_t                   sent_ms;     /* 0: now */
    int64_t                   due_ms;      /* not before; 0: at once */
    uint32_t                  attempt;     /* failed ones so far; a new one
                                              begins with 0 */

    /* of a received one */
    uint64_t                  fence;
    char                      handle[64];  /* the engine's own word for it */
} queue_message_t;


typedef enum {
    QUEUE_DONE = 1,            /* forget it */
    QUEUE_RETRY,               /* attempt + 1, ready at due_ms */
    QUEUE_RELEASE,             /* attempt as it was, ready at due_ms: it was
                                  not started */
    QUEUE_DEAD                 /* attempt + 1, to the dead letters, with
                                  reason */
} queue_verdict_e;

typedef struct {
    const queue_message_t    *message;     /* as received */
    queue_verdict_e           verdict;
    int64_t                   due_ms;      /* RETRY, RELEASE */
    const char               *reason;      /* DEAD; one line */
    const char               *timer;       /* not NULL: with DONE or DEAD the
                                              timer of this key is not running
                                              any more, if it is the firing
                                              timer_fence that is running */
    uint64_t                  timer_fence;
    int                       code;        /* set by the engine */
} queue_settlement_t;


typedef struct {
    uint64_t                  ready;
    uint64_t                  delayed;
    uint64_t                  leased;
    uint64_t                  dead;
    int64_t                   oldest_ms;   /* when the next ready one became
                                              so; 0: there is none */
    int64_t                   next_ms;     /* when the next delayed or leased
                                              one may become ready; 0: none */
} queue_stats_t;


/* a timer as it is stored; key "FUNCTION/NAME" */

typedef struct {
    char                      key[160];
    char                      spec[256];   /* text it was made from: another
                                              text is another timer */
    int64_t                   due_ms;      /* the next due time */
    int64_t                   last_ms;     /* the last that fired, 0: none */
    uint64_t                  fence;       /* of the last firing, 0: none; it
                                              rises with each, also when the
                                              timer was deleted meanwhile */
    int                       running;     /* 1: what fired is not settled */
} queue_timer_t;


/* an async call's record: `data` is opaque here, state decides who may change
   it.  The id begins with the function's name and a dot. */

typedef struct {
    const char               *id;
    const char               *idempotency; /* key, "" for none; unique for
                                              the function while the record
                                              lives */
    const uint8_t            *hash;        /* 32 bytes, of the request */
    uint32_t                  state;       /* wire_call_e */
    const void               *data;
    size_t                    size;
    int64_t                   expires_ms;  /* then it is forgotten */
} queue_call_t;


typedef void *(*queue_alloc_pt)(void *data, size_t n);


typedef struct {
    const char               *name;        /* "sqlite", "redis" */

    /* connects, or will; NULL with a line in why[size] only for what cannot
       ever be.  node: this node's name, stable over restarts */
    queue_t *(*open)(const char *url, const char *state, const char *node,
                     char *why, size_t size);
    void (*close)(queue_t *q);

    /* a descriptor that is readable when there may be something new from
       other nodes, or -1; and what is to be called then: it calls `woken` for
       each queue that they have sent to */
    int  (*descriptor)(queue_t *q);
    void (*readable)(queue_t *q, void (*woken)(const char *queue, void *data),
                     void *data);

    /* housekeeping, about once a second: checkpoint, trim, claim, expire,
       connect again */
    void (*tick)(queue_t *q, int64_t now_ms, int64_t deadline_ms);

    /* all n durable (one commit, one round trip), with a code for each */
    int  (*send)(queue_t *q, const queue_message_t *m, int *code, size_t n,
                 int64_t now_ms, int64_t deadline_ms);

    /* up to *n leased, oldest first; their number in *n, 0: none ready */
    int  (*receive)(queue_t *q, const char *queue, int64_t lease_ms,
                    queue_message_t *m, size_t *n, queue_alloc_pt alloc,
                    void *data, int64_t now_ms, int64_t deadline_ms);

    /* a code in each; FAAS_OK when all were looked at */
    int  (*settle)(queue_t *q, queue_settlement_t *s, size_t n,
                   int64_t now_ms, int64_t deadline_ms);

    /* lease_ms from now on, for a message whose call takes longer */
    int  (*extend)(queue_t *q, const queue_message_t *m, int64_t lease_ms,
                   int64_t now_ms, int64_t deadline_ms);

    int  (*stats)(queue_t *q, const char *queue, queue_stats_t *stats,
                  int64_t now_ms, int64_t deadline_ms);

    /* each queue that has messages, dead ones too, and perhaps some that are
       empty; non-zero from `each` ends it and is returned, here and below */
    int  (*list)(queue_t *q, int (*each)(const char *queue, void *data),
                 void *data, int64_t deadline_ms);

    /* dead letters, in order of death, without their data (NULL, but size is
       said); message->due_ms is when it died.  after: an id, or NULL;
       FAAS_ENOTFOUND when that one is dead no more */
    int  (*dead)(queue_t *q, const char *queue, const char *after,
                 uint32_t limit,
                 int (*each)(const queue_message_t *m, const char *reason,
                             void *data),
                 void *data, int64_t deadline_ms);

    /* one of them, with data; FAAS_ENOTFOUND */
    int  (*dead_get)(queue_t *q, const char *queue, const char *id,
                     queue_message_t *m, const char **reason,
                     queue_alloc_pt alloc, void *data, int64_t deadline_ms);

    /* id NULL: all of the queue, in steps: at the deadline FAAS_ETIMEDOUT,
       and the rest is for another call; how many in *n, whatever the code.
       A retried one is ready, with attempt 0, and sent now.
       FAAS_ENOTFOUND: no such id */
    int  (*dead_retry)(queue_t *q, const char *queue, const char *id,
                       uint64_t *n, int64_t now_ms, int64_t deadline_ms);
    int  (*dead_purge)(queue_t *q, const char *queue, const char *id,
                       uint64_t *n, int64_t deadline_ms);

    /*
     * Timers.  set: makes the timer unless there is one of that key and spec
     * already; one of another spec is replaced (due_ms and last_ms are those
     * of t; running and fence stay).  get, delete: FAAS_ENOTFOUND.
     * fire: if the stored due_ms and spec are those of t, then in one step
     * its due time becomes next_ms, last_ms t->due_ms, the fence rises (new
     * value in *fence), and m, unless it is NULL, is sent and the timer is
     * running (unless the queue remembers that id); with m NULL it runs on if
     * it did.  `build` sets data and size with that fence; what it returns
     * but FAAS_OK is returned, and nothing is changed.  FAAS_ECONFLICT:
     * another node was first, or there is no such timer.
     */
    int  (*timer_set)(queue_t *q, const queue_timer_t *t, int64_t deadline_ms);
    int  (*timer_get)(queue_t *q, const char *key, queue_timer_t *t,
                      int64_t deadline_ms);
    int  (*timer_delete)(queue_t *q, const char *key, int64_t deadline_ms);
    int  (*timer_list)(queue_t *q,
                       int (*each)(const queue_timer_t *t, void *data),
                       void *data, int64_t deadline_ms);
    int  (*timer_fire)(queue_t *q, const queue_timer_t *t, int64_t next_ms,
                       queue_message_t *m,
                       int (*build)(queue_message_t *m, uint64_t fence,
                                    void *data),
                       void *data, uint64_t *fence, int64_t now_ms,
                       int64_t deadline_ms);

    /*
     * Async calls.  submit: record and message in one step.  FAAS_OK, also
     * when the idempotency key, or the id, is known with the same hash (then
     * the earlier id in id[QUEUE_CALL_ID_SIZE], else the new one),
     * FAAS_ECONFLICT: with another hash.  get: the record from alloc, data
     * with a zero behind its end.  put: replaces state, data and expiry if
     * the state stored is one of `from` (bits 1 << wire_call_e), else
     * FAAS_ECONFLICT; the key and hash of c are not looked at.  A record
     * that has expired is not there: FAAS_ENOTFOUND.
     */
    int  (*call_submit)(queue_t *q, const queue_call_t *c,
                        const queue_message_t *m, char *id, int64_t now_ms,
                        int64_t deadline_ms);
    int  (*call_get)(queue_t *q, const char *id, queue_call_t *c,
                     queue_alloc_pt alloc, void *data, int64_t now_ms,
                     int64_t deadline_ms);
    int  (*call_put)(queue_t *q, const queue_call_t *c, uint32_t from,
                     int64_t now_ms, int64_t deadline_ms);
} queue_engine_t;


struct queue_s {
    const queue_engine_t     *engine;
};


extern const queue_engine_t  queue_sqlite;     /* "sqlite", "sqlite:PATH" */
extern const queue_engine_t  queue_redis;      /* "redis://...", "rediss://",
                                                  "redis-sentinel://",
                                                  "redis-cluster://" */

/* the engine for a URL of faas_queue; NULL: there is none, or this program was
   linked without it */
const queue_engine_t *queue_engine(const char *url);

/* rules of all engines, 0 or 1: "NAME" or "@NAME"; 1 to 64 of
   [A-Za-z0-9._:-]; a message that may be sent: FAAS_OK or a code */
int queue_name_is_valid(const char *name);
int queue_id_is_valid(const char *id);
int queue_message_check(const queue_message_t *m);

/* a call's record that may be submitted; its function's name, which its id
   begins with, in function[QUEUE_NAME_SIZE] */
int queue_call_check(const queue_call_t *c, char *function);


#endif /* QUEUE_H_INCLUDED */
