
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "place.h"
#include "process.h"
#include "slot.h"


#define SLOT_HASH  4096


static int slot_chunk(version_t *v);
static uint32_t slot_free_chunk(void);
static void slot_link(slot_t *s);
static void slot_unlink(slot_t *s);
static slot_t **slot_bucket(const version_t *v, int32_t inner_pid);
static void slot_forget(slot_t *s);


slot_t  *slot_live;


static struct {
    slot_t    **index;               /* by board index, NULL: never used */
    slot_t     *named[SLOT_HASH];    /* by version and inner pid */
} slots;


void
slot_init(void)
{
    slots.index = loop_alloc((size_t) supervisor.board->chunks
                             * FAAS_CHUNK_SLOTS * sizeof(slot_t *));
}


slot_t *
slot_at(uint32_t index)
{
    slot_t  *s;

    if (index >= supervisor.board->chunks * FAAS_CHUNK_SLOTS) {
        return NULL;
    }

    s = slots.index[index];

    if (s == NULL) {
        s = loop_alloc(sizeof(slot_t));

        s->index = index;
        s->sh = faas_scoreboard_slot(supervisor.board, index);
        s->born = &faas_scoreboard_chunk(supervisor.board,
                                         index / FAAS_CHUNK_SLOTS)
                       ->born[index % FAAS_CHUNK_SLOTS];
        s->listen = -1;
        s->page_fd = -1;
        s->core = -1;
        s->journal.event.fd = -1;
        s->journal.write = -1;
        s->process.fd = -1;

        slots.index[index] = s;
    }

    return s;
}


slot_t *
slot_take(version_t *v)
{
    int        bit;
    slot_t    *s;
    uint32_t   i, n;

    n = atomic_load(&v->sh->chunks);

    for (i = 0; i < n; i++) {
        if (~v->used[i] != 0) {
            break;
        }
    }

    if (i == n && slot_chunk(v) == -1) {
        return NULL;
    }

    bit = __builtin_ctzll(~v->used[i]);

    s = slot_at(atomic_load(&v->sh->chunk[i]) * FAAS_CHUNK_SLOTS
                + (uint32_t) bit);
    s->version = v;

    if (place_prepare(s) == -1) {
        return NULL;
    }

    v->used[i] |= 1ull << bit;
    slot_link(s);

    return s;
}


static void
slot_link(slot_t *s)
{
    function_t  *f;

    s->previous = NULL;
    s->following = slot_live;

    if (slot_live != NULL) {
        slot_live->previous = s;
    }

    slot_live = s;

    f = s->version->function;

    s->sibling_previous = NULL;
    s->sibling_next = f->slots;

    if (f->slots != NULL) {
        f->slots->sibling_previous = s;
    }

    f->slots = s;
}


static void
slot_unlink(slot_t *s)
{
    if (s->previous != NULL) {
        s->previous->following = s->following;

    } else {
        slot_live = s->following;
    }

    if (s->following != NULL) {
        s->following->previous = s->previous;
    }

    if (s->sibling_previous != NULL) {
        s->sibling_previous->sibling_next = s->sibling_next;

    } else {
        s->version->function->slots = s->sibling_next;
    }

    if (s->sibling_next != NULL) {
        s->sibling_next->sibling_previous = s->sibling_previous;
    }

    s->previous = NULL;
    s->following = NULL;
    s->sibling_previous = NULL;
    s->sibling_next = NULL;
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
    version_t   *v;
    function_t  *f;

    v = s->version;
    f = v->function;

    v->live += (uint32_t) n;
    f->live += (uint32_t) n;

    atomic_store(&f->sh->instances, f->live);
    atomic_fetch_add(&faas_scoreboard_chunk(supervisor.board,
                                            s->index / FAAS_CHUNK_SLOTS)
                         ->slots,
                     (uint32_t) n);
}


int
slot_identify(slot_t *s, pid_t pid)
{
    pid_t       init;
    slot_t     *other;
    process_t   p;
    version_t  *v;

    v = s->version;
    init = atomic_load(&v->sh->init_pid);

    atomic_store(s->born, 0);

    switch (process_look(pid, &p)) {

    case FAAS_OK:
        break;

    case FAAS_DONE:
        return 0;

    default:
        return 1;
    }

    if ((init > 0 && p.parent != init)
        || pid == atomic_load(&v->sh->template_pid))
    {
        return 0;
    }

    for (other = v->function->slots; other != NULL;
         other = other->sibling_next)
    {
        if (other != s && atomic_load(&other->sh->pid) == pid
            && !slot_is_gone(other))
        {
            return 0;
        }
    }

    atomic_store(s->born, p.started);

    return 1;
}


int
slot_is_gone(const slot_t *s)
{
    return !process_is(atomic_load(&s->sh->pid), atomic_load(s->born));
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


int
slot_is_over(const slot_t *s)
{
    return s->over != 0 && s->page != NULL
           && atomic_load(&s->page->begun) == s->over;
}


slot_t *
slot_of(version_t *v, uint32_t index, uint64_t generation)
{
    slot_t  *s;

    if (index >= supervisor.board->chunks * FAAS_CHUNK_SLOTS) {
        return NULL;
    }

    s = slots.index[index];

    if (s == NULL || s->version != v || s->generation != generation
        || faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_FREE)
    {
        return NULL;
    }

    return s;
}


void
slot_return(slot_t *s)
{
    int         fd;
    uint32_t    i;
    version_t  *v;

    v = s->version;

    for (i = 0; i < FAAS_VERSION_CHUNKS; i++) {
        if (atomic_load(&v->sh->chunk[i]) == s->index / FAAS_CHUNK_SLOTS) {
            v->used[i] &= ~(1ull << s->index % FAAS_CHUNK_SLOTS);
            break;
        }
    }

    v->function->ending -= s->ending;

    slot_unlink(s);
    slot_forget(s);
    loop_disarm(&s->timer);

    fd = loop_remove(&s->process);

    if (fd != -1) {
        close(fd);
    }

    s->forked_us = 0;
    s->timeout_ms = 0;
    s->draining_ms = 0;
    s->handed = 0;
    s->overdue_ms = 0;
    s->over = 0;
    s->signals = 0;
    s->retired = 0;
    s->ending = 0;
    s->unparented = 0;
    s->unseen = 0;
    s->bytes = 0;

    free(s->refused);
    s->refused = NULL;
}


/* another chunk for v; 0, or -1 (said and logged) */

static int
slot_chunk(version_t *v)
{
    uint32_t       n, c;
    faas_chunk_t  *chunk;

    n = atomic_load(&v->sh->chunks);
    c = slot_free_chunk();

    if (n == FAAS_VERSION_CHUNKS || c == FAAS_INDEX_NONE) {
        function_error(v->function, LOG_ERROR, "no slot is left for another "
                       "instance: the scoreboard is full "
                       "(faas_scoreboard)");
        return -1;
    }

    chunk = faas_scoreboard_chunk(supervisor.board, c);
    atomic_store(&chunk->idle, 0);
    atomic_store(&chunk->handed, 0);
    atomic_store(&chunk->slots, 0);
    faas_chunk_give(chunk, v->index);

    v->used[n] = 0;
    atomic_store(&v->sh->chunk[n], c);
    atomic_store(&v->sh->chunks, n + 1);

    return 0;
}


/* the lowest: pages are made once for each slot that was ever used, so a
   host that deploys all day must come back to the same slots */

static uint32_t
slot_free_chunk(void)
{
    uint32_t       i;
    version_t     *v;
    faas_chunk_t  *chunk;

    for (i = 0; i < supervisor.board->chunks; i++) {

        chunk = faas_scoreboard_chunk(supervisor.board, i);
        v = version_at(faas_chunk_version(chunk));

        /* a chunk whose version was freed when a supervisor died may name
           another that came after it */

        if (v == NULL || !slot_has_chunk(v, i)) {
            return i;
        }
    }

    return FAAS_INDEX_NONE;
}


int
slot_has_chunk(const version_t *v, uint32_t chunk)
{
    uint32_t  i, n;

    n = atomic_load(&v->sh->chunks);

    for (i = 0; i < n && i < FAAS_VERSION_CHUNKS; i++) {
        if (atomic_load(&v->sh->chunk[i]) == chunk) {
            return 1;
        }
    }

    return 0;
}


void
slot_release_chunks(version_t *v)
{
    slot_t        *s;
    uint32_t       i, j, n, c;
    faas_chunk_t  *chunk;

    n = atomic_load(&v->sh->chunks);

    atomic_store(&v->sh->chunks, 0);

    for (i = 0; i < n && i < FAAS_VERSION_CHUNKS; i++) {
        c = atomic_load(&v->sh->chunk[i]);

        for (j = 0; j < FAAS_CHUNK_SLOTS; j++) {
            s = slots.index[c * FAAS_CHUNK_SLOTS + j];

            if (s != NULL) {
                place_close(s);
            }
        }

        chunk = faas_scoreboard_chunk(supervisor.board, c);
        faas_chunk_give(chunk, FAAS_INDEX_NONE);
    }
}


void
slot_remove(uint32_t index)
{
    if (slots.index[index] != NULL) {
        place_close(slots.index[index]);
    }
}


void
slot_adopt(version_t *v)
{
    slot_t    *s;
    uint32_t   i, j, n, c;

    n = atomic_load(&v->sh->chunks);

    for (i = 0; i < n && i < FAAS_VERSION_CHUNKS; i++) {
        c = atomic_load(&v->sh->chunk[i]);

        if (c >= supervisor.board->chunks) {
            atomic_store(&v->sh->chunks, i);
            return;
        }

        for (j = 0; j < FAAS_CHUNK_SLOTS; j++) {
            s = slot_at(c * FAAS_CHUNK_SLOTS + j);
            s->version = v;

            place_adopt(s);

            if (faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_FREE)
            {
                continue;
            }

            v->used[i] |= 1ull << j;
            slot_link(s);

            s->generation = faas_slot_generation(atomic_load(&s->sh->word));
            slot_name(s, atomic_load(&s->sh->inner_pid));
        }
    }
}


void
slot_name(slot_t *s, int32_t inner_pid)
{
    slot_t  **bucket;

    slot_forget(s);

    if (inner_pid <= 0) {
        return;
    }

    s->inner_pid = inner_pid;

    bucket = slot_bucket(s->version, inner_pid);
    s->chain = *bucket;
    *bucket = s;
}


slot_t *
slot_by_pid(version_t *v, int32_t inner_pid)
{
    slot_t  *s;

    for (s = *slot_bucket(v, inner_pid); s != NULL; s = s->chain) {
        if (s->version == v && s->inner_pid == inner_pid) {
            return s;
        }
    }

    return NULL;
}


static void
slot_forget(slot_t *s)
{
    slot_t  **p;

    if (s->inner_pid == 0) {
        return;
    }

    for (p = slot_bucket(s->version, s->inner_pid); *p != s;
         p = &(*p)->chain)
    {
        /* void */
    }

    *p = s->chain;
    s->chain = NULL;
    s->inner_pid = 0;
}


static slot_t **
slot_bucket(const version_t *v, int32_t inner_pid)
{
    uint32_t  h;

    h = ((uint32_t) inner_pid + v->index * 7919u) * 2654435761u;

    return &slots.named[h >> 20];
}
