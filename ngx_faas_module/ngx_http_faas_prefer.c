
/*
 *     Prefer     = 1#preference
 *     preference = token [ BWS "=" BWS word ]
 *                  *( OWS ";" [ OWS parameter ] )
 *     parameter  = token [ BWS "=" BWS word ]
 *     word       = token / quoted-string
 *
 * An empty word says the same as none.
 */


#include <string.h>
#include <strings.h>

#include "ngx_http_faas_prefer.h"


#define NGX_HTTP_FAAS_PREFER_ASYNC  "respond-async"


/* what is left of the field value */

typedef struct {
    const char               *p;
    const char               *last;
} ngx_http_faas_prefer_t;


static int ngx_http_faas_prefer_one(ngx_http_faas_prefer_t *f, int *async);
static int ngx_http_faas_prefer_pair(ngx_http_faas_prefer_t *f,
    const char **name, size_t *length, int *has_value);
static int ngx_http_faas_prefer_quoted(ngx_http_faas_prefer_t *f,
    int *has_value);
static size_t ngx_http_faas_prefer_token(ngx_http_faas_prefer_t *f);
static int ngx_http_faas_prefer_skip(ngx_http_faas_prefer_t *f, char ch);
static void ngx_http_faas_prefer_blanks(ngx_http_faas_prefer_t *f);


int
ngx_http_faas_prefer_is_async(const char *s, size_t n)
{
    int                     async;
    ngx_http_faas_prefer_t  f;

    f.p = s;
    f.last = s + n;

    while (f.p < f.last) {

        if (ngx_http_faas_prefer_one(&f, &async) == 0 && async) {
            return 1;
        }

        /* behind a malformed one, the next begins after a comma */

        while (f.p < f.last && *f.p != ',') {

            if (*f.p != '"'
                || ngx_http_faas_prefer_quoted(&f, &async) != 0)
            {
                f.p++;
            }
        }

        f.p++;
    }

    return 0;
}


/* one preference up to its comma or the end: 0, or -1 if it is malformed */

static int
ngx_http_faas_prefer_one(ngx_http_faas_prefer_t *f, int *async)
{
    int          has_value;
    size_t       length;
    const char  *name;

    if (ngx_http_faas_prefer_pair(f, &name, &length, &has_value) != 0) {
        return -1;
    }

    *async = !has_value
             && length == sizeof(NGX_HTTP_FAAS_PREFER_ASYNC) - 1
             && strncasecmp(name, NGX_HTTP_FAAS_PREFER_ASYNC, length) == 0;

    while (ngx_http_faas_prefer_skip(f, ';')) {

        ngx_http_faas_prefer_blanks(f);

        if (f->p == f->last || *f->p == ';' || *f->p == ',') {
            continue;
        }

        if (ngx_http_faas_prefer_pair(f, &name, &length, &has_value) != 0) {
            return -1;
        }
    }

    return f->p == f->last || *f->p == ',' ? 0 : -1;
}


static int
ngx_http_faas_prefer_pair(ngx_http_faas_prefer_t *f, const char **name,
    size_t *length, int *has_value)
{
    *has_value = 0;

    ngx_http_faas_prefer_blanks(f);

    *name = f->p;
    *length = ngx_http_faas_prefer_token(f);

    if (*length == 0) {
        return -1;
    }

    if (!ngx_http_faas_prefer_skip(f, '=')) {
        return 0;
    }

    ngx_http_faas_prefer_blanks(f);

    if (f->p < f->last && *f->p == '"') {
        if (ngx_http_faas_prefer_quoted(f, has_value) != 0) {
            return -1;
        }

    } else {
        *has_value = ngx_http_faas_prefer_token(f) != 0;
    }

    ngx_http_faas_prefer_blanks(f);

    return 0;
}


/* f->p is at the first quote, and behind the second one afterwards; -1 when
   there is none, and f->p stays */

static int
ngx_http_faas_prefer_quoted(ngx_http_faas_prefer_t *f, int *has_value)
{
    const char  *p;

    for (p = f->p + 1; p < f->last; p++) {

        if (*p == '"') {
            *has_value = p != f->p + 1;
            f->p = p + 1;
            return 0;
        }

        if (*p == '\\') {
            p++;
        }
    }

    return -1;
}


/* its length, 0: there is none */

static size_t
ngx_http_faas_prefer_token(ngx_http_faas_prefer_t *f)
{
    const char  *start;

    for (start = f->p; f->p < f->last; f->p++) {

        if ((*f->p >= 'a' && *f->p <= 'z') || (*f->p >= 'A' && *f->p <= 'Z')
            || (*f->p >= '0' && *f->p <= '9')
            || (*f->p && strchr("!#$%&'*+-.^_`|~", *f->p)))
        {
            continue;
        }

        break;
    }

    return (size_t) (f->p - start);
}


/* 1 and behind it, if this character follows, after blanks */

static int
ngx_http_faas_prefer_skip(ngx_http_faas_prefer_t *f, char ch)
{
    ngx_http_faas_prefer_blanks(f);

    if (f->p == f->last || *f->p != ch) {
        return 0;
    }

    f->p++;

    return 1;
}


static void
ngx_http_faas_prefer_blanks(ngx_http_faas_prefer_t *f)
{
    while (f->p < f->last && (*f->p == ' ' || *f->p == '\t')) {
        f->p++;
    }
}
