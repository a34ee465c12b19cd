
/*
 * Timers: which there are, when each is looked at, and what its look decided
 * (events_due.c), done through the engine.
 *
 * Each look reads what is stored, since other nodes fire, too.  One timerfd
 * waits for the earliest look, on the wall clock, and is told when that is
 * set, so a due time is met to the millisecond and a step of the clock is
 * seen at once.  Besides, each timer is looked at once a minute.
 *
 * A timer that is not configured any more is kept for a minute: a function's
 * file that is replaced, or a reload, makes no new timer of it.  Of those
 * that this process never knew (another node's, or what was configured once)
 * only the ones that nobody has fired for a month are deleted.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "events_consume.h"
#include "events_due.h"
#include "events_invocation.h"
#include "log.h"
#include "loop.h"


#define TIMERS_LOOK_MS    (60 * 1000)     /* at least so often */
#define TIMERS_PAUSE_MS   500             /* the engine does not answer */
#define TIMERS_TURN_US    20000           /* of looks in one turn */
#define TIMERS_GONE_MS    (60 * 1000)
#define TIMERS_SWEEP_MS   (3600 * 1000)
#define TIMERS_FORGET_MS  (30ll * 24 * 3600 * 1000)
#define TIMERS_NAME_MAX   48              /* bytes of it in a message's id */


typedef struct {
    char                      key[160];    /* of queue_timer_t */
    char                      spec[256];
    char                      function[FAAS_NAME_SIZE];
    faas_schedule_t           schedule;
    events_watch_t            watch;
    int64_t                   at_ms;       /* the next look, wall clock */
    int64_t                   gone_ms;     /* not configured since; 0: it is */
} timers_timer_t;


/* what build is given */

typedef struct {
    const timers_timer_t     *timer;
    int64_t                   due_ms;
    wire_writer_t             payload;
} timers_firing_t;


static void timers_init(void);
static size_t timers_configured(timers_timer_t ***list);
static timers_timer_t *timers_create(const events_function_t *f,
    const faas_schedule_t *s, int64_t now_ms);
static int timers_compare(const void *one, const void *two);
static void timers_adopt(timers_timer_t *t, const timers_timer_t *old,
    int64_t now_ms);
static timers_timer_t *timers_find(const char *key);
static void timers_drop(void);
static void timers_event(void *data, uint32_t events_mask);
static void timers_run(void);
static void timers_remove(size_t i);
static void timers_arm(int64_t at_ms);
static int timers_look(timers_timer_t *t);
static int timers_stored(timers_timer_t *t, queue_timer_t *stored,
    int64_t now_ms);
static int timers_runs(const timers_timer_t *t, const queue_timer_t *stored,
    int64_t now_ms);
static int timers_do(timers_timer_t *t, const queue_timer_t *stored,
    const events_due_t *due, int64_t now_ms);
static int timers_build(queue_message_t *m, uint64_t fence, void *data);
static void timers_id(const timers_timer_t *t, int64_t due_ms, char *id);
static void timers_left_out(const timers_timer_t *t,
    const queue_timer_t *stored, const events_due_t *due);
static void timers_time(char *buf, size_t size, int64_t ms);
static void timers_sweep(void *data);
static int timers_sweep_one(const queue_timer_t *stored, void *data);
static int timers_list_one(const queue_timer_t *stored, void *data);


static struct {
    timers_timer_t          **list;        /* in order of their keys */
    size_t                    n;
    size_t                    next;        /* where the next turn begins */

    loop_event_t              event;       /* timerfd */
    loop_timer_t              sweep;
    int                       initialized;
    int                       ended;
} timers = { .event.fd = -1 };


void
events_timers_settings(void)
{
    size_t            i, j, n, nold;
    int64_t           now;
    timers_timer_t  **old, **list;

    timers_init();

    /* of another engine nothing is known */

    if (timers.ended) {
        timers_drop();
        timers.ended = 0;
    }

    now = events_now_ms();
    old = timers.list;
    nold = timers.n;
    n = timers_configured(&list);

    timers.list = list;
    timers.n = n;
    timers.next = 0;

    list = loop_alloc((n + nold + 1) * sizeof(timers_timer_t *));

    for (i = 0, j = 0; i < nold; i++) {
        timers_timer_t  *t = timers_find(old[i]->key);

        if (t != NULL && strcmp(t->spec, old[i]->spec) == 0) {
            timers_adopt(t, old[i], now);
            free(old[i]);

        } else if (t != NULL) {
            free(old[i]);

        } else {
            if (old[i]->gone_ms == 0) {
                old[i]->gone_ms = now;
                old[i]->at_ms = now + TIMERS_GONE_MS;
            }

            list[j++] = old[i];
        }
    }

    for (i = 0; i < n; i++) {
        list[j++] = timers.list[i];
    }

    qsort(list, j, sizeof(timers_timer_t *), timers_compare);

    free(old);
    free(timers.list);
    timers.list = list;
    timers.n = j;

    loop_arm(&timers.sweep, loop_now_ms() + TIMERS_SWEEP_MS);
    timers_arm(now);
}


void
events_timers_end(void)
{
    timers.ended = 1;
    loop_disarm(&timers.sweep);
    timers_arm(0);
}


int
events_timers_list(wire_writer_t *out)
{
    return events.queue->engine->timer_list(events.queue, timers_list_one,
                                            out,
                                            events_deadline(EVENTS_ASKED_MS));
}


static int
timers_list_one(const queue_timer_t *stored, void *data)
{
    const char     *slash;
    wire_writer_t  *out = data;

    slash = strchr(stored->key, '/');

    if (slash != NULL) {
        wire_put(out, stored->key, (size_t) (slash - stored->key));
        wire_put_text(out, slash + 1);
        wire_put_number(out, stored->due_ms);
        wire_put_number(out, stored->last_ms);
        wire_put_number(out, stored->running);
    }

    return 0;
}


/* -- which there are ------------------------------------------------------- */

static void
timers_init(void)
{
    int  fd;

    if (timers.initialized) {
        return;
    }

    timers.initialized = 1;
    timers.event.handler = timers_event;
    timers.sweep.handler = timers_sweep;

    fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK|TFD_CLOEXEC);

    if (fd == -1 || loop_add(&timers.event, fd, EPOLLIN) == -1) {
        log_line(LOG_ALERT, errno, "timers have no timerfd");
        _exit(1);
    }
}


static size_t
timers_configured(timers_timer_t ***list)
{
    size_t                    i, j, n;
    int64_t                   now;
    timers_timer_t           *t, **sorted;
    const events_function_t  *f;

    n = 0;

    for (i = 0; i < events.settings->nfunctions; i++) {
        n += events.settings->functions[i].nschedules;
    }

    sorted = loop_alloc((n + 1) * sizeof(timers_timer_t *));
    now = events_now_ms();
    n = 0;

    for (i = 0; i < events.settings->nfunctions; i++) {
        f = &events.settings->functions[i];

        for (j = 0; j < f->nschedules; j++) {
            sorted[n++] = timers_create(f, &f->schedules[j].schedule, now);
        }
    }

    qsort(sorted, n, sizeof(timers_timer_t *), timers_compare);

    for (i = 0, j = 0; i < n; i++) {
        t = sorted[i];

        if (j != 0 && strcmp(sorted[j - 1]->key, t->key) == 0) {
            log_line(LOG_ERROR, 0, "timer \"%s\" is given twice: one of them "
                     "needs another name=", t->key);
            free(t);
            continue;
        }

        sorted[j++] = t;
    }

    *list = sorted;

    return j;
}


static timers_timer_t *
timers_create(const events_function_t *f, const faas_schedule_t *s,
    int64_t now_ms)
{
    timers_timer_t  *t;

    t = loop_alloc(sizeof(*t));
    (void) snprintf(t->key, sizeof(t->key), "%s/%s", f->name, s->name);
    (void) snprintf(t->function, sizeof(t->function), "%s", f->name);
    events_due_spec(s, t->spec, sizeof(t->spec));
    t->schedule = *s;
    t->watch.since_ms = now_ms;
    t->at_ms = now_ms;

    return t;
}


static int
timers_compare(const void *one, const void *two)
{
    const timers_timer_t *const  *a = one;
    const timers_timer_t *const  *b = two;

    return strcmp((*a)->key, (*b)->key);
}


/* it was watched all the time, unless it was not configured */

static void
timers_adopt(timers_timer_t *t, const timers_timer_t *old, int64_t now_ms)
{
    if (old->gone_ms == 0) {
        t->watch = old->watch;
    }

    t->at_ms = now_ms;
}


static timers_timer_t *
timers_find(const char *key)
{
    timers_timer_t    sought, *p, **found;

    (void) snprintf(sought.key, sizeof(sought.key), "%s", key);
    p = &sought;

    found = timers.n ? bsearch(&p, timers.list, timers.n,
                               sizeof(timers_timer_t *), timers_compare)
                     : NULL;

    return found ? *found : NULL;
}


static void
timers_drop(void)
{
    size_t  i;

    for (i = 0; i < timers.n; i++) {
        free(timers.list[i]);
    }

    free(timers.list);
    timers.list = NULL;
    timers.n = 0;
}


/* -- when they are looked at ----------------------------------------------- */

static void
timers_event(void *data, uint32_t events_mask)
{
    size_t    i;
    int64_t   now;
    uint64_t  expirations;

    (void) data;
    (void) events_mask;

    if (read(timers.event.fd, &expirations, sizeof(expirations)) == -1
        && errno == ECANCELED)
    {
        now = events_now_ms();
        log_line(LOG_NOTICE, 0, "the clock was set: timers look at it anew");

        for (i = 0; i < timers.n; i++) {
            timers.list[i]->at_ms = now;
        }
    }

    timers_run();
}


static void
timers_run(void)
{
    size_t     i, left;
    int64_t    at, now;
    uint64_t   until_us;

    if (timers.ended || events.queue == NULL) {
        return;
    }

    now = events_now_ms();
    until_us = loop_clock_us() + TIMERS_TURN_US;
    at = now + TIMERS_LOOK_MS;

    for (left = timers.n; left != 0; left--) {

        if (timers.next >= timers.n) {
            timers.next = 0;
        }

        i = timers.next++;

        if (timers.list[i]->at_ms <= now) {

            if (loop_clock_us() > until_us) {
                timers.next = i;
                timers_arm(now);
                return;
            }

            if (timers_look(timers.list[i]) != FAAS_OK) {
                timers_arm(now + TIMERS_PAUSE_MS);
                return;
            }
        }

        if (timers.list[i]->at_ms == EVENTS_DUE_NEVER) {
            timers_remove(i);
            continue;
        }

        at = timers.list[i]->at_ms < at ? timers.list[i]->at_ms : at;
    }

    timers_arm(at);
}


static void
timers_remove(size_t i)
{
    free(timers.list[i]);
    timers.n--;
    memmove(&timers.list[i], &timers.list[i + 1],
            (timers.n - i) * sizeof(timers_timer_t *));
    timers.next = i;
}


/* nothing is looked at while the engine is at work: later in this turn */

void
events_timers_wake(const char *key)
{
    int64_t          now;
    timers_timer_t  *t;

    now = events_now_ms();
    t = timers_find(key);

    if (timers.ended || t == NULL || t->at_ms <= now
        || t->at_ms > now + EVENTS_DUE_HELD_MS)
    {
        return;
    }

    t->at_ms = now;
    timers_arm(now);
}


/* 0: not at all */

static void
timers_arm(int64_t at_ms)
{
    struct itimerspec  its;

    memset(&its, 0, sizeof(its));
    its.it_value.tv_sec = (time_t) (at_ms / 1000);
    its.it_value.tv_nsec = (long) (at_ms % 1000 * 1000000);

    /* ECANCELED: the clock was set since; it is armed all the same, and the
       next read says so */

    (void) timerfd_settime(timers.event.fd,
                           TFD_TIMER_ABSTIME|TFD_TIMER_CANCEL_ON_SET, &its,
                           NULL);
}


/* -- a look ---------------------------------------------------------------- */

/* FAAS_OK, and at_ms is the next one (EVENTS_DUE_NEVER: it is gone); else the
   engine does not answer */

static int
timers_look(timers_timer_t *t)
{
    int            code;
    int64_t        now;
    events_due_t   due;
    queue_timer_t  stored;

    now = events_now_ms();
    code = timers_stored(t, &stored, now);

    if (code != FAAS_OK || t->gone_ms != 0) {
        return code;
    }

    stored.running = timers_runs(t, &stored, now);
    events_due_decide(&t->schedule, &stored, &t->watch, now, &due);

    if (due.action == EVENTS_DUE_WAIT) {
        t->at_ms = due.at_ms < now + TIMERS_LOOK_MS ? due.at_ms
                                                    : now + TIMERS_LOOK_MS;
        return FAAS_OK;
    }

    code = timers_do(t, &stored, &due, now);

    /* the next look shows what has become of it, whoever was first */

    t->at_ms = now;

    return code == FAAS_ECONFLICT ? FAAS_OK : code;
}


/* what the engine has of it, made if there is none of this spec; one that is
   not configured any more is deleted */

static int
timers_stored(timers_timer_t *t, queue_timer_t *stored, int64_t now_ms)
{
    int      code, known;
    queue_t  *q;

    q = events.queue;
    code = q->engine->timer_get(q, t->key, stored,
                                events_deadline(EVENTS_LOOK_MS));
    known = code == FAAS_OK;

    if (code != FAAS_OK && code != FAAS_ENOTFOUND) {
        return code;
    }

    if (t->gone_ms != 0) {
        t->at_ms = EVENTS_DUE_NEVER;

        if (known && strcmp(stored->spec, t->spec) == 0) {
            code = q->engine->timer_delete(q, t->key,
                                           events_deadline(EVENTS_LOOK_MS));
        }

        return code == FAAS_ENOTFOUND ? FAAS_OK : code;
    }

    if (known && strcmp(stored->spec, t->spec) == 0) {
        return FAAS_OK;
    }

    if (!known) {
        memset(stored, 0, sizeof(*stored));
        (void) snprintf(stored->key, sizeof(stored->key), "%s", t->key);
    }

    (void) snprintf(stored->spec, sizeof(stored->spec), "%s", t->spec);
    stored->due_ms = events_due_next(&t->schedule, now_ms);

    code = q->engine->timer_set(q, stored, events_deadline(EVENTS_LOOK_MS));

    if (code == FAAS_OK) {
        code = q->engine->timer_get(q, t->key, stored,
                                    events_deadline(EVENTS_LOOK_MS));
    }

    return code;
}


/*
 * Does the last run go on?  It does as long as its message is in the
 * function's queue.  An engine that lost messages (a failover of Redis) may
 * say so of one that is nowhere; it would hold up the timer for ever.
 */

static int
timers_runs(const timers_timer_t *t, const queue_timer_t *stored,
    int64_t now_ms)
{
    char           queue[QUEUE_NAME_SIZE];
    queue_stats_t  stats;

    if (!stored->running || now_ms < stored->due_ms
        || t->schedule.overlap == FAAS_OVERLAP_ALLOW)
    {
        return stored->running;
    }

    (void) snprintf(queue, sizeof(queue), "@%s", t->function);

    if (events.queue->engine->stats(events.queue, queue, &stats, now_ms,
                                    events_deadline(EVENTS_LOOK_MS))
        != FAAS_OK)
    {
        return 1;
    }

    return stats.ready != 0 || stats.delayed != 0 || stats.leased != 0;
}


static int
timers_do(timers_timer_t *t, const queue_timer_t *stored,
    const events_due_t *due, int64_t now_ms)
{
    int               code;
    char              queue[QUEUE_NAME_SIZE];
    uint64_t          fence;
    queue_message_t   m;
    timers_firing_t   firing;

    memset(&firing, 0, sizeof(firing));
    firing.timer = t;
    firing.due_ms = stored->due_ms;

    (void) snprintf(queue, sizeof(queue), "@%s", t->function);
    memset(&m, 0, sizeof(m));
    m.queue = queue;
    m.sent_ms = now_ms;
    timers_id(t, stored->due_ms, m.id);

    code = events.queue->engine->timer_fire(events.queue, stored,
                                            due->next_ms,
                                            due->action == EVENTS_DUE_FIRE
                                            ? &m : NULL, timers_build,
                                            &firing, &fence, now_ms,
                                            events_deadline(EVENTS_LOOK_MS));
    wire_free(&firing.payload);

    if (code != FAAS_OK) {
        return code;
    }

    if (due->action == EVENTS_DUE_FIRE) {
        events_consume_wake(queue);

    } else {
        timers_left_out(t, stored, due);
    }

    return FAAS_OK;
}


/* may be called again by an engine that has to try twice */

static int
timers_build(queue_message_t *m, uint64_t fence, void *data)
{
    timers_firing_t      *firing = data;
    events_invocation_t   invocation;

    memset(&invocation, 0, sizeof(invocation));
    invocation.kind = EVENTS_TIMER;
    invocation.method = "POST";
    invocation.timer = firing->timer->key;
    invocation.due_ms = firing->due_ms;
    invocation.fence = fence;
    invocation.attempts = firing->timer->schedule.attempts;

    wire_free(&firing->payload);
    memset(&firing->payload, 0, sizeof(firing->payload));
    events_invocation_encode(&firing->payload, &invocation);

    if (firing->payload.failed) {
        return FAAS_ERROR;
    }

    m->data = firing->payload.data;
    m->size = firing->payload.size;

    return FAAS_OK;
}


/*
 * One id for one due time of one timer, so that even an engine that was set
 * back, or a clock, does not run it a second time while the queue remembers.
 */

static void
timers_id(const timers_timer_t *t, int64_t due_ms, char *id)
{
    size_t       n;
    uint32_t     hash;
    const char  *p, *name;

    name = t->schedule.name;
    n = strlen(name);

    if (n <= TIMERS_NAME_MAX) {
        (void) snprintf(id, FAAS_MESSAGE_ID_SIZE, "%s.%lld", name,
                        (long long) due_ms);
        return;
    }

    hash = 2166136261u;

    for (p = name; *p; p++) {
        hash = (hash ^ (uint8_t) *p) * 16777619u;
    }

    (void) snprintf(id, FAAS_MESSAGE_ID_SIZE, "%.39s-%08x.%lld", name, hash,
                    (long long) due_ms);
}


static void
timers_left_out(const timers_timer_t *t, const queue_timer_t *stored,
    const events_due_t *due)
{
    char  from[32], to[32];

    timers_time(from, sizeof(from), stored->due_ms);
    timers_time(to, sizeof(to), due->next_ms);

    switch (due->reason) {

    case EVENTS_DUE_OVERLAP:
        log_line(LOG_INFO, 0, "timer \"%s\": %s is left out, the last run "
                 "goes on; the next is %s", t->key, from, to);
        break;

    case EVENTS_DUE_MISSED:
        log_line(LOG_NOTICE, 0, "timer \"%s\": what was missed since %s is "
                 "left out up to %s", t->key, from, to);
        break;

    case EVENTS_DUE_STEPPED:
        log_line(LOG_WARN, 0, "timer \"%s\": the clock was ahead when it was "
                 "last due; the next is %s, not %s", t->key, to, from);
        break;
    }
}


static void
timers_time(char *buf, size_t size, int64_t ms)
{
    time_t     sec;
    struct tm  tm;

    sec = (time_t) (ms / 1000);

    if (gmtime_r(&sec, &tm) == NULL
        || strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    {
        (void) snprintf(buf, size, "%lld ms", (long long) ms);
    }
}


/* -- what nobody wants any more -------------------------------------------- */

static void
timers_sweep(void *data)
{
    (void) data;

    loop_arm(&timers.sweep, loop_now_ms() + TIMERS_SWEEP_MS);

    if (events.queue != NULL) {
        (void) events.queue->engine->timer_list(events.queue,
                                                timers_sweep_one, NULL,
                                                events_deadline(
                                                    EVENTS_LOOK_MS));
    }
}


static int
timers_sweep_one(const queue_timer_t *stored, void *data)
{
    (void) data;

    if (stored->due_ms < events_now_ms() - TIMERS_FORGET_MS
        && timers_find(stored->key) == NULL)
    {
        log_line(LOG_NOTICE, 0, "timer \"%s\" is deleted: it is configured "
                 "nowhere", stored->key);
        (void) events.queue->engine->timer_delete(events.queue, stored->key,
                                                  events_deadline(
                                                      EVENTS_LOOK_MS));
    }

    return 0;
}
