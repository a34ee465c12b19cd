
/*
 * Timers.  Their messages are in the queue of their function: engines may
 * rely on it.  Part of queue_conformance.h.
 */


#define TEST_FIRINGS  40


static queue_timer_t
timer(const char *key, const char *spec, int64_t due_ms)
{
    queue_timer_t  t;

    memset(&t, 0, sizeof(t));
    snprintf(t.key, sizeof(t.key), "%s", key);
    snprintf(t.spec, sizeof(t.spec), "%s", spec);
    t.due_ms = due_ms;

    return t;
}


static void
set_timer(queue_t *q, const char *key, const char *spec, int64_t due_ms)
{
    queue_timer_t  t;

    t = timer(key, spec, due_ms);
    assert_int_equal(q->engine->timer_set(q, &t, DEADLINE), FAAS_OK);
}


static queue_timer_t
get_timer(queue_t *q, const char *key)
{
    queue_timer_t  t;

    memset(&t, 0xa5, sizeof(t));
    assert_int_equal(q->engine->timer_get(q, key, &t, DEADLINE), FAAS_OK);

    return t;
}


/* data[64] is where the text goes */

static int
test_build(queue_message_t *m, uint64_t fence, void *data)
{
    m->size = (size_t) sprintf(data, "fence %llu",
                               (unsigned long long) fence);
    m->data = data;

    return FAAS_OK;
}


static int
test_build_fails(queue_message_t *m, uint64_t fence, void *data)
{
    (void) m;
    (void) fence;
    (void) data;

    return FAAS_ELOOP;
}


/* id NULL: without a message */

static int
fire(queue_t *q, const queue_timer_t *t, int64_t next_ms, const char *id,
    uint64_t *fence)
{
    char             text[64];
    queue_message_t  m;

    if (id != NULL) {
        m = message("@fn", id, NULL, 0);
    }

    return q->engine->timer_fire(q, t, next_ms, id != NULL ? &m : NULL,
                                 test_build, text, fence, NOW, DEADLINE);
}


static void
test_a_timer_is_set_once(void **state)
{
    queue_t        *q;
    queue_timer_t   t;

    (void) state;

    q = node("a");
    assert_int_equal(q->engine->timer_get(q, "fn/t", &t, DEADLINE),
                     FAAS_ENOTFOUND);

    set_timer(q, "fn/t", "@every 10s", 1000);
    set_timer(q, "fn/t", "@every 10s", 7777);
    set_timer(q, "fn/u", "@every 10s", 2000);

    t = get_timer(q, "fn/t");
    assert_string_equal(t.key, "fn/t");
    assert_string_equal(t.spec, "@every 10s");
    assert_true(t.due_ms == 1000 && t.last_ms == 0);
    assert_true(t.fence == 0 && t.running == 0);
    assert_true(get_timer(q, "fn/u").due_ms == 2000);

    assert_int_equal(q->engine->timer_delete(q, "fn/t", DEADLINE), FAAS_OK);
    assert_int_equal(q->engine->timer_delete(q, "fn/t", DEADLINE),
                     FAAS_ENOTFOUND);
    assert_int_equal(q->engine->timer_get(q, "fn/t", &t, DEADLINE),
                     FAAS_ENOTFOUND);
    assert_true(get_timer(q, "fn/u").due_ms == 2000);
}


static void
test_a_timer_fires(void **state)
{
    char             text[64];
    uint64_t         fence, last;
    queue_t         *q;
    queue_timer_t    t;
    queue_message_t  m;

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 1000);
    t = get_timer(q, "fn/t");

    fence = 0;
    assert_int_equal(fire(q, &t, 2000, "t:1000", &fence), FAAS_OK);
    assert_true(fence > 0);

    t = get_timer(q, "fn/t");
    assert_true(t.due_ms == 2000 && t.last_ms == 1000);
    assert_true(t.fence == fence && t.running == 1);

    receive_one(q, "@fn", &m, TEST_LEASE);
    snprintf(text, sizeof(text), "fence %llu", (unsigned long long) fence);
    expect_text(&m, "t:1000", text);

    last = fence;
    assert_int_equal(fire(q, &t, 3000, "t:2000", &fence), FAAS_OK);
    assert_true(fence > last);
    expect_stats(q, "@fn", 1, 0, 1, 0);
}


static void
test_a_firing_of_the_past_is_refused(void **state)
{
    uint64_t        fence;
    queue_t        *q;
    queue_timer_t   t, old;

    (void) state;

    q = node("a");
    fence = 0;

    old = timer("fn/t", "spec", 1000);
    assert_int_equal(fire(q, &old, 2000, "t:1000", &fence), FAAS_ECONFLICT);

    set_timer(q, "fn/t", "spec", 1000);
    assert_int_equal(fire(q, &old, 2000, "t:1000", &fence), FAAS_OK);

    assert_int_equal(fire(q, &old, 2000, "t:1000b", &fence), FAAS_ECONFLICT);

    t = get_timer(q, "fn/t");
    snprintf(old.spec, sizeof(old.spec), "other");
    old.due_ms = 2000;
    assert_int_equal(fire(q, &old, 3000, "t:2000", &fence), FAAS_ECONFLICT);

    assert_int_equal(q->engine->timer_delete(q, "fn/t", DEADLINE), FAAS_OK);
    assert_int_equal(fire(q, &t, 3000, "t:2000", &fence), FAAS_ECONFLICT);

    expect_stats(q, "@fn", 1, 0, 0, 0);
}


static void
test_another_spec_replaces_a_timer(void **state)
{
    uint64_t        fence;
    queue_t        *q;
    queue_timer_t   t;

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 1000);
    t = get_timer(q, "fn/t");
    assert_int_equal(fire(q, &t, 2000, "t:1000", &fence), FAAS_OK);

    set_timer(q, "fn/t", "other", 5000);

    t = get_timer(q, "fn/t");
    assert_string_equal(t.spec, "other");
    assert_true(t.due_ms == 5000 && t.last_ms == 0);
    assert_true(t.fence == fence && t.running == 1);
}


static void
test_a_due_time_left_out(void **state)
{
    uint64_t        first, fence;
    queue_t        *q;
    queue_timer_t   t;

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 1000);

    t = get_timer(q, "fn/t");
    assert_int_equal(fire(q, &t, 2000, NULL, &first), FAAS_OK);
    t = get_timer(q, "fn/t");
    assert_true(t.due_ms == 2000 && t.last_ms == 1000 && t.running == 0);
    expect_stats(q, "@fn", 0, 0, 0, 0);

    assert_int_equal(fire(q, &t, 3000, "t:2000", &fence), FAAS_OK);
    assert_true(fence > first);
    t = get_timer(q, "fn/t");
    assert_int_equal(fire(q, &t, 4000, NULL, &fence), FAAS_OK);

    t = get_timer(q, "fn/t");
    assert_true(t.due_ms == 4000 && t.running == 1);
    expect_stats(q, "@fn", 1, 0, 0, 0);
}


static void
test_a_run_ends_with_its_verdict(void **state)
{
    size_t           i;
    char             id[32];
    uint64_t         fence;
    queue_t         *q;
    queue_timer_t    t;
    queue_message_t  m;

    static const queue_verdict_e  verdicts[] = { QUEUE_DONE, QUEUE_DEAD };

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 1000);

    for (i = 0; i < 2; i++) {
        t = get_timer(q, "fn/t");
        snprintf(id, sizeof(id), "t:%lld", (long long) t.due_ms);
        assert_int_equal(fire(q, &t, t.due_ms + 1000, id, &fence), FAAS_OK);

        receive_one(q, "@fn", &m, TEST_LEASE);
        assert_int_equal(settle_timer(q, &m, QUEUE_RETRY, 0, "fn/t", fence),
                         FAAS_OK);
        assert_int_equal(get_timer(q, "fn/t").running, 1);

        receive_one(q, "@fn", &m, 20);
        t = get_timer(q, "fn/t");
        assert_int_equal(t.running, 1);

        /* one that is late, and one that knows an earlier firing */

        receive_one(q, "@fn", &m, TEST_LEASE);
        m.fence--;
        assert_int_equal(settle_timer(q, &m, verdicts[i], 0, "fn/t", fence),
                         FAAS_ECONFLICT);
        assert_int_equal(get_timer(q, "fn/t").running, 1);
        m.fence++;

        assert_int_equal(settle_timer(q, &m, verdicts[i], 0, "fn/t", fence),
                         FAAS_OK);
        assert_int_equal(get_timer(q, "fn/t").running, 0);
    }
}


static void
test_an_earlier_run_does_not_end_a_later_one(void **state)
{
    uint64_t         first, second;
    queue_t         *q;
    queue_timer_t    t;
    queue_message_t  m, n;

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 1000);
    t = get_timer(q, "fn/t");
    assert_int_equal(fire(q, &t, 2000, "t:1000", &first), FAAS_OK);
    t = get_timer(q, "fn/t");
    assert_int_equal(fire(q, &t, 3000, "t:2000", &second), FAAS_OK);

    receive_one(q, "@fn", &m, TEST_LEASE);
    receive_one(q, "@fn", &n, TEST_LEASE);
    assert_string_equal(m.id, "t:1000");

    assert_int_equal(settle_timer(q, &m, QUEUE_DONE, 0, "fn/t", first),
                     FAAS_OK);
    assert_int_equal(get_timer(q, "fn/t").running, 1);
    assert_int_equal(settle_timer(q, &n, QUEUE_DONE, 0, "fn/t", second),
                     FAAS_OK);
    assert_int_equal(get_timer(q, "fn/t").running, 0);
}


static void
test_a_run_of_a_deleted_timer_ends(void **state)
{
    uint64_t         fence, last;
    queue_t         *q;
    queue_timer_t    t;
    queue_message_t  m;

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 1000);
    t = get_timer(q, "fn/t");
    assert_int_equal(fire(q, &t, 2000, "t:1000", &last), FAAS_OK);
    assert_int_equal(q->engine->timer_delete(q, "fn/t", DEADLINE), FAAS_OK);

    receive_one(q, "@fn", &m, TEST_LEASE);
    assert_int_equal(settle_timer(q, &m, QUEUE_DONE, 0, "fn/t", last),
                     FAAS_OK);
    assert_int_equal(q->engine->timer_get(q, "fn/t", &t, DEADLINE),
                     FAAS_ENOTFOUND);

    /* what sees a fence twice must be able to tell the later */

    set_timer(q, "fn/t", "spec", 9000);
    t = get_timer(q, "fn/t");
    assert_int_equal(t.running, 0);
    assert_int_equal(fire(q, &t, 10000, "t:9000", &fence), FAAS_OK);
    assert_true(fence > last);
}


static void
test_a_firing_that_cannot_be_built(void **state)
{
    uint64_t         fence;
    queue_t         *q;
    queue_timer_t    t;
    queue_message_t  m;

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 1000);
    t = get_timer(q, "fn/t");

    m = message("@fn", "t:1000", NULL, 0);
    assert_int_equal(q->engine->timer_fire(q, &t, 2000, &m, test_build_fails,
                                           NULL, &fence, NOW, DEADLINE),
                     FAAS_ELOOP);

    t = get_timer(q, "fn/t");
    assert_true(t.due_ms == 1000 && t.last_ms == 0 && t.running == 0);
    expect_stats(q, "@fn", 0, 0, 0, 0);
}


/* nobody would ever say that it has ended */

static void
test_a_firing_that_was_sent_before_does_not_run(void **state)
{
    uint64_t        fence;
    queue_t        *q;
    queue_timer_t   t;

    (void) state;

    q = node("a");
    send_text(q, "@fn", "t:1000", "x");

    set_timer(q, "fn/t", "spec", 1000);
    t = get_timer(q, "fn/t");
    assert_int_equal(fire(q, &t, 2000, "t:1000", &fence), FAAS_OK);

    t = get_timer(q, "fn/t");
    assert_true(t.due_ms == 2000 && t.running == 0);
    expect_stats(q, "@fn", 1, 0, 0, 0);
}


typedef struct {
    unsigned                  n;
    int64_t                   sum;
} test_timers_t;


static int
test_each_timer(const queue_timer_t *t, void *data)
{
    test_timers_t  *all = data;

    all->n++;
    all->sum += t->due_ms;
    assert_string_equal(t->spec, "spec");

    return 0;
}


static void
test_timers_are_listed(void **state)
{
    char            key[32];
    queue_t        *q;
    unsigned        i;
    test_timers_t   all;

    (void) state;

    q = node("a");

    for (i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "fn%u/t", i);
        set_timer(q, key, "spec", 1000 + i);
    }

    memset(&all, 0, sizeof(all));
    assert_int_equal(q->engine->timer_list(q, test_each_timer, &all,
                                           DEADLINE),
                     FAAS_OK);
    assert_int_equal(all.n, 50);
    assert_true(all.sum == 50 * 1000 + 49 * 50 / 2);
}


/* each due time is fired by one of the nodes that try, with rising fences */

typedef struct {
    unsigned                  fired[TEST_FIRINGS];
    uint64_t                  fence[TEST_FIRINGS];
} test_race_t;


static void
test_racing(queue_t *q, unsigned i, void *data)
{
    int             code;
    char            id[32];
    unsigned        n;
    uint64_t        fence;
    test_race_t    *race = data;
    queue_timer_t   t;

    (void) i;

    for (n = 0; n < TEST_FIRINGS; n++) {
        do {
            CHILD_CHECK(q->engine->timer_get(q, "fn/t", &t, DEADLINE)
                        == FAAS_OK);

            if (t.due_ms > (int64_t) n) {
                break;
            }

            snprintf(id, sizeof(id), "t:%u", n);
            code = fire(q, &t, n + 1, id, &fence);

            if (code == FAAS_OK) {
                __atomic_add_fetch(&race->fired[n], 1, __ATOMIC_SEQ_CST);
                race->fence[n] = fence;
            }

            CHILD_CHECK(code == FAAS_OK || code == FAAS_ECONFLICT);
        } while (code != FAAS_OK);
    }
}


static void
test_one_of_many_nodes_fires(void **state)
{
    queue_t      *q;
    unsigned      n;
    test_race_t  *race;

    (void) state;

    q = node("a");
    set_timer(q, "fn/t", "spec", 0);
    leave(q);

    race = shared(sizeof(*race));
    together(TEST_NODES, test_racing, race);

    for (n = 0; n < TEST_FIRINGS; n++) {
        assert_int_equal(race->fired[n], 1);
        assert_true(n == 0 || race->fence[n] > race->fence[n - 1]);
    }

    q = node("a");
    assert_int_equal(stats(q, "@fn").ready, TEST_FIRINGS);
    assert_true(get_timer(q, "fn/t").due_ms == TEST_FIRINGS);

    munmap(race, sizeof(*race));
}


#define QUEUE_CONFORMANCE_TIMERS                                              \
    QUEUE_TEST(test_a_timer_is_set_once),                                     \
    QUEUE_TEST(test_a_timer_fires),                                           \
    QUEUE_TEST(test_a_firing_of_the_past_is_refused),                         \
    QUEUE_TEST(test_another_spec_replaces_a_timer),                           \
    QUEUE_TEST(test_a_due_time_left_out),                                     \
    QUEUE_TEST(test_a_run_ends_with_its_verdict),                             \
    QUEUE_TEST(test_an_earlier_run_does_not_end_a_later_one),                 \
    QUEUE_TEST(test_a_run_of_a_deleted_timer_ends),                           \
    QUEUE_TEST(test_a_firing_that_cannot_be_built),                           \
    QUEUE_TEST(test_a_firing_that_was_sent_before_does_not_run),              \
    QUEUE_TEST(test_timers_are_listed),                                       \
    QUEUE_TEST(test_one_of_many_nodes_fires)
