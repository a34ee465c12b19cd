
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "data.h"
#include "deposit.h"
#include "init.h"
#include "lineage.h"
#include "lineage_read.h"
#include "log.h"
#include "store.h"
#include "text.h"
#include "zygote_link.h"


/* bytes of MESSAGE_TEXT that an environment gets */
#define LINEAGE_ENVIRONMENT  (64 * 1024)


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
static int lineage_start_data(function_t *f, user_t *user, char *why);
static void lineage_start_text(text_t *t, const function_t *f,
    const user_t *user);
static void lineage_start_services(text_t *t, const function_t *f,
    const settings_function_t *conf, const settings_function_t *all);
static void lineage_start_shares(text_t *t, const settings_function_t *conf,
    const settings_function_t *but);
static const char *lineage_start_share(const settings_function_t *conf,
    const char *share);


int
lineage_start(version_t *v, char *why)
{
    int              rc;
    lineage_start_t  ends;

    ends.code = store_get(supervisor.store, v->sh->sha256);
    ends.init = -1;
    ends.template = -1;
    ends.report = -1;

    v->timer.handler = lineage_timer;
    v->timer.data = v;

    if (ends.code == -1) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "not in the store: %s",
                        strerror(errno));
        rc = errno == ENOENT ? FAAS_ERROR : FAAS_AGAIN;
        goto done;
    }

    rc = version_migrate_gather(v, why);

    if (rc != FAAS_OK) {
        goto done;
    }

    rc = FAAS_AGAIN;

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
        function_error_again(v->function, "version %s could not be "
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
    int        fd[INIT_FDS_MOST], rc;
    text_t     text;
    user_t     user;
    uint32_t   nfds, timeout_ms;
    message_t  m;

    /* what it found to be wrong is no errno, or one that is no shortage */

    errno = 0;

    if (lineage_start_data(v->function, &user, why) == -1) {
        return is_shortage(errno) ? FAAS_AGAIN : FAAS_ERROR;
    }

    memset(&m, 0, sizeof(m));

    m.uid = user.uid;
    m.gid = user.gid;
    m.type = MESSAGE_START;
    m.index = v->index;
    m.init_timeout_ms = v->function->limits.init_timeout_ms;
    m.memory_bytes = v->function->limits.memory_bytes;
    m.flags = supervisor.settings->core ? MESSAGE_CORE : 0;
    memcpy(m.name, v->function->name, sizeof(m.name));
    memcpy(m.version, v->sh->id, sizeof(m.version));

    fd[INIT_FD_CODE] = ends->code;
    fd[INIT_FD_CHANNEL] = ends->init;
    fd[INIT_FD_TEMPLATE] = ends->template;
    fd[INIT_FD_REPORT] = ends->report;
    fd[INIT_FD_LOG] = v->journal.write;
    nfds = INIT_FDS;
    timeout_ms = m.init_timeout_ms + LINEAGE_GRACE_MS;

    if (v->migrations.fd != -1) {
        fd[INIT_FD_MIGRATIONS] = v->migrations.fd;
        nfds = INIT_FDS_MOST;
        timeout_ms += m.init_timeout_ms;    /* they get as much again */
    }

    memset(&text, 0, sizeof(text_t));
    lineage_start_text(&text, v->function, &user);

    rc = zygote_link_send(&m, text.data, text.size, fd, nfds);

    text_free(&text);

    if (rc != FAAS_OK) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "the zygote cannot be "
                        "reached: %s", strerror(errno));
        return FAAS_AGAIN;
    }

    v->asked = 1;
    v->template_pid = 0;
    v->lineage = LINEAGE_STARTING;

    loop_arm(&v->timer, loop_now_ms() + timeout_ms);

    return FAAS_OK;
}


/* whom it runs as, with the directories that it may use */

static int
lineage_start_data(function_t *f, user_t *user, char *why)
{
    char                        reason[SETTINGS_WHY_SIZE];
    char                        name[FAAS_NAME_SIZE];
    size_t                      i;
    user_t                      service;
    const char                 *p;
    const settings_function_t  *conf[2];

    if (user_of_function(f, user, why) == -1
        || function_data(f, user, why) == -1
        || user_of_service(&service, why) == -1)
    {
        return -1;
    }

    conf[0] = function_conf(f);
    conf[1] = f->platform ? NULL : supervisor.settings->ceilings;

    for (i = 0; i < 2; i++) {

        for (p = conf[i] ? settings_next(&conf[i]->share, NULL) : NULL;
             p != NULL; p = settings_next(&conf[i]->share, p))
        {
            (void) snprintf(name, sizeof(name), "%.*s",
                            (int) strcspn(p, " "), p);

            if (data_share(name, &service, reason) == -1) {
                (void) snprintf(why, SETTINGS_WHY_SIZE, "shared store "
                                "\"%s\": %.100s", name, reason);
                return -1;
            }
        }
    }

    return 0;
}


/* groups, environment, backend services: message.h */

static void
lineage_start_text(text_t *t, const function_t *f, const user_t *user)
{
    char                        groups[USER_GROUPS_SIZE];
    const settings_function_t  *conf, *all;

    conf = function_conf(f);
    all = f->platform ? NULL : supervisor.settings->ceilings;

    user_groups(user, groups);
    text_add(t, groups, strlen(groups) + 1);

    lineage_environment(t, f);
    text_add(t, "", 1);
    lineage_start_services(t, f, conf, all);
}


/* that of `function *` first: what comes later replaces what came before */

void
lineage_environment(text_t *t, const function_t *f)
{
    size_t                      n;
    const settings_function_t  *conf, *all;

    conf = function_conf(f);
    all = f->platform ? NULL : supervisor.settings->ceilings;

    n = (conf ? conf->env.length : 0) + (all ? all->env.length : 0);

    if (n > LINEAGE_ENVIRONMENT) {
        log_line(LOG_ERROR, 0, "function \"%s\": its environment of %zu "
                 "bytes is too long, it gets none", f->name, n);
        return;
    }

    if (all != NULL) {
        text_add(t, all->env.text, all->env.length);
    }

    if (conf != NULL) {
        text_add(t, conf->env.text, conf->env.length);
    }
}


/* the lines of baas.h */

static void
lineage_start_services(text_t *t, const function_t *f,
    const settings_function_t *conf, const settings_function_t *all)
{
    const settings_t  *s;

    s = supervisor.settings;

    text_line(t, "function", f->name);
    text_line(t, "token", f->sh->token);
    text_line(t, "state", s->state);

    text_format(t, "data ");
    text_value(t, s->state);
    text_format(t, "/data/%s\n", f->name);

    text_line(t, "kv", s->kv != NULL ? s->kv : "sqlite");
    text_line(t, "queue", s->queue != NULL ? s->queue : "sqlite");

    text_format(t, "durability %s\nexactly_once %d\n",
                settings_number(conf, all, SETTINGS_DURABILITY)
                == SETTINGS_NORMAL ? "normal" : "full",
                (int) settings_number(conf, all, SETTINGS_EXACTLY_ONCE));

    if (conf != NULL) {
        lineage_start_shares(t, conf, NULL);
    }

    if (all != NULL) {
        lineage_start_shares(t, all, conf);
    }
}


/* those that `but` does not have: its right holds */

static void
lineage_start_shares(text_t *t, const settings_function_t *conf,
    const settings_function_t *but)
{
    size_t       n;
    const char  *p;

    for (p = settings_next(&conf->share, NULL); p != NULL;
         p = settings_next(&conf->share, p))
    {
        /* the last of a name holds */

        if (lineage_start_share(conf, p) != p
            || (but != NULL && lineage_start_share(but, p) != NULL))
        {
            continue;
        }

        n = strcspn(p, " ");

        text_format(t, "share %s ", p);
        text_value(t, supervisor.settings->state);
        text_format(t, "/share/%.*s\n", (int) n, p);
    }
}


/* the last share there of the name that this one has, or NULL */

static const char *
lineage_start_share(const settings_function_t *conf, const char *share)
{
    size_t       n;
    const char  *p, *found;

    found = NULL;
    n = strcspn(share, " ") + 1;

    for (p = settings_next(&conf->share, NULL); p != NULL;
         p = settings_next(&conf->share, p))
    {
        if (strncmp(p, share, n) == 0) {
            found = p;
        }
    }

    return found;
}
