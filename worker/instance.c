
/*
 * The loop of an instance.  It polls the slot's listening socket and the
 * connections that nginx workers keep to it, one each, and serves the one
 * that has a request.  The scheduler sees to it that there is never a second
 * request waiting behind it; each costs a poll, a read and a write.
 *
 * Before a request is started, its sender must still be there: a request
 * that was given up in the socket is dropped, and the page's begun does not
 * rise, which proves that it did not run.
 *
 * The end of a connection between two requests is what FREE is sent for: the
 * supervisor may be waiting for it to use a draining slot again.  It is sent
 * at the end of a turn, when no request of that turn is left to be run.
 *
 * A child that the function forks has no business here: a handler that
 * returns in one would answer the request a second time.  A page that the
 * kernel empties in forks (MADV_WIPEONFORK) tells it without a system call.
 *
 * SIGTERM ends the instance between two requests.  The handler writes to an
 * eventfd that is polled too, so it is not lost between a look at a flag and
 * the poll, and no system call is spent on masks; what a function execs has
 * its SIGTERM as usual.
 */


#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "faas_page.h"
#include "faas_scoreboard.h"
#include "fd.h"
#include "instance.h"
#include "once.h"
#include "output.h"
#include "request.h"
#include "sandbox.h"
#include "sdk.h"
#include "title.h"


/* the polled descriptors that are not connections */

enum {
    POLL_WAKE = 0,
    POLL_LISTEN,
    POLL_CONNECTIONS
};


/* what one turn of the loop does at most before it accepts another */
#define INSTANCE_POLL_FIRST  16


typedef struct {
    const instance_t         *conf;
    faas_page_t              *page;
    uint64_t                  begun;       /* as in the page */
    uint64_t                  served;
    struct pollfd            *poll;        /* connections end with fd -1 until
                                              the turn is over */
    nfds_t                    npoll;
    nfds_t                    poll_size;
    unsigned                  once:1;      /* exactly_once */
    unsigned                  retired:1;   /* RETIRED is told */
    unsigned                  free:1;      /* FREE is to be told */
    faas_request_t            request;
} instance_loop_t;


static void instance_prepare(const instance_t *conf, instance_loop_t *loop);
static int instance_reseed(void);
static int instance_mark(void);
static int instance_take_log(const instance_t *conf);
static int instance_take_core(const instance_t *conf);
static int instance_map_page(const instance_t *conf, instance_loop_t *loop);
static int instance_poll_create(const instance_t *conf, instance_loop_t *loop);
static void instance_after_fork(const instance_t *conf);
static int instance_catch_term(void);
static void instance_term(int signo);
static void instance_loop(instance_loop_t *loop);
static void instance_turn(instance_loop_t *loop);
static void instance_accept(instance_loop_t *loop);
static void instance_serve(instance_loop_t *loop, struct pollfd *connection);
static void instance_note(faas_page_t *page, faas_request_t *r);
static uint32_t instance_note_text(char *dst, size_t size, const char *s);
static void instance_close(instance_loop_t *loop, struct pollfd *connection);
static void instance_forget_closed(instance_loop_t *loop);
static void instance_end(instance_loop_t *loop) __attribute__((noreturn));
static int instance_report(const instance_t *conf, message_type_e type,
    const char *text);
static void instance_fail(const instance_t *conf, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
static uint64_t instance_now_ns(void);


static volatile sig_atomic_t  instance_terminate;
static int                    instance_wake = -1;

/* 1 in the instance, 0 in every fork of it; what is no instance is itself */
static volatile int           instance_only = 1;
static volatile int          *instance_self = &instance_only;


void
instance_run(const instance_t *conf)
{
    static instance_loop_t  loop;

    loop.conf = conf;
    loop.once = sdk_is_once();

    instance_prepare(conf, &loop);
    instance_after_fork(conf);

    if (instance_catch_term() != FAAS_OK) {
        instance_fail(conf, "sigaction() failed (%d: %s)", errno,
                      strerror(errno));
    }

    if (instance_report(conf, MESSAGE_READY, NULL) != FAAS_OK) {
        _exit(1);
    }

    instance_loop(&loop);
    instance_end(&loop);
}


static void
instance_prepare(const instance_t *conf, instance_loop_t *loop)
{
    /* a group of its own, so that it can be killed with all that it starts */

    if (sandbox_die_with(conf->init) != FAAS_OK || setsid() == -1) {
        _exit(1);
    }

    (void) close(conf->channel);

    if (instance_take_log(conf) != FAAS_OK
        || instance_map_page(conf, loop) != FAAS_OK
        || instance_poll_create(conf, loop) != FAAS_OK
        || instance_reseed() != FAAS_OK
        || instance_mark() != FAAS_OK
        || instance_take_core(conf) != FAAS_OK)
    {
        instance_fail(conf, "it cannot be set up (%d: %s)", errno,
                      strerror(errno));
    }

    title_set("faas: %s #%u", conf->start->name, conf->order->slot);
}


static int
instance_mark(void)
{
    void    *page;
    size_t   size;

    size = (size_t) sysconf(_SC_PAGESIZE);

    page = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS,
                -1, 0);

    if (page == MAP_FAILED || madvise(page, size, MADV_WIPEONFORK) == -1) {
        return FAAS_ERROR;
    }

    instance_self = page;
    *instance_self = 1;

    return FAAS_OK;
}


int
instance_is_self(void)
{
    return *instance_self;
}


static int
instance_take_log(const instance_t *conf)
{
    if (dup2(conf->log, STDOUT_FILENO) == -1
        || dup2(conf->log, STDERR_FILENO) == -1)
    {
        return FAAS_ERROR;
    }

    return close(conf->log);
}


static int
instance_take_core(const instance_t *conf)
{
    struct stat  st;

    if (conf->core == -1) {
        return FAAS_OK;
    }

    if (fstat(conf->core, &st) == -1
        || core_open(conf->core, (uint64_t) st.st_size) != FAAS_OK)
    {
        return FAAS_ERROR;
    }

    return close(conf->core);
}


static int
instance_map_page(const instance_t *conf, instance_loop_t *loop)
{
    loop->page = mmap(NULL, FAAS_PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED,
                      conf->page, 0);

    if (loop->page == MAP_FAILED) {
        return FAAS_ERROR;
    }

    /* the counts go on over the instances of a slot */

    loop->begun = atomic_load(&loop->page->begun);

    return close(conf->page);
}


static int
instance_poll_create(const instance_t *conf, instance_loop_t *loop)
{
    int  flags;

    instance_wake = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);
    flags = fcntl(conf->listen, F_GETFL);

    /* a connection may be gone again by the time it is accepted */

    if (instance_wake == -1 || flags == -1
        || fcntl(conf->listen, F_SETFL, flags|O_NONBLOCK) == -1)
    {
        return FAAS_ERROR;
    }

    loop->poll = calloc(INSTANCE_POLL_FIRST, sizeof(struct pollfd));
    if (loop->poll == NULL) {
        return FAAS_ERROR;
    }

    loop->poll_size = INSTANCE_POLL_FIRST;
    loop->npoll = POLL_CONNECTIONS;

    loop->poll[POLL_WAKE].fd = instance_wake;
    loop->poll[POLL_WAKE].events = POLLIN;
    loop->poll[POLL_LISTEN].fd = conf->listen;
    loop->poll[POLL_LISTEN].events = POLLIN;

    return FAAS_OK;
}


/* what would be the same sequence in every fork; after_fork() has the rest */

static int
instance_reseed(void)
{
    struct {
        unsigned int    random;
        unsigned short  rand48[3];
    } seed;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) {
        return FAAS_ERROR;
    }

    srandom(seed.random);
    (void) seed48(seed.rand48);

    return FAAS_OK;
}


static void
instance_after_fork(const instance_t *conf)
{
    int  rc;

    if (conf->descriptor->after_fork == NULL) {
        return;
    }

    rc = conf->descriptor->after_fork();

    if (rc != 0) {
        instance_fail(conf, "after_fork() returned %d", rc);
    }

    output_flush();
}


static int
instance_catch_term(void)
{
    sigset_t          set;
    struct sigaction  sa;

    memset(&sa, 0, sizeof(struct sigaction));
    (void) sigemptyset(&sa.sa_mask);
    sa.sa_handler = instance_term;
    sa.sa_flags = SA_RESTART;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGTERM);

    if (sigaction(SIGTERM, &sa, NULL) == -1
        || sigprocmask(SIG_UNBLOCK, &set, NULL) == -1)
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static void
instance_term(int signo)
{
    int       error;
    ssize_t   n;
    uint64_t  one;

    /* a child that the function forked has this handler, but no loop */

    if (!*instance_self) {
        (void) signal(signo, SIG_DFL);
        (void) raise(signo);
        return;
    }

    instance_terminate = 1;
    core_asked();

    error = errno;
    one = 1;

    n = write(instance_wake, &one, sizeof(one));
    (void) n;

    errno = error;
}


static void
instance_loop(instance_loop_t *loop)
{
    while (!instance_terminate) {

        if (poll(loop->poll, loop->npoll, -1) == -1) {

            if (errno == EINTR) {
                continue;
            }

            faas_log(NULL, "faas: poll() failed (%d: %s)", errno,
                     strerror(errno));
            return;
        }

        instance_turn(loop);
    }
}


static void
instance_turn(instance_loop_t *loop)
{
    nfds_t          i, n;
    struct pollfd  *connection;

    if (loop->poll[POLL_WAKE].revents) {
        /* SIGTERM, or the function has closed it: with all others, then */
        instance_terminate = 1;
        return;
    }

    n = loop->npoll;

    for (i = POLL_CONNECTIONS; i < n && !instance_terminate; i++) {
        connection = &loop->poll[i];

        if (connection->revents == 0) {
            continue;
        }

        if (connection->revents & (POLLRDHUP|POLLHUP|POLLERR|POLLNVAL)) {
            /* given up by its sender, with or without a request in it */
            instance_close(loop, connection);
            continue;
        }

        instance_serve(loop, connection);
    }

    if (loop->free) {
        loop->free = 0;

        instance_forget_closed(loop);

        /* should it be lost, the supervisor will knock and be told again */

        (void) instance_report(loop->conf, MESSAGE_FREE, NULL);
    }

    if (loop->poll[POLL_LISTEN].revents && !instance_terminate) {
        instance_accept(loop);
    }
}


static void
instance_accept(instance_loop_t *loop)
{
    int             fd;
    struct pollfd  *poll;

    fd = fd_high(accept4(loop->conf->listen, NULL, NULL, SOCK_CLOEXEC));

    if (fd == -1) {

        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
            return;
        }

        /*
         * Out of descriptors or memory, by the function's doing: another
         * instance will do better, and what waits here was not begun
         */

        faas_log(NULL, "faas: accept4() failed (%d: %s), the instance ends",
                 errno, strerror(errno));
        _exit(1);
    }

    if (loop->npoll == loop->poll_size) {
        poll = realloc(loop->poll,
                       2 * loop->poll_size * sizeof(struct pollfd));

        if (poll == NULL) {
            (void) close(fd);
            return;
        }

        loop->poll = poll;
        loop->poll_size *= 2;
    }

    poll = &loop->poll[loop->npoll++];

    poll->fd = fd;
    poll->events = POLLIN|POLLRDHUP;
    poll->revents = 0;
}


static void
instance_serve(instance_loop_t *loop, struct pollfd *connection)
{
    int               rc;
    uint64_t          now_ns;
    faas_page_t      *page;
    faas_request_t   *r;
    const message_t  *order;

    r = &loop->request;
    page = loop->page;
    order = loop->conf->order;

    if (request_read(r, connection->fd) != FAAS_OK) {
        connection->fd = -1;
        loop->free = 1;
        return;
    }

    now_ns = instance_now_ns();

    request_start(r, now_ns, order->timeout_ms);
    r->mark = faas_page_mark(loop->begun + 1);

    instance_note(page, r);
    core_begin(r);

    /* who reads the count reads a time that is not older */

    atomic_store_explicit(&page->begun_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&page->begun, ++loop->begun, memory_order_release);

    rc = loop->once ? once_run(r, loop->conf->descriptor->handler)
                    : loop->conf->descriptor->handler(r);

    if (!*instance_self) {
        faas_log(r, "faas: the handler returned in a child that it forked, "
                 "the child ends");
        _exit(1);
    }

    core_end();

    atomic_store_explicit(&page->ended_ns, instance_now_ns(),
                          memory_order_relaxed);
    atomic_store_explicit(&page->ended, loop->begun, memory_order_release);

    if (r->baas) {
        sdk_end(r);
    }

    rc = request_finish(r, rc);

    output_flush();

    if (order->flags & MESSAGE_ONESHOT) {
        /* what it has in other streams, as an exit() would */
        (void) fflush(NULL);
        _exit(0);
    }

    if (rc != FAAS_OK) {
        instance_close(loop, connection);
    }

    loop->served++;

    if (order->max_requests && loop->served >= order->max_requests
        && !loop->retired)
    {
        loop->retired = instance_report(loop->conf, MESSAGE_RETIRED, NULL)
                        == FAAS_OK;
    }
}


/* which request it is, should it be this instance's last */

static void
instance_note(faas_page_t *page, faas_request_t *r)
{
    atomic_store_explicit(&page->id_length,
                          instance_note_text(page->id, FAAS_PAGE_ID,
                                             faas_request_id(r)),
                          memory_order_relaxed);
    atomic_store_explicit(&page->method_length,
                          instance_note_text(page->method, FAAS_PAGE_METHOD,
                                             faas_method(r)),
                          memory_order_relaxed);
    atomic_store_explicit(&page->uri_length,
                          instance_note_text(page->uri, FAAS_PAGE_URI,
                                             faas_uri(r)),
                          memory_order_relaxed);
}


/* returns the whole length */

static uint32_t
instance_note_text(char *dst, size_t size, const char *s)
{
    size_t  n;

    n = strlen(s);
    memcpy(dst, s, n < size ? n : size);

    return n < UINT32_MAX ? (uint32_t) n : UINT32_MAX;
}


/*
 * shutdown(): nginx shall see the end even if a child of the function's has
 * the descriptor too.
 */

static void
instance_close(instance_loop_t *loop, struct pollfd *connection)
{
    (void) shutdown(connection->fd, SHUT_RDWR);
    (void) close(connection->fd);

    connection->fd = -1;
    loop->free = 1;
}


static void
instance_forget_closed(instance_loop_t *loop)
{
    nfds_t  i, n;

    n = POLL_CONNECTIONS;

    for (i = POLL_CONNECTIONS; i < loop->npoll; i++) {

        if (loop->poll[i].fd != -1) {
            loop->poll[n++] = loop->poll[i];
        }
    }

    loop->npoll = n;
}


static void
instance_end(instance_loop_t *loop)
{
    if (loop->conf->descriptor->fini) {
        loop->conf->descriptor->fini();
    }

    /* not exit(): what was registered with atexit() is every fork's */

    (void) fflush(NULL);

    _exit(0);
}


/*
 * The report channel is shared and must not block: FREE may be lost, READY
 * waits for room.
 */

static int
instance_report(const instance_t *conf, message_type_e type, const char *text)
{
    int            rc;
    message_t      message;
    struct pollfd  pfd;

    memset(&message, 0, sizeof(message_t));
    message.type = type;
    message.index = conf->start->index;
    message.slot = conf->order->slot;
    message.generation = conf->order->generation;

    pfd.fd = conf->report;
    pfd.events = POLLOUT;

    for ( ;; ) {
        rc = message_send(conf->report, &message, text,
                          text ? strlen(text) : 0, NULL, 0);

        if (rc != FAAS_AGAIN || type == MESSAGE_FREE
            || type == MESSAGE_RETIRED)
        {
            return rc;
        }

        (void) poll(&pfd, 1, -1);
    }
}


static void
instance_fail(const instance_t *conf, const char *format, ...)
{
    char     text[256];
    va_list  ap;

    va_start(ap, format);
    (void) vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);

    output_flush();

    (void) instance_report(conf, MESSAGE_FAILED, text);

    _exit(1);
}


static uint64_t
instance_now_ns(void)
{
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}
