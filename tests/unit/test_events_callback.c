/* objects: baas/events_callback.c base/sha256.c */

/*
 * Who may be told, and the signature: prefixes cannot be left by any spelling
 * of a URL, and the signature is what others compute.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "events_callback.h"


static events_callback_t  prefixes[] = {
    { (char *) "https://hooks.example.com/faas", (char *) "one", 3 },
    { (char *) "https://hooks.example.com/faas/deep/", (char *) "two", 3 },
    { (char *) "http://127.0.0.1:8080/", (char *) "three", 5 },
    { (char *) "https://bare.example.com", (char *) "four", 4 }
};

static events_settings_t  settings = {
    .callbacks = prefixes,
    .ncallbacks = sizeof(prefixes) / sizeof(prefixes[0])
};


static void
test_prefixes_hold(void **state)
{
    size_t                    i;
    const events_callback_t  *c;

    static const struct {
        const char  *url;
        const char  *secret;       /* NULL: not allowed */
    } urls[] = {
        { "https://hooks.example.com/faas", "one" },
        { "https://hooks.example.com/faas/", "one" },
        { "https://hooks.example.com/faas/x?y=../..", "one" },
        { "https://hooks.example.com/faas?x", "one" },
        { "HTTPS://Hooks.Example.COM/faas/x", "one" },
        { "https://hooks.example.com/faas/deep", "one" },
        { "https://hooks.example.com/faas/deep/x", "two" },
        { "http://127.0.0.1:8080/", "three" },
        { "http://127.0.0.1:8080/a/b.c/...", "three" },
        { "https://bare.example.com", "four" },
        { "https://bare.example.com/x", "four" },
        { "https://bare.example.com?x", "four" },

        { "", NULL },
        { "https://", NULL },
        { "https:///faas", NULL },
        { "https://hooks.example.com", NULL },
        { "https://hooks.example.com/", NULL },
        { "https://hooks.example.com/faasx", NULL },
        { "https://hooks.example.com/Faas", NULL },
        { "http://hooks.example.com/faas", NULL },
        { "https://hooks.example.com:444/faas", NULL },
        { "https://hooks.example.com.evil.org/faas", NULL },
        { "https://bare.example.com.evil.org/", NULL },
        { "https://bare.example.com@evil.org/", NULL },
        { "https://bare.example.com:443@evil.org/", NULL },
        { "https://bare.example.com:8443/", NULL },
        { "https://user@hooks.example.com/faas", NULL },
        { "https://hooks.example.com/faas/..", NULL },
        { "https://hooks.example.com/faas/../admin", NULL },
        { "https://hooks.example.com/faas/./x", NULL },
        { "https://hooks.example.com/faas/%2e%2E/admin", NULL },
        { "https://hooks.example.com/faas/.%2e/admin", NULL },
        { "https://hooks.example.com/faas/%2E./admin?x", NULL },
        { "https://hooks.example.com/faas/..%2fadmin", NULL },
        { "https://hooks.example.com/faas/..;/admin", NULL },
        { "https://hooks.example.com/faas/x/%2e.;a=b/admin", NULL },
        { "https://hooks.example.com/faas/..a;/...;", "one" },
        { "https://hooks.example.com/faas/..%5Cadmin", NULL },
        { "https://hooks.example.com/faas\\..\\admin", NULL },
        { "https://hooks.example.com/faas#x", NULL },
        { "https://hooks.example.com/faas x", NULL },
        { "https://hooks.example.com/faas\r\nX: y", NULL },
        { "https://hooks.example.com/faas\xc3\xa4", NULL },
        { "https://hooks.example.com/faas/<x>", NULL },
        { " https://hooks.example.com/faas", NULL },
        { "ftp://hooks.example.com/faas", NULL },
        { "file:///etc/passwd", NULL },
        { "//hooks.example.com/faas", NULL },
        { "http://127.0.0.1:80800/", NULL },
        { "http://127.0.0.1%3a8080/", NULL }
    };

    (void) state;

    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        c = events_callback_find(&settings, urls[i].url);

        if (urls[i].secret == NULL ? c != NULL
            : c == NULL || strcmp(c->secret, urls[i].secret) != 0)
        {
            fail_msg("\"%s\" is %s", urls[i].url, c ? c->url : "refused");
        }
    }
}


static void
test_a_url_is_at_most_2000_bytes(void **state)
{
    char  url[EVENTS_URL_MAX + 2];

    (void) state;

    memset(url, 'a', sizeof(url));
    memcpy(url, "http://127.0.0.1:8080/", 22);
    url[EVENTS_URL_MAX] = '\0';
    assert_non_null(events_callback_find(&settings, url));
    url[EVENTS_URL_MAX] = 'a';
    url[EVENTS_URL_MAX + 1] = '\0';
    assert_null(events_callback_find(&settings, url));
}


static void
test_without_prefixes_nobody_is_told(void **state)
{
    events_settings_t  none;

    (void) state;

    memset(&none, 0, sizeof(none));
    assert_null(events_callback_find(&none, "https://bare.example.com/"));
}


/* as `printf '1792888200.BODY' | openssl dgst -sha256 -hmac KEY` says */

static void
test_the_signature_is_what_others_compute(void **state)
{
    char               buf[EVENTS_SIGNATURE_SIZE], key[200];
    events_callback_t  c;

    (void) state;

    c.url = NULL;
    c.secret = (char *) "s3cret";
    c.secret_size = 6;
    events_callback_sign(&c, 1792888200, faas_text("{\"a\":1}"), buf);
    assert_string_equal(buf, "t=1792888200,v1="
                        "5bf3556c2612edfe24161ba12722302e"
                        "18069f84250e452c11c42dc2c4ea1baf");

    /* a key of more than a block, and no body */

    memset(key, 'k', sizeof(key));
    c.secret = key;
    c.secret_size = sizeof(key);
    events_callback_sign(&c, 1, faas_text(NULL), buf);
    assert_string_equal(buf, "t=1,v1="
                        "cc7208793f7f90b2924b7a894307d0cc"
                        "8ed71b07c4966359a75ba322f1f2da36");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_prefixes_hold),
        cmocka_unit_test(test_a_url_is_at_most_2000_bytes),
        cmocka_unit_test(test_without_prefixes_nobody_is_told),
        cmocka_unit_test(test_the_signature_is_what_others_compute)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
