
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "process_mark.h"


static uint64_t process_mark_slow(void);
static uint64_t process_mark_new(void);


/* the first bytes of the page: 0 in a process that has not asked yet */
static uint64_t  *process_mark_page;


uint64_t
process_mark(void)
{
    if (process_mark_page != NULL && *process_mark_page != 0) {
        return *process_mark_page;
    }

    return process_mark_slow();
}


static uint64_t
process_mark_slow(void)
{
    void  *page;

    if (process_mark_page == NULL) {
        page = mmap(NULL, (size_t) getpagesize(), PROT_READ|PROT_WRITE,
                    MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

        if (page == MAP_FAILED) {
            return (uint64_t) getpid();
        }

        if (madvise(page, (size_t) getpagesize(), MADV_WIPEONFORK) == -1) {

            /* before Linux 4.14: the pid has to do, asked for each time */

            munmap(page, (size_t) getpagesize());
            return (uint64_t) getpid();
        }

        process_mark_page = page;
    }

    *process_mark_page = process_mark_new();

    return *process_mark_page;
}


/* chance; its highest bit makes it differ from every plain pid */

static uint64_t
process_mark_new(void)
{
    uint64_t         mark;
    struct timespec  ts;

    if (getrandom(&mark, sizeof(mark), GRND_NONBLOCK) != sizeof(mark)) {
        clock_gettime(CLOCK_MONOTONIC, &ts);
        mark = (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
        mark ^= (uint64_t) getpid() << 32;
    }

    return mark | (1ull << 63);
}
