
/*
 * The published route table: bytes that the supervisor writes into a route
 * buffer of the scoreboard and every nginx worker copies, checks and turns
 * into its own index.  Pure code, no I/O.
 *
 * A table is a sequence of records, each aligned to 8 bytes:
 *
 *   faas_route_t, then pattern bytes, then a zero
 *
 * in the order in which they were claimed: of two functions that claim the
 * same route (same methods, same pattern) the older one's is in the table
 * and the younger one's is not.  The record of a function without routes has
 * pattern length 0: it makes the name known (/NAME and /NAME/rest are
 * implicit, after all declared ones).  So every living function has at least
 * one record.
 *
 * Precedence: among all declared routes whose pattern matches the whole
 * path and whose methods include the request's, the one with the longest
 * literal prefix; among these, the first in the table.  The literal prefix
 * is what stands before the first byte that means something to PCRE2; when
 * that byte is a quantifier, the byte before it does not belong to it.  A
 * pattern with an alternation at its top level has no literal prefix.
 */


#ifndef FAAS_ROUTES_H_INCLUDED
#define FAAS_ROUTES_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define FAAS_ROUTE_PATTERN_MAX   1024     /* bytes of one pattern */
#define FAAS_ROUTES_PER_FUNCTION 4096

/* method bits; GET in a route implies HEAD */

#define FAAS_METHOD_GET      0x0001
#define FAAS_METHOD_HEAD     0x0002
#define FAAS_METHOD_POST     0x0004
#define FAAS_METHOD_PUT      0x0008
#define FAAS_METHOD_DELETE   0x0010
#define FAAS_METHOD_OPTIONS  0x0020
#define FAAS_METHOD_PATCH    0x0040
#define FAAS_METHOD_ANY      0xffff


typedef struct {
    uint32_t                  size;          /* of the record with padding */
    uint32_t                  function;      /* index on the board */
    uint32_t                  generation;    /* of that entry */
    uint32_t                  methods;       /* FAAS_METHOD_*, 0: implicit */
    uint16_t                  literal;       /* length of literal prefix */
    uint16_t                  length;        /* of the pattern, 0: implicit */
    uint32_t                  order;         /* position of claim */
} faas_route_t;


/*
 * One declared route, parsed from a descriptor's `routes`: lines of
 * "METHOD[|METHOD...] PATTERN", or "PATTERN" alone for any method; empty
 * lines and blanks around are ignored.
 */

typedef struct {
    uint32_t                  methods;
    const char               *pattern;       /* inside the parsed text */
    size_t                    length;
} faas_route_spec_t;


/*
 * Takes the next route off *text (of *left bytes).  FAAS_OK; FAAS_DONE at
 * the end; FAAS_ERROR with a static text in *why and the spec's pattern at
 * the offending place.
 */
int faas_route_next(const char **text, size_t *left, faas_route_spec_t *spec,
    const char **why);

/* length of the literal prefix of a pattern, as defined above */
size_t faas_route_literal(const char *pattern, size_t n);

/*
 * Appends a record to a table being built in buf[size] of which *used bytes
 * hold.  FAAS_OK, or FAAS_BUSY when it does not fit (nothing changed).
 */
int faas_route_append(char *buf, size_t size, size_t *used,
    const faas_route_t *head, const char *pattern);

/*
 * The record at *offset, which moves on; NULL at the end, or when what
 * follows is not a record that ends inside n (then *offset > n).
 */
const faas_route_t *faas_route_at(const char *buf, size_t n, size_t *offset);

#define faas_route_pattern(route)                                             \
    ((const char *) (route) + sizeof(faas_route_t))

/* "GET, HEAD, POST" for an Allow header; dst has room for 64 bytes */
size_t faas_route_methods_text(uint32_t methods, char *dst);


#endif /* FAAS_ROUTES_H_INCLUDED */
