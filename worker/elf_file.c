
/* Reading a file that is being checked.  See elf_file.h. */


#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "elf_check.h"
#include "elf_file.h"


/* bytes of a table read at once */
#define ELF_CHUNK  4096


int
elf_each(elf_t *e, uint64_t offset, uint64_t n, size_t size,
    elf_entry_pt look)
{
    int       rc;
    size_t    i, count;
    char      chunk[ELF_CHUNK] __attribute__((aligned(8)));
    uint64_t  done;

    memset(chunk, 0, sizeof(chunk));

    for (done = 0; done < n; done += count) {
        count = sizeof(chunk) / size;

        if (count > n - done) {
            count = (size_t) (n - done);
        }

        if (elf_read(e, offset + done * size, chunk, count * size) != 0) {
            return -1;
        }

        for (i = 0; i < count; i++) {
            rc = look(e, chunk + i * size, done + i);

            if (rc != 0) {
                return rc;
            }
        }
    }

    return 0;
}


int
elf_read(elf_t *e, uint64_t offset, void *buf, size_t n)
{
    char     *p;
    ssize_t   got;

    if (!elf_in_file(e, offset, n)) {
        return elf_why(e, "truncated: byte %" PRIu64 " of %" PRIu64
                       " is needed", offset + n, e->size);
    }

    for (p = buf; n > 0; p += got, n -= (size_t) got, offset += (size_t) got)
    {
        got = pread(e->fd, p, n, (off_t) offset);

        if (got == -1 && errno == EINTR) {
            got = 0;
            continue;
        }

        if (got == -1) {
            return elf_why(e, "cannot read the file: %s", strerror(errno));
        }

        if (got == 0) {
            return elf_why(e, "truncated while it was read");
        }
    }

    return 0;
}


int
elf_in_file(const elf_t *e, uint64_t offset, uint64_t n)
{
    return offset <= e->size && n <= e->size - offset;
}


int
elf_is_mapped(const elf_t *e, uint64_t address, uint64_t n, uint32_t flags)
{
    unsigned int       i;
    const Elf64_Phdr  *p;

    for (i = 0; i < e->head.e_phnum; i++) {
        p = &e->segment[i];

        if (p->p_type == PT_LOAD
            && address >= p->p_vaddr
            && address - p->p_vaddr <= p->p_memsz
            && n <= p->p_memsz - (address - p->p_vaddr))
        {
            return (p->p_flags & flags) == flags;
        }
    }

    return 0;
}


int
elf_offset(const elf_t *e, uint64_t address, uint64_t n, uint64_t *offset)
{
    unsigned int       i;
    const Elf64_Phdr  *p;

    for (i = 0; i < e->head.e_phnum; i++) {
        p = &e->segment[i];

        if (p->p_type == PT_LOAD
            && address >= p->p_vaddr
            && address - p->p_vaddr <= p->p_filesz
            && n <= p->p_filesz - (address - p->p_vaddr))
        {
            *offset = p->p_offset + (address - p->p_vaddr);
            return 0;
        }
    }

    return -1;
}


int
elf_why(elf_t *e, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(e->why, ELF_CHECK_WHY_SIZE, format, args);
    va_end(args);

    return -1;
}
