
#include <stdio.h>
#include <string.h>

#include "ngx_http_faas_json.h"


static void ngx_http_faas_json_put(ngx_http_faas_json_t *j, const char *p,
    size_t n);
static void ngx_http_faas_json_begin(ngx_http_faas_json_t *j,
    const char *name);
static size_t ngx_http_faas_json_plain(const unsigned char *p,
    const unsigned char *last);
static size_t ngx_http_faas_json_utf8(const unsigned char *p,
    const unsigned char *last);
static size_t ngx_http_faas_json_escape(unsigned char c, char *dst);


void
ngx_http_faas_json_open(ngx_http_faas_json_t *j, const char *name,
    char bracket)
{
    ngx_http_faas_json_begin(j, name);
    ngx_http_faas_json_put(j, &bracket, 1);

    j->comma = 0;
}


void
ngx_http_faas_json_close(ngx_http_faas_json_t *j, char bracket)
{
    ngx_http_faas_json_put(j, &bracket, 1);

    j->comma = 1;
}


void
ngx_http_faas_json_number(ngx_http_faas_json_t *j, const char *name,
    uint64_t n)
{
    int   length;
    char  text[24];

    length = snprintf(text, sizeof(text), "%llu", (unsigned long long) n);

    ngx_http_faas_json_begin(j, name);
    ngx_http_faas_json_put(j, text, (size_t) length);
}


void
ngx_http_faas_json_flag(ngx_http_faas_json_t *j, const char *name, int flag)
{
    ngx_http_faas_json_begin(j, name);

    if (flag) {
        ngx_http_faas_json_put(j, "true", 4);

    } else {
        ngx_http_faas_json_put(j, "false", 5);
    }
}


void
ngx_http_faas_json_text(ngx_http_faas_json_t *j, const char *name,
    const char *s)
{
    ngx_http_faas_json_string(j, name, s, strlen(s));
}


void
ngx_http_faas_json_string(ngx_http_faas_json_t *j, const char *name,
    const char *s, size_t n)
{
    char                  escape[8];
    size_t                length;
    const unsigned char  *p, *last;

    ngx_http_faas_json_begin(j, name);
    ngx_http_faas_json_put(j, "\"", 1);

    p = (const unsigned char *) s;
    last = p + n;

    while (p < last) {

        length = ngx_http_faas_json_plain(p, last);

        if (length != 0) {
            ngx_http_faas_json_put(j, (const char *) p, length);
            p += length;
            continue;
        }

        length = ngx_http_faas_json_escape(*p, escape);
        ngx_http_faas_json_put(j, escape, length);
        p++;
    }

    ngx_http_faas_json_put(j, "\"", 1);
}


static void
ngx_http_faas_json_put(ngx_http_faas_json_t *j, const char *p, size_t n)
{
    if (!j->failed && j->sink(j->data, p, n) != 0) {
        j->failed = 1;
    }
}


/* what stands before a value */

static void
ngx_http_faas_json_begin(ngx_http_faas_json_t *j, const char *name)
{
    if (j->comma) {
        ngx_http_faas_json_put(j, ",", 1);
    }

    j->comma = 1;

    if (name != NULL) {
        ngx_http_faas_json_put(j, "\"", 1);
        ngx_http_faas_json_put(j, name, strlen(name));
        ngx_http_faas_json_put(j, "\":", 2);
    }
}


/* how many bytes from p on may stand as they are */

static size_t
ngx_http_faas_json_plain(const unsigned char *p, const unsigned char *last)
{
    size_t                n;
    const unsigned char  *start;

    for (start = p; p < last; p += n) {

        if (*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f) {
            break;
        }

        n = (*p < 0x80) ? 1 : ngx_http_faas_json_utf8(p, last);

        if (n == 0) {
            break;
        }
    }

    return (size_t) (p - start);
}


/*
 * Length of the character that begins at p; 0 when it is none: cut short, too
 * long a form, a surrogate, beyond U+10FFFF.
 */

static size_t
ngx_http_faas_json_utf8(const unsigned char *p, const unsigned char *last)
{
    size_t         n, i;
    unsigned char  low, high;

    low = 0x80;
    high = 0xbf;

    if (*p >= 0xc2 && *p <= 0xdf) {
        n = 2;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        n = 3;
        low = (*p == 0xe0) ? 0xa0 : 0x80;
        high = (*p == 0xed) ? 0x9f : 0xbf;

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        n = 4;
        low = (*p == 0xf0) ? 0x90 : 0x80;
        high = (*p == 0xf4) ? 0x8f : 0xbf;

    } else {
        return 0;
    }

    if ((size_t) (last - p) < n || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }

    return n;
}


/* one byte that cannot stand as it is */

static size_t
ngx_http_faas_json_escape(unsigned char c, char *dst)
{
    const char         *p;

    static const char   from[] = "\"\\\b\f\n\r\t";
    static const char   to[] = "\"\\bfnrt";

    p = (c != '\0') ? strchr(from, c) : NULL;

    if (p != NULL) {
        dst[0] = '\\';
        dst[1] = to[p - from];
        return 2;
    }

    return (size_t) snprintf(dst, 8, "\\u%04x", c < 0x80 ? c : 0xfffdu);
}
