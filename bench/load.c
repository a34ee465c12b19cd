
/*
 * A load generator: one thread, one epoll loop, HTTP/1.1 with kept
 * connections, each of which asks again as soon as it is answered.  A run
 * has a warm-up that is not counted, then slices (slice.h), then a grace in
 * which nothing new is asked and what is under way is awaited: what has no
 * answer by then is "hung".  One JSON object comes out.
 *
 * usage: load -p PORT -u PATH -e BODY [-c CONNECTIONS] [-d MS] [-w MS]
 *             [-a USAGE_FILE] [-A USAGE_FILE_OF_THE_MACHINE]
 *
 * Right is a status 200 with Content-Length and exactly BODY; all else is an
 * error, counted by kind.
 */


#include "slice.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>


#define LOAD_EVENTS    256
#define LOAD_ANSWER    8192           /* head and body of an answer, at most */
#define LOAD_GRACE_NS  3000000000ull


typedef enum {
    LOAD_WARM = 0,                    /* answers are not counted */
    LOAD_COUNT,
    LOAD_GRACE                        /* nothing new is asked */
} load_phase_e;


/* one client connection, there for the whole run; fd -1: lost */

typedef struct {
    int       fd;
    int       waiting;                /* asked, not answered */
    uint64_t  asked;                  /* when */
    size_t    have;                   /* bytes of the answer */
    size_t    need;                   /* its length; 0: not known yet */
    char      answer[LOAD_ANSWER + 1];
} load_connection_t;


static int load_options(int argc, char **argv);
static void load_run(void);
static load_phase_e load_phase(uint64_t now);
static void load_connect(load_connection_t *c);
static void load_ask(load_connection_t *c);
static void load_read(load_connection_t *c);
static void load_again(load_connection_t *c, uint64_t *count);
static int load_head(load_connection_t *c);
static int load_is_right(load_connection_t *c);
static void load_print(void);


static struct {
    int          port;
    int          connections;
    uint64_t     warm;                /* ns */
    uint64_t     length;              /* ns */
    const char  *path;
    const char  *body;
    const char  *usage;
    const char  *machine;
} load_conf = { 0, 1, 200000000, 1000000000, NULL, NULL, NULL, NULL };

static struct {
    uint64_t     connect;             /* refused or failed */
    uint64_t     read;                /* ended without the answer */
    uint64_t     status;              /* not 200 */
    uint64_t     form;                /* no or too much length */
    uint64_t     body;                /* 200 with another body */
} load_errors;

static int                 load_epoll;
static int                 load_waiting;      /* connections */
static uint64_t            load_reconnects;   /* closed between answers */
static uint64_t            load_answered;     /* rightly, of all phases */
static uint64_t            load_begin;        /* of the counted run */
static load_phase_e        load_now;
static char                load_request[1024];
static size_t              load_request_length;
static load_connection_t  *load_connections;


int
main(int argc, char **argv)
{
    int  n;

    if (load_options(argc, argv) == -1) {
        fprintf(stderr, "usage: load -p PORT -u PATH -e BODY [-c CONNECTIONS] "
                "[-d MS] [-w MS] [-a FILE] [-A FILE]\n");
        return 2;
    }

    signal(SIGPIPE, SIG_IGN);

    n = snprintf(load_request, sizeof(load_request),
                 "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", load_conf.path);
    if (n < 0 || (size_t) n >= sizeof(load_request)) {
        fprintf(stderr, "the path is too long\n");
        return 2;
    }

    load_request_length = n;

    load_connections = calloc(load_conf.connections,
                              sizeof(load_connection_t));
    load_epoll = epoll_create1(EPOLL_CLOEXEC);

    if (load_connections == NULL || load_epoll == -1
        || slice_init(load_conf.usage, load_conf.machine) == -1)
    {
        perror("load");
        return 1;
    }

    load_run();

    slice_done();

    load_print();

    return 0;
}


static int
load_options(int argc, char **argv)
{
    int  o;

    while ((o = getopt(argc, argv, "p:u:e:c:d:w:a:A:")) != -1) {

        switch (o) {

        case 'p':
            load_conf.port = atoi(optarg);
            break;

        case 'u':
            load_conf.path = optarg;
            break;

        case 'e':
            load_conf.body = optarg;
            break;

        case 'c':
            load_conf.connections = atoi(optarg);
            break;

        case 'd':
            load_conf.length = strtoull(optarg, NULL, 10) * 1000000;
            break;

        case 'w':
            load_conf.warm = strtoull(optarg, NULL, 10) * 1000000;
            break;

        case 'a':
            load_conf.usage = optarg;
            break;

        case 'A':
            load_conf.machine = optarg;
            break;

        default:
            return -1;
        }
    }

    if (load_conf.port <= 0 || load_conf.path == NULL
        || load_conf.body == NULL || load_conf.connections <= 0)
    {
        return -1;
    }

    return 0;
}


static void
load_run(void)
{
    int                 i, n;
    uint64_t            now;
    struct epoll_event  events[LOAD_EVENTS];

    load_begin = slice_now() + load_conf.warm;

    for (i = 0; i < load_conf.connections; i++) {
        load_connect(&load_connections[i]);
    }

    for ( ;; ) {
        n = epoll_wait(load_epoll, events, LOAD_EVENTS, 10);

        for (i = 0; i < n; i++) {
            load_read(events[i].data.ptr);
        }

        now = slice_now();

        switch (load_phase(now)) {

        case LOAD_WARM:
            break;

        case LOAD_COUNT:
            if (slice_turn(now) == -1) {
                return;
            }

            break;

        case LOAD_GRACE:
            if (load_waiting == 0
                || now - load_begin > load_conf.length + LOAD_GRACE_NS)
            {
                return;
            }

            break;
        }
    }
}


static load_phase_e
load_phase(uint64_t now)
{
    if (load_now == LOAD_WARM && now >= load_begin) {
        load_begin = now;
        load_now = LOAD_COUNT;
        slice_begin(now);
    }

    if (load_now == LOAD_COUNT && now - load_begin >= load_conf.length) {
        (void) slice_turn(now);
        load_now = LOAD_GRACE;
    }

    return load_now;
}


static void
load_connect(load_connection_t *c)
{
    int                 on;
    struct epoll_event  event;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(load_conf.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
    if (c->fd == -1) {
        load_errors.connect++;
        return;
    }

    on = 1;
    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    event.events = EPOLLIN;
    event.data.ptr = c;

    if (connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || fcntl(c->fd, F_SETFL, O_NONBLOCK) == -1
        || epoll_ctl(load_epoll, EPOLL_CTL_ADD, c->fd, &event) == -1)
    {
        close(c->fd);
        c->fd = -1;
        load_errors.connect++;
        return;
    }

    load_ask(c);
}


static void
load_ask(load_connection_t *c)
{
    if (load_now == LOAD_GRACE) {
        return;
    }

    c->have = 0;
    c->need = 0;
    c->waiting = 1;
    c->asked = slice_now();
    load_waiting++;

    /* a lost connection shows at the next read */

    (void) send(c->fd, load_request, load_request_length, MSG_NOSIGNAL);
}


static void
load_read(load_connection_t *c)
{
    ssize_t   n;
    uint64_t  now;

    n = recv(c->fd, c->answer + c->have, LOAD_ANSWER - c->have, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        load_again(c, c->waiting ? &load_errors.read
                                    : &load_reconnects);
        return;
    }

    c->have += n;
    c->answer[c->have] = '\0';

    if (c->need == 0 && load_head(c) == -1) {
        load_again(c, &load_errors.form);
        return;
    }

    if (c->need == 0 || c->have < c->need) {
        return;
    }

    now = slice_now();

    c->waiting = 0;
    load_waiting--;

    if (load_is_right(c)) {
        load_answered++;

        if (load_now == LOAD_COUNT && slice_add(now - c->asked) == -1) {
            load_errors.read++;
        }
    }

    load_ask(c);
}


/* another connection in place of this one; the event is counted in *count */

static void
load_again(load_connection_t *c, uint64_t *count)
{
    (*count)++;

    if (c->waiting) {
        c->waiting = 0;
        load_waiting--;
    }

    close(c->fd);
    c->fd = -1;

    if (load_now != LOAD_GRACE) {
        load_connect(c);
    }
}


/* finds the answer's length when its head is there; -1: it has none */

static int
load_head(load_connection_t *c)
{
    char    *end, *p;
    size_t   length;

    end = strstr(c->answer, "\r\n\r\n");
    if (end == NULL) {
        return c->have < LOAD_ANSWER ? 0 : -1;
    }

    p = strcasestr(c->answer, "\r\nContent-Length:");
    if (p == NULL || p > end) {
        return -1;
    }

    length = strtoul(p + sizeof("\r\nContent-Length:") - 1, NULL, 10);
    if (length > LOAD_ANSWER) {
        return -1;
    }

    c->need = end + 4 - c->answer + length;

    return c->need <= LOAD_ANSWER ? 0 : -1;
}


static int
load_is_right(load_connection_t *c)
{
    size_t  length;

    if (strncmp(c->answer, "HTTP/1.1 200", 12) != 0) {
        load_errors.status++;
        return 0;
    }

    length = strlen(load_conf.body);

    if (c->have != c->need || c->need < length
        || strcmp(c->answer + c->need - length, load_conf.body) != 0
        || memcmp(c->answer + c->need - length - 4, "\r\n\r\n", 4) != 0)
    {
        load_errors.body++;
        return 0;
    }

    return 1;
}


static void
load_print(void)
{
    printf("{\"connections\":%d,\"errors\":{\"connect\":%llu,\"read\":%llu,"
           "\"status\":%llu,\"form\":%llu,\"body\":%llu},"
           "\"reconnects\":%llu,\"answered\":%llu,\"hung\":%d,",
           load_conf.connections,
           (unsigned long long) load_errors.connect,
           (unsigned long long) load_errors.read,
           (unsigned long long) load_errors.status,
           (unsigned long long) load_errors.form,
           (unsigned long long) load_errors.body,
           (unsigned long long) load_reconnects,
           (unsigned long long) load_answered, load_waiting);

    slice_print(stdout);

    printf("}\n");
}
