
/*
 * Timers, decided: the stored state of one and the clock in, what is to be
 * done out.  Pure, so that clock steps, dead nodes and daylight saving are
 * tested without waiting for any.
 *
 * There is no owner of a timer.  Each node looks at each timer when it is due
 * and decides; what it decides is done by one compare-and-swap on the due
 * time that is stored (timer_fire), which one node wins.  A node that was
 * stopped, however long, finds another due time when it wakes, and loses.
 *
 * Late and missed.  A due time that nobody has fired yet is merely late for
 * EVENTS_DUE_LATE_MS, and fires.  Beyond that it was missed, and `catchup`
 * says what becomes of it; a step of the clock forwards is like a time in
 * which no node was there.  One that waits for the last run to end
 * (overlap=queue) is not missed, however late: a node that sees it waiting
 * remembers that; and a node that has just come leaves nothing out for
 * EVENTS_DUE_SETTLE_MS, so that one which has seen more decides first.
 *
 * A step of the clock backwards makes no due time fire twice: what fired is
 * behind the stored due time, which is waited for.  Only when what fired last
 * is more than EVENTS_DUE_STEP_MS in the future the clock was wrong then, and
 * the timer begins anew from now.
 */


#ifndef EVENTS_DUE_H_INCLUDED
#define EVENTS_DUE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "faas_event.h"
#include "queue.h"


#define EVENTS_DUE_LATE_MS    (30 * 1000)
#define EVENTS_DUE_SETTLE_MS  (5 * 1000)
#define EVENTS_DUE_STEP_MS    (3600 * 1000)
#define EVENTS_DUE_HELD_MS    1000     /* between two looks at a run */
#define EVENTS_DUE_CATCHUP    1000     /* due times, most that are caught up */
#define EVENTS_DUE_NEVER      253402300799000ll    /* the end of 9999 */


typedef enum {
    EVENTS_DUE_WAIT = 1,       /* look again at at_ms */
    EVENTS_DUE_FIRE,           /* the stored due time fires, next_ms is next */
    EVENTS_DUE_MOVE            /* it does not, next_ms is next */
} events_due_action_e;

typedef enum {
    EVENTS_DUE_OVERLAP = 1,    /* the last run goes on */
    EVENTS_DUE_MISSED,         /* nobody was there */
    EVENTS_DUE_STEPPED         /* the clock was ahead */
} events_due_reason_e;


/* what a node remembers of a timer; zeroed, then since_ms is set, at first */

typedef struct {
    int64_t                   since_ms;    /* it is watched since, wall clock */
    int64_t                   held_ms;     /* due times from this one on have
                                              waited for a run; 0: none */
} events_watch_t;

typedef struct {
    events_due_action_e       action;
    events_due_reason_e       reason;      /* of MOVE */
    int64_t                   at_ms;       /* WAIT */
    int64_t                   next_ms;     /* FIRE, MOVE */
} events_due_t;


/* t is as stored; of it due_ms, last_ms and running count */
void events_due_decide(const faas_schedule_t *s, const queue_timer_t *t,
    events_watch_t *w, int64_t now_ms, events_due_t *due);

/* the first due time after, EVENTS_DUE_NEVER if there is none */
int64_t events_due_next(const faas_schedule_t *s, int64_t after_ms);

/* what makes two schedules the same timer, as text: when it is due, however
   that was written; in buf[size] */
void events_due_spec(const faas_schedule_t *s, char *buf, size_t size);


#endif /* EVENTS_DUE_H_INCLUDED */
