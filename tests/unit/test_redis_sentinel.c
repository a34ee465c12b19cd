/* objects: $(BAAS_REDIS) baas/kv.c baas/process_mark.c */
/* libs: -lhiredis */

/*
 * A master, a replica, and a sentinel that makes one the other.
 */


#include "kv_conformance.h"
#include "kv_redis_inner.h"
#include "redis_inner.h"
#include "redis_server.h"


#define RULES  ">secret ~faas:* &faas:* +@all -@admin -@dangerous " \
               "-@scripting +role"


static server_t  node[2];
static server_t  sentinel;
static int       dead_port;    /* where no sentinel is */


static redis_t *
client_of(const char *master)
{
    char      url[256], why[256];
    redis_t  *r;

    (void) snprintf(url, sizeof(url),
                    "redis-sentinel://fn:secret@127.0.0.1:%d,127.0.0.1:%d/%s/1"
                    "?sentinel_password=s%%26p",
                    dead_port, sentinel.port, master);
    r = redis_create(url, why, sizeof(why));

    if (r == NULL) {
        fail_msg("%s", why);
    }

    return r;
}


static kv_t *
kv_open(const char *space)
{
    kv_t  *kv;

    kv = kv_redis_create(client_of("here"), space);
    assert_non_null(kv);

    return kv;
}


static redis_t *
redis_of(kv_t *kv)
{
    return ((kv_redis_t *) kv->data)->redis;
}


static void
kv_close(kv_t *kv)
{
    redis_t  *r;

    r = redis_of(kv);
    kv_redis_destroy(kv);
    redis_destroy(r);
}


static int
is_master(int i)
{
    int            master;
    redisReply    *reply;
    redisContext  *c;

    c = server_connect(&node[i]);

    if (c == NULL) {
        return 0;
    }

    reply = redisCommand(c, "ROLE");
    master = reply != NULL && reply->type == REDIS_REPLY_ARRAY
             && strcmp(reply->element[0]->str, "master") == 0;

    if (reply != NULL) {
        freeReplyObject(reply);
    }

    redisFree(c);

    return master;
}


/* the sentinel's answer to a command, as its text */
static const char *
ask(const char *a, const char *b)
{
    int            i;
    redisReply    *reply;
    redisContext  *c;
    static char    text[4096];

    text[0] = '\0';
    c = redisConnect("127.0.0.1", sentinel.port);

    if (c != NULL && c->err == 0) {
        reply = redisCommand(c, "AUTH %s", "s&p");

        if (reply != NULL) {
            freeReplyObject(reply);
        }

        reply = redisCommand(c, "SENTINEL %s %s", a, b);

        if (reply != NULL && reply->type == REDIS_REPLY_ARRAY) {
            for (i = 0; i + 1 < (int) reply->elements; i += 2) {
                if (reply->element[i]->type == REDIS_REPLY_STRING) {
                    (void) snprintf(text + strlen(text),
                                    sizeof(text) - strlen(text), "%s=%s\n",
                                    reply->element[i]->str,
                                    reply->element[i + 1]->str);
                }
            }

        } else if (reply != NULL && reply->str != NULL) {
            (void) snprintf(text, sizeof(text), "%s", reply->str);
        }

        if (reply != NULL) {
            freeReplyObject(reply);
        }
    }

    if (c != NULL) {
        redisFree(c);
    }

    return text;
}


static int
wait_for(const char *a, const char *b, const char *expected)
{
    int64_t  end;

    for (end = server_clock_ms() + 30000; server_clock_ms() < end; ) {
        if (strstr(ask(a, b), expected) != NULL) {
            return 0;
        }

        server_pause();
    }

    (void) fprintf(stderr, "%s %s: %s\n", a, b, ask(a, b));

    return -1;
}


static int
start(void)
{
    FILE         *f;
    int           i;
    char          log[128];
    static char   conf[128];
    static char  *argv[] = { (char *) "redis-server", conf,
                             (char *) "--sentinel", NULL };

    if (server_start(&node[0], -1, NULL) != 0
        || server_start(&node[1], -1, NULL) != 0)
    {
        return -1;
    }

    (void) snprintf(log, sizeof(log), "REPLICAOF 127.0.0.1 %d", node[0].port);

    if (server_tell(&node[1], log) != 0) {
        return -1;
    }

    for (i = 0; i < 2; i++) {
        if (server_tell(&node[i], "ACL SETUSER fn on " RULES) != 0) {
            return -1;
        }
    }

    dead_port = server_free_port();
    sentinel.port = server_free_port();
    (void) strcpy(sentinel.directory, "/tmp/faas-redis.XXXXXX");

    if (mkdtemp(sentinel.directory) == NULL) {
        return -1;
    }

    (void) snprintf(conf, sizeof(conf), "%s/conf", sentinel.directory);
    f = fopen(conf, "w");

    if (f == NULL) {
        return -1;
    }

    (void) fprintf(f, "port %d\nbind 127.0.0.1\ndir %s\nrequirepass s&p\n"
                   "sentinel sentinel-pass s&p\n"
                   "sentinel monitor here 127.0.0.1 %d 1\n"
                   "sentinel down-after-milliseconds here 1000\n"
                   "sentinel failover-timeout here 5000\n",
                   sentinel.port, sentinel.directory, node[0].port);
    (void) fclose(f);

    (void) snprintf(log, sizeof(log), "%s/log", sentinel.directory);
    sentinel.pid = server_spawn(argv, log);

    return wait_for("master", "here", "num-slaves=1\n");
}


/* -- tests ----------------------------------------------------------------- */

static void
test_the_master_is_found(void **state)
{
    kv_t          *kv = test_open();
    redis_t       *r;
    redisReply    *reply;
    redisContext  *c;

    (void) state;

    assert_int_equal(server_tell(&node[0], "CONFIG RESETSTAT"), 0);
    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    test_is(kv, B("k"), B("v"));

    /* and it was asked itself, once */

    c = server_connect(&node[0]);
    assert_non_null(c);
    reply = redisCommand(c, "INFO commandstats");
    assert_non_null(reply);
    assert_non_null(strstr(reply->str, "cmdstat_role:calls=1,"));
    freeReplyObject(reply);
    redisFree(c);

    /* the sentinel that answered is asked first from then on */

    r = redis_of(kv);
    assert_int_equal(r->sentinel, 1);
    assert_int_equal(r->nodes[0]->address.port, node[0].port);

    kv_close(kv);
}


static void
test_an_unknown_master_and_no_sentinel(void **state)
{
    char          url[128], why[128];
    redis_t      *r;
    faas_bytes_t  argv = faas_text("PING");

    (void) state;

    r = client_of("elsewhere");
    assert_int_equal(redis_do(r, argv, 0, redis_now_ms() + 10000, &argv, 1),
                     FAAS_EUNAVAILABLE);
    assert_non_null(strstr(redis_why(r), "no master \"elsewhere\""));
    assert_int_not_equal(r->nodes[0]->until_ms, 0);
    redis_destroy(r);

    (void) snprintf(url, sizeof(url), "redis-sentinel://127.0.0.1:%d/here",
                    dead_port);
    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);
    assert_int_equal(redis_do(r, argv, 0, redis_now_ms() + 10000, &argv, 1),
                     FAAS_EUNAVAILABLE);
    redis_destroy(r);

    /* one that wants a password */

    (void) snprintf(url, sizeof(url), "redis-sentinel://127.0.0.1:%d/here",
                    sentinel.port);
    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);
    assert_int_equal(redis_do(r, argv, 0, redis_now_ms() + 10000, &argv, 1),
                     FAAS_EUNAVAILABLE);
    redis_destroy(r);
}


/* sentinels may be late: who is told of is asked whether it is the master */
static void
test_a_replica_is_not_written_to(void **state)
{
    char          why[128], url[128];
    redis_t      *r;
    redis_link_t  link;
    redis_login_t login;
    redis_resolver_t  resolver;

    (void) state;

    memset(&login, 0, sizeof(login));
    memset(&resolver, 0, sizeof(resolver));
    login.user = "";
    login.password = "";
    login.master = 1;
    login.resolver = &resolver;

    (void) snprintf(url, sizeof(url), "redis://127.0.0.1:%d", node[1].port);
    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);

    assert_int_equal(redis_link_open(&link, &r->url.address[0], &login,
                                     redis_now_ms() + 10000, why,
                                     sizeof(why)), FAAS_EREADONLY);
    assert_int_equal(link.fd, -1);
    redis_destroy(r);
}


/* both the key-value's connection and the function's own follow */
static void
follows(int from, int to)
{
    int            code, rc;
    kv_t          *kv = test_open();
    int64_t        start;
    redis_t       *r;
    redisReply    *reply;
    redisContext  *c;

    r = redis_of(kv);
    assert_int_equal(test_put(kv, B("k"), B("before")), FAAS_OK);
    c = redis_context(r, faas_text("k"), redis_now_ms() + 10000, &code);
    assert_non_null(c);
    redis_context_end(r);

    /* until the replica has it, then the master goes */

    assert_int_equal(is_master(from), 1);
    redis_batch(r);
    redis_add(r, faas_text("SET"), faas_text("faas:x"), faas_text("v"));
    redis_add(r, faas_text("WAIT"), faas_text("1"), faas_text("10000"));
    assert_int_equal(redis_run(r, faas_text("k"), 0, redis_now_ms() + 20000),
                     FAAS_OK);
    assert_int_equal(redis_answer(r, 1)->integer, 1);

    server_stop(&node[from], SIGKILL);
    start = test_monotonic_ms();

    do {
        server_pause();
        rc = test_put(kv, B("k"), B("after"));
        assert_true(rc == FAAS_OK || rc == FAAS_EUNAVAILABLE
                    || rc == FAAS_ETIMEDOUT || rc == FAAS_EREADONLY);
    } while (rc != FAAS_OK && test_monotonic_ms() - start < 40000);

    assert_int_equal(rc, FAAS_OK);
    test_is(kv, B("k"), B("after"));
    assert_int_equal(is_master(to), 1);

    c = redis_context(r, faas_text("k"), redis_now_ms() + 10000, &code);
    assert_non_null(c);
    reply = redisCommand(c, "GET faas:x");
    assert_non_null(reply);
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    freeReplyObject(reply);
    redis_context_end(r);

    kv_close(kv);
}


static void
test_a_failover_is_followed(void **state)
{
    (void) state;

    follows(0, 1);
}


/* the old master is back, as a replica; then the two change places while a
   connection is open: READONLY, or a connection that is closed */
static void
test_a_master_that_becomes_a_replica(void **state)
{
    int       rc;
    kv_t     *kv = test_open();
    int64_t   start;

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("1")), FAAS_OK);
    assert_int_equal(server_restart(&node[0]), 0);
    assert_int_equal(server_tell(&node[0], "ACL SETUSER fn on " RULES), 0);

    for (start = server_clock_ms();
         is_master(0) && server_clock_ms() - start < 30000; )
    {
        server_pause();
    }

    assert_int_equal(is_master(0), 0);

    /* the sentinel refuses until its last failover is a while ago */

    for (start = server_clock_ms();
         strcmp(ask("failover", "here"), "OK") != 0
         && server_clock_ms() - start < 40000; )
    {
        server_pause();
    }

    /* the old one takes writes until it is told */

    start = server_clock_ms();

    do {
        server_pause();
        rc = test_put(kv, B("k"), B("2"));
        assert_true(rc == FAAS_OK || rc == FAAS_EUNAVAILABLE
                    || rc == FAAS_ETIMEDOUT || rc == FAAS_EREADONLY);
    } while ((rc != FAAS_OK
              || redis_of(kv)->nodes[0]->address.port != node[0].port)
             && server_clock_ms() - start < 40000);

    assert_int_equal(rc, FAAS_OK);
    assert_int_equal(test_put(kv, B("k"), B("3")), FAAS_OK);
    test_is(kv, B("k"), B("3"));
    assert_int_equal(is_master(0), 1);

    kv_close(kv);
}


int
main(void)
{
    int  i, rc;

    const struct CMUnitTest  tests[] = {
        KV_TEST(test_the_master_is_found),
        KV_TEST(test_an_unknown_master_and_no_sentinel),
        KV_TEST(test_a_replica_is_not_written_to),
        KV_CONFORMANCE,
        KV_TEST(test_a_failover_is_followed),
        KV_TEST(test_a_master_that_becomes_a_replica)
    };

    rc = 1;

    if (start() == 0) {
        rc = cmocka_run_group_tests(tests, NULL, NULL);

    } else {
        (void) fprintf(stderr, "no sentinel\n");
    }

    for (i = 0; i < 2; i++) {
        server_remove(&node[i]);
    }

    server_remove(&sentinel);

    return rc;
}
