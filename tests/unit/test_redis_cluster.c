/* objects: $(BAAS_REDIS) baas/kv.c baas/process_mark.c */
/* libs: -lhiredis */

/*
 * Three masters that are a cluster: key-value by the conformance suite, slots
 * that move, nodes that go.
 */


#include "kv_conformance.h"
#include "kv_redis_inner.h"
#include "redis_inner.h"
#include "redis_server.h"


#define NODES  3


static server_t  node[NODES];
static char      url[256];


static kv_t *
kv_open(const char *space)
{
    char      why[256];
    kv_t     *kv;
    redis_t  *r;

    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);

    kv = kv_redis_create(r, space);
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


/* -- the cluster ----------------------------------------------------------- */

static int
cluster_create(void)
{
    int            i, status;
    char           at[NODES][32], log[160];
    char          *argv[NODES + 8];
    pid_t          pid;
    int64_t        end;
    redisReply    *reply;
    redisContext  *c;

    static const char  *options[] = {
        "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
        "--cluster-require-full-coverage", "no",
        "--appendonly", "yes", "--appendfsync", "no", NULL
    };

    argv[0] = (char *) "redis-cli";
    argv[1] = (char *) "--cluster";
    argv[2] = (char *) "create";

    for (i = 0; i < NODES; i++) {
        if (server_start(&node[i], -1, options) != 0) {
            return -1;
        }

        (void) snprintf(at[i], sizeof(at[i]), "127.0.0.1:%d", node[i].port);
        argv[3 + i] = at[i];
    }

    argv[3 + NODES] = (char *) "--cluster-yes";
    argv[4 + NODES] = NULL;

    (void) snprintf(log, sizeof(log), "%s/create", node[0].directory);
    pid = server_spawn(argv, log);

    if (waitpid(pid, &status, 0) != pid || status != 0) {
        return -1;
    }

    for (i = 0, end = server_clock_ms() + 30000;
         i < NODES && server_clock_ms() < end; server_pause())
    {
        c = server_connect(&node[i]);
        reply = redisCommand(c, "CLUSTER INFO");

        if (strstr(reply->str, "cluster_state:ok") != NULL
            && strstr(reply->str, "cluster_slots_ok:16384") != NULL)
        {
            i++;
        }

        freeReplyObject(reply);
        redisFree(c);
    }

    return i == NODES ? 0 : -1;
}


/* which node has the slot of that key */
static int
owner_of(faas_bytes_t key)
{
    int            i;
    char           text[160];
    redisReply    *reply;
    redisContext  *c;

    (void) snprintf(text, sizeof(text), "%.*s", (int) key.size,
                    (const char *) key.data);

    for (i = 0; i < NODES; i++) {
        c = server_connect(&node[i]);
        assert_non_null(c);
        reply = redisCommand(c, "EXISTS %s", text);
        assert_non_null(reply);

        if (reply->type == REDIS_REPLY_INTEGER) {
            freeReplyObject(reply);
            redisFree(c);
            return i;
        }

        freeReplyObject(reply);
        redisFree(c);
    }

    fail_msg("nobody has %s", text);

    return -1;
}


static const char *
id_of(int i)
{
    redisReply    *reply;
    redisContext  *c;
    static char    id[NODES][64];

    c = server_connect(&node[i]);
    reply = redisCommand(c, "CLUSTER MYID");
    assert_non_null(reply);
    (void) snprintf(id[i], sizeof(id[i]), "%s", reply->str);
    freeReplyObject(reply);
    redisFree(c);

    return id[i];
}


static void
setslot(int i, uint32_t slot, const char *how, int other)
{
    char  command[160];

    (void) snprintf(command, sizeof(command), "CLUSTER SETSLOT %u %s %s", slot,
                    how, id_of(other));
    assert_int_equal(server_tell(&node[i], command), 0);
}


static void
migrate(int from, int to, const char *key)
{
    redisReply    *reply;
    redisContext  *c;

    c = server_connect(&node[from]);
    reply = redisCommand(c, "MIGRATE 127.0.0.1 %d %s 0 5000", node[to].port,
                         key);
    assert_non_null(reply);

    if (reply->type == REDIS_REPLY_ERROR) {
        fail_msg("%s", reply->str);
    }

    freeReplyObject(reply);
    redisFree(c);
}


/* -- tests ----------------------------------------------------------------- */

/* against CLUSTER KEYSLOT */
static void
test_slots_are_those_of_redis(void **state)
{
    size_t         i;
    redisReply    *reply;
    redisContext  *c;

    static const char *const  keys[] = {
        "", "a", "a{b", "a{b}c", "{}{x}", "{x}y{z}", "faas:{hello}:k:x",
        "faas:{@shared}:i", "\xff\xfe", "{{x}}", "}{x}", "{", "}",
        "0123456789012345678901234567890123456789"
    };

    (void) state;

    c = server_connect(&node[0]);
    assert_non_null(c);

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        reply = redisCommand(c, "CLUSTER KEYSLOT %s", keys[i]);
        assert_non_null(reply);
        assert_int_equal(redis_slot(faas_text(keys[i])), reply->integer);
        freeReplyObject(reply);
    }

    redisFree(c);
}


static void
test_spaces_are_on_all_nodes(void **state)
{
    int   i, k, seen[NODES] = { 0 };
    char  space[32];
    kv_t  *kv;

    (void) state;

    for (i = 0; i < 30; i++) {
        (void) snprintf(space, sizeof(space), "s%d", i);
        kv = kv_open(space);
        assert_int_equal(test_put(kv, B("k"), faas_text(space)), FAAS_OK);
        seen[owner_of(((kv_redis_t *) kv->data)->index)]++;
        test_is(kv, B("k"), faas_text(space));
        kv_close(kv);
    }

    for (k = 0; k < NODES; k++) {
        assert_true(seen[k] > 0);
    }
}


/* one redis_t, keys of all slots */
static void
test_one_client_for_all_nodes(void **state)
{
    int           i;
    char          key[32], why[128];
    redis_t      *r;
    faas_bytes_t  argv[3];

    (void) state;

    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);

    for (i = 0; i < 200; i++) {
        (void) snprintf(key, sizeof(key), "key-%d", i);
        argv[0] = faas_text("SET");
        argv[1] = faas_text(key);
        argv[2] = faas_text(key);
        assert_int_equal(redis_do(r, argv[1], 0, redis_now_ms() + 10000, argv,
                                  3), FAAS_OK);
    }

    assert_int_equal(r->count, NODES);

    redis_destroy(r);
}


/*
 * The outcome of a write to a slot that no node can serve.  A deadline that
 * passes while an answer is on its way, as on a machine that stops now and
 * then, is an outcome of its own and tells nothing: a longer one follows.
 */
static int
set_while_it_moves(kv_t *kv, faas_bytes_t key)
{
    int      rc;
    int64_t  ms;

    ms = 100;

    do {
        rc = kv_set(kv, test_scope_of(ms), key, B("x"), 0, KV_ANY, NULL);
        ms *= 2;
    } while ((rc == FAAS_ETIMEDOUT || rc == FAAS_EUNAVAILABLE)
             && ms < 20000);

    return rc;
}


/* a slot in the middle of its move: keys on the old node, and on the new */
static void
test_ask_and_moved_are_followed(void **state)
{
    int       from, to;
    char      one[160], two[160], zset[160];
    kv_t     *kv = test_open(), *other;
    uint32_t  slot;
    uint64_t  version;

    (void) state;

    assert_int_equal(test_put(kv, B("one"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("two"), B("2")), FAAS_OK);

    slot = redis_slot(((kv_redis_t *) kv->data)->index);
    from = owner_of(((kv_redis_t *) kv->data)->index);
    to = (from + 1) % NODES;

    (void) snprintf(one, sizeof(one), "faas:{%s}:k:one", test_space_name);
    (void) snprintf(two, sizeof(two), "faas:{%s}:k:two", test_space_name);
    (void) snprintf(zset, sizeof(zset), "faas:{%s}:i", test_space_name);

    setslot(to, slot, "IMPORTING", from);
    setslot(from, slot, "MIGRATING", to);
    migrate(from, to, one);

    /* ASK for what has moved, TRYAGAIN or the old node for what has not */

    test_is(kv, B("one"), B("1"));
    test_is(kv, B("two"), B("2"));
    test_absent(kv, B("none"));

    /* key there, index here: no node can do both */

    assert_int_equal(set_while_it_moves(kv, B("one")), FAAS_EBUSY);
    test_is(kv, B("one"), B("1"));

    migrate(from, to, zset);
    assert_int_equal(test_put(kv, B("one"), B("11")), FAAS_OK);
    test_is(kv, B("one"), B("11"));
    assert_int_equal(kv_incr(kv, SCOPE, B("one"), 1, NULL), FAAS_OK);
    version = test_version(kv, B("one"));
    assert_int_equal(kv_set(kv, SCOPE, B("one"), B("cas"), 0, version, NULL),
                     FAAS_OK);
    assert_int_equal(kv_set(kv, SCOPE, B("one"), B("cas"), 0, version, NULL),
                     FAAS_ECONFLICT);

    /* of two keys one is nowhere: Redis asks to try again until it is done */

    assert_int_equal(set_while_it_moves(kv, B("new")), FAAS_EBUSY);

    /* and it has moved */

    migrate(from, to, two);
    setslot(to, slot, "NODE", to);
    setslot(from, slot, "NODE", to);

    test_is(kv, B("two"), B("2"));
    test_is(kv, B("one"), B("cas"));
    assert_int_equal(test_put(kv, B("two"), B("22")), FAAS_OK);
    assert_int_equal(test_put(kv, B("new"), B("n")), FAAS_OK);
    assert_int_equal(owner_of(((kv_redis_t *) kv->data)->index), to);

    other = kv_open(test_space_name);
    test_is(other, B("two"), B("22"));
    kv_close(other);

    kv_close(kv);
}


/* MOVED between WATCH and EXEC: the transaction is not done, and begun anew */
static void
test_a_slot_that_moves_under_watch(void **state)
{
    int           from, to;
    kv_t         *kv = test_open();
    redis_t      *r;
    uint32_t      slot;
    faas_bytes_t  key;

    (void) state;

    r = redis_of(kv);
    key = ((kv_redis_t *) kv->data)->index;

    redis_batch(r);
    redis_add(r, faas_text("WATCH"), key);
    assert_int_equal(redis_run(r, key, REDIS_WATCH | REDIS_REPEAT,
                               SCOPE->deadline_ms), FAAS_OK);

    slot = redis_slot(key);
    from = owner_of(key);
    to = (from + 1) % NODES;

    setslot(to, slot, "NODE", to);
    setslot(from, slot, "NODE", to);

    redis_batch(r);
    redis_add(r, faas_text("MULTI"));
    redis_add(r, faas_text("ZADD"), key, faas_text("0"), faas_text("m"));
    redis_add(r, faas_text("EXEC"));
    assert_int_equal(redis_run(r, key, REDIS_EXEC, SCOPE->deadline_ms),
                     FAAS_ECONFLICT);

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("v"), 0, 0, NULL), FAAS_OK);
    test_is(kv, B("k"), B("v"));

    kv_close(kv);
}


static void
test_a_context_goes_to_the_node_of_its_key(void **state)
{
    int            i, code;
    char           key[32], why[128];
    redis_t       *r;
    redisReply    *reply;
    redisContext  *c;

    (void) state;

    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);

    for (i = 0; i < 12; i++) {
        (void) snprintf(key, sizeof(key), "{f%d}", i);
        c = redis_context(r, faas_text(key), redis_now_ms() + 10000, &code);
        assert_non_null(c);
        reply = redisCommand(c, "SET %s v", key);
        assert_non_null(reply);
        assert_int_equal(reply->type, REDIS_REPLY_STATUS);
        freeReplyObject(reply);
        redis_context_end(r);
    }

    redis_destroy(r);
}


/* its spaces are out of reach, the others are not; seeds too may be gone */
static void
test_a_node_that_is_gone(void **state)
{
    int               i, gone, rc, up, down;
    char              space[32];
    kv_t             *kv, *all[12];
    int64_t           start;
    faas_kv_entry_t   entry;

    (void) state;

    gone = 0;
    up = 0;
    down = 0;

    for (i = 0; i < 12; i++) {
        (void) snprintf(space, sizeof(space), "g%d", i);
        all[i] = kv_open(space);
        assert_int_equal(test_put(all[i], B("k"), B("v")), FAAS_OK);
    }

    server_stop(&node[gone], SIGKILL);

    for (i = 0; i < 12; i++) {
        start = test_monotonic_ms();
        rc = kv_get(all[i], SCOPE, B("k"), &entry);
        assert_true(test_monotonic_ms() - start < 5000);
        assert_true(rc == FAAS_OK || rc == FAAS_EUNAVAILABLE);

        up += rc == FAAS_OK;
        down += rc != FAAS_OK;

        /* one that starts now */

        (void) snprintf(space, sizeof(space), "g%d", i);
        kv = kv_open(space);
        assert_int_equal(kv_get(kv, SCOPE, B("k"), &entry), rc);
        kv_close(kv);
    }

    assert_true(up > 0 && down > 0);
    assert_int_equal(server_restart(&node[gone]), 0);

    for (i = 0; i < 12; i++) {
        start = test_monotonic_ms();

        do {
            server_pause();
            rc = kv_get(all[i], SCOPE, B("k"), &entry);
        } while (rc != FAAS_OK && test_monotonic_ms() - start < 20000);

        assert_int_equal(rc, FAAS_OK);
        kv_close(all[i]);
    }
}


static void
test_no_cluster_is_unsupported(void **state)
{
    char      other[128], why[128];
    redis_t  *r;
    server_t  plain;
    faas_bytes_t  argv = faas_text("PING");

    (void) state;

    assert_int_equal(server_start(&plain, -1, NULL), 0);
    (void) snprintf(other, sizeof(other), "redis-cluster://127.0.0.1:%d",
                    plain.port);
    r = redis_create(other, why, sizeof(why));
    assert_non_null(r);
    assert_int_equal(redis_do(r, faas_text("k"), 0, redis_now_ms() + 10000,
                              &argv, 1), FAAS_EUNSUPPORTED);
    assert_non_null(strstr(redis_why(r), "cluster support disabled"));
    redis_destroy(r);
    server_remove(&plain);

    /* and redis:// to a node of a cluster says so */

    (void) snprintf(other, sizeof(other), "redis://127.0.0.1:%d",
                    node[(owner_of(faas_text("k")) + 1) % NODES].port);
    r = redis_create(other, why, sizeof(why));
    assert_non_null(r);

    redis_batch(r);
    redis_add(r, faas_text("GET"), faas_text("k"));
    assert_int_equal(redis_run(r, faas_text("k"), 0, redis_now_ms() + 10000),
                     FAAS_OK);
    assert_int_equal(redis_result(r), FAAS_EUNAVAILABLE);
    assert_non_null(strstr(redis_why(r), "MOVED"));
    redis_destroy(r);
}


int
main(void)
{
    int  i, rc;

    const struct CMUnitTest  tests[] = {
        KV_CONFORMANCE,
        KV_TEST(test_slots_are_those_of_redis),
        KV_TEST(test_spaces_are_on_all_nodes),
        KV_TEST(test_one_client_for_all_nodes),
        KV_TEST(test_ask_and_moved_are_followed),
        KV_TEST(test_a_slot_that_moves_under_watch),
        KV_TEST(test_a_context_goes_to_the_node_of_its_key),
        KV_TEST(test_no_cluster_is_unsupported),
        KV_TEST(test_a_node_that_is_gone)
    };

    rc = 1;

    if (cluster_create() == 0) {
        (void) snprintf(url, sizeof(url),
                        "redis-cluster://127.0.0.1:%d,127.0.0.1:%d",
                        node[0].port, node[1].port);
        rc = cmocka_run_group_tests(tests, NULL, NULL);

    } else {
        (void) fprintf(stderr, "no cluster\n");
    }

    for (i = 0; i < NODES; i++) {
        server_remove(&node[i]);
    }

    return rc;
}
