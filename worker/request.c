
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "environment.h"
#include "faas_scoreboard.h"
#include "request.h"


/* a client's "Proxy: x" would be the HTTP_PROXY that libraries believe */
#define REQUEST_HIDDEN  "HTTP_PROXY"

#define REQUEST_NS_PER_MS  1000000ull
#define REQUEST_NS_PER_S   1000000000ull

/* of the time of a request, for what is done after a service was too late */
#define REQUEST_RESERVE          10
#define REQUEST_RESERVE_MOST_NS  (100 * REQUEST_NS_PER_MS)


static const char *request_text(faas_request_t *r, const char *name,
    const char *otherwise);
static void request_find(faas_request_t *r);
static int request_is_unknown(faas_request_t *r);
static uint64_t request_number(const char *text);
static uint64_t request_seconds_ns(const char *text);
static int request_is_header(const char *variable, const char *name);
static uint64_t request_now_ns(void);


int
request_read(faas_request_t *r, int fd)
{
    FCGX_Request  *fcgx;

    fcgx = &r->fcgx;

    /*
     * With ipcFd set, FCGX_Accept_r() reads from there instead of accepting.
     * It first ends the request before, which would close a connection that
     * is not to be kept; and after an error it would accept another one, so
     * that has to fail.  Detached, it closes without waiting for the peer.
     */

    memset(fcgx, 0, sizeof(FCGX_Request));

    fcgx->listen_sock = -1;
    fcgx->ipcFd = fd;
    fcgx->keepConnection = 1;
    fcgx->detached = 1;

    if (FCGX_Accept_r(fcgx) != 0) {
        return FAAS_DONE;
    }

    /* parameters that were cut off between two pairs are no error to it */

    if (FCGX_GetError(fcgx->in) != 0) {
        FCGX_Free(fcgx, 1);
        return FAAS_DONE;
    }

    return FAAS_OK;
}


void
request_start(faas_request_t *r, uint64_t now_ns, uint32_t timeout_ms)
{
    uint64_t  limit_ns, shorter_ns, reserve_ns;

    request_find(r);

    memset(&r->query, 0, sizeof(pairs_t));
    memset(&r->params, 0, sizeof(pairs_t));

    r->mark = 0;
    r->announced = r->content_length ? request_number(r->content_length) : 0;
    r->unknown = request_is_unknown(r);
    r->taken = 0;
    r->body = NULL;
    r->body_length = 0;
    r->body_given = 0;
    r->body_held = 0;
    r->baas = NULL;
    r->event = NULL;
    r->reading = 0;
    r->body_lost = 0;

    limit_ns = timeout_ms * REQUEST_NS_PER_MS;

    /* what the caller gives can only be less than what the function has */

    if (r->faas_timeout) {
        shorter_ns = request_seconds_ns(r->faas_timeout);

        if (shorter_ns && (limit_ns == 0 || shorter_ns < limit_ns)) {
            limit_ns = shorter_ns;
        }
    }

    r->deadline_ns = limit_ns ? now_ns + limit_ns : 0;

    /* a function that is told that it was too late still has to say so, before
       nginx answers in its place and has it killed */

    reserve_ns = limit_ns / REQUEST_RESERVE;

    if (reserve_ns > REQUEST_RESERVE_MOST_NS) {
        reserve_ns = REQUEST_RESERVE_MOST_NS;
    }

    r->services_ns = r->deadline_ns - reserve_ns;

    response_start(r);
}


/* nginx sends some thirty variables; the first of a name counts */

static void
request_find(faas_request_t *r)
{
    char        **variable, *p;
    const char  **found;
    size_t        i;

    static const struct {
        const char  *name;
        size_t       length;
        size_t       offset;
    } wanted[] = {
#define wanted_name(name, field)                                              \
        { name "=", sizeof(name), offsetof(faas_request_t, field) }
        wanted_name("REQUEST_ID", id),
        wanted_name("REQUEST_METHOD", method),
        wanted_name("REQUEST_URI", uri),
        wanted_name("CONTENT_LENGTH", content_length),
        wanted_name("HTTP_TRANSFER_ENCODING", transfer_encoding),
        wanted_name("HTTP_FAAS_TIMEOUT", faas_timeout)
#undef wanted_name
    };

    r->id = NULL;
    r->method = NULL;
    r->uri = NULL;
    r->content_length = NULL;
    r->transfer_encoding = NULL;
    r->faas_timeout = NULL;

    for (variable = r->fcgx.envp; *variable != NULL; variable++) {
        p = *variable;

        /* most of the others have another third letter */

        if (*p == '\0' || p[1] == '\0'
            || (p[2] != 'Q' && p[2] != 'N' && p[2] != 'T'))
        {
            continue;
        }

        for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {

            if (strncmp(p, wanted[i].name, wanted[i].length) != 0) {
                continue;
            }

            found = (const char **) ((char *) r + wanted[i].offset);

            if (*found == NULL) {
                *found = p + wanted[i].length;
            }

            break;
        }
    }
}


/*
 * nginx gives the length of every body that it has read before; without one
 * there is no body, or it comes as the client sends it.
 */

static int
request_is_unknown(faas_request_t *r)
{
    const char  *method;

    if (r->content_length && *r->content_length != '\0') {
        return 0;
    }

    method = faas_method(r);

    return r->transfer_encoding != NULL
           || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0
           || strcmp(method, "PATCH") == 0;
}


/*
 * What FCGX_Finish_r() does, but the body is taken in before END_REQUEST is
 * out, and closing is left to the caller.
 */

int
request_finish(faas_request_t *r, int result)
{
    int  rc;

    rc = body_end(r);

    if (response_finish(r, result) != FAAS_OK) {
        rc = FAAS_DONE;

    } else {

        if (rc == FAAS_AGAIN) {
            /* the sender may wait for the answer before it sends the rest */
            (void) FCGX_FFlush(r->fcgx.out);
            rc = body_drain(r);
        }

        FCGX_SetExitStatus((int) r->mark, r->fcgx.out);

        if (FCGX_FClose(r->fcgx.err) != 0 || FCGX_FClose(r->fcgx.out) != 0
            || !r->fcgx.keepConnection)
        {
            rc = FAAS_DONE;
        }
    }

    FCGX_Free(&r->fcgx, 0);

    body_free(r);
    response_free(r);
    arena_reset(&r->arena);

    return rc;
}


void
request_destroy(faas_request_t *r)
{
    response_free(r);
    free(r->response.data);
    r->response.data = NULL;
    r->response.size = 0;

    arena_destroy(&r->arena);
}


const char *
request_variable(faas_request_t *r, const char *name)
{
    if (strcmp(name, REQUEST_HIDDEN) == 0) {
        return NULL;
    }

    return FCGX_GetParam(name, r->fcgx.envp);
}


static const char *
request_text(faas_request_t *r, const char *name, const char *otherwise)
{
    const char  *value;

    value = FCGX_GetParam(name, r->fcgx.envp);

    return value ? value : otherwise;
}


/* decimal; 0 for what is no number or too large for one */

static uint64_t
request_number(const char *text)
{
    uint64_t  n;

    n = 0;

    for ( /* void */ ; *text; text++) {

        if (*text < '0' || *text > '9' || n > (UINT64_MAX - 9) / 10) {
            return 0;
        }

        n = n * 10 + (uint64_t) (*text - '0');
    }

    return n;
}


/* seconds as "2" or "0.25", whatever the locale; 0 when it is no such text */

static uint64_t
request_seconds_ns(const char *text)
{
    int       fraction, digits;
    uint64_t  ns, unit;

    ns = 0;
    unit = REQUEST_NS_PER_S;
    fraction = 0;
    digits = 0;

    for ( /* void */ ; *text; text++) {

        if (*text == '.' && !fraction) {
            fraction = 1;
            continue;
        }

        if (*text < '0' || *text > '9' || ns > UINT64_MAX / 20) {
            return 0;
        }

        digits = 1;

        if (fraction) {
            unit /= 10;
            ns += (uint64_t) (*text - '0') * unit;

        } else {
            ns = ns * 10 + (uint64_t) (*text - '0') * REQUEST_NS_PER_S;
        }
    }

    /* "0" is no time at all, not no limit */

    return digits && ns == 0 ? 1 : ns;
}


const char *
faas_method(faas_request_t *r)
{
    return r->method ? r->method : "GET";
}


const char *
faas_uri(faas_request_t *r)
{
    return r->uri ? r->uri : "";
}


const char *
faas_path(faas_request_t *r)
{
    return request_text(r, "FAAS_PATH", "");
}


const char *
faas_path_info(faas_request_t *r)
{
    return request_text(r, "PATH_INFO", "");
}


const char *
faas_query_string(faas_request_t *r)
{
    return request_text(r, "QUERY_STRING", "");
}


const char *
faas_query(faas_request_t *r, const char *name, size_t *n)
{
    const pair_t  *pair;

    if (!r->query.parsed
        && pairs_parse(&r->query, &r->arena, faas_query_string(r), 1)
           != FAAS_OK)
    {
        return NULL;
    }

    pair = pairs_find(&r->query, name);

    if (pair == NULL) {
        return NULL;
    }

    if (n) {
        *n = pair->length;
    }

    return pair->value;
}


const char *
faas_param(faas_request_t *r, const char *name)
{
    const pair_t  *pair;

    if (!r->params.parsed
        && pairs_parse(&r->params, &r->arena,
                       request_text(r, "FAAS_PARAMS", ""), 0)
           != FAAS_OK)
    {
        return NULL;
    }

    pair = pairs_find(&r->params, name);

    return pair ? pair->value : NULL;
}


const char *
faas_header(faas_request_t *r, const char *name)
{
    char        **p;
    const char   *value;

    /* CGI keeps these two without HTTP_, and empty when not sent */

    value = NULL;

    if (strcasecmp(name, "Content-Type") == 0) {
        value = FCGX_GetParam("CONTENT_TYPE", r->fcgx.envp);

    } else if (strcasecmp(name, "Content-Length") == 0) {
        value = FCGX_GetParam("CONTENT_LENGTH", r->fcgx.envp);

    } else if (strcasecmp(name, "Proxy") == 0) {
        return NULL;
    }

    if (value) {
        return *value ? value : NULL;
    }

    for (p = r->fcgx.envp; *p; p++) {

        if (strncmp(*p, "HTTP_", 5) == 0 && request_is_header(*p + 5, name)) {
            return strchr(*p, '=') + 1;
        }
    }

    return NULL;
}


/* "USER_AGENT=..." is "user-agent" */

static int
request_is_header(const char *variable, const char *name)
{
    char  c;

    for ( /* void */ ; *name; name++, variable++) {
        c = *name;

        if (c >= 'a' && c <= 'z') {
            c = (char) (c - 'a' + 'A');

        } else if (c == '-') {
            c = '_';
        }

        if (*variable != c || c == '=') {
            return 0;
        }
    }

    return *variable == '=';
}


const char *
faas_variable(faas_request_t *r, const char *name)
{
    return request_variable(r, name);
}


int
faas_variables(faas_request_t *r,
    int (*each)(const char *name, const char *value, void *data), void *data)
{
    int     rc;
    char  **p, *name, *equals;

    rc = 0;

    for (p = r->fcgx.envp; *p && rc == 0; p++) {
        equals = strchr(*p, '=');
        name = arena_copy(&r->arena, *p, (size_t) (equals - *p));

        if (name == NULL) {
            return FAAS_ERROR;
        }

        if (strcmp(name, REQUEST_HIDDEN) != 0) {
            rc = each(name, equals + 1, data);
        }
    }

    return rc;
}


uint64_t
faas_content_length(faas_request_t *r)
{
    return r->announced;
}


const char *
faas_request_id(faas_request_t *r)
{
    return r->id ? r->id : "";
}


int64_t
faas_time_left(faas_request_t *r)
{
    uint64_t  now_ns;

    if (r->deadline_ns == 0) {
        return INT64_MAX;
    }

    now_ns = request_now_ns();

    if (now_ns >= r->deadline_ns) {
        return 0;
    }

    return (int64_t) ((r->deadline_ns - now_ns) / REQUEST_NS_PER_MS);
}


static uint64_t
request_now_ns(void)
{
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    return (uint64_t) now.tv_sec * REQUEST_NS_PER_S + (uint64_t) now.tv_nsec;
}


const char *
faas_config(faas_request_t *r, const char *name)
{
    (void) r;

    return environment_get(name);
}


void *
faas_alloc(faas_request_t *r, size_t n)
{
    void  *p;

    p = arena_alloc(&r->arena, n);

    if (p) {
        memset(p, 0, n);
    }

    return p;
}
