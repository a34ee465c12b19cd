/* objects: scoreboard/faas_scoreboard.c */
/* libs: -lpthread */

/*
 * The board's layout and its check, text and limits that are read while they
 * are written (by another process, which may die in the middle), worker
 * records, sums over workers.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faas_scoreboard.h"


#define SIZE  (1024 * 1024)


static faas_scoreboard_t  *sb;


static uint32_t  seed = 20231123;


static uint32_t
roll(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed % n;
}


static void *
map(uint64_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE,
             MAP_SHARED|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0);
    assert_true(p != MAP_FAILED);

    return p;
}


static int
setup(void **state)
{
    (void) state;

    sb = map(SIZE);
    assert_int_equal(faas_scoreboard_format(sb, SIZE, "1.2.3"), FAAS_OK);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    munmap(sb, SIZE);

    return 0;
}


static void
test_board_of_each_size_holds_its_regions(void **state)
{
    size_t              i, j;
    uint64_t            end;
    faas_scoreboard_t  *b;

    static const uint64_t  sizes[] = {
        FAAS_SCOREBOARD_SIZE_MIN,
        FAAS_SCOREBOARD_SIZE_MIN + 1,
        FAAS_SCOREBOARD_SIZE_MIN + 4095,
        3 * 1024 * 1024 + 12345,
        FAAS_SCOREBOARD_SIZE_DEFAULT,
        333 * 1024 * 1024 + 1
    };

    (void) state;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        b = map(sizes[i]);

        assert_int_equal(faas_scoreboard_format(b, sizes[i], "x"), FAAS_OK);
        assert_null(faas_scoreboard_check(b, sizes[i]));

        assert_int_equal(b->functions, sizes[i] / (128 * 1024));
        assert_int_equal(b->versions, 2 * b->functions);
        assert_int_equal(b->chunks, 4 * b->functions);

        /* each begins behind the end of the one before, on a page */

        const uint64_t  regions[][2] = {
            { 0, sizeof(faas_scoreboard_t) },
            { b->workers_offset, FAAS_WORKERS * sizeof(faas_worker_t) },
            { b->functions_offset, b->functions * sizeof(faas_function_t) },
            { b->versions_offset, b->versions * sizeof(faas_version_t) },
            { b->chunks_offset, b->chunks * sizeof(faas_chunk_t) },
            { b->cells_offset,
              (uint64_t) b->functions * FAAS_WORKERS * sizeof(faas_cell_t) },
            { b->routes_offset[0], b->route_size },
            { b->routes_offset[1], b->route_size },
        };

        end = 0;

        for (j = 0; j < sizeof(regions) / sizeof(regions[0]); j++) {
            assert_true(regions[j][0] >= end);
            assert_int_equal(regions[j][0] % 4096, 0);
            end = regions[j][0] + regions[j][1];
            assert_true(end <= sizes[i]);
        }

        /* the last of each can be written to */

        atomic_store(&faas_scoreboard_worker(b, FAAS_WORKERS - 1)->pid, 1);
        atomic_store(&faas_scoreboard_function(b, b->functions - 1)->kick, 1);
        atomic_store(&faas_scoreboard_version(b, b->versions - 1)->state, 1);
        atomic_store(&faas_scoreboard_slot(b, b->chunks * FAAS_CHUNK_SLOTS
                                              - 1)->word, 1);
        atomic_store(&faas_scoreboard_cell(b, b->functions - 1,
                                           FAAS_WORKERS - 1)->finished, 1);
        atomic_store(&faas_scoreboard_routes(b, 0)->length, 1);
        atomic_store(&faas_scoreboard_routes(b, 1)->length, 2);
        assert_int_equal(atomic_load(&faas_scoreboard_routes(b, 2)->length),
                         1);
        assert_null(faas_scoreboard_check(b, sizes[i]));

        munmap(b, sizes[i]);
    }
}


static void
test_size_out_of_range_is_refused(void **state)
{
    faas_scoreboard_t  b;

    (void) state;

    memset(&b, 0, sizeof(b));

    assert_int_equal(faas_scoreboard_format(&b, 0, "x"), FAAS_ERROR);
    assert_int_equal(faas_scoreboard_format(&b, FAAS_SCOREBOARD_SIZE_MIN - 1,
                                            "x"), FAAS_ERROR);
    assert_int_equal(faas_scoreboard_format(&b, FAAS_SCOREBOARD_SIZE_MAX + 1,
                                            "x"), FAAS_ERROR);
    assert_int_equal(faas_scoreboard_format(&b, UINT64_MAX, "x"), FAAS_ERROR);
    assert_true(b.magic == 0);

    assert_non_null(faas_scoreboard_check(sb, 0));
    assert_non_null(faas_scoreboard_check(sb, SIZE - 1));
    assert_non_null(faas_scoreboard_check(sb, SIZE + 1));
    assert_non_null(faas_scoreboard_check(sb, 2 * SIZE));
    assert_non_null(faas_scoreboard_check(sb, UINT64_MAX));
}


static void
test_new_board_is_empty(void **state)
{
    char      text[FAAS_TEXT_SIZE];
    uint32_t  i;

    (void) state;

    assert_string_equal(sb->release, "1.2.3");
    assert_int_equal(faas_text_read(&sb->last_error, text), 0);

    for (i = 0; i < sb->chunks; i++) {
        assert_int_equal(faas_chunk_version(faas_scoreboard_chunk(sb, i)),
                         FAAS_INDEX_NONE);
    }

    for (i = 0; i < sb->functions; i++) {
        assert_int_equal(faas_scoreboard_function(sb, i)->current,
                         FAAS_INDEX_NONE);
        assert_int_equal(faas_scoreboard_function(sb, i)->state,
                         FAAS_FUNCTION_FREE);
    }

    assert_int_equal(faas_worker_longest(sb, 0, FAAS_WORKER_NONE,
                                         &(uint64_t) { 0 }),
                     FAAS_WORKER_NONE);
}


static void
test_long_release_is_cut(void **state)
{
    char  release[100];

    (void) state;

    memset(release, 'r', sizeof(release) - 1);
    release[sizeof(release) - 1] = '\0';

    munmap(sb, SIZE);
    sb = map(SIZE);
    assert_int_equal(faas_scoreboard_format(sb, SIZE, release), FAAS_OK);
    assert_int_equal(strlen(sb->release), sizeof(sb->release) - 1);
}


/* what a master of another build, or a stray file, might hold */

static void
test_each_flipped_bit_of_the_header_is_seen(void **state)
{
    size_t           i, n;
    unsigned char   *p;
    const char      *why;

    (void) state;

    p = (unsigned char *) sb;
    n = offsetof(faas_scoreboard_t, release);

    for (i = 0; i < n * 8; i++) {
        p[i / 8] ^= (unsigned char) (1 << i % 8);

        why = faas_scoreboard_check(sb, SIZE);

        if (why == NULL) {
            fail_msg("bit %zu of byte %zu is not looked at", i % 8, i / 8);
        }

        if (i / 8 >= offsetof(faas_scoreboard_t, layout)
            && i / 8 < offsetof(faas_scoreboard_t, size))
        {
            assert_string_equal(why, "scoreboard of another layout");
        }

        p[i / 8] ^= (unsigned char) (1 << i % 8);
    }

    assert_null(faas_scoreboard_check(sb, SIZE));

    memset(sb, 0, sizeof(faas_scoreboard_t));
    assert_non_null(faas_scoreboard_check(sb, SIZE));
    memset(sb, 0xff, sizeof(faas_scoreboard_t));
    assert_non_null(faas_scoreboard_check(sb, SIZE));
}


static void
test_text_is_cut_and_padded(void **state)
{
    char          in[FAAS_TEXT_SIZE * 2], out[FAAS_TEXT_SIZE];
    size_t        n;
    faas_text_t  *t;

    (void) state;

    t = &sb->last_error;
    memset(in, 'x', sizeof(in));

    for (n = 0; n < sizeof(in); n++) {
        memset(out, 0x55, sizeof(out));
        faas_text_write(t, in, n);

        assert_int_equal(faas_text_read(t, out),
                         n < FAAS_TEXT_SIZE ? n : FAAS_TEXT_SIZE - 1);
        assert_int_equal(strlen(out),
                         n < FAAS_TEXT_SIZE ? n : FAAS_TEXT_SIZE - 1);
    }

    faas_text_write(t, "short", 5);
    assert_int_equal(faas_text_read(t, out), 5);
    assert_string_equal(out, "short");
    assert_int_equal(t->data[5], 0);
    assert_int_equal(t->data[FAAS_TEXT_SIZE - 2], 0);

    /* a length that somebody broke is not believed */

    t->length = 100000;
    assert_int_equal(faas_text_read(t, out), 0);
    assert_string_equal(out, "");
}


/* writes texts of one letter each, of the length that belongs to the letter */

static void
write_texts(faas_text_t *t, faas_function_t *f)
{
    char           text[FAAS_TEXT_SIZE];
    uint32_t       i;
    faas_limits_t  l;

    for (i = 0; ; i++) {
        memset(text, 'a' + (int) (i % 26), sizeof(text));
        faas_text_write(t, text, 10 + 9 * (i % 26));

        l.mode = i;
        l.min = i + 1;
        l.max = i + 2;
        l.spare = i + 3;
        l.queue = i + 4;
        l.timeout_ms = i + 5;
        l.memory_bytes = (uint64_t) i << 32 | i;
        faas_limits_write(f, &l);
    }
}


static void
test_readers_see_whole_texts_also_when_the_writer_dies(void **state)
{
    int               status;
    char              text[FAAS_TEXT_SIZE];
    pid_t             pid;
    size_t            i, j, n, read;
    uint32_t          before;
    faas_text_t      *t;
    faas_limits_t     l;
    faas_function_t  *f;

    (void) state;

    t = &sb->last_error;
    f = faas_scoreboard_function(sb, 3);
    read = 0;

    for (i = 0; i < 40; i++) {
        before = atomic_load(&t->sequence);
        pid = fork();
        assert_true(pid != -1);

        if (pid == 0) {
            (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
            write_texts(t, f);
        }

        while (atomic_load(&t->sequence) <= before + 20
               || atomic_load(&f->limits_sequence) < 2)
        {
            sched_yield();
        }

        for (j = 200 + roll(2000); j > 0; j--) {

            n = faas_text_read(t, text);
            assert_int_equal(strlen(text), n);

            if (n > 0) {
                assert_true(text[0] >= 'a' && text[0] <= 'z');
                assert_int_equal(n, 10 + 9 * (text[0] - 'a'));
                assert_int_equal(strspn(text, (char[]) { text[0], '\0' }), n);
                read++;
            }

            /* a reader that was unlucky 64 times takes what there is; one
               that was lucky has numbers of one writing */

            before = atomic_load(&f->limits_sequence);
            faas_limits_read(f, &l);

            if (before % 2 == 0
                && atomic_load(&f->limits_sequence) == before)
            {
                assert_int_equal(l.min, l.mode + 1);
                assert_int_equal(l.timeout_ms, l.mode + 5);
                assert_true(l.memory_bytes
                            == ((uint64_t) l.mode << 32 | l.mode));
            }
        }

        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
    }

    assert_true(read > 100);

    /* who comes next makes it whole, whatever the dead one left */

    for (i = 0; i < 2; i++) {
        atomic_fetch_or(&t->sequence, (uint32_t) i);
        atomic_fetch_or(&f->limits_sequence, (uint32_t) i);

        faas_text_write(t, "good", 4);
        assert_int_equal(faas_text_read(t, text), 4);
        assert_string_equal(text, "good");
        assert_int_equal(atomic_load(&t->sequence) % 2, 0);

        memset(&l, 0, sizeof(l));
        l.max = 12345;
        faas_limits_write(f, &l);
        memset(&l, 0, sizeof(l));
        faas_limits_read(f, &l);
        assert_int_equal(l.max, 12345);
        assert_int_equal(atomic_load(&f->limits_sequence) % 2, 0);
    }
}


static void
test_readers_of_a_dead_writer_come_back(void **state)
{
    char              text[FAAS_TEXT_SIZE];
    faas_limits_t     l;
    faas_function_t  *f;

    (void) state;

    f = faas_scoreboard_function(sb, 0);

    faas_text_write(&f->last_error, "half", 4);
    atomic_fetch_or(&f->last_error.sequence, 1);
    assert_int_equal(faas_text_read(&f->last_error, text), 0);
    assert_string_equal(text, "");

    memset(&l, 0, sizeof(l));
    l.max = 4;
    faas_limits_write(f, &l);
    atomic_fetch_or(&f->limits_sequence, 1);
    l.max = 0;
    faas_limits_read(f, &l);
    assert_int_equal(l.max, 4);
}


static void
test_worker_records_run_out(void **state)
{
    uint32_t        i;
    faas_worker_t  *w;

    (void) state;

    for (i = 0; i < FAAS_WORKERS; i++) {
        assert_int_equal(faas_worker_claim(sb, 1000 + (int32_t) i, 5000 + i),
                         i);
        assert_int_equal(atomic_load(&sb->workers_used), i + 1);
    }

    assert_int_equal(faas_worker_claim(sb, 1, 1), FAAS_WORKER_NONE);

    w = faas_scoreboard_worker(sb, 77);
    assert_int_equal(atomic_load(&w->pid), 1077);
    assert_int_equal(atomic_load(&w->started), 5077);
    assert_int_equal(atomic_load(&w->ready), 1);

    /* the supervisor has buried one */

    atomic_store(&w->ready, 0);
    atomic_store(&w->pid, 0);
    assert_int_equal(faas_worker_claim(sb, 4711, 9), 77);
    assert_int_equal(atomic_load(&sb->workers_used), FAAS_WORKERS);
    assert_int_equal(faas_worker_claim(sb, 1, 1), FAAS_WORKER_NONE);
}


static void *
claim_thread(void *data)
{
    uint32_t  i, *got;

    got = data;

    for (i = 0; i < 32; i++) {
        got[i] = faas_worker_claim(sb, (int32_t) i + 1,
                                   i);
        sched_yield();
    }

    return NULL;
}


static void
test_no_record_is_claimed_twice(void **state)
{
    uint32_t   i, j, n, got[9][32];
    pthread_t  thread[9];
    char       seen[FAAS_WORKERS];

    (void) state;

    memset(seen, 0, sizeof(seen));
    memset(got, 0, sizeof(got));

    for (i = 0; i < 9; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, claim_thread,
                                        got[i]), 0);
    }

    for (i = 0; i < 9; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }

    /* 288 wanted one */

    for (i = 0, n = 0; i < 9; i++) {
        for (j = 0; j < 32; j++) {
            if (got[i][j] == FAAS_WORKER_NONE) {
                n++;
                continue;
            }

            assert_true(got[i][j] < FAAS_WORKERS);
            assert_int_equal(seen[got[i][j]]++, 0);
        }
    }

    assert_int_equal(n, 9 * 32 - FAAS_WORKERS);
    assert_int_equal(atomic_load(&sb->workers_used), FAAS_WORKERS);
}


static void
wait_since(uint32_t worker, uint64_t ms)
{
    atomic_store(&faas_scoreboard_cell(sb, 2, worker)->oldest_ms, ms);
    atomic_fetch_or(&faas_scoreboard_function(sb, 2)
                     ->waiting_mask[worker / 64],
                    UINT64_C(1) << worker % 64);
}


static void
test_who_waits_longest(void **state)
{
    uint64_t  ms;

    (void) state;

    assert_int_equal(faas_worker_longest(sb, 2, 0, &ms), FAAS_WORKER_NONE);
    assert_true(ms == 0);

    wait_since(5, 300);
    assert_int_equal(faas_worker_longest(sb, 2, 0, &ms), 5);
    assert_true(ms == 300);
    assert_int_equal(faas_worker_longest(sb, 2, 5, &ms), FAAS_WORKER_NONE);

    wait_since(255, 200);
    wait_since(64, 400);
    wait_since(127, 250);
    wait_since(0, 201);
    assert_int_equal(faas_worker_longest(sb, 2, FAAS_WORKER_NONE, &ms), 255);
    assert_true(ms == 200);
    assert_int_equal(faas_worker_longest(sb, 2, 255, &ms), 0);
    assert_int_equal(faas_worker_longest(sb, 2, 0, &ms), 255);

    /* another function's waiting is its own */

    assert_int_equal(faas_worker_longest(sb, 1, 0, &ms), FAAS_WORKER_NONE);
}


static void
test_gauges_are_summed_over_workers(void **state)
{
    uint32_t  i;

    (void) state;

    assert_int_equal(faas_function_waiting(sb, 4), 0);

    for (i = 0; i < 10; i++) {
        assert_int_equal(faas_worker_claim(sb, 100 + (int32_t) i, i), i);
        atomic_store(&faas_scoreboard_cell(sb, 4, i)->waiting, i);
        atomic_store(&faas_scoreboard_cell(sb, 4, i)->admitted, 2 * i);
        atomic_store(&faas_scoreboard_cell(sb, 5, i)->waiting, 1000);
    }

    assert_int_equal(faas_function_waiting(sb, 4), 45);
    assert_int_equal(faas_function_admitted(sb, 4), 90);

    /* a bound that somebody broke is not walked to */

    atomic_store(&sb->workers_used, UINT32_MAX);
    assert_int_equal(faas_function_waiting(sb, 4), 45);
    assert_int_equal(faas_function_admitted(sb, 4), 90);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
        test(test_board_of_each_size_holds_its_regions),
        test(test_size_out_of_range_is_refused),
        test(test_new_board_is_empty),
        test(test_long_release_is_cut),
        test(test_each_flipped_bit_of_the_header_is_seen),
        test(test_text_is_cut_and_padded),
        test(test_readers_see_whole_texts_also_when_the_writer_dies),
        test(test_readers_of_a_dead_writer_come_back),
        test(test_worker_records_run_out),
        test(test_no_record_is_claimed_twice),
        test(test_who_waits_longest),
        test(test_gauges_are_summed_over_workers)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
