
/*
 * A database: one SQLite file.  A function has its own, data/NAME/NAME.db, in
 * which its key-value space (faas_kv), its outbox (faas_outbox) and its
 * recorded responses (faas_once) live beside its own tables, so that one
 * transaction can hold all of them (a transaction over several files in WAL
 * mode is not atomic when the power goes).  Others (further databases, shared
 * stores) are of the same form.  Table names that begin with "faas_" are the
 * platform's: they can be read, but not changed by SQL.
 *
 * One handle for each file and process: key-value calls made while the
 * function has a transaction open on it are part of that transaction.
 *
 * Nobody checkpoints but the tender of the file (tender.h): wal_autocheckpoint
 * is 0, no checkpoint at close, and the authorizer refuses the pragmas that
 * would (SQLite before 3.51.3 can corrupt a file that two connections
 * checkpoint and write at once).  No mmap.
 *
 * No handle crosses a fork: in a process other than the one that opened it,
 * every call is FAAS_EUNSUPPORTED (or NULL) and touches nothing.
 */


#ifndef DATABASE_H_INCLUDED
#define DATABASE_H_INCLUDED


#include <sqlite3.h>

#include "baas.h"
#include "kv.h"


typedef struct database_s  database_t;

/* open flags */
#define DATABASE_READONLY  0x1    /* shared for reading */
#define DATABASE_NORMAL    0x2    /* durability normal: synchronous=NORMAL */
#define DATABASE_CREATE    0x4    /* if it is not there; mode 0660 */
#define DATABASE_SHARED    0x8    /* functions of several users write it; else
                                     it must be this user's own file */


/*
 * Opens DIRECTORY/NAME.db; the name is of the form of functions' names, and
 * what is opened is a regular file in that very directory, with one name, not
 * writable by others (no link is followed).  NULL with *code (faas.h) and a
 * line in why[size].  The platform's tables are made when they are first
 * needed, not here.  deadline_ms as in baas_scope_t; it bounds statements
 * until the first database_begin().
 */
database_t *database_open(const char *directory, const char *name,
    unsigned flags, int64_t deadline_ms, int *code, char *why, size_t size);

/* in another process than the opener's it does nothing; NULL too */
void database_close(database_t *d);

/* around each request: bounds all statements by the deadline (progress and
   busy handler); the end resets statements and rolls back.  The scope is kept
   until the end. */
void database_begin(database_t *d, const baas_scope_t *scope);
void database_end(database_t *d);

/* what faas_db() hands out; NULL in another process than the opener's */
sqlite3 *database_handle(database_t *d);

/*
 * A statement out of the cache, reset and without bindings.  The same text
 * gives the same statement, unless that one is being stepped.  NULL:
 * sqlite3_errmsg().
 */
sqlite3_stmt *database_prepare(database_t *d, const char *sql);

/* was its file removed, or another one put in its place? */
int database_is_moved(const database_t *d);

/* is that the handle of this database? */
int database_is(const database_t *d, const sqlite3 *db);

/* the code of faas.h for a result code of SQLite; database_error() looks at
   the errno of the handle too (a full disk, permissions) */
int database_code(int rc);
int database_error(const database_t *d, int rc);

/* its key-value space; lives as long as the database */
kv_t *database_kv(database_t *d);


/* -- effects once and the outbox: baas.h ----------------------------------- */

/*
 * As baas_once_begin() and so on.  While it is open BEGIN, COMMIT and ROLLBACK
 * of the function's own are refused; savepoints are not.
 */
int database_once_begin(database_t *d, const char *key, const uint8_t hash[32],
    const baas_scope_t *scope, faas_bytes_t *response);
int database_once_commit(database_t *d, faas_bytes_t response);
void database_once_abort(database_t *d);

/*
 * A message that is to be sent when this transaction is committed: operation
 * (WIRE_SEND, WIRE_DEFER) and payload of a question of wire.h.
 *
 * database_outbox() visits what is committed and was put at least age_ms ago,
 * in order, until `each` returns non-zero; a message for which it returned 0
 * is removed, in one transaction for several (a kill in between sends some
 * again, with the same ids).  No transaction is open while `each` runs.  Used
 * by the instance after its commit (age_ms 0) and by the tender for what a
 * killed one left.  Returns FAAS_OK, what `each` returned, or a code.
 */
int database_outbox_put(database_t *d, uint32_t operation,
    faas_bytes_t payload);
int database_outbox(database_t *d, int64_t age_ms,
    int (*each)(uint32_t operation, faas_bytes_t payload, void *data),
    void *data);

/* 1: there are messages in the outbox, of any age; 0: none; or a code */
int database_outbox_has(database_t *d);

/*
 * Removes up to `limit` expired key-value entries and recorded responses, in
 * one small transaction; how many in *n, and when the next one expires (wall
 * clock, INT64_MAX: none) in *next_ms.
 */
int database_purge(database_t *d, int64_t now_ms, uint32_t limit, uint32_t *n,
    int64_t *next_ms);


/* -- migrations ------------------------------------------------------------ */

/* one numbered file */

typedef struct {
    uint32_t                  number;
    const char               *name;        /* of the file, for errors */
    const char               *sql;
    size_t                    size;
} database_migration_t;

/*
 * Applies those of n (ascending numbers) that faas_migrations does not have,
 * all in one transaction, with foreign keys checked at its end.  One that was
 * applied with another content is an error (FAAS_ECONFLICT), and so is a new
 * one below the last applied.  What would leave the transaction or the file
 * (BEGIN, COMMIT, ATTACH, VACUUM, PRAGMA ...) is refused.  FAAS_OK, or a code
 * with a line in why[size] that names the file, and nothing is changed.
 */
int database_migrate(database_t *d, const database_migration_t *m, size_t n,
    char *why, size_t size);


#endif /* DATABASE_H_INCLUDED */
