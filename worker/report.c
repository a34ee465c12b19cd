
#include <errno.h>
#include <string.h>
#include <time.h>

#include "instance_end.h"
#include "lineage.h"
#include "log.h"
#include "patrol.h"
#include "pool.h"
#include "report.h"


static void report_offer(slot_t *s, uint64_t word);


void
report_forked(version_t *v, uint32_t slot, uint64_t generation,
    int32_t inner_pid)
{
    slot_t  *s;

    s = slot_of(v, slot, generation);

    if (s == NULL) {

        /* given up before it came: the slot, and with it the socket that it
           has too, is or will be another's */

        lineage_kill_stray(v, inner_pid);
        return;
    }

    atomic_store(&s->sh->inner_pid, inner_pid);
    slot_name(s, inner_pid);

    /* READY may come first, and with it a reason to end it */

    if (s->signals > 0) {
        instance_end_ask(s, atomic_load(&s->sh->cause));
    }
}


void
report_fork_failed(version_t *v, uint32_t slot, uint64_t generation, int error)
{
    slot_t      *s;
    uint64_t     born_ms;
    function_t  *f;

    s = slot_of(v, slot, generation);

    if (s == NULL) {
        return;
    }

    f = v->function;
    born_ms = s->forked_us / 1000;

    function_error(f, LOG_ERROR, "version %s slot %u: fork failed: %s",
                   v->sh->id, slot, strerror(error));

    faas_tally_add(&f->sh->tally, FAAS_DEATH_START, 0, slot, v->sh->id,
                   (uint64_t) time(NULL));
    instance_end_free(s);
    pool_died(f, born_ms);
}


void
report_ready(version_t *v, uint32_t slot, uint64_t generation, pid_t pid)
{
    slot_t      *s;
    uint32_t     took, mean;
    uint64_t     word;
    function_t  *f;

    s = slot_of(v, slot, generation);

    if (s == NULL) {
        return;
    }

    word = atomic_load(&s->sh->word);

    if (faas_slot_state(word) != FAAS_SLOT_STARTING || s->signals) {
        return;
    }

    f = v->function;

    atomic_store(&v->sh->proven, 1);
    atomic_store(&s->sh->pid, pid);
    atomic_store(&s->sh->started_ms, loop_now_ms());
    s->journal.pid = pid;

    if (s->inner_pid == 0 && v->lineage != LINEAGE_LIVE) {

        /* its template died before it could tell of it: the init does not
           take it for its own */

        if (instance_end_unparented(s) == FAAS_DECLINED) {
            return;
        }
    }

    loop_disarm(&s->timer);
    f->starting -= f->starting > 0;

    if (s->forked_us != 0) {
        took = (uint32_t) (loop_clock_us() - s->forked_us);
        mean = atomic_load(&f->sh->start_us);
        atomic_store(&f->sh->start_us, mean ? mean - mean / 4 + took / 4
                                            : took);
    }

    report_offer(s, word);
    pool_changed(f);
}


/*
 * The slot is to be had: by the worker whose oldest request has waited
 * longest, else by whoever comes.  Named "waiting first" in faas_slot.h: the
 * word, then the mask.
 */

static void
report_offer(slot_t *s, uint64_t word)
{
    uint32_t     w;
    uint64_t     oldest;
    function_t  *f;

    f = s->version->function;

    if (pool_is_superseded(s) || s->retired || slot_is_spent(s)) {

        if (faas_slot_state(word) == FAAS_SLOT_STARTING) {
            if (faas_slot_change(supervisor.board, s->index, word,
                                 FAAS_SLOT_IDLE, FAAS_WORKER_NONE)
                != FAAS_OK)
            {
                return;
            }

            word = atomic_load(&s->sh->word);
        }

        if (faas_slot_state(word) != FAAS_SLOT_BUSY) {
            (void) pool_retire_slot(s, word);
        }

        return;
    }

    w = faas_worker_longest(supervisor.board, f->index, FAAS_WORKER_NONE,
                            &oldest);

    if (w != FAAS_WORKER_NONE) {
        if (faas_slot_change(supervisor.board, s->index, word,
                             FAAS_SLOT_HANDED, w)
            == FAAS_OK)
        {
            supervisor_wake(w);
        }

        return;
    }

    atomic_store(&s->sh->idle_ms, loop_clock_us() / 1000);

    if (faas_slot_change(supervisor.board, s->index, word, FAAS_SLOT_IDLE,
                         FAAS_WORKER_NONE)
        == FAAS_OK)
    {
        function_wake(f);
    }
}


void
report_refused(version_t *v, uint32_t slot, uint64_t generation,
    const char *why)
{
    slot_t  *s;

    s = slot_of(v, slot, generation);

    if (s == NULL) {
        return;
    }

    /* its end comes next, and is the event: there it is told */

    if (s->refused == NULL
        && faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_STARTING)
    {
        s->refused = loop_strdup(why, strlen(why));
    }
}


void
report_freed(version_t *v, uint32_t slot, uint64_t generation)
{
    slot_t    *s;
    uint64_t   word;

    s = slot_of(v, slot, generation);

    if (s == NULL) {
        return;
    }

    word = atomic_load(&s->sh->word);

    if (faas_slot_state(word) == FAAS_SLOT_BUSY) {

        /* its worker died, or is about to say so: not believed before */

        patrol_soon();
        return;
    }

    /* a FREE may be as old as the connection whose end it tells of: since
       then the instance may have begun another request */

    if (faas_slot_state(word) != FAAS_SLOT_DRAINING || slot_is_running(s)) {
        return;
    }

    s->draining_ms = 0;
    report_offer(s, word);
    pool_changed(v->function);
}


void
report_retired(version_t *v, uint32_t slot, uint64_t generation)
{
    slot_t    *s;
    uint64_t   word;

    s = slot_of(v, slot, generation);

    if (s == NULL) {
        return;
    }

    s->retired = 1;
    word = atomic_load(&s->sh->word);

    if (faas_slot_state(word) == FAAS_SLOT_IDLE
        || (faas_slot_state(word) == FAAS_SLOT_DRAINING
            && !slot_is_running(s)))
    {
        (void) pool_retire_slot(s, word);

    } else {
        patrol_soon();
    }
}
