
/*
 * The scheduler is the peer of the stock FastCGI upstream: peer.get acquires
 * a slot, peer.free ends the attempt.  Between them everything is nginx's.
 *
 * A request's ways through here:
 *
 *   get -> holding -> free                        a slot was idle
 *   get -> waiting -> resume -> holding -> free
 *   get -> waiting -> resume -> refused           free is called on the way
 *   free -> get                                   stock retries
 *
 * The wait is an unfinished connect.  get returns NGX_AGAIN with a
 * placeholder connection: from the request's pool, without a descriptor, but
 * with everything that stock sets on a connection it waits for.  When a slot
 * falls to the request, the real connection takes the placeholder's place and
 * its write event is run, and stock carries on as if a connect had finished.
 * Whatever ends the request meanwhile calls peer.free, because peer.sockaddr
 * is set, and there the placeholder is taken away again: stock must never
 * close a connection without a descriptor.
 */


#include "ngx_http_faas_module.h"


static ngx_int_t ngx_http_faas_scheduler_get(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_faas_scheduler_connect(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx);
static ngx_msec_t ngx_http_faas_scheduler_budget_ms(ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_scheduler_short(ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_scheduler_wait(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_scheduler_placeholder(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_scheduler_unplace(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_scheduler_resume_handler(ngx_event_t *ev);
static void ngx_http_faas_scheduler_go(ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_scheduler_timer_handler(ngx_event_t *ev);
static void ngx_http_faas_scheduler_refused(ngx_http_faas_ctx_t *ctx);
static ngx_uint_t ngx_http_faas_scheduler_stale(ngx_http_request_t *r);
static void ngx_http_faas_scheduler_expire(ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_scheduler_condemn(ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_scheduler_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ngx_http_faas_scheduler_cut(ngx_http_request_t *r,
    faas_outcome_e outcome);


ngx_int_t
ngx_http_faas_scheduler_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_http_faas_scheduler_init_peer;

    return NGX_OK;
}


ngx_int_t
ngx_http_faas_scheduler_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t  *u;
    ngx_http_faas_ctx_t  *ctx;

    ctx = ngx_http_faas_ctx(r);

    if (ctx == NULL || ctx->function == FAAS_INDEX_NONE
        || ngx_http_faas_host.worker == FAAS_WORKER_NONE)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "faas: request came to the upstream \"%V\" without "
                      "a function", &us->host);
        return NGX_ERROR;
    }

    u = r->upstream;

    u->peer.data = ctx;
    u->peer.get = ngx_http_faas_scheduler_get;
    u->peer.free = ngx_http_faas_scheduler_free;
    u->peer.tries = 1;

    /* of fastcgi_bind, meant for others: no unix socket has such an address */

    u->peer.local = NULL;

    /*
     * A function may answer while it still reads.  Without this, stock stops
     * sending the request body when the response header has come.  The
     * location is ours, and the value the same for each of its requests.
     */

    u->conf->preserve_output = 1;

    ngx_http_faas_attempt_watch(ctx);

#if (NGX_HTTP_CACHE)

    /* what _calls says is no answer to who comes next with this key */

    if (ctx->is_calls) {
        u->cacheable = 0;
    }

#endif

    return ctx->limits.accel ? ngx_http_faas_accel_allow(r) : NGX_OK;
}


static ngx_int_t
ngx_http_faas_scheduler_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_faas_ctx_t *ctx = data;

    ngx_int_t     rc;
    faas_cell_t  *cell;

    pc->cached = 0;
    pc->connection = NULL;

    if (ctx->connecting) {
        /* called from ngx_http_faas_scheduler_connect() */
        return NGX_OK;
    }

    ctx->arrived_us = ngx_http_faas_now_us();

    if (ngx_http_faas_queue_resolve(ctx) != NGX_OK) {
        return ngx_http_faas_scheduler_wait(pc, ctx);
    }

    if (ngx_http_faas_admission_is_late(ctx)) {

        /* the upload took all the time, or the attempts before this one */

        (void) ngx_http_faas_admission_late(ctx);
        return ngx_http_faas_scheduler_wait(pc, ctx);
    }

    if (ngx_http_faas_queue_is_empty(ctx->function)
        && ngx_http_faas_queue_acquire(ctx) == NGX_OK)
    {
        rc = ngx_http_faas_scheduler_connect(pc, ctx);

        if (rc == NGX_OK) {
            cell = ngx_http_faas_cell(ctx->function);
            ngx_http_faas_count(cell->warm, 1);

            /* connected: for stock it is one that was kept */
            return NGX_DONE;
        }

        if (rc == NGX_DECLINED) {
            return NGX_DECLINED;
        }

        if (rc == NGX_ERROR) {
            ngx_http_faas_scheduler_short(ctx);
        }
    }

    return ngx_http_faas_scheduler_wait(pc, ctx);
}


/*
 * Connects to the slot that ctx holds, by the connection kept or a new one,
 * and begins the execution budget.  NGX_OK; NGX_BUSY when the slot was lost
 * meanwhile (ctx does not hold it any more); NGX_DECLINED when nobody listens
 * there; NGX_ERROR when we lack descriptors or memory.
 *
 * A new connection must not reach the slot's next instance.  When an instance
 * has ended, the supervisor 1. makes the word FREE, 2. closes what is in the
 * socket's backlog, 3. forks the next.  We 1. connect, 2. read the word: if
 * it is still ours, we were in the backlog before it was emptied, so either
 * this instance takes the connection, or it is closed.
 */

static ngx_int_t
ngx_http_faas_scheduler_connect(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_connection_t         *c;
    ngx_http_faas_address_t  *a;

    a = ngx_http_faas_connection_address(ctx->slot);

    if (a == NULL) {
        return NGX_ERROR;
    }

    pc->sockaddr = (struct sockaddr *) &a->sockaddr;
    pc->socklen = a->socklen;
    pc->name = &a->name;

    c = ngx_http_faas_connection_take(ctx->slot,
                                      faas_slot_generation(ctx->word),
                                      pc->log);
    if (c != NULL) {
        pc->connection = c;
        pc->cached = 1;

    } else {
        ctx->connecting = 1;
        rc = ngx_event_connect_peer(pc);
        ctx->connecting = 0;

        if (rc != NGX_OK) {
            /* a unix socket connects at once or not at all */
            return rc == NGX_ERROR ? NGX_ERROR : NGX_DECLINED;
        }

        c = pc->connection;

        if (atomic_load(&faas_scoreboard_slot(ngx_http_faas_host.board,
                                              ctx->slot)->word)
            != ctx->word)
        {
            ngx_close_connection(c);
            pc->connection = NULL;

            ngx_http_faas_queue_lose(ctx);

            return NGX_BUSY;
        }
    }

    ctx->timer.handler = ngx_http_faas_scheduler_timer_handler;
    ctx->timer.data = ctx;
    ctx->timer.log = ctx->request->connection->log;

    ngx_add_timer(&ctx->timer, ngx_http_faas_scheduler_budget_ms(ctx));

    return NGX_OK;
}


static ngx_msec_t
ngx_http_faas_scheduler_budget_ms(ngx_http_faas_ctx_t *ctx)
{
    uint64_t  left_ms;

    ctx->by_deadline = 0;

    if (ctx->deadline_us == 0) {
        return ctx->limits.timeout_ms;
    }

    left_ms = ctx->deadline_us > ctx->handed_us
              ? (ctx->deadline_us - ctx->handed_us + 999) / 1000 : 1;

    if (left_ms >= ctx->limits.timeout_ms) {
        return ctx->limits.timeout_ms;
    }

    ctx->by_deadline = 1;

    return (ngx_msec_t) left_ms;
}


/* no descriptor or no memory for a connection, which waiting would not change:
   the slot that ctx holds is for somebody else */

static void
ngx_http_faas_scheduler_short(ngx_http_faas_ctx_t *ctx)
{
    ngx_http_faas_attempt_count(ctx);
    ngx_http_faas_queue_release(ctx);

    (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                "no connection to an instance can be made");
}


/* joins the FIFO, or is to be refused: either way goes on in an event */

static ngx_int_t
ngx_http_faas_scheduler_wait(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx)
{
    if (ngx_http_faas_scheduler_placeholder(pc, ctx) != NGX_OK) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "no memory to wait");
        return NGX_ERROR;
    }

    if (ctx->status) {
        return NGX_AGAIN;
    }

    if (ngx_http_faas_admission_wait(ctx) != NGX_OK) {
        return NGX_AGAIN;
    }

    if (ngx_http_faas_queue_join(ctx) != NGX_OK) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "no memory to wait");
    }

    return NGX_AGAIN;
}


/*
 * A connection that is not one: what stock sets on it while it waits for a
 * connect is copied to the real one later.
 */

static ngx_int_t
ngx_http_faas_scheduler_placeholder(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx)
{
    ngx_log_t         *log;
    ngx_event_t       *rev, *wev;
    ngx_connection_t  *c;

    static struct sockaddr  nowhere = { AF_UNIX, { 0 } };
    static ngx_str_t        name = ngx_string("faas:queue");

    log = ctx->request->connection->log;

    c = ctx->placeholder;

    if (c == NULL) {
        c = ngx_palloc(ctx->request->pool, sizeof(ngx_connection_t)
                                           + 2 * sizeof(ngx_event_t));
        if (c == NULL) {
            return NGX_ERROR;
        }

        ctx->placeholder = c;
    }

    ngx_memzero(c, sizeof(ngx_connection_t) + 2 * sizeof(ngx_event_t));

    rev = (ngx_event_t *) (c + 1);
    wev = rev + 1;

    c->fd = (ngx_socket_t) -1;
    c->read = rev;
    c->write = wev;
    c->log = log;
    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;
    c->log_error = pc->log_error;
    c->sendfile = 1;

    rev->data = c;
    rev->log = log;
    wev->data = c;
    wev->log = log;
    wev->write = 1;

    pc->connection = c;
    pc->sockaddr = &nowhere;
    pc->socklen = sizeof(nowhere);
    pc->name = &name;

    ctx->timer.handler = ngx_http_faas_scheduler_timer_handler;
    ctx->timer.data = ctx;
    ctx->timer.log = log;

    ctx->resume.handler = ngx_http_faas_scheduler_resume_handler;
    ctx->resume.data = ctx;
    ctx->resume.log = log;

    /* stock will arm its connect timeout on the placeholder: a posted event
       runs after that, and takes it off again */

    ngx_post_event(&ctx->resume, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_http_faas_scheduler_unplace(ngx_peer_connection_t *pc,
    ngx_http_faas_ctx_t *ctx)
{
    ngx_connection_t  *c;

    c = ctx->placeholder;

    if (c == NULL || pc->connection != c) {
        return;
    }

    pc->connection = NULL;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->pool) {
        ngx_destroy_pool(c->pool);
        c->pool = NULL;
    }
}


static void
ngx_http_faas_scheduler_resume_handler(ngx_event_t *ev)
{
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_faas_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (ctx->placeholder && ctx->placeholder->write->timer_set) {
        ngx_del_timer(ctx->placeholder->write);
    }

    if (ctx->status) {
        ngx_http_faas_scheduler_refused(ctx);

    } else if (ctx->holding) {
        ngx_http_faas_scheduler_go(ctx);

    } else {
        /* it waits on */
        return;
    }

    ngx_http_run_posted_requests(c);
}


/* a slot fell to a waiting request: the connect "finishes" */

static void
ngx_http_faas_scheduler_go(ngx_http_faas_ctx_t *ctx)
{
    ngx_int_t             rc;
    ngx_connection_t     *c, *placeholder;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = ctx->request;
    u = r->upstream;
    placeholder = ctx->placeholder;

    if (ngx_http_faas_admission_is_late(ctx)) {
        ngx_http_faas_attempt_count(ctx);
        ngx_http_faas_queue_release(ctx);
        (void) ngx_http_faas_admission_late(ctx);
        ngx_http_faas_scheduler_refused(ctx);
        return;
    }

    rc = ngx_http_faas_scheduler_connect(&u->peer, ctx);

    if (rc == NGX_BUSY) {
        u->peer.connection = placeholder;

        if (ngx_http_faas_queue_join(ctx) != NGX_OK) {
            (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                        "no memory to wait");
            ngx_http_faas_scheduler_refused(ctx);
        }

        return;
    }

    if (rc == NGX_ERROR) {
        ngx_http_faas_scheduler_short(ctx);
        u->peer.connection = placeholder;
        ngx_http_faas_scheduler_refused(ctx);
        return;
    }

    if (rc != NGX_OK) {

        /* a socket that is not there: stock finds that out on the
           placeholder, as a connect that failed */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "faas: no connection to slot %uD of function \"%V\"",
                      ctx->slot, &ctx->name);

        u->peer.connection = placeholder;
        placeholder->write->handler(placeholder->write);
        return;
    }

    c = u->peer.connection;

    c->requests++;
    c->data = placeholder->data;
    c->read->handler = placeholder->read->handler;
    c->write->handler = placeholder->write->handler;

    c->sendfile &= r->connection->sendfile;
    u->output.sendfile = c->sendfile;
    c->tcp_nopush = placeholder->tcp_nopush;

    if (c->pool == NULL) {

        /* the one that stock made for the placeholder is as good as new */

        c->pool = placeholder->pool;
        placeholder->pool = NULL;
    }

    c->log = r->connection->log;
    c->pool->log = c->log;
    c->read->log = c->log;
    c->write->log = c->log;

    u->writer.connection = c;
    u->state->peer = u->peer.name;
    u->start_time = ngx_current_msec;

    u->peer.connection = placeholder;
    ngx_http_faas_scheduler_unplace(&u->peer, ctx);
    u->peer.connection = c;

    c->write->handler(c->write);
}


static void
ngx_http_faas_scheduler_timer_handler(ngx_event_t *ev)
{
    uint64_t              left_ms;
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_faas_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (ctx->waiting) {
        left_ms = ngx_http_faas_admission_left_ms(ctx);

        if (left_ms) {

            /* set by a clock that stood since the loop's turn began */

            ngx_add_timer(ev, (ngx_msec_t) left_ms);
            return;
        }

        ngx_http_faas_queue_dequeue(ctx);
        (void) ngx_http_faas_admission_late(ctx);
        ngx_http_faas_scheduler_refused(ctx);

    } else if (ctx->holding) {
        ngx_http_faas_scheduler_expire(ctx);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * Ends a request that never got a slot: the upstream's own cleanup, then the
 * status.  Where a stale cache entry may be served instead, the "connect"
 * times out and stock serves it.
 */

static void
ngx_http_faas_scheduler_refused(ngx_http_faas_ctx_t *ctx)
{
    ngx_int_t             status;
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = ctx->request;
    u = r->upstream;
    status = ctx->status;

    if (ctx->resume.posted) {
        ngx_delete_posted_event(&ctx->resume);
    }

    if (u == NULL || u->cleanup == NULL) {
        return;
    }

    if (ngx_http_faas_scheduler_stale(r)) {
        c = ctx->placeholder;
        u->peer.tries = 0;
        c->write->timedout = 1;
        c->write->handler(c->write);
        return;
    }

    r->main->count++;

    (*u->cleanup)(r);

    ngx_http_finalize_request(r, status);
}


static ngx_uint_t
ngx_http_faas_scheduler_stale(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)
    ngx_http_upstream_t  *u;

    u = r->upstream;

    return r->cache != NULL
           && u->cache_status == NGX_HTTP_CACHE_EXPIRED
           && ((u->conf->cache_use_stale & NGX_HTTP_UPSTREAM_FT_TIMEOUT)
               || r->cache->stale_error);
#else
    return 0;
#endif
}


/*
 * The execution budget is used up: the supervisor kills, stock answers.  When
 * it was only the client's deadline, the instance, which knows of it, may end
 * what it does within the function's own timeout: no client can have instances
 * killed by asking for too little.
 */

static void
ngx_http_faas_scheduler_expire(ngx_http_faas_ctx_t *ctx)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;
    c = u->peer.connection;

    ctx->over_budget = 1;

    if (ctx->by_deadline) {
        ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                      "faas: client's deadline passed while function \"%V\" "
                      "version %s slot %uD pid %P ran", &ctx->name,
                      ctx->version_id, ctx->slot, ctx->instance_pid);

    } else {
        ngx_http_faas_scheduler_condemn(ctx);
    }

    if (c == NULL) {
        return;
    }

    /* a limit_rate delay would make stock take the timeout for its end */

    if (c->read->delayed) {
        c->read->delayed = 0;

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }
    }

    c->read->timedout = 1;
    c->read->handler(c->read);
}


static void
ngx_http_faas_scheduler_condemn(ngx_http_faas_ctx_t *ctx)
{
    if (faas_slot_change(ngx_http_faas_host.board, ctx->slot, ctx->word,
                         FAAS_SLOT_CONDEMNED, 0)
        == FAAS_OK)
    {
        ngx_http_faas_host_kick();
    }

    ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                  "faas: function \"%V\" version %s slot %uD pid %P ran over "
                  "its budget of %uD ms", &ctx->name, ctx->version_id,
                  ctx->slot, ctx->instance_pid, ctx->limits.timeout_ms);
}


static void
ngx_http_faas_scheduler_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_faas_ctx_t *ctx = data;

    ngx_uint_t            failed, started;
    faas_outcome_e        outcome;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;
    c = pc->connection;

    /* stock adds a try of its own for cached connections: we decide */
    pc->cached = 0;
    pc->tries = 0;

    if (ctx->resume.posted) {
        ngx_delete_posted_event(&ctx->resume);
    }

    if (!ctx->holding) {

        /* refused, or the client went away while it waited */

        ngx_http_faas_queue_dequeue(ctx);

        if (ctx->timer.timer_set) {
            ngx_del_timer(&ctx->timer);
        }

        ngx_http_faas_scheduler_unplace(pc, ctx);
        ngx_http_faas_decide(ctx, FAAS_OUTCOME_CANCELLED, "client went away");
        ngx_http_faas_queue_depart(ctx);
        return;
    }

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    ngx_http_faas_attempt_count(ctx);

    if (c != NULL && c == ctx->placeholder) {

        /* there was no connection to be had to the slot */

        ngx_http_faas_scheduler_unplace(pc, ctx);
        c = NULL;
    }

    if (ngx_http_faas_attempt_is_complete(ctx, c, state)) {

        ngx_http_faas_decide(ctx, ngx_http_faas_attempt_outcome(ctx, c, 0),
                             NULL);
        ctx->maybe_started = 1;

        if (ctx->spent || !ngx_http_faas_attempt_has_ended(ctx)) {
            ngx_http_faas_queue_leave(ctx, FAAS_SLOT_DRAINING);

        } else {
            if (u->request_body_sent
                && !c->read->eof && !c->read->error && !c->write->error
                && ngx_http_faas_connection_keep(ctx->slot,
                                             faas_slot_generation(ctx->word),
                                             ctx->version, c)
                   == NGX_OK)
            {
                pc->connection = NULL;
            }

            ngx_http_faas_queue_release(ctx);
        }

        ngx_http_faas_queue_depart(ctx);
        return;
    }

    failed = state & NGX_PEER_FAILED;
    started = ngx_http_faas_attempt_has_started(ctx, c);
    outcome = ngx_http_faas_attempt_outcome(ctx, c, failed);

    ctx->maybe_started |= started;

    if (!u->request_sent) {
        ngx_http_faas_queue_release(ctx);

    } else {
        ngx_http_faas_queue_leave(ctx, FAAS_SLOT_DRAINING);
    }

    if (failed && ngx_http_faas_attempt_may_retry(ctx, started)) {

        if (started) {
            ctx->retried = 1;
        }

        ngx_http_faas_count(ngx_http_faas_cell(ctx->function)->retries, 1);

        pc->tries = 1;
        return;
    }

    ngx_http_faas_scheduler_cut(ctx->request, outcome);

    ngx_http_faas_decide(ctx, outcome,
                         ngx_http_faas_attempt_cause(ctx, outcome, c,
                                                     failed));

    ngx_http_faas_queue_depart(ctx);
}


/*
 * The answer has ended in its middle.  Without buffering, stock takes the end
 * of a lost instance's connection for the end of the answer, whole or not; the
 * client must be able to tell, so its connection is ended without the last
 * chunk.  Who asked for an answer in memory looks at its status alone.
 */

static void
ngx_http_faas_scheduler_cut(ngx_http_request_t *r, faas_outcome_e outcome)
{
    ngx_uint_t  status;

    switch (outcome) {

    case FAAS_OUTCOME_TIMEOUT:
        status = NGX_HTTP_GATEWAY_TIME_OUT;
        break;

    case FAAS_OUTCOME_CRASH:
    case FAAS_OUTCOME_OOM:
        status = NGX_HTTP_BAD_GATEWAY;
        break;

    default:
        return;
    }

    if (r->subrequest_in_memory) {
        r->headers_out.status = status;
        return;
    }

    if (outcome == FAAS_OUTCOME_TIMEOUT
        || !r->upstream->header_sent
        || r->upstream->buffering)
    {
        return;
    }

    r->keepalive = 0;
    r->connection->error = 1;

    if (r->upstream->pipe) {
        r->upstream->pipe->downstream_error = 1;
    }
}


void
ngx_http_faas_scheduler_forget(ngx_http_faas_ctx_t *ctx)
{
    if (ctx->resume.posted) {
        ngx_delete_posted_event(&ctx->resume);
    }

    ngx_http_faas_queue_dequeue(ctx);

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    if (ctx->holding) {
        ngx_http_faas_queue_leave(ctx, FAAS_SLOT_DRAINING);
    }

    if (ctx->admitted) {
        ngx_http_faas_decide(ctx, FAAS_OUTCOME_CANCELLED, "client went away");
        ngx_http_faas_queue_depart(ctx);
    }
}
