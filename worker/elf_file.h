
/*
 * A file that is being checked for what elf_check.h says: what of it is known
 * so far, and reading it in pieces.  Each place is looked at against the
 * file's size, or the segments, before it is read; nothing is mapped.
 */


#ifndef ELF_FILE_H_INCLUDED
#define ELF_FILE_H_INCLUDED


#include <elf.h>
#include <stddef.h>
#include <stdint.h>


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


#define ELF_MAX_SEGMENTS  256
#define ELF_MAX_ADDRESS   (UINT64_C(1) << 47)


/* the one file that is being checked, on the stack of elf_check() */

typedef struct {
    int                       fd;          /* the caller's */
    uint64_t                  size;        /* of the file, bytes */
    char                     *why;         /* of ELF_CHECK_WHY_SIZE */

    Elf64_Ehdr                head;
    Elf64_Phdr                segment[ELF_MAX_SEGMENTS];  /* head.e_phnum */
    const Elf64_Phdr         *dynamic;     /* one of them */

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
    uint64_t                  nsymbols;    /* as the hash tables tell */
    unsigned int              described;   /* 1: faas_function is there */
} elf_t;


/* looks at one entry of a table: 0, ELF_FOUND to end the walk, -1 with why */
typedef int (*elf_entry_pt)(elf_t *e, const void *entry, uint64_t i);

#define ELF_FOUND  1


/*
 * Calls look() for n entries of size bytes that begin at offset, until it
 * returns something else than 0, which is then returned.
 */
int elf_each(elf_t *e, uint64_t offset, uint64_t n, size_t size,
    elf_entry_pt look);

/* n bytes at offset; 0, or -1 with why */
int elf_read(elf_t *e, uint64_t offset, void *buf, size_t n);

/* 1 when n bytes at offset are inside the file */
int elf_in_file(const elf_t *e, uint64_t offset, uint64_t n);

/* 1 when n bytes at address are memory of one segment with these flags */
int elf_is_mapped(const elf_t *e, uint64_t address, uint64_t n,
    uint32_t flags);

/* where in the file n bytes at address come from: 0; -1: not all of them do */
int elf_offset(const elf_t *e, uint64_t address, uint64_t n,
    uint64_t *offset);

/* writes the reason, always returns -1 */
int elf_why(elf_t *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


/*
 * The second half of the check, after the segments: the dynamic section, and
 * all that it leads to.  0, or -1 with why.
 */
int elf_dynamic_check(elf_t *e);


#endif /* ELF_FILE_H_INCLUDED */
