
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "calls_document.h"


#define DOCUMENT_ROOM  4096


/* failed: out of memory, and stays so */

typedef struct {
    char                     *data;
    size_t                    size;
    size_t                    room;
    int                       failed;
} document_t;


static void document_answer(document_t *t, const calls_document_t *d);
static void document_headers(document_t *t, faas_bytes_t headers);
static void document_time(document_t *t, const char *name, int64_t ms);
static void document_string(document_t *t, const char *s, size_t n);
static void document_base64(document_t *t, const unsigned char *s, size_t n);
static size_t document_sequence(const unsigned char *s, size_t n);
static int document_is_text(const unsigned char *s, size_t n);
static void document_put(document_t *t, const char *s);
static void document_add(document_t *t, const char *s, size_t n);
static char *document_room(document_t *t, size_t n);


static const char *const  document_states[] = {
    [WIRE_CALL_QUEUED] = "queued",
    [WIRE_CALL_RUNNING] = "running",
    [WIRE_CALL_DONE] = "done",
    [WIRE_CALL_FAILED] = "failed",
    [WIRE_CALL_CANCELLED] = "cancelled"
};

#define DOCUMENT_STATES  (sizeof(document_states)                             \
                          / sizeof(document_states[0]))


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
    document_t  t;

    memset(&t, 0, sizeof(t));

    document_put(&t, "{\"id\":");
    document_string(&t, d->id, strlen(d->id));
    document_put(&t, ",\"state\":\"");
    document_put(&t, calls_document_state(d->state));
    (void) snprintf(number, sizeof(number), "\",\"attempts\":%u",
                    d->attempts);
    document_put(&t, number);
    document_time(&t, "created", d->created_ms);
    document_time(&t, "updated", d->updated_ms);

    if (d->text.size) {
        document_put(&t, ",\"error\":");
        document_string(&t, d->text.data, d->text.size);
    }

    if (d->state == WIRE_CALL_DONE) {
        document_answer(&t, d);
    }

    document_put(&t, "}\n");

    if (t.failed) {
        free(t.data);
        return NULL;
    }

    *n = t.size;

    return t.data;
}


static void
document_answer(document_t *t, const calls_document_t *d)
{
    char  number[64];

    (void) snprintf(number, sizeof(number), ",\"status\":%d,\"headers\":[",
                    d->status);
    document_put(t, number);
    document_headers(t, d->headers);
    document_put(t, "],\"body\":");

    if (document_is_text(d->body.data, d->body.size)) {
        document_string(t, d->body.data, d->body.size);
        return;
    }

    document_put(t, "\"");
    document_base64(t, d->body.data, d->body.size);
    document_put(t, "\",\"encoding\":\"base64\"");
}


static void
document_headers(document_t *t, faas_bytes_t headers)
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

        if (colon == NULL) {
            continue;
        }

        value = (size_t) (colon - p) + 1;

        while (value < n && (p[value] == ' ' || p[value] == '\t')) {
            value++;
        }

        document_put(t, first ? "[" : ",[");
        document_string(t, p, (size_t) (colon - p));
        document_put(t, ",");
        document_string(t, p + value, n - value);
        document_put(t, "]");
        first = 0;
    }
}


static void
document_time(document_t *t, const char *name, int64_t ms)
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
    document_put(t, text);
}


/* what is not UTF-8 becomes U+FFFD */

static void
document_string(document_t *t, const char *s, size_t n)
{
    char    escape[8];
    size_t  i, start, length;

    document_put(t, "\"");

    for (i = 0, start = 0; i < n; /* void */ ) {
        length = document_sequence((const unsigned char *) s + i, n - i);

        if (length != 0 && (unsigned char) s[i] >= 0x20 && s[i] != '"'
            && s[i] != '\\' && s[i] != 0x7f)
        {
            i += length;
            continue;
        }

        document_add(t, s + start, i - start);

        if (length == 0) {
            document_put(t, "\xef\xbf\xbd");

        } else if (s[i] == '"' || s[i] == '\\') {
            escape[0] = '\\';
            escape[1] = s[i];
            document_add(t, escape, 2);

        } else if (s[i] == '\n') {
            document_put(t, "\\n");

        } else {
            (void) snprintf(escape, sizeof(escape), "\\u%04x",
                            (unsigned char) s[i]);
            document_put(t, escape);
        }

        start = ++i;
    }

    document_add(t, s + start, n - start);
    document_put(t, "\"");
}


static void
document_base64(document_t *t, const unsigned char *s, size_t n)
{
    char               *p;
    size_t              i;
    uint32_t            bits;
    static const char   digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789+/";

    p = document_room(t, (n + 2) / 3 * 4);

    if (p == NULL) {
        return;
    }

    for (i = 0; i < n; i += 3) {
        bits = (uint32_t) s[i] << 16;
        bits |= i + 1 < n ? (uint32_t) s[i + 1] << 8 : 0;
        bits |= i + 2 < n ? s[i + 2] : 0;

        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 63];
        *p++ = i + 1 < n ? digits[bits >> 6 & 63] : '=';
        *p++ = i + 2 < n ? digits[bits & 63] : '=';
    }
}


/* bytes of the UTF-8 sequence that s begins with, 0: it is none (RFC 3629) */

static size_t
document_sequence(const unsigned char *s, size_t n)
{
    size_t    i, length;
    uint32_t  code, least;

    if (s[0] < 0x80) {
        return 1;
    }

    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        length = 2;
        least = 0x80;
        code = s[0] & 0x1f;

    } else if ((s[0] & 0xf0) == 0xe0) {
        length = 3;
        least = 0x800;
        code = s[0] & 0x0f;

    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        length = 4;
        least = 0x10000;
        code = s[0] & 0x07;

    } else {
        return 0;
    }

    if (n < length) {
        return 0;
    }

    for (i = 1; i < length; i++) {

        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }

        code = code << 6 | (s[i] & 0x3f);
    }

    return code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)
           ? 0 : length;
}


static int
document_is_text(const unsigned char *s, size_t n)
{
    size_t  i, length;

    for (i = 0; i < n; i += length) {
        length = document_sequence(s + i, n - i);

        if (length == 0) {
            return 0;
        }
    }

    return 1;
}


static void
document_put(document_t *t, const char *s)
{
    document_add(t, s, strlen(s));
}


static void
document_add(document_t *t, const char *s, size_t n)
{
    char  *p;

    if (n == 0) {
        return;
    }

    p = document_room(t, n);

    if (p != NULL) {
        memcpy(p, s, n);
    }
}


/* n bytes more, to be written; a zero follows them */

static char *
document_room(document_t *t, size_t n)
{
    char    *p;
    size_t   room;

    if (t->failed) {
        return NULL;
    }

    if (t->size + n + 1 > t->room) {

        room = t->room ? t->room * 2 : DOCUMENT_ROOM;

        while (room < t->size + n + 1) {
            room *= 2;
        }

        p = realloc(t->data, room);

        if (p == NULL) {
            t->failed = 1;
            return NULL;
        }

        t->data = p;
        t->room = room;
    }

    p = t->data + t->size;
    t->size += n;
    t->data[t->size] = '\0';

    return p;
}
