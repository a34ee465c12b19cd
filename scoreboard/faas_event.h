
/*
 * What the operator or a descriptor says of events: lines of `consume`,
 * `schedule` and `async`, parsed and checked.  Pure; used by nginx (so that a
 * typo fails nginx -t), by the supervisor (descriptors) and by the events
 * process.  Times are as in nginx.conf ("500ms", "10s", "1m30s", "6h", "1d").
 */


#ifndef FAAS_EVENT_H_INCLUDED
#define FAAS_EVENT_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "faas_cron.h"
#include "faas_scoreboard.h"


#define FAAS_EVENT_WHY_SIZE   160
#define FAAS_EVENT_LINE_SIZE  256       /* of a line in normal form */

#define FAAS_BATCH_MAX        100
#define FAAS_ATTEMPTS_MAX     100


/*
 * QUEUE [batch=N] [wait=TIME] [attempts=N] [retry=MIN..MAX] [parallel=N]
 * [lease=TIME]
 */

typedef struct {
    char                      queue[FAAS_NAME_SIZE];
    uint32_t                  batch;       /* messages in a call, 1 to 100; 1 */
    uint32_t                  wait_ms;     /* for a batch to fill; 0 */
    uint32_t                  attempts;    /* then dead; 1 to 100; 5 */
    uint32_t                  retry_min_ms;    /* back-off: 1 s ... */
    uint32_t                  retry_max_ms;    /* ... 5 min */
    uint32_t                  parallel;    /* calls at once; 0: the function's
                                              max */
    uint32_t                  lease_ms;    /* 0: the function's timeout and
                                              queue_timeout, and 10 s */
} faas_consume_t;


typedef enum {
    FAAS_OVERLAP_SKIP = 0,     /* a due time while the last run goes on is
                                  left out */
    FAAS_OVERLAP_QUEUE,        /* ... is run when that has ended */
    FAAS_OVERLAP_ALLOW         /* ... is run beside it */
} faas_overlap_e;

typedef enum {
    FAAS_CATCHUP_NONE = 0,     /* due times that passed while no node was
                                  there are left out */
    FAAS_CATCHUP_ONE,          /* the last of them is run */
    FAAS_CATCHUP_ALL           /* each is run, up to 1000 */
} faas_catchup_e;

/*
 * "CRON | @every TIME" [tz=ZONE] [overlap=skip|queue|allow]
 * [catchup=none|one|all] [name=NAME] [attempts=N]
 */

typedef struct {
    faas_cron_t               cron;
    char                      zone[64];    /* "UTC" */
    char                      name[FAAS_NAME_SIZE];   /* default: "timer" with
                                              8 hex digits of the line's hash,
                                              so that order does not matter */
    uint32_t                  overlap;     /* faas_overlap_e */
    uint32_t                  catchup;     /* faas_catchup_e */
    uint32_t                  attempts;    /* of a run; 3 */
} faas_schedule_t;


/* [attempts=N] [age=TIME] [keep=TIME]: async and deferred calls */

typedef struct {
    uint32_t                  attempts;    /* 3 */
    int64_t                   age_ms;      /* not tried beyond; 6 h */
    int64_t                   keep_ms;     /* result kept; 1 h */
} faas_async_t;


/* 0, or -1 with a line in why[FAAS_EVENT_WHY_SIZE] that names what is wrong */
int faas_consume_parse(const char *s, size_t n, faas_consume_t *c, char *why);
int faas_schedule_parse(const char *s, size_t n, faas_schedule_t *c,
    char *why);
int faas_async_parse(const char *s, size_t n, faas_async_t *a, char *why);

/* is it [a-z0-9][a-z0-9_-]{0,62}?  0 or 1 */
int faas_name_is_valid(const char *s, size_t n);

/* "500ms", "1m30s", "2h", "1d", "30" (seconds): milliseconds, -1 if bad */
int64_t faas_time_parse(const char *s, size_t n);


#endif /* FAAS_EVENT_H_INCLUDED */
