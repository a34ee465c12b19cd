
#ifndef NGX_HTTP_FAAS_ROUTER_H_INCLUDED
#define NGX_HTTP_FAAS_ROUTER_H_INCLUDED


#include "ngx_http_faas_route_index.h"


/*
 * This worker's index of the newest table that it could take, or NULL: for
 * status, which lists routes.  Valid until the caller returns to the event
 * loop, or asks the router again.
 */
ngx_http_faas_route_index_t *ngx_http_faas_router_index(void);


#endif /* NGX_HTTP_FAAS_ROUTER_H_INCLUDED */
