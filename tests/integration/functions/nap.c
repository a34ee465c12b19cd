
/*
 * Takes its time: ?ms= of it, so that there is a service time to measure.
 * Says what time it has left.
 */


#include <stdlib.h>
#include <time.h>

#include <faas.h>


static int
nap(faas_request_t *r)
{
    long              ms;
    const char       *text;
    struct timespec   ts;

    text = faas_query(r, "ms", NULL);
    ms = text ? atol(text) : 0;

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = ms % 1000 * 1000000;

    while (nanosleep(&ts, &ts) == -1) {
        /* void */
    }

    return faas_printf(r, "%lld", (long long) faas_time_left(r));
}


FAAS_FUNCTION(.handler = nap)
