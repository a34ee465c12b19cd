
/*
 * Directives, configuration structs and hooks of the module.
 *
 * There are two modules in nginx's list.  ngx_http_faas_module stands before
 * mirror, try_files and fastcgi (see config and ngx_http_faas_pass.c);
 * ngx_http_faas_filter_module stands among the header filters, which an
 * early place in the list would hide behind nginx's own.
 */


#include "ngx_http_faas_host.h"

#include <pwd.h>


#define NGX_HTTP_FAAS_STATE        "/var/lib/faas"
#define NGX_HTTP_FAAS_USER         "faas"
#define NGX_HTTP_FAAS_CORE_KEEP    100
#define NGX_HTTP_FAAS_CORE_BODY    (1024 * 1024)
#define NGX_HTTP_FAAS_OTHER_USER   "nobody"


static ngx_int_t ngx_http_faas_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_faas_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_faas_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_faas_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_faas_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_faas_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_faas_functions(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_faas_path(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_faas_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_faas_core(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_faas_ignore_client_abort(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_faas_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_faas_check_busy_status(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_faas_check_state(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_faas_check_user(ngx_conf_t *cf, void *post, void *data);
static ngx_int_t ngx_http_faas_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_faas_init_process(ngx_cycle_t *cycle);
static void ngx_http_faas_exit_process(ngx_cycle_t *cycle);


/* bounds of a size, in bytes, as the error says them */

typedef struct {
    off_t                     least;
    off_t                     most;
    const char               *range;
} ngx_http_faas_size_bounds_t;


static ngx_http_faas_size_bounds_t  ngx_http_faas_scoreboard_bounds = {
    FAAS_SCOREBOARD_SIZE_MIN, FAAS_SCOREBOARD_SIZE_MAX, "1m to 4g"
};

static ngx_http_faas_size_bounds_t  ngx_http_faas_memory_bounds = {
    (off_t) 16 * 1024 * 1024, (off_t) 1 << 50, "16m to 1048576g"
};

static ngx_conf_num_bounds_t  ngx_http_faas_busy_status_bounds = {
    ngx_http_faas_check_busy_status, 400, 599
};

static ngx_conf_post_t  ngx_http_faas_state_post = {
    ngx_http_faas_check_state
};

static ngx_conf_post_t  ngx_http_faas_user_post = {
    ngx_http_faas_check_user
};


/* its address: SQLite may be told its file */
static ngx_flag_t  ngx_http_faas_service_file = 1;


static ngx_command_t  ngx_http_faas_commands[] = {

    { ngx_string("faas_functions"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_faas_functions,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, functions),
      NULL },

    { ngx_string("faas_state"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_faas_path,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, state),
      &ngx_http_faas_state_post },

    { ngx_string("faas_supervisor"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_faas_path,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, supervisor),
      NULL },

    { ngx_string("faas_user"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, user),
      &ngx_http_faas_user_post },

    { ngx_string("faas_deployer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, deployer),
      &ngx_http_faas_user_post },

    { ngx_string("faas_scoreboard"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_faas_size,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, scoreboard),
      &ngx_http_faas_scoreboard_bounds },

    { ngx_string("faas_memory"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_faas_size,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, memory),
      &ngx_http_faas_memory_bounds },

    { ngx_string("faas_core"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_faas_core,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("faas_busy_status"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, busy_status),
      &ngx_http_faas_busy_status_bounds },

    { ngx_string("faas_kv"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_faas_service_engine,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, kv),
      NULL },

    { ngx_string("faas_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_faas_service_engine,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_faas_main_conf_t, queue),
      &ngx_http_faas_service_file },

    { ngx_string("faas_callback"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_faas_service_callback,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("faas_function"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_faas_function_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("faas_internal"),
      NGX_HTTP_SRV_CONF|NGX_CONF_NOARGS,
      ngx_http_faas_internal,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("faas_pass"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_faas_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("faas_invoke"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_faas_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      1,
      NULL },

    { ngx_string("faas_async"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_faas_async,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("faas_ignore_client_abort"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_faas_ignore_client_abort,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_faas_loc_conf_t, ignore_client_abort),
      NULL },

    { ngx_string("faas_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_faas_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_faas_module_ctx = {
    ngx_http_faas_preconfiguration,        /* preconfiguration */
    ngx_http_faas_postconfiguration,       /* postconfiguration */

    ngx_http_faas_create_main_conf,        /* create main configuration */
    ngx_http_faas_init_main_conf,          /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_faas_create_loc_conf,         /* create location configuration */
    ngx_http_faas_merge_loc_conf           /* merge location configuration */
};


ngx_module_t  ngx_http_faas_module = {
    NGX_MODULE_V1,
    &ngx_http_faas_module_ctx,             /* module context */
    ngx_http_faas_commands,                /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_faas_init_module,             /* init module */
    ngx_http_faas_init_process,            /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_faas_exit_process,            /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_module_t  ngx_http_faas_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_faas_filter_init,             /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    ngx_http_faas_pass_merged              /* merge location configuration */
};


ngx_module_t  ngx_http_faas_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_faas_filter_module_ctx,      /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_faas_preconfiguration(ngx_conf_t *cf)
{
    if (ngx_http_faas_pass_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_faas_id_add(cf) != NGX_OK
        || ngx_http_faas_invoke_add(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_faas_variables_add(cf);
}


static ngx_int_t
ngx_http_faas_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;
    ngx_http_faas_main_conf_t  *fmcf;

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_faas_module);

    if (fmcf->functions.len == 0 && fmcf->pass.file) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_pass\" without \"faas_functions\" in the "
                      "\"http\" block in %s:%ui",
                      fmcf->pass.file, fmcf->pass.line);
        return NGX_ERROR;
    }

    if (ngx_http_faas_function_check(cf, fmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_faas_internal_listen(cf, fmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (fmcf->pass.file == NULL) {
        return NGX_OK;
    }

    fmcf->request_id = ngx_http_faas_id_find(cf);

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_faas_handler;

    return NGX_OK;
}


static void *
ngx_http_faas_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_faas_main_conf_t  *fmcf;

    fmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_faas_main_conf_t));
    if (fmcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     fmcf->functions = { 0, NULL };
     *     fmcf->state = { 0, NULL };
     *     fmcf->user = { 0, NULL };
     *     fmcf->deployer = { 0, NULL };
     *     fmcf->supervisor = { 0, NULL };
     *     fmcf->kv = { 0, NULL };
     *     fmcf->queue = { 0, NULL };
     *     fmcf->callbacks = NULL;
     *     fmcf->upstream = NULL;
     *     fmcf->pass = { NULL, 0 };
     *     fmcf->internal = NULL;
     *     fmcf->internal_place = { NULL, 0 };
     *     fmcf->implicit = 0;
     *     fmcf->invoked = 0;
     */

    fmcf->scoreboard = NGX_CONF_UNSET_SIZE;
    fmcf->memory = NGX_CONF_UNSET_SIZE;
    fmcf->core = NGX_CONF_UNSET;
    fmcf->busy_status = NGX_CONF_UNSET_UINT;

    if (ngx_array_init(&fmcf->function_confs, cf->pool, 8,
                       sizeof(ngx_http_faas_function_conf_t))
        != NGX_OK)
    {
        return NULL;
    }

    return fmcf;
}


static char *
ngx_http_faas_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_faas_main_conf_t  *fmcf = conf;

    long  pages, size;

    if (fmcf->state.len == 0) {
        ngx_str_set(&fmcf->state, NGX_HTTP_FAAS_STATE);
    }

    if (fmcf->supervisor.len == 0) {
        ngx_str_set(&fmcf->supervisor, FAAS_SUPERVISOR);
    }

    if (fmcf->user.len == 0) {
        if (getpwnam(NGX_HTTP_FAAS_USER) != NULL) {
            ngx_str_set(&fmcf->user, NGX_HTTP_FAAS_USER);

        } else {
            ngx_str_set(&fmcf->user, NGX_HTTP_FAAS_OTHER_USER);
        }
    }

    ngx_conf_init_size_value(fmcf->scoreboard, FAAS_SCOREBOARD_SIZE_DEFAULT);

    if (fmcf->core == NGX_CONF_UNSET) {
        fmcf->core = 0;
        fmcf->core_keep = NGX_HTTP_FAAS_CORE_KEEP;
        fmcf->core_body = NGX_HTTP_FAAS_CORE_BODY;
    }

    ngx_conf_init_uint_value(fmcf->busy_status,
                             NGX_HTTP_SERVICE_UNAVAILABLE);

    if (fmcf->memory == NGX_CONF_UNSET_SIZE) {
        pages = sysconf(_SC_PHYS_PAGES);
        size = sysconf(_SC_PAGESIZE);

        if (pages < 1 || size < 1) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, ngx_errno,
                          "the size of the machine's memory is unknown, "
                          "set \"faas_memory\"");
            return NGX_CONF_ERROR;
        }

        fmcf->memory = (size_t) pages / 2 * (size_t) size;
    }

    if (fmcf->functions.len == fmcf->state.len
        && ngx_strncmp(fmcf->functions.data, fmcf->state.data,
                       fmcf->state.len)
           == 0)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_functions\" and \"faas_state\" are both \"%V\"",
                      &fmcf->state);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_faas_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_faas_loc_conf_t  *flcf;

    flcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_faas_loc_conf_t));
    if (flcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     flcf->invoke = 0;
     *     flcf->status = 0;
     *     flcf->target = NULL;
     *     flcf->prefix = { 0, NULL };
     *     flcf->prefixed = 0;
     *     flcf->calls = { 0, NULL };
     *     flcf->place = { NULL, 0 };
     *     flcf->async_place = { NULL, 0 };
     *     flcf->upstream = NULL;
     *     flcf->abort_place = { NULL, 0 };
     */

    flcf->pass = NGX_CONF_UNSET;
    flcf->async = NGX_CONF_UNSET_UINT;
    flcf->ignore_client_abort = NGX_CONF_UNSET;

    return flcf;
}


static char *
ngx_http_faas_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_faas_loc_conf_t *prev = parent;
    ngx_http_faas_loc_conf_t *conf = child;

    size_t                     len;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->status && clcf->handler != ngx_http_faas_status_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_status\" cannot be beside another directive "
                      "that answers requests in %s:%ui",
                      conf->place.file, conf->place.line);
        return NGX_CONF_ERROR;
    }

    /* a block without a name is a part of the location around it */

    if (clcf->noname) {
        conf->prefix = prev->prefix;
        conf->prefixed = prev->prefixed;

    } else if (!clcf->named
#if (NGX_PCRE)
               && clcf->regex == NULL
#endif
              )
    {
        len = clcf->name.len;

        if (len && clcf->name.data[len - 1] == '/') {
            len--;
        }

        conf->prefix.len = len;
        conf->prefix.data = clcf->name.data;
        conf->prefixed = !clcf->exact_match;
    }

    if (ngx_http_faas_async_merge(cf, prev, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_faas_pass_merge(cf, prev, conf);
}


/* stands for a faas_internal server too */

static char *
ngx_http_faas_functions(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *rv;

    rv = ngx_http_faas_path(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_faas_implicit_create(cf, conf) == NGX_OK ? NGX_CONF_OK
                                                             : NGX_CONF_ERROR;
}


/* a path, relative to nginx's prefix, without slashes at its end */

static char *
ngx_http_faas_path(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t        *field, *value;
    ngx_conf_post_t  *post;

    field = (ngx_str_t *) (p + cmd->offset);

    if (field->len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "has an empty path";
    }

    *field = value[1];

    if (ngx_conf_full_name(cf->cycle, field, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    while (field->len > 1 && field->data[field->len - 1] == '/') {
        field->data[--field->len] = '\0';
    }

    if (cmd->post) {
        post = cmd->post;
        return post->post_handler(cf, post, field);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_faas_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    off_t                         size;
    size_t                       *field;
    ngx_str_t                    *value;
    ngx_http_faas_size_bounds_t  *bounds = cmd->post;

    field = (size_t *) (p + cmd->offset);

    if (*field != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_offset(&value[1]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" in \"%V\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (size < bounds->least || size > bounds->most
        || (uint64_t) size > NGX_MAX_SIZE_T_VALUE)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V %V\" is out of range, %s",
                           &cmd->name, &value[1], bounds->range);
        return NGX_CONF_ERROR;
    }

    *field = (size_t) size;

    return NGX_CONF_OK;
}


/* on | off [keep=N] [body=SIZE] */

static char *
ngx_http_faas_core(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_faas_main_conf_t *fmcf = conf;

    off_t        size;
    ngx_str_t   *value, part;
    ngx_uint_t   i;

    if (fmcf->core != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        fmcf->core = 1;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        fmcf->core = 0;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\", it must be "
                           "\"on\" or \"off\"", &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    fmcf->core_keep = NGX_HTTP_FAAS_CORE_KEEP;
    fmcf->core_body = NGX_HTTP_FAAS_CORE_BODY;

    for (i = 2; i < cf->args->nelts; i++) {

        part.data = value[i].data + sizeof("keep=") - 1;
        part.len = value[i].len - (sizeof("keep=") - 1);

        if (ngx_strncmp(value[i].data, "keep=", sizeof("keep=") - 1) == 0) {
            fmcf->core_keep = ngx_atoi(part.data, part.len);

            if (fmcf->core_keep >= 1 && fmcf->core_keep <= 10000) {
                continue;
            }

        } else if (ngx_strncmp(value[i].data, "body=", sizeof("body=") - 1)
                   == 0)
        {
            size = ngx_parse_offset(&part);

            if (size >= 1 && size <= (off_t) 1024 * 1024 * 1024) {
                fmcf->core_body = (size_t) size;
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"%V\": keep=N is 1 "
                           "to 10000, body=SIZE 1 to 1g", &value[i],
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_faas_ignore_client_abort(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_faas_loc_conf_t *flcf = conf;

    char  *rv;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_faas_place(cf, &flcf->abort_place) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_faas_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_faas_loc_conf_t *flcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (flcf->status) {
        return "is duplicate";
    }

    if (flcf->pass != NGX_CONF_UNSET) {
        return "cannot be beside \"faas_pass\"";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "cannot be beside another directive that answers requests";
    }

    clcf->handler = ngx_http_faas_status_handler;

    flcf->status = 1;

    return ngx_http_faas_place(cf, &flcf->place) == NGX_OK ? NGX_CONF_OK
                                                           : NGX_CONF_ERROR;
}


ngx_int_t
ngx_http_faas_place(ngx_conf_t *cf, ngx_http_faas_place_t *place)
{
    ngx_str_t  *name;

    name = &cf->conf_file->file.name;

    place->line = cf->conf_file->line;
    place->file = ngx_pnalloc(cf->pool, name->len + 1);

    if (place->file == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(place->file, name->data, name->len + 1);

    return NGX_OK;
}


/* with some codes nginx means something else than to answer with them */

static char *
ngx_http_faas_check_busy_status(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *status = data;

    if (*status == NGX_HTTP_REQUEST_TIME_OUT
        || *status == NGX_HTTP_CLOSE
        || (*status >= NGX_HTTP_NGINX_CODES
            && *status <= NGX_HTTP_CLIENT_CLOSED_REQUEST))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"faas_busy_status %i\" is a code that nginx "
                           "does not answer with (408, 444, 494 to 499)",
                           *status);
        return NGX_CONF_ERROR;
    }

    return ngx_conf_check_num_bounds(cf, post, data);
}


/* sockets are made in faas_state, and a socket's path is short */

static char *
ngx_http_faas_check_state(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t  *state = data;

    if (state->len <= NGX_HTTP_FAAS_STATE_MAX) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"faas_state %V\" is longer than %uz bytes, sockets "
                       "in it would have no valid path",
                       state, (size_t) NGX_HTTP_FAAS_STATE_MAX);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_faas_check_user(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t  *user = data;

    ngx_str_t      *value;
    struct passwd  *pwd;

    value = cf->args->elts;

    pwd = getpwnam((const char *) user->data);

    if (pwd == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no user \"%V\" of \"%V\" on this machine",
                           user, &value[0]);
        return NGX_CONF_ERROR;
    }

    if (pwd->pw_uid == 0 && post == &ngx_http_faas_user_post
        && ngx_strcmp(value[0].data, "faas_user") == 0)
    {
        return "must not be root: functions run as this user";
    }

    return NGX_CONF_OK;
}


/*
 * Runs in the process that nginx was started as, and again in the master at
 * each reload, where an error would end nginx.
 */

static ngx_int_t
ngx_http_faas_init_module(ngx_cycle_t *cycle)
{
    ngx_int_t                   rc;
    ngx_http_faas_main_conf_t  *fmcf;

    if (ngx_test_config || ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    fmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_faas_module);

    if (fmcf == NULL) {
        /* no http block */
        return NGX_OK;
    }

    rc = ngx_http_faas_host_attach(cycle, fmcf);

    if (rc == NGX_OK) {
        ngx_http_faas_internal_permit(cycle, fmcf);

    } else {
        ngx_http_faas_internal_remove(cycle, fmcf);
    }

    return rc;
}


static ngx_int_t
ngx_http_faas_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    if (ngx_http_faas_host.board == NULL) {
        return NGX_OK;
    }

    ngx_http_faas_worker_begin(cycle);

    return NGX_OK;
}


static void
ngx_http_faas_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_faas_worker_exit(cycle);
}
