
/*
 * What the crash tests deploy, under several names.  A client that calls it
 * says with `op` what is to be done, an event what happened.  What was done is
 * in the journal, a file of 64-byte records, which a kill cannot tear: no
 * record lies across two pages.
 */


#include <faas.h>

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define RECORD  64


static long long
now_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return (long long) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static int __attribute__((format(printf, 3, 4)))
journal(faas_request_t *r, const char *name, const char *format, ...)
{
    int      n, fd;
    char     path[512], record[RECORD];
    va_list  ap;

    (void) snprintf(path, sizeof(path), "%s/%s", faas_config(r, "JOURNALS"),
                    name);

    va_start(ap, format);
    n = vsnprintf(record, RECORD, format, ap);
    va_end(ap);

    if (n < 0 || n >= RECORD) {
        return -1;
    }

    memset(record + n, ' ', (size_t) (RECORD - n));
    record[RECORD - 1] = '\n';

    fd = open(path, O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC, 0666);

    if (fd == -1) {
        return -1;
    }

    n = (int) write(fd, record, RECORD);
    (void) close(fd);

    return n == RECORD ? 0 : -1;
}


/* as text */

static const char *
body(faas_request_t *r)
{
    size_t       n;
    const char  *text;

    text = faas_body(r, 0, &n);

    return text ? text : "";
}


static const char *
argument(faas_request_t *r, const char *name)
{
    const char  *value;

    value = faas_query(r, name, NULL);

    return value ? value : "";
}


/*
 * The body has numbers: a message or a deferred call for each.  Its id is in
 * the journal before anybody can be told that it was sent, so whoever repeats
 * what failed leaves out what was acknowledged, and cannot make up for its
 * loss.
 */

static int
op_send(faas_request_t *r)
{
    int           rc;
    char          id[FAAS_MESSAGE_ID_SIZE], data[128], *end;
    long          number;
    long long     delay;
    const char   *p, *prefix, *queue, *function;
    faas_send_t   options;

    prefix = argument(r, "prefix");
    queue = argument(r, "queue");
    function = argument(r, "function");
    delay = atoll(argument(r, "delay"));
    p = body(r);

    for (number = strtol(p, &end, 10); end != p;
         number = strtol(p, &end, 10))
    {
        p = end;

        (void) snprintf(id, sizeof(id), "%s-%ld", prefix, number);
        (void) snprintf(data, sizeof(data), "%lld data of %s",
                        now_ms() + (delay ? number * 37 % delay : 0), id);

        options.id = id;
        options.delay_ms = delay ? number * 37 % delay : 0;

        rc = *function ? faas_defer(r, options.delay_ms, function, data,
                                    strlen(data), &options, NULL)
                       : faas_queue_send(r, queue, data, strlen(data),
                                         &options, NULL);

        if (rc != FAAS_OK) {
            (void) faas_status(r, 503);
            return faas_printf(r, "%d", rc);
        }

        if (journal(r, prefix, "%s", id) != 0) {
            return -1;
        }
    }

    return faas_printf(r, "sent");
}


/* one row in `effects` of the function's database */

static int
effect(faas_request_t *r, sqlite3 *db, const char *id, const void *data,
    size_t size)
{
    sqlite3_stmt  *s;

    s = faas_db_prepare(r, db, "INSERT INTO effects(id, data) VALUES(?1, ?2)");

    if (s == NULL) {
        return -1;
    }

    (void) sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
    (void) sqlite3_bind_text(s, 2, data, (int) size, SQLITE_STATIC);

    return sqlite3_step(s) == SQLITE_DONE && sqlite3_reset(s) == SQLITE_OK
           ? 0 : -1;
}


/* 1: an id that was not seen before; 0: it was; or -1 */

static int
remember(faas_request_t *r, sqlite3 *db, const char *id)
{
    sqlite3_stmt  *s;

    s = faas_db_prepare(r, db, "INSERT OR IGNORE INTO seen(id) VALUES(?1)");

    if (s == NULL) {
        return -1;
    }

    (void) sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);

    if (sqlite3_step(s) != SQLITE_DONE || sqlite3_reset(s) != SQLITE_OK) {
        return -1;
    }

    return sqlite3_changes(db);
}


/* a consumer that takes care: it remembers ids */

static int
on_batch(faas_request_t *r)
{
    int                    rc;
    sqlite3               *db;
    uint32_t               i;
    const faas_message_t  *m;

    db = faas_db(r, NULL, NULL);

    if (db == NULL
        || sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
    {
        return -1;
    }

    for (i = 0; (m = faas_message(r, i)) != NULL; i++) {

        rc = remember(r, db, m->id);

        if (rc == -1
            || (rc == 1 && effect(r, db, m->id, m->data, m->size) != 0)
            || journal(r, faas_event(r)->name, "%s %.*s", m->id,
                       (int) m->size, (const char *) m->data) != 0)
        {
            return -1;
        }
    }

    return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}


/* one that takes none, with exactly_once; it dies of some messages, once */

static int
on_bill(faas_request_t *r)
{
    int                    rc;
    char                   data[128];
    sqlite3               *db;
    const faas_message_t  *m;

    db = faas_db(r, NULL, NULL);
    m = faas_message(r, 0);

    if (db == NULL || m == NULL
        || effect(r, db, m->id, m->data, m->size) != 0)
    {
        return -1;
    }

    rc = faas_kv_incr(r, NULL, faas_text("bills"), 1, NULL);

    /* key-value in Redis cannot be part of the transaction */

    if (rc != FAAS_OK && rc != FAAS_EUNSUPPORTED) {
        return -1;
    }

    (void) snprintf(data, sizeof(data), "0 receipt of %s", m->id);

    if (faas_queue_send(r, "receipts", data, strlen(data), NULL, NULL)
        != FAAS_OK
        || journal(r, faas_event(r)->name, "%s %.*s", m->id, (int) m->size,
                   (const char *) m->data) != 0)
    {
        return -1;
    }

    if (m->attempt == 1 && atol(strrchr(m->id, '-') + 1) % 50 == 0) {
        (void) raise(SIGKILL);
    }

    return 0;
}


/* one that fails until it is told to be well */

static int
on_poison(faas_request_t *r)
{
    char                   path[512];
    sqlite3               *db;
    const faas_message_t  *m;

    m = faas_message(r, 0);
    (void) snprintf(path, sizeof(path), "%s/mended",
                    faas_config(r, "JOURNALS"));

    if (m == NULL
        || journal(r, "poison", "%s %u", m->id, (unsigned) m->attempt) != 0
        || access(path, F_OK) != 0)
    {
        return -1;
    }

    db = faas_db(r, NULL, NULL);

    return db ? effect(r, db, m->id, m->data, m->size) : -1;
}


/* with exactly_once there is a row for it, too */

static int
on_timer(faas_request_t *r, const faas_event_t *e)
{
    sqlite3  *db;

    if (journal(r, e->name, "%lld %llu %s %u", (long long) e->due_ms,
                (unsigned long long) e->fence, e->id, (unsigned) e->attempt)
        != 0)
    {
        return -1;
    }

    if (strcmp(e->name, "once") != 0) {
        return 0;
    }

    db = faas_db(r, NULL, NULL);

    return db ? effect(r, db, e->id, "", 0) : -1;
}


static int
on_event(faas_request_t *r, const faas_event_t *e)
{
    switch (e->type) {

    case FAAS_EVENT_QUEUE:
        return strcmp(e->name, "poison") == 0 ? on_poison(r)
               : strcmp(e->name, "bills") == 0 ? on_bill(r) : on_batch(r);

    case FAAS_EVENT_TIMER:
        return on_timer(r, e);

    case FAAS_EVENT_DEFER:
        return journal(r, "deferred", "%s %lld %s", e->id, now_ms(),
                       body(r));

    case FAAS_EVENT_ASYNC:
        return faas_printf(r, "answer to %s", body(r));
    }

    return -1;
}


/* opens all that can be had, once more if it is open already; then tells what
   the process is, and waits at the gate */

static int
op_open(faas_request_t *r)
{
    int              code;
    char             pid[32];
    sqlite3         *db;
    const char      *gate;
    redisReply      *reply;
    redisContext    *c;
    faas_kv_entry_t  e;

    (void) snprintf(pid, sizeof(pid), "%d", (int) getpid());

    db = faas_db(r, NULL, &code);

    if (db == NULL || effect(r, db, pid, pid, strlen(pid)) != 0
        || faas_kv_set(r, NULL, faas_text(pid), faas_text(pid), 0, NULL)
           != FAAS_OK
        || faas_kv_get(r, NULL, faas_text(pid), &e) != FAAS_OK
        || e.value.size != strlen(pid)
        || memcmp(e.value.data, pid, e.value.size) != 0
        || faas_queue_send(r, "nobody", pid, strlen(pid), NULL, NULL)
           != FAAS_OK)
    {
        return -1;
    }

    c = faas_redis(r, &code);

    if (c == NULL && code != FAAS_EUNSUPPORTED) {
        return -1;
    }

    if (c) {
        reply = redisCommand(c, "PING %s", pid);

        if (reply == NULL || reply->type != REDIS_REPLY_STRING
            || strcmp(reply->str, pid) != 0)
        {
            return -1;
        }

        freeReplyObject(reply);
    }

    if (journal(r, "opened", "%s %d %d", pid, c ? c->fd : -1,
                (int) getppid()) != 0)
    {
        return -1;
    }

    gate = argument(r, "gate");

    while (*gate && access(gate, F_OK) != 0) {
        (void) usleep(10000);
    }

    return faas_printf(r, "%s", pid);
}


static int
handler(faas_request_t *r)
{
    const char          *op;
    const faas_event_t  *e;

    e = faas_event(r);

    if (e) {
        return on_event(r, e);
    }

    op = argument(r, "op");

    return strcmp(op, "send") == 0 ? op_send(r)
           : strcmp(op, "open") == 0 ? op_open(r) : -1;
}


FAAS_FUNCTION(.handler = handler)
