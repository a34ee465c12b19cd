
/* objects: worker/request.c worker/pairs.c worker/body.c worker/fcgi_io.c worker/core.c worker/core_trace.c worker/core_symbols.c worker/response.c worker/output.c worker/arena.c worker/environment.c worker/sdk_event.c */
/* libs: -lfcgi */

/*
 * A request without an instance: bytes of FastCGI go into a socket pair, the
 * SDK is called, and the answer's bytes are looked at.
 */


#include <errno.h>
#include <fastcgi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "environment.h"
#include "faas_scoreboard.h"
#include "request.h"


/* what core_trace.c asks of an instance */

int instance_is_self(void);

int
instance_is_self(void)
{
    return 1;
}


static int             pair[2];
static faas_request_t  request;
static faas_request_t *r = &request;

/* what nginx would have received: the content of STDOUT, zero-terminated */
static char            answer[1 << 20];
static size_t          answer_length;
static int             answer_ended;


static int
open_pair(void **state)
{
    (void) state;

    return socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, pair);
}


static int
close_pair(void **state)
{
    (void) state;

    (void) close(pair[0]);
    (void) close(pair[1]);

    request_destroy(r);

    return 0;
}


static void
put_record(int type, const char *data, size_t n)
{
    unsigned char  header[8];

    memset(header, 0, sizeof(header));
    header[0] = 1;
    header[1] = (unsigned char) type;
    header[3] = 1;
    header[4] = (unsigned char) (n >> 8);
    header[5] = (unsigned char) n;

    assert_int_equal(write(pair[0], header, 8), 8);
    assert_int_equal(write(pair[0], data, n), (ssize_t) n);
}


/* params: NAME, VALUE, ..., NULL */

static void
put_head(const char *const *params)
{
    char         buf[8192], *p;
    const char  *name, *value;

    static const char  begin[8] = { 0, FCGI_RESPONDER, FCGI_KEEP_CONN };

    put_record(FCGI_BEGIN_REQUEST, begin, sizeof(begin));

    p = buf;

    while (*params) {
        name = *params++;
        value = *params++;

        assert_true(strlen(name) < 128 && strlen(value) < 128);

        *p++ = (char) strlen(name);
        *p++ = (char) strlen(value);
        p = mempcpy(p, name, strlen(name));
        p = mempcpy(p, value, strlen(value));
    }

    put_record(FCGI_PARAMS, buf, (size_t) (p - buf));
    put_record(FCGI_PARAMS, "", 0);
}


static void
begin_with_body(const char *const *params, const char *body, size_t n)
{
    put_head(params);

    if (n) {
        put_record(FCGI_STDIN, body, n);
    }

    put_record(FCGI_STDIN, "", 0);

    assert_int_equal(request_read(r, pair[1]), FAAS_OK);
    request_start(r, 0, 0);
}


#define begin(...)                                                            \
    begin_with_body((const char *const []) { __VA_ARGS__, NULL }, "", 0)


static void
finish(int result, int expected)
{
    char           content[65536 + 256];
    size_t         n, got;
    ssize_t        rc;
    unsigned char  header[8];

    assert_int_equal(request_finish(r, result), expected);
    assert_int_equal(shutdown(pair[1], SHUT_WR), 0);

    answer_length = 0;
    answer_ended = 0;

    while (read(pair[0], header, 8) == 8) {
        n = (size_t) header[4] << 8 | header[5];

        for (got = 0; got < n + header[6]; got += (size_t) rc) {
            rc = read(pair[0], content + got, n + header[6] - got);
            assert_true(rc > 0);
        }

        if (header[1] == FCGI_STDOUT) {
            assert_true(answer_length + n < sizeof(answer));
            memcpy(answer + answer_length, content, n);
            answer_length += n;

        } else {
            assert_int_equal(header[1], FCGI_END_REQUEST);
            answer_ended = 1;
        }
    }

    answer[answer_length] = '\0';
}


static void
test_query_is_decoded(void **state)
{
    size_t  n;

    (void) state;

    begin("QUERY_STRING",
          "a=1&b=x+y%20z&c=&d&a=2&%65=f&g=%00h&&=no&i=%4&j=%zz");

    assert_string_equal(faas_query(r, "a", NULL), "1");
    assert_string_equal(faas_query(r, "b", &n), "x y z");
    assert_int_equal(n, 5);
    assert_string_equal(faas_query(r, "c", NULL), "");
    assert_string_equal(faas_query(r, "d", &n), "");
    assert_int_equal(n, 0);
    assert_string_equal(faas_query(r, "e", NULL), "f");
    assert_memory_equal(faas_query(r, "g", &n), "\0h", 3);
    assert_int_equal(n, 2);
    assert_string_equal(faas_query(r, "", NULL), "no");
    assert_string_equal(faas_query(r, "i", NULL), "%4");
    assert_string_equal(faas_query(r, "j", NULL), "%zz");
    assert_null(faas_query(r, "k", NULL));
    assert_null(faas_query(r, "A", NULL));

    finish(0, FAAS_OK);
}


static void
test_no_query_is_none(void **state)
{
    (void) state;

    begin("QUERY_STRING", "");
    assert_null(faas_query(r, "a", NULL));
    assert_null(faas_query(r, "", NULL));
    assert_string_equal(faas_query_string(r), "");
    finish(0, FAAS_OK);
}


static void
test_captures_keep_their_plus(void **state)
{
    (void) state;

    begin("FAAS_PARAMS", "name=a+b%2fc&empty=", "QUERY_STRING", "name=other");

    assert_string_equal(faas_param(r, "name"), "a+b/c");
    assert_string_equal(faas_param(r, "empty"), "");
    assert_null(faas_param(r, "none"));

    finish(0, FAAS_OK);
}


static void
test_what_is_not_sent_has_a_meaning(void **state)
{
    (void) state;

    begin("X", "y");

    assert_string_equal(faas_method(r), "GET");
    assert_string_equal(faas_uri(r), "");
    assert_string_equal(faas_path(r), "");
    assert_string_equal(faas_path_info(r), "");
    assert_string_equal(faas_request_id(r), "");
    assert_null(faas_param(r, "x"));
    assert_null(faas_header(r, "X"));
    assert_null(faas_variable(r, "Y"));
    assert_int_equal(faas_content_length(r), 0);
    assert_true(faas_time_left(r) == INT64_MAX);

    finish(0, FAAS_OK);
}


static void
test_server_parameters_come_first(void **state)
{
    (void) state;

    begin("REMOTE_ADDR", "127.0.0.1", "HTTP_X_A", "1", "HTTP_X_A", "2",
          "REMOTE_ADDR", "6.6.6.6");

    assert_string_equal(faas_variable(r, "REMOTE_ADDR"), "127.0.0.1");
    assert_string_equal(faas_header(r, "X-A"), "1");

    finish(0, FAAS_OK);
}


static int
count(const char *name, const char *value, void *data)
{
    assert_non_null(value);
    assert_string_not_equal(name, "HTTP_PROXY");

    return --*(int *) data == 0 ? 77 : 0;
}


static void
test_walk_over_variables_can_be_ended(void **state)
{
    int  left;

    (void) state;

    begin("HTTP_PROXY", "x", "A", "1", "B", "2", "C", "3");

    left = 3;
    assert_int_equal(faas_variables(r, count, &left), 77);
    left = 100;
    assert_int_equal(faas_variables(r, count, &left), 0);

    finish(0, FAAS_OK);
}


static void
test_allocations_are_zeroed_and_aligned(void **state)
{
    int             i;
    size_t          n, k;
    unsigned char  *p;

    (void) state;

    for (i = 0; i < 3; i++) {
        begin("X", "y");

        for (n = 0; n < 20000; n = n * 2 + 1) {
            p = faas_alloc(r, n);
            assert_non_null(p);
            assert_int_equal((uintptr_t) p % _Alignof(max_align_t), 0);

            for (k = 0; k < n; k++) {
                assert_int_equal(p[k], 0);
            }

            memset(p, 0xff, n);
        }

        assert_null(faas_alloc(r, SIZE_MAX));
        assert_null(faas_alloc(r, SIZE_MAX - 8));

        assert_int_equal(request_finish(r, 0), FAAS_OK);
    }
}


static void
test_answer_goes_out_in_one_write(void **state)
{
    char     buf[4096];
    ssize_t  n;

    (void) state;

    begin("X", "y");
    assert_int_equal(faas_printf(r, "%s", "small"), 0);
    assert_int_equal(recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT), -1);
    assert_int_equal(request_finish(r, 0), FAAS_OK);

    /* the records of the answer and of the end: had it been two, the second
       would still be all there */

    n = recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT);
    assert_true(n > 24);
    assert_int_equal(buf[n - 16 + 1], FCGI_END_REQUEST);
    assert_int_equal(buf[n - 24 + 1], FCGI_STDOUT);
}


/* whether the record is libfcgi's with all of the answer, or by itself */

static void
test_end_request_bears_the_mark(void **state)
{
    char     buf[32768];
    size_t   i;
    ssize_t  n;

    static const size_t         sizes[] = { 0, 7000, 20000 };
    static const unsigned char  end[] = { 1, FCGI_END_REQUEST, 0, 1, 0, 8, 0,
                                          0, 0x51, 0x52, 0x53, 0x54, 0, 0, 0,
                                          0 };

    (void) state;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        begin("X", "y");
        r->mark = 0x51525354;

        assert_int_equal(faas_printf(r, "%*s", (int) sizes[i], ""), 0);
        assert_int_equal(request_finish(r, 0), FAAS_OK);

        n = recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT);
        assert_true(n > (ssize_t) (sizes[i] + sizeof(end)));
        assert_memory_equal(buf + n - sizeof(end), end, sizeof(end));
    }
}


static void
test_headers_are_replaced_added_and_removed(void **state)
{
    (void) state;

    begin("X", "y");

    assert_int_equal(faas_header_set(r, "X-A", "1"), 0);
    assert_int_equal(faas_header_set(r, "x-a", "2"), 0);
    assert_int_equal(faas_header_add(r, "Set-Cookie", "a"), 0);
    assert_int_equal(faas_header_add(r, "Set-Cookie", "b"), 0);
    assert_int_equal(faas_header_set(r, "X-Gone", "1"), 0);
    assert_int_equal(faas_header_set(r, "X-Gone", NULL), 0);
    assert_int_equal(faas_header_set(r, "X-Never", NULL), 0);

    finish(0, FAAS_OK);

    assert_string_equal(answer, "Status: 200 OK\r\nx-a: 2\r\nSet-Cookie: a\r\n"
                        "Set-Cookie: b\r\nContent-Length: 0\r\n\r\n");
}


static void
test_headers_have_a_limit(void **state)
{
    int   rc, n;
    char  value[1000];

    (void) state;

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';

    begin("X", "y");

    n = 0;

    do {
        rc = faas_header_add(r, "X", value);
        n += rc == 0;
    } while (rc == 0 && n < 1000);

    assert_in_range(n, 50, 65);

    /* what was removed makes room */

    assert_int_equal(faas_header_set(r, "X", "1"), 0);

    finish(0, FAAS_OK);
    assert_true(answer_length < 100);
}


static void
test_no_byte_that_ends_a_line_gets_into_a_header(void **state)
{
    int   c;
    char  text[4];

    (void) state;

    begin("X", "y");

    for (c = 1; c < 256; c++) {
        (void) snprintf(text, sizeof(text), "a%cb", c);

        assert_int_equal(faas_header_add(r, "X", text),
                         (c < ' ' && c != '\t') || c == 0x7f ? -1 : 0);

        (void) faas_header_set(r, "X", NULL);

        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c)) {
            assert_int_equal(faas_header_add(r, text, "x"), -1);
            assert_int_equal(faas_header_set(r, text, "x"), -1);

        } else {
            assert_int_equal(faas_header_set(r, text, "x"), 0);
            assert_int_equal(faas_header_set(r, text, NULL), 0);
        }
    }

    assert_int_equal(faas_header_set(r, "", "x"), -1);
    assert_int_equal(faas_header_set(r, "status", "200"), -1);

    finish(0, FAAS_OK);
    assert_string_equal(answer,
                        "Status: 200 OK\r\nContent-Length: 0\r\n\r\n");
}


static void
test_printf_at_the_buffers_end(void **state)
{
    int     i;
    char   *body;
    size_t  n;

    (void) state;

    begin("X", "y");

    for (i = 0; i < 9000; i++) {
        assert_int_equal(faas_printf(r, "%08d", i), 0);
    }

    finish(0, FAAS_OK);

    body = strstr(answer, "\r\n\r\n") + 4;
    n = answer_length - (size_t) (body - answer);
    assert_int_equal(n, 72000);

    for (i = 0; i < 9000; i++) {
        assert_int_equal(strtol(strndupa(body + 8 * i, 8), NULL, 10), i);
    }
}


static void
test_printf_of_more_than_the_buffer(void **state)
{
    char  *big;

    (void) state;

    big = malloc(200001);
    assert_non_null(big);
    memset(big, 'b', 200000);
    big[200000] = '\0';

    begin("X", "y");
    assert_int_equal(faas_printf(r, "%s", "a"), 0);

    /* more than the socket holds would wait for a reader */

    big[100000] = '\0';
    assert_int_equal(faas_printf(r, "%s", big), 0);
    assert_int_equal(faas_printf(r, "%s", "c"), 0);
    finish(0, FAAS_OK);

    assert_true(answer_ended);
    assert_non_null(strstr(answer, "\r\n\r\nabbb"));
    assert_int_equal(answer[answer_length - 1], 'c');

    free(big);
}


static void
test_answer_is_binary_safe(void **state)
{
    int    i;
    char   all[256], *body;

    (void) state;

    for (i = 0; i < 256; i++) {
        all[i] = (char) i;
    }

    begin("X", "y");
    assert_int_equal(faas_write(r, all, sizeof(all)), 0);
    assert_int_equal(faas_write(r, NULL, 0), 0);
    finish(0, FAAS_OK);

    body = strstr(answer, "\r\n\r\n") + 4;
    assert_memory_equal(body, all, sizeof(all));
    assert_non_null(strstr(answer, "Content-Length: 256\r\n"));
}


static void
test_own_content_length_cannot_be_wrong(void **state)
{
    (void) state;

    begin("X", "y");
    assert_int_equal(faas_header_set(r, "content-length", "99"), 0);
    assert_int_equal(faas_printf(r, "five5"), 0);
    finish(0, FAAS_OK);

    assert_null(strstr(answer, "99"));
    assert_non_null(strstr(answer, "Content-Length: 5\r\n"));
}


static void
test_writes_fail_when_the_other_end_is_gone(void **state)
{
    (void) state;

    begin("X", "y");
    (void) close(pair[0]);

    assert_int_equal(faas_printf(r, "gathered"), 0);
    assert_int_equal(faas_flush(r), -1);
    assert_int_equal(faas_printf(r, "more"), -1);
    assert_int_equal(faas_write(r, "more", 4), -1);
    assert_int_equal(faas_flush(r), -1);
    assert_int_equal(request_finish(r, 0), FAAS_DONE);
}


static void
test_flush_of_a_head_tells_when_the_other_end_is_gone(void **state)
{
    (void) state;

    begin("REQUEST_METHOD", "HEAD");
    assert_int_equal(faas_flush(r), 0);
    assert_int_equal(faas_write(r, "x", 1), 0);
    assert_int_equal(faas_flush(r), 0);
    (void) close(pair[0]);
    assert_int_equal(faas_flush(r), -1);
    assert_int_equal(request_finish(r, 0), FAAS_DONE);
}


static void
test_body_is_read_as_it_is(void **state)
{
    char         buf[4];
    size_t       n;
    const char  *body;

    (void) state;

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "5", NULL }, "a\0b\r\n", 5);
    assert_int_equal(faas_content_length(r), 5);
    assert_int_equal(faas_read(r, buf, 0), 0);
    assert_int_equal(faas_read(r, buf, 2), 2);
    assert_memory_equal(buf, "a", 2);
    assert_null(faas_body(r, 0, &n));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(faas_read(r, buf, 4), 3);
    assert_memory_equal(buf, "b\r\n", 3);
    assert_int_equal(faas_read(r, buf, 4), 0);
    assert_int_equal(faas_read(r, buf, 4), 0);
    assert_int_equal(request_finish(r, 0), FAAS_OK);

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "5", NULL }, "a\0b\r\n", 5);
    body = faas_body(r, 5, &n);
    assert_int_equal(n, 5);
    assert_memory_equal(body, "a\0b\r\n", 6);
    assert_ptr_equal(faas_body(r, 1, &n), body);
    assert_int_equal(faas_read(r, buf, 4), 0);
    finish(0, FAAS_OK);
}


static void
test_body_that_is_too_long_is_none(void **state)
{
    size_t  n;

    (void) state;

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "5", NULL }, "12345", 5);
    assert_null(faas_body(r, 4, &n));
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(request_finish(r, 0), FAAS_OK);

    /* its length is not announced */

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST", NULL },
                    "12345", 5);
    assert_null(faas_body(r, 4, &n));
    assert_int_equal(errno, EMSGSIZE);
    finish(0, FAAS_OK);
}


static void
test_body_that_ends_early_is_an_error(void **state)
{
    char    buf[16];
    size_t  n;

    (void) state;

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "6", NULL }, "12345", 5);
    assert_int_equal(faas_read(r, buf, 16), 5);
    assert_int_equal(faas_read(r, buf, 16), -1);
    assert_int_equal(faas_read(r, buf, 16), -1);
    assert_int_equal(request_finish(r, -1), FAAS_OK);

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "6", NULL }, "12345", 5);
    assert_null(faas_body(r, 0, &n));
    assert_int_equal(errno, EIO);
    finish(-1, FAAS_OK);
}


static void
test_absurd_lengths_are_no_allocation(void **state)
{
    size_t  n;

    (void) state;

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "9999999999999999999", NULL }, "x", 1);
    assert_null(faas_body(r, 0, &n));
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(request_finish(r, -1), FAAS_OK);

    /* no number at all */

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "1x", NULL }, "x", 1);
    assert_int_equal(faas_content_length(r), 0);
    assert_non_null(faas_body(r, 0, &n));
    assert_int_equal(n, 1);
    assert_int_equal(request_finish(r, 0), FAAS_OK);

    begin_with_body((const char *const []) { "REQUEST_METHOD", "POST",
                    "CONTENT_LENGTH", "99999999999999999999999", NULL }, "x",
                    1);
    assert_int_equal(faas_content_length(r), 0);
    finish(0, FAAS_OK);
}


static void
test_parameters_cut_off_are_no_request(void **state)
{
    static const char  start[8] = { 0, FCGI_RESPONDER, FCGI_KEEP_CONN };

    (void) state;

    put_record(FCGI_BEGIN_REQUEST, start, sizeof(start));
    put_record(FCGI_PARAMS, "\1\1AB", 4);
    assert_int_equal(shutdown(pair[0], SHUT_WR), 0);

    /* libfcgi closes what it gives up: keep pair[1] for the teardown */

    assert_int_equal(request_read(r, dup(pair[1])), FAAS_DONE);
}


static void
test_environment_is_replaced(void **state)
{
    static const char  text[] = "A=1\0B=\0=x\0nothing\0C=a=b";

    (void) state;

    assert_int_equal(setenv("SECRET", "x", 1), 0);
    assert_int_equal(environment_set(text, sizeof(text)), FAAS_OK);

    assert_null(getenv("SECRET"));
    assert_string_equal(getenv("A"), "1");
    assert_string_equal(getenv("B"), "");
    assert_string_equal(getenv("C"), "a=b");
    assert_non_null(getenv("PATH"));
    assert_null(getenv("nothing"));

    assert_string_equal(faas_config(NULL, "A"), "1");
    assert_string_equal(faas_config(NULL, "C"), "a=b");
    assert_null(faas_config(NULL, "PATH"));
    assert_null(faas_config(NULL, "nothing"));

    assert_int_equal(environment_set("PATH=/x", 7), FAAS_OK);
    assert_string_equal(getenv("PATH"), "/x");
    assert_null(faas_config(NULL, "A"));

    assert_int_equal(environment_set("", 0), FAAS_OK);
    assert_null(faas_config(NULL, "PATH"));
}


int
main(void)
{
#define with_pair(test)                                                       \
    cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

    const struct CMUnitTest  tests[] = {
        with_pair(test_query_is_decoded),
        with_pair(test_no_query_is_none),
        with_pair(test_captures_keep_their_plus),
        with_pair(test_what_is_not_sent_has_a_meaning),
        with_pair(test_server_parameters_come_first),
        with_pair(test_walk_over_variables_can_be_ended),
        with_pair(test_allocations_are_zeroed_and_aligned),
        with_pair(test_answer_goes_out_in_one_write),
        with_pair(test_end_request_bears_the_mark),
        with_pair(test_headers_are_replaced_added_and_removed),
        with_pair(test_headers_have_a_limit),
        with_pair(test_no_byte_that_ends_a_line_gets_into_a_header),
        with_pair(test_printf_at_the_buffers_end),
        with_pair(test_printf_of_more_than_the_buffer),
        with_pair(test_answer_is_binary_safe),
        with_pair(test_own_content_length_cannot_be_wrong),
        with_pair(test_writes_fail_when_the_other_end_is_gone),
        with_pair(test_flush_of_a_head_tells_when_the_other_end_is_gone),
        with_pair(test_body_is_read_as_it_is),
        with_pair(test_body_that_is_too_long_is_none),
        with_pair(test_body_that_ends_early_is_an_error),
        with_pair(test_absurd_lengths_are_no_allocation),
        with_pair(test_parameters_cut_off_are_no_request),
        cmocka_unit_test(test_environment_is_replaced),
    };

    if (FCGX_Init() != 0) {
        return 1;
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}
