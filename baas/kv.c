
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "kv.h"
#include "process_mark.h"


#define KV_CHANCE_BITS  20


static int kv_check_key(faas_bytes_t key);
static int kv_check_bytes(faas_bytes_t bytes, size_t max);
static int kv_check_write(const kv_t *kv, faas_bytes_t key);
static uint64_t kv_chance(int *forked);


int
kv_get(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_kv_entry_t *entry)
{
    int    rc;
    char  *copy;

    rc = kv_check_key(key);
    if (rc != FAAS_OK) {
        return rc;
    }

    rc = kv->engine->get(kv, scope, key, entry);
    if (rc != FAAS_OK) {
        return rc;
    }

    copy = scope->alloc(scope->data, key.size + 1);
    if (copy == NULL) {
        return FAAS_EFULL;
    }

    memcpy(copy, key.data, key.size);
    copy[key.size] = '\0';

    entry->key.data = copy;
    entry->key.size = key.size;

    return FAAS_OK;
}


int
kv_set(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version)
{
    int       rc;
    uint64_t  ignored;

    rc = kv_check_write(kv, key);
    if (rc != FAAS_OK) {
        return rc;
    }

    rc = kv_check_bytes(value, FAAS_KV_VALUE_MAX);
    if (rc != FAAS_OK) {
        return rc;
    }

    if (ttl_ms < 0 || ttl_ms > KV_TTL_MAX_MS) {
        return FAAS_EINVAL;
    }

    if (expected != KV_ANY && expected > INT64_MAX) {
        return FAAS_ECONFLICT;    /* no version is that high */
    }

    return kv->engine->set(kv, scope, key, value, ttl_ms, expected,
                           version ? version : &ignored);
}


int
kv_remove(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key)
{
    int  rc;

    rc = kv_check_write(kv, key);
    if (rc != FAAS_OK) {
        return rc;
    }

    return kv->engine->remove(kv, scope, key);
}


int
kv_incr(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key, int64_t by,
    int64_t *sum)
{
    int      rc;
    int64_t  ignored;

    rc = kv_check_write(kv, key);
    if (rc != FAAS_OK) {
        return rc;
    }

    return kv->engine->incr(kv, scope, key, by, sum ? sum : &ignored);
}


int
kv_expire(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t ttl_ms)
{
    int  rc;

    rc = kv_check_write(kv, key);
    if (rc != FAAS_OK) {
        return rc;
    }

    if (ttl_ms < 0 || ttl_ms > KV_TTL_MAX_MS) {
        return FAAS_EINVAL;
    }

    return kv->engine->expire(kv, scope, key, ttl_ms);
}


int
kv_scan(kv_t *kv, const baas_scope_t *scope, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data)
{
    int  rc;

    rc = kv_check_bytes(prefix, FAAS_KV_KEY_MAX);
    if (rc != FAAS_OK) {
        return rc;
    }

    rc = kv_check_bytes(after, FAAS_KV_KEY_MAX);
    if (rc != FAAS_OK) {
        return rc;
    }

    if (limit == 0 || limit > KV_SCAN_MAX || each == NULL) {
        return FAAS_EINVAL;
    }

    return kv->engine->scan(kv, scope, prefix, after, limit, each, data);
}


static int
kv_check_write(const kv_t *kv, faas_bytes_t key)
{
    if (kv->readonly) {
        return FAAS_EREADONLY;
    }

    return kv_check_key(key);
}


static int
kv_check_key(faas_bytes_t key)
{
    if (key.size == 0) {
        return FAAS_EINVAL;
    }

    return kv_check_bytes(key, FAAS_KV_KEY_MAX);
}


static int
kv_check_bytes(faas_bytes_t bytes, size_t max)
{
    if (bytes.size > max) {
        return FAAS_ETOOLARGE;
    }

    if (bytes.size != 0 && bytes.data == NULL) {
        return FAAS_EINVAL;
    }

    return FAAS_OK;
}


/*
 * Milliseconds and chance; within a process each is greater than the last, so
 * that two of one millisecond cannot be the same by chance.
 */

uint64_t
kv_version(void)
{
    int              forked;
    uint64_t         version;
    static uint64_t  last;

    version = (uint64_t) kv_now_ms() & ((1ull << 43) - 1);
    version = version << KV_CHANCE_BITS
              | (kv_chance(&forked) & ((1ull << KV_CHANCE_BITS) - 1));

    if (forked) {
        last = 0;    /* parent and child must not count on from the same */
    }

    if (version <= last && last - version < (1000ull << KV_CHANCE_BITS)) {
        version = last + 1;
    }

    if (version == 0) {
        version = 1;
    }

    last = version;

    return version;
}


/* xorshift64*; 1 in *forked the first time in each process */

static uint64_t
kv_chance(int *forked)
{
    uint64_t         mark;
    static uint64_t  state, seeded;

    mark = process_mark();
    *forked = seeded != mark;

    if (*forked) {
        if (getrandom(&state, sizeof(state), GRND_NONBLOCK) != sizeof(state)) {
            state = mark ^ (uint64_t) kv_now_ms();
        }

        state |= 1;
        seeded = mark;
    }

    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;

    return (state * 0x2545f4914f6cdd1dull) >> 32;
}


int
kv_number(const void *data, size_t size, int64_t *number)
{
    int         negative;
    size_t      i;
    uint64_t    n, digit, max;
    const char *p;

    p = data;
    negative = 0;

    if (size != 0 && p[0] == '-') {
        negative = 1;
        p++;
        size--;
    }

    if (size == 0 || size > 19) {
        return FAAS_EINVAL;
    }

    if (p[0] == '0' && (size > 1 || negative)) {
        return FAAS_EINVAL;
    }

    n = 0;

    for (i = 0; i < size; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return FAAS_EINVAL;
        }

        digit = (uint64_t) (p[i] - '0');
        n = n * 10 + digit;    /* 19 digits are below 2^64 */
    }

    max = negative ? (uint64_t) INT64_MAX + 1 : (uint64_t) INT64_MAX;

    if (n > max) {
        return FAAS_EINVAL;
    }

    *number = negative ? (int64_t) (0 - n) : (int64_t) n;

    return FAAS_OK;
}


int
kv_add(int64_t a, int64_t b, int64_t *sum)
{
    if (__builtin_add_overflow(a, b, sum)) {
        return FAAS_EINVAL;
    }

    return FAAS_OK;
}


int64_t
kv_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
