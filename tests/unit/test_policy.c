/* objects: worker/policy.c */
/* libs: -lm */

/*
 * Scaling: by table, what is decided in one situation; by simulation, what
 * becomes of many decisions under traffic.  The simulation is an event loop
 * in its own time: requests arrive, queue first in first out, take the lowest
 * idle instance; the policy is asked when pool.c asks it.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"


static policy_state_t     state;
static policy_decision_t  out;


/* a quiet resident function of which nothing is known */

static policy_input_t
quiet(void)
{
    policy_input_t  in;

    memset(&in, 0, sizeof(in));
    in.now_ms = 1000000;
    in.max = 8;
    in.idle_timeout_ms = 60000;

    return in;
}


/* one whose requests take service_ms, seen in a hundred of them */

static policy_input_t
known(double service_ms)
{
    policy_input_t  in;

    in = quiet();
    in.arrivals = 100;
    in.finished = 100;
    in.service_us = (uint64_t) (service_ms * 1000 * 100);
    in.start_us = 1000;

    return in;
}


static void
first(const policy_input_t *in)
{
    memset(&state, 0, sizeof(state));
    memset(&out, 0xee, sizeof(out));
    policy_decide(in, &state, &out);
}


static void
again(policy_input_t *in, uint64_t ms)
{
    in->now_ms += ms;

    if (in->waiting > 0) {
        in->longest_wait_ms += ms;
    }

    policy_decide(in, &state, &out);
}


/* five milliseconds in which 40 requests of 0.1 ms are done */

static void
progress(policy_input_t *in)
{
    in->arrivals += 40;
    in->finished += 40;
    in->service_us += 4000;
    in->longest_wait_ms = 0;
    again(in, 5);
}


static void
test_nothing_is_started_for_nobody(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    first(&in);
    assert_int_equal(out.start, 0);
    assert_int_equal(out.retire, 0);
    assert_int_equal(out.desired, 0);
    assert_int_equal(out.again_ms, 0);
    assert_true(state.service_ms < 0);
}


static void
test_first_request_starts_one_instance(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    in.waiting = 1;
    in.arrivals = 1;
    first(&in);
    assert_int_equal(out.start, 1);
    assert_int_equal(out.desired, 1);

    /* many on a cold function: one, until it is known to be too few */

    in.waiting = 100;
    in.arrivals = 100;
    first(&in);
    assert_int_equal(out.start, 1);

    in.starting = 1;
    again(&in, 20);
    assert_int_equal(out.start, 0);

    /* it is up, busy, and nothing ends */

    in.starting = 0;
    in.busy = 1;
    in.waiting = 99;
    in.start_us = 15000;
    again(&in, 20);
    assert_int_equal(out.start, 0);
    again(&in, 20);
    assert_int_equal(out.start, 0);
    again(&in, 11);
    assert_int_equal(out.start, 7);
    assert_int_equal(out.desired, 8);
}


static void
test_first_start_that_hangs_is_not_all(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    in.waiting = 3;
    first(&in);
    assert_int_equal(out.start, 1);
    in.starting = 1;

    again(&in, 999);
    assert_int_equal(out.start, 0);
    again(&in, 2);
    assert_int_equal(out.start, 2);
}


static void
test_short_wait_is_cheaper_than_a_start(void **unused)
{
    policy_input_t  in = known(0.1);

    (void) unused;

    in.busy = 1;
    in.waiting = 31;
    first(&in);
    assert_int_equal(out.start, 0);
    assert_true(out.again_ms > 0 && out.again_ms <= 10);

    /* as long as requests finish it stays so */

    for (int i = 0; i < 100; i++) {
        progress(&in);
        assert_int_equal(out.start, 0);
    }

    /* 255 * 0.1 ms is 25 ms, five costs of a start.  If it stays so: one
       more, then two, and with four so many that it will do */

    in.waiting = 255;
    progress(&in);
    assert_int_equal(out.start, 0);
    progress(&in);
    assert_int_equal(out.start, 1);

    in.busy = 2;
    progress(&in);
    assert_int_equal(out.start, 0);
    progress(&in);
    assert_int_equal(out.start, 2);

    in.busy = 4;
    progress(&in);
    assert_int_equal(out.start, 0);
    progress(&in);
    assert_in_range(out.start, 1, 2);

    in.busy = 6;
    progress(&in);
    progress(&in);
    progress(&in);
    assert_int_equal(out.start, 0);
}


static void
test_long_wait_starts_as_many_as_wait(void **unused)
{
    policy_input_t  in = known(1000);

    (void) unused;

    in.busy = 2;
    in.waiting = 3;
    first(&in);
    assert_int_equal(out.start, 3);

    /* those in flight count */

    in.starting = 2;
    first(&in);
    assert_int_equal(out.start, 1);

    in.starting = 3;
    first(&in);
    assert_int_equal(out.start, 0);

    /* and so do idle ones that the waiting are about to take */

    in.starting = 0;
    in.idle = 3;
    first(&in);
    assert_int_equal(out.start, 0);
}


static void
test_stall_starts_although_requests_were_short(void **unused)
{
    policy_input_t  in = known(0.1);

    (void) unused;

    /* twice as many at most, when a machine may only be busy */

    in.busy = 2;
    in.waiting = 6;
    first(&in);
    assert_int_equal(out.start, 0);
    again(&in, 50);
    assert_int_equal(out.start, 0);
    again(&in, 1);
    assert_int_equal(out.start, 2);

    /* all of them, when these stand still too */

    in.busy = 4;
    in.waiting = 4;
    again(&in, 1);
    assert_int_equal(out.start, 0);
    again(&in, 51);
    assert_int_equal(out.start, 4);

    /* but not when something finished in between */

    in.max = 100;
    first(&in);
    again(&in, 51);
    assert_int_equal(out.start, 4);
    in.busy = 8;
    in.waiting = 40;
    in.finished++;
    again(&in, 1);
    in.longest_wait_ms = 1;
    again(&in, 51);
    assert_int_equal(out.start, 8);

    /* and progress is none of it */

    first(&in);
    again(&in, 30);
    in.finished++;
    in.longest_wait_ms = 0;
    again(&in, 5);
    again(&in, 25);
    assert_int_equal(out.start, 0);
}


static void
test_stall_of_longer_requests_is_seen_sooner(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    in.busy = 4;
    in.waiting = 2;
    first(&in);
    assert_int_equal(out.start, 0);
    again(&in, 10);
    assert_int_equal(out.start, 0);
    again(&in, 1);
    assert_int_equal(out.start, 2);

    in.waiting = 10;
    first(&in);
    again(&in, 11);
    assert_int_equal(out.start, 4);
}


static void
test_old_idleness_is_no_stall(void **unused)
{
    policy_input_t  in = known(0.1);

    (void) unused;

    in.idle = 1;
    first(&in);

    in.idle = 0;
    in.busy = 1;
    in.waiting = 1;
    in.arrivals += 2;
    in.now_ms += 30000;
    again(&in, 0);
    assert_int_equal(out.start, 0);
}


static void
test_wait_that_lasts_doubles(void **unused)
{
    int             i;
    policy_input_t  in = known(0.01);

    (void) unused;

    /* the mean says nothing waits for long, and yet they do */

    in.busy = 2;
    in.waiting = 20;
    first(&in);

    for (i = 0; i < 10; i++) {
        in.finished++;
        in.service_us += 10;
        again(&in, 5);
        assert_int_equal(out.start, 0);
    }

    in.finished++;
    in.service_us += 10;
    again(&in, 5);
    assert_int_equal(out.start, 2);

    /* what is added gets its time */

    in.busy = 4;
    in.finished++;
    in.service_us += 10;
    again(&in, 5);
    assert_int_equal(out.start, 0);
}


static void
test_max_is_never_exceeded(void **unused)
{
    policy_input_t  in = known(1000);

    (void) unused;

    in.waiting = 1000;

    for (in.oneshot = 0; in.oneshot < 2; in.oneshot++) {
        for (in.idle = 0; in.idle <= 9; in.idle++) {
            for (in.busy = 0; in.busy <= 9; in.busy++) {
                for (in.starting = 0; in.starting <= 3; in.starting++) {
                    for (in.ending = 0; in.ending <= 9; in.ending++) {
                        uint32_t  total;

                        in.min = (in.idle * 7 + in.busy) % 12;
                        in.spare = in.ending % 4;
                        first(&in);
                        total = in.idle + in.busy + in.starting + in.ending;

                        assert_true(out.start == 0
                                    || total + out.start <= in.max);
                        assert_true(out.retire <= in.idle);
                        assert_true(out.start == 0 || out.retire == 0);
                        assert_true(out.desired <= in.max
                                    || in.busy + in.starting > in.max);
                    }
                }
            }
        }
    }
}


static void
test_ending_instances_take_room(void **unused)
{
    policy_input_t  in = known(1000);

    (void) unused;

    in.waiting = 20;
    in.busy = 3;
    in.ending = 5;
    first(&in);
    assert_int_equal(out.start, 0);
    assert_int_equal(out.desired, 8);

    in.ending = 4;
    first(&in);
    assert_int_equal(out.start, 1);
}


static void
test_min_is_refilled_at_once(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    in.min = 3;
    first(&in);
    assert_int_equal(out.start, 3);

    in.starting = 3;
    first(&in);
    assert_int_equal(out.start, 0);

    in.starting = 0;
    in.idle = 2;
    first(&in);
    assert_int_equal(out.start, 1);

    in.busy = 1;
    first(&in);
    assert_int_equal(out.start, 0);

    /* of a one-shot function a busy one is spent */

    in.oneshot = 1;
    first(&in);
    assert_int_equal(out.start, 1);

    /* min over max is max */

    in = quiet();
    in.min = 20;
    first(&in);
    assert_int_equal(out.start, 8);
}


static void
test_held_back_starts_nothing(void **unused)
{
    policy_input_t  in = known(1000);

    (void) unused;

    in.held_back = 1;
    in.min = 4;
    in.spare = 2;

    for (in.oneshot = 0; in.oneshot < 2; in.oneshot++) {
        for (in.waiting = 0; in.waiting < 100; in.waiting += 9) {
            for (in.busy = 0; in.busy < 8; in.busy++) {
                first(&in);
                assert_int_equal(out.start, 0);
                again(&in, 500);
                assert_int_equal(out.start, 0);
                again(&in, 50000);
                assert_int_equal(out.start, 0);
            }
        }
    }

    /* what is idle too long goes all the same */

    in = known(1);
    in.held_back = 1;
    in.idle = 2;
    in.longest_idle_ms = 60000;
    first(&in);
    assert_int_equal(out.retire, 1);
}


static void
test_idle_too_long_is_retired_one_by_one(void **unused)
{
    policy_input_t  in = known(1);

    (void) unused;

    in.idle = 3;
    in.longest_idle_ms = 59999;
    first(&in);
    assert_int_equal(out.retire, 0);
    assert_int_equal(out.again_ms, 1);

    again(&in, 1);
    in.longest_idle_ms = 60000;
    again(&in, 0);
    assert_int_equal(out.retire, 1);
    assert_int_equal(out.desired, 2);
    assert_int_equal(out.again_ms, 1);

    in.idle = 1;
    in.min = 1;
    again(&in, 1);
    assert_int_equal(out.retire, 0);
    assert_int_equal(out.again_ms, 0);

    in.min = 0;
    again(&in, 1);
    assert_int_equal(out.retire, 1);

    /* not while somebody waits */

    in.idle = 3;
    in.waiting = 1;
    first(&in);
    assert_int_equal(out.retire, 0);
}


static void
test_busy_ones_are_looked_after_when_they_may_be_idle(void **unused)
{
    policy_input_t  in = known(1);

    (void) unused;

    in.busy = 1;
    first(&in);
    assert_int_equal(out.again_ms, 60000);

    in.idle = 1;
    in.longest_idle_ms = 20000;
    first(&in);
    assert_int_equal(out.again_ms, 40000);

    in.min = 2;
    first(&in);
    assert_int_equal(out.again_ms, 0);

    in.min = 0;
    in.idle_timeout_ms = 0;
    in.idle = 0;
    first(&in);
    assert_in_range(out.again_ms, 50, 1000);
}


static void
test_lowered_max_retires_at_once(void **unused)
{
    policy_input_t  in = known(1);

    (void) unused;

    in.max = 2;
    in.idle = 3;
    in.busy = 2;
    first(&in);
    assert_int_equal(out.retire, 3);

    in.busy = 0;
    first(&in);
    assert_int_equal(out.retire, 1);

    in.min = 3;
    first(&in);
    assert_int_equal(out.retire, 1);
    assert_int_equal(out.start, 0);
}


static void
test_oneshot_has_an_instance_for_each_and_a_spare(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    in.oneshot = 1;
    in.max = 100;
    in.waiting = 5;
    in.arrivals = 5;
    first(&in);
    assert_int_equal(out.start, 6);

    in.spare = 4;
    first(&in);
    assert_int_equal(out.start, 9);

    in.starting = 9;
    again(&in, 1);
    assert_int_equal(out.start, 0);

    /* taken and spent: refilled without anybody waiting */

    in.starting = 0;
    in.waiting = 0;
    in.idle = 1;
    in.busy = 8;
    again(&in, 1);
    assert_int_equal(out.start, 3);
    assert_true(out.again_ms > 0 && out.again_ms <= 1000);
}


static void
test_oneshot_spares_follow_the_rate(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    in.oneshot = 1;
    in.max = 1000;
    in.start_us = 10000;
    first(&in);

    /* a thousand a second, ten while one starts */

    for (int i = 0; i < 1000; i++) {
        in.arrivals += 10;
        again(&in, 10);
    }

    assert_in_range(out.start, 10, 12);
    assert_in_range(out.again_ms, 5, 10);
}


static void
test_oneshot_spares_go_when_nobody_comes(void **unused)
{
    policy_input_t  in = quiet();

    (void) unused;

    in.oneshot = 1;
    in.spare = 2;
    in.waiting = 1;
    in.arrivals = 1;
    first(&in);

    in.waiting = 0;
    in.idle = 2;
    in.longest_idle_ms = 59999;
    again(&in, 59999);
    assert_int_equal(out.start, 0);
    assert_int_equal(out.retire, 0);
    assert_true(out.again_ms <= 1000);

    in.longest_idle_ms = 60000;
    again(&in, 1);
    assert_int_equal(out.retire, 1);

    in.idle = 1;
    again(&in, 1);
    assert_int_equal(out.retire, 1);

    in.idle = 0;
    again(&in, 1);
    assert_int_equal(out.start, 0);
    assert_int_equal(out.again_ms, 0);
}


static void
test_spares_of_a_resident_function(void **unused)
{
    policy_input_t  in = known(100);

    (void) unused;

    in.spare = 2;
    first(&in);
    assert_int_equal(out.start, 0);

    in.idle = 1;

    /* twenty a second of a tenth of a second: two, and two more */

    for (int i = 0; i < 100; i++) {
        in.arrivals += 10;
        in.finished += 10;
        in.service_us += 1000000;
        again(&in, 500);
    }

    assert_int_equal(out.desired, 4);
    assert_int_equal(out.start, 3);

    in.idle = 4;
    in.longest_idle_ms = 70000;
    again(&in, 1);
    assert_int_equal(out.retire, 0);

    again(&in, 60000);
    assert_int_equal(out.retire, 1);
}


static void
test_restarted_supervisor_takes_totals_for_no_rush(void **unused)
{
    policy_input_t  in = known(2);

    (void) unused;

    in.arrivals = 1000000000;
    in.finished = 1000000000;
    in.service_us = 2000000000000;
    in.idle = 1;
    first(&in);
    assert_true(state.rate == 0);
    assert_true(fabs(state.service_ms - 2) < 1e-9);

    again(&in, 10);
    assert_true(state.rate == 0);
    assert_int_equal(out.start, 0);
}


static void
test_odd_figures_are_survived(void **unused)
{
    policy_input_t  in = known(2);

    (void) unused;

    first(&in);

    /* totals of several writers, read while they change */

    in.arrivals -= 50;
    in.finished -= 50;
    again(&in, 5);
    assert_true(state.rate >= 0);
    in.finished += 60;
    in.service_us -= 100000;
    again(&in, 0);
    assert_true(state.service_ms >= 0);

    in.max = 0;
    in.waiting = 5;
    again(&in, 5);
    assert_int_equal(out.start, 0);

    in = known(2000);
    in.max = 1024;
    in.waiting = UINT32_MAX / 2;
    first(&in);
    assert_int_equal(out.start, 1024);
}


/* -- simulation ------------------------------------------------------------ */


#define SIM_INSTANCES  64
#define SIM_QUEUE      200000
#define SIM_NEVER      1e300

/* as pool.c */
#define SIM_AGAIN_MS   5
#define SIM_LOOK_MS    250
#define SIM_REAP_MS    0.5


typedef enum {
    SIM_FREE = 0,
    SIM_STARTING,
    SIM_IDLE,
    SIM_BUSY,
    SIM_ENDING
} sim_state_e;


typedef struct {
    /* the function */
    uint32_t   oneshot;
    uint32_t   min;
    uint32_t   max;
    uint32_t   spare;
    uint32_t   idle_timeout_ms;
    double     service_ms;
    int        exponential;        /* 1: that is the mean, 0: always so */
    double     start_ms;
    double     cold_ms;            /* when nothing lives */
    double     slow_from;          /* from then on a request takes slow_ms */
    double     slow_ms;
    double     fail;               /* probability that a start fails */

    /* the traffic */
    double   (*rate)(double t);    /* requests per ms at t */
    int        poisson;            /* 0: evenly */
    double     stop_ms;            /* no arrivals from here */
    double     end_ms;
    uint32_t   seed;

    /* the world */
    double     now;
    double     due;                /* of arrivals, integral of rate */
    double     arrival;            /* the next */
    double     timer;
    int        kick;
    struct {
        sim_state_e  state;
        double       until;
        double       idle_since;
        double       begun;
    }          slot[SIM_INSTANCES];
    double    *queue;
    uint32_t   head;
    uint32_t   tail;
    uint64_t   arrivals;
    uint64_t   finished;
    uint64_t   service_us;
    double     mean_start_us;
    int        held_back;

    policy_state_t  policy;

    /* what is measured */
    uint32_t   decisions;
    uint32_t   starts;
    uint32_t   retires;
    uint32_t   turns;              /* from starting to retiring or back */
    int        direction;
    uint32_t   most;               /* instances at once */
    double     watch_from;         /* figures below hold from here */
    double     watch_to;
    double     area;               /* of live instances over that time */
    uint32_t   watched;            /* requests that began then */
    double     wait_sum;
    double     wait_max;
} sim_t;


static double
sim_random(sim_t *s)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 17;
    s->seed ^= s->seed << 5;

    return (s->seed + 0.5) / 4294967296.0;
}


/* the moment when the integral of the rate has grown by one, or by a random
   amount with mean one */

static void
sim_next_arrival(sim_t *s)
{
    double  step, need, t;

    need = s->poisson ? -log(sim_random(s)) : 1;

    for (t = s->arrival; t < s->stop_ms; t += step) {
        step = 0.5;

        if (s->rate(t) * step >= need) {
            s->arrival = t + need / s->rate(t);
            return;
        }

        need -= s->rate(t) * step;
    }

    s->arrival = SIM_NEVER;
}


static uint32_t
sim_count(const sim_t *s, sim_state_e which)
{
    uint32_t  i, n;

    for (i = 0, n = 0; i < s->max; i++) {
        n += (s->slot[i].state == which);
    }

    return n;
}


static uint32_t
sim_live(const sim_t *s)
{
    return s->max - sim_count(s, SIM_FREE);
}


static void
sim_turn(sim_t *s, int direction)
{
    if (s->direction != 0 && s->direction != direction) {
        s->turns++;
    }

    s->direction = direction;
}


static void
sim_start(sim_t *s, uint32_t n)
{
    double    cost;
    uint32_t  i;

    cost = (sim_live(s) == 0) ? s->cold_ms : s->start_ms;
    s->starts += n;

    for (i = 0; n > 0; i++) {
        assert_true(i < s->max);

        if (s->slot[i].state == SIM_FREE) {
            s->slot[i].state = SIM_STARTING;
            s->slot[i].until = s->now + cost;
            s->slot[i].begun = s->now;
            n--;
        }
    }
}


static void
sim_retire(sim_t *s, uint32_t n)
{
    uint32_t  i, longest;

    s->retires += n;

    while (n-- > 0) {
        longest = s->max;

        for (i = 0; i < s->max; i++) {
            if (s->slot[i].state == SIM_IDLE
                && (longest == s->max || s->slot[i].idle_since
                                         < s->slot[longest].idle_since))
            {
                longest = i;
            }
        }

        assert_true(longest < s->max);
        s->slot[longest].state = SIM_ENDING;
        s->slot[longest].until = s->now + SIM_REAP_MS;
    }
}


static void
sim_decide(sim_t *s)
{
    uint32_t           i, total;
    uint64_t           next, idle;
    policy_input_t     in;
    policy_decision_t  d;

    s->decisions++;
    s->kick = 0;

    memset(&in, 0, sizeof(in));
    in.now_ms = 5000000 + (uint64_t) s->now;
    in.oneshot = s->oneshot;
    in.min = s->min;
    in.max = s->max;
    in.spare = s->spare;
    in.idle_timeout_ms = s->idle_timeout_ms;
    in.waiting = s->tail - s->head;
    in.idle = sim_count(s, SIM_IDLE);
    in.busy = sim_count(s, SIM_BUSY);
    in.starting = sim_count(s, SIM_STARTING);
    in.ending = sim_count(s, SIM_ENDING);
    in.arrivals = s->arrivals;
    in.finished = s->finished;
    in.service_us = s->service_us;
    in.start_us = (uint32_t) s->mean_start_us;
    in.held_back = (uint32_t) s->held_back;

    if (in.waiting > 0) {
        in.longest_wait_ms = (uint64_t) (s->now - s->queue[s->head]);
    }

    for (i = 0; i < s->max; i++) {
        if (s->slot[i].state == SIM_IDLE) {
            idle = (uint64_t) (s->now - s->slot[i].idle_since);

            if (idle > in.longest_idle_ms) {
                in.longest_idle_ms = idle;
            }
        }
    }

    policy_decide(&in, &s->policy, &d);

    total = in.idle + in.busy + in.starting + in.ending;
    assert_true(total + d.start <= s->max);
    assert_true(d.retire <= in.idle);
    assert_true(d.start == 0 || d.retire == 0);
    assert_true(!s->held_back || d.start == 0);

    if (!s->oneshot && s->spare == 0 && in.idle + in.busy >= s->min) {
        assert_true(d.start == 0 || in.starting + d.start <= in.waiting
                    || in.starting + d.start + in.busy + in.idle <= s->min);
    }

    if (d.start > 0) {
        sim_turn(s, 1);
        sim_start(s, d.start);
    }

    if (d.retire > 0) {
        sim_turn(s, -1);
        sim_retire(s, d.retire);
    }

    next = d.again_ms;

    if (in.waiting > 0) {
        s->kick = 1;

        if (next == 0 || next > SIM_LOOK_MS) {
            next = SIM_LOOK_MS;
        }

        if (next < SIM_AGAIN_MS) {
            next = SIM_AGAIN_MS;
        }
    }

    s->timer = (next > 0) ? s->now + (double) next : SIM_NEVER;

    if (sim_live(s) > s->most) {
        s->most = sim_live(s);
    }
}


/* gives waiting requests to idle instances, the lowest first */

static void
sim_dispatch(sim_t *s)
{
    double    took, wait;
    uint32_t  i;

    for (i = 0; i < s->max && s->head != s->tail; i++) {

        if (s->slot[i].state != SIM_IDLE) {
            continue;
        }

        wait = s->now - s->queue[s->head++];
        took = (s->slow_ms > 0 && s->now >= s->slow_from) ? s->slow_ms
                                                          : s->service_ms;

        if (s->exponential) {
            took *= -log(sim_random(s));
        }

        s->slot[i].state = SIM_BUSY;
        s->slot[i].until = s->now + took;
        s->slot[i].begun = s->now;

        if (s->now >= s->watch_from && s->now < s->watch_to) {
            s->watched++;
            s->wait_sum += wait;
            s->wait_max = fmax(s->wait_max, wait);
        }
    }
}


/* the instance at its next moment; 1 when the supervisor hears of it */

static int
sim_instance(sim_t *s, uint32_t i)
{
    double  took;

    switch (s->slot[i].state) {

    case SIM_STARTING:
        if (s->fail > 0 && sim_random(s) < s->fail) {
            s->slot[i].state = SIM_FREE;
            return 1;
        }

        took = (s->now - s->slot[i].begun) * 1000;
        s->mean_start_us += (s->mean_start_us == 0)
                            ? took : (took - s->mean_start_us) / 4;
        s->slot[i].state = SIM_IDLE;
        s->slot[i].idle_since = s->now;
        return 1;

    case SIM_BUSY:
        s->finished++;
        s->service_us += (uint64_t) ((s->now - s->slot[i].begun) * 1000);

        if (s->oneshot) {
            s->slot[i].state = SIM_ENDING;
            s->slot[i].until = s->now + SIM_REAP_MS;

        } else {
            s->slot[i].state = SIM_IDLE;
            s->slot[i].idle_since = s->now;
        }

        return 0;

    default:
        s->slot[i].state = SIM_FREE;
        return 1;
    }
}


static double
sim_next(const sim_t *s, uint32_t *which)
{
    double    t;
    uint32_t  i;

    t = fmin(s->arrival, s->timer);
    *which = s->max;

    for (i = 0; i < s->max; i++) {
        if (s->slot[i].state != SIM_FREE && s->slot[i].state != SIM_IDLE
            && s->slot[i].until < t)
        {
            t = s->slot[i].until;
            *which = i;
        }
    }

    return t;
}


static void
sim_until(sim_t *s, double end)
{
    int       heard;
    double    t, from, to;
    uint32_t  which;

    for ( ;; ) {
        t = sim_next(s, &which);

        from = fmax(s->now, s->watch_from);
        to = fmin(fmin(t, end), s->watch_to);

        if (to > from) {
            s->area += (to - from) * (sim_live(s) - sim_count(s, SIM_ENDING));
        }

        if (t > end) {
            s->now = end;
            return;
        }

        s->now = t;

        if (which < s->max) {
            heard = sim_instance(s, which);
            sim_dispatch(s);

            if (heard) {
                sim_decide(s);
                sim_dispatch(s);
            }

        } else if (t == s->arrival) {
            s->arrivals++;
            assert_true(s->tail < SIM_QUEUE);
            s->queue[s->tail++] = s->now;
            sim_next_arrival(s);
            sim_dispatch(s);

            if (s->head != s->tail && !s->kick) {
                s->kick = 1;
                sim_decide(s);
            }

        } else {
            s->timer = SIM_NEVER;
            sim_decide(s);
        }
    }
}


static void
sim_run(sim_t *s)
{
    s->queue = malloc(SIM_QUEUE * sizeof(double));
    assert_non_null(s->queue);

    s->timer = 0;
    s->seed = s->seed ? s->seed : 20231123;
    sim_next_arrival(s);
    sim_until(s, s->end_ms);

    print_message("          %u decisions, %u starts, %u retired, %u turns, "
                  "at most %u; %u watched: %.2f live, wait %.2f ms, at most "
                  "%.0f\n", s->decisions, s->starts, s->retires, s->turns,
                  s->most, s->watched,
                  s->area / (s->watch_to - s->watch_from),
                  s->wait_sum / (s->watched ? s->watched : 1), s->wait_max);

    free(s->queue);
}


/* all that arrived was answered, and the function is back to its minimum */

static void
sim_is_over(const sim_t *s)
{
    assert_int_equal(s->finished, s->arrivals);
    assert_int_equal(s->head, s->tail);
    assert_true(s->arrivals > 0);
    assert_int_equal(sim_count(s, SIM_IDLE), s->min);
    assert_int_equal(sim_live(s), s->min);
    assert_true(s->most <= s->max);
}


static double
sim_live_mean(const sim_t *s)
{
    return s->area / (s->watch_to - s->watch_from);
}


static double
sim_wait_mean(const sim_t *s)
{
    assert_true(s->watched > 0);

    return s->wait_sum / s->watched;
}


static double
rate_100(double t)
{
    (void) t;

    return 0.1;
}


static double
rate_5000(double t)
{
    (void) t;

    return 5;
}


static double
rate_step(double t)
{
    return (t < 10000) ? 0.02 : 0.3;
}


static double
rate_ramp(double t)
{
    return (t < 40000) ? 0.5 * t / 40000 : 0.5 * (80000 - t) / 40000;
}


/* 40 within a millisecond, every ten seconds */

static double
rate_burst(double t)
{
    return (fmod(t, 10000) < 1) ? 40 : 0;
}


/* a second each, on and off */

static double
rate_on_off(double t)
{
    return (fmod(t, 2000) < 1000) ? 0.2 : 0;
}


/* on for 5 seconds in 20 */

static double
rate_rare(double t)
{
    return (fmod(t, 20000) < 5000) ? 0.2 : 0;
}


static sim_t
resident(double service_ms, double (*rate)(double t))
{
    sim_t  s;

    memset(&s, 0, sizeof(s));
    s.max = 32;
    s.idle_timeout_ms = 2000;
    s.service_ms = service_ms;
    s.start_ms = 1;
    s.cold_ms = 12;
    s.rate = rate;
    s.stop_ms = 60000;
    s.end_ms = 64100;
    s.watch_from = 20000;
    s.watch_to = 60000;

    return s;
}


static sim_t
oneshot(double service_ms, double (*rate)(double t))
{
    sim_t  s;

    s = resident(service_ms, rate);
    s.oneshot = 1;
    s.spare = 2;
    s.end_ms = s.stop_ms + 5000;

    return s;
}


static void
test_sim_steady_converges_to_littles_law(void **unused)
{
    sim_t   s;
    size_t  i;

    static const double  service[] = { 5, 20, 55, 155 };

    (void) unused;

    for (i = 0; i < 4; i++) {
        s = resident(service[i], rate_100);
        sim_run(&s);
        sim_is_over(&s);

        /* evenly: exactly what it takes, found once, kept until the end */

        assert_true(sim_live_mean(&s) >= service[i] * 0.1);
        assert_true(sim_live_mean(&s) <= ceil(service[i] * 0.1) + 1);
        assert_true(s.turns <= 1);
        assert_true(sim_wait_mean(&s) < 5);
    }

    for (i = 0; i < 4; i++) {
        s = resident(service[i], rate_100);
        s.poisson = 1;
        s.exponential = 1;
        s.end_ms += 2000;
        sim_run(&s);
        sim_is_over(&s);

        assert_true(sim_live_mean(&s) >= service[i] * 0.1);
        assert_true(sim_live_mean(&s) <= 2 * service[i] * 0.1 + 4);
        assert_true(s.turns <= 2 * 62 / 2);
        assert_true(sim_wait_mean(&s) < 5);
    }
}


static void
test_sim_short_requests_pack_into_few(void **unused)
{
    sim_t  s;

    (void) unused;

    /* 5000 a second of 0.1 ms: half an instance */

    s = resident(0.1, rate_5000);
    s.poisson = 1;
    s.exponential = 1;
    s.stop_ms = 20000;
    s.watch_from = 1000;
    s.watch_to = 20000;
    s.end_ms = 24100;
    sim_run(&s);
    sim_is_over(&s);

    assert_int_equal(s.most, 1);
    assert_true(sim_wait_mean(&s) < 1);

    /* of 0.3 ms: one and a half */

    s = resident(0.3, rate_5000);
    s.poisson = 1;
    s.exponential = 1;
    s.stop_ms = 20000;
    s.watch_from = 1000;
    s.watch_to = 20000;
    s.end_ms = 24100;
    sim_run(&s);
    sim_is_over(&s);

    assert_true(s.most <= 6);
    assert_true(sim_wait_mean(&s) < 5);
}


static void
test_sim_step_is_followed(void **unused)
{
    sim_t  s;

    (void) unused;

    s = resident(20, rate_step);
    sim_run(&s);
    sim_is_over(&s);
    assert_true(sim_live_mean(&s) >= 5.9 && sim_live_mean(&s) <= 8);
    assert_true(s.turns <= 1);
    assert_true(sim_wait_mean(&s) < 2);

    /* the step itself hurts for as long as a few starts take */

    s = resident(20, rate_step);
    s.watch_from = 10000;
    s.watch_to = 10500;
    sim_run(&s);
    assert_true(s.wait_max < 60);

    s = oneshot(20, rate_step);
    sim_run(&s);
    sim_is_over(&s);
    assert_int_equal(s.starts, s.arrivals + s.retires);
    assert_true(sim_live_mean(&s) <= 6 + 2 + 4);
    assert_true(sim_wait_mean(&s) < 1);
    assert_true(s.turns <= 4);
}


static void
test_sim_ramp_up_and_down(void **unused)
{
    sim_t  s;

    (void) unused;

    s = resident(20, rate_ramp);
    s.poisson = 1;
    s.stop_ms = 80000;
    s.end_ms = 84100;
    s.watch_from = 1000;
    s.watch_to = 80000;
    sim_run(&s);
    sim_is_over(&s);

    /* 5 on the average, 10 at the top */

    assert_true(sim_live_mean(&s) >= 5 && sim_live_mean(&s) <= 12);
    assert_true(s.most >= 10 && s.most <= 24);
    assert_true(sim_wait_mean(&s) < 2);
    assert_true(s.turns <= 40);

    s = oneshot(20, rate_ramp);
    s.stop_ms = 80000;
    s.end_ms = 85000;
    s.watch_from = 1000;
    s.watch_to = 80000;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(sim_wait_mean(&s) < 1);
    assert_int_equal(s.starts, s.arrivals + s.retires);
}


static void
test_sim_burst_reaches_max_and_goes(void **unused)
{
    sim_t     s;
    uint32_t  bursts;

    (void) unused;

    /* nothing is known at the first burst of long requests */

    bursts = 6;
    s = resident(1000, rate_burst);
    s.max = 60;
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.arrivals >= 40 * bursts - 2);
    assert_in_range(s.most, 40, 42);
    assert_true(s.wait_max < 60);
    assert_true(s.turns <= 2 * bursts);

    /* fewer than there are requests: in turns */

    s = resident(1000, rate_burst);
    s.max = 10;
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_int_equal(s.most, 10);
    assert_true(s.wait_max < 4 * 1000 + 100);

    /* short ones need few */

    s = resident(0.2, rate_burst);
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.most <= 3);
    assert_true(s.wait_max < 30);

    s = oneshot(50, rate_burst);
    s.max = 64;
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_int_equal(s.starts, s.arrivals + s.retires);
    assert_true(s.most >= 40);
    assert_true(s.wait_max < 30);
    assert_true(s.turns <= 2 * bursts);
}


static void
test_sim_on_off_does_not_oscillate(void **unused)
{
    sim_t  s;

    (void) unused;

    /* shorter than idle_timeout: what is there stays */

    s = resident(20, rate_on_off);
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.turns <= 1);
    assert_true(s.starts <= 8);

    s = oneshot(20, rate_on_off);
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.turns <= 4);

    /* longer: down and up once each time */

    s = resident(20, rate_rare);
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.turns <= 5);

    s = oneshot(20, rate_rare);
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.turns <= 5);
}


static void
test_sim_min_is_kept(void **unused)
{
    sim_t  s;

    (void) unused;

    s = resident(20, rate_on_off);
    s.min = 3;
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.wait_max < 30);

    s = oneshot(20, rate_rare);
    s.min = 5;
    sim_run(&s);
    sim_is_over(&s);
}


static void
test_sim_overload_is_served_at_max(void **unused)
{
    sim_t  s;

    (void) unused;

    /* 200 ms of 0.1 per ms is 20 instances, there are 16: the queue grows
       while requests arrive, and drains */

    s = resident(200, rate_100);
    s.max = 16;
    s.stop_ms = 30000;
    s.end_ms = 60000;
    s.watch_from = 1000;
    s.watch_to = 30000;
    sim_run(&s);
    sim_is_over(&s);
    assert_int_equal(s.most, 16);
    assert_true(sim_live_mean(&s) > 15.9);
    assert_true(s.turns <= 1);

    s = oneshot(200, rate_100);
    s.max = 16;
    s.stop_ms = 30000;
    s.end_ms = 60000;
    s.watch_from = 1000;
    s.watch_to = 30000;
    sim_run(&s);
    sim_is_over(&s);
    assert_int_equal(s.most, 16);
}


static void
test_sim_full_use_of_one_instance_is_stable(void **unused)
{
    sim_t  s;

    (void) unused;

    /* a load of 0.9 on whole numbers: one is enough, barely */

    s = resident(9, rate_100);
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.most <= 2);
    assert_true(s.turns <= 1);

    s = resident(1, rate_5000);
    s.poisson = 1;
    s.exponential = 1;
    s.stop_ms = 20000;
    s.watch_from = 2000;
    s.watch_to = 20000;
    s.end_ms = 26000;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(sim_live_mean(&s) >= 5 && sim_live_mean(&s) <= 16);
    assert_true(sim_wait_mean(&s) < 5);
}


static void
test_sim_requests_that_become_long_get_instances(void **unused)
{
    sim_t  s;

    (void) unused;

    /* a millisecond, then a fifth of a second: 20 are needed */

    s = resident(1, rate_100);
    s.poisson = 1;
    s.max = 40;
    s.slow_from = 30000;
    s.slow_ms = 200;
    s.stop_ms = 50000;
    s.watch_from = 29000;
    s.watch_to = 50000;
    s.end_ms = 54100;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.most >= 20 && s.most <= 40);
    assert_true(s.wait_max < 100);
    assert_true(sim_wait_mean(&s) < 2);
    assert_true(s.turns <= 2 * 21000 / 2000);

    /* all hang: each request finds an instance until there are max */

    s = resident(0.2, rate_100);
    s.slow_from = 10000;
    s.slow_ms = 20000;
    s.max = 40;
    s.stop_ms = 10300;
    s.watch_from = 9900;
    s.watch_to = 10300;
    s.end_ms = 40000;
    sim_run(&s);
    sim_is_over(&s);
    assert_in_range(s.most, 29, 32);

    /* they were short: 50 ms for a first doubt, and 50 until none is left */

    assert_true(s.wait_max < 50 + 50 + 5 * 12);
}


static void
test_sim_starts_that_fail_starve_nobody(void **unused)
{
    sim_t  s;

    (void) unused;

    s = resident(20, rate_burst);
    s.fail = 0.5;
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);

    s = oneshot(20, rate_on_off);
    s.fail = 0.5;
    s.watch_from = 0;
    sim_run(&s);
    sim_is_over(&s);
    assert_true(s.wait_max < 300);
}


static void
test_sim_held_back_starts_nothing(void **unused)
{
    sim_t  s;

    (void) unused;

    s = resident(20, rate_100);
    s.held_back = 1;
    s.stop_ms = 5000;
    s.end_ms = 6000;
    sim_run(&s);
    assert_int_equal(s.starts, 0);
    assert_int_equal(s.finished, 0);
}


static void
test_sim_decisions_are_few(void **unused)
{
    sim_t  s;

    (void) unused;

    /* no more often than every few milliseconds, and hardly when nothing is
       to be decided */

    s = resident(20, rate_100);
    sim_run(&s);
    assert_true(s.decisions < 64100 / 5);

    s = resident(0.1, rate_5000);
    s.stop_ms = 20000;
    s.end_ms = 60000;
    sim_run(&s);
    assert_true(s.decisions < 100);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_nothing_is_started_for_nobody),
        cmocka_unit_test(test_first_request_starts_one_instance),
        cmocka_unit_test(test_first_start_that_hangs_is_not_all),
        cmocka_unit_test(test_short_wait_is_cheaper_than_a_start),
        cmocka_unit_test(test_long_wait_starts_as_many_as_wait),
        cmocka_unit_test(test_stall_starts_although_requests_were_short),
        cmocka_unit_test(test_stall_of_longer_requests_is_seen_sooner),
        cmocka_unit_test(test_old_idleness_is_no_stall),
        cmocka_unit_test(test_wait_that_lasts_doubles),
        cmocka_unit_test(test_max_is_never_exceeded),
        cmocka_unit_test(test_ending_instances_take_room),
        cmocka_unit_test(test_min_is_refilled_at_once),
        cmocka_unit_test(test_held_back_starts_nothing),
        cmocka_unit_test(test_idle_too_long_is_retired_one_by_one),
        cmocka_unit_test(test_busy_ones_are_looked_after_when_they_may_be_idle),
        cmocka_unit_test(test_lowered_max_retires_at_once),
        cmocka_unit_test(test_oneshot_has_an_instance_for_each_and_a_spare),
        cmocka_unit_test(test_oneshot_spares_follow_the_rate),
        cmocka_unit_test(test_oneshot_spares_go_when_nobody_comes),
        cmocka_unit_test(test_spares_of_a_resident_function),
        cmocka_unit_test(test_restarted_supervisor_takes_totals_for_no_rush),
        cmocka_unit_test(test_odd_figures_are_survived),
        cmocka_unit_test(test_sim_steady_converges_to_littles_law),
        cmocka_unit_test(test_sim_short_requests_pack_into_few),
        cmocka_unit_test(test_sim_step_is_followed),
        cmocka_unit_test(test_sim_ramp_up_and_down),
        cmocka_unit_test(test_sim_burst_reaches_max_and_goes),
        cmocka_unit_test(test_sim_on_off_does_not_oscillate),
        cmocka_unit_test(test_sim_min_is_kept),
        cmocka_unit_test(test_sim_overload_is_served_at_max),
        cmocka_unit_test(test_sim_full_use_of_one_instance_is_stable),
        cmocka_unit_test(test_sim_requests_that_become_long_get_instances),
        cmocka_unit_test(test_sim_starts_that_fail_starve_nobody),
        cmocka_unit_test(test_sim_held_back_starts_nothing),
        cmocka_unit_test(test_sim_decisions_are_few)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
