
#include <string.h>

#include "backoff.h"


/* so many good requests between two deaths, and the row begins anew */
#define BACKOFF_GOOD  10


void
backoff_death(backoff_t *b, uint64_t now_ms, uint64_t born_ms, uint64_t done)
{
    uint64_t  good, delay;

    good = done - b->done;
    b->done = done;

    if (good >= BACKOFF_GOOD) {
        b->row = 0;

    } else if (good > 0) {
        b->row -= b->row > 0;

    } else if (b->row > 0 && born_ms < b->counted_ms) {
        return;

    } else {
        b->row += b->row < 32;
        b->counted_ms = now_ms;
    }

    if (b->row <= BACKOFF_FREE) {
        b->until_ms = 0;
        return;
    }

    delay = (uint64_t) BACKOFF_FIRST_MS << (b->row - BACKOFF_FREE - 1);

    if (delay > BACKOFF_LAST_MS) {
        delay = BACKOFF_LAST_MS;
    }

    b->until_ms = now_ms + delay;
}


void
backoff_reset(backoff_t *b)
{
    b->row = 0;
    b->until_ms = 0;
    b->counted_ms = 0;
}


int
backoff_holds(const backoff_t *b, uint64_t now_ms)
{
    return b->until_ms > now_ms;
}
