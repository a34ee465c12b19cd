
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "sandbox.h"


#define SANDBOX_UMASK        077
#define SANDBOX_NOFILE       1024
#define SANDBOX_NOFILE_HARD  4096


/* one layer: what it is called in an error, and what puts it in force */

typedef struct {
    const char               *name;
    int                     (*enter)(const sandbox_t *sandbox);
} sandbox_layer_t;


static int sandbox_limits(const sandbox_t *sandbox);
static int sandbox_user(const sandbox_t *sandbox);
static int sandbox_privileges(const sandbox_t *sandbox);
static int sandbox_dumpable(const sandbox_t *sandbox);


static const sandbox_layer_t  sandbox_layers[] = {
    { "limits", sandbox_limits },
    { "user", sandbox_user },
    { "no_new_privs", sandbox_privileges },
    { "dumpable", sandbox_dumpable },
};


int
sandbox_enter(const sandbox_t *sandbox, char *why, size_t size)
{
    size_t  i;

    for (i = 0; i < sizeof(sandbox_layers) / sizeof(sandbox_layers[0]); i++) {

        if (sandbox_layers[i].enter(sandbox) != FAAS_OK) {
            (void) snprintf(why, size, "sandbox: %s failed (%d: %s)",
                            sandbox_layers[i].name, errno, strerror(errno));
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


static int
sandbox_limits(const sandbox_t *sandbox)
{
    struct rlimit  limit;

    (void) sandbox;

    (void) umask(SANDBOX_UMASK);

    limit.rlim_cur = 0;
    limit.rlim_max = 0;

    if (setrlimit(RLIMIT_CORE, &limit) == -1) {
        return FAAS_ERROR;
    }

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return FAAS_ERROR;
    }

    /* only ever lowered */

    if (limit.rlim_max > SANDBOX_NOFILE_HARD) {
        limit.rlim_max = SANDBOX_NOFILE_HARD;
    }

    limit.rlim_cur = limit.rlim_max < SANDBOX_NOFILE ? limit.rlim_max
                                                     : SANDBOX_NOFILE;

    if (setrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static int
sandbox_user(const sandbox_t *sandbox)
{
    uid_t  real, effective, saved;

    if (geteuid() != 0) {
        return FAAS_OK;
    }

    /* looked up by the supervisor: the libraries that know users would be
       mapped in each instance, and copied by each fork */

    if (setgroups(sandbox->groups, sandbox->group) == -1
        || setresgid(sandbox->gid, sandbox->gid, sandbox->gid) == -1
        || setresuid(sandbox->uid, sandbox->uid, sandbox->uid) == -1)
    {
        return FAAS_ERROR;
    }

    /* believed only when seen: a way back would make all of it void */

    if (getresuid(&real, &effective, &saved) == -1) {
        return FAAS_ERROR;
    }

    if (real != sandbox->uid || effective != sandbox->uid
        || saved != sandbox->uid
        || (sandbox->uid != 0 && setuid(0) != -1))
    {
        errno = EPERM;
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static int
sandbox_privileges(const sandbox_t *sandbox)
{
    (void) sandbox;

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ? FAAS_ERROR : FAAS_OK;
}


/*
 * Functions that share a uid must not read each other's memory; what they
 * exec is a program of its own again.
 */

static int
sandbox_dumpable(const sandbox_t *sandbox)
{
    (void) sandbox;

    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 ? FAAS_ERROR : FAAS_OK;
}


int
sandbox_die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1) {
        return FAAS_ERROR;
    }

    /* it may have ended before the line above */

    if (getppid() != parent) {
        errno = ESRCH;
        return FAAS_ERROR;
    }

    return FAAS_OK;
}
