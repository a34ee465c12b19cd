
/*
 * Several nodes, and nodes that end without a word.  Part of
 * queue_conformance.h.
 */


#define TEST_CROWD  400                 /* messages */


typedef struct {
    unsigned                  given[TEST_CROWD];   /* how often */
    unsigned                  sent;
    unsigned                  done;
} test_crowd_t;


static void
test_taking(queue_t *q, unsigned i, void *data)
{
    size_t              k, n;
    test_crowd_t       *crowd = data;
    queue_message_t     m[7];
    queue_settlement_t  s[7];

    (void) i;

    while (__atomic_load_n(&crowd->done, __ATOMIC_SEQ_CST) < TEST_CROWD) {
        n = 7;
        CHILD_CHECK(q->engine->receive(q, "q", TEST_LEASE, m, &n, test_alloc,
                                       NULL, NOW, DEADLINE)
                    == FAAS_OK);

        if (n == 0) {
            tick(q);
            test_nap();
            continue;
        }

        memset(s, 0, sizeof(s));

        for (k = 0; k < n; k++) {
            __atomic_add_fetch(&crowd->given[atoi(m[k].data)], 1,
                               __ATOMIC_SEQ_CST);
            s[k].message = &m[k];
            s[k].verdict = QUEUE_DONE;
        }

        CHILD_CHECK(q->engine->settle(q, s, n, NOW, DEADLINE) == FAAS_OK);

        for (k = 0; k < n; k++) {
            CHILD_CHECK(s[k].code == FAAS_OK);
        }

        __atomic_add_fetch(&crowd->done, (unsigned) n, __ATOMIC_SEQ_CST);
    }
}


static void
test_nobody_gets_what_another_has(void **state)
{
    queue_t       *q;
    unsigned       i;
    test_crowd_t  *crowd;

    (void) state;

    q = node("a");
    send_numbered(q, "q", 0, 200);
    send_numbered(q, "q", 200, 200);
    leave(q);

    crowd = shared(sizeof(*crowd));
    together(TEST_NODES, test_taking, crowd);

    for (i = 0; i < TEST_CROWD; i++) {
        assert_int_equal(crowd->given[i], 1);
    }

    q = node("a");
    expect_stats(q, "q", 0, 0, 0, 0);
    munmap(crowd, sizeof(*crowd));
}


/* half of the nodes send what the others take */

static void
test_trading(queue_t *q, unsigned i, void *data)
{
    int              code[5];
    char             text[5][16];
    size_t           k;
    unsigned         from;
    test_crowd_t    *crowd = data;
    queue_message_t  m[5];

    if (i % 2) {
        test_taking(q, i, data);
        return;
    }

    for ( ;; ) {
        from = __atomic_fetch_add(&crowd->sent, 5, __ATOMIC_SEQ_CST);

        if (from >= TEST_CROWD) {
            return;
        }

        for (k = 0; k < 5; k++) {
            snprintf(text[k], sizeof(text[k]), "%u", from + (unsigned) k);
            m[k] = message("q", text[k], text[k], strlen(text[k]));
        }

        CHILD_CHECK(q->engine->send(q, m, code, 5, NOW, DEADLINE)
                    == FAAS_OK);
    }
}


static void
test_some_nodes_send_and_others_take(void **state)
{
    queue_t       *q;
    unsigned       i;
    test_crowd_t  *crowd;

    (void) state;

    crowd = shared(sizeof(*crowd));
    together(TEST_NODES, test_trading, crowd);

    for (i = 0; i < TEST_CROWD; i++) {
        assert_int_equal(crowd->given[i], 1);
    }

    q = node("a");
    expect_stats(q, "q", 0, 0, 0, 0);
    munmap(crowd, sizeof(*crowd));
}


/* a node that sends, leases, settles, and is gone in that instant */

static void
test_ending(queue_t *q, unsigned i, void *data)
{
    size_t              n;
    uint64_t            fence;
    queue_call_t        c;
    queue_timer_t       t;
    queue_message_t     m[10];
    queue_settlement_t  s;
    char                text[16], id[QUEUE_CALL_ID_SIZE];
    int                 code;
    unsigned            k;

    (void) i;
    (void) data;

    for (k = 0; k < 30; k++) {
        snprintf(text, sizeof(text), "%u", k);
        m[0] = message("q", text, text, strlen(text));
        CHILD_CHECK(q->engine->send(q, m, &code, 1, NOW, DEADLINE)
                    == FAAS_OK && code == FAAS_OK);
    }

    n = 10;
    CHILD_CHECK(q->engine->receive(q, "q", 200, m, &n, test_alloc, NULL, NOW,
                                   DEADLINE)
                == FAAS_OK && n == 10);

    memset(&s, 0, sizeof(s));
    s.message = &m[3];
    s.verdict = QUEUE_DONE;
    CHILD_CHECK(q->engine->settle(q, &s, 1, NOW, DEADLINE) == FAAS_OK
                && s.code == FAAS_OK);

    s.message = &m[4];
    s.verdict = QUEUE_RETRY;
    CHILD_CHECK(q->engine->settle(q, &s, 1, NOW, DEADLINE) == FAAS_OK
                && s.code == FAAS_OK);

    t = timer("fn/t", "spec", 1000);
    CHILD_CHECK(q->engine->timer_set(q, &t, DEADLINE) == FAAS_OK);
    CHILD_CHECK(fire(q, &t, 2000, "t:1000", &fence) == FAAS_OK);

    c = call("fn.1", "key", test_hash_a, "data");
    CHILD_CHECK(submit(q, &c, id) == FAAS_OK);

    _exit(0);    /* not closed */
}


static void
test_what_was_acknowledged_is_there_after_a_death(void **state)
{
    char             id[QUEUE_CALL_ID_SIZE];
    queue_t         *q;
    unsigned         seen, n;
    queue_call_t     c;
    queue_timer_t    t;
    queue_message_t  m;

    (void) state;

    together(1, test_ending, NULL);

    q = node("other");
    seen = 0;

    for (n = 0; n < 29; n++) {
        receive_one(q, "q", &m, TEST_LEASE);
        assert_int_equal(seen & 1u << atoi(m.id), 0);
        seen |= 1u << atoi(m.id);
        assert_int_equal(m.attempt, strcmp(m.id, "4") == 0);
        assert_string_equal(m.id, (const char *) m.data);
    }

    assert_int_equal(seen, ((1u << 30) - 1) & ~(1u << 3));
    assert_int_equal(look(q, "q", &m, 1, TEST_LEASE), 0);

    /* what it has settled is not sent again */
    send_text(q, "q", "3", "3");
    assert_int_equal(look(q, "q", &m, 1, TEST_LEASE), 0);

    t = get_timer(q, "fn/t");
    assert_true(t.due_ms == 2000 && t.running == 1);

    c = call("fn.2", "key", test_hash_a, "data");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "fn.1");
    expect_stats(q, "@fn", 2, 0, 0, 0);
}


/* the same node, closed and opened: its leases hold on */

static void
test_a_node_comes_back(void **state)
{
    queue_t         *q;
    queue_message_t  m, other;

    (void) state;

    q = node("a");
    send_text(q, "q", "1", "x");
    assert_int_equal(try_send(q, "q", "2", "x", NOW + 3600000), FAAS_OK);
    receive_one(q, "q", &m, TEST_LEASE);
    leave(q);

    q = node("a");
    assert_int_equal(look(q, "q", &other, 1, TEST_LEASE), 0);
    assert_int_equal(settle(q, &m, QUEUE_RETRY, 0), FAAS_OK);
    receive_one(q, "q", &m, TEST_LEASE);
    assert_int_equal(m.attempt, 1);
    expect_stats(q, "q", 0, 1, 1, 0);
}


#define QUEUE_CONFORMANCE_NODES                                               \
    QUEUE_TEST(test_nobody_gets_what_another_has),                            \
    QUEUE_TEST(test_some_nodes_send_and_others_take),                         \
    QUEUE_TEST(test_what_was_acknowledged_is_there_after_a_death),            \
    QUEUE_TEST(test_a_node_comes_back)
