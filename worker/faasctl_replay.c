
/*
 * A dumped request, run again in a fresh process of that version: faas-zygote
 * in its replay mode (replay.h) at the other end of a socket pair, to which
 * the request is written as FastCGI, and whose answer is read.  There is no
 * host in it.
 */


#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "death.h"
#include "faasctl_core.h"
#include "replay.h"
#include "sha256.h"


#define REPLAY_PROGRAM  "faas-zygote"
#define REPLAY_START_MS 15000      /* to load, init and after_fork */

/* FastCGI 1.0 */
#define REPLAY_BEGIN    1
#define REPLAY_END      3
#define REPLAY_PARAMS   4
#define REPLAY_STDIN    5
#define REPLAY_STDOUT   6
#define REPLAY_STDERR   7
#define REPLAY_RECORD   32768      /* bytes of content in ours */


/* bytes that grow */

typedef struct {
    char                     *data;
    size_t                    size;
    size_t                    room;
} replay_bytes_t;


typedef struct {
    core_dump_t               dump;
    char                      program[PATH_MAX];
    int                       code;
    int                       environment;
    int                       request;     /* our end of the pair */
    int                       begin;       /* ends when the handler begins */
    pid_t                     pid;
    int                       status;
    int                       late;        /* 1: we killed it */
    replay_bytes_t            out;         /* to it */
    replay_bytes_t            in;          /* from it, records */
    replay_bytes_t            answer;      /* headers and body */
} replay_t;


static int replay_open(replay_t *r);
static int replay_check(int fd, const char *sha256);
static int replay_start(replay_t *r);
static void replay_exec(replay_t *r, const int *fds);
static void replay_encode(replay_t *r);
static void replay_record(replay_bytes_t *b, int type, const char *data,
    size_t n);
static void replay_stream(replay_bytes_t *b, int type, const char *data,
    size_t n);
static void replay_length(replay_bytes_t *b, size_t n);
static void replay_add(replay_bytes_t *b, const char *data, size_t n);
static void replay_talk(replay_t *r);
static int replay_wait_ms(const replay_t *r, int64_t deadline);
static int replay_decode(replay_t *r);
static int64_t replay_now(void);
static int replay_tell(replay_t *r);
static int replay_status(const replay_t *r, size_t *body);


int
faasctl_replay(void)
{
    int       rc;
    replay_t  r;

    memset(&r, 0, sizeof(r));
    r.code = -1;
    r.environment = -1;
    r.request = -1;
    r.begin = -1;

    rc = faasctl_core_open(&r.dump, faasctl.words[1]);

    if (rc != FAASCTL_DONE) {
        return rc;
    }

    rc = FAASCTL_FAILED;

    if (replay_open(&r) == FAASCTL_DONE
        && replay_start(&r) == FAASCTL_DONE)
    {
        replay_talk(&r);
        rc = replay_tell(&r);
    }

    faasctl_core_close(&r.dump);

    if (r.code != -1) {
        close(r.code);
    }

    if (r.environment != -1) {
        close(r.environment);
    }

    free(r.out.data);
    free(r.in.data);
    free(r.answer.data);

    return rc;
}


/* what it takes, and whether it is what it was */

static int
replay_open(replay_t *r)
{
    char         path[PATH_MAX], self[PATH_MAX];
    ssize_t      n;
    const char  *sha256;

    if (strcmp(faasctl_core_value(&r->dump, "request"), "running") != 0) {
        (void) fprintf(stderr, "faasctl: %s: it was at no request\n",
                       r->dump.id);
        return FAASCTL_FAILED;
    }

    sha256 = faasctl_core_value(&r->dump, "version");
    (void) snprintf(path, sizeof(path), "%s/store/%s", faasctl.state, sha256);
    r->code = open(path, O_RDONLY|O_NOFOLLOW|O_CLOEXEC);

    if (r->code == -1) {
        (void) fprintf(stderr, "faasctl: \"%s\": %s\n", path,
                       strerror(errno));
        return FAASCTL_FAILED;
    }

    if (!replay_check(r->code, sha256)) {
        (void) fprintf(stderr, "faasctl: \"%s\" has not the content that its "
                       "name says\n", path);
        return FAASCTL_FAILED;
    }

    r->environment = openat(r->dump.directory, "environment",
                            O_RDONLY|O_NOFOLLOW|O_CLOEXEC);

    if (r->environment == -1) {
        (void) fprintf(stderr, "faasctl: %s: its environment: %s\n",
                       r->dump.id, strerror(errno));
        return FAASCTL_FAILED;
    }

    /* the host's; or beside us */

    (void) snprintf(r->program, sizeof(r->program), "%s",
                    faasctl_core_value(&r->dump, "zygote"));

    if (access(r->program, X_OK) == 0) {
        return FAASCTL_DONE;
    }

    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';

    n = snprintf(r->program, sizeof(r->program), "%s/" REPLAY_PROGRAM,
                 dirname(self));

    if (n < 0 || n >= (int) sizeof(r->program)
        || access(r->program, X_OK) == -1)
    {
        (void) fprintf(stderr, "faasctl: there is no " REPLAY_PROGRAM
                       " where the host had it, nor beside faasctl\n");
        return FAASCTL_FAILED;
    }

    return FAASCTL_DONE;
}


static int
replay_check(int fd, const char *sha256)
{
    char      hex[2 * SHA256_SIZE + 1];
    size_t    i;
    ssize_t   n;
    uint8_t   digest[SHA256_SIZE];
    sha256_t  sum;

    static char  buf[65536];

    sha256_init(&sum);

    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        sha256_update(&sum, buf, (size_t) n);
    }

    sha256_final(&sum, digest);

    for (i = 0; i < SHA256_SIZE; i++) {
        (void) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }

    return n == 0 && strcmp(hex, sha256) == 0;
}


static int
replay_start(replay_t *r)
{
    int  pair[2], begin[2], fds[4];

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, pair) == -1) {
        perror("faasctl: socketpair");
        return FAASCTL_FAILED;
    }

    if (pipe2(begin, O_CLOEXEC) == -1) {
        perror("faasctl: pipe");
        close(pair[0]);
        close(pair[1]);
        return FAASCTL_FAILED;
    }

    fds[REPLAY_FD_CODE - REPLAY_FD_CODE] = r->code;
    fds[REPLAY_FD_REQUEST - REPLAY_FD_CODE] = pair[1];
    fds[REPLAY_FD_ENVIRONMENT - REPLAY_FD_CODE] = r->environment;
    fds[REPLAY_FD_BEGIN - REPLAY_FD_CODE] = begin[1];

    (void) fflush(NULL);
    r->pid = fork();

    if (r->pid == 0) {
        replay_exec(r, fds);
    }

    close(pair[1]);
    close(begin[1]);

    if (r->pid == -1) {
        perror("faasctl: fork");
        close(pair[0]);
        close(begin[0]);
        return FAASCTL_FAILED;
    }

    r->request = pair[0];
    r->begin = begin[0];

    (void) signal(SIGPIPE, SIG_IGN);

    if (faasctl.gdb) {
        (void) signal(SIGINT, SIG_IGN);    /* gdb's */
    }

    return FAASCTL_DONE;
}


/* in the child */

static void
replay_exec(replay_t *r, const int *fds)
{
    int    i, n, above[4];
    char  *argv[16];

    /* out of the way of where they go */

    for (i = 0; i < 4; i++) {
        above[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, REPLAY_FD_END + 16);

        if (above[i] == -1) {
            perror("faasctl: fcntl");
            _exit(127);
        }
    }

    for (i = 0; i < 4; i++) {
        if (dup2(above[i], REPLAY_FD_CODE + i) == -1) {
            perror("faasctl: dup2");
            _exit(127);
        }
    }

    n = 0;

    if (faasctl.gdb) {
        argv[n++] = strdup("gdb");
        argv[n++] = strdup("-q");
        argv[n++] = strdup("-ex");
        argv[n++] = strdup("break " REPLAY_BREAKPOINT);
        argv[n++] = strdup("--args");

    } else {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    }

    argv[n++] = r->program;
    argv[n++] = strdup("--replay");
    argv[n++] = strdup(faasctl_core_value(&r->dump, "function"));
    argv[n++] = strdup(faasctl_core_value(&r->dump, "uid"));
    argv[n++] = strdup(faasctl_core_value(&r->dump, "gid"));
    argv[n++] = strdup(faasctl.gdb ? "0"
                       : faasctl_core_value(&r->dump, "timeout_ms"));
    argv[n] = NULL;

    (void) execvp(argv[0], argv);

    (void) fprintf(stderr, "faasctl: \"%s\": %s\n", argv[0],
                   strerror(errno));
    _exit(127);
}


/* -- FastCGI --------------------------------------------------------------- */

static void
replay_encode(replay_t *r)
{
    size_t          name, value;
    const char     *p;
    replay_bytes_t  params;

    static const char  begin[8] = { 0, 1, 0 };    /* responder, and close */

    memset(&params, 0, sizeof(params));

    for (p = faasctl_core_next(&r->dump, NULL); p != NULL;
         p = faasctl_core_next(&r->dump, p))
    {
        name = strcspn(p, "=");

        if (p[name] != '=') {
            continue;
        }

        value = strlen(p + name + 1);
        replay_length(&params, name);
        replay_length(&params, value);
        replay_add(&params, p, name);
        replay_add(&params, p + name + 1, value);
    }

    replay_record(&r->out, REPLAY_BEGIN, begin, sizeof(begin));
    replay_stream(&r->out, REPLAY_PARAMS, params.data, params.size);
    replay_stream(&r->out, REPLAY_STDIN, r->dump.body.data,
                  r->dump.body.size);

    free(params.data);
}


static void
replay_stream(replay_bytes_t *b, int type, const char *data, size_t n)
{
    size_t  part;

    for ( /* void */ ; n > 0; n -= part, data += part) {
        part = n < REPLAY_RECORD ? n : REPLAY_RECORD;
        replay_record(b, type, data, part);
    }

    replay_record(b, type, "", 0);
}


static void
replay_record(replay_bytes_t *b, int type, const char *data, size_t n)
{
    char  head[8];

    head[0] = 1;
    head[1] = (char) type;
    head[2] = 0;
    head[3] = 1;
    head[4] = (char) (n >> 8);
    head[5] = (char) n;
    head[6] = 0;
    head[7] = 0;

    replay_add(b, head, sizeof(head));
    replay_add(b, data, n);
}


static void
replay_length(replay_bytes_t *b, size_t n)
{
    char  length[4];

    if (n < 128) {
        length[0] = (char) n;
        replay_add(b, length, 1);
        return;
    }

    length[0] = (char) (n >> 24 | 0x80);
    length[1] = (char) (n >> 16);
    length[2] = (char) (n >> 8);
    length[3] = (char) n;

    replay_add(b, length, 4);
}


static void
replay_add(replay_bytes_t *b, const char *data, size_t n)
{
    char    *p;
    size_t   room;

    if (n == 0) {
        return;
    }

    if (b->room - b->size < n) {
        room = 2 * b->room > b->size + n ? 2 * b->room : b->size + n;
        p = realloc(b->data, room);

        if (p == NULL) {
            (void) fprintf(stderr, "faasctl: out of memory\n");
            exit(FAASCTL_FAILED);
        }

        b->data = p;
        b->room = room;
    }

    memcpy(b->data + b->size, data, n);
    b->size += n;
}


/*
 * Writes the request and reads the answer, both as it goes, to the end of the
 * connection; kills who takes longer than the function had, unless gdb is
 * there.
 */

static void
replay_talk(replay_t *r)
{
    int            n, ms;
    size_t         sent;
    ssize_t        rc;
    int64_t        deadline, timeout;
    struct pollfd  pfd[2];

    static char    buf[65536];

    replay_encode(r);
    (void) fcntl(r->request, F_SETFL, O_RDWR|O_NONBLOCK);

    timeout = atoll(faasctl_core_value(&r->dump, "timeout_ms"));
    deadline = replay_now() + REPLAY_START_MS;
    sent = 0;

    for ( ;; ) {
        pfd[0].fd = r->request;
        pfd[0].events = POLLIN | (sent < r->out.size ? POLLOUT : 0);
        pfd[1].fd = r->begin;
        pfd[1].events = 0;

        ms = replay_wait_ms(r, deadline);
        n = ms == 0 ? 0 : poll(pfd, 2, ms);

        if (n == 0) {
            r->late = 1;
            (void) kill(r->pid, SIGKILL);
            break;
        }

        if (n == -1) {
            continue;
        }

        if (pfd[1].revents) {
            close(r->begin);
            r->begin = -1;
            deadline = replay_now() + timeout;
        }

        if (pfd[0].revents & POLLOUT) {
            rc = write(r->request, r->out.data + sent, r->out.size - sent);

            if (rc > 0) {
                sent += (size_t) rc;

            } else if (errno != EAGAIN && errno != EINTR) {
                sent = r->out.size;
            }
        }

        if (pfd[0].revents & (POLLIN|POLLHUP|POLLERR)) {
            rc = read(r->request, buf, sizeof(buf));

            if (rc > 0) {
                replay_add(&r->in, buf, (size_t) rc);

            } else if (rc == 0 || (errno != EAGAIN && errno != EINTR)) {
                break;
            }
        }
    }

    close(r->request);

    if (r->begin != -1) {
        close(r->begin);
    }

    while (waitpid(r->pid, &r->status, 0) == -1 && errno == EINTR) {
        /* void */
    }
}


static int
replay_wait_ms(const replay_t *r, int64_t deadline)
{
    int64_t  left;

    if (faasctl.gdb) {
        return -1;
    }

    left = deadline - replay_now();

    (void) r;

    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int) left;
}


static int64_t
replay_now(void)
{
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}


/* 1: END_REQUEST is among them */

static int
replay_decode(replay_t *r)
{
    size_t                n, at;
    const unsigned char  *p;

    for (at = 0; r->in.size - at >= 8; at += n) {
        p = (const unsigned char *) r->in.data + at;
        n = 8 + (size_t) (p[4] << 8 | p[5]) + p[6];

        if (r->in.size - at < n) {
            break;
        }

        switch (p[1]) {

        case REPLAY_STDOUT:
            replay_add(&r->answer, (const char *) p + 8,
                       (size_t) (p[4] << 8 | p[5]));
            break;

        case REPLAY_STDERR:
            (void) fwrite(p + 8, 1, (size_t) (p[4] << 8 | p[5]), stderr);
            break;

        case REPLAY_END:
            return 1;

        default:
            break;
        }
    }

    return 0;
}


static int
replay_tell(replay_t *r)
{
    int           whole, rc, status;
    char          how[DEATH_HOW_SIZE];
    size_t        body;
    faas_bytes_t  data;
    json_text_t   json;

    whole = replay_decode(r);
    status = replay_status(r, &body);

    if (faasctl.gdb) {
        (void) snprintf(how, sizeof(how), "gdb has ended");

    } else if (r->late) {
        (void) snprintf(how, sizeof(how), "was killed: it took longer than "
                        "its timeout");

    } else {
        death_describe(r->status, how, sizeof(how));
    }

    rc = whole ? FAASCTL_DONE : FAASCTL_FAILED;
    data.data = r->answer.data ? r->answer.data + body : "";
    data.size = r->answer.size - body;

    if (!faasctl.json) {
        (void) fwrite(r->answer.data ? r->answer.data : "", 1,
                      r->answer.size, stdout);
        (void) fflush(stdout);
        (void) fprintf(stderr, "%s%s: it %s, the answer is %s\n",
                       r->answer.size ? "\n" : "", r->dump.id, how,
                       whole ? "whole" : r->answer.size ? "cut" : "missing");
        return rc;
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "{");
    faasctl_json_text(&json, "id", faas_text(r->dump.id));
    faasctl_json_text(&json, "how", faas_text(how));

    if (!faasctl.gdb && WIFEXITED(r->status)) {
        faasctl_json_number(&json, "exit", WEXITSTATUS(r->status));

    } else if (!faasctl.gdb) {
        faasctl_json_number(&json, "signal", WTERMSIG(r->status));
    }

    faasctl_json_text(&json, "answer", faas_text(whole ? "whole"
                                       : r->answer.size ? "cut" : "missing"));

    if (r->answer.size) {
        faasctl_json_number(&json, "status", status);
        faasctl_json_text(&json, "headers",
                          (faas_bytes_t) { r->answer.data, body });
        faasctl_json_data(&json, "body", data);
    }

    json_put(&json, "}");

    if (faasctl_json_print(&json) != FAASCTL_DONE) {
        rc = FAASCTL_FAILED;
    }

    json_free(&json);

    return rc;
}


/* the status, and where the body begins */

static int
replay_status(const replay_t *r, size_t *body)
{
    const char  *p, *end;

    *body = r->answer.size;

    if (r->answer.data == NULL) {
        return 0;
    }

    end = memmem(r->answer.data, r->answer.size, "\r\n\r\n", 4);

    if (end != NULL) {
        *body = (size_t) (end - r->answer.data) + 4;
    }

    p = memmem(r->answer.data, *body, "Status: ", 8);

    return p != NULL && *body - (size_t) (p - r->answer.data) >= 11
           ? atoi(p + 8) : 200;
}
