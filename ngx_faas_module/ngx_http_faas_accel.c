
/*
 * X-Accel-Redirect: a function's answer may name an internal location only if
 * its faas_function block says `accel on`.
 *
 * Stock decides this by location, so every faas_pass location ignores the
 * header: set once its configuration is merged, it holds for cached answers
 * too, which stock looks at before it knows of a function.  A request to a
 * function that is let through gets a conf of its own without that one bit.
 * An answer that redirects is never cached, so nothing is lost by the order.
 */


#include "ngx_http_faas_module.h"


#define NGX_HTTP_FAAS_ACCEL_DIRECTIVE  "fastcgi_ignore_headers"


char *
ngx_http_faas_accel_merge(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *flcf)
{
    ngx_uint_t     *ignore;
    ngx_command_t  *cmd;

    ignore = ngx_http_faas_pass_field(cf, NGX_HTTP_FAAS_ACCEL_DIRECTIVE, &cmd);

    if (ignore == NULL
        || cmd->set != ngx_conf_set_bitmask_slot
        || cmd->post != &ngx_http_upstream_ignore_headers_masks)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_pass\" does not know the \""
                      NGX_HTTP_FAAS_ACCEL_DIRECTIVE "\" of this nginx in "
                      "%s:%ui", flcf->place.file, flcf->place.line);
        return NGX_CONF_ERROR;
    }

    *ignore |= NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_faas_accel_allow(ngx_http_request_t *r)
{
    ngx_http_upstream_conf_t  *conf;

    conf = ngx_palloc(r->pool, sizeof(ngx_http_upstream_conf_t));
    if (conf == NULL) {
        return NGX_ERROR;
    }

    *conf = *r->upstream->conf;

    conf->ignore_headers &= ~(ngx_uint_t) NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT;

    r->upstream->conf = conf;

    return NGX_OK;
}
