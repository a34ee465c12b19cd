
/*
 * Key-value: what the engines have in common, and what each must do.  The
 * rules of names, sizes and numbers are checked here, once, before an engine
 * is asked; the conformance suite (tests/unit/kv_conformance.h) is run
 * against each engine.
 */


#ifndef KV_H_INCLUDED
#define KV_H_INCLUDED


#include "baas.h"


#define KV_SPACE_MAX   63         /* as functions' names */
#define KV_SCAN_MAX    1000
#define KV_TTL_MAX_MS  (100ll * 365 * 24 * 3600 * 1000)


/*
 * One space of one engine; made and freed by the engine.  Arguments are
 * within the limits.  `scope` bounds the call; results are from its alloc.
 * An engine's version numbers are from kv_version().
 */

typedef struct kv_s  kv_t;

typedef struct {
    const char               *name;
    int  (*get)(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
                faas_kv_entry_t *entry);

    /* expected: KV_ANY, 0: must not be there, else the version it must have */
    int  (*set)(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
                faas_bytes_t value, int64_t ttl_ms, uint64_t expected,
                uint64_t *version);
    int  (*remove)(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key);
    int  (*incr)(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
                 int64_t by, int64_t *sum);
    int  (*expire)(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
                   int64_t ttl_ms);
    int  (*scan)(kv_t *kv, const baas_scope_t *scope, faas_bytes_t prefix,
                 faas_bytes_t after, uint32_t limit,
                 int (*each)(const faas_kv_entry_t *entry, void *data),
                 void *data);
} kv_engine_t;

struct kv_s {
    const kv_engine_t        *engine;
    void                     *data;        /* the engine's */
    int                       readonly;    /* 1: shared for reading only */
};

#define KV_ANY  UINT64_MAX


/*
 * These check, then ask the engine.  `version` and `sum` may be NULL, and are
 * not for the engine; the key of a got entry is filled in here.  A caller
 * whose `expected` is a user's refuses KV_ANY itself.  alloc failing is
 * FAAS_EFULL.
 */
int kv_get(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_kv_entry_t *entry);
int kv_set(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version);
int kv_remove(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key);
int kv_incr(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key, int64_t by,
    int64_t *sum);
int kv_expire(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t ttl_ms);
int kv_scan(kv_t *kv, const baas_scope_t *scope, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data);

/* a number that no other call returned, on any machine: 43 bits of the
   clock's milliseconds, 20 of chance; never 0, below 2^63 */
uint64_t kv_version(void);

/* parses a decimal number of 64 bits as both engines write it, optional '-',
   no leading zero, no other byte: FAAS_OK or FAAS_EINVAL; adds with overflow
   as FAAS_EINVAL */
int kv_number(const void *data, size_t size, int64_t *number);
int kv_add(int64_t a, int64_t b, int64_t *sum);

/* wall clock, milliseconds since the epoch: what times to live end by */
int64_t kv_now_ms(void);


#endif /* KV_H_INCLUDED */
