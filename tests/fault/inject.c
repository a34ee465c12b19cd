
/*
 * Makes calls fail in processes that run: to be preloaded into nginx, from
 * which it reaches all processes of the host, since what is executed gets the
 * two variables that it needs whatever environment it was meant to have.
 *
 * FAAS_INJECT names a file, INJECT_SIZE bytes, which whoever injects maps too
 * (inject.py).  It holds rules: which call fails, in whom, after how many
 * that succeed, how often, and with which error.  A rule counts what it sees
 * and what it made fail; all processes that it is for count together.
 *
 *   0   magic, "FAULTS01"
 *   64  INJECT_RULES rules of 128 bytes: inject_rule_t
 *
 * Who: a pid, and a role.  Roles are the programs' (nginx: "master", and
 * "worker" for what it forks; "keeper", "supervisor", "events", "tender") and
 * those of the fork line: "zygote", "init", "template", "instance".
 *
 * "alloc" stands for malloc(), calloc(), realloc(), posix_memalign(),
 * aligned_alloc() and memalign(), "write_file" for write() and writev() to
 * regular files; other calls have their own names, and those made by
 * syscall() that of the system call.
 */


#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "allocate.h"


#define INJECT_SIZE   4096
#define INJECT_RULES  8
#define INJECT_MAGIC  "FAULTS01"
#define INJECT_ENV    64             /* variables that an exec passes on */

#define EXPORT  __attribute__((visibility("default")))


/* one rule; writer: who injects, but for the counts */

typedef struct {
    _Atomic uint32_t          armed;     /* written last */
    int32_t                   pid;       /* 0: whatever its pid */
    char                      role[16];  /* "": whatever its role */
    char                      call[24];
    int32_t                   error;     /* errno of the call that fails */
    uint32_t                  every;     /* 1: all after the first, too */
    _Atomic int64_t           left;      /* calls that succeed before */
    _Atomic uint64_t          seen;      /* calls that it was asked about */
    _Atomic uint64_t          failed;    /* those that it made fail */
    char                      reserved[48];
} inject_rule_t;

typedef struct {
    char                      magic[8];
    char                      reserved[56];
    inject_rule_t             rule[INJECT_RULES];
} inject_page_t;

_Static_assert(sizeof(inject_rule_t) == 128, "as inject.py packs it");
_Static_assert(sizeof(inject_page_t) <= INJECT_SIZE, "fits the file");


static int inject_fails(const char *call);
static const char *inject_role(void);
static void *inject_next(const char *call);
static int inject_is_file(int fd);
static char **inject_environment(char *const envp[], char **room);


static inject_page_t  *inject_page;
static char            inject_file[512];       /* "FAAS_INJECT=..." */
static char            inject_preload[1024];   /* "LD_PRELOAD=..." */
static char            inject_program[16];     /* the role at the exec */
static pid_t           inject_pid;             /* whose memory this was */
static int             inject_level;           /* forks since the exec */


static __attribute__((constructor)) void
inject_open(int argc, char **argv)
{
    int          fd;
    const char  *name, *path, *preload;

    path = getenv("FAAS_INJECT");
    preload = getenv("LD_PRELOAD");

    if (path == NULL || preload == NULL) {
        return;
    }

    (void) snprintf(inject_file, sizeof(inject_file), "FAAS_INJECT=%s", path);
    (void) snprintf(inject_preload, sizeof(inject_preload), "LD_PRELOAD=%s",
                    preload);

    name = strrchr(argv[0], '/');
    name = name != NULL ? name + 1 : argv[0];

    if (strncmp(name, "faas-", 5) == 0) {
        name += 5;
    }

    if (argc > 1 && strcmp(argv[1], "--keeper") == 0) {
        name = "keeper";
    }

    /* a copy: a process may write its title over argv */

    (void) snprintf(inject_program, sizeof(inject_program), "%s", name);

    inject_pid = getpid();

    fd = open(path, O_RDWR|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    inject_page = mmap(NULL, INJECT_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED,
                       fd, 0);
    close(fd);

    if (inject_page == MAP_FAILED
        || memcmp(inject_page->magic, INJECT_MAGIC, 8) != 0)
    {
        inject_page = NULL;
    }
}


static int
inject_fails(const char *call)
{
    int             i;
    pid_t           pid;
    int64_t         left;
    inject_rule_t  *r;

    if (inject_page == NULL) {
        return 0;
    }

    pid = getpid();

    if (pid != inject_pid) {
        inject_pid = pid;
        inject_level++;
    }

    for (i = 0; i < INJECT_RULES; i++) {
        r = &inject_page->rule[i];

        if (!atomic_load(&r->armed)
            || strcmp(r->call, call) != 0
            || (r->pid != 0 && r->pid != pid)
            || (r->role[0] != '\0' && strcmp(r->role, inject_role()) != 0))
        {
            continue;
        }

        atomic_fetch_add(&r->seen, 1);
        left = atomic_fetch_sub(&r->left, 1);

        if (left == 0 || (left < 0 && r->every)) {
            atomic_fetch_add(&r->failed, 1);
            errno = r->error;
            return 1;
        }
    }

    return 0;
}


static const char *
inject_role(void)
{
    static const char *const  line[] = {
        "zygote", "init", "template", "instance"
    };

    if (strcmp(inject_program, "nginx") == 0) {
        return inject_level ? "worker" : "master";
    }

    if (strcmp(inject_program, "zygote") == 0) {
        return line[inject_level < 3 ? inject_level : 3];
    }

    return inject_program;
}


static void *
inject_next(const char *call)
{
    void  *p;

    p = dlsym(RTLD_NEXT, call);

    if (p == NULL) {
        abort();
    }

    return p;
}


/* -- memory ---------------------------------------------------------------- */

EXPORT void *
malloc(size_t n)
{
    return inject_fails("alloc") ? NULL : ALLOCATE_NEXT(malloc)(n);
}


EXPORT void *
calloc(size_t n, size_t size)
{
    return inject_fails("alloc") ? NULL : ALLOCATE_NEXT(calloc)(n, size);
}


EXPORT void *
realloc(void *p, size_t n)
{
    return inject_fails("alloc") ? NULL : ALLOCATE_NEXT(realloc)(p, n);
}


EXPORT void *
memalign(size_t alignment, size_t n)
{
    return inject_fails("alloc") ? NULL
           : ALLOCATE_NEXT(memalign)(alignment, n);
}


EXPORT void *
aligned_alloc(size_t alignment, size_t n)
{
    return inject_fails("alloc") ? NULL
           : ALLOCATE_NEXT(memalign)(alignment, n);
}


EXPORT int
posix_memalign(void **p, size_t alignment, size_t n)
{
    void  *memory;

    memory = inject_fails("alloc") ? NULL
             : ALLOCATE_NEXT(memalign)(alignment, n);

    if (memory == NULL) {
        return ENOMEM;
    }

    *p = memory;

    return 0;
}


EXPORT void *
mmap(void *address, size_t n, int protection, int flags, int fd, off_t offset)
{
    return inject_fails("mmap") ? MAP_FAILED
           : (void *) syscall(SYS_mmap, address, n, protection, flags, fd,
                              offset);
}


EXPORT void *mmap64(void *address, size_t n, int protection, int flags, int fd,
    off_t offset) __attribute__((alias("mmap")));


/* -- system calls ---------------------------------------------------------- */

/* each resolved at its first use: of the process's only thread, mostly, and
   of no harm if of two */

#define INJECT(type, call, failure, parameters, arguments)                    \
    EXPORT type                                                               \
    call parameters                                                           \
    {                                                                         \
        static type (*next) parameters;                                       \
                                                                              \
        if (inject_fails(#call)) {                                            \
            return failure;                                                   \
        }                                                                     \
                                                                              \
        if (next == NULL) {                                                   \
            next = inject_next(#call);                                        \
        }                                                                     \
                                                                              \
        return next arguments;                                                \
    }

INJECT(pid_t, fork, -1, (void), ())
INJECT(int, socket, -1, (int domain, int type, int protocol),
       (domain, type, protocol))
INJECT(int, socketpair, -1, (int domain, int type, int protocol, int fd[2]),
       (domain, type, protocol, fd))
INJECT(int, bind, -1, (int fd, const struct sockaddr *a, socklen_t n),
       (fd, a, n))
INJECT(int, listen, -1, (int fd, int backlog), (fd, backlog))
INJECT(int, connect, -1, (int fd, const struct sockaddr *a, socklen_t n),
       (fd, a, n))
INJECT(int, accept, -1, (int fd, struct sockaddr *a, socklen_t *n),
       (fd, a, n))
INJECT(int, accept4, -1, (int fd, struct sockaddr *a, socklen_t *n, int flags),
       (fd, a, n, flags))
INJECT(ssize_t, sendmsg, -1, (int fd, const struct msghdr *m, int flags),
       (fd, m, flags))
INJECT(ssize_t, recvmsg, -1, (int fd, struct msghdr *m, int flags),
       (fd, m, flags))
INJECT(ssize_t, send, -1, (int fd, const void *p, size_t n, int flags),
       (fd, p, n, flags))
INJECT(ssize_t, recv, -1, (int fd, void *p, size_t n, int flags),
       (fd, p, n, flags))
INJECT(ssize_t, read, -1, (int fd, void *p, size_t n), (fd, p, n))
INJECT(ssize_t, pread, -1, (int fd, void *p, size_t n, off_t offset),
       (fd, p, n, offset))
INJECT(ssize_t, pwrite, -1, (int fd, const void *p, size_t n, off_t offset),
       (fd, p, n, offset))
INJECT(ssize_t, copy_file_range, -1,
       (int in, off_t *from, int out, off_t *to, size_t n, unsigned flags),
       (in, from, out, to, n, flags))
INJECT(ssize_t, sendfile, -1, (int out, int in, off_t *offset, size_t n),
       (out, in, offset, n))
INJECT(int, fsync, -1, (int fd), (fd))
INJECT(int, fdatasync, -1, (int fd), (fd))
INJECT(int, ftruncate, -1, (int fd, off_t n), (fd, n))
INJECT(int, rename, -1, (const char *from, const char *to), (from, to))
INJECT(int, renameat, -1,
       (int in, const char *from, int out, const char *to),
       (in, from, out, to))
INJECT(int, mkdir, -1, (const char *path, mode_t mode), (path, mode))
INJECT(int, mkdirat, -1, (int fd, const char *path, mode_t mode),
       (fd, path, mode))
INJECT(int, unlinkat, -1, (int fd, const char *path, int flags),
       (fd, path, flags))
INJECT(int, fstat, -1, (int fd, struct stat *st), (fd, st))
INJECT(int, fstatat, -1,
       (int fd, const char *path, struct stat *st, int flags),
       (fd, path, st, flags))
INJECT(int, pipe2, -1, (int fd[2], int flags), (fd, flags))
INJECT(int, dup2, -1, (int from, int to), (from, to))
INJECT(int, dup3, -1, (int from, int to, int flags), (from, to, flags))
INJECT(int, memfd_create, -1, (const char *name, unsigned flags),
       (name, flags))
INJECT(int, epoll_create1, -1, (int flags), (flags))
INJECT(int, epoll_ctl, -1, (int ep, int op, int fd, struct epoll_event *e),
       (ep, op, fd, e))
INJECT(int, epoll_wait, -1, (int ep, struct epoll_event *e, int n, int ms),
       (ep, e, n, ms))
INJECT(int, eventfd, -1, (unsigned n, int flags), (n, flags))
INJECT(int, signalfd, -1, (int fd, const sigset_t *set, int flags),
       (fd, set, flags))
INJECT(int, timerfd_create, -1, (int clock, int flags), (clock, flags))
INJECT(int, inotify_init1, -1, (int flags), (flags))
INJECT(int, inotify_add_watch, -1,
       (int fd, const char *path, uint32_t mask), (fd, path, mask))


/* a full disk is no full socket, nor an eventfd that cannot be written */

EXPORT ssize_t
write(int fd, const void *p, size_t n)
{
    return inject_fails(inject_is_file(fd) ? "write_file" : "write") ? -1
           : syscall(SYS_write, fd, p, n);
}


EXPORT ssize_t
writev(int fd, const struct iovec *v, int n)
{
    return inject_fails(inject_is_file(fd) ? "write_file" : "writev") ? -1
           : syscall(SYS_writev, fd, v, n);
}


static int
inject_is_file(int fd)
{
    struct stat  st;

    return syscall(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode);
}


/* those whose last argument there may be or not */

#define INJECT_OPEN(call, parameters, arguments)                              \
    EXPORT int                                                                \
    call parameters                                                           \
    {                                                                         \
        mode_t   mode;                                                        \
        va_list  ap;                                                          \
                                                                              \
        va_start(ap, flags);                                                  \
        mode = va_arg(ap, mode_t);                                            \
        va_end(ap);                                                           \
                                                                              \
        return inject_fails(#call) ? -1 : (int) syscall arguments;            \
    }

INJECT_OPEN(open, (const char *path, int flags, ...),
            (SYS_openat, AT_FDCWD, path, flags, mode))
INJECT_OPEN(openat, (int fd, const char *path, int flags, ...),
            (SYS_openat, fd, path, flags, mode))

EXPORT int open64(const char *path, int flags, ...)
    __attribute__((alias("open")));
EXPORT int openat64(int fd, const char *path, int flags, ...)
    __attribute__((alias("openat")));


EXPORT long
syscall(long number, ...)
{
    int          i;
    long         a[6];
    va_list      ap;
    const char  *call;

    static long (*next)(long number, ...);

    va_start(ap, number);

    for (i = 0; i < 6; i++) {
        a[i] = va_arg(ap, long);
    }

    va_end(ap);

    call = number == SYS_pidfd_open ? "pidfd_open"
           : number == SYS_clone ? "clone"
           : number == SYS_pidfd_send_signal ? "pidfd_send_signal" : NULL;

    if (call != NULL && inject_fails(call)) {
        return -1;
    }

    if (next == NULL) {
        next = inject_next("syscall");
    }

    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}


/* -- what is executed ------------------------------------------------------ */

EXPORT int
execve(const char *path, char *const argv[], char *const envp[])
{
    char  *room[INJECT_ENV];

    static int (*next)(const char *path, char *const argv[],
                       char *const envp[]);

    if (inject_fails("execve")) {
        return -1;
    }

    next = inject_next("execve");

    return next(path, argv, inject_environment(envp, room));
}


EXPORT int
fexecve(int fd, char *const argv[], char *const envp[])
{
    char  *room[INJECT_ENV];

    static int (*next)(int fd, char *const argv[], char *const envp[]);

    if (inject_fails("fexecve")) {
        return -1;
    }

    next = inject_next("fexecve");

    return next(fd, argv, inject_environment(envp, room));
}


/* theirs, and our two behind it: what stands first may have its place */

static char **
inject_environment(char *const envp[], char **room)
{
    int  i, n;

    n = 0;

    for (i = 0; envp[i] != NULL && n < INJECT_ENV - 3; i++) {

        if (strncmp(envp[i], "LD_PRELOAD=", 11) != 0
            && strncmp(envp[i], "FAAS_INJECT=", 12) != 0)
        {
            room[n++] = envp[i];
        }
    }

    if (inject_file[0] != '\0') {
        room[n++] = inject_file;
        room[n++] = inject_preload;
    }

    room[n] = NULL;

    return room;
}
