
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


#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "elf_check.h"
#include "elf_file.h"


/* the least that segments are aligned to */
#define ELF_PAGE  4096


typedef struct {
    uint16_t                  machine;
    const char               *name;
} elf_machine_t;


static int elf_check_head(elf_t *e);
static int elf_check_kind(elf_t *e, const unsigned char *p, size_t n);
static int elf_check_machine(elf_t *e, const unsigned char *p);
static const char *elf_check_machine_name(uint16_t machine, char *buf,
    size_t n);
static int elf_check_type(elf_t *e);
static int elf_check_segments(elf_t *e);
static int elf_check_load_segment(elf_t *e, unsigned int i, uint64_t *end);
static int elf_check_segment(elf_t *e, unsigned int i);
static int elf_check_sections(elf_t *e);
static int elf_check_section(elf_t *e, const void *entry, uint64_t i);


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

    if (elf_check_head(&e) != 0
        || elf_check_segments(&e) != 0
        || elf_check_sections(&e) != 0
        || elf_dynamic_check(&e) != 0)
    {
        return -1;
    }

    return 0;
}


static int
elf_check_head(elf_t *e)
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
        return elf_check_kind(e, head, n);
    }

    if (n < sizeof(head)) {
        return elf_why(e, "truncated: the ELF header ends at byte %zu of %"
                       PRIu64, sizeof(head), e->size);
    }

    if (elf_check_machine(e, head) != 0) {
        return -1;
    }

    memcpy(&e->head, head, sizeof(Elf64_Ehdr));

    if (elf_check_type(e) != 0) {
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
elf_check_kind(elf_t *e, const unsigned char *p, size_t n)
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
elf_check_machine(elf_t *e, const unsigned char *p)
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
    name = elf_check_machine_name(machine, theirs, sizeof(theirs));

    if (p[EI_CLASS] != ELFCLASS64) {
        return elf_why(e, "a 32-bit object for %s, this machine needs 64-bit"
                       " for %s", name,
                       elf_check_machine_name(ELF_MACHINE, ours, sizeof(ours)));
    }

    if (machine != ELF_MACHINE || p[EI_DATA] != ELF_DATA) {
        return elf_why(e, "an object for %s%s, this machine is %s", name,
                       (p[EI_DATA] == ELF_DATA) ? ""
                       : " in the other byte order",
                       elf_check_machine_name(ELF_MACHINE, ours, sizeof(ours)));
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
elf_check_machine_name(uint16_t machine, char *buf, size_t n)
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
elf_check_type(elf_t *e)
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
elf_check_segments(elf_t *e)
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
            && elf_check_load_segment(e, i, &end) != 0)
        {
            return -1;
        }
    }

    if (end == 0) {
        return elf_why(e, "damaged: nothing to load");
    }

    for (i = 0; i < n; i++) {
        if (elf_check_segment(e, i) != 0) {
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
elf_check_load_segment(elf_t *e, unsigned int i, uint64_t *end)
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
elf_check_segment(elf_t *e, unsigned int i)
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
elf_check_sections(elf_t *e)
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

    if (elf_each(e, e->head.e_shoff, n, sizeof(Elf64_Shdr),
                 elf_check_section)
        != 0)
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
elf_check_section(elf_t *e, const void *entry, uint64_t i)
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
