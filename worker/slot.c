
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "deposit.h"
#include "log.h"
#include "slot.h"


#define SLOT_DIRECTORY  "slots"
#define SLOT_BACKLOG    64
#define SLOT_HASH       4096

/* how long, and how often, connections to an emptied slot are looked for */
#define SLOT_EMPTIED_MS       1000
#define SLOT_EMPTIED_LOOK_MS  25


static int slot_chunk(version_t *v);
static uint32_t slot_free_chunk(void);
static void slot_link(slot_t *s);
static void slot_unlink(slot_t *s);
static int slot_prepare(slot_t *s);
static int slot_listen(slot_t *s);
static int slot_make_page(slot_t *s);
static int slot_map_page(slot_t *s);
static void slot_look_emptied(void *data);
static void slot_close_place(slot_t *s);
static void slot_adopt_place(slot_t *s);
static void slot_address(const slot_t *s, struct sockaddr_un *un);
static slot_t **slot_bucket(const version_t *v, int32_t inner_pid);
static void slot_forget(slot_t *s);


slot_t  *slot_live;


static struct {
    slot_t      **index;             /* by board index, NULL: never used */
    slot_t     *named[SLOT_HASH];    /* by version and inner pid */
    uint32_t   *pages;               /* slot indices, oldest page first */
    uint32_t    npages;
    uint32_t    next_chunk;
    int64_t     group;               /* of nginx's workers, or -1 */
    slot_t     *emptied;
    loop_timer_t  timer;
} slots;


void
slot_init(int64_t group)
{
    if (slots.index == NULL) {
        slots.index = loop_alloc((size_t) supervisor.board->chunks
                                 * FAAS_CHUNK_SLOTS * sizeof(slot_t *));
        slots.pages = loop_alloc((size_t) supervisor.board->chunks
                                 * FAAS_CHUNK_SLOTS * sizeof(uint32_t));
    }

    slots.group = group;
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
        s->listen = -1;
        s->page_fd = -1;
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

    if (slot_prepare(s) == -1) {
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
slot_is_spent(const slot_t *s)
{
    return atomic_load(&s->sh->requests) == 1
           && (uint32_t) atomic_load(&s->page->begun)
              != atomic_load(&s->sh->base);
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
    s->overdue_ms = 0;
    s->signals = 0;
    s->retired = 0;
    s->unparented = 0;
    s->told = 0;
    s->cause = NULL;
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


static uint32_t
slot_free_chunk(void)
{
    uint32_t       i, n;
    version_t     *v;
    faas_chunk_t  *chunk;

    for (n = 0; n < supervisor.board->chunks; n++) {
        i = (slots.next_chunk + n) % supervisor.board->chunks;

        chunk = faas_scoreboard_chunk(supervisor.board, i);
        v = version_at(faas_chunk_version(chunk));

        /* a zeroed board says version 0 everywhere; so does a chunk whose
           version was freed when a supervisor died */

        if (v == NULL || !slot_has_chunk(v, i)) {
            slots.next_chunk = i + 1;
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
                slot_close_place(s);
            }
        }

        chunk = faas_scoreboard_chunk(supervisor.board, c);
        faas_chunk_give(chunk, FAAS_INDEX_NONE);
    }
}


static int
slot_prepare(slot_t *s)
{
    if (s->listen != -1) {
        return 0;
    }

    if ((s->page == NULL && slot_make_page(s) == -1)
        || slot_listen(s) == -1)
    {
        return -1;
    }

    if (journal_open(&s->journal, -1, -1) == -1) {
        supervisor_error(errno, "no pipe for slot %u", s->index);
        slot_close_place(s);
        return -1;
    }

    (void) deposit_put(s->journal.event.fd, "s/%u/log-read", s->index);
    (void) deposit_put(s->journal.write, "s/%u/log-write", s->index);

    return 0;
}


/*
 * The directory is ours alone, so the moment between bind and chmod is
 * nobody's.  Non-blocking for what we accept ourselves; whoever shares the
 * socket polls it first.
 */

static int
slot_listen(slot_t *s)
{
    int                 fd;
    struct sockaddr_un  un;

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        supervisor_error(errno, "no socket for slot %u", s->index);
        return -1;
    }

    slot_address(s, &un);
    (void) unlink(un.sun_path);

    if (bind(fd, (struct sockaddr *) &un, sizeof(un)) == -1
        || (slots.group >= 0
            && chown(un.sun_path, (uid_t) -1, (gid_t) slots.group) == -1
            && geteuid() == 0)
        || chmod(un.sun_path, slots.group >= 0 ? 0660 : 0600) == -1
        || listen(fd, SLOT_BACKLOG) == -1
        || deposit_put(fd, "s/%u/listen", s->index) == -1)
    {
        supervisor_error(errno, "could not make socket \"%s\"", un.sun_path);
        close(fd);
        return -1;
    }

    s->listen = fd;

    return 0;
}


/* sealed: no instance can take pages away under whoever reads them */

static int
slot_make_page(slot_t *s)
{
    s->page_fd = memfd_create("faas-page", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (s->page_fd == -1
        || ftruncate(s->page_fd, FAAS_PAGE_SIZE) == -1
        || fcntl(s->page_fd, F_ADD_SEALS,
                 F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_SEAL) == -1
        || slot_map_page(s) == -1)
    {
        supervisor_error(errno, "no page for slot %u", s->index);

        if (s->page_fd != -1) {
            close(s->page_fd);
            s->page_fd = -1;
        }

        return -1;
    }

    (void) deposit_put(s->page_fd, "p/%u", s->index);

    return 0;
}


static int
slot_map_page(slot_t *s)
{
    void  *p;

    p = mmap(NULL, FAAS_PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED,
             s->page_fd, 0);

    if (p == MAP_FAILED) {
        return -1;
    }

    s->page = p;
    slots.pages[slots.npages++] = s->index;
    control_new_page();

    return 0;
}


/*
 * What a process of one function may have kept open is no other function's:
 * socket and pipe are made anew for another version.  The page stays: workers
 * have it mapped, and believe it little.
 */

static void
slot_close_place(slot_t *s)
{
    struct sockaddr_un  un;

    if (s->listen != -1) {
        slot_address(s, &un);
        (void) unlink(un.sun_path);
        deposit_remove("s/%u/listen", s->index);
        close(s->listen);
        s->listen = -1;
    }

    if (s->journal.event.fd != -1) {
        deposit_remove("s/%u/log-read", s->index);
        deposit_remove("s/%u/log-write", s->index);
        journal_close(&s->journal);
    }

    s->version = NULL;
}


void
slot_remove(uint32_t index)
{
    if (slots.index[index] != NULL) {
        slot_close_place(slots.index[index]);
    }
}


void
slot_drain_backlog(slot_t *s)
{
    int  fd;

    for ( ;; ) {
        fd = accept4(s->listen, NULL, NULL, SOCK_CLOEXEC);

        if (fd == -1) {
            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }

            return;
        }

        close(fd);
    }
}


void
slot_emptied(slot_t *s)
{
    slot_drain_backlog(s);

    if (s->emptied_ms == 0) {
        s->empty = slots.emptied;
        slots.emptied = s;
    }

    s->emptied_ms = loop_now_ms();

    if (!loop_is_armed(&slots.timer)) {
        slots.timer.handler = slot_look_emptied;
        loop_arm(&slots.timer, loop_now_ms() + SLOT_EMPTIED_LOOK_MS);
    }
}


static void
slot_look_emptied(void *data)
{
    slot_t  *s, **p;

    (void) data;

    for (p = &slots.emptied; *p != NULL; /* void */ ) {
        s = *p;

        if (s->listen != -1
            && faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_FREE)
        {
            slot_drain_backlog(s);

            if (loop_now_ms() - s->emptied_ms < SLOT_EMPTIED_MS) {
                p = &s->empty;
                continue;
            }
        }

        *p = s->empty;
        s->empty = NULL;
        s->emptied_ms = 0;
    }

    if (slots.emptied != NULL) {
        loop_arm(&slots.timer, loop_now_ms() + SLOT_EMPTIED_LOOK_MS);
    }
}


void
slot_nudge(slot_t *s)
{
    int                 fd;
    struct sockaddr_un  un;

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        return;
    }

    slot_address(s, &un);
    (void) connect(fd, (struct sockaddr *) &un, sizeof(un));
    close(fd);
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

            slot_adopt_place(s);

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


static void
slot_adopt_place(slot_t *s)
{
    int  read_end, write_end;

    s->listen = deposit_take("s/%u/listen", s->index);

    read_end = deposit_take("s/%u/log-read", s->index);
    write_end = deposit_take("s/%u/log-write", s->index);

    if (s->listen == -1 || read_end == -1 || write_end == -1
        || journal_open(&s->journal, read_end, write_end) == -1)
    {
        /* half made when the supervisor died; nobody can be in it */

        if (s->listen != -1) {
            deposit_remove("s/%u/listen", s->index);
            close(s->listen);
            s->listen = -1;
        }

        return;
    }

    journal_owner(&s->journal, &s->version->function->journal,
                 s->version->sh->id, s->index, atomic_load(&s->sh->pid));
}


void
slot_adopt_pages(void)
{
    int       fd;
    slot_t   *s;
    unsigned  index;

    while ((fd = deposit_take_any("p/", &index)) != -1) {

        s = slot_at(index);

        if (s == NULL || s->page_fd != -1) {
            close(fd);
            continue;
        }

        s->page_fd = fd;

        if (slot_map_page(s) == -1) {
            close(fd);
            s->page_fd = -1;
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


uint32_t
slot_page(uint32_t n)
{
    return n < slots.npages ? slots.pages[n] : FAAS_INDEX_NONE;
}


/* relative to faas_state, our working directory: that may be long */

static void
slot_address(const slot_t *s, struct sockaddr_un *un)
{
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    (void) snprintf(un->sun_path, sizeof(un->sun_path),
                    SLOT_DIRECTORY "/%u.sock", s->index);
}
