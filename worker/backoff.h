
/*
 * A function that keeps dying is held back.  Pure.
 *
 * What counts is a death with nothing to show for it: no request of the
 * function was finished well since the death before.  So a function that
 * fails on one poisoned request in ten is not held back, and one that
 * crashes in its constructor, in after_fork, or at every request, is: the
 * first two deaths are free, then 100 ms, doubled each time, up to 30 s.
 *
 * Of instances that were there at the same time one death counts: what was
 * forked before the last death that counted was no try to do better.  So the
 * row is as long for a function of which eight are started at once as for one
 * of which one is.
 */


#ifndef BACKOFF_H_INCLUDED
#define BACKOFF_H_INCLUDED


#include <stdint.h>


#define BACKOFF_FREE      2
#define BACKOFF_FIRST_MS  100
#define BACKOFF_LAST_MS   30000


/* zeroed at first */

typedef struct {
    uint32_t                  row;           /* deaths that count */
    uint64_t                  done;          /* finished well, at the last */
    uint64_t                  counted_ms;    /* when one counted */
    uint64_t                  until_ms;      /* 0: not held back */
} backoff_t;


/* a death of what was forked at born_ms; done: requests of the function that
   ended well, ever */
void backoff_death(backoff_t *b, uint64_t now_ms, uint64_t born_ms,
    uint64_t done);

/* forgets what was: a new version, or an operator's wish */
void backoff_reset(backoff_t *b);

/* 1 while no instance may be started */
int backoff_holds(const backoff_t *b, uint64_t now_ms);


#endif /* BACKOFF_H_INCLUDED */
