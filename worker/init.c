
/*
 * The loop waits for two things: packets on the init channel, and signals
 * (signalfd).  A child that ended stays a zombie until its EXITED can be
 * sent, so the kernel keeps the queue when the supervisor is away, and its
 * pid cannot be used again before the supervisor could know of its end.
 */


#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "environment.h"
#include "faas_scoreboard.h"
#include "family.h"
#include "fds.h"
#include "init.h"
#include "sandbox.h"
#include "sdk.h"
#include "template.h"
#include "title.h"


/* the places of init's descriptors after fds_keep() */

enum {
    FD_CHANNEL = FDS_FIRST,
    FD_CODE,
    FD_TEMPLATE,
    FD_REPORT,
    FD_CHILDREN,
    FD_MIGRATIONS                /* if there are any */
};


typedef struct {
    family_t                 *family;
    pid_t                     template;    /* 0: not any more */
    int                       signals;     /* signalfd */
    unsigned                  full:1;      /* a zombie waits for the channel */
    unsigned                  birth:1;     /* a zombie waits for a birth */
    unsigned                  strangers:1; /* there may be some */
    unsigned                  end:1;
} init_t;


static void init_take_descriptors(const message_in_t *start);
static size_t init_groups(sandbox_t *sandbox, const char *text,
    size_t length);
static void init_take_text(const message_in_t *start, size_t n);
static void init_prepare(const message_in_t *start, init_t *init);
static int init_signals(void);
static void init_start_template(const message_in_t *start, init_t *init);
static void init_fail(const message_t *start, const char *what);
static void init_loop(init_t *init);
static void init_read_signals(init_t *init);
static void init_read_channel(init_t *init);
static void init_kill(const message_t *order);
static void init_reap(init_t *init);
static int init_can_report(init_t *init, pid_t pid);
static void init_report(pid_t pid, int status, const struct rusage *usage);


void
init_run(const message_in_t *start)
{
    init_t  init;

    memset(&init, 0, sizeof(init_t));

    init_take_descriptors(start);
    init_prepare(start, &init);
    init_start_template(start, &init);
    init_loop(&init);

    family_kill_all(FD_CHILDREN);

    _exit(0);
}


/*
 * From here on nothing of the zygote's is left but its memory.  Failures can
 * only be told by ending: the supervisor sees the channels' end.
 */

static void
init_take_descriptors(const message_in_t *start)
{
    int  fd[6], n;

    n = 5;
    fd[FD_CHANNEL - FDS_FIRST] = start->fd[INIT_FD_CHANNEL];
    fd[FD_CODE - FDS_FIRST] = start->fd[INIT_FD_CODE];
    fd[FD_TEMPLATE - FDS_FIRST] = start->fd[INIT_FD_TEMPLATE];
    fd[FD_REPORT - FDS_FIRST] = start->fd[INIT_FD_REPORT];
    fd[FD_CHILDREN - FDS_FIRST] = family_open_children();

    if (start->nfds > INIT_FD_MIGRATIONS) {
        fd[FD_MIGRATIONS - FDS_FIRST] = start->fd[INIT_FD_MIGRATIONS];
        n++;
    }

    if (fd[FD_CHILDREN - FDS_FIRST] == -1
        || dup2(start->fd[INIT_FD_LOG], STDOUT_FILENO) == -1
        || dup2(start->fd[INIT_FD_LOG], STDERR_FILENO) == -1
        || fds_keep(fd, n) != FAAS_OK)
    {
        perror("faas: function init");
        _exit(1);
    }
}


static void
init_prepare(const message_in_t *start, init_t *init)
{
    char       why[256];
    size_t     n;
    sandbox_t  sandbox;

    title_set("faas: %s init", start->head.name);

    if (setsid() == -1) {
        init_fail(&start->head, "setsid()");
    }

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        init_fail(&start->head, "PR_SET_CHILD_SUBREAPER");
    }

    init->signals = init_signals();
    if (init->signals == -1) {
        init_fail(&start->head, "signals");
    }

    init->family = family_create();
    if (init->family == NULL) {
        init_fail(&start->head, "mmap()");
    }

    sandbox.uid = start->head.uid;
    sandbox.gid = start->head.gid;

    n = init_groups(&sandbox, start->text, start->head.text_length);

    init_take_text(start, n);

    if (sandbox_enter(&sandbox, why, sizeof(why)) != FAAS_OK) {
        errno = 0;
        init_fail(&start->head, why);
    }
}


/* the environment, up to an empty string, and what is of baas.h */

static void
init_take_text(const message_in_t *start, size_t n)
{
    char    why[256];
    size_t  end, length;

    length = start->head.text_length;

    for (end = n; end < length && start->text[end] != '\0'; end++) {
        end += strlen(start->text + end);
    }

    if (environment_set(start->text + n, (end < length ? end : length) - n)
        != FAAS_OK)
    {
        init_fail(&start->head, "environment");
    }

    /* behind the zero that ends it */

    end++;
    errno = 0;

    if (end < length
        && sdk_configure(start->text + end, length - end, why, sizeof(why))
           != FAAS_OK)
    {
        if (errno == ENOMEM) {
            init_fail(&start->head, "configuration");
        }

        errno = 0;
        init_fail(&start->head, why);
    }
}


/* the first text; returns where the next begins */

static size_t
init_groups(sandbox_t *sandbox, const char *text, size_t length)
{
    size_t         n;
    unsigned long  gid;

    gid = 0;
    sandbox->groups = 0;

    for (n = 0; n < length; n++) {

        if (text[n] >= '0' && text[n] <= '9') {
            gid = gid * 10 + (unsigned long) (text[n] - '0');
            continue;
        }

        if (n > 0 && sandbox->groups < SANDBOX_GROUPS) {
            sandbox->group[sandbox->groups++] = (gid_t) gid;
        }

        gid = 0;

        if (text[n] == '\0') {
            return n + 1;
        }
    }

    return length;
}


/* all as after an exec, but for the two that the loop reads from the result */

static int
init_signals(void)
{
    int       i;
    sigset_t  set;

    for (i = 1; i < NSIG; i++) {
        (void) signal(i, SIG_DFL);
    }

    (void) signal(SIGPIPE, SIG_IGN);

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGCHLD);
    (void) sigaddset(&set, SIGTERM);

    if (sigprocmask(SIG_SETMASK, &set, NULL) == -1) {
        return -1;
    }

    return signalfd(-1, &set, SFD_CLOEXEC|SFD_NONBLOCK);
}


/* what the supervisor hears on the template channel, since none is there */

static void
init_fail(const message_t *start, const char *what)
{
    int        error, n;
    char       text[512];
    message_t  message;

    error = errno;

    n = error ? snprintf(text, sizeof(text), "%s failed (%d: %s)", what, error,
                         strerror(error))
              : snprintf(text, sizeof(text), "%s", what);

    if (n < 0) {
        n = 0;

    } else if (n >= (int) sizeof(text)) {
        n = sizeof(text) - 1;
    }

    memset(&message, 0, sizeof(message_t));
    message.type = MESSAGE_FAILED;
    message.index = start->index;
    message.status = error;

    (void) message_send(FD_TEMPLATE, &message, text, (size_t) n, NULL, 0);

    _exit(1);
}


static void
init_start_template(const message_in_t *start, init_t *init)
{
    pid_t       init_pid;
    message_t   message;
    template_t  template;

    memset(&template, 0, sizeof(template_t));

    template.start = &start->head;
    template.family = init->family;
    template.fd[TEMPLATE_FD_CHANNEL] = FD_TEMPLATE;
    template.fd[TEMPLATE_FD_REPORT] = FD_REPORT;
    template.fd[TEMPLATE_FD_CODE] = FD_CODE;
    template.fd[TEMPLATE_FD_MIGRATIONS] = start->nfds > INIT_FD_MIGRATIONS
                                          ? FD_MIGRATIONS : -1;

    init_pid = getpid();
    init->template = fork();

    switch (init->template) {

    case -1:
        init_fail(&start->head, "fork()");
        break;

    case 0:
        template.init = init_pid;
        template_run(&template);
        break;

    default:
        break;
    }

    (void) family_join(init->family, init->template);

    /* what is the template's must end with it */

    (void) close(FD_CODE);
    (void) close(FD_TEMPLATE);
    (void) close(FD_REPORT);

    if (start->nfds > INIT_FD_MIGRATIONS) {
        (void) close(FD_MIGRATIONS);
    }

    memset(&message, 0, sizeof(message_t));
    message.type = MESSAGE_TEMPLATE;
    message.index = start->head.index;
    message.pid = init->template;

    if (message_send(FD_CHANNEL, &message, NULL, 0, NULL, 0) != FAAS_OK) {
        init->end = 1;
    }
}


static void
init_loop(init_t *init)
{
    int            n;
    struct pollfd  pfd[2];

    pfd[0].fd = FD_CHANNEL;
    pfd[1].fd = init->signals;
    pfd[1].events = POLLIN;

    while (!init->end) {

        pfd[0].events = init->full ? POLLIN|POLLOUT : POLLIN;

        /* from fork to FORKED takes a template some microseconds */

        n = poll(pfd, 2, init->birth || init->strangers ? 1 : -1);

        if (n == -1 && errno != EINTR) {
            return;
        }

        if (n > 0 && pfd[1].revents) {
            init_read_signals(init);
        }

        if (n > 0 && (pfd[0].revents & (POLLIN|POLLHUP|POLLERR))) {
            init_read_channel(init);
        }

        init_reap(init);
    }
}


static void
init_read_signals(init_t *init)
{
    struct signalfd_siginfo  info;

    while (read(init->signals, &info, sizeof(info)) == sizeof(info)) {

        if (info.ssi_signo == SIGTERM) {
            init->end = 1;
        }
    }
}


static void
init_read_channel(init_t *init)
{
    char          text[1];
    message_in_t  in;

    switch (message_recv(FD_CHANNEL, &in, text, sizeof(text))) {

    case FAAS_OK:
        break;

    case FAAS_AGAIN:
        return;

    default:
        init->end = 1;
        return;
    }

    while (in.nfds) {
        (void) close(in.fd[--in.nfds]);
    }

    if (in.head.type != MESSAGE_KILL) {
        init->end = 1;
        return;
    }

    init_kill(&in.head);
}


/*
 * Only who is a child can be meant: reaped by nobody but this process, such
 * a pid cannot have become another's.
 */

static void
init_kill(const message_t *order)
{
    siginfo_t  info;

    if (order->pid <= 1 || order->status <= 0 || order->status >= NSIG) {
        return;
    }

    if (waitid(P_PID, (id_t) order->pid, &info, WEXITED|WNOHANG|WNOWAIT)
        == -1)
    {
        return;
    }

    /* the group, and itself when it does not lead one yet */

    if (kill(-order->pid, order->status) == -1) {
        (void) kill(order->pid, order->status);
    }
}


static void
init_reap(init_t *init)
{
    int            status, member;
    pid_t          pid;
    siginfo_t      info;
    struct rusage  usage;

    init->full = 0;
    init->birth = 0;

    for ( ;; ) {
        info.si_pid = 0;

        if (waitid(P_ALL, 0, &info, WEXITED|WNOHANG|WNOWAIT) == -1
            || info.si_pid == 0)
        {
            break;
        }

        pid = info.si_pid;

        if (!init_can_report(init, pid)) {
            break;
        }

        member = family_has(init->family, pid);

        if (member) {
            /* while the zombie holds its pid, no other group can have it */
            (void) kill(-pid, SIGKILL);
        }

        if (wait4(pid, &status, 0, &usage) != pid) {
            break;
        }

        init->strangers = 1;

        if (!member) {
            continue;
        }

        family_leave(init->family, pid);

        if (pid == init->template) {
            init->template = 0;
        }

        init_report(pid, status, &usage);
    }

    if (init->strangers) {
        init->strangers = family_kill_strangers(init->family, FD_CHILDREN)
                          != FAAS_OK;
    }
}


static int
init_can_report(init_t *init, pid_t pid)
{
    siginfo_t      info;
    struct pollfd  pfd;

    if (family_has_birth(init->family)) {

        /* a template that died in a birth will not end it */

        info.si_pid = 0;

        if (init->template
            && waitid(P_PID, (id_t) init->template, &info,
                      WEXITED|WNOHANG|WNOWAIT) == 0
            && info.si_pid == 0)
        {
            init->birth = 1;
            return 0;
        }

        family_born(init->family);
    }

    if (!family_has(init->family, pid)) {
        return 1;
    }

    pfd.fd = FD_CHANNEL;
    pfd.events = POLLOUT;

    /* an error counts as room: the channel's end will be read next */

    if (poll(&pfd, 1, 0) == 1) {
        return 1;
    }

    init->full = 1;

    return 0;
}


static void
init_report(pid_t pid, int status, const struct rusage *usage)
{
    message_t  message;

    memset(&message, 0, sizeof(message_t));

    message.type = MESSAGE_EXITED;
    message.pid = pid;
    message.status = status;
    message.utime_us = (uint64_t) usage->ru_utime.tv_sec * 1000000
                       + (uint64_t) usage->ru_utime.tv_usec;
    message.stime_us = (uint64_t) usage->ru_stime.tv_sec * 1000000
                       + (uint64_t) usage->ru_stime.tv_usec;
    message.maxrss_kb = (uint64_t) usage->ru_maxrss;

    (void) message_send(FD_CHANNEL, &message, NULL, 0, NULL, 0);
}
