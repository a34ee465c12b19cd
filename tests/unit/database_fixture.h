
/*
 * For tests of databases: a directory of their own, SQL in short.
 */


#ifndef DATABASE_FIXTURE_H_INCLUDED
#define DATABASE_FIXTURE_H_INCLUDED


#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "baas_scope.h"

#include "database.h"


static char  test_directory[64];
static char  test_why[256];


TEST_HELPER int
test_unlink(const char *path, const struct stat *st, int flag,
    struct FTW *ftw)
{
    (void) st;
    (void) flag;
    (void) ftw;

    return remove(path);
}


TEST_HELPER int
test_setup_directory(void **state)
{
    (void) state;

    /* in memory where there is such a place: no power is lost here */

    snprintf(test_directory, sizeof(test_directory),
             "%s/test-database-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");

    return mkdtemp(test_directory) == NULL ? -1 : 0;
}


TEST_HELPER int
test_teardown_directory(void **state)
{
    (void) nftw(test_directory, test_unlink, 16, FTW_DEPTH|FTW_PHYS);

    return test_teardown(state);
}


#define DATABASE_TEST(test)                                                   \
    cmocka_unit_test_setup_teardown(test, test_setup_directory,               \
                                    test_teardown_directory)


TEST_HELPER const char *
test_path(const char *name)
{
    static char  path[4][128];
    static int   turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[0]), "%s/%s", test_directory, name);

    return path[turn];
}


/* NULL with the code in *code, and a line that says why */

TEST_HELPER database_t *
test_database_open(const char *name, unsigned flags, int *code)
{
    database_t  *d;

    memset(test_why, 0, sizeof(test_why));
    *code = 4711;

    d = database_open(test_directory, name, flags, SCOPE->deadline_ms, code,
                      test_why, sizeof(test_why));

    if (d == NULL) {
        assert_true(*code < 0);
        assert_true(test_why[0] != '\0');
        return NULL;
    }

    assert_int_equal(*code, FAAS_OK);
    database_begin(d, SCOPE);

    return d;
}


TEST_HELPER database_t *
test_database(const char *name, unsigned flags)
{
    int          code;
    database_t  *d;

    d = test_database_open(name, flags, &code);

    if (d == NULL) {
        fprintf(stderr, "%s: %d %s\n", name, code, test_why);
    }

    assert_non_null(d);

    return d;
}


TEST_HELPER int
test_refused(const char *name, unsigned flags)
{
    int  code;

    assert_null(test_database_open(name, flags, &code));

    return code;
}


TEST_HELPER int
test_sql(database_t *d, const char *sql)
{
    return sqlite3_exec(database_handle(d), sql, NULL, NULL, NULL);
}


/* the first column of the first row; "" for none, "!" and words for an error */

TEST_HELPER const char *
test_value(database_t *d, const char *sql)
{
    int            rc;
    sqlite3_stmt  *stmt;
    static char    value[4][128];
    static int     turn;

    turn = (turn + 1) % 4;
    value[turn][0] = '\0';

    rc = sqlite3_prepare_v2(database_handle(d), sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);

        if (rc == SQLITE_ROW && sqlite3_column_text(stmt, 0) != NULL) {
            snprintf(value[turn], sizeof(value[0]), "%s",
                     (const char *) sqlite3_column_text(stmt, 0));
        }

        rc = sqlite3_finalize(stmt);
    }

    if (rc != SQLITE_OK) {
        snprintf(value[turn], sizeof(value[0]), "!%s",
                 sqlite3_errmsg(database_handle(d)));
    }

    return value[turn];
}


TEST_HELPER int
test_kv_put(database_t *d, faas_bytes_t key, faas_bytes_t value)
{
    return kv_set(database_kv(d), SCOPE, key, value, 0, KV_ANY, NULL);
}


TEST_HELPER int
test_kv_code(database_t *d, faas_bytes_t key)
{
    faas_kv_entry_t  entry;

    return kv_get(database_kv(d), SCOPE, key, &entry);
}


TEST_HELPER int
test_wait(pid_t pid)
{
    int  status;

    while (waitpid(pid, &status, 0) == -1) {
        assert_int_equal(errno, EINTR);
    }

    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}


/* runs f in a child: what it returns, 1000 and the signal that killed it */

TEST_HELPER int
test_in_child(int (*f)(void))
{
    pid_t  pid;

    fflush(NULL);

    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        _exit(f());
    }

    return test_wait(pid);
}


/* a child's check: it says where and ends, since cmocka is the parent's */

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: not %s (%s)\n", __FILE__, __LINE__,       \
                    #condition, test_why);                                    \
            return 1;                                                         \
        }                                                                     \
    } while (0)


#endif /* DATABASE_FIXTURE_H_INCLUDED */
