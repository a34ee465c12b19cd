
/*
 * Async calls, inside: events_calls.c answers what is asked about them,
 * events_run.c runs what is in the functions' own queues.
 */


#ifndef EVENTS_CALLS_H_INCLUDED
#define EVENTS_CALLS_H_INCLUDED


#include "events.h"
#include "events_record.h"
#include "events_work.h"


#define EVENTS_BODY_MAX     (8 * 1024 * 1024)    /* of a request, an answer */
#define EVENTS_HEADERS_MAX  (64 * 1024)
#define EVENTS_PATH_MAX     (16 * 1024)

#define EVENTS_ENDED  (1u << WIRE_CALL_DONE | 1u << WIRE_CALL_FAILED          \
                       | 1u << WIRE_CALL_CANCELLED)
#define EVENTS_OPEN   (1u << WIRE_CALL_QUEUED | 1u << WIRE_CALL_RUNNING)


/* what holds for the calls of a function, also for one that is gone */
faas_async_t events_calls_async(const char *function);

/* how long a call may take in nginx, waiting included */
int64_t events_calls_timeout(const char *function);

/* until when a record is kept that is not ended, from now on */
int64_t events_calls_open_until(const char *function, int64_t now_ms);

/* reads a record; of *c and *r all is from take.  FAAS_OK or a code */
int events_calls_read(const char *id, events_take_t *take, queue_call_t *c,
    events_record_t *r);

/* writes one: FAAS_OK, FAAS_ECONFLICT (the state is none of `from`), or
   another code */
int events_calls_write(const char *id, uint32_t state,
    const events_record_t *r, uint32_t from, int64_t expires_ms);

/* may it go better the next time? */
int events_calls_is_transient(int code);


/* the call is cancelled: ends it, if it runs here */
void events_run_cancel(const char *id);

/* forgets all that runs, and touches nothing of it */
void events_run_drop(void);

/* no repetitions any more */
void events_run_end(void);


#endif /* EVENTS_CALLS_H_INCLUDED */
