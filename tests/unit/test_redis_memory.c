/* objects: $(BAAS_REDIS) baas/kv.c baas/process_mark.c */
/* libs: -lhiredis */

/*
 * Each allocation fails once, ours and those of hiredis: a code, no crash, and
 * what follows is right.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MEMORY_FAULTS_ALL

#include "kv_redis.h"
#include "memory_faults.h"
#include "redis_server.h"


static server_t  server;


static char    room[1 << 16];
static size_t  used;


static void *
scope_alloc(void *data, size_t n)
{
    void  *p;

    (void) data;

    n = (n + 15) & ~(size_t) 15;
    p = used + n > sizeof(room) ? NULL : room + used;
    used += n;

    return p;
}


static void
scope_log(void *data, const char *line)
{
    (void) data;
    (void) line;
}


static int
each(const faas_kv_entry_t *entry, void *data)
{
    (void) entry;
    ++*(int *) data;

    return 0;
}


static int
is_code(int rc)
{
    return rc <= FAAS_OK && rc >= FAAS_EUNSUPPORTED;
}


/* all there is, once; 0 if a call failed for lack of memory */
static int
use_all(void)
{
    int               rc[7], code, n, i, ok;
    char              url[128], why[128];
    kv_t             *kv;
    redis_t          *r;
    uint64_t          version;
    redis_sub_t      *sub;
    baas_scope_t      scope;
    redisContext     *c;
    faas_bytes_t      k = faas_text("k"), channel = faas_text("faas:c");
    faas_kv_entry_t   entry;

    n = 0;
    used = 0;
    version = 0;
    memset(&scope, 0, sizeof(scope));
    scope.alloc = scope_alloc;
    scope.log = scope_log;
    scope.deadline_ms = redis_now_ms() + 10000;

    (void) snprintf(url, sizeof(url), "unix:%s?db=1", server.socket);
    r = redis_create(url, why, sizeof(why));

    if (r == NULL) {
        return 0;
    }

    kv = kv_redis_create(r, "memory");

    if (kv == NULL) {
        redis_destroy(r);
        return 0;
    }

    rc[0] = kv_set(kv, &scope, k, faas_text("41"), 100000, KV_ANY, &version);
    rc[1] = kv_get(kv, &scope, k, &entry);
    rc[2] = kv_incr(kv, &scope, k, 1, NULL);
    rc[3] = kv_set(kv, &scope, faas_text("c"), faas_text("v"), 0, 0, NULL);
    rc[4] = kv_scan(kv, &scope, k, k, 10, each, &n);
    rc[5] = kv_remove(kv, &scope, k);
    rc[6] = kv_remove(kv, &scope, faas_text("c"));

    for (ok = 1, i = 0; i < 7; i++) {
        if (!is_code(rc[i])) {
            abort();
        }

        ok = ok && rc[i] == FAAS_OK;
    }

    c = redis_context(r, k, scope.deadline_ms, &code);
    ok = ok && c != NULL;
    redis_context_end(r);

    sub = redis_sub_create(r, &channel, 1);
    ok = ok && sub != NULL
         && redis_sub_connect(sub, scope.deadline_ms) == FAAS_OK;
    redis_sub_destroy(sub);

    kv_redis_destroy(kv);
    redis_destroy(r);

    return ok;
}


/* the n-th allocation, and with it all that follow or it alone */
static void
fails(int alone)
{
    int   ok, failed;
    long  n;

    failed = 0;

    for (n = 0; n < 2000; n++) {
        assert_true(server_tell(&server, "FLUSHALL") == 0);

        memory_fails_at(n, !alone);
        ok = use_all();
        memory_faults.left = -1;

        if (memory_faults.failed == 0) {
            break;
        }

        failed += !ok;

        if (!alone) {
            assert_int_equal(ok, 0);
        }
    }

    assert_int_equal(ok, 1);
    assert_true(n < 2000);
    assert_true(failed > 20);
}


static void
test_each_allocation_fails_once(void **state)
{
    (void) state;

    assert_int_equal(use_all(), 1);
    fails(1);
    assert_int_equal(use_all(), 1);
}


static void
test_memory_ends_at_each_allocation(void **state)
{
    (void) state;

    assert_int_equal(use_all(), 1);
    fails(0);
    assert_int_equal(use_all(), 1);
}


int
main(void)
{
    int  rc;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_each_allocation_fails_once),
        cmocka_unit_test(test_memory_ends_at_each_allocation)
    };

    if (server_start(&server, 0, NULL) != 0) {
        (void) fprintf(stderr, "no redis-server\n");
        server_remove(&server);
        return 1;
    }

    rc = cmocka_run_group_tests(tests, NULL, NULL);
    server_remove(&server);

    return rc;
}
