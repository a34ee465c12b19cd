
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "fds.h"


int
fds_keep(int *fd, int n)
{
    int  i, above;

    /* first out of the way of the places they go to */

    for (i = 0; i < n; i++) {
        above = fcntl(fd[i], F_DUPFD_CLOEXEC, FDS_FIRST + n);

        if (above == -1) {
            return FAAS_ERROR;
        }

        fd[i] = above;
    }

    for (i = 0; i < n; i++) {

        if (dup3(fd[i], FDS_FIRST + i, O_CLOEXEC) == -1) {
            return FAAS_ERROR;
        }

        fd[i] = FDS_FIRST + i;
    }

    if (close_range((unsigned int) (FDS_FIRST + n), UINT_MAX, 0) == -1) {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


void
fds_fill(void)
{
    int  fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd != -1 && fd < FDS_FIRST);

    if (fd != -1) {
        (void) close(fd);
    }
}
