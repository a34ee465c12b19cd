
#include <stdlib.h>
#include <string.h>

#include "kv_redis_inner.h"


/* how many keys at once: as many as make about a megabyte of values */
#define KV_REDIS_FIRST  16
#define KV_REDIS_LEAST  4
#define KV_REDIS_MOST   256
#define KV_REDIS_BYTES  (1024 * 1024)


/* one scan */

typedef struct {
    kv_redis_t               *k;
    int64_t                   deadline_ms;
    int                     (*each)(const faas_kv_entry_t *entry, void *data);
    void                     *data;

    /* ZRANGEBYLEX: '[' or '(' and a key, "-", "+" */
    char                      min[FAAS_KV_KEY_MAX + 1];
    size_t                    min_size;
    char                      max[FAAS_KV_KEY_MAX + 1];
    size_t                    max_size;

    size_t                    chunk;       /* keys to ask for */
    size_t                    left;        /* entries to give */
    int                       ended;       /* there are no more keys */

    faas_bytes_t              expired[KV_REDIS_MOST];
    size_t                    expired_count;
} kv_redis_scan_t;


static void kv_redis_scan_bounds(kv_redis_scan_t *s, faas_bytes_t prefix,
    faas_bytes_t after);
static int kv_redis_scan_chunk(kv_redis_scan_t *s);
static int kv_redis_scan_keys(kv_redis_scan_t *s, redisReply *members);
static int kv_redis_scan_give(kv_redis_scan_t *s, const redisReply *members,
    redisReply **answers);
static int kv_redis_scan_next(kv_redis_scan_t *s, const redisReply *members,
    size_t bytes);
static size_t kv_redis_missing(kv_redis_t *k, const faas_bytes_t *keys,
    size_t n, faas_bytes_t *missing, int64_t deadline_ms);


int
kv_redis_scan(kv_t *kv, const baas_scope_t *scope, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data)
{
    int               rc;
    kv_redis_scan_t  *s;

    s = calloc(1, sizeof(kv_redis_scan_t));
    if (s == NULL) {
        return FAAS_EFULL;
    }

    s->k = kv->data;
    s->deadline_ms = scope->deadline_ms;
    s->each = each;
    s->data = data;
    s->left = limit;
    s->chunk = KV_REDIS_FIRST;

    kv_redis_scan_bounds(s, prefix, after);

    do {
        rc = kv_redis_scan_chunk(s);
    } while (rc == FAAS_OK && s->left > 0 && !s->ended);

    free(s);

    return rc;
}


/* from the prefix, or behind `after`, to before the first that is greater
   than all with the prefix */
static void
kv_redis_scan_bounds(kv_redis_scan_t *s, faas_bytes_t prefix,
    faas_bytes_t after)
{
    int            rc;
    size_t         n;
    unsigned char  last;

    n = after.size < prefix.size ? after.size : prefix.size;
    rc = n ? memcmp(after.data, prefix.data, n) : 0;

    if (after.size > 0 && (rc > 0 || (rc == 0 && after.size >= prefix.size))) {
        s->min[0] = '(';
        memcpy(s->min + 1, after.data, after.size);
        s->min_size = 1 + after.size;

    } else if (prefix.size > 0) {
        s->min[0] = '[';
        memcpy(s->min + 1, prefix.data, prefix.size);
        s->min_size = 1 + prefix.size;

    } else {
        s->min[0] = '-';
        s->min_size = 1;
    }

    n = prefix.size;

    while (n > 0 && ((const unsigned char *) prefix.data)[n - 1] == 0xff) {
        n--;
    }

    if (n == 0) {
        s->max[0] = '+';
        s->max_size = 1;
        return;
    }

    s->max[0] = '(';
    memcpy(s->max + 1, prefix.data, n);
    last = (unsigned char) s->max[n];
    s->max[n] = (char) (last + 1);
    s->max_size = 1 + n;
}


/*
 * The answers are taken out of the redis_t: who is given an entry may use the
 * same space.
 */

static int
kv_redis_scan_chunk(kv_redis_scan_t *s)
{
    int           rc;
    char          number[REDIS_NUMBER];
    size_t        n, m;
    redis_t      *r;
    redisReply  **keys, **answers;

    r = s->k->redis;

    if (s->chunk > s->left) {
        s->chunk = s->left;
    }

    redis_batch(r);
    redis_add(r, faas_text("ZRANGEBYLEX"), s->k->index,
              ((faas_bytes_t) { s->min, s->min_size }),
              ((faas_bytes_t) { s->max, s->max_size }), faas_text("LIMIT"),
              faas_text("0"), redis_number(number, (int64_t) s->chunk));

    rc = redis_run(r, s->k->index, REDIS_REPEAT, s->deadline_ms);

    if (rc == FAAS_OK) {
        rc = redis_result(r);
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    keys = redis_take(r, &n);
    rc = kv_redis_scan_keys(s, keys[0]);

    if (rc == FAAS_OK && keys[0]->elements > 0) {
        answers = redis_take(r, &m);
        rc = kv_redis_scan_give(s, keys[0], answers);
        redis_release(answers, m);

        if (s->expired_count > 0 && !s->k->kv.readonly) {
            kv_redis_tidy(s->k, s->expired, s->expired_count, s->deadline_ms);
        }
    }

    redis_release(keys, n);

    return rc;
}


/* asks for all of them */
static int
kv_redis_scan_keys(kv_redis_scan_t *s, redisReply *members)
{
    char          buf[KV_REDIS_KEY];
    size_t        i;
    redis_t      *r;
    faas_bytes_t  key, name;

    r = s->k->redis;

    if (members->type != REDIS_REPLY_ARRAY || members->elements > s->chunk) {
        return FAAS_ECORRUPT;
    }

    s->ended = members->elements < s->chunk;

    if (members->elements == 0) {
        return FAAS_OK;
    }

    redis_batch(r);

    for (i = 0; i < members->elements; i++) {
        key.data = redis_reply_text(members->element[i], &key.size);

        if (key.data == NULL || key.size > FAAS_KV_KEY_MAX) {
            return FAAS_ECORRUPT;
        }

        name = kv_redis_name(s->k, key, buf);

        redis_add(r, faas_text("HMGET"), name, faas_text("v"),
                  faas_text("n"));
        redis_add(r, faas_text("PTTL"), name);
    }

    return redis_run(r, s->k->index, REDIS_REPEAT, s->deadline_ms);
}


static int
kv_redis_scan_give(kv_redis_scan_t *s, const redisReply *members,
    redisReply **answers)
{
    int              rc;
    size_t           i, bytes;
    faas_kv_entry_t  entry;

    bytes = 0;
    s->expired_count = 0;

    for (i = 0; i < members->elements; i++) {
        entry.key.data = redis_reply_text(members->element[i],
                                          &entry.key.size);

        rc = kv_redis_entry(answers[2 * i], answers[2 * i + 1], &entry);

        if (rc == FAAS_ENOTFOUND) {
            s->expired[s->expired_count++] = entry.key;
            continue;
        }

        if (rc != FAAS_OK) {
            return rc;
        }

        bytes += entry.value.size;
        s->left--;

        rc = s->each(&entry, s->data);

        if (rc != 0) {
            return rc;
        }
    }

    return kv_redis_scan_next(s, members, bytes);
}


/* where to go on, and how fast */
static int
kv_redis_scan_next(kv_redis_scan_t *s, const redisReply *members,
    size_t bytes)
{
    size_t             mean;
    const redisReply  *last;

    last = members->element[members->elements - 1];

    s->min[0] = '(';
    memcpy(s->min + 1, last->str, last->len);
    s->min_size = 1 + last->len;

    mean = bytes / members->elements + 1;
    s->chunk = KV_REDIS_BYTES / mean;

    if (s->chunk < KV_REDIS_LEAST) {
        s->chunk = KV_REDIS_LEAST;

    } else if (s->chunk > KV_REDIS_MOST) {
        s->chunk = KV_REDIS_MOST;
    }

    return FAAS_OK;
}


/* -- the index ------------------------------------------------------------- */

/*
 * Under WATCH: a key that is written between the look and the removal makes
 * the removal fail, so that no key is ever without its entry.  If it fails,
 * another time will do.
 */

void
kv_redis_tidy(kv_redis_t *k, const faas_bytes_t *keys, size_t n,
    int64_t deadline_ms)
{
    size_t         missing;
    faas_bytes_t  *argv;

    argv = calloc(n + 2, sizeof(faas_bytes_t));
    if (argv == NULL) {
        return;
    }

    missing = kv_redis_missing(k, keys, n, argv + 2, deadline_ms);

    if (missing > 0) {
        argv[0] = faas_text("ZREM");
        argv[1] = k->index;

        redis_batch(k->redis);
        redis_add(k->redis, faas_text("MULTI"));
        redis_command(k->redis, argv, missing + 2);
        redis_add(k->redis, faas_text("EXEC"));

        (void) redis_run(k->redis, k->index, REDIS_EXEC, deadline_ms);
    }

    redis_batch(k->redis);
    free(argv);
}


/* watches all of them and says which are not there: how many */
static size_t
kv_redis_missing(kv_redis_t *k, const faas_bytes_t *keys, size_t n,
    faas_bytes_t *missing, int64_t deadline_ms)
{
    char               buf[KV_REDIS_KEY];
    size_t             i, count;
    faas_bytes_t       name;
    const redisReply  *there;

    redis_batch(k->redis);

    for (i = 0; i < n; i++) {
        name = kv_redis_name(k, keys[i], buf);
        redis_add(k->redis, faas_text("WATCH"), name);
        redis_add(k->redis, faas_text("EXISTS"), name);
    }

    if (redis_run(k->redis, k->index, REDIS_WATCH | REDIS_REPEAT, deadline_ms)
        != FAAS_OK
        || redis_result(k->redis) != FAAS_OK)
    {
        return 0;
    }

    count = 0;

    for (i = 0; i < n; i++) {
        there = redis_answer(k->redis, 2 * i + 1);

        if (there->type == REDIS_REPLY_INTEGER && there->integer == 0) {
            missing[count++] = keys[i];
        }
    }

    return count;
}
