
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "deposit.h"
#include "log.h"
#include "service.h"
#include "tenders.h"
#include "version.h"


#define TENDERS_PROGRAM   "faas-tender"
#define TENDERS_KEY       "tender/"
#define TENDERS_SOON_MS   50      /* many changes are told at once */
#define TENDERS_AGAIN_MS  100


/* one for a user; made when there is something to look after, freed when its
   process is gone and there is nothing */

typedef struct tender_s  tender_t;

struct tender_s {
    service_t                 service;       /* the first: they are one */
    tender_t                 *next;
    text_t                    text;          /* what it shall know */
    text_t                    sent;          /* what it was told */
    int                       told;          /* 1: that is what it knows */
    char                      title[32];
};


static tender_t *tenders_of(const user_t *user);
static tender_t *tenders_create(const user_t *user);
static void tenders_started(service_t *s);
static void tenders_ended(service_t *s);
static void tenders_look(void *data);
static void tenders_functions(void);
static void tenders_shares(const settings_function_t *f,
    const user_t *service);
static void tenders_head(text_t *t);
static void tenders_tell(tender_t *t);


static struct {
    tender_t     *list;
    loop_timer_t  timer;             /* then they are told */
} tenders = {
    .timer = { .handler = tenders_look }
};


void
tenders_init(void)
{
    user_t    user;
    unsigned  uid;

    memset(&user, 0, sizeof(user_t));

    /* whose they were is known by the key; who that user is, from those that
       are started now */

    while (deposit_has_any(TENDERS_KEY, &uid)) {
        user.uid = (uid_t) uid;
        service_adopt(&tenders_of(&user)->service);
    }

    tenders_changed();
}


void
tenders_changed(void)
{
    if (!loop_is_armed(&tenders.timer)) {
        loop_arm(&tenders.timer, loop_now_ms() + TENDERS_SOON_MS);
    }
}


static tender_t *
tenders_of(const user_t *user)
{
    tender_t  *t;

    for (t = tenders.list; t != NULL; t = t->next) {
        if (t->service.user.uid == user->uid) {
            t->service.user = *user;
            return t;
        }
    }

    return tenders_create(user);
}


static tender_t *
tenders_create(const user_t *user)
{
    tender_t  *t;

    t = loop_alloc(sizeof(tender_t));

    (void) snprintf(t->title, sizeof(t->title), "tender (uid %lu)",
                    (unsigned long) user->uid);

    t->service.program = TENDERS_PROGRAM;
    t->service.title = t->title;
    (void) snprintf(t->service.key, sizeof(t->service.key), TENDERS_KEY "%lu",
                    (unsigned long) user->uid);
    t->service.user = *user;
    t->service.listen = -1;
    t->service.started = tenders_started;
    t->service.ended = tenders_ended;

    t->next = tenders.list;
    tenders.list = t;

    return t;
}


static void
tenders_started(service_t *s)
{
    ((tender_t *) s)->told = 0;
    loop_arm(&tenders.timer, loop_now_ms());
}


static void
tenders_ended(service_t *s)
{
    tender_t  *t, **p;

    t = (tender_t *) s;

    for (p = &tenders.list; *p != t; p = &(*p)->next) { /* void */ }
    *p = t->next;

    text_free(&t->text);
    text_free(&t->sent);
    free(t);

    /* it may be wanted again meanwhile */

    tenders_changed();
}


/* who looks after what */

static void
tenders_look(void *data)
{
    tender_t  *t, *next;

    (void) data;

    if (supervisor.draining || !service_has_program(TENDERS_PROGRAM)) {
        return;
    }

    for (t = tenders.list; t != NULL; t = t->next) {
        text_free(&t->text);
    }

    tenders_functions();

    for (t = tenders.list; t != NULL; t = next) {
        next = t->next;

        if (t->text.size == 0) {
            service_stop(&t->service);

        } else if (t->service.state != SERVICE_ENDING
                   && service_start(&t->service) == 0)
        {
            tenders_tell(t);
        }
    }
}


static void
tenders_functions(void)
{
    char                        why[SETTINGS_WHY_SIZE];
    user_t                      user;
    text_t                     *t;
    const function_t           *f;
    const settings_function_t  *conf;

    for (f = function_list; f != NULL; f = f->next) {

        if (!f->has_data
            || atomic_load(&f->sh->state) == FAAS_FUNCTION_REMOVED)
        {
            continue;
        }

        t = &tenders_of(&f->user)->text;
        tenders_head(t);

        text_format(t, "data %s ", f->name);
        text_value(t, supervisor.settings->state);
        text_format(t, "/data/%s %s\n", f->name, f->sh->token);
    }

    if (user_of_service(&user, why) == -1) {
        return;
    }

    for (conf = supervisor.settings->blocks; conf != NULL; conf = conf->next) {
        tenders_shares(conf, &user);
    }

    if (supervisor.settings->ceilings != NULL) {
        tenders_shares(supervisor.settings->ceilings, &user);
    }
}


/* each once, however many functions share it */

static void
tenders_shares(const settings_function_t *f, const user_t *service)
{
    char         line[FAAS_NAME_SIZE + 16];
    text_t      *t;
    const char  *p;

    for (p = settings_next(&f->share, NULL); p != NULL;
         p = settings_next(&f->share, p))
    {
        t = &tenders_of(service)->text;
        tenders_head(t);

        (void) snprintf(line, sizeof(line), "\nshare %.*s ",
                        (int) strcspn(p, " "), p);

        if (memmem(t->data, t->size, line, strlen(line)) != NULL) {
            continue;
        }

        text_format(t, "%s", line + 1);
        text_value(t, supervisor.settings->state);
        text_format(t, "/share/%.*s\n", (int) strcspn(p, " "), p);
    }
}


/* what each text begins with */

static void
tenders_head(text_t *t)
{
    int64_t  level;

    if (t->size > 0) {
        return;
    }

    text_line(t, "state", supervisor.settings->state);

    if (supervisor.settings->error_log != NULL) {
        text_line(t, "error_log", supervisor.settings->error_log);
    }

    level = supervisor.settings->log_level;
    text_format(t, "log_level %lld\n",
                (long long) (level < LOG_DEBUG ? level : LOG_DEBUG));
}


static void
tenders_tell(tender_t *t)
{
    int  rc;

    if (t->service.state != SERVICE_RUNNING
        || (t->told && text_is_same(&t->text, &t->sent)))
    {
        return;
    }

    rc = service_settings(&t->service, &t->text);

    if (rc == FAAS_AGAIN) {
        loop_arm(&tenders.timer, loop_now_ms() + TENDERS_AGAIN_MS);
    }

    t->told = rc == FAAS_OK;

    text_free(&t->sent);
    t->sent = t->text;
    memset(&t->text, 0, sizeof(text_t));
}
