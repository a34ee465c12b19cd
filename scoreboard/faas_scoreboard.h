
/*
 * The scoreboard: the one piece of memory that nginx workers and the
 * supervisor share.  It is a memfd, sparse, made by the supervisor, held by
 * the keeper, handed to every nginx master over faas_state/control, and
 * mapped by nothing else: no process that runs user code ever sees it.
 *
 * Byte map.  A board of S bytes holds, in this order, each region aligned
 * to a page; the offsets stand in the header and nobody computes them twice:
 *
 *   header     one page            what the board is, and board-wide state
 *   workers    256 records         one for each nginx worker process
 *   functions  F = S / 128 KiB     one for each function name
 *   versions   2F                  one for each loaded content of a function
 *   chunks     4F                  64 slots each; a version owns up to 16
 *   cells      F * 256             what one worker counts for one function
 *   routes     2 buffers of S / 8  the published route table (faas_routes.h)
 *
 * Who may write what.  Every field names its writer.  "supervisor" is the
 * one process that holds the lock on faas_state.  "worker" is the nginx
 * worker whose record index the cell or the slot's owner bits name.  Words
 * with more than one writer are the slot words (faas_slot.h), the hints and
 * masks (atomic and-or), and the kick flags (atomic exchange).
 *
 * Lifetime of indices.  A function, version or slot index is reused; a
 * reader that keeps one keeps the generation beside it, and compares.
 *
 * Times are CLOCK_MONOTONIC milliseconds (_ms), microseconds (_us) or
 * nanoseconds (_ns).  Text is zero-padded, always terminated.
 *
 * Nothing here takes a lock.  Text that changes in place (errors) is guarded
 * by a sequence number, odd while it is being written (faas_text_t).
 */


#ifndef FAAS_SCOREBOARD_H_INCLUDED
#define FAAS_SCOREBOARD_H_INCLUDED


#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "faas_page.h"


/* the vocabulary of results is nginx's, spelled out for code without nginx */

#define FAAS_OK        0
#define FAAS_ERROR    -1
#define FAAS_AGAIN    -2
#define FAAS_BUSY     -3
#define FAAS_DONE     -4
#define FAAS_DECLINED -5


#define FAAS_SCOREBOARD_MAGIC    0x3144524142534146ull    /* "FASBARD1" */

/* given by tests only, which build what does not belong together */
#ifndef FAAS_SCOREBOARD_LAYOUT
#define FAAS_SCOREBOARD_LAYOUT   5
#endif

#define FAAS_SCOREBOARD_SIZE_MIN       (1024 * 1024)
#define FAAS_SCOREBOARD_SIZE_DEFAULT   (64 * 1024 * 1024)
#define FAAS_SCOREBOARD_SIZE_MAX       (4096ull * 1024 * 1024)

#define FAAS_WORKERS        256    /* worker records, and eventfds */
#define FAAS_WORKER_NONE    0xfff
#define FAAS_CHUNK_SLOTS    64
#define FAAS_VERSION_CHUNKS 16     /* so at most 1024 instances a version */
#define FAAS_MAX_INSTANCES  (FAAS_CHUNK_SLOTS * FAAS_VERSION_CHUNKS)
#define FAAS_NAME_SIZE      64     /* [a-z0-9][a-z0-9_-]{0,62} and a zero */
#define FAAS_VERSION_SIZE   12     /* 8 hex digits and zeroes */
#define FAAS_TEXT_SIZE      256
#define FAAS_INDEX_NONE     0xffffffffu


/* the outcomes that $faas_outcome names; a cell counts each of them */

typedef enum {
    FAAS_OUTCOME_OK = 0,
    FAAS_OUTCOME_FUNCTION_ERROR,
    FAAS_OUTCOME_TIMEOUT,
    FAAS_OUTCOME_CRASH,
    FAAS_OUTCOME_OOM,
    FAAS_OUTCOME_QUEUE_FULL,
    FAAS_OUTCOME_QUEUE_TIMEOUT,
    FAAS_OUTCOME_INIT_ERROR,
    FAAS_OUTCOME_NOT_FOUND,
    FAAS_OUTCOME_SHED,
    FAAS_OUTCOME_CANCELLED,
    FAAS_OUTCOME_LOOP,
    FAAS_OUTCOMES
} faas_outcome_e;


typedef enum {
    FAAS_MODE_RESIDENT = 0,
    FAAS_MODE_ONESHOT
} faas_mode_e;


/* Text of one writer that many may read while it changes. */

typedef struct {
    _Atomic uint32_t          sequence;    /* odd: being written */
    uint32_t                  length;      /* bytes, below FAAS_TEXT_SIZE */
    char                      data[FAAS_TEXT_SIZE];
} faas_text_t;


/*
 * One nginx worker process.  Claimed by the worker with a compare-and-swap
 * of pid from 0 to its own; freed by the supervisor alone, after it has seen
 * the process end (pidfd) and taken back what the worker held.
 */

typedef struct {
    _Atomic int32_t           pid;         /* 0: free; writer: see above */
    _Atomic uint32_t          ready;       /* worker: 1 when the rest holds */
    _Atomic uint64_t          started;     /* worker: start time of the
                                              process in clock ticks since
                                              boot (/proc/PID/stat field 22),
                                              so a reused pid is told apart */
    uint8_t                   reserved[48];
} faas_worker_t;


typedef enum {
    FAAS_FUNCTION_FREE = 0,     /* the entry is unused */
    FAAS_FUNCTION_LOADING,      /* the first version is not ready: wait */
    FAAS_FUNCTION_READY,        /* current names a version that can serve */
    FAAS_FUNCTION_FAILED,       /* no version could start: 502 */
    FAAS_FUNCTION_REMOVED       /* the file is gone: 404, instances end */
} faas_function_state_e;


/* What holds for a function now: configuration over descriptor, clamped. */

typedef struct {
    uint32_t                  mode;               /* faas_mode_e */
    uint32_t                  min;                /* instances kept warm */
    uint32_t                  max;                /* instances, >= 1 */
    uint32_t                  spare;              /* idle ones ahead of need */
    uint32_t                  queue;              /* requests that may wait */
    uint32_t                  queue_timeout_ms;
    uint32_t                  timeout_ms;         /* execution budget */
    uint32_t                  init_timeout_ms;
    uint32_t                  idle_timeout_ms;
    uint32_t                  template_timeout_ms;  /* template kept after
                                                       the last instance */
    uint32_t                  max_requests;       /* per instance, 0: any */
    uint32_t                  idempotent;         /* 1: may be retried */
    uint32_t                  accel;              /* 1: X-Accel-* let by */
    uint32_t                  reserved;
    uint64_t                  memory_bytes;
} faas_limits_t;


/* Why the supervisor ends an instance. */

typedef enum {
    FAAS_CAUSE_NONE = 0,        /* it does not */
    FAAS_CAUSE_RETIRED,         /* not needed any more: nothing to be told */
    FAAS_CAUSE_TIMEOUT,         /* over the function's timeout */
    FAAS_CAUSE_MEMORY,          /* over its memory */
    FAAS_CAUSE_NOT_READY,       /* not ready in init_timeout */
    FAAS_CAUSE_NOT_RETIRED,     /* it was told to retire, and did not */
    FAAS_CAUSE_ORPHANED         /* its function init is gone */
} faas_cause_e;


/* Of what instances and templates died; the names are faas_death_name()'s. */

typedef enum {
    FAAS_DEATH_SIGNAL = 0,      /* a signal that it brought on itself */
    FAAS_DEATH_EXIT,            /* it exited when it should not */
    FAAS_DEATH_OOM,             /* over its memory, or the kernel's choice */
    FAAS_DEATH_TIMEOUT,         /* killed: over its timeout */
    FAAS_DEATH_KILLED,          /* SIGKILL, not by the host */
    FAAS_DEATH_START,           /* before it was ready */
    FAAS_DEATH_STUCK,           /* killed: it did not retire */
    FAAS_DEATH_TEMPLATE,        /* the template, or the function init */
    FAAS_DEATH_LOST,            /* ended, nobody knows how */
    FAAS_DEATHS
} faas_death_e;

#define FAAS_TALLY_LAST  8


/* One death of the tally. */

typedef struct {
    _Atomic uint64_t          at;          /* seconds since the epoch */
    _Atomic uint32_t          kind;        /* faas_death_e */
    _Atomic uint32_t          code;        /* signal or exit code, 0: neither */
    _Atomic uint32_t          slot;        /* INDEX_NONE: in no slot */
    char                      version[FAAS_VERSION_SIZE];
} faas_death_t;


/*
 * The deaths of a function, since its entry was made: how many of what kind,
 * and the last few.  Death n, from 0, is last[n % FAAS_TALLY_LAST]; total is
 * raised after it was written.
 */

typedef struct {
    _Atomic uint64_t          total;
    _Atomic uint64_t          count[FAAS_DEATHS];
    faas_death_t              last[FAAS_TALLY_LAST];
} faas_tally_t;


/* One function name.  Writer: supervisor, unless a field says otherwise. */

typedef struct {
    _Atomic uint32_t          state;       /* faas_function_state_e */
    _Atomic uint32_t          generation;  /* rises when the entry is reused */
    char                      name[FAAS_NAME_SIZE];
    _Atomic uint32_t          current;     /* version index or INDEX_NONE */
    _Atomic uint32_t          limits_sequence;    /* odd: being written */
    faas_limits_t             limits;      /* read with faas_limits_read() */

    /* figures for admission and for whoever watches */

    _Atomic uint32_t          instances;   /* live: all slots not FREE */
    _Atomic uint32_t          service_us;  /* mean execution time, EWMA */
    _Atomic uint32_t          start_us;    /* mean start of an instance */
    _Atomic uint32_t          backoff;     /* 1: held back after deaths */
    _Atomic uint64_t          backoff_until_ms;
    _Atomic uint64_t          starts;      /* instances started, total */
    _Atomic uint64_t          cold_starts; /* of these, from no template */
    _Atomic uint64_t          deaths;      /* ended by a signal or exit != 0 */
    _Atomic uint64_t          kills;       /* killed by us: over budget */
    _Atomic uint64_t          deploys;     /* versions made current, total */

    /*
     * Set to 1 by a worker whose request begins to wait and found 0: that
     * worker also writes the supervisor's eventfd.  Set to 0 by the
     * supervisor before it looks at the figures; left at 1 when nothing can
     * be started now, so that a full function costs no wake-ups.
     */
    _Atomic uint32_t          kick;
    _Atomic uint32_t          backoff_row; /* deaths in a row for which it is
                                              held back, or will be */

    /* bit w: worker w has requests waiting.  Writer: worker w sets and
       clears its bit; the supervisor clears that of a dead worker */
    _Atomic uint64_t          waiting_mask[FAAS_WORKERS / 64];

    /* secret that calls through faas_invoke carry; hex, made anew with the
       entry; given to the function's own processes and to nobody else */
    char                      token[40];

    faas_text_t               last_error;  /* empty: none since the deploy */

    faas_tally_t              tally;

    /* a start that failed: kept until a good deploy, or until somebody says
       that he has seen it (faasctl ack) */

    faas_text_t               failure;     /* empty: none */
    _Atomic uint64_t          failed_at;   /* seconds since the epoch */
    char                      good[65];    /* sha256 of what served before
                                              current, "": nothing */
    uint8_t                   reserved[7];
} faas_function_t;


typedef enum {
    FAAS_VERSION_FREE = 0,
    FAAS_VERSION_LOADING,       /* zygote to template under way, first time */
    FAAS_VERSION_READY,         /* proven: a template could be loaded */
    FAAS_VERSION_DRAINING,      /* superseded or removed: instances finish */
    FAAS_VERSION_FAILED
} faas_version_state_e;


/* One content of a function's file.  Writer: supervisor. */

typedef struct {
    _Atomic uint32_t          state;       /* faas_version_state_e */
    _Atomic uint32_t          generation;  /* rises when the entry is reused */
    _Atomic uint32_t          function;    /* function index */
    _Atomic uint32_t          chunks;      /* how many of chunk[] hold */
    _Atomic uint32_t          chunk[FAAS_VERSION_CHUNKS];
    char                      id[FAAS_VERSION_SIZE];
    char                      sha256[65];
    char                      label[FAAS_NAME_SIZE];
    uint8_t                   reserved0[3];
    _Atomic int32_t           init_pid;    /* 0: not running */
    _Atomic int32_t           template_pid;    /* 0: no live template */
    _Atomic uint64_t          deployed_at; /* seconds since the epoch */
    _Atomic uint32_t          proven;      /* 1: an instance of it was ready */
    uint8_t                   reserved[252];
} faas_version_t;


/*
 * One slot: a place for an instance, with its unix socket
 * faas_state/slots/INDEX.sock.  The word is the truth; the rest explains it.
 */

typedef struct {
    _Atomic uint64_t          word;        /* faas_slot.h */
    _Atomic uint64_t          handed_ms;   /* owner: when the request now in
                                              the slot was handed over */
    _Atomic uint64_t          idle_ms;     /* whoever makes it idle: when */
    _Atomic uint64_t          started_ms;  /* supervisor: instance ready */
    _Atomic int32_t           pid;         /* supervisor: 0 when FREE */
    _Atomic uint32_t          served;      /* owner: requests handed over in
                                              this generation */
    _Atomic uint32_t          cold;        /* supervisor: faas_start_e of the
                                              instance's first request;
                                              owner: WARM from then on */
    _Atomic int32_t           inner_pid;   /* supervisor: the pid by which the
                                              function init knows it, 0: not
                                              told yet */
    _Atomic uint32_t          requests;    /* supervisor: how many requests
                                              the instance takes in its life,
                                              1: one-shot, 0: any number */
    _Atomic uint32_t          base;        /* supervisor: low bits of the
                                              page's `begun` when this
                                              instance was forked */
    _Atomic uint32_t          cause;       /* supervisor: faas_cause_e, why it
                                              ends the instance */
    _Atomic uint32_t          oom;         /* supervisor: low bits of the
                                              generation that was last ended
                                              for its memory; written before
                                              the kill, never taken back */
} faas_slot_t;


/* how the instance that answered came to be: $faas_start */

typedef enum {
    FAAS_START_WARM = 0,
    FAAS_START_COLD,            /* forked from a live template */
    FAAS_START_ZYGOTE           /* from nothing */
} faas_start_e;


/*
 * 64 slots of one version.  Slot i of chunk c has index c * 64 + i.
 * owner: supervisor; it changes only while all slots are FREE.  0 for none,
 * so that a chunk that was never used costs no memory.
 * idle, handed: hints, bit i for slot i; the word decides.  A bit too many
 * costs a look; none is ever missing while its slot can be had (faas_slot.c).
 */

typedef struct {
    _Atomic uint32_t          owner;       /* version index + 1, 0: none;
                                              faas_chunk_version() */
    _Atomic uint32_t          slots;       /* slots in use by the supervisor */
    _Atomic uint64_t          idle;
    _Atomic uint64_t          handed;
    uint64_t                  reserved[5];
    faas_slot_t               slot[FAAS_CHUNK_SLOTS];
    _Atomic uint64_t          born[FAAS_CHUNK_SLOTS];    /* supervisor: start
                                              time of the process that slot
                                              i's pid names, as a worker's
                                              started; written before pid, 0:
                                              not known */
} faas_chunk_t;


/*
 * What one worker counts for one function.  Writer: that worker; when it is
 * dead, the supervisor sets the gauges to 0.  Totals are never reset: they
 * belong to the function, whoever had the record.
 */

typedef struct {
    /* gauges */
    _Atomic uint32_t          admitted;    /* waiting or running */
    _Atomic uint32_t          waiting;
    _Atomic uint64_t          oldest_ms;   /* arrival of the oldest waiter */

    /* totals */
    _Atomic uint64_t          arrivals;    /* requests that asked for a slot */
    _Atomic uint64_t          attempts;    /* requests handed to a slot */
    _Atomic uint64_t          service_us;  /* sum over finished attempts */
    _Atomic uint64_t          queue_us;    /* sum over handed requests */
    _Atomic uint64_t          warm;        /* handed without waiting */
    _Atomic uint64_t          retries;
    _Atomic uint64_t          bytes_in;    /* request bodies */
    _Atomic uint64_t          bytes_out;   /* responses, before filters */
    _Atomic uint64_t          finished;    /* attempts that ended */
    _Atomic uint64_t          outcome[FAAS_OUTCOMES];
    _Atomic uint64_t          finished_ms; /* when the last attempt ended */
    uint64_t                  reserved[8];
} faas_cell_t;


/*
 * Route buffers: the supervisor fills the one that epoch does not name
 * (epoch & 1), then raises epoch, and may go on with the other one.  A reader
 * copies, then checks that the epoch is still the same.
 */

typedef struct {
    _Atomic uint32_t          length;      /* bytes used */
    uint32_t                  reserved;
    char                      data[];
} faas_route_buffer_t;


typedef struct {
    uint64_t                  magic;
    uint32_t                  layout;      /* FAAS_SCOREBOARD_LAYOUT */
    uint32_t                  header_size; /* sizeof(faas_scoreboard_t) */
    uint64_t                  size;        /* bytes, of the whole board */

    uint32_t                  functions;   /* capacity of each region */
    uint32_t                  versions;
    uint32_t                  chunks;
    uint32_t                  workers;
    uint64_t                  route_size;  /* of one buffer, head included */

    uint64_t                  workers_offset;
    uint64_t                  functions_offset;
    uint64_t                  versions_offset;
    uint64_t                  chunks_offset;
    uint64_t                  cells_offset;
    uint64_t                  routes_offset[2];

    char                      release[32]; /* of the supervisor that made it */

    /* state, writer: supervisor */

    _Atomic int32_t           supervisor_pid;  /* 0: none at the moment */
    _Atomic uint32_t          functions_used;  /* entries ever used: a bound
                                                  for whoever walks them */
    _Atomic uint32_t          workers_used;    /* records ever claimed, ditto;
                                                  writer: claiming worker,
                                                  monotonic by CAS */
    _Atomic uint32_t          draining;        /* 1: the host is ending */
    _Atomic uint64_t          route_epoch;     /* also rises when a function
                                                  appears or goes */
    _Atomic uint64_t          restarts;        /* of the supervisor */
    _Atomic uint64_t          started_at;      /* seconds since the epoch */

    faas_text_t               last_error;      /* of the host: what belongs
                                                  to no function */

    char                      events_token[40];    /* secret of the events
                                                  process, which calls as
                                                  "@events"; hex, made with
                                                  the board */
} faas_scoreboard_t;


_Static_assert(sizeof(faas_worker_t) == 64, "a worker record is 64 bytes");
_Static_assert(sizeof(faas_slot_t) == 64, "a slot is one cache line");
_Static_assert(sizeof(faas_chunk_t) == 64 + (64 + 8) * FAAS_CHUNK_SLOTS,
               "a chunk is its head, its slots, and when they were born");
_Static_assert(sizeof(faas_cell_t) == 256, "a cell is 256 bytes");
_Static_assert(sizeof(faas_function_t) <= 1536, "a function's entry");
_Static_assert(offsetof(faas_chunk_t, slot) == 64, "a chunk's head");
_Static_assert(sizeof(faas_page_t) <= FAAS_PAGE_SIZE, "a slot's page");
_Static_assert(sizeof(faas_scoreboard_t) <= 4096, "the header is one page");


/* -- layout ---------------------------------------------------------------

   All of these only compute addresses; an index out of range is a caller's
   error and is not checked, but for faas_scoreboard_open(). */

/*
 * Fills the header of a zeroed board of size bytes at sb.  FAAS_ERROR when
 * size is out of range.  The caller is the supervisor, once.
 */
int faas_scoreboard_format(faas_scoreboard_t *sb, uint64_t size,
    const char *release);

/* how many functions a board of so many bytes has room for; 0: out of range */
uint32_t faas_scoreboard_capacity(uint64_t size);

/*
 * Checks a mapped board before anything else is read: magic, layout, sizes
 * and that each region ends inside size bytes.  NULL when good, else a
 * static text that says what is wrong.
 */
const char *faas_scoreboard_check(const faas_scoreboard_t *sb, uint64_t size);

faas_worker_t *faas_scoreboard_worker(faas_scoreboard_t *sb, uint32_t i);
faas_function_t *faas_scoreboard_function(faas_scoreboard_t *sb, uint32_t i);
faas_version_t *faas_scoreboard_version(faas_scoreboard_t *sb, uint32_t i);
faas_chunk_t *faas_scoreboard_chunk(faas_scoreboard_t *sb, uint32_t i);
faas_slot_t *faas_scoreboard_slot(faas_scoreboard_t *sb, uint32_t slot);
faas_cell_t *faas_scoreboard_cell(faas_scoreboard_t *sb, uint32_t function,
    uint32_t worker);
faas_route_buffer_t *faas_scoreboard_routes(faas_scoreboard_t *sb,
    uint64_t epoch);


/* the version that owns the chunk, or INDEX_NONE; the setter is for the
   supervisor */
uint32_t faas_chunk_version(faas_chunk_t *c);
void faas_chunk_give(faas_chunk_t *c, uint32_t version);


/* -- guarded text and limits ---------------------------------------------- */

/* writer's side; text longer than FAAS_TEXT_SIZE - 1 is cut */
void faas_text_write(faas_text_t *t, const char *s, size_t n);

/* copies into dst[FAAS_TEXT_SIZE]; returns the length */
size_t faas_text_read(faas_text_t *t, char *dst);

/* "signal", "oom": as status and faasctl have it */
const char *faas_death_name(uint32_t kind);

/* one more; the writer's side */
void faas_tally_add(faas_tally_t *t, faas_death_e kind, uint32_t code,
    uint32_t slot, const char *version, uint64_t at);

/* the n-th death from the end, 0: the last; FAAS_DECLINED: there is none
   (any more), or it is just being written over */
int faas_tally_read(const faas_tally_t *t, uint32_t n, faas_death_t *death);

void faas_limits_write(faas_function_t *f, const faas_limits_t *l);
void faas_limits_read(faas_function_t *f, faas_limits_t *l);


/* -- workers --------------------------------------------------------------- */

/*
 * Claims a record for the calling process; started as in faas_worker_t.
 * Returns the index, or FAAS_WORKER_NONE when all 256 are taken.
 */
uint32_t faas_worker_claim(faas_scoreboard_t *sb, int32_t pid,
    uint64_t started);

/*
 * The workers with requests waiting for this function, seen from worker
 * self: the one, other than self, whose oldest waiter came first, with its
 * arrival in *oldest_ms; FAAS_WORKER_NONE when no other waits.
 */
uint32_t faas_worker_longest(faas_scoreboard_t *sb, uint32_t function,
    uint32_t self, uint64_t *oldest_ms);

/* sums of a gauge over all workers */
uint32_t faas_function_admitted(faas_scoreboard_t *sb, uint32_t function);
uint32_t faas_function_waiting(faas_scoreboard_t *sb, uint32_t function);


#endif /* FAAS_SCOREBOARD_H_INCLUDED */
