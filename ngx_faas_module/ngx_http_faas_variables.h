
#ifndef NGX_HTTP_FAAS_VARIABLES_H_INCLUDED
#define NGX_HTTP_FAAS_VARIABLES_H_INCLUDED


#include "ngx_http_faas_module.h"


/* as users read them in $faas_outcome and $faas_mode, static; "" for a number
   that has no name */
const char *ngx_http_faas_outcome_name(ngx_uint_t outcome);
const char *ngx_http_faas_mode_name(ngx_uint_t mode);


#endif /* NGX_HTTP_FAAS_VARIABLES_H_INCLUDED */
