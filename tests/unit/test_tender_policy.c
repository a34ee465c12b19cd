
/* objects: baas/tender_policy.c */

/*
 * When a log is checkpointed, and how.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tender_policy.h"


#define MB  (1024 * 1024)


static tender_checkpoint_e
policy(uint64_t size, uint64_t pending, int64_t age_ms, int64_t quiet_ms,
    int64_t tried_ms, uint32_t failures)
{
    tender_log_t  log;

    log.size = size;
    log.pending = pending;
    log.age_ms = age_ms;
    log.quiet_ms = quiet_ms;
    log.tried_ms = tried_ms;
    log.failures = failures;

    return tender_policy(&log);
}


static void
test_nothing_in_the_log(void **state)
{
    (void) state;

    assert_int_equal(policy(0, 0, -1, 100000, 100000, 0), TENDER_NOTHING);
}


static void
test_little_is_moved_when_it_is_old(void **state)
{
    (void) state;

    assert_int_equal(policy(MB, 4096, 0, 0, 100000, 0), TENDER_NOTHING);
    assert_int_equal(policy(MB, 4096, 4999, 0, 100000, 0), TENDER_NOTHING);
    assert_int_equal(policy(MB, 4096, 5000, 0, 100000, 0), TENDER_PASSIVE);
}


static void
test_much_is_moved_at_once(void **state)
{
    (void) state;

    assert_int_equal(policy(5 * MB, 4 * MB - 1, 0, 0, 100000, 0),
                     TENDER_NOTHING);
    assert_int_equal(policy(5 * MB, 4 * MB, 0, 0, 100000, 0), TENDER_PASSIVE);

    /* of a log that is large, but moved, there is nothing to do */

    assert_int_equal(policy(20 * MB, 4096, 0, 0, 100000, 0), TENDER_NOTHING);
    assert_int_equal(policy(20 * MB, 0, -1, 0, 100000, 0), TENDER_NOTHING);
}


static void
test_log_that_only_grows_is_truncated(void **state)
{
    (void) state;

    assert_int_equal(policy(64 * MB, 64 * MB, 0, 0, 100000, 0),
                     TENDER_TRUNCATE);

    /* not before a second, then two, then four, and meanwhile passive */

    assert_int_equal(policy(64 * MB, 64 * MB, 0, 0, 999, 0), TENDER_PASSIVE);
    assert_int_equal(policy(64 * MB, 64 * MB, 0, 0, 1999, 1), TENDER_PASSIVE);
    assert_int_equal(policy(64 * MB, 64 * MB, 0, 0, 2000, 1),
                     TENDER_TRUNCATE);
    assert_int_equal(policy(64 * MB, 64 * MB, 0, 0, 3999, 2), TENDER_PASSIVE);
    assert_int_equal(policy(64 * MB, 64 * MB, 0, 0, 4000, 2),
                     TENDER_TRUNCATE);

    /* but never given up */

    assert_int_equal(policy(64 * MB, 64 * MB, 0, 0, 64000, 1000),
                     TENDER_TRUNCATE);
}


static void
test_quiet_log_gives_its_space_back(void **state)
{
    (void) state;

    assert_int_equal(policy(4096, 0, -1, 59999, 100000, 0), TENDER_NOTHING);
    assert_int_equal(policy(4096, 0, -1, 60000, 100000, 0), TENDER_TRUNCATE);
    assert_int_equal(policy(4096, 0, -1, 60000, 500, 0), TENDER_NOTHING);
    assert_int_equal(policy(4096, 4096, 60000, 60000, 100000, 0),
                     TENDER_PASSIVE);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_in_the_log),
        cmocka_unit_test(test_little_is_moved_when_it_is_old),
        cmocka_unit_test(test_much_is_moved_at_once),
        cmocka_unit_test(test_log_that_only_grows_is_truncated),
        cmocka_unit_test(test_quiet_log_gives_its_space_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
