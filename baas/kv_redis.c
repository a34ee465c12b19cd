
/*
 * Versions are made here, not counted there, so that a write needs no read
 * before it; and what belongs together is one transaction in one write.
 *
 * The index is a set beside the keys, since SCAN knows no order and looks at
 * all keys of the server.  A key that expires does so by itself and leaves
 * its index entry behind; scan takes out those that it meets, and each 16th
 * write of a key that will expire looks at 32 by chance: so entries without a
 * key come to be about as many as those with one, and not more, also in a
 * space that nobody scans.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv_redis_inner.h"


#define KV_REDIS_TIDY_EVERY  16
#define KV_REDIS_TIDY_LOOK   32
#define KV_REDIS_TIDY_MS     200     /* it is not worth more */


static int kv_redis_get(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_kv_entry_t *entry);
static int kv_redis_set(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version);
static int kv_redis_remove(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key);
static int kv_redis_incr(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, int64_t by, int64_t *sum);
static int kv_redis_expire(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, int64_t ttl_ms);

static int kv_redis_cas(kv_redis_t *k, const baas_scope_t *scope,
    faas_bytes_t key, faas_bytes_t value, int64_t ttl_ms, uint64_t expected,
    uint64_t version);
static int kv_redis_look(kv_redis_t *k, faas_bytes_t name, uint64_t expected,
    int64_t deadline_ms);
static size_t kv_redis_put(kv_redis_t *k, faas_bytes_t key, faas_bytes_t name,
    faas_bytes_t value, int64_t ttl_ms, uint64_t version);
static void kv_redis_look_for_expired(kv_redis_t *k,
    const baas_scope_t *scope, size_t sample);
static void kv_redis_undo_incr(kv_redis_t *k, const baas_scope_t *scope,
    faas_bytes_t name, uint64_t version, int64_t old);


static const kv_engine_t  kv_redis_engine = {
    .name   = "redis",
    .get    = kv_redis_get,
    .set    = kv_redis_set,
    .remove = kv_redis_remove,
    .incr   = kv_redis_incr,
    .expire = kv_redis_expire,
    .scan   = kv_redis_scan
};


kv_t *
kv_redis_create(redis_t *r, const char *space)
{
    size_t       n;
    kv_redis_t  *k;
    const char  *prefix;

    n = strlen(space);

    if (n == 0 || n > KV_SPACE_MAX + 1 || strpbrk(space, "{}") != NULL) {
        return NULL;
    }

    k = calloc(1, sizeof(kv_redis_t));
    if (k == NULL) {
        return NULL;
    }

    prefix = redis_options(r)->prefix;

    k->kv.engine = &kv_redis_engine;
    k->kv.data = k;
    k->redis = r;
    k->head_size = (size_t) snprintf(k->head, sizeof(k->head), "%s{%s}:k:",
                                     prefix, space);
    k->index.data = k->index_name;
    k->index.size = (size_t) snprintf(k->index_name, sizeof(k->index_name),
                                      "%s{%s}:i", prefix, space);

    return &k->kv;
}


void
kv_redis_destroy(kv_t *kv)
{
    if (kv != NULL) {
        free(kv->data);
    }
}


faas_bytes_t
kv_redis_name(const kv_redis_t *k, faas_bytes_t key, char *buf)
{
    faas_bytes_t  name;

    memcpy(buf, k->head, k->head_size);
    memcpy(buf + k->head_size, key.data, key.size);

    name.data = buf;
    name.size = k->head_size + key.size;

    return name;
}


/* -- get ------------------------------------------------------------------- */

static int
kv_redis_get(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_kv_entry_t *entry)
{
    int           rc;
    char          buf[KV_REDIS_KEY], *copy;
    redis_t      *r;
    kv_redis_t   *k;
    faas_bytes_t  name;

    k = kv->data;
    r = k->redis;
    name = kv_redis_name(k, key, buf);

    redis_batch(r);
    redis_add(r, faas_text("HMGET"), name, faas_text("v"), faas_text("n"));
    redis_add(r, faas_text("PTTL"), name);

    rc = redis_run(r, k->index, REDIS_REPEAT, scope->deadline_ms);

    if (rc == FAAS_OK) {
        rc = kv_redis_entry(redis_answer(r, 0), redis_answer(r, 1), entry);
    }

    if (rc == FAAS_OK) {
        copy = scope->alloc(scope->data, entry->value.size + 1);

        if (copy == NULL) {
            rc = FAAS_EFULL;

        } else {
            memcpy(copy, entry->value.data, entry->value.size);
            copy[entry->value.size] = '\0';
            entry->value.data = copy;
        }
    }

    redis_batch(r);

    return rc;
}


int
kv_redis_entry(const redisReply *fields, const redisReply *ttl,
    faas_kv_entry_t *entry)
{
    int      rc;
    int64_t  n;

    rc = redis_code(fields);

    if (rc == FAAS_OK) {
        rc = redis_code(ttl);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    if (fields->type != REDIS_REPLY_ARRAY || fields->elements != 2
        || ttl->type != REDIS_REPLY_INTEGER)
    {
        return FAAS_ECORRUPT;
    }

    /* -2: it expired in between */

    if ((fields->element[0]->type == REDIS_REPLY_NIL
         && fields->element[1]->type == REDIS_REPLY_NIL)
        || ttl->integer == -2)
    {
        return FAAS_ENOTFOUND;
    }

    entry->value.data = redis_reply_text(fields->element[0],
                                         &entry->value.size);

    if (entry->value.data == NULL
        || redis_reply_number(fields->element[1], &n) != FAAS_OK || n <= 0)
    {
        return FAAS_ECORRUPT;
    }

    entry->version = (uint64_t) n;
    entry->ttl_ms = ttl->integer;

    if (entry->ttl_ms < 0) {
        entry->ttl_ms = 0;

    } else if (entry->ttl_ms == 0) {
        entry->ttl_ms = 1;       /* less than that is left */
    }

    return FAAS_OK;
}


/* -- set ------------------------------------------------------------------- */

static int
kv_redis_set(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version)
{
    int           rc;
    char          buf[KV_REDIS_KEY], number[REDIS_NUMBER];
    size_t        n, sample;
    redis_t      *r;
    kv_redis_t   *k;
    faas_bytes_t  name;

    k = kv->data;
    r = k->redis;
    *version = kv_version();

    if (expected != KV_ANY) {
        return kv_redis_cas(k, scope, key, value, ttl_ms, expected, *version);
    }

    name = kv_redis_name(k, key, buf);
    sample = 0;

    redis_batch(r);
    n = kv_redis_put(k, key, name, value, ttl_ms, *version);

    if (ttl_ms != 0 && ++k->expiring % KV_REDIS_TIDY_EVERY == 0) {
        sample = n;
        redis_add(r, faas_text("ZRANDMEMBER"), k->index,
                  redis_number(number, KV_REDIS_TIDY_LOOK));
    }

    rc = redis_run(r, k->index, 0, scope->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result_of(r, 0, n);
    }

    if (rc == FAAS_OK && sample != 0) {
        kv_redis_look_for_expired(k, scope, sample);
    }

    return rc;
}


/* looks at the version and writes, unless the key was touched in between */
static int
kv_redis_cas(kv_redis_t *k, const baas_scope_t *scope, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t version)
{
    int           rc;
    char          buf[KV_REDIS_KEY];
    faas_bytes_t  name;

    name = kv_redis_name(k, key, buf);

    do {
        rc = kv_redis_look(k, name, expected, scope->deadline_ms);

        if (rc != FAAS_OK) {
            return rc;
        }

        redis_batch(k->redis);
        (void) kv_redis_put(k, key, name, value, ttl_ms, version);

        rc = redis_run(k->redis, k->index, REDIS_EXEC, scope->deadline_ms);

        if (rc == FAAS_OK) {
            rc = redis_result(k->redis);
        }

        if (rc != FAAS_ECONFLICT) {
            return rc;
        }

    } while (redis_now_ms() < scope->deadline_ms);

    return FAAS_EBUSY;
}


static int
kv_redis_look(kv_redis_t *k, faas_bytes_t name, uint64_t expected,
    int64_t deadline_ms)
{
    int                rc;
    int64_t            n;
    const redisReply  *found;

    redis_batch(k->redis);
    redis_add(k->redis, faas_text("WATCH"), name);
    redis_add(k->redis, faas_text("HGET"), name, faas_text("n"));

    rc = redis_run(k->redis, k->index, REDIS_WATCH | REDIS_REPEAT,
                   deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(k->redis);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    found = redis_answer(k->redis, 1);

    if (found->type == REDIS_REPLY_NIL) {
        return expected == 0 ? FAAS_OK : FAAS_ECONFLICT;
    }

    if (redis_reply_number(found, &n) != FAAS_OK) {
        return FAAS_ECORRUPT;
    }

    return expected != 0 && (uint64_t) n == expected ? FAAS_OK
                                                     : FAAS_ECONFLICT;
}


/* adds the transaction that writes a value; how many commands */
static size_t
kv_redis_put(kv_redis_t *k, faas_bytes_t key, faas_bytes_t name,
    faas_bytes_t value, int64_t ttl_ms, uint64_t version)
{
    char      number[REDIS_NUMBER], ttl[REDIS_NUMBER];
    redis_t  *r;

    r = k->redis;

    redis_add(r, faas_text("MULTI"));
    redis_add(r, faas_text("HSET"), name, faas_text("v"), value,
              faas_text("n"), redis_number(number, (int64_t) version));

    if (ttl_ms == 0) {
        redis_add(r, faas_text("PERSIST"), name);

    } else {
        redis_add(r, faas_text("PEXPIRE"), name, redis_number(ttl, ttl_ms));
    }

    redis_add(r, faas_text("ZADD"), k->index, faas_text("0"), key);
    redis_add(r, faas_text("EXEC"));

    return 5;
}


/* nothing of this is the caller's concern */
static void
kv_redis_look_for_expired(kv_redis_t *k, const baas_scope_t *scope,
    size_t sample)
{
    size_t         i, n, count;
    int64_t        latest;
    redisReply   **answers, *members;
    faas_bytes_t   keys[KV_REDIS_TIDY_LOOK];

    answers = redis_take(k->redis, &n);
    members = answers[sample];
    count = 0;

    for (i = 0; members->type == REDIS_REPLY_ARRAY && i < members->elements
                && count < KV_REDIS_TIDY_LOOK; i++)
    {
        keys[count].data = redis_reply_text(members->element[i],
                                            &keys[count].size);

        if (keys[count].size > 0 && keys[count].size <= FAAS_KV_KEY_MAX) {
            count++;
        }
    }

    if (count > 0) {
        latest = redis_now_ms() + KV_REDIS_TIDY_MS;
        kv_redis_tidy(k, keys, count,
                      latest < scope->deadline_ms ? latest
                                                  : scope->deadline_ms);
    }

    redis_release(answers, n);
}


/* -- others ---------------------------------------------------------------- */

/*
 * When its memory is full Redis queues nothing, not even what frees some: then
 * the key is removed alone, and its index entry is left as that of one that
 * has expired.
 */

static int
kv_redis_remove(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key)
{
    int                rc;
    char               buf[KV_REDIS_KEY];
    redis_t           *r;
    kv_redis_t        *k;
    faas_bytes_t       name;
    const redisReply  *done;

    k = kv->data;
    r = k->redis;
    name = kv_redis_name(k, key, buf);

    redis_batch(r);
    redis_add(r, faas_text("MULTI"));
    redis_add(r, faas_text("DEL"), name);
    redis_add(r, faas_text("ZREM"), k->index, key);
    redis_add(r, faas_text("EXEC"));

    rc = redis_run(r, k->index, 0, scope->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(r);
        done = redis_answer(r, 3);

        if (rc == FAAS_OK && done->type == REDIS_REPLY_ARRAY
            && done->elements == 2)
        {
            return done->element[0]->integer ? FAAS_OK : FAAS_ENOTFOUND;
        }
    }

    if (rc != FAAS_EFULL) {
        return rc == FAAS_OK ? FAAS_ERROR : rc;
    }

    redis_batch(r);
    redis_add(r, faas_text("DEL"), name);

    rc = redis_run(r, k->index, 0, scope->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(r);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    return redis_answer(r, 0)->integer ? FAAS_OK : FAAS_ENOTFOUND;
}


/*
 * In a transaction a command that fails does not undo the others, so a value
 * that is no number would have a new version all the same.  What it was comes
 * with the answer, and is put back.
 */

static int
kv_redis_incr(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t by, int64_t *sum)
{
    int                rc;
    char               buf[KV_REDIS_KEY], number[REDIS_NUMBER];
    char               amount[REDIS_NUMBER];
    int64_t            old;
    redis_t           *r;
    uint64_t           version;
    kv_redis_t        *k;
    faas_bytes_t       name;
    const redisReply  *done;

    k = kv->data;
    r = k->redis;
    name = kv_redis_name(k, key, buf);
    version = kv_version();

    redis_batch(r);
    redis_add(r, faas_text("MULTI"));
    redis_add(r, faas_text("HGET"), name, faas_text("n"));
    redis_add(r, faas_text("HINCRBY"), name, faas_text("v"),
              redis_number(amount, by));
    redis_add(r, faas_text("HSET"), name, faas_text("n"),
              redis_number(number, (int64_t) version));
    redis_add(r, faas_text("ZADD"), k->index, faas_text("0"), key);
    redis_add(r, faas_text("EXEC"));

    rc = redis_run(r, k->index, 0, scope->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(r);
    }

    done = redis_answer(r, 5);

    if (rc == FAAS_EINVAL && done != NULL && done->type == REDIS_REPLY_ARRAY
        && done->elements == 4
        && redis_reply_number(done->element[0], &old) == FAAS_OK)
    {
        kv_redis_undo_incr(k, scope, name, version, old);
        return FAAS_EINVAL;
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    if (done->type != REDIS_REPLY_ARRAY || done->elements != 4
        || redis_reply_number(done->element[1], sum) != FAAS_OK)
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


/* unless somebody wrote since; if it cannot be undone, the value has a new
   version and is the same */
static void
kv_redis_undo_incr(kv_redis_t *k, const baas_scope_t *scope,
    faas_bytes_t name, uint64_t version, int64_t old)
{
    char  number[REDIS_NUMBER];

    if (kv_redis_look(k, name, version, scope->deadline_ms) != FAAS_OK) {
        return;
    }

    redis_batch(k->redis);
    redis_add(k->redis, faas_text("MULTI"));
    redis_add(k->redis, faas_text("HSET"), name, faas_text("n"),
              redis_number(number, old));
    redis_add(k->redis, faas_text("EXEC"));

    (void) redis_run(k->redis, k->index, REDIS_EXEC, scope->deadline_ms);
}


static int
kv_redis_expire(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t ttl_ms)
{
    int                rc;
    char               buf[KV_REDIS_KEY], ttl[REDIS_NUMBER];
    redis_t           *r;
    kv_redis_t        *k;
    faas_bytes_t       name;
    const redisReply  *found;

    k = kv->data;
    r = k->redis;
    name = kv_redis_name(k, key, buf);

    redis_batch(r);

    if (ttl_ms != 0) {
        redis_add(r, faas_text("PEXPIRE"), name, redis_number(ttl, ttl_ms));

    } else {

        /* PERSIST alone does not tell no key from no time */

        redis_add(r, faas_text("EXISTS"), name);
        redis_add(r, faas_text("PERSIST"), name);
    }

    rc = redis_run(r, k->index, 0, scope->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(r);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    found = redis_answer(r, 0);

    return found->type == REDIS_REPLY_INTEGER && found->integer
           ? FAAS_OK : FAAS_ENOTFOUND;
}
