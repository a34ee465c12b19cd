
/*
 * An nginx worker of the model: the real queue (ngx_http_faas_queue.c, with
 * faas_slot.c and faas_scoreboard.c below it), and in place of nginx and of
 * the scheduler, which is nginx's upstream peer, the same calls in the same
 * order.  Next to each of them stands whom it stands for.
 */


#include "ngx_http_faas_module.h"

#include "model.h"


enum {
    ARRIVE = 0,                              /* + request */
    POSTED = ARRIVE + MODEL_REQUESTS,
    WAKE,
    CLOSED,
    COMPLETE,                                /* + request, and so on */
    LOST = COMPLETE + MODEL_REQUESTS,
    ABORT = LOST + MODEL_REQUESTS,
    TIMEOUT = ABORT + MODEL_REQUESTS,
    EVENTS = TIMEOUT + MODEL_REQUESTS
};


typedef struct {
    ngx_http_faas_ctx_t       ctx;
    uint8_t                   live;          /* between ARRIVE and its end */
    uint8_t                   done;
    uint8_t                   connected;     /* it was sent to ctx.slot */
} request_t;


static void begin(request_t *r);
static void get(request_t *r);
static ngx_int_t connect_slot(request_t *r);
static void wait_in_line(request_t *r);
static void posted(void);
static void resume(request_t *r);
static void complete(request_t *r);
static void lost(request_t *r);
static void leave(request_t *r);
static void end(request_t *r);
static void timed_out(request_t *r);
static model_connection_t *connection(request_t *r);


void                 (*model_point)(const volatile void *address);

ngx_http_faas_host_t   ngx_http_faas_host;
ngx_queue_t            ngx_posted_events;
ngx_rbtree_t           ngx_event_timer_rbtree;
volatile ngx_msec_t    ngx_current_msec;

static model_t     model;
static uint32_t    self;
static request_t   requests[MODEL_REQUESTS];
static uint32_t    kept[MODEL_PLACES];       /* generations, 0: none */
static ngx_log_t   quiet;
static u_char      memory[256];
static size_t      used;


/* -- what the real sources call ------------------------------------------- */


void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    (void) tree;
    (void) node;
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    (void) tree;
    (void) node;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;
    (void) fmt;
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    (void) pool;

    size = (size + 15) & ~(size_t) 15;

    if (size > sizeof(memory) - used) {
        model.fail("the worker's memory is used up");
    }

    p = memory + used;
    used += size;

    return p;
}


void
ngx_http_faas_host_wake(uint32_t worker)
{
    model_point(NULL);

    if (worker < MODEL_WORKERS) {
        model.world->wake[worker] = 1;
    }
}


void
ngx_http_faas_host_kick(void)
{
    model_point(NULL);

    model.world->kick++;
}


ngx_uint_t
ngx_http_faas_host_is_ending(void)
{
    return 0;
}


/* ngx_http_faas_admission.c: times do not pass here, and nothing is held
   back; what is too much is refused in wait_in_line() */

uint64_t
ngx_http_faas_admission_left_ms(ngx_http_faas_ctx_t *ctx)
{
    (void) ctx;

    return 1000;
}


ngx_uint_t
ngx_http_faas_admission_is_held(ngx_http_faas_ctx_t *ctx)
{
    (void) ctx;

    return 0;
}


uint64_t
ngx_http_faas_now_us(void)
{
    /* far more than NGX_HTTP_FAAS_SLACK between two arrivals */

    return (1 + model.world->clock) * UINT64_C(1000000);
}


faas_cell_t *
ngx_http_faas_cell(uint32_t function)
{
    return faas_scoreboard_cell(model.board, function,
                                ngx_http_faas_host.worker);
}


uint32_t
ngx_http_faas_router_name(ngx_str_t *name, uint32_t *generation)
{
    (void) name;
    (void) generation;

    return FAAS_INDEX_NONE;
}


ngx_int_t
ngx_http_faas_refuse(ngx_http_faas_ctx_t *ctx, faas_outcome_e outcome,
    const char *cause)
{
    (void) outcome;
    (void) cause;

    ctx->status = NGX_HTTP_SERVICE_UNAVAILABLE;

    return ctx->status;
}


/* what the real one does, without the version's id */

void
ngx_http_faas_bind(ngx_http_faas_ctx_t *ctx, faas_function_t *f)
{
    uint32_t  current;

    current = atomic_load(&f->current);

    ctx->version = current < model.board->versions ? current
                                                   : FAAS_INDEX_NONE;
}


/* ngx_http_faas_connection.c: a slot that we keep a connection to */

ngx_int_t
ngx_http_faas_connection_acquire(uint32_t version, uint32_t *slot,
    uint64_t *word)
{
    uint32_t  i, *k;
    uint64_t  w;

    for (i = 0; i < MODEL_SLOTS; i++) {

        *slot = model_slot(version, i);
        k = &kept[model_index(*slot)];

        if (*k == 0) {
            continue;
        }

        w = atomic_load(&faas_scoreboard_slot(model.board, *slot)->word);

        if (faas_slot_generation(w) != *k) {
            *k = 0;
            continue;
        }

        if (faas_slot_state(w) != FAAS_SLOT_IDLE) {
            continue;
        }

        if (faas_slot_change(model.board, *slot, w, FAAS_SLOT_BUSY,
                             ngx_http_faas_host.worker)
            == FAAS_OK)
        {
            *word = faas_slot_word(FAAS_SLOT_BUSY, ngx_http_faas_host.worker,
                                   faas_slot_generation(w));
            return NGX_OK;
        }
    }

    return NGX_BUSY;
}


/* -- events ---------------------------------------------------------------- */


static void
start(const model_t *m, uint32_t number)
{
    uint32_t     i;
    ngx_cycle_t  cycle;

    model = *m;
    model_point = model.point;
    self = number;

    ngx_queue_init(&ngx_posted_events);

    ngx_http_faas_host.board = model.board;
    ngx_http_faas_host.pages = model.pages;
    ngx_http_faas_host.worker = faas_worker_claim(model.board,
                                                  100 + (int32_t) number, 1);

    if (ngx_http_faas_host.worker != number) {
        model.fail("a worker got a record that another has");
    }

    ngx_memzero(&cycle, sizeof(cycle));

    if (ngx_http_faas_queue_init_worker(&cycle) != NGX_OK) {
        model.fail("the queue has no memory");
    }

    for (i = 0; i < MODEL_REQUESTS; i++) {
        requests[i].done = i >= model.scenario->budget.requests[number];
    }
}


static uint32_t
events(void)
{
    uint32_t             i, mask;
    request_t           *r;
    model_connection_t  *c;

    mask = 0;

    if (!ngx_queue_empty(&ngx_posted_events)) {
        mask |= 1u << POSTED;
    }

    if (model.world->wake[self]) {
        mask |= 1u << WAKE;
    }

    if (model.world->closed[self]) {
        mask |= 1u << CLOSED;
    }

    for (i = 0; i < MODEL_REQUESTS; i++) {
        r = &requests[i];
        c = connection(r);

        if (r->done) {
            continue;
        }

        if (!r->live) {

            /* in order, which makes no difference but to the states' number */

            if (i == 0 || requests[i - 1].live || requests[i - 1].done) {
                mask |= 1u << (ARRIVE + i);
            }

            continue;
        }

        if (model.world->left.aborts) {
            mask |= 1u << (ABORT + i);
        }

        if (model.world->left.timeouts && r->ctx.timer.timer_set) {
            mask |= 1u << (TIMEOUT + i);
        }

        if (r->connected && c->answered) {
            mask |= 1u << (COMPLETE + i);

        } else if (r->connected && c->state == MODEL_CLOSED) {
            mask |= 1u << (LOST + i);
        }
    }

    return mask;
}


static const char *
name(uint32_t event)
{
    static const char *const  names[EVENTS] = {
        [ARRIVE] = "request 0 arrives", "request 1 arrives",
        [POSTED] = "posted events", [WAKE] = "woken",
        [CLOSED] = "supervisor's connection ended",
        [COMPLETE] = "answer 0 is complete", "answer 1 is complete",
        [LOST] = "connection 0 is lost", "connection 1 is lost",
        [ABORT] = "client 0 goes away", "client 1 goes away",
        [TIMEOUT] = "timer 0 runs out", "timer 1 runs out"
    };

    return names[event];
}


static void
run(uint32_t event)
{
    if (event == POSTED) {
        posted();

    } else if (event == WAKE) {
        model.world->wake[self] = 0;
        ngx_http_faas_queue_wake();

    } else if (event == CLOSED) {
        model.world->closed[self] = 0;
        ngx_http_faas_queue_wake();

    } else if (event < POSTED) {
        begin(&requests[event - ARRIVE]);

    } else if (event < LOST) {
        complete(&requests[event - COMPLETE]);

    } else if (event < ABORT) {
        lost(&requests[event - LOST]);

    } else if (event < TIMEOUT) {
        model.world->left.aborts--;
        leave(&requests[event - ABORT]);

    } else {
        model.world->left.timeouts--;
        timed_out(&requests[event - TIMEOUT]);
    }
}


/* ngx_http_faas_handler() */

static void
begin(request_t *r)
{
    faas_function_t      *f;
    ngx_http_faas_ctx_t  *ctx;

    f = faas_scoreboard_function(model.board, 0);
    ctx = &r->ctx;

    r->live = 1;

    model.world->clock++;
    model.world->left.requests[self]--;

    ctx->version = FAAS_INDEX_NONE;
    ctx->slot = FAAS_INDEX_NONE;
    ctx->function_generation = atomic_load(&f->generation);

    faas_limits_read(f, &ctx->limits);

    get(r);
}


/* ngx_http_faas_scheduler_get() */

static void
get(request_t *r)
{
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;

    ctx->arrived_us = ngx_http_faas_now_us();

    if (ngx_http_faas_queue_resolve(ctx) != NGX_OK) {
        wait_in_line(r);
        return;
    }

    if (ngx_http_faas_queue_is_empty(ctx->function)
        && ngx_http_faas_queue_acquire(ctx) == NGX_OK
        && connect_slot(r) == NGX_OK)
    {
        return;
    }

    wait_in_line(r);
}


/* ngx_http_faas_scheduler_connect(), and with it the request is sent */

static ngx_int_t
connect_slot(request_t *r)
{
    uint32_t              i, j, *k;
    uint64_t              generation;
    model_instance_t     *instance;
    model_connection_t   *c, *other;
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;
    c = connection(r);
    generation = faas_slot_generation(ctx->word);

    k = &kept[model_index(ctx->slot)];
    instance = &model.world->instance[model_index(ctx->slot)];

    model_point(NULL);

    c->place = (uint8_t) model_index(ctx->slot);
    c->sent = 0;
    c->answered = 0;
    c->begun = 0;
    c->generation = (uint32_t) generation;

    if (*k == generation) {
        c->state = instance->generation == generation && instance->alive
                   ? MODEL_ACCEPTED : MODEL_CLOSED;

    } else {
        c->state = MODEL_IN_BACKLOG;

        if (atomic_load(&faas_scoreboard_slot(model.board, ctx->slot)->word)
            != ctx->word)
        {
            c->state = MODEL_NO_CONNECTION;
            *k = 0;
            ngx_http_faas_queue_lose(ctx);

            return NGX_BUSY;
        }
    }

    *k = 0;

    /* a socket's buffer does not tell whether there is already something */

    for (i = 0; i < MODEL_WORKERS; i++) {
        for (j = 0; j < MODEL_REQUESTS; j++) {
            other = &model.world->connection[i][j];

            if (other != c && other->sent && !other->answered
                && (other->state == MODEL_IN_BACKLOG
                    || other->state == MODEL_ACCEPTED)
                && other->place == c->place
                && other->generation == c->generation)
            {
                model.fail("an instance got a second request");
            }
        }
    }

    c->sent = 1;
    r->connected = 1;

    ngx_add_timer(&ctx->timer, 1);

    return NGX_OK;
}


/* ngx_http_faas_scheduler_wait(), with what it calls */

static void
wait_in_line(request_t *r)
{
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;

    ctx->resume.data = r;
    ctx->resume.log = &quiet;
    ctx->timer.log = &quiet;

    ngx_post_event(&ctx->resume, &ngx_posted_events);

    if (ctx->status) {
        return;
    }

    if (ctx->attempts == 0
        && faas_function_admitted(model.board, ctx->function)
           > ctx->limits.max + ctx->limits.queue)
    {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_QUEUE_FULL, "");
        return;
    }

    if (ngx_http_faas_queue_join(ctx) != NGX_OK) {
        model.fail("no memory to wait");
    }
}


/* ngx_event_process_posted() */

static void
posted(void)
{
    ngx_event_t  *ev;

    while (!ngx_queue_empty(&ngx_posted_events)) {
        ev = ngx_queue_data(ngx_queue_head(&ngx_posted_events), ngx_event_t,
                            queue);

        ngx_delete_posted_event(ev);
        resume(ev->data);
    }
}


/* ngx_http_faas_scheduler_resume_handler() */

static void
resume(request_t *r)
{
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;

    if (ctx->status) {
        leave(r);

    } else if (ctx->holding && connect_slot(r) != NGX_OK
               && ngx_http_faas_queue_join(ctx) != NGX_OK)
    {
        model.fail("no memory to wait");
    }
}


/* ngx_http_faas_scheduler_free(), END_REQUEST was read */

static void
complete(request_t *r)
{
    uint32_t              slot;
    uint64_t              generation;
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;
    slot = ctx->slot;
    generation = faas_slot_generation(ctx->word);

    ngx_del_timer(&ctx->timer);

    if (ctx->spent) {
        ngx_http_faas_queue_leave(ctx, FAAS_SLOT_DRAINING);

    } else {

        /* ngx_http_faas_connection_keep() */

        kept[model_index(slot)] = (uint32_t) generation;

        ngx_http_faas_queue_release(ctx);
    }

    end(r);
}


/* the same, after the connection broke: may it be tried again? */

static void
lost(request_t *r)
{
    uint8_t               begun;
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;
    begun = connection(r)->begun;

    ngx_del_timer(&ctx->timer);

    ngx_http_faas_queue_leave(ctx, FAAS_SLOT_DRAINING);

    ngx_memzero(connection(r), sizeof(model_connection_t));
    r->connected = 0;

    if (begun) {
        end(r);
        return;
    }

    get(r);
}


/* the same: refused, or the client went away */

static void
leave(request_t *r)
{
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;

    if (ctx->resume.posted) {
        ngx_delete_posted_event(&ctx->resume);
    }

    if (!ctx->holding) {
        ngx_http_faas_queue_dequeue(ctx);

    } else if (!r->connected) {
        ngx_http_faas_queue_release(ctx);

    } else {
        ngx_http_faas_queue_leave(ctx, FAAS_SLOT_DRAINING);
    }

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    end(r);
}


static void
end(request_t *r)
{
    ngx_http_faas_queue_depart(&r->ctx);

    ngx_memzero(connection(r), sizeof(model_connection_t));
    ngx_memzero(r, sizeof(request_t));
    r->done = 1;
}


/* ngx_http_faas_scheduler_timer_handler() */

static void
timed_out(request_t *r)
{
    ngx_http_faas_ctx_t  *ctx;

    ctx = &r->ctx;
    ctx->timer.timer_set = 0;

    if (ctx->waiting) {
        ngx_http_faas_queue_dequeue(ctx);
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_QUEUE_TIMEOUT, "");

    } else if (ctx->holding) {

        /* ngx_http_faas_scheduler_expire() */

        if (faas_slot_change(model.board, ctx->slot, ctx->word,
                             FAAS_SLOT_CONDEMNED, 0)
            == FAAS_OK)
        {
            ngx_http_faas_host_kick();
        }
    }

    leave(r);
}


static model_connection_t *
connection(request_t *r)
{
    return &model.world->connection[self][r - requests];
}


/* -- what has to hold ------------------------------------------------------ */


static const char *
check(void)
{
    uint32_t          i, waiting, admitted;
    uint64_t          bit;
    faas_cell_t      *cell;
    faas_function_t  *f;

    waiting = 0;
    admitted = 0;

    for (i = 0; i < MODEL_REQUESTS; i++) {
        waiting += requests[i].ctx.waiting;
        admitted += requests[i].ctx.admitted;

        if (requests[i].live && !requests[i].ctx.waiting
            && !requests[i].connected && !requests[i].ctx.resume.posted)
        {
            return "a request is nowhere";
        }

        if (requests[i].ctx.waiting && !requests[i].ctx.timer.timer_set) {
            return "a request waits without a timer";
        }
    }

    cell = ngx_http_faas_cell(0);
    f = faas_scoreboard_function(model.board, 0);
    bit = UINT64_C(1) << self;

    if (atomic_load_explicit(&cell->waiting, memory_order_relaxed)
        != waiting)
    {
        return "the count of those that wait is wrong";
    }

    if (atomic_load_explicit(&cell->admitted, memory_order_relaxed)
        != admitted)
    {
        return "the count of those admitted is wrong";
    }

    if (!(atomic_load_explicit(&f->waiting_mask[0], memory_order_relaxed)
          & bit)
        != !waiting)
    {
        return "the mask of those that wait is wrong";
    }

    if (!atomic_load_explicit(&cell->oldest_ms, memory_order_relaxed)
        != !waiting)
    {
        return "the time of the oldest that waits is wrong";
    }

    return NULL;
}


static const char *
finished(void)
{
    uint32_t  i;

    for (i = 0; i < MODEL_REQUESTS; i++) {
        if (requests[i].live) {
            return requests[i].ctx.waiting ? "a request waits for ever"
                                           : "a request was not ended";
        }
    }

    return NULL;
}


static void
forget(void)
{
    uint32_t              i;
    ngx_http_faas_ctx_t  *ctx;

    for (i = 0; i < MODEL_REQUESTS; i++) {
        ctx = &requests[i].ctx;

        /* who loses what it holds goes on waiting from then */

        if (!ctx->holding) {
            ctx->handed_us = 0;
        }

        ctx->queue_us = 0;
        ctx->timer.timer.key = 0;
    }
}


static uint32_t
holds(uint32_t slot, uint64_t generation)
{
    uint32_t  i, n;

    n = 0;

    for (i = 0; i < MODEL_REQUESTS; i++) {
        n += requests[i].ctx.holding && requests[i].ctx.slot == slot
             && faas_slot_generation(requests[i].ctx.word) == generation;
    }

    return n;
}


__attribute__((visibility("default")))
model_process_t  model_process = {
    .start = start,
    .events = events,
    .optional = ((1u << MODEL_REQUESTS) - 1) << ARRIVE
                | ((1u << MODEL_REQUESTS) - 1) << ABORT
                | ((1u << MODEL_REQUESTS) - 1) << TIMEOUT,
    .name = name,
    .run = run,
    .check = check,
    .finished = finished,
    .forget = forget,
    .holds = holds
};
