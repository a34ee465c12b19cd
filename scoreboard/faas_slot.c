
/* Slot words and their hints.  The rules stand in faas_slot.h. */


#include "faas_slot.h"


static void faas_slot_hint(faas_scoreboard_t *sb, uint32_t slot,
    faas_slot_state_e state);
static int faas_slot_clear(faas_scoreboard_t *sb, uint32_t slot,
    faas_slot_state_e state);
static int faas_slot_find(faas_scoreboard_t *sb, uint32_t version,
    uint32_t worker, faas_slot_state_e state, uint32_t *slot, uint64_t *word);
static int faas_slot_find_in(faas_scoreboard_t *sb, uint32_t chunk,
    uint32_t worker, faas_slot_state_e state, uint32_t *slot, uint64_t *word);


void  (*faas_slot_found)(faas_scoreboard_t *sb, uint32_t slot);


static const char *const  faas_slot_state_names[] = {
    [FAAS_SLOT_FREE]      = "free",
    [FAAS_SLOT_STARTING]  = "starting",
    [FAAS_SLOT_IDLE]      = "idle",
    [FAAS_SLOT_BUSY]      = "busy",
    [FAAS_SLOT_HANDED]    = "handed",
    [FAAS_SLOT_DRAINING]  = "draining",
    [FAAS_SLOT_CONDEMNED] = "condemned",
    [FAAS_SLOT_RETIRING]  = "retiring"
};

_Static_assert(sizeof(faas_slot_state_names) / sizeof(char *)
               == FAAS_SLOT_STATES, "each state has a name");


#define to(state)  (1u << FAAS_SLOT_ ## state)

/* the table of faas_slot.h; -> FREE and FREE -> have setters of their own */

static const unsigned  faas_slot_table[] = {
    [FAAS_SLOT_FREE]      = to(STARTING),
    [FAAS_SLOT_STARTING]  = to(IDLE) | to(HANDED) | to(FREE),
    [FAAS_SLOT_IDLE]      = to(BUSY) | to(HANDED) | to(RETIRING) | to(FREE),
    [FAAS_SLOT_BUSY]      = to(IDLE) | to(HANDED) | to(DRAINING)
                            | to(CONDEMNED) | to(FREE),
    [FAAS_SLOT_HANDED]    = to(BUSY) | to(HANDED) | to(IDLE) | to(FREE),
    [FAAS_SLOT_DRAINING]  = to(IDLE) | to(HANDED) | to(RETIRING)
                            | to(CONDEMNED) | to(FREE),
    [FAAS_SLOT_CONDEMNED] = to(FREE),
    [FAAS_SLOT_RETIRING]  = to(FREE)
};

_Static_assert(sizeof(faas_slot_table) / sizeof(unsigned) == FAAS_SLOT_STATES,
               "each state has a line");

#undef to


const char *
faas_slot_state_name(faas_slot_state_e state)
{
    return (unsigned) state < FAAS_SLOT_STATES ? faas_slot_state_names[state]
                                               : "unknown";
}


int
faas_slot_can_become(faas_slot_state_e from, faas_slot_state_e to)
{
    if ((unsigned) from >= FAAS_SLOT_STATES
        || (unsigned) to >= FAAS_SLOT_STATES)
    {
        return 0;
    }

    return faas_slot_table[from] >> to & 1;
}


int
faas_slot_change(faas_scoreboard_t *sb, uint32_t slot, uint64_t word,
    faas_slot_state_e state, uint32_t owner)
{
    uint64_t      next;
    faas_slot_t  *s;

    if (state == FAAS_SLOT_FREE
        || faas_slot_state(word) == FAAS_SLOT_FREE
        || !faas_slot_can_become(faas_slot_state(word), state))
    {
        return FAAS_ERROR;
    }

    s = faas_scoreboard_slot(sb, slot);

    if (state != FAAS_SLOT_BUSY && state != FAAS_SLOT_HANDED) {
        owner = FAAS_WORKER_NONE;
    }

    next = faas_slot_word(state, owner, faas_slot_generation(word));

    if (!atomic_compare_exchange_strong(&s->word, &word, next)) {
        return FAAS_BUSY;
    }

    faas_slot_hint(sb, slot, state);

    return FAAS_OK;
}


/*
 * Makes the hints of a slot follow its word, always after the word.  Setting
 * a bit comes before whoever made the slot idle reads waiting_mask, so that
 * "waiting first" holds for the hint as well.
 *
 * "A hint is cleared by whom the word is in the hands of": whoever takes the
 * slot clears the bits, after the word.  By then the slot may be somebody
 * else's: the instance died, and the next one is idle already, or a worker
 * let it drain and the supervisor has handed it on.  A bit that was set for
 * that is put back, but that is not enough, because a worker may have looked
 * meanwhile, for the second time, and gone to sleep: so it is woken as well
 * (faas_slot_found).  tests/model has such a moment among its mutants.
 */

static void
faas_slot_hint(faas_scoreboard_t *sb, uint32_t slot, faas_slot_state_e state)
{
    uint64_t       bit;
    faas_chunk_t  *chunk;

    chunk = faas_scoreboard_chunk(sb, slot / FAAS_CHUNK_SLOTS);
    bit = 1ull << slot % FAAS_CHUNK_SLOTS;

    if (state == FAAS_SLOT_IDLE) {
        atomic_fetch_or(&chunk->idle, bit);
        return;
    }

    if (state == FAAS_SLOT_HANDED) {
        atomic_fetch_or(&chunk->handed, bit);
        return;
    }

    (void) faas_slot_clear(sb, slot, FAAS_SLOT_IDLE);
    (void) faas_slot_clear(sb, slot, FAAS_SLOT_HANDED);
}


/* clears a bit of the slot, and puts it back when the word is in that state:
   FAAS_OK then, else FAAS_DECLINED */

static int
faas_slot_clear(faas_scoreboard_t *sb, uint32_t slot, faas_slot_state_e state)
{
    uint64_t           bit;
    faas_chunk_t      *c;
    _Atomic uint64_t  *hint;

    c = faas_scoreboard_chunk(sb, slot / FAAS_CHUNK_SLOTS);
    bit = 1ull << slot % FAAS_CHUNK_SLOTS;
    hint = (state == FAAS_SLOT_IDLE) ? &c->idle : &c->handed;

    if (!(atomic_load(hint) & bit)) {
        return FAAS_DECLINED;
    }

    atomic_fetch_and(hint, ~bit);

    if (faas_slot_state(atomic_load(&faas_scoreboard_slot(sb, slot)->word))
        != state)
    {
        return FAAS_DECLINED;
    }

    atomic_fetch_or(hint, bit);

    if (faas_slot_found != NULL) {
        faas_slot_found(sb, slot);
    }

    return FAAS_OK;
}


uint64_t
faas_slot_start(faas_scoreboard_t *sb, uint32_t slot)
{
    uint64_t      generation;
    faas_slot_t  *s;

    s = faas_scoreboard_slot(sb, slot);

    generation = faas_slot_generation(atomic_load(&s->word)) + 1;

    atomic_store_explicit(&s->handed_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&s->idle_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&s->served, 0, memory_order_relaxed);
    atomic_store_explicit(&s->cause, FAAS_CAUSE_NONE, memory_order_relaxed);

    atomic_store(&s->word, faas_slot_word(FAAS_SLOT_STARTING,
                                          FAAS_WORKER_NONE, generation));

    return generation;
}


void
faas_slot_free(faas_scoreboard_t *sb, uint32_t slot)
{
    uint64_t      word;
    faas_slot_t  *s;

    s = faas_scoreboard_slot(sb, slot);

    word = atomic_load(&s->word);

    /* the generation never changes but in faas_slot_start(), by the same
       process, so the store cannot undo anything but this generation's end */

    atomic_store(&s->word, faas_slot_word(FAAS_SLOT_FREE, FAAS_WORKER_NONE,
                                          faas_slot_generation(word)));
    atomic_store_explicit(&s->pid, 0, memory_order_relaxed);

    faas_slot_hint(sb, slot, FAAS_SLOT_FREE);
}


int
faas_slot_acquire(faas_scoreboard_t *sb, uint32_t version, uint32_t worker,
    uint32_t *slot, uint64_t *word)
{
    return faas_slot_find(sb, version, worker, FAAS_SLOT_IDLE, slot, word);
}


int
faas_slot_take_handed(faas_scoreboard_t *sb, uint32_t version,
    uint32_t worker, uint32_t *slot, uint64_t *word)
{
    return faas_slot_find(sb, version, worker, FAAS_SLOT_HANDED, slot, word);
}


static int
faas_slot_find(faas_scoreboard_t *sb, uint32_t version, uint32_t worker,
    faas_slot_state_e state, uint32_t *slot, uint64_t *word)
{
    uint32_t         i, n, chunk;
    faas_version_t  *v;

    v = faas_scoreboard_version(sb, version);

    n = atomic_load_explicit(&v->chunks, memory_order_acquire);

    for (i = 0; i < n && i < FAAS_VERSION_CHUNKS; i++) {
        chunk = atomic_load_explicit(&v->chunk[i], memory_order_relaxed);

        if (chunk >= sb->chunks) {
            continue;
        }

        /* a chunk may have gone to another version since we were routed */

        if (faas_chunk_version(faas_scoreboard_chunk(sb, chunk)) != version) {
            continue;
        }

        if (faas_slot_find_in(sb, chunk, worker, state, slot, word)
            == FAAS_OK)
        {
            return FAAS_OK;
        }
    }

    return FAAS_BUSY;
}


static int
faas_slot_find_in(faas_scoreboard_t *sb, uint32_t chunk, uint32_t worker,
    faas_slot_state_e state, uint32_t *slot, uint64_t *word)
{
    uint32_t       i;
    uint64_t       hint, w;
    faas_chunk_t  *c;

    c = faas_scoreboard_chunk(sb, chunk);

    hint = atomic_load(state == FAAS_SLOT_IDLE ? &c->idle : &c->handed);

    while (hint) {
        i = (uint32_t) __builtin_ctzll(hint);
        hint &= hint - 1;

        *slot = chunk * FAAS_CHUNK_SLOTS + i;
        w = atomic_load(&c->slot[i].word);

        if (faas_slot_state(w) != state) {

            /* a wrong bit: of the handed ones its next taker clears it, the
               idle ones are looked at by everybody */

            if (state == FAAS_SLOT_HANDED
                || faas_slot_clear(sb, *slot, state) != FAAS_OK)
            {
                continue;
            }

            w = atomic_load(&c->slot[i].word);

            if (faas_slot_state(w) != state) {
                continue;
            }
        }

        if (state == FAAS_SLOT_HANDED && faas_slot_owner(w) != worker) {
            continue;
        }

        if (faas_slot_change(sb, *slot, w, FAAS_SLOT_BUSY, worker)
            == FAAS_OK)
        {
            *word = faas_slot_word(FAAS_SLOT_BUSY, worker,
                                   faas_slot_generation(w));
            return FAAS_OK;
        }
    }

    return FAAS_BUSY;
}


int
faas_slot_orphan(faas_scoreboard_t *sb, uint32_t slot, uint32_t worker)
{
    uint64_t      word;
    faas_slot_t  *s;

    s = faas_scoreboard_slot(sb, slot);

    for ( ;; ) {
        word = atomic_load(&s->word);

        if (worker == FAAS_WORKER_NONE || faas_slot_owner(word) != worker) {

            if (faas_slot_state(word) == FAAS_SLOT_IDLE
                || faas_slot_state(word) == FAAS_SLOT_HANDED)
            {
                faas_slot_hint(sb, slot, faas_slot_state(word));
            }

            return FAAS_DECLINED;
        }

        switch (faas_slot_state(word)) {

        case FAAS_SLOT_BUSY:
            if (faas_slot_change(sb, slot, word, FAAS_SLOT_DRAINING, 0)
                == FAAS_OK)
            {
                return FAAS_OK;
            }
            break;

        case FAAS_SLOT_HANDED:
            if (faas_slot_change(sb, slot, word, FAAS_SLOT_IDLE, 0)
                == FAAS_OK)
            {
                return FAAS_OK;
            }
            break;

        default:
            return FAAS_DECLINED;
        }
    }
}
