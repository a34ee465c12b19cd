/* objects: baas/wire.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire.h"


static faas_bytes_t
payload_of(const wire_writer_t *w)
{
    faas_bytes_t  payload;

    payload.data = w->data;
    payload.size = w->size;

    return payload;
}


static void
test_what_is_put_is_got_in_order(void **state)
{
    char           text[16];
    faas_bytes_t   field;
    wire_writer_t  w;
    wire_reader_t  r;

    (void) state;

    memset(&w, 0, sizeof(w));
    wire_put_text(&w, "orders");
    wire_put(&w, "a\0b", 3);
    wire_put_number(&w, -5);
    wire_put_number(&w, INT64_MAX);
    wire_put_text(&w, NULL);
    assert_false(w.failed);

    wire_read(&r, payload_of(&w));
    assert_true(wire_has_more(&r));
    assert_string_equal(wire_get_text(&r, text, sizeof(text)), "orders");
    field = wire_get(&r);
    assert_int_equal(field.size, 3);
    assert_memory_equal(field.data, "a\0b", 3);
    assert_int_equal(wire_get_number(&r), -5);
    assert_int_equal(wire_get_number(&r), INT64_MAX);
    assert_string_equal(wire_get_text(&r, text, sizeof(text)), "");
    assert_false(wire_has_more(&r));
    assert_false(r.failed);

    wire_free(&w);
    assert_null(w.data);
}


static void
test_a_payload_cut_at_any_byte_fails_and_reads_nothing_behind_it(void **state)
{
    char           *cut, text[16];
    size_t          n;
    wire_writer_t   w;
    wire_reader_t   r;

    (void) state;

    memset(&w, 0, sizeof(w));
    wire_put_text(&w, "orders");
    wire_put_number(&w, 7);

    for (n = 0; n < w.size; n++) {
        cut = malloc(n ? n : 1);     /* so that a sanitizer sees an overrun */
        assert_non_null(cut);
        memcpy(cut, w.data, n);

        wire_read(&r, (faas_bytes_t) { .data = cut, .size = n });
        (void) wire_get_text(&r, text, sizeof(text));
        assert_int_equal(wire_get_number(&r), 0);
        assert_true(r.failed);
        assert_false(wire_has_more(&r));

        free(cut);
    }

    wire_free(&w);
}


static void
test_lengths_beyond_the_payload_fail(void **state)
{
    size_t         i;
    uint32_t       length;
    char           payload[8];
    faas_bytes_t   field;
    wire_reader_t  r;

    static const uint32_t  lengths[] = {
        5, 6, 0x7fffffff, 0x80000000, 0xfffffffb, 0xfffffffc, 0xffffffff
    };

    (void) state;

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        length = lengths[i];
        memset(payload, 0, sizeof(payload));
        memcpy(payload, &length, sizeof(length));

        wire_read(&r, (faas_bytes_t) { payload, sizeof(payload) });
        field = wire_get(&r);
        assert_true(r.failed);
        assert_int_equal(field.size, 0);
        assert_non_null(field.data);
    }
}


static void
test_a_text_with_a_zero_or_too_long_fails(void **state)
{
    char           text[4];
    wire_writer_t  w;
    wire_reader_t  r;

    (void) state;

    memset(&w, 0, sizeof(w));
    wire_put(&w, "a\0", 2);
    wire_read(&r, payload_of(&w));
    assert_string_equal(wire_get_text(&r, text, sizeof(text)), "");
    assert_true(r.failed);
    wire_free(&w);

    wire_put_text(&w, "abc");
    wire_put_text(&w, "abcd");
    wire_read(&r, payload_of(&w));
    assert_string_equal(wire_get_text(&r, text, sizeof(text)), "abc");
    assert_false(r.failed);
    assert_string_equal(wire_get_text(&r, text, sizeof(text)), "");
    assert_true(r.failed);
    wire_free(&w);
}


static void
test_a_number_is_eight_bytes_or_not_given(void **state)
{
    wire_writer_t  w;
    wire_reader_t  r;

    (void) state;

    memset(&w, 0, sizeof(w));
    wire_put(&w, NULL, 0);
    wire_put(&w, "1234", 4);
    wire_read(&r, payload_of(&w));
    assert_int_equal(wire_get_number(&r), 0);
    assert_false(r.failed);
    assert_int_equal(wire_get_number(&r), 0);
    assert_true(r.failed);
    wire_free(&w);
}


static void
test_a_payload_never_grows_beyond_a_frame(void **state)
{
    char           *mega;
    size_t          i, size;
    wire_writer_t   w;

    (void) state;

    mega = calloc(1, 1024 * 1024);
    assert_non_null(mega);
    memset(&w, 0, sizeof(w));

    for (i = 0; i < 15; i++) {
        wire_put(&w, mega, 1024 * 1024);
        assert_false(w.failed);
    }

    wire_put(&w, mega, 1024 * 1024);
    assert_true(w.failed);
    assert_true(w.size <= WIRE_PAYLOAD);

    size = w.size;
    wire_put_number(&w, 1);          /* stays failed */
    assert_int_equal(w.size, size);

    wire_free(&w);
    free(mega);
}


static void
test_heads_that_are_none_are_refused(void **state)
{
    wire_head_t  head;

    (void) state;

    memset(&head, 0, sizeof(head));
    head.magic = WIRE_MAGIC;
    head.length = WIRE_PAYLOAD;
    head.operation = WIRE_SEND;
    assert_int_equal(wire_head_check(&head), FAAS_OK);

    head.length = WIRE_PAYLOAD + 1;
    assert_int_equal(wire_head_check(&head), FAAS_ERROR);

    head.length = 0;
    head.operation = 0;
    assert_int_equal(wire_head_check(&head), FAAS_ERROR);

    head.operation = WIRE_OPERATIONS;
    assert_int_equal(wire_head_check(&head), FAAS_ERROR);

    head.operation = WIRE_TIMER_LIST;
    assert_int_equal(wire_head_check(&head), FAAS_OK);

    head.magic++;
    assert_int_equal(wire_head_check(&head), FAAS_ERROR);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_what_is_put_is_got_in_order),
        cmocka_unit_test(
            test_a_payload_cut_at_any_byte_fails_and_reads_nothing_behind_it),
        cmocka_unit_test(test_lengths_beyond_the_payload_fail),
        cmocka_unit_test(test_a_text_with_a_zero_or_too_long_fails),
        cmocka_unit_test(test_a_number_is_eight_bytes_or_not_given),
        cmocka_unit_test(test_a_payload_never_grows_beyond_a_frame),
        cmocka_unit_test(test_heads_that_are_none_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
