
/*
 * faas_function NAME { ... }: what an operator says of one function, or, with
 * "*" for a name, of all: ceilings.  What was not given stays unset and is
 * not told to the supervisor, which applies the defaults and the functions'
 * own descriptors.
 */


#include "ngx_http_faas_setting.h"


static char *ngx_http_faas_function_setting(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static ngx_int_t ngx_http_faas_function_order(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *small,
    ngx_http_faas_setting_t *large);
static ngx_int_t ngx_http_faas_function_below(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_function_conf_t *all,
    ngx_http_faas_setting_t *small, ngx_http_faas_setting_t *large);
static ngx_int_t ngx_http_faas_function_ceilings(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_function_conf_t *all);
static ngx_int_t ngx_http_faas_function_count(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf, ngx_uint_t n);
static u_char *ngx_http_faas_function_lines(u_char *p, const char *name,
    ngx_array_t *lines);
static size_t ngx_http_faas_function_lines_size(ngx_array_t *lines);


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
    fn->exactly_once = NGX_CONF_UNSET;

    if (ngx_http_faas_place(cf, &fn->place) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

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

    setting = ngx_http_faas_setting_find((char *) value[0].data);

    if (setting == NULL || setting->set == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown setting \"%V\" in \"faas_function %V\"",
                           &value[0], &fn->name);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts < 2 || cf->args->nelts > setting->args + 1) {
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
                                         ngx_http_faas_setting_find("min"),
                                         ngx_http_faas_setting_find("max"))
            != NGX_OK
            || ngx_http_faas_function_order(cf, &fn[i],
                                         ngx_http_faas_setting_find("spare"),
                                         ngx_http_faas_setting_find("max"))
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

        if (ngx_http_faas_setting_check_events(cf, &fn[i], all) != NGX_OK) {
            return NGX_ERROR;
        }

        if (all && &fn[i] != all
            && (ngx_http_faas_function_ceilings(cf, &fn[i], all) != NGX_OK
                || ngx_http_faas_function_below(cf, &fn[i], all,
                                         ngx_http_faas_setting_find("min"),
                                         ngx_http_faas_setting_find("max"))
                   != NGX_OK
                || ngx_http_faas_function_below(cf, &fn[i], all,
                                         ngx_http_faas_setting_find("spare"),
                                         ngx_http_faas_setting_find("max"))
                   != NGX_OK))
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_faas_function_count(cf, fmcf,
                                        fmcf->function_confs.nelts
                                        - (all != NULL));
}


/* a board that is too small would be found out at the last deploy */

static ngx_int_t
ngx_http_faas_function_count(ngx_conf_t *cf, ngx_http_faas_main_conf_t *fmcf,
    ngx_uint_t n)
{
    uint32_t                        most;
    ngx_http_faas_function_conf_t  *fn;

    most = faas_scoreboard_capacity(fmcf->scoreboard);

    if (n <= most) {
        return NGX_OK;
    }

    fn = fmcf->function_confs.elts;
    fn += fmcf->function_confs.nelts - 1;

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "%ui \"faas_function\" blocks are more than the %uD "
                  "functions that \"faas_scoreboard %uz\" has room for in "
                  "%s:%ui",
                  n, most, fmcf->scoreboard, fn->place.file, fn->place.line);

    return NGX_ERROR;
}


/* what of the block contradicts another setting's ceiling */

static ngx_int_t
ngx_http_faas_function_below(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_function_conf_t *all,
    ngx_http_faas_setting_t *small, ngx_http_faas_setting_t *large)
{
    int64_t  a, b;

    a = ngx_http_faas_setting_value(fn, small);
    b = ngx_http_faas_setting_value(all, large);

    if (a == -1 || b == -1 || a <= b) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"%V %L\" in \"faas_function %V\" is more than "
                  "\"%V %L\" in \"faas_function *\" (%s:%ui) in %s:%ui",
                  &small->name, a, &fn->name, &large->name, b,
                  all->place.file, all->place.line,
                  fn->place.file, fn->place.line);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_faas_function_order(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *small, ngx_http_faas_setting_t *large)
{
    int64_t  a, b;

    a = ngx_http_faas_setting_value(fn, small);
    b = ngx_http_faas_setting_value(fn, large);

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

        n = ngx_http_faas_setting_value(fn, setting);
        most = ngx_http_faas_setting_value(all, setting);

        if (n == -1 || most == -1) {
            continue;
        }

        if (n <= most && (n || !setting->zero_is_any)) {
            continue;
        }

        if (most == 0 && setting->zero_is_any) {
            continue;
        }

        p = ngx_http_faas_setting_print(value, value + sizeof(value),
                                         setting, n);
        q = ngx_http_faas_setting_print(bound, bound + sizeof(bound),
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


/* -- text for the supervisor ----------------------------------------------- */

u_char *
ngx_http_faas_function_encode(u_char *p, ngx_http_faas_function_conf_t *fn)
{
    int64_t                   n;
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

        n = ngx_http_faas_setting_value(fn, setting);

        if (n != -1) {
            p = ngx_sprintf(p, " %V %L\n", &setting->name, n);
        }
    }

    if (fn->accel != NGX_CONF_UNSET) {
        p = ngx_sprintf(p, " accel %i\n", (ngx_int_t) fn->accel);
    }

    if (fn->exactly_once != NGX_CONF_UNSET) {
        p = ngx_sprintf(p, " exactly_once %i\n",
                        (ngx_int_t) fn->exactly_once);
    }

    p = ngx_http_faas_config_text(p, " user", &fn->user);
    p = ngx_http_faas_config_text(p, " routes", &fn->routes);
    p = ngx_http_faas_config_text(p, " async", &fn->async);
    p = ngx_http_faas_config_text(p, " durability", &fn->durability);
    p = ngx_http_faas_function_lines(p, " env", fn->env);
    p = ngx_http_faas_function_lines(p, " consume", fn->consume);
    p = ngx_http_faas_function_lines(p, " schedule", fn->schedule);
    p = ngx_http_faas_function_lines(p, " share", fn->share);

    return p;
}


static u_char *
ngx_http_faas_function_lines(u_char *p, const char *name, ngx_array_t *lines)
{
    ngx_str_t   *line;
    ngx_uint_t   i;

    if (lines == NULL) {
        return p;
    }

    line = lines->elts;

    for (i = 0; i < lines->nelts; i++) {
        p = ngx_http_faas_config_text(p, name, &line[i]);
    }

    return p;
}


/* numbers take less than this table of them, strings three bytes for one */

size_t
ngx_http_faas_function_encoded_size(ngx_http_faas_function_conf_t *fn)
{
    return 1024
           + 3 * (fn->name.len + fn->user.len + fn->routes.len
                  + fn->async.len + fn->durability.len)
           + ngx_http_faas_function_lines_size(fn->env)
           + ngx_http_faas_function_lines_size(fn->consume)
           + ngx_http_faas_function_lines_size(fn->schedule)
           + ngx_http_faas_function_lines_size(fn->share);
}


static size_t
ngx_http_faas_function_lines_size(ngx_array_t *lines)
{
    size_t       size;
    ngx_str_t   *line;
    ngx_uint_t   i;

    if (lines == NULL) {
        return 0;
    }

    size = 0;
    line = lines->elts;

    for (i = 0; i < lines->nelts; i++) {
        size += sizeof(" schedule \n") + 3 * line[i].len;
    }

    return size;
}
