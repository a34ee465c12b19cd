/* objects: baas/call_http.c */

/*
 * The HTTP of calls, without a connection: answers cut at every byte and with
 * every byte changed, in memory that ends where they do, so that a sanitizer
 * sees a look beyond it.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call_http.h"


#define ANSWER                                                                \
    "HTTP/1.1 103 Early\r\nX: y\r\n\r\n"                                      \
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Two:  b \r\n\r\n"


static baas_scope_t  scope = {
    .deadline_ms = INT64_MAX,
    .request_id = "id",
    .traceparent = "",
    .tracestate = "",
    .depth = 3
};


static int
head(const faas_call_t *call, const char *method, char *buf)
{
    int                  rc;
    size_t               n;
    call_http_request_t  request = {
        "f", call, method, "me", "secret", &scope, 1500
    };

    rc = call_http_head(&request, buf, &n);

    if (rc == FAAS_OK) {
        assert_true(n < CALL_HTTP_HEAD);
        buf[n] = '\0';
    }

    return rc;
}


static void
test_head_is_this(void **state)
{
    char         buf[CALL_HTTP_HEAD + 1];
    faas_call_t  call = { .path = "/a?b", .headers = "A: 1\nB:2\n" };

    (void) state;

    assert_int_equal(head(&call, "GET", buf), FAAS_OK);
    assert_string_equal(buf, "GET /f/a?b HTTP/1.1\r\nHost: faas\r\nA: 1\r\n"
                        "B:2\r\nX-Request-ID: id\r\nFaas-Timeout: 1.500\r\n"
                        "Faas-Token: me:secret\r\nFaas-Function: f\r\n"
                        "Faas-Depth: 4\r\n\r\n");
}


static void
test_id_that_is_no_line_does_not_go_on(void **state)
{
    char         buf[CALL_HTTP_HEAD + 1];
    faas_call_t  call = { .path = NULL };

    (void) state;

    scope.request_id = "a\r\nFaas-Token: x";
    scope.traceparent = "b\nc";
    assert_int_equal(head(&call, "GET", buf), FAAS_OK);
    scope.request_id = "id";
    scope.traceparent = "";

    assert_null(strstr(buf, "X-Request-ID"));
    assert_null(strstr(buf, "traceparent"));
}


/* what a client sent is not what a call fails for */

static void
test_trace_context_goes_on_if_it_is_of_a_sane_length(void **state)
{
    char         buf[CALL_HTTP_HEAD], much[CALL_HTTP_HEAD];
    faas_call_t  call;

    (void) state;

    memset(&call, 0, sizeof(call));
    memset(much, 'x', sizeof(much) - 1);
    much[sizeof(much) - 1] = '\0';

    scope.traceparent = "00-p";
    scope.tracestate = "a=b,c=d";
    assert_int_equal(head(&call, "GET", buf), FAAS_OK);
    assert_non_null(strstr(buf, "\r\ntraceparent: 00-p\r\n"
                                "tracestate: a=b,c=d\r\n"));

    /* the state is that of its parent */

    call.headers = "TraceParent: mine\n";
    assert_int_equal(head(&call, "GET", buf), FAAS_OK);
    assert_null(strstr(buf, "tracestate"));

    call.headers = "Tracestate: mine\n";
    assert_int_equal(head(&call, "GET", buf), FAAS_OK);
    assert_null(strstr(buf, "tracestate"));
    call.headers = NULL;

    scope.tracestate = much;
    assert_int_equal(head(&call, "GET", buf), FAAS_OK);
    assert_non_null(strstr(buf, "traceparent"));
    assert_null(strstr(buf, "tracestate"));

    scope.traceparent = much;
    assert_int_equal(head(&call, "GET", buf), FAAS_OK);
    assert_null(strstr(buf, "trace"));

    scope.traceparent = "";
    scope.tracestate = "";
}


/* at every length of what the function adds, the head fits or is refused */

static void
test_head_fits_or_is_too_large(void **state)
{
    int          rc, seen;
    char        *path, buf[CALL_HTTP_HEAD + 1];
    size_t       n;
    faas_call_t  call = { .path = NULL };

    (void) state;

    path = malloc(CALL_HTTP_HEAD + 2);
    seen = 0;

    for (n = CALL_HTTP_HEAD - 300; n <= CALL_HTTP_HEAD; n++) {
        memset(path, '/', n);
        path[n] = '\0';
        call.path = path;

        rc = head(&call, "GET", buf);
        assert_true(rc == FAAS_OK || rc == FAAS_ETOOLARGE);
        seen |= rc == FAAS_OK ? 1 : 2;
    }

    assert_int_equal(seen, 3);
    free(path);
}


static int
parse(call_http_answer_t *answer, const char *text, size_t n, size_t *used)
{
    int    rc;
    char  *copy;

    memset(answer, 0, sizeof(call_http_answer_t));

    copy = malloc(n ? n : 1);
    memcpy(copy, text, n);

    rc = call_http_parse(answer, copy, n, used);

    if (rc == FAAS_OK && answer->status) {
        assert_true(*used <= n);
        assert_true(answer->headers >= copy);
        assert_true(answer->headers + answer->headers_length <= copy + *used);
    }

    free(copy);

    return rc;
}


static void
test_head_of_an_answer_cut_at_every_byte(void **state)
{
    size_t              n, used;
    call_http_answer_t  answer;

    (void) state;

    for (n = 0; n < sizeof(ANSWER) - 1; n++) {
        assert_int_equal(parse(&answer, ANSWER, n, &used), FAAS_OK);
        assert_int_equal(answer.status, 0);
    }

    assert_int_equal(parse(&answer, ANSWER, n, &used), FAAS_OK);
    assert_int_equal(answer.status, 200);
    assert_int_equal(used, n);
    assert_int_equal(answer.length, 5);
    assert_int_equal(answer.chunked, 0);
    assert_int_equal(answer.close, 0);
}


static void
test_head_of_an_answer_with_every_byte_changed(void **state)
{
    char                text[] = ANSWER, was;
    size_t              i, used;
    unsigned            c;
    call_http_answer_t  answer;

    (void) state;

    for (i = 0; i < sizeof(text) - 1; i++) {
        was = text[i];

        for (c = 0; c < 256; c++) {
            text[i] = (char) c;
            (void) parse(&answer, text, sizeof(text) - 1, &used);
        }

        text[i] = was;
    }
}


static void
test_length_that_overflows_is_refused(void **state)
{
    size_t              used;
    call_http_answer_t  answer;

    static const char  text[] = "HTTP/1.1 200 OK\r\n"
                                "Content-Length: 18446744073709551617\r\n\r\n";

    (void) state;

    assert_int_equal(parse(&answer, text, sizeof(text) - 1, &used),
                     FAAS_ERROR);
}


/* every way to cut a chunked body in two, and every byte alone */

static void
test_chunks_come_out_the_same_however_they_are_cut(void **state)
{
    int                 rc;
    char                in[128], out[128];
    size_t              n, cut, at, part, used, decoded, length;
    call_http_answer_t  answer;

    static const char  body[] = "5\r\nhello\r\n00c\r\n, wide world\r\n"
                                "0\r\nT: x\r\nU: y\r\n\r\n";

    (void) state;

    n = sizeof(body) - 1;

    for (cut = 1; cut <= n; cut++) {
        memset(&answer, 0, sizeof(answer));
        length = 0;
        rc = 0;

        for (at = 0; at < n; at += part) {
            part = n - at < cut ? n - at : cut;
            memcpy(in, body + at, part);

            assert_int_equal(rc, 0);
            rc = call_http_chunks(&answer, in, part, &used, &decoded);
            assert_int_equal(used, part);

            memcpy(out + length, in, decoded);
            length += decoded;
        }

        assert_int_equal(rc, 1);
        assert_int_equal(length, 17);
        assert_memory_equal(out, "hello, wide world", 17);
    }
}


static void
test_what_follows_the_last_chunk_is_left(void **state)
{
    char                in[] = "0\r\n\r\nHTTP/1.1";
    size_t              used, decoded;
    call_http_answer_t  answer;

    (void) state;

    memset(&answer, 0, sizeof(answer));
    assert_int_equal(call_http_chunks(&answer, in, sizeof(in) - 1, &used,
                                      &decoded), 1);
    assert_int_equal(used, 5);
    assert_int_equal(decoded, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_head_is_this),
        cmocka_unit_test(test_id_that_is_no_line_does_not_go_on),
        cmocka_unit_test(
            test_trace_context_goes_on_if_it_is_of_a_sane_length),
        cmocka_unit_test(test_head_fits_or_is_too_large),
        cmocka_unit_test(test_head_of_an_answer_cut_at_every_byte),
        cmocka_unit_test(test_head_of_an_answer_with_every_byte_changed),
        cmocka_unit_test(test_length_that_overflows_is_refused),
        cmocka_unit_test(test_chunks_come_out_the_same_however_they_are_cut),
        cmocka_unit_test(test_what_follows_the_last_chunk_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
