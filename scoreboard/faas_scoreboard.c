
/* Layout, guarded text, and worker records of the scoreboard. */


#include <string.h>

#include "faas_scoreboard.h"


#define FAAS_SCOREBOARD_PAGE  4096

/* one function for each so many bytes of the board */
#define FAAS_SCOREBOARD_UNIT  (128 * 1024)


typedef struct {
    uint64_t                  workers;
    uint64_t                  functions;
    uint64_t                  versions;
    uint64_t                  chunks;
    uint64_t                  cells;
    uint64_t                  routes[2];
    uint64_t                  route_size;
    uint64_t                  end;
    uint32_t                  nfunctions;
} faas_layout_t;


static void faas_scoreboard_layout(uint64_t size, faas_layout_t *l);
static uint64_t faas_scoreboard_region(uint64_t *next, uint64_t bytes);
static void *faas_scoreboard_at(faas_scoreboard_t *sb, uint64_t offset);
static uint32_t faas_scoreboard_workers_used(faas_scoreboard_t *sb);


uint32_t
faas_scoreboard_capacity(uint64_t size)
{
    faas_layout_t  l;

    if (size < FAAS_SCOREBOARD_SIZE_MIN || size > FAAS_SCOREBOARD_SIZE_MAX) {
        return 0;
    }

    faas_scoreboard_layout(size, &l);

    return l.nfunctions;
}


int
faas_scoreboard_format(faas_scoreboard_t *sb, uint64_t size,
    const char *release)
{
    uint32_t       i;
    faas_layout_t  l;

    if (size < FAAS_SCOREBOARD_SIZE_MIN || size > FAAS_SCOREBOARD_SIZE_MAX) {
        return FAAS_ERROR;
    }

    faas_scoreboard_layout(size, &l);

    sb->layout = FAAS_SCOREBOARD_LAYOUT;
    sb->header_size = sizeof(faas_scoreboard_t);
    sb->size = size;

    sb->functions = l.nfunctions;
    sb->versions = 2 * l.nfunctions;
    sb->chunks = 4 * l.nfunctions;
    sb->workers = FAAS_WORKERS;
    sb->route_size = l.route_size;

    sb->workers_offset = l.workers;
    sb->functions_offset = l.functions;
    sb->versions_offset = l.versions;
    sb->chunks_offset = l.chunks;
    sb->cells_offset = l.cells;
    sb->routes_offset[0] = l.routes[0];
    sb->routes_offset[1] = l.routes[1];

    strncpy(sb->release, release, sizeof(sb->release) - 1);

    for (i = 0; i < sb->functions; i++) {
        atomic_init(&faas_scoreboard_function(sb, i)->current,
                    FAAS_INDEX_NONE);
    }

    /* last, so that a half-made board is not taken for one */
    sb->magic = FAAS_SCOREBOARD_MAGIC;

    return FAAS_OK;
}


static void
faas_scoreboard_layout(uint64_t size, faas_layout_t *l)
{
    uint64_t  n, next;

    n = size / FAAS_SCOREBOARD_UNIT;
    next = FAAS_SCOREBOARD_PAGE;

    l->nfunctions = (uint32_t) n;
    l->route_size = size / 8 / FAAS_SCOREBOARD_PAGE * FAAS_SCOREBOARD_PAGE;

    l->workers = faas_scoreboard_region(&next,
                                        FAAS_WORKERS * sizeof(faas_worker_t));
    l->functions = faas_scoreboard_region(&next, n * sizeof(faas_function_t));
    l->versions = faas_scoreboard_region(&next,
                                         2 * n * sizeof(faas_version_t));
    l->chunks = faas_scoreboard_region(&next, 4 * n * sizeof(faas_chunk_t));
    l->cells = faas_scoreboard_region(&next, n * FAAS_WORKERS
                                             * sizeof(faas_cell_t));
    l->routes[0] = faas_scoreboard_region(&next, l->route_size);
    l->routes[1] = faas_scoreboard_region(&next, l->route_size);
    l->end = next;
}


static uint64_t
faas_scoreboard_region(uint64_t *next, uint64_t bytes)
{
    uint64_t  offset;

    offset = *next;

    *next += (bytes + FAAS_SCOREBOARD_PAGE - 1) / FAAS_SCOREBOARD_PAGE
             * FAAS_SCOREBOARD_PAGE;

    return offset;
}


const char *
faas_scoreboard_check(const faas_scoreboard_t *sb, uint64_t size)
{
    faas_layout_t  l;

    if (size < FAAS_SCOREBOARD_SIZE_MIN || size > FAAS_SCOREBOARD_SIZE_MAX) {
        return "size of the scoreboard is out of range";
    }

    if (sb->magic != FAAS_SCOREBOARD_MAGIC) {
        return "not a scoreboard";
    }

    if (sb->layout != FAAS_SCOREBOARD_LAYOUT
        || sb->header_size != sizeof(faas_scoreboard_t))
    {
        return "scoreboard of another layout";
    }

    if (sb->size != size) {
        return "scoreboard of another size";
    }

    faas_scoreboard_layout(size, &l);

    if (l.end > size
        || sb->functions != l.nfunctions
        || sb->versions != 2 * l.nfunctions
        || sb->chunks != 4 * l.nfunctions
        || sb->workers != FAAS_WORKERS
        || sb->route_size != l.route_size
        || sb->workers_offset != l.workers
        || sb->functions_offset != l.functions
        || sb->versions_offset != l.versions
        || sb->chunks_offset != l.chunks
        || sb->cells_offset != l.cells
        || sb->routes_offset[0] != l.routes[0]
        || sb->routes_offset[1] != l.routes[1])
    {
        return "scoreboard with regions out of place";
    }

    return NULL;
}


static void *
faas_scoreboard_at(faas_scoreboard_t *sb, uint64_t offset)
{
    return (char *) sb + offset;
}


faas_worker_t *
faas_scoreboard_worker(faas_scoreboard_t *sb, uint32_t i)
{
    return (faas_worker_t *) faas_scoreboard_at(sb, sb->workers_offset) + i;
}


faas_function_t *
faas_scoreboard_function(faas_scoreboard_t *sb, uint32_t i)
{
    return (faas_function_t *) faas_scoreboard_at(sb, sb->functions_offset)
           + i;
}


faas_version_t *
faas_scoreboard_version(faas_scoreboard_t *sb, uint32_t i)
{
    return (faas_version_t *) faas_scoreboard_at(sb, sb->versions_offset) + i;
}


faas_chunk_t *
faas_scoreboard_chunk(faas_scoreboard_t *sb, uint32_t i)
{
    return (faas_chunk_t *) faas_scoreboard_at(sb, sb->chunks_offset) + i;
}


faas_slot_t *
faas_scoreboard_slot(faas_scoreboard_t *sb, uint32_t slot)
{
    return &faas_scoreboard_chunk(sb, slot / FAAS_CHUNK_SLOTS)
            ->slot[slot % FAAS_CHUNK_SLOTS];
}


faas_cell_t *
faas_scoreboard_cell(faas_scoreboard_t *sb, uint32_t function, uint32_t worker)
{
    return (faas_cell_t *) faas_scoreboard_at(sb, sb->cells_offset)
           + (uint64_t) function * FAAS_WORKERS + worker;
}


faas_route_buffer_t *
faas_scoreboard_routes(faas_scoreboard_t *sb, uint64_t epoch)
{
    return faas_scoreboard_at(sb, sb->routes_offset[epoch & 1]);
}


uint32_t
faas_chunk_version(faas_chunk_t *c)
{
    /* 0 - 1 is INDEX_NONE */
    return atomic_load(&c->owner) - 1;
}


void
faas_chunk_give(faas_chunk_t *c, uint32_t version)
{
    atomic_store(&c->owner, version + 1);
}


/*
 * A sequence lock with one writer.  The release fence after the odd store
 * keeps the data from being seen before it; the acquire fence before the
 * second load keeps the data loads from moving behind it.
 */

void
faas_text_write(faas_text_t *t, const char *s, size_t n)
{
    uint32_t  sequence;

    if (n > FAAS_TEXT_SIZE - 1) {
        n = FAAS_TEXT_SIZE - 1;
    }

    sequence = atomic_load_explicit(&t->sequence, memory_order_relaxed);

    /* a writer that was killed in the middle left it odd */
    sequence |= 1;

    atomic_store_explicit(&t->sequence, sequence, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);

    memcpy(t->data, s, n);
    memset(t->data + n, 0, FAAS_TEXT_SIZE - n);
    t->length = (uint32_t) n;

    atomic_store_explicit(&t->sequence, sequence + 1, memory_order_release);
}


size_t
faas_text_read(faas_text_t *t, char *dst)
{
    size_t    n, tries;
    uint32_t  sequence;

    /* bounded: the writer may have died in the middle */

    for (tries = 0; tries < 64; tries++) {
        sequence = atomic_load_explicit(&t->sequence, memory_order_acquire);

        n = t->length;
        memcpy(dst, t->data, FAAS_TEXT_SIZE);

        atomic_thread_fence(memory_order_acquire);

        if ((sequence & 1) == 0
            && atomic_load_explicit(&t->sequence, memory_order_relaxed)
               == sequence
            && n < FAAS_TEXT_SIZE)
        {
            dst[n] = '\0';
            return n;
        }
    }

    dst[0] = '\0';
    return 0;
}


void
faas_limits_write(faas_function_t *f, const faas_limits_t *l)
{
    uint32_t  sequence;

    sequence = atomic_load_explicit(&f->limits_sequence, memory_order_relaxed);
    sequence |= 1;

    atomic_store_explicit(&f->limits_sequence, sequence,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_release);

    f->limits = *l;

    atomic_store_explicit(&f->limits_sequence, sequence + 1,
                          memory_order_release);
}


void
faas_limits_read(faas_function_t *f, faas_limits_t *l)
{
    size_t    tries;
    uint32_t  sequence;

    /* after that many tries the writer is dead: what is there is used; each
       single number is one that the supervisor wrote */

    for (tries = 0; tries < 64; tries++) {
        sequence = atomic_load_explicit(&f->limits_sequence,
                                        memory_order_acquire);
        *l = f->limits;

        atomic_thread_fence(memory_order_acquire);

        if ((sequence & 1) == 0
            && atomic_load_explicit(&f->limits_sequence, memory_order_relaxed)
               == sequence)
        {
            return;
        }
    }
}


uint32_t
faas_worker_claim(faas_scoreboard_t *sb, int32_t pid, uint64_t started)
{
    int32_t         expected;
    uint32_t        i, used;
    faas_worker_t  *w;

    for (i = 0; i < FAAS_WORKERS; i++) {
        w = faas_scoreboard_worker(sb, i);
        expected = 0;

        if (!atomic_compare_exchange_strong(&w->pid, &expected, pid)) {
            continue;
        }

        atomic_store(&w->started, started);
        atomic_store(&w->ready, 1);

        used = atomic_load(&sb->workers_used);

        while (used < i + 1
               && !atomic_compare_exchange_weak(&sb->workers_used, &used,
                                                i + 1))
        {
            /* void */
        }

        return i;
    }

    return FAAS_WORKER_NONE;
}


uint32_t
faas_worker_longest(faas_scoreboard_t *sb, uint32_t function, uint32_t self,
    uint64_t *oldest_ms)
{
    uint32_t          i, w, longest;
    uint64_t          mask, ms;
    faas_cell_t      *cell;
    faas_function_t  *f;

    f = faas_scoreboard_function(sb, function);

    longest = FAAS_WORKER_NONE;
    *oldest_ms = 0;

    for (i = 0; i < FAAS_WORKERS / 64; i++) {

        /* sequentially consistent: "waiting first" in faas_slot.h */
        mask = atomic_load(&f->waiting_mask[i]);

        while (mask) {
            w = i * 64 + (uint32_t) __builtin_ctzll(mask);
            mask &= mask - 1;

            if (w == self) {
                continue;
            }

            cell = faas_scoreboard_cell(sb, function, w);
            ms = atomic_load_explicit(&cell->oldest_ms, memory_order_relaxed);

            if (longest == FAAS_WORKER_NONE || ms < *oldest_ms) {
                longest = w;
                *oldest_ms = ms;
            }
        }
    }

    return longest;
}


static uint32_t
faas_scoreboard_workers_used(faas_scoreboard_t *sb)
{
    uint32_t  n;

    n = atomic_load_explicit(&sb->workers_used, memory_order_acquire);

    return n < FAAS_WORKERS ? n : FAAS_WORKERS;
}


uint32_t
faas_function_admitted(faas_scoreboard_t *sb, uint32_t function)
{
    uint32_t  i, n, sum;

    sum = 0;
    n = faas_scoreboard_workers_used(sb);

    for (i = 0; i < n; i++) {
        sum += atomic_load(&faas_scoreboard_cell(sb, function, i)->admitted);
    }

    return sum;
}


uint32_t
faas_function_waiting(faas_scoreboard_t *sb, uint32_t function)
{
    uint32_t  i, n, sum;

    sum = 0;
    n = faas_scoreboard_workers_used(sb);

    for (i = 0; i < n; i++) {
        sum += atomic_load(&faas_scoreboard_cell(sb, function, i)->waiting);
    }

    return sum;
}
