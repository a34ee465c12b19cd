
/*
 * The answer of a request, as CGI has it: headers, an empty line, the body.
 *
 * A small answer goes through libfcgi's stream, whose buffer takes the
 * records that end the request too: one write() for all of it.  What is
 * larger is sent from where it is, in records made here, since the stream
 * would copy it and write every 8 KiB.
 */


#include <errno.h>
#include <fastcgi.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "faas_scoreboard.h"
#include "request.h"
#include "sdk.h"


/* fits libfcgi's stream with the record that holds it and those of the end */
#define RESPONSE_SMALL   8000

/* of a gather buffer that is kept for the next request */
#define RESPONSE_KEEP    16384

/* of all headers of an answer, with room in one record */
#define RESPONSE_HEADERS_SIZE  60000

/* beside name and value: ": " and the line's end */
#define RESPONSE_LINE  4

#define RESPONSE_TYPE  "text/plain; charset=utf-8"


static int response_is_token(const char *name);
static int response_is_value(const char *value);
static int response_add(faas_request_t *r, const char *name,
    const char *value);
static void response_remove(faas_request_t *r, const char *name);
static int response_is_header(const response_header_t *header,
    const char *name);
static int response_has_header(faas_request_t *r, const char *name);
static int response_reserve(faas_request_t *r, size_t n);
static int response_has_body(faas_request_t *r);
static int response_fail(faas_request_t *r);
static int response_send(faas_request_t *r, const char *data, size_t n);
static char *response_head(faas_request_t *r, int complete, uint64_t length,
    size_t *n);
static const char *response_reason(int status);
static int response_put(faas_request_t *r, const char *head, size_t head_length,
    const char *data, size_t n);
static void response_record(struct iovec *iov, FCGI_Header *header,
    faas_request_t *r, const char *data, size_t n);
static int response_writev(faas_request_t *r, struct iovec *iov, int n);


void
response_start(faas_request_t *r)
{
    response_t  *response;

    response = &r->response;

    response->header = NULL;
    response->headers = 0;
    response->headers_max = 0;
    response->headers_size = 0;
    response->length = 0;
    response->counted = 0;
    response->status = 0;
    response->head = r->method && strcmp(r->method, "HEAD") == 0;
    response->limit = RESPONSE_GATHER;
    response->sent = 0;
    response->lost = 0;
    response->held = 0;
    response->over = 0;
}


void
response_hold(faas_request_t *r, size_t limit)
{
    r->response.limit = limit;
    r->response.held = 1;
}


void
response_clear(faas_request_t *r)
{
    r->response.headers = 0;
    r->response.headers_size = 0;
    r->response.length = 0;
    r->response.counted = 0;
    r->response.status = 0;
    r->response.over = 0;
}


int
faas_status(faas_request_t *r, int status)
{
    if (r->response.sent || status < 200 || status > 599) {
        return FAAS_ERROR;
    }

    r->response.status = status;

    return FAAS_OK;
}


int
faas_header_set(faas_request_t *r, const char *name, const char *value)
{
    if (r->response.sent) {
        return FAAS_ERROR;
    }

    if (value == NULL) {
        response_remove(r, name);
        return FAAS_OK;
    }

    if (!response_is_token(name) || !response_is_value(value)) {
        return FAAS_ERROR;
    }

    response_remove(r, name);

    return response_add(r, name, value);
}


int
faas_header_add(faas_request_t *r, const char *name, const char *value)
{
    if (r->response.sent || !response_is_token(name)
        || !response_is_value(value))
    {
        return FAAS_ERROR;
    }

    return response_add(r, name, value);
}


/*
 * RFC 9110's token.  "Status" is none here: in CGI it is the status line, for
 * which there is faas_status().
 */

static int
response_is_token(const char *name)
{
    const char  *p;

    for (p = name; *p; p++) {

        if ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z')
            || (*p >= 'a' && *p <= 'z') || strchr("!#$%&'*+-.^_`|~", *p))
        {
            continue;
        }

        return 0;
    }

    return p > name && strcasecmp(name, "Status") != 0;
}


static int
response_is_value(const char *value)
{
    for ( /* void */ ; *value; value++) {

        if (((unsigned char) *value < ' ' && *value != '\t')
            || *value == 0x7f)
        {
            return 0;
        }
    }

    return 1;
}


static int
response_add(faas_request_t *r, const char *name, const char *value)
{
    size_t              max, size, name_length, length;
    response_t         *response;
    response_header_t  *header;

    response = &r->response;

    name_length = strlen(name);
    length = strlen(value);
    size = name_length + length + RESPONSE_LINE;

    if (size > RESPONSE_HEADERS_SIZE - response->headers_size) {
        return FAAS_ERROR;
    }

    if (response->headers == response->headers_max) {
        max = response->headers_max ? response->headers_max * 2 : 16;
        header = arena_alloc(&r->arena, max * sizeof(response_header_t));

        if (header == NULL) {
            return FAAS_ERROR;
        }

        if (response->headers) {
            memcpy(header, response->header,
                   response->headers * sizeof(response_header_t));
        }

        response->header = header;
        response->headers_max = max;
    }

    name = arena_copy(&r->arena, name, name_length);
    value = arena_copy(&r->arena, value, length);

    if (name == NULL || value == NULL) {
        return FAAS_ERROR;
    }

    header = &response->header[response->headers++];
    header->name = name;
    header->value = value;
    header->name_length = name_length;
    header->length = length;

    response->headers_size += size;

    return FAAS_OK;
}


static void
response_remove(faas_request_t *r, const char *name)
{
    size_t              i, n;
    response_header_t  *header;

    header = r->response.header;
    n = 0;

    for (i = 0; i < r->response.headers; i++) {

        if (response_is_header(&header[i], name)) {
            r->response.headers_size -= header[i].name_length
                                        + header[i].length + RESPONSE_LINE;
            continue;
        }

        header[n++] = header[i];
    }

    r->response.headers = n;
}


static int
response_is_header(const response_header_t *header, const char *name)
{
    return strlen(name) == header->name_length
           && strncasecmp(header->name, name, header->name_length) == 0;
}


static int
response_has_header(faas_request_t *r, const char *name)
{
    size_t  i;

    for (i = 0; i < r->response.headers; i++) {

        if (response_is_header(&r->response.header[i], name)) {
            return 1;
        }
    }

    return 0;
}


int
faas_write(faas_request_t *r, const void *data, size_t n)
{
    response_t  *response;

    response = &r->response;

    if (response->lost) {
        return FAAS_ERROR;
    }

    if (response->head) {
        response->counted += n;
        return FAAS_OK;
    }

    if (n > response->limit - response->length) {

        if (response->held) {
            response->over = 1;
            return FAAS_ETOOLARGE;
        }

        return response_send(r, data, n);
    }

    if (response_reserve(r, n) != FAAS_OK) {
        return FAAS_ERROR;
    }

    if (n) {
        memcpy(response->data + response->length, data, n);
        response->length += n;
    }

    return FAAS_OK;
}


int
faas_printf(faas_request_t *r, const char *format, ...)
{
    int      rc;
    va_list  ap;

    va_start(ap, format);
    rc = faas_vprintf(r, format, ap);
    va_end(ap);

    return rc;
}


int
faas_vprintf(faas_request_t *r, const char *format, va_list ap)
{
    int          n, rc;
    char        *text;
    size_t       room;
    va_list      copy;
    response_t  *response;

    response = &r->response;

    if (response->lost || response_reserve(r, 1) != FAAS_OK) {
        return FAAS_ERROR;
    }

    /* into the buffer at once, which has a byte more than its size */

    room = response->size - response->length;

    va_copy(copy, ap);
    n = vsnprintf(response->data + response->length, room + 1, format, copy);
    va_end(copy);

    if (n < 0) {
        return FAAS_ERROR;
    }

    if ((size_t) n <= room) {

        if (response->head) {
            response->counted += (size_t) n;

        } else {
            response->length += (size_t) n;
        }

        return FAAS_OK;
    }

    text = malloc((size_t) n + 1);
    if (text == NULL) {
        return FAAS_ERROR;
    }

    rc = vsnprintf(text, (size_t) n + 1, format, ap) == n
         ? faas_write(r, text, (size_t) n) : FAAS_ERROR;

    free(text);

    return rc;
}


/*
 * Makes room for n bytes behind those that are gathered, up to the limit,
 * which the caller has seen to.
 */

static int
response_reserve(faas_request_t *r, size_t n)
{
    char        *data;
    size_t       size;
    response_t  *response;

    response = &r->response;

    if (n <= response->size - response->length) {
        return FAAS_OK;
    }

    for (size = response->size ? response->size : 4096;
         size - response->length < n && size < response->limit;
         size *= 2)
    {
        /* void */
    }

    data = realloc(response->data, size + 1);
    if (data == NULL) {
        return FAAS_ERROR;
    }

    response->data = data;
    response->size = size;

    return FAAS_OK;
}


int
faas_flush(faas_request_t *r)
{
    int            news;
    struct pollfd  pfd;

    if (r->response.lost) {
        return FAAS_ERROR;
    }

    if (r->response.held) {
        return FAAS_OK;
    }

    news = response_has_body(r)
           && (r->response.length || !r->response.sent);

    if (response_send(r, NULL, 0) != FAAS_OK) {
        return FAAS_ERROR;
    }

    if (news) {
        return FAAS_OK;
    }

    /* nothing is sent that could fail: so that who streams for ever learns */

    pfd.fd = r->fcgx.ipcFd;
    pfd.events = POLLRDHUP;

    if (poll(&pfd, 1, 0) == 1) {
        r->response.lost = 1;
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static int
response_has_body(faas_request_t *r)
{
    int  status;

    status = r->response.status;

    return !r->response.head && status != 204 && status != 304;
}


int
response_finish(faas_request_t *r, int result)
{
    char        *head;
    size_t       n, length;
    uint64_t     announced;
    response_t  *response;

    response = &r->response;

    if (response->lost) {
        return FAAS_ERROR;
    }

    if (result < 0) {

        if (response->sent || response_fail(r) != FAAS_OK) {
            return FAAS_ERROR;
        }
    }

    if (r->event && sdk_event_answer(r) != FAAS_OK) {
        return FAAS_ERROR;
    }

    head = NULL;
    n = 0;
    length = response_has_body(r) ? response->length : 0;

    if (!response->sent) {
        announced = response->head ? response->counted : length;

        head = response_head(r, 1, announced, &n);

        if (head == NULL) {
            return FAAS_ERROR;
        }
    }

    if (n + length > RESPONSE_SMALL) {
        return response_put(r, head, n, response->data, length);
    }

    if ((n && FCGX_PutStr(head, (int) n, r->fcgx.out) == -1)
        || (length
            && FCGX_PutStr(response->data, (int) length, r->fcgx.out) == -1))
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


/* the answer to a request whose handler failed before anything was sent */

static int
response_fail(faas_request_t *r)
{
    static const char  text[] = "the function failed\n";

    response_clear(r);
    r->response.status = 500;

    if (response_add(r, "Faas-Error", "handled") != FAAS_OK) {
        return FAAS_ERROR;
    }

    return faas_write(r, text, sizeof(text) - 1);
}


/* sends the headers if they are not out, what is gathered, and data */

static int
response_send(faas_request_t *r, const char *data, size_t n)
{
    char        *head;
    size_t       length, head_length;
    response_t  *response;

    response = &r->response;

    head = NULL;
    head_length = 0;

    if (!response->sent) {
        head = response_head(r, 0, 0, &head_length);

        if (head == NULL) {
            return FAAS_ERROR;
        }

        response->sent = 1;
    }

    length = response->length;
    response->length = 0;

    if (!response_has_body(r)) {
        length = 0;
        n = 0;
    }

    if (head_length || length) {

        if (response_put(r, head, head_length, response->data, length)
            != FAAS_OK)
        {
            return FAAS_ERROR;
        }
    }

    return n ? response_put(r, NULL, 0, data, n) : FAAS_OK;
}


/* the header lines in the arena; complete: the body's length is known */

static char *
response_head(faas_request_t *r, int complete, uint64_t length, size_t *n)
{
    int                 status, announce;
    char               *head, *p;
    size_t              i;
    response_t         *response;
    response_header_t  *header;

    response = &r->response;

    head = arena_alloc(&r->arena, response->headers_size + 256);
    if (head == NULL) {
        return NULL;
    }

    status = response->status;

    if (status == 0) {
        /* as CGI has it */
        status = response_has_header(r, "Location") ? 302 : 200;
    }

    p = head;
    p += sprintf(p, "Status: %d %s\r\n", status, response_reason(status));

    /*
     * Whoever knows better than the function does: the length of what was
     * written, but for a HEAD, where a function may write nothing and still
     * say how much there is
     */

    announce = complete && status != 204 && status != 304
               && !(response->head && response_has_header(r, "Content-Length"));

    for (i = 0; i < response->headers; i++) {
        header = &response->header[i];

        if ((announce || status == 204)
            && response_is_header(header, "Content-Length"))
        {
            continue;
        }

        p = mempcpy(p, header->name, header->name_length);
        p = stpcpy(p, ": ");
        p = mempcpy(p, header->value, header->length);
        p = stpcpy(p, "\r\n");
    }

    if ((length || !complete) && status != 204 && status != 304
        && !response_has_header(r, "Content-Type"))
    {
        p = stpcpy(p, "Content-Type: " RESPONSE_TYPE "\r\n");
    }

    if (announce) {
        p += sprintf(p, "Content-Length: %llu\r\n",
                     (unsigned long long) length);
    }

    p = stpcpy(p, "\r\n");

    *n = (size_t) (p - head);

    return head;
}


/* nginx hands the client what stands here, so a number alone will not do */

static const char *
response_reason(int status)
{
    size_t  i;

    static const struct {
        int          status;
        const char  *reason;
    } reasons[] = {
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 203, "Non-Authoritative Information" },
        { 204, "No Content" },
        { 205, "Reset Content" },
        { 206, "Partial Content" },
        { 207, "Multi-Status" },
        { 300, "Multiple Choices" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 402, "Payment Required" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 418, "I'm a teapot" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 423, "Locked" },
        { 425, "Too Early" },
        { 428, "Precondition Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 451, "Unavailable For Legal Reasons" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 507, "Insufficient Storage" },
        { 508, "Loop Detected" },
    };

    for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {

        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }

    return "Status";
}


/* sends both as STDOUT records, past libfcgi's stream, which is empty */

static int
response_put(faas_request_t *r, const char *head, size_t head_length,
    const char *data, size_t n)
{
    int           i;
    size_t        part;
    FCGI_Header   header[2];
    struct iovec  iov[4];

    while (head_length || n) {
        i = 0;

        if (head_length) {
            response_record(&iov[i], &header[0], r, head, head_length);
            head_length = 0;
            i += 2;
        }

        part = n < FCGI_MAX_LENGTH ? n : FCGI_MAX_LENGTH;

        if (part) {
            response_record(&iov[i], &header[1], r, data, part);
            data += part;
            n -= part;
            i += 2;
        }

        if (response_writev(r, iov, i) != FAAS_OK) {
            r->response.lost = 1;
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


static void
response_record(struct iovec *iov, FCGI_Header *header, faas_request_t *r,
    const char *data, size_t n)
{
    memset(header, 0, sizeof(FCGI_Header));

    header->version = FCGI_VERSION_1;
    header->type = FCGI_STDOUT;
    header->requestIdB1 = (unsigned char) (r->fcgx.requestId >> 8);
    header->requestIdB0 = (unsigned char) r->fcgx.requestId;
    header->contentLengthB1 = (unsigned char) (n >> 8);
    header->contentLengthB0 = (unsigned char) n;

    iov[0].iov_base = header;
    iov[0].iov_len = sizeof(FCGI_Header);
    iov[1].iov_base = (char *) data;
    iov[1].iov_len = n;
}


static int
response_writev(faas_request_t *r, struct iovec *iov, int n)
{
    ssize_t        sent;
    struct msghdr  mh;

    while (n) {
        memset(&mh, 0, sizeof(struct msghdr));
        mh.msg_iov = iov;
        mh.msg_iovlen = (size_t) n;

        sent = sendmsg(r->fcgx.ipcFd, &mh, MSG_NOSIGNAL);

        if (sent == -1) {

            if (errno == EINTR) {
                continue;
            }

            return FAAS_ERROR;
        }

        while (n && (size_t) sent >= iov->iov_len) {
            sent -= (ssize_t) iov->iov_len;
            iov++;
            n--;
        }

        if (n) {
            iov->iov_base = (char *) iov->iov_base + sent;
            iov->iov_len -= (size_t) sent;
        }
    }

    return FAAS_OK;
}


void
response_free(faas_request_t *r)
{
    if (r->response.size > RESPONSE_KEEP) {
        free(r->response.data);
        r->response.data = NULL;
        r->response.size = 0;
    }
}
