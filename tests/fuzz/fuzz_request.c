/* objects: worker/request.c worker/pairs.c worker/body.c worker/fcgi_io.c worker/response.c */
/* objects: worker/output.c worker/arena.c worker/environment.c */
/* objects: worker/sdk_event.c worker/core.c worker/core_trace.c */
/* objects: worker/core_symbols.c */
/* libs: -lfcgi */

/*
 * A request as an instance reads it: one byte, then the parameters, one
 * NAME=VALUE a line (headers, Faas-Timeout, lengths), an empty line, and the
 * body.  The records themselves are nginx's, well-formed, and libfcgi's to
 * read: it takes the lengths in them for what they say.
 */


#include "fuzz.h"

#include <fastcgi.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "environment.h"
#include "faas_scoreboard.h"
#include "instance.h"
#include "request.h"


static int  initialized;


/* what core_trace.c asks of an instance */

int
instance_is_self(void)
{
    return 1;
}


static void
put_record(int s, int type, const char *data, size_t n)
{
    unsigned char  header[8];

    memset(header, 0, sizeof(header));
    header[0] = 1;
    header[1] = (unsigned char) type;
    header[3] = 1;
    header[4] = (unsigned char) (n >> 8);
    header[5] = (unsigned char) n;

    must(write(s, header, 8) == 8);
    must(n == 0 || write(s, data, n) == (ssize_t) n);
}


/* returns where the body begins */

static const char *
put_params(int s, const char *p, const char *end)
{
    char        *q;
    size_t       n, m;
    const char  *line, *equals;
    static char  buf[32768];

    q = buf;

    while (p < end) {
        line = memchr(p, '\n', (size_t) (end - p));
        line = line ? line : end;

        if (line == p) {
            p++;
            break;
        }

        equals = memchr(p, '=', (size_t) (line - p));
        n = equals ? (size_t) (equals - p) : (size_t) (line - p);
        m = equals ? (size_t) (line - equals - 1) : 0;

        if (n < 128 && m < 128) {
            *q++ = (char) n;
            *q++ = (char) m;
            memcpy(q, p, n);
            q += n;
            memcpy(q, line - m, m);
            q += m;
        }

        p = line < end ? line + 1 : end;
    }

    put_record(s, FCGI_PARAMS, buf, (size_t) (q - buf));

    if (q > buf) {
        put_record(s, FCGI_PARAMS, "", 0);
    }

    return p;
}


static void
handle(faas_request_t *r)
{
    char         buf[64];
    size_t       n;
    int64_t      left;
    const char  *value;

    request_start(r, 1000, 5000);

    left = faas_time_left(r);
    must(left <= 5000);

    must(faas_method(r) != NULL && faas_uri(r) != NULL);
    must(faas_path(r) != NULL && faas_path_info(r) != NULL);
    must(faas_query_string(r) != NULL);

    value = faas_query(r, "a", &n);
    must(value == NULL || value[n] == '\0');
    (void) faas_param(r, "name");
    (void) faas_header(r, "X-Test");
    (void) faas_header(r, "Content-Length");
    (void) faas_request_id(r);
    (void) faas_content_length(r);

    if (faas_header(r, "X-Body") != NULL) {
        (void) faas_body(r, 4096, &n);

    } else {
        (void) faas_read(r, buf, sizeof(buf));
    }

    value = faas_query(r, "header", NULL);

    if (value != NULL) {
        (void) faas_header_set(r, "X-Answer", value);
        (void) faas_header_set(r, value, "x");
    }

    (void) faas_status(r, 200);
    (void) faas_printf(r, "%s\n", faas_path(r));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                    pair[2];
    const char            *p, *end;
    static faas_request_t  request;
    faas_request_t        *r;
    static const char      begin[8] = { 0, FCGI_RESPONDER, FCGI_KEEP_CONN };

    if (size < 2 || size > 16384) {
        return 0;
    }

    if (!initialized) {
        must(FCGX_Init() == 0);
        initialized = 1;
    }

    must(socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, pair) == 0);

    r = &request;
    p = (const char *) data + 1;
    end = (const char *) data + size;

    put_record(pair[0], FCGI_BEGIN_REQUEST, begin, sizeof(begin));
    p = put_params(pair[0], p, end);

    if (p < end) {
        put_record(pair[0], FCGI_STDIN, p, (size_t) (end - p));
    }

    put_record(pair[0], FCGI_STDIN, "", 0);

    /* nothing more will come, so nothing blocks */

    must(shutdown(pair[0], SHUT_WR) == 0);

    if (request_read(r, pair[1]) == FAAS_OK) {
        handle(r);

        (void) request_finish(r, data[0] & 1 ? -1 : 0);
        (void) close(pair[1]);
    }

    (void) close(pair[0]);

    return 0;
}
