
/* objects: baas/tender_settings.c scoreboard/faas_control.c */

/*
 * What the supervisor tells a tender.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "log.h"
#include "tender_settings.h"


static char  why[128];


static int
parse(tender_settings_t *s, const char *text)
{
    return tender_settings_parse(s, text, strlen(text), why, sizeof(why));
}


static void
test_all_settings(void **state)
{
    tender_settings_t  s;

    (void) state;

    assert_int_equal(parse(&s,
        "state /var/lib/faas\n"
        "error_log /var/log/nginx/error.log\n"
        "log_level 8\n"
        "data hello /var/lib/faas/data/hello 0123abcd\n"
        "share stock /var/lib/my%20faas/share/stock\n"
        "data b%3ac /d%25 x\n"), 0);

    assert_string_equal(s.state, "/var/lib/faas");
    assert_string_equal(s.error_log, "/var/log/nginx/error.log");
    assert_int_equal(s.log_level, LOG_DEBUG);
    assert_int_equal(s.places, 3);

    assert_string_equal(s.place[0].name, "hello");
    assert_string_equal(s.place[0].path, "/var/lib/faas/data/hello");
    assert_string_equal(s.place[0].token, "0123abcd");
    assert_string_equal(s.place[1].name, "stock");
    assert_string_equal(s.place[1].path, "/var/lib/my faas/share/stock");
    assert_null(s.place[1].token);
    assert_string_equal(s.place[2].name, "b:c");
    assert_string_equal(s.place[2].path, "/d%");

    tender_settings_free(&s);
}


static void
test_few_settings(void **state)
{
    tender_settings_t  s;

    (void) state;

    assert_int_equal(parse(&s, "state /s\n"), 0);
    assert_null(s.error_log);
    assert_int_equal(s.log_level, LOG_NOTICE);
    assert_int_equal(s.places, 0);
    tender_settings_free(&s);
}


static void
test_bad_settings(void **state)
{
    size_t             i;
    tender_settings_t  s;

    static const struct {
        const char  *text;
        const char  *said;
    } bad[] = {
        { "", "state" },
        { "log_level 5\n", "state" },
        { "state /s", "end" },
        { "state\n", "values" },
        { "state \n", "value" },
        { "state s\n", "state" },
        { "state /s x\n", "values" },
        { "state /s\nlog_level x\n", "log_level" },
        { "state /s\nlog_level 0\n", "log_level" },
        { "state /s\nlog_level 55\n", "log_level" },
        { "state /s\nnothing x\n", "\"nothing\"" },
        { "state /s\n\n", "unknown" },
        { "state /s\ndata f /d\n", "values" },
        { "state /s\ndata f /d t u\n", "values" },
        { "state /s\ndata f d t\n", "data" },
        { "state /s\ndata f  t\n", "value" },
        { "state /s\nshare f\n", "values" },
        { "state /s\nshare f /d t\n", "values" },
        { "state /s%\n", "malformed" },
        { "state /s%0\n", "malformed" },
        { "state /s%00x\n", "malformed" },
        { "state /s%zz\n", "malformed" },
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why[0] = '\0';

        if (parse(&s, bad[i].text) != -1 || strstr(why, bad[i].said) == NULL) {
            fail_msg("%s: \"%s\"", bad[i].text, why);
        }
    }

    assert_int_equal(tender_settings_parse(&s, "state /s\0\n", 10, why,
                                           sizeof(why)), -1);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_settings),
        cmocka_unit_test(test_few_settings),
        cmocka_unit_test(test_bad_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
