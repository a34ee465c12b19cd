
/* objects: baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c baas/process_mark.c baas/database.c baas/database_guard.c baas/database_open.c baas/database_once.c */
/* libs: -lsqlite3 */

/*
 * The key-value engine on SQLite: what every engine must do.  What is its own
 * (transactions, locks, a full disk) is in test_database.c.
 */

#include "database_fixture.h"
#include "kv_conformance.h"


static kv_t *
kv_open(const char *space)
{
    int          code;
    char         why[256];
    database_t  *d;

    d = database_open(test_directory, space, DATABASE_CREATE|DATABASE_NORMAL,
                      test_monotonic_ms() + 10000, &code, why, sizeof(why));

    if (d == NULL) {
        fprintf(stderr, "%s: %d %s\n", space, code, why);
        return NULL;
    }

    return database_kv(d);
}


static void
kv_close(kv_t *kv)
{
    database_close(kv->data);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        KV_CONFORMANCE,
    };

    return cmocka_run_group_tests(tests, test_setup_directory,
                                  test_teardown_directory);
}
