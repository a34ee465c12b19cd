
/*
 * Messages to calls.  A binding is one function that consumes one queue: each
 * `consume` line makes one, and each function has one on its own queue
 * "@NAME" (calls, deferred ones, timers).  Bindings that may have something
 * to do stand in one line; the first takes messages for at most one look,
 * then stands last again: no queue starves another.
 *
 * A binding is looked at when something was sent to its queue here, when the
 * engine says so, when a delayed or leased message may have become ready, when
 * a call of it ended, and every second.  While the platform refuses its
 * function (or the engine is not there) it waits, longer each time.
 *
 * What it took is a work: messages under a lease, which is extended while the
 * call goes on.  Its verdicts are gathered and settled together at the end of
 * a turn, and kept while the engine is not there.
 */


#ifndef EVENTS_CONSUME_H_INCLUDED
#define EVENTS_CONSUME_H_INCLUDED


#include "events.h"
#include "events_deliver.h"


/* works at once, and so calls: each takes two connections in nginx */
#define EVENTS_CALLS_MAX  128


typedef struct events_work_s  events_work_t;


void events_consume_init(void);

/* bindings become those of events.settings; what is under way goes on, by the
   rules under which it was taken */
void events_consume_settings(void);

/* something was sent to that queue; NULL: to any.  _at: and is due then (wall
   clock; 0: now) */
void events_consume_wake(const char *queue);
void events_consume_wake_at(const char *queue, int64_t due_ms);

/* settles what has a verdict and gives back what has none: its calls are
   cancelled.  Before the engine is closed. */
void events_consume_end(void);

/* works that are not settled yet */
size_t events_consume_busy(void);


/*
 * One message of "@NAME", for events_calls_run() (events_calls.h), which is
 * called for each and must settle it exactly once, now or later.  The work is
 * gone afterwards.
 */

const queue_message_t *events_work_message(const events_work_t *work);
const char *events_work_function(const events_work_t *work);

/* a delivery that is made for it, so that the end can cancel it; NULL: none
   any more */
void events_work_delivery(events_work_t *work, events_delivery_t *d);

/* what becomes of it; strings are copied */

typedef struct {
    queue_verdict_e           verdict;
    int64_t                   due_ms;      /* RETRY, RELEASE: wall clock, -1:
                                              chosen here (RETRY: back-off of
                                              1 s to 5 min; RELEASE: that of
                                              the binding) */
    const char               *reason;      /* DEAD */
    const char               *timer;       /* as in queue_settlement_t */
    uint64_t                  timer_fence;
} events_verdict_t;

void events_work_settle(events_work_t *work, const events_verdict_t *verdict);


#endif /* EVENTS_CONSUME_H_INCLUDED */
