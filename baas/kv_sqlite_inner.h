
/*
 * What kv_sqlite.c and kv_sqlite_scan.c share.
 */


#ifndef KV_SQLITE_INNER_H_INCLUDED
#define KV_SQLITE_INNER_H_INCLUDED


#include "database.h"
#include "kv.h"


/* takes over the scope's deadline; a code as database_enter() */
int kv_sqlite_enter(kv_t *kv, const baas_scope_t *scope, database_t **d);

void kv_sqlite_bind_bytes(sqlite3_stmt *stmt, int i, faas_bytes_t b);

/* what is left of a time to live in that column; 0: for ever */
int64_t kv_sqlite_ttl(sqlite3_stmt *stmt, int column, int64_t now_ms);

int kv_sqlite_scan(kv_t *kv, const baas_scope_t *scope, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data);


#endif /* KV_SQLITE_INNER_H_INCLUDED */
