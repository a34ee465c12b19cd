
/*
 * The configuration as text, for the supervisor; its form is described in
 * faas_control.h.  What nginx itself was told that the host must know, its
 * workers' user and its error log, goes along.
 */


#include "ngx_http_faas_module.h"


static u_char *ngx_http_faas_config_callback(u_char *p,
    ngx_http_faas_callback_t *callback);
static void ngx_http_faas_config_worker(ngx_cycle_t *cycle, int64_t *uid,
    int64_t *gid);
static ngx_uint_t ngx_http_faas_config_log(ngx_cycle_t *cycle,
    ngx_str_t *path);


ngx_int_t
ngx_http_faas_config_encode(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf, ngx_str_t *text)
{
    u_char                         *p;
    size_t                          size;
    int64_t                         uid, gid;
    ngx_str_t                       error_log;
    ngx_uint_t                      i, level;
    ngx_http_faas_callback_t       *callback;
    ngx_http_faas_function_conf_t  *fn;

    ngx_http_faas_config_worker(cycle, &uid, &gid);
    level = ngx_http_faas_config_log(cycle, &error_log);

    /* names and numbers in a kilobyte, strings at three bytes for one */

    size = 1024 + 3 * (fmcf->functions.len + fmcf->state.len + fmcf->user.len
                       + fmcf->deployer.len + error_log.len
                       + fmcf->kv.len + fmcf->queue.len);

    callback = fmcf->callbacks ? fmcf->callbacks->elts : NULL;

    for (i = 0; callback && i < fmcf->callbacks->nelts; i++) {
        size += sizeof("callback \n") + 3 * (callback[i].prefix.len + 1
                                             + callback[i].secret.len);
    }

    fn = fmcf->function_confs.elts;

    for (i = 0; i < fmcf->function_confs.nelts; i++) {
        size += ngx_http_faas_function_encoded_size(&fn[i]);
    }

    text->data = ngx_pnalloc(cycle->pool, size);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    p = text->data;

    p = ngx_http_faas_config_text(p, "functions", &fmcf->functions);
    p = ngx_http_faas_config_text(p, "state", &fmcf->state);
    p = ngx_http_faas_config_text(p, "user", &fmcf->user);
    p = ngx_http_faas_config_text(p, "deployer", &fmcf->deployer);
    p = ngx_http_faas_config_text(p, "error_log", &error_log);
    p = ngx_http_faas_config_text(p, "kv", &fmcf->kv);
    p = ngx_http_faas_config_text(p, "queue", &fmcf->queue);

    p = ngx_sprintf(p, "worker_uid %L\ngroup %L\nlog_level %ui\n"
                    "scoreboard %uz\nmemory %uz\n"
                    "core %i\ncore_keep %i\ncore_body %uz\n",
                    uid, gid, level, fmcf->scoreboard, fmcf->memory,
                    fmcf->core, fmcf->core_keep, fmcf->core_body);

    for (i = 0; callback && i < fmcf->callbacks->nelts; i++) {
        p = ngx_http_faas_config_callback(p, &callback[i]);
    }

    for (i = 0; i < fmcf->function_confs.nelts; i++) {
        p = ngx_http_faas_function_encode(p, &fn[i]);
    }

    text->len = p - text->data;

    return NGX_OK;
}


u_char *
ngx_http_faas_config_text(u_char *p, const char *name, ngx_str_t *value)
{
    if (value->len == 0) {
        return p;
    }

    p = ngx_sprintf(p, "%s ", name);
    p += faas_control_encode((char *) p, (char *) value->data, value->len);
    *p++ = LF;

    return p;
}


/* "PREFIX SECRET", one value; a prefix has no blanks */

static u_char *
ngx_http_faas_config_callback(u_char *p, ngx_http_faas_callback_t *callback)
{
    p = ngx_cpymem(p, "callback ", sizeof("callback ") - 1);
    p += faas_control_encode((char *) p, (char *) callback->prefix.data,
                             callback->prefix.len);
    p += faas_control_encode((char *) p, " ", 1);
    p += faas_control_encode((char *) p, (char *) callback->secret.data,
                             callback->secret.len);
    *p++ = LF;

    return p;
}


/* without privileges, workers are who the master is, whatever "user" says */

static void
ngx_http_faas_config_worker(ngx_cycle_t *cycle, int64_t *uid, int64_t *gid)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (geteuid() == 0 && ccf->user != (ngx_uid_t) NGX_CONF_UNSET_UINT) {
        *uid = ccf->user;
        *gid = ccf->group;
        return;
    }

    *uid = geteuid();
    *gid = getegid();
}


/* level and path, which is empty when the log is stderr or no file */

static ngx_uint_t
ngx_http_faas_config_log(ngx_cycle_t *cycle, ngx_str_t *path)
{
    ngx_log_t   *log;
    ngx_uint_t   level;

    ngx_str_null(path);

    log = ngx_log_get_file_log(cycle->log);

    if (log) {
        *path = log->file->name;

    } else {
        log = cycle->log;
    }

    level = log->log_level & NGX_LOG_DEBUG_ALL ? NGX_LOG_DEBUG
                                               : log->log_level;

    return ngx_min(level, NGX_LOG_DEBUG);
}
