
/*
 * Group commit: SEND and DEFER of all connections of one turn of the loop go
 * to the engine at once, which makes them durable by one commit; then all are
 * answered.  While that commit waits for the disk the next ones gather in
 * their sockets, so the more there are, the less each costs.
 */


#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "events_consume.h"
#include "events_invocation.h"
#include "events_server.h"
#include "loop.h"


#define SEND_MESSAGES   1024                 /* in one commit */
#define SEND_BYTES      (8 * 1024 * 1024)
#define SEND_DELAY_MAX  (366ll * 24 * 3600 * 1000)


/* a message to be sent, and who is to be told; same index in send.messages */

typedef struct {
    events_connection_t      *connection;  /* NULL: it was closed */
    uint64_t                  serial;
    uint32_t                  operation;
    char                      queue[QUEUE_NAME_SIZE];
    char                     *data;
} send_entry_t;


static int send_check(queue_message_t *m, const char *id, int64_t delay,
    int64_t sent_ms);
static int send_to_queue(send_entry_t *entry, queue_message_t *m,
    faas_bytes_t data);
static int send_to_function(send_entry_t *entry, queue_message_t *m,
    faas_bytes_t data);
static void send_turn(void *data);
static int send_commit(int *codes);


static struct {
    size_t                    n;
    size_t                    bytes;
    loop_job_t                job;
    queue_message_t           messages[SEND_MESSAGES];
    send_entry_t              entries[SEND_MESSAGES];
} send_batch;


void
events_send_init(void)
{
    send_batch.job.handler = send_turn;
}


/* queue or function, id, data, delay_ms, sent_ms */

void
events_send(events_connection_t *c, const wire_head_t *head,
    wire_reader_t *in)
{
    int               code;
    char              id[FAAS_MESSAGE_ID_SIZE];
    int64_t           delay, sent_ms;
    faas_bytes_t      data;
    send_entry_t     *entry;
    queue_message_t  *m;

    entry = &send_batch.entries[send_batch.n];
    m = &send_batch.messages[send_batch.n];
    memset(entry, 0, sizeof(*entry));
    memset(m, 0, sizeof(*m));

    (void) wire_get_text(in, entry->queue, FAAS_NAME_SIZE);
    (void) wire_get_text(in, id, sizeof(id));
    data = wire_get(in);
    delay = wire_get_number(in);
    sent_ms = wire_get_number(in);

    code = in->failed || wire_has_more(in)
           ? FAAS_EINVAL : send_check(m, id, delay, sent_ms);

    if (code == FAAS_OK && data.size > FAAS_MESSAGE_MAX) {
        code = FAAS_ETOOLARGE;
    }

    if (code == FAAS_OK) {
        code = head->operation == WIRE_SEND ? send_to_queue(entry, m, data)
                                            : send_to_function(entry, m, data);
    }

    if (code != FAAS_OK) {
        events_connection_answer(c, head->operation, head->serial, code,
                                 NULL);
        return;
    }

    m->queue = entry->queue;
    m->data = entry->data;
    entry->connection = c;
    entry->operation = head->operation;
    entry->serial = head->serial;
    events_connection_owes(c, 1);

    send_batch.n++;
    send_batch.bytes += m->size;

    if (send_batch.n == SEND_MESSAGES || send_batch.bytes >= SEND_BYTES) {
        events_send_flush();

    } else {
        loop_post(&send_batch.job);
    }
}


void
events_send_flush(void)
{
    int            rc;
    int            codes[SEND_MESSAGES];
    size_t         i, n;
    send_entry_t  *entry;

    n = send_batch.n;

    if (n == 0) {
        return;
    }

    rc = send_commit(codes);

    for (i = 0; i < n; i++) {
        entry = &send_batch.entries[i];

        if (codes[i] == INT_MAX) {
            codes[i] = rc;
        }

        if (entry->connection != NULL) {
            events_connection_owes(entry->connection, -1);
            events_connection_answer(entry->connection, entry->operation,
                                     entry->serial, codes[i], NULL);
        }

        if (codes[i] == FAAS_OK) {
            events_consume_wake_at(entry->queue,
                                   send_batch.messages[i].due_ms);
        }

        free(entry->data);
    }

    send_batch.n = 0;
    send_batch.bytes = 0;
    loop_withdraw(&send_batch.job);
}


void
events_send_forget(const events_connection_t *c)
{
    size_t  i;

    for (i = 0; i < send_batch.n; i++) {

        if (send_batch.entries[i].connection == c) {
            send_batch.entries[i].connection = NULL;
        }
    }
}


/* an id is asked for, since a repetition must have the same; what was sent
   before (an outbox's leftover) is due by its own time */

static int
send_check(queue_message_t *m, const char *id, int64_t delay,
    int64_t sent_ms)
{
    int64_t  now;

    if (!events_id_is_valid(id) || delay < 0 || delay > SEND_DELAY_MAX) {
        return FAAS_EINVAL;
    }

    now = events_now_ms();
    memcpy(m->id, id, strlen(id) + 1);
    m->sent_ms = sent_ms > 0 && sent_ms < now ? sent_ms : now;
    m->due_ms = delay ? m->sent_ms + delay : 0;

    return FAAS_OK;
}


static int
send_to_queue(send_entry_t *entry, queue_message_t *m, faas_bytes_t data)
{
    if (!faas_name_is_valid(entry->queue, strlen(entry->queue))) {
        return FAAS_EINVAL;
    }

    entry->data = malloc(data.size ? data.size : 1);
    if (entry->data == NULL) {
        return FAAS_ERROR;
    }

    memcpy(entry->data, data.data, data.size);
    m->size = data.size;

    return FAAS_OK;
}


/* a call that is to be made later, in the function's own queue */

static int
send_to_function(send_entry_t *entry, queue_message_t *m, faas_bytes_t data)
{
    char                  name[FAAS_NAME_SIZE];
    wire_writer_t         w;
    events_invocation_t   invocation;

    memcpy(name, entry->queue, sizeof(name));

    if (!faas_name_is_valid(name, strlen(name))) {
        return FAAS_EINVAL;
    }

    if (events_settings_function(events.settings, name) == NULL) {
        return FAAS_ENOTFOUND;
    }

    memset(&invocation, 0, sizeof(invocation));
    invocation.kind = EVENTS_DEFER;
    invocation.method = "POST";
    invocation.body = data;
    invocation.due_ms = m->due_ms;

    memset(&w, 0, sizeof(w));
    events_invocation_encode(&w, &invocation);

    if (w.failed) {
        wire_free(&w);
        return FAAS_ERROR;
    }

    entry->queue[0] = '@';
    memcpy(entry->queue + 1, name, sizeof(name));
    entry->data = w.data;
    m->size = w.size;

    return FAAS_OK;
}


static void
send_turn(void *data)
{
    (void) data;

    events_send_flush();
}


static int
send_commit(int *codes)
{
    size_t  i;

    if (events.queue == NULL || events.ending) {

        for (i = 0; i < send_batch.n; i++) {
            codes[i] = FAAS_EUNAVAILABLE;
        }

        return FAAS_EUNAVAILABLE;
    }

    for (i = 0; i < send_batch.n; i++) {
        codes[i] = INT_MAX;
    }

    return events.queue->engine->send(events.queue, send_batch.messages,
                                      codes, send_batch.n, events_now_ms(),
                                      events_deadline(EVENTS_ASKED_MS));
}
