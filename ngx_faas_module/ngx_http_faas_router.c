
/*
 * Route table to function.
 *
 * The supervisor publishes the table on the board; each worker makes an index
 * of it (ngx_http_faas_route_index.c).  A request compares one number, the
 * epoch; when it has changed, a new index is begun, and built in slices of at
 * most ROUTER_SLICE between other events while the old one serves.  Only a
 * worker that has none yet builds its first one in one go.
 *
 * An index has its own pool, destroyed as a whole.  Whatever goes wrong while
 * one is made (no memory, a malformed table), the old one stays.
 *
 * Reading the table.  The supervisor writes into the buffer that the epoch
 * does not name, then raises the epoch; from then on it may write into the
 * other one.  So a copy made of the epoch's buffer is whole if the epoch is
 * the same before and after.
 */


#include "ngx_http_faas_module.h"
#include "ngx_http_faas_router.h"


#define NGX_HTTP_FAAS_ROUTER_SLICE   1000     /* microseconds in one go */
#define NGX_HTTP_FAAS_ROUTER_READS   3        /* copies, for one request */
#define NGX_HTTP_FAAS_ROUTER_PARAMS  32768    /* bytes, of FAAS_PARAMS */


/* with this begin the names of the platform's own functions, which nobody
   calls by a route or name */
#define NGX_HTTP_FAAS_PLATFORM  '_'


/* One index with all that it stands on. */

typedef struct {
    ngx_pool_t                       *pool;
    ngx_http_faas_route_index_t      *index;
} ngx_http_faas_router_table_t;


/* This worker's router.  Lives as long as the process. */

typedef struct {
    ngx_http_faas_router_table_t     *table;    /* NULL: none yet */
    ngx_http_faas_router_table_t     *next;     /* being built, or NULL */
    ngx_http_faas_route_matcher_t     matcher;
    ngx_event_t                       build;
    uint64_t                          epoch;    /* of the last one begun */
    time_t                            retry;    /* no memory: not before */
    unsigned                          ready:1;  /* matcher holds */
    unsigned                          begun:1;  /* epoch holds */
} ngx_http_faas_router_t;


static ngx_http_faas_route_index_t *ngx_http_faas_router_current(void);
static ngx_int_t ngx_http_faas_router_init(void);
static ngx_int_t ngx_http_faas_router_begin(uint64_t epoch);
static ngx_int_t ngx_http_faas_router_read(ngx_pool_t *pool, uint64_t epoch,
    ngx_str_t *text);
static void ngx_http_faas_router_build(ngx_event_t *ev);
static void ngx_http_faas_router_drop(ngx_http_faas_router_table_t *table);
static void *ngx_http_faas_router_alloc(void *data, size_t size);
static size_t ngx_http_faas_router_function_name(void *data,
    uint32_t function, uint32_t generation, char *dst);
static void ngx_http_faas_router_trouble(void *data,
    ngx_http_faas_route_function_t *function, ngx_http_faas_route_t *route,
    int error);

static void ngx_http_faas_router_path(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_router_match_uri(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx,
    ngx_http_faas_route_index_t *index);
static ngx_int_t ngx_http_faas_router_match_target(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx,
    ngx_http_faas_route_index_t *index);
static ngx_int_t ngx_http_faas_router_names(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_router_found(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx, ngx_http_faas_route_query_t *query,
    ngx_http_faas_route_match_t *match);
static uint32_t ngx_http_faas_router_method(ngx_http_request_t *r);


static ngx_http_faas_router_t  ngx_http_faas_router;


ngx_int_t
ngx_http_faas_router_match(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx)
{
    ngx_http_faas_route_index_t  *index;

    ngx_http_faas_router_path(r, flcf, ctx);

    index = ngx_http_faas_router_current();

    if (index == NULL) {
        return NGX_DECLINED;
    }

    if (flcf->target != NULL || ctx->callee.len) {
        return ngx_http_faas_router_match_target(r, flcf, ctx, index);
    }

    return ngx_http_faas_router_match_uri(r, flcf, ctx, index);
}


uint32_t
ngx_http_faas_router_name(ngx_str_t *name, uint32_t *generation)
{
    ngx_http_faas_route_index_t     *index;
    ngx_http_faas_route_function_t  *function;

    index = ngx_http_faas_router_current();

    if (index == NULL) {
        return FAAS_INDEX_NONE;
    }

    function = ngx_http_faas_route_index_name(index, (char *) name->data,
                                              name->len);
    if (function == NULL) {
        return FAAS_INDEX_NONE;
    }

    *generation = function->generation;

    return function->function;
}


ngx_http_faas_route_index_t *
ngx_http_faas_router_index(void)
{
    return ngx_http_faas_router_current();
}


/*
 * The index to use now.  When the table has changed a new one is begun, but
 * only after the one under way is complete: a table that changes faster than
 * an index is built would otherwise never come into use.
 */

static ngx_http_faas_route_index_t *
ngx_http_faas_router_current(void)
{
    uint64_t                 epoch;
    ngx_uint_t               n;
    faas_scoreboard_t       *board;
    ngx_http_faas_router_t  *router;

    board = ngx_http_faas_host.board;
    router = &ngx_http_faas_router;

    if (board == NULL) {
        return NULL;
    }

    for (n = 0; n < NGX_HTTP_FAAS_ROUTER_READS; n++) {

        epoch = atomic_load_explicit(&board->route_epoch,
                                     memory_order_acquire);

        if ((router->begun && router->epoch == epoch)
            || router->next != NULL
            || ngx_time() < router->retry)
        {
            break;
        }

        if (ngx_http_faas_router_begin(epoch) != NGX_AGAIN) {
            ngx_http_faas_router_build(&router->build);
            break;
        }
    }

    return (router->table != NULL) ? router->table->index : NULL;
}


static ngx_int_t
ngx_http_faas_router_init(void)
{
    ngx_http_faas_router_t  *router;

    router = &ngx_http_faas_router;

    if (router->ready) {
        return NGX_OK;
    }

    if (ngx_http_faas_route_matcher_init(&router->matcher) != FAAS_OK) {
        return NGX_ERROR;
    }

    router->build.handler = ngx_http_faas_router_build;
    router->build.data = router;
    router->ready = 1;

    return NGX_OK;
}


/*
 * NGX_OK: an index is being built; NGX_DECLINED: the table is not good for
 * one; NGX_AGAIN: it keeps changing; NGX_ERROR: no memory.
 */

static ngx_int_t
ngx_http_faas_router_begin(uint64_t epoch)
{
    int                            rc;
    ngx_int_t                      read;
    ngx_str_t                      text;
    ngx_pool_t                    *pool;
    ngx_http_faas_router_t        *router;
    ngx_http_faas_route_calls_t    calls;
    ngx_http_faas_router_table_t  *table;

    router = &ngx_http_faas_router;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);

    if (pool == NULL || ngx_http_faas_router_init() != NGX_OK) {
        goto failed;
    }

    table = ngx_pcalloc(pool, sizeof(ngx_http_faas_router_table_t));

    if (table == NULL) {
        goto failed;
    }

    table->pool = pool;

    read = ngx_http_faas_router_read(pool, epoch, &text);

    if (read == NGX_ERROR) {
        goto failed;
    }

    if (read == NGX_AGAIN) {
        ngx_destroy_pool(pool);
        return NGX_AGAIN;
    }

    rc = FAAS_DECLINED;

    if (read == NGX_OK) {
        calls.alloc = ngx_http_faas_router_alloc;
        calls.name = ngx_http_faas_router_function_name;
        calls.trouble = ngx_http_faas_router_trouble;
        calls.data = pool;

        rc = ngx_http_faas_route_index_create(&table->index, &calls,
                                        (char *) text.data, text.len,
                                        ngx_http_faas_host.board->functions);
    }

    if (rc == FAAS_ERROR) {
        goto failed;
    }

    router->begun = 1;
    router->epoch = epoch;

    if (rc != FAAS_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "faas: route table %uL is malformed, the one before it"
                      " stays in use", epoch);
        ngx_destroy_pool(pool);
        return NGX_DECLINED;
    }

    router->next = table;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "faas: no memory for route table %uL, the one before it"
                  " stays in use", epoch);

    if (pool != NULL) {
        ngx_destroy_pool(pool);
    }

    router->retry = ngx_time() + 1;

    return NGX_ERROR;
}


/* copies the table; the argument that this is whole stands above */

static ngx_int_t
ngx_http_faas_router_read(ngx_pool_t *pool, uint64_t epoch, ngx_str_t *text)
{
    u_char               *p;
    size_t                size, length;
    faas_scoreboard_t    *board;
    faas_route_buffer_t  *buffer;

    board = ngx_http_faas_host.board;
    buffer = faas_scoreboard_routes(board, epoch);

    size = board->route_size - sizeof(faas_route_buffer_t);
    length = atomic_load_explicit(&buffer->length, memory_order_acquire);

    p = NULL;

    if (length <= size) {
        p = ngx_palloc(pool, ngx_max(length, 1));
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, buffer->data, length);
    }

    atomic_thread_fence(memory_order_acquire);

    if (atomic_load_explicit(&board->route_epoch, memory_order_relaxed)
        != epoch)
    {
        return NGX_AGAIN;
    }

    if (p == NULL) {
        return NGX_DECLINED;
    }

    text->data = p;
    text->len = length;

    return NGX_OK;
}


static void
ngx_http_faas_router_build(ngx_event_t *ev)
{
    int                            rc;
    uint64_t                       end;
    ngx_http_faas_router_t        *router;
    ngx_http_faas_router_table_t  *old;

    router = &ngx_http_faas_router;

    if (router->next == NULL) {
        return;
    }

    end = ngx_http_faas_now_us() + NGX_HTTP_FAAS_ROUTER_SLICE;

    do {
        rc = ngx_http_faas_route_index_step(router->next->index,
                                            &router->matcher);

    } while (rc == FAAS_AGAIN
             && (router->table == NULL || ngx_http_faas_now_us() < end));

    if (rc == FAAS_AGAIN) {
        ev->log = ngx_cycle->log;
        ngx_post_event(ev, &ngx_posted_next_events);
        return;
    }

    old = router->table;
    router->table = router->next;
    router->next = NULL;

    ngx_http_faas_router_drop(old);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "faas: routes of epoch %uL in use", router->epoch);
}


static void
ngx_http_faas_router_drop(ngx_http_faas_router_table_t *table)
{
    if (table == NULL) {
        return;
    }

    ngx_http_faas_route_index_destroy(table->index);

    /* the cycle that it was made in may be gone */
    table->pool->log = ngx_cycle->log;

    ngx_destroy_pool(table->pool);
}


static void *
ngx_http_faas_router_alloc(void *data, size_t size)
{
    ngx_pool_t  *pool = data;

    return ngx_palloc(pool, size);
}


static size_t
ngx_http_faas_router_function_name(void *data, uint32_t function,
    uint32_t generation, char *dst)
{
    size_t            n;
    faas_function_t  *f;

    f = faas_scoreboard_function(ngx_http_faas_host.board, function);

    if (atomic_load_explicit(&f->generation, memory_order_acquire)
        != generation)
    {
        return 0;
    }

    ngx_memcpy(dst, f->name, FAAS_NAME_SIZE);

    atomic_thread_fence(memory_order_acquire);

    if (atomic_load_explicit(&f->generation, memory_order_relaxed)
        != generation)
    {
        return 0;
    }

    n = ngx_strnlen((u_char *) dst, FAAS_NAME_SIZE);

    return (n < FAAS_NAME_SIZE) ? n : 0;
}


static void
ngx_http_faas_router_trouble(void *data,
    ngx_http_faas_route_function_t *function, ngx_http_faas_route_t *route,
    int error)
{
    u_char     text[256];
    ngx_str_t  name, pattern;

    if (pcre2_get_error_message(error, text, sizeof(text)) < 0) {
        text[0] = '\0';
    }

    name.len = function->length;
    name.data = (u_char *) function->name;

    pattern.len = route->length;
    pattern.data = (u_char *) route->pattern;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "faas: route \"%V\" of function \"%V\" counts as no match:"
                  " %s (%d)", &pattern, &name, text, error);
}


/* ctx->path: what stands behind the location's prefix */

static void
ngx_http_faas_router_path(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx)
{
    ctx->path = r->uri;

    if (flcf->prefix.len != 0
        && r->uri.len >= flcf->prefix.len
        && ngx_memcmp(r->uri.data, flcf->prefix.data, flcf->prefix.len) == 0)
    {
        ctx->path.data += flcf->prefix.len;
        ctx->path.len -= flcf->prefix.len;
    }
}


static ngx_int_t
ngx_http_faas_router_match_uri(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx,
    ngx_http_faas_route_index_t *index)
{
    int                          rc;
    ngx_http_faas_route_match_t  match;
    ngx_http_faas_route_query_t  query;

    query.path = (char *) ctx->path.data;
    query.length = ctx->path.len;
    query.method = ngx_http_faas_router_method(r);

    rc = ngx_http_faas_route_index_match(index, &ngx_http_faas_router.matcher,
                                         &query, &match);

    if (rc != FAAS_OK) {
        ctx->allow = match.allow;
        return match.allow ? NGX_ABORT : NGX_DECLINED;
    }

    if (match.function->name[0] == NGX_HTTP_FAAS_PLATFORM) {
        return NGX_DECLINED;
    }

    ctx->matched = ctx->path;

    if (ngx_http_faas_router_found(r, ctx, &query, &match) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_faas_router_names(r, flcf, ctx);
}


/*
 * faas_pass NAME: the name decides, the path does not.  SCRIPT_NAME is the
 * location's prefix, PATH_INFO what follows; for a call with Faas-Function,
 * SCRIPT_NAME is /NAME, and PATH_INFO the path, without /NAME.  Captures come
 * from the first of the function's own routes, in order of precedence, that
 * has the method and matches that path or, when none does, the whole URI: so
 * it does not matter to a function whether it is reached by its route or by
 * its name.
 */

static ngx_int_t
ngx_http_faas_router_match_target(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx,
    ngx_http_faas_route_index_t *index)
{
    int                              rc;
    ngx_str_t                        name;
    ngx_http_faas_route_match_t      match;
    ngx_http_faas_route_query_t      query;
    ngx_http_faas_route_function_t  *function;

    if (ctx->callee.len) {
        name = ctx->callee;

    } else if (ngx_http_complex_value(r, flcf->target, &name) != NGX_OK) {
        return NGX_ERROR;
    }

    function = ngx_http_faas_route_index_name(index, (char *) name.data,
                                              name.len);

    if (function == NULL || function->name[0] == NGX_HTTP_FAAS_PLATFORM) {
        return NGX_DECLINED;
    }

    query.path = (char *) ctx->path.data;
    query.length = ctx->path.len;
    query.method = ngx_http_faas_router_method(r);

    rc = ngx_http_faas_route_index_match_own(index,
                                             &ngx_http_faas_router.matcher,
                                             &query, function, &match);

    if (rc != FAAS_OK && ctx->path.len != r->uri.len) {
        query.path = (char *) r->uri.data;
        query.length = r->uri.len;

        rc = ngx_http_faas_route_index_match_own(index,
                                             &ngx_http_faas_router.matcher,
                                             &query, function, &match);
    }

    if (rc == FAAS_OK) {
        ctx->matched.data = (u_char *) query.path;
        ctx->matched.len = query.length;
    }

    if (ngx_http_faas_router_found(r, ctx, &query, &match) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->callee.len) {
        return ngx_http_faas_router_names(r, flcf, ctx);
    }

    ctx->script_name = flcf->prefix;
    ctx->path_info = ctx->path;

    return NGX_OK;
}


/* SCRIPT_NAME is prefix/NAME; a path without /NAME is PATH_INFO as it is */

static ngx_int_t
ngx_http_faas_router_names(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx)
{
    u_char  *p;
    size_t   n;

    n = 1 + ctx->name.len;

    p = ngx_pnalloc(r->pool, flcf->prefix.len + n);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->script_name.data = p;
    ctx->script_name.len = flcf->prefix.len + n;

    if (flcf->prefix.len != 0) {
        p = ngx_cpymem(p, flcf->prefix.data, flcf->prefix.len);
    }

    *p++ = '/';
    ngx_memcpy(p, ctx->name.data, ctx->name.len);

    ctx->path_info = ctx->path;

    if (ctx->path.len >= n
        && ctx->path.data[0] == '/'
        && ngx_memcmp(ctx->path.data + 1, ctx->name.data, n - 1) == 0
        && (ctx->path.len == n || ctx->path.data[n] == '/'))
    {
        ctx->path_info.data += n;
        ctx->path_info.len -= n;
    }

    return NGX_OK;
}


/* takes over what the index says: it may be gone with the next request */

static ngx_int_t
ngx_http_faas_router_found(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx,
    ngx_http_faas_route_query_t *query, ngx_http_faas_route_match_t *match)
{
    size_t                          n;
    ngx_http_faas_route_matcher_t  *matcher;

    matcher = &ngx_http_faas_router.matcher;

    ctx->name.data = ngx_pnalloc(r->pool, match->function->length);
    if (ctx->name.data == NULL) {
        return NGX_ERROR;
    }

    ctx->name.len = match->function->length;
    ngx_memcpy(ctx->name.data, match->function->name, ctx->name.len);

    ctx->function = match->function->function;
    ctx->function_generation = match->function->generation;

    n = ngx_http_faas_route_params(matcher, query, match->route, NULL);

    if (n == 0) {
        return NGX_OK;
    }

    if (n > NGX_HTTP_FAAS_ROUTER_PARAMS) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "faas: captures of a route of function \"%V\" take %uz"
                      " bytes, more than %d", &ctx->name, n,
                      NGX_HTTP_FAAS_ROUTER_PARAMS);
        return NGX_ERROR;
    }

    ctx->params.data = ngx_pnalloc(r->pool, n);
    if (ctx->params.data == NULL) {
        return NGX_ERROR;
    }

    ctx->params.len = ngx_http_faas_route_params(matcher, query, match->route,
                                                 (char *) ctx->params.data);

    return NGX_OK;
}


static uint32_t
ngx_http_faas_router_method(ngx_http_request_t *r)
{
    switch (r->method) {

    case NGX_HTTP_GET:
        return FAAS_METHOD_GET;

    case NGX_HTTP_HEAD:
        return FAAS_METHOD_HEAD;

    case NGX_HTTP_POST:
        return FAAS_METHOD_POST;

    case NGX_HTTP_PUT:
        return FAAS_METHOD_PUT;

    case NGX_HTTP_DELETE:
        return FAAS_METHOD_DELETE;

    case NGX_HTTP_OPTIONS:
        return FAAS_METHOD_OPTIONS;

    case NGX_HTTP_PATCH:
        return FAAS_METHOD_PATCH;

    default:
        return NGX_HTTP_FAAS_METHOD_OTHER;
    }
}
