
/*
 * The line of bindings.  One that may have something to do stands in it once;
 * a look takes the first, asks its queue for messages for a few calls, and
 * puts it last again if there may be more.  So with k queues that all have
 * work, each gets every k-th look, however long any of them is.
 *
 * Calls are bounded in all (EVENTS_CALLS_MAX).  The last quarter of them is
 * for bindings that have few under way, so that a handful of slow functions
 * with long queues does not hold up the rest.
 *
 * A look that finds nothing leaves the line.  What brings a binding back:
 * a message sent or given back here (its due time is known), the engine's
 * descriptor, a call that ended, and its timer, which fires at the next due
 * time that is known and about every second; with very many bindings less
 * often, so that there are CONSUME_POLLS looks a second at most.
 */


#include <stdlib.h>
#include <string.h>

#include "events_settle.h"
#include "events_work.h"
#include "log.h"


#define CONSUME_LOOKS     64      /* in a turn */
#define CONSUME_POLL_MS   1000
#define CONSUME_POLLS     250     /* a second */
#define CONSUME_STATS_MS  10000   /* between questions for due times in an
                                     empty queue */
#define CONSUME_DOWN_MS   500     /* between looks while the engine is down */
#define CONSUME_FEW       8
#define CONSUME_RESERVE   (EVENTS_CALLS_MAX / 4)

#define CONSUME_REFUSED_MIN_MS  100
#define CONSUME_REFUSED_MAX_MS  (30 * 1000)


static void consume_ask(void);
static void consume_adopt(events_binding_t *old, events_binding_t *b);
static void consume_retire(events_binding_t *b);
static size_t consume_first(const char *queue);
static void consume_line_up(events_binding_t *b);
static void consume_leave(events_binding_t *b);
static void consume_timer(void *data);
static void consume_later(events_binding_t *b, int64_t ms);
static void consume_turn(void *data);
static events_binding_t *consume_next(uint32_t *calls);
static void consume_look(events_binding_t *b, uint32_t calls);
static void consume_resume(events_binding_t *b);
static uint32_t consume_wants(const events_binding_t *b);
static uint32_t consume_may(const events_binding_t *b, uint32_t n);
static int consume_fills(events_binding_t *b, size_t *n);
static void consume_next_due(events_binding_t *b);
static int64_t consume_poll_ms(void);
static void consume_up(void *data);


static struct {
    events_binding_t        **bindings;    /* in order of queue, function */
    size_t                    n;

    events_binding_t          line;        /* a head: next, prev */
    loop_job_t                job;         /* looks */
    int                       down;        /* the engine */
    loop_timer_t              up;
} consume;


void
events_consume_init(void)
{
    consume.line.next = &consume.line;
    consume.line.prev = &consume.line;
    consume.job.handler = consume_turn;
    consume.up.handler = consume_up;

    events_work_init();
}


void
events_consume_settings(void)
{
    int                 order;
    size_t              i, j, n, nold;
    events_binding_t  **bindings, **old;

    old = consume.bindings;
    nold = consume.n;
    n = events_bindings(&bindings, consume_timer);

    /* both are sorted */

    for (i = 0, j = 0; i < n || j < nold; /* void */ ) {
        order = i == n ? 1 : j == nold ? -1
                : events_binding_compare(&bindings[i], &old[j]);

        if (order == 0) {
            consume_adopt(old[j], bindings[i]);
            free(bindings[i]);
            bindings[i++] = old[j++];

        } else if (order < 0) {
            i++;

        } else {
            consume_retire(old[j++]);
        }
    }

    free(old);
    consume.bindings = bindings;
    consume.n = n;
    events_consume_wake(NULL);
}


void
events_consume_wake(const char *queue)
{
    events_consume_wake_at(queue, 0);
}


void
events_consume_wake_at(const char *queue, int64_t due_ms)
{
    size_t   i;
    int64_t  wait;

    wait = due_ms ? due_ms - events_now_ms() : 0;

    if (queue == NULL) {
        consume_ask();
    }

    for (i = queue ? consume_first(queue) : 0;
         i < consume.n
         && (queue == NULL || strcmp(consume.bindings[i]->queue, queue) == 0);
         i++)
    {
        if (wait > 0) {
            consume_later(consume.bindings[i], wait);

        } else {
            consume_line_up(consume.bindings[i]);
        }
    }
}


/* due times may be others in all queues */

static void
consume_ask(void)
{
    size_t  i;

    for (i = 0; i < consume.n; i++) {
        consume.bindings[i]->polled = 1;
        consume.bindings[i]->stats_ms = 0;
    }
}


void
events_consume_end(void)
{
    size_t  i;

    for (i = 0; i < consume.n; i++) {
        consume_retire(consume.bindings[i]);
    }

    free(consume.bindings);
    consume.bindings = NULL;
    consume.n = 0;
    consume.down = 0;
    loop_disarm(&consume.up);
    loop_withdraw(&consume.job);

    events_work_end();
}


size_t
events_consume_busy(void)
{
    return events_work_count();
}


/* one that goes on: what is under way counts, and its function may be another
   version, which is tried at once */

static void
consume_adopt(events_binding_t *old, events_binding_t *b)
{
    old->consume = b->consume;
    old->lease_ms = b->lease_ms;
    old->call_ms = b->call_ms;
    old->refusals = 0;
    old->resume_ms = 0;
}


static void
consume_retire(events_binding_t *b)
{
    consume_leave(b);
    loop_disarm(&b->timer);
    b->removed = 1;

    if (b->works == 0) {
        free(b);
    }
}


/* the first binding of that queue, or where it would be */

static size_t
consume_first(const char *queue)
{
    size_t  low, high, middle;

    low = 0;
    high = consume.n;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (strcmp(consume.bindings[middle]->queue, queue) < 0) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return low;
}


static void
consume_line_up(events_binding_t *b)
{
    if (b->removed || events.ending) {
        return;
    }

    if (!b->lined) {
        b->lined = 1;
        b->next = &consume.line;
        b->prev = consume.line.prev;
        b->prev->next = b;
        consume.line.prev = b;
    }

    if (!consume.down) {
        loop_post(&consume.job);
    }
}


static void
consume_leave(events_binding_t *b)
{
    if (b->lined) {
        b->lined = 0;
        b->next->prev = b->prev;
        b->prev->next = b->next;
    }
}


static void
consume_timer(void *data)
{
    events_binding_t  *b = data;

    b->polled = 1;
    consume_line_up(b);
}


/* a look in ms milliseconds at the latest */

static void
consume_later(events_binding_t *b, int64_t ms)
{
    uint64_t  at_ms;

    at_ms = loop_clock_us() / 1000 + (uint64_t) (ms > 0 ? ms : 0) + 1;

    if (!b->removed
        && (!loop_is_armed(&b->timer) || at_ms < b->timer.at_ms))
    {
        loop_arm(&b->timer, at_ms);
    }
}


static void
consume_turn(void *data)
{
    uint32_t           calls;
    unsigned           looks;
    events_binding_t  *b;

    (void) data;

    for (looks = 0; looks < CONSUME_LOOKS; looks++) {

        if (consume.down || events.ending || events.queue == NULL) {
            return;
        }

        b = consume_next(&calls);

        if (b == NULL) {
            return;    /* a work that ends looks again */
        }

        consume_leave(b);
        consume_look(b, calls);
    }

    loop_post(&consume.job);
}


/* the first in line that may begin calls now, and how many.  One that there is
   no room for keeps its place; one that waits for a call of its own, or for
   its timer, leaves. */

static events_binding_t *
consume_next(uint32_t *calls)
{
    events_binding_t  *b, *next;

    for (b = consume.line.next; b != &consume.line; b = next) {
        next = b->next;
        *calls = consume_wants(b);

        if (*calls == 0) {
            consume_leave(b);
            consume_resume(b);
            continue;
        }

        *calls = consume_may(b, *calls);

        if (*calls != 0) {
            return b;
        }
    }

    return NULL;
}


static void
consume_look(events_binding_t *b, uint32_t calls)
{
    int             code;
    size_t          i, n, want, bytes;
    events_take_t  *take;

    want = (size_t) calls * b->consume.batch;

    if (want > EVENTS_LOOK_MESSAGES) {
        want = EVENTS_LOOK_MESSAGES;
    }

    if (!consume_fills(b, &want)) {
        return;
    }

    n = want;
    take = events_take_create();
    code = events.queue->engine->receive(events.queue, b->queue, b->lease_ms,
                                         take->messages, &n,
                                         events_take_alloc, take,
                                         events_now_ms(),
                                         events_deadline(EVENTS_LOOK_MS));

    if (code != FAAS_OK) {
        events_take_release(take);
        consume_line_up(b);
        events_engine_failed(code);
        return;
    }

    bytes = 0;

    for (i = 0; i < n; i++) {
        bytes += take->messages[i].size;
    }

    if (n) {
        events_work_begin(b, take, take->messages, n);
    }

    events_take_release(take);

    /* there may be more: it took all it asked for, or all that one receive
       brings */

    if (n == want || bytes > QUEUE_RECEIVE_BYTES / 2) {
        consume_line_up(b);
        return;
    }

    consume_next_due(b);
}


/* one that was refused may be in line before its time: its timer was set for
   something earlier then, and is not any more */

static void
consume_resume(events_binding_t *b)
{
    uint64_t  now;

    now = loop_clock_us() / 1000;

    if (now < b->resume_ms) {
        consume_later(b, (int64_t) (b->resume_ms - now));
    }
}


/* how many calls it could begin now, if it were alone */

static uint32_t
consume_wants(const events_binding_t *b)
{
    uint32_t  n;

    if (b->works >= b->consume.parallel
        || loop_clock_us() / 1000 < b->resume_ms)
    {
        return 0;
    }

    if (b->refusals) {
        return b->works == 0;      /* one, to see */
    }

    /* a few at a look, so that those who come together get as many each */

    n = b->consume.parallel - b->works;

    return n < CONSUME_FEW ? n : CONSUME_FEW;
}


/* how many of those there is room for: the reserve is for who has few */

static uint32_t
consume_may(const events_binding_t *b, uint32_t n)
{
    size_t  busy, room, few;

    busy = events_work_count();
    room = busy < EVENTS_CALLS_MAX ? EVENTS_CALLS_MAX - busy : 0;
    few = b->works < CONSUME_FEW ? CONSUME_FEW - b->works : 0;

    if (room > CONSUME_RESERVE && room - CONSUME_RESERVE > few) {
        few = room - CONSUME_RESERVE;
    }

    if (few > room) {
        few = room;
    }

    return n < few ? n : (uint32_t) few;
}


/* with wait=: are there enough for a batch, or has the first waited long
   enough?  *n: how many to take; no part of a batch before its time */

static int
consume_fills(events_binding_t *b, size_t *n)
{
    int            code;
    int64_t        now, due;
    uint32_t       batch;
    queue_stats_t  stats;

    batch = b->consume.batch;

    if (b->consume.wait_ms == 0 || batch <= 1) {
        return 1;
    }

    now = events_now_ms();
    code = events.queue->engine->stats(events.queue, b->queue, &stats, now,
                                       events_deadline(EVENTS_LOOK_MS));

    if (code != FAAS_OK) {
        consume_line_up(b);
        events_engine_failed(code);
        return 0;
    }

    due = stats.ready ? stats.oldest_ms + b->consume.wait_ms : 0;

    if (stats.ready && due <= now) {
        return 1;
    }

    if (stats.ready >= batch) {
        *n = stats.ready < *n ? stats.ready : *n;
        *n -= *n % batch;
        return 1;
    }

    if (stats.next_ms && (due == 0 || stats.next_ms < due)) {
        due = stats.next_ms;
    }

    b->polled = 0;
    consume_later(b, consume_poll_ms());

    if (due) {
        consume_later(b, due - now);
    }

    return 0;
}


/* nothing more for now.  What we send or give back ourselves is armed for; the
   engine is asked for the next due time only because of other nodes, and of
   this one's earlier life */

static void
consume_next_due(events_binding_t *b)
{
    queue_stats_t  stats;

    consume_later(b, consume_poll_ms());

    if (!b->polled || loop_now_ms() < b->stats_ms) {
        return;
    }

    b->polled = 0;

    if (events.queue->engine->stats(events.queue, b->queue, &stats,
                                    events_now_ms(),
                                    events_deadline(EVENTS_LOOK_MS))
        != FAAS_OK)
    {
        return;
    }

    if (stats.next_ms) {
        consume_later(b, stats.next_ms - events_now_ms());

    } else {
        b->stats_ms = loop_now_ms() + CONSUME_STATS_MS;
    }
}


static int64_t
consume_poll_ms(void)
{
    int64_t  ms;

    ms = (int64_t) consume.n * 1000 / CONSUME_POLLS;

    if (ms < CONSUME_POLL_MS) {
        ms = CONSUME_POLL_MS;
    }

    /* not all in the same millisecond */

    return ms - ms / 8 + (int64_t) (events_random() % (uint64_t) (ms / 4 + 1));
}


int64_t
events_binding_refused(events_binding_t *b)
{
    uint64_t  now;

    now = loop_clock_us() / 1000;

    /* several calls that are refused at a time are one refusal */

    if (now >= b->resume_ms) {

        if (b->refusals++ == 0) {
            log_line(LOG_INFO, 0, "function \"%s\" cannot be called, queue "
                     "\"%s\" waits", b->function, b->queue);
        }

        b->resume_ms = now + (uint64_t)
                       events_settle_backoff(b->refusals,
                                             CONSUME_REFUSED_MIN_MS,
                                             CONSUME_REFUSED_MAX_MS,
                                             events_random());
    }

    consume_later(b, (int64_t) (b->resume_ms - now));

    return (int64_t) (b->resume_ms - now);
}


void
events_binding_served(events_binding_t *b)
{
    b->refusals = 0;
    b->resume_ms = 0;
}


void
events_binding_settled(events_binding_t *b)
{
    b->works--;

    if (b->removed && b->works == 0) {
        free(b);

    } else {
        consume_line_up(b);
    }

    /* those that stand in line may have waited for room */

    if (!consume.down && !events.ending) {
        loop_post(&consume.job);
    }
}


void
events_engine_failed(int code)
{
    (void) code;       /* the engine has logged it */

    if (!consume.down) {
        consume.down = 1;
        loop_arm(&consume.up, loop_clock_us() / 1000 + CONSUME_DOWN_MS);
    }
}


static void
consume_up(void *data)
{
    (void) data;

    consume.down = 0;
    loop_post(&consume.job);
}
