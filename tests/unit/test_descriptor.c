
/* objects: worker/descriptor.c scoreboard/faas_control.c */

/*
 * Descriptors of other releases, and of no release at all.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "descriptor.h"
#include "faas_scoreboard.h"


static char               why[256];
static faas_descriptor_t  descriptor;


static int
handler(faas_request_t *r)
{
    (void) r;

    return 0;
}


static faas_descriptor_t
example(void)
{
    faas_descriptor_t  d;

    memset(&d, 0, sizeof(faas_descriptor_t));
    d.abi = FAAS_ABI;
    d.size = sizeof(faas_descriptor_t);
    d.handler = handler;

    return d;
}


/* on the heap and exactly n bytes long, so that a sanitizer sees each read */

static int
read_of(const void *data, size_t n, size_t space)
{
    int    rc;
    void  *copy;

    copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, data, n);

    why[0] = '\0';
    rc = descriptor_read(&descriptor, copy, space, why, sizeof(why));

    free(copy);

    assert_true((rc == FAAS_OK) == (why[0] == '\0'));

    return rc;
}


static void
refused(const faas_descriptor_t *d, const char *reason)
{
    assert_int_equal(read_of(d, sizeof(faas_descriptor_t), 0), FAAS_ERROR);
    assert_non_null(strstr(why, reason));
}


static void
test_own_descriptor_is_taken(void **state)
{
    faas_descriptor_t  d;

    (void) state;

    d = example();
    d.mode = "oneshot";
    d.min = 1;
    d.max = FAAS_MAX_INSTANCES;
    d.idempotent = 1;

    assert_int_equal(read_of(&d, sizeof(d), sizeof(d)), FAAS_OK);
    assert_memory_equal(&descriptor, &d, sizeof(d));
    assert_int_equal(read_of(&d, sizeof(d), 0), FAAS_OK);
}


static void
test_every_shorter_size(void **state)
{
    uint32_t           n;
    faas_descriptor_t  d;

    (void) state;

    d = example();
    d.max = 77;
    d.idempotent = 1;

    for (n = 0; n < sizeof(d); n++) {
        d.size = n;

        if (n < offsetof(faas_descriptor_t, init)) {
            assert_int_equal(read_of(&d, n < 8 ? 8 : n, 0), FAAS_ERROR);
            continue;
        }

        assert_int_equal(read_of(&d, n, n), FAAS_OK);
        assert_ptr_equal(descriptor.handler, handler);

        if (n <= offsetof(faas_descriptor_t, max)) {
            assert_int_equal(descriptor.max, 0);
        }

        if (n <= offsetof(faas_descriptor_t, idempotent)) {
            assert_int_equal(descriptor.idempotent, 0);
        }
    }
}


static void
test_longer_sizes_while_the_rest_is_zero(void **state)
{
    char               data[4200];
    size_t             n;
    faas_descriptor_t  d;

    (void) state;

    memset(data, 0, sizeof(data));

    for (n = sizeof(d) + 1; n <= 4096; n += 13) {
        d = example();
        d.size = (uint32_t) n;
        memcpy(data, &d, sizeof(d));

        assert_int_equal(read_of(data, n, n), FAAS_OK);

        data[n - 1] = 1;
        assert_int_equal(read_of(data, n, n), FAAS_ERROR);
        assert_non_null(strstr(why, "does not know"));
        data[n - 1] = 0;
    }

    d = example();
    d.size = 4097;
    memcpy(data, &d, sizeof(d));
    assert_int_equal(read_of(data, 4200, 4200), FAAS_ERROR);
}


static void
test_size_beyond_the_symbol_is_refused(void **state)
{
    size_t             space;
    faas_descriptor_t  d;

    (void) state;

    d = example();

    for (space = 1; space < sizeof(d); space++) {
        assert_int_equal(read_of(&d, space, space), FAAS_ERROR);
    }
}


static void
test_other_abis_are_refused_with_both_numbers(void **state)
{
    faas_descriptor_t  d;

    (void) state;

    d = example();

    d.abi = FAAS_ABI + 1;
    refused(&d, "compiled for ABI 2, this host runs ABI 1: the host is older");
    d.abi = 0xffffffff;
    refused(&d, "compiled for ABI 4294967295");
    d.abi = FAAS_ABI - 1;
    refused(&d, "compile it again");
}


static void
test_values_are_checked(void **state)
{
    faas_descriptor_t  d;

    (void) state;

    d = example();
    d.handler = NULL;
    refused(&d, "no handler");

    d = example();
    d.mode = "";
    refused(&d, "mode is \"\"");

    d = example();
    d.mode = "Resident";
    refused(&d, "mode is \"Resident\"");

    d = example();
    d.min = -1;
    refused(&d, "min -1");

    d = example();
    d.max = FAAS_MAX_INSTANCES + 1;
    refused(&d, "max 1025");

    d = example();
    d.min = 3;
    d.max = 2;
    refused(&d, "min 3 is more than max 2");

    /* max 0 is the host's default */

    d.max = 0;
    assert_int_equal(read_of(&d, sizeof(d), 0), FAAS_OK);

    d = example();
    d.idempotent = 7;
    refused(&d, "idempotent is 7");
}


static void
test_text_has_a_line_for_what_is_given(void **state)
{
    char               *text;
    size_t              n;
    faas_descriptor_t   d;

    (void) state;

    d = example();

    text = descriptor_text(&d, &n);
    assert_non_null(text);
    text[n] = '\0';
    assert_string_equal(text, "abi 1\nmin 0\nmax 0\nidempotent 0\n");
    free(text);

    d.mode = "oneshot";
    d.routes = "GET /a b\n%";
    d.schedule = "";
    d.consumes = "queue";
    d.timeout = "5s";
    d.memory = "\xff";
    d.min = 1;
    d.max = 2;
    d.idempotent = 1;

    text = descriptor_text(&d, &n);
    assert_non_null(text);
    text[n] = '\0';
    assert_string_equal(text, "abi 1\nmode oneshot\nroutes GET%20/a%20b%0a%25\n"
                        "schedule \nconsumes queue\ntimeout 5s\nmemory %ff\n"
                        "min 1\nmax 2\nidempotent 1\n");
    free(text);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_own_descriptor_is_taken),
        cmocka_unit_test(test_every_shorter_size),
        cmocka_unit_test(test_longer_sizes_while_the_rest_is_zero),
        cmocka_unit_test(test_size_beyond_the_symbol_is_refused),
        cmocka_unit_test(test_other_abis_are_refused_with_both_numbers),
        cmocka_unit_test(test_values_are_checked),
        cmocka_unit_test(test_text_has_a_line_for_what_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
