
/*
 * Headers on the answers that the platform makes itself: Proxy-Status (RFC
 * 9209) says what went wrong, Retry-After when to come again, Allow what a
 * route takes.  A function's own answer, whatever its status, is left alone,
 * and so is what another upstream or the cache said after an error_page.
 */


#include "ngx_http_faas_module.h"


#define NGX_HTTP_FAAS_PROXY_NAME  "nginx-faas"


static ngx_int_t ngx_http_faas_header_filter(ngx_http_request_t *r);
static void ngx_http_faas_filter_forged(ngx_http_request_t *r);
static ngx_http_faas_ctx_t *ngx_http_faas_filter_ours(ngx_http_request_t *r);
static ngx_int_t ngx_http_faas_filter_proxy_status(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_filter_retry_after(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_filter_allow(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_filter_body(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);
static ngx_http_faas_ctx_t *ngx_http_faas_filter_too_large(
    ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx);
static const char *ngx_http_faas_filter_error(ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_filter_add(ngx_http_request_t *r,
    const char *key, u_char *value, size_t len);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* error types registered by RFC 9209; NULL: the answer is not ours */

static const char  *ngx_http_faas_filter_errors[] = {
    [FAAS_OUTCOME_OK] = NULL,
    [FAAS_OUTCOME_FUNCTION_ERROR] = NULL,
    [FAAS_OUTCOME_TIMEOUT] = "http_response_timeout",
    [FAAS_OUTCOME_CRASH] = "connection_terminated",
    [FAAS_OUTCOME_OOM] = "connection_terminated",
    [FAAS_OUTCOME_QUEUE_FULL] = "connection_limit_reached",
    [FAAS_OUTCOME_QUEUE_TIMEOUT] = "connection_timeout",
    [FAAS_OUTCOME_INIT_ERROR] = "destination_unavailable",
    [FAAS_OUTCOME_NOT_FOUND] = "destination_not_found",
    [FAAS_OUTCOME_SHED] = "destination_unavailable",
    [FAAS_OUTCOME_CANCELLED] = NULL,
    [FAAS_OUTCOME_LOOP] = "proxy_loop_detected"
};

_Static_assert(sizeof(ngx_http_faas_filter_errors)
               == FAAS_OUTCOMES * sizeof(ngx_http_faas_filter_errors[0]),
               "every outcome has its error type");


static ngx_int_t
ngx_http_faas_header_filter(ngx_http_request_t *r)
{
    ngx_http_faas_ctx_t       *ctx;
    ngx_http_faas_loc_conf_t  *flcf;

    flcf = ngx_http_get_module_loc_conf(r, ngx_http_faas_module);

    if (flcf->pass == 1) {
        ngx_http_faas_filter_forged(r);
    }

    ctx = ngx_http_faas_filter_ours(r);

    if (ctx != NULL
        && (ngx_http_faas_filter_proxy_status(r, ctx) != NGX_OK
            || ngx_http_faas_filter_retry_after(r, ctx) != NGX_OK
            || ngx_http_faas_filter_allow(r, ctx) != NGX_OK
            || ngx_http_faas_filter_body(r, ctx) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/*
 * The events process, functions that call and clients that ask again go by
 * what we say: that something did not run is not for a function to say, nor
 * for a host that it asked.
 */

static void
ngx_http_faas_filter_forged(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {

            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Proxy-Status") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Proxy-Status",
                               sizeof("Proxy-Status") - 1) == 0
            && h[i].value.len >= sizeof(NGX_HTTP_FAAS_PROXY_NAME) - 1
            && ngx_strncmp(h[i].value.data, NGX_HTTP_FAAS_PROXY_NAME,
                           sizeof(NGX_HTTP_FAAS_PROXY_NAME) - 1) == 0)
        {
            h[i].hash = 0;
        }
    }
}


/* the context of the failure that this answer tells of, or NULL */

static ngx_http_faas_ctx_t *
ngx_http_faas_filter_ours(ngx_http_request_t *r)
{
    ngx_http_faas_ctx_t  *ctx;

    if (r != r->main || r->headers_out.status < NGX_HTTP_BAD_REQUEST) {
        return NULL;
    }

    /* an upstream that has sent a status line has made this answer */

    if (r->upstream != NULL && r->upstream->headers_in.status_n != 0) {
        return NULL;
    }

    ctx = ngx_http_faas_ctx(r);

    if (r->headers_out.status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE
        && (ctx == NULL || !ctx->decided))
    {
        return ngx_http_faas_filter_too_large(r, ctx);
    }

    if (ctx == NULL
        || !ctx->decided
        || ngx_http_faas_filter_error(ctx) == NULL)
    {
        return NULL;
    }

    return ctx;
}


/*
 * nginx itself finds a body to be over client_max_body_size, by its announced
 * length before we see the request at all.  No function was asked, so there is
 * no outcome; the cause is told like any other.
 */

static ngx_http_faas_ctx_t *
ngx_http_faas_filter_too_large(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx)
{
    ngx_http_faas_loc_conf_t  *flcf;

    flcf = ngx_http_get_module_loc_conf(r, ngx_http_faas_module);

    if (!flcf->pass) {
        return NULL;
    }

    if (ctx == NULL) {
        ctx = ngx_http_faas_ctx_create(r);

        if (ctx == NULL) {
            return NULL;
        }
    }

    ctx->error = "http_request_error";
    ctx->cause = "body is over the limit";

    return ctx;
}


static const char *
ngx_http_faas_filter_error(ngx_http_faas_ctx_t *ctx)
{
    return ctx->error ? ctx->error
                      : ngx_http_faas_filter_errors[ctx->outcome];
}


/* nginx-faas; error=TYPE; details="CAUSE" */

static ngx_int_t
ngx_http_faas_filter_proxy_status(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx)
{
    u_char      *p, *value;
    size_t       len;
    const char  *error, *s;

    error = ngx_http_faas_filter_error(ctx);

    len = sizeof(NGX_HTTP_FAAS_PROXY_NAME "; error=") - 1
          + ngx_strlen(error);

    if (ctx->cause != NULL) {
        len += sizeof("; details=\"\"") - 1 + 2 * ngx_strlen(ctx->cause);
    }

    value = ngx_pnalloc(r->pool, len);
    if (value == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(value, NGX_HTTP_FAAS_PROXY_NAME "; error=%s", error);

    if (ctx->cause != NULL) {
        p = ngx_cpymem(p, "; details=\"", sizeof("; details=\"") - 1);

        for (s = ctx->cause; *s; s++) {

            /* what a string of RFC 8941 may hold */

            if (*s < 0x20 || *s > 0x7e) {
                continue;
            }

            if (*s == '"' || *s == '\\') {
                *p++ = '\\';
            }

            *p++ = *s;
        }

        *p++ = '"';
    }

    return ngx_http_faas_filter_add(r, "Proxy-Status", value, p - value);
}


static ngx_int_t
ngx_http_faas_filter_retry_after(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx)
{
    u_char  *value;

    if (ctx->retry_after == 0) {
        return NGX_OK;
    }

    value = ngx_pnalloc(r->pool, NGX_INT32_LEN);
    if (value == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_faas_filter_add(r, "Retry-After", value,
                                    ngx_sprintf(value, "%uD",
                                                ctx->retry_after)
                                    - value);
}


static ngx_int_t
ngx_http_faas_filter_allow(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx)
{
    u_char  *value;

    if (!ctx->allow || r->headers_out.status != NGX_HTTP_NOT_ALLOWED) {
        return NGX_OK;
    }

    value = ngx_pnalloc(r->pool, 64);
    if (value == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_faas_filter_add(r, "Allow", value,
                                faas_route_methods_text((uint32_t) ctx->allow,
                                                        (char *) value));
}


/* ours, if it is not an error_page's; by Accept, which caches have to know */

static ngx_int_t
ngx_http_faas_filter_body(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx)
{
    static u_char  accept[] = "Accept";

    if (ngx_http_faas_answer_make(r, ctx) != NGX_OK) {
        return NGX_OK;
    }

    return ngx_http_faas_filter_add(r, "Vary", accept, sizeof(accept) - 1);
}


static ngx_int_t
ngx_http_faas_filter_add(ngx_http_request_t *r, const char *key,
    u_char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->value.data = value;
    h->value.len = len;
    h->lowcase_key = NULL;

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


ngx_int_t
ngx_http_faas_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_faas_header_filter;

    return ngx_http_faas_answer_init(cf);
}
