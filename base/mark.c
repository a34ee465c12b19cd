
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mark.h"


volatile int *
mark_create(void)
{
    int           error;
    void         *page;
    size_t        size;
    volatile int *mark;

    size = (size_t) sysconf(_SC_PAGESIZE);

    page = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS,
                -1, 0);

    if (page == MAP_FAILED) {
        return NULL;
    }

    if (madvise(page, size, MADV_WIPEONFORK) == -1) {
        error = errno;
        (void) munmap(page, size);
        errno = error;
        return NULL;
    }

    mark = page;
    *mark = 1;

    return mark;
}


void
mark_destroy(volatile int *mark)
{
    if (mark) {
        (void) munmap((void *) mark, (size_t) sysconf(_SC_PAGESIZE));
    }
}
