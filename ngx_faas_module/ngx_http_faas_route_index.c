
/*
 * Index of a route table.
 *
 * The distinct literal prefixes ("nodes") stand sorted by their bytes, each
 * with the number of the longest other one that it begins with, its parent.
 * The literals that a path begins with are then found by one binary search
 * and a walk up: let N be the last node not greater than the path.  A node P
 * that the path begins with is not greater than N, and what lies between P
 * and a string that begins with P begins with P too; so P is N or one of N's
 * ancestors.  Parents are found the same way while the nodes are made, the
 * walk starting at the node before.
 *
 * So a lookup costs log2(nodes) comparisons, and the patterns that stand
 * behind literals of the path.  A pattern is compiled when it is first tried,
 * unless more than NGX_HTTP_FAAS_ROUTES_LAZY might be tried in one lookup:
 * those are compiled while the index is built.
 *
 * No path can hang the worker: each attempt has limits, and once a pattern of
 * a function has hit one, no more of that function's are tried in that
 * lookup.  A pattern that hits a limit counts as no match.
 */


#include <string.h>

#include "ngx_http_faas_route_index.h"


/* elements handled by one step of building */
#define NGX_HTTP_FAAS_ROUTE_STEP  256


typedef enum {
    NGX_HTTP_FAAS_ROUTE_READ = 0,
    NGX_HTTP_FAAS_ROUTE_SORT,
    NGX_HTTP_FAAS_ROUTE_LINK,
    NGX_HTTP_FAAS_ROUTE_COMPILE,
    NGX_HTTP_FAAS_ROUTE_DONE
} ngx_http_faas_route_phase_e;


/* One distinct literal prefix, with the routes that have it. */

typedef struct {
    const char               *text;
    uint32_t                  length;
    uint32_t                  parent;        /* INDEX_NONE: none */
    uint32_t                  first;         /* in sorted[] */
    uint32_t                  count;
    uint32_t                  chain;         /* patterns here and above */
    uint32_t                  ahead;         /* 1: compile while building */
} ngx_http_faas_route_node_t;


struct ngx_http_faas_route_index_s {
    ngx_http_faas_route_public_t     public; /* first: see _public() */

    const char                      *table;
    size_t                           size;

    uint32_t                        *names;  /* open hash: 0, or 1 + index
                                                in functions */
    uint32_t                         mask;
    uint32_t                        *owners; /* by index on the board, ditto */

    uint32_t                        *sorted; /* routes by literal, order */
    uint32_t                        *spare;  /* sorting's other half */
    ngx_http_faas_route_node_t      *nodes;
    uint32_t                         nnodes;

    uint64_t                         lookups;

    /* building: where it stands */
    ngx_http_faas_route_phase_e      phase;
    size_t                           offset;
    uint32_t                         at;     /* link, compile: next element */
    uint32_t                         width;  /* sort: length of sorted runs */
    uint32_t                         run;    /* begin of the pair of runs */
    uint32_t                         left;
    uint32_t                         right;
    uint32_t                         out;
};


/* what one lookup looks for */

typedef struct {
    ngx_http_faas_route_index_t     *index;
    ngx_http_faas_route_matcher_t   *matcher;
    ngx_http_faas_route_query_t     *query;
    uint32_t                         node;   /* deepest of the path's */
    uint32_t                         own;    /* the only function whose routes
                                                count, INDEX_NONE: all */
    ngx_http_faas_route_function_t  *implicit;
    unsigned                         claimed:1;    /* implicit function has
                                                      the path itself */
} ngx_http_faas_route_lookup_t;


static int ngx_http_faas_route_count(const char *table, size_t n,
    uint32_t functions, uint32_t *records, uint32_t *routes);
static int ngx_http_faas_route_alloc(ngx_http_faas_route_index_t *ix,
    uint32_t functions, uint32_t records, uint32_t routes);
static void *ngx_http_faas_route_calloc(ngx_http_faas_route_index_t *ix,
    size_t n, size_t size);
static int ngx_http_faas_route_step_read(ngx_http_faas_route_index_t *ix);
static void ngx_http_faas_route_read(ngx_http_faas_route_index_t *ix,
    const faas_route_t *record);
static uint32_t ngx_http_faas_route_owner(ngx_http_faas_route_index_t *ix,
    const faas_route_t *record);
static uint32_t *ngx_http_faas_route_bucket(ngx_http_faas_route_index_t *ix,
    const char *name, size_t length);
static int ngx_http_faas_route_step_sort(ngx_http_faas_route_index_t *ix);
static int ngx_http_faas_route_compare(ngx_http_faas_route_index_t *ix,
    uint32_t one, uint32_t two);
static int ngx_http_faas_route_step_link(ngx_http_faas_route_index_t *ix);
static void ngx_http_faas_route_link(ngx_http_faas_route_index_t *ix,
    uint32_t at);
static uint32_t ngx_http_faas_route_node_add(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_t *route);
static int ngx_http_faas_route_step_compile(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_matcher_t *m);
static int ngx_http_faas_route_compile(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_matcher_t *m, ngx_http_faas_route_t *route);
static void ngx_http_faas_route_trouble(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_t *route, int error);

static void ngx_http_faas_route_begin(ngx_http_faas_route_lookup_t *l,
    ngx_http_faas_route_index_t *ix, ngx_http_faas_route_matcher_t *m,
    ngx_http_faas_route_query_t *query);
static uint32_t ngx_http_faas_route_deepest(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_query_t *query);
static ngx_http_faas_route_t *ngx_http_faas_route_first(
    ngx_http_faas_route_lookup_t *l);
static uint32_t ngx_http_faas_route_allowed(ngx_http_faas_route_lookup_t *l);
static int ngx_http_faas_route_try(ngx_http_faas_route_lookup_t *l,
    ngx_http_faas_route_t *route);
static size_t ngx_http_faas_route_escape(const char *s, size_t n, char *dst);

#define ngx_http_faas_route_is_literal(route)                                 \
    ((route)->literal == (route)->length)


int
ngx_http_faas_route_matcher_init(ngx_http_faas_route_matcher_t *m)
{
    uint32_t  jit;

    memset(m, 0, sizeof(ngx_http_faas_route_matcher_t));

    m->compile = pcre2_compile_context_create(NULL);
    m->match = pcre2_match_context_create(NULL);

    /* a group takes two bytes of a pattern at least */
    m->data = pcre2_match_data_create(FAAS_ROUTE_PATTERN_MAX / 2 + 1, NULL);

    if (m->compile == NULL || m->match == NULL || m->data == NULL) {
        ngx_http_faas_route_matcher_destroy(m);
        return FAAS_ERROR;
    }

    (void) pcre2_set_match_limit(m->match, NGX_HTTP_FAAS_MATCH_LIMIT);
    (void) pcre2_set_depth_limit(m->match, NGX_HTTP_FAAS_MATCH_DEPTH);
    (void) pcre2_set_heap_limit(m->match, NGX_HTTP_FAAS_MATCH_HEAP);

    if (pcre2_config(PCRE2_CONFIG_JIT, &jit) < 0 || !jit) {
        return FAAS_OK;
    }

    m->stack = pcre2_jit_stack_create(32 * 1024,
                                      NGX_HTTP_FAAS_MATCH_JIT_STACK, NULL);

    if (m->stack != NULL) {
        pcre2_jit_stack_assign(m->match, NULL, m->stack);
        m->jit = 1;
    }

    return FAAS_OK;
}


void
ngx_http_faas_route_matcher_destroy(ngx_http_faas_route_matcher_t *m)
{
    pcre2_jit_stack_free(m->stack);
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->match);
    pcre2_compile_context_free(m->compile);

    memset(m, 0, sizeof(ngx_http_faas_route_matcher_t));
}


int
ngx_http_faas_route_index_create(ngx_http_faas_route_index_t **index,
    const ngx_http_faas_route_calls_t *calls, const char *table, size_t n,
    uint32_t functions)
{
    uint32_t                      records, routes;
    ngx_http_faas_route_index_t  *ix;

    if (ngx_http_faas_route_count(table, n, functions, &records, &routes)
        != FAAS_OK)
    {
        return FAAS_DECLINED;
    }

    ix = calls->alloc(calls->data, sizeof(ngx_http_faas_route_index_t));
    if (ix == NULL) {
        return FAAS_ERROR;
    }

    memset(ix, 0, sizeof(ngx_http_faas_route_index_t));

    ix->public.calls = *calls;
    ix->table = table;
    ix->size = n;

    if (ngx_http_faas_route_alloc(ix, functions, records, routes) != FAAS_OK) {
        return FAAS_ERROR;
    }

    *index = ix;

    return FAAS_OK;
}


/* sizes of what is to be made; the table is sound when this says so */

static int
ngx_http_faas_route_count(const char *table, size_t n, uint32_t functions,
    uint32_t *records, uint32_t *routes)
{
    size_t               offset;
    const faas_route_t  *record;

    *records = 0;
    *routes = 0;
    offset = 0;

    while ((record = faas_route_at(table, n, &offset)) != NULL) {

        if (record->function >= functions
            || (record->length == 0) != (record->methods == 0))
        {
            return FAAS_ERROR;
        }

        (*records)++;
        *routes += (record->length != 0);
    }

    return (offset == n) ? FAAS_OK : FAAS_ERROR;
}


static int
ngx_http_faas_route_alloc(ngx_http_faas_route_index_t *ix, uint32_t functions,
    uint32_t records, uint32_t routes)
{
    uint32_t  most, buckets;

    most = (records < functions) ? records : functions;

    for (buckets = 4; buckets < most * 2; buckets *= 2) { /* void */ }

    ix->mask = buckets - 1;
    ix->names = ngx_http_faas_route_calloc(ix, buckets, sizeof(uint32_t));
    ix->owners = ngx_http_faas_route_calloc(ix, functions, sizeof(uint32_t));

    ix->public.functions = ngx_http_faas_route_calloc(ix, most,
                                      sizeof(ngx_http_faas_route_function_t));
    ix->public.routes = ngx_http_faas_route_calloc(ix, routes,
                                      sizeof(ngx_http_faas_route_t));
    ix->nodes = ngx_http_faas_route_calloc(ix, routes,
                                      sizeof(ngx_http_faas_route_node_t));
    ix->sorted = ngx_http_faas_route_calloc(ix, routes, sizeof(uint32_t));
    ix->spare = ngx_http_faas_route_calloc(ix, routes, sizeof(uint32_t));

    if (ix->names == NULL || ix->owners == NULL
        || ix->public.functions == NULL || ix->public.routes == NULL
        || ix->nodes == NULL || ix->sorted == NULL || ix->spare == NULL)
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static void *
ngx_http_faas_route_calloc(ngx_http_faas_route_index_t *ix, size_t n,
    size_t size)
{
    void  *p;

    size *= (n != 0) ? n : 1;

    p = ix->public.calls.alloc(ix->public.calls.data, size);

    if (p != NULL) {
        memset(p, 0, size);
    }

    return p;
}


int
ngx_http_faas_route_index_step(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_matcher_t *m)
{
    int  rc;

    switch (ix->phase) {

    case NGX_HTTP_FAAS_ROUTE_READ:
        rc = ngx_http_faas_route_step_read(ix);
        break;

    case NGX_HTTP_FAAS_ROUTE_SORT:
        rc = ngx_http_faas_route_step_sort(ix);
        break;

    case NGX_HTTP_FAAS_ROUTE_LINK:
        rc = ngx_http_faas_route_step_link(ix);
        break;

    case NGX_HTTP_FAAS_ROUTE_COMPILE:
        rc = ngx_http_faas_route_step_compile(ix, m);
        break;

    default:
        return FAAS_OK;
    }

    if (rc == FAAS_OK) {
        ix->phase++;
        ix->at = 0;
    }

    return (ix->phase == NGX_HTTP_FAAS_ROUTE_DONE) ? FAAS_OK : FAAS_AGAIN;
}


static int
ngx_http_faas_route_step_read(ngx_http_faas_route_index_t *ix)
{
    uint32_t             n;
    const faas_route_t  *record;

    for (n = 0; n < NGX_HTTP_FAAS_ROUTE_STEP; n++) {

        record = faas_route_at(ix->table, ix->size, &ix->offset);

        if (record == NULL) {
            ix->width = 1;
            ix->right = (ix->public.nroutes != 0);
            return FAAS_OK;
        }

        ngx_http_faas_route_read(ix, record);
    }

    return FAAS_AGAIN;
}


static void
ngx_http_faas_route_read(ngx_http_faas_route_index_t *ix,
    const faas_route_t *record)
{
    uint32_t                         owner, n;
    ngx_http_faas_route_t           *route;
    ngx_http_faas_route_function_t  *function;

    owner = ngx_http_faas_route_owner(ix, record);

    if (owner == FAAS_INDEX_NONE || record->length == 0) {
        return;
    }

    n = ix->public.nroutes++;

    route = &ix->public.routes[n];

    route->pattern = faas_route_pattern(record);
    route->length = record->length;
    route->literal = record->literal;
    route->methods = record->methods;
    route->owner = owner;
    route->next = FAAS_INDEX_NONE;

    if (route->methods & FAAS_METHOD_GET) {
        route->methods |= FAAS_METHOD_HEAD;
    }

    function = &ix->public.functions[owner];

    if (function->first == FAAS_INDEX_NONE) {
        function->first = n;

    } else {
        ix->public.routes[function->last].next = n;
    }

    function->last = n;
    ix->sorted[n] = n;
}


/* index of the record's function, or INDEX_NONE: the board has moved on */

static uint32_t
ngx_http_faas_route_owner(ngx_http_faas_route_index_t *ix,
    const faas_route_t *record)
{
    uint32_t                         n, *bucket;
    ngx_http_faas_route_function_t  *function;

    n = ix->owners[record->function];

    if (n != 0) {
        function = &ix->public.functions[n - 1];

        return (function->generation == record->generation)
               ? n - 1 : FAAS_INDEX_NONE;
    }

    n = ix->public.nfunctions;
    function = &ix->public.functions[n];

    function->length = (uint32_t) ix->public.calls.name(ix->public.calls.data,
                                                        record->function,
                                                        record->generation,
                                                        function->name);

    if (function->length == 0) {
        return FAAS_INDEX_NONE;
    }

    bucket = ngx_http_faas_route_bucket(ix, function->name, function->length);

    if (*bucket != 0) {
        return FAAS_INDEX_NONE;
    }

    function->function = record->function;
    function->generation = record->generation;
    function->first = FAAS_INDEX_NONE;
    function->last = FAAS_INDEX_NONE;

    ix->public.nfunctions++;
    ix->owners[record->function] = n + 1;
    *bucket = n + 1;

    return n;
}


/* where the name stands in the hash, or the free bucket where it would */

static uint32_t *
ngx_http_faas_route_bucket(ngx_http_faas_route_index_t *ix, const char *name,
    size_t length)
{
    size_t                           i;
    uint32_t                         hash, n;
    ngx_http_faas_route_function_t  *function;

    hash = 2166136261u;

    for (i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char) name[i]) * 16777619u;
    }

    hash ^= hash >> 15;

    /* at most half of the buckets are taken */

    for ( ;; hash++) {
        n = ix->names[hash & ix->mask];

        if (n == 0) {
            break;
        }

        function = &ix->public.functions[n - 1];

        if (function->length == length
            && memcmp(function->name, name, length) == 0)
        {
            break;
        }
    }

    return &ix->names[hash & ix->mask];
}


/* a merge sort from the bottom up: it can stop after any element */

static int
ngx_http_faas_route_step_sort(ngx_http_faas_route_index_t *ix)
{
    uint32_t  n, step, middle, end, *swap;

    n = ix->public.nroutes;

    for (step = 0; step < NGX_HTTP_FAAS_ROUTE_STEP; step++) {

        if (ix->width >= n) {
            return FAAS_OK;
        }

        middle = (n - ix->run > ix->width) ? ix->run + ix->width : n;
        end = (n - middle > ix->width) ? middle + ix->width : n;

        if (ix->left < middle
            && (ix->right == end
                || ngx_http_faas_route_compare(ix, ix->sorted[ix->left],
                                               ix->sorted[ix->right]) <= 0))
        {
            ix->spare[ix->out++] = ix->sorted[ix->left++];

        } else {
            ix->spare[ix->out++] = ix->sorted[ix->right++];
        }

        if (ix->out != end) {
            continue;
        }

        /* this pair of runs is one now */

        if (end == n) {
            swap = ix->sorted;
            ix->sorted = ix->spare;
            ix->spare = swap;

            ix->width *= 2;
            end = 0;
        }

        ix->run = end;
        ix->left = end;
        ix->out = end;
        ix->right = (n - end > ix->width) ? end + ix->width : n;
    }

    return FAAS_AGAIN;
}


/* by the bytes of the literal; the sort is stable, so then by order */

static int
ngx_http_faas_route_compare(ngx_http_faas_route_index_t *ix, uint32_t one,
    uint32_t two)
{
    int                     rc;
    size_t                  n;
    ngx_http_faas_route_t  *a, *b;

    a = &ix->public.routes[one];
    b = &ix->public.routes[two];

    n = (a->literal < b->literal) ? a->literal : b->literal;

    rc = memcmp(a->pattern, b->pattern, n);

    return (rc != 0) ? rc : (int) a->literal - (int) b->literal;
}


static int
ngx_http_faas_route_step_link(ngx_http_faas_route_index_t *ix)
{
    uint32_t  n;

    for (n = 0; n < NGX_HTTP_FAAS_ROUTE_STEP; n++) {

        if (ix->at == ix->public.nroutes) {
            return FAAS_OK;
        }

        ngx_http_faas_route_link(ix, ix->at++);
    }

    return FAAS_AGAIN;
}


static void
ngx_http_faas_route_link(ngx_http_faas_route_index_t *ix, uint32_t at)
{
    uint32_t                     n;
    ngx_http_faas_route_t       *route;
    ngx_http_faas_route_node_t  *node;

    route = &ix->public.routes[ix->sorted[at]];

    n = ngx_http_faas_route_node_add(ix, route);
    node = &ix->nodes[n];

    if (node->count++ == 0) {
        node->first = at;
    }

    route->node = n;

    if (ngx_http_faas_route_is_literal(route)) {
        return;
    }

    node->chain++;

    if (node->chain <= NGX_HTTP_FAAS_ROUTES_LAZY) {
        return;
    }

    /* a path that gets here may have to try all of them */

    while (n != FAAS_INDEX_NONE && !ix->nodes[n].ahead) {
        ix->nodes[n].ahead = 1;
        n = ix->nodes[n].parent;
    }
}


static uint32_t
ngx_http_faas_route_node_add(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_t *route)
{
    uint32_t                     n;
    ngx_http_faas_route_node_t  *node;

    n = ix->nnodes - 1;                      /* INDEX_NONE when there is none */

    while (n != FAAS_INDEX_NONE) {
        node = &ix->nodes[n];

        if (node->length <= route->literal
            && memcmp(node->text, route->pattern, node->length) == 0)
        {
            if (node->length == route->literal) {
                return n;
            }

            break;
        }

        n = node->parent;
    }

    node = &ix->nodes[ix->nnodes];

    node->text = route->pattern;
    node->length = route->literal;
    node->parent = n;
    node->chain = (n != FAAS_INDEX_NONE) ? ix->nodes[n].chain : 0;

    return ix->nnodes++;
}


static int
ngx_http_faas_route_step_compile(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_matcher_t *m)
{
    uint32_t                n;
    ngx_http_faas_route_t  *route;

    for (n = 0; n < NGX_HTTP_FAAS_ROUTE_STEP; n++) {

        if (ix->at == ix->public.nroutes) {
            return FAAS_OK;
        }

        route = &ix->public.routes[ix->at++];

        if (ngx_http_faas_route_is_literal(route)
            || !ix->nodes[route->node].ahead)
        {
            continue;
        }

        (void) ngx_http_faas_route_compile(ix, m, route);

        return FAAS_AGAIN;
    }

    return FAAS_AGAIN;
}


static int
ngx_http_faas_route_compile(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_matcher_t *m, ngx_http_faas_route_t *route)
{
    int         error;
    PCRE2_SIZE  offset;

    route->code = pcre2_compile((PCRE2_SPTR) route->pattern, route->length,
                                PCRE2_ANCHORED | PCRE2_ENDANCHORED
                                | PCRE2_DOLLAR_ENDONLY
                                | PCRE2_NEVER_BACKSLASH_C,
                                &error, &offset, m->compile);

    if (route->code == NULL) {

        /* without memory the next lookup tries again */

        if (error != PCRE2_ERROR_HEAP_FAILED) {
            route->broken = 1;
        }

        ngx_http_faas_route_trouble(ix, route, error);

        return FAAS_ERROR;
    }

    if (m->jit) {
        (void) pcre2_jit_compile(route->code, PCRE2_JIT_COMPLETE);
    }

    return FAAS_OK;
}


static void
ngx_http_faas_route_trouble(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_t *route, int error)
{
    if (route->reported) {
        return;
    }

    route->reported = 1;

    ix->public.calls.trouble(ix->public.calls.data,
                             &ix->public.functions[route->owner], route,
                             error);
}


void
ngx_http_faas_route_index_destroy(ngx_http_faas_route_index_t *ix)
{
    uint32_t  n;

    if (ix == NULL) {
        return;
    }

    for (n = 0; n < ix->public.nroutes; n++) {
        pcre2_code_free(ix->public.routes[n].code);
        ix->public.routes[n].code = NULL;
    }
}


ngx_http_faas_route_public_t *
ngx_http_faas_route_index_public(ngx_http_faas_route_index_t *ix)
{
    return &ix->public;
}


ngx_http_faas_route_function_t *
ngx_http_faas_route_index_name(ngx_http_faas_route_index_t *ix,
    const char *name, size_t length)
{
    uint32_t  n;

    if (length == 0 || length >= FAAS_NAME_SIZE) {
        return NULL;
    }

    n = *ngx_http_faas_route_bucket(ix, name, length);

    return (n != 0) ? &ix->public.functions[n - 1] : NULL;
}


int
ngx_http_faas_route_index_match(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_matcher_t *m, ngx_http_faas_route_query_t *query,
    ngx_http_faas_route_match_t *match)
{
    size_t                        n;
    const char                   *slash;
    ngx_http_faas_route_lookup_t  l;

    ngx_http_faas_route_begin(&l, ix, m, query);

    match->allow = 0;
    match->route = ngx_http_faas_route_first(&l);

    if (match->route != NULL) {
        match->function = &ix->public.functions[match->route->owner];
        return FAAS_OK;
    }

    if (query->length > 1 && query->path[0] == '/') {
        n = query->length - 1;
        slash = memchr(query->path + 1, '/', n);

        if (slash != NULL) {
            n = (size_t) (slash - query->path) - 1;
        }

        l.implicit = ngx_http_faas_route_index_name(ix, query->path + 1, n);
    }

    match->allow = ngx_http_faas_route_allowed(&l);
    match->function = l.implicit;

    if (l.implicit != NULL && !l.claimed) {
        match->allow = 0;
        return FAAS_OK;
    }

    return FAAS_DECLINED;
}


int
ngx_http_faas_route_index_match_own(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_matcher_t *m, ngx_http_faas_route_query_t *query,
    ngx_http_faas_route_function_t *function,
    ngx_http_faas_route_match_t *match)
{
    ngx_http_faas_route_lookup_t  l;

    ngx_http_faas_route_begin(&l, ix, m, query);

    l.own = (uint32_t) (function - ix->public.functions);

    match->allow = 0;
    match->function = function;
    match->route = ngx_http_faas_route_first(&l);

    return (match->route != NULL) ? FAAS_OK : FAAS_DECLINED;
}


static void
ngx_http_faas_route_begin(ngx_http_faas_route_lookup_t *l,
    ngx_http_faas_route_index_t *ix, ngx_http_faas_route_matcher_t *m,
    ngx_http_faas_route_query_t *query)
{
    memset(l, 0, sizeof(ngx_http_faas_route_lookup_t));

    ix->lookups++;
    ix->public.compared = 0;
    ix->public.tried = 0;

    l->index = ix;
    l->matcher = m;
    l->query = query;
    l->own = FAAS_INDEX_NONE;
    l->node = ngx_http_faas_route_deepest(ix, query);
}


/* the longest literal that the path begins with; see the head of this file */

static uint32_t
ngx_http_faas_route_deepest(ngx_http_faas_route_index_t *ix,
    ngx_http_faas_route_query_t *query)
{
    int                          rc;
    size_t                       n;
    uint32_t                     low, high, middle;
    ngx_http_faas_route_node_t  *node;

    low = 0;
    high = ix->nnodes;

    while (low < high) {
        middle = low + (high - low) / 2;
        node = &ix->nodes[middle];

        n = (node->length < query->length) ? node->length : query->length;

        ix->public.compared++;

        rc = (n != 0) ? memcmp(node->text, query->path, n) : 0;

        if (rc < 0 || (rc == 0 && node->length <= query->length)) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    if (low == 0) {
        return FAAS_INDEX_NONE;
    }

    node = &ix->nodes[low - 1];

    for (n = 0; n < node->length && n < query->length; n++) {
        if (node->text[n] != query->path[n]) {
            break;
        }
    }

    for (low--; low != FAAS_INDEX_NONE; low = ix->nodes[low].parent) {
        if (ix->nodes[low].length <= n) {
            break;
        }
    }

    return low;
}


static ngx_http_faas_route_t *
ngx_http_faas_route_first(ngx_http_faas_route_lookup_t *l)
{
    uint32_t                      n, i;
    ngx_http_faas_route_t        *route;
    ngx_http_faas_route_node_t   *node;
    ngx_http_faas_route_index_t  *ix;

    ix = l->index;

    for (n = l->node; n != FAAS_INDEX_NONE; n = node->parent) {
        node = &ix->nodes[n];

        for (i = node->first; i < node->first + node->count; i++) {
            route = &ix->public.routes[ix->sorted[i]];

            if ((route->methods & l->query->method)
                && (l->own == FAAS_INDEX_NONE || l->own == route->owner)
                && ngx_http_faas_route_try(l, route))
            {
                return route;
            }
        }
    }

    return NULL;
}


/* the methods of the routes that match but for the method */

static uint32_t
ngx_http_faas_route_allowed(ngx_http_faas_route_lookup_t *l)
{
    uint32_t                         n, i, allow;
    ngx_http_faas_route_t           *route;
    ngx_http_faas_route_node_t      *node;
    ngx_http_faas_route_index_t     *ix;
    ngx_http_faas_route_function_t  *owner;

    ix = l->index;
    allow = 0;

    for (n = l->node; n != FAAS_INDEX_NONE; n = node->parent) {
        node = &ix->nodes[n];

        for (i = node->first; i < node->first + node->count; i++) {
            route = &ix->public.routes[ix->sorted[i]];

            if (route->methods & l->query->method) {
                continue;
            }

            owner = &ix->public.functions[route->owner];

            /* nothing new to learn from it */

            if ((route->methods & ~allow) == 0
                && (owner != l->implicit || l->claimed))
            {
                continue;
            }

            if (ngx_http_faas_route_try(l, route)) {
                allow |= route->methods;

                if (owner == l->implicit) {
                    l->claimed = 1;
                }
            }
        }
    }

    return allow;
}


/* 1: the whole path is of this route, whose literal it begins with */

static int
ngx_http_faas_route_try(ngx_http_faas_route_lookup_t *l,
    ngx_http_faas_route_t *route)
{
    int                              rc;
    PCRE2_SPTR                       path;
    ngx_http_faas_route_index_t     *ix;
    ngx_http_faas_route_function_t  *owner;

    if (ngx_http_faas_route_is_literal(route)) {
        return route->length == l->query->length;
    }

    ix = l->index;
    owner = &ix->public.functions[route->owner];

    if (route->broken || owner->limited == ix->lookups) {
        return 0;
    }

    if (route->code == NULL
        && ngx_http_faas_route_compile(ix, l->matcher, route) != FAAS_OK)
    {
        return 0;
    }

    ix->public.tried++;

    path = (PCRE2_SPTR) (l->query->length != 0 ? l->query->path : "");

    rc = pcre2_match(route->code, path, l->query->length, 0, 0,
                     l->matcher->data, l->matcher->match);

    if (rc >= 0) {
        return 1;
    }

    /* a path that is not UTF-8 is no fault of a pattern that asks for it */

    if (rc != PCRE2_ERROR_NOMATCH
        && (rc > PCRE2_ERROR_UTF8_ERR1 || rc < PCRE2_ERROR_UTF8_ERR21))
    {
        owner->limited = ix->lookups;
        ngx_http_faas_route_trouble(ix, route, rc);
    }

    return 0;
}


size_t
ngx_http_faas_route_params(ngx_http_faas_route_matcher_t *m,
    ngx_http_faas_route_query_t *query, ngx_http_faas_route_t *route,
    char *dst)
{
    char         *out;
    size_t        n, length, name, value;
    uint32_t      i, count, size, group;
    PCRE2_SPTR    entry, last;
    PCRE2_SIZE   *vector;

    if (route == NULL || route->code == NULL) {
        return 0;
    }

    (void) pcre2_pattern_info(route->code, PCRE2_INFO_NAMECOUNT, &count);
    (void) pcre2_pattern_info(route->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    (void) pcre2_pattern_info(route->code, PCRE2_INFO_NAMETABLE, &entry);

    vector = pcre2_get_ovector_pointer(m->data);

    n = 0;
    last = NULL;

    for (i = 0; i < count; i++, entry += size) {
        group = (uint32_t) entry[0] << 8 | entry[1];

        if (vector[2 * group] == PCRE2_UNSET
            || vector[2 * group] > vector[2 * group + 1]
            || vector[2 * group + 1] > query->length)
        {
            continue;
        }

        /* (?J) allows a name twice: equal ones are neighbours */

        if (last != NULL
            && strcmp((const char *) last, (const char *) entry + 2) == 0)
        {
            continue;
        }

        last = entry + 2;

        name = strlen((const char *) last);
        length = vector[2 * group + 1] - vector[2 * group];

        out = (dst != NULL) ? dst + n : NULL;
        value = (n != 0) + name + 1;

        if (out != NULL) {
            if (n != 0) {
                *out++ = '&';
            }

            memcpy(out, last, name);
            out += name;
            *out++ = '=';
        }

        n += value;
        n += ngx_http_faas_route_escape(query->path + vector[2 * group],
                                        length, out);
    }

    return n;
}


static size_t
ngx_http_faas_route_escape(const char *s, size_t n, char *dst)
{
    size_t              i, length;
    unsigned char       c;

    static const char  hex[] = "0123456789ABCDEF";
    static const char  mark[] = "-._~";

    length = 0;

    for (i = 0; i < n; i++) {
        c = (unsigned char) s[i];

        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
            || (c >= 'A' && c <= 'Z')
            || memchr(mark, c, sizeof(mark) - 1) != NULL)
        {
            if (dst != NULL) {
                *dst++ = (char) c;
            }

            length++;
            continue;
        }

        if (dst != NULL) {
            *dst++ = '%';
            *dst++ = hex[c >> 4];
            *dst++ = hex[c & 0xf];
        }

        length += 3;
    }

    return length;
}
