
/*
 * The memory of one request: pieces are taken, and all freed at once when it
 * ends.  The first block stays for the next request, so that a usual request
 * costs no malloc() here.
 */


#ifndef ARENA_H_INCLUDED
#define ARENA_H_INCLUDED


#include <stddef.h>


typedef struct arena_block_s  arena_block_t;


/* All zero: empty and ready.  Owned by whoever declares it. */

typedef struct {
    arena_block_t            *blocks;      /* the first is being filled */
    arena_block_t            *kept;        /* from one request to the next */
} arena_t;


/* n bytes, aligned for anything, not zeroed; NULL when out of memory */
void *arena_alloc(arena_t *arena, size_t n);

/* a zero-terminated copy of n bytes */
char *arena_copy(arena_t *arena, const char *s, size_t n);

/* frees all that was taken */
void arena_reset(arena_t *arena);

/* and the memory that was kept for the next request */
void arena_destroy(arena_t *arena);


#endif /* ARENA_H_INCLUDED */
