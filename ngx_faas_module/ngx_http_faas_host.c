
/*
 * The master's end of the host.
 *
 * init_module runs at the start, in the process that nginx was started as,
 * and in the master at each reload.  At the start it attaches to the host of
 * faas_state, which may be that of another master (USR2), or starts one; what
 * goes wrong ends nginx.  At a reload the new configuration is sent over the
 * connection that we attached with, and what goes wrong is logged.
 *
 * That connection is the lifeline.  It is close-on-exec, so nothing but this
 * nginx's own processes hold it: daemon, master, workers and helpers inherit
 * it by fork and never read or write it, and when the last of them is gone,
 * however it went, the supervisor knows.
 */


#include "ngx_http_faas_host.h"

#include <sys/mman.h>
#include <sys/un.h>


/* what a supervisor gets to answer, seconds */
#define NGX_HTTP_FAAS_ATTACH_PATIENCE  10
#define NGX_HTTP_FAAS_RELOAD_PATIENCE  5


static ngx_int_t ngx_http_faas_host_start(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf);
static ngx_int_t ngx_http_faas_host_try(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf, int config, ngx_uint_t last);
static ngx_int_t ngx_http_faas_host_converse(ngx_log_t *log,
    ngx_str_t *state, int s, int config);
static ngx_int_t ngx_http_faas_host_take_board(ngx_log_t *log,
    faas_control_message_t *m);
static ngx_int_t ngx_http_faas_host_take_eventfds(ngx_log_t *log,
    ngx_str_t *state, int s, faas_control_message_t *m);
static ngx_int_t ngx_http_faas_host_recv(ngx_log_t *log, ngx_str_t *state,
    int s, faas_control_message_t *m);
static void ngx_http_faas_host_reload(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf);
static ngx_int_t ngx_http_faas_host_reloaded(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_faas_host_send(int s, faas_control_type_e type,
    int config);
static int ngx_http_faas_host_config(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf);
static ngx_int_t ngx_http_faas_host_patience(int s, time_t seconds);
static ngx_int_t ngx_http_faas_host_watch(ngx_cycle_t *cycle);
static void ngx_http_faas_host_unwatch(void *data);
static void ngx_http_faas_host_detach(void);


ngx_http_faas_host_t  ngx_http_faas_host = {
    .lifeline = -1,
    .supervisor = -1,
    .wake = { [0 ... FAAS_WORKERS - 1] = -1 },
    .worker = FAAS_WORKER_NONE
};


/* cycles of this process that have the module */
static ngx_uint_t  ngx_http_faas_host_cycles;

/* outlives every cycle's pool */
static u_char  ngx_http_faas_host_state[NGX_HTTP_FAAS_STATE_MAX + 1];


ngx_int_t
ngx_http_faas_host_attach(ngx_cycle_t *cycle, ngx_http_faas_main_conf_t *fmcf)
{
    ngx_uint_t  reload;

    reload = !ngx_is_init_cycle(cycle->old_cycle);

    if (ngx_http_faas_host_watch(cycle) != NGX_OK) {
        return reload ? NGX_OK : NGX_ERROR;
    }

    if (fmcf->functions.len == 0) {

        if (ngx_http_faas_host.board == NULL) {
            return NGX_OK;
        }

        if (ngx_process == NGX_PROCESS_SINGLE) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "faas: without a master process the host stays "
                          "until nginx is restarted");
            return NGX_OK;
        }

        /* workers that finish their requests still hold it */

        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "faas: \"faas_functions\" is gone, the host ends with "
                      "the old workers");

        ngx_http_faas_host_detach();

        return NGX_OK;
    }

    if (ngx_http_faas_host.board) {
        ngx_http_faas_host_reload(cycle, fmcf);
        return NGX_OK;
    }

    if (ngx_http_faas_host_start(cycle, fmcf) == NGX_OK) {
        return NGX_OK;
    }

    if (!reload) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "faas: there is no host, functions are not served; reload "
                  "or restart nginx when the cause is mended");

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_host_start(ngx_cycle_t *cycle, ngx_http_faas_main_conf_t *fmcf)
{
    int        config, alive;
    ngx_int_t  rc;

    config = ngx_http_faas_host_config(cycle, fmcf);
    if (config == -1) {
        return NGX_ERROR;
    }

    alive = -1;

    /*
     * NGX_DECLINED: no host, or one that is about to end.  A new keeper waits
     * for it to be gone; when it finds that it is there to stay after all, it
     * leaves the field to it, and we attach to that.
     */

    rc = ngx_http_faas_host_try(cycle, fmcf, config, 0);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_faas_keeper_start(cycle, fmcf, config, &alive);

        if (rc == NGX_OK) {
            rc = ngx_http_faas_host_try(cycle, fmcf, config, 1);
        }
    }

    (void) close(config);

    if (alive != -1) {
        (void) close(alive);
    }

    if (rc != NGX_OK) {

        if (alive != -1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "faas: the host was started as \"%V\", which and "
                          "this module must be of one release",
                          &fmcf->supervisor);
        }

        return NGX_ERROR;
    }

    if (ngx_strcmp(ngx_http_faas_host.release, FAAS_RELEASE) != 0) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "faas: the host in \"%V\" is of release %s, this "
                      "module of release %s: restart nginx to have one",
                      &fmcf->state, ngx_http_faas_host.release, FAAS_RELEASE);
    }

    ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                  "faas: attached to the host in \"%V\"", &fmcf->state);

    return NGX_OK;
}


/* NGX_OK, NGX_ERROR, or, unless it is the last try, NGX_DECLINED */

static ngx_int_t
ngx_http_faas_host_try(ngx_cycle_t *cycle, ngx_http_faas_main_conf_t *fmcf,
    int config, ngx_uint_t last)
{
    int        s;
    ngx_int_t  rc;
    ngx_log_t  *log;

    log = cycle->log;

    s = ngx_http_faas_host_connect(&fmcf->state, "control", SOCK_SEQPACKET,
                                   NGX_HTTP_FAAS_ATTACH_PATIENCE);

    if (s == -1) {

        if (!last && (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR
                      || ngx_errno == NGX_ECONNREFUSED))
        {
            return NGX_DECLINED;
        }

        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "connect() to \"%V/control\" failed", &fmcf->state);
        return NGX_ERROR;
    }

    rc = ngx_http_faas_host_converse(log, &fmcf->state, s, config);

    if (rc == NGX_OK) {
        ngx_http_faas_host.lifeline = s;

        ngx_http_faas_host.state.data = ngx_http_faas_host_state;
        ngx_http_faas_host.state.len =
            ngx_cpystrn(ngx_http_faas_host_state, fmcf->state.data,
                        sizeof(ngx_http_faas_host_state))
            - ngx_http_faas_host_state;

        return NGX_OK;
    }

    (void) close(s);

    if (rc != NGX_DECLINED || !last) {
        return rc;
    }

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "faas: the host in \"%V\" did not let nginx attach",
                  &fmcf->state);

    return NGX_ERROR;
}


/*
 * ATTACH, BOARD, EVENTFDS.  NGX_DECLINED: the host ended the connection, or
 * refused it without being of another layout; the log says why.
 */

static ngx_int_t
ngx_http_faas_host_converse(ngx_log_t *log, ngx_str_t *state, int s,
    int config)
{
    ngx_int_t               rc;
    faas_control_message_t  m;

    if (ngx_http_faas_host_send(s, FAAS_CONTROL_ATTACH, config) != NGX_OK) {

        if (ngx_errno == NGX_EPIPE || ngx_errno == NGX_ECONNRESET) {
            return NGX_DECLINED;
        }

        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "sendmsg() to \"%V/control\" failed", state);
        return NGX_ERROR;
    }

    rc = ngx_http_faas_host_recv(log, state, s, &m);
    if (rc != NGX_OK) {
        return rc;
    }

    if (m.head.type == FAAS_CONTROL_REFUSED) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "faas: the host in \"%V\" refused: %s",
                      state, m.payload);
        rc = NGX_DECLINED;
        goto failed;
    }

    rc = ngx_http_faas_host_take_board(log, &m);
    if (rc != NGX_OK) {
        goto failed;
    }

    if (ngx_http_faas_host_take_eventfds(log, state, s, &m) != NGX_OK) {
        ngx_http_faas_host_detach();
        return NGX_ERROR;
    }

    return NGX_OK;

failed:

    while (m.nfds) {
        (void) close(m.fd[--m.nfds]);
    }

    return rc;
}


static ngx_int_t
ngx_http_faas_host_take_board(ngx_log_t *log, faas_control_message_t *m)
{
    void                  *board;
    const char            *why;
    struct stat            st;
    faas_control_board_t   b;

    if (m->head.type != FAAS_CONTROL_BOARD || m->nfds != 2
        || m->head.length != sizeof(faas_control_board_t))
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "faas: the host sent no scoreboard, but message %uD",
                      m->head.type);
        return NGX_ERROR;
    }

    ngx_memcpy(&b, m->payload, sizeof(faas_control_board_t));
    b.release[sizeof(b.release) - 1] = '\0';

    if (fstat(m->fd[0], &st) == -1 || (uint64_t) st.st_size != b.size) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "faas: the host's scoreboard has not the size of %uL "
                      "bytes", b.size);
        return NGX_ERROR;
    }

    board = mmap(NULL, b.size, PROT_READ|PROT_WRITE, MAP_SHARED, m->fd[0], 0);

    if (board == MAP_FAILED) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "mmap(%uL) of the scoreboard failed", b.size);
        return NGX_ERROR;
    }

    why = faas_scoreboard_check(board, b.size);

    if (why) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "faas: scoreboard of the host, which is of release %s, "
                      "does not suit this module, which is of release %s "
                      "and layout %d: %s",
                      b.release, FAAS_RELEASE, FAAS_SCOREBOARD_LAYOUT, why);

        (void) munmap(board, b.size);
        return NGX_ERROR;
    }

    ngx_http_faas_host.board = board;
    ngx_http_faas_host.size = b.size;
    ngx_http_faas_host.supervisor = m->fd[1];

    ngx_memcpy(ngx_http_faas_host.release, b.release, sizeof(b.release));

    /* the mapping is all we need of the board */

    (void) close(m->fd[0]);
    m->nfds = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_host_take_eventfds(ngx_log_t *log, ngx_str_t *state, int s,
    faas_control_message_t *m)
{
    uint32_t  first, i, n;

    for (n = 0; n < FAAS_WORKERS; n += m->nfds) {

        if (ngx_http_faas_host_recv(log, state, s, m) != NGX_OK) {
            return NGX_ERROR;
        }

        first = FAAS_WORKERS;

        if (m->head.length == sizeof(uint32_t)) {
            ngx_memcpy(&first, m->payload, sizeof(uint32_t));
        }

        if (m->head.type != FAAS_CONTROL_EVENTFDS || first != n
            || m->nfds == 0 || m->nfds > FAAS_WORKERS - n)
        {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "faas: the host sent no eventfds, but message %uD",
                          m->head.type);

            while (m->nfds) {
                (void) close(m->fd[--m->nfds]);
            }

            return NGX_ERROR;
        }

        for (i = 0; i < m->nfds; i++) {
            ngx_http_faas_host.wake[first + i] = m->fd[i];
        }
    }

    return NGX_OK;
}


/* NGX_OK, NGX_DECLINED at the end of the stream, or NGX_ERROR */

static ngx_int_t
ngx_http_faas_host_recv(ngx_log_t *log, ngx_str_t *state, int s,
    faas_control_message_t *m)
{
    switch (faas_control_recv(s, m)) {

    case FAAS_OK:
        return NGX_OK;

    case FAAS_DONE:
        return NGX_DECLINED;

    case FAAS_AGAIN:
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "faas: the host in \"%V\" does not answer", state);
        return NGX_ERROR;

    default:
        break;
    }

    if (ngx_errno == NGX_ECONNRESET) {
        return NGX_DECLINED;
    }

    if (ngx_errno == EPROTO && m->head.magic == FAAS_CONTROL_MAGIC
        && m->head.layout != FAAS_SCOREBOARD_LAYOUT)
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "faas: the host in \"%V\" is of layout %uD, this "
                      "module, release %s, of layout %d: restart nginx to "
                      "have one",
                      state, m->head.layout, FAAS_RELEASE,
                      FAAS_SCOREBOARD_LAYOUT);
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                  "recvmsg() from \"%V/control\" failed", state);

    return NGX_ERROR;
}


/* never fails: what cannot be had leaves the old settings in force */

static void
ngx_http_faas_host_reload(ngx_cycle_t *cycle, ngx_http_faas_main_conf_t *fmcf)
{
    int                     config, s;
    ngx_int_t               rc;
    faas_control_message_t  m;

    if (fmcf->state.len != ngx_http_faas_host.state.len
        || ngx_strncmp(fmcf->state.data, ngx_http_faas_host.state.data,
                       fmcf->state.len)
           != 0)
    {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "faas: \"faas_state\" changed from \"%V\" to \"%V\", "
                      "which needs a restart; settings of functions stay as "
                      "they were",
                      &ngx_http_faas_host.state, &fmcf->state);
        return;
    }

    config = ngx_http_faas_host_config(cycle, fmcf);
    if (config == -1) {
        return;
    }

    s = ngx_http_faas_host.lifeline;

    /* an answer that came after we had stopped waiting for it */

    if (fcntl(s, F_SETFL, O_NONBLOCK) == 0) {
        while (faas_control_recv(s, &m) == FAAS_OK) {
            while (m.nfds) {
                (void) close(m.fd[--m.nfds]);
            }
        }
    }

    (void) fcntl(s, F_SETFL, 0);

    if (ngx_http_faas_host_patience(s, NGX_HTTP_FAAS_RELOAD_PATIENCE) == NGX_OK
        && ngx_http_faas_host_send(s, FAAS_CONTROL_RELOAD, config) == NGX_OK)
    {
        rc = ngx_http_faas_host_reloaded(cycle);

    } else if (ngx_errno == NGX_EPIPE || ngx_errno == NGX_ECONNRESET) {
        rc = NGX_DECLINED;

    } else {
        ngx_log_error(NGX_LOG_ERR, cycle->log, ngx_errno,
                      "faas: the host did not take the new configuration");
        rc = NGX_ERROR;
    }

    if (rc != NGX_DECLINED) {
        goto done;
    }

    /* keeper and supervisor are gone.  A process without workers of its own
       must stay with the board that its requests use. */

    if (ngx_process == NGX_PROCESS_SINGLE) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "faas: the host is gone, restart nginx");
        goto done;
    }

    ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                  "faas: the host is gone, starting another");

    ngx_http_faas_host_detach();

    if (ngx_http_faas_host_start(cycle, fmcf) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "faas: there is no host, functions are not served");
    }

done:

    (void) close(config);
}


/* what the host says to RELOAD; NGX_DECLINED: it is gone */

static ngx_int_t
ngx_http_faas_host_reloaded(ngx_cycle_t *cycle)
{
    int                     rc;
    faas_control_message_t  m;

    rc = faas_control_recv(ngx_http_faas_host.lifeline, &m);

    if (rc == FAAS_DONE || (rc == FAAS_ERROR && ngx_errno == NGX_ECONNRESET)) {
        return NGX_DECLINED;
    }

    if (rc != FAAS_OK) {
        ngx_log_error(NGX_LOG_ERR, cycle->log,
                      rc == FAAS_ERROR ? ngx_errno : 0,
                      "faas: the host has not said that the new "
                      "configuration is in force");
        return NGX_ERROR;
    }

    while (m.nfds) {
        (void) close(m.fd[--m.nfds]);
    }

    if (m.head.type != FAAS_CONTROL_ACCEPTED) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "faas: the host refused the new configuration, the old "
                      "one stays in force: %s", m.payload);

    } else if (m.head.length) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0, "faas: %s", m.payload);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_faas_host_send(int s, faas_control_type_e type, int config)
{
    faas_control_attach_t  attach;

    ngx_memzero(&attach, sizeof(faas_control_attach_t));

    (void) ngx_cpystrn((u_char *) attach.release, (u_char *) FAAS_RELEASE,
                       sizeof(attach.release));
    attach.pid = ngx_getpid();

    return faas_control_send(s, type, &attach, sizeof(attach), &config, 1)
           == FAAS_OK ? NGX_OK : NGX_ERROR;
}


/* the configuration's text in a sealed memfd, or -1 */

static int
ngx_http_faas_host_config(ngx_cycle_t *cycle, ngx_http_faas_main_conf_t *fmcf)
{
    int        fd;
    size_t     done;
    ssize_t    n;
    ngx_str_t  text;

    if (ngx_http_faas_config_encode(cycle, fmcf, &text) != NGX_OK) {
        return -1;
    }

    fd = memfd_create("faas-config", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "memfd_create() failed");
        return -1;
    }

    for (done = 0; done < text.len; done += n) {
        n = write(fd, text.data + done, text.len - done);

        if (n == -1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "write() of the configuration failed");
            goto failed;
        }
    }

    if (lseek(fd, 0, SEEK_SET) == -1
        || fcntl(fd, F_ADD_SEALS,
                 F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_WRITE|F_SEAL_SEAL)
           == -1)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "fcntl(F_ADD_SEALS) of the configuration failed");
        goto failed;
    }

    return fd;

failed:

    (void) close(fd);

    return -1;
}


int
ngx_http_faas_host_connect(ngx_str_t *state, const char *name, int type,
    time_t patience)
{
    int                 s, error;
    u_char             *p, *last;
    struct sockaddr_un  sa;

    ngx_memzero(&sa, sizeof(struct sockaddr_un));

    sa.sun_family = AF_UNIX;

    p = (u_char *) sa.sun_path;
    last = p + sizeof(sa.sun_path) - 1;

    if (ngx_slprintf(p, last, "%V/%s", state, name) == last) {
        ngx_set_errno(ENAMETOOLONG);
        return -1;
    }

    s = socket(AF_UNIX, type|SOCK_CLOEXEC, 0);
    if (s == -1) {
        return -1;
    }

    /* a full backlog makes connect() wait, as long as send() would */

    if ((patience && ngx_http_faas_host_patience(s, patience) != NGX_OK)
        || connect(s, (struct sockaddr *) &sa, sizeof(struct sockaddr_un))
           == -1)
    {
        error = ngx_errno;
        (void) close(s);
        ngx_set_errno(error);

        return -1;
    }

    return s;
}


static ngx_int_t
ngx_http_faas_host_patience(int s, time_t seconds)
{
    struct timeval  tv;

    tv.tv_sec = seconds;
    tv.tv_usec = 0;

    if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == -1
        || setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == -1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * A reload may drop load_module: when the last cycle that has the module goes,
 * what it holds in the master goes too.  The module is unloaded after that.
 */

static ngx_int_t
ngx_http_faas_host_watch(ngx_cycle_t *cycle)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_faas_host_unwatch;
    ngx_http_faas_host_cycles++;

    return NGX_OK;
}


static void
ngx_http_faas_host_unwatch(void *data)
{
    if (--ngx_http_faas_host_cycles == 0
        && ngx_process == NGX_PROCESS_MASTER)
    {
        ngx_http_faas_host_detach();
    }
}


/* lets go of the host in this process; children made before keep it */

static void
ngx_http_faas_host_detach(void)
{
    ngx_uint_t  i;

    if (ngx_http_faas_host.lifeline != -1) {
        (void) close(ngx_http_faas_host.lifeline);
        ngx_http_faas_host.lifeline = -1;
    }

    if (ngx_http_faas_host.supervisor != -1) {
        (void) close(ngx_http_faas_host.supervisor);
        ngx_http_faas_host.supervisor = -1;
    }

    for (i = 0; i < FAAS_WORKERS; i++) {
        if (ngx_http_faas_host.wake[i] != -1) {
            (void) close(ngx_http_faas_host.wake[i]);
            ngx_http_faas_host.wake[i] = -1;
        }
    }

    if (ngx_http_faas_host.board) {
        (void) munmap(ngx_http_faas_host.board, ngx_http_faas_host.size);
        ngx_http_faas_host.board = NULL;
    }
}


/* a full counter is a wake-up too: nothing to do about EAGAIN */

void
ngx_http_faas_host_wake(uint32_t worker)
{
    uint64_t  one;

    one = 1;

    if (worker < FAAS_WORKERS
        && write(ngx_http_faas_host.wake[worker], &one, sizeof(one)) == -1
        && ngx_errno != NGX_EAGAIN)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "write() to the eventfd of worker record %uD failed",
                      worker);
    }
}


void
ngx_http_faas_host_kick(void)
{
    uint64_t  one;

    one = 1;

    if (write(ngx_http_faas_host.supervisor, &one, sizeof(one)) == -1
        && ngx_errno != NGX_EAGAIN)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "write() to the eventfd of the supervisor failed");
    }
}


/* the supervisor says so, or nobody is there any more who could */

ngx_uint_t
ngx_http_faas_host_is_ending(void)
{
    return ngx_http_faas_host.board == NULL
           || ngx_http_faas_host.gone
           || atomic_load_explicit(&ngx_http_faas_host.board->draining,
                                   memory_order_relaxed);
}
