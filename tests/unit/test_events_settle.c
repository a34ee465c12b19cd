/* objects: baas/events_settle.c baas/events_answer.c */

/*
 * What an answer means for the messages that it is about.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "events_settle.h"
#include "faas_event.h"


#define MAX  INT64_MAX


static events_answer_t
answered(int status, const char *headers)
{
    events_answer_t  a;

    memset(&a, 0, sizeof(a));
    a.code = FAAS_OK;
    a.status = status;
    a.headers = headers;
    a.body.data = "";
    a.reason = "";

    return a;
}


static events_outcome_e
outcome(int status, const char *headers)
{
    events_answer_t  a;

    a = answered(status, headers);

    return events_settle_outcome(&a);
}


static void
test_statuses_of_the_function(void **state)
{
    (void) state;

    assert_int_equal(outcome(200, ""), EVENTS_DONE);
    assert_int_equal(outcome(204, ""), EVENTS_DONE);
    assert_int_equal(outcome(299, ""), EVENTS_DONE);
    assert_int_equal(outcome(302, ""), EVENTS_ANSWERED);
    assert_int_equal(outcome(404, ""), EVENTS_ANSWERED);
    assert_int_equal(outcome(429, ""), EVENTS_ANSWERED);
    assert_int_equal(outcome(500, ""), EVENTS_FAILED);
    assert_int_equal(outcome(503, "Retry-After: 1\n"), EVENTS_FAILED);
}


static void
test_refusals_of_the_platform(void **state)
{
    int   i;
    char  line[128];

    static const char *const  refused[] = {
        "connection_limit_reached", "connection_timeout",
        "destination_unavailable", "destination_not_found",
        "http_request_denied"
    };

    static const char *const  ran[] = {
        "http_response_timeout", "connection_terminated",
        "proxy_loop_detected", "destination_not_foundling",
        "destination", ""
    };

    (void) state;

    for (i = 0; i < 5; i++) {
        (void) snprintf(line, sizeof(line), "Server: x\nproxy-status: "
                        "nginx-faas; error=%s; details=\"y\"\n", refused[i]);
        assert_int_equal(outcome(503, line), EVENTS_REFUSED);
        assert_int_equal(outcome(404, line), EVENTS_REFUSED);

        /* a function that says so with a success has run */
        assert_int_equal(outcome(200, line), EVENTS_DONE);

        (void) snprintf(line, sizeof(line), "Proxy-Status: "
                        "nginx-faas; error=%s\n", refused[i]);
        assert_int_equal(outcome(502, line), EVENTS_REFUSED);

        (void) snprintf(line, sizeof(line), "Proxy-Status: "
                        "another; error=%s\n", refused[i]);
        assert_int_equal(outcome(503, line), EVENTS_FAILED);
    }

    for (i = 0; i < 6; i++) {
        (void) snprintf(line, sizeof(line), "Proxy-Status: "
                        "nginx-faas; error=%s; details=\"y\"\n", ran[i]);
        assert_int_equal(outcome(504, line), EVENTS_FAILED);
    }
}


static void
test_calls_without_an_answer(void **state)
{
    events_answer_t  a;

    (void) state;

    a = answered(0, "");
    a.code = FAAS_EUNAVAILABLE;
    assert_int_equal(events_settle_outcome(&a), EVENTS_REFUSED);
    a.code = FAAS_ETIMEDOUT;
    assert_int_equal(events_settle_outcome(&a), EVENTS_FAILED);
    a.code = FAAS_ERROR;
    assert_int_equal(events_settle_outcome(&a), EVENTS_FAILED);
    a.code = FAAS_EINVAL;
    assert_int_equal(events_settle_outcome(&a), EVENTS_FAILED);
}


static void
test_back_off_grows_and_stays_between_its_bounds(void **state)
{
    uint32_t  n;
    uint64_t  chance;
    int64_t   ms, least, most;

    (void) state;

    for (n = 1; n <= 100; n++) {
        least = MAX;
        most = 0;

        for (chance = 0; chance < 4096; chance++) {
            ms = events_settle_backoff(n, 1000, 60000,
                                       chance * 0x9e3779b97f4a7c15ull);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }

        assert_true(least >= 1000);
        assert_true(most <= 60000);
        assert_true(least < 1200);          /* full jitter */

        if (n == 1) {
            assert_true(most > 1900 && most <= 2000);
        }

        if (n == 3) {
            assert_true(most > 7500 && most <= 8000);
        }

        if (n >= 6) {
            assert_true(most > 58000);
        }
    }

    /* odd bounds */

    assert_int_equal(events_settle_backoff(5, 10, 10, 77), 10);
    assert_int_equal(events_settle_backoff(5, 10, 5, 77), 5);
    assert_int_equal(events_settle_backoff(5, 0, 0, 77), 0);
    assert_int_equal(events_settle_backoff(0, 10, 100, 77), 10);
    assert_true(events_settle_backoff(UINT32_MAX, 1, MAX, UINT64_MAX) >= 1);
}


static void
fates(int status, const char *headers, size_t n, const char *expected)
{
    size_t           i;
    char             got[64];
    events_fate_t    fate[FAAS_BATCH_MAX];
    events_answer_t  a;

    a = answered(status, headers);
    memset(fate, 0x55, sizeof(fate));
    events_settle_batch(&a, fate, n);

    for (i = 0; i < n; i++) {
        got[i] = !fate[i].again ? 'd' : fate[i].delay_ms == -1 ? 'r'
                 : (char) ('0' + fate[i].delay_ms);
    }

    got[n] = '\0';
    assert_string_equal(got, expected);
}


static void
test_batches(void **state)
{
    (void) state;

    fates(200, "", 4, "dddd");
    fates(500, "", 4, "rrrr");
    fates(404, "", 1, "r");
    fates(200, "Faas-Retry: 0\n", 1, "r");
    fates(200, "X: y\nfaas-retry:1;5,3\n", 4, "d5dr");
    fates(200, "Faas-Retry:  1 ; 5 , 3 ;0\n", 4, "d5d0");
    fates(500, "Faas-Done: 0, 2\n", 4, "drdr");
    fates(500, "Faas-Done: 0, 2\nFaas-Retry: 1;7\n", 4, "d7dr");
    fates(500, "Faas-Done: 1\nFaas-Retry: 1\n", 2, "rr");
    fates(200, "Faas-Done: 0\n", 2, "dd");
}


static void
test_done_that_is_said_wrongly_says_nothing(void **state)
{
    (void) state;

    fates(500, "Faas-Done: 7;1, 1;9, 3;x, 2 0, -1, x, ;, 0x1,"
               " 99999999999999999999\n", 4, "rdrr");
}


/* nobody knows which one it meant, so none is taken for done */

static void
test_retry_that_is_said_wrongly_loses_nothing(void **state)
{
    size_t  i;
    char    header[64];

    static const char *const  wrong[] = {
        "4", "-1", "99999999999999999999", "x", ";", "0x1", "1 2", "all",
        "true", "30s", "0-3", "\xff", "18446744073709551616"
    };

    (void) state;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void) snprintf(header, sizeof(header), "Faas-Retry: %s\n", wrong[i]);
        fates(200, header, 4, "rrrr");

        (void) snprintf(header, sizeof(header), "Faas-Retry: 2;7, %s\n",
                        wrong[i]);
        fates(201, header, 4, "rr7r");
    }

    /* what is said to be done beside another status is done */

    fates(500, "Faas-Done: 1\nFaas-Retry: x\n", 2, "rd");

    fates(200, "Faas-Retry:\n", 2, "dd");
    fates(200, "Faas-Retry: , ,\n", 2, "dd");
    fates(200, "Faas-Retry\n", 2, "dd");
}


static void
test_a_delay_that_is_no_number_is_the_back_off(void **state)
{
    events_fate_t    fate[2];
    events_answer_t  a;

    (void) state;

    fates(200, "Faas-Retry: 1;x, 2;-1, 3;5s\n", 4, "drrr");

    a = answered(200, "Faas-Retry: 0;99999999999999999999\n");
    events_settle_batch(&a, fate, 2);
    assert_true(fate[0].again && !fate[1].again);
    assert_true(fate[0].delay_ms == 365ll * 24 * 3600 * 1000);
}


static void
test_headers_of_one_name_are_one_list(void **state)
{
    size_t  i, n;
    char    headers[8000];

    (void) state;

    fates(200, "Faas-Retry: 0\nX: y\nFaas-Retry: 2;3\n", 4, "rd3d");
    fates(500, "Faas-Done: 0\nFaas-Done: 3\n", 4, "drrd");

    /* long ones count, too */

    n = (size_t) sprintf(headers, "Faas-Retry: 1");

    for (i = 0; i < 3000; i++) {
        n += (size_t) sprintf(headers + n, ",1");
    }

    (void) sprintf(headers + n, ",2\n");
    fates(200, headers, 4, "drrd");
}


static void
test_a_lost_call_is_again_whatever_was_received(void **state)
{
    events_fate_t    fate[2];
    events_answer_t  a;

    (void) state;

    a = answered(200, "Faas-Done: 0\n");
    a.code = FAAS_ERROR;
    events_settle_batch(&a, fate, 2);
    assert_int_equal(fate[0].again, 1);
    assert_int_equal(fate[1].again, 1);
}


static void
test_headers_are_found_in_any_case_and_bounded(void **state)
{
    char             buf[8];
    events_answer_t  a;

    (void) state;

    a = answered(200, "Xa: no\nA-B: 1234567\nLong: 12345678\nC:\nA-B: second\n"
                      "Last: x");
    assert_string_equal(events_answer_header(&a, "a-b", buf, sizeof(buf)),
                        "1234567");
    assert_null(events_answer_header(&a, "Long", buf, sizeof(buf)));
    assert_string_equal(events_answer_header(&a, "C", buf, sizeof(buf)), "");
    assert_string_equal(events_answer_header(&a, "last", buf, sizeof(buf)),
                        "x");
    assert_null(events_answer_header(&a, "a", buf, sizeof(buf)));
    assert_null(events_answer_header(&a, "A-B: 1", buf, sizeof(buf)));

    a.headers = NULL;
    assert_null(events_answer_header(&a, "a", buf, sizeof(buf)));
}


static void
test_reasons_are_one_printable_line(void **state)
{
    char             buf[64], small[8];
    events_answer_t  a;

    (void) state;

    a = answered(500, "");
    events_settle_reason(&a, buf, sizeof(buf));
    assert_string_equal(buf, "status 500");

    a.body.data = "no \001such\torder\r\nX: y";
    a.body.size = strlen(a.body.data);
    events_settle_reason(&a, buf, sizeof(buf));
    assert_string_equal(buf, "status 500: no ?such?order");
    events_settle_reason(&a, small, sizeof(small));
    assert_string_equal(small, "status ");

    a = answered(504, "Proxy-Status: nginx-faas; error=x\n");
    events_settle_reason(&a, buf, sizeof(buf));
    assert_string_equal(buf, "status 504: nginx-faas; error=x");

    a.code = FAAS_ETIMEDOUT;
    a.reason = "no answer in 5 s";
    events_settle_reason(&a, buf, sizeof(buf));
    assert_string_equal(buf, "no answer in 5 s");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_statuses_of_the_function),
        cmocka_unit_test(test_refusals_of_the_platform),
        cmocka_unit_test(test_calls_without_an_answer),
        cmocka_unit_test(test_back_off_grows_and_stays_between_its_bounds),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_done_that_is_said_wrongly_says_nothing),
        cmocka_unit_test(test_retry_that_is_said_wrongly_loses_nothing),
        cmocka_unit_test(test_a_delay_that_is_no_number_is_the_back_off),
        cmocka_unit_test(test_headers_of_one_name_are_one_list),
        cmocka_unit_test(test_a_lost_call_is_again_whatever_was_received),
        cmocka_unit_test(test_headers_are_found_in_any_case_and_bounded),
        cmocka_unit_test(test_reasons_are_one_printable_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
