
/*
 * SQL over HTTP (docs/http.md, openapi.json):
 *
 *   POST /sql/DB     {"sql": "SELECT ...", "params": [...] or {...}}
 *
 * DB is a database that is shared with this function, another one of its own,
 * or "-", its own one.  One statement, which only reads unless the operator
 * has set `env WRITE=on`; at most `env ROWS=N` rows (1000), and 4 MiB.  Bytes
 * that are no text are {"base64": "..."}, both ways.
 *
 * JSON is read by SQLite itself, whose integers have 64 bits.
 */


#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http.h"


#define SQL_BODY_MAX  (1024 * 1024)
#define SQL_OUT_MAX   (4 * 1024 * 1024)
#define SQL_ROWS      1000
#define SQL_ROWS_MAX  1000000


/* one request */

typedef struct {
    faas_request_t           *r;
    sqlite3                  *db;
    faas_bytes_t              body;
    int64_t                   rows;        /* at most */
    int                       write;       /* 1: it may */
    sqlite3_stmt             *statement;
    char                     *bound;       /* for each parameter: 1, it is */
} sql_request_t;


static int sql_handler(faas_request_t *r);
static int sql_read(sql_request_t *q, const char **why, faas_bytes_t *sql);
static int sql_is_clean(faas_bytes_t body);
static int sql_ask(sql_request_t *q, const char *question, int column,
    faas_bytes_t *text);
static int sql_prepare(sql_request_t *q, faas_bytes_t sql);
static int sql_may(sql_request_t *q);
static int sql_word(const char *s, char *word, size_t size);
static int sql_bind(sql_request_t *q, const char **why);
static int sql_bind_one(sql_request_t *q, sqlite3_stmt *param, int named,
    const char **why);
static int sql_bind_named(sql_request_t *q, const char *name);
static int sql_bind_value(sql_request_t *q, sqlite3_stmt *param, int i);
static int sql_bind_bytes(sql_request_t *q, sqlite3_stmt *param, int i);
static int sql_run(sql_request_t *q);
static int sql_rows(sql_request_t *q, json_text_t *t, int *truncated);
static void sql_row(sql_request_t *q, json_text_t *t);
static void sql_value(json_text_t *t, sqlite3_stmt *s, int i);
static int sql_savepoint(sql_request_t *q, const char *what);
static int sql_code(sql_request_t *q);
static int sql_error(sql_request_t *q, int rc);


FAAS_FUNCTION(.handler = sql_handler)


static int
sql_handler(faas_request_t *r)
{
    int             rc, code;
    char            name[64];
    const char     *path, *rows, *write, *why;
    faas_bytes_t    sql;
    sql_request_t   q;

    if (http_is_refused(r)) {
        return FAAS_OK;
    }

    path = http_path_name(faas_path_info(r), name);

    if (path == NULL || *path != '\0') {
        return http_problem(r, 404, "the path is /DB, a name, or - for the "
                            "function's own");
    }

    if (strcmp(faas_method(r), "POST") != 0) {
        return http_not_allowed(r, "POST");
    }

    memset(&q, 0, sizeof(q));
    q.r = r;
    q.rows = SQL_ROWS;

    rows = faas_config(r, "ROWS");
    write = faas_config(r, "WRITE");
    q.write = write != NULL && strcmp(write, "on") == 0;

    if (rows != NULL && http_number(rows, 1, SQL_ROWS_MAX, &q.rows) != 0) {
        faas_log(r, "ROWS is no number from 1 to %d", SQL_ROWS_MAX);
        return http_problem(r, 500, "its operator has given it no number of "
                            "rows");
    }

    if (faas_content_length(r) > SQL_BODY_MAX) {
        return http_problem(r, 413, "the body is at most 1 MiB");
    }

    q.body.data = faas_body(r, SQL_BODY_MAX, &q.body.size);

    if (q.body.data == NULL) {
        return FAAS_ERROR;
    }

    q.db = faas_db(r, name[0] ? name : NULL, &code);

    if (q.db == NULL) {
        return http_fail(r, code);
    }

    why = NULL;
    rc = sql_read(&q, &why, &sql);

    if (rc == SQLITE_OK && why == NULL) {
        rc = sql_prepare(&q, sql);

        if (rc == SQLITE_OK && q.statement == NULL) {
            why = "sql is empty";
        }
    }

    if (rc == SQLITE_OK && why == NULL) {
        rc = sql_may(&q);

        if (rc == SQLITE_OK) {
            rc = sql_bind(&q, &why);
        }
    }

    if (why != NULL) {
        rc = http_problem(r, 400, why);

    } else if (rc != SQLITE_OK) {
        rc = sql_error(&q, rc);

    } else {
        rc = sql_run(&q);
    }

    (void) sqlite3_finalize(q.statement);

    return rc;
}


/* -- the question ---------------------------------------------------------- */

static int
sql_read(sql_request_t *q, const char **why, faas_bytes_t *sql)
{
    int            rc;
    faas_bytes_t   text;

    *sql = faas_text(NULL);

    if (!json_is_text(q->body.data, q->body.size) || !sql_is_clean(q->body)) {
        *why = "the body is no UTF-8, or holds a zero";
        return SQLITE_OK;
    }

    rc = sql_ask(q, "SELECT json_valid(?1)", 0, &text);

    if (rc != SQLITE_OK) {
        return rc;
    }

    if (*(const char *) text.data != '1') {
        *why = "the body is no JSON";
        return SQLITE_OK;
    }

    rc = sql_ask(q, "SELECT ifnull(json_type(?1, '$.sql'), '') = 'text'"
                 " AND ifnull(json_type(?1, '$.params'), 'array')"
                 " IN ('array', 'object')"
                 " AND NOT EXISTS (SELECT 1 FROM json_each(?1)"
                 " WHERE key NOT IN ('sql', 'params'))", 0, &text);

    if (rc != SQLITE_OK) {
        return rc;
    }

    if (*(const char *) text.data != '1') {
        *why = "the body is an object with a text \"sql\" and an array or "
               "object \"params\", and nothing else";
        return SQLITE_OK;
    }

    return sql_ask(q, "SELECT json_extract(?1, '$.sql')", 0, sql);
}


/* SQLite's JSON would end a text at a zero: none may be in it, nor be written
   as an escape */

static int
sql_is_clean(faas_bytes_t body)
{
    const char  *p, *last;

    p = body.data;
    last = p + body.size;

    if (memchr(p, '\0', body.size) != NULL) {
        return 0;
    }

    for ( /* void */ ; p < last; p++) {

        if (*p != '\\') {
            continue;
        }

        p++;

        if (last - p >= 5 && memcmp(p, "u0000", 5) == 0) {
            return 0;
        }
    }

    return 1;
}


/* a column of the one row that a question about the body (?1) is answered
   with, copied into the request's memory */

static int
sql_ask(sql_request_t *q, const char *question, int column,
    faas_bytes_t *text)
{
    int            rc;
    char          *copy;
    sqlite3_stmt  *s;

    *text = faas_text("");

    s = faas_db_prepare(q->r, q->db, question);

    if (s == NULL) {
        return sql_code(q);
    }

    rc = sqlite3_bind_text(s, 1, q->body.data, (int) q->body.size,
                           SQLITE_STATIC);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(s);
    }

    if (rc == SQLITE_ROW) {
        text->size = (size_t) sqlite3_column_bytes(s, column);
        copy = faas_alloc(q->r, text->size + 1);

        if (copy != NULL && text->size) {
            memcpy(copy, sqlite3_column_text(s, column), text->size);
        }

        text->data = copy;
        rc = copy != NULL ? SQLITE_OK : SQLITE_NOMEM;
    }

    (void) sqlite3_reset(s);

    return rc;
}


static int
sql_prepare(sql_request_t *q, faas_bytes_t sql)
{
    int            rc;
    const char    *tail;
    sqlite3_stmt  *more;

    rc = sqlite3_prepare_v2(q->db, sql.data, (int) sql.size, &q->statement,
                            &tail);

    while (rc == SQLITE_OK && q->statement != NULL && *tail) {

        /* blanks and comments make no statement */

        rc = sqlite3_prepare_v2(q->db, tail, -1, &more, &tail);

        if (more != NULL) {
            (void) sqlite3_finalize(more);
            return SQLITE_MISUSE;
        }
    }

    return rc;
}


/* only statements that read, or read and write tables: what changes the
   connection would be felt by the next request */

static int
sql_may(sql_request_t *q)
{
    char    word[16];
    size_t  i;

    static const char *const  reads[] = {
        "SELECT", "WITH", "VALUES", "EXPLAIN"
    };

    static const char *const  writes[] = {
        "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CREATE", "ALTER",
        "DROP", "REINDEX", "ANALYZE"
    };

    if (sql_word(sqlite3_sql(q->statement), word, sizeof(word)) != 0) {
        return SQLITE_AUTH;
    }

    for (i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        if (strcasecmp(word, reads[i]) == 0
            && sqlite3_stmt_readonly(q->statement))
        {
            return SQLITE_OK;
        }
    }

    for (i = 0; q->write && i < sizeof(writes) / sizeof(writes[0]); i++) {
        if (strcasecmp(word, writes[i]) == 0) {
            return SQLITE_OK;
        }
    }

    return SQLITE_AUTH;
}


/* the first word behind blanks and comments */

static int
sql_word(const char *s, char *word, size_t size)
{
    size_t  n;

    for ( ;; ) {
        s += strspn(s, " \t\n\f\r;");

        if (strncmp(s, "--", 2) == 0) {
            s += strcspn(s, "\n");

        } else if (strncmp(s, "/*", 2) == 0) {
            s = strstr(s + 2, "*/");

            if (s == NULL) {
                return -1;
            }

            s += 2;

        } else {
            break;
        }
    }

    n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    if (n == 0 || n >= size) {
        return -1;
    }

    memcpy(word, s, n);
    word[n] = '\0';

    return 0;
}


/* -- parameters ------------------------------------------------------------ */

static int
sql_bind(sql_request_t *q, const char **why)
{
    int            rc, i, count, named;
    faas_bytes_t   type;
    sqlite3_stmt  *param;

    count = sqlite3_bind_parameter_count(q->statement);

    q->bound = faas_alloc(q->r, (size_t) count + 1);
    if (q->bound == NULL) {
        return SQLITE_NOMEM;
    }

    rc = sql_ask(q, "SELECT ifnull(json_type(?1, '$.params'), 'array')", 0,
                 &type);

    if (rc != SQLITE_OK) {
        return rc;
    }

    named = strcmp(type.data, "object") == 0;

    param = faas_db_prepare(q->r, q->db,
                            "SELECT key, type, atom, CASE type WHEN 'object'"
                            " THEN json_extract(value, '$.base64') END"
                            " FROM json_each(?1, '$.params')");

    if (param == NULL) {
        return sql_code(q);
    }

    rc = sqlite3_bind_text(param, 1, q->body.data, (int) q->body.size,
                           SQLITE_STATIC);

    while (rc == SQLITE_OK) {

        rc = sqlite3_step(param);

        if (rc == SQLITE_ROW) {
            rc = sql_bind_one(q, param, named, why);
        }

        if (*why != NULL) {
            break;
        }
    }

    (void) sqlite3_reset(param);

    if (*why != NULL) {
        return SQLITE_OK;
    }

    for (i = 1; rc == SQLITE_DONE && i <= count; i++) {
        if (!q->bound[i]) {
            *why = "the statement has more parameters than there are values";
        }
    }

    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}


static int
sql_bind_one(sql_request_t *q, sqlite3_stmt *param, int named,
    const char **why)
{
    int  rc, i;

    if (named) {
        i = sql_bind_named(q, (const char *) sqlite3_column_text(param, 0));

    } else {
        i = sqlite3_column_int(param, 0) + 1;
    }

    if (i < 1 || i > sqlite3_bind_parameter_count(q->statement)) {
        *why = named ? "the statement has no parameter of a name in \"params\""
                     : "there are more values than the statement has "
                       "parameters";
        return SQLITE_OK;
    }

    rc = sql_bind_value(q, param, i);

    if (rc == SQLITE_MISMATCH) {
        *why = "a value is no null, boolean, number, text or {\"base64\": "
               "\"...\"}";
        return SQLITE_OK;
    }

    q->bound[i] = 1;

    return rc;
}


/* "name" of :name, @name and $name, or as it is in the statement; 0: none */

static int
sql_bind_named(sql_request_t *q, const char *name)
{
    int          i;
    char         text[80];
    const char  *mark;

    if (name == NULL || strlen(name) > 64) {
        return 0;
    }

    for (mark = ":@$"; *mark; mark++) {

        (void) snprintf(text, sizeof(text), "%c%s", *mark, name);
        i = sqlite3_bind_parameter_index(q->statement, text);

        if (i != 0) {
            return i;
        }
    }

    return sqlite3_bind_parameter_index(q->statement, name);
}


static int
sql_bind_value(sql_request_t *q, sqlite3_stmt *param, int i)
{
    const char  *type;

    type = (const char *) sqlite3_column_text(param, 1);

    if (type == NULL || strcmp(type, "array") == 0) {
        return SQLITE_MISMATCH;
    }

    if (strcmp(type, "object") == 0) {
        return sql_bind_bytes(q, param, i);
    }

    return sqlite3_bind_value(q->statement, i,
                              sqlite3_column_value(param, 2));
}


static int
sql_bind_bytes(sql_request_t *q, sqlite3_stmt *param, int i)
{
    faas_bytes_t  bytes;

    if (sqlite3_column_type(param, 3) != SQLITE_TEXT) {
        return SQLITE_MISMATCH;
    }

    bytes = http_base64(q->r, (const char *) sqlite3_column_text(param, 3),
                        (size_t) sqlite3_column_bytes(param, 3));

    if (bytes.data == NULL) {
        return SQLITE_MISMATCH;
    }

    return sqlite3_bind_blob(q->statement, i, bytes.data, (int) bytes.size,
                             SQLITE_STATIC);
}


/* -- the answer ------------------------------------------------------------ */

/* what writes is undone if its answer would be cut or cannot be made */

static int
sql_run(sql_request_t *q)
{
    int          rc, truncated, writes, i, n;
    int64_t      changes;
    json_text_t  t;

    memset(&t, 0, sizeof(t));
    writes = !sqlite3_stmt_readonly(q->statement);
    changes = sqlite3_total_changes64(q->db);

    if (writes) {
        rc = sql_savepoint(q, "SAVEPOINT http");

        if (rc != SQLITE_OK) {
            return sql_error(q, rc);
        }
    }

    json_put(&t, "{\"columns\":[");

    n = sqlite3_column_count(q->statement);

    for (i = 0; i < n; i++) {
        const char  *name = sqlite3_column_name(q->statement, i);

        json_put(&t, i ? "," : "");
        json_string(&t, name ? name : "", name ? strlen(name) : 0);
    }

    json_put(&t, "],\"rows\":[");

    rc = sql_rows(q, &t, &truncated);

    if (rc == SQLITE_OK && t.failed) {
        rc = SQLITE_NOMEM;
    }

    if (rc == SQLITE_OK && writes && truncated) {
        rc = SQLITE_TOOBIG;
    }

    if (writes && rc == SQLITE_OK) {
        (void) sqlite3_reset(q->statement);
        rc = sql_savepoint(q, "RELEASE http");
    }

    if (rc != SQLITE_OK) {
        json_free(&t);
        rc = sql_error(q, rc);

        if (writes) {
            (void) sqlite3_reset(q->statement);
            (void) sql_savepoint(q, "ROLLBACK TO http");
            (void) sql_savepoint(q, "RELEASE http");
        }

        return rc;
    }

    json_put(&t, "],\"truncated\":");
    json_put(&t, truncated ? "true" : "false");
    json_put(&t, ",\"changes\":");
    http_put_number(&t, sqlite3_total_changes64(q->db) - changes);

    if (writes) {
        json_put(&t, ",\"last_insert_rowid\":");
        http_put_number(&t, sqlite3_last_insert_rowid(q->db));
    }

    json_put(&t, "}\n");

    return http_json(q->r, 200, &t);
}


static int
sql_rows(sql_request_t *q, json_text_t *t, int *truncated)
{
    int      rc;
    int64_t  rows;

    *truncated = 0;

    for (rows = 0; /* void */ ; rows++) {

        rc = sqlite3_step(q->statement);

        if (rc != SQLITE_ROW) {
            return rc == SQLITE_DONE ? SQLITE_OK : rc;
        }

        if (rows == q->rows || t->size >= SQL_OUT_MAX) {
            *truncated = 1;
            return SQLITE_OK;
        }

        json_put(t, rows ? ",[" : "[");
        sql_row(q, t);
        json_put(t, "]");
    }
}


static void
sql_row(sql_request_t *q, json_text_t *t)
{
    int  i, n;

    n = sqlite3_column_count(q->statement);

    for (i = 0; i < n; i++) {
        json_put(t, i ? "," : "");
        sql_value(t, q->statement, i);
    }
}


static void
sql_value(json_text_t *t, sqlite3_stmt *s, int i)
{
    int          n;
    char         number[40];
    double       real;
    const void  *data;

    switch (sqlite3_column_type(s, i)) {

    case SQLITE_INTEGER:
        http_put_number(t, sqlite3_column_int64(s, i));
        return;

    case SQLITE_FLOAT:
        real = sqlite3_column_double(s, i);

        if (!isfinite(real)) {
            json_put(t, real < 0 ? "-9e999" : "9e999");
            return;
        }

        (void) snprintf(number, sizeof(number), "%.17g", real);
        json_put(t, number);
        json_put(t, strpbrk(number, ".e") ? "" : ".0");
        return;

    case SQLITE_NULL:
        json_put(t, "null");
        return;

    case SQLITE_TEXT:
        data = sqlite3_column_text(s, i);
        n = sqlite3_column_bytes(s, i);

        if (json_is_text(data, (size_t) n)) {
            json_string(t, data, (size_t) n);
            return;
        }

        break;

    default:
        data = sqlite3_column_blob(s, i);
        n = sqlite3_column_bytes(s, i);
        break;
    }

    json_put(t, "{\"base64\":\"");
    json_base64(t, data, (size_t) n);
    json_put(t, "\"}");
}


static int
sql_savepoint(sql_request_t *q, const char *what)
{
    int            rc;
    sqlite3_stmt  *s;

    s = faas_db_prepare(q->r, q->db, what);

    if (s == NULL) {
        return sql_code(q);
    }

    rc = sqlite3_step(s);
    (void) sqlite3_reset(s);

    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}


/* why there is no statement, which may be no fault of SQLite's */

static int
sql_code(sql_request_t *q)
{
    int  rc;

    rc = sqlite3_errcode(q->db);

    return rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE
           ? SQLITE_INTERNAL : rc;
}


/* by the table of http.c where that has a word for it */

static int
sql_error(sql_request_t *q, int rc)
{
    switch (rc & 0xff) {

    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        return http_problem(q->r, 400, sqlite3_errmsg(q->db));

    case SQLITE_MISUSE:
        return http_problem(q->r, 400, "sql is more than one statement");

    case SQLITE_CONSTRAINT:
        return http_problem(q->r, 409, sqlite3_errmsg(q->db));

    case SQLITE_AUTH:
        return http_problem(q->r, 403, "this statement is not allowed here");

    case SQLITE_TOOBIG:
        return http_fail(q->r, FAAS_ETOOLARGE);

    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return http_fail(q->r, FAAS_EBUSY);

    case SQLITE_INTERRUPT:
        return http_fail(q->r, FAAS_ETIMEDOUT);

    case SQLITE_FULL:
        return http_fail(q->r, FAAS_EFULL);

    case SQLITE_READONLY:
        return http_fail(q->r, FAAS_EREADONLY);

    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return http_fail(q->r, FAAS_ECORRUPT);

    default:
        faas_log(q->r, "SQLite: %s (%d)", sqlite3_errmsg(q->db), rc);
        return http_fail(q->r, FAAS_ERROR);
    }
}
