
/*
 * $faas_request_id: what a request is called in logs and by its function.
 *
 * The client's X-Request-ID, if it is one that may be put into a log line;
 * else nginx's $request_id, if this configuration uses that anywhere, so that
 * both logs say the same; else as many random digits made here: $request_id
 * asks OpenSSL for each request, which costs a twentieth of the whole.
 */


#include "ngx_http_faas_module.h"

#include <sys/random.h>


#define NGX_HTTP_FAAS_ID_BYTES  16
#define NGX_HTTP_FAAS_ID_MAX    128

/* ids made with one call of the system */
#define NGX_HTTP_FAAS_ID_BATCH  256


static ngx_int_t ngx_http_faas_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_str_t *ngx_http_faas_id_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_faas_id_random(u_char *id);


static ngx_str_t  ngx_http_faas_id_name = ngx_string("faas_request_id");
static ngx_str_t  ngx_http_faas_id_stock = ngx_string("request_id");
static ngx_str_t  ngx_http_faas_id_key = ngx_string("X-Request-ID");


ngx_int_t
ngx_http_faas_id_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    /* cacheable: one id for a request, its subrequests and redirects */

    var = ngx_http_add_variable(cf, &ngx_http_faas_id_name, 0);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_faas_id_variable;

    return NGX_OK;
}


ngx_int_t
ngx_http_faas_id_find(ngx_conf_t *cf)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].name.len == ngx_http_faas_id_stock.len
            && ngx_strncmp(v[i].name.data, ngx_http_faas_id_stock.data,
                           v[i].name.len)
               == 0)
        {
            return i;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_faas_id_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char                      id[NGX_HTTP_FAAS_ID_BYTES];
    ngx_str_t                  *header;
    ngx_http_variable_value_t  *stock;
    ngx_http_faas_main_conf_t  *fmcf;

    header = ngx_http_faas_id_header(r->main);

    if (header != NULL) {
        v->data = header->data;
        v->len = header->len;
        goto found;
    }

    fmcf = ngx_http_get_module_main_conf(r, ngx_http_faas_module);

    if (fmcf->request_id != NGX_ERROR) {
        stock = ngx_http_get_indexed_variable(r, fmcf->request_id);

        if (stock == NULL) {
            return NGX_ERROR;
        }

        if (!stock->not_found) {
            v->data = stock->data;
            v->len = stock->len;
            goto found;
        }
    }

    v->data = ngx_pnalloc(r->pool, 2 * NGX_HTTP_FAAS_ID_BYTES);
    if (v->data == NULL || ngx_http_faas_id_random(id) != NGX_OK) {
        return NGX_ERROR;
    }

    v->len = ngx_hex_dump(v->data, id, NGX_HTTP_FAAS_ID_BYTES) - v->data;

found:

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* letters, digits and what ids are joined with: nothing that could forge a
   line of a log */

static ngx_str_t *
ngx_http_faas_id_header(ngx_http_request_t *r)
{
    u_char      ch;
    size_t      i;
    ngx_str_t  *value;

    value = ngx_http_faas_header(r, &ngx_http_faas_id_key);

    if (value == NULL || value->len == 0
        || value->len > NGX_HTTP_FAAS_ID_MAX)
    {
        return NULL;
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_'
            || ch == '.' || ch == ':' || ch == '/' || ch == '+' || ch == '=')
        {
            continue;
        }

        return NULL;
    }

    return value;
}


/* only workers come here: the batch is never shared by a fork */

static ngx_int_t
ngx_http_faas_id_random(u_char *id)
{
    static u_char  batch[NGX_HTTP_FAAS_ID_BATCH * NGX_HTTP_FAAS_ID_BYTES];
    static size_t  left;

    if (left == 0) {

        if (getrandom(batch, sizeof(batch), 0) != (ssize_t) sizeof(batch)) {
            return NGX_ERROR;
        }

        left = sizeof(batch);
    }

    left -= NGX_HTTP_FAAS_ID_BYTES;
    ngx_memcpy(id, batch + left, NGX_HTTP_FAAS_ID_BYTES);

    return NGX_OK;
}
