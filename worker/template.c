
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "descriptor.h"
#include "faas_scoreboard.h"
#include "fds.h"
#include "hugepages.h"
#include "instance.h"
#include "load.h"
#include "migrate.h"
#include "sandbox.h"
#include "sdk.h"
#include "sibling.h"
#include "template.h"
#include "title.h"


/* the places of template's descriptors after fds_keep() */

enum {
    FD_CHANNEL = FDS_FIRST,
    FD_REPORT,
    FD_CODE,
    FD_MIGRATIONS                /* if there are any */
};


static void template_prepare(template_t *template);
static int template_signals(void);
static void template_sigpipe(int signo);
static void template_migrate(const template_t *template);
static void template_load(template_t *template, faas_descriptor_t *descriptor);
static void template_init(const template_t *template,
    const faas_descriptor_t *descriptor);
static void template_check_threads(const template_t *template);
static void template_tell(const template_t *template,
    const faas_descriptor_t *descriptor);
static void template_limit_time(const template_t *template);
static void template_unlimit_time(void);
static void template_late(int signo);
static void template_fail(const template_t *template, int error,
    const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
static void template_serve(template_t *template,
    const faas_descriptor_t *descriptor);
static void template_fork(template_t *template,
    const faas_descriptor_t *descriptor, message_in_t *in);


/*
 * The guard of init_timeout.  A POSIX timer and a signal of its own, so that
 * a function may use alarm(); the supervisor guards the time as well, should
 * a function block all signals.
 */

#define TEMPLATE_SIGNAL  (SIGRTMAX - 1)

static timer_t  template_timer;

static struct {
    message_t                 message;
    char                      text[128];
} template_late_answer;


void
template_run(template_t *template)
{
    faas_descriptor_t  descriptor;

    template_prepare(template);

    template_limit_time(template);

    if (template->fd[TEMPLATE_FD_MIGRATIONS] != -1) {
        template_migrate(template);
    }

    template_load(template, &descriptor);
    template_init(template, &descriptor);
    template_check_threads(template);

    template_unlimit_time();

    /* what comes with an order shall not be in the place of an instance's
       log */

    fds_fill();

    (void) hugepages_collapse();

    /* what is in a buffer now, each instance would write again */

    (void) fflush(NULL);

    template_tell(template, &descriptor);
    template_serve(template, &descriptor);

    _exit(0);
}


static void
template_prepare(template_t *template)
{
    int  n;

    n = template->fd[TEMPLATE_FD_MIGRATIONS] == -1 ? TEMPLATE_FD_MIGRATIONS
                                                   : TEMPLATE_FDS;

    /* without a session of its own a signal to it would reach the init */

    if (fds_keep(template->fd, n) != FAAS_OK || setsid() == -1) {
        perror("faas: template");
        _exit(1);
    }

    /* shared by all instances, which must not wait for its reader */

    if (fcntl(FD_REPORT, F_SETFL, O_NONBLOCK) == -1) {
        template_fail(template, errno, "fcntl() failed (%d: %s)", errno,
                      strerror(errno));
    }

    if (sandbox_die_with(template->init) != FAAS_OK) {
        _exit(1);
    }

    if (family_hide(template->family) != FAAS_OK) {
        template_fail(template, errno, "madvise() failed (%d: %s)", errno,
                      strerror(errno));
    }

    if (template_signals() != FAAS_OK) {
        template_fail(template, errno, "sigaction() failed (%d: %s)", errno,
                      strerror(errno));
    }

    title_set("faas: %s template", template->start->name);
}


static int
template_signals(void)
{
    sigset_t          set;
    struct sigaction  sa;

    memset(&sa, 0, sizeof(struct sigaction));
    (void) sigemptyset(&sa.sa_mask);
    sa.sa_flags = SA_RESTART;

    /* a handler and not SIG_IGN: what a function execs shall not inherit it */

    sa.sa_handler = template_sigpipe;

    if (sigaction(SIGPIPE, &sa, NULL) == -1) {
        return FAAS_ERROR;
    }

    sa.sa_handler = template_late;

    if (sigaction(TEMPLATE_SIGNAL, &sa, NULL) == -1) {
        return FAAS_ERROR;
    }

    (void) sigemptyset(&set);

    return sigprocmask(SIG_SETMASK, &set, NULL) == -1 ? FAAS_ERROR : FAAS_OK;
}


static void
template_sigpipe(int signo)
{
    (void) signo;
}


static void
template_migrate(const template_t *template)
{
    char         why[MIGRATE_WHY];
    size_t       n;
    const char  *conf;

    conf = sdk_conf(&n);

    if (conf == NULL) {
        template_fail(template, 0, "has migrations, but no backend services");
    }

    if (migrate(FD_MIGRATIONS, conf, n, template->start->init_timeout_ms, why)
        != FAAS_OK)
    {
        template_fail(template, 0, "%s", why);
    }

    (void) close(FD_MIGRATIONS);
}


static void
template_load(template_t *template, faas_descriptor_t *descriptor)
{
    int   lacks;
    char  why[768];

    if (load_code(FD_CODE, descriptor, &lacks, why, sizeof(why)) != FAAS_OK) {
        template_fail(template, lacks, "%s", why);
    }

    if (template->start->flags & MESSAGE_CORE) {
        core_symbols(FD_CODE, template->start->name);
    }

    (void) close(FD_CODE);
}


static void
template_init(const template_t *template, const faas_descriptor_t *descriptor)
{
    int  rc;

    if (descriptor->init) {
        rc = descriptor->init();

        if (rc != 0) {
            template_fail(template, 0, "init() returned %d", rc);
        }
    }

    if (descriptor->selftest) {
        rc = descriptor->selftest();

        if (rc != 0) {
            template_fail(template, 0, "selftest() returned %d", rc);
        }
    }
}


/*
 * A fork has the thread that called it and no other: what a thread of init()
 * did would silently not happen, and a lock that it held would stay locked.
 */

static void
template_check_threads(const template_t *template)
{
    DIR            *dir;
    char            path[64], name[32];
    FILE           *file;
    size_t          n;
    unsigned        threads;
    struct dirent  *entry;

    threads = 0;
    name[0] = '\0';

    dir = opendir("/proc/self/task");
    if (dir == NULL) {
        template_fail(template, errno,
                      "/proc/self/task cannot be read (%d: %s)",
                      errno, strerror(errno));
    }

    while ((entry = readdir(dir)) != NULL) {

        if (entry->d_name[0] == '.') {
            continue;
        }

        threads++;

        if (strtol(entry->d_name, NULL, 10) == getpid()) {
            continue;
        }

        (void) snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm",
                        entry->d_name);

        file = fopen(path, "re");

        if (file) {
            n = fread(name, 1, sizeof(name) - 1, file);
            name[n] = '\0';
            name[strcspn(name, "\n")] = '\0';
            (void) fclose(file);
        }
    }

    (void) closedir(dir);

    if (threads > 1) {
        template_fail(template, 0, "init() left %u threads running (\"%s\"): a "
                      "fork has none of them; start threads in after_fork()",
                      threads - 1, name);
    }
}


static void
template_tell(const template_t *template, const faas_descriptor_t *descriptor)
{
    char       *text;
    size_t      n;
    message_t   message;

    text = descriptor_text(descriptor, &n);
    if (text == NULL) {
        template_fail(template, ENOMEM, "out of memory");
    }

    memset(&message, 0, sizeof(message_t));
    message.type = MESSAGE_LOADED;
    message.index = template->start->index;

    if (message_send(FD_CHANNEL, &message, text, n, NULL, 0) != FAAS_OK) {

        if (errno == EMSGSIZE) {
            template_fail(template, 0,
                          "its descriptor's texts are too long: %zu bytes", n);
        }

        _exit(1);
    }

    free(text);
}


static void
template_limit_time(const template_t *template)
{
    uint32_t           ms;
    struct sigevent    event;
    struct itimerspec  time;

    ms = template->start->init_timeout_ms;

    template_late_answer.message.type = MESSAGE_FAILED;
    template_late_answer.message.index = template->start->index;
    template_late_answer.message.status = ETIMEDOUT;

    (void) snprintf(template_late_answer.text,
                    sizeof(template_late_answer.text),
                    "loading and init() took longer than init_timeout, "
                    "%u ms", ms);

    memset(&event, 0, sizeof(struct sigevent));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = TEMPLATE_SIGNAL;

    memset(&time, 0, sizeof(struct itimerspec));
    time.it_value.tv_sec = ms / 1000;
    time.it_value.tv_nsec = (long) (ms % 1000) * 1000000;

    if (timer_create(CLOCK_MONOTONIC, &event, &template_timer) == -1
        || timer_settime(template_timer, 0, &time, NULL) == -1)
    {
        template_fail(template, errno, "timer_create() failed (%d: %s)", errno,
                      strerror(errno));
    }
}


static void
template_unlimit_time(void)
{
    (void) timer_delete(template_timer);
    (void) signal(TEMPLATE_SIGNAL, SIG_DFL);
}


/* a signal handler: nothing here but what is safe in one */

static void
template_late(int signo)
{
    (void) signo;

    (void) message_send(FD_CHANNEL, &template_late_answer.message,
                        template_late_answer.text,
                        strlen(template_late_answer.text), NULL, 0);
    _exit(1);
}


/* error: an errno for which the supervisor may try again, or 0 */

static void
template_fail(const template_t *template, int error, const char *format, ...)
{
    int        n, i;
    char       text[1024];
    va_list    ap;
    message_t  message;

    va_start(ap, format);
    n = vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);

    if (n < 0) {
        n = 0;

    } else if (n >= (int) sizeof(text)) {
        n = sizeof(text) - 1;
    }

    for (i = 0; i < n; i++) {

        if ((unsigned char) text[i] < ' ') {
            text[i] = ' ';
        }
    }

    memset(&message, 0, sizeof(message_t));
    message.type = MESSAGE_FAILED;
    message.index = template->start->index;
    message.status = error;

    (void) fflush(NULL);
    (void) message_send(FD_CHANNEL, &message, text, (size_t) n, NULL, 0);

    _exit(1);
}


static void
template_serve(template_t *template, const faas_descriptor_t *descriptor)
{
    int           rc;
    char          text[1];
    message_in_t  in;

    for ( ;; ) {
        rc = message_recv(FD_CHANNEL, &in, text, sizeof(text));

        if (rc == FAAS_AGAIN) {
            continue;
        }

        if (rc != FAAS_OK || in.head.type != MESSAGE_FORK
            || in.nfds < FORK_FDS || in.nfds > FORK_FDS_MOST)
        {
            return;
        }

        template_fork(template, descriptor, &in);

        while (in.nfds) {
            (void) close(in.fd[--in.nfds]);
        }
    }
}


static void
template_fork(template_t *template, const faas_descriptor_t *descriptor,
    message_in_t *in)
{
    int         error;
    pid_t       pid;
    message_t   answer;
    instance_t  instance;

    memset(&answer, 0, sizeof(message_t));
    answer.index = template->start->index;
    answer.slot = in->head.slot;
    answer.generation = in->head.generation;

    family_birth(template->family);

    pid = sibling_fork();
    error = errno;

    if (pid == 0) {
        memset(&instance, 0, sizeof(instance_t));

        instance.start = template->start;
        instance.order = &in->head;
        instance.descriptor = descriptor;
        instance.init = template->init;
        instance.report = FD_REPORT;
        instance.channel = FD_CHANNEL;
        instance.listen = in->fd[FORK_FD_LISTEN];
        instance.page = in->fd[FORK_FD_PAGE];
        instance.log = in->fd[FORK_FD_LOG];
        instance.core = in->nfds > FORK_FD_CORE ? in->fd[FORK_FD_CORE] : -1;

        instance_run(&instance);
    }

    if (pid > 0 && family_join(template->family, pid) != FAAS_OK) {
        (void) kill(pid, SIGKILL);
        pid = -1;
        error = EAGAIN;
    }

    if (pid == -1) {
        answer.type = MESSAGE_FAILED;
        answer.status = error;

    } else {
        answer.type = MESSAGE_FORKED;
        answer.pid = pid;
    }

    (void) message_send(FD_CHANNEL, &answer, NULL, 0, NULL, 0);

    /* only now may the init report its end: FORKED comes before EXITED */

    family_born(template->family);
}
