
/*
 * faas_pass: a macro over stock directives.
 *
 * What it stands for is text, parsed from memory by ngx_conf_parse() as nginx
 * parses what -g gives; the FastCGI protocol, buffering and caching are
 * therefore the stock module's.  It is expanded when our location is merged.
 * Our module stands before the FastCGI module in nginx's list (config), so
 * the FastCGI module's conf then holds just what the user said in this very
 * location, before or after faas_pass: a directive that faas_pass owns is
 * seen there and refused, and a fastcgi_param of the user's takes the place
 * of ours.  The stock merge follows and treats both alike.
 *
 * Which field a directive sets is read from the FastCGI module's own command
 * table, so nothing here depends on the layout of its conf.
 */


#include "ngx_http_faas_module.h"


#define NGX_HTTP_FAAS_MODULE_NAME     "ngx_http_faas_module"
#define NGX_HTTP_FAAS_FASTCGI_NAME    "ngx_http_fastcgi_module"

/* a flag of the stock upstream's conf, which is thereby found */
#define NGX_HTTP_FAAS_PASS_BUFFERING  "fastcgi_buffering"

/* what faas_ignore_client_abort stands for */
#define NGX_HTTP_FAAS_PASS_ABORT      "fastcgi_ignore_client_abort"

/* the tables below as text take half of it */
#define NGX_HTTP_FAAS_PASS_TEXT       8192


typedef struct {
    const char               *name;
    const char               *value;         /* and flags, as in nginx.conf */
} ngx_http_faas_param_t;


static ngx_int_t ngx_http_faas_pass_upstream(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf);
static ngx_int_t ngx_http_faas_pass_merge_abort(ngx_conf_t *cf,
    ngx_http_faas_loc_conf_t *prev, ngx_http_faas_loc_conf_t *flcf);
static ngx_module_t *ngx_http_faas_pass_fastcgi(ngx_conf_t *cf);
static ngx_command_t *ngx_http_faas_pass_command(ngx_module_t *module,
    const char *name);
static ngx_array_t **ngx_http_faas_pass_params(ngx_conf_t *cf,
    ngx_module_t *module);
static char *ngx_http_faas_pass_expand(ngx_conf_t *cf,
    ngx_http_faas_loc_conf_t *flcf, ngx_module_t *module,
    ngx_array_t **params);
static ngx_int_t ngx_http_faas_pass_check(ngx_conf_t *cf,
    ngx_http_faas_loc_conf_t *flcf, ngx_module_t *module,
    ngx_array_t **params);
static ngx_http_faas_param_t *ngx_http_faas_pass_taken(ngx_array_t *params,
    ngx_http_faas_param_t *o);
static ngx_int_t ngx_http_faas_pass_is_set(ngx_command_t *cmd, void *conf);
static ngx_http_upstream_param_t *ngx_http_faas_pass_find(ngx_array_t *params,
    const char *name);
static ngx_int_t ngx_http_faas_pass_copy(ngx_conf_t *cf, ngx_array_t *params,
    ngx_array_t **copy);
static char *ngx_http_faas_pass_parse(ngx_conf_t *cf,
    ngx_http_faas_loc_conf_t *flcf, u_char *text, u_char *last);
static ngx_int_t ngx_http_faas_pass_host_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/*
 * What faas_pass owns.  Budgets are ours, so the stock timeouts are out of
 * their way; and whether an attempt is repeated is decided by the scheduler,
 * which sets the number of tries, so the stock conditions let everything by.
 */

static ngx_http_faas_param_t  ngx_http_faas_pass_owned[] = {
    { "fastcgi_keep_conn", "on" },
    { "fastcgi_next_upstream",
      "error timeout invalid_header non_idempotent" },
    { "fastcgi_next_upstream_tries", "0" },
    { "fastcgi_next_upstream_timeout", "0" },
    { "fastcgi_connect_timeout", "1d" },
    { "fastcgi_send_timeout", "1d" },
    { "fastcgi_read_timeout", "1d" },
    { NULL, NULL }
};


/* CGI/1.1 and what everybody expects besides; a fastcgi_param of the user's
   with the same name takes its place */

static ngx_http_faas_param_t  ngx_http_faas_pass_cgi[] = {
    { "QUERY_STRING", "$query_string" },
    { "REQUEST_METHOD", "$request_method" },
    { "CONTENT_TYPE", "$content_type" },
    { "CONTENT_LENGTH", "$content_length" },
    { "SCRIPT_NAME", "$faas_script_name" },
    { "PATH_INFO", "$faas_path_info" },
    { "REQUEST_URI", "$request_uri" },
    { "DOCUMENT_URI", "$document_uri" },
    { "DOCUMENT_ROOT", "$document_root" },
    { "SERVER_PROTOCOL", "$server_protocol" },
    { "REQUEST_SCHEME", "$scheme" },
    { "HTTPS", "$https if_not_empty" },
    { "GATEWAY_INTERFACE", "CGI/1.1" },
    { "SERVER_SOFTWARE", "nginx/$nginx_version" },
    { "REMOTE_ADDR", "$remote_addr" },
    { "REMOTE_PORT", "$remote_port" },
    { "REMOTE_USER", "$remote_user" },
    { "SERVER_ADDR", "$server_addr" },
    { "SERVER_PORT", "$server_port" },
    { "SERVER_NAME", "$server_name" },
    { "REDIRECT_STATUS", "200" },
    { "REQUEST_ID", "$faas_request_id" },

    /* never the raw header, which an absolute request line need not match */
    { "HTTP_HOST", "$faas_http_host if_not_empty" },

    { NULL, NULL }
};


/* what the platform relies on: these cannot be set by the user.  A parameter
   that is always empty hides the client's header of that name. */

static ngx_http_faas_param_t  ngx_http_faas_pass_reserved[] = {
    { "FAAS_PATH", "$faas_path" },
    { "FAAS_PARAMS", "$faas_params" },
    { "HTTP_PROXY", "\"\" if_not_empty" },
    { "HTTP_FAAS_TOKEN", "\"\" if_not_empty" },
    { "HTTP_FAAS_FUNCTION", "\"\" if_not_empty" },
    { NULL, NULL }
};


/* a client's request is no event, whatever its headers say */

static ngx_http_faas_param_t  ngx_http_faas_pass_clients[] = {
    { "FAAS_TARGET", "$faas_target if_not_empty" },
    { "FAAS_PREFIX", "$faas_prefix if_not_empty" },
    { "HTTP_FAAS_EVENT", "\"\" if_not_empty" },
    { "HTTP_FAAS_NAME", "\"\" if_not_empty" },
    { "HTTP_FAAS_ID", "\"\" if_not_empty" },
    { "HTTP_FAAS_ATTEMPT", "\"\" if_not_empty" },
    { "HTTP_FAAS_SENT", "\"\" if_not_empty" },
    { "HTTP_FAAS_DUE", "\"\" if_not_empty" },
    { "HTTP_FAAS_FENCE", "\"\" if_not_empty" },
    { "HTTP_FAAS_MESSAGES", "\"\" if_not_empty" },
    { "HTTP_FAAS_DEPTH", "\"\" if_not_empty" },
    { NULL, NULL }
};


/* a call's may be one, if the events process says so */

static ngx_http_faas_param_t  ngx_http_faas_pass_calls[] = {
    { "HTTP_FAAS_DEPTH", "$faas_depth" },
    { "HTTP_FAAS_EVENT", "$faas_event if_not_empty" },
    { "HTTP_FAAS_NAME", "$faas_event_name if_not_empty" },
    { "HTTP_FAAS_ID", "$faas_event_id if_not_empty" },
    { "HTTP_FAAS_ATTEMPT", "$faas_event_attempt if_not_empty" },
    { "HTTP_FAAS_SENT", "$faas_event_sent if_not_empty" },
    { "HTTP_FAAS_DUE", "$faas_event_due if_not_empty" },
    { "HTTP_FAAS_FENCE", "$faas_event_fence if_not_empty" },
    { "HTTP_FAAS_MESSAGES", "$faas_event_messages if_not_empty" },
    { NULL, NULL }
};


ngx_int_t
ngx_http_faas_pass_init(ngx_conf_t *cf)
{
    ngx_uint_t            i;
    ngx_module_t        **modules;
    ngx_http_variable_t  *v;

    static ngx_str_t      name = ngx_string("faas_http_host");

    modules = cf->cycle->modules;

    for (i = 0; modules[i]; i++) {

        if (ngx_strcmp(modules[i]->name, NGX_HTTP_FAAS_MODULE_NAME) == 0) {
            break;
        }

        if (ngx_strcmp(modules[i]->name, NGX_HTTP_FAAS_FASTCGI_NAME) == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "the faas module must stand before "
                          NGX_HTTP_FAAS_FASTCGI_NAME ", build it by its own "
                          "\"config\"");
            return NGX_ERROR;
        }
    }

    if (ngx_http_faas_pass_fastcgi(cf) == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the faas module needs " NGX_HTTP_FAAS_FASTCGI_NAME
                      ", this nginx was built without it");
        return NGX_ERROR;
    }

    v = ngx_http_add_variable(cf, &name, 0);
    if (v == NULL) {
        return NGX_ERROR;
    }

    v->get_handler = ngx_http_faas_pass_host_variable;

    return NGX_OK;
}


static ngx_module_t *
ngx_http_faas_pass_fastcgi(ngx_conf_t *cf)
{
    ngx_uint_t  i;

    for (i = 0; cf->cycle->modules[i]; i++) {
        if (ngx_strcmp(cf->cycle->modules[i]->name,
                       NGX_HTTP_FAAS_FASTCGI_NAME)
            == 0)
        {
            return cf->cycle->modules[i];
        }
    }

    return NULL;
}


/* faas_pass [NAME]; and, with cmd->offset, faas_invoke [NAME]; */

char *
ngx_http_faas_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_faas_loc_conf_t *flcf = conf;

    ngx_str_t                         *value;
    ngx_http_faas_main_conf_t         *fmcf;
    ngx_http_compile_complex_value_t   ccv;

    if (flcf->pass != NGX_CONF_UNSET) {
        if (flcf->invoke != (ngx_flag_t) cmd->offset) {
            return "cannot be beside the other of \"faas_pass\" and "
                   "\"faas_invoke\"";
        }

        return "is duplicate";
    }

    if (flcf->status) {
        return "cannot be beside \"faas_status\"";
    }

    flcf->pass = 1;
    flcf->invoke = cmd->offset;

    if (ngx_http_faas_place(cf, &flcf->place) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_faas_module);

    /* while the implicit server is parsed, the internal one is none else */

    if (flcf->invoke
        && !(fmcf->implicit
             && fmcf->internal == ngx_http_conf_get_module_srv_conf(cf,
                                                       ngx_http_core_module)))
    {
        fmcf->invoked = 1;
    }

    if (fmcf->pass.file == NULL) {
        fmcf->pass = flcf->place;
    }

    /* now: upstreams are initialised before locations are merged */

    if (fmcf->upstream == NULL
        && ngx_http_faas_pass_upstream(cf, fmcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 1) {
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    if (ngx_http_script_variables_count(&value[1]) == 0
        && ngx_http_faas_pass_is_name(&value[1]) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid function name \"%V\" in \"%V\", it must "
                           "be [a-z0-9][a-z0-9_-]* of at most 63 characters",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    flcf->target = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (flcf->target == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = flcf->target;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* what a location itself says counts, by whichever of the two names */

static ngx_int_t
ngx_http_faas_pass_merge_abort(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *prev,
    ngx_http_faas_loc_conf_t *flcf)
{
    ngx_uint_t      stock;
    ngx_flag_t     *field;
    ngx_command_t  *cmd;

    field = ngx_http_faas_pass_field(cf, NGX_HTTP_FAAS_PASS_ABORT, &cmd);

    stock = field != NULL && cmd->set == ngx_conf_set_flag_slot
            && *field != NGX_CONF_UNSET;

    if (flcf->ignore_client_abort == NGX_CONF_UNSET) {

        if (!stock) {
            flcf->ignore_client_abort = prev->ignore_client_abort;
        }

        return NGX_OK;
    }

    if (!stock) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"faas_ignore_client_abort %s\" cannot be beside \""
                  NGX_HTTP_FAAS_PASS_ABORT " %s\", which it sets itself, in "
                  "%s:%ui",
                  flcf->ignore_client_abort ? "on" : "off",
                  *field ? "on" : "off",
                  flcf->abort_place.file, flcf->abort_place.line);

    return NGX_ERROR;
}


/*
 * The filter module's merge, which runs after the FastCGI module's (config):
 * what that has for the location is there now.
 */

char *
ngx_http_faas_pass_merged(ngx_conf_t *cf, void *parent, void *child)
{
    u_char                    *field;
    ngx_command_t             *cmd;
    ngx_http_faas_loc_conf_t  *flcf;

    flcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_faas_module);

    if (flcf->pass != 1) {
        return NGX_CONF_OK;
    }

    field = ngx_http_faas_pass_field(cf, NGX_HTTP_FAAS_PASS_BUFFERING, &cmd);

    if (field == NULL || cmd->set != ngx_conf_set_flag_slot) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_pass\" does not know the \""
                      NGX_HTTP_FAAS_PASS_BUFFERING "\" of this nginx in "
                      "%s:%ui", flcf->place.file, flcf->place.line);
        return NGX_CONF_ERROR;
    }

    flcf->upstream = (ngx_http_upstream_conf_t *)
                     (field - offsetof(ngx_http_upstream_conf_t, buffering));

    if (flcf->ignore_client_abort != NGX_CONF_UNSET) {
        flcf->upstream->ignore_client_abort = flcf->ignore_client_abort;
    }

    return ngx_http_faas_accel_merge(cf, flcf);
}


/*
 * The one upstream of all faas_pass locations.  Its name is made anew each
 * time the configuration is read, so no configuration can use it.
 */

static ngx_int_t
ngx_http_faas_pass_upstream(ngx_conf_t *cf, ngx_http_faas_main_conf_t *fmcf)
{
    ngx_url_t                      u;
    ngx_http_upstream_srv_conf_t  *uscf;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.host.data = ngx_pnalloc(cf->pool, sizeof("faas-") + 16);
    if (u.host.data == NULL) {
        return NGX_ERROR;
    }

    u.host.len = ngx_sprintf(u.host.data, "faas-%08xD%08xD%Z",
                             (uint32_t) ngx_random(), (uint32_t) ngx_random())
                 - u.host.data - 1;
    u.no_resolve = 1;
    u.no_port = 1;

    uscf = ngx_http_upstream_add(cf, &u, NGX_HTTP_UPSTREAM_CREATE);
    if (uscf == NULL) {
        return NGX_ERROR;
    }

    uscf->peer.init_upstream = ngx_http_faas_scheduler_init_upstream;

    fmcf->upstream = uscf;

    return NGX_OK;
}


char *
ngx_http_faas_pass_merge(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *prev,
    ngx_http_faas_loc_conf_t *flcf)
{
    ngx_module_t              *module;
    ngx_array_t              **params;
    ngx_http_core_loc_conf_t  *clcf;

    if (ngx_http_faas_pass_merge_abort(cf, prev, flcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    module = ngx_http_faas_pass_fastcgi(cf);
    params = ngx_http_faas_pass_params(cf, module);

    flcf->params = params ? *params : NULL;

    /* a block without a name is a part of the location around it */

    if (clcf->noname && flcf->params == NULL) {
        flcf->params = prev->params;
    }

    if (flcf->pass == NGX_CONF_UNSET) {

        if (clcf->noname && clcf->handler == NULL && prev->pass == 1) {
            flcf->pass = 1;
            flcf->invoke = prev->invoke;
            flcf->target = prev->target;
            flcf->place = prev->place;

            if (ngx_http_faas_async_check(cf, flcf) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

        } else {
            flcf->pass = 0;
        }

        return NGX_CONF_OK;
    }

    if (!flcf->invoke && ngx_http_faas_async_check(cf, flcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (params == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_pass\" does not know the \"fastcgi_param\" of "
                      "this nginx in %s:%ui",
                      flcf->place.file, flcf->place.line);
        return NGX_CONF_ERROR;
    }

    /*
     * Nobody can say fastcgi_param in an `if`: what the location around it
     * says is taken along, and if that has a faas_pass too, the stock merge
     * takes all of it.
     */

    if (clcf->noname && *params == NULL) {

        if (prev->pass == 1 && prev->invoke != flcf->invoke) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "one of \"faas_pass\" and \"faas_invoke\" cannot "
                          "be in an \"if\" of a location with the other in "
                          "%s:%ui", flcf->place.file, flcf->place.line);
            return NGX_CONF_ERROR;
        }

        if (prev->pass == 1) {
            return ngx_http_faas_pass_expand(cf, flcf, module, NULL);
        }

        if (ngx_http_faas_pass_copy(cf, prev->params, params) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return ngx_http_faas_pass_expand(cf, flcf, module, params);
}


/* params: where the location keeps its parameters, or NULL: they are there */

static char *
ngx_http_faas_pass_expand(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *flcf,
    ngx_module_t *module, ngx_array_t **params)
{
    u_char                     *text, *p;
    ngx_http_faas_param_t      *o;
    ngx_http_faas_main_conf_t  *fmcf;

    if (ngx_http_faas_pass_check(cf, flcf, module, params) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_faas_module);

    text = ngx_pnalloc(cf->temp_pool, NGX_HTTP_FAAS_PASS_TEXT);
    if (text == NULL) {
        return NGX_CONF_ERROR;
    }

    p = ngx_sprintf(text, "fastcgi_pass %V;\n", &fmcf->upstream->host);

    for (o = ngx_http_faas_pass_owned; o->name; o++) {
        p = ngx_sprintf(p, "%s %s;\n", o->name, o->value);
    }

    if (params == NULL) {
        return ngx_http_faas_pass_parse(cf, flcf, text, p);
    }

    for (o = ngx_http_faas_pass_reserved; o->name; o++) {
        p = ngx_sprintf(p, "fastcgi_param %s %s;\n", o->name, o->value);
    }

    o = flcf->invoke ? ngx_http_faas_pass_calls : ngx_http_faas_pass_clients;

    for ( /* void */ ; o->name; o++) {
        p = ngx_sprintf(p, "fastcgi_param %s %s;\n", o->name, o->value);
    }

    for (o = ngx_http_faas_pass_cgi; o->name; o++) {
        if (ngx_http_faas_pass_find(*params, o->name) == NULL) {
            p = ngx_sprintf(p, "fastcgi_param %s %s;\n", o->name, o->value);
        }
    }

    return ngx_http_faas_pass_parse(cf, flcf, text, p);
}


/* has the user, in this location, said what faas_pass says? */

static ngx_int_t
ngx_http_faas_pass_check(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *flcf,
    ngx_module_t *module, ngx_array_t **params)
{
    char                      *name;
    ngx_int_t                  rc;
    ngx_command_t             *cmd;
    ngx_http_conf_ctx_t       *ctx;
    ngx_http_faas_param_t     *o;
    ngx_http_core_loc_conf_t  *clcf;

    ctx = cf->ctx;
    clcf = ctx->loc_conf[ngx_http_core_module.ctx_index];
    name = flcf->invoke ? "faas_invoke" : "faas_pass";

    if (clcf->handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s\" cannot be beside another directive that "
                      "answers requests (\"fastcgi_pass\", \"proxy_pass\" "
                      "and the like) in %s:%ui",
                      name, flcf->place.file, flcf->place.line);
        return NGX_ERROR;
    }

    for (o = ngx_http_faas_pass_owned; o->name; o++) {

        cmd = ngx_http_faas_pass_command(module, o->name);

        rc = cmd ? ngx_http_faas_pass_is_set(cmd,
                                            ctx->loc_conf[module->ctx_index])
                 : NGX_ERROR;

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc == NGX_OK) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%s\" cannot be beside \"%s\", which sets it "
                          "itself, in %s:%ui",
                          o->name, name, flcf->place.file, flcf->place.line);

        } else {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%s\" does not know the \"%s\" of this nginx in "
                          "%s:%ui",
                          name, o->name, flcf->place.file, flcf->place.line);
        }

        return NGX_ERROR;
    }

    if (params == NULL) {
        return NGX_OK;
    }

    o = ngx_http_faas_pass_taken(*params, ngx_http_faas_pass_reserved);

    if (o == NULL) {
        o = ngx_http_faas_pass_taken(*params,
                                     flcf->invoke ? ngx_http_faas_pass_calls
                                                : ngx_http_faas_pass_clients);
    }

    if (o == NULL) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"fastcgi_param %s\" cannot be beside \"%s\", "
                  "which sets it itself, in %s:%ui",
                  o->name, name, flcf->place.file, flcf->place.line);

    return NGX_ERROR;
}


/* the first of a table that the user has set, or NULL */

static ngx_http_faas_param_t *
ngx_http_faas_pass_taken(ngx_array_t *params, ngx_http_faas_param_t *o)
{
    for ( /* void */ ; o->name; o++) {
        if (ngx_http_faas_pass_find(params, o->name)) {
            return o;
        }
    }

    return NULL;
}


static ngx_command_t *
ngx_http_faas_pass_command(ngx_module_t *module, const char *name)
{
    ngx_command_t  *cmd;

    for (cmd = module->commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, name) == 0) {
            return cmd;
        }
    }

    return NULL;
}


void *
ngx_http_faas_pass_field(ngx_conf_t *cf, const char *name,
    ngx_command_t **cmd)
{
    ngx_module_t         *module;
    ngx_http_conf_ctx_t  *ctx;

    module = ngx_http_faas_pass_fastcgi(cf);
    *cmd = ngx_http_faas_pass_command(module, name);

    if (*cmd == NULL) {
        return NULL;
    }

    ctx = cf->ctx;

    return (u_char *) ctx->loc_conf[module->ctx_index] + (*cmd)->offset;
}


/* NGX_OK, NGX_DECLINED, or NGX_ERROR for a kind of field we do not know */

static ngx_int_t
ngx_http_faas_pass_is_set(ngx_command_t *cmd, void *conf)
{
    u_char      *p;
    ngx_uint_t   set;

    p = (u_char *) conf + cmd->offset;

    if (cmd->set == ngx_conf_set_flag_slot) {
        set = *(ngx_flag_t *) p != NGX_CONF_UNSET;

    } else if (cmd->set == ngx_conf_set_num_slot) {
        set = *(ngx_int_t *) p != NGX_CONF_UNSET;

    } else if (cmd->set == ngx_conf_set_msec_slot) {
        set = *(ngx_msec_t *) p != NGX_CONF_UNSET_MSEC;

    } else if (cmd->set == ngx_conf_set_bitmask_slot) {
        set = *(ngx_uint_t *) p != 0;

    } else {
        return NGX_ERROR;
    }

    return set ? NGX_OK : NGX_DECLINED;
}


/* where this location keeps its parameters, or NULL: the fastcgi_param of
   this nginx is not one we know */

static ngx_array_t **
ngx_http_faas_pass_params(ngx_conf_t *cf, ngx_module_t *module)
{
    ngx_command_t        *cmd;
    ngx_http_conf_ctx_t  *ctx;

    cmd = ngx_http_faas_pass_command(module, "fastcgi_param");

    if (cmd == NULL || cmd->set != ngx_http_upstream_param_set_slot) {
        return NULL;
    }

    ctx = cf->ctx;

    return (ngx_array_t **) ((u_char *) ctx->loc_conf[module->ctx_index]
                             + cmd->offset);
}


static ngx_http_upstream_param_t *
ngx_http_faas_pass_find(ngx_array_t *params, const char *name)
{
    size_t                      len;
    ngx_uint_t                  i;
    ngx_http_upstream_param_t  *param;

    if (params == NULL) {
        return NULL;
    }

    len = ngx_strlen(name);
    param = params->elts;

    for (i = 0; i < params->nelts; i++) {
        if (param[i].key.len == len
            && ngx_strncmp(param[i].key.data, name, len) == 0)
        {
            return &param[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_faas_pass_copy(ngx_conf_t *cf, ngx_array_t *params,
    ngx_array_t **copy)
{
    void  *param;

    if (params == NULL) {
        return NGX_OK;
    }

    *copy = ngx_array_create(cf->pool, params->nelts + 1,
                             sizeof(ngx_http_upstream_param_t));
    if (*copy == NULL) {
        return NGX_ERROR;
    }

    param = ngx_array_push_n(*copy, params->nelts);
    if (param == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(param, params->elts, params->nelts * params->size);

    return NGX_OK;
}


/* parses text as if it stood where faas_pass stands */

static char *
ngx_http_faas_pass_parse(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *flcf,
    u_char *text, u_char *last)
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

    file.file.fd = NGX_INVALID_FILE;
    file.buffer = &b;

    save = *cf;

    cf->args = ngx_array_create(cf->temp_pool, 8, sizeof(ngx_str_t));
    if (cf->args == NULL) {
        *cf = save;
        return NGX_CONF_ERROR;
    }

    cf->conf_file = &file;
    cf->module_type = NGX_HTTP_MODULE;
    cf->cmd_type = NGX_HTTP_LOC_CONF;
    cf->handler = NULL;
    cf->handler_conf = NULL;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s\" could not be expanded in %s:%ui",
                      flcf->invoke ? "faas_invoke" : "faas_pass",
                      flcf->place.file, flcf->place.line);
    }

    return rv;
}


ngx_int_t
ngx_http_faas_pass_is_name(ngx_str_t *name)
{
    u_char      ch;
    ngx_uint_t  i;

    if (name->len == 0 || name->len >= FAAS_NAME_SIZE) {
        return NGX_DECLINED;
    }

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')) {
            continue;
        }

        if (i == 0 || (ch != '_' && ch != '-')) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/*
 * $faas_http_host: what a function may believe about Host.  $host, and the
 * port that the client named with it; a Host header that names another host
 * than the one the request was for counts for nothing.
 */

static ngx_int_t
ngx_http_faas_pass_host_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                    *p, *port;
    size_t                     len;
    ngx_str_t                 *host, *server;
    ngx_http_core_srv_conf_t  *cscf;

    server = &r->headers_in.server;

    if (server->len == 0) {
        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
        server = &cscf->server_name;
    }

    port = NULL;
    len = 0;

    if (r->headers_in.host && r->headers_in.server.len) {

        host = &r->headers_in.host->value;

        if (host->len > server->len
            && ngx_strncasecmp(host->data, server->data, server->len) == 0
            && host->data[server->len] == ':')
        {
            port = host->data + server->len;
            len = host->len - server->len;

            if (ngx_atoi(port + 1, len - 1) == NGX_ERROR) {
                len = 0;
            }
        }
    }

    p = ngx_pnalloc(r->pool, server->len + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;

    p = ngx_cpymem(p, server->data, server->len);
    p = ngx_cpymem(p, port, len);

    v->len = p - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
