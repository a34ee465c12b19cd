
/*
 * How many instances should there be?  One pure function, from the figures of
 * a function to a decision, so that it can be tested by table and by
 * simulation.  No clock, no board, no I/O: the caller (pool.c) fills in the
 * figures, keeps the state, and carries the decision out.
 *
 * The rules (DESIGN: Scaling):
 * - start when there is no instance and somebody waits, or when the expected
 *   wait (waiting * service / instances) exceeds what a start costs; never
 *   more starts in flight than requests waiting (one-shot: plus spares);
 * - steady state by Little's law, arrival rate * service time + spare,
 *   clamped to min..max;
 * - shrink when an instance has been idle for idle_timeout, but not below the
 *   highest need seen in the last window (of length idle_timeout); to zero
 *   when min is 0;
 * - min is refilled at once;
 * - held back while backing off: no starts.
 */


#ifndef POLICY_H_INCLUDED
#define POLICY_H_INCLUDED


#include <stdint.h>


/* settings and measured figures at now_ms; instances = idle + busy + starting
   + draining + ending, none of which may exceed max in sum */

typedef struct {
    uint64_t                  now_ms;
    uint32_t                  oneshot;         /* 0/1 */
    uint32_t                  min;
    uint32_t                  max;
    uint32_t                  spare;
    uint32_t                  idle_timeout_ms;

    uint32_t                  waiting;         /* requests */
    uint32_t                  idle;            /* instances */
    uint32_t                  busy;            /* running or handed; of a
                                                  resident function draining
                                                  too: it may come back */
    uint32_t                  starting;
    uint32_t                  ending;          /* retiring, condemned, of a
                                                  one-shot function draining:
                                                  still alive */
    uint64_t                  longest_wait_ms; /* of the request that waits
                                                  longest now, 0: none */
    uint64_t                  arrivals;        /* total, ever */
    uint64_t                  finished;        /* attempts, ever */
    uint64_t                  service_us;      /* sum over finished, ever */
    uint32_t                  start_us;        /* mean cost of a start */
    uint32_t                  held_back;       /* 1: back-off is in force */
    uint64_t                  longest_idle_ms; /* of the idle instance that
                                                  has been idle longest */
} policy_input_t;


/* carried from decision to decision, zeroed at first; writer: policy_decide */

typedef struct {
    uint64_t                  last_ms;
    uint64_t                  last_arrivals;
    uint64_t                  last_finished;
    uint64_t                  last_service_us;
    double                    rate;            /* arrivals per ms, EWMA */
    double                    service_ms;      /* per request, EWMA; < 0:
                                                  not known yet */
    uint32_t                  peak;            /* highest need in the window
                                                  now running */
    uint32_t                  previous_peak;   /* in the one before */
    uint64_t                  window_ms;       /* when the window began */
} policy_state_t;


typedef struct {
    uint32_t                  start;           /* instances to start now */
    uint32_t                  retire;          /* idle instances to end now */
    uint32_t                  desired;         /* for status */
    uint64_t                  again_ms;        /* decide again at the latest
                                                  after so long, 0: only on
                                                  an event */
} policy_decision_t;


void policy_decide(const policy_input_t *in, policy_state_t *state,
    policy_decision_t *out);


#endif /* POLICY_H_INCLUDED */
