
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "owner.h"
#include "patrol.h"
#include "process.h"
#include "supervisor.h"


/* what we know of one record; process.fd is a pidfd, -1: not watched */

typedef struct {
    loop_event_t              process;
    int32_t                   pid;
} owner_t;


static void owner_watch(uint32_t i, int32_t pid);
static void owner_died(void *data, uint32_t events);
static void owner_free(uint32_t i);


static owner_t  owners[FAAS_WORKERS];
static int      owners_ready;


void
owner_look(void)
{
    int32_t         pid;
    uint32_t        i, n;
    faas_worker_t  *w;

    if (!owners_ready) {
        for (i = 0; i < FAAS_WORKERS; i++) {
            owners[i].process.fd = -1;
        }

        owners_ready = 1;
    }

    n = atomic_load(&supervisor.board->workers_used);

    for (i = 0; i < n && i < FAAS_WORKERS; i++) {
        w = faas_scoreboard_worker(supervisor.board, i);
        pid = atomic_load(&w->pid);

        if (pid != 0 && owners[i].process.fd == -1) {
            owner_watch(i, pid);
        }
    }
}


/*
 * The pidfd is of the process that claimed the record only if that process
 * still had the pid when it was opened: so it is opened first, then its start
 * time is compared with what the worker wrote.
 */

static void
owner_watch(uint32_t i, int32_t pid)
{
    int             fd;
    faas_worker_t  *w;

    w = faas_scoreboard_worker(supervisor.board, i);

    fd = (int) syscall(SYS_pidfd_open, pid, 0);

    if ((fd == -1 && errno == ESRCH)
        || (atomic_load(&w->ready)
            && !process_is(pid, atomic_load(&w->started))))
    {
        if (fd != -1) {
            close(fd);
        }

        owner_free(i);
        return;
    }

    /* a shortage, or its pid is a thread and the record is not ready: the
       next look sees it */

    if (fd == -1) {
        return;
    }

    owners[i].pid = pid;
    owners[i].process.handler = owner_died;
    owners[i].process.data = &owners[i];

    if (loop_add(&owners[i].process, fd, EPOLLIN) == -1) {
        close(fd);
    }
}


static void
owner_died(void *data, uint32_t events)
{
    int       fd;
    owner_t  *o;

    (void) events;

    o = data;

    fd = loop_remove(&o->process);
    close(fd);

    owner_free((uint32_t) (o - owners));
}


/* first what it held, then the record: whoever claims it next finds nothing
   of the former's */

static void
owner_free(uint32_t i)
{
    faas_worker_t  *w;

    w = faas_scoreboard_worker(supervisor.board, i);

    log_line(LOG_INFO, 0, "nginx worker %d of record %u is gone",
             (int) atomic_load(&w->pid), i);

    patrol_worker_died(i);

    atomic_store(&w->ready, 0);
    atomic_store(&w->started, 0);
    atomic_store(&w->pid, 0);
}
