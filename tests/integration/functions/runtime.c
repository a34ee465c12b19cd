
/*
 * What test_runtime.py asks of a function: the argument `do` says what.
 */


#include <faas.h>

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>


static int   calls;
static char  after_fork_says[32] = "not called";


static int
after_fork(void)
{
    (void) strcpy(after_fork_says, "called");
    return 0;
}


static void
fini(void)
{
    faas_log(NULL, "fini after %d calls", calls);
}


static int
echo(faas_request_t *r)
{
    char     buf[10000];
    ssize_t  n;

    faas_header_set(r, "Content-Type", "application/octet-stream");

    while ((n = faas_read(r, buf, sizeof(buf))) > 0) {
        if (faas_write(r, buf, (size_t) n) != 0) {
            return -1;
        }
    }

    return n < 0 ? -1 : 0;
}


static int
body(faas_request_t *r)
{
    size_t       n, max;
    const char  *p, *text;

    text = faas_query(r, "max", NULL);
    max = text ? strtoul(text, NULL, 10) : 0;

    p = faas_body(r, max, &n);
    if (p == NULL) {
        faas_status(r, 413);
        return 0;
    }

    if (p[n] != '\0' || faas_body(r, 0, &n) != p) {
        return -1;
    }

    faas_printf(r, "%zu %llu ", n,
                (unsigned long long) faas_content_length(r));

    return faas_write(r, p, n);
}


static int
each(const char *name, const char *value, void *data)
{
    return faas_printf(data, "%s=%s\n", name, value);
}


static int
show(faas_request_t *r)
{
    const char  *name, *value;

    name = faas_query(r, "header", NULL);
    if (name) {
        value = faas_header(r, name);
        return faas_printf(r, "%s", value ? value : "(none)");
    }

    name = faas_query(r, "variable", NULL);
    if (name) {
        value = faas_variable(r, name);
        return faas_printf(r, "%s", value ? value : "(none)");
    }

    name = faas_query(r, "config", NULL);
    if (name) {
        value = faas_config(r, name);
        return faas_printf(r, "%s", value ? value : "(none)");
    }

    return faas_variables(r, each, r);
}


/* header=NAME:VALUE, percent-encoded: what faas_header_set() says to it */

static int
header(faas_request_t *r)
{
    int          rc;
    char        *copy, *colon;
    size_t       n;
    const char  *text;

    text = faas_query(r, "header", &n);
    copy = faas_alloc(r, n + 1);
    if (copy == NULL) {
        return -1;
    }

    (void) memcpy(copy, text, n);
    colon = strchr(copy, ':');
    *colon = '\0';

    rc = faas_header_set(r, copy, colon + 1);

    return faas_printf(r, "%d", rc);
}


static int
status(faas_request_t *r)
{
    int          n;
    const char  *text;

    text = faas_query(r, "status", NULL);

    if (text && faas_status(r, atoi(text)) != 0) {
        return faas_printf(r, "refused");
    }

    text = faas_query(r, "location", NULL);
    if (text) {
        (void) faas_header_set(r, "Location", text);
    }

    text = faas_query(r, "bytes", NULL);

    for (n = text ? atoi(text) : 0; n > 0; n--) {
        if (faas_write(r, "x", 1) != 0) {
            return -1;
        }
    }

    return 0;
}


static int
flush(faas_request_t *r)
{
    int  rc;

    (void) faas_printf(r, "one");

    if (faas_flush(r) != 0 || faas_status(r, 500) == 0
        || faas_header_set(r, "X-Late", "1") == 0)
    {
        return -1;
    }

    rc = faas_printf(r, "two");

    return faas_query(r, "fail", NULL) ? -1 : rc;
}


/* a process that left its group and its parent, and does not listen */

static int
daemonize(faas_request_t *r)
{
    int    fd[2];
    pid_t  pid;

    if (pipe(fd) == -1) {
        return -1;
    }

    pid = fork();

    if (pid == 0) {
        (void) setsid();

        if (fork() != 0) {
            _exit(0);
        }

        (void) signal(SIGTERM, SIG_IGN);
        (void) signal(SIGHUP, SIG_IGN);

        pid = getpid();
        if (write(fd[1], &pid, sizeof(pid)) != sizeof(pid)) {
            _exit(1);
        }

        for ( ;; ) {
            (void) pause();
        }
    }

    (void) waitpid(pid, NULL, 0);

    if (read(fd[0], &pid, sizeof(pid)) != sizeof(pid)) {
        return -1;
    }

    (void) close(fd[0]);
    (void) close(fd[1]);

    return faas_printf(r, "%d", (int) pid);
}


/* one in the same group */

static int
child(faas_request_t *r)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        (void) signal(SIGTERM, SIG_IGN);

        for ( ;; ) {
            (void) pause();
        }
    }

    return faas_printf(r, "%d", (int) pid);
}


static int
process(faas_request_t *r)
{
    mode_t         mask;
    uid_t          ruid, euid, suid;
    struct rlimit  core, files;

    mask = umask(0);
    (void) umask(mask);
    (void) getresuid(&ruid, &euid, &suid);
    (void) getrlimit(RLIMIT_CORE, &core);
    (void) getrlimit(RLIMIT_NOFILE, &files);

    return faas_printf(r, "%d %d %d %d %o %d %lu %lu %d", (int) ruid,
                       (int) euid, (int) suid,
                       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
                       (unsigned) mask, setuid(0) == 0,
                       (unsigned long) core.rlim_max,
                       (unsigned long) files.rlim_cur,
                       prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
}


static int
print(faas_request_t *r)
{
    long         n;
    const char  *text;

    text = faas_query(r, "bytes", NULL);

    if (text == NULL) {
        (void) printf("on stdout\n");
        (void) fprintf(stderr, "on stderr\n");
        faas_log(r, "logged\n%s", "twice");
        return 0;
    }

    for (n = strtol(text, NULL, 10); n > 0; n -= 100) {
        faas_log(r, "%-66s", "a line");
    }

    return 0;
}


static int
handler(faas_request_t *r)
{
    size_t       i;
    const char  *what;

    static const struct {
        const char  *name;
        int        (*run)(faas_request_t *r);
    } commands[] = {
        { "echo", echo },
        { "body", body },
        { "show", show },
        { "header", header },
        { "status", status },
        { "flush", flush },
        { "daemonize", daemonize },
        { "child", child },
        { "process", process },
        { "print", print },
    };

    calls++;

    what = faas_query(r, "do", NULL);

    if (what == NULL) {
        return faas_printf(r, "%d", calls);
    }

    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, what) == 0) {
            return commands[i].run(r);
        }
    }

    if (strcmp(what, "pid") == 0) {
        return faas_printf(r, "%d", (int) getpid());
    }

    if (strcmp(what, "random") == 0) {
        return faas_printf(r, "%d %ld %ld", rand(), random(), lrand48());
    }

    if (strcmp(what, "fail") == 0) {
        (void) faas_header_set(r, "X-Made", "before");
        (void) faas_printf(r, "half of it");
        return -7;
    }

    if (strcmp(what, "nothing") == 0) {
        return 0;
    }

    if (strcmp(what, "crash") == 0) {
        (void) raise(SIGSEGV);
    }

    if (strcmp(what, "exit") == 0) {
        _exit(7);
    }

    if (strcmp(what, "after_fork") == 0) {
        return faas_printf(r, "%s", after_fork_says);
    }

    if (strcmp(what, "wait") == 0) {
        i = (size_t) waitpid(-1, NULL, WNOHANG);
        return faas_printf(r, "%d %d", (int) i, errno == ECHILD);
    }

    if (strcmp(what, "left") == 0) {
        return faas_printf(r, "%lld", (long long) faas_time_left(r));
    }

    if (strcmp(what, "heap") == 0) {
        return faas_printf(r, "%zu", (size_t) mallinfo2().uordblks);
    }

    if (strcmp(what, "param") == 0) {
        what = faas_param(r, "name");
        return faas_printf(r, "%s", what ? what : "(none)");
    }

    /* runs until it is killed */

    if (strcmp(what, "loop") == 0) {
        for ( ;; ) {
            (void) pause();
        }
    }

    /* until a file of that name is there */

    if (strcmp(what, "until") == 0) {
        while (access(faas_query(r, "file", NULL), F_OK) == -1) {
            (void) usleep(1000);
        }

        return faas_printf(r, "done");
    }

    return -1;
}


FAAS_FUNCTION(
    .handler = handler,
    .after_fork = after_fork,
    .fini = fini,
    .mode = "resident",
    .routes = "GET /a b/(?<name>.*)%\n/\xc3\xa4",
    .timeout = "5s",
    .min = 1,
    .max = 3,
    .memory = "64m",
    .idempotent = 1
)
