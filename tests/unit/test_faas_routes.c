/* objects: scoreboard/faas_routes.c */
/* libs: -lpcre2-8 */

/*
 * Parsing of declared routes, the literal prefix (compared with what PCRE2
 * really matches), and the records of the published table.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "faas_routes.h"
#include "faas_scoreboard.h"


#define GH  (FAAS_METHOD_GET | FAAS_METHOD_HEAD)


static uint32_t  seed = 20231123;


static uint32_t
roll(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed % n;
}


static int
next(const char *line, faas_route_spec_t *spec, const char **why)
{
    size_t       left;
    const char  *text;

    *why = NULL;
    text = line;
    left = strlen(line);

    return faas_route_next(&text, &left, spec, why);
}


static void
test_route_lines_are_taken_in_order(void **state)
{
    int                i, rc;
    size_t             left;
    const char        *text, *why;
    faas_route_spec_t  spec;

    static const struct {
        uint32_t     methods;
        const char  *pattern;
    } want[] = {
        { GH, "/hello/(?<name>[^/]+)" },
        { FAAS_METHOD_ANY, "/any" },
        { FAAS_METHOD_POST | FAAS_METHOD_PUT, "/a b" },
        { GH | FAAS_METHOD_DELETE, "/(a|b)" },
        { FAAS_METHOD_HEAD, "/h" },
        { FAAS_METHOD_OPTIONS | FAAS_METHOD_PATCH, "(?i)/o" },
        { FAAS_METHOD_ANY, "[/]x" }
    };

    (void) state;

    text = "GET /hello/(?<name>[^/]+)\n"
           "\n"
           "   \t\r\n"
           "  /any \t\n"
           "POST|PUT \t /a b\r\n"
           "DELETE|GET /(a|b)\n"
           "HEAD /h\n"
           "OPTIONS|PATCH (?i)/o\n"
           "[/]x";
    left = strlen(text);

    for (i = 0; (rc = faas_route_next(&text, &left, &spec, &why)) == FAAS_OK;
         i++)
    {
        assert_true(i < (int) (sizeof(want) / sizeof(want[0])));
        assert_int_equal(spec.methods, want[i].methods);
        assert_int_equal(spec.length, strlen(want[i].pattern));
        assert_memory_equal(spec.pattern, want[i].pattern, spec.length);
    }

    assert_int_equal(rc, FAAS_DONE);
    assert_int_equal(i, sizeof(want) / sizeof(want[0]));
    assert_int_equal(left, 0);
}


static void
test_bad_route_is_refused_at_its_place(void **state)
{
    char               line[FAAS_ROUTE_PATTERN_MAX + 8];
    size_t             i;
    const char        *why;
    faas_route_spec_t  spec;

    static const struct {
        const char  *line;
        const char  *place;
        const char  *why;
    } bad[] = {
        { "GET", "GET", "no pattern" },
        { "  GET  ", "GET", "no pattern" },
        { "get /x", "get", "known method" },
        { "GETS /x", "GETS", "known method" },
        { "GE /x", "GE", "known method" },
        { "GET| /x", "GET|", "known method" },
        { "|GET /x", "|GET", "known method" },
        { "GET||PUT /x", "GET||PUT", "known method" },
        { "hello", "hello", "begin with \"/\"" },
        { "hello/(x)", "hello/(x)", "begin with \"/\"" },
        { "GET /a\001b", "/a\001b", "control byte" },
        { "/a\177", "/a\177", "control byte" }
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(next(bad[i].line, &spec, &why), FAAS_ERROR);
        assert_non_null(strstr(why, bad[i].why));
        assert_int_equal(spec.length, strlen(bad[i].place));
        assert_memory_equal(spec.pattern, bad[i].place, spec.length);
    }

    memset(line, 'a', sizeof(line));
    line[0] = '/';

    line[FAAS_ROUTE_PATTERN_MAX] = '\0';
    assert_int_equal(next(line, &spec, &why), FAAS_OK);

    line[FAAS_ROUTE_PATTERN_MAX] = 'a';
    line[FAAS_ROUTE_PATTERN_MAX + 1] = '\0';
    assert_int_equal(next(line, &spec, &why), FAAS_ERROR);
    assert_non_null(strstr(why, "longer"));
}


static void
test_after_a_bad_line_parsing_goes_on(void **state)
{
    size_t             left;
    const char        *text, *why;
    faas_route_spec_t  spec;

    (void) state;

    text = "what /x\nGET /y";
    left = strlen(text);

    assert_int_equal(faas_route_next(&text, &left, &spec, &why), FAAS_ERROR);
    assert_int_equal(faas_route_next(&text, &left, &spec, &why), FAAS_OK);
    assert_memory_equal(spec.pattern, "/y", 2);
    assert_int_equal(faas_route_next(&text, &left, &spec, &why), FAAS_DONE);
}


static void
test_text_is_not_read_beyond_its_length(void **state)
{
    char              *copy;
    size_t             n, left;
    const char        *text, *why, *all = "GET|HEAD /a(b)\n\n POST /c\n/d ";
    faas_route_spec_t  spec;

    (void) state;

    /* the copy has no zero behind it: a sanitizer sees a read too far */

    for (n = 0; n <= strlen(all); n++) {
        copy = malloc(n + (n == 0));
        assert_non_null(copy);
        memcpy(copy, all, n);
        text = copy;
        left = n;

        while (faas_route_next(&text, &left, &spec, &why) != FAAS_DONE) {
            (void) faas_route_literal(spec.pattern, spec.length);
        }

        free(copy);
    }

    left = 5;
    text = "/a\0bc";
    assert_int_equal(faas_route_next(&text, &left, &spec, &why), FAAS_ERROR);
}


static void
test_literal_prefix_table(void **state)
{
    size_t  i;

    static const struct {
        const char  *pattern;
        size_t       literal;
    } table[] = {
        { "", 0 },
        { "/", 1 },
        { "/hello", 6 },
        { "/hello/(?<name>[^/]+)", 7 },
        { "/hello/?", 6 },
        { "/hello*", 5 },
        { "/hello+", 5 },
        { "/hello{2}", 5 },
        { "/hello{2,}", 5 },
        { "/hello{2,3}x", 5 },
        { "/hello{name}", 12 },
        { "/hello{", 7 },
        { "/a\\.b", 2 },
        { "/a.b", 2 },
        { "/a[bc]", 2 },
        { "/a$", 2 },
        { "^/a", 0 },
        { "/a|/b", 0 },
        { "/a(b|c)d", 2 },
        { "/a(b|c)|d", 0 },
        { "/a[|]", 2 },
        { "/a[]|]", 2 },
        { "/a[^]|]", 2 },
        { "/a[[:alpha:]|]", 2 },
        { "/a[[:alpha:](]|b", 0 },
        { "/a\\|b", 2 },
        { "/a\\Q|\\Eb", 1 },
        { "/a.\\Q|\\Eb", 2 },
        { "/a.\\Q(\\E|b", 0 },
        { "/a(?#|)b", 1 },
        { "/a(b(?#()c)|d", 0 },
        { "/a(?#x)?", 1 },
        { "/a\\E?", 1 },
        { "/a(b)(*MARK:(x)|c", 0 },
        { "/a\\c||", 0 },
        { "/a\\c|", 2 },
        { "/a.(?C'(')|b", 0 },
        { "/caf\303\251?", 4 },
        { "/caf\303\251", 6 },
        { "?", 0 },
        { "*a", 0 },
        { "\251?", 0 },
        { "/a(", 0 },
        { "/a)", 0 },
        { "/a[", 0 },
        { "/a\\", 0 },
    };

    (void) state;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (faas_route_literal(table[i].pattern, strlen(table[i].pattern))
            != table[i].literal)
        {
            fail_msg("literal prefix of \"%s\" is %zu, not %zu",
                     table[i].pattern,
                     faas_route_literal(table[i].pattern,
                                        strlen(table[i].pattern)),
                     table[i].literal);
        }
    }
}


/*
 * Whatever a pattern matches begins with its literal prefix: patterns made
 * of difficult pieces, against subjects made of the bytes in them.
 */

static void
test_what_matches_begins_with_the_literal_prefix(void **state)
{
    int                      error, rc, compiled, matched, with_prefix;
    char                     pattern[128], subject[16];
    size_t                   i, j, n, piece, literal, length;
    PCRE2_SIZE               offset;
    pcre2_code              *code;
    pcre2_match_data        *data;
    pcre2_match_context     *context;

    static const char *const  pieces[] = {
        "/", "a", "b", "ab", "/a", "(", ")", "(a|b)", "|", "?", "*", "+",
        "{1}", "{0,1}", "{0}", "{a}", "{", "}", "[ab]", "[^]a]", "[]a|(]",
        "[[:alpha:]]", "[[:alpha:](|]", "[", "]", "\\", "\\Q", "\\E",
        "\\Q|\\E", "\\Q(\\E", "(?#", "(?#|)", "(?:", "(?i)", "(?x)", " ",
        "#", "(?|", "(?=", "(?!", "(?<n>", "(*MARK:(", "(*COMMIT)", "\\|",
        "\\(", "\\ca", "\\c|", "\\c(", "^", "$", ".", "\303\251", "(*ACCEPT)",
        "(?s:", "\\b", "(?C1)", "[\\Q]|\\E(]", "[\\]", "-]", "(*atomic:",
        "[[.", "[:a", ":]", "(?^)", "\\K", "{,2}", "(?xx)"
    };

    static const char *const  bytes[] = {
        "/", "a", "b", "/a", "|", "(", "[", "]", "A", "\303\251", " ", "#"
    };

    (void) state;

    data = pcre2_match_data_create(8, NULL);
    context = pcre2_match_context_create(NULL);
    assert_non_null(data);
    assert_non_null(context);
    pcre2_set_match_limit(context, 10000);

    compiled = 0;
    matched = 0;
    with_prefix = 0;

    for (i = 0; i < 200000; i++) {

        n = 0;
        pattern[0] = '\0';

        for (j = 2 + roll(7); j > 0; j--) {
            piece = roll(3) ? roll(sizeof(pieces) / sizeof(pieces[0]))
                            : roll(5);
            length = strlen(pieces[piece]);
            memcpy(pattern + n, pieces[piece], length);
            n += length;
        }

        literal = faas_route_literal(pattern, n);
        assert_true(literal <= n);

        if (literal == 0) {
            continue;
        }

        code = pcre2_compile((PCRE2_SPTR) pattern, n,
                             PCRE2_ANCHORED | PCRE2_ENDANCHORED
                             | (roll(2) ? PCRE2_UTF : 0),
                             &error, &offset, NULL);
        if (code == NULL) {
            continue;
        }

        compiled++;

        for (j = 0; j < 24; j++) {

            length = 0;

            while (roll(6) && length < sizeof(subject) - 2) {
                piece = roll(sizeof(bytes) / sizeof(bytes[0]));
                memcpy(subject + length, bytes[piece], strlen(bytes[piece]));
                length += strlen(bytes[piece]);
            }

            /* half of them are made to fit as far as they go */

            if (j % 2 && literal < sizeof(subject)) {
                memcpy(subject, pattern, literal - j % 3 % literal);

                if (length < literal) {
                    length = literal - j % 3 % literal;
                }
            }

            rc = pcre2_match(code, (PCRE2_SPTR) subject, length, 0, 0, data,
                             context);
            if (rc < 0) {
                continue;
            }

            matched++;
            with_prefix += (literal > 1);

            if (length < literal || memcmp(subject, pattern, literal) != 0) {
                fail_msg("\"%.*s\" matches \"%.*s\" without its prefix of %zu",
                         (int) n, pattern, (int) length, subject, literal);
            }
        }

        pcre2_code_free(code);
    }

    pcre2_match_data_free(data);
    pcre2_match_context_free(context);

    /* the test is about something */

    assert_true(compiled > 10000);
    assert_true(matched > 1000);
    assert_true(with_prefix > 100);
}


static faas_route_t
head(uint32_t function, uint16_t literal, size_t length)
{
    faas_route_t  route;

    memset(&route, 0xee, sizeof(route));

    route.function = function;
    route.generation = 7;
    route.methods = GH;
    route.literal = literal;
    route.length = (uint16_t) length;
    route.order = function;

    return route;
}


static size_t
build(char *buf, size_t size)
{
    size_t        used;
    faas_route_t  route;

    used = 0;

    route = head(1, 7, 11);
    assert_int_equal(faas_route_append(buf, size, &used, &route,
                                       "/hello/(.*)"), FAAS_OK);
    route = head(2, 0, 0);
    assert_int_equal(faas_route_append(buf, size, &used, &route, NULL),
                     FAAS_OK);
    route = head(3, 1, 1);
    assert_int_equal(faas_route_append(buf, size, &used, &route, "/"),
                     FAAS_OK);

    return used;
}


static void
test_table_reads_back_as_it_was_built(void **state)
{
    char                  buf[256] __attribute__((aligned(8)));
    size_t                n, offset;
    const faas_route_t   *route;

    (void) state;

    n = build(buf, sizeof(buf));
    assert_int_equal(n % 8, 0);

    offset = 0;

    route = faas_route_at(buf, n, &offset);
    assert_non_null(route);
    assert_int_equal(route->function, 1);
    assert_int_equal(route->generation, 7);
    assert_int_equal(route->methods, GH);
    assert_int_equal(route->literal, 7);
    assert_string_equal(faas_route_pattern(route), "/hello/(.*)");

    route = faas_route_at(buf, n, &offset);
    assert_non_null(route);
    assert_int_equal(route->function, 2);
    assert_int_equal(route->length, 0);
    assert_string_equal(faas_route_pattern(route), "");

    route = faas_route_at(buf, n, &offset);
    assert_non_null(route);
    assert_int_equal(route->function, 3);
    assert_string_equal(faas_route_pattern(route), "/");

    assert_null(faas_route_at(buf, n, &offset));
    assert_int_equal(offset, n);

    offset = 0;
    assert_null(faas_route_at(buf, 0, &offset));
    assert_int_equal(offset, 0);
}


static void
test_full_table_is_left_as_it_was(void **state)
{
    char           buf[256] __attribute__((aligned(8))), before[256];
    size_t         n, size, used;
    faas_route_t   route;

    (void) state;

    n = build(buf, sizeof(buf));
    route = head(4, 2, 8);

    for (size = n; size < n + 40; size++) {
        memset(buf + n, 0x55, sizeof(buf) - n);
        memcpy(before, buf, sizeof(buf));
        used = n;

        assert_int_equal(faas_route_append(buf, size, &used, &route,
                                           "/x/y(.+)"), FAAS_BUSY);
        assert_int_equal(used, n);
        assert_memory_equal(buf, before, sizeof(buf));
    }

    assert_int_equal(faas_route_append(buf, size, &used, &route, "/x/y(.+)"),
                     FAAS_OK);
    assert_int_equal(used, size);

    used = sizeof(buf) + 8;
    assert_int_equal(faas_route_append(buf, sizeof(buf), &used, &route,
                                       "/x/y(.+)"), FAAS_BUSY);
}


static void
test_torn_table_is_never_read_beyond_its_end(void **state)
{
    char                *copy;
    char                 buf[256] __attribute__((aligned(8)));
    size_t               i, n, cut, offset, records;
    const faas_route_t  *route;

    (void) state;

    n = build(buf, sizeof(buf));

    for (i = 0; i < 50000; i++) {

        cut = (i < n) ? i : n;
        copy = malloc(cut + (cut == 0));
        assert_non_null(copy);
        memcpy(copy, buf, cut);

        if (i > n) {
            copy[roll((uint32_t) n)] = (char) roll(256);
            copy[roll((uint32_t) n)] ^= (char) (1 << roll(8));
        }

        offset = 0;
        records = 0;

        while ((route = faas_route_at(copy, cut, &offset)) != NULL) {
            assert_int_equal(strlen(faas_route_pattern(route)),
                             route->length);
            assert_true(route->literal <= route->length);
            assert_true(offset <= cut);
            records++;
        }

        assert_true(records <= 3);
        assert_true(offset == cut || offset > cut);

        /* a second look at a broken place does not come back into it */

        if (offset > cut) {
            assert_null(faas_route_at(copy, cut, &offset));
        }

        free(copy);
    }
}


static void
test_allow_header_names_the_methods(void **state)
{
    char    dst[64];
    size_t  n;

    (void) state;

    assert_int_equal(faas_route_methods_text(0, dst), 0);
    assert_string_equal(dst, "");

    faas_route_methods_text(GH, dst);
    assert_string_equal(dst, "GET, HEAD");

    faas_route_methods_text(FAAS_METHOD_HEAD, dst);
    assert_string_equal(dst, "HEAD");

    faas_route_methods_text(GH | FAAS_METHOD_POST | FAAS_METHOD_PATCH, dst);
    assert_string_equal(dst, "GET, HEAD, POST, PATCH");

    n = faas_route_methods_text(FAAS_METHOD_ANY, dst);
    assert_int_equal(n, strlen(dst));
    assert_string_equal(dst, "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_route_lines_are_taken_in_order),
        cmocka_unit_test(test_bad_route_is_refused_at_its_place),
        cmocka_unit_test(test_after_a_bad_line_parsing_goes_on),
        cmocka_unit_test(test_text_is_not_read_beyond_its_length),
        cmocka_unit_test(test_literal_prefix_table),
        cmocka_unit_test(test_what_matches_begins_with_the_literal_prefix),
        cmocka_unit_test(test_table_reads_back_as_it_was_built),
        cmocka_unit_test(test_full_table_is_left_as_it_was),
        cmocka_unit_test(test_torn_table_is_never_read_beyond_its_end),
        cmocka_unit_test(test_allow_header_names_the_methods)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
