
/*
 * How long a request that finds no idle instance has to wait: an estimate, so
 * that one whose time would be over before its turn is refused at once.  Pure:
 * no clock, no board.
 *
 * It errs on the side of waiting.  What runs is taken for nearly done, the
 * instances for as many as there may be, and a mean that nobody has measured
 * lately for none.  Refused requests do not change the mean, so it must not
 * keep out those who would: who finds nobody waiting is always let in, and
 * what he turns out to take is measured.
 */


#ifndef FAAS_WAIT_H_INCLUDED
#define FAAS_WAIT_H_INCLUDED


#include <stdint.h>


/* a mean counts for so long, and four times itself, after the last request
   that was measured */
#define FAAS_WAIT_FRESH_MS   10000

/* bounds of what Retry-After says, seconds */
#define FAAS_WAIT_RETRY_MIN  1
#define FAAS_WAIT_RETRY_MAX  3600


/* one function as it is now, of all workers together */

typedef struct {
    uint32_t                  waiting;     /* requests in front */
    uint32_t                  running;     /* admitted, and not waiting */
    uint32_t                  instances;   /* live, whatever they do */
    uint32_t                  max;         /* that there may be, >= 1 */
    uint32_t                  oneshot;     /* 1: each request needs a start */
    uint32_t                  start_us;    /* mean, 0: not known */
    uint64_t                  service_us;  /* mean, 0: not known */
} faas_wait_t;


/* mean execution time by what is measured anyway: totals.  Zeroed at first */

typedef struct {
    uint64_t                  finished;    /* as they were seen last */
    uint64_t                  service_us;
    uint64_t                  mean_us;     /* 0: not known */
    uint32_t                  begun;       /* 1: the rest holds */
} faas_wait_mean_t;


/*
 * Totals at this moment: attempts that ended, their time, and when the last
 * one did.  other_us is a mean that somebody else has, for the beginning; 0:
 * that of all until now is taken.
 * Returns the mean, 0 when it is not known or too old to say anything.
 */
uint64_t faas_wait_measure(faas_wait_mean_t *m, uint64_t finished,
    uint64_t service_us, uint64_t finished_ms, uint64_t now_ms,
    uint64_t other_us);

/* until its turn comes, microseconds; 0: nothing speaks against waiting */
uint64_t faas_wait_expected_us(const faas_wait_t *w);

/* until those who are there are served, or have waited too long: seconds */
uint32_t faas_wait_retry_after(const faas_wait_t *w,
    uint32_t queue_timeout_ms);

/*
 * "2", "0.25": seconds of n bytes of text as milliseconds, a part of one
 * counts as one, UINT32_MAX for more than that.  -1 when it is no such number.
 */
int64_t faas_wait_seconds_ms(const char *s, uint64_t n);


#endif /* FAAS_WAIT_H_INCLUDED */
