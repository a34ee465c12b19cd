
/*
 * What kv_redis.c and kv_redis_scan.c share.
 */


#ifndef KV_REDIS_INNER_H_INCLUDED
#define KV_REDIS_INNER_H_INCLUDED


#include "kv_redis.h"


/* PREFIX{SPACE}:k: */
#define KV_REDIS_HEAD  (REDIS_URL_PREFIX + KV_SPACE_MAX + 8)

/* a whole key */
#define KV_REDIS_KEY   (KV_REDIS_HEAD + FAAS_KV_KEY_MAX)


typedef struct {
    kv_t                      kv;
    redis_t                  *redis;
    char                      head[KV_REDIS_HEAD];
    size_t                    head_size;
    char                      index_name[KV_REDIS_HEAD];
    faas_bytes_t              index;       /* that name; it says the slot */
    uint32_t                  expiring;    /* sets with a time to live */
} kv_redis_t;


/* the name of a key, in buf[KV_REDIS_KEY] */
faas_bytes_t kv_redis_name(const kv_redis_t *k, faas_bytes_t key, char *buf);

/* an entry of the answers to HMGET v n and PTTL: FAAS_OK, FAAS_ENOTFOUND, or
   a code; the value stays the answer's */
int kv_redis_entry(const redisReply *fields, const redisReply *ttl,
    faas_kv_entry_t *entry);

int kv_redis_scan(kv_t *kv, const baas_scope_t *scope, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data);

/* takes those of n keys out of the index that are not there (any more) */
void kv_redis_tidy(kv_redis_t *k, const faas_bytes_t *keys, size_t n,
    int64_t deadline_ms);


#endif /* KV_REDIS_INNER_H_INCLUDED */
