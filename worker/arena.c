
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"


#define ARENA_BLOCK  8192

/* a larger piece gets a block of its own, and the block in use stays so */
#define ARENA_LARGE  2048

#define ARENA_ALIGN  (sizeof(max_align_t))


struct arena_block_s {
    arena_block_t            *next;
    size_t                    used;
    size_t                    size;
    max_align_t               data[];
};


static arena_block_t *arena_block(arena_t *arena, size_t size);


void *
arena_alloc(arena_t *arena, size_t n)
{
    void           *p;
    arena_block_t  *block;

    if (n > SIZE_MAX / 2) {
        return NULL;
    }

    n = (n + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);

    block = arena->blocks;

    if (block == NULL || block->size - block->used < n) {
        block = arena_block(arena, n);

        if (block == NULL) {
            return NULL;
        }
    }

    p = (char *) block->data + block->used;
    block->used += n;

    return p;
}


/* a block that has room for size, linked to where it belongs */

static arena_block_t *
arena_block(arena_t *arena, size_t size)
{
    arena_block_t  *block;

    if (size <= ARENA_LARGE && arena->kept) {
        block = arena->kept;
        arena->kept = NULL;

    } else {
        if (size <= ARENA_LARGE) {
            size = ARENA_BLOCK;
        }

        block = malloc(sizeof(arena_block_t) + size);

        if (block == NULL) {
            return NULL;
        }

        block->size = size;
    }

    block->used = 0;

    if (block->size != ARENA_BLOCK && arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;

    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }

    return block;
}


char *
arena_copy(arena_t *arena, const char *s, size_t n)
{
    char  *p;

    p = arena_alloc(arena, n + 1);

    if (p) {
        memcpy(p, s, n);
        p[n] = '\0';
    }

    return p;
}


void
arena_reset(arena_t *arena)
{
    arena_block_t  *block, *next;

    for (block = arena->blocks; block; block = next) {
        next = block->next;

        if (arena->kept == NULL && block->size == ARENA_BLOCK) {
            arena->kept = block;

        } else {
            free(block);
        }
    }

    arena->blocks = NULL;
}


void
arena_destroy(arena_t *arena)
{
    arena_reset(arena);

    free(arena->kept);
    arena->kept = NULL;
}
