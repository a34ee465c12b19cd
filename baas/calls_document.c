
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "calls_document.h"
#include "json_text.h"


static void document_answer(json_text_t *t, const calls_document_t *d);
static void document_headers(json_text_t *t, faas_bytes_t headers);
static void document_time(json_text_t *t, const char *name, int64_t ms);


static const char *const  document_states[] = {
    [WIRE_CALL_QUEUED] = "queued",
    [WIRE_CALL_RUNNING] = "running",
    [WIRE_CALL_DONE] = "done",
    [WIRE_CALL_FAILED] = "failed",
    [WIRE_CALL_CANCELLED] = "cancelled"
};

static const char *const  document_dropped[] = {
    "Connection", "Date", "Keep-Alive", "Proxy-Authenticate",
    "Proxy-Connection", "Server", "TE", "Trailer", "Transfer-Encoding",
    "Upgrade"
};

#define DOCUMENT_STATES  (sizeof(document_states)                             \
                          / sizeof(document_states[0]))


int
calls_document_is_kept(const char *name, size_t n)
{
    size_t  i;

    for (i = 0; i < sizeof(document_dropped) / sizeof(document_dropped[0]);
         i++)
    {
        if (strlen(document_dropped[i]) == n
            && strncasecmp(document_dropped[i], name, n) == 0)
        {
            return 0;
        }
    }

    return 1;
}


const char *
calls_document_state(uint32_t state)
{
    return state != 0 && state < DOCUMENT_STATES ? document_states[state]
                                                 : "unknown";
}


char *
calls_document(const calls_document_t *d, size_t *n)
{
    char        number[64];
    json_text_t  t;

    memset(&t, 0, sizeof(t));

    json_put(&t, "{\"id\":");
    json_string(&t, d->id, strlen(d->id));
    json_put(&t, ",\"state\":\"");
    json_put(&t, calls_document_state(d->state));
    (void) snprintf(number, sizeof(number), "\",\"attempts\":%u",
                    d->attempts);
    json_put(&t, number);
    document_time(&t, "created", d->created_ms);
    document_time(&t, "updated", d->updated_ms);

    if (d->text.size) {
        json_put(&t, ",\"error\":");
        json_string(&t, d->text.data, d->text.size);
    }

    if (d->state == WIRE_CALL_DONE) {
        document_answer(&t, d);
    }

    json_put(&t, "}\n");

    if (t.failed) {
        json_free(&t);
        return NULL;
    }

    *n = t.size;

    return t.data;
}


static void
document_answer(json_text_t *t, const calls_document_t *d)
{
    char  number[64];

    (void) snprintf(number, sizeof(number), ",\"status\":%d,\"headers\":[",
                    d->status);
    json_put(t, number);
    document_headers(t, d->headers);
    json_put(t, "],\"body\":");

    if (json_is_text(d->body.data, d->body.size)) {
        json_string(t, d->body.data, d->body.size);
        return;
    }

    json_put(t, "\"");
    json_base64(t, d->body.data, d->body.size);
    json_put(t, "\",\"encoding\":\"base64\"");
}


static void
document_headers(json_text_t *t, faas_bytes_t headers)
{
    int          first;
    size_t       n, value;
    const char  *p, *end, *line, *colon;

    first = 1;
    p = headers.data;
    end = p + headers.size;

    for ( /* void */ ; p < end; p = line + 1) {
        line = memchr(p, '\n', (size_t) (end - p));

        if (line == NULL) {
            line = end;
        }

        n = (size_t) (line - p);

        if (n && p[n - 1] == '\r') {
            n--;
        }

        colon = n ? memchr(p, ':', n) : NULL;

        if (colon == NULL
            || !calls_document_is_kept(p, (size_t) (colon - p)))
        {
            continue;
        }

        value = (size_t) (colon - p) + 1;

        while (value < n && (p[value] == ' ' || p[value] == '\t')) {
            value++;
        }

        json_put(t, first ? "[" : ",[");
        json_string(t, p, (size_t) (colon - p));
        json_put(t, ",");
        json_string(t, p + value, n - value);
        json_put(t, "]");
        first = 0;
    }
}


static void
document_time(json_text_t *t, const char *name, int64_t ms)
{
    char       date[40], text[96];
    time_t     sec;
    struct tm  tm;

    sec = (time_t) (ms / 1000);

    if (gmtime_r(&sec, &tm) == NULL
        || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
    {
        return;
    }

    (void) snprintf(text, sizeof(text), ",\"%s\":\"%s.%03dZ\"", name, date,
                    (int) (ms % 1000));
    json_put(t, text);
}
