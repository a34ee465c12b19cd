
#include <signal.h>
#include <unistd.h>

#include "deploy.h"
#include "drain.h"
#include "events_link.h"
#include "instance_end.h"
#include "keeper.h"
#include "lineage.h"
#include "log.h"
#include "service.h"
#include "supervisor.h"
#include "zygote_link.h"


/*
 * What instances get to finish; what processes get to be gone.  Both, and the
 * second that the keeper may wait before it starts another supervisor, are
 * less than the five that everything gets after the last process of nginx.
 */

#define DRAIN_FINISH_MS  2000
#define DRAIN_GONE_MS    1500

#define DRAIN_LOOK_MS    5


static void drain_step(void *data);


static struct {
    loop_timer_t  timer;
    uint64_t      until_ms;          /* when the next step is taken */
    int           step;              /* 1 TERM, 2 KILL, 3 over */
} drain;


int
drain_is_over(void)
{
    return drain.step == 3;
}


void
drain_begin(const char *why, int at_once)
{
    function_t  *f;

    if (!supervisor.draining) {
        supervisor.draining = 1;
        atomic_store(&supervisor.board->draining, 1);

        log_line(LOG_NOTICE, 0, "the host ends: %s", why);

        drain.timer.handler = drain_step;
        deploy_stop();
        (void) zygote_link_end(0);

        drain.step = 1;
        drain.until_ms = loop_now_ms() + DRAIN_FINISH_MS;
        instance_end_all(0);

        /* what waits in nginx is refused: no instance will be there for it */

        for (f = function_list; f != NULL; f = f->next) {
            function_wake(f);
        }
    }

    if (at_once) {
        drain.until_ms = loop_now_ms();
    }

    loop_arm(&drain.timer, loop_now_ms());
}


/*
 * Instances finish, for a while; then the function inits are told to end and
 * kill what is left; then, for a while, they are waited for.
 */

static void
drain_step(void *data)
{
    int          left;
    version_t   *v, *next;
    function_t  *f;

    (void) data;

    if (drain.step == 1
        && (slot_live == NULL || loop_now_ms() >= drain.until_ms))
    {
        drain.step = 2;
        drain.until_ms = loop_now_ms() + DRAIN_GONE_MS;

        instance_end_all(1);

        for (f = function_list; f != NULL; f = f->next) {
            for (v = f->versions; v != NULL; v = next) {
                next = v->next;
                lineage_end(v);
            }
        }
    }

    if (drain.step == 2) {
        left = slot_live != NULL;

        for (f = function_list; f != NULL; f = f->next) {
            for (v = f->versions; v != NULL; v = v->next) {
                left += v->lineage != LINEAGE_NONE;
            }
        }

        left += service_end_all(loop_now_ms() >= drain.until_ms);
        left += !zygote_link_end(loop_now_ms() >= drain.until_ms);

        if (left == 0 || loop_now_ms() >= drain.until_ms + 100) {
            drain.step = 3;
            return;
        }
    }

    loop_arm(&drain.timer, loop_now_ms() + DRAIN_LOOK_MS);
}


int
drain_end(void)
{
    uint32_t     i, n;
    version_t   *v;
    function_t  *f;

    for (f = function_list; f != NULL; f = f->next) {
        for (v = f->versions; v != NULL; v = v->next) {

            if (v->lineage != LINEAGE_NONE
                && atomic_load(&v->sh->init_pid) > 0)
            {
                (void) kill(atomic_load(&v->sh->init_pid), SIGKILL);
            }
        }
    }

    n = supervisor.board->chunks * FAAS_CHUNK_SLOTS;

    for (i = 0; i < n; i++) {
        slot_remove(i);
    }

    (void) unlink("control");
    (void) unlink(EVENTS_LINK_SOCKET);
    atomic_store(&supervisor.board->supervisor_pid, 0);

    log_line(LOG_NOTICE, 0, "the host has ended");

    return KEEPER_ENDED;
}
