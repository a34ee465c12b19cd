
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http.h"


#define HTTP_TOKEN_MIN  16
#define HTTP_NAME_MAX   63


static int http_bearer(faas_request_t *r, const char *token);
static int http_digit(char c);


static const struct {
    int                       code;
    int                       status;
    int                       again;       /* 1: Retry-After */
} http_codes[] = {
    { FAAS_ENOTFOUND,    404, 0 },
    { FAAS_ECONFLICT,    412, 0 },
    { FAAS_EINVAL,       400, 0 },
    { FAAS_ETOOLARGE,    413, 0 },
    { FAAS_EDENIED,      403, 0 },
    { FAAS_EBUSY,        503, 1 },
    { FAAS_EFULL,        507, 0 },
    { FAAS_EREADONLY,    403, 0 },
    { FAAS_EUNAVAILABLE, 503, 1 },
    { FAAS_ETIMEDOUT,    504, 0 },
    { FAAS_ECORRUPT,     500, 0 },
    { FAAS_ELOOP,        508, 0 },
    { FAAS_EUNSUPPORTED, 501, 0 }
};


static const struct {
    int                       status;
    const char               *title;
} http_titles[] = {
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 409, "Conflict" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 415, "Unsupported Media Type" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 507, "Insufficient Storage" },
    { 508, "Loop Detected" }
};

#define HTTP_COUNT(a)  (sizeof(a) / sizeof((a)[0]))


/* -- who may --------------------------------------------------------------- */

int
http_is_refused(faas_request_t *r)
{
    const char  *token, *auth, *said;

    token = faas_config(r, "TOKEN");
    auth = faas_config(r, "AUTH");

    if (token != NULL) {

        if (strlen(token) < HTTP_TOKEN_MIN) {
            faas_log(r, "TOKEN is shorter than %d bytes, all is refused",
                     HTTP_TOKEN_MIN);
            (void) http_problem(r, 403, "its operator has given this function "
                                "no token that would do");
            return 1;
        }

        if (http_bearer(r, token)) {
            return 0;
        }

        (void) faas_header_set(r, "WWW-Authenticate", "Bearer");
        (void) http_problem(r, 401, "a bearer token is asked for");
        return 1;
    }

    said = faas_variable(r, "AUTH");

    if (auth != NULL && strcmp(auth, "nginx") == 0) {

        if (said != NULL && strcmp(said, "nginx") == 0) {
            return 0;
        }

        (void) http_problem(r, 403, "this location does not guard the "
                            "function");
        return 1;
    }

    faas_log(r, "neither TOKEN nor AUTH=nginx is set, all is refused");
    (void) http_problem(r, 403, "its operator has not said who may use this "
                        "function");
    return 1;
}


/* "Bearer TOKEN": how long it takes tells no more than the token's length */

static int
http_bearer(faas_request_t *r, const char *token)
{
    size_t                  i, length;
    const char             *given;
    volatile unsigned char  differ;

    given = faas_header(r, "Authorization");

    if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0) {
        return 0;
    }

    for (given += 7; *given == ' '; given++) { /* void */ }

    length = strlen(token);

    if (strlen(given) != length) {
        return 0;
    }

    differ = 0;

    for (i = 0; i < length; i++) {
        differ = (unsigned char) (differ | (given[i] ^ token[i]));
    }

    return differ == 0;
}


/* -- answers --------------------------------------------------------------- */

int
http_problem(faas_request_t *r, int status, const char *detail)
{
    int           rc;
    size_t        i;
    const char   *title;
    json_text_t   t;

    title = "";

    for (i = 0; i < HTTP_COUNT(http_titles); i++) {
        if (http_titles[i].status == status) {
            title = http_titles[i].title;
        }
    }

    memset(&t, 0, sizeof(t));
    json_put(&t, "{\"status\":");
    http_put_number(&t, status);
    json_put(&t, ",\"title\":");
    json_string(&t, title, strlen(title));
    json_put(&t, ",\"detail\":");
    json_string(&t, detail, strlen(detail));
    json_put(&t, "}\n");

    (void) faas_status(r, status);
    (void) faas_header_set(r, "Cache-Control", "no-store");
    (void) faas_header_set(r, "Content-Type", "application/problem+json");

    rc = t.failed ? FAAS_ERROR : faas_write(r, t.data, t.size);
    json_free(&t);

    return rc;
}


int
http_not_allowed(faas_request_t *r, const char *allow)
{
    (void) faas_header_set(r, "Allow", allow);

    return http_problem(r, 405, allow);
}


int
http_fail(faas_request_t *r, int code)
{
    size_t  i;

    for (i = 0; i < HTTP_COUNT(http_codes); i++) {

        if (http_codes[i].code != code) {
            continue;
        }

        if (http_codes[i].again) {
            (void) faas_header_set(r, "Retry-After", "1");
        }

        return http_problem(r, http_codes[i].status, faas_error(code));
    }

    return http_problem(r, 500, "internal error");
}


int
http_json(faas_request_t *r, int status, json_text_t *t)
{
    int  rc;

    (void) faas_status(r, status);
    (void) faas_header_set(r, "Cache-Control", "no-store");
    (void) faas_header_set(r, "Content-Type", "application/json");

    rc = t->failed ? FAAS_ERROR : faas_write(r, t->data, t->size);
    json_free(t);

    return rc;
}


void
http_put_bytes(json_text_t *t, const char *name, const void *data, size_t n)
{
    int  text;

    text = json_is_text(data, n);

    json_put(t, "\"");
    json_put(t, name);
    json_put(t, text ? "\":" : "64\":\"");

    if (text) {
        json_string(t, n ? data : "", n);
        return;
    }

    json_base64(t, data, n);
    json_put(t, "\"");
}


void
http_put_number(json_text_t *t, int64_t n)
{
    char  number[24];

    (void) snprintf(number, sizeof(number), "%" PRId64, n);
    json_put(t, number);
}


/* -- what the client gave -------------------------------------------------- */

int
http_query_bytes(faas_request_t *r, const char *name, faas_bytes_t *bytes)
{
    char         name64[32];
    size_t       n;
    const char  *encoded;

    (void) snprintf(name64, sizeof(name64), "%s64", name);

    bytes->data = faas_query(r, name, &bytes->size);
    encoded = faas_query(r, name64, &n);

    if (bytes->data == NULL) {
        bytes->size = 0;
    }

    if (encoded == NULL) {
        return bytes->data == NULL;
    }

    if (bytes->data != NULL) {
        return -1;
    }

    *bytes = http_base64(r, encoded, n);

    return bytes->data == NULL ? -1 : 0;
}


/* '+' of the first alphabet may have become a blank in a query string */

faas_bytes_t
http_base64(faas_request_t *r, const char *s, size_t n)
{
    int             digit;
    char           *p;
    size_t          i;
    uint32_t        bits, left;
    faas_bytes_t    bytes;

    bytes.data = NULL;
    bytes.size = 0;

    while (n > 0 && s[n - 1] == '=') {
        n--;
    }

    p = n % 4 == 1 ? NULL : faas_alloc(r, n / 4 * 3 + 3);

    if (p == NULL) {
        return bytes;
    }

    bits = 0;
    left = 0;

    for (i = 0; i < n; i++) {
        digit = http_digit(s[i]);

        if (digit == -1) {
            return bytes;
        }

        bits = bits << 6 | (uint32_t) digit;
        left += 6;

        if (left >= 8) {
            left -= 8;
            p[bytes.size++] = (char) (bits >> left & 0xff);
        }
    }

    bytes.data = p;

    return bytes;
}


static int
http_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    if (c == '+' || c == '-' || c == ' ') {
        return 62;
    }

    return c == '/' || c == '_' ? 63 : -1;
}


int
http_number(const char *s, int64_t least, int64_t most, int64_t *n)
{
    char  *end;

    if (s == NULL || !((*s >= '0' && *s <= '9') || *s == '-')) {
        return -1;
    }

    errno = 0;
    *n = strtoll(s, &end, 10);

    return errno != 0 || *end != '\0' || *n < least || *n > most ? -1 : 0;
}


const char *
http_path_name(const char *p, char name[64])
{
    size_t  i, n;

    if (*p != '/') {
        return NULL;
    }

    p++;
    n = strcspn(p, "/");

    if (n == 0 || n > HTTP_NAME_MAX) {
        return NULL;
    }

    if (n == sizeof(HTTP_OWN) - 1 && memcmp(p, HTTP_OWN, n) == 0) {
        name[0] = '\0';
        return p + n;
    }

    for (i = 0; i < n; i++) {
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9')
              || (i && (p[i] == '_' || p[i] == '-'))))
        {
            return NULL;
        }

        name[i] = p[i];
    }

    name[n] = '\0';

    return p + n;
}
