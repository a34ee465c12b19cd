
/* Key-value, SQL and Redis: faas.h on baas.h. */


#include "sdk.h"


int
faas_kv_get(faas_request_t *r, const char *space, faas_bytes_t key,
    faas_kv_entry_t *entry)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_kv_get(b, space, key, entry) : code;
}


int
faas_kv_set(faas_request_t *r, const char *space, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t *version)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_kv_set(b, space, key, value, ttl_ms, version) : code;
}


int
faas_kv_cas(faas_request_t *r, const char *space, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_kv_cas(b, space, key, value, ttl_ms, expected, version)
             : code;
}


int
faas_kv_delete(faas_request_t *r, const char *space, faas_bytes_t key)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_kv_delete(b, space, key) : code;
}


int
faas_kv_incr(faas_request_t *r, const char *space, faas_bytes_t key,
    int64_t by, int64_t *sum)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_kv_incr(b, space, key, by, sum) : code;
}


int
faas_kv_expire(faas_request_t *r, const char *space, faas_bytes_t key,
    int64_t ttl_ms)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_kv_expire(b, space, key, ttl_ms) : code;
}


int
faas_kv_scan(faas_request_t *r, const char *space, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_kv_scan(b, space, prefix, after, limit, each, data) : code;
}


struct sqlite3 *
faas_db(faas_request_t *r, const char *name, int *code)
{
    int      rc;
    baas_t  *b;

    b = sdk_baas(r, &rc);

    if (b) {
        return baas_db(b, name, code);
    }

    if (code) {
        *code = rc;
    }

    return NULL;
}


struct sqlite3_stmt *
faas_db_prepare(faas_request_t *r, struct sqlite3 *db, const char *sql)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_db_prepare(b, db, sql) : NULL;
}


struct redisContext *
faas_redis(faas_request_t *r, int *code)
{
    int      rc;
    baas_t  *b;

    b = sdk_baas(r, &rc);

    if (b) {
        return baas_redis(b, code);
    }

    if (code) {
        *code = rc;
    }

    return NULL;
}
