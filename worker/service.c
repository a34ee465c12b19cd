
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "beside.h"
#include "deposit.h"
#include "faas_scoreboard.h"
#include "log.h"
#include "service.h"
#include "supervisor.h"


/* before another start of one that lived for less, unless nothing died for
   so long; what it gets to end; how often a lock is tried */
#define SERVICE_SPACE_MS  1000
#define SERVICE_QUIET_MS  10000
#define SERVICE_END_MS    1000
#define SERVICE_LOCK_MS   20

#define SERVICE_PROGRAMS  2


/* a program, opened when it is asked for first */

typedef struct {
    const char               *name;
    int                       fd;
    int                       looked;
} service_program_t;


static int service_program(const char *name);
static void service_init(service_t *s);
static void service_spawn(service_t *s);
static void service_events(void *data, uint32_t events);
static void service_said(service_t *s, const char *text);
static void service_gone(service_t *s);
static void service_forget(service_t *s);
static void service_end(service_t *s);
static void service_timer(void *data);
static void service_kill(service_t *s);
static int32_t service_pid(int process);
static int service_memfd(const text_t *text);


static service_t  *service_list;

static service_program_t  service_programs[SERVICE_PROGRAMS] = {
    { "faas-events", -1, 0 },
    { "faas-tender", -1, 0 }
};


int
service_has_program(const char *name)
{
    return service_program(name) != -1;
}


static int
service_program(const char *name)
{
    char                key[SERVICE_KEY_SIZE];
    service_program_t  *p;

    for (p = service_programs; strcmp(p->name, name) != 0; p++) { /* void */ }

    if (p->looked) {
        return p->fd;
    }

    p->looked = 1;

    (void) snprintf(key, sizeof(key), "program/%s", name);
    p->fd = beside_program(name, key);

    if (p->fd == -1) {
        log_line(LOG_WARN, errno, "\"%s\" cannot be had beside "
                 "faas-supervisor, %s", name, strcmp(name, "faas-events") == 0
                 ? "there are no queues, timers and async calls"
                 : "databases of functions are not looked after");
    }

    return p->fd;
}


static void
service_init(service_t *s)
{
    if (s->channel.data == s) {
        return;
    }

    s->channel.fd = -1;
    s->channel.handler = service_events;
    s->channel.data = s;
    s->timer.handler = service_timer;
    s->timer.data = s;
    s->process = -1;

    s->next = service_list;
    service_list = s;
}


void
service_adopt(service_t *s)
{
    int  fd;

    service_init(s);

    fd = deposit_take("%s", s->key);
    s->process = deposit_take("%s-pid", s->key);

    if (fd == -1 || loop_add(&s->channel, fd, EPOLLIN) == -1) {

        if (fd != -1) {
            close(fd);
        }

        service_forget(s);    /* half started, if there is anything */
        return;
    }

    s->pid = service_pid(s->process);
    s->started_ms = loop_now_ms();
    s->state = SERVICE_RUNNING;
    s->wanted = 1;
    s->started(s);
}


int
service_start(service_t *s)
{
    if (service_program(s->program) == -1) {
        return -1;
    }

    service_init(s);
    s->wanted = 1;

    if (s->state == SERVICE_NONE) {
        service_spawn(s);
    }

    return 0;
}


void
service_stop(service_t *s)
{
    s->wanted = 0;

    switch (s->state) {

    case SERVICE_RUNNING:
        s->state = SERVICE_ENDING;

        /* it reads the end; we go on until it closes its own */

        (void) shutdown(s->channel.fd, SHUT_WR);
        loop_arm(&s->timer, loop_now_ms() + SERVICE_END_MS);
        break;

    case SERVICE_ENDING:
        break;

    default:
        service_forget(s);
        service_end(s);
    }
}


void
service_restart(service_t *s)
{
    if (s->state == SERVICE_RUNNING) {
        service_stop(s);
        s->wanted = 1;
    }
}


int
service_end_all(int hard)
{
    int         left;
    service_t  *s, *next;

    left = 0;

    for (s = service_list; s != NULL; s = next) {
        next = s->next;

        if (s->state == SERVICE_ENDING) {
            s->wanted = 0;

            if (hard) {
                service_kill(s);
            }

            left++;
            continue;
        }

        left += s->state == SERVICE_RUNNING;
        service_stop(s);    /* it may be gone now */
    }

    return left;
}


static void
service_spawn(service_t *s)
{
    int  rc;

    rc = service_start_process(s, service_program(s->program));

    if (rc == FAAS_OK) {
        s->state = SERVICE_RUNNING;
        s->started(s);
        return;
    }

    if (rc == FAAS_ERROR) {
        supervisor_error(errno, "could not start the %s process", s->title);
        service_forget(s);
    }

    s->state = SERVICE_WAITING;
    loop_arm(&s->timer, loop_now_ms() + (rc == FAAS_AGAIN
                                         ? SERVICE_LOCK_MS
                                         : SERVICE_SPACE_MS));
}


static void
service_events(void *data, uint32_t events)
{
    char        text[4096];
    ssize_t     n;
    service_t  *s;

    (void) events;

    s = data;

    for ( ;; ) {
        n = recv(s->channel.fd, text, sizeof(text) - 1, MSG_DONTWAIT);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1 && errno == EAGAIN) {
            return;
        }

        if (n <= 0) {
            service_gone(s);
            return;
        }

        text[n] = '\0';
        service_said(s, text);
    }
}


/* the same again is not worth a line */

static void
service_said(service_t *s, const char *text)
{
    if (strcmp(text, "ready") == 0) {
        s->error[0] = '\0';
        return;
    }

    if (strncmp(text, "error ", 6) != 0) {
        text = "it says what is no message";

    } else {
        text += 6;
    }

    if (strncmp(s->error, text, sizeof(s->error) - 1) != 0) {
        (void) snprintf(s->error, sizeof(s->error), "%.*s",
                        (int) sizeof(s->error) - 1, text);
        supervisor_error(0, "%s process %d: %s", s->title, (int) s->pid,
                         text);
    }
}


/* its end of the channel is closed: it has ended, or will now */

static void
service_gone(service_t *s)
{
    char      pid[16];
    uint64_t  at_ms;

    if (s->state == SERVICE_RUNNING) {
        pid[0] = '\0';

        if (s->pid != 0) {
            (void) snprintf(pid, sizeof(pid), " %d", (int) s->pid);
        }

        log_line(LOG_ERROR, 0, "%s process%s is gone%s", s->title, pid,
                 supervisor.draining ? "" : ", starting another");
    }

    service_kill(s);
    close(loop_remove(&s->channel));

    if (!s->wanted || supervisor.draining) {
        s->wanted = 0;
        service_forget(s);
        service_end(s);
        return;
    }

    at_ms = loop_now_ms();

    if (s->state == SERVICE_RUNNING) {

        if (at_ms - s->started_ms < SERVICE_SPACE_MS && s->died_ms != 0
            && at_ms - s->died_ms < SERVICE_QUIET_MS)
        {
            at_ms += SERVICE_SPACE_MS;
        }

        s->died_ms = loop_now_ms();
    }

    service_forget(s);
    s->state = SERVICE_WAITING;
    loop_arm(&s->timer, at_ms);
}


/* no process any more, and nothing with the keeper */

static void
service_forget(service_t *s)
{
    deposit_remove("%s", s->key);
    deposit_remove("%s-pid", s->key);
    loop_disarm(&s->timer);

    if (s->process != -1) {
        service_kill(s);
        close(s->process);
        s->process = -1;
    }

    s->pid = 0;
    s->state = SERVICE_NONE;
}


/* for good */

static void
service_end(service_t *s)
{
    service_t  **p;

    for (p = &service_list; *p != NULL; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;
            break;
        }
    }

    s->channel.data = NULL;    /* service_init() */

    if (s->ended != NULL) {
        s->ended(s);
    }
}


static void
service_timer(void *data)
{
    service_t  *s;

    s = data;

    if (s->state == SERVICE_ENDING) {
        log_line(LOG_WARN, 0, "%s process %d does not end, it is killed",
                 s->title, (int) s->pid);
        service_kill(s);
        return;
    }

    if (s->state == SERVICE_WAITING && s->wanted && !supervisor.draining) {
        service_spawn(s);
    }
}


static void
service_kill(service_t *s)
{
    if (s->process != -1) {
        (void) syscall(SYS_pidfd_send_signal, s->process, SIGKILL, NULL, 0);
    }
}


/* for lines of the log only; 0: it has ended, and nobody knows any more */

static int32_t
service_pid(int process)
{
    int    pid;
    char   path[64], line[64];
    FILE  *info;

    pid = 0;
    (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", process);

    info = process != -1 ? fopen(path, "re") : NULL;

    if (info == NULL) {
        return 0;
    }

    while (fgets(line, sizeof(line), info) != NULL) {
        if (strncmp(line, "Pid:", 4) == 0) {
            pid = (int) strtol(line + 4, NULL, 10);
        }
    }

    (void) fclose(info);

    return pid > 0 ? pid : 0;
}


int
service_settings(service_t *s, const text_t *text)
{
    int             fd, rc;
    char            control[CMSG_SPACE(sizeof(int))];
    struct iovec    iov;
    struct msghdr   msg;
    struct cmsghdr  *c;

    static char  settings[] = "settings";

    if (s->state != SERVICE_RUNNING) {
        return FAAS_ERROR;
    }

    fd = service_memfd(text);

    if (fd == -1) {
        supervisor_error(errno, "no memory for the settings of the %s "
                         "process", s->title);
        return FAAS_AGAIN;
    }

    memset(&msg, 0, sizeof(msg));
    memset(control, 0, sizeof(control));

    iov.iov_base = settings;
    iov.iov_len = sizeof(settings) - 1;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);

    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));

    rc = FAAS_OK;

    if (sendmsg(s->channel.fd, &msg, MSG_NOSIGNAL|MSG_DONTWAIT) == -1) {

        rc = errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS
             ? FAAS_AGAIN : FAAS_ERROR;

        if (errno == EPIPE
            && recv(s->channel.fd, control, 1, MSG_PEEK|MSG_DONTWAIT) != 0)
        {
            /* it is there: the supervisor before us had told it to end */

            service_restart(s);
        }
    }

    close(fd);

    return rc;
}


/* sealed: what is read is what was written */

static int
service_memfd(const text_t *text)
{
    int      fd, error;
    size_t   done;
    ssize_t  n;

    fd = memfd_create("faas-settings", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (fd == -1) {
        return -1;
    }

    for (done = 0; done < text->size; done += (size_t) n) {
        n = write(fd, text->data + done, text->size - done);

        if (n <= 0) {
            goto failed;
        }
    }

    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_WRITE
                               |F_SEAL_SEAL) == -1)
    {
        goto failed;
    }

    return fd;

failed:

    error = errno;
    close(fd);
    errno = error;

    return -1;
}
