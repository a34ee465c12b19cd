
/*
 * The start of a process: everything is prepared, then it is forked, waits
 * until the keeper has what it takes to adopt it, and is executed.
 */


#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deposit.h"
#include "faas_scoreboard.h"
#include "log.h"
#include "service.h"
#include "supervisor.h"


#define SERVICE_START_HELD_MS  3000    /* then it is said that a lock is held */

/* the child's descriptors, beside 0, 1 and 2 */
#define SERVICE_START_CHANNEL  3
#define SERVICE_START_LISTEN   4
#define SERVICE_START_PROGRAM  5       /* closed by exec */
#define SERVICE_START_FIRST    10


/* what one start needs until it has happened; all -1 at first */

typedef struct {
    int                       channel[2];
    int                       go[2];         /* a byte: you may run */
    int                       zero;          /* its descriptor 0 */
    int                       log;           /* 1 and 2 */
} service_start_t;


static int service_start_prepare(service_t *s, service_start_t *start);
static int service_start_lock(service_t *s, service_start_t *start);
static int service_start_run(service_t *s, service_start_t *start, int program);
static int service_start_deposit(service_t *s, const service_start_t *start);
static void service_start_discard(service_start_t *start);
static void service_start_exec(const service_t *s, const service_start_t *start,
    int program)
    __attribute__((noreturn));
static int service_start_place(const service_t *s, const service_start_t *start,
    int program);


int
service_start_process(service_t *s, int program)
{
    int              rc, error;
    service_start_t  start;

    memset(&start, -1, sizeof(start));

    rc = service_start_prepare(s, &start);

    if (rc == FAAS_OK) {
        rc = service_start_run(s, &start, program);
    }

    error = errno;
    service_start_discard(&start);
    errno = error;

    return rc;
}


static int
service_start_prepare(service_t *s, service_start_t *start)
{
    int  rc;

    rc = s->lock != NULL ? service_start_lock(s, start) : FAAS_OK;

    if (rc != FAAS_OK) {
        return rc;
    }

    if (start->zero == -1) {
        start->zero = open("/dev/null", O_RDONLY|O_CLOEXEC);
    }

    /* its descriptors for the log are of the file that is there now; what was
       inherited from nginx may be a rotated one */

    if (supervisor.settings->error_log != NULL) {
        start->log = open(supervisor.settings->error_log,
                          O_WRONLY|O_APPEND|O_NOCTTY|O_CLOEXEC);
    }

    if (start->zero == -1
        || socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, start->channel)
           == -1
        || pipe2(start->go, O_CLOEXEC) == -1
        || fcntl(start->channel[0], F_SETFL, O_RDWR|O_NONBLOCK) == -1)
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


/* FAAS_AGAIN: another one has not ended yet */

static int
service_start_lock(service_t *s, service_start_t *start)
{
    start->zero = openat(supervisor.state_dir, s->lock,
                         O_RDONLY|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC,
                         0600);

    if (start->zero == -1) {
        return FAAS_ERROR;
    }

    if (flock(start->zero, LOCK_EX|LOCK_NB) == 0) {
        s->held_ms = 0;
        return FAAS_OK;
    }

    if (errno != EWOULDBLOCK) {
        return FAAS_ERROR;
    }

    if (s->held_ms == 0) {
        s->held_ms = loop_now_ms();

    } else if (s->held_ms != UINT64_MAX
               && loop_now_ms() - s->held_ms > SERVICE_START_HELD_MS)
    {
        supervisor_error(0, "another %s process holds \"%s\" in faas_state, "
                         "it is waited for", s->title, s->lock);
        s->held_ms = UINT64_MAX;
    }

    return FAAS_AGAIN;
}


static int
service_start_run(service_t *s, service_start_t *start, int program)
{
    int    error;
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        service_start_exec(s, start, program);
    }

    if (pid == -1) {
        return FAAS_ERROR;
    }

    s->pid = pid;
    s->process = (int) syscall(SYS_pidfd_open, pid, 0);

    /* without the byte it ends when the pipe is closed */

    if (s->process == -1
        || loop_add(&s->channel, start->channel[0], EPOLLIN) == -1
        || service_start_deposit(s, start) == -1
        || write(start->go[1], "g", 1) != 1)
    {
        error = errno;
        (void) loop_remove(&s->channel);
        errno = error;
        return FAAS_ERROR;
    }

    start->channel[0] = -1;
    s->started_ms = loop_now_ms();
    s->error[0] = '\0';

    log_line(LOG_INFO, 0, "%s process %d is started", s->title, (int) pid);

    return FAAS_OK;
}


static int
service_start_deposit(service_t *s, const service_start_t *start)
{
    return deposit_put(start->channel[0], "%s", s->key) == 0
           && deposit_put(s->process, "%s-pid", s->key) == 0 ? 0 : -1;
}


/* what the child has is its own */

static void
service_start_discard(service_start_t *start)
{
    size_t     i;
    const int  fds[] = {
        start->channel[0], start->channel[1], start->go[0], start->go[1],
        start->zero, start->log
    };

    for (i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] != -1) {
            close(fds[i]);
        }
    }
}


/* in the child */

static void
service_start_exec(const service_t *s, const service_start_t *start,
    int program)
{
    int       i;
    char      name[SERVICE_KEY_SIZE], go;
    sigset_t  set;

    static char  path[] = "PATH=/usr/local/bin:/usr/bin:/bin";

    char  *argv[] = { name, NULL };
    char  *envp[] = { path, NULL };

    (void) snprintf(name, sizeof(name), "%s", s->program);

    /* also the end of the supervisor is an end of that pipe */

    close(start->go[1]);

    if (read(start->go[0], &go, 1) != 1
        || service_start_place(s, start, program) == -1)
    {
        _exit(1);
    }

    for (i = 1; i < NSIG; i++) {
        (void) signal(i, SIG_DFL);
    }

    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    (void) setsid();
    (void) umask(0007);

    if (user_become(&s->user) == -1
        || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
    {
        log_line(LOG_ALERT, errno, "the %s process could not become uid %lu",
                 s->title, (unsigned long) s->user.uid);
        _exit(1);
    }

    fexecve(SERVICE_START_PROGRAM, argv, envp);

    log_line(LOG_ALERT, errno, "could not execute \"%s\"", s->program);
    _exit(1);
}


/* out of the way first, then each to its place; the rest goes */

static int
service_start_place(const service_t *s, const service_start_t *start,
    int program)
{
    int  fd[5], i;

    fd[0] = start->zero;
    fd[1] = start->log != -1 ? start->log : STDERR_FILENO;
    fd[2] = start->channel[1];
    fd[3] = program;
    fd[4] = s->listen;

    for (i = 0; i < 5; i++) {
        if (fd[i] != -1) {
            fd[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, SERVICE_START_FIRST);

            if (fd[i] == -1) {
                return -1;
            }
        }
    }

    if (dup2(fd[0], STDIN_FILENO) == -1 || dup2(fd[1], STDOUT_FILENO) == -1
        || dup2(fd[1], STDERR_FILENO) == -1
        || dup2(fd[2], SERVICE_START_CHANNEL) == -1
        || dup3(fd[3], SERVICE_START_PROGRAM, O_CLOEXEC) == -1)
    {
        return -1;
    }

    if (fd[4] == -1) {
        close(SERVICE_START_LISTEN);

    } else if (dup2(fd[4], SERVICE_START_LISTEN) == -1) {
        return -1;
    }

    return (int) syscall(SYS_close_range, SERVICE_START_PROGRAM + 1, ~0u, 0);
}
