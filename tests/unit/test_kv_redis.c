/* objects: $(BAAS_REDIS) baas/kv.c baas/process_mark.c */
/* libs: -lhiredis */

/*
 * Key-value on a real Redis: the conformance suite, as a user who may do no
 * more than docs/redis.md says, and what only this engine has.
 */


#include "kv_conformance.h"
#include "kv_redis_inner.h"
#include "redis_inner.h"
#include "redis_server.h"


/* the user that docs/redis.md has for functions */
#define RULES     "+@all -@admin -@dangerous -@scripting +role"
#define PASSWORD  "p@ss:w/rd?%"
#define ENCODED   "p%40ss%3Aw%2Frd%3F%25"


static server_t  server;
static char      url[256];


static kv_t *
kv_open(const char *space)
{
    char      why[256];
    kv_t     *kv;
    redis_t  *r;

    r = redis_create(url, why, sizeof(why));

    if (r == NULL) {
        fprintf(stderr, "%s\n", why);
        return NULL;
    }

    kv = kv_redis_create(r, space);

    if (kv == NULL) {
        redis_destroy(r);
    }

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


/* as the default user: keys of the index of the test's space */
static long long
index_size(void)
{
    char  command[128];

    snprintf(command, sizeof(command), "ZCARD faas:{%s}:i", test_space_name);

    return server_tell(&server, command);
}


/* its keys, found without the index */
static int
keys_of_space(void)
{
    int            n;
    redisReply    *reply;
    redisContext  *c;

    c = server_connect(&server);
    assert_non_null(c);
    reply = redisCommand(c, "KEYS faas:{%s}:k:*", test_space_name);
    assert_non_null(reply);
    n = (int) reply->elements;
    freeReplyObject(reply);
    redisFree(c);

    return n;
}


/* -- the layout ------------------------------------------------------------ */

static void
test_a_key_is_a_hash_and_an_entry_of_the_index(void **state)
{
    char  command[160];
    kv_t  *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);

    snprintf(command, sizeof(command), "HLEN faas:{%s}:k:k", test_space_name);
    assert_int_equal(server_tell(&server, command), 2);
    assert_int_equal(index_size(), 1);

    assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_OK);
    assert_int_equal(index_size(), 0);

    assert_int_equal(kv_incr(kv, SCOPE, B("n"), 1, NULL), FAAS_OK);
    assert_int_equal(index_size(), 1);

    kv_close(kv);
}


static void
test_a_foreign_type_in_place_of_a_key_is_corrupt(void **state)
{
    char              command[160];
    kv_t             *kv = test_open();
    faas_kv_entry_t   entry;

    (void) state;

    snprintf(command, sizeof(command), "SET faas:{%s}:k:k x",
             test_space_name);
    assert_int_equal(server_tell(&server, command), 0);

    assert_int_equal(kv_get(kv, SCOPE, B("k"), &entry), FAAS_ECORRUPT);
    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_ECORRUPT);
    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 1, NULL), FAAS_ECORRUPT);
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("v"), 0, 0, NULL),
                     FAAS_ECORRUPT);

    snprintf(command, sizeof(command), "HSET faas:{%s}:k:h v x",
             test_space_name);
    assert_int_equal(server_tell(&server, command), 1);
    assert_int_equal(kv_get(kv, SCOPE, B("h"), &entry), FAAS_ECORRUPT);

    kv_close(kv);
}


/* -- the index -------------------------------------------------------------- */

static void
test_scan_takes_expired_keys_out_of_the_index(void **state)
{
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("a"), B("1")), FAAS_OK);
    test_put_expired(kv, B("b"), B("1"));
    assert_int_equal(index_size(), 2);

    memset(&scan, 0, sizeof(scan));
    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 10, test_scan_each,
                             &scan), FAAS_OK);
    assert_string_equal(scan.keys, "a|");
    assert_int_equal(index_size(), 1);

    kv_close(kv);
}


static void
test_a_reader_takes_nothing_out_of_the_index(void **state)
{
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    test_put_expired(kv, B("b"), B("1"));
    kv->readonly = 1;

    memset(&scan, 0, sizeof(scan));
    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 10, test_scan_each,
                             &scan), FAAS_OK);
    assert_int_equal(scan.count, 0);
    assert_int_equal(index_size(), 1);

    kv_close(kv);
}


/* a key that is written while it is taken for expired stays in the index */
static void
test_what_is_written_meanwhile_stays_in_the_index(void **state)
{
    kv_t          *kv = test_open(), *other = test_open();
    redis_t       *r;
    kv_redis_t    *k;
    faas_bytes_t   key, name;
    char           buf[KV_REDIS_KEY];

    (void) state;

    k = kv->data;
    r = k->redis;
    key = B("k");
    name = kv_redis_name(k, key, buf);

    test_put_expired(kv, key, B("1"));

    /* the two halves of kv_redis_tidy(), and a write in between */

    redis_batch(r);
    redis_add(r, faas_text("WATCH"), name);
    redis_add(r, faas_text("EXISTS"), name);
    assert_int_equal(redis_run(r, k->index, REDIS_WATCH | REDIS_REPEAT,
                               SCOPE->deadline_ms), FAAS_OK);
    assert_int_equal(redis_answer(r, 1)->integer, 0);

    assert_int_equal(test_put(other, key, B("2")), FAAS_OK);

    redis_batch(r);
    redis_add(r, faas_text("MULTI"));
    redis_add(r, faas_text("ZREM"), k->index, key);
    redis_add(r, faas_text("EXEC"));
    assert_int_equal(redis_run(r, k->index, REDIS_EXEC, SCOPE->deadline_ms),
                     FAAS_OK);
    assert_int_equal(redis_result(r), FAAS_ECONFLICT);

    /* and the whole of it, which finds the key */

    kv_redis_tidy(k, &key, 1, SCOPE->deadline_ms);
    assert_int_equal(index_size(), 1);
    test_is(kv, key, B("2"));

    kv_close(other);
    kv_close(kv);
}


/*
 * Two processes scan, and so take expired keys out of the index; two write a
 * key that expires, and when it has, write it again: then it is found.
 */

static int
test_writer_expiring(kv_t *kv, const char *key)
{
    int               i, rc;
    test_scan_t       scan;
    faas_kv_entry_t   entry;

    for (i = 0; i < 300; i++) {
        if (kv_set(kv, test_scope_of(60000), faas_text(key), B("v"), 1,
                   KV_ANY, NULL)
            != FAAS_OK)
        {
            return 1;
        }

        do {
            rc = kv_get(kv, test_scope_of(60000), faas_text(key), &entry);
        } while (rc == FAAS_OK);

        if (rc != FAAS_ENOTFOUND || test_put(kv, faas_text(key), B("w")) != 0)
        {
            return 2;
        }

        memset(&scan, 0, sizeof(scan));

        if (kv_scan(kv, test_scope_of(60000), faas_text(key), NONE, 10,
                    test_scan_each, &scan)
            != FAAS_OK || scan.count != 1)
        {
            return 3;
        }
    }

    return 0;
}


static int
test_writer_scanning(kv_t *kv)
{
    int64_t      done;
    test_scan_t  scan;

    do {
        memset(&scan, 0, sizeof(scan));

        if (kv_scan(kv, test_scope_of(60000), NONE, NONE, 1000,
                    test_scan_each, &scan)
            != FAAS_OK
            || kv_incr(kv, test_scope_of(60000), B("~done"), 0, &done)
               != FAAS_OK)
        {
            return 1;
        }
    } while (done < KV_CONFORMANCE_WRITERS / 2);

    return 0;
}


static int
test_writer_either(kv_t *kv)
{
    int      rc;
    char     key[32];
    int64_t  role;

    if (kv_incr(kv, test_scope_of(60000), B("~role"), 1, &role) != FAAS_OK) {
        return 4;
    }

    snprintf(key, sizeof(key), "key-%lld", (long long) role);

    if (role % 2 == 0) {
        return test_writer_scanning(kv);
    }

    rc = test_writer_expiring(kv, key);

    return kv_incr(kv, test_scope_of(60000), B("~done"), 1, NULL) == FAAS_OK
           ? rc : 5;
}


static void
test_no_key_is_lost_from_the_index(void **state)
{
    (void) state;

    test_writers(test_writer_either);
}


/* a space that nobody scans, whose keys all expire, does not grow for ever */
static void
test_the_index_of_expired_keys_is_bounded(void **state)
{
    int   i;
    char  key[32];
    kv_t  *kv = test_open();

    (void) state;

    for (i = 0; i < 4000; i++) {
        snprintf(key, sizeof(key), "s%d", i);
        assert_int_equal(kv_set(kv, SCOPE, faas_text(key), B("v"), 1, KV_ANY,
                                NULL), FAAS_OK);
    }

    assert_true(index_size() < 1000);

    kv_close(kv);
}


/* -- failures --------------------------------------------------------------- */

static void
test_memory_full_is_said_and_changes_nothing(void **state)
{
    char     *value;
    kv_t     *kv = test_open();
    int       rc, i;
    char      key[32];

    (void) state;

    value = test_alloc(NULL, FAAS_KV_VALUE_MAX);

    assert_int_equal(test_put(kv, B("k"), B("old")), FAAS_OK);
    assert_int_equal(server_tell(&server, "CONFIG SET maxmemory 1"), 0);

    assert_int_equal(kv_set(kv, SCOPE, B("k"),
                            test_bytes(value, FAAS_KV_VALUE_MAX), 0, KV_ANY,
                            NULL), FAAS_EFULL);
    assert_int_equal(kv_set(kv, SCOPE, B("new"), B("v"), 0, 0, NULL),
                     FAAS_EFULL);
    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 1, NULL), FAAS_EFULL);
    test_is(kv, B("k"), B("old"));
    assert_int_equal(index_size(), 1);

    /* what frees memory goes on */

    assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_OK);
    assert_int_equal(server_tell(&server, "CONFIG SET maxmemory 0"), 0);

    for (i = 0, rc = FAAS_OK; i < 4 && rc == FAAS_OK; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        rc = test_put(kv, faas_text(key), B("v"));
    }

    assert_int_equal(rc, FAAS_OK);

    kv_close(kv);
}


static void
test_a_conflict_that_does_not_end_is_busy(void **state)
{
    char              command[160];
    int64_t           end;
    kv_t             *kv = test_open();
    pid_t             pid;
    int               rc, status;
    redisContext     *c;
    faas_kv_entry_t   entry;

    (void) state;

    /* another writer gives the key away and takes it back without end, as
       nobody who uses versions of kv.h would */

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    assert_int_equal(kv_get(kv, SCOPE, B("k"), &entry), FAAS_OK);
    snprintf(command, sizeof(command), "HSET faas:{%s}:k:k o p",
             test_space_name);

    pid = fork();

    if (pid == 0) {
        c = server_connect(&server);

        for ( ;; ) {
            freeReplyObject(redisCommand(c, command));
        }
    }

    do {
        end = test_monotonic_ms();
        rc = kv_set(kv, test_scope_of(1), B("k"), B("w"), 0, entry.version,
                    &entry.version);
    } while (rc == FAAS_OK);

    assert_true(rc == FAAS_EBUSY || rc == FAAS_ETIMEDOUT
                || rc == FAAS_EUNAVAILABLE);
    assert_true(test_monotonic_ms() - end < 5000);

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);

    kv_close(kv);
}


static void
test_stopped_and_started_again(void **state)
{
    int               rc;
    int64_t           end, start;
    kv_t             *kv = test_open();
    faas_kv_entry_t   entry;

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    server_stop(&server, SIGKILL);

    start = test_monotonic_ms();
    assert_int_equal(kv_get(kv, SCOPE, B("k"), &entry), FAAS_EUNAVAILABLE);
    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_EUNAVAILABLE);
    assert_int_not_equal(redis_of(kv)->nodes[0]->until_ms, 0);
    assert_true(test_monotonic_ms() - start < 5000);

    assert_int_equal(server_restart(&server), 0);
    assert_int_equal(server_tell(&server, "ACL SETUSER fn on >" PASSWORD
                                 " ~faas:* " RULES), 0);

    /* within the back-off, which is a second at most */

    end = test_monotonic_ms() + 10000;

    do {
        server_pause();
        rc = test_put(kv, B("k"), B("v"));
    } while (rc == FAAS_EUNAVAILABLE && test_monotonic_ms() < end);

    assert_int_equal(rc, FAAS_OK);
    test_is(kv, B("k"), B("v"));

    kv_close(kv);
}


static void
test_a_connection_that_was_closed_is_made_anew(void **state)
{
    int   i;
    kv_t  *kv = test_open();

    (void) state;

    /* nothing is lost by it, not even a write: the end is seen before */

    for (i = 0; i < 20; i++) {
        assert_int_equal(kv_incr(kv, SCOPE, B("n"), 1, NULL), FAAS_OK);
        assert_int_equal(server_tell(&server, "CLIENT KILL USER fn"), 1);
    }

    test_is(kv, B("n"), B("20"));

    kv_close(kv);
}


static void
test_a_server_that_sleeps_is_not_waited_for(void **state)
{
    int               rc;
    int64_t           start;
    kv_t             *kv = test_open();
    pid_t             pid;
    faas_kv_entry_t   entry;

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    assert_int_equal(kill(server.pid, SIGSTOP), 0);

    start = test_monotonic_ms();
    rc = kv_get(kv, test_scope_of(50), B("k"), &entry);
    assert_true(rc == FAAS_ETIMEDOUT || rc == FAAS_EUNAVAILABLE);
    assert_int_equal(kv_set(kv, test_scope_of(50), B("k"), B("late"), 0,
                            KV_ANY, NULL), FAAS_EUNAVAILABLE);
    assert_true(test_monotonic_ms() - start >= 50);

    pid = server.pid;
    assert_int_equal(kill(pid, SIGCONT), 0);

    start = test_monotonic_ms();

    do {
        server_pause();
        rc = kv_get(kv, SCOPE, B("k"), &entry);
    } while (rc != FAAS_OK && test_monotonic_ms() - start < 10000);

    assert_int_equal(rc, FAAS_OK);
    assert_memory_equal(entry.value.data, "v", 2);

    kv_close(kv);
}


static void
test_a_wrong_password_is_denied(void **state)
{
    kv_t             *kv;
    redis_t          *r;
    char              why[256], wrong[256];
    faas_kv_entry_t   entry;

    (void) state;

    snprintf(wrong, sizeof(wrong), "redis+unix://fn:wrong@%s", server.socket);
    r = redis_create(wrong, why, sizeof(why));
    assert_non_null(r);
    kv = kv_redis_create(r, "denied");
    assert_non_null(kv);

    assert_int_equal(kv_get(kv, SCOPE, B("k"), &entry), FAAS_EDENIED);
    assert_non_null(strstr(redis_why(r), "WRONGPASS"));
    assert_null(strstr(redis_why(r), "wrong@"));

    /* and it is not asked each time */

    assert_int_not_equal(r->nodes[0]->until_ms, 0);
    assert_int_equal(kv_get(kv, SCOPE, B("k"), &entry), FAAS_EDENIED);

    kv_redis_destroy(kv);
    redis_destroy(r);
}


static void
test_keys_of_others_are_denied(void **state)
{
    kv_t             *kv;
    redis_t          *r;
    char              why[256], other[300];
    faas_kv_entry_t   entry;

    (void) state;

    snprintf(other, sizeof(other), "%s?prefix=other:", url);
    r = redis_create(other, why, sizeof(why));
    assert_non_null(r);
    kv = kv_redis_create(r, "denied");
    assert_non_null(kv);

    assert_int_equal(kv_get(kv, SCOPE, B("k"), &entry), FAAS_EDENIED);
    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_EDENIED);
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("v"), 0, 0, NULL),
                     FAAS_EDENIED);

    kv_redis_destroy(kv);
    redis_destroy(r);
}


/* connections are killed all the time: what was acknowledged is there, and no
   more than that and what was not known */
static void
test_acknowledged_is_done_while_connections_are_killed(void **state)
{
    int               rc, ok, unknown, status;
    kv_t             *kv = test_open();
    pid_t             pid;
    int64_t           end, sum;
    redisContext     *c;
    faas_kv_entry_t   entry;

    (void) state;

    pid = fork();

    if (pid == 0) {
        c = server_connect(&server);

        for ( ;; ) {
            for (ok = 0; ok < 10; ok++) {
                server_pause();
            }

            freeReplyObject(redisCommand(c, "CLIENT KILL USER fn"));
        }
    }

    ok = 0;
    unknown = 0;

    for (end = test_monotonic_ms() + 60000;
         ok < 3000 && test_monotonic_ms() < end; )
    {
        rc = kv_incr(kv, SCOPE, B("n"), 1, NULL);
        assert_true(rc == FAAS_OK || rc == FAAS_ETIMEDOUT
                    || rc == FAAS_EUNAVAILABLE);
        ok += rc == FAAS_OK;
        unknown += rc == FAAS_ETIMEDOUT;

        rc = kv_get(kv, SCOPE, B("n"), &entry);
        assert_true(rc == FAAS_OK || rc == FAAS_EUNAVAILABLE
                    || (rc == FAAS_ENOTFOUND && ok == 0));

        if (rc == FAAS_EUNAVAILABLE) {
            server_pause();
        }
    }

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);

    do {
        server_pause();
        rc = kv_get(kv, SCOPE, B("n"), &entry);
    } while (rc == FAAS_EUNAVAILABLE);

    assert_int_equal(rc, FAAS_OK);
    assert_int_equal(kv_number(entry.value.data, entry.value.size, &sum),
                     FAAS_OK);
    assert_int_equal(ok, 3000);
    assert_in_range(sum, ok, ok + unknown);

    kv_close(kv);
}


/* wherever a writer is killed: each key has value, version and index entry */
static void
test_a_killed_writer_leaves_nothing_half_written(void **state)
{
    int             i, k, status, gate[2];
    char            key[32], *value;
    kv_t           *kv = test_open();
    pid_t           pid;
    test_scan_t     scan;
    struct timespec pause = { 0, 0 };

    (void) state;

    value = test_alloc(NULL, FAAS_KV_VALUE_MAX);

    for (i = 0; i < 40; i++) {
        assert_int_equal(pipe(gate), 0);
        pid = fork();

        if (pid == 0) {
            kv = kv_open(test_space_name);

            for (k = 0; ; k++) {
                snprintf(key, sizeof(key), "k%d-%d", i, k % 3);
                (void) kv_set(kv, SCOPE, faas_text(key),
                              test_bytes(value, FAAS_KV_VALUE_MAX / 4), 0,
                              KV_ANY, NULL);
                (void) !write(gate[1], "", 1);
            }
        }

        assert_int_equal(read(gate[0], key, 1), 1);
        pause.tv_nsec = i * 50000;
        (void) nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        (void) close(gate[0]);
        (void) close(gate[1]);
    }

    memset(&scan, 0, sizeof(scan));
    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 1000, test_scan_each,
                             &scan), FAAS_OK);
    assert_int_equal(scan.count, index_size());
    assert_int_equal(scan.count, keys_of_space());

    kv_close(kv);
}


static void
test_a_fork_is_refused(void **state)
{
    int               status;
    kv_t             *kv = test_open();
    pid_t             pid;
    faas_kv_entry_t   entry;

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);

    pid = fork();

    if (pid == 0) {
        status = kv_get(kv, SCOPE, B("k"), &entry) == FAAS_EUNSUPPORTED
                 && test_put(kv, B("k"), B("w")) == FAAS_EUNSUPPORTED ? 0 : 1;
        redis_destroy(redis_of(kv));
        _exit(status);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);

    test_is(kv, B("k"), B("v"));

    kv_close(kv);
}


int
main(void)
{
    int  rc;

    const struct CMUnitTest  tests[] = {
        KV_CONFORMANCE,
        KV_TEST(test_a_key_is_a_hash_and_an_entry_of_the_index),
        KV_TEST(test_a_foreign_type_in_place_of_a_key_is_corrupt),
        KV_TEST(test_scan_takes_expired_keys_out_of_the_index),
        KV_TEST(test_a_reader_takes_nothing_out_of_the_index),
        KV_TEST(test_what_is_written_meanwhile_stays_in_the_index),
        KV_TEST(test_no_key_is_lost_from_the_index),
        KV_TEST(test_the_index_of_expired_keys_is_bounded),
        KV_TEST(test_memory_full_is_said_and_changes_nothing),
        KV_TEST(test_a_conflict_that_does_not_end_is_busy),
        KV_TEST(test_a_connection_that_was_closed_is_made_anew),
        KV_TEST(test_a_server_that_sleeps_is_not_waited_for),
        KV_TEST(test_a_wrong_password_is_denied),
        KV_TEST(test_keys_of_others_are_denied),
        KV_TEST(test_acknowledged_is_done_while_connections_are_killed),
        KV_TEST(test_a_killed_writer_leaves_nothing_half_written),
        KV_TEST(test_a_fork_is_refused),
        KV_TEST(test_stopped_and_started_again)
    };

    if (server_start(&server, 0, NULL) != 0
        || server_tell(&server, "ACL SETUSER fn on >" PASSWORD
                       " ~faas:* " RULES)
           != 0)
    {
        fprintf(stderr, "no redis-server\n");
        server_remove(&server);
        return 1;
    }

    snprintf(url, sizeof(url), "redis+unix://fn:%s@%s", ENCODED,
             server.socket);

    rc = cmocka_run_group_tests(tests, NULL, NULL);
    server_remove(&server);

    return rc;
}
