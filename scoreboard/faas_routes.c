
/*
 * Routes: parsing of what a descriptor declares, the literal prefix of a
 * pattern, and the records of the published table.
 *
 * A literal prefix that is too long would hide a route, one that is too
 * short only costs a match that fails.  So where a pattern is not understood
 * here its prefix is taken to be empty.
 */


#include <string.h>

#include "faas_routes.h"
#include "faas_scoreboard.h"


/* a table's records begin at multiples of this */
#define ROUTE_ALIGN  8

#define route_record_size(length)                                             \
    ((sizeof(faas_route_t) + (length) + 1 + ROUTE_ALIGN - 1)                  \
     & ~(size_t) (ROUTE_ALIGN - 1))


typedef struct {
    const char               *name;
    size_t                    length;
    uint32_t                  bits;
} route_method_t;


static int route_methods(const char *p, size_t n, uint32_t *methods,
    const char **why);
static int route_pattern_check(const char *p, size_t n, const char **why);
static int route_is_blank(char c);
static int route_is_letter(char c);
static int route_is_quantifier(const char *p, const char *end);
static size_t route_prefix(const char *p, size_t n);
static int route_has_alternation(const char *p, size_t n);
static const char *route_skip_escape(const char *p, const char *end);
static const char *route_skip_class(const char *p, const char *end);
static const char *route_skip_posix(const char *p, const char *end);
static const char *route_skip_group(const char *p, const char *end,
    int *depth);


static const route_method_t  route_method[] = {
    { "GET", 3, FAAS_METHOD_GET | FAAS_METHOD_HEAD },
    { "HEAD", 4, FAAS_METHOD_HEAD },
    { "POST", 4, FAAS_METHOD_POST },
    { "PUT", 3, FAAS_METHOD_PUT },
    { "DELETE", 6, FAAS_METHOD_DELETE },
    { "OPTIONS", 7, FAAS_METHOD_OPTIONS },
    { "PATCH", 5, FAAS_METHOD_PATCH }
};

#define ROUTE_METHODS  (sizeof(route_method) / sizeof(route_method[0]))


int
faas_route_next(const char **text, size_t *left, faas_route_spec_t *spec,
    const char **why)
{
    size_t       n, word;
    const char  *p, *last, *end;

    for ( ;; ) {

        if (*left == 0) {
            return FAAS_DONE;
        }

        p = *text;
        end = memchr(p, '\n', *left);
        last = (end != NULL) ? end : p + *left;

        n = (size_t) (last - p) + (end != NULL);
        *text += n;
        *left -= n;

        while (p < last && route_is_blank(*p)) {
            p++;
        }

        while (last > p && route_is_blank(last[-1])) {
            last--;
        }

        if (p < last) {
            break;
        }
    }

    spec->methods = FAAS_METHOD_ANY;
    spec->pattern = p;
    spec->length = (size_t) (last - p);

    /* a path begins with a slash, so what begins with a letter is a method */

    if (route_is_letter(*p) || *p == '|') {

        for (word = 0; word < spec->length; word++) {
            if (route_is_blank(p[word])) {
                break;
            }
        }

        spec->length = word;

        if (route_methods(p, word, &spec->methods, why) != FAAS_OK) {
            return FAAS_ERROR;
        }

        p += word;

        while (p < last && route_is_blank(*p)) {
            p++;
        }

        if (p == last) {
            *why = "no pattern after the method";
            return FAAS_ERROR;
        }

        spec->pattern = p;
        spec->length = (size_t) (last - p);
    }

    return route_pattern_check(spec->pattern, spec->length, why);
}


static int
route_methods(const char *p, size_t n, uint32_t *methods, const char **why)
{
    size_t       i, length;
    const char  *bar, *end;

    *methods = 0;
    end = p + n;

    for ( ;; ) {
        bar = memchr(p, '|', (size_t) (end - p));
        length = (size_t) ((bar != NULL ? bar : end) - p);

        for (i = 0; i < ROUTE_METHODS; i++) {
            if (length == route_method[i].length
                && memcmp(p, route_method[i].name, length) == 0)
            {
                break;
            }
        }

        if (i == ROUTE_METHODS) {
            *why = "neither a known method nor a pattern, which would begin"
                   " with \"/\"";
            return FAAS_ERROR;
        }

        *methods |= route_method[i].bits;

        if (bar == NULL) {
            return FAAS_OK;
        }

        p = bar + 1;
    }
}


static int
route_pattern_check(const char *p, size_t n, const char **why)
{
    size_t  i;

    if (n > FAAS_ROUTE_PATTERN_MAX) {
        *why = "pattern is longer than 1024 bytes";
        return FAAS_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (((unsigned char) p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f) {
            *why = "control byte in the pattern";
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


static int
route_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}


static int
route_is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}


size_t
faas_route_literal(const char *pattern, size_t n)
{
    size_t  prefix;

    prefix = route_prefix(pattern, n);

    if (prefix == n || prefix == 0) {
        return prefix;
    }

    return route_has_alternation(pattern + prefix, n - prefix) ? 0 : prefix;
}


/* up to the first byte that is not itself */

static size_t
route_prefix(const char *p, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {

        switch (p[i]) {

        case '^':
        case '$':
        case '.':
        case '[':
        case '|':
        case ')':
        case '\0':
            return i;

        case '\\':
        case '(':

            /* an empty quotation or a comment does not keep a quantifier
               behind it from the character before it */

            if (n - i > 1 && (p[i + 1] == 'Q' || p[i + 1] == 'E'
                              || (n - i > 2 && p[i + 1] == '?'
                                  && p[i + 2] == '#')))
            {
                goto quantifier;
            }

            return i;

        case '?':
        case '*':
        case '+':
            goto quantifier;

        case '{':
            if (route_is_quantifier(p + i, p + n)) {
                goto quantifier;
            }

            break;

        default:
            break;
        }
    }

    return n;

quantifier:

    /* it takes the character before it; in UTF mode that may be several
       bytes, of which the first is no continuation */

    while (i > 0 && ((unsigned char) p[i - 1] & 0xc0) == 0x80) {
        i--;
    }

    return (i > 0) ? i - 1 : 0;
}


/* {3}, {3,}, {3,5}; newer versions of PCRE2 know {,5} and blanks too */

static int
route_is_quantifier(const char *p, const char *end)
{
    for (p++; p < end; p++) {

        if (*p == '}') {
            return 1;
        }

        if ((*p < '0' || *p > '9') && *p != ',' && !route_is_blank(*p)) {
            return 0;
        }
    }

    return 0;
}


/* 1: a '|' outside of all groups; also for what is not understood */

static int
route_has_alternation(const char *p, size_t n)
{
    int          depth;
    const char  *end;

    depth = 0;
    end = p + n;

    while (p != NULL && p < end) {

        switch (*p) {

        case '\\':
            p = route_skip_escape(p, end);
            break;

        case '[':
            p = route_skip_class(p, end);
            break;

        case '(':
            p = route_skip_group(p, end, &depth);
            break;

        case ')':
            if (depth-- == 0) {
                return 1;
            }

            p++;
            break;

        case '|':
            if (depth == 0) {
                return 1;
            }

            p++;
            break;

        default:
            p++;
            break;
        }
    }

    return p == NULL || depth != 0;
}


/* the functions below return where to go on, or NULL: not understood */

static const char *
route_skip_escape(const char *p, const char *end)
{
    p++;

    if (p == end) {
        return NULL;
    }

    if (*p == 'c') {
        return (end - p > 1) ? p + 2 : NULL;
    }

    if (*p != 'Q') {
        return p + 1;
    }

    for (p++; end - p > 1; p++) {
        if (p[0] == '\\' && p[1] == 'E') {
            return p + 2;
        }
    }

    return end;
}


static const char *
route_skip_class(const char *p, const char *end)
{
    const char  *first, *posix;

    p++;

    if (p < end && *p == '^') {
        p++;
    }

    first = p;

    while (p != NULL && p < end) {

        if (*p == ']' && p != first) {
            return p + 1;
        }

        if (*p == '\\') {

            /* \E and an empty \Q\E may stand before the first character */

            if (p == first && end - p > 1 && (p[1] == 'E' || p[1] == 'Q')) {
                return NULL;
            }

            p = route_skip_escape(p, end);
            continue;
        }

        if (*p == '[') {
            posix = route_skip_posix(p, end);

            if (posix != NULL) {
                p = posix;
                continue;
            }
        }

        p++;
    }

    return NULL;
}


/* [:name:] in a class; NULL: this '[' is a character */

static const char *
route_skip_posix(const char *p, const char *end)
{
    char  c;

    if (end - p < 4) {
        return NULL;
    }

    c = p[1];

    if (c != ':' && c != '.' && c != '=') {
        return NULL;
    }

    for (p += 2; end - p > 1; p++) {

        if (p[0] == '\\' && (p[1] == ']' || p[1] == '\\')) {
            p++;
            continue;
        }

        if (p[0] == ']' || (p[0] == '[' && p[1] == c)) {
            return NULL;
        }

        if (p[0] == c && p[1] == ']') {
            return p + 2;
        }
    }

    return NULL;
}


static const char *
route_skip_group(const char *p, const char *end, int *depth)
{
    int  text;

    /* comments and (*VERB:text) hold no pattern, they end at the next ')';
       (?C with a text is a callout, which no route has a use for */

    text = 0;

    if (end - p > 2 && p[1] == '?') {

        if (p[2] == 'C' || p[2] == '[') {
            return NULL;
        }

        text = (p[2] == '#');

    } else if (end - p > 2 && p[1] == '*') {
        text = (p[2] == ':' || (p[2] >= 'A' && p[2] <= 'Z'));
    }

    if (text) {
        p = memchr(p, ')', (size_t) (end - p));
        return (p != NULL) ? p + 1 : NULL;
    }

    (*depth)++;

    return p + 1;
}


int
faas_route_append(char *buf, size_t size, size_t *used,
    const faas_route_t *head, const char *pattern)
{
    char          *p;
    size_t         record;
    faas_route_t   route;

    record = route_record_size((size_t) head->length);

    if (*used > size || size - *used < record) {
        return FAAS_BUSY;
    }

    route = *head;
    route.size = (uint32_t) record;

    p = buf + *used;

    memset(p, 0, record);
    memcpy(p, &route, sizeof(faas_route_t));

    if (head->length != 0) {
        memcpy(p + sizeof(faas_route_t), pattern, head->length);
    }

    *used += record;

    return FAAS_OK;
}


const faas_route_t *
faas_route_at(const char *buf, size_t n, size_t *offset)
{
    size_t               left;
    const char          *pattern;
    const faas_route_t  *route;

    if (*offset >= n) {
        return NULL;
    }

    left = n - *offset;

    if (left < route_record_size(0) || *offset % ROUTE_ALIGN != 0) {
        goto malformed;
    }

    route = (const faas_route_t *) (const void *) (buf + *offset);

    if (route->size > left
        || route->length > FAAS_ROUTE_PATTERN_MAX
        || route->size != route_record_size((size_t) route->length)
        || route->literal > route->length)
    {
        goto malformed;
    }

    pattern = faas_route_pattern(route);

    if (memchr(pattern, '\0', (size_t) route->length + 1)
        != pattern + route->length)
    {
        goto malformed;
    }

    *offset += route->size;

    return route;

malformed:

    *offset = n + 1;

    return NULL;
}


size_t
faas_route_methods_text(uint32_t methods, char *dst)
{
    char    *p;
    size_t   i;

    p = dst;

    for (i = 0; i < ROUTE_METHODS; i++) {

        /* GET brings HEAD along; each line names the one of its own */

        if ((methods & route_method[i].bits) != route_method[i].bits) {
            continue;
        }

        if (p != dst) {
            *p++ = ',';
            *p++ = ' ';
        }

        memcpy(p, route_method[i].name, route_method[i].length);
        p += route_method[i].length;
    }

    *p = '\0';

    return (size_t) (p - dst);
}
