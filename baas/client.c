
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "fd.h"


/* a buffer for answers that is kept */
#define CLIENT_KEEP       16384

/* after a connection was lost for the second time, and doubled after that */
#define CLIENT_PAUSE_MS   10
#define CLIENT_PAUSE_MAX  200

/* so often it may be lost while one set of questions is asked */
#define CLIENT_LOSSES     20

/* longest wait without a look at the clock */
#define CLIENT_POLL_MS    60000

/* of client_frame() */
#define CLIENT_MALFORMED  ((size_t) -1)


struct client_s {
    struct sockaddr_un        address;
    int                       fd;          /* -1: not connected */
    wire_writer_t             hello;       /* its payload */
    uint64_t                  serial;      /* of the last frame */
    uint64_t                  hello_serial;
    int64_t                   absent_ms;   /* nobody listens, known since;
                                              0: not known */
    char                     *in;          /* what was received, from the
                                              beginning of a frame */
    size_t                    in_length;
    size_t                    in_size;
};


/* One client_ask(). */

typedef struct {
    client_t                 *client;
    client_question_t        *q;
    size_t                    n;
    size_t                    left;        /* without a code */
    const baas_scope_t       *scope;
    wire_head_t               head;        /* of the frame that is sent */
    const faas_bytes_t       *payload;     /* likewise; NULL: none is */
    size_t                    offset;      /* bytes of it that are sent */
    size_t                    next;        /* question to be sent after it */
    faas_bytes_t              hello;       /* the client's, for payload */
} client_turn_t;


static int client_connect(client_t *c);
static int client_wait_absent(client_t *c, int64_t deadline_ms);
static void client_close(client_t *c);
static void client_trim(client_t *c);
static int client_exchange(client_turn_t *turn);
static int client_send(client_turn_t *turn);
static int client_has_next(client_turn_t *turn);
static int client_receive(client_turn_t *turn);
static int client_room(client_t *c);
static size_t client_frame(const client_t *c, size_t offset);
static int client_take(client_turn_t *turn, size_t n);
static void client_answer(client_turn_t *turn, client_question_t *q,
    int code, const char *payload, size_t n);
static void client_lose(client_turn_t *turn);
static void client_fail(client_turn_t *turn, int code);
static int client_may_repeat(uint32_t operation);
static void client_pause(int64_t ms, int64_t deadline_ms);
static int client_timeout(int64_t deadline_ms);
static int64_t client_now_ms(void);


client_t *
client_create(const char *path, const char *name, const char *token)
{
    client_t  *c;

    c = calloc(1, sizeof(client_t));
    if (c == NULL) {
        return NULL;
    }

    c->fd = -1;
    c->address.sun_family = AF_UNIX;

    if (name != NULL) {
        wire_put_text(&c->hello, name);
        wire_put_text(&c->hello, token);
    }

    /* a path that is too long is nobody's */

    if (c->hello.failed || strlen(path) >= sizeof(c->address.sun_path)) {
        client_destroy(c);
        return NULL;
    }

    (void) strcpy(c->address.sun_path, path);

    return c;
}


void
client_destroy(client_t *c)
{
    if (c == NULL) {
        return;
    }

    client_close(c);
    wire_free(&c->hello);
    free(c->in);
    free(c);
}


void
client_ask(client_t *c, client_question_t *q, size_t n,
    const baas_scope_t *scope)
{
    int            rc;
    size_t         i;
    unsigned       losses;
    int64_t        pause_ms;
    client_turn_t  turn;

    memset(&turn, 0, sizeof(client_turn_t));
    turn.client = c;
    turn.q = q;
    turn.n = n;
    turn.scope = scope;
    turn.left = n;

    for (i = 0; i < n; i++) {
        q[i].done = 0;
        q[i].serial = 0;
        q[i].answer.data = NULL;
        q[i].answer.size = 0;

        if (q[i].payload.size > WIRE_PAYLOAD) {
            client_answer(&turn, &q[i], FAAS_ETOOLARGE, NULL, 0);
        }
    }

    pause_ms = CLIENT_PAUSE_MS;
    losses = 0;

    while (turn.left) {
        rc = client_connect(c);

        if (rc == FAAS_EUNAVAILABLE
            && client_wait_absent(c, scope->deadline_ms) == FAAS_OK)
        {
            continue;
        }

        if (rc == FAAS_OK) {
            rc = client_exchange(&turn);
        }

        if (rc != FAAS_ERROR) {
            client_fail(&turn, rc);
            break;
        }

        /* lost: the first time it may just have been a restart */

        client_lose(&turn);

        if (++losses == CLIENT_LOSSES) {
            client_fail(&turn, FAAS_EUNAVAILABLE);
            break;
        }

        if (turn.left && losses > 1) {
            client_pause(pause_ms, scope->deadline_ms);
            pause_ms = pause_ms * 2 < CLIENT_PAUSE_MAX ? pause_ms * 2
                                                       : CLIENT_PAUSE_MAX;
        }
    }

    client_trim(c);
}


static int
client_connect(client_t *c)
{
    if (c->fd != -1) {
        return FAAS_OK;
    }

    c->fd = fd_high(socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK,
                           0));

    if (c->fd == -1) {
        return errno == ENOMEM || errno == ENOBUFS ? FAAS_EFULL
                                                   : FAAS_EUNAVAILABLE;
    }

    if (connect(c->fd, (struct sockaddr *) &c->address, sizeof(c->address))
        == -1)
    {
        (void) close(c->fd);
        c->fd = -1;

        return errno == EACCES || errno == EPERM ? FAAS_EDENIED
                                                 : FAAS_EUNAVAILABLE;
    }

    c->absent_ms = 0;
    c->in_length = 0;
    c->hello_serial = 0;

    return FAAS_OK;
}


/* FAAS_OK: try again */

static int
client_wait_absent(client_t *c, int64_t deadline_ms)
{
    int64_t  now_ms;

    now_ms = client_now_ms();

    if (c->absent_ms == 0) {
        c->absent_ms = now_ms;
    }

    if (now_ms >= deadline_ms || now_ms - c->absent_ms >= CLIENT_ABSENT_MS) {

        /* asked again much later, it is waited for again */

        if (now_ms - c->absent_ms >= 2 * CLIENT_ABSENT_MS) {
            c->absent_ms = now_ms;
        }

        return FAAS_EUNAVAILABLE;
    }

    client_pause(CLIENT_PAUSE_MS, deadline_ms);

    return FAAS_OK;
}


static void
client_close(client_t *c)
{
    if (c->fd != -1) {
        (void) close(c->fd);
        c->fd = -1;
    }

    c->in_length = 0;
}


/* a large answer was a rare one */

static void
client_trim(client_t *c)
{
    if (c->in_length == 0 && c->in_size > CLIENT_KEEP) {
        free(c->in);
        c->in = NULL;
        c->in_size = 0;
    }
}


/*
 * Sends what has no answer yet and reads answers.  FAAS_OK: all are there;
 * FAAS_ERROR: the connection is lost; a code: that is what it is.
 */

static int
client_exchange(client_turn_t *turn)
{
    int             rc, ready;
    client_t       *c;
    struct pollfd   pfd;

    c = turn->client;

    turn->payload = NULL;
    turn->next = 0;

    pfd.fd = c->fd;

    for ( ;; ) {
        rc = client_send(turn);

        if (rc == FAAS_ERROR) {
            /* why may still be there to be read: a HELLO that was refused */
            rc = client_receive(turn);
            return rc == FAAS_OK && turn->left ? FAAS_ERROR : rc;
        }

        pfd.events = POLLIN | (turn->payload ? POLLOUT : 0);

        ready = poll(&pfd, 1, client_timeout(turn->scope->deadline_ms));

        if (ready == -1) {

            if (errno == EINTR) {
                continue;
            }

            return FAAS_ERROR;
        }

        if (ready == 0) {

            if (client_now_ms() < turn->scope->deadline_ms) {
                continue;
            }

            /* half a frame cannot stay in the stream */

            if (turn->payload) {
                client_close(c);
            }

            return FAAS_ETIMEDOUT;
        }

        if (pfd.revents & (POLLIN|POLLHUP|POLLERR)) {
            rc = client_receive(turn);

            if (rc != FAAS_OK || turn->left == 0) {
                return rc;
            }
        }
    }
}


/* FAAS_OK: all is sent, or the socket is full (turn->payload is not NULL) */

static int
client_send(client_turn_t *turn)
{
    int            n;
    ssize_t        sent;
    struct iovec   iov[2], *v;
    struct msghdr  mh;

    for ( ;; ) {

        if (turn->payload == NULL && !client_has_next(turn)) {
            return FAAS_OK;
        }

        iov[0].iov_base = &turn->head;
        iov[0].iov_len = sizeof(wire_head_t);
        iov[1].iov_base = (void *) turn->payload->data;
        iov[1].iov_len = turn->payload->size;

        v = iov;
        n = 2;
        sent = (ssize_t) turn->offset;

        if ((size_t) sent >= v->iov_len) {
            sent -= (ssize_t) v->iov_len;
            v++;
            n--;
        }

        v->iov_base = (char *) v->iov_base + sent;
        v->iov_len -= (size_t) sent;

        memset(&mh, 0, sizeof(struct msghdr));
        mh.msg_iov = v;
        mh.msg_iovlen = (size_t) n;

        sent = sendmsg(turn->client->fd, &mh, MSG_NOSIGNAL);

        if (sent == -1) {

            if (errno == EINTR) {
                continue;
            }

            return errno == EAGAIN ? FAAS_OK : FAAS_ERROR;
        }

        turn->offset += (size_t) sent;

        if (turn->offset == sizeof(wire_head_t) + turn->payload->size) {
            turn->payload = NULL;
        }
    }
}


/* makes the next frame: HELLO, then what has no answer; 0: there is none */

static int
client_has_next(client_turn_t *turn)
{
    client_t           *c;
    client_question_t  *q;

    c = turn->client;

    memset(&turn->head, 0, sizeof(wire_head_t));
    turn->offset = 0;
    turn->head.magic = WIRE_MAGIC;

    if (c->hello_serial == 0 && c->hello.size) {
        turn->head.operation = WIRE_HELLO;
        turn->head.serial = c->hello_serial = ++c->serial;
        turn->head.length = (uint32_t) c->hello.size;

        turn->hello.data = c->hello.data;
        turn->hello.size = c->hello.size;
        turn->payload = &turn->hello;

        return 1;
    }

    while (turn->next < turn->n && turn->q[turn->next].done) {
        turn->next++;
    }

    if (turn->next == turn->n) {
        return 0;
    }

    q = &turn->q[turn->next++];
    q->serial = ++c->serial;

    turn->head.operation = q->operation;
    turn->head.serial = q->serial;
    turn->head.length = (uint32_t) q->payload.size;
    turn->payload = &q->payload;

    return 1;
}


static int
client_receive(client_turn_t *turn)
{
    int        rc;
    size_t     n, used;
    ssize_t    got;
    client_t  *c;

    c = turn->client;

    for ( ;; ) {

        if (client_room(c) != FAAS_OK) {
            return FAAS_EFULL;
        }

        got = recv(c->fd, c->in + c->in_length, c->in_size - c->in_length, 0);

        if (got == -1 && errno == EINTR) {
            continue;
        }

        if (got == -1 && errno == EAGAIN) {
            return FAAS_OK;
        }

        if (got <= 0) {
            return FAAS_ERROR;
        }

        c->in_length += (size_t) got;

        /* of what follows the last whole frame the rest is moved down */

        used = 0;

        for ( ;; ) {
            n = client_frame(c, used);

            if (n == CLIENT_MALFORMED) {
                /* another program, or another release: no use to ask again */
                return FAAS_EUNAVAILABLE;
            }

            if (n == 0) {
                break;
            }

            rc = client_take(turn, used);
            used += n;

            if (rc != FAAS_OK) {
                return rc;
            }
        }

        c->in_length -= used;
        memmove(c->in, c->in + used, c->in_length);

        if (turn->left == 0) {
            return FAAS_OK;
        }
    }
}


/* for the whole frame whose head is there, or for a head and a bit */

static int
client_room(client_t *c)
{
    char         *in;
    size_t        size;
    wire_head_t   head;

    size = CLIENT_KEEP;

    if (c->in_length >= sizeof(wire_head_t)) {
        memcpy(&head, c->in, sizeof(wire_head_t));
        size = sizeof(wire_head_t) + head.length;
    }

    if (size <= c->in_size && c->in_length < c->in_size) {
        return FAAS_OK;
    }

    in = realloc(c->in, size);
    if (in == NULL) {
        return FAAS_ERROR;
    }

    c->in = in;
    c->in_size = size;

    return FAAS_OK;
}


/* the size of the whole frame at that offset; 0: it is not all there */

static size_t
client_frame(const client_t *c, size_t offset)
{
    size_t       there;
    wire_head_t  head;

    there = c->in_length - offset;

    if (there < sizeof(wire_head_t)) {
        return 0;
    }

    memcpy(&head, c->in + offset, sizeof(wire_head_t));

    if (wire_head_check(&head) != FAAS_OK) {
        return CLIENT_MALFORMED;
    }

    if (there - sizeof(wire_head_t) < head.length) {
        return 0;
    }

    return sizeof(wire_head_t) + head.length;
}


/* FAAS_OK, or the code by which HELLO was refused */

static int
client_take(client_turn_t *turn, size_t offset)
{
    size_t              i;
    client_t           *c;
    wire_head_t         head;
    client_question_t  *q;

    c = turn->client;

    memcpy(&head, c->in + offset, sizeof(wire_head_t));

    if (head.serial == c->hello_serial) {
        return head.code;
    }

    for (i = 0; i < turn->n; i++) {
        q = &turn->q[i];

        if (!q->done && q->serial == head.serial) {
            client_answer(turn, q, head.code,
                          c->in + offset + sizeof(wire_head_t), head.length);
            return FAAS_OK;
        }
    }

    /* too late: nobody waits for it any more */

    return FAAS_OK;
}


static void
client_answer(client_turn_t *turn, client_question_t *q, int code,
    const char *payload, size_t n)
{
    char  *copy;

    q->done = 1;
    q->code = code;
    turn->left--;

    if (n == 0) {
        return;
    }

    copy = turn->scope->alloc(turn->scope->data, n);

    if (copy == NULL) {
        q->code = FAAS_EFULL;
        return;
    }

    memcpy(copy, payload, n);
    q->answer.data = copy;
    q->answer.size = n;
}


/* what was sent and must not be repeated ends here */

static void
client_lose(client_turn_t *turn)
{
    size_t              i;
    client_question_t  *q;

    client_close(turn->client);

    for (i = 0; i < turn->n; i++) {
        q = &turn->q[i];

        if (!q->done && q->serial && !client_may_repeat(q->operation)) {
            client_answer(turn, q, FAAS_EUNAVAILABLE, NULL, 0);
        }

        q->serial = 0;
    }
}


static void
client_fail(client_turn_t *turn, int code)
{
    size_t  i;

    if (code != FAAS_OK && code != FAAS_ETIMEDOUT) {
        client_close(turn->client);
    }

    for (i = 0; i < turn->n; i++) {

        if (!turn->q[i].done) {
            client_answer(turn, &turn->q[i], code, NULL, 0);
        }
    }
}


/* an answer that counts what was done would be another the second time */

static int
client_may_repeat(uint32_t operation)
{
    return operation != WIRE_DEAD_RETRY && operation != WIRE_DEAD_PURGE;
}


static void
client_pause(int64_t ms, int64_t deadline_ms)
{
    int64_t  left_ms;

    left_ms = deadline_ms - client_now_ms();

    if (ms > left_ms) {
        ms = left_ms;
    }

    if (ms > 0) {
        (void) poll(NULL, 0, (int) ms);
    }
}


/* for poll(); may be shorter than what is left, never longer */

static int
client_timeout(int64_t deadline_ms)
{
    int64_t  left_ms;

    left_ms = deadline_ms - client_now_ms();

    if (left_ms <= 0) {
        return 0;
    }

    return left_ms < CLIENT_POLL_MS ? (int) left_ms : CLIENT_POLL_MS;
}


static int64_t
client_now_ms(void)
{
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
