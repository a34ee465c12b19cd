
/*
 * What the files of ngx_http_faas_module share.
 *
 *   ngx_http_faas_module.c      directives, hooks, configuration structs
 *   ngx_http_faas_function.c    the faas_function { } block
 *   ngx_http_faas_setting.c     its settings, a table
 *   ngx_http_faas_setting_event.c   those that tell of events and stores
 *   ngx_http_faas_service.c     faas_kv, faas_queue, faas_callback
 *   ngx_http_faas_config.c      the configuration as text
 *   ngx_http_faas_pass.c        faas_pass: a macro over stock directives
 *   ngx_http_faas_internal.c    the socket of the faas_internal server
 *   ngx_http_faas_implicit.c    that server, where nobody wrote one
 *   ngx_http_faas_keeper.c      starts the keeper
 *   ngx_http_faas_host.c        the master: attach, reload, lifeline
 *   ngx_http_faas_worker.c      a worker: record, wake-ups, pages
 *   ngx_http_faas_request.c     context, precontent phase, refusals
 *   ngx_http_faas_invoke.c      faas_invoke: who calls whom, how deep
 *   ngx_http_faas_async.c       faas_async: what is answered later
 *   ngx_http_faas_prefer.c      the Prefer header
 *   ngx_http_faas_router.c      route table to function
 *   ngx_http_faas_admission.c   who is let in, deadlines, Retry-After
 *   ngx_http_faas_scheduler.c   the upstream peer: get, free, budgets
 *   ngx_http_faas_attempt.c     what an attempt came to
 *   ngx_http_faas_queue.c       slots: acquire, wait in line, hand over, wake
 *   ngx_http_faas_connection.c  connections kept to slots
 *   ngx_http_faas_variables.c   $faas_*
 *   ngx_http_faas_id.c          $faas_request_id
 *   ngx_http_faas_accel.c       whose X-Accel-Redirect is let through
 *   ngx_http_faas_filter.c      platform headers on our own answers
 *   ngx_http_faas_answer.c      their bodies
 *   ngx_http_faas_accept.c      the Accept header
 *   ngx_http_faas_status.c      faas_status
 *
 * Calls go down this list, never up, but for the callback that
 * ngx_http_faas_worker.c is given.  Nothing here blocks in a worker, or runs
 * user code.
 */


#ifndef NGX_HTTP_FAAS_MODULE_H_INCLUDED
#define NGX_HTTP_FAAS_MODULE_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "faas_scoreboard.h"
#include "faas_slot.h"
#include "faas_control.h"
#include "faas_routes.h"


/* where something stands in the configuration, for errors found later */

typedef struct {
    u_char                   *file;
    ngx_uint_t                line;
} ngx_http_faas_place_t;


/* faas_async */

#define NGX_HTTP_FAAS_ASYNC_OFF     0
#define NGX_HTTP_FAAS_ASYNC_PREFER  1
#define NGX_HTTP_FAAS_ASYNC_ON      2


/* one faas_function block; NGX_CONF_UNSET* where the user gave nothing */

typedef struct {
    ngx_str_t                 name;            /* "*": ceilings */
    ngx_uint_t                mode;            /* faas_mode_e */
    ngx_int_t                 min;
    ngx_int_t                 max;
    ngx_int_t                 spare;
    ngx_int_t                 queue;
    ngx_msec_t                queue_timeout;
    ngx_msec_t                timeout;
    ngx_msec_t                init_timeout;
    ngx_msec_t                idle_timeout;
    ngx_msec_t                template_timeout;
    ngx_int_t                 max_requests;
    size_t                    memory;
    ngx_flag_t                accel;
    ngx_str_t                 user;            /* empty: faas_user */
    ngx_str_t                 routes;          /* prefix it may claim below */
    ngx_array_t              *env;             /* of ngx_str_t NAME=VALUE */

    /* lines of faas_event.h, checked; NULL, empty: not given */
    ngx_array_t              *consume;         /* of ngx_str_t */
    ngx_array_t              *schedule;        /* of ngx_str_t */
    ngx_str_t                 async;
    ngx_array_t              *share;           /* of ngx_str_t "NAME r|w" */
    ngx_flag_t                exactly_once;
    ngx_str_t                 durability;      /* "full", "normal" */

    ngx_http_faas_place_t     place;           /* of the block */
} ngx_http_faas_function_conf_t;


/* one faas_callback: whom results of async calls may be posted to */

typedef struct {
    ngx_str_t                 prefix;          /* of the URL */
    ngx_str_t                 secret;          /* KEY, or "file:" and a path */
} ngx_http_faas_callback_t;


typedef struct {
    ngx_str_t                 functions;       /* empty: the host is off */
    ngx_str_t                 state;
    ngx_str_t                 user;
    ngx_str_t                 deployer;
    ngx_str_t                 supervisor;
    size_t                    scoreboard;      /* bytes */
    size_t                    memory;          /* of all functions, bytes */
    ngx_flag_t                core;            /* dumps are made */
    ngx_int_t                 core_keep;       /* how many of them */
    size_t                    core_body;       /* bytes of a body in one */
    ngx_uint_t                busy_status;     /* instead of 503 */
    ngx_str_t                 kv;              /* engines' URLs, which may */
    ngx_str_t                 queue;           /* hold passwords; empty: not
                                                  given */
    ngx_array_t              *callbacks;       /* of *_callback_t, or NULL */
    ngx_array_t               function_confs;  /* of *_function_conf_t */
    ngx_int_t                 request_id;      /* index of $request_id, or
                                                  NGX_ERROR: not in use */
    ngx_http_upstream_srv_conf_t  *upstream;   /* ours, NULL: no faas_pass */
    ngx_http_faas_place_t     pass;            /* of the first faas_pass, file
                                                  NULL: none */
    ngx_http_core_srv_conf_t *internal;        /* the faas_internal server, or
                                                  NULL */
    ngx_http_faas_place_t     internal_place;
    unsigned                  implicit:1;      /* that server is ours */
    unsigned                  invoked:1;       /* a faas_invoke is there that
                                                  is not */
} ngx_http_faas_main_conf_t;


typedef struct {
    ngx_flag_t                pass;            /* 1: faas_pass or faas_invoke */
    ngx_flag_t                invoke;          /* 1: a token is asked for */
    ngx_flag_t                status;
    ngx_http_complex_value_t *target;          /* NULL: route by the URI */
    ngx_str_t                 prefix;          /* the location's literal
                                                  prefix without its last
                                                  slash; empty for regex and
                                                  named locations */
    ngx_flag_t                prefixed;        /* 1: a prefix location */
    ngx_uint_t                async;           /* NGX_HTTP_FAAS_ASYNC_* */
    ngx_str_t                 calls;           /* of calls=, under which
                                                  /_calls/ID is reached; data
                                                  NULL: under prefix */
    ngx_http_faas_place_t     async_place;
    ngx_array_t              *params;          /* fastcgi_param of the location
                                                  itself, for its `if`s */
    ngx_flag_t                ignore_client_abort;    /* UNSET: what the stock
                                                  directive says */
    ngx_http_faas_place_t     abort_place;
    ngx_http_upstream_conf_t *upstream;        /* of the FastCGI module, where
                                                  pass is 1 */
    ngx_http_faas_place_t     place;           /* of the directive */
} ngx_http_faas_loc_conf_t;


/* bytes of an END_REQUEST as instances send it: header and body, no padding */
#define NGX_HTTP_FAAS_END  16


/*
 * One pass of a request through faas_pass: from routing to the end of its
 * last attempt.  Made in precontent, from the request's pool; an internal
 * redirect makes a new one.  Hangs on a pool cleanup as well as on r->ctx,
 * since internal redirects zero the latter; ngx_http_faas_ctx() finds it.
 */

typedef struct ngx_http_faas_ctx_s  ngx_http_faas_ctx_t;

struct ngx_http_faas_ctx_s {
    ngx_http_request_t       *request;

    /* what was asked for: set by routing, then constant */
    ngx_str_t                 name;            /* of the function */
    ngx_str_t                 script_name;     /* prefix + /NAME */
    ngx_str_t                 path_info;
    ngx_str_t                 path;            /* after the prefix */
    ngx_str_t                 params;          /* named captures, NAME=VALUE
                                                  joined by '&', both
                                                  percent-encoded */
    ngx_str_t                 matched;         /* what a route of the function
                                                  matched, of path or the URI;
                                                  data NULL: none did */
    ngx_uint_t                allow;           /* methods for a 405 */
    uint32_t                  function;        /* index, INDEX_NONE: none */
    uint32_t                  function_generation;
    uint32_t                  version;         /* index on the board */
    uint32_t                  version_generation;
    faas_limits_t             limits;          /* as they stood at routing */

    /* faas_invoke */
    ngx_str_t                 caller;          /* a function, or "@events" */
    ngx_str_t                 callee;          /* Faas-Function, or empty */
    ngx_uint_t                depth;           /* calls above, 0: a client's */

    /* faas_async: what the request is to _calls */
    ngx_str_t                 target;          /* whom it was routed to; empty:
                                                  it is answered now */
    uint32_t                  target_function;
    uint32_t                  target_generation;
    ngx_str_t                 call_path;       /* by which target is called */
    ngx_str_t                 calls;           /* where /_calls/ID is reached,
                                                  from outside */

    /* what came of it: read by variables, filter, log */
    faas_outcome_e            outcome;
    unsigned                  decided:1;       /* outcome is final */
    unsigned                  maybe_started:1; /* the function may have run */
    unsigned                  ran_before:1;    /* that of an earlier pass of
                                                  this request may have */
    unsigned                  waiting:1;       /* in the FIFO */
    unsigned                  admitted:1;      /* counted in the cell */
    unsigned                  holding:1;       /* a slot is ours */
    unsigned                  over_budget:1;
    unsigned                  odd:1;           /* this attempt was answered
                                                  before it had begun */
    unsigned                  by_deadline:1;   /* the budget is what is left
                                                  of the client's deadline */
    unsigned                  retried:1;
    unsigned                  queued:1;        /* it had to wait */
    unsigned                  connecting:1;    /* peer.get calls itself */
    unsigned                  spent:1;         /* the instance takes no more
                                                  requests after this one */
    unsigned                  is_calls:1;      /* it is one to _calls */
    faas_start_e              start;
    uint32_t                  retry_after;     /* seconds, 0: no header */
    const char               *cause;           /* for Proxy-Status details,
                                                  static, or NULL */
    const char               *error;           /* its error type, static;
                                                  NULL: as the outcome says */
    ngx_str_t                 answer;          /* our body, until it is sent;
                                                  len 0: there is none */
    ngx_int_t                 status;          /* of a refusal that waits to
                                                  be carried out, or 0 */
    uint32_t                  slot;            /* last one, INDEX_NONE */
    int32_t                   instance_pid;
    char                      version_id[FAAS_VERSION_SIZE];

    /* times, CLOCK_MONOTONIC microseconds; 0: not happened */
    uint64_t                  deadline_us;     /* the client's, 0: none */
    uint64_t                  arrived_us;      /* asked for a slot */
    uint64_t                  handed_us;       /* this attempt got one */
    uint64_t                  queue_us;        /* sum of waits */
    uint64_t                  exec_us;         /* sum of attempts */

    /* scheduler's own */
    uint64_t                  word;            /* slot word while holding */
    uint64_t                  begun;           /* page's count at hand-over */
    u_char                    last[NGX_HTTP_FAAS_END];
                                               /* bytes that came last since */
    ngx_queue_t               queue;           /* in the function's FIFO */
    ngx_event_t               timer;           /* queue or execution budget */
    ngx_event_t               resume;          /* posted: go on, or refuse */
    ngx_connection_t         *placeholder;
    ngx_uint_t                attempts;        /* slots handed to it */

    /* the upstream's own, behind ours */
    ngx_int_t               (*process_header)(ngx_http_request_t *r);
    ngx_event_pipe_input_filter_pt  input_filter;
    ngx_int_t               (*non_buffered_filter)(void *data, ssize_t bytes);
};


/*
 * This nginx's end of the host.  One per process; set by the master in
 * init_module, inherited by the workers, unchanged by reloads: one board per
 * faas_state.  Writer: ngx_http_faas_host.c.
 */

typedef struct {
    faas_scoreboard_t        *board;           /* NULL: no host */
    size_t                    size;
    int                       lifeline;        /* control connection */
    int                       supervisor;      /* eventfd */
    int                       wake[FAAS_WORKERS];    /* eventfds */
    uint32_t                  worker;          /* our record, WORKER_NONE in
                                                  the master, and in
                                                  workers that begin */
    faas_page_t             **pages;           /* by slot index, NULL: not
                                                  known yet */
    ngx_str_t                 state;           /* faas_state, full path */
    char                      release[32];     /* of the supervisor */
    ngx_uint_t                gone;            /* 1: keeper and supervisor are;
                                                  writer: a worker */
} ngx_http_faas_host_t;


/* what upstreams send, and nginx has no name for */
#define NGX_HTTP_FAAS_LOOP_DETECTED  508


extern ngx_module_t          ngx_http_faas_module;
extern ngx_http_faas_host_t  ngx_http_faas_host;


/* ngx_http_faas_module.c */

/* where the parser is now; the name is copied, since the file's goes */
ngx_int_t ngx_http_faas_place(ngx_conf_t *cf, ngx_http_faas_place_t *place);


/* ngx_http_faas_function.c */

char *ngx_http_faas_function_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* refuses contradictions with file, line and both values */
ngx_int_t ngx_http_faas_function_check(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf);

/* appends the block as text; takes at most so much room */
u_char *ngx_http_faas_function_encode(u_char *p,
    ngx_http_faas_function_conf_t *fn);
size_t ngx_http_faas_function_encoded_size(ngx_http_faas_function_conf_t *fn);


/* ngx_http_faas_service.c */

char *ngx_http_faas_service_engine(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_faas_service_callback(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* ngx_http_faas_config.c */

/* the configuration as text for the supervisor (faas_control.h); the buffer
   is from the cycle's pool */
ngx_int_t ngx_http_faas_config_encode(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf, ngx_str_t *text);

/* appends one setting, percent-encoded; nothing when value is empty */
u_char *ngx_http_faas_config_text(u_char *p, const char *name,
    ngx_str_t *value);


/* ngx_http_faas_pass.c */

/* faas_pass and faas_invoke */
char *ngx_http_faas_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* preconfiguration: is the FastCGI module there, and after us in the list? */
ngx_int_t ngx_http_faas_pass_init(ngx_conf_t *cf);

/* the location's merge: puts the stock directives into it; one that faas_pass
   owns and the user gave is an error */
char *ngx_http_faas_pass_merge(ngx_conf_t *cf, ngx_http_faas_loc_conf_t *prev,
    ngx_http_faas_loc_conf_t *conf);

/* the filter module's merge, when all that is stock is merged */
char *ngx_http_faas_pass_merged(ngx_conf_t *cf, void *parent, void *child);

/* is it a function's name?  NGX_OK or NGX_DECLINED */
ngx_int_t ngx_http_faas_pass_is_name(ngx_str_t *name);

/* what a stock FastCGI directive sets in the location that is being merged,
   with its command; NULL when this nginx does not have it */
void *ngx_http_faas_pass_field(ngx_conf_t *cf, const char *name,
    ngx_command_t **cmd);


/* ngx_http_faas_accel.c */

/* of a merged location: functions' X-Accel-Redirect is ignored ... */
char *ngx_http_faas_accel_merge(ngx_conf_t *cf,
    ngx_http_faas_loc_conf_t *flcf);

/* ... but not for this request, which has r->upstream */
ngx_int_t ngx_http_faas_accel_allow(ngx_http_request_t *r);


/* ngx_http_faas_host.c */

/*
 * Master, init_module: starts a keeper or attaches to the one there, or hands
 * a new configuration to it (reload, never fails then).  NGX_OK or NGX_ERROR
 * (the first start failed, the reason is in the log).
 */
ngx_int_t ngx_http_faas_host_attach(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf);

/* wakes another worker, or the supervisor */
void ngx_http_faas_host_wake(uint32_t worker);
void ngx_http_faas_host_kick(void);

/* 1: no instance will be there for a request that has none */
ngx_uint_t ngx_http_faas_host_is_ending(void);


/* ngx_http_faas_worker.c */

/*
 * Makes the worker's tables, claims a record, waits for wake-ups and pages;
 * what is lacking is logged and tried for again, and worker is WORKER_NONE
 * until it is there.
 */
void ngx_http_faas_worker_begin(ngx_cycle_t *cycle);
void ngx_http_faas_worker_exit(ngx_cycle_t *cycle);


/* ngx_http_faas_request.c */

ngx_int_t ngx_http_faas_handler(ngx_http_request_t *r);    /* precontent */

/* a new one, as the context of r; NULL: no memory */
ngx_http_faas_ctx_t *ngx_http_faas_ctx_create(ngx_http_request_t *r);

/* the context of the request's last pass, or NULL */
ngx_http_faas_ctx_t *ngx_http_faas_ctx(ngx_http_request_t *r);

/* 1: something may have run for the request of ctx, $faas_started */
ngx_uint_t ngx_http_faas_has_run(ngx_http_faas_ctx_t *ctx);

/* that of the first pass of all that the client's request became */
ngx_http_faas_ctx_t *ngx_http_faas_ctx_first(ngx_http_request_t *r);

/*
 * Marks the answer as ours: outcome, cause for Proxy-Status, Retry-After;
 * counts the outcome.  Returns the status to answer with, and leaves it in
 * ctx->status.
 */
ngx_int_t ngx_http_faas_refuse(ngx_http_faas_ctx_t *ctx,
    faas_outcome_e outcome, const char *cause);

/* a header that the client sent, by name in any case; NULL: it did not */
ngx_str_t *ngx_http_faas_header(ngx_http_request_t *r, ngx_str_t *name);

/* the request's outcome is final: counted once, first word wins */
void ngx_http_faas_decide(ngx_http_faas_ctx_t *ctx, faas_outcome_e outcome,
    const char *cause);

/* ctx asks for slots of the version that is current for f now; INDEX_NONE
   while there is none */
void ngx_http_faas_bind(ngx_http_faas_ctx_t *ctx, faas_function_t *f);

/* this worker's cell for a function */
faas_cell_t *ngx_http_faas_cell(uint32_t function);

/* a counter or gauge of our own cell: we are its one writer, so a load and a
   store will do */

#define ngx_http_faas_count(field, n)                                         \
    atomic_store_explicit(&(field),                                           \
        atomic_load_explicit(&(field), memory_order_relaxed) + (n),           \
        memory_order_relaxed)

/* monotonic clock, microseconds */
uint64_t ngx_http_faas_now_us(void);


/* ngx_http_faas_invoke.c */

/* $faas_event and its like */
ngx_int_t ngx_http_faas_invoke_add(ngx_conf_t *cf);

/* is the token right?  NGX_OK: caller and callee are set; NGX_DECLINED */
ngx_int_t ngx_http_faas_invoke_caller(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);

/* NGX_OK and depth is set, or the status of a refusal */
ngx_int_t ngx_http_faas_invoke_depth(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);


/* ngx_http_faas_async.c */

char *ngx_http_faas_async(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_faas_async_merge(ngx_conf_t *cf,
    ngx_http_faas_loc_conf_t *prev, ngx_http_faas_loc_conf_t *conf);
ngx_int_t ngx_http_faas_async_check(ngx_conf_t *cf,
    ngx_http_faas_loc_conf_t *flcf);

/* before routing: a request for a call; after it: one to be answered later.
   NGX_OK: ctx is one of _calls now; NGX_DECLINED; the status of a refusal */
ngx_int_t ngx_http_faas_async_find(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx);
ngx_int_t ngx_http_faas_async_accept(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx);


/* ngx_http_faas_router.c */

/*
 * Routes ctx->path by the request's method, or ctx->callee if there is one:
 * fills name, function, params, matched, script_name and path_info.  NGX_OK,
 * NGX_DECLINED (404), NGX_ABORT (405, ctx->allow holds the methods),
 * NGX_ERROR.  The platform's own functions are not found.
 */
ngx_int_t ngx_http_faas_router_match(ngx_http_request_t *r,
    ngx_http_faas_loc_conf_t *flcf, ngx_http_faas_ctx_t *ctx);

/* function index by name; FAAS_INDEX_NONE when there is none */
uint32_t ngx_http_faas_router_name(ngx_str_t *name, uint32_t *generation);


/* ngx_http_faas_admission.c */

ngx_int_t ngx_http_faas_admission_init_worker(ngx_cycle_t *cycle);

/* takes note of what the client says of its deadline */
void ngx_http_faas_admission_deadline(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);

/* precontent: NGX_DECLINED, or the status of a refusal */
ngx_int_t ngx_http_faas_admission_early(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);

/* may ctx, which is admitted, wait?  NGX_OK, or NGX_DECLINED and it is
   refused */
ngx_int_t ngx_http_faas_admission_wait(ngx_http_faas_ctx_t *ctx);

/* milliseconds that ctx may still wait */
uint64_t ngx_http_faas_admission_left_ms(ngx_http_faas_ctx_t *ctx);

/* 1 when its function has no instance, and keeps dying too much for another */
ngx_uint_t ngx_http_faas_admission_is_held(ngx_http_faas_ctx_t *ctx);

/* 1 when the client's deadline has passed */
ngx_uint_t ngx_http_faas_admission_is_late(ngx_http_faas_ctx_t *ctx);

/* refuses ctx, which has waited for as long as it may; NGX_DECLINED */
ngx_int_t ngx_http_faas_admission_late(ngx_http_faas_ctx_t *ctx);

/* seconds, at least 1 */
uint32_t ngx_http_faas_admission_retry_after(ngx_http_faas_ctx_t *ctx);


/* ngx_http_faas_scheduler.c */

/* upstream's init_upstream and peer.init */
ngx_int_t ngx_http_faas_scheduler_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_http_faas_scheduler_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* the request is gone: gives back what its context still holds */
void ngx_http_faas_scheduler_forget(ngx_http_faas_ctx_t *ctx);


/* ngx_http_faas_attempt.c */

/* looks at each answer before the upstream's own process_header does */
void ngx_http_faas_attempt_watch(ngx_http_faas_ctx_t *ctx);

/* was END_REQUEST read, and nothing wrong since? */
ngx_uint_t ngx_http_faas_attempt_is_complete(ngx_http_faas_ctx_t *ctx,
    ngx_connection_t *c, ngx_uint_t state);

/* is the instance done with the request, and has sent its last of it? */
ngx_uint_t ngx_http_faas_attempt_has_ended(ngx_http_faas_ctx_t *ctx);

/* may the handler have run? */
ngx_uint_t ngx_http_faas_attempt_has_started(ngx_http_faas_ctx_t *ctx,
    ngx_connection_t *c);

ngx_uint_t ngx_http_faas_attempt_may_retry(ngx_http_faas_ctx_t *ctx,
    ngx_uint_t started);

/* the outcome, if this attempt was the last */
faas_outcome_e ngx_http_faas_attempt_outcome(ngx_http_faas_ctx_t *ctx,
    ngx_connection_t *c, ngx_uint_t failed);

/* why, for Proxy-Status, and ctx->error; NULL: there is nothing to say */
const char *ngx_http_faas_attempt_cause(ngx_http_faas_ctx_t *ctx,
    faas_outcome_e outcome, ngx_connection_t *c, ngx_uint_t failed);

/* adds the attempt that ends to our cell's totals */
void ngx_http_faas_attempt_count(ngx_http_faas_ctx_t *ctx);


/* ngx_http_faas_queue.c */

ngx_int_t ngx_http_faas_queue_init_worker(ngx_cycle_t *cycle);

/* our eventfd was written, or the supervisor's connection ended: something may
   have become free, or a version gone stale */
void ngx_http_faas_queue_wake(void);

/*
 * Brings function and version of the context up to date, by name if the entry
 * is another's now.  NGX_OK: it is counted as admitted, once; NGX_DECLINED:
 * the refusal is in ctx->status.
 */
ngx_int_t ngx_http_faas_queue_resolve(ngx_http_faas_ctx_t *ctx);

/* the request is not counted as admitted any more */
void ngx_http_faas_queue_depart(ngx_http_faas_ctx_t *ctx);

/* 1 when nobody waits for the function in this worker */
ngx_uint_t ngx_http_faas_queue_is_empty(uint32_t function);

/* an idle slot for ctx: NGX_OK and it holds it, or NGX_BUSY */
ngx_int_t ngx_http_faas_queue_acquire(ngx_http_faas_ctx_t *ctx);

/*
 * Into the FIFO.  When a slot falls to ctx (which may be at once) it holds it
 * and its resume event is posted; likewise when it is to be refused, with
 * ctx->status set; its timer runs out with the queue's budget.
 */
ngx_int_t ngx_http_faas_queue_join(ngx_http_faas_ctx_t *ctx);

/* out of the FIFO, if it was in */
void ngx_http_faas_queue_dequeue(ngx_http_faas_ctx_t *ctx);

/* the slot that ctx held is another's by now, nothing was sent to it */
void ngx_http_faas_queue_lose(ngx_http_faas_ctx_t *ctx);

/* lets go of a slot whose instance is free, for whose turn it is */
void ngx_http_faas_queue_release(ngx_http_faas_ctx_t *ctx);

/* lets go of a slot: IDLE or DRAINING */
void ngx_http_faas_queue_leave(ngx_http_faas_ctx_t *ctx,
    faas_slot_state_e state);


/* ngx_http_faas_connection.c */

/* where a slot listens; made on first use, kept for the worker's life */

typedef struct {
    struct sockaddr_un        sockaddr;
    socklen_t                 socklen;
    ngx_str_t                 name;            /* for logs, upstream_addr */
} ngx_http_faas_address_t;


/* tables sized by the board; from the cycle's pool */
ngx_int_t ngx_http_faas_connection_init_worker(ngx_cycle_t *cycle);

ngx_http_faas_address_t *ngx_http_faas_connection_address(uint32_t slot);

/* the connection kept to this generation of the slot, taken out; or NULL */
ngx_connection_t *ngx_http_faas_connection_take(uint32_t slot,
    uint64_t generation, ngx_log_t *log);

/*
 * Keeps c, just used for the slot, until it is taken or the instance ends.
 * NGX_DECLINED when it cannot be kept: the caller closes it.
 */
ngx_int_t ngx_http_faas_connection_keep(uint32_t slot, uint64_t generation,
    uint32_t version, ngx_connection_t *c);

/*
 * Acquires an idle slot of the version that we keep a connection to, the one
 * used last first.  NGX_OK with slot and word, or NGX_BUSY.
 */
ngx_int_t ngx_http_faas_connection_acquire(uint32_t version, uint32_t *slot,
    uint64_t *word);


/* ngx_http_faas_variables.c */

ngx_int_t ngx_http_faas_variables_add(ngx_conf_t *cf);


/* ngx_http_faas_id.c */

ngx_int_t ngx_http_faas_id_add(ngx_conf_t *cf);

/* postconfiguration: index of $request_id, NGX_ERROR when nobody uses it */
ngx_int_t ngx_http_faas_id_find(ngx_conf_t *cf);


/* ngx_http_faas_filter.c */

ngx_int_t ngx_http_faas_filter_init(ngx_conf_t *cf);


/* ngx_http_faas_answer.c */

/*
 * Of an answer that is ours, when its headers are sent: prepares the body that
 * takes the place of nginx's page.  NGX_OK, also where that page does;
 * NGX_DECLINED: another page is sent, of an error_page.
 */
ngx_int_t ngx_http_faas_answer_make(ngx_http_request_t *r,
    ngx_http_faas_ctx_t *ctx);
ngx_int_t ngx_http_faas_answer_init(ngx_conf_t *cf);


/* ngx_http_faas_status.c */

ngx_int_t ngx_http_faas_status_handler(ngx_http_request_t *r);


#endif /* NGX_HTTP_FAAS_MODULE_H_INCLUDED */
