
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "memory.h"
#include "patrol.h"
#include "pool.h"


/* instances that are measured each second */
#define MEMORY_SHARE  4

/* what an instance is taken for before one was measured */
#define MEMORY_GUESS  (1024 * 1024)

/* it is said that there is no more at most so often */
#define MEMORY_SAY_MS  1000

/* between two looks at limits; and how many may be measured in one */
#define MEMORY_LOOK_MS  250
#define MEMORY_DEAR     8


static uint64_t memory_unit(const function_t *f);
static void memory_charge(function_t *f);
static uint32_t memory_instances(void);
static void memory_look_at(slot_t *s, uint32_t *dear);
static void memory_over(slot_t *s, uint64_t bytes);
static uint64_t memory_of(pid_t pid);
static uint64_t memory_beyond(const version_t *v, pid_t pid);
static uint64_t memory_proportional(pid_t pid);
static int memory_pages(pid_t pid, uint64_t *resident, uint64_t *shared);
static ssize_t memory_read(pid_t pid, const char *name, char *buf,
    size_t size);
static void memory_reclaim(const function_t *f);


static struct {
    uint64_t  used;                  /* sum of what functions are charged */
    uint32_t  turn;                  /* which instances are next */
    uint64_t  said_ms;
    uint64_t  looked_ms;
    uint32_t  looked;                /* which instances are next, for that */
} memory;


int
memory_allows(function_t *f)
{
    uint64_t  now;

    memory_charge(f);

    if (supervisor.memory == 0 || slot_live == NULL
        || memory.used + memory_unit(f) <= supervisor.memory)
    {
        return 1;
    }

    now = loop_now_ms();

    if (memory.said_ms == 0 || now - memory.said_ms >= MEMORY_SAY_MS) {
        memory.said_ms = now;
        supervisor_error(0, "function \"%s\" gets no more instances: all "
                         "functions together use %llu of %llu bytes "
                         "(faas_memory)", f->name,
                         (unsigned long long) memory.used,
                         (unsigned long long) supervisor.memory);
    }

    memory_reclaim(f);

    return 0;
}


void
memory_started(function_t *f)
{
    memory_charge(f);
}


static uint64_t
memory_unit(const function_t *f)
{
    return f->bytes ? f->bytes : MEMORY_GUESS;
}


/*
 * What a function is charged follows its instances whenever it asks for one,
 * so those that ended since (each request ends one of a one-shot function)
 * count no longer.  Other functions' are brought up to date each second.
 */

static void
memory_charge(function_t *f)
{
    uint64_t  bytes;

    bytes = f->live * memory_unit(f);

    memory.used = memory.used - f->charged + bytes;
    f->charged = bytes;
}


void
memory_measure(void)
{
    pid_t        pid;
    slot_t      *s;
    uint32_t     n, count, first;
    uint64_t     bytes;
    function_t  *f;

    count = memory_instances();
    first = count ? memory.turn % count : 0;
    n = 0;

    for (s = count ? slot_live : NULL; s != NULL; s = s->following, n++) {

        if ((n + count - first) % count >= MEMORY_SHARE) {
            continue;
        }

        pid = atomic_load(&s->sh->pid);
        bytes = pid > 0 ? memory_of(pid) : 0;

        if (bytes > 0) {
            f = s->version->function;
            f->bytes = f->bytes ? (f->bytes * 3 + bytes) / 4 : bytes;
        }
    }

    memory.turn += MEMORY_SHARE;
    memory.used = 0;

    for (f = function_list; f != NULL; f = f->next) {
        f->charged = 0;
        memory_charge(f);
    }
}


void
memory_look(void)
{
    slot_t    *s, *next;
    uint32_t   n, count, first, dear;

    if (loop_now_ms() - memory.looked_ms < MEMORY_LOOK_MS) {
        return;
    }

    memory.looked_ms = loop_now_ms();
    count = memory_instances();

    if (count == 0) {
        return;
    }

    first = memory.looked % count;
    memory.looked += MEMORY_LOOK;
    dear = MEMORY_DEAR;
    n = 0;

    for (s = slot_live; s != NULL; s = next, n++) {
        next = s->following;

        if ((n + count - first) % count < MEMORY_LOOK && s->signals == 0) {
            memory_look_at(s, &dear);
        }
    }
}


static uint32_t
memory_instances(void)
{
    uint32_t     count;
    function_t  *f;

    count = 0;

    for (f = function_list; f != NULL; f = f->next) {
        count += f->live;
    }

    return count;
}


static void
memory_look_at(slot_t *s, uint32_t *dear)
{
    pid_t     pid;
    uint64_t  limit, bytes, resident, shared;

    pid = atomic_load(&s->sh->pid);
    limit = s->version->function->limits.memory_bytes;

    if (limit == 0 || pid <= 0 || *dear == 0
        || memory_pages(pid, &resident, &shared) == -1 || resident <= limit)
    {
        return;
    }

    (*dear)--;

    bytes = memory_proportional(pid);

    if (bytes == 0) {
        bytes = memory_beyond(s->version, pid);
    }

    if (bytes > limit) {
        memory_over(s, bytes);
    }
}


static void
memory_over(slot_t *s, uint64_t bytes)
{
    uint64_t  word;

    s->bytes = bytes;
    word = atomic_load(&s->sh->word);

    switch (faas_slot_state(word)) {

    case FAAS_SLOT_IDLE:
        (void) pool_retire_for(s, word, FAAS_CAUSE_MEMORY);
        return;

    case FAAS_SLOT_BUSY:
    case FAAS_SLOT_DRAINING:
        patrol_condemn(s, word, FAAS_CAUSE_MEMORY);
        return;

    default:
        return;    /* on its way to be one of those, or ending */
    }
}


/* the proportional set size; where that is not to be had, what is resident
   and not of a file */

static uint64_t
memory_of(pid_t pid)
{
    uint64_t  bytes, resident, shared;

    bytes = memory_proportional(pid);

    if (bytes == 0 && memory_pages(pid, &resident, &shared) == 0) {
        bytes = resident - shared;
    }

    return bytes;
}


/* what it has that its template, whose fork it is, has not: never too much */

static uint64_t
memory_beyond(const version_t *v, pid_t pid)
{
    pid_t     template;
    uint64_t  own, resident, shared;

    if (memory_pages(pid, &resident, &shared) == -1) {
        return 0;
    }

    own = resident - shared;
    template = atomic_load(&v->sh->template_pid);

    if (template <= 0 || memory_pages(template, &resident, &shared) == -1) {
        return own;
    }

    return own > resident - shared ? own - (resident - shared) : 0;
}


static uint64_t
memory_proportional(pid_t pid)
{
    char  buf[1024], *p;

    if (memory_read(pid, "smaps_rollup", buf, sizeof(buf)) <= 0) {
        return 0;
    }

    p = strstr(buf, "\nPss:");

    return p ? strtoull(p + 5, NULL, 10) * 1024 : 0;
}


/* bytes; shared: of files, and of what is mapped as one.  0 or -1 */

static int
memory_pages(pid_t pid, uint64_t *resident, uint64_t *shared)
{
    char                buf[128];
    uint64_t            page;
    unsigned long long  all, mapped;

    if (memory_read(pid, "statm", buf, sizeof(buf)) <= 0
        || sscanf(buf, "%*u %llu %llu", &all, &mapped) != 2 || all < mapped)
    {
        return -1;
    }

    page = (uint64_t) sysconf(_SC_PAGESIZE);

    *resident = all * page;
    *shared = mapped * page;

    return 0;
}


static ssize_t
memory_read(pid_t pid, const char *name, char *buf, size_t size)
{
    int      fd;
    ssize_t  n;

    (void) snprintf(buf, size, "/proc/%d/%s", (int) pid, name);

    fd = open(buf, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return -1;
    }

    n = read(fd, buf, size - 1);
    close(fd);

    buf[n > 0 ? n : 0] = '\0';

    return n;
}


/* the instance, of another function and above its min, that has been idle
   longest */

static void
memory_reclaim(const function_t *f)
{
    slot_t    *s, *found;
    uint64_t   idle, least;

    found = NULL;
    least = UINT64_MAX;

    for (s = slot_live; s != NULL; s = s->following) {

        if (s->version->function == f
            || s->version->function->live <= s->version->function->limits.min
            || faas_slot_state(atomic_load(&s->sh->word)) != FAAS_SLOT_IDLE)
        {
            continue;
        }

        idle = atomic_load(&s->sh->idle_ms);

        if (idle < least) {
            found = s;
            least = idle;
        }
    }

    if (found != NULL) {
        (void) pool_retire_slot(found, atomic_load(&found->sh->word));
    }
}
