/* objects: ngx_faas_module/ngx_http_faas_prefer.c */

/* "respond-async" in a Prefer header, among whatever else is there. */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../ngx_faas_module/ngx_http_faas_prefer.h"


/* from memory that ends where the value ends, for sanitizers */

static int
is_async(const char *s)
{
    int      rc;
    char    *copy;
    size_t   n;

    n = strlen(s);
    copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, s, n);

    rc = ngx_http_faas_prefer_is_async(copy, n);

    free(copy);

    return rc;
}


static void
test_preference_is_found_in_any_case_and_place(void **state)
{
    size_t       i;
    const char  *values[] = {
        "respond-async", "Respond-ASYNC", "  respond-async\t",
        "respond-async, wait=10", "wait=10, respond-async",
        "wait=10,respond-async", "respond-async;x=y", "respond-async ; x",
        "respond-async;", "respond-async;;x", "respond-async=\"\"",
        "respond-async = \"\"", "respond-async=", ",,respond-async",
        "a=\"x, y\", respond-async", "a=\"\\\"\", respond-async",
        "return=minimal; foo=\"some, parameter\", respond-async",
        "handling=lenient ,\trespond-async ,b"
    };

    (void) state;

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (!is_async(values[i])) {
            fail_msg("not found in: %s", values[i]);
        }
    }
}


static void
test_preference_is_not_seen_where_it_is_none(void **state)
{
    size_t       i;
    const char  *values[] = {
        "", " ", ",", ",,;", "wait=10", "respond-asyncx", "xrespond-async",
        "respond-asyn", "respond-async=1", "respond-async=\"no\"",
        "respond async", "\"respond-async\"", "a=respond-async",
        "a;respond-async", "a; b=respond-async",
        "a=\"x, respond-async\"", "a=\"x\\\", respond-async\"",
        "a; b=\"c, respond-async, d\"", "=respond-async",
        "respond-async@", "respond-async x", "respond-async;@"
    };

    (void) state;

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (is_async(values[i])) {
            fail_msg("found in: %s", values[i]);
        }
    }
}


static void
test_malformed_preference_leaves_the_others(void **state)
{
    (void) state;

    assert_true(is_async("@@@, respond-async"));
    assert_true(is_async("a b, respond-async"));
    assert_true(is_async("a@\"x, y\"z, respond-async"));

    /* a quote that never ends is a character like others */
    assert_true(is_async("a=\"open, respond-async"));
    assert_false(is_async("\"open"));
    assert_false(is_async("a=\"open\\"));
}


static void
test_any_bytes_are_survived(void **state)
{
    int      i, j;
    char     bytes[12];
    size_t   n;

    (void) state;

    srand(7240);

    for (i = 0; i < 200000; i++) {
        n = (size_t) (rand() % (int) sizeof(bytes));

        for (j = 0; j < (int) n; j++) {
            bytes[j] = "a=;, \t\"\\@\0r-"[rand() % 12];
        }

        assert_false(ngx_http_faas_prefer_is_async(bytes, n));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_preference_is_found_in_any_case_and_place),
        cmocka_unit_test(test_preference_is_not_seen_where_it_is_none),
        cmocka_unit_test(test_malformed_preference_leaves_the_others),
        cmocka_unit_test(test_any_bytes_are_survived)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
