
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "memory.h"
#include "pool.h"


/* instances that are measured each second */
#define MEMORY_SHARE  4

/* what an instance is taken for before one was measured */
#define MEMORY_GUESS  (1024 * 1024)


static uint64_t memory_unit(const function_t *f);
static void memory_charge(function_t *f);
static uint64_t memory_of(pid_t pid);
static void memory_reclaim(const function_t *f);


/* it is said that there is no more at most so often */
#define MEMORY_SAY_MS  1000


static struct {
    uint64_t  used;                  /* sum of what functions are charged */
    uint32_t  turn;                  /* which instances are next */
    uint64_t  said_ms;
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

    count = 0;

    for (f = function_list; f != NULL; f = f->next) {
        count += f->live;
    }

    first = count ? memory.turn % count : 0;
    n = 0;

    for (s = slot_live; s != NULL; s = s->following, n++) {

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


/* the proportional set size; where that is not to be had, what is resident
   and not of a file */

static uint64_t
memory_of(pid_t pid)
{
    int                 fd;
    char                buf[1024], *p;
    ssize_t             n;
    unsigned long long  resident, shared;

    (void) snprintf(buf, sizeof(buf), "/proc/%d/smaps_rollup", (int) pid);

    fd = open(buf, O_RDONLY|O_CLOEXEC);
    n = -1;

    if (fd != -1) {
        n = read(fd, buf, sizeof(buf) - 1);
        close(fd);
    }

    if (n > 0) {
        buf[n] = '\0';
        p = strstr(buf, "\nPss:");

        return p ? strtoull(p + 5, NULL, 10) * 1024 : 0;
    }

    (void) snprintf(buf, sizeof(buf), "/proc/%d/statm", (int) pid);

    fd = open(buf, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return 0;
    }

    n = read(fd, buf, sizeof(buf) - 1);
    close(fd);

    if (n <= 0) {
        return 0;
    }

    buf[n] = '\0';

    if (sscanf(buf, "%*u %llu %llu", &resident, &shared) != 2
        || resident < shared)
    {
        return 0;
    }

    return (resident - shared) * (uint64_t) sysconf(_SC_PAGESIZE);
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
