
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "beside.h"
#include "deposit.h"


int
beside_path(const char *name, char *path)
{
    char     *slash;
    size_t    room;
    ssize_t   n;

    n = readlink("/proc/self/exe", path, PATH_MAX - 1);

    if (n == -1) {
        return -1;
    }

    path[n] = '\0';
    slash = strrchr(path, '/');
    slash = slash != NULL ? slash + 1 : path;
    room = (size_t) (path + PATH_MAX - slash);

    if (strlen(name) >= room) {
        errno = ENAMETOOLONG;
        return -1;
    }

    memcpy(slash, name, strlen(name) + 1);

    return 0;
}


int
beside_program(const char *name, const char *key)
{
    int   fd;
    char  path[PATH_MAX];

    fd = deposit_take("%s", key);

    if (fd != -1) {
        return fd;
    }

    if (beside_path(name, path) == -1) {
        return -1;
    }

    fd = open(path, O_PATH|O_CLOEXEC);

    if (fd != -1) {
        (void) deposit_put(fd, "%s", key);
    }

    return fd;
}
