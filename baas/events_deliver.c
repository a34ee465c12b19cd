
/*
 * libcurl's multi interface, driven by our loop: it says which descriptors
 * it waits for (deliver_socket) and when it wants to be called at the latest
 * (deliver_timer).  Nothing of ours is called from inside libcurl but what
 * gathers an answer; `done` is called after libcurl has returned.
 *
 * How far a call got decides what may be done about an error: CURLINFO_
 * REQUEST_SIZE is what was handed to the kernel.  As long as that is nothing,
 * the call can be made again.
 */


#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "events_deliver.h"
#include "events_request.h"
#include "log.h"
#include "loop.h"


#define DELIVER_IDLE        32             /* handles kept */
#define DELIVER_KEPT        128l           /* connections kept */
#define DELIVER_HEAD_MAX    (64 * 1024)    /* of an answer's headers, bytes */
#define DELIVER_TRIES       4
#define DELIVER_CONNECT_MS  5000


/* bytes that are gathered; what is over `limit` is dropped and noted */

typedef struct {
    char                     *data;
    size_t                    size;
    size_t                    room;
    size_t                    limit;
    int                       truncated;
} deliver_buffer_t;


struct events_delivery_s {
    CURL                     *easy;        /* NULL: could not be asked */
    struct curl_slist        *headers;
    deliver_buffer_t          head;
    deliver_buffer_t          body;
    loop_timer_t              timer;       /* try again, or tell the error */
    unsigned                  tries;
    int                       added;       /* to the multi handle */
    events_done_pt            done;
    void                     *data;
    char                      why[CURL_ERROR_SIZE];
};


/* one descriptor of libcurl's */

typedef struct {
    loop_event_t              event;
    curl_socket_t             fd;
} deliver_socket_t;


static void deliver_begin(void *data);
static int deliver_socket(CURL *easy, curl_socket_t fd, int what, void *data,
    void *socket_data);
static int deliver_timer(CURLM *multi, long timeout_ms, void *data);
static void deliver_ready(void *data, uint32_t what);
static void deliver_due(void *data);
static void deliver_finished(void);
static void deliver_result(events_delivery_t *d, CURLcode result);
static void deliver_tell(events_delivery_t *d, const events_answer_t *answer);
static int deliver_code(CURL *easy, CURLcode result);
static void deliver_drop(events_delivery_t *d);
static size_t deliver_head(char *p, size_t size, size_t n, void *data);
static size_t deliver_body(char *p, size_t size, size_t n, void *data);
static void deliver_append(deliver_buffer_t *b, const char *p, size_t n);
static const char *deliver_text(deliver_buffer_t *b);
static CURL *deliver_easy(void);


static struct {
    CURLM                    *multi;
    loop_timer_t              timer;
    CURL                     *idle[DELIVER_IDLE];
    size_t                    nidle;
} deliver;


int
events_deliver_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        log_line(LOG_EMERG, 0, "libcurl cannot be used");
        return -1;
    }

    deliver.multi = curl_multi_init();

    if (deliver.multi == NULL) {
        log_line(LOG_EMERG, 0, "no memory for libcurl");
        return -1;
    }

    deliver.timer.handler = deliver_due;

    curl_multi_setopt(deliver.multi, CURLMOPT_SOCKETFUNCTION, deliver_socket);
    curl_multi_setopt(deliver.multi, CURLMOPT_TIMERFUNCTION, deliver_timer);
    curl_multi_setopt(deliver.multi, CURLMOPT_MAXCONNECTS,
                      DELIVER_KEPT);
    curl_multi_setopt(deliver.multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);

    return 0;
}


void
events_deliver_cleanup(void)
{
    while (deliver.nidle) {
        curl_easy_cleanup(deliver.idle[--deliver.nidle]);
    }

    if (deliver.multi != NULL) {
        curl_multi_cleanup(deliver.multi);
        deliver.multi = NULL;
    }

    loop_disarm(&deliver.timer);
    curl_global_cleanup();
}


events_delivery_t *
events_deliver(const events_call_t *call)
{
    events_delivery_t  *d;

    d = loop_alloc(sizeof(*d));
    d->done = call->done;
    d->data = call->data;
    d->timer.handler = deliver_begin;
    d->timer.data = d;
    d->head.limit = DELIVER_HEAD_MAX;
    d->body.limit = call->limit;

    d->easy = deliver_easy();

    if (events_request_prepare(d->easy, call, &d->headers) != FAAS_OK) {
        curl_easy_cleanup(d->easy);
        d->easy = NULL;
        loop_arm(&d->timer, loop_now_ms());
        return d;
    }

    curl_easy_setopt(d->easy, CURLOPT_PRIVATE, d);
    curl_easy_setopt(d->easy, CURLOPT_ERRORBUFFER, d->why);
    curl_easy_setopt(d->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long) DELIVER_CONNECT_MS);
    curl_easy_setopt(d->easy, CURLOPT_HEADERFUNCTION, deliver_head);
    curl_easy_setopt(d->easy, CURLOPT_HEADERDATA, d);
    curl_easy_setopt(d->easy, CURLOPT_WRITEFUNCTION, deliver_body);
    curl_easy_setopt(d->easy, CURLOPT_WRITEDATA, d);

    if (curl_multi_add_handle(deliver.multi, d->easy) == CURLM_OK) {
        d->added = 1;

    } else {
        loop_arm(&d->timer, loop_now_ms() + DELIVER_CONNECT_MS / 10);
    }

    return d;
}


void
events_deliver_cancel(events_delivery_t *d)
{
    deliver_drop(d);
}


/* again after a connection could not be made, or what could not be asked */

static void
deliver_begin(void *data)
{
    events_answer_t     answer;
    events_delivery_t  *d = data;

    if (d->easy != NULL
        && curl_multi_add_handle(deliver.multi, d->easy) == CURLM_OK)
    {
        d->added = 1;
        return;
    }

    memset(&answer, 0, sizeof(answer));
    answer.code = d->easy == NULL ? FAAS_EINVAL : FAAS_EUNAVAILABLE;
    answer.reason = d->easy == NULL ? "method, path or URL is malformed"
                                    : "no memory for a call";
    answer.headers = "";
    answer.body.data = "";
    deliver_tell(d, &answer);
}


static int
deliver_socket(CURL *easy, curl_socket_t fd, int what, void *data,
    void *socket_data)
{
    uint32_t           mask;
    deliver_socket_t  *s = socket_data;

    (void) easy;
    (void) data;

    if (what == CURL_POLL_REMOVE) {

        if (s != NULL) {
            (void) loop_remove(&s->event);
            (void) curl_multi_assign(deliver.multi, fd, NULL);
            free(s);
        }

        return 0;
    }

    mask = (what & CURL_POLL_IN ? EPOLLIN : 0)
           | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

    if (s != NULL) {
        return loop_change(&s->event, mask);
    }

    s = loop_alloc(sizeof(*s));
    s->fd = fd;
    s->event.handler = deliver_ready;
    s->event.data = s;

    if (loop_add(&s->event, fd, mask) == -1) {
        free(s);
        return -1;
    }

    (void) curl_multi_assign(deliver.multi, fd, s);

    return 0;
}


static int
deliver_timer(CURLM *multi, long timeout_ms, void *data)
{
    (void) multi;
    (void) data;

    if (timeout_ms < 0) {
        loop_disarm(&deliver.timer);

    } else if (timeout_ms == 0) {
        loop_arm(&deliver.timer, loop_now_ms());    /* in the next turn */

    } else {
        loop_arm(&deliver.timer,
                 (loop_clock_us() + 999) / 1000 + (uint64_t) timeout_ms);
    }

    return 0;
}


static void
deliver_ready(void *data, uint32_t what)
{
    int                running, mask;
    deliver_socket_t  *s = data;

    mask = (what & (EPOLLIN|EPOLLHUP|EPOLLRDHUP) ? CURL_CSELECT_IN : 0)
           | (what & EPOLLOUT ? CURL_CSELECT_OUT : 0)
           | (what & EPOLLERR ? CURL_CSELECT_ERR : 0);

    (void) curl_multi_socket_action(deliver.multi, s->fd, mask, &running);
    deliver_finished();
}


static void
deliver_due(void *data)
{
    int  running;

    (void) data;

    (void) curl_multi_socket_action(deliver.multi, CURL_SOCKET_TIMEOUT, 0,
                                    &running);
    deliver_finished();
}


static void
deliver_finished(void)
{
    int                 left;
    char               *private;
    CURLMsg            *message;
    CURLcode            result;
    events_delivery_t  *d;

    while ((message = curl_multi_info_read(deliver.multi, &left)) != NULL) {

        if (message->msg != CURLMSG_DONE) {
            continue;
        }

        result = message->data.result;     /* gone with the removal */
        private = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        d = (events_delivery_t *) (void *) private;

        curl_multi_remove_handle(deliver.multi, d->easy);
        d->added = 0;
        deliver_result(d, result);
    }
}


static void
deliver_result(events_delivery_t *d, CURLcode result)
{
    long             status;
    events_answer_t  answer;

    memset(&answer, 0, sizeof(answer));
    answer.code = deliver_code(d->easy, result);

    if (answer.code == FAAS_EUNAVAILABLE && ++d->tries < DELIVER_TRIES) {
        /* the first time at once, then after 20, 80 ms */
        loop_arm(&d->timer, loop_now_ms()
                            + (d->tries > 1 ? 5u << (2 * d->tries - 2) : 0));
        return;
    }

    status = 0;

    if (answer.code == FAAS_OK) {
        curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    }

    answer.status = (int) status;
    answer.reason = answer.code == FAAS_OK ? ""
                    : d->why[0] ? d->why : curl_easy_strerror(result);
    answer.headers = deliver_text(&d->head);
    answer.body.data = deliver_text(&d->body);
    answer.body.size = d->body.size;
    answer.truncated = d->body.truncated;

    deliver_tell(d, &answer);
}


static void
deliver_tell(events_delivery_t *d, const events_answer_t *answer)
{
    d->done(answer, d->data);
    deliver_drop(d);
}


static int
deliver_code(CURL *easy, CURLcode result)
{
    long  sent;

    if (result == CURLE_OK) {
        return FAAS_OK;
    }

    sent = 0;
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);

    if (result == CURLE_URL_MALFORMAT || result == CURLE_UNSUPPORTED_PROTOCOL) {
        return FAAS_EINVAL;
    }

    if (sent == 0) {
        return FAAS_EUNAVAILABLE;
    }

    return result == CURLE_OPERATION_TIMEDOUT ? FAAS_ETIMEDOUT : FAAS_ERROR;
}


static void
deliver_drop(events_delivery_t *d)
{
    if (d->added) {
        curl_multi_remove_handle(deliver.multi, d->easy);
    }

    if (d->easy != NULL) {

        if (deliver.nidle < DELIVER_IDLE) {
            curl_easy_reset(d->easy);
            deliver.idle[deliver.nidle++] = d->easy;

        } else {
            curl_easy_cleanup(d->easy);
        }
    }

    loop_disarm(&d->timer);
    curl_slist_free_all(d->headers);
    free(d->head.data);
    free(d->body.data);
    free(d);
}


/* a line of the answer's head, its status line and those of 1xx ones too */

static size_t
deliver_head(char *p, size_t size, size_t n, void *data)
{
    size_t              length;
    events_delivery_t  *d = data;

    n *= size;
    length = n;

    while (length && (p[length - 1] == '\n' || p[length - 1] == '\r')) {
        length--;
    }

    if (length >= 5 && memcmp(p, "HTTP/", 5) == 0) {
        d->head.size = 0;

    } else if (length && d->head.size + length < d->head.limit
               && memchr(p, '\0', length) == NULL)
    {
        deliver_append(&d->head, p, length);
        deliver_append(&d->head, "\n", 1);
    }

    return n;
}


static size_t
deliver_body(char *p, size_t size, size_t n, void *data)
{
    events_delivery_t  *d = data;

    n *= size;
    deliver_append(&d->body, p, n);

    return n;
}


static void
deliver_append(deliver_buffer_t *b, const char *p, size_t n)
{
    char    *data;
    size_t   room;

    if (n > b->limit - b->size) {
        n = b->limit - b->size;
        b->truncated = 1;
    }

    if (n == 0) {
        return;
    }

    if (b->size + n + 1 > b->room) {
        room = (b->size + n + 1) * 2;
        data = realloc(b->data, room);

        if (data == NULL) {
            b->truncated = 1;
            return;
        }

        b->data = data;
        b->room = room;
    }

    memcpy(b->data + b->size, p, n);
    b->size += n;
}


/* there is always room for the zero */

static const char *
deliver_text(deliver_buffer_t *b)
{
    if (b->data == NULL) {
        return "";
    }

    b->data[b->size] = '\0';

    return b->data;
}


static CURL *
deliver_easy(void)
{
    CURL  *easy;

    if (deliver.nidle) {
        return deliver.idle[--deliver.nidle];
    }

    easy = curl_easy_init();

    if (easy == NULL) {
        log_line(LOG_ALERT, 0, "no memory: curl_easy_init() failed");
        _exit(1);
    }

    return easy;
}
