
/*
 * The function that bench/services.py asks: key-value through the platform and
 * the raw engine in the same loop, sends, and how late what it consumes and
 * its timer come.  Answers are JSON; what calls it appends a line to the file
 * OUT: "queue NS" since it was sent, or "timer MS" since it was due.
 */


#include <faas.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define KEYS    1000
#define VALUE   100                /* bytes */
#define TURN    50                 /* operations of one side, then the other */
#define MOST    200000             /* of each side */


/* the raw engine: what is called between two looks at the clock */

typedef struct {
    sqlite3       *db;
    sqlite3_stmt  *get;
    sqlite3_stmt  *set;
    redisContext  *redis;
} raw_t;


typedef int (*operation_pt)(faas_request_t *r, raw_t *raw, const char *key);


static int services_measure(faas_request_t *r);
static int services_send(faas_request_t *r);
static int services_event(faas_request_t *r, const faas_event_t *event);
static int raw_open(faas_request_t *r, raw_t *raw);
static void raw_close(raw_t *raw);


static char       value[VALUE + 1];
static long long  serial;


static int64_t
now_ns(clockid_t clock)
{
    struct timespec  ts;

    (void) clock_gettime(clock, &ts);

    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


static int
services(faas_request_t *r)
{
    const char          *what;
    const faas_event_t  *event;

    event = faas_event(r);

    if (event) {
        return services_event(r, event);
    }

    memset(value, 'v', VALUE);

    what = faas_query(r, "what", NULL);

    if (what && strcmp(what, "send") == 0) {
        return services_send(r);
    }

    return services_measure(r);
}


/* -- key-value ------------------------------------------------------------- */

static int
api_get(faas_request_t *r, raw_t *raw, const char *key)
{
    faas_kv_entry_t  entry;

    (void) raw;

    return faas_kv_get(r, NULL, faas_text(key), &entry);
}


static int
api_set(faas_request_t *r, raw_t *raw, const char *key)
{
    (void) raw;

    return faas_kv_set(r, NULL, faas_text(key), faas_text(value), 0, NULL);
}


static int
raw_get(faas_request_t *r, raw_t *raw, const char *key)
{
    int          rc;
    char        *copy;
    size_t       n;
    redisReply  *reply;

    if (raw->redis) {
        reply = redisCommand(raw->redis, "GET %b", key, strlen(key));
        rc = reply && reply->type == REDIS_REPLY_STRING ? 0 : -1;
        freeReplyObject(reply);

        return rc;
    }

    (void) sqlite3_bind_blob(raw->get, 1, key, (int) strlen(key),
                             SQLITE_STATIC);

    if (sqlite3_step(raw->get) != SQLITE_ROW) {
        return -1;
    }

    n = (size_t) sqlite3_column_bytes(raw->get, 0);
    copy = faas_alloc(r, n + 1);

    if (copy) {
        memcpy(copy, sqlite3_column_blob(raw->get, 0), n);
    }

    return sqlite3_reset(raw->get);
}


static int
raw_set(faas_request_t *r, raw_t *raw, const char *key)
{
    int          rc;
    redisReply  *reply;

    (void) r;

    if (raw->redis) {
        reply = redisCommand(raw->redis, "SET %b %b", key, strlen(key), value,
                             (size_t) VALUE);
        rc = reply && reply->type == REDIS_REPLY_STATUS ? 0 : -1;
        freeReplyObject(reply);

        return rc;
    }

    (void) sqlite3_bind_blob(raw->set, 1, key, (int) strlen(key),
                             SQLITE_STATIC);
    (void) sqlite3_bind_blob(raw->set, 2, value, VALUE, SQLITE_STATIC);
    (void) sqlite3_step(raw->set);

    return sqlite3_reset(raw->set);
}


static int
compare(const void *a, const void *b)
{
    int64_t  x, y;

    x = *(const int64_t *) a;
    y = *(const int64_t *) b;

    return (x > y) - (x < y);
}


static void
print_side(faas_request_t *r, const char *name, int64_t *ns, size_t n)
{
    size_t   i;
    int64_t  sum;

    qsort(ns, n, sizeof(int64_t), compare);

    /* without the slowest hundredth, which on a shared machine are stalls */

    for (sum = 0, i = 0; i < n - n / 100; i++) {
        sum += ns[i];
    }

    (void) faas_printf(r, "\"%s\": {\"per_s\": %.0f, \"p50_us\": %.2f, "
                       "\"p99_us\": %.2f}", name,
                       (double) (n - n / 100) * 1e9 / (double) sum,
                       (double) ns[n / 2] / 1000,
                       (double) ns[n - 1 - n / 100] / 1000);
}


static int
services_measure(faas_request_t *r)
{
    int           side;
    raw_t         raw;
    char          key[32];
    size_t        n, i, done;
    int64_t      *ns[2], start;
    const char   *op, *count;

    /* [set][side] */
    static const operation_pt  operations[2][2] = {
        { api_get, raw_get },
        { api_set, raw_set }
    };

    op = faas_query(r, "op", NULL);
    count = faas_query(r, "n", NULL);
    n = count ? strtoul(count, NULL, 10) : 0;

    if (op == NULL || n < TURN || n > MOST || raw_open(r, &raw) != 0) {
        return faas_status(r, 400);
    }

    ns[0] = calloc(n, sizeof(int64_t));
    ns[1] = calloc(n, sizeof(int64_t));

    for (done = 0; ns[0] && ns[1] && done < n; done += i) {

        for (side = 0; side < 2; side++) {

            for (i = 0; i < TURN && done + i < n; i++) {
                (void) snprintf(key, sizeof(key), "key-%zu",
                                (done + i) * 7919 % KEYS);

                /* SQLite does not write what is there already */
                (void) snprintf(value, 32, "%031lld", ++serial);
                value[31] = 'v';

                start = now_ns(CLOCK_MONOTONIC);

                if (operations[strcmp(op, "set") == 0][side](r, &raw, key)
                    != 0)
                {
                    faas_log(r, "%s failed on side %d", op, side);
                    return -1;
                }

                ns[side][done + i] = now_ns(CLOCK_MONOTONIC) - start;
            }
        }
    }

    raw_close(&raw);

    (void) faas_printf(r, "{");
    print_side(r, "faas", ns[0], n);
    (void) faas_printf(r, ", ");
    print_side(r, "raw", ns[1], n);

    free(ns[0]);
    free(ns[1]);

    return faas_printf(r, "}\n");
}


/* another file beside the function's own, of the same form and durability */

static int
raw_open(faas_request_t *r, raw_t *raw)
{
    int            durability;
    char           path[512], pragma[128];
    sqlite3       *own;
    const char    *name, *engine;
    sqlite3_stmt  *st;

    memset(raw, 0, sizeof(raw_t));

    engine = faas_config(r, "ENGINE");

    if (engine && strcmp(engine, "redis") == 0) {
        raw->redis = faas_redis(r, NULL);

        return raw->redis ? 0 : -1;
    }

    own = faas_db(r, NULL, NULL);

    if (own == NULL
        || sqlite3_prepare_v2(own, "PRAGMA synchronous", -1, &st, NULL) != 0
        || sqlite3_step(st) != SQLITE_ROW)
    {
        return -1;
    }

    durability = sqlite3_column_int(st, 0);
    (void) sqlite3_finalize(st);

    name = sqlite3_db_filename(own, "main");
    (void) snprintf(path, sizeof(path), "%.*s/raw.db",
                    (int) (strrchr(name, '/') - name), name);
    (void) snprintf(pragma, sizeof(pragma), "PRAGMA synchronous = %d",
                    durability);

    if (sqlite3_open(path, &raw->db) != SQLITE_OK
        || sqlite3_exec(raw->db, "PRAGMA journal_mode = WAL; "
                        "PRAGMA wal_autocheckpoint = 0; "
                        "PRAGMA mmap_size = 0", NULL, NULL, NULL) != 0
        || sqlite3_exec(raw->db, pragma, NULL, NULL, NULL) != 0
        || sqlite3_exec(raw->db, "CREATE TABLE IF NOT EXISTS kv (key BLOB "
                        "PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
                        NULL, NULL, NULL) != 0
        || sqlite3_prepare_v2(raw->db, "SELECT value FROM kv WHERE key = ?1",
                              -1, &raw->get, NULL) != 0
        || sqlite3_prepare_v2(raw->db, "INSERT INTO kv VALUES (?1, ?2) ON "
                              "CONFLICT DO UPDATE SET value = ?2", -1,
                              &raw->set, NULL) != 0)
    {
        faas_log(r, "raw: %s", sqlite3_errmsg(raw->db));
        return -1;
    }

    (void) sqlite3_db_config(raw->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
                             NULL);

    return 0;
}


static void
raw_close(raw_t *raw)
{
    (void) sqlite3_finalize(raw->get);
    (void) sqlite3_finalize(raw->set);
    (void) sqlite3_close(raw->db);
}


/* -- queues and timers ----------------------------------------------------- */

static int
services_send(faas_request_t *r)
{
    char             stamp[32];
    size_t           i, n;
    int64_t         *ns, start;
    const char      *count, *pause;
    struct timespec  ts;

    count = faas_query(r, "n", NULL);
    pause = faas_query(r, "pause_ms", NULL);
    n = count ? strtoul(count, NULL, 10) : 0;

    if (n == 0 || n > MOST) {
        return faas_status(r, 400);
    }

    ns = calloc(n, sizeof(int64_t));

    for (i = 0; ns && i < n; i++) {
        start = now_ns(CLOCK_MONOTONIC);
        (void) snprintf(stamp, sizeof(stamp), "%lld", (long long) start);

        if (faas_queue_send(r, "bench", stamp, strlen(stamp), NULL, NULL)
            != FAAS_OK)
        {
            return -1;
        }

        ns[i] = now_ns(CLOCK_MONOTONIC) - start;

        if (pause) {
            ts.tv_sec = 0;
            ts.tv_nsec = strtol(pause, NULL, 10) * 1000000;
            (void) nanosleep(&ts, NULL);
        }
    }

    (void) faas_printf(r, "{");
    print_side(r, "send", ns, n);
    free(ns);

    return faas_printf(r, "}\n");
}


static int
services_event(faas_request_t *r, const faas_event_t *event)
{
    int                    fd, n;
    char                   line[64];
    ssize_t                written;
    uint32_t               i;
    const char            *out;
    const faas_message_t  *m;

    out = faas_config(r, "OUT");
    fd = out ? open(out, O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC, 0644) : -1;

    if (fd == -1) {
        return -1;
    }

    for (i = 0; i == 0 || i < event->messages; i++) {

        if (event->type == FAAS_EVENT_QUEUE) {
            m = faas_message(r, i);
            n = snprintf(line, sizeof(line), "queue %lld\n",
                         (long long) (now_ns(CLOCK_MONOTONIC)
                                      - strtoll(m->data, NULL, 10)));

        } else {
            n = snprintf(line, sizeof(line), "timer %.3f\n",
                         (double) now_ns(CLOCK_REALTIME) / 1e6
                         - (double) event->due_ms);
        }

        written = write(fd, line, (size_t) n);
        (void) written;
    }

    return close(fd);
}


FAAS_FUNCTION(.handler = services, .timeout = "10m", .max = 4)
