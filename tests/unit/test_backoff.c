/* objects: worker/backoff.c */

/*
 * Which deaths hold a function back, and for how long.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backoff.h"


static void
test_two_deaths_are_free_then_it_doubles_up_to_30_s(void **state)
{
    int        i;
    uint64_t   now, expected;
    backoff_t  b = { 0 };

    (void) state;

    now = 1000;
    backoff_death(&b, now, now, 0);
    backoff_death(&b, now, now, 0);
    assert_int_equal(backoff_holds(&b, now), 0);

    expected = 100;

    for (i = 0; i < 40; i++) {
        backoff_death(&b, now, now, 0);
        assert_int_equal(b.until_ms - now, expected);
        assert_int_equal(backoff_holds(&b, now), 1);
        assert_int_equal(backoff_holds(&b, now + expected), 0);

        now += expected;
        expected = expected * 2 > 30000 ? 30000 : expected * 2;
    }
}


static void
test_deaths_among_good_requests_hold_nothing(void **state)
{
    int        i;
    backoff_t  b = { 0 };

    (void) state;

    for (i = 1; i < 1000; i++) {
        backoff_death(&b, 1000, 1000, (uint64_t) i);
        assert_int_equal(backoff_holds(&b, 1000), 0);
    }
}


static void
test_ten_good_requests_begin_anew(void **state)
{
    int        i;
    backoff_t  b = { 0 };

    (void) state;

    for (i = 0; i < 20; i++) {
        backoff_death(&b, 1000, 1000, 0);
    }

    assert_int_equal(backoff_holds(&b, 1000), 1);

    backoff_death(&b, 1000, 1000, 9);
    assert_int_equal(backoff_holds(&b, 1000), 1);
    backoff_death(&b, 1000, 1000, 19);
    assert_int_equal(backoff_holds(&b, 1000), 0);
    assert_int_equal(b.row, 0);
}


static void
test_deaths_of_those_that_were_there_together_count_once(void **state)
{
    int        i;
    backoff_t  b = { 0 };

    (void) state;

    for (i = 0; i < 8; i++) {
        backoff_death(&b, 1000 + (uint64_t) i, 900, 0);
    }

    assert_int_equal(b.row, 1);

    for (i = 0; i < 8; i++) {
        backoff_death(&b, 1100, 1010, 0);
    }

    assert_int_equal(b.row, 2);
    assert_int_equal(backoff_holds(&b, 1100), 0);

    for (i = 0; i < 8; i++) {
        backoff_death(&b, 1200 + (uint64_t) i, 1100, 0);
    }

    assert_int_equal(b.until_ms, 1300);
}


static void
test_reset_forgets(void **state)
{
    int        i;
    backoff_t  b = { 0 };

    (void) state;

    for (i = 0; i < 20; i++) {
        backoff_death(&b, 1000, 1000, 0);
    }

    backoff_reset(&b);
    assert_int_equal(backoff_holds(&b, 1000), 0);
    backoff_death(&b, 1000, 1000, 0);
    assert_int_equal(backoff_holds(&b, 1000), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_two_deaths_are_free_then_it_doubles_up_to_30_s),
        cmocka_unit_test(test_deaths_among_good_requests_hold_nothing),
        cmocka_unit_test(test_ten_good_requests_begin_anew),
        cmocka_unit_test(
            test_deaths_of_those_that_were_there_together_count_once),
        cmocka_unit_test(test_reset_forgets)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
