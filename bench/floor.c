
/*
 * The floor of this architecture: the least that a process behind nginx's
 * fastcgi_pass can do for a "hello".  It reads FastCGI records without
 * looking at the parameters and answers a constant with one write per
 * request; it holds any number of kept connections in one epoll loop.  No
 * host of functions that is reached by FastCGI can cost less than this.
 *
 * usage: floor SOCKET
 *
 * Listens on the unix socket SOCKET, which must not exist, and runs until
 * SIGTERM.  It is for the benchmark only: what is malformed, or a peer that
 * does not take 100 bytes at once, loses its connection.
 */


#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>


#define FLOOR_EVENTS         512
#define FLOOR_BUFFER         16384

#define FCGI_HEADER          8
#define FCGI_BEGIN_REQUEST   1
#define FCGI_STDIN           5
#define FCGI_KEEP_CONN       1

#define FLOOR_ANSWER                                                          \
    "Content-Type: text/plain\r\n"                                            \
    "Content-Length: 13\r\n"                                                  \
    "\r\n"                                                                    \
    "hello, world\n"


/* one kept connection; made by floor_accept(), freed by floor_close() */

typedef struct {
    int       fd;
    int       keep;                   /* FCGI_KEEP_CONN of the request */
    int       begun;                  /* its flags were seen */
    uint32_t  have;                   /* bytes of header that are there */
    uint32_t  skip;                   /* bytes left of this record */
    uint8_t   header[FCGI_HEADER];
} floor_connection_t;


static int floor_listen(const char *path);
static void floor_accept(int epoll, int listener);
static int floor_read(floor_connection_t *c);
static int floor_record(floor_connection_t *c);
static int floor_answer(floor_connection_t *c);
static void floor_close(floor_connection_t *c);


int
main(int argc, char **argv)
{
    int                  epoll, listener, i, n;
    floor_connection_t  *c;
    struct epoll_event   event, events[FLOOR_EVENTS];

    if (argc != 2) {
        fprintf(stderr, "usage: floor SOCKET\n");
        return 2;
    }

    listener = floor_listen(argv[1]);
    epoll = epoll_create1(EPOLL_CLOEXEC);

    if (listener == -1 || epoll == -1) {
        perror(argv[1]);
        return 1;
    }

    event.events = EPOLLIN;
    event.data.ptr = NULL;

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == -1) {
        perror("epoll_ctl()");
        return 1;
    }

    for ( ;; ) {
        n = epoll_wait(epoll, events, FLOOR_EVENTS, -1);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c == NULL) {
                floor_accept(epoll, listener);

            } else if (floor_read(c) == -1) {
                floor_close(c);
            }
        }
    }
}


static int
floor_listen(const char *path)
{
    int                 s;
    struct sockaddr_un  sun;

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;

    if (strlen(path) >= sizeof(sun.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }

    strcpy(sun.sun_path, path);

    s = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (s == -1) {
        return -1;
    }

    if (bind(s, (struct sockaddr *) &sun, sizeof(sun)) == -1
        || chmod(path, 0666) == -1
        || listen(s, 1024) == -1)
    {
        close(s);
        return -1;
    }

    return s;
}


static void
floor_accept(int epoll, int listener)
{
    int                  fd;
    floor_connection_t  *c;
    struct epoll_event   event;

    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);
    if (fd == -1) {
        return;
    }

    c = calloc(1, sizeof(floor_connection_t));
    if (c == NULL) {
        close(fd);
        return;
    }

    c->fd = fd;

    event.events = EPOLLIN;
    event.data.ptr = c;

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == -1) {
        floor_close(c);
    }
}


/* takes what one read brings; -1: the connection is done with */

static int
floor_read(floor_connection_t *c)
{
    ssize_t   n;
    uint8_t  *p, *last;
    uint32_t  size;
    uint8_t   buf[FLOOR_BUFFER];

    n = read(c->fd, buf, sizeof(buf));

    if (n == -1) {
        return (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }

    if (n == 0) {
        return -1;
    }

    last = buf + n;

    for (p = buf; p < last; /* void */ ) {

        if (c->have < FCGI_HEADER) {
            c->header[c->have++] = *p++;

            if (c->have == FCGI_HEADER && floor_record(c) == -1) {
                return -1;
            }

            continue;
        }

        size = last - p;
        if (size > c->skip) {
            size = c->skip;
        }

        if (c->header[1] == FCGI_BEGIN_REQUEST && c->begun == 0 && size > 2) {
            c->keep = p[2] & FCGI_KEEP_CONN;
            c->begun = 1;
        }

        p += size;
        c->skip -= size;

        if (c->skip == 0) {
            c->have = 0;
        }
    }

    return 0;
}


/* a header is complete; the empty FCGI_STDIN ends the request */

static int
floor_record(floor_connection_t *c)
{
    uint32_t  length;

    length = c->header[4] << 8 | c->header[5];
    c->skip = length + c->header[6];

    if (c->skip == 0) {
        c->have = 0;
    }

    if (c->header[1] == FCGI_BEGIN_REQUEST) {
        c->begun = 0;
    }

    if (c->header[1] == FCGI_STDIN && length == 0) {
        return floor_answer(c);
    }

    return 0;
}


static int
floor_answer(floor_connection_t *c)
{
    static struct {
        uint8_t  out[FCGI_HEADER];
        char     text[sizeof(FLOOR_ANSWER) - 1];
        uint8_t  end_out[FCGI_HEADER];
        uint8_t  end[FCGI_HEADER + 8];

    } answer = {
        { 1, 6, 0, 1, 0, sizeof(FLOOR_ANSWER) - 1, 0, 0 },
        FLOOR_ANSWER,
        { 1, 6, 0, 1, 0, 0, 0, 0 },
        { 1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    };

    answer.out[2] = answer.end_out[2] = answer.end[2] = c->header[2];
    answer.out[3] = answer.end_out[3] = answer.end[3] = c->header[3];

    if (write(c->fd, &answer, sizeof(answer)) != sizeof(answer)) {
        return -1;
    }

    return c->keep ? 0 : -1;
}


static void
floor_close(floor_connection_t *c)
{
    close(c->fd);
    free(c);
}
