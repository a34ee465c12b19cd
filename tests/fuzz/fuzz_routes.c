/* objects: scoreboard/faas_routes.c worker/routes.c */
/* objects: scoreboard/faas_scoreboard.c base/loop.c base/log.c */
/* objects: ngx_faas_module/ngx_http_faas_route_index.c */
/* libs: -lpcre2-8 */

/*
 * Routes: their text, the table, and nginx's index of it.  First byte even: a
 * line with method and path, then routes of two functions, an empty line
 * between them; the index has to find what a walk over the table finds.  Odd:
 * the bytes of a table.
 */


#include "fuzz.h"

#include "routes.h"
#include "../../ngx_faas_module/ngx_http_faas_route_index.h"


#define TABLE  65536


typedef struct block_s  block_t;

struct block_s {
    block_t                  *next;
    uint64_t                  align;
};


static block_t                        *blocks;
static int                             troubles;
static ngx_http_faas_route_matcher_t   matcher;

static char  table[TABLE] __attribute__((aligned(8)));


static void *
give(void *data, size_t size)
{
    block_t  *b;

    (void) data;

    b = malloc(sizeof(block_t) + size);
    must(b != NULL);

    memset(b + 1, 0xa5, size);
    b->next = blocks;
    blocks = b;

    return b + 1;
}


static size_t
name_of(void *data, uint32_t function, uint32_t generation, char *dst)
{
    (void) data;
    (void) generation;

    memset(dst, 0, FAAS_NAME_SIZE);

    return (size_t) snprintf(dst, FAAS_NAME_SIZE, "f%u", function % 1000);
}


static void
trouble(void *data, ngx_http_faas_route_function_t *function,
    ngx_http_faas_route_t *route, int error)
{
    (void) data;

    must(function != NULL && route != NULL && error != 0);
    troubles++;
}


/* the rule of faas_routes.h, by a walk over the whole table */

static const faas_route_t *
walk(size_t used, const ngx_http_faas_route_query_t *q, int *hard)
{
    int                   rc, error;
    size_t                offset, at;
    pcre2_code           *code;
    const faas_route_t   *r, *best;
    pcre2_match_data     *m;

    offset = 0;
    best = NULL;

    while ((r = faas_route_at(table, used, &offset)) != NULL) {

        if (r->length == 0 || !(r->methods & q->method)) {
            continue;
        }

        code = pcre2_compile((PCRE2_SPTR) faas_route_pattern(r), r->length,
                             PCRE2_ANCHORED|PCRE2_ENDANCHORED
                             |PCRE2_NEVER_BACKSLASH_C,
                             &error, &at, NULL);

        if (code == NULL) {
            *hard = 1;
            continue;
        }

        m = pcre2_match_data_create_from_pattern(code, NULL);
        must(m != NULL);

        rc = pcre2_match(code, (PCRE2_SPTR) q->path, q->length, 0, 0, m,
                         matcher.match);

        if (rc > 0 && (best == NULL || r->literal > best->literal)) {
            best = r;
        }

        /* what runs into a limit is no match, and may do so here only */

        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
            *hard = 1;
        }

        pcre2_match_data_free(m);
        pcre2_code_free(code);
    }

    return best;
}


static void
look(const char *bytes, size_t used, ngx_http_faas_route_query_t *query,
    int compare)
{
    int                           rc, hard;
    char                         *params;
    size_t                        n;
    const faas_route_t           *best;
    ngx_http_faas_route_calls_t   calls;
    ngx_http_faas_route_match_t   match;
    ngx_http_faas_route_index_t  *index;
    block_t                      *b;

    memset(&calls, 0, sizeof(calls));
    calls.alloc = give;
    calls.name = name_of;
    calls.trouble = trouble;
    troubles = 0;

    if (ngx_http_faas_route_index_create(&index, &calls, bytes, used, 64)
        == FAAS_OK)
    {
        do {
            rc = ngx_http_faas_route_index_step(index, &matcher);
        } while (rc == FAAS_AGAIN);

        must(rc == FAAS_OK);

        memset(&match, 0, sizeof(match));
        rc = ngx_http_faas_route_index_match(index, &matcher, query, &match);

        must(rc == FAAS_OK || rc == FAAS_DECLINED);

        if (rc == FAAS_OK && match.route != NULL) {
            n = ngx_http_faas_route_params(&matcher, query, match.route,
                                           NULL);
            params = malloc(n + 1);
            must(params != NULL);
            must(ngx_http_faas_route_params(&matcher, query, match.route,
                                            params)
                 == n);
            free(params);
        }

        if (compare) {
            hard = 0;
            best = walk(used, query, &hard);

            if (!hard && troubles == 0) {
                must((best != NULL)
                     == (rc == FAAS_OK && match.route != NULL));
                must(best == NULL
                     || match.route->pattern == faas_route_pattern(best));
            }
        }

        ngx_http_faas_route_index_destroy(index);
    }

    while ((b = blocks) != NULL) {
        blocks = b->next;
        free(b);
    }
}


static void
refused(const routes_source_t *source, const faas_route_spec_t *spec,
    const routes_source_t *other)
{
    must(source != NULL && spec != NULL && other != source);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                           full, good;
    char                         *text, *p, *path, why[ROUTES_WHY_SIZE];
    size_t                        n, offset;
    const faas_route_t           *r;
    routes_source_t               source[2];
    ngx_http_faas_route_query_t   query;

    if (matcher.match == NULL) {
        must(ngx_http_faas_route_matcher_init(&matcher) == FAAS_OK);
    }

    if (size < 2 || size > 4096) {
        return 0;
    }

    memset(&query, 0, sizeof(query));

    if (data[0] & 1) {
        memcpy(table, data + 1, size - 1);

        offset = 0;

        while ((r = faas_route_at(table, size - 1, &offset)) != NULL) {
            must((const char *) r >= table
                 && faas_route_pattern(r) + r->length <= table + size - 1);
        }

        query.path = "/f1/x";
        query.length = 5;
        query.method = FAAS_METHOD_GET;

        look(table, size - 1, &query, 0);

        return 0;
    }

    text = fuzz_text(data + 1, size - 1);
    path = text;
    p = memchr(text, '\n', size - 1);

    if (p == NULL) {
        free(text);
        return 0;
    }

    query.path = path;
    query.length = (size_t) (p - path);
    query.method = data[0] & 2 ? FAAS_METHOD_POST : FAAS_METHOD_GET;
    p++;

    n = strlen(p);

    memset(source, 0, sizeof(source));
    source[0].function = 1;
    source[0].generation = 1;
    source[0].name = "f1";
    source[0].routes = p;
    source[1].function = 2;
    source[1].generation = 1;
    source[1].name = "f2";
    source[1].routes = "";

    p = strstr(p, "\n\n");
    source[0].length = p != NULL ? (size_t) (p - source[0].routes) : n;

    if (p != NULL) {
        source[1].routes = p + 2;
        source[1].length = strlen(p + 2);
    }

    good = routes_check(source[0].routes, source[0].length, why) == 0
           && routes_check(source[1].routes, source[1].length, why) == 0;

    /* the supervisor builds of what it has checked */

    if (good) {
        full = 0;
        n = routes_build(source, 2, table, TABLE, refused, &full);
        must(n <= TABLE && !full);

        look(table, n, &query, 1);
    }

    free(text);

    return 0;
}
