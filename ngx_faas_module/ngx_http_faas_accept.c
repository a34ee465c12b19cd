
/*
 *     Accept      = #( media-range [ ";" parameters ] [ weight ] )
 *     media-range = "*" "/" "*" / type "/" "*" / type "/" subtype
 *     weight      = OWS ";" OWS "q=" ( 0 [ "." 0*3DIGIT ] / 1 [ "." 0*3"0" ] )
 *
 * application/json counts as application/problem+json: who reads the one
 * reads the other.
 */


#include <string.h>
#include <strings.h>

#include "ngx_http_faas_accept.h"


#define NGX_HTTP_FAAS_ACCEPT_NAMED  3
#define NGX_HTTP_FAAS_ACCEPT_ONE    1000


static const char *ngx_http_faas_accept_find(const char *p,
    const char *last, char ch);
static void ngx_http_faas_accept_range(ngx_http_faas_accept_t *a,
    const char *p, const char *last);
static int ngx_http_faas_accept_weight(const char *p, const char *last);
static int ngx_http_faas_accept_q(const char *p, size_t n);
static const char *ngx_http_faas_accept_trim(const char **p,
    const char *last);
static int ngx_http_faas_accept_beats(const ngx_http_faas_accept_t *a,
    ngx_http_faas_accept_e one, ngx_http_faas_accept_e other);


static const struct {
    const char              *range;
    ngx_http_faas_accept_e   type;
    int                      named;
} ngx_http_faas_accept_ranges[] = {
    { "text/plain", NGX_HTTP_FAAS_ACCEPT_TEXT, 3 },
    { "application/problem+json", NGX_HTTP_FAAS_ACCEPT_PROBLEM, 3 },
    { "application/json", NGX_HTTP_FAAS_ACCEPT_PROBLEM, 3 },
    { "text/html", NGX_HTTP_FAAS_ACCEPT_HTML, 3 },
    { "text/*", NGX_HTTP_FAAS_ACCEPT_TEXT, 2 },
    { "text/*", NGX_HTTP_FAAS_ACCEPT_HTML, 2 },
    { "application/*", NGX_HTTP_FAAS_ACCEPT_PROBLEM, 2 },
    { "*/*", NGX_HTTP_FAAS_ACCEPT_TEXT, 1 },
    { "*/*", NGX_HTTP_FAAS_ACCEPT_PROBLEM, 1 },
    { "*/*", NGX_HTTP_FAAS_ACCEPT_HTML, 1 },
    { NULL, NGX_HTTP_FAAS_ACCEPT_TEXT, 0 }
};


void
ngx_http_faas_accept_add(ngx_http_faas_accept_t *a, const char *s, size_t n)
{
    const char  *p, *end, *last;

    last = s + n;

    for (p = s; p < last; p = end + 1) {
        end = ngx_http_faas_accept_find(p, last, ',');
        ngx_http_faas_accept_range(a, p, end);
    }
}


/* where it is next, but not inside of quotes, or the end */

static const char *
ngx_http_faas_accept_find(const char *p, const char *last, char ch)
{
    int  quoted;

    quoted = 0;

    for ( /* void */ ; p < last; p++) {

        if (quoted && *p == '\\' && p + 1 < last) {
            p++;

        } else if (*p == '"') {
            quoted = !quoted;

        } else if (*p == ch && !quoted) {
            break;
        }
    }

    return p;
}


static void
ngx_http_faas_accept_range(ngx_http_faas_accept_t *a, const char *p,
    const char *last)
{
    int          i, weight, named;
    size_t       n;
    const char  *range, *end;

    end = ngx_http_faas_accept_find(p, last, ';');
    weight = ngx_http_faas_accept_weight(end, last);

    if (weight < 0) {
        return;
    }

    range = p;
    end = ngx_http_faas_accept_trim(&range, end);
    n = end - range;

    for (i = 0; ngx_http_faas_accept_ranges[i].range; i++) {

        if (strlen(ngx_http_faas_accept_ranges[i].range) != n
            || strncasecmp(ngx_http_faas_accept_ranges[i].range, range, n)
               != 0)
        {
            continue;
        }

        /* the most specific range has the say, and of two the better */

        named = ngx_http_faas_accept_ranges[i].named;

        if (named > a->type[ngx_http_faas_accept_ranges[i].type].named) {
            a->type[ngx_http_faas_accept_ranges[i].type].named = named;
            a->type[ngx_http_faas_accept_ranges[i].type].weight = weight;

        } else if (named == a->type[ngx_http_faas_accept_ranges[i].type].named
                   && weight
                      > a->type[ngx_http_faas_accept_ranges[i].type].weight)
        {
            a->type[ngx_http_faas_accept_ranges[i].type].weight = weight;
        }
    }
}


/* of the parameters, which begin with a semicolon; -1: malformed */

static int
ngx_http_faas_accept_weight(const char *p, const char *last)
{
    const char  *name, *end;

    while (p < last) {
        name = p + 1;
        p = ngx_http_faas_accept_find(name, last, ';');
        end = ngx_http_faas_accept_trim(&name, p);

        if (end - name >= 2 && (*name == 'q' || *name == 'Q')
            && name[1] == '=')
        {
            return ngx_http_faas_accept_q(name + 2, end - name - 2);
        }
    }

    return NGX_HTTP_FAAS_ACCEPT_ONE;
}


static int
ngx_http_faas_accept_q(const char *p, size_t n)
{
    int     q, unit;
    size_t  i;

    if (n == 0 || n > 5 || (p[0] != '0' && p[0] != '1')
        || (n > 1 && p[1] != '.'))
    {
        return -1;
    }

    q = (p[0] - '0') * NGX_HTTP_FAAS_ACCEPT_ONE;
    unit = NGX_HTTP_FAAS_ACCEPT_ONE;

    for (i = 2; i < n; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }

        unit /= 10;
        q += (p[i] - '0') * unit;
    }

    return q <= NGX_HTTP_FAAS_ACCEPT_ONE ? q : -1;
}


/* without the blanks around; returns the new end */

static const char *
ngx_http_faas_accept_trim(const char **p, const char *last)
{
    while (*p < last && (**p == ' ' || **p == '\t')) {
        (*p)++;
    }

    while (last > *p && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    return last;
}


ngx_http_faas_accept_e
ngx_http_faas_accept_choose(const ngx_http_faas_accept_t *a)
{
    ngx_http_faas_accept_e  type;

    type = NGX_HTTP_FAAS_ACCEPT_TEXT;

    if (ngx_http_faas_accept_beats(a, NGX_HTTP_FAAS_ACCEPT_PROBLEM, type)) {
        type = NGX_HTTP_FAAS_ACCEPT_PROBLEM;

    } else if (a->type[NGX_HTTP_FAAS_ACCEPT_PROBLEM].named
               == NGX_HTTP_FAAS_ACCEPT_NAMED
               && a->type[NGX_HTTP_FAAS_ACCEPT_PROBLEM].weight > 0
               && a->type[NGX_HTTP_FAAS_ACCEPT_PROBLEM].weight
                  == a->type[NGX_HTTP_FAAS_ACCEPT_TEXT].weight)
    {
        /* who names JSON can read it */

        type = NGX_HTTP_FAAS_ACCEPT_PROBLEM;
    }

    if (ngx_http_faas_accept_beats(a, NGX_HTTP_FAAS_ACCEPT_HTML, type)) {
        type = NGX_HTTP_FAAS_ACCEPT_HTML;
    }

    return type;
}


/* liked better, or as much, but named more exactly */

static int
ngx_http_faas_accept_beats(const ngx_http_faas_accept_t *a,
    ngx_http_faas_accept_e one, ngx_http_faas_accept_e other)
{
    if (a->type[one].weight != a->type[other].weight) {
        return a->type[one].weight > a->type[other].weight;
    }

    return a->type[one].weight > 0
           && a->type[one].named > a->type[other].named;
}
