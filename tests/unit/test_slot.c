/* objects: scoreboard/faas_scoreboard.c */
/* libs: -lpthread */

/*
 * Slot words: the table of transitions, many workers at once, and workers
 * that are killed in the middle.
 *
 * The code under test is compiled in here with atomic operations that now and
 * then let somebody else run before and after, so that moments which are two
 * instructions long otherwise are met in a short test.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


static void stumble(void);


#undef atomic_load
#undef atomic_store
#undef atomic_fetch_and
#undef atomic_fetch_or
#undef atomic_compare_exchange_strong

#define atomic_load(p)                                                        \
    (stumble(), atomic_load_explicit(p, memory_order_seq_cst))
#define atomic_store(p, v)                                                    \
    (stumble(), atomic_store_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_and(p, v)                                                \
    (stumble(), atomic_fetch_and_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_or(p, v)                                                 \
    (stumble(), atomic_fetch_or_explicit(p, v, memory_order_seq_cst))
#define atomic_compare_exchange_strong(p, e, v)                               \
    (stumble(), atomic_compare_exchange_strong_explicit(p, e, v,              \
                        memory_order_seq_cst, memory_order_seq_cst))

#include "../../scoreboard/faas_slot.c"


#define BOARD_SIZE  (1024 * 1024)
#define VERSION     1
#define CHUNK       2
#define WORKERS     6
#define NOBODY      0xffffffffu

#define HANG_S      20               /* nothing here takes so long */


/* what the processes and threads of a test share beside the board */

typedef struct {
    _Atomic uint32_t  owner[FAAS_CHUNK_SLOTS];  /* by word owner, or NOBODY */
    _Atomic uint64_t  rounds[WORKERS];
    _Atomic int       failed;        /* line of the test */
    _Atomic int       stop;
    uint32_t          nslots;
    uint32_t          nworkers;
    uint32_t          iterations;
} shared_t;


static faas_scoreboard_t  *sb;
static faas_chunk_t       *chunk;
static shared_t           *shared;
static sem_t               wake[WORKERS];

static _Thread_local uint32_t  seed = 20231123;
static _Thread_local int       stumbles;


#define check(x)                                                              \
    do {                                                                      \
        if (!(x)) {                                                           \
            atomic_store_explicit(&shared->failed, __LINE__,                  \
                                  memory_order_relaxed);                      \
        }                                                                     \
    } while (0)


static uint32_t
roll(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed % n;
}


/* somebody else's doing at the n-th operation from now on */
static _Thread_local int    moment;
static _Thread_local void (*moment_does)(void);


static void
stumble(void)
{
    if (moment > 0 && --moment == 0) {
        moment_does();
    }

    if (stumbles && roll(64) == 0) {
        sched_yield();
    }
}


static uint32_t
slot_number(uint32_t i)
{
    return CHUNK * FAAS_CHUNK_SLOTS + i;
}


static uint64_t
word_of(uint32_t i)
{
    return atomic_load(&chunk->slot[i].word);
}


static int
setup(void **state)
{
    uint32_t         i;
    faas_version_t  *v;

    (void) state;

    sb = mmap(NULL, BOARD_SIZE, PROT_READ|PROT_WRITE,
              MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    shared = mmap(NULL, sizeof(shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    assert_true(sb != MAP_FAILED && shared != MAP_FAILED);
    assert_int_equal(faas_scoreboard_format(sb, BOARD_SIZE, "test"), FAAS_OK);

    chunk = faas_scoreboard_chunk(sb, CHUNK);
    faas_chunk_give(chunk, VERSION);

    v = faas_scoreboard_version(sb, VERSION);
    atomic_store(&v->chunk[0], CHUNK);
    atomic_store(&v->chunks, 1);

    shared->nworkers = WORKERS;

    for (i = 0; i < FAAS_CHUNK_SLOTS; i++) {
        atomic_store(&shared->owner[i], NOBODY);
    }

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    munmap(sb, BOARD_SIZE);
    munmap(shared, sizeof(shared_t));

    return 0;
}


/* n slots come up idle */

static void
come_up(uint32_t n)
{
    uint32_t  i;

    shared->nslots = n;

    for (i = 0; i < n; i++) {
        assert_int_equal(faas_slot_start(sb, slot_number(i)), 1);
        assert_int_equal(faas_slot_change(sb, slot_number(i), word_of(i),
                                          FAAS_SLOT_IDLE, 0), FAAS_OK);
    }
}


/* -- the table ------------------------------------------------------------- */


/* as it stands in faas_slot.h */

static const struct {
    faas_slot_state_e  from;
    faas_slot_state_e  to;
} lines[] = {
    { FAAS_SLOT_FREE, FAAS_SLOT_STARTING },
    { FAAS_SLOT_STARTING, FAAS_SLOT_IDLE },
    { FAAS_SLOT_STARTING, FAAS_SLOT_HANDED },
    { FAAS_SLOT_IDLE, FAAS_SLOT_BUSY },
    { FAAS_SLOT_IDLE, FAAS_SLOT_HANDED },
    { FAAS_SLOT_IDLE, FAAS_SLOT_RETIRING },
    { FAAS_SLOT_BUSY, FAAS_SLOT_IDLE },
    { FAAS_SLOT_BUSY, FAAS_SLOT_HANDED },
    { FAAS_SLOT_BUSY, FAAS_SLOT_DRAINING },
    { FAAS_SLOT_BUSY, FAAS_SLOT_CONDEMNED },
    { FAAS_SLOT_HANDED, FAAS_SLOT_BUSY },
    { FAAS_SLOT_HANDED, FAAS_SLOT_HANDED },
    { FAAS_SLOT_HANDED, FAAS_SLOT_IDLE },
    { FAAS_SLOT_DRAINING, FAAS_SLOT_IDLE },
    { FAAS_SLOT_DRAINING, FAAS_SLOT_HANDED },
    { FAAS_SLOT_DRAINING, FAAS_SLOT_RETIRING },
    { FAAS_SLOT_DRAINING, FAAS_SLOT_CONDEMNED }
};


static int
in_table(unsigned from, unsigned to)
{
    size_t  i;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (lines[i].from == from && lines[i].to == to) {
            return 1;
        }
    }

    /* "any -> FREE: the process has been reaped" */

    return to == FAAS_SLOT_FREE && from != FAAS_SLOT_FREE;
}


static void
test_each_transition_is_one_of_the_table(void **state)
{
    int       rc;
    unsigned  from, to;
    uint64_t  word, owner;

    (void) state;

    for (from = 0; from < 16; from++) {
        for (to = 0; to < 16; to++) {

            if (from >= FAAS_SLOT_STATES || to >= FAAS_SLOT_STATES) {
                assert_int_equal(faas_slot_can_become(from, to), 0);

            } else {
                assert_int_equal(faas_slot_can_become(from, to),
                                 in_table(from, to));
            }

            word = faas_slot_word(from, 17, 0xabcdef123456);
            atomic_store(&chunk->slot[5].word, word);
            atomic_store(&chunk->idle, 0);
            atomic_store(&chunk->handed, 0);

            rc = faas_slot_change(sb, slot_number(5), word, to, 33);

            /* coming up and being reaped have setters of their own */

            if (from >= FAAS_SLOT_STATES || to >= FAAS_SLOT_STATES
                || !in_table(from, to)
                || to == FAAS_SLOT_FREE || from == FAAS_SLOT_FREE)
            {
                assert_int_equal(rc, FAAS_ERROR);
                assert_true(word_of(5) == word);
                continue;
            }

            owner = (to == FAAS_SLOT_BUSY || to == FAAS_SLOT_HANDED)
                    ? 33 : FAAS_WORKER_NONE;

            assert_int_equal(rc, FAAS_OK);
            assert_true(word_of(5) == faas_slot_word(to, owner,
                                                     0xabcdef123456));
            assert_int_equal(atomic_load(&chunk->idle) >> 5 & 1,
                             to == FAAS_SLOT_IDLE);
            assert_int_equal(atomic_load(&chunk->handed) >> 5 & 1,
                             to == FAAS_SLOT_HANDED);
        }
    }
}


static void
test_word_that_is_old_changes_nothing(void **state)
{
    uint64_t  word, now;

    (void) state;

    come_up(1);
    word = word_of(0);

    assert_int_equal(faas_slot_change(sb, slot_number(0), word,
                                      FAAS_SLOT_BUSY, 3), FAAS_OK);
    now = word_of(0);

    assert_int_equal(faas_slot_change(sb, slot_number(0), word,
                                      FAAS_SLOT_BUSY, 4), FAAS_BUSY);
    assert_true(word_of(0) == now);

    /* the same state and owner of an earlier instance */

    faas_slot_free(sb, slot_number(0));
    assert_int_equal(faas_slot_start(sb, slot_number(0)), 2);
    assert_int_equal(faas_slot_change(sb, slot_number(0), word_of(0),
                                      FAAS_SLOT_IDLE, 0), FAAS_OK);
    assert_int_equal(faas_slot_change(sb, slot_number(0), word,
                                      FAAS_SLOT_BUSY, 3), FAAS_BUSY);
    assert_int_equal(faas_slot_state(word_of(0)), FAAS_SLOT_IDLE);
}


static void
test_each_state_has_a_name(void **state)
{
    unsigned  i, j;

    (void) state;

    for (i = 0; i < FAAS_SLOT_STATES; i++) {
        for (j = 0; j < i; j++) {
            assert_string_not_equal(faas_slot_state_name(i),
                                    faas_slot_state_name(j));
        }
    }

    assert_string_equal(faas_slot_state_name(FAAS_SLOT_STATES), "unknown");
    assert_string_equal(faas_slot_state_name(-1), "unknown");
}


static void
test_free_is_possible_from_each_state(void **state)
{
    unsigned  from;

    (void) state;

    for (from = 0; from < FAAS_SLOT_STATES; from++) {
        atomic_store(&chunk->slot[9].word, faas_slot_word(from, 8, 77));
        atomic_store(&chunk->slot[9].pid, 4711);
        atomic_store(&chunk->idle, UINT64_MAX);
        atomic_store(&chunk->handed, UINT64_MAX);

        faas_slot_free(sb, slot_number(9));

        assert_true(word_of(9) == faas_slot_word(FAAS_SLOT_FREE,
                                                 FAAS_WORKER_NONE, 77));
        assert_int_equal(atomic_load(&chunk->slot[9].pid), 0);
        assert_true(atomic_load(&chunk->idle) == ~(UINT64_C(1) << 9));
        assert_true(atomic_load(&chunk->handed) == ~(UINT64_C(1) << 9));

        assert_int_equal(faas_slot_start(sb, slot_number(9)), 78);
        assert_int_equal(faas_slot_state(word_of(9)), FAAS_SLOT_STARTING);
    }
}


static void
test_lowest_idle_slot_is_taken_until_none_is(void **state)
{
    uint32_t         i, slot;
    uint64_t         word;
    faas_version_t  *v;

    (void) state;

    come_up(FAAS_CHUNK_SLOTS);

    for (i = 0; i < FAAS_CHUNK_SLOTS; i++) {
        assert_int_equal(faas_slot_acquire(sb, VERSION, 7, &slot, &word),
                         FAAS_OK);
        assert_int_equal(slot, slot_number(i));
        assert_true(word == word_of(i));
        assert_true(word == faas_slot_word(FAAS_SLOT_BUSY, 7, 1));
    }

    assert_int_equal(faas_slot_acquire(sb, VERSION, 7, &slot, &word),
                     FAAS_BUSY);
    assert_true(atomic_load(&chunk->idle) == 0);

    assert_int_equal(faas_slot_change(sb, slot_number(40), word_of(40),
                                      FAAS_SLOT_IDLE, 0), FAAS_OK);
    assert_int_equal(faas_slot_change(sb, slot_number(20), word_of(20),
                                      FAAS_SLOT_IDLE, 0), FAAS_OK);
    assert_int_equal(faas_slot_acquire(sb, VERSION, 7, &slot, &word),
                     FAAS_OK);
    assert_int_equal(slot, slot_number(20));

    /* a chunk that has gone to another version, and numbers out of range */

    faas_chunk_give(chunk, VERSION + 1);
    assert_int_equal(faas_slot_acquire(sb, VERSION, 7, &slot, &word),
                     FAAS_BUSY);
    faas_chunk_give(chunk, VERSION);

    v = faas_scoreboard_version(sb, VERSION);
    atomic_store(&v->chunk[0], sb->chunks);
    atomic_store(&v->chunk[1], FAAS_INDEX_NONE);
    atomic_store(&v->chunk[2], CHUNK);
    atomic_store(&v->chunks, 1000000);
    assert_int_equal(faas_slot_acquire(sb, VERSION, 7, &slot, &word),
                     FAAS_OK);
    assert_int_equal(slot, slot_number(40));
    assert_int_equal(faas_slot_acquire(sb, VERSION, 7, &slot, &word),
                     FAAS_BUSY);
}


static void
test_handed_slot_is_for_one_worker(void **state)
{
    uint32_t  slot;
    uint64_t  word;

    (void) state;

    come_up(3);
    assert_int_equal(faas_slot_change(sb, slot_number(1), word_of(1),
                                      FAAS_SLOT_HANDED, 5), FAAS_OK);

    assert_int_equal(faas_slot_take_handed(sb, VERSION, 4, &slot, &word),
                     FAAS_BUSY);
    assert_int_equal(faas_slot_take_handed(sb, VERSION, 5, &slot, &word),
                     FAAS_OK);
    assert_int_equal(slot, slot_number(1));
    assert_true(word == faas_slot_word(FAAS_SLOT_BUSY, 5, 1));
    assert_int_equal(faas_slot_take_handed(sb, VERSION, 5, &slot, &word),
                     FAAS_BUSY);

    /* handed on */

    assert_int_equal(faas_slot_change(sb, slot_number(1), word,
                                      FAAS_SLOT_HANDED, 255), FAAS_OK);
    assert_int_equal(faas_slot_change(sb, slot_number(1), word_of(1),
                                      FAAS_SLOT_HANDED, 0), FAAS_OK);
    assert_int_equal(faas_slot_take_handed(sb, VERSION, 255, &slot, &word),
                     FAAS_BUSY);
    assert_int_equal(faas_slot_take_handed(sb, VERSION, 0, &slot, &word),
                     FAAS_OK);
}


static void
test_wrong_hints_cost_nothing(void **state)
{
    uint32_t  i, slot;
    uint64_t  word;

    (void) state;

    come_up(8);

    for (i = 0; i < 8; i++) {
        if (i != 6) {
            assert_int_equal(faas_slot_change(sb, slot_number(i), word_of(i),
                                              FAAS_SLOT_BUSY, 1), FAAS_OK);
        }
    }

    /* too many bits */

    atomic_store(&chunk->idle, UINT64_MAX);
    atomic_store(&chunk->handed, UINT64_MAX);

    assert_int_equal(faas_slot_take_handed(sb, VERSION, 1, &slot, &word),
                     FAAS_BUSY);
    assert_int_equal(faas_slot_acquire(sb, VERSION, 2, &slot, &word),
                     FAAS_OK);
    assert_int_equal(slot, slot_number(6));
    assert_int_equal(faas_slot_acquire(sb, VERSION, 2, &slot, &word),
                     FAAS_BUSY);

    /* too few: what the supervisor mends for a worker that died */

    assert_int_equal(faas_slot_change(sb, slot_number(6), word_of(6),
                                      FAAS_SLOT_IDLE, 0), FAAS_OK);
    assert_int_equal(faas_slot_change(sb, slot_number(7), word_of(7),
                                      FAAS_SLOT_HANDED, 9), FAAS_OK);
    atomic_store(&chunk->idle, 0);
    atomic_store(&chunk->handed, 0);

    for (i = 0; i < 8; i++) {
        assert_int_equal(faas_slot_orphan(sb, slot_number(i),
                                          FAAS_WORKER_NONE), FAAS_DECLINED);
    }

    assert_int_equal(faas_slot_acquire(sb, VERSION, 2, &slot, &word),
                     FAAS_OK);
    assert_int_equal(faas_slot_take_handed(sb, VERSION, 9, &slot, &word),
                     FAAS_OK);
}


static void
test_orphans_are_taken_back(void **state)
{
    uint32_t  i, slot;
    uint64_t  word;

    (void) state;

    come_up(4);
    assert_int_equal(faas_slot_change(sb, slot_number(0), word_of(0),
                                      FAAS_SLOT_BUSY, 3), FAAS_OK);
    assert_int_equal(faas_slot_change(sb, slot_number(1), word_of(1),
                                      FAAS_SLOT_HANDED, 3), FAAS_OK);
    assert_int_equal(faas_slot_change(sb, slot_number(2), word_of(2),
                                      FAAS_SLOT_BUSY, 4), FAAS_OK);

    for (i = 0; i < 4; i++) {
        assert_int_equal(faas_slot_orphan(sb, slot_number(i), 3),
                         i < 2 ? FAAS_OK : FAAS_DECLINED);
    }

    assert_int_equal(faas_slot_state(word_of(0)), FAAS_SLOT_DRAINING);
    assert_int_equal(faas_slot_owner(word_of(0)), FAAS_WORKER_NONE);
    assert_int_equal(faas_slot_state(word_of(1)), FAAS_SLOT_IDLE);
    assert_int_equal(faas_slot_state(word_of(2)), FAAS_SLOT_BUSY);
    assert_int_equal(faas_slot_state(word_of(3)), FAAS_SLOT_IDLE);

    assert_int_equal(faas_slot_acquire(sb, VERSION, 5, &slot, &word),
                     FAAS_OK);
    assert_int_equal(slot, slot_number(1));
}


/* -- many workers ---------------------------------------------------------- */


static void
own(uint32_t slot, uint32_t worker)
{
    check(atomic_exchange(&shared->owner[slot - slot_number(0)], worker)
          == NOBODY);
}


static void
disown(uint32_t slot, uint32_t worker)
{
    check(atomic_exchange(&shared->owner[slot - slot_number(0)], NOBODY)
          == worker);
}


/* takes slots, and lets go of them in all ways that a worker may */

static void
hammer(uint32_t worker)
{
    int                rc;
    uint32_t           slot;
    uint64_t           word;
    faas_slot_state_e  next;

    rc = roll(4) ? faas_slot_acquire(sb, VERSION, worker, &slot, &word)
                 : FAAS_BUSY;

    if (rc != FAAS_OK) {
        rc = faas_slot_take_handed(sb, VERSION, worker, &slot, &word);
    }

    if (rc != FAAS_OK) {
        sched_yield();
        return;
    }

    check(faas_slot_state(word) == FAAS_SLOT_BUSY
          && faas_slot_owner(word) == worker);
    own(slot, worker);
    stumble();
    disown(slot, worker);

    switch (roll(8)) {

    case 0:
        next = FAAS_SLOT_DRAINING;
        break;

    case 1:
        next = FAAS_SLOT_CONDEMNED;
        break;

    case 2:
    case 3:
        next = FAAS_SLOT_HANDED;
        break;

    default:
        next = FAAS_SLOT_IDLE;
        break;
    }

    /* nobody else changes a word that is ours, in this test */

    check(faas_slot_change(sb, slot, word, next, roll(shared->nworkers))
          == FAAS_OK);

    atomic_fetch_add(&shared->rounds[worker], 1);
}


/* the supervisor's part, on one slot */

static void
supervise(uint32_t i)
{
    uint64_t  word, generation;

    word = word_of(i);

    switch (faas_slot_state(word)) {

    case FAAS_SLOT_DRAINING:
        check(faas_slot_change(sb, slot_number(i), word,
                               roll(2) ? FAAS_SLOT_IDLE : FAAS_SLOT_HANDED,
                               roll(shared->nworkers))
              == FAAS_OK);
        break;

    case FAAS_SLOT_IDLE:
        if (roll(16) == 0
            && faas_slot_change(sb, slot_number(i), word, FAAS_SLOT_RETIRING,
                                0)
               != FAAS_OK)
        {
            break;
        }

        if (faas_slot_state(word_of(i)) != FAAS_SLOT_RETIRING) {
            break;
        }

        /* fall through */

    case FAAS_SLOT_CONDEMNED:
    case FAAS_SLOT_RETIRING:
        generation = faas_slot_generation(word);
        faas_slot_free(sb, slot_number(i));
        check(faas_slot_start(sb, slot_number(i)) == generation + 1);
        check(faas_slot_change(sb, slot_number(i), word_of(i),
                               FAAS_SLOT_IDLE, 0)
              == FAAS_OK);
        break;

    default:
        break;
    }
}


static void *
hammer_thread(void *data)
{
    uint32_t  i, worker;

    worker = (uint32_t) (uintptr_t) data;
    seed += worker * 7919;
    stumbles = 1;

    for (i = 0; i < shared->iterations; i++) {
        hammer(worker);
    }

    return NULL;
}


static void *
supervise_thread(void *data)
{
    uint32_t  i;

    (void) data;

    stumbles = 1;

    while (!atomic_load(&shared->stop)) {
        for (i = 0; i < shared->nslots; i++) {
            supervise(i);
        }

        sched_yield();
    }

    return NULL;
}


/* everything that is handed or draining comes back; then each slot can be
   taken once by one worker, and no more */

static void
all_can_be_used(void)
{
    uint32_t  i, slot;
    uint64_t  word, seen;

    for (i = 0; i < shared->nslots; i++) {
        word = word_of(i);

        switch (faas_slot_state(word)) {

        case FAAS_SLOT_IDLE:
            break;

        case FAAS_SLOT_HANDED:
        case FAAS_SLOT_DRAINING:
            assert_int_equal(faas_slot_change(sb, slot_number(i), word,
                                              FAAS_SLOT_IDLE, 0), FAAS_OK);
            break;

        case FAAS_SLOT_CONDEMNED:
            faas_slot_free(sb, slot_number(i));
            faas_slot_start(sb, slot_number(i));
            assert_int_equal(faas_slot_change(sb, slot_number(i), word_of(i),
                                              FAAS_SLOT_IDLE, 0), FAAS_OK);
            break;

        default:
            fail_msg("slot %u is %s", i,
                     faas_slot_state_name(faas_slot_state(word)));
        }

        assert_int_equal(atomic_load(&shared->owner[i]), NOBODY);
    }

    seen = 0;

    for (i = 0; i < shared->nslots; i++) {
        assert_int_equal(faas_slot_acquire(sb, VERSION, 200, &slot, &word),
                         FAAS_OK);
        assert_false(seen >> (slot - slot_number(0)) & 1);
        seen |= UINT64_C(1) << (slot - slot_number(0));
    }

    assert_int_equal(faas_slot_acquire(sb, VERSION, 200, &slot, &word),
                     FAAS_BUSY);
}


static void
test_no_slot_has_two_owners(void **state)
{
    uint32_t   i;
    uint64_t   rounds;
    pthread_t  thread[WORKERS], supervisor;

    (void) state;

    come_up(5);
    shared->iterations = 60000;

    assert_int_equal(pthread_create(&supervisor, NULL, supervise_thread,
                                    NULL), 0);

    for (i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, hammer_thread,
                                        (void *) (uintptr_t) i), 0);
    }

    for (i = 0, rounds = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        rounds += atomic_load(&shared->rounds[i]);
    }

    atomic_store(&shared->stop, 1);
    assert_int_equal(pthread_join(supervisor, NULL), 0);

    assert_int_equal(atomic_load(&shared->failed), 0);
    assert_true(rounds > 1000);
    all_can_be_used();
}


/* -- "waiting first" ------------------------------------------------------- */


static faas_function_t *
function(void)
{
    return faas_scoreboard_function(sb, 0);
}


static void
set_waiting(uint32_t worker, int on)
{
    _Atomic uint64_t  *mask;

    mask = &function()->waiting_mask[worker / 64];

    if (on) {
        atomic_store(&faas_scoreboard_cell(sb, 0, worker)->oldest_ms,
                     1 + roll(100));
        atomic_fetch_or(mask, UINT64_C(1) << worker % 64);

    } else {
        atomic_fetch_and(mask, ~(UINT64_C(1) << worker % 64));
    }
}


static uint32_t
who_waits(uint32_t self)
{
    uint64_t  oldest;

    return faas_worker_longest(sb, 0, self, &oldest);
}


/* lets go of a slot that is ours, the waker's half */

static void
put(uint32_t worker, uint32_t slot, uint64_t word)
{
    uint32_t  other;

    other = who_waits(worker);

    if (other != FAAS_WORKER_NONE && roll(2)) {
        check(faas_slot_change(sb, slot, word, FAAS_SLOT_HANDED, other)
              == FAAS_OK);
        sem_post(&wake[other]);
        return;
    }

    check(faas_slot_change(sb, slot, word, FAAS_SLOT_IDLE, 0) == FAAS_OK);

    other = who_waits(worker);

    if (other != FAAS_WORKER_NONE) {
        sem_post(&wake[other]);
    }
}


/* not waiting any more: what was handed to us, and a wake-up, go on */

static void
pass_on(uint32_t worker)
{
    uint32_t  slot, other;
    uint64_t  word;

    while (faas_slot_take_handed(sb, VERSION, worker, &slot, &word)
           == FAAS_OK)
    {
        put(worker, slot, word);
    }

    other = who_waits(worker);

    if (other != FAAS_WORKER_NONE
        && faas_slot_acquire(sb, VERSION, worker, &slot, &word) == FAAS_OK)
    {
        check(faas_slot_change(sb, slot, word, FAAS_SLOT_HANDED, other)
              == FAAS_OK);
        sem_post(&wake[other]);
    }
}


static int
look(uint32_t worker, uint32_t *slot, uint64_t *word)
{
    if (faas_slot_take_handed(sb, VERSION, worker, slot, word) == FAAS_OK) {
        return FAAS_OK;
    }

    return faas_slot_acquire(sb, VERSION, worker, slot, word);
}


/* 0, or -1 when nobody woke us for so long that nobody will */

static int
sleep_until_woken(uint32_t worker)
{
    struct timespec  end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += HANG_S;

    while (sem_timedwait(&wake[worker], &end) == -1) {
        if (errno == ETIMEDOUT) {
            return -1;
        }
    }

    return 0;
}


static void *
waiting_thread(void *data)
{
    uint32_t  i, slot, worker;
    uint64_t  word;

    worker = (uint32_t) (uintptr_t) data;
    seed += worker * 7919;
    stumbles = 1;

    for (i = 0; i < shared->iterations; i++) {

        if (faas_slot_acquire(sb, VERSION, worker, &slot, &word) != FAAS_OK) {

            set_waiting(worker, 1);

            while (look(worker, &slot, &word) != FAAS_OK) {
                if (sleep_until_woken(worker) == -1) {
                    check(0);
                    atomic_store(&shared->stop, 1);
                    return NULL;
                }
            }

            set_waiting(worker, 0);
            pass_on(worker);
        }

        own(slot, worker);
        stumble();
        disown(slot, worker);
        put(worker, slot, word);

        /* an event loop hears all of its wake-ups */

        while (sem_trywait(&wake[worker]) == 0) {
            pass_on(worker);
        }

        if (atomic_load(&shared->stop)) {
            return NULL;
        }

        atomic_fetch_add(&shared->rounds[worker], 1);
    }

    /* serves on for the others */

    atomic_fetch_add(&shared->rounds[worker], UINT64_C(1) << 32);

    while (!atomic_load(&shared->stop)) {
        if (sleep_until_woken(worker) == -1) {
            check(0);
            atomic_store(&shared->stop, 1);
        }

        pass_on(worker);
    }

    return NULL;
}


static void
no_wakeup_is_lost(uint32_t nslots, uint32_t iterations)
{
    uint32_t   i, done;
    pthread_t  thread[WORKERS];

    come_up(nslots);
    shared->iterations = iterations;

    for (i = 0; i < WORKERS; i++) {
        assert_int_equal(sem_init(&wake[i], 0, 0), 0);
    }

    for (i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, waiting_thread,
                                        (void *) (uintptr_t) i), 0);
    }

    do {
        sched_yield();

        for (i = 0, done = 0; i < WORKERS; i++) {
            done += (atomic_load(&shared->rounds[i]) >> 32) != 0;
        }

    } while (done < WORKERS && !atomic_load(&shared->stop));

    atomic_store(&shared->stop, 1);

    for (i = 0; i < WORKERS; i++) {
        sem_post(&wake[i]);
    }

    for (i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        sem_destroy(&wake[i]);
    }

    assert_int_equal(atomic_load(&shared->failed), 0);
    assert_int_equal(done, WORKERS);
    all_can_be_used();
}


static void
test_no_wakeup_is_lost_on_one_slot(void **state)
{
    (void) state;

    no_wakeup_is_lost(1, 30000);
}


static void
test_no_wakeup_is_lost_on_a_few_slots(void **state)
{
    (void) state;

    no_wakeup_is_lost(3, 30000);
}


/*
 * An idle slot with a hint that somebody mends: who looks for an idle slot at
 * any moment of it finds the slot, or leaves it to somebody who has it.
 */

static void
test_mending_a_hint_hides_no_idle_slot(void **state)
{
    uint32_t  i, slot;
    uint64_t  word;

    (void) state;

    come_up(1);

    /* handed, and idle again: the bit of the first is left */

    assert_int_equal(faas_slot_change(sb, slot_number(0), word_of(0),
                                      FAAS_SLOT_HANDED, 3), FAAS_OK);
    assert_int_equal(faas_slot_change(sb, slot_number(0), word_of(0),
                                      FAAS_SLOT_IDLE, 0), FAAS_OK);

    for (i = 0; i < 3; i++) {
        assert_int_equal(faas_slot_take_handed(sb, VERSION, 3, &slot, &word),
                         FAAS_BUSY);
        assert_int_equal(atomic_load(&chunk->idle), 1);
    }

    assert_int_equal(faas_slot_acquire(sb, VERSION, 3, &slot, &word),
                     FAAS_OK);
}


static uint32_t  found;


static void
note_found(faas_scoreboard_t *board, uint32_t slot)
{
    (void) board;

    assert_int_equal(slot, slot_number(0));
    found++;
}


static void
hand_to_five(void)
{
    assert_int_equal(faas_slot_change(sb, slot_number(0), word_of(0),
                                      FAAS_SLOT_HANDED, 5), FAAS_OK);
}


static void
make_idle(void)
{
    assert_int_equal(faas_slot_change(sb, slot_number(0), word_of(0),
                                      FAAS_SLOT_IDLE, 0), FAAS_OK);
}


static void
refill(void)
{
    faas_slot_free(sb, slot_number(0));
    faas_slot_start(sb, slot_number(0));
    make_idle();
}


/* 1 when the hints are there and, if one was not for a moment, that was told;
   the supervisor does so at the n-th operation of a worker's change */

static int
is_told(int n, faas_slot_state_e to, void (*does)(void))
{
    int                rc;
    uint64_t           word;
    faas_slot_state_e  state;

    refill();

    if (to != FAAS_SLOT_BUSY) {
        assert_int_equal(faas_slot_change(sb, slot_number(0), word_of(0),
                                          FAAS_SLOT_BUSY, 3), FAAS_OK);
    }

    word = word_of(0);
    found = 0;
    moment_does = does;
    moment = n;

    rc = faas_slot_change(sb, slot_number(0), word, to, 3);

    moment = 0;
    faas_slot_found = NULL;
    state = faas_slot_state(word_of(0));

    if (rc != FAAS_OK) {
        return 1;    /* it came before */
    }

    return state == FAAS_SLOT_HANDED ? atomic_load(&chunk->handed) & 1
           : state == FAAS_SLOT_IDLE ? atomic_load(&chunk->idle) & 1
           : 1;
}


static void
let_drain_and_hand(void)
{
    if (faas_slot_state(word_of(0)) == FAAS_SLOT_DRAINING) {
        hand_to_five();
    }
}


/*
 * A worker that takes a slot, or lets go of it, clears the hints after the
 * word, when the slot may be somebody else's already: a bit that it cleared
 * and put back was missing for a moment.
 */

static void
test_hint_that_was_put_back_is_told(void **state)
{
    int       n;
    uint32_t  drained, refilled;

    (void) state;

    come_up(1);
    drained = 0;
    refilled = 0;

    for (n = 1; n < 12; n++) {
        faas_slot_found = note_found;
        assert_true(is_told(n, FAAS_SLOT_DRAINING, let_drain_and_hand));
        drained += found;

        faas_slot_found = note_found;
        assert_true(is_told(n, FAAS_SLOT_BUSY, refill));
        refilled += found;
    }

    assert_true(drained > 0);
    assert_true(refilled > 0);
}


/* -- killed in the middle -------------------------------------------------- */


static pid_t
spawn(uint32_t worker, uint32_t round)
{
    pid_t  pid;

    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        seed += worker * 7919 + round * 104729;
        stumbles = 1;

        for ( ;; ) {
            hammer(worker);
        }
    }

    return pid;
}


static void
bury(uint32_t worker, pid_t pid)
{
    int       status;
    uint32_t  i;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    for (i = 0; i < shared->nslots; i++) {

        /* it died with the slot in its hands, or before it noted so */

        if (atomic_load(&shared->owner[i]) == worker) {
            assert_int_equal(faas_slot_state(word_of(i)), FAAS_SLOT_BUSY);
            assert_int_equal(faas_slot_owner(word_of(i)), worker);
            atomic_store(&shared->owner[i], NOBODY);
        }

        (void) faas_slot_orphan(sb, slot_number(i), worker);

        assert_true(faas_slot_owner(word_of(i)) != worker
                    || faas_slot_state(word_of(i)) == FAAS_SLOT_HANDED);
    }
}


static void
test_killed_workers_leave_no_slot_behind(void **state)
{
    pid_t     pid[4];
    uint32_t  i, n, round, victim;
    uint64_t  rounds;

    (void) state;

    come_up(5);
    shared->nworkers = 4;

    for (i = 0; i < 4; i++) {
        pid[i] = spawn(i, 0);
    }

    for (round = 1; round <= 300; round++) {

        /* it has got going, and then something of different length, so that
           it is killed at different places */

        victim = roll(4);
        rounds = atomic_load(&shared->rounds[victim]);

        for (n = roll(400); n > 0
             || atomic_load(&shared->rounds[victim]) == rounds; n -= n > 0)
        {
            supervise(roll(shared->nslots));
            sched_yield();
        }

        bury(victim, pid[victim]);
        pid[victim] = spawn(victim, round);
    }

    for (i = 0; i < 4; i++) {
        bury(i, pid[i]);
    }

    for (i = 0, rounds = 0; i < WORKERS; i++) {
        rounds += atomic_load(&shared->rounds[i]);
    }

    assert_int_equal(atomic_load(&shared->failed), 0);
    assert_true(rounds > 1000);
    all_can_be_used();
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
        test(test_each_transition_is_one_of_the_table),
        test(test_word_that_is_old_changes_nothing),
        test(test_each_state_has_a_name),
        test(test_free_is_possible_from_each_state),
        test(test_lowest_idle_slot_is_taken_until_none_is),
        test(test_handed_slot_is_for_one_worker),
        test(test_wrong_hints_cost_nothing),
        test(test_orphans_are_taken_back),
        test(test_no_slot_has_two_owners),
        test(test_no_wakeup_is_lost_on_one_slot),
        test(test_no_wakeup_is_lost_on_a_few_slots),
        test(test_mending_a_hint_hides_no_idle_slot),
        test(test_hint_that_was_put_back_is_told),
        test(test_killed_workers_leave_no_slot_behind)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
