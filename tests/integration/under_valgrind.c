
/*
 * Preloaded to run the host's programs under valgrind 3.19 (test_valgrind.py),
 * which lacks some of what they ask the kernel for:
 *
 *  - it executes itself with the name of the program, so that /proc/self/exe
 *    would be valgrind, and a descriptor is closed by then: the name is used.
 *    The fork that executes has a log, of its user, in LOGS: it is put aside,
 *    since the program may be of another user, and gets one of the same name;
 *  - it has no pidfd_open(): the test, which runs without valgrind, opens one
 *    and passes it over the socket PIDFD_SOCKET;
 *  - it has no pidfd_send_signal(): the process is asked of fdinfo;
 *  - it refuses to change the hard limit of descriptors: only the soft one is.
 */


#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>


#define ENVIRONMENT  32


static int
exec_link(const char *name, char *const argv[], char *const envp[])
{
    char     path[PATH_MAX];
    char     log[PATH_MAX], aside[PATH_MAX];
    ssize_t  n;

    n = readlink(name, path, sizeof(path) - 1);

    if (n == -1) {
        return -1;
    }

    path[n] = '\0';

    (void) snprintf(log, sizeof(log), LOGS "/%d", (int) getpid());
    (void) snprintf(aside, sizeof(aside), LOGS "/%d.fork", (int) getpid());

    if (rename(log, aside) == -1) {
        return -1;
    }

    return execve(path, argv, envp);
}


int
execv(const char *path, char *const argv[])
{
    return exec_link(path, argv, environ);
}


/* with what the host leaves to the program, and this library */

int
fexecve(int fd, char *const argv[], char *const envp[])
{
    int          n;
    char         name[64];
    char        *env[ENVIRONMENT];
    static char  preload[] = "LD_PRELOAD=" LIBRARY;

    for (n = 0; envp[n] != NULL; n++) {

        if (n == ENVIRONMENT - 2) {
            errno = E2BIG;
            return -1;
        }

        env[n] = envp[n];
    }

    env[n++] = preload;
    env[n] = NULL;

    (void) snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);

    return exec_link(name, argv, env);
}


int
setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    struct rlimit  new, now;

    new = *limit;

    if (resource == RLIMIT_NOFILE) {

        if (getrlimit(resource, &now) == -1) {
            return -1;
        }

        new.rlim_max = now.rlim_max;
    }

    return prlimit(0, resource, &new, NULL);
}


static long
pidfd_open_elsewhere(pid_t pid)
{
    int                 s, fd, error;
    struct iovec        iov;
    struct msghdr       message;
    struct cmsghdr     *c;
    struct sockaddr_un  address;

    union {
        char            room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr  align;
    } control;

    memset(&address, 0, sizeof(struct sockaddr_un));
    address.sun_family = AF_UNIX;
    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s",
                    PIDFD_SOCKET);

    s = socket(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0);

    if (s == -1) {
        return -1;
    }

    fd = -1;
    error = EIO;

    memset(&message, 0, sizeof(struct msghdr));
    memset(&control, 0, sizeof(control));

    iov.iov_base = &error;
    iov.iov_len = sizeof(int);
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof(control);

    if (connect(s, (struct sockaddr *) &address, sizeof(address)) == 0
        && send(s, &pid, sizeof(pid_t), 0) == sizeof(pid_t)
        && recvmsg(s, &message, MSG_CMSG_CLOEXEC) == sizeof(int))
    {
        c = CMSG_FIRSTHDR(&message);

        if (c != NULL) {
            memcpy(&fd, CMSG_DATA(c), sizeof(int));
        }
    }

    (void) close(s);

    errno = error;

    return fd;
}


static long
pidfd_signal(int fd, int signo)
{
    int    pid;
    char   line[128];
    FILE  *file;

    (void) snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);

    file = fopen(line, "re");

    if (file == NULL) {
        errno = EBADF;
        return -1;
    }

    pid = -1;

    while (fgets(line, sizeof(line), file) != NULL) {

        if (strncmp(line, "Pid:", 4) == 0) {
            pid = atoi(line + 4);
        }
    }

    (void) fclose(file);

    if (pid <= 0) {
        errno = ESRCH;
        return -1;
    }

    return kill(pid, signo);
}


long
syscall(long number, ...)
{
    int         i;
    long        arg[6];
    va_list     ap;

    static long (*libc)(long number, ...);

    va_start(ap, number);

    for (i = 0; i < 6; i++) {
        arg[i] = va_arg(ap, long);
    }

    va_end(ap);

    if (number == SYS_pidfd_open) {
        return pidfd_open_elsewhere((pid_t) arg[0]);
    }

    if (number == SYS_pidfd_send_signal) {
        return pidfd_signal((int) arg[0], (int) arg[1]);
    }

    if (libc == NULL) {
        *(void **) &libc = dlsym(RTLD_NEXT, "syscall");
    }

    return libc(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
