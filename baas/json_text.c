
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"


#define JSON_ROOM  4096


static size_t json_sequence(const unsigned char *s, size_t n);
static char *json_room(json_text_t *t, size_t n);


/* what is not UTF-8 becomes U+FFFD */

void
json_string(json_text_t *t, const char *s, size_t n)
{
    char    escape[8];
    size_t  i, start, length;

    json_put(t, "\"");

    for (i = 0, start = 0; i < n; /* void */ ) {
        length = json_sequence((const unsigned char *) s + i, n - i);

        if (length != 0 && (unsigned char) s[i] >= 0x20 && s[i] != '"'
            && s[i] != '\\' && s[i] != 0x7f)
        {
            i += length;
            continue;
        }

        json_add(t, s + start, i - start);

        if (length == 0) {
            json_put(t, "\xef\xbf\xbd");

        } else if (s[i] == '"' || s[i] == '\\') {
            escape[0] = '\\';
            escape[1] = s[i];
            json_add(t, escape, 2);

        } else if (s[i] == '\n') {
            json_put(t, "\\n");

        } else {
            (void) snprintf(escape, sizeof(escape), "\\u%04x",
                            (unsigned char) s[i]);
            json_put(t, escape);
        }

        start = ++i;
    }

    json_add(t, s + start, n - start);
    json_put(t, "\"");
}


void
json_base64(json_text_t *t, const void *data, size_t n)
{
    char                 *p;
    size_t                i;
    uint32_t              bits;
    const unsigned char  *s = data;
    static const char     digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "abcdefghijklmnopqrstuvwxyz0123456789+/";

    p = json_room(t, (n + 2) / 3 * 4);

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
json_sequence(const unsigned char *s, size_t n)
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


int
json_is_text(const void *text, size_t n)
{
    size_t                i, length;
    const unsigned char  *s = text;

    for (i = 0; i < n; i += length) {
        length = json_sequence(s + i, n - i);

        if (length == 0) {
            return 0;
        }
    }

    return 1;
}


void
json_put(json_text_t *t, const char *s)
{
    json_add(t, s, strlen(s));
}


void
json_add(json_text_t *t, const char *s, size_t n)
{
    char  *p;

    if (n == 0) {
        return;
    }

    p = json_room(t, n);

    if (p != NULL) {
        memcpy(p, s, n);
    }
}


/* n bytes more, to be written; a zero follows them */

static char *
json_room(json_text_t *t, size_t n)
{
    char    *p;
    size_t   room;

    if (t->failed) {
        return NULL;
    }

    if (t->size + n + 1 > t->room) {

        room = t->room ? t->room * 2 : JSON_ROOM;

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


void
json_free(json_text_t *t)
{
    free(t->data);
    memset(t, 0, sizeof(*t));
}
