
/*
 * The supervisor's side of the route table: checks what a function declares,
 * and builds the table of all functions (scoreboard/faas_routes.h).  Pure
 * but for the last call.
 */


#ifndef ROUTES_H_INCLUDED
#define ROUTES_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "faas_routes.h"
#include "faas_scoreboard.h"


#define ROUTES_WHY_SIZE  192


/* what one function declares; in the order of their claims */

typedef struct {
    uint32_t                  function;      /* index and generation */
    uint32_t                  generation;
    const char               *name;
    const char               *routes;        /* text, "" for none */
    size_t                    length;
    const char               *prefix;        /* it may claim below, or NULL */
    void                     *data;          /* the caller's */
} routes_source_t;


/* a route that is not published; other is who has it, NULL: not allowed by
   the prefix, or no room */
typedef void (*routes_refused_pt)(const routes_source_t *source,
    const faas_route_spec_t *spec, const routes_source_t *other);


/*
 * Is every route of the text good: method, length, and a pattern that PCRE2
 * compiles, anchored at both ends, without \C.  0, or -1 with one line in
 * why[ROUTES_WHY_SIZE] that names pattern and offset.
 */
int routes_check(const char *text, size_t n, char *why);

/*
 * Builds the table of n sources in buf[size].  The first with a route keeps
 * it.  Returns the bytes used.  A source whose own record does not fit any
 * more makes *full 1.
 */
size_t routes_build(const routes_source_t *sources, size_t n, char *buf,
    size_t size, routes_refused_pt refused, int *full);

/* builds into the buffer that is not read, and raises the epoch */
void routes_publish(faas_scoreboard_t *sb, const routes_source_t *sources,
    size_t n, routes_refused_pt refused, int *full);


#endif /* ROUTES_H_INCLUDED */
