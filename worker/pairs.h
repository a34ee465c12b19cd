
/*
 * NAME=VALUE&NAME=VALUE, percent-encoded: the arguments of a request, and the
 * named captures of a route.  Pure but for the arena it takes memory from.
 */


#ifndef PAIRS_H_INCLUDED
#define PAIRS_H_INCLUDED


#include <stddef.h>

#include "arena.h"


typedef struct {
    const char               *name;        /* zero-terminated, decoded */
    const char               *value;       /* likewise; may contain zeroes */
    size_t                    name_length;
    size_t                    length;      /* of value, bytes */
} pair_t;


/* All zero: not parsed yet.  Lives in an arena. */

typedef struct {
    pair_t                   *pair;
    size_t                    n;
    unsigned                  parsed:1;
} pairs_t;


/*
 * Parses text.  plus: '+' is a blank, as forms have it.  A '%' that is not
 * followed by two hex digits stands for itself; a name without '=' has an
 * empty value; empty parts are skipped.  FAAS_OK, or FAAS_ERROR when out of
 * memory.
 */
int pairs_parse(pairs_t *pairs, arena_t *arena, const char *text, int plus);

/* the first pair of that name, or NULL */
const pair_t *pairs_find(const pairs_t *pairs, const char *name);


#endif /* PAIRS_H_INCLUDED */
