
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


static uint64_t memory_of(pid_t pid);
static void memory_reclaim(const function_t *f);


static struct {
    uint64_t  used;
    uint32_t  turn;                  /* which instances are next */
    int       full;                  /* 1: said so */
} memory;


int
memory_allows(function_t *f)
{
    uint64_t  need;

    need = f->bytes ? f->bytes : MEMORY_GUESS;

    if (supervisor.memory == 0 || memory.used + need <= supervisor.memory
        || slot_live == NULL)
    {
        memory.full = 0;
        return 1;
    }

    if (!memory.full) {
        memory.full = 1;
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
    memory.used += f->bytes ? f->bytes : MEMORY_GUESS;
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
        memory.used += f->live * (f->bytes ? f->bytes : MEMORY_GUESS);
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
