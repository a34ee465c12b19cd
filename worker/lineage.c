
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deposit.h"
#include "init.h"
#include "lineage.h"
#include "log.h"
#include "pool.h"
#include "store.h"
#include "zygote_link.h"


/* what a function init gets over init_timeout before we give up on it */
#define LINEAGE_GRACE_MS  1000

/* a lineage that was told to end is killed after so long */
#define LINEAGE_END_MS    2000

/* a start that failed for the machine's sake is tried again after so long */
#define LINEAGE_AGAIN_MS  1000


/* the far ends of a lineage's channels, until they are sent */

typedef struct {
    int                       code;
    int                       init;
    int                       template;
    int                       report;
} lineage_ends_t;


static int lineage_channel(version_t *v, const char *name, loop_event_t *e,
    void (*handler)(void *data, uint32_t events), int *far);
static int lineage_send(version_t *v, const lineage_ends_t *ends, char *why);
static int lineage_user(const function_t *f, uint32_t *uid, uint32_t *gid,
    char *why);
static char *lineage_env(const function_t *f, size_t *length);
static void lineage_init_events(void *data, uint32_t events);
static void lineage_template_events(void *data, uint32_t events);
static void lineage_report_events(void *data, uint32_t events);
static int lineage_read_init(version_t *v);
static int lineage_read_template(version_t *v);
static void lineage_report(version_t *v, const message_in_t *in);
static void lineage_loaded(version_t *v, const message_in_t *in);
static void lineage_exited(version_t *v, const message_t *m);
static void lineage_template_gone(version_t *v, const char *how);
static void lineage_close_template(version_t *v);
static void lineage_closed(version_t *v);
static void lineage_drop(version_t *v, const char *name, loop_event_t *e);
static void lineage_abandon(version_t *v);
static void lineage_restart(version_t *v, uint32_t delay_ms);
static void lineage_timer(void *data);
static void lineage_drop_fds(message_in_t *in);


/* one for each kind of channel: a message of one may make us read another */

static char  lineage_text[MESSAGE_TEXT];
static char  lineage_template_text[MESSAGE_TEXT];
static char  lineage_report_text[MESSAGE_TEXT];


int
lineage_start(version_t *v, char *why)
{
    int             rc;
    lineage_ends_t  ends;

    ends.code = store_get(supervisor.store, v->sh->sha256);
    ends.init = -1;
    ends.template = -1;
    ends.report = -1;

    v->timer.handler = lineage_timer;
    v->timer.data = v;

    rc = FAAS_AGAIN;

    if (ends.code == -1) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "not in the store: %s",
                        strerror(errno));
        rc = errno == ENOENT ? FAAS_ERROR : FAAS_AGAIN;
        goto done;
    }

    if (v->journal.event.fd == -1) {

        if (journal_open(&v->journal, -1, -1) == -1) {
            (void) snprintf(why, SETTINGS_WHY_SIZE, "no pipe for its log: %s",
                            strerror(errno));
            goto done;
        }

        (void) deposit_put(v->journal.event.fd, "v/%u/log-read", v->index);
        (void) deposit_put(v->journal.write, "v/%u/log-write", v->index);
    }

    journal_owner(&v->journal, &v->function->journal, v->sh->id, -1, 0);

    if (lineage_channel(v, "init", &v->init, lineage_init_events, &ends.init)
           == -1
        || lineage_channel(v, "template", &v->template,
                           lineage_template_events, &ends.template)
           == -1
        || lineage_channel(v, "report", &v->report, lineage_report_events,
                           &ends.report)
           == -1
        || message_want_credentials(v->template.fd) != FAAS_OK
        || message_want_credentials(v->report.fd) != FAAS_OK)
    {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "no channels to it: %s",
                        strerror(errno));
        goto done;
    }

    rc = lineage_send(v, &ends, why);

done:

    if (ends.code != -1) {
        close(ends.code);
    }

    if (ends.init != -1) {
        close(ends.init);
    }

    if (ends.template != -1) {
        close(ends.template);
    }

    if (ends.report != -1) {
        close(ends.report);
    }

    if (rc == FAAS_OK) {
        return FAAS_OK;
    }

    lineage_abandon(v);

    if (rc == FAAS_AGAIN) {
        function_error(v->function, LOG_ERROR, "version %s could not be "
                       "started, trying again: %s", v->sh->id, why);

        if (atomic_load(&v->sh->state) == FAAS_VERSION_LOADING) {
            loop_arm(&v->timer, loop_now_ms() + LINEAGE_AGAIN_MS);
        }
    }

    return rc;
}


/* closes what was made for a start that did not come about */

static void
lineage_abandon(version_t *v)
{
    lineage_drop(v, "init", &v->init);
    lineage_drop(v, "template", &v->template);
    lineage_drop(v, "report", &v->report);

    v->asked = 0;
    v->lineage = LINEAGE_NONE;
    loop_disarm(&v->timer);
}


/* a pair of which one end is ours, deposited and polled */

static int
lineage_channel(version_t *v, const char *name, loop_event_t *e,
    void (*handler)(void *data, uint32_t events), int *far)
{
    int  pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, pair) == -1) {
        return -1;
    }

    e->handler = handler;
    e->data = v;

    if (fcntl(pair[0], F_SETFL, O_RDWR|O_NONBLOCK) == -1
        || loop_add(e, pair[0], EPOLLIN) == -1)
    {
        close(pair[0]);
        close(pair[1]);
        return -1;
    }

    (void) deposit_put(pair[0], "v/%u/%s", v->index, name);

    *far = pair[1];

    return 0;
}


static int
lineage_send(version_t *v, const lineage_ends_t *ends, char *why)
{
    int         fd[INIT_FDS], rc;
    char       *env;
    size_t      length;
    message_t   m;

    memset(&m, 0, sizeof(m));

    if (lineage_user(v->function, &m.uid, &m.gid, why) == -1) {
        return FAAS_ERROR;
    }

    m.type = MESSAGE_START;
    m.index = v->index;
    m.init_timeout_ms = v->function->limits.init_timeout_ms;
    m.memory_bytes = v->function->limits.memory_bytes;
    memcpy(m.name, v->function->name, sizeof(m.name));
    memcpy(m.version, v->sh->id, sizeof(m.version));

    fd[INIT_FD_CODE] = ends->code;
    fd[INIT_FD_CHANNEL] = ends->init;
    fd[INIT_FD_TEMPLATE] = ends->template;
    fd[INIT_FD_REPORT] = ends->report;
    fd[INIT_FD_LOG] = v->journal.write;

    env = lineage_env(v->function, &length);

    rc = zygote_link_send(&m, env, length, fd, INIT_FDS);

    free(env);

    if (rc != FAAS_OK) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "the zygote cannot be "
                        "reached: %s", strerror(errno));
        return FAAS_AGAIN;
    }

    v->asked = 1;
    v->template_pid = 0;
    v->lineage = LINEAGE_STARTING;

    loop_arm(&v->timer, loop_now_ms() + m.init_timeout_ms
                        + LINEAGE_GRACE_MS);

    return FAAS_OK;
}


/* whom functions run as: the block's, the ceilings', the host's, else faas,
   else nobody; when we are not root, ourselves */

static int
lineage_user(const function_t *f, uint32_t *uid, uint32_t *gid, char *why)
{
    const char                 *name;
    struct passwd              *pw;
    const settings_function_t  *conf, *all;

    *uid = getuid();
    *gid = getgid();

    if (geteuid() != 0) {
        return 0;
    }

    conf = function_conf(f);
    all = supervisor.settings->ceilings;

    name = conf && conf->user ? conf->user
           : all && all->user ? all->user : supervisor.settings->user;

    if (name != NULL) {
        pw = getpwnam(name);

    } else {
        name = "faas";
        pw = getpwnam(name);

        if (pw == NULL) {
            name = "nobody";
            pw = getpwnam(name);
        }
    }

    if (pw == NULL) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "no such user \"%.64s\"",
                        name);
        return -1;
    }

    *uid = pw->pw_uid;
    *gid = pw->pw_gid;

    return 0;
}


/* of `function *` first: what comes later replaces what came before */

static char *
lineage_env(const function_t *f, size_t *length)
{
    char                       *env;
    size_t                      n;
    const settings_function_t  *conf, *all;

    conf = function_conf(f);
    all = supervisor.settings->ceilings;

    *length = (conf ? conf->env_length : 0) + (all ? all->env_length : 0);

    if (*length >= MESSAGE_TEXT) {
        log_line(LOG_ERROR, 0, "function \"%s\": its environment of %zu "
                 "bytes is too long, it gets none", f->name, *length);
        *length = 0;
        return loop_alloc(1);
    }

    env = loop_alloc(*length + 1);
    n = 0;

    if (all != NULL && all->env_length) {
        memcpy(env, all->env, all->env_length);
        n = all->env_length;
    }

    if (conf != NULL && conf->env_length) {
        memcpy(env + n, conf->env, conf->env_length);
    }

    return env;
}


void
lineage_adopt(version_t *v)
{
    int                   read_end, write_end;
    faas_version_state_e  state;

    struct {
        const char    *name;
        loop_event_t  *event;
        void         (*handler)(void *data, uint32_t events);
    } *c, channels[] = {
        { "init", &v->init, lineage_init_events },
        { "template", &v->template, lineage_template_events },
        { "report", &v->report, lineage_report_events }
    };

    v->timer.handler = lineage_timer;
    v->timer.data = v;

    for (c = channels; c < channels + 3; c++) {
        int  fd;

        fd = deposit_take("v/%u/%s", v->index, c->name);
        c->event->handler = c->handler;
        c->event->data = v;

        if (fd != -1 && loop_add(c->event, fd, EPOLLIN) == -1) {
            close(fd);
        }
    }

    read_end = deposit_take("v/%u/log-read", v->index);
    write_end = deposit_take("v/%u/log-write", v->index);

    if (read_end != -1 && write_end != -1
        && journal_open(&v->journal, read_end, write_end) == 0)
    {
        journal_owner(&v->journal, &v->function->journal, v->sh->id, -1, 0);
    }

    state = atomic_load(&v->sh->state);

    if (v->init.fd == -1) {
        lineage_drop(v, "template", &v->template);
        lineage_drop(v, "report", &v->report);
        v->lineage = LINEAGE_NONE;

        /* what was about to be started, is */

        if (state == FAAS_VERSION_LOADING) {
            loop_arm(&v->timer, loop_now_ms());
        }

        return;
    }

    if (v->template.fd == -1) {
        v->lineage = LINEAGE_BARREN;
        return;
    }

    if (atomic_load(&v->sh->template_pid) != 0) {
        v->lineage = LINEAGE_LIVE;
        return;
    }

    v->lineage = LINEAGE_STARTING;
    v->asked = atomic_load(&v->sh->init_pid) == 0;
    loop_arm(&v->timer, loop_now_ms() + v->function->limits.init_timeout_ms
                        + LINEAGE_GRACE_MS);
}


int
lineage_fork(version_t *v, slot_t *slot, const faas_limits_t *limits)
{
    int        fd[3], rc;
    message_t  m;

    if (v->lineage != LINEAGE_LIVE) {
        return FAAS_ERROR;
    }

    memset(&m, 0, sizeof(m));

    m.type = MESSAGE_FORK;
    m.index = v->index;
    m.slot = slot->index;
    m.generation = slot->generation;
    m.timeout_ms = limits->timeout_ms;
    m.max_requests = limits->max_requests;
    m.memory_bytes = limits->memory_bytes;
    m.flags = limits->mode == FAAS_MODE_ONESHOT ? MESSAGE_ONESHOT : 0;

    fd[0] = slot->listen;
    fd[1] = slot->page_fd;
    fd[2] = slot->journal.write;

    rc = message_send(v->template.fd, &m, NULL, 0, fd, 3);

    if (rc == FAAS_OK) {
        v->forks++;
    }

    return rc;
}


int
lineage_kill(version_t *v, int32_t inner_pid, int signo)
{
    message_t  m;

    if (v->init.fd == -1 || inner_pid <= 0) {
        return -1;
    }

    memset(&m, 0, sizeof(m));

    m.type = MESSAGE_KILL;
    m.index = v->index;
    m.pid = inner_pid;
    m.status = signo;

    return message_send(v->init.fd, &m, NULL, 0, NULL, 0) == FAAS_OK ? 0 : -1;
}


void
lineage_end(version_t *v)
{
    if (v->lineage == LINEAGE_NONE || v->lineage == LINEAGE_ENDING) {
        return;
    }

    v->lineage = LINEAGE_ENDING;

    lineage_close_template(v);

    /* the init reads an end of file, kills what is left, and ends; we go on
       reading until its own end is closed */

    if (shutdown(v->init.fd, SHUT_WR) == -1) {
        log_line(LOG_ALERT, errno, "shutdown failed for an init channel");
    }

    loop_arm(&v->timer, loop_now_ms() + LINEAGE_END_MS);
}


void
lineage_started(uint32_t index, int32_t pid)
{
    version_t  *v;

    v = version_at(index);

    if (v != NULL && v->asked) {
        v->asked = 0;
        atomic_store(&v->sh->init_pid, pid);
    }
}


void
lineage_not_started(uint32_t index, const char *why)
{
    version_t  *v;

    v = version_at(index);

    if (v == NULL || !v->asked) {
        return;
    }

    function_error(v->function, LOG_ERROR, "version %s could not be started, "
                   "trying again: %s", v->sh->id, why);

    lineage_abandon(v);
    lineage_restart(v, LINEAGE_AGAIN_MS);
}


void
lineage_zygote_died(void)
{
    function_t  *f;
    version_t   *v;

    for (f = function_list; f != NULL; f = f->next) {
        for (v = f->versions; v != NULL; v = v->next) {

            if (!v->asked) {
                continue;
            }

            /* if the init is there after all, it sees its channels' end */

            lineage_abandon(v);
            lineage_restart(v, 10);
        }
    }
}


static void
lineage_restart(version_t *v, uint32_t delay_ms)
{
    switch (atomic_load(&v->sh->state)) {

    case FAAS_VERSION_LOADING:
        loop_arm(&v->timer, loop_now_ms() + delay_ms);
        break;

    case FAAS_VERSION_READY:
        pool_died(v->function);
        break;

    default:
        version_idle(v);
    }
}


static void
lineage_init_events(void *data, uint32_t events)
{
    version_t  *v;

    (void) events;

    v = data;

    if (lineage_read_init(v) != FAAS_DONE) {
        return;
    }

    /* what the zygote and the template said before comes first */

    zygote_link_read();

    if (v->template.fd != -1) {
        (void) lineage_read_template(v);
    }

    lineage_closed(v);
}


static int
lineage_read_init(version_t *v)
{
    int           rc, n;
    message_in_t  in;

    for (n = 0; n < 64 && v->init.fd != -1; n++) {

        rc = message_recv(v->init.fd, &in, lineage_text,
                          sizeof(lineage_text));

        if (rc == FAAS_AGAIN) {
            return FAAS_OK;
        }

        if (rc != FAAS_OK) {
            return FAAS_DONE;
        }

        lineage_drop_fds(&in);

        switch (in.head.type) {

        case MESSAGE_TEMPLATE:
            v->template_pid = in.head.pid;
            break;

        case MESSAGE_EXITED:
            lineage_exited(v, &in.head);
            break;

        default:
            log_line(LOG_ALERT, 0, "function \"%s\": its init sent message "
                     "%u", v->function->name, in.head.type);
            lineage_end(v);
        }
    }

    return FAAS_OK;
}


static void
lineage_template_events(void *data, uint32_t events)
{
    version_t  *v;

    (void) events;

    v = data;

    if (lineage_read_template(v) != FAAS_DONE) {
        return;
    }

    if (v->lineage == LINEAGE_STARTING) {
        /* why it ended is known to the init */
        lineage_close_template(v);
        loop_arm(&v->timer, loop_now_ms() + LINEAGE_GRACE_MS);
        return;
    }

    lineage_template_gone(v, "closed its channel");
}


static int
lineage_read_template(version_t *v)
{
    int           rc, n;
    message_in_t  in;

    for (n = 0; n < 256 && v->template.fd != -1; n++) {

        rc = message_recv(v->template.fd, &in, lineage_template_text,
                          sizeof(lineage_template_text));

        if (rc == FAAS_AGAIN) {
            return FAAS_OK;
        }

        if (rc != FAAS_OK) {
            return FAAS_DONE;
        }

        lineage_drop_fds(&in);

        switch (in.head.type) {

        case MESSAGE_LOADED:
            lineage_loaded(v, &in);
            break;

        case MESSAGE_FORKED:
            v->forks -= v->forks > 0;
            pool_forked(v, in.head.slot, in.head.generation, in.head.pid);
            break;

        case MESSAGE_FAILED:
            if (v->lineage == LINEAGE_STARTING) {
                loop_disarm(&v->timer);
                version_failed(v, in.text[0] ? in.text
                                             : strerror(in.head.status));

            } else {
                v->forks -= v->forks > 0;
                pool_fork_failed(v, in.head.slot, in.head.generation,
                                 in.head.status);
            }

            break;

        default:
            log_line(LOG_ALERT, 0, "function \"%s\": its template sent "
                     "message %u", v->function->name, in.head.type);
            return FAAS_DONE;
        }
    }

    return FAAS_OK;
}


static void
lineage_report_events(void *data, uint32_t events)
{
    (void) events;

    lineage_read_reports(data);
}


void
lineage_read_reports(version_t *v)
{
    int           rc, n;
    message_in_t  in;

    for (n = 0; n < 256 && v->report.fd != -1; n++) {

        rc = message_recv(v->report.fd, &in, lineage_report_text,
                          sizeof(lineage_report_text));

        if (rc == FAAS_OK) {
            lineage_drop_fds(&in);
            lineage_report(v, &in);
            continue;
        }

        if (rc == FAAS_ERROR && errno == EPROTO) {
            continue;    /* not of our form: dropped */
        }

        if (rc != FAAS_AGAIN) {

            /* nobody is left who could write; the init's end tells more */

            lineage_drop(v, "report", &v->report);
        }

        return;
    }
}


static void
lineage_report(version_t *v, const message_in_t *in)
{
    const message_t  *m;

    m = &in->head;

    switch (m->type) {

    case MESSAGE_READY:
        pool_ready(v, m->slot, m->generation, in->sender);
        break;

    case MESSAGE_FAILED:
        pool_refused(v, m->slot, m->generation, in->text);
        break;

    case MESSAGE_FREE:
        pool_freed(v, m->slot, m->generation);
        break;

    case MESSAGE_RETIRED:
        pool_retired(v, m->slot, m->generation);
        break;
    }
}


static void
lineage_loaded(version_t *v, const message_in_t *in)
{
    if (v->lineage != LINEAGE_STARTING) {
        return;
    }

    v->lineage = LINEAGE_LIVE;
    loop_disarm(&v->timer);

    atomic_store(&v->sh->template_pid, in->sender ? in->sender
                                                  : v->template_pid);

    version_loaded(v, in->text, in->head.text_length);
}


/*
 * A child of the init has ended.  Of an instance the template said before
 * that it was forked, but on another channel.
 */

static void
lineage_exited(version_t *v, const message_t *m)
{
    char  how[128];

    if (m->pid == v->template_pid) {

        if (v->template.fd != -1) {
            (void) lineage_read_template(v);
        }

        pool_describe(m->status, how, sizeof(how));
        lineage_template_gone(v, how);
        return;
    }

    if (slot_by_pid(v, m->pid) == NULL && v->template.fd != -1) {
        (void) lineage_read_template(v);
    }

    pool_exited(v, m->pid, m->status);
}


int
lineage_kill_strays(version_t *v)
{
    int      n;
    char     path[64];
    FILE    *children;
    slot_t  *s;
    int32_t  init, pid;

    init = atomic_load(&v->sh->init_pid);

    if (init <= 0 || v->lineage == LINEAGE_NONE) {
        return 0;
    }

    (void) snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
                    (int) init, (int) init);

    children = fopen(path, "re");

    if (children == NULL) {
        return 0;
    }

    n = 0;

    while (fscanf(children, "%d", &pid) == 1) {

        if (pid == atomic_load(&v->sh->template_pid)
            || pid == v->template_pid)
        {
            continue;
        }

        for (s = v->function->slots; s != NULL; s = s->sibling_next) {
            if (s->version == v
                && (s->inner_pid == pid || atomic_load(&s->sh->pid) == pid))
            {
                break;
            }
        }

        if (s == NULL) {
            log_line(LOG_WARN, 0, "function \"%s\": version %s pid %d is in "
                     "no slot, it is killed", v->function->name, v->sh->id,
                     (int) pid);
            (void) lineage_kill(v, pid, SIGKILL);
            n++;
        }
    }

    (void) fclose(children);

    return n;
}


void
lineage_give_up(version_t *v)
{
    lineage_template_gone(v, "does not answer");
}


static void
lineage_template_gone(version_t *v, const char *how)
{
    char         why[SETTINGS_WHY_SIZE];
    function_t  *f;

    f = v->function;

    switch (v->lineage) {

    case LINEAGE_STARTING:
        (void) snprintf(why, sizeof(why), "its template %.96s before it was "
                        "loaded", how);
        loop_disarm(&v->timer);
        version_failed(v, why);
        return;

    case LINEAGE_LIVE:
        log_line(LOG_ERROR, 0, "function \"%s\": version %s template pid %d "
                 "%s", f->name, v->sh->id,
                 (int) atomic_load(&v->sh->template_pid), how);

        lineage_close_template(v);
        v->lineage = LINEAGE_BARREN;
        v->forks = 0;
        pool_died(f);
        pool_unforked(v);
        version_idle(v);
        return;

    default:
        return;
    }
}


static void
lineage_close_template(version_t *v)
{
    lineage_drop(v, "template", &v->template);
    atomic_store(&v->sh->template_pid, 0);
}


/* the init has ended, and all that it started */

static void
lineage_closed(version_t *v)
{
    int  expected;

    expected = v->lineage == LINEAGE_ENDING;

    if (!expected && v->lineage != LINEAGE_STARTING) {
        log_line(LOG_ERROR, 0, "function \"%s\": version %s init pid %d is "
                 "gone, its %u instances end", v->function->name, v->sh->id,
                 (int) atomic_load(&v->sh->init_pid), v->live);
    }

    loop_disarm(&v->timer);

    lineage_close_template(v);
    lineage_drop(v, "init", &v->init);

    /* what instances said last */

    if (v->report.fd != -1) {
        lineage_read_reports(v);
    }

    lineage_drop(v, "report", &v->report);

    v->asked = 0;
    v->forks = 0;
    v->template_pid = 0;
    v->lineage = LINEAGE_NONE;

    version_lineage_ended(v);
}


static void
lineage_drop(version_t *v, const char *name, loop_event_t *e)
{
    int  fd;

    fd = loop_remove(e);

    if (fd != -1) {
        deposit_remove("v/%u/%s", v->index, name);
        close(fd);
    }
}


static void
lineage_timer(void *data)
{
    char        why[SETTINGS_WHY_SIZE];
    int32_t     pid;
    version_t  *v;

    v = data;

    switch (v->lineage) {

    case LINEAGE_NONE:
        if (atomic_load(&v->sh->state) == FAAS_VERSION_LOADING
            && lineage_start(v, why) == FAAS_ERROR)
        {
            version_failed(v, why);
        }

        break;

    case LINEAGE_STARTING:
        (void) snprintf(why, sizeof(why), v->template.fd == -1
                        ? "its template ended without a word"
                        : "it was not loaded in init_timeout %u ms",
                        v->function->limits.init_timeout_ms);
        version_failed(v, why);
        break;

    case LINEAGE_LIVE:
        if (v->live == 0 && v->function->starting == 0) {
            log_line(LOG_INFO, 0, "function \"%s\": template of version %s "
                     "was idle, it ends", v->function->name, v->sh->id);
            lineage_end(v);
        }

        break;

    case LINEAGE_BARREN:
        break;

    case LINEAGE_ENDING:
        pid = atomic_load(&v->sh->init_pid);

        if (pid > 0) {
            log_line(LOG_WARN, 0, "function \"%s\": version %s init pid %d "
                     "does not end, it is killed", v->function->name,
                     v->sh->id, (int) pid);
            (void) kill(pid, SIGKILL);
        }

        loop_arm(&v->timer, loop_now_ms() + LINEAGE_END_MS);
        break;
    }
}


static void
lineage_drop_fds(message_in_t *in)
{
    while (in->nfds > 0) {
        close(in->fd[--in->nfds]);
    }
}
