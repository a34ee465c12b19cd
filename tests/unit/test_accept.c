/* objects: ngx_faas_module/ngx_http_faas_accept.c */

/* In which form an error is told, by all that an Accept header may say. */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../ngx_faas_module/ngx_http_faas_accept.h"


#define TEXT     NGX_HTTP_FAAS_ACCEPT_TEXT
#define PROBLEM  NGX_HTTP_FAAS_ACCEPT_PROBLEM
#define HTML     NGX_HTTP_FAAS_ACCEPT_HTML


/* from memory that ends where the value ends, for sanitizers */

static void
add(ngx_http_faas_accept_t *a, const char *s, size_t n)
{
    char  *copy;

    copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, s, n);

    ngx_http_faas_accept_add(a, copy, n);

    free(copy);
}


static void
test_form_by_header(void **state)
{
    size_t                  i;
    ngx_http_faas_accept_t  a;

    static const struct {
        const char              *accept;
        ngx_http_faas_accept_e   type;
    } table[] = {
        /* curl, wget, fetch(), and who says nothing */
        { "*/*", TEXT },
        { "", TEXT },

        /* axios, jQuery, Go, Python */
        { "application/json, text/plain, */*", PROBLEM },
        { "application/json, text/javascript, */*; q=0.01", PROBLEM },
        { "application/json", PROBLEM },
        { "application/problem+json", PROBLEM },
        { "Application/JSON;charset=utf-8", PROBLEM },

        /* Firefox, Chrome, Safari */
        { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
          HTML },
        { "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
          "image/webp,image/apng,*/*;q=0.8,"
          "application/signed-exchange;v=b3;q=0.7", HTML },
        { "text/html, */*", HTML },
        { "text/html, text/plain", TEXT },
        { "text/html;q=0.5, text/plain;q=0.6", TEXT },
        { "text/html;q=0.6, text/plain;q=0.5", HTML },
        { "text/html, application/json", PROBLEM },
        { "text/html, application/json;q=0.9", HTML },
        { "text/html;q=0, */*", TEXT },

        /* weights and ranges */
        { "text/*", TEXT },
        { "application/*", PROBLEM },
        { "application/*, */*", PROBLEM },
        { "application/*;q=0.5, text/*", TEXT },
        { "text/plain;q=0.5, application/json;q=0.4", TEXT },
        { "text/plain;q=0.5, application/json;q=0.5", PROBLEM },
        { "text/plain;q=0.500,application/problem+json;q=0.501", PROBLEM },
        { "*/*;q=0.1, application/json;q=0.05", TEXT },
        { "application/json;q=0, */*", TEXT },
        { "application/json;q=0, application/problem+json", PROBLEM },
        { "text/plain;q=0, */*", PROBLEM },
        { " application/json ; Q=1 ", PROBLEM },
        { "application/json;a=\"x,y;q=0\";q=1", PROBLEM },
        { "application/json;a=\"\\\"\";q=0.2, text/plain;q=0.1", PROBLEM },

        /* nothing that we have: told all the same */
        { "image/png", TEXT },
        { "image/png, application/json;q=0.1", PROBLEM },
        { "*/*;q=0", TEXT },

        /* what is malformed is left out */
        { "application/json;q=2", TEXT },
        { "application/json;q=", TEXT },
        { "application/json;q=0.1234", TEXT },
        { "application/json;q=-1", TEXT },
        { "application/json;q=1.001", TEXT },
        { "application/json;q=.5", TEXT },
        { "application/json;q=0x", TEXT },
        { "application/json/json", TEXT },
        { "application", TEXT }, { "json", TEXT }, { "/", TEXT },
        { "*", TEXT }, { ",,,;;;", TEXT }, { ";q=1", TEXT },
        { "\"application/json", TEXT },
        { ",, application/json ,,", PROBLEM },
        { "application/json;", PROBLEM },
        { "text/html;q=1\\", TEXT }, { "text/html;x=\"\\", HTML }
    };

    (void) state;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        memset(&a, 0, sizeof(a));
        add(&a, table[i].accept, strlen(table[i].accept));

        if (ngx_http_faas_accept_choose(&a) != table[i].type) {
            fail_msg("\"%s\": %d", table[i].accept,
                     ngx_http_faas_accept_choose(&a));
        }
    }
}


static void
test_no_header_is_text_and_two_are_one(void **state)
{
    ngx_http_faas_accept_t  a;

    (void) state;

    memset(&a, 0, sizeof(a));
    assert_int_equal(ngx_http_faas_accept_choose(&a), TEXT);

    add(&a, "text/plain;q=0.5", 16);
    assert_int_equal(ngx_http_faas_accept_choose(&a), TEXT);

    add(&a, "application/json", 16);
    assert_int_equal(ngx_http_faas_accept_choose(&a), PROBLEM);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_form_by_header),
        cmocka_unit_test(test_no_header_is_text_and_two_are_one)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
