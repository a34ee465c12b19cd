
/*
 * Kills a process inside of a function: waits until it gets there, lets it do
 * some more instructions, one by one, and then it is gone, as with kill -9 at
 * that very instruction.
 *
 * usage: strike PID OBJECT OFFSET STEPS TIMEOUT_MS
 *
 * OBJECT is the path of the mapped file, OFFSET (hexadecimal) the address of
 * the function in it, as nm says.  Ends with 0: killed there; 1: it did not
 * get there in time, and goes on unharmed; 2: could not be done.
 */


#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#define STRIKE_TRAP  0xccl             /* int3 */


static long strike_base(pid_t pid, const char *object);
static int strike_stop(pid_t pid);
static int strike_wait(pid_t pid, long address, int timeout_ms);
static void strike_kill(pid_t pid, long address, long text, int steps);
static void strike_sleep(void);


int
main(int argc, char **argv)
{
    int    rc;
    long   base, address, text;
    pid_t  pid;

    if (argc != 6) {
        (void) fputs("usage: strike PID OBJECT OFFSET STEPS TIMEOUT_MS\n",
                     stderr);
        return 2;
    }

    pid = (pid_t) atoi(argv[1]);
    base = strike_base(pid, argv[2]);

    if (base == -1 || ptrace(PTRACE_SEIZE, pid, NULL, NULL) == -1
        || strike_stop(pid) == -1)
    {
        (void) fprintf(stderr, "strike %s: %s\n", argv[1], strerror(errno));
        return 2;
    }

    address = base + strtol(argv[3], NULL, 16);

    errno = 0;
    text = ptrace(PTRACE_PEEKTEXT, pid, (void *) address, NULL);

    if (errno
        || ptrace(PTRACE_POKETEXT, pid, (void *) address,
                  (void *) ((text & ~0xffl) | STRIKE_TRAP)) == -1)
    {
        (void) fprintf(stderr, "strike %s: %s\n", argv[1], strerror(errno));
        (void) ptrace(PTRACE_DETACH, pid, NULL, NULL);
        return 2;
    }

    (void) ptrace(PTRACE_CONT, pid, NULL, NULL);

    rc = strike_wait(pid, address, atoi(argv[5]));

    if (rc == 0) {
        strike_kill(pid, address, text, atoi(argv[4]));
        return 0;
    }

    if (rc == 1) {
        (void) ptrace(PTRACE_POKETEXT, pid, (void *) address, (void *) text);
        (void) ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }

    return rc;
}


/* where the first segment of the object is mapped; -1: nowhere */
static long
strike_base(pid_t pid, const char *object)
{
    FILE           *maps;
    char            path[64], line[4096];
    unsigned long   start, offset;
    size_t          n;
    long            base;

    (void) snprintf(path, sizeof(path), "/proc/%d/maps", (int) pid);
    maps = fopen(path, "r");

    if (maps == NULL) {
        return -1;
    }

    base = -1;
    errno = ENOENT;

    while (base == -1 && fgets(line, sizeof(line), maps)) {
        n = strcspn(line, "\n");
        line[n] = '\0';

        if (n >= strlen(object)
            && strcmp(line + n - strlen(object), object) == 0
            && sscanf(line, "%lx-%*x %*s %lx", &start, &offset) == 2
            && offset == 0)
        {
            base = (long) start;
        }
    }

    (void) fclose(maps);

    return base;
}


static int
strike_stop(pid_t pid)
{
    int  status;

    if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == -1
        || waitpid(pid, &status, __WALL) == -1)
    {
        return -1;
    }

    if (!WIFSTOPPED(status)) {
        errno = ESRCH;
        return -1;
    }

    return 0;
}


/* 0: it stands behind the trap; 1: stopped elsewhere; 2: it is gone */
static int
strike_wait(pid_t pid, long address, int timeout_ms)
{
    int                      status, signo, ticks, asked;
    struct user_regs_struct  registers;

    asked = 0;

    for (ticks = 0; ticks < timeout_ms + 5000; /* void */) {

        if (ticks >= timeout_ms && !asked) {
            (void) ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
            asked = 1;
        }

        if (waitpid(pid, &status, __WALL|WNOHANG) <= 0) {
            strike_sleep();
            ticks++;
            continue;
        }

        if (!WIFSTOPPED(status)) {
            return 2;
        }

        signo = WSTOPSIG(status);

        if (signo == SIGTRAP
            && ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0
            && registers.rip == (unsigned long) address + 1)
        {
            return 0;
        }

        if (status >> 16 == PTRACE_EVENT_STOP) {
            if (asked) {
                return 1;
            }

            signo = 0;
        }

        (void) ptrace(PTRACE_CONT, pid, NULL, (void *) (long) signo);
    }

    return 2;
}


static void
strike_kill(pid_t pid, long address, long text, int steps)
{
    int                      status;
    struct user_regs_struct  registers;

    (void) ptrace(PTRACE_POKETEXT, pid, (void *) address, (void *) text);

    if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0) {
        registers.rip = (unsigned long) address;
        (void) ptrace(PTRACE_SETREGS, pid, NULL, &registers);
    }

    while (steps-- > 0
           && ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0
           && waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
    {
        /* one more instruction */
    }

    (void) kill(pid, SIGKILL);
    (void) waitpid(pid, &status, __WALL);
}


static void
strike_sleep(void)
{
    struct timespec  ts;

    ts.tv_sec = 0;
    ts.tv_nsec = 1000000;
    (void) nanosleep(&ts, NULL);
}
