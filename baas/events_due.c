
#include <stdio.h>

#include "events_due.h"


static void due_wait(events_due_t *due, int64_t at_ms);
static void due_fire(events_due_t *due, int64_t next_ms);
static void due_move(events_due_t *due, const events_watch_t *w,
    int64_t now_ms, int64_t next_ms, events_due_reason_e reason);
static int64_t due_latest(const faas_schedule_t *s, int64_t due_ms,
    int64_t now_ms);
static int64_t due_bounded(const faas_schedule_t *s, int64_t due_ms,
    int64_t now_ms);
static int due_exceeds(const faas_schedule_t *s, int64_t due_ms,
    int64_t now_ms);


void
events_due_decide(const faas_schedule_t *s, const queue_timer_t *t,
    events_watch_t *w, int64_t now_ms, events_due_t *due)
{
    int      missed, made_up;
    int64_t  first;

    due->reason = 0;
    due->at_ms = 0;
    due->next_ms = 0;

    if (w->since_ms > now_ms) {
        w->since_ms = now_ms;
    }

    if (now_ms < t->due_ms) {
        w->held_ms = 0;
        first = events_due_next(s, now_ms);

        if (first < t->due_ms
            && (t->last_ms == 0
                || t->last_ms > now_ms + EVENTS_DUE_STEP_MS))
        {
            due_move(due, w, now_ms, first, EVENTS_DUE_STEPPED);
            return;
        }

        due_wait(due, t->due_ms);
        return;
    }

    missed = now_ms - t->due_ms > EVENTS_DUE_LATE_MS
             && (w->held_ms == 0 || t->due_ms < w->held_ms);

    if (t->running && s->overlap != FAAS_OVERLAP_ALLOW) {

        /* what passed while nobody was there was not kept out by a run, and
           what is made up for runs one after the other */

        made_up = s->catchup != FAAS_CATCHUP_NONE
                  && (missed || t->due_ms < w->since_ms);

        if (s->overlap == FAAS_OVERLAP_SKIP && !made_up) {
            due_move(due, w, now_ms, events_due_next(s, now_ms),
                     EVENTS_DUE_OVERLAP);
            return;
        }

        if (s->overlap == FAAS_OVERLAP_QUEUE && w->held_ms == 0) {
            w->held_ms = t->due_ms;
        }

        due_wait(due, now_ms + EVENTS_DUE_HELD_MS);
        return;
    }

    if (!missed) {
        first = w->held_ms ? due_bounded(s, t->due_ms, now_ms) : t->due_ms;

    } else if (s->catchup == FAAS_CATCHUP_NONE) {
        first = events_due_next(s, now_ms - EVENTS_DUE_LATE_MS - 1);

    } else if (s->catchup == FAAS_CATCHUP_ONE) {
        first = due_latest(s, t->due_ms, now_ms);

    } else {
        first = due_bounded(s, t->due_ms, now_ms);
    }

    if (first > t->due_ms) {
        due_move(due, w, now_ms, first,
                 missed ? EVENTS_DUE_MISSED : EVENTS_DUE_OVERLAP);
        return;
    }

    due_fire(due, events_due_next(s, t->due_ms));
}


static void
due_wait(events_due_t *due, int64_t at_ms)
{
    due->action = EVENTS_DUE_WAIT;
    due->at_ms = at_ms;
}


static void
due_fire(events_due_t *due, int64_t next_ms)
{
    due->action = EVENTS_DUE_FIRE;
    due->next_ms = next_ms;
}


static void
due_move(events_due_t *due, const events_watch_t *w, int64_t now_ms,
    int64_t next_ms, events_due_reason_e reason)
{
    if (reason == EVENTS_DUE_MISSED
        && now_ms - w->since_ms < EVENTS_DUE_SETTLE_MS)
    {
        due_wait(due, w->since_ms + EVENTS_DUE_SETTLE_MS);
        return;
    }

    due->action = EVENTS_DUE_MOVE;
    due->reason = reason;
    due->next_ms = next_ms;
}


int64_t
events_due_next(const faas_schedule_t *s, int64_t after_ms)
{
    int64_t  next;

    next = faas_cron_next(&s->cron, s->zone, after_ms);

    return next == -1 ? EVENTS_DUE_NEVER : next;
}


/*
 * The last one that is not after now.  events_due_next() never falls when its
 * argument rises, so the largest argument whose next one has come is found by
 * halving.
 */

static int64_t
due_latest(const faas_schedule_t *s, int64_t due_ms, int64_t now_ms)
{
    int64_t  low, high, middle;

    low = due_ms - 1;
    high = now_ms;

    if (events_due_next(s, low) > now_ms) {
        return due_ms;
    }

    while (high - low > 1) {
        middle = low + (high - low) / 2;

        if (events_due_next(s, middle) <= now_ms) {
            low = middle;

        } else {
            high = middle;
        }
    }

    return events_due_next(s, low);
}


/* due_ms, or the first from which on EVENTS_DUE_CATCHUP have come */

static int64_t
due_bounded(const faas_schedule_t *s, int64_t due_ms, int64_t now_ms)
{
    int64_t  low, high, middle, period;

    period = s->cron.every_ms ? s->cron.every_ms : 60000;

    if (now_ms - due_ms < EVENTS_DUE_CATCHUP * period
        || !due_exceeds(s, due_ms - 1, now_ms))
    {
        return due_ms;
    }

    if (s->cron.every_ms) {
        return (now_ms / period - EVENTS_DUE_CATCHUP + 1) * period;
    }

    low = due_ms - 1;
    high = now_ms;

    while (high - low > 1) {
        middle = low + (high - low) / 2;

        if (due_exceeds(s, middle, now_ms)) {
            low = middle;

        } else {
            high = middle;
        }
    }

    return events_due_next(s, high);
}


/* are there more than EVENTS_DUE_CATCHUP after that time, up to now? */

static int
due_exceeds(const faas_schedule_t *s, int64_t after_ms, int64_t now_ms)
{
    unsigned  n;

    for (n = 0; n <= EVENTS_DUE_CATCHUP; n++) {
        after_ms = events_due_next(s, after_ms);

        if (after_ms > now_ms) {
            return 0;
        }
    }

    return 1;
}


void
events_due_spec(const faas_schedule_t *s, char *buf, size_t size)
{
    const faas_cron_t  *c;

    c = &s->cron;

    if (c->every_ms) {
        (void) snprintf(buf, size, "every %lld", (long long) c->every_ms);
        return;
    }

    (void) snprintf(buf, size, "cron %llx %x %x %x %x %u%u%u%u %s",
                    (unsigned long long) c->minute, c->hour, c->day, c->month,
                    c->weekday, c->minute_star, c->hour_star, c->day_star,
                    c->weekday_star, s->zone);
}
