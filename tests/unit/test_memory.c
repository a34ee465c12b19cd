/* objects: worker/watch.c worker/store.c worker/environment.c */
/* objects: worker/pairs.c worker/arena.c worker/descriptor.c */
/* objects: baas/baas_conf.c scoreboard/faas_control.c */
/* libs: -lcrypto -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc */

/*
 * The n-th allocation fails, for every n: the call says so, leaks nothing,
 * and is right when it is made again.
 */


#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "baas_conf.h"
#include "descriptor.h"
#include "environment.h"
#include "memory_faults.h"
#include "pairs.h"
#include "store.h"
#include "watch.h"


/* what is tried: 1 when it did what it should */
typedef int (*trial_pt)(void);


static char  directory[] = "/tmp/faas-memory-XXXXXX";
static int   dir = -1;
static char  seen[64];


/* each allocation fails once, and then all from it on; at least so many */

static void
each_fails(trial_pt trial, int least)
{
    int   forever, ok;
    long  n;

    for (forever = 0; forever < 2; forever++) {

        for (n = 0; n < 1000; n++) {
            memory_fails_at(n, forever);
            ok = trial();
            memory_faults.left = -1;

            if (memory_faults.failed == 0) {
                break;
            }

            assert_int_equal(ok, 0);
            assert_int_equal(trial(), 1);
        }

        assert_int_equal(ok, 1);
        assert_true(n >= least);
    }
}


static int
try_conf(void)
{
    int          ok;
    char         why[160];
    baas_conf_t  conf;

    static const char  text[] =
        "function f\ntoken abc\nstate /s\ndata /s/data/f\n"
        "share a w /s/share/a\nshare b r /s/share/b\n";

    if (baas_conf_parse(&conf, text, sizeof(text) - 1, why, sizeof(why))
        != FAAS_OK)
    {
        return 0;
    }

    ok = conf.shares == 2 && strcmp(conf.function, "f") == 0;
    baas_conf_free(&conf);

    return ok;
}


static int
try_environment(void)
{
    return environment_set("A=b\0C=d", 8) == FAAS_OK
           && strcmp(environment_get("C"), "d") == 0;
}


static int
try_pairs(void)
{
    int      ok;
    char     text[8192];
    arena_t  arena = { NULL, NULL };
    pairs_t  pairs;

    memset(&pairs, 0, sizeof(pairs_t));
    memset(text, 'x', sizeof(text));
    memcpy(text, "a=1&b=", 6);
    memcpy(text + sizeof(text) - 6, "&c=%41", 6);
    text[sizeof(text) - 1] = '\0';

    ok = pairs_parse(&pairs, &arena, text, 1) == FAAS_OK
         && pairs.n == 3 && pairs_find(&pairs, "a") != NULL;

    arena_destroy(&arena);

    return ok;
}


static void
watched(void *data, watch_event_e event, const char *name, const char *why)
{
    (void) data;
    (void) why;

    if (event == WATCH_CHANGED) {
        (void) snprintf(seen, sizeof(seen), "%s", name);
    }
}


static int
try_watch(void)
{
    int       ok;
    watch_t  *w;

    seen[0] = '\0';
    w = watch_create(directory, watched, NULL);

    if (w == NULL) {
        return 0;
    }

    watch_run(w, 1000);
    ok = watch_error(w) == 0 && strcmp(seen, "a.so") == 0;
    watch_destroy(w);

    return ok;
}


static int
try_read(void)
{
    int     rc;
    char   *data, why[STORE_WHY_SIZE];
    size_t  n;

    rc = store_read(dir, "a.so", geteuid(), (uid_t) -1, 100, &data, &n, why);

    if (rc != 0) {
        /* a shortage, and no error of the file's */
        assert_int_equal(rc, -3);
        return 0;
    }

    rc = n == 7 && memcmp(data, "content", 7) == 0;
    free(data);

    return rc;
}


static void
test_configuration_of_services(void **state)
{
    (void) state;
    each_fails(try_conf, 2);
}


static void
test_environment(void **state)
{
    (void) state;
    each_fails(try_environment, 1);
}


static void
test_parameters(void **state)
{
    (void) state;
    each_fails(try_pairs, 2);
}


static void
test_watched_directory(void **state)
{
    (void) state;
    each_fails(try_watch, 2);
}


static void
test_files_that_are_read(void **state)
{
    (void) state;
    each_fails(try_read, 1);
}


static int
begin(void **state)
{
    int  fd;

    (void) state;

    if (mkdtemp(directory) == NULL) {
        return -1;
    }

    dir = open(directory, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    fd = openat(dir, "a.so", O_WRONLY|O_CREAT|O_CLOEXEC, 0644);

    if (fd == -1 || write(fd, "content", 7) != 7) {
        return -1;
    }

    return close(fd);
}


static int
end(void **state)
{
    (void) state;

    (void) unlinkat(dir, "a.so", 0);
    (void) close(dir);

    return rmdir(directory);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_configuration_of_services),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_watched_directory),
        cmocka_unit_test(test_files_that_are_read)
    };

    return cmocka_run_group_tests(tests, begin, end);
}
