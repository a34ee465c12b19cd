
/*
 * How many messages per second a queue engine takes and gives, beside plain
 * SQLite that is as durable (WAL, synchronous=FULL, one row and one index
 * entry for a message).
 *
 *     queue [-r] [-u URL] [-d DIRECTORY] [-b BACKLOG] [-s SECONDS]
 *
 * Each figure is for SECONDS (2).  With -b that many messages of 100 bytes
 * are there first, half of them of other queues, a quarter delayed.
 */


#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "queue.h"


#define BENCH_GROUP  256
#define BENCH_SIZE   100
#define BENCH_LEASE  60000


typedef struct {
    queue_t                  *queue;
    sqlite3                  *raw;
    uint64_t                  next;        /* number of the next message */
    double                    seconds;
    int                       random;      /* ids: -r */
    char                      data[BENCH_SIZE];
} bench_t;


static int bench_remove(const char *path, const struct stat *st, int flag,
    struct FTW *ftw);
static void bench_backlog(bench_t *b, uint64_t n);
static void bench_send(bench_t *b, size_t group);
static void bench_raw(bench_t *b, size_t group);
static void bench_raw_open(bench_t *b, const char *directory);
static void bench_take(bench_t *b, size_t group);
static void bench_group(bench_t *b, size_t n, const char *queue,
    int64_t due_ms);
static void bench_id(bench_t *b, char *id);
static void *bench_alloc(void *data, size_t n);
static double bench_clock(clockid_t clock);
static int64_t bench_now(void);
static int64_t bench_deadline(void);
static void bench_tick(bench_t *b);
static void bench_die(const char *what, int code);


int
main(int argc, char *argv[])
{
    int                    option;
    char                   why[256], made[] = "/tmp/queue-bench.XXXXXX";
    size_t                 i;
    bench_t                b;
    uint64_t               backlog;
    const char            *url, *directory;
    const queue_engine_t  *engine;

    static const size_t  groups[] = { 1, 16, 256 };

    memset(&b, 0, sizeof(b));
    memset(b.data, 'x', sizeof(b.data));
    b.seconds = 2;
    url = "sqlite";
    directory = NULL;
    backlog = 0;

    while ((option = getopt(argc, argv, "u:d:b:s:r")) != -1) {
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 'd':
            directory = optarg;
            break;
        case 'b':
            backlog = strtoull(optarg, NULL, 10);
            break;
        case 's':
            b.seconds = strtod(optarg, NULL);
            break;
        case 'r':
            b.random = 1;
            break;
        default:
            fprintf(stderr, "usage: queue [-r] [-u URL] [-d DIRECTORY]"
                            " [-b BACKLOG] [-s SECONDS]\n");
            return 2;
        }
    }

    if (directory == NULL) {
        directory = mkdtemp(made);
        if (directory == NULL) {
            bench_die("mkdtemp", errno);
        }
    }

    engine = queue_engine(url);
    if (engine == NULL) {
        bench_die("no such engine", 0);
    }

    b.queue = engine->open(url, directory, "bench", why, sizeof(why));
    if (b.queue == NULL) {
        bench_die(why, 0);
    }

    bench_raw_open(&b, directory);
    bench_tick(&b);
    bench_backlog(&b, backlog);

    for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        bench_raw(&b, groups[i]);
        bench_send(&b, groups[i]);
    }

    bench_take(&b, 1);
    bench_take(&b, 10);
    bench_take(&b, 100);

    engine->close(b.queue);
    sqlite3_close(b.raw);

    if (directory == made) {
        (void) nftw(made, bench_remove, 16, FTW_DEPTH|FTW_PHYS);
    }

    return 0;
}


static int
bench_remove(const char *path, const struct stat *st, int flag,
    struct FTW *ftw)
{
    (void) st;
    (void) flag;
    (void) ftw;

    return remove(path);
}


static void
bench_backlog(bench_t *b, uint64_t n)
{
    uint64_t     i;
    double       start;
    const char  *queue;

    static const char *const  others[] = { "a", "b", "c", "@d" };

    if (n == 0) {
        return;
    }

    start = bench_clock(CLOCK_MONOTONIC);

    for (i = 0; i < n; i += BENCH_GROUP) {
        queue = i / BENCH_GROUP % 2 ? "bench"
                                    : others[i / BENCH_GROUP / 2 % 4];
        bench_group(b, BENCH_GROUP, queue,
                    i / BENCH_GROUP % 4 == 3 ? bench_now() + 3600000 : 0);

        if (i % (64 * BENCH_GROUP) == 0) {
            bench_tick(b);
        }
    }

    printf("backlog of %" PRIu64 ": %.0f messages/s\n", n,
           (double) n / (bench_clock(CLOCK_MONOTONIC) - start));
}


static void
bench_send(bench_t *b, size_t group)
{
    double    start, now, cpu, ticked;
    uint64_t  n;

    start = now = ticked = bench_clock(CLOCK_MONOTONIC);
    cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID);

    for (n = 0; now - start < b->seconds; n += group) {
        bench_group(b, group, "bench", 0);
        now = bench_clock(CLOCK_MONOTONIC);

        if (now - ticked > 1) {
            bench_tick(b);
            ticked = now;
        }
    }

    cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    printf("send, groups of %3zu:            %8.0f messages/s, "
           "%6.1f us of CPU each\n", group, (double) n / (now - start),
           cpu / (double) n * 1e6);
}


static void
bench_raw(bench_t *b, size_t group)
{
    char           id[FAAS_MESSAGE_ID_SIZE];
    size_t         i;
    double         start, now, cpu;
    uint64_t       n;
    sqlite3_stmt  *st;

    if (sqlite3_prepare_v2(b->raw, "INSERT INTO raw (id, data) VALUES (?, ?)",
                           -1, &st, NULL)
        != SQLITE_OK)
    {
        bench_die(sqlite3_errmsg(b->raw), 0);
    }

    start = now = bench_clock(CLOCK_MONOTONIC);
    cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID);

    for (n = 0; now - start < b->seconds; n += group) {
        sqlite3_exec(b->raw, "BEGIN IMMEDIATE", NULL, NULL, NULL);

        for (i = 0; i < group; i++) {
            bench_id(b, id);
            sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
            sqlite3_bind_blob(st, 2, b->data, sizeof(b->data), SQLITE_STATIC);

            if (sqlite3_step(st) != SQLITE_DONE) {
                bench_die(sqlite3_errmsg(b->raw), 0);
            }

            sqlite3_reset(st);
        }

        if (sqlite3_exec(b->raw, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
            bench_die(sqlite3_errmsg(b->raw), 0);
        }

        now = bench_clock(CLOCK_MONOTONIC);
    }

    cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    sqlite3_finalize(st);

    printf("plain inserts, groups of %3zu:   %8.0f rows/s,     "
           "%6.1f us of CPU each\n", group, (double) n / (now - start),
           cpu / (double) n * 1e6);
}


static void
bench_raw_open(bench_t *b, const char *directory)
{
    char  path[4096];

    snprintf(path, sizeof(path), "%s/raw.db", directory);

    if (sqlite3_open(path, &b->raw) != SQLITE_OK
        || sqlite3_exec(b->raw, "PRAGMA journal_mode = WAL;"
                                "PRAGMA synchronous = FULL;"
                                "CREATE TABLE raw (seq INTEGER PRIMARY KEY,"
                                " id TEXT UNIQUE, data BLOB) STRICT;",
                        NULL, NULL, NULL)
           != SQLITE_OK)
    {
        bench_die(sqlite3_errmsg(b->raw), 0);
    }
}


/* received in batches and settled, one commit each */

static void
bench_take(bench_t *b, size_t group)
{
    int                 code;
    size_t              i, n;
    double              start, now, cpu, ticked;
    uint64_t            all;
    queue_message_t     m[BENCH_GROUP];
    queue_settlement_t  s[BENCH_GROUP];

    static char   memory[1 << 20];
    char         *free_memory;

    start = now = ticked = bench_clock(CLOCK_MONOTONIC);
    cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID);

    for (all = 0; now - start < b->seconds; all += n) {
        n = group;
        free_memory = memory;
        code = b->queue->engine->receive(b->queue, "bench", BENCH_LEASE, m,
                                         &n, bench_alloc, &free_memory,
                                         bench_now(), bench_deadline());
        if (code != FAAS_OK) {
            bench_die("receive", code);
        }

        if (n == 0) {
            break;
        }

        memset(s, 0, sizeof(s));

        for (i = 0; i < n; i++) {
            s[i].message = &m[i];
            s[i].verdict = QUEUE_DONE;
        }

        code = b->queue->engine->settle(b->queue, s, n, bench_now(),
                                        bench_deadline());
        if (code != FAAS_OK) {
            bench_die("settle", code);
        }

        now = bench_clock(CLOCK_MONOTONIC);

        if (now - ticked > 1) {
            bench_tick(b);
            ticked = now;
        }
    }

    cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    printf("receive and settle, %3zu at once:%8.0f messages/s, "
           "%6.1f us of CPU each%s\n", group, (double) all / (now - start),
           cpu / (double) all * 1e6, n == 0 ? " (there were no more)" : "");
}


static void
bench_group(bench_t *b, size_t n, const char *queue, int64_t due_ms)
{
    int              rc, code[BENCH_GROUP];
    size_t           i;
    queue_message_t  m[BENCH_GROUP];

    for (i = 0; i < n; i++) {
        memset(&m[i], 0, sizeof(m[i]));
        m[i].queue = queue;
        m[i].data = b->data;
        m[i].size = sizeof(b->data);
        m[i].due_ms = due_ms;

        bench_id(b, m[i].id);
    }

    rc = b->queue->engine->send(b->queue, m, code, n, bench_now(),
                                bench_deadline());
    if (rc != FAAS_OK) {
        bench_die("send", rc);
    }
}


/* as the SDK makes them, time first; or with -r as a user may: anywhere in the
   index of ids */

static void
bench_id(bench_t *b, char *id)
{
    uint64_t  chance;

    chance = ++b->next * 0x9e3779b97f4a7c15u;
    chance = (chance ^ chance >> 32) * 0xd6e8feb86659fd93u;

    (void) snprintf(id, FAAS_MESSAGE_ID_SIZE, "%012" PRIx64 "%016" PRIx64
                    "%04x", b->random ? chance >> 16 : (uint64_t) bench_now(),
                    chance, (unsigned) (b->next & 0xffff));
}


static void *
bench_alloc(void *data, size_t n)
{
    char  *p, **free_memory = data;

    p = *free_memory;
    *free_memory += (n + 15) & ~(size_t) 15;

    return p;
}


static double
bench_clock(clockid_t clock)
{
    struct timespec  ts;

    clock_gettime(clock, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


static int64_t
bench_now(void)
{
    return (int64_t) (bench_clock(CLOCK_REALTIME) * 1000);
}


static int64_t
bench_deadline(void)
{
    return (int64_t) (bench_clock(CLOCK_MONOTONIC) * 1000) + 10000;
}


static void
bench_tick(bench_t *b)
{
    b->queue->engine->tick(b->queue, bench_now(), bench_deadline());
}


static void
bench_die(const char *what, int code)
{
    fprintf(stderr, "queue: %s (%d)\n", what, code);
    exit(1);
}
