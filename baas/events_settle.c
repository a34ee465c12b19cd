
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "events_settle.h"


#define SETTLE_HEADER_SIZE  4096
#define SETTLE_SAID         120    /* bytes of a body that a reason quotes */
#define SETTLE_DELAY_MAX    (365ll * 24 * 3600 * 1000)
#define SETTLE_OURS         "nginx-faas; error="


static int settle_is_refusal(const char *status);
static int settle_headers(const events_answer_t *answer, const char *name,
    int again, events_fate_t *fate, size_t n);
static int settle_list(const char *p, const char *end, int again,
    events_fate_t *fate, size_t n);
static int settle_one(const char *p, const char *end, int again,
    events_fate_t *fate, size_t n);
static const char *settle_number(const char *p, int64_t *number);


/* error types of Proxy-Status (docs/variables.md) with which nothing ran */

static const char *const  settle_refusals[] = {
    "connection_limit_reached",    /* the function's queue in nginx is full */
    "connection_timeout",          /* no instance in time */
    "destination_unavailable",     /* shed, held back, or does not start */
    "destination_not_found",       /* no such function */
    "http_request_denied",         /* our token is not that of nginx's board */
};


events_outcome_e
events_settle_outcome(const events_answer_t *answer)
{
    char  status[SETTLE_HEADER_SIZE];

    if (answer->code == FAAS_EUNAVAILABLE) {
        return EVENTS_REFUSED;
    }

    if (answer->code != FAAS_OK) {
        return EVENTS_FAILED;
    }

    if (answer->status >= 400
        && events_answer_header(answer, "Proxy-Status", status,
                                sizeof(status)) != NULL
        && settle_is_refusal(status))
    {
        return EVENTS_REFUSED;
    }

    if (answer->status >= 500) {
        return EVENTS_FAILED;
    }

    return answer->status / 100 == 2 ? EVENTS_DONE : EVENTS_ANSWERED;
}


int64_t
events_settle_backoff(uint32_t failures, int64_t min_ms, int64_t max_ms,
    uint64_t chance)
{
    int64_t   most;
    uint32_t  i;

    most = min_ms;

    for (i = 0; i < failures && most < max_ms; i++) {
        most = most > max_ms / 2 ? max_ms : most * 2;
    }

    if (most > max_ms) {
        most = max_ms;
    }

    if (most <= min_ms) {
        return most;
    }

    return min_ms + (int64_t) (chance % (uint64_t) (most - min_ms + 1));
}


/*
 * A message of which both is said is tried again: at least once.  So are all
 * when a 2xx asks for one to be tried again, and does not say which in a way
 * that can be read: else it would be lost.
 */

void
events_settle_batch(const events_answer_t *answer, events_fate_t *fate,
    size_t n)
{
    size_t  i;
    int     done;

    done = answer->code == FAAS_OK && answer->status / 100 == 2;

    for (i = 0; i < n; i++) {
        fate[i].again = !done;
        fate[i].delay_ms = -1;
    }

    if (answer->code != FAAS_OK) {
        return;
    }

    if (!done) {
        (void) settle_headers(answer, "Faas-Done", 0, fate, n);
    }

    if (settle_headers(answer, "Faas-Retry", 1, fate, n) == FAAS_OK || !done) {
        return;
    }

    for (i = 0; i < n; i++) {
        fate[i].again = 1;
    }
}


void
events_settle_reason(const events_answer_t *answer, char *buf, size_t size)
{
    size_t          i, n;
    char            status[SETTLE_SAID];
    unsigned char  *p;

    if (answer->code != FAAS_OK) {
        (void) snprintf(buf, size, "%s", answer->reason);
        return;
    }

    if (events_answer_header(answer, "Proxy-Status", status, sizeof(status))
        != NULL)
    {
        (void) snprintf(buf, size, "status %d: %s", answer->status, status);
        return;
    }

    n = answer->body.size < SETTLE_SAID ? answer->body.size : SETTLE_SAID;

    (void) snprintf(buf, size, "status %d%s%.*s", answer->status,
                    n ? ": " : "", (int) n,
                    n ? (const char *) answer->body.data : "");

    /* one line of printable bytes */

    p = (unsigned char *) buf;
    n = strcspn(buf, "\r\n");
    buf[n] = '\0';

    for (i = 0; i < n; i++) {
        if (!isprint(p[i])) {
            p[i] = '?';
        }
    }
}


static int
settle_is_refusal(const char *status)
{
    size_t  i, n;

    n = sizeof(SETTLE_OURS) - 1;

    if (strncmp(status, SETTLE_OURS, n) != 0) {
        return 0;
    }

    status += n;
    n = strcspn(status, ";");

    for (i = 0; i < sizeof(settle_refusals) / sizeof(settle_refusals[0]); i++)
    {
        if (strlen(settle_refusals[i]) == n
            && strncmp(settle_refusals[i], status, n) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* all of that name; FAAS_ERROR: some of it could not be read */

static int
settle_headers(const events_answer_t *answer, const char *name, int again,
    events_fate_t *fate, size_t n)
{
    int          rc;
    size_t       length;
    const char  *line, *end;

    if (answer->headers == NULL) {
        return FAAS_OK;
    }

    rc = FAAS_OK;
    length = strlen(name);

    for (line = answer->headers; *line; line = end + (*end == '\n')) {
        end = line + strcspn(line, "\n");

        if ((size_t) (end - line) > length && line[length] == ':'
            && strncasecmp(line, name, length) == 0
            && settle_list(line + length + 1, end, again, fate, n) != FAAS_OK)
        {
            rc = FAAS_ERROR;
        }
    }

    return rc;
}


/* INDEX[;DELAY_MS], ... */

static int
settle_list(const char *p, const char *end, int again, events_fate_t *fate,
    size_t n)
{
    int          rc;
    const char  *comma;

    rc = FAAS_OK;

    for ( /* void */ ; p < end; p = comma + (comma < end)) {
        comma = memchr(p, ',', (size_t) (end - p));
        comma = comma ? comma : end;
        p += strspn(p, " \t\r");

        if (p < comma && settle_one(p, comma, again, fate, n) != FAAS_OK) {
            rc = FAAS_ERROR;
        }
    }

    return rc;
}


/* with a delay that cannot be read it is tried again when the back-off says */

static int
settle_one(const char *p, const char *end, int again, events_fate_t *fate,
    size_t n)
{
    int64_t  index, delay;

    p = settle_number(p, &index);

    if (p == NULL || index >= (int64_t) n || (p < end && *p != ';')) {
        return FAAS_ERROR;
    }

    delay = -1;

    if (p < end && settle_number(p + 1, &delay) != end) {

        if (!again) {
            return FAAS_ERROR;
        }

        delay = -1;
    }

    fate[index].again = again;
    fate[index].delay_ms = delay < SETTLE_DELAY_MAX ? delay
                                                    : SETTLE_DELAY_MAX;

    return FAAS_OK;
}


/* what follows it and blanks, or NULL; what is too large is INT64_MAX */

static const char *
settle_number(const char *p, int64_t *number)
{
    p += strspn(p, " \t");

    if (*p < '0' || *p > '9') {
        return NULL;
    }

    for (*number = 0; *p >= '0' && *p <= '9'; p++) {

        if (*number > (INT64_MAX - 9) / 10) {
            *number = INT64_MAX;
            continue;
        }

        *number = *number * 10 + (*p - '0');
    }

    return p + strspn(p, " \t\r");
}
