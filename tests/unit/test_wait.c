/* objects: scoreboard/faas_wait.c */

/*
 * The wait to be expected: by table, what is estimated in one situation; by
 * simulation, that refusing by it starves nobody, whatever was measured.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "faas_wait.h"


#define MS  1000ull
#define S   1000000ull


static void
test_expected_wait_by_table(void **state)
{
    size_t  i;

    static const struct {
        faas_wait_t  w;
        uint64_t     us;
    } table[] = {
        /* waiting running instances max oneshot start service */

        /* who finds nobody waiting is let in, whatever is known */
        { { 0, 8, 8, 8, 0, 50 * MS, 3600 * S }, 0 },
        { { 0, 0, 0, 8, 0, 3600 * S, 3600 * S }, 0 },

        /* nothing is known */
        { { 1000, 8, 8, 8, 0, 0, 0 }, 0 },
        { { 1000, 0, 0, 8, 0, 50 * MS, 0 }, 0 },
        { { 1000, 0, 0, 8, 1, 50 * MS, 0 }, 0 },

        /* all there are */
        { { 1, 8, 8, 8, 0, 50 * MS, 800 * MS }, 100 * MS },
        { { 80, 8, 8, 8, 0, 50 * MS, 100 * MS }, 1000 * MS },
        { { 10, 1, 1, 1, 0, 0, 2 * S }, 20 * S },

        /* more may become, after a start; or fewer are enough */
        { { 80, 1, 1, 8, 0, 50 * MS, 100 * MS }, 1050 * MS },
        { { 1, 7, 7, 8, 0, 500 * MS, 700 * MS }, 100 * MS },
        { { 1, 1, 1, 100, 0, 0, 100 * MS }, 1 * MS },

        /* none there is */
        { { 1, 0, 0, 8, 0, 50 * MS, 80 * MS }, 60 * MS },

        /* one-shot: each needs a start */
        { { 8, 8, 8, 8, 1, 50 * MS, 100 * MS }, 150 * MS }
    };

    static const faas_wait_t  most = {
        UINT32_MAX, UINT32_MAX, 1, 1, 1, UINT32_MAX,
        UINT64_MAX - UINT32_MAX
    };

    (void) state;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(faas_wait_expected_us(&table[i].w), table[i].us);
    }

    /* no overflow makes it a short one */

    assert_true(faas_wait_expected_us(&most) > 3600 * S);
}


static void
test_retry_after_is_never_0_and_bounded(void **state)
{
    size_t  i;

    static const struct {
        faas_wait_t  w;
        uint32_t     queue_timeout_ms;
        uint32_t     seconds;
    } table[] = {
        { { 0, 0, 0, 1, 0, 0, 0 }, 0, 1 },
        { { 100, 8, 8, 8, 0, 50 * MS, 0 }, 10000, 1 },
        { { 1, 1, 1, 1, 0, 0, 1 * MS }, 10000, 1 },
        { { 4, 4, 4, 4, 0, 0, 1 * S }, 10000, 2 },
        { { 4, 3, 4, 4, 0, 0, 1 * S }, 10000, 2 },
        { { 5, 4, 4, 4, 0, 0, 1 * S }, 10000, 3 },

        /* whoever waits has gone by then */
        { { 100, 1, 1, 1, 0, 0, 1 * S }, 5000, 6 },
        { { 1000000, 1, 1, 1, 0, 0, 3600 * S }, 43200000, 3600 },
        { { UINT32_MAX, UINT32_MAX, 1, 1, 0, 0, UINT64_MAX }, UINT32_MAX,
          3600 },

        /* no division by none */
        { { 10, 1, 0, 0, 0, 0, 1 * S }, 100000, 11 }
    };

    (void) state;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(faas_wait_retry_after(&table[i].w,
                                               table[i].queue_timeout_ms),
                         table[i].seconds);
    }
}


static void
test_mean_begins_with_what_others_know(void **state)
{
    faas_wait_mean_t  m;

    (void) state;

    memset(&m, 0, sizeof(m));
    assert_int_equal(faas_wait_measure(&m, 100, 9 * S, 5000, 5001, 70 * MS),
                     70 * MS);

    memset(&m, 0, sizeof(m));
    assert_int_equal(faas_wait_measure(&m, 100, 9 * S, 5000, 5001, 0),
                     90 * MS);
    assert_int_equal(faas_wait_measure(&m, 100, 9 * S, 5000, 5002, 3 * S),
                     90 * MS);

    memset(&m, 0, sizeof(m));
    assert_int_equal(faas_wait_measure(&m, 0, 0, 0, 5001, 0), 0);
    assert_int_equal(faas_wait_measure(&m, 4, 2 * S, 5003, 5003, 3 * S),
                     500 * MS);
}


static void
test_mean_follows_what_finishes(void **state)
{
    int               i;
    uint64_t          finished, us, mean;
    faas_wait_mean_t  m;

    (void) state;

    memset(&m, 0, sizeof(m));
    mean = faas_wait_measure(&m, 0, 0, 1, 1, 10 * S);

    assert_int_equal(mean, 10 * S);

    /* a hundred at once */

    mean = faas_wait_measure(&m, 100, 100 * MS, 1, 1, 0);
    assert_in_range(mean, 1300 * MS, 1400 * MS);

    /* or one after the other, and no mean is left hanging */

    finished = 100;
    us = 100 * MS;

    for (i = 0; i < 300; i++) {
        finished++;
        us += MS;
        mean = faas_wait_measure(&m, finished, us, 1, 1, 0);
    }

    assert_in_range(mean, 1 * MS, 1 * MS + 20);
}


static void
test_counters_that_are_read_apart_do_no_harm(void **state)
{
    faas_wait_mean_t  m;

    (void) state;

    memset(&m, 0, sizeof(m));
    (void) faas_wait_measure(&m, 10, 10 * S, 1, 1, 1 * S);

    /* the time of one that is not counted yet, and the other way round */

    assert_int_equal(faas_wait_measure(&m, 10, 11 * S, 1, 1, 0), 1 * S);
    assert_int_equal(faas_wait_measure(&m, 11, 11 * S, 1, 1, 0), 1 * S);
    assert_true(faas_wait_measure(&m, 12, 11 * S, 1, 1, 0) < 1 * S);

    /* less than before: of another entry by now */

    assert_true(faas_wait_measure(&m, 3, 1 * S, 1, 1, 0) < 1 * S);
    assert_true(faas_wait_measure(&m, UINT64_MAX, UINT64_MAX, 1, 1, 0)
                < 1 * S);
}


static void
test_mean_that_nobody_measured_lately_says_nothing(void **state)
{
    uint64_t          fresh;
    faas_wait_mean_t  m;

    (void) state;

    memset(&m, 0, sizeof(m));
    fresh = 50000 + FAAS_WAIT_FRESH_MS + 4 * 2000;

    assert_int_equal(faas_wait_measure(&m, 1, S, 50000, 50000, 2 * S), 2 * S);
    assert_int_equal(faas_wait_measure(&m, 1, S, 50000, fresh, 0), 2 * S);
    assert_int_equal(faas_wait_measure(&m, 1, S, 50000, fresh + 1, 0), 0);

    /* long calls make for long silences */

    memset(&m, 0, sizeof(m));
    assert_int_equal(faas_wait_measure(&m, 1, S, 50000, 50000 + 200000,
                                       60 * S),
                     60 * S);

    /* none has ever ended */

    memset(&m, 0, sizeof(m));
    assert_int_equal(faas_wait_measure(&m, 0, 0, 0, 1000000, 2 * S), 0);
}


static void
test_seconds(void **state)
{
    size_t  i;

    static const struct {
        const char  *text;
        int64_t      ms;
    } table[] = {
        { "1", 1000 }, { "0.25", 250 }, { "2.", 2000 }, { ".5", 500 },
        { "0.001", 1 }, { "0.0001", 1 }, { "0.2500000", 250 },
        { "0.2501", 251 }, { "007", 7000 }, { "4294967", 4294967000u },
        { "4294968", UINT32_MAX }, { "99999999999999999999999", UINT32_MAX },
        { "4294967.2951", UINT32_MAX }, { "99999999999999999999999.5",
        UINT32_MAX },

        { "0", 0 }, { "0.000", 0 }, { "00.0000000", 0 },

        { "", -1 }, { ".", -1 }, { "-1", -1 }, { "+1", -1 }, { "1e3", -1 },
        { "1s", -1 }, { " 1", -1 }, { "1 ", -1 }, { "1,5", -1 },
        { "1.2.3", -1 }, { "inf", -1 }, { "nan", -1 }, { "0x10", -1 },
        { "5, 3", -1 }, { "\xc2\xb2", -1 }
    };

    (void) state;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(faas_wait_seconds_ms(table[i].text,
                                              strlen(table[i].text)),
                         table[i].ms);
    }

    assert_int_equal(faas_wait_seconds_ms("1\0" "2", 3), -1);
    assert_int_equal(faas_wait_seconds_ms("15", 1), 1000);
}


/*
 * A function under more load than it can bear, in its own time: `servers`
 * instances, of which each request takes what `service` says at that moment;
 * one request arrives every `every` microseconds.
 */

#define SERVERS  8
#define QUEUE    100

typedef struct {
    uint64_t          now;
    uint64_t          every;
    uint64_t          service;
    uint64_t          budget;
    uint32_t          servers;
    uint64_t          until[SERVERS];      /* 0: idle */
    uint64_t          began[SERVERS];
    uint64_t          arrived[QUEUE];      /* who waits */
    uint32_t          waiting;
    uint64_t          finished, service_us, finished_at;
    uint64_t          shed, timeouts, idle;
    faas_wait_mean_t  mean;
} sim_t;


static void
sim_serve(sim_t *s)
{
    uint32_t  i;

    /* who has waited too long leaves */

    while (s->waiting && s->now >= s->arrived[0] + s->budget) {
        s->timeouts++;
        s->waiting--;
        memmove(s->arrived, s->arrived + 1, s->waiting * sizeof(uint64_t));
    }

    for (i = 0; i < s->servers; i++) {

        if (s->until[i] && s->until[i] <= s->now) {
            s->finished++;
            s->service_us += s->until[i] - s->began[i];
            s->finished_at = s->until[i];
            s->until[i] = 0;
        }

        if (s->until[i] == 0 && s->waiting) {
            s->began[i] = s->now;
            s->until[i] = s->now + s->service;
            s->waiting--;
            memmove(s->arrived, s->arrived + 1,
                    s->waiting * sizeof(uint64_t));
        }
    }
}


/* one more request; is it let in? */

static void
sim_arrive(sim_t *s)
{
    uint32_t     i, running;
    faas_wait_t  w;

    running = 0;

    for (i = 0; i < s->servers; i++) {
        running += s->until[i] != 0;
    }

    memset(&w, 0, sizeof(w));

    w.waiting = s->waiting;
    w.running = running;
    w.instances = s->servers;
    w.max = s->servers;
    w.service_us = faas_wait_measure(&s->mean, s->finished, s->service_us,
                                     s->finished_at / 1000, s->now / 1000, 0);

    if (s->waiting == QUEUE || faas_wait_expected_us(&w) > s->budget) {
        s->shed++;
        s->idle += running < s->servers;
        return;
    }

    s->arrived[s->waiting++] = s->now;
}


static void
sim_run(sim_t *s, uint64_t us)
{
    uint64_t  end, next;

    end = s->now + us;
    next = s->now + s->every;

    for ( /* void */ ; s->now < end; s->now += 100) {

        if (s->now >= next) {
            sim_arrive(s);
            next += s->every;
        }

        sim_serve(s);
    }
}


static void
test_overload_is_refused_and_the_instances_stay_busy(void **state)
{
    sim_t     s;
    uint64_t  finished;

    (void) state;

    memset(&s, 0, sizeof(s));
    s.servers = 4;
    s.service = 100 * MS;
    s.every = 5 * MS;
    s.budget = 1 * S;

    sim_run(&s, 5 * S);

    s.shed = s.timeouts = 0;
    finished = s.finished;

    sim_run(&s, 30 * S);

    /* 40 of 200 a second can be served, and are; hardly one waits in vain */

    assert_in_range(s.finished - finished, 1180, 1200);
    assert_in_range(s.shed, 4700, 4830);
    assert_true(s.timeouts < 60);
    assert_int_equal(s.idle, 0);
}


static void
test_function_that_was_slow_recovers_by_itself(void **state)
{
    sim_t     s;
    uint64_t  finished;

    (void) state;

    memset(&s, 0, sizeof(s));
    s.servers = 1;
    s.service = 10 * S;
    s.every = 20 * MS;
    s.budget = 1 * S;

    sim_run(&s, 60 * S);
    assert_true(s.shed > 0);

    /* from now on it is fast enough for all */

    s.service = 10 * MS;

    sim_run(&s, 12 * S);

    s.shed = s.timeouts = 0;
    finished = s.finished;

    sim_run(&s, 10 * S);

    assert_int_equal(s.shed + s.timeouts, 0);
    assert_in_range(s.finished - finished, 499, 501);
}


static void
test_all_are_let_in_where_the_load_can_be_borne(void **state)
{
    sim_t  s;

    (void) state;

    memset(&s, 0, sizeof(s));
    s.servers = 8;
    s.service = 75 * MS;
    s.every = 10 * MS;
    s.budget = 100 * MS;

    sim_run(&s, 30 * S);

    assert_int_equal(s.shed + s.timeouts, 0);
    assert_in_range(s.finished, 2980, 3000);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_expected_wait_by_table),
        cmocka_unit_test(test_retry_after_is_never_0_and_bounded),
        cmocka_unit_test(test_mean_begins_with_what_others_know),
        cmocka_unit_test(test_mean_follows_what_finishes),
        cmocka_unit_test(test_counters_that_are_read_apart_do_no_harm),
        cmocka_unit_test(test_mean_that_nobody_measured_lately_says_nothing),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_overload_is_refused_and_the_instances_stay_busy),
        cmocka_unit_test(test_function_that_was_slow_recovers_by_itself),
        cmocka_unit_test(test_all_are_let_in_where_the_load_can_be_borne)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
