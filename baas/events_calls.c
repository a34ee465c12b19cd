
/*
 * Async calls, as they are asked for: taken in, looked at, cancelled.  What
 * is taken in is durable when it is answered: its record and its message are
 * one step of the engine.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events_callback.h"
#include "events_calls.h"
#include "events_invocation.h"


#define CALLS_HEX        32        /* digits behind the function's name */
#define CALLS_METHOD     33
#define CALLS_REQUEST    129
#define CALLS_MARGIN_MS  (60 * 1000)
#define CALLS_TRIES      5         /* to cancel what changes meanwhile */


/* a submission as it was read; strings from take */

typedef struct {
    char                      id[QUEUE_CALL_ID_SIZE];
    char                      function[FAAS_NAME_SIZE];
    char                      method[CALLS_METHOD];
    const char               *path;
    const char               *headers;
    faas_bytes_t              body;
    char                      key[QUEUE_IDEMPOTENCY_MAX + 1];
    faas_bytes_t              hash;
    char                      callback[EVENTS_URL_MAX + 1];
    char                      request_id[CALLS_REQUEST];
} calls_submission_t;


static int calls_submit(wire_reader_t *in, wire_writer_t *out);
static int calls_read_submission(wire_reader_t *in, events_take_t *take,
    calls_submission_t *s);
static const char *calls_text(wire_reader_t *in, events_take_t *take,
    size_t max, int *code);
static int calls_check(const calls_submission_t *s);
static int calls_is_id(const char *id, const char *function);
static int calls_is_visible(const char *s, size_t n);
static int calls_store(const calls_submission_t *s, char *id);
static int calls_get(wire_reader_t *in, wire_writer_t *out);
static int calls_cancel(wire_reader_t *in, wire_writer_t *out);
static int calls_cancel_once(const char *id, uint32_t *state);
static const char *calls_function(const char *id, char *function);


static int  calls_ended;


void
events_calls_settings(void)
{
    /* of another engine: its works are gone */

    if (calls_ended) {
        events_run_drop();
        calls_ended = 0;
    }
}


void
events_calls_end(void)
{
    calls_ended = 1;
    events_run_end();
}


int
events_calls_wire(uint32_t operation, wire_reader_t *in, wire_writer_t *out)
{
    switch (operation) {

    case WIRE_CALL_SUBMIT:
        return calls_submit(in, out);

    case WIRE_CALL_GET:
        return calls_get(in, out);

    case WIRE_CALL_CANCEL:
        return calls_cancel(in, out);

    default:
        return FAAS_EUNSUPPORTED;
    }
}


/* -- submit ---------------------------------------------------------------- */

static int
calls_submit(wire_reader_t *in, wire_writer_t *out)
{
    int                  code;
    char                 id[QUEUE_CALL_ID_SIZE];
    events_take_t       *take;
    calls_submission_t   s;

    take = events_take_create();
    code = calls_read_submission(in, take, &s);

    if (code == FAAS_OK) {
        code = calls_check(&s);
    }

    if (code == FAAS_OK) {
        code = calls_store(&s, id);
    }

    if (code == FAAS_OK) {
        wire_put_text(out, id);
    }

    events_take_release(take);

    return code;
}


/* id, function, method, path, headers, body, key, hash, callback, request */

static int
calls_read_submission(wire_reader_t *in, events_take_t *take,
    calls_submission_t *s)
{
    int  code;

    code = FAAS_OK;

    (void) wire_get_text(in, s->id, sizeof(s->id));
    (void) wire_get_text(in, s->function, sizeof(s->function));
    (void) wire_get_text(in, s->method, sizeof(s->method));
    s->path = calls_text(in, take, EVENTS_PATH_MAX, &code);
    s->headers = calls_text(in, take, EVENTS_HEADERS_MAX, &code);
    s->body = wire_get(in);
    (void) wire_get_text(in, s->key, sizeof(s->key));
    s->hash = wire_get(in);
    (void) wire_get_text(in, s->callback, sizeof(s->callback));
    (void) wire_get_text(in, s->request_id, sizeof(s->request_id));

    if (in->failed) {
        return FAAS_EINVAL;
    }

    return s->body.size > EVENTS_BODY_MAX ? FAAS_ETOOLARGE : code;
}


static const char *
calls_text(wire_reader_t *in, events_take_t *take, size_t max, int *code)
{
    char          *text;
    faas_bytes_t   field;

    field = wire_get(in);

    if (field.size > max) {
        *code = FAAS_ETOOLARGE;
        return "";
    }

    if (memchr(field.data, '\0', field.size) != NULL) {
        *code = FAAS_EINVAL;
        return "";
    }

    text = events_take_alloc(take, field.size + 1);

    if (text == NULL) {
        *code = FAAS_ERROR;
        return "";
    }

    memcpy(text, field.data, field.size);
    text[field.size] = '\0';

    return text;
}


static int
calls_check(const calls_submission_t *s)
{
    /* nginx has found it; when it was just deployed we may still have to be
       told */

    if (!faas_name_is_valid(s->function, strlen(s->function))) {
        return FAAS_ENOTFOUND;
    }

    if (!calls_is_id(s->id, s->function)
        || s->hash.size != 32
        || s->path[0] != '/' || !calls_is_visible(s->path, strlen(s->path))
        || s->method[0] == '\0'
        || !calls_is_visible(s->method, strlen(s->method))
        || !calls_is_visible(s->request_id, strlen(s->request_id)))
    {
        return FAAS_EINVAL;
    }

    if (s->callback[0] != '\0'
        && events_callback_find(events.settings, s->callback) == NULL)
    {
        return FAAS_EDENIED;
    }

    return FAAS_OK;
}


static int
calls_is_id(const char *id, const char *function)
{
    size_t  n;

    n = strlen(function);

    return strncmp(id, function, n) == 0 && id[n] == '.'
           && strspn(id + n + 1, "0123456789abcdef") == CALLS_HEX
           && id[n + 1 + CALLS_HEX] == '\0';
}


static int
calls_is_visible(const char *s, size_t n)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < n; i++) {
        c = (unsigned char) s[i];

        if (c <= 0x20 || c == 0x7f) {
            return 0;
        }
    }

    return 1;
}


static int
calls_store(const calls_submission_t *s, char *id)
{
    int                   code;
    char                  queue[QUEUE_NAME_SIZE];
    int64_t               now;
    queue_call_t          c;
    wire_writer_t         record, message;
    events_record_t       r;
    queue_message_t       m;
    events_invocation_t   invocation;

    now = events_now_ms();

    memset(&r, 0, sizeof(r));
    r.created_ms = now;
    r.updated_ms = now;
    r.callback = faas_text(s->callback);

    memset(&record, 0, sizeof(record));
    events_record_encode(&record, &r);

    memset(&invocation, 0, sizeof(invocation));
    invocation.kind = EVENTS_ASYNC;
    invocation.method = s->method;
    invocation.path = s->path;
    invocation.headers = s->headers;
    invocation.body = s->body;
    invocation.call = s->id;
    invocation.callback = s->callback;
    invocation.request_id = s->request_id;

    memset(&message, 0, sizeof(message));
    events_invocation_encode(&message, &invocation);

    memset(&c, 0, sizeof(c));
    c.id = s->id;
    c.idempotency = s->key;
    c.hash = s->hash.data;
    c.state = WIRE_CALL_QUEUED;
    c.data = record.data;
    c.size = record.size;
    c.expires_ms = events_calls_open_until(s->function, now);

    (void) snprintf(queue, sizeof(queue), "@%s", s->function);
    memset(&m, 0, sizeof(m));
    m.queue = queue;
    (void) snprintf(m.id, sizeof(m.id), "%s", strchr(s->id, '.') + 1);
    m.data = message.data;
    m.size = message.size;
    m.sent_ms = now;

    code = record.failed || message.failed ? FAAS_ERROR
           : events.queue->engine->call_submit(events.queue, &c, &m, id, now,
                                               events_deadline(
                                                   EVENTS_ASKED_MS));
    wire_free(&record);
    wire_free(&message);

    if (code == FAAS_OK) {
        events_consume_wake(queue);
    }

    return code;
}


/* -- get, cancel ----------------------------------------------------------- */

static int
calls_get(wire_reader_t *in, wire_writer_t *out)
{
    int               code;
    char              id[QUEUE_CALL_ID_SIZE];
    queue_call_t      c;
    events_take_t    *take;
    events_record_t   r;

    (void) wire_get_text(in, id, sizeof(id));

    if (in->failed) {
        return FAAS_EINVAL;
    }

    take = events_take_create();
    code = events_calls_read(id, take, &c, &r);

    if (code == FAAS_OK) {
        wire_put_number(out, c.state);
        wire_put_number(out, r.status);
        wire_put(out, r.headers.data, r.headers.size);
        wire_put(out, r.body.data, r.body.size);
        wire_put_number(out, r.attempts);
        wire_put_number(out, r.created_ms);
        wire_put_number(out, r.updated_ms);
        wire_put(out, r.text.data, r.text.size);
    }

    events_take_release(take);

    return code;
}


static int
calls_cancel(wire_reader_t *in, wire_writer_t *out)
{
    int       code, tries;
    char      id[QUEUE_CALL_ID_SIZE];
    uint32_t  state;

    (void) wire_get_text(in, id, sizeof(id));

    if (in->failed) {
        return FAAS_EINVAL;
    }

    /* it may be begun, or end, between the look and the change */

    for (tries = 0; tries < CALLS_TRIES; tries++) {
        code = calls_cancel_once(id, &state);

        if (code != FAAS_ECONFLICT) {
            break;
        }
    }

    if (code == FAAS_OK) {
        wire_put_number(out, state);
    }

    return code == FAAS_ECONFLICT ? FAAS_EBUSY : code;
}


static int
calls_cancel_once(const char *id, uint32_t *state)
{
    int               code;
    char              function[FAAS_NAME_SIZE];
    int64_t           now;
    queue_call_t      c;
    events_take_t    *take;
    events_record_t   r;

    take = events_take_create();
    code = events_calls_read(id, take, &c, &r);
    now = events_now_ms();

    if (code == FAAS_OK) {
        *state = c.state;

        if (EVENTS_OPEN & 1u << c.state) {
            r.updated_ms = now;

            /* kept for as long as its message may lie in the queue: that is
               dropped for this record's sake */

            code = events_calls_write(id, WIRE_CALL_CANCELLED, &r,
                                      EVENTS_OPEN,
                                      events_calls_open_until(
                                          calls_function(id, function), now));
            *state = WIRE_CALL_CANCELLED;

            if (code == FAAS_OK) {
                events_run_cancel(id);
            }
        }
    }

    events_take_release(take);

    return code;
}


static const char *
calls_function(const char *id, char *function)
{
    size_t  n;

    n = strcspn(id, ".");

    if (n >= FAAS_NAME_SIZE) {
        n = 0;
    }

    memcpy(function, id, n);
    function[n] = '\0';

    return function;
}


/* -- for both -------------------------------------------------------------- */

faas_async_t
events_calls_async(const char *function)
{
    char                      why[FAAS_EVENT_WHY_SIZE];
    faas_async_t              async;
    const events_function_t  *f;

    f = events_settings_function(events.settings, function);

    if (f != NULL) {
        return f->async;
    }

    (void) faas_async_parse("", 0, &async, why);

    return async;
}


int64_t
events_calls_timeout(const char *function)
{
    const events_function_t  *f;

    f = events_settings_function(events.settings, function);

    return CALLS_MARGIN_MS
           + (f != NULL ? f->timeout_ms + f->queue_timeout_ms : 0);
}


int64_t
events_calls_open_until(const char *function, int64_t now_ms)
{
    faas_async_t  async;

    async = events_calls_async(function);

    return now_ms + async.age_ms + async.keep_ms
           + events_calls_timeout(function);
}


int
events_calls_read(const char *id, events_take_t *take, queue_call_t *c,
    events_record_t *r)
{
    int  code;

    code = events.queue->engine->call_get(events.queue, id, c,
                                          events_take_alloc, take,
                                          events_now_ms(),
                                          events_deadline(EVENTS_ASKED_MS));

    return code == FAAS_OK ? events_record_decode(c->data, c->size, r) : code;
}


int
events_calls_write(const char *id, uint32_t state, const events_record_t *r,
    uint32_t from, int64_t expires_ms)
{
    int            code;
    queue_call_t   c;
    wire_writer_t  w;

    memset(&w, 0, sizeof(w));
    events_record_encode(&w, r);

    memset(&c, 0, sizeof(c));
    c.id = id;
    c.idempotency = "";
    c.state = state;
    c.data = w.data;
    c.size = w.size;
    c.expires_ms = expires_ms;

    code = w.failed ? FAAS_ERROR
           : events.queue->engine->call_put(events.queue, &c, from,
                                            events_now_ms(),
                                            events_deadline(EVENTS_ASKED_MS));
    wire_free(&w);

    return code;
}


int
events_calls_is_transient(int code)
{
    return code == FAAS_EUNAVAILABLE || code == FAAS_ETIMEDOUT
           || code == FAAS_EBUSY || code == FAAS_EFULL
           || code == FAAS_EREADONLY || code == FAAS_EDENIED
           || code == FAAS_ERROR;
}
