
/*
 * A function that does what it is told: op=NAME and arguments, so that tests
 * can make any call of the SDK and see what came back.  It is not linked with
 * SQLite or hiredis: their symbols are in the process that loads it.
 */


#include <errno.h>
#include <faas.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>


typedef int (*operation_pt)(faas_request_t *r);


/* test_sdk_memory.py's: from the n-th allocation to the m-th there is none */
__attribute__((weak)) void malloc_fail(long from, long to);

static int  init_codes[16];
static int  after_fork_code;


static const char *
text(faas_request_t *r, const char *name)
{
    return faas_query(r, name, NULL);
}


static faas_bytes_t
bytes(faas_request_t *r, const char *name)
{
    size_t        n;
    faas_bytes_t  b;

    n = 0;
    b.data = faas_query(r, name, &n);
    b.size = n;

    return b;
}


static long long
number(faas_request_t *r, const char *name)
{
    const char  *value;

    value = text(r, name);

    return value ? strtoll(value, NULL, 10) : 0;
}


static int
entry(const faas_kv_entry_t *e, void *data)
{
    faas_request_t  *r = data;

    (void) faas_printf(r, "%.*s=", (int) e->key.size, (char *) e->key.data);
    (void) faas_write(r, e->value.data, e->value.size);

    return faas_printf(r, "\n");
}


static int
op_kv_get(faas_request_t *r)
{
    int              rc;
    faas_kv_entry_t  e;

    rc = faas_kv_get(r, text(r, "space"), bytes(r, "key"), &e);

    if (rc != FAAS_OK) {
        return faas_printf(r, "%d\n", rc);
    }

    (void) faas_printf(r, "0 %llu %lld %zu %d\n",
                       (unsigned long long) e.version, (long long) e.ttl_ms,
                       e.value.size, ((char *) e.value.data)[e.value.size]);

    return faas_write(r, e.value.data, e.value.size);
}


static int
op_kv_set(faas_request_t *r)
{
    int       rc;
    uint64_t  version = 0;

    rc = faas_kv_set(r, text(r, "space"), bytes(r, "key"), bytes(r, "value"),
                     number(r, "ttl"), &version);

    return faas_printf(r, "%d %llu\n", rc, (unsigned long long) version);
}


static int
op_kv_cas(faas_request_t *r)
{
    int       rc;
    uint64_t  version = 0;

    rc = faas_kv_cas(r, text(r, "space"), bytes(r, "key"), bytes(r, "value"),
                     number(r, "ttl"),
                     strtoull(text(r, "expected"), NULL, 10), &version);

    return faas_printf(r, "%d %llu\n", rc, (unsigned long long) version);
}


static int
op_kv_delete(faas_request_t *r)
{
    return faas_printf(r, "%d\n", faas_kv_delete(r, text(r, "space"),
                                                 bytes(r, "key")));
}


static int
op_kv_incr(faas_request_t *r)
{
    int      rc;
    int64_t  sum = 0;

    rc = faas_kv_incr(r, text(r, "space"), bytes(r, "key"), number(r, "by"),
                      &sum);

    return faas_printf(r, "%d %lld\n", rc, (long long) sum);
}


static int
op_kv_expire(faas_request_t *r)
{
    return faas_printf(r, "%d\n", faas_kv_expire(r, text(r, "space"),
                                                 bytes(r, "key"),
                                                 number(r, "ttl")));
}


static int
op_kv_scan(faas_request_t *r)
{
    int  rc;

    rc = faas_kv_scan(r, text(r, "space"), bytes(r, "prefix"),
                      bytes(r, "after"), (uint32_t) number(r, "limit"), entry,
                      r);

    return faas_printf(r, "%d\n", rc);
}


static int
row(void *data, int n, char **values, char **names)
{
    int              i;
    faas_request_t  *r = data;

    (void) names;

    for (i = 0; i < n; i++) {
        (void) faas_printf(r, "%s%s", i ? "|" : "",
                           values[i] ? values[i] : "NULL");
    }

    (void) faas_printf(r, "\n");

    return 0;
}


static int
op_sql(faas_request_t *r)
{
    int       rc, code;
    size_t    n;
    char     *error = NULL;
    sqlite3  *db;

    db = faas_db(r, text(r, "db"), &code);

    if (db == NULL) {
        return faas_printf(r, "code %d\n", code);
    }

    rc = sqlite3_exec(db, faas_body(r, 0, &n), row, r, &error);

    (void) faas_printf(r, "rc %d%s%s\n", rc, error ? " " : "",
                       error ? error : "");
    sqlite3_free(error);

    return 0;
}


/* leaves a transaction open and a statement in the middle of its rows */

static int
op_leave_open(faas_request_t *r)
{
    int            rc;
    sqlite3       *db;
    sqlite3_stmt  *stmt;

    db = faas_db(r, NULL, NULL);

    rc = sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS t(x); BEGIN; "
                      "INSERT INTO t VALUES(1), (2), (3)", NULL, NULL, NULL);

    stmt = faas_db_prepare(r, db, "SELECT x FROM t");

    return faas_printf(r, "%d %d\n", rc, sqlite3_step(stmt));
}


static int
op_prepare(faas_request_t *r)
{
    int            i, sum;
    sqlite3       *db;
    sqlite3_stmt  *stmt, *first;

    db = faas_db(r, NULL, NULL);
    first = faas_db_prepare(r, db, "SELECT ?1 + 1");
    sum = 0;

    for (i = 0; i < 3; i++) {
        stmt = faas_db_prepare(r, db, "SELECT ?1 + 1");

        if (stmt != first) {
            return faas_printf(r, "another statement\n");
        }

        sqlite3_bind_int(stmt, 1, i);

        if (sqlite3_step(stmt) != SQLITE_ROW) {
            return faas_printf(r, "no row\n");
        }

        sum += sqlite3_column_int(stmt, 0);

        if (sqlite3_step(stmt) != SQLITE_DONE) {
            return faas_printf(r, "not done\n");
        }
    }

    stmt = faas_db_prepare(r, db, "SELECT nonsense FROM nowhere");

    return faas_printf(r, "%d %d %s\n", sum, stmt == NULL,
                       sqlite3_errmsg(db));
}


static int
op_redis(faas_request_t *r)
{
    int            code;
    redisReply    *reply;
    redisContext  *c;

    c = faas_redis(r, &code);

    if (c == NULL) {
        return faas_printf(r, "code %d\n", code);
    }

    reply = redisCommand(c, text(r, "command"));

    if (reply == NULL) {
        return faas_printf(r, "err %s\n", c->errstr);
    }

    (void) faas_printf(r, "%d %lld %s\n", reply->type, reply->integer,
                       reply->str ? reply->str : "");
    freeReplyObject(reply);

    return 0;
}


static int
op_send(faas_request_t *r)
{
    int           rc;
    char          id[FAAS_MESSAGE_ID_SIZE] = "";
    faas_send_t   options = { text(r, "id"), number(r, "delay") };
    faas_bytes_t  data = bytes(r, "data");

    rc = faas_queue_send(r, text(r, "queue"), data.data, data.size, &options,
                         id);

    return faas_printf(r, "%d %s\n", rc, id);
}


static int
op_send_large(faas_request_t *r)
{
    int     rc;
    char   *data;
    size_t  size = (size_t) number(r, "size");

    data = calloc(1, size);
    rc = faas_queue_send(r, "q", data, size, NULL, NULL);
    free(data);

    return faas_printf(r, "%d\n", rc);
}


static int
op_defer(faas_request_t *r)
{
    int           rc;
    char          id[FAAS_MESSAGE_ID_SIZE] = "";
    faas_bytes_t  data = bytes(r, "data");

    rc = faas_defer(r, number(r, "delay"), text(r, "function"), data.data,
                    data.size, NULL, id);

    return faas_printf(r, "%d %s\n", rc, id);
}


static int
op_event(faas_request_t *r)
{
    const faas_event_t  *e;

    e = faas_event(r);

    if (e == NULL) {
        return faas_printf(r, "none\n");
    }

    return faas_printf(r, "%d '%s' '%s' %u %u %lld %llu\n", (int) e->type,
                       e->name, e->id, e->attempt, e->messages,
                       (long long) e->due_ms, (unsigned long long) e->fence);
}


/* says what it got; done=0 retry=1 retry=... in the query of each index;
   with rollback=1 no transaction is open any more when it returns */

static int
op_messages(faas_request_t *r)
{
    int                    code;
    char                   name[16];
    uint32_t               i;
    const char            *fate;
    const faas_message_t  *m;

    static const char  rollback[] =
        "CREATE TABLE u(x UNIQUE); INSERT INTO u VALUES(1);"
        "INSERT OR ROLLBACK INTO u VALUES(1)";

    for (i = 0; (m = faas_message(r, i)) != NULL; i++) {
        (void) faas_printf(r, "%s %u %lld %zu %d ", m->id, m->attempt,
                           (long long) m->sent_ms, m->size,
                           ((const char *) m->data)[m->size]);
        (void) faas_write(r, m->data, m->size);
        (void) faas_printf(r, "\n");
    }

    for (i = 0; i < 4; i++) {
        (void) snprintf(name, sizeof(name), "m%u", i);
        fate = text(r, name);

        if (fate == NULL) {
            continue;
        }

        (void) faas_printf(r, "said %d\n",
                           strcmp(fate, "done") == 0
                           ? faas_message_done(r, i)
                           : faas_message_retry(r, i, atoll(fate)));
    }

    if (text(r, "rollback")) {
        (void) sqlite3_exec(faas_db(r, NULL, &code), rollback, NULL, NULL,
                            NULL);
    }

    if (text(r, "status")) {
        (void) faas_status(r, (int) number(r, "status"));
    }

    return text(r, "fail") ? -1 : 0;
}


static int
op_call(faas_request_t *r)
{
    int             rc;
    const char     *header;
    faas_bytes_t    body = bytes(r, "data");
    faas_call_t     call = { text(r, "method"), text(r, "path"),
                             text(r, "headers"), body.data, body.size,
                             number(r, "timeout") };
    faas_answer_t   answer;

    rc = faas_call(r, text(r, "function"), &call, &answer);

    if (rc != FAAS_OK) {
        return faas_printf(r, "%d\n", rc);
    }

    header = text(r, "header") ? faas_answer_header(r, &answer,
                                                    text(r, "header"))
                               : NULL;

    (void) faas_printf(r, "0 %d %zu %d '%s'\n", answer.status,
                       answer.body.size,
                       ((const char *) answer.body.data)[answer.body.size],
                       header ? header : "none");

    return faas_write(r, answer.body.data, answer.body.size);
}


/* what a child that the function forks may do: nothing */

static int
op_fork(faas_request_t *r)
{
    int              status, codes[8], fds[2];
    pid_t            pid;
    sqlite3         *db;
    faas_kv_entry_t  e;

    if (text(r, "first")) {
        (void) faas_kv_set(r, NULL, faas_text("k"), faas_text("parent"), 0,
                           NULL);
    }

    if (pipe(fds) == -1) {
        return -1;
    }

    pid = fork();

    if (pid == 0) {
        codes[0] = faas_kv_get(r, NULL, faas_text("k"), &e);
        codes[1] = faas_kv_set(r, NULL, faas_text("k"), faas_text("child"), 0,
                               NULL);
        db = faas_db(r, NULL, &codes[2]);
        codes[3] = db != NULL;
        codes[4] = faas_queue_send(r, "q", "x", 1, NULL, NULL);
        codes[5] = faas_call(r, "other", NULL, (faas_answer_t *) &e);
        codes[6] = faas_redis(r, &codes[7]) != NULL;

        _exit(write(fds[1], codes, sizeof(codes)) == sizeof(codes) ? 0 : 1);
    }

    if (read(fds[0], codes, sizeof(codes)) != sizeof(codes)
        || waitpid(pid, &status, 0) != pid)
    {
        return -1;
    }

    (void) close(fds[0]);
    (void) close(fds[1]);

    return faas_printf(r, "%d: %d %d %d %d %d %d %d %d\n", status, codes[0],
                       codes[1], codes[2], codes[3], codes[4], codes[5],
                       codes[6], codes[7]);
}


/* how many of those that it has closed are of somebody else's then */

static int
op_closed(faas_request_t *r)
{
    int            fd, open, rc[3];
    faas_answer_t  answer;

    for (fd = 0; fd < 3; fd++) {
        (void) close(fd);
    }

    rc[0] = faas_kv_set(r, NULL, faas_text("k"), faas_text("v"), 0, NULL);
    rc[1] = faas_queue_send(r, "q", "x", 1, NULL, NULL);
    rc[2] = faas_call(r, "other", NULL, &answer);

    for (open = 0, fd = 0; fd < 3; fd++) {
        open += fcntl(fd, F_GETFD) != -1;
    }

    return faas_printf(r, "%d %d %d: %d\n", rc[0], rc[1], rc[2], open);
}


/* one unit of work of exactly_once: SQL, key-value and a message */

static int
op_work(faas_request_t *r)
{
    int          rc, sent;
    char         sql[128];
    size_t       n;
    sqlite3     *db;
    const char  *body;

    body = faas_body(r, 0, &n);
    db = faas_db(r, NULL, &rc);

    if (db == NULL) {
        (void) faas_status(r, 500);
        return faas_printf(r, "code %d\n", rc);
    }

    (void) snprintf(sql, sizeof(sql), "CREATE TABLE IF NOT EXISTS w(x);"
                    "INSERT INTO w VALUES('%.40s')", body);

    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

    if (rc != SQLITE_OK
        || faas_kv_incr(r, NULL, faas_text("count"), 1, NULL) != FAAS_OK)
    {
        faas_log(r, "work: %d %s", rc, sqlite3_errmsg(db));
        return -1;
    }

    sent = text(r, "queue") ? faas_queue_send(r, text(r, "queue"), body, n,
                                              NULL, NULL)
                            : 0;

    if (text(r, "status")) {
        (void) faas_status(r, (int) number(r, "status"));
    }

    if (text(r, "die")) {
        (void) raise(SIGKILL);
    }

    if (text(r, "commit")) {
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }

    (void) faas_header_set(r, "X-Work", "done");
    (void) faas_header_add(r, "Set-Cookie", "a=b");
    (void) faas_header_add(r, "Set-Cookie", "c=d");

    (void) faas_printf(r, "work %d %d %d by %d\n", rc, sent,
                       faas_flush(r), (int) getpid());

    return text(r, "fail") ? -1 : 0;
}


/* reads its body piece by piece, and answers with as much as it is told */

static int
op_large(faas_request_t *r)
{
    int      rc;
    char     buf[1000];
    size_t   i, n;
    ssize_t  got, sum;

    sum = 0;

    while ((got = faas_read(r, buf, sizeof(buf))) > 0) {
        sum += got;
    }

    memset(buf, 'x', sizeof(buf));
    n = (size_t) number(r, "size");
    rc = 0;

    for (i = 0; i < n && rc == 0; i += sizeof(buf)) {
        rc = faas_write(r, buf, n - i < sizeof(buf) ? n - i : sizeof(buf));
    }

    faas_log(r, "large: read %zd, write %d", sum, rc);

    return 0;
}


/* all calls without a request, as init might make them */

static void
without_request(int *codes)
{
    int              i = 0, db = 1, redis = 1;
    int64_t          sum;
    faas_bytes_t     k = faas_text("k");
    faas_answer_t    answer;
    faas_kv_entry_t  e;

    codes[i++] = faas_kv_get(NULL, NULL, k, &e);
    codes[i++] = faas_kv_set(NULL, NULL, k, k, 0, NULL);
    codes[i++] = faas_kv_cas(NULL, NULL, k, k, 0, 0, NULL);
    codes[i++] = faas_kv_delete(NULL, NULL, k);
    codes[i++] = faas_kv_incr(NULL, NULL, k, 1, &sum);
    codes[i++] = faas_kv_expire(NULL, NULL, k, 1);
    codes[i++] = faas_kv_scan(NULL, NULL, k, k, 1, entry, NULL);
    codes[i++] = faas_db(NULL, NULL, &db) ? 1 : db;
    codes[i++] = faas_redis(NULL, &redis) ? 1 : redis;
    codes[i++] = faas_queue_send(NULL, "q", "x", 1, NULL, NULL);
    codes[i++] = faas_defer(NULL, 0, "f", "x", 1, NULL, NULL);
    codes[i++] = faas_call(NULL, "f", NULL, &answer);
    codes[i++] = faas_message_done(NULL, 0);
    codes[i++] = faas_message_retry(NULL, 0, 0);
    codes[i++] = faas_event(NULL) ? 1 : FAAS_EINVAL;
    codes[i++] = faas_message(NULL, 0)
                 || faas_db_prepare(NULL, NULL, "x")
                 || faas_answer_header(NULL, NULL, "x") ? 1 : FAAS_EINVAL;
}


static int
op_init_codes(faas_request_t *r)
{
    size_t  i;

    for (i = 0; i < 16; i++) {
        (void) faas_printf(r, "%d ", init_codes[i]);
    }

    return faas_printf(r, "%d\n", after_fork_code);
}


static int
op_error(faas_request_t *r)
{
    return faas_printf(r, "%s\n", faas_error((int) number(r, "code")));
}


static int
op_plain(faas_request_t *r)
{
    return faas_printf(r, "plain %d\n", (int) getpid());
}


static const struct {
    const char    *name;
    operation_pt   run;
} operations[] = {
    { "kv_get", op_kv_get },
    { "kv_set", op_kv_set },
    { "kv_cas", op_kv_cas },
    { "kv_delete", op_kv_delete },
    { "kv_incr", op_kv_incr },
    { "kv_expire", op_kv_expire },
    { "kv_scan", op_kv_scan },
    { "sql", op_sql },
    { "leave_open", op_leave_open },
    { "prepare", op_prepare },
    { "redis", op_redis },
    { "send", op_send },
    { "send_large", op_send_large },
    { "defer", op_defer },
    { "event", op_event },
    { "messages", op_messages },
    { "call", op_call },
    { "fork", op_fork },
    { "closed", op_closed },
    { "work", op_work },
    { "large", op_large },
    { "init_codes", op_init_codes },
    { "error", op_error },
    { "plain", op_plain }
};


static int
handler(faas_request_t *r)
{
    size_t       i;
    const char  *op;

    op = text(r, "op");

    if (malloc_fail) {
        malloc_fail(number(r, "from"), number(r, "to"));
    }

    for (i = 0; op && i < sizeof(operations) / sizeof(operations[0]); i++) {

        if (strcmp(op, operations[i].name) == 0) {
            return operations[i].run(r);
        }
    }

    (void) faas_status(r, 404);

    return faas_printf(r, "no such operation\n");
}


static int
init(void)
{
    without_request(init_codes);

    return 0;
}


static int
after_fork(void)
{
    int  codes[16];

    without_request(codes);
    after_fork_code = codes[1];

    return 0;
}


FAAS_FUNCTION(.handler = handler, .init = init, .after_fork = after_fork)
