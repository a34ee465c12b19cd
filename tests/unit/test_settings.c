/* objects: worker/settings.c worker/settings_descriptor.c */
/* objects: worker/settings_list.c worker/settings_event.c */
/* objects: scoreboard/faas_control.c base/loop.c base/log.c */
/* objects: scoreboard/faas_event.c scoreboard/faas_cron.c */

/*
 * Configuration text, descriptors, and the limits that come of them.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "settings.h"


#define BASE  "functions /srv/f\nstate /var/lib/faas\n"


static settings_t *
parse(const char *text, const char *expected)
{
    char         why[SETTINGS_WHY_SIZE], *all;
    settings_t  *s;

    all = malloc(strlen(BASE) + strlen(text) + 1);
    assert_non_null(all);
    (void) sprintf(all, "%s%s", BASE, text);

    why[0] = '\0';
    s = settings_parse(all, strlen(all), why);
    free(all);

    if (expected == NULL) {
        if (s == NULL) {
            fail_msg("refused: %s", why);
        }

        return s;
    }

    if (s != NULL) {
        fail_msg("not refused: %s", text);
    }

    if (strstr(why, expected) == NULL) {
        fail_msg("\"%s\" says nothing of \"%s\"", why, expected);
    }

    return NULL;
}


static void
test_all_host_settings_are_read(void **state)
{
    settings_t  *s;

    (void) state;

    s = parse("user www%20data\ndeployer ops\ngroup 33\nworker_uid 33\n"
              "error_log /var/log/a%25b\nlog_level 7\n"
              "scoreboard 16777216\nmemory 1073741824\n", NULL);

    assert_string_equal(s->functions, "/srv/f");
    assert_string_equal(s->state, "/var/lib/faas");
    assert_string_equal(s->user, "www data");
    assert_string_equal(s->deployer, "ops");
    assert_string_equal(s->error_log, "/var/log/a%b");
    assert_int_equal(s->group, 33);
    assert_int_equal(s->worker_uid, 33);
    assert_int_equal(s->log_level, 7);
    assert_int_equal(s->scoreboard, 16777216);
    assert_int_equal(s->memory, 1073741824);
    assert_null(s->blocks);
    assert_null(s->ceilings);

    settings_free(s);
}


/* exactly these texts are in the list */

static void
assert_list(const settings_list_t *list, int n, ...)
{
    va_list      args;
    const char  *p;

    p = NULL;
    va_start(args, n);

    while (n-- > 0) {
        p = settings_next(list, p);
        assert_non_null(p);
        assert_string_equal(p, va_arg(args, const char *));
    }

    va_end(args);
    assert_null(settings_next(list, p));
}


static void
test_backend_services_of_the_host_are_read(void **state)
{
    settings_t  *s;

    (void) state;

    s = parse("kv redis://:a%2520b@127.0.0.1:6379/0\nqueue sqlite:/q%20/x\n"
              "callback https://a/%20k1\ncallback https://b/%20k2\n", NULL);

    assert_string_equal(s->kv, "redis://:a%20b@127.0.0.1:6379/0");
    assert_string_equal(s->queue, "sqlite:/q /x");
    assert_list(&s->callback, 2, "https://a/ k1", "https://b/ k2");
    settings_free(s);

    s = parse("", NULL);
    assert_null(s->kv);
    assert_null(s->queue);
    assert_list(&s->callback, 0);
    settings_free(s);
}


static void
test_backend_services_of_a_function_are_read(void **state)
{
    settings_t                 *s;
    const settings_function_t  *f;

    (void) state;

    s = parse("function f\n consume orders%20batch=10\n consume mails\n"
              " schedule @every%2010s\n async attempts=2%20age=1h\n"
              " share carts%20w\n share prices%20r\n exactly_once 1\n"
              " durability normal\nfunction *\n exactly_once 0\n"
              " async keep=2h\n share all%20r\n", NULL);

    f = settings_function(s, "f");
    assert_list(&f->consume, 2, "orders batch=10", "mails");
    assert_list(&f->schedule, 1, "@every 10s");
    assert_list(&f->share, 2, "carts w", "prices r");
    assert_string_equal(f->async, "attempts=2 age=1h");
    assert_int_equal(f->number[SETTINGS_EXACTLY_ONCE], 1);
    assert_int_equal(f->number[SETTINGS_DURABILITY], SETTINGS_NORMAL);
    assert_string_equal(s->ceilings->async, "keep=2h");
    assert_list(&s->ceilings->share, 1, "all r");
    settings_free(s);

    s = parse("function f\n", NULL);
    f = settings_function(s, "f");
    assert_list(&f->consume, 0);
    assert_list(&f->schedule, 0);
    assert_list(&f->share, 0);
    assert_null(f->async);
    assert_int_equal(f->number[SETTINGS_DURABILITY], SETTINGS_UNSET);
    settings_free(s);
}


static void
test_bad_backend_services_are_refused(void **state)
{
    size_t  i;

    static const char *const  bad[][2] = {
        { "kv\n", "kv" },
        { "kv \n", "kv" },
        { "queue a%00b\n", "queue" },
        { "callback %zz\n", "callback" },
        { "function f\n consume Orders\n", "\"f\"" },
        { "function f\n consume orders%20batch=0\n", "batch" },
        { "function f\n schedule 61%20*%20*%20*%20*\n", "\"f\"" },
        { "function f\n async attempts=0\n", "attempts" },
        { "function *\n consume orders\n", "function \"*\" has no" },
        { "function *\n schedule @daily\n", "function \"*\" has no" },
        { "function f\n share carts\n", "share" },
        { "function f\n share carts%20x\n", "share" },
        { "function f\n share ../up%20w\n", "share" },
        { "function f\n share carts%20w%20\n", "share" },
        { "function f\n exactly_once 2\n", "exactly_once" },
        { "function f\n durability most\n", "durability" },
        { "function f\n env =x\n", "env" },
        { "callback https://a/\n", "callback" },
        { "function f\n consume a\n consume a%20batch=2\n",
          "\"a\" is consumed twice" },
        { "function f\n schedule @daily%20name=x\n"
          " schedule @hourly%20name=x\n", "two timers are named \"x\"" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void) parse(bad[i][0], bad[i][1]);
    }
}


static void
test_events_of_nginx_conf_replace_the_descriptors(void **state)
{
    char                       why[SETTINGS_WHY_SIZE];
    const char                *text;
    settings_t                *s;
    settings_descriptor_t      d;
    const settings_function_t *a, *b;

    (void) state;

    text = "schedule @daily\nconsumes orders\n";
    assert_int_equal(settings_descriptor(&d, text, strlen(text), why), 0);

    s = parse("function a\n consume mails\nfunction b\n schedule @hourly\n",
              NULL);
    a = settings_function(s, "a");
    b = settings_function(s, "b");

    assert_list(settings_consume(a, &d), 1, "mails");
    assert_list(settings_schedule(a, &d), 1, "@daily");
    assert_list(settings_consume(b, &d), 1, "orders");
    assert_list(settings_schedule(b, &d), 1, "@hourly");
    assert_list(settings_consume(NULL, &d), 1, "orders");
    assert_list(settings_consume(b, NULL), 0);
    assert_list(settings_schedule(NULL, NULL), 0);

    settings_descriptor_free(&d);
    settings_free(s);
}


static void
test_what_happens_once_is_consumed_one_by_one(void **state)
{
    size_t  i;
    char    line[64];

    static const struct {
        const char  *line;
        const char  *once;
        int          had;
    } lines[] = {
        { "orders", "orders", 0 },
        { "orders batch=1", "orders", 0 },
        { "orders batch=10", "orders", 1 },
        { "  orders\tbatch=10  wait=5s ", "orders wait=5s", 1 },
        { "o wait=5s batch=2 attempts=3", "o wait=5s attempts=3", 1 }
    };

    (void) state;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(settings_consume_once(lines[i].line, line),
                         lines[i].had);
        assert_string_equal(line, lines[i].once);
    }
}


static void
test_numbers_beside_the_limits(void **state)
{
    settings_t                 *s;
    const settings_function_t  *f;

    (void) state;

    s = parse("function f\n exactly_once 0\nfunction *\n exactly_once 1\n",
              NULL);
    f = settings_function(s, "f");

    assert_int_equal(settings_number(f, s->ceilings, SETTINGS_EXACTLY_ONCE),
                     0);
    assert_int_equal(settings_number(NULL, s->ceilings,
                                     SETTINGS_EXACTLY_ONCE), 1);
    assert_int_equal(settings_number(f, NULL, SETTINGS_DURABILITY),
                     SETTINGS_FULL);
    settings_free(s);
}


static void
test_what_is_not_given_is_unset(void **state)
{
    settings_t  *s;

    (void) state;

    s = parse("", NULL);

    assert_null(s->user);
    assert_null(s->deployer);
    assert_null(s->error_log);
    assert_int_equal(s->group, SETTINGS_UNSET);
    assert_int_equal(s->worker_uid, SETTINGS_UNSET);
    assert_int_equal(s->scoreboard, SETTINGS_UNSET);
    assert_int_equal(s->memory, SETTINGS_UNSET);

    settings_free(s);
}


static void
test_function_blocks_are_read(void **state)
{
    int                         i;
    settings_t                 *s;
    const settings_function_t  *f;

    (void) state;

    s = parse("function thumb\n mode oneshot\n min 1\n max 16\n spare 2\n"
              " queue 200\n queue_timeout 2000\n timeout 5000\n"
              " init_timeout 2000\n idle_timeout 60000\n"
              " template_timeout 0\n max_requests 10000\n"
              " memory 134217728\n accel 1\n user fn-thumb\n"
              " routes /thumb/\n env LANG=C\n env A=b%20c%3D\n"
              "function *\n max 4\n"
              "function other\n", NULL);

    f = settings_function(s, "thumb");
    assert_non_null(f);
    assert_int_equal(f->number[SETTINGS_MODE], FAAS_MODE_ONESHOT);
    assert_int_equal(f->number[SETTINGS_MIN], 1);
    assert_int_equal(f->number[SETTINGS_MAX], 16);
    assert_int_equal(f->number[SETTINGS_SPARE], 2);
    assert_int_equal(f->number[SETTINGS_QUEUE], 200);
    assert_int_equal(f->number[SETTINGS_QUEUE_TIMEOUT], 2000);
    assert_int_equal(f->number[SETTINGS_TIMEOUT], 5000);
    assert_int_equal(f->number[SETTINGS_INIT_TIMEOUT], 2000);
    assert_int_equal(f->number[SETTINGS_IDLE_TIMEOUT], 60000);
    assert_int_equal(f->number[SETTINGS_TEMPLATE_TIMEOUT], 0);
    assert_int_equal(f->number[SETTINGS_MAX_REQUESTS], 10000);
    assert_int_equal(f->number[SETTINGS_MEMORY], 134217728);
    assert_int_equal(f->number[SETTINGS_ACCEL], 1);
    assert_string_equal(f->user, "fn-thumb");
    assert_string_equal(f->routes, "/thumb/");
    assert_int_equal(f->env.length, 14);
    assert_memory_equal(f->env.text, "LANG=C\0A=b c=", 14);

    f = settings_function(s, "other");
    assert_non_null(f);

    for (i = 0; i < SETTINGS_NUMBERS; i++) {
        assert_int_equal(f->number[i], SETTINGS_UNSET);
    }

    assert_null(settings_function(s, "*"));
    assert_null(settings_function(s, "nobody"));
    assert_non_null(s->ceilings);
    assert_int_equal(s->ceilings->number[SETTINGS_MAX], 4);

    settings_free(s);
}


static void
test_errors_name_what_is_wrong(void **state)
{
    size_t  i;
    char    why[SETTINGS_WHY_SIZE];

    static const struct {
        const char  *text, *why;
    } bad[] = {
        { "nonsense 1\n", "unknown setting \"nonsense\"" },
        { "user\n", "line 3: no value: \"user\"" },
        { "group x\n", "\"x\" of \"group\"" },
        { "group -1\n", "\"-1\" of \"group\"" },
        { "group 4294967296\n", "\"group\"" },
        { "scoreboard 1\n", "\"scoreboard\"" },
        { "scoreboard 99999999999999999999999\n", "\"scoreboard\"" },
        { "user a%\n", "\"user\"" },
        { "user a%0\n", "\"user\"" },
        { "user a%00b\n", "\"user\"" },
        { " max 1\n", "no function before \"max\"" },
        { "function a\nuser x\n max 1\n", "no function before" },
        { "function a\n max 0\n", "function \"a\": bad value \"0\" of "
          "\"max\"" },
        { "function a\n max 1025\n", "\"max\"" },
        { "function a\n max 1x\n", "\"max\"" },
        { "function a\n mode warm\n", "\"mode\"" },
        { "function a\n cpu 1\n", "function \"a\": unknown setting \"cpu\"" },
        { "function a\n idempotent 1\n", "unknown setting" },
        { "function a\n env X\n", "\"env\"" },
        { "function a\n env =X\n", "\"env\"" },
        { "function a\nfunction a\n", "duplicate function \"a\"" },
        { "function *\nfunction *\n", "duplicate function \"*\"" },
        { "function 012345678901234567890123456789012345678901234567890123456"
          "78901234567\n", "bad function name" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void) parse(bad[i].text, bad[i].why);
    }

    assert_null(settings_parse("state /x\n", 9, why));
    assert_string_equal(why, "\"functions\" is missing in the configuration");
    assert_null(settings_parse("functions /x\n", 13, why));
    assert_string_equal(why, "\"state\" is missing in the configuration");
    assert_null(settings_parse("functions /x\0state /y\n", 22, why));
    assert_string_equal(why, "a zero byte in the configuration");
    assert_null(settings_parse("", 0, why));
}


/* found by tests/fuzz/fuzz_settings.c */

static void
test_why_a_value_is_refused_is_one_line(void **state)
{
    (void) state;

    (void) parse("function a\n share a%0a[emerg]%1b[2J%7f\n",
                 "bad value \"a [emerg] [2J \" of ");
}


/* whatever the bytes, it ends in one of two ways */

static void
test_garbage_is_refused_or_read(void **state)
{
    char         text[256], why[SETTINGS_WHY_SIZE];
    size_t       i, n, round;
    uint32_t     seed;
    settings_t  *s;

    static const char  alphabet[] = "function a\n max1 %0euserstate*=/";

    (void) state;

    seed = 1;

    for (round = 0; round < 50000; round++) {
        n = (size_t) sprintf(text, BASE "function a\n max 3\n");

        for (i = 0; i < 1 + round % 60; i++) {
            seed = seed * 1664525 + 1013904223;
            text[round % 2 ? n++ : (seed >> 8) % n]
                = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
        }

        why[0] = '\0';
        s = settings_parse(text, n, why);

        if (s == NULL) {
            assert_true(why[0] != '\0');
        }

        settings_free(s);
    }
}


static void
test_descriptor_is_read(void **state)
{
    char                   why[SETTINGS_WHY_SIZE];
    const char            *text;
    settings_descriptor_t  d;

    (void) state;

    text = "mode oneshot\nroutes GET%20/a%0APOST%20/b\ntimeout 1m30s\n"
           "min 2\nmax 0\nmemory 64m\nidempotent 1\n"
           "schedule %0A*/5%20*%20*%20*%20*%20tz=UTC%20%0A@every%2010s\n"
           "consumes orders%20batch=10%0A%0A%09mails%0D%0A\n";

    assert_int_equal(settings_descriptor(&d, text, strlen(text), why), 0);
    assert_int_equal(d.number[SETTINGS_MODE], FAAS_MODE_ONESHOT);
    assert_int_equal(d.number[SETTINGS_TIMEOUT], 90000);
    assert_int_equal(d.number[SETTINGS_MIN], 2);
    assert_int_equal(d.number[SETTINGS_MAX], SETTINGS_UNSET);
    assert_int_equal(d.number[SETTINGS_MEMORY], 64 << 20);
    assert_int_equal(d.number[SETTINGS_IDEMPOTENT], 1);
    assert_int_equal(d.number[SETTINGS_SPARE], SETTINGS_UNSET);
    assert_string_equal(d.routes, "GET /a\nPOST /b");
    assert_int_equal(d.routes_length, 14);
    assert_list(&d.consume, 2, "orders batch=10", "mails");
    assert_list(&d.schedule, 2, "*/5 * * * * tz=UTC", "@every 10s");
    settings_descriptor_free(&d);
    assert_null(d.consume.text);

    assert_int_equal(settings_descriptor(&d, "", 0, why), 0);
    assert_string_equal(d.routes, "");
    settings_descriptor_free(&d);
}


static void
test_bad_descriptors_are_refused(void **state)
{
    size_t                 i;
    char                   why[SETTINGS_WHY_SIZE];
    settings_descriptor_t  d;

    static const char *const  bad[] = {
        "timeout soon", "timeout -1", "timeout 0", "mode warm", "min -1",
        "min 1025", "max 1025", "memory 1x", "memory 0", "routes %zz",
        "idempotent 2", "consumes Orders", "consumes orders%20batch=101",
        "schedule *", "schedule @every%2010s%20tz=Nowhere/Land",
        "consumes orders%0Amails%20wait=ever", "consumes a%0Ab%0Aa",
        "schedule @daily%0A@daily"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (settings_descriptor(&d, bad[i], strlen(bad[i]), why) != -1) {
            fail_msg("not refused: %s", bad[i]);
        }

        assert_non_null(strstr(why, "descriptor: "));
    }
}


static void
test_times_and_sizes(void **state)
{
    size_t  i;

    static const struct {
        const char  *text;
        int64_t      value;
    } times[] = {
        { "30", 30000 }, { "30s", 30000 }, { "500ms", 500 }, { "0", 0 },
        { "1m", 60000 }, { "1m30s", 90000 }, { "1m30", 90000 },
        { "2h", 7200000 }, { "1d", 86400000 }, { "1s500ms", 1500 },
        { "", -1 }, { "s", -1 }, { "1x", -1 }, { "-1", -1 }, { "1 s", -1 },
        { "1s1m", -1 }, { "1s1s", -1 }, { "99999999999", -1 },
        { "30d", -1 }, { "1mss", -1 }, { " 1", -1 }
    }, sizes[] = {
        { "0", 0 }, { "1", 1 }, { "512k", 512 << 10 }, { "64M", 64 << 20 },
        { "1g", 1 << 30 }, { "", -1 }, { "k", -1 }, { "1kb", -1 },
        { "-1", -1 }, { "99999999999999999999", -1 },
        { "9999999999g", -1 }, { "1.5m", -1 }
    };

    (void) state;

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (settings_descriptor_time(times[i].text) != times[i].value) {
            fail_msg("time \"%s\"", times[i].text);
        }
    }

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (settings_descriptor_size(sizes[i].text) != sizes[i].value) {
            fail_msg("size \"%s\"", sizes[i].text);
        }
    }
}


static void
test_defaults(void **state)
{
    char           note[SETTINGS_WHY_SIZE];
    faas_limits_t  l;

    (void) state;

    settings_limits(&l, NULL, NULL, NULL, 2, note);

    assert_string_equal(note, "");
    assert_int_equal(l.mode, FAAS_MODE_RESIDENT);
    assert_int_equal(l.min, 0);
    assert_int_equal(l.max, 8);
    assert_int_equal(l.spare, 0);
    assert_int_equal(l.queue, 100);
    assert_int_equal(l.queue_timeout_ms, 10000);
    assert_int_equal(l.timeout_ms, 30000);
    assert_int_equal(l.init_timeout_ms, 10000);
    assert_int_equal(l.idle_timeout_ms, 60000);
    assert_int_equal(l.template_timeout_ms, 600000);
    assert_int_equal(l.max_requests, 0);
    assert_int_equal(l.memory_bytes, 256 << 20);
    assert_int_equal(l.accel, 0);
    assert_int_equal(l.idempotent, 0);

    settings_limits(&l, NULL, NULL, NULL, 32, note);
    assert_int_equal(l.max, 64);
    settings_limits(&l, NULL, NULL, NULL, 5000, note);
    assert_int_equal(l.max, FAAS_MAX_INSTANCES);
}


static void
test_configuration_over_descriptor_over_default(void **state)
{
    char                   note[SETTINGS_WHY_SIZE];
    const char            *text;
    settings_t            *s;
    faas_limits_t          l;
    settings_descriptor_t  d;

    (void) state;

    text = "mode oneshot\nmax 20\ntimeout 5s\n";
    assert_int_equal(settings_descriptor(&d, text, strlen(text), note), 0);

    s = parse("function a\n max 3\n", NULL);
    settings_limits(&l, settings_function(s, "a"), s->ceilings, &d, 2, note);

    assert_int_equal(l.max, 3);
    assert_int_equal(l.timeout_ms, 5000);
    assert_int_equal(l.mode, FAAS_MODE_ONESHOT);
    assert_int_equal(l.spare, 2);
    assert_int_equal(l.memory_bytes, 256 << 20);
    assert_string_equal(note, "");

    settings_free(s);

    s = parse("function a\n mode resident\n", NULL);
    settings_limits(&l, settings_function(s, "a"), s->ceilings, &d, 2, note);
    assert_int_equal(l.mode, FAAS_MODE_RESIDENT);
    assert_int_equal(l.spare, 0);

    settings_free(s);
    settings_descriptor_free(&d);
}


static void
test_ceilings_clamp_and_say_so(void **state)
{
    char                   note[SETTINGS_WHY_SIZE];
    const char            *text;
    settings_t            *s;
    faas_limits_t          l;
    settings_descriptor_t  d;

    (void) state;

    text = "max 50\nmin 40\ntimeout 90s\n";
    assert_int_equal(settings_descriptor(&d, text, strlen(text), note), 0);

    s = parse("function *\n max 10\n min 20\n timeout 60000\n queue 5\n"
              " max_requests 100\n", NULL);
    settings_limits(&l, NULL, s->ceilings, &d, 2, note);

    assert_int_equal(l.max, 10);
    assert_int_equal(l.min, 10);
    assert_int_equal(l.timeout_ms, 60000);
    assert_int_equal(l.queue, 5);
    assert_int_equal(l.max_requests, 100);
    assert_string_equal(note, "min 40 clamped to 20, max 50 clamped to 10, "
                        "timeout 90000 clamped to 60000, min 20 clamped to "
                        "max 10");

    settings_free(s);
    settings_descriptor_free(&d);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_all_host_settings_are_read),
        cmocka_unit_test(test_backend_services_of_the_host_are_read),
        cmocka_unit_test(test_backend_services_of_a_function_are_read),
        cmocka_unit_test(test_bad_backend_services_are_refused),
        cmocka_unit_test(test_events_of_nginx_conf_replace_the_descriptors),
        cmocka_unit_test(test_what_happens_once_is_consumed_one_by_one),
        cmocka_unit_test(test_numbers_beside_the_limits),
        cmocka_unit_test(test_what_is_not_given_is_unset),
        cmocka_unit_test(test_function_blocks_are_read),
        cmocka_unit_test(test_errors_name_what_is_wrong),
        cmocka_unit_test(test_why_a_value_is_refused_is_one_line),
        cmocka_unit_test(test_garbage_is_refused_or_read),
        cmocka_unit_test(test_descriptor_is_read),
        cmocka_unit_test(test_bad_descriptors_are_refused),
        cmocka_unit_test(test_times_and_sizes),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_configuration_over_descriptor_over_default),
        cmocka_unit_test(test_ceilings_clamp_and_say_so)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
