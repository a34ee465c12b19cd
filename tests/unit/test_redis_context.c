/* objects: $(BAAS_REDIS) baas/kv.c baas/process_mark.c */
/* libs: -lhiredis */

/*
 * A function's own connection, subscriptions, and TLS, on a real Redis.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <poll.h>

#include "redis.h"
#include "redis_server.h"


/* what docs/redis.md has for functions */
#define RULES  ">secret ~faas:* &faas:* +@all -@admin -@dangerous " \
               "-@scripting +role"

#define KEY  faas_text("k")


static server_t  server;       /* plain, users "default" and "fn" */
static server_t  secure;       /* TLS alone, but for its unix socket */


static redis_t *
client(const char *format, const char *path)
{
    char      url[512], why[256];
    redis_t  *r;

    (void) snprintf(url, sizeof(url), "%s%s", format, path);
    r = redis_create(url, why, sizeof(why));

    if (r == NULL) {
        fail_msg("%s: %s", url, why);
    }

    return r;
}


static redis_t *
fn(const char *options)
{
    char  path[256];

    (void) snprintf(path, sizeof(path), "%s%s", server.socket, options);

    return client("redis+unix://fn:secret@", path);
}


static redisContext *
context(redis_t *r)
{
    int            code;
    redisContext  *c;

    c = redis_context(r, KEY, redis_now_ms() + 10000, &code);

    if (c == NULL) {
        fail_msg("%d: %s", code, redis_why(r));
    }

    return c;
}


/* the answer as a text, in a buffer of our own */
static const char *
say(redisContext *c, const char *a, const char *b, const char *d)
{
    int           argc;
    redisReply   *reply;
    const char   *argv[3];
    static char   text[256];

    argc = 0;
    argv[argc++] = a;

    if (b != NULL) {
        argv[argc++] = b;
    }

    if (d != NULL) {
        argv[argc++] = d;
    }

    reply = redisCommandArgv(c, argc, argv, NULL);

    if (reply == NULL) {
        (void) snprintf(text, sizeof(text), "!%s", c->errstr);
        return text;
    }

    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        (void) snprintf(text, sizeof(text), "%lld", reply->integer);
        break;

    case REDIS_REPLY_NIL:
        (void) strcpy(text, "nil");
        break;

    case REDIS_REPLY_ARRAY:
        (void) snprintf(text, sizeof(text), "[%zu]", reply->elements);
        break;

    default:
        (void) snprintf(text, sizeof(text), "%s", reply->str);
    }

    freeReplyObject(reply);

    return text;
}


/* -- contexts -------------------------------------------------------------- */

static void
test_a_context_is_ready_and_stays(void **state)
{
    redis_t       *r;
    redisContext  *c;

    (void) state;

    r = fn("?db=3");

    c = context(r);
    assert_string_equal(say(c, "SET", "faas:c", "v"), "OK");
    assert_string_equal(say(c, "ACL", "WHOAMI", NULL), "fn");
    assert_ptr_equal(context(r), c);

    redis_context_end(r);

    c = context(r);
    assert_string_equal(say(c, "GET", "faas:c", NULL), "v");
    assert_int_equal(server_tell(&server, "EXISTS faas:c"), 0);

    redis_destroy(r);
}


/* the same connection: no other user, database, transaction or name is seen */
static void
test_what_a_request_leaves_behind_is_reset(void **state)
{
    char           id[64];
    redis_t       *r;
    redisContext  *c;

    (void) state;

    r = fn("?db=3");
    c = context(r);
    (void) strcpy(id, say(c, "CLIENT", "ID", NULL));

    assert_string_equal(say(c, "SELECT", "5", NULL), "OK");
    assert_string_equal(say(c, "WATCH", "faas:w", NULL), "OK");
    assert_string_equal(say(c, "MULTI", NULL, NULL), "OK");
    assert_string_equal(say(c, "SET", "faas:never", "v"), "QUEUED");
    redis_context_end(r);

    c = context(r);
    assert_string_equal(say(c, "CLIENT", "ID", NULL), id);
    assert_string_equal(say(c, "SET", "faas:three", "v"), "OK");
    assert_string_equal(say(c, "EXISTS", "faas:never", NULL), "0");
    assert_string_equal(say(c, "SELECT", "3", NULL), "OK");
    assert_string_equal(say(c, "EXISTS", "faas:three", NULL), "1");
    redis_context_end(r);

    /* a subscription to which nothing was published */

    c = context(r);
    assert_string_equal(say(c, "SUBSCRIBE", "faas:x", NULL), "[3]");
    redis_context_end(r);

    c = context(r);
    assert_string_equal(say(c, "PING", NULL, NULL), "PONG");

    redis_destroy(r);
}


static void
test_what_cannot_be_reset_is_made_anew(void **state)
{
    char           id[64];
    redis_t       *r;
    redisContext  *c;

    (void) state;

    r = fn("");

    /* an answer that was not read */

    c = context(r);
    (void) strcpy(id, say(c, "CLIENT", "ID", NULL));
    assert_int_equal(redisAppendCommand(c, "PING"), REDIS_OK);
    assert_int_equal(redisAppendCommand(c, "PING"), REDIS_OK);
    assert_string_equal(say(c, "ECHO", "x", NULL), "PONG");
    redis_context_end(r);

    c = context(r);
    assert_string_not_equal(say(c, "CLIENT", "ID", NULL), id);
    (void) strcpy(id, say(c, "CLIENT", "ID", NULL));

    /* a command that was not sent */

    assert_int_equal(redisAppendCommand(c, "SET faas:u v"), REDIS_OK);
    redis_context_end(r);

    c = context(r);
    assert_string_not_equal(say(c, "CLIENT", "ID", NULL), id);
    assert_string_equal(say(c, "EXISTS", "faas:u", NULL), "0");
    (void) strcpy(id, say(c, "CLIENT", "ID", NULL));

    /* a message of a subscription */

    assert_string_equal(say(c, "SUBSCRIBE", "faas:x", NULL), "[3]");
    assert_int_equal(server_tell(&server, "PUBLISH faas:x hello"), 1);
    redis_context_end(r);

    c = context(r);
    assert_string_not_equal(say(c, "CLIENT", "ID", NULL), id);
    (void) strcpy(id, say(c, "CLIENT", "ID", NULL));

    /* one that was killed in between */

    redis_context_end(r);
    assert_int_equal(server_tell(&server, "CLIENT KILL USER fn"), 1);

    c = context(r);
    assert_string_not_equal(say(c, "CLIENT", "ID", NULL), id);

    redis_destroy(r);
}


static void
test_a_context_with_an_error_is_replaced(void **state)
{
    redis_t       *r;
    redisContext  *c;

    (void) state;

    r = fn("");
    c = context(r);
    assert_int_equal(server_tell(&server, "CLIENT KILL USER fn"), 1);
    assert_true(say(c, "PING", NULL, NULL)[0] == '!');
    assert_int_not_equal(c->err, 0);

    c = context(r);
    assert_string_equal(say(c, "PING", NULL, NULL), "PONG");

    redis_destroy(r);
}


static void
test_a_context_has_the_time_that_is_left(void **state)
{
    int            code;
    int64_t        start;
    redis_t       *r;
    redisContext  *c;

    (void) state;

    r = fn("");
    (void) context(r);

    assert_int_equal(kill(server.pid, SIGSTOP), 0);
    start = redis_now_ms();
    c = redis_context(r, KEY, redis_now_ms() + 50, &code);
    assert_non_null(c);
    assert_true(say(c, "PING", NULL, NULL)[0] == '!');
    assert_true(redis_now_ms() - start < 5000);
    assert_int_equal(kill(server.pid, SIGCONT), 0);

    c = context(r);
    assert_string_equal(say(c, "PING", NULL, NULL), "PONG");

    redis_destroy(r);
}


static void
test_a_context_is_apart_from_the_other_connection(void **state)
{
    redis_t       *r;
    redisContext  *c;
    faas_bytes_t   argv[] = { faas_text("SET"), faas_text("faas:k"),
                              faas_text("v") };

    (void) state;

    r = fn("");
    c = context(r);
    assert_string_equal(say(c, "MULTI", NULL, NULL), "OK");

    assert_int_equal(redis_do(r, KEY, 0, redis_now_ms() + 10000, argv, 3),
                     FAAS_OK);
    assert_string_equal(redis_answer(r, 0)->str, "OK");

    redis_destroy(r);
}


/* in a process in which SIGPIPE kills */
static void
test_a_context_that_was_cut_kills_nobody(void **state)
{
    int            i, status;
    pid_t          pid;
    redis_t       *r;
    redisContext  *c;

    (void) state;

    pid = fork();

    if (pid == 0) {
        (void) signal(SIGPIPE, SIG_DFL);
        r = fn("");
        c = context(r);

        if (server_tell(&server, "CLIENT KILL USER fn") != 1) {
            _exit(1);
        }

        /* hiredis itself stops at the first error */

        for (i = 0; i < 3; i++) {
            (void) !write(c->fd, "x", 1);
            server_pause();
        }

        redis_destroy(r);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}


static void
test_a_context_is_refused_in_a_fork(void **state)
{
    int      code, status;
    pid_t    pid;
    redis_t  *r;

    (void) state;

    r = fn("");
    (void) context(r);
    pid = fork();

    if (pid == 0) {
        status = redis_context(r, KEY, redis_now_ms() + 1000, &code) == NULL
                 && code == FAAS_EUNSUPPORTED ? 0 : 1;
        redis_context_end(r);
        redis_destroy(r);
        _exit(status);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(say(context(r), "PING", NULL, NULL), "PONG");

    redis_destroy(r);
}


/* -- subscriptions --------------------------------------------------------- */

typedef struct {
    int   count;
    char  text[256];
} heard_t;


static void
hear(faas_bytes_t channel, faas_bytes_t payload, void *data)
{
    heard_t  *heard = data;

    heard->count++;
    (void) snprintf(heard->text, sizeof(heard->text), "%.*s=%.*s",
                    (int) channel.size, (const char *) channel.data,
                    (int) payload.size, (const char *) payload.data);
}


static int
hear_some(redis_sub_t *s, heard_t *heard)
{
    struct pollfd  pfd;

    pfd.fd = redis_sub_fd(s);
    pfd.events = POLLIN;
    assert_int_equal(poll(&pfd, 1, 10000), 1);

    return redis_sub_read(s, hear, heard);
}


static void
hears(redis_t *r, server_t *at)
{
    heard_t       heard;
    redis_sub_t  *s;
    faas_bytes_t  channels[2] = { faas_text("faas:a"), faas_text("faas:b") };

    memset(&heard, 0, sizeof(heard));
    s = redis_sub_create(r, channels, 2);
    assert_non_null(s);
    assert_int_equal(redis_sub_fd(s), -1);
    assert_int_equal(redis_sub_read(s, hear, &heard), FAAS_EUNAVAILABLE);

    assert_int_equal(redis_sub_connect(s, redis_now_ms() + 10000), FAAS_OK);
    assert_int_equal(redis_sub_connect(s, redis_now_ms() + 10000), FAAS_OK);
    assert_int_not_equal(redis_sub_fd(s), -1);
    assert_int_equal(redis_sub_read(s, hear, &heard), FAAS_OK);
    assert_int_equal(heard.count, 0);

    assert_int_equal(server_tell(at, "PUBLISH faas:b one"), 1);
    assert_int_equal(server_tell(at, "PUBLISH faas:c none"), 0);

    while (heard.count == 0) {
        assert_int_equal(hear_some(s, &heard), FAAS_OK);
    }

    assert_string_equal(heard.text, "faas:b=one");

    /* signs of life are none of the messages */

    assert_int_equal(redis_sub_ping(s), FAAS_OK);
    assert_int_equal(hear_some(s, &heard), FAAS_OK);

    while (redis_sub_ping(s) != FAAS_OK) {
        fail();
    }

    assert_int_equal(heard.count, 1);

    redis_sub_destroy(s);
}


static void
test_what_is_published_is_heard(void **state)
{
    redis_t  *r;

    (void) state;

    r = fn("");
    hears(r, &server);
    redis_destroy(r);
}


static void
test_a_subscription_that_is_lost_says_so(void **state)
{
    int           rc;
    heard_t       heard;
    redis_t      *r;
    redis_sub_t  *s;
    faas_bytes_t  channel = faas_text("faas:a");

    (void) state;

    memset(&heard, 0, sizeof(heard));
    r = fn("");
    s = redis_sub_create(r, &channel, 1);
    assert_non_null(s);

    assert_int_equal(redis_sub_connect(s, redis_now_ms() + 10000), FAAS_OK);
    assert_int_equal(server_tell(&server, "CLIENT KILL TYPE pubsub"), 1);

    do {
        rc = hear_some(s, &heard);
    } while (rc == FAAS_OK);

    assert_int_equal(rc, FAAS_EUNAVAILABLE);
    assert_int_equal(redis_sub_fd(s), -1);

    /* one that gives no sign of life */

    assert_int_equal(redis_sub_connect(s, redis_now_ms() + 10000), FAAS_OK);
    assert_int_equal(kill(server.pid, SIGSTOP), 0);
    assert_int_equal(redis_sub_ping(s), FAAS_OK);
    assert_int_equal(redis_sub_ping(s), FAAS_EUNAVAILABLE);
    assert_int_equal(redis_sub_fd(s), -1);
    assert_int_equal(kill(server.pid, SIGCONT), 0);

    redis_sub_destroy(s);

    /* one that is not allowed */

    channel = faas_text("other");
    s = redis_sub_create(r, &channel, 1);
    assert_non_null(s);
    assert_int_equal(redis_sub_connect(s, redis_now_ms() + 10000),
                     FAAS_EDENIED);
    redis_sub_destroy(s);

    redis_destroy(r);
}


/* -- TLS ------------------------------------------------------------------- */

static int
openssl(const char *directory, const char *command)
{
    char  all[1024];

    (void) snprintf(all, sizeof(all), "cd %s && { %s; } >>openssl.log 2>&1",
                    directory, command);

    return system(all);
}


static char  files[128];       /* the directory of certificates */


static int
make_certificates(void)
{
    (void) strcpy(files, "/tmp/faas-tls.XXXXXX");

    if (mkdtemp(files) == NULL) {
        return -1;
    }

    return openssl(files,
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key "
            "-out ca.pem -days 2 -subj /CN=ca && "
        "openssl req -newkey rsa:2048 -nodes -keyout server.key "
            "-out server.csr -subj /CN=redis.test && "
        "printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >ext && "
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key "
            "-CAcreateserial -days 2 -extfile ext -out server.pem && "
        "openssl req -newkey rsa:2048 -nodes -keyout client.key "
            "-out client.csr -subj /CN=client && "
        "openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key "
            "-CAcreateserial -days 2 -out client.pem && "
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key "
            "-out other.pem -days 2 -subj /CN=other");
}


static int
start_secure(void)
{
    static char  port[16], cert[160], key[160], ca[160];
    static const char  *options[] = {
        "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
        "--tls-ca-cert-file", ca, "--tls-auth-clients", "yes",
        "--bind", "127.0.0.1", "127.0.0.2", NULL
    };

    (void) snprintf(port, sizeof(port), "%d", server_free_port());
    (void) snprintf(cert, sizeof(cert), "%s/server.pem", files);
    (void) snprintf(key, sizeof(key), "%s/server.key", files);
    (void) snprintf(ca, sizeof(ca), "%s/ca.pem", files);

    if (server_start(&secure, 0, options) != 0) {
        return -1;
    }

    secure.port = atoi(port);

    return 0;
}


static redis_t *
tls(const char *login, const char *host, const char *ca, const char *verify)
{
    char  url[512];

    (void) snprintf(url, sizeof(url),
                    "%s%s:%d/2?ca=%s/%s&cert=%s/client.pem"
                    "&key=%s/client.key&verify=%s",
                    login, host, secure.port, files, ca, files, files,
                    verify);

    return client("rediss://", url);
}


static int
ping(redis_t *r, int64_t ms)
{
    faas_bytes_t  argv = faas_text("PING");

    return redis_do(r, KEY, 0, redis_now_ms() + ms, &argv, 1);
}


/* a value of 3 MiB there and back, and many small ones */
static void
test_tls_carries_all_bytes(void **state)
{
    int            i;
    char          *value;
    size_t         n;
    redis_t       *r;
    faas_bytes_t   bytes;
    const char    *text;

    (void) state;

    r = tls("", "127.0.0.1", "ca.pem", "full");

    n = 3 << 20;
    value = malloc(n);
    assert_non_null(value);

    for (i = 0; i < (int) n; i++) {
        value[i] = (char) (i * 2654435761u >> 11);
    }

    bytes.data = value;
    bytes.size = n;

    redis_batch(r);
    redis_add(r, faas_text("SET"), KEY, bytes);
    redis_add(r, faas_text("GET"), KEY);
    assert_int_equal(redis_run(r, KEY, 0, redis_now_ms() + 30000), FAAS_OK);
    assert_int_equal(redis_result(r), FAAS_OK);
    text = redis_reply_text(redis_answer(r, 1), &n);
    assert_int_equal(n, 3 << 20);
    assert_memory_equal(text, value, n);
    free(value);

    redis_batch(r);

    for (i = 0; i < 5000; i++) {
        redis_add(r, faas_text("INCR"), faas_text("n"));
    }

    assert_int_equal(redis_run(r, KEY, 0, redis_now_ms() + 30000), FAAS_OK);
    assert_int_equal(redis_answer(r, 4999)->integer, 5000);

    redis_destroy(r);
}


static void
test_tls_is_verified(void **state)
{
    size_t    i;
    redis_t  *r;

    static const struct {
        const char  *host;
        const char  *ca;
        const char  *verify;
        int          code;
        const char  *why;
    } cases[] = {
        { "127.0.0.1", "ca.pem", "full", FAAS_OK, "" },
        { "localhost", "ca.pem", "full", FAAS_OK, "" },
        { "127.0.0.1", "other.pem", "full", FAAS_EDENIED, "certificate" },
        { "127.0.0.2", "ca.pem", "full", FAAS_EDENIED, "certificate" },
        { "127.0.0.2", "ca.pem", "ca", FAAS_OK, "" },
        { "127.0.0.1", "other.pem", "ca", FAAS_EDENIED, "certificate" },
        { "127.0.0.1", "other.pem", "no", FAAS_OK, "" },
        { "127.0.0.1", "none.pem", "full", FAAS_EUNAVAILABLE, "\"ca\"" }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        r = tls("", cases[i].host, cases[i].ca, cases[i].verify);

        if (ping(r, 10000) != cases[i].code
            || strstr(redis_why(r), cases[i].why) == NULL)
        {
            fail_msg("case %zu: %d: %s", i, ping(r, 10000), redis_why(r));
        }

        redis_destroy(r);
    }
}


/* a server without TLS, and TLS spoken to no TLS */
static void
test_tls_meets_no_tls(void **state)
{
    char      url[256];
    int64_t   start;
    redis_t  *r;

    (void) state;

    (void) snprintf(url, sizeof(url), "127.0.0.1:%d?ca=%s/ca.pem",
                    server.port, files);
    r = client("rediss://", url);
    start = redis_now_ms();
    assert_true(ping(r, 200) != FAAS_OK);
    assert_true(redis_now_ms() - start < 5000);
    redis_destroy(r);

    (void) snprintf(url, sizeof(url), "127.0.0.1:%d", secure.port);
    r = client("redis://", url);
    start = redis_now_ms();
    assert_true(ping(r, 200) != FAAS_OK);
    assert_true(redis_now_ms() - start < 5000);
    redis_destroy(r);
}


static void
test_tls_without_our_certificate_is_refused(void **state)
{
    char      url[256];
    redis_t  *r;

    (void) state;

    (void) snprintf(url, sizeof(url), "127.0.0.1:%d?ca=%s/ca.pem",
                    secure.port, files);
    r = client("rediss://", url);

    /* in TLS 1.3 the client is done before the server has looked */

    assert_int_not_equal(ping(r, 10000), FAAS_OK);
    redis_destroy(r);
}


static void
test_a_context_over_tls(void **state)
{
    int            i;
    char           id[64], *value;
    size_t         n;
    redis_t       *r;
    redisReply    *reply;
    redisContext  *c;

    (void) state;

    r = tls("", "127.0.0.1", "ca.pem", "full");
    c = context(r);
    (void) strcpy(id, say(c, "CLIENT", "ID", NULL));
    assert_string_equal(say(c, "SET", "t", "v"), "OK");

    n = 3 << 20;
    value = malloc(n);
    assert_non_null(value);
    memset(value, 'x', n);

    reply = redisCommand(c, "SET big %b", value, n);
    assert_non_null(reply);
    freeReplyObject(reply);
    reply = redisCommand(c, "GET big");
    assert_non_null(reply);
    assert_int_equal(reply->len, n);
    assert_memory_equal(reply->str, value, n);
    freeReplyObject(reply);
    free(value);

    for (i = 0; i < 20; i++) {
        redis_context_end(r);
        c = context(r);
        assert_string_equal(say(c, "GET", "t", NULL), "v");
    }

    assert_string_equal(say(c, "CLIENT", "ID", NULL), id);

    /* what ends at the other side is seen on ours */

    assert_int_equal(server_tell(&secure, "CLIENT KILL TYPE normal"), 1);
    assert_true(say(c, "PING", NULL, NULL)[0] == '!');
    c = context(r);
    assert_string_equal(say(c, "PING", NULL, NULL), "PONG");

    redis_destroy(r);
}


static void
test_a_subscription_over_tls(void **state)
{
    redis_t  *r;

    (void) state;

    r = tls("", "127.0.0.1", "ca.pem", "full");
    hears(r, &secure);
    redis_destroy(r);
}


/* OpenSSL is nobody's who does not use it */
static void
test_openssl_is_not_loaded_without_tls(void **state)
{
    int       status;
    pid_t     pid;
    redis_t  *r;

    (void) state;

    pid = fork();

    if (pid == 0) {
        r = fn("");
        status = ping(r, 10000) == FAAS_OK
                 && dlopen("libssl.so.3", RTLD_NOW | RTLD_NOLOAD) == NULL
                 ? 0 : 1;
        redis_destroy(r);
        _exit(status);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}


int
main(void)
{
    int  rc;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_openssl_is_not_loaded_without_tls),
        cmocka_unit_test(test_a_context_is_ready_and_stays),
        cmocka_unit_test(test_what_a_request_leaves_behind_is_reset),
        cmocka_unit_test(test_what_cannot_be_reset_is_made_anew),
        cmocka_unit_test(test_a_context_with_an_error_is_replaced),
        cmocka_unit_test(test_a_context_has_the_time_that_is_left),
        cmocka_unit_test(test_a_context_is_apart_from_the_other_connection),
        cmocka_unit_test(test_a_context_that_was_cut_kills_nobody),
        cmocka_unit_test(test_a_context_is_refused_in_a_fork),
        cmocka_unit_test(test_what_is_published_is_heard),
        cmocka_unit_test(test_a_subscription_that_is_lost_says_so),
        cmocka_unit_test(test_tls_carries_all_bytes),
        cmocka_unit_test(test_tls_is_verified),
        cmocka_unit_test(test_tls_meets_no_tls),
        cmocka_unit_test(test_tls_without_our_certificate_is_refused),
        cmocka_unit_test(test_a_context_over_tls),
        cmocka_unit_test(test_a_subscription_over_tls)
    };

    rc = 1;

    if (server_start(&server, -1, NULL) != 0
        || server_tell(&server, "ACL SETUSER fn on " RULES) != 0
        || make_certificates() != 0 || start_secure() != 0)
    {
        (void) fprintf(stderr, "no redis-server with TLS\n");

    } else {
        rc = cmocka_run_group_tests(tests, NULL, NULL);
    }

    server_remove(&secure);
    server_remove(&server);

    /* the certificates */

    (void) strcpy(server.directory, files);
    server_remove(&server);

    return rc;
}
