
/*
 * Settings of a faas_function block that say what calls it besides clients,
 * and what of the backend services it may use: consume, schedule, async,
 * share, durability; and what of them contradicts.  The lines are parsed by
 * faas_event.c, as the supervisor parses those of descriptors, and handed on
 * as they are.
 */


#include "ngx_http_faas_setting.h"

#include "faas_event.h"


static char *ngx_http_faas_setting_line(ngx_conf_t *cf, ngx_str_t *line);
static char *ngx_http_faas_setting_why(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting,
    const char *why);
static char *ngx_http_faas_setting_push(ngx_conf_t *cf, ngx_array_t **lines,
    ngx_str_t *line);


/* consume QUEUE [batch=] [wait=] [attempts=] [retry=] [parallel=] [lease=] */

char *
ngx_http_faas_setting_consume(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting)
{
    char             *rv, why[FAAS_EVENT_WHY_SIZE];
    ngx_str_t         line, *other;
    ngx_uint_t        i;
    faas_consume_t    c, o;

    rv = ngx_http_faas_setting_line(cf, &line);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (faas_consume_parse((char *) line.data, line.len, &c, why) != 0) {
        return ngx_http_faas_setting_why(cf, fn, setting, why);
    }

    other = fn->consume ? fn->consume->elts : NULL;

    for (i = 0; other && i < fn->consume->nelts; i++) {

        if (faas_consume_parse((char *) other[i].data, other[i].len, &o, why)
            == 0
            && ngx_strcmp(o.queue, c.queue) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"consume %s\" in "
                               "\"faas_function %V\"", c.queue, &fn->name);
            return NGX_CONF_ERROR;
        }
    }

    return ngx_http_faas_setting_push(cf, &fn->consume, &line);
}


/* schedule "CRON" [tz=] [overlap=] [catchup=] [name=] [attempts=] */

char *
ngx_http_faas_setting_schedule(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting)
{
    char             *rv, why[FAAS_EVENT_WHY_SIZE];
    ngx_str_t         line, *other;
    ngx_uint_t        i;
    faas_schedule_t   s, o;

    rv = ngx_http_faas_setting_line(cf, &line);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (faas_schedule_parse((char *) line.data, line.len, &s, why) != 0) {
        return ngx_http_faas_setting_why(cf, fn, setting, why);
    }

    /* a due time without a name has one made of it, so that two that are
       alike are found as well */

    other = fn->schedule ? fn->schedule->elts : NULL;

    for (i = 0; other && i < fn->schedule->nelts; i++) {

        if (faas_schedule_parse((char *) other[i].data, other[i].len, &o, why)
            == 0
            && ngx_strcmp(o.name, s.name) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"schedule\" in "
                               "\"faas_function %V\": \"%V\" and \"%V\" are "
                               "one timer", &fn->name, &other[i], &line);
            return NGX_CONF_ERROR;
        }
    }

    return ngx_http_faas_setting_push(cf, &fn->schedule, &line);
}


/* async [attempts=] [age=] [keep=] */

char *
ngx_http_faas_setting_async(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting)
{
    char           *rv, why[FAAS_EVENT_WHY_SIZE];
    ngx_str_t       line;
    faas_async_t    a;

    if (fn->async.len) {
        return "is duplicate";
    }

    rv = ngx_http_faas_setting_line(cf, &line);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (faas_async_parse((char *) line.data, line.len, &a, why) != 0) {
        return ngx_http_faas_setting_why(cf, fn, setting, why);
    }

    fn->async = line;

    return NGX_CONF_OK;
}


/* share NAME [read|write]; kept as "NAME r" or "NAME w" */

char *
ngx_http_faas_setting_share(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting)
{
    u_char      *p;
    ngx_str_t   *value, *other, line;
    ngx_uint_t   i, may_write;

    value = cf->args->elts;
    may_write = 1;

    if (ngx_http_faas_pass_is_name(&value[1]) != NGX_OK) {
        return "needs a name of [a-z0-9][a-z0-9_-]*, at most 63 characters";
    }

    if (value[1].len == fn->name.len
        && ngx_strncmp(value[1].data, fn->name.data, fn->name.len) == 0)
    {
        return "has the function's own name, which is its own store's";
    }

    if (cf->args->nelts == 3) {

        if (ngx_strcmp(value[2].data, "read") == 0) {
            may_write = 0;

        } else if (ngx_strcmp(value[2].data, "write") != 0) {
            return "must be for \"read\" or \"write\"";
        }
    }

    other = fn->share ? fn->share->elts : NULL;

    for (i = 0; other && i < fn->share->nelts; i++) {

        if (other[i].len == value[1].len + 2
            && ngx_strncmp(other[i].data, value[1].data, value[1].len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"share %V\" in "
                               "\"faas_function %V\"", &value[1], &fn->name);
            return NGX_CONF_ERROR;
        }
    }

    p = ngx_pnalloc(cf->pool, value[1].len + 2);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    line.data = p;
    line.len = ngx_sprintf(p, "%V %s", &value[1], may_write ? "w" : "r") - p;

    return ngx_http_faas_setting_push(cf, &fn->share, &line);
}


char *
ngx_http_faas_setting_durability(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (fn->durability.len) {
        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "full") != 0
        && ngx_strcmp(value[1].data, "normal") != 0)
    {
        return "must be \"full\" or \"normal\"";
    }

    fn->durability = value[1];

    return NGX_CONF_OK;
}


/* the words of the setting as one line */

static char *
ngx_http_faas_setting_line(ngx_conf_t *cf, ngx_str_t *line)
{
    u_char      *p;
    size_t       size;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;
    size = 0;

    for (i = 1; i < cf->args->nelts; i++) {
        size += value[i].len + 1;
    }

    if (size > FAAS_EVENT_LINE_SIZE) {
        return "is longer than 255 bytes";
    }

    p = ngx_pnalloc(cf->pool, size);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    line->data = p;

    for (i = 1; i < cf->args->nelts; i++) {
        p = ngx_cpymem(p, value[i].data, value[i].len);
        *p++ = ' ';
    }

    line->len = p - 1 - line->data;

    return NGX_CONF_OK;
}


static char *
ngx_http_faas_setting_why(ngx_conf_t *cf, ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting, const char *why)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\" in \"faas_function %V\": %s",
                       &setting->name, &fn->name, why);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_faas_setting_push(ngx_conf_t *cf, ngx_array_t **lines,
    ngx_str_t *line)
{
    ngx_str_t  *s;

    if (*lines == NULL) {
        *lines = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (*lines == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    s = ngx_array_push(*lines);
    if (s == NULL) {
        return NGX_CONF_ERROR;
    }

    *s = *line;

    return NGX_CONF_OK;
}


/*
 * A batch has no effects that could be once: its messages may come again in
 * another company.  Calls at once beyond `max` would only wait.  And a message
 * whose lease is over while its call still runs is given to another one.
 */

ngx_int_t
ngx_http_faas_setting_check_events(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_function_conf_t *all)
{
    char             why[FAAS_EVENT_WHY_SIZE];
    ngx_str_t       *line;
    ngx_uint_t       i;
    faas_consume_t   c;

    if (fn->consume == NULL) {
        return NGX_OK;
    }

    line = fn->consume->elts;

    for (i = 0; i < fn->consume->nelts; i++) {

        if (faas_consume_parse((char *) line[i].data, line[i].len, &c, why)
            != 0)
        {
            return NGX_ERROR;
        }

        if (fn->exactly_once == 1 && c.batch > 1) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"exactly_once on\" contradicts \"consume %s "
                          "batch=%uD\" in \"faas_function %V\" in %s:%ui",
                          c.queue, c.batch, &fn->name,
                          fn->place.file, fn->place.line);
            return NGX_ERROR;
        }

        if (fn->max != NGX_CONF_UNSET && c.parallel > (uint32_t) fn->max) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"consume %s parallel=%uD\" is more than "
                          "\"max %i\" in \"faas_function %V\" in %s:%ui",
                          c.queue, c.parallel, fn->max, &fn->name,
                          fn->place.file, fn->place.line);
            return NGX_ERROR;
        }

        if (all && all->max != NGX_CONF_UNSET
            && c.parallel > (uint32_t) all->max)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"consume %s parallel=%uD\" in \"faas_function "
                          "%V\" is more than \"max %i\" in "
                          "\"faas_function *\" (%s:%ui) in %s:%ui",
                          c.queue, c.parallel, &fn->name, all->max,
                          all->place.file, all->place.line,
                          fn->place.file, fn->place.line);
            return NGX_ERROR;
        }

        if (c.lease_ms && fn->timeout != NGX_CONF_UNSET_MSEC
            && c.lease_ms < fn->timeout)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"consume %s lease=%uDms\" is less than "
                          "\"timeout %Mms\" in \"faas_function %V\" in "
                          "%s:%ui",
                          c.queue, c.lease_ms, fn->timeout, &fn->name,
                          fn->place.file, fn->place.line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
