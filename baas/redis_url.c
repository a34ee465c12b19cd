
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <faas.h>

#include "redis_url.h"


#define REDIS_URL_WAIT_MS   1000
#define REDIS_URL_TIME      (24ll * 3600 * 1000)
#define REDIS_URL_DBS       1000000
#define REDIS_URL_REPLICAS  100


/* one parse: where errors go */

typedef struct {
    redis_url_t              *url;
    char                     *why;
    size_t                    size;
} parse_t;

/* a piece of the text, not zero-terminated */

typedef struct {
    const char               *p;
    const char               *end;
} span_t;

/*
 * For "%.*s": as it was written.  What it decodes to may have line feeds, and
 * whoever reads the reason looks for what he typed.
 */

#define QUOTED(s)           (int) ((s).end - (s).p), (s).p


static int redis_url_hosts(parse_t *p, span_t hosts);
static int redis_url_host(parse_t *p, span_t host);
static int redis_url_login(parse_t *p, span_t login);
static int redis_url_path(parse_t *p, span_t path);
static int redis_url_socket(parse_t *p, span_t path);
static int redis_url_options(parse_t *p, span_t options);
static int redis_url_option(parse_t *p, span_t name, span_t value);
static int redis_url_check(parse_t *p);
static int redis_url_db(parse_t *p, const char *text);
static int redis_url_time(const char *text, int64_t *ms);
static int redis_url_number(const char *text, int64_t max, int64_t *number);
static int redis_url_decode(span_t s, char *buf, size_t size);
static int redis_url_refuse(parse_t *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


static const struct {
    const char               *text;
    redis_kind_e              kind;
    int                       tls;
    int                       socket;      /* a path follows, no host */
} redis_url_schemes[] = {
    { "redis://",            REDIS_SINGLE,   0, 0 },
    { "rediss://",           REDIS_SINGLE,   1, 0 },
    { "redis+unix://",       REDIS_SINGLE,   0, 1 },
    { "unix:",               REDIS_SINGLE,   0, 1 },
    { "redis-sentinel://",   REDIS_SENTINEL, 0, 0 },
    { "rediss-sentinel://",  REDIS_SENTINEL, 1, 0 },
    { "redis-cluster://",    REDIS_CLUSTER,  0, 0 },
    { "rediss-cluster://",   REDIS_CLUSTER,  1, 0 }
};

#define REDIS_URL_SCHEMES                                                     \
    (sizeof(redis_url_schemes) / sizeof(redis_url_schemes[0]))


static int
redis_url_scheme(const char *text)
{
    size_t  i;

    for (i = 0; i < REDIS_URL_SCHEMES; i++) {
        if (strncmp(text, redis_url_schemes[i].text,
                    strlen(redis_url_schemes[i].text))
            == 0)
        {
            return (int) i;
        }
    }

    return -1;
}


int
redis_url_is(const char *text)
{
    return redis_url_scheme(text) != -1;
}


static span_t
redis_url_span(const char *p, const char *end)
{
    span_t  s;

    s.p = p;
    s.end = end;

    return s;
}


/* the first c of s, or its end */
static const char *
redis_url_find(span_t s, char c)
{
    const char  *p;

    p = memchr(s.p, c, (size_t) (s.end - s.p));

    return p ? p : s.end;
}


/*
 * [LOGIN@]HOSTS[/PATH][?OPTIONS].  A login ends at the last '@' before the
 * path, so that a '@' in a password does no harm; a '/' or '?' in it does,
 * and must be encoded.
 */

int
redis_url_parse(redis_url_t *url, const char *text, char *why, size_t size)
{
    int          scheme;
    span_t       all, hosts, path;
    parse_t      p;
    const char  *at, *options;

    memset(url, 0, sizeof(redis_url_t));
    (void) strcpy(url->prefix, "faas:");
    url->wait_timeout_ms = REDIS_URL_WAIT_MS;

    p.url = url;
    p.why = why;
    p.size = size;

    for (at = text; *at != '\0'; at++) {
        if ((unsigned char) *at < ' ' || *at == 0x7f) {
            /* what is said of the rest would not be one line */
            return redis_url_refuse(&p, "a control character is written as "
                                    "%%0A and the like");
        }
    }

    scheme = redis_url_scheme(text);

    if (scheme == -1) {
        return redis_url_refuse(&p, "no URL of a Redis");
    }

    url->kind = redis_url_schemes[scheme].kind;
    url->tls = redis_url_schemes[scheme].tls;

    text += strlen(redis_url_schemes[scheme].text);
    all = redis_url_span(text, text + strlen(text));
    options = redis_url_find(all, '?');

    path = redis_url_span(redis_url_find(redis_url_span(text, options), '/'),
                          options);
    hosts = redis_url_span(text, path.p);

    /* what is said of an option may then be a part of a password */

    if (memchr(path.p, '@', (size_t) (all.end - path.p)) != NULL) {
        return redis_url_refuse(&p, "an @ behind the hosts: / ? and @ of a "
                                "password are written as %%2F %%3F %%40");
    }

    for (at = hosts.end; at > hosts.p && at[-1] != '@'; at--) { /* void */ }

    if (at > hosts.p) {
        if (redis_url_login(&p, redis_url_span(hosts.p, at - 1)) != FAAS_OK) {
            return FAAS_EINVAL;
        }

        hosts.p = at;
    }

    if (redis_url_schemes[scheme].socket) {
        if (hosts.p != hosts.end) {
            return redis_url_refuse(&p, "the path of a unix socket begins "
                                    "with /");
        }

        if (redis_url_socket(&p, path) != FAAS_OK) {
            return FAAS_EINVAL;
        }

    } else if (redis_url_hosts(&p, hosts) != FAAS_OK
               || redis_url_path(&p, path) != FAAS_OK)
    {
        return FAAS_EINVAL;
    }

    if (options != all.end
        && redis_url_options(&p, redis_url_span(options + 1, all.end))
           != FAAS_OK)
    {
        return FAAS_EINVAL;
    }

    return redis_url_check(&p);
}


/* what only all of it together shows */
static int
redis_url_check(parse_t *p)
{
    redis_url_t  *url;

    url = p->url;

    if (url->kind == REDIS_SENTINEL && url->master[0] == '\0') {
        return redis_url_refuse(p, "the name of the master is missing: "
                                "redis-sentinel://HOST/NAME");
    }

    if (url->kind == REDIS_CLUSTER && url->db != 0) {
        return redis_url_refuse(p, "a cluster has no database but 0");
    }

    if (url->kind == REDIS_SINGLE && url->addresses > 1) {
        return redis_url_refuse(p, "several hosts: use redis-sentinel:// or "
                                "redis-cluster://");
    }

    if ((url->cert[0] == '\0') != (url->key[0] == '\0')) {
        return redis_url_refuse(p, "cert and key are given together");
    }

    if (!url->tls
        && (url->ca[0] != '\0' || url->cert[0] != '\0'
            || url->verify != REDIS_VERIFY_FULL))
    {
        return redis_url_refuse(p, "ca, cert, key and verify are for "
                                "rediss://");
    }

    return FAAS_OK;
}


/* -- where ----------------------------------------------------------------- */

static int
redis_url_hosts(parse_t *p, span_t hosts)
{
    const char  *comma;

    for ( ;; ) {
        comma = redis_url_find(hosts, ',');

        if (redis_url_host(p, redis_url_span(hosts.p, comma)) != FAAS_OK) {
            return FAAS_EINVAL;
        }

        if (comma == hosts.end) {
            return FAAS_OK;
        }

        hosts.p = comma + 1;
    }
}


static int
redis_url_host(parse_t *p, span_t host)
{
    char              buf[16];
    span_t            name, port;
    int64_t           n;
    const char       *bracket;
    redis_address_t  *a;

    if (p->url->addresses == REDIS_URL_NODES) {
        return redis_url_refuse(p, "more than %d hosts", REDIS_URL_NODES);
    }

    a = &p->url->address[p->url->addresses];
    a->port = p->url->kind == REDIS_SENTINEL ? REDIS_URL_SENTINEL
                                             : REDIS_URL_PORT;
    name = host;

    if (host.p != host.end && *host.p == '[') {
        bracket = redis_url_find(host, ']');

        if (bracket == host.end) {
            return redis_url_refuse(p, "an IPv6 address without its ]");
        }

        name = redis_url_span(host.p + 1, bracket);
        port = redis_url_span(bracket + 1, host.end);

        if (port.p != port.end && *port.p != ':') {
            return redis_url_refuse(p, "something between ] and port");
        }

    } else {
        name.end = redis_url_find(host, ':');
        port = redis_url_span(name.end, host.end);
    }

    if (name.p == name.end || *name.p == '/') {
        return redis_url_refuse(p, "a host is missing");
    }

    if (redis_url_decode(name, a->host, sizeof(a->host)) != FAAS_OK) {
        return redis_url_refuse(p, "a host is no name, or too long");
    }

    if (port.p != port.end) {
        port.p++;

        if (redis_url_decode(port, buf, sizeof(buf)) != FAAS_OK
            || redis_url_number(buf, 65535, &n) != FAAS_OK || n == 0)
        {
            return redis_url_refuse(p, "a port is no number from 1 to 65535");
        }

        a->port = (uint16_t) n;
    }

    p->url->addresses++;

    return FAAS_OK;
}


static int
redis_url_login(parse_t *p, span_t login)
{
    const char  *colon;

    colon = redis_url_find(login, ':');

    if (colon == login.end && login.p != login.end) {
        return redis_url_refuse(p, "a user without a password: is it "
                                "redis://:PASSWORD@host ?");
    }

    if (redis_url_decode(redis_url_span(login.p, colon), p->url->user,
                         sizeof(p->url->user))
        != FAAS_OK
        || (colon != login.end
            && redis_url_decode(redis_url_span(colon + 1, login.end),
                                p->url->password, sizeof(p->url->password))
               != FAAS_OK))
    {
        return redis_url_refuse(p, "user or password is too long, or not "
                                "percent-encoded");
    }

    if (p->url->user[0] != '\0' && p->url->password[0] == '\0') {
        return redis_url_refuse(p, "the password is empty");
    }

    return FAAS_OK;
}


static int
redis_url_socket(parse_t *p, span_t path)
{
    struct sockaddr_un  sun;

    if (redis_url_decode(path, p->url->address[0].host, sizeof(sun.sun_path))
        != FAAS_OK
        || path.p == path.end)
    {
        return redis_url_refuse(p, "the path of a unix socket is missing, or "
                                "longer than %zu bytes",
                                sizeof(sun.sun_path) - 1);
    }

    p->url->addresses = 1;

    return FAAS_OK;
}


/* [/MASTER][/DB] */
static int
redis_url_path(parse_t *p, span_t path)
{
    char         buf[16];
    const char  *slash;

    if (path.p == path.end) {
        return FAAS_OK;
    }

    path.p++;

    if (p->url->kind == REDIS_SENTINEL) {
        slash = redis_url_find(path, '/');

        if (redis_url_decode(redis_url_span(path.p, slash), p->url->master,
                             sizeof(p->url->master))
            != FAAS_OK)
        {
            return redis_url_refuse(p, "the name of the master is too long");
        }

        path.p = slash == path.end ? slash : slash + 1;
    }

    if (path.p == path.end) {
        return FAAS_OK;
    }

    if (redis_url_decode(path, buf, sizeof(buf)) != FAAS_OK) {
        return redis_url_refuse(p, "the database is no number");
    }

    return redis_url_db(p, buf);
}


/* -- options --------------------------------------------------------------- */

static int
redis_url_options(parse_t *p, span_t options)
{
    span_t       one;
    const char  *equals, *and;

    while (options.p != options.end) {
        and = redis_url_find(options, '&');
        one = redis_url_span(options.p, and);
        options.p = and == options.end ? and : and + 1;

        equals = redis_url_find(one, '=');

        if (equals == one.end) {
            return redis_url_refuse(p, "an option without a value: \"%.*s\"",
                                    QUOTED(one));
        }

        if (redis_url_option(p, redis_url_span(one.p, equals),
                             redis_url_span(equals + 1, one.end))
            != FAAS_OK)
        {
            return FAAS_EINVAL;
        }
    }

    return FAAS_OK;
}


static int
redis_url_verify(const char *s, redis_verify_e *verify)
{
    size_t  i;

    static const char *const  names[] = {
        [REDIS_VERIFY_FULL] = "full",
        [REDIS_VERIFY_CA] = "ca",
        [REDIS_VERIFY_NO] = "no"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(s, names[i]) == 0) {
            *verify = (redis_verify_e) i;
            return FAAS_OK;
        }
    }

    return FAAS_EINVAL;
}


/* those that are texts, and where they go */
static char *
redis_url_text_option(redis_url_t *url, const char *name, size_t *size)
{
    size_t  i;

    const struct {
        const char  *name;
        char        *text;
        size_t       size;
    } texts[] = {
        { "prefix", url->prefix, sizeof(url->prefix) },
        { "ca", url->ca, sizeof(url->ca) },
        { "cert", url->cert, sizeof(url->cert) },
        { "key", url->key, sizeof(url->key) },
        { "sentinel_user", url->sentinel_user, sizeof(url->sentinel_user) },
        { "sentinel_password", url->sentinel_password,
          sizeof(url->sentinel_password) }
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(texts[i].name, name) == 0) {
            *size = texts[i].size;
            return texts[i].text;
        }
    }

    return NULL;
}


static int
redis_url_option(parse_t *p, span_t name, span_t value)
{
    int           rc;
    char          option[32], buf[64], *text;
    size_t        size;
    int64_t       n;
    redis_url_t  *url;

    url = p->url;

    if (redis_url_decode(name, option, sizeof(option)) != FAAS_OK) {
        return redis_url_refuse(p, "an option that there is not");
    }

    text = redis_url_text_option(url, option, &size);

    if (text == NULL) {
        text = buf;
        size = sizeof(buf);
    }

    if (redis_url_decode(value, text, size) != FAAS_OK) {
        return redis_url_refuse(p, "option \"%.*s\" is too long, or not "
                                "percent-encoded", QUOTED(name));
    }

    if (text == url->prefix) {
        rc = *text == '\0' || strpbrk(text, "{}") ? FAAS_EINVAL : FAAS_OK;

    } else if (text != buf) {
        rc = FAAS_OK;

    } else if (strcmp(option, "db") == 0) {
        rc = redis_url_db(p, buf);

    } else if (strcmp(option, "wait") == 0) {
        rc = redis_url_number(buf, REDIS_URL_REPLICAS, &n);
        url->wait = rc == FAAS_OK ? (uint32_t) n : 0;

    } else if (strcmp(option, "timeout") == 0) {
        rc = redis_url_time(buf, &url->timeout_ms);

    } else if (strcmp(option, "wait_timeout") == 0) {
        rc = redis_url_time(buf, &url->wait_timeout_ms);

    } else if (strcmp(option, "verify") == 0) {
        rc = redis_url_verify(buf, &url->verify);

    } else {
        return redis_url_refuse(p, "there is no option \"%.*s\"",
                                QUOTED(name));
    }

    return rc == FAAS_OK ? FAAS_OK
           : redis_url_refuse(p, "option \"%.*s\" cannot be \"%.*s\"",
                              QUOTED(name), QUOTED(value));
}


static int
redis_url_db(parse_t *p, const char *text)
{
    int64_t  n;

    if (redis_url_number(text, REDIS_URL_DBS, &n) != FAAS_OK) {
        return redis_url_refuse(p, "the database is no number");
    }

    p->url->db = (uint32_t) n;

    return FAAS_OK;
}


/* -- small ones ------------------------------------------------------------ */

/* digits, and nothing else */
static int
redis_url_number(const char *text, int64_t max, int64_t *number)
{
    int64_t  n;

    if (*text == '\0') {
        return FAAS_EINVAL;
    }

    for (n = 0; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return FAAS_EINVAL;
        }

        n = n * 10 + (*text - '0');

        if (n > max) {
            return FAAS_EINVAL;
        }
    }

    *number = n;

    return FAAS_OK;
}


/* 1 ms to a day */
static int
redis_url_time(const char *text, int64_t *ms)
{
    char     digits[16];
    size_t   n;
    int64_t  unit;

    n = strspn(text, "0123456789");

    if (n == 0 || n >= sizeof(digits)) {
        return FAAS_EINVAL;
    }

    memcpy(digits, text, n);
    digits[n] = '\0';
    text += n;

    if (*text == '\0' || strcmp(text, "ms") == 0) {
        unit = 1;

    } else if (strcmp(text, "s") == 0) {
        unit = 1000;

    } else if (strcmp(text, "m") == 0) {
        unit = 60000;

    } else {
        return FAAS_EINVAL;
    }

    if (redis_url_number(digits, REDIS_URL_TIME / unit, ms) != FAAS_OK
        || *ms == 0)
    {
        return FAAS_EINVAL;
    }

    *ms *= unit;

    return FAAS_OK;
}


static int
redis_url_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/* into a string: what holds a zero, a lone '%', or does not fit, is none */
static int
redis_url_decode(span_t s, char *buf, size_t size)
{
    int     high, low;
    char    c;
    size_t  n;

    for (n = 0; s.p != s.end; n++) {
        c = *s.p++;

        if (c == '%') {
            if (s.end - s.p < 2) {
                return FAAS_EINVAL;
            }

            high = redis_url_digit(s.p[0]);
            low = redis_url_digit(s.p[1]);

            if (high == -1 || low == -1) {
                return FAAS_EINVAL;
            }

            c = (char) (high << 4 | low);
            s.p += 2;
        }

        if (c == '\0' || n + 1 >= size) {
            return FAAS_EINVAL;
        }

        buf[n] = c;
    }

    buf[n] = '\0';

    return FAAS_OK;
}


static int
redis_url_refuse(parse_t *p, const char *format, ...)
{
    va_list  ap;

    va_start(ap, format);
    (void) vsnprintf(p->why, p->size, format, ap);
    va_end(ap);

    return FAAS_EINVAL;
}


const char *
redis_address_text(const redis_address_t *a, char *buf, size_t size)
{
    if (a->host[0] == '/') {
        (void) snprintf(buf, size, "%s", a->host);

    } else if (strchr(a->host, ':') != NULL) {
        (void) snprintf(buf, size, "[%s]:%u", a->host, a->port);

    } else {
        (void) snprintf(buf, size, "%s:%u", a->host, a->port);
    }

    return buf;
}
