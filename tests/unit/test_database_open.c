
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c */
/* objects: baas/database_open.c baas/database_once.c */
/* libs: -lsqlite3 */

/*
 * Which files are opened as databases, and as what.
 */

#include <sys/syscall.h>

#include "database_fixture.h"


#define TEST_NOBODY  65534


static void
test_write(const char *name, const void *data, size_t n, mode_t mode)
{
    int  fd;

    fd = open(test_path(name), O_WRONLY|O_CREAT|O_TRUNC, 0600);
    assert_true(fd != -1);
    assert_int_equal(write(fd, data, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}


static mode_t
test_mode(const char *name)
{
    struct stat  st;

    assert_int_equal(lstat(test_path(name), &st), 0);

    return st.st_mode & 07777;
}


static void
test_names_that_cannot_be(void **state)
{
    size_t  i;

    static const char *const  bad[] = {
        "", ".", "..", "../x", "a/b", "/tmp/x", "A", "-a", "_a", ".a", "a.db",
        "a\n", "a b", "a%00", "\xc3\xa4", "file:x", "a?mode=memory",
        ":memory:",
        "a123456789012345678901234567890123456789012345678901234567890123",
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(test_refused(bad[i], DATABASE_CREATE), FAAS_EINVAL);
    }

    assert_int_equal(rmdir(test_directory), 0);
    assert_int_equal(mkdir(test_directory, 0700), 0);
}


static void
test_longest_name(void **state)
{
    database_t  *d;

    (void) state;

    d = test_database("a12345678901234567890123456789012345678901234567890"
                      "1234567890-_", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    database_close(d);
}


static void
test_file_is_made_only_when_told(void **state)
{
    (void) state;

    assert_int_equal(test_refused("a", 0), FAAS_ENOTFOUND);
    assert_int_equal(test_refused("a", DATABASE_READONLY), FAAS_ENOTFOUND);
    assert_int_equal(access(test_path("a.db"), F_OK), -1);
}


static void
test_directory_that_is_not_there(void **state)
{
    (void) state;

    assert_int_equal(rmdir(test_directory), 0);
    assert_int_equal(test_refused("a", DATABASE_CREATE), FAAS_ENOTFOUND);
}


/* in place of libc's, for SQLite too: how often a mode was really changed */

static int  test_changed;


__attribute__((visibility("default"))) int
fchmod(int fd, mode_t mode)
{
    struct stat  st;

    if (fstat(fd, &st) == 0 && (st.st_mode & 07777) != mode) {
        test_changed++;
    }

    return (int) syscall(SYS_fchmod, fd, mode);
}


/* another user who opens it meanwhile would be refused, or SQLite would have
   it opened for reading, and stay with that */

static void
test_shared_files_are_made_with_their_mode(void **state)
{
    mode_t       old;
    database_t  *d;

    (void) state;

    assert_int_equal(chmod(test_directory, 02770), 0);

    old = umask(0077);
    test_changed = 0;
    d = test_database("a", DATABASE_CREATE|DATABASE_SHARED);

    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);
    assert_int_equal(test_changed, 0);

    assert_int_equal(test_mode("a.db"), 0660);
    assert_int_equal(test_mode("a.db-wal"), 0660);
    assert_int_equal(test_mode("a.db-shm"), 0660);

    /* the function's own is as it was */

    assert_int_equal(umask(old), 0077);

    database_close(d);
}


static void
test_new_file(void **state)
{
    int          on;
    mode_t       old;
    database_t  *d;

    (void) state;

    old = umask(0077);
    d = test_database("a", DATABASE_CREATE);

    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);
    umask(old);

    assert_int_equal(test_mode("a.db"), 0660);
    assert_int_equal(test_mode("a.db-wal"), 0660);
    assert_int_equal(test_mode("a.db-shm"), 0660);

    assert_string_equal(test_value(d, "PRAGMA journal_mode"), "wal");
    assert_string_equal(test_value(d, "PRAGMA synchronous"), "2");
    assert_string_equal(test_value(d, "PRAGMA foreign_keys"), "1");
    assert_string_equal(test_value(d, "PRAGMA mmap_size"), "0");
    assert_string_equal(test_value(d, "PRAGMA wal_autocheckpoint"), "0");
    assert_string_equal(test_value(d, "PRAGMA trusted_schema"), "0");
    assert_string_equal(test_value(d, "PRAGMA journal_size_limit"),
                        "16777216");

    sqlite3_db_config(database_handle(d), SQLITE_DBCONFIG_DEFENSIVE, -1, &on);
    assert_int_equal(on, 1);
    sqlite3_db_config(database_handle(d),
                      SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, -1, &on);
    assert_int_equal(on, 0);
    sqlite3_db_config(database_handle(d), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                      -1, &on);
    assert_int_equal(on, 1);
    assert_int_equal(sqlite3_limit(database_handle(d), SQLITE_LIMIT_ATTACHED,
                                   -1), 0);
    database_close(d);

    d = test_database("b", DATABASE_CREATE|DATABASE_NORMAL);
    assert_string_equal(test_value(d, "PRAGMA synchronous"), "1");
    database_close(d);
}


static void
test_close_leaves_the_log_to_the_tender(void **state)
{
    database_t   *d;
    struct stat   st;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    database_close(d);

    assert_int_equal(stat(test_path("a.db-wal"), &st), 0);
    assert_true(st.st_size > 0);

    /* and it is all there */

    d = test_database("a", 0);
    assert_int_equal(test_kv_code(d, B("k")), FAAS_OK);
    database_close(d);
}


static void
test_no_checkpoint_however_large_the_log(void **state)
{
    int          i;
    off_t        size;
    database_t  *d;
    struct stat  st;

    (void) state;

    d = test_database("a", DATABASE_CREATE|DATABASE_NORMAL);
    assert_int_equal(test_sql(d, "CREATE TABLE t (x)"), SQLITE_OK);
    assert_int_equal(stat(test_path("a.db"), &st), 0);
    size = st.st_size;

    for (i = 0; i < 50; i++) {
        assert_int_equal(test_sql(d, "INSERT INTO t VALUES (zeroblob(100000))"),
                         SQLITE_OK);
    }

    assert_int_equal(stat(test_path("a.db"), &st), 0);
    assert_int_equal(st.st_size, size);
    assert_int_equal(stat(test_path("a.db-wal"), &st), 0);
    assert_true(st.st_size > 50 * 100000);

    database_close(d);
}


static void
test_links_are_refused(void **state)
{
    size_t       i;
    struct stat  st;

    static const char *const  suffix[] = {
        "a.db", "a.db-wal", "a.db-shm", "a.db-journal"
    };

    (void) state;

    for (i = 0; i < 4; i++) {
        test_write("target", "", 0, 0600);

        if (i != 0) {
            test_write("a.db", "", 0, 0600);
        }

        assert_int_equal(symlink("target", test_path(suffix[i])), 0);
        assert_int_equal(test_refused("a", DATABASE_CREATE), FAAS_EDENIED);
        assert_int_equal(unlink(test_path(suffix[i])), 0);

        assert_int_equal(link(test_path("target"), test_path(suffix[i])), 0);
        assert_int_equal(test_refused("a", DATABASE_CREATE), FAAS_EDENIED);
        assert_int_equal(unlink(test_path(suffix[i])), 0);

        /* also one that leads nowhere */

        assert_int_equal(symlink("nowhere", test_path(suffix[i])), 0);
        assert_int_equal(test_refused("a", DATABASE_CREATE), FAAS_EDENIED);
        assert_int_equal(unlink(test_path(suffix[i])), 0);
        assert_int_equal(lstat(test_path("nowhere"), &st), -1);

        assert_int_equal(stat(test_path("target"), &st), 0);
        assert_int_equal(st.st_size, 0);

        (void) unlink(test_path("a.db"));
    }
}


static void
test_directory_that_is_a_link(void **state)
{
    int   code;
    char  path[128], why[256];

    (void) state;

    snprintf(path, sizeof(path), "%s", test_path("link"));
    assert_int_equal(mkdir(test_path("real"), 0700), 0);
    assert_int_equal(symlink("real", path), 0);

    assert_null(database_open(path, "a", DATABASE_CREATE, SCOPE->deadline_ms,
                              &code, why, sizeof(why)));
    assert_int_equal(code, FAAS_EDENIED);
    assert_int_equal(rmdir(test_path("real")), 0);
}


static void
test_links_on_the_way_to_the_directory_are_the_operators(void **state)
{
    int          code;
    char         why[256];
    database_t  *d;

    (void) state;

    assert_int_equal(mkdir(test_path("real"), 0700), 0);
    assert_int_equal(mkdir(test_path("real/data"), 0700), 0);
    assert_int_equal(symlink("real", test_path("link")), 0);

    d = database_open(test_path("link/data"), "a", DATABASE_CREATE,
                      SCOPE->deadline_ms, &code, why, sizeof(why));
    assert_non_null(d);
    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    database_close(d);
}


static void
test_what_is_no_file_is_refused(void **state)
{
    (void) state;

    assert_int_equal(mkfifo(test_path("a.db"), 0600), 0);
    assert_int_equal(test_refused("a", DATABASE_CREATE), FAAS_EDENIED);

    assert_int_equal(mkdir(test_path("b.db"), 0700), 0);
    assert_int_equal(test_refused("b", DATABASE_CREATE), FAAS_EDENIED);

    test_write("c.db", "", 0, 0600);
    assert_int_equal(mkfifo(test_path("c.db-wal"), 0600), 0);
    assert_int_equal(test_refused("c", DATABASE_CREATE), FAAS_EDENIED);
}


static void
test_what_others_can_write_is_refused(void **state)
{
    (void) state;

    test_write("a.db", "", 0, 0662);
    assert_int_equal(test_refused("a", DATABASE_CREATE), FAAS_EDENIED);
    assert_int_equal(test_refused("a", DATABASE_SHARED), FAAS_EDENIED);

    test_write("b.db", "", 0, 0660);
    assert_int_equal(chmod(test_directory, 0770), 0);
    assert_int_equal(test_refused("b", 0), FAAS_EDENIED);
    database_close(test_database("b", DATABASE_SHARED));

    assert_int_equal(chmod(test_directory, 0702), 0);
    assert_int_equal(test_refused("b", DATABASE_SHARED), FAAS_EDENIED);
}


static void
test_foreign_file_is_refused(void **state)
{
    (void) state;

    if (geteuid() != 0) {
        skip();
    }

    test_write("a.db", "", 0, 0660);
    assert_int_equal(chown(test_path("a.db"), TEST_NOBODY, TEST_NOBODY), 0);
    assert_int_equal(test_refused("a", 0), FAAS_EDENIED);
    database_close(test_database("a", DATABASE_SHARED));
}


static void
test_what_is_no_database(void **state)
{
    char  noise[4096];

    (void) state;

    memset(noise, 'x', sizeof(noise));
    test_write("a.db", noise, sizeof(noise), 0600);
    assert_int_equal(test_refused("a", 0), FAAS_ECORRUPT);
    assert_int_equal(test_refused("a", DATABASE_READONLY), FAAS_ECORRUPT);

    test_write("b.db", "", 0, 0600);
    database_close(test_database("b", 0));
}


static void
test_damaged_database(void **state)
{
    int              fd;
    char             noise[4096];
    off_t            at;
    database_t      *d;
    struct stat      st;
    faas_kv_entry_t  entry;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    assert_int_equal(sqlite3_wal_checkpoint_v2(database_handle(d), NULL,
                                               SQLITE_CHECKPOINT_TRUNCATE,
                                               NULL, NULL), SQLITE_OK);
    database_close(d);

    memset(noise, 0xa5, sizeof(noise));
    fd = open(test_path("a.db"), O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);

    for (at = 4096; at < st.st_size; at += 4096) {
        assert_int_equal(pwrite(fd, noise, 4096, at), 4096);
    }

    close(fd);

    d = test_database("a", 0);
    assert_int_equal(kv_get(database_kv(d), SCOPE, B("k"), &entry),
                     FAAS_ECORRUPT);
    assert_int_equal(test_kv_put(d, B("k"), B("w")), FAAS_ECORRUPT);
    database_close(d);
}


static int
test_never(const faas_kv_entry_t *entry, void *data)
{
    (void) entry;
    (void) data;

    return 1;
}


static void
test_readonly_handle(void **state)
{
    kv_t        *kv;
    database_t  *d, *r;

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    /* nothing was ever stored */

    r = test_database("a", DATABASE_READONLY);
    assert_int_equal(test_kv_code(r, B("k")), FAAS_ENOTFOUND);
    assert_int_equal(kv_scan(database_kv(r), SCOPE, NONE, NONE, 10, test_never,
                             NULL), FAAS_OK);

    assert_int_equal(test_kv_put(d, B("k"), B("v")), FAAS_OK);
    assert_int_equal(test_kv_code(r, B("k")), FAAS_OK);
    assert_int_equal(test_kv_put(r, B("k"), B("w")), FAAS_EREADONLY);
    assert_int_equal(test_sql(r, "CREATE TABLE t (x)"), SQLITE_READONLY);

    /* the engine refuses too, not the check before it alone */

    kv = database_kv(r);
    assert_int_equal(kv->readonly, 1);
    kv->readonly = 0;
    assert_int_equal(test_kv_put(r, B("k"), B("w")), FAAS_EREADONLY);
    assert_int_equal(kv_incr(kv, SCOPE, B("n"), 1, NULL), FAAS_EREADONLY);
    assert_int_equal(kv_remove(kv, SCOPE, B("k")), FAAS_EREADONLY);

    database_close(r);
    database_close(d);
}


/* as a user for whom modes count */

static int
test_readonly_file_child(void)
{
    int          code;
    database_t  *d;

    if (geteuid() == 0) {
        CHECK(setresgid(TEST_NOBODY, TEST_NOBODY, TEST_NOBODY) == 0);
        CHECK(setresuid(TEST_NOBODY, TEST_NOBODY, TEST_NOBODY) == 0);
    }

    d = test_database_open("a", DATABASE_CREATE, &code);
    CHECK(d != NULL);
    CHECK(test_kv_put(d, B("k"), B("v")) == FAAS_OK);
    database_close(d);

    CHECK(chmod(test_path("a.db"), 0440) == 0);

    d = test_database_open("a", DATABASE_CREATE, &code);
    CHECK(d != NULL);
    CHECK(test_kv_code(d, B("k")) == FAAS_OK);
    CHECK(test_kv_put(d, B("k"), B("w")) == FAAS_EREADONLY);
    database_close(d);

    CHECK(chmod(test_path("a.db"), 0) == 0);
    CHECK(test_database_open("a", DATABASE_CREATE, &code) == NULL);
    CHECK(code == FAAS_EDENIED);

    CHECK(chmod(test_directory, 0500) == 0);
    CHECK(test_database_open("b", DATABASE_CREATE, &code) == NULL);
    CHECK(code == FAAS_EDENIED);

    CHECK(chmod(test_directory, 0) == 0);
    CHECK(test_database_open("a", DATABASE_CREATE, &code) == NULL);
    CHECK(code == FAAS_EDENIED);

    CHECK(chmod(test_directory, 0700) == 0);

    return 0;
}


static void
test_permissions(void **state)
{
    (void) state;

    if (geteuid() == 0) {
        assert_int_equal(chown(test_directory, TEST_NOBODY, TEST_NOBODY), 0);
    }

    assert_int_equal(test_in_child(test_readonly_file_child), 0);
}


static void
test_database_that_is_locked_when_it_is_opened(void **state)
{
    int       code;
    char      why[256];
    int64_t   before;
    sqlite3  *db;

    (void) state;

    /* a new one is made one in WAL mode, which somebody else prevents */

    test_write("a.db", "", 0, 0600);
    assert_int_equal(sqlite3_open(test_path("a.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE; CREATE TABLE t (x)",
                                  NULL, NULL, NULL), SQLITE_OK);

    before = test_monotonic_ms();
    assert_null(database_open(test_directory, "a", 0, before + 100, &code,
                              why, sizeof(why)));
    assert_int_equal(code, FAAS_EBUSY);
    assert_true(test_monotonic_ms() >= before + 100);

    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    database_close(test_database("a", 0));
    sqlite3_close(db);
}


static int
test_opener(void)
{
    int          code;
    database_t  *d;

    d = test_database_open("a", DATABASE_CREATE, &code);
    CHECK(d != NULL);
    CHECK(test_kv_put(d, B("k"), B("v")) == FAAS_OK);
    database_close(d);

    return 0;
}


static void
test_many_processes_make_a_database_at_once(void **state)
{
    int    i, round;
    pid_t  pid[8];

    (void) state;

    for (round = 0; round < 10; round++) {
        for (i = 0; i < 8; i++) {
            pid[i] = fork();
            assert_true(pid[i] != -1);

            if (pid[i] == 0) {
                _exit(test_opener());
            }
        }

        for (i = 0; i < 8; i++) {
            assert_int_equal(test_wait(pid[i]), 0);
        }

        assert_int_equal(unlink(test_path("a.db")), 0);
        (void) unlink(test_path("a.db-wal"));
        (void) unlink(test_path("a.db-shm"));
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(test_names_that_cannot_be),
        DATABASE_TEST(test_longest_name),
        DATABASE_TEST(test_file_is_made_only_when_told),
        DATABASE_TEST(test_directory_that_is_not_there),
        DATABASE_TEST(test_shared_files_are_made_with_their_mode),
        DATABASE_TEST(test_new_file),
        DATABASE_TEST(test_close_leaves_the_log_to_the_tender),
        DATABASE_TEST(test_no_checkpoint_however_large_the_log),
        DATABASE_TEST(test_links_are_refused),
        DATABASE_TEST(test_directory_that_is_a_link),
        DATABASE_TEST(
            test_links_on_the_way_to_the_directory_are_the_operators),
        DATABASE_TEST(test_what_is_no_file_is_refused),
        DATABASE_TEST(test_what_others_can_write_is_refused),
        DATABASE_TEST(test_foreign_file_is_refused),
        DATABASE_TEST(test_what_is_no_database),
        DATABASE_TEST(test_damaged_database),
        DATABASE_TEST(test_readonly_handle),
        DATABASE_TEST(test_permissions),
        DATABASE_TEST(test_database_that_is_locked_when_it_is_opened),
        DATABASE_TEST(test_many_processes_make_a_database_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
