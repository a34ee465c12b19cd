
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "deposit.h"
#include "instance_end.h"
#include "lineage.h"
#include "lineage_read.h"
#include "log.h"
#include "pool.h"
#include "process.h"
#include "template.h"
#include "zygote_link.h"


/* a lineage that was told to end is killed after so long */
#define LINEAGE_END_MS    2000


static void lineage_restart(version_t *v, uint32_t delay_ms);


/* closes what was made for a start that did not come about */

void
lineage_abandon(version_t *v)
{
    lineage_drop(v, "init", &v->init);
    lineage_drop(v, "template", &v->template);
    lineage_drop(v, "report", &v->report);

    v->asked = 0;
    v->lineage = LINEAGE_NONE;
    atomic_store(&v->sh->init_pid, 0);
    loop_disarm(&v->timer);
}


void
lineage_adopt(version_t *v)
{
    int                   read_end, write_end;
    faas_version_state_e  state;

    struct {
        const char    *name;
        loop_event_t  *event;
        void         (*handler)(void *data, uint32_t events);
    } *c, channels[] = {
        { "init", &v->init, lineage_read_init_events },
        { "template", &v->template, lineage_read_template_events },
        { "report", &v->report, lineage_read_report_events }
    };

    v->timer.handler = lineage_timer;
    v->timer.data = v;

    for (c = channels; c < channels + 3; c++) {
        int  fd;

        fd = deposit_take("v/%u/%s", v->index, c->name);
        c->event->handler = c->handler;
        c->event->data = v;

        if (fd != -1 && loop_add(c->event, fd, EPOLLIN) == -1) {
            close(fd);
        }
    }

    read_end = deposit_take("v/%u/log-read", v->index);
    write_end = deposit_take("v/%u/log-write", v->index);

    if (read_end != -1 && write_end != -1
        && journal_open(&v->journal, read_end, write_end) == 0)
    {
        journal_owner(&v->journal, &v->function->journal, v->sh->id, -1, 0);
    }

    state = atomic_load(&v->sh->state);

    if (v->init.fd == -1) {
        lineage_drop(v, "template", &v->template);
        lineage_drop(v, "report", &v->report);
        v->lineage = LINEAGE_NONE;

        /* what was about to be started, is */

        if (state == FAAS_VERSION_LOADING) {
            loop_arm(&v->timer, loop_now_ms());
        }

        return;
    }

    if (v->template.fd == -1) {
        v->lineage = LINEAGE_BARREN;
        return;
    }

    if (atomic_load(&v->sh->template_pid) != 0) {
        v->template_pid = atomic_load(&v->sh->template_pid);
        v->lineage = LINEAGE_LIVE;
        return;
    }

    /*
     * It was being loaded, and what it said of that, or START itself, may
     * have gone with our predecessor: it is loaded anew
     */

    lineage_abandon(v);

    if (state == FAAS_VERSION_LOADING) {
        loop_arm(&v->timer, loop_now_ms());
    }
}


int
lineage_fork(version_t *v, slot_t *slot, const faas_limits_t *limits)
{
    int        fd[FORK_FDS_MOST], rc;
    message_t  m;

    if (v->lineage != LINEAGE_LIVE) {
        return FAAS_ERROR;
    }

    memset(&m, 0, sizeof(m));

    m.type = MESSAGE_FORK;
    m.index = v->index;
    m.slot = slot->index;
    m.generation = slot->generation;
    m.timeout_ms = limits->timeout_ms;
    m.max_requests = limits->max_requests;
    m.memory_bytes = limits->memory_bytes;
    m.flags = limits->mode == FAAS_MODE_ONESHOT ? MESSAGE_ONESHOT : 0;

    fd[FORK_FD_LISTEN] = slot->listen;
    fd[FORK_FD_PAGE] = slot->page_fd;
    fd[FORK_FD_LOG] = slot->journal.write;
    fd[FORK_FD_CORE] = slot->core;

    rc = message_send(v->template.fd, &m, NULL, 0, fd,
                      slot->core == -1 ? FORK_FDS : FORK_FDS_MOST);

    if (rc == FAAS_OK) {
        v->forks++;
    }

    return rc;
}


int
lineage_kill(version_t *v, int32_t inner_pid, int signo)
{
    message_t  m;

    if (v->init.fd == -1 || inner_pid <= 0) {
        return -1;
    }

    memset(&m, 0, sizeof(m));

    m.type = MESSAGE_KILL;
    m.index = v->index;
    m.pid = inner_pid;
    m.status = signo;

    return message_send(v->init.fd, &m, NULL, 0, NULL, 0) == FAAS_OK ? 0 : -1;
}


void
lineage_end(version_t *v)
{
    if (v->lineage == LINEAGE_NONE || v->lineage == LINEAGE_ENDING) {
        return;
    }

    v->lineage = LINEAGE_ENDING;

    lineage_close_template(v);

    /* the init reads an end of file, kills what is left, and ends; we go on
       reading until its own end is closed */

    if (shutdown(v->init.fd, SHUT_WR) == -1) {
        log_line(LOG_ALERT, errno, "shutdown failed for an init channel");
    }

    loop_arm(&v->timer, loop_now_ms() + LINEAGE_END_MS);
}


void
lineage_started(uint32_t index, int32_t pid)
{
    version_t  *v;

    v = version_at(index);

    if (v != NULL && v->asked) {
        v->asked = 0;
        atomic_store(&v->sh->init_pid, pid);
    }
}


void
lineage_not_started(uint32_t index, const char *why)
{
    version_t  *v;

    v = version_at(index);

    if (v == NULL || v->lineage != LINEAGE_STARTING) {
        return;
    }

    function_error_again(v->function, "version %s could not be started, "
                         "trying again: %s", v->sh->id, why);

    lineage_abandon(v);
    lineage_restart(v, LINEAGE_AGAIN_MS);
}


void
lineage_zygote_died(void)
{
    function_t  *f;
    version_t   *v;

    for (f = function_list; f != NULL; f = f->next) {
        for (v = f->versions; v != NULL; v = v->next) {

            if (!v->asked) {
                continue;
            }

            /* if the init is there after all, it sees its channels' end */

            lineage_abandon(v);
            lineage_restart(v, 10);
        }
    }
}


static void
lineage_restart(version_t *v, uint32_t delay_ms)
{
    switch (atomic_load(&v->sh->state)) {

    case FAAS_VERSION_LOADING:
        loop_arm(&v->timer, loop_now_ms() + delay_ms);
        break;

    case FAAS_VERSION_READY:
        pool_died(v->function, 0);
        break;

    default:
        version_idle(v);
    }
}


void
lineage_template_closed(version_t *v)
{
    if (v->lineage == LINEAGE_STARTING) {

        /* how it ended is known to the init, and said soon */

        lineage_close_template(v);
        loop_arm(&v->timer, loop_now_ms() + LINEAGE_GRACE_MS);
        return;
    }

    lineage_template_gone(v, "closed its channel");
}


/*
 * By the process itself: the list of children leaves some out when others end
 * while it is read, proc(5).
 */

int
lineage_has(const version_t *v, int32_t pid)
{
    int32_t    init;
    process_t  p;

    init = atomic_load(&v->sh->init_pid);

    if (init <= 0 || v->lineage == LINEAGE_NONE) {
        return 1;
    }

    switch (process_look(pid, &p)) {

    case FAAS_OK:
        return p.parent == init;

    case FAAS_DONE:
        return 0;

    default:
        return 1;
    }
}


int
lineage_kill_strays(version_t *v)
{
    int      n;
    char     path[64];
    FILE    *children;
    slot_t  *s;
    int32_t  init, pid;

    init = atomic_load(&v->sh->init_pid);

    if (init <= 0 || v->lineage == LINEAGE_NONE) {
        return 0;
    }

    (void) snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
                    (int) init, (int) init);

    children = fopen(path, "re");

    if (children == NULL) {
        return 0;
    }

    n = 0;

    while (fscanf(children, "%d", &pid) == 1) {

        if (pid == atomic_load(&v->sh->template_pid)
            || pid == v->template_pid)
        {
            continue;
        }

        for (s = v->function->slots; s != NULL; s = s->sibling_next) {
            if (s->version == v
                && (s->inner_pid == pid || atomic_load(&s->sh->pid) == pid))
            {
                break;
            }
        }

        if (s == NULL) {
            lineage_kill_stray(v, pid);
            n++;
        }
    }

    (void) fclose(children);

    return n;
}


void
lineage_kill_stray(version_t *v, int32_t inner_pid)
{
    log_line(LOG_WARN, 0, "function \"%s\": version %s pid %d is in no slot, "
             "it is killed", v->function->name, v->sh->id, (int) inner_pid);

    (void) lineage_kill(v, inner_pid, SIGKILL);
}


/* killed: one that is stopped amid a fork would keep the init from telling of
   any end, and what it still has to fork would come later */

void
lineage_give_up(version_t *v)
{
    (void) lineage_kill(v, v->template_pid, SIGKILL);
    lineage_template_gone(v, "does not answer");
}


void
lineage_template_gone(version_t *v, const char *how)
{
    char         why[SETTINGS_WHY_SIZE];
    function_t  *f;

    f = v->function;

    switch (v->lineage) {

    case LINEAGE_STARTING:
        (void) snprintf(why, sizeof(why), "its template %.96s before it was "
                        "loaded", how);
        loop_disarm(&v->timer);
        version_failed(v, why);
        return;

    case LINEAGE_LIVE:
        log_line(LOG_ERROR, 0, "function \"%s\": version %s template pid %d "
                 "%s", f->name, v->sh->id,
                 (int) atomic_load(&v->sh->template_pid), how);

        faas_tally_add(&f->sh->tally, FAAS_DEATH_TEMPLATE, 0,
                       FAAS_INDEX_NONE, v->sh->id, (uint64_t) time(NULL));

        lineage_close_template(v);
        v->lineage = LINEAGE_BARREN;
        v->forks = 0;
        pool_died(f, 0);
        instance_end_unforked(v);
        version_idle(v);
        return;

    default:
        return;
    }
}


void
lineage_close_template(version_t *v)
{
    lineage_drop(v, "template", &v->template);
    atomic_store(&v->sh->template_pid, 0);
}


/* the init has ended, and all that it started */

void
lineage_closed(version_t *v)
{
    int  expected;

    expected = v->lineage == LINEAGE_ENDING;

    if (!expected && v->lineage != LINEAGE_STARTING) {
        log_line(LOG_ERROR, 0, "function \"%s\": version %s init pid %d is "
                 "gone, its %u instances end", v->function->name, v->sh->id,
                 (int) atomic_load(&v->sh->init_pid), v->live);
    }

    loop_disarm(&v->timer);

    lineage_close_template(v);
    lineage_drop(v, "init", &v->init);

    /* what instances said last */

    if (v->report.fd != -1) {
        lineage_read_reports(v);
    }

    lineage_drop(v, "report", &v->report);

    v->asked = 0;
    v->forks = 0;
    v->template_pid = 0;
    v->lineage = LINEAGE_NONE;

    version_lineage_ended(v);
}


void
lineage_drop(version_t *v, const char *name, loop_event_t *e)
{
    int  fd;

    fd = loop_remove(e);

    if (fd != -1) {
        deposit_remove("v/%u/%s", v->index, name);
        close(fd);
    }
}


void
lineage_timer(void *data)
{
    char        why[SETTINGS_WHY_SIZE];
    int32_t     pid;
    version_t  *v;

    v = data;

    switch (v->lineage) {

    case LINEAGE_NONE:
        if (atomic_load(&v->sh->state) == FAAS_VERSION_LOADING
            && lineage_start(v, why) == FAAS_ERROR)
        {
            version_failed(v, why);
        }

        break;

    case LINEAGE_STARTING:
        if (v->asked) {
            zygote_link_stuck();    /* it has not even begun */
            break;
        }

        (void) snprintf(why, sizeof(why), v->template.fd == -1
                        ? "its template ended without a word"
                        : "it was not loaded in init_timeout %u ms",
                        v->function->limits.init_timeout_ms);
        version_failed(v, why);
        break;

    case LINEAGE_LIVE:
        if (v->live == 0) {
            log_line(LOG_INFO, 0, "function \"%s\": template of version %s "
                     "was idle, it ends", v->function->name, v->sh->id);
            lineage_end(v);
        }

        break;

    case LINEAGE_BARREN:
        break;

    case LINEAGE_ENDING:
        pid = atomic_load(&v->sh->init_pid);

        if (pid > 0) {
            log_line(LOG_WARN, 0, "function \"%s\": version %s init pid %d "
                     "does not end, it is killed", v->function->name,
                     v->sh->id, (int) pid);
            (void) kill(pid, SIGKILL);
        }

        loop_arm(&v->timer, loop_now_ms() + LINEAGE_END_MS);
        break;
    }
}
