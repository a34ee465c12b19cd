
/*
 * Who is let in.  A request is refused as soon as it can be known that it
 * would not be served in time: its function is held back, the queue is full,
 * or the wait to be expected (scoreboard/faas_wait.h) is longer than it may
 * wait.  Asked twice: before the body is read, to spare the upload, and, with
 * the exact count, when the request finds no idle slot.
 *
 * A request may wait for what is left of the queue's budget, and of the
 * client's deadline.  The latter is "Faas-Timeout: SECONDS" from the moment
 * that the head of the request was read: upload, waits, attempts and internal
 * redirects are all within it.
 */


#include "ngx_http_faas_module.h"
#include "faas_wait.h"


/* this worker's mean of one function's execution time */

typedef struct {
    uint32_t                  generation;      /* of the function's entry */
    faas_wait_mean_t          mean;
} ngx_http_faas_admission_mean_t;


static ngx_uint_t ngx_http_faas_admission_is_torn(ngx_http_request_t *r);
static ngx_uint_t ngx_http_faas_admission_is_queued(ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_admission_check(ngx_http_faas_ctx_t *ctx,
    uint32_t self);
static void ngx_http_faas_admission_figures(ngx_http_faas_ctx_t *ctx,
    faas_wait_t *w);


/* by function; written by nobody else, and remade by each worker */
static ngx_http_faas_admission_mean_t  *ngx_http_faas_admission_means;


ngx_int_t
ngx_http_faas_admission_init_worker(ngx_cycle_t *cycle)
{
    if (ngx_http_faas_admission_means == NULL) {
        ngx_http_faas_admission_means = ngx_pcalloc(cycle->pool,
                                      ngx_http_faas_host.board->functions
                                      * sizeof(ngx_http_faas_admission_mean_t));
    }

    return ngx_http_faas_admission_means ? NGX_OK : NGX_ERROR;
}


void
ngx_http_faas_admission_deadline(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx)
{
    int64_t               ms;
    ngx_str_t            *value;
    ngx_http_faas_ctx_t  *first;

    static ngx_str_t  header = ngx_string("Faas-Timeout");

    value = ngx_http_faas_header(r, &header);

    if (value == NULL) {
        return;
    }

    ms = faas_wait_seconds_ms((char *) value->data, value->len);

    if (ms < 0) {
        return;
    }

    /* an error_page or a subrequest is a part of what was asked for first */

    first = ngx_http_faas_ctx_first(r);

    if (first->deadline_us == 0) {
        first->deadline_us = ngx_http_faas_now_us() + (uint64_t) ms * 1000;
    }

    ctx->deadline_us = first->deadline_us;
}


ngx_int_t
ngx_http_faas_admission_early(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx)
{
    ngx_http_faas_loc_conf_t  *flcf;

    if (ngx_http_faas_admission_is_torn(r)) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "streamed body cannot be sent again");
    }

#if (NGX_HTTP_CACHE)

    /* what the cache has needs no instance: it is asked first */

    flcf = ngx_http_get_module_loc_conf(r, ngx_http_faas_module);

    if (flcf->upstream->cache && (r->method & flcf->upstream->cache_methods)) {
        return NGX_DECLINED;
    }

#else
    (void) flcf;
#endif

    if (ngx_http_faas_admission_is_held(ctx)) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "function keeps dying");
    }

    if (ngx_http_faas_admission_is_late(ctx)) {
        (void) ngx_http_faas_admission_late(ctx);
        return ctx->status;
    }

    /* the figures are added up only if there may be no room */

    if ((ctx->limits.queue == 0 || ngx_http_faas_admission_is_queued(ctx))
        && ngx_http_faas_admission_check(ctx, 0) != NGX_OK)
    {
        return ctx->status;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_faas_admission_wait(ngx_http_faas_ctx_t *ctx)
{
    if (ctx->attempts) {

        /* it has been let in: it stands in front, and has no time left */

        if (ngx_http_faas_admission_left_ms(ctx) == 0) {
            return ngx_http_faas_admission_late(ctx);
        }

        return NGX_OK;
    }

    return ngx_http_faas_admission_check(ctx, 1);
}


/*
 * An error_page has brought the request here after another location began to
 * stream its body.  Stock gives to us what is in memory of that, with the
 * length of the whole: no function is to take it for an upload.  One that only
 * makes the error's page is asked with GET.
 */

static ngx_uint_t
ngx_http_faas_admission_is_torn(ngx_http_request_t *r)
{
    return r->request_body != NULL
           && r->request_body_no_buffering
           && !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD));
}


/* somebody waits for an instance of the function, in any worker */

static ngx_uint_t
ngx_http_faas_admission_is_queued(ngx_http_faas_ctx_t *ctx)
{
    ngx_uint_t        i;
    faas_function_t  *f;

    f = faas_scoreboard_function(ngx_http_faas_host.board, ctx->function);

    for (i = 0; i < FAAS_WORKERS / 64; i++) {

        if (atomic_load_explicit(&f->waiting_mask[i], memory_order_relaxed)) {
            return 1;
        }
    }

    return 0;
}


/* self: 1 when ctx is counted as admitted; NGX_OK, or NGX_DECLINED and it is
   refused */

static ngx_int_t
ngx_http_faas_admission_check(ngx_http_faas_ctx_t *ctx, uint32_t self)
{
    uint64_t     left_ms;
    faas_wait_t  w;

    ngx_http_faas_admission_figures(ctx, &w);

    if (w.waiting + w.running >= ctx->limits.max + ctx->limits.queue + self) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_QUEUE_FULL,
                                    "queue is full");
        return NGX_DECLINED;
    }

    left_ms = ngx_http_faas_admission_left_ms(ctx);

    if (left_ms == 0) {
        return ngx_http_faas_admission_late(ctx);
    }

    if (faas_wait_expected_us(&w) > left_ms * 1000) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "wait would be too long");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_faas_admission_late(ngx_http_faas_ctx_t *ctx)
{
    (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_QUEUE_TIMEOUT,
                                ngx_http_faas_admission_is_late(ctx)
                                ? "client's deadline passed"
                                : "waited too long for an instance");
    return NGX_DECLINED;
}


ngx_uint_t
ngx_http_faas_admission_is_late(ngx_http_faas_ctx_t *ctx)
{
    return ctx->deadline_us && ngx_http_faas_now_us() >= ctx->deadline_us;
}


/* the queue's budget is for all waits of a request together */

uint64_t
ngx_http_faas_admission_left_ms(ngx_http_faas_ctx_t *ctx)
{
    uint64_t  now_us, used, left;

    now_us = ngx_http_faas_now_us();
    used = (ctx->queue_us + (ctx->arrived_us ? now_us - ctx->arrived_us : 0))
           / 1000;

    left = ctx->limits.queue_timeout_ms > used
           ? ctx->limits.queue_timeout_ms - used : 0;

    if (ctx->deadline_us == 0) {
        return left;
    }

    if (now_us >= ctx->deadline_us) {
        return 0;
    }

    return ngx_min(left, (ctx->deadline_us - now_us + 999) / 1000);
}


ngx_uint_t
ngx_http_faas_admission_is_held(ngx_http_faas_ctx_t *ctx)
{
    faas_function_t  *f;

    f = faas_scoreboard_function(ngx_http_faas_host.board, ctx->function);

    return atomic_load_explicit(&f->backoff, memory_order_relaxed)
           && atomic_load_explicit(&f->instances, memory_order_relaxed) == 0
           && atomic_load_explicit(&f->backoff_until_ms, memory_order_relaxed)
              > ngx_http_faas_now_us() / 1000;
}


/* seconds: until the back-off ends, or until there may be room */

uint32_t
ngx_http_faas_admission_retry_after(ngx_http_faas_ctx_t *ctx)
{
    uint64_t          now_ms, until;
    faas_wait_t       w;
    faas_function_t  *f;

    if (ctx->function == FAAS_INDEX_NONE) {
        return FAAS_WAIT_RETRY_MIN;
    }

    f = faas_scoreboard_function(ngx_http_faas_host.board, ctx->function);

    if (ngx_http_faas_admission_is_held(ctx)) {
        now_ms = ngx_http_faas_now_us() / 1000;
        until = atomic_load_explicit(&f->backoff_until_ms,
                                     memory_order_relaxed);

        if (until > now_ms) {
            return (uint32_t) ngx_min((until - now_ms + 999) / 1000,
                                      FAAS_WAIT_RETRY_MAX);
        }
    }

    ngx_http_faas_admission_figures(ctx, &w);

    return faas_wait_retry_after(&w, ctx->limits.queue_timeout_ms);
}


/*
 * What all workers count.  The mean is taken from their totals, not from what
 * the supervisor publishes: it has other things to do while all instances
 * there may be are at work, and may be gone.
 */

static void
ngx_http_faas_admission_figures(ngx_http_faas_ctx_t *ctx, faas_wait_t *w)
{
    uint32_t                         i, n, admitted;
    uint64_t                         finished, service_us, ms, last_ms;
    faas_cell_t                     *cell;
    faas_function_t                 *f;
    faas_scoreboard_t               *sb;
    ngx_http_faas_admission_mean_t  *m;

    sb = ngx_http_faas_host.board;
    f = faas_scoreboard_function(sb, ctx->function);

    ngx_memzero(w, sizeof(faas_wait_t));

    admitted = 0;
    finished = 0;
    service_us = 0;
    last_ms = 0;

    n = atomic_load_explicit(&sb->workers_used, memory_order_relaxed);
    n = ngx_min(n, FAAS_WORKERS);

    for (i = 0; i < n; i++) {
        cell = faas_scoreboard_cell(sb, ctx->function, i);

        /* of two workers that meet at the limit one sees the other
           (ngx_http_faas_queue_admit) */

        admitted += atomic_load(&cell->admitted);

        w->waiting += atomic_load_explicit(&cell->waiting,
                                           memory_order_relaxed);
        finished += atomic_load_explicit(&cell->finished,
                                         memory_order_relaxed);
        service_us += atomic_load_explicit(&cell->service_us,
                                           memory_order_relaxed);

        ms = atomic_load_explicit(&cell->finished_ms, memory_order_relaxed);
        last_ms = ngx_max(last_ms, ms);
    }

    w->waiting = ngx_min(w->waiting, admitted);
    w->running = admitted - w->waiting;
    w->instances = atomic_load_explicit(&f->instances, memory_order_relaxed);
    w->start_us = atomic_load_explicit(&f->start_us, memory_order_relaxed);
    w->oneshot = ctx->limits.mode == FAAS_MODE_ONESHOT;
    w->max = ctx->limits.max;

    m = &ngx_http_faas_admission_means[ctx->function];

    if (m->generation != ctx->function_generation) {
        ngx_memzero(&m->mean, sizeof(faas_wait_mean_t));
        m->generation = ctx->function_generation;
    }

    w->service_us = faas_wait_measure(&m->mean, finished, service_us, last_ms,
                                      ngx_http_faas_now_us() / 1000,
                                  atomic_load_explicit(&f->service_us,
                                                       memory_order_relaxed));
}
