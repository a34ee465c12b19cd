
/*
 * The supervisor of the model: the real pool.c, patrol.c and report.c (with
 * faas_slot.c and faas_scoreboard.c below them), and in place of the loop and
 * of all that has to do with processes, files and sockets a few lines each.
 * Next to those of them that matter stands whom they stand for.
 */


#include <string.h>

#include "backoff.h"
#include "dump.h"
#include "instance_end.h"
#include "lineage.h"
#include "log.h"
#include "memory.h"
#include "patrol.h"
#include "place.h"
#include "pool.h"
#include "report.h"

#include "model.h"


enum {
    ADOPT = 0,
    KICK,
    DECIDE,
    PATROL,
    RETIRE,
    DEPLOY,
    OWNER,                                   /* + worker */
    READY = OWNER + MODEL_WORKERS,           /* + place, and so on */
    FREED = READY + MODEL_PLACES,
    REAP = FREED + MODEL_PLACES,
    DRAIN = REAP + MODEL_PLACES,
    EVENTS = DRAIN + MODEL_PLACES
};


/*
 * patrol.c looks again after so long when there is nothing to look for.  As
 * long as nobody was killed, no request may depend on that: only then is a
 * look taken that was not asked for.
 */
#define USUAL_MS  250
#define NOW_MS    1000


static void adopt(void);
static void deploy(void);
static void owner_free(uint32_t worker);
static void exited(slot_t *s);
static int has_backlog(uint32_t place);
static int is_heard(uint32_t place);


void  (*model_point)(const volatile void *address);

supervisor_t  supervisor;
function_t   *function_list;
slot_t       *slot_live;

static model_t        model;
static function_t     function;
static version_t      versions[MODEL_VERSIONS];
static slot_t         slots[MODEL_PLACES];
static loop_timer_t  *patrol_timer;
static uint8_t        adopted;
static uint8_t        kicked;                /* in this turn */
static uint8_t        scale_in;


/* -- what the real sources call ------------------------------------------- */


uint64_t
loop_now_ms(void)
{
    return NOW_MS;
}


uint64_t
loop_clock_us(void)
{
    return NOW_MS * 1000;
}


void
loop_post(loop_job_t *job)
{
    job->posted = 1;
}


void
loop_arm(loop_timer_t *t, uint64_t at_ms)
{
    t->position = 1;
    t->at_ms = at_ms;

    if (t != &function.timer) {
        patrol_timer = t;
    }
}


void
loop_disarm(loop_timer_t *t)
{
    t->position = 0;
    t->at_ms = 0;
}


void
log_line(int level, int error, const char *format, ...)
{
    (void) level;
    (void) error;
    (void) format;
}


void
function_error(function_t *f, int level, const char *format, ...)
{
    (void) f;
    (void) level;
    (void) format;
}


void
supervisor_wake(uint32_t worker)
{
    model_point(NULL);

    if (worker < MODEL_WORKERS) {
        model.world->wake[worker] = 1;
    }
}


void
function_wake(function_t *f)
{
    uint64_t  mask;

    mask = atomic_load(&f->sh->waiting_mask[0]);

    while (mask) {
        supervisor_wake((uint32_t) __builtin_ctzll(mask));
        mask &= mask - 1;
    }
}


/* as many as wait and are not being started; pool.c keeps to max */

void
policy_decide(const policy_input_t *in, policy_state_t *state,
    policy_decision_t *out)
{
    (void) state;

    if (in->waiting > in->starting + in->idle) {
        out->start = in->waiting - in->starting - in->idle;
    }

    out->retire = scale_in;
    scale_in = 0;
}


int
backoff_holds(const backoff_t *b, uint64_t now_ms)
{
    (void) b;
    (void) now_ms;

    return 0;
}


int
memory_allows(function_t *f)
{
    (void) f;

    return 1;
}


void
memory_look(void)
{
}


void
memory_started(function_t *f)
{
    (void) f;
}


int
version_wanted(version_t *v)
{
    (void) v;

    return 1;
}


void
journal_owner(journal_t *j, journal_file_t *file, const char *version,
    int64_t slot, pid_t pid)
{
    (void) j;
    (void) file;
    (void) version;
    (void) slot;
    (void) pid;
}


/* slot.c */

slot_t *
slot_take(version_t *v)
{
    slot_t    *s;
    uint32_t   i;

    for (i = 0; i < model.scenario->slots; i++) {
        s = &slots[v->index * MODEL_SLOTS + i];

        if (faas_slot_state(atomic_load(&s->sh->word)) != FAAS_SLOT_FREE) {
            continue;
        }

        s->following = slot_live;
        slot_live = s;
        s->sibling_next = function.slots;
        function.slots = s;

        return s;
    }

    return NULL;
}


void
slot_ends(slot_t *s)
{
    s->version->function->ending += s->ending == 0;
    s->ending = 1;
}


void
slot_count(slot_t *s, int n)
{
    s->version->live += (uint32_t) n;
    function.live += (uint32_t) n;
}


void
slot_return(slot_t *s)
{
    slot_t  **p;

    for (p = &slot_live; *p != s; p = &(*p)->following) {
        /* void */
    }

    *p = s->following;

    for (p = &function.slots; *p != s; p = &(*p)->sibling_next) {
        /* void */
    }

    *p = s->sibling_next;

    function.ending -= s->ending;

    s->following = NULL;
    s->sibling_next = NULL;
    s->forked_us = 0;
    s->timeout_ms = 0;
    s->draining_ms = 0;
    s->overdue_ms = 0;
    s->signals = 0;
    s->retired = 0;
    s->ending = 0;
    s->inner_pid = 0;
    s->handed = 0;

    loop_disarm(&s->timer);
}


slot_t *
slot_of(version_t *v, uint32_t index, uint64_t generation)
{
    slot_t  *s;

    s = &slots[model_index(index)];

    return s->version == v && s->generation == generation
           && faas_slot_state(atomic_load(&s->sh->word)) != FAAS_SLOT_FREE
           ? s : NULL;
}


int
slot_is_spent(const slot_t *s)
{
    uint32_t  requests, begun;

    requests = atomic_load(&s->sh->requests);
    begun = (uint32_t) atomic_load(&s->page->begun)
            - atomic_load(&s->sh->base);

    return requests != 0 && begun >= requests;
}


int
slot_is_running(const slot_t *s)
{
    return atomic_load(&s->page->begun) != atomic_load(&s->page->ended);
}


/* place.c */

void
place_drain(slot_t *s)
{
    uint32_t             i, j;
    model_connection_t  *c;

    model_point(NULL);

    for (i = 0; i < MODEL_WORKERS; i++) {
        for (j = 0; j < MODEL_REQUESTS; j++) {
            c = &model.world->connection[i][j];

            if (c->state == MODEL_IN_BACKLOG && c->place == s - slots) {
                c->state = MODEL_CLOSED;
            }
        }
    }
}


void
place_clear(slot_t *s)
{
    (void) s;
}


void
dump_prepare(slot_t *s)
{
    (void) s;
}


void
place_nudge(slot_t *s)
{
    (void) s;
}


/* lineage.c, and the instance is there */

int
lineage_fork(version_t *v, slot_t *s, const faas_limits_t *limits)
{
    model_instance_t  *instance;

    (void) limits;

    model_point(NULL);

    instance = &model.world->instance[s - slots];

    if (instance->alive) {
        model.fail("a slot got a second instance");
    }

    instance->alive = 1;
    instance->asked = 0;
    instance->running = 0;
    instance->version = (uint8_t) v->index;
    instance->generation = (uint32_t) s->generation;

    return FAAS_OK;
}


/* instance_end.c */

void
instance_end_watch(slot_t *s, uint32_t timeout_ms)
{
    (void) s;
    (void) timeout_ms;
}


void
instance_end_ask(slot_t *s, faas_cause_e cause)
{
    (void) cause;

    s->signals = 1;

    model_point(NULL);

    model.world->instance[s - slots].asked = 1;
}


void
instance_end_kill(slot_t *s, faas_cause_e cause)
{
    instance_end_ask(s, cause);
}


int
instance_end_unparented(slot_t *s)
{
    (void) s;

    model.fail("an instance is not its init's");

    return FAAS_DECLINED;
}


/* instance_end_free() */

static void
exited(slot_t *s)
{
    faas_slot_state_e  state;

    state = faas_slot_state(atomic_load(&s->sh->word));

    if (state == FAAS_SLOT_STARTING) {
        function.starting -= function.starting > 0;
    }

    atomic_store(&s->page->ended, atomic_load(&s->page->begun));

    faas_slot_free(supervisor.board, s->index);

    slot_count(s, -1);
    slot_return(s);
    place_drain(s);

    pool_changed(&function);
}


/* -- events ---------------------------------------------------------------- */


static void
start(const model_t *m, uint32_t number)
{
    slot_t    *s;
    uint32_t   i;

    (void) number;

    model = *m;
    model_point = model.point;

    supervisor.board = model.board;

    function_list = &function;
    function.sh = faas_scoreboard_function(model.board, 0);
    function.decide.data = &function;

    for (i = 0; i < MODEL_VERSIONS; i++) {
        versions[i].index = i;
        versions[i].sh = faas_scoreboard_version(model.board, i);
        versions[i].function = &function;
        versions[i].lineage = LINEAGE_LIVE;
    }

    for (i = 0; i < MODEL_PLACES; i++) {
        s = &slots[i];
        s->index = model_slot(i / MODEL_SLOTS, i % MODEL_SLOTS);
        s->sh = faas_scoreboard_slot(model.board, s->index);
        s->version = &versions[i / MODEL_SLOTS];
        s->page = model.pages[s->index];
        s->listen = 0;
        s->process.fd = -1;
    }

    adopted = 0;
}


static uint32_t
events(void)
{
    uint32_t           i, mask;
    uint64_t           word;
    model_instance_t  *instance;

    if (!adopted) {
        return 1u << ADOPT;
    }

    mask = 0;

    /* once in a turn, and the decision is made at the turn's end */

    if (model.world->kick && !(kicked && function.decide.posted)) {
        mask |= 1u << KICK;
    }

    if (function.decide.posted || function.timer.position) {
        mask |= 1u << DECIDE;
    }

    if (patrol_timer != NULL && patrol_timer->position
        && (patrol_timer->at_ms < NOW_MS + USUAL_MS || model.world->crashed))
    {
        mask |= 1u << PATROL;
    }

    if (model.world->left.retires) {
        mask |= 1u << RETIRE;
    }

    if (model.world->left.deploys) {
        mask |= 1u << DEPLOY;
    }

    for (i = 0; i < MODEL_WORKERS; i++) {
        if (model.world->worker_dead[i]) {
            mask |= 1u << (OWNER + i);
        }
    }

    for (i = 0; i < MODEL_PLACES; i++) {
        instance = &model.world->instance[i];
        word = atomic_load_explicit(&slots[i].sh->word,
                                    memory_order_relaxed);

        if (faas_slot_state(word) == FAAS_SLOT_FREE) {

            /* place_look_emptied() */

            if (has_backlog(i)) {
                mask |= 1u << (DRAIN + i);
            }

            continue;
        }

        if (!instance->alive
            || instance->generation != faas_slot_generation(word))
        {
            mask |= 1u << (REAP + i);

        } else if (faas_slot_state(word) == FAAS_SLOT_STARTING) {
            mask |= 1u << (READY + i);

        } else if (faas_slot_state(word) == FAAS_SLOT_DRAINING
                   && !instance->running && !is_heard(i))
        {
            mask |= 1u << (FREED + i);
        }
    }

    return mask;
}


static int
has_backlog(uint32_t place)
{
    uint32_t             i, j;
    model_connection_t  *c;

    for (i = 0; i < MODEL_WORKERS; i++) {
        for (j = 0; j < MODEL_REQUESTS; j++) {
            c = &model.world->connection[i][j];

            if (c->state == MODEL_IN_BACKLOG && c->place == place) {
                return 1;
            }
        }
    }

    return 0;
}


/* is there still a request that the instance is going to begin?  It looks at
   its connections before it says that it is free. */

static int
is_heard(uint32_t place)
{
    uint32_t             i, j;
    model_connection_t  *c;

    for (i = 0; i < MODEL_WORKERS; i++) {
        for (j = 0; j < MODEL_REQUESTS; j++) {
            c = &model.world->connection[i][j];

            if ((c->state == MODEL_IN_BACKLOG || c->state == MODEL_ACCEPTED)
                && c->place == place && c->sent && !c->begun)
            {
                return 1;
            }
        }
    }

    return 0;
}


static const char *
name(uint32_t event)
{
    static const char *const  names[EVENTS] = {
        [ADOPT] = "adopts", [KICK] = "kicked", [DECIDE] = "decides",
        [PATROL] = "patrol", [RETIRE] = "scales in", [DEPLOY] = "deploys",
        [OWNER] = "sees worker 0 dead", "sees worker 1 dead",
        [READY] = "ready in place 0", "ready in place 1",
        "ready in place 2", "ready in place 3",
        [FREED] = "freed in place 0", "freed in place 1",
        "freed in place 2", "freed in place 3",
        [REAP] = "reaped in place 0", "reaped in place 1",
        "reaped in place 2", "reaped in place 3",
        [DRAIN] = "drains place 0", "drains place 1",
        "drains place 2", "drains place 3"
    };

    return names[event];
}


static void
run(uint32_t event)
{
    slot_t    *s;
    uint32_t   kicks;

    if (event >= DRAIN) {
        place_drain(&slots[event - DRAIN]);

    } else if (event >= REAP) {
        exited(&slots[event - REAP]);

    } else if (event >= FREED) {
        s = &slots[event - FREED];
        report_freed(s->version, s->index, s->generation);

    } else if (event >= READY) {
        s = &slots[event - READY];
        report_ready(s->version, s->index, s->generation, 4711);

    } else if (event >= OWNER) {
        owner_free(event - OWNER);

    } else if (event == DEPLOY) {
        deploy();

    } else if (event == RETIRE) {
        model.world->left.retires--;
        scale_in = 1;
        pool_decide(&function);

    } else if (event == PATROL) {
        loop_disarm(patrol_timer);
        patrol_timer->handler(NULL);

    } else if (event == DECIDE) {
        function.decide.posted = 0;
        kicked = 0;
        pool_decide(&function);

    } else if (event == KICK) {
        kicks = model.world->kick;
        model.world->kick = 0;
        kicked = 1;
        patrol_kicked(kicks);

    } else {
        adopt();
    }
}


/* owner.c: owner_free() */

static void
owner_free(uint32_t worker)
{
    faas_worker_t  *w;

    patrol_worker_died(worker);

    w = faas_scoreboard_worker(model.board, worker);

    model_point(NULL);

    atomic_store(&w->ready, 0);
    atomic_store(&w->started, 0);
    atomic_store(&w->pid, 0);

    model.world->worker_dead[worker] = 0;
}


/* version.c: version_promote(), version_drop() */

static void
deploy(void)
{
    version_t  *old;

    model.world->left.deploys--;

    old = function.current;
    function.current = &versions[1];

    atomic_store(&versions[1].sh->state, FAAS_VERSION_READY);
    atomic_store(&function.sh->current, 1);

    function_wake(&function);

    atomic_store(&old->sh->state, FAAS_VERSION_DRAINING);
    pool_superseded(old);

    pool_changed(&function);
}


/* supervisor.c: supervisor_adopt() */

static void
adopt(void)
{
    slot_t    *s, *next;
    uint32_t   i;
    uint64_t   word;

    adopted = 1;

    faas_limits_read(function.sh, &function.limits);
    function.current = &versions[atomic_load(&function.sh->current)];

    for (i = 0; i < MODEL_PLACES; i++) {
        s = &slots[i];
        word = atomic_load(&s->sh->word);

        if (faas_slot_state(word) == FAAS_SLOT_FREE) {
            continue;
        }

        s->generation = faas_slot_generation(word);
        s->following = slot_live;
        slot_live = s;
        s->sibling_next = function.slots;
        function.slots = s;
    }

    patrol_init();

    for (s = slot_live; s != NULL; s = next) {
        next = s->following;
        pool_adopt(s);
    }

    pool_changed(&function);
}


/* -- what has to hold ------------------------------------------------------ */


static const char *
check(void)
{
    uint32_t           i, live;
    uint64_t           word;

    if (!adopted) {
        return NULL;
    }

    live = 0;

    for (i = 0; i < MODEL_PLACES; i++) {
        word = atomic_load_explicit(&slots[i].sh->word,
                                    memory_order_relaxed);
        live += faas_slot_state(word) != FAAS_SLOT_FREE;
    }

    if (live != function.live) {
        return "the count of live slots is wrong";
    }

    return live > function.limits.max ? "there are more instances than max"
                                      : NULL;
}


static const char *
finished(void)
{
    uint32_t           i;
    faas_slot_state_e  state;

    for (i = 0; i < MODEL_PLACES; i++) {
        state = faas_slot_state(atomic_load_explicit(&slots[i].sh->word,
                                                     memory_order_relaxed));

        if (state != FAAS_SLOT_FREE && state != FAAS_SLOT_IDLE) {
            return "a slot stays out of use";
        }
    }

    return function.starting || function.ending
           ? "what starts and ends is counted wrong" : NULL;
}


static void
forget(void)
{
    uint32_t  i;

    memset(&function.policy, 0, sizeof(function.policy));

    for (i = 0; i < MODEL_PLACES; i++) {
        slots[i].forked_us = 0;
    }
}


__attribute__((visibility("default")))
model_process_t  model_process = {
    .start = start,
    .events = events,
    .optional = 1u << RETIRE | 1u << DEPLOY,
    .name = name,
    .run = run,
    .check = check,
    .finished = finished,
    .forget = forget
};
