
/*
 * What the files of nginx's end of the host share:
 *
 *   ngx_http_faas_internal.c    the socket of the faas_internal server
 *   ngx_http_faas_implicit.c    that server, where nobody wrote one
 *   ngx_http_faas_keeper.c      starts the keeper
 *   ngx_http_faas_host.c        the master: attach, reload, lifeline
 *   ngx_http_faas_worker.c      a worker: record, wake-ups, pages
 */


#ifndef NGX_HTTP_FAAS_HOST_H_INCLUDED
#define NGX_HTTP_FAAS_HOST_H_INCLUDED


#include "ngx_http_faas_module.h"


/* what a socket's path in faas_state may take beyond faas_state itself:
   "/slots/4294967295.sock" and a zero */
#define NGX_HTTP_FAAS_STATE_MAX                                               \
    (sizeof(((struct sockaddr_un *) 0)->sun_path)                             \
     - sizeof("/slots/4294967295.sock"))


/*
 * Starts a keeper for faas_state and waits until it says that the host is
 * ready.  config is a descriptor of the configuration's text; the caller
 * keeps it.  NGX_OK: *alive is the caller's, to be closed when it has attached
 * to the host or will not, which is how the host knows that it will not.
 * NGX_ERROR: the reason is in the log.
 */
ngx_int_t ngx_http_faas_keeper_start(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf, int config, int *alive);

/*
 * A connection to NAME in faas_state, close-on-exec, of this type of
 * socket(2).  When it blocks, connect, send and receive do so for at most
 * patience seconds; 0 for one that does not.  -1 with errno.
 */
int ngx_http_faas_host_connect(ngx_str_t *state, const char *name, int type,
    time_t patience);

/* postconfiguration: makes the faas_internal server listen; removes a stale
   socket.  init_module: who may connect to it; takes it away, since nginx
   will not start, unless it was another one's before */
ngx_int_t ngx_http_faas_internal_listen(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf);
void ngx_http_faas_internal_permit(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf);
void ngx_http_faas_internal_remove(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf);

/* ngx_http_faas_implicit.c: makes the faas_internal server unless there is
   one; takes it out again */
ngx_int_t ngx_http_faas_implicit_create(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf);
void ngx_http_faas_implicit_remove(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf);

char *ngx_http_faas_internal(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* NGX_HTTP_FAAS_HOST_H_INCLUDED */
