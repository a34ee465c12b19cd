
/*
 * What confines a function.  The function init enters the sandbox before the
 * function's code is opened, since constructors run inside dlopen(); the
 * template and the instances are its forks and cannot leave it.
 *
 * The order is fixed: cgroup, namespaces, mounts, limits, descriptors, groups
 * and uid, no_new_privs, Landlock, seccomp.  Each layer has its line in
 * sandbox_enter(); what is asked for and cannot be had is an error.
 */


#ifndef SANDBOX_H_INCLUDED
#define SANDBOX_H_INCLUDED


#include <stddef.h>
#include <sys/types.h>


/* of a user; one in more groups gets the first of them */
#define SANDBOX_GROUPS  64

/* Whom a function runs as.  Of no effect unless the caller is root. */

typedef struct {
    uid_t                     uid;
    gid_t                     gid;
    gid_t                     group[SANDBOX_GROUPS];    /* supplementary */
    size_t                    groups;
} sandbox_t;


/*
 * Enters it, for good.  FAAS_OK; FAAS_ERROR with one line in why[size]: the
 * process has to end, it may be half inside.
 */
int sandbox_enter(const sandbox_t *sandbox, char *why, size_t size);

/*
 * Ties this process's life to its parent's: SIGKILL when that ends.  Does
 * not survive a fork or a change of uid, so each process calls it for itself.
 * FAAS_OK; FAAS_ERROR when the parent is not `parent` (any more).
 */
int sandbox_die_with(pid_t parent);


#endif /* SANDBOX_H_INCLUDED */
