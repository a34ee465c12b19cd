
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "database_inner.h"
#include "sha256.h"


#define MIGRATION_SQL_MAX  (16 * 1024 * 1024)


/* a run of migrations */

typedef struct {
    database_t                  *d;
    const database_migration_t  *m;        /* the one at hand, or NULL */
    const char                  *at;       /* its statement at hand, or NULL */
    int64_t                      last;     /* number, 0: none applied yet */
    char                        *why;
    size_t                       size;
} database_migrating_t;


static int database_migrate_all(database_migrating_t *r,
    const database_migration_t *m, size_t n);
static int database_migrate_last(database_migrating_t *r);
static int database_migrate_applied(database_migrating_t *r,
    const char *sha256, int *applied);
static int database_migrate_one(database_migrating_t *r, const char *sha256);
static int database_migrate_statement(database_migrating_t *r,
    const char **sql, const char *end);
static int database_migrate_record(database_migrating_t *r,
    const char *sha256);
static int database_migrate_check(database_migrating_t *r);
static int database_migrate_fail(database_migrating_t *r, int code,
    const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int database_migrate_fail_sqlite(database_migrating_t *r, int rc);
static unsigned database_migrate_line(const database_migrating_t *r);
static const char *database_migrate_token(const char *p, const char *end);
static void database_migrate_hash(const database_migration_t *m,
    char *sha256);


int
database_migrate(database_t *d, const database_migration_t *m, size_t n,
    char *why, size_t size)
{
    int                   rc, keys;
    database_migrating_t  r;

    memset(&r, 0, sizeof(r));

    r.d = d;
    r.why = why;
    r.size = size;

    rc = database_enter(d);

    if (rc != FAAS_OK) {
        return database_migrate_fail(&r, rc, rc == FAAS_EFULL
                                     ? "out of memory"
                                     : "the database is of another process");
    }

    if (d->mode != DATABASE_FREE || !sqlite3_get_autocommit(d->db)) {
        return database_migrate_fail(&r, FAAS_EINVAL,
                                     "a transaction is open");
    }

    /* tables are rebuilt with their keys unchecked, as SQLite advises; they
       are checked at the end */

    keys = 1;
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_ENABLE_FKEY, -1, &keys);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_ENABLE_FKEY, 0, NULL);
    sqlite3_limit(d->db, SQLITE_LIMIT_SQL_LENGTH, MIGRATION_SQL_MAX);

    rc = database_begin_write(d);

    if (rc == SQLITE_OK) {
        rc = database_migrate_all(&r, m, n);

    } else {
        rc = database_migrate_fail_sqlite(&r, rc);
    }

    d->mode = DATABASE_FREE;
    database_rollback(d);

    sqlite3_limit(d->db, SQLITE_LIMIT_SQL_LENGTH, DATABASE_SQL_MAX);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_ENABLE_FKEY, keys, NULL);

    return rc;
}


static int
database_migrate_all(database_migrating_t *r, const database_migration_t *m,
    size_t n)
{
    int     rc, applied, changed;
    char    sha256[65];
    size_t  i;

    if (n == 0) {
        return FAAS_OK;
    }

    if (database_lacks(r->d, DATABASE_MIGRATIONS)) {
        rc = database_make(r->d, DATABASE_MIGRATIONS);
        if (rc != SQLITE_OK) {
            return database_migrate_fail_sqlite(r, rc);
        }
    }

    rc = database_migrate_last(r);
    changed = 0;

    for (i = 0; i < n && rc == FAAS_OK; i++) {
        r->m = &m[i];

        if (i > 0 && m[i].number <= m[i - 1].number) {
            return database_migrate_fail(r, FAAS_EINVAL,
                                         "its number does not follow "
                                         "that of \"%s\"",
                                         m[i - 1].name);
        }

        database_migrate_hash(&m[i], sha256);

        rc = database_migrate_applied(r, sha256, &applied);

        if (rc == FAAS_OK && !applied) {
            rc = database_migrate_one(r, sha256);
            changed = 1;
        }
    }

    r->m = NULL;

    if (rc == FAAS_OK && changed) {
        rc = database_migrate_check(r);
    }

    if (rc != FAAS_OK || !changed) {
        return rc;
    }

    rc = database_commit(r->d);

    return rc == SQLITE_OK ? FAAS_OK : database_migrate_fail_sqlite(r, rc);
}


static int
database_migrate_last(database_migrating_t *r)
{
    int            rc;
    sqlite3_stmt  *stmt;

    rc = sqlite3_prepare_v2(r->d->db,
                            "SELECT max(number) FROM main.faas_migrations",
                            -1, &stmt, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);

        if (rc == SQLITE_ROW) {
            r->last = sqlite3_column_int64(stmt, 0);
        }

        rc = sqlite3_finalize(stmt);
    }

    return rc == SQLITE_OK ? FAAS_OK : database_migrate_fail_sqlite(r, rc);
}


static int
database_migrate_applied(database_migrating_t *r, const char *sha256,
    int *applied)
{
    int            rc, same;
    sqlite3_stmt  *stmt;

    *applied = 0;
    same = 0;

    rc = sqlite3_prepare_v2(r->d->db,
                            "SELECT sha256 = ?2 FROM main.faas_migrations "
                            "WHERE number = ?1", -1, &stmt, NULL);

    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, r->m->number);
        sqlite3_bind_text(stmt, 2, sha256, -1, SQLITE_STATIC);

        rc = sqlite3_step(stmt);

        if (rc == SQLITE_ROW) {
            *applied = 1;
            same = sqlite3_column_int(stmt, 0);
        }

        rc = sqlite3_finalize(stmt);
    }

    if (rc != SQLITE_OK) {
        return database_migrate_fail_sqlite(r, rc);
    }

    if (*applied && !same) {
        return database_migrate_fail(r, FAAS_ECONFLICT,
            "was changed after it had been applied");
    }

    if (!*applied && (int64_t) r->m->number < r->last) {
        return database_migrate_fail(r, FAAS_ECONFLICT,
            "is new, but number %lld has been applied already",
            (long long) r->last);
    }

    return FAAS_OK;
}


static int
database_migrate_one(database_migrating_t *r, const char *sha256)
{
    int          rc;
    const char  *sql, *end;

    if (r->m->size > MIGRATION_SQL_MAX) {
        return database_migrate_fail(r, FAAS_ETOOLARGE, "is too large");
    }

    if (memchr(r->m->sql, '\0', r->m->size) != NULL) {
        return database_migrate_fail(r, FAAS_EINVAL, "has a zero byte in it");
    }

    sql = r->m->sql;
    end = sql + r->m->size;

    if (r->m->size >= 3 && memcmp(sql, "\xef\xbb\xbf", 3) == 0) {
        sql += 3;
    }

    rc = FAAS_OK;
    r->d->mode = DATABASE_IN_MIGRATION;

    while (sql < end && rc == FAAS_OK) {
        rc = database_migrate_statement(r, &sql, end);
    }

    r->d->mode = DATABASE_FREE;
    r->at = NULL;

    return rc == FAAS_OK ? database_migrate_record(r, sha256) : rc;
}


/* one statement, or what is left of comments and blanks; rows are dropped */

static int
database_migrate_statement(database_migrating_t *r, const char **sql,
    const char *end)
{
    int            rc;
    database_t    *d;
    const char    *tail;
    sqlite3_stmt  *stmt;

    d = r->d;
    d->refused[0] = '\0';
    r->at = *sql;

    rc = sqlite3_prepare_v2(d->db, *sql, (int) (end - *sql), &stmt, &tail);

    if (rc != SQLITE_OK) {
        if (d->refused[0] != '\0') {
            return database_migrate_fail(r, FAAS_EDENIED,
                "line %u: %s: not in a migration, which is one transaction",
                database_migrate_line(r), d->refused);
        }

        return database_migrate_fail_sqlite(r, rc);
    }

    *sql = tail;

    if (stmt == NULL) {
        return FAAS_OK;
    }

    do {
        rc = sqlite3_step(stmt);
    } while (rc == SQLITE_ROW);

    if (rc != SQLITE_DONE) {
        rc = database_migrate_fail_sqlite(r, rc);
        sqlite3_finalize(stmt);
        return rc;
    }

    sqlite3_finalize(stmt);

    if (sqlite3_get_autocommit(d->db)) {
        return database_migrate_fail(r, FAAS_EINVAL,
                                     "line %u: ended the transaction",
                                     database_migrate_line(r));
    }

    return FAAS_OK;
}


static int
database_migrate_record(database_migrating_t *r, const char *sha256)
{
    int            rc;
    sqlite3_stmt  *stmt;

    r->d->own++;

    rc = sqlite3_prepare_v2(r->d->db,
                            "INSERT INTO main.faas_migrations "
                            "(number, name, sha256, applied_ms) "
                            "VALUES (?1, ?2, ?3, ?4)", -1, &stmt, NULL);

    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, r->m->number);
        sqlite3_bind_text(stmt, 2, r->m->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 3, sha256, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 4, kv_now_ms());

        (void) sqlite3_step(stmt);
        rc = sqlite3_finalize(stmt);
    }

    r->d->own--;

    return rc == SQLITE_OK ? FAAS_OK : database_migrate_fail_sqlite(r, rc);
}


/* the rows that refer to nothing; the first is named */

static int
database_migrate_check(database_migrating_t *r)
{
    int            rc, code;
    sqlite3_stmt  *stmt;

    r->d->own++;
    rc = sqlite3_prepare_v2(r->d->db, "PRAGMA main.foreign_key_check", -1,
                            &stmt, NULL);
    r->d->own--;

    if (rc != SQLITE_OK) {
        return database_migrate_fail_sqlite(r, rc);
    }

    rc = sqlite3_step(stmt);
    code = FAAS_OK;

    if (rc == SQLITE_ROW) {
        code = database_migrate_fail(r, FAAS_ECONFLICT,
            "a row of table \"%s\" refers to none of \"%s\"",
            (const char *) sqlite3_column_text(stmt, 0),
            (const char *) sqlite3_column_text(stmt, 2));

    } else if (rc != SQLITE_DONE) {
        code = database_migrate_fail_sqlite(r, rc);
    }

    sqlite3_finalize(stmt);

    return code;
}


static void
database_migrate_hash(const database_migration_t *m, char *sha256)
{
    size_t    i;
    uint8_t   digest[SHA256_SIZE];
    sha256_t  s;

    sha256_init(&s);
    sha256_update(&s, m->sql, m->size);
    sha256_final(&s, digest);

    for (i = 0; i < SHA256_SIZE; i++) {
        snprintf(sha256 + i * 2, 3, "%02x", digest[i]);
    }
}


/* -- why not --------------------------------------------------------------- */

static int
database_migrate_fail(database_migrating_t *r, int code, const char *format,
    ...)
{
    int      n;
    va_list  args;

    n = 0;

    if (r->m != NULL) {
        n = snprintf(r->why, r->size, "\"%s\": ", r->m->name);
    }

    if (n >= 0 && (size_t) n < r->size) {
        va_start(args, format);
        vsnprintf(r->why + n, r->size - (size_t) n, format, args);
        va_end(args);
    }

    return code;
}


/* SQLite's own words, and the line where it found them true */

static int
database_migrate_fail_sqlite(database_migrating_t *r, int rc)
{
    int  code;

    code = database_error(r->d, rc);

    if (r->m == NULL || r->at == NULL) {
        return database_migrate_fail(r, code, "%s",
                                     sqlite3_errmsg(r->d->db));
    }

    return database_migrate_fail(r, code, "line %u: %s",
                                 database_migrate_line(r),
                                 sqlite3_errmsg(r->d->db));
}


/* of the error's token, else of the statement's first */

static unsigned
database_migrate_line(const database_migrating_t *r)
{
    int          offset;
    unsigned     line;
    const char  *p, *to, *end;

    end = r->m->sql + r->m->size;
    offset = sqlite3_error_offset(r->d->db);

    to = offset >= 0 && offset <= end - r->at
         ? r->at + offset : database_migrate_token(r->at, end);

    line = 1;

    for (p = r->m->sql; p < to; p++) {
        if (*p == '\n') {
            line++;
        }
    }

    return line;
}


/* behind blanks and comments */

static const char *
database_migrate_token(const char *p, const char *end)
{
    const char  *to;

    while (p < end) {

        if (strchr(" \t\r\n\f;", *p) != NULL) {
            p++;
            continue;
        }

        if (end - p >= 2 && memcmp(p, "--", 2) == 0) {
            to = memchr(p, '\n', (size_t) (end - p));
            p = to ? to + 1 : end;

        } else if (end - p >= 2 && memcmp(p, "/*", 2) == 0) {
            to = memmem(p + 2, (size_t) (end - p - 2), "*/", 2);
            p = to ? to + 2 : end;

        } else {
            break;
        }
    }

    return p;
}


