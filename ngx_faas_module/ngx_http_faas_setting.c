
#include "ngx_http_faas_setting.h"

#include <pwd.h>


#define NGX_HTTP_FAAS_HOUR  ((int64_t) 3600 * 1000)
#define NGX_HTTP_FAAS_DAY   (24 * NGX_HTTP_FAAS_HOUR)


static char *ngx_http_faas_setting_mode(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_number(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_queue(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_msec(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_size(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_flag(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_user(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_routes(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_env(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_later(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
static char *ngx_http_faas_setting_store(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting,
    int64_t n, ngx_str_t *value);
static ngx_uint_t ngx_http_faas_setting_env_is_name(ngx_str_t *name);


#define ngx_http_faas_field(name)                                             \
    offsetof(ngx_http_faas_function_conf_t, name)


ngx_http_faas_setting_t  ngx_http_faas_settings[] = {

    { ngx_string("mode"), ngx_http_faas_setting_mode,
      ngx_http_faas_field(mode), 0, 0, NULL, 1, 0, 0 },

    { ngx_string("min"), ngx_http_faas_setting_number,
      ngx_http_faas_field(min), 0, FAAS_MAX_INSTANCES, "0 to 1024", 1, 0, 1 },

    { ngx_string("max"), ngx_http_faas_setting_number,
      ngx_http_faas_field(max), 1, FAAS_MAX_INSTANCES, "1 to 1024", 1, 0, 1 },

    { ngx_string("spare"), ngx_http_faas_setting_number,
      ngx_http_faas_field(spare), 0, FAAS_MAX_INSTANCES, "0 to 1024", 1, 0, 1 },

    { ngx_string("queue"), ngx_http_faas_setting_queue,
      ngx_http_faas_field(queue), 0, 1000000, "0 to 1000000", 2, 0, 1 },

    { ngx_string("queue_timeout"), NULL,
      ngx_http_faas_field(queue_timeout), 1, 12 * NGX_HTTP_FAAS_HOUR,
      "1ms to 12h", 1, 0, 1 },

    { ngx_string("timeout"), ngx_http_faas_setting_msec,
      ngx_http_faas_field(timeout), 1, 12 * NGX_HTTP_FAAS_HOUR,
      "1ms to 12h", 1, 0, 1 },

    { ngx_string("init_timeout"), ngx_http_faas_setting_msec,
      ngx_http_faas_field(init_timeout), 1, NGX_HTTP_FAAS_HOUR,
      "1ms to 1h", 1, 0, 1 },

    { ngx_string("idle_timeout"), ngx_http_faas_setting_msec,
      ngx_http_faas_field(idle_timeout), 1, 7 * NGX_HTTP_FAAS_DAY,
      "1ms to 7d", 1, 0, 1 },

    { ngx_string("template_timeout"), ngx_http_faas_setting_msec,
      ngx_http_faas_field(template_timeout), 0, 7 * NGX_HTTP_FAAS_DAY,
      "0 to 7d", 1, 0, 1 },

    { ngx_string("max_requests"), ngx_http_faas_setting_number,
      ngx_http_faas_field(max_requests), 0, 1000000000,
      "0 to 1000000000", 1, 1, 1 },

    { ngx_string("memory"), ngx_http_faas_setting_size,
      ngx_http_faas_field(memory), 1024 * 1024, (int64_t) 1 << 50,
      "1m to 1048576g", 1, 0, 1 },

    { ngx_string("accel"), ngx_http_faas_setting_flag,
      ngx_http_faas_field(accel), 0, 0, NULL, 1, 0, 0 },

    { ngx_string("user"), ngx_http_faas_setting_user,
      ngx_http_faas_field(user), 0, 0, NULL, 1, 0, 0 },

    { ngx_string("routes"), ngx_http_faas_setting_routes,
      ngx_http_faas_field(routes), 0, 0, NULL, 1, 0, 0 },

    { ngx_string("env"), ngx_http_faas_setting_env,
      ngx_http_faas_field(env), 0, 0, NULL, 1, 0, 0 },

    { ngx_string("consume"), ngx_http_faas_setting_consume,
      ngx_http_faas_field(consume), 0, 0, NULL, 16, 0, 0 },

    { ngx_string("schedule"), ngx_http_faas_setting_schedule,
      ngx_http_faas_field(schedule), 0, 0, NULL, 16, 0, 0 },

    { ngx_string("async"), ngx_http_faas_setting_async,
      ngx_http_faas_field(async), 0, 0, NULL, 16, 0, 0 },

    { ngx_string("share"), ngx_http_faas_setting_share,
      ngx_http_faas_field(share), 0, 0, NULL, 2, 0, 0 },

    { ngx_string("exactly_once"), ngx_http_faas_setting_flag,
      ngx_http_faas_field(exactly_once), 0, 0, NULL, 1, 0, 0 },

    { ngx_string("durability"), ngx_http_faas_setting_durability,
      ngx_http_faas_field(durability), 0, 0, NULL, 1, 0, 0 },

    { ngx_string("cpu"), ngx_http_faas_setting_later,
      0, 0, 0, NULL, 1, 0, 1 },

    { ngx_string("network"), ngx_http_faas_setting_later,
      0, 0, 0, NULL, 1, 0, 1 },

    { ngx_null_string, NULL, 0, 0, 0, NULL, 0, 0, 0 }
};


_Static_assert(sizeof(ngx_int_t) == sizeof(ngx_msec_t)
               && sizeof(ngx_int_t) == sizeof(size_t)
               && sizeof(ngx_int_t) == sizeof(ngx_flag_t),
               "the fields of settings are as wide as a word");



static char *
ngx_http_faas_setting_mode(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
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
ngx_http_faas_setting_number(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_faas_setting_store(cf, fn, setting,
                                        ngx_atoi(value[1].data, value[1].len),
                                        &value[1]);
}


/* queue N [timeout=TIME]; */

static char *
ngx_http_faas_setting_queue(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    char       *rv;
    ngx_str_t  *value, s;

    rv = ngx_http_faas_setting_number(cf, fn, setting);

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

    return ngx_http_faas_setting_store(cf, fn,
                                   ngx_http_faas_setting_find("queue_timeout"),
                                   ngx_parse_time(&s, 0), &value[2]);
}


static char *
ngx_http_faas_setting_msec(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_faas_setting_store(cf, fn, setting,
                                        ngx_parse_time(&value[1], 0),
                                        &value[1]);
}


static char *
ngx_http_faas_setting_size(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_faas_setting_store(cf, fn, setting,
                                        ngx_parse_offset(&value[1]),
                                        &value[1]);
}


static char *
ngx_http_faas_setting_flag(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
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
ngx_http_faas_setting_user(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
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
ngx_http_faas_setting_routes(ngx_conf_t *cf,
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


/* env NAME=VALUE; may be repeated.  Values may be secrets: no error tells
   them */

static char *
ngx_http_faas_setting_env(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    u_char      *p;
    ngx_str_t   *value, *env, name;
    ngx_uint_t   i;

    value = cf->args->elts;

    name.data = value[1].data;
    p = ngx_strlchr(value[1].data, value[1].data + value[1].len, '=');
    name.len = p ? (size_t) (p - value[1].data) : 0;

    if (!ngx_http_faas_setting_env_is_name(&name)) {
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
                               "duplicate \"env %V\" in "
                               "\"faas_function %V\"", &name, &fn->name);
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
ngx_http_faas_setting_env_is_name(ngx_str_t *name)
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
ngx_http_faas_setting_later(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    return "is not supported by release " FAAS_RELEASE ": functions share "
           "the machine's processors and network";
}


/* n is negative when value could not be parsed */

static char *
ngx_http_faas_setting_store(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
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


ngx_http_faas_setting_t *
ngx_http_faas_setting_find(const char *name)
{
    ngx_http_faas_setting_t  *setting;

    for (setting = ngx_http_faas_settings; setting->name.len; setting++) {
        if (ngx_strcmp(setting->name.data, name) == 0) {
            return setting;
        }
    }

    return NULL;
}


int64_t
ngx_http_faas_setting_value(ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    return *(ngx_int_t *) ((u_char *) fn + setting->offset);
}


u_char *
ngx_http_faas_setting_print(u_char *buf, u_char *last,
    ngx_http_faas_setting_t *setting, int64_t n)
{
    const char  *unit;

    /* queue_timeout is set by "queue" */

    unit = setting->set == ngx_http_faas_setting_msec
           || setting->set == NULL ? "ms" : "";

    return ngx_slprintf(buf, last, "%V %L%s", &setting->name, n, unit);
}
