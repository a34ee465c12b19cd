/* objects: worker/elf_check.c worker/elf_dynamic.c worker/elf_file.c */
/* objects: worker/watch.c */

/*
 * Files in the functions directory: their names, and whether they are a
 * shared object that can be loaded.  What is accepted has all its segments in
 * the file.
 */


#include "fuzz.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "elf_check.h"
#include "watch.h"


static void
names(const uint8_t *data, size_t size)
{
    char      file[256], name[64], label[64], database[64];
    unsigned  number;

    if (size >= sizeof(file)) {
        return;
    }

    memcpy(file, data, size);
    file[size] = '\0';

    if (watch_parse_name(file, name, label) == 0) {
        must(strlen(name) > 0 && strlen(name) < 64 && strlen(label) < 64);
    }

    if (watch_parse_sql(file, name, database, &number) == 0) {
        must(strlen(name) > 0 && strlen(database) > 0 && number > 0);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int          i;
    char         why[ELF_CHECK_WHY_SIZE];
    Elf64_Ehdr   head;
    Elf64_Phdr   segment;
    static int   fd = -1;

    names(data, size);

    if (fd == -1) {
        fd = memfd_create("elf", MFD_CLOEXEC);
        must(fd != -1);
    }

    must(ftruncate(fd, 0) == 0);
    must(pwrite(fd, data, size, 0) == (ssize_t) size);

    memset(why, 'x', sizeof(why));

    if (elf_check(fd, why) != 0) {
        must(memchr(why, '\0', sizeof(why)) != NULL && why[0] != '\0');
        must(strchr(why, '\n') == NULL);
        return 0;
    }

    must(size >= sizeof(head));
    memcpy(&head, data, sizeof(head));

    for (i = 0; i < head.e_phnum; i++) {
        must(head.e_phoff + (size_t) (i + 1) * sizeof(segment) <= size);
        memcpy(&segment, data + head.e_phoff + (size_t) i * sizeof(segment),
               sizeof(segment));

        if (segment.p_type != PT_NULL) {
            must(segment.p_offset <= size
                 && segment.p_filesz <= size - segment.p_offset);
        }
    }

    return 0;
}
