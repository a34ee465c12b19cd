/* objects: scoreboard/faas_event.c scoreboard/faas_cron.c */

/*
 * Lines of `consume`, `schedule` and `async`: what they become, defaults,
 * bounds, and each mistake by name.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "faas_event.h"


typedef int (*parse_pt)(const char *s, size_t n, void *conf, char *why);


static int
consume(const char *s, size_t n, void *conf, char *why)
{
    return faas_consume_parse(s, n, conf, why);
}


static int
schedule(const char *s, size_t n, void *conf, char *why)
{
    return faas_schedule_parse(s, n, conf, why);
}


static int
async(const char *s, size_t n, void *conf, char *why)
{
    return faas_async_parse(s, n, conf, why);
}


/* from memory of just that size, so that a byte too far is seen */

static void
parse(parse_pt how, const char *text, void *conf)
{
    char    why[FAAS_EVENT_WHY_SIZE], *copy;
    size_t  n;

    n = strlen(text);
    copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);

    if (how(copy, n, conf, why) != 0) {
        fail_msg("\"%s\": %s", text, why);
    }

    free(copy);
}


static void
refused(parse_pt how, const char *text, const char *expected)
{
    char  why[FAAS_EVENT_WHY_SIZE] = "", conf[1024];

    if (how(text, strlen(text), conf, why) != -1) {
        fail_msg("\"%s\" is accepted", text);
    }

    if (strstr(why, expected) == NULL) {
        fail_msg("\"%s\" is refused with \"%s\", not \"%s\"", text, why,
                 expected);
    }
}


static void
test_consume_has_defaults(void **state)
{
    faas_consume_t  c;

    (void) state;

    parse(consume, "orders", &c);
    assert_string_equal(c.queue, "orders");
    assert_int_equal(c.batch, 1);
    assert_int_equal(c.wait_ms, 0);
    assert_int_equal(c.attempts, 5);
    assert_int_equal(c.retry_min_ms, 1000);
    assert_int_equal(c.retry_max_ms, 300000);
    assert_int_equal(c.parallel, 0);
    assert_int_equal(c.lease_ms, 0);
}


static void
test_consume_takes_options_in_any_order(void **state)
{
    faas_consume_t  c;

    (void) state;

    parse(consume, " \torders  lease=1m30s parallel=3 retry=200ms..1h\t"
          "attempts=100 wait=5 batch=100 ", &c);
    assert_string_equal(c.queue, "orders");
    assert_int_equal(c.batch, 100);
    assert_int_equal(c.wait_ms, 5000);
    assert_int_equal(c.attempts, 100);
    assert_int_equal(c.retry_min_ms, 200);
    assert_int_equal(c.retry_max_ms, 3600000);
    assert_int_equal(c.parallel, 3);
    assert_int_equal(c.lease_ms, 90000);

    parse(consume, "q retry=1s..1s", &c);
    assert_int_equal(c.retry_min_ms, 1000);
    assert_int_equal(c.retry_max_ms, 1000);
}


static void
test_consume_names_each_mistake(void **state)
{
    size_t  i;

    static const char *const  bad[][2] = {
        { "", "no queue is named" },
        { "   ", "no queue is named" },
        { "batch=5", "queue \"batch=5\" is no name" },
        { "Orders", "queue \"Orders\" is no name" },
        { "@orders", "queue \"@orders\" is no name" },
        { "_orders", "queue \"_orders\" is no name" },
        { "-orders", "queue \"-orders\" is no name" },
        { "or/ders", "queue \"or/ders\" is no name" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "is no name" },
        { "q others", "option \"others\" is not known" },
        { "q =5", "option \"=5\" is not known" },
        { "q Batch=5", "option \"Batch=5\" is not known" },
        { "q batch", "option \"batch\" is not a number from 1 to 100" },
        { "q batch=", "option \"batch=\" is not a number from 1 to 100" },
        { "q batch=0", "option \"batch=0\" is not a number from 1 to 100" },
        { "q batch=101", "\"batch=101\" is not a number from 1 to 100" },
        { "q batch=1x", "\"batch=1x\" is not a number" },
        { "q batch=-1", "\"batch=-1\" is not a number" },
        { "q batch=4294967297", "is not a number" },
        { "q batch=1 batch=1", "option \"batch=1\" is there twice" },
        { "q attempts=0", "\"attempts=0\" is not a number from 1 to 100" },
        { "q attempts=101", "is not a number from 1 to 100" },
        { "q wait=2h", "\"wait=2h\" is not a time up to 1h" },
        { "q wait=soon", "\"wait=soon\" is not a time up to 1h" },
        { "q retry=1s", "\"retry=1s\" is not MIN..MAX" },
        { "q retry=1s..", "\"retry=1s..\" is not MIN..MAX" },
        { "q retry=..1s", "\"retry=..1s\" is not MIN..MAX" },
        { "q retry=2s..1s", "\"retry=2s..1s\" is not MIN..MAX" },
        { "q retry=0..1s", "\"retry=0..1s\" is not MIN..MAX" },
        { "q retry=1s..2d", "\"retry=1s..2d\" is not MIN..MAX" },
        { "q retry=..", "\"retry=..\" is not MIN..MAX" },
        { "q parallel=0", "is not a number from 1 to 65535" },
        { "q parallel=65536", "is not a number from 1 to 65535" },
        { "q lease=999ms", "is not a time from 1s to 1d" },
        { "q lease=25h", "is not a time from 1s to 1d" },
        { "q \x01=\xff", "option \"?=?\" is not known" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(consume, bad[i][0], bad[i][1]);
    }
}


static void
test_schedule_has_defaults_and_options(void **state)
{
    faas_schedule_t  s;

    (void) state;

    parse(schedule, "0 3 * * *", &s);
    assert_int_equal(s.cron.hour, 1 << 3);
    assert_string_equal(s.zone, "UTC");
    assert_int_equal(s.overlap, FAAS_OVERLAP_SKIP);
    assert_int_equal(s.catchup, FAAS_CATCHUP_NONE);
    assert_int_equal(s.attempts, 3);

    parse(schedule, "0 3 * * mon-fri name=night attempts=1 catchup=all "
          "overlap=queue tz=Europe/Berlin", &s);
    assert_string_equal(s.zone, "Europe/Berlin");
    assert_string_equal(s.name, "night");
    assert_int_equal(s.overlap, FAAS_OVERLAP_QUEUE);
    assert_int_equal(s.catchup, FAAS_CATCHUP_ALL);
    assert_int_equal(s.attempts, 1);
    assert_int_equal(s.cron.weekday, 0x3e);

    parse(schedule, "@every 1m30s overlap=allow catchup=one", &s);
    assert_int_equal(s.cron.every_ms, 90000);
    assert_int_equal(s.overlap, FAAS_OVERLAP_ALLOW);
    assert_int_equal(s.catchup, FAAS_CATCHUP_ONE);

    parse(schedule, "@DAILY tz=Etc/GMT+5", &s);
    assert_string_equal(s.zone, "Etc/GMT+5");
    parse(schedule, "@hourly tz=UTC", &s);
}


static void
test_a_timer_is_named_by_when_it_is_due(void **state)
{
    size_t           i;
    faas_schedule_t  a, b;

    static const struct {
        const char  *one;
        const char  *other;
        int          same;
    } pairs[] = {
        { "0 3 * * *", " 0\t3 * *  * ", 1 },
        { "0 3 * * *", "0 3 * * * overlap=allow attempts=9 catchup=one", 1 },
        { "0 3 * * *", "0 3 * * * tz=UTC", 1 },
        { "0 3 * * *", "0 3 * * * tz=Europe/Berlin", 0 },
        { "0 3 * * *", "0 4 * * *", 0 },
        { "1 1 * * *", "11 * * * *", 0 },
        { "@every 1s", "@every 2s", 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        parse(schedule, pairs[i].one, &a);
        parse(schedule, pairs[i].other, &b);
        assert_int_equal(strcmp(a.name, b.name) == 0, pairs[i].same);
        assert_int_equal(strncmp(a.name, "timer", 5), 0);
        assert_int_equal(strspn(a.name + 5, "0123456789abcdef"), 8);
        assert_int_equal(strlen(a.name), 13);
    }
}


static void
test_schedule_names_each_mistake(void **state)
{
    size_t  i;

    static const char *const  bad[][2] = {
        { "", "0 of the five fields" },
        { "0 3 * *", "4 of the five fields" },
        { "0 3 * * tz=UTC", "4 of the five fields" },
        { "0 3 * * * *", "option \"*\" is not known" },
        { "tz=UTC 0 3 * * *", "0 of the five fields" },
        { "0 24 * * *", "hour \"24\"" },
        { "0 0 31 4 *", "there is no such day" },
        { "@every", "@every without a time" },
        { "@every tz=UTC", "@every without a time" },
        { "@every 10s 5s", "option \"5s\" is not known" },
        { "@never", "\"@never\" is none of" },
        { "@daily 5", "option \"5\" is not known" },
        { "@every 1h tz=Europe/Berlin", "tz has no meaning with @every" },
        { "@daily tz=Mars/Olympus", "\"tz=Mars/Olympus\" is not a time zone" },
        { "@daily tz=../../etc/passwd", "is not a time zone" },
        { "@daily tz=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaa", "is not a time zone" },
        { "@daily overlap=never", "is not skip, queue or allow" },
        { "@daily overlap=Skip", "is not skip, queue or allow" },
        { "@daily catchup=some", "is not none, one or all" },
        { "@daily name=Night", "is not a name of a-z" },
        { "@daily name=", "is not a name of a-z" },
        { "@daily attempts=0", "is not a number from 1 to 100" },
        { "@daily batch=5", "option \"batch=5\" is not known" },
        { "@daily name=a name=b", "option \"name=b\" is there twice" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(schedule, bad[i][0], bad[i][1]);
    }
}


static void
test_async_lines(void **state)
{
    faas_async_t  a;

    (void) state;

    parse(async, "", &a);
    assert_int_equal(a.attempts, 3);
    assert_true(a.age_ms == 6 * 3600000);
    assert_true(a.keep_ms == 3600000);

    parse(async, "keep=30d attempts=7 age=1s", &a);
    assert_int_equal(a.attempts, 7);
    assert_true(a.age_ms == 1000);
    assert_true(a.keep_ms == 30ll * 24 * 3600000);

    refused(async, "orders", "option \"orders\" is not known");
    refused(async, "attempts=", "is not a number from 1 to 100");
    refused(async, "age=0", "is not a time from 1s to 365d");
    refused(async, "age=366d", "is not a time from 1s to 365d");
    refused(async, "keep=1y keep=1y", "is there twice");
    refused(async, "keep=forever", "is not a time from 1s to 365d");
}


static void
test_names(void **state)
{
    char    longest[64];
    size_t  i;

    static const char *const  good[] = {
        "a", "0", "a-b_c", "0-", "a_"
    };
    static const char *const  bad[] = {
        "", "_a", "-a", "A", "a.b", "a b", "a/b", "\xc3\xa4", "a\n"
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(faas_name_is_valid(good[i], strlen(good[i])), 1);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(faas_name_is_valid(bad[i], strlen(bad[i])), 0);
    }

    memset(longest, 'a', sizeof(longest));
    assert_int_equal(faas_name_is_valid(longest, 63), 1);
    assert_int_equal(faas_name_is_valid(longest, 64), 0);
    assert_int_equal(faas_name_is_valid("a\0b", 3), 0);
}


static void
test_times_are_as_in_nginx_conf(void **state)
{
    size_t  i;

    static const struct {
        const char  *text;
        int64_t      ms;
    } times[] = {
        { "0", 0 }, { "30", 30000 }, { "500ms", 500 }, { "1s", 1000 },
        { "1m", 60000 }, { "1m30s", 90000 }, { "1m30", 90000 },
        { "2h", 7200000 }, { "1d", 86400000 }, { "1w", 604800000 },
        { "1M", 2592000000 }, { "1y", 31536000000 },
        { "1y1M1w1d1h1m1s1ms", 31536000000 + 2592000000 + 604800000
                               + 86400000 + 3600000 + 60000 + 1000 + 1 },
        { "0s", 0 }, { "00030s", 30000 },

        { "", -1 }, { "s", -1 }, { "1x", -1 }, { "-1s", -1 }, { "+1s", -1 },
        { "1.5s", -1 }, { "1s1m", -1 }, { "1s1s", -1 }, { "1s1", -1 },
        { "1ms1", -1 }, { "1 s", -1 }, { " 1s", -1 }, { "1s ", -1 },
        { "1S", -1 }, { "1sm", -1 }, { "1m s", -1 }, { "9999999999999", -1 },
        { "999999999999y", -1 }, { "99999999999y99999999999y", -1 }
    };

    (void) state;

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (faas_time_parse(times[i].text, strlen(times[i].text))
            != times[i].ms)
        {
            fail_msg("\"%s\"", times[i].text);
        }
    }
}


static void
test_whatever_the_bytes_parsing_ends(void **state)
{
    char             text[48], why[FAAS_EVENT_WHY_SIZE];
    size_t           i, length, n;
    uint32_t         seed;
    faas_async_t     a;
    faas_consume_t   c;
    faas_schedule_t  s;

    static const char  alphabet[] =
        "0123456789* =.@,-/\tqbatchlesdoyrpwinmkv\x80\0";

    (void) state;

    seed = 3;

    for (n = 0; n < 200000; n++) {
        seed = seed * 1664525u + 1013904223u;
        length = (seed >> 16) % sizeof(text);

        for (i = 0; i < length; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = alphabet[(seed >> 16) % sizeof(alphabet)];
        }

        if (faas_consume_parse(text, length, &c, why) == 0) {
            assert_true(faas_name_is_valid(c.queue, strlen(c.queue)));
        }

        if (faas_schedule_parse(text, length, &s, why) == 0) {
            assert_true(faas_name_is_valid(s.name, strlen(s.name)));
        }

        (void) faas_async_parse(text, length, &a, why);
        assert_true(faas_time_parse(text, length) >= -1);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_consume_has_defaults),
        cmocka_unit_test(test_consume_takes_options_in_any_order),
        cmocka_unit_test(test_consume_names_each_mistake),
        cmocka_unit_test(test_schedule_has_defaults_and_options),
        cmocka_unit_test(test_a_timer_is_named_by_when_it_is_due),
        cmocka_unit_test(test_schedule_names_each_mistake),
        cmocka_unit_test(test_async_lines),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_times_are_as_in_nginx_conf),
        cmocka_unit_test(test_whatever_the_bytes_parsing_ends)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
