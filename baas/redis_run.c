
/*
 * A batch on its way: to which node, what may have been done when there is no
 * answer, and whether it is sent once more.
 *
 * It is sent again without being asked to (REDIS_REPEAT) only when all its
 * answers say that nothing was done: errors, QUEUED, and the OK of MULTI and
 * the like.  A transaction of which one command was refused is refused whole
 * (EXECABORT).
 */

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "redis_inner.h"


#define REDIS_REDIRECTS   8          /* of one run */
#define REDIS_PAUSE_MS    10         /* while a slot moves */

#define REDIS_UNWATCH     "*1\r\n$7\r\nUNWATCH\r\n"
#define REDIS_ASKING      "*1\r\n$6\r\nASKING\r\n"

_Static_assert(sizeof(REDIS_UNWATCH) - 1 == REDIS_HEADROOM, "room for it");


/* one call of redis_run() */

typedef struct {
    faas_bytes_t              key;
    unsigned                  flags;
    int64_t                   deadline_ms;

    redis_node_t             *node;        /* where the last attempt went */
    redis_node_t             *ask;         /* where the next goes, with ASKING;
                                              NULL: where the key is */
    int                       asking;      /* the last attempt had it */
    uint32_t                  redirects;   /* since the last pause */
    uint32_t                  losses;
    int                       moving;      /* a node said TRYAGAIN */
    int                       sent;        /* some of it may have been done */
} redis_run_t;


typedef enum {
    REDIS_FINAL = 0,           /* the answers are the caller's */
    REDIS_AGAIN,
    REDIS_LATER,               /* again, after a pause */
    REDIS_MOVING               /* there is no time for that */
} redis_verdict_e;


static int redis_attempt(redis_t *r, redis_run_t *run);
static int redis_aim(redis_t *r, redis_run_t *run);
static int redis_send(redis_t *r, redis_run_t *run, int unwatch);
static char *redis_with_asking(redis_t *r, int unwatch, size_t *size);
static int redis_receive(redis_t *r, redis_run_t *run, int unwatch);
static int redis_receive_one(redis_run_t *run, redisReply **reply);
static int redis_lost(redis_t *r, redis_run_t *run, int rc);
static redis_verdict_e redis_judge(redis_t *r, redis_run_t *run);
static redis_verdict_e redis_judge_error(redis_t *r, redis_run_t *run,
    const redisReply *error);
static int redis_follow(redis_t *r, redis_run_t *run,
    const redisReply *error);
static int redis_was_done(const redis_t *r);
static void redis_settle(redis_t *r, redis_run_t *run);


int
redis_run(redis_t *r, faas_bytes_t key, unsigned flags, int64_t deadline_ms)
{
    int          rc;
    redis_run_t  run;

    if (!redis_is_ours(r)) {
        return FAAS_EUNSUPPORTED;
    }

    redis_forget_answers(r);

    if (r->failed) {
        redis_say(r, "out of memory");
        return FAAS_ERROR;
    }

    if (r->commands_count == 0) {
        return FAAS_OK;
    }

    memset(&run, 0, sizeof(redis_run_t));
    run.key = key;
    run.flags = flags;
    run.deadline_ms = redis_deadline(r, deadline_ms);

    for ( ;; ) {
        rc = redis_attempt(r, &run);

        if (rc != FAAS_OK) {
            rc = redis_lost(r, &run, rc);

            if (rc == FAAS_OK) {
                continue;
            }

            return rc;
        }

        switch (redis_judge(r, &run)) {
        case REDIS_FINAL:
            redis_settle(r, &run);
            return FAAS_OK;

        case REDIS_LATER:
            (void) poll(NULL, 0, REDIS_PAUSE_MS);
            run.redirects = 0;
            run.moving = 1;
            break;

        case REDIS_MOVING:
            redis_forget_answers(r);
            return flags & REDIS_EXEC ? FAAS_ECONFLICT : FAAS_EBUSY;

        default:
            break;
        }

        if (flags & REDIS_EXEC) {
            return FAAS_ECONFLICT;
        }

        redis_forget_answers(r);
    }
}


/* -- once ------------------------------------------------------------------ */

static int
redis_attempt(redis_t *r, redis_run_t *run)
{
    int  rc, unwatch;

    run->sent = 0;
    run->node = NULL;

    rc = redis_aim(r, run);

    if (rc != FAAS_OK) {
        return rc;
    }

    unwatch = run->node->link.watching && !(run->flags & REDIS_EXEC);

    rc = redis_send(r, run, unwatch);

    if (rc == FAAS_OK) {
        run->node->link.watching = !!(run->flags & REDIS_WATCH);
        rc = redis_receive(r, run, unwatch);
    }

    return rc;
}


/* a node with an open connection */
static int
redis_aim(redis_t *r, redis_run_t *run)
{
    int  rc;

    run->asking = 0;

    if (run->flags & REDIS_EXEC) {
        run->node = r->watched;
        run->asking = r->watched_ask;
        r->watched = NULL;

        if (run->node == NULL || !redis_link_is_quiet(&run->node->link)) {
            if (run->node != NULL) {
                redis_node_close(r, run->node);
                run->node = NULL;
            }

            redis_say(r, "the connection that watched was lost");
            return FAAS_ECONFLICT;
        }

        return FAAS_OK;
    }

    r->watched = NULL;

    if (run->ask != NULL) {
        run->node = run->ask;
        run->ask = NULL;
        run->asking = 1;

    } else {
        rc = redis_locate(r, run->key, run->deadline_ms, &run->node);

        if (rc != FAAS_OK) {
            run->node = NULL;
            return rc;
        }
    }

    return redis_node_open(r, run->node, run->deadline_ms);
}


static int
redis_send(redis_t *r, redis_run_t *run, int unwatch)
{
    int     rc;
    char   *p, *all;
    size_t  n, sent;

    all = NULL;

    if (run->asking) {
        all = redis_with_asking(r, unwatch, &n);

        if (all == NULL) {
            redis_say(r, "out of memory");
            return FAAS_ERROR;
        }

        p = all;

    } else {
        p = r->out + REDIS_HEADROOM;
        n = r->out_size;

        if (unwatch) {
            p -= REDIS_HEADROOM;
            n += REDIS_HEADROOM;
            (void) mempcpy(p, REDIS_UNWATCH, REDIS_HEADROOM);
        }
    }

    rc = redis_link_write(&run->node->link, p, n, &sent, run->deadline_ms);
    run->sent = sent > 0;
    free(all);

    return rc;
}


/* a transaction needs it once, before MULTI */
static char *
redis_with_asking(redis_t *r, int unwatch, size_t *size)
{
    char             *all, *p;
    size_t            i, end;
    redis_command_t  *c;

    all = malloc(REDIS_HEADROOM + r->out_size
                 + r->commands_count * (sizeof(REDIS_ASKING) - 1));
    if (all == NULL) {
        return NULL;
    }

    p = all;

    if (unwatch) {
        p = mempcpy(p, REDIS_UNWATCH, REDIS_HEADROOM);
    }

    for (i = 0; i < r->commands_count; i++) {
        c = &r->commands[i];
        end = i + 1 < r->commands_count ? c[1].offset : r->out_size;

        if (!c->inside) {
            p = mempcpy(p, REDIS_ASKING, sizeof(REDIS_ASKING) - 1);
        }

        p = mempcpy(p, r->out + REDIS_HEADROOM + c->offset, end - c->offset);
    }

    *size = (size_t) (p - all);

    return all;
}


static int
redis_receive(redis_t *r, redis_run_t *run, int unwatch)
{
    int          rc;
    size_t       i;
    redisReply  *reply;

    r->answers = calloc(r->commands_count, sizeof(redisReply *));
    if (r->answers == NULL) {
        redis_say(r, "out of memory");
        return FAAS_ERROR;
    }

    r->answers_count = r->commands_count;

    for (i = 0; i < r->commands_count; i++) {

        if (i == 0 && unwatch) {
            rc = redis_receive_one(run, &reply);
            if (rc != FAAS_OK) {
                return rc;
            }

            freeReplyObject(reply);
        }

        if (run->asking && !r->commands[i].inside) {
            rc = redis_receive_one(run, &reply);
            if (rc != FAAS_OK) {
                return rc;
            }

            freeReplyObject(reply);
        }

        rc = redis_receive_one(run, &r->answers[i]);
        if (rc != FAAS_OK) {
            return rc;
        }
    }

    return FAAS_OK;
}


static int
redis_receive_one(redis_run_t *run, redisReply **reply)
{
    return redis_link_read(&run->node->link, reply, run->deadline_ms);
}


/* -- no answer ------------------------------------------------------------- */

/* FAAS_OK: once more; else what the caller gets */
static int
redis_lost(redis_t *r, redis_run_t *run, int rc)
{
    char  address[REDIS_URL_HOST + 16];

    redis_forget_answers(r);

    if (run->flags & REDIS_EXEC && !run->sent) {
        if (run->node != NULL) {
            redis_node_lost(r, run->node);
        }

        return FAAS_ECONFLICT;
    }

    if (!run->sent && run->node != NULL && run->node->link.fd == -1) {

        /* not connected: in a cluster, another may have the slot by now */

        if (r->url.kind == REDIS_CLUSTER && rc == FAAS_EUNAVAILABLE
            && run->losses++ == 0 && redis_now_ms() < run->deadline_ms)
        {
            return FAAS_OK;
        }

        return rc;
    }

    if (run->node == NULL) {
        return rc;
    }

    redis_say(r, "redis %s: %s",
              redis_address_text(&run->node->address, address,
                                 sizeof(address)),
              rc == FAAS_ETIMEDOUT ? "no answer in time"
              : rc == FAAS_ERROR ? "what it answered is not Redis"
              : "connection lost");

    redis_node_lost(r, run->node);

    if (rc == FAAS_ETIMEDOUT) {
        return rc;
    }

    if ((run->flags & REDIS_REPEAT || !run->sent) && run->losses++ == 0) {
        return FAAS_OK;
    }

    return run->flags & REDIS_REPEAT || !run->sent ? FAAS_EUNAVAILABLE
                                                   : FAAS_ETIMEDOUT;
}


/* -- answers --------------------------------------------------------------- */

/* do they say that it is to be sent again? */
static redis_verdict_e
redis_judge(redis_t *r, redis_run_t *run)
{
    size_t       i;
    redisReply  *reply;

    redis_node_answered(run->node);

    for (i = 0; i < r->answers_count; i++) {
        reply = r->answers[i];

        if (redis_code(reply) != FAAS_OK) {
            redis_say_error(r, run->node, reply);

            return reply->type == REDIS_REPLY_ERROR
                   ? redis_judge_error(r, run, reply) : REDIS_FINAL;
        }
    }

    return REDIS_FINAL;
}


static redis_verdict_e
redis_judge_error(redis_t *r, redis_run_t *run, const redisReply *error)
{
    int  again;

    again = run->flags & REDIS_REPEAT || !redis_was_done(r);

    if (redis_is_error(error, "NOAUTH")) {
        redis_node_close(r, run->node);
        return REDIS_FINAL;
    }

    if (r->url.kind != REDIS_SINGLE && redis_is_error(error, "READONLY")) {

        /* it is a replica by now */

        redis_node_close(r, run->node);
        r->stale = 1;

        return again && run->losses++ == 0 ? REDIS_AGAIN : REDIS_FINAL;
    }

    if (r->url.kind != REDIS_CLUSTER) {
        return REDIS_FINAL;
    }

    if (redis_is_error(error, "CLUSTERDOWN")) {
        r->stale = 1;
        return REDIS_FINAL;
    }

    if (redis_is_error(error, "TRYAGAIN")) {
        return !again ? REDIS_FINAL
               : redis_now_ms() + REDIS_PAUSE_MS < run->deadline_ms
               ? REDIS_LATER : REDIS_MOVING;
    }

    if (redis_follow(r, run, error) != FAAS_OK || !again) {
        return REDIS_FINAL;
    }

    if (redis_now_ms() >= run->deadline_ms) {
        return run->moving ? REDIS_MOVING : REDIS_FINAL;
    }

    return run->redirects++ < REDIS_REDIRECTS ? REDIS_AGAIN : REDIS_FINAL;
}


/* where a MOVED or ASK says that the next attempt goes */
static int
redis_follow(redis_t *r, redis_run_t *run, const redisReply *error)
{
    redis_node_t     *node;
    redis_redirect_t  to;

    if (!redis_redirect(error, &to)) {
        return FAAS_ERROR;
    }

    if (to.address.host[0] == '\0') {
        (void) strcpy(to.address.host, run->node->address.host);
    }

    node = redis_node(r, &to.address);

    if (node == NULL) {
        return FAAS_ERROR;
    }

    if (to.ask) {
        run->ask = node;

    } else {
        redis_cluster_moved(r, to.slot, node);
    }

    return FAAS_OK;
}


/* does an answer say that something was done? */
static int
redis_was_done(const redis_t *r)
{
    size_t             i;
    const redisReply  *reply;

    for (i = 0; i < r->answers_count; i++) {
        reply = r->answers[i];

        if (reply->type == REDIS_REPLY_ERROR
            || r->commands[i].role == REDIS_CONTROL)
        {
            continue;
        }

        if (reply->type == REDIS_REPLY_STATUS
            && strcmp(reply->str, "QUEUED") == 0)
        {
            continue;
        }

        return 1;
    }

    return 0;
}


/* where what was watched is, for the run that follows */
static void
redis_settle(redis_t *r, redis_run_t *run)
{
    if (run->flags & REDIS_WATCH && run->node->link.fd != -1) {
        r->watched = run->node;
        r->watched_ask = run->asking;
    }
}
