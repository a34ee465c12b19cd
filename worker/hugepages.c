
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hugepages.h"


#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE  25
#endif

#define HUGEPAGES_SIZE    (2ul * 1024 * 1024)

/* a smaller mapping is not worth it, a larger one is address space only */
#define HUGEPAGES_MAPPING_MIN  (4 * HUGEPAGES_SIZE)
#define HUGEPAGES_MAPPING_MAX  (32768 * HUGEPAGES_SIZE)


static int hugepages_are_wanted(void);
static size_t hugepages_mapping(uintptr_t start, uintptr_t end);
static size_t hugepages_run(uintptr_t start, uintptr_t end);
static int hugepages_is_resident(uintptr_t start);


size_t
hugepages_collapse(void)
{
    int         offset;
    char       *line, perms[8];
    FILE       *maps;
    size_t      size, total;
    uintptr_t   start, end;
    unsigned    inode;

    maps = fopen("/proc/self/maps", "re");
    if (maps == NULL) {
        return 0;
    }

    line = NULL;
    size = 0;
    total = 0;

    while (getline(&line, &size, maps) != -1) {

        if (sscanf(line, "%lx-%lx %7s %*s %*s %u %n", &start, &end, perms,
                   &inode, &offset) != 4)
        {
            continue;
        }

        if (end - start < HUGEPAGES_MAPPING_MIN
            || end - start > HUGEPAGES_MAPPING_MAX || inode != 0
            || strcmp(perms, "rw-p") != 0
            || strncmp(line + offset, "[stack", 6) == 0)
        {
            continue;
        }

        if (total == 0 && !hugepages_are_wanted()) {
            break;
        }

        total += hugepages_mapping(start, end);
    }

    free(line);
    (void) fclose(maps);

    return total;
}


/* MADV_COLLAPSE itself does not ask */

static int
hugepages_are_wanted(void)
{
    char     text[64];
    FILE    *file;
    size_t   n;

    file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (file == NULL) {
        return 0;
    }

    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';

    (void) fclose(file);

    return strstr(text, "[never]") == NULL;
}


/* in runs as long as can be: each call has the kernel empty all its caches */

static size_t
hugepages_mapping(uintptr_t start, uintptr_t end)
{
    size_t     total;
    uintptr_t  p, run;

    total = 0;
    run = (start + HUGEPAGES_SIZE - 1) & ~(HUGEPAGES_SIZE - 1);

    for (p = run; p < end && end - p >= HUGEPAGES_SIZE; p += HUGEPAGES_SIZE) {

        if (hugepages_is_resident(p)) {
            continue;
        }

        total += hugepages_run(run, p);
        run = p + HUGEPAGES_SIZE;
    }

    return total + hugepages_run(run, p);
}


static size_t
hugepages_run(uintptr_t start, uintptr_t end)
{
    if (end <= start
        || madvise((void *) start, end - start, MADV_COLLAPSE) == -1)
    {
        return 0;
    }

    return end - start;
}


/* a page that was never touched would get memory */

static int
hugepages_is_resident(uintptr_t start)
{
    size_t         i, pages;
    unsigned char  resident[HUGEPAGES_SIZE / 4096];

    pages = HUGEPAGES_SIZE / (size_t) sysconf(_SC_PAGESIZE);

    if (mincore((void *) start, HUGEPAGES_SIZE, resident) == -1) {
        return 0;
    }

    for (i = 0; i < pages; i++) {

        if (!(resident[i] & 1)) {
            return 0;
        }
    }

    return 1;
}
