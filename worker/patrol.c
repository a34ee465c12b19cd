
#include <string.h>

#include "instance_end.h"
#include "log.h"
#include "memory.h"
#include "patrol.h"
#include "place.h"
#include "pool.h"


/* how often a look is taken while instances live */
#define PATROL_MS           250
#define PATROL_SOON_MS      20

/* an instance that should be free is asked after so long */
#define PATROL_NUDGE_MS     50

/* the supervisor acts so long after a worker should have */
#define PATROL_BACKSTOP_MS  1000


static void patrol_within(uint32_t ms);
static void patrol_look(void *data);
static uint32_t patrol_look_at(slot_t *s);
static uint32_t patrol_handed(slot_t *s, uint64_t word);
static void patrol_busy(slot_t *s, uint64_t word);
static void patrol_draining(slot_t *s, uint64_t word);
static void patrol_end(slot_t *s);


static struct {
    loop_timer_t  timer;
    uint64_t      looked_ms;
} patrol;


void
patrol_init(void)
{
    patrol.timer.handler = patrol_look;
}


/* -- what nobody tells of -------------------------------------------------- */

void
patrol_watch(void)
{
    patrol_within(PATROL_MS);
}


void
patrol_soon(void)
{
    patrol_within(PATROL_SOON_MS);
}


static void
patrol_within(uint32_t ms)
{
    uint64_t  at;

    at = loop_now_ms() + ms;

    if (!loop_is_armed(&patrol.timer) || patrol.timer.at_ms > at) {
        loop_arm(&patrol.timer, at);
    }
}


static void
patrol_look(void *data)
{
    slot_t    *s, *next;
    uint32_t   ms, least;

    (void) data;

    least = PATROL_MS;
    patrol.looked_ms = loop_now_ms();
    memory_look();

    for (s = slot_live; s != NULL; s = next) {
        next = s->following;

        ms = patrol_look_at(s);

        if (ms < least) {
            least = ms;
        }
    }

    if (slot_live != NULL) {
        patrol_within(least);
    }
}


/* returns in how many milliseconds to look again */

static uint32_t
patrol_look_at(slot_t *s)
{
    uint64_t  word;

    word = atomic_load(&s->sh->word);

    if (faas_slot_state(word) != FAAS_SLOT_DRAINING) {
        s->draining_ms = 0;
    }

    if (s->unseen) {
        (void) instance_end_unparented(s);
        return PATROL_SOON_MS;
    }

    switch (faas_slot_state(word)) {

    case FAAS_SLOT_IDLE:
        if ((pool_is_superseded(s) || s->retired)
            && pool_retire_slot(s, word) != FAAS_OK)
        {
            return PATROL_SOON_MS;
        }

        return PATROL_MS;

    case FAAS_SLOT_HANDED:
        return patrol_handed(s, word);

    case FAAS_SLOT_BUSY:
        patrol_busy(s, word);
        return pool_is_superseded(s) || s->retired ? PATROL_SOON_MS
                                                   : PATROL_MS;

    case FAAS_SLOT_DRAINING:
        patrol_draining(s, word);
        return PATROL_NUDGE_MS;

    case FAAS_SLOT_CONDEMNED:
        if (s->signals == 0) {
            patrol_end(s);
        }

        return PATROL_MS;

    default:
        return PATROL_MS;
    }
}


/*
 * Who was handed the slot may have died before that, unseen by whom handed it
 * over, and have a successor in its record by now, who never heard of the
 * function.  So a slot that is not taken between two looks is anybody's.
 */

static uint32_t
patrol_handed(slot_t *s, uint64_t word)
{
    if (s->handed != word) {
        s->handed = word;
        supervisor_wake(faas_slot_owner(word));

        return PATROL_SOON_MS;
    }

    s->handed = 0;
    atomic_store(&s->sh->idle_ms, loop_now_ms());

    if (faas_slot_change(supervisor.board, s->index, word, FAAS_SLOT_IDLE,
                         FAAS_WORKER_NONE)
        == FAAS_OK)
    {
        function_wake(s->version->function);
    }

    return PATROL_SOON_MS;
}


/*
 * handed_ms may be that of the request before, in the moment between a
 * worker's acquire and its store: only what is seen twice is over its budget.
 */

static void
patrol_busy(slot_t *s, uint64_t word)
{
    uint64_t  handed, budget;

    handed = atomic_load(&s->sh->handed_ms);
    budget = s->version->function->limits.timeout_ms + PATROL_BACKSTOP_MS;

    if (handed == 0 || loop_now_ms() <= handed + budget) {
        s->overdue_ms = 0;
        return;
    }

    if (s->overdue_ms != handed) {
        s->overdue_ms = handed;
        return;
    }

    patrol_condemn(s, word, FAAS_CAUSE_TIMEOUT);
}


static void
patrol_draining(slot_t *s, uint64_t word)
{
    uint64_t  now, since;

    now = loop_now_ms();

    if (s->draining_ms == 0) {
        s->draining_ms = now;
        return;
    }

    since = atomic_load(&s->sh->handed_ms);

    if (since == 0) {
        since = s->draining_ms;
    }

    if (now > since + s->version->function->limits.timeout_ms
        && now > s->draining_ms + PATROL_NUDGE_MS * 2)
    {
        patrol_condemn(s, word, FAAS_CAUSE_TIMEOUT);
        return;
    }

    if (now - s->draining_ms < PATROL_NUDGE_MS) {
        return;
    }

    if (!slot_is_spent(s)) {
        place_nudge(s);

    } else if (!slot_is_running(s)) {
        (void) pool_retire_slot(s, word);
    }
}


/* BUSY or DRAINING; the cause first: it is there when another supervisor
   finds the slot condemned */

void
patrol_condemn(slot_t *s, uint64_t word, faas_cause_e cause)
{
    atomic_store(&s->sh->cause, cause);

    if (faas_slot_change(supervisor.board, s->index, word,
                         FAAS_SLOT_CONDEMNED, FAAS_WORKER_NONE)
        == FAAS_OK)
    {
        patrol_end(s);

    } else if (s->signals == 0) {
        atomic_store(&s->sh->cause, FAAS_CAUSE_NONE);
    }
}


/* CONDEMNED: by us, or by a worker, whose only reason is the timeout */

static void
patrol_end(slot_t *s)
{
    slot_ends(s);
    atomic_fetch_add(&s->version->function->sh->kills, 1);

    if (s->page != NULL && slot_is_running(s)) {
        s->over = atomic_load(&s->page->begun);
    }

    if (atomic_load(&s->sh->cause) == FAAS_CAUSE_MEMORY) {

        /* at once: it takes more meanwhile.  nginx looks for this when the
           connection breaks */

        atomic_store(&s->sh->oom, (uint32_t) s->generation);
        instance_end_kill(s, FAAS_CAUSE_MEMORY);
        return;
    }

    instance_end_ask(s, FAAS_CAUSE_TIMEOUT);
}


void
patrol_worker_died(uint32_t worker)
{
    slot_t       *s;
    uint32_t      i;
    function_t   *f;
    faas_cell_t  *cell;

    /* first what others go by who have a slot to hand over */

    for (i = 0; i < atomic_load(&supervisor.board->functions_used); i++) {

        cell = faas_scoreboard_cell(supervisor.board, i, worker);
        atomic_store(&cell->waiting, 0);
        atomic_store(&cell->admitted, 0);
        atomic_store(&cell->oldest_ms, 0);

        atomic_fetch_and(&faas_scoreboard_function(supervisor.board, i)
                             ->waiting_mask[worker / 64],
                         ~(1ull << worker % 64));
    }

    for (s = slot_live; s != NULL; s = s->following) {

        if (faas_slot_orphan(supervisor.board, s->index, worker) != FAAS_OK)
        {
            continue;
        }

        atomic_store(&s->sh->idle_ms, loop_now_ms());
        patrol_soon();
    }

    for (f = function_list; f != NULL; f = f->next) {
        function_wake(f);
        pool_changed(f);
    }
}


/*
 * Each kick writes the eventfd once, so what is left over is a worker's
 * condemned instance: that is looked for, but not at every request.
 */

void
patrol_kicked(uint64_t count)
{
    function_t  *f;

    for (f = function_list; f != NULL; f = f->next) {

        if (!f->blocked && atomic_load(&f->sh->kick)) {
            pool_changed(f);
            count -= count > 0;
        }
    }

    if (count > 0) {
        if (loop_now_ms() - patrol.looked_ms >= PATROL_SOON_MS / 2) {
            patrol_look(NULL);

        } else {
            patrol_soon();
        }
    }
}
