
/*
 * Outside a transaction each write is one statement, which takes the write
 * lock first thing (SQLite waits for it through the busy handler and reads
 * afterwards), or BEGIN IMMEDIATE where it takes several.  Inside one that the
 * function has open, it is part of that.
 *
 * An expired key is not there; its row is replaced by whoever writes the key,
 * or removed by the tender.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database_inner.h"
#include "kv_sqlite.h"


#define KV_PAGE_ENTRIES  128
#define KV_PAGE_BYTES    (256 * 1024)


/* one write, tried twice where the table has to be made first */

typedef struct kv_write_s  kv_write_t;

struct kv_write_s {
    faas_bytes_t              key;
    faas_bytes_t              value;
    int64_t                   now_ms;
    int64_t                   expires_ms;  /* 0: never */
    uint64_t                  expected;
    uint64_t                  version;
    int64_t                   number;      /* by, then the sum */
    int                       code;        /* when SQLite says SQLITE_OK */
};


/* entries of one read, held while a function looks at them and no
   transaction is open; bytes holds keys and values, each with a zero */

typedef struct {
    uint32_t                  n;
    faas_kv_entry_t           entry[KV_PAGE_ENTRIES];
    char                     *bytes;
    size_t                    size;
    size_t                    room;
} kv_page_t;


static int kv_sqlite_get(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, faas_kv_entry_t *entry);
static int kv_sqlite_read(const baas_scope_t *scope, sqlite3_stmt *stmt,
    int64_t now_ms, faas_kv_entry_t *entry);
static int kv_sqlite_set(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, faas_bytes_t value, int64_t ttl_ms, uint64_t expected,
    uint64_t *version);
static int kv_sqlite_remove(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key);
static int kv_sqlite_incr(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, int64_t by, int64_t *sum);
static int kv_sqlite_expire(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t key, int64_t ttl_ms);
static int kv_sqlite_scan(kv_t *kv, const baas_scope_t *scope,
    faas_bytes_t prefix, faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data);
static int kv_sqlite_enter(kv_t *kv, const baas_scope_t *scope,
    database_t **d);
static int kv_sqlite_write(database_t *d, kv_write_t *w,
    int (*run)(database_t *d, kv_write_t *w));
static int kv_sqlite_run_set(database_t *d, kv_write_t *w);
static int kv_sqlite_run_create(database_t *d, kv_write_t *w);
static int kv_sqlite_run_replace(database_t *d, kv_write_t *w);
static int kv_sqlite_run_remove(database_t *d, kv_write_t *w);
static int kv_sqlite_run_expire(database_t *d, kv_write_t *w);
static int kv_sqlite_run_incr(database_t *d, kv_write_t *w);
static int kv_sqlite_add(database_t *d, kv_write_t *w);
static int kv_sqlite_read_number(database_t *d, kv_write_t *w);
static void kv_sqlite_bind(sqlite3_stmt *stmt, const kv_write_t *w);
static void kv_sqlite_bind_bytes(sqlite3_stmt *stmt, int i, faas_bytes_t b);
static int kv_sqlite_changed(database_t *d, sqlite3_stmt *stmt,
    kv_write_t *w, int otherwise);
static int64_t kv_sqlite_ttl(sqlite3_stmt *stmt, int column, int64_t now_ms);
static int kv_sqlite_page(database_t *d, faas_bytes_t from, faas_bytes_t to,
    uint32_t limit, kv_page_t *page);
static int kv_sqlite_page_add(kv_page_t *page, sqlite3_stmt *stmt,
    int64_t now_ms);
static void kv_sqlite_bounds(faas_bytes_t prefix, faas_bytes_t after,
    faas_bytes_t *from, char *from_buf, faas_bytes_t *to, char *to_buf);


const kv_engine_t  kv_sqlite = {
    .name = "sqlite",
    .get = kv_sqlite_get,
    .set = kv_sqlite_set,
    .remove = kv_sqlite_remove,
    .incr = kv_sqlite_incr,
    .expire = kv_sqlite_expire,
    .scan = kv_sqlite_scan,
};


void
kv_sqlite_init(kv_t *kv, database_t *d, int readonly)
{
    kv->engine = &kv_sqlite;
    kv->data = d;
    kv->readonly = readonly != 0;
}


static int
kv_sqlite_enter(kv_t *kv, const baas_scope_t *scope, database_t **d)
{
    *d = kv->data;

    if (database_is_ours(*d)) {
        (*d)->deadline_ms = scope->deadline_ms;
    }

    return database_enter(*d);
}


/* -- one key --------------------------------------------------------------- */

static int
kv_sqlite_get(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_kv_entry_t *entry)
{
    int            rc, code;
    int64_t        now_ms;
    database_t    *d;
    sqlite3_stmt  *stmt;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    now_ms = kv_now_ms();

    stmt = database_statement(d, DATABASE_KV_GET,
        "SELECT version, expires_ms, value FROM main.faas_kv "
        "WHERE key = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt != NULL) {
        kv_sqlite_bind_bytes(stmt, 1, key);
        sqlite3_bind_int64(stmt, 2, now_ms);
        rc = database_step(d, stmt);
    }

    if (rc == SQLITE_ROW) {
        code = kv_sqlite_read(scope, stmt, now_ms, entry);

    } else if (rc == SQLITE_DONE
               || (rc == SQLITE_ERROR && database_lacks(d, DATABASE_KV)))
    {
        code = FAAS_ENOTFOUND;

    } else {
        code = database_error(d, rc);
    }

    if (stmt != NULL) {
        (void) database_finish(stmt, SQLITE_OK);
    }

    return code;
}


static int
kv_sqlite_read(const baas_scope_t *scope, sqlite3_stmt *stmt, int64_t now_ms,
    faas_kv_entry_t *entry)
{
    char        *copy;
    size_t       size;
    const void  *value;

    value = sqlite3_column_blob(stmt, 2);
    size = (size_t) sqlite3_column_bytes(stmt, 2);

    copy = scope->alloc(scope->data, size + 1);

    if (copy == NULL || (value == NULL && size != 0)) {
        return FAAS_EFULL;
    }

    if (size != 0) {
        memcpy(copy, value, size);
    }

    copy[size] = '\0';

    entry->version = (uint64_t) sqlite3_column_int64(stmt, 0);
    entry->ttl_ms = kv_sqlite_ttl(stmt, 1, now_ms);
    entry->value.data = copy;
    entry->value.size = size;

    return FAAS_OK;
}


static int
kv_sqlite_set(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.value = value;
    w.now_ms = kv_now_ms();
    w.expires_ms = ttl_ms ? w.now_ms + ttl_ms : 0;
    w.expected = expected;
    w.version = kv_version();

    rc = kv_sqlite_write(d, &w,
                         expected == KV_ANY ? kv_sqlite_run_set
                         : expected == 0 ? kv_sqlite_run_create
                         : kv_sqlite_run_replace);

    if (rc == FAAS_OK) {
        *version = w.version;
    }

    return rc;
}


static int
kv_sqlite_remove(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.now_ms = kv_now_ms();

    return kv_sqlite_write(d, &w, kv_sqlite_run_remove);
}


static int
kv_sqlite_incr(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t by, int64_t *sum)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.now_ms = kv_now_ms();
    w.version = kv_version();
    w.number = by;

    rc = kv_sqlite_write(d, &w, kv_sqlite_run_incr);

    if (rc == FAAS_OK) {
        *sum = w.number;
    }

    return rc;
}


static int
kv_sqlite_expire(kv_t *kv, const baas_scope_t *scope, faas_bytes_t key,
    int64_t ttl_ms)
{
    int          rc;
    kv_write_t   w;
    database_t  *d;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    memset(&w, 0, sizeof(w));

    w.key = key;
    w.now_ms = kv_now_ms();
    w.expires_ms = ttl_ms ? w.now_ms + ttl_ms : 0;

    return kv_sqlite_write(d, &w, kv_sqlite_run_expire);
}


/* -- writes ---------------------------------------------------------------- */

static int
kv_sqlite_write(database_t *d, kv_write_t *w,
    int (*run)(database_t *d, kv_write_t *w))
{
    int      rc;
    int64_t  by;

    by = w->number;
    w->code = FAAS_OK;

    rc = run(d, w);

    if (rc == SQLITE_ERROR && database_lacks(d, DATABASE_KV)) {

        rc = database_make(d, DATABASE_KV);

        if (rc == SQLITE_OK) {
            w->number = by;
            rc = run(d, w);
        }
    }

    return rc == SQLITE_OK ? w->code : database_error(d, rc);
}


static int
kv_sqlite_run_set(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_SET,
        "INSERT INTO main.faas_kv (key, version, expires_ms, value) "
        "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET "
        "version = ?2, expires_ms = ?3, value = ?4", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind(stmt, w);

    return database_finish(stmt, database_step(d, stmt));
}


/* an expired row counts as none */

static int
kv_sqlite_run_create(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_CREATE,
        "INSERT INTO main.faas_kv (key, version, expires_ms, value) "
        "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET "
        "version = ?2, expires_ms = ?3, value = ?4 "
        "WHERE faas_kv.expires_ms <= ?5", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind(stmt, w);
    sqlite3_bind_int64(stmt, 5, w->now_ms);

    return kv_sqlite_changed(d, stmt, w, FAAS_ECONFLICT);
}


static int
kv_sqlite_run_replace(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_REPLACE,
        "UPDATE main.faas_kv SET version = ?2, expires_ms = ?3, value = ?4 "
        "WHERE key = ?1 AND version = ?6 "
        "AND (expires_ms IS NULL OR expires_ms > ?5)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind(stmt, w);
    sqlite3_bind_int64(stmt, 5, w->now_ms);
    sqlite3_bind_int64(stmt, 6, (sqlite3_int64) w->expected);

    return kv_sqlite_changed(d, stmt, w, FAAS_ECONFLICT);
}


static int
kv_sqlite_run_remove(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_REMOVE,
        "DELETE FROM main.faas_kv WHERE key = ?1 "
        "AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, w->now_ms);

    return kv_sqlite_changed(d, stmt, w, FAAS_ENOTFOUND);
}


static int
kv_sqlite_run_expire(database_t *d, kv_write_t *w)
{
    int            rc;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_EXPIRE,
        "UPDATE main.faas_kv SET expires_ms = ?3 WHERE key = ?1 "
        "AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, w->now_ms);

    if (w->expires_ms) {
        sqlite3_bind_int64(stmt, 3, w->expires_ms);
    }

    return kv_sqlite_changed(d, stmt, w, FAAS_ENOTFOUND);
}


static int
kv_sqlite_run_incr(database_t *d, kv_write_t *w)
{
    int  rc, begun;

    begun = sqlite3_get_autocommit(d->db);

    if (begun) {
        rc = database_begin_write(d);
        if (rc != SQLITE_OK) {
            return rc;
        }
    }

    rc = kv_sqlite_add(d, w);

    if (!begun) {
        return rc;
    }

    if (rc == SQLITE_OK && w->code == FAAS_OK) {
        rc = database_commit(d);
    }

    database_rollback(d);

    return rc;
}


static int
kv_sqlite_add(database_t *d, kv_write_t *w)
{
    int   rc;
    char  text[24];

    rc = kv_sqlite_read_number(d, w);

    if (rc != SQLITE_OK || w->code != FAAS_OK) {
        return rc;
    }

    w->value.data = text;
    w->value.size = (size_t) snprintf(text, sizeof(text), "%lld",
                                      (long long) w->number);

    return kv_sqlite_run_set(d, w);
}


/* adds what is stored, and finds out until when it lives */

static int
kv_sqlite_read_number(database_t *d, kv_write_t *w)
{
    int            rc, size;
    int64_t        number;
    const void    *data;
    sqlite3_stmt  *stmt;

    stmt = database_statement(d, DATABASE_KV_NUMBER,
        "SELECT expires_ms, value FROM main.faas_kv "
        "WHERE key = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)", &rc);

    if (stmt == NULL) {
        return rc;
    }

    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, w->now_ms);

    rc = database_step(d, stmt);

    if (rc == SQLITE_ROW) {
        w->expires_ms = sqlite3_column_int64(stmt, 0);    /* NULL is 0 */

        data = sqlite3_column_blob(stmt, 1);
        size = sqlite3_column_bytes(stmt, 1);

        w->code = data == NULL ? FAAS_EINVAL
                               : kv_number(data, (size_t) size, &number);

        if (w->code == FAAS_OK) {
            w->code = kv_add(number, w->number, &w->number);
        }
    }

    return database_finish(stmt, rc);
}


/* key, version, expiry and value are 1 to 4 */

static void
kv_sqlite_bind(sqlite3_stmt *stmt, const kv_write_t *w)
{
    kv_sqlite_bind_bytes(stmt, 1, w->key);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64) w->version);

    if (w->expires_ms) {
        sqlite3_bind_int64(stmt, 3, w->expires_ms);
    }

    kv_sqlite_bind_bytes(stmt, 4, w->value);
}


/* none is an empty blob, not NULL; the bytes outlive the statement's run */

static void
kv_sqlite_bind_bytes(sqlite3_stmt *stmt, int i, faas_bytes_t b)
{
    if (b.size == 0) {
        sqlite3_bind_zeroblob(stmt, i, 0);
        return;
    }

    sqlite3_bind_blob(stmt, i, b.data, (int) b.size, SQLITE_STATIC);
}


/* runs a write that may change nothing, which means `otherwise` */

static int
kv_sqlite_changed(database_t *d, sqlite3_stmt *stmt, kv_write_t *w,
    int otherwise)
{
    int  rc;

    rc = database_finish(stmt, database_step(d, stmt));

    if (rc == SQLITE_OK && sqlite3_changes(d->db) == 0) {
        w->code = otherwise;
    }

    return rc;
}


/* -- scan ------------------------------------------------------------------ */

/*
 * In pages: a page is read whole and then looked at, so that the function can
 * write meanwhile (a read that is under way would make that fail as soon as
 * somebody else has written), and no reader keeps the checkpoint waiting.
 */

static int
kv_sqlite_scan(kv_t *kv, const baas_scope_t *scope, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data)
{
    int           rc;
    char          from_buf[FAAS_KV_KEY_MAX + 1], to_buf[FAAS_KV_KEY_MAX + 1];
    uint32_t      i, asked;
    kv_page_t    *page;
    database_t   *d;
    faas_bytes_t  from, to;

    rc = kv_sqlite_enter(kv, scope, &d);
    if (rc != FAAS_OK) {
        return rc;
    }

    page = calloc(1, sizeof(kv_page_t));
    if (page == NULL) {
        return FAAS_EFULL;
    }

    kv_sqlite_bounds(prefix, after, &from, from_buf, &to, to_buf);

    while (limit != 0) {
        asked = limit < KV_PAGE_ENTRIES ? limit : KV_PAGE_ENTRIES;

        rc = kv_sqlite_page(d, from, to, asked, page);

        if (rc != FAAS_OK || page->n == 0) {
            break;
        }

        for (i = 0; i < page->n && rc == 0; i++) {
            rc = each(&page->entry[i], data);
        }

        if (rc != 0) {
            break;
        }

        limit -= page->n;

        kv_sqlite_bounds(prefix, page->entry[page->n - 1].key, &from,
                         from_buf, &to, to_buf);
    }

    free(page->bytes);
    free(page);

    return rc;
}


/*
 * From the first key that is wanted to the first that is not any more: the
 * one behind `after` is `after` with a zero byte; behind all of a prefix comes
 * the prefix with its last byte raised, after those that cannot be raised;
 * and behind all there can be, more 0xff than a key has.
 */

static void
kv_sqlite_bounds(faas_bytes_t prefix, faas_bytes_t after, faas_bytes_t *from,
    char *from_buf, faas_bytes_t *to, char *to_buf)
{
    int     order;
    size_t  n;

    n = prefix.size < after.size ? prefix.size : after.size;
    order = n ? memcmp(after.data, prefix.data, n) : 0;

    from->data = from_buf;

    if (after.size != 0
        && (order > 0 || (order == 0 && after.size >= prefix.size)))
    {
        memmove(from_buf, after.data, after.size);
        from_buf[after.size] = '\0';
        from->size = after.size + 1;

    } else {
        if (prefix.size != 0) {
            memcpy(from_buf, prefix.data, prefix.size);
        }

        from->size = prefix.size;
    }

    n = prefix.size;

    if (n != 0) {
        memcpy(to_buf, prefix.data, n);
    }

    while (n != 0 && (unsigned char) to_buf[n - 1] == 0xff) {
        n--;
    }

    if (n != 0) {
        to_buf[n - 1]++;

    } else {
        n = FAAS_KV_KEY_MAX + 1;
        memset(to_buf, 0xff, n);
    }

    to->data = to_buf;
    to->size = n;
}


static int
kv_sqlite_page(database_t *d, faas_bytes_t from, faas_bytes_t to,
    uint32_t limit, kv_page_t *page)
{
    int            rc, full;
    size_t         at;
    int64_t        now_ms;
    uint32_t       i;
    sqlite3_stmt  *stmt;

    page->n = 0;
    page->size = 0;

    now_ms = kv_now_ms();

    stmt = database_statement(d, DATABASE_KV_SCAN,
        "SELECT key, version, expires_ms, value FROM main.faas_kv "
        "WHERE key >= ?1 AND key < ?2 "
        "AND (expires_ms IS NULL OR expires_ms > ?3) "
        "ORDER BY key LIMIT ?4", &rc);

    full = 0;

    if (stmt != NULL) {
        kv_sqlite_bind_bytes(stmt, 1, from);
        kv_sqlite_bind_bytes(stmt, 2, to);
        sqlite3_bind_int64(stmt, 3, now_ms);
        sqlite3_bind_int(stmt, 4, (int) limit);

        while ((rc = database_step(d, stmt)) == SQLITE_ROW) {

            if (kv_sqlite_page_add(page, stmt, now_ms) != FAAS_OK) {
                full = 1;
                break;
            }

            if (page->size > KV_PAGE_BYTES) {
                rc = SQLITE_DONE;
                break;
            }
        }

        (void) database_finish(stmt, SQLITE_OK);
    }

    if (full) {
        return FAAS_EFULL;
    }

    if (rc == SQLITE_ERROR && database_lacks(d, DATABASE_KV)) {
        rc = SQLITE_DONE;
    }

    if (rc != SQLITE_DONE) {
        return database_error(d, rc);
    }

    /* where they are is known when no more come */

    at = 0;

    for (i = 0; i < page->n; i++) {
        page->entry[i].key.data = page->bytes + at;
        at += page->entry[i].key.size + 1;
        page->entry[i].value.data = page->bytes + at;
        at += page->entry[i].value.size + 1;
    }

    return FAAS_OK;
}


static int
kv_sqlite_page_add(kv_page_t *page, sqlite3_stmt *stmt, int64_t now_ms)
{
    char             *bytes;
    size_t            room, key_size, value_size;
    const void       *key, *value;
    faas_kv_entry_t  *entry;

    key = sqlite3_column_blob(stmt, 0);
    key_size = (size_t) sqlite3_column_bytes(stmt, 0);
    value = sqlite3_column_blob(stmt, 3);
    value_size = (size_t) sqlite3_column_bytes(stmt, 3);

    if (key == NULL || (value == NULL && value_size != 0)) {
        return FAAS_EFULL;
    }

    room = page->size + key_size + value_size + 2;

    if (room > page->room) {
        room += room / 2 + 4096;

        bytes = realloc(page->bytes, room);
        if (bytes == NULL) {
            return FAAS_EFULL;
        }

        page->bytes = bytes;
        page->room = room;
    }

    memcpy(page->bytes + page->size, key, key_size);
    page->size += key_size;
    page->bytes[page->size++] = '\0';

    if (value_size != 0) {
        memcpy(page->bytes + page->size, value, value_size);
        page->size += value_size;
    }

    page->bytes[page->size++] = '\0';

    entry = &page->entry[page->n++];

    entry->key.size = key_size;
    entry->value.size = value_size;
    entry->version = (uint64_t) sqlite3_column_int64(stmt, 1);
    entry->ttl_ms = kv_sqlite_ttl(stmt, 2, now_ms);

    return FAAS_OK;
}


/* what is left; 0: for ever */

static int64_t
kv_sqlite_ttl(sqlite3_stmt *stmt, int column, int64_t now_ms)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL) {
        return 0;
    }

    return sqlite3_column_int64(stmt, column) - now_ms;
}
