
/*
 * Bodies of the answers that the platform makes itself: a line of plain text,
 * or application/problem+json (RFC 9457), whichever the client's Accept asks
 * for; who asks for HTML, as browsers do, gets nginx's own page.
 *
 * Such an answer is a status to nginx, for which it looks for an error_page,
 * discards what is left of the request's body, and makes a page.  The body of
 * that page is replaced here, on its way through the filters, so all else is
 * as for any error of nginx.  Where an error_page has another answer the
 * context of our pass is gone from the request (ngx_http_faas_ctx), and that
 * answer is left alone.
 */


#include "ngx_http_faas_module.h"
#include "ngx_http_faas_accept.h"
#include "ngx_http_faas_json.h"
#include "ngx_http_faas_variables.h"


/* all members of the JSON, with an id that is as long as one may be */
#define NGX_HTTP_FAAS_ANSWER_SIZE  1024


typedef struct {
    ngx_uint_t                status;
    const char               *title;
} ngx_http_faas_answer_title_t;


static ngx_http_faas_accept_e ngx_http_faas_answer_accept(
    ngx_http_request_t *r);
static void ngx_http_faas_answer_text(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx, ngx_str_t *id, ngx_str_t *body);
static void ngx_http_faas_answer_problem(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx, ngx_str_t *id, ngx_str_t *body);
static int ngx_http_faas_answer_sink(void *data, const char *p, size_t n);
static void ngx_http_faas_answer_id(ngx_http_request_t *r, ngx_str_t *id);
static const char *ngx_http_faas_answer_title(ngx_uint_t status);
static ngx_int_t ngx_http_faas_answer_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_output_body_filter_pt  ngx_http_next_body_filter;


/* reason phrases: of what we say, and what may be said instead of 503 */

static ngx_http_faas_answer_title_t  ngx_http_faas_answer_titles[] = {
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 402, "Payment Required" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 413, "Content Too Large" },
    { 421, "Misdirected Request" },
    { 423, "Locked" },
    { 424, "Failed Dependency" },
    { 425, "Too Early" },
    { 429, "Too Many Requests" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 507, "Insufficient Storage" },
    { 508, "Loop Detected" },
    { 0, "Error" }
};


ngx_int_t
ngx_http_faas_answer_make(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx)
{
    ngx_str_t                id, body;
    ngx_http_faas_accept_e   type;

    if (ctx != ngx_http_get_module_ctx(r, ngx_http_faas_module)) {
        return NGX_DECLINED;
    }

    type = ngx_http_faas_answer_accept(r);

    if (type == NGX_HTTP_FAAS_ACCEPT_HTML) {
        return NGX_OK;
    }

    /* without memory there is still nginx's page */

    body.len = 0;
    body.data = ngx_pnalloc(r->pool, NGX_HTTP_FAAS_ANSWER_SIZE);

    if (body.data == NULL) {
        return NGX_OK;
    }

    ngx_http_faas_answer_id(r, &id);

    if (type == NGX_HTTP_FAAS_ACCEPT_PROBLEM) {
        ngx_http_faas_answer_problem(r, ctx, &id, &body);
        ngx_str_set(&r->headers_out.content_type, "application/problem+json");

    } else {
        ngx_http_faas_answer_text(r, ctx, &id, &body);
        ngx_str_set(&r->headers_out.content_type, "text/plain");
        ngx_str_set(&r->headers_out.charset, "utf-8");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    ngx_http_clear_content_length(r);
    r->headers_out.content_length_n = body.len;

    ctx->answer = body;

    return NGX_OK;
}


static ngx_http_faas_accept_e
ngx_http_faas_answer_accept(ngx_http_request_t *r)
{
    ngx_uint_t               i;
    ngx_list_part_t         *part;
    ngx_table_elt_t         *h;
    ngx_http_faas_accept_t   accept;

    ngx_memzero(&accept, sizeof(ngx_http_faas_accept_t));

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == sizeof("Accept") - 1
                && ngx_strncasecmp(h[i].key.data, (u_char *) "Accept",
                                   sizeof("Accept") - 1)
                   == 0)
            {
                ngx_http_faas_accept_add(&accept, (char *) h[i].value.data,
                                         h[i].value.len);
            }
        }
    }

    return ngx_http_faas_accept_choose(&accept);
}


/* two short lines, the second for whoever asks the operator */

static void
ngx_http_faas_answer_text(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx,
    ngx_str_t *id, ngx_str_t *body)
{
    u_char      *p;
    ngx_uint_t   status;

    status = r->headers_out.status;

    p = ngx_sprintf(body->data, "%ui %s: %s\n", status,
                    ngx_http_faas_answer_title(status),
                    ctx->cause ? ctx->cause : "no reason is known");

    if (id->len) {
        p = ngx_sprintf(p, "request %V\n", id);
    }

    body->len = p - body->data;
}


static void
ngx_http_faas_answer_problem(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx,
    ngx_str_t *id, ngx_str_t *body)
{
    ngx_uint_t            status;
    ngx_http_faas_json_t  j;

    ngx_memzero(&j, sizeof(ngx_http_faas_json_t));

    j.sink = ngx_http_faas_answer_sink;
    j.data = body;

    status = r->headers_out.status;

    ngx_http_faas_json_open(&j, NULL, '{');
    ngx_http_faas_json_text(&j, "type", "about:blank");
    ngx_http_faas_json_text(&j, "title", ngx_http_faas_answer_title(status));
    ngx_http_faas_json_number(&j, "status", status);

    if (ctx->cause) {
        ngx_http_faas_json_text(&j, "detail", ctx->cause);
    }

    if (ctx->decided) {
        ngx_http_faas_json_text(&j, "outcome",
                                ngx_http_faas_outcome_name(ctx->outcome));
    }

    ngx_http_faas_json_flag(&j, "started", ngx_http_faas_has_run(ctx));

    if (ctx->retry_after) {
        ngx_http_faas_json_number(&j, "retry_after", ctx->retry_after);
    }

    if (id->len) {
        ngx_http_faas_json_string(&j, "request_id", (char *) id->data,
                                  id->len);
    }

    ngx_http_faas_json_close(&j, '}');
}


static int
ngx_http_faas_answer_sink(void *data, const char *p, size_t n)
{
    ngx_str_t *body = data;

    if (n > NGX_HTTP_FAAS_ANSWER_SIZE - body->len) {
        return -1;
    }

    ngx_memcpy(body->data + body->len, p, n);
    body->len += n;

    return 0;
}


/* as the function would have been told it, and as the log has it */

static void
ngx_http_faas_answer_id(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_uint_t                  key;
    ngx_http_variable_value_t  *v;

    static ngx_str_t  name = ngx_string("faas_request_id");

    key = ngx_hash_key(name.data, name.len);
    v = ngx_http_get_variable(r, &name, key);

    if (v == NULL || v->not_found || v->len > NGX_HTTP_FAAS_ANSWER_SIZE / 4) {
        id->len = 0;
        return;
    }

    id->len = v->len;
    id->data = v->data;
}


static const char *
ngx_http_faas_answer_title(ngx_uint_t status)
{
    ngx_http_faas_answer_title_t  *t;

    for (t = ngx_http_faas_answer_titles; t->status; t++) {
        if (t->status == status) {
            break;
        }
    }

    return t->title;
}


static ngx_int_t
ngx_http_faas_answer_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t            *b;
    ngx_chain_t          *cl, out;
    ngx_http_faas_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_faas_module);

    if (ctx == NULL || ctx->answer.len == 0 || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->memory = 1;
    b->pos = ctx->answer.data;
    b->last = ctx->answer.data + ctx->answer.len;
    b->last_buf = 1;
    b->last_in_chain = 1;

    ctx->answer.len = 0;

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}


ngx_int_t
ngx_http_faas_answer_init(ngx_conf_t *cf)
{
    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_faas_answer_body_filter;

    return NGX_OK;
}
