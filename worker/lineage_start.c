
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deposit.h"
#include "init.h"
#include "lineage.h"
#include "lineage_read.h"
#include "log.h"
#include "sandbox.h"
#include "store.h"
#include "zygote_link.h"


#define LINEAGE_GROUPS       SANDBOX_GROUPS
#define LINEAGE_GROUPS_SIZE  (LINEAGE_GROUPS * sizeof("4294967295"))


/* the far ends of a lineage's channels, until they are sent */

typedef struct {
    int                       code;
    int                       init;
    int                       template;
    int                       report;
} lineage_start_t;


static int lineage_start_channel(version_t *v, const char *name,
    loop_event_t *e, void (*handler)(void *data, uint32_t events), int *far);
static int lineage_start_send(version_t *v, const lineage_start_t *ends,
    char *why);
static int lineage_start_user(const function_t *f, uint32_t *uid,
    uint32_t *gid, char *groups, char *why);
static void lineage_start_groups(const struct passwd *pw, char *groups);
static void lineage_start_warn(const char *name, uint32_t uid);
static char *lineage_start_text(const function_t *f, const char *groups,
    size_t *length);


int
lineage_start(version_t *v, char *why)
{
    int             rc;
    lineage_start_t  ends;

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

    if (lineage_start_channel(v, "init", &v->init,
                              lineage_read_init_events, &ends.init)
           == -1
        || lineage_start_channel(v, "template", &v->template,
                                 lineage_read_template_events,
                                 &ends.template)
           == -1
        || lineage_start_channel(v, "report", &v->report,
                                 lineage_read_report_events, &ends.report)
           == -1
        || message_want_credentials(v->template.fd) != FAAS_OK
        || message_want_credentials(v->report.fd) != FAAS_OK)
    {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "no channels to it: %s",
                        strerror(errno));
        goto done;
    }

    rc = lineage_start_send(v, &ends, why);

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


/* a pair of which one end is ours, deposited and polled */

static int
lineage_start_channel(version_t *v, const char *name, loop_event_t *e,
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
lineage_start_send(version_t *v, const lineage_start_t *ends, char *why)
{
    int         fd[INIT_FDS], rc;
    char       *text, groups[LINEAGE_GROUPS_SIZE];
    size_t      length;
    message_t   m;

    memset(&m, 0, sizeof(m));

    if (lineage_start_user(v->function, &m.uid, &m.gid, groups, why) == -1) {
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

    text = lineage_start_text(v->function, groups, &length);

    rc = zygote_link_send(&m, text, length, fd, INIT_FDS);

    free(text);

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
lineage_start_user(const function_t *f, uint32_t *uid, uint32_t *gid,
    char *groups, char *why)
{
    const char                 *name;
    struct passwd              *pw;
    const settings_function_t  *conf, *all;

    *uid = getuid();
    *gid = getgid();
    *groups = '\0';

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

    lineage_start_groups(pw, groups);
    lineage_start_warn(name, *uid);

    return 0;
}


/*
 * Processes of one user can signal each other and open each other's sockets,
 * so functions should not be of nginx's workers'.  It is said once.
 */

static void
lineage_start_warn(const char *name, uint32_t uid)
{
    static int  warned;

    if (warned || (int64_t) uid != supervisor.settings->worker_uid) {
        return;
    }

    warned = 1;

    log_line(LOG_WARN, 0, "functions run as \"%s\", as nginx's workers do: "
             "give one of them another user (\"faas_user\", \"user\")", name);
}


/* decimals joined by ',': the groups of that user, as far as there is room */

static void
lineage_start_groups(const struct passwd *pw, char *groups)
{
    int     i, n;
    gid_t   group[LINEAGE_GROUPS];
    size_t  length;

    n = LINEAGE_GROUPS;
    length = 0;

    if (getgrouplist(pw->pw_name, pw->pw_gid, group, &n) == -1) {
        n = LINEAGE_GROUPS;
    }

    for (i = 0; i < n; i++) {
        length += (size_t) snprintf(groups + length,
                                    LINEAGE_GROUPS_SIZE - length, "%s%u",
                                    i ? "," : "", (unsigned) group[i]);
    }
}


/* groups, then the environment; that of `function *` first: what comes later
   replaces what came before */

static char *
lineage_start_text(const function_t *f, const char *groups, size_t *length)
{
    char                       *text, *p;
    size_t                      n, first;
    const settings_function_t  *conf, *all;

    conf = function_conf(f);
    all = supervisor.settings->ceilings;

    first = strlen(groups) + 1;
    n = (conf ? conf->env.length : 0) + (all ? all->env.length : 0);

    if (first + n >= MESSAGE_TEXT) {
        log_line(LOG_ERROR, 0, "function \"%s\": its environment of %zu "
                 "bytes is too long, it gets none", f->name, n);
        n = 0;
    }

    *length = first + n;
    text = loop_alloc(*length);

    p = (char *) memcpy(text, groups, first) + first;

    if (n > 0 && all != NULL && all->env.length) {
        p = (char *) memcpy(p, all->env.text, all->env.length) + all->env.length;
    }

    if (n > 0 && conf != NULL && conf->env.length) {
        memcpy(p, conf->env.text, conf->env.length);
    }

    return text;
}
