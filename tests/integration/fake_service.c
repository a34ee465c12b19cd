
/*
 * Plays faas-events and faas-tender for test_services.py.  What it sees and
 * gets it writes below STATE/../fake, which the settings lead to:
 *
 *   PROGRAM.PID          what it is: uid, groups, descriptors, umask
 *   PROGRAM.PID.N        the n-th settings
 *   PROGRAM.second       there was another one of PROGRAM at work
 *
 * and what it finds there it obeys when it gets settings: PROGRAM.crash ends
 * it, PROGRAM.stuck makes it deaf to the end of its channel, PROGRAM.refuse
 * makes it refuse them.
 */


#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>


static const char  *program;
static char         directory[4096];
static int          stuck;


static void
put(const char *name, const char *text, size_t n)
{
    int   fd;
    char  path[8192], new[8200];

    (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
    (void) snprintf(new, sizeof(new), "%s.new", path);

    fd = open(new, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0644);

    if (fd == -1 || fchmod(fd, 0644) == -1
        || write(fd, text, n) != (ssize_t) n || close(fd) == -1
        || rename(new, path) == -1)
    {
        perror(path);
        _exit(3);
    }
}


static int
is_there(const char *what)
{
    char  path[8192];

    (void) snprintf(path, sizeof(path), "%s/%s.%s", directory, program, what);

    return access(path, F_OK) == 0;
}


static void
describe(void)
{
    int      i, mask;
    char     name[256], path[64], target[256], text[8192];
    size_t   n;
    FILE    *f;
    ssize_t  length;

    n = 0;
    mask = (int) umask(0);
    (void) umask((mode_t) mask);

    n += (size_t) snprintf(text + n, sizeof(text) - n, "umask %04o\n", mask);

    for (i = 0; i < 1024; i++) {
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
        length = readlink(path, target, sizeof(target) - 1);

        if (length > 0) {
            n += (size_t) snprintf(text + n, sizeof(text) - n, "fd %d %.*s\n",
                                   i, (int) length, target);
        }
    }

    f = fopen("/proc/self/status", "re");

    while (f != NULL && fgets(target, sizeof(target), f) != NULL) {
        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s", target);
    }

    if (f != NULL) {
        (void) fclose(f);
    }

    (void) snprintf(name, sizeof(name), "%s.%d", program, (int) getpid());
    put(name, text, n);
}


/* one of each key at a time: STATE and, for tenders, the user */

static void
alone(void)
{
    int   fd;
    char  path[8192];

    (void) snprintf(path, sizeof(path), "%s/%s.lock%lu", directory, program,
                    (unsigned long) getuid());

    fd = open(path, O_RDWR|O_CREAT|O_CLOEXEC, 0666);

    if (fd == -1 || flock(fd, LOCK_EX|LOCK_NB) == -1) {
        (void) snprintf(path, sizeof(path), "%s.second", program);
        put(path, "x", 1);
    }
}


static int
settings(int memfd)
{
    char         *text, *p, name[256];
    ssize_t       n;
    struct stat   st;
    static int    count;

    if (memfd == -1 || fstat(memfd, &st) == -1) {
        return -1;
    }

    text = calloc(1, (size_t) st.st_size + 1);
    n = text ? pread(memfd, text, (size_t) st.st_size, 0) : -1;
    close(memfd);

    /* sealed against all */

    if (n != st.st_size || (p = strstr(text, "state ")) == NULL) {
        return -1;
    }

    if (directory[0] == '\0') {
        (void) snprintf(directory, sizeof(directory), "%.*s/../fake",
                        (int) strcspn(p + 6, "\n"), p + 6);
        describe();
        alone();
    }

    stuck = is_there("stuck");

    if (is_there("crash")) {
        _exit(1);
    }

    if (is_there("refuse")) {
        free(text);
        return -1;
    }

    (void) snprintf(name, sizeof(name), "%s.%d.%d", program, (int) getpid(),
                    ++count);
    put(name, text, (size_t) n);
    free(text);

    return 0;
}


/* 0 at the end of the channel */

static int
channel(void)
{
    int              fd, rc;
    char             text[64], control[CMSG_SPACE(sizeof(int))];
    ssize_t          n;
    struct iovec     iov = { text, sizeof(text) };
    struct msghdr    msg = { .msg_iov = &iov, .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control) };
    struct cmsghdr  *c;

    n = recvmsg(3, &msg, MSG_CMSG_CLOEXEC);

    if (n <= 0) {
        return 0;
    }

    fd = -1;
    c = CMSG_FIRSTHDR(&msg);

    if (c != NULL && c->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(c), sizeof(int));
    }

    rc = n == 8 && memcmp(text, "settings", 8) == 0 ? settings(fd) : -1;

    (void) send(3, rc == 0 ? "ready" : "error of a fake", rc == 0 ? 5 : 15,
                MSG_NOSIGNAL);

    return 1;
}


/* whoever connects is told who serves */

static void
serve(void)
{
    int   s;
    char  pid[32];

    s = accept4(4, NULL, NULL, SOCK_CLOEXEC);

    if (s == -1) {
        return;
    }

    (void) snprintf(pid, sizeof(pid), "%d\n", (int) getpid());
    (void) send(s, pid, strlen(pid), MSG_NOSIGNAL);
    close(s);
}


int
main(int argc, char **argv)
{
    struct pollfd  p[2] = { { .fd = 3, .events = POLLIN },
                            { .fd = 4, .events = POLLIN } };

    (void) argc;

    program = argv[0];

    for ( ;; ) {

        if (poll(p, 2, -1) == -1 && errno != EINTR) {
            return 2;
        }

        if (p[1].revents & POLLIN) {
            serve();
        }

        if (p[0].revents && !channel()) {

            if (!stuck) {
                return 0;
            }

            p[0].fd = -1;
        }
    }
}
