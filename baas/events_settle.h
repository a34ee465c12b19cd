
/*
 * What an answer means for the messages that it is about.  Pure.
 *
 * Three things can have happened to a call: it succeeded; it failed, which
 * counts as an attempt; or the platform could not start it (no place, no
 * such function, no version that starts, nginx not there), which does not.
 * That is known from Proxy-Status, which nginx puts on answers of its own.
 */


#ifndef EVENTS_SETTLE_H_INCLUDED
#define EVENTS_SETTLE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "events_deliver.h"
#include "queue.h"


#define EVENTS_RETRY_MIN_MS  1000          /* where nothing else is said */
#define EVENTS_RETRY_MAX_MS  (5 * 60 * 1000)


typedef enum {
    EVENTS_DONE = 1,           /* the function answered 2xx */
    EVENTS_ANSWERED,           /* it answered below 500, and not 2xx */
    EVENTS_FAILED,             /* 5xx, crash, timeout, lost: an attempt */
    EVENTS_REFUSED             /* not started: no attempt */
} events_outcome_e;


events_outcome_e events_settle_outcome(const events_answer_t *answer);

/*
 * Exponential back-off with full jitter: anything from min_ms to twice that
 * after the first failure, to four times that after the second, and so on,
 * but never more than max_ms.  failures: at least 1.  chance: 64 bits.
 */
int64_t events_settle_backoff(uint32_t failures, int64_t min_ms,
    int64_t max_ms, uint64_t chance);


/* of one message of a batch */

typedef struct {
    int                       again;       /* 1: another attempt */
    int64_t                   delay_ms;    /* -1: the back-off */
} events_fate_t;

/*
 * Of the n messages of a queue's call (events.h): answer is DONE, ANSWERED or
 * FAILED.  What Faas-Done says wrongly (an index that is not there, no
 * number) says nothing; beside a 2xx, Faas-Retry that does so means all of
 * them, and one whose delay is no number the back-off's.
 */
void events_settle_batch(const events_answer_t *answer, events_fate_t *fate,
    size_t n);

/* one line for a dead letter, such as "status 500: no such order" */
void events_settle_reason(const events_answer_t *answer, char *buf,
    size_t size);


#endif /* EVENTS_SETTLE_H_INCLUDED */
