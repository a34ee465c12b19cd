
/*
 * What the backend services over HTTP (kv.c, queue.c, sql.c) have in common:
 * who may use them, what a code of faas.h is in HTTP, JSON.
 *
 * Such a function answers 403 to all until its operator has said how it is
 * guarded:
 *
 *   env TOKEN=...    at least 16 bytes; "Authorization: Bearer TOKEN" is
 *                    asked for
 *   env AUTH=nginx   the location guards it, and says so with
 *                    `fastcgi_param AUTH nginx;`: other locations, by which
 *                    it could be reached as well, do not
 *
 * Errors are application/problem+json (RFC 9457).
 */


#ifndef HTTP_H_INCLUDED
#define HTTP_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <faas.h>

#include "json_text.h"


#define HTTP_OWN  "-"             /* in a path: the function's own */


/* 0: the request may be served; 1: it was answered with 401 or 403 */
int http_is_refused(faas_request_t *r);

/* answers with a problem; what the handler returns */
int http_problem(faas_request_t *r, int status, const char *detail);

/* 405; allow: "GET, HEAD" */
int http_not_allowed(faas_request_t *r, const char *allow);

/* answers with what a code of faas.h is: the one table of them */
int http_fail(faas_request_t *r, int code);

/* answers with JSON, and frees it */
int http_json(faas_request_t *r, int status, json_text_t *t);

/* "NAME":"TEXT", or "NAME64":"BASE64" when it is no UTF-8 */
void http_put_bytes(json_text_t *t, const char *name, const void *data,
    size_t n);
void http_put_number(json_text_t *t, int64_t n);

/*
 * Bytes that the client gave: the argument NAME of the query string, or NAME64
 * in base64, of either alphabet.  0; 1: neither is there; -1: malformed, or
 * both are.
 */
int http_query_bytes(faas_request_t *r, const char *name,
    faas_bytes_t *bytes);

/* decodes in the request's memory; data NULL: it is none */
faas_bytes_t http_base64(faas_request_t *r, const char *s, size_t n);

/* a decimal number, all of it, within the bounds: 0, or -1 */
int http_number(const char *s, int64_t least, int64_t most, int64_t *n);

/*
 * The next part of a path: p is at a slash or the end.  A name of
 * [a-z0-9][a-z0-9_-]*, or HTTP_OWN, which makes name "".  Returns what is
 * behind it, NULL when it is no such name.
 */
const char *http_path_name(const char *p, char name[64]);


#endif /* HTTP_H_INCLUDED */
