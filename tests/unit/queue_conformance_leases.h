
/*
 * Leases, fences and verdicts.  Part of queue_conformance.h.
 */


static void
test_a_leased_message_is_nobody_elses(void **state)
{
    queue_t         *a, *b;
    queue_message_t  m, other;

    (void) state;

    a = node("a");
    b = node("b");
    send_text(a, "q", "1", "x");

    receive_one(a, "q", &m, TEST_LEASE);
    assert_int_equal(look(b, "q", &other, 1, TEST_LEASE), 0);
    assert_int_equal(look(a, "q", &other, 1, TEST_LEASE), 0);
    expect_stats(b, "q", 0, 0, 1, 0);
}


/* the attempt is that of the verdicts, however often it was leased */

static void
test_a_lease_that_runs_out_comes_back(void **state)
{
    queue_t         *a, *b;
    queue_message_t  m, again;

    (void) state;

    a = node("a");
    b = node("b");
    send_text(a, "q", "1", "x");

    receive_one(a, "q", &m, TEST_LEASE);
    assert_int_equal(settle(a, &m, QUEUE_RETRY, 0), FAAS_OK);

    receive_one(a, "q", &m, 100);
    assert_int_equal(m.attempt, 1);

    receive_one(b, "q", &again, 100);
    expect_text(&again, "1", "x");
    assert_int_equal(again.attempt, 1);
    assert_true(again.fence > m.fence);

    receive_one(a, "q", &m, TEST_LEASE);
    assert_int_equal(m.attempt, 1);
    assert_true(m.fence > again.fence);
    expect_stats(a, "q", 0, 0, 1, 0);
}


static void
test_who_is_late_changes_nothing(void **state)
{
    size_t           i;
    queue_t         *a, *b;
    queue_message_t  late, m;

    static const queue_verdict_e  verdicts[] = {
        QUEUE_DONE, QUEUE_RETRY, QUEUE_RELEASE, QUEUE_DEAD,
    };

    (void) state;

    a = node("a");
    b = node("b");
    send_text(a, "q", "1", "x");

    receive_one(a, "q", &late, 50);
    receive_one(b, "q", &m, TEST_LEASE);

    for (i = 0; i < 4; i++) {
        assert_int_equal(settle(a, &late, verdicts[i], NOW), FAAS_ECONFLICT);
        expect_stats(a, "q", 0, 0, 1, 0);
    }

    assert_int_equal(a->engine->extend(a, &late, TEST_LEASE, NOW, DEADLINE),
                     FAAS_ECONFLICT);

    assert_int_equal(settle(b, &m, QUEUE_RETRY, 0), FAAS_OK);
    receive_one(a, "q", &m, TEST_LEASE);
    assert_int_equal(m.attempt, 1);
    assert_int_equal(settle(a, &m, QUEUE_DONE, 0), FAAS_OK);
    expect_stats(a, "q", 0, 0, 0, 0);
}


/* nobody else has it yet: the work that was done counts */

static void
test_a_lease_that_is_over_can_be_settled_still(void **state)
{
    int64_t          end;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    receive_one(q, "q", &m, 30);

    end = NOW + 60;
    EVENTUALLY(NOW > end);

    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_OK);
    assert_int_equal(look(q, "q", &m, 1, TEST_LEASE), 0);
    expect_stats(q, "q", 0, 0, 0, 0);
}


static void
test_a_message_is_settled_once(void **state)
{
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    receive_one(q, "q", &m, TEST_LEASE);

    assert_int_equal(settle(q, &m, QUEUE_RELEASE, 0), FAAS_OK);
    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_ECONFLICT);
    expect_stats(q, "q", 1, 0, 0, 0);

    receive_one(q, "q", &m, TEST_LEASE);
    assert_int_equal(settle(q, &m, QUEUE_DEAD, 0), FAAS_OK);
    assert_int_equal(settle(q, &m, QUEUE_RETRY, 0), FAAS_ECONFLICT);
    expect_stats(q, "q", 0, 0, 0, 1);

    send_text(q, "q", "2", "x");
    receive_one(q, "q", &m, TEST_LEASE);
    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_OK);
    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_ECONFLICT);
    expect_stats(q, "q", 0, 0, 0, 1);
}


static void
test_verdicts(void **state)
{
    int64_t          due;
    queue_t         *q;
    queue_message_t  m;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");

    receive_one(q, "q", &m, TEST_LEASE);
    assert_int_equal(settle(q, &m, QUEUE_RETRY, 0), FAAS_OK);
    expect_stats(q, "q", 1, 0, 0, 0);

    receive_one(q, "q", &m, TEST_LEASE);
    assert_int_equal(m.attempt, 1);
    assert_int_equal(settle(q, &m, QUEUE_RELEASE, 0), FAAS_OK);
    expect_stats(q, "q", 1, 0, 0, 0);

    receive_one(q, "q", &m, TEST_LEASE);
    assert_int_equal(m.attempt, 1);
    due = NOW + 100;
    assert_int_equal(settle(q, &m, QUEUE_RETRY, due), FAAS_OK);
    receive_one(q, "q", &m, TEST_LEASE);
    assert_true(NOW >= due);
    assert_int_equal(m.attempt, 2);

    due = NOW + 100;
    assert_int_equal(settle(q, &m, QUEUE_RELEASE, due), FAAS_OK);
    receive_one(q, "q", &m, TEST_LEASE);
    assert_true(NOW >= due);
    assert_int_equal(m.attempt, 2);
    expect_text(&m, "1", "x");

    assert_int_equal(settle(q, &m, QUEUE_DONE, 0), FAAS_OK);
    expect_stats(q, "q", 0, 0, 0, 0);
    assert_int_equal(look(q, "q", &m, 1, TEST_LEASE), 0);
}


static void
test_one_settle_for_many(void **state)
{
    size_t              i;
    queue_t            *q;
    queue_message_t     m[6], stale;
    queue_settlement_t  s[6];

    (void) state;

    q = node("a");
    send_numbered(q, "q", 0, 5);
    send_text(q, "p", "other", "x");

    assert_int_equal(receive(q, "q", m, 5, TEST_LEASE), 5);
    receive_one(q, "p", &m[5], TEST_LEASE);

    stale = m[2];
    assert_int_equal(settle(q, &m[2], QUEUE_RELEASE, 0), FAAS_OK);

    memset(s, 0, sizeof(s));

    for (i = 0; i < 6; i++) {
        s[i].message = &m[i];
        s[i].verdict = QUEUE_DONE;
        s[i].code = 1;
    }

    s[1].verdict = QUEUE_DEAD;
    s[1].reason = "poison";
    s[2].message = &stale;
    s[3].verdict = QUEUE_RETRY;
    s[3].due_ms = NOW + 3600000;

    assert_int_equal(q->engine->settle(q, s, 6, NOW, DEADLINE), FAAS_OK);

    for (i = 0; i < 6; i++) {
        assert_int_equal(s[i].code, i == 2 ? FAAS_ECONFLICT : FAAS_OK);
    }

    expect_stats(q, "q", 1, 1, 0, 1);
    expect_stats(q, "p", 0, 0, 0, 0);
}


static void
test_a_lease_is_extended(void **state)
{
    int64_t          until;
    queue_t         *a, *b;
    queue_message_t  m, other;

    (void) state;

    a = node("a");
    b = node("b");
    send_text(a, "q", "1", "x");

    receive_one(a, "q", &m, 200);
    until = NOW + 500;
    assert_int_equal(a->engine->extend(a, &m, TEST_LEASE, NOW, DEADLINE),
                     FAAS_OK);

    do {
        assert_int_equal(look(b, "q", &other, 1, TEST_LEASE), 0);
        test_nap();
    } while (NOW < until);

    assert_int_equal(settle(a, &m, QUEUE_DONE, 0), FAAS_OK);
    expect_stats(b, "q", 0, 0, 0, 0);

    assert_int_equal(a->engine->extend(a, &m, TEST_LEASE, NOW, DEADLINE),
                     FAAS_ECONFLICT);
}


/* and shortened */

static void
test_a_lease_is_extended_from_now(void **state)
{
    queue_t         *a, *b;
    queue_message_t  m, other;

    (void) state;

    a = node("a");
    b = node("b");
    send_text(a, "q", "1", "x");

    receive_one(a, "q", &m, TEST_LEASE);
    assert_int_equal(a->engine->extend(a, &m, 50, NOW, DEADLINE), FAAS_OK);

    receive_one(b, "q", &other, TEST_LEASE);
    assert_true(other.fence > m.fence);
}


#define QUEUE_CONFORMANCE_LEASES                                              \
    QUEUE_TEST(test_a_leased_message_is_nobody_elses),                        \
    QUEUE_TEST(test_a_lease_that_runs_out_comes_back),                        \
    QUEUE_TEST(test_who_is_late_changes_nothing),                             \
    QUEUE_TEST(test_a_lease_that_is_over_can_be_settled_still),               \
    QUEUE_TEST(test_a_message_is_settled_once),                               \
    QUEUE_TEST(test_verdicts),                                                \
    QUEUE_TEST(test_one_settle_for_many),                                     \
    QUEUE_TEST(test_a_lease_is_extended),                                     \
    QUEUE_TEST(test_a_lease_is_extended_from_now)
