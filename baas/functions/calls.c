
/*
 * The platform's function _calls: takes in a request that is to be answered
 * later, and says what became of it.  nginx hands both over (faas_async):
 *
 *   any request, with FAAS_TARGET       202, Location: PREFIX/_calls/ID
 *   GET PREFIX/_calls/ID                the call as JSON (calls_document.h)
 *   GET PREFIX/_calls/ID/result         the answer itself, as it was
 *   DELETE PREFIX/_calls/ID             cancels the call
 *
 * What a call is, who keeps it and who makes it is the events process's
 * business (wire.h): this only says it over HTTP.  Whoever knows an id may
 * ask for the call; 128 bits of it are chance.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "calls_document.h"
#include "faas_platform.h"
#include "json_text.h"
#include "sha256.h"
#include "wire.h"


#define CALLS_BODY_MAX     (8 * 1024 * 1024)
#define CALLS_ID_SIZE      128
#define CALLS_KEY_MAX      255
#define CALLS_CALLBACK_MAX 2000
#define CALLS_LINE_MAX     (64 * 1024)


/* lines of headers, or a path, as they grow; in the request's memory */

typedef struct {
    faas_request_t           *r;
    char                     *data;
    size_t                    size;
    size_t                    room;
    int                       code;        /* FAAS_OK, or why it is not whole:
                                              ETOOLARGE, ERROR: no memory */
} calls_text_t;


/* a call's answer to CALL_GET; all is in the request's memory */

typedef struct {
    calls_document_t          document;
    const char               *id;
} calls_call_t;


static int calls_handler(faas_request_t *r);
static int calls_accept(faas_request_t *r, const char *function);
static int calls_body(faas_request_t *r, faas_bytes_t *body);
static int calls_submit(faas_request_t *r, const char *function,
    faas_bytes_t body, char *id);
static int calls_accepted(faas_request_t *r, const char *id);
static void calls_id(const char *function, char *id);
static void calls_hash(const char *method, const char *path,
    faas_bytes_t body, uint8_t *hash);
static int calls_path(faas_request_t *r, const char **path);
static int calls_headers(faas_request_t *r, const char **headers);
static int calls_header(const char *name, const char *value, void *data);
static int calls_is_kept(const char *name);
static void calls_header_name(calls_text_t *t, const char *name);
static void calls_forwarded(faas_request_t *r, calls_text_t *t);
static int calls_about(faas_request_t *r);
static int calls_get(faas_request_t *r, calls_call_t *call);
static int calls_show(faas_request_t *r, const calls_call_t *call,
    int status);
static int calls_replay(faas_request_t *r, const calls_call_t *call);
static int calls_replay_headers(faas_request_t *r, faas_bytes_t headers);
static int calls_is_replayed(const char *name);
static int calls_cancel(faas_request_t *r, const char *id);
static int calls_refuse(faas_request_t *r, int code);
static int calls_problem(faas_request_t *r, int status, const char *title,
    const char *detail);
static void calls_escape(calls_text_t *t, const char *s);
static void calls_put(calls_text_t *t, const char *s);
static void calls_add(calls_text_t *t, const char *s, size_t n);


/* of CGI's names: what belongs to a connection, and what is said otherwise */

static const char *const  calls_dropped[] = {
    "HTTP_CONNECTION", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE",
    "HTTP_EXPECT", "HTTP_HOST", "HTTP_KEEP_ALIVE", "HTTP_PREFER",
    "HTTP_PROXY", "HTTP_PROXY_CONNECTION", "HTTP_TE", "HTTP_TRAILER",
    "HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE", "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_REQUEST_ID"
};

/* of an answer: what is said anew */

static const char *const  calls_unsaid[] = {
    "Content-Length", "Proxy-Status", "Server-Timing", "Status"
};

#define CALLS_COUNT(a)  (sizeof(a) / sizeof((a)[0]))


FAAS_FUNCTION(.handler = calls_handler, .timeout = "30s")


static int
calls_handler(faas_request_t *r)
{
    const char  *target;

    target = faas_variable(r, "FAAS_TARGET");

    return target != NULL && *target != '\0' ? calls_accept(r, target)
                                             : calls_about(r);
}


/* -- a request that is to be answered later -------------------------------- */

static int
calls_accept(faas_request_t *r, const char *function)
{
    int           code;
    char          id[CALLS_ID_SIZE];
    const char   *key, *callback;
    faas_bytes_t  body;

    key = faas_header(r, "Idempotency-Key");

    if (key != NULL && strlen(key) > CALLS_KEY_MAX) {
        return calls_problem(r, 400, "Bad Request",
                             "Idempotency-Key is longer than 255 bytes");
    }

    callback = faas_header(r, "Faas-Callback");

    if (callback != NULL && strlen(callback) > CALLS_CALLBACK_MAX) {
        return calls_problem(r, 400, "Bad Request",
                             "Faas-Callback is longer than 2000 bytes");
    }

    code = calls_body(r, &body);

    if (code == FAAS_ETOOLARGE) {
        return calls_problem(r, 413, "Content Too Large",
                             "the body of an async call is at most 8 MiB");
    }

    if (code != FAAS_OK) {
        return code;
    }

    code = calls_submit(r, function, body, id);

    if (code == FAAS_OK) {
        return calls_accepted(r, id);
    }

    if (code == FAAS_ECONFLICT) {
        return calls_problem(r, 422, "Unprocessable Content",
                             "this Idempotency-Key was used with another "
                             "request");
    }

    if (code == FAAS_EDENIED && callback != NULL) {
        return calls_problem(r, 403, "Forbidden",
                             "Faas-Callback is not allowed (faas_callback)");
    }

    return calls_refuse(r, code);
}


static int
calls_body(faas_request_t *r, faas_bytes_t *body)
{
    if (faas_content_length(r) > CALLS_BODY_MAX) {
        return FAAS_ETOOLARGE;
    }

    body->data = faas_body(r, CALLS_BODY_MAX, &body->size);

    if (body->data != NULL) {
        return FAAS_OK;
    }

    /* its length was not announced */

    return errno == EMSGSIZE ? FAAS_ETOOLARGE : FAAS_ERROR;
}


static int
calls_submit(faas_request_t *r, const char *function, faas_bytes_t body,
    char *id)
{
    int            code;
    uint8_t        hash[SHA256_SIZE];
    const char    *path, *headers;
    faas_bytes_t   answer, payload;
    wire_reader_t  in;
    wire_writer_t  out;

    code = calls_path(r, &path);

    if (code == FAAS_OK) {
        code = calls_headers(r, &headers);
    }

    if (code != FAAS_OK) {
        return code;
    }

    calls_id(function, id);
    calls_hash(faas_method(r), path, body, hash);

    memset(&out, 0, sizeof(out));
    wire_put_text(&out, id);
    wire_put_text(&out, function);
    wire_put_text(&out, faas_method(r));
    wire_put_text(&out, path);
    wire_put_text(&out, headers);
    wire_put(&out, body.data, body.size);
    wire_put_text(&out, faas_header(r, "Idempotency-Key"));
    wire_put(&out, hash, sizeof(hash));
    wire_put_text(&out, faas_header(r, "Faas-Callback"));
    wire_put_text(&out, faas_request_id(r));

    payload.data = out.data;
    payload.size = out.size;

    code = out.failed ? FAAS_ERROR
                      : faas_wire(r, WIRE_CALL_SUBMIT, payload, &answer);
    wire_free(&out);

    if (code != FAAS_OK) {
        return code;
    }

    wire_read(&in, answer);
    (void) wire_get_text(&in, id, CALLS_ID_SIZE);

    return in.failed ? FAAS_ERROR : FAAS_OK;
}


static int
calls_accepted(faas_request_t *r, const char *id)
{
    const char    *prefer, *prefix;
    calls_text_t   location;

    prefix = faas_variable(r, "FAAS_PREFIX");

    memset(&location, 0, sizeof(location));
    location.r = r;
    calls_escape(&location, prefix ? prefix : "");
    calls_put(&location, "/" WIRE_CALLS "/");
    calls_put(&location, id);

    if (location.code != FAAS_OK) {
        return FAAS_ERROR;
    }

    prefer = faas_header(r, "Prefer");

    if (prefer != NULL && strcasestr(prefer, "respond-async") != NULL) {
        (void) faas_header_set(r, "Preference-Applied", "respond-async");
    }

    (void) faas_header_set(r, "Location", location.data);
    (void) faas_header_set(r, "Cache-Control", "no-store");
    (void) faas_header_set(r, "Content-Type", "application/json");
    (void) faas_status(r, 202);

    return faas_printf(r, "{\"id\":\"%s\",\"location\":\"%s\"}\n", id,
                       location.data);
}


/* FUNCTION.HEX; the same id when it is repeated, so that it is not doubled */

static void
calls_id(const char *function, char *id)
{
    int       n;
    size_t    i;
    uint8_t   chance[16];

    while (getrandom(chance, sizeof(chance), 0) != sizeof(chance)) {
        /* void: at most interrupted */
    }

    n = snprintf(id, CALLS_ID_SIZE - 2 * sizeof(chance), "%s.", function);

    for (i = 0; i < sizeof(chance); i++) {
        (void) snprintf(id + n + 2 * i, 3, "%02x", chance[i]);
    }
}


/* what makes two requests the same one: not their headers, which differ with
   each try (dates, traces) */

static void
calls_hash(const char *method, const char *path, faas_bytes_t body,
    uint8_t *hash)
{
    sha256_t  sha;

    sha256_init(&sha);
    sha256_update(&sha, method, strlen(method) + 1);
    sha256_update(&sha, path, strlen(path) + 1);
    sha256_update(&sha, body.data, body.size);
    sha256_final(&sha, hash);
}


/* by which nginx said that the function is called; encoded again */

static int
calls_path(faas_request_t *r, const char **path)
{
    const char    *query;
    calls_text_t   t;

    memset(&t, 0, sizeof(t));
    t.r = r;
    calls_escape(&t, faas_path(r));
    query = faas_query_string(r);

    if (*query != '\0') {
        calls_put(&t, "?");
        calls_put(&t, query);
    }

    *path = t.data;

    return t.code;
}


static int
calls_headers(faas_request_t *r, const char **headers)
{
    const char    *type;
    calls_text_t   t;

    memset(&t, 0, sizeof(t));
    t.r = r;
    calls_put(&t, "");

    type = faas_header(r, "Content-Type");

    if (type != NULL && *type != '\0') {
        calls_put(&t, "Content-Type: ");
        calls_put(&t, type);
        calls_put(&t, "\n");
    }

    if (faas_variables(r, calls_header, &t) != FAAS_OK) {
        return t.code != FAAS_OK ? t.code : FAAS_ERROR;
    }

    calls_forwarded(r, &t);

    *headers = t.data;

    return t.code;
}


static int
calls_header(const char *name, const char *value, void *data)
{
    calls_text_t  *t = data;

    if (calls_is_kept(name) && *value != '\0'
        && strpbrk(value, "\r\n") == NULL)
    {
        calls_header_name(t, name + sizeof("HTTP_") - 1);
        calls_put(t, ": ");
        calls_put(t, value);
        calls_put(t, "\n");
    }

    return t->code;
}


static int
calls_is_kept(const char *name)
{
    size_t  i;

    if (strncmp(name, "HTTP_", 5) != 0 || name[5] == '\0'
        || strncmp(name, "HTTP_FAAS_", 10) == 0)
    {
        return 0;
    }

    for (i = 0; i < CALLS_COUNT(calls_dropped); i++) {
        if (strcmp(name, calls_dropped[i]) == 0) {
            return 0;
        }
    }

    return 1;
}


/* X_API_KEY is X-Api-Key */

static void
calls_header_name(calls_text_t *t, const char *name)
{
    char         c;
    int          first;

    for (first = 1; *name; name++) {
        c = *name;

        if (c == '_') {
            c = '-';

        } else if (!first && c >= 'A' && c <= 'Z') {
            c = (char) (c - 'A' + 'a');
        }

        first = c == '-';
        calls_add(t, &c, 1);
    }
}


/* who asked and how, since the function will be called by us */

static void
calls_forwarded(faas_request_t *r, calls_text_t *t)
{
    size_t       i;
    const char  *value, *known;

    static const char *const  names[][2] = {
        { "X-Forwarded-For", "REMOTE_ADDR" },
        { "X-Forwarded-Host", "HTTP_HOST" },
        { "X-Forwarded-Proto", "REQUEST_SCHEME" }
    };

    for (i = 0; i < CALLS_COUNT(names); i++) {
        value = faas_variable(r, names[i][1]);
        known = i == 0 ? faas_header(r, names[i][0]) : NULL;

        if (value == NULL || *value == '\0'
            || strpbrk(value, "\r\n") != NULL)
        {
            continue;
        }

        calls_put(t, names[i][0]);
        calls_put(t, ": ");

        if (known != NULL && strpbrk(known, "\r\n") == NULL) {
            calls_put(t, known);
            calls_put(t, ", ");
        }

        calls_put(t, value);
        calls_put(t, "\n");
    }
}


/* -- what became of one ---------------------------------------------------- */

static int
calls_about(faas_request_t *r)
{
    int            code, result;
    char           id[CALLS_ID_SIZE];
    size_t         n;
    const char    *p, *method;
    calls_call_t   call;

    p = faas_path_info(r);
    p += *p == '/';
    n = strcspn(p, "/");
    result = strcmp(p + n, "/result") == 0;

    if (n == 0 || n >= sizeof(id) || (p[n] != '\0' && !result)) {
        return calls_refuse(r, FAAS_ENOTFOUND);
    }

    memcpy(id, p, n);
    id[n] = '\0';
    method = faas_method(r);

    if (strcmp(method, "DELETE") == 0 && !result) {
        return calls_cancel(r, id);
    }

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        (void) faas_header_set(r, "Allow", result ? "GET, HEAD"
                                                  : "GET, HEAD, DELETE");
        return calls_problem(r, 405, "Method Not Allowed", NULL);
    }

    call.id = id;
    code = calls_get(r, &call);

    if (code != FAAS_OK) {
        return calls_refuse(r, code);
    }

    if (!result) {
        return calls_show(r, &call, 200);
    }

    switch (call.document.state) {

    case WIRE_CALL_DONE:
        return calls_replay(r, &call);

    case WIRE_CALL_FAILED:
        return calls_show(r, &call, 502);

    case WIRE_CALL_CANCELLED:
        return calls_show(r, &call, 410);

    default:
        return calls_show(r, &call, 202);
    }
}


static int
calls_get(faas_request_t *r, calls_call_t *call)
{
    int                code;
    faas_bytes_t       payload, answer;
    wire_reader_t      in;
    wire_writer_t      out;
    calls_document_t  *d;

    memset(&out, 0, sizeof(out));
    wire_put_text(&out, call->id);
    payload.data = out.data;
    payload.size = out.size;

    code = out.failed ? FAAS_ERROR
                      : faas_wire(r, WIRE_CALL_GET, payload, &answer);
    wire_free(&out);

    if (code != FAAS_OK) {
        return code;
    }

    d = &call->document;
    wire_read(&in, answer);
    d->id = call->id;
    d->state = (uint32_t) wire_get_number(&in);
    d->status = (int) wire_get_number(&in);
    d->headers = wire_get(&in);
    d->body = wire_get(&in);
    d->attempts = (uint32_t) wire_get_number(&in);
    d->created_ms = wire_get_number(&in);
    d->updated_ms = wire_get_number(&in);
    d->text = wire_get(&in);

    return in.failed ? FAAS_ERROR : FAAS_OK;
}


static int
calls_show(faas_request_t *r, const calls_call_t *call, int status)
{
    int      rc;
    char    *text;
    size_t   n;

    text = calls_document(&call->document, &n);

    if (text == NULL) {
        return FAAS_ERROR;
    }

    if (call->document.state == WIRE_CALL_QUEUED
        || call->document.state == WIRE_CALL_RUNNING)
    {
        (void) faas_header_set(r, "Retry-After", "1");
    }

    (void) faas_header_set(r, "Cache-Control", "no-store");
    (void) faas_header_set(r, "Content-Type", "application/json");
    (void) faas_status(r, status);
    rc = faas_write(r, text, n);
    free(text);

    return rc;
}


static int
calls_replay(faas_request_t *r, const calls_call_t *call)
{
    const calls_document_t  *d;

    d = &call->document;

    if (calls_replay_headers(r, d->headers) != FAAS_OK) {
        return FAAS_ERROR;
    }

    (void) faas_status(r, d->status);

    return d->body.size ? faas_write(r, d->body.data, d->body.size)
                        : FAAS_OK;
}


static int
calls_replay_headers(faas_request_t *r, faas_bytes_t headers)
{
    char          *line, *value;
    size_t         n;
    const char    *p, *end;
    calls_text_t   t;

    memset(&t, 0, sizeof(t));
    t.r = r;
    calls_add(&t, headers.data, headers.size);

    if (t.code != FAAS_OK) {
        return t.code;
    }

    end = t.data + t.size;

    for (p = t.data; p < end; p += n + 1) {
        n = strcspn(p, "\n");
        line = t.data + (p - t.data);
        line[n] = '\0';

        if (n && line[n - 1] == '\r') {
            line[n - 1] = '\0';
        }

        value = strchr(line, ':');

        if (value == NULL) {
            continue;
        }

        *value++ = '\0';
        value += strspn(value, " \t");

        if (calls_is_replayed(line)) {
            (void) faas_header_add(r, line, value);
        }
    }

    return FAAS_OK;
}


static int
calls_is_replayed(const char *name)
{
    size_t  i;

    if (strncasecmp(name, "X-Accel-", 8) == 0
        || !calls_document_is_kept(name, strlen(name)))
    {
        return 0;
    }

    for (i = 0; i < CALLS_COUNT(calls_unsaid); i++) {
        if (strcasecmp(name, calls_unsaid[i]) == 0) {
            return 0;
        }
    }

    return 1;
}


static int
calls_cancel(faas_request_t *r, const char *id)
{
    int            code;
    uint32_t       state;
    faas_bytes_t   payload, answer;
    wire_reader_t  in;
    wire_writer_t  out;

    memset(&out, 0, sizeof(out));
    wire_put_text(&out, id);
    payload.data = out.data;
    payload.size = out.size;

    code = out.failed ? FAAS_ERROR
                      : faas_wire(r, WIRE_CALL_CANCEL, payload, &answer);
    wire_free(&out);

    if (code != FAAS_OK) {
        return calls_refuse(r, code);
    }

    wire_read(&in, answer);
    state = (uint32_t) wire_get_number(&in);

    if (in.failed) {
        return FAAS_ERROR;
    }

    if (state != WIRE_CALL_CANCELLED) {
        return calls_problem(r, 409, "Conflict",
                             state == WIRE_CALL_DONE ? "the call is done"
                                                     : "the call has failed");
    }

    (void) faas_header_set(r, "Cache-Control", "no-store");
    (void) faas_header_set(r, "Content-Type", "application/json");

    return faas_printf(r, "{\"id\":\"%s\",\"state\":\"cancelled\"}\n", id);
}


/* -- answers --------------------------------------------------------------- */

/* a code of faas.h as a status */

static int
calls_refuse(faas_request_t *r, int code)
{
    switch (code) {

    case FAAS_ENOTFOUND:
        return calls_problem(r, 404, "Not Found",
                             "there is no such call, or it is forgotten");

    case FAAS_EINVAL:
        return calls_problem(r, 400, "Bad Request", NULL);

    case FAAS_ETOOLARGE:
        return calls_problem(r, 413, "Content Too Large", NULL);

    case FAAS_EUNAVAILABLE:
    case FAAS_ETIMEDOUT:
    case FAAS_EBUSY:
    case FAAS_EFULL:
    case FAAS_EREADONLY:
    case FAAS_EDENIED:
        faas_log(r, "async calls are not available: %s", faas_error(code));
        (void) faas_header_set(r, "Retry-After", "1");
        return calls_problem(r, 503, "Service Unavailable",
                             "async calls are not available now");

    default:
        faas_log(r, "an async call failed: %s", faas_error(code));
        return FAAS_ERROR;
    }
}


/* RFC 9457 */

static int
calls_problem(faas_request_t *r, int status, const char *title,
    const char *detail)
{
    int           rc;
    char          number[16];
    json_text_t   t;

    (void) snprintf(number, sizeof(number), "%d", status);

    memset(&t, 0, sizeof(t));
    json_put(&t, "{\"status\":");
    json_put(&t, number);
    json_put(&t, ",\"title\":");
    json_string(&t, title, strlen(title));

    if (detail != NULL) {
        json_put(&t, ",\"detail\":");
        json_string(&t, detail, strlen(detail));
    }

    json_put(&t, "}\n");

    (void) faas_header_set(r, "Cache-Control", "no-store");
    (void) faas_header_set(r, "Content-Type", "application/problem+json");
    (void) faas_status(r, status);

    rc = t.failed ? FAAS_ERROR : faas_write(r, t.data, t.size);
    json_free(&t);

    return rc;
}


/* a path, decoded as nginx has it, as it may stand in a request line */

static void
calls_escape(calls_text_t *t, const char *s)
{
    char         escape[4];
    const char  *p;

    static const char  plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789"
                                 "-._~!$&'()*+,;=:@/";

    calls_put(t, "");

    for (p = s; *p; p++) {

        if (strchr(plain, *p) != NULL) {
            calls_add(t, p, 1);

        } else {
            (void) snprintf(escape, sizeof(escape), "%%%02X",
                            (unsigned char) *p);
            calls_add(t, escape, 3);
        }
    }
}


static void
calls_put(calls_text_t *t, const char *s)
{
    calls_add(t, s, strlen(s));
}


static void
calls_add(calls_text_t *t, const char *s, size_t n)
{
    char    *data;
    size_t   room;

    if (t->code != FAAS_OK) {
        return;
    }

    if (t->size + n > CALLS_LINE_MAX) {
        t->code = FAAS_ETOOLARGE;
        return;
    }

    if (t->data == NULL || t->size + n + 1 > t->room) {

        for (room = t->room ? t->room * 2 : 512; room < t->size + n + 1; ) {
            room *= 2;
        }

        data = faas_alloc(t->r, room);

        if (data == NULL) {
            t->code = FAAS_ERROR;
            return;
        }

        if (t->data != NULL) {
            memcpy(data, t->data, t->size);
        }

        t->data = data;
        t->room = room;
    }

    if (n) {
        memcpy(t->data + t->size, s, n);
    }

    t->size += n;
    t->data[t->size] = '\0';
}
