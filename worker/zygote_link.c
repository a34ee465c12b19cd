
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beside.h"
#include "deposit.h"
#include "lineage.h"
#include "log.h"
#include "zygote_link.h"


#define ZYGOTE_LINK_PROGRAM   "faas-zygote"
#define ZYGOTE_LINK_FD        3
#define ZYGOTE_LINK_SPACE_MS  1000


static int zygote_link_spawn(void);
static void zygote_link_exec(int far);
static void zygote_link_events(void *data, uint32_t events);
static void zygote_link_died(void);
static void zygote_link_again(void *data);


static struct {
    loop_event_t  event;             /* its channel */
    loop_timer_t  timer;             /* of the next start */
    int           program;           /* its executable, O_PATH */
    int           process;           /* pidfd */
    pid_t         pid;               /* 0: adopted */
    uint64_t      started_ms;
    int           ended;             /* 1: it shall not come again */
} zygote_link = { .event = { .fd = -1 }, .program = -1, .process = -1 };


int
zygote_link_init(void)
{
    int  fd;

    zygote_link.event.handler = zygote_link_events;
    zygote_link.timer.handler = zygote_link_again;

    zygote_link.program = beside_program(ZYGOTE_LINK_PROGRAM, "program");

    if (zygote_link.program == -1) {
        supervisor_error(errno, "could not open \"" ZYGOTE_LINK_PROGRAM
                         "\" beside faas-supervisor");
        return -1;
    }

    zygote_link.process = deposit_take("zygote-pid");
    fd = deposit_take("zygote");

    if (fd != -1 && loop_add(&zygote_link.event, fd, EPOLLIN) == 0) {
        return 0;
    }

    return zygote_link_spawn();
}


static int
zygote_link_spawn(void)
{
    int    pair[2];
    pid_t  pid;

    zygote_link.started_ms = loop_now_ms();

    if (socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, pair) == -1) {
        supervisor_error(errno, "socketpair failed for the zygote");
        return -1;
    }

    pid = fork();

    if (pid == 0) {
        zygote_link_exec(pair[1]);
    }

    close(pair[1]);

    if (pid == -1
        || fcntl(pair[0], F_SETFL, O_RDWR|O_NONBLOCK) == -1
        || loop_add(&zygote_link.event, pair[0], EPOLLIN) == -1)
    {
        supervisor_error(errno, "could not start the zygote");
        close(pair[0]);    /* which ends it, if it is there */
        return -1;
    }

    zygote_link.pid = pid;
    zygote_link.process = (int) syscall(SYS_pidfd_open, pid, 0);

    (void) deposit_put(pair[0], "zygote");

    if (zygote_link.process != -1) {
        (void) deposit_put(zygote_link.process, "zygote-pid");
    }

    return 0;
}


/* in the child: descriptors 0, 1, 2 and the channel as 3, nothing else */

static void
zygote_link_exec(int far)
{
    int       i, null;
    sigset_t  set;

    static char  name[] = ZYGOTE_LINK_PROGRAM;

    /* room for the titles of what is forked from it; it clears this */
    static char  room[] = "FAAS_TITLE="
                          "................................................"
                          "................................................";

    /* libfcgi allocates some thirty strings for a request: with room for all
       of them in the allocator's first cache, freeing costs a third */
    static char  tunables[] = "GLIBC_TUNABLES=glibc.malloc.tcache_count=64";

    char  *argv[] = { name, NULL };
    char  *envp[] = { room, tunables, NULL };

    far = fcntl(far, F_DUPFD_CLOEXEC, 10);
    null = open("/dev/null", O_RDONLY|O_CLOEXEC);

    if (far == -1 || null == -1 || dup2(null, 0) == -1
        || dup2(far, ZYGOTE_LINK_FD) == -1)
    {
        _exit(1);
    }

    for (i = 1; i < NSIG; i++) {
        (void) signal(i, SIG_DFL);
    }

    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    (void) setsid();

    fexecve(zygote_link.program, argv, envp);

    log_line(LOG_ALERT, errno, "could not execute the zygote");
    _exit(1);
}


int
zygote_link_send(message_t *m, const char *text, size_t length,
    const int *fds, uint32_t nfds)
{
    int            rc;
    struct pollfd  p;

    if (zygote_link.event.fd == -1) {
        errno = ECONNREFUSED;
        return FAAS_ERROR;
    }

    rc = message_send(zygote_link.event.fd, m, text, length, fds, nfds);

    if (rc == FAAS_AGAIN) {

        /* hundreds of starts at once: it takes 0.2 ms for each */

        p.fd = zygote_link.event.fd;
        p.events = POLLOUT;
        (void) poll(&p, 1, 1000);

        rc = message_send(zygote_link.event.fd, m, text, length, fds, nfds);
    }

    if (rc == FAAS_AGAIN) {
        errno = EAGAIN;
        rc = FAAS_ERROR;
    }

    return rc;
}


void
zygote_link_read(void)
{
    int           rc;
    message_in_t  in;

    static char  text[MESSAGE_TEXT];

    while (zygote_link.event.fd != -1) {

        rc = message_recv(zygote_link.event.fd, &in, text, sizeof(text));

        if (rc == FAAS_AGAIN) {
            return;
        }

        if (rc != FAAS_OK) {
            zygote_link_died();
            return;
        }

        while (in.nfds > 0) {
            close(in.fd[--in.nfds]);
        }

        if (in.head.type == MESSAGE_STARTED) {
            lineage_started(in.head.index, in.head.pid);

        } else if (in.head.type == MESSAGE_FAILED) {
            lineage_not_started(in.head.index, in.text);
        }
    }
}


static void
zygote_link_events(void *data, uint32_t events)
{
    (void) data;
    (void) events;

    zygote_link_read();
}


void
zygote_link_stuck(void)
{
    log_line(LOG_ALERT, 0, "zygote does not answer, it is killed");
    zygote_link_died();
}


static void
zygote_link_died(void)
{
    int  fd;

    fd = loop_remove(&zygote_link.event);
    close(fd);
    deposit_remove("zygote");
    deposit_remove("zygote-pid");

    if (zygote_link.process != -1) {
        (void) syscall(SYS_pidfd_send_signal, zygote_link.process, SIGKILL,
                       NULL, 0);
        close(zygote_link.process);
        zygote_link.process = -1;
    }

    if (zygote_link.ended) {
        return;
    }

    log_line(LOG_ALERT, 0, "zygote is gone, starting another");

    if (loop_now_ms() - zygote_link.started_ms < ZYGOTE_LINK_SPACE_MS
        || zygote_link_spawn() == -1)
    {
        loop_arm(&zygote_link.timer, loop_now_ms() + ZYGOTE_LINK_SPACE_MS);
    }

    lineage_zygote_died();
}


static void
zygote_link_again(void *data)
{
    (void) data;

    if (!zygote_link.ended && zygote_link_spawn() == -1) {
        loop_arm(&zygote_link.timer, loop_now_ms() + ZYGOTE_LINK_SPACE_MS);
    }
}


int
zygote_link_end(int hard)
{
    int  fd;

    zygote_link.ended = 1;

    if (hard && zygote_link.process != -1) {
        (void) syscall(SYS_pidfd_send_signal, zygote_link.process, SIGKILL,
                       NULL, 0);
    }

    fd = loop_remove(&zygote_link.event);

    if (fd != -1) {
        close(fd);
        deposit_remove("zygote");
    }

    if (zygote_link.process != -1) {
        struct pollfd  p = { .fd = zygote_link.process, .events = POLLIN };

        return poll(&p, 1, 0) == 1;
    }

    return 1;
}
