
/*
 * The key-value space of a database (database.h).
 */


#ifndef KV_SQLITE_H_INCLUDED
#define KV_SQLITE_H_INCLUDED


#include "database.h"
#include "kv.h"


extern const kv_engine_t  kv_sqlite;

void kv_sqlite_init(kv_t *kv, database_t *d, int readonly);


#endif /* KV_SQLITE_H_INCLUDED */
