
/*
 * What lies in a function's own queue "@NAME", run: deferred calls, timers,
 * async calls, and callbacks.  One message is one run:
 *
 *   begun --> called --> [stored --> told] --> settled
 *
 * stored and told are steps of async calls: the answer into the record, and a
 * message for the callback.  Both may be repeated without harm, so a step
 * that the engine does not take is tried again, and one that was cut short
 * by the end of the process is done by whoever gets the message next: he
 * finds the record ended, and goes on behind it.
 *
 * A record's state is changed by compare-and-swap alone, so of an end and a
 * cancellation one wins.  A call that was cancelled elsewhere is found by a
 * look every RUN_LOOK_MS.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls_document.h"
#include "events_callback.h"
#include "events_calls.h"
#include "events_invocation.h"
#include "events_settle.h"
#include "log.h"
#include "loop.h"


#define RUN_LOOK_MS      2000
#define RUN_AGAIN_MS     500       /* the engine did not take a step */
#define RUN_TRIES        240
#define RUN_CALLBACK_MS  30000
#define RUN_ANSWER       1024      /* bytes of one that nobody reads */
#define RUN_BYTES        "Content-Type: application/octet-stream\n"
#define RUN_JSON         "Content-Type: application/json\n"

/* beside the codes of faas.h: there is nothing to be called */
#define RUN_ENDED  1


typedef struct run_s  run_t;

struct run_s {
    events_work_t            *work;
    const queue_message_t    *message;
    events_invocation_t       i;           /* inside the message */
    char                      function[FAAS_NAME_SIZE];
    events_delivery_t        *delivery;    /* while it is called */
    uint64_t                  begun_ms;    /* CLOCK_MONOTONIC */

    /* of an async call */
    int                       recorded;    /* there is a record */
    uint32_t                  attempts;    /* as it is in there */
    int64_t                   created_ms;
    int                       ended;       /* state and record are the end */
    uint32_t                  state;
    events_record_t           record;      /* with answer's bytes */
    char                     *answer;      /* malloc()ed: headers, body */
    int                       stored;
    unsigned                  tries;
    loop_timer_t              again;

    char                     *document;    /* of a callback */
    events_verdict_t          verdict;
    char                      reason[QUEUE_REASON_SIZE];

    run_t                    *next;
    run_t                    *prev;
};


static run_t *run_create(events_work_t *work);
static void run_destroy(run_t *run);
static void run_expired(run_t *run);
static void run_call(run_t *run);
static void run_call_done(const events_answer_t *answer, void *data);
static void run_async(run_t *run);
static int run_async_begin(run_t *run);
static int run_async_ended(run_t *run, const queue_call_t *c,
    const events_record_t *r);
static void run_async_call(run_t *run);
static void run_async_done(const events_answer_t *answer, void *data);
static void run_async_again(run_t *run);
static void run_async_keep(run_t *run, const events_answer_t *answer);
static void run_finish(run_t *run);
static void run_finish_again(void *data);
static int run_store(run_t *run);
static int run_tell(run_t *run);
static void run_callback(run_t *run);
static int run_callback_document(run_t *run, faas_bytes_t *body);
static void run_callback_done(const events_answer_t *answer, void *data);
static uint32_t run_attempts(const run_t *run);
static int run_is_old(const run_t *run);
static void run_failed(run_t *run, const char *why);
static void run_refused(run_t *run, const char *why);
static void run_later(run_t *run);
static void run_dead(run_t *run, const char *why);
static void run_settle(run_t *run, queue_verdict_e verdict);
static void run_look(void *data);


static struct {
    run_t                     all;         /* a head: next, prev */
    loop_timer_t              look;
    int                       ended;
} runs = {
    .all.next = &runs.all, .all.prev = &runs.all, .look.handler = run_look
};


void
events_calls_run(events_work_t *work)
{
    run_t  *run;

    run = run_create(work);

    if (events_invocation_decode(run->message->data, run->message->size,
                                 &run->i)
        != FAAS_OK)
    {
        run_dead(run, "the message is not one of ours");
        return;
    }

    if (run_is_old(run)) {
        run_expired(run);
        return;
    }

    switch (run->i.kind) {

    case EVENTS_ASYNC:
        run_async(run);
        break;

    case EVENTS_CALLBACK:
        run_callback(run);
        break;

    default:
        run_call(run);
    }
}


void
events_run_cancel(const char *id)
{
    run_t  *run;

    for (run = runs.all.next; run != &runs.all; run = run->next) {

        if (run->i.kind == EVENTS_ASYNC && run->delivery != NULL
            && strcmp(run->i.call, id) == 0)
        {
            events_deliver_cancel(run->delivery);
            run->delivery = NULL;
            run_settle(run, QUEUE_DONE);
            return;
        }
    }
}


void
events_run_end(void)
{
    run_t  *run;

    runs.ended = 1;
    loop_disarm(&runs.look);

    for (run = runs.all.next; run != &runs.all; run = run->next) {
        loop_disarm(&run->again);
    }
}


void
events_run_drop(void)
{
    while (runs.all.next != &runs.all) {
        run_destroy(runs.all.next);
    }

    runs.ended = 0;
}


static run_t *
run_create(events_work_t *work)
{
    run_t  *run;

    run = loop_alloc(sizeof(*run));
    run->work = work;
    run->message = events_work_message(work);
    run->begun_ms = loop_now_ms();
    run->again.handler = run_finish_again;
    run->again.data = run;
    (void) snprintf(run->function, sizeof(run->function), "%s",
                    events_work_function(work));

    run->next = &runs.all;
    run->prev = runs.all.prev;
    run->prev->next = run;
    runs.all.prev = run;

    if (!loop_is_armed(&runs.look) && !runs.ended) {
        loop_arm(&runs.look, loop_now_ms() + RUN_LOOK_MS);
    }

    return run;
}


static void
run_destroy(run_t *run)
{
    loop_disarm(&run->again);

    run->prev->next = run->next;
    run->next->prev = run->prev;

    free(run->answer);
    free(run->document);
    free(run);
}


static void
run_expired(run_t *run)
{
    int               code;
    faas_bytes_t      last;
    queue_call_t      c;
    events_take_t    *take;
    events_record_t   r;

    take = events_take_create();
    last = faas_text("");

    if (run->i.kind == EVENTS_ASYNC) {
        code = events_calls_read(run->i.call, take, &c, &r);

        if (events_calls_is_transient(code)) {
            events_take_release(take);
            run_later(run);
            return;
        }

        if (code == FAAS_OK) {
            run->recorded = 1;
            run->attempts = r.attempts;
            run->created_ms = r.created_ms;
            last = r.text;
        }
    }

    (void) snprintf(run->reason, sizeof(run->reason),
                    "nobody could run it in time%s%.*s",
                    last.size ? ": " : "",
                    (int) (last.size < QUEUE_REASON_SIZE
                           ? last.size : QUEUE_REASON_SIZE),
                    (const char *) last.data);
    events_take_release(take);

    run_dead(run, run->reason);
}


/* -- deferred calls and timers --------------------------------------------- */

static void
run_call(run_t *run)
{
    const char     *slash;
    events_call_t   call;

    memset(&call, 0, sizeof(call));
    call.function = run->function;
    call.method = run->i.method;
    call.headers = RUN_BYTES;
    call.body = run->i.body;
    call.timeout_ms = events_calls_timeout(run->function);
    call.limit = RUN_ANSWER;
    call.id = run->message->id;
    call.request_id = run->i.request_id;
    call.attempt = run->message->attempt + 1;
    call.sent_ms = run->message->sent_ms;
    call.depth = run->i.depth;
    call.done = run_call_done;
    call.data = run;

    if (run->i.kind == EVENTS_TIMER) {
        slash = strchr(run->i.timer, '/');
        call.event = "timer";
        call.name = slash ? slash + 1 : run->i.timer;
        call.due_ms = run->i.due_ms;
        call.fence = run->i.fence;

    } else {
        call.event = "defer";
    }

    run->delivery = events_deliver(&call);
    events_work_delivery(run->work, run->delivery);
}


static void
run_call_done(const events_answer_t *answer, void *data)
{
    run_t             *run = data;
    events_outcome_e   outcome;

    run->delivery = NULL;
    outcome = events_settle_outcome(answer);

    if (outcome == EVENTS_DONE) {
        run_settle(run, QUEUE_DONE);
        return;
    }

    events_settle_reason(answer, run->reason, sizeof(run->reason));

    if (outcome == EVENTS_REFUSED) {
        run_refused(run, run->reason);

    } else {
        run_failed(run, run->reason);
    }
}


/* -- async calls ----------------------------------------------------------- */

static void
run_async(run_t *run)
{
    int  code;

    code = run_async_begin(run);

    if (code == FAAS_OK) {
        run_async_call(run);

    } else if (code != RUN_ENDED) {

        /* the engine does not answer, or the record was just changed */
        run_later(run);
    }
}


/* its record becomes RUNNING; RUN_ENDED: there is nothing to be called,
   and the run is on its way to the end */

static int
run_async_begin(run_t *run)
{
    int               code;
    queue_call_t      c;
    events_take_t    *take;
    events_record_t   r;

    take = events_take_create();
    code = events_calls_read(run->i.call, take, &c, &r);

    if (code == FAAS_OK && (EVENTS_ENDED & 1u << c.state)
        && run_async_ended(run, &c, &r))
    {
        events_take_release(take);
        return RUN_ENDED;
    }

    if (code == FAAS_OK) {
        run->recorded = 1;
        run->attempts = r.attempts + 1;
        run->created_ms = r.created_ms;

        r.attempts++;
        r.updated_ms = events_now_ms();
        r.status = 0;
        r.headers.size = 0;
        r.body.size = 0;
        r.text.size = 0;

        code = events_calls_write(run->i.call, WIRE_CALL_RUNNING, &r,
                                  1u << c.state,
                                  events_calls_open_until(run->function,
                                                          r.updated_ms));

    } else if (code == FAAS_ENOTFOUND || code == FAAS_ECORRUPT) {

        /* forgotten, and sent again from the dead letters: it is run, but
           nobody will ask for its answer */

        code = FAAS_OK;
    }

    events_take_release(take);

    return code;
}


/*
 * The record is ended.  1: so is the message, but for what may be missing
 * behind it; 0: it is a dead letter that was sent again.
 */

static int
run_async_ended(run_t *run, const queue_call_t *c, const events_record_t *r)
{
    if (c->state == WIRE_CALL_FAILED && run->message->attempt == 0) {
        return 0;
    }

    run->recorded = 1;
    run->attempts = r->attempts;
    run->ended = 1;
    run->stored = 1;
    run->state = c->state;
    run->verdict.verdict = QUEUE_DONE;

    if (c->state == WIRE_CALL_FAILED) {
        run->verdict.verdict = QUEUE_DEAD;
        (void) snprintf(run->reason, sizeof(run->reason), "%.*s",
                        (int) (r->text.size < QUEUE_REASON_SIZE
                               ? r->text.size : QUEUE_REASON_SIZE - 1),
                        (const char *) r->text.data);
    }

    run_finish(run);

    return 1;
}


static void
run_async_call(run_t *run)
{
    events_call_t  call;

    memset(&call, 0, sizeof(call));
    call.function = run->function;
    call.method = run->i.method;
    call.path = run->i.path;
    call.headers = run->i.headers;
    call.body = run->i.body;
    call.timeout_ms = events_calls_timeout(run->function);
    call.limit = EVENTS_BODY_MAX;
    call.event = "async";
    call.id = run->i.call;
    call.request_id = run->i.request_id;
    call.attempt = run->message->attempt + 1;
    call.sent_ms = run->message->sent_ms;
    call.depth = run->i.depth;
    call.done = run_async_done;
    call.data = run;

    run->delivery = events_deliver(&call);
    events_work_delivery(run->work, run->delivery);
}


static void
run_async_done(const events_answer_t *answer, void *data)
{
    run_t             *run = data;
    events_outcome_e   outcome;

    run->delivery = NULL;
    events_work_delivery(run->work, NULL);

    outcome = events_settle_outcome(answer);

    if (answer->code == FAAS_OK && answer->truncated) {
        run_dead(run, "the answer is longer than 8 MiB");
        return;
    }

    if (outcome == EVENTS_DONE || outcome == EVENTS_ANSWERED) {
        run_async_keep(run, answer);
        run_finish(run);
        return;
    }

    events_settle_reason(answer, run->reason, sizeof(run->reason));

    if (outcome == EVENTS_REFUSED) {
        run_refused(run, run->reason);

    } else {
        run_failed(run, run->reason);
    }
}


/* it waits again, and who asks sees why; if that is not written, he sees it
   running a bit longer */

static void
run_async_again(run_t *run)
{
    events_record_t  r;

    if (!run->recorded) {
        return;
    }

    memset(&r, 0, sizeof(r));
    r.attempts = run->attempts;
    r.created_ms = run->created_ms;
    r.updated_ms = events_now_ms();
    r.text = faas_text(run->reason);
    r.callback = faas_text(run->i.callback);

    (void) events_calls_write(run->i.call, WIRE_CALL_QUEUED, &r,
                              1u << WIRE_CALL_RUNNING,
                              events_calls_open_until(run->function,
                                                      r.updated_ms));
}


/* the answer outlives the callback that brought it */

static void
run_async_keep(run_t *run, const events_answer_t *answer)
{
    size_t  headers;

    headers = strlen(answer->headers);
    run->answer = loop_alloc(headers + answer->body.size + 1);
    memcpy(run->answer, answer->headers, headers);

    if (answer->body.size) {
        memcpy(run->answer + headers, answer->body.data, answer->body.size);
    }

    run->record.status = answer->status;
    run->record.headers.data = run->answer;
    run->record.headers.size = headers;
    run->record.body.data = run->answer + headers;
    run->record.body.size = answer->body.size;

    run->state = WIRE_CALL_DONE;
    run->ended = 1;
    run->verdict.verdict = QUEUE_DONE;
}


/* -- the end of an async call ---------------------------------------------- */

static void
run_finish(run_t *run)
{
    int  code;

    code = FAAS_OK;

    if (!run->stored) {
        code = run_store(run);
    }

    if (code == FAAS_OK) {
        code = run_tell(run);
    }

    if (events_calls_is_transient(code) && run->tries++ < RUN_TRIES) {

        /* at the end of the process the message goes back as it was */

        if (!runs.ended) {
            loop_arm(&run->again, loop_now_ms() + RUN_AGAIN_MS);
        }

        return;
    }

    if (events_calls_is_transient(code)) {
        run_later(run);
        return;
    }

    if (code != FAAS_OK) {
        log_line(LOG_ERROR, 0, "the end of call \"%s\" cannot be kept: %s",
                 run->i.call, faas_error(code));
    }

    run_settle(run, run->verdict.verdict);
}


static void
run_finish_again(void *data)
{
    run_t  *run = data;

    if (!runs.ended && events.queue != NULL) {
        run_finish(run);
    }
}


static int
run_store(run_t *run)
{
    int      code;
    int64_t  now;

    if (!run->recorded) {
        run->stored = 1;
        return FAAS_OK;
    }

    now = events_now_ms();
    run->record.attempts = run->attempts;
    run->record.created_ms = run->created_ms;
    run->record.updated_ms = now;
    run->record.callback = faas_text(run->i.callback);

    code = events_calls_write(run->i.call, run->state, &run->record,
                              EVENTS_OPEN,
                              now + events_calls_async(run->function).keep_ms);

    /* cancelled meanwhile, or done by who had the lease after us */

    if (code == FAAS_ECONFLICT || code == FAAS_ENOTFOUND) {
        run->state = WIRE_CALL_CANCELLED;
        run->verdict.verdict = QUEUE_DONE;
        code = FAAS_OK;
    }

    run->stored = code == FAAS_OK;

    return code;
}


/* one message for each end: a call that is sent again from the dead letters
   has another number of attempts */

static int
run_tell(run_t *run)
{
    int                   code, sent;
    char                  queue[QUEUE_NAME_SIZE];
    wire_writer_t         w;
    queue_message_t       m;
    events_invocation_t   invocation;

    if (run->i.callback[0] == '\0' || !run->recorded
        || run->state == WIRE_CALL_CANCELLED)
    {
        return FAAS_OK;
    }

    memset(&invocation, 0, sizeof(invocation));
    invocation.kind = EVENTS_CALLBACK;
    invocation.call = run->i.call;
    invocation.callback = run->i.callback;

    memset(&w, 0, sizeof(w));
    events_invocation_encode(&w, &invocation);

    (void) snprintf(queue, sizeof(queue), "@%s", run->function);
    memset(&m, 0, sizeof(m));
    m.queue = queue;
    (void) snprintf(m.id, sizeof(m.id), "cb.%.40s.%u",
                    strchr(run->i.call, '.') + 1, run->attempts);
    m.data = w.data;
    m.size = w.size;
    m.sent_ms = events_now_ms();

    code = FAAS_OK;
    sent = w.failed ? FAAS_ERROR
           : events.queue->engine->send(events.queue, &m, &code, 1,
                                        m.sent_ms,
                                        events_deadline(EVENTS_ASKED_MS));
    wire_free(&w);

    if (sent == FAAS_OK && code == FAAS_OK) {
        events_consume_wake(queue);
    }

    return sent != FAAS_OK ? sent : code;
}


/* -- callbacks ------------------------------------------------------------- */

static void
run_callback(run_t *run)
{
    int                        code;
    char                       signature[EVENTS_SIGNATURE_SIZE];
    faas_bytes_t               body;
    events_call_t              call;
    const events_callback_t   *allowed;

    allowed = events_callback_find(events.settings, run->i.callback);

    if (allowed == NULL) {
        run_dead(run, "the callback is not allowed any more");
        return;
    }

    code = run_callback_document(run, &body);

    if (code == FAAS_ENOTFOUND) {
        run_dead(run, "the call is forgotten");
        return;
    }

    if (code != FAAS_OK) {
        run_later(run);
        return;
    }

    events_callback_sign(allowed, events_now_ms() / 1000, body, signature);

    memset(&call, 0, sizeof(call));
    call.url = run->i.callback;
    call.method = "POST";
    call.headers = RUN_JSON;
    call.body = body;
    call.timeout_ms = RUN_CALLBACK_MS;
    call.limit = RUN_ANSWER;
    call.signature = signature;
    call.done = run_callback_done;
    call.data = run;

    run->delivery = events_deliver(&call);
    events_work_delivery(run->work, run->delivery);
}


static int
run_callback_document(run_t *run, faas_bytes_t *body)
{
    int                code;
    queue_call_t       c;
    events_take_t     *take;
    events_record_t    r;
    calls_document_t   d;

    take = events_take_create();
    code = events_calls_read(run->i.call, take, &c, &r);

    if (code == FAAS_OK) {
        memset(&d, 0, sizeof(d));
        d.id = run->i.call;
        d.state = c.state;
        d.attempts = r.attempts;
        d.created_ms = r.created_ms;
        d.updated_ms = r.updated_ms;
        d.status = r.status;
        d.headers = r.headers;
        d.body = r.body;
        d.text = r.text;

        run->document = calls_document(&d, &body->size);
        body->data = run->document;
        code = run->document != NULL ? FAAS_OK : FAAS_ERROR;
    }

    events_take_release(take);

    return code;
}


/* whoever is told is not the platform: what he does not take is an attempt */

static void
run_callback_done(const events_answer_t *answer, void *data)
{
    run_t  *run = data;

    run->delivery = NULL;

    if (answer->code == FAAS_OK && answer->status / 100 == 2) {
        run_settle(run, QUEUE_DONE);
        return;
    }

    if (answer->code == FAAS_OK) {
        (void) snprintf(run->reason, sizeof(run->reason),
                        "callback %.160s: status %d", run->i.callback,
                        answer->status);

    } else {
        (void) snprintf(run->reason, sizeof(run->reason),
                        "callback %.120s: %.100s", run->i.callback,
                        answer->reason);
    }

    run_failed(run, run->reason);
}


/* -- verdicts -------------------------------------------------------------- */

static uint32_t
run_attempts(const run_t *run)
{
    return run->i.attempts ? run->i.attempts
                           : events_calls_async(run->function).attempts;
}


/* is it not to be tried any more?  A dead letter that is sent again was sent
   just now. */

static int
run_is_old(const run_t *run)
{
    int64_t  since;

    since = run->i.due_ms > run->message->sent_ms ? run->i.due_ms
                                                  : run->message->sent_ms;

    return events_now_ms() - since
           > events_calls_async(run->function).age_ms;
}


/* an attempt */

static void
run_failed(run_t *run, const char *why)
{
    if (run->message->attempt + 1 >= run_attempts(run) || run_is_old(run)) {
        run_dead(run, why);
        return;
    }

    if (run->i.kind == EVENTS_ASYNC) {
        run_async_again(run);
    }

    run->verdict.due_ms = -1;
    run_settle(run, QUEUE_RETRY);
}


/* it was not started: no attempt */

static void
run_refused(run_t *run, const char *why)
{
    if (run->recorded) {
        run->attempts--;
    }

    if (run_is_old(run)) {
        run_dead(run, why);
        return;
    }

    if (run->i.kind == EVENTS_ASYNC) {
        run_async_again(run);
    }

    run->verdict.due_ms = -1;
    run_settle(run, QUEUE_RELEASE);
}


/* not the function's fault */

static void
run_later(run_t *run)
{
    run->verdict.due_ms = events_now_ms() + RUN_AGAIN_MS;
    run_settle(run, QUEUE_RELEASE);
}


/* given up; of an async call that is its end, which is kept first */

static void
run_dead(run_t *run, const char *why)
{
    if (why != run->reason) {
        (void) snprintf(run->reason, sizeof(run->reason), "%s", why);
    }

    log_line(LOG_WARN, 0, "%s of function \"%s\" is given up: %s",
             run->i.kind == EVENTS_TIMER ? run->i.timer : run->message->id,
             run->function, run->reason);

    if (run->i.kind != EVENTS_ASYNC || !run->recorded) {
        run_settle(run, QUEUE_DEAD);
        return;
    }

    run->state = WIRE_CALL_FAILED;
    run->ended = 1;
    run->record.text = faas_text(run->reason);
    run->verdict.verdict = QUEUE_DEAD;
    run_finish(run);
}


static void
run_settle(run_t *run, queue_verdict_e verdict)
{
    run->verdict.verdict = verdict;
    run->verdict.reason = run->reason;

    if (run->i.kind == EVENTS_TIMER) {
        run->verdict.timer = run->i.timer;
        run->verdict.timer_fence = run->i.fence;
    }

    events_work_settle(run->work, &run->verdict);
    run_destroy(run);
}


/* -- calls that were cancelled elsewhere ----------------------------------- */

static void
run_look(void *data)
{
    int               code;
    run_t            *run, *next;
    queue_call_t      c;
    events_take_t    *take;
    events_record_t   r;

    (void) data;

    if (runs.all.next == &runs.all || events.queue == NULL) {
        return;
    }

    loop_arm(&runs.look, loop_now_ms() + RUN_LOOK_MS);

    for (run = runs.all.next; run != &runs.all; run = next) {
        next = run->next;

        if (run->i.kind != EVENTS_ASYNC || run->delivery == NULL
            || loop_now_ms() - run->begun_ms < RUN_LOOK_MS)
        {
            continue;
        }

        take = events_take_create();
        code = events_calls_read(run->i.call, take, &c, &r);
        events_take_release(take);

        if (code == FAAS_OK && c.state == WIRE_CALL_CANCELLED) {
            events_deliver_cancel(run->delivery);
            run->delivery = NULL;
            run_settle(run, QUEUE_DONE);

        } else if (code != FAAS_OK && code != FAAS_ENOTFOUND) {
            return;
        }
    }
}
