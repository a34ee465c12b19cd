
/*
 * A request's context, the precontent phase, and how an answer becomes ours.
 *
 * Precontent finds function and version and refuses at once what needs no
 * instance to be refused.  Nothing is acquired here: the body is read and the
 * cache is asked by the stock upstream afterwards, so that slow uploads,
 * cache hits and cache-lock waiters hold no instance.
 */


#include "ngx_http_faas_module.h"


static void ngx_http_faas_ctx_cleanup(void *data);
static ngx_http_faas_ctx_t *ngx_http_faas_ctx_last(ngx_http_request_t *r);
static ngx_uint_t ngx_http_faas_is_clone(ngx_http_request_t *r);
static ngx_http_faas_ctx_t *ngx_http_faas_ctx_clone(ngx_http_request_t *r);
static ngx_int_t ngx_http_faas_route(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx);


ngx_int_t
ngx_http_faas_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_faas_ctx_t       *ctx;
    ngx_http_faas_loc_conf_t  *flcf;

    flcf = ngx_http_get_module_loc_conf(r, ngx_http_faas_module);

    if (!flcf->pass) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_faas_ctx_create(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_faas_host_is_ending()) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "host is ending");
    }

    if (ngx_http_faas_host.worker == FAAS_WORKER_NONE) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "worker is not ready");
    }

    if (flcf->invoke && ngx_http_faas_invoke_caller(r, ctx) != NGX_OK) {
        ctx->error = "http_request_denied";
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_NOT_FOUND,
                                    "the caller's token is not known");
        return NGX_HTTP_FORBIDDEN;
    }

    rc = ngx_http_faas_async_find(r, flcf, ctx);

    if (rc != NGX_DECLINED) {
        return rc == NGX_OK ? ngx_http_faas_admission_early(r, ctx) : rc;
    }

    rc = ngx_http_faas_route(r, flcf, ctx);

    if (rc == NGX_OK && flcf->invoke) {
        rc = ngx_http_faas_invoke_depth(r, ctx);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_faas_async_accept(r, flcf, ctx);

    if (rc == NGX_DECLINED) {
        ngx_http_faas_admission_deadline(r, ctx);

    } else if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_faas_admission_early(r, ctx);
}


ngx_http_faas_ctx_t *
ngx_http_faas_ctx_create(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t   *cln;
    ngx_http_faas_ctx_t  *ctx, *last;

    last = ngx_http_faas_ctx_last(r);

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_faas_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_faas_ctx_t));

    cln->handler = ngx_http_faas_ctx_cleanup;

    ctx->request = r;
    ctx->function = FAAS_INDEX_NONE;
    ctx->version = FAAS_INDEX_NONE;
    ctx->slot = FAAS_INDEX_NONE;
    ctx->ran_before = last != NULL && ngx_http_faas_has_run(last);

    ngx_http_set_ctx(r, ctx, ngx_http_faas_module);

    return ctx;
}


static void
ngx_http_faas_ctx_cleanup(void *data)
{
    ngx_http_faas_ctx_t  *ctx = data;

    ngx_http_faas_scheduler_forget(ctx);
}


ngx_http_faas_ctx_t *
ngx_http_faas_ctx(ngx_http_request_t *r)
{
    ngx_http_faas_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_faas_module);

    if (ctx != NULL) {
        return ctx;
    }

    if (ngx_http_faas_is_clone(r)) {
        return ngx_http_faas_ctx_clone(r);
    }

    if (!r->internal && !r->filter_finalize) {
        return NULL;
    }

    /* an internal redirect or error_page has zeroed r->ctx */

    return ngx_http_faas_ctx_last(r);
}


/* cleanups are listed last first, and subrequests share the pool */

static ngx_http_faas_ctx_t *
ngx_http_faas_ctx_last(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t   *cln;
    ngx_http_faas_ctx_t  *ctx;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_faas_ctx_cleanup) {
            ctx = cln->data;

            if (ctx->request == r) {
                return ctx;
            }
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_faas_has_run(ngx_http_faas_ctx_t *ctx)
{
    return ctx->maybe_started || ctx->ran_before;
}


ngx_http_faas_ctx_t *
ngx_http_faas_ctx_first(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t   *cln;
    ngx_http_faas_ctx_t  *first;

    first = NULL;

    /* listed last first; subrequests share the pool */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_faas_ctx_cleanup) {
            first = cln->data;
        }
    }

    return first;
}


/*
 * A clone of its parent (background cache update, slices) begins at the
 * content phase of the same location: it never saw ours.
 */

static ngx_uint_t
ngx_http_faas_is_clone(ngx_http_request_t *r)
{
    ngx_http_request_t  *pr;

    pr = r->parent;

    return pr != NULL
           && r->loc_conf == pr->loc_conf
           && r->uri.data == pr->uri.data
           && r->content_handler == pr->content_handler
           && ngx_http_get_module_ctx(pr, ngx_http_faas_module) != NULL;
}


static ngx_http_faas_ctx_t *
ngx_http_faas_ctx_clone(ngx_http_request_t *r)
{
    faas_function_t      *f;
    ngx_http_faas_ctx_t  *ctx, *parent;

    parent = ngx_http_get_module_ctx(r->parent, ngx_http_faas_module);

    ctx = ngx_http_faas_ctx_create(r);
    if (ctx == NULL) {
        return NULL;
    }

    ctx->name = parent->name;
    ctx->script_name = parent->script_name;
    ctx->path_info = parent->path_info;
    ctx->path = parent->path;
    ctx->params = parent->params;
    ctx->function = parent->function;
    ctx->function_generation = parent->function_generation;
    ctx->version = parent->version;
    ctx->version_generation = parent->version_generation;
    ctx->limits = parent->limits;
    ctx->deadline_us = r->background ? 0 : parent->deadline_us;
    ctx->matched = parent->matched;
    ctx->caller = parent->caller;
    ctx->depth = parent->depth;
    ctx->is_calls = parent->is_calls;

    ngx_memcpy(ctx->version_id, parent->version_id, FAAS_VERSION_SIZE);

    if (parent->target.len) {

        /* what fills a cache is an answer, not that there will be one */

        ctx->is_calls = 0;
        ctx->name = parent->target;
        ctx->function = parent->target_function;
        ctx->function_generation = parent->target_generation;
        ctx->version = FAAS_INDEX_NONE;

        f = faas_scoreboard_function(ngx_http_faas_host.board, ctx->function);

        faas_limits_read(f, &ctx->limits);

        ngx_http_faas_bind(ctx, f);
    }

    return ctx;
}


static ngx_int_t
ngx_http_faas_route(ngx_http_request_t *r, ngx_http_faas_loc_conf_t *flcf,
    ngx_http_faas_ctx_t *ctx)
{
    uint32_t          state;
    ngx_int_t         rc;
    faas_function_t  *f;

    rc = ngx_http_faas_router_match(r, flcf, ctx);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_ABORT) {
        /* nothing is wrong with the destination */

        ctx->error = "http_request_error";
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_NOT_FOUND,
                                    "method is not allowed");
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (rc != NGX_OK || ctx->function == FAAS_INDEX_NONE) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_NOT_FOUND,
                                    "no such function or route");
    }

    f = faas_scoreboard_function(ngx_http_faas_host.board, ctx->function);

    state = atomic_load_explicit(&f->state, memory_order_acquire);

    switch (state) {

    case FAAS_FUNCTION_LOADING:
    case FAAS_FUNCTION_READY:
        break;

    case FAAS_FUNCTION_FAILED:
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_INIT_ERROR,
                                    "function cannot start");

    default:
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_NOT_FOUND,
                                    "no such function or route");
    }

    faas_limits_read(f, &ctx->limits);

    ngx_http_faas_bind(ctx, f);

    return NGX_OK;
}


void
ngx_http_faas_bind(ngx_http_faas_ctx_t *ctx, faas_function_t *f)
{
    uint32_t            current, generation;
    faas_version_t     *v;
    faas_scoreboard_t  *sb;

    sb = ngx_http_faas_host.board;
    current = atomic_load_explicit(&f->current, memory_order_acquire);

    if (current >= sb->versions) {
        ctx->version = FAAS_INDEX_NONE;
        return;
    }

    v = faas_scoreboard_version(sb, current);
    generation = atomic_load_explicit(&v->generation, memory_order_relaxed);

    if (current == ctx->version && generation == ctx->version_generation) {
        return;
    }

    ctx->version = current;
    ctx->version_generation = generation;
    ngx_memcpy(ctx->version_id, v->id, FAAS_VERSION_SIZE);
    ctx->version_id[FAAS_VERSION_SIZE - 1] = '\0';
}


ngx_str_t *
ngx_http_faas_header(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == name->len
            && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
        {
            return &h[i].value;
        }
    }
}


ngx_int_t
ngx_http_faas_refuse(ngx_http_faas_ctx_t *ctx, faas_outcome_e outcome,
    const char *cause)
{
    ngx_uint_t                  level;
    ngx_http_request_t         *r;
    ngx_http_faas_main_conf_t  *fmcf;

    r = ctx->request;
    level = NGX_LOG_WARN;

    ngx_http_faas_decide(ctx, outcome, cause);

    switch (outcome) {

    case FAAS_OUTCOME_NOT_FOUND:
        ctx->status = NGX_HTTP_NOT_FOUND;
        level = NGX_LOG_INFO;
        break;

    case FAAS_OUTCOME_INIT_ERROR:
    case FAAS_OUTCOME_CRASH:
        ctx->status = NGX_HTTP_BAD_GATEWAY;
        break;

    case FAAS_OUTCOME_LOOP:
        ctx->status = NGX_HTTP_FAAS_LOOP_DETECTED;
        break;

    default:
        fmcf = ngx_http_get_module_main_conf(r, ngx_http_faas_module);

        ctx->status = fmcf->busy_status;
        ctx->retry_after = ngx_http_faas_admission_retry_after(ctx);
        break;
    }

    if (ctx->name.len) {
        ngx_log_error(level, r->connection->log, 0,
                      "faas: function \"%V\" refused a request: %s",
                      &ctx->name, cause);

    } else {
        ngx_log_error(level, r->connection->log, 0,
                      "faas: a request was refused: %s", cause);
    }

    return ctx->status;
}


void
ngx_http_faas_decide(ngx_http_faas_ctx_t *ctx, faas_outcome_e outcome,
    const char *cause)
{
    faas_cell_t  *cell;

    if (ctx->decided) {
        return;
    }

    ctx->decided = 1;
    ctx->outcome = outcome;
    ctx->cause = cause;

    if (ctx->function == FAAS_INDEX_NONE) {
        return;
    }

    cell = ngx_http_faas_cell(ctx->function);

    if (cell != NULL) {
        ngx_http_faas_count(cell->outcome[outcome], 1);
    }
}


faas_cell_t *
ngx_http_faas_cell(uint32_t function)
{
    if (ngx_http_faas_host.worker == FAAS_WORKER_NONE) {
        return NULL;
    }

    return faas_scoreboard_cell(ngx_http_faas_host.board, function,
                                ngx_http_faas_host.worker);
}


uint64_t
ngx_http_faas_now_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
