
/*
 * What every key-value engine must do, run against each of them through the
 * checks of kv.c.  A test program includes this and defines
 *
 *     static kv_t *kv_open(const char *space);
 *     static void kv_close(kv_t *kv);
 *
 * kv_open() makes a handle of its own each time, also in a forked child, that
 * is bounded by the scope of each call; two handles of one space see the same
 * entries.  Each test uses spaces that no other one used.  The tests are
 * listed by KV_CONFORMANCE.  NULL from kv_open() fails the test.
 */


#ifndef KV_CONFORMANCE_H_INCLUDED
#define KV_CONFORMANCE_H_INCLUDED


#include <sys/wait.h>
#include <unistd.h>

#include "baas_scope.h"

#include "kv.h"


#define KV_CONFORMANCE_WRITERS  4
#define KV_CONFORMANCE_ROUNDS   100


static kv_t *kv_open(const char *space);
static void kv_close(kv_t *kv);


static char  test_space_name[64];


static int
test_setup(void **state)
{
    static unsigned  number;

    (void) state;

    snprintf(test_space_name, sizeof(test_space_name), "t%d-%u",
             (int) getpid(), number++);

    return 0;
}


static kv_t *
test_open(void)
{
    kv_t  *kv;

    kv = kv_open(test_space_name);
    assert_non_null(kv);

    return kv;
}


/* -- short forms ----------------------------------------------------------- */

static int
test_put(kv_t *kv, faas_bytes_t key, faas_bytes_t value)
{
    return kv_set(kv, SCOPE, key, value, 0, KV_ANY, NULL);
}


static void
test_is(kv_t *kv, faas_bytes_t key, faas_bytes_t value)
{
    faas_kv_entry_t  entry;

    memset(&entry, 0xa5, sizeof(entry));

    assert_int_equal(kv_get(kv, SCOPE, key, &entry), FAAS_OK);

    assert_int_equal(entry.key.size, key.size);
    assert_memory_equal(entry.key.data, key.data, key.size);
    assert_ptr_not_equal(entry.key.data, key.data);
    assert_int_equal(entry.value.size, value.size);

    if (value.size != 0) {
        assert_memory_equal(entry.value.data, value.data, value.size);
    }

    assert_int_equal(((const char *) entry.value.data)[value.size], 0);
    assert_true(entry.version != 0 && entry.version <= INT64_MAX);
}


static void
test_absent(kv_t *kv, faas_bytes_t key)
{
    faas_kv_entry_t  entry;

    assert_int_equal(kv_get(kv, SCOPE, key, &entry), FAAS_ENOTFOUND);
}


static uint64_t
test_version(kv_t *kv, faas_bytes_t key)
{
    faas_kv_entry_t  entry;

    assert_int_equal(kv_get(kv, SCOPE, key, &entry), FAAS_OK);

    return entry.version;
}


static int64_t
test_ttl(kv_t *kv, faas_bytes_t key)
{
    faas_kv_entry_t  entry;

    assert_int_equal(kv_get(kv, SCOPE, key, &entry), FAAS_OK);

    return entry.ttl_ms;
}


/* sets a key and waits until its time to live is over */

static void
test_put_expired(kv_t *kv, faas_bytes_t key, faas_bytes_t value)
{
    int              rc;
    int64_t          end;
    struct timespec  pause;
    faas_kv_entry_t  entry;

    pause.tv_sec = 0;
    pause.tv_nsec = 1000000;

    assert_int_equal(kv_set(kv, SCOPE, key, value, 20, KV_ANY, NULL), FAAS_OK);

    end = test_monotonic_ms() + 10000;

    do {
        nanosleep(&pause, NULL);
        rc = kv_get(kv, SCOPE, key, &entry);
    } while (rc == FAAS_OK && test_monotonic_ms() < end);

    assert_int_equal(rc, FAAS_ENOTFOUND);
}


/* -- get and set ----------------------------------------------------------- */

static void
test_get_of_no_key_is_not_found(void **state)
{
    kv_t  *kv = test_open();

    (void) state;

    test_absent(kv, B("k"));

    kv_close(kv);
}


static void
test_set_is_got(void **state)
{
    kv_t  *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    test_is(kv, B("k"), B("v"));

    assert_int_equal(test_put(kv, B("k"), B("another")), FAAS_OK);
    test_is(kv, B("k"), B("another"));

    test_absent(kv, B("K"));
    test_absent(kv, B("k\0"));
    test_absent(kv, B("kk"));

    kv_close(kv);
}


static void
test_keys_and_values_are_any_bytes(void **state)
{
    size_t  i;
    kv_t   *kv = test_open();

    static const struct {
        const char  *p;
        size_t       n;
    } bytes[] = {
        { "\0", 1 }, { "\0\0", 2 }, { "a\0b", 3 }, { "a\0c", 3 },
        { "\xff", 1 }, { "\xff\xff", 2 }, { "\xc3\x28", 2 },
        { "\xed\xa0\x80", 3 }, { "\r\n$5\r\n", 6 }, { " ", 1 }, { "'", 1 },
        { "\"; --", 5 }, { "%", 1 }, { "*", 1 }, { "{x}", 3 }, { "\x80", 1 },
        { "\xf4\x90\x80\x80", 4 }, { "k:", 2 },
    };

    (void) state;

    for (i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        assert_int_equal(test_put(kv, test_bytes(bytes[i].p, bytes[i].n),
                                  test_bytes(bytes[i].p, bytes[i].n)),
                         FAAS_OK);
    }

    for (i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        test_is(kv, test_bytes(bytes[i].p, bytes[i].n),
                test_bytes(bytes[i].p, bytes[i].n));
    }

    kv_close(kv);
}


static void
test_value_may_be_empty(void **state)
{
    kv_t  *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("k"), NONE), FAAS_OK);
    test_is(kv, B("k"), NONE);

    assert_int_equal(test_put(kv, B("k"), B("")), FAAS_OK);
    test_is(kv, B("k"), NONE);

    kv_close(kv);
}


static void
test_key_and_value_at_their_limits(void **state)
{
    char   *value;
    char    key[FAAS_KV_KEY_MAX];
    size_t  i;
    kv_t   *kv = test_open();

    (void) state;

    value = test_alloc(NULL, FAAS_KV_VALUE_MAX);

    for (i = 0; i < FAAS_KV_VALUE_MAX; i++) {
        value[i] = (char) (i * 2654435761u >> 13);
    }

    memset(key, 0xfe, sizeof(key));

    assert_int_equal(test_put(kv, test_bytes(key, sizeof(key)),
                              test_bytes(value, FAAS_KV_VALUE_MAX)), FAAS_OK);
    test_is(kv, test_bytes(key, sizeof(key)),
            test_bytes(value, FAAS_KV_VALUE_MAX));

    kv_close(kv);
}


static void
test_key_and_value_over_their_limits(void **state)
{
    char             key[FAAS_KV_KEY_MAX + 1];
    char            *value;
    faas_bytes_t     large;
    faas_kv_entry_t  entry;
    kv_t            *kv = test_open();

    (void) state;

    value = test_alloc(NULL, FAAS_KV_VALUE_MAX + 1);
    memset(key, 'k', sizeof(key));
    large = test_bytes(key, sizeof(key));

    assert_int_equal(test_put(kv, B("k"), B("old")), FAAS_OK);
    assert_int_equal(test_put(kv, B("k"),
                              test_bytes(value, FAAS_KV_VALUE_MAX + 1)),
                     FAAS_ETOOLARGE);
    test_is(kv, B("k"), B("old"));

    assert_int_equal(test_put(kv, large, B("v")), FAAS_ETOOLARGE);
    assert_int_equal(kv_get(kv, SCOPE, large, &entry), FAAS_ETOOLARGE);
    assert_int_equal(kv_remove(kv, SCOPE, large), FAAS_ETOOLARGE);
    assert_int_equal(kv_incr(kv, SCOPE, large, 1, NULL), FAAS_ETOOLARGE);
    assert_int_equal(kv_expire(kv, SCOPE, large, 1), FAAS_ETOOLARGE);

    kv_close(kv);
}


static void
test_key_that_cannot_be(void **state)
{
    faas_kv_entry_t  entry;
    kv_t            *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, NONE, B("v")), FAAS_EINVAL);
    assert_int_equal(test_put(kv, test_bytes(NULL, 1), B("v")), FAAS_EINVAL);
    assert_int_equal(test_put(kv, B("k"), test_bytes(NULL, 1)), FAAS_EINVAL);
    assert_int_equal(kv_get(kv, SCOPE, NONE, &entry), FAAS_EINVAL);
    assert_int_equal(kv_remove(kv, SCOPE, NONE), FAAS_EINVAL);
    assert_int_equal(kv_incr(kv, SCOPE, NONE, 1, NULL), FAAS_EINVAL);
    assert_int_equal(kv_expire(kv, SCOPE, NONE, 1), FAAS_EINVAL);
    test_absent(kv, B("k"));

    kv_close(kv);
}


static void
test_delete(void **state)
{
    kv_t  *kv = test_open();

    (void) state;

    assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_ENOTFOUND);
    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    assert_int_equal(test_put(kv, B("l"), B("w")), FAAS_OK);
    assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_OK);
    test_absent(kv, B("k"));
    test_is(kv, B("l"), B("w"));
    assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_ENOTFOUND);

    kv_close(kv);
}


static void
test_spaces_are_apart(void **state)
{
    char   other[80];
    kv_t  *a, *b;

    (void) state;

    snprintf(other, sizeof(other), "%so", test_space_name);

    a = test_open();
    b = kv_open(other);
    assert_non_null(b);

    assert_int_equal(test_put(a, B("k"), B("a")), FAAS_OK);
    test_absent(b, B("k"));
    assert_int_equal(test_put(b, B("k"), B("b")), FAAS_OK);
    test_is(a, B("k"), B("a"));
    assert_int_equal(kv_remove(b, SCOPE, B("k")), FAAS_OK);
    test_is(a, B("k"), B("a"));

    kv_close(b);
    kv_close(a);
}


static void
test_handles_see_what_others_wrote(void **state)
{
    kv_t     *a, *b;
    int64_t   sum;

    (void) state;

    a = test_open();
    b = test_open();

    assert_int_equal(test_put(a, B("k"), B("1")), FAAS_OK);
    test_is(b, B("k"), B("1"));
    assert_int_equal(kv_incr(b, SCOPE, B("k"), 1, &sum), FAAS_OK);
    test_is(a, B("k"), B("2"));
    assert_int_equal(test_version(a, B("k")), test_version(b, B("k")));
    assert_int_equal(kv_remove(a, SCOPE, B("k")), FAAS_OK);
    test_absent(b, B("k"));

    kv_close(b);
    kv_close(a);
}


static void
test_readonly_space_is_only_read(void **state)
{
    kv_t  *a, *b;

    (void) state;

    a = test_open();
    assert_int_equal(test_put(a, B("k"), B("1")), FAAS_OK);

    b = test_open();
    b->readonly = 1;

    test_is(b, B("k"), B("1"));
    assert_int_equal(test_put(b, B("k"), B("2")), FAAS_EREADONLY);
    assert_int_equal(kv_remove(b, SCOPE, B("k")), FAAS_EREADONLY);
    assert_int_equal(kv_incr(b, SCOPE, B("k"), 1, NULL), FAAS_EREADONLY);
    assert_int_equal(kv_expire(b, SCOPE, B("k"), 1), FAAS_EREADONLY);
    test_is(a, B("k"), B("1"));

    kv_close(b);
    kv_close(a);
}


static void
test_no_memory_for_a_result(void **state)
{
    int              rc;
    long             n;
    faas_kv_entry_t  entry;
    kv_t            *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);

    for (n = 0; /* void */ ; n++) {
        assert_true(n < 100);

        test_allocs = n;
        rc = kv_get(kv, SCOPE, B("k"), &entry);
        test_allocs = -1;

        if (rc == FAAS_OK) {
            break;
        }

        assert_int_equal(rc, FAAS_EFULL);
    }

    assert_true(n > 0);
    test_is(kv, B("k"), B("v"));

    kv_close(kv);
}


/* -- versions -------------------------------------------------------------- */

static void
test_each_value_has_a_version_of_its_own(void **state)
{
    int       i, k;
    uint64_t  version[64];
    kv_t     *kv = test_open();

    (void) state;

    for (i = 0; i < 64; i++) {
        assert_int_equal(kv_set(kv, SCOPE, B("k"), B("same"), 0, KV_ANY,
                                &version[i]), FAAS_OK);
        assert_int_equal(test_version(kv, B("k")), version[i]);
        assert_true(version[i] != 0 && version[i] <= INT64_MAX);

        for (k = 0; k < i; k++) {
            assert_true(version[k] != version[i]);
        }

        if (i % 3 == 0) {
            assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_OK);
        }
    }

    kv_close(kv);
}


static void
test_cas_by_version(void **state)
{
    uint64_t  first, second, third;
    kv_t     *kv = test_open();

    (void) state;

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("1"), 0, KV_ANY, &first),
                     FAAS_OK);
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("2"), 0, first, &second),
                     FAAS_OK);
    assert_int_equal(test_version(kv, B("k")), second);
    test_is(kv, B("k"), B("2"));

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("3"), 0, first, &third),
                     FAAS_ECONFLICT);
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("3"), 0, second + 1, &third),
                     FAAS_ECONFLICT);
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("3"), 0,
                            (uint64_t) INT64_MAX + 1, &third),
                     FAAS_ECONFLICT);
    test_is(kv, B("k"), B("2"));
    assert_int_equal(test_version(kv, B("k")), second);

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("3"), 0, second, NULL),
                     FAAS_OK);
    test_is(kv, B("k"), B("3"));

    kv_close(kv);
}


static void
test_cas_of_no_key(void **state)
{
    uint64_t  version;
    kv_t     *kv = test_open();

    (void) state;

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("1"), 0, 4711, &version),
                     FAAS_ECONFLICT);
    test_absent(kv, B("k"));

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("1"), 0, 0, &version),
                     FAAS_OK);
    assert_int_equal(test_version(kv, B("k")), version);

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("2"), 0, 0, NULL),
                     FAAS_ECONFLICT);
    test_is(kv, B("k"), B("1"));

    /* a version that was, of a key that is gone */

    assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_OK);
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("2"), 0, version, NULL),
                     FAAS_ECONFLICT);
    test_absent(kv, B("k"));

    kv_close(kv);
}


static void
test_cas_after_expiry(void **state)
{
    uint64_t  version;
    kv_t     *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("1")), FAAS_OK);
    version = test_version(kv, B("k"));
    assert_int_equal(kv_expire(kv, SCOPE, B("k"), 100000), FAAS_OK);
    assert_int_equal(test_version(kv, B("k")), version);

    test_put_expired(kv, B("k"), B("1"));

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("2"), 0, version, NULL),
                     FAAS_ECONFLICT);
    test_absent(kv, B("k"));
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("2"), 0, 0, NULL), FAAS_OK);
    test_is(kv, B("k"), B("2"));
    assert_int_equal(test_ttl(kv, B("k")), 0);

    kv_close(kv);
}


/* -- times to live --------------------------------------------------------- */

static void
test_times_to_live(void **state)
{
    int64_t   ttl;
    uint64_t  version;
    kv_t     *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    assert_int_equal(test_ttl(kv, B("k")), 0);

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("v"), 100000, KV_ANY,
                            &version), FAAS_OK);
    ttl = test_ttl(kv, B("k"));
    assert_true(ttl > 0 && ttl <= 100000);

    assert_int_equal(kv_expire(kv, SCOPE, B("k"), 900000), FAAS_OK);
    ttl = test_ttl(kv, B("k"));
    assert_true(ttl > 100000 && ttl <= 900000);

    /* 0 is for ever, by expire, set and cas */

    assert_int_equal(kv_expire(kv, SCOPE, B("k"), 0), FAAS_OK);
    assert_int_equal(test_ttl(kv, B("k")), 0);
    assert_int_equal(test_version(kv, B("k")), version);

    assert_int_equal(kv_expire(kv, SCOPE, B("k"), 100000), FAAS_OK);
    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    assert_int_equal(test_ttl(kv, B("k")), 0);

    assert_int_equal(kv_expire(kv, SCOPE, B("k"), 100000), FAAS_OK);
    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("v"), 0,
                            test_version(kv, B("k")), NULL), FAAS_OK);
    assert_int_equal(test_ttl(kv, B("k")), 0);

    kv_close(kv);
}


static void
test_times_to_live_that_cannot_be(void **state)
{
    size_t  i;
    kv_t   *kv = test_open();

    static const int64_t  bad[] = {
        -1, INT64_MIN, INT64_MAX, KV_TTL_MAX_MS + 1
    };

    (void) state;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kv_set(kv, SCOPE, B("k"), B("w"), bad[i], KV_ANY,
                                NULL), FAAS_EINVAL);
        assert_int_equal(kv_expire(kv, SCOPE, B("k"), bad[i]), FAAS_EINVAL);
    }

    test_is(kv, B("k"), B("v"));
    assert_int_equal(test_ttl(kv, B("k")), 0);

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("w"), KV_TTL_MAX_MS, KV_ANY,
                            NULL), FAAS_OK);
    test_is(kv, B("k"), B("w"));

    kv_close(kv);
}


static void
test_expired_keys_are_gone(void **state)
{
    int64_t  sum;
    kv_t    *kv = test_open();

    (void) state;

    test_put_expired(kv, B("a"), B("41"));
    assert_int_equal(kv_remove(kv, SCOPE, B("a")), FAAS_ENOTFOUND);

    test_put_expired(kv, B("b"), B("41"));
    assert_int_equal(kv_expire(kv, SCOPE, B("b"), 1000), FAAS_ENOTFOUND);
    assert_int_equal(kv_expire(kv, SCOPE, B("b"), 0), FAAS_ENOTFOUND);
    test_absent(kv, B("b"));

    test_put_expired(kv, B("c"), B("41"));
    assert_int_equal(kv_incr(kv, SCOPE, B("c"), 1, &sum), FAAS_OK);
    assert_int_equal(sum, 1);
    assert_int_equal(test_ttl(kv, B("c")), 0);

    test_put_expired(kv, B("d"), B("no number"));
    assert_int_equal(kv_incr(kv, SCOPE, B("d"), 1, &sum), FAAS_OK);
    assert_int_equal(sum, 1);

    test_put_expired(kv, B("e"), B("41"));
    assert_int_equal(test_put(kv, B("e"), B("new")), FAAS_OK);
    test_is(kv, B("e"), B("new"));
    assert_int_equal(test_ttl(kv, B("e")), 0);

    assert_int_equal(kv_expire(kv, SCOPE, B("none"), 1000), FAAS_ENOTFOUND);

    kv_close(kv);
}


static void
test_expired_by_expire(void **state)
{
    int              rc;
    int64_t          end;
    struct timespec  pause;
    faas_kv_entry_t  entry;
    kv_t            *kv = test_open();

    (void) state;

    pause.tv_sec = 0;
    pause.tv_nsec = 1000000;

    assert_int_equal(test_put(kv, B("k"), B("v")), FAAS_OK);
    assert_int_equal(kv_expire(kv, SCOPE, B("k"), 10), FAAS_OK);

    end = test_monotonic_ms() + 10000;

    do {
        nanosleep(&pause, NULL);
        rc = kv_get(kv, SCOPE, B("k"), &entry);
    } while (rc == FAAS_OK && test_monotonic_ms() < end);

    assert_int_equal(rc, FAAS_ENOTFOUND);

    kv_close(kv);
}


/* -- numbers --------------------------------------------------------------- */

static void
test_incr(void **state)
{
    int64_t   sum;
    uint64_t  version;
    kv_t     *kv = test_open();

    (void) state;

    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 5, &sum), FAAS_OK);
    assert_int_equal(sum, 5);
    test_is(kv, B("k"), B("5"));
    assert_int_equal(test_ttl(kv, B("k")), 0);
    version = test_version(kv, B("k"));

    assert_int_equal(kv_incr(kv, SCOPE, B("k"), -7, &sum), FAAS_OK);
    assert_int_equal(sum, -2);
    test_is(kv, B("k"), B("-2"));
    assert_true(test_version(kv, B("k")) != version);

    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 0, &sum), FAAS_OK);
    assert_int_equal(sum, -2);
    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 2, NULL), FAAS_OK);
    test_is(kv, B("k"), B("0"));

    assert_int_equal(test_put(kv, B("k"), B("41")), FAAS_OK);
    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 1, &sum), FAAS_OK);
    assert_int_equal(sum, 42);

    kv_close(kv);
}


static void
test_incr_keeps_the_time_to_live(void **state)
{
    int64_t  ttl;
    kv_t    *kv = test_open();

    (void) state;

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("1"), 100000, KV_ANY, NULL),
                     FAAS_OK);
    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 1, NULL), FAAS_OK);

    ttl = test_ttl(kv, B("k"));
    assert_true(ttl > 0 && ttl <= 100000);

    kv_close(kv);
}


static void
test_incr_over_64_bits(void **state)
{
    int64_t   sum;
    uint64_t  version;
    kv_t     *kv = test_open();

    (void) state;

    assert_int_equal(kv_incr(kv, SCOPE, B("k"), INT64_MAX, &sum), FAAS_OK);
    assert_int_equal(sum, INT64_MAX);
    version = test_version(kv, B("k"));
    assert_int_equal(kv_incr(kv, SCOPE, B("k"), 1, &sum), FAAS_EINVAL);
    test_is(kv, B("k"), B("9223372036854775807"));
    assert_int_equal(test_version(kv, B("k")), version);

    assert_int_equal(kv_incr(kv, SCOPE, B("l"), INT64_MIN, &sum), FAAS_OK);
    assert_int_equal(sum, INT64_MIN);
    assert_int_equal(kv_incr(kv, SCOPE, B("l"), -1, &sum), FAAS_EINVAL);
    test_is(kv, B("l"), B("-9223372036854775808"));
    assert_int_equal(kv_incr(kv, SCOPE, B("l"), INT64_MAX, &sum), FAAS_OK);
    assert_int_equal(sum, -1);

    kv_close(kv);
}


static void
test_incr_of_no_number(void **state)
{
    size_t    i;
    int64_t   sum;
    uint64_t  version;
    kv_t     *kv = test_open();

    static const struct {
        const char  *p;
        size_t       n;
    } bad[] = {
        { "", 0 }, { "x", 1 }, { "-", 1 }, { "1x", 2 }, { "x1", 2 },
        { " 1", 2 }, { "1 ", 2 }, { "+1", 2 }, { "1\0", 2 }, { "\0", 1 },
        { "1.0", 3 }, { "1e3", 3 }, { "0x1", 3 }, { "9223372036854775808", 19 },
        { "-9223372036854775809", 20 }, { "99999999999999999999", 20 },
        { "123456789012345678901234567890", 30 }, { "01", 2 }, { "-0", 2 },
        { "--1", 3 }, { "1\n", 2 }, { "\xd9\xa1", 2 },
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kv_set(kv, SCOPE, B("k"),
                                test_bytes(bad[i].p, bad[i].n), 0, KV_ANY,
                                &version), FAAS_OK);
        assert_int_equal(kv_incr(kv, SCOPE, B("k"), 1, &sum), FAAS_EINVAL);
        test_is(kv, B("k"), test_bytes(bad[i].p, bad[i].n));
        assert_int_equal(test_version(kv, B("k")), version);
    }

    kv_close(kv);
}


/* -- scans ----------------------------------------------------------------- */

typedef struct {
    kv_t         *kv;
    const char   *stop;                /* at this key, with 7 */
    int           remove;              /* each key seen */
    int           count;
    size_t        size;
    char          keys[8192];          /* seen, each with a '|' behind it */
    char          last[FAAS_KV_KEY_MAX];
    size_t        last_size;
} test_scan_t;


static int
test_scan_each(const faas_kv_entry_t *entry, void *data)
{
    test_scan_t  *scan = data;

    assert_true(entry->key.size > 0 && entry->key.size <= FAAS_KV_KEY_MAX);
    assert_true(scan->size + entry->key.size + 2 < sizeof(scan->keys));
    assert_int_equal(((const char *) entry->value.data)[entry->value.size], 0);
    assert_true(entry->version != 0);

    memcpy(scan->keys + scan->size, entry->key.data, entry->key.size);
    scan->size += entry->key.size;
    scan->keys[scan->size++] = '|';
    scan->keys[scan->size] = '\0';

    memcpy(scan->last, entry->key.data, entry->key.size);
    scan->last_size = entry->key.size;
    scan->count++;

    if (scan->remove) {
        assert_int_equal(kv_remove(scan->kv, SCOPE, entry->key), FAAS_OK);
    }

    if (scan->stop != NULL && strlen(scan->stop) == entry->key.size
        && memcmp(scan->stop, entry->key.data, entry->key.size) == 0)
    {
        return 7;
    }

    return 0;
}


static void
test_scan_is(kv_t *kv, faas_bytes_t prefix, faas_bytes_t after,
    uint32_t limit, const char *keys, size_t size)
{
    test_scan_t  scan;

    memset(&scan, 0, sizeof(scan));

    assert_int_equal(kv_scan(kv, SCOPE, prefix, after, limit, test_scan_each,
                             &scan), FAAS_OK);
    assert_string_equal(scan.keys, keys);
    assert_int_equal(scan.size, size);
    assert_memory_equal(scan.keys, keys, size);
}

#define SCAN_IS(kv, prefix, after, limit, keys)                               \
    test_scan_is(kv, prefix, after, limit, keys, sizeof(keys) - 1)


static void
test_scan_is_in_order_of_bytes(void **state)
{
    kv_t  *kv = test_open();

    (void) state;

    SCAN_IS(kv, NONE, NONE, 1000, "");

    assert_int_equal(test_put(kv, B("b"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("a"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("ab"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("B"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("\xff"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("\xff\xff"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("\x80"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("a\xff"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("\x01"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("10"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("9"), B("1")), FAAS_OK);

    SCAN_IS(kv, NONE, NONE, 1000,
            "\x01|10|9|B|a|ab|a\xff|b|\x80|\xff|\xff\xff|");
    SCAN_IS(kv, B("a"), NONE, 1000, "a|ab|a\xff|");
    SCAN_IS(kv, B("ab"), NONE, 1000, "ab|");
    SCAN_IS(kv, B("a\xff"), NONE, 1000, "a\xff|");
    SCAN_IS(kv, B("\xff"), NONE, 1000, "\xff|\xff\xff|");
    SCAN_IS(kv, B("\xff\xff"), NONE, 1000, "\xff\xff|");
    SCAN_IS(kv, B("\xff\xff\xff"), NONE, 1000, "");
    SCAN_IS(kv, B("c"), NONE, 1000, "");
    SCAN_IS(kv, B("["), NONE, 1000, "");
    SCAN_IS(kv, B("*"), NONE, 1000, "");

    kv_close(kv);
}


static void
test_scan_of_keys_with_zeros(void **state)
{
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    memset(&scan, 0, sizeof(scan));

    assert_int_equal(test_put(kv, B("a\0b"), B("\0v\0")), FAAS_OK);
    assert_int_equal(test_put(kv, B("a"), B("")), FAAS_OK);
    assert_int_equal(test_put(kv, B("a\0"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("a\x01"), B("1")), FAAS_OK);

    assert_int_equal(kv_scan(kv, SCOPE, B("a\0"), NONE, 10, test_scan_each,
                             &scan), FAAS_OK);
    assert_int_equal(scan.size, 7);
    assert_memory_equal(scan.keys, "a\0|a\0b|", 7);

    memset(&scan, 0, sizeof(scan));

    assert_int_equal(kv_scan(kv, SCOPE, B("a"), B("a\0"), 10, test_scan_each,
                             &scan), FAAS_OK);
    assert_int_equal(scan.size, 7);
    assert_memory_equal(scan.keys, "a\0b|a\x01|", 7);

    kv_close(kv);
}


static void
test_scan_goes_on_after_a_key(void **state)
{
    kv_t  *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("a1"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("a2"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("a3"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("b1"), B("1")), FAAS_OK);

    SCAN_IS(kv, B("a"), B("a1"), 1000, "a2|a3|");
    SCAN_IS(kv, B("a"), B("a11"), 1000, "a2|a3|");
    SCAN_IS(kv, B("a"), B("a3"), 1000, "");
    SCAN_IS(kv, B("a"), B("A"), 1000, "a1|a2|a3|");
    SCAN_IS(kv, B("a"), B("b"), 1000, "");
    SCAN_IS(kv, B("a"), B("a"), 1000, "a1|a2|a3|");
    SCAN_IS(kv, NONE, B("a2"), 1000, "a3|b1|");
    SCAN_IS(kv, NONE, B("b1"), 1000, "");
    SCAN_IS(kv, B("a"), NONE, 2, "a1|a2|");
    SCAN_IS(kv, B("a"), B("a1"), 1, "a2|");

    kv_close(kv);
}


static void
test_scan_in_pages_sees_each_key_once(void **state)
{
    int          i, seen;
    char         key[32];
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    for (i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "p%03d", i);
        assert_int_equal(test_put(kv, faas_text(key), faas_text(key)),
                         FAAS_OK);
    }

    memset(&scan, 0, sizeof(scan));
    seen = 0;

    do {
        scan.count = 0;
        scan.size = 0;

        assert_int_equal(kv_scan(kv, SCOPE, B("p"),
                                 test_bytes(scan.last, scan.last_size), 7,
                                 test_scan_each, &scan), FAAS_OK);

        for (i = 0; i < scan.count; i++) {
            snprintf(key, sizeof(key), "p%03d|", seen++);
            assert_memory_equal(scan.keys + i * 5, key, 5);
        }
    } while (scan.count == 7);

    assert_int_equal(seen, 300);

    kv_close(kv);
}


static void
test_scan_is_ended_by_its_caller(void **state)
{
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("a"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("b"), B("1")), FAAS_OK);
    assert_int_equal(test_put(kv, B("c"), B("1")), FAAS_OK);

    memset(&scan, 0, sizeof(scan));
    scan.stop = "b";

    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 1000, test_scan_each,
                             &scan), 7);
    assert_string_equal(scan.keys, "a|b|");

    kv_close(kv);
}


static void
test_scan_that_removes_what_it_sees(void **state)
{
    int          i;
    char         key[32];
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    for (i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "r%03d", i);
        assert_int_equal(test_put(kv, faas_text(key), B("1")), FAAS_OK);
    }

    memset(&scan, 0, sizeof(scan));
    scan.kv = kv;
    scan.remove = 1;

    assert_int_equal(kv_scan(kv, SCOPE, B("r"), NONE, 1000, test_scan_each,
                             &scan), FAAS_OK);
    assert_int_equal(scan.count, 300);

    SCAN_IS(kv, B("r"), NONE, 1000, "");

    kv_close(kv);
}


static void
test_scan_leaves_out_what_expired(void **state)
{
    kv_t  *kv = test_open();

    (void) state;

    assert_int_equal(test_put(kv, B("a"), B("1")), FAAS_OK);
    test_put_expired(kv, B("b"), B("1"));
    assert_int_equal(kv_set(kv, SCOPE, B("c"), B("1"), 100000, KV_ANY, NULL),
                     FAAS_OK);

    SCAN_IS(kv, NONE, NONE, 1000, "a|c|");
    SCAN_IS(kv, NONE, NONE, 2, "a|c|");
    SCAN_IS(kv, NONE, B("a"), 1, "c|");

    /* what is written again is there again */

    assert_int_equal(test_put(kv, B("b"), B("2")), FAAS_OK);
    SCAN_IS(kv, NONE, NONE, 1000, "a|b|c|");

    kv_close(kv);
}


static int
test_scan_one(const faas_kv_entry_t *entry, void *data)
{
    *(faas_kv_entry_t *) data = *entry;

    assert_int_equal(entry->key.size, 1);
    assert_memory_equal(entry->key.data, "k", 1);
    assert_int_equal(entry->value.size, 3);
    assert_memory_equal(entry->value.data, "v\0w", 4);

    return 0;
}


static void
test_scan_gives_whole_entries(void **state)
{
    uint64_t         version;
    faas_kv_entry_t  entry;
    kv_t            *kv = test_open();

    (void) state;

    assert_int_equal(kv_set(kv, SCOPE, B("k"), B("v\0w"), 100000, KV_ANY,
                            &version), FAAS_OK);

    memset(&entry, 0, sizeof(entry));
    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 1, test_scan_one, &entry),
                     FAAS_OK);
    assert_int_equal(entry.version, version);
    assert_true(entry.ttl_ms > 0 && entry.ttl_ms <= 100000);

    assert_int_equal(kv_expire(kv, SCOPE, B("k"), 0), FAAS_OK);
    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 1, test_scan_one, &entry),
                     FAAS_OK);
    assert_int_equal(entry.ttl_ms, 0);

    kv_close(kv);
}


static void
test_scan_of_large_values(void **state)
{
    int          i;
    char         key[16];
    char        *value;
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    value = test_alloc(NULL, FAAS_KV_VALUE_MAX);
    memset(&scan, 0, sizeof(scan));

    for (i = 0; i < 8; i++) {
        snprintf(key, sizeof(key), "v%d", i);
        assert_int_equal(test_put(kv, faas_text(key),
                                  test_bytes(value, FAAS_KV_VALUE_MAX)),
                         FAAS_OK);
    }

    assert_int_equal(kv_scan(kv, SCOPE, B("v"), NONE, 1000, test_scan_each,
                             &scan), FAAS_OK);
    assert_string_equal(scan.keys, "v0|v1|v2|v3|v4|v5|v6|v7|");

    kv_close(kv);
}


static void
test_scan_that_cannot_be(void **state)
{
    char         large[FAAS_KV_KEY_MAX + 1];
    test_scan_t  scan;
    kv_t        *kv = test_open();

    (void) state;

    memset(&scan, 0, sizeof(scan));
    memset(large, 'k', sizeof(large));

    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 0, test_scan_each, &scan),
                     FAAS_EINVAL);
    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, KV_SCAN_MAX + 1,
                             test_scan_each, &scan), FAAS_EINVAL);
    assert_int_equal(kv_scan(kv, SCOPE, NONE, NONE, 1, NULL, &scan),
                     FAAS_EINVAL);
    assert_int_equal(kv_scan(kv, SCOPE, test_bytes(large, sizeof(large)),
                             NONE, 1, test_scan_each, &scan), FAAS_ETOOLARGE);
    assert_int_equal(kv_scan(kv, SCOPE, NONE, test_bytes(large, sizeof(large)),
                             1, test_scan_each, &scan), FAAS_ETOOLARGE);

    memset(large, 0xff, sizeof(large));
    assert_int_equal(test_put(kv, test_bytes(large, FAAS_KV_KEY_MAX), B("1")),
                     FAAS_OK);
    assert_int_equal(kv_scan(kv, SCOPE, test_bytes(large, FAAS_KV_KEY_MAX),
                             NONE, 10, test_scan_each, &scan), FAAS_OK);
    assert_int_equal(scan.count, 1);
    assert_int_equal(kv_scan(kv, SCOPE, NONE,
                             test_bytes(large, FAAS_KV_KEY_MAX), 10,
                             test_scan_each, &scan), FAAS_OK);
    assert_int_equal(scan.count, 1);

    kv_close(kv);
}


/* -- several at once ------------------------------------------------------- */

static int
test_writer(int (*run)(kv_t *kv))
{
    int    rc;
    kv_t  *kv;

    kv = kv_open(test_space_name);
    if (kv == NULL) {
        return 9;
    }

    rc = run(kv);
    kv_close(kv);

    return rc;
}


static void
test_writers(int (*run)(kv_t *kv))
{
    int    i, status;
    pid_t  pid[KV_CONFORMANCE_WRITERS];

    for (i = 0; i < KV_CONFORMANCE_WRITERS; i++) {
        pid[i] = fork();
        assert_true(pid[i] != -1);

        if (pid[i] == 0) {
            _exit(test_writer(run));
        }
    }

    for (i = 0; i < KV_CONFORMANCE_WRITERS; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}


static int
test_writer_incr(kv_t *kv)
{
    int  i;

    for (i = 0; i < KV_CONFORMANCE_ROUNDS; i++) {
        if (kv_incr(kv, test_scope_of(60000), B("n"), 1, NULL) != FAAS_OK) {
            return 1;
        }
    }

    return 0;
}


static void
test_incr_by_many_processes(void **state)
{
    int64_t  sum;
    kv_t    *kv;

    (void) state;

    test_writers(test_writer_incr);

    kv = test_open();
    assert_int_equal(kv_incr(kv, SCOPE, B("n"), 0, &sum), FAAS_OK);
    assert_int_equal(sum, KV_CONFORMANCE_WRITERS * KV_CONFORMANCE_ROUNDS);
    kv_close(kv);
}


static int
test_writer_cas(kv_t *kv)
{
    int              i, rc;
    char             text[32];
    int64_t          n;
    uint64_t         expected;
    faas_kv_entry_t  entry;

    for (i = 0; i < KV_CONFORMANCE_ROUNDS; i++) {

        do {
            rc = kv_get(kv, test_scope_of(60000), B("n"), &entry);

            n = 0;
            expected = 0;

            if (rc == FAAS_OK) {
                expected = entry.version;
                if (kv_number(entry.value.data, entry.value.size, &n)
                    != FAAS_OK)
                {
                    return 2;
                }

            } else if (rc != FAAS_ENOTFOUND) {
                return 3;
            }

            snprintf(text, sizeof(text), "%lld", (long long) n + 1);

            rc = kv_set(kv, test_scope_of(60000), B("n"), faas_text(text), 0,
                        expected, NULL);
        } while (rc == FAAS_ECONFLICT);

        if (rc != FAAS_OK) {
            return 4;
        }
    }

    return 0;
}


static void
test_cas_by_many_processes(void **state)
{
    int64_t  sum;
    kv_t    *kv;

    (void) state;

    test_writers(test_writer_cas);

    kv = test_open();
    assert_int_equal(kv_incr(kv, SCOPE, B("n"), 0, &sum), FAAS_OK);
    assert_int_equal(sum, KV_CONFORMANCE_WRITERS * KV_CONFORMANCE_ROUNDS);
    kv_close(kv);
}


#define KV_TEST(test)                                                         \
    cmocka_unit_test_setup_teardown(test, test_setup, test_teardown)

#define KV_CONFORMANCE                                                        \
    KV_TEST(test_get_of_no_key_is_not_found),                                 \
    KV_TEST(test_set_is_got),                                                 \
    KV_TEST(test_keys_and_values_are_any_bytes),                              \
    KV_TEST(test_value_may_be_empty),                                         \
    KV_TEST(test_key_and_value_at_their_limits),                              \
    KV_TEST(test_key_and_value_over_their_limits),                            \
    KV_TEST(test_key_that_cannot_be),                                         \
    KV_TEST(test_delete),                                                     \
    KV_TEST(test_spaces_are_apart),                                           \
    KV_TEST(test_handles_see_what_others_wrote),                              \
    KV_TEST(test_readonly_space_is_only_read),                                \
    KV_TEST(test_no_memory_for_a_result),                                     \
    KV_TEST(test_each_value_has_a_version_of_its_own),                        \
    KV_TEST(test_cas_by_version),                                             \
    KV_TEST(test_cas_of_no_key),                                              \
    KV_TEST(test_cas_after_expiry),                                           \
    KV_TEST(test_times_to_live),                                              \
    KV_TEST(test_times_to_live_that_cannot_be),                               \
    KV_TEST(test_expired_keys_are_gone),                                      \
    KV_TEST(test_expired_by_expire),                                          \
    KV_TEST(test_incr),                                                       \
    KV_TEST(test_incr_keeps_the_time_to_live),                                \
    KV_TEST(test_incr_over_64_bits),                                          \
    KV_TEST(test_incr_of_no_number),                                          \
    KV_TEST(test_scan_is_in_order_of_bytes),                                  \
    KV_TEST(test_scan_of_keys_with_zeros),                                    \
    KV_TEST(test_scan_goes_on_after_a_key),                                   \
    KV_TEST(test_scan_in_pages_sees_each_key_once),                           \
    KV_TEST(test_scan_is_ended_by_its_caller),                                \
    KV_TEST(test_scan_that_removes_what_it_sees),                             \
    KV_TEST(test_scan_leaves_out_what_expired),                               \
    KV_TEST(test_scan_gives_whole_entries),                                   \
    KV_TEST(test_scan_of_large_values),                                       \
    KV_TEST(test_scan_that_cannot_be),                                        \
    KV_TEST(test_incr_by_many_processes),                                     \
    KV_TEST(test_cas_by_many_processes)


#endif /* KV_CONFORMANCE_H_INCLUDED */
