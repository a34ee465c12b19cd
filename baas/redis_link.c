
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <faas.h>

#include "fd.h"
#include "redis_link.h"


#define REDIS_LINK_READ   65536
#define REDIS_LINK_PAUSE  5          /* ms; when a backlog is full */
#define REDIS_LINK_ARRAY  1048576    /* elements; nothing of ours has more */

/* a peer that has vanished is noticed after half a minute, also by a
   subscription that says nothing */
#define REDIS_LINK_IDLE_S      15
#define REDIS_LINK_INTERVAL_S  5
#define REDIS_LINK_PROBES      3


/* where a complaint goes */

typedef struct {
    const redis_address_t    *address;
    char                     *why;
    size_t                    size;
} redis_complaint_t;


static redisReader *redis_link_reader(void);
static void *redis_link_array(const redisReadTask *task, int elements);
static int redis_link_unix(redis_link_t *l, const char *path,
    int64_t deadline_ms);
static int redis_link_tcp(redis_link_t *l, const redis_address_t *a,
    const redis_login_t *login, int64_t deadline_ms, redis_complaint_t *c);
static int redis_link_connect(redis_link_t *l, const struct sockaddr *sa,
    socklen_t length, int64_t deadline_ms);
static int redis_link_tls(redis_link_t *l, const redis_address_t *a,
    const redis_login_t *login, int64_t deadline_ms, redis_complaint_t *c);
static int redis_link_login(redis_link_t *l, const redis_login_t *login,
    int64_t deadline_ms, redis_complaint_t *c);
static int redis_link_say(redis_link_t *l, int argc, const char **argv,
    int64_t deadline_ms);
static int redis_link_greeted(redis_link_t *l, int64_t deadline_ms,
    redis_complaint_t *c);
static int redis_link_role(redis_link_t *l, int64_t deadline_ms,
    redis_complaint_t *c);
static int redis_link_wait(redis_link_t *l, short events,
    int64_t deadline_ms);
static void redis_link_complain(redis_complaint_t *c, const char *what,
    const char *detail);


/*
 * hiredis believes what a server says of an array's length, up to 2^31, and
 * takes memory for it before an element is there.
 */

static redisReplyObjectFunctions  redis_link_functions;
static void *(*redis_link_make_array)(const redisReadTask *task, int elements);


int
redis_link_open(redis_link_t *l, const redis_address_t *a,
    const redis_login_t *login, int64_t deadline_ms, char *why, size_t size)
{
    int                rc;
    redis_complaint_t  c;

    memset(l, 0, sizeof(redis_link_t));
    l->fd = -1;

    c.address = a;
    c.why = why;
    c.size = size;

    if (a->host[0] == '/') {
        rc = redis_link_unix(l, a->host, deadline_ms);

        if (rc != FAAS_OK) {
            redis_link_complain(&c, "not connected", strerror(errno));
        }

    } else {
        rc = redis_link_tcp(l, a, login, deadline_ms, &c);
    }

    if (rc == FAAS_OK && login->trust != NULL) {
        rc = redis_link_tls(l, a, login, deadline_ms, &c);
    }

    if (rc == FAAS_OK) {
        l->reader = redis_link_reader();

        if (l->reader == NULL) {
            redis_link_complain(&c, "not connected", "out of memory");
            rc = FAAS_ERROR;
        }
    }

    if (rc == FAAS_OK) {
        rc = redis_link_login(l, login, deadline_ms, &c);
    }

    if (rc == FAAS_OK && login->master) {
        rc = redis_link_role(l, deadline_ms, &c);
    }

    if (rc != FAAS_OK) {
        redis_link_close(l);
    }

    return rc;
}


static redisReader *
redis_link_reader(void)
{
    redisReader  *reader;

    reader = redisReaderCreate();

    if (reader == NULL) {
        return NULL;
    }

    redis_link_functions = *reader->fn;
    redis_link_make_array = redis_link_functions.createArray;
    redis_link_functions.createArray = redis_link_array;
    reader->fn = &redis_link_functions;

    return reader;
}


static void *
redis_link_array(const redisReadTask *task, int elements)
{
    return elements > REDIS_LINK_ARRAY ? NULL
                                       : redis_link_make_array(task, elements);
}


void
redis_link_close(redis_link_t *l)
{
    redis_tls_destroy(l->tls);

    if (l->reader != NULL) {
        redisReaderFree(l->reader);
    }

    if (l->fd != -1) {
        (void) close(l->fd);
    }

    memset(l, 0, sizeof(redis_link_t));
    l->fd = -1;
}


/* -- connecting ------------------------------------------------------------ */

static int
redis_link_unix(redis_link_t *l, const char *path, int64_t deadline_ms)
{
    size_t              n;
    struct sockaddr_un  sun;

    n = strlen(path);

    if (n >= sizeof(sun.sun_path)) {
        errno = ENAMETOOLONG;
        return FAAS_EUNAVAILABLE;
    }

    memset(&sun, 0, sizeof(struct sockaddr_un));
    sun.sun_family = AF_UNIX;
    memcpy(sun.sun_path, path, n);

    l->fd = fd_high(socket(AF_UNIX,
                           SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));

    if (l->fd == -1) {
        return FAAS_EUNAVAILABLE;
    }

    return redis_link_connect(l, (struct sockaddr *) &sun, sizeof(sun),
                              deadline_ms);
}


/* each address of a name has its share of the time */
static int
redis_link_tcp(redis_link_t *l, const redis_address_t *a,
    const redis_login_t *login, int64_t deadline_ms, redis_complaint_t *c)
{
    int               rc, on, n;
    int64_t           now;
    struct addrinfo  *list, *ai;

    rc = redis_resolve(login->resolver, a->host, a->port, deadline_ms, &list,
                       c->why, c->size);
    if (rc != FAAS_OK) {
        return rc;
    }

    n = 0;
    on = 1;
    rc = FAAS_EUNAVAILABLE;

    for (ai = list; ai != NULL; ai = ai->ai_next) {
        n++;
    }

    for (ai = list; ai != NULL && rc != FAAS_OK; ai = ai->ai_next, n--) {
        l->fd = fd_high(socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK
                                              | SOCK_CLOEXEC, 0));

        if (l->fd == -1) {
            redis_link_complain(c, "not connected", strerror(errno));
            continue;
        }

        (void) setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        now = redis_now_ms();
        rc = redis_link_connect(l, ai->ai_addr, ai->ai_addrlen,
                                now + (deadline_ms - now) / n);

        if (rc != FAAS_OK) {
            redis_link_complain(c, "not connected", strerror(errno));
            (void) close(l->fd);
            l->fd = -1;
        }
    }

    freeaddrinfo(list);

    if (rc == FAAS_OK) {
        int  idle = REDIS_LINK_IDLE_S, interval = REDIS_LINK_INTERVAL_S;
        int  probes = REDIS_LINK_PROBES;

        (void) setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void) setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle,
                          sizeof(idle));
        (void) setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
                          sizeof(interval));
        (void) setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes,
                          sizeof(probes));
    }

    return rc;
}


/* errno says why not */
static int
redis_link_connect(redis_link_t *l, const struct sockaddr *sa,
    socklen_t length, int64_t deadline_ms)
{
    int        error;
    socklen_t  n;

    while (connect(l->fd, sa, length) == -1) {

        if (errno == EINPROGRESS || errno == EINTR) {
            if (redis_link_wait(l, POLLOUT, deadline_ms) != FAAS_OK) {
                errno = ETIMEDOUT;
                return FAAS_EUNAVAILABLE;
            }

            error = 0;
            n = sizeof(error);
            (void) getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &n);

            if (error != 0) {
                errno = error;
                return FAAS_EUNAVAILABLE;
            }

            return FAAS_OK;
        }

        /* a unix socket whose backlog is full cannot be waited for */

        if (errno != EAGAIN || redis_now_ms() >= deadline_ms) {
            return FAAS_EUNAVAILABLE;
        }

        (void) poll(NULL, 0, REDIS_LINK_PAUSE);
    }

    return FAAS_OK;
}


static int
redis_link_tls(redis_link_t *l, const redis_address_t *a,
    const redis_login_t *login, int64_t deadline_ms, redis_complaint_t *c)
{
    int   rc;
    char  why[REDIS_WHY];

    l->tls = redis_tls_create(login->trust, l->fd, a->host, why, sizeof(why));

    if (l->tls == NULL) {
        redis_link_complain(c, "not connected", why);
        return FAAS_EUNAVAILABLE;
    }

    for ( ;; ) {
        rc = redis_tls_handshake(l->tls, why, sizeof(why));

        if (rc == FAAS_OK) {
            return FAAS_OK;
        }

        if (rc != REDIS_TLS_AGAIN) {
            redis_link_complain(c, "not connected", why);
            return rc;
        }

        if (redis_link_wait(l, POLLIN, deadline_ms) != FAAS_OK) {
            redis_link_complain(c, "not connected", "TLS: no answer");
            return FAAS_EUNAVAILABLE;
        }
    }
}


/* -- logging in ------------------------------------------------------------ */

/*
 * One round trip, before anything else is sent: what follows a refused AUTH
 * or SELECT would be done as another user, or elsewhere.
 */

static int
redis_link_login(redis_link_t *l, const redis_login_t *login,
    int64_t deadline_ms, redis_complaint_t *c)
{
    int   i, n, rc;
    char  db[REDIS_NUMBER];

    n = 0;
    rc = FAAS_OK;

    if (login->password[0] != '\0') {
        const char  *auth[] = { "AUTH", login->user, login->password };

        if (login->user[0] == '\0') {
            auth[1] = login->password;
            rc = redis_link_say(l, 2, auth, deadline_ms);

        } else {
            rc = redis_link_say(l, 3, auth, deadline_ms);
        }

        n++;
    }

    if (rc == FAAS_OK && login->db != 0) {
        const char  *select[] = { "SELECT", db };

        (void) snprintf(db, sizeof(db), "%u", login->db);
        rc = redis_link_say(l, 2, select, deadline_ms);
        n++;
    }

    if (rc == FAAS_OK && login->proof) {
        const char  *ping[] = { "PING" };

        rc = redis_link_say(l, 1, ping, deadline_ms);
        n++;
    }

    for (i = 0; i < n && rc == FAAS_OK; i++) {
        rc = redis_link_greeted(l, deadline_ms, c);
    }

    if (rc == FAAS_ETIMEDOUT) {
        redis_link_complain(c, "not connected", "no answer");
        rc = FAAS_EUNAVAILABLE;
    }

    return rc;
}


/* one command of strings, which may be secrets: FAAS_ETIMEDOUT if it cannot
   be said */
static int
redis_link_say(redis_link_t *l, int argc, const char **argv,
    int64_t deadline_ms)
{
    int     rc;
    int     n;
    char   *command;
    size_t  sent;

    n = redisFormatCommandArgv(&command, argc, argv, NULL);

    if (n == -1) {
        return FAAS_ETIMEDOUT;
    }

    rc = redis_link_write(l, command, (size_t) n, &sent, deadline_ms);

    explicit_bzero(command, (size_t) n);
    redisFreeCommand(command);

    return rc == FAAS_OK ? FAAS_OK : FAAS_ETIMEDOUT;
}


/* one answer, and that it is no error */
static int
redis_link_greeted(redis_link_t *l, int64_t deadline_ms, redis_complaint_t *c)
{
    int          rc;
    redisReply  *reply;

    if (redis_link_read(l, &reply, deadline_ms) != FAAS_OK) {
        return FAAS_ETIMEDOUT;
    }

    rc = redis_code(reply);

    if (rc != FAAS_OK) {
        redis_link_complain(c, "not connected",
                            reply->type == REDIS_REPLY_ERROR ? reply->str
                                                             : "an error");
    }

    freeReplyObject(reply);

    return rc;
}


/* sentinels may be late: only a master says that it is one */
static int
redis_link_role(redis_link_t *l, int64_t deadline_ms, redis_complaint_t *c)
{
    int          rc;
    size_t       n;
    redisReply  *reply;
    const char  *answer;

    static const char  *role[] = { "ROLE" };

    rc = redis_link_ask(l, 1, role, &reply, deadline_ms);

    if (rc != FAAS_OK) {
        redis_link_complain(c, "not connected", "no answer");
        return rc;
    }

    rc = redis_code(reply);
    answer = NULL;

    if (rc != FAAS_OK) {
        redis_link_complain(c, "ROLE", reply->type == REDIS_REPLY_ERROR
                                       ? reply->str : "an error");

    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
        answer = redis_reply_text(reply->element[0], &n);
    }

    if (rc == FAAS_OK && (answer == NULL || strcmp(answer, "master") != 0)) {
        redis_link_complain(c, "not connected", "it is no master");
        rc = FAAS_EREADONLY;
    }

    freeReplyObject(reply);

    return rc;
}


int
redis_link_ask(redis_link_t *l, int argc, const char **argv,
    redisReply **reply, int64_t deadline_ms)
{
    if (redis_link_say(l, argc, argv, deadline_ms) != FAAS_OK
        || redis_link_read(l, reply, deadline_ms) != FAAS_OK)
    {
        return FAAS_EUNAVAILABLE;
    }

    return FAAS_OK;
}


/* -- bytes ----------------------------------------------------------------- */

/* until the socket is ready: FAAS_OK or FAAS_ETIMEDOUT.  An error of the
   socket is for whoever reads or writes next. */
static int
redis_link_wait(redis_link_t *l, short events, int64_t deadline_ms)
{
    int            rc;
    int64_t        left;
    struct pollfd  pfd;

    pfd.fd = l->fd;
    pfd.events = events;

    if (l->tls != NULL && redis_tls_is_pending(l->tls)) {
        pfd.events |= POLLOUT;
    }

    do {
        left = deadline_ms - redis_now_ms();

        if (left <= 0) {
            return FAAS_ETIMEDOUT;
        }

        rc = poll(&pfd, 1, left > 60000 ? 60000 : (int) left);

    } while (rc == 0 || (rc == -1 && errno == EINTR));

    return rc == -1 ? FAAS_EUNAVAILABLE : FAAS_OK;
}


int
redis_link_write(redis_link_t *l, const char *buf, size_t n, size_t *sent,
    int64_t deadline_ms)
{
    int      rc;
    ssize_t  done;

    *sent = 0;

    for ( ;; ) {
        if (*sent == n) {
            if (l->tls == NULL || !redis_tls_is_pending(l->tls)) {
                return FAAS_OK;
            }

            done = redis_tls_flush(l->tls);

        } else if (l->tls != NULL) {
            done = redis_tls_send(l->tls, buf + *sent, n - *sent);

        } else {
            done = send(l->fd, buf + *sent, n - *sent,
                        MSG_DONTWAIT | MSG_NOSIGNAL);
        }

        if (done > 0) {
            *sent += (size_t) done;
            continue;
        }

        if (done == -1 && errno == EINTR) {
            continue;
        }

        if (done == -1 && errno != EAGAIN) {
            return FAAS_EUNAVAILABLE;
        }

        if (*sent == n && !redis_tls_is_pending(l->tls)) {
            continue;
        }

        rc = redis_link_wait(l, POLLOUT, deadline_ms);
        if (rc != FAAS_OK) {
            return rc;
        }
    }
}


/* some bytes to the parser */
static int
redis_link_feed(redis_link_t *l)
{
    char     buf[REDIS_LINK_READ];
    ssize_t  n;

    do {
        n = l->tls ? redis_tls_recv(l->tls, buf, sizeof(buf))
                   : recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);

    } while (n == -1 && errno == EINTR);

    if (n == -1 && errno == EAGAIN) {
        return FAAS_ETIMEDOUT;
    }

    if (n <= 0) {
        return FAAS_EUNAVAILABLE;
    }

    l->answered = 1;

    return redisReaderFeed(l->reader, buf, (size_t) n) == REDIS_OK
           ? FAAS_OK : FAAS_ERROR;
}


int
redis_link_read(redis_link_t *l, redisReply **reply, int64_t deadline_ms)
{
    int    rc, wait;
    void  *one;

    /* an answer takes a moment, so it is waited for before it is looked for;
       but not with TLS, which may have more of it than the socket */
    wait = l->tls == NULL;

    for ( ;; ) {
        one = NULL;

        if (redisReaderGetReply(l->reader, &one) != REDIS_OK) {
            return FAAS_ERROR;
        }

        if (one != NULL) {
            *reply = one;
            return FAAS_OK;
        }

        if (wait && deadline_ms != 0) {
            rc = redis_link_wait(l, POLLIN, deadline_ms);
            if (rc != FAAS_OK) {
                return rc;
            }
        }

        rc = redis_link_feed(l);

        if (rc != FAAS_OK && (rc != FAAS_ETIMEDOUT || deadline_ms == 0)) {
            return rc;
        }

        wait = l->tls == NULL || rc == FAAS_ETIMEDOUT;
    }
}


int
redis_link_is_quiet(redis_link_t *l)
{
    char     c;
    ssize_t  n;

    if (l->reader->pos < l->reader->len) {
        return 0;
    }

    n = l->tls ? redis_tls_recv(l->tls, &c, 1)
               : recv(l->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == -1 && errno == EAGAIN;
}


static void
redis_link_complain(redis_complaint_t *c, const char *what, const char *detail)
{
    char  address[REDIS_URL_HOST + 16];

    (void) snprintf(c->why, c->size, "redis %s: %s%s%s",
                    redis_address_text(c->address, address, sizeof(address)),
                    what, *detail ? ": " : "", detail);
}
