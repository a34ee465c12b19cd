
/*
 * The connection that faas_redis() gives to a function.  It is made as all
 * others are (deadline, login, sentinels, TLS), then its descriptor is given
 * to hiredis, blocking from there on.
 *
 * What the function leaves behind is no other request's: RESET undoes all
 * that a connection can be in.  It is asked for when the connection is used
 * again, so that it costs nothing when it is not; and answers in known bytes,
 * so that anything else (an answer that was not read, a message of a
 * subscription, CLIENT REPLY OFF, a server before 6.2) makes a new one.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <hiredis/sds.h>
#include <sys/socket.h>

#include "redis_inner.h"


/* a connection that was given CLIENT REPLY OFF never answers */
#define REDIS_RESET_MS  1000


static int redis_context_make(redis_t *r, redis_node_t *node,
    int64_t deadline_ms);
static int redis_context_is_clean(const redis_t *r);
static int redis_context_reset(redis_t *r, int64_t deadline_ms);
static int redis_context_say(redis_t *r);
static int redis_context_send(redis_t *r, char *command, int n);
static int redis_context_expect(int s, const char *text, int64_t deadline_ms);
static void redis_context_sigpipe(void);


redisContext *
redis_context(redis_t *r, faas_bytes_t key, int64_t deadline_ms, int *code)
{
    int64_t         left;
    redis_node_t   *node;
    struct timeval  tv;

    if (!redis_is_ours(r)) {
        *code = FAAS_EUNSUPPORTED;
        return NULL;
    }

    deadline_ms = redis_deadline(r, deadline_ms);
    *code = redis_locate(r, key, deadline_ms, &node);

    if (*code != FAAS_OK) {
        return NULL;
    }

    if (r->context != NULL
        && (r->context->err != 0 || node != r->context_node
            || (r->context_used
                && redis_context_reset(r, deadline_ms) != FAAS_OK)))
    {
        redis_context_drop(r);
    }

    if (r->context == NULL) {
        *code = redis_context_make(r, node, deadline_ms);

        if (*code != FAAS_OK) {
            return NULL;
        }
    }

    r->context_used = 0;

    left = deadline_ms - redis_now_ms();

    if (left < 1) {
        left = 1;
    }

    tv.tv_sec = (time_t) (left / 1000);
    tv.tv_usec = (suseconds_t) (left % 1000) * 1000;

    if (redisSetTimeout(r->context, tv) != REDIS_OK) {
        redis_context_drop(r);
        *code = FAAS_ERROR;
        return NULL;
    }

    return r->context;
}


void
redis_context_end(redis_t *r)
{
    if (!redis_is_ours(r) || r->context == NULL) {
        return;
    }

    if (!redis_context_is_clean(r)) {
        redis_context_drop(r);
        return;
    }

    r->context_used = 1;
}


/* the tunnel ends by the end of the connection */
void
redis_context_drop(redis_t *r)
{
    if (r->context != NULL) {
        redisFree(r->context);
        r->context = NULL;
    }

    redis_tunnel_destroy(r->tunnel);
    r->tunnel = NULL;
    r->context_node = NULL;
}


/* -- making one ------------------------------------------------------------ */

static int
redis_context_make(redis_t *r, redis_node_t *node, int64_t deadline_ms)
{
    int           rc, fd;
    redis_link_t  link;

    rc = redis_node_connect(r, node, &link, deadline_ms);

    if (rc != FAAS_OK) {
        return rc;
    }

    if (link.tls != NULL) {
        r->tunnel = redis_tunnel_create(&link, &fd);

        if (r->tunnel == NULL) {
            redis_say(r, "TLS for a function's connection: %s",
                      strerror(errno));
            return FAAS_ERROR;
        }

    } else {
        fd = link.fd;
        link.fd = -1;
        redis_link_close(&link);
    }

    if (fcntl(fd, F_SETFL, 0) == -1) {
        (void) close(fd);
        redis_context_drop(r);
        return FAAS_ERROR;
    }

    r->context = redisConnectFd(fd);

    if (r->context == NULL || r->context->err != 0) {
        if (r->context == NULL) {
            (void) close(fd);
        }

        redis_context_drop(r);
        redis_say(r, "out of memory");
        return FAAS_ERROR;
    }

    r->context_node = node;
    redis_context_sigpipe();

    return FAAS_OK;
}


static void
redis_context_nothing(int signo)
{
    (void) signo;
}


/*
 * hiredis 0.14 writes without MSG_NOSIGNAL.  What would kill is replaced; a
 * handler of the function's own is left.  A handler, and not SIG_IGN, which a
 * program that the function executes would inherit.
 */

static void
redis_context_sigpipe(void)
{
    struct sigaction  sa;

    if (sigaction(SIGPIPE, NULL, &sa) == -1 || sa.sa_flags & SA_SIGINFO
        || sa.sa_handler != SIG_DFL)
    {
        return;
    }

    memset(&sa, 0, sizeof(struct sigaction));
    sa.sa_handler = redis_context_nothing;
    sa.sa_flags = SA_RESTART;
    (void) sigaction(SIGPIPE, &sa, NULL);
}


/* -- between requests ------------------------------------------------------ */

/* nothing unsent, nothing unread, as far as can be seen from here */
static int
redis_context_is_clean(const redis_t *r)
{
    char                 c;
    ssize_t              n;
    const redisContext  *context;

    context = r->context;

    if (context->err != 0 || sdslen(context->obuf) > 0
        || context->reader->pos < context->reader->len
        || context->reader->ridx != -1)
    {
        return 0;
    }

    n = recv(context->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == -1 && errno == EAGAIN;
}


/* as it was when it was made */
static int
redis_context_reset(redis_t *r, int64_t deadline_ms)
{
    char     expected[32];
    int64_t  latest;

    if (!redis_context_is_clean(r) || redis_context_say(r) != FAAS_OK) {
        return FAAS_ERROR;
    }

    latest = redis_now_ms() + REDIS_RESET_MS;

    (void) snprintf(expected, sizeof(expected), "+RESET\r\n%s%s",
                    r->url.password[0] != '\0' ? "+OK\r\n" : "",
                    r->url.db != 0 ? "+OK\r\n" : "");

    return redis_context_expect(r->context->fd, expected,
                                deadline_ms < latest ? deadline_ms : latest);
}


static int
redis_context_say(redis_t *r)
{
    int    n;
    char  *command;

    n = redisFormatCommand(&command, "RESET");

    if (redis_context_send(r, command, n) != FAAS_OK) {
        return FAAS_ERROR;
    }

    if (r->url.password[0] != '\0') {
        n = r->url.user[0] != '\0'
            ? redisFormatCommand(&command, "AUTH %s %s", r->url.user,
                                 r->url.password)
            : redisFormatCommand(&command, "AUTH %s", r->url.password);

        if (redis_context_send(r, command, n) != FAAS_OK) {
            return FAAS_ERROR;
        }
    }

    if (r->url.db != 0) {
        n = redisFormatCommand(&command, "SELECT %u", r->url.db);

        if (redis_context_send(r, command, n) != FAAS_OK) {
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


/* and frees it; all is said before, so that there is room */
static int
redis_context_send(redis_t *r, char *command, int n)
{
    ssize_t  sent;

    if (n == -1) {
        return FAAS_ERROR;
    }

    sent = send(r->context->fd, command, (size_t) n,
                MSG_DONTWAIT | MSG_NOSIGNAL);
    explicit_bzero(command, (size_t) n);
    redisFreeCommand(command);

    return sent == n ? FAAS_OK : FAAS_ERROR;
}


/* those very bytes, and no others behind them */
static int
redis_context_expect(int s, const char *text, int64_t deadline_ms)
{
    char           buf[64];
    size_t         n, size;
    int64_t        left;
    ssize_t        got;
    struct pollfd  pfd;

    n = 0;
    size = strlen(text);

    while (n < size) {
        got = recv(s, buf + n, sizeof(buf) - n, MSG_DONTWAIT);

        if (got > 0) {
            n += (size_t) got;

            if (n > size || memcmp(buf, text, n) != 0) {
                return FAAS_ERROR;
            }

            continue;
        }

        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            return FAAS_ERROR;
        }

        left = deadline_ms - redis_now_ms();

        if (left <= 0) {
            return FAAS_ERROR;
        }

        pfd.fd = s;
        pfd.events = POLLIN;
        (void) poll(&pfd, 1, (int) left);
    }

    return FAAS_OK;
}
