
/*
 * Records of async calls.  Their messages are in the queue of their function:
 * engines may rely on it.  Part of queue_conformance.h.
 */


static const uint8_t  test_hash_a[32] = { 1, 0, 2, 255 };
static const uint8_t  test_hash_b[32] = { 1, 0, 2, 254 };


static queue_call_t
call(const char *id, const char *key, const uint8_t *hash, const char *text)
{
    queue_call_t  c;

    memset(&c, 0, sizeof(c));
    c.id = id;
    c.idempotency = key;
    c.hash = hash;
    c.state = WIRE_CALL_QUEUED;
    c.data = text;
    c.size = strlen(text);
    c.expires_ms = NOW + 3600000;

    return c;
}


/* the call's message has the part of the id behind the dot; id[128] is where
   the answer goes */

static int
submit(queue_t *q, const queue_call_t *c, char *id)
{
    char             name[QUEUE_NAME_SIZE];
    const char      *dot;
    queue_message_t  m;

    dot = strchr(c->id, '.');
    snprintf(name, sizeof(name), "@%.*s", (int) (dot - c->id), c->id);
    m = message(name, dot + 1, "call", 4);

    memset(id, 0, QUEUE_CALL_ID_SIZE);

    return q->engine->call_submit(q, c, &m, id, NOW, DEADLINE);
}


static void
expect_call(queue_t *q, const char *id, const char *key, uint32_t state,
    const char *text)
{
    queue_call_t  c;

    memset(&c, 0xa5, sizeof(c));
    assert_int_equal(q->engine->call_get(q, id, &c, test_alloc, NULL, NOW,
                                         DEADLINE),
                     FAAS_OK);

    assert_string_equal(c.id, id);
    assert_string_equal(c.idempotency, key);
    assert_memory_equal(c.hash, test_hash_a, 32);
    assert_int_equal(c.state, state);
    assert_int_equal(c.size, strlen(text));
    assert_string_equal((const char *) c.data, text);    /* with its zero */
    assert_true(c.expires_ms > NOW);
}


static int
put(queue_t *q, const char *id, uint32_t state, const char *text,
    uint32_t from)
{
    queue_call_t  c;

    c = call(id, "", NULL, text);
    c.state = state;

    return q->engine->call_put(q, &c, from, NOW, DEADLINE);
}


static void
test_a_call_is_submitted(void **state)
{
    char             id[QUEUE_CALL_ID_SIZE];
    queue_t         *a, *b;
    queue_call_t     c;
    queue_message_t  m;

    (void) state;

    a = node("a");
    b = node("b");

    c = call("fn.0123456789abcdef0123456789abcdef", "", test_hash_a, "data");
    assert_int_equal(submit(a, &c, id), FAAS_OK);
    assert_string_equal(id, c.id);

    expect_call(b, c.id, "", WIRE_CALL_QUEUED, "data");
    receive_one(b, "@fn", &m, TEST_LEASE);
    expect_text(&m, "0123456789abcdef0123456789abcdef", "call");

    assert_int_equal(b->engine->call_get(b, "fn.0", &c, test_alloc, NULL, NOW,
                                         DEADLINE),
                     FAAS_ENOTFOUND);
}


static void
test_a_key_is_used_once(void **state)
{
    char          id[QUEUE_CALL_ID_SIZE];
    queue_t      *q;
    queue_call_t  c;

    (void) state;

    q = node("a");

    c = call("fn.1", "key \xff\"/", test_hash_a, "first");
    assert_int_equal(submit(q, &c, id), FAAS_OK);

    c = call("fn.2", "key \xff\"/", test_hash_a, "second");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "fn.1");

    c = call("fn.3", "key \xff\"/", test_hash_b, "third");
    assert_int_equal(submit(q, &c, id), FAAS_ECONFLICT);

    expect_stats(q, "@fn", 1, 0, 0, 0);
    expect_call(q, "fn.1", "key \xff\"/", WIRE_CALL_QUEUED, "first");
    assert_int_equal(q->engine->call_get(q, "fn.2", &c, test_alloc, NULL, NOW,
                                         DEADLINE),
                     FAAS_ENOTFOUND);

    /* other functions, other keys, none */

    c = call("other.2", "key \xff\"/", test_hash_a, "x");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "other.2");
    c = call("fn.4", "key", test_hash_a, "x");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "fn.4");
    c = call("fn.5", "", test_hash_a, "x");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    c = call("fn.6", "", test_hash_a, "x");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "fn.6");

    expect_stats(q, "@fn", 4, 0, 0, 0);
}


/* as after an answer that got lost */

static void
test_a_submission_is_repeated(void **state)
{
    char          id[QUEUE_CALL_ID_SIZE];
    queue_t      *q;
    queue_call_t  c;

    (void) state;

    q = node("a");

    c = call("fn.1", "", test_hash_a, "first");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "fn.1");

    c = call("fn.1", "", test_hash_b, "second");
    assert_int_equal(submit(q, &c, id), FAAS_ECONFLICT);

    expect_stats(q, "@fn", 1, 0, 0, 0);
    expect_call(q, "fn.1", "", WIRE_CALL_QUEUED, "first");
}


static void
test_a_bad_submission_leaves_nothing(void **state)
{
    char             id[QUEUE_CALL_ID_SIZE];
    size_t           i;
    queue_t         *q;
    queue_call_t     c, got;
    queue_message_t  m;

    static const char *const  bad[] = { "", "fn", ".1", "fn.", "Fn.1",
                                        "fn.a b", "fn/../x.1" };

    (void) state;

    q = node("a");

    c = call("fn.1", "", test_hash_a, "x");
    m = message("@fn", "not valid", "call", 4);
    assert_int_equal(q->engine->call_submit(q, &c, &m, id, NOW, DEADLINE),
                     FAAS_EINVAL);
    assert_int_equal(q->engine->call_get(q, "fn.1", &got, test_alloc, NULL,
                                         NOW, DEADLINE),
                     FAAS_ENOTFOUND);

    m = message("@fn", "1", "call", 4);
    c.size = (size_t) QUEUE_DATA_MAX + 1;
    assert_int_equal(q->engine->call_submit(q, &c, &m, id, NOW, DEADLINE),
                     FAAS_ETOOLARGE);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        c = call(bad[i], "", test_hash_a, "x");
        assert_int_equal(q->engine->call_submit(q, &c, &m, id, NOW, DEADLINE),
                         FAAS_EINVAL);
    }

    expect_stats(q, "@fn", 0, 0, 0, 0);
}


static void
test_a_call_changes_state_by_state(void **state)
{
    char          id[QUEUE_CALL_ID_SIZE];
    queue_t      *q;
    queue_call_t  c;

    (void) state;

    q = node("a");
    c = call("fn.1", "key", test_hash_a, "request");
    assert_int_equal(submit(q, &c, id), FAAS_OK);

    assert_int_equal(put(q, "fn.1", WIRE_CALL_RUNNING, "request",
                         1u << WIRE_CALL_QUEUED),
                     FAAS_OK);
    expect_call(q, "fn.1", "key", WIRE_CALL_RUNNING, "request");

    assert_int_equal(put(q, "fn.1", WIRE_CALL_CANCELLED, "no",
                         1u << WIRE_CALL_QUEUED),
                     FAAS_ECONFLICT);
    expect_call(q, "fn.1", "key", WIRE_CALL_RUNNING, "request");

    assert_int_equal(put(q, "fn.1", WIRE_CALL_DONE, "",
                         1u << WIRE_CALL_QUEUED | 1u << WIRE_CALL_RUNNING),
                     FAAS_OK);
    expect_call(q, "fn.1", "key", WIRE_CALL_DONE, "");

    assert_int_equal(put(q, "fn.1", WIRE_CALL_DONE, "x", 0), FAAS_ECONFLICT);
    assert_int_equal(put(q, "fn.9", WIRE_CALL_DONE, "x", ~0u),
                     FAAS_ENOTFOUND);

    /* the key is that of the record, whatever its state */

    c = call("fn.2", "key", test_hash_a, "request");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "fn.1");
}


static void
test_a_call_of_megabytes(void **state)
{
    char          id[QUEUE_CALL_ID_SIZE];
    char         *data;
    size_t        i, n;
    queue_t      *q;
    queue_call_t  c, got;

    (void) state;

    q = node("a");
    n = 3 * 1024 * 1024 + 17;
    data = test_alloc(NULL, n);

    for (i = 0; i < n; i++) {
        data[i] = (char) (i * 7 + i / 251);
    }

    c = call("fn.1", "", test_hash_a, "");
    c.data = data;
    c.size = n;
    assert_int_equal(submit(q, &c, id), FAAS_OK);

    assert_int_equal(q->engine->call_get(q, "fn.1", &got, test_alloc, NULL,
                                         NOW, DEADLINE),
                     FAAS_OK);
    assert_int_equal(got.size, n);
    assert_memory_equal(got.data, data, n);

    data[0]++;
    c.state = WIRE_CALL_DONE;
    c.size = n - 1;
    assert_int_equal(q->engine->call_put(q, &c, ~0u, NOW, DEADLINE),
                     FAAS_OK);
    assert_int_equal(q->engine->call_get(q, "fn.1", &got, test_alloc, NULL,
                                         NOW, DEADLINE),
                     FAAS_OK);
    assert_int_equal(got.size, n - 1);
    assert_memory_equal(got.data, data, n - 1);
}


static int
call_code(queue_t *q, const char *id)
{
    queue_call_t  c;

    tick(q);

    return q->engine->call_get(q, id, &c, test_alloc, NULL, NOW, DEADLINE);
}


static void
test_a_call_expires(void **state)
{
    char             id[QUEUE_CALL_ID_SIZE];
    queue_t         *q;
    queue_call_t     c;
    queue_message_t  m;

    (void) state;

    q = node("a");

    c = call("fn.1", "key", test_hash_a, "x");
    c.expires_ms = NOW + 200;
    assert_int_equal(submit(q, &c, id), FAAS_OK);

    c = call("fn.2", "stays", test_hash_a, "x");
    assert_int_equal(submit(q, &c, id), FAAS_OK);

    EVENTUALLY(call_code(q, "fn.1") == FAAS_ENOTFOUND);
    assert_int_equal(put(q, "fn.1", WIRE_CALL_DONE, "x", ~0u),
                     FAAS_ENOTFOUND);

    /* its key is free */

    c = call("fn.3", "key", test_hash_b, "x");
    assert_int_equal(submit(q, &c, id), FAAS_OK);
    assert_string_equal(id, "fn.3");

    expect_call(q, "fn.2", "stays", WIRE_CALL_QUEUED, "x");

    /* put sets another time */

    assert_int_equal(settle(q, (receive_one(q, "@fn", &m, TEST_LEASE), &m),
                            QUEUE_DONE, 0),
                     FAAS_OK);
    c = call("fn.2", "", NULL, "x");
    c.expires_ms = NOW + 100;
    assert_int_equal(q->engine->call_put(q, &c, ~0u, NOW, DEADLINE),
                     FAAS_OK);
    EVENTUALLY(call_code(q, "fn.2") == FAAS_ENOTFOUND);
}


/* the same key at once on several nodes: one call */

static void
test_submitting(queue_t *q, unsigned i, void *data)
{
    char          own[32], key[32], id[QUEUE_CALL_ID_SIZE];
    char        (*ids)[20][QUEUE_CALL_ID_SIZE] = data;
    unsigned      n;
    queue_call_t  c;

    for (n = 0; n < 20; n++) {
        snprintf(own, sizeof(own), "fn.%u-%u", n, i);
        snprintf(key, sizeof(key), "key%u", n);
        c = call(own, key, test_hash_a, "x");

        CHILD_CHECK(submit(q, &c, id) == FAAS_OK);
        memcpy(ids[i][n], id, sizeof(id));
    }
}


static void
test_one_of_many_nodes_submits(void **state)
{
    char       (*ids)[20][QUEUE_CALL_ID_SIZE];
    size_t       size;
    queue_t     *q;
    unsigned     i, n;

    (void) state;

    size = sizeof(*ids) * TEST_NODES;
    ids = shared(size);
    together(TEST_NODES, test_submitting, ids);

    for (n = 0; n < 20; n++) {
        for (i = 1; i < TEST_NODES; i++) {
            assert_string_equal(ids[i][n], ids[0][n]);
        }
    }

    q = node("a");
    expect_stats(q, "@fn", 20, 0, 0, 0);
    munmap(ids, size);
}


#define QUEUE_CONFORMANCE_CALLS                                               \
    QUEUE_TEST(test_a_call_is_submitted),                                     \
    QUEUE_TEST(test_a_key_is_used_once),                                      \
    QUEUE_TEST(test_a_submission_is_repeated),                                \
    QUEUE_TEST(test_a_bad_submission_leaves_nothing),                         \
    QUEUE_TEST(test_a_call_changes_state_by_state),                           \
    QUEUE_TEST(test_a_call_of_megabytes),                                     \
    QUEUE_TEST(test_a_call_expires),                                          \
    QUEUE_TEST(test_one_of_many_nodes_submits)
