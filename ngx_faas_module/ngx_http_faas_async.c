
/*
 * The front of async calls: who asks to be answered later is handed, with the
 * name of the function that the request was routed to, to the platform's own
 * function _calls; and so is who asks what became of a call.  What is stored
 * and how it is answered is decided there; here is only decided who goes
 * there:
 *
 *     PREFIX/_calls/ID, PREFIX/_calls/ID/result   always (but with `off`)
 *     all else                                    with `on`
 *                                                 with "Prefer: respond-async"
 *
 * PREFIX is the location's literal prefix or what calls= says; without one
 * nobody could come back for the result, so nothing is made async.  Neither
 * is a subrequest, nor a call through faas_invoke.
 */


#include "ngx_http_faas_module.h"
#include "ngx_http_faas_prefer.h"


#define NGX_HTTP_FAAS_CALLS     "_calls"
#define NGX_HTTP_FAAS_CALL_HEX  32


static ngx_str_t *ngx_http_faas_async_calls(ngx_http_faas_loc_conf_t *flcf);
static ngx_uint_t ngx_http_faas_async_is_call(ngx_str_t *path);
static ngx_uint_t ngx_http_faas_async_prefers(ngx_http_request_t *r);
static ngx_int_t ngx_http_faas_async_path(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_async_bind(ngx_http_faas_ctx_t *ctx);


/* faas_async off|prefer|on [calls=/PREFIX]; */

char *
ngx_http_faas_async(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_faas_loc_conf_t *flcf = conf;

    size_t      i;
    ngx_str_t  *value, *calls;

    if (flcf->async != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        flcf->async = NGX_HTTP_FAAS_ASYNC_OFF;

    } else if (ngx_strcmp(value[1].data, "prefer") == 0) {
        flcf->async = NGX_HTTP_FAAS_ASYNC_PREFER;

    } else if (ngx_strcmp(value[1].data, "on") == 0) {
        flcf->async = NGX_HTTP_FAAS_ASYNC_ON;

    } else {
        return "must be \"off\", \"prefer\" or \"on\"";
    }

    if (ngx_http_faas_place(cf, &flcf->async_place) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[2].data, "calls=", 6) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"faas_async\"",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    if (flcf->async == NGX_HTTP_FAAS_ASYNC_OFF) {
        return "is \"off\", which contradicts \"calls=\"";
    }

    calls = &flcf->calls;

    calls->data = value[2].data + 6;
    calls->len = value[2].len - 6;

    if (calls->len == 0 || calls->data[0] != '/') {
        return "has a \"calls=\" that does not begin with \"/\"";
    }

    for (i = 0; i < calls->len; i++) {

        /* goes into a Location header, and is compared with decoded URIs */

        if (calls->data[i] <= ' ' || calls->data[i] > '~'
            || ngx_strchr("$%?#\"\\<>", calls->data[i])
            || (calls->data[i] == '/' && i && calls->data[i - 1] == '/'))
        {
            return "has a \"calls=\" that is no plain path: no variables, "
                   "escapes or arguments";
        }
    }

    if (calls->data[calls->len - 1] == '/') {
        calls->len--;
    }

    return NGX_CONF_OK;
}


/* after the location's own prefix is known */

char *
ngx_http_faas_async_merge(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *prev,
    ngx_http_faas_loc_conf_t *conf)
{
    if (conf->async != NGX_CONF_UNSET_UINT && conf->pass == 1
        && conf->invoke)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_async\" cannot be beside \"faas_invoke\", whose "
                      "calls are never made async, in %s:%ui",
                      conf->async_place.file, conf->async_place.line);
        return NGX_CONF_ERROR;
    }

    if (conf->async == NGX_CONF_UNSET_UINT) {
        conf->async = prev->async == NGX_CONF_UNSET_UINT
                      ? NGX_HTTP_FAAS_ASYNC_PREFER : prev->async;
        conf->async_place = prev->async_place;

        if (conf->calls.data == NULL) {
            conf->calls = prev->calls;
        }
    }

    return NGX_CONF_OK;
}


/* a location that answers with functions: is there a way back? */

ngx_int_t
ngx_http_faas_async_check(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *flcf)
{
    if (flcf->async == NGX_HTTP_FAAS_ASYNC_ON
        && ngx_http_faas_async_calls(flcf) == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_async on\" (%s:%ui) needs \"calls=/PREFIX\" for "
                      "a location that is no prefix in %s:%ui",
                      flcf->async_place.file, flcf->async_place.line,
                      flcf->place.file, flcf->place.line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the PREFIX, or NULL */

static ngx_str_t *
ngx_http_faas_async_calls(ngx_http_faas_loc_conf_t *flcf)
{
    if (flcf->calls.data != NULL) {
        return &flcf->calls;
    }

    return flcf->prefixed ? &flcf->prefix : NULL;
}


/*
 * Is this request about a call?  NGX_OK: bound to _calls; NGX_DECLINED: no;
 * else the status of a refusal.
 */

ngx_int_t
ngx_http_faas_async_find(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx)
{
    ngx_str_t  *calls, path;

    calls = ngx_http_faas_async_calls(flcf);

    if (flcf->invoke || r != r->main
        || flcf->async == NGX_HTTP_FAAS_ASYNC_OFF || calls == NULL)
    {
        return NGX_DECLINED;
    }

    if (r->uri.len < calls->len
        || ngx_strncmp(r->uri.data, calls->data, calls->len) != 0)
    {
        return NGX_DECLINED;
    }

    path.data = r->uri.data + calls->len;
    path.len = r->uri.len - calls->len;

    if (!ngx_http_faas_async_is_call(&path)) {
        return NGX_DECLINED;
    }

    ctx->path = path;
    ctx->path_info.data = path.data + sizeof("/" NGX_HTTP_FAAS_CALLS) - 1;
    ctx->path_info.len = path.len - (sizeof("/" NGX_HTTP_FAAS_CALLS) - 1);
    ctx->script_name.data = r->uri.data;
    ctx->script_name.len = ctx->path_info.data - r->uri.data;
    ctx->calls = *calls;

    return ngx_http_faas_async_bind(ctx);
}


/* /_calls/ID[/result], ID: FUNCTION.HEX */

static ngx_uint_t
ngx_http_faas_async_is_call(ngx_str_t *path)
{
    u_char     *p, *last;
    size_t      i;
    ngx_str_t   name;

    p = path->data;
    last = path->data + path->len;

    if (path->len < sizeof("/" NGX_HTTP_FAAS_CALLS "/") - 1
        || ngx_strncmp(p, "/" NGX_HTTP_FAAS_CALLS "/",
                       sizeof("/" NGX_HTTP_FAAS_CALLS "/") - 1)
           != 0)
    {
        return 0;
    }

    p += sizeof("/" NGX_HTTP_FAAS_CALLS "/") - 1;

    name.data = p;

    p = ngx_strlchr(p, last, '.');

    if (p == NULL) {
        return 0;
    }

    name.len = p - name.data;

    if (ngx_http_faas_pass_is_name(&name) != NGX_OK) {
        return 0;
    }

    p++;

    if (last - p < NGX_HTTP_FAAS_CALL_HEX) {
        return 0;
    }

    for (i = 0; i < NGX_HTTP_FAAS_CALL_HEX; i++, p++) {
        if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'))) {
            return 0;
        }
    }

    return p == last
           || (last - p == sizeof("/result") - 1
               && ngx_strncmp(p, "/result", sizeof("/result") - 1) == 0);
}


/*
 * The request was routed, and its function could answer: is it to be answered
 * later?  NGX_OK: bound to _calls; NGX_DECLINED: no; else the status of a
 * refusal.
 */

ngx_int_t
ngx_http_faas_async_accept(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_str_t  *calls;

    calls = ngx_http_faas_async_calls(flcf);

    if (flcf->invoke || r != r->main
        || flcf->async == NGX_HTTP_FAAS_ASYNC_OFF || calls == NULL)
    {
        return NGX_DECLINED;
    }

    if (flcf->async == NGX_HTTP_FAAS_ASYNC_PREFER
        && !ngx_http_faas_async_prefers(r))
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_faas_async_path(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->target = ctx->name;
    ctx->target_function = ctx->function;
    ctx->target_generation = ctx->function_generation;
    ctx->calls = *calls;

    rc = ngx_http_faas_async_bind(ctx);

    if (rc != NGX_OK) {
        ngx_str_null(&ctx->target);
    }

    return rc;
}


static ngx_uint_t
ngx_http_faas_async_prefers(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Prefer") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Prefer",
                               sizeof("Prefer") - 1)
               == 0
            && ngx_http_faas_prefer_is_async((char *) h[i].value.data,
                                             h[i].value.len))
        {
            return 1;
        }
    }
}


/*
 * By which path the function is to be called later, by its name: that of the
 * route which brought the request here, so that captures are the same, or,
 * if a location named the function, /NAME and the path, so that PATH_INFO is.
 */

static ngx_int_t
ngx_http_faas_async_path(ngx_http_request_t *r, ngx_http_faas_ctx_t *ctx)
{
    u_char  *p;

    if (ctx->matched.data != NULL) {
        ctx->call_path = ctx->matched;
        return NGX_OK;
    }

    ctx->call_path.len = 1 + ctx->name.len + ctx->path.len;

    p = ngx_pnalloc(r->pool, ctx->call_path.len + 1);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->call_path.data = p;

    *p++ = '/';
    p = ngx_cpymem(p, ctx->name.data, ctx->name.len);

    if (ctx->path.len) {

        /* `location /a` takes "/ab" as well: "b" is no path */

        if (ctx->path.data[0] != '/') {
            *p++ = '/';
            ctx->call_path.len++;
        }

        (void) ngx_cpymem(p, ctx->path.data, ctx->path.len);
    }

    return NGX_OK;
}


/* from here on the request is one to _calls; NGX_OK or a refusal */

static ngx_int_t
ngx_http_faas_async_bind(ngx_http_faas_ctx_t *ctx)
{
    uint32_t          function, generation, state;
    faas_function_t  *f;

    static ngx_str_t  name = ngx_string(NGX_HTTP_FAAS_CALLS);

    function = ngx_http_faas_router_name(&name, &generation);

    if (function == FAAS_INDEX_NONE) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "async calls are not available");
    }

    f = faas_scoreboard_function(ngx_http_faas_host.board, function);

    state = atomic_load_explicit(&f->state, memory_order_acquire);

    if (state != FAAS_FUNCTION_LOADING && state != FAAS_FUNCTION_READY) {
        return ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "async calls are not available");
    }

    ctx->is_calls = 1;
    ctx->name = name;
    ctx->function = function;
    ctx->function_generation = generation;
    ctx->version = FAAS_INDEX_NONE;
    ctx->version_id[0] = '\0';

    faas_limits_read(f, &ctx->limits);

    ngx_http_faas_bind(ctx, f);

    return NGX_OK;
}
