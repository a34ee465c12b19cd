
/*
 * The Prefer header (RFC 7240).  libc only, so that it is tested without
 * nginx.
 */


#ifndef NGX_HTTP_FAAS_PREFER_H_INCLUDED
#define NGX_HTTP_FAAS_PREFER_H_INCLUDED


#include <stddef.h>


/*
 * Is "respond-async" among the preferences of this field value?  0 or 1.  A
 * preference that is malformed counts for nothing, the others stand.
 */
int ngx_http_faas_prefer_is_async(const char *s, size_t n);


#endif /* NGX_HTTP_FAAS_PREFER_H_INCLUDED */
