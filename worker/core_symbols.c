
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core_symbols.h"


/* an object file larger than this has its names left out */
#define SYMBOLS_MAX  (256 * 1024 * 1024)


typedef struct {
    uint64_t                  value;
    uint64_t                  size;
    const char               *name;
} symbol_t;


static int symbols_find_module(struct dl_phdr_info *info, size_t size,
    void *data);
static void symbols_read(const unsigned char *file, size_t size);
static void symbols_take(const ElfW(Sym) *table, size_t n,
    const char *strings, size_t length);
static void symbols_text(char *dst, size_t size, const char *s);


static struct {
    char                      module[CORE_MODULE];
    uintptr_t                 base;
    uintptr_t                 first;       /* of its segments */
    uintptr_t                 last;
    symbol_t                 *symbol;
    size_t                    symbols;
    char                     *names;       /* of theirs; kept for good */
    uintptr_t                 own_first;   /* the zygote's own code */
    uintptr_t                 own_last;
} symbols;


/*
 * The file was checked by the supervisor before it was loaded; still, each
 * offset is bounded.  The copies of names are the process's own memory.
 */

void
core_symbols(int code, const char *name)
{
    void         *file;
    char          path[32];
    struct stat   st;

    memcpy(path, "/proc/self/fd/", 14);
    path[14] = '\0';

    (void) dl_iterate_phdr(symbols_find_module, path);

    symbols_text(symbols.module, sizeof(symbols.module) - 3, name);
    memcpy(symbols.module + strlen(symbols.module), ".so", 4);

    if (symbols.last == 0 || fstat(code, &st) == -1 || st.st_size <= 0
        || st.st_size > SYMBOLS_MAX)
    {
        return;
    }

    file = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, code, 0);

    if (file == MAP_FAILED) {
        return;
    }

    symbols_read(file, (size_t) st.st_size);

    (void) munmap(file, (size_t) st.st_size);
}


/* the object whose name begins as data says; and the first one, ours */

static int
symbols_find_module(struct dl_phdr_info *info, size_t size, void *data)
{
    uintptr_t          first, last, begin, end;
    ElfW(Half)         i;
    const ElfW(Phdr)  *p;

    (void) size;

    first = UINTPTR_MAX;
    last = 0;

    for (i = 0; i < info->dlpi_phnum; i++) {
        p = &info->dlpi_phdr[i];

        if (p->p_type != PT_LOAD) {
            continue;
        }

        begin = info->dlpi_addr + p->p_vaddr;
        end = begin + p->p_memsz;

        if (begin < first) {
            first = begin;
        }

        if (end > last) {
            last = end;
        }
    }

    if (info->dlpi_name == NULL || info->dlpi_name[0] == '\0') {

        if (symbols.own_last == 0) {
            symbols.own_first = first;
            symbols.own_last = last;
        }

    } else if (strncmp(info->dlpi_name, data, strlen(data)) == 0) {
        symbols.base = info->dlpi_addr;
        symbols.first = first;
        symbols.last = last;
    }

    return 0;
}


static void
symbols_read(const unsigned char *file, size_t size)
{
    size_t             i, chosen;
    const ElfW(Ehdr)  *header;
    const ElfW(Shdr)  *section, *strings;

    header = (const ElfW(Ehdr) *) file;

    if (size < sizeof(ElfW(Ehdr))
        || header->e_shentsize != sizeof(ElfW(Shdr))
        || header->e_shoff % sizeof(ElfW(Addr)) != 0
        || header->e_shoff > size
        || (size - header->e_shoff) / sizeof(ElfW(Shdr)) < header->e_shnum)
    {
        return;
    }

    section = (const ElfW(Shdr) *) (file + header->e_shoff);
    chosen = 0;

    for (i = 1; i < header->e_shnum; i++) {

        if (section[i].sh_type == SHT_SYMTAB
            || (section[i].sh_type == SHT_DYNSYM && chosen == 0))
        {
            chosen = i;
        }
    }

    if (chosen == 0 || section[chosen].sh_link >= header->e_shnum) {
        return;
    }

    section += chosen;
    strings = section - chosen + section->sh_link;

    if (section->sh_offset % sizeof(ElfW(Addr)) != 0
        || section->sh_offset > size
        || section->sh_size > size - section->sh_offset
        || strings->sh_offset > size
        || strings->sh_size > size - strings->sh_offset)
    {
        return;
    }

    symbols_take((const ElfW(Sym) *) (file + section->sh_offset),
                 section->sh_size / sizeof(ElfW(Sym)),
                 (const char *) file + strings->sh_offset,
                 strings->sh_size);
}


static void
symbols_take(const ElfW(Sym) *table, size_t n, const char *strings,
    size_t length)
{
    char      *copy;
    size_t     i;
    symbol_t  *s;

    copy = malloc(length + 1);
    symbols.symbol = calloc(n ? n : 1, sizeof(symbol_t));

    if (copy == NULL || symbols.symbol == NULL) {
        free(copy);
        free(symbols.symbol);
        symbols.symbol = NULL;
        return;
    }

    memcpy(copy, strings, length);
    copy[length] = '\0';
    symbols.names = copy;

    for (i = 0; i < n; i++) {

        if (ELF64_ST_TYPE(table[i].st_info) != STT_FUNC
            || table[i].st_shndx == SHN_UNDEF || table[i].st_name >= length)
        {
            continue;
        }

        s = &symbols.symbol[symbols.symbols++];
        s->value = table[i].st_value;
        s->size = table[i].st_size;
        s->name = copy + table[i].st_name;
    }
}


void
core_symbols_find(core_frame_t *frame, int is_return)
{
    size_t           i;
    uintptr_t        address;
    const symbol_t  *s;

    address = (uintptr_t) frame->address - (uintptr_t) (is_return != 0);

    if (address < symbols.first || address >= symbols.last) {
        return;
    }

    memcpy(frame->module, symbols.module, sizeof(frame->module));
    frame->offset = frame->address - symbols.base;
    address -= symbols.base;

    for (i = 0; i < symbols.symbols; i++) {
        s = &symbols.symbol[i];

        if (address >= s->value && address - s->value < s->size) {
            symbols_text(frame->symbol, sizeof(frame->symbol), s->name);
            frame->beyond = frame->offset - s->value;
            return;
        }
    }
}


/*
 * Frames of the handler are ours, that is of the zygote, or backtrace() of
 * libc's; the next one is the kernel's return from a signal, then comes where
 * it was met, wherever that is.
 */

int
core_symbols_skip(void *const *address, int n)
{
    int        i, last;
    uintptr_t  a;

    last = 0;

    for (i = 0; i < n && i < 8; i++) {
        a = (uintptr_t) address[i];

        if (a < symbols.own_first || a >= symbols.own_last) {
            break;
        }

        last = i + 1;
    }

    /* the kernel's */

    return last < n ? last + 1 : last;
}


void
core_symbols_library(core_frame_t *frame, const Dl_info *info)
{
    const char  *name;

    if (info->dli_fname != NULL) {
        name = strrchr(info->dli_fname, '/');
        symbols_text(frame->module, sizeof(frame->module),
                     name ? name + 1 : info->dli_fname);
        frame->offset = frame->address - (uintptr_t) info->dli_fbase;
    }

    if (info->dli_sname != NULL) {
        symbols_text(frame->symbol, sizeof(frame->symbol), info->dli_sname);
        frame->beyond = frame->address - (uintptr_t) info->dli_saddr;
    }
}


static void
symbols_text(char *dst, size_t size, const char *s)
{
    size_t  n;

    n = strnlen(s, size - 1);
    memcpy(dst, s, n);
    dst[n] = '\0';
}
