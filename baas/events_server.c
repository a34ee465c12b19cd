
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "events.h"
#include "events_buffer.h"
#include "events_server.h"
#include "log.h"
#include "loop.h"


#define SERVER_READ         (64 * 1024)
#define SERVER_ACCEPTS      64          /* in a turn */
#define SERVER_CONNECTIONS  8192
#define SERVER_STRANGERS    512
#define SERVER_HELLO_MS     10000
#define SERVER_UNKNOWN_MS   1000        /* for a function to be told of */
#define SERVER_STALL_MS     30000       /* for an answer to be taken */
#define SERVER_HELLO_SIZE   1024
#define SERVER_SEND_SIZE    (2 * FAAS_MESSAGE_MAX)
#define SERVER_BACKLOG      (256 * 1024)      /* then it is not read */
#define SERVER_OWED         4096              /* likewise */


typedef enum {
    SERVER_STRANGER = 0,
    SERVER_FUNCTION,
    SERVER_ADMIN
} server_peer_e;


struct events_connection_s {
    loop_event_t              event;
    server_peer_e             peer;
    char                      function[FAAS_NAME_SIZE];
    events_buffer_t           in;          /* the beginning of a frame, and
                                              what was not looked at yet */
    events_buffer_t           out;
    int                       owed;        /* answers to come */
    int                       ending;      /* closed when `out` is empty */
    int                       unknown;     /* its HELLO is looked at again */
    int                       refused;     /* when it still is: no more */
    uint32_t                  mask;
    loop_timer_t              timer;       /* HELLO, or answers not taken */
    loop_timer_t              patience;    /* with an unknown function */
    loop_job_t                job;         /* to write, to read on */

    events_connection_t      *next;
    events_connection_t      *prev;
};


static void server_accept(void *data, uint32_t mask);
static void server_accept_again(void *data);
static void server_open(int fd);
static server_peer_e server_peer(int fd);
static void server_drop_stranger(void);
static void connection_event(void *data, uint32_t mask);
static void connection_read(events_connection_t *c);
static int connection_parse(events_connection_t *c, events_buffer_t *b);
static int connection_frame(events_connection_t *c, const wire_head_t *head,
    faas_bytes_t payload);
static size_t connection_limit(const events_connection_t *c);
static int connection_hello(events_connection_t *c, const wire_head_t *head,
    faas_bytes_t payload);
static int connection_refuse(events_connection_t *c, const wire_head_t *head,
    const char *name);
static void connection_known(events_connection_t *c);
static void connection_impatient(void *data);
static int connection_token_is(const events_function_t *f, faas_bytes_t token);
static int connection_is_held(const events_connection_t *c);
static void connection_turn(void *data);
static int connection_write(events_connection_t *c);
static void connection_poll(events_connection_t *c);
static void connection_late(void *data);
static void connection_close(events_connection_t *c);


static struct {
    loop_event_t              event;
    int                       fd;
    loop_timer_t              again;       /* accept() failed */
    events_connection_t       all;         /* a head: next, prev */
    size_t                    n;
    size_t                    strangers;
    int                       stopped;
    uint64_t                  warn_ms;     /* of strangers: not before */
    char                      scratch[SERVER_READ];
} server = {
    .event.fd = -1,
    .fd = -1,
    .all = { .next = &server.all, .prev = &server.all }
};


int
events_server_init(int fd)
{
    server.fd = fd;
    server.event.handler = server_accept;
    server.again.handler = server_accept_again;

    events_send_init();

    if (loop_add(&server.event, fd, EPOLLIN) == -1) {
        log_line(LOG_EMERG, errno, "baas.sock cannot be polled");
        return -1;
    }

    return 0;
}


void
events_server_stop(void)
{
    events_connection_t  *c;

    server.stopped = 1;
    (void) loop_remove(&server.event);
    loop_disarm(&server.again);

    for (c = server.all.next; c != &server.all; c = c->next) {
        connection_poll(c);
    }
}


void
events_server_settings(void)
{
    events_connection_t  *c;

    for (c = server.all.next; c != &server.all; c = c->next) {

        if (c->unknown) {
            connection_known(c);
        }
    }
}


void
events_server_cleanup(void)
{
    while (server.all.next != &server.all) {
        connection_close(server.all.next);
    }
}


const char *
events_connection_function(const events_connection_t *c)
{
    return c->peer == SERVER_FUNCTION ? c->function : NULL;
}


void
events_connection_answer(events_connection_t *c, uint32_t operation,
    uint64_t serial, int code, const wire_writer_t *fields)
{
    wire_head_t  head;

    if (c == NULL) {
        return;
    }

    memset(&head, 0, sizeof(head));
    head.magic = WIRE_MAGIC;
    head.serial = serial;
    head.operation = operation;
    head.code = code;
    head.length = fields && code == FAAS_OK ? (uint32_t) fields->size : 0;

    if (events_buffer_append(&c->out, &head, sizeof(head)) != FAAS_OK
        || (head.length
            && events_buffer_append(&c->out, fields->data, head.length)
               != FAAS_OK))
    {
        /* half an answer is none */
        c->ending = 1;
        c->out.start = c->out.end;
    }

    loop_post(&c->job);
}


void
events_connection_owes(events_connection_t *c, int n)
{
    c->owed += n;
}


static void
server_accept(void *data, uint32_t mask)
{
    int       fd;
    unsigned  i;

    (void) data;
    (void) mask;

    for (i = 0; i < SERVER_ACCEPTS; i++) {
        fd = accept4(server.fd, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (fd != -1) {
            server_open(fd);
            continue;
        }

        if (errno == EINTR || errno == ECONNABORTED) {
            continue;
        }

        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            log_line(LOG_CRIT, errno, "accept() on baas.sock failed");
            (void) loop_remove(&server.event);
            loop_arm(&server.again, loop_now_ms() + 500);
        }

        return;
    }
}


static void
server_accept_again(void *data)
{
    (void) data;

    (void) loop_add(&server.event, server.fd, EPOLLIN);
}


static void
server_open(int fd)
{
    events_connection_t  *c;

    if (server.n >= SERVER_CONNECTIONS) {

        if (loop_now_ms() >= server.warn_ms) {
            server.warn_ms = loop_now_ms() + 1000;
            log_line(LOG_WARN, 0, "too many connections to baas.sock");
        }

        close(fd);
        return;
    }

    c = loop_alloc(sizeof(*c));
    c->event.handler = connection_event;
    c->event.data = c;
    c->job.handler = connection_turn;
    c->job.data = c;
    c->timer.handler = connection_late;
    c->timer.data = c;
    c->patience.handler = connection_impatient;
    c->patience.data = c;
    c->peer = server_peer(fd);
    c->mask = EPOLLIN;

    if (loop_add(&c->event, fd, c->mask) == -1) {
        log_line(LOG_CRIT, errno, "a connection to baas.sock is dropped");
        close(fd);
        free(c);
        return;
    }

    c->next = &server.all;
    c->prev = server.all.prev;
    c->prev->next = c;
    server.all.prev = c;
    server.n++;

    if (c->peer == SERVER_STRANGER) {
        loop_arm(&c->timer, loop_now_ms() + SERVER_HELLO_MS);

        if (++server.strangers > SERVER_STRANGERS) {
            server_drop_stranger();
        }
    }
}


/*
 * Root, and who owns the host.  Where root does, that is not our own user:
 * functions run as that one too, and are what their token says.
 */

static server_peer_e
server_peer(int fd)
{
    socklen_t     length;
    struct stat   st;
    struct ucred  cred;

    length = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) == -1) {
        return SERVER_STRANGER;
    }

    if (cred.uid == 0) {
        return SERVER_ADMIN;
    }

    return events.settings && stat(events.settings->state, &st) == 0
           && st.st_uid == cred.uid ? SERVER_ADMIN : SERVER_STRANGER;
}


/* the one that has been silent longest */

static void
server_drop_stranger(void)
{
    events_connection_t  *c;

    for (c = server.all.next; c != &server.all; c = c->next) {

        if (c->peer == SERVER_STRANGER) {
            connection_close(c);
            return;
        }
    }
}


static void
connection_event(void *data, uint32_t mask)
{
    events_connection_t  *c = data;

    if (mask & EPOLLOUT) {

        if (connection_write(c) != FAAS_OK) {
            connection_close(c);
            return;
        }

        loop_post(&c->job);
    }

    if (mask & (EPOLLIN|EPOLLHUP|EPOLLERR)) {
        connection_read(c);
    }
}


/* closes c when it came to its end, or said what it may not */

static void
connection_read(events_connection_t *c)
{
    ssize_t          n;
    events_buffer_t  fresh;

    n = recv(c->event.fd, server.scratch, sizeof(server.scratch), 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n == 0 && !c->ending && (c->owed || c->out.start < c->out.end)) {
        /* it asks no more, but may wait for answers */
        c->ending = 1;
        connection_poll(c);
        return;
    }

    if (n <= 0) {
        connection_close(c);
        return;
    }

    if (c->in.end > c->in.start) {

        if (events_buffer_append(&c->in, server.scratch, (size_t) n) != FAAS_OK
            || connection_parse(c, &c->in) != FAAS_OK)
        {
            connection_close(c);
            return;
        }

        if (c->in.start == c->in.end) {
            events_buffer_release(&c->in);
        }

    } else {
        fresh.data = server.scratch;
        fresh.start = 0;
        fresh.end = (size_t) n;

        if (connection_parse(c, &fresh) != FAAS_OK
            || events_buffer_append(&c->in, fresh.data + fresh.start,
                             fresh.end - fresh.start)
               != FAAS_OK)
        {
            connection_close(c);
            return;
        }
    }

    connection_poll(c);
}


/* all frames that are whole, as long as answers are taken */

static int
connection_parse(events_connection_t *c, events_buffer_t *b)
{
    int           rc;
    size_t        n;
    wire_head_t   head;
    faas_bytes_t  payload;

    while (!connection_is_held(c)) {
        n = b->end - b->start;

        if (n < sizeof(head)) {
            break;
        }

        memcpy(&head, b->data + b->start, sizeof(head));

        if (wire_head_check(&head) != FAAS_OK
            || head.length > connection_limit(c))
        {
            log_line(LOG_INFO, 0, "a malformed frame on baas.sock");
            return FAAS_ERROR;
        }

        if (n - sizeof(head) < head.length) {
            break;
        }

        payload.data = b->data + b->start + sizeof(head);
        payload.size = head.length;

        rc = connection_frame(c, &head, payload);

        if (rc == FAAS_EBUSY) {
            break;               /* looked at again later */
        }

        b->start += sizeof(head) + head.length;

        if (rc != FAAS_OK) {
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


static int
connection_frame(events_connection_t *c, const wire_head_t *head,
    faas_bytes_t payload)
{
    if (head->operation == WIRE_HELLO) {
        return connection_hello(c, head, payload);
    }

    if (c->peer == SERVER_STRANGER) {
        return FAAS_ERROR;
    }

    events_operation(c, head, payload);

    return FAAS_OK;
}


static size_t
connection_limit(const events_connection_t *c)
{
    if (c->peer == SERVER_STRANGER) {
        return SERVER_HELLO_SIZE;
    }

    if (c->peer == SERVER_ADMIN || strcmp(c->function, WIRE_CALLS) == 0) {
        return WIRE_PAYLOAD;
    }

    return SERVER_SEND_SIZE;
}


/* name, token.  An admin who says it is that function from then on. */

static int
connection_hello(events_connection_t *c, const wire_head_t *head,
    faas_bytes_t payload)
{
    char                      name[FAAS_NAME_SIZE];
    faas_bytes_t              token;
    wire_reader_t             r;
    const events_function_t  *f;

    wire_read(&r, payload);
    (void) wire_get_text(&r, name, sizeof(name));
    token = wire_get(&r);

    if (r.failed || c->peer == SERVER_FUNCTION) {
        return FAAS_ERROR;
    }

    f = events_settings_function(events.settings, name);

    if (!connection_token_is(f, token)) {
        return connection_refuse(c, head, name);
    }

    loop_disarm(&c->patience);

    if (c->peer == SERVER_STRANGER) {
        server.strangers--;
        loop_disarm(&c->timer);
    }

    c->peer = SERVER_FUNCTION;
    memcpy(c->function, name, sizeof(name));
    events_connection_answer(c, head->operation, head->serial, FAAS_OK, NULL);

    return FAAS_OK;
}


/*
 * A function may have been called before we were told of it: then the next
 * settings say who it is.  FAAS_EBUSY: they are waited for.
 */

static int
connection_refuse(events_connection_t *c, const wire_head_t *head,
    const char *name)
{
    if (!c->refused) {
        c->unknown = 1;

        if (!loop_is_armed(&c->patience)) {
            loop_arm(&c->patience, loop_now_ms() + SERVER_UNKNOWN_MS);
        }

        return FAAS_EBUSY;
    }

    /* who tries often does not fill the log */

    if (loop_now_ms() >= server.warn_ms) {
        server.warn_ms = loop_now_ms() + 1000;
        log_line(LOG_WARN, 0, "a connection to baas.sock is not of "
                 "function \"%s\", as it says", name);
    }

    c->ending = 1;
    events_connection_answer(c, head->operation, head->serial,
                             FAAS_EDENIED, NULL);

    return FAAS_OK;
}


/* maybe: its HELLO is the first thing that was not looked at */

static void
connection_known(events_connection_t *c)
{
    c->unknown = 0;
    loop_post(&c->job);
}


static void
connection_impatient(void *data)
{
    events_connection_t  *c = data;

    c->refused = 1;
    connection_known(c);
}


/* in a time that does not tell how much of it is right, or whether there is
   such a function */

static int
connection_token_is(const events_function_t *f, faas_bytes_t token)
{
    size_t                i, n;
    const char           *expected;
    unsigned char         diff;
    const unsigned char  *p;

    expected = f ? f->token : events.settings->token;
    n = strlen(expected);
    p = token.data;
    diff = f == NULL || n == 0 || token.size != n;

    for (i = 0; i < n; i++) {
        diff |= (unsigned char) expected[i] ^ (token.size == n ? p[i] : 0);
    }

    return diff == 0;
}


/* is it not read for now? */

static int
connection_is_held(const events_connection_t *c)
{
    return c->ending || c->unknown || server.stopped
           || c->owed >= SERVER_OWED
           || c->out.end - c->out.start > SERVER_BACKLOG;
}


/* at the end of a turn: answers go, and what was held up is looked at */

static void
connection_turn(void *data)
{
    events_connection_t  *c = data;

    if (connection_write(c) != FAAS_OK) {
        connection_close(c);
        return;
    }

    if (c->in.end > c->in.start && !connection_is_held(c)) {

        if (connection_parse(c, &c->in) != FAAS_OK) {
            connection_close(c);
            return;
        }

        if (c->in.start == c->in.end) {
            events_buffer_release(&c->in);
        }
    }

    connection_poll(c);
}


/* FAAS_ERROR: it is to be closed */

static int
connection_write(events_connection_t *c)
{
    ssize_t           n;
    events_buffer_t  *b;

    b = &c->out;

    while (b->start < b->end) {
        n = send(c->event.fd, b->data + b->start, b->end - b->start,
                 MSG_NOSIGNAL|MSG_DONTWAIT);

        if (n == -1) {

            if (errno == EINTR) {
                continue;
            }

            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                return FAAS_ERROR;
            }

            if (!loop_is_armed(&c->timer)) {
                loop_arm(&c->timer, loop_now_ms() + SERVER_STALL_MS);
            }

            return FAAS_OK;
        }

        b->start += (size_t) n;

        if (c->peer != SERVER_STRANGER) {
            loop_disarm(&c->timer);
        }
    }

    events_buffer_release(b);

    return c->ending && c->owed == 0 ? FAAS_ERROR : FAAS_OK;
}


static void
connection_poll(events_connection_t *c)
{
    uint32_t  mask;

    mask = (connection_is_held(c) ? 0 : EPOLLIN)
           | (c->out.start < c->out.end ? EPOLLOUT : 0);

    if (mask != c->mask && loop_change(&c->event, mask) == 0) {
        c->mask = mask;
    }
}


static void
connection_late(void *data)
{
    connection_close(data);
}


static void
connection_close(events_connection_t *c)
{
    int  fd;

    if (c->owed) {
        events_send_forget(c);
    }

    fd = loop_remove(&c->event);

    if (fd != -1) {
        close(fd);
    }

    if (c->peer == SERVER_STRANGER) {
        server.strangers--;
    }

    c->next->prev = c->prev;
    c->prev->next = c->next;
    server.n--;

    loop_disarm(&c->timer);
    loop_disarm(&c->patience);
    loop_withdraw(&c->job);
    events_buffer_release(&c->in);
    events_buffer_release(&c->out);
    free(c);
}
