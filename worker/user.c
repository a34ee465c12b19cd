
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "function.h"
#include "log.h"
#include "shortage.h"
#include "user.h"


static int user_find(const char *name, const gid_t *first, user_t *user,
    char *why);
static void user_warn(const char *name, uid_t uid);


int
user_of_service(user_t *user, char *why)
{
    const char  *name;

    memset(user, 0, sizeof(user_t));

    if (geteuid() != 0) {
        user->uid = getuid();
        user->gid = getgid();
        return 0;
    }

    name = supervisor.settings->user;

    if (name == NULL) {
        name = getpwnam("faas") != NULL ? "faas" : "nobody";
    }

    return user_find(name, NULL, user, why);
}


int
user_of_function(const function_t *f, user_t *user, char *why)
{
    const char                 *name;
    user_t                      service;
    const settings_function_t  *conf, *all;

    conf = function_conf(f);
    all = supervisor.settings->ceilings;

    name = conf != NULL && conf->user != NULL ? conf->user
           : all != NULL ? all->user : NULL;

    if (name == NULL || f->platform || geteuid() != 0) {
        return user_of_service(user, why);
    }

    if (user_of_service(&service, why) == -1) {
        return -1;
    }

    return user_find(name, &service.gid, user, why);
}


/* with the group `first`, unless it is NULL, before those that the user has:
   there may be too many of them */

static int
user_find(const char *name, const gid_t *first, user_t *user, char *why)
{
    int             i, n;
    gid_t           group[SANDBOX_GROUPS];
    struct passwd  *pw;

    memset(user, 0, sizeof(user_t));

    errno = 0;
    pw = getpwnam(name);

    if (pw == NULL && is_shortage(errno)) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "user \"%.64s\" could not be "
                        "looked up: %s", name, strerror(errno));
        return -1;
    }

    if (pw == NULL) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "no such user \"%.64s\"",
                        name);
        return -1;
    }

    user->uid = pw->pw_uid;
    user->gid = pw->pw_gid;

    if (first != NULL && *first != pw->pw_gid) {
        user->group[user->groups++] = *first;
    }

    n = SANDBOX_GROUPS;

    if (getgrouplist(pw->pw_name, pw->pw_gid, group, &n) == -1) {
        n = SANDBOX_GROUPS;
    }

    for (i = 0; i < n && user->groups < SANDBOX_GROUPS; i++) {
        if (user->groups == 0 || first == NULL || group[i] != *first) {
            user->group[user->groups++] = group[i];
        }
    }

    user_warn(name, user->uid);

    return 0;
}


/*
 * Processes of one user can signal each other and open each other's sockets,
 * so functions should not be of nginx's workers'.  It is said once.
 */

static void
user_warn(const char *name, uid_t uid)
{
    static int  warned;

    if (warned || (int64_t) uid != supervisor.settings->worker_uid) {
        return;
    }

    warned = 1;

    log_line(LOG_WARN, 0, "functions run as \"%s\", as nginx's workers do: "
             "give one of them another user (\"faas_user\", \"user\")", name);
}


void
user_groups(const user_t *user, char *text)
{
    size_t  i, n;

    *text = '\0';

    for (i = 0, n = 0; i < user->groups; i++) {
        n += (size_t) snprintf(text + n, USER_GROUPS_SIZE - n, "%s%u",
                               i ? "," : "", (unsigned) user->group[i]);
    }
}


int
user_become(const user_t *user)
{
    if (geteuid() != 0) {
        return 0;
    }

    if (setgroups(user->groups, user->group) == -1
        || setresgid(user->gid, user->gid, user->gid) == -1
        || setresuid(user->uid, user->uid, user->uid) == -1)
    {
        return -1;
    }

    return 0;
}
