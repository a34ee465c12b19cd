
/*
 * The index that one nginx worker makes of a published route table
 * (faas_routes.h), and the lookup in it.  libc and PCRE2 only, so that it is
 * tested without nginx.
 *
 * Building goes in steps of a few dozen microseconds, so that a large table
 * does not hold up an event loop; nothing but the caller's allocator is asked
 * for memory, and only by _create().
 */


#ifndef NGX_HTTP_FAAS_ROUTE_INDEX_H_INCLUDED
#define NGX_HTTP_FAAS_ROUTE_INDEX_H_INCLUDED


#define PCRE2_CODE_UNIT_WIDTH  8
#include <pcre2.h>

#include "faas_scoreboard.h"
#include "faas_routes.h"


/* limits of one attempt to match one pattern */

#define NGX_HTTP_FAAS_MATCH_LIMIT      100000
#define NGX_HTTP_FAAS_MATCH_DEPTH      10000
#define NGX_HTTP_FAAS_MATCH_HEAP       4096              /* KiB */
#define NGX_HTTP_FAAS_MATCH_JIT_STACK  (256 * 1024)      /* bytes */

/* a path that may meet more patterns than this has them compiled ahead */
#define NGX_HTTP_FAAS_ROUTES_LAZY      16

/* the bit of a method that has none in FAAS_METHOD_*: only any-method routes
   have it */
#define NGX_HTTP_FAAS_METHOD_OTHER     0x8000


typedef struct ngx_http_faas_route_index_s  ngx_http_faas_route_index_t;


/* One function of the table.  Lives and dies with the index. */

typedef struct {
    char                      name[FAAS_NAME_SIZE];
    uint32_t                  length;        /* of the name */
    uint32_t                  function;      /* index on the board */
    uint32_t                  generation;    /* of that entry */
    uint32_t                  first;         /* of its routes, in the order */
    uint32_t                  last;          /* of the table; INDEX_NONE */
    uint64_t                  limited;       /* the lookup in which a pattern
                                                of it last hit a limit */
} ngx_http_faas_route_function_t;


/* One declared route.  Lives and dies with the index. */

typedef struct {
    const char               *pattern;       /* in the table's bytes */
    pcre2_code               *code;          /* NULL: not compiled (yet) */
    uint16_t                  length;        /* of the pattern */
    uint16_t                  literal;       /* == length: nothing to match */
    uint32_t                  methods;       /* GET brings HEAD along */
    uint32_t                  owner;         /* index in functions */
    uint32_t                  node;          /* of its literal prefix */
    uint32_t                  next;          /* of the same function */
    unsigned                  broken:1;      /* did not compile */
    unsigned                  reported:1;
} ngx_http_faas_route_t;


typedef struct {
    /* memory aligned for any type, freed by whoever made the index and
       after _destroy(); NULL fails the index as a whole */
    void                   *(*alloc)(void *data, size_t size);

    /* copies the name of that function into dst[FAAS_NAME_SIZE]; its length,
       or 0 when the entry is not of that generation any more */
    size_t                  (*name)(void *data, uint32_t function,
                                uint32_t generation, char *dst);

    /* a pattern did not compile or hit a limit, told once for each route of
       the index; error is PCRE2's */
    void                    (*trouble)(void *data,
                                ngx_http_faas_route_function_t *function,
                                ngx_http_faas_route_t *route, int error);

    void                     *data;
} ngx_http_faas_route_calls_t;


typedef struct {
    ngx_http_faas_route_calls_t     calls;

    ngx_http_faas_route_function_t *functions;
    uint32_t                        nfunctions;

    ngx_http_faas_route_t          *routes;     /* in the table's order */
    uint32_t                        nroutes;

    /* of the last lookup, for tests: literals compared, patterns run */
    uint32_t                        compared;
    uint32_t                        tried;
} ngx_http_faas_route_public_t;


/* What PCRE2 needs to match: one a process, for all its indexes. */

typedef struct {
    pcre2_compile_context    *compile;
    pcre2_match_context      *match;
    pcre2_match_data         *data;
    pcre2_jit_stack          *stack;         /* NULL: no JIT */
    unsigned                  jit:1;
} ngx_http_faas_route_matcher_t;


typedef struct {
    const char               *path;          /* any bytes, zeroes as well */
    size_t                    length;
    uint32_t                  method;        /* one bit */
} ngx_http_faas_route_query_t;


typedef struct {
    ngx_http_faas_route_function_t  *function;
    ngx_http_faas_route_t           *route;  /* NULL: implicit */
    uint32_t                         allow;  /* when declined: methods that
                                                would have been accepted */
} ngx_http_faas_route_match_t;


/* FAAS_OK or FAAS_ERROR (no memory, nothing is left behind) */
int ngx_http_faas_route_matcher_init(ngx_http_faas_route_matcher_t *m);
void ngx_http_faas_route_matcher_destroy(ngx_http_faas_route_matcher_t *m);

/*
 * Begins an index of table[n], aligned to 8 bytes, which must stay where it
 * is as long as the index; functions is the board's capacity.  FAAS_OK,
 * FAAS_DECLINED when the table is malformed, FAAS_ERROR without memory; but
 * for FAAS_OK, *index is not set.
 */
int ngx_http_faas_route_index_create(ngx_http_faas_route_index_t **index,
    const ngx_http_faas_route_calls_t *calls, const char *table, size_t n,
    uint32_t functions);

/* FAAS_AGAIN, to be called again; FAAS_OK: complete, lookups may begin */
int ngx_http_faas_route_index_step(ngx_http_faas_route_index_t *index,
    ngx_http_faas_route_matcher_t *m);

/* frees what PCRE2 holds; takes NULL */
void ngx_http_faas_route_index_destroy(ngx_http_faas_route_index_t *index);

/* functions and routes to walk over, and the counts */
ngx_http_faas_route_public_t *ngx_http_faas_route_index_public(
    ngx_http_faas_route_index_t *index);

/* NULL when there is none */
ngx_http_faas_route_function_t *ngx_http_faas_route_index_name(
    ngx_http_faas_route_index_t *index, const char *name, size_t length);

/*
 * The route for a path and method.  FAAS_OK; FAAS_DECLINED, then match->allow
 * is 0 when no route has this path, else the methods that it has.
 *
 * Of the declared routes whose pattern matches the whole path and which have
 * the method, the one with the longest literal prefix wins, then the first of
 * the table.  Where there is none, /NAME and /NAME/rest reach function NAME,
 * unless a route that NAME itself declares matches the path with other
 * methods: a function that names its methods means them.
 */
int ngx_http_faas_route_index_match(ngx_http_faas_route_index_t *index,
    ngx_http_faas_route_matcher_t *m, ngx_http_faas_route_query_t *query,
    ngx_http_faas_route_match_t *match);

/*
 * The same among one function's declared routes, whatever the method when
 * query->method is FAAS_METHOD_ANY.
 */
int ngx_http_faas_route_index_match_own(ngx_http_faas_route_index_t *index,
    ngx_http_faas_route_matcher_t *m, ngx_http_faas_route_query_t *query,
    ngx_http_faas_route_function_t *function,
    ngx_http_faas_route_match_t *match);

/*
 * Named captures of the match just made (by the last call of the above):
 * NAME=VALUE joined by '&', values percent-encoded, those that took no part
 * left out.  Writes to dst unless it is NULL; returns the length.
 */
size_t ngx_http_faas_route_params(ngx_http_faas_route_matcher_t *m,
    ngx_http_faas_route_query_t *query, ngx_http_faas_route_t *route,
    char *dst);


#endif /* NGX_HTTP_FAAS_ROUTE_INDEX_H_INCLUDED */
