
/*
 * faas_invoke: who calls, whom, and how deep below a client's request.
 *
 *     Faas-Token: NAME:HEX       the caller and its secret
 *     Faas-Function: NAME        the called, whatever the path
 *     Faas-Depth: N              calls above this one; without it 1
 *
 * Callers are functions, with the token of their entry on the board, and the
 * events process, "@events", with the board's own.  Tokens are compared in
 * constant time.
 *
 * What says that a call is an event (Faas-Event and so on, baas/events.h) is
 * believed of the events process alone: $faas_event and its like, which are
 * what faas_invoke gives to the called, are empty for other callers.
 */


#include "ngx_http_faas_module.h"


#define NGX_HTTP_FAAS_DEPTH_MAX  16
#define NGX_HTTP_FAAS_EVENTS     "@events"


static const char *ngx_http_faas_invoke_secret(ngx_str_t *caller,
    size_t *length);
static ngx_uint_t ngx_http_faas_invoke_is_events(ngx_str_t *caller);
static ngx_int_t ngx_http_faas_invoke_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/* a variable, and the header that it is of */

typedef struct {
    ngx_str_t                 name;
    ngx_str_t                 header;
} ngx_http_faas_event_t;

static ngx_http_faas_event_t  ngx_http_faas_events[] = {
    { ngx_string("faas_event"), ngx_string("Faas-Event") },
    { ngx_string("faas_event_name"), ngx_string("Faas-Name") },
    { ngx_string("faas_event_id"), ngx_string("Faas-Id") },
    { ngx_string("faas_event_attempt"), ngx_string("Faas-Attempt") },
    { ngx_string("faas_event_sent"), ngx_string("Faas-Sent") },
    { ngx_string("faas_event_due"), ngx_string("Faas-Due") },
    { ngx_string("faas_event_fence"), ngx_string("Faas-Fence") },
    { ngx_string("faas_event_messages"), ngx_string("Faas-Messages") },
    { ngx_null_string, ngx_null_string }
};


ngx_int_t
ngx_http_faas_invoke_add(ngx_conf_t *cf)
{
    ngx_http_variable_t    *var;
    ngx_http_faas_event_t  *event;

    for (event = ngx_http_faas_events; event->name.len; event++) {
        var = ngx_http_add_variable(cf, &event->name,
                                    NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_faas_invoke_variable;
        var->data = (uintptr_t) &event->header;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_invoke_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t            *value;
    ngx_http_faas_ctx_t  *ctx;

    ctx = ngx_http_faas_ctx(r);

    value = ctx != NULL && ngx_http_faas_invoke_is_events(&ctx->caller)
            ? ngx_http_faas_header(r, (ngx_str_t *) data) : NULL;

    if (value == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = value->data;
    v->len = value->len;

    return NGX_OK;
}


ngx_int_t
ngx_http_faas_invoke_caller(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx)
{
    u_char      *p, diff;
    size_t       i, n;
    ngx_str_t   *value, caller;
    const char  *secret;

    static ngx_str_t  header = ngx_string("Faas-Token");
    static ngx_str_t  function = ngx_string("Faas-Function");

    value = ngx_http_faas_header(r, &header);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    p = ngx_strlchr(value->data, value->data + value->len, ':');
    if (p == NULL) {
        return NGX_DECLINED;
    }

    caller.data = value->data;
    caller.len = p - value->data;

    secret = ngx_http_faas_invoke_secret(&caller, &n);

    p++;

    if (secret == NULL || n == 0
        || (size_t) (value->data + value->len - p) != n)
    {
        return NGX_DECLINED;
    }

    diff = 0;

    for (i = 0; i < n; i++) {
        diff |= p[i] ^ (u_char) secret[i];
    }

    if (diff) {
        return NGX_DECLINED;
    }

    ctx->caller = caller;

    /* a subrequest has its parent's headers, but is a request of its own */

    value = r == r->main ? ngx_http_faas_header(r, &function) : NULL;

    if (value) {
        ctx->callee = *value;
    }

    return NGX_OK;
}


static const char *
ngx_http_faas_invoke_secret(ngx_str_t *caller, size_t *length)
{
    uint32_t             function, generation;
    faas_function_t     *f;
    faas_scoreboard_t   *sb;

    sb = ngx_http_faas_host.board;

    if (ngx_http_faas_invoke_is_events(caller)) {
        *length = ngx_strnlen((u_char *) sb->events_token,
                              sizeof(sb->events_token));
        return sb->events_token;
    }

    function = ngx_http_faas_router_name(caller, &generation);

    if (function == FAAS_INDEX_NONE) {
        return NULL;
    }

    f = faas_scoreboard_function(sb, function);

    *length = ngx_strnlen((u_char *) f->token, sizeof(f->token));

    return f->token;
}


static ngx_uint_t
ngx_http_faas_invoke_is_events(ngx_str_t *caller)
{
    return caller->len == sizeof(NGX_HTTP_FAAS_EVENTS) - 1
           && ngx_strncmp(caller->data, NGX_HTTP_FAAS_EVENTS, caller->len)
              == 0;
}


ngx_int_t
ngx_http_faas_invoke_depth(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx)
{
    ngx_int_t   n;
    ngx_str_t  *value;

    static ngx_str_t  header = ngx_string("Faas-Depth");

    ctx->depth = 1;

    value = ngx_http_faas_header(r, &header);

    if (value == NULL) {
        return NGX_OK;
    }

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR) {

        /* so large that it is no number here, or none at all: who could not
           say how deep it is may be anywhere */

        n = NGX_HTTP_FAAS_DEPTH_MAX + 1;
    }

    ctx->depth = n;

    if (n > NGX_HTTP_FAAS_DEPTH_MAX) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_LOOP,
                                    "functions call each other too deeply");
    }

    return NGX_OK;
}
