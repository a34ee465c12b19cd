
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "data.h"
#include "deposit.h"
#include "events_link.h"
#include "log.h"
#include "service.h"
#include "version.h"


#define EVENTS_LINK_PROGRAM   "faas-events"
#define EVENTS_LINK_BACKLOG   512
#define EVENTS_LINK_SOON_MS   50      /* many changes are told at once */
#define EVENTS_LINK_AGAIN_MS  100


static int events_link_listen(void);
static void events_link_own(void);
static void events_link_started(service_t *s);
static void events_link_tell(void *data);
static void events_link_text(text_t *t);
static void events_link_function(text_t *t, const function_t *f);
static void events_link_consume(text_t *t, const function_t *f, int once);
static const char *events_link_engine(void);


static struct {
    service_t     service;
    loop_timer_t  timer;             /* then it is told */
    int           begun;
    int           told;              /* 1: `text` is what it knows */
    char         *engine;            /* that the process was started with */
    text_t        text;
} events_link = {
    .service = {
        .program = EVENTS_LINK_PROGRAM,
        .title = "events",
        .lock = "events.lock",
        .key = "events",
        .listen = -1,
        .started = events_link_started
    },
    .timer = { .handler = events_link_tell }
};


int
events_link_init(void)
{
    char  why[SETTINGS_WHY_SIZE];

    if (!service_has_program(EVENTS_LINK_PROGRAM)) {

        /* a connection that nobody takes would be waited for */

        (void) unlinkat(supervisor.state_dir, EVENTS_LINK_SOCKET, 0);
        return 0;
    }

    if (user_of_service(&events_link.service.user, why) == -1) {
        supervisor_error(0, "no events process: %s", why);
        return 0;
    }

    events_link.service.listen = deposit_take("baas");

    if (events_link.service.listen == -1 && events_link_listen() == -1) {
        supervisor_error(errno, "could not listen on \"%s\" in faas_state",
                         EVENTS_LINK_SOCKET);
        return -1;
    }

    events_link_own();
    service_adopt(&events_link.service);

    return 0;
}


/*
 * Only we can write to the directory, so that what is between the calls is
 * nobody's: until it has its owner, only we can connect.
 */

static int
events_link_listen(void)
{
    int                 fd, rc;
    mode_t              mask;
    struct sockaddr_un  un;

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        return -1;
    }

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, EVENTS_LINK_SOCKET, sizeof(EVENTS_LINK_SOCKET));

    /* left by a host that was killed; relative to faas_state, our working
       directory, which may have a long name */

    (void) unlinkat(supervisor.state_dir, EVENTS_LINK_SOCKET, 0);

    mask = umask(0117);
    rc = bind(fd, (struct sockaddr *) &un, sizeof(un));
    (void) umask(mask);

    if (rc == -1 || listen(fd, EVENTS_LINK_BACKLOG) == -1
        || deposit_put(fd, "baas") == -1)
    {
        close(fd);
        return -1;
    }

    events_link.service.listen = fd;

    return 0;
}


/* what is the service user's, whoever that was before */

static void
events_link_own(void)
{
    char           why[SETTINGS_WHY_SIZE];
    const user_t  *user;

    user = &events_link.service.user;

    if (geteuid() == 0
        && fchownat(supervisor.state_dir, EVENTS_LINK_SOCKET, user->uid,
                    user->gid, AT_SYMLINK_NOFOLLOW)
           == -1)
    {
        supervisor_error(errno, "could not give \"%s\" to uid %lu",
                         EVENTS_LINK_SOCKET, (unsigned long) user->uid);
    }

    if (data_queue(user, why) == -1) {
        supervisor_error(0, "queues on sqlite are not available: %s", why);
    }
}


void
events_link_begin(void)
{
    events_link.begun = 1;

    if (events_link.service.listen != -1 && !supervisor.draining) {
        (void) service_start(&events_link.service);
        events_link_changed();
    }
}


void
events_link_changed(void)
{
    if (!loop_is_armed(&events_link.timer)) {
        loop_arm(&events_link.timer, loop_now_ms() + EVENTS_LINK_SOON_MS);
    }
}


void
events_link_configured(void)
{
    char    why[SETTINGS_WHY_SIZE];
    user_t  user;

    if (events_link.service.listen == -1) {
        return;
    }

    if (user_of_service(&user, why) == -1) {
        supervisor_error(0, "the events process stays what it is: %s", why);
        return;
    }

    if (memcmp(&user, &events_link.service.user, sizeof(user_t)) != 0) {

        events_link.service.user = user;
        events_link_own();
        service_restart(&events_link.service);

    } else if (events_link.engine != NULL
               && strcmp(events_link.engine, events_link_engine()) != 0)
    {
        log_line(LOG_NOTICE, 0, "the queue engine is another one, the events "
                 "process is started again");
        service_restart(&events_link.service);
    }

    events_link_changed();
}


static void
events_link_started(service_t *s)
{
    (void) s;

    free(events_link.engine);
    events_link.engine = loop_strdup(events_link_engine(),
                                     strlen(events_link_engine()));
    events_link.told = 0;
    loop_arm(&events_link.timer, loop_now_ms());
}


static void
events_link_tell(void *data)
{
    int     rc;
    text_t  text;

    (void) data;

    if (!events_link.begun || supervisor.draining
        || events_link.service.state != SERVICE_RUNNING)
    {
        return;
    }

    memset(&text, 0, sizeof(text_t));
    events_link_text(&text);

    if (events_link.told && text_is_same(&text, &events_link.text)) {
        text_free(&text);
        return;
    }

    text_free(&events_link.text);
    events_link.text = text;

    rc = service_settings(&events_link.service, &text);
    events_link.told = rc == FAAS_OK;

    if (rc == FAAS_AGAIN) {
        loop_arm(&events_link.timer, loop_now_ms() + EVENTS_LINK_AGAIN_MS);
    }
}


static const char *
events_link_engine(void)
{
    return supervisor.settings->queue != NULL ? supervisor.settings->queue
                                              : "sqlite";
}


static void
events_link_text(text_t *t)
{
    const char         *p;
    const function_t   *f;
    const settings_t   *s;

    s = supervisor.settings;

    text_line(t, "node", data_node());
    text_line(t, "token", supervisor.board->events_token);
    text_line(t, "state", s->state);

    if (s->error_log != NULL) {
        text_line(t, "error_log", s->error_log);
    }

    text_format(t, "log_level %lld\n", (long long)
                (s->log_level < LOG_DEBUG ? s->log_level : LOG_DEBUG));
    text_line(t, "queue", events_link_engine());

    for (p = settings_next(&s->callback, NULL); p != NULL;
         p = settings_next(&s->callback, p))
    {
        text_line(t, "callback", p);
    }

    for (f = function_list; f != NULL; f = f->next) {
        if (atomic_load(&f->sh->state) != FAAS_FUNCTION_REMOVED) {
            events_link_function(t, f);
        }
    }
}


/* what nothing serves consumes nothing: attempts would be spent in vain */

static void
events_link_function(text_t *t, const function_t *f)
{
    int                          once;
    const char                  *p;
    const settings_list_t       *list;
    const settings_function_t   *conf, *all;

    conf = function_conf(f);
    all = f->platform ? NULL : supervisor.settings->ceilings;
    once = (int) settings_number(conf, all, SETTINGS_EXACTLY_ONCE);

    text_line(t, "function", f->name);
    text_line(t, " token", f->sh->token);
    text_format(t, " timeout %u\n queue_timeout %u\n max %u\n once %d\n",
                f->limits.timeout_ms, f->limits.queue_timeout_ms,
                f->limits.max, once);

    if (f->current != NULL) {

        events_link_consume(t, f, once);
        list = settings_schedule(conf, &f->current->descriptor);

        for (p = settings_next(list, NULL); p != NULL;
             p = settings_next(list, p))
        {
            text_line(t, " schedule", p);
        }
    }

    if (conf != NULL && conf->async != NULL) {
        text_line(t, " async", conf->async);

    } else if (all != NULL && all->async != NULL) {
        text_line(t, " async", all->async);
    }
}


/* what happens once happens for one message */

static void
events_link_consume(text_t *t, const function_t *f, int once)
{
    char                   *line;
    const char             *p;
    const settings_list_t  *list;

    list = settings_consume(function_conf(f), &f->current->descriptor);

    for (p = settings_next(list, NULL); p != NULL; p = settings_next(list, p))
    {
        if (!once) {
            text_line(t, " consume", p);
            continue;
        }

        line = loop_alloc(strlen(p) + 1);
        (void) settings_consume_once(p, line);
        text_line(t, " consume", line);
        free(line);
    }
}
