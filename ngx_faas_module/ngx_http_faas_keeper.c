
/*
 * Starts the keeper: a process that belongs to nobody.
 *
 * We run in nginx's master, before it becomes a daemon, or in the middle of a
 * reload.  The keeper must hold no listening socket and no key of nginx's,
 * must not be killed with it, and must not be its child; so: fork, setsid,
 * fork, everything closed but what is handed over, signals and umask as in a
 * fresh login, exec.  Between fork and exec nothing is allocated and only
 * system calls are made.
 *
 * What it finds (faas_control.h): 0 /dev/null, 1 and 2 nginx's error log, 3
 * the pipe on which it says in one line when the host is ready, and whose end
 * is ours until we have attached, 4 the configuration.
 */


#include "ngx_http_faas_host.h"

#include <poll.h>
#include <sys/syscall.h>


/* of nginx's patience, milliseconds; a keeper waits up to 15 s for a
   predecessor that ends, and 3 s for functions to load */
#define NGX_HTTP_FAAS_KEEPER_PATIENCE  25000

#define NGX_HTTP_FAAS_KEEPER_READY     3
#define NGX_HTTP_FAAS_KEEPER_CONFIG    4
#define NGX_HTTP_FAAS_KEEPER_FDS       5


/* all that the child needs, made before the fork */

typedef struct {
    char                     *argv[5];
    char                    **envp;
    int                       fd[NGX_HTTP_FAAS_KEEPER_FDS];
} ngx_http_faas_keeper_t;


static char **ngx_http_faas_keeper_environment(ngx_cycle_t *cycle);
static void ngx_http_faas_keeper_child(ngx_http_faas_keeper_t *k);
static ngx_int_t ngx_http_faas_keeper_descriptors(ngx_http_faas_keeper_t *k);
static void ngx_http_faas_keeper_close_from(int first);
static void ngx_http_faas_keeper_failed(int fd, const char *what,
    const char *subject, int error);
static ngx_int_t ngx_http_faas_keeper_wait(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf, int fd);


/* of nginx's environment the host gets these, and nothing that may be a
   secret of nginx's */

static const char  *ngx_http_faas_keeper_variables[] = {
    "PATH=", "TZ=", "LANG=", "LC_ALL=", "ASAN_OPTIONS=", "LSAN_OPTIONS=",
    "UBSAN_OPTIONS=", NULL
};


ngx_int_t
ngx_http_faas_keeper_start(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf, int config, int *alive)
{
    int                     null, ready[2];
    pid_t                   pid;
    ngx_log_t              *log;
    ngx_int_t               rc;
    ngx_http_faas_keeper_t  k;

    static char             keeper[] = "--keeper";
    static char             state[] = "--state";

    rc = NGX_ERROR;
    null = -1;
    ready[0] = -1;
    ready[1] = -1;

    k.argv[0] = (char *) fmcf->supervisor.data;
    k.argv[1] = keeper;
    k.argv[2] = state;
    k.argv[3] = (char *) fmcf->state.data;
    k.argv[4] = NULL;

    k.envp = ngx_http_faas_keeper_environment(cycle);
    if (k.envp == NULL) {
        goto done;
    }

    null = open("/dev/null", O_RDWR|O_CLOEXEC);

    if (null == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      ngx_open_file_n " \"/dev/null\" failed");
        goto done;
    }

    if (pipe2(ready, O_CLOEXEC) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno, "pipe2() failed");
        goto done;
    }

    log = ngx_log_get_file_log(cycle->log);

    k.fd[STDIN_FILENO] = null;
    k.fd[STDOUT_FILENO] = log ? log->file->fd : ngx_stderr;

    if (fcntl(k.fd[STDOUT_FILENO], F_GETFD) == -1) {

        /* nginx was started with its stderr closed */

        k.fd[STDOUT_FILENO] = null;
    }

    k.fd[STDERR_FILENO] = k.fd[STDOUT_FILENO];
    k.fd[NGX_HTTP_FAAS_KEEPER_READY] = ready[1];
    k.fd[NGX_HTTP_FAAS_KEEPER_CONFIG] = config;

    pid = fork();

    if (pid == 0) {
        ngx_http_faas_keeper_child(&k);
    }

    if (pid == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno, "fork() failed");
        goto done;
    }

    /* the first child ends at once; nginx's own handler may be quicker */

    while (waitpid(pid, NULL, 0) == -1 && ngx_errno == NGX_EINTR) {
        /* void */
    }

    (void) close(ready[1]);
    ready[1] = -1;

    rc = ngx_http_faas_keeper_wait(cycle, fmcf, ready[0]);

    if (rc == NGX_OK) {
        *alive = ready[0];
        ready[0] = -1;
    }

done:

    if (null != -1) {
        (void) close(null);
    }

    if (ready[0] != -1) {
        (void) close(ready[0]);
    }

    if (ready[1] != -1) {
        (void) close(ready[1]);
    }

    return rc;
}


static char **
ngx_http_faas_keeper_environment(ngx_cycle_t *cycle)
{
    char         **envp, **e;
    ngx_uint_t     i, n;
    const char    *name;

    envp = ngx_palloc(cycle->pool, sizeof(ngx_http_faas_keeper_variables));
    if (envp == NULL) {
        return NULL;
    }

    n = 0;

    for (i = 0; ngx_http_faas_keeper_variables[i]; i++) {
        name = ngx_http_faas_keeper_variables[i];

        for (e = environ; *e; e++) {
            if (ngx_strncmp(*e, name, ngx_strlen(name)) == 0) {
                envp[n++] = *e;
                break;
            }
        }
    }

    envp[n] = NULL;

    return envp;
}


/* does not return */

static void
ngx_http_faas_keeper_child(ngx_http_faas_keeper_t *k)
{
    int       sig;
    pid_t     pid;
    sigset_t  set;

    if (setsid() == -1) {
        ngx_http_faas_keeper_failed(k->fd[NGX_HTTP_FAAS_KEEPER_READY],
                                    "setsid() failed", NULL, errno);
    }

    pid = fork();

    if (pid == -1) {
        ngx_http_faas_keeper_failed(k->fd[NGX_HTTP_FAAS_KEEPER_READY],
                                    "fork() failed", NULL, errno);
    }

    if (pid > 0) {
        _exit(0);
    }

    /* handlers are gone with the exec, but not what is ignored or blocked */

    for (sig = 1; sig < NSIG; sig++) {
        (void) signal(sig, SIG_DFL);
    }

    sigemptyset(&set);
    (void) sigprocmask(SIG_SETMASK, &set, NULL);

    (void) umask(022);

    if (chdir("/") == -1) {
        ngx_http_faas_keeper_failed(k->fd[NGX_HTTP_FAAS_KEEPER_READY],
                                    "chdir() failed", "/", errno);
    }

    if (ngx_http_faas_keeper_descriptors(k) != NGX_OK) {
        ngx_http_faas_keeper_failed(k->fd[NGX_HTTP_FAAS_KEEPER_READY],
                                    "dup2() failed", NULL, errno);
    }

    ngx_http_faas_keeper_close_from(NGX_HTTP_FAAS_KEEPER_FDS);

    (void) execve(k->argv[0], k->argv, k->envp);

    ngx_http_faas_keeper_failed(NGX_HTTP_FAAS_KEEPER_READY,
                                "execve() failed", k->argv[0], errno);
}


/* to their numbers, by way of numbers that are in nobody's way */

static ngx_int_t
ngx_http_faas_keeper_descriptors(ngx_http_faas_keeper_t *k)
{
    int  i, fd[NGX_HTTP_FAAS_KEEPER_FDS];

    for (i = 0; i < NGX_HTTP_FAAS_KEEPER_FDS; i++) {
        fd[i] = fcntl(k->fd[i], F_DUPFD, NGX_HTTP_FAAS_KEEPER_FDS);

        if (fd[i] == -1) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < NGX_HTTP_FAAS_KEEPER_FDS; i++) {
        if (dup2(fd[i], i) == -1) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_faas_keeper_close_from(int first)
{
    long  fd, last;

#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) {
        return;
    }
#endif

    last = sysconf(_SC_OPEN_MAX);

    if (last < 0) {
        last = 65536;
    }

    for (fd = first; fd < last; fd++) {
        (void) close((int) fd);
    }
}


/* in the child: tells nginx why, and ends */

static void
ngx_http_faas_keeper_failed(int fd, const char *what, const char *subject,
    int error)
{
    u_char  *p, *last, line[1024];

    last = line + sizeof(line) - 1;

    p = ngx_slprintf(line, last, "error: %s", what);

    if (subject) {
        p = ngx_slprintf(p, last, " \"%s\"", subject);
    }

    p = ngx_slprintf(p, last, " (%d: ", error);
    p = ngx_strerror(error, p, last - p);
    p = ngx_slprintf(p, last, ")");

    *p++ = LF;

    if (write(fd, line, p - line) == -1) {
        _exit(2);
    }

    _exit(1);
}


static ngx_int_t
ngx_http_faas_keeper_wait(ngx_cycle_t *cycle, ngx_http_faas_main_conf_t *fmcf,
    int fd)
{
    int            n;
    u_char         line[1024];
    size_t         len;
    ssize_t        size;
    uint64_t       end, now;
    struct pollfd  p;

    len = 0;
    end = ngx_http_faas_now_us() / 1000 + NGX_HTTP_FAAS_KEEPER_PATIENCE;

    p.fd = fd;
    p.events = POLLIN;

    for ( ;; ) {

        now = ngx_http_faas_now_us() / 1000;

        n = now < end ? poll(&p, 1, (int) (end - now)) : 0;

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n < 1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, n ? ngx_errno : 0,
                          "faas: \"%V\" did not say within %d s that it is "
                          "ready", &fmcf->supervisor,
                          NGX_HTTP_FAAS_KEEPER_PATIENCE / 1000);
            return NGX_ERROR;
        }

        size = read(fd, line + len, sizeof(line) - 1 - len);

        if (size == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (size < 1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, size ? ngx_errno : 0,
                          "faas: \"%V\" ended before it was ready",
                          &fmcf->supervisor);
            return NGX_ERROR;
        }

        len += size;
        line[len] = '\0';

        if (line[len - 1] == LF || len == sizeof(line) - 1) {
            break;
        }
    }

    if (line[len - 1] == LF) {
        line[--len] = '\0';
    }

    if (ngx_strcmp(line, "ready") == 0) {
        return NGX_OK;
    }

    if (ngx_strncmp(line, "error: ", 7) == 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "faas: the host did not start: %s", line + 7);

    } else {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "faas: \"%V\" is no faas-supervisor, it said \"%s\"",
                      &fmcf->supervisor, line);
    }

    return NGX_ERROR;
}
