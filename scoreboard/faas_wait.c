
#include "faas_wait.h"


/* requests over which the mean is taken */
#define WAIT_MEAN_N  16

/* more than there ever is of either, so that no product overflows */
#define WAIT_MOST_US        (1ull << 38)
#define WAIT_MOST_REQUESTS  (1ull << 24)


static uint64_t wait_service_us(const faas_wait_t *w);
static uint64_t wait_share_us(uint64_t requests, uint64_t service_us,
    uint32_t instances);


uint64_t
faas_wait_measure(faas_wait_mean_t *m, uint64_t finished, uint64_t service_us,
    uint64_t finished_ms, uint64_t now_ms, uint64_t other_us)
{
    uint64_t  n, mean;

    if (!m->begun) {
        m->begun = 1;
        m->finished = finished;
        m->service_us = service_us;
        m->mean_us = other_us;

        if (other_us == 0 && finished) {
            m->mean_us = service_us / finished;
        }
    }

    /* counters of several writers are not read at one moment */

    if (finished > m->finished) {
        n = finished - m->finished;
        mean = service_us > m->service_us ? (service_us - m->service_us) / n
                                          : 0;

        if (mean > WAIT_MOST_US) {
            mean = WAIT_MOST_US;
        }

        if (n > WAIT_MOST_US / WAIT_MEAN_N || m->mean_us == 0) {
            m->mean_us = mean;

        } else if (mean > m->mean_us) {
            m->mean_us += (mean - m->mean_us) / (n + WAIT_MEAN_N) * n;

        } else {
            m->mean_us -= (m->mean_us - mean) / (n + WAIT_MEAN_N) * n;
        }

        m->finished = finished;
        m->service_us = service_us;
    }

    if (now_ms > finished_ms + FAAS_WAIT_FRESH_MS + m->mean_us / 250) {
        return 0;
    }

    return m->mean_us;
}


uint64_t
faas_wait_expected_us(const faas_wait_t *w)
{
    uint64_t  service, grown, here;

    service = wait_service_us(w);

    if (w->waiting == 0 || service == 0) {
        return 0;
    }

    /* with as many instances as may be, of which one is to be started first */

    grown = wait_share_us(w->waiting, service, w->max) + w->start_us;

    if (w->instances == 0) {
        return grown;
    }

    /* or with those that there are */

    here = wait_share_us(w->waiting, service, w->instances);

    return here < grown ? here : grown;
}


uint32_t
faas_wait_retry_after(const faas_wait_t *w, uint32_t queue_timeout_ms)
{
    uint64_t  us, most, seconds;

    us = wait_share_us((uint64_t) w->waiting + w->running, wait_service_us(w),
                       w->max);

    /* whoever waits now will not do so for longer than this */

    most = (uint64_t) queue_timeout_ms * 1000 + wait_service_us(w);

    if (us > most) {
        us = most;
    }

    seconds = (us + 999999) / 1000000;

    if (seconds < FAAS_WAIT_RETRY_MIN) {
        return FAAS_WAIT_RETRY_MIN;
    }

    return seconds < FAAS_WAIT_RETRY_MAX ? (uint32_t) seconds
                                         : FAAS_WAIT_RETRY_MAX;
}


/* how long a request has a place for an instance to itself */

static uint64_t
wait_service_us(const faas_wait_t *w)
{
    uint64_t  us;

    us = w->service_us;

    if (us && w->oneshot) {
        us += w->start_us;
    }

    return us < WAIT_MOST_US ? us : WAIT_MOST_US;
}


static uint64_t
wait_share_us(uint64_t requests, uint64_t service_us, uint32_t instances)
{
    if (requests > WAIT_MOST_REQUESTS) {
        requests = WAIT_MOST_REQUESTS;
    }

    return requests * service_us / (instances ? instances : 1);
}


int64_t
faas_wait_seconds_ms(const char *s, uint64_t n)
{
    int       digits, fraction, more;
    uint64_t  i, ms, unit;

    ms = 0;
    unit = 1000;
    digits = 0;
    fraction = 0;
    more = 0;

    for (i = 0; i < n; i++) {

        if (s[i] == '.' && !fraction) {
            fraction = 1;
            continue;
        }

        if (s[i] < '0' || s[i] > '9') {
            return -1;
        }

        digits = 1;

        if (!fraction) {
            ms = ms * 10 + (uint64_t) (s[i] - '0') * unit;

        } else if (unit > 1) {
            unit /= 10;
            ms += (uint64_t) (s[i] - '0') * unit;

        } else {
            more |= s[i] != '0';
        }

        if (ms > UINT32_MAX) {
            ms = UINT32_MAX;
        }
    }

    if (!digits) {
        return -1;
    }

    return (int64_t) ms + (more && ms < UINT32_MAX);
}
