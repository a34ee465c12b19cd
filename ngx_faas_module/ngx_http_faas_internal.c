
/*
 * faas_internal: the server that functions and the platform's own services
 * call.  It listens on internal.sock in faas_state and nowhere else; whoever
 * is not root or of the group that functions run as cannot connect, and
 * faas_invoke asks for a token besides.
 *
 * Nothing is made under `nginx -t`.
 */


#include "ngx_http_faas_host.h"

#include <grp.h>
#include <pwd.h>


#define NGX_HTTP_FAAS_INTERNAL  "internal.sock"


static ngx_uint_t ngx_http_faas_internal_listens(ngx_conf_t *cf,
    ngx_http_core_srv_conf_t *cscf);
static ngx_int_t ngx_http_faas_internal_prepare(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf);
static ngx_listening_t *ngx_http_faas_internal_listening(
    volatile ngx_cycle_t *cycle, u_char *path);
static u_char *ngx_http_faas_internal_path(ngx_pool_t *pool,
    ngx_str_t *state);
static ngx_int_t ngx_http_faas_internal_add(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf);


char *
ngx_http_faas_internal(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_srv_conf_t   *cscf;
    ngx_http_faas_main_conf_t  *fmcf;

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_faas_module);

    if (fmcf->internal && fmcf->implicit) {
        ngx_http_faas_implicit_remove(cf, fmcf);
    }

    if (fmcf->internal) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"faas_internal\", the first is in "
                           "%s:%ui, this one",
                           fmcf->internal_place.file,
                           fmcf->internal_place.line);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_faas_place(cf, &fmcf->internal_place) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    /* it gets no default port; where faas_state is may be said further on */

    cscf->listen = 1;
    fmcf->internal = cscf;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_faas_internal_listen(ngx_conf_t *cf, ngx_http_faas_main_conf_t *fmcf)
{
    ngx_int_t  rc;

    if (fmcf->internal == NULL) {
        return NGX_OK;
    }

    if (fmcf->functions.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_internal\" without \"faas_functions\" in the "
                      "\"http\" block in %s:%ui",
                      fmcf->internal_place.file, fmcf->internal_place.line);
        return NGX_ERROR;
    }

    if (ngx_http_faas_internal_listens(cf, fmcf->internal)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"listen\" cannot be beside \"faas_internal\", which "
                      "listens in \"faas_state\" only, in %s:%ui",
                      fmcf->internal_place.file, fmcf->internal_place.line);
        return NGX_ERROR;
    }

    if (!fmcf->implicit && !fmcf->invoked) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_internal\" without a \"faas_invoke\" that "
                      "would answer in %s:%ui",
                      fmcf->internal_place.file, fmcf->internal_place.line);
        return NGX_ERROR;
    }

    if (ngx_test_config || ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    rc = ngx_http_faas_internal_prepare(cf, fmcf);

    if (rc == NGX_BUSY && fmcf->implicit) {
        ngx_log_error(NGX_LOG_NOTICE, cf->log, 0,
                      "faas: another nginx listens on \"%V/"
                      NGX_HTTP_FAAS_INTERNAL "\", calls of functions are "
                      "served there", &fmcf->state);

        fmcf->internal = NULL;
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    return ngx_http_faas_internal_add(cf, fmcf);
}


/* has the user given this server an address of its own? */

static ngx_uint_t
ngx_http_faas_internal_listens(ngx_conf_t *cf, ngx_http_core_srv_conf_t *cscf)
{
    ngx_uint_t                   p, a, s;
    ngx_http_conf_port_t        *port;
    ngx_http_conf_addr_t        *addr;
    ngx_http_core_srv_conf_t   **server;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return 0;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {
            server = addr[a].servers.elts;

            for (s = 0; s < addr[a].servers.nelts; s++) {
                if (server[s] == cscf) {
                    return 1;
                }
            }
        }
    }

    return 0;
}


/*
 * Makes faas_state, and removes a socket that nobody listens on any more: a
 * killed nginx leaves it, and the next one could not bind it.  NGX_BUSY when
 * somebody else listens on it: to one that is ending, at our start, the time
 * is given that nginx itself gives to who has its addresses still.
 */

static ngx_int_t
ngx_http_faas_internal_prepare(ngx_conf_t *cf,
    ngx_http_faas_main_conf_t *fmcf)
{
    int           s;
    u_char       *path;
    ngx_str_t    *state;
    ngx_uint_t    tries;
    struct stat   st;

    state = &fmcf->state;

    path = ngx_http_faas_internal_path(cf->temp_pool, state);

    if (path == NULL) {
        return NGX_ERROR;
    }

    /* do we listen on it already, from before a reload or an upgrade? */

    if (ngx_http_faas_internal_listening(ngx_cycle, path)) {
        return NGX_OK;
    }

    if (mkdir((char *) state->data, 0755) == 0) {

        /* whatever our umask is */

        if (chmod((char *) state->data, 0755) == -1) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, ngx_errno,
                          "chmod() of \"faas_state %V\" failed", state);
            return NGX_ERROR;
        }

    } else if (ngx_errno != NGX_EEXIST) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, ngx_errno,
                      "mkdir() of \"faas_state %V\" failed", state);
        return NGX_ERROR;
    }

    tries = ngx_is_init_cycle(cf->cycle->old_cycle) ? 5 : 0;

    for ( ;; ) {
        s = ngx_http_faas_host_connect(state, NGX_HTTP_FAAS_INTERNAL,
                                       SOCK_STREAM|SOCK_NONBLOCK, 0);
        if (s == -1) {
            break;
        }

        (void) close(s);

        if (tries-- == 0 || !fmcf->implicit) {
            return NGX_BUSY;
        }

        ngx_msleep(500);
    }

    /* connect() refuses what is no socket with the same word */

    if (ngx_errno != NGX_ECONNREFUSED
        || lstat((char *) path, &st) == -1 || !S_ISSOCK(st.st_mode))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_NOTICE, cf->log, 0,
                  "faas: deleting stale socket \"%s\"", path);

    if (ngx_delete_file(path) == NGX_FILE_ERROR && ngx_errno != NGX_ENOENT) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, ngx_errno,
                      ngx_delete_file_n " \"%s\" failed", path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what a cycle listens on at this path, or NULL */

static ngx_listening_t *
ngx_http_faas_internal_listening(volatile ngx_cycle_t *cycle, u_char *path)
{
    ngx_uint_t           i;
    ngx_listening_t     *ls;
    struct sockaddr_un  *sa;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].sockaddr->sa_family != AF_UNIX) {
            continue;
        }

        sa = (struct sockaddr_un *) ls[i].sockaddr;

        if (ngx_strncmp(sa->sun_path, path, sizeof(sa->sun_path)) == 0) {
            return &ls[i];
        }
    }

    return NULL;
}


/* `listen` for the server, parsed from memory: its options differ between
   releases of nginx */

static ngx_int_t
ngx_http_faas_internal_add(ngx_conf_t *cf, ngx_http_faas_main_conf_t *fmcf)
{
    char                 *rv;
    u_char               *p, *text;
    size_t                i;
    ngx_buf_t             b;
    ngx_str_t            *state;
    ngx_conf_t            save;
    ngx_conf_file_t       file;
    ngx_http_conf_ctx_t   ctx;

    state = &fmcf->state;

    text = ngx_pnalloc(cf->temp_pool, 2 * state->len + 64);
    if (text == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(text, "listen \"unix:", sizeof("listen \"unix:") - 1);

    for (i = 0; i < state->len; i++) {
        if (state->data[i] == '"' || state->data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = state->data[i];
    }

    p = ngx_sprintf(p, "/" NGX_HTTP_FAAS_INTERNAL "\";");

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.start = text;
    b.pos = text;
    b.last = p;
    b.end = p;
    b.temporary = 1;

    ngx_memzero(&file, sizeof(ngx_conf_file_t));

    file.file.fd = NGX_INVALID_FILE;
    file.buffer = &b;

    ctx = *fmcf->internal->ctx;

    save = *cf;

    cf->args = ngx_array_create(cf->temp_pool, 4, sizeof(ngx_str_t));
    if (cf->args == NULL) {
        *cf = save;
        return NGX_ERROR;
    }

    cf->ctx = &ctx;
    cf->conf_file = &file;
    cf->module_type = NGX_HTTP_MODULE;
    cf->cmd_type = NGX_HTTP_SRV_CONF;
    cf->handler = NULL;
    cf->handler_conf = NULL;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"faas_internal\" could not listen in %s:%ui",
                      fmcf->internal_place.file, fmcf->internal_place.line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* nginx lets everybody connect to its unix sockets */

void
ngx_http_faas_internal_permit(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf)
{
    u_char         *path;
    struct stat     st;
    struct passwd  *pwd;

    if (fmcf->internal == NULL) {
        return;
    }

    path = ngx_http_faas_internal_path(cycle->pool, &fmcf->state);

    if (path == NULL) {
        return;
    }

    if (lstat((char *) path, &st) == -1 || !S_ISSOCK(st.st_mode)) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      "faas: no socket \"%s\"", path);
        return;
    }

    if (chmod((char *) path, 0660) == -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      "chmod() \"%s\" failed", path);
    }

    if (geteuid() != 0) {
        return;
    }

    pwd = getpwnam((char *) fmcf->user.data);

    if (pwd && lchown((char *) path, (uid_t) -1, pwd->pw_gid) == -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      "lchown() \"%s\" failed", path);
    }
}


void
ngx_http_faas_internal_remove(ngx_cycle_t *cycle,
    ngx_http_faas_main_conf_t *fmcf)
{
    u_char           *path;
    ngx_listening_t  *ls;

    if (fmcf->internal == NULL) {
        return;
    }

    path = ngx_http_faas_internal_path(cycle->pool, &fmcf->state);

    if (path == NULL) {
        return;
    }

    ls = ngx_http_faas_internal_listening(cycle, path);

    if (ls == NULL || ls->inherited) {
        return;
    }

    if (ngx_delete_file(path) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      ngx_delete_file_n " \"%s\" failed", path);
    }
}


static u_char *
ngx_http_faas_internal_path(ngx_pool_t *pool, ngx_str_t *state)
{
    u_char  *path;

    path = ngx_pnalloc(pool, state->len
                             + sizeof("/" NGX_HTTP_FAAS_INTERNAL));
    if (path == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(path, "%V/" NGX_HTTP_FAAS_INTERNAL "%Z", state);

    return path;
}
