
/*
 * What the files of database.h share, and kv_sqlite.c with them.
 */


#ifndef DATABASE_INNER_H_INCLUDED
#define DATABASE_INNER_H_INCLUDED


#include "database.h"


#define DATABASE_CACHE        64       /* texts of the function's own */
#define DATABASE_VALUE_MAX    (64 * 1024 * 1024)
#define DATABASE_SQL_MAX      (1024 * 1024)
#define DATABASE_JOURNAL_MAX  (16 * 1024 * 1024)


/* the platform's tables; made when first written to */

typedef enum {
    DATABASE_KV = 0,
    DATABASE_ONCE,
    DATABASE_OUTBOX,
    DATABASE_MIGRATIONS,
    DATABASE_TABLES
} database_table_e;


/* the platform's statements, compiled once for each handle */

typedef enum {
    DATABASE_BEGIN = 0,
    DATABASE_COMMIT,
    DATABASE_ROLLBACK,
    DATABASE_KV_GET,
    DATABASE_KV_SET,
    DATABASE_KV_CREATE,
    DATABASE_KV_REPLACE,
    DATABASE_KV_REMOVE,
    DATABASE_KV_NUMBER,
    DATABASE_KV_EXPIRE,
    DATABASE_KV_SCAN,
    DATABASE_KV_PURGE,
    DATABASE_KV_NEXT,
    DATABASE_ONCE_GET,
    DATABASE_ONCE_PUT,
    DATABASE_ONCE_PURGE,
    DATABASE_ONCE_NEXT,
    DATABASE_OUTBOX_PUT,
    DATABASE_OUTBOX_GET,
    DATABASE_OUTBOX_REMOVE,
    DATABASE_OUTBOX_HAS,
    DATABASE_STATEMENTS
} database_statement_e;


/* whose transaction is open; the rules of the authorizer depend on it */

typedef enum {
    DATABASE_FREE = 0,         /* the function's own, or none */
    DATABASE_IN_ONCE,          /* baas_once_begin()'s */
    DATABASE_IN_MIGRATION
} database_mode_e;


/* a statement of the function's, by its text; stmt is NULL in an empty place */

typedef struct {
    sqlite3_stmt             *stmt;
    char                     *sql;         /* sqlite3_malloc()ed */
    size_t                    size;
    uint32_t                  hash;
    uint64_t                  used;        /* database_t.request then */
} database_cached_t;


/* one open file; made by database_open(), freed by database_close() */

struct database_s {
    sqlite3                  *db;
    uint64_t                  mark;        /* process_mark() of its maker */
    unsigned                  flags;
    int64_t                   deadline_ms; /* CLOCK_MONOTONIC */

    database_mode_e           mode;
    unsigned                  own;         /* above 0: it is the platform that
                                              compiles or runs a statement */
    unsigned                  committing;  /* IN_ONCE: this commit is ours */
    unsigned                  stuck;       /* 1: our rollback failed */
    unsigned                  unset;       /* 1: it set what is set back */
    char                      refused[64]; /* by the authorizer, last; "" */

    kv_t                      kv;
    sqlite3_stmt             *statement[DATABASE_STATEMENTS];

    uint64_t                  request;     /* counts database_begin() */
    database_cached_t         cache[DATABASE_CACHE];

    /* out of the cache while the request may have them in its hands; finalized
       at its end */
    sqlite3_stmt            **evicted;
    size_t                    evicted_count;
    size_t                    evicted_room;

    /* of the open once-record, DATABASE_IN_ONCE */
    char                     *once_key;
    uint8_t                   once_hash[32];
};


/* is it the process that opened it? */
int database_is_ours(const database_t *d);

/* first thing in each call: FAAS_OK, FAAS_EUNSUPPORTED (a fork), or FAAS_EFULL:
   a rollback failed for lack of memory, and does again */
int database_enter(database_t *d);

int64_t database_monotonic_ms(void);

/* handlers of busy, progress and what may be done; installed anew with each
   request, since a function can install others */
void database_guard(database_t *d);
int database_authorize(void *data, int action, const char *a, const char *b,
    const char *schema, const char *trigger);


/* a statement of the platform's, reset; NULL: not compiled, rc in *rc */
sqlite3_stmt *database_statement(database_t *d, database_statement_e which,
    const char *sql, int *rc);

/* one row or the end; the platform's own statements only */
int database_step(database_t *d, sqlite3_stmt *stmt);

/* resets, forgets bindings, and returns rc */
int database_finish(sqlite3_stmt *stmt, int rc);

/* result codes of SQLite.  What begins and ends transactions is compiled when
   the file is opened, so that they seldom need memory */
int database_prepare_transactions(database_t *d);
int database_begin_write(database_t *d);
int database_commit(database_t *d);
void database_rollback(database_t *d);

/* 1: the table is not there; makes it, in the transaction that is open or in
   one of its own: a result code of SQLite */
int database_lacks(database_t *d, database_table_e table);
int database_make(database_t *d, database_table_e table);


/* in once.c: what must not outlive a request */
void database_once_forget(database_t *d);


#endif /* DATABASE_INNER_H_INCLUDED */
