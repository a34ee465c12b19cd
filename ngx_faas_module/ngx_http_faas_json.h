
/*
 * A writer of JSON: calls put commas, names and escapes where they belong,
 * and hand the text on in pieces.  libc only.
 *
 *     ngx_http_faas_json_open(&j, NULL, '{');
 *     ngx_http_faas_json_number(&j, "answer", 42);
 *     ngx_http_faas_json_close(&j, '}');
 *
 * The name is for members of an object and NULL elsewhere; it stands in the
 * source, so it needs no escapes.  Once the sink has failed, nothing more is
 * handed to it: the caller looks at j->failed at the end.
 */


#ifndef NGX_HTTP_FAAS_JSON_H_INCLUDED
#define NGX_HTTP_FAAS_JSON_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


typedef struct {
    /* takes n bytes; 0, or -1 when it cannot */
    int                     (*sink)(void *data, const char *p, size_t n);
    void                     *data;
    unsigned                  comma:1;     /* before the next value */
    unsigned                  failed:1;
} ngx_http_faas_json_t;


void ngx_http_faas_json_open(ngx_http_faas_json_t *j, const char *name,
    char bracket);
void ngx_http_faas_json_close(ngx_http_faas_json_t *j, char bracket);

void ngx_http_faas_json_number(ngx_http_faas_json_t *j, const char *name,
    uint64_t n);
void ngx_http_faas_json_flag(ngx_http_faas_json_t *j, const char *name,
    int flag);

/* any bytes: what is not UTF-8 becomes U+FFFD */
void ngx_http_faas_json_string(ngx_http_faas_json_t *j, const char *name,
    const char *s, size_t n);

/* zero-terminated */
void ngx_http_faas_json_text(ngx_http_faas_json_t *j, const char *name,
    const char *s);


#endif /* NGX_HTTP_FAAS_JSON_H_INCLUDED */
