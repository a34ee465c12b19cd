/* objects: $(BAAS_QUEUE) $(SCOREBOARD) base/log.c baas/events_due.c */
/* libs: -lsqlite3 */

/*
 * A timer of 1000 ticks on processes that share a file, decide as the events
 * process does (events_due.c), fire through the engine, and are killed and
 * stopped meanwhile, at any instruction.  Their clock is a number that the
 * test moves, forwards with steps too.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "events_due.h"


#define NODES  3
#define TICKS  1000
#define START  1792929600000ll          /* 2026-10-25 12:00:00 UTC */


typedef struct {
    int64_t                   now_ms;
    uint64_t                  looks[NODES];
} shared_t;


static char       directory[64];
static shared_t  *shared;


static int64_t
monotonic(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static queue_t *
node(void)
{
    char      url[128], why[160];
    queue_t  *q;

    (void) snprintf(url, sizeof(url), "sqlite:%s/queue.db", directory);
    q = queue_sqlite.open(url, directory, "node", why, sizeof(why));
    assert_non_null(q);

    return q;
}


static int
build(queue_message_t *m, uint64_t fence, void *data)
{
    static char  text[32];

    (void) data;

    (void) snprintf(text, sizeof(text), "%llu", (unsigned long long) fence);
    m->data = text;
    m->size = strlen(text);

    return FAAS_OK;
}


/* one look; what it does not get done is done by a later one */

static void
look(queue_t *q, const faas_schedule_t *s, events_watch_t *w)
{
    int64_t          now;
    uint64_t         fence;
    events_due_t     due;
    queue_timer_t    t;
    queue_message_t  m;

    now = __atomic_load_n(&shared->now_ms, __ATOMIC_SEQ_CST);

    if (w->since_ms == 0) {
        w->since_ms = now;
    }

    if (q->engine->timer_get(q, "work/t", &t, monotonic() + 5000) != FAAS_OK) {
        return;
    }

    events_due_decide(s, &t, w, now, &due);

    if (due.action == EVENTS_DUE_WAIT) {
        (void) usleep(200);
        return;
    }

    memset(&m, 0, sizeof(m));
    m.queue = "@work";
    (void) snprintf(m.id, sizeof(m.id), "t.%lld", (long long) t.due_ms);

    (void) q->engine->timer_fire(q, &t, due.next_ms,
                                 due.action == EVENTS_DUE_FIRE ? &m : NULL,
                                 build, NULL, &fence, now,
                                 monotonic() + 5000);
}


static pid_t
begin(unsigned i, const faas_schedule_t *s)
{
    pid_t           pid;
    queue_t        *q;
    events_watch_t  watch;

    pid = fork();
    assert_true(pid != -1);

    if (pid != 0) {
        return pid;
    }

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(&watch, 0, sizeof(watch));
    q = node();

    for ( ;; ) {
        look(q, s, &watch);
        __atomic_add_fetch(&shared->looks[i], 1, __ATOMIC_SEQ_CST);
    }
}


static int64_t
last_fired(queue_t *q)
{
    queue_timer_t  t;

    assert_int_equal(q->engine->timer_get(q, "work/t", &t,
                                          monotonic() + 20000), FAAS_OK);

    return t.last_ms;
}


/* waits until that one has fired, or been left out */

static void
reach(queue_t *q, int64_t due_ms)
{
    int64_t  until;

    until = monotonic() + 20000;

    while (last_fired(q) < due_ms) {
        assert_true(monotonic() < until);
        (void) usleep(500);
    }
}


/* messages of @work in the order of their fences: the due times that fired */

typedef struct chunk_s  chunk_t;

struct chunk_s {
    chunk_t      *next;
    max_align_t   memory[];
};


static void *
keep(void *data, size_t n)
{
    chunk_t   *chunk, **list = data;

    chunk = malloc(sizeof(*chunk) + n);
    assert_non_null(chunk);
    chunk->next = *list;
    *list = chunk;

    return chunk->memory;
}


static size_t
fired(queue_t *q, int64_t *due, uint64_t *fence, size_t room)
{
    size_t            i, n, all;
    chunk_t          *chunk, *list;
    queue_message_t   m[100];

    all = 0;
    list = NULL;

    for ( ;; ) {
        n = 100;
        assert_int_equal(q->engine->receive(q, "@work", 60000, m, &n, keep,
                                            &list, START, monotonic() + 20000),
                         FAAS_OK);
        if (n == 0) {
            break;
        }

        for (i = 0; i < n; i++) {
            assert_true(all < room);
            due[all] = atoll(m[i].id + 2);
            fence[all++] = strtoull(m[i].data, NULL, 10);
        }
    }

    while (list != NULL) {
        chunk = list;
        list = chunk->next;
        free(chunk);
    }

    return all;
}


static void
set(queue_t *q, const faas_schedule_t *s)
{
    queue_timer_t  t;

    memset(&t, 0, sizeof(t));
    strcpy(t.key, "work/t");
    events_due_spec(s, t.spec, sizeof(t.spec));
    t.due_ms = events_due_next(s, START);
    assert_int_equal(q->engine->timer_set(q, &t, monotonic() + 20000),
                     FAAS_OK);
}


static void
schedule(const char *line, faas_schedule_t *s)
{
    char  why[FAAS_EVENT_WHY_SIZE];

    assert_int_equal(faas_schedule_parse(line, strlen(line), s, why), 0);
}


static int
fresh(void **state)
{
    (void) state;

    strcpy(directory, "/tmp/faas-timers-XXXXXX");
    assert_non_null(mkdtemp(directory));

    shared = mmap(NULL, sizeof(*shared), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    shared->now_ms = START;

    return 0;
}


static int
gone(void **state)
{
    char  command[128];

    (void) state;

    (void) munmap(shared, sizeof(*shared));
    (void) snprintf(command, sizeof(command), "rm -rf %s", directory);

    return system(command);
}


static void
finish(pid_t pid)
{
    int  status;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}


static void
test_each_of_1000_ticks_fires_once_whoever_dies_or_stops(void **state)
{
    pid_t            pid[NODES];
    size_t           n;
    int64_t          due[TICKS];
    queue_t         *q;
    uint64_t         fence[TICKS];
    unsigned         i, tick, victim, deaths;
    faas_schedule_t  s;

    (void) state;

    schedule("@every 1s overlap=allow", &s);
    q = node();
    set(q, &s);
    q->engine->close(q);

    /* handles cross no fork */

    for (i = 0; i < NODES; i++) {
        pid[i] = begin(i, &s);
    }

    q = node();
    deaths = 0;
    srandom(24);

    for (tick = 1; tick <= TICKS; tick++) {
        __atomic_store_n(&shared->now_ms, START + tick * 1000ll,
                         __ATOMIC_SEQ_CST);

        /* while they race for it */

        if (tick % 4 == 0) {
            (void) usleep((useconds_t) (random() % 3000));
            victim = (unsigned) random() % NODES;

            if (random() % 2) {
                finish(pid[victim]);
                deaths++;
                q->engine->close(q);
                pid[victim] = begin(victim, &s);
                q = node();

            } else {
                /* it wakes with a decision of long ago */

                assert_int_equal(kill(pid[victim], SIGSTOP), 0);

                if (tick + 3 <= TICKS) {
                    __atomic_store_n(&shared->now_ms,
                                     START + (tick + 2) * 1000ll,
                                     __ATOMIC_SEQ_CST);
                    tick += 2;
                }

                /* stopped inside a transaction it holds the file */

                (void) usleep(2000);
                assert_int_equal(kill(pid[victim], SIGCONT), 0);
            }
        }

        reach(q, START + tick * 1000ll);
    }

    for (i = 0; i < NODES; i++) {
        finish(pid[i]);
    }

    n = fired(q, due, fence, TICKS);
    q->engine->close(q);

    assert_int_equal(n, TICKS);
    assert_true(deaths > 50);

    for (i = 0; i < TICKS; i++) {
        assert_true(due[i] == START + (i + 1) * 1000ll);
        assert_true(i == 0 || fence[i] > fence[i - 1]);
    }
}


/* an hour each time: what was missed is left out once, by one of them */

static void
test_steps_of_the_clock_are_caught_up_once(void **state)
{
    pid_t            pid[NODES];
    size_t           n;
    int64_t          due[TICKS], now;
    queue_t         *q;
    uint64_t         fence[TICKS];
    unsigned         i, step;
    faas_schedule_t  s;

    (void) state;

    schedule("*/10 * * * * overlap=allow catchup=one", &s);
    q = node();
    set(q, &s);
    q->engine->close(q);

    for (i = 0; i < NODES; i++) {
        pid[i] = begin(i, &s);
    }

    q = node();
    now = START;

    /* who has just come leaves nothing out */

    for (i = 0; i < NODES; i++) {
        while (__atomic_load_n(&shared->looks[i], __ATOMIC_SEQ_CST) == 0) {
            (void) usleep(500);
        }
    }

    for (step = 0; step < 50; step++) {
        now += 3600000;
        __atomic_store_n(&shared->now_ms, now + 10000, __ATOMIC_SEQ_CST);
        reach(q, now);

        /* and half an hour back, where all has fired */

        __atomic_store_n(&shared->now_ms, now - 1800000, __ATOMIC_SEQ_CST);
        (void) usleep(1000);
        assert_true(last_fired(q) == now);
    }

    for (i = 0; i < NODES; i++) {
        finish(pid[i]);
    }

    n = fired(q, due, fence, TICKS);
    q->engine->close(q);
    assert_int_equal(n, 50);

    for (i = 0; i < n; i++) {
        assert_true(due[i] == START + (i + 1) * 3600000ll);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(
            test_each_of_1000_ticks_fires_once_whoever_dies_or_stops, fresh,
            gone),
        cmocka_unit_test_setup_teardown(
            test_steps_of_the_clock_are_caught_up_once, fresh, gone)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
