
/*
 * What may be asked on baas.sock, by whom, and how it is answered.  Questions
 * of admins are small, or end in time: the loop waits for them.
 */


#include <stdlib.h>
#include <string.h>

#include "events_server.h"
#include "events_work.h"


#define OPERATIONS_DEAD       100        /* letters in an answer, if not said */
#define OPERATIONS_DEAD_MAX   1000


/* a question and its answer */

typedef struct {
    wire_reader_t             in;
    wire_writer_t             out;
    uint32_t                  operation;
} operation_t;


/* names of queues, sorted by nobody */

typedef struct {
    char                    (*names)[QUEUE_NAME_SIZE];
    size_t                    n;
    size_t                    room;
} operation_queues_t;


typedef enum {
    OPERATION_ANYBODY = 0,     /* functions and admins */
    OPERATION_CALLS,           /* WIRE_CALLS and admins */
    OPERATION_ADMINS
} operation_access_e;


static int operation_is_allowed(const events_connection_t *c,
    operation_access_e access);
static int operation_calls(operation_t *o);
static int operation_timer_list(operation_t *o);
static int operation_dead_list(operation_t *o);
static int operation_dead_each(const queue_message_t *m, const char *reason,
    void *data);
static int operation_dead_get(operation_t *o);
static int operation_dead_retry(operation_t *o);
static int operation_dead_purge(operation_t *o);
static int operation_dead_which(operation_t *o, char *queue, char *id);
static int operation_queue_list(operation_t *o);
static int operation_queues(operation_queues_t *queues);
static int operation_queue(const char *queue, void *data);


static const struct {
    operation_access_e        access;
    int                     (*handler)(operation_t *o);    /* NULL:
                                              events_send() */
} operations[] = {
    [WIRE_SEND] = { OPERATION_ANYBODY, NULL },
    [WIRE_DEFER] = { OPERATION_ANYBODY, NULL },
    [WIRE_CALL_SUBMIT] = { OPERATION_CALLS, operation_calls },
    [WIRE_CALL_GET] = { OPERATION_CALLS, operation_calls },
    [WIRE_CALL_CANCEL] = { OPERATION_CALLS, operation_calls },
    [WIRE_DEAD_LIST] = { OPERATION_ADMINS, operation_dead_list },
    [WIRE_DEAD_GET] = { OPERATION_ADMINS, operation_dead_get },
    [WIRE_DEAD_RETRY] = { OPERATION_ADMINS, operation_dead_retry },
    [WIRE_DEAD_PURGE] = { OPERATION_ADMINS, operation_dead_purge },
    [WIRE_QUEUE_LIST] = { OPERATION_ADMINS, operation_queue_list },
    [WIRE_TIMER_LIST] = { OPERATION_ADMINS, operation_timer_list },
};

_Static_assert(sizeof(operations) / sizeof(operations[0]) == WIRE_OPERATIONS,
               "every operation has its line");


void
events_operation(events_connection_t *c, const wire_head_t *head,
    faas_bytes_t payload)
{
    int          code;
    operation_t  o;

    memset(&o, 0, sizeof(o));
    wire_read(&o.in, payload);
    o.operation = head->operation;

    if (!operation_is_allowed(c, operations[head->operation].access)) {
        code = FAAS_EDENIED;

    } else if (operations[head->operation].handler == NULL) {
        events_send(c, head, &o.in);
        return;

    } else if (events.queue == NULL || events.ending) {
        code = FAAS_EUNAVAILABLE;

    } else {
        code = operations[head->operation].handler(&o);
    }

    if (code == FAAS_OK && o.out.failed) {
        code = FAAS_ETOOLARGE;
    }

    events_connection_answer(c, head->operation, head->serial, code, &o.out);
    wire_free(&o.out);
}


static int
operation_is_allowed(const events_connection_t *c, operation_access_e access)
{
    const char  *function;

    function = events_connection_function(c);

    if (function == NULL) {
        return 1;
    }

    /* one that is not configured any more may nothing */

    if (events_settings_function(events.settings, function) == NULL) {
        return 0;
    }

    return access == OPERATION_ANYBODY
           || (access == OPERATION_CALLS
               && strcmp(function, WIRE_CALLS) == 0);
}


static int
operation_calls(operation_t *o)
{
    return events_calls_wire(o->operation, &o->in, &o->out);
}


static int
operation_timer_list(operation_t *o)
{
    return events_timers_list(&o->out);
}


/* queue (empty: all), after (id), limit -> for each: queue, id, attempts,
   died_ms, size, reason */

static int
operation_dead_list(operation_t *o)
{
    int                  code;
    char                 queue[QUEUE_NAME_SIZE], after[FAAS_MESSAGE_ID_SIZE];
    size_t               i;
    int64_t              limit;
    operation_queues_t   queues;

    (void) wire_get_text(&o->in, queue, sizeof(queue));
    (void) wire_get_text(&o->in, after, sizeof(after));
    limit = wire_get_number(&o->in);

    if (o->in.failed || limit < 0 || limit > OPERATIONS_DEAD_MAX
        || (after[0] && queue[0] == '\0'))
    {
        return FAAS_EINVAL;
    }

    if (limit == 0) {
        limit = OPERATIONS_DEAD;
    }

    memset(&queues, 0, sizeof(queues));

    code = queue[0] ? operation_queue(queue, &queues)
                    : operation_queues(&queues);

    for (i = 0; i < queues.n && code == FAAS_OK; i++) {
        code = events.queue->engine->dead(events.queue, queues.names[i],
                                          after[0] ? after : NULL,
                                          (uint32_t) limit,
                                          operation_dead_each, o,
                                          events_deadline(EVENTS_ASKED_MS));
    }

    free(queues.names);

    return code;
}


static int
operation_dead_each(const queue_message_t *m, const char *reason, void *data)
{
    operation_t  *o = data;

    wire_put_text(&o->out, m->queue);
    wire_put_text(&o->out, m->id);
    wire_put_number(&o->out, m->attempt);
    wire_put_number(&o->out, m->due_ms);
    wire_put_number(&o->out, (int64_t) m->size);
    wire_put_text(&o->out, reason);

    return 0;
}


/* queue, id -> attempts, sent_ms, died_ms, reason, data */

static int
operation_dead_get(operation_t *o)
{
    int               code;
    char              queue[QUEUE_NAME_SIZE], id[FAAS_MESSAGE_ID_SIZE];
    const char       *reason;
    events_take_t    *take;
    queue_message_t  *m;

    code = operation_dead_which(o, queue, id);

    if (code != FAAS_OK || id[0] == '\0') {
        return FAAS_EINVAL;
    }

    reason = "";
    take = events_take_create();
    m = &take->messages[0];
    code = events.queue->engine->dead_get(events.queue, queue, id, m, &reason,
                                          events_take_alloc, take,
                                          events_deadline(EVENTS_ASKED_MS));

    if (code == FAAS_OK) {
        wire_put_number(&o->out, m->attempt);
        wire_put_number(&o->out, m->sent_ms);
        wire_put_number(&o->out, m->due_ms);
        wire_put_text(&o->out, reason);
        wire_put(&o->out, m->data, m->size);
    }

    events_take_release(take);

    return code;
}


/* queue, id (empty: all of it) -> how many */

static int
operation_dead_retry(operation_t *o)
{
    int       code;
    char      queue[QUEUE_NAME_SIZE], id[FAAS_MESSAGE_ID_SIZE];
    uint64_t  n;

    if (operation_dead_which(o, queue, id) != FAAS_OK) {
        return FAAS_EINVAL;
    }

    n = 0;
    code = events.queue->engine->dead_retry(events.queue, queue,
                                            id[0] ? id : NULL, &n,
                                            events_now_ms(),
                                            events_deadline(EVENTS_ASKED_MS));
    wire_put_number(&o->out, (int64_t) n);
    events_consume_wake(queue);

    return code;
}


static int
operation_dead_purge(operation_t *o)
{
    int       code;
    char      queue[QUEUE_NAME_SIZE], id[FAAS_MESSAGE_ID_SIZE];
    uint64_t  n;

    if (operation_dead_which(o, queue, id) != FAAS_OK) {
        return FAAS_EINVAL;
    }

    n = 0;
    code = events.queue->engine->dead_purge(events.queue, queue,
                                            id[0] ? id : NULL, &n,
                                            events_deadline(EVENTS_ASKED_MS));
    wire_put_number(&o->out, (int64_t) n);

    return code;
}


static int
operation_dead_which(operation_t *o, char *queue, char *id)
{
    (void) wire_get_text(&o->in, queue, QUEUE_NAME_SIZE);
    (void) wire_get_text(&o->in, id, FAAS_MESSAGE_ID_SIZE);

    return o->in.failed || queue[0] == '\0' ? FAAS_EINVAL : FAAS_OK;
}


/* -> for each: queue, ready, delayed, leased, dead, oldest_ms */

static int
operation_queue_list(operation_t *o)
{
    int                 code;
    size_t              i;
    int64_t             now, deadline, oldest;
    queue_stats_t       stats;
    operation_queues_t  queues;

    memset(&queues, 0, sizeof(queues));
    code = operation_queues(&queues);
    now = events_now_ms();
    deadline = events_deadline(EVENTS_ASKED_MS);

    for (i = 0; i < queues.n && code == FAAS_OK; i++) {
        code = events.queue->engine->stats(events.queue, queues.names[i],
                                           &stats, now, deadline);
        if (code != FAAS_OK) {
            break;
        }

        oldest = stats.oldest_ms && stats.oldest_ms < now
                 ? now - stats.oldest_ms : 0;

        wire_put_text(&o->out, queues.names[i]);
        wire_put_number(&o->out, (int64_t) stats.ready);
        wire_put_number(&o->out, (int64_t) stats.delayed);
        wire_put_number(&o->out, (int64_t) stats.leased);
        wire_put_number(&o->out, (int64_t) stats.dead);
        wire_put_number(&o->out, oldest);
    }

    free(queues.names);

    return code;
}


/* gathered first: the engine is not asked within a visit */

static int
operation_queues(operation_queues_t *queues)
{
    return events.queue->engine->list(events.queue, operation_queue, queues,
                                      events_deadline(EVENTS_ASKED_MS));
}


static int
operation_queue(const char *queue, void *data)
{
    void                *names;
    operation_queues_t  *queues = data;

    if (queues->n == queues->room) {
        queues->room = queues->room ? queues->room * 2 : 16;
        names = realloc(queues->names, queues->room * QUEUE_NAME_SIZE);

        if (names == NULL) {
            return FAAS_ERROR;
        }

        queues->names = names;
    }

    memcpy(queues->names[queues->n], queue, strnlen(queue,
                                                    QUEUE_NAME_SIZE - 1));
    queues->names[queues->n][strnlen(queue, QUEUE_NAME_SIZE - 1)] = '\0';
    queues->n++;

    return 0;
}
