
#include <stdint.h>
#include <string.h>

#include "faas_scoreboard.h"
#include "pairs.h"


static char *pairs_decode(char **p, const char *s, const char *end, int plus);
static int pairs_hex(int c);


int
pairs_parse(pairs_t *pairs, arena_t *arena, const char *text, int plus)
{
    char        *p;
    size_t       n;
    pair_t      *pair;
    const char  *s, *end, *equals;

    pairs->parsed = 1;
    pairs->n = 0;

    n = 1;

    for (s = text; *s; s++) {
        n += *s == '&';
    }

    /* decoded is never longer; each pair gets two zeroes for '=' and '&' */

    pairs->pair = arena_alloc(arena, n * sizeof(pair_t));
    p = arena_alloc(arena, (size_t) (s - text) + 2 * n);

    if (pairs->pair == NULL || p == NULL) {
        return FAAS_ERROR;
    }

    for (s = text; *s; s = *end ? end + 1 : end) {
        end = strchrnul(s, '&');

        if (end == s) {
            continue;
        }

        equals = memchr(s, '=', (size_t) (end - s));

        if (equals == NULL) {
            equals = end;
        }

        pair = &pairs->pair[pairs->n++];

        pair->name = p;
        pair->name_length = (size_t) (pairs_decode(&p, s, equals, plus)
                                      - pair->name);

        s = equals < end ? equals + 1 : end;

        pair->value = p;
        pair->length = (size_t) (pairs_decode(&p, s, end, plus) - pair->value);
    }

    return FAAS_OK;
}


/* decodes to *p and terminates; returns where the zero is, *p is behind it */

static char *
pairs_decode(char **p, const char *s, const char *end, int plus)
{
    int    high, low;
    char  *d;

    d = *p;

    for ( /* void */ ; s < end; s++) {

        if (*s == '+' && plus) {
            *d++ = ' ';
            continue;
        }

        if (*s == '%' && end - s > 2) {
            high = pairs_hex(s[1]);
            low = pairs_hex(s[2]);

            if (high >= 0 && low >= 0) {
                *d++ = (char) (high << 4 | low);
                s += 2;
                continue;
            }
        }

        *d++ = *s;
    }

    *d = '\0';
    *p = d + 1;

    return d;
}


static int
pairs_hex(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    return -1;
}


const pair_t *
pairs_find(const pairs_t *pairs, const char *name)
{
    size_t  i, n;

    n = strlen(name);

    for (i = 0; i < pairs->n; i++) {

        if (pairs->pair[i].name_length == n
            && memcmp(pairs->pair[i].name, name, n) == 0)
        {
            return &pairs->pair[i];
        }
    }

    return NULL;
}
