/* objects: $(filter-out baas/kv_%,$(BAAS_REDIS)) baas/process_mark.c */
/* libs: -lhiredis */

/*
 * What errors of Redis mean, redirections, numbers, slots.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "redis_inner.h"


static redisReply *
reply_of(const char *wire)
{
    void         *reply;
    redisReader  *reader;

    reader = redisReaderCreate();
    assert_non_null(reader);
    assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);

    return reply;
}


static void
test_each_error_has_its_code(void **state)
{
    size_t  i;

    static const struct {
        const char  *text;
        int          code;
    } errors[] = {
        { "LOADING Redis is loading the dataset in memory",
          FAAS_EUNAVAILABLE },
        { "MASTERDOWN Link with MASTER is down and replica-serve-stale-data "
          "is set to 'no'.", FAAS_EUNAVAILABLE },
        { "CLUSTERDOWN The cluster is down", FAAS_EUNAVAILABLE },
        { "CLUSTERDOWN Hash slot not served", FAAS_EUNAVAILABLE },
        { "MOVED 3999 127.0.0.1:6381", FAAS_EUNAVAILABLE },
        { "ASK 3999 127.0.0.1:6381", FAAS_EUNAVAILABLE },
        { "ERR max number of clients reached", FAAS_EUNAVAILABLE },
        { "TRYAGAIN Multiple keys request during rehashing of slot",
          FAAS_EBUSY },
        { "BUSY Redis is busy running a script.", FAAS_EBUSY },
        { "BUSYGROUP Consumer Group name already exists", FAAS_ECONFLICT },
        { "NOGROUP No such key 'k' or consumer group", FAAS_ENOTFOUND },
        { "READONLY You can't write against a read only replica.",
          FAAS_EREADONLY },
        { "MISCONF Redis is configured to save RDB snapshots",
          FAAS_EREADONLY },
        { "NOREPLICAS Not enough good replicas to write.", FAAS_EREADONLY },
        { "OOM command not allowed when used memory > 'maxmemory'.",
          FAAS_EFULL },
        { "NOAUTH Authentication required.", FAAS_EDENIED },
        { "WRONGPASS invalid username-password pair or user is disabled.",
          FAAS_EDENIED },
        { "NOPERM this user has no permissions to run the 'eval' command",
          FAAS_EDENIED },
        { "DENIED Redis is running in protected mode", FAAS_EDENIED },
        { "ERR invalid password", FAAS_EDENIED },
        { "ERR AUTH <password> called without any password configured",
          FAAS_EDENIED },
        { "WRONGTYPE Operation against a key holding the wrong kind of value",
          FAAS_ECORRUPT },
        { "CROSSSLOT Keys in request don't hash to the same slot",
          FAAS_EINVAL },
        { "ERR hash value is not an integer", FAAS_EINVAL },
        { "ERR value is not an integer or out of range", FAAS_EINVAL },
        { "ERR increment or decrement would overflow", FAAS_EINVAL },
        { "ERR unknown command `RESET`, with args beginning with: ",
          FAAS_EUNSUPPORTED },
        { "ERR unknown command 'RESET'", FAAS_EUNSUPPORTED },
        { "ERR DB index is out of range", FAAS_EUNSUPPORTED },
        { "ERR This instance has cluster support disabled",
          FAAS_EUNSUPPORTED },
        { "ERR something else", FAAS_ERROR },
        { "EXECABORT Transaction discarded because of previous errors.",
          FAAS_ERROR },
        { "OOMPH", FAAS_ERROR },
        { "ASKING", FAAS_ERROR },
        { "LOAD", FAAS_ERROR },
        { "OOM", FAAS_EFULL },
        { "", FAAS_ERROR }
    };

    (void) state;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (redis_error_code(errors[i].text, strlen(errors[i].text))
            != errors[i].code)
        {
            fail_msg("\"%s\": %d", errors[i].text,
                     redis_error_code(errors[i].text,
                                      strlen(errors[i].text)));
        }
    }
}


static void
is_code(const char *wire, int code, int exec_code)
{
    redisReply  *reply;

    reply = reply_of(wire);
    assert_int_equal(redis_code(reply), code);
    assert_int_equal(redis_exec_code(reply), exec_code);
    freeReplyObject(reply);
}


static void
test_answers_have_codes(void **state)
{
    (void) state;

    is_code("+OK\r\n", FAAS_OK, FAAS_ERROR);
    is_code(":0\r\n", FAAS_OK, FAAS_ERROR);
    is_code("$-1\r\n", FAAS_OK, FAAS_ECONFLICT);
    is_code("*-1\r\n", FAAS_OK, FAAS_ECONFLICT);
    is_code("*0\r\n", FAAS_OK, FAAS_OK);
    is_code("*2\r\n:1\r\n-OOM x\r\n", FAAS_EFULL, FAAS_EFULL);
    is_code("*3\r\n:1\r\n-WRONGTYPE x\r\n-OOM x\r\n", FAAS_ECORRUPT,
            FAAS_ECORRUPT);
    is_code("-READONLY x\r\n", FAAS_EREADONLY, FAAS_EREADONLY);
    assert_int_equal(redis_code(NULL), FAAS_ETIMEDOUT);
}


static void
redirects(const char *wire, int ask, uint32_t slot, const char *host,
    uint16_t port)
{
    redisReply        *reply;
    redis_redirect_t   to;

    reply = reply_of(wire);
    assert_true(redis_redirect(reply, &to));
    freeReplyObject(reply);

    assert_int_equal(to.ask, ask);
    assert_int_equal(to.slot, slot);
    assert_string_equal(to.address.host, host);
    assert_int_equal(to.address.port, port);
}


static void
does_not_redirect(const char *wire)
{
    redisReply        *reply;
    redis_redirect_t   to;

    reply = reply_of(wire);
    assert_false(redis_redirect(reply, &to));
    freeReplyObject(reply);
}


static void
test_redirections(void **state)
{
    char  wire[400];

    (void) state;

    redirects("-MOVED 3999 127.0.0.1:6381\r\n", 0, 3999, "127.0.0.1", 6381);
    redirects("-ASK 0 ::1:1\r\n", 1, 0, "::1", 1);
    redirects("-MOVED 16383 node-3.example.org:65535\r\n", 0, 16383,
              "node-3.example.org", 65535);
    redirects("-MOVED 5 :7000\r\n", 0, 5, "", 7000);

    does_not_redirect("-MOVED\r\n");
    does_not_redirect("-MOVED 1\r\n");
    does_not_redirect("-MOVED 16384 h:1\r\n");
    does_not_redirect("-MOVED -1 h:1\r\n");
    does_not_redirect("-MOVED x h:1\r\n");
    does_not_redirect("-MOVED 1 h\r\n");
    does_not_redirect("-MOVED 1 h:\r\n");
    does_not_redirect("-MOVED 1 h:0\r\n");
    does_not_redirect("-MOVED 1 h:65536\r\n");
    does_not_redirect("-MOVED 1 h:1x\r\n");
    does_not_redirect("-ERR MOVED 1 h:1\r\n");
    does_not_redirect("+MOVED 1 h:1\r\n");

    (void) strcpy(wire, "-MOVED 1 ");
    memset(wire + 9, 'h', 300);
    (void) strcpy(wire + 309, ":1\r\n");
    does_not_redirect(wire);
}


static void
test_numbers(void **state)
{
    size_t       i;
    int64_t      n;
    redisReply  *reply;

    static const struct {
        const char  *wire;
        int          code;
        int64_t      n;
    } numbers[] = {
        { ":42\r\n", FAAS_OK, 42 },
        { ":-1\r\n", FAAS_OK, -1 },
        { "$19\r\n9223372036854775807\r\n", FAAS_OK, INT64_MAX },
        { "$20\r\n-9223372036854775808\r\n", FAAS_OK, INT64_MIN },
        { "$19\r\n9223372036854775808\r\n", FAAS_ECORRUPT, 0 },
        { "$2\r\n4x\r\n", FAAS_ECORRUPT, 0 },
        { "$1\r\n-\r\n", FAAS_ECORRUPT, 0 },
        { "$2\r\n 4\r\n", FAAS_ECORRUPT, 0 },
        { "$0\r\n\r\n", FAAS_ECORRUPT, 0 },
        { "$-1\r\n", FAAS_ECORRUPT, 0 },
        { "-ERR\r\n", FAAS_ECORRUPT, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        reply = reply_of(numbers[i].wire);
        assert_int_equal(redis_reply_number(reply, &n), numbers[i].code);

        if (numbers[i].code == FAAS_OK) {
            assert_true(n == numbers[i].n);
        }

        freeReplyObject(reply);
    }
}


static void
test_numbers_are_written(void **state)
{
    char          buf[REDIS_NUMBER], text[32];
    size_t        i;
    faas_bytes_t  bytes;

    static const int64_t  numbers[] = {
        0, 1, -1, 10, 99, -100, INT64_MAX, INT64_MIN
    };

    (void) state;

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        bytes = redis_number(buf, numbers[i]);
        (void) snprintf(text, sizeof(text), "%lld", (long long) numbers[i]);
        assert_int_equal(bytes.size, strlen(text));
        assert_memory_equal(bytes.data, text, bytes.size);
    }
}


/* the figures are those of CLUSTER KEYSLOT */
static void
test_slots(void **state)
{
    (void) state;

    assert_int_equal(redis_slot(faas_text("123456789")), 0x31c3 & 16383);
    assert_int_equal(redis_slot(faas_text("foo")), 12182);
    assert_int_equal(redis_slot(faas_text("")), 0);
    assert_int_equal(redis_slot(faas_text("{user1000}.following")),
                     redis_slot(faas_text("user1000")));
    assert_int_equal(redis_slot(faas_text("foo{bar}{zap}")),
                     redis_slot(faas_text("bar")));
    assert_int_equal(redis_slot(faas_text("foo{{bar}}zap")),
                     redis_slot(faas_text("{bar")));
    assert_int_not_equal(redis_slot(faas_text("foo{}{bar}")),
                         redis_slot(faas_text("bar")));
    assert_int_equal(redis_slot(faas_text("faas:{f}:k:x")),
                     redis_slot(faas_text("faas:{f}:i")));
    assert_int_equal(redis_slot(faas_text("a{b")), 13340);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_each_error_has_its_code),
        cmocka_unit_test(test_answers_have_codes),
        cmocka_unit_test(test_redirections),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_numbers_are_written),
        cmocka_unit_test(test_slots)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
