/* objects: baas/calls_document.c baas/json_text.c */

/*
 * Async calls as JSON: what is in which state, and that no bytes of a
 * function's make another document of it.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "calls_document.h"
#include "json_text.h"


static void
assert_document(const calls_document_t *d, const char *expected)
{
    char    *text;
    size_t   n;

    text = calls_document(d, &n);
    assert_non_null(text);
    assert_int_equal(strlen(text), n);
    assert_string_equal(text, expected);
    free(text);
}


static void
assert_string(const char *s, size_t n, const char *expected)
{
    json_text_t  t;

    memset(&t, 0, sizeof(t));
    json_string(&t, s, n);
    assert_int_equal(t.failed, 0);
    assert_string_equal(t.data, expected);
    json_free(&t);
}


static void
test_a_call_that_waits_has_no_answer(void **state)
{
    calls_document_t  d;

    (void) state;

    memset(&d, 0, sizeof(d));
    d.id = "work.0123";
    d.state = WIRE_CALL_QUEUED;
    d.created_ms = 1792929600007;
    d.updated_ms = 1792929601250;
    assert_document(&d, "{\"id\":\"work.0123\",\"state\":\"queued\","
                    "\"attempts\":0,\"created\":\"2026-10-25T12:00:00.007Z\","
                    "\"updated\":\"2026-10-25T12:00:01.250Z\"}\n");

    d.state = WIRE_CALL_FAILED;
    d.attempts = 3;
    d.text = faas_text("status 500: \"no\"");
    assert_document(&d, "{\"id\":\"work.0123\",\"state\":\"failed\","
                    "\"attempts\":3,\"created\":\"2026-10-25T12:00:00.007Z\","
                    "\"updated\":\"2026-10-25T12:00:01.250Z\","
                    "\"error\":\"status 500: \\\"no\\\"\"}\n");
}


static void
test_an_answer_is_there_when_it_is_done(void **state)
{
    calls_document_t  d;

    (void) state;

    memset(&d, 0, sizeof(d));
    d.id = "w.0";
    d.state = WIRE_CALL_DONE;
    d.attempts = 1;
    d.status = 201;
    d.headers = faas_text("X-A: b\r\nnonsense\nDate: now\n"
                          "transfer-encoding: chunked\nSet-Cookie:c=\"d\"\n"
                          "Set-Cookie:   e\nX-Empty:\n");
    d.body = faas_text("a\nb");
    assert_document(&d, "{\"id\":\"w.0\",\"state\":\"done\",\"attempts\":1,"
                    "\"created\":\"1970-01-01T00:00:00.000Z\","
                    "\"updated\":\"1970-01-01T00:00:00.000Z\","
                    "\"status\":201,\"headers\":[[\"X-A\",\"b\"],"
                    "[\"Set-Cookie\",\"c=\\\"d\\\"\"],[\"Set-Cookie\",\"e\"],"
                    "[\"X-Empty\",\"\"]],\"body\":\"a\\nb\"}\n");

    d.headers = faas_text("");
    d.body.data = "\0\xff";
    d.body.size = 2;
    assert_document(&d, "{\"id\":\"w.0\",\"state\":\"done\",\"attempts\":1,"
                    "\"created\":\"1970-01-01T00:00:00.000Z\","
                    "\"updated\":\"1970-01-01T00:00:00.000Z\","
                    "\"status\":201,\"headers\":[],\"body\":\"AP8=\","
                    "\"encoding\":\"base64\"}\n");
}


static void
test_strings_are_escaped(void **state)
{
    (void) state;

    assert_string("", 0, "\"\"");
    assert_string("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
    assert_string("\0\x01\n\t\r\x1f\x7f", 7,
                  "\"\\u0000\\u0001\\n\\u0009\\u000d\\u001f\\u007f\"");
    assert_string("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
                  "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");

    /* a lone byte, too long a form, a surrogate, beyond the last, cut */

    assert_string("a\xff" "b", 3, "\"a\xef\xbf\xbd" "b\"");
    assert_string("\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string("\xed\xa0\x80", 3,
                  "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string("\xf4\x90\x80\x80", 4,
                  "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string("\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}


static void
test_what_is_text(void **state)
{
    (void) state;

    assert_int_equal(json_is_text("", 0), 1);
    assert_int_equal(json_is_text("a\0\xc3\xa4", 4), 1);
    assert_int_equal(json_is_text("\xed\x9f\xbf\xee\x80\x80", 6), 1);
    assert_int_equal(json_is_text("\xf4\x8f\xbf\xbf", 4), 1);
    assert_int_equal(json_is_text("\xed\xa0\x80", 3), 0);
    assert_int_equal(json_is_text("\xf4\x90\x80\x80", 4), 0);
    assert_int_equal(json_is_text("\xc1\xbf", 2), 0);
    assert_int_equal(json_is_text("\xe0\x9f\xbf", 3), 0);
    assert_int_equal(json_is_text("\xf0\x8f\xbf\xbf", 4), 0);
    assert_int_equal(json_is_text("\xc3", 1), 0);
    assert_int_equal(json_is_text("\x80", 1), 0);
    assert_int_equal(json_is_text("\xf8\x88\x80\x80\x80", 5), 0);
}


static void
test_base64_of_each_length(void **state)
{
    size_t       i;
    json_text_t  t;

    static const char *const  digits[] = {
        "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"
    };

    (void) state;

    for (i = 0; i < sizeof(digits) / sizeof(digits[0]); i++) {
        memset(&t, 0, sizeof(t));
        json_put(&t, "<");
        json_base64(&t, "foobar", i);
        assert_string_equal(t.data + 1, digits[i]);
        json_free(&t);
    }
}


static void
test_states_have_names(void **state)
{
    (void) state;

    assert_string_equal(calls_document_state(WIRE_CALL_CANCELLED),
                        "cancelled");
    assert_string_equal(calls_document_state(0), "unknown");
    assert_string_equal(calls_document_state(99), "unknown");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_a_call_that_waits_has_no_answer),
        cmocka_unit_test(test_an_answer_is_there_when_it_is_done),
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_what_is_text),
        cmocka_unit_test(test_base64_of_each_length),
        cmocka_unit_test(test_states_have_names)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
