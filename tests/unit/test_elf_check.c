/* objects: worker/elf_check.c worker/elf_dynamic.c worker/elf_file.c */

/*
 * What may be given to dlopen: a function built by the machine's compiler
 * passes, everything else is refused with its reason, and nothing that a file
 * may hold makes the check itself misbehave.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "elf_check.h"


static char            directory[64];
static unsigned char  *good;               /* the bytes of a good function */
static size_t          size;
static char            why[ELF_CHECK_WHY_SIZE];
static uint32_t        seed = 20231123;


static const char  source[] =
    "#include <stdio.h>\n"
    "#include <stdlib.h>\n"
    "typedef struct { unsigned abi, size; int (*handler)(void *);\n"
    "    const char *text; } descriptor_t;\n"
    "static int n;\n"
    "static char *table[] = { \"one\", \"two\", \"three\" };\n"
    "static char bss[100000];\n"
    "__thread int per_thread = 4;\n"
    "__attribute__((constructor)) static void made(void) { n = 1; }\n"
    "__attribute__((destructor)) static void gone(void) { n = 0; }\n"
    "static int hello(void *r) { per_thread++; bss[n]++;\n"
    "    return printf(\"%s %p\", table[n], r); }\n"
    "__attribute__((visibility(\"default\")))\n"
    "const descriptor_t faas_function = { 1, 24, hello, \"GET /hello\" };\n";


static uint32_t
roll(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed % n;
}


/* compiles text with options into name; returns 0 when the compiler can */

static int
compile(const char *name, const char *text, const char *options)
{
    FILE        *f;
    char         command[1024];
    const char  *cc;

    snprintf(command, sizeof(command), "%s/source.c", directory);
    f = fopen(command, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);

    cc = getenv("CC");
    snprintf(command, sizeof(command),
             "%s %s -o %s/%s %s/source.c >/dev/null 2>&1",
             (cc != NULL && *cc != '\0') ? cc : "cc", options, directory,
             name, directory);

    return system(command);
}


static int
check_file(const char *name)
{
    int   fd, rc;
    char  path[256];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_RDONLY);
    assert_true(fd != -1);

    why[0] = 'x';
    rc = elf_check(fd, why);
    close(fd);

    assert_true(rc == 0 || rc == -1);
    assert_true((rc == 0) == (why[0] == '\0'));
    assert_true(strlen(why) < ELF_CHECK_WHY_SIZE - 1);

    return rc;
}


static int
check(const void *data, size_t n)
{
    int   rc;
    static int  fd = -1;

    if (fd == -1) {
        fd = memfd_create("elf", MFD_CLOEXEC);
        assert_true(fd != -1);
    }

    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, data, n, 0), n);

    why[0] = 'x';
    rc = elf_check(fd, why);

    assert_true(rc == 0 || rc == -1);
    assert_true((rc == 0) == (why[0] == '\0'));

    return rc;
}


static void
refused(const void *data, size_t n, const char *reason)
{
    assert_int_equal(check(data, n), -1);

    if (strstr(why, reason) == NULL) {
        fail_msg("refused with \"%s\", not \"%s\"", why, reason);
    }
}


static void
refused_file(const char *name, const char *reason)
{
    if (check_file(name) != -1 || strstr(why, reason) == NULL) {
        fail_msg("%s: \"%s\", not \"%s\"", name, why, reason);
    }
}


static unsigned char *
copy(void)
{
    unsigned char  *p;

    p = malloc(size);
    assert_non_null(p);
    memcpy(p, good, size);

    return p;
}


static int
setup(void **state)
{
    int          fd;
    char         path[128];
    struct stat  st;

    (void) state;

    strcpy(directory, "/tmp/faas_test_elf.XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(compile("good.so", source, "-shared -fPIC -O1"), 0);

    snprintf(path, sizeof(path), "%s/good.so", directory);
    fd = open(path, O_RDONLY);
    assert_true(fd != -1);
    assert_int_equal(fstat(fd, &st), 0);
    size = (size_t) st.st_size;
    good = malloc(size);
    assert_non_null(good);
    assert_int_equal(read(fd, good, size), size);
    close(fd);

    return 0;
}


static int
teardown(void **state)
{
    char  command[128];

    (void) state;

    free(good);
    snprintf(command, sizeof(command), "rm -r %s", directory);

    return system(command);
}


static void
test_function_of_this_machine_is_accepted(void **state)
{
    size_t  i;
    char    command[256];

    static const char *const  options[] = {
        "-shared -fPIC",
        "-shared -fPIC -O2 -g",
        "-shared -fPIC -s",
        "-shared -fPIC -Wl,--hash-style=sysv",
        "-shared -fPIC -Wl,--hash-style=both",
        "-shared -fPIC -Wl,-z,now -Wl,-z,relro",
        "-shared -fPIC -Wl,-z,norelro -Wl,-z,lazy",
        "-shared -fPIC -Wl,-z,noseparate-code",
        "-shared -fPIC -Wl,-z,max-page-size=65536",
        "-shared -fPIC -Wl,-z,max-page-size=2097152",
        "-shared -fPIC -fvisibility=hidden",
        "-shared -fPIC -flto"
    };

    /* linkers that may not be there */

    static const char *const  optional[] = {
        "-shared -fPIC -fuse-ld=gold",
        "-shared -fPIC -fuse-ld=lld",
        "-shared -fPIC -fuse-ld=mold",
        "-shared -fPIC -Wl,-z,pack-relative-relocs"
    };

    (void) state;

    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        assert_int_equal(compile("f.so", source, options[i]), 0);

        if (check_file("f.so") != 0) {
            fail_msg("%s: %s", options[i], why);
        }
    }

    for (i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
        if (compile("f.so", source, optional[i]) == 0
            && check_file("f.so") != 0)
        {
            fail_msg("%s: %s", optional[i], why);
        }
    }

    /* without a section table at all */

    snprintf(command, sizeof(command), "objcopy --strip-section-headers"
             " %s/good.so %s/f.so 2>/dev/null", directory, directory);

    if (system(command) == 0) {
        assert_int_equal(check_file("f.so"), 0);
    }
}


static void
test_other_kinds_of_files_are_refused_by_their_kind(void **state)
{
    char            command[256];
    unsigned char  *p;
    Elf64_Ehdr     *head;

    (void) state;

    refused("", 0, "empty");
    refused("hello, world\n", 13, "a text file");
    refused("#!/bin/sh\necho\n", 15, "a script");
    refused("!<arch>\nfoo", 11, "a static archive");
    refused("\0\1\2\3", 4, "not an ELF file");
    refused("\177EL", 3, "not an ELF file");
    refused("MZ\220\0", 4, "a Windows program");
    refused("BC\300\336xxxx", 8, "LLVM bitcode");
    refused("\317\372\355\376xx", 6, "Mach-O");
    refused(good, 40, "truncated: the ELF header ends at byte 64 of 40");

    assert_int_equal(compile("program", "int main(void) { return 0; }",
                             "-fPIE -pie"), 0);
    refused_file("program", "an executable");

    assert_int_equal(compile("program", "int main(void) { return 0; }",
                             "-no-pie"), 0);
    refused_file("program", "an executable");

    if (compile("program", "int main(void) { return 0; }", "-static-pie")
        == 0)
    {
        refused_file("program", "an executable");
    }

    assert_int_equal(compile("f.o", source, "-c -fPIC"), 0);
    refused_file("f.o", "an object file (.o)");

    snprintf(command, sizeof(command), "cd %s && ar rc f.a f.o", directory);

    if (system(command) == 0) {
        refused_file("f.a", "a static archive");
    }

    p = copy();
    head = (Elf64_Ehdr *) p;

    head->e_type = ET_CORE;
    refused(p, size, "a core dump");
    head->e_type = 77;
    refused(p, size, "ELF type 77");

    free(p);
}


static void
test_other_machines_are_named(void **state)
{
    size_t          i;
    unsigned char  *p;
    Elf64_Ehdr     *head;

    static const struct {
        uint16_t     machine;
        const char  *name;
    } machines[] = {
        { EM_X86_64, "x86-64" },
        { EM_AARCH64, "AArch64" },
        { EM_RISCV, "RISC-V" },
        { EM_PPC64, "PowerPC 64" },
        { 0xbeef, "machine number 48879" }
    };

    (void) state;

    p = copy();
    head = (Elf64_Ehdr *) p;

    for (i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {

        if (machines[i].machine == ((Elf64_Ehdr *) good)->e_machine) {
            continue;
        }

        head->e_machine = machines[i].machine;
        refused(p, size, machines[i].name);
        refused(p, size, "an object for ");
    }

    head->e_machine = EM_386;
    p[EI_CLASS] = ELFCLASS32;
    refused(p, size, "a 32-bit object for Intel 80386, this machine needs");

    /* big-endian: the number is read in its own order */

    p[EI_CLASS] = ELFCLASS64;
    p[EI_DATA] = (p[EI_DATA] == ELFDATA2LSB) ? ELFDATA2MSB : ELFDATA2LSB;
    p[18] = 0;
    p[19] = EM_S390;
    refused(p, size, "IBM S/390");

    p[EI_DATA] = 7;
    refused(p, size, "damaged: no known ELF class");

    memcpy(p, good, 64);
    p[EI_OSABI] = ELFOSABI_FREEBSD;
    refused(p, size, "another operating system");

    memcpy(p, good, 64);
    p[EI_ABIVERSION] = 3;
    refused(p, size, "unknown ABI version");

    free(p);
}


static void
test_descriptor_must_be_an_exported_object(void **state)
{
    static const char  options[] = "-shared -fPIC";

    (void) state;

    assert_int_equal(compile("f.so", "int other = 1;", options), 0);
    refused_file("f.so", "no descriptor: the symbol faas_function is not"
                         " exported");

    assert_int_equal(compile("f.so", "extern int faas_function[9];\n"
                             "int *other = faas_function;", options), 0);
    refused_file("f.so", "is not exported");

    assert_int_equal(compile("f.so", "static int faas_function[9];\n"
                             "int *other = faas_function;", options), 0);
    refused_file("f.so", "is not exported");

    assert_int_equal(compile("f.so", "int faas_function(void) { return 1; }",
                             options), 0);
    refused_file("f.so", "not an exported object");

    assert_int_equal(compile("f.so", "int faas_function = 1;", options), 0);
    refused_file("f.so", "has 4 bytes only");

    assert_int_equal(compile("f.so", "__thread int faas_function[9] = {1};",
                             options), 0);
    refused_file("f.so", "not an exported object");

    assert_int_equal(compile("f.so", "int faas_function_[9] = {1};\n"
                             "int xfaas_function[9] = {1};", options), 0);
    refused_file("f.so", "is not exported");

    assert_int_equal(compile("f.so", "int faas_function[4];", options), 0);
    assert_int_equal(check_file("f.so"), 0);
}


static void
test_what_is_not_a_file_is_refused(void **state)
{
    int  fd[2];

    (void) state;

    assert_int_equal(pipe(fd), 0);
    assert_int_equal(elf_check(fd[0], why), -1);
    assert_string_equal(why, "not a regular file");
    close(fd[0]);
    close(fd[1]);

    assert_int_equal(elf_check(fd[0], why), -1);
    assert_non_null(strstr(why, "fstat() failed"));

    fd[0] = open(directory, O_RDONLY);
    assert_int_equal(elf_check(fd[0], why), -1);
    assert_string_equal(why, "not a regular file");
    close(fd[0]);
}


static void
test_every_truncation_is_refused(void **state)
{
    size_t  n;

    (void) state;

    assert_int_equal(check(good, size), 0);

    for (n = 0; n < size; n++) {
        if (check(good, n) == 0) {
            fail_msg("%zu of %zu bytes are accepted", n, size);
        }

        if (n >= 64) {
            assert_memory_equal(why, "truncated: ", 11);
        }
    }
}


/* 0 when dlopen and dlsym of these bytes end without a signal, in a child */

static int
loads_unharmed(const void *data, size_t n)
{
    int    i, fd, status;
    char   path[64];
    pid_t  pid;
    void  *handle;

    fd = memfd_create("load", 0);
    assert_true(fd != -1);
    assert_int_equal(write(fd, data, n), n);

    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 });

        /* the test's frame handles some, and goes on with the next test */

        for (i = 1; i < 32; i++) {
            (void) signal(i, SIG_DFL);
        }

        (void) dup2(open("/dev/null", O_WRONLY), 2);
        alarm(10);

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        handle = dlopen(path, RTLD_NOW|RTLD_LOCAL);

        if (handle != NULL) {
            (void) dlsym(handle, "faas_function");
        }

        _exit(0);
    }

    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);

    return WIFEXITED(status) ? 0 : -1;
}


static void
test_tail_of_zeroes_is_refused(void **state)
{
    size_t          n, accepted;
    unsigned char  *p;

    (void) state;

    assert_int_equal(loads_unharmed(good, size), 0);
    p = copy();
    accepted = 0;

    for (n = size - 1; n > 0; n--) {
        p[n] = 0;

        if (check(p, size) == 0) {
            accepted++;
            assert_int_equal(loads_unharmed(p, size), 0);
        }
    }

    /* the last header's unimportant fields at most */

    assert_true(accepted < sizeof(Elf64_Shdr));
    free(p);
}


/*
 * Flips, random bytes, words that are interesting, in the headers and tables
 * more often than elsewhere.  The check must end, and what it accepts is, but
 * for few files, nothing that ends the process that loads it.
 */

static void
mutate(unsigned char *p)
{
    int       i;
    size_t    at;
    uint64_t  word;

    static const uint64_t  words[] = {
        0, 1, 7, 8, 16, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 4096,
        UINT64_C(0x7fffffffffffffff), UINT64_C(0xffffffffffffffff),
        UINT64_C(0xfffffffffffffff8), UINT64_C(0x800000000000)
    };

    for (i = 1 + (int) roll(3); i > 0; i--) {

        switch (roll(4)) {

        case 0:
            at = roll(64 + 56 * 12);
            break;

        case 1:
            at = roll(0x800);
            break;

        case 2:
            at = size - 1 - roll((uint32_t) (size / 2));
            break;

        default:
            at = roll((uint32_t) size);
            break;
        }

        switch (roll(4)) {

        case 0:
            p[at] ^= (unsigned char) (1 << roll(8));
            break;

        case 1:
            p[at] = (unsigned char) roll(256);
            break;

        case 2:
            at &= ~(size_t) 7;

            if (at + 8 <= size) {
                word = words[roll(sizeof(words) / sizeof(words[0]))];
                memcpy(p + at, &word, roll(2) ? 8 : 4);
            }

            break;

        default:
            at &= ~(size_t) 7;

            if (at + 8 <= size) {
                memcpy(&word, p + at, 8);
                word += roll(2) ? roll(64) : (uint64_t) -(int64_t) roll(64);
                memcpy(p + at, &word, 8);
            }

            break;
        }
    }
}


static void
test_mutations_never_harm_the_check(void **state)
{
    int             i, accepted, loaded, harmed;
    unsigned char  *p;

    (void) state;

    p = copy();
    accepted = 0;
    loaded = 0;
    harmed = 0;

    for (i = 0; i < 20000; i++) {
        memcpy(p, good, size);
        mutate(p);

        if (check(p, size) != 0) {
            continue;
        }

        accepted++;

        if (accepted % 16 == 0) {
            loaded++;
            harmed += (loads_unharmed(p, size) != 0);
        }
    }

    free(p);

    print_message("%d accepted, %d of %d harm the process that loads them\n",
                  accepted, harmed, loaded);

    /* both kinds occur */

    assert_true(accepted > 100 && accepted < 19900);
}


static void
test_single_bit_flips_of_the_tables(void **state)
{
    size_t          i, n, accepted;
    unsigned char  *p;

    (void) state;

    p = copy();
    n = (size < 0x600) ? size : 0x600;
    accepted = 0;

    for (i = 0; i < n * 8; i++) {
        p[i / 8] ^= (unsigned char) (1 << i % 8);

        accepted += (check(p, size) == 0);

        p[i / 8] ^= (unsigned char) (1 << i % 8);
    }

    assert_memory_equal(p, good, size);
    assert_true(accepted > 0);
    free(p);
}


/* no table, however large it says it is, is walked beyond the file */

static void
test_huge_numbers_end(void **state)
{
    size_t          i;
    unsigned char  *p, *dynamic_end;
    Elf64_Dyn      *d;
    Elf64_Ehdr     *head;
    Elf64_Phdr     *segment;

    (void) state;

    p = copy();
    head = (Elf64_Ehdr *) p;
    segment = (Elf64_Phdr *) (p + head->e_phoff);

    for (i = 0; i < head->e_phnum; i++) {
        if (segment[i].p_type == PT_DYNAMIC) {
            break;
        }
    }

    d = (Elf64_Dyn *) (p + segment[i].p_offset);
    dynamic_end = p + segment[i].p_offset + segment[i].p_filesz;

    for (i = 0; d[i].d_tag != DT_NULL; i++) {

        if (d[i].d_tag == DT_VERNEEDNUM
            || d[i].d_tag == DT_FLAGS || d[i].d_tag == DT_PLTGOT
            || d[i].d_tag == DT_FLAGS_1 || d[i].d_tag == DT_VERNEED
            || d[i].d_tag == DT_DEBUG || d[i].d_tag == DT_TEXTREL)
        {
            continue;
        }

        d[i].d_un.d_val ^= UINT64_C(0xffffffff00000000);

        if (check(p, size) == 0) {
            fail_msg("a huge value of tag %ld is accepted", (long) d[i].d_tag);
        }

        d[i].d_un.d_val ^= UINT64_C(0xffffffff00000000);
    }

    for ( /* void */ ; (unsigned char *) (d + i) < dynamic_end; i++) {
        d[i].d_tag = 0x60000000;
    }

    refused(p, size, "the dynamic section has no end");
    free(p);

    p = copy();
    head = (Elf64_Ehdr *) p;
    head->e_phnum = 0xffff;
    refused(p, size, "segments");
    head->e_phnum = 0;
    refused(p, size, "no segments");
    memcpy(p, good, 64);
    head->e_shnum = 0xffff;
    refused(p, size, "truncated: the section table");
    memcpy(p, good, 64);
    head->e_shoff = (Elf64_Off) -64;
    refused(p, size, "truncated: the section table");
    memcpy(p, good, 64);
    head->e_phoff = (Elf64_Off) -8;
    refused(p, size, "truncated: the segment table");
    free(p);
}


/* a first segment that claims n bytes more than there are */

static void
test_truncation_says_where(void **state)
{
    char            text[128];
    size_t          i;
    unsigned char  *p;
    Elf64_Ehdr     *head;
    Elf64_Phdr     *segment;

    (void) state;

    p = copy();
    head = (Elf64_Ehdr *) p;
    segment = (Elf64_Phdr *) (p + head->e_phoff);

    for (i = 0; segment[i].p_type != PT_LOAD; i++) { /* void */ }

    segment[i].p_filesz = size - segment[i].p_offset + 1;
    segment[i].p_memsz = segment[i].p_filesz;

    snprintf(text, sizeof(text), "truncated: segment %zu ends at byte %zu of"
             " %zu", i, size + 1, size);
    refused(p, size, text);
    free(p);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_function_of_this_machine_is_accepted),
        cmocka_unit_test(test_other_kinds_of_files_are_refused_by_their_kind),
        cmocka_unit_test(test_other_machines_are_named),
        cmocka_unit_test(test_descriptor_must_be_an_exported_object),
        cmocka_unit_test(test_what_is_not_a_file_is_refused),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_tail_of_zeroes_is_refused),
        cmocka_unit_test(test_mutations_never_harm_the_check),
        cmocka_unit_test(test_single_bit_flips_of_the_tables),
        cmocka_unit_test(test_huge_numbers_end),
        cmocka_unit_test(test_truncation_says_where)
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
