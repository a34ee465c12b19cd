
/*
 * Key-value in Redis: the engine "redis" of kv.h.
 *
 * With PREFIX of the URL (faas:), SPACE a function's name, or @NAME shared:
 *
 *   PREFIX{SPACE}:k:KEY   hash: v the value, n the version
 *   PREFIX{SPACE}:i       sorted set, all scores 0: the keys that there are,
 *                         and some that have expired
 *
 * A space is one slot of a cluster.  A call is one round trip; cas is two
 * (WATCH and a look, then the transaction), and scan two for each lot of keys
 * (names, then entries).
 */


#ifndef KV_REDIS_H_INCLUDED
#define KV_REDIS_H_INCLUDED


#include "kv.h"
#include "redis.h"


/* space: SPACE as above.  The redis_t is the caller's and outlives it.  NULL:
   out of memory, or no name */
kv_t *kv_redis_create(redis_t *r, const char *space);
void kv_redis_destroy(kv_t *kv);


#endif /* KV_REDIS_H_INCLUDED */
