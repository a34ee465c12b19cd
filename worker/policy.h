
/*
 * How many instances should there be?  One pure function, from the figures of
 * a function to a decision, so that it can be tested by table and by
 * simulation.  No clock, no board, no I/O: the caller (pool.c) fills in the
 * figures, keeps the state, and carries the decision out.
 *
 * The rules (DESIGN: Scaling):
 * - start when there is no instance and somebody waits, or when the expected
 *   wait (waiting * service / instances) exceeds what a start costs, or when
 *   nothing finishes and the wait goes on; never more starts in flight than
 *   requests waiting;
 * - one-shot: one instance for each waiting request, and spares ahead of need:
 *   as many as set, at least one, and what arrives while one starts;
 * - `spare` for a resident function: that many more than Little's law (arrival
 *   rate * service time) asks for, while requests arrive;
 * - shrink by an instance that has been idle for idle_timeout: slots are taken
 *   lowest first, so that one was not needed at the highest point of that
 *   time; never below what the rule above wants; to zero when min is 0;
 * - min is refilled at once;
 * - above max (it was lowered): idle ones end at once;
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
    uint32_t                  begun;           /* 1: the rest holds */
    uint32_t                  serving;         /* idle and busy, last time */
    uint32_t                  waited;          /* 1: requests waited then, for
                                                  which nothing was idle */
    uint64_t                  last_ms;
    uint64_t                  last_arrivals;
    uint64_t                  last_finished;
    uint64_t                  last_service_us;
    double                    rate;            /* arrivals per ms, EWMA */
    double                    service_ms;      /* per request, EWMA; < 0:
                                                  not known yet */
    uint64_t                  arrival_ms;      /* when requests were seen to
                                                  arrive last, 0: never */
    uint64_t                  progress_ms;     /* since when those that wait
                                                  saw nothing finish and
                                                  nothing come up */
    uint64_t                  capacity_ms;     /* when there came to be more
                                                  instances that serve */
    uint64_t                  pressed_ms;      /* since when short requests
                                                  are expected to wait too
                                                  long, 0: they are not */
    uint64_t                  stalled;         /* finished, when a stall was
                                                  answered last, plus one */
} policy_state_t;


typedef struct {
    uint32_t                  start;           /* instances to start now */
    uint32_t                  retire;          /* idle instances to end now */
    uint32_t                  desired;         /* for status: how many there
                                                  should be, not ending */
    uint64_t                  again_ms;        /* decide again at the latest
                                                  after so long, 0: only on
                                                  an event */
} policy_decision_t;


void policy_decide(const policy_input_t *in, policy_state_t *state,
    policy_decision_t *out);


#endif /* POLICY_H_INCLUDED */
