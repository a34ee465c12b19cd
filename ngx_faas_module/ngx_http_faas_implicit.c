
/*
 * The faas_internal server that nobody wrote.
 *
 * Functions that call functions, queues, timers and async calls need one, and
 * a bare faas_functions is a complete configuration: so faas_functions stands
 * for such a server too, as faas_pass stands for stock directives.  It is
 * parsed from memory where faas_functions stands, is merged and listens like
 * any other, and is taken out again if the user turns out to have written a
 * faas_internal server of his own.
 *
 * What the http block says holds for its servers.  The platform's calls are
 * not to be logged, refused, sent to error pages, compressed or slowed down
 * by what was meant for clients, so the server says otherwise, in those of
 * the directives below that this nginx has.
 */


#include "ngx_http_faas_host.h"


/* name and value are 40 bytes at most */
#define NGX_HTTP_FAAS_IMPLICIT_LINE  64


typedef struct {
    const char               *name;
    const char               *value;
} ngx_http_faas_implicit_t;


static ngx_uint_t ngx_http_faas_implicit_has(ngx_conf_t *cf,
    const char *name);
static char *ngx_http_faas_implicit_parse(ngx_conf_t *cf, u_char *text,
    u_char *last);


static ngx_http_faas_implicit_t  ngx_http_faas_implicit_says[] = {

    /* functions have limits of their own */
    { "client_max_body_size", "0" },
    { "limit_rate", "0" },
    { "limit_req_dry_run", "on" },
    { "limit_conn_dry_run", "on" },

    /* a token is asked for, and nothing else */
    { "allow", "all" },
    { "satisfy", "all" },
    { "auth_basic", "off" },
    { "auth_request", "off" },

    /* one call is one call */
    { "mirror", "off" },
    { "add_before_body", "\"\"" },
    { "add_after_body", "\"\"" },
    { "slice", "0" },

    /* what a function answers is what its caller gets: an error page or a
       header that cannot be takes the place of those of the outer block */
    { "error_page", "599 /" },
    { "add_header", "Faas-Internal \"\"" },
    { "add_trailer", "Faas-Internal \"\"" },
    { "expires", "off" },
    { "userid", "off" },
    { "charset", "off" },
    { "gzip", "off" },
    { "gunzip", "off" },
    { "ssi", "off" },
    { "fastcgi_intercept_errors", "off" },
    { "fastcgi_cache", "off" },
    { "fastcgi_store", "off" },
    { "fastcgi_limit_rate", "0" },
    { "fastcgi_buffering", "on" },
    { "fastcgi_request_buffering", "on" },
    { "fastcgi_pass_request_headers", "on" },
    { "fastcgi_pass_request_body", "on" },
    { "fastcgi_ignore_client_abort", "off" },
    { "fastcgi_force_ranges", "off" },

    /* callers keep their connections */
    { "keepalive_timeout", "75s" },
    { "keepalive_requests", "100000" },

    { "access_log", "off" },

    { NULL, NULL }
};


ngx_int_t
ngx_http_faas_implicit_create(ngx_conf_t *cf, ngx_http_faas_main_conf_t *fmcf)
{
    char                      *rv;
    u_char                    *p, *text;
    ngx_http_faas_implicit_t  *says;

    if (fmcf->internal) {
        return NGX_OK;
    }

    text = ngx_pnalloc(cf->temp_pool, sizeof(ngx_http_faas_implicit_says)
                                      / sizeof(ngx_http_faas_implicit_t)
                                      * NGX_HTTP_FAAS_IMPLICIT_LINE + 128);
    if (text == NULL) {
        return NGX_ERROR;
    }

    /* in one line: what is wrong in it is wrong where faas_functions is */

    p = ngx_sprintf(text, "server { faas_internal; ");

    for (says = ngx_http_faas_implicit_says; says->name; says++) {
        if (ngx_http_faas_implicit_has(cf, says->name)) {
            p = ngx_sprintf(p, "%s %s; ", says->name, says->value);
        }
    }

    p = ngx_sprintf(p, "location / { faas_invoke; } } }");

    fmcf->implicit = 1;

    rv = ngx_http_faas_implicit_parse(cf, text, p);

    return rv == NGX_CONF_OK ? NGX_OK : NGX_ERROR;
}


/* is it a directive of this nginx that may stand in a server? */

static ngx_uint_t
ngx_http_faas_implicit_has(ngx_conf_t *cf, const char *name)
{
    ngx_uint_t      i;
    ngx_command_t  *cmd;

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (cf->cycle->modules[i]->type != NGX_HTTP_MODULE) {
            continue;
        }

        cmd = cf->cycle->modules[i]->commands;

        for ( /* void */ ; cmd && cmd->name.len; cmd++) {
            if ((cmd->type & NGX_HTTP_SRV_CONF)
                && ngx_strcmp(cmd->name.data, name) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * Parses text, which ends with the '}' of a block, as if it stood in the http
 * block.  From memory as -g, but with a descriptor, without which there would
 * be no blocks; it is never read, since the file is as long as its offset.
 */

static char *
ngx_http_faas_implicit_parse(ngx_conf_t *cf, u_char *text, u_char *last)
{
    char             *rv;
    ngx_buf_t         b;
    ngx_conf_t        save;
    ngx_conf_file_t   file;

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.start = text;
    b.pos = text;
    b.last = last;
    b.end = last;
    b.temporary = 1;

    ngx_memzero(&file, sizeof(ngx_conf_file_t));

    file.file.fd = cf->conf_file->file.fd;
    file.file.name = cf->conf_file->file.name;
    file.line = cf->conf_file->line;
    file.buffer = &b;

    save = *cf;

    cf->args = ngx_array_create(cf->temp_pool, 8, sizeof(ngx_str_t));
    if (cf->args == NULL) {
        *cf = save;
        return NGX_CONF_ERROR;
    }

    cf->conf_file = &file;
    cf->module_type = NGX_HTTP_MODULE;
    cf->cmd_type = NGX_HTTP_MAIN_CONF;
    cf->handler = NULL;
    cf->handler_conf = NULL;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


void
ngx_http_faas_implicit_remove(ngx_conf_t *cf, ngx_http_faas_main_conf_t *fmcf)
{
    ngx_uint_t                   i;
    ngx_http_core_srv_conf_t   **server;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    server = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        if (server[i] == fmcf->internal) {
            ngx_memmove(&server[i], &server[i + 1],
                        (cmcf->servers.nelts - i - 1) * sizeof(*server));
            cmcf->servers.nelts--;
            break;
        }
    }

    fmcf->internal = NULL;
    fmcf->implicit = 0;
}
