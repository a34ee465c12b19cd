
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "instance_end.h"
#include "lineage.h"
#include "lineage_read.h"
#include "log.h"
#include "place.h"
#include "pool.h"


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
static void instance_end_process(void *data, uint32_t events);
static int instance_end_expected(const slot_t *s, int status);
static void instance_end_tell(slot_t *s, int status);


void
instance_end_watch(slot_t *s, uint32_t timeout_ms)
{
    s->timer.handler = instance_end_timer;
    s->timer.data = s;

    loop_arm(&s->timer, loop_now_ms() + timeout_ms);
}


void
instance_end_ask(slot_t *s, const char *cause)
{
    s->signals = 1;
    s->cause = cause;

    instance_end_signal(s, SIGTERM);
    instance_end_watch(s, cause ? INSTANCE_END_KILL_MS
                                : INSTANCE_END_RETIRE_MS);
}


void
instance_end_kill(slot_t *s, const char *cause)
{
    s->signals = 2;
    s->cause = cause;

    instance_end_signal(s, SIGKILL);
    instance_end_watch(s, INSTANCE_END_AGAIN_MS);
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
    slot_t      *s;
    function_t  *f;

    s = data;
    f = s->version->function;

    if (s->inner_pid == 0 && !s->unparented) {
        instance_end_lost(s);
        return;
    }

    switch (s->signals) {

    case 0:
        function_error(f, LOG_ERROR, "version %s slot %u pid %d was not "
                       "ready in init_timeout %u ms", s->version->sh->id,
                       s->index, (int) s->inner_pid,
                       f->limits.init_timeout_ms);
        s->told = 1;
        instance_end_kill(s, "not ready in time");
        return;

    case 1:
        instance_end_kill(s, s->cause ? s->cause : "it did not retire");
        return;

    default:
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
        instance_end_unparented(s);

        if (s->process.fd != -1) {
            instance_end_kill(s, s->cause);
        }

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
    int          expected;
    function_t  *f;

    f = s->version->function;
    expected = instance_end_expected(s, status);

    if (!expected || s->cause != NULL) {
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

    pool_died(f);
}


/* 1 when it ended as it should, or because we wanted it to */

static int
instance_end_expected(const slot_t *s, int status)
{
    if (faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_STARTING
        && !supervisor.draining)
    {
        return 0;
    }

    if (s->signals > 0 || supervisor.draining) {
        return 1;
    }

    if (status != -1 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        return 0;
    }

    return s->retired || (slot_is_spent(s) && !slot_is_running(s));
}


static void
instance_end_tell(slot_t *s, int status)
{
    char         how[96];
    uint64_t     now, started;
    version_t   *v;
    const char  *ready;

    if (s->told || supervisor.draining) {
        return;
    }

    v = s->version;
    now = loop_now_ms();
    started = atomic_load(&s->sh->started_ms);
    ready = "";

    if (faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_STARTING) {
        started = s->forked_us / 1000;
        ready = " before it was ready";
    }

    instance_end_describe(status, how, sizeof(how));

    function_error(v->function, s->cause ? LOG_WARN : LOG_ERROR,
                   "version %s slot %u pid %d %s%s%s%s, age %llu.%03u s, "
                   "%u requests", v->sh->id, s->index,
                   (int) (atomic_load(&s->sh->pid)
                          ? atomic_load(&s->sh->pid) : s->inner_pid),
                   how, ready, s->cause ? ": " : "",
                   s->cause ? s->cause : "",
                   (unsigned long long)
                       (started && now > started ? (now - started) / 1000
                                                 : 0),
                   (unsigned) (started && now > started
                               ? (now - started) % 1000 : 0),
                   atomic_load(&s->sh->served));
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

    if ((state == FAAS_SLOT_RETIRING
         || (state == FAAS_SLOT_CONDEMNED && s->signals > 0))
        && f->ending > 0)
    {
        f->ending--;
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


void
instance_end_unparented(slot_t *s)
{
    int    fd;
    pid_t  pid;

    if (s->unparented) {
        return;
    }

    pid = atomic_load(&s->sh->pid);
    fd = pid > 0 ? (int) syscall(SYS_pidfd_open, pid, 0) : -1;

    s->unparented = 1;
    s->process.handler = instance_end_process;
    s->process.data = s;

    if (fd == -1 || loop_add(&s->process, fd, EPOLLIN) == -1) {
        if (fd != -1) {
            close(fd);
        }

        instance_end_free(s);
    }
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

        instance_end_unparented(s);

        if (s->process.fd != -1) {
            instance_end_kill(s, NULL);
        }
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
            instance_end_unparented(s);
        }
    }
}


void
instance_end_verify(void)
{
    pid_t    pid;
    slot_t  *s, *next;

    for (s = slot_live; s != NULL; s = next) {
        next = s->following;
        pid = atomic_load(&s->sh->pid);

        if (pid > 0 && kill(pid, 0) == -1 && errno == ESRCH) {
            instance_end_free(s);
        }
    }
}


void
instance_end_all(int hard)
{
    slot_t  *s;

    for (s = slot_live; s != NULL; s = s->following) {

        if (hard) {
            instance_end_kill(s, NULL);

        } else if (s->signals == 0) {
            s->signals = 1;
            instance_end_signal(s, SIGTERM);
        }
    }
}


void
instance_end_describe(int status, char *buf, size_t size)
{
    if (status == -1) {
        (void) snprintf(buf, size, "ended");

    } else if (WIFSIGNALED(status)) {
        (void) snprintf(buf, size, "was killed by signal %d (%s)",
                        WTERMSIG(status), strsignal(WTERMSIG(status)));

    } else {
        (void) snprintf(buf, size, "exited with code %d",
                        WEXITSTATUS(status));
    }
}
