/* objects: baas/baas_conf.c scoreboard/faas_control.c */

/*
 * The configuration of a function's services: what is understood, and what is
 * refused, with the line and without a leak.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <faas.h>

#include "baas_conf.h"


#define LEAST  "function f\ntoken abc\nstate /s\ndata /s/data/f\n"


static char  why[160];


static int
parse(baas_conf_t *conf, const char *text)
{
    why[0] = '\0';

    return baas_conf_parse(conf, text, strlen(text), why, sizeof(why));
}


static void
test_least_has_defaults(void **state)
{
    baas_conf_t  conf;

    (void) state;

    assert_int_equal(parse(&conf, LEAST), FAAS_OK);
    assert_string_equal(conf.function, "f");
    assert_string_equal(conf.token, "abc");
    assert_string_equal(conf.state, "/s");
    assert_string_equal(conf.data, "/s/data/f");
    assert_string_equal(conf.kv, "sqlite");
    assert_string_equal(conf.queue, "sqlite");
    assert_int_equal(conf.shares, 0);
    assert_int_equal(conf.normal, 0);
    assert_int_equal(conf.once, 0);
    assert_null(baas_conf_share(&conf, "x"));

    baas_conf_free(&conf);
}


static void
test_all_is_understood_and_decoded(void **state)
{
    baas_conf_t          conf;
    const baas_share_t  *share;

    (void) state;

    assert_int_equal(parse(&conf, LEAST
                           "kv redis://u:p%25@h:1/2\nqueue sqlite:/q%20q\n"
                           "share common w /s/share/com%20mon\n"
                           "share seen r /s/share/seen\n"
                           "durability normal\nexactly_once 1\n"), FAAS_OK);
    assert_string_equal(conf.kv, "redis://u:p%@h:1/2");
    assert_string_equal(conf.queue, "sqlite:/q q");
    assert_int_equal(conf.normal, 1);
    assert_int_equal(conf.once, 1);
    assert_int_equal(conf.shares, 2);

    share = baas_conf_share(&conf, "common");
    assert_non_null(share);
    assert_string_equal(share->path, "/s/share/com mon");
    assert_int_equal(share->write, 1);

    share = baas_conf_share(&conf, "seen");
    assert_non_null(share);
    assert_int_equal(share->write, 0);

    baas_conf_free(&conf);
}


static void
test_what_is_not_understood_is_named(void **state)
{
    size_t       i;
    baas_conf_t  conf;

    static const struct {
        const char  *text;
        const char  *why;
    } bad[] = {
        { "", "no \"function\"" },
        { "function f\n", "no \"token\"" },
        { "function f\ntoken x\n", "no \"state\"" },
        { "function f\ntoken x\nstate /s\n", "no \"data\"" },
        { LEAST "kv sqlite", "line 5: the last line is cut" },
        { LEAST "kv\n", "line 5: \"kv\" without a value" },
        { LEAST "\n", "line 5: \"\" without a value" },
        { LEAST "kv \n", "line 5: bad value of \"kv\"" },
        { LEAST "kv a%00b\n", "line 5: bad value of \"kv\"" },
        { LEAST "kv a%2\n", "line 5: bad value of \"kv\"" },
        { LEAST "kv a%zz\n", "line 5: bad value of \"kv\"" },
        { LEAST "kvs sqlite\n", "line 5: unknown setting \"kvs\"" },
        { LEAST "durability half\n", "bad value of \"durability\"" },
        { LEAST "exactly_once 2\n", "bad value of \"exactly_once\"" },
        { LEAST "exactly_once 11\n", "bad value of \"exactly_once\"" },
        { LEAST "share x\n", "bad value of \"share\"" },
        { LEAST "share x w\n", "bad value of \"share\"" },
        { LEAST "share x x /p\n", "bad value of \"share\"" },
        { LEAST "share x ww /p\n", "bad value of \"share\"" },
        { LEAST "share  w /p\n", "bad value of \"share\"" },
        { LEAST "share x w \n", "bad value of \"share\"" },
        { LEAST "share a w /p\nshare %0 w /p\n", "line 6" },
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(parse(&conf, bad[i].text), FAAS_ERROR);

        if (strstr(why, bad[i].why) == NULL) {
            fail_msg("%s: %s", bad[i].text, why);
        }
    }
}


static void
test_zero_inside_is_refused(void **state)
{
    baas_conf_t  conf;

    static const char  text[] = LEAST "kv a\0b\n";

    (void) state;

    assert_int_equal(baas_conf_parse(&conf, text, sizeof(text) - 1, why,
                                     sizeof(why)), FAAS_ERROR);
}


/* all prefixes of a good text, in memory that ends where they do */

static void
test_every_cut_is_refused_or_whole(void **state)
{
    int          rc;
    char        *copy;
    size_t       n;
    baas_conf_t  conf;

    static const char  text[] = LEAST "share a w /p\nkv sqlite\n";

    (void) state;

    for (n = 0; n < sizeof(text); n++) {
        copy = malloc(n ? n : 1);
        memcpy(copy, text, n);

        rc = baas_conf_parse(&conf, copy, n, why, sizeof(why));

        assert_int_equal(rc == FAAS_OK, n >= sizeof(LEAST) - 1
                         && n > 0 && text[n - 1] == '\n');

        if (rc == FAAS_OK) {
            baas_conf_free(&conf);
        }

        free(copy);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_least_has_defaults),
        cmocka_unit_test(test_all_is_understood_and_decoded),
        cmocka_unit_test(test_what_is_not_understood_is_named),
        cmocka_unit_test(test_zero_inside_is_refused),
        cmocka_unit_test(test_every_cut_is_refused_or_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
