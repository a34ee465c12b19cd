
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "log.h"
#include "loop.h"
#include "tender_send.h"
#include "wire.h"


#define TENDER_SEND_MS       500       /* for one message */
#define TENDER_SEND_BACKOFF  30000


typedef struct tender_block_s  tender_block_t;

struct tender_block_s {
    tender_block_t           *next;
    max_align_t               memory[];
};


struct tender_send_s {
    client_t                 *client;
    tender_block_t           *blocks;      /* of an answer */
    uint64_t                  sent;
    char                      name[];
};


static int tender_send_each(uint32_t operation, faas_bytes_t payload,
    void *data);
static void tender_send_failed(int code);
static void *tender_send_alloc(void *data, size_t n);
static void tender_send_log(void *data, const char *line);


/* the events process is one for all functions */

static struct {
    int64_t                   not_before_ms;   /* CLOCK_MONOTONIC */
    int64_t                   backoff_ms;      /* 0: it is there */
} tender_events;


tender_send_t *
tender_send_create(const char *state, const char *name, const char *token)
{
    char           *path;
    tender_send_t  *s;

    s = calloc(1, sizeof(tender_send_t) + strlen(name) + 1);
    if (s == NULL) {
        return NULL;
    }

    strcpy(s->name, name);

    if (asprintf(&path, "%s/baas.sock", state) == -1) {
        free(s);
        return NULL;
    }

    s->client = client_create(path, name, token);
    free(path);

    if (s->client == NULL) {
        free(s);
        return NULL;
    }

    return s;
}


void
tender_send_destroy(tender_send_t *s)
{
    if (s == NULL) {
        return;
    }

    client_destroy(s->client);
    free(s);
}


int
tender_send(tender_send_t *s, database_t *d, int64_t age_ms, int64_t now_ms)
{
    int  rc;

    if (now_ms < tender_events.not_before_ms) {
        return FAAS_EUNAVAILABLE;
    }

    s->sent = 0;

    rc = database_outbox(d, age_ms, tender_send_each, s);

    if (s->sent != 0) {
        log_line(LOG_NOTICE, 0, "%s: sent %llu messages that were left in "
                 "its outbox", s->name, (unsigned long long) s->sent);
    }

    return rc;
}


/* 0: it can be forgotten */

static int
tender_send_each(uint32_t operation, faas_bytes_t payload, void *data)
{
    baas_scope_t        scope;
    tender_send_t      *s = data;
    tender_block_t     *block;
    client_question_t   q;

    memset(&scope, 0, sizeof(scope));

    scope.deadline_ms = (int64_t) (loop_clock_us() / 1000) + TENDER_SEND_MS;
    scope.request_id = "";
    scope.traceparent = "";
    scope.tracestate = "";
    scope.alloc = tender_send_alloc;
    scope.log = tender_send_log;
    scope.data = s;

    memset(&q, 0, sizeof(q));

    q.operation = operation;
    q.payload = payload;

    client_ask(s->client, &q, 1, &scope);

    while (s->blocks != NULL) {
        block = s->blocks;
        s->blocks = block->next;
        free(block);
    }

    switch (q.code) {

    case FAAS_OK:
        tender_events.backoff_ms = 0;
        s->sent++;
        return 0;

    case FAAS_EINVAL:
    case FAAS_ETOOLARGE:
    case FAAS_ENOTFOUND:

        /* it will never be taken, and what is behind it shall be */

        log_line(LOG_ERROR, 0, "%s: a message that was committed is refused: "
                 "%d", s->name, q.code);
        return 0;

    default:
        tender_send_failed(q.code);
        return q.code;
    }
}


static void
tender_send_failed(int code)
{
    if (code != FAAS_EUNAVAILABLE && code != FAAS_ETIMEDOUT) {
        return;
    }

    if (tender_events.backoff_ms == 0) {
        log_line(LOG_WARN, 0, "messages are left in outboxes: the events "
                 "process does not answer");
        tender_events.backoff_ms = 500;
    }

    tender_events.backoff_ms *= 2;

    if (tender_events.backoff_ms > TENDER_SEND_BACKOFF) {
        tender_events.backoff_ms = TENDER_SEND_BACKOFF;
    }

    tender_events.not_before_ms = (int64_t) (loop_clock_us() / 1000)
                                  + tender_events.backoff_ms;
}


static void *
tender_send_alloc(void *data, size_t n)
{
    tender_send_t   *s = data;
    tender_block_t  *block;

    block = calloc(1, sizeof(tender_block_t) + n);
    if (block == NULL) {
        return NULL;
    }

    block->next = s->blocks;
    s->blocks = block;

    return block->memory;
}


static void
tender_send_log(void *data, const char *line)
{
    tender_send_t  *s = data;

    log_line(LOG_WARN, 0, "%s: %s", s->name, line);
}
