
/*
 * Why not libcurl: linked into what instances are forked from it costs each
 * of them 1.2 MB of memory of its own (some thirty libraries, TLS stacks with
 * relocations and tables), and makes a fork 2.8 times as long, 0.42 ms for
 * 0.15; loaded at the first call, it costs that call 8 to 15 ms (measured).
 * What is needed of HTTP/1.1 towards our own nginx, over a unix socket, is in
 * call_http.c.
 *
 * A kept connection may have been closed by nginx in the meantime, which is
 * seen before it is used, or while the request is under way.  A unix socket
 * tells whether the request was read: a peer that closes with bytes unread
 * resets the connection, and writing to one that has closed fails.  Then it
 * was not begun, since nginx reads the head of a request in one piece before
 * anything else, and it is sent again over a new connection.  Where the peer
 * has read it and closed without an answer, it may have run, so that only
 * GET and HEAD are sent again.
 */


#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "call.h"
#include "call_http.h"
#include "faas_event.h"
#include "fd.h"


/* received at once; the head of an answer has to fit */
#define CALL_BUFFER    CALL_HTTP_HEAD

/* nginx's backlog is full: looked at again after */
#define CALL_PAUSE_MS  5

/* longest wait without a look at the clock */
#define CALL_POLL_MS   60000

/* inside: the kept connection was closed, send it again; more is to come */
#define CALL_STALE     1
#define CALL_AGAIN     2


struct call_s {
    struct sockaddr_un        address;
    int                       fd;          /* -1: not connected */
    char                     *name;
    char                     *token;
};


/* One call. */

typedef struct {
    const baas_scope_t       *scope;
    const faas_call_t        *call;
    const char               *method;
    int64_t                   deadline_ms;
    char                     *head;        /* of the request, CALL_HTTP_HEAD */
    size_t                    head_length;
    size_t                    sent;        /* of head and body */
    unsigned                  kept:1;      /* the connection served before */
    unsigned                  cut:1;       /* nobody reads it any more */

    call_http_answer_t        answer;
    char                     *in;          /* CALL_BUFFER */
    size_t                    in_length;
    unsigned                  received:1;  /* anything at all */
    char                     *headers;     /* of the answer, from alloc */
    char                     *body;        /* likewise, or malloc()ed when
                                              chunked */
    size_t                    length;      /* of body so far */
    size_t                    size;
} call_turn_t;


static int call_prepare(call_t *c, call_turn_t *turn, const char *function);
static int call_run(call_t *c, call_turn_t *turn);
static int call_connect(call_t *c, call_turn_t *turn);
static int call_is_quiet(int fd);
static int call_exchange(call_t *c, call_turn_t *turn);
static void call_send(call_t *c, call_turn_t *turn);
static int call_is_sent(const call_turn_t *turn);
static int call_receive(call_t *c, call_turn_t *turn);
static int call_lost(const call_turn_t *turn, int error);
static int call_take(call_turn_t *turn);
static int call_take_head(call_turn_t *turn);
static int call_take_length(call_turn_t *turn);
static int call_take_chunks(call_turn_t *turn);
static int call_reserve(call_turn_t *turn, size_t n);
static void call_used(call_turn_t *turn, size_t n);
static int call_keep_headers(call_turn_t *turn);
static int call_complete(call_turn_t *turn, faas_answer_t *answer);
static void call_close(call_t *c);
static int call_timeout(int64_t deadline_ms);
static int64_t call_now_ms(void);


call_t *
call_create(const char *path, const char *name, const char *token)
{
    call_t  *c;

    c = calloc(1, sizeof(call_t));
    if (c == NULL) {
        return NULL;
    }

    c->fd = -1;
    c->address.sun_family = AF_UNIX;
    c->name = strdup(name);
    c->token = strdup(token);

    if (c->name == NULL || c->token == NULL
        || strlen(path) >= sizeof(c->address.sun_path))
    {
        call_destroy(c);
        return NULL;
    }

    (void) strcpy(c->address.sun_path, path);

    return c;
}


void
call_destroy(call_t *c)
{
    if (c == NULL) {
        return;
    }

    call_close(c);
    free(c->name);
    free(c->token);
    free(c);
}


int
call_make(call_t *c, const baas_scope_t *scope, const char *function,
    const faas_call_t *call, faas_answer_t *answer)
{
    int                       rc;
    call_turn_t               turn;

    static const faas_call_t  none;

    memset(&turn, 0, sizeof(call_turn_t));

    turn.scope = scope;
    turn.call = call ? call : &none;

    rc = call_prepare(c, &turn, function);

    if (rc == FAAS_OK) {
        rc = call_run(c, &turn);
    }

    if (rc == FAAS_OK) {
        rc = call_complete(&turn, answer);
    }

    if (turn.answer.chunked) {
        free(turn.body);
    }

    free(turn.head);
    free(turn.in);

    return rc;
}


static int
call_prepare(call_t *c, call_turn_t *turn, const char *function)
{
    int64_t              now_ms, timeout_ms;
    call_http_request_t  request;

    if (function == NULL || !faas_name_is_valid(function, strlen(function))) {
        return FAAS_EINVAL;
    }

    turn->method = call_http_method(turn->call);
    timeout_ms = turn->call->timeout_ms;

    if (turn->method == NULL || timeout_ms < 0
        || (turn->call->size && turn->call->body == NULL))
    {
        return FAAS_EINVAL;
    }

    if (turn->scope->depth >= CALL_DEPTH) {
        return FAAS_ELOOP;
    }

    now_ms = call_now_ms();
    turn->deadline_ms = turn->scope->deadline_ms;

    if (timeout_ms && timeout_ms < turn->deadline_ms - now_ms) {
        turn->deadline_ms = now_ms + timeout_ms;
    }

    if (turn->deadline_ms <= now_ms) {
        return FAAS_ETIMEDOUT;
    }

    turn->head = malloc(CALL_HTTP_HEAD);
    turn->in = malloc(CALL_BUFFER);

    if (turn->head == NULL || turn->in == NULL) {
        return FAAS_EFULL;
    }

    request.function = function;
    request.call = turn->call;
    request.method = turn->method;
    request.name = c->name;
    request.token = c->token;
    request.scope = turn->scope;
    request.left_ms = turn->deadline_ms == INT64_MAX
                      ? INT64_MAX : turn->deadline_ms - now_ms;

    turn->answer.is_head = strcmp(turn->method, "HEAD") == 0;

    return call_http_head(&request, turn->head, &turn->head_length);
}


static int
call_run(call_t *c, call_turn_t *turn)
{
    int  rc;

    rc = call_connect(c, turn);

    if (rc == FAAS_OK) {
        rc = call_exchange(c, turn);
    }

    if (rc == CALL_STALE) {
        call_close(c);

        turn->sent = 0;
        turn->cut = 0;

        rc = call_connect(c, turn);

        if (rc == FAAS_OK) {
            rc = call_exchange(c, turn);
        }
    }

    /* what was not read to its end, or not sent, must not meet the next one */

    if (rc != FAAS_OK || turn->answer.close || turn->in_length
        || !call_is_sent(turn))
    {
        call_close(c);
    }

    return rc;
}


static int
call_connect(call_t *c, call_turn_t *turn)
{
    int  error;

    if (c->fd != -1 && call_is_quiet(c->fd)) {
        turn->kept = 1;
        return FAAS_OK;
    }

    call_close(c);
    turn->kept = 0;

    c->fd = fd_high(socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK,
                           0));
    if (c->fd == -1) {
        return FAAS_EUNAVAILABLE;
    }

    while (connect(c->fd, (struct sockaddr *) &c->address,
                   sizeof(c->address)) == -1)
    {
        error = errno;

        if (error == EINTR) {
            continue;
        }

        if (error != EAGAIN) {
            call_close(c);
            return error == EACCES || error == EPERM ? FAAS_EDENIED
                                                     : FAAS_EUNAVAILABLE;
        }

        if (call_now_ms() >= turn->deadline_ms) {
            call_close(c);
            return FAAS_EUNAVAILABLE;
        }

        (void) poll(NULL, 0, CALL_PAUSE_MS);
    }

    return FAAS_OK;
}


/* between two calls there is nothing to be read, and no end */

static int
call_is_quiet(int fd)
{
    char  c;

    return recv(fd, &c, 1, MSG_PEEK) == -1 && errno == EAGAIN;
}


static int
call_exchange(call_t *c, call_turn_t *turn)
{
    int            rc, ready;
    struct pollfd  pfd;

    pfd.fd = c->fd;

    for ( ;; ) {
        call_send(c, turn);

        pfd.events = POLLIN;

        if (!call_is_sent(turn) && !turn->cut) {
            pfd.events |= POLLOUT;
        }

        ready = poll(&pfd, 1, call_timeout(turn->deadline_ms));

        if (ready == -1 && errno != EINTR) {
            return FAAS_EUNAVAILABLE;
        }

        if (ready == 0 && call_now_ms() >= turn->deadline_ms) {
            return FAAS_ETIMEDOUT;
        }

        if (ready > 0 && (pfd.revents & (POLLIN|POLLHUP|POLLERR))) {
            rc = call_receive(c, turn);

            if (rc != CALL_AGAIN) {
                return rc;
            }
        }
    }
}


/* until all is sent, or the socket is full or closed */

static void
call_send(call_t *c, call_turn_t *turn)
{
    size_t         offset;
    ssize_t        n;
    struct iovec   iov[2];
    struct msghdr  mh;

    while (!call_is_sent(turn) && !turn->cut) {
        memset(&mh, 0, sizeof(struct msghdr));
        mh.msg_iov = iov;

        offset = turn->sent;

        if (offset < turn->head_length) {
            iov[0].iov_base = turn->head + offset;
            iov[0].iov_len = turn->head_length - offset;
            mh.msg_iovlen = 1;
            offset = 0;

        } else {
            offset -= turn->head_length;
        }

        iov[mh.msg_iovlen].iov_base = (char *) turn->call->body + offset;
        iov[mh.msg_iovlen].iov_len = turn->call->size - offset;
        mh.msg_iovlen++;

        n = sendmsg(c->fd, &mh, MSG_NOSIGNAL);

        if (n == -1) {

            if (errno == EINTR) {
                continue;
            }

            if (errno == EAGAIN) {
                return;
            }

            /* what it had to say before, as of a body too large, is there */

            turn->cut = 1;
            return;
        }

        turn->sent += (size_t) n;
    }
}


static int
call_is_sent(const call_turn_t *turn)
{
    return turn->sent == turn->head_length + turn->call->size;
}


/* FAAS_OK: the answer is there; CALL_AGAIN, CALL_STALE, or a code */

static int
call_receive(call_t *c, call_turn_t *turn)
{
    int      rc;
    ssize_t  n;

    for ( ;; ) {
        n = recv(c->fd, turn->in + turn->in_length,
                 CALL_BUFFER - turn->in_length, 0);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1 && errno == EAGAIN) {
            return CALL_AGAIN;
        }

        if (n <= 0) {
            return call_lost(turn, n == -1 ? errno : 0);
        }

        turn->received = 1;
        turn->in_length += (size_t) n;

        rc = call_take(turn);

        if (rc != CALL_AGAIN) {
            return rc;
        }
    }
}


/* error 0: it was closed in order */

static int
call_lost(const call_turn_t *turn, int error)
{
    if (turn->kept && !turn->received
        && (error == ECONNRESET || turn->cut || turn->answer.is_head
            || strcmp(turn->method, "GET") == 0))
    {
        return CALL_STALE;
    }

    return FAAS_EUNAVAILABLE;
}


/* what is in the buffer; what is no part of the answer stays there */

static int
call_take(call_turn_t *turn)
{
    int  rc;

    if (turn->answer.status == 0) {
        rc = call_take_head(turn);

        if (rc != FAAS_OK) {
            return rc;
        }
    }

    return turn->answer.chunked ? call_take_chunks(turn)
                                : call_take_length(turn);
}


static int
call_take_head(call_turn_t *turn)
{
    size_t               used;
    call_http_answer_t  *answer;

    answer = &turn->answer;

    if (call_http_parse(answer, turn->in, turn->in_length, &used) != FAAS_OK) {
        return FAAS_EUNAVAILABLE;
    }

    if (answer->status == 0) {
        call_used(turn, used);
        return turn->in_length < CALL_BUFFER ? CALL_AGAIN : FAAS_EUNAVAILABLE;
    }

    if (answer->length > CALL_BODY) {
        return FAAS_ETOOLARGE;
    }

    if (call_keep_headers(turn) != FAAS_OK) {
        return FAAS_EFULL;
    }

    /* one more for the zero */

    if (!answer->chunked) {
        turn->body = turn->scope->alloc(turn->scope->data,
                                        (size_t) answer->length + 1);
        if (turn->body == NULL) {
            return FAAS_EFULL;
        }
    }

    call_used(turn, used);

    return FAAS_OK;
}


static int
call_take_length(call_turn_t *turn)
{
    size_t  n;

    n = (size_t) turn->answer.length - turn->length;

    if (n > turn->in_length) {
        n = turn->in_length;
    }

    memcpy(turn->body + turn->length, turn->in, n);

    turn->length += n;
    call_used(turn, n);

    return turn->length == turn->answer.length ? FAAS_OK : CALL_AGAIN;
}


static int
call_take_chunks(call_turn_t *turn)
{
    int     rc;
    size_t  used, n;

    rc = call_http_chunks(&turn->answer, turn->in, turn->in_length, &used, &n);

    if (rc == FAAS_ERROR) {
        return FAAS_EUNAVAILABLE;
    }

    if (n > CALL_BODY - turn->length) {
        return FAAS_ETOOLARGE;
    }

    if (call_reserve(turn, n) != FAAS_OK) {
        return FAAS_EFULL;
    }

    memcpy(turn->body + turn->length, turn->in, n);

    turn->length += n;
    call_used(turn, used);

    return rc == 1 ? FAAS_OK : CALL_AGAIN;
}


static int
call_reserve(call_turn_t *turn, size_t n)
{
    char    *body;
    size_t   size;

    if (turn->body && n <= turn->size - turn->length) {
        return FAAS_OK;
    }

    size = turn->size ? turn->size : CALL_BUFFER;

    while (size - turn->length < n) {
        size *= 2;
    }

    body = realloc(turn->body, size);
    if (body == NULL) {
        return FAAS_ERROR;
    }

    turn->body = body;
    turn->size = size;

    return FAAS_OK;
}


static void
call_used(call_turn_t *turn, size_t n)
{
    turn->in_length -= n;
    memmove(turn->in, turn->in + n, turn->in_length);
}


/* lines ended by \n, as faas_answer_t has them */

static int
call_keep_headers(call_turn_t *turn)
{
    char        *dst;
    size_t       i, n;
    const char  *src;

    src = turn->answer.headers;
    n = turn->answer.headers_length;

    turn->headers = turn->scope->alloc(turn->scope->data, n + 1);
    if (turn->headers == NULL) {
        return FAAS_ERROR;
    }

    dst = turn->headers;

    for (i = 0; i < n; i++) {

        if (src[i] != '\r') {
            *dst++ = src[i];
        }
    }

    *dst = '\0';

    return FAAS_OK;
}


static int
call_complete(call_turn_t *turn, faas_answer_t *answer)
{
    char  *body;

    body = turn->body;

    if (turn->answer.chunked) {
        body = turn->scope->alloc(turn->scope->data, turn->length + 1);

        if (body == NULL) {
            return FAAS_EFULL;
        }

        memcpy(body, turn->body, turn->length);
    }

    body[turn->length] = '\0';

    answer->status = turn->answer.status;
    answer->body.data = body;
    answer->body.size = turn->length;
    answer->headers = turn->headers;

    return FAAS_OK;
}


static void
call_close(call_t *c)
{
    if (c->fd != -1) {
        (void) close(c->fd);
        c->fd = -1;
    }
}


/* for poll(); may be shorter than what is left, never longer */

static int
call_timeout(int64_t deadline_ms)
{
    int64_t  left_ms;

    left_ms = deadline_ms - call_now_ms();

    if (left_ms <= 0) {
        return 0;
    }

    return left_ms < CALL_POLL_MS ? (int) left_ms : CALL_POLL_MS;
}


static int64_t
call_now_ms(void)
{
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
