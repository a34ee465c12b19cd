/* objects: ngx_faas_module/ngx_http_faas_json.c */

/* The writer of JSON that status is made with. */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../ngx_faas_module/ngx_http_faas_json.h"


static char    text[4096];
static size_t  used;
static size_t  most;            /* bytes that the sink takes */
static int     refused;


static int
take(void *data, const char *p, size_t n)
{
    assert_null(data);

    if (n > most - used) {
        refused++;
        return -1;
    }

    memcpy(text + used, p, n);
    used += n;
    text[used] = '\0';

    return 0;
}


static void
begin(ngx_http_faas_json_t *j)
{
    memset(j, 0, sizeof(ngx_http_faas_json_t));
    j->sink = take;

    used = 0;
    most = sizeof(text) - 1;
    refused = 0;
    text[0] = '\0';
}


static void
test_commas_and_names(void **state)
{
    ngx_http_faas_json_t  j;

    (void) state;

    begin(&j);
    ngx_http_faas_json_open(&j, NULL, '{');
    ngx_http_faas_json_number(&j, "a", 0);
    ngx_http_faas_json_open(&j, "b", '[');
    ngx_http_faas_json_close(&j, ']');
    ngx_http_faas_json_open(&j, "c", '[');
    ngx_http_faas_json_number(&j, NULL, UINT64_MAX);
    ngx_http_faas_json_flag(&j, NULL, 1);
    ngx_http_faas_json_open(&j, NULL, '{');
    ngx_http_faas_json_close(&j, '}');
    ngx_http_faas_json_open(&j, NULL, '{');
    ngx_http_faas_json_flag(&j, "d", 0);
    ngx_http_faas_json_close(&j, '}');
    ngx_http_faas_json_close(&j, ']');
    ngx_http_faas_json_text(&j, "e", "");
    ngx_http_faas_json_close(&j, '}');

    assert_false(j.failed);
    assert_string_equal(text, "{\"a\":0,\"b\":[],\"c\":[18446744073709551615,"
                              "true,{},{\"d\":false}],\"e\":\"\"}");
}


static const char *
string(const char *s, size_t n)
{
    ngx_http_faas_json_t  j;

    begin(&j);
    ngx_http_faas_json_string(&j, NULL, s, n);

    return text;
}


static void
test_escapes(void **state)
{
    (void) state;

    assert_string_equal(string("a\"b\\c/d", 7), "\"a\\\"b\\\\c/d\"");
    assert_string_equal(string("\b\f\n\r\t", 5), "\"\\b\\f\\n\\r\\t\"");
    assert_string_equal(string("\0\1\x1f\x7f", 4),
                        "\"\\u0000\\u0001\\u001f\\u007f\"");
}


static void
test_utf8_stands_and_the_rest_does_not(void **state)
{
    size_t  i;

    static const char  *good[] = {
        "\xc2\x80", "\xc3\xa9", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf"
    };

    static const struct {
        const char  *bytes;
        const char  *json;
    } bad[] = {
        { "\x80", "\"\\ufffd\"" },
        { "\xc0\x80", "\"\\ufffd\\ufffd\"" },
        { "\xc1\xbf", "\"\\ufffd\\ufffd\"" },
        { "\xc3", "\"\\ufffd\"" },
        { "\xc3(", "\"\\ufffd(\"" },
        { "\xe0\x9f\xbf", "\"\\ufffd\\ufffd\\ufffd\"" },
        { "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
        { "\xe2\x82", "\"\\ufffd\\ufffd\"" },
        { "\xf0\x8f\xbf\xbf", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
        { "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
        { "\xf5\x80\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
        { "\xf0\x9f\x98" "a", "\"\\ufffd\\ufffd\\ufffda\"" },
        { "\xff", "\"\\ufffd\"" },
    };

    char  expected[16];

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        (void) snprintf(expected, sizeof(expected), "\"%s\"", good[i]);
        assert_string_equal(string(good[i], strlen(good[i])), expected);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_string_equal(string(bad[i].bytes, strlen(bad[i].bytes)),
                            bad[i].json);
    }
}


static void
test_nothing_is_written_after_a_failure(void **state)
{
    ngx_http_faas_json_t  j;

    (void) state;

    begin(&j);
    most = 6;
    ngx_http_faas_json_open(&j, NULL, '[');
    ngx_http_faas_json_text(&j, NULL, "longer");
    ngx_http_faas_json_number(&j, NULL, 1);
    ngx_http_faas_json_close(&j, ']');

    assert_true(j.failed);
    assert_int_equal(refused, 1);
    assert_string_equal(text, "[\"");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_commas_and_names),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_utf8_stands_and_the_rest_does_not),
        cmocka_unit_test(test_nothing_is_written_after_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
