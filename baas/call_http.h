
/*
 * The HTTP/1.1 of calls between functions: what is asked, and what nginx
 * answers.  Pure.  Strict: an answer of any doubtful form is no answer, since
 * the next one on the same connection would be taken for a part of it.
 */


#ifndef CALL_HTTP_H_INCLUDED
#define CALL_HTTP_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "baas.h"


#define CALL_HTTP_HEAD  (64 * 1024)     /* of a request, and of an answer */


/* what a request's head is made of */

typedef struct {
    const char               *function;    /* a valid name */
    const faas_call_t        *call;
    const char               *method;
    const char               *name;        /* of the caller */
    const char               *token;       /* likewise */
    const baas_scope_t       *scope;
    int64_t                   left_ms;     /* INT64_MAX: no limit */
} call_http_request_t;


/* one answer, while it is read; zeroed at first, is_head set */

typedef struct {
    int                       status;      /* 0: the head is not all there */
    const char               *headers;     /* inside the head: lines ended by
                                              \r\n, without the empty one */
    size_t                    headers_length;
    uint64_t                  length;      /* of the body, unless chunked */
    unsigned                  is_head:1;   /* the answer to a HEAD */
    unsigned                  has_length:1;
    unsigned                  chunked:1;
    unsigned                  close:1;     /* the connection ends after it */

    /* chunked: where in it */
    int                       state;
    unsigned                  line;        /* bytes of a size or trailer */
    uint64_t                  left;        /* of a chunk's data; of its size,
                                              what was read of it */
    size_t                    trailer;     /* bytes of all trailers */
} call_http_answer_t;


/* the method that is meant, or NULL: it is no token */
const char *call_http_method(const faas_call_t *call);

/*
 * Writes the head to buf[CALL_HTTP_HEAD]; its length in *n.  FAAS_OK,
 * FAAS_EINVAL (method, path, header), FAAS_ETOOLARGE.
 */
int call_http_head(const call_http_request_t *request, char *buf, size_t *n);

/*
 * Looks for an answer's head at data, interim ones (1xx) are skipped.  The
 * bytes that it and they take in *used; FAAS_OK: answer->status is set, or is
 * 0 when more is needed.  FAAS_ERROR: it is none.
 */
int call_http_parse(call_http_answer_t *answer, const char *data, size_t n,
    size_t *used);

/*
 * Decodes chunked data[n] in place; *used: bytes taken, *decoded: bytes of
 * body that now are at data's beginning.  1: that was the end; 0: there is
 * more to come; FAAS_ERROR.
 */
int call_http_chunks(call_http_answer_t *answer, char *data, size_t n,
    size_t *used, size_t *decoded);


#endif /* CALL_HTTP_H_INCLUDED */
