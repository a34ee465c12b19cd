
/*
 * guestbook: what must last, in a database and in a key.
 *
 *     curl -d 'It was nice here.' http://127.0.0.1:8080/fn/guestbook/ann
 *     curl http://127.0.0.1:8080/fn/guestbook
 *
 * The table is made by guestbook.1-entries.sql, a migration: drop it into the
 * functions directory beside guestbook.so.  Another one, guestbook.2.sql, is
 * applied when it is dropped there, before the next version gets requests.
 */


#include <faas.h>
#include <sqlite3.h>
#include <stdio.h>


#define GUESTBOOK_TEXT  4000


static int guestbook_write(faas_request_t *r, const char *name);
static int guestbook_read(faas_request_t *r);
static int guestbook_fail(faas_request_t *r, const char *what, int code);


static int
guestbook(faas_request_t *r)
{
    const char  *name = faas_param(r, "name");

    return name ? guestbook_write(r, name) : guestbook_read(r);
}


static int
guestbook_write(faas_request_t *r, const char *name)
{
    int            code;
    size_t         n;
    sqlite3       *db;
    const char    *text;
    sqlite3_stmt  *stmt;

    text = faas_body(r, GUESTBOOK_TEXT, &n);
    if (text == NULL) {
        (void) faas_status(r, 413);
        return faas_printf(r, "at most %d bytes\n", GUESTBOOK_TEXT);
    }

    db = faas_db(r, NULL, &code);
    if (db == NULL) {
        return guestbook_fail(r, "database", code);
    }

    stmt = faas_db_prepare(r, db, "INSERT INTO entries (name, text) "
                           "VALUES (?1, ?2)");
    if (stmt == NULL
        || sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC) != SQLITE_OK
        || sqlite3_bind_text(stmt, 2, text, (int) n, SQLITE_STATIC)
           != SQLITE_OK
        || sqlite3_step(stmt) != SQLITE_DONE)
    {
        faas_log(r, "guestbook: %s", sqlite3_errmsg(db));
        return FAAS_ERROR;
    }

    (void) faas_status(r, 201);

    return faas_printf(r, "thank you, %s\n", name);
}


/* the last ten, the newest first, and who has looked so far */

static int
guestbook_read(faas_request_t *r)
{
    int            rc, code;
    int64_t        visits;
    sqlite3       *db;
    sqlite3_stmt  *stmt;

    code = faas_kv_incr(r, NULL, faas_text("visits"), 1, &visits);
    if (code != FAAS_OK) {
        return guestbook_fail(r, "visits", code);
    }

    db = faas_db(r, NULL, &code);
    if (db == NULL) {
        return guestbook_fail(r, "database", code);
    }

    stmt = faas_db_prepare(r, db, "SELECT at, name, text FROM entries "
                           "ORDER BY id DESC LIMIT 10");
    if (stmt == NULL) {
        faas_log(r, "guestbook: %s", sqlite3_errmsg(db));
        return FAAS_ERROR;
    }

    (void) faas_printf(r, "visit %lld\n", (long long) visits);

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        (void) faas_printf(r, "%s %s: %s\n",
                           (const char *) sqlite3_column_text(stmt, 0),
                           (const char *) sqlite3_column_text(stmt, 1),
                           (const char *) sqlite3_column_text(stmt, 2));
    }

    return rc == SQLITE_DONE ? FAAS_OK : FAAS_ERROR;
}


static int
guestbook_fail(faas_request_t *r, const char *what, int code)
{
    (void) faas_status(r, code == FAAS_EBUSY || code == FAAS_EUNAVAILABLE
                          ? 503 : 500);

    return faas_printf(r, "%s: %s\n", what, faas_error(code));
}


FAAS_FUNCTION(.handler = guestbook,
              .routes = "POST /guestbook/(?<name>[^/]{1,40})\n"
                        "GET /guestbook")
