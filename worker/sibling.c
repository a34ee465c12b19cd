
/*
 * libc has no call for a fork with CLONE_PARENT, so the system call is made
 * here, and what libc's own fork() does for the child beyond it is done too:
 * libc keeps the thread's id in its thread descriptor (the kernel writes the
 * new one there, as it tells where libc registered it), and the list of
 * robust mutexes is registered anew.  Locks of libc need no care, since the
 * only thread is here; and libc keeps no process id.
 *
 * Where the kernel does not tell (no CONFIG_CHECKPOINT_RESTORE), a child is
 * forked that forks and ends: the subreaper, our parent, inherits the
 * grandchild.
 */


#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sibling.h"


typedef struct {
    pid_t                     pid;         /* as fork() returned it */
    int                       error;
} sibling_born_t;


static pid_t sibling_clone(int *tid);
static pid_t sibling_fork_twice(void);
static pid_t sibling_fork_again(int tell);


pid_t
sibling_fork(void)
{
    int  *tid;

    tid = NULL;

    if (prctl(PR_GET_TID_ADDRESS, &tid, 0, 0, 0) == -1 || tid == NULL) {
        return sibling_fork_twice();
    }

    return sibling_clone(tid);
}


static pid_t
sibling_clone(int *tid)
{
    long    pid, rc;
    void   *robust;
    size_t  size;

    rc = syscall(SYS_get_robust_list, 0, &robust, &size);

    /* machines differ in which of the last two is the address for the tid;
       the other one would be for CLONE_SETTLS */

    pid = syscall(SYS_clone, CLONE_PARENT|CLONE_CHILD_SETTID
                             |CLONE_CHILD_CLEARTID|SIGCHLD,
                  NULL, NULL, tid, tid);

    if (pid == 0 && rc == 0) {
        (void) syscall(SYS_set_robust_list, robust, size);
    }

    return (pid_t) pid;
}


static pid_t
sibling_fork_twice(void)
{
    int             tell[2];
    pid_t           pid;
    ssize_t         n;
    sibling_born_t  born;

    if (pipe2(tell, O_CLOEXEC) == -1) {
        return -1;
    }

    pid = fork();

    if (pid == 0) {
        (void) close(tell[0]);

        return sibling_fork_again(tell[1]);
    }

    born.pid = -1;
    born.error = errno;

    (void) close(tell[1]);

    if (pid > 0) {
        n = read(tell[0], &born, sizeof(sibling_born_t));

        if (n != sizeof(sibling_born_t)) {
            born.pid = -1;
            born.error = EAGAIN;
        }

        while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) { /* void */ }
    }

    (void) close(tell[0]);

    errno = born.error;

    return born.pid;
}


/* returns in the grandchild only */

static pid_t
sibling_fork_again(int tell)
{
    pid_t           parent;
    ssize_t         n;
    sibling_born_t  born;

    parent = getpid();

    born.pid = fork();
    born.error = errno;

    if (born.pid != 0) {
        n = write(tell, &born, sizeof(sibling_born_t));

        _exit(n == sizeof(sibling_born_t) ? 0 : 1);
    }

    (void) close(tell);

    /* until it is the subreaper's */

    while (getppid() == parent) {
        (void) sched_yield();
    }

    return 0;
}
