/* objects: worker/routes.c scoreboard/faas_routes.c */
/* objects: scoreboard/faas_scoreboard.c base/loop.c base/log.c */
/* libs: -lpcre2-8 */

/*
 * What the supervisor publishes of what functions declare.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "routes.h"


#define GH  (FAAS_METHOD_GET | FAAS_METHOD_HEAD)


static char  refusals[4096];


static void
refused(const routes_source_t *source, const faas_route_spec_t *spec,
    const routes_source_t *other)
{
    size_t  n;

    n = strlen(refusals);
    (void) snprintf(refusals + n, sizeof(refusals) - n, "%s %.*s %s;",
                    source->name, (int) spec->length, spec->pattern,
                    other ? other->name : "-");
}


static routes_source_t
source(uint32_t index, const char *name, const char *routes,
    const char *prefix)
{
    routes_source_t  s;

    memset(&s, 0, sizeof(s));
    s.function = index;
    s.generation = index + 100;
    s.name = name;
    s.routes = routes;
    s.length = strlen(routes);
    s.prefix = prefix;

    return s;
}


/* the table as text: "function/methods/pattern " for each record */

static const char *
table(const char *buf, size_t n)
{
    size_t               offset, used;
    const faas_route_t  *r;

    static char  text[8192];

    text[0] = '\0';
    used = 0;
    offset = 0;

    while ((r = faas_route_at(buf, n, &offset)) != NULL) {
        assert_int_equal(r->generation, r->function + 100);
        used += (size_t) snprintf(text + used, sizeof(text) - used,
                                  "%u/%x/%s ", r->function, r->methods,
                                  faas_route_pattern(r));
    }

    assert_int_equal(offset, n);

    return text;
}


static const char *
build(const routes_source_t *s, size_t n, size_t size, int *full)
{
    size_t  used;

    static char  buf[65536] __attribute__((aligned(8)));

    refusals[0] = '\0';
    used = routes_build(s, n, buf, size ? size : sizeof(buf), refused, full);

    return table(buf, used);
}


static void
test_each_function_has_its_record(void **state)
{
    int              full;
    routes_source_t  s[2];

    (void) state;

    s[0] = source(7, "a", "", NULL);
    s[1] = source(3, "b", "GET /b/(?<id>[0-9]+)\n/any", NULL);

    assert_string_equal(build(s, 2, 0, &full),
                        "7/0/ 3/0/ 3/3//b/(?<id>[0-9]+) 3/ffff//any ");
    assert_int_equal(full, 0);
}


static void
test_the_older_keeps_a_route(void **state)
{
    int              full;
    routes_source_t  s[3];

    (void) state;

    s[0] = source(1, "old", "GET /x\nPOST /y", NULL);
    s[1] = source(2, "new", "GET /x\nPUT /x\n/y\nPOST /y", NULL);
    s[2] = source(3, "third", "HEAD /x", NULL);

    assert_string_equal(build(s, 3, 0, &full),
                        "1/0/ 2/0/ 3/0/ 1/3//x 1/4//y 2/8//x 2/ffff//y ");
    assert_string_equal(refusals, "new /x old;third /x old;");
    assert_int_equal(full, 0);
}


static void
test_a_route_twice_in_one_function_is_one(void **state)
{
    int              full;
    routes_source_t  s;

    (void) state;

    s = source(1, "a", "GET /x\nGET /x\n", NULL);

    assert_string_equal(build(&s, 1, 0, &full), "1/0/ 1/3//x ");
    assert_string_equal(refusals, "");
}


static void
test_prefix_limits_what_is_claimed(void **state)
{
    int              full;
    routes_source_t  s;

    (void) state;

    s = source(1, "a", "/a/x\n/b/x\n(/a)/x\n/a\n/a/|/b\n/a/.*", "/a/");

    assert_string_equal(build(&s, 1, 0, &full),
                        "1/0/ 1/ffff//a/x 1/ffff//a/.* ");
    assert_string_equal(refusals,
                        "a /b/x -;a (/a)/x -;a /a -;a /a/|/b -;");
}


static void
test_full_table_keeps_the_names(void **state)
{
    int              full;
    routes_source_t  s[2];

    (void) state;

    s[0] = source(1, "a", "/a-long-pattern-that-does-not-fit-any-more", NULL);
    s[1] = source(2, "b", "/b", NULL);

    assert_string_equal(build(s, 2, 3 * 32, &full), "1/0/ 2/0/ 2/ffff//b ");
    assert_int_equal(full, 1);
    assert_string_equal(refusals,
                        "a /a-long-pattern-that-does-not-fit-any-more -;");
}


static void
test_many_functions_with_the_same_route(void **state)
{
    int               full;
    char              routes[32];
    size_t            i, n, used, offset, records;
    char             *buf;
    routes_source_t  *s;

    (void) state;

    n = 3000;
    s = calloc(n, sizeof(routes_source_t));
    buf = calloc(1, 1 << 20);
    assert_non_null(s);
    assert_non_null(buf);

    for (i = 0; i < n; i++) {
        (void) sprintf(routes, "/same\n/own/%zu", i);
        s[i] = source((uint32_t) i, "x", strdup(routes), NULL);
    }

    used = routes_build(s, n, buf, 1 << 20, refused, &full);
    assert_int_equal(full, 0);

    records = 0;
    offset = 0;

    while (faas_route_at(buf, used, &offset) != NULL) {
        records++;
    }

    assert_int_equal(records, 2 * n + 1);

    for (i = 0; i < n; i++) {
        free((char *) s[i].routes);
    }

    free(buf);
    free(s);
}


static void
test_publication_raises_the_epoch_and_spares_the_read_buffer(void **state)
{
    int                   full;
    uint64_t              epoch;
    routes_source_t       s;
    faas_scoreboard_t    *sb;
    faas_route_buffer_t  *before, *after;

    (void) state;

    sb = calloc(1, FAAS_SCOREBOARD_SIZE_MIN);
    assert_non_null(sb);
    assert_int_equal(faas_scoreboard_format(sb, FAAS_SCOREBOARD_SIZE_MIN,
                                            "x"), FAAS_OK);

    s = source(1, "a", "/one", NULL);
    routes_publish(sb, &s, 1, refused, &full);
    epoch = atomic_load(&sb->route_epoch);
    before = faas_scoreboard_routes(sb, epoch);
    assert_string_equal(table(before->data, before->length),
                        "1/0/ 1/ffff//one ");

    s = source(1, "a", "/two", NULL);
    routes_publish(sb, &s, 1, refused, &full);
    assert_int_equal(atomic_load(&sb->route_epoch), epoch + 1);
    after = faas_scoreboard_routes(sb, epoch + 1);
    assert_ptr_not_equal(before, after);
    assert_string_equal(table(before->data, before->length),
                        "1/0/ 1/ffff//one ");
    assert_string_equal(table(after->data, after->length),
                        "1/0/ 1/ffff//two ");

    free(sb);
}


static void
test_bad_patterns_are_refused_with_their_offset(void **state)
{
    char    why[ROUTES_WHY_SIZE], *text;
    size_t  i, n;

    static const struct {
        const char  *routes, *why;
    } bad[] = {
        { "GET /a(b", "missing closing parenthesis at offset 4" },
        { "GET /ok\nGET /a[b", "\"/a[b\": missing terminating ] for "
          "character class at offset 4" },
        { "GET /a\\C", "\\C is disabled" },
        { "BREW /a", "BREW" },
        { "GET /(?<n>a)(?<n>b)", "offset" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why[0] = '\0';
        assert_int_equal(routes_check(bad[i].routes, strlen(bad[i].routes),
                                      why), -1);

        if (strstr(why, bad[i].why) == NULL) {
            fail_msg("\"%s\" says nothing of \"%s\"", why, bad[i].why);
        }
    }

    assert_int_equal(routes_check("", 0, why), 0);
    assert_int_equal(routes_check("GET /a\n\nPOST /(?<id>\\d+)\n", 25, why),
                     0);

    /* a long one, many, and nested too deep */

    n = 6000 * 6;
    text = malloc(n + 1);
    assert_non_null(text);

    memset(text, 'a', 1100);
    text[0] = '/';
    assert_int_equal(routes_check(text, 1024, why), 0);
    assert_int_equal(routes_check(text, 1025, why), -1);

    for (i = 0; i < 6000; i++) {
        (void) sprintf(text + i * 6, "/%04zu\n", i);
    }

    assert_int_equal(routes_check(text, 4096 * 6, why), 0);
    assert_int_equal(routes_check(text, 4097 * 6, why), -1);
    assert_non_null(strstr(why, "more than 4096 routes"));

    text[0] = '/';
    memset(text + 1, '(', 200);
    memset(text + 201, ')', 200);
    assert_int_equal(routes_check(text, 401, why), -1);

    free(text);
}


static void
test_pattern_that_costs_too_much_is_refused(void **state)
{
    char         why[ROUTES_WHY_SIZE];
    const char  *text;

    (void) state;

    text = "(?R)?(?R)?(?R)?(?R)?/";
    assert_int_equal(routes_check(text, strlen(text), why), -1);
    assert_non_null(strstr(why, "cannot be matched within the limits"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_each_function_has_its_record),
        cmocka_unit_test(test_the_older_keeps_a_route),
        cmocka_unit_test(test_a_route_twice_in_one_function_is_one),
        cmocka_unit_test(test_prefix_limits_what_is_claimed),
        cmocka_unit_test(test_full_table_keeps_the_names),
        cmocka_unit_test(test_many_functions_with_the_same_route),
        cmocka_unit_test(
            test_publication_raises_the_epoch_and_spares_the_read_buffer),
        cmocka_unit_test(test_bad_patterns_are_refused_with_their_offset),
        cmocka_unit_test(test_pattern_that_costs_too_much_is_refused)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
