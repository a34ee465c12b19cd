
/*
 * Tests of queue engines: nodes, time, short forms of the operations, several
 * processes.  A test program that includes this defines
 *
 *     static void queue_fresh(void);
 *     static queue_t *queue_node(const char *node);
 *     static void queue_gone(void);
 *
 * queue_fresh() makes storage that nobody used before (called once for each
 * test, before anything is open), queue_node() opens it as that node, also in
 * a forked child, and queue_gone() is called when all are closed; it may look
 * at what they left.
 *
 * Children are forked while nothing is open: handles do not cross a fork.
 */


#ifndef QUEUE_NODE_H_INCLUDED
#define QUEUE_NODE_H_INCLUDED


#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue.h"
#include "wire.h"


#define TEST_NODES      4
#define TEST_OPEN       16               /* handles of one test */
#define TEST_GROUP      250
#define TEST_LEASE      60000            /* longer than any test */
#define TEST_PATIENCE   20000


static void queue_fresh(void);
static queue_t *queue_node(const char *node);
static void queue_gone(void);


/* -- time, memory, handles ------------------------------------------------- */

typedef struct test_block_s  test_block_t;

struct test_block_s {
    test_block_t             *next;
    max_align_t               memory[];
};


static test_block_t  *test_blocks;
static long           test_allocs = -1;  /* so many work, -1: all */
static queue_t       *test_open[TEST_OPEN];


static inline int64_t
test_clock(clockid_t clock)
{
    struct timespec  ts;

    clock_gettime(clock, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define NOW       test_clock(CLOCK_REALTIME)
#define DEADLINE  (test_clock(CLOCK_MONOTONIC) + TEST_PATIENCE)


static inline void
test_nap(void)
{
    struct timespec  ts = { 0, 3000000 };

    nanosleep(&ts, NULL);
}


/* until the condition holds; it may do things */

#define EVENTUALLY(condition)                                                 \
    do {                                                                      \
        int64_t  test_end_ = DEADLINE;                                        \
                                                                              \
        while (!(condition)) {                                                \
            if (test_clock(CLOCK_MONOTONIC) > test_end_) {                    \
                fail_msg("never: %s", #condition);                            \
            }                                                                 \
                                                                              \
            test_nap();                                                       \
        }                                                                     \
    } while (0)


static inline void *
test_alloc(void *data, size_t n)
{
    test_block_t  *block;

    (void) data;

    if (test_allocs == 0) {
        return NULL;
    }

    if (test_allocs > 0) {
        test_allocs--;
    }

    block = malloc(sizeof(test_block_t) + n);
    assert_non_null(block);

    memset(block->memory, 0xa5, n);
    block->next = test_blocks;
    test_blocks = block;

    return block->memory;
}


/* a node of this test, closed at its end */

static inline queue_t *
node(const char *name)
{
    size_t    i;
    queue_t  *q;

    q = queue_node(name);
    assert_non_null(q);

    for (i = 0; i < TEST_OPEN && test_open[i] != NULL; i++) {
        /* void */
    }

    assert_true(i < TEST_OPEN);
    test_open[i] = q;

    return q;
}


static inline void
leave(queue_t *q)
{
    size_t  i;

    for (i = 0; i < TEST_OPEN; i++) {
        if (test_open[i] == q) {
            test_open[i] = NULL;
            q->engine->close(q);
            return;
        }
    }

    fail_msg("a node that is not there leaves");
}


static inline int
test_setup(void **state)
{
    (void) state;

    test_allocs = -1;
    queue_fresh();

    return 0;
}


static inline int
test_teardown(void **state)
{
    size_t         i;
    test_block_t  *block;

    (void) state;

    for (i = 0; i < TEST_OPEN; i++) {
        if (test_open[i] != NULL) {
            test_open[i]->engine->close(test_open[i]);
            test_open[i] = NULL;
        }
    }

    while (test_blocks != NULL) {
        block = test_blocks;
        test_blocks = block->next;
        free(block);
    }

    queue_gone();

    return 0;
}


/* -- short forms ----------------------------------------------------------- */

static inline queue_message_t
message(const char *queue, const char *id, const void *data, size_t size)
{
    queue_message_t  m;

    memset(&m, 0, sizeof(m));
    m.queue = queue;
    snprintf(m.id, sizeof(m.id), "%s", id);
    m.data = data;
    m.size = size;

    return m;
}


static inline int
try_send(queue_t *q, const char *queue, const char *id, const char *text,
    int64_t due_ms)
{
    int              code, rc;
    queue_message_t  m;

    m = message(queue, id, text, strlen(text));
    m.due_ms = due_ms;

    code = 1;
    rc = q->engine->send(q, &m, &code, 1, NOW, DEADLINE);

    return rc != FAAS_OK ? rc : code;
}


static inline void
send_text(queue_t *q, const char *queue, const char *id, const char *text)
{
    assert_int_equal(try_send(q, queue, id, text, 0), FAAS_OK);
}


static inline void
send_numbered(queue_t *q, const char *queue, unsigned from, unsigned n)
{
    int              code[TEST_GROUP];
    char             text[TEST_GROUP][16];
    unsigned         i;
    queue_message_t  m[TEST_GROUP];

    assert_true(n <= TEST_GROUP);

    for (i = 0; i < n; i++) {
        snprintf(text[i], sizeof(text[i]), "%u", from + i);
        m[i] = message(queue, "", text[i], strlen(text[i]));
        snprintf(m[i].id, sizeof(m[i].id), "m-%u", from + i);
        code[i] = 1;
    }

    assert_int_equal(q->engine->send(q, m, code, n, NOW, DEADLINE), FAAS_OK);

    for (i = 0; i < n; i++) {
        assert_int_equal(code[i], FAAS_OK);
    }
}


/* up to n; how many there were */

static inline size_t
receive(queue_t *q, const char *queue, queue_message_t *m, size_t n,
    int64_t lease_ms)
{
    assert_int_equal(q->engine->receive(q, queue, lease_ms, m, &n, test_alloc,
                                        NULL, NOW, DEADLINE),
                     FAAS_OK);

    return n;
}


static inline void
tick(queue_t *q)
{
    q->engine->tick(q, NOW, DEADLINE);
}


/* as the events process does: it also ticks */

static inline size_t
look(queue_t *q, const char *queue, queue_message_t *m, size_t n,
    int64_t lease_ms)
{
    tick(q);

    return receive(q, queue, m, n, lease_ms);
}


static inline void
receive_one(queue_t *q, const char *queue, queue_message_t *m,
    int64_t lease_ms)
{
    EVENTUALLY(look(q, queue, m, 1, lease_ms) == 1);
}


static inline int
settle_timer(queue_t *q, const queue_message_t *m, queue_verdict_e verdict,
    int64_t due_ms, const char *timer, uint64_t fence)
{
    queue_settlement_t  s;

    memset(&s, 0, sizeof(s));
    s.message = m;
    s.verdict = verdict;
    s.due_ms = due_ms;
    s.reason = "the reason";
    s.timer = timer;
    s.timer_fence = fence;
    s.code = 1;

    assert_int_equal(q->engine->settle(q, &s, 1, NOW, DEADLINE), FAAS_OK);

    return s.code;
}


static inline int
settle(queue_t *q, const queue_message_t *m, queue_verdict_e verdict,
    int64_t due_ms)
{
    return settle_timer(q, m, verdict, due_ms, NULL, 0);
}


static inline queue_stats_t
stats(queue_t *q, const char *queue)
{
    queue_stats_t  s;

    memset(&s, 0xff, sizeof(s));
    assert_int_equal(q->engine->stats(q, queue, &s, NOW, DEADLINE), FAAS_OK);

    return s;
}


static inline void
expect_stats(queue_t *q, const char *queue, uint64_t ready, uint64_t delayed,
    uint64_t leased, uint64_t dead)
{
    queue_stats_t  s;

    s = stats(q, queue);

    assert_int_equal(s.ready, ready);
    assert_int_equal(s.delayed, delayed);
    assert_int_equal(s.leased, leased);
    assert_int_equal(s.dead, dead);
}


static inline void
expect_text(const queue_message_t *m, const char *id, const char *text)
{
    assert_string_equal(m->id, id);
    assert_int_equal(m->size, strlen(text));
    assert_string_equal((const char *) m->data, text);    /* with its zero */
}


/* a message that has died, with the reason above */

static inline void
kill_message(queue_t *q, const char *queue, const char *id, const char *text)
{
    queue_message_t  m;

    send_text(q, queue, id, text);
    receive_one(q, queue, &m, TEST_LEASE);
    assert_string_equal(m.id, id);
    assert_int_equal(settle(q, &m, QUEUE_DEAD, 0), FAAS_OK);
}


/* -- several processes ----------------------------------------------------- */

/* in a child: cmocka's checks belong to the parent */

#define CHILD_CHECK(condition)                                                \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__,    \
                    #condition);                                              \
            _exit(1);                                                         \
        }                                                                     \
    } while (0)


/* fork(); a child ends with this process, should a check fail before it does */

static inline pid_t
fork_child(void)
{
    pid_t  pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }

    return pid;
}


/* memory that children share, zeroed */

static inline void *
shared(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
             0);
    assert_true(p != MAP_FAILED);

    return p;
}


/* runs `child` in n processes, each with a node of its own, which begin
   together; all must come to their end */

static inline void
together(unsigned n, void (*child)(queue_t *q, unsigned i, void *data),
    void *data)
{
    int       status, go[2];
    char      name[32], byte;
    pid_t     pid[TEST_NODES];
    queue_t  *q;
    unsigned  i;

    assert_true(n <= TEST_NODES);
    assert_int_equal(pipe(go), 0);

    for (i = 0; i < n; i++) {
        pid[i] = fork_child();

        if (pid[i] == 0) {
            close(go[1]);
            snprintf(name, sizeof(name), "node%u", i);
            q = queue_node(name);
            CHILD_CHECK(q != NULL);
            tick(q);

            CHILD_CHECK(read(go[0], &byte, 1) == 0);

            child(q, i, data);
            q->engine->close(q);
            _exit(0);
        }
    }

    close(go[0]);
    close(go[1]);

    for (i = 0; i < n; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}


#define QUEUE_TEST(name)                                                      \
    cmocka_unit_test_setup_teardown(name, test_setup, test_teardown)


#endif /* QUEUE_NODE_H_INCLUDED */
