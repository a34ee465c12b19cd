
/*
 * Key-value over HTTP (docs/http.md, openapi.json):
 *
 *   GET    /kv/SPACE/KEY            the value; ETag is its version
 *   PUT    /kv/SPACE/KEY            sets it; If-Match, If-None-Match: *
 *   DELETE /kv/SPACE/KEY
 *   POST   /kv/SPACE/KEY?incr=N     adds to a number
 *   POST   /kv/SPACE/KEY?ttl=MS     another time to live
 *   GET    /kv/SPACE?prefix=&after=&limit=   entries in order
 *
 * SPACE is one that is shared with this function, or "-", its own.  A KEY that
 * a path cannot have is given as ?key64=BASE64 instead.
 */


#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"


#define KV_LIST_LIMIT  100
#define KV_LIST_MAX    1000
#define KV_LIST_BYTES  (4 * 1024 * 1024)
#define KV_TTL_MAX     (100ll * 365 * 24 * 3600 * 1000)
#define KV_TRIES       16         /* of If-Match: * */


/* one request for a key */

typedef struct {
    faas_request_t           *r;
    const char               *space;       /* NULL: our own */
    faas_bytes_t              key;
} kv_request_t;


/* a list that is being written */

typedef struct {
    json_text_t               text;
    uint32_t                  count;
    int                       values;
    faas_bytes_t              last;        /* key seen last; data is ours */
    char                      key[FAAS_KV_KEY_MAX];
} kv_list_t;


static int kv_handler(faas_request_t *r);
static int kv_key(kv_request_t *q, const char *path);
static int kv_get(kv_request_t *q);
static int kv_put(kv_request_t *q);
static int kv_put_any(kv_request_t *q, faas_bytes_t value, int64_t ttl_ms,
    uint64_t *version);
static int kv_post(kv_request_t *q);
static int kv_delete(kv_request_t *q);
static int kv_list(kv_request_t *q);
static int kv_list_each(const faas_kv_entry_t *entry, void *data);
static void kv_etag(faas_request_t *r, uint64_t version);
static int kv_etag_parse(const char **p, uint64_t *version, int *weak);
static int kv_etag_is_in(const char *list, uint64_t version, int strong);


FAAS_FUNCTION(.handler = kv_handler)


static int
kv_handler(faas_request_t *r)
{
    int           rc;
    char          space[64];
    const char   *path, *method;
    kv_request_t  q;

    if (http_is_refused(r)) {
        return FAAS_OK;
    }

    path = http_path_name(faas_path_info(r), space);

    if (path == NULL) {
        return http_problem(r, 404, "the path is /SPACE or /SPACE/KEY; SPACE "
                            "is a name, or - for the function's own");
    }

    q.r = r;
    q.space = space[0] ? space : NULL;

    rc = kv_key(&q, path);

    if (rc == -1) {
        return http_problem(r, 400, "a key is 1 to 512 bytes, in the path or "
                            "as key64");
    }

    method = faas_method(r);

    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        return rc == 1 ? kv_list(&q) : kv_get(&q);
    }

    if (rc == 1) {
        return http_not_allowed(r, "GET, HEAD");
    }

    if (strcmp(method, "PUT") == 0) {
        return kv_put(&q);
    }

    if (strcmp(method, "DELETE") == 0) {
        return kv_delete(&q);
    }

    return strcmp(method, "POST") == 0
           ? kv_post(&q) : http_not_allowed(r, "GET, HEAD, PUT, DELETE, POST");
}


/* 0; 1: none was given; -1: none that could be */

static int
kv_key(kv_request_t *q, const char *path)
{
    int  rc;

    rc = http_query_bytes(q->r, "key", &q->key);

    if (*path == '/') {
        path++;
    }

    if (*path != '\0') {

        if (rc != 1) {
            return -1;
        }

        q->key = faas_text(path);

    } else if (rc != 0) {
        return rc;
    }

    return q->key.size == 0 || q->key.size > FAAS_KV_KEY_MAX ? -1 : 0;
}


static int
kv_get(kv_request_t *q)
{
    int               code;
    char              ttl[24];
    const char       *match, *none;
    faas_kv_entry_t   entry;

    code = faas_kv_get(q->r, q->space, q->key, &entry);

    if (code != FAAS_OK) {
        return http_fail(q->r, code);
    }

    kv_etag(q->r, entry.version);

    if (entry.ttl_ms) {
        (void) snprintf(ttl, sizeof(ttl), "%" PRId64, entry.ttl_ms);
        (void) faas_header_set(q->r, "Faas-TTL", ttl);
    }

    match = faas_header(q->r, "If-Match");
    none = faas_header(q->r, "If-None-Match");

    if (match != NULL && !kv_etag_is_in(match, entry.version, 1)) {
        return http_problem(q->r, 412, "the version is another");
    }

    if (none != NULL && kv_etag_is_in(none, entry.version, 0)) {
        return faas_status(q->r, 304);
    }

    (void) faas_header_set(q->r, "Content-Type", "application/octet-stream");

    return faas_write(q->r, entry.value.data, entry.value.size);
}


static int
kv_put(kv_request_t *q)
{
    int            code, weak;
    int64_t        ttl_ms;
    uint64_t       version, expected;
    const char    *match, *none, *ttl;
    faas_bytes_t   value;

    ttl = faas_header(q->r, "Faas-TTL");
    ttl_ms = 0;

    if (ttl != NULL && http_number(ttl, 0, KV_TTL_MAX, &ttl_ms) != 0) {
        return http_problem(q->r, 400, "Faas-TTL is a number of milliseconds");
    }

    if (faas_content_length(q->r) > FAAS_KV_VALUE_MAX) {
        return http_problem(q->r, 413, "a value is at most 1 MiB");
    }

    value.data = faas_body(q->r, FAAS_KV_VALUE_MAX, &value.size);

    if (value.data == NULL) {
        return FAAS_ERROR;
    }

    match = faas_header(q->r, "If-Match");
    none = faas_header(q->r, "If-None-Match");

    if ((match && none) || (none && strcmp(none, "*") != 0)) {
        return http_problem(q->r, 400, "a PUT takes one of \"If-Match: "
                            "VERSION\" and \"If-None-Match: *\"");
    }

    if (none != NULL) {
        code = faas_kv_cas(q->r, q->space, q->key, value, ttl_ms, 0, &version);

    } else if (match == NULL) {
        code = faas_kv_set(q->r, q->space, q->key, value, ttl_ms, &version);

    } else if (strcmp(match, "*") == 0) {
        code = kv_put_any(q, value, ttl_ms, &version);

    } else {
        if (kv_etag_parse(&match, &expected, &weak) != 0 || *match != '\0') {
            return http_problem(q->r, 400, "If-Match takes one version, as "
                                "ETag said it");
        }

        /* a weak one is never the same, and 0 is no version */

        code = weak || expected == 0
               ? FAAS_ECONFLICT
               : faas_kv_cas(q->r, q->space, q->key, value, ttl_ms, expected,
                             &version);

        code = code == FAAS_ENOTFOUND ? FAAS_ECONFLICT : code;
    }

    if (code != FAAS_OK) {
        return http_fail(q->r, code);
    }

    kv_etag(q->r, version);

    return faas_status(q->r, none ? 201 : 204);
}


/* whatever version it has, but it must be there */

static int
kv_put_any(kv_request_t *q, faas_bytes_t value, int64_t ttl_ms,
    uint64_t *version)
{
    int              code, tries;
    faas_kv_entry_t  entry;

    for (tries = 0; tries < KV_TRIES; tries++) {

        code = faas_kv_get(q->r, q->space, q->key, &entry);

        if (code == FAAS_ENOTFOUND) {
            return FAAS_ECONFLICT;
        }

        if (code == FAAS_OK) {
            code = faas_kv_cas(q->r, q->space, q->key, value, ttl_ms,
                               entry.version, version);
        }

        if (code != FAAS_ECONFLICT) {
            return code;
        }
    }

    return FAAS_EBUSY;
}


static int
kv_post(kv_request_t *q)
{
    int           code;
    int64_t       n, sum;
    json_text_t   t;
    const char   *incr, *ttl;

    incr = faas_query(q->r, "incr", NULL);
    ttl = faas_query(q->r, "ttl", NULL);

    if ((incr == NULL) == (ttl == NULL)) {
        return http_problem(q->r, 400, "a POST takes one of incr=N and "
                            "ttl=MS");
    }

    if (ttl != NULL) {

        if (http_number(ttl, 0, KV_TTL_MAX, &n) != 0) {
            return http_problem(q->r, 400, "ttl is a number of milliseconds");
        }

        code = faas_kv_expire(q->r, q->space, q->key, n);

        return code == FAAS_OK ? faas_status(q->r, 204)
                               : http_fail(q->r, code);
    }

    if (http_number(incr, INT64_MIN, INT64_MAX, &n) != 0) {
        return http_problem(q->r, 400, "incr is a number of 64 bits");
    }

    code = faas_kv_incr(q->r, q->space, q->key, n, &sum);

    if (code != FAAS_OK) {
        return http_fail(q->r, code);
    }

    memset(&t, 0, sizeof(t));
    json_put(&t, "{\"value\":");
    http_put_number(&t, sum);
    json_put(&t, "}\n");

    return http_json(q->r, 200, &t);
}


/* there is no deleting of a certain version, and to look first would not be
   the same */

static int
kv_delete(kv_request_t *q)
{
    int  code;

    if (faas_header(q->r, "If-Match") || faas_header(q->r, "If-None-Match")) {
        return http_problem(q->r, 501, "a DELETE cannot be conditional");
    }

    code = faas_kv_delete(q->r, q->space, q->key);

    return code == FAAS_OK ? faas_status(q->r, 204) : http_fail(q->r, code);
}


/* -- lists ----------------------------------------------------------------- */

static int
kv_list(kv_request_t *q)
{
    int            code;
    int64_t        limit;
    kv_list_t     *list;
    const char    *text, *values;
    faas_bytes_t   prefix, after;

    text = faas_query(q->r, "limit", NULL);
    values = faas_query(q->r, "values", NULL);
    limit = KV_LIST_LIMIT;

    if ((text && http_number(text, 1, KV_LIST_MAX, &limit) != 0)
        || (values && strcmp(values, "0") != 0 && strcmp(values, "1") != 0)
        || http_query_bytes(q->r, "prefix", &prefix) == -1
        || http_query_bytes(q->r, "after", &after) == -1)
    {
        return http_problem(q->r, 400, "a list takes prefix or prefix64, "
                            "after or after64, limit from 1 to 1000, and "
                            "values 0 or 1");
    }

    list = faas_alloc(q->r, sizeof(kv_list_t));
    if (list == NULL) {
        return FAAS_ERROR;
    }

    list->values = values == NULL || *values == '1';
    json_put(&list->text, "{\"entries\":[");

    code = faas_kv_scan(q->r, q->space, prefix, after, (uint32_t) limit,
                        kv_list_each, list);

    if (code < 0) {
        json_free(&list->text);
        return http_fail(q->r, code);
    }

    json_put(&list->text, "]");

    /* 1: stopped for its size */

    if (code == 1 || list->count == (uint32_t) limit) {
        json_put(&list->text, ",");
        http_put_bytes(&list->text, "next", list->last.data, list->last.size);
    }

    json_put(&list->text, "}\n");

    return http_json(q->r, 200, &list->text);
}


static int
kv_list_each(const faas_kv_entry_t *entry, void *data)
{
    kv_list_t *list = data;

    char  version[48];

    json_put(&list->text, list->count++ ? "," : "");
    json_put(&list->text, "{");
    http_put_bytes(&list->text, "key", entry->key.data, entry->key.size);

    if (list->values) {
        json_put(&list->text, ",");
        http_put_bytes(&list->text, "value", entry->value.data,
                       entry->value.size);
    }

    /* in quotes: not every reader of JSON has numbers of 64 bits */

    (void) snprintf(version, sizeof(version), ",\"version\":\"%" PRIu64 "\"",
                    entry->version);
    json_put(&list->text, version);

    if (entry->ttl_ms) {
        json_put(&list->text, ",\"ttl_ms\":");
        http_put_number(&list->text, entry->ttl_ms);
    }

    json_put(&list->text, "}");

    memcpy(list->key, entry->key.data, entry->key.size);
    list->last.data = list->key;
    list->last.size = entry->key.size;

    return list->text.size >= KV_LIST_BYTES;
}


/* -- versions -------------------------------------------------------------- */

static void
kv_etag(faas_request_t *r, uint64_t version)
{
    char  etag[32];

    (void) snprintf(etag, sizeof(etag), "\"%" PRIu64 "\"", version);
    (void) faas_header_set(r, "ETag", etag);
    (void) faas_header_set(r, "Cache-Control", "no-cache");
}


/* [W/]"..." with blanks around; version 0: it is none of ours.  0 or -1 */

static int
kv_etag_parse(const char **p, uint64_t *version, int *weak)
{
    char        *end;
    const char  *s, *last;

    for (s = *p; *s == ' ' || *s == '\t'; s++) { /* void */ }

    *weak = strncmp(s, "W/", 2) == 0;
    s += *weak ? 2 : 0;

    last = *s == '"' ? strchr(s + 1, '"') : NULL;

    if (last == NULL) {
        return -1;
    }

    *version = s[1] >= '1' && s[1] <= '9' ? strtoull(s + 1, &end, 10) : 0;

    if (*version != 0 && end != last) {
        *version = 0;
    }

    for (s = last + 1; *s == ' ' || *s == '\t'; s++) { /* void */ }

    *p = s;

    return 0;
}


/* strong: a weak one is not the same; a malformed rest counts for nothing */

static int
kv_etag_is_in(const char *list, uint64_t version, int strong)
{
    int       weak;
    uint64_t  one;

    if (strcmp(list, "*") == 0) {
        return 1;
    }

    while (kv_etag_parse(&list, &one, &weak) == 0) {

        if (one == version && !(weak && strong)) {
            return 1;
        }

        if (*list != ',') {
            break;
        }

        list++;
    }

    return 0;
}
