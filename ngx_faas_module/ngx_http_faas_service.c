
/*
 * faas_kv, faas_queue and faas_callback: which engines the backend services
 * stand on, and where results of async calls may be posted to.
 *
 * Only the form is checked, by the parser of those who will connect: nginx
 * connects to none of them.  An engine's URL
 * may hold a password and a callback has a key, so no error says more of them
 * than what is wrong.
 */


#include "ngx_http_faas_module.h"

#include "redis_url.h"


#define NGX_HTTP_FAAS_SERVICE_URL     1024     /* bytes, at most */
#define NGX_HTTP_FAAS_SERVICE_SECRET  256
#define NGX_HTTP_FAAS_SERVICE_WHY     160


static char *ngx_http_faas_service_sqlite(ngx_conf_t *cf, ngx_str_t *url);
static const char *ngx_http_faas_service_host(u_char *p, u_char *last);
static const char *ngx_http_faas_service_prefix(ngx_str_t *url);
static char *ngx_http_faas_service_secret(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *secret);
static u_char *ngx_http_faas_service_find(u_char *p, u_char *last,
    const char *set);
static ngx_uint_t ngx_http_faas_service_is_plain(ngx_str_t *s);


/* faas_kv URL; faas_queue URL: for the latter, cmd->post is not NULL, and
   SQLite may be told its file */

char *
ngx_http_faas_service_engine(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    char          why[NGX_HTTP_FAAS_SERVICE_WHY];
    ngx_str_t    *field, *value;
    redis_url_t   redis;

    field = (ngx_str_t *) (p + cmd->offset);

    if (field->len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len > NGX_HTTP_FAAS_SERVICE_URL
        || !ngx_http_faas_service_is_plain(&value[1]))
    {
        return "must be at most 1024 printable characters without blanks";
    }

    if (ngx_strcmp(value[1].data, "sqlite") == 0) {
        *field = value[1];
        return NGX_CONF_OK;
    }

    if (cmd->post && ngx_strncmp(value[1].data, "sqlite:", 7) == 0) {
        *field = value[1];
        return ngx_http_faas_service_sqlite(cf, field);
    }

    if (!redis_url_is((char *) value[1].data)) {
        return cmd->post ? "must be \"sqlite\", \"sqlite:PATH\" or the URL "
                           "of a Redis"
                         : "must be \"sqlite\" or the URL of a Redis";
    }

    if (redis_url_parse(&redis, (char *) value[1].data, why, sizeof(why))
        != FAAS_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URL in \"%V\": %s", &cmd->name, why);
        return NGX_CONF_ERROR;
    }

    *field = value[1];

    return NGX_CONF_OK;
}


/* sqlite:PATH, made absolute as all paths here */

static char *
ngx_http_faas_service_sqlite(ngx_conf_t *cf, ngx_str_t *url)
{
    u_char     *p;
    ngx_str_t   path;

    path.data = url->data + 7;
    path.len = url->len - 7;

    if (path.len == 0 || path.data[path.len - 1] == '/') {
        return "has no file in its \"sqlite:PATH\"";
    }

    if (ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    p = ngx_pnalloc(cf->pool, 7 + path.len + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    url->data = p;
    url->len = ngx_sprintf(p, "sqlite:%V%Z", &path) - p - 1;

    return NGX_CONF_OK;
}


/* HOST, HOST:PORT, [IPV6] or [IPV6]:PORT */

static const char *
ngx_http_faas_service_host(u_char *p, u_char *last)
{
    u_char     *end, address[16];
    ngx_int_t   port;

    if (p < last && *p == '[') {
        end = ngx_http_faas_service_find(p, last, "]");

        if (end == last) {
            return "its IPv6 address has no end";
        }

        if (ngx_inet6_addr(p + 1, end - p - 1, address) != NGX_OK) {
            return "its host is no IPv6 address";
        }

        end++;

    } else {
        end = ngx_http_faas_service_find(p, last, ":");

        if (end == p) {
            return "it names no host";
        }

        for ( /* void */ ; p < end; p++) {
            if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                  || (*p >= '0' && *p <= '9')
                  || *p == '.' || *p == '-' || *p == '_'))
            {
                return "its host is no name or address";
            }
        }
    }

    if (end == last) {
        return NULL;
    }

    port = *end == ':' ? ngx_atoi(end + 1, last - end - 1) : NGX_ERROR;

    return port < 1 || port > 65535 ? "its port is no number from 1 to 65535"
                                    : NULL;
}


/* faas_callback URL-PREFIX secret=KEY|secret=file:PATH; */

char *
ngx_http_faas_service_callback(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_faas_main_conf_t *fmcf = conf;

    ngx_str_t                 *value, secret;
    ngx_uint_t                 i;
    const char                *why;
    ngx_http_faas_callback_t  *callback;

    value = cf->args->elts;

    why = ngx_http_faas_service_prefix(&value[1]);

    if (why != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URL prefix in \"faas_callback\": %s", why);
        return NGX_CONF_ERROR;
    }

    if (ngx_strncmp(value[2].data, "secret=", 7) != 0) {
        return "needs \"secret=KEY\" or \"secret=file:PATH\"";
    }

    value[2].data += 7;
    value[2].len -= 7;

    if (ngx_http_faas_service_secret(cf, &value[2], &secret) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (fmcf->callbacks == NULL) {
        fmcf->callbacks = ngx_array_create(cf->pool, 4,
                                           sizeof(ngx_http_faas_callback_t));
        if (fmcf->callbacks == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    callback = fmcf->callbacks->elts;

    for (i = 0; i < fmcf->callbacks->nelts; i++) {
        if (callback[i].prefix.len == value[1].len
            && ngx_strncmp(callback[i].prefix.data, value[1].data,
                           value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"faas_callback %V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    callback = ngx_array_push(fmcf->callbacks);
    if (callback == NULL) {
        return NGX_CONF_ERROR;
    }

    callback->prefix = value[1];
    callback->secret = secret;

    return NGX_CONF_OK;
}


/*
 * http[s]://HOST[:PORT]/...  The slash behind the host is asked for: without
 * it the prefix would also allow hosts whose names begin alike.
 */

static const char *
ngx_http_faas_service_prefix(ngx_str_t *url)
{
    u_char  *p, *path, *last;

    if (url->len > NGX_HTTP_FAAS_SERVICE_URL
        || !ngx_http_faas_service_is_plain(url))
    {
        return "it must be at most 1024 printable characters without blanks";
    }

    p = url->data;
    last = url->data + url->len;

    if (ngx_strncmp(p, "https://", 8) == 0) {
        p += 8;

    } else if (ngx_strncmp(p, "http://", 7) == 0) {
        p += 7;

    } else {
        return "it must begin with \"http://\" or \"https://\"";
    }

    path = ngx_http_faas_service_find(p, last, "/?#");

    if (ngx_http_faas_service_find(p, path, "@") != path) {
        return "it must not hold a user";
    }

    if (path == last || *path != '/') {
        return "a \"/\" must follow its host";
    }

    if (ngx_http_faas_service_find(path, last, "?#") != last) {
        return "it must not have '?' or '#'";
    }

    return ngx_http_faas_service_host(p, path);
}


static char *
ngx_http_faas_service_secret(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *secret)
{
    u_char           *p;
    ngx_str_t         path;
    ngx_file_info_t   fi;

    if (value->len == 0 || value->len > NGX_HTTP_FAAS_SERVICE_SECRET
        || ngx_strlen(value->data) != value->len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"secret\" of \"faas_callback\" must be 1 to %d "
                           "bytes, none of them zero",
                           NGX_HTTP_FAAS_SERVICE_SECRET);
        return NGX_CONF_ERROR;
    }

    if (ngx_strncmp(value->data, "file:", 5) != 0) {
        *secret = *value;
        return NGX_CONF_OK;
    }

    path.data = value->data + 5;
    path.len = value->len - 5;

    if (path.len == 0 || ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"secret=file:\" of \"faas_callback\" needs a "
                           "path");
        return NGX_CONF_ERROR;
    }

    /* read by the host; we may be asked by somebody who must not read it */

    if ((ngx_file_info(path.data, &fi) == NGX_FILE_ERROR)
        ? ngx_errno != NGX_EACCES : !ngx_is_file(&fi))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no file \"%V\" of \"faas_callback\"", &path);
        return NGX_CONF_ERROR;
    }

    p = ngx_pnalloc(cf->pool, 5 + path.len + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    secret->data = p;
    secret->len = ngx_sprintf(p, "file:%V%Z", &path) - p - 1;

    return NGX_CONF_OK;
}


/* the first byte that is in set, or last */

static u_char *
ngx_http_faas_service_find(u_char *p, u_char *last, const char *set)
{
    const char  *s;

    for ( /* void */ ; p < last; p++) {
        for (s = set; *s; s++) {
            if (*p == (u_char) *s) {
                return p;
            }
        }
    }

    return last;
}


static ngx_uint_t
ngx_http_faas_service_is_plain(ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] <= ' ' || s->data[i] > '~') {
            return 0;
        }
    }

    return s->len != 0;
}
