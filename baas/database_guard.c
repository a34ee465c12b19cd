
/*
 * What keeps a function's SQL within bounds: time (busy and progress
 * handlers) and what may be done at all (the authorizer, which is asked when
 * a statement is compiled, not when it runs).  It guards against accidents,
 * and against what would break the rules that the files are kept by
 * (database.h); who can load code here could write to the file as well.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "database_inner.h"
#include "kv.h"


#define DATABASE_STEPS  1000      /* of the virtual machine, 10 to 50 us */


static int database_progress(void *data);
static int database_busy(void *data, int count);
static int database_refuse(database_t *d, const char *what, const char *name);
static int database_authorize_pragma(database_t *d, const char *name,
    const char *value);
static int database_authorize_table(database_t *d, const char *table);


/* pragmas that may be given a value */

static const char *const  database_pragmas[] = {
    "analysis_limit", "application_id", "cache_size", "case_sensitive_like",
    "data_version", "defer_foreign_keys", "foreign_key_check",
    "foreign_key_list", "foreign_keys", "incremental_vacuum", "index_info",
    "index_list", "index_xinfo", "integrity_check", "optimize", "query_only",
    "quick_check", "recursive_triggers", "reverse_unordered_selects",
    "soft_heap_limit", "table_info", "table_list", "table_xinfo",
    "temp_store", "threads", "user_version",
};


void
database_guard(database_t *d)
{
    sqlite3_busy_handler(d->db, database_busy, d);
    sqlite3_progress_handler(d->db, DATABASE_STEPS, database_progress, d);
}


static int
database_progress(void *data)
{
    database_t  *d = data;

    return database_monotonic_ms() >= d->deadline_ms;
}


/* waits 50 us, twice as long each time, at most 6.4 ms, and up to as much
   again by chance, so that those who wait do not wake in step */

static int
database_busy(void *data, int count)
{
    int64_t          left_ns, wait_ns;
    database_t      *d = data;
    struct timespec  ts;

    left_ns = (d->deadline_ms - database_monotonic_ms()) * 1000000;

    if (left_ns <= 0) {
        return 0;
    }

    wait_ns = 50000ll << (count < 7 ? count : 7);
    wait_ns += wait_ns * (int64_t) (kv_version() & 0xff) / 256;

    if (wait_ns > left_ns) {
        wait_ns = left_ns;
    }

    ts.tv_sec = 0;
    ts.tv_nsec = (long) wait_ns;
    (void) nanosleep(&ts, NULL);

    return 1;
}


int
database_authorize(void *data, int action, const char *a, const char *b,
    const char *schema, const char *trigger)
{
    database_t  *d = data;

    (void) schema;
    (void) trigger;

    if (d->own) {
        return SQLITE_OK;
    }

    switch (action) {

    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        return database_refuse(d, "ATTACH, DETACH and VACUUM", "");

    case SQLITE_PRAGMA:
        return database_authorize_pragma(d, a, b);

    case SQLITE_TRANSACTION:
        return d->mode == DATABASE_FREE ? SQLITE_OK
                                        : database_refuse(d, a, "");

    case SQLITE_FUNCTION:

        /* the latter reads and sets pointers to code, as Debian builds it */

        return sqlite3_stricmp(b, "load_extension") == 0
               || sqlite3_stricmp(b, "fts3_tokenizer") == 0
               ? database_refuse(d, "", b) : SQLITE_OK;

    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE:
        return database_authorize_table(d, a);

    case SQLITE_ALTER_TABLE:
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_DROP_INDEX:
        return database_authorize_table(d, b);

    default:
        return SQLITE_OK;
    }
}


/* without a value all are harmless but one */

static int
database_authorize_pragma(database_t *d, const char *name, const char *value)
{
    size_t  i;

    if (d->mode != DATABASE_IN_MIGRATION) {

        if (value == NULL && sqlite3_stricmp(name, "wal_checkpoint") != 0) {
            return SQLITE_OK;
        }

        for (i = 0;
             i < sizeof(database_pragmas) / sizeof(database_pragmas[0]);
             i++)
        {
            if (sqlite3_stricmp(name, database_pragmas[i]) == 0) {
                d->unset = 1;
                return SQLITE_OK;
            }
        }
    }

    return database_refuse(d, "PRAGMA ", name);
}


static int
database_authorize_table(database_t *d, const char *table)
{
    if (table == NULL || sqlite3_strnicmp(table, "faas_", 5) != 0) {
        return SQLITE_OK;
    }

    return database_refuse(d, "a change of the platform's table ", table);
}


static int
database_refuse(database_t *d, const char *what, const char *name)
{
    snprintf(d->refused, sizeof(d->refused), "%s%s", what, name);

    return SQLITE_DENY;
}
