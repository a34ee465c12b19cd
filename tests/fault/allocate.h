
/*
 * For what is preloaded and stands before the program's malloc(): who is asked
 * next, the C library or a sanitizer, whose free() takes only what is its own.
 */


#ifndef ALLOCATE_H_INCLUDED
#define ALLOCATE_H_INCLUDED


#include <stddef.h>


#define ALLOCATE_WEAK  __attribute__((weak))

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

extern ALLOCATE_WEAK void *__interceptor_malloc(size_t n);
extern ALLOCATE_WEAK void *__interceptor_calloc(size_t n, size_t size);
extern ALLOCATE_WEAK void *__interceptor_realloc(void *p, size_t n);
extern ALLOCATE_WEAK void *__interceptor_memalign(size_t alignment, size_t n);

/* ALLOCATE_NEXT(malloc)(n) */

#define ALLOCATE_NEXT(call)                                                   \
    (__interceptor_##call ? __interceptor_##call : __libc_##call)


/* a sanitizer that is not the first in line ends, unless it is meant so */

extern const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *
__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}


#endif /* ALLOCATE_H_INCLUDED */
