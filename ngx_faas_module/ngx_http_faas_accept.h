
/*
 * In which form a client would have an error told, by its Accept header (RFC
 * 9110): plain text unless it names another one.  libc only.
 */


#ifndef NGX_HTTP_FAAS_ACCEPT_H_INCLUDED
#define NGX_HTTP_FAAS_ACCEPT_H_INCLUDED


#include <stddef.h>


typedef enum {
    NGX_HTTP_FAAS_ACCEPT_TEXT = 0,
    NGX_HTTP_FAAS_ACCEPT_PROBLEM,          /* application/problem+json */
    NGX_HTTP_FAAS_ACCEPT_HTML,
    NGX_HTTP_FAAS_ACCEPT_TYPES
} ngx_http_faas_accept_e;


/* what the header says so far; zeroed at first */

typedef struct {
    struct {
        int                   named;       /* 3: by its name, 2: text/ and
                                              any, 1: any, 0: it is not */
        int                   weight;      /* q, thousandths */
    } type[NGX_HTTP_FAAS_ACCEPT_TYPES];
} ngx_http_faas_accept_t;


/* one header line, of n bytes; what is malformed in it is left out */
void ngx_http_faas_accept_add(ngx_http_faas_accept_t *a, const char *s,
    size_t n);

ngx_http_faas_accept_e ngx_http_faas_accept_choose(
    const ngx_http_faas_accept_t *a);


#endif /* NGX_HTTP_FAAS_ACCEPT_H_INCLUDED */
