/* objects: base/loop.c base/log.c */
/* libs: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc */

/*
 * Descriptors, timers and jobs of the supervisor's loop.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "loop.h"
#include "memory_faults.h"


#define TIMERS  500


typedef struct {
    loop_timer_t  timer;
    uint64_t      due;
    int           fired;
} timed_t;


static uint64_t      last_due;
static loop_event_t  two[2];
static int           served;
static loop_job_t    jobs[3];
static int           ran[3];


static int
setup(void **state)
{
    (void) state;
    return loop_init();
}


static void
fire(void *data)
{
    timed_t  *t;

    t = data;
    t->fired++;

    assert_true(t->due >= last_due);
    assert_true(t->due <= loop_now_ms());
    last_due = t->due;
}


static void
test_timers_fire_once_and_in_order(void **state)
{
    int       i;
    uint32_t  seed;
    timed_t  *t;

    (void) state;

    t = calloc(TIMERS, sizeof(timed_t));
    assert_non_null(t);

    seed = 7;

    for (i = 0; i < TIMERS; i++) {
        seed = seed * 1664525 + 1013904223;
        t[i].timer.handler = fire;
        t[i].timer.data = &t[i];
        t[i].due = loop_now_ms() + (seed >> 16) % 30;
        loop_arm(&t[i].timer, t[i].due);
    }

    /* some earlier, some later, some not at all */

    for (i = 0; i < TIMERS; i += 3) {
        seed = seed * 1664525 + 1013904223;
        t[i].due = loop_now_ms() + (seed >> 16) % 30;
        loop_arm(&t[i].timer, t[i].due);
    }

    for (i = 0; i < TIMERS; i += 7) {
        loop_disarm(&t[i].timer);
        loop_disarm(&t[i].timer);
        assert_false(loop_is_armed(&t[i].timer));
    }

    for ( ;; ) {
        for (i = 0; i < TIMERS && !loop_is_armed(&t[i].timer); i++) {
            /* void */
        }

        if (i == TIMERS) {
            break;
        }

        assert_int_equal(loop_turn(), 0);
    }

    for (i = 0; i < TIMERS; i++) {
        assert_int_equal(t[i].fired, i % 7 != 0);
    }

    free(t);
}


static void
serve(void *data, uint32_t events)
{
    int  other;

    (void) events;

    other = data == &two[0];
    served++;

    /* the other's event may stand behind ours in the same turn */

    close(loop_remove(&two[other]));
}


static void
test_removed_descriptor_is_not_served_in_the_same_turn(void **state)
{
    int   i, p[2];
    char  c;

    (void) state;

    c = 'x';

    for (i = 0; i < 2; i++) {
        assert_int_equal(pipe(p), 0);
        assert_int_equal(write(p[1], &c, 1), 1);
        close(p[1]);
        two[i].handler = serve;
        two[i].data = &two[i];
        assert_int_equal(loop_add(&two[i], p[0], EPOLLIN), 0);
    }

    assert_int_equal(loop_turn(), 0);
    assert_int_equal(served, 1);

    for (i = 0; i < 2; i++) {
        if (two[i].fd != -1) {
            close(loop_remove(&two[i]));
        }

        assert_int_equal(loop_remove(&two[i]), -1);
    }
}


static void
job(void *data)
{
    int  i;

    i = (int) ((loop_job_t *) data - jobs);
    ran[i]++;

    if (i == 0) {
        loop_post(&jobs[0]);    /* for the next turn */
        loop_post(&jobs[1]);
        loop_withdraw(&jobs[2]);
    }
}


static void
test_jobs_run_once_a_turn(void **state)
{
    int  i;

    (void) state;

    for (i = 0; i < 3; i++) {
        jobs[i].handler = job;
        jobs[i].data = &jobs[i];
    }

    loop_post(&jobs[0]);
    loop_post(&jobs[0]);
    loop_post(&jobs[2]);

    assert_int_equal(loop_turn(), 0);
    assert_int_equal(ran[0], 1);
    assert_int_equal(ran[1], 0);
    assert_int_equal(ran[2], 0);

    assert_int_equal(loop_turn(), 0);
    assert_int_equal(ran[0], 2);
    assert_int_equal(ran[1], 1);

    loop_withdraw(&jobs[0]);
    loop_withdraw(&jobs[1]);
    loop_withdraw(&jobs[1]);
}


static void
test_moment_without_memory_is_waited_out(void **state)
{
    char      *p, *text;
    uint64_t   began;

    (void) state;

    began = loop_clock_us();

    memory_fails_at(0, 0);
    p = loop_alloc(8);
    assert_int_equal(memory_faults.failed, 1);
    assert_memory_equal(p, "\0\0\0\0\0\0\0", 8);

    memory_fails_at(0, 0);
    p = loop_realloc(p, 1000);
    assert_int_equal(memory_faults.failed, 1);
    assert_memory_equal(p, "\0\0\0\0\0\0\0", 8);

    memory_fails_at(0, 0);
    text = loop_strdup("ab", 1);
    assert_int_equal(memory_faults.failed, 1);
    assert_string_equal(text, "a");

    /* it did wait */
    assert_true(loop_clock_us() - began > 5000);

    free(p);
    free(text);
}


static void
test_lasting_lack_of_memory_ends_the_process(void **state)
{
    int    status;
    pid_t  pid;

    (void) state;

    pid = fork();
    assert_int_not_equal(pid, -1);

    if (pid == 0) {
        memory_fails_at(0, 1);
        (void) loop_alloc(8);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_timers_fire_once_and_in_order),
        cmocka_unit_test(
            test_removed_descriptor_is_not_served_in_the_same_turn),
        cmocka_unit_test(test_jobs_run_once_a_turn),
        cmocka_unit_test(test_moment_without_memory_is_waited_out),
        cmocka_unit_test(test_lasting_lack_of_memory_ends_the_process)
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
