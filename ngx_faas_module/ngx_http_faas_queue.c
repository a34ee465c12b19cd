
/*
 * Slots and who gets them: acquiring, waiting in line, handing over, waking.
 *
 * One FIFO for each function, in this worker.  A newcomer takes a slot only
 * when the FIFO is empty.  Who releases a slot hands it to the worker whose
 * first waiter has waited longest, if that is by more than SLACK: within it,
 * a wake-up across CPUs costs more than the order is worth.
 *
 * Nobody's handlers are run on somebody else's stack: a slot that falls to a
 * waiter is marked as held by it, and its resume event is posted.
 */


#include "ngx_http_faas_module.h"


/* milliseconds by which another worker's waiter must have come earlier */
#define NGX_HTTP_FAAS_SLACK  2


/*
 * This worker's queue for one function.  Made when a request first waits for
 * it; writer: this worker.
 */

typedef struct {
    ngx_queue_t               waiting;     /* of ngx_http_faas_ctx_t */
    ngx_queue_t               link;        /* in ngx_http_faas_fifos */
    uint32_t                  function;
    uint32_t                  version;     /* that slots were last sought of */
    uint32_t                  previous;    /* the one before */
} ngx_http_faas_fifo_t;


static void ngx_http_faas_queue_found(faas_scoreboard_t *sb, uint32_t slot);
static void ngx_http_faas_queue_serve(ngx_http_faas_fifo_t *fifo);
static ngx_uint_t ngx_http_faas_queue_give(ngx_http_faas_fifo_t *fifo,
    uint32_t version, uint32_t slot, uint64_t word);
static ngx_uint_t ngx_http_faas_queue_is_lost(ngx_http_faas_fifo_t *fifo);
static void ngx_http_faas_queue_join_again(ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_queue_pass_on(ngx_http_faas_fifo_t *fifo,
    uint32_t version);
static void ngx_http_faas_queue_admit(ngx_http_faas_ctx_t *ctx);
static ngx_int_t ngx_http_faas_queue_take(uint32_t version, uint32_t *slot,
    uint64_t *word);
static void ngx_http_faas_queue_hold(ngx_http_faas_ctx_t *ctx, uint32_t slot,
    uint64_t word);
static void ngx_http_faas_queue_put(uint32_t function, uint32_t slot,
    uint64_t word, faas_slot_state_e state);
static ngx_http_faas_fifo_t *ngx_http_faas_queue_fifo(uint32_t function);
static void ngx_http_faas_queue_enqueue(ngx_http_faas_fifo_t *fifo,
    ngx_http_faas_ctx_t *ctx);
static void ngx_http_faas_queue_publish(ngx_http_faas_fifo_t *fifo);


static ngx_http_faas_fifo_t  **ngx_http_faas_by_function;
static ngx_queue_t             ngx_http_faas_fifos;
static ngx_pool_t             *ngx_http_faas_queue_pool;


ngx_int_t
ngx_http_faas_queue_init_worker(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_http_faas_fifos);
    ngx_http_faas_queue_pool = cycle->pool;
    faas_slot_found = ngx_http_faas_queue_found;

    if (ngx_http_faas_by_function == NULL) {
        ngx_http_faas_by_function =
                                ngx_pcalloc(cycle->pool,
                                            ngx_http_faas_host.board->functions
                                            * sizeof(void *));
    }

    return ngx_http_faas_by_function == NULL ? NGX_ERROR : NGX_OK;
}


/* a slot that others may have missed, because of us: whom it is for looks
   again */

static void
ngx_http_faas_queue_found(faas_scoreboard_t *sb, uint32_t slot)
{
    uint32_t  version, function, other;
    uint64_t  word, ms;

    word = atomic_load(&faas_scoreboard_slot(sb, slot)->word);

    if (faas_slot_state(word) == FAAS_SLOT_HANDED) {
        ngx_http_faas_host_wake(faas_slot_owner(word));
        return;
    }

    version = faas_chunk_version(faas_scoreboard_chunk(sb, slot
                                                           / FAAS_CHUNK_SLOTS));

    if (version >= sb->versions) {
        return;
    }

    function = atomic_load_explicit(&faas_scoreboard_version(sb, version)
                                     ->function, memory_order_relaxed);

    if (function >= sb->functions) {
        return;
    }

    other = faas_worker_longest(sb, function, ngx_http_faas_host.worker, &ms);

    if (other != FAAS_WORKER_NONE) {
        ngx_http_faas_host_wake(other);
    }
}


void
ngx_http_faas_queue_wake(void)
{
    ngx_queue_t           *q;
    ngx_http_faas_fifo_t  *fifo;

    for (q = ngx_queue_head(&ngx_http_faas_fifos);
         q != ngx_queue_sentinel(&ngx_http_faas_fifos);
         q = ngx_queue_next(q))
    {
        fifo = ngx_queue_data(q, ngx_http_faas_fifo_t, link);

        ngx_http_faas_queue_serve(fifo);
    }
}


/*
 * Gives the FIFO what it can get: slots handed to us, then idle ones.  What
 * was handed to us and is not needed goes on to whom it helps, and so does a
 * wake-up that we had no use for.
 */

static void
ngx_http_faas_queue_serve(ngx_http_faas_fifo_t *fifo)
{
    uint32_t            current, slot;
    uint64_t            word;
    faas_function_t    *f;
    faas_scoreboard_t  *sb;

    sb = ngx_http_faas_host.board;
    f = faas_scoreboard_function(sb, fifo->function);

    if (ngx_http_faas_queue_is_lost(fifo)) {
        return;
    }

    current = atomic_load_explicit(&f->current, memory_order_acquire);

    if (current >= sb->versions) {
        return;
    }

    if (current != fifo->version) {
        fifo->previous = fifo->version;
        fifo->version = current;
    }

    while (!ngx_queue_empty(&fifo->waiting)) {

        if (faas_slot_take_handed(sb, current, ngx_http_faas_host.worker,
                                  &slot, &word)
            != FAAS_OK
            && ngx_http_faas_queue_take(current, &slot, &word) != NGX_OK)
        {
            break;
        }

        if (!ngx_http_faas_queue_give(fifo, current, slot, word)) {
            ngx_http_faas_queue_put(fifo->function, slot, word,
                                    FAAS_SLOT_IDLE);
            break;
        }
    }

    if (ngx_queue_empty(&fifo->waiting)) {
        ngx_http_faas_queue_pass_on(fifo, current);
    }

    if (fifo->previous != FAAS_INDEX_NONE) {
        ngx_http_faas_queue_pass_on(fifo, fifo->previous);
    }
}


/*
 * Gives a slot that is BUSY and ours to the first in the FIFO who can use it.
 * 0 when there is none: the caller still has the slot.
 */

static ngx_uint_t
ngx_http_faas_queue_give(ngx_http_faas_fifo_t *fifo, uint32_t version,
    uint32_t slot, uint64_t word)
{
    ngx_http_faas_ctx_t  *ctx;

    while (!ngx_queue_empty(&fifo->waiting)) {

        ctx = ngx_queue_data(ngx_queue_head(&fifo->waiting),
                             ngx_http_faas_ctx_t, queue);

        ngx_http_faas_queue_dequeue(ctx);

        if (ngx_http_faas_queue_resolve(ctx) != NGX_OK) {
            ngx_post_event(&ctx->resume, &ngx_posted_events);
            continue;
        }

        if (ctx->version != version || ctx->function != fifo->function) {

            /* deployed this very moment: it waits for the new version */

            ngx_http_faas_queue_join_again(ctx);

            return 0;
        }

        ngx_http_faas_queue_hold(ctx, slot, word);
        ngx_post_event(&ctx->resume, &ngx_posted_events);

        return 1;
    }

    return 0;
}


/*
 * The function may have gone, or failed, or be held back without an instance,
 * or the host may end, while requests waited: they are answered, or join the
 * queue of the entry that now has the function's name.
 */

static ngx_uint_t
ngx_http_faas_queue_is_lost(ngx_http_faas_fifo_t *fifo)
{
    uint32_t              state;
    ngx_queue_t           lost;
    faas_function_t      *f;
    ngx_http_faas_ctx_t  *ctx;

    if (ngx_queue_empty(&fifo->waiting)) {
        return 0;
    }

    f = faas_scoreboard_function(ngx_http_faas_host.board, fifo->function);

    ctx = ngx_queue_data(ngx_queue_head(&fifo->waiting),
                         ngx_http_faas_ctx_t, queue);

    state = atomic_load_explicit(&f->state, memory_order_acquire);

    if (!ngx_http_faas_host_is_ending()
        && !ngx_http_faas_admission_is_held(ctx)
        && (state == FAAS_FUNCTION_READY || state == FAAS_FUNCTION_LOADING)
        && atomic_load_explicit(&f->generation, memory_order_relaxed)
           == ctx->function_generation)
    {
        return 0;
    }

    /* all of them before the first one joins: that may be this very queue,
       and whoever joins one serves it */

    ngx_queue_init(&lost);

    while (!ngx_queue_empty(&fifo->waiting)) {
        ctx = ngx_queue_data(ngx_queue_head(&fifo->waiting),
                             ngx_http_faas_ctx_t, queue);

        ngx_http_faas_queue_dequeue(ctx);
        ngx_queue_insert_tail(&lost, &ctx->queue);
    }

    while (!ngx_queue_empty(&lost)) {
        ctx = ngx_queue_data(ngx_queue_head(&lost), ngx_http_faas_ctx_t,
                             queue);

        ngx_queue_remove(&ctx->queue);

        ctx->queued = 0;

        if (ngx_http_faas_queue_resolve(ctx) == NGX_OK) {
            ngx_http_faas_queue_join_again(ctx);

        } else {
            ngx_post_event(&ctx->resume, &ngx_posted_events);
        }
    }

    return 1;
}


/* what it waited for is another's by now, or another version */

static void
ngx_http_faas_queue_join_again(ngx_http_faas_ctx_t *ctx)
{
    if (ngx_http_faas_queue_join(ctx) != NGX_OK) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                    "no memory to wait");

        ngx_post_event(&ctx->resume, &ngx_posted_events);
    }
}


static void
ngx_http_faas_queue_pass_on(ngx_http_faas_fifo_t *fifo, uint32_t version)
{
    uint32_t            slot, other;
    uint64_t            word, ms;
    faas_scoreboard_t  *sb;

    sb = ngx_http_faas_host.board;

    while (faas_slot_take_handed(sb, version, ngx_http_faas_host.worker,
                                 &slot, &word)
           == FAAS_OK)
    {
        ngx_http_faas_queue_put(fifo->function, slot, word,
                                FAAS_SLOT_IDLE);
    }

    /* an idle slot and somebody else who waits: our wake-up was for them */

    if (version != fifo->version) {
        return;
    }

    other = faas_worker_longest(sb, fifo->function, ngx_http_faas_host.worker,
                                &ms);

    if (other != FAAS_WORKER_NONE
        && faas_slot_acquire(sb, version, ngx_http_faas_host.worker, &slot,
                             &word)
           == FAAS_OK)
    {
        if (faas_slot_change(sb, slot, word, FAAS_SLOT_HANDED, other)
            == FAAS_OK)
        {
            ngx_http_faas_host_wake(other);
        }
    }
}


/*
 * The function may have got another version, or have gone and come back as
 * another entry, or be held back, or the host may end, since the request was
 * routed.  NGX_OK, or NGX_DECLINED with the refusal that is due in
 * ctx->status.
 */

ngx_int_t
ngx_http_faas_queue_resolve(ngx_http_faas_ctx_t *ctx)
{
    uint32_t             state, generation;
    faas_function_t     *f;
    faas_scoreboard_t   *sb;

    if (ngx_http_faas_host_is_ending()) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED, "host is ending");
        return NGX_DECLINED;
    }

    sb = ngx_http_faas_host.board;
    f = faas_scoreboard_function(sb, ctx->function);

    state = atomic_load_explicit(&f->state, memory_order_acquire);

    if (atomic_load_explicit(&f->generation, memory_order_relaxed)
        != ctx->function_generation
        || state == FAAS_FUNCTION_FREE
        || state == FAAS_FUNCTION_REMOVED)
    {
        ngx_http_faas_queue_depart(ctx);

        ctx->function = ngx_http_faas_router_name(&ctx->name, &generation);

        if (ctx->function == FAAS_INDEX_NONE) {
            (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_NOT_FOUND,
                                        "function was removed");
            return NGX_DECLINED;
        }

        ctx->function_generation = generation;

        f = faas_scoreboard_function(sb, ctx->function);
        faas_limits_read(f, &ctx->limits);
        state = atomic_load_explicit(&f->state, memory_order_acquire);
    }

    if (state == FAAS_FUNCTION_FAILED) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_INIT_ERROR,
                                    "function cannot start");
        return NGX_DECLINED;
    }

    if (state != FAAS_FUNCTION_READY && state != FAAS_FUNCTION_LOADING) {
        (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_NOT_FOUND,
                                    "function was removed");
        return NGX_DECLINED;
    }

    if (ngx_http_faas_admission_is_held(ctx)) {

        if (ctx->maybe_started) {
            /* there is nobody to try it again */
            (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_CRASH,
                                        "instance was lost");

        } else {
            (void) ngx_http_faas_refuse(ctx, FAAS_OUTCOME_SHED,
                                        "function keeps dying");
        }

        return NGX_DECLINED;
    }

    ngx_http_faas_bind(ctx, f);
    ngx_http_faas_queue_admit(ctx);

    return NGX_OK;
}


static void
ngx_http_faas_queue_admit(ngx_http_faas_ctx_t *ctx)
{
    faas_cell_t  *cell;

    if (ctx->admitted) {
        return;
    }

    ctx->admitted = 1;
    cell = ngx_http_faas_cell(ctx->function);

    ngx_http_faas_count(cell->arrivals, 1);

    /* sequentially consistent: add, then sum, so that of two workers that
       meet at the limit at least one sees the other */

    atomic_fetch_add(&cell->admitted, 1);
}


/* the request asks for nothing any more: it is not counted in any longer */

void
ngx_http_faas_queue_depart(ngx_http_faas_ctx_t *ctx)
{
    faas_cell_t  *cell;

    if (!ctx->admitted) {
        return;
    }

    ctx->admitted = 0;

    cell = ngx_http_faas_cell(ctx->function);
    atomic_fetch_sub(&cell->admitted, 1);
}


ngx_int_t
ngx_http_faas_queue_acquire(ngx_http_faas_ctx_t *ctx)
{
    uint32_t  slot;
    uint64_t  word;

    if (ctx->version == FAAS_INDEX_NONE
        || ngx_http_faas_queue_take(ctx->version, &slot, &word) != NGX_OK)
    {
        return NGX_BUSY;
    }

    ngx_http_faas_queue_hold(ctx, slot, word);

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_queue_take(uint32_t version, uint32_t *slot, uint64_t *word)
{
    if (ngx_http_faas_connection_acquire(version, slot, word) == NGX_OK) {
        return NGX_OK;
    }

    return faas_slot_acquire(ngx_http_faas_host.board, version,
                             ngx_http_faas_host.worker, slot, word);
}


/* the slot is ours by its word: from here on the context knows it too */

static void
ngx_http_faas_queue_hold(ngx_http_faas_ctx_t *ctx, uint32_t slot,
    uint64_t word)
{
    uint32_t      requests;
    uint64_t      now_us;
    faas_cell_t  *cell;
    faas_page_t  *page;
    faas_slot_t  *s;

    now_us = ngx_http_faas_now_us();
    s = faas_scoreboard_slot(ngx_http_faas_host.board, slot);
    page = ngx_http_faas_host.pages[slot];

    ctx->holding = 1;
    ctx->odd = 0;
    ctx->slot = slot;
    ctx->word = word;
    ctx->begun = page ? atomic_load_explicit(&page->begun,
                                             memory_order_acquire)
                      : 0;
    ngx_memzero(ctx->last, NGX_HTTP_FAAS_END);
    ctx->instance_pid = atomic_load_explicit(&s->pid, memory_order_relaxed);
    ctx->start = ctx->queued ? (faas_start_e) atomic_load_explicit(&s->cold,
                                                      memory_order_relaxed)
                             : FAAS_START_WARM;
    ctx->handed_us = now_us;
    ctx->queue_us += now_us - ctx->arrived_us;
    ctx->attempts++;

    atomic_store_explicit(&s->cold, FAAS_START_WARM, memory_order_relaxed);
    atomic_store_explicit(&s->handed_ms, now_us / 1000, memory_order_relaxed);
    ngx_http_faas_count(s->served, 1);

    /* said now: when it has answered, the slot may be the next one's */

    requests = atomic_load_explicit(&s->requests, memory_order_relaxed);

    ctx->spent = requests
                 && atomic_load_explicit(&s->served, memory_order_relaxed)
                    >= requests;

    cell = ngx_http_faas_cell(ctx->function);

    ngx_http_faas_count(cell->attempts, 1);
    ngx_http_faas_count(cell->queue_us, now_us - ctx->arrived_us);
}


void
ngx_http_faas_queue_lose(ngx_http_faas_ctx_t *ctx)
{
    ctx->holding = 0;
    ctx->attempts--;

    /* the wait until now is counted, another begins */

    ctx->arrived_us = ctx->handed_us;

    ngx_http_faas_count(ngx_http_faas_cell(ctx->function)->finished, 1);
}


/* an idle, healthy instance of a slot that we hold: whose turn is it? */

void
ngx_http_faas_queue_release(ngx_http_faas_ctx_t *ctx)
{
    uint32_t               other;
    uint64_t               other_ms;
    faas_scoreboard_t     *sb;
    ngx_http_faas_ctx_t   *next;
    ngx_http_faas_fifo_t  *fifo;

    sb = ngx_http_faas_host.board;

    if (atomic_load_explicit(&faas_scoreboard_function(sb, ctx->function)
                              ->current, memory_order_acquire)
        != ctx->version)
    {
        /* superseded: the supervisor retires it */

        ngx_http_faas_queue_leave(ctx, FAAS_SLOT_IDLE);
        return;
    }

    ctx->holding = 0;

    if (atomic_load(&faas_scoreboard_slot(sb, ctx->slot)->word) != ctx->word) {
        return;
    }

    other = faas_worker_longest(sb, ctx->function, ngx_http_faas_host.worker,
                                &other_ms);

    if (!ngx_http_faas_queue_is_empty(ctx->function)) {
        fifo = ngx_http_faas_by_function[ctx->function];

        next = ngx_queue_data(ngx_queue_head(&fifo->waiting),
                              ngx_http_faas_ctx_t, queue);

        /* given to one of our own, the word stays as it is: busy, and ours */

        if ((other == FAAS_WORKER_NONE
             || other_ms + NGX_HTTP_FAAS_SLACK >= next->arrived_us / 1000)
            && ngx_http_faas_queue_give(fifo, ctx->version, ctx->slot,
                                        ctx->word))
        {
            return;
        }
    }

    if (other != FAAS_WORKER_NONE
        && faas_slot_change(sb, ctx->slot, ctx->word, FAAS_SLOT_HANDED, other)
           == FAAS_OK)
    {
        ngx_http_faas_host_wake(other);
        return;
    }

    ngx_http_faas_queue_leave(ctx, FAAS_SLOT_IDLE);
}


void
ngx_http_faas_queue_leave(ngx_http_faas_ctx_t *ctx,
    faas_slot_state_e state)
{
    ctx->holding = 0;

    ngx_http_faas_queue_put(ctx->function, ctx->slot, ctx->word, state);
}


/*
 * We let go of a slot.  One that is not ours any more (its instance was
 * reaped, or condemned) stays as it is: the word says so.
 */

static void
ngx_http_faas_queue_put(uint32_t function, uint32_t slot, uint64_t word,
    faas_slot_state_e state)
{
    uint32_t            other;
    uint64_t            ms;
    faas_scoreboard_t  *sb;

    sb = ngx_http_faas_host.board;

    if (state == FAAS_SLOT_IDLE) {
        atomic_store_explicit(&faas_scoreboard_slot(sb, slot)->idle_ms,
                              ngx_http_faas_now_us() / 1000,
                              memory_order_relaxed);
    }

    if (faas_slot_change(sb, slot, word, state, 0) != FAAS_OK
        || state != FAAS_SLOT_IDLE)
    {
        return;
    }

    /* "waiting first", the waker's half */

    other = faas_worker_longest(sb, function, ngx_http_faas_host.worker, &ms);

    if (other != FAAS_WORKER_NONE) {
        ngx_http_faas_host_wake(other);
    }
}


/* into the FIFO; whatever can be had at once is given to its head */

ngx_int_t
ngx_http_faas_queue_join(ngx_http_faas_ctx_t *ctx)
{
    faas_function_t       *f;
    ngx_http_faas_fifo_t  *fifo;

    fifo = ngx_http_faas_queue_fifo(ctx->function);
    if (fifo == NULL) {
        return NGX_ERROR;
    }

    ngx_http_faas_queue_enqueue(fifo, ctx);

    /* "waiting first": our bit is set, look again before we sleep */

    ngx_http_faas_queue_serve(fifo);

    if (!ctx->waiting) {
        return NGX_OK;
    }

    f = faas_scoreboard_function(ngx_http_faas_host.board, ctx->function);

    if (atomic_exchange(&f->kick, 1) == 0) {
        ngx_http_faas_host_kick();
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_faas_queue_is_empty(uint32_t function)
{
    ngx_http_faas_fifo_t  *fifo;

    fifo = ngx_http_faas_by_function[function];

    return fifo == NULL || ngx_queue_empty(&fifo->waiting);
}


static ngx_http_faas_fifo_t *
ngx_http_faas_queue_fifo(uint32_t function)
{
    ngx_http_faas_fifo_t  *fifo;

    fifo = ngx_http_faas_by_function[function];

    if (fifo != NULL) {
        return fifo;
    }

    fifo = ngx_pcalloc(ngx_http_faas_queue_pool, sizeof(*fifo));
    if (fifo == NULL) {
        return NULL;
    }

    ngx_queue_init(&fifo->waiting);

    fifo->function = function;
    fifo->version = FAAS_INDEX_NONE;
    fifo->previous = FAAS_INDEX_NONE;

    ngx_queue_insert_tail(&ngx_http_faas_fifos, &fifo->link);
    ngx_http_faas_by_function[function] = fifo;

    return fifo;
}


/* in order of arrival; who had a slot before stands before the others */

static void
ngx_http_faas_queue_enqueue(ngx_http_faas_fifo_t *fifo,
    ngx_http_faas_ctx_t *ctx)
{
    faas_cell_t  *cell;

    if (ctx->attempts || ctx->queued) {
        ngx_queue_insert_head(&fifo->waiting, &ctx->queue);

    } else {
        ngx_queue_insert_tail(&fifo->waiting, &ctx->queue);
    }

    ctx->waiting = 1;
    ctx->queued = 1;

    cell = ngx_http_faas_cell(ctx->function);

    ngx_http_faas_count(cell->waiting, 1);
    ngx_http_faas_queue_publish(fifo);

    ngx_add_timer(&ctx->timer,
                  (ngx_msec_t) ngx_http_faas_admission_left_ms(ctx));
}


void
ngx_http_faas_queue_dequeue(ngx_http_faas_ctx_t *ctx)
{
    faas_cell_t           *cell;
    ngx_http_faas_fifo_t  *fifo;

    if (!ctx->waiting) {
        return;
    }

    fifo = ngx_http_faas_by_function[ctx->function];

    ngx_queue_remove(&ctx->queue);
    ctx->waiting = 0;

    cell = ngx_http_faas_cell(ctx->function);

    ngx_http_faas_count(cell->waiting, -1);
    ngx_http_faas_queue_publish(fifo);

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}


/* what other workers and the supervisor see of the FIFO */

static void
ngx_http_faas_queue_publish(ngx_http_faas_fifo_t *fifo)
{
    uint64_t              bit, mask;
    faas_cell_t          *cell;
    _Atomic uint64_t     *word;
    faas_function_t      *f;
    ngx_http_faas_ctx_t  *first;

    f = faas_scoreboard_function(ngx_http_faas_host.board, fifo->function);
    cell = ngx_http_faas_cell(fifo->function);

    word = &f->waiting_mask[ngx_http_faas_host.worker / 64];
    bit = 1ull << ngx_http_faas_host.worker % 64;
    mask = atomic_load_explicit(word, memory_order_relaxed);

    if (ngx_queue_empty(&fifo->waiting)) {
        atomic_store_explicit(&cell->oldest_ms, 0, memory_order_relaxed);

        if (mask & bit) {
            atomic_fetch_and(word, ~bit);
        }

        return;
    }

    first = ngx_queue_data(ngx_queue_head(&fifo->waiting),
                           ngx_http_faas_ctx_t, queue);

    atomic_store_explicit(&cell->oldest_ms, first->arrived_us / 1000,
                          memory_order_relaxed);

    if (!(mask & bit)) {
        atomic_fetch_or(word, bit);
    }
}
