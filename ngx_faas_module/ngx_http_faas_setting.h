
/*
 * The settings of a faas_function block, one table.  What may stand in the
 * block, how it is read, and its bounds are said there and nowhere else.
 */


#ifndef NGX_HTTP_FAAS_SETTING_H_INCLUDED
#define NGX_HTTP_FAAS_SETTING_H_INCLUDED


#include "ngx_http_faas_module.h"


typedef struct ngx_http_faas_setting_s  ngx_http_faas_setting_t;

/* reads the setting in cf->args; NGX_CONF_OK, NGX_CONF_ERROR, or what is
   wrong with it */
typedef char *(*ngx_http_faas_setting_pt)(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);

/*
 * One setting of the block.  Those with a range are numbers: their fields are
 * as wide as a word, and all bits set means "not given".
 */

struct ngx_http_faas_setting_s {
    ngx_str_t                  name;
    ngx_http_faas_setting_pt   set;          /* NULL: not a name of its own */
    size_t                     offset;       /* in *_function_conf_t */
    int64_t                    least;        /* as is, milliseconds, bytes */
    int64_t                    most;
    const char                *range;        /* as the user writes it; NULL:
                                                not a number */
    ngx_uint_t                 args;         /* at most, after the name */
    unsigned                   zero_is_any:1;    /* 0 is more than all else */
    unsigned                   ceiling:1;    /* may stand in "*" */
};


/* ends with an empty name */
extern ngx_http_faas_setting_t  ngx_http_faas_settings[];


/* NULL when there is none */
ngx_http_faas_setting_t *ngx_http_faas_setting_find(const char *name);

/* of a setting with a range; -1: not given */
int64_t ngx_http_faas_setting_value(ngx_http_faas_function_conf_t *fn,
    ngx_http_faas_setting_t *setting);

/* "NAME N" with its unit, for errors; returns the end */
u_char *ngx_http_faas_setting_print(u_char *buf, u_char *last,
    ngx_http_faas_setting_t *setting, int64_t n);


/* ngx_http_faas_setting_event.c: `set` of some, and what contradicts */

char *ngx_http_faas_setting_consume(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
char *ngx_http_faas_setting_schedule(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
char *ngx_http_faas_setting_async(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
char *ngx_http_faas_setting_share(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);
char *ngx_http_faas_setting_durability(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_setting_t *setting);

/* all: the ceilings, or NULL */
ngx_int_t ngx_http_faas_setting_check_events(ngx_conf_t *cf,
    ngx_http_faas_function_conf_t *fn, ngx_http_faas_function_conf_t *all);


#endif /* NGX_HTTP_FAAS_SETTING_H_INCLUDED */
