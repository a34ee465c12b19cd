
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "death.h"
#include "instance_end.h"
#include "lineage.h"
#include "lineage_read.h"
#include "log.h"
#include "pool.h"
#include "report.h"
#include "shortage.h"
#include "zygote_link.h"


/* messages taken from one channel before others have their turn */
#define LINEAGE_READ_SHARE  256


static int lineage_read_init(version_t *v);
static void lineage_read_failed(version_t *v, const message_in_t *in);
static void lineage_read_report(version_t *v, const message_in_t *in);
static void lineage_read_ready(version_t *v, const message_in_t *in);
static void lineage_read_loaded(version_t *v, const message_in_t *in);
static void lineage_read_exited(version_t *v, const message_t *m);
static void lineage_read_close(message_in_t *in);


/* one for each kind of channel: a message of one may make us read another */

static char  lineage_read_text[MESSAGE_TEXT];
static char  lineage_read_template_text[MESSAGE_TEXT];
static char  lineage_read_report_text[MESSAGE_TEXT];


void
lineage_read_init_events(void *data, uint32_t events)
{
    version_t  *v;

    (void) events;

    v = data;

    if (lineage_read_init(v) != FAAS_DONE) {
        return;
    }

    /* what the zygote and the template said before comes first */

    zygote_link_read();

    if (v->template.fd != -1) {
        (void) lineage_read_template(v);
    }

    lineage_closed(v);
}


static int
lineage_read_init(version_t *v)
{
    int           rc, n;
    message_in_t  in;

    for (n = 0; n < LINEAGE_READ_SHARE && v->init.fd != -1; n++) {

        rc = message_recv(v->init.fd, &in, lineage_read_text,
                          sizeof(lineage_read_text));

        if (rc == FAAS_AGAIN) {
            return FAAS_OK;
        }

        if (rc != FAAS_OK) {
            return FAAS_DONE;
        }

        lineage_read_close(&in);

        switch (in.head.type) {

        case MESSAGE_TEMPLATE:
            v->template_pid = in.head.pid;
            break;

        case MESSAGE_EXITED:
            lineage_read_exited(v, &in.head);
            break;

        default:
            log_line(LOG_ALERT, 0, "function \"%s\": its init sent message "
                     "%u", v->function->name, in.head.type);
            lineage_end(v);
        }
    }

    return FAAS_OK;
}


void
lineage_read_template_events(void *data, uint32_t events)
{
    version_t  *v;

    (void) events;

    v = data;

    if (lineage_read_template(v) != FAAS_DONE) {
        return;
    }

    lineage_template_closed(v);
}


int
lineage_read_template(version_t *v)
{
    int           rc, n;
    message_in_t  in;

    for (n = 0; n < LINEAGE_READ_SHARE && v->template.fd != -1; n++) {

        rc = message_recv(v->template.fd, &in, lineage_read_template_text,
                          sizeof(lineage_read_template_text));

        if (rc == FAAS_AGAIN) {
            return FAAS_OK;
        }

        if (rc != FAAS_OK) {
            return FAAS_DONE;
        }

        lineage_read_close(&in);

        switch (in.head.type) {

        case MESSAGE_LOADED:
            lineage_read_loaded(v, &in);
            break;

        case MESSAGE_FORKED:
            v->forks -= v->forks > 0;
            report_forked(v, in.head.slot, in.head.generation, in.head.pid);
            break;

        case MESSAGE_FAILED:
            if (v->lineage == LINEAGE_STARTING) {
                lineage_read_failed(v, &in);

            } else {
                v->forks -= v->forks > 0;
                report_fork_failed(v, in.head.slot, in.head.generation,
                                   in.head.status);
            }

            break;

        default:
            log_line(LOG_ALERT, 0, "function \"%s\": its template sent "
                     "message %u", v->function->name, in.head.type);
            return FAAS_DONE;
        }
    }

    return FAAS_OK;
}


static void
lineage_read_failed(version_t *v, const message_in_t *in)
{
    const char  *why;

    why = in->text[0] ? in->text : strerror(in->head.status);

    if (is_shortage(in->head.status)) {
        lineage_not_started(v->index, why);
        return;
    }

    loop_disarm(&v->timer);
    version_failed(v, why);
}


void
lineage_read_report_events(void *data, uint32_t events)
{
    (void) events;

    lineage_read_reports(data);
}


void
lineage_read_reports(version_t *v)
{
    int           rc, n;
    message_in_t  in;

    for (n = 0; n < LINEAGE_READ_SHARE && v->report.fd != -1; n++) {

        rc = message_recv(v->report.fd, &in, lineage_read_report_text,
                          sizeof(lineage_read_report_text));

        if (rc == FAAS_OK) {
            lineage_read_close(&in);
            lineage_read_report(v, &in);
            continue;
        }

        if (rc == FAAS_ERROR && errno == EPROTO) {
            continue;    /* not of our form: dropped */
        }

        if (rc != FAAS_AGAIN) {

            /* nobody is left who could write; the init's end tells more */

            lineage_drop(v, "report", &v->report);
        }

        return;
    }
}


static void
lineage_read_report(version_t *v, const message_in_t *in)
{
    const message_t  *m;

    m = &in->head;

    switch (m->type) {

    case MESSAGE_READY:
        lineage_read_ready(v, in);
        break;

    case MESSAGE_FAILED:
        report_refused(v, m->slot, m->generation, in->text);
        break;

    case MESSAGE_FREE:
        /* it may have said READY to a supervisor that died */

        lineage_read_ready(v, in);
        report_freed(v, m->slot, m->generation);
        break;

    case MESSAGE_RETIRED:
        report_retired(v, m->slot, m->generation);
        break;
    }
}


/* any process of the function can send on this channel */

static void
lineage_read_ready(version_t *v, const message_in_t *in)
{
    slot_t  *s;

    s = slot_of(v, in->head.slot, in->head.generation);

    if (s != NULL
        && faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_STARTING
        && slot_identify(s, in->sender))
    {
        report_ready(v, in->head.slot, in->head.generation, in->sender);
    }
}


static void
lineage_read_loaded(version_t *v, const message_in_t *in)
{
    if (v->lineage != LINEAGE_STARTING) {
        return;
    }

    v->lineage = LINEAGE_LIVE;
    loop_disarm(&v->timer);

    atomic_store(&v->sh->template_pid, in->sender ? in->sender
                                                  : v->template_pid);

    version_loaded(v, in->text, in->head.text_length);
}


/*
 * A child of the init has ended.  Of an instance the template said before
 * that it was forked, but on another channel.
 */

static void
lineage_read_exited(version_t *v, const message_t *m)
{
    char  how[128];

    if (m->pid == v->template_pid) {

        if (v->template.fd != -1) {
            (void) lineage_read_template(v);
        }

        death_describe(m->status, how, sizeof(how));
        lineage_template_gone(v, how);
        return;
    }

    if (slot_by_pid(v, m->pid) == NULL && v->template.fd != -1) {
        (void) lineage_read_template(v);
    }

    instance_end_exited(v, m->pid, m->status);
}


static void
lineage_read_close(message_in_t *in)
{
    while (in->nfds > 0) {
        close(in->fd[--in->nfds]);
    }
}
