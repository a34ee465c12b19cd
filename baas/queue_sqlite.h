
/*
 * The queue engine in a SQLite file: what its parts share.
 *
 *   queue_sqlite.c            the table of operations, open, close, tick
 *   queue_sqlite_operation.c  transactions, statements, codes
 *   queue_sqlite_file.c       the file: opened, given up, opened again
 *   queue_sqlite_schema.c     tables, and all SQL there is
 *   queue_sqlite_messages.c   send, receive
 *   queue_sqlite_settle.c     settle, extend
 *   queue_sqlite_queues.c     queues and their figures
 *   queue_sqlite_dead.c       dead letters
 *   queue_sqlite_timers.c     timers
 *   queue_sqlite_calls.c      records of async calls
 *   queue_sqlite_keep.c       checkpoints, and forgetting
 *
 * Each operation is one transaction, begun IMMEDIATE where it writes, so that
 * it never has to give up half way for another node's sake, and synced when
 * it is committed; but for leases: all who could have one end with the power,
 * and what is sent or settled afterwards syncs them, too.
 *
 * One message is one row of `messages`, and its (queue, state, place) one
 * entry of an index, in which everything that is asked is a seek:
 *
 *   state              place, in which order they are found
 *   QS_READY    0      0: as they were sent, by seq
 *   QS_DELAYED  1      wall clock ms when it is due
 *   QS_LEASED   2      ms when the lease is over
 *   QS_DEAD     3      ms when it died
 *   QS_DONE     4      ms when its id is forgotten
 *
 * Nothing is moved when its time comes: who receives takes leases that are
 * over, then what is due and what is ready, the older first.  A clock that is
 * set back holds up what is delayed, never what is ready.  Fences come from
 * one counter, so a lease is named by its fence alone.  How many there are of
 * a queue in each state is kept with the queue (queue_sqlite_count()), since
 * counting would be O(n).
 *
 * Data of more than QS_INLINE bytes has a row of its own in `bodies`, so that
 * a lease, which writes the message's row anew, does not write them.
 *
 * Checkpoints: only by the node that has the lock on PATH-checkpointer
 * (queue_sqlite_keep.c says why).
 */


#ifndef QUEUE_SQLITE_H_INCLUDED
#define QUEUE_SQLITE_H_INCLUDED


#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "queue.h"


#define QS_VERSION      1               /* of the schema: user_version */
#define QS_APPLICATION  0x46614151      /* application_id, "FaAQ" */
#define QS_INLINE       1024            /* bytes */
#define QS_STEP         256             /* rows in one transaction, where an
                                           operation may be about all */
#define QS_AGAIN_MS     1000            /* before what failed is opened again */
#define QS_DELTAS       16
#define QS_PATH_SIZE    4096
#define QS_PATH_MAX     4000            /* "-checkpointer" is appended */


/* states of a message, as they are stored */

#define QS_READY    0
#define QS_DELAYED  1
#define QS_LEASED   2
#define QS_DEAD     3
#define QS_DONE     4
#define QS_STATES   5


/* index of queue_sqlite_sql[] */

typedef enum {
    QS_BEGIN = 0,
    QS_BEGIN_WRITE,
    QS_BEGIN_LEASE,
    QS_COMMIT,
    QS_ROLLBACK,
    QS_FENCE,

    QS_QUEUE_FIND,
    QS_QUEUE_ADD,
    QS_QUEUE_COUNT,
    QS_QUEUE_LIST,
    QS_QUEUE_AFTER,
    QS_QUEUE_REMOVE,
    QS_STATE_UNTIL,
    QS_STATE_NEXT,

    QS_MESSAGE_ADD,
    QS_MESSAGE_FORGOTTEN,
    QS_MESSAGE_DELETE,
    QS_MESSAGE_FIND,
    QS_MESSAGE_READ,
    QS_MESSAGE_LEASE,
    QS_MESSAGE_MOVE,
    QS_MESSAGE_SENT,
    QS_MESSAGE_DONE,
    QS_MESSAGE_EXTEND,
    QS_MESSAGE_FORGET,
    QS_BODY_ADD,
    QS_BODY_READ,
    QS_BODY_DELETE,

    QS_DEAD_FIND,
    QS_DEAD_LIST,
    QS_DEAD_NEXT,

    QS_TIMER_SET,
    QS_TIMER_GET,
    QS_TIMER_LIST,
    QS_TIMER_DELETE,
    QS_TIMER_FIRE,
    QS_TIMER_RUNS,
    QS_TIMER_ENDED,

    QS_CALL_FIND,
    QS_CALL_EXPIRE_KEY,
    QS_CALL_ADD,
    QS_CALL_GET,
    QS_CALL_PUT,
    QS_CALL_IS,
    QS_CALL_EXPIRE,

    QS_FREE_PAGES,
    QS_VACUUM,

    QS_STATEMENTS
} queue_sqlite_sql_e;


/* what a transaction changed in the figures of one queue; written when it
   ends */

typedef struct {
    int64_t                   queue;       /* its row */
    int64_t                   by[QS_STATES];
} queue_sqlite_delta_t;


/* one node's handle; made by open, freed by close */

typedef struct {
    queue_t                   queue;       /* first: what the user sees */
    char                     *path;
    int                       is_default;  /* in the state directory, which
                                              we make */

    /* the file, while it is open */
    sqlite3                  *db;
    sqlite3_stmt             *statements[QS_STATEMENTS];
    dev_t                     wal_device;
    ino_t                     wal_inode;
    int                       is_relaxed;  /* commits are not synced now */

    /* while it is not */
    int64_t                   again_ms;    /* monotonic: not before */
    int                       code;        /* why */

    /* this operation */
    int64_t                   deadline_ms;
    int                       rc;          /* SQLite's, of what failed first */
    int                       error;       /* errno to it, or 0 */
    char                      text[160];   /* SQLite's words for it */
    queue_sqlite_delta_t      deltas[QS_DELTAS];
    unsigned                  ndeltas;

    int                       said;        /* code that was logged last, until
                                              an operation succeeds */

    /* queue_sqlite_keep.c */
    int                       lock;        /* the checkpointer's, or -1 */
    int                       wal_pages;   /* after our last commit */
    int                       lock_said;   /* that it cannot be had */
    int64_t                   checkpoint_ms;   /* monotonic: the last one */
    int                       checkpoint_said; /* SQLite's code, logged */
    int64_t                   swept;       /* the queue that was swept last */
} queue_sqlite_t;


extern const char *const  queue_sqlite_sql[QS_STATEMENTS];


/* -- queue_sqlite_schema.c ------------------------------------------------- */

/* is the database ours?  version 0: it is empty, and may become so.  SQLITE_OK,
   or another code, with words in why[size] when it is somebody else's.  In the
   caller's transaction, since it looks more than once.  Writes nothing. */
int queue_sqlite_known(sqlite3 *db, int *version, char *why, size_t size);

/* makes the tables */
int queue_sqlite_make(sqlite3 *db, char *why, size_t size);


/* -- queue_sqlite_file.c --------------------------------------------------- */

/* that it is open: FAAS_OK, or why it is not */
int queue_sqlite_ready(queue_sqlite_t *s);

/* closed; and for a while nothing but this code */
void queue_sqlite_give_up(queue_sqlite_t *s, int code);

void queue_sqlite_close_file(queue_sqlite_t *s);


/* -- queue_sqlite_operation.c ---------------------------------------------- */

int64_t queue_sqlite_clock(void);     /* monotonic, ms */

/*
 * An operation: begin; statements; end.  begin opens the file when it is not
 * open, and is FAAS_OK, or nothing is to be ended.  end commits what came to
 * FAAS_OK, rolls back everything else and returns the code of the whole.
 * QS_BEGIN: reads; QS_BEGIN_WRITE: is on the disk when it has ended;
 * QS_BEGIN_LEASE: will be.
 */
int queue_sqlite_begin(queue_sqlite_t *s, queue_sqlite_sql_e how,
    int64_t deadline_ms);
int queue_sqlite_end(queue_sqlite_t *s, int code);

/*
 * A statement with its values, given by the letters of `types`: t text (NULL:
 * SQL's), i int64_t, b blob (const void *, size_t; never NULL in SQL), n NULL.
 * _run: to its end.  _row: FAAS_OK with the first row in *st, which is to be
 * given to _done or to _next, or FAAS_ENOTFOUND when there is none, or a code.
 * _next: the same for the row after it.  What is bound has to stay until the
 * statement is done.
 */
int queue_sqlite_run(queue_sqlite_t *s, queue_sqlite_sql_e sql,
    const char *types, ...);
int queue_sqlite_row(queue_sqlite_t *s, sqlite3_stmt **st,
    queue_sqlite_sql_e sql, const char *types, ...);
int queue_sqlite_next(queue_sqlite_t *s, sqlite3_stmt *st);
void queue_sqlite_done(sqlite3_stmt *st);

/* rows changed by the last statement */
int queue_sqlite_changes(queue_sqlite_t *s);

/* a column's bytes, or text, from alloc, with a zero behind them; NULL: out
   of memory */
void *queue_sqlite_copy(sqlite3_stmt *st, int column, queue_alloc_pt alloc,
    void *data);

/* notes SQLite's rc as what failed, and returns its code of faas.h; that code
   alone, for an rc and an errno; and the line about it in the log */
int queue_sqlite_failed(queue_sqlite_t *s, int rc);
int queue_sqlite_code(int rc, int error);
void queue_sqlite_say(queue_sqlite_t *s, int code);

/* one of the fences, higher than all before */
int queue_sqlite_fence(queue_sqlite_t *s, unsigned n, int64_t *last);


/* -- queue_sqlite_queues.c ------------------------------------------------- */

/* the row of a queue, FAAS_ENOTFOUND; _make: makes it */
int queue_sqlite_queue(queue_sqlite_t *s, const char *name, int64_t *queue);
int queue_sqlite_queue_make(queue_sqlite_t *s, const char *name,
    int64_t *queue);

/* a message of this queue went from one state to another; -1: to or from
   nowhere */
int queue_sqlite_count(queue_sqlite_t *s, int64_t queue, int from, int to);
int queue_sqlite_count_write(queue_sqlite_t *s);

int queue_sqlite_stats(queue_t *q, const char *queue, queue_stats_t *stats,
    int64_t now_ms, int64_t deadline_ms);
int queue_sqlite_list(queue_t *q,
    int (*each)(const char *queue, void *data), void *data,
    int64_t deadline_ms);


/* -- queue_sqlite_messages.c ----------------------------------------------- */

/* sends it in the transaction that is open; *known, unless NULL: 1 when the
   queue remembered its id */
int queue_sqlite_put(queue_sqlite_t *s, const queue_message_t *m,
    int64_t now_ms, int *known);

/* columns of QS_MESSAGE_READ */

#define QS_READ_QUEUE    0
#define QS_READ_STATE    1
#define QS_READ_FENCE    2
#define QS_READ_ID       3
#define QS_READ_ATTEMPT  4
#define QS_READ_SENT     5
#define QS_READ_SINCE    6
#define QS_READ_SIZE     7
#define QS_READ_DATA     8
#define QS_READ_REASON   9

/* the message of that row, all but its queue and fence; FAAS_ERROR also when
   alloc has no memory */
int queue_sqlite_message(queue_sqlite_t *s, sqlite3_stmt *st, int64_t seq,
    queue_message_t *m, queue_alloc_pt alloc, void *data);

int queue_sqlite_send(queue_t *q, const queue_message_t *m, int *code,
    size_t n, int64_t now_ms, int64_t deadline_ms);
int queue_sqlite_receive(queue_t *q, const char *queue, int64_t lease_ms,
    queue_message_t *m, size_t *n, queue_alloc_pt alloc, void *data,
    int64_t now_ms, int64_t deadline_ms);


/* -- queue_sqlite_settle.c ------------------------------------------------- */

/* makes a message DONE: only its id is left */
int queue_sqlite_drop(queue_sqlite_t *s, int64_t queue, int64_t seq, int from,
    int64_t size);

int queue_sqlite_settle(queue_t *q, queue_settlement_t *settlement, size_t n,
    int64_t now_ms, int64_t deadline_ms);
int queue_sqlite_extend(queue_t *q, const queue_message_t *m,
    int64_t lease_ms, int64_t now_ms, int64_t deadline_ms);


/* -- queue_sqlite_dead.c --------------------------------------------------- */

int queue_sqlite_dead(queue_t *q, const char *queue, const char *after,
    uint32_t limit,
    int (*each)(const queue_message_t *m, const char *reason, void *data),
    void *data, int64_t deadline_ms);
int queue_sqlite_dead_get(queue_t *q, const char *queue, const char *id,
    queue_message_t *m, const char **reason, queue_alloc_pt alloc, void *data,
    int64_t deadline_ms);
int queue_sqlite_dead_retry(queue_t *q, const char *queue, const char *id,
    uint64_t *n, int64_t now_ms, int64_t deadline_ms);
int queue_sqlite_dead_purge(queue_t *q, const char *queue, const char *id,
    uint64_t *n, int64_t deadline_ms);


/* -- queue_sqlite_timers.c ------------------------------------------------- */

int queue_sqlite_timer_set(queue_t *q, const queue_timer_t *t,
    int64_t deadline_ms);
int queue_sqlite_timer_get(queue_t *q, const char *key, queue_timer_t *t,
    int64_t deadline_ms);
int queue_sqlite_timer_delete(queue_t *q, const char *key,
    int64_t deadline_ms);
int queue_sqlite_timer_list(queue_t *q,
    int (*each)(const queue_timer_t *t, void *data), void *data,
    int64_t deadline_ms);
int queue_sqlite_timer_fire(queue_t *q, const queue_timer_t *t,
    int64_t next_ms, queue_message_t *m,
    int (*build)(queue_message_t *m, uint64_t fence, void *data), void *data,
    uint64_t *fence, int64_t now_ms, int64_t deadline_ms);


/* -- queue_sqlite_calls.c -------------------------------------------------- */

int queue_sqlite_call_submit(queue_t *q, const queue_call_t *c,
    const queue_message_t *m, char *id, int64_t now_ms, int64_t deadline_ms);
int queue_sqlite_call_get(queue_t *q, const char *id, queue_call_t *c,
    queue_alloc_pt alloc, void *data, int64_t now_ms, int64_t deadline_ms);
int queue_sqlite_call_put(queue_t *q, const queue_call_t *c, uint32_t from,
    int64_t now_ms, int64_t deadline_ms);


/* -- queue_sqlite_keep.c --------------------------------------------------- */

void queue_sqlite_keep(queue_sqlite_t *s, int64_t now_ms,
    int64_t deadline_ms);
void queue_sqlite_unlock(queue_sqlite_t *s);


#endif /* QUEUE_SQLITE_H_INCLUDED */
