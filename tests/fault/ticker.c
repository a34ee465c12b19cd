
/*
 * Sleeps a millisecond over and over, and writes down when that took longer
 * than it should: "BEGIN END", microseconds of CLOCK_MONOTONIC, a line each.
 * A process that was late then was late because of the machine.
 */


#include <stdio.h>
#include <stdint.h>
#include <time.h>


#define TICKER_LATE_US  3000


static uint64_t
ticker_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


int
main(void)
{
    uint64_t         before, now;
    struct timespec  ts;

    (void) setvbuf(stdout, NULL, _IOLBF, 0);

    for (before = ticker_now(); /* void */ ; before = now) {
        ts.tv_sec = 0;
        ts.tv_nsec = 1000000;
        (void) nanosleep(&ts, NULL);

        now = ticker_now();

        if (now - before > TICKER_LATE_US
            && printf("%llu %llu\n", (unsigned long long) before,
                      (unsigned long long) now) < 0)
        {
            return 1;
        }
    }
}
