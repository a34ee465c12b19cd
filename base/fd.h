
#ifndef FD_H_INCLUDED
#define FD_H_INCLUDED


#include <errno.h>
#include <fcntl.h>
#include <unistd.h>


/*
 * A new descriptor, or -1 with errno, that is none of 0, 1, 2.  A function may
 * have closed those, and what it prints must not go to who is connected.
 */

static inline int
fd_high(int fd)
{
    int  high, error;

    if (fd == -1 || fd > STDERR_FILENO) {
        return fd;
    }

    high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    error = errno;
    (void) close(fd);
    errno = error;

    return high;
}


#endif /* FD_H_INCLUDED */
