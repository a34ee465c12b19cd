/* objects: baas/events_due.c scoreboard/faas_cron.c scoreboard/faas_event.c */

/*
 * What becomes of due times: by cases, and in simulations of nodes that
 * share one stored state and die, stop, come back and have their clock set.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "events_due.h"


#define MINUTE  60000ll
#define HOUR    (60 * MINUTE)
#define NOON    1792929600000ll     /* 2026-10-25 12:00:00 UTC */


static faas_schedule_t
schedule(const char *line)
{
    char             why[FAAS_EVENT_WHY_SIZE];
    faas_schedule_t  s;

    if (faas_schedule_parse(line, strlen(line), &s, why) != 0) {
        fail_msg("\"%s\": %s", line, why);
    }

    return s;
}


/* a look by a node that has been there for a day and has seen nothing */

static events_due_t
look(const char *line, int64_t due_ms, int64_t last_ms, int running,
    int64_t now_ms)
{
    events_due_t     due;
    queue_timer_t    t;
    events_watch_t   w;
    faas_schedule_t  s;

    s = schedule(line);
    memset(&t, 0, sizeof(t));
    memset(&w, 0, sizeof(w));
    t.due_ms = due_ms;
    t.last_ms = last_ms;
    t.running = running;
    w.since_ms = now_ms - 24 * HOUR;

    events_due_decide(&s, &t, &w, now_ms, &due);

    return due;
}


static void
waits(events_due_t due, int64_t at_ms)
{
    assert_int_equal(due.action, EVENTS_DUE_WAIT);
    assert_true(due.at_ms == at_ms);
}


static void
fires(events_due_t due, int64_t next_ms)
{
    assert_int_equal(due.action, EVENTS_DUE_FIRE);
    assert_true(due.next_ms == next_ms);
}


static void
moves(events_due_t due, int64_t next_ms, events_due_reason_e reason)
{
    assert_int_equal(due.action, EVENTS_DUE_MOVE);
    assert_int_equal(due.reason, reason);
    assert_true(due.next_ms == next_ms);
}


static void
test_it_fires_when_it_is_due_and_not_before(void **state)
{
    (void) state;

    waits(look("0 * * * *", NOON, NOON - HOUR, 0, NOON - 1), NOON);
    fires(look("0 * * * *", NOON, NOON - HOUR, 0, NOON), NOON + HOUR);
    fires(look("0 * * * *", NOON, NOON - HOUR, 0, NOON + 29999),
          NOON + HOUR);
    fires(look("@every 10s", NOON, NOON - 10000, 0, NOON + 5), NOON + 10000);
}


/* merely late: each of them, in order */

static void
test_late_due_times_fire_one_after_the_other(void **state)
{
    (void) state;

    fires(look("@every 1s overlap=allow", NOON, 0, 0, NOON + 20000),
          NOON + 1000);
}


static void
test_overlap_skip_leaves_out_what_comes_while_the_last_run_goes_on(
    void **state)
{
    (void) state;

    moves(look("0 * * * *", NOON, NOON - HOUR, 1, NOON), NOON + HOUR,
          EVENTS_DUE_OVERLAP);
    moves(look("@every 1s", NOON, NOON - HOUR, 1, NOON + 3500), NOON + 4000,
          EVENTS_DUE_OVERLAP);
    moves(look("0 * * * *", NOON, NOON - HOUR, 1, NOON + 5 * HOUR + 1),
          NOON + 6 * HOUR, EVENTS_DUE_OVERLAP);
}


static void
test_overlap_allow_runs_beside_the_last(void **state)
{
    (void) state;

    fires(look("0 * * * * overlap=allow", NOON, NOON - HOUR, 1, NOON),
          NOON + HOUR);
}


static void
test_overlap_queue_waits_for_the_last_and_is_not_missed_then(void **state)
{
    events_due_t     due;
    queue_timer_t    t;
    events_watch_t   w;
    faas_schedule_t  s;

    (void) state;

    s = schedule("0 * * * * overlap=queue catchup=none");
    memset(&t, 0, sizeof(t));
    memset(&w, 0, sizeof(w));
    w.since_ms = NOON - HOUR;
    t.due_ms = NOON;
    t.last_ms = NOON - HOUR;
    t.running = 1;

    events_due_decide(&s, &t, &w, NOON, &due);
    waits(due, NOON + EVENTS_DUE_HELD_MS);
    events_due_decide(&s, &t, &w, NOON + 2 * HOUR + 60000, &due);
    waits(due, NOON + 2 * HOUR + 60000 + EVENTS_DUE_HELD_MS);

    /* it has ended: three due times, one after the other */

    t.running = 0;
    events_due_decide(&s, &t, &w, NOON + 2 * HOUR + 61000, &due);
    fires(due, NOON + HOUR);
    t.due_ms = NOON + HOUR;
    events_due_decide(&s, &t, &w, NOON + 2 * HOUR + 62000, &due);
    fires(due, NOON + 2 * HOUR);
    t.due_ms = NOON + 2 * HOUR;
    events_due_decide(&s, &t, &w, NOON + 2 * HOUR + 63000, &due);
    fires(due, NOON + 3 * HOUR);

    /* and what it saw counts for these alone */

    t.due_ms = NOON + 3 * HOUR;
    events_due_decide(&s, &t, &w, NOON + 3 * HOUR - 1, &due);
    waits(due, NOON + 3 * HOUR);
    events_due_decide(&s, &t, &w, NOON + 5 * HOUR + MINUTE, &due);
    moves(due, NOON + 6 * HOUR, EVENTS_DUE_MISSED);
}


static void
test_catchup_none_leaves_out_what_was_missed(void **state)
{
    (void) state;

    moves(look("0 * * * *", NOON, NOON - HOUR, 0, NOON + 30001), NOON + HOUR,
          EVENTS_DUE_MISSED);

    /* but not what is merely late */

    moves(look("0 * * * *", NOON, NOON - HOUR, 0, NOON + 9 * HOUR + 20000),
          NOON + 9 * HOUR, EVENTS_DUE_MISSED);
    moves(look("@every 10s", NOON, 0, 0, NOON + HOUR), NOON + HOUR - 30000,
          EVENTS_DUE_MISSED);
}


static void
test_catchup_one_runs_the_last_that_was_missed(void **state)
{
    static const char  line[] = "0 * * * * catchup=one";

    (void) state;

    moves(look(line, NOON, NOON - HOUR, 0, NOON + 9 * HOUR + 20 * MINUTE),
          NOON + 9 * HOUR, EVENTS_DUE_MISSED);
    fires(look(line, NOON + 9 * HOUR, NOON - HOUR, 0,
               NOON + 9 * HOUR + 20 * MINUTE), NOON + 10 * HOUR);

    /* a year of minutes is found at once */

    moves(look("* * * * * catchup=one", NOON, 0, 0,
               NOON + 365 * 24 * HOUR + 1), NOON + 365 * 24 * HOUR,
          EVENTS_DUE_MISSED);

    /* it waits for a run that goes on, and is not left out for it */

    waits(look(line, NOON, NOON - HOUR, 1, NOON + 9 * HOUR),
          NOON + 9 * HOUR + EVENTS_DUE_HELD_MS);
    fires(look("0 * * * * catchup=one overlap=allow", NOON, NOON - HOUR, 1,
               NOON + 40 * MINUTE), NOON + HOUR);
}


static void
test_catchup_all_runs_each_up_to_1000(void **state)
{
    static const char  line[] = "*/30 * * * * catchup=all";

    (void) state;

    fires(look(line, NOON, NOON - HOUR, 0, NOON + 9 * HOUR), NOON + HOUR / 2);
    waits(look(line, NOON, NOON - HOUR, 1, NOON + 9 * HOUR),
          NOON + 9 * HOUR + EVENTS_DUE_HELD_MS);

    /* 1000 of them: noon and 999 more */

    fires(look(line, NOON, 0, 0, NOON + 999 * HOUR / 2 + 1),
          NOON + HOUR / 2);
    moves(look(line, NOON, 0, 0, NOON + 1000 * HOUR / 2), NOON + HOUR / 2,
          EVENTS_DUE_MISSED);
    moves(look(line, NOON, 0, 0, NOON + 5000 * HOUR / 2 + 7),
          NOON + 4001 * HOUR / 2, EVENTS_DUE_MISSED);

    fires(look("@every 10s catchup=all", NOON, 0, 0, NOON + 9990000),
          NOON + 10000);
    moves(look("@every 10s catchup=all", NOON, 0, 0, NOON + 10000000),
          NOON + 10000, EVENTS_DUE_MISSED);
}


static void
test_a_node_that_has_just_come_leaves_nothing_out(void **state)
{
    events_due_t     due;
    queue_timer_t    t;
    events_watch_t   w;
    faas_schedule_t  s;

    (void) state;

    s = schedule("0 * * * *");
    memset(&t, 0, sizeof(t));
    memset(&w, 0, sizeof(w));
    w.since_ms = NOON + 40 * MINUTE;
    t.due_ms = NOON;
    t.last_ms = NOON - HOUR;

    events_due_decide(&s, &t, &w, NOON + 40 * MINUTE, &due);
    waits(due, NOON + 40 * MINUTE + EVENTS_DUE_SETTLE_MS);
    events_due_decide(&s, &t, &w,
                      NOON + 40 * MINUTE + EVENTS_DUE_SETTLE_MS, &due);
    moves(due, NOON + HOUR, EVENTS_DUE_MISSED);

    /* its clock was set back: since is never in the future */

    w.since_ms = NOON + 24 * HOUR;
    events_due_decide(&s, &t, &w, NOON + 40 * MINUTE, &due);
    waits(due, NOON + 40 * MINUTE + EVENTS_DUE_SETTLE_MS);
}


static void
test_a_clock_set_back_fires_nothing_twice(void **state)
{
    (void) state;

    /* fired at noon, then 59 minutes back: noon is not due again */

    waits(look("0 * * * *", NOON + HOUR, NOON, 0, NOON - 59 * MINUTE),
          NOON + HOUR);

    /* a day ahead when it fired: it would sleep for a day */

    moves(look("0 * * * *", NOON + 25 * HOUR, NOON + 24 * HOUR, 0, NOON),
          NOON + HOUR, EVENTS_DUE_STEPPED);

    /* and once it has begun anew it waits */

    waits(look("0 * * * *", NOON + HOUR, NOON + 25 * HOUR, 0, NOON),
          NOON + HOUR);

    /* made by a clock that was ahead, never fired */

    moves(look("0 * * * *", NOON + 25 * HOUR, 0, 0, NOON), NOON + HOUR,
          EVENTS_DUE_STEPPED);
    waits(look("0 0 1 1 *", 1798761600000, 0, 0, NOON), 1798761600000);
}


static void
test_the_same_due_times_are_the_same_timer(void **state)
{
    char             a[256], b[256];
    size_t           i;
    faas_schedule_t  s;

    static const struct {
        const char  *one;
        const char  *other;
        int          same;
    } pair[] = {
        { "0 3 * * *", "0  3 * * 0-6", 0 },    /* a star counts in spring */
        { "0 3 * * mon", "0 3 * * 1", 1 },
        { "0 3 * * *", "0 3 * * * attempts=7 overlap=allow", 1 },
        { "0 3 * * *", "0 3 * * * tz=Europe/Berlin", 0 },
        { "@every 60s", "@every 1m", 1 },
        { "@every 60s", "@every 61s", 0 },
        { "@daily", "0 0 * * *", 1 }
    };

    (void) state;

    for (i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
        s = schedule(pair[i].one);
        events_due_spec(&s, a, sizeof(a));
        s = schedule(pair[i].other);
        events_due_spec(&s, b, sizeof(b));
        assert_int_equal(strcmp(a, b) == 0, pair[i].same);
    }
}


static void
test_what_never_comes_is_far_away(void **state)
{
    faas_schedule_t  s;

    (void) state;

    s = schedule("0 0 29 2 *");
    s.cron.day = 1u << 30;
    assert_true(events_due_next(&s, NOON) == EVENTS_DUE_NEVER);
}


/* -- simulations ----------------------------------------------------------- */

/*
 * Nodes look at a stored timer, get a copy of it, and act on that later, when
 * others may have been first: as with a real engine the swap decides.
 */

#define NODES  5

typedef struct {
    events_watch_t   watch;
    int              up;
    int64_t          at_ms;            /* its next look */
    int              pending;          /* decided, not done yet */
    int64_t          act_ms;
    int64_t          seen_ms;          /* due time that it decided about */
    events_due_t     due;
} node_t;

typedef struct {
    faas_schedule_t  schedule;
    queue_timer_t    timer;
    int64_t          run_until_ms;
    node_t           node[NODES];
    uint32_t         seed;
    unsigned         fired;
    unsigned         moved[4];         /* by reason */
    unsigned         lost;             /* swaps */
    int64_t          last_ms;          /* that fired */
    int64_t          late_ms;          /* the latest */
    int              gaps;             /* a due time may be missing */
} sim_t;


static unsigned
chance(sim_t *sim, unsigned n)
{
    sim->seed = sim->seed * 1664525u + 1013904223u;

    return (sim->seed >> 8) % n;
}


static void
sim_start(sim_t *sim, const char *line, int64_t now_ms, uint32_t seed)
{
    size_t  i;

    memset(sim, 0, sizeof(*sim));
    sim->schedule = schedule(line);
    sim->seed = seed;
    sim->timer.due_ms = events_due_next(&sim->schedule, now_ms);

    for (i = 0; i < NODES; i++) {
        sim->node[i].up = 1;
        sim->node[i].watch.since_ms = now_ms;
    }
}


static void
sim_act(sim_t *sim, node_t *node, int64_t now_ms)
{
    node->pending = 0;
    node->at_ms = now_ms;

    if (sim->timer.due_ms != node->seen_ms) {
        sim->lost++;
        return;
    }

    if (node->due.action == EVENTS_DUE_FIRE) {

        /* the very next one: none twice, none left out */

        if (!sim->gaps && sim->last_ms != 0) {
            assert_true(events_due_next(&sim->schedule, sim->last_ms)
                        == sim->timer.due_ms);
        }

        assert_true(sim->timer.due_ms > sim->last_ms);
        assert_true(sim->timer.due_ms <= now_ms);

        sim->last_ms = sim->timer.due_ms;
        sim->fired++;

        if (now_ms - sim->timer.due_ms > sim->late_ms) {
            sim->late_ms = now_ms - sim->timer.due_ms;
        }

        sim->timer.running = 1;
        sim->run_until_ms = now_ms + 10 + chance(sim, 400);

    } else {
        sim->moved[node->due.reason]++;
    }

    sim->timer.last_ms = sim->timer.due_ms;
    sim->timer.due_ms = node->due.next_ms;
    sim->timer.fence++;
}


static void
sim_step(sim_t *sim, int64_t now_ms)
{
    size_t         i;
    node_t        *node;
    queue_timer_t  seen;

    if (sim->timer.running && now_ms >= sim->run_until_ms) {
        sim->timer.running = 0;
    }

    for (i = 0; i < NODES; i++) {
        node = &sim->node[i];

        if (!node->up) {
            continue;
        }

        if (node->pending && now_ms >= node->act_ms) {
            sim_act(sim, node, now_ms);
        }

        if (node->pending || now_ms < node->at_ms) {
            continue;
        }

        seen = sim->timer;
        events_due_decide(&sim->schedule, &seen, &node->watch, now_ms,
                          &node->due);

        if (node->due.action == EVENTS_DUE_WAIT) {
            assert_true(node->due.at_ms > now_ms);
            node->at_ms = node->due.at_ms;
            continue;
        }

        node->pending = 1;
        node->seen_ms = seen.due_ms;
        node->act_ms = now_ms + chance(sim, 30);
    }
}


static void
sim_kill(node_t *node)
{
    node->up = 0;
    node->pending = 0;
}


static void
sim_wake(node_t *node, int64_t now_ms)
{
    memset(node, 0, sizeof(*node));
    node->up = 1;
    node->watch.since_ms = now_ms;
}


/* some node is always there; they are killed, or stopped with a decision in
   their hands that they act upon when they wake, much too late */

static void
test_1000_ticks_on_nodes_that_die_and_stop_fire_once_each(void **state)
{
    node_t   *node;
    sim_t     sim;
    int64_t   now;
    uint32_t  seed;

    static const char *const  lines[] = {
        "@every 1s overlap=allow",
        "@every 1s overlap=queue",
        "@every 1s overlap=queue catchup=all",
        "* * * * * overlap=allow catchup=one",
        "@every 7s overlap=skip"
    };

    (void) state;

    for (seed = 0; seed < 25; seed++) {
        sim_start(&sim, lines[seed % 5], NOON, seed);

        for (now = NOON; sim.fired < 1000; now += 5) {
            sim_step(&sim, now);

            /* node 0 stays; it may be slow */

            if (chance(&sim, 100) == 0) {
                node = &sim.node[1 + chance(&sim, NODES - 1)];

                if (!node->up) {
                    sim_wake(node, now);

                } else if (chance(&sim, 2)) {
                    sim_kill(node);

                } else {
                    node->at_ms = now + 60000;
                    node->act_ms = now + 60000;
                }
            }
        }

        assert_int_equal(sim.moved[EVENTS_DUE_MISSED], 0);
        assert_int_equal(sim.moved[EVENTS_DUE_STEPPED], 0);
        assert_true(sim.lost > 0);
    }
}


/* nobody is there for longer and longer times */

static void
test_while_nobody_is_there_catchup_decides(void **state)
{
    size_t    i;
    sim_t     sim;
    int64_t   now, back, expected;
    unsigned  before;

    static const struct {
        const char  *line;
        unsigned     fired;      /* of 20 that were missed, and one late */
    } cases[] = {
        { "* * * * * overlap=allow catchup=none", 1 },
        { "* * * * * overlap=allow catchup=one", 1 },
        { "* * * * * overlap=allow catchup=all", 20 },
        { "* * * * * overlap=skip catchup=all", 20 },
        { "* * * * * overlap=queue catchup=all", 20 },
        { "* * * * * overlap=queue catchup=one", 1 }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sim_start(&sim, cases[i].line, NOON, (uint32_t) i);

        for (now = NOON; now < NOON + 5 * MINUTE + 1000; now += 5) {
            sim_step(&sim, now);
        }

        assert_int_equal(sim.fired, 5);
        sim.timer.running = 0;

        /* 12:06 ... 12:25 pass */

        back = NOON + 25 * MINUTE + 10000;
        sim.gaps = 1;
        before = sim.fired;

        for (expected = 0; expected < NODES; expected++) {
            sim_wake(&sim.node[expected], back);
        }

        for (now = back; now < back + 45000; now += 5) {
            sim_step(&sim, now);
        }

        assert_int_equal(sim.fired - before, cases[i].fired);
        assert_true(sim.last_ms == NOON + 25 * MINUTE);
    }
}


/* the same wall clock for all, set forwards and backwards under them */

static void
test_whatever_the_clock_does_no_due_time_fires_twice(void **state)
{
    size_t    i, j;
    sim_t     sim;
    int64_t   now, step, end, most;
    uint32_t  seed;

    static const char *const  lines[] = {
        "@every 10s overlap=allow catchup=none",
        "* * * * * overlap=allow catchup=all",
        "*/2 * * * * overlap=queue catchup=one",
        "* * * * * overlap=skip catchup=none"
    };

    (void) state;

    for (seed = 0; seed < 20; seed++) {
        sim_start(&sim, lines[seed % 4], NOON, seed);
        sim.gaps = 1;
        now = NOON;
        most = NOON;

        for (i = 0; i < 40; i++) {

            for (end = now + 3 * MINUTE; now < end; now += 25) {
                sim_step(&sim, now);
            }

            /* up to 55 minutes either way, and never more behind what the
               clock once was */

            step = (int64_t) chance(&sim, 110 * 60) * 1000 - 55 * MINUTE;
            most = now > most ? now : most;
            now = now + step < most - 55 * MINUTE ? most - 55 * MINUTE
                                                  : now + step;

            for (j = 0; j < NODES; j++) {
                sim.node[j].at_ms = now;     /* timerfd says so */
            }

            sim.run_until_ms = now;
        }

        assert_true(sim.fired > 5);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_it_fires_when_it_is_due_and_not_before),
        cmocka_unit_test(test_late_due_times_fire_one_after_the_other),
        cmocka_unit_test(
            test_overlap_skip_leaves_out_what_comes_while_the_last_run_goes_on),
        cmocka_unit_test(test_overlap_allow_runs_beside_the_last),
        cmocka_unit_test(
            test_overlap_queue_waits_for_the_last_and_is_not_missed_then),
        cmocka_unit_test(test_catchup_none_leaves_out_what_was_missed),
        cmocka_unit_test(test_catchup_one_runs_the_last_that_was_missed),
        cmocka_unit_test(test_catchup_all_runs_each_up_to_1000),
        cmocka_unit_test(test_a_node_that_has_just_come_leaves_nothing_out),
        cmocka_unit_test(test_a_clock_set_back_fires_nothing_twice),
        cmocka_unit_test(test_the_same_due_times_are_the_same_timer),
        cmocka_unit_test(test_what_never_comes_is_far_away),
        cmocka_unit_test(
            test_1000_ticks_on_nodes_that_die_and_stop_fire_once_each),
        cmocka_unit_test(test_while_nobody_is_there_catchup_decides),
        cmocka_unit_test(test_whatever_the_clock_does_no_due_time_fires_twice)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
