/* objects: baas/events_settings.c scoreboard/faas_event.c */
/* objects: scoreboard/faas_cron.c scoreboard/faas_control.c */

/*
 * The settings text of the events process.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "events_settings.h"


#define HOST  "node 0123456789abcdef\ntoken 00ff\nstate /var/lib/faas\n"      \
              "queue sqlite\n"


static events_settings_t *
parse(const char *text, char *why)
{
    size_t              n;
    char               *copy;
    events_settings_t  *s;

    /* as long as it is: a sanitizer sees what is read behind it */

    n = strlen(text);
    copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);

    why[0] = '\0';
    s = events_settings_parse(copy, n, why, EVENTS_WHY_SIZE);
    free(copy);

    return s;
}


static void
test_all_of_it(void **state)
{
    char                      why[EVENTS_WHY_SIZE];
    events_settings_t        *s;
    const events_function_t  *f;

    (void) state;

    s = parse(HOST
              "error_log /var/log/a%20b\n"
              "log_level 8\n"
              "callback https://x.test/hooks/%20se%20cret\n"
              "callback http://y.test/%20k\n"
              "function zeta\n"
              " token aa\n"
              "function _calls\n"
              " token bb\n"
              "function alpha\n"
              " token cc\n"
              " timeout 1500\n"
              " queue_timeout 250\n"
              " max 7\n"
              " once 1\n"
              " consume orders%20batch=10%20attempts=3\n"
              " consume mails\n"
              " schedule 0%203%20*%20*%20*%20name=nightly\n"
              " async attempts=4\n", why);
    assert_string_equal(why, "");
    assert_non_null(s);

    assert_string_equal(s->node, "0123456789abcdef");
    assert_string_equal(s->token, "00ff");
    assert_string_equal(s->state, "/var/lib/faas");
    assert_string_equal(s->queue, "sqlite");
    assert_string_equal(s->error_log, "/var/log/a b");
    assert_int_equal(s->log_level, 8);

    assert_int_equal(s->ncallbacks, 2);
    assert_string_equal(s->callbacks[0].url, "https://x.test/hooks/");
    assert_string_equal(s->callbacks[0].secret, "se cret");
    assert_int_equal(s->callbacks[0].secret_size, 7);

    assert_int_equal(s->nfunctions, 3);
    assert_string_equal(s->functions[0].name, "_calls");
    assert_string_equal(s->functions[2].name, "zeta");

    f = events_settings_function(s, "alpha");
    assert_non_null(f);
    assert_string_equal(f->token, "cc");
    assert_int_equal(f->timeout_ms, 1500);
    assert_int_equal(f->queue_timeout_ms, 250);
    assert_int_equal(f->max, 7);
    assert_int_equal(f->once, 1);
    assert_int_equal(f->nconsumes, 2);
    assert_string_equal(f->consumes[0].queue, "orders");
    assert_int_equal(f->consumes[0].batch, 10);
    assert_int_equal(f->consumes[0].attempts, 3);
    assert_int_equal(f->nschedules, 1);
    assert_string_equal(f->schedules[0].line, "0 3 * * * name=nightly");
    assert_string_equal(f->schedules[0].schedule.name, "nightly");
    assert_int_equal(f->async.attempts, 4);
    assert_int_equal(f->async.age_ms, 6 * 3600 * 1000);

    assert_null(events_settings_function(s, "alph"));
    assert_null(events_settings_function(s, "alphabet"));
    assert_null(events_settings_function(s, ""));

    events_settings_free(s);
}


static void
test_defaults(void **state)
{
    char                      why[EVENTS_WHY_SIZE];
    events_settings_t        *s;
    const events_function_t  *f;

    (void) state;

    s = parse(HOST "function f\n token 00\n max 0", why);
    assert_non_null(s);
    assert_null(s->error_log);
    f = events_settings_function(s, "f");
    assert_non_null(f);
    assert_int_equal(f->timeout_ms, 30000);
    assert_int_equal(f->queue_timeout_ms, 10000);
    assert_int_equal(f->max, 1);
    assert_int_equal(f->async.attempts, 3);
    assert_int_equal(f->async.age_ms, 6 * 3600 * 1000);
    assert_int_equal(f->async.keep_ms, 3600 * 1000);
    events_settings_free(s);

    s = parse(HOST, why);
    assert_non_null(s);
    assert_int_equal(s->nfunctions, 0);
    assert_null(events_settings_function(s, "f"));
    events_settings_free(s);

    events_settings_free(NULL);
}


static void
test_what_is_refused_is_named(void **state)
{
    size_t  i;
    char    why[EVENTS_WHY_SIZE];

    static const struct {
        const char  *text;
        const char  *why;
    } bad[] = {
        { "", "node" },
        { "node 00\ntoken 00\nstate /x\n", "queue" },
        { "token 00\nstate /x\nqueue sqlite\n", "node" },
        { "node 00\nstate /x\nqueue sqlite\n", "token" },
        { "node 00\ntoken 00\nqueue sqlite\n", "state" },
        { HOST "new 1\n", "line 5: unknown name \"new\"" },
        { HOST "consume x\n", "unknown name \"consume\"" },
        { HOST " timeout 1\n", "timeout" },
        { HOST "\n", "line 5" },
        { HOST "queue\n", "queue" },
        { HOST "queue \n", "empty" },
        { HOST "queue %4\n", "queue" },
        { HOST "queue %zz\n", "queue" },
        { HOST "queue a%00b\n", "queue" },
        { HOST "node xyz\n", "xyz" },
        { HOST "state x\n", "x" },
        { HOST "log_level 9\n", "9" },
        { HOST "log_level -1\n", "-1" },
        { HOST "callback http://x\n", "callback" },
        { HOST "callback %20x\n", "callback" },
        { HOST "function \n", "function" },
        { HOST "function A\n", "A" },
        { HOST "function _\n", "_" },
        { HOST "function a\n", "no token" },
        { HOST "function a\n token\n", "token" },
        { HOST "function a\n token 0g\n", "0g" },
        { HOST "function a\n token 00\n timeout 1s\n", "1s" },
        { HOST "function a\n token 00\n timeout 604800001\n", "604800001" },
        { HOST "function a\n token 00\n timeout 99999999999999999999\n",
          "number" },
        { HOST "function a\n token 00\n once 2\n", "2" },
        { HOST "function a\n token 00\n consume x%20batch=0\n", "line 7" },
        { HOST "function a\n token 00\n consume x\n consume x\n",
          "consumed twice" },
        { HOST "function a\n token 00\n schedule *\n", "line 7" },
        { HOST "function a\n token 00\n async attempts=0\n", "line 7" },
        { HOST "function a\n token 00\nfunction b\n token 00\n"
          "function a\n token 00\n", "given twice" },
        { HOST "function a\n  token 00\n", "unknown name" },
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(parse(bad[i].text, why));

        if (strstr(why, bad[i].why) == NULL) {
            fail_msg("%s: said \"%s\"", bad[i].text, why);
        }
    }
}


static void
test_a_text_cut_anywhere_is_parsed_or_refused(void **state)
{
    size_t              n;
    char               *cut, why[EVENTS_WHY_SIZE];
    events_settings_t  *s;

    static const char  text[] =
        HOST "callback http://x/%20k\nfunction a\n token 00\n"
        " consume q%20batch=2\n schedule @every%2010s\n async age=1h\n";

    (void) state;

    for (n = 0; n < sizeof(text); n++) {
        cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, text, n);
        why[0] = '\0';
        s = events_settings_parse(cut, n, why, sizeof(why));
        assert_true((s == NULL) == (why[0] != '\0'));
        events_settings_free(s);
        free(cut);
    }
}


static void
test_many_functions_are_found(void **state)
{
    unsigned            i;
    size_t              n;
    char               *text, name[32], why[EVENTS_WHY_SIZE];
    events_settings_t  *s;

    (void) state;

    text = malloc(200 + 1000 * 60);
    assert_non_null(text);
    n = (size_t) sprintf(text, "%s", HOST);

    for (i = 0; i < 1000; i++) {
        n += (size_t) sprintf(text + n, "function f%u\n token %08x\n"
                              " consume q%u\n", i * 7919 % 1000, i, i);
    }

    s = events_settings_parse(text, n, why, sizeof(why));
    assert_non_null(s);
    free(text);

    for (i = 0; i < 1000; i++) {
        (void) sprintf(name, "f%u", i);
        assert_non_null(events_settings_function(s, name));
        assert_string_equal(events_settings_function(s, name)->name, name);
    }

    assert_null(events_settings_function(s, "f1000"));
    events_settings_free(s);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_all_of_it),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_what_is_refused_is_named),
        cmocka_unit_test(test_a_text_cut_anywhere_is_parsed_or_refused),
        cmocka_unit_test(test_many_functions_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
