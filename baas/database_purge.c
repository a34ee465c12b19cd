
#include "database_inner.h"


static int database_purge_next(database_t *d, database_statement_e which,
    const char *sql, int64_t *next_ms);
static int database_purge_table(database_t *d, database_statement_e which,
    const char *sql, int64_t now_ms, uint32_t limit, uint32_t *n);


/* looks before it takes the write lock */

int
database_purge(database_t *d, int64_t now_ms, uint32_t limit, uint32_t *n,
    int64_t *next_ms)
{
    int      rc;
    int64_t  kv_ms, once_ms;

    *n = 0;
    *next_ms = INT64_MAX;

    rc = database_enter(d);
    if (rc != FAAS_OK) {
        return rc;
    }

    if (!sqlite3_get_autocommit(d->db)) {
        return FAAS_EINVAL;
    }

    kv_ms = INT64_MAX;
    once_ms = INT64_MAX;

    rc = database_lacks(d, DATABASE_KV) ? SQLITE_OK
         : database_purge_next(d, DATABASE_KV_NEXT,
               "SELECT min(expires_ms) FROM main.faas_kv "
               "WHERE expires_ms IS NOT NULL", &kv_ms);

    if (rc == SQLITE_OK && !database_lacks(d, DATABASE_ONCE)) {
        rc = database_purge_next(d, DATABASE_ONCE_NEXT,
                 "SELECT min(expires_ms) FROM main.faas_once", &once_ms);
    }

    if (rc != SQLITE_OK) {
        return database_error(d, rc);
    }

    *next_ms = kv_ms < once_ms ? kv_ms : once_ms;

    if (*next_ms > now_ms) {
        return FAAS_OK;
    }

    rc = database_begin_write(d);

    if (rc == SQLITE_OK && kv_ms <= now_ms) {
        rc = database_purge_table(d, DATABASE_KV_PURGE,
                 "DELETE FROM main.faas_kv WHERE key IN "
                 "(SELECT key FROM main.faas_kv WHERE expires_ms IS NOT NULL "
                 "AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)",
                 now_ms, limit, n);
    }

    if (rc == SQLITE_OK && once_ms <= now_ms) {
        rc = database_purge_table(d, DATABASE_ONCE_PURGE,
                 "DELETE FROM main.faas_once WHERE key IN "
                 "(SELECT key FROM main.faas_once WHERE expires_ms <= ?1 "
                 "ORDER BY expires_ms LIMIT ?2)",
                 now_ms, limit, n);
    }

    if (rc == SQLITE_OK) {
        rc = database_commit(d);
    }

    database_rollback(d);

    if (rc != SQLITE_OK) {
        *n = 0;
        return database_error(d, rc);
    }

    return FAAS_OK;
}


/* when there is none it stays as it is */

static int
database_purge_next(database_t *d, database_statement_e which,
    const char *sql, int64_t *next_ms)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, which, sql, &rc);
    if (stmt == NULL) {
        return rc;
    }

    rc = database_step(d, stmt);

    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        *next_ms = sqlite3_column_int64(stmt, 0);
    }

    return database_finish(stmt, rc);
}


static int
database_purge_table(database_t *d, database_statement_e which,
    const char *sql, int64_t now_ms, uint32_t limit, uint32_t *n)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, which, sql, &rc);
    if (stmt == NULL) {
        return rc;
    }

    sqlite3_bind_int64(stmt, 1, now_ms);
    sqlite3_bind_int64(stmt, 2, limit);

    rc = database_finish(stmt, database_step(d, stmt));

    if (rc == SQLITE_OK) {
        *n += (uint32_t) sqlite3_changes(d->db);
    }

    return rc;
}
