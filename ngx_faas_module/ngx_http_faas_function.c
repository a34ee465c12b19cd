
/*
 * faas_function NAME { ... }: what an operator says of one function, or, with
 * "*" for a name, of all: ceilings.  A table lists the settings; what was not
 * given stays unset and is not told to the supervisor, which applies the
 * defaults and the functions' own descriptors.
 */


#include "ngx_http_faas_module.h"

#include <pwd.h>


#define NGX_HTTP_FAAS_HOUR  ((int64_t) 3600 * 1000)
#define NGX_HTTP_FAAS_DAY   (24 * NGX_HTTP_FAAS_HOUR)


typedef struct ngx_http_faas_setting_s  ngx_http_faas_setting_t;

typedef char *(*ngx_http_faas_setting_pt)(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);

/*
 * One setting of the block.  Those with a range are numbers: their fields are
 * as wide as a word, and all bits set means "not given".
 */

struct ngx_http_faas_setting_s {
    ngx_str_t                  name;
    ngx_http_faas_setting_pt   set;
    size_t                     offset;       /* in *_function_conf_t */
    int64_t                    least;        /* as is, milliseconds, bytes */
    int64_t                    most;
    const char                *range;        /* as the user writes it; NULL:
                                                not a number */
    ngx_uint_t                 ceiling;      /* 1: may stand in "*" */
};


static char *ngx_http_faas_function_setting(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_http_faas_function_mode(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_number(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_queue(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_msec(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_size(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_flag(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_user(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_routes(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_env(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_later(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_function_store(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting,
    int64_t n, ngx_str_t *value);
static ngx_uint_t ngx_http_faas_function_env_is_name(ngx_str_t *name);

static ngx_int_t ngx_http_faas_function_order(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *small,
    ngx_http_faas_setting_t *large);
static ngx_int_t ngx_http_faas_function_ceilings(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_function_conf_t *all);
static ngx_http_faas_setting_t *ngx_http_faas_function_find(const char *name);
static int64_t ngx_http_faas_function_value(ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting);
static u_char *ngx_http_faas_function_print(u_char *buf, u_char *last,
    ngx_http_faas_setting_t *setting, int64_t n);


#define ngx_http_faas_field(name)                                             \
    offsetof(ngx_http_faas_function_conf_t, name)


static ngx_http_faas_setting_t  ngx_http_faas_settings[] = {

    { ngx_string("mode"), ngx_http_faas_function_mode,
      ngx_http_faas_field(mode), 0, 0, NULL, 0 },

    { ngx_string("min"), ngx_http_faas_function_number,
      ngx_http_faas_field(min), 0, FAAS_MAX_INSTANCES, "0 to 1024", 1 },

    { ngx_string("max"), ngx_http_faas_function_number,
      ngx_http_faas_field(max), 1, FAAS_MAX_INSTANCES, "1 to 1024", 1 },

    { ngx_string("spare"), ngx_http_faas_function_number,
      ngx_http_faas_field(spare), 0, FAAS_MAX_INSTANCES, "0 to 1024", 1 },

    { ngx_string("queue"), ngx_http_faas_function_queue,
      ngx_http_faas_field(queue), 0, 1000000, "0 to 1000000", 1 },

    { ngx_string("queue_timeout"), NULL,
      ngx_http_faas_field(queue_timeout), 1, 12 * NGX_HTTP_FAAS_HOUR,
      "1ms to 12h", 1 },

    { ngx_string("timeout"), ngx_http_faas_function_msec,
      ngx_http_faas_field(timeout), 1, 12 * NGX_HTTP_FAAS_HOUR,
      "1ms to 12h", 1 },

    { ngx_string("init_timeout"), ngx_http_faas_function_msec,
      ngx_http_faas_field(init_timeout), 1, NGX_HTTP_FAAS_HOUR,
      "1ms to 1h", 1 },

    { ngx_string("idle_timeout"), ngx_http_faas_function_msec,
      ngx_http_faas_field(idle_timeout), 1, 7 * NGX_HTTP_FAAS_DAY,
      "1ms to 7d", 1 },

    { ngx_string("template_timeout"), ngx_http_faas_function_msec,
      ngx_http_faas_field(template_timeout), 0, 7 * NGX_HTTP_FAAS_DAY,
      "0 to 7d", 1 },

    { ngx_string("max_requests"), ngx_http_faas_function_number,
      ngx_http_faas_field(max_requests), 0, 1000000000,
      "0 to 1000000000", 1 },

    { ngx_string("memory"), ngx_http_faas_function_size,
      ngx_http_faas_field(memory), 1024 * 1024, (int64_t) 1 << 50,
      "1m to 1048576g", 1 },

    { ngx_string("accel"), ngx_http_faas_function_flag,
      ngx_http_faas_field(accel), 0, 0, NULL, 0 },

    { ngx_string("user"), ngx_http_faas_function_user,
      ngx_http_faas_field(user), 0, 0, NULL, 0 },

    { ngx_string("routes"), ngx_http_faas_function_routes,
      ngx_http_faas_field(routes), 0, 0, NULL, 0 },

    { ngx_string("env"), ngx_http_faas_function_env,
      ngx_http_faas_field(env), 0, 0, NULL, 0 },

    { ngx_string("cpu"), ngx_http_faas_function_later, 0, 0, 0, NULL, 1 },

    { ngx_string("network"), ngx_http_faas_function_later, 0, 0, 0, NULL, 1 },

    { ngx_null_string, NULL, 0, 0, 0, NULL, 0 }
};


_Static_assert(sizeof(ngx_int_t) == sizeof(ngx_msec_t)
               && sizeof(ngx_int_t) == sizeof(size_t)
               && sizeof(ngx_int_t) == sizeof(ngx_flag_t),
               "the fields of settings are as wide as a word");


char *
ngx_http_faas_function_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_faas_main_conf_t *fmcf = conf;

    char                           *rv;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_conf_t                      save;
    ngx_http_faas_function_conf_t  *fn;

    value = cf->args->elts;

    if (ngx_http_faas_pass_is_name(&value[1]) != NGX_OK
        && ngx_strcmp(value[1].data, "*") != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid function name \"%V\" in "
                           "\"faas_function\", it must be \"*\" or "
                           "[a-z0-9][a-z0-9_-]* of at most 63 characters",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    fn = fmcf->function_confs.elts;

    for (i = 0; i < fmcf->function_confs.nelts; i++) {
        if (fn[i].name.len == value[1].len
            && ngx_strncmp(fn[i].name.data, value[1].data, value[1].len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"faas_function %V\", the first "
                               "is in %s:%ui, this one",
                               &value[1], fn[i].place.file, fn[i].place.line);
            return NGX_CONF_ERROR;
        }
    }

    fn = ngx_array_push(&fmcf->function_confs);
    if (fn == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(fn, sizeof(ngx_http_faas_function_conf_t));

    fn->name = value[1];
    fn->mode = NGX_CONF_UNSET_UINT;
    fn->min = NGX_CONF_UNSET;
    fn->max = NGX_CONF_UNSET;
    fn->spare = NGX_CONF_UNSET;
    fn->queue = NGX_CONF_UNSET;
    fn->queue_timeout = NGX_CONF_UNSET_MSEC;
    fn->timeout = NGX_CONF_UNSET_MSEC;
    fn->init_timeout = NGX_CONF_UNSET_MSEC;
    fn->idle_timeout = NGX_CONF_UNSET_MSEC;
    fn->template_timeout = NGX_CONF_UNSET_MSEC;
    fn->max_requests = NGX_CONF_UNSET;
    fn->memory = NGX_CONF_UNSET_SIZE;
    fn->accel = NGX_CONF_UNSET;

    fn->place.line = cf->conf_file->line;
    fn->place.file = ngx_pnalloc(cf->pool, cf->conf_file->file.name.len + 1);
    if (fn->place.file == NULL) {
        return NGX_CONF_ERROR;
    }

    (void) ngx_cpystrn(fn->place.file, cf->conf_file->file.name.data,
                       cf->conf_file->file.name.len + 1);

    save = *cf;

    cf->handler = ngx_http_faas_function_setting;
    cf->handler_conf = (void *) fn;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


/* one setting: NAME VALUE...; the custom handler of the block */

static char *
ngx_http_faas_function_setting(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_faas_function_conf_t *fn = conf;

    char                     *rv;
    ngx_str_t                *value;
    ngx_http_faas_setting_t  *setting;

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "include") == 0) {

        if (cf->args->nelts != 2) {
            return "invalid number of arguments in \"include\" directive";
        }

        return ngx_conf_include(cf, dummy, conf);
    }

    setting = ngx_http_faas_function_find((char *) value[0].data);

    if (setting == NULL || setting->set == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown setting \"%V\" in \"faas_function %V\"",
                           &value[0], &fn->name);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts != 2
        && (cf->args->nelts != 3
            || setting->set != ngx_http_faas_function_queue))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments of \"%V\" in "
                           "\"faas_function %V\"",
                           &value[0], &fn->name);
        return NGX_CONF_ERROR;
    }

    if (!setting->ceiling && fn->name.data[0] == '*') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no ceiling, it cannot be in "
                           "\"faas_function *\"",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    rv = setting->set(cf, fn, setting);

    if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
        return rv;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" in \"faas_function %V\" %s",
                       &value[0], &fn->name, rv);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_faas_function_mode(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (fn->mode != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "resident") == 0) {
        fn->mode = FAAS_MODE_RESIDENT;

    } else if (ngx_strcmp(value[1].data, "oneshot") == 0) {
        fn->mode = FAAS_MODE_ONESHOT;

    } else {
        return "must be \"resident\" or \"oneshot\"";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_faas_function_number(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_faas_function_store(cf, fn, setting,
                                        ngx_atoi(value[1].data, value[1].len),
                                        &value[1]);
}


/* queue N [timeout=TIME]; */

static char *
ngx_http_faas_function_queue(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    char       *rv;
    ngx_str_t  *value, s;

    rv = ngx_http_faas_function_number(cf, fn, setting);

    if (rv != NGX_CONF_OK || cf->args->nelts == 2) {
        return rv;
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[2].data, "timeout=", 8) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"queue\" in "
                           "\"faas_function %V\"",
                           &value[2], &fn->name);
        return NGX_CONF_ERROR;
    }

    s.data = value[2].data + 8;
    s.len = value[2].len - 8;

    return ngx_http_faas_function_store(cf, fn,
                                   ngx_http_faas_function_find("queue_timeout"),
                                   ngx_parse_time(&s, 0), &value[2]);
}


static char *
ngx_http_faas_function_msec(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_faas_function_store(cf, fn, setting,
                                        ngx_parse_time(&value[1], 0),
                                        &value[1]);
}


static char *
ngx_http_faas_function_size(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_faas_function_store(cf, fn, setting,
                                        ngx_parse_offset(&value[1]),
                                        &value[1]);
}


static char *
ngx_http_faas_function_flag(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    ngx_str_t   *value;
    ngx_flag_t  *field;

    value = cf->args->elts;
    field = (ngx_flag_t *) ((u_char *) fn + setting->offset);

    if (*field != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    if (ngx_strcasecmp(value[1].data, (u_char *) "on") == 0) {
        *field = 1;

    } else if (ngx_strcasecmp(value[1].data, (u_char *) "off") == 0) {
        *field = 0;

    } else {
        return "must be \"on\" or \"off\"";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_faas_function_user(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    ngx_str_t      *value;
    struct passwd  *pwd;

    value = cf->args->elts;

    if (fn->user.len) {
        return "is duplicate";
    }

    pwd = getpwnam((const char *) value[1].data);

    if (pwd == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no user \"%V\" of \"faas_function %V\" on this "
                           "machine",
                           &value[1], &fn->name);
        return NGX_CONF_ERROR;
    }

    if (pwd->pw_uid == 0) {
        return "must not be root";
    }

    fn->user = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_faas_function_routes(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (fn->routes.len) {
        return "is duplicate";
    }

    if (value[1].len == 0 || value[1].data[0] != '/') {
        return "must begin with \"/\"";
    }

    fn->routes = value[1];

    return NGX_CONF_OK;
}


/* env NAME=VALUE; may be repeated */

static char *
ngx_http_faas_function_env(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    u_char      *p;
    ngx_str_t   *value, *env, name;
    ngx_uint_t   i;

    value = cf->args->elts;

    name.data = value[1].data;
    p = ngx_strlchr(value[1].data, value[1].data + value[1].len, '=');
    name.len = p ? (size_t) (p - value[1].data) : 0;

    if (!ngx_http_faas_function_env_is_name(&name)) {
        return "must be NAME=VALUE";
    }

    if (ngx_strlen(value[1].data) != value[1].len) {
        return "has a zero byte in its value";
    }

    if (name.len > 5 && ngx_strncmp(name.data, "FAAS_", 5) == 0) {
        return "must not begin with \"FAAS_\", these names are the platform's";
    }

    if (fn->env == NULL) {
        fn->env = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (fn->env == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    env = fn->env->elts;

    for (i = 0; i < fn->env->nelts; i++) {
        if (env[i].len > name.len && env[i].data[name.len] == '='
            && ngx_strncmp(env[i].data, name.data, name.len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"env %V\" in \"faas_function "
                               "%V\", it was \"%V\" and is \"%V\"",
                               &name, &fn->name, &env[i], &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    env = ngx_array_push(fn->env);
    if (env == NULL) {
        return NGX_CONF_ERROR;
    }

    *env = value[1];

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_faas_function_env_is_name(ngx_str_t *name)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (ch == '_' || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (i && ch >= '0' && ch <= '9'))
        {
            continue;
        }

        return 0;
    }

    return name->len != 0;
}


static char *
ngx_http_faas_function_later(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    return "is not supported by release " FAAS_RELEASE ": functions share "
           "the machine's processors and network";
}


/* n is negative when value could not be parsed */

static char *
ngx_http_faas_function_store(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting, int64_t n, ngx_str_t *value)
{
    ngx_int_t  *field;

    field = (ngx_int_t *) ((u_char *) fn + setting->offset);

    if (*field != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    if (n < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"%V\" in "
                           "\"faas_function %V\"",
                           value, &setting->name, &fn->name);
        return NGX_CONF_ERROR;
    }

    if (n < setting->least || n > setting->most || n > NGX_MAX_INT_T_VALUE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%V\" in \"faas_function %V\" is out "
                           "of range, %s",
                           value, &setting->name, &fn->name, setting->range);
        return NGX_CONF_ERROR;
    }

    *field = (ngx_int_t) n;

    return NGX_CONF_OK;
}


static ngx_http_faas_setting_t *
ngx_http_faas_function_find(const char *name)
{
    ngx_http_faas_setting_t  *setting;

    for (setting = ngx_http_faas_settings; setting->name.len; setting++) {
        if (ngx_strcmp(setting->name.data, name) == 0) {
            return setting;
        }
    }

    return NULL;
}


/* -- contradictions -------------------------------------------------------- */

ngx_int_t
ngx_http_faas_function_check(ngx_conf_t *cf, ngx_http_faas_main_conf_t *fmcf)
{
    ngx_uint_t                      i;
    ngx_http_faas_function_conf_t  *fn, *all;

    all = NULL;
    fn = fmcf->function_confs.elts;

    for (i = 0; i < fmcf->function_confs.nelts; i++) {
        if (fn[i].name.data[0] == '*') {
            all = &fn[i];
        }
    }

    for (i = 0; i < fmcf->function_confs.nelts; i++) {

        if (ngx_http_faas_function_order(cf, &fn[i],
                                         ngx_http_faas_function_find("min"),
                                         ngx_http_faas_function_find("max"))
            != NGX_OK
            || ngx_http_faas_function_order(cf, &fn[i],
                                         ngx_http_faas_function_find("spare"),
                                         ngx_http_faas_function_find("max"))
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (fn[i].mode == FAAS_MODE_ONESHOT && fn[i].max_requests > 1) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"mode oneshot\" contradicts \"max_requests %i\" "
                          "in \"faas_function %V\" in %s:%ui",
                          fn[i].max_requests, &fn[i].name,
                          fn[i].place.file, fn[i].place.line);
            return NGX_ERROR;
        }

        if (fn[i].memory != NGX_CONF_UNSET_SIZE
            && fn[i].memory > fmcf->memory)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"memory %uz\" of one instance is more than "
                          "\"faas_memory %uz\" of all in "
                          "\"faas_function %V\" in %s:%ui",
                          fn[i].memory, fmcf->memory, &fn[i].name,
                          fn[i].place.file, fn[i].place.line);
            return NGX_ERROR;
        }

        if (all && &fn[i] != all
            && ngx_http_faas_function_ceilings(cf, &fn[i], all) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_function_order(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *small, ngx_http_faas_setting_t *large)
{
    int64_t  a, b;

    a = ngx_http_faas_function_value(fn, small);
    b = ngx_http_faas_function_value(fn, large);

    if (a == -1 || b == -1 || a <= b) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"%V %L\" is more than \"%V %L\" in "
                  "\"faas_function %V\" in %s:%ui",
                  &small->name, a, &large->name, b, &fn->name,
                  fn->place.file, fn->place.line);

    return NGX_ERROR;
}


/* an operator who says more than his own ceiling has made a mistake in one of
   the two; only a descriptor's wish is clamped */

static ngx_int_t
ngx_http_faas_function_ceilings(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_function_conf_t *all)
{
    u_char                   *p, *q, value[64], bound[64];
    int64_t                   n, most;
    ngx_http_faas_setting_t  *setting;

    for (setting = ngx_http_faas_settings; setting->name.len; setting++) {

        if (setting->range == NULL) {
            continue;
        }

        n = ngx_http_faas_function_value(fn, setting);
        most = ngx_http_faas_function_value(all, setting);

        if (n == -1 || most == -1) {
            continue;
        }

        if (setting->offset == ngx_http_faas_field(max_requests)
            ? most == 0 || (n && n <= most)
            : n <= most)
        {
            continue;
        }

        p = ngx_http_faas_function_print(value, value + sizeof(value),
                                         setting, n);
        q = ngx_http_faas_function_print(bound, bound + sizeof(bound),
                                         setting, most);

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%*s\" in \"faas_function %V\" is more than "
                      "\"%*s\" in \"faas_function *\" (%s:%ui) in %s:%ui",
                      p - value, value, &fn->name, q - bound, bound,
                      all->place.file, all->place.line,
                      fn->place.file, fn->place.line);

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* -1: not given */

static int64_t
ngx_http_faas_function_value(ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    return *(ngx_int_t *) ((u_char *) fn + setting->offset);
}


static u_char *
ngx_http_faas_function_print(u_char *buf, u_char *last,
    ngx_http_faas_setting_t *setting, int64_t n)
{
    const char  *unit;

    unit = setting->set == ngx_http_faas_function_msec
           || setting->set == NULL ? "ms" : "";

    return ngx_slprintf(buf, last, "%V %L%s", &setting->name, n, unit);
}


/* -- text for the supervisor ----------------------------------------------- */

u_char *
ngx_http_faas_function_encode(u_char *p, ngx_http_faas_function_conf_t *fn)
{
    int64_t                   n;
    ngx_str_t                *env;
    ngx_uint_t                i;
    ngx_http_faas_setting_t  *setting;

    p = ngx_http_faas_config_text(p, "function", &fn->name);

    if (fn->mode != NGX_CONF_UNSET_UINT) {
        p = ngx_sprintf(p, " mode %s\n", fn->mode == FAAS_MODE_ONESHOT
                                         ? "oneshot" : "resident");
    }

    for (setting = ngx_http_faas_settings; setting->name.len; setting++) {

        if (setting->range == NULL) {
            continue;
        }

        n = ngx_http_faas_function_value(fn, setting);

        if (n != -1) {
            p = ngx_sprintf(p, " %V %L\n", &setting->name, n);
        }
    }

    if (fn->accel != NGX_CONF_UNSET) {
        p = ngx_sprintf(p, " accel %i\n", (ngx_int_t) fn->accel);
    }

    p = ngx_http_faas_config_text(p, " user", &fn->user);
    p = ngx_http_faas_config_text(p, " routes", &fn->routes);

    if (fn->env == NULL) {
        return p;
    }

    env = fn->env->elts;

    for (i = 0; i < fn->env->nelts; i++) {
        p = ngx_http_faas_config_text(p, " env", &env[i]);
    }

    return p;
}


/* numbers take less than this table of them, strings three bytes for one */

size_t
ngx_http_faas_function_encoded_size(ngx_http_faas_function_conf_t *fn)
{
    size_t       size;
    ngx_str_t   *env;
    ngx_uint_t   i;

    size = 1024 + 3 * (fn->name.len + fn->user.len + fn->routes.len);

    if (fn->env == NULL) {
        return size;
    }

    env = fn->env->elts;

    for (i = 0; i < fn->env->nelts; i++) {
        size += sizeof(" env \n") + 3 * env[i].len;
    }

    return size;
}
