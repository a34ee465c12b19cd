
/* Backtraces, in signal handlers. */


#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "core_symbols.h"
#include "faas_scoreboard.h"
#include "instance.h"


#define CORE_STACK     (128 * 1024)

/* how long a thread is waited for, and all that is not safe */
#define CORE_ANSWER_MS  100
#define CORE_LATE_S     2

/* our own frames above what is of interest: this file's and the kernel's */
#define CORE_OWN        8

/* asks a thread for its backtrace */
#define CORE_SIGNAL  (SIGRTMAX - 2)


/* as getdents64() has it; libc has no name for it */

typedef struct {
    uint64_t                  inode;
    int64_t                   offset;
    unsigned short            length;
    unsigned char             type;
    char                      name[];
} core_entry_t;


static void core_crashed(int signo, siginfo_t *info, void *context);
static void core_late(int signo);
static void core_thread_asked(int signo);
static void core_die(int signo);
static void core_all(void);
static void core_others(pid_t self);
static void core_other(pid_t tid);
static core_thread_t *core_thread(pid_t tid);
static void core_trace(core_thread_t *t);
static void core_names(void);
static pid_t core_tid(void);
static pid_t core_number(const char *s);


static const int  core_signals[] = {
    SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS
};


static struct {
    _Atomic int               busy;        /* tid of whom has begun, 0 */
    volatile int              signal;      /* of which it dies */
    core_thread_t *_Atomic    asked;       /* where a thread is to write */
} trace;


/*
 * On a stack of its own, so that an overflow of the function's is no silent
 * death.  A signal that the function took is left to it; the same for a
 * stack.
 */

int
core_trace_init(void)
{
    void             *first;
    size_t            i;
    stack_t           stack;
    struct sigaction  sa, old;

    /* loads what backtrace() needs: there would be no loading later */

    (void) backtrace(&first, 1);

    if (sigaltstack(NULL, &stack) == -1) {
        return FAAS_ERROR;
    }

    if (stack.ss_flags & SS_DISABLE) {
        stack.ss_sp = mmap(NULL, CORE_STACK, PROT_READ|PROT_WRITE,
                           MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

        if (stack.ss_sp == MAP_FAILED) {
            return FAAS_ERROR;
        }

        stack.ss_size = CORE_STACK;
        stack.ss_flags = 0;

        if (sigaltstack(&stack, NULL) == -1) {
            return FAAS_ERROR;
        }
    }

    memset(&sa, 0, sizeof(sa));
    (void) sigemptyset(&sa.sa_mask);
    sa.sa_sigaction = core_crashed;
    sa.sa_flags = SA_SIGINFO|SA_ONSTACK|SA_NODEFER;

    for (i = 0; i < sizeof(core_signals) / sizeof(core_signals[0]); i++) {

        if (sigaction(core_signals[i], NULL, &old) == -1) {
            return FAAS_ERROR;
        }

        if (!(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL
            && sigaction(core_signals[i], &sa, NULL) == -1)
        {
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


static void
core_crashed(int signo, siginfo_t *info, void *context)
{
    int               nobody;
    struct sigaction  sa;

    (void) context;

    /* a child that the function forked has the handler, but no slot */

    if (!instance_is_self()) {
        core_die(signo);
    }

    nobody = 0;

    if (!atomic_compare_exchange_strong(&trace.busy, &nobody, core_tid())) {

        if (nobody == core_tid()) {

            /* again, by ourselves: what is written has to do */

            core_die(trace.signal ? trace.signal : signo);
        }

        /* another thread has crashed too: the process ends with the first */

        for ( ;; ) {
            (void) pause();
        }
    }

    trace.signal = signo;

    memset(&sa, 0, sizeof(sa));
    (void) sigemptyset(&sa.sa_mask);
    sa.sa_handler = core_late;
    sa.sa_flags = SA_ONSTACK;

    if (sigaction(SIGALRM, &sa, NULL) == 0) {
        sigset_t  set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGALRM);
        (void) pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        (void) alarm(CORE_LATE_S);
    }

    atomic_store(&core_here->code, info->si_code);
    atomic_store(&core_here->address, (uint64_t) (uintptr_t) info->si_addr);
    atomic_store(&core_here->signal, (uint32_t) signo);

    core_all();
    core_drain();
    core_die(signo);
}


static void
core_late(int signo)
{
    core_die(trace.signal ? trace.signal : signo);
}


/* by the signal's default, so that the status is what it would have been */

static void
core_die(int signo)
{
    sigset_t  set;

    (void) signal(signo, SIG_DFL);
    (void) sigemptyset(&set);
    (void) sigaddset(&set, signo);
    (void) syscall(SYS_tgkill, getpid(), core_tid(), signo);
    (void) pthread_sigmask(SIG_UNBLOCK, &set, NULL);

    _exit(128 + signo);
}


void
core_asked(void)
{
    int  nobody, error;

    if (core_here == NULL || !atomic_load(&core_here->running)) {
        return;
    }

    nobody = 0;

    if (!atomic_compare_exchange_strong(&trace.busy, &nobody, core_tid())) {
        return;
    }

    error = errno;
    core_all();
    errno = error;

    atomic_store(&trace.busy, 0);
}


static void
core_all(void)
{
    pid_t           self;
    core_thread_t  *t;

    self = core_tid();
    atomic_store(&core_here->threads, 0);
    atomic_store(&core_here->more, 0);

    t = core_thread(self);
    core_trace(t);
    core_others(self);
    core_names();
}


/* the next place in the array, NULL: there is none */

static core_thread_t *
core_thread(pid_t tid)
{
    int             fd;
    char            path[64], digits[16], *p;
    ssize_t         n;
    uint32_t        i;
    core_thread_t  *t;

    i = atomic_load(&core_here->threads);

    if (i >= CORE_THREADS) {
        atomic_fetch_add(&core_here->more, 1);
        return NULL;
    }

    t = &core_here->thread[i];
    t->tid = tid;
    atomic_store(&t->frames, 0);
    memset(t->name, 0, sizeof(t->name));

    /* no snprintf() here */

    p = digits + sizeof(digits) - 1;
    *p = '\0';

    do {
        *--p = (char) ('0' + tid % 10);
        tid /= 10;
    } while (tid);

    memcpy(path, "/proc/self/task/", sizeof("/proc/self/task/"));
    n = digits + sizeof(digits) - 1 - p;
    memcpy(path + 16, p, (size_t) n);
    memcpy(path + 16 + n, "/comm", 6);

    fd = open(path, O_RDONLY|O_CLOEXEC);

    if (fd != -1) {
        n = read(fd, t->name, sizeof(t->name) - 1);
        (void) close(fd);

        if (n > 0 && t->name[n - 1] == '\n') {
            t->name[n - 1] = '\0';
        }
    }

    atomic_store(&core_here->threads, i + 1);

    return t;
}


/* of the thread that calls */

static void
core_trace(core_thread_t *t)
{
    int            i, n, first;
    void          *address[CORE_FRAMES + CORE_OWN];
    core_frame_t  *f;

    if (t == NULL) {
        return;
    }

    n = backtrace(address, CORE_FRAMES + CORE_OWN);
    first = core_symbols_skip(address, n);

    for (i = first; i < n && i - first < CORE_FRAMES; i++) {
        f = &t->frame[i - first];
        memset(f, 0, sizeof(core_frame_t));
        f->address = (uint64_t) (uintptr_t) address[i];
        core_symbols_find(f, i > first);
    }

    atomic_store(&t->frames, (uint32_t) (i - first));
}


static void
core_others(pid_t self)
{
    int                fd;
    char               buf[2048] __attribute__((aligned(8)));
    long               n, at;
    pid_t              tid;
    core_entry_t      *entry;
    struct sigaction   sa;

    fd = open("/proc/self/task", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    memset(&sa, 0, sizeof(sa));
    (void) sigfillset(&sa.sa_mask);
    (void) sigdelset(&sa.sa_mask, SIGSEGV);
    (void) sigdelset(&sa.sa_mask, SIGBUS);
    sa.sa_handler = core_thread_asked;
    sa.sa_flags = SA_RESTART|SA_ONSTACK;

    /* it stays: who answers late finds nothing asked */

    if (sigaction(CORE_SIGNAL, &sa, NULL) == -1) {
        (void) close(fd);
        return;
    }

    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {

        for (at = 0; at < n; at += entry->length) {
            entry = (core_entry_t *) (buf + at);
            tid = core_number(entry->name);

            if (tid > 0 && tid != self) {
                core_other(tid);
            }
        }
    }

    (void) close(fd);
}


static void
core_other(pid_t tid)
{
    int              ms;
    core_thread_t   *t;
    struct timespec  wait;

    t = core_thread(tid);

    if (t == NULL) {
        return;
    }

    atomic_store(&trace.asked, t);

    if (syscall(SYS_tgkill, getpid(), tid, CORE_SIGNAL) == 0) {

        wait.tv_sec = 0;
        wait.tv_nsec = 1000000;

        for (ms = 0; ms < CORE_ANSWER_MS; ms++) {

            if (atomic_load(&t->frames) != 0) {
                break;
            }

            (void) clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
        }
    }

    atomic_store(&trace.asked, NULL);
}


static void
core_thread_asked(int signo)
{
    int             error;
    core_thread_t  *t;

    (void) signo;

    error = errno;
    t = atomic_load(&trace.asked);

    if (t != NULL && t->tid == core_tid()) {
        core_trace(t);
    }

    errno = error;
}


/* of libraries: the dynamic linker may be locked by who crashed in it */

static void
core_names(void)
{
    uint32_t        i, j, n, frames;
    Dl_info         info;
    core_frame_t   *f;
    core_thread_t  *t;

    n = atomic_load(&core_here->threads);

    for (i = 0; i < n && i < CORE_THREADS; i++) {
        t = &core_here->thread[i];
        frames = atomic_load(&t->frames);

        for (j = 0; j < frames && j < CORE_FRAMES; j++) {
            f = &t->frame[j];

            /* a return address may be that of the next function */

            if (f->module[0] == '\0'
                && dladdr((void *) (uintptr_t) (f->address - (j > 0)), &info))
            {
                core_symbols_library(f, &info);
            }
        }
    }
}


static pid_t
core_tid(void)
{
    return (pid_t) syscall(SYS_gettid);
}


static pid_t
core_number(const char *s)
{
    pid_t  n;

    for (n = 0; *s >= '0' && *s <= '9'; s++) {
        n = n * 10 + (*s - '0');
    }

    return *s == '\0' ? n : 0;
}
