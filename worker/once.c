
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instance.h"
#include "once.h"
#include "sdk.h"
#include "sha256.h"


/* "event:", type, name, id */
#define ONCE_KEY_SIZE  512


static int once_key(faas_request_t *r, char *key);
static int once_event_key(faas_request_t *r, const faas_event_t *event,
    char *key);
static int once_hash(faas_request_t *r, uint8_t hash[SHA256_SIZE]);
static void once_hash_text(sha256_t *s, const char *text);
static int once_handle(faas_request_t *r, baas_t *b,
    int (*handler)(faas_request_t *r));
static int once_is_final(faas_request_t *r, int rc);
static int once_record(faas_request_t *r, faas_bytes_t *record);
static int once_replay(faas_request_t *r, faas_bytes_t record);
static int once_replay_headers(faas_request_t *r, char *p, char *end);
static int once_refuse(faas_request_t *r, int status, const char *why);
static int once_fail(faas_request_t *r, int code, const char *what);


int
once_run(faas_request_t *r, int (*handler)(faas_request_t *r))
{
    int           rc, code;
    char          key[ONCE_KEY_SIZE];
    baas_t       *b;
    uint8_t       hash[SHA256_SIZE];
    faas_bytes_t  record;

    rc = once_key(r, key);

    if (rc == FAAS_ENOTFOUND) {
        return handler(r);
    }

    if (rc != FAAS_OK) {
        return once_refuse(r, 400, "the Idempotency-Key is too long");
    }

    if (body_hold(r, ONCE_BODY) != FAAS_OK) {
        return errno == EMSGSIZE
               ? once_refuse(r, 413, "the body is too large") : FAAS_ERROR;
    }

    b = sdk_baas(r, &code);

    if (b == NULL) {
        return once_fail(r, code, "begun");
    }

    if (once_hash(r, hash) != FAAS_OK) {
        return once_refuse(r, 400, "the messages cannot be read");
    }

    rc = baas_once_begin(b, key, hash, &record);

    switch (rc) {

    case FAAS_OK:
        return once_handle(r, b, handler);

    case 1:
        rc = once_replay(r, record);
        return rc == FAAS_OK ? FAAS_OK : once_fail(r, rc, "replayed");

    case FAAS_ECONFLICT:
        return once_refuse(r, 422, "the Idempotency-Key was used with another "
                           "request");

    default:
        return once_fail(r, rc, "begun");
    }
}


/*
 * FAAS_OK; FAAS_ENOTFOUND: it has none; FAAS_ETOOLARGE.  A client's own
 * request that is run later has the client's key, so that it counts as once
 * however it came.
 */

static int
once_key(faas_request_t *r, char *key)
{
    size_t               n;
    const char          *given;
    const faas_event_t  *event;

    given = request_variable(r, "HTTP_IDEMPOTENCY_KEY");
    event = faas_event(r);

    if (event && (event->type != FAAS_EVENT_ASYNC || given == NULL
                  || *given == '\0'))
    {
        return once_event_key(r, event, key);
    }

    if (given == NULL || *given == '\0') {
        return FAAS_ENOTFOUND;
    }

    n = strlen(given);

    if (n > ONCE_KEY) {
        return FAAS_ETOOLARGE;
    }

    (void) snprintf(key, ONCE_KEY_SIZE, "key:%s", given);

    return FAAS_OK;
}


/* an event about several messages has several fates, and no key */

static int
once_event_key(faas_request_t *r, const faas_event_t *event, char *key)
{
    int                    n;
    const char            *id;
    const faas_message_t  *message;

    id = event->id;

    if (event->type == FAAS_EVENT_QUEUE) {

        if (event->messages != 1) {
            return FAAS_ENOTFOUND;
        }

        message = faas_message(r, 0);
        id = message ? message->id : "";
    }

    if (*id == '\0') {
        return FAAS_ENOTFOUND;
    }

    n = snprintf(key, ONCE_KEY_SIZE, "event:%d:%s:%s", (int) event->type,
                 event->name, id);

    return n > 0 && n < ONCE_KEY_SIZE ? FAAS_OK : FAAS_ETOOLARGE;
}


/*
 * What makes two requests the same.  Of a message only what was sent counts:
 * around it the number of the attempt changes.
 */

static int
once_hash(faas_request_t *r, uint8_t hash[SHA256_SIZE])
{
    size_t                 n;
    sha256_t               s;
    const char            *body;
    const faas_event_t    *event;
    const faas_message_t  *message;

    sha256_init(&s);

    event = faas_event(r);

    if (event && event->type == FAAS_EVENT_QUEUE) {
        message = faas_message(r, 0);

        if (message == NULL) {
            return FAAS_ERROR;
        }

        sha256_update(&s, message->data, message->size);

    } else {
        body = faas_body(r, 0, &n);

        once_hash_text(&s, faas_method(r));
        once_hash_text(&s, faas_path(r));
        once_hash_text(&s, faas_query_string(r));
        sha256_update(&s, body, n);
    }

    sha256_final(&s, hash);

    return FAAS_OK;
}


/* with its zero, so that no two sequences of texts are the same bytes */

static void
once_hash_text(sha256_t *s, const char *text)
{
    sha256_update(s, text, strlen(text) + 1);
}


static int
once_handle(faas_request_t *r, baas_t *b, int (*handler)(faas_request_t *r))
{
    int           rc, code;
    faas_bytes_t  record;

    response_hold(r, ONCE_RESPONSE);

    rc = handler(r);

    if (!instance_is_self()) {
        return rc;
    }

    if (r->response.over) {
        baas_once_abort(b);
        return once_fail(r, FAAS_ETOOLARGE, "recorded");
    }

    if (!once_is_final(r, rc)) {
        baas_once_abort(b);
        sdk_event_undo(r);
        return rc;
    }

    code = once_record(r, &record);

    if (code != FAAS_OK) {
        baas_once_abort(b);

    } else {
        code = baas_once_commit(b, record);
    }

    return code == FAAS_OK ? rc : once_fail(r, code, "committed");
}


/* a message that comes again shall not meet the record of a failure */

static int
once_is_final(faas_request_t *r, int rc)
{
    return rc >= 0 && r->response.status < 500
           && sdk_event_is_done(r, r->response.status);
}


/*
 * The record of an answer: "STATUS COUNTED\n" (as in response_t), its headers
 * as "Name: value\n", "\n", and its body.
 */

static int
once_record(faas_request_t *r, faas_bytes_t *record)
{
    char                     *data, *p;
    size_t                    i;
    response_t               *response;
    const response_header_t  *header;

    response = &r->response;

    data = arena_alloc(&r->arena, response->headers_size + response->length
                                  + 64);
    if (data == NULL) {
        return FAAS_EFULL;
    }

    p = data + sprintf(data, "%d %llu\n", response->status,
                       (unsigned long long) response->counted);

    for (i = 0; i < response->headers; i++) {
        header = &response->header[i];

        p = mempcpy(p, header->name, header->name_length);
        p = stpcpy(p, ": ");
        p = mempcpy(p, header->value, header->length);
        *p++ = '\n';
    }

    *p++ = '\n';

    if (response->length) {
        p = mempcpy(p, response->data, response->length);
    }

    record->data = data;
    record->size = (size_t) (p - data);

    return FAAS_OK;
}


static int
once_replay(faas_request_t *r, faas_bytes_t record)
{
    int                  status, used;
    char                *p, *end, *body;
    unsigned long long   counted;

    /* a copy that is ours, and ends with a zero */

    p = arena_copy(&r->arena, record.data, record.size);
    if (p == NULL) {
        return FAAS_EFULL;
    }

    end = p + record.size;

    if (sscanf(p, "%d %llu%n", &status, &counted, &used) != 2
        || p[used] != '\n')
    {
        return FAAS_ECORRUPT;
    }

    p += used + 1;
    body = *p == '\n' ? p + 1 : strstr(p, "\n\n");

    if (body == NULL) {
        return FAAS_ECORRUPT;
    }

    if (*p != '\n') {
        body += 2;
    }

    response_hold(r, ONCE_RESPONSE);

    if (once_replay_headers(r, p, body - 1) != FAAS_OK
        || (status && faas_status(r, status) != FAAS_OK)
        || faas_header_set(r, "Idempotent-Replayed", "true") != FAAS_OK
        || faas_write(r, body, (size_t) (end - body)) != FAAS_OK)
    {
        return FAAS_ECORRUPT;
    }

    r->response.counted = counted;

    /* what was recorded of a message is that it is done */

    (void) faas_message_done(r, 0);

    return FAAS_OK;
}


/* lines up to the empty one, which begins at end */

static int
once_replay_headers(faas_request_t *r, char *p, char *end)
{
    char  *colon, *newline;

    for ( /* void */ ; p < end; p = newline + 1) {
        newline = memchr(p, '\n', (size_t) (end - p));
        colon = strstr(p, ": ");

        if (newline == NULL || colon == NULL || colon > newline) {
            return FAAS_ERROR;
        }

        *colon = '\0';
        *newline = '\0';

        if (faas_header_add(r, p, colon + 2) != FAAS_OK) {
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


static int
once_refuse(faas_request_t *r, int status, const char *why)
{
    response_clear(r);

    (void) faas_status(r, status);

    return faas_printf(r, "%s\n", why);
}


/* nothing of it happened: try again, if that can help */

static int
once_fail(faas_request_t *r, int code, const char *what)
{
    int  again;

    faas_log(r, "faas: exactly_once: it cannot be %s: %s", what,
             faas_error(code));

    response_clear(r);
    sdk_event_undo(r);

    again = code == FAAS_EBUSY || code == FAAS_EUNAVAILABLE
            || code == FAAS_ETIMEDOUT || code == FAAS_EFULL;

    if (again) {
        (void) faas_header_set(r, "Retry-After", "1");
    }

    (void) faas_header_set(r, "Faas-Error", "exactly_once");
    (void) faas_status(r, again ? 503 : 500);

    return faas_printf(r, "the request could not be %s: %s\n", what,
                       faas_error(code));
}
