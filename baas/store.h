
/*
 * A store: one SQLite file.  A function has its own, data/NAME/NAME.db, in
 * which its key-value space (faas_kv), its outbox (faas_outbox) and its
 * recorded responses (faas_once) live beside its own tables, so that one
 * transaction can hold all of them (a transaction over several files in WAL
 * mode is not atomic when the power goes).  Others (further databases, shared
 * stores) are of the same form.  Table names that begin with "faas_" are the
 * platform's.
 *
 * One handle for each file and process.  Key-value calls made while the
 * function has a transaction open on that handle are part of it.
 *
 * Nobody checkpoints but the tender of the file (tender.c): wal_autocheckpoint
 * is 0, no checkpoint at close, and the authorizer refuses the pragmas that
 * would (SQLite before 3.51.3 can corrupt a file that two connections
 * checkpoint and write at once).  No mmap.
 */


#ifndef STORE_H_INCLUDED
#define STORE_H_INCLUDED


#include <sqlite3.h>

#include "baas.h"
#include "kv.h"


typedef struct store_s  store_t;

/* open flags */
#define STORE_READONLY  0x1       /* shared for reading */
#define STORE_NORMAL    0x2       /* durability normal: synchronous=NORMAL */
#define STORE_CREATE    0x4       /* mode 0660, as the directory's owner */
#define STORE_SHARED    0x8       /* functions of several users write it */


/*
 * Opens DIRECTORY/NAME.db; the name is a function's name, and what is opened
 * is a regular file in that very directory (no link followed).  NULL with
 * *code (faas.h) and a line in why[size].  SQLite's tables of the platform
 * are made when they are first needed, not here.
 */
store_t *store_open(const char *directory, const char *name, unsigned flags,
    int64_t deadline_ms, int *code, char *why, size_t size);
void store_close(store_t *s);

/* around each request: bounds all statements by the deadline (progress and
   busy handler); the end resets statements and rolls back */
void store_begin(store_t *s, const baas_scope_t *scope);
void store_end(store_t *s);

/* what faas_db() hands out */
sqlite3 *store_db(store_t *s);
sqlite3_stmt *store_prepare(store_t *s, const char *sql);

/* is that the handle of this store? */
int store_is(const store_t *s, const sqlite3 *db);

/* the code of faas.h for a result code of SQLite; a deadline that has passed
   makes FAAS_ETIMEDOUT of an interrupt and FAAS_EBUSY of a lock */
int store_code(int rc);

/* its key-value space; lives as long as the store */
kv_t *store_kv(store_t *s);


/* -- effects once and the outbox: baas.h ----------------------------------- */

int store_once_begin(store_t *s, const char *key, const uint8_t hash[32],
    const baas_scope_t *scope, faas_bytes_t *response);
int store_once_commit(store_t *s, faas_bytes_t response);
void store_once_abort(store_t *s);

/*
 * A message that is to be sent when this transaction is committed: the
 * payload of a WIRE_SEND.  store_outbox() visits what is committed and not
 * sent yet, in order, until `each` returns non-zero, and removes a message
 * when it returned 0.  Used by the instance after its commit and by the
 * tender for what a killed one left.
 */
int store_outbox_put(store_t *s, faas_bytes_t payload);
int store_outbox(store_t *s, int (*each)(faas_bytes_t payload, void *data),
    void *data);


/* -- migrations ------------------------------------------------------------ */

/* one numbered file; see migrate.h */

typedef struct {
    uint32_t                  number;
    const char               *name;        /* of the file, for errors */
    const char               *sql;
    size_t                    size;
} store_migration_t;

/*
 * Applies those of n (ascending numbers) that faas_migrations does not have,
 * all in one transaction.  One that has been applied with another content is
 * an error, and so is a new one below the last applied.  FAAS_OK, or a code
 * with a line in why[size] that names the file, and nothing is changed.
 */
int store_migrate(store_t *s, const store_migration_t *m, size_t n,
    char *why, size_t size);


#endif /* STORE_H_INCLUDED */
