/* objects: baas/queue.c $(QUEUE_REDIS) $(BAAS_REDIS) $(SCOREBOARD) base/log.c baas/kv.c baas/baas_error.c baas/process_mark.c */
/* libs: -lhiredis -ldl */

/*
 * The queue engine in Redis, on a real one: what every engine must do, as the
 * user that docs/redis.md has for it.
 */


#include "queue_conformance.h"
#include "redis_server.h"


static server_t  server;
static char      url[256];


static void
queue_fresh(void)
{
    (void) server_tell(&server, "FLUSHALL");
}


static queue_t *
queue_node(const char *name)
{
    char      why[256];
    queue_t  *q;

    q = queue_redis.open(url, "", name, why, sizeof(why));

    if (q == NULL) {
        fprintf(stderr, "%s\n", why);
    }

    return q;
}


static void
queue_gone(void)
{
}


int
main(void)
{
    int  rc;

    const struct CMUnitTest  tests[] = { QUEUE_CONFORMANCE };

    if (server_start(&server, 0, NULL) != 0) {
        server_remove(&server);
        return 1;
    }

    snprintf(url, sizeof(url), "redis+unix://%s", server.socket);

    rc = cmocka_run_group_tests(tests, NULL, NULL);

    server_remove(&server);

    return rc;
}
