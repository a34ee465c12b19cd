/* objects: scoreboard/faas_cron.c scoreboard/faas_event.c */

/*
 * Due times: what is accepted, what is refused and why, and what comes next,
 * by tables for known changes of clocks and against a slow search that looks
 * at each minute there is.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faas_cron.h"


typedef struct {
    const char  *cron;
    const char  *zone;
    const char  *after;              /* "2026-03-28 02:30:00 +0100" */
    const char  *next[6];
} due_t;


static void
parse(const char *text, faas_cron_t *c)
{
    char  why[160];

    if (faas_cron_parse(text, strlen(text), c, why, sizeof(why)) != 0) {
        fail_msg("\"%s\": %s", text, why);
    }
}


static void
refused(const char *text, const char *expected)
{
    char         why[160] = "";
    faas_cron_t  c;

    if (faas_cron_parse(text, strlen(text), &c, why, sizeof(why)) != -1) {
        fail_msg("\"%s\" is accepted", text);
    }

    if (strstr(why, expected) == NULL) {
        fail_msg("\"%s\" is refused with \"%s\", not \"%s\"", text, why,
                 expected);
    }
}


static int64_t
at(const char *text)
{
    int        sign, hours, minutes;
    char       ch;
    struct tm  tm;

    memset(&tm, 0, sizeof(tm));

    assert_int_equal(sscanf(text, "%d-%d-%d %d:%d:%d %c%2d%2d", &tm.tm_year,
                            &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
                            &tm.tm_sec, &ch, &hours, &minutes), 9);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    sign = ch == '-' ? -1 : 1;

    return ((int64_t) timegm(&tm) - sign * (hours * 3600 + minutes * 60))
           * 1000;
}


static void
assert_due(const due_t *due)
{
    size_t       i;
    int64_t      t, expected;
    faas_cron_t  c;

    parse(due->cron, &c);
    t = at(due->after);

    for (i = 0; i < 6 && due->next[i] != NULL; i++) {
        t = faas_cron_next(&c, due->zone, t);
        expected = at(due->next[i]);

        if (t != expected) {
            fail_msg("\"%s\" in %s after %s: %zu is %lld, not %lld (%s)",
                     due->cron, due->zone, due->after, i, (long long) t,
                     (long long) expected, due->next[i]);
        }
    }
}


static void
test_fields_become_bits(void **state)
{
    faas_cron_t  c;

    (void) state;

    parse("5,10-12,20-30/5 0 1-31/10 feb,AUG-Oct mon-fri", &c);
    assert_true(c.minute == (1ull << 5 | 7ull << 10 | 1ull << 20
                             | 1ull << 25 | 1ull << 30));
    assert_int_equal(c.hour, 1);
    assert_int_equal(c.day, 1u << 1 | 1u << 11 | 1u << 21 | 1u << 31);
    assert_int_equal(c.month, 1 << 2 | 7 << 8);
    assert_int_equal(c.weekday, 0x3e);
    assert_int_equal(c.minute_star + c.hour_star + c.day_star
                     + c.weekday_star, 0);

    parse("* */6 */10 * *", &c);
    assert_true(c.minute == (1ull << 60) - 1);
    assert_int_equal(c.hour, 1 | 1 << 6 | 1 << 12 | 1 << 18);
    assert_int_equal(c.day, 1u << 1 | 1u << 11 | 1u << 21 | 1u << 31);
    assert_int_equal(c.month, 0x1ffe);
    assert_int_equal(c.weekday, 0x7f);
    assert_int_equal(c.minute_star + c.hour_star + c.day_star
                     + c.weekday_star, 4);
    assert_int_equal(c.every_ms, 0);
}


static void
test_sunday_is_0_and_7_and_the_end_of_a_week(void **state)
{
    faas_cron_t  c;

    (void) state;

    parse("0 0 * * 7", &c);
    assert_int_equal(c.weekday, 1);
    parse("0 0 * * 0", &c);
    assert_int_equal(c.weekday, 1);
    parse("0 0 * * 5-7", &c);
    assert_int_equal(c.weekday, 0x61);
    parse("0 0 * * fri-sun", &c);
    assert_int_equal(c.weekday, 0x61);
    parse("0 0 * * sun-tue", &c);
    assert_int_equal(c.weekday, 7);
    parse("0 0 * * */2", &c);
    assert_int_equal(c.weekday, 0x55);
}


static void
test_names_are_what_they_stand_for(void **state)
{
    size_t       i;
    faas_cron_t  a, b;

    static const char *const  same[][2] = {
        { "@hourly", "0 * * * *" },
        { "@daily", "0 0 * * *" },
        { "@midnight", "0 0 * * *" },
        { "@Weekly", "0 0 * * 0" },
        { "@monthly", "0 0 1 * *" },
        { " @yearly ", "0 0 1 1 *" },
        { "@annually", "\t0  0 1 1   *" }
    };

    (void) state;

    for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        parse(same[i][0], &a);
        parse(same[i][1], &b);
        assert_memory_equal(&a, &b, sizeof(a));
    }
}


static void
test_each_mistake_is_named(void **state)
{
    size_t  i;

    static const char *const  bad[][2] = {
        { "", "0 of the five fields" },
        { "  ", "0 of the five fields" },
        { "* * * *", "4 of the five fields" },
        { "* * * * * *", "\"*\" is more than five fields" },
        { "60 * * * *", "minute \"60\" is out of its range (0-59)" },
        { "-1 * * * *", "minute \"-1\" is out of its range" },
        { "* 24 * * *", "hour \"24\" is out of its range (0-23)" },
        { "* * 0 * *", "day of month \"0\" is out of its range (1-31)" },
        { "* * 32 * *", "day of month \"32\" is out of its range" },
        { "* * * 0 *", "month \"0\" is out of its range (1-12)" },
        { "* * * 13 *", "month \"13\" is out of its range" },
        { "* * * foo *", "month \"foo\" is out of its range" },
        { "* * * january *", "month \"january\" is out of its range" },
        { "* * * * 8", "day of week \"8\" is out of its range (0-7)" },
        { "mon * * * *", "minute \"mon\" is out of its range" },
        { "5-1 * * * *", "minute \"5-1\" runs backwards" },
        { "* * * dec-jan *", "month \"dec-jan\" runs backwards" },
        { "1- * * * *", "minute \"1-\" is out of its range" },
        { "1-2-3 * * * *", "minute \"1-2-3\" is out of its range" },
        { "1,,2 * * * *", "minute \"1,,2\" has an empty element" },
        { ", * * * *", "minute \",\" has an empty element" },
        { "1, * * * *", "minute \"1,\" has an empty element" },
        { "*/0 * * * *", "minute \"*/0\" has a bad step" },
        { "*/ * * * *", "minute \"*/\" has a bad step" },
        { "*/x * * * *", "minute \"*/x\" has a bad step" },
        { "*/5/5 * * * *", "minute \"*/5/5\" has a bad step" },
        { "*/1000 * * * *", "minute \"*/1000\" has a bad step" },
        { "5/10 * * * *", "minute \"5/10\" has a step, but no range" },
        { "** * * * *", "minute \"**\" is out of its range" },
        { "? * * * *", "minute \"?\" is out of its range" },
        { "* * L * *", "day of month \"L\" is out of its range" },
        { "0x5 * * * *", "minute \"0x5\" is out of its range" },
        { "+5 * * * *", "minute \"+5\" is out of its range" },
        { "99999999999999999999 * * * *", "is out of its range" },
        { "\x01\xff * * * *", "minute \"??\" is out of its range" },
        { "0 0 30 2 *", "there is no such day in those months" },
        { "0 0 31 2,4,6,9,11 *", "there is no such day in those months" },
        { "0 0 30 2 */2", "there is no such day in those months" },
        { "@reboot", "\"@reboot\" is none of @every TIME" },
        { "@", "\"@\" is none of" },
        { "@daily 5", "\"5\" after a name is too much" },
        { "@every", "@every without a time" },
        { "@every 5 minutes", "\"minutes\" after @every TIME is too much" },
        { "@every soon", "\"soon\" is no time" },
        { "@every 999ms", "\"999ms\" is not between 1s and 366d" },
        { "@every 0", "\"0\" is not between" },
        { "@every 400d", "\"400d\" is not between" },
        { "@every -5s", "\"-5s\" is no time" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(bad[i][0], bad[i][1]);
    }
}


static void
test_a_zero_byte_and_a_cut_text_are_no_field(void **state)
{
    char         why[160];
    faas_cron_t  c;

    (void) state;

    assert_int_equal(faas_cron_parse("0\0 0 * * *", 10, &c, why,
                                     sizeof(why)), -1);

    /* n counts, not a zero */

    assert_int_equal(faas_cron_parse("0 0 * * *garbage", 9, &c, why,
                                     sizeof(why)), 0);
}


static void
test_zones_are_those_of_this_machine(void **state)
{
    size_t  i;

    static const char *const  bad[] = {
        "", "Europe/Atlantis", "/etc/passwd", "../zoneinfo/UTC", "Europe",
        "europe/berlin/", "zone.tab", "Europe/Berlin ", "Europe//../Berlin",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    };

    (void) state;

    assert_int_equal(faas_cron_zone_is_valid("UTC"), 1);
    assert_int_equal(faas_cron_zone_is_valid("Europe/Berlin"), 1);
    assert_int_equal(faas_cron_zone_is_valid("America/New_York"), 1);
    assert_int_equal(faas_cron_zone_is_valid("Etc/GMT+5"), 1);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (faas_cron_zone_is_valid(bad[i]) != 0) {
            fail_msg("\"%s\" is a zone", bad[i]);
        }
    }
}


static void
test_days_and_months(void **state)
{
    size_t  i;

    static const due_t  due[] = {

        /* strictly after, to the minute */

        { "0 0 * * *", "UTC", "2026-01-01 00:00:00 +0000",
          { "2026-01-02 00:00:00 +0000" } },
        { "0 0 * * *", "UTC", "2025-12-31 23:59:59 +0000",
          { "2026-01-01 00:00:00 +0000" } },
        { "59 23 31 12 *", "UTC", "2025-12-31 23:59:00 +0000",
          { "2026-12-31 23:59:00 +0000" } },

        /* the 31st only where there is one; leap days */

        { "0 12 31 * *", "UTC", "2026-01-31 12:00:00 +0000",
          { "2026-03-31 12:00:00 +0000", "2026-05-31 12:00:00 +0000",
            "2026-07-31 12:00:00 +0000", "2026-08-31 12:00:00 +0000",
            "2026-10-31 12:00:00 +0000", "2026-12-31 12:00:00 +0000" } },
        { "0 0 29 2 *", "UTC", "2026-01-01 00:00:00 +0000",
          { "2028-02-29 00:00:00 +0000", "2032-02-29 00:00:00 +0000" } },
        { "0 0 29 * *", "UTC", "2027-01-29 00:00:00 +0000",
          { "2027-03-29 00:00:00 +0000" } },

        /* two restricted day fields are joined by or: the 13th, and
           Fridays */

        { "0 0 13 * fri", "UTC", "2026-11-01 00:00:00 +0000",
          { "2026-11-06 00:00:00 +0000", "2026-11-13 00:00:00 +0000",
            "2026-11-20 00:00:00 +0000", "2026-11-27 00:00:00 +0000",
            "2026-12-04 00:00:00 +0000", "2026-12-11 00:00:00 +0000" } },
        { "0 0 30 2 mon", "UTC", "2026-02-20 00:00:00 +0000",
          { "2026-02-23 00:00:00 +0000", "2027-02-01 00:00:00 +0000" } },

        /* one that is `*` or a step of it by and: odd Fridays */

        { "0 0 */2 * fri", "UTC", "2026-11-01 00:00:00 +0000",
          { "2026-11-13 00:00:00 +0000", "2026-11-27 00:00:00 +0000",
            "2026-12-11 00:00:00 +0000" } },
        { "30 8 * * 1-5", "UTC", "2026-11-20 08:30:00 +0000",
          { "2026-11-23 08:30:00 +0000", "2026-11-24 08:30:00 +0000" } },

        /* a zone without changes, and one of half hours */

        { "0 9 * * *", "Asia/Kolkata", "2026-03-28 00:00:00 +0000",
          { "2026-03-28 09:00:00 +0530", "2026-03-29 09:00:00 +0530" } },
        { "0 2 * * *", "Asia/Tokyo", "2026-03-28 00:00:00 +0000",
          { "2026-03-29 02:00:00 +0900", "2026-03-30 02:00:00 +0900" } },

        /* 1970 itself */

        { "* * * * *", "UTC", "1970-01-01 00:00:00 +0000",
          { "1970-01-01 00:01:00 +0000" } }
    };

    (void) state;

    for (i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
        assert_due(&due[i]);
    }
}


static void
test_a_time_that_is_skipped_in_spring_fires_after_the_gap(void **state)
{
    size_t  i;

    static const due_t  due[] = {

        /* 02:00 is 03:00 */

        { "30 2 * * *", "Europe/Berlin", "2026-03-28 02:30:00 +0100",
          { "2026-03-29 03:00:00 +0200", "2026-03-30 02:30:00 +0200" } },
        { "0 2 * * *", "Europe/Berlin", "2026-03-28 02:00:00 +0100",
          { "2026-03-29 03:00:00 +0200", "2026-03-30 02:00:00 +0200" } },

        /* once, however many were skipped; not again with one of its own */

        { "0,15,30,45 2 * * *", "Europe/Berlin", "2026-03-29 00:00:00 +0100",
          { "2026-03-29 03:00:00 +0200", "2026-03-30 02:00:00 +0200" } },
        { "0 2,3 * * *", "Europe/Berlin", "2026-03-29 00:00:00 +0100",
          { "2026-03-29 03:00:00 +0200", "2026-03-30 02:00:00 +0200" } },
        { "30 1,2 * * *", "Europe/Berlin", "2026-03-29 00:00:00 +0100",
          { "2026-03-29 01:30:00 +0100", "2026-03-29 03:00:00 +0200",
            "2026-03-30 01:30:00 +0200" } },

        /* just before and just at the gap */

        { "30 2 * * *", "Europe/Berlin", "2026-03-29 01:59:59 +0100",
          { "2026-03-29 03:00:00 +0200" } },
        { "30 2 * * *", "Europe/Berlin", "2026-03-29 03:00:00 +0200",
          { "2026-03-30 02:30:00 +0200" } },

        /* only on days that it is for */

        { "30 2 * * mon", "Europe/Berlin", "2026-03-28 02:30:00 +0100",
          { "2026-03-30 02:30:00 +0200" } },

        /* `*` and its steps go by elapsed time */

        { "30 * * * *", "Europe/Berlin", "2026-03-29 00:30:00 +0100",
          { "2026-03-29 01:30:00 +0100", "2026-03-29 03:30:00 +0200" } },
        { "*/30 2 * * *", "Europe/Berlin", "2026-03-28 02:30:00 +0100",
          { "2026-03-30 02:00:00 +0200" } },
        { "0 */2 * * *", "Europe/Berlin", "2026-03-29 00:00:00 +0100",
          { "2026-03-29 04:00:00 +0200" } },
        { "* * * * *", "Europe/Berlin", "2026-03-29 01:58:00 +0100",
          { "2026-03-29 01:59:00 +0100", "2026-03-29 03:00:00 +0200",
            "2026-03-29 03:01:00 +0200" } },

        { "30 2 * * *", "America/New_York", "2026-03-07 02:30:00 -0500",
          { "2026-03-08 03:00:00 -0400", "2026-03-09 02:30:00 -0400" } },

        /* half an hour: 02:00 is 02:30 */

        { "15 2 * * *", "Australia/Lord_Howe", "2026-10-03 02:15:00 +1030",
          { "2026-10-04 02:30:00 +1100", "2026-10-05 02:15:00 +1100" } },
        { "30 2 * * *", "Australia/Lord_Howe", "2026-10-03 02:30:00 +1030",
          { "2026-10-04 02:30:00 +1100", "2026-10-05 02:30:00 +1100" } },

        /* at midnight: 00:00 is 01:00 */

        { "0 0 * * *", "Africa/Cairo", "2026-04-23 00:00:00 +0200",
          { "2026-04-24 01:00:00 +0300", "2026-04-25 00:00:00 +0300" } },

        /* a day that an island left out is no daylight saving */

        { "0 12 30 12 *", "Pacific/Apia", "2011-12-01 00:00:00 -1000",
          { "2012-12-30 12:00:00 +1400" } }
    };

    (void) state;

    for (i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
        assert_due(&due[i]);
    }
}


static void
test_a_time_that_comes_twice_in_autumn_fires_once(void **state)
{
    size_t  i;

    static const due_t  due[] = {

        { "30 2 * * *", "Europe/Berlin", "2026-10-24 02:30:00 +0200",
          { "2026-10-25 02:30:00 +0200", "2026-10-26 02:30:00 +0100" } },
        { "0 3 * * *", "Europe/Berlin", "2026-10-24 03:00:00 +0200",
          { "2026-10-25 03:00:00 +0100", "2026-10-26 03:00:00 +0100" } },
        { "0 2 * * *", "Europe/Berlin", "2026-10-24 02:00:00 +0200",
          { "2026-10-25 02:00:00 +0200", "2026-10-26 02:00:00 +0100" } },

        /* asked between the two, and at the change itself */

        { "30 2 * * *", "Europe/Berlin", "2026-10-25 02:45:00 +0200",
          { "2026-10-26 02:30:00 +0100" } },
        { "30 2 * * *", "Europe/Berlin", "2026-10-25 02:00:00 +0100",
          { "2026-10-26 02:30:00 +0100" } },
        { "30 2 * * *", "Europe/Berlin", "2026-10-25 02:29:59 +0100",
          { "2026-10-26 02:30:00 +0100" } },
        { "*/30 2 * * *", "Europe/Berlin", "2026-10-25 01:00:00 +0200",
          { "2026-10-25 02:00:00 +0200", "2026-10-25 02:30:00 +0200",
            "2026-10-26 02:00:00 +0100" } },

        /* an hour that is `*` or a step of it fires in both */

        { "30 * * * *", "Europe/Berlin", "2026-10-25 01:30:00 +0200",
          { "2026-10-25 02:30:00 +0200", "2026-10-25 02:30:00 +0100",
            "2026-10-25 03:30:00 +0100" } },
        { "0 */2 * * *", "Europe/Berlin", "2026-10-25 00:00:00 +0200",
          { "2026-10-25 02:00:00 +0200", "2026-10-25 02:00:00 +0100",
            "2026-10-25 04:00:00 +0100" } },

        { "30 1 * * *", "America/New_York", "2026-10-31 01:30:00 -0400",
          { "2026-11-01 01:30:00 -0400", "2026-11-02 01:30:00 -0500" } },

        /* half an hour: 02:00 is 01:30 */

        { "45 1 * * *", "Australia/Lord_Howe", "2026-04-04 01:45:00 +1100",
          { "2026-04-05 01:45:00 +1100", "2026-04-06 01:45:00 +1030" } },
        { "45 * * * *", "Australia/Lord_Howe", "2026-04-05 00:45:00 +1100",
          { "2026-04-05 01:45:00 +1100", "2026-04-05 01:45:00 +1030",
            "2026-04-05 02:45:00 +1030" } },

        /* at midnight: the day before comes twice, in part */

        { "30 23 * * *", "Africa/Cairo", "2026-10-28 23:30:00 +0300",
          { "2026-10-29 23:30:00 +0300", "2026-10-30 23:30:00 +0200" } }
    };

    (void) state;

    for (i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
        assert_due(&due[i]);
    }
}


static void
test_every_fires_at_multiples_since_the_epoch(void **state)
{
    faas_cron_t  c;

    (void) state;

    parse("@every 10s", &c);
    assert_int_equal(c.every_ms, 10000);
    assert_true(faas_cron_next(&c, "UTC", 0) == 10000);
    assert_true(faas_cron_next(&c, "UTC", 9999) == 10000);
    assert_true(faas_cron_next(&c, "UTC", 10000) == 20000);
    assert_true(faas_cron_next(&c, "UTC", 1792888200123) == 1792888210000);
    assert_true(faas_cron_next(&c, "UTC", -5) == 10000);

    parse("@every 1m30s", &c);
    assert_int_equal(c.every_ms, 90000);
}


static void
test_what_never_comes_is_minus_one(void **state)
{
    faas_cron_t  c;

    (void) state;

    parse("0 0 29 2 *", &c);
    c.day = 1u << 30;
    assert_true(faas_cron_next(&c, "Europe/Berlin",
                               at("2026-01-01 00:00:00 +0000")) == -1);
}


static void
test_tz_of_the_process_is_as_it_was(void **state)
{
    time_t       t;
    struct tm    tm;
    faas_cron_t  c;

    (void) state;

    parse("0 0 * * *", &c);
    t = 1792888200;

    assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
    tzset();
    assert_true(faas_cron_next(&c, "Europe/Berlin", 0) > 0);
    assert_string_equal(getenv("TZ"), "Asia/Tokyo");
    assert_non_null(localtime_r(&t, &tm));
    assert_int_equal(tm.tm_gmtoff, 9 * 3600);

    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
    assert_true(faas_cron_next(&c, "Europe/Berlin", 0) > 0);
    assert_null(getenv("TZ"));
}


/* 0 .. n - 1, the same in each run */

static unsigned
chance(uint32_t *seed, unsigned n)
{
    *seed = *seed * 1664525u + 1013904223u;

    return (*seed >> 16) % n;
}


/* -- against each minute --------------------------------------------------- */

static int
matches(const faas_cron_t *c, int64_t local)
{
    int        day, weekday;
    time_t     t;
    struct tm  tm;

    t = (time_t) local;
    assert_non_null(gmtime_r(&t, &tm));

    day = (c->day >> tm.tm_mday) & 1;
    weekday = (c->weekday >> tm.tm_wday) & 1;

    return ((c->minute >> tm.tm_min) & 1) && ((c->hour >> tm.tm_hour) & 1)
           && ((c->month >> (tm.tm_mon + 1)) & 1)
           && (c->day_star || c->weekday_star ? day && weekday
                                              : day || weekday);
}


static int64_t
local_time(int64_t t)
{
    time_t     sec;
    struct tm  tm;

    sec = (time_t) t;
    assert_non_null(localtime_r(&sec, &tm));

    return t + tm.tm_gmtoff;
}


/* by the rules of faas_cron.h, word for word */

static int
fires(const faas_cron_t *c, int64_t t, int64_t latest)
{
    int64_t  local, skipped;

    local = local_time(t);

    if (matches(c, local) && (c->hour_star || local > latest)) {
        return 1;
    }

    if (c->hour_star || c->minute_star) {
        return 0;
    }

    for (skipped = local_time(t - 60) + 60; skipped < local; skipped += 60) {
        if (matches(c, skipped)) {
            return 1;
        }
    }

    return 0;
}


static void
compare(const char *text, const char *zone, int64_t from, int64_t to)
{
    int64_t      t, due, latest;
    faas_cron_t  c;

    parse(text, &c);

    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();

    latest = local_time(from);
    due = faas_cron_next(&c, zone, from * 1000);

    for (t = from + 60; t < to; t += 60) {

        if (fires(&c, t, latest)) {

            if (due != t * 1000) {
                fail_msg("\"%s\" in %s is due at %lld, not at %lld", text,
                         zone, (long long) t, (long long) due / 1000);
            }

            due = faas_cron_next(&c, zone, due);
        }

        if (local_time(t) > latest) {
            latest = local_time(t);
        }
    }

    assert_true(due == -1 || due >= to * 1000);
}


static void
test_each_minute_around_changes_is_as_the_rules_say(void **state)
{
    char         text[64];
    char         minute[16], hour[16];
    size_t       i, n;
    uint32_t     seed;

    static const struct {
        const char  *zone;
        const char  *change;
    } changes[] = {
        { "Europe/Berlin", "2026-03-29 03:00:00 +0200" },
        { "Europe/Berlin", "2026-10-25 02:00:00 +0100" },
        { "America/New_York", "2026-03-08 03:00:00 -0400" },
        { "America/New_York", "2026-11-01 01:00:00 -0500" },
        { "Australia/Lord_Howe", "2026-10-04 02:30:00 +1100" },
        { "Australia/Lord_Howe", "2026-04-05 01:30:00 +1030" },
        { "Africa/Cairo", "2026-04-24 01:00:00 +0300" },
        { "Africa/Cairo", "2026-10-29 23:00:00 +0200" },
        { "Asia/Kolkata", "2026-03-29 03:00:00 +0530" },
        { "UTC", "2026-03-29 01:00:00 +0000" },

        /* two hours */
        { "Antarctica/Troll", "2026-03-29 03:00:00 +0200" },
        { "Antarctica/Troll", "2026-10-25 01:00:00 +0000" }
    };

    (void) state;

    seed = 4711;

    for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {

        for (n = 0; n < 60; n++) {

            if (chance(&seed, 4) == 0) {
                (void) snprintf(minute, sizeof(minute), "*/%u",
                                1 + chance(&seed, 40));

            } else {
                (void) snprintf(minute, sizeof(minute), "%u,%u",
                                chance(&seed, 60), chance(&seed, 60));
            }

            if (chance(&seed, 3) == 0) {
                (void) snprintf(hour, sizeof(hour), "*/%u",
                                1 + chance(&seed, 5));

            } else {
                (void) snprintf(hour, sizeof(hour), "%u,%u,23",
                                chance(&seed, 4), chance(&seed, 4));
            }

            (void) snprintf(text, sizeof(text), "%s %s * * %s", minute, hour,
                            chance(&seed, 3) == 0 ? "sun" : "*");

            compare(text, changes[i].zone,
                    at(changes[i].change) / 1000 - 2 * 86400,
                    at(changes[i].change) / 1000 + 2 * 86400);
        }
    }

    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
}


static void
test_whatever_the_bytes_parsing_ends(void **state)
{
    char         text[24], why[160];
    size_t       i, n, length;
    uint32_t     seed;
    faas_cron_t  c;

    static const char  alphabet[] = "0123456789*,-/ @7evrysunjan\t\x80";

    (void) state;

    seed = 1;

    for (n = 0; n < 200000; n++) {
        length = chance(&seed, (unsigned) sizeof(text));

        for (i = 0; i < length; i++) {
            text[i] = alphabet[chance(&seed, (unsigned) sizeof(alphabet))];
        }

        why[0] = '\0';

        if (faas_cron_parse(text, length, &c, why, sizeof(why)) == 0) {
            assert_true(c.every_ms || (c.minute && c.hour && c.day && c.month
                                       && c.weekday));

        } else {
            assert_true(why[0] != '\0');
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_fields_become_bits),
        cmocka_unit_test(test_sunday_is_0_and_7_and_the_end_of_a_week),
        cmocka_unit_test(test_names_are_what_they_stand_for),
        cmocka_unit_test(test_each_mistake_is_named),
        cmocka_unit_test(test_a_zero_byte_and_a_cut_text_are_no_field),
        cmocka_unit_test(test_zones_are_those_of_this_machine),
        cmocka_unit_test(test_days_and_months),
        cmocka_unit_test(
            test_a_time_that_is_skipped_in_spring_fires_after_the_gap),
        cmocka_unit_test(test_a_time_that_comes_twice_in_autumn_fires_once),
        cmocka_unit_test(test_every_fires_at_multiples_since_the_epoch),
        cmocka_unit_test(test_what_never_comes_is_minus_one),
        cmocka_unit_test(test_tz_of_the_process_is_as_it_was),
        cmocka_unit_test(test_each_minute_around_changes_is_as_the_rules_say),
        cmocka_unit_test(test_whatever_the_bytes_parsing_ends)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
