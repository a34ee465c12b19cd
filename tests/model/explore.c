
/*
 * Runs the real code of two nginx workers and of the supervisor in all orders
 * that there are, and kills one of them at each step.
 *
 * A process is a coroutine: it runs until it is about to touch a word that
 * others may change (points.h), and there the explorer decides who runs next.
 * A state is everything that anybody can see: the board, the world of
 * model.h, the processes' writable segments and, of those that are in the
 * middle of something, their stacks and registers.  The explorer goes through
 * all states that can be reached, depth first; it knows those it has been to
 * by a hash of 64 bits.
 *
 * In each state: nobody changed a slot word in a way that the table of
 * faas_slot.h does not have, or that is another's to make; no slot is held by
 * two; each process finds its counters right when it is between two events;
 * the hints of what can be had are there when all are.  Where nothing more
 * will happen, all requests have been served, refused, or died with their
 * worker, and no slot stays out of use.
 *
 * usage: explore WORKER.so WORKER.so SUPERVISOR.so [SCENARIO | list]
 *
 * run.py builds it and runs it.  What it does not know: memory that is not
 * sequentially consistent, and what is longer than a scenario.
 */


#include <dlfcn.h>
#include <link.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "model.h"


#define BOARD_SIZE   (1024 * 1024)
#define STACK_SIZE   (16 * 1024)
#define LINES        512
#define LINE         64                      /* bytes */
#define CHOICES      64
#define REGISTERS    64                      /* bytes of a jmp_buf that hold
                                                registers */
#define WORLD        MODEL_PROCESSES         /* who: instances and clients */

/* events of the world */
#define BEGIN        0                       /* + worker and request */
#define ANSWER       (BEGIN + MODEL_WORKERS * MODEL_REQUESTS)
#define DIE          (ANSWER + MODEL_PLACES)
#define CRASH        (DIE + MODEL_PLACES)    /* + process */
#define START        (CRASH + MODEL_PROCESSES)
#define WORLD_EVENTS (START + MODEL_PROCESSES)

#if defined(__x86_64__)
#define stack_pointer(p)  __asm__ volatile ("mov %%rsp, %0" : "=r" (p))
#elif defined(__aarch64__)
#define stack_pointer(p)  __asm__ volatile ("mov %0, sp" : "=r" (p))
#else
#error "say how the stack pointer is read on this machine"
#endif

#define GO_ON        0xff                    /* event: to the next point */


/* a piece of some range: what is looked at, put aside and hashed at once */

typedef struct {
    char                     *data;
    size_t                    size;
    char                      known[LINE];   /* in the state we are in */
    uint64_t                  hash;
} line_t;


/* one of the processes; its segment is its state */

typedef struct {
    model_process_t          *code;
    void                     *segment;
    size_t                    size;
    line_t                   *lines;         /* of the segment */
    size_t                    nlines;
    uint64_t                  hash;          /* of its thread */
    void                     *fresh;         /* as it was loaded */
    void                     *stack;
    char                     *base;          /* end of what it uses */
    jmp_buf                   launch;
    const char               *called;
} process_t;


/* the part of a process's state that is not in its segment */

typedef struct {
    jmp_buf                   at;
    char                     *sp;            /* NULL: between two events */
    const volatile void      *address;       /* it is about to touch */
    uint8_t                   alive;
    uint8_t                   event;
} thread_t;


typedef struct {
    uint8_t                   who;
    uint8_t                   event;
} choice_t;


/*
 * A state on the way from the first one to where we are.  It is not kept
 * whole: what the step to it has changed can be taken back.
 */

typedef struct {
    choice_t                  came;          /* by which it was reached */
    thread_t                  was;           /* of who ran */
    size_t                    nundo;         /* records before the step */
    size_t                    nstack;        /* bytes of `was`, before it */
    unsigned                  nchoices;
    unsigned                  next;
    choice_t                  choice[CHOICES];
} step_t;


typedef struct {
    line_t                   *line;
    char                      data[LINE];
    uint64_t                  hash;
} undo_t;


static void load(uint32_t i, const char *path);
static int find_segment(struct dl_phdr_info *info, size_t size, void *data);
static void trampoline(void);
static void add_range(void *data, size_t size);
static void contend(void *data, size_t size);
static void prepare(const model_scenario_t *s);
static void watch(void);
static void explore(void);
static step_t *push(void);
static void choices(step_t *step);
static int is_spared(uint32_t who);
static int is_switch(uint32_t who);
static void choose(step_t *step, uint32_t who, uint32_t event);
static void take(step_t *step, choice_t choice);
static void see(line_t *l, size_t n);
static void take_back(const step_t *step);
static void put_aside(const char *data, size_t n);
static uint64_t word_of(uint32_t place);
static void run(uint32_t who, uint32_t event);
static void point(const volatile void *address);
static void complain(const char *what);
static void world_run(uint32_t event);
static void instance_begin(uint32_t worker, uint32_t request);
static void instance_answer(uint32_t place);
static void instance_die(uint32_t place);
static void crash(uint32_t who);
static const char *check(uint32_t who);
static const char *check_word(uint32_t who, uint64_t from, uint64_t to);
static int is_quiet(void);
static const char *check_slots(void);
static int is_end(const step_t *step);
static const char *check_end(void);
static void forget(uint32_t who);
static uint64_t thread_hash(uint32_t who);
static uint64_t mix(uint64_t h, const void *data, size_t n);
static int is_new(uint64_t h);
static void tell(const char *what);
static void tell_words(void);
static void tell_world(uint32_t event);
static void tell_address(const volatile void *address);


static model_t            model;
static model_world_t      world;
static model_scenario_t   scenario;
static faas_page_t        pages[MODEL_PLACES];
static process_t          process[MODEL_PROCESSES];
static thread_t           thread[MODEL_PROCESSES];
static line_t             lines[LINES];
static size_t             nlines, nshared;   /* all; of no process */
static uint64_t           hash;              /* of the state we are in */
static uint64_t           contended[BOARD_SIZE / 8 / 64];

static step_t            *steps;
static size_t             nsteps, depth;
static undo_t            *undo;
static size_t             nundo, undo_size;
static char              *stacks;            /* put aside */
static size_t             nstacks, stacks_size;
static uint64_t          *visited;
static uint64_t           nvisited, visited_size;
static uint64_t           nstates, nsteps_taken, nends;

static jmp_buf            back;
static ucontext_t         boot, home;
static uint32_t           current;           /* process that runs */
static uint32_t           current_event;
static int                alone;             /* points are none */
static const char        *failed;


/*
 * What is not said is 0.  Those without `switches` are gone through completely,
 * a crash of a worker and of the supervisor at any step among them.  Where
 * there are `switches`, a process that is in the middle of an event is
 * interrupted by another that often at most, each time at any point; what
 * instances and clients do, and crashes, come at any point without that.
 */

static const model_scenario_t  scenarios[] = {
    { .name = "one slot", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 } } },
    { .name = "two slots", .slots = 2, .warm = 2, .queue = 4,
      .budget = { .requests = { 1, 1 } } },
    { .name = "queue is full", .slots = 1, .warm = 1, .queue = 0,
      .budget = { .requests = { 1, 1 } } },
    { .name = "client goes away", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 }, .aborts = 1, .switches = 2 } },
    { .name = "worker dies", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 }, .worker_crashes = 1 } },
    { .name = "worker dies, two slots", .slots = 2, .warm = 2, .queue = 4,
      .budget = { .requests = { 1, 1 }, .worker_crashes = 1 } },
    { .name = "timeout", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 }, .timeouts = 1, .switches = 2 } },
    { .name = "one slot, three requests", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 2, 1 }, .switches = 2 } },
    { .name = "one-shot", .slots = 1, .warm = 1, .queue = 4, .oneshot = 1,
      .budget = { .requests = { 1, 1 }, .switches = 2 } },
    { .name = "scaled in", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 }, .retires = 1, .switches = 2 } },
    { .name = "cold", .slots = 2, .warm = 0, .queue = 4,
      .budget = { .requests = { 1, 1 }, .switches = 1 } },
    { .name = "instance dies", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 }, .deaths = 1, .switches = 1 } },
    { .name = "deployed", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 }, .deploys = 1, .switches = 1 } },
    { .name = "supervisor dies", .slots = 1, .warm = 1, .queue = 4,
      .budget = { .requests = { 1, 1 }, .supervisor_crashes = 1,
                  .switches = 2 } },
    { .name = "supervisor dies, two slots", .slots = 2, .warm = 2, .queue = 4,
      .budget = { .requests = { 1, 1 }, .supervisor_crashes = 1 } }
};


int
main(int argc, char **argv)
{
    size_t           i;
    struct timespec  begin, now;

    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: explore WORKER.so WORKER.so SUPERVISOR.so "
                "[SCENARIO | list]\n");
        return 2;
    }

    load(0, argv[1]);
    load(1, argv[2]);
    load(MODEL_SUPERVISOR, argv[3]);

    for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {

        if (argc == 5 && strcmp(argv[4], "list") == 0) {
            puts(scenarios[i].name);
            continue;
        }

        if (argc == 5 && strcmp(argv[4], scenarios[i].name) != 0) {
            continue;
        }

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);

        prepare(&scenarios[i]);
        explore();

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);

        printf("model: %s: %llu states, %llu steps, %llu ends, %.1f s\n",
               scenarios[i].name, (unsigned long long) nstates,
               (unsigned long long) nsteps_taken,
               (unsigned long long) nends,
               (double) (now.tv_sec - begin.tv_sec)
               + (double) (now.tv_nsec - begin.tv_nsec) / 1e9);
        fflush(stdout);
    }

    return 0;
}


/* -- loading --------------------------------------------------------------- */


static void
load(uint32_t i, const char *path)
{
    void        *handle;
    process_t   *p;

    p = &process[i];

    handle = dlopen(path, RTLD_NOW|RTLD_LOCAL);

    if (handle == NULL) {
        fprintf(stderr, "model: %s\n", dlerror());
        exit(2);
    }

    p->code = dlsym(handle, "model_process");
    p->called = i == MODEL_SUPERVISOR ? "supervisor"
                : i == 0 ? "worker 0" : "worker 1";

    if (p->code == NULL) {
        fprintf(stderr, "model: %s\n", dlerror());
        exit(2);
    }

    (void) dl_iterate_phdr(find_segment, p);

    p->fresh = malloc(p->size);
    p->stack = aligned_alloc(4096, STACK_SIZE);

    if (p->fresh == NULL || p->stack == NULL) {
        abort();
    }

    memcpy(p->fresh, p->segment, p->size);

    /* the coroutine begins where it will begin each event */

    memset(p->stack, 0, STACK_SIZE);

    getcontext(&boot);
    boot.uc_stack.ss_sp = p->stack;
    boot.uc_stack.ss_size = STACK_SIZE;
    boot.uc_link = NULL;
    makecontext(&boot, trampoline, 0);

    current = i;

    if (_setjmp(back) == 0) {
        (void) swapcontext(&home, &boot);
    }
}


/* what of a shared object is written to after it was loaded */

static int
find_segment(struct dl_phdr_info *info, size_t size, void *data)
{
    int         i;
    char       *begin, *end, *fixed_end;
    process_t  *p;

    (void) size;

    p = data;
    begin = NULL;
    end = NULL;
    fixed_end = NULL;

    for (i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)  *h = &info->dlpi_phdr[i];
        char              *at = (char *) info->dlpi_addr + h->p_vaddr;

        if (h->p_type == PT_LOAD && (h->p_flags & PF_W)) {
            begin = at;
            end = at + h->p_memsz;

        } else if (h->p_type == PT_GNU_RELRO) {
            fixed_end = at + h->p_memsz;
        }
    }

    if ((char *) p->code < begin || (char *) p->code >= end) {
        return 0;
    }

    if (fixed_end > begin && fixed_end < end) {
        begin = fixed_end;
    }

    p->segment = begin;
    p->size = (size_t) (end - begin);

    return 1;
}


static void
trampoline(void)
{
    process_t  *p;

    p = &process[current];
    stack_pointer(p->base);

    for ( ;; ) {
        if (_setjmp(p->launch) == 0) {
            _longjmp(back, 1);
        }

        process[current].code->run(current_event);

        thread[current].sp = NULL;
        _longjmp(back, 1);
    }
}


/* -- the first state ------------------------------------------------------- */


static void
add_range(void *data, size_t size)
{
    line_t  *l;
    size_t   n;
    char    *p;

    for (p = data; size > 0; p += n, size -= n) {
        n = size < LINE ? size : LINE;

        if (nlines == LINES) {
            abort();
        }

        l = &lines[nlines++];
        l->data = p;
        l->size = n;
        l->hash = 0;
        memcpy(l->known, p, n);
    }
}


/* a word of the board that more than one may change or look at */

static void
contend(void *data, size_t size)
{
    size_t  at;

    for (at = (size_t) ((char *) data - (char *) model.board) / 8;
         at * 8 < (size_t) ((char *) data - (char *) model.board) + size;
         at++)
    {
        contended[at / 64] |= UINT64_C(1) << at % 64;
    }
}


static void
prepare(const model_scenario_t *s)
{
    uint32_t               i, j;
    uint64_t               word;
    faas_cell_t           *cell;
    faas_limits_t          limits;
    faas_chunk_t          *chunk;
    faas_version_t        *v;
    faas_function_t       *f;
    static faas_page_t    *by_slot[MODEL_VERSIONS * FAAS_CHUNK_SLOTS];
    static faas_scoreboard_t  *board;

    if (board == NULL) {
        board = aligned_alloc(4096, BOARD_SIZE);

        if (board == NULL) {
            abort();
        }
    }

    memset(board, 0, BOARD_SIZE);
    memset(&world, 0, sizeof(world));
    memset(pages, 0, sizeof(pages));
    memset(contended, 0, sizeof(contended));
    memset(thread, 0, sizeof(thread));

    nlines = 0;
    alone = 1;

    if (faas_scoreboard_format(board, BOARD_SIZE, "model") != FAAS_OK) {
        abort();
    }

    scenario = *s;

    model.board = board;
    model.world = &world;
    model.pages = by_slot;
    model.scenario = &scenario;
    model.point = point;
    model.fail = complain;

    world.left = s->budget;

    /* one function and two versions, the first of them current */

    f = faas_scoreboard_function(board, 0);
    atomic_store(&f->state, FAAS_FUNCTION_READY);
    atomic_store(&f->current, 0);
    atomic_store(&board->functions_used, 1);

    memset(&limits, 0, sizeof(limits));
    limits.max = s->slots;
    limits.queue = s->queue;
    limits.timeout_ms = 1000;
    limits.queue_timeout_ms = 1000;
    limits.mode = s->oneshot ? FAAS_MODE_ONESHOT : FAAS_MODE_RESIDENT;
    faas_limits_write(f, &limits);

    contend(&f->kick, sizeof(f->kick));
    contend(&f->waiting_mask[0], sizeof(f->waiting_mask[0]));

    if (s->budget.deploys) {
        contend(&f->current, sizeof(f->current));
    }

    for (i = 0; i < MODEL_VERSIONS; i++) {
        v = faas_scoreboard_version(board, i);
        atomic_store(&v->state, i ? FAAS_VERSION_LOADING
                                  : FAAS_VERSION_READY);
        atomic_store(&v->chunk[0], i);
        atomic_store(&v->chunks, 1);

        chunk = faas_scoreboard_chunk(board, i);
        faas_chunk_give(chunk, i);

        contend(&chunk->idle, sizeof(chunk->idle));
        contend(&chunk->handed, sizeof(chunk->handed));

        for (j = 0; j < MODEL_SLOTS; j++) {
            by_slot[model_slot(i, j)] = &pages[i * MODEL_SLOTS + j];
            contend(&chunk->slot[j].word, sizeof(chunk->slot[j].word));
        }
    }

    /* how many are admitted is looked at by others only to refuse */

    for (i = 0; i < MODEL_WORKERS && s->queue == 0; i++) {
        cell = faas_scoreboard_cell(board, 0, i);
        contend(&cell->admitted, sizeof(cell->admitted));
    }

    for (i = 0; i < MODEL_PROCESSES; i++) {
        memcpy(process[i].segment, process[i].fresh,
               process[i].size);

        process[i].code->start(&model, i);
        thread[i].alive = 1;
    }

    for (i = 0; i < s->warm; i++) {
        (void) faas_slot_start(board, i);
        word = atomic_load(&faas_scoreboard_slot(board, i)->word);
        (void) faas_slot_change(board, i, word, FAAS_SLOT_IDLE,
                                FAAS_WORKER_NONE);
        atomic_store(&faas_scoreboard_slot(board, i)->requests, s->oneshot);

        world.instance[i].alive = 1;
        world.instance[i].generation = 1;
    }

    /* a supervisor begins with what it finds */

    process[MODEL_SUPERVISOR].code->run(0);

    alone = 0;

    for (i = 0; i < MODEL_PROCESSES; i++) {
        forget(i);
    }

    watch();
}


/* all of which a state consists */

static void
watch(void)
{
    uint32_t          i;
    faas_cell_t      *cell;
    faas_chunk_t     *chunk;
    faas_function_t  *f;

    nlines = 0;
    hash = UINT64_C(0x9e3779b97f4a7c15);

    add_range(&world, sizeof(world));
    for (i = 0; i < MODEL_PLACES; i++) {
        add_range(&pages[i].begun, sizeof(pages[i].begun));
        add_range(&pages[i].ended, sizeof(pages[i].ended));
    }

    f = faas_scoreboard_function(model.board, 0);

    add_range(&f->current, sizeof(f->current));
    add_range(&f->kick, sizeof(f->kick));
    add_range(&f->waiting_mask[0], sizeof(f->waiting_mask[0]));

    for (i = 0; i < MODEL_VERSIONS; i++) {
        chunk = faas_scoreboard_chunk(model.board, i);

        add_range(&faas_scoreboard_version(model.board, i)->state,
                  sizeof(uint32_t));
        add_range(&chunk->idle, sizeof(chunk->idle));
        add_range(&chunk->handed, sizeof(chunk->handed));
        add_range(chunk->slot, MODEL_SLOTS * sizeof(faas_slot_t));
    }

    for (i = 0; i < MODEL_WORKERS; i++) {
        cell = faas_scoreboard_cell(model.board, 0, i);

        add_range(cell, offsetof(faas_cell_t, arrivals));
        add_range(faas_scoreboard_worker(model.board, i),
                  sizeof(faas_worker_t));
    }

    nshared = nlines;

    for (i = 0; i < MODEL_PROCESSES; i++) {
        process[i].lines = &lines[nlines];
        process[i].hash = 0;

        add_range(process[i].segment, process[i].size);

        process[i].nlines = (size_t) (&lines[nlines] - process[i].lines);
    }
}


/* -- all states ------------------------------------------------------------ */


static void
explore(void)
{
    step_t      *step;
    choice_t     choice;
    const char  *why;

    free(visited);
    visited_size = 1 << 20;
    visited = calloc(visited_size, sizeof(uint64_t));
    nvisited = 0;

    if (visited == NULL) {
        abort();
    }

    nstates = 1;
    nsteps_taken = 0;
    nends = 0;
    depth = 0;
    nundo = 0;
    nstacks = 0;

    (void) is_new(hash);
    choices(push());

    for ( ;; ) {
        step = &steps[depth - 1];

        if (step->next == step->nchoices) {

            if (--depth == 0) {
                return;
            }

            take_back(step);
            continue;
        }

        choice = step->choice[step->next++];

        step = push();
        take(step, choice);
        nsteps_taken++;

        if (failed != NULL) {
            tell(failed);
        }

        if (!is_new(hash)) {
            depth--;
            take_back(step);
            continue;
        }

        nstates++;
        choices(step);

        if (is_quiet() && is_end(step)) {
            nends++;
            why = check_end();

            if (why != NULL) {
                tell(why);
            }
        }
    }
}


/* room for the state that comes next */

static step_t *
push(void)
{
    if (depth == nsteps) {
        nsteps += 1024;
        steps = realloc(steps, nsteps * sizeof(step_t));

        if (steps == NULL) {
            abort();
        }
    }

    return &steps[depth++];
}


static void
choices(step_t *step)
{
    uint32_t             i, j, mask;
    model_instance_t    *instance;
    model_connection_t  *c;

    step->nchoices = 0;
    step->next = 0;

    for (i = 0; i < MODEL_PROCESSES; i++) {

        if (!thread[i].alive) {
            if (i < MODEL_WORKERS && world.left.worker_starts
                && !world.worker_dead[i])
            {
                choose(step, WORLD, START + i);
            }

            continue;
        }

        if (i < MODEL_WORKERS ? world.left.worker_crashes
                              : world.left.supervisor_crashes)
        {
            choose(step, WORLD, CRASH + i);
        }

        if (is_spared(i)) {
            continue;
        }

        if (thread[i].sp != NULL) {
            choose(step, i, GO_ON);

        } else {
            mask = process[i].code->events();

            for (j = 0; j < 32; j++) {
                if (mask >> j & 1) {
                    choose(step, i, j);
                }
            }
        }
    }

    for (i = 0; i < MODEL_PLACES; i++) {
        instance = &world.instance[i];

        if (!instance->alive) {
            continue;
        }

        if (instance->running) {
            choose(step, WORLD, ANSWER + i);
        }

        if (instance->asked || instance->spent || world.left.deaths) {
            choose(step, WORLD, DIE + i);
        }
    }

    for (i = 0; i < MODEL_WORKERS * MODEL_REQUESTS; i++) {
        c = &world.connection[i / MODEL_REQUESTS][i % MODEL_REQUESTS];
        instance = &world.instance[c->place];

        if (c->sent && !c->begun && instance->alive && !instance->running
            && !instance->spent
            && (c->state == MODEL_IN_BACKLOG
                || (c->state == MODEL_ACCEPTED
                    && c->generation == instance->generation)))
        {
            choose(step, WORLD, BEGIN + i);
        }
    }
}


/* may the process not run, because too many were interrupted already? */

static int
is_spared(uint32_t who)
{
    return is_switch(who) && world.left.switches == 0;
}


static int
is_switch(uint32_t who)
{
    return scenario.budget.switches && who != world.last
           && thread[world.last].sp != NULL;
}


static void
choose(step_t *step, uint32_t who, uint32_t event)
{
    step->choice[step->nchoices].who = (uint8_t) who;
    step->choice[step->nchoices].event = (uint8_t) event;
    step->nchoices++;
}


/* -- one step -------------------------------------------------------------- */


static void
take(step_t *step, choice_t choice)
{
    size_t    n;
    uint32_t  i, who;
    uint64_t  word[MODEL_PLACES];

    for (i = 0; i < MODEL_PLACES; i++) {
        word[i] = word_of(i);
    }

    step->came = choice;
    step->nundo = nundo;
    step->nchoices = 0;
    step->next = 0;

    /* who runs, is started or dies */

    who = choice.who != WORLD ? choice.who
          : choice.event >= START ? choice.event - START
          : choice.event >= CRASH ? choice.event - CRASH : WORLD;

    step->nstack = 0;

    if (who != WORLD) {
        step->was = thread[who];

        if (thread[who].sp != NULL) {
            n = (size_t) (process[who].base - thread[who].sp);
            put_aside(thread[who].sp, n);
            step->nstack = n;
        }
    }

    if (choice.who == WORLD) {
        world_run(choice.event);

    } else {
        world.left.switches -= is_switch(choice.who);
        world.last = scenario.budget.switches ? choice.who : 0;
        run(choice.who, choice.event);
    }

    for (i = 0; i < MODEL_PLACES && failed == NULL; i++) {
        if (word[i] != word_of(i)) {
            failed = check_word(choice.who, word[i], word_of(i));
        }
    }

    if (failed == NULL) {
        failed = check(who);
    }

    forget(who);
    see(lines, nshared);

    if (who != WORLD) {
        see(process[who].lines, process[who].nlines);
        hash ^= process[who].hash;
        process[who].hash = thread_hash(who);
        hash ^= process[who].hash;
    }
}


/* what of these lines has changed */

static void
see(line_t *l, size_t n)
{
    undo_t  *u;

    for ( /* void */ ; n > 0; l++, n--) {

        if (memcmp(l->data, l->known, l->size) == 0) {
            continue;
        }

        if (nundo == undo_size) {
            undo_size += 4096;
            undo = realloc(undo, undo_size * sizeof(undo_t));

            if (undo == NULL) {
                abort();
            }
        }

        u = &undo[nundo++];
        u->line = l;
        u->hash = l->hash;
        memcpy(u->data, l->known, LINE);

        memcpy(l->known, l->data, l->size);

        hash ^= l->hash;
        l->hash = mix(UINT64_C(0xd6e8feb86659fd93) * (uint64_t) (l - lines + 1),
                      l->data, l->size);
        hash ^= l->hash;
    }
}


/* the step that led to this state */

static void
take_back(const step_t *step)
{
    undo_t    *u;
    uint32_t   who;

    while (nundo > step->nundo) {
        u = &undo[--nundo];

        memcpy(u->line->data, u->data, u->line->size);
        memcpy(u->line->known, u->data, LINE);

        hash ^= u->line->hash ^ u->hash;
        u->line->hash = u->hash;
    }

    who = step->came.who != WORLD ? step->came.who
          : step->came.event >= START ? step->came.event - START
          : step->came.event >= CRASH ? step->came.event - CRASH : WORLD;

    if (who == WORLD) {
        return;
    }

    thread[who] = step->was;

    if (step->nstack) {
        nstacks -= step->nstack;
        memcpy(thread[who].sp, stacks + nstacks, step->nstack);
    }

    hash ^= process[who].hash;
    process[who].hash = thread_hash(who);
    hash ^= process[who].hash;
}


static void
put_aside(const char *data, size_t n)
{
    if (stacks_size - nstacks < n) {
        stacks_size += 1024 * 1024;
        stacks = realloc(stacks, stacks_size);

        if (stacks == NULL) {
            abort();
        }
    }

    memcpy(stacks + nstacks, data, n);
    nstacks += n;
}


static uint64_t
word_of(uint32_t place)
{
    return atomic_load(&faas_scoreboard_slot(model.board,
                             model_slot(place / MODEL_SLOTS,
                                        place % MODEL_SLOTS))->word);
}


/* lets a process run to its next point, or to the end of the event */

static void
run(uint32_t who, uint32_t event)
{
    process_t  *p;
    thread_t   *t;

    p = &process[who];
    t = &thread[who];
    current = who;

    if (_setjmp(back) != 0) {
        return;
    }

    if (event == GO_ON) {
        _longjmp(t->at, 1);
    }

    /* nothing of what was there before is part of the state */

    memset(p->stack, 0, (size_t) (p->base - (char *) p->stack));
    memset(t->at, 0, sizeof(t->at));

    t->event = (uint8_t) event;
    current_event = event;

    _longjmp(p->launch, 1);
}


/* called by a process, on its stack */

static void
point(const volatile void *address)
{
    size_t     at;
    thread_t  *t;

    if (alone) {
        return;
    }

    if (address != NULL && (const char *) address >= (char *) model.board
        && (const char *) address < (char *) model.board + BOARD_SIZE)
    {
        at = (size_t) ((const char *) address - (char *) model.board) / 8;

        if (!(contended[at / 64] >> at % 64 & 1)) {
            return;
        }
    }

    t = &thread[current];
    t->address = address;
    stack_pointer(t->sp);

    if (_setjmp(t->at) == 0) {
        _longjmp(back, 1);
    }
}


/* called by a process that found what must not be */

static void
complain(const char *what)
{
    failed = what;

    if (alone) {
        tell(what);
    }

    _longjmp(back, 1);
}


/* -- instances, and what happens to processes ------------------------------ */


static void
world_run(uint32_t event)
{
    uint32_t  i;

    if (event >= START) {
        i = event - START;
        world.left.worker_starts--;

        alone = 1;
        process[i].code->start(&model, i);
        alone = 0;

        thread[i].alive = 1;

    } else if (event >= CRASH) {
        crash(event - CRASH);

    } else if (event >= DIE) {
        instance_die(event - DIE);

    } else if (event >= ANSWER) {
        instance_answer(event - ANSWER);

    } else {
        instance_begin(event / MODEL_REQUESTS, event % MODEL_REQUESTS);
    }
}


/* an instance takes a request from one of its connections */

static void
instance_begin(uint32_t worker, uint32_t request)
{
    model_instance_t    *instance;
    model_connection_t  *c;

    c = &world.connection[worker][request];
    instance = &world.instance[c->place];

    if (c->generation != instance->generation) {
        failed = "a request came to another instance than it was meant for";
        return;
    }

    c->state = MODEL_ACCEPTED;
    c->begun = 1;

    instance->running = 1;
    instance->worker = (uint8_t) worker;
    instance->request = (uint8_t) request;

    pages[c->place].begun++;
}


static void
instance_answer(uint32_t place)
{
    model_instance_t    *instance;
    model_connection_t  *c;

    instance = &world.instance[place];
    c = &world.connection[instance->worker][instance->request];

    if (c->begun && c->place == place
        && c->generation == instance->generation)
    {
        c->answered = 1;
    }

    pages[place].ended = pages[place].begun;

    instance->running = 0;
    instance->spent = scenario.oneshot != 0;
    instance->worker = 0;
    instance->request = 0;
}


static void
instance_die(uint32_t place)
{
    uint32_t             i;
    model_instance_t    *instance;
    model_connection_t  *c;

    instance = &world.instance[place];

    if (!instance->asked && !instance->spent) {
        world.left.deaths--;
    }

    for (i = 0; i < MODEL_WORKERS * MODEL_REQUESTS; i++) {
        c = &world.connection[i / MODEL_REQUESTS][i % MODEL_REQUESTS];

        if (c->state == MODEL_ACCEPTED && c->place == place
            && c->generation == instance->generation)
        {
            c->state = MODEL_CLOSED;
        }
    }

    instance->alive = 0;
    instance->asked = 0;
    instance->spent = 0;
    instance->running = 0;
    instance->worker = 0;
    instance->request = 0;
}


/* SIGKILL */

static void
crash(uint32_t who)
{
    uint32_t  i;

    memcpy(process[who].segment, process[who].fresh,
           process[who].size);
    memset(&thread[who], 0, sizeof(thread_t));

    world.crashed = 1;

    if (who < MODEL_WORKERS) {
        world.left.worker_crashes--;
        world.worker_dead[who] = 1;
        world.closed[who] = 0;
        memset(world.connection[who], 0, sizeof(world.connection[who]));
        return;
    }

    /* the keeper starts another, and workers see their connection end */

    world.left.supervisor_crashes--;

    for (i = 0; i < MODEL_WORKERS; i++) {
        world.closed[i] = thread[i].alive;
    }

    alone = 1;
    process[who].code->start(&model, who);
    alone = 0;

    thread[who].alive = 1;
}


/* -- what has to hold ------------------------------------------------------ */


static const char *
check(uint32_t who)
{
    const char  *why;

    if (who < MODEL_PROCESSES && thread[who].alive && thread[who].sp == NULL)
    {
        why = process[who].code->check();

        if (why != NULL) {
            return why;
        }
    }

    return is_quiet() ? check_slots() : NULL;
}


/* the table of faas_slot.h, with who may do it */

static const char *
check_word(uint32_t who, uint64_t from, uint64_t to)
{
    int       same;
    uint32_t  a, b;

    a = faas_slot_owner(from);
    b = faas_slot_owner(to);
    same = faas_slot_generation(from) == faas_slot_generation(to);

#define line(x, y)                                                            \
    (faas_slot_state(from) == FAAS_SLOT_ ## x                                 \
     && faas_slot_state(to) == FAAS_SLOT_ ## y)

    if (who == MODEL_SUPERVISOR) {

        if (line(FREE, STARTING)) {
            return faas_slot_generation(from) + 1 == faas_slot_generation(to)
                   ? NULL : "a generation is not the next";
        }

        if (same
            && (faas_slot_state(to) == FAAS_SLOT_FREE
                || line(STARTING, IDLE) || line(STARTING, HANDED)
                || line(IDLE, HANDED) || line(IDLE, RETIRING)
                || (line(BUSY, DRAINING) && !thread[a].alive)
                || line(BUSY, CONDEMNED)
                || line(HANDED, IDLE)
                || line(DRAINING, IDLE) || line(DRAINING, HANDED)
                || line(DRAINING, RETIRING) || line(DRAINING, CONDEMNED)))
        {
            return NULL;
        }

        return "the supervisor changed a word that is not its to change";
    }

    if (same
        && ((line(IDLE, BUSY) && b == who)
            || line(IDLE, HANDED)
            || (line(BUSY, IDLE) && a == who)
            || (line(BUSY, HANDED) && a == who)
            || (line(BUSY, DRAINING) && a == who)
            || (line(BUSY, CONDEMNED) && a == who)
            || (line(HANDED, BUSY) && a == who && b == who)
            || (line(HANDED, HANDED) && a == who)
            || (line(HANDED, IDLE) && a == who)))
    {
        return NULL;
    }

#undef line

    return "a worker changed a word that is not its to change";
}


/* is everybody between two events, and nobody's end still to be seen? */

static int
is_quiet(void)
{
    uint32_t  i;

    for (i = 0; i < MODEL_PROCESSES; i++) {
        if (thread[i].sp != NULL
            || (i < MODEL_WORKERS && world.worker_dead[i]))
        {
            return 0;
        }
    }

    return process[MODEL_SUPERVISOR].code->events() != 1;
}


/* hints, and whose slots are; only while everything is quiet */

static const char *
check_slots(void)
{
    uint32_t       i, j, n, slot;
    uint64_t       word;
    faas_chunk_t  *chunk;

    for (i = 0; i < MODEL_PLACES; i++) {
        slot = model_slot(i / MODEL_SLOTS, i % MODEL_SLOTS);
        chunk = faas_scoreboard_chunk(model.board, i / MODEL_SLOTS);
        word = word_of(i);

        switch (faas_slot_state(word)) {

        case FAAS_SLOT_IDLE:
            if (!(atomic_load(&chunk->idle) >> i % MODEL_SLOTS & 1)) {
                return "the hint of an idle slot is missing";
            }
            break;

        case FAAS_SLOT_HANDED:
            if (!(atomic_load(&chunk->handed) >> i % MODEL_SLOTS & 1)) {
                return "the hint of a slot that was handed over is missing";
            }
            break;

        case FAAS_SLOT_BUSY:
            for (j = 0, n = 0; j < MODEL_WORKERS; j++) {
                n += process[j].code->holds(slot,
                                            faas_slot_generation(word));
            }

            if (n > 1) {
                return "a slot is held by two requests";
            }

            if (!process[faas_slot_owner(word)].code
                  ->holds(slot, faas_slot_generation(word)))
            {
                return "a slot is busy with no request";
            }
            break;

        default:
            break;
        }
    }

    return NULL;
}


/*
 * Nothing will happen any more, but for what need not come: each event that
 * still can leads back to the same state (those of a timer do).
 */

static int
is_end(const step_t *step)
{
    int       same;
    uint32_t  i;
    uint64_t  before;
    choice_t  choice;
    step_t   *turn;

    static step_t  end_step;

    before = hash;
    turn = &end_step;

    for (i = 0; i < step->nchoices; i++) {
        choice = step->choice[i];

        if (choice.who == WORLD) {

            if (choice.event >= CRASH
                || (choice.event >= DIE && choice.event < CRASH
                    && !world.instance[choice.event - DIE].asked
                    && !world.instance[choice.event - DIE].spent))
            {
                continue;
            }

            return 0;
        }

        if (process[choice.who].code->optional >> choice.event & 1) {
            continue;
        }

        alone = 1;
        take(turn, choice);
        alone = 0;

        same = hash == before;
        take_back(turn);

        if (!same) {
            return 0;
        }
    }

    return 1;
}


static const char *
check_end(void)
{
    uint32_t     i;
    const char  *why;

    for (i = 0; i < MODEL_PROCESSES; i++) {

        why = thread[i].alive ? process[i].code->finished() : NULL;

        if (why != NULL) {
            return why;
        }
    }

    return NULL;
}


/* -- states ---------------------------------------------------------------- */


/* what says only when, or how often, is nothing that anybody acts upon */

static void
forget(uint32_t who)
{
    uint32_t      i;
    faas_slot_t  *s;

    if (who != WORLD && thread[who].alive) {
        process[who].code->forget();
    }

    for (i = 0; i < MODEL_PLACES; i++) {
        s = faas_scoreboard_slot(model.board, model_slot(i / MODEL_SLOTS,
                                                         i % MODEL_SLOTS));
        atomic_store(&s->handed_ms, 0);
        atomic_store(&s->idle_ms, 0);
        atomic_store(&s->started_ms, 0);
        atomic_store(&s->served, 0);

        if (!scenario.oneshot) {
            pages[i].begun = pages[i].begun != pages[i].ended;
            pages[i].ended = 0;
            s->base = 0;
        }
    }
}


static uint64_t
thread_hash(uint32_t who)
{
    uint64_t   h;
    thread_t  *t;

    t = &thread[who];
    h = mix(who + 1, &t->alive, 1);

    if (t->sp != NULL) {
        h = mix(h, t->at, REGISTERS);
        h = mix(h, t->sp, (size_t) (process[who].base - t->sp));
    }

    return h;
}


static uint64_t
mix(uint64_t h, const void *data, size_t n)
{
    uint64_t     v;
    const char  *p;

    for (p = data; n >= 8; p += 8, n -= 8) {
        memcpy(&v, p, 8);
        h = (h ^ v) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
    }

    if (n > 0) {
        v = 0;
        memcpy(&v, p, n);
        h = (h ^ v ^ n << 56) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
    }

    return h;
}


/* 1 the first time that a state is seen */

static int
is_new(uint64_t h)
{
    uint64_t   i, j, size, *table;

    if (nvisited * 4 > visited_size * 3) {
        size = visited_size * 2;
        table = calloc(size, sizeof(uint64_t));

        if (table == NULL) {
            abort();
        }

        for (i = 0; i < visited_size; i++) {
            if (visited[i] != 0) {
                for (j = visited[i] & (size - 1); table[j] != 0;
                     j = (j + 1) & (size - 1))
                {
                    /* void */
                }

                table[j] = visited[i];
            }
        }

        free(visited);
        visited = table;
        visited_size = size;
    }

    for (i = h & (visited_size - 1); visited[i] != 0;
         i = (i + 1) & (visited_size - 1))
    {
        if (visited[i] == h) {
            return 0;
        }
    }

    visited[i] = h;
    nvisited++;

    return 1;
}


/* -- what went wrong, and how it came to it -------------------------------- */


static void
tell(const char *what)
{
    size_t    i, n;
    step_t   *step;

    printf("model: %s: FAILED: %s\n", scenario.name, what);

    /* back to the first state, and the same way again */

    for (n = depth; depth > 1; depth--) {
        take_back(&steps[depth - 1]);
    }

    for (i = 1; i < n; i++) {
        step = &steps[i];
        failed = NULL;
        printf("%5zu  ", i);

        if (step->came.who == WORLD) {
            tell_world(step->came.event);

        } else {
            printf("%-10s  ", process[step->came.who].called);

            if (step->came.event != GO_ON) {
                printf("%s", process[step->came.who].code
                               ->name(step->came.event));

            } else {
                printf("  ");
                tell_address(thread[step->came.who].address);
            }
        }

        take(step, step->came);
        tell_words();
    }

    exit(1);
}


static void
tell_words(void)
{
    uint32_t  i;

    printf("   |");

    for (i = 0; i < MODEL_PLACES; i++) {

        if (faas_slot_generation(word_of(i)) == 0) {
            continue;
        }

        printf(" %s", faas_slot_state_name(faas_slot_state(word_of(i))));

        if (faas_slot_owner(word_of(i)) < MODEL_WORKERS) {
            printf("(%u)", faas_slot_owner(word_of(i)));
        }
    }

    printf("\n");
}


static void
tell_world(uint32_t event)
{
    printf("%-10s  ", "world");

    if (event >= START) {
        printf("%s starts", process[event - START].called);

    } else if (event >= CRASH) {
        printf("%s is killed", process[event - CRASH].called);

    } else if (event >= DIE) {
        printf("instance in place %u ends", event - DIE);

    } else if (event >= ANSWER) {
        printf("instance in place %u answers", event - ANSWER);

    } else {
        printf("request %u of worker %u is begun", event % MODEL_REQUESTS,
               event / MODEL_REQUESTS);
    }
}


static void
tell_address(const volatile void *address)
{
    uint32_t          i;
    faas_chunk_t     *chunk;
    faas_function_t  *f;

    f = faas_scoreboard_function(model.board, 0);

    if (address == NULL) {
        printf("a socket");

    } else if (address == &f->kick) {
        printf("kick");

    } else if (address == &f->current) {
        printf("current");

    } else if (address == &f->waiting_mask[0]) {
        printf("waiting_mask");

    } else {
        for (i = 0; i < MODEL_PLACES; i++) {
            chunk = faas_scoreboard_chunk(model.board, i / MODEL_SLOTS);

            if (address == &chunk->idle) {
                printf("idle hints of version %u", i / MODEL_SLOTS);
                return;
            }

            if (address == &chunk->handed) {
                printf("handed hints of version %u", i / MODEL_SLOTS);
                return;
            }

            if (address == &chunk->slot[i % MODEL_SLOTS].word) {
                printf("word in place %u", i);
                return;
            }
        }

        printf("a counter");
    }
}
