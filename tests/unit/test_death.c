/* objects: worker/death.c worker/oom.c base/loop.c base/log.c scoreboard/faas_tally.c */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "death.h"
#include "oom.h"


static char  text[DEATH_REQUEST_SIZE];


static faas_page_t *
page_of(const char *id, const char *method, const char *uri)
{
    static faas_page_t  page;

    memset(&page, 0, sizeof(page));

    atomic_store(&page.begun, 7);
    atomic_store(&page.ended, 6);
    atomic_store(&page.id_length, (uint32_t) strlen(id));
    memcpy(page.id, id, strlen(id));
    atomic_store(&page.method_length, (uint32_t) strlen(method));
    memcpy(page.method, method, strlen(method));
    atomic_store(&page.uri_length, (uint32_t) strlen(uri));
    memcpy(page.uri, uri, strlen(uri));

    return &page;
}


static void
test_running_request_is_named(void **state)
{
    (void) state;

    death_request(page_of("abc", "GET", "/a?b=c"), 0, text);
    assert_string_equal(text, "request \"abc\" \"GET /a?b=c\"");
}


static void
test_no_request_is_said(void **state)
{
    faas_page_t  *page;

    (void) state;

    page = page_of("abc", "GET", "/");
    atomic_store(&page->ended, 7);

    death_request(page, 0, text);
    assert_string_equal(text, "no request was running");

    /* the one that the instance was ended for */

    death_request(page, 1, text);
    assert_string_equal(text, "request \"abc\" \"GET /\"");

    death_request(NULL, 0, text);
    assert_string_equal(text, "no request was running");
}


static void
test_what_is_not_printable_is_escaped(void **state)
{
    (void) state;

    death_request(page_of("a\n[alert] x", "G\"T", "/\\\x7f\xff\r"), 0, text);
    assert_string_equal(text, "request \"a\\x0A[alert] x\" "
                        "\"G\\x22T /\\x5C\\x7F\\xFF\\x0D\"");
}


static void
test_long_uri_is_cut_and_marked(void **state)
{
    faas_page_t  *page;

    (void) state;

    page = page_of("a", "GET", "");
    memset(page->uri, 'u', FAAS_PAGE_URI);
    atomic_store(&page->uri_length, 5000);

    death_request(page, 0, text);
    assert_int_equal(strlen(text), strlen("request \"a\" \"GET \"")
                                   + FAAS_PAGE_URI
                                   + strlen(" (cut, 5000 bytes)"));
    assert_non_null(strstr(text, "uuu\" (cut, 5000 bytes)"));
}


static void
test_garbage_of_any_length_stays_in_its_bounds(void **state)
{
    struct {
        faas_page_t  page;
        char         after[64];
    } hostile;

    struct {
        char  text[DEATH_REQUEST_SIZE];
        char  after[64];
    } line;

    (void) state;

    memset(&hostile, 0xff, sizeof(hostile));
    atomic_store(&hostile.page.ended, 0);
    memset(hostile.after, 'Q', sizeof(hostile.after));
    memset(&line, 'y', sizeof(line));

    death_request(&hostile.page, 0, line.text);

    assert_true(strlen(line.text) < DEATH_REQUEST_SIZE);
    assert_null(strchr(line.text, 'Q'));
    assert_non_null(strstr(line.text, "(cut, 4294967295 bytes)"));
    assert_int_equal(line.after[0], 'y');
}


static void
test_escape_never_writes_half_a_byte_or_beyond(void **state)
{
    char    dst[8];
    size_t  size;

    (void) state;

    for (size = 1; size <= sizeof(dst); size++) {
        memset(dst, 'z', sizeof(dst));
        assert_int_equal(death_escape(dst, size, "\n\n\n", 3),
                         (size - 1) / 4 * 4);
        assert_int_equal(dst[(size - 1) / 4 * 4], '\0');

        if (size < sizeof(dst)) {
            assert_int_equal(dst[size], 'z');
        }
    }
}


static void
test_kinds(void **state)
{
    size_t    i;
    uint32_t  code;

    /* wait status: low byte the signal, next one the exit code */

    static const struct {
        death_t       death;
        faas_death_e  kind;
        uint32_t      code;
    } table[] = {
        { { FAAS_CAUSE_NONE, SIGSEGV, 0, 0 }, FAAS_DEATH_SIGNAL, SIGSEGV },
        { { FAAS_CAUSE_NONE, SIGKILL, 0, 0 }, FAAS_DEATH_KILLED, SIGKILL },
        { { FAAS_CAUSE_NONE, SIGKILL, 0, 1 }, FAAS_DEATH_OOM, SIGKILL },
        { { FAAS_CAUSE_NONE, 3 << 8, 0, 0 }, FAAS_DEATH_EXIT, 3 },
        { { FAAS_CAUSE_NONE, 0, 0, 0 }, FAAS_DEATH_EXIT, 0 },
        { { FAAS_CAUSE_NONE, 1 << 8, 1, 0 }, FAAS_DEATH_START, 1 },
        { { FAAS_CAUSE_NONE, -1, 0, 0 }, FAAS_DEATH_LOST, 0 },
        { { FAAS_CAUSE_RETIRED, SIGSEGV, 0, 0 }, FAAS_DEATH_SIGNAL, SIGSEGV },
        { { FAAS_CAUSE_TIMEOUT, 0, 0, 0 }, FAAS_DEATH_TIMEOUT, 0 },
        { { FAAS_CAUSE_MEMORY, SIGKILL, 0, 0 }, FAAS_DEATH_OOM, SIGKILL },
        { { FAAS_CAUSE_NOT_READY, SIGKILL, 1, 0 }, FAAS_DEATH_START,
          SIGKILL },
        { { FAAS_CAUSE_NOT_RETIRED, SIGKILL, 0, 0 }, FAAS_DEATH_STUCK,
          SIGKILL },
        { { FAAS_CAUSE_ORPHANED, -1, 0, 0 }, FAAS_DEATH_TEMPLATE, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(death_kind(&table[i].death, &code), table[i].kind);
        assert_int_equal(code, table[i].code);
    }
}


static void
test_tally_has_all_counts_and_the_last_few(void **state)
{
    uint32_t             i;
    faas_death_t         d;
    static faas_tally_t  tally;

    (void) state;

    assert_int_equal(faas_tally_read(&tally, 0, &d), FAAS_DECLINED);

    for (i = 0; i < 3 * FAAS_TALLY_LAST; i++) {
        faas_tally_add(&tally, i % 2 ? FAAS_DEATH_EXIT : FAAS_DEATH_OOM, i,
                       100 + i, "0123456789ab", 1000 + i);
    }

    assert_int_equal(tally.total, 3 * FAAS_TALLY_LAST);
    assert_int_equal(tally.count[FAAS_DEATH_EXIT], 3 * FAAS_TALLY_LAST / 2);

    for (i = 0; i < FAAS_TALLY_LAST; i++) {
        assert_int_equal(faas_tally_read(&tally, i, &d), FAAS_OK);
        assert_int_equal(d.code, 3 * FAAS_TALLY_LAST - 1 - i);
        assert_int_equal(d.slot, 100 + d.code);
        assert_int_equal(d.at, 1000 + d.code);
        assert_string_equal(d.version, "0123456789a");
    }

    assert_int_equal(faas_tally_read(&tally, FAAS_TALLY_LAST, &d),
                     FAAS_DECLINED);
    assert_string_equal(faas_death_name(FAAS_DEATH_LOST), "lost");
    assert_string_equal(faas_death_name(FAAS_DEATHS), "unknown");
}


static void
test_oom_counter_is_found(void **state)
{
    (void) state;

    assert_int_equal(oom_parse("low 0\nhigh 0\noom 1\noom_kill 12\n"), 12);
    assert_int_equal(oom_parse("oom_kill 3"), 3);
    assert_int_equal(oom_parse("oom 4\noom_group_kill 5\n"), -1);
    assert_int_equal(oom_parse(""), -1);
}


static void
test_a_kill_is_the_kernels_only_soon_after_its_count_rose(void **state)
{
    oom_t  oom;

    (void) state;

    memset(&oom, 0, sizeof(oom));

    oom_count(&oom, 5, 10000);
    assert_int_equal(oom_take(&oom, 10000), 0);

    oom_count(&oom, 7, 20000);
    assert_int_equal(oom_take(&oom, 20001), 1);
    assert_int_equal(oom_take(&oom, 20001), 1);
    assert_int_equal(oom_take(&oom, 20001), 0);

    oom_count(&oom, 8, 30000);
    assert_int_equal(oom_take(&oom, 30001 + OOM_RECENT_MS), 0);

    oom_count(&oom, 9, 40000);
    oom_count(&oom, -1, 40001);
    assert_int_equal(oom_take(&oom, 40001), 1);
    assert_int_equal(oom_take(&oom, 40001), 0);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_running_request_is_named),
        cmocka_unit_test(test_no_request_is_said),
        cmocka_unit_test(test_what_is_not_printable_is_escaped),
        cmocka_unit_test(test_long_uri_is_cut_and_marked),
        cmocka_unit_test(test_garbage_of_any_length_stays_in_its_bounds),
        cmocka_unit_test(test_escape_never_writes_half_a_byte_or_beyond),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_tally_has_all_counts_and_the_last_few),
        cmocka_unit_test(test_oom_counter_is_found),
        cmocka_unit_test(
                       test_a_kill_is_the_kernels_only_soon_after_its_count_rose),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
