/* objects: baas/redis_url.c */

/*
 * URLs of Redis: forms, options, what is refused and with which words.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <faas.h>

#include "redis_url.h"


static redis_url_t  url;


static void
parse(const char *text)
{
    char  why[128];

    why[0] = '\0';

    if (redis_url_parse(&url, text, why, sizeof(why)) != FAAS_OK) {
        fail_msg("\"%s\": %s", text, why);
    }
}


static void
refused(const char *text, const char *expected)
{
    char  why[128];

    why[0] = '\0';

    if (redis_url_parse(&url, text, why, sizeof(why)) != FAAS_EINVAL) {
        fail_msg("\"%s\" is not refused", text);
    }

    if (strstr(why, expected) == NULL) {
        fail_msg("\"%s\" is refused by \"%s\", not \"%s\"", text, why,
                 expected);
    }

    assert_null(strstr(why, "secret"));
}


static void
test_one_host(void **state)
{
    (void) state;

    parse("redis://127.0.0.1");
    assert_int_equal(url.kind, REDIS_SINGLE);
    assert_int_equal(url.tls, 0);
    assert_int_equal(url.addresses, 1);
    assert_string_equal(url.address[0].host, "127.0.0.1");
    assert_int_equal(url.address[0].port, 6379);
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "");
    assert_int_equal(url.db, 0);
    assert_string_equal(url.prefix, "faas:");
    assert_int_equal(url.timeout_ms, 0);
    assert_int_equal(url.wait, 0);

    parse("redis://db.example.org:7000/3");
    assert_string_equal(url.address[0].host, "db.example.org");
    assert_int_equal(url.address[0].port, 7000);
    assert_int_equal(url.db, 3);

    parse("redis://h/");
    assert_int_equal(url.db, 0);

    parse("redis://[::1]:7001/15");
    assert_string_equal(url.address[0].host, "::1");
    assert_int_equal(url.address[0].port, 7001);
    assert_int_equal(url.db, 15);

    parse("redis://[2001:db8::7]");
    assert_string_equal(url.address[0].host, "2001:db8::7");
    assert_int_equal(url.address[0].port, 6379);

    parse("rediss://h");
    assert_int_equal(url.tls, 1);
    assert_int_equal(url.verify, REDIS_VERIFY_FULL);
}


static void
test_logins(void **state)
{
    (void) state;

    parse("redis://:s3cr%40t%2F%25@h");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "s3cr@t/%");
    assert_string_equal(url.address[0].host, "h");

    parse("redis://fn:a:b@c@h:1");
    assert_string_equal(url.user, "fn");
    assert_string_equal(url.password, "a:b@c");
    assert_int_equal(url.address[0].port, 1);

    parse("redis://f%3An:pw@[::1]");
    assert_string_equal(url.user, "f:n");

    parse("redis://@h");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "");

    refused("redis://u:1?secret@h", "behind the hosts");
    refused("redis://u:1/secret=x@h", "behind the hosts");
    refused("redis://secret@h", ":PASSWORD@");
    refused("redis://secret:@h", "empty");
    refused("redis://u:secret%zz@h", "percent");
    refused("redis://u:secret%2@h", "percent");
    refused("redis://u:secret%00@h", "percent");
}


static void
test_unix_sockets(void **state)
{
    (void) state;

    parse("redis+unix:///run/redis/redis.sock");
    assert_string_equal(url.address[0].host, "/run/redis/redis.sock");
    assert_int_equal(url.address[0].port, 0);
    assert_int_equal(url.addresses, 1);

    parse("unix:/run/r%20s.sock?db=2&prefix=x:");
    assert_string_equal(url.address[0].host, "/run/r s.sock");
    assert_int_equal(url.db, 2);
    assert_string_equal(url.prefix, "x:");

    parse("redis+unix://u:p@/s");
    assert_string_equal(url.user, "u");
    assert_string_equal(url.password, "p");
    assert_string_equal(url.address[0].host, "/s");

    refused("unix:", "missing");
    refused("unix:redis.sock", "begins with /");
    refused("redis+unix://h/s", "begins with /");
    refused("unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "107 bytes");
}


static void
test_sentinels_and_clusters(void **state)
{
    (void) state;

    parse("redis-sentinel://:p@a,b:7,[::1]:8/mymaster/4");
    assert_int_equal(url.kind, REDIS_SENTINEL);
    assert_int_equal(url.addresses, 3);
    assert_string_equal(url.address[0].host, "a");
    assert_int_equal(url.address[0].port, 26379);
    assert_string_equal(url.address[1].host, "b");
    assert_int_equal(url.address[1].port, 7);
    assert_string_equal(url.address[2].host, "::1");
    assert_int_equal(url.address[2].port, 8);
    assert_string_equal(url.master, "mymaster");
    assert_int_equal(url.db, 4);
    assert_string_equal(url.password, "p");

    parse("rediss-sentinel://a/m?sentinel_user=s&sentinel_password=p%26q");
    assert_int_equal(url.tls, 1);
    assert_string_equal(url.sentinel_user, "s");
    assert_string_equal(url.sentinel_password, "p&q");

    parse("redis-cluster://a:1,b:2");
    assert_int_equal(url.kind, REDIS_CLUSTER);
    assert_int_equal(url.addresses, 2);
    assert_int_equal(url.address[1].port, 2);

    parse("rediss-cluster://a");
    assert_int_equal(url.tls, 1);
    assert_int_equal(url.address[0].port, 6379);

    refused("redis-sentinel://a,b", "name of the master");
    refused("redis-sentinel://a,b/", "name of the master");
    refused("redis-cluster://a/1", "no database but 0");
    refused("redis://a,b", "several hosts");
    refused("redis-cluster://a,,b", "host is missing");
    refused("redis-cluster://a,b,c,d,e,f,g,h,i", "more than 8");
}


static void
test_options(void **state)
{
    (void) state;

    parse("redis://h?wait=2&wait_timeout=250ms&timeout=3s");
    assert_int_equal(url.wait, 2);
    assert_int_equal(url.wait_timeout_ms, 250);
    assert_int_equal(url.timeout_ms, 3000);

    parse("redis://h/0?timeout=2m&");
    assert_int_equal(url.timeout_ms, 120000);
    assert_int_equal(url.wait_timeout_ms, 1000);

    parse("redis://h?timeout=150");
    assert_int_equal(url.timeout_ms, 150);

    parse("rediss://h?ca=/etc/ca.pem&cert=/c.pem&key=/k%20.pem&verify=ca");
    assert_string_equal(url.ca, "/etc/ca.pem");
    assert_string_equal(url.cert, "/c.pem");
    assert_string_equal(url.key, "/k .pem");
    assert_int_equal(url.verify, REDIS_VERIFY_CA);

    parse("rediss://h?verify=no");
    assert_int_equal(url.verify, REDIS_VERIFY_NO);

    refused("redis://h?wiat=1", "no option \"wiat\"");
    refused("redis://h?wait", "without a value");
    refused("redis://h?wait=x", "cannot be");
    refused("redis://h?wait=-1", "cannot be");
    refused("redis://h?wait=101", "cannot be");
    refused("redis://h?timeout=0", "cannot be");
    refused("redis://h?timeout=1h", "cannot be");
    refused("redis://h?timeout=99999999999999999999", "cannot be");
    refused("redis://h?timeout=2000000m", "cannot be");
    refused("redis://h?prefix=a{b", "cannot be");
    refused("redis://h?prefix=", "cannot be");
    refused("redis://h?prefix=0123456789012345678901234567890123", "too long");
    refused("rediss://h?verify=maybe", "cannot be");
    refused("rediss://h?cert=/c", "together");
    refused("redis://h?ca=/c", "rediss://");
    refused("redis://h?verify=no", "rediss://");
}


static void
test_hosts_and_numbers_that_cannot_be(void **state)
{
    char    host[600];
    size_t  i;

    (void) state;

    refused("http://h", "no URL");
    refused("redis:h", "no URL");
    refused("", "no URL");
    refused("sqlite", "no URL");
    refused("redis://", "host is missing");
    refused("redis:///1", "host is missing");
    refused("redis://:6379", "host is missing");
    refused("redis://h:", "port");
    refused("redis://h:0", "port");
    refused("redis://h:65536", "port");
    refused("redis://h:6x", "port");
    refused("redis://::1", "host is missing");
    refused("redis://fe80::1", "port");
    refused("redis://[::1", "without its ]");
    refused("redis://[::1]6379", "between ]");
    refused("redis://h/x", "database");
    refused("redis://h/-1", "database");
    refused("redis://h/1/2", "database");
    refused("redis://h/99999999999", "database");

    (void) strcpy(host, "redis://");

    for (i = strlen(host); i < 500; i++) {
        host[i] = 'h';
    }

    host[i] = '\0';
    refused(host, "too long");
}


static void
test_schemes(void **state)
{
    (void) state;

    assert_true(redis_url_is("redis://"));
    assert_true(redis_url_is("rediss://h"));
    assert_true(redis_url_is("redis+unix:///s"));
    assert_true(redis_url_is("unix:/s"));
    assert_true(redis_url_is("redis-sentinel://h/m"));
    assert_true(redis_url_is("rediss-sentinel://h/m"));
    assert_true(redis_url_is("redis-cluster://h"));
    assert_true(redis_url_is("rediss-cluster://h"));
    assert_false(redis_url_is("sqlite"));
    assert_false(redis_url_is("redisx://h"));
    assert_false(redis_url_is(""));
}


static void
test_addresses_are_said(void **state)
{
    char  buf[300];

    (void) state;

    parse("redis-cluster://h:1,[::1]:2");
    assert_string_equal(redis_address_text(&url.address[0], buf, sizeof(buf)),
                        "h:1");
    assert_string_equal(redis_address_text(&url.address[1], buf, sizeof(buf)),
                        "[::1]:2");

    parse("unix:/a/b");
    assert_string_equal(redis_address_text(&url.address[0], buf, sizeof(buf)),
                        "/a/b");
}


/* no text, however broken, is read beyond its end or written beyond a field;
   the sanitizers look on */
static void
test_any_text_is_parsed_or_refused(void **state)
{
    int       rc;
    char      text[128], why[64];
    size_t    i, k, n;
    uint32_t  seed;

    static const char *const  pieces[] = {
        "redis://", "rediss://", "unix:", "redis-sentinel://", "@", ":", "/",
        "?", "&", "=", "%", "%41", "%0", "[", "]", ",", "::1", "6379", "host",
        "wait=1", "timeout=", "ca=", "{", "\xff", " "
    };

    (void) state;

    seed = 1;

    for (i = 0; i < 200000; i++) {
        text[0] = '\0';

        for (k = 0; k < 8; k++) {
            seed = seed * 1664525 + 1013904223;
            n = strlen(text);
            (void) snprintf(text + n, sizeof(text) - n, "%s",
                            pieces[(seed >> 16)
                                   % (sizeof(pieces) / sizeof(char *))]);
        }

        rc = redis_url_parse(&url, text, why, sizeof(why));
        assert_true(rc == FAAS_OK || rc == FAAS_EINVAL);

        if (rc == FAAS_OK) {
            assert_true(url.addresses >= 1);
            assert_true(url.address[0].host[0] != '\0');
        }
    }
}


/* found by tests/fuzz/fuzz_redis.c: the reason was two lines */

static void
test_control_characters_are_refused(void **state)
{
    (void) state;

    refused("redis://h/0?pre\nfix=a", "control character");
    refused("redis://h\x7f", "control character");
    refused("redis://a\rb:c@h", "control character");
}


/* found by tests/fuzz/fuzz_redis.c: decoded, it made a line of its own */

static void
test_an_option_is_quoted_as_it_was_written(void **state)
{
    (void) state;

    refused("redis://h?db=^J%0Ar", "option \"db\" cannot be \"^J%0Ar\"");
    refused("redis://h?d%62=x", "option \"d%62\" cannot be \"x\"");
    refused("redis://h?a%0Ab=1", "there is no option \"a%0Ab\"");
    refused("redis://h?wa%69t=%", "option \"wa%69t\" is too long, or not "
            "percent-encoded");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_one_host),
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_unix_sockets),
        cmocka_unit_test(test_sentinels_and_clusters),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_hosts_and_numbers_that_cannot_be),
        cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_addresses_are_said),
        cmocka_unit_test(test_control_characters_are_refused),
        cmocka_unit_test(test_an_option_is_quoted_as_it_was_written),
        cmocka_unit_test(test_any_text_is_parsed_or_refused)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
