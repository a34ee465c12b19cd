
/*
 * $faas_*.
 *
 * Those that faas_pass uses as FastCGI parameters are what routing found, and
 * do not change until the request is routed anew; the rest says what came of
 * the last pass.  None is cacheable: an internal redirect makes a new pass,
 * and subrequests share their parent's variables.  All are read from the
 * context alone, never from the board or the clock, so two evaluations in one
 * go are equal.
 */


#include "ngx_http_faas_module.h"
#include "ngx_http_faas_variables.h"


/* which one, as a variable's data */

typedef enum {
    NGX_HTTP_FAAS_VAR_FUNCTION = 0,
    NGX_HTTP_FAAS_VAR_VERSION,
    NGX_HTTP_FAAS_VAR_INSTANCE,
    NGX_HTTP_FAAS_VAR_MODE,
    NGX_HTTP_FAAS_VAR_START,
    NGX_HTTP_FAAS_VAR_OUTCOME,
    NGX_HTTP_FAAS_VAR_STARTED,
    NGX_HTTP_FAAS_VAR_QUEUE_TIME,
    NGX_HTTP_FAAS_VAR_EXEC_TIME,
    NGX_HTTP_FAAS_VAR_SCRIPT_NAME,
    NGX_HTTP_FAAS_VAR_PATH_INFO,
    NGX_HTTP_FAAS_VAR_PATH,
    NGX_HTTP_FAAS_VAR_PARAMS,
    NGX_HTTP_FAAS_VAR_CALLER,
    NGX_HTTP_FAAS_VAR_DEPTH,
    NGX_HTTP_FAAS_VAR_ASYNC,
    NGX_HTTP_FAAS_VAR_TARGET,
    NGX_HTTP_FAAS_VAR_PREFIX
} ngx_http_faas_variable_e;


static ngx_int_t ngx_http_faas_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_faas_variable_unseen(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_faas_variable_text(ngx_http_variable_value_t *v,
    u_char *data, size_t len);
static ngx_int_t ngx_http_faas_variable_name(ngx_http_variable_value_t *v,
    const char *name);
static ngx_int_t ngx_http_faas_variable_instance(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx, ngx_http_variable_value_t *v);
static ngx_int_t ngx_http_faas_variable_number(ngx_http_request_t *r,
    ngx_uint_t n, ngx_http_variable_value_t *v);
static ngx_int_t ngx_http_faas_variable_time(ngx_http_request_t *r,
    uint64_t us, ngx_http_variable_value_t *v);


#define ngx_http_faas_var(name, var)                                          \
    { ngx_string(name), NULL, ngx_http_faas_variable,                         \
      NGX_HTTP_FAAS_VAR_##var, NGX_HTTP_VAR_NOCACHEABLE, 0 }

static ngx_http_variable_t  ngx_http_faas_variables[] = {

    ngx_http_faas_var("faas_function", FUNCTION),
    ngx_http_faas_var("faas_version", VERSION),
    ngx_http_faas_var("faas_instance", INSTANCE),
    ngx_http_faas_var("faas_mode", MODE),
    ngx_http_faas_var("faas_start", START),
    ngx_http_faas_var("faas_outcome", OUTCOME),
    ngx_http_faas_var("faas_started", STARTED),
    ngx_http_faas_var("faas_queue_time", QUEUE_TIME),
    ngx_http_faas_var("faas_exec_time", EXEC_TIME),

    ngx_http_faas_var("faas_script_name", SCRIPT_NAME),
    ngx_http_faas_var("faas_path_info", PATH_INFO),
    ngx_http_faas_var("faas_path", PATH),
    ngx_http_faas_var("faas_params", PARAMS),

    ngx_http_faas_var("faas_caller", CALLER),
    ngx_http_faas_var("faas_depth", DEPTH),
    ngx_http_faas_var("faas_async", ASYNC),
    ngx_http_faas_var("faas_target", TARGET),
    ngx_http_faas_var("faas_prefix", PREFIX),

      ngx_http_null_variable
};


static const char  *ngx_http_faas_modes[] = {
    [FAAS_MODE_RESIDENT] = "resident",
    [FAAS_MODE_ONESHOT] = "oneshot"
};


static const char  *ngx_http_faas_starts[] = {
    [FAAS_START_WARM] = "warm",
    [FAAS_START_COLD] = "cold",
    [FAAS_START_ZYGOTE] = "zygote"
};


static const char  *ngx_http_faas_outcomes[] = {
    [FAAS_OUTCOME_OK] = "ok",
    [FAAS_OUTCOME_FUNCTION_ERROR] = "function_error",
    [FAAS_OUTCOME_TIMEOUT] = "timeout",
    [FAAS_OUTCOME_CRASH] = "crash",
    [FAAS_OUTCOME_OOM] = "oom",
    [FAAS_OUTCOME_QUEUE_FULL] = "queue_full",
    [FAAS_OUTCOME_QUEUE_TIMEOUT] = "queue_timeout",
    [FAAS_OUTCOME_INIT_ERROR] = "init_error",
    [FAAS_OUTCOME_NOT_FOUND] = "not_found",
    [FAAS_OUTCOME_SHED] = "shed",
    [FAAS_OUTCOME_CANCELLED] = "cancelled",
    [FAAS_OUTCOME_LOOP] = "loop"
};

_Static_assert(sizeof(ngx_http_faas_outcomes)
               == FAAS_OUTCOMES * sizeof(ngx_http_faas_outcomes[0]),
               "every outcome has a name");


ngx_int_t
ngx_http_faas_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_faas_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


const char *
ngx_http_faas_outcome_name(ngx_uint_t outcome)
{
    return (outcome < FAAS_OUTCOMES) ? ngx_http_faas_outcomes[outcome] : "";
}


const char *
ngx_http_faas_mode_name(ngx_uint_t mode)
{
    return (mode <= FAAS_MODE_ONESHOT) ? ngx_http_faas_modes[mode] : "";
}


static ngx_int_t
ngx_http_faas_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_faas_ctx_t  *ctx;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    ctx = ngx_http_faas_ctx(r);

    if (ctx == NULL) {
        return ngx_http_faas_variable_unseen(r, v, data);
    }

    switch ((ngx_http_faas_variable_e) data) {

    case NGX_HTTP_FAAS_VAR_SCRIPT_NAME:
        return ngx_http_faas_variable_text(v, ctx->script_name.data,
                                           ctx->script_name.len);

    case NGX_HTTP_FAAS_VAR_PATH_INFO:
        return ngx_http_faas_variable_text(v, ctx->path_info.data,
                                           ctx->path_info.len);

    case NGX_HTTP_FAAS_VAR_PATH:
        if (ctx->target.len) {
            return ngx_http_faas_variable_text(v, ctx->call_path.data,
                                               ctx->call_path.len);
        }

        return ngx_http_faas_variable_text(v, ctx->path.data, ctx->path.len);

    case NGX_HTTP_FAAS_VAR_PARAMS:
        return ngx_http_faas_variable_text(v, ctx->params.data,
                                           ctx->params.len);

    case NGX_HTTP_FAAS_VAR_TARGET:
        return ngx_http_faas_variable_text(v, ctx->target.data,
                                           ctx->target.len);

    case NGX_HTTP_FAAS_VAR_PREFIX:
        return ngx_http_faas_variable_text(v, ctx->calls.data,
                                           ctx->calls.len);

    case NGX_HTTP_FAAS_VAR_CALLER:
        if (ctx->caller.len) {
            return ngx_http_faas_variable_text(v, ctx->caller.data,
                                               ctx->caller.len);
        }

        break;

    case NGX_HTTP_FAAS_VAR_DEPTH:
        return ngx_http_faas_variable_number(r, ctx->depth, v);

    case NGX_HTTP_FAAS_VAR_ASYNC:
        return ngx_http_faas_variable_name(v, ctx->target.len ? "1" : "0");

    case NGX_HTTP_FAAS_VAR_FUNCTION:
        if (ctx->target.len) {
            return ngx_http_faas_variable_text(v, ctx->target.data,
                                               ctx->target.len);
        }

        if (ctx->name.len) {
            return ngx_http_faas_variable_text(v, ctx->name.data,
                                               ctx->name.len);
        }

        break;

    case NGX_HTTP_FAAS_VAR_VERSION:
        if (ctx->version_id[0]) {
            return ngx_http_faas_variable_name(v, ctx->version_id);
        }

        break;

    case NGX_HTTP_FAAS_VAR_INSTANCE:
        if (ctx->slot != FAAS_INDEX_NONE) {
            return ngx_http_faas_variable_instance(r, ctx, v);
        }

        break;

    case NGX_HTTP_FAAS_VAR_MODE:
        if (ctx->function != FAAS_INDEX_NONE) {
            return ngx_http_faas_variable_name(v,
                                   ngx_http_faas_mode_name(ctx->limits.mode));
        }

        break;

    case NGX_HTTP_FAAS_VAR_START:
        if (ctx->slot != FAAS_INDEX_NONE && ctx->start <= FAAS_START_ZYGOTE) {
            return ngx_http_faas_variable_name(v,
                                            ngx_http_faas_starts[ctx->start]);
        }

        break;

    case NGX_HTTP_FAAS_VAR_OUTCOME:
        if (ctx->decided) {
            return ngx_http_faas_variable_name(v,
                                    ngx_http_faas_outcome_name(ctx->outcome));
        }

        break;

    case NGX_HTTP_FAAS_VAR_STARTED:
        return ngx_http_faas_variable_name(v, ngx_http_faas_has_run(ctx)
                                              ? "1" : "0");

    case NGX_HTTP_FAAS_VAR_QUEUE_TIME:
        if (ctx->arrived_us) {
            return ngx_http_faas_variable_time(r, ctx->queue_us, v);
        }

        break;

    case NGX_HTTP_FAAS_VAR_EXEC_TIME:
        if (ctx->handed_us) {
            return ngx_http_faas_variable_time(r, ctx->exec_us, v);
        }

        break;
    }

    v->not_found = 1;

    return NGX_OK;
}


/* what nginx answered before it came to faas_pass has run nothing */

static ngx_int_t
ngx_http_faas_variable_unseen(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_faas_loc_conf_t  *flcf;

    flcf = ngx_http_get_module_loc_conf(r, ngx_http_faas_module);

    if (flcf->pass && data == NGX_HTTP_FAAS_VAR_STARTED) {
        return ngx_http_faas_variable_name(v, "0");
    }

    v->not_found = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_variable_text(ngx_http_variable_value_t *v, u_char *data,
    size_t len)
{
    v->data = (data != NULL) ? data : (u_char *) "";
    v->len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_variable_name(ngx_http_variable_value_t *v, const char *name)
{
    return ngx_http_faas_variable_text(v, (u_char *) name, ngx_strlen(name));
}


/* SLOT.PID */

static ngx_int_t
ngx_http_faas_variable_instance(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx, ngx_http_variable_value_t *v)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, 2 * NGX_INT32_LEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;
    v->len = ngx_sprintf(p, "%uD.%D", ctx->slot, ctx->instance_pid) - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_variable_number(ngx_http_request_t *r, ngx_uint_t n,
    ngx_http_variable_value_t *v)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;
    v->len = ngx_sprintf(p, "%ui", n) - p;

    return NGX_OK;
}


/* seconds */

static ngx_int_t
ngx_http_faas_variable_time(ngx_http_request_t *r, uint64_t us,
    ngx_http_variable_value_t *v)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN + 8);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;
    v->len = ngx_sprintf(p, "%uL.%06uL", us / 1000000, us % 1000000) - p;

    return NGX_OK;
}
