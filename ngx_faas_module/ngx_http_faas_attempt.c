
/*
 * What an attempt came to: was the answer complete, may the handler have run,
 * may the request be tried again, and what is its outcome.  Read-only but for
 * the counters of our own cell.
 *
 * Whose answer is it?  FastCGI numbers requests, but nginx gives each the
 * number 1, so an answer too many on a kept connection (a function that writes
 * there by itself, or a thread that still does) would be the next request's.
 * Three things together keep it from that.  A connection is taken only if
 * nothing is in it (ngx_http_faas_connection_take).  An answer that comes
 * before the slot's page says that this request has begun is none.  And when
 * what came last is not the END_REQUEST that bears this request's mark
 * (faas_page.h), there is more to come: the slot drains, and the connection is
 * not kept.
 *
 * What is left is the function's own doing: a thread of it that writes while
 * the next request runs writes into that one's answer, as it could by any
 * other means; it is the same function's, and reaches nobody else's callers.
 */


#include "ngx_http_faas_module.h"


/* an attempt that was not started may be repeated, but not for ever */
#define NGX_HTTP_FAAS_ATTEMPTS  8


static faas_outcome_e ngx_http_faas_attempt_lost(ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_attempt_header(ngx_http_request_t *r);
static ngx_uint_t ngx_http_faas_attempt_is_status(ngx_http_request_t *r);
static ngx_int_t ngx_http_faas_attempt_input(ngx_event_pipe_t *p,
    ngx_buf_t *buf);
static ngx_int_t ngx_http_faas_attempt_non_buffered(void *data,
    ssize_t bytes);
static void ngx_http_faas_attempt_came(ngx_http_faas_ctx_t *ctx, u_char *p,
    size_t n);
static ngx_uint_t ngx_http_faas_attempt_has_begun(ngx_http_faas_ctx_t *ctx);
static ngx_uint_t ngx_http_faas_attempt_is_cancelled(ngx_http_request_t *r);
static ngx_uint_t ngx_http_faas_attempt_is_garbled(ngx_http_faas_ctx_t *ctx,
    ngx_connection_t *c);


void
ngx_http_faas_attempt_watch(ngx_http_faas_ctx_t *ctx)
{
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_faas_attempt_header;

    if (u->pipe != NULL) {
        ctx->input_filter = u->pipe->input_filter;
        u->pipe->input_filter = ngx_http_faas_attempt_input;
    }

    ctx->non_buffered_filter = u->input_filter;
    u->input_filter = ngx_http_faas_attempt_non_buffered;
}


/* a cached header comes this way too, while no slot is held */

static ngx_int_t
ngx_http_faas_attempt_header(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_http_faas_ctx_t  *ctx;

    ctx = r->upstream->peer.data;

    if (ctx->holding && !ngx_http_faas_attempt_has_begun(ctx)) {
        ctx->odd = 1;

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "faas: function \"%V\" version %s slot %uD pid %P sent "
                      "an answer before it began the request", &ctx->name,
                      ctx->version_id, ctx->slot, ctx->instance_pid);

        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    rc = ctx->process_header(r);

    if (rc == NGX_OK && ctx->holding && !ngx_http_faas_attempt_is_status(r)) {

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "faas: function \"%V\" version %s slot %uD pid %P sent "
                      "a status that ends no request: %ui", &ctx->name,
                      ctx->version_id, ctx->slot, ctx->instance_pid,
                      r->upstream->headers_in.status_n);

        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    return rc;
}


/*
 * A client takes an interim status for the announcement of another answer: of
 * what follows, the body would be the answer, and what the body says is the
 * end of it, the beginning of the next request's.
 */

static ngx_uint_t
ngx_http_faas_attempt_is_status(ngx_http_request_t *r)
{
    size_t                          i;
    ngx_str_t                      *line;
    ngx_http_upstream_headers_in_t *in;

    in = &r->upstream->headers_in;
    line = &in->status_line;

    if (in->status_n < NGX_HTTP_OK || in->status_n > 599
        || (line->len > 3 && line->data[3] != ' '))
    {
        return 0;
    }

    for (i = 0; i < line->len; i++) {

        if (line->data[i] < ' ' || line->data[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


/*
 * Where connections are kept, stock tells the pipe how much it wants to see
 * next, and the pipe takes 0 for the end of the answer.  That is what it says
 * when a body ended that is shorter than its Content-Length; so the client
 * would be left waiting for the rest on a connection that is kept too.  With
 * another number the error counts, and the client's connection is cut.
 */

static ngx_int_t
ngx_http_faas_attempt_input(ngx_event_pipe_t *p, ngx_buf_t *buf)
{
    ngx_int_t             rc;
    ngx_http_request_t   *r;
    ngx_http_faas_ctx_t  *ctx;

    r = p->input_ctx;
    ctx = r->upstream->peer.data;

    ngx_http_faas_attempt_came(ctx, buf->pos, buf->last - buf->pos);

    rc = ctx->input_filter(p, buf);

    if (p->upstream_error && p->length == 0) {
        p->length = 1;
    }

    return rc;
}


static ngx_int_t
ngx_http_faas_attempt_non_buffered(void *data, ssize_t bytes)
{
    ngx_http_request_t *r = data;

    ngx_http_faas_ctx_t  *ctx;

    ctx = r->upstream->peer.data;

    ngx_http_faas_attempt_came(ctx, r->upstream->buffer.last, bytes);

    return ctx->non_buffered_filter(data, bytes);
}


/* all that follows the headers comes here, in order; a record may be cut */

static void
ngx_http_faas_attempt_came(ngx_http_faas_ctx_t *ctx, u_char *p, size_t n)
{
    size_t  left;

    if (n > NGX_HTTP_FAAS_END) {
        p += n - NGX_HTTP_FAAS_END;
        n = NGX_HTTP_FAAS_END;
    }

    left = NGX_HTTP_FAAS_END - n;

    ngx_memmove(ctx->last, ctx->last + n, left);
    ngx_memcpy(ctx->last + left, p, n);
}


/*
 * The slot's page tells: the count of requests that its instances have taken
 * goes on over their lives, so if it is what it was at hand-over, this one was
 * not among them.
 */

static ngx_uint_t
ngx_http_faas_attempt_has_begun(ngx_http_faas_ctx_t *ctx)
{
    faas_page_t  *page;

    page = ngx_http_faas_host.pages[ctx->slot];

    return page == NULL
           || atomic_load_explicit(&page->begun, memory_order_acquire)
              != ctx->begun;
}


/* without the page we do not know which request's mark it is */

ngx_uint_t
ngx_http_faas_attempt_has_ended(ngx_http_faas_ctx_t *ctx)
{
    u_char    *p;
    uint32_t   mark;

    static u_char  head[] = { 1, 3, 0, 1, 0, 8, 0, 0 };

    p = ctx->last + sizeof(head);

    mark = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];

    if (ngx_memcmp(ctx->last, head, sizeof(head)) != 0) {
        return 0;
    }

    if (ngx_http_faas_host.pages[ctx->slot] == NULL) {
        return mark & FAAS_PAGE_MARK;
    }

    return mark == faas_page_mark(ctx->begun + 1);
}


/*
 * Was END_REQUEST read?  Stock says so by keepalive; but it may have read an
 * END_REQUEST and failed afterwards, on the client's side.
 */

ngx_uint_t
ngx_http_faas_attempt_is_complete(ngx_http_faas_ctx_t *ctx,
    ngx_connection_t *c, ngx_uint_t state)
{
    return c != NULL
           && !(state & NGX_PEER_FAILED)
           && !ctx->over_budget
           && ctx->request->upstream->keepalive;
}


/* counters and times of the attempt that ends */

void
ngx_http_faas_attempt_count(ngx_http_faas_ctx_t *ctx)
{
    uint64_t              now_us, us;
    faas_cell_t          *cell;
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;
    now_us = ngx_http_faas_now_us();
    us = now_us - ctx->handed_us;
    cell = ngx_http_faas_cell(ctx->function);

    ngx_http_faas_count(cell->finished, 1);
    atomic_store_explicit(&cell->finished_ms, now_us / 1000,
                          memory_order_relaxed);

    if (!u->request_sent) {
        /* it had a slot and left it again: nothing was run or moved */
        return;
    }

    ctx->exec_us += us;

    ngx_http_faas_count(cell->service_us, us);

    if (u->state) {
        ngx_http_faas_count(cell->bytes_out,
                            (uint64_t) u->state->bytes_received);
    }

    if (ctx->request->headers_in.content_length_n > 0) {
        ngx_http_faas_count(cell->bytes_in, (uint64_t)
                            ctx->request->headers_in.content_length_n);
    }
}


/*
 * May the handler have run?  An instance that lives and has the request may
 * begin it while we look, as when the client or our patience went first, or
 * when it answered too early.  One that has closed its end, or died, cannot.
 */

ngx_uint_t
ngx_http_faas_attempt_has_started(ngx_http_faas_ctx_t *ctx,
    ngx_connection_t *c)
{
    return ctx->request->upstream->request_sent
           && (ctx->odd
               || (c != NULL && !c->read->eof && !c->read->error
                   && !c->write->error)
               || ngx_http_faas_attempt_has_begun(ctx));
}


ngx_uint_t
ngx_http_faas_attempt_may_retry(ngx_http_faas_ctx_t *ctx,
    ngx_uint_t started)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->over_budget
        || r->upstream->header_sent
        || r->connection->error
        || ctx->attempts >= NGX_HTTP_FAAS_ATTEMPTS
        || (r->upstream->request_sent && r->request_body_no_buffering))
    {
        return 0;
    }

    if (!started) {
        return 1;
    }

    return !ctx->retried
           && ((r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
               || ctx->limits.idempotent);
}


faas_outcome_e
ngx_http_faas_attempt_outcome(ngx_http_faas_ctx_t *ctx, ngx_connection_t *c,
    ngx_uint_t failed)
{
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;

    if (ctx->over_budget) {
        return FAAS_OUTCOME_TIMEOUT;
    }

    if (failed) {
        return ngx_http_faas_attempt_lost(ctx);
    }

    if (!u->keepalive) {

        if (ngx_http_faas_attempt_is_cancelled(ctx->request)) {
            return FAAS_OUTCOME_CANCELLED;
        }

        if (c == NULL || c->read->eof || c->read->error
            || u->headers_in.status_n == 0
            || (u->pipe && (u->pipe->upstream_error || u->pipe->upstream_eof)))
        {
            return ngx_http_faas_attempt_lost(ctx);
        }
    }

    return u->headers_in.status_n >= NGX_HTTP_INTERNAL_SERVER_ERROR
           ? FAAS_OUTCOME_FUNCTION_ERROR : FAAS_OUTCOME_OK;
}


/* the supervisor says so before it kills, of that generation of the slot */

static faas_outcome_e
ngx_http_faas_attempt_lost(ngx_http_faas_ctx_t *ctx)
{
    faas_slot_t  *s;

    s = faas_scoreboard_slot(ngx_http_faas_host.board, ctx->slot);

    return atomic_load_explicit(&s->oom, memory_order_acquire)
           == (uint32_t) faas_slot_generation(ctx->word)
           ? FAAS_OUTCOME_OOM : FAAS_OUTCOME_CRASH;
}


/*
 * The client went away before it had the answer, or what it sent of a streamed
 * body could not be taken.  One that closes when it has all that
 * Content-Length announced is served, even if END_REQUEST was still to come.
 */

static ngx_uint_t
ngx_http_faas_attempt_is_cancelled(ngx_http_request_t *r)
{
    off_t  length;

    if (r->upstream->headers_in.status_n == 0) {
        return r->connection->error || r->connection->timedout
               || r->request_body_no_buffering;
    }

    if (!r->connection->error) {
        return 0;
    }

    length = r->headers_out.content_length_n;

    return r != r->main || length == -1
           || r->connection->sent < (off_t) r->header_size + length;
}


const char *
ngx_http_faas_attempt_cause(ngx_http_faas_ctx_t *ctx, faas_outcome_e outcome,
    ngx_connection_t *c, ngx_uint_t failed)
{
    switch (outcome) {

    case FAAS_OUTCOME_TIMEOUT:
        return ctx->by_deadline ? "client's deadline passed"
                                : "function ran over its budget";

    case FAAS_OUTCOME_OOM:
        return "instance was over its memory";

    case FAAS_OUTCOME_CRASH:
        break;

    default:
        return NULL;
    }

    if (ctx->request->upstream->headers_in.status_n == 0) {

        if (!failed) {

            /* neither the instance nor the client: we had no memory */

            ctx->error = "proxy_internal_error";
            return "out of resources";
        }

        if (ngx_http_faas_attempt_is_garbled(ctx, c)) {
            ctx->error = "http_protocol_error";
            return "instance sent no valid answer";
        }
    }

    return "instance was lost";
}


/* stock gave the attempt up over a connection with which nothing is wrong */

static ngx_uint_t
ngx_http_faas_attempt_is_garbled(ngx_http_faas_ctx_t *ctx,
    ngx_connection_t *c)
{
    return c != NULL && ctx->request->upstream->request_sent
           && !c->read->eof && !c->read->error && !c->write->error;
}
