
#include <errno.h>
#include <string.h>

#include "dump.h"
#include "instance_end.h"
#include "lineage.h"
#include "log.h"
#include "memory.h"
#include "patrol.h"
#include "place.h"
#include "pool.h"


/* until a decision that was made without an event, at the latest */
#define POOL_LATER_MS  250

/* while requests wait, at the latest */
#define POOL_AGAIN_MS  5

/* decisions walk the slots up to so many instances, and trust hints beyond */
#define POOL_WALK      64


static void pool_figures(function_t *f, policy_input_t *in);
static uint32_t pool_count_slots(function_t *f, policy_input_t *in);
static uint32_t pool_count_hints(function_t *f, policy_input_t *in);
static void pool_kick(function_t *f, const policy_input_t *in,
    const policy_decision_t *out, int blocked);
static uint32_t pool_start(function_t *f, uint32_t n, int *blocked);
static int pool_start_one(function_t *f, version_t *v);
static void pool_retire(function_t *f, uint32_t n);
static slot_t *pool_longest_idle(function_t *f);
static uint32_t pool_requests(const faas_limits_t *l);
static uint64_t pool_done(const function_t *f);


void
pool_changed(function_t *f)
{
    loop_post(&f->decide);
}


void
pool_decide(function_t *f)
{
    int                blocked;
    uint32_t           n;
    policy_input_t     in;
    policy_decision_t  out;

    if (f->current == NULL || supervisor.draining) {
        return;    /* what waits is woken when that changes */
    }

    blocked = 0;

    /* before the figures are read: who begins to wait now, says so */

    f->blocked = 0;
    atomic_store(&f->sh->kick, 0);

    memset(&in, 0, sizeof(in));
    pool_figures(f, &in);

    if (!in.held_back && atomic_load(&f->sh->backoff)) {
        atomic_store(&f->sh->backoff, 0);
    }

    memset(&out, 0, sizeof(out));
    policy_decide(&in, &f->policy, &out);

    if (f->policy.service_ms >= 0) {
        atomic_store(&f->sh->service_us,
                     (uint32_t) (f->policy.service_ms * 1000));
    }

    if (out.retire > 0) {
        pool_retire(f, out.retire);
    }

    n = 0;

    if (out.start > 0) {
        n = pool_start(f, out.start, &blocked);
    }

    if (in.held_back || f->live >= f->limits.max) {
        blocked = 1;
    }

    if (n > 0) {
        /* their READY decides anew */
        out.again_ms = out.again_ms ? out.again_ms : POOL_LATER_MS;
    }

    pool_kick(f, &in, &out, blocked);
}


/*
 * When to look again, and whether to be told of new waiters meanwhile.  A
 * function that cannot get another instance now is not worth a wake-up: what
 * makes a start possible (an instance ends, a template is loaded, a back-off
 * is over) comes to us as an event or a timer.  While requests wait although
 * one could be started, the policy thinks waiting is cheaper; it is asked
 * again every few milliseconds, not by every waiter.
 */

static void
pool_kick(function_t *f, const policy_input_t *in,
    const policy_decision_t *out, int blocked)
{
    uint64_t  again;

    again = out->again_ms;

    if (!blocked && in->waiting > 0) {
        if (again == 0 || again > POOL_LATER_MS) {
            again = POOL_LATER_MS;
        }

        if (again < POOL_AGAIN_MS) {
            again = POOL_AGAIN_MS;
        }
    }

    if (blocked || in->waiting > 0) {
        f->blocked = 1;
        atomic_store(&f->sh->kick, 1);
    }

    if (in->held_back) {
        again = f->backoff.until_ms > in->now_ms
                ? f->backoff.until_ms - in->now_ms : 1;

    } else if (f->short_of != 0 && (again == 0 || again > f->short_of)) {
        again = f->short_of;
    }

    f->short_of = 0;

    if (again > 0) {
        loop_arm(&f->timer, in->now_ms + again);

    } else {
        loop_disarm(&f->timer);
    }
}


static void
pool_figures(function_t *f, policy_input_t *in)
{
    uint32_t      w, n, handed;
    uint64_t      oldest, first;
    faas_cell_t  *cell;

    in->now_ms = loop_clock_us() / 1000;
    in->oneshot = f->limits.mode == FAAS_MODE_ONESHOT;
    in->min = f->limits.min;
    in->max = f->limits.max;
    in->spare = f->limits.spare;
    in->idle_timeout_ms = f->limits.idle_timeout_ms;
    in->starting = f->starting;
    in->ending = f->ending;
    in->start_us = atomic_load(&f->sh->start_us);
    in->held_back = (uint32_t) backoff_holds(&f->backoff, in->now_ms);

    n = atomic_load(&supervisor.board->workers_used);
    first = UINT64_MAX;

    for (w = 0; w < n && w < FAAS_WORKERS; w++) {
        cell = faas_scoreboard_cell(supervisor.board, f->index, w);

        in->arrivals += atomic_load(&cell->arrivals);
        in->finished += atomic_load(&cell->finished);
        in->service_us += atomic_load(&cell->service_us);

        if (atomic_load(&cell->waiting) == 0) {
            continue;
        }

        in->waiting += atomic_load(&cell->waiting);
        oldest = atomic_load(&cell->oldest_ms);

        if (oldest != 0 && oldest < first) {
            first = oldest;
        }
    }

    if (first < in->now_ms) {
        in->longest_wait_ms = in->now_ms - first;
    }

    handed = f->live <= POOL_WALK ? pool_count_slots(f, in)
                                  : pool_count_hints(f, in);

    /* a request to whose worker an instance was handed waits no more, but for
       the moment until that worker takes it */

    in->waiting -= handed < in->waiting ? handed : in->waiting;

    if (in->waiting == 0) {
        in->longest_wait_ms = 0;
    }
}


/* both return how many are handed to a worker that has not taken them yet */

static uint32_t
pool_count_slots(function_t *f, policy_input_t *in)
{
    slot_t    *s;
    uint32_t   handed;
    uint64_t   idle;

    handed = 0;

    for (s = f->slots; s != NULL; s = s->sibling_next) {

        switch (faas_slot_state(atomic_load(&s->sh->word))) {

        case FAAS_SLOT_IDLE:
            in->idle++;
            idle = atomic_load(&s->sh->idle_ms);

            if (idle < in->now_ms && in->now_ms - idle > in->longest_idle_ms)
            {
                in->longest_idle_ms = in->now_ms - idle;
            }

            break;

        case FAAS_SLOT_HANDED:
            handed++;
            in->busy++;
            break;

        case FAAS_SLOT_BUSY:
            in->busy++;
            break;

        case FAAS_SLOT_DRAINING:
            if (in->oneshot) {
                in->ending++;

            } else {
                in->busy++;
            }

            break;

        default:
            break;    /* counted in f->starting and f->ending */
        }
    }

    return handed;
}


static uint32_t
pool_count_hints(function_t *f, policy_input_t *in)
{
    uint32_t       i, n, slot, handed;
    uint64_t       idle, since;
    faas_chunk_t  *chunk;

    n = atomic_load(&f->current->sh->chunks);
    handed = 0;

    for (i = 0; i < n; i++) {
        chunk = faas_scoreboard_chunk(supervisor.board,
                                    atomic_load(&f->current->sh->chunk[i]));
        idle = atomic_load(&chunk->idle);
        handed += (uint32_t) __builtin_popcountll(
                                              atomic_load(&chunk->handed));

        while (idle) {
            slot = (uint32_t) __builtin_ctzll(idle);
            idle &= idle - 1;
            in->idle++;

            since = atomic_load(&chunk->slot[slot].idle_ms);

            if (since < in->now_ms
                && in->now_ms - since > in->longest_idle_ms)
            {
                in->longest_idle_ms = in->now_ms - since;
            }
        }
    }

    n = in->idle + in->starting + in->ending;
    in->busy = f->live > n ? f->live - n : 0;

    return handed;
}


/* up to n instances, as far as max and memory go; returns how many */

static uint32_t
pool_start(function_t *f, uint32_t n, int *blocked)
{
    uint32_t    i;
    version_t  *v;

    v = f->current;

    if (!version_wanted(v)) {

        /* a template is on its way, or what stands against it is told */

        *blocked = 1;
        f->short_of = 1000;
        return 0;
    }

    for (i = 0; i < n; i++) {

        if (f->live >= f->limits.max) {
            break;
        }

        if (!memory_allows(f)) {
            *blocked = 1;
            f->short_of = 200;
            break;
        }

        if (pool_start_one(f, v) == -1) {
            *blocked = 1;
            f->short_of = 20;
            break;
        }
    }

    return i;
}


static int
pool_start_one(function_t *f, version_t *v)
{
    int      rc;
    slot_t  *s;

    s = slot_take(v);

    if (s == NULL) {
        f->short_of = 1000;
        return -1;
    }

    place_drain(s);
    place_clear(s);
    dump_prepare(s);
    journal_owner(&s->journal, &f->journal, v->sh->id, s->index, 0);

    s->forked_us = loop_clock_us();

    atomic_store(&s->sh->base, (uint32_t) atomic_load(&s->page->begun));
    atomic_store(&s->sh->pid, 0);
    atomic_store(&s->sh->inner_pid, 0);
    atomic_store(&s->sh->requests, pool_requests(&f->limits));
    s->timeout_ms = f->limits.timeout_ms;
    atomic_store(&s->sh->cold, f->cold ? FAAS_START_ZYGOTE
                                       : FAAS_START_COLD);

    s->generation = faas_slot_start(supervisor.board, s->index);

    slot_count(s, 1);
    f->starting++;

    rc = lineage_fork(v, s, &f->limits);

    if (rc != FAAS_OK) {

        if (rc == FAAS_ERROR) {
            log_line(LOG_ERROR, errno, "function \"%s\": version %s slot %u: "
                     "the template cannot be reached", f->name, v->sh->id,
                     s->index);
        }

        f->starting--;
        faas_slot_free(supervisor.board, s->index);
        slot_count(s, -1);
        slot_return(s);
        return -1;
    }

    atomic_fetch_add(&f->sh->starts, 1);

    if (f->cold) {
        atomic_fetch_add(&f->sh->cold_starts, 1);
        f->cold = 0;
    }

    instance_end_watch(s, f->limits.init_timeout_ms);
    patrol_watch();
    memory_started(f);

    return 0;
}


static void
pool_retire(function_t *f, uint32_t n)
{
    slot_t  *s;

    while (n-- > 0) {
        s = pool_longest_idle(f);

        if (s == NULL
            || pool_retire_slot(s, atomic_load(&s->sh->word)) != FAAS_OK)
        {
            return;
        }
    }
}


/* among those idle for the same time the highest: load packs low */

static slot_t *
pool_longest_idle(function_t *f)
{
    slot_t    *s, *found;
    uint64_t   idle, least;

    found = NULL;
    least = UINT64_MAX;

    for (s = f->slots; s != NULL; s = s->sibling_next) {

        if (faas_slot_state(atomic_load(&s->sh->word)) != FAAS_SLOT_IDLE) {
            continue;
        }

        idle = atomic_load(&s->sh->idle_ms);

        if (idle < least
            || (idle == least && found != NULL && s->index > found->index))
        {
            found = s;
            least = idle;
        }
    }

    return found;
}


/* IDLE or DRAINING and free; from then on no worker can have it */

int
pool_retire_slot(slot_t *s, uint64_t word)
{
    return pool_retire_for(s, word, FAAS_CAUSE_RETIRED);
}


int
pool_retire_for(slot_t *s, uint64_t word, faas_cause_e cause)
{
    int  rc;

    rc = faas_slot_change(supervisor.board, s->index, word,
                          FAAS_SLOT_RETIRING, FAAS_WORKER_NONE);

    if (rc == FAAS_OK) {
        slot_ends(s);
        instance_end_ask(s, cause);
    }

    return rc;
}


void
pool_superseded(version_t *v)
{
    slot_t    *s;
    uint64_t   word;

    for (s = v->function->slots; s != NULL; s = s->sibling_next) {

        word = atomic_load(&s->sh->word);

        if (s->version == v && faas_slot_state(word) == FAAS_SLOT_IDLE) {
            (void) pool_retire_slot(s, word);
        }
    }

    patrol_soon();
}


/* of another version, or started with what a reload has changed since */

int
pool_is_superseded(const slot_t *s)
{
    const faas_limits_t  *l;

    l = &s->version->function->limits;

    return supervisor.draining
           || atomic_load(&s->version->sh->state) != FAAS_VERSION_READY
           || atomic_load(&s->sh->requests) != pool_requests(l)
           || (s->timeout_ms != 0 && s->timeout_ms != l->timeout_ms);
}


static uint32_t
pool_requests(const faas_limits_t *l)
{
    return l->mode == FAAS_MODE_ONESHOT ? 1 : l->max_requests;
}


void
pool_died(function_t *f, uint64_t born_ms)
{
    uint64_t  now, until;

    now = loop_clock_us() / 1000;
    until = f->backoff.until_ms;

    backoff_death(&f->backoff, now, born_ms ? born_ms : now, pool_done(f));
    atomic_store(&f->sh->backoff_row, f->backoff.row);

    if (backoff_holds(&f->backoff, now)) {
        atomic_store(&f->sh->backoff_until_ms, f->backoff.until_ms);
        atomic_store(&f->sh->backoff, 1);

        if (f->backoff.until_ms != until) {
            log_line(LOG_WARN, 0, "function \"%s\" is held back for %u ms: "
                     "it died %u times with nothing done", f->name,
                     (unsigned) (f->backoff.until_ms - now), f->backoff.row);
        }

        /* who waits is answered when the last instance is gone: this one? */

        function_wake(f);
    }

    pool_changed(f);
}


/* requests of it that ended well, ever */

static uint64_t
pool_done(const function_t *f)
{
    uint32_t      w, n;
    uint64_t      done;
    faas_cell_t  *cell;

    done = 0;
    n = atomic_load(&supervisor.board->workers_used);

    for (w = 0; w < n && w < FAAS_WORKERS; w++) {
        cell = faas_scoreboard_cell(supervisor.board, f->index, w);
        done += atomic_load(&cell->outcome[FAAS_OUTCOME_OK])
                + atomic_load(&cell->outcome[FAAS_OUTCOME_FUNCTION_ERROR]);
    }

    return done;
}


void
pool_adopt_backoff(function_t *f)
{
    f->backoff.row = atomic_load(&f->sh->backoff_row);
    f->backoff.done = pool_done(f);

    if (atomic_load(&f->sh->backoff)) {
        f->backoff.until_ms = atomic_load(&f->sh->backoff_until_ms);
    }
}


void
pool_adopt(slot_t *s)
{
    function_t         *f;
    faas_slot_state_e   state;

    f = s->version->function;
    state = faas_slot_state(atomic_load(&s->sh->word));

    (void) faas_slot_orphan(supervisor.board, s->index, FAAS_WORKER_NONE);

    if (state == FAAS_SLOT_IDLE) {
        /* who looked before that may have missed it */
        function_wake(f);
    }

    slot_count(s, 1);

    if (s->page == NULL || s->listen == -1) {

        /* taken, but nothing was forked into it yet */

        faas_slot_free(supervisor.board, s->index);
        slot_count(s, -1);
        slot_return(s);
        return;
    }

    if (s->inner_pid == 0 && atomic_load(&s->sh->pid) > 0
        && instance_end_unparented(s) == FAAS_DECLINED)
    {
        return;    /* the word of its fork went with our predecessor */
    }

    switch (state) {

    case FAAS_SLOT_STARTING:
        f->starting++;
        instance_end_watch(s, f->limits.init_timeout_ms);

        /* our predecessor may have read that it is ready: it answers FREE */

        place_nudge(s);
        break;

    case FAAS_SLOT_RETIRING:
        slot_ends(s);
        instance_end_ask(s, FAAS_CAUSE_RETIRED);
        break;

    default:
        break;    /* CONDEMNED: the first look ends it */
    }

    patrol_soon();
}
