
/*
 * hiredis 0.14 reads and writes a descriptor, and knows no TLS: so that a
 * function's own connection can have it, a thread carries the bytes between
 * one end of a socket pair and the TLS connection.  It takes no more from one
 * side than the other has taken, and ends when either side has ended.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "fd.h"
#include "redis_inner.h"


#define REDIS_TUNNEL_CHUNK  16384


/* after redis_tunnel_create() only the thread uses it, until it was joined */

struct redis_tunnel_s {
    pthread_t                 thread;
    int                       fd;          /* towards hiredis */
    redis_link_t              link;

    /* from Redis, and not yet taken by hiredis */
    size_t                    pos;
    size_t                    len;
    char                      buf[REDIS_TUNNEL_CHUNK];
};


static int redis_tunnel_start(redis_tunnel_t *t);
static void *redis_tunnel_run(void *data);
static int redis_tunnel_up(redis_tunnel_t *t);
static int redis_tunnel_down(redis_tunnel_t *t);
static void redis_tunnel_wait(redis_tunnel_t *t);


redis_tunnel_t *
redis_tunnel_create(redis_link_t *link, int *fd)
{
    int              pair[2], error;
    redis_tunnel_t  *t;

    pair[0] = -1;
    pair[1] = -1;

    t = calloc(1, sizeof(redis_tunnel_t));

    if (t == NULL
        || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                      pair)
           == -1)
    {
        goto failed;
    }

    pair[0] = fd_high(pair[0]);
    pair[1] = fd_high(pair[1]);

    if (pair[0] == -1 || pair[1] == -1) {
        goto failed;
    }

    t->fd = pair[0];
    t->link = *link;

    if (redis_tunnel_start(t) == -1) {
        goto failed;
    }

    *fd = pair[1];

    return t;

failed:

    error = errno;

    if (pair[0] != -1) {
        (void) close(pair[0]);
    }

    if (pair[1] != -1) {
        (void) close(pair[1]);
    }

    free(t);
    redis_link_close(link);
    errno = error;

    return NULL;
}


/* signals are for the function's thread */
static int
redis_tunnel_start(redis_tunnel_t *t)
{
    int       rc;
    sigset_t  all, old;

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);

    rc = pthread_create(&t->thread, NULL, redis_tunnel_run, t);

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        errno = rc;
        return -1;
    }

    return 0;
}


void
redis_tunnel_destroy(redis_tunnel_t *t)
{
    if (t == NULL) {
        return;
    }

    (void) pthread_join(t->thread, NULL);

    redis_link_close(&t->link);
    free(t);
}


/* its end of the pair is closed at once, so that hiredis sees the end */
static void *
redis_tunnel_run(void *data)
{
    redis_tunnel_t  *t;

    t = data;

    while (redis_tunnel_up(t) == 0 && redis_tunnel_down(t) == 0) {
        redis_tunnel_wait(t);
    }

    (void) close(t->fd);

    return NULL;
}


/* from hiredis to Redis */
static int
redis_tunnel_up(redis_tunnel_t *t)
{
    char     buf[REDIS_TUNNEL_CHUNK];
    ssize_t  n;

    for ( ;; ) {
        if (redis_tls_flush(t->link.tls) == -1) {
            return -1;
        }

        if (redis_tls_is_pending(t->link.tls)) {
            return 0;
        }

        n = recv(t->fd, buf, sizeof(buf), MSG_DONTWAIT);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1 && errno == EAGAIN) {
            return 0;
        }

        /* nothing is pending, so that all of one chunk is taken */

        if (n <= 0 || redis_tls_send(t->link.tls, buf, (size_t) n) != n) {
            return -1;
        }
    }
}


/* from Redis to hiredis */
static int
redis_tunnel_down(redis_tunnel_t *t)
{
    ssize_t  n;

    for ( ;; ) {
        while (t->pos < t->len) {
            n = send(t->fd, t->buf + t->pos, t->len - t->pos,
                     MSG_DONTWAIT | MSG_NOSIGNAL);

            if (n == -1) {
                if (errno == EINTR) {
                    continue;
                }

                return errno == EAGAIN ? 0 : -1;
            }

            t->pos += (size_t) n;
        }

        n = redis_tls_recv(t->link.tls, t->buf, sizeof(t->buf));

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            return n == -1 && errno == EAGAIN ? 0 : -1;
        }

        t->pos = 0;
        t->len = (size_t) n;
    }
}


static void
redis_tunnel_wait(redis_tunnel_t *t)
{
    struct pollfd  pfd[2];

    memset(pfd, 0, sizeof(pfd));

    pfd[0].fd = t->fd;
    pfd[1].fd = t->link.fd;

    if (redis_tls_is_pending(t->link.tls)) {
        pfd[1].events |= POLLOUT;

    } else {
        pfd[0].events |= POLLIN;
    }

    if (t->pos < t->len) {
        pfd[0].events |= POLLOUT;

    } else {
        pfd[1].events |= POLLIN;
    }

    (void) poll(pfd, 2, -1);
}
