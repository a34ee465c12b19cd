
/*
 * A function without manners: it gets at the connection that nginx has to its
 * instance, and writes there what the request's body holds.
 *
 *   pieces=N    in pieces of N bytes, each a write of its own
 *   again=N     the whole of it so many times
 *   before=MS   after so long
 *   late=MS     by a thread, so long after the handler has returned
 *   gate=PATH   the thread waits for this file first; so does stall
 *   note=PATH   the thread makes this file when it has written
 *   then=       return (its own answer follows, as from any function), exit,
 *               shut (the connection), hang, quiet (it returns, but what it
 *               answers goes nowhere)
 *   stall=MS    it is stopped so long, and until the file of gate is there,
 *               between its return and the answer that the runtime sends
 *   read=0      reads nothing of the body: writes nothing
 *   page=       first forges the page that it shares with nginx: ended (it
 *               says that it does not run), begun (it has begun much more),
 *               unbegun (it has not begun this one)
 *   first=PATH  waits for this file before anything else
 *   ready=N     first says of every slot, and each of N generations, by a
 *               child that is in no slot, that it is ready
 *   reports=N   first sends reports of every kind, about every slot, of N
 *               generations, and such that are none
 *   child=      first forks one that accepts connections beside it: hold (and
 *               says nothing), answer (what the body holds)
 *
 * Without a body it is well-behaved: text=TEXT is the answer.  With START
 * (env) an instance is not ready before there is the file that it names.
 */


#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <faas.h>
#include <fcgiapp.h>

#include "faas_page.h"
#include "message.h"


/* where the loop of instance.c has the page, before the request */
#define RUDE_PAGE  (-7)

#define RUDE_SLOTS  256

#define RUDE_DESCRIPTORS  256


/* What a thread writes when the handler has returned. */

typedef struct {
    int                       fd;
    long                      ms;
    char                     *gate;        /* or NULL */
    char                     *note;        /* or NULL */
    size_t                    n;
    char                      data[];
} rude_late_t;


/* What libfcgi calls to send the answer, and for what it waits before. */

typedef struct {
    void                    (*send)(FCGX_Stream *out, int close);
    long                      ms;
    char                     *gate;        /* or NULL */
} rude_stall_t;


static rude_stall_t  rude_stall;


static long
rude_number(faas_request_t *r, const char *name, long absent)
{
    const char  *p;

    p = faas_query(r, name, NULL);

    return p ? strtol(p, NULL, 10) : absent;
}


static int
rude_is(faas_request_t *r, const char *name, const char *value)
{
    const char  *p;

    p = faas_query(r, name, NULL);

    return p && strcmp(p, value) == 0;
}


/* malloc()ed; NULL when there is none */

static char *
rude_copy(faas_request_t *r, const char *name)
{
    const char  *p;

    p = faas_query(r, name, NULL);

    return p ? strdup(p) : NULL;
}


static void
rude_sleep(long ms)
{
    struct timespec  nap;

    nap.tv_sec = ms / 1000;
    nap.tv_nsec = ms % 1000 * 1000000;

    while (nanosleep(&nap, &nap) == -1 && errno == EINTR) {
        /* void */
    }
}


static int
rude_option(int fd, int option)
{
    int        value;
    socklen_t  n;

    n = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, option, &value, &n) == -1 ? -1 : value;
}


/* a stream that listens nowhere, and whose other end is still there */

static int
rude_is_connection(int fd)
{
    struct pollfd  pfd;

    pfd.fd = fd;
    pfd.events = POLLRDHUP;

    return rude_option(fd, SO_TYPE) == SOCK_STREAM
           && rude_option(fd, SO_ACCEPTCONN) == 0
           && poll(&pfd, 1, 0) == 0;
}


static int
rude_is_listening(int fd)
{
    return rude_option(fd, SO_ACCEPTCONN) == 1;
}


static int
rude_is_channel(int fd)
{
    return rude_option(fd, SO_TYPE) == SOCK_SEQPACKET;
}


static int
rude_find(int (*is)(int fd))
{
    int  fd;

    for (fd = RUDE_DESCRIPTORS; fd > STDERR_FILENO; fd--) {

        if (is(fd)) {
            return fd;
        }
    }

    return -1;
}


static void
rude_write(int fd, const char *data, size_t n, size_t piece)
{
    size_t   part;
    ssize_t  sent;

    while (n) {
        part = piece && piece < n ? piece : n;
        sent = send(fd, data, part, MSG_NOSIGNAL);

        if (sent == -1) {
            return;
        }

        data += sent;
        n -= (size_t) sent;
    }
}


static void
rude_wait(long ms, const char *gate)
{
    rude_sleep(ms);

    while (gate && access(gate, F_OK) == -1) {
        rude_sleep(1);
    }
}


static void *
rude_later(void *data)
{
    rude_late_t  *late = data;

    rude_wait(late->ms, late->gate);

    rude_write(late->fd, late->data, late->n, 0);

    if (late->note) {
        (void) close(open(late->note, O_CREAT|O_WRONLY, 0666));
    }

    free(late->gate);
    free(late->note);
    free(late);

    return NULL;
}


static int
rude_start_late(faas_request_t *r, int fd, const char *data, size_t n)
{
    pthread_t     thread;
    rude_late_t  *late;

    late = malloc(sizeof(rude_late_t) + n);
    if (late == NULL) {
        return -1;
    }

    late->fd = fd;
    late->ms = rude_number(r, "late", 0);
    late->n = n;
    memcpy(late->data, data, n);

    late->gate = rude_copy(r, "gate");
    late->note = rude_copy(r, "note");

    if (pthread_create(&thread, NULL, rude_later, late) != 0) {
        free(late->gate);
        free(late->note);
        free(late);
        return -1;
    }

    return pthread_detach(thread);
}


static void
rude_stalled(FCGX_Stream *out, int close)
{
    rude_wait(rude_stall.ms, rude_stall.gate);

    free(rude_stall.gate);
    out->emptyBuffProc = rude_stall.send;
    out->emptyBuffProc(out, close);
}


/* a request begins with what libfcgi has of it */

static void
rude_start_stall(faas_request_t *r)
{
    FCGX_Stream  *out;

    if (faas_query(r, "stall", NULL) == NULL) {
        return;
    }

    out = ((FCGX_Request *) (void *) r)->out;

    rude_stall.ms = rude_number(r, "stall", 0);
    rude_stall.gate = rude_copy(r, "gate");
    rude_stall.send = out->emptyBuffProc;
    out->emptyBuffProc = rude_stalled;
}


static int
rude_forge_page(faas_request_t *r)
{
    faas_page_t  *page;

    if (faas_query(r, "page", NULL) == NULL) {
        return 0;
    }

    page = ((faas_page_t **) (void *) r)[RUDE_PAGE];

    if (page->begun != page->ended + 1) {
        faas_log(r, "rude: the page is not where it was");
        return -1;
    }

    if (rude_is(r, "page", "ended")) {
        page->ended = page->begun;

    } else if (rude_is(r, "page", "begun")) {
        page->begun += 1000;

    } else {
        page->begun--;
    }

    return 0;
}


static int
rude_forge_reports(long generations)
{
    int        channel;
    message_t  m;

    if (generations == 0) {
        return 0;
    }

    channel = rude_find(rude_is_channel);

    if (channel == -1) {
        return -1;
    }

    memset(&m, 0, sizeof(message_t));
    m.magic = MESSAGE_MAGIC;

    for (m.generation = 0; m.generation < (uint64_t) generations;
         m.generation++)
    {
        for (m.slot = 0; m.slot < RUDE_SLOTS; m.slot++) {

            for (m.type = 0; m.type <= MESSAGE_RETIRED + 1; m.type++) {
                (void) send(channel, &m, sizeof(message_t), MSG_NOSIGNAL);
            }
        }

        /* too short, of another form, and with more text than there is */

        (void) send(channel, &m, 7, MSG_NOSIGNAL);
        m.magic++;
        (void) send(channel, &m, sizeof(message_t), MSG_NOSIGNAL);
        m.magic--;
        m.text_length = 1 << 30;
        (void) send(channel, &m, sizeof(message_t), MSG_NOSIGNAL);
        m.text_length = 0;
    }

    return 0;
}


static int
rude_forge_ready(long generations)
{
    int        channel;
    pid_t      pid;
    message_t  m;

    if (generations == 0) {
        return 0;
    }

    channel = rude_find(rude_is_channel);
    pid = fork();

    if (channel == -1 || pid != 0) {
        return channel == -1 || pid == -1 ? -1
                                          : waitpid(pid, NULL, 0) != pid;
    }

    memset(&m, 0, sizeof(message_t));
    m.magic = MESSAGE_MAGIC;
    m.type = MESSAGE_READY;

    for (m.generation = 0; m.generation < (uint64_t) generations;
         m.generation++)
    {
        for (m.slot = 0; m.slot < RUDE_SLOTS; m.slot++) {
            (void) send(channel, &m, sizeof(message_t), MSG_NOSIGNAL);
        }
    }

    /* who reads it finds the sender there */

    rude_sleep(500);
    _exit(0);
}


static int
rude_fork(faas_request_t *r, const char *answer, size_t n)
{
    int            fd;
    pid_t          pid;
    struct pollfd  pfd;

    if (faas_query(r, "child", NULL) == NULL) {
        return 0;
    }

    pid = fork();

    if (pid != 0) {
        return pid == -1 ? -1 : 0;
    }

    pfd.fd = rude_find(rude_is_listening);
    pfd.events = POLLIN;

    for ( ;; ) {
        (void) poll(&pfd, 1, -1);
        fd = accept(pfd.fd, NULL, NULL);

        if (fd != -1 && rude_is(r, "child", "answer")) {
            rude_write(fd, answer, n, 0);
        }
    }
}


static void
rude_end(faas_request_t *r, int fd)
{
    if (rude_is(r, "then", "exit")) {
        _exit(0);
    }

    if (rude_is(r, "then", "shut")) {
        (void) shutdown(fd, SHUT_RDWR);
    }

    if (rude_is(r, "then", "quiet")) {
        (void) dup2(open("/dev/null", O_RDWR), fd);
    }

    while (rude_is(r, "then", "hang")) {
        (void) pause();
    }
}


static int
rude(faas_request_t *r)
{
    int          fd;
    long         i;
    size_t       n;
    const char  *body, *text;

    if (faas_content_length(r) == 0 || rude_is(r, "read", "0")) {
        text = faas_query(r, "text", NULL);

        return faas_printf(r, "%s", text ? text : "rude");
    }

    body = faas_body(r, 0, &n);
    fd = rude_find(rude_is_connection);

    if (faas_query(r, "first", NULL)) {
        rude_wait(0, faas_query(r, "first", NULL));
    }

    if (body == NULL || fd == -1 || rude_forge_page(r) != 0
        || rude_forge_ready(rude_number(r, "ready", 0)) != 0
        || rude_forge_reports(rude_number(r, "reports", 0)) != 0
        || rude_fork(r, body, n) != 0)
    {
        return -1;
    }

    rude_sleep(rude_number(r, "before", 0));

    if (faas_query(r, "late", NULL) != NULL) {
        return rude_start_late(r, fd, body, n)
               || faas_printf(r, "%s", faas_query(r, "text", NULL));
    }

    for (i = rude_number(r, "again", 1); i > 0; i--) {
        rude_write(fd, body, n, (size_t) rude_number(r, "pieces", 0));
    }

    rude_start_stall(r);
    rude_end(r, fd);

    return faas_printf(r, "%s", faas_query(r, "text", NULL)
                                ? faas_query(r, "text", NULL) : "rude");
}


static int
rude_after_fork(void)
{
    rude_wait(0, faas_config(NULL, "START"));

    return 0;
}


FAAS_FUNCTION(.handler = rude, .after_fork = rude_after_fork)
