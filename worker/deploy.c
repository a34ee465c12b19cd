
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "claims.h"
#include "deploy.h"
#include "dump.h"
#include "elf_check.h"
#include "log.h"
#include "pool.h"
#include "shortage.h"
#include "store.h"
#include "version.h"


static void deploy_run(void);
static void deploy_events(void *data, uint32_t events);
static void deploy_timer(void *data);
static void deploy_looked(void);
static void deploy_event(void *data, watch_event_e event, const char *file,
    const char *why);
static void deploy_changed(const char *file);
static void deploy_refused(const char *file, const char *why, int again);
static void deploy_removed(const char *file);
static void deploy_remove(function_t *f, const char *label);
static function_t *deploy_function(const char *name);
static void deploy_cancel(function_t *f, const char *label);
static void deploy_sql(const char *file);
static void deploy_migrate(void *data);
static int deploy_keep(const char *sha256, void *data);


static struct {
    loop_event_t  event;
    loop_timer_t  timer;
    char         *path;
    int           error;             /* of the last look, 0: none */
    int           looked;            /* 1: the directory was looked through */
    uint64_t      seen;              /* mark of the look under way */
} deploy = { .event = { .fd = -1 } };


int
deploy_watch(void)
{
    int       fd;
    watch_t  *w;

    w = watch_create(supervisor.settings->functions, deploy_event, NULL);

    if (w == NULL) {
        supervisor_error(errno, "could not watch \"%s\"",
                         supervisor.settings->functions);
        return -1;
    }

    deploy_stop();

    deploy.event.handler = deploy_events;
    deploy.timer.handler = deploy_timer;

    fd = watch_fd(w);

    if (loop_add(&deploy.event, fd, EPOLLIN) == -1) {
        supervisor_error(errno, "could not watch \"%s\"",
                         supervisor.settings->functions);
        watch_destroy(w);
        return -1;
    }

    supervisor.watch = w;
    deploy.path = loop_strdup(supervisor.settings->functions,
                              strlen(supervisor.settings->functions));
    deploy.looked = 0;
    deploy.seen++;

    /* the first look is due now */

    loop_arm(&deploy.timer, loop_now_ms());

    return 0;
}


void
deploy_stop(void)
{
    (void) loop_remove(&deploy.event);
    loop_disarm(&deploy.timer);

    watch_destroy(supervisor.watch);
    supervisor.watch = NULL;

    free(deploy.path);
    deploy.path = NULL;
}


int
deploy_directory(void)
{
    return supervisor.watch != NULL ? watch_directory(supervisor.watch) : -1;
}


int
deploy_is_settled(void)
{
    function_t  *f;
    version_t   *v;

    if (!deploy.looked) {
        return 0;
    }

    for (f = function_list; f != NULL; f = f->next) {
        for (v = f->versions; v != NULL; v = v->next) {
            if (atomic_load(&v->sh->state) == FAAS_VERSION_LOADING) {
                return 0;
            }
        }
    }

    return 1;
}


void
deploy_configured(void)
{
    function_t  *f;

    for (f = function_list; f != NULL; f = f->next) {
        function_limits(f);
        pool_changed(f);
    }

    claims_changed();

    if (deploy.path == NULL
        || strcmp(deploy.path, supervisor.settings->functions) != 0)
    {
        (void) deploy_watch();
    }
}


static void
deploy_events(void *data, uint32_t events)
{
    (void) data;
    (void) events;

    deploy_run();
}


static void
deploy_timer(void *data)
{
    (void) data;

    deploy_run();
}


static void
deploy_run(void)
{
    int  error;

    watch_run(supervisor.watch, loop_now_ms());

    error = watch_error(supervisor.watch);

    if (error && error != deploy.error) {
        supervisor_error(error, "could not look through \"%s\", trying again",
                         deploy.path);
    }

    deploy.error = error;

    if (!deploy.looked && !error) {
        deploy_looked();
    }

    loop_arm(&deploy.timer, watch_next(supervisor.watch));
}


/* after the first look at a directory: what it does not have is gone */

static void
deploy_looked(void)
{
    version_t   *v, *following;
    function_t  *f, *next;

    deploy.looked = 1;
    supervisor.adopting = 0;

    for (f = function_list; f != NULL; f = next) {
        next = f->next;

        for (v = f->versions; v != NULL; v = following) {
            following = v->next;

            if (v->sh->label[0] != '\0' && v->seen != deploy.seen
                && atomic_load(&v->sh->state) != FAAS_VERSION_DRAINING)
            {
                version_drop(v);
            }
        }

        if (f->seen != deploy.seen && !f->platform) {
            deploy_remove(f, "");
        }
    }

    deploy_sweep();
    claims_settle();
}


static void
deploy_event(void *data, watch_event_e event, const char *file,
    const char *why)
{
    (void) data;

    if (supervisor.draining) {
        return;
    }

    switch (event) {

    case WATCH_CHANGED:
        if (strcmp(file + strlen(file) - 4, ".sql") == 0) {
            deploy_sql(file);

        } else {
            deploy_changed(file);
        }

        break;

    case WATCH_REMOVED:
        deploy_removed(file);
        break;

    case WATCH_REFUSED:
        deploy_refused(file, why, 0);
        break;
    }
}


/*
 * A migration is of use to what runs when it is new: at the end of this turn,
 * since the function's file may have come with it.  One that is gone changes
 * nothing: what was applied, was.
 */

static void
deploy_sql(const char *file)
{
    char         name[FAAS_NAME_SIZE], database[FAAS_NAME_SIZE];
    unsigned     number;
    function_t  *f;

    if (watch_parse_sql(file, name, database, &number) == -1) {
        return;
    }

    f = function_find(name);

    if (f != NULL) {
        f->migrate.handler = deploy_migrate;
        f->migrate.data = f;
        f->migrate_again.handler = deploy_migrate;
        f->migrate_again.data = f;
        loop_post(&f->migrate);
    }
}


static void
deploy_migrate(void *data)
{
    function_t  *f;

    f = data;

    if (deploy_directory() == -1 || supervisor.draining) {
        return;
    }

    if (version_migrate(f) == FAAS_AGAIN) {
        loop_arm(&f->migrate_again, loop_now_ms() + SHORTAGE_AGAIN_MS);
    }
}


static void
deploy_changed(const char *file)
{
    int             rc;
    char            name[FAAS_NAME_SIZE], label[FAAS_NAME_SIZE];
    char            why[STORE_WHY_SIZE > ELF_CHECK_WHY_SIZE
                        ? STORE_WHY_SIZE : ELF_CHECK_WHY_SIZE];
    store_object_t  object;

    if (watch_parse_name(file, name, label) == -1) {
        deploy_refused(file, "is not a function's name", 0);
        return;
    }

    rc = store_take(supervisor.store, watch_directory(supervisor.watch), file,
                    geteuid(), deploy_deployer(), &object, why);

    if (rc == -2) {
        watch_again(supervisor.watch, file, loop_now_ms());
        return;
    }

    if (rc == -3) {
        watch_again(supervisor.watch, file, loop_now_ms());
    }

    if (rc < 0) {
        deploy_refused(file, why, rc == -3);
        return;
    }

    rc = elf_check(object.fd, why);
    close(object.fd);

    if (rc == -1) {
        deploy_refused(file, why, 0);
        return;
    }

    deploy_version(name, label, object.sha256);
}


/* whatever ran before runs on; the reason is in log and status, told once
   while it is tried again */

static void
deploy_refused(const char *file, const char *why, int again)
{
    char         name[FAAS_NAME_SIZE], label[FAAS_NAME_SIZE];
    function_t  *f;

    if (watch_parse_name(file, name, label) == -1) {
        log_line(LOG_ERROR, 0, "file \"%s\" is refused: %s", file, why);
        return;
    }

    f = deploy_function(name);

    if (f == NULL) {
        return;
    }

    f->seen = deploy.seen;

    if (again) {
        function_error_again(f, "file \"%s\" cannot be taken, trying again: "
                             "%s", file, why);

    } else {
        function_failure(f, "file \"%s\" is refused: %s", file, why);
    }

    if (label[0] != '\0') {
        function_unserved(f);
        return;
    }

    f->present = 1;

    if (f->current == NULL && version_find(f, "", FAAS_VERSION_LOADING) == NULL)
    {
        function_state(f, FAAS_FUNCTION_FAILED);
    }
}


void
deploy_version(const char *name, const char *label, const char *sha256)
{
    version_t   *v;
    function_t  *f;

    f = deploy_function(name);

    if (f == NULL) {
        return;
    }

    f->seen = deploy.seen;

    if (label[0] == '\0') {
        f->present = 1;
    }

    v = version_find(f, label, FAAS_VERSION_LOADING);

    if (v != NULL && strcmp(v->sh->sha256, sha256) == 0) {
        v->seen = deploy.seen;
        return;
    }

    v = label[0] == '\0' ? f->current
                         : version_find(f, label, FAAS_VERSION_READY);

    if (v != NULL && strcmp(v->sh->sha256, sha256) == 0) {
        v->seen = deploy.seen;

        if (v->given_up) {
            return;    /* refused; what served before is being loaded */
        }

        deploy_cancel(f, label);

        if (!supervisor.adopting) {
            function_clear_error(f);
            (void) function_settled(f, NULL);
        }

        return;
    }

    v = version_find(f, label, FAAS_VERSION_FAILED);

    if (v != NULL && supervisor.adopting
        && strcmp(v->sh->sha256, sha256) == 0)
    {
        v->seen = deploy.seen;
        return;    /* refused before the supervisor was restarted */
    }

    deploy_cancel(f, label);

    v = version_create(f, sha256, label);

    if (v == NULL) {
        if (f->current == NULL) {
            function_state(f, FAAS_FUNCTION_FAILED);
        }

        return;
    }

    v->seen = deploy.seen;

    if (f->current == NULL && label[0] == '\0'
        && atomic_load(&v->sh->state) == FAAS_VERSION_LOADING)
    {
        function_state(f, FAAS_FUNCTION_LOADING);
    }
}


static function_t *
deploy_function(const char *name)
{
    function_t  *f;

    f = function_find(name);

    return f ? f : function_create(name);
}


/* another content comes: what is on its way is not wanted any more */

static void
deploy_cancel(function_t *f, const char *label)
{
    version_t  *v;

    v = version_find(f, label, FAAS_VERSION_LOADING);

    if (v == NULL) {
        return;
    }

    version_drop(v);

    if (label[0] == '\0' && f->current != NULL) {

        /* should it have been what served before, and the other content come
           to nothing, that is wanted again */

        f->current->given_up = 0;
    }
}


static void
deploy_removed(const char *file)
{
    char         name[FAAS_NAME_SIZE], label[FAAS_NAME_SIZE];
    function_t  *f;

    if (watch_parse_name(file, name, label) == -1) {
        return;
    }

    f = function_find(name);

    if (f != NULL) {
        deploy_remove(f, label);
    }
}


static void
deploy_remove(function_t *f, const char *label)
{
    version_t  *v, *next;

    if (label[0] == '\0') {
        f->present = 0;
    }

    for (v = f->versions; v != NULL; v = next) {
        next = v->next;

        if (strcmp(v->sh->label, label) == 0
            && atomic_load(&v->sh->state) != FAAS_VERSION_DRAINING)
        {
            version_drop(v);
        }
    }

    function_unserved(f);
}


void
deploy_sweep(void)
{
    dump_look();
    (void) store_sweep(supervisor.store, deploy_keep, NULL);
}


uid_t
deploy_deployer(void)
{
    struct passwd  *pw;

    if (supervisor.settings->deployer == NULL) {
        return (uid_t) -1;
    }

    pw = getpwnam(supervisor.settings->deployer);

    if (pw == NULL) {
        supervisor_error(0, "no such user \"%s\" (faas_deployer)",
                         supervisor.settings->deployer);
        return (uid_t) -1;
    }

    return pw->pw_uid;
}


static int
deploy_keep(const char *sha256, void *data)
{
    version_t   *v;
    function_t  *f;

    (void) data;

    if (dump_keeps(sha256)) {
        return 1;
    }

    for (f = function_list; f != NULL; f = f->next) {

        if (strncmp(f->sh->good, sha256, sizeof(f->sh->good)) == 0) {
            return 1;
        }

        for (v = f->versions; v != NULL; v = v->next) {
            if (strcmp(v->sh->sha256, sha256) == 0) {
                return 1;
            }
        }
    }

    return 0;
}
