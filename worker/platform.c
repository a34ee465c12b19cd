
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beside.h"
#include "deploy.h"
#include "elf_check.h"
#include "log.h"
#include "platform.h"
#include "store.h"
#include "version.h"


#define PLATFORM_CALLS  "_calls"
#define PLATFORM_FILE   "faas-calls.so"


static int platform_take(int dir, store_object_t *object, char *why);


void
platform_deploy(void)
{
    int              dir, rc;
    char             path[PATH_MAX];
    char             why[STORE_WHY_SIZE > ELF_CHECK_WHY_SIZE
                         ? STORE_WHY_SIZE : ELF_CHECK_WHY_SIZE];
    function_t      *f;
    store_object_t   object;

    /* what a supervisor before us has deployed is of this host's release,
       what is beside us now may be of another */

    f = function_find(PLATFORM_CALLS);

    if (f != NULL && f->current != NULL) {
        return;
    }

    if (beside_path("", path) == -1) {
        log_line(LOG_WARN, errno, "where faas-supervisor is cannot be found "
                 "out, there are no async calls");
        return;
    }

    dir = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (dir == -1 || faccessat(dir, PLATFORM_FILE, F_OK, 0) == -1) {
        log_line(LOG_WARN, errno, "\"%s%s\" cannot be had, there are no "
                 "async calls", path, PLATFORM_FILE);
        rc = -1;

    } else {
        rc = platform_take(dir, &object, why);

        if (rc != 0) {
            log_line(LOG_ERROR, 0, "\"%s%s\" is refused, there are no async "
                     "calls: %s", path, PLATFORM_FILE, why);
        }
    }

    if (dir != -1) {
        close(dir);
    }

    if (rc == 0) {
        deploy_version(PLATFORM_CALLS, "", object.sha256);
    }
}


/* whoever owns our own program is believed */

static int
platform_take(int dir, store_object_t *object, char *why)
{
    int          rc;
    uid_t        owner;
    struct stat  st;

    owner = stat("/proc/self/exe", &st) == 0 ? st.st_uid : (uid_t) -1;

    rc = store_take(supervisor.store, dir, PLATFORM_FILE, geteuid(), owner,
                    object, why);

    if (rc != 0) {
        return rc;
    }

    rc = elf_check(object->fd, why);
    close(object->fd);

    return rc;
}
