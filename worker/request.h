
/*
 * One request inside an instance: what came by FastCGI, its body, and the
 * answer being made.  libfcgi reads requests and writes the small answers;
 * the instance decides which connection, and closes it.
 *
 *   request_read()    BEGIN_REQUEST and all parameters
 *   request_start()   the deadline begins
 *   ...               the handler, through faas.h
 *   request_finish()  the rest of the answer, what was not read of the body,
 *                     END_REQUEST, and all memory of the request
 *
 * A request lives in one struct that is used again for the next.
 */


#ifndef REQUEST_H_INCLUDED
#define REQUEST_H_INCLUDED


#include <fcgiapp.h>
#include <stdint.h>

#include "arena.h"
#include "baas.h"
#include "faas.h"
#include "pairs.h"


/* One header of the answer. */

typedef struct {
    const char               *name;
    const char               *value;
    size_t                    name_length;
    size_t                    length;      /* of value */
} response_header_t;


/* bytes of a body that are gathered before the headers go out */
#define RESPONSE_GATHER  65536


/*
 * The answer.  Up to `limit` bytes of the body are gathered; beyond it, and by
 * faas_flush(), the headers go out, and no header can change.
 */

typedef struct {
    response_header_t        *header;      /* in the arena */
    size_t                    headers;
    size_t                    headers_max;
    size_t                    headers_size;  /* bytes of all, as sent */
    char                     *data;        /* gathered, malloc()ed, kept for
                                              the next request if small */
    size_t                    length;
    size_t                    size;
    size_t                    limit;       /* RESPONSE_GATHER, unless held */
    uint64_t                  counted;     /* HEAD: bytes not gathered */
    int                       status;      /* 0: not set */
    int                       head;        /* 1: the request is a HEAD */
    unsigned                  sent:1;      /* the headers are out */
    unsigned                  lost:1;      /* the connection is */
    unsigned                  held:1;      /* nothing goes out before the
                                              handler's end */
    unsigned                  over:1;      /* held, and more than limit */
} response_t;


/* what sdk_event.c knows of the request's event */
typedef struct sdk_event_s  sdk_event_t;


struct faas_request_s {
    FCGX_Request              fcgx;
    arena_t                   arena;
    pairs_t                   query;
    pairs_t                   params;
    uint64_t                  deadline_ns; /* CLOCK_MONOTONIC, 0: none */
    uint64_t                  services_ns; /* the one of services, before it */

    /* what each request is asked for, found in one walk over the variables;
       NULL: there is none */
    const char               *id;
    const char               *method;
    const char               *uri;
    const char               *content_length;
    const char               *transfer_encoding;
    const char               *faas_timeout;

    uint32_t                  mark;        /* END_REQUEST's status, which
                                              says whose it is; faas_page.h */
    uint64_t                  announced;   /* CONTENT_LENGTH, 0: none */
    uint64_t                  taken;       /* bytes read of the body */
    char                     *body;        /* by faas_body(), malloc()ed */
    size_t                    body_length;
    unsigned                  unknown:1;   /* there may be one, of a length
                                              that is known at its end */
    size_t                    body_given;  /* by faas_read() out of body */
    unsigned                  reading:1;   /* some of it was read */
    unsigned                  body_held:1; /* faas_read() reads from body */
    unsigned                  body_lost:1; /* ended before its end */

    response_t                response;

    baas_t                   *baas;        /* used by this request, or NULL */
    sdk_event_t              *event;       /* asked for, or NULL */
};


/*
 * Reads a request's head from connection fd; blocks.  FAAS_OK; FAAS_DONE when
 * the sender went away or did not speak FastCGI: then fd is closed.
 */
int request_read(faas_request_t *r, int fd);

/* the execution budget begins at now_ns; timeout_ms 0: no limit */
void request_start(faas_request_t *r, uint64_t now_ns, uint32_t timeout_ms);

/*
 * Ends it with the handler's result.  FAAS_OK: the connection is in step and
 * can be kept; FAAS_DONE: it has to be closed.
 */
int request_finish(faas_request_t *r, int result);

/* frees what is kept from one request to the next */
void request_destroy(faas_request_t *r);

/* a CGI variable; NULL when there is none, and for HTTP_PROXY */
const char *request_variable(faas_request_t *r, const char *name);


/*
 * body.c: before END_REQUEST the rest of the body has to be taken in, or what
 * libfcgi reads of it later could be the next request's first bytes.
 *
 * body_end() does so when it need not wait for the sender: FAAS_OK, or
 * FAAS_AGAIN when some is left.  body_drain() waits for it, but not for ever:
 * FAAS_OK, or FAAS_DONE: the connection cannot be kept.
 */
int body_end(faas_request_t *r);
int body_drain(faas_request_t *r);
void body_free(faas_request_t *r);

/*
 * Takes all of it in, so that faas_read() and faas_body() both find the whole
 * whatever was read before them: FAAS_OK; FAAS_ERROR: it is longer than max,
 * or cannot be had.
 */
int body_hold(faas_request_t *r, size_t max);

/*
 * response.c: completes the answer with the handler's result, all but
 * END_REQUEST.  FAAS_OK; FAAS_ERROR: cut the connection, so that nobody takes
 * what was sent for the whole.
 */
void response_start(faas_request_t *r);
int response_finish(faas_request_t *r, int result);
void response_free(faas_request_t *r);

/* forgets what is gathered: another answer takes its place */
void response_clear(faas_request_t *r);

/* holds all of it back until response_finish(): up to limit bytes, a power of
   two and RESPONSE_GATHER at least; beyond, faas_write() fails */
void response_hold(faas_request_t *r, size_t limit);


#endif /* REQUEST_H_INCLUDED */
