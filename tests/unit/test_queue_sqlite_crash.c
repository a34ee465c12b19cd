/* objects: $(BAAS_QUEUE) $(SCOREBOARD) base/log.c */
/* libs: -lsqlite3 */

/*
 * Two nodes that share a file send, receive and settle, and are killed at any
 * instruction, again and again.  They write down, in memory that outlives
 * them, what they are about to do and what was acknowledged; in the end each
 * message must be where that says.
 */


#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "log.h"
#include "queue_node.h"
#include "queue_sqlite_file.h"


#define CRASH_MESSAGES  200000
#define CRASH_NODES     2
#define CRASH_BATCH     8
#define CRASH_LEASE_MS  40
#define CRASH_LAST_MS   60000
#define CRASH_MS        8000


/* of each message; written by whoever has it */

typedef struct {
    uint8_t                   sent;        /* acknowledged */
    uint8_t                   ending;      /* DONE was about to be asked */
    uint8_t                   done;        /* acknowledged */
    uint8_t                   dying;
    uint8_t                   dead;        /* acknowledged */
} crash_entry_t;


typedef struct {
    unsigned                  next;        /* the next message's number */
    unsigned                  settled;
    crash_entry_t             entries[CRASH_MESSAGES];
} crash_ledger_t;


static crash_ledger_t  *ledger;


static void
crash_send(queue_t *q)
{
    int              code[CRASH_BATCH];
    char             text[CRASH_BATCH][4000];
    unsigned         i, n, from;
    queue_message_t  m[CRASH_BATCH];

    n = 1 + (unsigned) rand() % CRASH_BATCH;
    from = __atomic_fetch_add(&ledger->next, n, __ATOMIC_SEQ_CST);
    CHILD_CHECK(from + n <= CRASH_MESSAGES);

    for (i = 0; i < n; i++) {
        memset(text[i], ' ', sizeof(text[i]));
        snprintf(text[i], sizeof(text[i]), "%u", from + i);
        m[i] = message("q", text[i], text[i],
                       (from + i) % 5 ? strlen(text[i]) : sizeof(text[i]));
        m[i].due_ms = (from + i) % 7 ? 0 : NOW + 20;
    }

    CHILD_CHECK(q->engine->send(q, m, code, n, NOW, DEADLINE) == FAAS_OK);

    for (i = 0; i < n; i++) {
        ledger->entries[from + i].sent = 1;
    }
}


static queue_verdict_e
crash_verdict(unsigned i)
{
    switch (rand() % 10) {

    case 0:
        return QUEUE_RETRY;

    case 1:
        return QUEUE_RELEASE;

    case 2:
        ledger->entries[i].dying = 1;
        return QUEUE_DEAD;

    default:
        ledger->entries[i].ending = 1;
        return QUEUE_DONE;
    }
}


static void
crash_take(queue_t *q)
{
    size_t              i, n;
    crash_entry_t      *e;
    queue_message_t     m[CRASH_BATCH];
    queue_settlement_t  s[CRASH_BATCH];

    n = CRASH_BATCH;
    CHILD_CHECK(q->engine->receive(q, "q", CRASH_LEASE_MS, m, &n, test_alloc,
                                   NULL, NOW, DEADLINE)
                == FAAS_OK);

    memset(s, 0, sizeof(s));

    for (i = 0; i < n; i++) {
        e = &ledger->entries[atoi(m[i].data)];
        CHILD_CHECK(!e->done && !e->dead);
        CHILD_CHECK(strcmp(m[i].id, m[i].data) == 0);

        s[i].message = &m[i];
        s[i].verdict = crash_verdict((unsigned) atoi(m[i].data));
    }

    if (rand() % 8 == 0) {
        return;    /* the leases run out */
    }

    CHILD_CHECK(q->engine->settle(q, s, n, NOW, DEADLINE) == FAAS_OK);

    for (i = 0; i < n; i++) {
        CHILD_CHECK(s[i].code == FAAS_OK || s[i].code == FAAS_ECONFLICT);

        if (s[i].code == FAAS_OK) {
            e = &ledger->entries[atoi(m[i].data)];
            e->done = s[i].verdict == QUEUE_DONE;
            e->dead = s[i].verdict == QUEUE_DEAD;
            __atomic_add_fetch(&ledger->settled, 1, __ATOMIC_SEQ_CST);
        }
    }
}


static void
crash_node(unsigned seed)
{
    char          name[32];
    queue_t      *q;
    test_block_t *block;

    srand(seed);
    snprintf(name, sizeof(name), "node%u", seed % CRASH_NODES);
    q = queue_node(name);
    CHILD_CHECK(q != NULL);

    for ( ;; ) {
        tick(q);
        crash_send(q);
        crash_take(q);
        crash_take(q);

        while (test_blocks != NULL) {
            block = test_blocks;
            test_blocks = block->next;
            free(block);
        }
    }
}


/* where the message is: its state, or -1 */

static int
crash_state(sqlite3_stmt *st, unsigned i)
{
    int   state;
    char  id[16];

    snprintf(id, sizeof(id), "%u", i);
    sqlite3_reset(st);
    sqlite3_bind_text(st, 1, id, -1, SQLITE_TRANSIENT);

    state = -1;

    if (sqlite3_step(st) == SQLITE_ROW) {
        state = sqlite3_column_int(st, 0);
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
    }

    return state;
}


static void
crash_verify(void)
{
    int             state;
    sqlite3        *db;
    unsigned        i;
    sqlite3_stmt   *st;
    crash_entry_t  *e;

    db = sql_open();
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT state FROM messages"
                                            " WHERE id = ?", -1, &st, NULL),
                     SQLITE_OK);

    for (i = 0; i < ledger->next; i++) {
        e = &ledger->entries[i];
        state = crash_state(st, i);

        if (e->sent && state == -1) {
            fail_msg("message %u is lost", i);
        }

        if (e->done != (state == QS_DONE) && !(e->ending && !e->done)) {
            fail_msg("message %u: done %d, but state %d", i, e->done, state);
        }

        if (e->dead != (state == QS_DEAD) && !(e->dying && !e->dead)) {
            fail_msg("message %u: dead %d, but state %d", i, e->dead, state);
        }
    }

    sqlite3_finalize(st);
    sqlite3_close(db);
}


/* the first nodes may be killed before they have made the tables: then nothing
   was acknowledged, and there is nothing to look at */

static int
crash_is_made(void)
{
    int64_t   version;
    sqlite3  *db;

    if (access(test_path, F_OK) == -1) {
        return 0;
    }

    db = sql_open();
    version = sql_number(db, "PRAGMA user_version");
    sqlite3_close(db);

    if (version == 0) {
        assert_int_equal(ledger->settled, 0);
    }

    return version != 0;
}


/* was enough done and killed for the test to mean something? */

static int
crash_is_enough(unsigned rounds)
{
    return rounds > 20 && ledger->settled > 100;
}


static void
test_nothing_is_lost_when_nodes_are_killed(void **state)
{
    int              i, life_ms, status;
    pid_t            pid[CRASH_NODES];
    int64_t          now, end, last;
    unsigned         rounds, settled;
    struct timespec  ts;

    (void) state;

    log_open("/dev/null", LOG_ERROR);
    ledger = shared(sizeof(*ledger));
    now = test_clock(CLOCK_MONOTONIC);
    end = now + CRASH_MS;
    last = now + CRASH_LAST_MS;
    life_ms = 80;
    settled = 0;

    for (rounds = 0;
         now < end || (now < last && !crash_is_enough(rounds));
         rounds++)
    {
        for (i = 0; i < CRASH_NODES; i++) {
            pid[i] = fork_child();

            if (pid[i] == 0) {
                crash_node(rounds * CRASH_NODES + (unsigned) i);
            }
        }

        ts.tv_sec = 0;
        ts.tv_nsec = (2 + rand() % life_ms) * 1000000;
        nanosleep(&ts, NULL);

        for (i = 0; i < CRASH_NODES; i++) {
            kill(pid[i], SIGKILL);
            assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
            assert_true(WIFSIGNALED(status));
        }

        if (rounds % 16 == 0 && crash_is_made()) {
            queue_gone();
            crash_verify();
        }

        /* on a machine where nodes do not live to do anything they get more
           time */

        if (rounds % 16 == 0) {

            if (ledger->settled == settled && life_ms < 640) {
                life_ms *= 2;
            }

            settled = ledger->settled;
        }

        now = test_clock(CLOCK_MONOTONIC);
    }

    crash_verify();
    print_message("%u rounds, %u messages, %u verdicts\n", rounds,
                  ledger->next, ledger->settled);

    assert_true(crash_is_enough(rounds));
    munmap(ledger, sizeof(*ledger));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        QUEUE_TEST(test_nothing_is_lost_when_nodes_are_killed),
    };

    return queue_sqlite_tests(tests);
}
