
/*
 * orders: takes orders and puts them into a queue, fills them from there, and
 * counts them every ten seconds: one function as producer, consumer, and
 * timer.
 *
 *     curl -d '3 apples' http://127.0.0.1:8080/fn/orders
 *     curl http://127.0.0.1:8080/fn/orders
 *
 * An order that was accepted (202) is never lost.  It may be delivered more
 * than once, so what it does has the message's id for a key and happens once.
 * One that says "later" is asked to come again in a second.
 */


#include <faas.h>
#include <sqlite3.h>
#include <string.h>


#define ORDERS_SIZE   1000
#define ORDERS_LATER  "later"


static int orders_take(faas_request_t *r);
static int orders_show(faas_request_t *r);
static int orders_fill(faas_request_t *r, const faas_event_t *event);
static int orders_count(faas_request_t *r);
static int orders_run(faas_request_t *r, const char *sql,
    const faas_message_t *m);


static int
orders(faas_request_t *r)
{
    const faas_event_t  *event = faas_event(r);

    if (event && event->type == FAAS_EVENT_QUEUE) {
        return orders_fill(r, event);
    }

    if (event && event->type == FAAS_EVENT_TIMER) {
        return orders_count(r);
    }

    return strcmp(faas_method(r), "POST") == 0 ? orders_take(r)
                                                : orders_show(r);
}


static int
orders_take(faas_request_t *r)
{
    int          code;
    char         id[FAAS_MESSAGE_ID_SIZE];
    size_t       n;
    const char  *body;

    body = faas_body(r, ORDERS_SIZE, &n);
    if (body == NULL || n == 0) {
        (void) faas_status(r, 400);
        return faas_printf(r, "an order has 1 to %d bytes\n", ORDERS_SIZE);
    }

    code = faas_queue_send(r, "orders", body, n, NULL, id);
    if (code != FAAS_OK) {
        (void) faas_status(r, 503);
        return faas_printf(r, "not accepted: %s\n", faas_error(code));
    }

    (void) faas_status(r, 202);

    return faas_printf(r, "accepted as %s\n", id);
}


/* up to ten at once; those of which nothing is said are done */

static int
orders_fill(faas_request_t *r, const faas_event_t *event)
{
    uint32_t               i;
    const faas_message_t  *m;

    for (i = 0; i < event->messages; i++) {
        m = faas_message(r, i);

        if (m == NULL) {
            return FAAS_ERROR;
        }

        if (m->attempt == 1 && strcmp(m->data, ORDERS_LATER) == 0) {
            (void) faas_message_retry(r, i, 1000);
            continue;
        }

        if (orders_run(r, "INSERT INTO orders (id, what) VALUES (?1, ?2) "
                       "ON CONFLICT DO NOTHING", m) != FAAS_OK)
        {
            (void) faas_message_retry(r, i, -1);
        }
    }

    return FAAS_OK;
}


static int
orders_count(faas_request_t *r)
{
    return orders_run(r, "INSERT INTO counts (orders) "
                      "SELECT count(*) FROM orders", NULL);
}


static int
orders_run(faas_request_t *r, const char *sql, const faas_message_t *m)
{
    sqlite3       *db;
    sqlite3_stmt  *stmt;

    db = faas_db(r, NULL, NULL);
    if (db == NULL) {
        return FAAS_ERROR;
    }

    stmt = faas_db_prepare(r, db, sql);
    if (stmt == NULL) {
        goto failed;
    }

    if (m
        && (sqlite3_bind_text(stmt, 1, m->id, -1, SQLITE_STATIC) != SQLITE_OK
            || sqlite3_bind_text(stmt, 2, m->data, (int) m->size,
                                 SQLITE_STATIC) != SQLITE_OK))
    {
        goto failed;
    }

    if (sqlite3_step(stmt) == SQLITE_DONE) {
        return FAAS_OK;
    }

failed:

    faas_log(r, "orders: %s", sqlite3_errmsg(db));

    return FAAS_ERROR;
}


static int
orders_show(faas_request_t *r)
{
    int            rc;
    sqlite3       *db;
    sqlite3_stmt  *stmt;

    db = faas_db(r, NULL, NULL);
    stmt = db ? faas_db_prepare(r, db, "SELECT "
                                "(SELECT count(*) FROM orders), "
                                "(SELECT count(*) FROM counts), "
                                "(SELECT what FROM orders ORDER BY at DESC, "
                                "id DESC LIMIT 1)")
              : NULL;

    if (stmt == NULL || sqlite3_step(stmt) != SQLITE_ROW) {
        return FAAS_ERROR;
    }

    rc = faas_printf(r, "%d orders, counted %d times, the last: %s\n",
                     sqlite3_column_int(stmt, 0),
                     sqlite3_column_int(stmt, 1),
                     sqlite3_column_type(stmt, 2) == SQLITE_NULL
                     ? "none"
                     : (const char *) sqlite3_column_text(stmt, 2));

    return rc;
}


FAAS_FUNCTION(.handler = orders,
              .routes = "GET|POST /orders",
              .consumes = "orders batch=10 wait=100ms attempts=5",
              .schedule = "@every 10s name=count")
