
/*
 * In pages: a page is read whole and then looked at, so that the function can
 * write meanwhile (a read that is under way would make that fail as soon as
 * somebody else has written), and no reader keeps the checkpoint waiting.
 */

#include <stdlib.h>
#include <string.h>

#include "database_inner.h"
#include "kv_sqlite.h"
#include "kv_sqlite_inner.h"


#define KV_PAGE_ENTRIES  128
#define KV_PAGE_BYTES    (256 * 1024)


/* entries of one read, held while a function looks at them and no
   transaction is open; bytes holds keys and values, each with a zero */

typedef struct {
    uint32_t                  n;
    faas_kv_entry_t           entry[KV_PAGE_ENTRIES];
    char                     *bytes;
    size_t                    size;
    size_t                    room;
} kv_page_t;


static int kv_sqlite_page(database_t *d, faas_bytes_t from, faas_bytes_t to,
    uint32_t limit, kv_page_t *page);
static void kv_sqlite_page_place(kv_page_t *page);
static int kv_sqlite_page_add(kv_page_t *page, sqlite3_stmt *stmt,
    int64_t now_ms);
static void kv_sqlite_bounds(faas_bytes_t prefix, faas_bytes_t after,
    faas_bytes_t *from, char *from_buf, faas_bytes_t *to, char *to_buf);


int
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
    int64_t        now_ms;
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

    kv_sqlite_page_place(page);

    return FAAS_OK;
}


/* where they are is known when no more come */

static void
kv_sqlite_page_place(kv_page_t *page)
{
    size_t    at;
    uint32_t  i;

    at = 0;

    for (i = 0; i < page->n; i++) {
        page->entry[i].key.data = page->bytes + at;
        at += page->entry[i].key.size + 1;
        page->entry[i].value.data = page->bytes + at;
        at += page->entry[i].value.size + 1;
    }
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

    if (page->bytes == NULL || room > page->room) {
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
