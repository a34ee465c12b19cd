
/*
 * A load generator that accounts for every request.  One thread, one epoll
 * loop, HTTP/1.1.  Each request has an id of its own, in its query and as
 * X-Request-ID; the experiments' functions give it back, so that an answer to
 * somebody else's request is seen.  Each request that was ever begun makes
 * one line in the file, whatever became of it:
 *
 *   ID METHOD START SENT FIRST END STATUS CLASS REUSED BYTES RETRY_AFTER
 *   OUTCOME STARTED WORKER VALUE PROCESS VERSION PROXY_STATUS
 *
 * Times are microseconds of CLOCK_MONOTONIC, 0: it did not come to that.
 * REUSED: requests that this connection had had answered before.  BYTES: of
 * the answer.  WORKER: pid of the nginx worker that answers on this connection,
 * once it has said so in X-Worker.  What is not there is "-"; PROXY_STATUS is
 * the rest of the line.
 *
 * CLASS:
 *   ok        200, and to this request
 *   status    another status
 *   wrong     an answer to another request, or with other bytes than it should
 *   garbled   nothing that HTTP/1.1 knows
 *   cut       the connection ended before the end of the answer
 *   raced     likewise, before its first byte, on a connection that had had
 *             answers: HTTP/1.1 lets a server end an idle connection, and the
 *             request crossed that; whether it was run, the ledger knows
 *   behind    pipelined behind a request after which the connection ended
 *   refused   no connection
 *   hung      no answer within the bound
 *   aborted   by us, as was asked for
 */


#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "functions/hash.h"
#include "load.h"


#define LOAD_PATHS     256
#define LOAD_METHODS   8
#define LOAD_ABORTS    8
#define LOAD_PIPELINE  16
#define LOAD_REQUEST   2048            /* bytes of a request's head */
#define LOAD_POOL      (2 * 1024 * 1024)
#define LOAD_BODY      (LOAD_POOL / 2)
#define LOAD_AGAIN_US  20000           /* after a refused connection */
#define LOAD_NEVER     UINT64_MAX

static const char  usage[] =
    "usage: load -p PORT -u PATH... -o FILE (-n COUNT | -s SECONDS)\n"
    "  -c N             connections\n"
    "  -m METHOD:N      so many parts of all requests; may be repeated\n"
    "  -b MIN-MAX       bytes of a body of POST and PUT\n"
    "  -a WHEN:N:MIN-MAX  ends the connection for N of 1000 requests: WHEN is\n"
    "                   request (half of it was sent), queued (MIN to MAX ms\n"
    "                   after it was sent), answer (MIN to MAX ms after its\n"
    "                   first bytes)\n"
    "  -t MIN-MAX       ms from an answer to the next request\n"
    "  -B MS            bound of a request: then it hangs\n"
    "  -k N             requests in one pipeline\n"
    "  -H 'NAME: VALUE' a header; may be repeated\n"
    "  -i HEX           the first id\n"
    "  -S N             seed\n"
    "  -1               each request on a connection of its own\n"
    "  -g               all connections are there before the first request\n"
    "  -x               any 200 is right\n";


typedef enum {
    LOAD_ABORT_NONE = 0,
    LOAD_ABORT_REQUEST,
    LOAD_ABORT_QUEUED,
    LOAD_ABORT_ANSWER
} load_abort_e;


typedef struct {
    load_abort_e       when;
    unsigned           permille;
    double             min_ms;
    double             max_ms;
} load_abort_t;


/* one request, from its first byte to its line in the file */

typedef struct {
    uint64_t           id;
    const char        *method;
    uint64_t           start;
    uint64_t           sent;           /* its last byte; 0: not yet */
    uint64_t           first;          /* its answer's first byte */
    uint64_t           bytes;          /* of the answer */
    uint64_t           hash;           /* of the body */
    size_t             body;           /* bytes of it */
    size_t             pool;           /* where in the pool they stand */
    char               mark[8];        /* the body's first bytes */
    size_t             done;           /* bytes written of head and body */
    size_t             stop;           /* how many are to be written */
    size_t             head_length;
    load_abort_e       abort;
    uint64_t           abort_us;       /* how long after its moment */
    char               head[LOAD_REQUEST];
} load_request_t;


/* one client; fd -1: has none at the moment */

typedef struct {
    int                fd;
    int                connected;
    uint32_t           events;         /* what epoll was told */
    uint64_t           wake;           /* when to look again */
    uint64_t           next;           /* not before: think time, refused */
    uint64_t           opened;         /* when it was asked to connect */
    uint64_t           answered;       /* requests, on this connection */
    unsigned           number;         /* of the connection: how many before */
    char               worker[16];     /* what its answers say of that */
    int                is_deaf;        /* the peer takes no more bytes */
    unsigned           count;          /* requests under way */
    unsigned           writing;        /* which of them is being written */
    load_request_t     request[LOAD_PIPELINE];
    load_answer_t      answer;         /* to request[0] */
} load_connection_t;


static void load_options(int argc, char **argv);
static void load_range(const char *text, double *min, double *max);
static void load_abort_option(char *text);
static void load_run(void);
static void load_begin(load_connection_t *c, uint64_t now);
static void load_connect(load_connection_t *c, uint64_t now);
static void load_ask(load_connection_t *c, uint64_t now);
static void load_make(load_connection_t *c, load_request_t *r, uint64_t now);
static void load_write(load_connection_t *c);
static void load_read(load_connection_t *c);
static void load_answered(load_connection_t *c, uint64_t now);
static void load_lost(load_connection_t *c, const char *class);
static void load_look(load_connection_t *c, uint64_t now);
static void load_close(load_connection_t *c, int reset);
static void load_line(load_connection_t *c, load_request_t *r,
    const char *class);
static void load_watch(load_connection_t *c);
static double load_random(double min, double max);
static uint64_t load_now(void);
static void load_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));


static int                     port;
static const char             *paths[LOAD_PATHS];
static unsigned                paths_n;
static struct {
    const char                *name;
    unsigned                   parts;
} methods[LOAD_METHODS];
static unsigned                methods_n, methods_parts;
static load_abort_t            aborts[LOAD_ABORTS];
static unsigned                aborts_n;
static unsigned                connections_n = 1, pipeline = 1;
static uint64_t                count_max = LOAD_NEVER, bound_us = 60000000;
static double                  seconds = 0, body_min, body_max;
static double                  think_min, think_max;
static uint64_t                id_next = 1;
static int                     is_fresh, is_burst, is_unchecked;
static char                    headers[1024];
static FILE                   *file;

static load_connection_t      *connections;
static int                     epoll_fd;
static struct sockaddr_in      address;
static unsigned char           pool[LOAD_POOL];
static uint64_t                asked, wake_next, running;
static unsigned                held;       /* not connected yet; of a burst */
static volatile sig_atomic_t   is_over;    /* nothing new is asked */


static void
load_signal(int number)
{
    (void) number;
    is_over = 1;
}


int
main(int argc, char **argv)
{
    size_t            i;
    struct rlimit     limit;
    struct sigaction  sa;

    load_options(argc, argv);

    (void) signal(SIGPIPE, SIG_IGN);

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = load_signal;
    (void) sigaction(SIGTERM, &sa, NULL);

    (void) getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void) setrlimit(RLIMIT_NOFILE, &limit);

    for (i = 0; i < LOAD_POOL; i++) {
        pool[i] = (unsigned char) random();
    }

    load_run();

    if (fclose(file) != 0) {
        load_fail("could not write: %s", strerror(errno));
    }

    return 0;
}


static void
load_options(int argc, char **argv)
{
    int          c;
    char        *colon;
    size_t       n;
    const char  *out;

    out = NULL;

    while ((c = getopt(argc, argv, "p:u:o:n:s:c:m:b:a:t:B:k:H:i:S:1gx"))
           != -1)
    {
        switch (c) {

        case 'p': port = atoi(optarg); break;
        case 'o': out = optarg; break;
        case 'n': count_max = strtoull(optarg, NULL, 10); break;
        case 's': seconds = atof(optarg); break;
        case 'c': connections_n = (unsigned) atoi(optarg); break;
        case 'b': load_range(optarg, &body_min, &body_max); break;
        case 'a': load_abort_option(optarg); break;
        case 't': load_range(optarg, &think_min, &think_max); break;
        case 'B': bound_us = strtoull(optarg, NULL, 10) * 1000; break;
        case 'k': pipeline = (unsigned) atoi(optarg); break;
        case 'i': id_next = strtoull(optarg, NULL, 16); break;
        case 'S': srandom((unsigned) strtoul(optarg, NULL, 10)); break;
        case '1': is_fresh = 1; break;
        case 'g': is_burst = 1; break;
        case 'x': is_unchecked = 1; break;

        case 'u':
            if (paths_n == LOAD_PATHS) {
                load_fail("too many paths");
            }

            paths[paths_n++] = optarg;
            break;

        case 'm':
            colon = strchr(optarg, ':');

            if (methods_n == LOAD_METHODS || colon == NULL) {
                load_fail("bad method \"%s\"", optarg);
            }

            *colon = '\0';
            methods[methods_n].name = optarg;
            methods[methods_n].parts = (unsigned) atoi(colon + 1);
            methods_parts += methods[methods_n++].parts;
            break;

        case 'H':
            n = strlen(headers);

            if (n + strlen(optarg) + 3 > sizeof(headers)) {
                load_fail("headers too long");
            }

            (void) snprintf(headers + n, sizeof(headers) - n, "%s\r\n",
                            optarg);
            break;

        default:
            (void) fputs(usage, stderr);
            exit(2);
        }
    }

    if (port == 0 || paths_n == 0 || out == NULL || connections_n == 0
        || pipeline == 0 || pipeline > LOAD_PIPELINE || body_max > LOAD_BODY
        || (count_max == LOAD_NEVER && seconds <= 0))
    {
        (void) fputs(usage, stderr);
        exit(2);
    }

    if (methods_parts == 0) {
        methods_n = 1;
        methods[0].name = "GET";
        methods[0].parts = methods_parts = 1;
    }

    file = fopen(out, "w");

    if (file == NULL) {
        load_fail("could not open \"%s\": %s", out, strerror(errno));
    }
}


/* "20" or "20-30" */
static void
load_range(const char *text, double *min, double *max)
{
    char  *end;

    *min = *max = strtod(text, &end);

    if (*end == '-') {
        *max = strtod(end + 1, &end);
    }

    if (end == text || *end || *max < *min) {
        load_fail("bad range \"%s\"", text);
    }
}


static void
load_abort_option(char *text)
{
    char          *colon, *second;
    load_abort_t  *a;

    colon = strchr(text, ':');

    if (colon == NULL || aborts_n == LOAD_ABORTS) {
        load_fail("bad abort \"%s\"", text);
    }

    *colon++ = '\0';
    a = &aborts[aborts_n++];

    if (strcmp(text, "request") == 0) {
        a->when = LOAD_ABORT_REQUEST;

    } else if (strcmp(text, "queued") == 0) {
        a->when = LOAD_ABORT_QUEUED;

    } else if (strcmp(text, "answer") == 0) {
        a->when = LOAD_ABORT_ANSWER;

    } else {
        load_fail("bad abort \"%s\"", text);
    }

    a->permille = (unsigned) atoi(colon);
    second = strchr(colon, ':');

    if (second) {
        load_range(second + 1, &a->min_ms, &a->max_ms);
    }
}


static void
load_run(void)
{
    int                  i, n, timeout;
    uint64_t             now, end;
    struct epoll_event   events[256];
    load_connection_t   *c;

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(connections_n, sizeof(load_connection_t));

    if (epoll_fd == -1 || connections == NULL) {
        load_fail("could not start: %s", strerror(errno));
    }

    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t) port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    now = load_now();
    end = seconds > 0 ? now + (uint64_t) (seconds * 1e6) : LOAD_NEVER;
    held = is_burst ? connections_n : 0;

    for (c = connections; c < connections + connections_n; c++) {
        c->fd = -1;
        load_begin(c, now);
    }

    for ( ;; ) {
        now = load_now();

        if (now >= end) {
            is_over = 1;
        }

        if (now >= wake_next || is_over) {
            wake_next = LOAD_NEVER;

            for (c = connections; c < connections + connections_n; c++) {
                load_look(c, now);
            }
        }

        if ((is_over || asked >= count_max) && running == 0) {
            break;
        }

        timeout = 100;
        now = load_now();

        if (wake_next < now + 100000) {
            timeout = wake_next > now ? (int) ((wake_next - now) / 1000) : 0;
        }

        n = epoll_wait(epoll_fd, events, 256, timeout);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c->fd == -1) {
                continue;
            }

            if (events[i].events & (EPOLLOUT|EPOLLERR|EPOLLHUP)) {
                load_write(c);
            }

            if (c->fd != -1
                && events[i].events & (EPOLLIN|EPOLLRDHUP|EPOLLERR|EPOLLHUP))
            {
                load_read(c);
            }
        }
    }

    for (c = connections; c < connections + connections_n; c++) {
        load_close(c, 0);
    }
}


/* what a client without requests does next */
static void
load_begin(load_connection_t *c, uint64_t now)
{
    if (is_over || asked >= count_max) {
        load_close(c, 0);
        return;
    }

    if (now < c->next) {
        load_watch(c);
        return;
    }

    if (c->fd == -1) {
        load_connect(c, now);
        return;
    }

    if (c->connected && held == 0) {
        load_ask(c, now);
    }
}


static void
load_connect(load_connection_t *c, uint64_t now)
{
    int                 on;
    struct epoll_event  ee;

    on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (c->fd == -1) {
        load_fail("socket: %s", strerror(errno));
    }

    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    c->number++;
    c->worker[0] = '\0';
    c->connected = 0;
    c->is_deaf = 0;
    c->answered = 0;
    c->opened = now;
    c->events = EPOLLIN|EPOLLOUT|EPOLLRDHUP;

    ee.events = c->events;
    ee.data.ptr = c;

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ee) == -1) {
        load_fail("epoll: %s", strerror(errno));
    }

    if (connect(c->fd, (struct sockaddr *) &address, sizeof(address)) == -1
        && errno != EINPROGRESS)
    {
        load_lost(c, "refused");
        return;
    }

    load_watch(c);
}


/* as many requests as the pipeline has room for */
static void
load_ask(load_connection_t *c, uint64_t now)
{
    while (c->count < pipeline && asked < count_max && !is_over) {
        if (c->count == 0) {
            memset(&c->answer, 0, sizeof(c->answer));
            c->writing = 0;
        }

        load_make(c, &c->request[c->count], now);

        if (c->count == 0) {
            c->answer.head_only = strcmp(c->request[0].method, "HEAD") == 0;
            (void) snprintf(c->answer.filler_id, sizeof(c->answer.filler_id),
                            "%016llx",
                            (unsigned long long) c->request[0].id);
        }

        c->count++;
        running++;
    }

    load_write(c);
}


static void
load_make(load_connection_t *c, load_request_t *r, uint64_t now)
{
    unsigned     i, n;
    const char  *path;

    memset(r, 0, sizeof(*r));

    r->id = id_next++;
    asked++;

    /* what it has to wait for a connection that it alone needs is its time */
    r->start = c->answered == 0 && c->count == 0 && !is_burst ? c->opened
                                                              : now;

    n = (unsigned) random() % methods_parts;

    for (i = 0; n >= methods[i].parts; i++) {
        n -= methods[i].parts;
    }

    r->method = methods[i].name;
    path = paths[(size_t) (c - connections) % paths_n];

    n = (unsigned) snprintf(r->head, sizeof(r->head),
                            "%s %s%cid=%016llx HTTP/1.1\r\n"
                            "Host: load\r\n"
                            "X-Request-ID: %016llx\r\n%s",
                            r->method, path, strchr(path, '?') ? '&' : '?',
                            (unsigned long long) r->id,
                            (unsigned long long) r->id, headers);

    if (r->method[0] == 'P' && n < sizeof(r->head)) {
        r->body = (size_t) load_random(body_min, body_max + 0.999);
        r->pool = (size_t) random() % (LOAD_POOL - LOAD_BODY) & ~7ul;
        memcpy(r->mark, &r->id, sizeof(r->mark));

        r->hash = hash_add(HASH_START, r->mark,
                           r->body < 8 ? r->body : 8);

        if (r->body > 8) {
            r->hash = hash_add(r->hash, pool + r->pool, r->body - 8);
        }

        n += (unsigned) snprintf(r->head + n, sizeof(r->head) - n,
                                 "Content-Length: %zu\r\n", r->body);
    }

    if (n < sizeof(r->head)) {
        n += (unsigned) snprintf(r->head + n, sizeof(r->head) - n, "\r\n");
    }

    if (n >= sizeof(r->head)) {
        load_fail("request too long");
    }

    r->head_length = n;
    r->stop = n + r->body;

    n = (unsigned) random() % 1000;

    for (i = 0; i < aborts_n; i++) {
        if (n < aborts[i].permille) {
            r->abort = aborts[i].when;
            r->abort_us = (uint64_t) (load_random(aborts[i].min_ms,
                                                  aborts[i].max_ms) * 1000);
            break;
        }

        n -= aborts[i].permille;
    }

    if (r->abort == LOAD_ABORT_REQUEST) {
        r->stop = 1 + (size_t) random() % (r->stop - 1);
    }
}


static void
load_write(load_connection_t *c)
{
    int              error, n;
    size_t           at;
    ssize_t          written;
    socklen_t        length;
    struct iovec     iov[3];
    load_request_t  *r;

    if (!c->connected) {
        error = 0;
        length = sizeof(error);
        (void) getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);

        if (error) {
            load_lost(c, "refused");
            return;
        }

        c->connected = 1;

        if (held && --held == 0) {
            wake_next = 0;
        }

        if (c->count == 0) {
            load_begin(c, load_now());
            return;
        }
    }

    while (c->writing < c->count && !c->is_deaf) {
        r = &c->request[c->writing];
        n = 0;
        at = r->done;

        if (at < r->head_length) {
            iov[n].iov_base = r->head + at;
            iov[n++].iov_len = (r->stop < r->head_length ? r->stop
                                                         : r->head_length)
                               - at;
            at = r->head_length;
        }

        at -= r->head_length;

        if (r->stop > r->head_length && at < 8 && at < r->body) {
            iov[n].iov_base = r->mark + at;
            iov[n].iov_len = (r->body < 8 ? r->body : 8) - at;

            if (iov[n].iov_len > r->stop - r->head_length - at) {
                iov[n].iov_len = r->stop - r->head_length - at;
            }

            at += iov[n++].iov_len;
        }

        if (r->stop > r->head_length + at && at >= 8) {
            iov[n].iov_base = pool + r->pool + at - 8;
            iov[n++].iov_len = r->stop - r->head_length - at;
        }

        written = writev(c->fd, iov, n);

        if (written == -1) {
            if (errno != EAGAIN) {
                /* what it has said before that is still to be read */
                c->is_deaf = 1;
            }

            break;
        }

        r->done += (size_t) written;

        if (r->done == r->stop) {
            if (r->abort == LOAD_ABORT_REQUEST) {
                load_lost(c, "aborted");
                return;
            }

            r->sent = load_now();
            c->writing++;
        }
    }

    load_watch(c);
}


static void
load_read(load_connection_t *c)
{
    size_t           used, want;
    ssize_t          n;
    uint64_t         now;
    unsigned         number;
    load_request_t  *r;
    static char      buffer[65536];

    number = c->number;
    r = &c->request[0];

    for ( ;; ) {
        want = sizeof(buffer);

        if (c->count && r->abort == LOAD_ABORT_ANSWER) {
            /* a part of it, however much has come */
            want = r->first ? 0 : 64;
        }

        if (want == 0) {
            load_watch(c);
            return;
        }

        n = recv(c->fd, buffer, want, 0);

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            load_watch(c);
            return;
        }

        if (n <= 0) {
            if (c->count && load_answer_end(&c->answer)) {
                c->answer.is_last = 1;
                load_answered(c, load_now());

            } else {
                load_lost(c, "cut");
            }

            return;
        }

        now = load_now();
        used = 0;

        while (used < (size_t) n) {
            if (c->count == 0) {
                /* bytes that nobody asked for; who is next gets them */
                load_lost(c, "garbled");
                return;
            }

            if (r->first == 0) {
                r->first = now;
            }

            want = load_answer_read(&c->answer, buffer + used,
                                    (size_t) n - used);
            r->bytes += want;
            used += want;

            if (c->answer.state == ANSWER_GARBLED) {
                load_lost(c, "garbled");
                return;
            }

            if (c->answer.state == ANSWER_DONE) {
                load_answered(c, now);

                if (c->fd == -1 || c->number != number) {
                    return;
                }
            }
        }
    }
}


/* the first request has its answer */
static void
load_answered(load_connection_t *c, uint64_t now)
{
    int              is_last;
    const char      *class;
    load_request_t  *r;

    r = &c->request[0];

    if (c->answer.status != 200) {
        class = load_answer_is_another(&c->answer, r->id) ? "wrong"
                                                          : "status";

    } else if (is_unchecked
               || load_answer_is_right(&c->answer, r->id, r->body > 0,
                                       r->hash))
    {
        class = "ok";

    } else {
        class = "wrong";
    }

    (void) snprintf(c->worker, sizeof(c->worker), "%.15s",
                    c->answer.worker);

    load_line(c, r, class);

    is_last = c->answer.is_last || r->sent == 0 || is_fresh;

    c->count--;
    c->writing -= (c->writing > 0);
    c->answered++;
    running--;
    memmove(r, r + 1, c->count * sizeof(*r));

    memset(&c->answer, 0, sizeof(c->answer));

    if (c->count) {
        c->answer.head_only = strcmp(r->method, "HEAD") == 0;
        (void) snprintf(c->answer.filler_id, sizeof(c->answer.filler_id),
                        "%016llx", (unsigned long long) r->id);
    }

    if (think_max > 0) {
        c->next = now + (uint64_t) (load_random(think_min, think_max) * 1000);
    }

    if (is_last) {
        load_lost(c, "behind");
        return;
    }

    if (c->count == 0) {
        load_begin(c, now);

    } else if (now >= c->next) {
        load_ask(c, now);
    }
}


/* the connection is over, and so are the requests on it */
static void
load_lost(load_connection_t *c, const char *class)
{
    int       is_abort;
    unsigned  i;
    uint64_t  now;

    now = load_now();
    is_abort = (strcmp(class, "aborted") == 0);

    if (strcmp(class, "refused") == 0) {
        /* nothing was asked; it was to be */
        if (c->count == 0 && !is_over && asked < count_max) {
            load_make(c, &c->request[0], now);
            c->count = 1;
            running++;
        }

        c->next = now + LOAD_AGAIN_US;
    }

    if (strcmp(class, "cut") == 0 && c->answered && c->count
        && c->request[0].first == 0)
    {
        class = "raced";
    }

    for (i = 0; i < c->count; i++) {
        load_line(c, &c->request[i], class);
        class = "behind";
        running--;
    }

    c->count = 0;

    /* half of the aborts are a reset, the others an end of the stream */
    load_close(c, is_abort && random() & 1);
    load_begin(c, now);
}


/* timers */
static void
load_look(load_connection_t *c, uint64_t now)
{
    uint64_t         moment;
    load_request_t  *r;

    if (c->count) {
        r = &c->request[0];
        moment = 0;

        if (r->abort == LOAD_ABORT_QUEUED && r->sent && r->first == 0) {
            moment = r->sent;

        } else if (r->abort == LOAD_ABORT_ANSWER) {
            moment = r->first;
        }

        if (moment && now >= moment + r->abort_us) {
            load_lost(c, "aborted");
            return;
        }

        if (now >= r->start + bound_us) {
            load_lost(c, "hung");
            return;
        }

    } else if (c->fd != -1 && !c->connected
               && now >= c->opened + bound_us)
    {
        load_lost(c, "refused");
        return;

    } else if (now >= c->next) {
        load_begin(c, now);
        return;
    }

    load_watch(c);
}


static void
load_close(load_connection_t *c, int reset)
{
    struct linger  linger;

    if (c->fd == -1) {
        return;
    }

    if (reset) {
        linger.l_onoff = 1;
        linger.l_linger = 0;
        (void) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger,
                          sizeof(linger));
    }

    (void) close(c->fd);
    c->fd = -1;

    if (held && !c->connected) {
        held--;
    }
}


static void
load_line(load_connection_t *c, load_request_t *r, const char *class)
{
    int             is_first;
    char            value[LOAD_TEXT], process[LOAD_TEXT], version[LOAD_TEXT];
    load_answer_t  *a;

    a = &c->answer;
    is_first = (r == &c->request[0]);

#define word(s)  (is_first && (s)[0] && strcspn(s, " \t") == strlen(s)        \
                  ? (s) : "-")

    (void) fprintf(file, "%016llx %s %llu %llu %llu %llu %d %s %llu %llu "
                   "%s %s %s %s %s %s %s %s\n",
                   (unsigned long long) r->id, r->method,
                   (unsigned long long) r->start,
                   (unsigned long long) r->sent,
                   (unsigned long long) r->first,
                   (unsigned long long) load_now(),
                   is_first ? a->status : 0, class,
                   (unsigned long long) c->answered,
                   (unsigned long long) r->bytes,
                   word(a->retry_after), word(a->outcome), word(a->started),
                   c->worker[0] ? c->worker : "-",
                   is_first ? load_answer_word(a, "value", value) : "-",
                   is_first ? load_answer_word(a, "process", process) : "-",
                   is_first ? load_answer_word(a, "version", version) : "-",
                   is_first && a->proxy_status[0] ? a->proxy_status : "-");

#undef word
}


/* what epoll is to tell of, and when to look again without it */
static void
load_watch(load_connection_t *c)
{
    uint32_t             events;
    load_request_t      *r;
    struct epoll_event   ee;

    c->wake = LOAD_NEVER;
    r = &c->request[0];

    if (c->count) {
        c->wake = r->start + bound_us;

        if (r->abort == LOAD_ABORT_QUEUED && r->sent && r->first == 0) {
            c->wake = r->sent + r->abort_us;
        }

        if (r->abort == LOAD_ABORT_ANSWER && r->first) {
            c->wake = r->first + r->abort_us;
        }

    } else if (c->fd != -1 && !c->connected) {
        c->wake = c->opened + bound_us;

    } else if (c->next) {
        c->wake = c->next;
    }

    if (c->wake < wake_next) {
        wake_next = c->wake;
    }

    if (c->fd == -1) {
        return;
    }

    events = 0;

    if (!c->connected || (c->writing < c->count && !c->is_deaf)) {
        events |= EPOLLOUT;
    }

    if (c->count == 0 || r->abort != LOAD_ABORT_ANSWER || r->first == 0) {
        events |= EPOLLIN|EPOLLRDHUP;
    }

    if (events != c->events) {
        c->events = events;
        ee.events = events;
        ee.data.ptr = c;
        (void) epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ee);
    }
}


static double
load_random(double min, double max)
{
    return min + (max - min) * ((double) random() / 2147483648.0);
}


static uint64_t
load_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


static void
load_fail(const char *format, ...)
{
    va_list  ap;

    va_start(ap, format);
    (void) vfprintf(stderr, format, ap);
    va_end(ap);

    (void) fputc('\n', stderr);
    exit(2);
}
