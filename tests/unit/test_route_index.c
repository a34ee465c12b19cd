/* objects: ngx_faas_module/ngx_http_faas_route_index.c */
/* objects: scoreboard/faas_routes.c */
/* libs: -lpcre2-8 */

/*
 * The router's index: precedence, methods, captures, cost and hostile tables.
 * Cost is counted in comparisons and patterns run, never in time.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../ngx_faas_module/ngx_http_faas_route_index.h"


#define BOARD       64           /* functions on the pretended board */
#define TABLE       (4 * 1024 * 1024)


/* memory as nginx's pools give it: freed all at once */

typedef struct block_s  block_t;

struct block_s {
    block_t                      *next;
    uint64_t                      align;
};


typedef struct {
    char                         *table;
    size_t                        used;
    uint32_t                      order;
    char                          names[BOARD][FAAS_NAME_SIZE];
    uint32_t                      generations[BOARD];
    block_t                      *blocks;
    int                           fail;      /* n-th allocation fails, 0: no */
    int                           allocated;
    int                           troubles;
    int                           steps;
    ngx_http_faas_route_index_t  *index;
} fixture_t;


static ngx_http_faas_route_matcher_t  matcher;


static void *
fixture_alloc(void *data, size_t size)
{
    block_t    *b;
    fixture_t  *f = data;

    if (++f->allocated == f->fail) {
        return NULL;
    }

    b = malloc(sizeof(block_t) + size);
    assert_non_null(b);

    /* what a pool gives is not zeroed */
    memset(b + 1, 0xa5, size);

    b->next = f->blocks;
    f->blocks = b;

    return b + 1;
}


static size_t
fixture_name(void *data, uint32_t function, uint32_t generation, char *dst)
{
    fixture_t  *f = data;

    if (f->generations[function] != generation) {
        return 0;
    }

    memcpy(dst, f->names[function], FAAS_NAME_SIZE);

    return strlen(dst);
}


static void
fixture_trouble(void *data, ngx_http_faas_route_function_t *function,
    ngx_http_faas_route_t *route, int error)
{
    fixture_t  *f = data;

    assert_non_null(function);
    assert_non_null(route);
    assert_int_not_equal(error, 0);

    f->troubles++;
}


static void
fixture_init(fixture_t *f)
{
    uint32_t  i;

    memset(f, 0, sizeof(fixture_t));

    f->table = malloc(TABLE);
    assert_non_null(f->table);

    for (i = 0; i < BOARD; i++) {
        (void) snprintf(f->names[i], FAAS_NAME_SIZE, "f%u", i);
        f->generations[i] = 1;
    }
}


static void
fixture_drop(fixture_t *f)
{
    block_t  *b;

    ngx_http_faas_route_index_destroy(f->index);
    f->index = NULL;

    while ((b = f->blocks) != NULL) {
        f->blocks = b->next;
        free(b);
    }
}


static void
fixture_free(fixture_t *f)
{
    fixture_drop(f);
    free(f->table);
}


/* adds what a descriptor says in its `routes`; NULL: no routes */

static void
declare(fixture_t *f, uint32_t function, const char *text)
{
    int                 rc;
    size_t              left;
    const char         *why;
    faas_route_t        head;
    faas_route_spec_t   spec;

    memset(&head, 0, sizeof(faas_route_t));

    head.function = function;
    head.generation = 1;
    head.order = f->order++;

    if (text == NULL) {
        assert_int_equal(faas_route_append(f->table, TABLE, &f->used, &head,
                                           ""), FAAS_OK);
        return;
    }

    left = strlen(text);

    for ( ;; ) {
        rc = faas_route_next(&text, &left, &spec, &why);

        if (rc == FAAS_DONE) {
            return;
        }

        assert_int_equal(rc, FAAS_OK);

        head.methods = spec.methods;
        head.length = (uint16_t) spec.length;
        head.literal = (uint16_t) faas_route_literal(spec.pattern,
                                                     spec.length);

        assert_int_equal(faas_route_append(f->table, TABLE, &f->used, &head,
                                           spec.pattern), FAAS_OK);
    }
}


static int
create(fixture_t *f)
{
    ngx_http_faas_route_calls_t  calls;

    calls.alloc = fixture_alloc;
    calls.name = fixture_name;
    calls.trouble = fixture_trouble;
    calls.data = f;

    return ngx_http_faas_route_index_create(&f->index, &calls, f->table,
                                            f->used, BOARD);
}


static void
build(fixture_t *f)
{
    assert_int_equal(create(f), FAAS_OK);

    while (ngx_http_faas_route_index_step(f->index, &matcher) == FAAS_AGAIN) {
        f->steps++;
    }
}


/* as text: "f1 PATTERN k=v", "f1 implicit", "405 GET, HEAD", "404" */

static const char *
route_bytes(fixture_t *f, uint32_t method, const char *path, size_t length)
{
    size_t                        n;
    ngx_http_faas_route_match_t   match;
    ngx_http_faas_route_query_t   query;

    static char                   text[8192];

    query.path = path;
    query.length = length;
    query.method = method;

    if (ngx_http_faas_route_index_match(f->index, &matcher, &query, &match)
        != FAAS_OK)
    {
        if (match.allow == 0) {
            return "404";
        }

        n = (size_t) sprintf(text, "405 ");
        (void) faas_route_methods_text(match.allow, text + n);
        return text;
    }

    if (match.route == NULL) {
        (void) sprintf(text, "%s implicit", match.function->name);
        return text;
    }

    n = (size_t) sprintf(text, "%s %.*s", match.function->name,
                         (int) match.route->length, match.route->pattern);

    length = ngx_http_faas_route_params(&matcher, &query, match.route, NULL);

    if (length != 0) {
        text[n++] = ' ';
        assert_true(n + length < sizeof(text));
        assert_int_equal(ngx_http_faas_route_params(&matcher, &query,
                                                    match.route, text + n),
                         length);
        text[n + length] = '\0';
    }

    return text;
}


static const char *
route(fixture_t *f, uint32_t method, const char *path)
{
    return route_bytes(f, method, path, strlen(path));
}


#define GET   FAAS_METHOD_GET
#define HEAD  FAAS_METHOD_HEAD
#define POST  FAAS_METHOD_POST


static void
test_longest_literal_prefix_wins_then_table_order(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/a/.*\n/a/b.*\n/a/(?<x>[^/]+)\n.*");
    declare(&f, 1, "/a/b/c\n/a/b/(?<y>.+)\n/a/b.*");
    build(&f);

    assert_string_equal(route(&f, GET, "/a/b/c"), "f1 /a/b/c");
    assert_string_equal(route(&f, GET, "/a/b/d"), "f1 /a/b/(?<y>.+) y=d");
    assert_string_equal(route(&f, GET, "/a/b/"), "f0 /a/b.*");
    assert_string_equal(route(&f, GET, "/a/bb"), "f0 /a/b.*");
    assert_string_equal(route(&f, GET, "/a/q"), "f0 /a/.*");
    assert_string_equal(route(&f, GET, "/a/"), "f0 /a/.*");
    assert_string_equal(route(&f, GET, "/z"), "f0 .*");
    assert_string_equal(route(&f, GET, "/"), "f0 .*");
    assert_string_equal(route(&f, GET, ""), "f0 .*");

    fixture_free(&f);
}


static void
test_literal_that_does_not_match_leaves_it_to_shorter_ones(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/a/b/c/[0-9]+\n/a/b/c/d/e\n/a/(?<rest>.*)\n/a/b/x");
    build(&f);

    assert_string_equal(route(&f, GET, "/a/b/c/12"), "f0 /a/b/c/[0-9]+");
    assert_string_equal(route(&f, GET, "/a/b/c/x"),
                        "f0 /a/(?<rest>.*) rest=b%2Fc%2Fx");
    assert_string_equal(route(&f, GET, "/a/b/c/d/e/f"),
                        "f0 /a/(?<rest>.*) rest=b%2Fc%2Fd%2Fe%2Ff");
    assert_string_equal(route(&f, GET, "/a/b/c/d/e"), "f0 /a/b/c/d/e");
    assert_string_equal(route(&f, GET, "/a/b/y"),
                        "f0 /a/(?<rest>.*) rest=b%2Fy");
    assert_string_equal(route(&f, GET, "/a"), "404");

    fixture_free(&f);
}


static void
test_pattern_must_match_the_whole_path(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/x/[a-z]+\n/y/a|/y/ab\n/z/[a-z]+$\n/lit");
    build(&f);

    assert_string_equal(route(&f, GET, "/x/abc"), "f0 /x/[a-z]+");
    assert_string_equal(route(&f, GET, "/x/abc1"), "404");
    assert_string_equal(route(&f, GET, "/q/x/abc"), "404");
    assert_string_equal(route(&f, GET, "/y/ab"), "f0 /y/a|/y/ab");
    assert_string_equal(route(&f, GET, "/z/a\n"), "404");
    assert_string_equal(route(&f, GET, "/lit"), "f0 /lit");
    assert_string_equal(route(&f, GET, "/lit\n"), "404");
    assert_string_equal(route_bytes(&f, GET, "/lit\0", 5), "404");

    fixture_free(&f);
}


static void
test_wrong_method_is_told_with_the_methods_there_are(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "GET /a\nPOST|PUT /b\nDELETE /[ab]\n/any");
    declare(&f, 1, "HEAD /h");
    build(&f);

    assert_string_equal(route(&f, GET, "/a"), "f0 /a");
    assert_string_equal(route(&f, HEAD, "/a"), "f0 /a");
    assert_string_equal(route(&f, POST, "/a"), "405 GET, HEAD, DELETE");
    assert_string_equal(route(&f, GET, "/b"), "405 POST, PUT, DELETE");
    assert_string_equal(route(&f, FAAS_METHOD_DELETE, "/b"), "f0 /[ab]");
    assert_string_equal(route(&f, FAAS_METHOD_PATCH, "/any"), "f0 /any");
    assert_string_equal(route(&f, NGX_HTTP_FAAS_METHOD_OTHER, "/any"),
                        "f0 /any");
    assert_string_equal(route(&f, NGX_HTTP_FAAS_METHOD_OTHER, "/a"),
                        "405 GET, HEAD, DELETE");
    assert_string_equal(route(&f, GET, "/h"), "405 HEAD");
    assert_string_equal(route(&f, GET, "/none"), "404");

    fixture_free(&f);
}


static void
test_longer_literal_of_another_method_does_not_hide_a_shorter_one(
    void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "POST /a/b/c\nGET /a/.*");
    build(&f);

    assert_string_equal(route(&f, GET, "/a/b/c"), "f0 /a/.*");
    assert_string_equal(route(&f, POST, "/a/b/c"), "f0 /a/b/c");

    fixture_free(&f);
}


static void
test_implicit_routes_come_after_declared_ones(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, NULL);
    declare(&f, 1, "GET /f0/special\n/f9.*");
    declare(&f, 2, "GET /f2/x");
    build(&f);

    assert_string_equal(route(&f, GET, "/f0"), "f0 implicit");
    assert_string_equal(route(&f, GET, "/f0/"), "f0 implicit");
    assert_string_equal(route(&f, POST, "/f0/rest/of/it"), "f0 implicit");
    assert_string_equal(route(&f, GET, "/f0x"), "404");
    assert_string_equal(route(&f, GET, "/f"), "404");
    assert_string_equal(route(&f, GET, "//f0"), "404");
    assert_string_equal(route(&f, GET, "/"), "404");
    assert_string_equal(route(&f, GET, "f0"), "404");
    assert_string_equal(route(&f, GET, "/f0/special"), "f1 /f0/special");
    assert_string_equal(route(&f, GET, "/f1"), "f1 implicit");

    /* another function's claim does not forbid methods of the implicit one */
    assert_string_equal(route(&f, POST, "/f0/special"), "f0 implicit");

    /* its own does */
    assert_string_equal(route(&f, GET, "/f2/x"), "f2 /f2/x");
    assert_string_equal(route(&f, POST, "/f2/x"), "405 GET, HEAD");
    assert_string_equal(route(&f, POST, "/f2/y"), "f2 implicit");

    fixture_free(&f);
}


static void
test_own_claim_counts_when_its_methods_are_already_known(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 1, "GET|POST /f0/x");
    declare(&f, 0, "GET /f0/(.)");
    build(&f);

    assert_string_equal(route(&f, FAAS_METHOD_PUT, "/f0/x"),
                        "405 GET, HEAD, POST");

    fixture_free(&f);
}


static void
test_captures_are_encoded_and_binary_safe(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/p/(?<one>[^/]*)/(?<two>(?s).*)\n"
                   "/opt/(?<a>x)?(?<b>y)?\n"
                   "/d/(?J)(?:(?<v>[0-9]+)|(?<v>[a-z]+))");
    build(&f);

    assert_string_equal(route(&f, GET, "/p/a b&c=d/%\xff\xc3\xa9~-._"),
                        "f0 /p/(?<one>[^/]*)/(?<two>(?s).*)"
                        " one=a%20b%26c%3Dd&two=%25%FF%C3%A9~-._");
    assert_string_equal(route_bytes(&f, GET, "/p/\0\n/\r\0", 8),
                        "f0 /p/(?<one>[^/]*)/(?<two>(?s).*)"
                        " one=%00%0A&two=%0D%00");
    assert_string_equal(route(&f, GET, "/p//"),
                        "f0 /p/(?<one>[^/]*)/(?<two>(?s).*) one=&two=");
    assert_string_equal(route(&f, GET, "/opt/y"),
                        "f0 /opt/(?<a>x)?(?<b>y)? b=y");
    assert_string_equal(route(&f, GET, "/opt/"),
                        "f0 /opt/(?<a>x)?(?<b>y)?");
    assert_string_equal(route(&f, GET, "/d/abc"),
                        "f0 /d/(?J)(?:(?<v>[0-9]+)|(?<v>[a-z]+)) v=abc");
    assert_string_equal(route(&f, GET, "/d/17"),
                        "f0 /d/(?J)(?:(?<v>[0-9]+)|(?<v>[a-z]+)) v=17");

    fixture_free(&f);
}


static void
test_as_many_groups_as_a_pattern_can_hold(void **state)
{
    size_t     n;
    fixture_t  f;
    char       text[FAAS_ROUTE_PATTERN_MAX + 1];

    (void) state;

    memset(text, 0, sizeof(text));
    text[0] = '/';

    for (n = 1; n + 2 <= FAAS_ROUTE_PATTERN_MAX - 7; n += 2) {
        memcpy(text + n, "()", 2);
    }

    memcpy(text + n, "(?<z>.)", 7);

    fixture_init(&f);
    declare(&f, 0, text);
    build(&f);

    assert_non_null(strstr(route(&f, GET, "/q"), " z=q"));

    fixture_free(&f);
}


static void
test_captures_of_one_function_only(void **state)
{
    fixture_t                        f;
    ngx_http_faas_route_match_t      match;
    ngx_http_faas_route_query_t      query;
    ngx_http_faas_route_function_t  *function;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "GET /a/(?<x>.*)");
    declare(&f, 1, "POST /a/(?<y>.*)\n/(?<z>.*)");
    build(&f);

    function = ngx_http_faas_route_index_name(f.index, "f1", 2);
    assert_non_null(function);

    query.path = "/a/b";
    query.length = 4;
    query.method = GET;

    assert_int_equal(ngx_http_faas_route_index_match_own(f.index, &matcher,
                                                         &query, function,
                                                         &match), FAAS_OK);
    assert_int_equal(match.route->length, strlen("/(?<z>.*)"));

    query.method = FAAS_METHOD_ANY;

    assert_int_equal(ngx_http_faas_route_index_match_own(f.index, &matcher,
                                                         &query, function,
                                                         &match), FAAS_OK);
    assert_int_equal(match.route->length, strlen("/a/(?<y>.*)"));

    query.path = "x";
    query.length = 1;

    assert_int_equal(ngx_http_faas_route_index_match_own(f.index, &matcher,
                                                         &query, function,
                                                         &match),
                     FAAS_DECLINED);

    fixture_free(&f);
}


static void
test_names_are_found_among_many(void **state)
{
    uint32_t                         i;
    fixture_t                        f;
    ngx_http_faas_route_function_t  *function;

    (void) state;

    fixture_init(&f);

    for (i = 0; i < BOARD; i++) {
        declare(&f, i, NULL);
    }

    build(&f);

    for (i = 0; i < BOARD; i++) {
        function = ngx_http_faas_route_index_name(f.index, f.names[i],
                                                  strlen(f.names[i]));
        assert_non_null(function);
        assert_int_equal(function->function, i);
    }

    assert_null(ngx_http_faas_route_index_name(f.index, "f64", 3));
    assert_null(ngx_http_faas_route_index_name(f.index, "", 0));
    assert_null(ngx_http_faas_route_index_name(f.index, f.table, 64));

    fixture_free(&f);
}


static void
test_function_that_left_the_board_is_left_out(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/a");
    declare(&f, 1, "/b");
    f.generations[0] = 2;
    (void) strcpy(f.names[2], "f1");
    declare(&f, 2, "/c");
    build(&f);

    assert_string_equal(route(&f, GET, "/a"), "404");
    assert_string_equal(route(&f, GET, "/b"), "f1 /b");

    /* of two entries with one name the older one has it */
    assert_string_equal(route(&f, GET, "/c"), "404");

    fixture_free(&f);
}


static void
test_empty_table(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    build(&f);

    assert_string_equal(route(&f, GET, "/a"), "404");
    assert_string_equal(route(&f, GET, ""), "404");

    fixture_free(&f);
}


/* what a lookup costs at worst among n routes of mixed kinds */

static uint32_t
cost(uint32_t n)
{
    uint32_t                       i, worst;
    fixture_t                      f;
    char                           text[128];
    ngx_http_faas_route_public_t  *public;

    fixture_init(&f);

    for (i = 0; i < n; i++) {
        (void) sprintf(text, i % 2 ? "GET /r%u/item" : "GET /r%u/(?<id>[^/]+)",
                       i * 7919 % n);
        declare(&f, i % BOARD, text);
    }

    build(&f);

    public = ngx_http_faas_route_index_public(f.index);
    worst = 0;

    for (i = 0; i < n; i++) {
        (void) sprintf(text, "/r%u/item", i);
        assert_string_not_equal(route(&f, GET, text), "404");

        if (public->compared + public->tried > worst) {
            worst = public->compared + public->tried;
        }
    }

    fixture_free(&f);

    return worst;
}


static void
test_ten_thousand_routes_cost_about_what_ten_do(void **state)
{
    (void) state;

    /* log2(10000) - log2(10) is 10 */
    assert_in_range(cost(10000), 1, cost(10) + 11);
}


static void
test_building_stops_after_a_bounded_number_of_elements(void **state)
{
    uint32_t   i;
    fixture_t  f;
    char       text[64];

    (void) state;

    fixture_init(&f);

    for (i = 0; i < 10000; i++) {
        (void) sprintf(text, "/r%u/(.)", i);
        declare(&f, 0, text);
    }

    build(&f);

    /* read and link once over all, sort 14 times; 256 in a step */
    assert_in_range(f.steps, 16 * 10000 / 256 - 16, 16 * 10000 / 256 + 64);

    /* nothing was compiled ahead */
    assert_null(ngx_http_faas_route_index_public(f.index)->routes[0].code);

    fixture_free(&f);
}


static void
test_patterns_that_one_path_may_meet_are_compiled_ahead(void **state)
{
    uint32_t                       i;
    fixture_t                      f;
    char                           text[64];
    ngx_http_faas_route_public_t  *public;

    (void) state;

    fixture_init(&f);

    declare(&f, 0, "/(.*)/z\n/other/(.)\n/same/lit");

    for (i = 0; i < NGX_HTTP_FAAS_ROUTES_LAZY; i++) {
        (void) sprintf(text, "/same/(.)%u", i);
        declare(&f, 0, text);
    }

    build(&f);

    public = ngx_http_faas_route_index_public(f.index);

    assert_non_null(public->routes[0].code);
    assert_null(public->routes[1].code);
    assert_null(public->routes[2].code);

    for (i = 3; i < public->nroutes; i++) {
        assert_non_null(public->routes[i].code);
    }

    fixture_free(&f);
}


static void
test_pattern_that_hits_its_limit_is_no_match_and_told_once(void **state)
{
    int        i;
    fixture_t  f;
    char       path[4096];

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/(a+)+$\n/((a|aa)+)+b\n/.*x");
    declare(&f, 1, "/a.*");
    declare(&f, 2, "/.*");
    build(&f);

    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[64] = '!';
    path[65] = '\0';

    for (i = 0; i < 3; i++) {
        assert_string_equal(route(&f, GET, path), "f1 /a.*");
        assert_string_equal(route(&f, POST, path), "f1 /a.*");
    }

    /* the longer literal came first; now the bombs are met */

    path[1] = 'b';
    memset(path + 1, 'a', 63);
    memcpy(path + 1, "b", 1);
    assert_string_equal(route(&f, GET, path), "f2 /.*");

    fixture_free(&f);
    fixture_init(&f);
    declare(&f, 0, "/(a+)+$\n/(a+)+c\n/(a+)+d");
    declare(&f, 2, "/.*");
    build(&f);

    memset(path + 1, 'a', 63);

    for (i = 0; i < 3; i++) {
        assert_string_equal(route(&f, GET, path), "f2 /.*");

        /* the others of that function were not even tried */
        assert_int_equal(
            ngx_http_faas_route_index_public(f.index)->tried, 2);
    }

    assert_int_equal(f.troubles, 1);
    assert_string_equal(route(&f, GET, "/aa"), "f0 /(a+)+$");

    fixture_free(&f);
}


static void
test_pattern_that_does_not_compile_is_told_once(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/x/[b-a]\n(*NONE)/y/z\n/x/.*");
    build(&f);

    assert_string_equal(route(&f, GET, "/x/a"), "f0 /x/.*");
    assert_int_equal(f.troubles, 1);
    assert_string_equal(route(&f, GET, "/y/z"), "404");
    assert_string_equal(route(&f, GET, "/y/z"), "404");
    assert_string_equal(route(&f, GET, "/x/a"), "f0 /x/.*");
    assert_int_equal(f.troubles, 2);

    fixture_free(&f);
}


static void
test_pattern_in_utf_mode_takes_utf8_only(void **state)
{
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "(*UTF)/u/(?<c>.)");
    declare(&f, 1, "/u/(..)");
    build(&f);

    assert_string_equal(route(&f, GET, "/u/\xc3\xa9"), "f1 /u/(..)");
    assert_string_equal(route(&f, GET, "/u/a"), "f0 (*UTF)/u/(?<c>.) c=a");
    assert_string_equal(route(&f, GET, "/u/\xf0\x9f\x98\x80"),
                        "f0 (*UTF)/u/(?<c>.) c=%F0%9F%98%80");
    assert_string_equal(route(&f, GET, "/u/\xff"), "404");
    assert_string_equal(route(&f, GET, "/u/a"), "f0 (*UTF)/u/(?<c>.) c=a");
    assert_int_equal(f.troubles, 0);

    fixture_free(&f);
}


static void
test_every_allocation_may_fail(void **state)
{
    int        rc;
    fixture_t  f;

    (void) state;

    fixture_init(&f);
    declare(&f, 0, "/x/(.)\n/y");

    for (f.fail = 1; ; f.fail++) {
        f.allocated = 0;
        rc = create(&f);

        if (rc == FAAS_OK) {
            break;
        }

        assert_int_equal(rc, FAAS_ERROR);
        assert_null(f.index);
        fixture_drop(&f);
    }

    assert_true(f.fail > 5);

    fixture_free(&f);
}


static uint32_t
next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;

    return *seed;
}


static void
test_mutated_tables_never_crash(void **state)
{
    int         round, accepted;
    char       *table;
    size_t      n, size;
    uint32_t    seed, i, at;
    fixture_t   f;

    (void) state;

    seed = 20261123;
    accepted = 0;

    fixture_init(&f);
    declare(&f, 0, "GET /a/(?<x>[^/]+)\n/b\nPOST /a.*\n(.*)z\n/q/w/e/r");
    declare(&f, 1, NULL);
    declare(&f, 2, "/a/b/(?<y>\\d+)\nGET /b\n/a\n/\n/a/b");

    size = f.used;
    table = malloc(size);
    assert_non_null(table);
    memcpy(table, f.table, size);

    free(f.table);

    for (round = 0; round < 20000; round++) {

        /* as large as the table, so that a sanitizer sees one byte beyond */

        f.used = (round % 4 == 0) ? next_random(&seed) % (size + 1) : size;
        f.table = malloc(f.used ? f.used : 1);
        assert_non_null(f.table);
        memcpy(f.table, table, f.used);

        n = next_random(&seed) % 4;

        for (i = 0; i < n && f.used != 0; i++) {
            at = next_random(&seed) % (uint32_t) f.used;
            f.table[at] = (round % 2) ? (char) next_random(&seed)
                                      : (char) (f.table[at]
                                            ^ (1 << next_random(&seed) % 8));
        }

        switch (create(&f)) {

        case FAAS_OK:
            accepted++;

            while (ngx_http_faas_route_index_step(f.index, &matcher)
                   == FAAS_AGAIN)
            {
                /* void */
            }

            (void) route(&f, GET, "/a/b/12");
            (void) route(&f, POST, "/a/xz");
            (void) route(&f, HEAD, "/f1/b");
            (void) route(&f, GET, "");
            break;

        case FAAS_DECLINED:
            assert_null(f.index);
            break;

        default:
            fail();
        }

        fixture_drop(&f);
        free(f.table);
    }

    assert_in_range(accepted, 100, 20000);

    free(table);
}


static void
test_lookup_equals_the_definition_on_random_tables(void **state)
{
    int                              round, i, k, best;
    char                             text[64], path[16];
    size_t                           n;
    uint32_t                         seed;
    fixture_t                        f;
    ngx_http_faas_route_t           *r;
    ngx_http_faas_route_match_t      match;
    ngx_http_faas_route_query_t      query;
    ngx_http_faas_route_public_t    *public;

    (void) state;

    seed = 4711;

    for (round = 0; round < 300; round++) {
        fixture_init(&f);

        /* literals over a small alphabet, so that many are prefixes; each
           matches any path that begins with it, or that path alone */

        for (i = 0; i < 40; i++) {
            n = next_random(&seed) % 6;
            text[0] = '/';

            for (k = 1; k <= (int) n; k++) {
                text[k] = "ab"[next_random(&seed) % 2];
            }

            (void) strcpy(text + n + 1, next_random(&seed) % 3 ? ".*" : "");
            declare(&f, (uint32_t) i % BOARD, text);
        }

        build(&f);

        public = ngx_http_faas_route_index_public(f.index);

        for (i = 0; i < 50; i++) {
            n = next_random(&seed) % 8;
            path[0] = '/';

            for (k = 1; k <= (int) n; k++) {
                path[k] = "abc"[next_random(&seed) % 3];
            }

            query.path = path;
            query.length = n + 1;
            query.method = GET;

            best = -1;

            for (k = 0; k < (int) public->nroutes; k++) {
                r = &public->routes[k];

                if (r->literal > query.length
                    || memcmp(r->pattern, path, r->literal) != 0
                    || (r->literal == r->length
                        && r->length != query.length))
                {
                    continue;
                }

                if (best == -1 || r->literal > public->routes[best].literal) {
                    best = k;
                }
            }

            if (ngx_http_faas_route_index_match(f.index, &matcher, &query,
                                                &match) == FAAS_OK)
            {
                assert_ptr_equal(match.route, &public->routes[best]);

            } else {
                assert_int_equal(best, -1);
            }
        }

        fixture_free(&f);
    }
}


static int
setup(void **state)
{
    (void) state;

    return ngx_http_faas_route_matcher_init(&matcher);
}


static int
teardown(void **state)
{
    (void) state;

    ngx_http_faas_route_matcher_destroy(&matcher);

    return 0;
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_longest_literal_prefix_wins_then_table_order),
        cmocka_unit_test(
            test_literal_that_does_not_match_leaves_it_to_shorter_ones),
        cmocka_unit_test(test_pattern_must_match_the_whole_path),
        cmocka_unit_test(test_wrong_method_is_told_with_the_methods_there_are),
        cmocka_unit_test(
            test_longer_literal_of_another_method_does_not_hide_a_shorter_one),
        cmocka_unit_test(test_implicit_routes_come_after_declared_ones),
        cmocka_unit_test(
            test_own_claim_counts_when_its_methods_are_already_known),
        cmocka_unit_test(test_captures_are_encoded_and_binary_safe),
        cmocka_unit_test(test_as_many_groups_as_a_pattern_can_hold),
        cmocka_unit_test(test_captures_of_one_function_only),
        cmocka_unit_test(test_names_are_found_among_many),
        cmocka_unit_test(test_function_that_left_the_board_is_left_out),
        cmocka_unit_test(test_empty_table),
        cmocka_unit_test(test_ten_thousand_routes_cost_about_what_ten_do),
        cmocka_unit_test(
            test_building_stops_after_a_bounded_number_of_elements),
        cmocka_unit_test(
            test_patterns_that_one_path_may_meet_are_compiled_ahead),
        cmocka_unit_test(
            test_pattern_that_hits_its_limit_is_no_match_and_told_once),
        cmocka_unit_test(test_pattern_that_does_not_compile_is_told_once),
        cmocka_unit_test(test_pattern_in_utf_mode_takes_utf8_only),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_mutated_tables_never_crash),
        cmocka_unit_test(test_lookup_equals_the_definition_on_random_tables),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
