
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c */
/* objects: baas/database_open.c baas/database_once.c baas/database_migrate.c base/sha256.c */
/* libs: -lsqlite3 */

/*
 * Numbered files of SQL, applied once, in order, all or none.
 */

#include "database_fixture.h"


#define FILE_(number, text)                                                   \
    { number, #number ".sql", text, sizeof(text) - 1 }


static char  why[256];


static int
test_migrate(database_t *d, const database_migration_t *m, size_t n)
{
    memset(why, 0, sizeof(why));

    return database_migrate(d, m, n, why, sizeof(why));
}

#define MIGRATE(d, m)  test_migrate(d, m, sizeof(m) / sizeof((m)[0]))


static int
test_migrate_one(database_t *d, const char *sql)
{
    database_migration_t  m;

    m.number = 1;
    m.name = "one.sql";
    m.sql = sql;
    m.size = strlen(sql);

    return test_migrate(d, &m, 1);
}


static const char *
test_tables(database_t *d)
{
    return test_value(d, "SELECT group_concat(name, ' ') FROM (SELECT name "
                         "FROM sqlite_master WHERE type = 'table' "
                         "AND name NOT LIKE 'faas_%' ORDER BY name)");
}


static void
test_applied_once_and_in_order(void **state)
{
    database_t  *d;

    static const database_migration_t  first[] = {
        FILE_(1, "CREATE TABLE t (x);\n\nINSERT INTO t VALUES (1);\n"),
        FILE_(7, "-- a comment\nINSERT INTO t VALUES (2); /* and another */"),
    };

    static const database_migration_t  second[] = {
        FILE_(1, "CREATE TABLE t (x);\n\nINSERT INTO t VALUES (1);\n"),
        FILE_(7, "-- a comment\nINSERT INTO t VALUES (2); /* and another */"),
        FILE_(8, "ALTER TABLE t ADD COLUMN y; UPDATE t SET y = x"),
    };

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    assert_int_equal(test_migrate(d, NULL, 0), FAAS_OK);
    assert_string_equal(test_value(d, "SELECT count(*) FROM sqlite_master"),
                        "0");

    assert_int_equal(MIGRATE(d, first), FAAS_OK);
    assert_string_equal(test_value(d, "SELECT sum(x) FROM t"), "3");
    assert_int_equal(MIGRATE(d, first), FAAS_OK);
    assert_string_equal(test_value(d, "SELECT sum(x) FROM t"), "3");
    assert_int_equal(MIGRATE(d, second), FAAS_OK);
    assert_string_equal(test_value(d, "SELECT sum(y) FROM t"), "3");
    assert_int_equal(MIGRATE(d, second), FAAS_OK);

    assert_string_equal(test_value(d, "SELECT group_concat(number || name) "
                                      "FROM faas_migrations"),
                        "11.sql,77.sql,88.sql");
    assert_string_equal(test_value(d,
        "SELECT sha256 FROM faas_migrations WHERE number = 8"),
        "e1d02089905a9aa5ef45f25b60b4484fae3d24ff92a3a646a33ecf2e240044a8");

    /* fewer files than were applied: an older version, which may serve */

    assert_int_equal(test_migrate(d, second, 1), FAAS_OK);

    database_close(d);
}


static void
test_failure_leaves_all_as_it_was(void **state)
{
    database_t  *d;

    static const database_migration_t  m[] = {
        FILE_(1, "CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1)"),
        FILE_(2, "CREATE TABLE u (x);\nINSERT INTO t\n VALUES (1);\n"
                 "CREATE TABLE w (x);"),
    };

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    assert_int_equal(MIGRATE(d, m), FAAS_ECONFLICT);
    assert_non_null(strstr(why, "\"2.sql\": line 2: UNIQUE"));
    assert_string_equal(test_tables(d), "");
    assert_int_equal(sqlite3_get_autocommit(database_handle(d)), 1);

    /* the first one alone is good, and the handle is as before */

    assert_int_equal(test_migrate(d, m, 1), FAAS_OK);
    assert_string_equal(test_tables(d), "t");
    assert_string_equal(test_value(d, "PRAGMA foreign_keys"), "1");
    assert_int_equal(test_sql(d, "BEGIN; INSERT INTO t VALUES (2); COMMIT"),
                     SQLITE_OK);
    assert_int_equal(test_sql(d, "PRAGMA user_version = 1"), SQLITE_OK);

    database_close(d);
}


static void
test_changed_and_late_files(void **state)
{
    database_t  *d;

    static const database_migration_t  first[] = {
        FILE_(2, "CREATE TABLE t (x)"),
    };

    static const database_migration_t  changed[] = {
        FILE_(2, "CREATE TABLE t (x) "),
    };

    static const database_migration_t  late[] = {
        FILE_(1, "CREATE TABLE u (x)"),
        FILE_(2, "CREATE TABLE t (x)"),
    };

    static const database_migration_t  twice[] = {
        FILE_(2, "CREATE TABLE t (x)"),
        { 2, "2-again.sql", "CREATE TABLE u (x)", 18 },
    };

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    assert_int_equal(MIGRATE(d, first), FAAS_OK);
    assert_int_equal(MIGRATE(d, changed), FAAS_ECONFLICT);
    assert_non_null(strstr(why, "2.sql"));
    assert_int_equal(MIGRATE(d, late), FAAS_ECONFLICT);
    assert_non_null(strstr(why, "1.sql"));
    assert_int_equal(MIGRATE(d, twice), FAAS_EINVAL);
    assert_non_null(strstr(why, "2-again.sql"));
    assert_string_equal(test_tables(d), "t");

    database_close(d);
}


static void
test_what_is_no_part_of_one_transaction(void **state)
{
    size_t       i;
    database_t  *d;

    static const struct {
        const char  *sql;
        const char  *said;
    } bad[] = {
        { "BEGIN; CREATE TABLE t (x)", "BEGIN" },
        { "CREATE TABLE t (x);\nCOMMIT", "line 2: COMMIT" },
        { "CREATE TABLE t (x); -- so\n\n  END;", "line 3: COMMIT" },
        { "CREATE TABLE t (x); ROLLBACK", "ROLLBACK" },
        { "CREATE TABLE t (x); ATTACH '/tmp/x.db' AS x", "ATTACH" },
        { "CREATE TABLE t (x); DETACH main", "DETACH" },
        { "CREATE TABLE t (x); VACUUM", "VACUUM" },
        { "CREATE TABLE t (x); PRAGMA user_version = 1", "user_version" },
        { "CREATE TABLE t (x); PRAGMA wal_checkpoint", "wal_checkpoint" },
        { "CREATE TABLE t (x); PRAGMA foreign_keys = OFF", "foreign_keys" },
        { "CREATE TABLE t (x UNIQUE ON CONFLICT ROLLBACK); "
          "INSERT INTO t VALUES (1), (1)", "UNIQUE" },
        { "CREATE TABLE t (x); DELETE FROM faas_migrations",
          "faas_migrations" },
        { "CREATE TABLE faas_kv (x)", "faas_kv" },
        { "CREATE TABLE t (", "incomplete" },
        { "CREATE TABLE t (x);\nSELEKT", "line 2: near \"SELEKT\"" },
        { "CREATE TABLE t (x); INSERT INTO t VALUES ('x", "unrecognized" },
        { "CREATE TABLE t (x); SELECT load_extension('x')",
          "load_extension" },
    };

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (test_migrate_one(d, bad[i].sql) >= 0
            || strstr(why, bad[i].said) == NULL
            || strstr(why, "\"one.sql\": ") != why)
        {
            fail_msg("%s: \"%s\"", bad[i].sql, why);
        }

        assert_string_equal(test_tables(d), "");
        assert_int_equal(sqlite3_get_autocommit(database_handle(d)), 1);
    }

    database_close(d);
}


static void
test_what_a_file_may_look_like(void **state)
{
    size_t       i;
    char         name[16];
    database_t  *d;

    static const char *const  good[] = {
        "", "\n", " -- only a comment", "/* only a comment", ";", ";;\n;",
        "CREATE TABLE t (x)", "CREATE TABLE t (x);", "\r\nSELECT 1;\r\n",
        "\xef\xbb\xbf" "CREATE TABLE t (x);", "SELECT 1; -- end",
        "CREATE TABLE t (x); CREATE TRIGGER tr AFTER INSERT ON t "
            "BEGIN UPDATE t SET x = 1; DELETE FROM t; END; SELECT ';'",
        "SELECT 1 UNION SELECT 2", "SAVEPOINT s; SELECT 1; RELEASE s",
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n "
            "WHERE x < 1000) SELECT x FROM n",
    };

    static const database_migration_t  zero = { 1, "z.sql", "SELECT 1;\0x", 11 };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(name, sizeof(name), "d%zu", i);
        d = test_database(name, DATABASE_CREATE);

        if (test_migrate_one(d, good[i]) != FAAS_OK) {
            fail_msg("%s: \"%s\"", good[i], why);
        }

        assert_string_equal(test_value(d, "SELECT count(*) "
                                          "FROM faas_migrations"), "1");
        database_close(d);
    }

    d = test_database("zero", DATABASE_CREATE);
    assert_int_equal(test_migrate(d, &zero, 1), FAAS_EINVAL);
    database_close(d);
}


static void
test_tables_can_be_rebuilt(void **state)
{
    database_t  *d;

    static const database_migration_t  m[] = {
        FILE_(1, "CREATE TABLE p (x PRIMARY KEY);"
                 "CREATE TABLE c (x REFERENCES p ON DELETE CASCADE);"
                 "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)"),
        FILE_(2, "CREATE TABLE p2 (x PRIMARY KEY, y);"
                 "INSERT INTO p2 (x) SELECT x FROM p;"
                 "DROP TABLE p; ALTER TABLE p2 RENAME TO p"),
        FILE_(3, "DELETE FROM p"),
    };

    (void) state;

    d = test_database("a", DATABASE_CREATE);

    /* rows that refer to a table which is rebuilt stay */

    assert_int_equal(test_migrate(d, m, 2), FAAS_OK);
    assert_string_equal(test_value(d, "SELECT count(*) FROM c"), "1");
    assert_string_equal(test_value(d, "PRAGMA foreign_keys"), "1");
    assert_int_equal(test_sql(d, "INSERT INTO c VALUES (2)"),
                     SQLITE_CONSTRAINT_FOREIGNKEY);

    /* but they must refer to something in the end */

    assert_int_equal(MIGRATE(d, m), FAAS_ECONFLICT);
    assert_non_null(strstr(why, "\"c\""));
    assert_string_equal(test_value(d, "SELECT count(*) FROM p"), "1");

    database_close(d);
}


static int
test_migrator(void)
{
    int          code;
    database_t  *d;

    static const database_migration_t  m[] = {
        FILE_(1, "CREATE TABLE t (x); INSERT INTO t VALUES (1)"),
        FILE_(2, "UPDATE t SET x = x + 1"),
    };

    d = test_database_open("a", DATABASE_CREATE, &code);
    CHECK(d != NULL);
    CHECK(MIGRATE(d, m) == FAAS_OK);
    database_close(d);

    return 0;
}


static void
test_two_versions_migrate_at_once(void **state)
{
    int          i;
    pid_t        pid[6];
    database_t  *d;

    (void) state;

    for (i = 0; i < 6; i++) {
        pid[i] = fork();
        assert_true(pid[i] != -1);

        if (pid[i] == 0) {
            _exit(test_migrator());
        }
    }

    for (i = 0; i < 6; i++) {
        assert_int_equal(test_wait(pid[i]), 0);
    }

    d = test_database("a", 0);
    assert_string_equal(test_value(d, "SELECT sum(x) FROM t"), "2");
    database_close(d);
}


static void
test_migration_that_takes_too_long(void **state)
{
    database_t  *d, *e;

    (void) state;

    d = test_database("a", DATABASE_CREATE);
    e = test_database("a", 0);

    database_begin(d, test_scope_of(50));
    assert_int_equal(test_migrate_one(d,
        "CREATE TABLE t (x); WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL "
        "SELECT x + 1 FROM n) INSERT INTO t SELECT max(x) FROM n"),
        FAAS_ETIMEDOUT);
    assert_string_equal(test_tables(e), "");

    assert_int_equal(test_sql(e, "BEGIN IMMEDIATE"), SQLITE_OK);
    database_begin(d, test_scope_of(50));
    assert_int_equal(test_migrate_one(d, "CREATE TABLE t (x)"), FAAS_EBUSY);
    assert_int_equal(test_sql(e, "COMMIT"), SQLITE_OK);

    database_begin(d, SCOPE);
    assert_int_equal(test_sql(d, "BEGIN"), SQLITE_OK);
    assert_int_equal(test_migrate_one(d, "CREATE TABLE t (x)"), FAAS_EINVAL);
    assert_int_equal(test_sql(d, "COMMIT"), SQLITE_OK);
    assert_int_equal(test_migrate_one(d, "CREATE TABLE t (x)"), FAAS_OK);

    database_close(e);
    database_close(d);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(test_applied_once_and_in_order),
        DATABASE_TEST(test_failure_leaves_all_as_it_was),
        DATABASE_TEST(test_changed_and_late_files),
        DATABASE_TEST(test_what_is_no_part_of_one_transaction),
        DATABASE_TEST(test_what_a_file_may_look_like),
        DATABASE_TEST(test_tables_can_be_rebuilt),
        DATABASE_TEST(test_two_versions_migrate_at_once),
        DATABASE_TEST(test_migration_that_takes_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
