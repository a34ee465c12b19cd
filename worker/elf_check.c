
/*
 * Is this file a shared object that this machine can load?
 *
 * What the dynamic loader believes without a look is looked at here: that
 * segments are in the file (or their pages are a SIGBUS), that the tables the
 * dynamic section points to are in the segments, that lists end, that what is
 * divided by is not zero.  Sections are of no use to the loader, but their
 * headers come last in most files, so they tell a copy that was cut short or
 * whose tail was never written.
 *
 * What cannot be seen from outside (code, the loader's own trouble with
 * symbol versions) is left to the process that loads the file, which can be
 * spared.
 *
 * Nothing is mapped: a file is read in pieces, each place checked against its
 * size first.
 */


#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf_check.h"


#if defined(__x86_64__)
#define ELF_MACHINE   EM_X86_64
#define ELF_RELATIVE  R_X86_64_RELATIVE
#elif defined(__aarch64__)
#define ELF_MACHINE   EM_AARCH64
#define ELF_RELATIVE  R_AARCH64_RELATIVE
#elif defined(__riscv) && __riscv_xlen == 64
#define ELF_MACHINE   EM_RISCV
#define ELF_RELATIVE  R_RISCV_RELATIVE
#elif defined(__powerpc64__)
#define ELF_MACHINE   EM_PPC64
#define ELF_RELATIVE  R_PPC64_RELATIVE
#elif defined(__s390x__)
#define ELF_MACHINE   EM_S390
#define ELF_RELATIVE  R_390_RELATIVE
#else
#error "the ELF machine of this platform is not known here"
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ELF_DATA      ELFDATA2LSB
#else
#define ELF_DATA      ELFDATA2MSB
#endif

#define ELF_SYMBOL        "faas_function"
#define ELF_SYMBOL_SIZE   16           /* abi, size, handler */

#define ELF_MAX_SEGMENTS  256
#define ELF_MAX_ADDRESS   (UINT64_C(1) << 47)
#define ELF_CHUNK         4096         /* bytes of a table read at once */
#define ELF_PAGE          4096


/* the one file that is being checked, on the stack of elf_check() */

typedef struct {
    int                       fd;
    uint64_t                  size;
    char                     *why;

    Elf64_Ehdr                head;
    Elf64_Phdr                segment[ELF_MAX_SEGMENTS];
    const Elf64_Phdr         *dynamic;

    /* the dynamic section: of each tag the value that came last, as the
       loader takes it; 0: absent */

    uint64_t                  tag[DT_NUM];
    uint64_t                  gnu_hash;
    uint64_t                  versym;
    uint64_t                  flags_1;
    uint64_t                  relatives;   /* relocations at the beginning
                                              that are relative */

    uint64_t                  symtab;      /* offset in the file */
    uint64_t                  strtab;      /* likewise */
    uint64_t                  nsymbols;
    unsigned int              described;   /* 1: faas_function is there */
} elf_t;


/* a table of fixed entries that the loader walks */

typedef struct {
    const char               *name;
    unsigned int              address;     /* DT_ */
    unsigned int              size;        /* DT_, in bytes */
    unsigned int              entry;       /* bytes */
} elf_table_t;


typedef struct {
    uint16_t                  machine;
    const char               *name;
} elf_machine_t;


/* looks at one entry of a table; 0, or -1 with why */
typedef int (*elf_entry_pt)(elf_t *e, const void *entry, uint64_t i);


static int elf_head(elf_t *e);
static int elf_no_elf(elf_t *e, const unsigned char *p, size_t n);
static int elf_foreign(elf_t *e, const unsigned char *p);
static int elf_type(elf_t *e);
static const char *elf_machine_name(uint16_t machine, char *buf, size_t n);
static int elf_segments(elf_t *e);
static int elf_segment(elf_t *e, unsigned int i);
static int elf_load_segment(elf_t *e, unsigned int i, uint64_t *end);
static int elf_sections(elf_t *e);
static int elf_section(elf_t *e, const void *entry, uint64_t i);
static int elf_dynamic(elf_t *e);
static int elf_dynamic_entry(elf_t *e, const void *entry, uint64_t i);
static int elf_string_entry(elf_t *e, const void *entry, uint64_t i);
static int elf_strings(elf_t *e);
static int elf_tables(elf_t *e);
static int elf_functions(elf_t *e);
static int elf_hash(elf_t *e);
static int elf_hash_value(elf_t *e, const void *entry, uint64_t i);
static int elf_gnu_hash(elf_t *e);
static int elf_symbols(elf_t *e);
static int elf_symbol(elf_t *e, const void *entry, uint64_t i);
static int elf_symbol_is_named(elf_t *e, const Elf64_Sym *symbol);
static int elf_relocations(elf_t *e);
static int elf_relocation(elf_t *e, const void *entry, uint64_t i);
static int elf_each(elf_t *e, uint64_t offset, uint64_t n, size_t size,
    elf_entry_pt look);
static int elf_read(elf_t *e, uint64_t offset, void *buf, size_t n);
static int elf_in_file(const elf_t *e, uint64_t offset, uint64_t n);
static int elf_is_mapped(const elf_t *e, uint64_t address, uint64_t n,
    uint32_t flags);
static int elf_offset(const elf_t *e, uint64_t address, uint64_t n,
    uint64_t *offset);
static int elf_why(elf_t *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


/* what elf_each() says when it was told to stop */
#define ELF_FOUND  1


static const elf_machine_t  elf_machine[] = {
    { EM_386, "Intel 80386" },
    { EM_X86_64, "x86-64" },
    { EM_ARM, "ARM" },
    { EM_AARCH64, "AArch64" },
    { EM_RISCV, "RISC-V" },
    { EM_PPC, "PowerPC" },
    { EM_PPC64, "PowerPC 64" },
    { EM_S390, "IBM S/390" },
    { EM_MIPS, "MIPS" },
    { EM_SPARC, "SPARC" },
    { EM_SPARCV9, "SPARC V9" },
    { EM_IA_64, "Itanium" },
    { EM_ALPHA, "Alpha" },
    { EM_68K, "Motorola 68000" },
    { EM_PARISC, "PA-RISC" },
    { EM_SH, "SuperH" },
    { EM_BPF, "BPF" },
    { 258, "LoongArch" }
};

#define ELF_MACHINES  (sizeof(elf_machine) / sizeof(elf_machine[0]))


static const elf_table_t  elf_table[] = {
    { "relocations", DT_RELA, DT_RELASZ, sizeof(Elf64_Rela) },
    { "jump relocations", DT_JMPREL, DT_PLTRELSZ, sizeof(Elf64_Rela) },
    { "constructors", DT_INIT_ARRAY, DT_INIT_ARRAYSZ, sizeof(Elf64_Addr) },
    { "destructors", DT_FINI_ARRAY, DT_FINI_ARRAYSZ, sizeof(Elf64_Addr) },
#ifdef DT_RELR
    { "relative relocations", DT_RELR, DT_RELRSZ, sizeof(Elf64_Relr) }
#endif
};

#define ELF_TABLES  (sizeof(elf_table) / sizeof(elf_table[0]))


int
elf_check(int fd, char *why)
{
    elf_t        e;
    struct stat  st;

    memset(&e, 0, sizeof(elf_t));
    e.fd = fd;
    e.why = why;
    why[0] = '\0';

    if (fstat(fd, &st) == -1) {
        return elf_why(&e, "fstat() failed: %s", strerror(errno));
    }

    if (!S_ISREG(st.st_mode)) {
        return elf_why(&e, "not a regular file");
    }

    e.size = (uint64_t) st.st_size;

    if (elf_head(&e) != 0
        || elf_segments(&e) != 0
        || elf_sections(&e) != 0
        || elf_dynamic(&e) != 0
        || elf_strings(&e) != 0
        || elf_tables(&e) != 0
        || elf_functions(&e) != 0
        || elf_hash(&e) != 0
        || elf_gnu_hash(&e) != 0
        || elf_symbols(&e) != 0
        || elf_relocations(&e) != 0)
    {
        return -1;
    }

    return 0;
}


static int
elf_head(elf_t *e)
{
    size_t          n;
    unsigned char   head[sizeof(Elf64_Ehdr)];

    if (e->size == 0) {
        return elf_why(e, "the file is empty");
    }

    n = (e->size < sizeof(head)) ? (size_t) e->size : sizeof(head);

    if (elf_read(e, 0, head, n) != 0) {
        return -1;
    }

    if (n < SELFMAG || memcmp(head, ELFMAG, SELFMAG) != 0) {
        return elf_no_elf(e, head, n);
    }

    if (n < sizeof(head)) {
        return elf_why(e, "truncated: the ELF header ends at byte %zu of %"
                       PRIu64, sizeof(head), e->size);
    }

    if (elf_foreign(e, head) != 0) {
        return -1;
    }

    memcpy(&e->head, head, sizeof(Elf64_Ehdr));

    if (elf_type(e) != 0) {
        return -1;
    }

    if (e->head.e_version != EV_CURRENT
        || e->head.e_ehsize != sizeof(Elf64_Ehdr)
        || e->head.e_phentsize != sizeof(Elf64_Phdr))
    {
        return elf_why(e, "damaged: version or sizes in the ELF header are"
                       " wrong");
    }

    return 0;
}


/* says what it is instead, as far as that is a mistake easily made */

static int
elf_no_elf(elf_t *e, const unsigned char *p, size_t n)
{
    size_t  i;

    if (n >= 8 && (memcmp(p, "!<arch>\n", 8) == 0
                   || memcmp(p, "!<thin>\n", 8) == 0))
    {
        return elf_why(e, "a static archive (.a), not a shared object: link"
                       " it with cc -shared");
    }

    if (n >= 2 && memcmp(p, "#!", 2) == 0) {
        return elf_why(e, "a script, not a shared object");
    }

    if (n >= 4 && memcmp(p, "BC\xc0\xde", 4) == 0) {
        return elf_why(e, "LLVM bitcode, not a shared object: link it with"
                       " cc -shared");
    }

    if (n >= 2 && memcmp(p, "MZ", 2) == 0) {
        return elf_why(e, "a Windows program, not an ELF shared object");
    }

    if (n >= 4 && (memcmp(p, "\xcf\xfa\xed\xfe", 4) == 0
                   || memcmp(p, "\xca\xfe\xba\xbe", 4) == 0))
    {
        return elf_why(e, "a Mach-O file, not an ELF shared object");
    }

    for (i = 0; i < n; i++) {
        if ((p[i] < 0x20 && p[i] != '\n' && p[i] != '\t' && p[i] != '\r'
             && p[i] != '\f')
            || p[i] == 0x7f)
        {
            return elf_why(e, "not an ELF file");
        }
    }

    return elf_why(e, "a text file, not a shared object");
}


/* the identification, and a machine that is not this one */

static int
elf_foreign(elf_t *e, const unsigned char *p)
{
    int          little;
    char         ours[32], theirs[32];
    uint16_t     machine;
    const char  *name;

    little = (p[EI_DATA] == ELFDATA2LSB);

    if (p[EI_VERSION] != EV_CURRENT
        || (!little && p[EI_DATA] != ELFDATA2MSB)
        || (p[EI_CLASS] != ELFCLASS32 && p[EI_CLASS] != ELFCLASS64))
    {
        return elf_why(e, "damaged: no known ELF class, byte order and"
                       " version");
    }

    machine = (uint16_t) (little ? p[18] | p[19] << 8 : p[18] << 8 | p[19]);
    name = elf_machine_name(machine, theirs, sizeof(theirs));

    if (p[EI_CLASS] != ELFCLASS64) {
        return elf_why(e, "a 32-bit object for %s, this machine needs 64-bit"
                       " for %s", name,
                       elf_machine_name(ELF_MACHINE, ours, sizeof(ours)));
    }

    if (machine != ELF_MACHINE || p[EI_DATA] != ELF_DATA) {
        return elf_why(e, "an object for %s%s, this machine is %s", name,
                       (p[EI_DATA] == ELF_DATA) ? ""
                       : " in the other byte order",
                       elf_machine_name(ELF_MACHINE, ours, sizeof(ours)));
    }

    if (p[EI_OSABI] != ELFOSABI_SYSV && p[EI_OSABI] != ELFOSABI_GNU) {
        return elf_why(e, "an object for another operating system"
                       " (ELF OS ABI %u)", p[EI_OSABI]);
    }

    if (p[EI_ABIVERSION] != 0) {
        return elf_why(e, "an object for an unknown ABI version (%u)",
                       p[EI_ABIVERSION]);
    }

    return 0;
}


static const char *
elf_machine_name(uint16_t machine, char *buf, size_t n)
{
    size_t  i;

    for (i = 0; i < ELF_MACHINES; i++) {
        if (elf_machine[i].machine == machine) {
            return elf_machine[i].name;
        }
    }

    (void) snprintf(buf, n, "machine number %u", machine);

    return buf;
}


static int
elf_type(elf_t *e)
{
    switch (e->head.e_type) {

    case ET_DYN:
        return 0;

    case ET_REL:
        return elf_why(e, "an object file (.o), not a shared object: link it"
                       " with cc -shared");

    case ET_EXEC:
        return elf_why(e, "an executable, not a shared object: link it with"
                       " cc -shared");

    case ET_CORE:
        return elf_why(e, "a core dump, not a shared object");

    default:
        return elf_why(e, "not a shared object (ELF type %u)",
                       e->head.e_type);
    }
}


static int
elf_segments(elf_t *e)
{
    uint64_t      n, end;
    unsigned int  i;

    n = e->head.e_phnum;

    if (n == 0) {
        return elf_why(e, "damaged: no segments");
    }

    if (n > ELF_MAX_SEGMENTS) {
        return elf_why(e, "damaged: %" PRIu64 " segments", n);
    }

    if (!elf_in_file(e, e->head.e_phoff, n * sizeof(Elf64_Phdr))) {
        return elf_why(e, "truncated: the segment table at byte %" PRIu64
                       " is not inside %" PRIu64, (uint64_t) e->head.e_phoff,
                       e->size);
    }

    if (elf_read(e, e->head.e_phoff, e->segment,
                 (size_t) n * sizeof(Elf64_Phdr))
        != 0)
    {
        return -1;
    }

    end = 0;

    for (i = 0; i < n; i++) {
        if (e->segment[i].p_type == PT_LOAD
            && elf_load_segment(e, i, &end) != 0)
        {
            return -1;
        }
    }

    if (end == 0) {
        return elf_why(e, "damaged: nothing to load");
    }

    for (i = 0; i < n; i++) {
        if (elf_segment(e, i) != 0) {
            return -1;
        }
    }

    if (e->dynamic == NULL) {
        return elf_why(e, "no dynamic section: not linked with cc -shared");
    }

    return 0;
}


/* *end: where the one before ends in memory */

static int
elf_load_segment(elf_t *e, unsigned int i, uint64_t *end)
{
    const Elf64_Phdr  *p;

    p = &e->segment[i];

    if (!elf_in_file(e, p->p_offset, p->p_filesz)) {
        return elf_why(e, "truncated: segment %u ends at byte %" PRIu64
                       " of %" PRIu64, i,
                       (uint64_t) (p->p_offset + p->p_filesz), e->size);
    }

    if (p->p_memsz == 0) {
        return 0;
    }

    if (p->p_filesz > p->p_memsz
        || p->p_vaddr >= ELF_MAX_ADDRESS
        || p->p_memsz > ELF_MAX_ADDRESS - p->p_vaddr)
    {
        return elf_why(e, "damaged: size or address of segment %u", i);
    }

    if (p->p_vaddr < *end) {
        return elf_why(e, "damaged: segment %u is not behind the one before",
                       i);
    }

    if ((p->p_align & (p->p_align - 1)) != 0
        || p->p_align < ELF_PAGE
        || p->p_align > ELF_MAX_ADDRESS
        || ((p->p_vaddr - p->p_offset) & (p->p_align - 1)) != 0)
    {
        return elf_why(e, "damaged: alignment of segment %u", i);
    }

    *end = p->p_vaddr + p->p_memsz;

    return 0;
}


static int
elf_segment(elf_t *e, unsigned int i)
{
    uint64_t           n, offset;
    const Elf64_Phdr  *p;

    p = &e->segment[i];

    /* of what is not loaded only what somebody looks at must be there */

    if (p->p_type != PT_LOAD && !elf_in_file(e, p->p_offset, p->p_filesz)) {
        return elf_why(e, "truncated: segment %u ends at byte %" PRIu64
                       " of %" PRIu64, i,
                       (uint64_t) (p->p_offset + p->p_filesz), e->size);
    }

    switch (p->p_type) {

    case PT_INTERP:
        return elf_why(e, "an executable, not a shared object: link it with"
                       " cc -shared");

    case PT_DYNAMIC:
        if (e->dynamic != NULL) {
            return elf_why(e, "damaged: two dynamic sections");
        }

        e->dynamic = p;
        n = p->p_memsz;

        if (p->p_filesz != n || n == 0) {
            return elf_why(e, "damaged: size of the dynamic section");
        }

        break;

    case PT_TLS:
        if (p->p_filesz > p->p_memsz
            || p->p_memsz > ELF_MAX_ADDRESS
            || (p->p_align & (p->p_align - 1)) != 0
            || p->p_align > ELF_PAGE * 16)
        {
            return elf_why(e, "damaged: thread-local segment %u", i);
        }

        /* the rest of it is in no segment */

        n = p->p_filesz;
        break;

    case PT_GNU_RELRO:

        /* its end may be rounded up to a page that is mapped in part */

        if (p->p_memsz > 0 && !elf_is_mapped(e, p->p_vaddr, 1, 0)) {
            return elf_why(e, "damaged: segment %u is not loaded", i);
        }

        return 0;

    case PT_NOTE:
    case PT_GNU_PROPERTY:
    case PT_GNU_EH_FRAME:
        n = p->p_memsz;
        break;

    default:
        return 0;
    }

    if (n == 0) {
        return 0;
    }

    if (elf_offset(e, p->p_vaddr, n, &offset) != 0 || offset != p->p_offset) {
        return elf_why(e, "damaged: segment %u is not loaded", i);
    }

    return 0;
}


static int
elf_sections(elf_t *e)
{
    uint64_t    n;
    Elf64_Shdr  first, names;

    n = e->head.e_shnum;

    if (e->head.e_shoff == 0) {
        return (n == 0) ? 0 : elf_why(e, "damaged: no section table");
    }

    if (e->head.e_shentsize != sizeof(Elf64_Shdr)) {
        return elf_why(e, "damaged: size of a section header");
    }

    if (!elf_in_file(e, e->head.e_shoff, (n ? n : 1) * sizeof(Elf64_Shdr))) {
        return elf_why(e, "truncated: the section table at byte %" PRIu64
                       " is not inside %" PRIu64, (uint64_t) e->head.e_shoff,
                       e->size);
    }

    if (elf_read(e, e->head.e_shoff, &first, sizeof(Elf64_Shdr)) != 0) {
        return -1;
    }

    if (first.sh_type != SHT_NULL) {
        return elf_why(e, "damaged: no section table where it should be");
    }

    /* numbers that do not fit into the header are in the first section */

    if (n == 0) {
        n = first.sh_size;

        if (n > e->size / sizeof(Elf64_Shdr)
            || !elf_in_file(e, e->head.e_shoff, n * sizeof(Elf64_Shdr)))
        {
            return elf_why(e, "truncated: %" PRIu64 " sections", n);
        }
    }

    if (elf_each(e, e->head.e_shoff, n, sizeof(Elf64_Shdr), elf_section) != 0)
    {
        return -1;
    }

    /* the names come last in most files: zeroes there are a tail that was
       never written */

    if (e->head.e_shstrndx == SHN_UNDEF || e->head.e_shstrndx == SHN_XINDEX) {
        return 0;
    }

    if (e->head.e_shstrndx >= n) {
        return elf_why(e, "damaged: no section %u", e->head.e_shstrndx);
    }

    if (elf_read(e, e->head.e_shoff
                 + e->head.e_shstrndx * sizeof(Elf64_Shdr), &names,
                 sizeof(Elf64_Shdr))
        != 0)
    {
        return -1;
    }

    if (names.sh_type != SHT_STRTAB) {
        return elf_why(e, "damaged: section %u does not hold the names of"
                       " sections, the file's end may be missing",
                       e->head.e_shstrndx);
    }

    return 0;
}


static int
elf_section(elf_t *e, const void *entry, uint64_t i)
{
    const Elf64_Shdr  *s;

    s = entry;

    if (s->sh_type == SHT_NULL || s->sh_type == SHT_NOBITS) {
        return 0;
    }

    if (!elf_in_file(e, s->sh_offset, s->sh_size)) {
        return elf_why(e, "truncated: section %" PRIu64 " ends at byte %"
                       PRIu64 " of %" PRIu64, i,
                       (uint64_t) (s->sh_offset + s->sh_size), e->size);
    }

    return 0;
}


static int
elf_dynamic(elf_t *e)
{
    int  rc;

    rc = elf_each(e, e->dynamic->p_offset,
                  e->dynamic->p_filesz / sizeof(Elf64_Dyn), sizeof(Elf64_Dyn),
                  elf_dynamic_entry);

    if (rc == -1) {
        return -1;
    }

    if (rc != ELF_FOUND) {
        return elf_why(e, "damaged: the dynamic section has no end");
    }

    if (e->flags_1 & DF_1_PIE) {
        return elf_why(e, "an executable, not a shared object: link it with"
                       " cc -shared");
    }

    if (e->tag[DT_SYMTAB] == 0 || e->tag[DT_STRTAB] == 0
        || (e->gnu_hash == 0 && e->tag[DT_HASH] == 0))
    {
        return elf_why(e, "damaged: the dynamic section names no symbols,"
                       " strings or hash table");
    }

    if (e->tag[DT_SYMENT] != sizeof(Elf64_Sym)
        || (e->tag[DT_RELA] != 0
            && e->tag[DT_RELAENT] != sizeof(Elf64_Rela))
        || (e->tag[DT_JMPREL] != 0 && e->tag[DT_PLTREL] != DT_RELA)
        || e->tag[DT_REL] != 0)
    {
        return elf_why(e, "damaged: sizes of entries in the dynamic section");
    }

    return 0;
}


static int
elf_dynamic_entry(elf_t *e, const void *entry, uint64_t i)
{
    const Elf64_Dyn  *d;

    (void) i;

    d = entry;

    switch (d->d_tag) {

    case DT_NULL:
        return ELF_FOUND;

    case DT_GNU_HASH:
        e->gnu_hash = d->d_un.d_ptr;
        break;

    case DT_VERSYM:
        e->versym = d->d_un.d_ptr;
        break;

    case DT_RELACOUNT:
        e->relatives = d->d_un.d_val;
        break;

    case DT_FLAGS_1:
        e->flags_1 = d->d_un.d_val;
        break;

    default:
        if (d->d_tag > 0 && d->d_tag < DT_NUM) {
            e->tag[d->d_tag] = d->d_un.d_val;
        }

        break;
    }

    return 0;
}


/* the string table, and what the dynamic section takes from it */

static int
elf_strings(elf_t *e)
{
    int       rc;
    char      last;
    uint64_t  n;

    n = e->tag[DT_STRSZ];

    if (n == 0 || elf_offset(e, e->tag[DT_STRTAB], n, &e->strtab) != 0) {
        return elf_why(e, "damaged: the string table is not inside the"
                       " segments");
    }

    if (elf_read(e, e->strtab + n - 1, &last, 1) != 0) {
        return -1;
    }

    if (last != '\0') {
        return elf_why(e, "damaged: the string table does not end with a"
                       " zero");
    }

    rc = elf_each(e, e->dynamic->p_offset,
                  e->dynamic->p_filesz / sizeof(Elf64_Dyn), sizeof(Elf64_Dyn),
                  elf_string_entry);

    return (rc == -1) ? -1 : 0;
}


static int
elf_string_entry(elf_t *e, const void *entry, uint64_t i)
{
    const Elf64_Dyn  *d;

    d = entry;

    switch (d->d_tag) {

    case DT_NULL:
        return ELF_FOUND;

    case DT_NEEDED:
    case DT_SONAME:
    case DT_RPATH:
    case DT_RUNPATH:
    case DT_AUXILIARY:
    case DT_FILTER:
        if (d->d_un.d_val >= e->tag[DT_STRSZ]) {
            return elf_why(e, "damaged: entry %" PRIu64 " of the dynamic"
                           " section names no string", i);
        }

        break;

    default:
        break;
    }

    return 0;
}


static int
elf_tables(elf_t *e)
{
    size_t              i;
    uint64_t            n, address, offset;
    const elf_table_t  *t;

    for (i = 0; i < ELF_TABLES; i++) {
        t = &elf_table[i];

        address = e->tag[t->address];
        n = e->tag[t->size];

        if (address == 0 || n == 0) {
            continue;
        }

        if (n % t->entry != 0 || elf_offset(e, address, n, &offset) != 0) {
            return elf_why(e, "damaged: the table of %s is not inside the"
                           " segments", t->name);
        }
    }

    return 0;
}


/* what is called at load and unload */

static int
elf_functions(elf_t *e)
{
    size_t  i;

    static const int  tag[] = { DT_INIT, DT_FINI };

    for (i = 0; i < 2; i++) {
        if (e->tag[tag[i]] != 0
            && !elf_is_mapped(e, e->tag[tag[i]], 1, PF_X))
        {
            return elf_why(e, "damaged: the %s function is not inside the"
                           " code", (tag[i] == DT_INIT) ? "init" : "fini");
        }
    }

    return 0;
}


static int
elf_hash(elf_t *e)
{
    uint64_t  n, offset;
    uint32_t  head[2];             /* buckets, chains (one for each symbol) */

    if (e->tag[DT_HASH] == 0) {
        return 0;
    }

    if (elf_offset(e, e->tag[DT_HASH], sizeof(head), &offset) != 0) {
        goto damaged;
    }

    if (elf_read(e, offset, head, sizeof(head)) != 0) {
        return -1;
    }

    n = (uint64_t) head[0] + head[1];

    if (head[0] == 0
        || elf_offset(e, e->tag[DT_HASH], (n + 2) * sizeof(uint32_t), &offset)
           != 0)
    {
        goto damaged;
    }

    e->nsymbols = head[1];

    return elf_each(e, offset + sizeof(head), n, sizeof(uint32_t),
                    elf_hash_value);

damaged:

    return elf_why(e, "damaged: the hash table is not inside the segments");
}


static int
elf_hash_value(elf_t *e, const void *entry, uint64_t i)
{
    uint32_t  value;

    (void) i;

    memcpy(&value, entry, sizeof(value));

    if (value != 0 && value >= e->nsymbols) {
        return elf_why(e, "damaged: the hash table names no symbol");
    }

    return 0;
}


/*
 * nbuckets, first symbol, words of the bloom filter, its shift; the filter;
 * the buckets; a word for each symbol from the first on, of which bit 0 tells
 * the last one of a chain.  All chains end at the latest where the one that
 * begins last does, and there the symbols end too.
 */

static int
elf_gnu_hash(elf_t *e)
{
    size_t    i, count;
    uint32_t  head[4], last, chunk[ELF_CHUNK / sizeof(uint32_t)];
    uint64_t  n, done, address, offset;

    if (e->gnu_hash == 0) {
        return 0;
    }

    if (elf_offset(e, e->gnu_hash, sizeof(head), &offset) != 0) {
        goto damaged;
    }

    if (elf_read(e, offset, head, sizeof(head)) != 0) {
        return -1;
    }

    if (head[0] == 0 || head[2] == 0 || (head[2] & (head[2] - 1)) != 0
        || head[3] >= 64)
    {
        goto damaged;
    }

    address = e->gnu_hash + sizeof(head) + (uint64_t) head[2] * 8;
    n = (uint64_t) head[0] * sizeof(uint32_t);

    if (elf_offset(e, e->gnu_hash, address - e->gnu_hash + n, &offset) != 0
        || elf_offset(e, address, n, &offset) != 0)
    {
        goto damaged;
    }

    last = 0;

    for (done = 0; done < head[0]; done += count) {
        count = sizeof(chunk) / sizeof(uint32_t);

        if (count > head[0] - done) {
            count = (size_t) (head[0] - done);
        }

        if (elf_read(e, offset + done * sizeof(uint32_t), chunk,
                     count * sizeof(uint32_t))
            != 0)
        {
            return -1;
        }

        for (i = 0; i < count; i++) {

            if (chunk[i] != 0 && chunk[i] < head[1]) {
                goto damaged;
            }

            if (chunk[i] > last) {
                last = chunk[i];
            }
        }
    }

    if (last == 0) {

        /* nothing is exported */

        if (head[1] > e->nsymbols) {
            e->nsymbols = head[1];
        }

        return 0;
    }

    address += n + (uint64_t) (last - head[1]) * sizeof(uint32_t);

    do {
        if (elf_offset(e, address, sizeof(uint32_t), &offset) != 0) {
            goto damaged;
        }

        if (elf_read(e, offset, chunk, sizeof(uint32_t)) != 0) {
            return -1;
        }

        address += sizeof(uint32_t);
        last++;

    } while (!(chunk[0] & 1));

    if (last > e->nsymbols) {
        e->nsymbols = last;
    }

    return 0;

damaged:

    return elf_why(e, "damaged: the GNU hash table is not inside the"
                   " segments");
}


static int
elf_symbols(elf_t *e)
{
    uint64_t  offset;

    if (elf_offset(e, e->tag[DT_SYMTAB], e->nsymbols * sizeof(Elf64_Sym),
                   &e->symtab)
        != 0)
    {
        return elf_why(e, "damaged: the symbol table is not inside the"
                       " segments");
    }

    if (e->versym != 0
        && elf_offset(e, e->versym, e->nsymbols * sizeof(Elf64_Half), &offset)
           != 0)
    {
        return elf_why(e, "damaged: the symbols' versions are not inside the"
                       " segments");
    }

    if (elf_each(e, e->symtab, e->nsymbols, sizeof(Elf64_Sym), elf_symbol)
        != 0)
    {
        return -1;
    }

    if (!e->described) {
        return elf_why(e, "no descriptor: the symbol " ELF_SYMBOL " is not"
                       " exported, FAAS_FUNCTION(...) defines it");
    }

    return 0;
}


static int
elf_symbol(elf_t *e, const void *entry, uint64_t i)
{
    int               rc;
    const Elf64_Sym  *s;

    s = entry;

    if (s->st_name >= e->tag[DT_STRSZ]) {
        return elf_why(e, "damaged: symbol %" PRIu64 " has no name", i);
    }

    if (s->st_shndx == SHN_UNDEF || s->st_name == 0) {
        return 0;
    }

    rc = elf_symbol_is_named(e, s);

    if (rc != ELF_FOUND) {
        return rc;
    }

    if (ELF64_ST_TYPE(s->st_info) != STT_OBJECT
        || ELF64_ST_BIND(s->st_info) == STB_LOCAL
        || s->st_shndx == SHN_ABS)
    {
        return elf_why(e, "no descriptor: " ELF_SYMBOL " is not an exported"
                       " object, FAAS_FUNCTION(...) defines one");
    }

    if (s->st_size < ELF_SYMBOL_SIZE) {
        return elf_why(e, "no descriptor: " ELF_SYMBOL " has %" PRIu64
                       " bytes only", (uint64_t) s->st_size);
    }

    if (!elf_is_mapped(e, s->st_value, s->st_size, 0)) {
        return elf_why(e, "damaged: " ELF_SYMBOL " is not inside the"
                       " segments");
    }

    e->described = 1;

    return 0;
}


static int
elf_symbol_is_named(elf_t *e, const Elf64_Sym *symbol)
{
    char  name[sizeof(ELF_SYMBOL)];

    if (e->tag[DT_STRSZ] - symbol->st_name < sizeof(name)) {
        return 0;
    }

    if (elf_read(e, e->strtab + symbol->st_name, name, sizeof(name)) != 0) {
        return -1;
    }

    return (memcmp(name, ELF_SYMBOL, sizeof(name)) == 0) ? ELF_FOUND : 0;
}


static int
elf_relocations(elf_t *e)
{
    size_t    i;
    uint64_t  n, offset;

    /* the first two tables are relocations */

    for (i = 0; i < 2; i++) {
        n = e->tag[elf_table[i].size] / sizeof(Elf64_Rela);

        if (e->tag[elf_table[i].address] == 0) {
            n = 0;
        }

        if (i == 1) {
            e->relatives = 0;

        } else if (e->relatives > n) {
            return elf_why(e, "damaged: fewer relocations than counted");
        }

        if (n == 0) {
            continue;
        }

        if (elf_offset(e, e->tag[elf_table[i].address],
                       n * sizeof(Elf64_Rela), &offset)
            != 0)
        {
            return elf_why(e, "damaged: the table of %s is not inside the"
                           " segments", elf_table[i].name);
        }

        if (elf_each(e, offset, n, sizeof(Elf64_Rela), elf_relocation) != 0) {
            return -1;
        }
    }

    return 0;
}


static int
elf_relocation(elf_t *e, const void *entry, uint64_t i)
{
    const Elf64_Rela  *r;

    r = entry;

    if (i < e->relatives && ELF64_R_TYPE(r->r_info) != ELF_RELATIVE) {
        return elf_why(e, "damaged: relocation %" PRIu64 " is not relative",
                       i);
    }

    /* type 0 is none, on every machine */

    if (ELF64_R_TYPE(r->r_info) == 0) {
        return 0;
    }

    if (!elf_is_mapped(e, r->r_offset, 1, 0)
        || ELF64_R_SYM(r->r_info) >= e->nsymbols + (e->nsymbols == 0))
    {
        return elf_why(e, "damaged: relocation %" PRIu64 " is of no symbol or"
                       " place in the segments", i);
    }

    return 0;
}


/*
 * Calls look() for n entries of size bytes that begin at offset and are known
 * to be in the file, until it returns something else than 0, which is then
 * returned.
 */

static int
elf_each(elf_t *e, uint64_t offset, uint64_t n, size_t size,
    elf_entry_pt look)
{
    int       rc;
    size_t    i, count;
    char      chunk[ELF_CHUNK] __attribute__((aligned(8)));
    uint64_t  done;

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


static int
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


static int
elf_in_file(const elf_t *e, uint64_t offset, uint64_t n)
{
    return offset <= e->size && n <= e->size - offset;
}


/* 1: n bytes at address are memory of one segment that has these flags */

static int
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


/* where in the file n bytes at address come from; -1: not all of them do */

static int
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


static int
elf_why(elf_t *e, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(e->why, ELF_CHECK_WHY_SIZE, format, args);
    va_end(args);

    return -1;
}
