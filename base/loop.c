
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"


#define LOOP_EVENTS  64

/* between two attempts to get memory */
#define LOOP_NAP_MS  20


static void loop_fire(void);
static void loop_run_jobs(void);
static int loop_timeout(void);
static void loop_place(loop_timer_t *t, size_t position);
static void loop_up(loop_timer_t *t, size_t position);
static void loop_down(loop_timer_t *t, size_t position);
static void loop_wait_for_memory(size_t size, unsigned turn);


static struct {
    int                   fd;
    uint64_t              now_ms;

    /* what epoll returned and is not served yet: data.ptr is a loop_event_t,
       NULL once that was removed */
    struct epoll_event    events[LOOP_EVENTS];
    int                   count;

    loop_timer_t        **heap;              /* heap[1 .. timers] */
    size_t                timers;
    size_t                room;

    loop_job_t           *jobs;
    loop_job_t          **last;
    uint64_t              turn;              /* counts loop_run_jobs() */
} loop = { .fd = -1 };


int
loop_init(void)
{
    loop.fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop.fd == -1) {
        return -1;
    }

    loop.last = &loop.jobs;
    loop.now_ms = loop_clock_us() / 1000;

    return 0;
}


int
loop_add(loop_event_t *e, int fd, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = e;

    if (epoll_ctl(loop.fd, EPOLL_CTL_ADD, fd, &ee) == -1) {
        e->fd = -1;
        return -1;
    }

    e->fd = fd;

    return 0;
}


int
loop_change(loop_event_t *e, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = e;

    return epoll_ctl(loop.fd, EPOLL_CTL_MOD, e->fd, &ee);
}


int
loop_remove(loop_event_t *e)
{
    int  i, fd;

    fd = e->fd;

    if (fd == -1) {
        return -1;
    }

    (void) epoll_ctl(loop.fd, EPOLL_CTL_DEL, fd, NULL);

    e->fd = -1;

    for (i = 0; i < loop.count; i++) {
        if (loop.events[i].data.ptr == e) {
            loop.events[i].data.ptr = NULL;
        }
    }

    return fd;
}


void
loop_arm(loop_timer_t *t, uint64_t at_ms)
{
    if (t->position == 0) {

        if (loop.timers + 1 >= loop.room) {
            loop.room = loop.room ? loop.room * 2 : 256;
            loop.heap = loop_realloc(loop.heap,
                                     loop.room * sizeof(loop_timer_t *));
        }

        loop.timers++;
        t->at_ms = at_ms;
        loop_up(t, loop.timers);
        return;
    }

    if (at_ms < t->at_ms) {
        t->at_ms = at_ms;
        loop_up(t, t->position);

    } else {
        t->at_ms = at_ms;
        loop_down(t, t->position);
    }
}


void
loop_disarm(loop_timer_t *t)
{
    size_t         position;
    loop_timer_t  *moved;

    position = t->position;

    if (position == 0) {
        return;
    }

    t->position = 0;
    moved = loop.heap[loop.timers--];

    if (moved == t) {
        return;
    }

    if (moved->at_ms < t->at_ms) {
        loop_up(moved, position);

    } else {
        loop_down(moved, position);
    }
}


void
loop_post(loop_job_t *job)
{
    if (job->posted) {
        return;
    }

    job->posted = 1;
    job->next = NULL;
    *loop.last = job;
    loop.last = &job->next;
}


void
loop_withdraw(loop_job_t *job)
{
    loop_job_t  **p;

    if (!job->posted) {
        return;
    }

    for (p = &loop.jobs; *p != job; p = &(*p)->next) { /* void */ }

    *p = job->next;

    if (loop.last == &job->next) {
        loop.last = p;
    }

    job->posted = 0;
}


int
loop_turn(void)
{
    int            i, n;
    loop_event_t  *e;

    n = epoll_wait(loop.fd, loop.events, LOOP_EVENTS, loop_timeout());

    if (n == -1) {
        if (errno != EINTR) {
            return -1;
        }

        n = 0;
    }

    loop.now_ms = loop_clock_us() / 1000;
    loop.count = n;

    for (i = 0; i < n; i++) {
        e = loop.events[i].data.ptr;

        if (e != NULL) {
            e->handler(e->data, loop.events[i].events);
        }
    }

    loop.count = 0;

    loop_fire();
    loop_run_jobs();

    return 0;
}


uint64_t
loop_now_ms(void)
{
    return loop.now_ms;
}


uint64_t
loop_clock_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


void *
loop_alloc(size_t size)
{
    void      *p;
    unsigned   turn;

    for (turn = 0; (p = calloc(1, size)) == NULL; turn++) {
        loop_wait_for_memory(size, turn);
    }

    return p;
}


void *
loop_realloc(void *p, size_t size)
{
    void      *larger;
    unsigned   turn;

    for (turn = 0; (larger = realloc(p, size)) == NULL; turn++) {
        loop_wait_for_memory(size, turn);
    }

    return larger;
}


static void
loop_wait_for_memory(size_t size, unsigned turn)
{
    struct timespec  nap;

    if (turn == 0) {
        log_line(LOG_CRIT, errno, "no memory for %zu bytes, waiting", size);
    }

    if (turn == LOOP_PATIENCE_MS / LOOP_NAP_MS) {
        log_line(LOG_ALERT, errno, "no memory for %zu bytes, ending", size);
        _exit(1);
    }

    nap.tv_sec = 0;
    nap.tv_nsec = LOOP_NAP_MS * 1000 * 1000;
    nanosleep(&nap, NULL);
}


char *
loop_strdup(const char *s, size_t n)
{
    char  *p;

    p = loop_alloc(n + 1);
    memcpy(p, s, n);

    return p;
}


/* only timers that were due when it began: one that rearms itself for now
   cannot hold up the rest */

static void
loop_fire(void)
{
    size_t         n;
    loop_timer_t  *t;

    for (n = loop.timers; n > 0 && loop.timers > 0; n--) {
        t = loop.heap[1];

        if (t->at_ms > loop.now_ms) {
            return;
        }

        loop_disarm(t);
        t->handler(t->data);
    }
}


static void
loop_run_jobs(void)
{
    loop_job_t  *job;

    loop.turn++;

    /*
     * Jobs posted by jobs run in this turn too, but for repeats of what ran in
     * it.  A handler may free its job: it is not looked at afterwards.
     */

    while (loop.jobs != NULL && loop.jobs->turn != loop.turn) {
        job = loop.jobs;
        loop.jobs = job->next;

        if (loop.jobs == NULL) {
            loop.last = &loop.jobs;
        }

        job->posted = 0;
        job->turn = loop.turn;
        job->handler(job->data);
    }
}


static int
loop_timeout(void)
{
    uint64_t  now_us, at_us;

    if (loop.jobs != NULL) {
        return 0;
    }

    if (loop.timers == 0) {
        return -1;
    }

    now_us = loop_clock_us();
    at_us = loop.heap[1]->at_ms * 1000;

    if (at_us <= now_us) {
        return 0;
    }

    if (at_us - now_us > 60 * 1000000) {
        return 60 * 1000;
    }

    return (int) ((at_us - now_us + 999) / 1000);
}


static void
loop_place(loop_timer_t *t, size_t position)
{
    loop.heap[position] = t;
    t->position = position;
}


static void
loop_up(loop_timer_t *t, size_t position)
{
    while (position > 1 && loop.heap[position / 2]->at_ms > t->at_ms) {
        loop_place(loop.heap[position / 2], position);
        position /= 2;
    }

    loop_place(t, position);
}


static void
loop_down(loop_timer_t *t, size_t position)
{
    size_t  child;

    for ( ;; ) {
        child = position * 2;

        if (child > loop.timers) {
            break;
        }

        if (child < loop.timers
            && loop.heap[child + 1]->at_ms < loop.heap[child]->at_ms)
        {
            child++;
        }

        if (loop.heap[child]->at_ms >= t->at_ms) {
            break;
        }

        loop_place(loop.heap[child], position);
        position = child;
    }

    loop_place(t, position);
}
