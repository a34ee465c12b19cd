
/*
 * A worker's end of the host: its record on the board, its eventfd, and the
 * pages of the slots.
 *
 * Pages come over a connection of the worker's own to faas_state/control,
 * first all there are, then each new one.  When it ends (the supervisor is
 * being restarted), what is mapped stays valid, everybody who waits looks
 * once more, and the worker connects again until it succeeds.  The keeper has
 * the listening socket too: when nobody listens, both were killed, and when
 * another host does, it knows nothing of this worker.  Either way no instance
 * will be there any more, and who waits for one is answered.  A page that
 * comes a second time is mapped over the first, so a pointer to it is good
 * for the worker's life.
 *
 * The record is claimed here and given back by the supervisor alone, when it
 * sees that this process is gone.
 *
 * A worker that lacks memory, a descriptor or a record when it begins does not
 * end, as an error would have it, which nginx never starts again: it answers
 * 503 where it would serve functions, and tries until it has what it needs.
 */


#include "ngx_http_faas_host.h"

#include <ngx_channel.h>
#include <sys/mman.h>


/* between two attempts to connect, milliseconds: doubles up to the last */
#define NGX_HTTP_FAAS_WORKER_RETRY      20
#define NGX_HTTP_FAAS_WORKER_RETRY_MAX  1000


static void ngx_http_faas_worker_begin_again(ngx_event_t *ev);
static ngx_int_t ngx_http_faas_worker_init(ngx_cycle_t *cycle);
static void ngx_http_faas_worker_connect(ngx_event_t *ev);
static void ngx_http_faas_worker_later(void);
static void ngx_http_faas_worker_gone(ngx_log_t *log);
static void ngx_http_faas_worker_read_handler(ngx_event_t *rev);
static void ngx_http_faas_worker_page(ngx_log_t *log,
    faas_control_message_t *m);
static void ngx_http_faas_worker_wake_handler(ngx_event_t *rev);
static uint64_t ngx_http_faas_worker_started(ngx_log_t *log);


static ngx_event_t        ngx_http_faas_worker_retry;
static ngx_msec_t         ngx_http_faas_worker_delay;
static ngx_connection_t  *ngx_http_faas_worker_connection;
static ngx_connection_t   ngx_http_faas_worker_dummy;
static uint32_t           ngx_http_faas_worker_slots;
static uint32_t           ngx_http_faas_worker_claimed = FAAS_WORKER_NONE;


void
ngx_http_faas_worker_begin(ngx_cycle_t *cycle)
{
    ngx_http_faas_worker_dummy.fd = (ngx_socket_t) -1;

    ngx_http_faas_worker_retry.handler = ngx_http_faas_worker_begin_again;
    ngx_http_faas_worker_retry.data = &ngx_http_faas_worker_dummy;
    ngx_http_faas_worker_retry.log = cycle->log;
    ngx_http_faas_worker_retry.cancelable = 1;

    ngx_http_faas_worker_begin_again(&ngx_http_faas_worker_retry);
}


static void
ngx_http_faas_worker_begin_again(ngx_event_t *ev)
{
    ngx_cycle_t  *cycle;

    cycle = (ngx_cycle_t *) ngx_cycle;

    ngx_http_faas_worker_delay = NGX_HTTP_FAAS_WORKER_RETRY_MAX;

    if (ngx_http_faas_connection_init_worker(cycle) != NGX_OK
        || ngx_http_faas_admission_init_worker(cycle) != NGX_OK
        || ngx_http_faas_queue_init_worker(cycle) != NGX_OK
        || ngx_http_faas_worker_init(cycle) != NGX_OK)
    {
        ngx_http_faas_worker_later();
    }
}


static ngx_int_t
ngx_http_faas_worker_init(ngx_cycle_t *cycle)
{
    uint64_t               started;
    faas_scoreboard_t     *sb;
    ngx_http_faas_host_t  *host;

    host = &ngx_http_faas_host;
    sb = host->board;

    ngx_http_faas_worker_slots = sb->chunks * FAAS_CHUNK_SLOTS;

    /* sparse: the kernel gives zeroed pages where they are used */

    if (host->pages == NULL) {
        host->pages = calloc(ngx_http_faas_worker_slots,
                             sizeof(faas_page_t *));
    }

    if (host->pages == NULL) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, ngx_errno,
                      "faas: no memory for pages of %uD slots",
                      ngx_http_faas_worker_slots);
        return NGX_ERROR;
    }

    started = ngx_http_faas_worker_started(cycle->log);
    if (started == 0) {
        return NGX_ERROR;
    }

    if (ngx_http_faas_worker_claimed == FAAS_WORKER_NONE) {
        ngx_http_faas_worker_claimed = faas_worker_claim(sb, ngx_getpid(),
                                                         started);
    }

    if (ngx_http_faas_worker_claimed == FAAS_WORKER_NONE) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "faas: all %d worker records are taken, this worker "
                      "serves no functions yet", FAAS_WORKERS);
        return NGX_ERROR;
    }

    if (ngx_add_channel_event(cycle, host->wake[ngx_http_faas_worker_claimed],
                              NGX_READ_EVENT,
                              ngx_http_faas_worker_wake_handler)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* from here on requests are let in */

    host->worker = ngx_http_faas_worker_claimed;

    ngx_http_faas_worker_retry.handler = ngx_http_faas_worker_connect;
    ngx_http_faas_worker_delay = NGX_HTTP_FAAS_WORKER_RETRY;

    ngx_http_faas_worker_connect(&ngx_http_faas_worker_retry);

    return NGX_OK;
}


/* the record is not ours to free, and the process is about to end */

void
ngx_http_faas_worker_exit(ngx_cycle_t *cycle)
{
    if (ngx_http_faas_worker_retry.timer_set) {
        ngx_del_timer(&ngx_http_faas_worker_retry);
    }

    if (ngx_http_faas_worker_connection) {
        ngx_close_connection(ngx_http_faas_worker_connection);
        ngx_http_faas_worker_connection = NULL;
    }
}


static void
ngx_http_faas_worker_connect(ngx_event_t *ev)
{
    int           s;
    uint32_t      worker;
    ngx_err_t     err;
    ngx_uint_t    level;
    ngx_cycle_t  *cycle;

    cycle = (ngx_cycle_t *) ngx_cycle;
    worker = ngx_http_faas_host.worker;

    s = ngx_http_faas_host_connect(&ngx_http_faas_host.state, "control",
                                   SOCK_SEQPACKET|SOCK_NONBLOCK, 0);
    if (s == -1) {
        err = ngx_errno;

        if (err == NGX_ECONNREFUSED) {
            ngx_http_faas_worker_gone(cycle->log);
        }

        /* a supervisor that is being restarted is nothing to worry about */

        level = ngx_http_faas_worker_delay < NGX_HTTP_FAAS_WORKER_RETRY_MAX
                ? NGX_LOG_INFO : NGX_LOG_ERR;

        ngx_log_error(level, cycle->log, err,
                      "faas: worker could not connect to \"%V/control\"",
                      &ngx_http_faas_host.state);

        ngx_http_faas_worker_later();
        return;
    }

    if (faas_control_send(s, FAAS_CONTROL_WORKER, &worker, sizeof(uint32_t),
                          NULL, 0)
        != FAAS_OK
        || ngx_add_channel_event(cycle, s, NGX_READ_EVENT,
                                 ngx_http_faas_worker_read_handler)
        != NGX_OK)
    {
        (void) close(s);
        ngx_http_faas_worker_later();
    }
}


static void
ngx_http_faas_worker_later(void)
{
    if (ngx_exiting || ngx_terminate) {
        return;
    }

    ngx_add_timer(&ngx_http_faas_worker_retry, ngx_http_faas_worker_delay);

    ngx_http_faas_worker_delay = ngx_min(ngx_http_faas_worker_delay * 2,
                                         NGX_HTTP_FAAS_WORKER_RETRY_MAX);
}


static void
ngx_http_faas_worker_gone(ngx_log_t *log)
{
    if (ngx_http_faas_host.gone) {
        return;
    }

    if (!ngx_http_faas_host_is_ending()) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "faas: the host is gone, functions are not served; "
                      "reload nginx to have another");
    }

    ngx_http_faas_host.gone = 1;
    ngx_http_faas_queue_wake();
}


static void
ngx_http_faas_worker_read_handler(ngx_event_t *rev)
{
    int                     rc;
    ngx_connection_t       *c;
    faas_control_message_t  m;

    c = rev->data;

    ngx_http_faas_worker_connection = c;

    while ((rc = faas_control_recv(c->fd, &m)) == FAAS_OK) {

        ngx_http_faas_worker_delay = NGX_HTTP_FAAS_WORKER_RETRY;

        if (m.head.type == FAAS_CONTROL_REFUSED) {

            /* a host that was started anew; the next reload attaches to it */

            ngx_log_error(NGX_LOG_WARN, rev->log, 0,
                          "faas: the supervisor refused this worker: %s",
                          m.payload);

            ngx_http_faas_worker_delay = NGX_HTTP_FAAS_WORKER_RETRY_MAX;
            ngx_http_faas_worker_gone(rev->log);

        } else {
            ngx_http_faas_host.gone = 0;
            ngx_http_faas_worker_page(rev->log, &m);
        }

        while (m.nfds) {
            (void) close(m.fd[--m.nfds]);
        }
    }

    if (rc == FAAS_AGAIN) {
        return;
    }

    ngx_log_error(NGX_LOG_INFO, rev->log, rc == FAAS_ERROR ? ngx_errno : 0,
                  "faas: the supervisor has closed the connection");

    ngx_http_faas_worker_connection = NULL;
    ngx_close_connection(c);

    ngx_http_faas_worker_later();

    /* whoever it would have woken looks for itself */

    ngx_http_faas_queue_wake();
}


/* believed for nothing but one slot's function; sealed, so that whoever
   writes it cannot take it away from under us */

static void
ngx_http_faas_worker_page(ngx_log_t *log, faas_control_message_t *m)
{
    int                   seals;
    void                 *page, *old;
    struct stat           st;
    faas_control_page_t   p;

    if (m->head.type != FAAS_CONTROL_PAGE || m->nfds != 1
        || m->head.length != sizeof(faas_control_page_t))
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "faas: unexpected message %uD from the supervisor",
                      m->head.type);
        return;
    }

    ngx_memcpy(&p, m->payload, sizeof(faas_control_page_t));

    if (p.slot >= ngx_http_faas_worker_slots) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "faas: page of slot %uD of %uD", p.slot,
                      ngx_http_faas_worker_slots);
        return;
    }

    seals = fcntl(m->fd[0], F_GET_SEALS);

    if (seals == -1 || !(seals & F_SEAL_SHRINK)
        || fstat(m->fd[0], &st) == -1 || st.st_size < FAAS_PAGE_SIZE)
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "faas: page of slot %uD is not sealed", p.slot);
        return;
    }

    old = ngx_http_faas_host.pages[p.slot];

    page = mmap(old, FAAS_PAGE_SIZE, PROT_READ,
                old ? MAP_SHARED|MAP_FIXED : MAP_SHARED, m->fd[0], 0);

    if (page == MAP_FAILED) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "mmap() of the page of slot %uD failed", p.slot);
        return;
    }

    ngx_http_faas_host.pages[p.slot] = page;
}


static void
ngx_http_faas_worker_wake_handler(ngx_event_t *rev)
{
    uint64_t           n;
    ngx_connection_t  *c;

    c = rev->data;

    /* several wake-ups are one; a writer may find us here just the same */

    if (read(c->fd, &n, sizeof(n)) == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, rev->log, ngx_errno,
                      "read() of the worker's eventfd failed");
        return;
    }

    ngx_http_faas_queue_wake();
}


/* this process's start time as the kernel tells it, in clock ticks since
   boot; 0 on failure */

static uint64_t
ngx_http_faas_worker_started(ngx_log_t *log)
{
    int           fd;
    char         *p, buf[1024];
    ssize_t       n;
    ngx_uint_t    field;

    fd = open("/proc/self/stat", O_RDONLY|O_CLOEXEC);

    n = fd == -1 ? -1 : read(fd, buf, sizeof(buf) - 1);

    if (fd != -1) {
        (void) close(fd);
    }

    if (n > 0) {
        buf[n] = '\0';

        /* field 2, the name, may hold anything, and ends with the last ')' */

        p = strrchr(buf, ')');

        for (field = 2; p && field < 22; field++) {
            p = strchr(p + 1, ' ');
        }

        if (p) {
            return strtoull(p + 1, NULL, 10);
        }
    }

    ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                  "faas: start time not found in \"/proc/self/stat\"");

    return 0;
}
