
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "call_http.h"


/* hex digits of a chunk's size */
#define CALL_HTTP_DIGITS     15

/* headers that the function gave itself */
#define CALL_HTTP_HAS_ID     0x1
#define CALL_HTTP_HAS_TRACE  0x2
#define CALL_HTTP_HAS_STATE  0x4

/* of a trace context that goes on; what must be sent on is 512 at most */
#define CALL_HTTP_TRACE_MAX  1024


/* in call_http_answer_t.state */

enum {
    CHUNK_SIZE = 0,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER,
    CHUNK_TRAILER_LF
};


/* a head that is being written */

typedef struct {
    char                     *buf;
    size_t                    n;
    int                       full;
} call_http_writer_t;


static int call_http_is_token(const char *p, size_t n);
static int call_http_is_path(const char *path);
static int call_http_is_text(const char *p, size_t n);
static int call_http_is_trace(const char *s);
static int call_http_add_headers(call_http_writer_t *w, const char *headers,
    unsigned *given);
static int call_http_is_ours(const char *name, size_t n);
static void call_http_write(call_http_writer_t *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *call_http_end(const char *data, size_t n);
static int call_http_status(call_http_answer_t *answer, const char *p,
    const char *end);
static int call_http_header(call_http_answer_t *answer, const char *p,
    const char *end);
static int call_http_length(call_http_answer_t *answer, const char *p,
    size_t n);
static int call_http_body(call_http_answer_t *answer);
static int call_http_chunk_byte(call_http_answer_t *answer, char c);
static int call_http_hex(char c);


const char *
call_http_method(const faas_call_t *call)
{
    if (call->method == NULL) {
        return call->size || call->body ? "POST" : "GET";
    }

    return call_http_is_token(call->method, strlen(call->method))
           ? call->method : NULL;
}


int
call_http_head(const call_http_request_t *request, char *buf, size_t *n)
{
    unsigned             given;
    const char          *path;
    const baas_scope_t  *scope;
    const faas_call_t   *call;
    call_http_writer_t   w;

    call = request->call;
    scope = request->scope;

    path = call->path ? call->path : "";

    if (!call_http_is_path(path)) {
        return FAAS_EINVAL;
    }

    w.buf = buf;
    w.n = 0;
    w.full = 0;
    given = 0;

    call_http_write(&w, "%s /%s%s HTTP/1.1\r\nHost: faas\r\n", request->method,
                    request->function, path);

    if (call_http_add_headers(&w, call->headers, &given) != FAAS_OK) {
        return FAAS_EINVAL;
    }

    if (call->size || call->body || strcmp(request->method, "POST") == 0
        || strcmp(request->method, "PUT") == 0
        || strcmp(request->method, "PATCH") == 0)
    {
        call_http_write(&w, "Content-Length: %zu\r\n", call->size);
    }

    /* what came from outside goes on only if it is one line of text */

    if (!(given & CALL_HTTP_HAS_ID) && scope->request_id[0]
        && call_http_is_text(scope->request_id, strlen(scope->request_id)))
    {
        call_http_write(&w, "X-Request-ID: %s\r\n", scope->request_id);
    }

    if (!(given & CALL_HTTP_HAS_TRACE)
        && call_http_is_trace(scope->traceparent))
    {
        call_http_write(&w, "traceparent: %s\r\n", scope->traceparent);

        if (!(given & CALL_HTTP_HAS_STATE)
            && call_http_is_trace(scope->tracestate))
        {
            call_http_write(&w, "tracestate: %s\r\n", scope->tracestate);
        }
    }

    if (request->left_ms != INT64_MAX) {
        call_http_write(&w, "Faas-Timeout: %lld.%03d\r\n",
                        (long long) (request->left_ms / 1000),
                        (int) (request->left_ms % 1000));
    }

    call_http_write(&w, "Faas-Token: %s:%s\r\nFaas-Function: %s\r\n"
                    "Faas-Depth: %u\r\n\r\n", request->name, request->token,
                    request->function, scope->depth + 1);

    *n = w.n;

    return w.full ? FAAS_ETOOLARGE : FAAS_OK;
}


/* RFC 9110's token */

static int
call_http_is_token(const char *p, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {

        if ((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'A' && p[i] <= 'Z')
            || (p[i] >= 'a' && p[i] <= 'z')
            || (p[i] && strchr("!#$%&'*+-.^_`|~", p[i])))
        {
            continue;
        }

        return 0;
    }

    return n > 0;
}


/* nothing, a path, or arguments; a fragment does not go over the wire */

static int
call_http_is_path(const char *path)
{
    const char  *p;

    if (*path && *path != '/' && *path != '?') {
        return 0;
    }

    for (p = path; *p; p++) {

        if (*p <= ' ' || *p == 0x7f || *p == '#') {
            return 0;
        }
    }

    return 1;
}


static int
call_http_is_text(const char *p, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {

        if (((unsigned char) p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


/* "Name: value" lines, each ended by \n */

static int
call_http_add_headers(call_http_writer_t *w, const char *headers,
    unsigned *given)
{
    size_t       n;
    const char  *p, *end, *colon;

    if (headers == NULL) {
        return FAAS_OK;
    }

    for (p = headers; *p; p = end + 1) {
        end = strchr(p, '\n');

        if (end == NULL) {
            return FAAS_EINVAL;
        }

        colon = memchr(p, ':', (size_t) (end - p));

        if (colon == NULL) {
            return FAAS_EINVAL;
        }

        n = (size_t) (colon - p);

        if (!call_http_is_token(p, n) || call_http_is_ours(p, n)
            || !call_http_is_text(colon + 1, (size_t) (end - colon - 1)))
        {
            return FAAS_EINVAL;
        }

        if (n == 12 && strncasecmp(p, "X-Request-ID", n) == 0) {
            *given |= CALL_HTTP_HAS_ID;
        }

        if (n == 11 && strncasecmp(p, "traceparent", n) == 0) {
            *given |= CALL_HTTP_HAS_TRACE;
        }

        if (n == 10 && strncasecmp(p, "tracestate", n) == 0) {
            *given |= CALL_HTTP_HAS_STATE;
        }

        call_http_write(w, "%.*s\r\n", (int) (end - p), p);
    }

    return FAAS_OK;
}


static int
call_http_is_trace(const char *s)
{
    size_t  n;

    n = strlen(s);

    return n != 0 && n <= CALL_HTTP_TRACE_MAX && call_http_is_text(s, n);
}


/* what frames the request, concerns this connection, or is the platform's */

static int
call_http_is_ours(const char *name, size_t n)
{
    size_t  i;

    static const char *const  ours[] = {
        "Host", "Content-Length", "Transfer-Encoding", "Connection",
        "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect",
        "Proxy-Connection", "Proxy"
    };

    if (n >= 5 && strncasecmp(name, "Faas-", 5) == 0) {
        return 1;
    }

    for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {

        if (strlen(ours[i]) == n && strncasecmp(name, ours[i], n) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
call_http_write(call_http_writer_t *w, const char *format, ...)
{
    int      n;
    va_list  ap;

    if (w->full) {
        return;
    }

    va_start(ap, format);
    n = vsnprintf(w->buf + w->n, CALL_HTTP_HEAD - w->n, format, ap);
    va_end(ap);

    if (n < 0 || (size_t) n >= CALL_HTTP_HEAD - w->n) {
        w->full = 1;
        return;
    }

    w->n += (size_t) n;
}


int
call_http_parse(call_http_answer_t *answer, const char *data, size_t n,
    size_t *used)
{
    const char  *p, *end, *line;

    *used = 0;

    for ( ;; ) {
        p = data + *used;
        end = call_http_end(p, n - *used);

        if (end == NULL) {
            return n - *used < CALL_HTTP_HEAD ? FAAS_OK : FAAS_ERROR;
        }

        line = memchr(p, '\r', (size_t) (end - p));

        if (call_http_status(answer, p, line) != FAAS_OK) {
            return FAAS_ERROR;
        }

        *used = (size_t) (end - data);

        /* 101 would be another protocol, and nobody asked for one */

        if (answer->status >= 200) {
            break;
        }

        if (answer->status == 101) {
            return FAAS_ERROR;
        }

        answer->status = 0;
    }

    /* lines with their ends, up to the empty one */

    answer->headers = line + 2;
    answer->headers_length = (size_t) (end - 2 - answer->headers);

    for (p = answer->headers; p < end - 2; p = line + 2) {
        line = memchr(p, '\r', (size_t) (end - p));

        if (line == NULL || line[1] != '\n'
            || call_http_header(answer, p, line) != FAAS_OK)
        {
            return FAAS_ERROR;
        }
    }

    return call_http_body(answer);
}


/* behind the empty line, or NULL */

static const char *
call_http_end(const char *data, size_t n)
{
    const char  *p;

    p = memmem(data, n, "\r\n\r\n", 4);

    return p ? p + 4 : NULL;
}


/* "HTTP/1.1 200 OK" */

static int
call_http_status(call_http_answer_t *answer, const char *p, const char *end)
{
    int  i;

    if (end == NULL || end[1] != '\n' || end - p < 12
        || memcmp(p, "HTTP/1.1 ", 9) != 0
        || (end - p > 12 && p[12] != ' ')
        || !call_http_is_text(p, (size_t) (end - p)))
    {
        return FAAS_ERROR;
    }

    answer->status = 0;

    for (i = 9; i < 12; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return FAAS_ERROR;
        }

        answer->status = answer->status * 10 + (p[i] - '0');
    }

    return answer->status >= 100 && answer->status <= 599 ? FAAS_OK
                                                          : FAAS_ERROR;
}


static int
call_http_header(call_http_answer_t *answer, const char *p, const char *end)
{
    size_t       n, length;
    const char  *colon;

    colon = memchr(p, ':', (size_t) (end - p));

    if (colon == NULL || !call_http_is_token(p, (size_t) (colon - p))) {
        return FAAS_ERROR;
    }

    n = (size_t) (colon - p);

    for (p = colon + 1; p < end && (*p == ' ' || *p == '\t'); p++) {
        /* void */
    }

    while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }

    length = (size_t) (end - p);

    if (!call_http_is_text(p, length)) {
        return FAAS_ERROR;
    }

    colon -= n;

    if (n == 14 && strncasecmp(colon, "Content-Length", n) == 0) {
        return call_http_length(answer, p, length);
    }

    if (n == 17 && strncasecmp(colon, "Transfer-Encoding", n) == 0) {

        if (answer->chunked || length != 7
            || strncasecmp(p, "chunked", length) != 0)
        {
            return FAAS_ERROR;
        }

        answer->chunked = 1;
    }

    if (n == 10 && strncasecmp(colon, "Connection", n) == 0
        && !(length == 10 && strncasecmp(p, "keep-alive", length) == 0))
    {
        answer->close = 1;
    }

    return FAAS_OK;
}


static int
call_http_length(call_http_answer_t *answer, const char *p, size_t n)
{
    size_t  i;

    if (answer->has_length || n == 0 || n > 18) {
        return FAAS_ERROR;
    }

    answer->has_length = 1;
    answer->length = 0;

    for (i = 0; i < n; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return FAAS_ERROR;
        }

        answer->length = answer->length * 10 + (uint64_t) (p[i] - '0');
    }

    return FAAS_OK;
}


/*
 * An answer that ends with its connection is not accepted: nobody could tell
 * the whole of it from a part.
 */

static int
call_http_body(call_http_answer_t *answer)
{
    if (answer->chunked && answer->has_length) {
        return FAAS_ERROR;
    }

    if (answer->is_head || answer->status == 204 || answer->status == 304) {
        answer->chunked = 0;
        answer->length = 0;
        return FAAS_OK;
    }

    return answer->chunked || answer->has_length ? FAAS_OK : FAAS_ERROR;
}


int
call_http_chunks(call_http_answer_t *answer, char *data, size_t n,
    size_t *used, size_t *decoded)
{
    int     rc;
    char   *dst;
    size_t  i, part;

    dst = data;
    rc = 0;

    for (i = 0; i < n && rc == 0; /* void */ ) {

        if (answer->state != CHUNK_DATA) {
            rc = call_http_chunk_byte(answer, data[i++]);
            continue;
        }

        part = answer->left < n - i ? (size_t) answer->left : n - i;

        memmove(dst, data + i, part);
        dst += part;
        i += part;
        answer->left -= part;

        if (answer->left == 0) {
            answer->state = CHUNK_DATA_CR;
        }
    }

    *used = i;
    *decoded = (size_t) (dst - data);

    return rc;
}


/*
 * One byte that is no data: 0, 1 at the end of all, FAAS_ERROR.  nginx sends
 * no extensions of chunks; it may send trailers, which say nothing here.
 */

static int
call_http_chunk_byte(call_http_answer_t *answer, char c)
{
    switch (answer->state) {

    case CHUNK_SIZE:

        if (call_http_hex(c) >= 0 && ++answer->line <= CALL_HTTP_DIGITS) {
            answer->left = answer->left * 16 + (uint64_t) call_http_hex(c);
            return 0;
        }

        answer->state = CHUNK_SIZE_LF;
        return c == '\r' && answer->line ? 0 : FAAS_ERROR;

    case CHUNK_SIZE_LF:
        answer->state = answer->left ? CHUNK_DATA : CHUNK_TRAILER;
        answer->line = 0;
        break;

    case CHUNK_DATA_CR:
        answer->state = CHUNK_DATA_LF;
        return c == '\r' ? 0 : FAAS_ERROR;

    case CHUNK_DATA_LF:
        answer->state = CHUNK_SIZE;
        break;

    case CHUNK_TRAILER:

        if (c == '\r') {
            answer->state = CHUNK_TRAILER_LF;
            return 0;
        }

        answer->line++;

        return c != '\n' && ++answer->trailer < CALL_HTTP_HEAD ? 0
                                                               : FAAS_ERROR;

    default: /* CHUNK_TRAILER_LF */

        if (c == '\n' && answer->line == 0) {
            return 1;
        }

        answer->state = CHUNK_TRAILER;
        answer->line = 0;
        break;
    }

    return c == '\n' ? 0 : FAAS_ERROR;
}


static int
call_http_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }

    return -1;
}
