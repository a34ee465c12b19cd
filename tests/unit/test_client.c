/* objects: baas/client.c baas/wire.c */
/* libs: -lpthread */

/*
 * Several questions at once, against an events process that answers in its
 * own order, breaks off, or reads slowly.  It is a thread here, with a list
 * of what to do with each frame it gets.
 */


#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"


#define MIB  (1024 * 1024)


/* what the server does with a frame: one letter each, '.' for HELLO
     .  answers it at once
     h  holds its answer back
     r  answers it, then all that were held, the last first
     c  closes the connection without an answer
     e  answers with its payload
 */

static char             directory[64];
static char             path[96];
static int              listener;
static pthread_t        thread;
static const char      *script;
static uint32_t         operations[64];     /* of the frames that came */
static unsigned         frames;
static unsigned         connections;

static void            *memory[256];
static size_t           taken;


static void
say(int s, const wire_head_t *head, const char *payload, uint32_t length)
{
    size_t       n, total;
    ssize_t      sent;
    char        *frame;
    wire_head_t  answer = *head;

    answer.length = length;
    answer.code = head->operation == WIRE_DEAD_GET ? FAAS_ENOTFOUND : 0;

    total = sizeof(answer) + length;
    frame = malloc(total);
    memcpy(frame, &answer, sizeof(answer));

    if (length) {
        memcpy(frame + sizeof(answer), payload, length);
    }

    for (n = 0; n < total; n += (size_t) sent) {
        sent = send(s, frame + n, total - n, MSG_NOSIGNAL);

        if (sent <= 0) {
            break;
        }
    }

    free(frame);
}


static int
take(int s, void *data, size_t size)
{
    size_t   n;
    ssize_t  got;

    /* MSG_WAITALL does not wait for all in a process that is stopped */

    for (n = 0; n < size; n += (size_t) got) {
        got = recv(s, (char *) data + n, size - n, 0);

        if (got <= 0) {
            return 0;
        }
    }

    return 1;
}


static void
serve(int s)
{
    char         *payload;
    unsigned      held;
    wire_head_t   head, holds[32];

    held = 0;
    connections++;

    while (*script && take(s, &head, sizeof(head))) {
        payload = malloc(head.length + 1);

        if (!take(s, payload, head.length)) {
            free(payload);
            break;
        }

        operations[frames++] = head.operation;

        switch (*script++) {

        case 'h':
            holds[held++] = head;
            break;

        case 'r':
            say(s, &head, NULL, 0);

            while (held) {
                say(s, &holds[--held], NULL, 0);
            }

            break;

        case 'c':
            free(payload);
            return;

        case 'e':
            say(s, &head, payload, head.length);
            break;

        default:
            say(s, &head, NULL, 0);
            break;
        }

        free(payload);
    }
}


static void *
server(void *data)
{
    int  s;

    (void) data;

    while (*script) {
        s = accept(listener, NULL, NULL);

        if (s == -1) {
            break;
        }

        serve(s);
        (void) close(s);
    }

    return NULL;
}


static void
begin(const char *what)
{
    struct sockaddr_un  address = { .sun_family = AF_UNIX };

    (void) strcpy(directory, "/tmp/test_client.XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void) snprintf(path, sizeof(path), "%s/baas.sock", directory);
    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);

    listener = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *) &address,
                          sizeof(address)), 0);
    assert_int_equal(listen(listener, 16), 0);

    script = what;
    frames = 0;
    connections = 0;

    assert_int_equal(pthread_create(&thread, NULL, server, NULL), 0);
}


static void
end(client_t *c)
{
    client_destroy(c);

    (void) shutdown(listener, SHUT_RDWR);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void) close(listener);
    (void) unlink(path);
    (void) rmdir(directory);

    while (taken) {
        free(memory[--taken]);
    }
}


static void *
scope_alloc(void *data, size_t n)
{
    (void) data;

    return memory[taken++] = calloc(1, n);
}


static baas_scope_t
scope_of(int64_t ms)
{
    baas_scope_t     scope;
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    memset(&scope, 0, sizeof(scope));
    scope.deadline_ms = (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000
                        + ms;
    scope.alloc = scope_alloc;

    return scope;
}


static void
fill(client_question_t *q, size_t n, uint32_t operation, const void *data,
    size_t size)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        memset(&q[i], 0x5a, sizeof(q[i]));
        q[i].operation = operation;
        q[i].payload.data = data;
        q[i].payload.size = size;
    }
}


static void
test_answers_may_come_in_any_order(void **state)
{
    size_t             i;
    client_t          *c;
    baas_scope_t       scope = scope_of(60000);
    client_question_t  q[5];

    (void) state;

    begin(".hhhhr");
    c = client_create(path, "f", "t");

    fill(q, 5, WIRE_SEND, "x", 1);
    q[2].operation = WIRE_DEAD_GET;

    client_ask(c, q, 5, &scope);

    for (i = 0; i < 5; i++) {
        assert_int_equal(q[i].code, i == 2 ? FAAS_ENOTFOUND : FAAS_OK);
    }

    assert_int_equal(connections, 1);
    end(c);
}


static void
test_only_what_has_no_answer_is_asked_again(void **state)
{
    client_t          *c;
    baas_scope_t       scope = scope_of(60000);
    client_question_t  q[3];

    (void) state;

    begin("..c...");
    c = client_create(path, "f", "t");

    fill(q, 3, WIRE_SEND, "x", 1);
    q[0].operation = WIRE_CALL_GET;

    client_ask(c, q, 3, &scope);

    assert_int_equal(q[0].code, FAAS_OK);
    assert_int_equal(q[1].code, FAAS_OK);
    assert_int_equal(q[2].code, FAAS_OK);
    assert_int_equal(frames, 6);

    /* HELLO GET SEND(lost) HELLO SEND SEND */

    assert_int_equal(operations[1], WIRE_CALL_GET);
    assert_int_equal(operations[3], WIRE_HELLO);
    assert_int_equal(operations[4], WIRE_SEND);
    assert_int_equal(operations[5], WIRE_SEND);
    end(c);
}


static void
test_what_counts_is_not_asked_twice(void **state)
{
    client_t          *c;
    baas_scope_t       scope = scope_of(60000);
    client_question_t  q[2];

    (void) state;

    begin(".c..");
    c = client_create(path, "f", "t");

    fill(q, 2, WIRE_DEAD_PURGE, "x", 1);
    q[1].operation = WIRE_SEND;

    client_ask(c, q, 2, &scope);

    assert_int_equal(q[0].code, FAAS_EUNAVAILABLE);
    assert_int_equal(q[1].code, FAAS_OK);
    assert_int_equal(operations[3], WIRE_SEND);
    end(c);
}


/* neither side can send all before it reads: whoever does not look at both
   directions hangs here */

static void
test_large_questions_and_answers_at_once(void **state)
{
    char              *data;
    size_t             i;
    client_t          *c;
    baas_scope_t       scope = scope_of(60000);
    client_question_t  q[8];

    (void) state;

    begin(".eeeeeeee");
    c = client_create(path, "f", "t");

    data = malloc(4 * MIB);

    for (i = 0; i < 4 * MIB; i++) {
        data[i] = (char) (i * 7);
    }

    fill(q, 8, WIRE_SEND, data, 4 * MIB);
    client_ask(c, q, 8, &scope);

    for (i = 0; i < 8; i++) {
        assert_int_equal(q[i].code, FAAS_OK);
        assert_int_equal(q[i].answer.size, 4 * MIB);
        assert_memory_equal(q[i].answer.data, data, 4 * MIB);
    }

    free(data);
    end(c);
}


static void
test_question_that_is_too_large_is_refused_alone(void **state)
{
    client_t          *c;
    baas_scope_t       scope = scope_of(60000);
    client_question_t  q[2];

    (void) state;

    begin("..");
    c = client_create(path, "f", "t");

    fill(q, 2, WIRE_SEND, "x", 1);
    q[0].payload.size = WIRE_PAYLOAD + 1;

    client_ask(c, q, 2, &scope);

    assert_int_equal(q[0].code, FAAS_ETOOLARGE);
    assert_int_equal(q[1].code, FAAS_OK);
    end(c);
}


static void
test_deadline_that_has_passed_asks_nothing_for_long(void **state)
{
    client_t          *c;
    baas_scope_t       scope = scope_of(-1);
    client_question_t  q[1];

    (void) state;

    begin(".h");
    c = client_create(path, "f", "t");

    fill(q, 1, WIRE_SEND, "x", 1);
    client_ask(c, q, 1, &scope);

    assert_int_equal(q[0].code, FAAS_ETIMEDOUT);
    end(c);
}


static void
test_path_that_is_too_long_is_none(void **state)
{
    char  name[200];

    (void) state;

    memset(name, 'a', sizeof(name));
    name[199] = '\0';

    assert_null(client_create(name, "f", "t"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_answers_may_come_in_any_order),
        cmocka_unit_test(test_only_what_has_no_answer_is_asked_again),
        cmocka_unit_test(test_what_counts_is_not_asked_twice),
        cmocka_unit_test(test_large_questions_and_answers_at_once),
        cmocka_unit_test(test_question_that_is_too_large_is_refused_alone),
        cmocka_unit_test(test_deadline_that_has_passed_asks_nothing_for_long),
        cmocka_unit_test(test_path_that_is_too_long_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
