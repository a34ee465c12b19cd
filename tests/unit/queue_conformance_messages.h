
/*
 * Sends, order, delays, ids that are remembered, figures.  Part of
 * queue_conformance.h.
 */


static void
test_messages_come_in_the_order_of_sending(void **state)
{
    char             text[16];
    size_t           i, n, got;
    queue_t         *q;
    queue_message_t  m[9];

    (void) state;

    q = node("a");

    for (i = 0; i < 98; i += 7) {
        send_numbered(q, "orders", (unsigned) i, 7);
    }

    for (got = 0; got < 98; got += n) {
        n = receive(q, "orders", m, 9, TEST_LEASE);
        assert_true(n > 0);

        for (i = 0; i < n; i++) {
            snprintf(text, sizeof(text), "%zu", got + i);
            assert_string_equal((const char *) m[i].data, text);
            assert_string_equal(m[i].queue, "orders");
        }
    }

    assert_int_equal(receive(q, "orders", m, 9, TEST_LEASE), 0);
}


static void
test_a_message_has_what_was_sent(void **state)
{
    int              code;
    int64_t          before, after;
    queue_t         *q;
    queue_message_t  m, got;

    (void) state;

    q = node("a");

    m = message("@fn_1-x", "A.b_c:d-9", "data", 4);
    m.sent_ms = 1234567890123;
    assert_int_equal(q->engine->send(q, &m, &code, 1, NOW, DEADLINE),
                     FAAS_OK);
    assert_int_equal(code, FAAS_OK);

    before = NOW;
    send_text(q, "@fn_1-x", "now", "");
    after = NOW;

    receive_one(q, "@fn_1-x", &got, TEST_LEASE);
    expect_text(&got, "A.b_c:d-9", "data");
    assert_string_equal(got.queue, "@fn_1-x");
    assert_true(got.sent_ms == 1234567890123);
    assert_int_equal(got.attempt, 0);
    assert_true(got.fence > 0);

    receive_one(q, "@fn_1-x", &got, TEST_LEASE);
    expect_text(&got, "now", "");
    assert_true(got.sent_ms >= before && got.sent_ms <= after);
}


static void
test_data_may_be_anything_up_to_a_mebibyte(void **state)
{
    int              code;
    char            *data;
    size_t           i, j, n;
    queue_t         *q;
    queue_message_t  m[10];

    static const size_t  sizes[] = {
        0, 1, 255, 1023, 1024, 1025, 4096, 65536, 65537, FAAS_MESSAGE_MAX,
    };

    (void) state;

    q = node("a");
    data = test_alloc(NULL, FAAS_MESSAGE_MAX);

    for (i = 0; i < FAAS_MESSAGE_MAX; i++) {
        data[i] = (char) (i * 7 + i / 251);
    }

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        m[i] = message("blobs", "", data, sizes[i]);
        snprintf(m[i].id, sizeof(m[i].id), "size-%zu", sizes[i]);
        assert_int_equal(q->engine->send(q, &m[i], &code, 1, NOW, DEADLINE),
                         FAAS_OK);
        assert_int_equal(code, FAAS_OK);
    }

    /* twice: what comes back after a lease is the same */

    for (j = 0; j < 2; j++) {
        for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            receive_one(q, "blobs", &m[i], TEST_LEASE);
            n = (size_t) strtoul(m[i].id + 5, NULL, 10);
            assert_int_equal(m[i].size, n);
            assert_memory_equal(m[i].data, data, n);
        }

        for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            assert_int_equal(settle(q, &m[i], j ? QUEUE_DONE : QUEUE_RETRY,
                                    NOW + 20),
                             FAAS_OK);
        }
    }

    expect_stats(q, "blobs", 0, 0, 0, 0);
}


static void
test_one_receive_is_bounded_in_bytes(void **state)
{
    int              code;
    char            *data;
    size_t           i, n, bytes, got;
    queue_t         *q;
    queue_message_t  m[16];

    (void) state;

    q = node("a");
    data = test_alloc(NULL, FAAS_MESSAGE_MAX);

    for (i = 0; i < 12; i++) {
        m[0] = message("blobs", "", data, FAAS_MESSAGE_MAX);
        snprintf(m[0].id, sizeof(m[0].id), "b%zu", i);
        assert_int_equal(q->engine->send(q, m, &code, 1, NOW, DEADLINE),
                         FAAS_OK);
    }

    for (got = 0; got < 12; got += n) {
        n = receive(q, "blobs", m, 16, TEST_LEASE);
        assert_true(n > 0);

        for (i = bytes = 0; i < n; i++) {
            bytes += m[i].size;
        }

        assert_true(bytes <= QUEUE_RECEIVE_BYTES);
    }

    /* what was not given is not leased */
    assert_int_equal(stats(q, "blobs").leased, 12);
}


static void
test_a_send_has_a_code_for_each_message(void **state)
{
    int              code[7];
    queue_t         *q;
    queue_message_t  m[7], got;

    (void) state;

    q = node("a");

    m[0] = message("good", "1", "x", 1);
    m[1] = message("Bad", "2", "x", 1);
    m[2] = message("../good", "3", "x", 1);
    m[3] = message("good", "", "x", 1);
    m[4] = message("good", "a b", "x", 1);
    m[5] = message("good", "5", "x", (size_t) QUEUE_DATA_MAX + 1);
    m[6] = message("good", "6", "y", 1);

    assert_int_equal(q->engine->send(q, m, code, 7, NOW, DEADLINE), FAAS_OK);

    assert_int_equal(code[0], FAAS_OK);
    assert_int_equal(code[1], FAAS_EINVAL);
    assert_int_equal(code[2], FAAS_EINVAL);
    assert_int_equal(code[3], FAAS_EINVAL);
    assert_int_equal(code[4], FAAS_EINVAL);
    assert_int_equal(code[5], FAAS_ETOOLARGE);
    assert_int_equal(code[6], FAAS_OK);

    receive_one(q, "good", &got, TEST_LEASE);
    expect_text(&got, "1", "x");
    receive_one(q, "good", &got, TEST_LEASE);
    expect_text(&got, "6", "y");
    expect_stats(q, "good", 0, 0, 2, 0);
}


static void
test_queues_are_apart(void **state)
{
    queue_t         *q;
    queue_message_t  m[2];

    (void) state;

    q = node("a");

    send_text(q, "one", "same", "1");
    send_text(q, "@one", "same", "2");
    send_text(q, "one-more", "same", "3");

    assert_int_equal(receive(q, "@one", m, 2, TEST_LEASE), 1);
    expect_text(&m[0], "same", "2");
    assert_int_equal(receive(q, "one", m, 2, TEST_LEASE), 1);
    expect_text(&m[0], "same", "1");
    assert_int_equal(receive(q, "two", m, 2, TEST_LEASE), 0);

    expect_stats(q, "one-more", 1, 0, 0, 0);
    expect_stats(q, "two", 0, 0, 0, 0);
}


/* and those of one send need not be of one queue */

static void
test_one_send_to_many_queues(void **state)
{
    int              code[100];
    char             names[50][16];
    size_t           i;
    queue_t         *q;
    queue_message_t  m[100];

    (void) state;

    q = node("a");

    for (i = 0; i < 100; i++) {
        snprintf(names[i % 50], sizeof(names[0]), "%sq%zu", i % 2 ? "@" : "",
                 i % 50);
        m[i] = message(names[i % 50], i < 50 ? "first" : "second", "x", 1);
    }

    assert_int_equal(q->engine->send(q, m, code, 100, NOW, DEADLINE),
                     FAAS_OK);

    for (i = 0; i < 50; i++) {
        assert_int_equal(code[i], FAAS_OK);
        expect_stats(q, names[i], 2, 0, 0, 0);
        receive_one(q, names[i], m, TEST_LEASE);
        assert_string_equal(m[0].id, "first");
    }
}


static void
test_a_delayed_message_is_not_given_before(void **state)
{
    size_t           n;
    int64_t          due, asked;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    due = NOW + 200;
    assert_int_equal(try_send(q, "later", "l", "x", due), FAAS_OK);

    do {
        n = look(q, "later", &m, 1, TEST_LEASE);
        asked = NOW;
        assert_true(n == 0 || asked >= due);
    } while (n == 0 && asked < due + TEST_PATIENCE);

    assert_int_equal(n, 1);
    expect_text(&m, "l", "x");
    assert_int_equal(m.attempt, 0);
}


static void
test_delayed_messages_come_when_they_are_due(void **state)
{
    int64_t          now;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    now = NOW;

    assert_int_equal(try_send(q, "later", "3", "x", now + 900), FAAS_OK);
    assert_int_equal(try_send(q, "later", "1", "x", now + 500), FAAS_OK);
    assert_int_equal(try_send(q, "later", "2", "x", now + 700), FAAS_OK);
    assert_int_equal(try_send(q, "later", "4", "x", now + 3600000), FAAS_OK);
    assert_int_equal(try_send(q, "later", "0", "x", now - 5), FAAS_OK);

    receive_one(q, "later", &m, TEST_LEASE);
    assert_string_equal(m.id, "0");
    receive_one(q, "later", &m, TEST_LEASE);
    assert_string_equal(m.id, "1");
    receive_one(q, "later", &m, TEST_LEASE);
    assert_string_equal(m.id, "2");
    receive_one(q, "later", &m, TEST_LEASE);
    assert_string_equal(m.id, "3");

    assert_int_equal(look(q, "later", &m, 1, TEST_LEASE), 0);
    expect_stats(q, "later", 0, 1, 3 + 1, 0);
}


static void
test_what_is_delayed_holds_up_nothing(void **state)
{
    queue_t         *q;
    queue_message_t  m[3];

    (void) state;

    q = node("a");

    assert_int_equal(try_send(q, "q", "later", "x", NOW + 3600000), FAAS_OK);
    send_text(q, "q", "now", "x");

    assert_int_equal(receive(q, "q", m, 3, TEST_LEASE), 1);
    assert_string_equal(m[0].id, "now");
}


/* in each state that a message can be in */

static void
test_an_id_is_remembered(void **state)
{
    int              code[3];
    queue_t         *q;
    queue_message_t  m[3], got;

    (void) state;

    q = node("a");

    m[0] = message("q", "twice", "first", 5);
    m[1] = message("q", "twice", "second", 6);
    m[2] = message("other", "twice", "third", 5);
    assert_int_equal(q->engine->send(q, m, code, 3, NOW, DEADLINE), FAAS_OK);
    assert_int_equal(code[1], FAAS_OK);

    expect_stats(q, "q", 1, 0, 0, 0);
    expect_stats(q, "other", 1, 0, 0, 0);

    send_text(q, "q", "twice", "ready");
    assert_int_equal(try_send(q, "q", "twice", "ready", NOW + 9999), FAAS_OK);
    expect_stats(q, "q", 1, 0, 0, 0);

    receive_one(q, "q", &got, TEST_LEASE);
    expect_text(&got, "twice", "first");
    send_text(q, "q", "twice", "leased");
    expect_stats(q, "q", 0, 0, 1, 0);

    assert_int_equal(settle(q, &got, QUEUE_RETRY, NOW + 3600000), FAAS_OK);
    send_text(q, "q", "twice", "delayed");
    expect_stats(q, "q", 0, 1, 0, 0);

    kill_message(q, "q", "dies", "first");
    send_text(q, "q", "dies", "dead");
    expect_stats(q, "q", 0, 1, 0, 1);

    send_text(q, "q", "ends", "first");
    receive_one(q, "q", &got, TEST_LEASE);
    assert_int_equal(settle(q, &got, QUEUE_DONE, 0), FAAS_OK);
    send_text(q, "q", "ends", "done");
    tick(q);
    send_text(q, "q", "ends", "done");
    expect_stats(q, "q", 0, 1, 0, 1);
}


static void
test_figures_of_a_queue(void **state)
{
    int64_t          before, after, due;
    queue_t         *q;
    queue_stats_t    s;
    queue_message_t  m;

    (void) state;

    q = node("a");

    s = stats(q, "q");
    assert_true(s.oldest_ms == 0 && s.next_ms == 0);

    before = NOW;
    send_text(q, "q", "1", "x");
    after = NOW;
    send_text(q, "q", "2", "x");

    due = NOW + 3600000;
    assert_int_equal(try_send(q, "q", "3", "x", due + 1), FAAS_OK);
    assert_int_equal(try_send(q, "q", "4", "x", due), FAAS_OK);

    expect_stats(q, "q", 2, 2, 0, 0);
    s = stats(q, "q");
    assert_true(s.oldest_ms >= before && s.oldest_ms <= after);
    assert_true(s.next_ms == due);

    receive_one(q, "q", &m, TEST_LEASE);
    expect_stats(q, "q", 1, 2, 1, 0);
    s = stats(q, "q");
    assert_true(s.oldest_ms >= after);
    assert_true(s.next_ms > NOW && s.next_ms < due);    /* the lease's end */

    assert_int_equal(settle(q, &m, QUEUE_DEAD, 0), FAAS_OK);
    expect_stats(q, "q", 1, 2, 0, 1);
    assert_true(stats(q, "q").next_ms == due);

    receive_one(q, "q", &m, TEST_LEASE);
    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_OK);
    expect_stats(q, "q", 0, 2, 0, 1);
    assert_true(stats(q, "q").oldest_ms == 0);
}


/* what is due counts as ready before anybody asked for it */

static void
test_figures_when_the_time_has_come(void **state)
{
    queue_t         *q;
    queue_stats_t    s;
    queue_message_t  m;

    (void) state;

    q = node("a");

    assert_int_equal(try_send(q, "q", "1", "x", NOW + 50), FAAS_OK);
    send_text(q, "p", "2", "x");
    receive_one(q, "p", &m, 50);

    EVENTUALLY(stats(q, "q").ready == 1);
    expect_stats(q, "q", 1, 0, 0, 0);
    EVENTUALLY(stats(q, "p").ready == 1);
    expect_stats(q, "p", 1, 0, 0, 0);

    s = stats(q, "q");
    assert_true(s.oldest_ms > 0 && s.oldest_ms <= NOW && s.next_ms == 0);
    s = stats(q, "p");
    assert_true(s.oldest_ms > 0 && s.oldest_ms <= NOW && s.next_ms == 0);
}


typedef struct {
    queue_t                  *q;
    unsigned                  ready;
    char                      names[256];
} test_names_t;


static int
test_each_queue(const char *queue, void *data)
{
    test_names_t  *t = data;

    strcat(t->names, " ");
    strcat(t->names, queue);
    t->ready += (unsigned) stats(t->q, queue).ready;   /* it may ask */

    return 0;
}


static int
test_each_stops(const char *queue, void *data)
{
    (void) queue;
    (*(int *) data)++;

    return 7;
}


static void
test_queues_are_listed(void **state)
{
    int           calls;
    test_names_t  t;

    (void) state;

    memset(&t, 0, sizeof(t));
    t.q = node("a");

    send_text(t.q, "one", "1", "x");
    send_text(t.q, "@two", "1", "x");
    kill_message(t.q, "three", "1", "x");

    assert_int_equal(t.q->engine->list(t.q, test_each_queue, &t, DEADLINE),
                     FAAS_OK);
    assert_non_null(strstr(t.names, " one"));
    assert_non_null(strstr(t.names, " @two"));
    assert_non_null(strstr(t.names, " three"));
    assert_int_equal(t.ready, 2);

    calls = 0;
    assert_int_equal(t.q->engine->list(t.q, test_each_stops, &calls,
                                       DEADLINE),
                     7);
    assert_int_equal(calls, 1);
}


static void
test_a_deadline_that_has_passed(void **state)
{
    int              code;
    size_t           n;
    int64_t          passed;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    send_text(q, "q", "before", "x");

    passed = test_clock(CLOCK_MONOTONIC) - 1;

    m = message("q", "late", "x", 1);
    code = FAAS_OK;
    assert_int_equal(q->engine->send(q, &m, &code, 1, NOW, passed),
                     FAAS_ETIMEDOUT);
    assert_int_equal(code, FAAS_ETIMEDOUT);

    n = 1;
    assert_int_equal(q->engine->receive(q, "q", TEST_LEASE, &m, &n,
                                        test_alloc, NULL, NOW, passed),
                     FAAS_ETIMEDOUT);
    assert_int_equal(n, 0);

    expect_stats(q, "q", 1, 0, 0, 0);
}


/* when there is no memory for all of them, some are given, or none; the others
   are not lost */

static void
test_no_memory_for_what_is_received(void **state)
{
    size_t           i, n;
    unsigned         seen;
    queue_t         *q;
    queue_message_t  m[4];

    (void) state;

    q = node("a");
    send_numbered(q, "q", 0, 4);

    test_allocs = 0;
    n = 4;
    assert_int_equal(q->engine->receive(q, "q", 200, m, &n, test_alloc, NULL,
                                        NOW, DEADLINE),
                     FAAS_ERROR);
    assert_int_equal(n, 0);
    test_allocs = -1;
    EVENTUALLY((tick(q), stats(q, "q").ready == 4));

    test_allocs = 3;
    n = receive(q, "q", m, 4, TEST_LEASE);
    assert_true(n > 0 && n < 4);
    test_allocs = -1;

    seen = 0;

    do {
        for (i = 0; i < n; i++) {
            seen |= 1u << atoi(m[i].data);
        }

        n = look(q, "q", m, 4, TEST_LEASE);
    } while (n);

    assert_int_equal(seen, 0xf);
}


#define QUEUE_CONFORMANCE_MESSAGES                                            \
    QUEUE_TEST(test_messages_come_in_the_order_of_sending),                   \
    QUEUE_TEST(test_a_message_has_what_was_sent),                             \
    QUEUE_TEST(test_data_may_be_anything_up_to_a_mebibyte),                   \
    QUEUE_TEST(test_one_receive_is_bounded_in_bytes),                         \
    QUEUE_TEST(test_a_send_has_a_code_for_each_message),                      \
    QUEUE_TEST(test_queues_are_apart),                                        \
    QUEUE_TEST(test_one_send_to_many_queues),                                 \
    QUEUE_TEST(test_a_delayed_message_is_not_given_before),                   \
    QUEUE_TEST(test_delayed_messages_come_when_they_are_due),                 \
    QUEUE_TEST(test_what_is_delayed_holds_up_nothing),                        \
    QUEUE_TEST(test_an_id_is_remembered),                                     \
    QUEUE_TEST(test_figures_of_a_queue),                                      \
    QUEUE_TEST(test_figures_when_the_time_has_come),                          \
    QUEUE_TEST(test_queues_are_listed),                                       \
    QUEUE_TEST(test_a_deadline_that_has_passed),                              \
    QUEUE_TEST(test_no_memory_for_what_is_received)
