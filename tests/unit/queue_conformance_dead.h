
/*
 * Dead letters.  Part of queue_conformance.h.
 */


typedef struct {
    unsigned                  n;
    int64_t                   died_ms;
    uint64_t                  seen;        /* bit i: the id "d-i" */
    char                      last[FAAS_MESSAGE_ID_SIZE];
} test_letters_t;


static int
test_each_letter(const queue_message_t *m, const char *reason, void *data)
{
    test_letters_t  *t = data;

    assert_string_equal(m->queue, "q");
    assert_string_equal(reason, "the reason");
    assert_null(m->data);
    assert_int_equal(m->size, 4);
    assert_int_equal(m->attempt, 1);
    assert_true(m->sent_ms > 0);
    assert_true(m->due_ms >= t->died_ms);

    t->n++;
    t->died_ms = m->due_ms;
    t->seen |= 1ull << atoi(m->id + 2);
    strcpy(t->last, m->id);

    return 0;
}


static int
test_each_letter_stops(const queue_message_t *m, const char *reason,
    void *data)
{
    (void) m;
    (void) reason;
    (*(int *) data)++;

    return 5;
}


static void
kill_numbered(queue_t *q, unsigned n)
{
    char      id[16];
    unsigned  i;

    for (i = 0; i < n; i++) {
        snprintf(id, sizeof(id), "d-%u", i);
        kill_message(q, "q", id, "dead");
    }
}


static void
test_dead_letters_are_paged(void **state)
{
    int             calls;
    queue_t        *q;
    const char     *after;
    test_letters_t  t;

    (void) state;

    q = node("a");
    kill_numbered(q, 25);
    kill_message(q, "p", "d-60", "dead");

    memset(&t, 0, sizeof(t));
    after = NULL;

    do {
        t.n = 0;
        assert_int_equal(q->engine->dead(q, "q", after, 10, test_each_letter,
                                         &t, DEADLINE),
                         FAAS_OK);
        assert_true(t.n <= 10);
        after = t.last;
    } while (t.n == 10);

    assert_int_equal(t.n, 5);
    assert_true(t.seen == (1ull << 25) - 1);

    calls = 0;
    assert_int_equal(q->engine->dead(q, "q", NULL, 10, test_each_letter_stops,
                                     &calls, DEADLINE),
                     5);
    assert_int_equal(calls, 1);

    assert_int_equal(q->engine->dead(q, "q", "d-60", 10, test_each_letter, &t,
                                     DEADLINE),
                     FAAS_ENOTFOUND);
    assert_int_equal(q->engine->dead(q, "none", NULL, 10, test_each_letter,
                                     &t, DEADLINE),
                     FAAS_OK);
}


static void
test_a_dead_letter_is_read(void **state)
{
    char             text[3000];
    int64_t          before, after;
    queue_t         *q;
    const char      *reason;
    queue_message_t  m;

    (void) state;

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';

    q = node("a");
    before = NOW;
    kill_message(q, "q", "small", "dead");
    kill_message(q, "q", "large", text);
    after = NOW;

    reason = NULL;
    assert_int_equal(q->engine->dead_get(q, "q", "small", &m, &reason,
                                         test_alloc, NULL, DEADLINE),
                     FAAS_OK);
    expect_text(&m, "small", "dead");
    assert_string_equal(m.queue, "q");
    assert_string_equal(reason, "the reason");
    assert_int_equal(m.attempt, 1);
    assert_true(m.due_ms >= before && m.due_ms <= after);

    assert_int_equal(q->engine->dead_get(q, "q", "large", &m, &reason,
                                         test_alloc, NULL, DEADLINE),
                     FAAS_OK);
    expect_text(&m, "large", text);

    send_text(q, "q", "alive", "x");
    assert_int_equal(q->engine->dead_get(q, "q", "alive", &m, &reason,
                                         test_alloc, NULL, DEADLINE),
                     FAAS_ENOTFOUND);
    assert_int_equal(q->engine->dead_get(q, "none", "small", &m, &reason,
                                         test_alloc, NULL, DEADLINE),
                     FAAS_ENOTFOUND);
}


static void
test_a_dead_letter_is_tried_again(void **state)
{
    int64_t          again_ms;
    uint64_t         n;
    queue_t         *q;
    const char      *reason;
    queue_message_t  m;

    (void) state;

    q = node("a");
    kill_numbered(q, 2);

    again_ms = NOW + 7;
    assert_int_equal(q->engine->dead_retry(q, "q", "d-1", &n, again_ms,
                                           DEADLINE),
                     FAAS_OK);
    assert_int_equal(n, 1);
    expect_stats(q, "q", 1, 0, 0, 1);

    assert_int_equal(q->engine->dead_retry(q, "q", "d-1", &n, NOW, DEADLINE),
                     FAAS_ENOTFOUND);
    assert_int_equal(n, 0);

    receive_one(q, "q", &m, TEST_LEASE);
    expect_text(&m, "d-1", "dead");
    assert_int_equal(m.attempt, 0);
    assert_true(m.sent_ms == again_ms);

    /* it can die again, and is the last then */

    assert_int_equal(settle(q, &m, QUEUE_DEAD, 0), FAAS_OK);
    assert_int_equal(q->engine->dead_get(q, "q", "d-1", &m, &reason,
                                         test_alloc, NULL, DEADLINE),
                     FAAS_OK);
    assert_int_equal(m.attempt, 1);
    expect_stats(q, "q", 0, 0, 0, 2);
}


static void
test_all_dead_letters_are_tried_again(void **state)
{
    uint64_t         n;
    unsigned         got;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    kill_numbered(q, 12);
    kill_message(q, "p", "other", "x");

    assert_int_equal(q->engine->dead_retry(q, "q", NULL, &n, NOW, DEADLINE),
                     FAAS_OK);
    assert_int_equal(n, 12);
    expect_stats(q, "q", 12, 0, 0, 0);
    expect_stats(q, "p", 0, 0, 0, 1);

    for (got = 0; got < 12; got++) {
        receive_one(q, "q", &m, TEST_LEASE);
        assert_int_equal(m.attempt, 0);
    }

    assert_int_equal(q->engine->dead_retry(q, "q", NULL, &n, NOW, DEADLINE),
                     FAAS_OK);
    assert_int_equal(n, 0);
    assert_int_equal(q->engine->dead_retry(q, "none", NULL, &n, NOW,
                                           DEADLINE),
                     FAAS_OK);
    assert_int_equal(n, 0);
}


static void
test_dead_letters_are_purged(void **state)
{
    uint64_t         n;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    kill_numbered(q, 5);
    send_text(q, "q", "alive", "x");

    assert_int_equal(q->engine->dead_purge(q, "q", "d-3", &n, DEADLINE),
                     FAAS_OK);
    assert_int_equal(n, 1);
    expect_stats(q, "q", 1, 0, 0, 4);

    assert_int_equal(q->engine->dead_purge(q, "q", "d-3", &n, DEADLINE),
                     FAAS_ENOTFOUND);
    assert_int_equal(q->engine->dead_purge(q, "q", "alive", &n, DEADLINE),
                     FAAS_ENOTFOUND);
    assert_int_equal(n, 0);

    assert_int_equal(q->engine->dead_purge(q, "q", NULL, &n, DEADLINE),
                     FAAS_OK);
    assert_int_equal(n, 4);
    expect_stats(q, "q", 1, 0, 0, 0);

    /* its id is remembered nevertheless */

    send_text(q, "q", "d-3", "dead");
    expect_stats(q, "q", 1, 0, 0, 0);

    receive_one(q, "q", &m, TEST_LEASE);
    assert_string_equal(m.id, "alive");
}


static void
test_a_reason_is_cut(void **state)
{
    char                reason[2 * QUEUE_REASON_SIZE];
    queue_t            *q;
    const char         *cut;
    queue_message_t     m;
    queue_settlement_t  s;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    receive_one(q, "q", &m, TEST_LEASE);

    memset(reason, 'r', sizeof(reason));
    reason[sizeof(reason) - 1] = '\0';

    memset(&s, 0, sizeof(s));
    s.message = &m;
    s.verdict = QUEUE_DEAD;
    s.reason = reason;
    assert_int_equal(q->engine->settle(q, &s, 1, NOW, DEADLINE), FAAS_OK);
    assert_int_equal(s.code, FAAS_OK);

    assert_int_equal(q->engine->dead_get(q, "q", "1", &m, &cut, test_alloc,
                                         NULL, DEADLINE),
                     FAAS_OK);
    assert_int_equal(strlen(cut), QUEUE_REASON_SIZE - 1);
}


#define QUEUE_CONFORMANCE_DEAD                                                \
    QUEUE_TEST(test_dead_letters_are_paged),                                  \
    QUEUE_TEST(test_a_dead_letter_is_read),                                   \
    QUEUE_TEST(test_a_dead_letter_is_tried_again),                            \
    QUEUE_TEST(test_all_dead_letters_are_tried_again),                        \
    QUEUE_TEST(test_dead_letters_are_purged),                                 \
    QUEUE_TEST(test_a_reason_is_cut)
