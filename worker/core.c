
/* The copy of the request. */


#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"
#include "faas_scoreboard.h"
#include "request.h"


/* the reader comes after this process: order is not asked of all of them */

#define core_set(field, n)                                                    \
    atomic_store_explicit(&core_here->field, n, memory_order_relaxed)
#define core_get(field)                                                       \
    atomic_load_explicit(&core_here->field, memory_order_relaxed)


core_t  *core_here;


static struct {
    char                     *body;
    uint64_t                  room;        /* for it */
    faas_request_t           *request;
} core_tee;


int
core_open(int fd, uint64_t size)
{
    void  *p;

    p = size > sizeof(core_t) ? mmap(NULL, size, PROT_READ|PROT_WRITE,
                                     MAP_SHARED, fd, 0)
                              : MAP_FAILED;

    if (p == MAP_FAILED) {
        return FAAS_ERROR;
    }

    core_here = p;
    core_here->magic = CORE_MAGIC;
    core_tee.body = (char *) p + sizeof(core_t);
    core_tee.room = size - sizeof(core_t);

    return core_trace_init();
}


void
core_begin(faas_request_t *r)
{
    char      **p;
    size_t      n, length;

    if (core_here == NULL) {
        return;
    }

    length = 0;

    core_set(params_cut, 0);

    for (p = r->fcgx.envp; *p != NULL; p++) {
        n = strlen(*p) + 1;

        if (n > CORE_PARAMS - length) {
            core_set(params_cut, 1);
            continue;
        }

        memcpy(core_here->params + length, *p, n);
        length += n;
    }

    core_tee.request = r;

    core_set(params_length, (uint32_t) length);
    core_set(body_length, 0);
    core_set(body_taken, 0);
    core_set(body_whole, 0);
    atomic_store_explicit(&core_here->running, 1, memory_order_release);
}


void
core_end(void)
{
    if (core_here == NULL) {
        return;
    }

    core_tee.request = NULL;
    atomic_store_explicit(&core_here->running, 0, memory_order_release);
}


void
core_body(const void *data, size_t n)
{
    uint64_t  length;

    if (core_here == NULL) {
        return;
    }

    if (n == 0) {
        core_set(body_whole, 1);
        return;
    }

    length = core_get(body_length);

    core_set(body_taken, core_get(body_taken) + n);

    if (n > core_tee.room - length) {
        n = (size_t) (core_tee.room - length);
    }

    memcpy(core_tee.body + length, data, n);

    atomic_store_explicit(&core_here->body_length, length + n,
                          memory_order_release);
}


/*
 * After a crash: what the function had not read yet, as far as it is there.
 * libfcgi may be in any state; whatever comes of it, the rest is written.
 */

void
core_drain(void)
{
    int              flags;
    char             buf[4096];
    ssize_t          n;
    uint64_t         taken;
    faas_request_t  *r;

    r = core_tee.request;

    if (r == NULL || r->body_held || r->fcgx.in == NULL) {
        return;
    }

    flags = fcntl(r->fcgx.ipcFd, F_GETFL);

    if (flags == -1 || fcntl(r->fcgx.ipcFd, F_SETFL, flags|O_NONBLOCK) == -1) {
        return;
    }

    taken = atomic_load(&core_here->body_taken);

    while (atomic_load(&core_here->body_length) < core_tee.room) {
        n = faas_read(r, buf, sizeof(buf));

        if (n <= 0) {
            break;
        }
    }

    /* that was not the function */

    atomic_store(&core_here->body_taken, taken);
}
