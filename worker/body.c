
/*
 * The body of a request, as libfcgi's stream hands it out: the fields rdNext
 * and stop of a stream bound what is there without a further read.
 */


#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "faas_scoreboard.h"
#include "fcgi_io.h"
#include "request.h"


#define BODY_FIRST  8192

/*
 * How long the rest of a body that nobody wants is waited for: for the next
 * bytes of it, and in all.  After that the connection is given up, and the
 * instance is free for others.
 */
#define BODY_PAUSE_MS   200
#define BODY_LINGER_MS  1000


static ssize_t body_read_held(faas_request_t *r, void *buf, size_t n);
static int body_grow(char **body, size_t *size, size_t length);


ssize_t
faas_read(faas_request_t *r, void *buf, size_t n)
{
    int           c;
    char         *p;
    size_t        there;
    FCGX_Stream  *in;

    if (n == 0) {
        return 0;
    }

    if (r->body_held) {
        return body_read_held(r, buf, n);
    }

    in = r->fcgx.in;
    p = buf;
    there = 0;

    r->reading = 1;

    /* waits when nothing is there, and never for more than what came */

    if (in->rdNext == in->stop) {
        c = FCGX_GetChar(in);

        if (c == EOF) {

            if (FCGX_GetError(in) != 0 || r->taken < r->announced) {
                r->body_lost = 1;

            } else {
                core_body(NULL, 0);
            }

            return r->body_lost ? FAAS_ERROR : 0;
        }

        *p++ = (char) c;
        there = 1;
    }

    n -= there;

    if (n > (size_t) (in->stop - in->rdNext)) {
        n = (size_t) (in->stop - in->rdNext);
    }

    memcpy(p, in->rdNext, n);
    in->rdNext += n;

    there += n;
    r->taken += there;

    core_body(buf, there);

    return (ssize_t) there;
}


static ssize_t
body_read_held(faas_request_t *r, void *buf, size_t n)
{
    size_t  left;

    left = r->body_length - r->body_given;

    if (r->body == NULL || left == 0) {
        return 0;
    }

    if (n > left) {
        n = left;
    }

    memcpy(buf, r->body + r->body_given, n);
    r->body_given += n;

    return (ssize_t) n;
}


int
body_hold(faas_request_t *r, size_t max)
{
    size_t  n;

    if (faas_body(r, max, &n) == NULL) {
        return FAAS_ERROR;
    }

    r->body_held = 1;

    return FAAS_OK;
}


const char *
faas_body(faas_request_t *r, size_t max, size_t *n)
{
    int       error;
    char     *body;
    size_t    size, length;
    ssize_t   got;

    if (r->body) {

        if (r->body_held && max && r->body_length > max) {
            errno = EMSGSIZE;
            return NULL;
        }

        *n = r->body_length;
        return r->body;
    }

    if (r->reading) {
        errno = EINVAL;
        return NULL;
    }

    if ((max && r->announced > max) || r->announced > SIZE_MAX / 4) {
        errno = EMSGSIZE;
        return NULL;
    }

    length = 0;

    /* one more to meet the end with, and one for the zero */

    size = r->announced ? (size_t) r->announced + 2 : BODY_FIRST;

    body = malloc(size);
    if (body == NULL) {
        return NULL;
    }

    for ( ;; ) {

        if (body_grow(&body, &size, length) != FAAS_OK) {
            error = ENOMEM;
            goto failed;
        }

        got = faas_read(r, body + length, size - length - 1);

        if (got == 0) {
            break;
        }

        if (got < 0) {
            error = EIO;
            goto failed;
        }

        length += (size_t) got;

        if (max && length > max) {
            error = EMSGSIZE;
            goto failed;
        }
    }

    body[length] = '\0';

    r->body = body;
    r->body_length = length;
    *n = length;

    return body;

failed:

    free(body);
    errno = error;

    return NULL;
}


/* room for one more byte at least, and the zero behind it */

static int
body_grow(char **body, size_t *size, size_t length)
{
    char  *p;

    if (*size - length > 1) {
        return FAAS_OK;
    }

    if (*size > SIZE_MAX / 2) {
        return FAAS_ERROR;
    }

    p = realloc(*body, *size * 2);
    if (p == NULL) {
        return FAAS_ERROR;
    }

    *body = p;
    *size *= 2;

    return FAAS_OK;
}


int
body_end(faas_request_t *r)
{
    FCGX_Stream  *in;

    in = r->fcgx.in;

    /*
     * All that was announced is read: then the record that ends the stream is
     * there already, or is just coming
     */

    if (!r->unknown && r->taken >= r->announced && in->rdNext == in->stop) {

        if (FCGX_GetChar(in) != EOF) {
            r->taken++;
        }
    }

    if (!FCGX_HasSeenEOF(in)) {
        return FAAS_AGAIN;
    }

    return FCGX_GetError(in) == 0 ? FAAS_OK : FAAS_DONE;
}


int
body_drain(faas_request_t *r)
{
    FCGX_Stream  *in;

    in = r->fcgx.in;

    /* a read that waits too long is an error of the stream, and its end */

    fcgi_io_bound(BODY_PAUSE_MS, BODY_LINGER_MS);

    while (!FCGX_HasSeenEOF(in)) {
        in->rdNext = in->stop;
        (void) FCGX_GetChar(in);
    }

    fcgi_io_bound(0, 0);

    return FCGX_GetError(in) == 0 ? FAAS_OK : FAAS_DONE;
}


void
body_free(faas_request_t *r)
{
    free(r->body);
    r->body = NULL;
}
