
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "fcgi_io.h"


static int fcgi_io_wait(int fd);
static int64_t fcgi_io_now_ms(void);


static struct {
    int                       pause_ms;
    int64_t                   end_ms;      /* CLOCK_MONOTONIC, 0: none */
} fcgi_io;


int
OS_Read(int fd, char *buf, size_t n)
{
    ssize_t  got;

    if (fcgi_io.end_ms && fcgi_io_wait(fd) != FAAS_OK) {
        errno = EAGAIN;
        return -1;
    }

    do {
        got = read(fd, buf, n);
    } while (got == -1 && errno == EINTR);

    return (int) got;
}


int
OS_Write(int fd, char *buf, size_t n)
{
    ssize_t  sent;

    do {
        sent = send(fd, buf, n, MSG_NOSIGNAL);
    } while (sent == -1 && errno == EINTR);

    return (int) sent;
}


void
fcgi_io_bound(int pause_ms, int all_ms)
{
    fcgi_io.pause_ms = pause_ms;
    fcgi_io.end_ms = all_ms ? fcgi_io_now_ms() + all_ms : 0;
}


/* until there is something to be read, or an end */

static int
fcgi_io_wait(int fd)
{
    int64_t        now_ms, until_ms;
    struct pollfd  pfd;

    pfd.fd = fd;
    pfd.events = POLLIN;

    now_ms = fcgi_io_now_ms();
    until_ms = now_ms + fcgi_io.pause_ms;

    if (until_ms > fcgi_io.end_ms) {
        until_ms = fcgi_io.end_ms;
    }

    for ( /* void */ ; now_ms < until_ms; now_ms = fcgi_io_now_ms()) {

        if (poll(&pfd, 1, (int) (until_ms - now_ms)) == 1) {
            return FAAS_OK;
        }
    }

    return FAAS_ERROR;
}


static int64_t
fcgi_io_now_ms(void)
{
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
