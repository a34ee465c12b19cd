
/*
 * For tests of what needs a baas_scope_t: memory that is freed by
 * test_teardown(), SCOPE (ten seconds from now).  test_allocs is how many
 * allocations work still, -1: all.
 */


#ifndef BAAS_SCOPE_H_INCLUDED
#define BAAS_SCOPE_H_INCLUDED


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "baas.h"


#define TEST_HELPER  static __attribute__((unused))


typedef struct test_block_s  test_block_t;

struct test_block_s {
    test_block_t   *next;
    max_align_t     memory[];
};


static test_block_t  *test_blocks;
static long           test_allocs = -1;   /* so many work, -1: all */
static baas_scope_t   test_scope;


TEST_HELPER int64_t
test_monotonic_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


TEST_HELPER void *
test_alloc(void *data, size_t n)
{
    test_block_t  *block;

    (void) data;

    if (test_allocs == 0) {
        return NULL;
    }

    if (test_allocs > 0) {
        test_allocs--;
    }

    block = calloc(1, sizeof(test_block_t) + n);
    assert_non_null(block);

    block->next = test_blocks;
    test_blocks = block;

    return block->memory;
}


TEST_HELPER void
test_log(void *data, const char *line)
{
    (void) data;

    fprintf(stderr, "log: %s\n", line);
}


TEST_HELPER const baas_scope_t *
test_scope_of(int64_t ms)
{
    test_scope.deadline_ms = test_monotonic_ms() + ms;
    test_scope.request_id = "";
    test_scope.traceparent = "";
    test_scope.tracestate = "";
    test_scope.alloc = test_alloc;
    test_scope.log = test_log;

    return &test_scope;
}

#define SCOPE  test_scope_of(10000)


TEST_HELPER int
test_teardown(void **state)
{
    test_block_t  *block;

    (void) state;

    test_allocs = -1;

    while (test_blocks != NULL) {
        block = test_blocks;
        test_blocks = block->next;
        free(block);
    }

    return 0;
}


TEST_HELPER faas_bytes_t
test_bytes(const void *data, size_t size)
{
    faas_bytes_t  bytes;

    bytes.data = data;
    bytes.size = size;

    return bytes;
}

#define B(literal)  test_bytes(literal, sizeof(literal) - 1)
#define NONE        test_bytes(NULL, 0)


#endif /* BAAS_SCOPE_H_INCLUDED */
