
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "death.h"
#include "dump.h"
#include "instance_end.h"
#include "lineage.h"
#include "lineage_read.h"
#include "log.h"
#include "oom.h"
#include "patrol.h"
#include "place.h"
#include "pool.h"
#include "shortage.h"


/* from SIGTERM to SIGKILL: over budget; told to retire */
#define INSTANCE_END_KILL_MS    500
#define INSTANCE_END_RETIRE_MS  2000

/* until a signal is repeated */
#define INSTANCE_END_AGAIN_MS   500

/* a READY after a lost FORKED is waited for so long */
#define INSTANCE_END_LOST_MS    200


static void instance_end_signal(slot_t *s, int signo);
static void instance_end_timer(void *data);
static void instance_end_lost(slot_t *s);
static int instance_end_is_untold(slot_t *s);
static int instance_end_is_gone(const slot_t *s);
static void instance_end_orphan(slot_t *s);
static void instance_end_process(void *data, uint32_t events);
static void instance_end_because(slot_t *s, faas_cause_e cause);
static int instance_end_expected(const slot_t *s, int status);
static int instance_end_is_news(const slot_t *s, int status);
static void instance_end_tell(slot_t *s, int status);
static int instance_end_pid(const slot_t *s);
static void instance_end_why(slot_t *s, const death_t *death, char *why,
    size_t size);


void
instance_end_watch(slot_t *s, uint32_t timeout_ms)
{
    s->timer.handler = instance_end_timer;
    s->timer.data = s;

    loop_arm(&s->timer, loop_now_ms() + timeout_ms);
}


void
instance_end_ask(slot_t *s, faas_cause_e cause)
{
    s->signals = 1;
    instance_end_because(s, cause);

    instance_end_signal(s, SIGTERM);
    instance_end_watch(s, cause == FAAS_CAUSE_TIMEOUT
                          ? INSTANCE_END_KILL_MS : INSTANCE_END_RETIRE_MS);
}


void
instance_end_kill(slot_t *s, faas_cause_e cause)
{
    s->signals = 2;
    instance_end_because(s, cause);

    instance_end_signal(s, SIGKILL);
    instance_end_watch(s, INSTANCE_END_AGAIN_MS);
}


/* the first reason counts; that it was only to retire is none */

static void
instance_end_because(slot_t *s, faas_cause_e cause)
{
    faas_cause_e  was;

    was = atomic_load(&s->sh->cause);

    if (was == FAAS_CAUSE_NONE || was == FAAS_CAUSE_RETIRED) {
        atomic_store(&s->sh->cause, cause);
    }
}


static void
instance_end_signal(slot_t *s, int signo)
{
    if (s->unparented) {
        if (s->process.fd != -1) {
            (void) syscall(SYS_pidfd_send_signal, s->process.fd, signo, NULL,
                           0);
        }

        return;
    }

    (void) lineage_kill(s->version, s->inner_pid, signo);
}


static void
instance_end_timer(void *data)
{
    slot_t  *s;

    s = data;

    if (s->inner_pid == 0 && !s->unparented) {
        instance_end_lost(s);
        return;
    }

    if (s->signals > 0 && instance_end_is_untold(s)) {
        return;
    }

    switch (s->signals) {

    case 0:
        instance_end_kill(s, FAAS_CAUSE_NOT_READY);
        return;

    case 1:
        instance_end_kill(s, FAAS_CAUSE_NOT_RETIRED);
        return;

    default:
        /* its init may be stopped, and never read that it is to be killed */

        if (atomic_load(&s->sh->pid) > 0
            && instance_end_unparented(s) == FAAS_DECLINED)
        {
            return;
        }

        instance_end_signal(s, SIGKILL);
        instance_end_watch(s, INSTANCE_END_AGAIN_MS);
    }
}


/*
 * No FORKED came.  The template may be stuck, dead before it forked, or the
 * message was read by a supervisor that died: then the instance exists, and
 * is found among the init's children.
 */

static void
instance_end_lost(slot_t *s)
{
    version_t  *v;

    v = s->version;

    if (atomic_load(&s->sh->pid) > 0) {
        instance_end_orphan(s);
        return;
    }

    if (lineage_kill_strays(v) > 0) {
        instance_end_watch(s, INSTANCE_END_LOST_MS);
        return;
    }

    if (v->lineage == LINEAGE_LIVE && v->forks > 0 && s->forked_us != 0) {
        function_error(v->function, LOG_ERROR, "version %s slot %u: the "
                       "template did not fork in init_timeout %u ms",
                       v->sh->id, s->index,
                       v->function->limits.init_timeout_ms);
        instance_end_free(s);
        lineage_give_up(v);
        return;
    }

    instance_end_free(s);
}


/*
 * Its end may have been told to a supervisor that died, or could not be sent:
 * then it would be signalled for ever.  What is still in the channel comes
 * first.  1: it is not ours any more, since it has ended.
 */

static int
instance_end_is_untold(slot_t *s)
{
    uint64_t    generation;
    version_t  *v;

    v = s->version;
    generation = s->generation;

    if (!instance_end_is_gone(s)) {
        return 0;
    }

    if (v->init.fd != -1) {
        lineage_read_init_events(v, 0);
    }

    if (slot_of(v, s->index, generation) == s) {
        instance_end_reaped(s, -1);
    }

    return 1;
}


/* one that is not READY yet is known by the pid that its init knows only */

static int
instance_end_is_gone(const slot_t *s)
{
    if (atomic_load(&s->sh->pid) > 0) {
        return slot_is_gone(s);
    }

    return s->inner_pid > 0 && !lineage_has(s->version, s->inner_pid);
}


void
instance_end_exited(version_t *v, int32_t inner_pid, int status)
{
    slot_t  *s;

    s = slot_by_pid(v, inner_pid);

    if (s == NULL) {
        return;
    }

    /* what it said last may explain it */

    if (status != 0 || atomic_load(&s->sh->requests) != 1) {
        lineage_read_reports(v);
    }

    instance_end_reaped(s, status);
}


void
instance_end_reaped(slot_t *s, int status)
{
    int          expected, unready;
    uint64_t     born_ms;
    version_t   *v;
    function_t  *f;

    v = s->version;
    f = v->function;
    unready = faas_slot_state(atomic_load(&s->sh->word))
              == FAAS_SLOT_STARTING;
    expected = instance_end_expected(s, status);
    born_ms = s->forked_us ? s->forked_us / 1000
                           : atomic_load(&s->sh->started_ms);

    if (!expected || instance_end_is_news(s, status)) {
        instance_end_tell(s, status);
    }

    instance_end_free(s);

    if (expected) {
        pool_changed(f);
        return;
    }

    if (status == -1 || WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
        atomic_fetch_add(&f->sh->deaths, 1);
    }

    pool_died(f, born_ms);

    if (unready) {
        version_unready(v);
    }
}


/* 1 when it ended as it should, or because we wanted it to */

static int
instance_end_expected(const slot_t *s, int status)
{
    faas_slot_state_e  state;

    if (supervisor.draining) {
        return 1;
    }

    state = faas_slot_state(atomic_load(&s->sh->word));

    if (state == FAAS_SLOT_STARTING
        || (state == FAAS_SLOT_CONDEMNED
            && atomic_load(&s->sh->cause) == FAAS_CAUSE_MEMORY))
    {
        return 0;
    }

    if (s->signals > 0) {
        return 1;
    }

    if (status != -1 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        return 0;
    }

    return s->retired || (slot_is_spent(s) && !slot_is_running(s));
}


/* of an end that we wanted: was there more to it than that it retired? */

static int
instance_end_is_news(const slot_t *s, int status)
{
    faas_cause_e  cause;

    if (s->signals == 0 || supervisor.draining) {
        return 0;
    }

    cause = atomic_load(&s->sh->cause);

    if (cause != FAAS_CAUSE_NONE && cause != FAAS_CAUSE_RETIRED) {
        return 1;
    }

    return status != -1
           && (WIFSIGNALED(status)
               ? WTERMSIG(status) != SIGTERM && WTERMSIG(status) != SIGKILL
               : WEXITSTATUS(status) != 0);
}


/* the one line about it, its place in the tally, and last_error */

static void
instance_end_tell(slot_t *s, int status)
{
    int           level, dumped;
    char          id[DUMP_ID_SIZE];
    char          how[DEATH_HOW_SIZE], why[SETTINGS_WHY_SIZE];
    char          text[FAAS_TEXT_SIZE], request[DEATH_REQUEST_SIZE];
    uint32_t      code;
    uint64_t      now, started;
    version_t    *v;
    death_t       death;
    faas_death_e  kind;

    v = s->version;

    death.cause = atomic_load(&s->sh->cause);
    death.status = status;
    death.starting = faas_slot_state(atomic_load(&s->sh->word))
                     == FAAS_SLOT_STARTING;
    death.oom = s->signals == 0 && status != -1 && WIFSIGNALED(status)
                && WTERMSIG(status) == SIGKILL && oom_has_killed();

    kind = death_kind(&death, &code);

    faas_tally_add(&v->function->sh->tally, kind, code, s->index, v->sh->id,
                   (uint64_t) time(NULL));

    death_describe(status, how, sizeof(how));
    instance_end_why(s, &death, why, sizeof(why));
    death_request(s->page, slot_is_over(s), request);

    now = loop_now_ms();
    started = death.starting ? s->forked_us / 1000
                             : atomic_load(&s->sh->started_ms);

    if (started == 0 || started > now) {
        started = now;
    }

    level = death.cause != FAAS_CAUSE_NONE && !death.starting ? LOG_WARN
                                                              : LOG_ERROR;

    (void) snprintf(text, sizeof(text), "version %s slot %u %s%s%s%s",
                    v->sh->id, s->index, how,
                    death.starting ? " before it was ready" : "",
                    why[0] ? ": " : "", why);

    function_told(v->function, text);

    if (death.starting && !v->given_up) {
        function_failed(v->function, text);
    }

    dumped = dump_write(s, &death, kind, code, text, now - started, id);

    log_line(level, 0, "function \"%s\": version %s slot %u pid %d %s%s%s%s, "
             "age %llu.%03u s, %u requests, %s%s%s", v->function->name,
             v->sh->id, s->index, instance_end_pid(s), how,
             death.starting ? " before it was ready" : "",
             why[0] ? ": " : "", why,
             (unsigned long long) ((now - started) / 1000),
             (unsigned) ((now - started) % 1000),
             atomic_load(&s->sh->served), request,
             dumped ? ", dump " : "", dumped ? id : "");
}


/* what is known of it beyond how it ended */

static void
instance_end_why(slot_t *s, const death_t *death, char *why, size_t size)
{
    const faas_limits_t  *l;

    why[0] = '\0';
    l = &s->version->function->limits;

    switch (death->cause) {

    case FAAS_CAUSE_TIMEOUT:
        (void) snprintf(why, size, "over its timeout of %u ms",
                        s->timeout_ms ? s->timeout_ms : l->timeout_ms);
        return;

    case FAAS_CAUSE_MEMORY:
        (void) snprintf(why, size, "over its memory of %llu bytes, it had "
                        "%llu", (unsigned long long) l->memory_bytes,
                        (unsigned long long) s->bytes);
        return;

    case FAAS_CAUSE_NOT_READY:
        (void) snprintf(why, size, "not ready in init_timeout %u ms",
                        l->init_timeout_ms);
        return;

    case FAAS_CAUSE_NOT_RETIRED:
        (void) snprintf(why, size, "it did not retire in %d ms",
                        INSTANCE_END_RETIRE_MS);
        return;

    case FAAS_CAUSE_ORPHANED:
        (void) snprintf(why, size, "its function init is gone");
        return;

    default:
        break;
    }

    if (s->refused != NULL) {
        (void) death_escape(why, size, s->refused, strlen(s->refused));

    } else if (death->oom) {
        (void) snprintf(why, size, "out of memory, by the kernel");

    } else if (s->signals == 0 && death->status != -1
               && WIFSIGNALED(death->status)
               && WTERMSIG(death->status) == SIGKILL)
    {
        (void) snprintf(why, size, "not by the host");
    }
}


/* as the supervisor sees it; else as its init does */

static int
instance_end_pid(const slot_t *s)
{
    int32_t  pid;

    pid = atomic_load(&s->sh->pid);

    return pid ? pid : s->inner_pid;
}


void
instance_end_free(slot_t *s)
{
    version_t          *v;
    function_t         *f;
    faas_slot_state_e   state;

    v = s->version;
    f = v->function;

    state = faas_slot_state(atomic_load(&s->sh->word));

    if (state == FAAS_SLOT_STARTING) {
        f->starting -= f->starting > 0;
    }

    if (s->page != NULL) {
        atomic_store(&s->page->ended, atomic_load(&s->page->begun));
    }

    faas_slot_free(supervisor.board, s->index);
    atomic_store(&s->sh->inner_pid, 0);

    slot_count(s, -1);
    slot_return(s);
    place_emptied(s);

    pool_changed(f);
    version_idle(v);
}


int
instance_end_unparented(slot_t *s)
{
    int    fd;
    pid_t  pid;

    if (s->unparented) {
        return FAAS_OK;
    }

    pid = atomic_load(&s->sh->pid);

    if (pid <= 0) {

        /* not READY yet: a child of an init that is gone ends by itself, and
           what was never forked does not end */

        if (s->inner_pid > 0) {
            instance_end_reaped(s, -1);

        } else {
            instance_end_free(s);
        }

        return FAAS_DECLINED;
    }

    fd = (int) syscall(SYS_pidfd_open, pid, 0);

    /* the descriptor is of the instance only if the instance still had the
       pid when it was opened */

    if (fd == -1 ? !is_shortage(errno) : slot_is_gone(s)) {
        if (fd != -1) {
            close(fd);
        }

        instance_end_reaped(s, -1);
        return FAAS_DECLINED;
    }

    /* without one it cannot be told whether it is gone: the next look asks
       again, since a slot whose instance lives must not be filled */

    s->process.handler = instance_end_process;
    s->process.data = s;

    s->unseen = fd == -1 || loop_add(&s->process, fd, EPOLLIN) == -1;

    if (s->unseen) {
        if (fd != -1) {
            close(fd);
        }

        patrol_soon();
        return FAAS_AGAIN;
    }

    s->unparented = 1;

    return FAAS_OK;
}


/* the init is gone, and takes what it had started along; its instances are
   waited for one by one, and helped */

void
instance_end_orphaned(version_t *v)
{
    slot_t  *s, *next;

    for (s = v->function->slots; s != NULL; s = next) {
        next = s->sibling_next;

        if (s->version != v) {
            continue;
        }

        instance_end_orphan(s);
    }
}


/*
 * The reason is there before it is looked for: it may be gone already, which
 * is told like any end.
 */

static void
instance_end_orphan(slot_t *s)
{
    instance_end_because(s, FAAS_CAUSE_ORPHANED);
    s->signals = 2;

    if (instance_end_unparented(s) != FAAS_DECLINED) {
        instance_end_kill(s, FAAS_CAUSE_ORPHANED);
    }
}


static void
instance_end_process(void *data, uint32_t events)
{
    (void) events;

    instance_end_reaped(data, -1);
}


void
instance_end_unforked(version_t *v)
{
    slot_t  *s, *next;

    for (s = v->function->slots; s != NULL; s = next) {
        next = s->sibling_next;

        if (s->version != v || s->inner_pid != 0 || s->signals > 0) {
            continue;
        }

        if (faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_STARTING)
        {
            instance_end_watch(s, INSTANCE_END_LOST_MS);

        } else {
            (void) instance_end_unparented(s);
        }
    }
}


void
instance_end_verify(void)
{
    slot_t  *s, *next;

    for (s = slot_live; s != NULL; s = next) {
        next = s->following;

        if (!instance_end_is_gone(s)) {
            continue;
        }

        if (!instance_end_expected(s, -1)) {
            instance_end_tell(s, -1);
        }

        instance_end_free(s);
    }
}


void
instance_end_all(int hard)
{
    slot_t  *s;

    for (s = slot_live; s != NULL; s = s->following) {

        if (hard) {
            instance_end_kill(s, FAAS_CAUSE_RETIRED);

        } else if (s->signals == 0) {
            s->signals = 1;
            instance_end_signal(s, SIGTERM);
        }
    }
}
