
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "events_request.h"
#include "log.h"
#include "loop.h"


#define REQUEST_LINE_SIZE  512


static int request_target(CURL *easy, const events_call_t *call);
static int request_method(CURL *easy, const events_call_t *call);
static void request_headers(const events_call_t *call,
    struct curl_slist **headers);
static void request_event(const events_call_t *call,
    struct curl_slist **headers);
static void request_lines(const events_call_t *call,
    struct curl_slist **headers);
static void request_number(struct curl_slist **headers, const char *name,
    int64_t number);
static void request_value(struct curl_slist **headers, const char *name,
    const char *value);
static void request_add(struct curl_slist **headers, const char *line);
static int request_is_token(const char *s, size_t n);


/* what belongs to a connection, or is ours to say */

static const char *const  request_unfit[] = {
    "Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy",
    "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
};


int
events_request_prepare(CURL *easy, const events_call_t *call,
    struct curl_slist **headers)
{
    if (request_target(easy, call) != FAAS_OK
        || request_method(easy, call) != FAAS_OK)
    {
        return FAAS_EINVAL;
    }

    request_headers(call, headers);

    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long) CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     (long) (call->timeout_ms > 0 ? call->timeout_ms : 1));

    return FAAS_OK;
}


int
events_request_line_is_fit(const char *line, size_t n)
{
    size_t       i, length;
    const char  *colon;

    colon = memchr(line, ':', n);

    if (colon == NULL || !request_is_token(line, (size_t) (colon - line))) {
        return 0;
    }

    length = (size_t) (colon - line);

    if (length >= 5 && strncasecmp(line, "Faas-", 5) == 0) {
        return 0;
    }

    for (i = 0; i < sizeof(request_unfit) / sizeof(request_unfit[0]); i++) {

        if (strlen(request_unfit[i]) == length
            && strncasecmp(line, request_unfit[i], length) == 0)
        {
            return 0;
        }
    }

    for (i = length; i < n; i++) {

        if (((unsigned char) line[i] < 0x20 && line[i] != '\t')
            || line[i] == 0x7f)
        {
            return 0;
        }
    }

    return 1;
}


static int
request_target(CURL *easy, const events_call_t *call)
{
    int          n;
    char         path[REQUEST_LINE_SIZE];
    const char  *p;

    if (call->url != NULL) {
        curl_easy_setopt(easy, CURLOPT_URL, call->url);
        return FAAS_OK;
    }

    n = snprintf(path, sizeof(path), "%s/internal.sock",
                 events.settings->state);

    if (n < 0 || (size_t) n >= sizeof(path)) {
        return FAAS_EINVAL;
    }

    curl_easy_setopt(easy, CURLOPT_URL, "http://localhost/");
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, path);

    if (call->path == NULL) {
        (void) snprintf(path, sizeof(path), "/%s", call->function);
    }

    p = call->path ? call->path : path;

    if (*p != '/') {
        return FAAS_EINVAL;
    }

    /* as it is: libcurl would take "/a/../b" for "/b" */

    curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, p);

    while ((unsigned char) *p > 0x20 && *p != 0x7f) {
        p++;
    }

    return *p ? FAAS_EINVAL : FAAS_OK;
}


static int
request_method(CURL *easy, const events_call_t *call)
{
    int          has_body;
    const char  *method;

    method = call->method && call->method[0] ? call->method : "POST";
    has_body = call->body.size != 0 || strcmp(method, "POST") == 0
               || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;

    if (!request_is_token(method, strlen(method))) {
        return FAAS_EINVAL;
    }

    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return FAAS_OK;
    }

    if (has_body) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                         call->body.size ? call->body.data : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t) call->body.size);

    } else {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }

    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);

    return FAAS_OK;
}


static void
request_headers(const events_call_t *call, struct curl_slist **headers)
{
    char  line[REQUEST_LINE_SIZE];

    /* what libcurl would say of itself */

    request_add(headers, "Expect:");
    request_add(headers, "Accept:");

    if (call->url == NULL) {
        (void) snprintf(line, sizeof(line), "Faas-Token: @events:%s",
                        events.settings->token);
        request_add(headers, line);
        request_value(headers, "Faas-Function", call->function);
        request_number(headers, "Faas-Depth", call->depth);

    } else {
        request_value(headers, "Faas-Signature", call->signature);
    }

    if (call->event != NULL) {
        request_event(call, headers);
    }

    request_value(headers, "X-Request-ID", call->request_id);
    request_lines(call, headers);
}


static void
request_event(const events_call_t *call, struct curl_slist **headers)
{
    char  fence[32];

    request_value(headers, "Faas-Event", call->event);
    request_value(headers, "Faas-Name", call->name);
    request_value(headers, "Faas-Id", call->id);
    request_number(headers, "Faas-Attempt", call->attempt);
    request_number(headers, "Faas-Messages", call->messages);
    request_number(headers, "Faas-Sent", call->sent_ms);
    request_number(headers, "Faas-Due", call->due_ms);

    if (call->fence) {
        (void) snprintf(fence, sizeof(fence), "%llu",
                        (unsigned long long) call->fence);
        request_value(headers, "Faas-Fence", fence);
    }
}


static void
request_lines(const events_call_t *call, struct curl_slist **headers)
{
    int          typed;
    char        *line, *colon;
    size_t       n;
    const char  *p, *end;

    typed = 0;

    for (p = call->headers ? call->headers : ""; *p; p = end + (*end == '\n'))
    {
        end = p + strcspn(p, "\n");
        n = (size_t) (end - p);

        if (n && p[n - 1] == '\r') {
            n--;
        }

        if (!events_request_line_is_fit(p, n)
            || (call->request_id != NULL && call->request_id[0] != '\0'
                && strncasecmp(p, "X-Request-ID:", 13) == 0))
        {
            continue;
        }

        typed |= strncasecmp(p, "Content-Type:", 13) == 0;

        /* "Name:" would take one away from libcurl, "Name;" sends it empty */

        line = loop_strdup(p, n);
        colon = strchr(line, ':');

        if (colon[1 + strspn(colon + 1, " \t")] == '\0') {
            colon[0] = ';';
            colon[1] = '\0';
        }

        request_add(headers, line);
        free(line);
    }

    if (!typed) {
        request_add(headers, "Content-Type:");
    }
}


static void
request_number(struct curl_slist **headers, const char *name, int64_t number)
{
    char  value[32];

    if (number != 0) {
        (void) snprintf(value, sizeof(value), "%lld", (long long) number);
        request_value(headers, name, value);
    }
}


static void
request_value(struct curl_slist **headers, const char *name,
    const char *value)
{
    int   n;
    char  line[REQUEST_LINE_SIZE];

    if (value == NULL || *value == '\0') {
        return;
    }

    n = snprintf(line, sizeof(line), "%s: %s", name, value);

    if (n > 0 && (size_t) n < sizeof(line)
        && strpbrk(value, "\r\n") == NULL)
    {
        request_add(headers, line);
    }
}


static void
request_add(struct curl_slist **headers, const char *line)
{
    struct curl_slist  *list;

    list = curl_slist_append(*headers, line);

    if (list == NULL) {
        log_line(LOG_ALERT, 0, "no memory: curl_slist_append() failed");
        _exit(1);
    }

    *headers = list;
}


/* a token of RFC 9110 */

static int
request_is_token(const char *s, size_t n)
{
    size_t  i;

    static const char  others[] = "!#$%&'*+-.^_`|~";

    if (n == 0 || n > 256) {
        return 0;
    }

    for (i = 0; i < n; i++) {

        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z')
              || (s[i] >= '0' && s[i] <= '9')
              || (s[i] != '\0' && strchr(others, s[i]) != NULL)))
        {
            return 0;
        }
    }

    return 1;
}
