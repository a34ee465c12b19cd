
/*
 * Allocations that fail: the n-th from now, or all from then on.  A test that
 * includes this says which ones are meant:
 *
 *   libs: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
 *       those of the objects that it is linked with, also with sanitizers,
 *       which then say what was leaked
 *
 *   #define MEMORY_FAULTS_ALL before the include
 *       those of all libraries, too
 */


#ifndef MEMORY_FAULTS_H_INCLUDED
#define MEMORY_FAULTS_H_INCLUDED


#include <errno.h>
#include <stddef.h>


static struct {
    long  left;                   /* until one fails, -1: never */
    int   forever;                /* 1: all after it fail as well */
    int   failed;                 /* how many did */
} memory_faults = { -1, 0, 0 };


/* n: 0 is the next one, -1 none */

static void
memory_fails_at(long n, int forever)
{
    memory_faults.left = n;
    memory_faults.forever = forever;
    memory_faults.failed = 0;
}


static int
memory_fails(void)
{
    if (memory_faults.left < 0) {
        return 0;
    }

    if (memory_faults.left > 0) {
        memory_faults.left--;
        return 0;
    }

    if (!memory_faults.forever) {
        memory_faults.left = -1;
    }

    memory_faults.failed++;
    errno = ENOMEM;

    return 1;
}


#ifndef MEMORY_FAULTS_ALL

#define MEMORY_MALLOC   __wrap_malloc
#define MEMORY_CALLOC   __wrap_calloc
#define MEMORY_REALLOC  __wrap_realloc

#define memory_malloc   __real_malloc
#define memory_calloc   __real_calloc
#define memory_realloc  __real_realloc

#else

#define MEMORY_MALLOC   malloc
#define MEMORY_CALLOC   calloc
#define MEMORY_REALLOC  realloc

/* a sanitizer's free() takes what its own malloc() gave */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

#define memory_malloc   __interceptor_malloc
#define memory_calloc   __interceptor_calloc
#define memory_realloc  __interceptor_realloc

#else

#define memory_malloc   __libc_malloc
#define memory_calloc   __libc_calloc
#define memory_realloc  __libc_realloc

#endif

#endif


void *memory_malloc(size_t n);
void *memory_calloc(size_t n, size_t size);
void *memory_realloc(void *p, size_t n);
void *MEMORY_MALLOC(size_t n);
void *MEMORY_CALLOC(size_t n, size_t size);
void *MEMORY_REALLOC(void *p, size_t n);


__attribute__((visibility("default"))) void *
MEMORY_MALLOC(size_t n)
{
    return memory_fails() ? NULL : memory_malloc(n);
}


__attribute__((visibility("default"))) void *
MEMORY_CALLOC(size_t n, size_t size)
{
    return memory_fails() ? NULL : memory_calloc(n, size);
}


__attribute__((visibility("default"))) void *
MEMORY_REALLOC(void *p, size_t n)
{
    return memory_fails() ? NULL : memory_realloc(p, n);
}


#endif /* MEMORY_FAULTS_H_INCLUDED */
