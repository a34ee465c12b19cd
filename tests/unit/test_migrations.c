/* objects: worker/migrations.c worker/store.c worker/watch.c worker/text.c */
/* objects: scoreboard/faas_control.c base/loop.c base/log.c */
/* libs: -lcrypto */

/*
 * Names of migrations, and how they are gathered and packed.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "migrations.h"
#include "store.h"
#include "watch.h"


static char  path[64];
static int   dir;


static int
setup(void **state)
{
    (void) state;

    (void) snprintf(path, sizeof(path), "/tmp/test_migrations.XXXXXX");

    if (mkdtemp(path) == NULL) {
        return -1;
    }

    dir = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    return dir == -1 ? -1 : 0;
}


static int
teardown(void **state)
{
    DIR            *d;
    struct dirent  *entry;

    (void) state;

    d = opendir(path);

    while (d != NULL && (entry = readdir(d)) != NULL) {
        (void) unlinkat(dir, entry->d_name, 0);
    }

    if (d != NULL) {
        (void) closedir(d);
    }

    (void) close(dir);

    return rmdir(path);
}


static void
put(const char *name, const char *text)
{
    int  fd;

    fd = openat(dir, name, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0644);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_int_equal(close(fd), 0);
}


/* the packed text of function f, in a static buffer; NULL: none */

static const char *
gather(migrations_t *m)
{
    char         why[MIGRATIONS_WHY_SIZE];
    ssize_t      n;
    static char  text[4096];

    why[0] = '\0';

    if (migrations_gather(m, dir, "f", getuid(), (uid_t) -1, why) != 0) {
        fail_msg("not gathered: %s", why);
    }

    if (m->fd == -1) {
        return NULL;
    }

    n = pread(m->fd, text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';

    return text;
}


static void
refused(const char *expected)
{
    char          why[MIGRATIONS_WHY_SIZE];
    migrations_t  m;

    assert_int_equal(migrations_gather(&m, dir, "f", getuid(), (uid_t) -1,
                                       why), -1);
    assert_int_equal(m.fd, -1);

    if (strstr(why, expected) == NULL) {
        fail_msg("\"%s\" says nothing of \"%s\"", why, expected);
    }
}


static void
test_names_are_read(void **state)
{
    size_t    i;
    char      name[64], database[64];
    unsigned  number;

    static const struct {
        const char  *file;
        const char  *name;
        const char  *database;
        unsigned     number;
    } good[] = {
        { "f.1.sql", "f", "f", 1 },
        { "hello-2.007-Add_table.sql", "hello-2", "hello-2", 7 },
        { "f.orders.20.sql", "f", "orders", 20 },
        { "f.orders.20-more.sql", "f", "orders", 20 },
        { "f.2024.1.sql", "f", "2024", 1 },
        { "f.1-a.2-b.sql", "f", "1-a", 2 },
        { "f.999999999.sql", "f", "f", 999999999 }
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (watch_parse_sql(good[i].file, name, database, &number) != 0) {
            fail_msg("refused: %s", good[i].file);
        }

        assert_string_equal(name, good[i].name);
        assert_string_equal(database, good[i].database);
        assert_int_equal(number, good[i].number);
    }
}


static void
test_other_names_are_refused(void **state)
{
    size_t    i;
    char      name[64], database[64];
    unsigned  number;

    static const char *const  bad[] = {
        "", ".sql", "f.sql", "f..sql", "f.0.sql", "f.00.sql", "f.x.sql",
        "f.1-.sql", "f.1x.sql", "f.1 .sql", "f.1-a b.sql", "f.1-a/b.sql",
        "f.1234567890.sql", "f.-1.sql", "F.1.sql", "_f.1.sql", "f.Db.1.sql",
        "f.a.b.1.sql", "f.1.sql2", "f.1.so", "f.db..1.sql", "f.db.sql",
        "f.1-\xc3\xa4.sql",
        "a123456789012345678901234567890123456789012345678901234567890123"
        ".1.sql"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (watch_parse_sql(bad[i], name, database, &number) == 0) {
            fail_msg("not refused: %s", bad[i]);
        }
    }
}


static void
test_packed_in_order_of_databases_and_numbers(void **state)
{
    migrations_t  m;

    (void) state;

    put("f.10.sql", "ten");
    put("f.b.1.sql", "");
    put("f.9-nine.sql", "nine\n");
    put("f.a.2.sql", "two");
    put("f.f.1.sql", "one");
    put("g.1.sql", "not ours");
    put("f.so", "nor this");
    put("f.x.sql", "nor that");

    assert_string_equal(gather(&m),
                        "f 1 f.f.1.sql 3\none\n"
                        "f 9 f.9-nine.sql 5\nnine\n\n"
                        "f 10 f.10.sql 3\nten\n"
                        "a 2 f.a.2.sql 3\ntwo\n"
                        "b 1 f.b.1.sql 0\n\n");
    migrations_close(&m);
}


static void
test_none_is_none(void **state)
{
    migrations_t  m;

    (void) state;

    put("f.so", "x");
    assert_null(gather(&m));
    assert_string_equal(m.sha256, "");
    migrations_close(&m);
}


static void
test_hash_is_of_names_and_content(void **state)
{
    char          first[65];
    migrations_t  m, again;

    (void) state;

    put("f.1.sql", "a");
    (void) gather(&m);
    assert_int_equal(strlen(m.sha256), 64);
    memcpy(first, m.sha256, sizeof(first));

    /* as the next supervisor finds it */

    assert_int_equal(migrations_adopt(&again, dup(m.fd)), 0);
    assert_string_equal(again.sha256, first);
    migrations_close(&again);
    assert_string_equal(again.sha256, "");
    migrations_close(&m);

    put("f.1.sql", "b");
    (void) gather(&m);
    assert_string_not_equal(m.sha256, first);
    migrations_close(&m);

    put("f.1.sql", "a");
    (void) gather(&m);
    assert_string_equal(m.sha256, first);
    migrations_close(&m);
}


static void
test_what_is_packed_is_sealed(void **state)
{
    migrations_t  m;

    (void) state;

    put("f.1.sql", "a");
    (void) gather(&m);
    assert_int_equal(pwrite(m.fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(m.fd, 0), -1);
    migrations_close(&m);
}


static void
test_files_that_are_not_believed_refuse_all(void **state)
{
    (void) state;

    put("f.1.sql", "a");
    put("f.2-x.sql", "a");
    put("f.02.sql", "b");
    refused("have one number");
    assert_int_equal(unlinkat(dir, "f.02.sql", 0), 0);

    assert_int_equal(fchmodat(dir, "f.1.sql", 0666, 0), 0);
    refused("\"f.1.sql\": writable by group or others");
    assert_int_equal(fchmodat(dir, "f.1.sql", 0644, 0), 0);

    assert_int_equal(symlinkat("f.1.sql", dir, "f.3.sql"), 0);
    refused("\"f.3.sql\": a symbolic link");
    assert_int_equal(unlinkat(dir, "f.3.sql", 0), 0);

    assert_int_equal(linkat(dir, "f.1.sql", dir, "f.3.sql", 0), 0);
    refused("hard links");
    assert_int_equal(unlinkat(dir, "f.3.sql", 0), 0);

    assert_int_equal(mkfifoat(dir, "f.3.sql", 0644), 0);
    refused("\"f.3.sql\": not a regular file");
}


static void
test_file_that_is_being_written_is_for_later(void **state)
{
    int           fd;
    char          why[MIGRATIONS_WHY_SIZE];
    migrations_t  m;

    (void) state;

    put("f.1.sql", "a");
    fd = openat(dir, "f.1.sql", O_WRONLY|O_CLOEXEC);

    assert_int_equal(migrations_gather(&m, dir, "f", getuid(), (uid_t) -1,
                                       why), -2);
    assert_non_null(strstr(why, "\"f.1.sql\": the file is being written"));
    assert_int_equal(close(fd), 0);
    assert_string_equal(gather(&m), "f 1 f.1.sql 1\na\n");
    migrations_close(&m);
}


static void
test_too_much_is_refused(void **state)
{
    int  fd;

    (void) state;

    put("f.1.sql", "a");
    put("f.2.sql", "b");
    fd = openat(dir, "f.2.sql", O_WRONLY|O_CLOEXEC);
    assert_int_equal(ftruncate(fd, MIGRATIONS_SIZE), 0);
    assert_int_equal(close(fd), 0);
    refused("\"f.2.sql\": the file is larger than 16777215 bytes");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_names_are_read),
        cmocka_unit_test(test_other_names_are_refused),
        cmocka_unit_test_setup_teardown(
            test_packed_in_order_of_databases_and_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_none_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hash_is_of_names_and_content,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_packed_is_sealed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_files_that_are_not_believed_refuse_all, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_file_that_is_being_written_is_for_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_much_is_refused, setup,
                                        teardown)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
