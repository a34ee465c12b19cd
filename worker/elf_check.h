
/*
 * Is this file a shared object that this machine can load?  Checked without
 * mapping or loading it, by reading a private copy that nobody can change any
 * more: a truncated or foreign file must be refused before dlopen, where it
 * would be a SIGBUS.  Everything in the file is untrusted.
 */


#ifndef FAAS_ELF_CHECK_H_INCLUDED
#define FAAS_ELF_CHECK_H_INCLUDED


#include <stddef.h>


#define ELF_CHECK_WHY_SIZE  192


/*
 * Checks the regular file fd: magic, class and byte order, type ET_DYN,
 * machine, header sizes, every segment and section inside the file, no
 * overflow, a dynamic section and symbol table that stay inside it, and an
 * exported object symbol `faas_function` that is at least the head of a
 * descriptor.  0, or -1 with one line in why[ELF_CHECK_WHY_SIZE] that a user
 * understands: "truncated: segment 3 ends at byte 8192 of 4096".
 */
int elf_check(int fd, char *why);


#endif /* FAAS_ELF_CHECK_H_INCLUDED */
